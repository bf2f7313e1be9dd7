"""What the parts of the transport need of each other.

Parts that we build ourselves are given the ports they use. The consumer and the recovery are built by Faust, with the
app as their argument: ``Ports.of(app)`` is all they know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol, cast

from faust.types import TP, AppT

from faust_batches.broker_wait import BrokerWait
from faust_batches.config import WorkerConfig
from faust_batches.fetched import BatchMessage, Fetched
from faust_batches.membership import Membership
from faust_batches.meter import Meter
from faust_batches.source import SourcePosition


class Feed(Protocol):
    """Where batches come from: the consumer, to lanes and steps."""

    def acknowledge(self, message: BatchMessage, /) -> None:
        """All effects of this batch are durable: its offset may be committed."""

    def forget(self, message: BatchMessage, /) -> None:
        """Stop waiting for this batch without committing it: it will be delivered again, here or elsewhere."""

    def pause_fetching(self, tp: TP, /) -> None: ...

    def resume_fetching(self, tp: TP, /) -> None: ...

    async def check_owner(self, tp: TP, assignment: int, /) -> None:
        """Return once the group is known to count us as owner of ``tp``. Raises NotOwner."""


class Changelogs(Protocol):
    """Where recovery reads: the consumer again."""

    @property
    def flow_active(self) -> bool: ...

    async def seek_wait(self, partitions: Mapping[TP, int], /) -> None: ...

    async def check_compacted(self, topics: Iterable[str], /) -> None:
        """Raises ChangelogMismatch unless these topics are compacted, and nothing else; NotAllowed."""

    async def topic_ids(self, topics: Iterable[str], /) -> Mapping[str, str] | None:
        """The ids of these topics, as far as brokers have any; ``None``: the assignment is over."""

    async def position(self, tp: TP, /) -> int | None:
        """The offset from which the client will fetch next."""

    def fetched_to(self, tp: TP, /) -> int | None:
        """The offset after the last record that was fetched since the last seek; ``None``: neither has happened."""


class Recovering(Protocol):
    """What the consumer does with fetches of changelogs."""

    @property
    def in_recovery(self) -> bool: ...

    async def apply(self, tp: TP, fetched: Fetched, /) -> None: ...

    async def skip_invisible_end(self) -> None: ...


class Work(Protocol):
    """Batches that are queued or under way: the lanes, to the consumer."""

    def drop_queued(self) -> None: ...

    async def idle(self) -> None:
        """Return when no batch is under way."""


class State(Protocol):
    """What the consumer asks about tables, and the events of an assignment that it reports."""

    @property
    def reads_committed(self) -> bool: ...

    def has_state(self, tp: TP, /) -> bool: ...

    def has_changelog(self, partition: int, /) -> bool:
        """Whether the changelog with the marks of a partition that is being taken over ever held anything."""

    def state_positions(self, assigned: Iterable[TP], /) -> Mapping[TP, SourcePosition | None]:
        """For partitions with state among ``assigned``: how far it has read them, if its changelog says so."""

    async def take_over(self, assigned: set[TP], assignment: int, topics: AbstractSet[str], /) -> None:
        """Before recovery: make sure that nobody else can write to our partitions from now on.

        ``topics`` exist for certain; others are looked for.
        """

    def reached(self, committed: Mapping[TP, int | None], ids: Mapping[str, str], /) -> Mapping[TP, int | None]:
        """Where to read on, given what the group has committed and the topics' ids. Raises SourceMismatch."""

    def begins_again(self, tp: TP, /) -> None:
        """A source without a state has turned out to be another topic while it is read."""

    async def keep_positions(self, offsets: Mapping[TP, int], /) -> None:
        """These offsets are committed, or where an assignment begins."""

    def clients(self) -> Iterable[Any]:
        """All of the app's clients that have connections to brokers, whichever thread they belong to."""

    def partitions_lost(self) -> None:
        """All partitions were revoked, and no batch is under way."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What an app offers to the parts that Faust builds. The last two exist once Faust has built them."""

    config: WorkerConfig
    meter: Meter
    membership: Membership
    brokers: BrokerWait
    work: Work
    state: State
    changelogs: Callable[[], Changelogs]
    recovery: Callable[[], Recovering]

    @staticmethod
    def of(app: AppT) -> Ports:
        return cast("Ports", cast("Any", app).ports)
