"""The oracle against after §6 (and regret of §9), with values worked out by hand."""

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
    followup,
    given,
    record,
    said,
    status,
    unasked_ada,
)  # fmt: skip
from tests.oracle.records import shown, uid
from tests.oracle.telling import DAY, Body, a_customer, at, fact, nps, play
from tests.rules import rule
from tests.worlds.customers import history

ASKED = at("Tue 10:20")
SENT = at("Tue 10:21")
LATER = at("Tue 15:00")


@rule("A6.1", "A6.3", "A6.4", "A6.8")
def test_a_whole_record() -> None:
    result = asked_ada(said(ELEVEN, "yes"), given(LATER), until=T + DAY, account_id="acme", segment="smb")
    row = result.records[0]
    assert (row["type"], row["subject"], row["time"]) == ("referral.record.changed", "ada", shown(LATER))
    found = row["data"] | {"months": this_month(row["data"])}
    assert found == {
        "customer_id": "ada",
        "account_id": "acme",
        "segment": "smb",
        "signed_up_at": shown(T - 400 * DAY),
        "referral_history": {
            "last_ask_date": "2026-06-16",
            "last_asked_at": shown(ASKED),
            "first_asked_at": shown(ASKED),
            "times_asked": 1,
            "referrals_given": 1,
            "referrals_converted": 0,
            "propensity_score": 100,
            "next_ask_eligible": "2026-09-14",
            "next_eligible_at": shown(ASKED + 90 * DAY),
        },
        "referred_contacts": [
            {
                "referral_id": "f1",
                "command_id": COMMAND,
                "consented": True,
                "referred_date": "2026-06-16",
                "status": "given",
            }
        ],
        "asks": [
            {
                "command_id": COMMAND,
                "trigger": "nps_promoter",
                "template": "nps_promoter.direct",
                "mode": "direct",
                "channel": "email",
                "kind": "asked",
                "t0": shown(T),
                "asked_at": shown(ASKED),
                "decided_at": shown(ASKED),
                "sent_at": shown(SENT),
                "answer": "yes",
                "answered_at": shown(ELEVEN),
                "referrals": 1,
                "converted": 0,
            }
        ],
        "months": [{"trigger": "nps_promoter", "opened": 1, "eligible": 1, "asked": 1}],
        "followups": {
            "intro_offer": {"requested": 1, "cancelled": 1},
            "take_care": {"requested": 1},
            "thank": {"requested": 1},
        },
        "recorded_at": shown(LATER),
    }


NO_OCCASION = [fact(one.type, T - timedelta(milliseconds=one.age), one.body) for one in history("usage", "advice")]
"""A customer of whom nothing was an occasion to ask."""


def this_month(body: Body) -> list[Body]:
    """Without what was before June."""
    return [{n: v for n, v in entry.items() if n != "month"} for entry in body["months"] if entry["month"] == "2026-06"]


@rule("A6.14")
def test_the_first_record_is_written_at_an_opened_opportunity_or_a_referral() -> None:
    for facts, many in (
        ((), 0),
        ((status(ELEVEN, "contacted"),), 0),
        ((given(ELEVEN),), 1),
        ((nps(T),), 1),
        ((nps(T, headers=PAST),), 0),
        ((nps(T - 2 * DAY, arrives=T),), 0),
    ):
        assert len(play([*NO_OCCASION, *facts], T + DAY).records) == many


@rule("A0.12", "A0.4")
def test_records_are_numbered_and_one_is_written_in_an_instant() -> None:
    twice = given(ELEVEN), given(ELEVEN, "f2"), status(LATER, "contacted"), fact("advice.asked", LATER + HOUR)
    row = play([*NO_OCCASION, *twice], T + DAY).records[0]
    assert row["id"] == uid(
        "referral.record.changed", "ada", 3
    )  # given, contacted, reported a quarter of an hour later


