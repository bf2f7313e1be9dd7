"""What is kept: the list of events per customer, and the few things that are histories of their own."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.oracle.policy import Policy
from tests.oracle.records import Event, Record
from tests.oracle.signals import Known, Stamp, nothing_known
from tests.oracle.trouble import UsageJudgement

Row = dict[str, Any]
Reason = dict[str, Any]  # gate, answer, until (an instant, an event's type, or None), saw, limit


@dataclass
class Result:
    """CloudEvents in the order of (time, customer, opportunity as they opened, n); dead letters in that of the log."""

    asks: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    dead_letters: list[Row] = field(default_factory=list)
    followups: list[Row] = field(default_factory=list)  # by (time, customer), then as made
    rewards: list[Row] = field(default_factory=list)  # likewise
    records: list[Row] = field(default_factory=list)  # the newest of every customer, by customer


@dataclass
class Opportunity:
    id: str
    trigger: str
    subject: str
    t0: datetime
    deadline: datetime
    settled: datetime
    opened_at: datetime
    opened_by: Event
    life: str = "live"  # live, closed, emitted, cancelled
    cleared_at: datetime | None = None  # since when every gate but `moment` has passed
    moment: tuple[datetime, str, str | None] | None = None  # an event moment of this very instant, its channel and call
    denial: Reason | None = None
    outcome: str = ""
    reasons: list[Reason] = field(default_factory=list)
    shown_with: Row = field(default_factory=dict)  # score and time zone as they were when the reasons were found
    written: tuple[str, list[Any]] | None = None
    decisions: int = 0
    repeats: int = 0  # merged at this very instant, not written yet
    command: Row | None = None
    eligible: bool = False  # after §6
    opened: bool = False  # neither historical nor expired on arrival


@dataclass
class Customer:
    id: str
    known: Known = field(default_factory=nothing_known)
    arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    usage: UsageJudgement = field(default_factory=UsageJudgement)
    opportunities: list[Opportunity] = field(default_factory=list)
    business_keys: dict[tuple[str, str], None] = field(default_factory=dict)  # a set, in the order in which they came
    conversions: list[tuple[datetime, Event]] = field(default_factory=list)  # not yet open: (t0, the conversion)
    asks: list[Row] = field(default_factory=list)  # see `naive.emit`
    followups: list[Row] = field(default_factory=list)  # see `followups.request`
    unreachable: Counter[str] = field(default_factory=Counter)  # per kind: was due, and nobody to send it to
    grants: list[Row] = field(default_factory=list)  # see `rewards.look_for_grant`
    converted_once: set[str] = field(default_factory=set)  # referrals that have had their first conversion
    turns: list[Row] = field(default_factory=list)  # gate, time, arrived, event: what made gate 3, 5 or a stop block
    absorbed: list[Opportunity] = field(default_factory=list)  # those of whoever was merged into this one
    record: Row | None = None  # as written last
    records_written: int = 0
    wakes_at: datetime | None = None
    merged_into: str | None = None  # the customer who this was found to be

    def live(self) -> list[Opportunity]:
        return [opportunity for opportunity in self.opportunities if opportunity.life == "live"]


@dataclass
class Naming:
    """That a link names a customer: since when the word is, and whether it still is so or was."""

    taught: datetime
    present: bool


@dataclass
class Kept:
    """What stays with a link for those who are taught later; `holds`: an opt-out that somebody else said."""

    event: Event
    arrived: datetime
    given: set[str]
    holds: bool
    record: tuple[int, Record] | None = None


@dataclass
class Link:
    kind: str
    names: dict[str, Naming] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    waiting: list[Kept] = field(default_factory=list)  # favourable: given once, to the first who is known alone
    arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)


@dataclass
class World:
    policy: Policy
    recording: bool = True  # whether records of customers are written
    customers: dict[str, Customer] = field(default_factory=dict)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    said_to_be: set[tuple[str, str]] = field(default_factory=set)  # (customer, alias) as they were told
    mail: deque[Callable[[], set[str]]] = field(default_factory=deque)  # what they tell each other at this instant
    control_arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    switches: dict[tuple[str, str], list[tuple[Stamp, bool]]] = field(default_factory=lambda: defaultdict(list))
    bursts: dict[str, datetime] = field(default_factory=dict)  # when the breaker last paused that trigger
    refused: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    openings: dict[tuple[str, datetime], int] = field(default_factory=lambda: defaultdict(int))
    excused: dict[tuple[str, datetime], int] = field(default_factory=dict)  # openings forgiven by a resumption
    applied: int = 0  # events applied so far
    given_grants: list[Row] = field(default_factory=list)  # the ledger's: grant, customer, referral, account, keys, at
    asked_for: list[tuple[Customer, Row]] = field(default_factory=list)  # grants that await the ledger's answer
    reservations: list[Row] = field(default_factory=list)  # at, customer, id, trigger, segment, accounts, hmacs
    wakeups: list[tuple[datetime, str]] = field(default_factory=list)
    result: Result = field(default_factory=Result)

    def home(self, name: str) -> Customer:
        """The customer of that id: who it was found to be, if it was merged."""
        if name not in self.customers:
            self.customers[name] = Customer(name)
        customer = self.customers[name]
        while customer.merged_into is not None:
            customer = self.customers[customer.merged_into]
        return customer
