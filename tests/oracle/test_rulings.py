"""The oracle against the rulings of semantics §11, with values worked out by hand."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid5

import pytest

from tests.oracle.records import NAMESPACE, clock_of, says_opt_out, shown, uid
from tests.oracle.telling import DAY, Body, a_customer, asked, at, blocking, fact, nps, play, renewed, story

T = at("Tue 10:00")
ASKED = at("Tue 10:20")
LATER = at("Tue 10:30")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
COMMAND = uid("command", "ada", "nps_promoter", "r1", 1)
OPPORTUNITY = uid("opportunity", "ada", "nps_promoter", "r1")


def consent(channel: str, when: datetime, granted: bool, **more: Any) -> Body:
    said = {"purpose": "referral_ask", "channel": channel, "granted": granted}
    return fact("customer.consent_changed", when, said, **more)


def switch(kind: str, when: datetime, scope: str = "all", name: str | None = None, **more: Any) -> Body:
    said = {"scope": scope, "by": "ops", "why": "test"} | ({} if name is None else {"name": name})
    return fact(f"control.{kind}", when, said, **more)


def profile(when: datetime, who: str = "ada", **said: Any) -> Body:
    return fact("customer.profile_changed", when, said, who=who)


# Taking back


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (fact("customer.erasure_requested", LATER), ["erased"]),
        (switch("paused", LATER), ["paused"]),
        (switch("paused", LATER, "trigger", "nps_promoter"), ["paused"]),
        (switch("paused", LATER, "trigger", "renewal"), None),
        (switch("paused", LATER, "segment", "smb"), ["paused"]),  # nobody knows ada's segment
        (fact("customer.suppressed", LATER), ["consent", "channel"]),
        (fact("complaint.made", LATER), ["trouble"]),
        (fact("ask.answered", LATER, {"command_id": "another", "answer": "no"}), ["answers"]),
        (fact("ask.answered", LATER, {"command_id": "another", "answer": "maybe"}), ["answers"]),
        (fact("ask.answered", LATER, {"command_id": "another", "answer": "yes"}), None),
        (nps(LATER, 8), ["survey"]),
        (consent("phone", LATER, False), None),
        (profile(LATER, channels={"email": False}), ["channel"]),
    ],
)
def test_what_takes_back_a_command_that_is_not_sent(word: Body, why: list[str] | None) -> None:
    facts = [*a_customer(T), nps(T)]
    result = play([*facts, word])
    assert [(row["time"], row["data"]["why"]) for row in result.asks[1:]] == ([(shown(LATER), why)] if why else [])
    sent = fact("ask.acknowledged", ASKED + MINUTE, {"command_id": COMMAND, "status": "sent"})
    assert len(play([*facts, sent, word]).asks) == 1


def test_consent_for_one_of_its_channels_takes_a_command_back_and_lost_reach_only_on_all() -> None:
    both = [*a_customer(T, channels="email in_app"), nps(T)]
    assert play(both).asks[0]["data"]["channels"] == ["email", "in_app"]
    assert len(play([*both, consent("in_app", LATER, False)]).asks) == 2
    assert len(play([*both, profile(LATER, channels={"email": False})]).asks) == 1
    assert len(play([*both, profile(LATER, channels={"email": False, "in_app": False})]).asks) == 2


def test_a_person_who_rejects_takes_the_command_back() -> None:
    approved, rejected = (
        fact(f"ask.{word}", when, {"opportunity_id": OPPORTUNITY, "by": "lead"})
        for word, when in (("approved", T + MINUTE), ("rejected", LATER))
    )
    result = play([*a_customer(T, requires_approval=True), nps(T), approved, rejected])
    assert [row["data"].get("why") for row in result.asks] == [None, ["approval"]]


def test_a_resumption_gives_back_nothing() -> None:
    result = play([*a_customer(T), nps(T), switch("paused", LATER), switch("resumed", LATER + MINUTE)])
    assert [row["type"] for row in result.asks] == ["referral.ask.requested", "referral.ask.cancelled"]


# Switches


def test_at_one_time_the_pause_wins() -> None:
    when = T - HOUR
    one = switch("resumed", when, id="z")
    two = switch("paused", when, id="a")
    for pair in ((one, two), (two, one)):
        result = play([*a_customer(T), *pair, nps(T)])
        assert asked(result) == []


@pytest.mark.parametrize(("segment", "held"), [("smb", True), ("enterprise", False), (None, True)])
def test_a_paused_segment_holds_those_of_unknown_segment(segment: str | None, held: bool) -> None:
    known: dict[str, Any] = {} if segment is None else {"segment": segment}
    result = play([*a_customer(T, **known), switch("paused", T - HOUR, "segment", "smb"), nps(T)])
    assert (asked(result) == []) is held


def three_promoters() -> list[Body]:
    """Settled at 10:20, 10:21 and 10:22; the second makes two openings in the hour of 08:00Z."""
    facts = [record for name in "abc" for record in a_customer(T, name)]
    return facts + [nps(T + n * MINUTE, who=name) for n, name in enumerate("abc")]


def test_the_breakers_pause_ends_by_itself_six_hours_after_the_opening_that_set_it() -> None:
    result = play(three_promoters(), burst_floor=1)
    assert asked(result) == [("nps_promoter", shown(at("Tue 16:01")))] * 3
    assert story(result, "nps_promoter", T, "a")[1] == ("deferred", shown(ASKED))
    deferred = [row for row in result.decisions if row["time"] == shown(ASKED)]
    assert blocking(deferred[0])["paused"] == shown(at("Tue 16:01"))


def test_a_persons_pause_takes_the_breakers_place_and_a_resumption_ends_both() -> None:
    paused = switch("paused", at("Tue 11:00"), "trigger", "nps_promoter")
    resumed = switch("resumed", at("Tue 19:00"), "trigger", "nps_promoter")
    assert (
        asked(play([*three_promoters(), paused, resumed], burst_floor=1))
        == [("nps_promoter", shown(at("Tue 19:00")))] * 3
    )
    soon = switch("resumed", at("Tue 12:00"), "trigger", "nps_promoter")
    assert asked(play([*three_promoters(), soon], burst_floor=1)) == [("nps_promoter", shown(at("Tue 12:00")))] * 3


def test_the_breaker_does_not_shorten_a_persons_pause() -> None:
    paused = switch("paused", T - HOUR, "trigger", "nps_promoter")
    assert asked(play([*three_promoters(), paused], burst_floor=1)) == []


@pytest.mark.parametrize(
    ("held_back", "counts"),
    [(consent("all", T - HOUR, False, who="a"), False), (fact("complaint.made", T - HOUR, who="a"), False),
     (fact("advocacy.asked", T - HOUR, {"kind": "review", "by": "crm"}, who="a"), True)],
)  # fmt: skip
def test_only_openings_of_those_who_might_be_asked_count_for_the_breaker(held_back: Body, counts: bool) -> None:
    facts = [record for name in "ab" for record in a_customer(T, name)]
    facts += [held_back, nps(T, who="a"), nps(T + MINUTE, who="b")]
    whens = [when for _, when in asked(play(facts, burst_floor=1))]
    assert whens == [shown(at("Tue 16:01") if counts else at("Tue 10:21"))]


def test_the_breakers_pause_takes_back_what_is_not_sent() -> None:
    facts = [record for name in "ab" for record in a_customer(T, name)]
    facts += [nps(T, who="a"), nps(T + 25 * MINUTE, who="b")]
    result = play(facts, burst_floor=1)
    assert [(row["subject"], row["type"].rpartition(".")[2], row["time"]) for row in result.asks] == [
        ("a", "requested", shown(ASKED)),
        ("a", "cancelled", shown(at("Tue 10:25"))),
        ("b", "requested", shown(at("Tue 16:25"))),
    ]


# Bad words are trouble


def review(when: datetime, rating: float, url: str | None = "u", scale: float = 5) -> Body:
    return fact("review.posted", when, {"rating": rating, "scale_max": scale} | ({} if url is None else {"url": url}))


def csat(when: datetime, score: float, response: str = "c") -> Body:
    return fact("csat.responded", when, {"response_id": response, "score": score, "scale_max": 5})


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ([review(T - 29 * DAY, 2)], True),
        ([review(T - 30 * DAY, 2)], False),
        ([review(T - 9 * DAY, 2.1)], False),
        ([review(T - 9 * DAY, 4, scale=10)], True),
        ([review(T - 9 * DAY, 1), review(T - 8 * DAY, 3)], False),
        ([review(T - 9 * DAY, 1), review(T - 8 * DAY, 3, "other")], True),
        ([review(T - 9 * DAY, 1, None), review(T - 8 * DAY, 3, None)], True),
        ([csat(T - 9 * DAY, 2)], True),
        ([csat(T - 9 * DAY, 1), csat(T - 8 * DAY, 3)], False),
        ([csat(T - 9 * DAY, 3), csat(T - 8 * DAY, 2)], True),
        ([csat(T - 40 * DAY, 1), csat(T - 29 * DAY, 1)], True),
        ([fact("feedback.shared", T - 9 * DAY, {"positive": False})], True),
        ([fact("feedback.shared", T - 9 * DAY, {"positive": False}),
          fact("feedback.shared", T - 8 * DAY, {"positive": True})], True),
        ([fact("interaction.recorded", T - 9 * DAY, {"kind": "call", "positive": False})], True),
        ([fact("interaction.recorded", T - 9 * DAY, {"kind": "call"})], False),
    ],
)  # fmt: skip
def test_bad_words_are_trouble_for_thirty_days(said: list[Body], held: bool) -> None:
    result = play([*a_customer(T), *said, nps(T)])
    assert (asked(result) == []) is held


def ticket(word: str, when: datetime, **body: Any) -> Body:
    return fact(f"ticket.{word}", when, {"ticket_id": "k"} | body)


@pytest.mark.parametrize(("solved", "held"), [(2, True), (3, False)])
def test_a_rating_that_turns_positive_lifts_its_thirty_days_and_earns_nothing(solved: int, held: bool) -> None:
    life = [ticket("opened", T - 12 * DAY), ticket("rated", T - 9 * DAY, rating="negative")]
    life += [ticket("solved", T - solved * DAY), ticket("rated", T - HOUR, rating="positive")]
    result = play([*a_customer(T), *life, nps(T)])
    assert (asked(result) == []) is held
    assert story(result, "positive_feedback", T - 2 * HOUR) == []


# Fallback channels


@pytest.mark.parametrize(
    ("when", "listed"),
    [
        ("Thu 18:59:59", ["in_app", "email", "phone"]),
        ("Thu 19:00", ["in_app", "email", "phone"]),  # until 20:00, not included
        ("Thu 19:00:00.001", ["in_app"]),
        ("Thu 07:59:59", ["in_app"]),
        ("Thu 08:00", ["in_app", "email", "phone"]),
        ("Sat 15:00", ["in_app"]),
    ],
)
def test_only_what_may_speak_throughout_follows(when: str, listed: list[str]) -> None:
    facts = [*a_customer(T, channels="email in_app phone"), renewed(T)]
    if when.startswith("Sat"):
        facts = [*a_customer(T, channels="in_app phone"), renewed(T)]
    result = play([*facts, fact("workflow.completed", at(when))])
    assert result.asks[0]["data"]["channels"] == listed


def test_where_nights_are_short_the_telephone_does_not_follow_an_email_into_the_evening() -> None:
    facts = [*a_customer(T, channels="email phone"), nps(T)]
    assert play(facts).asks[0]["data"]["channels"] == ["email", "phone"]
    assert play(facts, quiet_start="21:00").asks[0]["data"]["channels"] == ["email"]


# Renewal


@pytest.mark.parametrize(
    ("before", "opens"),
    [
        ([fact("subscription.started", T - 21 * DAY, {"subscription_id": "s1"})], True),
        ([fact("subscription.started", T - 21 * DAY + MINUTE, {"subscription_id": "s1"})], False),
        ([fact("subscription.started", T - DAY, {"subscription_id": "s2"})], True),
        ([fact("trial.ended", T - DAY, {"subscription_id": "s1", "converted": True})], False),
        ([fact("subscription.started", T - DAY, {"subscription_id": "s1"}, arrives=T + HOUR)], True),
    ],
)
def test_a_first_payment_is_no_renewal(before: list[Body], opens: bool) -> None:
    assert (story(play([*a_customer(T), *before, renewed(T)]), "renewal", T) != []) is opens


# Learned later


def two_of(later: list[Body], **anna: Any) -> list[str]:
    """Who is asked: ada on Tuesday; anna, of whom the account or address is known, on Wednesday."""
    facts = [*a_customer(T), nps(T), *a_customer(T, "anna", **anna), nps(T + DAY, who="anna"), *later]
    return [row["subject"] for row in play(facts).asks]


def test_what_is_learned_later_counts_for_earlier_asks_and_what_was_known_goes_on_counting() -> None:
    account, address = {"account_id": "acme"}, {"email_hmac": "aa" * 32}
    for said in (account, address):
        other = {name: value[::-1] if name == "account_id" else "bb" * 32 for name, value in said.items()}
        assert two_of([], **said) == ["ada", "anna"]
        assert two_of([profile(T + HOUR, **said)], **said) == ["ada"]
        assert two_of([profile(T + HOUR, **said), profile(T + 2 * HOUR, **other)], **said) == ["ada"]
        assert two_of([profile(T + 2 * DAY, **said)], **said) == ["ada", "anna"]


# Shadow


def test_shadow_counts_like_live_and_sends_nothing() -> None:
    facts = [*a_customer(T), fact("compliment.given", T), nps(T), nps(T + DAY, response="r2")]
    result = play(facts, shadow=True)
    assert result.asks == []
    assert story(result, "nps_promoter", T)[1] == ("shadow", shown(ASKED))
    assert story(result, "positive_feedback", T)[-1] == ("superseded", shown(ASKED))
    assert blocking(result.decisions[-1])["overasking"] == shown(ASKED + 90 * DAY)


# One instant


def test_a_call_that_is_cut_short_in_the_same_instant_was_no_moment() -> None:
    when = at("Thu 09:30")
    facts = [*a_customer(T, channels="phone"), renewed(T)]
    moment = fact("call.moment", when, {"kind": "check_in", "call_id": "c"})
    assert len(play([*facts, moment]).asks) == 1
    assert play([*facts, moment, fact("call.cut_short", when, {"call_id": "c"})]).asks == []


# Forgetting


def test_two_silences_hold_as_long_as_the_policy_says() -> None:
    first, second = T - 720 * DAY, T - 609 * DAY
    facts = a_customer(first)
    for n, when in enumerate((first, second)):
        command = uid("command", "ada", "nps_promoter", f"s{n}", 1)
        sent = {"command_id": command, "status": "sent"}
        facts += [fact("advice.asked", when - HOUR), nps(when, 9, f"s{n}")]
        facts += [fact("ask.acknowledged", when + DAY, sent)]
    facts += [fact("advice.asked", T - HOUR), nps(T)]
    assert len(asked(play(facts, two_silences_days=180))) == 3
    assert len(asked(play(facts, two_silences_days=730))) == 2


# At one time the protective word wins


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (consent("all", T - HOUR, True, id="z"), consent("all", T - HOUR, False, id="a")),
        (nps(T - 40 * MINUTE, 9, "q", id="z"), nps(T - 40 * MINUTE, 6, "q", id="a")),
        (csat(T - HOUR, 5), csat(T - HOUR, 1)),
        (review(T - HOUR, 5), review(T - HOUR, 2)),
        (ticket("rated", T - HOUR, rating="positive"), ticket("rated", T - HOUR, rating="negative")),
        (fact("customer.unsuppressed", T - HOUR, id="z"), fact("customer.suppressed", T - HOUR, id="a")),
    ],
)
def test_of_two_words_of_one_time_the_protective_one_holds(good: Body, bad: Body) -> None:
    for pair in ((good, bad), (bad, good)):
        result = play([*a_customer(T), *pair, fact("compliment.given", T, {"reference": "last"})])
        asks = [row["data"]["subject"] for row in result.asks if row["data"]["trigger"] == "positive_feedback"]
        assert asks == []


# Numbers, ids, raw logs


def test_bars_and_percent_signs_in_ids_are_escaped() -> None:
    assert uid("a|b", "c") != uid("a", "b|c")
    assert uid("command", "auth0|7%") == str(uuid5(NAMESPACE, "command|auth0%7C7%25"))


def test_an_integral_float_is_an_integer_and_a_bad_optional_field_is_left_out() -> None:
    record = nps(T)
    record["value"]["data"] = {"response_id": 7.0, "score": 9.0, "comment": 12}
    result = play([*a_customer(T), record])
    assert result.asks[0]["data"]["subject"] == "7"


@pytest.mark.parametrize(
    ("hours", "clock"),
    [
        ((0, 1, 2), (0, 1, 2)),
        ((0, 48, 1), (0, 0, 1)),
        ((0, 24, 1), (0, 24, 24)),  # not more than 24 h after the one before
        ((0, 48, 24), (0, 48, 48)),  # not more than 24 h before it
        ((0, 48), (0, 48)),  # the last one moves the clock
        ((0, 48, 49, 1), (0, 48, 49, 49)),
        ((0, 48, 1, 49, 2), (0, 0, 1, 1, 2)),
        ((90, 1, 2), (90, 90, 90)),
    ],
)
def test_a_record_that_jumps_ahead_alone_moves_no_clock(hours: tuple[int, ...], clock: tuple[int, ...]) -> None:
    records = [{"timestamp": shown(T + n * HOUR)} for n in hours]
    assert clock_of(records) == [T + n * HOUR for n in clock]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("com.acme.mail.recipient_unsubscribed", True), ("EmailOptOut", True), ("user.opted_out", True),
        ("DoNotContact", True), ("mail.spam", True), ("Resubscribed", False), ("optional.outing", False),
        ("contact.do_not", False), ("HTTPBounced", True), ("dncRequested", True), ("subscription", False),
    ],
)  # fmt: skip
def test_unknown_names_that_say_an_opt_out(name: str, says: bool) -> None:
    assert says_opt_out(name) is says
