"""Records that are not applied: the worker and an exact replay refuse the same ones, with the same dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.contracts import applying
from referral_stream.contracts.applying import EVENTS_HEADER, FAULT, STILL_QUARANTINED, NotApplied, names_of
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import decode_customer
from referral_stream.contracts.topics import Topics
from referral_stream.core import step as core_step
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Letter
from referral_stream.core.events import Event
from referral_stream.core.instants import HOUR, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.core.turn import Turn
from referral_stream.replay import virtual_run
from referral_stream.replay.files import Summary, replay_file
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.virtual_run import Arrival
from referral_stream.stream.decide import Decide
from tests.builders import POLICY, a_customer, at, nps
from tests.properties.recording import Recording
from tests.replay.logs import BOUNDARY, arrivals, recorded_records, write
from tests.stream.records import an_event

FAILS_ON = "usage.compared"
LATER = at("Fri 12:00")
ANA = tuple(Recording(POLICY).run(arrivals(*a_customer("ana"), nps(9, "Thu 12:30", customer="ana"))).log)
BROKEN = an_event(FAILS_ON, LATER, "ana", above_average=False)
ENDED = an_event("deadletter.replayed", LATER + HOUR, "ana")


class Broken(Exception):
    pass


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Types of events on which our own code fails after ``LATER``; ``""``: whatever it is given after a fault."""
    types = [FAILS_ON]
    real = core_step.step

    def failing(policy: Policy, customer: Customer, inputs: Sequence[Event], now: int) -> core_step.Advanced:
        if now >= LATER and (any(event.type in types for event in inputs) or ("" in types and not inputs)):
            raise Broken("ana@example.com")
        return real(policy, customer, inputs, now)

    monkeypatch.setattr(applying, "step", failing)
    return types


class Outcome(NamedTuple):
    """What a run over a log made of it; commands and decisions in the order in which they were written."""

    decisions: list[bytes]
    asks: list[bytes]
    letters: list[tuple[bytes | None, bytes | None, Headers]]
    refused: dict[str, int]
    customer: Customer


def live(records: Sequence[RawRecord], size: int) -> Outcome:
    """The decide agent's, in batches of so many records."""
    agent, tables = Decide(Topics(), POLICY), dict[tuple[str, bytes], bytes]()

    def read(table: str, key: bytes) -> bytes | None:
        return tables.get((table, key))

    outputs = []
    for start in range(0, len(records), size):
        result = agent(0, records[start : start + size], read)
        outputs += result.outputs
        for table, changes in result.changes.items():
            tables |= {(table, key): value for key, value in changes.items() if value is not None}
    values = {name: [o.value or b"" for o in outputs if o.topic == name] for name in (o.topic for o in outputs)}
    return Outcome(
        decisions=values.get("referral-decisions", []),
        asks=values.get("referral-asks", []),
        letters=[(o.key, o.value, tuple(o.headers)) for o in outputs if o.topic == "dead-letters"],
        refused={name.removeprefix("refused_"): count for name, count in agent.counts.items()},
        customer=decode_customer(tables["customers", b"ana"]).entity,
    )


def replayed(records: Sequence[RawRecord], folder: Path) -> Outcome:
    """The files' and, of the state, the replay's own."""
    log = write(folder / "log", map(render_line, records))
    summary: Summary = replay_file(log, folder, POLICY, BOUNDARY)
    assert summary.exact
    letters = [
        parse_line(line, file="letters", number=number)
        for number, line in enumerate((folder / "dead-letters.jsonl").read_bytes().splitlines(), 1)
    ]
    replay = ExactReplay(POLICY)
    for _ in replay.run(records):
        pass
    held = {STILL_QUARANTINED: summary.still_quarantined} if summary.still_quarantined else {}
    return Outcome(
        decisions=(folder / "decisions.jsonl").read_bytes().splitlines(),
        asks=(folder / "asks.jsonl").read_bytes().splitlines(),
        letters=[(letter.key, letter.value, letter.headers) for letter in letters],
        refused={**summary.refused, **held},
        customer=replay.customers["ana"],
    )


def records(*more: RawRecord) -> list[RawRecord]:
    """Ana's log up to her ask, and then these."""
    before = recorded_records(ANA)
    return [
        msgspec.structs.replace(record, partition=0, offset=offset) for offset, record in enumerate([*before, *more])
    ]


def a_record(event: Event, *, now: int | None = None, **other: object) -> RawRecord:
    (record,) = recorded_records([Arrival(event.time if now is None else now, event)])
    return msgspec.structs.replace(record, **other)


def errors(outcome: Outcome) -> list[str]:
    return [(dict(headers)["error"] or b"").decode() for _, _, headers in outcome.letters]


WRONG_KEY = a_record(an_event("nps.responded", LATER, "ben", response_id="r9", score=9), key=b"ana")
FAILING = a_record(BROKEN)
END = a_record(ENDED)
EARLY_END = a_record(an_event("deadletter.replayed", LATER + HOUR, "ana", events=names_of([BROKEN])))
OLD_EARLY_END = msgspec.structs.replace(
    END, headers=(*END.headers, (EVENTS_HEADER, (names_of([BROKEN]) or "").encode()))
)

