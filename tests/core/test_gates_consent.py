"""Gates 1, 2, 3 and 11: erased, paused, consent and suppression, and a channel to speak on."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.opportunity import Denial
from tests.builders import AROUND, a_customer, a_policy, at, consent, fact, nps, replay, shown, state
from tests.core.views import answer, verdict
from tests.rules import rule

NOW = at("Thu 12:30")
SUPPRESSED = fact(ev.Suppressed(reason="unsubscribed"), "Mon 11:00")
UNSUPPRESSED = fact(ev.Unsuppressed(), "Mon 12:00")


@rule("4.7")
def test_erasure_is_for_good() -> None:
    assert answer("erased", now=NOW) == "pass"
    assert answer("erased", fact(ev.ErasureRequested(), "Mon 11:00"), now=NOW) == "never"


# ---- 2


@rule("4.8")
def test_a_disabled_trigger_never_asks() -> None:
    policy = a_policy(triggers={"nps_promoter": {"enabled": False}})

    assert answer("paused", now=NOW, policy=policy) == "never"
    assert answer("paused", now=NOW, policy=policy, trigger="renewal") == "pass"
    assert [outcome for outcome, _ in replay(a_customer(), nps(9), policy=policy).outcomes()] == ["suppressed"]


@rule("9.8")
@pytest.mark.parametrize(("gate", "hit"), [("paused", True), ("overasking", False), ("account", False)])
def test_a_denial_of_the_ledger_is_the_answer_of_the_gate_it_names(gate: str, hit: bool) -> None:
    denial = Denial("paused", "paused: all", until_event="control.resumed")
    assert answer(gate, now=NOW, denial=denial) == ("until control.resumed" if hit else "pass")


@rule("10.106")
@pytest.mark.parametrize("gate", ["paused", "overasking", "account"])
@pytest.mark.parametrize("after", AROUND)
def test_a_denial_until_an_instant_stands_until_just_before_it(gate: str, after: int) -> None:
    denial = Denial(gate, "refused", until=NOW - after)  # type: ignore[arg-type]
    assert answer(gate, now=NOW, denial=denial) == (f"until {shown(NOW + 1)}" if after < 0 else "pass")


def test_a_silent_ledger_is_told_as_a_wait_for_its_answer() -> None:
    denial = Denial("overasking", "ledger_unavailable", until=NOW + 1, until_event="ledger.answered")
    said = verdict("overasking", now=NOW, denial=denial)
    assert (said.answer, said.until_event, said.saw) == ("until_event", "ledger.answered", "ledger_unavailable")


# ---- 3


@rule("1.12", "4.6", "4.9", "4.36", "10.24", "10.25")
@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "until customer.consent_changed"),
        ([consent(True, "Mon 10:00")], "pass"),
        ([consent(True, "Mon 10:00", "phone")], "pass"),
        ([consent(False, "Mon 10:00")], "never"),
        ([consent(False, "Mon 10:00", "phone")], "never"),
        ([consent(True, "Mon 10:00", "email"), consent(False, "Mon 11:00", "phone")], "pass"),
        ([consent(True, "Mon 10:00"), consent(False, "Mon 11:00")], "never"),
        ([consent(False, "Mon 11:00"), consent(True, "Mon 10:00")], "never"),
        ([consent(False, "Mon 10:00"), consent(True, "Mon 11:00", "in_app")], "pass"),
        ([fact(ev.ConsentChanged(purpose="newsletter", channel="all", granted=True), "Mon 10:00")],
         "until customer.consent_changed"),
        ([fact(ev.ConsentChanged(purpose="surveys", channel="all", granted=True), "Mon 10:00")],
         "until customer.consent_changed"),
        ([consent(True, "Mon 10:00"),
          fact(ev.ConsentChanged(purpose="newsletter", channel="all", granted=False), "Mon 11:00")], "pass"),
        ([consent(True, "Mon 10:00"), SUPPRESSED], "until customer.unsuppressed"),
        ([consent(True, "Mon 10:00"), SUPPRESSED, UNSUPPRESSED], "pass"),
        ([consent(True, "Mon 10:00"), UNSUPPRESSED, SUPPRESSED], "pass"),
        ([consent(False, "Mon 10:00"), SUPPRESSED], "never"),
        ([SUPPRESSED], "until customer.unsuppressed"),
    ],
)  # fmt: skip
def test_without_consent_nobody_is_asked(events: list[Event], said: str) -> None:
    assert answer("consent", *events, now=NOW) == said


@rule("4.37")
@pytest.mark.parametrize(
    ("events", "said"),
    [([], "pass"), ([consent(False, "Mon 10:00")], "never"), ([SUPPRESSED], "until customer.unsuppressed")],
)
def test_a_policy_may_presume_consent_but_not_against_a_withdrawal_or_the_suppression_list(
    events: list[Event], said: str
) -> None:
    assert answer("consent", *events, now=NOW, policy=a_policy(consent_default="granted")) == said


def test_both_causes_are_told() -> None:
    assert verdict("consent", SUPPRESSED, now=NOW).saw == "on the suppression list; consent unknown"


# ---- 11


@rule("4.32", "10.26")
@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (ev.ReachableChannels(email=False), "until customer.profile_changed"),
        (ev.ReachableChannels(email=False, phone=True), "pass"),
        (ev.ReachableChannels(email=True), "pass"),
        (None, "pass"),
    ],
)
def test_with_consent_and_no_channel_it_waits_for_one(profile: ev.ReachableChannels | None, said: str) -> None:
    told = fact(ev.ProfileChanged(channels=profile), "Mon 09:00")
    assert answer("channel", told, consent(True, "Mon 10:00"), now=NOW) == said


@rule("10.26")
def test_consent_on_an_unreachable_channel_alone_is_a_matter_of_the_channel() -> None:
    only_phone = consent(True, "Mon 10:00", "phone")

    assert answer("consent", only_phone, now=NOW) == "pass"
    assert answer("channel", only_phone, now=NOW) == "until customer.profile_changed"


@rule("10.26")
@pytest.mark.parametrize("events", [[], [SUPPRESSED, consent(True, "Mon 10:00")], [consent(False, "Mon 10:00")]])
def test_where_gate_three_blocks_the_channel_is_not_held_against_anybody(events: list[Event]) -> None:
    assert answer("channel", *events, now=NOW) == "pass"


@rule("4.32")
def test_a_channel_that_becomes_reachable_within_the_window_is_asked_on() -> None:
    story = replay(
        a_customer(channels=()),
        nps(9, "Thu 09:00"),
        fact(ev.ProfileChanged(channels=ev.ReachableChannels(email=True)), "Thu 11:00"),
    )
    assert story.asked == [("nps_promoter", "Thu 11:00")]


@rule("4.5")
@pytest.mark.parametrize("told", [consent(True, "Thu 11:00"), consent(True, "Thu 11:00", "email")])
def test_consent_given_within_the_window_opens_the_gate(told: Event) -> None:
    story = replay(a_customer(without=("customer.consent_changed",)), nps(9, "Thu 09:00"), told)
    assert story.asked == [("nps_promoter", "Thu 11:00")]


@rule("4.9", "10.12")
def test_consent_withdrawn_before_the_ask_closes_the_window_for_good() -> None:
    story = replay(a_customer(), nps(9, "Thu 14:00"), consent(False, "Thu 15:00"), consent(True, "Thu 16:00"))

    assert story.outcomes() == [("pending", "Thu 14:00"), ("suppressed", "Thu 15:00")]
    assert story.asked == []


def test_what_is_allowed_is_asked_of_every_customer_alone() -> None:
    assert state(consent(True, "Mon 10:00", "phone")).consent.keys() == {"phone"}
