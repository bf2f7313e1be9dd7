"""What a page gets, from read models on a real Redis."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant
from referral_stream.read_models import DecisionFilter, DecisionRow, Reader
from tests.read_models.seeding import Applying, a_decision, seed

NOW = parse_instant("2026-09-10T12:30:00Z")[0]


@pytest.fixture
async def reader(client: Redis, prefix: str) -> Reader:
    await seed(client, prefix=prefix, now=NOW)
    return Reader(client, prefix=prefix)


async def test_now_shows_what_was_asked_what_waits_and_behind_which_gate(reader: Reader) -> None:
    hours = await reader.hours(NOW, 24)
    assert [hour.start for hour in hours[-2:]] == [NOW - NOW % HOUR - HOUR, NOW - NOW % HOUR]
    assert sum(hour.outcomes.get("asked", 0) for hour in hours) == 10
    assert sum(sum(hour.asks.values()) for hour in hours) == 10
    assert await reader.holding() == {"moment": 10, "approval": 10}
    assert await reader.due_counts("asks", (0, NOW, NOW + 3 * HOUR, NOW + 2 * DAY)) == (0, 10, 10)
    assert ("decide", 12) in [(role.role, role.lag) for role in await reader.roles()]


async def test_what_waits_is_paged_by_when_it_is_due(reader: Reader) -> None:
    page = await reader.pending(limit=15)
    assert page.total == 20
    assert page.next is not None
    rest = await reader.pending(page.next, limit=15)
    assert rest.next is None
    rows = [*page.rows, *rest.rows]
    assert [row.due for row in rows] == sorted(row.due for row in rows)
    assert len({row.opportunity_id for row in rows}) == 20
    assert {row.gates for row in (await reader.approvals()).rows} == {("approval",)}
    assert [row.kind for row in (await reader.followups()).rows] == ["take_care"]
    assert [row.hints for row in (await reader.held_rewards()).rows] == [("same_domain",)]


async def test_a_customer_has_state_record_decisions_and_what_followed(reader: Reader) -> None:
    found = await reader.customer("cus-0")
    assert found is not None
    assert found.state is not None
    assert found.record is not None
    assert [ask["kind"] for ask in found.record["asks"]] == ["asked"]
    assert [decision["outcome"] for decision in found.decisions] == ["asked", "pending"]
    assert {each["type"] for each in found.after} == {"referral.followup.requested", "referral.reward.held"}
    assert await reader.customer("nobody") is None


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (DecisionFilter(), 80),
        (DecisionFilter(outcome="asked"), 10),
        (DecisionFilter(gate="trouble"), 10),
        (DecisionFilter(outcome="deferred", gate="approval"), 10),
        (DecisionFilter(outcome="asked", gate="approval"), 0),
        (DecisionFilter(account="acc-0"), 6),
        (DecisionFilter(customer="cus-1", outcome="pending"), 1),
        (DecisionFilter(since=NOW - MINUTE), 2),
        (DecisionFilter(until=NOW - MINUTE, outcome="asked"), 8),
    ],
)
async def test_decisions_are_filtered_by_all_that_is_set(reader: Reader, wanted: DecisionFilter, count: int) -> None:
    rows: list[DecisionRow] = []
    cursor = None
    while True:
        page = await reader.decisions(wanted, cursor, limit=7)
        rows += page.rows
        if (cursor := page.next) is None:
            break
    assert len(rows) == len({row.decision_id for row in rows}) == count
    assert [row.decided_at for row in rows] == sorted((row.decided_at for row in rows), reverse=True)


async def test_pauses_in_force_and_who_threw_which_switch(reader: Reader) -> None:
    controls = await reader.controls()
    assert [(word.scope, word.name) for word in controls.in_force] == [("segment", "enterprise")]
    assert [word.paused for word in controls.audit] == [True, False, True]


async def test_works_says_nothing_of_fewer_than_thirty(reader: Reader) -> None:
    works = await reader.works()
    found = {(metric.name, *metric.labels.values()): metric for metric in works.metrics}
    assert works.customers == 40
    assert (found["ask_rate",].value, found["ask_rate",].of) == (0.25, 40)
    assert found["conversion",].text == "not enough data yet (10 of 30)"


async def test_only_the_newest_decisions_can_be_filtered(client: Redis, prefix: str) -> None:
    world = Applying(client, prefix=prefix, now=NOW, log_kept=5)
    await world.decisions(*(a_decision("ana", NOW - n * MINUTE, n=n, account="acc") for n in range(12, 0, -1)))
    reader = Reader(client, prefix=prefix)
    for wanted in (DecisionFilter(), DecisionFilter(customer="ana"), DecisionFilter(account="acc")):
        assert len((await reader.decisions(wanted)).rows) == 5
    keys = [key async for key in client.scan_iter(f"{prefix}:*log*")]
    assert {await client.zcard(key) for key in keys if await client.type(key) == b"zset"} == {5}
    found = await reader.customer("ana")
    assert found is not None
    assert len(found.decisions) == 10
