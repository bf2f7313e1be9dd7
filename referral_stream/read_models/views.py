"""What a reader gives: values for pages. Instants are epoch ms (UTC) throughout; nothing here names a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

MessageBody: TypeAlias = dict[str, Any]
"""The ``data`` of one of our messages, as its schema in ``schemas/out`` describes it; instants are RFC 3339 there."""


class NotReadable(Exception):
    """Redis did not answer in time, refused, or holds another form of the read models; the message says what helps."""


# ----------------------------------------------------------------------------------------------------------------- rows


class DecisionRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a list shows of a decision. ``gates``: those that did not pass, in their order; ``score``: 0 to 100."""

    decided_at: int
    decision_id: str
    opportunity_id: str
    customer_id: str
    account_id: str | None
    trigger: str
    outcome: str
    gates: tuple[str, ...]
    mode: str | None
    score: int


class PendingAsk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An occasion that is live: it may still lead to an ask.

    ``due``: the first instant at which its gates, as of its newest decision, may all let it pass; an event may change
    that; at the latest its ``deadline``. ``gates``: those that do not pass now, in their order.
    """

    due: int
    deadline: int
    opportunity_id: str
    customer_id: str
    account_id: str | None
    trigger: str
    outcome: str
    gates: tuple[str, ...]
    decided_at: int


class FollowupDue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A follow-up that is still to be said or done. One past ``expires_at`` is over, and goes soon after.

    ``kind``: see ``core.effects.FollowupKind``; ``audience``: ``customer`` or ``owner``.
    """

    due_by: int
    expires_at: int
    followup_id: str
    customer_id: str
    account_id: str | None
    kind: str
    audience: str
    command_id: str | None
    referral_id: str | None
    late: bool


class HeldReward(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reward that waits for a person's approval, until ``lapses_at``; ``hints`` say why a person looks at it."""

    lapses_at: int
    held_at: int
    grant_id: str
    referral_id: str
    customer_id: str
    account_id: str | None
    hints: tuple[str, ...]
    programme: str
    kind: str
    amount_minor: int | None
    currency: str | None
    benefit: str | None


Row = TypeVar("Row", PendingAsk, FollowupDue, HeldReward)


@dataclass(frozen=True, slots=True)
class ThingPage(Generic[Row]):
    """By when they are due. ``total``: how many wait in all; ``next``: pass it as ``cursor``; None: the end."""

    rows: tuple[Row, ...]
    total: int
    next: str | None


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions: all conditions that are set apply; ``since`` is included, ``until`` is not (epoch ms)."""

    outcome: str | None = None
    trigger: str | None = None
    gate: str | None = None
    """A gate that did not pass."""
    account: str | None = None
    customer: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Newest first. A page may hold fewer rows than asked for, even none, while ``next`` is set: go on there."""

    rows: tuple[DecisionRow, ...]
    next: str | None


# --------------------------------------------------------------------------------------------------------- the customer


@dataclass(frozen=True, slots=True)
class CustomerView:
    """One customer, under whatever id was asked for.

    ``customer_id``: whose it is now; ``ids``: other ids of theirs that were merged into it. ``state``: the encoded
    state (``contracts.state.decode_customer``); None: not seen yet. ``record``: the body of the newest
    ``referral.record.changed``, with asks and answers; None: there is none. ``decisions``: bodies of
    ``referral.decision.made``, newest first, at most 10 for each id. ``after``: whole CloudEvents of
    ``referral.followup.*`` and ``referral.reward.*``, newest first, at most 50 for each id.
    """

    customer_id: str
    ids: tuple[str, ...]
    state: bytes | None
    record: MessageBody | None
    decisions: tuple[MessageBody, ...]
    after: tuple[MessageBody, ...]


# ------------------------------------------------------------------------------------------------------------------ now


@dataclass(frozen=True, slots=True)
class HourCounts:
    """Decisions of one hour, by their instant. ``start``: epoch ms.

    ``outcomes``: outcome → decisions (``asked`` and ``soft`` are asks). ``asks``: trigger → asks, soft ones too.
    ``gates``: gate → decisions in which it did not pass.
    """

    start: int
    outcomes: Mapping[str, int]
    asks: Mapping[str, int]
    gates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role's consumer group, as the projector last saw it on the broker.

    ``members``: processes in the group; ``partitions``: those with a committed offset; ``lag``: records not read yet,
    None where the broker did not say. ``seen_at``: when, in real time, epoch ms.
    """

    role: str
    group: str
    members: int
    partitions: int
    lag: int | None
    seen_at: int


@dataclass(frozen=True, slots=True)
class ReadModelProgress:
    """How far the read models are. ``applied_at``: when something was last applied, in real time (epoch ms); 0: never.

    ``positions``: ``TOPIC|PARTITION`` → the offset that is applied next. ``form``: of keys and values, 0: empty.
    """

    form: int
    applied_at: int
    positions: Mapping[str, int]


# ------------------------------------------------------------------------------------------------------------- controls


class Control(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A switch that somebody threw, or the projector for harm. ``scope``: ``all``, ``trigger`` or ``segment``."""

    at: int
    paused: bool
    scope: str
    name: str | None
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Controls:
    """``in_force``: pauses that nobody has taken back. ``audit``: all words, newest first, at most 1,000.

    A pause of the burst breaker is the ledger's own, ends by itself, and is not among them.
    """

    in_force: tuple[Control, ...]
    audit: tuple[Control, ...]


# ---------------------------------------------------------------------------------------------------------------- works


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of after §7, by the name that ``referral-stream metrics`` gives it. ``count`` of ``of``.

    ``value``: to 4 decimals; a share, a mean, days or seconds (as the name says), or minor units; None with fewer than
    30 in the denominator (``text`` says so). ``low``, ``high``: Wilson's interval of a share. ``labels``: of which
    trigger or segment; empty: of all.
    """

    name: str
    value: float | None
    count: int
    of: int
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Works:
    """What asking does: over the newest record of every customer, the months from ``since`` to ``until`` (``2026-06``).

    ``as_of``: when the newest of them was written (epoch ms); None: there is none.
    """

    as_of: int | None
    since: str
    until: str
    customers: int
    metrics: tuple[Metric, ...]
