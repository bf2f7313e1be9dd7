"""The report: figures in total and by group, and the comparisons (after §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.metrics.comparing import Comparison, comparisons, observe
from referral_stream.metrics.figures import Figure, Mean, Money, Percentile, Share, Unavailable, not_enough
from referral_stream.metrics.observed import Period, period_of
from referral_stream.metrics.records import Records
from referral_stream.metrics.statistic import RatioEvidence
from referral_stream.metrics.sums import Dimension, Group, Sums, summed


class Figures(NamedTuple):
    """``as_of``: T, epoch ms; None without any record. ``groups``: by the values of ``by``; none without ``by``."""

    as_of: int | None
    period: Period
    by: tuple[Dimension, ...]
    customers: int
    total: dict[str, Figure]
    groups: dict[Group, dict[str, Figure]]
    comparisons: list[Comparison]


def report(
    records: Records,
    policy: Policy,
    *,
    by: tuple[Dimension, ...] = (),
    since: str | None = None,
    until: str | None = None,
) -> Figures:
    """All figures of the records. ``policy`` says which holdout and experiments are compared; months as ``2026-06``."""
    period = period_of(records, since, until)
    total = summed(records, period).get((), Sums())
    groups = summed(records, period, by) if by else {}
    return Figures(
        as_of=records.as_of,
        period=period,
        by=by,
        customers=sum(1 for _ in records),
        total=total.figures(()),
        groups={group: sums.figures(by) for group, sums in groups.items()},
        comparisons=comparisons(observe(records, policy, period), by_trigger="trigger" in by),
    )


def as_data(found: Figures) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "as_of": None if found.as_of is None else rfc3339(found.as_of),
        "since": found.period.since,
        "until": found.period.until,
        "customers": found.customers,
        "by": list(found.by),
        "total": figures_data(found.total),
        "groups": [
            {
                "group": dict(zip(found.by, group, strict=True)),
                "figures": figures_data(figures),
            }
            for group, figures in found.groups.items()
        ],
        "comparisons": [comparison_data(each) for each in found.comparisons],
    }


_FAMILIES: Final = {
    "answer_": "answers", "blocked_": "top_blocking_gates", "revenue_": "revenue", "time_to_ask_": "time_to_ask",
    "punctuality_": "punctuality",
}  # fmt: skip
"""How the names of figures begin that belong together → what holds them."""


def figures_data(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures by name: ``answer_yes`` is ``yes`` of ``answers``."""
    data: dict[str, Any] = {}
    for name, figure in figures.items():
        prefix = next((each for each in _FAMILIES if name.startswith(each)), None)
        if prefix is None:
            data[name] = figure_data(figure)
        else:
            data.setdefault(_FAMILIES[prefix], {})[name.removeprefix(prefix)] = figure_data(figure)
    return data


def figure_data(figure: Figure) -> dict[str, Any]:
    """A figure with its denominator; without enough data there is a text in the place of the value."""
    match figure:
        case Unavailable(why=why):
            return {"value": None, "text": why}
        case Money():
            return {"minor": figure.minor, "currency": figure.currency, "of": figure.of, "of_what": figure.what}
        case Share() | Mean() | Percentile():
            data: dict[str, Any] = {"value": figure.value}
            if isinstance(figure, Share) and figure.interval is not None:
                data |= {"low": figure.interval[0], "high": figure.interval[1]}
            if isinstance(figure, Percentile):
                data["unit"] = figure.unit
            else:
                data["count"] = figure.count
            data |= {"of": figure.of, "of_what": figure.what}
            return data if figure.value is not None else data | {"text": not_enough(figure.of)}


def comparison_data(c: Comparison) -> dict[str, Any]:
    return {
        "name": c.kind,
        "of": c.name or None,
        "verdict": c.verdict,
        "arms": [each._asdict() for each in c.arms],
        "share": round(c.share, 4),
        **_evidence_data(c.evidence if c.verdict != "split_broken" else None),
        "sample_ratio": None
        if c.split is None
        else {"evidence": round(c.split.value, 4), "units": {each.name: each.units for each in c.arms}},
        "effect_at": c.odds,
        "outside_the_plan": c.outside,
        "in_both_arms": c.crossed,
        "text": c.sentence,
    }


def _evidence_data(found: RatioEvidence | None) -> dict[str, Any]:
    if found is None:
        return {"evidence": None, "ratio": None, "low": None, "high": None}
    ratio = None if found.ratio is None else round(found.ratio, 4)
    return {
        "evidence": round(found.value, 4), "ratio": ratio, "low": round(found.low, 4), "high": round(found.high, 4)
    }  # fmt: skip
