"""What follows an ask, case by case. Many are public reports of referral programmes: what went wrong there, and what
must come out (every kind of interleaving is compared with the oracle in tests/properties/test_afterwards.py).
"""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.after import telling
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    FollowupCancelled,
    FollowupRequested,
    RecordChanged,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.events import Event
from referral_stream.core.followups import FollowUp
from referral_stream.core.ids import followup_id, grant_id
from referral_stream.core.instants import DAY, HOUR, MINUTE
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.replay.virtual_run import Arrival
from tests.builders import (
    Story,
    Told,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    arriving,
    at,
    command_of,
    consent,
    fact,
    nps,
    replay,
)
from tests.rules import rule

SENT = "Thu 12:51"
"""The promoter of Thursday 12:30 is asked at 12:50."""

CREDIT = {"kind": "credit", "amount_minor": 5_000, "currency": "EUR"}


def paying(**more: Any) -> Policy:
    return a_policy(rewards={"enabled": True, "default_segment": "smb", "programmes": {"smb": CREDIT}, **more})


def hashed(letter: str) -> str:
    return letter * 64


def given(when: Any, referral: str = "r-1", *, ref: str = "a", customer: str = "ana", **more: Any) -> Event:
    contact = ev.Contact(
        ref_hmac=hashed(ref), consented=more.pop("consented", True), email_hmac=more.pop("email", None)
    )
    data = ev.ReferralGiven(referral_id=referral, command_id=more.pop("command", None), contact=contact)
    return fact(data, when, customer=customer, **more)


def status(word: Any, when: Any, referral: str = "r-1", *, customer: str = "ana", **more: Any) -> Event:
    return fact(ev.ReferralStatusChanged(referral_id=referral, status=word), when, customer=customer, **more)


def after_the_ask(*told: Told, policy: Policy | None = None, until: Any = None) -> Story:
    asked = (a_customer(), nps(9, "Thu 12:30"), acknowledged("sent", SENT, command_of()))
    return replay(*asked, *told, policy=policy or paying(), until=until)


def kinds(story: Story) -> list[str]:
    return [effect.kind for effect in story.effects() if isinstance(effect, FollowupRequested)]


def rewards(story: Story) -> list[str]:
    names = {RewardHeld: "held", RewardGranted: "granted", RewardDenied: "denied", RewardReversed: "reversed"}
    return [names[type(effect)] for effect in story.effects() if type(effect) in names]


def withdrawn(story: Story) -> list[tuple[str, str]]:
    return [(e.kind, e.reason) for e in story.effects() if isinstance(e, FollowupCancelled)]


def last_record(story: Story, customer: str = "ana") -> RecordChanged:
    return [record for record in story.records if record.customer_id == customer][-1]


# ---- answers


@rule("A1.15")
@pytest.mark.parametrize(
    ("word", "kind"),
    [("yes", "intro_offer"), ("maybe", "easy_forward"), ("no", "graceful_no"), ("unclear", "read_answer")],
)
def test_each_word_is_followed_by_its_own(word: str, kind: str) -> None:
    story = after_the_ask(answered(word, "Thu 14:00", command_of()), until="Fri 14:00")
    assert kinds(story) == [kind]
    (said,) = (effect for effect in story.effects() if isinstance(effect, FollowupRequested))
    assert said.followup_id == followup_id("ana", command_of(), kind, 1)
    assert said.audience == ("owner" if kind == "read_answer" else "customer")
    assert last_record(story).asks[0].answer == word


@rule("A13.1")
@pytest.mark.parametrize("word", ["yes", "maybe", "unclear"])
def test_after_a_stop_a_person_reads_whatever_else_is_said(word: str) -> None:
    told = (answered("stop", "Thu 14:00", command_of()), answered(word, "Thu 15:00", command_of()))
    assert kinds(after_the_ask(*told, until="Fri 14:00")) == ["read_answer"]


