"""Change modules of the core a little, one place at a time, and see whether a test fails each time.

    python tools/mutants.py [--base main] [--sample 40] [MODULE …]

Without modules: those of ``referral_stream/core`` that differ from the base. Everything happens in a copy of the
working tree, ``build/mutants``. Of the mutants of each module a sample is tried, drawn with the seed that it prints;
0 tries all. Prints those that survived as diffs.

Exit codes: 0 none survived, 1 some did (or the unchanged tests fail), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants"
CORE = "referral_stream/core"
SESSION = "session.sqlite"
SEED = 18


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation testing of the core.")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--base", default="main")
    parser.add_argument("--sample", type=int, default=40)
    asked = parser.parse_args()
    modules = asked.modules or changed_since(asked.base)
    if missing := [module for module in modules if not (ROOT / module).is_file()]:
        parser.error(f"no such module: {', '.join(missing)}")
    if not modules:
        print(f"no module of {CORE} differs from {asked.base}")
        return 0
    copy_tree()
    config = write_config(modules)
    # The interpreter that runs this is the one that the configuration calls `python`.
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(COPY),
    }
    if cosmic_ray(["baseline", config.name], env) != 0:
        print("the tests fail without any change: nothing can be learnt from them", file=sys.stderr)
        return 1
    cosmic_ray(["init", config.name, SESSION], env)
    with use_db(COPY / SESSION, WorkDB.Mode.open) as session:
        tried = draw(session, asked.sample)
    print(
        f"{', '.join(modules)}: {tried} mutants to try (sample {asked.sample} of each module, seed {SEED})", flush=True
    )
    cosmic_ray(["exec", config.name, SESSION], env)
    with use_db(COPY / SESSION, WorkDB.Mode.open) as session:
        return report(session, tried)


def changed_since(base: str) -> list[str]:
    command = ["git", "diff", "--name-only", "--diff-filter=d", base, "--", f"{CORE}/*.py"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def copy_tree() -> None:
    """The files that git knows, as they are now: cosmic-ray changes modules in place."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, COPY / name)


def write_config(modules: list[str]) -> Path:
    template = (ROOT / "cosmic-ray.toml").read_text()
    placeholder = tomllib.loads(template)["cosmic-ray"]["module-path"]
    path = COPY / "changed.toml"
    path.write_text(template.replace(f'module-path = "{placeholder}"', f"module-path = {modules}"))
    return path


def cosmic_ray(arguments: list[str], env: dict[str, str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "cosmic_ray.cli", *arguments], cwd=COPY, env=env, check=False
    ).returncode


def draw(session: WorkDB, sample: int) -> int:
    """Leave this many mutants of each module to be tried; returns the number of all that are left.

    The ``|`` of annotations never runs, so that nothing could notice a change of it.
    """
    chance = random.Random(SEED)  # noqa: S311 (a sample, no secret)
    of_module: dict[str, list[str]] = {}
    pending = sorted(session.pending_work_items, key=lambda item: str(item.mutations[0]))  # they come in random order
    for item in pending:
        operators = {mutation.operator_name for mutation in item.mutations}
        if any("BinaryOperator_BitOr" in name for name in operators):
            session.set_result(item.job_id, WorkResult(WorkerOutcome.SKIPPED))
        else:
            of_module.setdefault(str(item.mutations[0].module_path), []).append(item.job_id)
    kept = 0
    for jobs in of_module.values():
        chance.shuffle(jobs)
        left_out = jobs[sample:] if sample else []
        kept += len(jobs) - len(left_out)
        for job in left_out:
            session.set_result(job, WorkResult(WorkerOutcome.SKIPPED))
    return kept


def report(session: WorkDB, tried: int) -> int:
    """Print what survived and what could not be tried; 0 if a test noticed every mutant."""
    of_tried = [result for _, result in session.results if result.worker_outcome != WorkerOutcome.SKIPPED]
    unnoticed = [result for result in of_tried if result.test_outcome != TestOutcome.KILLED]
    for result in unnoticed:
        print(f"{result.test_outcome or result.worker_outcome}:", result.diff, sep="\n")
    noticed = len(of_tried) - len(unnoticed)
    print(f"{noticed} of {tried} mutants were noticed by a test")
    return 0 if noticed == tried else 1


if __name__ == "__main__":
    raise SystemExit(main())
