"""The report of a backtest: one HTML file that needs no network, says the result in one sentence, and then why.

Ids and texts in a log are anybody's: everything is escaped, what steers a reader's eye is shown as an escape, and the
page's own policy lets nothing run. The same inputs make the same bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from importlib import metadata, resources
from typing import Any, Final, NamedTuple

import jinja2
from markupsafe import Markup, escape

from referral_stream import __version__
from referral_stream.backtest.difference import SHARES, SIDES, AskChange, Side, Totals
from referral_stream.backtest.figures import OUTCOMES, ChangedAsk, figures, outcome_told, row_of
from referral_stream.backtest.run import Backtest, ReadLog
from referral_stream.backtest.search import Front, Search
from referral_stream.contracts.free_mail import VERSION as FREE_MAIL
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.core.record import SIGNAL_DAYS
from referral_stream.replay.reading import Span
from referral_stream.words.decisions import happening
from referral_stream.words.phrases import phrases

REGRETS_SHOWN: Final = 10


"""Asks into trouble that are shown with all that is known; the list of changed asks begins with the others."""


class Cell(NamedTuple):
    moments: int
    href: str
    changed: bool


class ReportBar(NamedTuple):
    """One place of a plot: A's and B's count."""

    label: str
    a: int
    b: int


def render(found: Backtest, a: Policy, b: Policy) -> str:
    """The page of a backtest."""
    totals, words = found.totals, phrases()
    return _page(
        "report.html",
        figures=figures(found, a, b),
        policies={"a": a, "b": b},
        totals=totals,
        matrix={(one, other): _cell(totals, one, other) for one in OUTCOMES for other in OUTCOMES},
        outcomes={name: outcome_told(name) for name in OUTCOMES},
        regretted=[row_of(each) for each in totals.listed if each.order[0] == 0][:REGRETS_SHOWN],
        lists=[
            (kind, title, totals.kinds.get(kind, 0), list(_listed(totals, kind))) for kind, title in _TITLES.items()
        ],
        shown=len(totals.listed),
        weeks=_weeks(totals),
        waited=[_bar(totals.waited, part, _part_of_window(part)) for part in range(SHARES)],
        hours={side: _hours(totals, side) for side in SIDES},
        weekdays=words.tables["calendar"]["weekdays"],
        tables=[
            ("What they are about", "occasion", _by(totals.triggers, happening)),
            ("How they are worded", "wording", _by(totals.modes, partial(words.word, "modes"))),
            ("Where they are made", "channel", _by(totals.channels, partial(words.word, "channels"))),
        ],
        observed=_observed(totals),
        signal_days=SIGNAL_DAYS,
        run=_run(found.log, {"A": a, "B": b}),
    )


def _even(most: int) -> int:
    """The end of an axis with a line in its middle, each with a whole number."""
    return max(2, most + most % 2)


def render_front(front: Front, search: Search, log: ReadLog, a: Policy) -> str:
    """The page of a search."""
    most = max([front.a.asks, *(point.asks for point in front.points)], default=0)
    worst = max([front.a.regrets, *(point.regrets for point in front.points)], default=0)
    return _page(
        "front.html",
        front=front,
        left_out=search.left_out,
        policy=a,
        most=_even(most),
        worst=_even(worst),
        signal_days=SIGNAL_DAYS,
        run=_run(log, {"A": a}),
    )


def _page(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"number": _number, "signed": _signed, "unbroken": _unbroken}
    css = _template("page.css")
    css_hash = base64.b64encode(sha256(css.encode()).digest()).decode()
    return environment.get_template(template).render(css=css, css_hash=css_hash, **values)


_TITLES: Final[dict[AskChange, str]] = {
    "gained": "Asks that B gains",
    "lost": "Asks that B loses",
    "moved": "Asks that B moves",
}


def _cell(totals: Totals, one: str, other: str) -> Cell:
    asked = ("asked", "soft")
    count = totals.matrix.get((one, other), 0)
    if one in asked and other in asked:
        return Cell(count, "#moved" if totals.kinds.get("moved") else "", one != other)
    href = "#lost" if one in asked else "#gained" if other in asked else ""
    return Cell(count, href if count else "", one != other)


def _listed(totals: Totals, kind: AskChange) -> Iterator[ChangedAsk]:
    return (row_of(each) for each in totals.listed if each.kind == kind)


def _observed(totals: Totals) -> list[tuple[str, int, int, list[tuple[str, int]]]]:
    """The change, how many, of how many the log knows more, and what."""
    found: list[tuple[str, int, int, list[tuple[str, int]]]] = []
    for kind, title in (("lost", "lost asks"), ("moved", "moved asks"), ("gained", "gained asks")):
        counts = {name: count for (of, name), count in totals.observed.items() if of == kind}
        known = [(name, counts[name]) for name in _OBSERVED if name in counts]
        found.append((title, counts.get("asks", 0), counts.get("observed", 0), known))
    return found


_OBSERVED: Final[tuple[str, ...]] = (
    "yes",
    "maybe",
    "no",
    "stop",
    "unclear",
    "no answer",
    "referral",
    "converted",
    "trouble",
)


def _weeks(totals: Totals) -> list[ReportBar]:
    mondays = sorted({monday for _, monday in totals.weeks})
    if not mondays:
        return []
    first, last = date.fromisoformat(mondays[0]), date.fromisoformat(mondays[-1])
    found = []
    for week in range((last - first).days // 7 + 1):
        day = first + timedelta(weeks=week)
        label = f"{day.day} {phrases().tables['calendar']['months'][day.month - 1]} {day.year}"
        found.append(_bar(totals.weeks, day.isoformat(), label))
    return found


def _by(counts: Mapping[tuple[str, str], int], words: Callable[[str], str]) -> list[ReportBar]:
    found = [_bar(counts, name, words(name) if name else "–") for name in sorted({name for _, name in counts})]
    return sorted(found, key=lambda bar: (-bar.a - bar.b, bar.label))


def _bar(counts: Mapping[tuple[str, Any], int], place: object, label: str) -> ReportBar:
    return ReportBar(label, counts.get(("a", place), 0), counts.get(("b", place), 0))


def _part_of_window(part: int) -> str:
    return f"{100 * part // SHARES}–{100 * (part + 1) // SHARES} %"


def _hours(totals: Totals, side: Side) -> list[list[int]]:
    """By weekday and hour."""
    return [[totals.hours.get((side, day * 24 + hour), 0) for hour in range(24)] for day in range(7)]


def _run(log: ReadLog, policies: Mapping[str, Policy]) -> list[tuple[str, str]]:
    """What the result depends on."""
    return [
        *((f"Policy {side}", f"{each.name} version {each.version}, {each.hash}") for side, each in policies.items()),
        ("Log", f"{log.counts.records:,} records, SHA-256 of its lines {log.digest}"),
        ("Time", f"{rfc3339(log.first)} to {rfc3339(log.last)}"),
        ("Offsets", ", ".join(_span(*where, span) for where, span in sorted(log.spans.items()))),
        ("Program", f"referral-stream {__version__}"),
        ("Data", f"tzdata {metadata.version('tzdata')}, free-mail list {FREE_MAIL}"),
    ]


def _span(topic: str, partition: int, span: Span) -> str:
    if not span.named:
        return f"{topic}: {span.records:,} lines without offsets"
    return f"{topic} {partition}: {span.first} to {span.last} ({span.records:,})"


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """What could turn the direction of a line, or hide in it, as an escape."""
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in value)


def _number(value: int) -> str:
    return f"{value:,}"


def _unbroken(sentence: str) -> Markup:
    """With every number on the line of its word."""
    return Markup(re.sub(r"(?<=[ABs]) (?=\d)", "&nbsp;", str(escape(sentence))))  # noqa: S704 (escaped before)


def _signed(value: int) -> str:
    return f"+{value:,}" if value > 0 else f"−{-value:,}" if value else "±0"
