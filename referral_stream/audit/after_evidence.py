"""What follows an ask, as the audit reads it: follow-ups, rewards, the ledger's records of them, and their causes.

The fields it judges by, straight from the JSON; nothing of the core runs here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from referral_stream.audit.findings import Position
from referral_stream.audit.records import Misread, digest, position
from referral_stream.contracts.records import RawRecord
from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.instants import parse_instant

CHANNELS: Final = ("email", "in_app", "phone")


Worth = tuple[str | None, str | None, int | None, str | None, str | None]
"""Programme, kind, amount, currency and benefit of a reward."""


class Said(NamedTuple):
    """``referral.followup.requested``. Instants: epoch ms. ``about``: what its id is made of."""

    position: Position
    digest: bytes
    id: str
    kind: str
    to_customer: bool
    customer: str
    about: str
    referral: str | None
    channels: tuple[str, ...]
    variables: Mapping[str, str]
    requested_at: int
    expires_at: int


class TakenBack(NamedTuple):
    """``referral.followup.cancelled``."""

    position: Position
    digest: bytes
    id: str
    customer: str
    cancelled_at: int


class RewardWord(NamedTuple):
    """A record of ``referral-rewards``; ``word``: held, granted, denied or reversed, at ``at`` (epoch ms)."""

    position: Position
    digest: bytes
    word: str
    grant: str
    referral: str
    customer: str
    account: str | None
    worth: Worth
    reason: str | None
    policy: str
    at: int


class OnLedger(NamedTuple):
    """A record of ``ledger-requests`` about a contact or a grant. ``timestamp``: the broker's."""

    position: Position
    kind: str
    grant: str
    referral: str
    customer: str
    account: str | None
    keys: tuple[str, ...]
    now: int
    timestamp: int


class LogEvent(NamedTuple):
    """An event of a customer's log, as of the arrival instant at which the customer took it."""

    position: Position
    now: int
    event: Event


class _BareMessage(msgspec.Struct):
    type: str
    subject: str = ""
    data: dict[str, Any] = {}


_head: Final = msgspec.json.Decoder(_BareMessage)
_TO_LEDGER: Final = frozenset(
    {"contact.claimed", "contact.released", "grant.requested", "grant.confirmed", "grant.released"}
)
_REWARD_AT: Final = {"held": "held_at", "granted": "granted_at", "denied": "denied_at", "reversed": "reversed_at"}


def read_followup(record: RawRecord) -> Said | TakenBack:
    """A record of ``referral-followups``. Raises Misread."""
    kind, data = _read(record)
    try:
        if kind == "referral.followup.cancelled":
            return TakenBack(
                position(record), digest(record.value), data["followup_id"], data["customer_id"],
                _instant(data["cancelled_at"]),
            )  # fmt: skip
        if kind != "referral.followup.requested":
            raise Misread("not a type of this topic")
        variables, referral = data["variables"], data.get("referral_id")
        about = data.get("command_id") if referral is None else referral
        if data["kind"] == "report_back":
            about = f"{about}/{variables.get('status')}"
        return Said(
            position=position(record),
            digest=digest(record.value),
            id=data["followup_id"],
            kind=data["kind"],
            to_customer=data["audience"] == "customer",
            customer=data["customer_id"],
            about=str(about),
            referral=referral,
            channels=tuple(data.get("channels") or ()),
            variables=variables,
            requested_at=_instant(data["requested_at"]),
            expires_at=_instant(data["expires_at"]),
        )
    except (KeyError, TypeError, AttributeError):
        raise Misread("a field is missing, or of another type") from None


def read_reward(record: RawRecord) -> RewardWord:
    """A record of ``referral-rewards``. Raises Misread."""
    kind, data = _read(record)
    word = kind.removeprefix("referral.reward.")
    if kind == word or word not in _REWARD_AT:
        raise Misread("not a type of this topic")
    try:
        return RewardWord(
            position=position(record),
            digest=digest(record.value),
            word=word,
            grant=data["grant_id"],
            referral=data["referral_id"],
            customer=data["customer_id"],
            account=data.get("account_id"),
            worth=worth_of(data),
            reason=data.get("reason"),
            policy=data["policy"]["hash"],
            at=_instant(data[_REWARD_AT[word]]),
        )
    except (KeyError, TypeError):
        raise Misread("a field is missing, or of another type") from None