CASES = {
    "a key that is not the subject": ([WRONG_KEY], ["invalid: subject: is not the key of its record"], {"invalid": 1}),
    "no key": (
        [msgspec.structs.replace(WRONG_KEY, key=None)],
        ["invalid: subject: is not the key of its record"],
        {"invalid": 1},
    ),
    "no stamp": ([msgspec.structs.replace(FAILING, headers=())], ["invalid: header now: must be epoch milliseconds"],
                 {"invalid": 1}),
    "a step that raises": ([FAILING], ["fault: Broken"], {FAULT: 1}),
    "a step that raises again": (
        [FAILING, msgspec.structs.replace(FAILING, headers=(*FAILING.headers, ("attempt", b"2")))],
        ["fault: Broken", "fault: Broken"],
        {FAULT: 2},
    ),
    "a hold that stays": ([FAILING, EARLY_END], ["fault: Broken"], {FAULT: 1, STILL_QUARANTINED: 1}),
    "a hold that stays, said by a header": (
        [FAILING, OLD_EARLY_END],
        ["fault: Broken"],
        {FAULT: 1, STILL_QUARANTINED: 1},
    ),
    "a hold that ends": ([FAILING, END], ["fault: Broken"], {FAULT: 1}),
}  # fmt: skip


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("case", CASES)
def test_live_and_replayed_are_the_same(tmp_path: Path, case: str, size: int) -> None:
    last, expected, refused = CASES[case]
    log = records(*last)
    outcome = live(log, size)
    assert outcome == replayed(log, tmp_path)
    assert errors(outcome) == expected
    assert outcome.refused == refused
    assert outcome.asks, "before, she was asked"


@pytest.mark.usefixtures("broken")
def test_a_fault_holds_the_customer_until_what_was_replayed_went_through() -> None:
    on_hold = {case: live(records(*last), 1).customer.quarantined for case, (last, _, _) in CASES.items()}
    assert [case for case, held in on_hold.items() if held] == [
        "a step that raises",
        "a step that raises again",
        "a hold that stays",
        "a hold that stays, said by a header",
    ]


def test_a_state_on_which_our_code_fails_is_held_by_both(tmp_path: Path, broken: list[str]) -> None:
    broken.append("")
    log = records(FAILING)
    assert live(log, 1) == replayed(log, tmp_path)
    assert live(log, 1).customer.quarantined


@pytest.mark.usefixtures("broken")
def test_a_letter_is_written_at_the_customers_own_instant_and_counts_the_attempts(tmp_path: Path) -> None:
    unstamped = a_record(BROKEN, headers=(("attempt", b"3"),), timestamp=0)
    outcome = replayed(records(unstamped), tmp_path)
    told = dict(outcome.letters[0][2])
    assert (told["stage"], told["attempt"]) == (b"decide", b"3")
    assert told["occurred-at"] == rfc3339(outcome.customer.now).encode()
    assert live(records(unstamped), 1).letters == outcome.letters


def test_a_step_that_complains_makes_a_letter_of_a_record_that_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core_step.step

    def complaining(policy: Policy, customer: Customer, inputs: Sequence[Event], now: int) -> core_step.Advanced:
        told = [Letter("odd", event.type) for event in inputs if event == BROKEN]
        return real(policy, customer, inputs, now)._replace(letters=told)

    monkeypatch.setattr(applying, "step", complaining)
    log = records(FAILING)
    outcome = live(log, 1)
    assert outcome == replayed(log, tmp_path)
    assert (errors(outcome), outcome.refused) == ([f"odd: {FAILS_ON}"], {"odd": 1})
    assert outcome.customer.above_average is not None
    told = dict(outcome.letters[0][2])
    assert (told["source-offset"], told["stage"]) == (b"%d" % (len(log) - 1), b"decide")


def test_in_a_fact_replay_it_is_a_letter_of_the_logs_own_record(monkeypatch: pytest.MonkeyPatch) -> None:
    real = core_step.take

    def complaining(turn: Turn, event: Event) -> None:
        real(turn, event)
        turn.letters += [Letter("odd", event.type)] * (event.type == FAILS_ON)

    monkeypatch.setattr(virtual_run, "take", complaining)
    seen: list[tuple[RawRecord, NotApplied]] = []
    facts = virtual_run.FactReplay(POLICY, lettered=lambda *told: seen.append(told))
    for _ in facts.run([Arrival(LATER, BROKEN, FAILING)]):
        pass
    assert seen == [(FAILING, NotApplied("odd", FAILS_ON, LATER))]


@pytest.mark.usefixtures("broken")
def test_apply_is_total_and_quotes_nothing() -> None:
    seen: list[NotApplied] = []
    replay = ExactReplay(POLICY, refused=lambda _, refused: seen.append(refused))
    for _ in replay.run(records(WRONG_KEY, FAILING, EARLY_END)):
        pass
    assert [each.cause for each in seen] == ["invalid", FAULT, STILL_QUARANTINED]
    assert [type(fault) for each in seen for fault in each.faults] == [Broken]
    assert not any("example.com" in each.detail for each in seen)
    assert replay.events == len(ANA)


@pytest.mark.usefixtures("broken")
def test_replay_and_explain_do_not_end_in_a_traceback(tmp_path: Path) -> None:
    log = write(tmp_path / "log", map(render_line, records(WRONG_KEY, FAILING, EARLY_END)))
    runner = CliRunner()
    replay = runner.invoke(main, ["replay", str(log), "--output", str(tmp_path / "out")])
    explain = runner.invoke(main, ["explain", "ana", "--log", str(log)])
    assert (replay.exit_code, explain.exit_code) == (0, 0), (replay.output, explain.output)
    assert "still on hold" in replay.output
    assert "fault 1, invalid 1" in " ".join(replay.output.split())


@pytest.mark.usefixtures("broken")
def test_what_is_refused_after_until_is_left_out(tmp_path: Path) -> None:
    log = write(tmp_path / "log", map(render_line, records(FAILING)))
    summary = replay_file(log, tmp_path, POLICY, BOUNDARY, until=LATER - 1)
    assert summary.refused == {}
