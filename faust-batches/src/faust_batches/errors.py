"""What can go wrong in the transport.

TransportError
├── NotOwner                 the batch is dropped, and delivered to its owner
│   ├── Fenced
│   └── StoreDamaged         the store is read from its changelog again
├── ForeignWrite             recovery settles it
├── RecordTooLarge
├── ClockRefused             the batch is made again, until our clock is right
├── BatchRefused             internal: the batch is made again
├── NeedsOperator            restarting does not help; its message says what does
│   ├── GroupTaken
│   ├── TopicsMismatch
│   ├── SourceMismatch
│   ├── ChangelogMismatch
│   ├── StateFolderUnusable
│   ├── NameTaken
│   ├── NotAllowed
│   └── RefusedByBroker
├── NeedsRestart             a new process works where this one does not
│   ├── BrokersAway
│   ├── BrokersMoved
│   └── WorkEnded
└── WorkerFailed             the app stopped because of ``__cause__``
"""

from __future__ import annotations

from typing import Final

REFILL: Final = "Take new topics and a new group, and refill them by replay"
"""The remedy where a state may lack something."""


class TransportError(Exception):
    """Root of the tree."""


class NotOwner(TransportError):
    """The partition is not, or perhaps no longer, ours: the batch is dropped, and delivered to its owner again."""


class Fenced(NotOwner):
    """A newer owner has opened the partition's transactional producer: nothing of this batch is visible."""


class StoreDamaged(NotOwner):
    """The files of a local store are not what was written: in the next assignment, it is read from its changelog."""


class ForeignWrite(TransportError):
    """Another process wrote to one of our changelog partitions: stop; recovery settles it (``supersedes``)."""


class RecordTooLarge(TransportError):
    """A record exceeds what its topic takes."""

    def __init__(self, topic: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"a record of {size_bytes} bytes for {topic}, which takes {limit_bytes}")
        self.topic, self.size_bytes, self.limit_bytes = topic, size_bytes, limit_bytes


class BatchRefused(TransportError):
    """The broker's limit is smaller than ours: the publisher has adopted it, and the batch has to be made again."""


class ClockRefused(TransportError):
    """The broker does not take records with our time: it is too far from its own."""


class NeedsOperator(TransportError):
    """The message is for an operator: what is wrong, and how to fix it. Restarting does not help."""


class GroupTaken(NeedsOperator):
    """Another app uses a group of this name, and with it the changelogs."""


class TopicsMismatch(NeedsOperator):
    """Topics that the app needs are missing, or have another number of partitions."""


class SourceMismatch(NeedsOperator):
    """The source is not the log that the state was made from, or lacks records that the state has not seen."""


class ChangelogMismatch(NeedsOperator):
    """The changelog is not the one that the state belongs to, or holds a record that is not an entry of its table."""


class StateFolderUnusable(NeedsOperator):
    """The local store cannot be opened, read or written."""


class NameTaken(NeedsOperator):
    """Another member of the group has the same static name."""


class NotAllowed(NeedsOperator):
    """The broker refuses us a right."""


class RefusedByBroker(NeedsOperator):
    """What the app needs is outside of a limit of the brokers."""


class NeedsRestart(TransportError):
    """A new process can go on where this one cannot: the message says why. Ending loses nothing."""


class BrokersAway(NeedsRestart):
    """No broker answered for as long as a worker that starts waits."""


class BrokersMoved(NeedsRestart):
    """The brokers have other addresses, or take other credentials, than those that this process knows."""


class WorkEnded(NeedsRestart):
    """A task without which the app does nothing has ended by itself."""


class WorkerFailed(TransportError):
    """The app stopped itself; ``__cause__`` is the reason."""
