"""What asking does, from sums in Redis (after §7): the figures of ``metrics``, which every new record moves a little.

Whoever replaces a record adds what the new one adds (``metrics.sums``), and takes away what the old one had
added. Sums by value are kept twice: how many there are in each bucket beside all other sums, and the values themselves
in a key for each bucket, of which a reader needs a few. So the figures are those that all records would give.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from referral_stream.core.counting import first_month, month_of
from referral_stream.metrics.figures import Figure, Mean, Money, Percentile, Share, Unavailable, not_enough
from referral_stream.metrics.observed import Period
from referral_stream.metrics.sums import ONCE, WIDTHS, Dimension, Group, Sums, in_order, once_by, summable_by
from referral_stream.read_models.keys import INSTANT_DIGITS, Keys, escaped
from referral_stream.read_models.packing import unpack
from referral_stream.read_models.views import MessageBody, Metric, Works

By: TypeAlias = tuple[Dimension, ...]

BREAKDOWNS: Final[tuple[By, ...]] = ((), ("trigger",), ("segment",))
"""In which the figures are kept up to date; ``referral-stream metrics`` makes all others."""
_FINEST: Final[By] = ("trigger", "segment")
"""What can be added up is kept by this, and once."""

RoundTrip: TypeAlias = Callable[[Sequence[tuple[Any, ...]]], Awaitable[list[Any]]]
"""Sends commands to Redis; the replies."""
_Names: TypeAlias = tuple[str, str]
"""A key, as :meth:`Keys.values` has it ("": that of all sums), and a field of it."""


def sums_of(record: MessageBody) -> Counter[_Names]:
    """What a record adds to each field of each key."""
    found: Counter[_Names] = Counter()
    for what, detail, month, group, count in summable_by(record, _FINEST):
        kept = detail
        if isinstance(detail, int):
            kept = detail // WIDTHS[what]  # the sum itself knows no more
            found[f"{what}:{kept}", _field(month, *group, detail)] += count
        found["", _field(what, kept, month, _name_of(_FINEST), *group)] += count
    for by in BREAKDOWNS:
        for what, detail, month, group, count in once_by(record, by):
            found["", _field(what, detail, month, _name_of(by), *group)] += count
    return found


def _name_of(by: By) -> str:
    return ",".join(by)


def _field(*parts: str | int | None) -> str:
    return orjson.dumps(parts).decode()


def difference(old: MessageBody | None, new: MessageBody | None) -> dict[_Names, int]:
    """What replacing ``old`` by ``new`` changes in the sums."""
    found = sums_of(new) if new is not None else Counter()
    if old is not None:
        found.subtract(sums_of(old))
    return {names: count for names, count in found.items() if count}


# ------------------------------------------------------------------------------------------------------------- reading


class _KeptSum(NamedTuple):
    """A sum as it is kept: of a bucket where it is one by value."""

    what: str
    detail: str | int
    month: str
    by: By
    group: Group
    total: int

    def group_in(self, by: By) -> Group | None:
        """The group of a breakdown to which it belongs; None: it is no part of that."""
        if self.what in ONCE:
            return self.group if by == self.by else None
        return _within(self.group, by)


def _within(finest: Group, by: By) -> Group:
    return tuple(finest[_FINEST.index(dimension)] for dimension in by)


async def newest_records(ask: RoundTrip, keys: Keys) -> AsyncIterator[MessageBody]:
    """The newest record of every customer, in no order; one that changes meanwhile may be either.

    Raises DamagedReadModel, and what ``ask`` raises.
    """
    cursor = b"0"
    while True:
        ((cursor, found),) = await ask([("SCAN", cursor, "MATCH", escaped(keys.customer("")) + "*", "COUNT", 500)])
        for value in await ask([("HGET", key, "record") for key in found]) if found else ():
            if value is not None:
                yield unpack(value[INSTANT_DIGITS:])
        if int(cursor) == 0:
            return


async def works_of(ask: RoundTrip, keys: Keys) -> Works:
    """The figures, over the 13 months up to the newest record."""
    found, newest = await ask([("HGETALL", keys.figures), ("ZRANGE", keys.recorded, -1, -1, "WITHSCORES")])
    as_of = _newest(newest)
    if as_of is None:
        return Works(None, "", "", 0, ())
    period = Period(first_month(as_of), month_of(as_of))
    # In a thread: where there are many triggers, segments and months it takes a tenth of a second.
    sums = await asyncio.to_thread(_coarse, _pairs(found), period, as_of)
    buckets = sorted({bucket for groups in sums.values() for each in groups.values() for bucket in each.looked_at()})
    values = await ask([("HGETALL", keys.values(f"{what}:{bucket}")) for what, bucket in buckets])
    for (what, bucket), reply in zip(buckets, values, strict=True):
        _refine(sums, what, bucket, _pairs(reply), period)
    rows = tuple(row for by, groups in sums.items() for row in _metrics(by, groups))
    total = sums[()].get((), Sums())
    return Works(as_of, period.since, period.until, total.customers, rows)


def _coarse(found: Iterable[tuple[bytes, bytes]], period: Period, as_of: int) -> dict[By, defaultdict[Group, Sums]]:
    """The sums; those by value have the first value of the bucket in the place of each."""
    sums: dict[By, defaultdict[Group, Sums]] = {by: defaultdict(lambda: Sums(as_of)) for by in BREAKDOWNS}
    named = {_name_of(by): by for by in (_FINEST, *BREAKDOWNS)}
    for field, count in found:
        what, detail, month, by_name, *group = orjson.loads(field)
        if month and not period.has(month):
            continue
        kept = _KeptSum(what, detail, month, named[by_name], tuple(group), int(count))
        for by in BREAKDOWNS:
            if (within := kept.group_in(by)) is not None:
                sums[by][within].add(what, detail * WIDTHS[what] if what in WIDTHS else detail, kept.total)
    return sums


def _refine(
    sums: Mapping[By, Mapping[Group, Sums]], what: str, bucket: int, found: list[tuple[bytes, bytes]], period: Period
) -> None:
    """Put the values of a bucket in the place of their number."""
    for groups in sums.values():
        for each in groups.values():
            each.values[what].pop(bucket * WIDTHS[what], None)
    for field, count in found:
        month, *finest, value = orjson.loads(field)
        if period.has(month):
            for by, groups in sums.items():
                if (sums_ := groups.get(_within(tuple(finest), by))) is not None:
                    sums_.add(what, value, int(count))


def _newest(reply: Any) -> int | None:
    """The one score of a ZRANGE, as redis-py gives it."""
    if not reply:
        return None
    last = reply[-1]
    return int(float(last[1] if isinstance(last, list | tuple) else last))


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """What HGETALL gave, whatever redis-py made of it."""
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[0::2], reply[1::2], strict=True))


# ------------------------------------------------------------------------------------------------------------- figures


def _metrics(by: By, groups: Mapping[Group, Sums]) -> Iterator[Metric]:
    wanted = in_order(groups) if by else {(): groups.get((), Sums())}
    for group, sums in wanted.items():
        labels: dict[str, str] = {dimension: value or "none" for dimension, value in zip(by, group, strict=True)}
        for name, figure in sums.figures(by).items():
            if (row := metric(name, figure, labels)) is not None:
                yield row


def metric(name: str, figure: Figure, labels: Mapping[str, str]) -> Metric | None:
    """A figure as a row; None if it cannot be broken down like this."""
    match figure:
        case Unavailable():
            return None
        case Money():
            text = f"{figure.minor:,} {figure.currency}"
            return Metric(name, figure.minor, figure.minor, figure.of, text, labels)
        case Percentile():
            text = not_enough(figure.of) if figure.value is None else f"{figure.value:,} {figure.unit}"
            return Metric(name, figure.value, figure.of, figure.of, text, labels)
        case Mean():
            text = not_enough(figure.of) if figure.value is None else f"{figure.value:.2f}"
            return Metric(name, figure.value, figure.count, figure.of, text, labels)
        case Share():
            low, high = figure.interval or (None, None)
            text = not_enough(figure.of)
            if figure.value is not None and low is not None and high is not None:
                text = f"{figure.value:.1%} ({100 * low:.1f} to {100 * high:.1f} %)"
            return Metric(name, figure.value, figure.count, figure.of, text, labels, low, high)
