"""After the command is out: reports of the worker, cancellation, and what releases a reservation."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    AskCancelled,
    Decision,
    Effect,
    GateName,
    RecordForgotten,
    ReservationConfirmed,
    ReservationReleased,
)
from referral_stream.core.events import Data, Event
from referral_stream.core.ids import decision_id
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from tests.builders import (
    AROUND,
    ByHand,
    a_customer,
    acknowledged,
    answered,
    at,
    command_of,
    compliment,
    fact,
    granted,
    nps,
    opportunity_of,
    released,
    replay,
    shown,
    ticket_opened,
)
from tests.rules import rule

LATER = "Thu 13:30"
GOOD, BAD = ("sent", "delivered", "opened"), ("failed", "dropped_expired", "cancelled")


def after_the_ask() -> ByHand:
    """Asked at 12:50; the command expires at 20:00, when quiet hours begin."""
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested("Thu 12:50")
    by_hand.at("Thu 12:50", granted())
    return by_hand


def report(status: str, when: str = LATER, command: str | None = None) -> Event:
    return acknowledged(status, when, command or command_of())


def confirmed(when: str) -> ReservationConfirmed:
    return ReservationConfirmed(command_id=command_of(), customer_id="ana", now=at(when))


def only_ask(by_hand: ByHand) -> Ask:
    (ask,) = by_hand.customer.asks
    return ask


# ---- reports


@rule("4.42", "6.6")
@pytest.mark.parametrize("status", GOOD)
def test_what_reached_the_customer_is_confirmed_to_the_ledger_once(status: str) -> None:
    by_hand = after_the_ask()

    assert by_hand.at(LATER, report(status)) == [confirmed(LATER)]
    assert by_hand.at("Thu 14:00", report("opened", "Thu 14:00")) == []


@rule("4.42", "6.6", "10.41", "10.89")
@pytest.mark.parametrize("status", BAD)
def test_an_explicit_failure_releases_the_reservation_once(status: str) -> None:
    by_hand = after_the_ask()

    assert by_hand.at(LATER, report(status)) == [released(LATER)]
    assert not only_ask(by_hand).counts
    assert by_hand.at("Thu 14:00", report("failed", "Thu 14:00")) == []


@rule("10.41")
@pytest.mark.parametrize("status", BAD)
def test_a_failure_after_it_was_sent_releases_nothing(status: str) -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, report("sent"))

    assert by_hand.at("Thu 14:00", report(status, "Thu 14:00")) == []
    assert only_ask(by_hand).counts


@pytest.mark.parametrize("status", BAD)
def test_a_report_of_sending_after_one_of_failure_counts_as_asked(status: str) -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, report(status))

    assert by_hand.at("Thu 14:00", report("sent", "Thu 14:00")) == [confirmed("Thu 14:00")]
    assert only_ask(by_hand).counts


@pytest.mark.parametrize("order", [("Thu 13:00", "Thu 13:30"), ("Thu 13:30", "Thu 13:00")])
@rule("A13.8")
def test_the_first_report_of_sending_counts_and_the_earliest_of_failing(order: tuple[str, str]) -> None:
    by_hand = after_the_ask()
    for happened in order:
        by_hand.at("Thu 14:00", report("opened", happened), report("failed", happened))

    ask = only_ask(by_hand)
    assert (ask.sent_at, ask.failed_at) == (at(order[0]), at("Thu 13:00"))


@rule("6.6")
def test_accepted_says_nothing_about_the_customer() -> None:
    by_hand = after_the_ask()
    before = only_ask(by_hand)

    assert by_hand.at(LATER, report("accepted")) == []
    assert only_ask(by_hand) == before


def test_a_report_about_another_command_changes_nothing() -> None:
    by_hand = after_the_ask()
    before = only_ask(by_hand)
    assert by_hand.at(LATER, report("failed", command="another")) == []
    assert only_ask(by_hand) == before


@rule("10.89")
def test_after_a_failure_the_customer_may_be_asked_again_and_the_rivals_stay_closed() -> None:
    failed = replay(
        a_customer(), nps(9, "Mon 12:00"), compliment("Mon 12:00"), report("failed", "Mon 12:30"),
        compliment("Tue 12:00", "another"),
    )  # fmt: skip
    assert failed.asked == [("nps_promoter", "Mon 12:20"), ("positive_feedback", "Tue 12:20")]
    assert [ask.subject for ask in failed.asks] == ["r1", "another"]


@rule("4.41", "10.42")
def test_silence_of_the_worker_never_releases() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Fri 12:00"))
    assert story.asked == [("nps_promoter", "Mon 12:20")]


# ---- cancellation


VETOES: dict[str, tuple[Data, GateName]] = {
    "consent withdrawn": (ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False), "consent"),
    "suppressed": (ev.Suppressed(reason="unsubscribed"), "consent"),
    "a ticket": (ev.TicketOpened(ticket_id="t"), "trouble"),
    "a complaint": (ev.ComplaintMade(), "trouble"),
    "a detractor": (ev.NpsResponded(response_id="r2", score=2), "trouble"),
    "a failed payment": (ev.InvoicePaymentFailed(invoice_id="i"), "trouble"),
    "a refund": (ev.ChargeRefunded(charge_id="c"), "trouble"),
    "a dispute": (ev.ChargeDisputed(charge_id="c"), "trouble"),
    "a cancellation considered": (ev.CancellationConsidered(), "trouble"),
    "erasure": (ev.ErasureRequested(), "erased"),
    "a no": (ev.AskAnswered(command_id="x", answer="no"), "answers"),
}


def cancelled(effects: list[Effect]) -> list[AskCancelled]:
    return [effect for effect in effects if isinstance(effect, AskCancelled)]


def told(effects: list[Effect]) -> list[Effect]:
    """Without the end of the record, which an erasure brings."""
    return [effect for effect in effects if not isinstance(effect, RecordForgotten)]


@rule("6.4", "10.90", "A1.12")
@pytest.mark.parametrize("what", VETOES)
def test_a_late_veto_takes_the_command_back(what: str) -> None:
    data, gate = VETOES[what]

    decision, cancel = told(after_the_ask().at(LATER, data))

    assert isinstance(decision, Decision)
    assert (decision.outcome, decision.decision_id) == ("cancelled", decision_id(opportunity_of(), 3))
    assert isinstance(cancel, AskCancelled)
    assert cancel == AskCancelled(
        command_id=command_of(),
        decision_id=decision.decision_id,
        opportunity_id=opportunity_of(),
        customer_id="ana",
        trigger="nps_promoter",
        gate=gate,
        reason=cancel.reason,
        cancelled_at=at(LATER),
    )
    assert cancel.reason == next(reason.saw for reason in decision.reasons if reason.gate == gate)


@rule("10.90")
@pytest.mark.parametrize(
    "data",
    [ev.AdvocacyAsked(kind="review", by="x"), ev.TrialStarted(subscription_id="s"), ev.ChampionChanged(champion=False),
     ev.ProfileChanged(requires_approval=True), ev.AskAnswered(command_id="x", answer="yes")],
)  # fmt: skip
def test_other_gates_take_nothing_back(data: Data) -> None:
    assert after_the_ask().at(LATER, data) == []


@rule("10.90")
@pytest.mark.parametrize("status", GOOD)
def test_what_was_sent_is_not_cancelled(status: str) -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, report(status))
    assert by_hand.at("Thu 14:00", ticket_opened("Thu 14:00")) == []


@pytest.mark.parametrize("status", ["accepted", "failed"])
def test_what_a_worker_may_still_send_is_cancelled(status: str) -> None:
    """Workers try again after a failure."""
    by_hand = after_the_ask()
    by_hand.at(LATER, report(status))
    assert len(cancelled(by_hand.at("Thu 14:00", ticket_opened("Thu 14:00")))) == 1


@rule("10.90")
@pytest.mark.parametrize("after", AROUND)
def test_what_has_expired_is_not_cancelled_any_more(after: int) -> None:
    when = at("Thu 20:00") + after
    effects = after_the_ask().at(when, ticket_opened(when))
    assert bool(cancelled(effects)) is (after < 0)


def test_a_command_is_cancelled_once_and_that_alone_releases_nothing() -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, ticket_opened(LATER))

    assert by_hand.at("Thu 14:00", fact(ev.ComplaintMade(), "Thu 14:00")) == []
    assert only_ask(by_hand).counts
    assert by_hand.at("Thu 14:05", report("cancelled", "Thu 14:05")) == [released("Thu 14:05")]


def test_a_drop_of_usage_takes_the_command_back_at_midnight_without_any_event() -> None:
    """Days are judged at 00:00Z, which is 02:00 in Berlin; the last seven days are 40 % below the four weeks before."""
    midnight = at("Wed 02:00")
    uses = [
        fact(ev.UsageRecorded(count=6 if days <= 7 else 10), midnight - days * DAY + 8 * HOUR)
        for days in range(35, 0, -1)
    ]
    story = replay(
        a_customer(channels=("in_app",)), uses, nps(9, "Wed 01:00"), fact(ev.WorkflowCompleted(), "Wed 01:30")
    )
    assert story.asked == [("nps_promoter", "Wed 01:30")]
    assert [(shown(each.cancelled_at), each.gate) for each in story.cancelled] == [("Wed 02:00", "trouble")]


def test_once_it_was_sent_nobody_is_woken_for_its_sake() -> None:
    by_hand = after_the_ask()
    by_hand.at("Thu 13:00", ev.UsageRecorded())
    assert by_hand.wake_at == at("Fri 02:00")  # the next midnight in UTC, where a drop of usage would be seen

    by_hand.at(LATER, report("sent"))
    assert by_hand.wake_at is None


def test_a_withheld_ask_is_no_command_to_cancel() -> None:
    by_hand = after_the_ask()
    (ask,) = by_hand.customer.asks
    for kind in ("holdout", "shadow"):
        assert not replace(ask, kind=kind).may_be_cancelled(at(LATER))
    assert replace(ask, kind="soft").may_be_cancelled(at(LATER))


def test_trouble_that_is_over_before_the_ask_expires_does_not_bring_it_back() -> None:
    story = replay(
        a_customer(), nps(9), ticket_opened("Thu 13:30"),
        fact(ev.TicketSolved(ticket_id="t1", rating="positive"), "Thu 14:00"),
        fact(ev.DashboardViewed(metrics_positive=True), "Thu 15:00"),
    )  # fmt: skip
    assert story.asked == [("nps_promoter", "Thu 12:50")]
    assert [shown(each.cancelled_at) for each in story.cancelled] == ["Thu 13:30"]


# ---- answers and referrals


def test_an_answer_belongs_to_its_ask() -> None:
    by_hand = after_the_ask()
    for another in ("0", "another"):  # ids before and behind that of the ask
        by_hand.at(LATER, answered("yes", LATER, another))
    assert not only_ask(by_hand).answered
    by_hand.at("Thu 14:00", answered("maybe", "Thu 14:00", command_of()))
    assert only_ask(by_hand).answered


@rule("10.86")
@pytest.mark.parametrize("command", [command_of(), None, "another"])
def test_a_referral_answers_the_ask_it_names_or_else_the_last_one_before_it(command: str | None) -> None:
    by_hand = after_the_ask()
    contact = ev.Contact(ref="c1", consented=False)
    by_hand.at(LATER, ev.ReferralGiven(referral_id="f1", command_id=command, contact=contact))
    assert only_ask(by_hand).answered


@pytest.mark.parametrize(("when", "answers"), [(-1, None), (0, 0), (1, 0), (DAY - 1, 0), (DAY, 1), (3 * DAY, 2)])
def test_a_referral_that_names_no_ask_answers_only_the_last_one_before_it(when: int, answers: int | None) -> None:
    """Three asks, a day apart."""
    first = only_ask(after_the_ask())
    asks = tuple(replace(first, command_id=f"c{n}", asked_at=first.asked_at + n * DAY) for n in range(3))
    given = ev.ReferralGiven(referral_id="f1", contact=ev.Contact(ref="c1", consented=False))
    told = fact(given, first.asked_at + when)
    customer = step(Policy(), Customer(id="ana", asks=asks), [told], first.asked_at + 4 * DAY).customer

    assert [n for n, ask in enumerate(customer.asks) if ask.answered] == ([] if answers is None else [answers])


@pytest.mark.parametrize("subject", ["a", "b", "c", "d"])
def test_each_ask_is_kept_and_only_the_one_that_is_out_is_cancelled(subject: str) -> None:
    """Half a year apart, whatever the order of their ids; what became of the first is not touched."""
    first = nps(9, "Mon 12:00")
    sent, replied = acknowledged("sent", "Mon 12:21", command_of()), answered("yes", "Tue 12:00", command_of())
    later = at("Mon 12:00") + 182 * DAY
    second = nps(9, later, subject)
    story = replay(a_customer(), first, sent, replied, second, fact(ev.ComplaintMade(), later + HOUR))

    old, new = story.customers["ana"].asks
    assert (old.command_id, old.sent_at, old.answered, old.cancelled) == (command_of(), at("Mon 12:21"), True, False)
    assert (new.command_id, new.cancelled) == (command_of(subject=subject), True)


def test_no_report_of_a_customer_reaches_the_ledger_before_something_was_asked() -> None:
    effects = ByHand().at(LATER, report("sent"), report("failed"))
    assert not [effect for effect in effects if isinstance(effect, ReservationConfirmed | ReservationReleased)]
