"""The state and the fold: each event once, the last writer by event time wins, whatever the order of arrival."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core import fold as fold_module
from referral_stream.core.customer import Customer, Survey
from referral_stream.core.events import Data, Event
from referral_stream.core.fold import _FOLDS as FOLDS
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.ids import hash64
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import Policy
from referral_stream.core.stamps import Flag, Stamp, Word
from tests.builders import AROUND, POLICY, a_customer, answered, at, consent, fact, nps, replay, state
from tests.contracts.examples import FACT_DATA
from tests.rules import rule

T = at("Mon 12:00")

ONLY_ACTIVITY = {
    "workflow.completed", "achievement.unlocked", "dashboard.viewed", "advice.asked", "community.engaged",
    "case_study.joined", "peer.mentioned", "email.opened", "email.clicked",
}  # fmt: skip
ONLY_A_TRIGGER_OR_MOMENT = {"subscription.expanded", "call.moment"}
NOT_OF_THE_CUSTOMERS_STATE = {
    "control.paused", "control.resumed", "customer.aliased", "customer.linked", "customer.overfull_cleared",
}  # fmt: skip


def of_type(kind: str, when: int = T) -> Event:
    """A good event of that type."""
    return fact(ev.FACT_TYPES[kind].model_validate(FACT_DATA[kind]), when)


# ---- every type is known


OF_A_GRANT = {"reward.approved", "reward.rejected", "reward.settled"}
"""What the process ``after`` sees to: it means nothing without a grant."""


@rule("1.5")
def test_each_type_is_folded_or_known_to_change_nothing_but_activity() -> None:
    """A new type makes this fail until somebody has decided what it means."""
    assert set(FOLDS) <= set(ev.FACT_TYPES)
    others = ONLY_ACTIVITY | ONLY_A_TRIGGER_OR_MOMENT | NOT_OF_THE_CUSTOMERS_STATE | OF_A_GRANT
    assert set(ev.FACT_TYPES) - set(FOLDS) == others
    assert ONLY_ACTIVITY <= ev.ACTIVITY
    assert not (ONLY_A_TRIGGER_OR_MOMENT | NOT_OF_THE_CUSTOMERS_STATE) & ev.ACTIVITY


@rule("1.7", "10.63")
def test_activity_is_exactly_the_list_of_the_page() -> None:
    page = """
        onboarding.completed milestone.reached goal.achieved usage.recorded workflow.completed achievement.unlocked
        dashboard.viewed task.started nps.responded csat.responded ticket.opened ticket.rated ticket.reopened
        complaint.made frustration.shown interaction.recorded advice.asked community.engaged feedback.shared
        compliment.given testimonial.given case_study.joined review.posted peer.mentioned email.opened email.clicked
        ask.answered referral.given
    """
    assert sorted(ev.ACTIVITY) == sorted(page.split())


@rule("10.63")
def test_an_event_is_activity_only_if_its_type_is_listed(subtests: pytest.Subtests) -> None:
    for kind in ev.FACT_TYPES:
        with subtests.test(kind):
            customer = state(of_type(kind))
            expected = T if kind in ev.ACTIVITY else None
            assert (customer.first_activity, customer.last_activity) == (expected, expected)


@rule("1.1", "1.10")
def test_a_folded_type_leaves_its_mark_on_the_state(subtests: pytest.Subtests) -> None:
    for kind in sorted(set(FOLDS) - {"ask.acknowledged"}):
        with subtests.test(kind):
            without_activity = state(of_type(kind))
            without_activity.first_activity = without_activity.last_activity = None
            assert without_activity != Customer(id="ana")


def test_folding_never_changes_the_state_it_was_copied_from(subtests: pytest.Subtests) -> None:
    for kind in ev.FACT_TYPES:
        with subtests.test(kind):
            before = state(*(of_type(each, T - HOUR) for each in sorted(ev.FACT_TYPES)))
            snapshot = before.copy()
            kept = repr(before)

            fold(snapshot, of_type(kind))

            assert repr(before) == kept


# ---- last writer wins


CONTRADICTIONS: dict[str, tuple[Data, Data]] = {
    "zone": (ev.ProfileChanged(time_zone="Europe/Berlin"), ev.ProfileChanged(time_zone="UTC")),
    "locale": (ev.ProfileChanged(locale="de"), ev.ProfileChanged(locale="en")),
    "segment": (ev.ProfileChanged(segment="smb"), ev.ProfileChanged(segment="enterprise")),
    "account": (ev.ProfileChanged(account_id="a"), ev.ProfileChanged(account_id="b")),
    "address": (ev.ProfileChanged(email_hmac="0" * 64), ev.ProfileChanged(email_hmac="1" * 64)),
    "approval": (ev.ProfileChanged(requires_approval=True), ev.ProfileChanged(requires_approval=False)),
    "channels": (
        ev.ProfileChanged(channels=ev.ReachableChannels(email=True, phone=True)),
        ev.ProfileChanged(channels=ev.ReachableChannels(email=False)),
    ),
    "consent": (
        ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True),
        ev.ConsentChanged(purpose="referral_ask", channel="email", granted=False),
    ),
    "suppression": (ev.Suppressed(), ev.Unsuppressed()),
    "champion": (ev.ChampionChanged(champion=True), ev.ProfileChanged(champion=False)),
    "usage compared": (ev.UsageCompared(above_average=True), ev.UsageCompared(above_average=False)),
    "nps": (ev.NpsResponded(response_id="r", score=9), ev.NpsResponded(response_id="r", score=3)),
    "csat": (
        ev.CsatResponded(response_id="r", score=5, scale_max=5),
        ev.CsatResponded(response_id="r", score=1, scale_max=5),
    ),
    "ticket": (ev.TicketOpened(ticket_id="t", priority="high"), ev.TicketSolved(ticket_id="t", rating="positive")),
    "ticket rating": (
        ev.TicketRated(ticket_id="t", rating="negative"),
        ev.TicketRated(ticket_id="t", rating="positive"),
    ),
    "ticket priority": (
        ev.TicketOpened(ticket_id="t", priority="low"),
        ev.TicketOpened(ticket_id="t", priority="urgent"),
    ),
    "invoice": (ev.InvoicePaymentFailed(invoice_id="i"), ev.InvoicePaid(invoice_id="i")),
    "dispute": (ev.ChargeDisputed(charge_id="c"), ev.DisputeClosed(charge_id="c", won=False)),
    "cancellation": (ev.CancellationScheduled(subscription_id="s"), ev.CancellationReverted(subscription_id="s")),
    "trial": (ev.TrialStarted(subscription_id="s"), ev.TrialEnded(subscription_id="s", converted=True)),
    "subscription": (ev.SubscriptionStarted(subscription_id="s"), ev.SubscriptionEnded(subscription_id="s")),
    "task": (ev.TaskStarted(task_id="t"), ev.TaskEnded(task_id="t")),
    "concern": (ev.CallConcernRaised(call_id="c"), ev.CallConcernAddressed(call_id="c")),
    "approval of one": (ev.AskApproved(opportunity_id="o", by="x"), ev.AskRejected(opportunity_id="o", by="x")),
    "referral": (
        ev.ReferralStatusChanged(referral_id="f", status="qualified"),
        ev.ReferralStatusChanged(referral_id="f", status="rejected"),
    ),
}


@rule("1.4", "1.16")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_of_two_contradicting_events_the_newer_wins_in_whatever_order_they_arrive(what: str) -> None:
    first, second = CONTRADICTIONS[what]
    older, newer = fact(first, T), fact(second, T + 1)
    assert state(older, newer) == state(newer, older)

    # and the other way round in time, so that "the one that came last" or "this kind of event" can not be the rule
    older, newer = fact(second, T, id="other"), fact(first, T + 1, id="another")
    assert state(older, newer) == state(newer, older)
    assert state(older, newer) != state(fact(first, T), fact(second, T + 1))


@rule("10.6")
@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_at_one_instant_source_and_then_id_decide(what: str) -> None:
    first, second = CONTRADICTIONS[what]
    a, b = fact(first, T, id="a"), fact(second, T, id="b")
    assert state(a, b) == state(b, a)


@rule("10.6", "I1.9")
def test_the_order_is_that_of_time_then_what_protects_then_source_then_id() -> None:
    stamps = [
        Stamp(1, True, "b", "b"), Stamp(2, False, "b", "b"), Stamp(2, True, "a", "b"), Stamp(2, True, "b", "a"),
        Stamp(2, True, "b", "b"),
    ]  # fmt: skip
    mixed = [stamps[n] for n in (2, 0, 3, 1, 4)]
    assert sorted(mixed) == stamps


@rule("I1.9")
@pytest.mark.parametrize(
    ("favourable", "protective", "holds"),
    [
        (
            ev.ConsentChanged(purpose="referral_ask", channel="email", granted=True),
            ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False),
            lambda c: not c.consent["email"].value,
        ),
        (ev.Unsuppressed(), ev.Suppressed(), lambda c: c.suppressed.value),
        (
            ev.NpsResponded(response_id="r", score=9),
            ev.NpsResponded(response_id="r", score=8),
            lambda c: not c.responses["r"].promoter,
        ),
        (
            ev.AskApproved(opportunity_id="o", by="ops"),
            ev.AskRejected(opportunity_id="o", by="ops"),
            lambda c: not c.approvals["o"].value,
        ),
        (
            ev.UsageCompared(above_average=True),
            ev.UsageCompared(above_average=False),
            lambda c: not c.above_average.value,
        ),
    ],
)
def test_at_one_instant_the_protective_word_wins(favourable: ev.Data, protective: ev.Data, holds: Any) -> None:
    for_asking, against = fact(favourable, T, id="z"), fact(protective, T, id="a")
    assert holds(state(for_asking, against))
    assert state(for_asking, against) == state(against, for_asking)


@rule("1.17")
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_a_tickets_life_ends_in_the_same_state(order: tuple[int, ...]) -> None:
    life = [
        fact(ev.TicketOpened(ticket_id="t", priority="urgent"), T),
        fact(ev.TicketSolved(ticket_id="t"), T + 1),
        fact(ev.TicketRated(ticket_id="t", rating="negative"), T + 2),
        fact(ev.TicketReopened(ticket_id="t"), T + 3),
    ]
    assert state(*(life[n] for n in order)) == state(*life)


@rule("10.7")
@pytest.mark.parametrize("what", ["nps", "csat", "ticket", "invoice", "dispute", "subscription", "task",
                                  "concern", "approval of one", "referral"])  # fmt: skip
def test_the_fold_tells_whether_an_event_was_the_newest_of_its_object(what: str) -> None:
    first, second = CONTRADICTIONS[what]
    customer = Customer(id="ana")

    assert fold(customer, fact(second, T + 1))
    assert not fold(customer, fact(first, T))
    assert fold(customer, fact(second, T + 2, id="newer"))


@rule("1.11", "1.15")
def test_a_profile_changes_only_what_it_names() -> None:
    full, partial = of_type("customer.profile_changed"), fact(ev.ProfileChanged(locale="fr"), T + 1)

    customer = state(full, partial)

    assert customer.locale == Word(Stamp.of(partial), "fr")
    assert customer.time_zone == Word(Stamp.of(full), "Europe/Berlin")
    assert {channel: flag.value for channel, flag in customer.reachable.items()} == {
        "email": True, "in_app": False, "phone": True,
    }  # fmt: skip


def test_an_invalid_zone_of_a_profile_is_ignored_and_its_other_fields_are_not() -> None:
    customer = state(fact(ev.ProfileChanged(time_zone="Nowhere/At all", segment="smb"), T))
    assert (customer.time_zone, customer.segment and customer.segment.value) == (None, "smb")


@rule("1.12", "10.23")
def test_consent_for_all_writes_each_channel_and_each_has_its_own_last_writer() -> None:
    everything, phone = consent(True, "Mon 10:00"), consent(False, "Mon 11:00", "phone")

    for order in ([everything, phone], [phone, everything]):
        assert {channel: flag.value for channel, flag in state(*order).consent.items()} == {
            "email": True, "in_app": True, "phone": False,
        }  # fmt: skip


@rule("1.11")
def test_zone_and_account_of_an_event_are_kept_whatever_its_type() -> None:
    event = fact(ev.CallMoment(kind="check_in"), T, timezone="Asia/Kolkata", account="acme")
    stamp = Stamp.of(event)
    customer = state(event)
    assert (customer.event_zone, customer.account) == (Word(stamp, "Asia/Kolkata"), Word(stamp, "acme"))


@rule("1.4", "10.47")
def test_a_survey_keeps_its_newest_revision() -> None:
    older, newer = nps(9, T), nps(4, T + 1)
    assert state(newer, older).responses == {"r1": Survey(Stamp.of(newer), 4, promoter=False, low=True)}


# ---- what only grows


@rule("1.1", "1.5")
@pytest.mark.parametrize(
    ("kind", "field"),
    [("onboarding.completed", "onboarded"), ("milestone.reached", "milestone"), ("milestone.reached", "first_success"),
     ("goal.achieved", "goal"), ("saving.measured", "saving"), ("testimonial.given", "testimonial"),
     ("testimonial.given", "positive_feedback"), ("compliment.given", "positive_feedback")],
)  # fmt: skip
def test_what_once_was_true_stays_true(kind: str, field: str) -> None:
    assert getattr(Customer(id="ana"), field) is False
    assert getattr(state(of_type(kind)), field) is True


def test_a_later_milestone_that_is_no_first_success_takes_nothing_back() -> None:
    customer = state(of_type("milestone.reached"), fact(ev.MilestoneReached(milestone="second"), T + 1))
    assert (customer.milestone, customer.first_success) == (True, True)


@rule("1.6", "10.62")
def test_interactions_are_counted_and_the_first_and_last_activity_kept() -> None:
    calls = [fact(ev.InteractionRecorded(kind="call"), T + n * HOUR) for n in (2, 0, 1)]
    customer = state(*calls)
    assert (customer.interactions, customer.first_activity, customer.last_activity) == (3, T, T + 2 * HOUR)


@rule("1.13")
def test_the_latest_answer_of_each_kind_is_kept() -> None:
    customer = state(answered("no", T + 1), answered("no", T), answered("yes", T))
    assert customer.answers == {"no": T + 1, "yes": T}


def test_a_call_is_cut_short_once() -> None:
    cut = [fact(ev.CallCutShort(call_id=call), T + n) for n, call in enumerate(("a", "a", "b"))]
    assert state(*cut).calls_cut_short == ("a", "b")


# ---- the same event again


@rule("9.10")
@pytest.mark.parametrize("after", AROUND)
def test_an_event_id_is_remembered_for_seven_days_from_its_arrival(after: int) -> None:
    customer, event = Customer(id="ana"), nps(9)

    assert not seen_before(customer, event, T, POLICY)
    assert seen_before(customer, event, T + 7 * DAY + after, POLICY) is (after < 0)


def test_a_repetition_does_not_prolong_the_memory() -> None:
    customer, event = Customer(id="ana"), nps(9)
    seen_before(customer, event, T, POLICY)
    seen_before(customer, event, T + 6 * DAY, POLICY)
    assert not seen_before(customer, event, T + 7 * DAY, POLICY)


@rule("9.10")
def test_ids_are_those_of_their_source() -> None:
    customer = Customer(id="ana")
    seen_before(customer, fact(ev.AdviceAsked(), T, id="1"), T, POLICY)

    elsewhere = Event(id="1", source="another", type="advice.asked", subject="ana", time=T, data=ev.AdviceAsked())
    assert not seen_before(customer, elsewhere, T, POLICY)
    assert not seen_before(customer, fact(ev.AdviceAsked(), T, id="2"), T, POLICY)


@rule("I1.3")
def test_a_stop_is_no_repeat_of_another_kind_of_event_with_its_id() -> None:
    customer = Customer(id="ana")
    assert not seen_before(customer, fact(ev.AdviceAsked(), T, id="1"), T, POLICY)
    for stop in (ev.Suppressed(), ev.ErasureRequested(), ev.AskAnswered(command_id="c", answer="stop")):
        assert not seen_before(customer, fact(stop, T, id="1"), T, POLICY)
        assert seen_before(customer, fact(stop, T, id="1"), T, POLICY)


def test_what_is_older_than_seven_days_is_forgotten() -> None:
    customer = Customer(id="ana")
    for day in range(20):
        seen_before(customer, fact(ev.AdviceAsked(), T, id=str(day)), T + day * DAY, POLICY)
    assert sorted(customer.seen.values()) == [T + day * DAY for day in range(13, 20)]


def test_a_memory_of_no_days_is_none() -> None:
    customer, forgetful = Customer(id="ana"), Policy(dedup_days=0)
    seen_before(customer, nps(9), T, forgetful)
    assert not seen_before(customer, nps(9), T, forgetful)


@rule("1.18", "10.63")
def test_an_event_that_comes_twice_counts_once() -> None:
    event = fact(ev.InteractionRecorded(kind="call"), "Mon 13:00")
    once, twice = replay(a_customer(), event), replay(a_customer(), event, event)
    assert twice.customers == once.customers
    assert once.customers["ana"].interactions == 6


def test_a_hash_depends_on_each_part_and_on_where_it_ends() -> None:
    assert len({hash64("a", "b"), hash64("ab"), hash64("a", "b", ""), hash64("b", "a")}) == 4


@rule("9.10")
def test_a_hash_is_the_same_on_every_machine_and_in_every_release() -> None:
    """It is kept in the customers' state for ever."""
    assert hash64("a", "b") == 18_429_100_309_458_631_331


@rule("1.15")
def test_a_flag_of_a_task_knows_when_it_was_written() -> None:
    started = fact(ev.TaskStarted(task_id="t"), T)
    assert state(started).tasks == {"t": Flag(Stamp.of(started), value=True)}


def test_of_a_machine_only_so_many_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "REMEMBERED_IDS", 3)
    customer = Customer(id="ana")
    events = [fact(ev.UsageRecorded(), "Mon 10:00", id=f"use {n}") for n in range(4)]

    assert not any(seen_before(customer, event, n, POLICY) for n, event in enumerate(events))
    assert len(customer.seen) == 3
    assert [seen_before(customer, event, 9, POLICY) for event in reversed(events)] == [True, True, True, False]
