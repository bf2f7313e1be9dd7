"""The customer's state: what a decision about one customer depends on, and nothing else.

Every signal that can be contradicted keeps the stamp (time, protective, source, id) of the event that wrote it.
Containers inside a state are replaced, never changed in place: a shallow copy of a state is a snapshot of it. How an
event changes it: see
:mod:`~referral_stream.core.fold`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from referral_stream.core.asks import Ask
from referral_stream.core.events import AliasStamp, Event, is_favourable
from referral_stream.core.ids import short
from referral_stream.core.opportunity import Awaiting, Opportunity

LONGEST_NAME = 64
"""Bytes of the name under which a state keeps an object: a longer one is cut, and told apart by its hash."""

LONGEST_SUBJECT = 256
"""Bytes of what an occasion to ask is about, and of the id of a survey answer."""

LONGEST_SOURCE, LONGEST_ID = 24, 40
"""Bytes of the source and of the id of an event in a stamp, likewise: they only decide between two of one time."""

Life: TypeAlias = Literal["trial", "converted", "unconverted", "started", "renewed", "ended"]


@lru_cache(maxsize=1_024)
def _kept_source(source: str) -> str:
    """The same few sources come again and again, and some are long."""
    return short(source, LONGEST_SOURCE)


class Stamp(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """When and by which event a signal was written; the order is that of last-writer-wins.

    At one time what protects counts as newer than what speaks for asking (identity §1).
    """

    time: int
    protective: bool
    source: str
    id: str

    @classmethod
    def of(cls, event: Event) -> Stamp:
        id_ = event.id
        if len(id_) > LONGEST_ID or not id_.isascii():  # few are: spare the others a call
            id_ = short(id_, LONGEST_ID)
        return cls(event.time, not is_favourable(event.data), _kept_source(event.source), id_)


class Flag(msgspec.Struct, frozen=True, array_like=True, gc=False):
    at: Stamp
    value: bool


class Word(msgspec.Struct, frozen=True, array_like=True, gc=False):
    at: Stamp
    value: str


class Survey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest revision of one response or review.

    ``promoter`` is a 9–10 (NPS) or the top box (CSAT, reviews), ``low`` 0–6 (NPS) or 40 % of the scale and less.
    """

    at: Stamp
    score: float
    promoter: bool
    low: bool = False


