"""The oracle against after §0, §1 and §2, with values worked out by hand."""

from datetime import datetime, timedelta

import pytest

from tests.oracle.following import (
    COMMAND,
    ELEVEN,
    HOUR,
    MINUTE,
    MS,
    PAST,
    T,
    acked,
    asked_ada,
    body,
    consent,
    ended,
    follow,
    followup,
    given,
    record,
    requested,
    said,
    status,
    unasked_ada,
)  # fmt: skip
from tests.oracle.records import shown, uid
from tests.oracle.telling import DAY, a_customer, at, fact, nps, play
from tests.rules import rule

LATER = at("Tue 15:00")


@pytest.mark.parametrize(
    ("word", "kind", "audience", "due", "expires"),
    [
        ("yes", "intro_offer", "customer", HOUR, 24 * HOUR),
        ("maybe", "easy_forward", "customer", DAY, 72 * HOUR),
        ("no", "graceful_no", "customer", HOUR, HOUR),
        ("unclear", "read_answer", "owner", DAY, 7 * DAY),
    ],
)
@rule("A1.1", "A1.15", "A1.18", "A2.1", "A2.14", "A0.9")
def test_each_word_has_its_follow_up(word: str, kind: str, audience: str, due: timedelta, expires: timedelta) -> None:
    result = asked_ada(said(ELEVEN, word), until=T + 2 * DAY)
    assert follow(result) == [requested(kind, ELEVEN)]
    expected = {
        "followup_id": uid("followup", "ada", COMMAND, kind, 1),
        "kind": kind,
        "audience": audience,
        "customer_id": "ada",
        "command_id": COMMAND,
        "not_before": shown(ELEVEN),
        "due_by": shown(ELEVEN + due),
        "expires_at": shown(ELEVEN + expires),
        "late": False,
        "variables": {"trigger": "nps_promoter"} | ({"answer": word} if word == "unclear" else {}),
        "requested_at": shown(ELEVEN),
    }
    assert body(result, kind) == expected | ({"channels": ["email"]} if audience == "customer" else {})


@pytest.mark.parametrize(
    ("word", "arrives", "kind"),
    [
        ("yes", ELEVEN + 7 * DAY - MS, "intro_offer"),
        ("yes", ELEVEN + 7 * DAY, None),
        ("unclear", ELEVEN + 7 * DAY, None),
        ("no", ELEVEN + HOUR - MS, "graceful_no"),
        ("no", ELEVEN + HOUR, None),
    ],
)
@rule("A1.15")
def test_what_comes_too_late_is_not_answered(word: str, arrives: datetime, kind: str | None) -> None:
    result = asked_ada(said(ELEVEN, word, arrives=arrives))
    assert [row[0] for row in follow(result)] == ([kind] if kind else [])
    assert record(result)["asks"][0]["answer"] == word


@rule("A1.13", "A1.14", "A0.10")
def test_of_the_words_to_an_ask_the_newest_stands_and_ends_what_the_earlier_one_led_to() -> None:
    result = asked_ada(said(ELEVEN, "yes"), said(LATER, "maybe"), said(LATER + HOUR, "yes"), until=T + DAY)
    assert follow(result) == [
        requested("intro_offer", ELEVEN),
        ended("intro_offer", "answer", LATER),
        requested("easy_forward", LATER),
        ended("easy_forward", "answer", LATER + HOUR),
        requested("intro_offer", LATER + HOUR),
    ]
    assert body(result, "intro_offer", 2)["followup_id"] == followup("intro_offer", n=2)


@rule("A1.13")
def test_an_older_word_that_arrives_later_changes_nothing() -> None:
    result = asked_ada(said(LATER, "yes"), said(ELEVEN, "no", arrives=LATER + MINUTE), until=T + DAY)
    assert follow(result) == [requested("intro_offer", LATER)]


@rule("A1.14")
def test_a_historical_word_ends_what_was_open_and_leads_to_nothing() -> None:
    result = asked_ada(said(ELEVEN, "yes"), said(LATER, "maybe", headers=PAST), until=T + DAY)
    assert follow(result) == [requested("intro_offer", ELEVEN), ended("intro_offer", "answer", LATER)]