@rule("A13.2")
def test_a_yes_and_then_a_stop_is_one_withdrawal() -> None:
    told = (answered("yes", "Thu 14:00", command_of()), answered("stop", "Thu 14:10", command_of()))
    assert withdrawn(after_the_ask(*told, until="Fri 14:00")) == [("intro_offer", "stop")]


QUESTIONED = (a_customer(), nps(9, "Thu 12:30"))
"""With the question first, it goes out on Thu 14:20."""


@pytest.mark.parametrize(
    ("said", "recalled"),
    [
        ([answered("no", "Thu 15:00", "?")], False),
        ([answered("maybe", "Thu 15:00", "?")], False),
        ([answered("stop", "Thu 15:00", "?")], True),
        ([answered("yes", "Thu 15:00", "?"), answered("stop", "Thu 15:10", "?")], True),
        ([fact(ev.AskAnswered(command_id="?", answer="no"), "Tue 14:00")], True),
        ([answered("yes", "Thu 15:00", "?"), fact(ev.AskAnswered(command_id="??", answer="no"), "Tue 14:00")], True),
    ],
)
def test_a_word_that_is_perhaps_said_to_a_question_recalls_it_only_if_it_is_a_stop(
    said: list[Event], recalled: bool
) -> None:
    """R136: while a question for the reason is out, it may be what is answered; what was said before it, is not."""
    story = replay(
        *QUESTIONED, *(Arrival(at("Thu 15:30"), each) for each in said), policy=a_policy(ask_reason_first=True)
    )
    assert (story.cancelled != []) is recalled


@pytest.mark.parametrize("word", ["yes", "no", "maybe", "unclear"])
@pytest.mark.parametrize(
    "against",
    [
        ev.Suppressed(reason="unsubscribe"), ev.ErasureRequested(), ev.TicketOpened(ticket_id="t1"),
        ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False),
        ev.NpsResponded(response_id="r1", score=3), ev.AskAnswered(command_id="?", answer="stop"),
    ],
)  # fmt: skip
def test_an_answer_to_who_knows_what_is_no_proof_that_a_question_went_out(word: str, against: ev.Data) -> None:
    """Whatever closes a gate afterwards recalls it, as long as no worker has said that it was sent."""
    told = (answered(word, "Thu 15:00", "another-tools"), fact(against, "Thu 16:00"))
    assert replay(*QUESTIONED, *told, policy=a_policy(ask_reason_first=True)).cancelled != []


# ---- reports


@rule("A3.10")
@pytest.mark.parametrize("reachable", [True, False])
def test_a_report_that_is_overtaken_is_withdrawn_also_if_the_newer_one_cannot_be_said(reachable: bool) -> None:
    """R141: nobody is told how it went the day before."""
    channels = fact(ev.ProfileChanged(channels=ev.ReachableChannels(email=reachable, in_app=reachable)), "Fri 12:00")
    course = (status("contacted", "Fri 10:00"), channels, status("converted", "Fri 13:00"))
    story = after_the_ask(given("Thu 15:00"), *course, policy=a_policy(), until="Sat 12:00")
    assert ("report_back", "status") in withdrawn(story)
    assert kinds(story).count("report_back") == (2 if reachable else 1)
    assert (last_record(story).followups["report_back"].get("unreachable", 0)) == (0 if reachable else 1)


# ---- somebody with many referrals


def remembering(count: int, *, lasts: int, now: int) -> Customer:
    """Somebody for whom so many cares were requested, each ``lasts`` ms ago or for that long."""
    known = (
        FollowUp(
            id=f"f{n}", kind="take_care", about=f"old-{n}", n=1, at=now - DAY + n, due=now, due_by=now,
            expires_at=now + lasts, requested_at=now - DAY + n, subject=f"old-{n}",
        )
        for n in range(count)
    )  # fmt: skip
    return Customer(id="ana", now=now - 1, followups=tuple(known))


