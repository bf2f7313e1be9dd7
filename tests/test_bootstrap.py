"""``make`` sets up ``.venv``: with a Python that suits, again where one was left half-made, and quietly interrupted."""

from __future__ import annotations

import importlib.util
import os
import pty
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.night import by_night

_ROOT = Path(__file__).parents[1]
_QUIET = "setup interrupted; the next run starts where it has to"

# A project without dependencies whose build needs no network, and lasts while a file named `slow` is there.
_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "sample"
version = "1"
"""
_BACKEND = """
import time, zipfile
from pathlib import Path

METADATA = ["Metadata-Version: 2.1", "Name: sample", "Version: 1", "Provides-Extra: demo"]
WHEEL = ["Wheel-Version: 1.0", "Generator: by hand", "Root-Is-Purelib: true", "Tag: py3-none-any"]

def build_editable(folder, config_settings=None, metadata_directory=None):
    Path("building").touch()
    while Path("slow").exists():
        time.sleep(0.05)
    name = "sample-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.writestr("sample.py", "")
        wheel.writestr("sample-1.dist-info/METADATA", "\\n".join(METADATA) + "\\n")
        wheel.writestr("sample-1.dist-info/WHEEL", "\\n".join(WHEEL) + "\\n")
        wheel.writestr("sample-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    for tool in ("bootstrap.py", "lock.py"):
        shutil.copy(_ROOT / "tools" / tool, tmp_path / "tools")
    shutil.copy(_ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)
    (tmp_path / "backend.py").write_text(_BACKEND)
    (tmp_path / "constraints.txt").touch()
    return tmp_path


def set_up(project: Path) -> str:
    """What a set-up that works prints."""
    command = [sys.executable, "tools/bootstrap.py", "demo"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def works(project: Path) -> bool:
    python = project / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", "import pip, sample"], check=False).returncode == 0


def _without_stamp(venv: Path) -> None:
    (venv / "installed.json").unlink()


def _without_pip(venv: Path) -> None:
    (folder,) = venv.glob("lib/python*/site-packages/pip")
    shutil.rmtree(folder)


def _with_its_interpreter_gone(venv: Path) -> None:
    for link in (venv / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/an/interpreter/that/was/removed")


@pytest.mark.parametrize("damage", [_without_stamp, by_night(_without_pip), by_night(_with_its_interpreter_gone)])
def test_what_was_left_half_made_is_made_again_and_what_is_whole_is_left_alone(
    project: Path, damage: Callable[[Path], None]
) -> None:
    assert "installed" in set_up(project)
    assert set_up(project) == ""
    damage(project / ".venv")
    assert "making it again" in set_up(project)
    assert works(project)
    assert set_up(project) == ""


def test_ctrl_c_says_one_quiet_line_and_the_next_run_works(project: Path) -> None:
    (project / "slow").touch()
    command = [sys.executable, "tools/bootstrap.py", "demo"]
    setup = subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    _await(project / "building")
    os.killpg(setup.pid, signal.SIGINT)
    _, said = setup.communicate(timeout=60)
    assert (setup.returncode, said.strip()) == (130, _QUIET)
    (project / "slow").unlink()
    set_up(project)
    assert works(project)


def test_ctrl_c_is_as_quiet_through_make(project: Path) -> None:
    (project / "slow").touch()
    pid, terminal = pty.fork()
    if pid == 0:  # the child has a terminal of its own, as a person has
        os.chdir(project)
        os.execvp("make", ["make", "--no-print-directory", "setup-demo", f"PYTHON={sys.executable}"])
    _await(project / "building")
    os.write(terminal, b"\x03")
    said = _all_of(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGINT, "a shell calls that 130"
    assert [line for line in said.splitlines() if line.strip()][-1] == _QUIET
    assert said.count(_QUIET) == 1
    assert "Traceback" not in said
    assert "***" not in said


def test_through_make_a_failure_is_a_failure(project: Path) -> None:
    command = ["make", "--no-print-directory", "setup-demo", "PYTHON=false"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "setup-demo] Error 1" in done.stderr


def _bootstrap(version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, path: Path) -> ModuleType:
    """The module as an interpreter of that version sees it, with nothing but ``path`` to search for others."""
    spec = importlib.util.spec_from_file_location("bootstrap", _ROOT / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "sys", SimpleNamespace(version_info=version, executable="/the/python3"))
    monkeypatch.setenv("PATH", str(path))
    return module


def _add_python(folder: Path, name: str, exit_code: int) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 14, 2)])
def test_the_interpreter_that_was_named_is_taken_if_it_suits(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _add_python(tmp_path, "python3.12", 0)
    assert _bootstrap(version, monkeypatch, tmp_path).suitable_python() == "/the/python3"


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 15, 0)])
def test_else_the_newest_on_the_path_that_runs(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _add_python(tmp_path, "python3.15", 0)
    _add_python(tmp_path, "python3.14", 127)  # a version manager's placeholder
    newest = _add_python(tmp_path, "python3.13", 0)
    _add_python(tmp_path, "python3.11", 0)
    assert _bootstrap(version, monkeypatch, tmp_path).suitable_python() == str(newest)


def test_where_there_is_none_it_says_which_it_needs_and_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bootstrap = _bootstrap((3, 9, 2), monkeypatch, tmp_path)
    with pytest.raises(bootstrap.SetupFailed) as failed:
        bootstrap.suitable_python()
    said = str(failed.value)
    for words in (
        "3.11 to 3.14 is needed",
        "/the/python3 is 3.9.2",
        "apt-get install",
        "brew install",
        "make demo PYTHON=",
    ):
        assert words in said


def test_a_python_without_venv_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap = _bootstrap((3, 12, 0), monkeypatch, tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "installed.json")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(bootstrap.sys, "executable", str(_add_python(tmp_path, "python3", 1)))
    monkeypatch.setattr(bootstrap.sys, "stderr", sys.stderr, raising=False)
    assert bootstrap.main(["demo"]) == 1
    assert "apt-get install python3-venv" in capsys.readouterr().err


def _await(file: Path) -> None:
    until = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < until, f"{file.name} did not appear"
        time.sleep(0.05)


def _all_of(terminal: int) -> str:
    said = b""
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # how Linux tells the end of a terminal
            read = b""
        if not read:
            return textwrap.dedent(said.decode().replace("\x1b[K", "").replace("\r", "\n"))
        said += read