@rule("A6.14")
def test_a_score_alone_writes_no_record() -> None:
    spoke = fact("advice.asked", at("Wed 10:00"))
    assert record(asked_ada(spoke, until=T + 3 * DAY))["recorded_at"] == shown(SENT)


@rule("A6.4", "A6.5", "A13.21")
def test_a_released_ask_does_not_count_and_a_held_out_one_counts_only_for_the_next() -> None:
    found = record(unasked_ada(nps(T), acked(SENT, status="failed"), until=T + DAY))
    assert found["referral_history"]["times_asked"] == 0
    assert "next_eligible_at" not in found["referral_history"]
    assert found["asks"][0]["failed"] is True
    found = record(unasked_ada(nps(T), until=T + DAY, policy={"holdout_share": 1}))
    assert found["referral_history"]["times_asked"] == 0
    assert found["referral_history"]["next_eligible_at"] == shown(ASKED + 90 * DAY)
    assert (found["asks"][0]["kind"], this_month(found)[0]["held_out"]) == ("holdout", 1)
    stopped = record(asked_ada(said(ELEVEN, "stop"), until=T + DAY))["referral_history"]
    assert "next_eligible_at" not in stopped


def blocked(*facts: Body, **policy: object) -> Body:
    months = this_month(record(unasked_ada(*facts, until=T + 3 * DAY, policy=policy)))
    return {name: value for name, value in months[0].items() if name != "trigger"}


@rule("A6.9", "A6.10", "A6.11", "A6.12")
def test_every_opened_opportunity_ends_in_exactly_one_way() -> None:
    assert blocked(fact("complaint.made", T - MINUTE), nps(T)) == {"opened": 1, "blocked": {"trouble": 1}}
    saturday = nps(at("Sat 10:00"))
    months = this_month(record(unasked_ada(saturday, until=T + 9 * DAY)))
    assert months == [{"trigger": "nps_promoter", "opened": 1, "eligible": 1, "missed": 1}]
    corrected = nps(T + 5 * MINUTE, 8)
    assert blocked(nps(T), corrected) == {"opened": 1, "eligible": 1, "cancelled": 1}
    assert blocked(nps(T), fact("complaint.made", at("Tue 10:30"))) == {"opened": 1, "eligible": 1, "asked": 1}
    assert blocked(nps(T), shadow=True) == {"opened": 1, "eligible": 1, "shadowed": 1}
    assert blocked(nps(T)) == {"opened": 1, "eligible": 1, "asked": 1}
    rival = fact("compliment.given", T, {"reference": "c1"})
    found = this_month(record(unasked_ada(nps(T), rival, until=T + DAY)))
    assert [(entry["trigger"], entry.get("asked"), entry.get("superseded")) for entry in found] == [
        ("nps_promoter", 1, None), ("positive_feedback", None, 1),
    ]  # fmt: skip


@rule("A6.9")
def test_months_and_asks_lapse_after_a_year() -> None:
    seen = given(at("2027-06-30 12:00"))
    assert len(record(asked_ada(seen, until=at("2027-06-30 13:00")))["asks"]) == 1
    later = record(asked_ada(given(at("2027-07-02 12:00")), until=at("2027-07-02 13:00")))
    assert (later["asks"], later["months"]) == ([], [])
    assert later["referral_history"]["times_asked"] == 1


@pytest.mark.parametrize(("taken", "late"), [(48 * HOUR, False), (48 * HOUR + MS, True), (None, True)])
@rule("A6.7")
def test_care_is_late_if_it_is_not_taken_by_its_time(taken: timedelta | None, late: bool) -> None:
    facts = [] if taken is None else [status(ELEVEN + taken, "contacted")]
    found = record(unasked_ada(given(ELEVEN), *facts, until=ELEVEN + 49 * HOUR))
    assert found["referred_contacts"][0].get("care_late", False) is late
    due = ELEVEN + 48 * HOUR
    assert taken is not None or found["recorded_at"] == shown(due)


