"""The lock, constraints.txt: every package at its version, the hashes of its files, and what it is there for.

    python tools/lock.py EXTRA…             prints what the project needs with these extras, for
                                            pip install --require-hashes --no-deps -r
    python tools/lock.py --write [--keep]   writes constraints.txt anew from the ranges of pyproject.toml, with uv;
                                            --keep: at the versions that it has, where those still suit

`build` among the extras stands for what builds the wheel. Reading runs under any Python 3; writing needs 3.11.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
ALWAYS = "always"
BUILD = "build"
FOR = "    # for: "
LOCKED_FOR = "# locked for: "
HEAD = """\
# Every package that the tests ran with, at its version, with the hashes of its files, and the extras that need it.
# `make constraints` writes it anew; `python tools/lock.py EXTRA…` prints what some of them need.
"""
OLDEST_PYTHON = "3.11"
_NOT_LOCKED = ("bench", "dev")
"""bench refuses versions that are pinned here; dev is the others together."""


def entries(text: str) -> dict[str, tuple[str, set[str]]]:
    """Name → (its lines, what it is there for)."""
    found: dict[str, tuple[str, set[str]]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(FOR):
            found[_name(lines[0])] = ("\n".join([*lines, line, ""]), set(line[len(FOR) :].split(", ")))
            lines = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def locked(text: str, extras: set[str]) -> str:
    """The lines of what is needed with these extras. Raises ValueError for an extra that the lock does not know."""
    known = entries(text)
    names = next(
        (line[len(LOCKED_FOR) :].split(", ") for line in text.splitlines() if line.startswith(LOCKED_FOR)), None
    )
    if names is not None and (unknown := extras - {BUILD, *names}):
        raise ValueError(", ".join(sorted(unknown)))
    wanted = extras | ({ALWAYS} if extras != {BUILD} else set())
    return "".join(lines for lines, reasons in known.values() if reasons & wanted)


def _name(line: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", line)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def write(*, keep: bool) -> None:
    """Resolve anew for all Pythons and platforms at once, and each extra by itself at the versions found."""
    import tomllib  # noqa: PLC0415 (reading runs on older Pythons)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [name for name in project["project"]["optional-dependencies"] if name not in _NOT_LOCKED]
    with tempfile.TemporaryDirectory() as folder:
        before, pins, build = (Path(folder) / name for name in ("before.txt", "pins.txt", "build.in"))
        before.write_text(_pins(LOCK.read_text()) if keep else "")
        build.write_text("\n".join(project["build-system"]["requires"]) + "\n")
        every = [f"--extra={name}" for name in extras]
        whole = _resolved(["pyproject.toml", str(build), *every, "--generate-hashes", f"--constraint={before}"])
        pins.write_text(_pins(whole))
        reasons = {ALWAYS: _resolved(["pyproject.toml", f"--constraint={pins}"])}
        reasons |= {name: _resolved(["pyproject.toml", f"--extra={name}", f"--constraint={pins}"]) for name in extras}
        reasons[BUILD] = _resolved([str(build), f"--constraint={pins}"])
    needed = {why: {_name(line) for line in text.splitlines() if line} for why, text in reasons.items()}
    made = [HEAD, f"{LOCKED_FOR}{', '.join(extras)}\n"]
    for entry in re.split(r"\n(?=[A-Za-z0-9])", whole.strip()):
        whys = [why for why, names in needed.items() if _name(entry) in names]
        made.append(f"{entry}\n{FOR}{', '.join([ALWAYS] if ALWAYS in whys else whys)}\n")
    LOCK.write_text("".join(made))


def _pins(text: str) -> str:
    """The versions alone, for a resolution that keeps them."""
    return "".join(f"{line.rstrip(chr(92)).strip()}\n" for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line))


def _resolved(what: list[str]) -> str:
    command = ["uv", "pip", "compile", *what, "--universal", f"--python-version={OLDEST_PYTHON}", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"uv could not resolve the packages:\n{done.stderr.strip()}")
    return done.stdout


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--write"] and set(arguments) <= {"--write", "--keep"}:
        write(keep="--keep" in arguments)
        return 0
    if not arguments or any(not each.isidentifier() for each in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        sys.stdout.write(locked(LOCK.read_text(), set(arguments)))
    except ValueError as unknown:
        print(f"constraints.txt is not locked for: {unknown}; run: make constraints", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