def read_on_ledger(record: RawRecord) -> OnLedger | None:
    """What a record of ``ledger-requests`` says about contacts and grants; None if it is about something else."""
    kind, data = _read(record)
    if kind not in _TO_LEDGER:
        return None
    try:
        return OnLedger(
            position=position(record),
            kind=kind,
            grant=data.get("grant_id", ""),
            referral=data.get("referral_id", ""),
            customer=data["customer_id"],
            account=data.get("account_id"),
            keys=tuple(data.get("contact_keys") or ()),
            now=_instant(data["now"]),
            timestamp=record.timestamp,
        )
    except (KeyError, TypeError):
        raise Misread("a field is missing, or of another type") from None


def command_of(record: RawRecord) -> tuple[str, Worth | None]:
    """The command that a record of ``referral-asks`` is about, and its offer, if it makes one."""
    _, data = _read(record)
    offer = data.get("offer")
    return str(data.get("command_id")), None if offer is None else worth_of(offer)


def worth_of(data: Mapping[str, Any]) -> Worth:
    return tuple(data.get(name) for name in ("programme", "kind", "amount_minor", "currency", "benefit"))  # type: ignore[return-value]  # of five


def _read(record: RawRecord) -> tuple[str, dict[str, Any]]:
    """Type and body. Raises Misread."""
    try:
        head = _head.decode(record.value or b"")
    except msgspec.MsgspecError as error:
        raise Misread(str(error).partition("\n")[0][:200]) from None
    if head.subject != head.data.get("customer_id", head.subject):
        raise Misread("subject: is not the customer of the body")
    return head.type, head.data


def _instant(text: str) -> int:
    try:
        return parse_instant(text)[0]
    except (ValueError, OverflowError, TypeError):
        raise Misread("an instant is not RFC 3339") from None


# ----------------------------------------------------------------------------------------------------------- the log

_TELLING: Final = frozenset(
    data.type
    for data in (
        ev.AskAnswered, ev.ErasureRequested, ev.ReferralGiven, ev.ReferralStatusChanged, ev.ContactErased,
        ev.RewardSettled, ev.GrantGiven, ev.GrantRefused, ev.ConsentChanged, ev.MergeRequested, ev.MergeDelivered,
        ev.MergeMoved,
    )
)  # fmt: skip


