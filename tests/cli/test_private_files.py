"""What a command writes about customers is for its user alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.runtime.settings import PREFIX, read_settings
from referral_stream.runtime.state_folder import state_folder_problem
from tests.builders import a_customer, nps
from tests.replay.logs import fact_lines, write


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022, "it is as it was"


def open_to_others(folder: Path) -> list[Path]:
    return [each for each in (folder, *folder.rglob("*")) if each.stat().st_mode & 0o077]


def test_files_of_a_replay(tmp_path: Path) -> None:
    log = write(tmp_path / "log", fact_lines(a_customer(), nps(9)))
    output = tmp_path / "out" / "of a replay"
    done = CliRunner().invoke(main, ["replay", str(log), "--output", str(output), "--csv"])
    assert done.exit_code == 0, done.output
    assert len(list(output.iterdir())) > 3
    assert open_to_others(output) == []


def test_files_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def writes(*_: object, **__: object) -> int:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "table").touch()
        return 0

    monkeypatch.setattr("referral_stream.stream.run.run_roles", writes)
    done = CliRunner().invoke(main, ["run", "decide"], env={f"{PREFIX}POLICY_FILE": None})
    assert done.exit_code == 0, done.output
    assert open_to_others(tmp_path / "state") == []


def test_the_state_folder_that_doctor_makes(tmp_path: Path) -> None:
    settings = read_settings({}, email_key_needed=False, store="rocksdb", data_dir=tmp_path / "state")
    assert state_folder_problem(settings) is None
    assert open_to_others(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("Too many open files", "raise the limit on open files (ulimit -n, LimitNOFILE=)"),
        ("No space left on device", "free space on its disk"),
        ("Read-only file system", "mount its file system writable, or set"),
        ("Permission denied", "set REFERRAL_STREAM_DATA_DIR to a folder this user may write to"),
    ],
)
def test_an_unusable_state_folder_has_the_remedy_of_its_own_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, remedy: str
) -> None:
    number = next(number for number in range(1, 140) if os.strerror(number) == text)

    def fails(**_: object) -> None:
        raise OSError(number, text)

    monkeypatch.setattr("tempfile.TemporaryFile", fails)
    settings = read_settings({}, email_key_needed=False, store="rocksdb", data_dir=tmp_path)
    found = state_folder_problem(settings)
    assert found is not None
    assert found.problem == f"{tmp_path} cannot be written ({text})"
    assert found.remedy.startswith(remedy)
