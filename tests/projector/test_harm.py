"""The harm budget at work: a trigger is paused once, and no more on the same evidence once a person has resumed it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from referral_stream.core.effects import ReservationRequested
from referral_stream.core.events import ControlResumed, Event
from referral_stream.core.instants import DAY, HOUR, parse_instant, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.demo.workers import FETCH_WAIT_SECONDS, demo_settings, workers
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.local.redis_server import EmbeddedRedis
from referral_stream.metrics.harm import HARM_BUDGET
from referral_stream.projector import process
from referral_stream.projector.harm import AppliedUpTo, NotSent, judge_once, knowing, sender
from referral_stream.read_models.views import Control
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import cluster_id
from tests.builders import a_policy
from tests.read_models.seeding import Applying, a_record, a_switch, an_ask
from tests.rules import rule

NOW = parse_instant("2026-09-10T12:30:00Z")[0]
BUDGET = a_policy(holdout={"percent": 50}, harm={"pause_at": 20})
PATIENCE_SECONDS = 60.0


def harmful(now: int, *triggers: str) -> Iterator[tuple[str, bytes]]:
    """Of 60 customers asked 40 had trouble soon after, of 60 held out 5: customer, record."""
    for trigger in triggers:
        for kind, cases in (("asked", 40), ("holdout", 5)):
            for n in range(60):
                customer = f"{trigger}-{kind}-{n}"
                regret = {"regret": True} if n < cases else {}
                ask = an_ask(customer, now - 20 * DAY, trigger, kind=kind, **regret)
                first = {"first_asked_at": rfc3339(now - 20 * DAY)} if kind == "asked" else {}
                history = {"times_asked": 1, "referrals_given": 0, "referrals_converted": 0, "propensity_score": 65}
                yield customer, a_record(customer, now, asks=[ask], referral_history=history | first, months=[])


class Broker:
    """What was sent; ``is_ahead``: whether it has words about switches that the read models do not know."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.is_ahead = False

    async def knows_all(self, then: AppliedUpTo, now: AppliedUpTo, kept: int) -> bool:
        assert then.items() <= now.items()
        assert kept == 250
        return not self.is_ahead

    async def send(self, event: Event) -> None:
        self.sent.append(event)

    async def judge(self, world: Applying, policy: Policy = BUDGET) -> list[str]:
        return await judge_once(world.writer, policy, self.knows_all, self.send)


@pytest.fixture
async def world(client: Redis, prefix: str) -> Applying:
    world = Applying(client, prefix=prefix, now=NOW)
    await world.records(*(record for _, record in harmful(NOW - HOUR, "renewal", "milestone")))
    await world.records(*(a_record(f"never-asked-{n}", NOW) for n in range(10)))
    return world


@rule("A7.10")
async def test_what_does_harm_is_paused_with_the_evidence(world: Applying) -> None:
    broker = Broker()
    assert await broker.judge(world) == ["milestone", "renewal"]
    data = broker.sent[1].data
    assert broker.sent[1].time == NOW, "as of the newest record, whoever was asked"
    assert (data.scope, data.name, data.by) == ("trigger", "renewal", HARM_BUDGET)
    assert data.why.endswith(":asked_40_of_60:held_out_5_of_60")
    assert await broker.judge(world, a_policy(holdout={"percent": 50})) == [], "off by default"


@rule("A7.10")
async def test_what_is_paused_is_not_paused_again_whoever_paused_it(world: Applying) -> None:
    await world.controls(a_switch(NOW - HOUR, scope="trigger", name="renewal"))
    assert await Broker().judge(world) == ["milestone"]
    await world.controls(a_switch(NOW - HOUR))
    assert await Broker().judge(world) == ["milestone"], "a pause of everything ends before the harm does"


@rule("A7.10")
async def test_what_a_person_resumed_is_not_paused_again_on_the_same_evidence(world: Applying) -> None:
    for at, paused in ((NOW - 2 * HOUR, True), (NOW - HOUR, False)):
        await world.controls(a_switch(at, paused=paused, scope="trigger", name="renewal"))
    broker = Broker()
    assert await broker.judge(world) == ["milestone"]
    await world.records(*(record for _, record in harmful(NOW + 30 * DAY, "renewal")))
    assert await broker.judge(world) == ["milestone", "renewal"], "what came afterwards is new evidence"


