"""The pure part of the ledger agent."""

from __future__ import annotations

import pytest

from referral_stream.core.effects import GrantHeld, ReservationHeld, ReservationRequested
from referral_stream.core.events import (
    ControlPaused,
    GrantGiven,
    GrantRefused,
    ReservationGranted,
    ReservationUnavailable,
)
from referral_stream.core.instants import HOUR, SECOND
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger
from referral_stream.core.policy import Breaker, Policy
from referral_stream.ledger import (
    Answered,
    LedgerBatch,
    Rounds,
    answered,
    batches,
    holds,
    passed_on,
    resumption,
    unanswered,
)
from tests.ledger.builders import (
    T0,
    a_claim,
    a_confirmation,
    a_grant,
    a_grant_request,
    a_pause,
    a_release,
    a_request,
    a_resumption,
    an_amendment,
    an_opening,
    claims_released,
    its_confirmation,
    its_release,
)
from tests.rules import rule

ANA = a_request("ana's", customer="ana", account="acme", score=70, planned=T0)
BEN = a_request("ben's", customer="ben", account="acme", score=90, planned=T0)
CEM = a_request("cem's", customer="cem", account="other", score=80, planned=T0)
DEE = a_request("dee's", customer="dee", score=60, planned=T0)


def names(operations: list[LedgerOperation] | tuple[LedgerOperation, ...]) -> list[str]:
    return [each.command_id if isinstance(each, ReservationRequested) else type(each).__name__ for each in operations]


def order(found: list[LedgerBatch]) -> list[list[str]]:
    return [names(turn.operations) for turn in found]


def told(outcome: Answered) -> list[tuple[str, str]]:
    return [(event.subject, event.type) for event in outcome.events]


# ---- rounds


@rule("10.36")
def test_rivals_wait_for_each_other_and_the_best_is_first() -> None:
    rounds = Rounds()

    assert batches([ANA], rounds, T0) == []
    assert batches([BEN], rounds, T0 + 50) == []
    assert order(batches([], rounds, T0 + 150)) == [["ben's", "ana's"]]
    assert rounds.close_all() == []


@pytest.mark.parametrize(("now", "closed"), [(149, False), (150, True), (151, True)])
def test_a_round_ends_100_ms_after_the_last_request_for_its_instant_whatever_its_account(
    now: int, closed: bool
) -> None:
    rounds = Rounds()
    rounds.add(ANA, T0)
    rounds.add(CEM, T0 + 50)  # within what is waited for in any case

    assert bool(rounds.closed(T0 + now)) is closed


def test_a_round_ends_after_five_seconds_even_if_requests_keep_coming() -> None:
    rounds = Rounds()
    for number in range(101):
        at = T0 + 50 * number
        rounds.add(a_request(f"{number}", account=f"{number}", now=at, planned=T0), at)

    assert not rounds.closed(T0 + 4_999)
    assert len(rounds.closed(T0 + 5_000)) == 101


@pytest.mark.parametrize(("now", "closed"), [(1_199, False), (1_200, True)])
def test_where_requests_take_long_to_come_a_round_waits_twice_as_long_for_the_others(now: int, closed: bool) -> None:
    rounds = Rounds()
    rounds.add(ANA, T0 + 400)

    assert bool(rounds.closed(T0 + now)) is closed


def test_nobody_waits_for_more_than_half_of_the_time_that_the_answer_has() -> None:
    rounds = Rounds()
    rounds.add(ANA.model_copy(update={"valid_until": T0 + 3 * SECOND}), T0 + SECOND)

    assert not rounds.closed(T0 + 1_999)
    assert rounds.closed(T0 + 2_000)


@pytest.mark.parametrize(("now", "closed"), [(1_999, False), (2_000, True)])
def test_a_clock_that_runs_fast_does_not_shorten_the_round_for_rivals_who_come_in_real_time(
    now: int, closed: bool
) -> None:
    rounds = Rounds(pace=20)
    rounds.add(ANA, T0)

    assert bool(rounds.closed(T0 + now)) is closed


def test_who_comes_after_the_round_is_alone() -> None:
    rounds = Rounds()
    batches([ANA], rounds, T0)

    late = BEN.model_copy(update={"now": T0 + 100})
    assert order(batches([late], rounds, T0 + 100)) == [["ana's"]]
    assert order(batches([], rounds, T0 + 200)) == [["ben's"]]


