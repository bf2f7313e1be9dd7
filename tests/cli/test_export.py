"""``referral-stream export``: what it refuses before it asks the broker, and what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.core.instants import parse_instant, rfc3339
from referral_stream.ops.export import Exported, ExportProblem, Interval
from referral_stream.runtime.deployment import Deployment
from tests.builders import a_customer, nps
from tests.replay.logs import recorded_lines, rows
from tests.services.process import wait_until

JUNE = parse_instant("2026-06-01T00:00:00Z")[0]
REMEDY = "an exact replay needs --state, a replay of the facts alone --facts"
LINES = recorded_lines(*a_customer(), nps(9))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], Interval]]:
    """What a broker that has ``LINES`` was asked for."""
    seen: list[tuple[Sequence[str], Interval]] = []

    async def export(
        _: Deployment, names: Sequence[str], interval: Interval, write: Callable[[bytes], object], *__: object
    ) -> list[Exported]:
        seen.append((names, interval))
        for line in LINES:
            write(line + b"\n")
        if "gone" in names:
            raise ExportProblem("no topic gone")
        return [Exported("customer-events", True, len(LINES), JUNE, JUNE + 1, {2: 7}), Exported("nps")]

    monkeypatch.setattr("referral_stream.ops.export.export", export)
    return seen


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_what_it_writes_replays(tmp_path: Path, asked: list[tuple[Sequence[str], Interval]], name: str) -> None:
    done = run("--output", str(tmp_path / name))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"customer-events: {len(LINES)} records, {rfc3339(JUNE)} to {rfc3339(JUNE + 1)}",
        f"note: partitions without their beginning (2 at 7): {REMEDY}",
        "nps: nothing in this time",
        f"written to {tmp_path / name}, for you alone",
    ]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    replayed = CliRunner().invoke(main, ["replay", str(tmp_path / name), "--output", str(tmp_path / "out")])
    assert replayed.exit_code == 0, replayed.output
    assert rows(tmp_path / "out", "asks")
    assert asked == [(("customer-events",), Interval())]


def test_without_a_file_the_log_alone_is_on_stdout(asked: list[tuple[Sequence[str], Interval]]) -> None:
    done = run("--topic", "nps", "--from", "2026-06-01", "--to", "2026-06-01")
    assert done.exit_code == 0, done.output
    assert done.stdout_bytes.splitlines() == LINES
    assert "customer-events: " in done.stderr
    assert asked == [(("nps",), Interval(first=JUNE, last=JUNE + 86_399_999))]


def test_from_may_be_an_offset(asked: list[tuple[Sequence[str], Interval]]) -> None:
    assert run("--from", "120").exit_code == 0
    assert asked[0][1] == Interval(offset=120)


@pytest.mark.usefixtures("asked")
def test_what_cannot_be_read_leaves_no_file(tmp_path: Path) -> None:
    done = run("--topic", "gone", "--output", str(tmp_path / "log"))
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "no topic gone" in done.stderr


@pytest.mark.usefixtures("asked")
def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = run("--output", str(tmp_path / "none" / "log"))
    assert done.exit_code == 1
    assert "No such file or directory; nothing was written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--topic", "nps", "--topic", "customer-events"), "export it by itself"),
        (("--from", "2026-06-02", "--to", "2026-06-01"), "--to lies before --from"),
        (("--from", "June"), "not a date or time"),
        (("--output", "log.jsonl.zst"), "replay reads plain files and gzip"),
        (("--output", "/dev/null"), "is not a regular file"),
    ],
)
def test_wrong_usage_asks_no_broker(
    arguments: tuple[str, ...], problem: str, asked: list[tuple[Sequence[str], Interval]]
) -> None:
    done = run(*arguments)
    assert (done.exit_code, asked) == (2, [])
    assert problem in " ".join(done.stderr.split())


def test_ctrl_c_leaves_no_half_file(tmp_path: Path) -> None:
    """While it waits for a broker that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        here = {"REFERRAL_STREAM_KAFKA_BROKERS": f"127.0.0.1:{broker.getsockname()[1]}"}
        command = [sys.executable, "-m", "referral_stream", "export", "--output", str(tmp_path / "log.jsonl")]
        with subprocess.Popen(command, env=os.environ | here, stderr=subprocess.PIPE, text=True) as exporting:
            wait_until(lambda: any(tmp_path.iterdir()), "it has begun", seconds=30)
            broker.accept()[0].settimeout(30)
            exporting.send_signal(signal.SIGINT)
            _, said = exporting.communicate(timeout=30)
    assert (exporting.returncode, list(tmp_path.iterdir())) == (130, [])
    assert "Traceback" not in said
