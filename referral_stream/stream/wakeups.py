"""Wake-ups: silence must wake us, no window may close only on the next event.

What is due when, for this worker's own partitions: read from the table ``wakeups`` after every assignment, a portion at
a time, and kept up to date with every batch. Due entries are appended to ``customer-events`` as ``wakeup.due``; the
decide agent clears or moves the entry when it handles it.

Only a limited number are under way at a time. They queue up in the same log as everything else, so a burst (a slot
opens for 50,000 customers) delays an event by no more than those, and proceeds as fast as the decide agent handles
them. A wake-up that was not handled in time counts as lost: it queues again behind all that became due before, so that
one that is never handled delays no other.

No step touches more than a few entries, with one exception: a heap is rebuilt when most of it is out of date. A million
entries in 24 partitions take 150 bytes each, in addition to their table.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice

from faust_batches import Histogram, Output

from referral_stream.contracts.codec import encode_event, event_headers
from referral_stream.contracts.state import wakeup_due
from referral_stream.core.events import Event, Link, WakeupDue
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import SECOND
from referral_stream.core.keys import parse_key

SOURCE = "referral-stream/timer"
AGAIN_AFTER = 10 * SECOND
"""How long a wake-up may be under way before it counts as lost."""
UNDER_WAY = 2_000
"""At most this many at a time; handling them takes the decide agent a fraction of a second."""
PORTION = 2_000
"""Entries read from the table in one go: a few milliseconds."""
DELAYS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

_OUTDATED = 1_000
"""Out-of-date heap entries that are not worth a rebuild."""


class _Partition:
    """``due`` is what is pending; the heap may also hold entries that are no longer valid.

    ``sent`` says when the wake-ups under way were sent, the longest under way first.
    """

    __slots__ = ("changed", "due", "heap", "sent", "unread")

    def __init__(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        self.due: dict[bytes, int] = {}
        self.heap: list[tuple[int, bytes]] = []
        self.sent: dict[bytes, int] = {}
        self.unread: Iterator[tuple[bytes, bytes]] | None = iter(entries)
        self.changed: set[bytes] = set()  # while something is unread, which may be older

    def read_on(self, limit: int) -> int:
        """Take over at most ``limit`` more of the table's entries; returns how many there were."""
        if self.unread is None:
            return 0
        portion = list(islice(self.unread, limit))
        for key, value in portion:
            if key not in self.changed:
                self._expect(key, wakeup_due(value))
        if len(portion) < limit:
            self.unread = None
            self.changed.clear()
        return len(portion)

    def change(self, key: bytes, value: bytes | None) -> None:
        self.sent.pop(key, None)
        if self.unread is not None:
            self.changed.add(key)
        if value is None:
            self.due.pop(key, None)
        else:
            self._expect(key, wakeup_due(value))

    def _expect(self, key: bytes, due: int) -> None:
        self.due[key] = due
        heapq.heappush(self.heap, (due, key))
        if len(self.heap) > 2 * len(self.due) + _OUTDATED:
            self.heap = [(at, key) for key, at in self.due.items() if key not in self.sent]
            heapq.heapify(self.heap)

    def first(self) -> int | None:
        """When the next wake-up that is not under way is to be sent."""
        heap, due, sent = self.heap, self.due, self.sent
        while heap:
            at, key = heap[0]
            if key not in sent and at >= due.get(key, at + 1):
                return at
            heapq.heappop(heap)
        return None

    def first_lost(self) -> int | None:
        """When the next wake-up under way counts as lost."""
        return next(iter(self.sent.values())) + AGAIN_AFTER if self.sent else None

    def send(self, now: int) -> tuple[bytes, int]:
        """The key and the due instant of the ``first``; it is under way from now on."""
        _, key = heapq.heappop(self.heap)
        self.sent[key] = now
        return key, self.due[key]

    def queue_lost(self, now: int) -> None:
        while (lost := self.first_lost()) is not None and lost <= now:
            key = next(iter(self.sent))
            del self.sent[key]
            heapq.heappush(self.heap, (now, key))


class Wakeups:
    """What is due when, for our partitions. Knows no clock and sends nothing itself.

    ``delays``: seconds from due to appended, of every wake-up that was sent, for the first time or again.
    """

    def __init__(self) -> None:
        self.delays = Histogram(DELAYS_SECONDS)
        self._partitions: dict[int, _Partition] = {}

    def load(self, partition: int, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Take over a partition with what its table holds: ``entries`` are read later, by ``read_on``.

        They may show the table as it is now or as it is when they are read.
        """
        self._partitions[partition] = _Partition(entries)

    def read_on(self, limit: int = PORTION) -> bool:
        """Read a portion of what was loaded; returns whether there may be more. Call it until there is not."""
        for partition in self._partitions.values():
            limit -= partition.read_on(limit)
            if limit <= 0:
                return True
        return False

    def drop(self, partitions: Iterable[int]) -> None:
        """These partitions now belong to another worker."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def change(self, partition: int, changes: dict[bytes, bytes | None]) -> None:
        """A batch of this partition is durable."""
        ours = self._partitions.get(partition)
        if ours is not None:
            for key, value in changes.items():
                ours.change(key, value)

    def pending(self) -> int:
        """How many customers are waiting for something, as far as has been read."""
        return sum(len(partition.due) for partition in self._partitions.values())

    def next_due(self) -> int | None:
        """When the next wake-up is to be sent, or sent again; None when nothing is pending."""
        instants = [instant for each in self._partitions.values() for instant in (each.first(), each.first_lost())]
        return min((instant for instant in instants if instant is not None), default=None)

    def take(self, now: int, limit: int = UNDER_WAY) -> list[tuple[int, bytes, int]]:
        """What is to be sent at ``now``: (partition, key, due), earliest first, with at most ``limit`` under way."""
        for ours in self._partitions.values():
            ours.queue_lost(now)
        room = limit - sum(len(ours.sent) for ours in self._partitions.values())
        firsts = [(at, number) for number, ours in self._partitions.items() if (at := ours.first()) is not None]
        heapq.heapify(firsts)
        taken: list[tuple[int, bytes, int]] = []
        while firsts and firsts[0][0] <= now and len(taken) < room:
            number = firsts[0][1]
            ours = self._partitions[number]
            taken.append((number, *ours.send(now)))
            if (at := ours.first()) is None:
                heapq.heappop(firsts)
            else:
                heapq.heapreplace(firsts, (at, number))
        return taken

    def appended(self, taken: Iterable[tuple[int, bytes, int]], now: int) -> None:
        """What was taken is on ``customer-events`` ``now``."""
        for _, _, due in taken:
            self.delays.observe((now - due) / SECOND)


def wakeup_outputs(taken: Iterable[tuple[int, bytes, int]], topic: str, now: int) -> list[Output]:
    """The records of ``wakeup.due``, each on the partition its customer or link lives on."""
    outputs = []
    for partition, key, due in taken:
        name = parse_key(key)
        is_link = isinstance(name, Link)
        event = Event(
            id=derived_id("wakeup", key.decode("utf-8", "replace") if is_link else name, due),
            source=SOURCE,
            type=WakeupDue.type,
            subject="" if is_link else str(name),
            time=due,
            data=WakeupDue(due=due),
            link=name if isinstance(name, Link) else None,
        )
        outputs.append(Output(topic, encode_event(event), key, event_headers(event, now), partition))
    return outputs
