"""The customer's state: what a decision about one customer depends on, and nothing else.

Every signal that can be contradicted keeps the stamp (time, protective, source, id) of the event that wrote it.
Containers inside a state are replaced, never changed in place: a shallow copy of a state is a snapshot of it. How an
event changes it: see
:mod:`~referral_stream.core.fold`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from referral_stream.core.asks import Ask
from referral_stream.core.events import AliasStamp, Event
from referral_stream.core.followups import FollowUp, Tally
from referral_stream.core.ids import short
from referral_stream.core.opportunity import Awaiting, Opportunity
from referral_stream.core.referrals import Referral
from referral_stream.core.stamps import LONGEST_ID, Flag, Stamp, Word, kept_source

LONGEST_NAME = 64
"""Bytes of the name under which a state keeps an object: a longer one is cut, and told apart by its hash."""

LONGEST_SUBJECT = 256
"""Bytes of what an occasion to ask is about, and of the id of a survey answer."""

Life: TypeAlias = Literal["trial", "converted", "unconverted", "started", "renewed", "ended"]


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
    """Usage fell against the frozen base (sum over days); ``ended_day`` is the first day judged recovered.

    ``since_day``: the day on which the drop was seen.
    """

    base_sum: int
    base_days: int
    ended_day: int | None = None
    since_day: int | None = None


class AliasedAt(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Which ``customer.aliased`` said that another id is this customer, too."""

    time: int
    source: str
    id: str

    @classmethod
    def of(cls, stamp: Event | AliasStamp) -> AliasedAt:
        return cls(stamp.time, kept_source(stamp.source), short(stamp.id, LONGEST_ID))


class Month(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of the occasions of one UTC month and trigger; ``blocked`` by the first gate that blocked."""

    opened: int = 0
    eligible: int = 0
    asked: int = 0
    held_out: int = 0
    shadowed: int = 0
    missed: int = 0
    superseded: int = 0
    cancelled: int = 0
    blocked: dict[str, int] = {}


class PastAsks(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Asks that count and are not remembered one by one any more: how many, the first and the last (epoch ms)."""

    times: int
    first: int
    last: int


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

    ``followups``: what was said or is to be said after answers and referrals; ``tallies``: their counts by kind;
    ``months``: counts by ``MONTH|TRIGGER``; ``past_asks``: those that ``asks`` no longer has; ``referrals_over``:
    referrals for which there was no room; ``recorded``: the number of the last record written, ``eligible_told`` the
    next eligible instant in it, ``record_owed``: one is to be written once the ledger has answered.
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
    # after the ask
    domain_hmac: Word | None = None
    followups: tuple[FollowUp, ...] = ()
    tallies: dict[str, Tally] = {}
    months: dict[str, Month] = {}
    past_asks: PastAsks | None = None
    referrals_over: int = 0
    recorded: int = 0
    eligible_told: int | None = None
    record_owed: bool = False

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
    def asked_elsewhere(self) -> int | None:
        """When somebody else last asked them for a referral."""
        return max((at for at, kind in self.advocacy if kind == "referral"), default=None)

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
