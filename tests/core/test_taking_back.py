"""What takes a command back that is not sent, and what the ledger is told later (semantics §11)."""

from __future__ import annotations

import pytest

from referral_stream.core import events as ev
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    Decision,
    Effect,
    OpportunityOpened,
    ReasonAsked,
    ReservationAmended,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import Data, Event
from referral_stream.core.instants import DAY, MINUTE, rfc3339
from referral_stream.core.ledger.breaker import BREAKER
from tests.builders import (
    AROUND,
    ByHand,
    Told,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    at,
    blocking,
    command_of,
    compliment,
    fact,
    granted,
    nps,
    opportunity_of,
    pause,
    released,
    renewed,
    replay,
    resumption,
    shown,
)
from tests.rules import rule

ASKED, LATER = "Thu 12:50", "Thu 13:30"
REASON_FIRST = a_policy(ask_reason_first=True)


def after_the_ask(*channels: ev.Channel, account: str | None = None, **about: object) -> ByHand:
    """Asked on Thursday at 12:50; the command expires at 20:00."""
    by_hand = ByHand(a_customer(channels=channels or ("email",), account=account), **about)  # type: ignore[arg-type]
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested(ASKED)
    by_hand.at(ASKED, granted())
    return by_hand


def after_the_question() -> ByHand:
    """The reason was asked for on Thursday at 12:50, the ask follows on Friday at 11:30."""
    return after_the_ask(policy=REASON_FIRST)


def taken_back(effects: list[Effect]) -> list[tuple[str, str]]:
    """(gate, reason) of each cancellation."""
    return [(e.gate, e.reason) for e in effects if isinstance(e, AskCancelled)]


# ---- gates and channels


@rule("11.2")
@pytest.mark.parametrize("answer", ["no", "maybe", "stop"])
def test_an_answer_that_closes_gate_7_takes_the_command_back(answer: str) -> None:
    effects = after_the_ask().at(LATER, answered(answer, LATER))
    assert taken_back(effects) == [
        ("answers", f'answered "{answer}"' + ("" if answer == "stop" else f" at {rfc3339(at(LATER))}"))
    ]


def test_a_yes_takes_nothing_back() -> None:
    assert taken_back(after_the_ask().at(LATER, answered("yes", LATER))) == []


@rule("11.2")
def test_a_second_silence_takes_the_command_back_at_its_instant() -> None:
    """Two asks without an answer, and a third that is out when the second becomes a silence: no event says so."""
    policy = a_policy(caps={"customer_days": 0}, answers={"silence_after_days": 7})
    first, second = "Mon 12:00", at("Mon 12:00") + DAY
    third = second + 7 * DAY - 10 * MINUTE  # asked ten minutes before the second one becomes a silence
    story = replay(
        a_customer(),
        [nps(9, first), acknowledged("sent", "Mon 12:21", command_of())],
        [nps(9, second, "r2"), acknowledged("sent", second + 21 * MINUTE, command_of(subject="r2"))],
        nps(9, third, "r3"),
        policy=policy,
    )
    assert [shown(ask.not_before) for ask in story.asks] == ["Mon 12:20", "Tue 12:20", "next Tue 12:10"]
    assert [(shown(c.cancelled_at), c.gate) for c in story.cancelled] == [("next Tue 12:20", "answers")]


@rule("11.2")
def test_a_persons_rejection_takes_the_command_back_and_the_need_of_approval_does_not() -> None:
    by_hand = after_the_ask()
    assert taken_back(by_hand.at(LATER, ev.ProfileChanged(requires_approval=True))) == []
    rejected = ev.AskRejected(opportunity_id=opportunity_of(), by="ann")
    assert taken_back(by_hand.at("Thu 14:00", rejected)) == [("approval", "rejected by a person")]


