"""The oracle against after §3, with values worked out by hand."""

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
from tests.oracle.records import shown
from tests.oracle.telling import DAY, Body, at, fact, nps
from tests.rules import rule

LATER = at("Tue 15:00")
WED = at("Wed 10:00")
QUARTER = 15 * MINUTE


@rule("A3.5", "A3.6")
def test_a_referral_has_thanks_and_somebody_who_takes_care() -> None:
    result = unasked_ada(given(ELEVEN, consented=False), until=T + DAY)
    assert follow(result) == [requested("thank", ELEVEN), requested("take_care", ELEVEN)]
    thank, care = body(result, "thank"), body(result, "take_care")
    assert (thank["due_by"], thank["expires_at"]) == (shown(ELEVEN + HOUR), shown(ELEVEN + 48 * HOUR))
    assert (thank["variables"], thank["referral_id"], "command_id" in thank) == ({}, "f1", False)
    assert (care["due_by"], care["expires_at"]) == (shown(ELEVEN + 48 * HOUR), shown(ELEVEN + 14 * DAY))
    assert (care["variables"], care["audience"]) == ({"consented": "false"}, "owner")


@pytest.mark.parametrize(
    ("arrives", "headers", "kinds"),
    [
        (ELEVEN + 7 * DAY - MS, None, ["thank", "take_care"]),
        (ELEVEN + 7 * DAY, None, []),
        (ELEVEN, PAST, []),
    ],
)
@rule("A3.5")
def test_a_referral_of_long_ago_brings_nothing(arrives: datetime, headers: Body | None, kinds: list[str]) -> None:
    result = unasked_ada(given(ELEVEN, arrives=arrives, headers=headers), until=T + 9 * DAY)
    assert [row[0] for row in follow(result)] == kinds
    if kinds:
        assert body(result, "take_care")["due_by"] == shown(arrives + 48 * HOUR)


@rule("A3.5")
def test_there_is_one_word_of_thanks_in_a_day() -> None:
    for second, thanks in ((ELEVEN + DAY - MS, 1), (ELEVEN + DAY, 2)):
        result = unasked_ada(given(ELEVEN), given(second, "f2"), until=T + 3 * DAY)
        assert len(follow(result, "thank")) == thanks
        assert len(follow(result, "take_care")) == 2


@rule("A3.3", "A3.4")
def test_a_referral_is_thanks_to_the_ask_that_it_names_or_to_the_newest() -> None:
    for facts in ((given(LATER, command=COMMAND),), (given(LATER),), (given(LATER, command="nobody's"),)):
        result = asked_ada(said(ELEVEN, "yes"), *facts, until=T + DAY)
        assert follow(result, "intro_offer")[1:] == [ended("intro_offer", "referral_given", LATER)]
        assert record(result)["referred_contacts"][0]["command_id"] == COMMAND
        assert record(result)["asks"][0]["referrals"] == 1


@pytest.mark.parametrize(("after", "command"), [(90 * DAY - MS, COMMAND), (90 * DAY, None)])
@rule("A3.3")
def test_after_ninety_days_a_referral_is_unprompted(after: timedelta, command: str | None) -> None:
    for named in (None, COMMAND):
        found = record(asked_ada(given(at("Tue 10:20") + after, command=named)))
        assert found["referred_contacts"][0].get("command_id") == command


@rule("A3.3")
def test_no_referral_is_thanks_to_an_ask_that_was_not_made() -> None:
    for against in (acked(at("Tue 10:25"), status="failed"), fact("complaint.made", at("Tue 10:25"))):
        found = record(unasked_ada(nps(T), against, given(LATER), until=T + DAY))
        assert "command_id" not in found["referred_contacts"][0]
        assert found["asks"][0]["referrals"] == 0


@rule("A3.4", "A1.15", "A13.3")
def test_a_referral_says_more_than_yes_and_does_not_hold_an_unclear_word_back() -> None:
    result = asked_ada(given(ELEVEN), said(LATER, "yes"), said(LATER + HOUR, "unclear"), until=T + DAY)
    assert [row[0] for row in follow(result)] == ["thank", "take_care", "read_answer"]


@rule("A3.7")
def test_care_is_taken_by_any_status_but_a_refund() -> None:
    for word, headers in (("contacted", None), ("rejected", None), ("qualified", PAST)):
        result = unasked_ada(given(ELEVEN), status(LATER, word, headers=headers), until=T + DAY)
        assert follow(result, "take_care") == [
            requested("take_care", ELEVEN), ended("take_care", "care_taken", LATER),
        ]  # fmt: skip
    assert len(follow(unasked_ada(given(ELEVEN), status(LATER, "refunded"), until=T + DAY), "take_care")) == 1
    result = unasked_ada(status(ELEVEN - HOUR, "contacted"), given(ELEVEN), until=T + DAY)
    assert follow(result) == [requested("thank", ELEVEN)]


