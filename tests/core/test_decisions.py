"""What is written down: one decision per change, each with its whole explanation."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import AskRequested, Decision, PolicyRef, Reason, Rival, Score, TimeZone, Window
from referral_stream.core.events import Event
from referral_stream.core.ids import command_id, decision_id
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.rules.gates import GATES
from tests.builders import (
    POLICY,
    ByHand,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    arriving,
    at,
    blocking,
    command_of,
    compliment,
    consent,
    fact,
    nps,
    opportunity_of,
    renewed,
    replay,
    shown,
    ticket_opened,
    ticket_solved,
)
from tests.rules import rule

LIMITS = {gate.name: gate.limit(POLICY) for gate in GATES}
SCORE = Score(
    value=100,
    raw=100,
    parts={"tenure": 10, "first_success": 0, "usage_above_average": 15, "nps": 30, "testimonial": 0,
           "interactions": 10, "positive_feedback": 10, "champion": 15, "engaged": 10},
)  # fmt: skip


def reasons(**moment: Any) -> tuple[Reason, ...]:
    """All gates clear, but for gate ``moment`` if told otherwise."""
    clear = {name: Reason(gate=name, answer="pass", saw="clear", limit=limit) for name, limit in LIMITS.items()}
    if moment:
        clear["moment"] = Reason(gate="moment", limit=LIMITS["moment"], **moment)
    return tuple(clear.values())


@rule("2.8", "8.3", "8.4", "10.94", "10.96")
def test_the_whole_explanation_of_an_ask() -> None:
    opened, asked = replay(a_customer(account="acme"), nps(9, flags=("time_unreadable",))).decisions()

    pending = Decision(
        decision_id=decision_id(opportunity_of(), 1),
        opportunity_id=opportunity_of(),
        customer_id="ana",
        account_id="acme",
        trigger="nps_promoter",
        subject="r1",
        outcome="pending",
        reasons=reasons(answer="until", until="2026-06-18T10:50:00.000Z", saw="settling"),
        score=SCORE,
        window=Window(opens=at("Thu 12:30"), deadline=at("Fri 12:30")),
        settled=at("Thu 12:50"),
        time_zone=TimeZone(name="Europe/Berlin", source="profile"),
        policy=PolicyRef(name="default", hash=POLICY.hash),
        decided_at=at("Thu 12:30"),
        flags=("time_unreadable",),
    )
    assert opened == pending
    assert asked == pending.model_copy(
        update={
            "decision_id": decision_id(opportunity_of(), 2),
            "outcome": "asked",
            "reasons": reasons(),
            "mode": "direct",
            "channel": "email",
            "command_id": command_of(),
            "decided_at": at("Thu 12:50"),
            "next_eligible_at": at("Thu 12:50") + 90 * DAY,
        }
    )


@rule("1.13", "6.2", "6.13")
def test_the_whole_command() -> None:
    story = replay(
        a_customer(account="acme", channels=("email", "in_app")), nps(9, theme="support", traceparent="00-a")
    )
    asked = story.decisions()[-1]

    assert story.ask == AskRequested(
        command_id=command_of(),
        decision_id=asked.decision_id,
        opportunity_id=opportunity_of(),
        customer_id="ana",
        account_id="acme",
        trigger="nps_promoter",
        subject="r1",
        mode="direct",
        template="nps",
        variables={},
        channels=("email", "in_app"),
        not_before=at("Thu 12:50"),
        expires_at=at("Thu 20:00"),
        reason_theme="support",
        score=SCORE,
        policy=PolicyRef(name="default", hash=POLICY.hash),
        traceparent="00-a",
    )


# ---- which outcome


@rule("8.1", "10.107")
def test_pending_is_settling_or_waiting_for_its_moment() -> None:
    assert replay(a_customer(), nps(9, "Thu 14:00")).outcomes() == [("pending", "Thu 14:00"), ("asked", "Fri 13:00")]


@rule("3.24", "4.2", "8.1", "10.11", "10.107")
def test_deferred_is_another_gate_that_waits() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 14:00"), ticket_opened("Thu 17:00"), ticket_solved("Fri 09:00", rating="positive")
    )
    assert story.outcomes("nps_promoter") == [
        ("pending", "Thu 14:00"), ("deferred", "Thu 17:00"), ("pending", "Fri 09:00"), ("asked", "Fri 13:00"),
    ]  # fmt: skip


@rule("8.1", "10.108")
def test_suppressed_is_a_gate_that_will_not_open_in_time() -> None:
    story = replay(a_customer(), fact(ev.ComplaintMade(), "Mon 10:00"), nps(9))
    assert story.outcomes() == [("suppressed", "Thu 12:30")]


@rule("4.1", "10.108")
def test_suppressed_is_also_a_gate_that_had_not_opened_at_the_deadline() -> None:
    story = replay(a_customer(channels=("in_app",)), nps(9, "Thu 12:30"), ticket_opened("Thu 12:40"))
    assert story.outcomes()[-1] == ("suppressed", "Fri 12:30")
    assert blocking(story.decisions()[-1]) == {"trouble": "ticket.solved", "moment": "moment"}


@rule("8.1", "10.109")
def test_expired_is_a_window_that_ended_with_only_the_moment_missing() -> None:
    story = replay(a_customer(channels=("in_app",)), nps(9))
    assert story.outcomes() == [("pending", "Thu 12:30"), ("expired", "Fri 12:30")]
    assert blocking(story.decisions()[-1]) == {"moment": "moment"}


def test_a_window_whose_end_was_missed_has_expired_at_the_next_opportunity() -> None:
    by_hand = ByHand(a_customer(channels=("in_app",)))
    by_hand.at("Thu 12:30", nps(9))
    (decision,) = by_hand.at("Fri 12:35")
    assert isinstance(decision, Decision)
    assert (decision.outcome, shown(decision.decided_at)) == ("expired", "Fri 12:35")


@rule("8.2")
def test_expired_on_arrival_writes_one_decision_and_asks_nobody() -> None:
    story = replay(a_customer(), arriving(nps(9, "Tue 12:00"), "Thu 12:30"))
    assert story.outcomes() == [("expired_on_arrival", "Thu 12:30")]


@rule("2.7", "6.8", "8.1")
@pytest.mark.parametrize(
    ("champion", "outcome", "mode"), [(True, "asked", "direct"), (False, "soft", "soft")], ids=["70", "55"]
)
def test_from_seventy_on_it_is_an_ask_below_it_a_soft_mention(champion: bool, outcome: str, mode: str) -> None:
    story = replay(a_customer(champion=champion), compliment("Mon 12:00"))
    assert (story.decisions()[-1].outcome, story.decisions()[-1].mode, story.ask.mode) == (outcome, mode, mode)


@rule("3.8", "3.9", "6.9", "6.10", "10.57", "10.58")
@pytest.mark.parametrize(
    ("event", "mode"),
    [
        (compliment("Mon 12:00"), "direct"),
        (fact(ev.PeerMentioned(peer_ref="p"), "Mon 12:00"), "value_first"),
        (fact(ev.SubscriptionExpanded(deal_id="d"), "Mon 12:00"), "same_company"),
        (renewed("Mon 12:00"), "direct"),
    ],
)
def test_the_mode_follows_the_trigger_and_a_soft_mention_is_soft_whatever_it_is(event: Event, mode: str) -> None:
    assert replay(a_customer(), event).ask.mode == mode
    assert replay(a_customer(champion=False), event).ask.mode == "soft"


@rule("6.11", "10.58")
def test_a_policy_may_offer_mutual_benefit_for_a_trigger() -> None:
    programme = {"kind": "credit", "amount_minor": 5_000, "currency": "EUR"}
    rewards = {"enabled": True, "default_segment": "all", "programmes": {"all": programme}}
    policy = a_policy(triggers={"renewal": {"mode": "mutual_benefit"}}, rewards=rewards)
    assert replay(a_customer(), renewed("Mon 12:00"), policy=policy).ask.mode == "mutual_benefit"


@rule("8.2")
def test_shadow_mode_decides_everything_and_sends_nothing() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Tue 12:00"), policy=a_policy(shadow=True))
    assert story.asks == []
    assert story.outcomes() == [("pending", "Mon 12:00"), ("shadow", "Mon 12:20"), ("suppressed", "Tue 12:00")]


def test_in_shadow_mode_the_best_reason_is_the_one_that_would_have_spoken() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Mon 12:00"), policy=a_policy(shadow=True))
    assert story.outcomes("nps_promoter")[-1] == ("shadow", "Mon 12:20")
    assert story.outcomes("positive_feedback")[-1] == ("superseded", "Mon 12:20")


# ---- when


@rule("10.5")
def test_an_event_at_the_deadline_still_merges_and_comes_before_its_end() -> None:
    """At one instant: records, then deadlines."""
    story = replay(a_customer(channels=("in_app",)), compliment("Thu 12:30"), compliment("Sat 12:30", "another"))
    assert story.outcomes() == [("pending", "Thu 12:30"), ("duplicate", "Sat 12:30"), ("expired", "Sat 12:30")]


def test_where_one_window_ends_the_others_are_judged_all_the_same() -> None:
    by_hand = ByHand(a_customer(channels=("in_app",)))
    by_hand.at("Thu 12:30", nps(9), compliment("Thu 12:30"))

    effects = by_hand.at("Fri 12:30", ticket_opened("Fri 12:30"))

    assert [(each.trigger, each.outcome) for each in effects if isinstance(each, Decision)] == [
        ("nps_promoter", "suppressed"),
        ("positive_feedback", "deferred"),
    ]


def test_news_count_though_a_repeated_record_comes_at_the_same_instant() -> None:
    by_hand = ByHand()
    opened = nps(9, "Thu 14:00")
    by_hand.at("Thu 14:00", opened)

    (decision,) = by_hand.at("Thu 15:00", opened, ticket_opened("Thu 15:00"))

    assert isinstance(decision, Decision)
    assert decision.outcome == "deferred"


@rule("10.64")
def test_the_triggers_own_event_is_activity() -> None:
    idle = a_customer(without=("advice.asked",))
    assert replay(idle, nps(9)).decisions()[0].score.parts["engaged"] == 10
    assert replay(idle, renewed("Thu 12:30")).decisions()[0].score.parts["engaged"] == 0  # a renewal is no activity


@rule("8.5", "10.103")
def test_what_changes_nothing_writes_nothing() -> None:
    calls = [fact(ev.InteractionRecorded(kind="call"), when) for when in ("Thu 15:00", "Thu 16:00", "Fri 09:00")]
    assert replay(a_customer(), nps(9, "Thu 14:00"), calls).outcomes() == [
        ("pending", "Thu 14:00"),
        ("asked", "Fri 13:00"),
    ]


@rule("10.104")
def test_of_several_changes_at_one_instant_only_the_last_is_written() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 14:00"), arriving(ticket_opened("Thu 16:59"), "Thu 17:00"),
        arriving(ticket_solved("Thu 17:00", rating="positive"), "Thu 17:00"),
    )  # fmt: skip
    assert story.outcomes("nps_promoter") == [("pending", "Thu 14:00"), ("asked", "Fri 13:00")]


@rule("8.5", "10.110")
def test_an_event_that_opens_nothing_and_touches_nothing_writes_nothing() -> None:
    assert replay(a_customer(), nps(8), ticket_opened("Fri 09:00")).effects() == []


@rule("10.11", "10.103")
def test_a_gate_that_waits_for_something_else_is_a_change() -> None:
    """Solved: no longer until the solution, but until an instant after it."""
    story = replay(
        a_customer(), renewed("Mon 12:00"), ticket_opened("Tue 13:00", priority="low"), ticket_solved("Tue 14:00")
    )
    assert [(decision.outcome, blocking(decision)) for decision in story.decisions()] == [
        ("pending", {"moment": "Fri 13:00"}),
        ("deferred", {"trouble": "ticket.solved", "moment": "Fri 13:00"}),
        ("deferred", {"trouble": "Fri 14:00", "moment": "Fri 14:00"}),
        ("asked", {}),
    ]
    assert story.asked == [("renewal", "Fri 14:00")]


def test_numbers_of_decisions_run_without_a_gap_per_opportunity() -> None:
    story = replay(
        a_customer(), nps(9, "Thu 14:00"), ticket_opened("Thu 17:00"), ticket_solved("Fri 09:00", rating="positive"),
        nps(5, "Fri 13:30"),
    )  # fmt: skip
    ids = [decision.decision_id for decision in story.decisions("nps_promoter")]
    assert ids == [decision_id(opportunity_of(), n) for n in range(1, len(ids) + 1)]
    assert len(ids) == 5


# ---- next_eligible_at


def eligible(*events: Event) -> int | None:
    """As told by the decision about a compliment on the next Monday."""
    story = replay(a_customer(), *events, compliment("next Mon 12:00"))
    return story.decisions("positive_feedback")[0].next_eligible_at


ASKED = nps(9, "Mon 12:00")  # asked at 12:20


@rule("4.40", "10.96")
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], None),
        ([answered("no", "Mon 13:00")], None),
        ([ASKED], at("Mon 12:20") + 90 * DAY),
        ([ASKED, answered("maybe", "Tue 12:00", command_of())], at("Tue 12:00") + 90 * DAY),
        ([ASKED, answered("no", "Tue 12:00", command_of())], at("Tue 12:00") + 180 * DAY),
        ([ASKED, answered("yes", "Tue 12:00", command_of())], at("Mon 12:20") + 90 * DAY),
        ([ASKED, acknowledged("failed", "Mon 12:30", command_of())], None),
        ([ASKED, answered("stop", "Tue 12:00", command_of())], None),
    ],
    ids=["never asked", "never asked, no", "asked", "maybe", "no", "yes", "failed", "stop"],
)
def test_next_eligible_is_the_end_of_the_cap_or_of_the_answers_wait(events: list[Event], expected: int | None) -> None:
    assert eligible(*events) == expected


# ---- the zone


@rule("1.11", "3.20", "8.3")
def test_the_zone_and_where_it_came_from_are_told() -> None:
    from_event = replay(a_customer(zone=None), nps(9, timezone="Asia/Kolkata")).decisions()[0]
    unknown = replay(a_customer(zone=None), nps(9)).decisions()[0]

    assert from_event.time_zone == TimeZone(name="Asia/Kolkata", source="event")
    assert unknown.time_zone == TimeZone(name="UTC", source="default")


@rule("8.4")
def test_rivals_are_told_best_first_with_their_ids() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Mon 12:00"), renewed("Mon 12:00"))
    asked = next(d for d in story.decisions() if d.outcome == "asked")

    assert asked.rivals == (
        Rival(trigger="positive_feedback", opportunity_id=opportunity_of("positive_feedback", "post-1"), priority=30),
        Rival(trigger="renewal", opportunity_id=opportunity_of("renewal", "in-1"), priority=10),
    )
    assert asked.command_id == command_id("ana", "nps_promoter", "r1")


@rule("8.4")
def test_every_decision_carries_the_hash_of_the_policy_it_was_made_under() -> None:
    other = a_policy(caps={"customer_days": 30})
    assert other.hash != POLICY.hash
    assert {d.policy.hash for d in replay(a_customer(), nps(9), policy=other).decisions()} == {other.hash}
    assert Policy().hash != POLICY.hash


def test_consent_withdrawn_between_two_decisions_is_a_change() -> None:
    story = replay(a_customer(), renewed("Tue 10:00"), consent(False, "Wed 10:00"))
    assert story.outcomes() == [("pending", "Tue 10:00"), ("suppressed", "Wed 10:00")]
