from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from batch_builders import SOURCE, a_message, an_app, records_at, take_acks
from faust.types import TP
from faust_batches.consumer import BatchConsumer
from faust_batches.fetched import BatchMessage, Fetched, contiguous


@pytest.mark.parametrize(
    ("start", "offsets", "wanted", "delivered"),
    [
        (10, (10, 11, 12), 10, (10, 11, 12)),
        (10, (10, 11, 12), 11, (11, 12)),  # a part of it was delivered before
        (10, (10, 11, 12), 13, ()),  # all of it
        (10, (12, 13), 10, (12, 13)),  # 10 and 11 do not exist: transaction markers, compaction
        (10, (12, 13), 11, (12, 13)),
        (10, (10, 14), 10, (10, 14)),
        (11, (11, 12), 10, None),  # the fetch before this one was lost: 10 may exist
        (13, (13,), 10, None),
        (None, (10, 11), 10, None),  # nobody knows where it began
    ],
)
def test_a_fetch_is_taken_only_if_nothing_can_be_missing_before_it(
    start: int | None, offsets: tuple[int, ...], wanted: int, delivered: tuple[int, ...] | None
) -> None:
    taken = contiguous(Fetched(start, list(records_at(*offsets))), wanted)
    assert (None if taken is None else tuple(record.offset for record in taken)) == delivered


def a_consumer() -> BatchConsumer:
    app = an_app()
    app.stateless([SOURCE], lambda _partition, _records, _read: pytest.fail("not called"))
    take_acks(app)
    return app.batch_consumer


TP0 = TP(SOURCE, 0)


async def test_the_offset_to_commit_follows_the_last_acked_batch() -> None:
    consumer = a_consumer()
    assert consumer._new_offset(TP0) is None
    for offsets in (range(10), range(10, 12), (15, 19)):  # what lies between 12 and 14 does not exist
        message = a_message(offsets)
        consumer.track_message(message)
        assert message.ack(consumer)
    assert consumer._new_offset(TP0) == 20
    assert consumer._new_offset(TP0) is None
    assert not consumer.unacked


async def test_an_unacked_batch_keeps_its_predecessors_offset() -> None:
    consumer = a_consumer()
    first, second = a_message(range(10)), a_message(range(10, 20))
    for message in (first, second):
        consumer.track_message(message)
    first.ack(consumer)
    assert consumer._new_offset(TP0) == 10
    assert list(consumer.unacked) == [second]


async def test_an_ack_after_its_assignment_does_not_count() -> None:
    consumer = a_consumer()
    message = a_message(range(10), assignment=0)
    consumer.track_message(message)
    consumer._ports.membership.begin()
    assert not message.ack(consumer)
    assert consumer._new_offset(TP0) is None
    assert not consumer.unacked


async def test_a_forgotten_batch_is_neither_committed_nor_waited_for() -> None:
    consumer = a_consumer()
    message = a_message(range(10))
    consumer.track_message(message)
    consumer.forget(message)
    assert not consumer.unacked
    assert consumer._new_offset(TP0) is None


async def test_a_resting_partition_is_not_fetched_until_it_is_resumed() -> None:
    consumer = a_consumer()
    consumer._set_active_tps({TP0, TP(SOURCE, 1)})
    consumer.pause_fetching(TP0)
    assert consumer._get_active_partitions() == {TP(SOURCE, 1)}
    consumer.resume_fetching(TP0)
    assert consumer._get_active_partitions() == {TP0, TP(SOURCE, 1)}


