"""The due index: what is due comes once, in order, again only if lost, and never for a partition that is gone."""

from __future__ import annotations

from referral_stream.contracts.outbound import arrival, decode_event
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_wakeup
from referral_stream.core.events import WakeupDue
from referral_stream.stream.wakeups import AGAIN_AFTER, Wakeups, wakeup_outputs


def loaded(**due: int) -> Wakeups:
    wakeups = Wakeups()
    wakeups.load(0, [(name.encode(), encode_wakeup(at, 1)) for name, at in due.items()])
    return wakeups


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
    wakeups.load(1, [(b"ben", encode_wakeup(100, 1))])
    wakeups.drop({0})
    wakeups.change(0, {b"ana": encode_wakeup(50, 2)})

    assert wakeups.take(1_000) == [(1, b"ben", 100)]


def test_a_partition_that_comes_back_is_what_its_table_says() -> None:
    wakeups = loaded(ana=100)
    wakeups.drop({0})
    wakeups.load(0, [(b"ana", encode_wakeup(300, 5))])

    assert wakeups.take(299) == []
    assert wakeups.take(300) == [(0, b"ana", 300)]


def test_a_burst_comes_in_portions() -> None:
    wakeups = Wakeups()
    wakeups.load(0, [(b"c%d" % n, encode_wakeup(100 + n, 1)) for n in range(10)])

    first, second = wakeups.take(1_000, limit=6), wakeups.take(1_000, limit=6)

    assert len(first) == 6
    assert len(second) == 4
    assert not {key for _, key, _ in first} & {key for _, key, _ in second}


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
