"""The decide step on batches: marks, dead letters, quarantine, wake-ups; without a broker."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from faust_batches import BatchResult, Output

from referral_stream.contracts import applying
from referral_stream.contracts.state import decode_customer, decode_wakeup
from referral_stream.contracts.topics import Topics
from referral_stream.core import step as core_step
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant
from referral_stream.core.policy import Holdout, Policy
from referral_stream.stream import decide
from tests.stream.records import Consumed, an_event, on_customer_events
from tests.worlds.customers import history

TUESDAY = parse_instant("2026-06-16T08:00:00Z")[0]
EVERYBODY = Policy(holdout=Holdout(percent=0))


class Table:
    """Local tables that take each batch's changes."""

    def __init__(self, policy: Policy = EVERYBODY) -> None:
        self.decide = decide.Decide(Topics(), policy)
        self.values: dict[tuple[str, bytes], bytes] = {}
        self.offset = 0

    def records(self, events: Sequence[tuple[int, Event]]) -> list[Consumed]:
        found = []
        for now, event in events:
            found.append(on_customer_events(event, now, self.offset))
            self.offset += 1
        return found

    def run(self, records: Sequence[Consumed], *, durable: bool = True) -> BatchResult:
        result = self.decide(0, records, lambda table, key: self.values.get((table, key)))
        if durable:
            for table, changes in result.changes.items():
                for key, value in changes.items():
                    if value is None:
                        self.values.pop((table, key), None)
                    else:
                        self.values[table, key] = value
        return result


def happy(customer: str, before: int) -> list[tuple[int, Event]]:
    """What makes a customer one who may be asked, all of it long before."""
    facts = history("goal", "usage", "feedback", "champion", "advice", tenure_days=100)
    return [(before - f.age, an_event(f.type, before - f.age, customer, **f.body)) for f in facts]


def promoter(customer: str, at: int) -> tuple[int, Event]:
    return (at, an_event("nps.responded", at, customer, response_id="r1", score=10))


def outputs(result: BatchResult, topic: str) -> list[dict[str, object]]:
    return [json.loads(o.value or b"") for o in result.outputs if o.topic == topic]


def outcomes(result: BatchResult) -> list[object]:
    return [message["data"]["outcome"] for message in outputs(result, "referral-decisions")]  # type: ignore[index]  # JSON


def test_a_batch_makes_decisions_a_state_and_a_wakeup() -> None:
    table = Table()
    result = table.run(table.records([*happy("cus-ana", TUESDAY), promoter("cus-ana", TUESDAY)]))

    assert outcomes(result) == ["pending"]
    stored = decode_customer(table.values["customers", b"cus-ana"])
    assert stored.mark == 10
    assert stored.entity.wake_at == TUESDAY + 20 * MINUTE
    assert decode_wakeup(table.values["wakeups", b"cus-ana"]).due == TUESDAY + 20 * MINUTE


def test_a_redelivered_batch_changes_nothing_and_says_nothing() -> None:
    table = Table()
    records = table.records([*happy("cus-ana", TUESDAY), promoter("cus-ana", TUESDAY)])
    table.run(records)
    before = dict(table.values)

    again = table.run(records)

    assert again.outputs == []
    assert again.changes == {"customers": {}, "wakeups": {}}
    assert table.values == before


def test_of_a_batch_that_overlaps_only_the_new_records_count() -> None:
    table = Table()
    history = table.records(happy("cus-ana", TUESDAY))
    table.run(history)

    result = table.run([*history[-3:], *table.records([promoter("cus-ana", TUESDAY)])])

    assert outcomes(result) == ["pending"]


def test_a_batch_that_was_not_made_durable_is_computed_to_the_same_bytes() -> None:
    table = Table()
    table.run(table.records(happy("cus-ana", TUESDAY)))
    records = table.records([promoter("cus-ana", TUESDAY)])

    assert table.run(records, durable=False) == table.run(records)


def test_batches_may_be_cut_anywhere() -> None:
    def all_outputs(size: int) -> list[Output]:
        table = Table()
        events = [*happy("cus-ana", TUESDAY), *happy("cus-ben", TUESDAY), promoter("cus-ana", TUESDAY)]
        records = table.records(events)
        found = []
        for start in range(0, len(records), size):
            found += table.run(records[start : start + size]).outputs
        return found

    assert all_outputs(1) == all_outputs(7) == all_outputs(100)


