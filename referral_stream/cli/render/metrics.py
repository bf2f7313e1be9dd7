"""Metrics as tables for people, and as CSV: one line for each figure of each group."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from referral_stream.cli.render.terminal import rows
from referral_stream.core.instants import to_datetime
from referral_stream.core.policy import Policy
from referral_stream.metrics.comparing import Comparison
from referral_stream.metrics.figures import Figure, Mean, Money, Percentile, Share, Unavailable, not_enough, title_of
from referral_stream.metrics.report import Figures, comparison_data, figure_data
from referral_stream.words.afterwards import money
from referral_stream.words.decisions import day_and_time

CSV_COLUMNS: Final = ("figure", "value", "low", "high", "count", "of", "of_what", "unit", "text")
"""After one column for each of ``--by``."""

_IN_TABLES: Final = ("ask_rate", "conversion", "quality", "referrals_per_customer", "silent")
_SECTIONS: Final = (
    ("Asking", ("ask_rate", "misses", "blocked_", "time_to_ask_", "punctuality_")),
    ("Answers", ("answer_", "silent")),
    ("Referrals", ("conversion", "quality", "referrals_per_customer", "revenue_")),
    ("Follow-ups", ("followups_late",)),
)
_COMPARED: Final = {
    "uplift": "does asking bring referrals?",
    "harm": "does asking do harm? trouble within 14 days",
    "template": "which wording brings more referrals?",
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def as_lines(found: Figures, policy: Policy) -> Iterator[str]:
    """All figures in total, the main ones by group, and each comparison with its sentence."""
    if found.as_of is None:
        yield "no records: nobody was ever considered for an ask"
        return
    moment = to_datetime(found.as_of)
    yield f"as of {day_and_time(moment)} {moment.year} UTC, policy {policy.name} {policy.hash}"
    yield f"{found.customers:,} customers; occasions to ask of {found.period.since} to {found.period.until}"
    for title, prefixes in _SECTIONS:
        yield from _section(title, [(n, f) for n, f in found.total.items() if n.startswith(prefixes)])
    if found.by:
        yield from _groups(found)
    yield from _comparisons(found.comparisons)


def _section(title: str, figures: list[tuple[str, Figure]]) -> Iterator[str]:
    if not figures:
        return
    yield ""
    yield f"{title}:"
    table = [(title_of(name), *_cells(figure)) for name, figure in figures]
    yield from (f"  {line}" for line in rows(table, right=frozenset({1})))


def _cells(figure: Figure) -> tuple[str, str, str]:
    """Value, interval, of how many."""
    match figure:
        case Unavailable(why=why):
            return "–", "", why
        case Money():
            return money(figure.minor, figure.currency), "", f"{figure.of:,} {figure.what}"
        case Share() | Mean() | Percentile():
            pass
    of = f"{figure.of:,} {figure.what}"
    if not isinstance(figure, Percentile):
        of = f"{figure.count:,} of {of}"
    if figure.value is None:
        return "–", "", f"{not_enough(figure.of)}; {of}"
    return _value(figure), _interval(figure), of


def _value(figure: Share | Mean | Percentile) -> str:
    value = figure.value or 0.0
    match figure:
        case Share():
            return f"{100 * value:.1f} %"
        case Mean():
            return f"{value:.2f}"
        case Percentile():
            return f"{value:,.1f} {figure.unit}"


def _interval(figure: Figure) -> str:
    interval = figure.interval if isinstance(figure, Share) else None
    return "" if interval is None else f"({100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"


def _groups(found: Figures) -> Iterator[str]:
    names = [
        name
        for name in _IN_TABLES
        if not all(isinstance(figures[name], Unavailable) for figures in found.groups.values())
    ]
    yield ""
    yield f"By {', '.join(found.by)}:"
    table = [(*found.by, *(title_of(name) for name in names))]
    for group, figures in found.groups.items():
        table.append((*(value or "none" for value in group), *(_in_table(figures[name]) for name in names)))
    yield from (f"  {line}" for line in rows(table))
    yield "  (a customer may be in several groups; none: not known, or a referral due to no ask;"
    yield "  --format json or csv has every figure, with intervals)"


def _in_table(figure: Figure) -> str:
    if isinstance(figure, Unavailable | Money):
        return "–"
    if figure.value is None:
        return f"– of {figure.of:,}"
    return f"{_value(figure)} of {figure.of:,}"


def _comparisons(found: Iterable[Comparison]) -> Iterator[str]:
    for c in found:
        yield ""
        yield f"{c.name or 'All asks'}: {_COMPARED[c.kind]}"
        yield from (
            f"  {line}" for line in rows([(a.name, f"{a.successes:,} of {a.units:,} accounts") for a in c.arms])
        )
        yield f"  {c.sentence}"
        if c.outside:
            yield f"  {c.outside:,} accounts were assigned outside the plan, and are left out"
        if c.crossed:
            yield f"  {c.crossed:,} accounts are in both arms: the first one counts"


def as_csv(found: Figures) -> str:
    """A line for each figure: of the total (empty groups), of every group, then the comparisons.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    written = io.StringIO(newline="")
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow((*found.by, *CSV_COLUMNS))
    total = tuple("" for _ in found.by)
    for group, figures in ((total, found.total), *found.groups.items()):
        values = tuple("none" if value is None else value for value in group)
        for name, figure in figures.items():
            lines.writerow(_safe((*values, *_csv_cells(name, figure_data(figure)))))
    for each in found.comparisons:
        compared = comparison_data(each)
        of = sum(arm.units for arm in each.arms)
        title = f"{each.kind} {each.name}".rstrip()
        data = {**compared, "value": compared["ratio"], "count": each.successes, "of": of, "of_what": "accounts"}
        lines.writerow(_safe((*total, *_csv_cells(title, {**data, "unit": "times"}))))
    return written.getvalue()


def _csv_cells(name: str, data: Mapping[str, Any]) -> Iterator[str]:
    values = {**data, "figure": name}
    if "minor" in data:
        values |= {"value": data["minor"], "unit": f"minor units {data['currency']}"}
    for column in CSV_COLUMNS:
        value = values.get(column)
        yield "" if value is None else str(value)


def _safe(cells: Iterable[str]) -> list[str]:
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
