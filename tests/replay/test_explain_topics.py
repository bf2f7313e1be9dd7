"""One customer of the running system, put together from records as they lie on the topics."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from referral_stream.contracts.codec import effect_key, encode_effect, encode_event, event_headers
from referral_stream.contracts.deadletters import Replayed, dead_letter, replayed_headers
from referral_stream.contracts.records import NOW_HEADER, Headers, RawRecord
from referral_stream.contracts.state import encode_customer, encode_hold, encode_wakeup
from referral_stream.core import events as ev
from referral_stream.core.effects import Effect, LedgerRenewed, ReservationHeld
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.explaining import explain as explained_from
from referral_stream.explain.of_log import explain
from referral_stream.explain.of_topics import LedgerOf, RecordsOf, States, background_of, is_held
from referral_stream.replay.recorded_run import ExactReplay
from tests.builders import POLICY, Told, a_customer, acknowledged, answered, at, command_of, nps, pause, ticket_opened
from tests.properties.recording import Recording
from tests.replay.logs import BOUNDARY, arrivals, recorded_lines, recorded_records, write

OPEN_TICKET = ticket_opened("Wed 10:00", "4711")
NOW = at("Thu 13:00")
ASK = command_of()


def record(
    topic: str, key: bytes | None, value: bytes | None, *, now: int = NOW, offset: int = 0, headers: Headers = ()
) -> RawRecord:
    stamped = headers or ((NOW_HEADER, b"%d" % now),)
    return RawRecord(topic=topic, partition=0, offset=offset, timestamp=now, key=key, value=value, headers=stamped)


def of_effect(effect: Effect, now: int) -> RawRecord:
    return record("referral-decisions", effect_key(effect), encode_effect(effect, now), now=now)


class Topics(NamedTuple):
    """What lies on the topics about ana, and what has come since her state was stored."""

    states: States
    said: RecordsOf


def topics(*told: Told, later: Told = ()) -> Topics:
    """``later``: on ``customer-events``, and not applied yet."""
    records = recorded_records(Recording(POLICY).run(arrivals(*told)).log)
    exact = ExactReplay(POLICY)
    happened = [item for items in exact.run(record for record in records if record.timestamp <= NOW) for item in items]
    seen = [each for each in records if each.key == b"ana" and each.timestamp <= NOW]
    states, said = States({"ana"}), RecordsOf(frozenset({"ana"}))
    mark = seen[-1].offset + 1
    states.see(record("changelog", b"ana", encode_customer(exact.customers["ana"], mark)))
    for each in seen:
        said.see_event(each)
    for number, (now, event, _) in enumerate(arrivals(later)):
        value, headers = encode_event(event), event_headers(event, now)
        said.see_event(record("customer-events", b"ana", value, now=now, offset=mark + number, headers=headers))
    for now, effect in happened:
        said.see_effect(of_effect(effect, now))
    return Topics(states, said)


def explained(lie: Topics, *, held: bool = False) -> Explanation:
    background = background_of("ana", lie.states, lie.said, MemoryLedger(POLICY), POLICY, held=held)
    return explained_from(background, POLICY, NOW)


@pytest.mark.parametrize(
    "told",
    [
        (OPEN_TICKET, nps(9, "Thu 12:30")),
        (
            nps(9, "Wed 12:30"),
            acknowledged("sent", "Wed 12:51", ASK),
            answered("no", "Thu 09:00", command_of()),
        ),
        (nps(9, "Thu 12:30"), nps(9, "Thu 12:30"), nps(3, "Thu 12:00")),
    ],
    ids=["held back", "asked", "repeated"],
)
def test_the_story_is_the_one_that_the_log_tells(tmp_path: Path, told: Told) -> None:
    by_topics = explained(topics(a_customer(), told))
    by_log = explain(write(tmp_path / "log", recorded_lines(a_customer(), told)), "ana", POLICY, BOUNDARY, at=NOW)
    assert by_topics.entries == by_log.entries
    assert by_topics.opportunities == by_log.opportunities
    assert by_topics.tracks == by_log.tracks


def test_what_the_state_has_not_seen_is_not_told() -> None:
    lie = topics(a_customer(), OPEN_TICKET, later=[ticket_opened("Wed 11:00", "4712")])
    assert "4712" not in str(explained(lie))


def test_a_state_that_could_not_be_stored_holds_them_back() -> None:
    told = explained(topics(a_customer(), nps(9, "Thu 12:50")), held=True)
    assert "an event of this customer could not be applied" in told.gist.text
    hold = record("wakeups", b"ana", encode_hold(3))
    wakeup = record("wakeups", b"ana", encode_wakeup(NOW, 4))
    assert is_held([wakeup, hold], "ana")
    assert not is_held([hold, wakeup], "ana")
    assert not is_held([record("wakeups", b"ben", encode_hold(3))], "ana")


def test_of_each_key_the_newest_state_counts_and_only_theirs_who_share_caps_are_kept() -> None:
    who = [a_customer(name, account=account) for name, account in (("ana", "acme"), ("ben", "acme"), ("eva", "else"))]
    customers = Recording(POLICY).run(arrivals(who)).customers
    states = States({"ana"}, like=customers["ana"])
    for name, customer in customers.items():
        states.see(record("changelog", name.encode(), encode_customer(customer, 1)))
    assert set(states.customers()) == {"ana", "ben"}  # of acme
    states.see(record("changelog", b"ben", None))
    states.see(record("changelog", b"ana", b"damaged"))
    assert states.customers() == {}
    assert states.unreadable == {"ana"}


def test_a_dead_letter_that_names_them_is_told_until_it_is_replayed() -> None:
    lie = topics(a_customer())
    for number, who in enumerate(("ana", "ben")):
        bad = record("nps", who.encode(), b"{}", offset=number)
        letter = dead_letter(bad, error="invalid: score: -", stage="ingest", occurred_at=NOW)
        lie.said.see_letter(record("dead-letters", letter.key, letter.value, offset=number, headers=letter.headers))
    assert [entry.text for entry in explained(lie).entries if entry.kind == "unusable"] == [
        "a record could not be used: invalid: score: - (dead letter 0, from nps)"
    ]
    headers = replayed_headers(Replayed(id=next(iter(lie.said.letters)), attempt=2))
    lie.said.see_letter(record("dead-letters", b"ana", None, headers=headers))
    assert [entry for entry in explained(lie).entries if entry.kind == "unusable"] == []


def held(customer: str, *, account: str | None = None, generation: int = 1) -> ReservationHeld:
    return ReservationHeld(
        command_id=f"of {customer}", customer_id=customer, account_id=account, trigger="nps_promoter", due=NOW,
        requested_at=NOW, generation=generation, now=NOW,
    )  # fmt: skip


def ledger_says(*operations: Effect | ev.Event) -> str:
    """What stands in the way of ana by what lies on ``ledger-requests``."""
    lie = topics(a_customer(account="acme"), nps(9, "Thu 12:50"))
    ledger = LedgerOf(POLICY, lie.states.customers())
    for each in operations:
        if isinstance(each, ev.Event):
            found = ledger.read(record("ledger-requests", None, encode_event(each)))
        else:
            found = ledger.read(of_effect(each, NOW))
        if found is not None:
            ledger.apply(found[1])
    background = background_of("ana", lie.states, lie.said, ledger.ledger, POLICY, held=False)
    (opportunity,) = explained_from(background, POLICY, NOW).opportunities
    return "; ".join(cell.text for cell in opportunity.gates if cell.blocks and cell.gate != "moment")


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([], ""),
        ([pause("Thu 12:00")], "paused: all, until resumed"),
        ([held("ben", account="acme")], "an ask on Thu 18 Jun 13:00 counts for the account"),
        ([held("ben", account="else")], ""),
        ([LedgerRenewed(generation=2, now=NOW), held("ben", account="acme")], ""),
        ([held("ana")], "asked on Thu 18 Jun 13:00 (one ask in 90 days)"),
    ],
    ids=["nothing", "a pause", "one of the account", "one of another", "void", "their own"],
)
def test_the_ledger_knows_what_its_topic_says(operations: list[Effect | ev.Event], says: str) -> None:
    told = ledger_says(*operations)
    assert told.startswith(says)
    assert bool(told) is bool(says)