def test_rivals_are_planned_for_one_instant_though_their_wake_ups_arrive_apart() -> None:
    rounds = Rounds()
    late = a_request("late", customer="eve", account="acme", score=99, due=T0 + 80, planned=T0)

    assert batches([ANA], rounds, T0) == []
    assert batches([late], rounds, T0 + 80) == []
    assert order(batches([], rounds, T0 + 180)) == [["late", "ana's"]]


@pytest.mark.parametrize(("planned", "account"), [(None, "acme"), (T0, None)], ids=["an event's moment", "no account"])
def test_who_has_no_rivals_is_answered_at_once_and_holds_nobody_up(planned: int | None, account: str | None) -> None:
    rounds = Rounds()

    at_once = a_request("at once", customer="eve", account=account, planned=planned)
    assert order(batches([ANA, at_once], rounds, T0)) == [["at once"]]
    assert rounds.closes_at([ANA, at_once]) == T0 + 100


def test_who_was_due_before_is_answered_before_whose_round_is_shorter() -> None:
    """Under load a round lasts longer: that of the first contact must not outlast that of the second."""
    rounds = Rounds()
    slow = a_request("slow", customer="ana", account="acme", planned=T0, due=T0)
    quick = a_request("quick", customer="ben", account="acme", planned=T0 + 1_000, due=T0 + 1_000)
    batches([slow], rounds, T0 + 900)
    batches([quick.model_copy(update={"now": T0 + 1_000})], rounds, T0 + 1_000)

    assert rounds.closed(T0 + 1_099) == []
    assert [each.command_id for each in rounds.closed(T0 + 1_100)] == [slow.command_id, quick.command_id]


def test_a_request_that_is_read_again_waits_once() -> None:
    rounds = Rounds()
    batches([ANA, ANA], rounds, T0)
    batches([ANA], rounds, T0 + 1)

    assert rounds.waiting([ANA, BEN]) == [ANA]
    assert rounds.close_all() == [ANA]


def test_a_customer_without_an_account_does_not_wait() -> None:
    assert order(batches([ANA, DEE], Rounds(), T0)) == [["dee's"]]


def test_another_due_instant_is_another_round() -> None:
    rounds = Rounds()
    batches([ANA, a_request("later", account="acme", score=99, planned=T0 + 1)], rounds, T0)

    assert names(tuple(rounds.close_all())) == ["ana's", "later"]


@pytest.mark.parametrize(
    "record", [a_confirmation(account="acme"), a_release(account="acme"), an_amendment(account="acme")]
)
def test_what_happens_to_an_account_comes_after_its_waiting_requests(record: LedgerOperation) -> None:
    assert order(batches([ANA, CEM, record, DEE], Rounds(), T0)) == [["ana's", type(record).__name__, "dee's"]]


@rule("A0.6")
def test_of_one_instant_claims_confirmations_and_releases_come_before_requests_for_grants() -> None:
    ben, ana = a_grant_request("r-ben", customer="ben"), a_grant_request("r-ana", customer="ana")
    later = a_grant_request("r-cem", customer="cem", now=T0 + 1)
    facts: list[LedgerOperation] = [a_claim("r-cem"), its_confirmation(ana), its_release(ana), claims_released("r-cem")]
    (turn,) = batches([ben, facts[0], ana, *facts[1:], later, a_claim(now=T0 + 2)], Rounds(), T0)
    assert list(turn.operations) == [*facts, ana, ben, later, a_claim(now=T0 + 2)]


def test_rewards_overtake_what_waits() -> None:
    assert order(batches([ANA, a_grant_request(), a_claim()], Rounds(), T0)) == [["ContactClaimed", "GrantRequested"]]


def test_openings_overtake_what_waits() -> None:
    assert order(batches([ANA, an_opening()], Rounds(), T0)) == [["OpportunityOpened"]]


def test_a_switch_has_a_turn_of_its_own() -> None:
    records: list[LedgerOperation] = [DEE, a_resumption(), a_pause(), a_confirmation()]

    assert order(batches(records, Rounds(), T0)) == [["dee's"], ["Event"], ["Event"], ["ReservationConfirmed"]]


