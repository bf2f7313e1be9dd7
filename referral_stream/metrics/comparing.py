"""Comparisons: what asking causes, what harm it does, which wording works; each ends in one plain sentence (after §7).

All of them count units (accounts, else customers) once, in the arm of their first ask, and only those whose horizon has
passed; all use the one statistic of :mod:`~referral_stream.metrics.statistic`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from referral_stream.core.instants import DAY, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.metrics.observed import Period, SeenAsk, asks_of, day_of, referrals_of, unit_of
from referral_stream.metrics.records import Records
from referral_stream.metrics.statistic import BROKEN, EFFECT, LARGEST_RATIO, SMALLEST_RATIO, RatioEvidence, evidence

ComparisonVerdict: TypeAlias = Literal["not_measured", "split_broken", "not_enough", "effect", "none_yet"]
Compared: TypeAlias = Literal["uplift", "harm", "template"]

NEEDED = 20
"""Successes in all, before anything is said."""

UPLIFT_DAYS = 90
HARM_DAYS = 14
_HORIZONS = {"uplift": UPLIFT_DAYS, "template": UPLIFT_DAYS, "harm": HARM_DAYS}
_SUCCESSES = {"uplift": "referrals", "template": "referrals", "harm": "cases of trouble"}


class ArmCounts(NamedTuple):
    name: str
    units: int
    successes: int


class Comparison(NamedTuple):
    """One arm against another. ``name``: of what (a trigger, a template; "" for all asks).

    ``share``: of the first arm by plan. ``since``: the first ask that counts, or is to count (epoch ms). ``outside``:
    units in an arm that the plan does not have; ``crossed``: units that were later asked in the other arm, too.
    ``odds``: the evidence from which on an effect is reported.
    """

    kind: Compared
    name: str
    arms: tuple[ArmCounts, ArmCounts]
    share: float
    evidence: RatioEvidence | None
    split: RatioEvidence | None
    since: int | None
    as_of: int
    outside: int = 0
    crossed: int = 0
    odds: int = EFFECT

    @property
    def successes(self) -> int:
        return sum(arm.successes for arm in self.arms)

    @property
    def verdict(self) -> ComparisonVerdict:
        if self.evidence is None or self.split is None:
            return "not_measured"
        if self.split.reaches(BROKEN):
            return "split_broken"
        if self.successes < NEEDED:
            return "not_enough"
        return "effect" if self.evidence.reaches(self.odds) else "none_yet"

    @property
    def sentence(self) -> str:
        """What it comes to, in one plain sentence."""
        return _sentence(self)


class Observed(NamedTuple):
    """What comparisons look at, gathered once from all records.

    ``referred``: unit → the day of each of its referrals, and the command of the ask that it is due to.
    """

    asks: tuple[SeenAsk, ...]
    referred: dict[str, list[tuple[int, str | None]]]
    as_of: int
    policy: Policy


def observe(records: Records, policy: Policy, period: Period) -> Observed:
    """The asks of these months, and each unit's referrals."""
    asks: list[SeenAsk] = []
    referred: defaultdict[str, list[tuple[int, str | None]]] = defaultdict(list)
    for record in records:
        asks.extend(ask for ask in asks_of(record) if period.has(ask.month))
        for referral in referrals_of(record):
            command = None if referral.ask is None else referral.ask.command_id
            referred[unit_of(record)].append((referral.day, command))
    return Observed(tuple(asks), dict(referred), records.as_of or 0, policy)


def comparisons(seen: Observed, *, by_trigger: bool = False) -> list[Comparison]:
    """Uplift, harm and every arm of every experiment; ``by_trigger``: uplift and harm of each trigger as well.

    Where triggers are looked at one by one, each needs the more evidence the more there are: of many, one soon stands
    out.
    """
    found = [uplift(seen), harm(seen)]
    if by_trigger:
        names = sorted({ask.trigger for ask in seen.asks if ask.kind != "shadow"})
        for compare in (uplift, harm):
            found += [compare(seen, name)._replace(odds=EFFECT * len(names)) for name in names]
    return [*found, *templates(seen)]


def uplift(seen: Observed, trigger: str | None = None) -> Comparison:
    """Referrals of units that are asked against those held out."""
    return _against_holdout(seen, "uplift", trigger, lambda first: _has_referred(seen, first))


