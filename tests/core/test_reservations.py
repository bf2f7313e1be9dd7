"""An ask needs a reservation: granted, denied, silent, or late; the test is the ledger and the clock."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import AskRequested, Decision, Effect, OpportunityOpened, ReservationRequested
from referral_stream.core.events import Event
from referral_stream.core.instants import DAY, MINUTE, SECOND
from tests.builders import (
    AROUND,
    ByHand,
    a_customer,
    a_policy,
    at,
    blocking,
    command_of,
    compliment,
    fact,
    granted,
    nps,
    opportunity_of,
    released,
    renewed,
    shown,
    ticket_opened,
)
from tests.rules import rule

M = at("Thu 12:50")


def waiting(**about: Any) -> ByHand:
    """A promoter whose reservation was requested at 12:50 and is not answered yet."""
    by_hand = ByHand(**about)
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested("Thu 12:50")
    return by_hand


def decisions(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(effect.trigger, effect.outcome) for effect in effects if isinstance(effect, Decision)]


def denied(gate: Any = "overasking", until: int | None = None, event: str | None = None) -> ev.ReservationDenied:
    return ev.ReservationDenied(command_id=command_of(), gate=gate, until=until, until_event=event, saw="refused")


@rule("9.6")
def test_an_opening_is_reported_for_the_burst_breaker() -> None:
    opened, decision = ByHand(a_customer(account="acme")).at("Thu 12:30", nps(9))

    assert opened == OpportunityOpened(
        opportunity_id=opportunity_of(),
        customer_id="ana",
        account_id="acme",
        trigger="nps_promoter",
        now=at("Thu 12:30"),
    )
    assert isinstance(decision, Decision)


@rule("9.6")
@pytest.mark.parametrize("when", ["Tue 12:00", "Sat 10:00"])
def test_what_expired_on_arrival_is_not_counted_as_an_opening_and_what_closes_at_once_is(when: str) -> None:
    effects = ByHand().at("Thu 12:30" if when == "Tue 12:00" else when, nps(9, when))
    opened = [effect for effect in effects if isinstance(effect, OpportunityOpened)]
    assert len(opened) == (0 if when == "Tue 12:00" else 1)


def test_the_request_says_who_what_and_when() -> None:
    by_hand = ByHand(a_customer(account="acme", email_hmac="a" * 64))
    by_hand.at("Thu 12:30", nps(9))

    assert by_hand.requested("Thu 12:50") == ReservationRequested(
        command_id=command_of(),
        opportunity_id=opportunity_of(),
        customer_id="ana",
        account_id="acme",
        email_hmac="a" * 64,
        trigger="nps_promoter",
        priority=40,
        raw_score=100,
        due=M,
        valid_until=M + 30 * SECOND,
        now=M,
        planned=M,
    )


def test_the_clocks_moment_is_the_same_for_all_however_late_their_wake_ups_arrive() -> None:
    planned = set[int | None]()
    for late in (0, 7, 80):
        by_hand = ByHand()
        by_hand.at("Thu 12:30", nps(9))
        planned.add(by_hand.requested(M + late).planned)
    assert planned == {M}


@rule("10.38")
def test_due_is_the_instant_of_the_input_that_led_to_the_request() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    assert by_hand.requested(M + 7).due == M + 7


@rule("3.26", "10.40")
def test_until_the_answer_nothing_is_written_and_nothing_is_requested_twice() -> None:
    by_hand = waiting()
    assert by_hand.at(M + 1) == []
    assert by_hand.at(M + 2, fact(ev.InteractionRecorded(kind="call"), M + 2)) == []
    assert by_hand.wake_at == M + 30 * SECOND


@rule("10.40", "10.91")
def test_a_grant_lets_the_ask_out() -> None:
    decision, ask = waiting().at(M + 20, granted())

    assert isinstance(decision, Decision)
    assert isinstance(ask, AskRequested)
    assert (decision.outcome, decision.decided_at, ask.not_before) == ("asked", M + 20, M)


def test_a_grant_of_another_command_is_given_back() -> None:
    by_hand = waiting()
    (effect,) = by_hand.at(M + 20, granted("another"))
    assert effect == released(M + 20, "another")
    assert by_hand.customer.awaiting is not None


def test_a_grant_nobody_awaits_is_given_back_but_not_that_of_an_ask_that_is_out() -> None:
    by_hand = waiting()
    by_hand.at(M + 20, granted())

    assert by_hand.at(M + 30, granted()) == []  # redelivered
    assert by_hand.at(M + 40, granted("another")) == [released(M + 40, "another")]


@rule("3.24", "4.2", "10.39")
def test_a_grant_for_what_a_gate_closed_meanwhile_is_given_back() -> None:
    by_hand = waiting()
    by_hand.at(M + 10, ticket_opened(M + 10))

    release, decision = by_hand.at(M + 20, granted())

    assert release == released(M + 20)
    assert isinstance(decision, Decision)
    assert (decision.outcome, blocking(decision)) == ("deferred", {"trouble": "ticket.solved"})


def test_a_grant_for_what_was_closed_for_good_meanwhile_is_given_back() -> None:
    by_hand = waiting()
    by_hand.at(M + 10, fact(ev.ComplaintMade(), M + 10))
    assert by_hand.at(M + 20, granted()) == [released(M + 20)]


@rule("10.39")
@pytest.mark.parametrize("after", AROUND)
def test_a_grant_at_the_deadline_is_too_late(after: int) -> None:
    by_hand = ByHand(a_customer(channels=("in_app",)))
    by_hand.at("Thu 12:30", nps(9))
    moment = at("Fri 12:30") - 10
    by_hand.requested(moment, fact(ev.WorkflowCompleted(), moment))

    effects = by_hand.at(at("Fri 12:30") + after, granted())

    assert any(isinstance(effect, AskRequested) for effect in effects) is (after < 0)
    assert (released(at("Fri 12:30") + after) in effects) is (after >= 0)


@rule("10.39")
def test_quiet_hours_do_not_count_again_when_the_grant_comes() -> None:
    by_hand = ByHand()
    by_hand.at("Wed 19:39:55", nps(9, "Wed 19:39:55"))
    assert by_hand.requested("Wed 19:59:55").due == at("Wed 19:59:55")
    assert decisions(by_hand.at("Wed 20:00:05", granted())) == [("nps_promoter", "asked")]


# ---- denied


@rule("10.105")
@pytest.mark.parametrize("gate", ["paused", "overasking", "account"])
def test_a_denial_is_the_answer_of_its_gate(gate: str) -> None:
    (decision,) = waiting().at(M + 20, denied(gate, until=at("Thu 15:00")))
    assert isinstance(decision, Decision)
    assert (decision.outcome, blocking(decision)[gate]) == ("deferred", "Thu 15:00")


def test_a_denial_beyond_the_deadline_closes_for_good() -> None:
    (decision,) = waiting().at(M + 20, denied(until=at("Fri 12:30")))
    assert isinstance(decision, Decision)
    assert decision.outcome == "suppressed"


@rule("10.106")
def test_when_a_denial_ends_a_new_request_is_made() -> None:
    by_hand = waiting()
    by_hand.at(M + 20, denied(until=at("Thu 15:00")))

    assert by_hand.wake_at == at("Thu 15:00")
    assert by_hand.at(at("Thu 15:00") - 1) == []
    assert by_hand.requested("Thu 15:00").due == at("Thu 15:00")


@rule("4.8", "9.8")
def test_a_pause_is_over_when_it_is_resumed() -> None:
    by_hand = waiting()
    by_hand.at(M + 20, denied("paused", event="control.resumed"))
    resumed = ev.ControlResumed(scope="all", by="an operator", why="fixed")

    assert by_hand.at(M + 30) == []
    assert by_hand.requested("Thu 15:00", resumed).due == at("Thu 15:00")


def test_a_resumption_does_not_end_another_gates_denial() -> None:
    by_hand = waiting()
    by_hand.at(M + 20, denied("account", until=at("Thu 15:00")))
    assert by_hand.at("Thu 14:00", ev.ControlResumed(scope="all", by="x", why="y")) == []


def test_a_denial_of_another_command_changes_nothing() -> None:
    other = ev.ReservationDenied(command_id="another", gate="account", until=at("Thu 15:00"), saw="refused")
    by_hand = waiting()
    assert by_hand.at(M + 20, other) == []
    assert decisions(by_hand.at(M + 30, granted())) == [("nps_promoter", "asked")]


def two_candidates() -> ByHand:
    by_hand = ByHand()
    by_hand.at("Mon 12:00", nps(9, "Mon 12:00"), compliment("Mon 12:00"))
    assert by_hand.requested("Mon 12:20").command_id == command_of()
    return by_hand


COMPLIMENT = command_of("positive_feedback", "post-1")


@rule("3.30", "10.37")
def test_if_the_best_is_refused_the_next_candidate_is_tried_at_the_same_instant() -> None:
    by_hand = two_candidates()

    request = by_hand.requested("Mon 12:20:00.005", denied(until=at("Mon 18:00")))
    effects = by_hand.at("Mon 12:20:00.010", granted(COMPLIMENT))

    assert (request.command_id, request.due, request.valid_until) == (
        COMPLIMENT, at("Mon 12:20"), at("Mon 12:20:30"),
    )  # fmt: skip
    assert decisions(effects) == [("positive_feedback", "asked"), ("nps_promoter", "superseded")]
    superseded = [effect for effect in effects if isinstance(effect, Decision)][-1]
    assert blocking(superseded)["overasking"] == "Mon 18:00"


def test_if_all_are_refused_each_keeps_its_own_answer() -> None:
    by_hand = two_candidates()
    by_hand.at("Mon 12:20:00.005", denied(until=at("Mon 18:00")))
    refused = ev.ReservationDenied(command_id=COMPLIMENT, gate="account", until=at("Mon 19:00"), saw="refused")

    effects = by_hand.at("Mon 12:20:00.010", refused)

    assert decisions(effects) == [("nps_promoter", "deferred"), ("positive_feedback", "deferred")]
    answers = [blocking(effect) for effect in effects if isinstance(effect, Decision)]
    assert (answers[0]["overasking"], answers[1]["account"]) == ("Mon 18:00", "Mon 19:00")


def test_a_candidate_that_was_blocked_meanwhile_is_not_tried() -> None:
    by_hand = two_candidates()
    review = fact(ev.AdvocacyAsked(kind="survey", by="x"), "Mon 11:00")  # excepted for the promoter only
    by_hand.at("Mon 12:20:00.001", review)
    effects = by_hand.at("Mon 12:20:00.005", denied(until=at("Mon 18:00")))
    assert not [effect for effect in effects if isinstance(effect, ReservationRequested)]


# ---- silent


@rule("4.6")
def test_no_answer_in_thirty_seconds_fails_closed_and_is_told() -> None:
    by_hand = waiting()

    assert by_hand.at(M + 30 * SECOND - 1) == []
    (decision,) = by_hand.at(M + 30 * SECOND)

    assert isinstance(decision, Decision)
    assert (decision.outcome, blocking(decision)) == ("deferred", {"overasking": "ledger.answered"})
    assert next(r.saw for r in decision.reasons if r.gate == "overasking") == "ledger_unavailable"


def test_a_ledger_that_says_it_can_not_answer_is_the_same_as_silence() -> None:
    (decision,) = waiting().at(M + 20, ev.ReservationUnavailable(command_id=command_of()))
    assert isinstance(decision, Decision)
    assert blocking(decision) == {"overasking": "ledger.answered"}


def test_retries_wait_thirty_seconds_then_double_up_to_five_minutes() -> None:
    by_hand = waiting()
    waits, now = [], M
    for _ in range(6):
        by_hand.at(now, ev.ReservationUnavailable(command_id=command_of()))
        assert by_hand.wake_at is not None
        waits.append(by_hand.wake_at - now)
        assert by_hand.at(by_hand.wake_at - 1) == []
        now = by_hand.requested(by_hand.wake_at).due
    assert [wait // SECOND for wait in waits] == [30, 60, 120, 240, 300, 300]


def test_an_answer_after_the_silence_is_too_late_and_a_grant_is_given_back() -> None:
    by_hand = waiting()
    by_hand.at(M + 30 * SECOND)

    assert by_hand.at(M + 31 * SECOND, granted()) == [released(M + 31 * SECOND)]
    assert by_hand.at(M + 32 * SECOND, denied(until=at("Fri 10:00"))) == []
    assert by_hand.requested(M + MINUTE).due == M + MINUTE


def test_what_a_silent_ledger_held_back_ends_with_its_window() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:31", nps(9, "Thu 12:31"))
    now = at("Thu 12:51")
    while now < at("Fri 12:31"):
        by_hand.at(now)
        by_hand.at(now, ev.ReservationUnavailable(command_id=command_of()))
        assert by_hand.wake_at is not None
        now = by_hand.wake_at

    assert now == at("Fri 12:31")
    assert decisions(by_hand.at(now)) == [("nps_promoter", "suppressed")]
    assert by_hand.wake_at is None


def test_after_silence_nobody_else_is_tried_in_vain() -> None:
    by_hand = two_candidates()
    effects = by_hand.at("Mon 12:20:30")
    assert decisions(effects) == [("nps_promoter", "deferred"), ("positive_feedback", "deferred")]
    assert by_hand.requested("Mon 12:21:00").command_id == command_of()


def test_the_waits_for_the_ledger_are_the_policys() -> None:
    policy = a_policy(ledger={"answer_seconds": 5, "retry_seconds": 7, "retry_limit_seconds": 10})
    by_hand = waiting(policy=policy)

    assert by_hand.wake_at == M + 5 * SECOND
    by_hand.at(M + 5 * SECOND)
    assert by_hand.wake_at == M + 12 * SECOND
    by_hand.at(M + 12 * SECOND)
    by_hand.at(M + 17 * SECOND)
    assert by_hand.wake_at == M + 27 * SECOND


# ---- the clock of one customer


@rule("10.2")
def test_now_never_goes_back() -> None:
    by_hand = waiting()
    (decision, _) = by_hand.at(M - DAY, granted())
    assert isinstance(decision, Decision)
    assert shown(decision.decided_at) == "Thu 12:50"


def test_a_wake_up_that_comes_twice_or_too_early_does_nothing() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 14:00", nps(9, "Thu 14:00"))
    assert by_hand.at("Fri 12:59:59.999") == []
    assert by_hand.requested("Fri 13:00", ev.WakeupDue(due=at("Fri 13:00"))).due == at("Fri 13:00")
    assert by_hand.at("Fri 13:00", ev.WakeupDue(due=at("Fri 13:00"))) == []


def test_with_nothing_pending_nobody_is_woken() -> None:
    by_hand = ByHand([*a_customer(), fact(ev.UsageRecorded(), "Mon 13:00")])

    assert by_hand.wake_at is None
    assert by_hand.at("Fri 12:00") == []
    assert by_hand.wake_at is None


def test_a_repeated_record_is_no_occasion_to_look_again() -> None:
    """On Saturday at noon the last activity is a week ago: the score falls to 40. The next timer is midnight in UTC."""
    history = a_customer(without=("feedback.shared", "interaction.recorded"))

    def saturday(record: Event) -> list[tuple[str, str]]:
        by_hand = ByHand(history)
        by_hand.at("Fri 14:00", renewed("Fri 14:00"))
        by_hand.at("Sat 02:00")
        return decisions(by_hand.at("Sat 13:00", record))

    assert saturday(renewed("Fri 14:00")) == []
    assert saturday(fact(ev.WakeupDue(due=at("Sat 02:00")), "Sat 13:00")) == []
    assert saturday(fact(ev.CallMoment(kind="check_in"), "Sat 13:00")) == [("renewal", "deferred")]


def test_what_is_due_is_done_with_whatever_record_comes_next() -> None:
    by_hand = ByHand()
    opened = nps(9)
    by_hand.at("Thu 12:30", opened)
    assert by_hand.requested("Thu 12:51", opened).due == at("Thu 12:51")


def test_an_answer_that_is_still_awaited_at_the_deadline_is_the_ledgers_silence() -> None:
    ana = ByHand()
    ana.at("Sun 08:00:10", nps(9, "Sun 08:00:10"))
    ana.requested("next Mon 08:00")

    assert ana.wake_at == at("next Mon 08:00:10")
    (given_back, decision) = ana.at("next Mon 08:00:10")

    assert given_back == released("next Mon 08:00:10")
    assert isinstance(decision, Decision)
    assert decision.outcome == "suppressed"
    assert blocking(decision)["overasking"] == "ledger.answered"