def test_beyond_the_bound_what_is_over_makes_room_for_what_is_to_be_done_now() -> None:
    now = at("Thu 15:00")
    known = remembering(telling.MOST_FOLLOWUPS, lasts=-HOUR, now=now)
    done = step(a_policy(), known, [given("Thu 15:00")], now)
    requested = [effect.kind for effect in done.effects if isinstance(effect, FollowupRequested)]
    assert requested == ["take_care"]
    assert len(done.customer.followups) == telling.MOST_FOLLOWUPS
    assert "f0" not in {f.id for f in done.customer.followups}


def test_while_all_are_open_no_more_is_requested_and_it_is_counted() -> None:
    now = at("Thu 15:00")
    known = remembering(telling.MOST_FOLLOWUPS, lasts=HOUR, now=now)
    done = step(a_policy(), known, [given("Thu 15:00")], now)
    assert [effect for effect in done.effects if isinstance(effect, FollowupRequested)] == []
    assert done.customer.followups == known.followups
    assert done.customer.tallies["take_care"].unreachable == 1


# ---- rewards


@rule("A4.3")
def test_a_webhook_that_comes_twice_under_two_ids_pays_once() -> None:
    twice = (status("converted", "Fri 10:00", id="hook-1"), status("converted", "Fri 10:01", id="hook-2"))
    story = after_the_ask(given("Thu 15:00"), *twice, until="next Mon 12:00")
    assert rewards(story) == ["granted"]


def test_a_status_whose_message_was_lost_and_is_repeated_pays_once_and_tells_once() -> None:
    again = (status("converted", "Fri 10:00", id="hook-1"), status("converted", "Fri 10:00", id="hook-1"))
    story = after_the_ask(given("Thu 15:00"), *again, given("Fri 11:00"), until="next Mon 12:00")
    assert rewards(story) == ["granted"]
    assert kinds(story).count("report_back") == 1


@rule("A4.14")
def test_a_refund_in_two_parts_takes_the_reward_back_once() -> None:
    parts = (status("refunded", "Sat 10:00", id="part-1"), status("refunded", "Sat 11:00", id="part-2"))
    story = after_the_ask(given("Thu 15:00"), status("converted", "Fri 10:00"), *parts, until="next Mon 12:00")
    assert rewards(story) == ["granted", "reversed"]
    assert kinds(story).count("read_reward") == 1


@rule("A4.15")
def test_a_dispute_that_was_lost_and_then_won_revives_nothing() -> None:
    course = (
        status("converted", "Fri 10:00"),
        status("refunded", "Sat 10:00"),
        status("converted", "Sat 12:00", id="won"),
    )
    story = after_the_ask(given("Thu 15:00"), *course, until="next Mon 12:00")
    assert rewards(story) == ["granted", "reversed"]
    (contact,) = last_record(story).referred_contacts
    assert (contact.status, contact.reward) == ("converted", "reversed")


def test_a_refund_within_the_holding_period_asks_the_ledger_for_nothing() -> None:
    course = (status("converted", "Fri 10:00"), status("refunded", "Sat 10:00"))
    story = after_the_ask(given("Thu 15:00"), *course, policy=paying(holding_days=14), until="next Mon 12:00")
    assert rewards(story) == ["denied"]


@rule("A4.5", "A4.6")
def test_a_contact_with_the_customers_own_address_is_looked_at_first() -> None:
    own = fact(ev.ProfileChanged(email_hmac=hashed("b")), "Wed 10:00")
    story = after_the_ask(
        own, given("Thu 15:00", email=hashed("b")), status("converted", "Fri 10:00"), until="next Mon 12:00"
    )
    assert rewards(story) == ["held"]
    assert "approve_reward" in kinds(story)


@rule("A4.7")
@pytest.mark.parametrize(("verdict", "outcome"), [(ev.RewardApproved, "granted"), (ev.RewardRejected, "denied")])
def test_a_persons_word_decides_what_is_held(verdict: Any, outcome: str) -> None:
    own = fact(ev.ProfileChanged(email_hmac=hashed("b")), "Wed 10:00")
    word = fact(verdict(grant_id=grant_id("ana", "r-1"), by="owner"), "Fri 12:00")
    told = (own, given("Thu 15:00", email=hashed("b")), status("converted", "Fri 10:00"), word)
    assert rewards(after_the_ask(*told, until="next Mon 12:00")) == ["held", outcome]


