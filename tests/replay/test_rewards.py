"""The ledger of a replay answers what it is asked about rewards, in the order of the live one.

The customers are real, what they ask of the ledger is scripted: their claims and requests come out of their turns.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

from referral_stream.core.effects import LedgerRequest
from referral_stream.core.events import Event, GrantGiven, GrantRefused, ReservationGranted, WakeupDue
from referral_stream.core.instants import DAY
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.policy import Policy
from referral_stream.core.step import Advanced, finish, take
from referral_stream.core.turn import Turn
from referral_stream.replay import virtual_run
from referral_stream.replay.recording_ledger import RecordedLedger, RecordingLedger, Whom
from referral_stream.replay.virtual_run import Arrival, FactReplay
from tests.ledger.builders import (
    T0,
    a_claim,
    a_grant_request,
    a_request,
    claims_released,
    its_confirmation,
    its_release,
)
from tests.rules import rule


class Script:
    """What customers want from the ledger at the end of their next turn, and what they have been told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wanted: defaultdict[str, list[list[LedgerRequest]]] = defaultdict(list)
        self.told: list[tuple[int, str, str]] = []
        monkeypatch.setattr(virtual_run, "take", self.take)
        monkeypatch.setattr(virtual_run, "finish", self.finish)

    def take(self, turn: Turn, event: Event) -> None:
        if event.source == "referral-stream/ledger":
            about = getattr(event.data, "reason", event.type.partition(".")[2])
            self.told.append((turn.now - T0, event.subject, about))
        take(turn, event)

    def finish(self, turn: Turn) -> Advanced:
        done = finish(turn)
        turns = self.wanted[turn.customer.id]
        return done._replace(effects=[*done.effects, *(turns.pop(0) if turns else ())])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return Script(monkeypatch)


def woken(*customers: str, at: int = 0) -> list[Arrival]:
    """Something happens to these customers that changes nothing."""
    return [
        Arrival(
            T0 + at,
            Event(id=f"{name} {at}", source="t", type=WakeupDue.type, subject=name, time=T0, data=WakeupDue(due=T0)),
        )
        for name in customers
    ]


def replayed(*arrivals: Arrival, policy: Policy | None = None) -> None:
    replay = FactReplay(policy or Policy())
    assert [item for items in replay.run(arrivals) for item in items] == [], "the ledger's records are no output"


@rule("A0.6")
def test_claims_of_an_instant_come_before_its_requests_whoever_comes_first(script: Script) -> None:
    script.wanted["ana"] = [
        [a_grant_request("r-ana", customer="ana", now=T0), a_claim("r-ana", customer="ana", now=T0)]
    ]
    script.wanted["ben"] = [[a_claim("r-ben", customer="ben", now=T0 - 1)]]
    replayed(*woken("ana", "ben"))
    assert script.told == [(0, "ana", "duplicate")]


@rule("A0.6", "A4.14")
def test_releases_of_an_instant_come_before_its_requests(script: Script) -> None:
    policy = Policy.model_validate({"rewards": {"per_account": 1}})
    old = a_grant_request("r-ben", customer="ben", account="acme", keys=("lee",), now=T0)
    new = a_grant_request("r-ana", customer="ana", account="acme", now=T0 + 9)
    script.wanted["ben"] = [[old], [its_confirmation(old)], [its_release(old, T0 + 9)]]
    script.wanted["ana"] = [[new]]
    replayed(*woken("ben"), *woken("ana", "ben", at=9), policy=policy)
    assert script.told == [(0, "ben", "given"), (9, "ana", "given")]


@rule("A0.6")
def test_grants_come_after_the_reservations_of_a_round_by_customer_and_grant_id(script: Script) -> None:
    names = ("cem", "ana", "ben")
    for name in names:
        request = a_grant_request(f"r-{name}", customer=name, now=T0)
        script.wanted[name] = [[request, a_request(f"command of {name}", customer=name, due=T0)]]
    replayed(*woken(*names))
    assert script.told == [
        *((0, name, "granted") for name in sorted(names)),
        (0, "ana", "given"),
        (0, "ben", "duplicate"),
        (0, "cem", "duplicate"),
    ]


@rule("A0.6")
def test_the_answer_comes_in_the_same_instant_and_what_follows_from_it_too(script: Script) -> None:
    first, second = (a_grant_request(f"r-{n}", keys=(f"{n}",), now=T0) for n in (1, 2))
    script.wanted["ana"] = [[first], [its_confirmation(first), second]]
    replayed(*woken("ana"))
    assert script.told == [(0, "ana", "given"), (0, "ana", "given")]


@rule("A5.3")
def test_a_limit_of_one_and_two_customers_at_one_instant(script: Script) -> None:
    policy = Policy.model_validate({"rewards": {"per_account": 1}})
    for name in ("ben", "ana"):
        request = a_grant_request(f"r-{name}", customer=name, account="acme", keys=(name,), now=T0)
        script.wanted[name] = [[a_claim(f"r-{name}", customer=name, keys=(name,)), request]]
    replayed(*woken("ben", "ana"), policy=policy)
    assert script.told == [(0, "ana", "given"), (0, "ben", "account_cap")]


# ---- the ledger that is told again


def test_a_ledger_told_again_knows_all_claims_and_grants() -> None:
    recording = RecordingLedger(Policy())
    ana, ben = a_grant_request("r-ana"), a_grant_request("r-ben", customer="ben", now=T0 + 1)
    assert recording.apply(a_claim("r-ana")) is None
    assert recording.apply(ana) == GrantGiven(grant_id=ana.grant_id)

    told = recording.about(Whom({"ben"}, set(), set()))
    assert told.apply(ben) == GrantRefused(grant_id=ben.grant_id, reason="duplicate")
    assert isinstance(told.apply(a_request()), ReservationGranted)
    assert recording.apply(ben) == GrantRefused(grant_id=ben.grant_id, reason="duplicate")


def test_from_a_recorded_log_the_ledger_knows_what_was_given_whatever_it_would_say() -> None:
    """The live ledger may have answered two customers in another order than the log has them."""
    recorded = RecordedLedger(Policy.model_validate({"rewards": {"per_account": 1}}))
    ana, ben = (a_grant_request(f"r-{who}", customer=who, account="acme", keys=(who,)) for who in ("ana", "ben"))
    for effect in (a_claim("r-ana", keys=("ana",)), ana, ben):
        recorded.asked(effect)
    for answer in (GrantRefused(grant_id=ana.grant_id, reason="account_cap"), GrantGiven(grant_id=ben.grant_id)):
        recorded.answered(_told(answer), T0 + 1)

    assert _next(recorded.caps, "acme") == "account_cap"
    for end in (its_release(ben, T0 + DAY), claims_released("r-ben", customer="ben", now=T0 + DAY)):
        recorded.asked(end)
    assert _next(recorded.caps, "acme") == ""


def _told(data: GrantGiven | GrantRefused) -> Event:
    return Event(id=data.type, source="ledger", type=data.type, subject="ana", time=T0, data=data)


def _next(ledger: MemoryLedger, account: str) -> str:
    answer = ledger.apply(a_grant_request("r-cem", customer="cem", account=account, now=T0 + 2 * DAY))
    return getattr(answer, "reason", "")