@rule("A13.2", "A13.1")
def test_after_a_stop_nothing_goes_to_the_customer_and_a_person_reads_what_comes() -> None:
    words = said(ELEVEN, "yes"), said(LATER, "stop"), said(LATER + HOUR, "maybe")
    result = asked_ada(*words, given(LATER + 2 * HOUR), until=T + DAY)
    assert follow(result) == [
        requested("intro_offer", ELEVEN),
        ended("intro_offer", "stop", LATER),
        requested("read_answer", LATER + HOUR),
        requested("take_care", LATER + 2 * HOUR),
    ]
    assert "unreachable" not in str(record(result)["followups"])


@rule("A1.16", "A13.4")
def test_where_something_is_wrong_a_person_reads_the_answer() -> None:
    wrong = fact("complaint.made", at("Tue 10:40"))
    for word, kind in (("yes", "read_answer"), ("maybe", "read_answer"), ("no", "graceful_no")):
        assert follow(asked_ada(wrong, said(ELEVEN, word), until=T + DAY)) == [requested(kind, ELEVEN)]
    assert follow(asked_ada(said(ELEVEN, "yes"), fact("complaint.made", LATER), until=T + DAY)) == [
        requested("intro_offer", ELEVEN)
    ]


@rule("A1.17", "A2.6")
def test_who_cannot_be_reached_is_counted_and_never_made_up_for() -> None:
    gone = fact("customer.profile_changed", at("Tue 10:40"), {"channels": {"email": False}})
    back = fact("customer.profile_changed", LATER, {"channels": {"email": True}})
    result = asked_ada(gone, said(ELEVEN, "yes"), back, until=T + DAY)
    assert follow(result) == [requested("read_answer", ELEVEN)]
    assert record(result)["followups"] == {"intro_offer": {"unreachable": 1}, "read_answer": {"requested": 1}}
    result = asked_ada(gone, said(ELEVEN, "no"), back, until=T + DAY)
    assert follow(result) == []
    assert record(result)["followups"] == {"graceful_no": {"unreachable": 1}}


@rule("A1.17", "A13.4")
def test_an_intro_offer_that_failed_is_read_by_a_person_once_and_while_the_yes_stands() -> None:
    intro = followup("intro_offer")
    failed = acked(LATER, intro, "failed"), acked(LATER + MINUTE, intro, "dropped_expired")
    assert follow(asked_ada(said(ELEVEN, "yes"), *failed, until=T + DAY), "read_answer") == [
        requested("read_answer", LATER)
    ]
    changed = said(ELEVEN + MINUTE, "no")
    assert follow(asked_ada(said(ELEVEN, "yes"), changed, *failed, until=T + DAY), "read_answer") == []


@rule("A13.3")
def test_each_unclear_word_is_read_unless_one_is_being_read() -> None:
    words = said(ELEVEN, "unclear"), said(ELEVEN + MINUTE, "unclear"), said(LATER, "unclear")
    read = acked(ELEVEN + 2 * MINUTE, followup("read_answer"), "delivered")
    assert follow(asked_ada(*words, until=T + DAY)) == [requested("read_answer", ELEVEN)]
    assert follow(asked_ada(*words, read, until=T + DAY)) == [
        requested("read_answer", ELEVEN),
        requested("read_answer", LATER),
    ]


@rule("A13.3")
def test_an_unclear_word_to_the_thanks_for_an_unprompted_referral_is_about_that_referral() -> None:
    answer = said(LATER, "unclear", followup("thank", "f1"))
    result = unasked_ada(given(ELEVEN), answer, until=T + DAY)
    assert follow(result, "read_answer") == [requested("read_answer", LATER)]
    found = body(result, "read_answer")
    assert (found["referral_id"], found["followup_id"]) == ("f1", followup("read_answer", "f1"))
    assert found["variables"] == {"answer": "unclear"}