# ---- what is appended


def test_a_grant_is_written_to_the_log_and_told_when_it_is_read_there() -> None:
    turn, caps = LedgerBatch((BEN, ANA)), MemoryLedger(Policy())

    outcome = answered(turn, [caps.apply(each) for each in turn.operations], T0)
    (held,) = holds(outcome.grants, 7, T0 + 9)

    assert told(outcome) == [("ana", "reservation.denied")]
    assert isinstance(held, ReservationHeld)
    assert (held.command_id, held.requested_at, held.generation, held.now) == ("ben's", BEN.now, 7, T0 + 9)
    (turn,) = batches([held], Rounds(), T0 + 10)
    outcome = answered(turn, [caps.apply(held)], T0 + 10)
    assert told(outcome) == [("ben", "reservation.granted")]
    assert outcome.grants == ()


@rule("A10.4")
def test_a_given_reward_is_written_to_the_log_and_told_when_it_is_read_there() -> None:
    ana = a_grant_request(account="acme", keys=("kim", "kim at home"), now=T0 + 1)
    ben, caps = a_grant_request("r-ben", customer="ben", now=T0 + 2), MemoryLedger(Policy())
    (turn,) = batches([ana, ben], Rounds(), T0 + 5)

    outcome = answered(turn, [caps.apply(each) for each in turn.operations], T0 + 6)
    (held,) = holds(outcome.grants, 7, T0 + 9)

    assert told(outcome) == [("ben", "grant.refused")]
    assert outcome.events[0].data == GrantRefused(grant_id=ben.grant_id, reason="duplicate")
    assert isinstance(held, GrantHeld)
    assert held.model_dump(exclude={"requested_at", "generation", "now"}) == ana.model_dump(exclude={"now"})
    assert (held.requested_at, held.generation, held.now) == (ana.now, 7, T0 + 9)
    (turn,) = batches([held], Rounds(), T0 + 10)
    first, again = (answered(turn, [caps.apply(held)], at) for at in (T0 + 10, T0 + 20))
    assert told(first) == [("ana", "grant.given")]
    assert (first.events[0].data, first.events[0].account) == (GrantGiven(grant_id=ana.grant_id), "acme")
    assert first.events[0].id == again.events[0].id, "when it is given again, it is the same event"
    assert first.grants == ()


@rule("A10.4")
@pytest.mark.parametrize(("least", "holds_still"), [(6, True), (7, True), (8, False)])
def test_a_given_reward_behind_the_mark_of_a_newer_ledger_is_void(least: int, holds_still: bool) -> None:
    (turn,) = batches(holds([a_grant_request()], 7, T0), Rounds(), T0, least)

    assert bool(turn.operations) is holds_still
    if not holds_still:
        assert told(answered(turn, [], T0)) == [("ana", "grant.unavailable")]


@pytest.mark.parametrize(("least", "holds_still"), [(6, True), (7, True), (8, False)])
def test_a_grant_behind_the_mark_of_a_newer_ledger_is_void(least: int, holds_still: bool) -> None:
    (turn,) = batches([a_grant(BEN, 7)], Rounds(), T0, least)

    assert bool(turn.operations) is holds_still
    if not holds_still:
        assert told(answered(turn, [], T0)) == [("ben", "reservation.unavailable")]


def test_an_answer_goes_to_its_customer_and_is_the_same_event_when_given_again() -> None:
    turn = LedgerBatch((a_grant(BEN), ANA))
    caps = MemoryLedger(Policy())

    first, again = (answered(turn, [caps.apply(each) for each in turn.operations], T0 + at) for at in (100, 500))

    assert told(first) == [("ben", "reservation.granted"), ("ana", "reservation.denied")]
    assert [each.account for each in first.events] == ["acme", "acme"]
    assert [each.time for each in first.events] == [T0 + 100] * 2
    assert [each.id for each in first.events] == [each.id for each in again.events]
    assert first.events[0].data == ReservationGranted(command_id="ben's")


def test_a_later_request_of_the_same_command_has_another_answer_event() -> None:
    ids = {
        answered(LedgerBatch((a_grant(request),)), [ReservationGranted(command_id="command-1")], T0).events[0].id
        for request in (a_request(now=T0), a_request(now=T0 + 1))
    }
    assert len(ids) == 2


