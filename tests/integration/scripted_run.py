"""One run of the script by a live pipeline, and what the naive oracle makes of the same facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_state
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.instants import SECOND, parse_instant, to_datetime
from referral_stream.policy_file.reading import parse_policy
from referral_stream.replay.recorded_run import ExactReplay
from tests.integration.live import Pipeline, Said, facts, parsed, requested
from tests.integration.scripted import (
    ORACLE_POLICY,
    SETTLED,
    Phase,
    corrected_late,
    messages,
    same_person_twice,
    stories,
)
from tests.oracle.naive import decide
from tests.oracle.world import Result, Row
from tests.services.process import wait_until

GRACE = 2 * SECOND
"""After something is due, before the next thing is done; what must have happened by then is waited for besides."""


@dataclass(frozen=True)
class Ask:
    """What an oracle that is exact to the millisecond and a live clock can agree on."""

    customer: str
    trigger: str
    subject: str
    command: str
    opportunity: str
    mode: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class ScriptedRun:
    """What was there when the worker had stopped, and what should have been."""

    events: list[RawRecord]
    asks: list[Said]
    decisions: list[Said]
    expected: Result

    def asked(self) -> dict[Ask, int]:
        """Every ask, with the instant at which it was decided."""
        return {ask_of_effect(each.effect): each.now for each in self.asks if isinstance(each.effect, AskRequested)}

    def expected_asks(self) -> dict[Ask, int]:
        """Every ask of the oracle, with the instant at which it was due."""
        return dict(ask_of_row(row) for row in self.expected.asks if row["type"] == "referral.ask.requested")

    def cancelled(self) -> set[str]:
        """The ids of the commands taken back."""
        return {each.effect.command_id for each in self.asks if isinstance(each.effect, AskCancelled)}

    def outcomes(self) -> dict[str, str]:
        """Opportunity id → its last outcome."""
        made = [each.effect for each in self.decisions if isinstance(each.effect, Decision)]
        return _last((each.opportunity_id, each.outcome) for each in made)

    def expected_outcomes(self) -> dict[str, str]:
        return _last((row["data"]["opportunity_id"], row["data"]["outcome"]) for row in self.expected.decisions)


def run_script(pipeline: Pipeline, meanwhile: Callable[[Phase], None] = lambda _: None) -> ScriptedRun:
    """Publish all phases to a pipeline that runs; ``meanwhile`` is called in each, as soon as it is published."""
    told = stories()
    waited_for = {s.customer for s in told if s.phases[Phase.TRIGGERS] and s.kind in _ASKED_BEFORE_LATE}
    told_so_far: set[str] = set()
    for phase in Phase:
        if phase is Phase.REPORTS:
            pipeline.await_clock(pipeline.now() + SETTLED + GRACE)
            _await_all(pipeline, waited_for)
        pipeline.publish(messages(told, phase, pipeline.now()))
        meanwhile(phase)
        told_so_far |= {line.id for story in told for line in story.phases[phase]}
        pipeline.await_facts(told_so_far)
    pipeline.await_clock(pipeline.now() + GRACE)
    arrived = facts(pipeline.read("customer-events"))
    expected = decide(recorded(arrived), to_datetime(pipeline.now()), ORACLE_POLICY)
    count = sum(row["type"] == "referral.ask.requested" for row in expected.asks)
    reader = pipeline.reader("referral-asks")
    with suppress(TimeoutError):  # the tests say which asks are missing
        wait_until(
            lambda: sum(map(_is_request, reader.read())) >= count, f"{count} asks are out", seconds=180, every=0.2
        )
    pipeline.stop()
    return ScriptedRun(pipeline.read("customer-events"), pipeline.asks(), pipeline.decisions(), expected)


def recorded(arrived: Iterable[RawRecord]) -> list[dict[str, Any]]:
    """Facts as the oracle reads them: each at the instant at which the decide agent saw it, in that order."""
    seen: dict[bytes, int] = {}
    found = []
    for record in arrived:
        key = record.key or b""
        now = seen[key] = max(int(record.header("now") or 0), seen.get(key, 0))
        headers = {"historical": "true"} if record.historical else {}
        found.append({"topic": "customer-events", "timestamp": now, "value": parsed(record), "headers": headers})
    return sorted(found, key=lambda each: int(each["timestamp"]))


def assert_same_asks(scripted_run: ScriptedRun) -> None:
    """Every ask the oracle computes and no other, each once, none before it was due, each decision explained."""
    asked, expected = scripted_run.asked(), scripted_run.expected_asks()
    assert len(requested(scripted_run.asks)) == len(asked)
    if differing := asked.keys() ^ expected.keys():
        pytest.fail("\n".join(_told_of(differing, asked.keys(), scripted_run)), pytrace=False)
    assert [ask for ask, due in expected.items() if asked[ask] < due] == []
    explained = {
        each.effect.decision_id: each.effect for each in scripted_run.decisions if isinstance(each.effect, Decision)
    }
    for each in scripted_run.asks:
        if isinstance(each.effect, AskRequested):
            why = explained[each.effect.decision_id]
            assert (why.command_id, why.outcome) == (each.effect.command_id, _outcome(each.effect))
            assert [(r.gate, r.answer) for r in why.reasons if r.answer != "pass"] == []


def _told_of(asks: Iterable[Ask], asked: Collection[Ask], scripted_run: ScriptedRun) -> list[str]:
    """These asks, each with what was decided of its customer live, and by the oracle."""
    found = []
    for ask in asks:
        found.append(f"{'asked, and not expected' if ask in asked else 'expected, and not asked'}: {ask}")
        found += [
            f"  live {each.now} {each.effect}" for each in scripted_run.decisions if ask.customer in str(each.effect)
        ]
        found += [
            f"  oracle {row['time']} {row['data']}"
            for row in scripted_run.expected.decisions
            if row["data"]["customer_id"] == ask.customer
        ]
    return found


def assert_state_is_exact(pipeline: Pipeline, scripted_run: ScriptedRun) -> None:
    """The changelog's last values are what a fold of the log up to their marks gives.

    Above a mark there is at most what the other roles of the worker, stopping beside it, appended last: no fact.
    """
    stored = {key.decode(): decode_state(value) for key, value in pipeline.changelog("customers").items()}
    marks = {key: each.mark for key, each in stored.items()}
    by_mark: dict[bool, list[RawRecord]] = {True: [], False: []}
    for record in scripted_run.events:
        by_mark[record.offset < marks[(record.key or b"").decode()]].append(record)
    assert facts(by_mark[False]) == []
    replay = ExactReplay(parse_policy(pipeline.policy_file.read_bytes()))
    for _ in replay.run(by_mark[True]):
        pass
    states = replay.by_key
    assert stored.keys() == states.keys()
    differing = {name for name, each in stored.items() if each.entity != states[name]}
    assert {name: stored[name].entity for name in differing} == {name: states[name] for name in differing}
    assert marks == {(record.key or b"").decode(): record.offset + 1 for record in by_mark[True]}


def ask_of_effect(ask: AskRequested) -> Ask:
    return Ask(
        ask.customer_id, ask.trigger, ask.subject, ask.command_id, ask.opportunity_id, ask.mode, tuple(ask.channels)
    )  # fmt: skip


def ask_of_row(row: Row) -> tuple[Ask, int]:
    """An ask of the oracle, with the instant at which it was due."""
    ask = row["data"]
    found = Ask(
        ask["customer_id"],
        ask["trigger"],
        ask["subject"],
        ask["command_id"],
        ask["opportunity_id"],
        ask["mode"],
        tuple(ask["channels"]),
    )
    return found, parse_instant(row["time"])[0]


_ASKED_BEFORE_LATE = {corrected_late, same_person_twice}


def _await_all(pipeline: Pipeline, customers: set[str]) -> None:
    """Until each of these has been asked, or held out."""
    reader = pipeline.reader("referral-decisions")

    def all_asked() -> bool:
        bodies = (parsed(record)["data"] for record in reader.read())
        return customers <= {body["customer_id"] for body in bodies if body["outcome"] in ("asked", "soft", "holdout")}

    wait_until(all_asked, "those to be corrected or repeated later have been asked", seconds=90, every=0.2)


def _outcome(ask: AskRequested) -> str:
    return "soft" if ask.mode == "soft" else "asked"


def _is_request(record: RawRecord) -> bool:
    return bool(parsed(record).get("type") == "referral.ask.requested")


def _last(written: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {opportunity: outcome for opportunity, outcome in written if outcome != "duplicate"}
