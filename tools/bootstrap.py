"""Make ``.venv`` and install this project into it with the extras named, showing how far it is.

    python3 tools/bootstrap.py demo test

Runs under any Python 3: the environment is made with the interpreter it was started with if that suits, else with the
newest ``python3.N`` on the path that does. Needs ``venv`` and PyPI; nothing else. Does nothing when everything asked
for is already there: a stamp in ``.venv`` holds a digest of pyproject.toml and constraints.txt. What is fetched has to
have the hashes of constraints.txt. An environment without
a stamp, or whose interpreter is gone, was left half-made and is rebuilt.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 14)  # later ones lack wheels of what is pinned: docs/pythons.md
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
PROBE_SECONDS = 20
PATIENCE_SECONDS = 5
REFRESH_SECONDS = 0.2
LOG_LINES_SHOWN = 30


class SetupFailed(Exception):
    """Says what to do about it."""


def main(extras: list[str]) -> int:
    if not extras or any(not extra.isidentifier() for extra in extras):
        print(
            f"usage: {Path(sys.argv[0]).name} EXTRA…   (extras of pyproject.toml, such as: demo test)", file=sys.stderr
        )
        return 2
    try:
        install(set(extras))
    except SetupFailed as problem:
        print(f"setup failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup interrupted; the next run starts where it has to", file=sys.stderr)
        return INTERRUPTED
    return 0


def install(extras: set[str]) -> None:
    """Bring ``.venv`` to hold at least these extras, as constraints.txt locks them."""
    stamp = _read_stamp()
    # The scripts of a venv name the folder it was made in: one that was moved is made again.
    usable = stamp.get("root") == str(ROOT) and _runs(PYTHON, "import pip")
    digest = _digest()
    present = set(stamp["extras"]) if usable and stamp.get("digest") == digest else set()
    if extras <= present:
        return
    wanted = sorted(extras | present)
    if not usable:
        if VENV.exists():
            print(f"{VENV.name} cannot be used as it was left: making it again")
        _create_venv(suitable_python())
    _pip_install(wanted)
    STAMP.write_text(json.dumps({"root": str(ROOT), "digest": digest, "extras": wanted}))


def suitable_python() -> str:
    """The interpreter that runs this, or else the newest ``python3.N`` on the path, that the dependencies support.

    Raises:
        SetupFailed: no interpreter suits.
    """
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # Version managers put a command on the path for versions that are not switched on: only one that runs counts.
        if found is not None and _runs(Path(found), f"import sys; assert sys.version_info[:2] == (3, {minor})"):
            return found
    oldest, newest, this = (
        ".".join(map(str, version)) for version in (OLDEST_PYTHON, NEWEST_PYTHON, sys.version_info[:3])
    )
    raise SetupFailed(
        f"Python {oldest} to {newest} is needed. {sys.executable} is {this}, and no other is on the path.\n"
        f"Install one (Debian 12, Ubuntu 24.04: apt-get install python3-venv; macOS: brew install python@{newest};\n"
        f"anywhere: pyenv install {newest}), or name one that is elsewhere: make demo PYTHON=/path/to/python{newest}"
    )


def _runs(python: Path, program: str) -> bool:
    """Whether this interpreter is there and gets to the end of the program."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([str(python), "-c", program], capture_output=True, timeout=PROBE_SECONDS, check=False)
        return done.returncode == 0
    return False


def _digest() -> str:
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _read_stamp() -> dict[str, Any]:
    """What was installed last, and from where; empty when that is not known."""
    try:
        stamp: dict[str, Any] = json.loads(STAMP.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return stamp


def _create_venv(python: str) -> None:
    made = subprocess.run([python, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupFailed(
            f"{python} could not make an environment in {VENV.name}:\n{(made.stdout + made.stderr).strip()}\n"
            "Where Python came without venv, on Debian and Ubuntu: apt-get install python3-venv"
        )


def _pip_install(extras: list[str]) -> None:
    """What the extras need, as it is locked; then this project, whose build needs nothing that is not there by then."""
    started = time.monotonic()
    needed = subprocess.run(
        [str(PYTHON), str(ROOT / "tools" / "lock.py"), "build", *extras], capture_output=True, text=True, check=False
    )
    if needed.returncode != 0:
        raise SetupFailed(needed.stderr.strip())
    if needed.stdout:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(needed.stdout)
            file.flush()
            _pip(["--require-hashes", "--no-deps", "--requirement", file.name], started)
    _pip(["--no-deps", "--no-build-isolation", "--editable", str(ROOT)], started)
    print(f"installed {_packages_installed()} packages in {time.monotonic() - started:.0f} s")


def _pip(what: list[str], started: float) -> None:
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--progress-bar",
        "off",
        "--disable-pip-version-check",
    ]
    with tempfile.TemporaryFile("w+") as log:
        pip = subprocess.Popen(
            [*command, *what], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT
        )
        progress = Progress(started)
        try:
            while pip.poll() is None:
                time.sleep(REFRESH_SECONDS)
                progress.show(_lines(log))
        finally:
            _end(pip)
            progress.clear()
        lines = _lines(log)
    if pip.returncode != 0:
        raise SetupFailed("\n".join(["pip could not install the packages", *lines[-LOG_LINES_SHOWN:]]))


def _end(pip: subprocess.Popen[bytes]) -> None:
    """Where this was interrupted: a Ctrl-C has reached pip too, which then tidies up; a lone signal to us has not."""
    try:
        pip.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        pip.terminate()
        pip.wait()


def _lines(log: IO[str]) -> list[str]:
    log.seek(0)
    return log.read().splitlines()


def _packages_installed() -> int:
    return sum(1 for _ in VENV.glob("lib/python*/site-packages/*.dist-info"))


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line at each new stage, so that logs stay short."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._rewrites = sys.stdout.isatty()
        self._stage = ""

    def show(self, lines: list[str]) -> None:
        collected = [re.split(r"[^\w.-]", line.split()[1])[0] for line in lines if line.startswith("Collecting ")]
        to_install = next((line for line in lines if line.startswith("Installing collected packages:")), None)
        if to_install is not None:
            stage, detail = "installing packages", f"{_packages_installed()} of {to_install.count(',') + 1}"
        elif collected:
            stage, detail = "fetching packages", f"{len(collected)}: {collected[-1]}"
        else:
            stage, detail = "preparing", ""
        if self._rewrites:
            print(f"\r\x1b[K{time.monotonic() - self._started:4.0f} s  {stage} {detail}", end="", flush=True)
        elif stage != self._stage:
            print(f"{stage} …", flush=True)
        self._stage = stage

    def clear(self) -> None:
        if self._rewrites:
            print("\r\x1b[K", end="", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