@pytest.mark.parametrize(("late", "expired"), [(30 * SECOND, False), (30 * SECOND + 1, True)])
def test_a_request_that_waited_too_long_is_not_put_to_the_ledger(late: int, expired: bool) -> None:
    (turn,) = batches([DEE], Rounds(), T0 + late)

    assert turn == (LedgerBatch((), (DEE,)) if expired else LedgerBatch((DEE,)))
    if expired:
        outcome = answered(turn, [], T0 + late)
        assert [each.data for each in outcome.events] == [ReservationUnavailable(command_id="dee's")]


def test_each_customer_refused_for_a_switch_is_told_of_the_resumption() -> None:
    caps, resume = MemoryLedger(Policy()), a_resumption(now=T0 + 1)
    caps.apply(a_pause(now=T0))
    denials = answered(LedgerBatch((BEN, DEE)), [caps.apply(BEN), caps.apply(DEE)], T0)

    outcome = answered(LedgerBatch((resume,)), [caps.apply(resume)], T0 + 1)
    events = passed_on(resume, caps.told(resume.data, T0 + 1), T0 + 1)

    assert denials.refused == (BEN, DEE)
    assert outcome.switches == (resume,)
    assert [(event.subject, event.type) for event in events] == [("ben", "control.resumed"), ("dee", "control.resumed")]
    assert {each.data for each in events} == {resume.data}
    assert len({each.id for each in events}) == 2


@rule("11.3")
def test_a_pause_is_told_as_it_was_said() -> None:
    pause = a_pause(now=T0)
    (first, other) = passed_on(pause, ["ana", "ben"], T0 + HOUR)

    assert (first.subject, first.type, first.time, first.data) == ("ana", "control.paused", T0, pause.data)
    assert first == passed_on(pause, ["ana"], T0 + 2 * HOUR)[0], "the same event when it is told again"
    assert first.id != other.id


def test_a_switch_that_changes_nothing_is_not_told() -> None:
    caps, resume = MemoryLedger(Policy()), a_resumption(now=T0)
    caps.apply(a_pause(now=T0))

    assert answered(LedgerBatch((resume,)), [caps.apply(resume)], T0).switches == ()


def test_only_denials_for_a_switch_are_checked_again() -> None:
    caps = MemoryLedger(Policy())

    assert answered(LedgerBatch((BEN, ANA)), [caps.apply(BEN), caps.apply(ANA)], T0).refused == ()


def test_a_resumption_that_overtook_its_denial_is_told_again() -> None:
    event = resumption(BEN, T0)

    assert (event.subject, event.account, event.type) == ("ben", "acme", "control.resumed")


@rule("9.5")
def test_the_breakers_pause_is_reported() -> None:
    caps = MemoryLedger(Policy(breaker=Breaker(floor=1)))
    openings = (an_opening("1"), an_opening("2"))

    outcome = answered(LedgerBatch(openings), [caps.apply(each) for each in openings], T0)

    assert [type(each) for each in outcome.pauses] == [ControlPaused]
    assert outcome.events == ()
    assert [(each.data, each.time) for each in outcome.switches] == [(outcome.pauses[0], openings[1].now)]


def test_without_a_ledger_requests_are_unavailable_and_the_rest_is_kept() -> None:
    turn = LedgerBatch((BEN, a_confirmation(), a_grant(DEE), an_opening()), (ANA,))

    outcome = unanswered(turn, T0)

    assert told(outcome) == [(name, "reservation.unavailable") for name in ("ana", "ben", "dee")]
    assert outcome.unapplied == (a_confirmation(), an_opening())


@rule("A10.4")
def test_without_a_ledger_no_reward_is_granted_and_the_rest_is_kept() -> None:
    ana, held = a_grant_request(), holds([a_grant_request("r-ben", customer="ben")], 7, T0)[0]
    facts = (a_claim(), claims_released(), its_confirmation(ana), its_release(ana))

    outcome = unanswered(LedgerBatch((ana, *facts, held)), T0)

    assert told(outcome) == [("ana", "grant.unavailable"), ("ben", "grant.unavailable")]
    assert outcome.unapplied == facts
