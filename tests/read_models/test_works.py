"""Figures of what asking does, from sums that records add to (after §7)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant, rfc3339
from referral_stream.read_models.views import Metric
from referral_stream.read_models.works import added_by, difference, wilson, works_of
from tests.read_models.seeding import a_record, an_ask

NOW = parse_instant("2026-09-10T12:30:00Z")[0]
FIRST = {"first_asked_at": rfc3339(NOW)}


def body(customer: str, **more: Any) -> dict[str, Any]:
    return dict(orjson.loads(a_record(customer, NOW, **more))["data"])


def months(month: str = "2026-09", trigger: str = "nps_promoter", **counts: int) -> list[dict[str, Any]]:
    return [{"month": month, "trigger": trigger, **counts}]


def found(records: list[dict[str, Any]], now: int = NOW) -> dict[tuple[str, ...], Metric]:
    sums: Counter[str] = Counter()
    for record in records:
        sums.update(added_by(record))
    return {(each.name, *each.labels.values()): each for each in works_of(sums, now).metrics}


def asked(number: int, **more: Any) -> dict[str, Any]:
    """A customer with an ask, of the month of NOW."""
    ask = an_ask(f"cus-{number}", NOW - 20 * DAY, **more)
    return body(f"cus-{number}", asks=[ask], months=months(opened=1, eligible=1, asked=1))


def test_rates_have_their_counts_and_wilsons_interval() -> None:
    records = [asked(n, referrals=int(n < 8)) for n in range(32)] + [
        body(f"x-{n}", months=months(opened=2, eligible=1, missed=1)) for n in range(32)
    ]
    seen = found(records)
    rate = seen["ask_rate",]
    assert (rate.value, rate.count, rate.of) == (0.5, 32, 64)
    assert (rate.low, rate.high) == wilson(32, 64)
    assert (seen["conversion",].value, seen["conversion", "nps_promoter"].of) == (0.25, 32)
    assert seen["misses",].value == round(32 / 96, 4)
    assert seen["silent",].count == 24, "sent 20 days ago, neither answered nor with a referral"
    assert seen["punctuality_seconds", "0.99"].value == 0.04


@pytest.mark.parametrize(("count", "of", "low", "high"), [(25, 100, 0.1755, 0.343), (0, 30, 0.0, 0.1135)])
def test_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of) == (low, high)


def test_of_fewer_than_thirty_nothing_is_said() -> None:
    rate = found([asked(n) for n in range(29)])["ask_rate",]
    assert (rate.value, rate.low, rate.text) == (None, None, "not enough data yet (29 of 30)")


def test_what_was_taken_back_or_failed_counts_for_no_conversion() -> None:
    seen = found([asked(1, cancelled=True), asked(2, failed=True), asked(3)])
    assert seen["conversion",].of == 1


def test_a_month_that_is_over_counts_no_more() -> None:
    old = [body(f"cus-{n}", months=months("2025-09", opened=1, eligible=1)) for n in range(40)]
    assert found(old)["ask_rate",].of == 40
    later = parse_instant("2026-10-01T00:00:00Z")[0]
    assert sum(each.of for key, each in found(old, later).items() if key[0] == "ask_rate") == 0


def test_a_customer_counts_once_however_many_occasions_there_were() -> None:
    several = [*months("2026-07", eligible=1, asked=1), *months("2026-08", eligible=3, asked=2)]
    assert found([body("ana", months=several)])["ask_rate",].of == 1


def test_money_by_currency_and_time_to_ask() -> None:
    contact = {"referral_id": "r", "consented": True, "referred_date": "2026-09-01", "status": "converted"}
    deals = [{**contact, "deal_value_minor": 900, "currency": "eur"}, {**contact, "deal_value_minor": 5}]
    history = {"times_asked": 1, "referrals_given": 2, "referrals_converted": 2, "propensity_score": 65} | FIRST
    records = [
        body(
            f"cus-{n}", referred_contacts=deals, referral_history=history, signed_up_at=rfc3339(NOW - 5 * DAY - MINUTE)
        )
        for n in range(30)
    ]
    seen = found(records)
    assert (seen["revenue_minor", "EUR"].value, seen["revenue_minor", "XXX"].value) == (27_000, 150)
    assert seen["time_to_ask_seconds", "0.5"].value == 5 * DAY // HOUR * 3_600
    assert seen["quality",].value == 1.0


def test_replacing_a_record_leaves_nothing_of_the_old_one() -> None:
    old, new = asked(1, answer="yes"), body("cus-1")
    sums = Counter(added_by(old))
    sums.update(difference(old, new))
    assert {name: count for name, count in sums.items() if count} == added_by(new)
    sums.update(difference(new, None))
    assert not any(sums.values())
