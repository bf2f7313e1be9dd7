"""Figures of what asking does: those of the log, kept up to date in Redis (after §7)."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, parse_instant, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.metrics.records import Records
from referral_stream.metrics.report import report
from referral_stream.metrics.sums import SILENT_DAYS, Dimension
from referral_stream.read_models.reader import Reader
from referral_stream.read_models.views import Metric
from referral_stream.read_models.works import BREAKDOWNS, difference, metric, sums_of
from tests.read_models.seeding import Applying, a_record, an_ask, cloud_event
from tests.rules import rule

NOW = parse_instant("2026-09-10T12:30:00Z")[0]
TRIGGERS = ("nps_promoter", "renewal", 'a "strange|one"')
GATES = ("trouble", "consent", "moment", "account", "propensity", "too_early")


def a_random_record(random: Random, customer: str, at: int) -> dict[str, Any]:
    """Whatever a record may say: of many months, on and beside every boundary."""
    asks = []
    for n in range(random.choice((0, 0, 1, 1, 2, 4))):
        asked_at = at - random.choice(
            (random.randrange(420 * DAY), SILENT_DAYS * DAY, SILENT_DAYS * DAY - random.randrange(-5, 5), HOUR)
        )
        ask = an_ask(f"{customer}-{n}", asked_at, random.choice(TRIGGERS), referrals=random.choice((0, 0, 1)))
        ask["decided_at"] = rfc3339(asked_at + random.choice((0, 40, 999, 1_000, 1_001, random.randrange(90 * SECOND))))
        ask["kind"] = random.choice(("asked", "asked", "soft", "holdout", "shadow"))
        if random.random() < 0.3:
            del ask["sent_at"]
        if random.random() < 0.4:
            ask["answer"] = random.choice(("yes", "maybe", "no", "stop", "unclear"))
        if random.random() < 0.1:
            ask[random.choice(("cancelled", "failed"))] = True
        asks.append(ask)
    contacts = [
        {
            "referral_id": f"r-{n}", "consented": True, "status": random.choice(("given", "converted")),
            "referred_date": rfc3339(at - random.randrange(420 * DAY))[:10],
        }
        | ({"command_id": random.choice(asks)["command_id"]} if asks and random.random() < 0.7 else {})
        | ({"deal_value_minor": random.randrange(9_000)} if random.random() < 0.7 else {})
        | ({"currency": random.choice(("eur", "EUR", "usd"))} if random.random() < 0.7 else {})
        for n in range(random.choice((0, 0, 1, 3)))
    ]  # fmt: skip
    months: list[dict[str, Any]] = [
        {
            "month": rfc3339(at - random.randrange(430 * DAY))[:7], "trigger": random.choice(TRIGGERS),
            "opened": random.randrange(4, 7), "missed": random.randrange(2), "eligible": random.randrange(2),
            "blocked": {random.choice(GATES): random.randrange(3)},
        }
        for _ in range(random.randrange(4))
    ]  # fmt: skip
    for each in months:
        each["asked"] = each["eligible"] * random.randrange(2)
    emitted = [ask["asked_at"] for ask in asks if ask["kind"] in ("asked", "soft")]
    first = {"first_asked_at": min(emitted)} if emitted else {}
    more: dict[str, Any] = {
        "asks": asks, "referred_contacts": contacts, "months": months,
        "referral_history": {"times_asked": len(emitted), "referrals_given": 0, "referrals_converted": 0} | first,
        "signed_up_at": rfc3339(at - random.choice((random.randrange(1_200 * DAY), 7 * DAY, MINUTE))),
        "followups": {kind: {"requested": 2, "late": random.randrange(3)} for kind in random.sample(["a", "b"], 1)},
    }  # fmt: skip
    record: dict[str, Any] = orjson.loads(a_record(customer, at, **more))["data"]
    if random.random() < 0.3:
        del record["segment"]
    else:
        record["segment"] = random.choice(("smb", "enterprise"))
    return record


def of_all(records: Records) -> list[Metric]:
    """The figures as the log gives them, in the form in which readers of the projector's get theirs."""
    found: list[Metric] = []
    for by in BREAKDOWNS:
        told = report(records, Policy(), by=by)
        groups = told.groups if by else {(): told.total}
        for group, figures in groups.items():
            labels: dict[str, str] = {dimension: value or "none" for dimension, value in zip(by, group, strict=True)}
            found += [row for name, each in figures.items() if (row := metric(name, each, labels)) is not None]
    return found


