"""Gate 5: while something is wrong, and for a while after it, nobody is asked."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, Drop
from referral_stream.core.events import Data, Event
from referral_stream.core.instants import DAY
from tests.builders import (
    AROUND,
    a_customer,
    a_policy,
    at,
    csat,
    fact,
    nps,
    replay,
    shown,
    ticket_opened,
    ticket_solved,
)
from tests.core.views import answer, verdict
from tests.rules import rule

THEN = at("Mon 12:00")
SUB = "sub-1"


def then(*data: Data, step: int = 60_000) -> list[Event]:
    """These events, a minute apart, the last of them at THEN."""
    return [fact(each, THEN - (len(data) - 1 - n) * step) for n, each in enumerate(data)]


WAITS: dict[str, tuple[int, list[Event]]] = {
    "a ticket solved": (3, then(ev.TicketOpened(ticket_id="t"), ev.TicketSolved(ticket_id="t"))),
    "a low ticket solved": (3, then(ev.TicketOpened(ticket_id="t", priority="low"), ev.TicketSolved(ticket_id="t"))),
    "a high ticket solved": (14, then(ev.TicketOpened(ticket_id="t", priority="high"), ev.TicketSolved(ticket_id="t"))),
    "an urgent ticket solved": (
        14, then(ev.TicketOpened(ticket_id="t", priority="urgent"), ev.TicketSolved(ticket_id="t")),
    ),
    "a ticket solved whose opening nobody saw": (3, then(ev.TicketSolved(ticket_id="t"))),
    "a ticket rated well, opened again and solved": (
        3,
        then(
            ev.TicketOpened(ticket_id="t"),
            ev.TicketSolved(ticket_id="t", rating="positive"),
            ev.TicketReopened(ticket_id="t"),
            ev.TicketSolved(ticket_id="t"),
        ),
    ),
    "a ticket rated badly": (30, then(ev.TicketRated(ticket_id="t", rating="negative"))),
    "a ticket solved badly": (
        30, then(ev.TicketOpened(ticket_id="t"), ev.TicketSolved(ticket_id="t", rating="negative")),
    ),
    "a complaint": (30, then(ev.ComplaintMade())),
    "a frustration": (30, then(ev.FrustrationShown())),
    "a review of two stars": (30, then(ev.ReviewPosted(rating=2, scale_max=5, url="page"))),
    "a review of one star that nobody can find again": (30, then(ev.ReviewPosted(rating=1, scale_max=5))),
    "a review that was good before": (
        30,
        then(ev.ReviewPosted(rating=5, scale_max=5, url="page"), ev.ReviewPosted(rating=4, scale_max=10, url="page")),
    ),
    "a bad CSAT answer": (30, [csat(40, 100, THEN)]),
    "a CSAT answer corrected downwards": (30, [csat(5, 5, THEN - 1), csat(2, 5, THEN)]),
    "a CSAT answer that is still bad after its correction": (30, [csat(1, 5, THEN - DAY), csat(2, 5, THEN)]),
    "critical feedback": (30, then(ev.FeedbackShared(positive=False))),
    "critical feedback, praise later": (
        30, [fact(ev.FeedbackShared(positive=False), THEN), fact(ev.FeedbackShared(positive=True), THEN + 1)],
    ),
    "a meeting that went badly": (30, then(ev.InteractionRecorded(kind="meeting", positive=False))),
    "a rating that turned positive": (
        3,
        [
            fact(ev.TicketRated(ticket_id="t", rating="negative"), THEN - 2),
            fact(ev.TicketSolved(ticket_id="t"), THEN),
            fact(ev.TicketRated(ticket_id="t", rating="positive"), THEN + 1),
        ],
    ),
    "the later of two complaints": (30, then(ev.ComplaintMade(), ev.FrustrationShown())),
    "a detractor": (90, [nps(6, THEN)]),
    "a detractor of zero": (90, [nps(0, THEN)]),
    "the later of two detractors": (90, [nps(2, THEN - DAY, "r2"), nps(6, THEN, "r3")]),
    "a late payment": (3, then(ev.InvoicePaymentFailed(invoice_id="i"), ev.InvoicePaid(invoice_id="i"))),
    "a refund": (90, then(ev.ChargeRefunded(charge_id="c"))),
    "the later of two refunds": (90, then(ev.ChargeRefunded(charge_id="c"), ev.ChargeRefunded(charge_id="d"))),
    "a cancellation considered": (120, then(ev.CancellationConsidered(subscription_id=SUB))),
    "a cancellation considered and reverted": (
        30, then(ev.CancellationConsidered(subscription_id=SUB), ev.CancellationReverted(subscription_id=SUB)),
    ),
    "the later of two considered": (
        120,
        then(ev.CancellationConsidered(subscription_id=SUB), ev.CancellationConsidered(subscription_id=SUB)),
    ),
    "the later of two reversals": (
        30,
        then(
            ev.CancellationScheduled(subscription_id=SUB),
            ev.CancellationReverted(subscription_id=SUB),
            ev.CancellationReverted(subscription_id=SUB),
        ),
    ),
    "a cancellation considered again": (
        120,
        then(
            ev.CancellationConsidered(subscription_id=SUB),
            ev.CancellationReverted(subscription_id=SUB),
            ev.CancellationConsidered(subscription_id=SUB),
        ),
    ),
    "a cancellation scheduled and reverted": (
        30, then(ev.CancellationScheduled(subscription_id=SUB), ev.CancellationReverted(subscription_id=SUB)),
    ),
    "a cancellation scheduled and a later renewal": (
        30, then(ev.CancellationScheduled(subscription_id=SUB), ev.SubscriptionRenewed(subscription_id=SUB)),
    ),
    "a cancellation of everything and a later renewal": (
        30, then(ev.CancellationScheduled(), ev.SubscriptionRenewed(subscription_id=SUB)),
    ),
    "a subscription ended and another started": (
        30, then(ev.SubscriptionEnded(subscription_id=SUB), ev.SubscriptionStarted(subscription_id="new")),
    ),
    "a subscription ended and started again": (
        30, then(ev.SubscriptionEnded(subscription_id=SUB), ev.SubscriptionStarted(subscription_id=SUB)),
    ),
}  # fmt: skip


@rule("1.9", "4.16", "4.17", "4.18", "4.19", "4.20", "4.21", "10.9", "10.68", "10.69", "10.71", "11.11", "11.12")
@pytest.mark.parametrize("after", AROUND)
@pytest.mark.parametrize("what", WAITS)
def test_after_each_trouble_it_waits_exactly_so_many_days(what: str, after: int) -> None:
    days, events = WAITS[what]
    end = THEN + days * DAY
    assert answer("trouble", *events, now=end + after) == (f"until {shown(end)}" if after < 0 else "pass")


@pytest.mark.parametrize("what", WAITS)
def test_the_wait_begins_at_once(what: str) -> None:
    days, events = WAITS[what]
    assert answer("trouble", *events, now=THEN) == f"until {shown(THEN + days * DAY)}"


@pytest.mark.parametrize("what", WAITS)
def test_the_same_is_known_in_whatever_order_we_hear_of_it(what: str) -> None:
    days, events = WAITS[what]
    assert answer("trouble", *reversed(events), now=THEN) == f"until {shown(THEN + days * DAY)}"


OPEN: dict[str, tuple[str, list[Event]]] = {
    "a ticket": ("ticket.solved", then(ev.TicketOpened(ticket_id="t"))),
    "one of two tickets": (
        "ticket.solved",
        then(
            ev.TicketOpened(ticket_id="t"),
            ev.TicketOpened(ticket_id="u"),
            ev.TicketSolved(ticket_id="t", rating="positive"),
        ),
    ),
    "a ticket reopened": (
        "ticket.solved",
        then(
            ev.TicketOpened(ticket_id="t"),
            ev.TicketSolved(ticket_id="t", rating="positive"),
            ev.TicketReopened(ticket_id="t"),
        ),
    ),
    "a failed payment": ("invoice.paid", then(ev.InvoicePaymentFailed(invoice_id="i"))),
    "one of two failed payments": (
        "invoice.paid",
        then(
            ev.InvoicePaymentFailed(invoice_id="i"),
            ev.InvoicePaymentFailed(invoice_id="j"),
            ev.InvoicePaid(invoice_id="i"),
        ),
    ),
    "a payment that fails again": (
        "invoice.paid",
        then(
            ev.InvoicePaymentFailed(invoice_id="i"),
            ev.InvoicePaid(invoice_id="i"),
            ev.InvoicePaymentFailed(invoice_id="i"),
        ),
    ),
    "a dispute": ("dispute.closed", then(ev.ChargeDisputed(charge_id="c"))),
    "a cancellation scheduled": ("cancellation.reverted", then(ev.CancellationScheduled(subscription_id=SUB))),
    "a cancellation considered, then scheduled": (
        "cancellation.reverted",
        then(ev.CancellationConsidered(subscription_id=SUB), ev.CancellationScheduled(subscription_id=SUB)),
    ),
    "a cancellation scheduled again": (
        "cancellation.reverted",
        then(
            ev.CancellationScheduled(subscription_id=SUB),
            ev.CancellationReverted(subscription_id=SUB),
            ev.CancellationScheduled(subscription_id=SUB),
        ),
    ),
    "a cancellation scheduled, then the trial converted": (
        "cancellation.reverted",
        then(ev.CancellationScheduled(subscription_id=SUB), ev.TrialEnded(subscription_id=SUB, converted=True)),
    ),
    "a cancellation scheduled after the renewal": (
        "cancellation.reverted",
        then(ev.SubscriptionRenewed(subscription_id=SUB), ev.CancellationScheduled(subscription_id=SUB)),
    ),
    "a cancellation scheduled, another one renewed": (
        "cancellation.reverted",
        then(ev.CancellationScheduled(subscription_id=SUB), ev.SubscriptionRenewed(subscription_id="another")),
    ),
    "a subscription ended": (
        "subscription.started",
        then(ev.SubscriptionStarted(subscription_id=SUB), ev.SubscriptionEnded(subscription_id=SUB)),
    ),
    "a trial that was not converted": (
        "subscription.started",
        then(ev.TrialStarted(subscription_id=SUB), ev.TrialEnded(subscription_id=SUB, converted=False)),
    ),
}


@rule("1.8", "4.16", "4.20", "10.68", "10.70", "10.72", "10.73")
@pytest.mark.parametrize("what", OPEN)
def test_what_is_open_is_waited_for_without_a_limit(what: str) -> None:
    event, events = OPEN[what]

    assert answer("trouble", *events, now=THEN) == f"until {event}"
    assert answer("trouble", *events, now=THEN + 119 * DAY) == f"until {event}"
    assert answer("trouble", *reversed(events), now=THEN) == f"until {event}"


FINE: dict[str, list[Event]] = {
    "nothing known": [],
    "a ticket solved with a positive rating": then(
        ev.TicketOpened(ticket_id="t", priority="urgent"), ev.TicketSolved(ticket_id="t", rating="positive")
    ),
    "a ticket solved, rated positive later": then(
        ev.TicketOpened(ticket_id="t"), ev.TicketSolved(ticket_id="t"), ev.TicketRated(ticket_id="t", rating="positive")
    ),
    "a negative rating corrected, without a solution to wait for": then(
        ev.TicketRated(ticket_id="t", rating="negative"), ev.TicketRated(ticket_id="t", rating="positive")
    ),
    "a bad review rewritten": then(
        ev.ReviewPosted(rating=1, scale_max=5, url="page"), ev.ReviewPosted(rating=3, scale_max=5, url="page")
    ),
    "a bad CSAT answer corrected": [csat(2, 5, THEN - 1), csat(3, 5, THEN)],
    "a middling review": then(ev.ReviewPosted(rating=2.01, scale_max=5)),
    "a talk of which nobody says how it went": then(ev.InteractionRecorded(kind="call")),
    "an invoice paid in time": then(ev.InvoicePaid(invoice_id="i")),
    "a dispute won": then(ev.ChargeDisputed(charge_id="c"), ev.DisputeClosed(charge_id="c", won=True)),
    "a passive score": [nps(7, THEN)],
    "a detractor, then a promoter": [nps(3, THEN - 1), nps(9, THEN, "r2")],
    "a detractor corrected upwards": [nps(3, THEN - 1), nps(7, THEN)],
    "a renewal": then(ev.SubscriptionStarted(subscription_id=SUB), ev.SubscriptionRenewed(subscription_id=SUB)),
    "one of two subscriptions ended": then(
        ev.SubscriptionStarted(subscription_id=SUB),
        ev.SubscriptionStarted(subscription_id="b"),
        ev.SubscriptionEnded(subscription_id=SUB),
    ),
    "another subscription started beside": then(
        ev.SubscriptionStarted(subscription_id=SUB), ev.SubscriptionStarted(subscription_id="b")
    ),
    "a trial converted": then(ev.TrialStarted(subscription_id=SUB), ev.TrialEnded(subscription_id=SUB, converted=True)),
}


@rule("4.38", "10.52", "10.70", "10.73", "11.11", "11.12")
@pytest.mark.parametrize("what", FINE)
def test_this_is_no_trouble(what: str) -> None:
    events = FINE[what]

    assert answer("trouble", *events, now=THEN) == "pass"
    assert answer("trouble", *reversed(events), now=THEN) == "pass"


# ---- tickets


@rule("1.8", "4.16")
def test_a_positive_rating_excuses_its_own_ticket_only() -> None:
    events = [
        *then(ev.TicketOpened(ticket_id="t"), ev.TicketSolved(ticket_id="t")),
        *then(ev.TicketOpened(ticket_id="u"), ev.TicketSolved(ticket_id="u", rating="positive")),
    ]
    said = verdict("trouble", *events, now=THEN)
    assert (said.answer, said.saw) == ("until", "ticket t solved at 2026-06-15T10:00:00.000Z")


@rule("10.114")
def test_the_latest_of_several_waits_is_the_answer_and_all_are_told() -> None:
    events = [*then(ev.ComplaintMade()), *then(ev.ChargeRefunded(charge_id="c"))]
    said = verdict("trouble", *events, now=THEN)

    assert said.until == THEN + 90 * DAY
    assert said.saw == "complaint or frustration at 2026-06-15T10:00:00.000Z; refund at 2026-06-15T10:00:00.000Z"


@rule("10.69")
def test_a_ticket_holds_back_the_ask_until_it_is_solved_well() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 09:00"), ticket_opened("Thu 09:10"), ticket_solved("Thu 11:00", rating="positive")
    )
    assert [when for outcome, when in story.outcomes("nps_promoter") if outcome == "deferred"] == [
        "Thu 09:10",
        "Thu 09:20",
    ]
    assert story.ask.not_before == at("Thu 11:00")


@rule("10.12")
def test_a_wait_that_ends_after_the_deadline_closes_the_window_at_once() -> None:
    story = replay(a_customer(), nps(9, "Thu 09:00"), ticket_opened("Thu 09:10"), ticket_solved("Thu 11:00"))

    assert story.outcomes()[-1] == ("suppressed", "Thu 11:00")
    assert story.asked == []


@rule("4.4")
@pytest.mark.parametrize("after", AROUND)
def test_a_wait_that_ends_at_the_deadline_is_too_long_and_one_that_ends_before_it_is_not(after: int) -> None:
    late = fact(ev.InvoicePaymentFailed(invoice_id="i"), "Mon 08:00")
    paid = fact(ev.InvoicePaid(invoice_id="i"), at("Tue 12:30") + after)  # + 3 days: Friday 12:30, the deadline

    story = replay(a_customer(channels=("email", "in_app")), late, paid, nps(9, "Thu 12:30"))

    first = story.decisions("nps_promoter")[0].outcome
    assert first == ("deferred" if after < 0 else "suppressed")


# ---- detractors


@rule("4.18", "10.51")
@pytest.mark.parametrize(("score", "said"), [(7, "until"), (8, "until"), (9, "pass"), (10, "pass")])
def test_only_a_later_promoter_lifts_the_veto_of_a_detractor(score: int, said: str) -> None:
    events = [nps(6, THEN - 1), nps(score, THEN, "another")]
    assert verdict("trouble", *events, now=THEN).answer == said


@rule("10.51")
def test_an_earlier_promoter_lifts_nothing() -> None:
    assert verdict("trouble", nps(10, THEN - 1), nps(6, THEN, "another"), now=THEN).answer == "until"


@rule("10.51")
def test_a_promoter_corrected_downwards_lifts_nothing_any_more() -> None:
    events = [nps(6, THEN - 2, "r1"), nps(9, THEN - 1, "r2"), nps(8, THEN, "r2")]
    assert verdict("trouble", *events, now=THEN).answer == "until"


# ---- disputes


@rule("4.19", "10.70")
@pytest.mark.parametrize("after", AROUND)
def test_a_lost_dispute_waits_ninety_days_from_the_dispute_not_from_its_end(after: int) -> None:
    events = [
        fact(ev.ChargeDisputed(charge_id="c"), THEN),
        fact(ev.DisputeClosed(charge_id="c", won=False), THEN + 20 * DAY),
    ]
    for order in (events, events[::-1]):
        said = answer("trouble", *order, now=THEN + 90 * DAY + after)
        assert said == (f"until {shown(THEN + 90 * DAY)}" if after < 0 else "pass")


# ---- cancellations and ends


@rule("10.72")
def test_a_scheduled_cancellation_ends_with_its_first_later_renewal() -> None:
    renewals = [fact(ev.SubscriptionRenewed(subscription_id=SUB), THEN + days * DAY) for days in (-3, 2, 9)]
    scheduled = fact(ev.CancellationScheduled(subscription_id=SUB), THEN)
    assert answer("trouble", scheduled, *renewals, now=THEN + 10 * DAY) == f"until {shown(THEN + 32 * DAY)}"


@rule("4.21")
def test_a_return_counts_from_the_start_that_ended_the_absence() -> None:
    events = [
        fact(ev.SubscriptionEnded(subscription_id="a"), THEN - 5 * DAY),
        fact(ev.SubscriptionStarted(subscription_id="b"), THEN - 2 * DAY),
        fact(ev.SubscriptionStarted(subscription_id="c"), THEN),
    ]
    assert answer("trouble", *events, now=THEN) == f"until {shown(THEN + 28 * DAY)}"


@rule("10.73")
@pytest.mark.parametrize(("gap", "said"), [(-1, "pass"), (0, "until"), (1, "until")])
def test_a_subscription_that_starts_before_the_other_ends_is_no_return(gap: int, said: str) -> None:
    """``gap``: ms from the end of the old to the start of the new one."""
    events = [
        fact(ev.SubscriptionStarted(subscription_id="a"), THEN - 99 * DAY),
        fact(ev.SubscriptionEnded(subscription_id="a"), THEN),
        fact(ev.SubscriptionStarted(subscription_id="b"), THEN + gap),
    ]
    assert verdict("trouble", *events, now=THEN + 1).answer == said


# ---- usage and quarantine


@rule("1.9")
@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (Drop(280, 28), "until usage.recorded"),
        (Drop(280, 28, ended_day=THEN // DAY), f"until {shown(THEN // DAY * DAY + 7 * DAY)}"),
    ],
)
def test_a_drop_of_usage_is_waited_out_and_seven_days_more(drop: Drop, said: str) -> None:
    assert answer("trouble", now=THEN, customer=Customer(id="ana", drop=drop)) == said


@rule("4.22", "10.80")
@pytest.mark.parametrize("after", AROUND)
def test_seven_days_after_the_day_judged_recovered_it_is_over(after: int) -> None:
    day = THEN // DAY
    customer = Customer(id="ana", drop=Drop(280, 28, ended_day=day))
    said = answer("trouble", now=(day + 7) * DAY + after, customer=customer)
    assert (said == "pass") is (after >= 0)


def test_a_customer_whose_event_could_not_be_applied_is_left_alone_until_it_could() -> None:
    quarantined = Customer(id="ana", quarantined=True)
    assert answer("trouble", now=THEN, customer=quarantined) == "until deadletter.replayed"


def test_every_wait_is_the_policys() -> None:
    policy = a_policy(
        trouble={
            "ticket_solved_days": 1, "urgent_ticket_solved_days": 2, "complaint_days": 3, "detractor_days": 4,
            "payment_recovered_days": 5, "refund_days": 6, "dispute_days": 7, "cancellation_considered_days": 8,
            "cancellation_reverted_days": 9, "resubscribed_days": 10,
        }
    )  # fmt: skip
    expected = {
        "a ticket solved": 1, "an urgent ticket solved": 2, "a complaint": 3, "a detractor": 4, "a late payment": 5,
        "a refund": 6, "a cancellation considered": 17, "a cancellation considered and reverted": 9,
        "a subscription ended and another started": 10,
    }  # fmt: skip
    for what, days in expected.items():
        assert answer("trouble", *WAITS[what][1], now=THEN, policy=policy) == f"until {shown(THEN + days * DAY)}", what

    lost = then(ev.ChargeDisputed(charge_id="c"), ev.DisputeClosed(charge_id="c", won=False), step=0)
    assert answer("trouble", *lost, now=THEN, policy=policy) == f"until {shown(THEN + 7 * DAY)}"