@pytest.mark.parametrize(
    ("happened", "sent", "despite"),
    [
        (at("Tue 10:30"), at("Tue 10:40"), True),
        (at("Tue 10:30"), at("Tue 10:30"), True),
        (at("Tue 10:30"), at("Tue 10:29"), False),
    ],
)
@rule("A6.13", "7.3")
def test_what_was_sent_after_a_signal_was_sent_despite_it(happened: datetime, sent: datetime, despite: bool) -> None:
    for kind, body in (
        ("complaint.made", {}),
        ("customer.suppressed", {}),
        ("nps.responded", {"response_id": "r1", "score": 7}),
        ("ask.answered", {"command_id": "nobody's", "answer": "stop"}),
    ):
        facts = fact(kind, happened, body), acked(sent, arrives=at("Tue 11:00"))
        found = record(unasked_ada(nps(T), *facts, until=T + DAY))["asks"][0]
        assert found.get("despite_signal", False) is despite


@rule("A13.7")
def test_the_answer_that_says_it_was_sent_is_no_signal() -> None:
    found = record(unasked_ada(nps(T), said(ELEVEN, "stop"), until=T + DAY))["asks"][0]
    assert (found["sent_at"], "despite_signal" in found) == (shown(ELEVEN), False)


@rule("A9.4")
def test_what_is_learned_when_it_no_longer_holds_anybody_back_is_regretted_all_the_same() -> None:
    late = fact("complaint.made", ASKED + 8 * DAY, arrives=ASKED + 100 * DAY)
    found = record(unasked_ada(nps(T), late, until=ASKED + 100 * DAY))["asks"][0]
    assert (found["regret"], "despite_signal" in found) == (True, False)


@pytest.mark.parametrize(("after", "regretted"), [(MS, True), (14 * DAY - MS, True), (14 * DAY, False)])
@rule("A9.4")
def test_what_goes_wrong_within_two_weeks_is_regretted(after: timedelta, regretted: bool) -> None:
    for share in (0, 1):
        facts = nps(T), fact("complaint.made", ASKED + after)
        found = record(unasked_ada(*facts, until=T + 20 * DAY, policy={"holdout_share": share}))["asks"][0]
        assert found.get("regret", False) is regretted


@rule("A9.4")
def test_what_was_wrong_already_is_no_regret() -> None:
    again = fact("complaint.made", ASKED + 14 * DAY, arrives=ASKED + 15 * DAY), fact("complaint.made", ASKED + 13 * DAY,
                 arrives=ASKED + 15 * DAY + MINUTE)  # fmt: skip
    found = record(unasked_ada(nps(T), *again, until=T + 30 * DAY))
    assert "regret" not in found["asks"][0]


@rule("A6.1")
def test_what_workers_say_of_follow_ups_is_counted() -> None:
    intro = followup("intro_offer")
    result = asked_ada(said(ELEVEN, "yes"), acked(LATER, intro, "opened"), until=T + DAY)
    assert record(result)["followups"] == {"intro_offer": {"requested": 1, "sent": 1}}
    late = asked_ada(said(ELEVEN, "yes", arrives=LATER), acked(LATER + MS, intro, "failed"), until=T + DAY)
    assert record(late)["followups"] == {
        "intro_offer": {"requested": 1, "late": 1, "failed": 1}, "read_answer": {"requested": 1},
    }  # fmt: skip


@rule("A0.4", "A0.7", "A5.9")
def test_records_are_in_the_order_of_customers_and_nobody_erased_has_one() -> None:
    people = [
        record for who in ("b", "a", "ä", "gone") for record in [*a_customer(T, who), given(ELEVEN, who, who=who)]
    ]
    erased = fact("customer.erasure_requested", LATER, who="gone")
    result = play([*people, erased], T + DAY)
    assert [row["subject"] for row in result.records] == ["a", "b", "ä"]