@dataclass
class CustomerLog:
    """What a customer's log says that matters after an ask, in its order; up to the state's mark."""

    stopped: LogEvent | None = None
    erased: LogEvent | None = None
    answers: list[LogEvent] = field(default_factory=list)
    givens: list[LogEvent] = field(default_factory=list)
    ahead: list[LogEvent] = field(default_factory=list)
    """Referrals that are given behind the mark."""
    statuses: list[LogEvent] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)
    """Referrals whose contact wants to be forgotten."""
    settled: list[LogEvent] = field(default_factory=list)
    granted: dict[str, list[LogEvent]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, list[LogEvent]] = field(default_factory=lambda: defaultdict(list))
    consents: list[LogEvent] = field(default_factory=list)
    merged: bool = False
    """Another id's state was joined to it, or its own was handed over."""
    now: int = 0

    def take(self, event: Event, now: int, where: Position) -> None:
        """One record that the customer took. Arrival stamps that go back count as the newest before them."""
        self.now = max(self.now, now)
        happened = LogEvent(where, self.now, event)
        match event.data:
            case ev.AskAnswered(answer=answer):
                self.answers.append(happened)
                if answer == "stop" and self.stopped is None:
                    self.stopped = happened
            case ev.ErasureRequested() if not event.via:
                self.erased = self.erased or happened
            case ev.ReferralGiven():
                self.givens.append(happened)
            case ev.ReferralStatusChanged():
                self.statuses.append(happened)
            case ev.ContactErased(referral_id=referral):
                self.forgotten.add(referral)
            case ev.RewardSettled():
                self.settled.append(happened)
            case ev.GrantGiven(grant_id=grant):
                self.granted[grant].append(happened)
            case ev.GrantRefused(grant_id=grant):
                self.refused[grant].append(happened)
            case ev.ConsentChanged(purpose=purpose) if purpose == ev.ASKING:
                self.consents.append(happened)
            case ev.MergeRequested() | ev.MergeDelivered() | ev.MergeMoved():
                self.merged = True
            case _:
                pass

    def withdrawn(self, at: int) -> set[str]:
        """The channels that were withdrawn before an instant, and not given back by its end."""
        return {channel for channel in CHANNELS if self._is_withdrawn(channel, at)}

    def _is_withdrawn(self, channel: str, at: int) -> bool:
        newest: tuple[int, str, str] | None = None
        flag, ever = True, True
        for each in self.consents:
            data, event = each.event.data, each.event
            if not isinstance(data, ev.ConsentChanged) or each.now > at or data.channel not in ("all", channel):
                continue
            stamp = (event.time, event.source, event.id)
            if newest is None or stamp > newest:
                newest, flag = stamp, data.granted
            ever = flag if each.now < at else ever or flag
        return newest is not None and not flag and not ever


@dataclass
class AfterEvidence:
    """All that the topics hold of what follows an ask.

    ``said``, ``back``, ``rewards``: what had been published when the pass began, in its order; ``*_since``: what has
    come since, which is evidence and not judged itself. ``late``: by topic, the partitions whose beginning retention
    has taken. ``left_out``: customers for whom our code failed, and who were on hold.
    """

    said: list[Said] = field(default_factory=list)
    back: list[TakenBack] = field(default_factory=list)
    rewards: list[RewardWord] = field(default_factory=list)
    said_since: list[Said] = field(default_factory=list)
    back_since: list[TakenBack] = field(default_factory=list)
    rewards_since: list[RewardWord] = field(default_factory=list)
    ledger: list[OnLedger] = field(default_factory=list)
    offers: dict[str, set[Worth]] = field(default_factory=lambda: defaultdict(set))
    logs: dict[str, CustomerLog] = field(default_factory=lambda: defaultdict(CustomerLog))
    late: dict[str, frozenset[int]] = field(default_factory=dict)
    followups_lapsed: bool = False
    rewards_lapsed: bool = False
    asks_lapsed: bool = False
    """These topics are not there, or not from their beginning."""

    def take(self, customer: str, event: Event, now: int, where: Position) -> None:
        """One record that the customer took. Most of them say nothing of this, and make no log."""
        if event.type in _TELLING:
            self.logs[customer].take(event, now, where)
        elif (log := self.logs.get(customer)) is not None:
            log.now = max(log.now, now)

    def take_followup(self, told: Said | TakenBack, *, out: bool) -> None:
        if isinstance(told, Said):
            (self.said if out else self.said_since).append(told)
        else:
            (self.back if out else self.back_since).append(told)

    def take_reward(self, told: RewardWord, *, out: bool) -> None:
        (self.rewards if out else self.rewards_since).append(told)

    @property
    def all_said(self) -> Iterator[Said]:
        yield from self.said
        yield from self.said_since

    @property
    def all_rewards(self) -> Iterator[RewardWord]:
        yield from self.rewards
        yield from self.rewards_since

    def log_of(self, customer: str) -> CustomerLog:
        return self.logs.get(customer) or CustomerLog()

    def is_late(self, topic: str, *partitions: int) -> bool:
        """Whether the beginning of one of the topic's partitions is no longer retained."""
        late = self.late.get(topic, frozenset())
        return bool(late.intersection(partitions)) if partitions else bool(late)
