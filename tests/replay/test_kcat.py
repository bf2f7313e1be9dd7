"""A log that kcat has recorded replays as our own: line by line, also mixed, under the deployment's prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.contracts.log import parse_line
from tests.builders import a_customer, nps
from tests.replay.logs import fact_lines, recorded_lines, rows, write


def as_kcat(line: bytes, prefix: str = "") -> bytes:
    """The line that ``kcat -J`` writes for the record of ours."""
    record = parse_line(line, file="f", number=1)
    headers = [text.decode() if isinstance(text, bytes) else text for pair in record.headers for text in pair]
    written: dict[str, Any] = {
        "topic": prefix + record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "tstype": "create",
        "ts": record.timestamp,
        "broker": 1,
        **({"headers": headers} if headers else {}),
        "key": None if record.key is None else record.key.decode(),
        "payload": None if record.value is None else record.value.decode(),
    }
    return orjson.dumps(written)


def replay(log: Path, output: Path, **env: str) -> Result:
    return CliRunner().invoke(main, ["replay", str(log), "--output", str(output)], env=env)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("lines", [fact_lines, recorded_lines])
def test_it_replays_as_the_log_of_ours(tmp_path: Path, lines: Any, mixed: bool) -> None:
    ours = lines(*a_customer(), nps(9))
    theirs = [line if mixed and number % 2 else as_kcat(line) for number, line in enumerate(ours)]
    for name, log in (("ours", ours), ("theirs", theirs)):
        done = replay(write(tmp_path / f"{name}.jsonl", log), tmp_path / name)
        assert done.exit_code == 0, done.output
    assert rows(tmp_path / "ours", "asks")
    for name in ("asks", "decisions", "dead-letters"):
        assert rows(tmp_path / "theirs", name) == rows(tmp_path / "ours", name)


def test_explain_reads_it(tmp_path: Path) -> None:
    log = write(tmp_path / "log", map(as_kcat, fact_lines(*a_customer("ana"), nps(9, customer="ana"))))
    told = CliRunner().invoke(main, ["explain", "ana", "--log", str(log)])
    assert told.exit_code == 0, told.output
    assert "gave a top score" in told.output


def test_a_prefix_has_to_be_known_before_our_own_log_is_read(tmp_path: Path) -> None:
    log = write(tmp_path / "log", [as_kcat(line, "shop.") for line in recorded_lines(*a_customer(), nps(9))])
    refused = replay(log, tmp_path / "out")
    assert refused.exit_code == 2
    assert "topic 'shop.customer-events': set REFERRAL_STREAM_TOPIC_PREFIX=shop." in refused.output
    done = replay(log, tmp_path / "out", REFERRAL_STREAM_TOPIC_PREFIX="shop.")
    assert done.exit_code == 0, done.output
    assert rows(tmp_path / "out", "asks")


def test_a_damaged_line_ends_the_replay_with_what_to_do(tmp_path: Path) -> None:
    line = as_kcat(fact_lines(*a_customer())[0]).replace(b"cus", b"\xff\xfe", 1)
    refused = replay(write(tmp_path / "log", [line]), tmp_path / "out")
    assert refused.exit_code == 2
    assert "referral-stream export" in refused.output