async def test_sent_again_it_is_the_same_event(world: Applying) -> None:
    """As after a crash before the read models knew of it."""
    broker = Broker()
    for _ in range(2):
        await broker.judge(world)
    assert len({event.id for event in broker.sent}) == 2 == len(broker.sent) / 2


async def test_nothing_is_paused_while_switches_are_not_known(world: Applying) -> None:
    broker = Broker()
    broker.is_ahead = True
    assert await broker.judge(world) == []
    broker.is_ahead = False
    assert await broker.judge(world) == ["milestone", "renewal"]


async def test_whoever_resumes_while_it_is_judged_is_heard(world: Applying, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, controls = Broker(), world.writer.controls

    async def and_then_somebody_resumed() -> list[Control]:
        found = await controls()
        await world.controls(a_switch(NOW, paused=False, scope="trigger", name="renewal"))
        return found

    monkeypatch.setattr(world.writer, "controls", and_then_somebody_resumed)
    assert await broker.judge(world) == ["milestone"]


# ------------------------------------------------------------------------------------------------------- beside workers


async def until(holds: Callable[[], Awaitable[Any]]) -> None:
    began = monotonic()
    while not await holds():
        assert monotonic() - began < PATIENCE_SECONDS
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
@rule("A7.10")
async def test_the_pause_reaches_the_workers_once_and_a_person_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "JUDGE_SECONDS", 0.5)
    with EmbeddedBroker() as broker, EmbeddedRedis() as redis:
        settings = demo_settings(broker, redis, tmp_path)
        deployment = Deployment(settings, BUDGET, Clock(), FETCH_WAIT_SECONDS)
        models, reader = deployment.writer(), deployment.reader()
        async with workers(deployment), deployment.ledger() as ledger:
            ledger.cluster = await cluster_id(deployment.client())

            async def stopped() -> bool:
                return await ledger.ready() and await ledger.stopped([a_request(deployment.clock.now())]) == [True]

            async def released() -> bool:
                return not await stopped()

            async def projected(customers: int) -> bool:
                return (await reader.works()).customers == customers

            async def thrown(number: int) -> bool:
                return len((await reader.controls()).audit) == number

            now = deployment.clock.now()
            async with AIOKafkaProducer(**deployment.client()) as producer:
                for customer, record in harmful(now - 1_000, "renewal"):
                    await producer.send(deployment.topics.referral_records, record, customer.encode())
            async with process.ProjectorBeside(replace(deployment, policy=Policy())):
                await until(lambda: projected(120))
            async with process.ProjectorBeside(deployment):
                await until(stopped)
                await until(lambda: thrown(1))
            (control,) = (await reader.controls()).in_force
            assert (control.name, control.by) == ("renewal", HARM_BUDGET)
            assert control.why.endswith(":asked_40_of_60:held_out_5_of_60")

            resumed = ControlResumed(scope="trigger", name="renewal", by="ada", why="looked")
            at = deployment.clock.now()
            event = Event(id="resumed", source="tests", type=resumed.type, subject="", time=at, data=resumed)
            await sender(deployment)(event)
            await until(released)
            # The read models do not know of it, since no projector runs: nothing may be sent.
            await until(lambda: behind(deployment, models))
            assert await judge_once(models, BUDGET, knowing(deployment), sender(deployment)) == []
            assert (await reader.controls()).in_force != ()
            async with process.ProjectorBeside(deployment):
                await until(lambda: thrown(2))
                assert await judge_once(models, BUDGET, knowing(deployment), sender(deployment)) == []
            assert await released()
            applied = await models.positions()
            assert await knowing(deployment)(applied, applied, 120)
            assert not await knowing(deployment)({}, applied, 0), "as after a reset: records are not read yet"
        await models.aclose()
        await reader.aclose()
    with pytest.raises(NotSent, match=f"{deployment.topics.responses} takes no pause: KafkaConnectionError"):
        await sender(deployment)(event)


async def behind(deployment: Deployment, models: Any) -> bool:
    at = await models.positions()
    return not await knowing(deployment)(at, at, 120)


def a_request(now: int) -> ReservationRequested:
    return ReservationRequested(
        command_id="any", opportunity_id="any", customer_id="cus-any", trigger="renewal", priority=0, raw_score=0,
        due=now, valid_until=now, now=now,
    )  # fmt: skip