class Ticket(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``at`` is the newest opening, solution or reopening, ``opened`` the newest opening or reopening.

    ``priority`` is that of the newest opening that named one (``prioritised``); the rating has its own stamp.
    ``soured`` is the oldest negative rating.
    """

    at: Stamp | None = None
    open: bool = False
    opened: Stamp | None = None
    prioritised: Stamp | None = None
    priority: str | None = None
    rated: Stamp | None = None
    rating: str | None = None
    soured: Stamp | None = None

    @property
    def turned(self) -> bool:
        """Whether its rating was negative once and is positive now: settled, but no praise."""
        return (
            self.rating == "positive"
            and self.rated is not None
            and self.soured is not None
            and self.soured < self.rated
        )

    @property
    def went_well(self) -> bool:
        """Whether the customer was content with it all along; a rating from before it was reopened does not count."""
        return (
            self.rating == "positive"
            and self.rated is not None
            and (self.opened is None or self.rated > self.opened)
            and not self.turned
        )


class Invoice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    at: Stamp
    failed: bool
    ever_failed: bool


class Dispute(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``status`` by the newest event; ``disputed_at`` is the newest dispute, unknown while only its closing arrived."""

    at: Stamp
    status: Literal["open", "won", "lost"]
    disputed_at: int | None


class Cancellation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest event of each kind: considering is a separate signal and does not undo a scheduled cancellation."""

    considered: Stamp | None = None
    scheduled: Stamp | None = None
    reverted: Stamp | None = None


class SubscriptionEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event of a subscription's life. All of them are kept, so that a late one finds its place in time."""

    at: Stamp
    subscription: str
    kind: Life


class UsageDay(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Usage of one UTC day. The first and last minute of it tell which local dates it touches, whatever the zone.

    Minutes are enough, and small: no present-day zone differs from UTC by a fraction of a minute.
    """

    count: int
    first: int
    last: int


class Drop(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Usage fell against the frozen base (sum over days); ``ended_day`` is the first day judged recovered."""

    base_sum: int
    base_days: int
    ended_day: int | None = None


class Conversion(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A referral became a customer while its referrer was happy: an opportunity opens at ``opens_at``."""

    opens_at: int
    at: Stamp
    historical: bool = False


class Referral(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``status`` by the newest event; ``conversion`` is what opens an opportunity later."""

    at: Stamp | None = None
    status: str | None = None
    conversion: Conversion | None = None


class AliasedAt(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Which ``customer.aliased`` said that another id is this customer, too."""

    time: int
    source: str
    id: str

    @classmethod
    def of(cls, stamp: Event | AliasStamp) -> AliasedAt:
        return cls(stamp.time, _kept_source(stamp.source), short(stamp.id, LONGEST_ID))


class Overfull(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many open ones of a kind came that there was no room for, and the time of the newest of them."""

    at: int
    count: int


_NOTHING: dict[Any, Any] = {}


def _nothing() -> dict[Any, Any]:
    """One empty table for all: tables are replaced, never changed in place, and most customers have few of these."""
    return _NOTHING


class Customer(msgspec.Struct, array_like=True, gc=False):
    """Everything a decision about one customer depends on. Instants are epoch ms; ``*_day`` are UTC days since 1970.

    ``erased_now``: the step's ``now`` at the erasure. ``merged_into``: this id is another one of that customer, and
    nothing else is kept under it. ``merging``: ids that were asked to hand over and have not answered. ``absorbed``:
    hashes of (id, stamp) of what was folded in; ``ids``: the customer's other ids. ``holds``: of which of them an event
    could not be applied. ``held``: by customer of the same address, the newest hold because of them; ``lifted``: the
    newest word under an own id that ends all before it. ``emails``: the HMACs that are, were or are said to be theirs,
    True if the link was told that it is theirs now. ``stops``: type → the newest stop of it said under an own id.
    ``overfull``: by kind what there was no room for; ``forgotten``: what is left of objects that went for lack of room,
    each the newest time of it (:mod:`~referral_stream.core.bounds`).
    """

    id: str
    now: int = 0
    erased_at: int | None = None
    quarantined: bool = False
    # lifecycle
    signed_up: int | None = None
    trial_sign_up: Stamp | None = None
    trial_over: Stamp | None = None
    onboarded: bool = False
    initial_contract_at: int | None = None
    subscriptions: tuple[SubscriptionEvent, ...] = ()
    # profile
    time_zone: Word | None = None
    event_zone: Word | None = None
    locale: Word | None = None
    segment: Word | None = None
    account: Word | None = None
    email_hmac: Word | None = None
    champion: Flag | None = None
    requires_approval: Flag | None = None
    reachable: dict[str, Flag] = msgspec.field(default_factory=_nothing)
    consent: dict[str, Flag] = msgspec.field(default_factory=_nothing)
    suppressed: Flag | None = None
    # value realised
    first_success: bool = False
    milestone: bool = False
    repeated_milestones: dict[str, Stamp] = msgspec.field(default_factory=_nothing)
    goal: bool = False
    saving: bool = False
    above_average: Flag | None = None
    usage: dict[int, UsageDay] = msgspec.field(default_factory=_nothing)
    first_use_day: int | None = None
    used_for_long: bool = False
    judged_day: int = 0
    drop: Drop | None = None
    first_activity: int | None = None
    last_activity: int | None = None
    # satisfaction and relationship
    responses: dict[str, Survey] = msgspec.field(default_factory=_nothing)
    csats: dict[str, Survey] = msgspec.field(default_factory=_nothing)
    testimonial: bool = False
    testimonial_at: int | None = None
    feedback: bool = False
    feedback_at: int | None = None
    reviews: dict[str, Survey] = msgspec.field(default_factory=_nothing)
    interactions: int = 0
    advocacy: tuple[tuple[int, str], ...] = ()
    # trouble
    tickets: dict[str, Ticket] = msgspec.field(default_factory=_nothing)
    complained_at: int | None = None
    invoices: dict[str, Invoice] = msgspec.field(default_factory=_nothing)
    refunded_at: int | None = None
    disputes: dict[str, Dispute] = msgspec.field(default_factory=_nothing)
    cancellations: dict[str, Cancellation] = msgspec.field(default_factory=_nothing)
    # presence
    tasks: dict[str, Flag] = msgspec.field(default_factory=_nothing)
    concerns: dict[str, Flag] = msgspec.field(default_factory=_nothing)
    calls_cut_short: tuple[str, ...] = ()
    # the ask's life
    seen: dict[int, int] = msgspec.field(default_factory=_nothing)
    keys: tuple[int, ...] = ()
    live: tuple[Opportunity, ...] = ()
    awaiting: Awaiting | None = None
    asks: tuple[Ask, ...] = ()
    answers: dict[str, int] = msgspec.field(default_factory=_nothing)
    approvals: dict[str, Flag] = msgspec.field(default_factory=_nothing)
    referrals: dict[str, Referral] = msgspec.field(default_factory=_nothing)
    wake_at: int | None = None
    # who it is
    erased_now: int | None = None
    merged_into: str | None = None
    merging: dict[str, AliasedAt] = msgspec.field(default_factory=_nothing)
    absorbed: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    held: dict[str, Stamp] = msgspec.field(default_factory=_nothing)
    # links
    emails: dict[str, bool] = msgspec.field(default_factory=_nothing)
    email_from_browser: bool = False
    lifted: Stamp | None = None
    stops: dict[str, Stamp] = msgspec.field(default_factory=_nothing)
    # bounds
    overfull: dict[str, Overfull] = {}  # without a call of Python for each: nearly nobody has one
    forgotten: dict[str, int] = {}

    copy = msgspec.Struct.__copy__  # type: ignore[attr-defined]  # without a frame of Python: every step makes one
    """A copy that may be advanced without touching this one."""

    @property
    def positive_feedback(self) -> bool:
        """Whether positive feedback was ever given; of a corrected survey answer the newest revision counts."""
        return self.feedback or any(csat.promoter for csat in self.csats.values())

    @property
    def positive_feedback_at(self) -> int | None:
        """When positive feedback was last given, as far as known."""
        times = [csat.at.time for csat in self.csats.values() if csat.promoter]
        return max((at for at in (*times, self.feedback_at) if at is not None), default=None)

    @property
    def on_hold(self) -> bool:
        """Whether they are held by their address, and have not been let go under an id of their own."""
        return any(self.lifted is None or self.lifted < at for at in self.held.values())

    @property
    def account_id(self) -> str | None:
        return self.account.value if self.account else None


def word(signal: Word | None) -> str | None:
    """The value of a signal that may be unknown."""
    return signal.value if signal else None
