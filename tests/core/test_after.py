"""What follows an ask, step by step: orders, what a quarantine and the silent ledger hold back, bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from referral_stream.core import events as ev
from referral_stream.core.after_policy import Programme
from referral_stream.core.effects import (
    ContactClaimed,
    Effect,
    FollowupCancelled,
    FollowupRequested,
    GrantConfirmed,
    GrantReleased,
    GrantRequested,
    RecordChanged,
    RewardDenied,
    RewardGranted,
)
from referral_stream.core.events import Event
from referral_stream.core.fold_after import MOST_REFERRALS
from referral_stream.core.ids import grant_id
from referral_stream.core.instants import MINUTE, SECOND
from tests.builders import (
    AROUND,
    ByHand,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    at,
    command_of,
    fact,
    granted,
    nps,
    replay,
    shown,
    state,
)
from tests.rules import rule

POLICY = a_policy(
    rewards={"enabled": True, "default_segment": "all", "programmes": {"all": {"kind": "recognition"}}},
)
GRANT = grant_id("ana", "ref-1")
ASKED = (nps(9, "Thu 12:30"), acknowledged("sent", "Thu 12:51", command_of()))


def given(when: str, referral: str = "ref-1", key: str = "a", **more: object) -> Event:
    contact = ev.Contact(ref_hmac=key * 64, consented=True)
    return fact(ev.ReferralGiven(referral_id=referral, contact=contact), when, **more)  # type: ignore[arg-type]


def status(word: str, when: str, referral: str = "ref-1") -> Event:
    return fact(ev.ReferralStatusChanged(referral_id=referral, status=word), when)  # type: ignore[arg-type]


def names(effects: list[Effect]) -> list[str]:
    return [
        effect.kind if isinstance(effect, FollowupRequested | FollowupCancelled) else type(effect).__name__
        for effect in effects
    ]


def a_conversion() -> ByHand:
    """A referral of 13:00 that converts on Friday at 10:00; the ledger was asked and has not answered."""
    by_hand = ByHand(policy=POLICY)
    by_hand.at("Thu 13:00", given("Thu 13:00"))
    (request,) = [e for e in by_hand.at("Fri 10:00", status("converted", "Fri 10:00")) if isinstance(e, GrantRequested)]
    assert (request.grant_id, shown(request.now)) == (GRANT, "Fri 10:00")
    return by_hand


@rule("A0.1", "7.1", "7.2")
def test_effects_follow_each_record_at_once_cancellations_first_and_the_tables_order_after() -> None:
    by_hand = ByHand(policy=POLICY)
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested("Thu 12:50")
    by_hand.at("Thu 12:50", granted())
    by_hand.at("Thu 12:51", acknowledged("sent", "Thu 12:51", command_of()))
    assert names(by_hand.at("Thu 13:00", answered("yes", "Thu 13:00", command_of()))) == ["intro_offer"]
    maybe = answered("maybe", "Thu 13:01", command_of(), id="maybe")
    effects = by_hand.at("Thu 13:02", maybe, given("Thu 13:02"))
    assert names(effects) == [
        "intro_offer", "easy_forward",
        "ContactClaimed", "easy_forward", "thank", "take_care",
    ]  # fmt: skip
    assert [type(each) for each in effects[:2]] == [FollowupCancelled, FollowupRequested]


@rule("A0.2", "A0.4")
def test_grants_come_before_reports_and_the_record_last() -> None:
    story = replay(a_customer(), given("Thu 13:00"), status("converted", "Fri 10:00"), policy=a_policy(
        followups={"report_after_minutes": 0},
        rewards={"enabled": True, "default_segment": "all", "programmes": {"all": {"kind": "recognition"}}},
    ), until="Fri 10:00")  # fmt: skip
    effects = [effect for now, effect in story.happened if now == at("Fri 10:00")]
    of_interest = [
        type(e).__name__ for e in effects if isinstance(e, RewardGranted | FollowupRequested | RecordChanged)
    ]
    assert of_interest == ["RewardGranted", "FollowupRequested", "RecordChanged"]


@rule("A2.2")
def test_a_cancellation_names_what_it_takes_back_and_why() -> None:
    story = replay(a_customer(), *ASKED, answered("yes", "Thu 13:00", command_of()), given("Thu 13:05"), policy=POLICY)
    requests = {e.followup_id: e for _, e in story.happened if isinstance(e, FollowupRequested)}
    (cancelled,) = [e for _, e in story.happened if isinstance(e, FollowupCancelled)]
    taken_back = requests[cancelled.followup_id]
    assert (cancelled.kind, cancelled.customer_id, cancelled.reason) == (taken_back.kind, "ana", "referral_given")
    assert shown(cancelled.cancelled_at) == "Thu 13:05"


@rule("A2.12")
def test_while_quarantined_nothing_is_said_and_no_grant_is_asked_for() -> None:
    by_hand = ByHand(policy=POLICY)
    by_hand.at("Thu 12:00", given("Thu 12:00"))
    by_hand.customer.quarantined = True
    effects = by_hand.at("Fri 10:00", status("converted", "Fri 10:00"))
    assert not any(isinstance(e, GrantRequested) for e in effects)
    assert names(by_hand.at("Fri 10:15")) == []
    by_hand.at("Fri 10:20", ev.DeadletterReplayed())
    assert not by_hand.customer.quarantined
    (grant,) = [r.grant for r in by_hand.customer.referrals.values() if r.grant is not None]
    assert (grant.state, shown(grant.requested_at or 0)) == ("due", "Fri 10:20")


@rule("A3.1")
def test_a_referral_that_is_told_again_is_the_same_one() -> None:
    story = replay(a_customer(), given("Thu 13:00"), given("Thu 14:00", key="b"), policy=POLICY)
    assert [e.kind for _, e in story.happened if isinstance(e, FollowupRequested)] == ["thank", "take_care"]
    (referral,) = story.customers["ana"].referrals.values()
    assert (shown(referral.given or 0), referral.keys) == ("Thu 13:00", ("a" * 64, "b" * 64))
    assert [e.contact_keys for _, e in story.happened if isinstance(e, ContactClaimed)] == []  # the ledger's, no output


@rule("A4.9")
def test_silence_of_the_ledger_is_asked_again_without_end() -> None:
    by_hand = a_conversion()
    asked: list[GrantRequested] = []
    silences = 0
    while len(asked) < 12:
        assert by_hand.wake_at is not None
        effects = by_hand.at(by_hand.wake_at)
        asked += [e for e in effects if isinstance(e, GrantRequested)]
        silences += 1
        assert silences < 60
        assert not any(isinstance(e, RewardDenied | GrantReleased) for e in effects)
    waits = [(b.now - a.now) // SECOND for a, b in pairwise(asked)]
    assert waits == sorted(waits)
    assert waits[-1] == POLICY.ledger.retry_limit_seconds + POLICY.ledger.answer_seconds


@rule("A4.11", "A4.12")
@pytest.mark.parametrize("late", AROUND)
def test_any_answer_counts_while_one_is_awaited_and_a_yes_else_is_given_back(late: int) -> None:
    by_hand = a_conversion()
    deadline = at("Fri 10:00") + POLICY.ledger.answer_seconds * SECOND
    assert names(by_hand.at(deadline + late, ev.GrantGiven(grant_id=GRANT)))[:2] == ["GrantConfirmed", "RewardGranted"]
    assert names(by_hand.at(deadline + MINUTE, ev.GrantGiven(grant_id=GRANT))) == [], "it is theirs already"
    other = grant_id("ana", "ref-9")
    (back,) = by_hand.at(deadline + MINUTE, ev.GrantGiven(grant_id=other))
    assert isinstance(back, GrantReleased)
    assert back.grant_id == other


@rule("A4.13", "A4.16", "7.10")
def test_refused_is_denied_and_given_back() -> None:
    effects = a_conversion().at("Fri 10:00", ev.GrantRefused(grant_id=GRANT, reason="account_cap"))
    assert names(effects) == ["GrantReleased", "RewardDenied", "read_reward"]
    (denied,) = [e for e in effects if isinstance(e, RewardDenied)]
    assert denied.reason == "account_cap"
    assert not any(isinstance(e, GrantConfirmed) for e in effects)


@rule("A5.11")
def test_referrals_beyond_the_bound_are_only_counted() -> None:
    full = state(given("Thu 13:00", f"ref-{n}") for n in range(MOST_REFERRALS))
    assert (len(full.referrals), full.referrals_over) == (MOST_REFERRALS, 0)
    more = state(given("Thu 13:00", f"ref-{n}") for n in range(MOST_REFERRALS + 3))
    assert (len(more.referrals), more.referrals_over) == (MOST_REFERRALS, 3)


@rule("A6.6", "7.4")
def test_contacts_stand_in_the_order_in_which_they_were_given() -> None:
    story = replay(
        a_customer(), given("Thu 13:00", "z"), given("Thu 14:00", "b", "b"), given("Thu 14:00", "a", "c"), policy=POLICY
    )
    record = [e for _, e in story.happened if isinstance(e, RecordChanged)][-1]
    assert [contact.referral_id for contact in record.referred_contacts] == ["z", "a", "b"]


@rule("A11.1", "7.9")
@pytest.mark.parametrize("kind", ["cash", "credit", "gift_card", "donation"])
def test_what_is_worth_money_says_how_much_of_what(kind: str) -> None:
    Programme.model_validate({"kind": kind, "amount_minor": 1, "currency": "EUR"})
    for amount in ({"amount_minor": 1}, {"currency": "EUR"}, {"amount_minor": 1, "currency": "eur"}):
        with pytest.raises(ValidationError, match="needs a"):
            Programme.model_validate({"kind": kind, **amount})
    with pytest.raises(ValidationError):
        Programme.model_validate({"kind": kind, "amount_minor": 0, "currency": "EUR"})


@rule("A11.1", "7.9")
@pytest.mark.parametrize("kind", ["recognition", "exclusive_access", "extended_features"])
def test_what_is_worth_none_has_no_amount(kind: str) -> None:
    Programme.model_validate({"kind": kind, "benefit": "a page about you"})
    with pytest.raises(ValidationError, match="has no amount"):
        Programme.model_validate({"kind": kind, "amount_minor": 1, "currency": "EUR"})


@rule("A11.1")
def test_the_defaults_are_those_of_the_page() -> None:
    policy = a_policy()
    assert policy.followups.model_dump() == {
        "fresh_days": 7, "care_hours": 48, "report_after_minutes": 15, "report": ("contacted", "converted"),
        "active_since": None,
    }  # fmt: skip
    assert policy.referrals.attribution_days == 90
    assert policy.rewards.model_dump() == {
        "enabled": False, "holding_days": 0, "approval_days": 30, "per_customer": 10, "per_account": 20, "rate": 5,
        "claim_days": 365, "default_segment": "none", "programmes": {}, "active_since": None,
    }  # fmt: skip


@rule("7.11", "A4.5")
def test_a_contact_with_the_customers_own_address_is_a_hint() -> None:
    own = fact(ev.ProfileChanged(email_hmac="e" * 64, domain_hmac="d" * 64), "Mon 10:00")
    contact = ev.Contact(ref_hmac="a" * 64, email_hmac="e" * 64, domain_hmac="d" * 64, consented=True)
    referral = fact(ev.ReferralGiven(referral_id="ref-1", contact=contact), "Thu 13:00")
    told = a_customer(), own, referral, status("converted", "Fri 10:00")
    story = replay(*told, policy=POLICY, until="Fri 10:00")
    assert [effect.hints for _, effect in story.happened if hasattr(effect, "hints")] == [("own_email", "same_domain")]


@rule("7.11")
def test_a_domain_may_be_said_without_an_address_and_later() -> None:
    own = fact(ev.ProfileChanged(domain_hmac="d" * 64), "Mon 10:00")
    contact = ev.Contact(ref_hmac="a" * 64, domain_hmac="d" * 64, consented=True)
    referral = fact(ev.ReferralGiven(referral_id="ref-1", contact=contact), "Thu 13:00")
    for said in ((own,), (fact(ev.ProfileChanged(email_hmac="e" * 64), "Mon 09:00"), own)):
        story = replay(
            *a_customer(), *said, referral, status("converted", "Fri 10:00"), policy=POLICY, until="Fri 10:00"
        )
        assert [effect.hints for _, effect in story.happened if hasattr(effect, "hints")] == [("same_domain",)]


@rule("A0.13")
@pytest.mark.parametrize(("holding_days", "trace"), [(0, "00-c"), (3, None)])
def test_a_reward_carries_the_trace_of_its_conversion_and_none_of_a_timer(holding_days: int, trace: str | None) -> None:
    policy = POLICY.model_copy(update={"rewards": POLICY.rewards.model_copy(update={"holding_days": holding_days})})
    converted = replace(status("converted", "Fri 10:00"), traceparent="00-c")
    story = replay(*a_customer(), given("Thu 13:00"), converted, policy=policy)
    (reward,) = (effect for _, effect in story.happened if isinstance(effect, RewardGranted))
    assert reward.traceparent == trace


@rule("7.11")
def test_another_word_about_a_contact_does_not_take_back_whose_colleague_it_is() -> None:
    own = fact(ev.ProfileChanged(email_hmac="e" * 64, domain_hmac="d" * 64), "Mon 10:00")
    colleague, stranger = (ev.Contact(ref_hmac=x * 64, domain_hmac=y * 64, consented=True) for x, y in ("ad", "bc"))
    told = (fact(ev.ReferralGiven(referral_id="ref-1", contact=one), "Thu 13:00") for one in (colleague, stranger))
    first, second = told
    again = replace(second, id="again", time=at("Thu 14:00"))
    for given in ((first, again), (replace(first, id="later", time=at("Thu 15:00")), again)):
        story = replay(*a_customer(), own, *given, status("converted", "Fri 10:00"), policy=POLICY, until="Fri 10:00")
        assert [effect.hints for _, effect in story.happened if hasattr(effect, "hints")] == [("same_domain",)]


@rule("A3.6")
def test_who_takes_care_hears_of_a_withdrawn_consent_if_they_heard_of_one_and_only_then() -> None:
    def given(consented: bool, time: str) -> Event:
        contact = ev.Contact(ref_hmac="a" * 64, consented=consented)
        return replace(fact(ev.ReferralGiven(referral_id="ref-1", contact=contact), time), id=time)

    def told(*consents: bool) -> list[str]:
        story = replay(
            *a_customer(),
            *(given(each, f"Thu {hour}:00") for hour, each in enumerate(consents, 12)),
            policy=POLICY,
            until="Thu 20:00",
        )
        return [
            effect.variables["consented"] if isinstance(effect, FollowupRequested) else effect.reason
            for _, effect in story.happened
            if isinstance(effect, FollowupRequested | FollowupCancelled) and effect.kind == "take_care"
        ]

    assert told(True, False) == ["true", "contact_erased", "false"]
    assert told(False, True, False) == ["false"], "the owner writes to the customer anyway"
    assert told(True, False, True, False) == ["true", "contact_erased", "false"]


@rule("A11.1")
@pytest.mark.parametrize(("currency", "meant"), [("EUQ", "EUR"), ("eur", "EUR"), ("XXX", None), ("", None)])
def test_a_reward_is_promised_in_a_currency_that_there_is(currency: str, meant: str | None) -> None:
    with pytest.raises(ValidationError, match="ISO 4217") as refused:
        Programme(kind="credit", amount_minor=5, currency=currency)
    assert ("did you mean" in str(refused.value)) == (meant is not None)
    assert meant is None or f"did you mean {meant}?" in str(refused.value)
