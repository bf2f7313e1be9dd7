"""What is kept: the list of events per customer, and the few things that are histories of their own."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.oracle.policy import Policy
from tests.oracle.records import Event
from tests.oracle.signals import Known, nothing_known
from tests.oracle.trouble import UsageJudgement

Row = dict[str, Any]
Reason = dict[str, Any]  # gate, answer, until (an instant, an event's type, or None), saw, limit


@dataclass
class Result:
    """CloudEvents in the order of (time, customer, opportunity as they opened, n); dead letters in that of the log."""

    asks: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    dead_letters: list[Row] = field(default_factory=list)


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
    moment: tuple[datetime, str] | None = None  # an event moment of this very instant, and its channel
    denial: Reason | None = None
    outcome: str = ""
    reasons: list[Reason] = field(default_factory=list)
    shown_with: Row = field(default_factory=dict)  # score and time zone as they were when the reasons were found
    written: tuple[str, list[Any]] | None = None
    decisions: int = 0
    repeats: int = 0  # merged at this very instant, not written yet
    command: Row | None = None


@dataclass
class Customer:
    id: str
    known: Known = field(default_factory=nothing_known)
    arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    usage: UsageJudgement = field(default_factory=UsageJudgement)
    opportunities: list[Opportunity] = field(default_factory=list)
    business_keys: set[tuple[str, str]] = field(default_factory=set)
    conversions: list[tuple[datetime, Event]] = field(default_factory=list)  # not yet open: (t0, the conversion)
    asks: list[Row] = field(default_factory=list)  # command_id, opportunity_id, asked_at, holdout
    wakes_at: datetime | None = None

    def live(self) -> list[Opportunity]:
        return [opportunity for opportunity in self.opportunities if opportunity.life == "live"]


@dataclass
class World:
    policy: Policy
    customers: dict[str, Customer] = field(default_factory=dict)
    aliases: dict[str, Event] = field(default_factory=dict)
    control_arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    switches: dict[tuple[str, str], list[tuple[tuple[datetime, str, str], bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    refused: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    openings: dict[tuple[str, datetime], int] = field(default_factory=lambda: defaultdict(int))
    excused: dict[tuple[str, datetime], int] = field(default_factory=dict)  # openings forgiven by a resumption
    reservations: list[Row] = field(default_factory=list)  # at, customer, command_id, account, hmac
    wakeups: list[tuple[datetime, str]] = field(default_factory=list)
    result: Result = field(default_factory=Result)
