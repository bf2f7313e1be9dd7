"""Figures: what is in the numerator, what in the denominator, and when nothing is said."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from referral_stream.core.instants import DAY, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.metrics.figures import Figure, Money, Percentile, Share, Unavailable, percentile
from referral_stream.metrics.observed import Period, period_of
from referral_stream.metrics.records import RecordBody, Records
from referral_stream.metrics.report import as_data, figure_data, report
from referral_stream.metrics.sums import Dimension
from tests.metrics.records import LONG_AGO, NOW, a_month, a_record, a_referral, all_of, an_ask
from tests.rules import rule

ASKED = "asks that were not taken back"


def total(*records: RecordBody, **options: Any) -> dict[str, Figure]:
    return report(all_of(*records), Policy(), **options).total


def grouped(*records: RecordBody, by: tuple[Dimension, ...]) -> dict[tuple[str | None, ...], dict[str, Figure]]:
    return report(all_of(*records), Policy(), by=by).groups


# ---- one by one


@rule("A7.3")
def test_the_ask_rate_counts_customers_and_keeps_the_held_out_in_its_denominator() -> None:
    found = total(
        a_record("ana", months=(a_month(eligible=3, asked=1), a_month("2026-04", "renewal", eligible=1, asked=1))),
        a_record("ben", months=(a_month(eligible=1, held_out=1),)),
        a_record("eve", months=(a_month(opened=4, blocked={"trouble": 4}),)),
    )
    assert found["ask_rate"] == Share(1, 2, "eligible customers")


@rule("A7.3")
def test_conversion_is_of_asks_neither_cancelled_nor_failed_unsent() -> None:
    found = total(
        a_record(
            "ana",
            an_ask("c1", referrals=2),
            an_ask("c2", kind="soft"),
            an_ask("c3", cancelled=True, referrals=1),
            an_ask("c4", failed=True),
            an_ask("c5", kind="holdout", referrals=1),
            an_ask("c6", kind="shadow"),
        )
    )
    assert found["conversion"] == Share(1, 2, ASKED)


@rule("A7.3")
def test_quality_and_referrals_per_customer_asked() -> None:
    found = total(
        a_record("ana", months=(a_month(asked=2),), referrals=(a_referral("r1", status="converted"), a_referral("r2"))),
        a_record("ben", months=(a_month(asked=1),), referrals=(a_referral("r3", status="refunded"),)),
        a_record("eve", months=(a_month(held_out=1),)),
    )
    assert found["quality"] == Share(1, 3, "referrals given")
    assert (found["referrals_per_customer"].count, found["referrals_per_customer"].of) == (3, 2)  # type: ignore[union-attr]


@rule("A7.3")
def test_revenue_is_a_sum_for_each_currency_of_what_is_converted_now() -> None:
    """growthbook#4364 and the like: nothing is divided, and no two currencies are added."""
    deals = [
        a_referral("r1", status="converted", deal_value_minor=100, currency="eur"),
        a_referral("r2", status="converted", deal_value_minor=2**53, currency="EUR"),
        a_referral("r3", status="converted", deal_value_minor=7, currency="JPY"),
        a_referral("r4", status="converted", deal_value_minor=9),
        a_referral("r5", status="refunded", deal_value_minor=1_000, currency="EUR"),
        a_referral("r6", status="converted"),
    ]
    found = total(a_record("ana", referrals=tuple(deals)))
    assert [each for each in found.values() if isinstance(each, Money)] == [
        Money(2**53 + 100, "EUR", 2, "referrals converted with a deal"),
        Money(7, "JPY", 1, "referrals converted with a deal"),
        Money(9, "XXX", 1, "referrals converted with a deal"),
    ]


@rule("A7.3", "A7.4")
def test_time_to_ask_and_punctuality_are_percentiles_by_nearest_rank() -> None:
    records = [
        a_record(f"c{n}", an_ask(decided_at=rfc3339(LONG_AGO + n * 1_000)), signed_up_at=rfc3339(LONG_AGO - n * DAY))
        for n in range(1, 41)
    ]
    found = total(*records, a_record("later", an_ask()))
    values = {name: (figure.value, figure.of) for name, figure in found.items() if isinstance(figure, Percentile)}
    assert values == {
        "time_to_ask_p50": (20, 40), "time_to_ask_p90": (36, 40),
        "punctuality_p50": (20, 41), "punctuality_p99": (40, 41),
    }  # fmt: skip


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (51, 3), (90, 4), (99, 4), (25, 1)])
def test_the_nearest_rank(percent: int, expected: int) -> None:
    assert percentile(Counter([1, 2, 3, 4]), percent, "", "days").ms == expected
    assert percentile({}, percent, "", "days").ms is None


