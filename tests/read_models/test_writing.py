"""A batch is applied once, whole, and in whatever order the topics come; what an erasure leaves."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from referral_stream.core.customer import Customer
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant
from referral_stream.core.opportunity import Opportunity
from referral_stream.metrics.records import Records
from referral_stream.read_models import DecisionFilter, NotReadable, Reader
from referral_stream.read_models.writing import OtherForm, Writer, WriteRefused
from tests.read_models.seeding import (
    Applying,
    a_decision,
    a_followup,
    a_held_reward,
    a_record,
    a_switch,
    an_ask,
    cloud_event,
    seed,
)
from tests.read_models.test_works import of_all

NOW = parse_instant("2026-09-10T12:30:00Z")[0]
QUIET = [("moment", "until", NOW + HOUR)]


@pytest.fixture
def world(client: Redis, prefix: str) -> Applying:
    return Applying(client, prefix=prefix, now=NOW)


@pytest.fixture
def reader(client: Redis, prefix: str) -> Reader:
    return Reader(client, prefix=prefix)


async def everything(client: Redis, prefix: str) -> dict[bytes, object]:
    """All that the read models hold, in a form that can be compared; without when it was applied."""
    found: dict[bytes, object] = {}
    async for key in client.scan_iter(f"{prefix}:*"):
        match await client.type(key):
            case b"hash":
                content = await client.hgetall(key)
                content.pop(b"applied_at", None)
                found[key] = content
            case b"zset":
                members: Any = await client.zrange(key, 0, -1, withscores=True)
                found[key] = dict(members)
            case b"list":
                found[key] = await client.lrange(key, 0, -1)
            case _:
                found[key] = await client.get(key)
    return found


def opportunity(customer: str) -> Opportunity:
    id_ = derived_id("opportunity", customer, "nps_promoter", "r-1")
    return Opportunity(id_, "nps_promoter", "r-1", NOW, NOW + DAY, NOW, NOW, NOW)


async def test_a_batch_that_comes_again_changes_nothing(client: Redis, prefix: str, world: Applying) -> None:
    await world.decisions(a_decision("ana", NOW, gates=QUIET))
    before = await everything(client, prefix)
    world.at["referral-decisions"] = None  # a former owner, or this one after a crash behind the write
    again = await world.decisions(a_decision("ana", NOW, gates=QUIET))
    assert (again.done, again.at) == (False, 1)
    assert await everything(client, prefix) == before


async def test_a_server_that_has_lost_its_data_is_noticed_with_the_next_batch(
    client: Redis, prefix: str, world: Applying
) -> None:
    await world.decisions(a_decision("ana", NOW))
    await client.delete(*[key async for key in client.scan_iter(f"{prefix}:*")])
    lost = await world.decisions(a_decision("ana", NOW, n=2))
    assert (lost.done, lost.at) == (False, None)
    assert await everything(client, prefix) == {}


async def feed(world: Applying, topic: str) -> None:
    """What one topic says of four customers, of whom one was erased and one merged."""
    match topic:
        case "d":
            await world.decisions(
                a_decision("ana", NOW, gates=QUIET), a_decision("bo", NOW), a_decision("bo", NOW + 1, "asked", n=2),
                a_decision("cy", NOW, gates=QUIET), a_decision("dee", NOW, gates=QUIET),
            )  # fmt: skip
        case "r":
            await world.records(a_record("ana", NOW), a_record("bo", NOW), a_record("cy", NOW))
        case "s":
            await world.states(
                Customer(id="ana", now=NOW + 2, live=(opportunity("ana"), opportunity("dee"))),
                Customer(id="bo", now=NOW + 2),
                Customer(id="cy", now=NOW + 2, erased_at=NOW, erased_now=NOW + 2),
                Customer(id="dee", now=NOW + 2, merged_into="ana"),
            )
        case "f":
            await world.followups(a_followup("bo", NOW), a_followup("cy", NOW))
        case _:
            await world.rewards(a_held_reward("cy", NOW), a_held_reward("bo", NOW))


async def test_the_same_topics_in_another_order_make_the_same_read_models(client: Redis, prefix: str) -> None:
    """Applied again from their beginning, topics are not in step."""
    found = []
    for name, order in (("a", "drsfw"), ("b", "wfsrd"), ("c", "srdwf")):
        world = Applying(client, prefix=f"{prefix}-{name}", now=NOW)
        for topic in order:
            await feed(world, topic)
        made = await everything(client, f"{prefix}-{name}")
        found.append({key.partition(b":")[2]: value for key, value in made.items()})
    for key in found[0].keys() | found[1].keys() | found[2].keys():
        assert found[0].get(key) == found[1].get(key) == found[2].get(key), key


async def test_what_waits_ends_with_the_decision_or_with_the_state(world: Applying, reader: Reader) -> None:
    approval = [("approval", "until_event", None)]
    await world.decisions(a_decision("ana", NOW, gates=QUIET), a_decision("bo", NOW, gates=approval))
    assert await reader.holding() == {"moment": 1, "approval": 1}
    await world.decisions(a_decision("ana", NOW + 1, "asked", n=2))
    assert [row.customer_id for row in (await reader.pending()).rows] == ["bo"]
    await world.states(Customer(id="bo", now=NOW + 1))
    assert (await reader.pending()).total == (await reader.approvals()).total == 0
    assert await reader.holding() == {}


async def test_follow_ups_and_rewards_end(world: Applying, reader: Reader) -> None:
    await world.followups(a_followup("ana", NOW), a_followup("bo", NOW))
    await world.rewards(a_held_reward("ana", NOW), a_held_reward("bo", NOW))
    cancelled = {"followup_id": derived_id("followup", "ana", "ref-1", "take_care", 1), "kind": "take_care"}
    granted = {"grant_id": derived_id("grant", "ana", "ref-1"), "referral_id": "ref-1", "customer_id": "ana"}
    await world.followups(
        cloud_event("referral.followup.cancelled", NOW + 1, {**cancelled, "customer_id": "ana", "reason": "status"})
    )
    await world.rewards(cloud_event("referral.reward.granted", NOW + 1, {**granted, "programme": "smb"}))
    assert [row.customer_id for row in (await reader.followups()).rows] == ["bo"]
    assert [row.customer_id for row in (await reader.held_rewards()).rows] == ["bo"]
    found = await reader.customer("ana")
    assert found is not None
    assert len(found.after) == 4


async def test_figures_are_sums_over_the_newest_record_of_every_customer(world: Applying) -> None:
    asked = {"month": "2026-09", "trigger": "nps_promoter", "opened": 1, "eligible": 1, "asked": 1}
    newest = {
        "ana": a_record("ana", NOW + 2, asks=[an_ask("ana", NOW)], months=[asked]), "bo": a_record("bo", NOW),
    }  # fmt: skip
    await world.records(a_record("ana", NOW), newest["bo"], a_record("cy", NOW))
    await world.records(a_record("ana", NOW + 1), newest["ana"])
    await world.record_forgotten("cy", NOW + 3)
    both = Records((customer, orjson.loads(value)["data"]) for customer, value in newest.items())
    found = await world.writer.works()
    assert (found.customers, list(found.metrics)) == (2, of_all(both))
    assert [body["customer_id"] async for body in world.writer.bodies()] in (["ana", "bo"], ["bo", "ana"])


async def test_a_merged_id_points_to_the_survivor_with_what_is_known_under_both(
    world: Applying, reader: Reader
) -> None:
    await world.decisions(a_decision("old", NOW, gates=QUIET), a_decision("new", NOW + 1))
    await world.states(Customer(id="old", now=NOW + 2, merged_into="new"))
    await world.records(a_record("new", NOW + 2, ids=["old"]))
    await world.states(Customer(id="new", now=NOW + 2, live=(opportunity("old"),), ids=("old",)))
    found = await reader.customer("old")
    assert found is not None
    assert (found.customer_id, found.ids) == ("new", ("old",))
    assert [decision["customer_id"] for decision in found.decisions] == ["new", "old"]
    assert [row.opportunity_id for row in (await reader.pending()).rows] == [opportunity("old").id]


@pytest.mark.parametrize("merged", [False, True], ids=["one id", "two ids"])
async def test_an_erasure_leaves_a_hash_and_nothing_comes_back(
    client: Redis, prefix: str, world: Applying, reader: Reader, *, merged: bool
) -> None:
    told = a_decision("ana", NOW, gates=QUIET, account="acc"), a_decision("ana", NOW + 1, "asked", n=2, account="acc")
    await world.decisions(*told)
    await world.records(a_record("ana", NOW))
    await world.followups(a_followup("ana", NOW))
    await world.rewards(a_held_reward("ana", NOW))
    await world.states(Customer(id="ana", now=NOW))
    erased = "ana"
    if merged:
        await world.states(Customer(id="ana", now=NOW + 2, merged_into="survivor"))
        await world.record_forgotten("ana", NOW + 2)
        erased = "survivor"
    await world.states(Customer(id=erased, now=NOW + 3, erased_at=NOW, erased_now=NOW + 3))
    await world.decisions(*told)  # again, from the beginning of the topic
    await world.followups(a_followup("ana", NOW))
    await world.records(a_record("ana", NOW))
    left = await everything(client, prefix)
    assert not any(b"ana" in key or b"acc" in key or b"survivor" in key for key in left)
    assert not any(word in repr(left) for word in ("ana", "'acc'", "survivor"))
    assert await reader.customer("ana") is None
    assert (await reader.decisions(DecisionFilter(customer="ana"))).rows == ()
    assert (await world.writer.works()).as_of is None
    await world.decisions(a_decision("ana", NOW + DAY))  # somebody new under that id
    assert await reader.customer("ana") is not None


async def test_an_unreadable_record_changes_nothing_and_is_counted(world: Applying, reader: Reader) -> None:
    applied = await world.decisions(b"", b"{", b'{"type": "x"}', b"[1]", a_decision("ana", NOW))
    assert applied.done
    assert world.projection.unreadable["referral-decisions"] == 4
    assert len((await reader.decisions()).rows) == 1


async def test_what_lapses_has_a_limit_in_time_and_the_rest_in_number(client: Redis, prefix: str) -> None:
    world = await seed(client, prefix=prefix, now=NOW)
    await world.controls(*(a_switch(NOW + n) for n in range(1_100)))
    await world.followups(*(a_followup("ana", NOW + n) for n in range(60)))
    unlimited = {
        key.decode().removeprefix(f"{prefix}:{{read}}:").partition(":by ")[0]
        async for key in client.scan_iter(f"{prefix}:*")
        if await client.ttl(key) < 0
    }
    assert unlimited == {
        "log", "log:rows", "controls", "audit", "figures", "recorded", "roles", "positions", "meta", "holding",
        "due:asks", "due:asks:rows", "due:asks:gates", "due:approvals", "due:approvals:rows", "due:followups",
        "due:followups:rows", "due:rewards", "due:rewards:rows",
    }  # fmt: skip
    assert await client.llen(f"{prefix}:{{read}}:audit") == 1_000
    assert await client.zcard(f"{prefix}:{{read}}:after:ana") == 50


async def test_what_nobody_ends_is_swept(world: Applying, reader: Reader) -> None:
    await world.decisions(a_decision("ana", NOW, gates=QUIET))
    world.now = NOW + 40 * DAY
    await world.decisions(a_decision("bo", world.now - MINUTE, "suppressed"))
    assert (await reader.pending()).total == 0
    assert await reader.holding() == {}


async def test_a_reset_removes_the_read_models_and_no_other_key(client: Redis, prefix: str) -> None:
    await seed(client, prefix=prefix, now=NOW)
    await client.set(f"{prefix}:{{ledger}}:ready", "1")
    await client.set(f"another-{prefix}:{{read}}:meta", "another deployment's")
    await Writer(client, prefix=prefix).reset()
    assert await everything(client, prefix) == {f"{prefix}:{{ledger}}:ready".encode(): b"1"}
    assert await client.get(f"another-{prefix}:{{read}}:meta") is not None


async def test_while_a_reset_is_under_way_nothing_is_written(client: Redis, prefix: str, world: Applying) -> None:
    await world.decisions(a_decision("ana", NOW))
    await client.hset(f"{prefix}:{{read}}:meta", "form", 0)
    before = await everything(client, prefix)
    with pytest.raises(WriteRefused, match="being reset"):
        await world.decisions(a_decision("bo", NOW))
    assert await everything(client, prefix) == before
    await world.writer.reset()
    assert await everything(client, prefix) == {}


async def test_another_form_is_neither_written_nor_read(client: Redis, prefix: str, reader: Reader) -> None:
    await client.hset(f"{prefix}:{{read}}:meta", "form", 99)
    with pytest.raises(OtherForm, match="form 99"):
        await Writer(client, prefix=prefix).check()
    with pytest.raises(NotReadable, match="form 99"):
        await reader.controls()