@rule("A0.13")
@pytest.mark.parametrize(("rejected", "account"), [("Sat 12:00", None), (at("Sat 12:00") + 1, "acme")])
def test_what_is_approved_and_denied_at_one_instant_was_never_asked_for(rejected: Any, account: str | None) -> None:
    """R140: all records of an instant are known before a grant is asked for, under the account of then."""
    own = fact(ev.ProfileChanged(email_hmac=hashed("b")), "Wed 10:00")
    moved = fact(ev.ProfileChanged(account_id="acme"), "Fri 12:00")
    approved = fact(ev.RewardApproved(grant_id=grant_id("ana", "r-1"), by="owner"), "Sat 12:00")
    told = (own, given("Thu 15:00", email=hashed("b")), status("converted", "Fri 10:00"), moved, approved)
    story = after_the_ask(*told, status("rejected", rejected), until="next Mon 12:00")
    (ended,) = (effect for effect in story.effects() if isinstance(effect, RewardDenied | RewardReversed))
    assert (type(ended), ended.account_id) == (RewardReversed if account else RewardDenied, account)


@rule("A4.5")
def test_a_rule_holds_on_every_path_also_where_the_conversion_came_before_the_referral() -> None:
    """The own address is looked at whether the status comes behind the referral or in front of it."""
    own = fact(ev.ProfileChanged(email_hmac=hashed("b")), "Wed 10:00")
    early = (own, status("converted", "Thu 14:00"), given("Thu 15:00", email=hashed("b")))
    assert rewards(after_the_ask(*early, until="next Mon 12:00")) == ["held"]


def test_two_who_name_one_contact_at_once_are_not_both_paid() -> None:
    both = [
        [
            *a_customer(name),
            given("Thu 15:00", f"of-{name}", ref="c", customer=name),
            status("converted", "Fri 10:00", f"of-{name}", customer=name),
        ]
        for name in ("ana", "bea")
    ]
    story = replay(*both, policy=paying(), until="next Mon 12:00")
    assert sorted(rewards(story)) == ["denied", "granted"]


def test_a_cap_of_one_is_used_once_and_is_free_again_after_a_reversal() -> None:
    policy = paying(per_customer=1)
    told = [
        given("Thu 15:00", "r-1", ref="a"), given("Thu 15:00", "r-2", ref="c"), given("Thu 15:00", "r-3", ref="d"),
        status("converted", "Fri 10:00", "r-1"), status("converted", "Fri 10:00", "r-2"),
        status("refunded", "Sat 10:00", "r-1"), status("converted", "Sat 11:00", "r-3"),
    ]  # fmt: skip
    assert rewards(after_the_ask(*told, policy=policy, until="next Mon 12:00")) == [
        "granted",
        "denied",
        "reversed",
        "granted",
    ]


@rule("A4.16")
def test_an_erasure_denies_what_is_not_granted_and_ends_the_record() -> None:
    erased = fact(ev.ErasureRequested(), "Sat 10:00")
    story = after_the_ask(
        given("Thu 15:00"),
        status("converted", "Fri 10:00"),
        erased,
        policy=paying(holding_days=14),
        until="next Mon 12:00",
    )
    assert rewards(story) == ["denied"]
    assert ("take_care", "care_taken") in withdrawn(story)


def test_shadow_mode_says_and_pays_nothing() -> None:
    policy = a_policy(shadow=True, rewards={"enabled": True, "default_segment": "smb", "programmes": {"smb": CREDIT}})
    story = replay(a_customer(), nps(9), given("Thu 15:00"), status("converted", "Fri 10:00"), policy=policy)
    assert (kinds(story), rewards(story)) == ([], [])


# ---- the record


