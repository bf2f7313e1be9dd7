"""What the records say, one ask and one referral at a time, within the months that are looked at (after §7)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from referral_stream.core.counting import first_month, month_of
from referral_stream.core.instants import DAY, parse_instant
from referral_stream.metrics.records import RecordBody, Records

_EPOCH = date(1970, 1, 1)


class Period(NamedTuple):
    """Months, both included, as ``2026-06``."""

    since: str
    until: str

    def has(self, month: str) -> bool:
        return self.since <= month <= self.until


def period_of(records: Records, since: str | None = None, until: str | None = None) -> Period:
    """The months asked for; by default that of the newest record and the twelve before it."""
    now = records.as_of or 0
    return Period(since or first_month(now), until or month_of(now))


class SeenAsk(NamedTuple):
    """An ask of a record. Instants are epoch ms; ``unit``: the account, else the customer."""

    command_id: str
    unit: str
    segment: str | None
    trigger: str
    template: str
    mode: str
    channel: str
    kind: str
    arm: str | None
    month: str
    asked_at: int
    decided_at: int
    is_sent: bool
    answer: str | None
    referrals: int
    is_out: bool
    regret: bool

    @property
    def emitted(self) -> bool:
        return self.kind in ("asked", "soft")

    @property
    def delivered(self) -> bool:
        """Emitted, and neither cancelled nor failed unsent."""
        return self.emitted and not self.is_out


class SeenReferral(NamedTuple):
    """A referral of a record. ``ask``: the one that it is due to, if the record has it; ``day``: its local date, from
    1970 on.
    """

    ask: SeenAsk | None
    day: int
    month: str
    converted: bool
    deal_minor: int | None
    currency: str


def unit_of(record: RecordBody) -> str:
    """Whom comparisons count once: the account, else the customer."""
    account = record.get("account_id")
    return f"customer {record['customer_id']}" if account is None else f"account {account}"


def asks_of(record: RecordBody) -> Iterator[SeenAsk]:
    unit, segment = unit_of(record), record.get("segment")
    for ask in record.get("asks", ()):
        yield SeenAsk(
            command_id=ask["command_id"],
            unit=unit,
            segment=segment,
            trigger=ask["trigger"],
            template=ask["template"],
            mode=ask["mode"],
            channel=ask["channel"],
            kind=ask["kind"],
            arm=ask.get("arm"),
            month=ask["t0"][:7],
            asked_at=_instant(ask["asked_at"]),
            decided_at=_instant(ask["decided_at"]),
            is_sent="sent_at" in ask,
            answer=ask.get("answer"),
            referrals=ask["referrals"],
            is_out=bool(ask.get("cancelled") or ask.get("failed")),
            regret=bool(ask.get("regret")),
        )


def referrals_of(record: RecordBody) -> Iterator[SeenReferral]:
    """The month is that of the ask's t0; of one without a known ask that of the referral."""
    asks = {ask.command_id: ask for ask in asks_of(record)} if record.get("referred_contacts") else {}
    for contact in record.get("referred_contacts", ()):
        ask = asks.get(contact.get("command_id", ""))
        yield SeenReferral(
            ask=ask,
            day=_day(contact["referred_date"]),
            month=contact["referred_date"][:7] if ask is None else ask.month,
            converted=contact["status"] == "converted",
            deal_minor=contact.get("deal_value_minor"),
            currency=(contact.get("currency") or "XXX").upper(),
        )


def day_of(instant: int) -> int:
    return instant // DAY


@lru_cache(maxsize=4_096)
def _day(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH).days


def _instant(text: str) -> int:
    return parse_instant(text)[0]
