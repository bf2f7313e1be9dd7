"""Replay from files to files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from referral_stream.contracts.log import render_line
from referral_stream.core import events as ev
from referral_stream.core.policy import Policy
from referral_stream.replay.files import Summary, replay_file
from referral_stream.replay.reading import BadLine, LogStartsLate, MixedLog
from referral_stream.replay.recorded_run import Diverged
from referral_stream.replay.virtual_run import Arrival, FactReplay
from tests.builders import (
    POLICY,
    a_customer,
    at,
    compliment,
    fact,
    nps,
    pause,
    resumption,
    ticket_opened,
    ticket_solved,
)
from tests.replay.logs import BOUNDARY, Row, fact_lines, recorded_lines, recorded_records, rows, write
from tests.rules import rule

# ana is asked on Thursday at 12:50; ben's ticket stays open until it is too late; eva pays two compliments, asked once.
WEEK = (
    a_customer("ana"),
    a_customer("ben"),
    a_customer("eva"),
    nps(9, "Thu 12:30", customer="ana"),
    ticket_opened("Wed 10:00", customer="ben"),
    nps(9, "Thu 12:31", response="r2", customer="ben"),
    compliment("Tue 09:00", customer="eva"),
    compliment("Fri 09:00", "post-2", customer="eva"),
)
FILES = ("decisions.jsonl", "asks.jsonl", "dead-letters.jsonl")


def replayed(log: Path, output: Path, policy: Policy = POLICY, **how: object) -> Summary:
    return replay_file(log, output, policy, BOUNDARY, **how)  # type: ignore[arg-type]  # keywords of replay_file


def place(row: Row) -> tuple[str, str]:
    return row["time"], row["subject"]


def test_a_log_of_facts_becomes_decisions_and_asks(tmp_path: Path) -> None:
    summary = replayed(write(tmp_path / "log", fact_lines(*WEEK)), tmp_path)
    assert [(row["subject"], row["time"]) for row in rows(tmp_path, "asks")] == [
        ("eva", "2026-06-16T07:20:00.000Z"),
        ("ana", "2026-06-18T10:50:00.000Z"),
    ]
    assert (summary.exact, summary.customers, summary.records) == (False, 3, len(fact_lines(*WEEK)))
    assert summary.asks == {"nps_promoter": 1, "positive_feedback": 1}
    assert sum(summary.outcomes.values()) == len(rows(tmp_path, "decisions"))


@rule("10.2")
def test_the_clock_of_a_raw_log_never_goes_back(tmp_path: Path) -> None:
    """It is the latest timestamp of the whole log so far, whoever the record is about."""
    lines = [
        *fact_lines(a_customer("ana")),
        *fact_lines(nps(8, "Fri 12:00", customer="ben")),
        *fact_lines(compliment("Thu 12:40", customer="ana")),
    ]
    replayed(write(tmp_path / "log", lines), tmp_path)
    first = rows(tmp_path, "decisions")[0]
    assert place(first) == ("2026-06-19T10:00:00.000Z", "ana")


@pytest.mark.parametrize("one_after_the_other", [False, True])
def test_an_exact_replay_repeats_what_was_decided_however_the_partitions_lie(
    tmp_path: Path, one_after_the_other: bool
) -> None:
    replayed(write(tmp_path / "facts", fact_lines(*WEEK)), tmp_path / "facts-out")
    log = write(tmp_path / "log", recorded_lines(*WEEK, one_after_the_other=one_after_the_other))
    summary = replayed(log, tmp_path / "exact-out")
    assert summary.exact
    assert rows(tmp_path / "exact-out", "asks") == rows(tmp_path / "facts-out", "asks")
    assert rows(tmp_path / "exact-out", "decisions") == rows(tmp_path / "facts-out", "decisions")


def test_the_facts_of_a_recorded_log_replay_without_its_wakeups_and_answers(tmp_path: Path) -> None:
    replayed(write(tmp_path / "facts", fact_lines(*WEEK)), tmp_path / "facts-out")
    facts = [line for line in recorded_lines(*WEEK, one_after_the_other=True) if b'"wakeup.due"' not in line]
    assert not replayed(write(tmp_path / "log", facts), tmp_path / "again", facts_only=True).exact
    assert rows(tmp_path / "again", "decisions") == rows(tmp_path / "facts-out", "decisions")


PAUSED = (*WEEK, pause("Thu 13:00"), resumption("Thu 18:00"))
"""Ana's command is taken back at 13:00; the switches reach nobody else."""


