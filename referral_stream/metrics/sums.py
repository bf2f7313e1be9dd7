"""What is summed up, group by group: every record adds what it knows to the groups it belongs to (after §7)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from referral_stream.core.counting import month_of
from referral_stream.core.instants import DAY, SECOND, parse_instant
from referral_stream.metrics.figures import Figure, Mean, Money, Share, Unavailable, nearest_rank, percentile
from referral_stream.metrics.observed import Period, SeenAsk, asks_of, referrals_of
from referral_stream.metrics.records import RecordBody, Records

Dimension: TypeAlias = Literal["trigger", "template", "mode", "channel", "segment", "arm", "month"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
OF_OCCASIONS = frozenset({"trigger", "month", "segment"})
"""What is known of an occasion before anything is asked: figures about occasions are broken down by these alone."""

SILENT_DAYS = 14
_TOP_GATES = 5

Group: TypeAlias = tuple[str | None, ...]
Addend: TypeAlias = tuple[str, str | int, str, Group, int]
"""What a record adds: to which sum, under which detail, in which month ("": whatever the months), to which group, and
how much. The detail is a gate, a word, a currency; of what ``WIDTHS`` has it is the value itself, in ms.
"""

ONCE: Final = frozenset({"customers", "eligible", "asked", "followups", "followups_late"})
"""Of customers, not of occasions: a group's sum is not that of its parts, and is kept for each breakdown."""

WIDTHS: Final = {"until_asked": 7 * DAY, "delay": SECOND, "sent": DAY, "unheard": DAY}
"""Sums by value: durations, and instants of asks. Who keeps them by bucket of this width (ms) needs the values
themselves of a few buckets only: those of :meth:`Sums.looked_at`.
"""
_PERCENTILES: Final = (("until_asked", 50), ("until_asked", 90), ("delay", 50), ("delay", 99))


