"""What the audit found: the invariants by name, the offenders by position, and what could not be checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

KEPT_PER_INVARIANT: Final = 1_000
"""Findings kept per invariant: a log that breaks one a million times needs no list of a million."""


class Position(NamedTuple):
    """Where a record lies; written ``topic-partition@offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


INVARIANTS: Final[dict[str, str]] = {
    "records_readable": "each of our records can be read, and has what the contract requires",
    "records_placed": "a record's key is its subject, and its partition the key's murmur2",
    "letters_complete": "every dead letter has all its headers, and every record that decide could not read has one",
    "one_body_per_command": "a command id has one body, for every reader",
    "command_once": "a reader with read_committed sees a command once",
    "ask_inside_window": "an ask is decided and due inside its window, and expires by its end",
    "no_ask_in_cool_down": "no customer, e-mail address or account is asked within the policy's cool-downs",
    "ask_decided": "each ask has exactly one decision, which agrees with it",
    "ask_reserved": "each ask has a reservation that was requested for its moment and granted before it",
    "reservation_settled": "a granted reservation is used or given back, and what workers report reaches the ledger",
    "not_merged_away": "nobody is asked under an id that was merged away before",
    "cancellation_known": "a cancellation names a command that is there, and comes before it expires",
    "after_once": "a follow-up, its cancellation and each word on a reward have one body, and occur once",
    "followup_wanted": "nothing is said to a customer after a stop, an erasure, or on a channel that was withdrawn",
    "followup_caused": "each follow-up has a cause, and its number; what was not cancelled is not said again",
    "followup_cancellation_known": "a cancellation names a follow-up that is there and open",
    "reward_granted_once": "one grant per customer and referral, by its own id, and never denied as well",
    "reward_agreed": "a reward is granted if and only if the ledger gave it, and was told so",
    "reward_reversed_after": "only what was granted is reversed, and after it",
    "reward_worth": "a reward is worth what was offered, or what the policy says",
    "grant_caps": "nobody is rewarded beyond the caps, for a contact of another, or twice for one",
    "grant_settled": "a grant that the ledger answered is confirmed or released",
    "record_counted": "a state has every record of its customer that its partition has processed",
    "state_is_fold": "the state is the fold of the customer's log",
    "decisions_follow": "decisions, commands, follow-ups, rewards and requests are what the fold produces, no others",
    "appends_follow": "what customers append to each other is what the fold produces, byte for byte, nothing else",
    "wakeup_matches": "the wake-up table holds what follows from the states, and nothing else",
    "record_is_fold": "the record of a customer is the one that the fold produces, byte for byte",
    "record_recounted": "the record of a customer is what a recount of all that was published gives",
    "names_apart": "contacts are named on referral-contacts alone, and only those who have consented",
    "pending_wakes": "an opportunity that is pending has a wake-up, at its deadline at the latest",
}
"""Name → what it means, in the order of a report."""


class AuditFinding(NamedTuple):
    """One offence. ``what`` names our own ids and rules, never a customer or a payload."""

    invariant: str
    what: str
    positions: tuple[Position, ...]


class Findings:
    """Collects findings: all are counted, and the first ones of each invariant kept."""

    def __init__(self) -> None:
        self.kept: list[AuditFinding] = []
        self.counts: Counter[str] = Counter()

    def add(self, invariant: str, what: str, *positions: Position) -> None:
        self.counts[invariant] += 1
        if self.counts[invariant] <= KEPT_PER_INVARIANT:
            self.kept.append(AuditFinding(invariant, what, positions))


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The outcome of an audit.

    ``counts``: what was checked (events, customers, asks, decisions, …). ``broken``: how often each invariant is; of
    very many findings only the first are in ``findings``. ``unchecked``: checks that could not be made, and why.
    """

    findings: tuple[AuditFinding, ...]
    broken: dict[str, int]
    counts: Counter[str]
    unchecked: tuple[str, ...]


@dataclass
class AuditCounts:
    """The results of one pass so far."""

    findings: Findings = field(default_factory=Findings)
    counts: Counter[str] = field(default_factory=Counter)
    unchecked: Counter[str] = field(default_factory=Counter)

    def report(self) -> AuditReport:
        order = {name: place for place, name in enumerate(INVARIANTS)}
        kept = sorted(self.findings.kept, key=lambda finding: (order[finding.invariant], finding.positions))
        broken = dict(sorted(self.findings.counts.items(), key=lambda item: order[item[0]]))
        unchecked = tuple(f"{why} ({count:,})" if count > 1 else why for why, count in sorted(self.unchecked.items()))
        return AuditReport(tuple(kept), broken, Counter(dict(sorted(self.counts.items()))), unchecked)
