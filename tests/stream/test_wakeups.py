"""The due index: what is due comes once, in order, again only if lost, and never for a partition that is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from faust_batches import NotOwner

from referral_stream.contracts.codec import arrival, decode_event
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_wakeup
from referral_stream.core.events import WakeupDue
from referral_stream.stream.wakeups import AGAIN_AFTER, Wakeups, wakeup_outputs


def loaded(**due: int) -> Wakeups:
    wakeups = Wakeups()
    load(wakeups, 0, due)
    return wakeups


def load(wakeups: Wakeups, partition: int, due: Mapping[str, int]) -> None:
    wakeups.load(partition, entries(due))
    while wakeups.read_on():
        pass


def entries(due: Mapping[str, int]) -> Iterator[tuple[bytes, bytes]]:
    return ((name.encode(), encode_wakeup(at, 1)) for name, at in due.items())


def test_what_is_due_comes_earliest_first() -> None:
    assert loaded(ben=200, ana=100, kim=301).take(300) == [(0, b"ana", 100), (0, b"ben", 200)]


def test_due_is_due_at_its_very_instant() -> None:
    assert loaded(ana=100).take(99) == []
    assert loaded(ana=100).take(100) == [(0, b"ana", 100)]


def test_a_wakeup_under_way_is_not_repeated_until_it_must_have_been_lost() -> None:
    wakeups = loaded(ana=100)
    wakeups.take(100)

    assert wakeups.take(99 + AGAIN_AFTER) == []
    assert wakeups.take(100 + AGAIN_AFTER) == [(0, b"ana", 100)]


def test_a_handled_wakeup_never_comes_again() -> None:
    wakeups = loaded(ana=100)
    wakeups.take(100)
    wakeups.change(0, {b"ana": None})

    assert wakeups.take(10 * AGAIN_AFTER) == []
    assert wakeups.pending() == 0
    assert wakeups.next_due() is None


def test_a_moved_wakeup_comes_at_its_new_instant_only() -> None:
    wakeups = loaded(ana=100)
    wakeups.change(0, {b"ana": encode_wakeup(500, 2)})

    assert wakeups.take(499) == []
    assert wakeups.take(500) == [(0, b"ana", 500)]


def test_an_earlier_instant_overtakes() -> None:
    wakeups = loaded(ana=500)
    wakeups.change(0, {b"ana": encode_wakeup(100, 2)})

    assert wakeups.next_due() == 100
    assert wakeups.take(100) == [(0, b"ana", 100)]


def test_partitions_that_are_gone_wake_nobody() -> None:
    wakeups = loaded(ana=100)
    load(wakeups, 1, {"ben": 100})
    wakeups.drop({0})
    wakeups.change(0, {b"ana": encode_wakeup(50, 2)})

    assert wakeups.take(1_000) == [(1, b"ben", 100)]


def test_a_partition_that_comes_back_is_what_its_table_says() -> None:
    wakeups = loaded(ana=100)
    wakeups.drop({0})
    load(wakeups, 0, {"ana": 300})

    assert wakeups.take(299) == []
    assert wakeups.take(300) == [(0, b"ana", 300)]


def test_only_so_many_are_under_way_at_a_time() -> None:
    wakeups = loaded(**{f"c{n}": 100 + n for n in range(10)})

    first = wakeups.take(1_000, limit=6)
    assert wakeups.take(1_000, limit=6) == []

    wakeups.change(0, {key: None for _, key, _ in first[:4]})
    assert [due for _, _, due in first] == [100, 101, 102, 103, 104, 105]
    assert [due for _, _, due in wakeups.take(1_000, limit=6)] == [106, 107, 108, 109]


def test_wakeups_under_way_are_counted_over_all_partitions_earliest_first() -> None:
    wakeups = loaded(ana=100, ben=300)
    load(wakeups, 1, {"kim": 200, "zoe": 400})

    assert wakeups.take(1_000, limit=3) == [(0, b"ana", 100), (1, b"kim", 200), (0, b"ben", 300)]


def test_an_unhandled_wakeup_delays_others_only_while_it_is_under_way() -> None:
    wakeups = loaded(stuck=100, ana=200)
    assert wakeups.take(1_000, limit=1) == [(0, b"stuck", 100)]

    assert wakeups.take(1_000 + AGAIN_AFTER, limit=1) == [(0, b"ana", 200)]
    wakeups.change(0, {b"ana": None})
    assert wakeups.take(1_000 + AGAIN_AFTER, limit=1) == [(0, b"stuck", 100)]


def test_a_wakeup_that_is_moved_while_under_way_makes_room() -> None:
    wakeups = loaded(ana=100, ben=200)
    wakeups.take(300, limit=1)
    wakeups.change(0, {b"ana": encode_wakeup(500, 2)})

    assert wakeups.take(300, limit=1) == [(0, b"ben", 200)]


def test_the_next_instant_is_that_of_a_wakeup_not_sent_or_lost() -> None:
    wakeups = loaded(ana=100, ben=50_000)
    assert wakeups.next_due() == 100

    wakeups.take(200)
    assert wakeups.next_due() == 200 + AGAIN_AFTER

    wakeups.change(0, {b"ana": None})
    assert wakeups.next_due() == 50_000


def test_a_table_is_read_in_portions() -> None:
    wakeups = Wakeups()
    wakeups.load(0, entries({"ana": 100, "ben": 100}))
    wakeups.load(1, entries({"kim": 100}))

    assert wakeups.read_on(limit=2)
    assert wakeups.pending() == 2
    assert wakeups.read_on(limit=2) is False
    assert wakeups.pending() == 3


def test_what_changes_while_the_table_is_read_is_newer_than_what_is_read() -> None:
    wakeups = Wakeups()
    wakeups.load(0, entries({"ana": 100, "ben": 100, "kim": 100}))
    wakeups.change(0, {b"ana": None, b"ben": encode_wakeup(300, 2)})
    while wakeups.read_on():
        pass

    assert wakeups.take(299) == [(0, b"kim", 100)]
    assert wakeups.take(300) == [(0, b"ben", 300)]


def test_a_partition_that_is_lost_is_read_no_further() -> None:
    wakeups = Wakeups()
    read: list[str] = []

    def unusable_once_lost() -> Iterator[tuple[bytes, bytes]]:
        for name in ("ana", "ben"):
            read.append(name)
            yield name.encode(), encode_wakeup(100, 1)

    wakeups.load(0, unusable_once_lost())
    wakeups.read_on(limit=1)
    wakeups.drop({0})

    assert wakeups.read_on() is False
    assert (read, wakeups.pending()) == (["ana"], 0)


def test_moving_a_customers_wakeup_with_every_event_costs_no_more() -> None:
    wakeups = loaded(ana=100)
    for later in range(100_000):
        wakeups.change(0, {b"ana": encode_wakeup(1_000_000 + later, 2)})

    assert wakeups.take(1_000_000 + 99_998) == []
    assert sum(len(partition.heap) for partition in wakeups._partitions.values()) < 2_000
    assert wakeups.take(1_000_000 + 99_999) == [(0, b"ana", 1_099_999)]


def test_the_record_goes_to_the_customers_own_partition_with_its_arrival() -> None:
    (output,) = wakeup_outputs([(3, b"cus-ana", 100)], "customer-events", 120)
    record = RawRecord(
        topic=output.topic,
        partition=3,
        offset=0,
        timestamp=0,
        key=output.key,
        value=output.value,
        headers=output.headers,
    )
    event = decode_event(output.value or b"")

    assert (output.partition, output.key, arrival(record)) == (3, b"cus-ana", 120)
    assert (event.subject, event.time, event.data) == ("cus-ana", 100, WakeupDue(due=100))


def test_the_same_wakeup_has_the_same_id() -> None:
    one, two = (decode_event(wakeup_outputs([(0, b"a", 100)], "t", now)[0].value or b"") for now in (100, 200))
    assert one.id == two.id


class Unreadable:
    """Entries of a table on a damaged disk: reading on fails again, and does not end."""

    def __init__(self, readable: Mapping[str, int]) -> None:
        self._readable = entries(readable)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        try:
            return next(self._readable)
        except StopIteration:
            raise NotOwner("damaged") from None


def test_what_cannot_be_read_is_not_the_end() -> None:
    wakeups = Wakeups()
    wakeups.load(0, Unreadable({"ana": 5}))
    for _ in range(3):
        with pytest.raises(NotOwner):
            wakeups.read_on()
    wakeups.drop([0])
    load(wakeups, 0, {"ana": 5, "ben": 6})  # the next assignment
    assert wakeups.pending() == 2
