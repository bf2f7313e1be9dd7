"""The result of a backtest in figures and plain words: what page and terminal say alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from referral_stream.backtest.difference import NOT_OPENED, BacktestCompared, Totals
from referral_stream.backtest.fates import Later, OpportunityFate, told
from referral_stream.backtest.run import Backtest
from referral_stream.core.instants import DAY, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.core.record import SIGNAL_DAYS
from referral_stream.words.decisions import clock_words, happening, outcome_words, why, zone_of
from referral_stream.words.phrases import phrases

_GATES_NAMED: Final = 4
"""Gates that are named where they hold back all."""
_TRIPS: Final = 3
"""Pauses of the burst breaker that are named."""


class DifferingSetting(NamedTuple):
    """A setting on which the policies differ, as in ``caps.customer_days``."""

    name: str
    a: str
    b: str


class ChangedAsk(NamedTuple):
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
    examples: list[ChangedAsk]


@dataclass(frozen=True, slots=True)
class BacktestFigures:
    """What the page and the terminal say: see :func:`figures`."""

    sentence: str
    cost: str
    settings: list[DifferingSetting]
    asked: tuple[int, int]
    regrets: tuple[int, int]
    gates: list[GateFlips]
    matrix_a: list[str]
    matrix_b: list[str]
    unknown: list[str]


def figures(found: Backtest, a: Policy, b: Policy) -> BacktestFigures:
    """The result in words and numbers."""
    totals = found.totals
    asked = totals.asked.get("a", 0), totals.asked.get("b", 0)
    regrets = totals.regrets.get("a", 0), totals.regrets.get("b", 0)
    names_a = {one for one, _ in totals.matrix}
    names_b = {other for _, other in totals.matrix}
    return BacktestFigures(
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


OUTCOMES: Final = (
    "asked", "soft", "holdout", "superseded", "deferred", "pending", "suppressed", "expired", "expired_on_arrival",
    "cancelled", NOT_OPENED,
)  # fmt: skip


def differing(a: Policy, b: Policy) -> Iterator[DifferingSetting]:
    """Settings on which they differ, in the order of the policy file; name and version are no settings."""
    one, other = dict(_flat(a.model_dump(mode="json"))), dict(_flat(b.model_dump(mode="json")))
    for name in [*one, *(name for name in other if name not in one)]:
        if one.get(name) != other.get(name) and name not in ("name", "version"):
            yield DifferingSetting(name, _setting(one, name), _setting(other, name))


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
    if not any(asked):
        return f"Of {totals.moments:,} moments neither A nor B asks any{_held(totals)}: this log compares nothing."
    if not totals.changed:
        return f"Of {totals.moments:,} moments B asks {asked[1]:,}, as A does: nothing changes."
    return (
        f"Of {totals.moments:,} moments B asks {asked[1]:,}, A {asked[0]:,}: "
        f"{gained:,} gained, {lost:,} lost, {moved:,} moved."
    )


def _held(totals: Totals) -> str:
    """What holds back the most, of A's gates."""
    most = sorted(totals.held.items(), key=lambda item: (-item[1], item[0]))[:_GATES_NAMED]
    listed = ", ".join(f"{outcome_words(gate).replace('_', ' ')} {count:,}" for gate, count in most)
    return f" ({listed})" if listed else ""


def _cost(totals: Totals, asked: tuple[int, int], regrets: tuple[int, int]) -> str:
    if not any(asked):
        return (
            "Nobody is asked under either. Where consent or too early holds back nearly all, the log begins too late: "
            "it lacks sign-ups, onboarding, first successes or consents (docs/first-week.md)."
        )
    made, avoided = totals.regrets.get("b_alone", 0), totals.regrets.get("a_alone", 0)
    return (
        f"Trouble came within {SIGNAL_DAYS} days of {regrets[1]:,} of B’s asks ({share(regrets[1], asked[1])}), "
        f"and of {regrets[0]:,} of A’s ({share(regrets[0], asked[0])}): B makes {made:,} such "
        f"{'ask' if made == 1 else 'asks'} that A avoids, and avoids {avoided:,} of A’s."
    )


def _gates(totals: Totals) -> list[GateFlips]:
    made: Counter[str] = Counter()
    for (gate, _), count in totals.flips.items():
        made[gate] += count
    names = sorted(made, key=lambda gate: (-made[gate], gate))
    found = []
    for gate in names:
        examples = [row_of(each) for kind in ("gained", "lost") for each in totals.examples.get((gate, kind), ())]
        gained, lost = (totals.flips.get((gate, kind), 0) for kind in ("gained", "lost"))
        found.append(GateFlips(gate, _gate_words(gate), gained, lost, examples))
    return found


def _gate_words(gate: str) -> str:
    return phrases().word("gate_causes", gate) if gate in phrases().tables["gate_causes"] else outcome_told(gate)


def outcome_told(name: str) -> str:
    return "no occasion" if name == NOT_OPENED else outcome_words(name)


def row_of(compared: BacktestCompared) -> ChangedAsk:
    head = compared.head
    of_a, of_b = compared.regrets
    regret = "both" if of_a and of_b else "B" if of_b else "A" if of_a else ""
    local = zone_of({"time_zone": {"name": head.zone}})
    return ChangedAsk(
        kind=compared.kind,
        customer=head.customer_id,
        account=head.account_id or "",
        trigger=happening(head.trigger),
        opened=clock_words(head.opens, local),
        a=_in_words(compared, compared.a),
        b=_in_words(compared, compared.b),
        observed=_later(compared),
        regret=regret,
    )


def _in_words(compared: BacktestCompared, fate: OpportunityFate | None) -> str:
    if fate is None:
        return "no occasion"
    decision = told(compared.head, fate)
    if fate.is_asked:
        return f"asked {clock_words(fate.at, zone_of(decision))}: {why(decision)}"
    reasons = why(decision)
    return f"{outcome_words(fate.outcome)}: {reasons}" if reasons else outcome_words(fate.outcome)


def _later(compared: BacktestCompared) -> str:
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
        yield "pauses: of a log of customer-events those are known that reached a customer; they apply to both"
    if totals.historical:
        yield f"{totals.historical:,} occasions are history, and open nothing"
    for side, name in (("a", "A"), ("b", "B")):
        trips = found.breaker.get(side, [])
        if trips:
            first = ", ".join(f"{trip.trigger} {_hour(trip.at)}" for trip in trips[:_TRIPS])
            more = f" and {len(trips) - _TRIPS} more" if len(trips) > _TRIPS else ""
            yield f"the burst breaker would have paused under {name}, which is not applied: {first}{more}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _day(at: int) -> str:
    return rfc3339(at)[:10]


def _hour(at: int) -> str:
    return f"{rfc3339(at)[:13].replace('T', ' ')}:00Z"
