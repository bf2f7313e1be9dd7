"""Every topic as one row: what it is for, how long it is kept, who writes and who reads it.

Names, retention, rights on the broker, AsyncAPI's channels and the tables of the documentation are made from these
rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

_DAY: Final = 24 * 60 * 60 * 1_000
"""As in ``core.instants``, which loads pydantic: the command line reads these rows before it knows what to run."""

Principal: TypeAlias = Literal["ingest", "decide", "ledger", "projector", "receiver", "worker", "rewards", "operator"]
"""Who has separate rights: the workers' roles, the webhook receiver, a messaging worker, and the operator, who runs
the other verbs of the command line."""

PRINCIPALS: Final[tuple[Principal, ...]] = get_args(Principal)

HeaderKind: TypeAlias = Literal["producer", "own", "deadLetter"]
"""Which headers its records have, as AsyncAPI describes them: a producer's, our stamp, a dead letter's."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a topic is retained: for how long, or compacted, or (``deleted``) both."""

    retention_ms: int = 400 * _DAY
    compacted: bool = False
    max_message_bytes: int | None = None
    segment_bytes: int | None = None

    deleted: bool = False

    def config(self) -> dict[str, str]:
        """The topic's settings on the broker."""
        if self.compacted and self.deleted:
            return {"cleanup.policy": "compact,delete", "retention.ms": str(self.retention_ms)}
        if self.segment_bytes is not None:  # small, so that it is compacted soon, and read in no time
            return {"cleanup.policy": "compact", "segment.bytes": str(self.segment_bytes)}
        if self.compacted:
            return {"cleanup.policy": "compact", "min.compaction.lag.ms": str(_DAY)}
        found = {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        if self.max_message_bytes is not None:
            found["max.message.bytes"] = str(self.max_message_bytes)
        return found


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of this version, named without the deployment's prefix.

    ``writers`` and ``readers`` are those whose work needs it, and their rights on the broker. The operator may read
    every topic, and is named among the readers only where the topic is meant for the operator. A ``source`` belongs to
    its producers, who choose its keys and partitions; the partitions of every other topic are fixed by the settings.
    """

    name: str
    about: str
    key: str
    keep: Kept
    writers: tuple[Principal, ...]
    readers: tuple[Principal, ...] = ()
    headers: HeaderKind | None = None
    source: bool = False


DAYS_400: Final = Kept()
DAYS_30: Final = Kept(retention_ms=30 * _DAY, max_message_bytes=2 << 20)
COMPACTED: Final = Kept(compacted=True)
COMPACTED_400: Final = Kept(compacted=True, deleted=True)
COMPACTED_SOON: Final = Kept(compacted=True, segment_bytes=1 << 20)

LEDGER_REQUESTS: Final = "ledger-requests"
"""What a ledger is rebuilt from: kept longer where the policy makes an ask count longer than that."""

_CUSTOMER: Final = "The customer's id."


def _source(name: str, about: str, *writers: Principal) -> Topic:
    key = "Whatever the producer hashes by; ignored."
    return Topic(name, about, key, DAYS_400, ("receiver", *writers), ("ingest",), "producer", source=True)


TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        _source("product-usage", "Usage, onboarding, milestones, goals, moments in the product, critical tasks."),
        _source("nps", "Every survey answer."),
        _source("billing", "Subscriptions, trials, invoices, refunds, disputes, cancellations, contracts, deals."),
        _source("support", "Tickets, complaints, frustration."),
        _source("relationship", "Interactions, feedback, advocacy, e-mail engagement, calls, peers."),
        _source(
            "profile",
            "Sign-up, time zone, segment, account, channels, consent, suppression, aliases, erasure; and what `import` "
            "brings in, of whatever kind.",
            "operator",
        ),
        _source(
            "responses",
            "What became of an ask: acknowledgements, answers, approvals, referrals; and operators' switches.",
            "worker",
            "rewards",
        ),
        Topic(
            "customer-events",
            "Internal: all that a decision saw, in its order; comments are replaced by themes.",
            _CUSTOMER,
            DAYS_400,
            writers=("ingest", "decide", "ledger", "operator"),
            readers=("decide",),
            headers="own",
        ),
        Topic(
            LEDGER_REQUESTS,
            "Internal: reservations, and operators' switches.",
            "The account's id, else the customer's; none on a switch.",
            DAYS_400,
            writers=("ingest", "decide", "ledger", "operator"),
            readers=("ledger", "projector"),
        ),
        Topic(
            "ledger-generations",
            "Internal: every time the ledger was built anew, so that no older one goes on, on partition 0 alone; and "
            "the newest word on each of the operators' switches, which no retention ends.",
            "`ledger`; of a switch its scope and name.",
            COMPACTED,
            writers=("ledger",),
            readers=("ledger",),
        ),
        Topic(
            "referral-asks",
            "Commands to the messaging worker.",
            _CUSTOMER,
            DAYS_400,
            writers=("decide",),
            readers=("worker",),
        ),
        Topic(
            "referral-decisions",
            "Every change of a decision, with its explanation.",
            _CUSTOMER,
            DAYS_400,
            writers=("decide",),
            readers=("projector",),
        ),
        Topic(
            "referral-followups",
            "What is said after an answer or a referral, to the customer or to their owner.",
            _CUSTOMER,
            DAYS_400,
            writers=("decide",),
            readers=("worker", "projector"),
        ),
        Topic(
            "referral-rewards",
            "What a referrer gets: held, granted, denied, reversed.",
            _CUSTOMER,
            DAYS_400,
            writers=("decide",),
            readers=("rewards", "projector"),
        ),
        Topic(
            "referral-records",
            "The newest record of every customer who was ever considered: asks, referrals, counts.",
            _CUSTOMER,
            COMPACTED,
            writers=("decide",),
            readers=("projector", "operator"),
        ),
        Topic(
            "referral-contacts",
            "Names of contacts who have consented; nowhere else.",
            "The referral's id.",
            COMPACTED_400,
            writers=("ingest", "decide", "operator"),
            readers=("operator",),
        ),
        Topic(
            "dead-letters",
            "Records that could not be used, untouched, with what is needed to try again.",
            "As it came.",
            DAYS_30,
            writers=("ingest", "decide", "ledger", "operator"),
            readers=("operator",),
            headers="deadLetter",
        ),
    )
}
"""Every topic of this version by its name (semantics §7: logs lapse after 400 days, dead letters after 30)."""

SOURCES: Final = tuple(topic.name for topic in TOPICS.values() if topic.source)
"""What producers write to."""

TABLES: Final = ("customers", "wakeups")


@dataclass(frozen=True)
class Topics:
    """The names of this deployment's topics."""

    prefix: str = ""

    def __getattr__(self, name: str) -> str:
        """``topics.customer_events`` → ``PREFIXcustomer-events``. Raises AttributeError for an unknown topic."""
        topic = name.replace("_", "-")
        if topic not in TOPICS:
            raise AttributeError(name)
        full_name = self.full_name(topic)
        object.__setattr__(self, name, full_name)  # so it is asked for here only once, and not with every record
        return full_name

    def full_name(self, topic: str) -> str:
        return f"{self.prefix}{topic}"

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(map(self.full_name, SOURCES))

    @property
    def every(self) -> tuple[str, ...]:
        return tuple(map(self.full_name, TOPICS))


def positions(group_prefix: str) -> str:
    """The topic in which every role keeps how far it has read, and by how many partitions it writes."""
    return f"{group_prefix}-positions"


def changelogs(group: str) -> tuple[str, ...]:
    """The changelog topics of the decide agent's group."""
    return tuple(f"{group}-{table}-changelog" for table in TABLES)
