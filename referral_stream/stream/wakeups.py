"""Wake-ups: silence must wake us, no window may close only on the next event.

A heap of the due entries of this worker's own partitions, rebuilt from the table ``wakeups`` after every assignment and
kept up to date with every batch. Due entries are appended to ``customer-events`` as ``wakeup.due``; the decide agent
clears or moves the entry when it handles it. An entry that stays was lost on the way and is sent again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from referral_stream.contracts.outbound import encode_event, event_headers
from referral_stream.contracts.state import decode_wakeup
from referral_stream.core.asks import derived_id
from referral_stream.core.events import Event, WakeupDue
from referral_stream.core.instants import SECOND
from referral_stream.stream.transport import Output

SOURCE = "referral-stream/timer"
AGAIN_AFTER = 10 * SECOND
"""How long a wake-up may be on its way before it is sent again."""
PER_TICK = 2_000
"""At most so many in one go, so that a burst (a slot opens) does not starve the stream."""


class Wakeups:
    """What is due when, for the partitions that are ours. Knows no clock and sends nothing itself."""

    def __init__(self) -> None:
        self._due: dict[int, dict[bytes, int]] = {}
        self._heap: list[tuple[int, int, bytes]] = []

    def load(self, partition: int, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Take over a partition with what its table holds."""
        self._due[partition] = due = {key: decode_wakeup(value).due for key, value in entries}
        self._heap += [(at, partition, key) for key, at in due.items()]
        heapq.heapify(self._heap)

    def drop(self, partitions: Iterable[int]) -> None:
        """These partitions are another worker's now."""
        for partition in partitions:
            self._due.pop(partition, None)
        self._heap = [entry for entry in self._heap if entry[1] in self._due]
        heapq.heapify(self._heap)

    def change(self, partition: int, changes: dict[bytes, bytes | None]) -> None:
        """A batch of this partition is durable."""
        due = self._due.get(partition)
        if due is None:
            return
        for key, value in changes.items():
            if value is None:
                due.pop(key, None)
            else:
                at = due[key] = decode_wakeup(value).due
                heapq.heappush(self._heap, (at, partition, key))

    def pending(self) -> int:
        """How many customers wait for something."""
        return sum(map(len, self._due.values()))

    def next_due(self) -> int | None:
        """The earliest due instant, None when nothing is pending."""
        while self._heap:
            at, partition, key = self._heap[0]
            if self._current(at, partition, key):
                return at
            heapq.heappop(self._heap)
        return None

    def take(self, now: int, limit: int = PER_TICK) -> list[tuple[int, bytes, int]]:
        """What is due at ``now``: (partition, key, due), earliest first. Unless changed, it comes again later."""
        taken: list[tuple[int, bytes, int]] = []
        again: list[tuple[int, int, bytes]] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < limit:
            at, partition, key = heapq.heappop(self._heap)
            if not self._current(at, partition, key):
                continue
            taken.append((partition, key, self._due[partition][key]))
            again.append((now + AGAIN_AFTER, partition, key))
        for entry in again:
            heapq.heappush(self._heap, entry)
        return taken

    def _current(self, at: int, partition: int, key: bytes) -> bool:
        """Whether a heap entry still stands; repeats stand later than their due instant."""
        due = self._due.get(partition, {}).get(key)
        return due is not None and at >= due


def wakeup_outputs(taken: Iterable[tuple[int, bytes, int]], topic: str, now: int) -> list[Output]:
    """The records of ``wakeup.due``, each on the partition its customer lives on."""
    outputs = []
    for partition, key, due in taken:
        customer = key.decode()
        event = Event(
            id=derived_id("wakeup", customer, due),
            source=SOURCE,
            type=WakeupDue.type,
            subject=customer,
            time=due,
            data=WakeupDue(due=due),
        )
        outputs.append(Output(topic, encode_event(event), key, event_headers(event, now), partition))
    return outputs
