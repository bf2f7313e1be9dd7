"""The role ``projector`` as a process, between a real broker and a real Redis; killed, emptied and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from referral_stream.contracts.state import encode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.instants import HOUR, MINUTE
from referral_stream.read_models import Reader
from tests.integration.live import Message, Pipeline
from tests.integration.test_rewards import exit_code, page
from tests.read_models.seeding import a_decision, a_followup, a_held_reward, a_record, a_switch
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, free_port
from tests.services.redis import RedisServer

CUSTOMERS = 40
STATE_FIELDS = {"roles", "meta", "positions"}


@pytest.fixture
def own_redis(redis_server: RedisServer) -> Iterator[RedisServer]:  # noqa: ARG001  # skips where there is no Redis
    with RedisServer(append_only=True) as server:
        yield server


@pytest.fixture
def pipeline(kafka: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(kafka, own_redis.url, tmp_path) as pipeline:
        pipeline.create_topics()
        yield pipeline


def ready(pipeline: Pipeline, **settings: str) -> tuple[ServerProcess, str]:
    """The role, which has opened its partitions, and where its status is."""
    port = free_port()
    worker = pipeline.start("projector", status_port=str(port), **settings)
    url = f"http://127.0.0.1:{port}"
    pipeline.await_until(lambda: not worker.running or page(f"{url}/ready")[0] == 200, "the role is ready", 90)
    return worker, url


def a_morning(now: int, first: int = 0, count: int = CUSTOMERS) -> Iterator[Message]:
    """What the deciding roles write about some customers."""
    for number in range(first, first + count):
        customer = f"cus-{number}"
        key, at = customer.encode(), now - number * MINUTE
        yield Message("referral-decisions", a_decision(customer, at, "pending", gates=[("moment", "until", at)]), key)
        yield Message("referral-decisions", a_decision(customer, at + 1, "asked", n=2), key)
        yield Message("referral-records", a_record(customer, at + 1), key)
        yield Message("referral-followups", a_followup(customer, at), key)
        yield Message("referral-rewards", a_held_reward(customer, at), key)
    yield Message("ledger-requests", a_switch(now - HOUR + first), b"")


def publish_states(pipeline: Pipeline, *customers: Customer) -> None:
    producer = pipeline._producer("murmur2_random")
    for each in customers:
        producer.produce(f"{pipeline.name}-decide-customers-changelog", encode_customer(each, 1), each.id.encode())
    assert producer.flush(30) == 0


def snapshot(server: RedisServer) -> dict[str, Any]:
    """All that the read models hold, without what says when."""
    found: dict[str, Any] = {}
    with redis.Redis.from_url(server.url) as client:
        for key in client.scan_iter():
            name = key.decode().partition("{read}:")[2]
            content: Any = {
                b"hash": client.hgetall, b"set": client.smembers, b"string": client.get,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            }[client.type(key)](key)  # fmt: skip
            if name not in STATE_FIELDS:
                found[name] = content
    return found


def count_logged(server: RedisServer) -> int:
    with redis.Redis.from_url(server.url) as client:
        return sum(client.zcard(key) for key in client.scan_iter("*{read}:log"))


def ask(server: RedisServer, pipeline: Pipeline, question: str, *arguments: Any) -> Any:
    """One question to a reader."""

    async def answered() -> Any:
        async with Redis.from_url(server.url) as client:
            return await getattr(Reader(client, prefix=pipeline.name), question)(*arguments)

    return asyncio.run(answered())


def test_killed_between_a_batch_and_its_commit_it_counts_nothing_twice_and_loses_nothing(
    pipeline: Pipeline, own_redis: RedisServer
) -> None:
    now = pipeline.now()
    worker, _ = ready(pipeline)
    pipeline.publish(a_morning(now, 0, 300))
    pipeline.await_until(lambda: count_logged(own_redis) > 0, "something is applied", 30)
    worker.kill9()  # the group's offsets are committed every 5 s: of nothing yet
    pipeline.publish(a_morning(now, 300, 20))
    _, url = ready(pipeline)
    pipeline.await_until(lambda: count_logged(own_redis) == 640, "all decisions are applied", 60)
    pipeline.await_until(lambda: ask(own_redis, pipeline, "works").customers == 320, "and all records", 30)
    pipeline.await_until(lambda: ask(own_redis, pipeline, "followups").total == 320, "and all follow-ups", 30)
    hours = ask(own_redis, pipeline, "hours", now, 24)
    assert sum(hour.outcomes["asked"] for hour in hours if hour.outcomes) == 320
    assert all(len(ask(own_redis, pipeline, "customer", f"cus-{n}").decisions) == 2 for n in (0, 150, 319))
    assert len(ask(own_redis, pipeline, "controls").audit) == 2
    assert "referral_stream_projector_redis_available 1.0" in page(f"{url}/metrics")[1]
    pipeline.await_until(
        lambda: {role.role for role in ask(own_redis, pipeline, "roles")} >= {"projector"}, "the roles are seen", 40
    )
    pipeline.stop()


def test_a_redis_that_is_emptied_or_away_gets_everything_again(pipeline: Pipeline, own_redis: RedisServer) -> None:
    now = pipeline.now()
    _, url = ready(pipeline)
    pipeline.publish(a_morning(now))
    publish_states(pipeline, *(Customer(id=f"cus-{n}", now=now - HOUR * 24) for n in range(CUSTOMERS)))

    def is_whole() -> bool:
        kept = [ask(own_redis, pipeline, "customer", f"cus-{n}") for n in range(0, CUSTOMERS, 7)]
        return (
            count_logged(own_redis) == 2 * CUSTOMERS
            and all(each and each.state and each.record and len(each.after) == 2 for each in kept)
            and ask(own_redis, pipeline, "works").customers == CUSTOMERS
        )

    pipeline.await_until(is_whole, "all is applied", 40)
    before = snapshot(own_redis)
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()  # and no record comes that would show it
    pipeline.await_until(is_whole, "it is made anew", 60)
    pipeline.await_until(lambda: snapshot(own_redis) == before, "as it was", 20)
    own_redis.kill9()
    pipeline.await_until(lambda: page(f"{url}/ready")[0] == 503, "it says that Redis is away", 30)
    assert page(f"{url}/live")[0] == 200
    pipeline.publish(a_morning(now, CUSTOMERS, 1))
    own_redis.restart()
    pipeline.await_until(lambda: count_logged(own_redis) == 2 * CUSTOMERS + 2, "it goes on", 60)
    pipeline.stop()


def test_a_reset_makes_them_anew_and_a_topic_made_anew_asks_for_one(pipeline: Pipeline, own_redis: RedisServer) -> None:
    pipeline.publish(a_morning(pipeline.now(), count=3))
    ready(pipeline)
    pipeline.await_until(lambda: count_logged(own_redis) == 6, "all is applied", 40)
    pipeline.stop()
    with redis.Redis.from_url(own_redis.url) as client:
        (positions,) = client.scan_iter("*{read}:positions")
        client.hset(positions, f"{pipeline.topic('referral-decisions')}|0", 1_000_000)
        client.set("somebody-else", "1")
    worker = pipeline.start("projector")
    assert exit_code(worker) == 1
    assert "--reset" in pipeline.log()
    log = pipeline.home / "worker-reset.log"
    command = pipeline._command("run", "projector", "--reset")
    again = ServerProcess("referral-stream run projector --reset", command, log)
    pipeline._workers.append(again)
    made_anew = ("read_models_reset", "partitions_opened")
    pipeline.await_until(lambda: all(line in log.read_text() for line in made_anew), "they are removed", 40)
    pipeline.await_until(lambda: count_logged(own_redis) == 6, "all is applied again", 40)
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("somebody-else") == b"1"
    pipeline.stop()
