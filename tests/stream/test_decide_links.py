"""Links on the decide agent's topic: states, wake-ups, what is appended, dead letters and their replay."""

from __future__ import annotations

import json

import pytest
from faust_batches import BatchResult, Output

from referral_stream.contracts import applying
from referral_stream.contracts.applying import apply
from referral_stream.contracts.codec import arrival, decode_event, encode_event, event_headers
from referral_stream.contracts.deadletters import failure, original
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_state, decode_wakeup
from referral_stream.core import events as ev
from referral_stream.core.events import Event, Link
from referral_stream.core.instants import DAY
from referral_stream.core.links import CLOSING_DAYS, LinkState, step_link
from referral_stream.core.policy import Policy
from referral_stream.ops.deadletters import ListedLetter
from referral_stream.stream.wakeups import wakeup_outputs
from tests.builders import fact
from tests.rules import rule
from tests.stream.records import Consumed
from tests.stream.test_decide import TUESDAY, Table

CHARGE = Link("stripe_charge", "ch_1")
KEY = b"~stripe_charge:ch_1"
DISPUTED = fact(ev.ChargeDisputed(charge_id="ch_1"), TUESDAY, customer="", link=CHARGE)
SCORED = fact(ev.NpsResponded(response_id="r", score=9), TUESDAY, customer="", link=CHARGE)


def linked(customer: str) -> Event:
    return fact(ev.Linked(kind=CHARGE.kind, value=CHARGE.value), TUESDAY, customer=customer)


def appended(result: BatchResult) -> list[Output]:
    return [output for output in result.outputs if output.topic == "customer-events"]


def letters(result: BatchResult) -> list[RawRecord]:
    return [
        RawRecord(
            topic=o.topic, partition=0, offset=0, timestamp=0, key=o.key, value=o.value, headers=tuple(o.headers)
        )
        for o in result.outputs
        if o.topic == "dead-letters"
    ]  # fmt: skip


def again(table: Table, outputs: list[Output]) -> list[Consumed]:
    """What was appended, as the agent reads it."""
    found = []
    for output in outputs:
        found.append(
            Consumed("customer-events", 0, table.offset, TUESDAY, output.key, output.value, tuple(output.headers))
        )
        table.offset += 1
    return found


@rule("I4.3", "I4.7", "I4.8")
def test_a_dispute_waits_at_its_link_until_somebody_is_named_and_then_reaches_them() -> None:
    table = Table()
    table.run(table.records([(TUESDAY, DISPUTED)]))
    state = decode_state(table.values["customers", KEY])
    assert state.mark == 1
    assert isinstance(state.entity, LinkState)
    assert [kept.event for kept in state.entity.kept] == [DISPUTED]
    assert decode_wakeup(table.values["wakeups", KEY]).due == TUESDAY + CLOSING_DAYS * DAY

    (taught,) = appended(table.run(table.records([(TUESDAY + 5, linked("~ana"))])))
    assert (taught.key, decode_event(taught.value or b"").type) == (KEY, "link.taught")
    assert dict(taught.headers)["now"] == b"%d" % (TUESDAY + 5)
    (given,) = appended(table.run(again(table, [taught])))
    assert given.key == b"~~ana"
    event = decode_event(given.value or b"")
    assert (event.id, event.via, event.link) == (DISPUTED.id, (KEY.decode(),), CHARGE)
    table.run(again(table, [given]))
    customer = decode_state(table.values["customers", b"~~ana"]).entity
    assert not isinstance(customer, LinkState)
    assert (customer.id, customer.disputes["ch_1"].status) == ("~ana", "open")


@rule("I4.9")
def test_what_lapses_is_a_letter_at_the_position_of_its_record_and_can_be_replayed() -> None:
    table = Table()
    table.run(table.records([(TUESDAY - 1, linked("ana")), (TUESDAY, SCORED)]))
    due = decode_wakeup(table.values["wakeups", KEY]).due
    (output,) = wakeup_outputs([(0, KEY, due)], "customer-events", due + 3)
    woken = decode_event(output.value or b"")
    assert (woken.link, woken.subject) == (CHARGE, "")

    (letter,) = letters(table.run(again(table, [output])))
    said = failure(letter)
    assert said.error.startswith("unknown_customer: ")
    assert (said.stage, said.occurred_at, said.attempt) == ("decide", TUESDAY + 7 * DAY, 1)
    record = original(letter)
    assert (record.topic, record.offset, record.key, record.value) == ("customer-events", 1, KEY, encode_event(SCORED))
    assert arrival(record) == TUESDAY
    assert ("wakeups", KEY) not in table.values

    headers = (*event_headers(SCORED, due + 9), ("attempt", b"2"))
    replayed = Consumed("customer-events", 0, 77, due, KEY, record.value, headers)
    table.run([replayed])
    table.offset = 78
    (output,) = wakeup_outputs([(0, KEY, due + 9 + 7 * DAY)], "customer-events", due + 9 + 7 * DAY)
    (letter,) = letters(table.run(again(table, [output])))
    assert failure(letter).attempt == 2
    assert dict(letter.headers)["source-offset"] == b"77"


@rule("I4.10")
def test_what_can_mean_two_is_a_letter() -> None:
    table = Table()
    email = Link("email", "a" * 64)
    taught = [
        fact(ev.LinkTaught(customer=each, standing="theirs"), TUESDAY, customer="", link=email) for each in ("a", "b")
    ]
    scored = fact(SCORED.data, TUESDAY, customer="", link=email)
    (letter,) = letters(table.run(table.records([(TUESDAY, each) for each in (*taught, scored)])))
    assert failure(letter).error == "ambiguous_customer: 2 customers may be meant"
    assert json.loads(letter.value or b"")["link"] == str(email)


def test_a_fault_of_ours_at_a_link_is_a_letter_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    table = Table()
    (record,) = table.records([(TUESDAY, DISPUTED)])
    monkeypatch.setattr(applying, "step_link", fails)
    (letter,) = letters(table.run([record]))
    assert failure(letter).error == "fault: ZeroDivisionError"
    listed = ListedLetter(0, 0, letter.key, failure(letter), "customer-events", 0, 0, 0, has_payload=True)
    assert not listed.holds
    monkeypatch.setattr(applying, "step_link", step_link)
    assert letters(table.run([Consumed(**{**vars(record), "offset": 1})])) == []
    applied = apply(Policy(), LinkState(CHARGE), record)
    assert applied.effects == []