def harm(seen: Observed, trigger: str | None = None, since: int = 0) -> Comparison:
    """Trouble soon after the ask, against soon after the instant at which who is held out would have been asked.

    ``since``: asks before it do not count (epoch ms).
    """
    return _against_holdout(seen, "harm", trigger, lambda first: first.regret, since)


def templates(seen: Observed) -> Iterator[Comparison]:
    """Every template of every experiment against all others of it."""
    for name, experiment in sorted(seen.policy.experiments.items()):
        about = [
            ask
            for ask in seen.asks
            if ask.emitted
            and ask.trigger == experiment.trigger
            and ask.arm is not None
            and ask.arm.partition("/")[0] == name
            and ask.asked_at >= (experiment.active_since or 0)
        ]
        weights = {f"{name}/{template}": weight for template, weight in experiment.templates.items() if weight > 0}
        total = sum(weights.values())
        for arm, weight in sorted(weights.items()):

            def side(ask: SeenAsk, arm: str = arm, planned: frozenset[str] = frozenset(weights)) -> int | None:
                return int(ask.arm == arm) if ask.arm in planned else None

            share = weight / total if len(weights) > 1 else 1.0
            names = arm.partition("/")[2], "the other templates"
            yield _compare("template", arm, about, side, names, share, seen, lambda first: _has_referred(seen, first))


def _against_holdout(
    seen: Observed, kind: Compared, trigger: str | None, success: Callable[[SeenAsk], bool], since: int = 0
) -> Comparison:
    holdout = seen.policy.holdout
    first = max(since, holdout.active_since or 0)
    about = [
        ask
        for ask in seen.asks
        if ask.kind != "shadow" and trigger in (None, ask.trigger) and ask.asked_at >= first
    ]  # fmt: skip

    def side(ask: SeenAsk) -> int | None:
        if holdout.percent == 0 and not ask.emitted:
            return None
        return int(ask.emitted)

    return _compare(
        kind, trigger or "", about, side, ("asked", "held out"), 1 - holdout.percent / 100, seen, success
    )  # fmt: skip


def _has_referred(seen: Observed, first: SeenAsk) -> bool:
    """Whether the unit gave a referral in the 90 days from the ask on: by time alone, in every arm alike.

    Of a referral the local date is known. West of Greenwich that may be the day before the ask, in UTC: then
    attribution, which is by time for who is held out, says that it came after.
    """
    start = day_of(first.asked_at)
    return any(
        start <= day < start + UPLIFT_DAYS or (day == start - 1 and command == first.command_id)
        for day, command in seen.referred.get(first.unit, ())
    )


def _compare(
    kind: Compared,
    name: str,
    asks: Iterable[SeenAsk],
    side: Callable[[SeenAsk], int | None],
    names: tuple[str, str],
    share: float,
    seen: Observed,
    success: Callable[[SeenAsk], bool],
) -> Comparison:
    """``side``: 1 for the first arm, 0 for the other, None for one that the plan does not have."""
    first: dict[str, SeenAsk] = {}
    sides: defaultdict[str, set[int | None]] = defaultdict(set)
    for ask in asks:
        known = first.get(ask.unit)
        if known is None or (ask.asked_at, ask.command_id) < (known.asked_at, known.command_id):
            first[ask.unit] = ask
        sides[ask.unit].add(side(ask))
    units, successes, outside, crossed = [0, 0], [0, 0], 0, 0
    for unit, ask in first.items():
        arm = side(ask)
        if arm is None:
            outside += 1
        elif ask.asked_at + _HORIZONS[kind] * DAY <= seen.as_of:
            units[arm] += 1
            successes[arm] += success(ask)
            crossed += len(sides[unit]) > 1
    planned = 0 < share < 1
    return Comparison(
        kind=kind,
        name=name,
        arms=(ArmCounts(names[0], units[1], successes[1]), ArmCounts(names[1], units[0], successes[0])),
        share=share,
        evidence=evidence(successes[1], successes[0], share) if planned else None,
        split=evidence(units[1], units[0], share) if planned else None,
        since=min((ask.asked_at for ask in first.values() if side(ask) is not None), default=None),
        as_of=seen.as_of,
        outside=outside,
        crossed=crossed,
    )


# ------------------------------------------------------------------------------------------------------------- in words


def _sentence(c: Comparison) -> str:
    match c.verdict:
        case "not_measured":
            return _not_measured(c)
        case "split_broken":
            return _broken(c)
        case "not_enough":
            return f"not enough data yet ({_so_far(c)})"
        case "effect":
            return _effect(c)
        case "none_yet":
            return _none_yet(c)