@rule("A13.16", "A5.8")
def test_a_contact_who_withdraws_or_is_erased_ends_the_care() -> None:
    again = given(LATER, consented=False)
    result = unasked_ada(given(ELEVEN), again, until=T + DAY)
    assert follow(result, "take_care") == [
        requested("take_care", ELEVEN), ended("take_care", "contact_erased", LATER), requested("take_care", LATER),
    ]  # fmt: skip
    assert body(result, "take_care", 2)["variables"] == {"consented": "false"}
    assert body(result, "take_care", 2)["due_by"] == shown(ELEVEN + 48 * HOUR)
    result = unasked_ada(given(ELEVEN), fact("referral.contact_erased", LATER, {"referral_id": "f1"}), until=T + DAY)
    assert follow(result, "take_care") == [
        requested("take_care", ELEVEN), ended("take_care", "contact_erased", LATER),
    ]  # fmt: skip
    assert record(result)["referred_contacts"][0]["consented"] is False


# Report back


def reports(*facts: Body, **more: object) -> list[tuple[str, str, str]]:
    return follow(unasked_ada(given(ELEVEN), *facts, until=T + 12 * DAY, **more), "report_back")  # type: ignore[arg-type]  # a policy


@rule("A3.9", "A3.10")
def test_a_status_is_reported_a_quarter_of_an_hour_after_it_arrived() -> None:
    result = unasked_ada(given(ELEVEN), status(WED, "contacted", arrives=WED + HOUR), until=T + 3 * DAY)
    assert follow(result, "report_back") == [requested("report_back", WED + HOUR + QUARTER)]
    found = body(result, "report_back")
    assert found["followup_id"] == followup("report_back", "f1/contacted")
    assert found["due_by"] == shown(WED + DAY)
    assert found["expires_at"] == shown(WED + HOUR + QUARTER + 7 * DAY)
    assert found["variables"] == {"status": "contacted"}


@pytest.mark.parametrize("corrected", [QUARTER - MS, QUARTER, QUARTER + MS])
@rule("A0.3", "A3.9")
def test_a_mis_click_is_corrected_by_then(corrected: timedelta) -> None:
    found = reports(status(WED, "contacted"), status(WED + corrected, "rejected"))
    assert found == ([requested("report_back", WED + QUARTER)] if corrected > QUARTER else [])


@rule("A3.9")
def test_what_is_not_reported() -> None:
    assert reports(status(WED, "qualified")) == []
    assert reports(status(WED, "contacted", headers=PAST)) == []
    assert reports(status(WED, "contacted", arrives=WED + 7 * DAY - QUARTER)) == []
    assert reports(status(WED, "converted"), status(WED + MINUTE, "contacted")) == []
    assert reports(status(WED, "converted"), status(WED + MINUTE, "refunded"), status(WED + DAY, "contacted")) == []
    once = [requested("report_back", WED + QUARTER)]
    assert reports(status(WED, "contacted"), status(WED + 2 * DAY, "contacted")) == once
    assert reports(status(WED, "converted"), status(WED + 2 * DAY, "qualified")) == once


@rule("A3.10")
def test_a_new_report_ends_the_one_that_is_open() -> None:
    assert reports(status(WED, "contacted"), status(WED + HOUR, "converted")) == [
        requested("report_back", WED + QUARTER),
        ended("report_back", "status", WED + HOUR + QUARTER),
        requested("report_back", WED + HOUR + QUARTER),
    ]


@rule("A3.9")
def test_there_is_one_report_in_a_day_but_of_conversions() -> None:
    for word, wait, many in (("contacted", DAY - MS, 1), ("contacted", DAY, 2), ("converted", HOUR, 2)):
        facts = given(ELEVEN, "f2"), status(WED, "contacted"), status(WED + wait, word, "f2")
        assert len(reports(*facts)) == many


@rule("A13.13")
def test_a_status_that_is_newer_and_the_same_is_a_new_event() -> None:
    again = WED + 10 * MINUTE
    assert reports(status(WED, "contacted"), status(again, "contacted")) == [requested("report_back", again + QUARTER)]


@rule("A3.12", "A13.14")
def test_what_came_before_the_referral_is_kept_and_not_reported() -> None:
    early = status(ELEVEN - MINUTE, "contacted")
    assert reports(early) == []
    assert reports(early, status(WED, "converted")) == [requested("report_back", WED + QUARTER)]


@rule("A2.6", "A3.9")
def test_a_report_that_cannot_be_made_is_not_made_up_for() -> None:
    facts = (
        given(ELEVEN),
        status(WED, "contacted"),
        consent(WED + MINUTE, granted=False),
        consent(WED + HOUR, granted=True),
    )
    result = unasked_ada(*facts, until=T + 3 * DAY)
    assert follow(result, "report_back") == []
    assert record(result)["followups"]["report_back"] == {"unreachable": 1}


@rule("A3.8")
def test_the_value_of_a_deal_is_the_newest_that_was_named() -> None:
    deal = {"deal_value_minor": 120_000, "currency": "EUR"}
    facts = status(WED, "qualified", deal=deal), status(WED + HOUR, "converted")
    found = record(unasked_ada(given(ELEVEN), *facts, until=T + 3 * DAY))["referred_contacts"][0]
    assert (found["status"], found["deal_value_minor"], found["currency"]) == ("converted", 120_000, "EUR")


@rule("A3.2")
def test_the_date_of_a_referral_follows_the_earliest_word_and_its_time_the_first_one_applied() -> None:
    earlier = given(ELEVEN - 3 * DAY, arrives=LATER, id="again")
    found = record(asked_ada(given(ELEVEN), earlier, until=T + DAY))["referred_contacts"][0]
    assert (found["referred_date"], found["command_id"]) == ("2026-06-13", COMMAND)
