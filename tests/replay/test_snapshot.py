"""A log without its beginning, replayed from a snapshot of the states it builds on."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.contracts.codec import arrival, decode_event
from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.step import step
from referral_stream.replay.files import replay_file
from referral_stream.replay.reading import BadLine, LogStartsLate
from referral_stream.replay.snapshot import Snapshot, read_snapshot
from tests.builders import POLICY, a_customer, compliment, nps
from tests.replay.logs import BOUNDARY, fact_lines, recorded_lines, rows, write

WEEK = (*a_customer("ana"), *a_customer("ben"), nps(9, customer="ana"), compliment("Thu 11:00", customer="ben"))


def halves() -> tuple[list[bytes], list[bytes]]:
    """The log, cut where Ana's opportunity is live and Ben's is decided."""
    lines = recorded_lines(*WEEK)
    return lines[:-2], lines[-2:]


def changelog_of(lines: list[bytes]) -> list[bytes]:
    """What the decide agent's table says after these records: a state per record, as live, and the older ones too."""
    states: dict[str, Customer] = {}
    found: list[RawRecord] = []
    for number, line in enumerate(lines, 1):
        record = parse_line(line, file="log", number=number)
        event = decode_event(record.value or b"")
        known = states.get(event.subject) or Customer(id=event.subject)
        states[event.subject] = step(POLICY, known, [event], arrival(record)).customer
        found.append(
            RawRecord(
                topic="decide-customers-changelog",
                partition=record.partition,
                offset=len(found),
                timestamp=record.timestamp,
                key=record.key,
                value=encode_customer(states[event.subject], record.offset + 1),
            )
        )
    return [render_line(record) for record in found]


def replayed(log: Path, output: Path, snapshot: Snapshot | None = None) -> list[object]:
    replay_file(log, output, POLICY, BOUNDARY, snapshot=snapshot)
    return [*rows(output, "decisions"), *rows(output, "asks")]


def test_the_rest_of_a_log_gives_the_rest_of_the_decisions(tmp_path: Path) -> None:
    early, late = halves()
    whole = replayed(write(tmp_path / "whole", early + late), tmp_path / "a")
    first = replayed(write(tmp_path / "early", early), tmp_path / "b")
    snapshot = read_snapshot(write(tmp_path / "state", changelog_of(early)))

    rest = replayed(write(tmp_path / "late", late), tmp_path / "c", snapshot)

    assert rest != []
    assert sorted(map(str, first + rest)) == sorted(map(str, whole))


def test_what_the_snapshot_has_seen_is_left_out(tmp_path: Path) -> None:
    early, late = halves()
    snapshot = read_snapshot(write(tmp_path / "state", changelog_of(early)))
    assert replayed(write(tmp_path / "whole", early + late), tmp_path / "a", snapshot) == replayed(
        write(tmp_path / "late", late), tmp_path / "b", snapshot
    )


def test_without_a_snapshot_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogStartsLate, match="or a snapshot"):
        replayed(write(tmp_path / "late", halves()[1]), tmp_path / "out")


def test_a_deleted_customer_is_none(tmp_path: Path) -> None:
    lines = changelog_of(halves()[0])
    gone = RawRecord(topic="t", partition=0, offset=999, timestamp=0, key=b"ana", value=None)
    assert read_snapshot(write(tmp_path / "state", [*lines, render_line(gone)])).keys() == {"ben"}


def test_a_line_without_an_offset_can_not_be_told_from_what_was_seen(tmp_path: Path) -> None:
    bare = b'{"topic":"customer-events","timestamp":0,"value":{}}'
    with pytest.raises(BadLine, match="offset: required"):
        replayed(write(tmp_path / "log", [bare]), tmp_path / "out", {})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "state:1: not JSON"),
        (b'{"topic":"t","timestamp":0,"value":null}', "state:1: key: required"),
        (b'{"topic":"t","timestamp":0,"key":"ana","value":{"a":1}}', "state:1: customer state: damaged"),
    ],
)
def test_what_is_no_changelog_is_named_with_its_line(tmp_path: Path, line: bytes, told: str) -> None:
    with pytest.raises(UnreadableLog, match=told):
        read_snapshot(write(tmp_path / "state", [line]))


def test_the_command_takes_it_for_an_exact_replay_only(tmp_path: Path) -> None:
    early, late = halves()
    state = str(write(tmp_path / "state", changelog_of(early)))
    log, facts = str(write(tmp_path / "late", late)), str(write(tmp_path / "facts", fact_lines(*WEEK)))
    output = ["--output", str(tmp_path / "out")]

    assert CliRunner().invoke(main, ["replay", log, "--state", state, *output]).exit_code == 0
    assert CliRunner().invoke(main, ["replay", log, "--state", state, "--facts", *output]).exit_code == 2
    refused = CliRunner().invoke(main, ["replay", facts, "--state", state, *output])
    assert (refused.exit_code, "customer-events alone" in refused.output) == (2, True)