def _not_measured(c: Comparison) -> str:
    if c.kind == "template":
        return "Only one template is drawn: there is nothing to compare it with."
    return "Nobody is held out (holdout.percent is 0): what asking causes is not measured."


def _broken(c: Comparison) -> str:
    arm = c.arms[0] if c.kind == "template" else c.arms[1]
    share = c.share if c.kind == "template" else 1 - c.share
    of = sum(each.units for each in c.arms)
    setting = "the experiment's" if c.kind == "template" else "the holdout's"
    return (
        f"The split is broken: {arm.units:,} of {of:,} accounts are {_in(c, arm)} where {100 * share:.3g} % should be. "
        f"Nothing is said until that is explained; if the shares were changed, set {setting} active_since."
    )


def _in(c: Comparison, arm: ArmCounts) -> str:
    return f"with {arm.name}" if c.kind == "template" else arm.name


def _so_far(c: Comparison) -> str:
    """How much there is, and how long the rest will take."""
    so_far = f"{c.successes} of about {NEEDED} {_SUCCESSES[c.kind]}"
    horizon = _HORIZONS[c.kind] * DAY
    if c.since is None:
        return so_far
    if sum(arm.units for arm in c.arms) == 0:
        return f"{so_far}; the first ask counts from {rfc3339(c.since + horizon)[:10]} on"
    if c.successes == 0:
        return f"{so_far}; too early to tell a pace"
    passed = max(c.as_of - horizon - c.since, 7 * DAY)
    weeks = -(-(NEEDED - c.successes) * passed // (c.successes * 7 * DAY))
    return f"{so_far}; some {weeks:,} {'week' if weeks == 1 else 'weeks'} at this pace"


def _effect(c: Comparison) -> str:
    found = c.evidence
    if found is None:
        raise AssertionError("an effect has evidence")
    more = found.low > 1
    about = f" for {c.name}" if c.name and c.kind != "template" else ""
    start = {
        ("uplift", True): f"Asking works{about}: accounts that are asked give",
        ("uplift", False): f"Asking costs referrals{about}: accounts that are asked give",
        ("harm", True): f"Asking does harm{about}: accounts that are asked have",
        ("harm", False): f"Asking does no harm{about}: accounts that are asked have",
        ("template", True): f"{c.arms[0].name} works better than the other templates: it brings",
        ("template", False): f"{c.arms[0].name} works worse than the other templates: it brings",
    }[c.kind, more]
    than = "they do" if c.kind == "template" else "those held out"
    odds = "more than 1,000,000" if found.log > 13.8155 else f"{found.value:,.0f}"  # noqa: PLR2004 (ln 1,000,000)
    return f"{start} {_times(found)} as many {_SUCCESSES[c.kind]} as {than} (evidence of {odds} to 1)."


def _none_yet(c: Comparison) -> str:
    found = c.evidence
    if found is None:
        raise AssertionError("what was compared has evidence")
    what = {"uplift": "effect of asking", "harm": "harm by asking", "template": "difference"}[c.kind]
    about = f" for {c.name}" if c.name and c.kind != "template" else ""
    needed = "" if c.odds == EFFECT else f" ({found.value:,.0f} to 1, of the {c.odds:,} to 1 that it takes)"
    arm, verb, than = {
        "uplift": ("accounts that are asked", "give", "those held out"),
        "harm": ("accounts that are asked", "have", "those held out"),
        "template": (c.arms[0].name, "bring", "the others"),
    }[c.kind]
    so_far = f"No {what} has been shown yet{about}{needed}"
    return f"{so_far}: {arm} may {verb} {_span(found)} as many {_SUCCESSES[c.kind]} as {than}."


def _times(found: RatioEvidence) -> str:
    if found.ratio is None:
        return f"at least {_number(found.low)} times" if found.low > 1 else f"at most {_number(found.high)} times"
    return f"{_number(found.ratio)} times ({_span(found)})"


def _span(found: RatioEvidence) -> str:
    if found.high >= LARGEST_RATIO:
        return f"at least {_number(found.low)} times"
    if found.low <= SMALLEST_RATIO:
        return f"at most {_number(found.high)} times"
    return f"between {_number(found.low)} and {_number(found.high)} times"


def _number(ratio: float) -> str:
    if ratio >= 10:  # noqa: PLR2004 (two digits that count)
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"
