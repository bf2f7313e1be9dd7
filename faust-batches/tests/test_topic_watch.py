"""What becomes of topics is seen beside the consumer, whose own questions may wait behind a commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError
from batch_builders import PARTITIONS, SOURCE, an_app
from faust.types import TP
from faust_batches import BatchApp, consumer_thread, topic_watch
from faust_batches.errors import TopicsMismatch
from faust_batches.topic_ids import _NONE, _ids, topic_ids


def a_watched_app(monkeypatch: pytest.MonkeyPatch, ids: Mapping[str, str], partitions: int = PARTITIONS) -> BatchApp:
    """An app that has read SOURCE as the topic "one"; the brokers say ``ids`` now."""

    @asynccontextmanager
    async def asking(_settings: object) -> AsyncIterator[None]:
        yield None

    async def count(_client: object, topics: set[str]) -> dict[str, int]:
        return dict.fromkeys(topics, partitions)

    async def told(_client: object, topics: Mapping[str, str]) -> dict[str, str]:
        if not ids.keys() >= topics.keys():
            raise UnknownTopicOrPartitionError
        return dict(ids)

    for name, fake in (("asking", asking), ("partition_counts", count), ("topic_ids", told)):
        monkeypatch.setattr(topic_watch, name, fake)
    app = an_app(fixed_topics=frozenset({"out"}))
    app.batch_consumer.known_ids = {SOURCE: "one"}
    monkeypatch.setattr(app, "_client_settings", dict)
    return app


@pytest.mark.parametrize(("now", "asked"), [("one", []), ("two", [0])])
async def test_a_topic_that_was_made_again_is_read_by_a_new_assignment(
    monkeypatch: pytest.MonkeyPatch, now: str, asked: list[int]
) -> None:
    app, rejoined = a_watched_app(monkeypatch, {SOURCE: now}), list[int]()
    monkeypatch.setattr(app.membership, "rejoin", rejoined.append)
    await app._topic_watch.look()
    assert rejoined == asked


async def test_a_topic_that_is_gone_is_not_taken_for_one_that_was_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app, rejoined = a_watched_app(monkeypatch, {}), list[int]()
    monkeypatch.setattr(app.membership, "rejoin", rejoined.append)
    with pytest.raises(UnknownTopicOrPartitionError):
        await app._topic_watch.look()
    assert rejoined == []


async def test_another_number_of_partitions_is_seen_although_the_consumer_answers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = a_watched_app(monkeypatch, {SOURCE: "one"}, partitions=2 * PARTITIONS)
    with pytest.raises(TopicsMismatch, match="out has 8 partitions instead of 4"):
        await app._topic_watch.look()


@pytest.mark.parametrize("stopping", [False, True])
async def test_a_commit_that_the_brokers_refuse_for_ever_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, stopping: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a topic that was deleted: aiokafka tries again without end, and shields the request."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(consumer_thread, "_COMMIT_AT_STOP_SECONDS" if stopping else "_COMMIT_SECONDS", 0.05)
    thread = an_app().batch_consumer._thread

    async def commit(_offsets: object) -> None:
        while True:
            await asyncio.shield(asyncio.sleep(0.01))

    monkeypatch.setattr(thread, "_ensure_consumer", lambda: SimpleNamespace(commit=commit))
    if stopping:
        cast("Any", thread._ports.membership._app)._stopped.set()
    async with asyncio.timeout(30):
        assert not await thread._commit({TP(SOURCE, 0): 7})
    (line,) = [record for record in caplog.records if record.message == "offsets_not_committed"]
    assert vars(line)["cause"] == "nothing came of it within 0.05 s"


def test_what_brokers_say_of_topic_ids() -> None:
    raw = bytes(range(16))
    assert _ids([(0, "a", raw), (5, "b", raw), (29, "secret", _NONE), (0, "old", _NONE)]) == {
        "a": "AAECAwQFBgcICQoLDA0ODw",
        "b": "AAECAwQFBgcICQoLDA0ODw",
    }
    with pytest.raises(UnknownTopicOrPartitionError):
        _ids([(3, "gone", _NONE)])


async def test_brokers_are_asked_for_ids_only_if_one_is_known() -> None:
    client: Any = SimpleNamespace(get_random_node=lambda: None)
    with pytest.raises(KafkaConnectionError):
        await topic_ids(client, ["a"])
