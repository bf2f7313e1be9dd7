"""A search: numbers of a policy to try, and of the policies that they make the front, asks against regrets.

On the front is every policy that no other beats: none has more asks with as few regrets, or fewer regrets with as many
asks. Chosen is the one of them with the most asks among those with no more regrets than policy A has.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from referral_stream.contracts.toml_file import TomlProblem, parse_toml, read_toml
from referral_stream.core.policy import Policy
from referral_stream.core.suggestions import did_you_mean
from referral_stream.policy_file.reading import expected

_MOST_NUMBERS: Final = 1_000_000
"""To choose from, for one of the policy's numbers."""
MOST_POINTS: Final = 1_000
NEIGHBOURS: Final = 3


class SearchProblem(TomlProblem):
    """A search that cannot be made."""


class TriedPolicy(NamedTuple):
    """A policy to try: what is set, by name, and the policy."""

    numbers: tuple[tuple[str, int | float], ...]
    policy: Policy


class Search(NamedTuple):
    """``left_out``: combinations that contradict themselves, each with why."""

    tried: list[TriedPolicy]
    left_out: list[str]


class SearchPoint(NamedTuple):
    """A policy that was tried, and what became of it. ``numbers``: none for policy A itself."""

    numbers: tuple[tuple[str, int | float], ...]
    asks: int
    regrets: int
    gained: int = 0
    lost: int = 0
    moved: int = 0

    @property
    def words(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.numbers) or "policy A"


@dataclass(frozen=True, slots=True)
class Front:
    """``a``: policy A itself, a candidate too. ``points``: all, as they were tried; ``best``: the front, by asks."""

    a: SearchPoint
    points: list[SearchPoint]
    best: list[SearchPoint]
    chosen: SearchPoint
    neighbours: list[SearchPoint]


def parse_search(content: bytes, base: Policy, file: str = "search.toml") -> Search:
    """The policies that a search file makes of ``base``. Raises SearchProblem."""
    given = parse_toml(content, file, SearchProblem)
    numbers, options = given.pop("numbers", None), given.pop("search", {})
    if given or not isinstance(numbers, dict) or not numbers or not isinstance(options, dict):
        raise SearchProblem(file, ["a search has a table [numbers], and may have a table [search]"])
    faults: list[str] = []
    values = base.model_dump()
    known = dict(_numbers(values))
    axes: dict[str, Sequence[int | float]] = {}
    for name, choices in numbers.items():
        if name not in known:
            faults.append(f"{name}: no number of the policy; {did_you_mean(name, known)}")
        elif (found := _choices(choices)) is None:
            faults.append(f"{name}: must be a list of numbers, or {{ from, to, step }}")
        elif _length(found) > _MOST_NUMBERS:
            faults.append(f"{name}: more than {_MOST_NUMBERS:,} numbers; a larger step makes them fewer")
        else:
            axes[name] = found
    draws, seed = options.pop("draws", None), options.pop("seed", 1)
    faults += [f"search.{name}: unknown key; there are draws and seed" for name in options]
    if not (draws is None or _is_count(draws)) or type(seed) is not int:
        faults.append("search: draws must be a whole number from 1, seed a whole number")
    if faults:
        raise SearchProblem(file, faults)
    whole = prod(map(len, axes.values()))
    if whole > sys.maxsize:
        raise SearchProblem(file, ["more policies than can be counted: name fewer numbers"])
    if min(whole, draws or whole) > MOST_POINTS:
        many = f"{min(whole, draws or whole):,} policies, more than {MOST_POINTS:,}"
        raise SearchProblem(file, [f"{many}: name fewer numbers, or fewer draws in [search]"])
    return _made(values, list(axes), _combinations(axes, whole, draws, seed))


def _made(values: Mapping[str, Any], names: list[str], combinations: Sequence[tuple[int | float, ...]]) -> Search:
    found = Search([], [])
    for combination in combinations:
        changed: Any = dict(values)
        numbers = tuple(zip(names, combination, strict=True))
        for name, value in numbers:
            changed = _with(changed, name.split("."), value)
        try:
            found.tried.append(TriedPolicy(numbers, Policy.model_validate(changed)))
        except ValidationError as error:
            told = "; ".join(map(_told, error.errors(include_url=False)))
            found.left_out.append(f"{SearchPoint(numbers, 0, 0).words}: {told}")
    return found


def _told(detail: ErrorDetails) -> str:
    """What is wrong with a policy: a contradiction in its own words, a number by what it may be."""
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, detail['loc']))} must be {expected(detail['loc'])}"


def front(a: SearchPoint, points: list[SearchPoint]) -> Front:
    """The best of the points, and which of them is chosen."""
    best: list[SearchPoint] = []
    for point in sorted([a, *points], key=lambda each: (-each.asks, each.regrets, each.numbers)):
        if not best or point.regrets < best[-1].regrets:
            best.append(point)
    best.reverse()
    chosen = [point for point in best if point.regrets <= a.regrets][-1]
    others = [point for point in best if point is not chosen]
    near = sorted(others, key=lambda each: (abs(each.asks - chosen.asks), each.asks))[:NEIGHBOURS]
    return Front(a, points, best, chosen, sorted(near, key=lambda each: each.asks))


def _numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int | float]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif type(value) in (int, float):
            yield f"{prefix}{name}", value


def _choices(given: Any) -> Sequence[int | float] | None:
    if isinstance(given, list) and given and all(type(each) in (int, float) for each in given):
        return sorted(set(given))
    if isinstance(given, dict) and given.keys() == {"from", "to", "step"}:
        first, last, step = (given[name] for name in ("from", "to", "step"))
        if all(type(each) is int for each in (first, last, step)) and step > 0 and first <= last:
            return range(first, last + 1, step)
    return None


def _length(choices: Sequence[int | float]) -> int:
    """How many; ``len`` counts no range of any length."""
    return (choices[-1] - choices[0]) // choices.step + 1 if isinstance(choices, range) else len(choices)


def _combinations(
    axes: Mapping[str, Sequence[int | float]], whole: int, draws: int | None, seed: int
) -> list[tuple[int | float, ...]]:
    """All, or so many of them at random: each once, and the same for the same seed."""
    if draws is None or draws >= whole:
        return list(itertools.product(*axes.values()))
    picked = random.Random(seed).sample(range(whole), draws)  # noqa: S311 (a search is no secret)
    found = []
    for number in sorted(picked):
        rest, combination = number, []
        for axis in reversed(list(axes.values())):
            rest, place = divmod(rest, len(axis))
            combination.append(axis[place])
        found.append(tuple(reversed(combination)))
    return found


def _with(tree: Mapping[str, Any], path: list[str], value: float) -> dict[str, Any]:
    first, *rest = path
    return {**tree, first: _with(tree[first], rest, value) if rest else value}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def parse_search_file(file: Path, base: Policy) -> Search:
    """The same from a file. Raises SearchProblem and OSError."""
    return parse_search(read_toml(file), base, str(file))