class FedConsumer(BatchConsumer):
    """A consumer whose thread is replaced by a list of fetches; it notes what is delivered, and where it seeks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fetches: list[dict[TP, Fetched]] = []
        self.delivered: list[list[int]] = []
        self.seeks: list[Mapping[TP, int]] = []
        self.callback = self.deliver  # type: ignore[assignment]  # of messages that are batches

    async def deliver(self, message: BatchMessage) -> None:
        self.delivered.append([record.offset for record in message.records])

    async def _getmany(self, _active: object, _timeout: float) -> Any:
        return self.fetches.pop(0)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.seeks.append(partitions)

    async def fetch(self, start: int | None, *offsets: int) -> None:
        self.fetches.append({TP0: Fetched(start, list(records_at(*offsets)))})
        await self._fetch({TP0})


def a_fed_consumer(position: int | None, **settings: Any) -> FedConsumer:
    app = an_app(**settings)
    consumer = FedConsumer(
        app.transport, callback=_unused, on_partitions_revoked=_unused, on_partitions_assigned=_unused
    )
    consumer._read_offset[TP0] = position
    return consumer


async def _unused(*_arguments: object) -> None:
    pytest.fail("not called")


async def test_fetches_are_delivered_in_batches_one_after_the_other() -> None:
    consumer = a_fed_consumer(10, max_batch_records=2)
    await consumer.fetch(10, 10, 11, 12)
    await consumer.fetch(13, 13)
    assert consumer.delivered == [[10, 11], [12], [13]]
    assert consumer._read_offset[TP0] == 14
    assert consumer.seeks == []


async def test_a_lost_fetch_is_noticed_at_the_next_one() -> None:
    consumer = a_fed_consumer(10)
    await consumer.fetch(12, 12, 13)
    assert (consumer.delivered, consumer.seeks) == ([], [{TP0: 10}])
    await consumer.fetch(10, 10, 11, 12, 13)
    assert consumer.delivered == [[10, 11, 12, 13]]


async def test_what_is_held_back_in_a_rebalance_is_read_again_even_if_nothing_follows_it() -> None:
    consumer = a_fed_consumer(10)
    consumer.app.on_rebalance_start()
    await consumer.fetch(10, 10, 11)
    assert (consumer.delivered, consumer._read_offset[TP0]) == ([], 10)
    consumer._ports.membership.begin()
    consumer.app.on_rebalance_end()
    await consumer._read_again()
    assert consumer.seeks == [{TP0: 10}]
    await consumer._read_again()
    assert len(consumer.seeks) == 1


async def test_nothing_is_delivered_before_the_first_seek_of_an_assignment() -> None:
    consumer = a_fed_consumer(None)
    await consumer.fetch(10, 10, 11)
    assert consumer.delivered == []
    consumer._read_offset[TP0] = 10
    await consumer._read_again()
    assert consumer.seeks == [{TP0: 10}]


async def test_a_rebalance_that_begins_during_a_delivery_keeps_the_position() -> None:
    consumer = a_fed_consumer(10, max_batch_records=2)

    async def deliver_and_rebalance(message: BatchMessage) -> None:
        await FedConsumer.deliver(consumer, message)
        if len(consumer.delivered) == 2:
            consumer.app.on_rebalance_start()

    consumer.callback = deliver_and_rebalance  # type: ignore[assignment]  # of messages that are batches
    await consumer.fetch(10, 10, 11, 12, 13, 14)
    assert consumer.delivered == [[10, 11], [12, 13]]
    assert consumer._read_offset[TP0] == 12
    assert consumer._undelivered == {TP0}


@pytest.mark.parametrize(
    ("read", "committed", "begun", "fetched_to", "position", "commits"),
    [
        (10, 10, 0, 10, 12, [{TP0: 12}]),  # a marker, and what was aborted
        (10, 10, 0, 10, 10, []),
        (10, 8, 0, 10, 12, []),  # a batch is under way
        (10, 10, 0, 12, 12, []),  # records were fetched meanwhile
        (10, None, 10, 10, 12, [{TP0: 12}]),  # nothing but what nobody is shown, from the first day on
        (10, 12, 0, 10, 14, [{TP0: 14}]),  # and again
    ],
)
async def test_a_source_that_ends_in_what_nobody_is_shown_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
    read: int,
    committed: int | None,
    begun: int,
    fetched_to: int,
    position: int,
    commits: list[dict[TP, int]],
) -> None:
    consumer, found = a_fed_consumer(read), []
    consumer._committed_offset[TP0], consumer._begun = committed, {TP0: begun}

    async def at(_tp: TP) -> int:
        return position

    async def commit(offsets: dict[TP, int]) -> bool:
        found.append(offsets)
        return True

    monkeypatch.setattr(consumer, "assignment", lambda: {TP0})
    monkeypatch.setattr(consumer, "position", at)
    monkeypatch.setattr(consumer, "fetched_to", lambda _tp: fetched_to)
    monkeypatch.setattr(consumer, "_commit_offsets", commit)
    await consumer.commit_invisible_ends()
    assert found == commits


@pytest.mark.parametrize(
    ("committed", "known", "begin", "commits"),
    [
        (None, 28, 0, {TP0: 28}),  # the group's offsets have lapsed
        (7, 28, 0, {TP0: 28}),  # they were reset
        (7, None, 20, {TP0: 20}),  # records lapsed before they were read
        (None, None, 20, {TP0: 20}),  # and nobody had ever read any
        (50, None, 0, {TP0: 0}),  # it was made anew
        (28, 28, 0, {}),
        (None, None, 0, {}),  # the first start
    ],
)
async def test_where_a_source_is_read_on_the_group_knows_it_at_once(
    monkeypatch: pytest.MonkeyPatch, committed: int | None, known: int | None, begin: int, commits: dict[TP, int]
) -> None:
    consumer, found = a_fed_consumer(None), dict[TP, int]()

    def answering(value: object) -> Any:
        async def answer(*_arguments: object) -> object:
            return value

        return answer

    async def commit(offsets: dict[TP, int]) -> bool:
        found.update(offsets)
        return True

    monkeypatch.setattr(consumer, "assignment", lambda: {TP0})
    monkeypatch.setattr(consumer._thread, "committed", answering({TP0: committed}))
    monkeypatch.setattr(consumer, "earliest_offsets", answering({TP0: begin}))
    monkeypatch.setattr(consumer, "highwaters", answering({TP0: 28}))
    reached = {TP0: known if known is not None else committed}
    monkeypatch.setattr(consumer._ports.state, "reached", lambda *_: reached)
    monkeypatch.setattr(consumer, "topic_ids", answering({}))
    monkeypatch.setattr(consumer._ports.state, "keep_positions", answering(None))
    monkeypatch.setattr(consumer, "_commit_offsets", commit)
    await consumer.perform_seek()
    assert found == commits
