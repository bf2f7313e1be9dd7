"""The report of a backtest: one HTML file that needs no network, says the result in one sentence, and then why.

Ids and texts in a log are anybody's: everything is escaped, what steers a reader's eye is shown as an escape, and the
page's own policy lets nothing run. The same inputs make the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from importlib import metadata, resources
from typing import Any, Final, NamedTuple

import jinja2

from referral_stream import __version__
from referral_stream.backtest.difference import LISTED, NOT_OPENED, SHARES, SIDES, Compared, Kind, Totals
from referral_stream.backtest.fates import Fate, Later, told
from referral_stream.backtest.run import Backtest
from referral_stream.contracts.free_mail import VERSION as FREE_MAIL
from referral_stream.core.effects import GateName, Outcome
from referral_stream.core.instants import DAY, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.core.record import SIGNAL_DAYS
from referral_stream.core.zones import zone
from referral_stream.words.decisions import clock_words, happening, outcome_words, why, zone_of
from referral_stream.words.phrases import phrases

REGRETS_SHOWN: Final = 25
"""Asks into trouble that are shown with all that is known; the list of changed asks begins with the others."""


class Setting(NamedTuple):
    """A setting on which the policies differ, as in ``caps.customer_days``."""

    name: str
    a: str
    b: str


class Cell(NamedTuple):
    count: int
    href: str
    changed: bool


class Row(NamedTuple):
    """A changed ask, in words."""

    kind: str
    customer: str
    account: str
    trigger: str
    opened: str
    a: str
    b: str
    observed: str
    regret: str


class GateFlips(NamedTuple):
    """What a gate made (``gained``) and cost (``lost``), with customers to look at."""

    gate: str
    words: str
    gained: int
    lost: int
    examples: list[Row]


class Bar(NamedTuple):
    """One place of a plot: A's and B's count."""

    label: str
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the page and the terminal say: see :func:`figures`."""

    sentence: str
    cost: str
    settings: list[Setting]
    asked: tuple[int, int]
    regrets: tuple[int, int]
    gates: list[GateFlips]
    matrix_a: list[str]
    matrix_b: list[str]
    unknown: list[str]


def figures(found: Backtest, a: Policy, b: Policy) -> Figures:
    """The result in words and numbers."""
    totals = found.totals
    asked = totals.asked.get("a", 0), totals.asked.get("b", 0)
    regrets = totals.regrets.get("a", 0), totals.regrets.get("b", 0)
    names_a = {one for one, _ in totals.matrix}
    names_b = {other for _, other in totals.matrix}
    return Figures(
        sentence=_sentence(totals, asked),
        cost=_cost(totals, asked, regrets),
        settings=list(differing(a, b)),
        asked=asked,
        regrets=regrets,
        gates=_gates(totals),
        matrix_a=[name for name in OUTCOMES if name in names_a],
        matrix_b=[name for name in OUTCOMES if name in names_b],
        unknown=list(_unknown(found, a, b)),
    )


def render(found: Backtest, a: Policy, b: Policy) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"number": _number, "signed": _signed, "share": _share}
    css = _template("report.css")
    page = environment.get_template("report.html")
    totals = found.totals
    return page.render(
        figures=figures(found, a, b),
        css=css,
        css_hash=base64.b64encode(sha256(css.encode()).digest()).decode(),
        policies={"a": a, "b": b},
        totals=totals,
        matrix={(one, other): _cell(totals, one, other) for one in OUTCOMES for other in OUTCOMES},
        outcomes={name: _outcome(name) for name in OUTCOMES},
        regretted=[_row(each) for each in totals.listed if each.order[0] == 0][:REGRETS_SHOWN],
        lists=[(kind, _TITLES[kind], totals.kinds.get(kind, 0), list(_listed(totals, kind))) for kind in _TITLES],
        listed=LISTED,
        shown=len(totals.listed),
        weeks=_weeks(totals),
        waited=[
            Bar(f"{100 * part // SHARES}–{100 * (part + 1) // SHARES} %", totals.waited.get(("a", part), 0), totals.waited.get(("b", part), 0))
            for part in range(SHARES)
        ],
        hours={side: [[totals.hours.get((side, day * 24 + hour), 0) for hour in range(24)] for day in range(7)] for side in SIDES},
        weekdays=phrases().tables["calendar"]["weekdays"],
        tables=[
            ("What they are about", "occasion", _by(totals.triggers, happening)),
            ("How they are worded", "wording", _by(totals.modes, lambda name: phrases().word("modes", name))),
            ("Where they are made", "channel", _by(totals.channels, lambda name: phrases().word("channels", name))),
        ],
        observed=_observed(totals),
        signal_days=SIGNAL_DAYS,
        run=_run(found, a, b),
    )


OUTCOMES: Final = (
    "asked", "soft", "holdout", "superseded", "deferred", "pending", "suppressed", "expired", "expired_on_arrival",
    "cancelled", NOT_OPENED,
)  # fmt: skip
_TITLES: Final[dict[Kind, str]] = {"gained": "Asks that B gains", "lost": "Asks that B loses", "moved": "Asks that B moves"}