@pytest.mark.parametrize(
    ("value", "headers", "cause"),
    [
        (b"\xff\xfe", (("now", b"1781596800000"),), "undecodable"),
        (b"{}", (("now", b"1781596800000"),), "unknown_type"),
        (None, (("now", b"1781596800000"),), "undecodable"),
        (b'{"specversion":"1.0"}', (), "invalid"),
    ],
)
def test_what_can_not_be_decoded_is_a_dead_letter_and_the_batch_goes_on(
    value: bytes | None, headers: tuple[tuple[str, bytes], ...], cause: str
) -> None:
    table = Table()
    poison = Consumed("customer-events", 0, 0, TUESDAY, b"cus-ana", value, headers)
    table.offset = 1
    result = table.run([poison, *table.records([*happy("cus-ana", TUESDAY), promoter("cus-ana", TUESDAY)])])

    (letter,) = [o for o in result.outputs if o.topic == "dead-letters"]
    told = dict(letter.headers)
    assert letter.value == value
    assert (told["error"] or b"").startswith(cause.encode())
    assert (told["stage"], told["source-topic"], told["source-offset"]) == (b"decide", b"customer-events", b"0")
    assert outcomes(result) == ["pending"]


def test_an_event_under_another_customers_key_is_a_dead_letter() -> None:
    table = Table()
    stray = on_customer_events(an_event("goal.achieved", TUESDAY, "cus-ben", goal="x"), TUESDAY, 0)
    result = table.run([Consumed(**{**vars(stray), "key": b"cus-ana"})])

    assert [o.topic for o in result.outputs] == ["dead-letters"]


class Broken(Exception):
    pass


@pytest.fixture
def breaks_on_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in our own code: it fails on every goal."""
    real = core_step.step

    def failing(policy: Policy, customer: object, inputs: Sequence[Event], now: int) -> object:
        if any(event.type == "goal.achieved" for event in inputs):
            raise Broken
        return real(policy, customer, inputs, now)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(applying, "step", failing)


@pytest.mark.usefixtures("breaks_on_goals")
def test_a_fault_of_ours_holds_the_customer_and_lets_no_ask_slip_out() -> None:
    table = Table()
    history = [pair for pair in happy("cus-ana", TUESDAY) if pair[1].type != "goal.achieved"]
    table.run(table.records([*history, promoter("cus-ana", TUESDAY)]))
    goal = (TUESDAY + MINUTE, an_event("goal.achieved", TUESDAY + MINUTE, "cus-ana", goal="x"))

    result = table.run(table.records([goal, *happy("cus-ben", TUESDAY)[:2]]))

    (letter,) = [o for o in result.outputs if o.topic == "dead-letters"]
    assert dict(letter.headers)["error"] == b"fault: Broken"
    assert outcomes(result)[-1] == "deferred"
    (decision,) = outputs(result, "referral-decisions")
    blocking = [r for r in decision["data"]["reasons"] if r["answer"] != "pass"]  # type: ignore[index]  # JSON
    assert {"gate": "trouble", "until": "deadletter.replayed"}.items() <= {
        k: blocking[0][k] for k in ("gate", "until")
    }.items()
    assert decode_customer(table.values["customers", b"cus-ana"]).mark == table.offset - 2
    assert b"cus-ben" in {key for name, key in table.values if name == "customers"}


@pytest.mark.usefixtures("breaks_on_goals")
def test_a_customer_on_hold_may_be_asked_once_the_dead_letter_was_replayed() -> None:
    table = Table()
    history = [pair for pair in happy("cus-ana", TUESDAY) if pair[1].type != "goal.achieved"]
    goal = (TUESDAY - DAY, an_event("goal.achieved", TUESDAY - DAY, "cus-ana", goal="x"))
    table.run(table.records([*history, goal, promoter("cus-ana", TUESDAY)]))
    assert decode_customer(table.values["customers", b"cus-ana"]).entity.quarantined

    replayed = an_event("deadletter.replayed", TUESDAY + HOUR, "cus-ana")
    table.run(table.records([(TUESDAY + HOUR, replayed)]))

    assert not decode_customer(table.values["customers", b"cus-ana"]).entity.quarantined


def test_a_wakeup_that_is_no_longer_needed_is_cleared() -> None:
    table = Table()
    table.run(table.records([*happy("cus-ana", TUESDAY), promoter("cus-ana", TUESDAY)]))
    corrected = an_event("nps.responded", TUESDAY + MINUTE, "cus-ana", response_id="r1", score=3)

    result = table.run(table.records([(TUESDAY + MINUTE, corrected)]))

    assert outcomes(result) == ["cancelled"]
    assert result.changes["wakeups"] == {b"cus-ana": None}
