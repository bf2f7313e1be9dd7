"""What other tests stand on: services that survive a crash, refuse strangers and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.services.kafka import KafkaServer
from tests.services.process import accepts_connections, wait_until
from tests.services.redis import RedisServer

_ORPHAN = """
import time
from tests.services.redis import RedisServer
print(RedisServer().start().url, flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("kafka")
def test_a_topic_and_its_records_survive_a_broker_crash() -> None:
    with KafkaServer() as broker:
        broker.create_topics({"nps": 3})
        _produce(broker, "nps", b"before the crash")
        broker.kill9()
        broker.restart()
        assert _read_one(broker, "nps") == b"before the crash"
    assert not broker.home.exists()


@pytest.mark.usefixtures("kafka")
def test_a_secured_broker_lets_a_user_do_only_what_was_granted() -> None:
    with KafkaServer(secured=True, users=("app",)) as broker:
        broker.create_topics({"ours-events": 1, "theirs": 1})
        broker.grant("app", "ours-")
        assert _produce(broker, "ours-events", b"x", user="app") is None
        refusal = _produce(broker, "theirs", b"x", user="app")
        assert refusal is not None
        assert refusal.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize(
    ("append_only", "expected"), [(True, b"kept"), (False, None)], ids=["append-only", "memory only"]
)
def test_redis_keeps_a_write_over_a_crash_only_when_append_only(append_only: bool, expected: bytes | None) -> None:
    with RedisServer(append_only=append_only, password="local") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "kept")
        server.kill9()
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == expected
    assert not server.home.exists()


@pytest.mark.usefixtures("redis_server")
def test_a_server_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        orphan = urlsplit(run.stdout.readline()).port
        run.kill()
    assert orphan is not None
    wait_until(lambda: not accepts_connections(orphan), "the server of the killed run is gone", seconds=10)


def _produce(broker: KafkaServer, topic: str, value: bytes, *, user: str = "admin") -> KafkaError | None:
    outcome: list[KafkaError | None] = []
    producer = Producer(broker.client_settings(user))
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _: outcome.append(error))
    producer.flush(20)
    return outcome[0]


def _read_one(broker: KafkaServer, topic: str) -> bytes | None:
    consumer = Consumer(broker.client_settings() | {"group.id": "reader", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(20)
        return None if message is None else message.value()
    finally:
        consumer.close()