@rule("A1.9")
def test_an_answer_to_a_follow_up_is_one_to_its_ask_and_what_nobody_asked_is_not_known() -> None:
    to_forward = said(LATER, "yes", followup("easy_forward"))
    result = asked_ada(said(ELEVEN, "maybe"), to_forward, until=T + DAY)
    assert follow(result)[1:] == [ended("easy_forward", "answer", LATER), requested("intro_offer", LATER)]
    assert follow(asked_ada(said(ELEVEN, "yes", "nobody's"), until=T + DAY)) == []


@pytest.mark.parametrize(("after", "known"), [(400 * DAY - MS, True), (400 * DAY, False)])
@rule("A1.9")
def test_an_ask_is_known_for_four_hundred_days(after: timedelta, known: bool) -> None:
    result = asked_ada(said(at("Tue 10:20") + after, "yes"))
    assert [row[0] for row in follow(result)] == ["intro_offer"] * known


@rule("A1.11", "A13.7", "A13.8")
def test_an_answer_says_that_the_ask_was_sent() -> None:
    facts = nps(T), said(ELEVEN, "yes"), fact("complaint.made", ELEVEN + MINUTE)
    result = unasked_ada(*facts, until=T + DAY)
    assert [row["type"] for row in result.asks] == ["referral.ask.requested"]
    assert record(result)["asks"][0]["sent_at"] == shown(ELEVEN)
    result = unasked_ada(nps(T), given(ELEVEN, command=COMMAND), fact("complaint.made", ELEVEN + MINUTE), until=T + DAY)
    assert [row["type"] for row in result.asks] == ["referral.ask.requested"]


@pytest.mark.parametrize("word", ["no", "maybe", "stop"])
@rule("A1.10", "A1.12", "A13.9")
def test_all_of_gate_7_recalls_a_command_that_was_not_sent(word: str) -> None:
    result = unasked_ada(nps(T), said(ELEVEN, word, "nobody's"), until=T + DAY)
    assert [row["type"] for row in result.asks] == ["referral.ask.requested", "referral.ask.cancelled"]


@rule("A1.10")
def test_an_unclear_word_has_no_wait_and_breaks_the_silence() -> None:
    again = at("Wed 10:00")
    result = unasked_ada(said(ELEVEN, "unclear", "nobody's"), nps(again), until=again + DAY)
    assert [row["type"] for row in result.asks] == ["referral.ask.requested"]


# Follow-ups


@rule("A2.7", "A2.8")
def test_a_reply_is_made_while_the_customer_is_there_and_else_outside_quiet_hours() -> None:
    night = at("Tue 21:00")
    there = asked_ada(said(night, "yes", arrives=night + HOUR - MS), until=T + 3 * DAY)
    assert body(there, "intro_offer")["not_before"] == shown(night + HOUR - MS)
    gone = body(asked_ada(said(night, "yes", arrives=night + HOUR), until=T + 3 * DAY), "intro_offer")
    morning = at("Wed 08:00")
    assert [gone[name] for name in ("not_before", "due_by", "expires_at", "late")] == [
        shown(morning), shown(morning), shown(morning + DAY), True,
    ]  # fmt: skip


@rule("A2.5")
def test_the_channel_of_the_ask_comes_first_unless_it_is_the_telephone() -> None:
    night, noon = at("Tue 20:30"), at("Wed 12:00")
    moments = (
        ("in_app", fact("workflow.completed", at("Tue 21:00")), ["in_app", "email", "phone"]),
        ("phone", fact("call.moment", at("Tue 21:00"), {"kind": "check_in"}), ["email", "in_app", "phone"]),
    )
    for channel, moment, listed in moments:
        facts = nps(night), moment, said(noon, "yes")
        result = unasked_ada(*facts, channels="email in_app phone", until=night + DAY)
        assert result.asks[0]["data"]["channels"][0] == channel
        assert body(result, "intro_offer")["channels"] == listed