@rule("A6.9", "A6.12")
def test_a_record_counts_what_became_of_every_occasion() -> None:
    story = after_the_ask(answered("yes", "Thu 14:00", command_of()), until="Fri 14:00")
    record = last_record(story)
    (month,) = (m for m in record.months if m.trigger == "nps_promoter")
    assert (month.opened, month.eligible, month.asked) == (1, 1, 1)
    assert record.referral_history.times_asked == 1
    assert record.n == len(story.records)


def test_what_goes_wrong_soon_after_an_ask_is_regretted() -> None:
    complaint = fact(ev.ComplaintMade(), at(SENT) + DAY)
    (ask,) = last_record(after_the_ask(complaint)).asks
    assert (ask.regret, ask.despite_signal) == (True, None)


@rule("A6.13")
def test_an_ask_that_goes_out_behind_a_complaint_was_made_despite_a_signal() -> None:
    complaint = fact(ev.ComplaintMade(), at(SENT) - MINUTE // 2)
    late = fact(ev.ComplaintMade(), at(SENT) + HOUR)
    for said, despite in ((complaint, True), (late, None)):
        (ask,) = last_record(after_the_ask(said)).asks
        assert ask.despite_signal is despite


@rule("A13.7")
@pytest.mark.parametrize(("about", "despite"), [(command_of(), None), ("nobody's", True)])
def test_a_stop_that_answers_the_ask_is_no_signal_against_it_and_any_other_is(about: str, despite: bool | None) -> None:
    """R138: whoever answers an ask has had it, whatever else said so before."""
    told = (answered("yes", "Thu 14:00", command_of()), answered("stop", "Thu 14:00", about))
    (ask,) = last_record(replay(a_customer(), nps(9, "Thu 12:30"), *told, until="Fri 14:00")).asks
    assert (ask.sent_at, ask.despite_signal) == (at("Thu 14:00"), despite)


@rule("A6.13")
def test_consent_that_was_withdrawn_before_it_was_sent_counts_also_after_a_stop() -> None:
    """R139: each of gate 3, gate 5 and a stop begins by itself."""
    withdrawn = arriving(consent(False, at(SENT) - MINUTE // 2), "Sat 10:00")
    for told, despite in (((), None), ((withdrawn,), True)):
        (ask,) = last_record(after_the_ask(answered("stop", "Fri 10:00", "nobody's"), *told)).asks
        assert ask.despite_signal is despite


@rule("A6.7")
@pytest.mark.parametrize(("forgotten", "late"), [("Sat 15:00", None), (at("Sat 15:00") + 1, True)])
def test_care_that_was_late_stays_late_when_the_contact_is_erased(forgotten: Any, late: bool | None) -> None:
    """R137: by 15:00 on Saturday somebody should have; nobody can be late with what is no longer to be done."""
    erased = fact(ev.ContactErased(referral_id="r-1"), forgotten)
    story = after_the_ask(given("Thu 15:00"), erased, until="next Mon 12:00")
    assert ("take_care", "contact_erased") in withdrawn(story)
    assert last_record(story).referred_contacts[0].care_late is late


# ---- two ids, one person


@rule("I3.20")
@pytest.mark.parametrize("survivor", ["ana", "zoe"])
def test_of_two_grants_for_one_referral_that_of_the_smaller_id_stays(survivor: str) -> None:
    other = "zoe" if survivor == "ana" else "ana"
    both = [
        [
            *a_customer(name),
            given("Thu 15:00", "r-1", ref=ref, customer=name),
            status("converted", "Fri 10:00", customer=name),
        ]
        for name, ref in (("ana", "c"), ("zoe", "d"))
    ]
    alias = fact(ev.Aliased(alias=other), "Fri 12:00", customer=survivor)
    story = replay(*both, alias, policy=paying(holding_days=2), until="next Mon 12:00")
    said = [effect for effect in story.effects() if isinstance(effect, RewardDenied | RewardGranted)]
    (denied,) = (effect for effect in said if isinstance(effect, RewardDenied))
    assert (denied.grant_id, denied.reason) == (grant_id("zoe", "r-1"), "duplicate")
    assert [effect.grant_id for effect in said if isinstance(effect, RewardGranted)] == [grant_id("ana", "r-1")]
