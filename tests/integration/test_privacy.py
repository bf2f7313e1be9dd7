"""Where a person is found: marked values go in; every topic, changelog, Redis key, log and file is searched for them.

What may be found where is what docs/privacy.md says.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import lz4.block
import msgspec
import orjson
import pytest
import redis

from referral_stream.contracts.addresses import address_hmacs, email_hmac, ref_hmac
from referral_stream.contracts.state import decode_customer
from referral_stream.contracts.topics import SOURCES, TOPICS, changelogs
from referral_stream.core.customer import Customer
from referral_stream.core.instants import DAY, HOUR, MINUTE, rfc3339
from referral_stream.read_models.packing import DamagedReadModel, unpack
from tests.integration.live import EMAIL_KEY, Message, Pipeline, cloud_event
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"
ANA, ACME = "canary-id-ana", "canary-account"
ADDRESS = "Canary.Ana@mail.nordkontor.de"
HASH = email_hmac(ADDRESS, EMAIL_KEY.encode()) or ""
WORDS = ("canary-word", "anary.Ana@", "canary.ana@", "nordkontor")
"""Fragments of what must not leave ingest; every free text below has the first of them."""
NAME, REFUSED_NAME, SILENT_NAME = "canary-word-friend", "canary-word-refused", "canary-word-silent"
"""Of contacts: one who has consented, one of a referral that cannot be used, one who has not consented."""
DOMAIN_HASH = address_hmacs(ADDRESS, EMAIL_KEY.encode())["domain_hmac"]
FRIENDS_HASH = ref_hmac("canary-word-lead", EMAIL_KEY.encode())
CANARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": (ANA, ACME), "hash": (HASH, DOMAIN_HASH, FRIENDS_HASH), "words": WORDS,
}  # fmt: skip

_ROW: Final = re.compile(r"^\| (?P<place>[^|]+?) \| (?P<holds>[^|]+?) \|", re.MULTILINE)


def allowed() -> dict[str, set[str]]:
    """Place → what may be found there, as the page says."""
    table = PAGE.read_text(encoding="utf-8").partition("## What is where")[2].partition("## What you decide")[0]
    rows = {match["place"].replace("`", ""): match["holds"] for match in _ROW.finditer(table)}
    return {
        place: set(holds.split(", ")) - {"nothing"} for place, holds in rows.items() if place not in {"place", "---"}
    }


def found_in(content: bytes) -> set[str]:
    return {kind for kind, marks in CANARIES.items() if any(mark.encode() in content for mark in marks)}


@pytest.fixture
def pipeline(kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    settings = {"store": "rocksdb", "data_dir": str(tmp_path / "state")}
    with Pipeline(kafka, redis_server.url, tmp_path, policy="[score]\nsoft_at = 0\n", settings=settings) as pipeline:
        pipeline.create_topics()
        yield pipeline


def say(topic: str, kind: str, at: int, data: Mapping[str, object]) -> Message:
    return Message(topic, orjson.dumps(cloud_event(kind, ANA, at, data, accountid=ACME)), ANA.encode())


def a_friend(name: str, *, consented: bool = True) -> dict[str, object]:
    word = "canary-word"
    return {
        "ref": f"{word}-lead", "email": ADDRESS.replace("Ana", "Friend"), "name": name, "company": f"{word} GmbH",
        "consented": consented,
    }  # fmt: skip


def story(now: int) -> Iterator[Message]:
    """Somebody who may be asked, with words wherever a payload can have some."""
    word = "canary-word"
    identify = {
        "type": "identify", "userId": ANA, "messageId": "canary-1", "timestamp": rfc3339(now - 300 * DAY),
        "traits": {"email": ADDRESS, "name": word, "createdAt": rfc3339(now - 400 * DAY), "phone": word},
        "context": {"ip": word, "page": {"url": word}, "groupId": ACME},
    }  # fmt: skip
    yield Message("profile", orjson.dumps(identify), headers=(("referral-source", b"segment"),))
    for topic, kind, at, data in (
        ("profile", "customer.signed_up", now - 400 * DAY, {}),
        ("profile", "customer.profile_changed", now - 300 * DAY, {"time_zone": "Europe/Berlin", "name": word}),
        ("profile", "customer.consent_changed", now - 300 * DAY,
         {"purpose": "referral_ask", "channel": "email", "granted": True, "note": word}),
        ("product-usage", "onboarding.completed", now - 200 * DAY, {"by": word}),
        ("product-usage", "milestone.reached", now - 150 * DAY, {"milestone": "first-report", "first_success": True}),
        ("product-usage", "goal.achieved", now - 150 * DAY, {"goal": f"to please {word}"}),
        ("relationship", "peer.mentioned", now - 150 * DAY,
         {"peer_ref": "peer-1", "company": f"{word} Ltd", "challenge": f"{word} cannot pay"}),
        ("relationship", "testimonial.given", now - 150 * DAY, {"reference": "t-1", "comment": word}),
        ("relationship", "feedback.shared", now - 150 * DAY, {"positive": True, "comment": word}),
        ("support", "complaint.made", now - 120 * DAY, {"reference": "c-1", "comment": word}),
        ("relationship", "review.posted", now - 100 * DAY,
         {"rating": 5, "scale_max": 5, "url": "https://reviews.example/1", "text": word}),
        ("responses", "referral.given", now - 90 * DAY, {"referral_id": "ref-1", "contact": a_friend(NAME)}),
        ("responses", "referral.given", now - 89 * DAY,
         {"referral_id": "ref-2", "contact": a_friend(SILENT_NAME, consented=False)}),
        ("responses", "referral.given", now - 88 * DAY, {"contact": a_friend(REFUSED_NAME)}),
        ("nps", "nps.responded", now - HOUR, {"response_id": "r-1", "score": 10, "comment": f"{word}, saves us hours"}),
        ("nps", "nps.responded", now - MINUTE, {"response_id": "r-2", "score": "canary-word"}),
    ):  # fmt: skip
        yield say(topic, kind, at, data)


def searched(pipeline: Pipeline, store: Path, redis_url: str) -> dict[str, set[str]]:
    """Place, by its name on the page → what is found there now."""
    found: dict[str, set[str]] = defaultdict(set)
    for topic in TOPICS:
        place = "source topics" if topic in SOURCES else topic
        for record in pipeline.read(topic, "read_uncommitted"):
            headers = b" ".join(value for _, value in record.headers if value)
            found[place] |= found_in(b" ".join((record.key or b"", record.value or b"", headers)))
    for table in changelogs(f"{pipeline.name}-decide"):
        name = table.removeprefix(f"{pipeline.name}-decide-").removesuffix("-changelog")
        for key, value in pipeline.changelog(name).items():
            found[f"changelog {name}"] |= found_in(key) | found_in(unpacked(value))
    client = redis.Redis.from_url(redis_url)
    for key in client.scan_iter(f"{pipeline.name}:*"):
        place = "Redis, the read models" if b":{read}:" in key else "Redis, the ledger"
        found[place] |= found_in(key + b" " + client.dump(key))
        if place != "Redis, the ledger":
            found[place] |= found_in(b" ".join(map(opened, values(client, key))))
    for log in pipeline.home.glob("worker-*.log"):
        found["logs and metrics of the workers"] |= found_in(log.read_bytes())
    for file in store.rglob("*"):
        if file.is_file():
            found["state files of a worker (RocksDB)"] |= found_in(file.read_bytes())
    return found


def values(client: Any, key: bytes) -> list[bytes]:
    """Every value of a key."""
    match client.type(key):
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case _:
            return [client.get(key)]


def opened(value: bytes) -> bytes:
    """A value of the read models without its compression."""
    with suppress(DamagedReadModel):
        return orjson.dumps(unpack(value))
    return value + unpacked(value)


def topics_that_name(pipeline: Pipeline, name: str) -> set[str]:
    return {
        "source topics" if topic in SOURCES else topic
        for topic in TOPICS
        for record in pipeline.read(topic, "read_uncommitted")
        if name.encode() in (record.value or b"")
    }


def unpacked(value: bytes) -> bytes:
    try:
        return bytes(lz4.block.decompress(value[1:]))
    except (lz4.block.LZ4BlockError, ValueError, MemoryError):
        return value


def elsewhere(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What was found and is not on the page."""
    page = allowed()
    beyond = {place: kinds - page.get(place, set()) for place, kinds in found.items()}
    return {place: kinds for place, kinds in beyond.items() if kinds}