@rule("A7.3")
def test_misses_and_the_top_gates_are_of_occasions_opened() -> None:
    blocked = {"trouble": 5, "account": 4, "answers": 4, "advocacy": 3, "channel": 2, "approval": 1}
    found = total(
        a_record("ana", months=(a_month(opened=20, missed=1, blocked=blocked), a_month("2026-04", opened=5, missed=2)))
    )
    assert found["misses"] == Share(3, 25, "occasions opened")
    assert [name for name in found if name.startswith("blocked_")] == [
        "blocked_trouble", "blocked_account", "blocked_answers", "blocked_advocacy", "blocked_channel",
    ]  # fmt: skip
    assert found["blocked_trouble"] == Share(5, 25, "occasions opened")


@rule("A7.3")
def test_answers_by_word_and_silence() -> None:
    sent: dict[str, Any] = {"sent_at": rfc3339(LONG_AGO + 1)}
    found = total(
        a_record(
            "ana",
            an_ask("c1", answer="yes", **sent),
            an_ask("c2", answer="unclear", **sent),
            an_ask("c3", **sent),
            an_ask("c4", referrals=1, **sent),
            an_ask("c5"),
            an_ask("c6", at=NOW - 14 * DAY, sent_at=rfc3339(NOW - 14 * DAY)),
            an_ask("c7", at=NOW - 14 * DAY + 1, sent_at=rfc3339(NOW)),
        )
    )
    assert [found[f"answer_{word}"] for word in ("yes", "unclear", "no")] == [
        Share(1, 7, ASKED), Share(1, 7, ASKED), Share(0, 7, ASKED),
    ]  # fmt: skip
    assert found["silent"] == Share(2, 5, "asks sent, 14 days old")


@rule("A7.3")
def test_follow_ups_late() -> None:
    followups = {"thank": {"requested": 3, "late": 1}, "take_care": {"requested": 1, "unreachable": 4}}
    assert total(a_record("ana", followups=followups))["followups_late"] == Share(1, 4, "follow-ups, ever")


# ---- not enough data