@rule("11.3")
@pytest.mark.parametrize("one_after_the_other", [False, True])
def test_a_switch_that_was_passed_on_is_replayed_exactly(tmp_path: Path, one_after_the_other: bool) -> None:
    replayed(write(tmp_path / "facts", fact_lines(*PAUSED)), tmp_path / "facts-out")
    recorded = recorded_lines(*PAUSED, one_after_the_other=one_after_the_other)
    assert sum(b'"control.paused"' in line for line in recorded) == 2, "eva's command is not reported on either"
    assert replayed(write(tmp_path / "log", recorded), tmp_path / "exact-out").exact
    for name in ("asks", "decisions"):
        assert rows(tmp_path / "exact-out", name) == rows(tmp_path / "facts-out", name)
    assert [row["subject"] for row in rows(tmp_path / "exact-out", "asks") if "cancelled" in row["type"]] == ["ana"]


def test_of_a_recorded_log_switches_are_no_facts(tmp_path: Path) -> None:
    """They are on it only as the ledger passed them on; whom they concern under another policy nobody knows."""
    replayed(write(tmp_path / "facts", fact_lines(*WEEK)), tmp_path / "facts-out")
    log = write(tmp_path / "log", recorded_lines(*PAUSED))
    replayed(log, tmp_path / "again", facts_only=True)
    assert rows(tmp_path / "again", "asks") == rows(tmp_path / "facts-out", "asks")


@rule("9.14")
def test_another_policy_changes_a_fact_replay(tmp_path: Path) -> None:
    cautious = POLICY.model_copy(update={"score": POLICY.score.model_copy(update={"soft_at": 100, "direct_at": 100})})
    log = write(tmp_path / "log", recorded_lines(*WEEK))
    assert replayed(log, tmp_path, cautious, facts_only=True).asks == {"nps_promoter": 1}


@rule("10.5")
def test_outputs_come_by_time_and_customer(tmp_path: Path) -> None:
    log = write(tmp_path / "log", recorded_lines(*WEEK, one_after_the_other=True))
    replayed(log, tmp_path)
    for name in ("decisions", "asks"):
        written = rows(tmp_path, name)
        assert written == sorted(written, key=place)


def test_an_ask_comes_before_what_it_supersedes(tmp_path: Path) -> None:
    told = (*WEEK, ticket_solved("Thu 17:00", rating="positive", customer="ben"))
    for lines in (fact_lines(*told), recorded_lines(*told, one_after_the_other=True)):
        replayed(write(tmp_path / "log", lines), tmp_path)
        last = [row["data"]["outcome"] for row in rows(tmp_path, "decisions") if row["subject"] == "ben"]
        assert last[-2:] == ["asked", "superseded"]


def test_what_does_not_fit_in_memory_comes_out_the_same(tmp_path: Path) -> None:
    log = write(tmp_path / "log", recorded_lines(*WEEK, one_after_the_other=True))
    for facts_only in (False, True):
        replayed(log, tmp_path / "much", facts_only=facts_only)
        replayed(log, tmp_path / "little", facts_only=facts_only, memory_bytes=2_000)
        for name in FILES:
            assert (tmp_path / "little" / name).read_bytes() == (tmp_path / "much" / name).read_bytes()


@pytest.mark.parametrize(
    ("until", "asks", "last"),
    [
        ("Thu 12:49:59.999", ["eva"], "2026-06-18T10:31:00.000Z"),
        ("Thu 12:50", ["eva", "ana"], "2026-06-18T10:51:00.000Z"),
    ],
)
def test_until_is_the_last_instant_that_is_played(tmp_path: Path, until: str, asks: list[str], last: str) -> None:
    log = write(tmp_path / "log", fact_lines(*WEEK))
    replayed(log, tmp_path, until=at(until))
    assert [row["subject"] for row in rows(tmp_path, "asks")] == asks
    assert max(row["time"] for row in rows(tmp_path, "decisions")) <= last


def test_an_exact_replay_stops_at_until_too(tmp_path: Path) -> None:
    log = write(tmp_path / "log", recorded_lines(*WEEK, one_after_the_other=True))
    replayed(log, tmp_path, until=at("Thu 12:49:59.999"))
    assert [row["subject"] for row in rows(tmp_path, "asks")] == ["eva"]


