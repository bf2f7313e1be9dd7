"""Gates 7 to 10, 13 and 14: what was asked before, by us and by others, people's approval, and the holdout."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer
from referral_stream.core.events import Event
from referral_stream.core.fold import fold
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Holdout, Policy
from referral_stream.core.rules import gates
from tests.builders import (
    AROUND,
    a_customer,
    a_policy,
    answered,
    at,
    blocking,
    compliment,
    csat,
    fact,
    nps,
    opportunity_of,
    renewed,
    replay,
    shown,
    state,
)
from tests.core.views import an_opportunity, answer, verdict
from tests.rules import rule

THEN = at("Mon 12:00")


# ---- 7: answers


@rule("4.24")
@pytest.mark.parametrize("after", AROUND)
@pytest.mark.parametrize(("said", "days"), [("no", 180), ("maybe", 90)])
def test_a_no_and_a_maybe_are_respected_for_so_long(said: str, days: int, after: int) -> None:
    end = THEN + days * DAY
    expected = f"until {shown(end)}" if after < 0 else "pass"
    assert answer("answers", answered(said, THEN), now=end + after) == expected


@rule("4.25")
def test_a_stop_is_for_ever_and_a_yes_is_nothing_to_wait_for() -> None:
    assert answer("answers", answered("stop", THEN), now=THEN + 3_000 * DAY) == "never"
    assert answer("answers", answered("yes", THEN), now=THEN) == "pass"


@rule("A1.10")
@pytest.mark.parametrize("said", ["yes", "maybe", "no", "stop"])
def test_an_answer_waits_whatever_it_answers_and_an_unclear_one_does_not(said: str) -> None:
    for command in ("the ask", "the question for the reason", "nothing known"):
        expected = "pass" if said == "yes" else answer("answers", answered(said, THEN), now=THEN + DAY)
        assert answer("answers", answered(said, THEN, command), now=THEN + DAY) == expected
        assert answer("answers", answered("unclear", THEN, command), now=THEN) == "pass"
        assert (
            answer("answers", *(answered(each, THEN, command) for each in (said, "unclear")), now=THEN + DAY)
            == expected
        )


@rule("A1.10")
def test_an_unclear_answer_breaks_the_silence_and_is_activity() -> None:
    customer = state(answered("unclear", THEN, "second"))
    assert (customer.answers, customer.last_activity) == ({}, THEN)

    customer.asks = (asked(FIRST), asked(SECOND, command_id="second"), asked(THIRD))
    assert gates.second_silence(customer, THIRD + 20 * DAY, Policy()) == THIRD
    fold(customer, answered("unclear", SECOND + 100 * DAY, "second"))
    assert gates.second_silence(customer, THIRD + 20 * DAY, Policy()) is None


@rule("10.85")
@pytest.mark.parametrize("order", [1, -1])
def test_of_several_answers_the_latest_end_counts(order: int) -> None:
    no, maybe = answered("no", THEN), answered("maybe", THEN + 100 * DAY)
    said = [no, maybe][::order]
    assert answer("answers", *said, now=THEN + 101 * DAY) == f"until {shown(THEN + 190 * DAY)}"

    twice = [answered("no", THEN), answered("no", THEN + DAY)][::order]
    assert answer("answers", *twice, now=THEN + 2 * DAY) == f"until {shown(THEN + 181 * DAY)}"


def asked(when: int, *, sent: bool = True, replied: bool = False, **but: object) -> Ask:
    return replace(
        Ask(
            opportunity=an_opportunity(when, id=f"opportunity {when}"),
            command_id=f"command {when}",
            asked_at=when,
            expires_at=when + DAY,
            kind="asked",
            channel="email",
            sent_at=when if sent else None,
            answered=replied,
        ),
        **but,
    )


FIRST, SECOND, THIRD = THEN, THEN + 90 * DAY, THEN + 180 * DAY


@rule("10.87")
@pytest.mark.parametrize(
    ("asks", "silence"),
    [
        ([asked(FIRST)], None),
        ([asked(FIRST), asked(SECOND)], SECOND),
        ([asked(SECOND), asked(FIRST)], SECOND),
        ([asked(FIRST), asked(SECOND, replied=True)], None),
        ([asked(FIRST, replied=True), asked(SECOND)], None),
        ([asked(FIRST), asked(SECOND), asked(THIRD)], THIRD),
        ([asked(FIRST), asked(SECOND, replied=True), asked(THIRD)], None),
        ([asked(FIRST), asked(SECOND, sent=False), asked(THIRD)], THIRD),
        ([asked(FIRST), asked(SECOND, sent=False)], None),
    ],
)
def test_two_asks_in_a_row_that_were_sent_and_met_silence_are_an_answer(asks: list[Ask], silence: int | None) -> None:
    customer = Customer(id="ana", asks=tuple(asks))
    now = THIRD + 20 * DAY

    assert gates.second_silence(customer, now, Policy()) == silence
    expected = "pass" if silence is None else f"until {shown(silence + 180 * DAY)}"
    assert answer("answers", now=now, customer=customer) == expected


@rule("10.86")
@pytest.mark.parametrize("after", AROUND)
def test_silence_is_silence_after_fourteen_days(after: int) -> None:
    customer = Customer(id="ana", asks=(asked(FIRST), asked(SECOND)))
    silence = gates.second_silence(customer, SECOND + 14 * DAY + after, Policy())
    assert silence == (SECOND if after >= 0 else None)


@rule("4.25", "10.87")
@pytest.mark.parametrize("after", AROUND)
def test_two_silences_are_respected_for_180_days_from_the_second_ask(after: int) -> None:
    customer = Customer(id="ana", asks=(asked(FIRST), asked(SECOND)))
    end = SECOND + 180 * DAY
    said = answer("answers", now=end + after, customer=customer)
    assert said == (f"until {shown(end)}" if after < 0 else "pass")


@rule("10.88")
def test_a_stop_stays_even_if_consent_returns() -> None:
    story = replay(
        a_customer(), answered("stop", "Mon 13:00"),
        fact(ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True), "Tue 10:00"), nps(9),
    )  # fmt: skip
    assert [(d.outcome, blocking(d)) for d in story.decisions()] == [
        ("suppressed", {"answers": "never", "moment": "Thu 12:50"})
    ]


# ---- 8: overasking


@rule("4.26", "4.40")
@pytest.mark.parametrize("after", AROUND)
def test_one_ask_in_ninety_days_of_24_hours(after: int) -> None:
    customer = Customer(id="ana", asks=(asked(THEN),))
    end = THEN + 90 * DAY
    assert answer("overasking", now=end + after, customer=customer) == (f"until {shown(end)}" if after < 0 else "pass")


@rule("4.27")
@pytest.mark.parametrize(
    ("ask", "counts"),
    [
        (asked(THEN), True),
        (asked(THEN, kind="soft"), True),
        (asked(THEN, kind="holdout", sent=False), True),
        (asked(THEN, kind="shadow", sent=False), False),
        (asked(THEN, sent=False), True),  # silence of the worker releases nothing
        (asked(THEN, sent=False, failed_at=THEN), False),
        (asked(THEN, failed_at=THEN), True),
        (asked(THEN, sent=False, cancelled=True), True),
    ],
)
def test_what_counts_as_an_ask(ask: Ask, counts: bool) -> None:
    assert gates.last_asked(Customer(id="ana", asks=(ask,)), Policy()) == (THEN if counts else None)


def test_what_shadow_mode_withheld_counts_while_shadow_mode_lasts() -> None:
    customer = Customer(id="ana", asks=(asked(THEN, kind="shadow", sent=False),))
    assert gates.last_asked(customer, a_policy(shadow=True)) == THEN


@rule("4.39")
def test_nobody_ever_asked_passes() -> None:
    assert answer("overasking", now=THEN) == "pass"


def test_a_second_reason_within_ninety_days_of_an_ask_is_suppressed_at_once() -> None:
    story = replay(a_customer(), nps(9, "Mon 12:00"), compliment("Wed 12:00"))

    assert story.asked == [("nps_promoter", "Mon 12:20")]
    (decision,) = story.decisions("positive_feedback")
    assert (decision.outcome, blocking(decision)["overasking"]) == ("suppressed", "2026-09-13 12:20")


@rule("4.26", "10.105")
def test_one_person_with_two_ids_is_asked_once() -> None:
    shared = "0" * 64
    story = replay(
        a_customer("ana", email_hmac=shared), a_customer("ben", email_hmac=shared),
        nps(9, "Mon 12:00"), nps(9, "Tue 12:00", customer="ben"),
    )  # fmt: skip
    assert [(ask.customer_id, shown(ask.not_before)) for ask in story.asks] == [("ana", "Mon 12:20")]


# ---- 9: the account


@rule("4.30", "10.35")
def test_of_two_contacts_of_one_account_at_one_instant_the_better_score_is_asked() -> None:
    story = replay(
        a_customer("ana", account="acme", champion=False), a_customer("ben", account="acme"),
        nps(9, "Mon 12:00"), nps(9, "Mon 12:00", customer="ben"),
    )  # fmt: skip
    assert [ask.customer_id for ask in story.asks] == ["ben"]
    last = [decision for decision in story.decisions() if decision.customer_id == "ana"][-1]
    assert (last.outcome, blocking(last)) == ("suppressed", {"account": "2026-06-29 12:20"})


def test_the_account_named_by_an_event_counts_like_that_of_the_profile() -> None:
    story = replay(
        a_customer("ana", account="acme"), a_customer("ben"),
        nps(9, "Mon 12:00"), nps(9, "Tue 12:00", customer="ben", account="acme"),
    )  # fmt: skip
    assert [ask.customer_id for ask in story.asks] == ["ana"]


@rule("4.28")
@pytest.mark.parametrize("after", AROUND)
def test_another_contact_of_the_account_may_be_asked_fourteen_days_later(after: int) -> None:
    later = at("next Mon 12:00") + 7 * DAY + after
    story = replay(
        a_customer("ana", account="acme"), a_customer("ben", account="acme"),
        nps(9, "Mon 12:00"), nps(9, later, customer="ben"),
    )  # fmt: skip
    when = max(later + 20 * 60_000, at("Mon 12:20") + 14 * DAY)
    assert [(ask.customer_id, ask.not_before) for ask in story.asks] == [("ana", at("Mon 12:20")), ("ben", when)]


# ---- 10: other advocacy asks


def other_ask(when: int, kind: Any = "review") -> Event:
    return fact(ev.AdvocacyAsked(kind=kind, by="another system"), when)


@rule("4.31")
@pytest.mark.parametrize("after", AROUND)
@pytest.mark.parametrize("kind", ["review", "survey", "case_study", "referral", "other"])
def test_any_other_advocacy_ask_keeps_us_away_for_fourteen_days(kind: str, after: int) -> None:
    end = THEN + 14 * DAY
    said = answer("advocacy", other_ask(THEN, kind), now=end + after, survey=False)
    assert said == (f"until {shown(end)}" if after < 0 else "pass")


@rule("4.31", "10.118")
@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ([("survey", 0)], "pass"),
        ([("survey", -1)], "pass"),
        ([("survey", 1)], f"until {shown(THEN + 1 + 14 * DAY)}"),
        ([("survey", -5), ("survey", -1)], f"until {shown(THEN - 5 + 14 * DAY)}"),
        ([("survey", 0), ("review", -5)], f"until {shown(THEN - 5 + 14 * DAY)}"),
        ([("review", 0)], f"until {shown(THEN + 14 * DAY)}"),
    ],
)
def test_the_survey_that_is_the_trigger_is_excepted_and_no_other(asks: list[tuple[str, int]], said: str) -> None:
    events = [other_ask(THEN + offset, kind) for kind, offset in asks]
    assert answer("advocacy", *events, now=THEN + 60_000, t0=THEN) == said


def test_of_several_the_latest_counts() -> None:
    early, late = other_ask(THEN - DAY), other_ask(THEN, "case_study")
    for order in ([early, late], [late, early]):
        assert answer("advocacy", *order, now=THEN, survey=False) == f"until {shown(THEN + 14 * DAY)}"


@rule("10.118")
@pytest.mark.parametrize(("event", "passes"), [(nps(9), True), (csat(5), True), (compliment(), False)])
def test_only_survey_triggers_except_the_survey(event: Event, passes: bool) -> None:
    story = replay(a_customer(), other_ask(at("Thu 12:00"), "survey"), event)
    assert bool(story.asks) is passes


# ---- 13: approval


def judged(approved: bool, when: int, opportunity: str | None = None) -> Event:
    kind = ev.AskApproved if approved else ev.AskRejected
    return fact(kind(opportunity_id=opportunity or opportunity_of(), by="a manager"), when)


NEEDS = fact(ev.ProfileChanged(requires_approval=True), THEN - DAY)


@rule("4.34")
@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "pass"),
        ([NEEDS], "until ask.approved"),
        ([NEEDS, judged(True, THEN)], "pass"),
        ([NEEDS, judged(False, THEN)], "never"),
        ([NEEDS, judged(True, THEN, "of another opportunity")], "until ask.approved"),
        ([NEEDS, judged(True, THEN), judged(False, THEN + 1)], "never"),
        ([NEEDS, judged(False, THEN + 1), judged(True, THEN)], "never"),
        ([NEEDS, fact(ev.ProfileChanged(requires_approval=False), THEN)], "pass"),
        ([judged(False, THEN)], "never"),
        ([judged(True, THEN)], "pass"),
    ],
)
def test_where_an_account_needs_it_a_person_approves_each_ask(events: list[Event], said: str) -> None:
    assert answer("approval", *events, now=THEN + 60_000) == said


@rule("4.34")
def test_an_approval_within_the_window_lets_it_go_out_and_none_ends_with_the_window() -> None:
    needs = a_customer(requires_approval=True)

    approved = replay(needs, nps(9, "Thu 09:00"), judged(True, at("Thu 15:00")))
    forgotten = replay(needs, nps(9, "Thu 09:00"))

    assert approved.asked == [("nps_promoter", "Thu 15:00")]
    assert forgotten.outcomes()[-1] == ("suppressed", "Fri 09:00")
    assert blocking(forgotten.decisions()[-1])["approval"] == "ask.approved"


# ---- 14: holdout


def share(account: str, salt: str = "referral-stream") -> float:
    """The definition, spelled out: the first 8 bytes of the digest as a fraction of 2^64."""
    return int(hashlib.sha256(f"{salt}|{account}".encode()).hexdigest()[:16], 16) / 2**64


@rule("10.116")
def test_the_holdout_is_drawn_by_a_hash_of_the_account_else_the_customer() -> None:
    for name in ("acme", "bolt", "core", *(f"customer {n}" for n in range(300))):
        policy = Policy()
        of_customer = Customer(id=name)
        of_account = state(fact(ev.ProfileChanged(account_id=name), THEN))
        held = share(name) < 0.05

        assert gates.is_held_out(of_customer, policy) is held
        assert gates.is_held_out(of_account, policy) is held


@rule("10.116")
def test_salt_and_share_are_the_policys() -> None:
    everybody, nobody = Policy(holdout=Holdout(percent=50)), Policy(holdout=Holdout(percent=0))
    names = [f"customer {n}" for n in range(200)]
    salted = Policy(holdout=Holdout(percent=50, salt="another"))

    assert [gates.is_held_out(Customer(id=n), everybody) for n in names] == [share(n) < 0.5 for n in names]
    assert [gates.is_held_out(Customer(id=n), salted) for n in names] == [share(n, "another") < 0.5 for n in names]
    assert not any(gates.is_held_out(Customer(id=n), nobody) for n in names)


@rule("10.116")
def test_the_share_is_exact() -> None:
    """Of many names the two on either side of the limit: one of them is held out."""
    inside, outside = (
        pick(limit for limit in (share(f"customer {n}") for n in range(20_000)) if (limit < 0.05) is held)
        for pick, held in ((max, True), (min, False))
    )
    by_share = {share(name): name for name in (f"customer {n}" for n in range(20_000))}

    assert gates.is_held_out(Customer(id=by_share[inside]), Policy())
    assert not gates.is_held_out(Customer(id=by_share[outside]), Policy())


HELD = next(name for name in (f"customer {n}" for n in range(1_000)) if share(name) < 0.05)


@rule("4.35", "8.2", "10.117")
def test_a_held_out_customer_is_never_asked_and_it_counts_as_an_ask() -> None:
    story = replay(
        a_customer(HELD), nps(9, "Mon 12:00", customer=HELD), renewed("Mon 12:00", customer=HELD),
        compliment("Wed 12:00", customer=HELD), policy=Policy(),
    )  # fmt: skip

    assert story.asks == []
    held, *rest = [d for d in story.decisions() if d.decided_at >= at("Mon 12:20")]
    assert tuple(reason.gate for reason in held.reasons) == tuple(gate.name for gate in gates.GATES)
    assert (held.outcome, held.trigger, blocking(held)) == ("holdout", "nps_promoter", {"holdout": "never"})
    assert [(d.trigger, d.outcome) for d in rest] == [("renewal", "superseded"), ("positive_feedback", "suppressed")]
    assert blocking(rest[-1])["overasking"] == "2026-09-13 12:20"


@rule("10.117")
def test_the_holdout_is_drawn_last_so_that_both_groups_are_alike() -> None:
    """Before the moment nothing tells the groups apart: the gate passes."""
    story = replay(a_customer(HELD), nps(9, "Thu 14:00", customer=HELD), policy=Policy(), until="Thu 23:00")
    assert story.outcomes() == [("pending", "Thu 14:00")]
    assert verdict("holdout", now=THEN, customer=Customer(id=HELD), policy=Policy()).answer == "pass"


# ---- 8: a referral that others have asked for


@rule("11.27")
@pytest.mark.parametrize("after", AROUND)
def test_a_referral_that_others_asked_for_counts_like_an_ask_of_ours(after: int) -> None:
    end = THEN + 90 * DAY
    said = answer("overasking", other_ask(THEN, "referral"), now=end + after)
    assert said == (f"until {shown(end)}" if after < 0 else "pass")


@rule("11.27")
def test_an_ask_of_others_says_when_the_customer_may_be_asked_again() -> None:
    story = replay(a_customer(), other_ask(at("Mon 12:00"), "referral"), nps(9, "Tue 12:00"))
    assert not story.asks
    assert story.decisions()[-1].next_eligible_at == at("Mon 12:00") + 90 * DAY


@rule("11.27")
@pytest.mark.parametrize("kind", ["review", "survey", "case_study", "other"])
def test_what_is_no_referral_counts_in_gate_ten_alone(kind: str) -> None:
    assert answer("overasking", other_ask(THEN, kind), now=THEN + DAY) == "pass"


@rule("11.27")
@pytest.mark.parametrize("after", AROUND)
def test_it_counts_for_the_account_as_known_by_then(after: int) -> None:
    by_others = other_ask(at("Mon 12:00"), "referral")
    later = at("next Mon 12:00") + 7 * DAY - 20 * 60_000 + after
    asked = replay(
        a_customer("ana", account="acme"), a_customer("ben", account="acme"), by_others, nps(9, later, customer="ben")
    ).asks
    assert [ask.not_before for ask in asked] == [max(later + 20 * 60_000, at("Mon 12:00") + 14 * DAY)]


@rule("11.27")
def test_it_counts_for_the_address_as_known_by_then() -> None:
    story = replay(
        a_customer("ana", email_hmac="a" * 64), a_customer("ben", email_hmac="a" * 64), a_customer("cem"),
        other_ask(at("Mon 12:00"), "referral"),
        nps(9, "Tue 12:00", customer="ben"), nps(9, "Tue 12:00", customer="cem"),
    )  # fmt: skip
    assert [ask.customer_id for ask in story.asks] == ["cem"]
    of_ben = [decision for decision in story.decisions() if decision.customer_id == "ben"]
    assert blocking(of_ben[-1])["overasking"] == shown(at("Mon 12:00") + 90 * DAY)