@rule("11.2")
def test_a_persons_rejection_counts_where_no_approval_is_needed() -> None:
    rejected = ev.AskRejected(opportunity_id=opportunity_of(), by="ann")
    assert taken_back(after_the_ask().at("Thu 14:00", rejected)) == [("approval", "rejected by a person")]
    story = replay(a_customer(), nps(9), fact(rejected, "Thu 12:05"))
    last = story.decisions()[-1]
    assert (story.asks, last.outcome, blocking(last).get("approval")) == ([], "suppressed", "never")


@rule("11.2")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ev.ConsentChanged(purpose="referral_ask", channel="email", granted=False), "consent withdrawn for email"),
        (ev.ConsentChanged(purpose="referral_ask", channel="in_app", granted=False), "consent withdrawn for in_app"),
        (ev.ConsentChanged(purpose="referral_ask", channel="phone", granted=False), None),
        (ev.ProfileChanged(channels=ev.ReachableChannels(email=False)), None),
        (ev.ProfileChanged(channels=ev.ReachableChannels(email=False, in_app=False)), "no usable channel"),
        (ev.ProfileChanged(channels=ev.ReachableChannels(email=False, in_app=False, phone=True)), "no usable channel"),
    ],
)
def test_a_command_goes_with_its_channels(data: Data, why: str | None) -> None:
    """It names e-mail and in-app."""
    effects = after_the_ask("email", "in_app").at(LATER, data)
    assert taken_back(effects) == ([] if why is None else [("channel", why)])
    if why is not None:
        assert [e.outcome for e in effects if isinstance(e, Decision)] == ["cancelled"]


# ---- a pause


@rule("11.3")
@pytest.mark.parametrize(
    ("of", "back"),
    [((), True), (("trigger", "nps_promoter"), True), (("trigger", "renewal"), False), (("segment", "smb"), True)],
)
def test_a_pause_reaches_commands_that_are_not_sent(of: tuple[str, ...], back: bool) -> None:
    story = replay(a_customer(), nps(9), pause(LATER, *of))
    assert [(shown(c.cancelled_at), c.gate) for c in story.cancelled] == ([(LATER, "paused")] if back else [])
    if back:
        assert story.cancelled[0].reason == "paused: " + (" ".join(of) or "all")
        assert blocking(story.decisions()[-1])["paused"] == "control.resumed"


@rule("11.3")
def test_a_pause_after_it_was_sent_comes_too_late() -> None:
    story = replay(a_customer(), nps(9), acknowledged("sent", "Thu 13:00", command_of()), pause(LATER))
    assert (story.asked, story.cancelled) == ([("nps_promoter", ASKED)], [])


@rule("11.3")
def test_the_end_of_a_pause_brings_nothing_back() -> None:
    story = replay(a_customer(), nps(9), pause(LATER), resumption("Thu 14:00"))
    assert (story.asked, len(story.cancelled)) == ([("nps_promoter", ASKED)], 1)


@rule("11.3", "11.5")
def test_a_pause_takes_the_question_back_and_holds_the_ask() -> None:
    question = pause("Wed 13:00")
    told = nps(9, "Wed 15:00", theme="results", id="revision")
    story = replay(a_customer(), nps(9, "Wed 12:00"), question, told, policy=REASON_FIRST)
    assert [(shown(c.cancelled_at), c.gate) for c in story.cancelled] == [("Wed 13:00", "paused")]
    assert story.asked == []
    assert ("deferred", "Wed 13:00") in story.outcomes()
    assert story.outcomes()[-1] == ("suppressed", "Thu 12:00")


@rule("11.3")
def test_the_ask_behind_a_question_goes_when_the_pause_is_over() -> None:
    told = nps(9, "Wed 15:00", theme="results", id="revision")
    story = replay(
        a_customer(), nps(9, "Wed 12:00"), pause("Wed 13:00"), told, resumption("Wed 16:00"), policy=REASON_FIRST
    )
    assert story.asked == [("nps_promoter", "Wed 16:00")]