# ---- logs that are not what they should be


def test_a_bad_line_stops_the_replay_and_is_named(tmp_path: Path) -> None:
    log = write(tmp_path / "log", [*fact_lines(nps(9)), b'{"topic": "nps"', *fact_lines(nps(9))])
    with pytest.raises(BadLine, match=r"log:2: not JSON"):
        replayed(log, tmp_path)


def test_bad_lines_may_be_skipped_and_end_as_dead_letters(tmp_path: Path) -> None:
    good = fact_lines(*WEEK)
    bad = [b"not json", b'{"topic": "nps", "value": 1}']
    replayed(write(tmp_path / "good", good), tmp_path / "good-out")
    log = write(tmp_path / "log", [bad[0], *good, b"", bad[1]])
    summary = replayed(log, tmp_path / "out", skip_bad=True)
    assert summary.bad_lines == 2
    assert rows(tmp_path / "out", "decisions") == rows(tmp_path / "good-out", "decisions")
    letters = rows(tmp_path / "out", "dead-letters")
    assert [letter["headers"]["source-offset"] for letter in map(_flat, letters)] == ["0", str(len(good) + 2)]


def test_dead_letters_lie_in_the_order_of_the_log(tmp_path: Path) -> None:
    broken = [
        json.dumps({"topic": "nps", "timestamp": at("Thu 12:30"), "partition": part, "offset": 5, "value": {"n": part}})
        for part in (2, 0, 1)
    ]
    summary = replayed(write(tmp_path / "log", [line.encode() for line in broken]), tmp_path)
    letters = rows(tmp_path, "dead-letters")
    assert [letter["value"]["n"] for letter in letters] == [2, 0, 1]
    assert [_flat(letter)["headers"]["source-partition"] for letter in letters] == ["2", "0", "1"]
    assert summary.refused == {"unrecognised": 3}


def test_a_log_with_customer_events_and_source_topics_is_refused(tmp_path: Path) -> None:
    facts, recorded = fact_lines(nps(9)), recorded_lines(nps(9))
    for lines in (facts + recorded, recorded + facts):
        with pytest.raises(MixedLog, match="customer-events and source topics in one log"):
            replayed(write(tmp_path / "log", lines), tmp_path)


def test_a_recorded_log_without_its_beginning_is_refused_unless_facts_are_wanted(tmp_path: Path) -> None:
    lines = [line for line in recorded_lines(*WEEK) if json.loads(line)["offset"] > 0]
    log = write(tmp_path / "log", lines)
    with pytest.raises(
        LogStartsLate, match=r"log:1: partition \d of customer-events starts at offset 1; .* from offset 0"
    ):
        replayed(log, tmp_path)
    assert replayed(log, tmp_path, facts_only=True).records == len(lines)


def test_a_recorded_log_may_leave_partition_and_offset_out(tmp_path: Path) -> None:
    lines = []
    for line in recorded_lines(*WEEK):
        entry = json.loads(line)
        del entry["offset"], entry["partition"]
        lines.append(json.dumps(entry).encode())
    assert replayed(write(tmp_path / "log", lines), tmp_path).exact


def test_a_record_of_ours_that_cannot_be_read_is_a_dead_letter(tmp_path: Path) -> None:
    lines = recorded_lines(nps(9))
    entry = json.loads(lines[0])
    entry["value"]["data"] = {"response_id": "r1", "score": 11}
    summary = replayed(write(tmp_path / "log", [json.dumps(entry).encode()]), tmp_path)
    assert summary.refused == {"invalid": 1}
    assert len(rows(tmp_path, "dead-letters")) == 1


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_log_gives_empty_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    summary = replayed(tmp_path / "log", tmp_path)
    assert (summary.records, summary.customers) == (0, 0)
    assert [(tmp_path / name).read_bytes() for name in FILES] == [b"", b"", b""]


# ---- the same bytes


@rule("9.13")
@pytest.mark.parametrize("lines", [fact_lines(*WEEK), recorded_lines(*WEEK)], ids=["facts", "exact"])
def test_two_processes_write_the_same_bytes(tmp_path: Path, lines: list[bytes]) -> None:
    """Whatever hash seed, working directory and machine zone they have."""
    log = write(tmp_path / "log", lines)
    written = []
    for seed, machine_zone in (("1", "America/New_York"), ("2", "Asia/Kolkata")):
        output = tmp_path / seed
        output.mkdir()
        command = [sys.executable, "-m", "referral_stream", "replay", str(log), "--output", str(output)]
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "TZ": machine_zone,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        subprocess.run(command, check=True, env=environment, cwd=output, capture_output=True)
        written.append([(output / name).read_bytes() for name in FILES])
    assert written[0] == written[1]
    assert written[0][0], "something was decided"