async def same_everywhere(client: Redis, prefix: str, seed: int, count: int) -> Records:
    """A life of records, told to both."""
    random, records = Random(seed), Records()
    world = Applying(client, prefix=prefix, now=NOW)
    customers = [f"cus-{n}" for n in range(max(1, count // 2))]
    for n in range(count):
        customer, at = random.choice(customers), NOW + n * HOUR + random.randrange(1_000)
        if random.random() < 0.12:
            records.take(customer, None)
            await world.record_forgotten(customer, at)
            continue
        if random.random() < 0.1:
            at -= 40 * DAY  # it comes late: what is newer stays
        body = a_random_record(random, customer, at)
        records.take(customer, body)
        await world.records(cloud_event("referral.record.changed", at, body))
    live, log = await Reader(client, prefix=prefix).works(), report(records, Policy())
    assert (live.as_of, live.customers) == (log.as_of, log.customers)
    if log.as_of is not None:
        assert (live.since, live.until) == log.period
        assert list(live.metrics) == of_all(records)
    assert await world.writer.works() == live
    return records


@rule("A7.2")
async def test_the_projector_has_the_figures_of_the_log(client: Redis, prefix: str) -> None:
    """Newer records, late ones and tombstones among them; with enough of all for figures to have values."""
    records = await same_everywhere(client, prefix, seed=7, count=500)
    with_values = {each.name for each in of_all(records) if each.value is not None and not each.labels}
    assert with_values >= {"ask_rate", "silent", "time_to_ask_p50", "punctuality_p99", "revenue_EUR", "conversion"}


@rule("A7.2")
async def test_and_of_any_other(client: Redis, prefix: str) -> None:
    for seed in range(12):
        await same_everywhere(client, f"{prefix}-{seed}", seed, count=20)


async def test_of_nothing_nothing_is_said(client: Redis, prefix: str) -> None:
    works = await Reader(client, prefix=prefix).works()
    assert (works.as_of, works.customers, works.metrics) == (None, 0, ())


async def test_what_is_erased_leaves_no_sums(client: Redis, prefix: str) -> None:
    world = Applying(client, prefix=prefix, now=NOW)
    await world.records(a_record("ana", NOW, asks=[an_ask("ana", NOW - DAY)]))
    await world.record_forgotten("ana", NOW + 1)
    left = [key async for key in client.scan_iter(f"{prefix}:*") if b"figures" in key or b"recorded" in key]
    assert left == []


@given(old=st.integers(0, 500), new=st.integers(501, 1_000))
@settings(max_examples=20, deadline=None)
def test_replacing_a_record_leaves_nothing_of_the_old_one(old: int, new: int) -> None:
    first, second = (a_random_record(Random(seed), "ana", NOW) for seed in (old, new))
    sums = sums_of(first)
    sums.update(difference(first, second))
    assert {names: count for names, count in sums.items() if count} == sums_of(second)
    sums.update(difference(second, None))
    assert not any(sums.values())


def test_of_fewer_than_thirty_nothing_is_said() -> None:
    by: tuple[Dimension, ...] = ()
    record = orjson.loads(a_record("ana", NOW))["data"]
    rate = metric("ask_rate", report(Records([("ana", record)]), Policy(), by=by).total["ask_rate"], {})
    assert rate is not None
    assert (rate.value, rate.low, rate.text) == (None, None, "not enough data yet (1 of 30)")