@rule("A2.10")
def test_who_may_not_be_written_to_any_more_is_not() -> None:
    for change, reason in (
        (consent(LATER, granted=False), "consent"),
        (fact("customer.suppressed", LATER), "suppressed"),
        (fact("customer.erasure_requested", LATER), "erased"),
    ):
        result = asked_ada(said(ELEVEN, "yes"), change, until=T + DAY)
        assert follow(result) == [requested("intro_offer", ELEVEN), ended("intro_offer", reason, LATER)]


@rule("A2.11", "A13.5")
def test_what_names_a_withdrawn_channel_is_made_again_with_those_that_are_left() -> None:
    granted = [consent(T - HOUR, granted=True, channel=channel) for channel in ("email", "in_app")]
    result = asked_ada(*granted, said(ELEVEN, "yes"), consent(LATER, granted=False, channel="email"),
                       channels="email in_app", until=T + DAY)  # fmt: skip
    assert follow(result) == [
        requested("intro_offer", ELEVEN),
        ended("intro_offer", "channel", LATER),
        requested("intro_offer", LATER),
    ]
    made = body(result, "intro_offer", 2)
    assert (made["channels"], made["followup_id"]) == (["in_app"], followup("intro_offer", n=2))
    assert (made["due_by"], made["late"]) == (shown(LATER), True)  # it was due at 12:00
    assert made["expires_at"] == shown(LATER + DAY)


@rule("A2.11", "A13.6")
def test_thanks_made_again_are_no_second_thanks() -> None:
    withdrawn = consent(LATER, granted=False, channel="email")
    result = unasked_ada(given(ELEVEN), withdrawn, channels="email in_app", until=T + DAY)
    assert follow(result, "thank") == [
        requested("thank", ELEVEN),
        ended("thank", "channel", LATER),
        requested("thank", LATER),
    ]


@rule("A2.3", "A2.4")
def test_what_was_acknowledged_is_not_open_and_a_report_before_the_request_is_none() -> None:
    intro, early = followup("intro_offer"), ELEVEN - MINUTE
    for reports, cancelled in ((("accepted",), True), (("accepted", "sent"), False), (("delivered",), False)):
        acks = [acked(ELEVEN + (n + 1) * MINUTE, intro, word) for n, word in enumerate(reports)]
        result = asked_ada(acked(early, intro, "sent"), said(ELEVEN, "yes"), *acks, said(LATER, "stop"), until=T + DAY)
        assert len(follow(result)) == 1 + cancelled


@rule("A2.13")
def test_in_shadow_nothing_follows() -> None:
    result = unasked_ada(given(ELEVEN), status(LATER, "contacted"), until=T + 3 * DAY, policy={"shadow": True})
    assert (result.followups, result.rewards) == ([], [])
    assert record(result)["referred_contacts"][0]["status"] == "contacted"


@rule("A2.9")
def test_a_pause_stops_no_reply() -> None:
    paused = fact("control.paused", at("Tue 10:40"), {"scope": "all", "by": "ops", "why": "test"}, who="")
    assert follow(asked_ada(paused, said(ELEVEN, "yes"), until=T + DAY)) == [requested("intro_offer", ELEVEN)]


@rule("A0.5")
def test_what_is_asked_for_and_taken_back_in_one_instant_is_written_twice() -> None:
    words = said(ELEVEN, "yes", id="1"), said(ELEVEN, "no", id="2", source="z")
    result = asked_ada(*words, until=T + DAY)
    assert follow(result) == [
        requested("intro_offer", ELEVEN), ended("intro_offer", "answer", ELEVEN), requested("graceful_no", ELEVEN),
    ]  # fmt: skip


@rule("A0.7", "A0.12", "A13.18")
def test_files_are_in_the_order_of_time_and_customer_and_messages_have_ids_of_their_own() -> None:
    both = [fact for who in ("bob", "ada") for fact in (*a_customer(T, who), given(ELEVEN, who, who=who))]
    result = play(both, T + DAY)
    assert [row["subject"] for row in result.followups] == ["ada", "ada", "bob", "bob"]
    stopped = asked_ada(said(ELEVEN, "yes"), said(LATER, "stop"), until=T + DAY).followups
    kind = "referral.followup.cancelled"
    assert stopped[1]["id"] == uid(kind, followup("intro_offer"))