@rule("11.3")
def test_a_pause_that_overtakes_a_grant_holds_the_ask() -> None:
    """The ledger granted first; its answers reach the customer over different partitions."""
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested(ASKED)

    by_hand.at(at(ASKED) + 1, pause(ASKED))
    (given_back, decision) = by_hand.at(at(ASKED) + 2, granted())

    assert given_back == released(at(ASKED) + 2)
    assert isinstance(decision, Decision)
    assert blocking(decision)["paused"] == "control.resumed"
    assert by_hand.requested("Thu 15:00", resumption("Thu 15:00")).due == at("Thu 15:00")


@pytest.mark.parametrize("of", [(), ("trigger", "nps_promoter")])
def test_a_pause_of_what_is_not_reserved_is_left_to_the_ledger(of: tuple[str, ...]) -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    assert by_hand.at("Thu 12:40", pause("Thu 12:40", *of)) == []
    assert by_hand.requested(ASKED).due == at(ASKED)


@pytest.mark.parametrize("after", AROUND)
def test_what_the_breaker_pauses_is_free_again_after_its_hours(after: int) -> None:
    by_hand = ByHand(policy=REASON_FIRST)
    by_hand.at("Wed 12:00", nps(9, "Wed 12:00"))
    by_hand.requested("Wed 12:20")
    by_hand.at("Wed 12:20", granted())
    told = by_hand.at("Wed 13:00", pause("Wed 12:30", "trigger", "nps_promoter", by=BREAKER))

    assert taken_back(told) == [("paused", "paused: trigger nps_promoter")]
    (decision,) = (effect for effect in told if isinstance(effect, Decision))
    assert blocking(decision)["paused"] == "Wed 18:30"
    by_hand.at("Wed 14:00", nps(9, "Wed 14:00", theme="results", id="revision"))
    effects = by_hand.at(at("Wed 18:30") + after)
    assert bool([e for e in effects if isinstance(e, ReservationRequested)]) is (after >= 0)


@rule("11.3", "11.8")
def test_the_breakers_pause_reaches_commands_that_are_not_sent() -> None:
    """Fifty-one promoters in an hour: the last one's opening pauses the trigger, and takes back earlier asks."""
    crowd = [a_customer(f"c{n}") for n in range(51)]
    opened = [nps(9, at("Thu 12:00") + n * MINUTE, customer=f"c{n}") for n in range(51)]
    story = replay(*crowd, opened)

    taken = {c.customer_id: (shown(c.cancelled_at), c.gate) for c in story.cancelled}
    asked_before = {ask.customer_id for ask in story.asks if ask.not_before < at("Thu 12:50")}
    assert taken == dict.fromkeys(asked_before, ("Thu 12:50", "paused"))
    assert len(taken) == 30
    assert {shown(ask.not_before) for ask in story.asks if ask.customer_id not in taken} == {"Thu 18:50"}


# ---- the question and its ask


@rule("11.4")
def test_the_question_that_is_not_sent_goes_when_the_ask_goes_out() -> None:
    told = nps(9, "Wed 15:00", theme="time_saved", id="revision")
    story = replay(a_customer(), nps(9, "Wed 12:00"), told, policy=REASON_FIRST)

    (question,) = (e for e in story.effects() if isinstance(e, ReasonAsked))
    assert [(c.command_id, shown(c.cancelled_at)) for c in story.cancelled] == [(question.command_id, "Wed 15:00")]
    kinds = [type(e) for e in story.effects() if isinstance(e, AskCancelled | AskRequested)]
    assert kinds == [AskCancelled, AskRequested]


@rule("11.4")
def test_a_question_that_was_sent_stays() -> None:
    told = nps(9, "Wed 15:00", theme="time_saved", id="revision")
    question = replay(a_customer(), nps(9, "Wed 12:00"), policy=REASON_FIRST).customers["ana"].asks[0].command_id
    sent = acknowledged("sent", "Wed 12:21", question)
    story = replay(a_customer(), nps(9, "Wed 12:00"), sent, told, policy=REASON_FIRST)
    assert (story.asked, story.cancelled) == ([("nps_promoter", "Wed 15:00")], [])


