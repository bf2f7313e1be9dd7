"""What is summed up, group by group: every record adds what it knows to the groups it belongs to (after §7)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from referral_stream.core.counting import month_of
from referral_stream.core.instants import DAY, parse_instant
from referral_stream.metrics.figures import Figure, Mean, Money, Share, Unavailable, percentile
from referral_stream.metrics.observed import Period, SeenAsk, asks_of, referrals_of
from referral_stream.metrics.records import RecordBody, Records

Dimension: TypeAlias = Literal["trigger", "template", "mode", "channel", "segment", "arm", "month"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
OF_OCCASIONS = frozenset({"trigger", "month", "segment"})
"""What is known of an occasion before anything is asked: figures about occasions are broken down by these alone."""

SILENT_DAYS = 14
_TOP_GATES = 5

Group: TypeAlias = tuple[str | None, ...]


@dataclass
class Sums:
    """The sums of one group. Customers are counted once in it, whatever they did how often."""

    eligible_customers: int = 0
    asked_customers: int = 0
    opened: int = 0
    missed: int = 0
    blocked: Counter[str] = field(default_factory=Counter)
    asks: int = 0
    delivered: int = 0
    referring: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    silent: int = 0
    sent_long_ago: int = 0
    given: int = 0
    converted: int = 0
    revenue: Counter[str] = field(default_factory=Counter)
    deals: Counter[str] = field(default_factory=Counter)
    until_asked: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    followups: int = 0
    followups_late: int = 0

    def figures(self, by: tuple[Dimension, ...]) -> dict[str, Figure]:
        """Every figure by name, in the order in which people read them."""
        found: dict[str, Figure] = {
            "ask_rate": Share(self.asked_customers, self.eligible_customers, "eligible customers"),
            "conversion": Share(self.referring, self.delivered, "asks that were not taken back"),
            "quality": Share(self.converted, self.given, "referrals given"),
            "referrals_per_asked": Mean(self.given, self.asked_customers, "customers asked"),
        }
        for currency in sorted(self.revenue):
            found[f"revenue_{currency}"] = Money(
                self.revenue[currency], currency, self.deals[currency], "referrals converted with a deal"
            )
        self.until_asked.sort()
        self.delays.sort()
        for percent in (50, 90):
            found[f"time_to_ask_p{percent}"] = percentile(
                self.until_asked, percent, "customers first asked then", "days"
            )
        for percent in (50, 99):
            found[f"punctuality_p{percent}"] = percentile(self.delays, percent, "asks", "seconds")
        found["misses"] = Share(self.missed, self.opened, "occasions opened")
        for word in ("yes", "maybe", "no", "stop", "unclear"):
            found[f"answer_{word}"] = Share(self.answers[word], self.delivered, "asks that were not taken back")
        found["silent"] = Share(self.silent, self.sent_long_ago, f"asks sent, {SILENT_DAYS} days old")
        for gate, count in sorted(self.blocked.items(), key=lambda item: (-item[1], item[0]))[:_TOP_GATES]:
            found[f"blocked_{gate}"] = Share(count, self.opened, "occasions opened")
        found["followups_late"] = Share(self.followups_late, self.followups, "follow-ups, ever")
        return found | _unavailable(by)


def _unavailable(by: tuple[Dimension, ...]) -> dict[str, Figure]:
    """The figures that such a breakdown would make wrong."""
    found: dict[str, Figure] = {}
    asked = [dimension for dimension in by if dimension not in OF_OCCASIONS]
    if asked:
        why = f"not by {', '.join(asked)}: only an ask has one"
        found |= dict.fromkeys(("ask_rate", "referrals_per_asked", "misses"), Unavailable(why))
    beyond = [dimension for dimension in by if dimension != "segment"]
    if beyond:
        found["followups_late"] = Unavailable(f"not by {', '.join(beyond)}: counted for each customer")
    return found


def summed(records: Records, period: Period, by: tuple[Dimension, ...] = ()) -> dict[Group, Sums]:
    """The sums of every group, by its values; what is unknown is None, and comes last."""
    groups: defaultdict[Group, Sums] = defaultdict(Sums)
    as_of = records.as_of or 0
    for record in records:
        _OneRecord(record, period, by, groups, as_of).add()
    return dict(sorted(groups.items(), key=lambda item: [(value is None, value or "") for value in item[0]]))


class _OneRecord:
    """Adds one record to the groups."""

    def __init__(
        self,
        record: RecordBody,
        period: Period,
        by: tuple[Dimension, ...],
        groups: defaultdict[Group, Sums],
        as_of: int,
    ) -> None:
        self.record, self.period, self.by, self.groups, self.as_of = record, period, by, groups, as_of
        self.segment = record.get("segment")

    def add(self) -> None:
        asks = [ask for ask in asks_of(self.record) if self.period.has(ask.month)]
        self._occasions()
        for ask in asks:
            self._ask(ask)
        self._referrals()
        self._first_ask(asks)
        if set(self.by) <= {"segment"}:
            self._followups()

    def _group(self, values: Mapping[str, Any]) -> Sums:
        known = {"segment": self.segment, **values}
        return self.groups[tuple(known.get(dimension) for dimension in self.by)]

    def _occasions(self) -> None:
        eligible: set[int] = set()
        asked: set[int] = set()
        if not OF_OCCASIONS.issuperset(self.by):
            return
        for entry in self.record.get("months", ()):
            if not self.period.has(entry["month"]):
                continue
            sums = self._group({"month": entry["month"], "trigger": entry["trigger"]})
            sums.opened += entry.get("opened", 0)
            sums.missed += entry.get("missed", 0)
            sums.blocked.update(entry.get("blocked", {}))
            if entry.get("eligible") and id(sums) not in eligible:
                eligible.add(id(sums))
                sums.eligible_customers += 1
            if entry.get("asked") and id(sums) not in asked:
                asked.add(id(sums))
                sums.asked_customers += 1

    def _ask(self, ask: SeenAsk) -> None:
        if not ask.emitted:
            return
        sums = self._group(ask._asdict())
        sums.asks += 1
        sums.delays.append(ask.decided_at - ask.asked_at)
        if ask.delivered:
            sums.delivered += 1
            sums.referring += ask.referrals > 0
            if ask.answer is not None:
                sums.answers[ask.answer] += 1
        if ask.is_sent and ask.asked_at + SILENT_DAYS * DAY <= self.as_of:
            sums.sent_long_ago += 1
            sums.silent += ask.answer is None and ask.referrals == 0

    def _referrals(self) -> None:
        for referral in referrals_of(self.record):
            if not self.period.has(referral.month):
                continue
            of_ask = {} if referral.ask is None else referral.ask._asdict()
            sums = self._group({**of_ask, "month": referral.month})
            sums.given += 1
            if referral.converted:
                sums.converted += 1
                if referral.deal_minor is not None:
                    sums.revenue[referral.currency] += referral.deal_minor
                    sums.deals[referral.currency] += 1

    def _first_ask(self, asks: list[SeenAsk]) -> None:
        history = self.record["referral_history"]
        if "first_asked_at" not in history or "signed_up_at" not in self.record:
            return
        first, signed_up = (parse_instant(text)[0] for text in (history["first_asked_at"], self.record["signed_up_at"]))
        known = next((ask for ask in asks if ask.asked_at == first and ask.emitted), None)
        values = {"month": month_of(first)} if known is None else known._asdict()
        if self.period.has(values["month"]):
            self._group(values).until_asked.append(first - signed_up)

    def _followups(self) -> None:
        for counts in self.record.get("followups", {}).values():
            sums = self._group({})
            sums.followups += counts.get("requested", 0)
            sums.followups_late += counts.get("late", 0)
