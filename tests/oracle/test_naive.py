"""The oracle against instants worked out by hand, most of them the golden ones of the specification."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.oracle.local_time import instant_of, next_midnight
from tests.oracle.records import shown, uid
from tests.oracle.telling import DAY, Body, a_customer, asked, at, blocking, fact, nps, play, renewed, story
from tests.worlds.customers import BERLIN


@pytest.mark.parametrize(
    ("trigger", "opens", "dispatch"),
    [
        ("nps_promoter", "Thu 14:00", "Fri 13:00"),
        ("nps_promoter", "Thu 12:30", "Thu 12:50"),
        ("nps_promoter", "Fri 15:50", "Fri 16:10"),
        ("nps_promoter", "Fri 15:39:59", "Fri 15:59:59"),
        ("nps_promoter", "Sat 10:00", None),
        ("nps_promoter", "Sun 09:00", "Mon 08:00"),
        ("milestone", "Thu 21:00", None),
        ("milestone", "Thu 23:58", None),
        ("milestone", "Fri 10:00", "Fri 13:00"),
        ("milestone", "Thu 14:02", "Thu 14:09"),
        ("renewal", "Tue 10:00", "Fri 13:00"),
        ("renewal", "Fri 12:00", "Mon 08:00"),
        ("renewal", "Fri 14:00", "next Fri 13:00"),
    ],
)
def test_the_golden_instants(trigger: str, opens: str, dispatch: str | None) -> None:
    t0 = at(opens)
    milestone = fact("milestone.reached", t0, {"milestone": "k", "first_success": True})
    event = {"nps_promoter": nps(t0), "milestone": milestone, "renewal": renewed(t0)}[trigger]
    result = play([*a_customer(t0), event])
    if dispatch is None:
        assert story(result, trigger, t0) == [("suppressed", shown(t0))]
        assert blocking(result.decisions[-1]) == {"moment": "never"}
    else:
        assert story(result, trigger, t0) == [("pending", shown(t0)), ("asked", shown(at(dispatch)))]
        assert asked(result) == [(trigger, shown(at(dispatch)))]


def test_an_event_that_comes_late_finds_only_what_is_left_of_its_window() -> None:
    t0, arrives = at("Tue 10:00"), at("Wed 09:00")
    assert asked(play([*a_customer(t0), nps(t0, arrives=arrives)])) == [("nps_promoter", shown(arrives))]


def test_a_detractor_is_never_asked_however_good_the_rest() -> None:
    t0 = at("Tue 10:00")
    result = play([*a_customer(t0), nps(t0 - timedelta(days=80), 3, "old"), renewed(t0)])
    assert asked(result) == []
    assert blocking(result.decisions[-1])["trouble"] == shown(t0 + timedelta(days=10))


def test_a_score_corrected_downward_cancels_before_the_ask_and_after_it() -> None:
    t0 = at("Thu 15:00")
    before = play([*a_customer(t0), nps(t0), nps(t0 + timedelta(hours=1), 8)])
    assert story(before, "nps_promoter", t0)[-1] == ("cancelled", shown(t0 + timedelta(hours=1)))
    corrected = at("Fri 14:00")
    after = play([*a_customer(t0), nps(t0), nps(corrected, 8)])
    assert [row["type"] for row in after.asks] == ["referral.ask.requested", "referral.ask.cancelled"]
    assert after.asks[1]["time"] == shown(corrected)


def test_nothing_is_cancelled_once_it_was_sent() -> None:
    t0 = at("Thu 15:00")
    command = uid("command", "ada", "nps_promoter", "r1", 1)
    sent = fact("ask.acknowledged", at("Fri 13:01"), {"command_id": command, "status": "sent"})
    result = play([*a_customer(t0), nps(t0), sent, fact("complaint.made", at("Fri 14:00"))])
    assert [row["type"] for row in result.asks] == ["referral.ask.requested"]


def test_of_two_rivals_the_larger_priority_speaks_and_the_other_is_superseded() -> None:
    t0 = at("Tue 10:00")
    result = play([*a_customer(t0), fact("compliment.given", t0), nps(t0 + timedelta(minutes=3))])
    assert asked(result) == [("positive_feedback", shown(at("Tue 10:20")))]
    result = play([*a_customer(t0), fact("compliment.given", t0), nps(t0)])
    assert asked(result) == [("nps_promoter", shown(at("Tue 10:20")))]
    assert story(result, "positive_feedback", t0)[-1] == ("superseded", shown(at("Tue 10:20")))


def test_in_the_app_only_an_event_is_a_moment_and_not_inside_a_critical_task() -> None:
    t0 = at("Tue 20:30")
    started = fact("task.started", at("Tue 21:00"), {"task_id": "t"})
    seen = [fact("dashboard.viewed", at(f"Tue {when}"), {"metrics_positive": True}) for when in ("20:40", "22:00")]
    done = fact("workflow.completed", at("Tue 23:00"))
    result = play([*a_customer(t0, channels="in_app"), nps(t0), started, *seen, done])
    assert asked(result) == [
        ("nps_promoter", shown(at("Tue 23:00")))
    ]  # 22:00 is inside the task, which lapses at 23:00
    assert result.asks[0]["data"]["expires_at"] == shown(at("Wed 00:00"))


def test_the_first_good_moment_on_the_telephone_wins_over_a_later_slot() -> None:
    t0 = at("Tue 10:00")
    raised = fact("call.concern_raised", at("Thu 09:00"), {"call_id": "c1"})
    early = fact("call.moment", at("Thu 09:10"), {"kind": "check_in", "call_id": "c1"})
    addressed = fact("call.concern_addressed", at("Thu 09:20"), {"call_id": "c1"})
    good = fact("call.moment", at("Thu 09:30"), {"kind": "check_in", "call_id": "c1"})
    result = play([*a_customer(t0, channels="email phone"), renewed(t0), raised, early, addressed, good])
    assert asked(result) == [("renewal", shown(at("Thu 09:30")))]
    assert result.asks[0]["data"]["channels"] == ["phone", "email"]


def test_the_best_score_of_an_account_asks_and_gate_9_holds_the_other() -> None:
    t0 = at("Tue 10:00")
    facts = a_customer(t0, "bob", account_id="acme") + a_customer(t0, "amy", account_id="acme", score=60)
    result = play([*facts, nps(t0, who="amy"), nps(t0, who="bob")])
    assert [row["subject"] for row in result.asks] == ["bob"]
    last = next(row for row in reversed(result.decisions) if row["subject"] == "amy")
    assert (last["data"]["outcome"], blocking(last)) == ("suppressed", {"account": shown(at("Tue 10:20") + 14 * DAY)})


def test_a_failed_ask_frees_the_customer_and_a_silent_worker_does_not() -> None:
    t0, again = at("Tue 10:00"), at("Wed 10:00")
    command = uid("command", "ada", "nps_promoter", "r1", 1)
    failed = fact("ask.acknowledged", at("Tue 11:00"), {"command_id": command, "status": "failed"})
    facts = [*a_customer(t0), nps(t0), fact("compliment.given", again)]
    assert [trigger for trigger, _ in asked(play(facts))] == ["nps_promoter"]
    assert asked(play([*facts, failed]))[-1] == ("positive_feedback", shown(at("Wed 10:20")))


def test_a_pause_holds_what_is_live_until_it_ends() -> None:
    t0 = at("Tue 10:00")
    switch = {"scope": "trigger", "name": "nps_promoter", "by": "ops", "why": "a test"}
    paused = fact("control.paused", at("Tue 10:10"), switch)
    resumed = fact("control.resumed", at("Tue 15:00"), switch)
    result = play([*a_customer(t0), nps(t0), paused, resumed])
    assert story(result, "nps_promoter", t0) == [
        ("pending", shown(t0)),
        ("deferred", shown(at("Tue 10:20"))),
        ("asked", shown(at("Tue 15:00"))),
    ]


def test_too_many_openings_in_an_hour_pause_the_trigger() -> None:
    t0 = at("Tue 10:00")
    names = ["a", "b", "c"]
    facts = [record for name in names for record in a_customer(t0, name)]
    facts += [nps(t0 + timedelta(minutes=30 * n), who=name) for n, name in enumerate(names)]
    whens = [when for _, when in asked(play(facts, burst_floor=1))]  # the second opens at 10:30, in the same hour
    assert whens == [shown(at("Tue 10:20")), shown(at("Tue 16:30")), shown(at("Tue 16:30"))]
    assert len(asked(play(facts, burst_floor=2))) == 3


def test_usage_that_fell_by_forty_percent_is_trouble_from_the_next_midnight_on() -> None:
    t0 = at("Tue 10:00")
    noon = datetime(2026, 6, 16, 12, tzinfo=UTC)
    daily = [fact("usage.recorded", noon - n * DAY, {"count": 60 if n <= 7 else 100}) for n in range(1, 40)]
    fell = play([*a_customer(t0), *daily, nps(t0)])
    assert blocking(fell.decisions[-1])["trouble"] == "usage.recorded"
    steady = [fact("usage.recorded", noon - n * DAY, {"count": 61 if n <= 7 else 100}) for n in range(1, 40)]
    assert len(asked(play([*a_customer(t0), *steady, nps(t0)]))) == 1


def test_a_converted_referral_asks_again_thirty_days_later_unless_it_is_refunded() -> None:
    t0 = at("Tue 10:00") - 30 * DAY
    change = {"referral_id": "f1", "status": "converted"}
    facts = [*a_customer(t0, score=95), nps(t0 - 100 * DAY, 9, "old"), fact("referral.status_changed", t0, change)]
    facts.append(fact("interaction.recorded", at("Mon 12:00") - 7 * DAY, {"kind": "call"}))
    assert asked(play(facts))[-1] == ("referral_converted", shown(at("Fri 13:00")))
    refunded = fact("referral.status_changed", t0 + DAY, change | {"status": "refunded"})
    assert story(play([*facts, refunded]), "referral_converted", t0) == []


def test_a_redelivery_changes_nothing_and_a_late_rival_repeat_is_a_duplicate() -> None:
    t0 = at("Thu 15:00")
    facts = [*a_customer(t0), nps(t0)]
    assert play([*facts, nps(t0, arrives=t0 + DAY / 24)]) == play(facts)
    repeated = play([*facts, nps(t0 + DAY / 24, 10, "r2")])
    assert [outcome for outcome, _ in story(repeated, "nps_promoter", t0)] == ["pending", "duplicate", "asked"]
    assert [row["data"]["n"] for row in repeated.decisions[-3:]] == [1, 2, 3]


def test_who_is_erased_is_never_spoken_to_again() -> None:
    t0 = at("Thu 15:00")
    gone = fact("customer.erasure_requested", at("Thu 16:00"))
    result = play([*a_customer(t0), nps(t0), gone, nps(at("Thu 17:00"), 10, "r2")])
    assert story(result, "nps_promoter", t0) == [("pending", shown(t0)), ("suppressed", shown(at("Thu 16:00")))]


def test_the_later_records_of_an_alias_are_those_of_the_customer() -> None:
    t0 = at("Tue 10:00")
    result = play([*a_customer(t0), fact("customer.aliased", t0 - DAY, {"alias": "ada-2"}), nps(t0, who="ada-2")])
    assert [row["subject"] for row in result.asks] == ["ada"]


def test_a_held_out_customer_is_told_apart_only_at_the_moment() -> None:
    t0 = at("Tue 10:00")
    result = play([*a_customer(t0), nps(t0)], holdout_share=1)
    assert story(result, "nps_promoter", t0) == [("pending", shown(t0)), ("holdout", shown(at("Tue 10:20")))]
    assert (asked(result), result.decisions[-1]["data"]["next_eligible_at"]) == ([], shown(at("Tue 10:20") + 90 * DAY))


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        ({"type": "nobody.knows"}, 0),
        ({"subject": None}, 0),
        ({"subject": None, "data": {"response_id": "r1", "score": 8}}, 1),
        ({"subject": "{{user.id}}", "data": {"response_id": "r1", "score": 8}}, 1),
        ({"data": {"response_id": "r1", "score": 11}}, 1),
        ({"data": {"score": 9}}, 1),
        ({"time": "tomorrow"}, 1),
        ({"time": "2026-06-17T08:00:00Z"}, 0),
        ({"time": "2026-06-17T08:00:00.001Z"}, 1),
    ],
)
def test_an_unknown_type_is_skipped_and_a_bad_event_is_a_dead_letter(change: Body, dead: int) -> None:
    record = nps(at("Tue 10:00"))
    record["value"] |= change
    assert len(play([record]).dead_letters) == dead


@pytest.mark.parametrize(
    ("stated", "t0"),
    [
        ("2026-06-16T07:00:00Z", "2026-06-16T07:00:00.000Z"),
        ("2026-06-16T08:00:01Z", "2026-06-16T08:00:00.000Z"),
        ("2026-06-17T08:00:00Z", "2026-06-16T08:00:00.000Z"),
        ("1999-12-31T23:59:59.999Z", "2026-06-16T08:00:00.000Z"),
        (None, "2026-06-16T08:00:00.000Z"),
    ],
)
def test_nothing_happened_later_than_it_is_known(stated: str | None, t0: str) -> None:
    record = nps(at("Tue 10:00"))
    record["value"]["time"] = stated
    result = play([*a_customer(at("Tue 10:00")), record])
    assert result.decisions[-1]["data"]["window"]["opens"] == t0


@pytest.mark.parametrize(
    ("wall", "fold", "utc"),
    [
        ("2026-03-29 01:59:59", 0, "2026-03-29T00:59:59.000Z"),
        ("2026-03-29 02:30", 0, "2026-03-29T01:00:00.000Z"),
        ("2026-03-29 02:30", 1, "2026-03-29T01:00:00.000Z"),
        ("2026-03-29 03:00", 0, "2026-03-29T01:00:00.000Z"),
        ("2026-10-25 02:30", 0, "2026-10-25T00:30:00.000Z"),
        ("2026-10-25 02:30", 1, "2026-10-25T01:30:00.000Z"),
    ],
)
def test_a_wall_time_that_does_not_exist_is_the_end_of_the_gap(wall: str, fold: int, utc: str) -> None:
    assert shown(instant_of(datetime.fromisoformat(wall), BERLIN, fold)) == utc


def test_next_midnight_on_days_of_23_and_25_hours_and_where_it_is_skipped() -> None:
    def hours(day: date, zone: str) -> float:
        start = instant_of(datetime.combine(day, datetime.min.time()), zone)
        return (next_midnight(start, [zone]) - start) / timedelta(hours=1)

    assert hours(date(2026, 3, 29), BERLIN) == 23
    assert hours(date(2026, 10, 25), BERLIN) == 25
    assert hours(date(2026, 4, 23), "Africa/Cairo") == 24
    assert hours(date(2026, 4, 24), "Africa/Cairo") == 23