def test_the_question_goes_when_the_ask_will_not_follow() -> None:
    """Another advocacy ask closes gate 10 to the deadline; no gate of those that take back does."""
    review = fact(ev.AdvocacyAsked(kind="review", by="x"), "Wed 13:00")
    story = replay(a_customer(), nps(9, "Wed 12:00"), review, policy=REASON_FIRST)
    assert [(shown(c.cancelled_at), c.gate) for c in story.cancelled] == [("Wed 13:00", "advocacy")]


def test_the_report_that_the_question_was_not_sent_does_not_release_the_ask() -> None:
    told = nps(9, "Wed 15:00", theme="time_saved", id="revision")
    by_hand = ByHand(policy=REASON_FIRST)
    by_hand.at("Wed 12:00", nps(9, "Wed 12:00"))
    by_hand.requested("Wed 12:20")
    by_hand.at("Wed 12:20", granted())
    by_hand.requested("Wed 15:00", told)
    by_hand.at("Wed 15:00", granted())
    question, ask = by_hand.customer.asks

    assert by_hand.at("Wed 15:10", acknowledged("cancelled", "Wed 15:10", question.command_id)) == []
    (given_back,) = by_hand.at("Wed 15:20", acknowledged("failed", "Wed 15:20", ask.command_id))
    assert isinstance(given_back, ReservationReleased)


# ---- learned later


@rule("11.16")
@pytest.mark.parametrize(
    ("changed", "account", "email"),
    [
        (ev.ProfileChanged(account_id="acme"), "acme", None),
        (ev.ProfileChanged(email_hmac="a" * 64), None, "a" * 64),
        (ev.ProfileChanged(account_id="acme", email_hmac="a" * 64), "acme", "a" * 64),
        (ev.ProfileChanged(account_id="old"), None, None),
    ],
)
def test_what_becomes_known_is_reported_for_the_asks_that_count(
    changed: Data, account: str | None, email: str | None
) -> None:
    effects = after_the_ask(account="old").at(LATER, changed)
    expected = ReservationAmended(
        command_id=command_of(), customer_id="ana", account_id=account, email_hmac=email, now=at(LATER)
    )
    assert effects == ([expected] if account or email else [])


@rule("11.16")
def test_the_account_of_any_event_is_reported() -> None:
    (amended,) = after_the_ask().at(LATER, fact(ev.AdviceAsked(), LATER, account="acme"))
    assert isinstance(amended, ReservationAmended)
    assert amended.account_id == "acme"


@rule("11.16")
@pytest.mark.parametrize(("later", "account", "email"), [
    (90 * DAY - 1, "acme", "a" * 64), (90 * DAY, None, None),
])  # fmt: skip
def test_only_within_a_caps_period(later: int, account: str | None, email: str | None) -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, acknowledged("sent", LATER, command_of()))
    when = at(ASKED) + later
    changed = fact(ev.ProfileChanged(account_id="acme", email_hmac="a" * 64), when)
    amended = [e for e in by_hand.at(when, changed) if isinstance(e, ReservationAmended)]
    assert [(e.account_id, e.email_hmac) for e in amended] == ([(account, email)] if account else [])


@rule("11.16")
def test_what_failed_is_amended_too_for_an_answer_may_say_that_it_was_sent() -> None:
    by_hand = after_the_ask()
    by_hand.at(LATER, acknowledged("failed", LATER, command_of()))
    (amended,) = by_hand.at("Thu 14:00", ev.ProfileChanged(account_id="acme"))
    assert isinstance(amended, ReservationAmended)
    assert (amended.command_id, amended.account_id) == (command_of(), "acme")


def test_a_question_and_its_ask_are_amended_as_the_one_reservation_that_they_are() -> None:
    (amended,) = after_the_question().at(LATER, ev.ProfileChanged(account_id="acme"))
    assert isinstance(amended, ReservationAmended)
    assert amended.command_id == command_of()


def test_what_becomes_known_while_the_ledger_is_asked_is_reported_with_the_ask() -> None:
    by_hand = ByHand()
    by_hand.at("Thu 12:30", nps(9))
    by_hand.requested(ASKED)
    assert by_hand.at(at(ASKED) + 1, ev.ProfileChanged(account_id="acme")) == []

    effects = by_hand.at(at(ASKED) + 2, granted())

    assert [e.account_id for e in effects if isinstance(e, ReservationAmended)] == ["acme"]
    assert any(isinstance(e, AskRequested) for e in effects)


