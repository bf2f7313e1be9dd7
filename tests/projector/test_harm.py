"""A judgement gets all records and what persons resumed; what is paused already is not paused again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from redis.asyncio import Redis

from referral_stream.core.events import ControlPaused, Event
from referral_stream.core.instants import HOUR, parse_instant
from referral_stream.projector.harm import Harmful, judge_once
from referral_stream.read_models.views import MessageBody
from tests.read_models.seeding import Applying, a_record, a_switch

NOW = parse_instant("2026-09-10T12:30:00Z")[0]


def harmful(trigger: str) -> Harmful:
    data = ControlPaused(scope="trigger", name=trigger, by="harm budget", why="because")
    return Harmful(trigger, Event(id=trigger, source="tests", type=data.type, subject="", time=NOW, data=data))


async def test_a_judgement_pauses_what_is_not_paused(client: Redis, prefix: str) -> None:
    world = Applying(client, prefix=prefix, now=NOW)
    await world.records(a_record("ana", NOW), a_record("bo", NOW))
    await world.controls(
        a_switch(NOW - HOUR, scope="trigger", name="milestone"),
        a_switch(NOW - 2 * HOUR, scope="trigger", name="renewal"),
        a_switch(NOW - HOUR, paused=False, scope="trigger", name="renewal"),
    )
    seen: list[str] = []
    sent: list[Event] = []

    async def judge(records: AsyncIterator[MessageBody], resumed: Mapping[str, int]) -> list[Harmful]:
        seen.extend(sorted([body["customer_id"] async for body in records]))
        assert resumed == {"renewal": NOW - HOUR}
        return [harmful("milestone"), harmful("renewal")]

    async def pause(event: Event) -> None:
        sent.append(event)

    assert await judge_once(world.writer, judge, pause) == ["renewal"]
    assert seen == ["ana", "bo"]
    assert [event.id for event in sent] == ["renewal"]