def test_a_person_is_found_where_the_page_says_and_nowhere_else(
    pipeline: Pipeline, redis_server: RedisServer, tmp_path: Path
) -> None:
    pipeline.start()
    pipeline.publish(story(pipeline.now()))
    command = pipeline.await_outcome(ANA, "asked", "soft", "deferred", "pending", "holdout").command_id or "unknown"
    answer = {"command_id": command, "answer": "maybe", "text": "canary-word"}
    pipeline.publish([say("responses", "ask.answered", pipeline.now(), answer)])
    url = redis_server.url
    wait_until(lambda: "hash" in read_models(pipeline, url), "the state is in the read models", seconds=60)
    found = searched(pipeline, tmp_path / "state", url)
    assert elsewhere(found) == {}
    assert found["Redis, the read models"] == {"id", "hash"}
    assert found["source topics"] == {"id", "words"}, "the canaries went in"
    assert found["dead-letters"] >= {"id", "words"}, "what could not be used is kept untouched"
    assert found["customer-events"] == found["changelog customers"] == {"id", "hash"}
    assert topics_that_name(pipeline, NAME) == {"source topics", "referral-contacts"}
    assert topics_that_name(pipeline, SILENT_NAME) == {"source topics"}
    assert topics_that_name(pipeline, REFUSED_NAME) == {"source topics", "dead-letters"}

    pipeline.publish([say("profile", "customer.erasure_requested", pipeline.now(), {})])
    wait_until(lambda: state(pipeline).erased_at is not None, "the erasure is taken", seconds=60)
    wait_until(lambda: read_models(pipeline, url) == set(), "and has reached the read models", seconds=60)
    found = searched(pipeline, tmp_path / "state", url)
    assert elsewhere(found) == {}
    assert "id" not in found["changelog wakeups"], "the customer is waited for no more"
    left = {name for name, value in msgspec.structs.asdict(state(pipeline)).items() if value}
    assert left <= {"id", "now", "erased_at", "erased_now", "email_hmac", "emails"}


def read_models(pipeline: Pipeline, url: str) -> set[str]:
    """What the read models hold of the person now."""
    with redis.Redis.from_url(url) as client:
        keys = list(client.scan_iter(f"{pipeline.name}:{{read}}:*"))
        return found_in(b" ".join(key + b" " + opened(value) for key in keys for value in values(client, key) if value))


def state(pipeline: Pipeline) -> Customer:
    return decode_customer(pipeline.changelog("customers")[ANA.encode()]).entity