@rule("11.16")
def test_an_address_learned_after_the_ask_holds_the_other_id_back() -> None:
    learned = fact(ev.ProfileChanged(email_hmac="a" * 64), LATER)
    other = a_customer("ben", email_hmac="a" * 64)
    story = replay(a_customer(), nps(9), learned, other, nps(9, "Thu 14:00", "r2", customer="ben"))
    assert {ask.customer_id for ask in story.asks} == {"ana"}


# ---- the burst breaker counts those who could be asked


@rule("9.6", "I5.7")
@pytest.mark.parametrize(
    ("without", "event", "counted"),
    [
        ((), None, True),
        (("customer.consent_changed",), None, False),
        (("customer.signed_up",), None, False),
        ((), fact(ev.TicketOpened(ticket_id="t"), "Thu 12:00"), False),
        ((), fact(ev.Suppressed(reason="x"), "Thu 12:00"), False),
        ((), fact(ev.AdvocacyAsked(kind="review", by="x"), "Thu 12:00"), True),
    ],
    ids=["sound", "no consent", "no sign-up", "trouble", "suppressed", "another gate"],
)
def test_an_opening_counts_where_gates_1_and_3_to_5_pass(
    without: tuple[str, ...], event: Event | None, counted: bool
) -> None:
    by_hand = ByHand([*a_customer(without=without), *((event,) if event else ())])
    effects = by_hand.at("Thu 12:30", nps(9))
    assert any(isinstance(e, OpportunityOpened) for e in effects) is counted


# ---- shadow mode


@rule("11.23")
def test_shadow_asks_the_ledger_and_sends_nothing() -> None:
    by_hand = ByHand(policy=a_policy(shadow=True))
    by_hand.at("Thu 12:30", nps(9))
    assert by_hand.requested(ASKED).shadow
    (decision,) = by_hand.at(ASKED, granted())
    assert isinstance(decision, Decision)
    assert decision.outcome == "shadow"


@rule("11.23")
def test_in_shadow_mode_the_switches_and_the_caps_of_others_count() -> None:
    shadow = a_policy(shadow=True)
    story = replay(a_customer(), pause("Thu 12:00"), nps(9), policy=shadow)
    assert story.outcomes()[-1] == ("suppressed", "Fri 12:30")

    both = [a_customer(name, account="acme") for name in ("ana", "ben")]
    story = replay(*both, nps(9), nps(9, "Thu 14:00", customer="ben"), policy=shadow)
    assert [d.customer_id for d in story.decisions() if d.outcome == "shadow"] == ["ana"]
    assert "account" in blocking(story.decisions()[-1])


@rule("11.24")
def test_superseded_rivals_look_the_same_in_shadow_mode() -> None:
    def superseded(**policy: object) -> Decision:
        story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Mon 12:00"), policy=a_policy(**policy))
        (decision,) = (d for d in story.decisions() if d.outcome == "superseded")
        return decision

    assert superseded().reasons == superseded(shadow=True).reasons


# ---- one instant


@rule("11.14")
def test_a_moment_on_a_call_that_is_cut_short_at_its_instant_does_not_count() -> None:
    met = fact(ev.CallMoment(kind="check_in", call_id="1"), "Thu 13:00")
    cut = fact(ev.CallCutShort(call_id="1"), "Thu 13:00")
    other = fact(ev.CallMoment(kind="check_in", call_id="2"), "Thu 13:00", id="other")
    told: tuple[Told, ...] = (a_customer(channels=("phone",)), renewed("Tue 10:00"))

    assert replay(*told, met, cut).asked == []
    assert replay(*told, met).asked == [("renewal", "Thu 13:00")]
    assert replay(*told, met, other, cut).asked == [("renewal", "Thu 13:00")], "that of the other call counts"