class Sums:
    """The sums of one group, as of an instant (epoch ms). Customers are counted once in it, whatever they did."""

    def __init__(self, as_of: int = 0) -> None:
        self._as_of = as_of
        self._counts: Counter[tuple[str, str | int]] = Counter()
        self.values: dict[str, Counter[int]] = {what: Counter() for what in WIDTHS}

    def add(self, what: str, detail: str | int, count: int) -> None:
        if what in WIDTHS:
            self.values[what][int(detail)] += count
        else:
            self._counts[what, detail] += count

    def looked_at(self) -> set[tuple[str, int]]:
        """The sums and buckets within which figures depend on each value; of others the number is enough."""
        edge = (self._as_of - SILENT_DAYS * DAY) // DAY
        found = {("sent", edge), ("unheard", edge)}
        for what, percent in _PERCENTILES:
            value = nearest_rank(self.values[what], percent)
            if value is not None:
                found.add((what, value // WIDTHS[what]))
        return found

    def _of(self, what: str, detail: str = "") -> int:
        return self._counts[what, detail]

    def _details(self, what: str) -> dict[str, int]:
        return {str(detail): count for (name, detail), count in self._counts.items() if name == what}

    def _long_ago(self, what: str) -> int:
        return sum(count for at, count in self.values[what].items() if at + SILENT_DAYS * DAY <= self._as_of)

    @property
    def customers(self) -> int:
        return self._of("customers")

    def figures(self, by: tuple[Dimension, ...]) -> dict[str, Figure]:
        """Every figure by name, in the order in which people read them."""
        of, opened, delivered = self._of, self._of("opened"), self._of("delivered")
        found: dict[str, Figure] = {
            "ask_rate": Share(of("asked"), of("eligible"), "eligible customers"),
            "conversion": Share(of("referring"), delivered, "asks that were not taken back"),
            "quality": Share(of("converted"), of("given"), "referrals given"),
            "referrals_per_customer": Mean(of("given"), of("asked"), "customers asked"),
        }
        deals = self._details("deals")
        for currency in sorted(deals):
            found[f"revenue_{currency}"] = Money(
                of("revenue", currency), currency, deals[currency], "referrals converted with a deal"
            )
        for percent in (50, 90):
            found[f"time_to_ask_p{percent}"] = percentile(
                self.values["until_asked"], percent, "customers first asked then", "days"
            )
        for percent in (50, 99):
            found[f"punctuality_p{percent}"] = percentile(self.values["delay"], percent, "asks", "seconds")
        found["misses"] = Share(of("missed"), opened, "occasions opened")
        for word in ("yes", "maybe", "no", "stop", "unclear"):
            found[f"answer_{word}"] = Share(of("answer", word), delivered, "asks that were not taken back")
        found["silent"] = Share(
            self._long_ago("unheard"), self._long_ago("sent"), f"asks sent, {SILENT_DAYS} days old"
        )  # fmt: skip
        blocked = sorted(self._details("blocked").items(), key=lambda item: (-item[1], item[0]))
        for gate, count in blocked[:_TOP_GATES]:
            found[f"blocked_{gate}"] = Share(count, opened, "occasions opened")
        found["followups_late"] = Share(of("followups_late"), of("followups"), "follow-ups, ever")
        return found | _unavailable(by)


def _unavailable(by: tuple[Dimension, ...]) -> dict[str, Figure]:
    """The figures that such a breakdown would make wrong."""
    found: dict[str, Figure] = {}
    asked = [dimension for dimension in by if dimension not in OF_OCCASIONS]
    if asked:
        why = f"not by {', '.join(asked)}: only an ask has one"
        found |= dict.fromkeys(("ask_rate", "referrals_per_customer", "misses"), Unavailable(why))
    beyond = [dimension for dimension in by if dimension != "segment"]
    if beyond:
        found["followups_late"] = Unavailable(f"not by {', '.join(beyond)}: counted for each customer")
    return found


def summed(records: Records, period: Period, by: tuple[Dimension, ...] = ()) -> dict[Group, Sums]:
    """The sums of every group, by its values; what is unknown is None, and comes last."""
    as_of = records.as_of or 0
    groups: defaultdict[Group, Sums] = defaultdict(lambda: Sums(as_of))
    for record in records:
        for what, detail, month, group, count in added_by(record, by, period.until):
            if not month or period.has(month):
                groups[group].add(what, detail, count)
    return in_order(groups)


def in_order(groups: Mapping[Group, Sums]) -> dict[Group, Sums]:
    """By the groups' values; None comes last."""
    return dict(sorted(groups.items(), key=lambda item: [(value is None, value or "") for value in item[0]]))


def added_by(record: RecordBody, by: tuple[Dimension, ...] = (), until: str | None = None) -> Iterator[Addend]:
    """What one record adds to the sums, group by group; taken away again, nothing of it is left.

    ``until``: the last month that is looked at. A customer counts once among the eligible and the asked of a group, in
    the newest such month: they are in a period that ends there if that month is not before it.
    """
    yield from summable_by(record, by)
    yield from once_by(record, by, until)


def summable_by(record: RecordBody, by: tuple[Dimension, ...]) -> Iterator[Addend]:
    """All of it but ``ONCE``: a group's sum is that of its parts."""
    return (addend for addend in _OneRecord(record, by).summable() if addend[-1])


def once_by(record: RecordBody, by: tuple[Dimension, ...], until: str | None = None) -> Iterator[Addend]:
    """``ONCE`` alone."""
    return (addend for addend in _OneRecord(record, by).once(until) if addend[-1])


class _OneRecord:
    """What one record adds."""

    def __init__(self, record: RecordBody, by: tuple[Dimension, ...]) -> None:
        self.record, self.by = record, by
        self.segment = record.get("segment")

    def once(self, until: str | None) -> Iterator[Addend]:
        if not self.by:
            yield "customers", "", "", (), 1
        if OF_OCCASIONS.issuperset(self.by):
            yield from self._customers(until)
        if set(self.by) <= {"segment"}:
            yield from self._followups()

    def summable(self) -> Iterator[Addend]:
        asks = list(asks_of(self.record))
        if OF_OCCASIONS.issuperset(self.by):
            yield from self._occasions()
        for ask in asks:
            if ask.emitted:
                yield from self._ask(ask)
        yield from self._referrals()
        yield from self._first_ask(asks)

    def _group(self, values: Mapping[str, Any]) -> Group:
        known = {"segment": self.segment, **values}
        return tuple(known.get(dimension) for dimension in self.by)

    def _occasions(self) -> Iterator[Addend]:
        for entry in self.record.get("months", ()):
            month = entry["month"]
            group = self._group({"month": month, "trigger": entry["trigger"]})
            yield "opened", "", month, group, entry.get("opened", 0)
            yield "missed", "", month, group, entry.get("missed", 0)
            for gate, count in entry.get("blocked", {}).items():
                yield "blocked", gate, month, group, count

    def _customers(self, until: str | None) -> Iterator[Addend]:
        newest: dict[tuple[str, Group], str] = {}
        for entry in self.record.get("months", ()):
            month = entry["month"]
            if until is not None and month > until:
                continue
            group = self._group({"month": month, "trigger": entry["trigger"]})
            for what in ("eligible", "asked"):
                if entry.get(what):
                    newest[what, group] = max(month, newest.get((what, group), ""))
        for (what, group), month in newest.items():
            yield what, "", month, group, 1

    def _ask(self, ask: SeenAsk) -> Iterator[Addend]:
        group, month = self._group(ask._asdict()), ask.month
        yield "delay", ask.decided_at - ask.asked_at, month, group, 1
        if ask.delivered:
            yield "delivered", "", month, group, 1
            yield "referring", "", month, group, int(ask.referrals > 0)
            if ask.answer is not None:
                yield "answer", ask.answer, month, group, 1
        if ask.is_sent:
            yield "sent", ask.asked_at, month, group, 1
            yield "unheard", ask.asked_at, month, group, int(ask.answer is None and ask.referrals == 0)

    def _referrals(self) -> Iterator[Addend]:
        for referral in referrals_of(self.record):
            of_ask = {} if referral.ask is None else referral.ask._asdict()
            group, month = self._group({**of_ask, "month": referral.month}), referral.month
            yield "given", "", month, group, 1
            if referral.converted:
                yield "converted", "", month, group, 1
                if referral.deal_minor is not None:
                    yield "revenue", referral.currency, month, group, referral.deal_minor
                    yield "deals", referral.currency, month, group, 1

    def _first_ask(self, asks: list[SeenAsk]) -> Iterator[Addend]:
        history = self.record["referral_history"]
        if "first_asked_at" not in history or "signed_up_at" not in self.record:
            return
        first, signed_up = (parse_instant(text)[0] for text in (history["first_asked_at"], self.record["signed_up_at"]))
        known = next((ask for ask in asks if ask.asked_at == first and ask.emitted), None)
        values = {"month": month_of(first)} if known is None else known._asdict()
        yield "until_asked", first - signed_up, values["month"], self._group(values), 1

    def _followups(self) -> Iterator[Addend]:
        for counts in self.record.get("followups", {}).values():
            yield "followups", "", "", self._group({}), counts.get("requested", 0)
            yield "followups_late", "", "", self._group({}), counts.get("late", 0)
