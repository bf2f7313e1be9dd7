"""What asking does (after §7): what one record adds to the sums, and the metrics from the sums.

Sums over the newest record of every customer: whoever replaces a record subtracts what the old one had added. A sum is
named ``WHAT|BY|MONTH|DETAIL``; ``BY`` is empty, ``trigger=X`` or ``segment=X``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from referral_stream.core.counting import first_month, month_of
from referral_stream.core.instants import DAY, HOUR, SECOND, parse_instant
from referral_stream.read_models.views import MessageBody, Metric, Works

FEWEST: Final = 30
"""In the denominator: below that a figure says more about chance."""
SILENT_DAYS: Final = 14
_Z: Final = 1.959964
_EXACT_MS: Final = 10_000
"""Punctuality is kept to the millisecond up to this, and to the second above."""


def added_by(record: MessageBody) -> dict[str, int]:
    """What a record adds to each sum."""
    found: Counter[str] = Counter({"customers|||": 1})
    segment = f"segment={record.get('segment', 'none')}"
    _add_months(found, record, segment)
    _add_asks(found, record)
    for by in ("", segment):
        for contact in record.get("referred_contacts", ()):
            found[f"given|{by}||"] += 1
            found[f"converted|{by}||"] += contact["status"] == "converted"
    for contact in record.get("referred_contacts", ()):
        if contact["status"] == "converted" and contact.get("deal_value_minor") is not None:
            found[f"revenue|||{(contact.get('currency') or 'XXX').upper()}"] += contact["deal_value_minor"]
    history = record["referral_history"]
    if "first_asked_at" in history and "signed_up_at" in record:
        waited = _instant(history["first_asked_at"]) - _instant(record["signed_up_at"])
        found[f"time_to_ask|||{max(0, waited) // HOUR}"] += 1
    for kind, counts in record.get("followups", {}).items():
        found[f"followups_late|||{kind}"] += counts.get("late", 0)
    return {name: count for name, count in found.items() if count}


def _add_months(found: Counter[str], record: MessageBody, segment: str) -> None:
    newest: dict[tuple[str, str], str] = {}
    for each in record.get("months", ()):
        month, by = each["month"], f"trigger={each['trigger']}"
        for field in ("opened", "missed"):
            for dimension in ("", by):
                found[f"{field}|{dimension}|{month}|"] += each.get(field, 0)
        for gate, count in each.get("blocked", {}).items():
            found[f"blocked||{month}|{gate}"] += count
        for field in ("eligible", "asked"):
            if each.get(field):
                for dimension in ("", by, segment):
                    newest[field, dimension] = max(month, newest.get((field, dimension), ""))
    for (field, dimension), month in newest.items():  # customers, each counted once, where it counts for longest
        found[f"{field}|{dimension}|{month}|"] += 1


def _add_asks(found: Counter[str], record: MessageBody) -> None:
    for ask in record.get("asks", ()):
        if ask["kind"] not in ("asked", "soft"):
            continue
        month = month_of(_instant(ask["t0"]))
        late = max(0, _instant(ask["decided_at"]) - _instant(ask["asked_at"]))
        found[f"punctuality||{month}|{late if late < _EXACT_MS else late // SECOND * SECOND}"] += 1
        if "answer" in ask:
            found[f"answers||{month}|{ask['answer']}"] += 1
        if ask.get("cancelled") or ask.get("failed"):
            continue
        for by in ("", f"trigger={ask['trigger']}"):
            found[f"sent|{by}|{month}|"] += 1
            found[f"referred|{by}|{month}|"] += ask["referrals"] > 0
        if "sent_at" in ask:
            found[f"heard_of||{month}|{_instant(ask['sent_at']) // DAY}"] += 1
            if "answer" not in ask and not ask["referrals"]:
                found[f"unheard||{month}|{_instant(ask['sent_at']) // DAY}"] += 1


def _instant(text: str) -> int:
    return parse_instant(text)[0]


def difference(old: MessageBody | None, new: MessageBody | None) -> dict[str, int]:
    """What replacing ``old`` by ``new`` changes in the sums."""
    found = Counter(added_by(new)) if new is not None else Counter()
    if old is not None:
        found.subtract(added_by(old))
    return {name: count for name, count in found.items() if count}


# ------------------------------------------------------------------------------------------------------------ metrics


def works_of(figures: Mapping[str, int], now: int) -> Works:
    """The metrics over the 13 months up to ``now`` (epoch ms)."""
    sums = _Sums(figures, first_month(now))
    return Works(now, sums.of("customers"), tuple(_metrics(sums, now)))


class _Sums:
    """The sums of the months that count."""

    def __init__(self, figures: Mapping[str, int], first: str) -> None:
        self._found: dict[tuple[str, str], Counter[str]] = {}
        for name, count in figures.items():
            what, by, month, detail = name.split("|", 3)
            if not month or month >= first:
                self._found.setdefault((what, by), Counter())[detail] += count

    def of(self, what: str, by: str = "") -> int:
        return self._found.get((what, by), Counter())[""]

    def details(self, what: str) -> Counter[str]:
        return self._found.get((what, ""), Counter())

    def dimensions(self, what: str) -> list[str]:
        return sorted(by for name, by in self._found if name == what)


def _metrics(sums: _Sums, now: int) -> Iterator[Metric]:
    for by in sums.dimensions("eligible"):
        yield _rate("ask_rate", sums.of("asked", by), sums.of("eligible", by), by)
    for by in sums.dimensions("sent"):
        yield _rate("conversion", sums.of("referred", by), sums.of("sent", by), by)
    for by in sums.dimensions("given"):
        yield _rate("quality", sums.of("converted", by), sums.of("given", by), by)
        yield _ratio("referrals_per_asked_customer", sums.of("given", by), sums.of("asked", by), by)
    for by in sums.dimensions("opened"):
        yield _rate("misses", sums.of("missed", by), sums.of("opened", by), by)
    for currency, value in sorted(sums.details("revenue").items()):
        yield Metric("revenue_minor", value, value, 1, f"{value:,} {currency}", {"currency": currency})
    yield from _percentiles("time_to_ask_seconds", sums.details("time_to_ask"), ("0.5", "0.9"), HOUR // SECOND)
    yield from _percentiles("punctuality_seconds", sums.details("punctuality"), ("0.5", "0.99"), 1 / SECOND)
    for name, what, label in (
        ("answers", "answers", "answer"), ("blocked", "blocked", "gate"), ("followups_late", "followups_late", "kind"),
    ):  # fmt: skip
        for detail, count in sums.details(what).most_common():
            yield Metric(name, count, count, count, f"{count:,}", {label: detail})
    last = (now - SILENT_DAYS * DAY) // DAY
    sent, silent = (
        sum(n for day, n in sums.details(what).items() if int(day) < last) for what in ("heard_of", "unheard")
    )
    yield _rate("silent", silent, sent, "")


def _labels(by: str) -> dict[str, str]:
    name, sign, value = by.partition("=")
    return {name: value} if sign else {}


def _rate(name: str, count: int, of: int, by: str) -> Metric:
    if of < FEWEST:
        return Metric(name, None, count, of, _too_few(of), _labels(by))
    share, low, high = round(count / of, 4), *wilson(count, of)
    return Metric(name, share, count, of, f"{share:.1%} ({count:,} of {of:,})", _labels(by), low, high)


def _ratio(name: str, count: int, of: int, by: str) -> Metric:
    if of < FEWEST:
        return Metric(name, None, count, of, _too_few(of), _labels(by))
    return Metric(name, round(count / of, 4), count, of, f"{count / of:.2f} ({count:,} by {of:,})", _labels(by))


def _too_few(of: int) -> str:
    return f"not enough data yet ({of} of {FEWEST})"


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share, to 4 decimals, at 95 %."""
    share, z2 = count / of, _Z * _Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)


def _percentiles(name: str, counts: Counter[str], wanted: tuple[str, ...], unit: float) -> Iterator[Metric]:
    """By nearest rank; ``counts`` are by value, ``unit`` is its length in seconds."""
    total = counts.total()
    for quantile in wanted:
        if total < FEWEST:
            yield Metric(name, None, total, total, _too_few(total), {"quantile": quantile})
            continue
        left = math.ceil(float(quantile) * total)
        for value in sorted(map(int, counts)):
            left -= counts[str(value)]
            if left <= 0:
                seconds = round(value * unit, 4)
                yield Metric(name, seconds, total, total, f"{seconds:,} s", {"quantile": quantile})
                break