def _flat(letter: Row) -> Row:
    """Headers are an object or, where their order matters, a list of pairs."""
    return {**letter, "headers": dict(letter["headers"])}


def test_a_ticket_solved_well_is_seen_in_both_kinds_of_replay(tmp_path: Path) -> None:
    told = (*WEEK, ticket_solved("Thu 17:00", rating="positive", customer="ben"))
    for name, lines in (("facts", fact_lines(*told)), ("exact", recorded_lines(*told))):
        replayed(write(tmp_path / f"{name}.log", lines), tmp_path / name)
        asks = [row for row in rows(tmp_path / name, "asks") if row["subject"] == "ben"]
        assert [ask["time"] for ask in asks] == ["2026-06-18T15:00:00.000Z"]


@rule("I7.3")
def test_a_log_with_something_appended_that_no_step_appends_is_refused(tmp_path: Path) -> None:
    """It is read to its end: what was decided until then is there to be looked at."""
    log = recorded_lines(a_customer("ana"), nps(9, "Thu 12:30", customer="ana"))
    passed_on = json.loads(log[-1])
    passed_on["value"] |= {"id": "passed-on", "via": '["eva"]'}
    passed_on |= {"offset": len(log), "key": "ana"}
    with pytest.raises(Diverged, match="1 records"):
        replayed(write(tmp_path / "log", [*log, json.dumps(passed_on).encode()]), tmp_path)
    assert rows(tmp_path, "asks")


@rule("I7.1")
def test_what_ids_append_to_each_other_is_taken_before_the_next_record_of_the_log() -> None:
    seen: list[tuple[str, str]] = []
    facts = FactReplay(POLICY, witness=lambda customer, event, _: seen.append((customer.id, event.type)))
    told = [
        fact(ev.Aliased(alias="old"), "Thu 12:00"),
        fact(ev.Aliased(alias="older"), "Thu 12:00", customer="old"),
        nps(9, "Thu 12:00"),
        nps(9, "Thu 12:00", "r2", customer="older"),
    ]
    for _ in facts.run((Arrival(event.time, event) for event in told), at("Thu 12:00")):
        pass
    assert seen == [
        ("ana", "customer.aliased"), ("old", "merge.requested"), ("ana", "merge.delivered"),
        ("old", "customer.aliased"), ("ana", "customer.aliased"), ("older", "merge.requested"),
        ("ana", "merge.delivered"),
        ("ana", "nps.responded"),
        ("older", "nps.responded"), ("ana", "nps.responded"),
    ]  # fmt: skip


@rule("I7.2")
def test_of_a_recorded_log_the_facts_alone_are_what_producers_said(tmp_path: Path) -> None:
    """What ids passed on, what they asked of each other and the switches that the ledger passed on are made again."""
    told = (
        a_customer("ana"),
        a_customer("old"),
        nps(9, "Thu 10:00", customer="old"),
        fact(ev.Aliased(alias="old"), "Thu 10:01"),
        ticket_opened("Thu 10:02", customer="old"),
        nps(9, "Thu 10:03", "r2", customer="ana"),
    )
    lines = recorded_lines(told)
    passed_on = [json.loads(line) for line in lines if "via" in json.loads(line)["value"]]
    assert [(row["key"], row["value"]["type"]) for row in passed_on] == [("ana", "ticket.opened")]
    switch = fact(ev.ControlResumed(scope="all", by="zoe", why="over"), "Thu 10:02", customer="ana")
    recorded = recorded_records([Arrival(switch.time, switch)])[0]
    lines.append(render_line(msgspec.structs.replace(recorded, key=b"ana", partition=7)))
    replayed(write(tmp_path / "recorded", lines), tmp_path / "from-recorded", facts_only=True)
    replayed(write(tmp_path / "raw", fact_lines(told)), tmp_path / "from-raw")
    for name in ("decisions", "asks"):
        assert rows(tmp_path / "from-recorded", name) == rows(tmp_path / "from-raw", name)
    assert rows(tmp_path / "from-raw", "decisions")
