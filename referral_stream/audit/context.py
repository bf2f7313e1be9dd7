"""What the parts of one pass share: the topics and how far they are read, the policies, and the findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from referral_stream.audit.after_evidence import AfterEvidence
from referral_stream.audit.appended import Appended
from referral_stream.audit.commands import Evidence
from referral_stream.audit.findings import AuditCounts, Position
from referral_stream.audit.kept import Kept
from referral_stream.audit.placement import partition_of
from referral_stream.audit.reading import Absent, Logs, Unreadable
from referral_stream.audit.records import position
from referral_stream.contracts.codec import arrival
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import Topics, changelogs
from referral_stream.core.policy import Policy
from referral_stream.runtime.settings import Settings

Progress = Callable[[int, int], None]
"""Is told how many records have been read, and how many there are in all, about."""

_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of a deployment by their full names."""

    events: str
    asks: str
    decisions: str
    requests: str
    letters: str
    customers: str
    wakeups: str
    followups: str
    rewards: str
    records: str
    contacts: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        topics = Topics(settings.topic_prefix)
        customers, wakeups = changelogs(f"{settings.group_prefix}-decide")
        return cls(
            events=topics.customer_events,
            asks=topics.referral_asks,
            decisions=topics.referral_decisions,
            requests=topics.ledger_requests,
            letters=topics.dead_letters,
            customers=customers,
            wakeups=wakeups,
            followups=topics.referral_followups,
            rewards=topics.referral_rewards,
            records=topics.referral_records,
            contacts=topics.referral_contacts,
        )

    def of_topic(self, topic: str) -> str:
        """The full name of a topic that the decide agent writes to, named as the catalogue names it."""
        return {
            "referral-asks": self.asks,
            "referral-decisions": self.decisions,
            "ledger-requests": self.requests,
            "referral-followups": self.followups,
            "referral-rewards": self.rewards,
            "referral-records": self.records,
            "referral-contacts": self.contacts,
        }[topic]

    @property
    def after(self) -> tuple[str, ...]:
        """The topics of what follows an ask: a deployment of an older version has none of them."""
        return self.followups, self.rewards, self.records, self.contacts


class Expected(NamedTuple):
    """A record that a fold makes and that must be on its topic: its customer, and the record that caused it."""

    topic: str
    customer: bytes
    key: bytes
    cause: Position


@dataclass
class Scene:
    """One pass. ``out``: the ends of the outbound topics when it began; all before them must follow from the logs."""

    logs: Logs
    names: Names
    policies: Mapping[str, Policy]
    fenced: bool
    told: Progress
    tally: AuditCounts = field(default_factory=AuditCounts)
    evidence: Evidence = field(default_factory=Evidence)
    begins: dict[str, list[int]] = field(default_factory=dict)
    out: dict[str, list[int]] = field(default_factory=dict)
    expected: dict[bytes, Expected] = field(default_factory=dict)
    appended: Appended = field(default_factory=Appended)
    after: AfterEvidence = field(default_factory=AfterEvidence)
    kept: Kept = field(default_factory=Kept)
    unjudged: set[bytes] = field(default_factory=set)
    """Customers of whom nothing could be recomputed, in addition to those of the partitions ``unfoldable``."""
    unstored: set[bytes] = field(default_factory=set)
    """Customers of whom the newest records are in no state, as nothing of them could be stored."""
    unfoldable: set[int] = field(default_factory=set)
    oversized: set[tuple[str, bytes]] = field(default_factory=set)
    """Topic and key of outputs that no broker would take: a dead letter replaces them."""
    read: int = 0
    total: int = 0

    def begin(self) -> None:
        """Note where every topic begins and ends. Raises Unreadable."""
        n = self.names
        for topic in (n.asks, n.decisions, *n.after, n.requests, n.letters, n.events, n.customers, n.wakeups):
            try:
                self.begins[topic], self.out[topic] = self.logs.begins(topic), self.logs.ends(topic)
            except Absent:
                if topic not in n.after:
                    raise
                self.tally.unchecked[f"{topic} does not exist: nothing of it is checked"] += 1
                continue
            self.total += sum(self.out[topic]) - sum(self.begins[topic])
        counts = {topic: len(begins) for topic, begins in self.begins.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{topic} {count}" for topic, count in sorted(counts.items()))
            raise Unreadable(f"the topics differ in their partitions: {found}; referral-stream topics check")
        late = {topic: {p for p, begin in enumerate(begins) if begin > 0} for topic, begins in self.begins.items()}
        for topic in (n.asks, n.decisions, n.followups, n.rewards, n.requests, n.events):
            without = (
                "states and decisions are not recomputed" if topic == n.events else "what came before is not missed"
            )
            for partition in sorted(late.get(topic, ())):
                begin = self.begins[topic][partition]
                self.tally.unchecked[f"{topic}-{partition} begins at offset {begin}: {without}"] += 1
        self.unfoldable = late[n.events]
        self.evidence.late_asks, self.evidence.late_decisions = late[n.asks], late[n.decisions]
        self.evidence.late_events, self.evidence.requests_complete = late[n.events], not late[n.requests]
        self.after.late = {topic: frozenset(late.get(topic, ())) for topic in (*n.after, n.asks, n.events)}
        self.after.followups_lapsed = bool(late.get(n.followups, True))
        self.after.rewards_lapsed = bool(late.get(n.rewards, True))
        self.after.asks_lapsed = bool(late[n.asks])
        if not self.fenced:
            self.tally.unchecked["without transactions a command may be repeated, and a batch may be seen in part"] += 1

    def has(self, topic: str) -> bool:
        """Whether the topic exists."""
        return topic in self.begins

    @property
    def partitions(self) -> int:
        """Of each of our topics."""
        return len(self.begins[self.names.events])

    def records(
        self, topic: str, partition: int, start: int | None = None, end: int | None = None
    ) -> Iterator[RawRecord]:
        """The records from ``start`` (else the beginning) to ``end`` (else the present end)."""
        begin = self.begins[topic][partition] if start is None else start
        for record in self.logs.read(topic, partition, begin, end):
            self.read += 1
            if self.read % _TOLD_EVERY == 0:
                self.told(self.read, max(self.total, self.read))
            yield record

    def check_output(self, record: RawRecord, customer: str) -> None:
        """A record keyed by customer: its key, its partition and its stamp."""
        if record.key != customer.encode():
            self.tally.findings.add("records_placed", "the key is not the customer", position(record))
        self.check_place(record)

    def check_placement(self, record: RawRecord) -> None:
        """A record of a changelog."""
        if record.key is not None and partition_of(record.key, self.partitions) != record.partition:
            self.tally.findings.add("records_placed", "the key belongs to another partition", position(record))

    def check_place(self, record: RawRecord) -> None:
        """One of our records with any key: its partition and its stamp."""
        self.check_placement(record)
        try:
            arrival(record)
        except Undecodable as problem:
            self.tally.findings.add("records_readable", problem.detail, position(record))

    def is_judged(self, customer: bytes, partition: int) -> bool:
        """Whether what follows for this customer was recomputed."""
        return partition not in self.unfoldable and customer not in self.unjudged