@rule("A7.5")
@pytest.mark.parametrize(("of", "value"), [(0, None), (29, None), (30, 0.3333)])
def test_below_thirty_nothing_is_said(of: int, value: float | None) -> None:
    share = Share(of // 3, of, "asks")
    told = figure_data(share)
    assert (share.value, told["value"], "low" in told) == (value, value, value is not None)
    if value is None:
        assert told["text"] == f"not enough data yet ({of} of 30)"


def test_no_records_are_no_error() -> None:
    found = as_data(report(Records(), Policy(), by=("trigger",)))
    assert (found["as_of"], found["customers"], found["groups"]) == (None, 0, [])
    total = found["total"]
    families = [total.pop(name) for name in ("answers", "time_to_ask", "punctuality")]
    figures = [*total.values(), *(each for family in families for each in family.values())]
    assert {each["text"] for each in figures} == {"not enough data yet (0 of 30)"}


# ---- months and groups


@rule("A7.1", "A13.20")
def test_by_default_the_month_of_the_newest_record_and_the_twelve_before() -> None:
    records = all_of(a_record("ana"), a_record("ben", recorded_at="2025-12-31T23:59:59.999Z"))
    assert period_of(records) == Period("2025-06", "2026-06")
    assert period_of(records, since="2026-01") == Period("2026-01", "2026-06")
    assert period_of(records, until="2026-02") == Period("2025-06", "2026-02")


@rule("A7.1")
def test_months_are_inclusive_and_those_of_the_occasion() -> None:
    asks = [
        an_ask(f"c{n}", t0=f"{month}T23:00:00.000Z")
        for n, month in enumerate(("2026-01-31", "2026-02-01", "2026-03-31"))
    ]
    record = a_record(
        "ana", *asks, months=tuple(a_month(m, opened=1) for m in ("2026-01", "2026-02", "2026-03", "2026-04"))
    )  # fmt: skip
    found = total(record, since="2026-02", until="2026-03")
    assert (found["conversion"], found["misses"]) == (Share(0, 2, ASKED), Share(0, 2, "occasions opened"))


@rule("A7.3")
def test_a_referral_is_of_the_month_of_its_ask_and_else_of_its_own() -> None:
    ask = an_ask("c1", t0="2026-02-28T12:00:00.000Z")
    record = a_record(
        "ana", ask, referrals=(a_referral("r1", command="c1"), a_referral("r2"), a_referral("r3", command="old"))
    )
    found = {group: figures["quality"] for group, figures in grouped(record, by=("month",)).items()}
    assert found == {("2026-02",): Share(0, 1, "referrals given"), ("2026-03",): Share(0, 2, "referrals given")}


@rule("A7.1", "A7.3")
@pytest.mark.parametrize("by", ["segment", "trigger", "template", "mode", "channel", "arm", "month"])
def test_the_groups_add_up_to_the_total(by: Dimension) -> None:
    """growthbook#4036, #6849: counts that are wrong once there is a dimension."""
    records = [
        a_record(
            f"c{n}",
            an_ask(f"c{n}", template=f"t{n % 3}", channel=("email", "phone")[n % 2], referrals=n % 2,
                   arm=(None, "x/a")[n % 2], trigger=("renewal", "milestone")[n % 2],
                   t0=f"2026-0{1 + n % 3}-10T00:00:00.000Z"),
            referrals=(a_referral(f"r{n}", command=f"c{n}"),) if n % 2 else (),
            segment=("smb", "enterprise", None)[n % 3],
        )
        for n in range(40)
    ]  # fmt: skip
    whole = total(*records)
    for name in ("conversion", "quality", "silent", "answer_no"):
        parts = [figures[name] for figures in grouped(*records, by=(by,)).values()]
        counts = [(part.count, part.of) for part in parts if isinstance(part, Share)]
        assert tuple(map(sum, zip(*counts, strict=True))) == (whole[name].count, whole[name].of)  # type: ignore[union-attr]


@rule("A7.3")
def test_customers_are_counted_once_in_each_group_and_once_in_all() -> None:
    """PostHog#8600, #3953: counts per day that do not add up to people; here the total is of distinct people."""
    record = a_record("ana", months=(a_month("2026-03", eligible=2, asked=2), a_month("2026-04", eligible=1, asked=1)))
    assert [figures["ask_rate"] for figures in grouped(record, by=("month",)).values()] == [
        Share(1, 1, "eligible customers")
    ] * 2
    assert total(record)["ask_rate"] == Share(1, 1, "eligible customers")


@rule("A7.3")
@pytest.mark.parametrize("by", ["template", "mode", "channel", "arm"])
def test_what_only_an_ask_has_does_not_break_down_occasions(by: Dimension) -> None:
    record = a_record("ana", an_ask(), months=(a_month(opened=9, eligible=2, asked=2),), segment="smb")
    (figures,) = grouped(record, by=(by, "segment")).values()
    why = Unavailable(f"not by {by}: only an ask has one")
    assert [figures[name] for name in ("ask_rate", "misses", "referrals_per_customer")] == [why] * 3
    assert figures["conversion"] == Share(0, 1, ASKED)


def test_groups_come_in_order_and_what_is_unknown_last() -> None:
    records = [
        a_record(name, an_ask(), segment=segment) for name, segment in (("a", "smb"), ("b", None), ("c", "enterprise"))
    ]
    assert list(grouped(*records, by=("segment", "trigger"))) == [
        ("enterprise", "nps_promoter"), ("smb", "nps_promoter"), (None, "nps_promoter"),
    ]  # fmt: skip


# ---- the newest record of everyone


@rule("A7.1")
def test_a_record_counts_once_however_often_and_in_whatever_order_it_comes() -> None:
    """flask_mab#42, Eignex/kumulant#77: a reward applied again; results that depend on the order of arrival."""
    old = a_record("ana", an_ask(), recorded_at="2026-05-01T00:00:00.000Z")
    new = a_record("ana", an_ask(referrals=1), recorded_at="2026-06-01T00:00:00.000Z")
    for told in ((old, new), (new, old), (new, new, old, new)):
        assert total(*told)["conversion"] == Share(1, 1, ASKED)


def test_who_was_erased_counts_for_nothing() -> None:
    records = all_of(a_record("ana", an_ask()), a_record("ben"))
    records.take("ana", None)
    records.take("nobody", None)
    assert (len(records), report(records, Policy()).total["conversion"]) == (1, Share(0, 0, ASKED))
