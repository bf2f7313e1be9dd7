"""One customer under several ids, live: two ingest workers, a restart, and the same answers in a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import orjson
import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.replay.reading import Counts, FactLog, open_log
from tests.integration.live import EMAIL_KEY, UNEVEN, Message, Pipeline, cloud_event, facts, parsed
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

ALIAS, CUSTOMER = "anonymous-7", "ana"
PROBES = 40
"""Per topic and round: enough for every partition of every topic to get some."""


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("aliases")) as pipeline:
        pipeline.create_topics()
        yield pipeline


class Probes:
    """Events of the alias, a round at a time, on all partitions of all source topics."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.reader = pipeline.reader("customer-events")
        self.rounds = count()

    def publish(self) -> set[str]:
        """A round: its event ids, once they have arrived."""
        name, now = next(self.rounds), self.pipeline.now()
        ids = {f"{name}/{topic}/{number}" for topic in UNEVEN for number in range(PROBES)}
        self.pipeline.publish(
            Message(id_.split("/")[1], orjson.dumps(cloud_event("email.opened", ALIAS, now, {}, id=id_)), id_.encode())
            for id_ in sorted(ids)
        )
        self.pipeline.await_facts(ids)
        return ids

    def subjects(self, ids: set[str]) -> Counter[str]:
        """Under which customer they arrived."""
        events = (parsed(record) for record in facts(self.reader.read()))
        return Counter(event["subject"] for event in events if event["id"] in ids)


def test_an_alias_redirects_on_every_worker_over_a_restart_and_in_a_replay(pipeline: Pipeline, tmp_path: Path) -> None:
    all_of_them = PROBES * len(UNEVEN)
    for _ in range(2):
        pipeline.start("ingest")
    probes = Probes(pipeline)
    before = probes.publish()
    assert probes.subjects(before) == {ALIAS: all_of_them}

    announced = cloud_event("customer.aliased", CUSTOMER, pipeline.now(), {"alias": ALIAS}, id="announced")
    pipeline.publish([Message("profile", orjson.dumps(announced), b"any")])
    wait_until(
        lambda: probes.subjects(probes.publish()) == {CUSTOMER: all_of_them}, "both workers redirect", seconds=60
    )
    (kept,) = pipeline.read("customer-aliases")
    assert (kept.key, parsed(kept)["subject"]) == (ALIAS.encode(), CUSTOMER)

    pipeline.stop()
    for _ in range(2):
        pipeline.start("ingest")
    after = probes.publish()
    assert probes.subjects(after) == {CUSTOMER: all_of_them}
    pipeline.stop()

    replayed = replayed_subjects(pipeline, tmp_path)
    assert {replayed[id_] for id_ in before} == {ALIAS}
    assert {replayed[id_] for id_ in after} == {CUSTOMER}


def replayed_subjects(pipeline: Pipeline, folder: Path) -> dict[str, str]:
    """Event id → customer, by a replay of everything that is on the source topics, in the order of its time."""
    records = [record for topic in UNEVEN for record in pipeline.read(topic)]
    records.sort(key=lambda record: record.timestamp)
    log = folder / "log.jsonl"
    log.write_bytes(b"".join(render_line(record) + b"\n" for record in records))
    with open_log(log, Boundary(email_key=EMAIL_KEY.encode()), Counts(), nothing_refused) as opened:
        assert isinstance(opened, FactLog)
        return {arrival.event.id: arrival.event.subject for arrival in opened.arrivals}


def nothing_refused(record: RawRecord, error: str, _: int) -> None:
    raise AssertionError(f"{record.topic}@{record.offset}: {error}")
