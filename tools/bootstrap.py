"""Make `.venv` and install this project into it with the extras named, showing how far it is.

    python3 tools/bootstrap.py demo test

Needs Python 3.11+ with `venv`, and PyPI; nothing else. Does nothing when all that is asked for is already there: a
stamp in `.venv` holds a digest of pyproject.toml and constraints.txt. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
OLDEST_PYTHON = (3, 11)
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
    return 0


def install(extras: set[str]) -> None:
    """Bring `.venv` to hold at least these extras, at the versions of constraints.txt."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetupFailed(f"Python 3.11 or later is needed, this is {found}; try: make PYTHON=python3.11 …")
    stamp = _read_stamp()
    # The scripts of a venv name the folder it was made in: one that was moved is made again.
    usable = PYTHON.exists() and stamp.get("root", str(ROOT)) == str(ROOT)
    digest = _digest()
    present = set(stamp["extras"]) if usable and stamp.get("digest") == digest else set()
    if extras <= present:
        return
    wanted = sorted(extras | present)
    if not usable:
        _create_venv()
    _pip_install(wanted)
    STAMP.write_text(json.dumps({"root": str(ROOT), "digest": digest, "extras": wanted}))


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


def _create_venv() -> None:
    try:
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    except subprocess.CalledProcessError as failed:
        remedy = "Python came without venv; on Debian and Ubuntu: apt-get install python3-venv"
        raise SetupFailed(remedy) from failed


def _pip_install(extras: list[str]) -> None:
    constraints = str(ROOT / "constraints.txt")
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
    command += ["--constraint", constraints, "--editable", f"{ROOT}[{','.join(extras)}]"]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        pip = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT)
        progress = Progress(started)
        while pip.poll() is None:
            time.sleep(REFRESH_SECONDS)
            progress.show(_lines(log))
        lines = _lines(log)
        progress.clear()
    if pip.returncode != 0:
        raise SetupFailed("\n".join(["pip could not install the packages", *lines[-LOG_LINES_SHOWN:]]))
    print(f"installed {_packages_installed()} packages in {time.monotonic() - started:.0f} s")


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
