"""What was read and is not told yet: in order per customer, any customer beside any other. Pure: time is an argument.

A customer's first order is tried until it is told; only then comes their next. Those who wait for another attempt take
no place from others: they lie here, and what lies here is bounded per partition, beyond which the partition is paused.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from referral_stream.rewards.orders import PaymentOrder
from referral_stream.rewards.progress import GroupProgress, progress_from

RESUME_AT: Final = 0.5
"""A paused partition is read again when so much of its bound is left."""


@dataclass(slots=True)
class _Queue:
    """A customer's orders in order; of the first one how often it was tried, and whether that is going on now."""

    orders: deque[PaymentOrder] = field(default_factory=deque)
    attempts: int = 0
    in_flight: bool = False


@dataclass(slots=True)
class _OpenPartition:
    committed: GroupProgress
    read_to: int
    untold: dict[int, PaymentOrder] = field(default_factory=dict)  # by offset, in their order
    customers: dict[str, _Queue] = field(default_factory=dict)


class RewardsBacklog:
    """The orders of the partitions that we own. ``most`` of a partition may be open before it is paused."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._partitions: dict[int, _OpenPartition] = {}
        self._due: list[tuple[int, int, int, str]] = []  # when, who came first, partition, customer
        self._turn = 0

    def open(self, partition: int, committed: GroupProgress) -> None:
        """Begin with a partition where its last owner left it."""
        self._partitions[partition] = _OpenPartition(committed, committed.next)

    def drop(self, partitions: Collection[int]) -> None:
        """Forget partitions; what comes back of them afterwards counts for nothing."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def read(self, partition: int, offset: int, order: PaymentOrder | None, now: int) -> None:
        """A record was read; without an order there is nothing to tell of it. Ignored of one that is not open."""
        held = self._partitions.get(partition)
        if held is None or offset < held.read_to:
            return
        held.read_to = offset + 1
        if order is None or held.committed.is_told(offset):
            return
        held.untold[offset] = order
        queue = held.customers.setdefault(order.customer, _Queue())
        queue.orders.append(order)
        if len(queue.orders) == 1:
            self._schedule(now, partition, order.customer)

    def due(self, now: int) -> Iterator[PaymentOrder]:
        """The orders to try now, the longest due first. Each that is taken is in flight until it is told or put off."""
        while self._due and self._due[0][0] <= now:
            _, _, partition, customer = heapq.heappop(self._due)
            queue = self._queue(partition, customer)
            if queue is not None and queue.orders and not queue.in_flight:
                queue.in_flight = True
                queue.attempts += 1
                yield queue.orders[0]

    def next_due(self) -> int | None:
        """When the next order is to be tried; None: nothing waits for that."""
        return self._due[0][0] if self._due else None

    def attempts(self, order: PaymentOrder) -> int:
        """How often this order, which is in flight, was tried, this time included."""
        queue = self._queue_of(order)
        return queue.attempts if queue is not None else 1

    def told(self, order: PaymentOrder, now: int) -> None:
        """The order is done with: the next one of its customer is due."""
        queue = self._queue_of(order)
        if queue is None:
            return
        held = self._partitions[order.partition]
        del held.untold[order.offset]
        queue.orders.popleft()
        queue.attempts, queue.in_flight = 0, False
        if queue.orders:
            self._schedule(now, order.partition, order.customer)
        else:
            del held.customers[order.customer]

    def put_off(self, order: PaymentOrder, until: int) -> None:
        """Try the order again at that instant."""
        queue = self._queue_of(order)
        if queue is not None:
            queue.in_flight = False
            self._schedule(until, order.partition, order.customer)

    def progress(self, partition: int) -> GroupProgress:
        """How far a partition that is open is told. Raises KeyError for another."""
        held = self._partitions[partition]
        at = progress_from(held.read_to, held.untold)
        return at if held.read_to >= held.committed.upto else _not_yet_read(held.committed, held.read_to, at)

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(self._partitions)

    def is_full(self, partition: int) -> bool:
        """Whether nothing more of the partition should be read."""
        held = self._partitions.get(partition)
        return held is not None and len(held.untold) >= self._most

    def has_room(self, partition: int) -> bool:
        """Whether a partition that was full should be read again."""
        held = self._partitions.get(partition)
        return held is not None and len(held.untold) <= self._most * RESUME_AT

    def waiting(self) -> dict[int, int]:
        """Orders that are read and not told, by partition."""
        return {partition: len(held.untold) for partition, held in self._partitions.items()}

    def read_to(self, partition: int) -> int:
        """The offset that would be read next. Raises KeyError for a partition that is not open."""
        return self._partitions[partition].read_to

    def oldest(self) -> int | None:
        """When the oldest of them was written, epoch ms; None: there is none."""
        firsts = [next(iter(held.untold.values())) for held in self._partitions.values() if held.untold]
        return min((order.written_at for order in firsts), default=None)

    def _schedule(self, at: int, partition: int, customer: str) -> None:
        self._turn += 1
        heapq.heappush(self._due, (at, self._turn, partition, customer))

    def _queue(self, partition: int, customer: str) -> _Queue | None:
        held = self._partitions.get(partition)
        return None if held is None else held.customers.get(customer)

    def _queue_of(self, order: PaymentOrder) -> _Queue | None:
        """The queue whose first order in flight this is; None if its partition has been given away since."""
        queue = self._queue(order.partition, order.customer)
        return queue if queue is not None and queue.orders and queue.orders[0] is order else None


def _not_yet_read(committed: GroupProgress, read_to: int, at: GroupProgress) -> GroupProgress:
    """What the last owner had told further on stays told, although this one has not read so far."""
    beyond = tuple(offset for offset in committed.untold if offset >= read_to)
    return GroupProgress(at.next, committed.upto, (*at.untold, *beyond))
