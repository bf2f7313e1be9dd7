"""Order per customer, patience per customer, bounds per partition: with a clock that the test holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.orders import PaymentOrder
from referral_stream.rewards.progress import MOST_CHARACTERS, GroupProgress, progress_from, progress_of
from tests.rewards.paying import an_order
from tests.rules import rule

FRESH = GroupProgress(0, 0)


def backlog_of(*orders: PaymentOrder, most: int = 100, committed: GroupProgress = FRESH) -> RewardsBacklog:
    backlog = RewardsBacklog(most)
    for partition in {order.partition for order in orders} or {0}:
        backlog.open(partition, committed)
    for order in orders:
        backlog.read(order.partition, order.offset, order, now=0)
    return backlog


def due(backlog: RewardsBacklog, now: int) -> list[PaymentOrder]:
    return list(backlog.due(now))


@rule("A4.19")
def test_a_customers_next_order_waits_for_the_one_before() -> None:
    first, second, other = an_order("ana", "r1"), an_order("ana", "r2", offset=1), an_order("bo", offset=2)
    backlog = backlog_of(first, second, other)
    assert due(backlog, 0) == [first, other]
    assert due(backlog, 0) == [], "both are in flight"
    backlog.put_off(first, until=1_000)
    backlog.told(other, now=0)
    assert due(backlog, 999) == []
    assert backlog.next_due() == 1_000
    assert due(backlog, 1_000) == [first]
    assert backlog.attempts(first) == 2
    backlog.told(first, now=1_500)
    assert due(backlog, 1_500) == [second]
    assert backlog.attempts(second) == 1, "patience is an order's, not its customer's"


@rule("A4.19")
def test_one_customers_retries_hold_up_no_other() -> None:
    stuck = an_order("ana")
    backlog = backlog_of(stuck)
    for n in range(1, 50):
        assert due(backlog, n * 1_000)[:1] == [stuck]
        backlog.put_off(stuck, until=(n + 1) * 1_000)
        other = an_order(f"customer-{n}", offset=n)
        backlog.read(0, n, other, now=n * 1_000)
        assert due(backlog, n * 1_000) == [other]
        backlog.told(other, now=n * 1_000)
    assert backlog.waiting() == {0: 1}
    assert backlog.progress(0) == GroupProgress(0, 50, (0,))


def test_the_longest_due_is_first() -> None:
    orders = [an_order(f"c{n}", offset=n) for n in range(4)]
    backlog = backlog_of(*orders)
    assert due(backlog, 0) == orders
    for order, until in zip(orders, (40, 10, 30, 20), strict=True):
        backlog.put_off(order, until)
    assert due(backlog, 40) == [orders[1], orders[3], orders[2], orders[0]]


def test_the_offset_is_the_lowest_that_is_not_told() -> None:
    orders = [an_order(f"c{n}", offset=n * 10) for n in range(3)]
    backlog = backlog_of(*orders)
    backlog.read(0, 35, None, now=0)
    assert due(backlog, 0) == orders
    backlog.told(orders[2], now=0)
    assert backlog.progress(0).next == 0
    backlog.told(orders[0], now=0)
    assert backlog.progress(0) == GroupProgress(10, 36, (10,))
    backlog.told(orders[1], now=0)
    assert backlog.progress(0) == GroupProgress(36, 36)


def test_what_comes_back_of_a_partition_that_was_given_away_counts_for_nothing() -> None:
    order, again = an_order("ana"), an_order("ana")
    backlog = backlog_of(order)
    assert due(backlog, 0) == [order]
    backlog.drop([0])
    backlog.told(order, now=0)
    backlog.put_off(order, until=0)
    assert backlog.partitions == frozenset()
    backlog.open(0, FRESH)
    backlog.read(0, 0, again, now=0)
    backlog.told(order, now=0)  # an attempt of before the rebalance, which nobody waited for
    assert due(backlog, 0) == [again]
    assert backlog.progress(0).next == 0


def test_records_of_a_partition_that_is_not_open_are_not_taken() -> None:
    backlog = backlog_of()
    backlog.read(7, 0, an_order(partition=7), now=0)
    assert due(backlog, 0) == []


def test_a_full_partition_is_left_alone_until_half_of_it_is_told() -> None:
    orders = [an_order(f"c{n}", offset=n) for n in range(4)]
    backlog = backlog_of(*orders, most=4)
    assert backlog.is_full(0)
    assert due(backlog, 0) == orders
    backlog.told(orders[0], now=0)
    assert (backlog.is_full(0), backlog.has_room(0)) == (False, False)
    backlog.told(orders[1], now=0)
    assert backlog.has_room(0)


def test_what_the_last_owner_told_is_not_told_again() -> None:
    left = progress_from(6, [1, 4])
    orders = [an_order(f"c{n}", offset=n) for n in range(1, 8)]
    backlog = backlog_of(committed=left)
    for order in orders[:2]:
        backlog.read(0, order.offset, order, now=0)
    assert due(backlog, 0) == [orders[0]]
    backlog.told(orders[0], now=0)
    assert backlog.progress(0) == GroupProgress(3, 6, (4,)), "4 is open although it was not read here"
    for order in orders[2:]:
        backlog.read(0, order.offset, order, now=0)
    assert [order.offset for order in due(backlog, 0)] == [4, 6, 7]


def test_the_oldest_is_the_first_that_is_open_anywhere() -> None:
    backlog = backlog_of(an_order("ana"))
    assert backlog.oldest() == an_order().written_at
    assert due(backlog, 0)
    backlog.told(an_order("ana"), now=0)  # another object: not the one that is in flight
    assert backlog.oldest() is not None
    assert RewardsBacklog(1).oldest() is None


@given(st.integers(0, 10**12), st.sets(st.integers(0, 5_000)), st.integers(0, 5_001))
def test_progress_survives_its_metadata_or_forgets_that_something_was_told(
    start: int, untold: set[int], length: int
) -> None:
    read_to = start + length
    at = progress_from(read_to, [start + each for each in untold if each < length])
    metadata = at.metadata()
    assert len(metadata) <= MOST_CHARACTERS
    back = progress_of(at.next, metadata)
    for offset in range(start, read_to + 2):
        assert not back.is_told(offset) or at.is_told(offset), "never the other way round"
    if len(untold) < 500:
        assert [back.is_told(o) for o in range(start, read_to)] == [at.is_told(o) for o in range(start, read_to)]


def test_what_does_not_fit_the_metadata_is_told_again() -> None:
    at = progress_from(2_000_000, range(0, 2_000_000, 100))
    back = progress_of(at.next, at.metadata())
    assert 50_000 < back.upto < 2_000_000
    assert back.is_told(50)
    assert not back.is_told(100)
    assert not back.is_told(back.upto + 1)


def test_metadata_of_others_say_nothing() -> None:
    for metadata in ("", "operator was here", "told:1 ", "told:1 -5", "told:2 5 1", "told:1 5 x"):
        assert progress_of(7, metadata) == GroupProgress(7, 7)