def differing(a: Policy, b: Policy) -> Iterator[Setting]:
    """Settings on which they differ, in the order of the policy file; name and version are no settings."""
    one, other = dict(_flat(a.model_dump(mode="json"))), dict(_flat(b.model_dump(mode="json")))
    for name in [*one, *(name for name in other if name not in one)]:
        if one.get(name) != other.get(name) and name not in ("name", "version"):
            yield Setting(name, _setting(one, name), _setting(other, name))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _setting(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    if name not in settings or value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _sentence(totals: Totals, asked: tuple[int, int]) -> str:
    gained, lost, moved = (totals.kinds.get(kind, 0) for kind in ("gained", "lost", "moved"))
    if not totals.moments:
        return "The log holds no moment to ask."
    if not totals.changed:
        return f"Of {totals.moments:,} moments B asks {asked[1]:,}, as A does: nothing changes."
    return (
        f"Of {totals.moments:,} moments B asks {asked[1]:,}, A {asked[0]:,}: "
        f"{gained:,} gained, {lost:,} lost, {moved:,} moved."
    )


def _cost(totals: Totals, asked: tuple[int, int], regrets: tuple[int, int]) -> str:
    if not any(asked):
        return "Nobody is asked under either."
    made, avoided = totals.regrets.get("b_alone", 0), totals.regrets.get("a_alone", 0)
    return (
        f"Trouble came within {SIGNAL_DAYS} days of {regrets[1]:,} of B’s asks ({_share(regrets[1], asked[1])}), "
        f"and of {regrets[0]:,} of A’s ({_share(regrets[0], asked[0])}): B makes {made:,} such "
        f"{'ask' if made == 1 else 'asks'} that A avoids, and avoids {avoided:,} of A’s."
    )


def _gates(totals: Totals) -> list[GateFlips]:
    names = sorted({gate for gate, _ in totals.flips}, key=lambda gate: (-sum(totals.flips.get((gate, k), 0) for k in ("gained", "lost")), gate))
    found = []
    for gate in names:
        examples = [_row(each) for kind in ("gained", "lost") for each in totals.examples.get((gate, kind), ())]
        gained, lost = (totals.flips.get((gate, kind), 0) for kind in ("gained", "lost"))
        found.append(GateFlips(gate, _gate_words(gate), gained, lost, examples))
    return found


_GATES: Final[dict[str, str]] = {
    "erased": "the customer was erased", "paused": "paused, or the trigger is off", "consent": "no consent",
    "too_early": "too early", "trouble": "trouble", "propensity": "not ready: the score", "answers": "their answers so far",
    "overasking": "asked too recently", "account": "the account was asked too recently", "advocacy": "another team asked",
    "channel": "no way to reach them", "moment": "no good moment", "approval": "a person has to approve",
    "holdout": "held out", NOT_OPENED: "no occasion under the other policy",
}  # fmt: skip


def _gate_words(gate: str) -> str:
    return _GATES.get(gate) or _outcome(gate)


def _outcome(name: str) -> str:
    return "no occasion" if name == NOT_OPENED else outcome_words(name)


def _cell(totals: Totals, one: str, other: str) -> Cell:
    asked = ("asked", "soft")
    count = totals.matrix.get((one, other), 0)
    if one in asked and other in asked:
        return Cell(count, "#moved" if totals.kinds.get("moved") else "", one != other)
    href = "#lost" if one in asked else "#gained" if other in asked else ""
    return Cell(count, href if count else "", one != other)


def _listed(totals: Totals, kind: Kind) -> Iterator[Row]:
    return (_row(each) for each in totals.listed if each.kind == kind)


def _row(compared: Compared) -> Row:
    moment = compared.moment
    of_a, of_b = compared.regrets
    regret = "both" if of_a and of_b else "B" if of_b else "A" if of_a else ""
    local = zone_of({"time_zone": {"name": moment.zone}})
    return Row(
        kind=compared.kind,
        customer=moment.customer_id,
        account=moment.account_id or "",
        trigger=happening(moment.trigger),
        opened=clock_words(moment.opens, local),
        a=_in_words(compared, compared.a),
        b=_in_words(compared, compared.b),
        observed=_later(compared),
        regret=regret,
    )


def _in_words(compared: Compared, fate: Fate | None) -> str:
    if fate is None:
        return "no occasion"
    decision = told(compared.moment, fate)
    if fate.is_asked:
        return f"asked {clock_words(fate.at, zone_of(decision))}: {why(decision)}"
    reasons = why(decision)
    return f"{outcome_words(fate.outcome)}: {reasons}" if reasons else outcome_words(fate.outcome)


def _later(compared: Compared) -> str:
    """What the log says of A's ask. Of B's it says nothing that was not A's too."""
    later = None if compared.a is None or not compared.a.is_asked else compared.a.later
    if compared.kind == "gained":
        return "not observed"
    if later is None or not later.is_known:
        return "not observed"
    return "; ".join(_observations(later))


def _observations(later: Later) -> Iterator[str]:
    yield f"answered {later.answer}" if later.answer is not None else "no answer"
    if later.referrals:
        yield "1 referral" if later.referrals == 1 else f"{later.referrals} referrals"
    if later.converted:
        yield f"{later.converted} converted"
    if later.regret:
        yield "trouble"


def _observed(totals: Totals) -> list[tuple[str, int, int, list[tuple[str, int]]]]:
    """Kind, how many, of how many the log knows more, and what."""
    found = []
    for kind, title in (("lost", "lost asks"), ("moved", "moved asks"), ("gained", "gained asks")):
        counts = {name: count for (of, name), count in totals.observed.items() if of == kind}
        known = [(name, counts[name]) for name in _OBSERVED if name in counts]
        found.append((title, counts.get("asks", 0), counts.get("observed", 0), known))
    return found


_OBSERVED: Final = ("yes", "maybe", "no", "stop", "unclear", "no answer", "referral", "converted", "trouble")


def _weeks(totals: Totals) -> list[Bar]:
    mondays = sorted({monday for _, monday in totals.weeks})
    if not mondays:
        return []
    first, last = date.fromisoformat(mondays[0]), date.fromisoformat(mondays[-1])
    found = []
    for week in range((last - first).days // 7 + 1):
        monday = (first + timedelta(weeks=week)).isoformat()
        found.append(Bar(monday, totals.weeks.get(("a", monday), 0), totals.weeks.get(("b", monday), 0)))
    return found


def _by(counts: Mapping[tuple[str, str], int], words: Any) -> list[Bar]:
    names = {name for _, name in counts}
    found = [Bar(words(name) if name else "–", counts.get(("a", name), 0), counts.get(("b", name), 0)) for name in names]
    return sorted(found, key=lambda bar: (-bar.a - bar.b, bar.label))


def _unknown(found: Backtest, a: Policy, b: Policy) -> Iterator[str]:
    """What is not known, or could not be replayed, each with its number."""
    log, totals = found.log, found.totals
    counts = log.counts
    for cause, count in sorted(counts.refused.items()):
        yield f"{_records(count)} could not be used: {cause.replace('_', ' ')}"
    for reason, count in sorted(counts.skipped.items()):
        yield f"{_records(count)} left out: {reason.replace('_', ' ')}"
    if counts.bad_lines:
        yield f"{counts.bad_lines:,} unreadable lines left out"
    if counts.remarks.late:
        yield f"{_records(counts.remarks.late)} lie behind later ones: the log is not sorted (--sort)"
    if found.known_before:
        days = max(a.caps.longest_days, b.caps.longest_days)
        yield (
            f"caps unknown before {_day(log.first + days * DAY)}: {found.known_before:,} of {found.customers:,} "
            f"customers were customers before the log begins, and whether they were asked in the {days} days before it "
            "is not in it"
        )
    for topic, partition, offset in log.starts_late:
        yield f"partition {partition} of {topic} begins at offset {offset:,}: what lies before it is unknown"
    unripe = totals.unripe.get("a", 0), totals.unripe.get("b", 0)
    if any(unripe):
        yield (
            f"{unripe[0]:,} asks of A and {unripe[1]:,} of B lie within {SIGNAL_DAYS} days of the end of the log, or "
            "after it: trouble that came later is not in it"
        )
    if log.ours:
        yield f"pauses: a log of customer-events does not hold the switches themselves, so none applies"
    if totals.historical:
        yield f"{totals.historical:,} occasions are history, and open nothing"
    for side, name in (("a", "A"), ("b", "B")):
        trips = found.breaker.get(side, [])
        if trips:
            first = ", ".join(f"{trip.trigger} {_hour(trip.at)}" for trip in trips[:3])
            more = f" and {len(trips) - 3} more" if len(trips) > 3 else ""
            yield f"the burst breaker would have paused under {name}, which is not applied: {first}{more}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _run(found: Backtest, a: Policy, b: Policy) -> list[tuple[str, str]]:
    """What the result depends on."""
    log = found.log
    spans = ", ".join(
        f"{topic} {partition}: {span.first}–{span.last} ({span.records:,})" if span.named else f"{topic}: {span.records:,} lines"
        for (topic, partition), span in sorted(log.spans.items())
    )
    return [
        ("Policy A", f"{a.name} version {a.version}, {a.hash}"),
        ("Policy B", f"{b.name} version {b.version}, {b.hash}"),
        ("Log", f"{log.counts.records:,} records, SHA-256 of its lines {log.digest}"),
        ("Time", f"{rfc3339(log.first)} to {rfc3339(log.last)}"),
        ("Offsets", spans),
        ("Program", f"referral-stream {__version__}"),
        ("Data", f"tzdata {metadata.version('tzdata')}, free-mail list {FREE_MAIL}"),
    ]


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """What could turn the direction of a line, or hide in it, as an escape."""
    if not isinstance(value, str) or hasattr(value, "__html__") or value.isprintable():
        return value
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in value)


def _number(value: int) -> str:
    return f"{value:,}"


def _signed(value: int) -> str:
    return f"+{value:,}" if value > 0 else f"−{-value:,}" if value else "±0"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _day(at: int) -> str:
    return rfc3339(at)[:10]


def _hour(at: int) -> str:
    return f"{rfc3339(at)[:13].replace('T', ' ')}:00Z"
