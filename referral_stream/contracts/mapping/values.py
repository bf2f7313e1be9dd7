"""What a mapping takes out of a payload, and what becomes of it: casts, tables, times, conditions.

Everything is total: a value that is not what a rule wants is ``UNREADABLE``, and its ``ValueRead`` says why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from referral_stream.contracts.adapters.reading import (
    UNREADABLE_TIME,
    Reading,
    time_at,
    whole_number,
)
from referral_stream.contracts.identifiers import real_id, usable_id
from referral_stream.contracts.mapping.paths import Path, PathMark, text_of, value_at
from referral_stream.core import zones
from referral_stream.core.instants import from_datetime, parse_instant

Scalar: TypeAlias = str | int | float | bool
Cast: TypeAlias = Literal["int", "float", "bool", "str", "email_hmac"]
CASTS: tuple[Cast, ...] = get_args(Cast)
NumberBound: TypeAlias = Literal["at_least", "above", "at_most", "below"]
BOUNDS: tuple[NumberBound, ...] = get_args(NumberBound)

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})

UNREADABLE: Final = ()
"""What stands for a value that is present, but not of the type that a rule wants: no field takes it."""
OTHERWISE: Final = "*"
"""In a table: every value that it does not list."""


class ValueRead(msgspec.Struct, frozen=True):
    """A value as a rule read it: what it became, where it stood, what stood there, and why it is unreadable."""

    made: Any
    path: Path | None = None
    found: Any = None
    problem: str = ""


NOTHING: Final = ValueRead(None)


# --------------------------------------------------------------------------------------------------------- conditions


@dataclass(frozen=True, slots=True)
class MappingCondition:
    """Whether the value at ``path`` is one of ``values``, or lies within ``bounds``; without either: whether there is
    any (``exists``) or none.

    Numbers count as text too for ``bounds``, where nothing else than a number can be meant.
    """

    path: Path
    values: tuple[Scalar, ...] = ()
    exists: bool = True
    bounds: tuple[tuple[NumberBound, float], ...] = ()
    texts: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", frozenset(value for value in self.values if isinstance(value, str)))

    def holds(self, payload: Any, root: Any = None) -> bool:
        found = value_at(payload, self.path, root)
        if self.values:
            if type(found) is str:
                return found in self.texts
            return any(_equal(found, value) for value in self.values)
        if self.bounds:
            number = _number(found)
            return number is not None and all(_is_within(number, *bound) for bound in self.bounds)
        return (found is not None) is self.exists


def _is_within(number: float, bound: NumberBound, limit: float) -> bool:
    match bound:
        case "at_least":
            return number >= limit
        case "above":
            return number > limit
        case "at_most":
            return number <= limit
        case "below":
            return number < limit


def _equal(found: Any, wanted: Scalar) -> bool:
    """Equality of JSON values: 1 is 1.0, but neither true nor "1"."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return isinstance(found, (str, int, float)) and found == wanted


# ------------------------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Taken:
    """The value at the first of the ``paths`` that holds one, cast or looked up in a table if asked to.

    ``default`` where there is none; None: left out. ``join``: instead, the texts of these parts (paths, or texts as
    they are) with a colon between; nothing where a part is missing.
    """

    paths: tuple[Path, ...] = ()
    cast: Cast | None = None
    default: Scalar | None = None
    table: Mapping[str, Scalar] | None = None
    join: tuple[Path | str, ...] = ()

    def read(self, payload: Any, root: Any, reading: Reading) -> ValueRead:
        """The default does not replace a value that is present but cannot be read."""
        if self.join:
            return _joined(self.join, payload, root)
        path, found = first_at(self.paths, payload, root)
        if found is None:
            return ValueRead(self.default, path)
        if self.table is not None:
            made = _looked_up(self.table, found)
            return ValueRead(made, path, found, "is not in the table" if made is UNREADABLE else "")
        if self.cast is None:
            return ValueRead(found, path, found)
        made = cast_to(self.cast, found, reading)
        return ValueRead(made, path, found, f"cannot be read as {self.cast}" if made is UNREADABLE else "")

    def id(self, payload: Any, root: Any, reading: Reading, *, of_somebody: bool = False) -> ValueRead:
        """Likewise as an id: the first usable one. ``of_somebody``: a placeholder is none at all."""
        if self.join:
            return _joined(self.join, payload, root)
        reserve, seen = NOTHING, NOTHING
        for path in self.paths:
            found = value_at(payload, path, root)
            if found is None:
                continue
            if (made := real_id(found, reading.placeholders)) is not None:
                return ValueRead(made, path, found)
            made = usable_id(found)
            problem = "is no id" if made is None else "only holds the place of an id"
            seen = seen if seen.problem else ValueRead(None, path, found, problem)
            if made is not None and reserve.made is None and not of_somebody:
                reserve = ValueRead(made, path, found)
        return reserve if reserve.made is not None else seen

    @property
    def is_of_root(self) -> bool:
        """Whether it is the same for all elements of a list."""
        parts: tuple[Path | str, ...] = self.join or self.paths
        return all(isinstance(part, str) or part[:1] == (PathMark.ROOT,) for part in parts)


Template: TypeAlias = "Scalar | Taken | Mapping[str, Template]"
"""What a field becomes: the value itself, one taken from the payload, or an object of such fields."""


def first_at(paths: tuple[Path, ...], payload: Any, root: Any) -> tuple[Path | None, Any]:
    """The first path that holds a value, and that value; an empty text only where there is nothing else."""
    empty: tuple[Path | None, Any] = (None, None)
    for path in paths:
        found = value_at(payload, path, root)
        if found is not None:
            if found != "" or len(paths) == 1:
                return path, found
            empty = empty if empty[0] is not None else (path, found)
    return empty


def _joined(parts: tuple[Path | str, ...], payload: Any, root: Any) -> ValueRead:
    texts = [part if isinstance(part, str) else usable_id(value_at(payload, part, root)) for part in parts]
    known = [text for text in texts if text]
    return (
        ValueRead(":".join(known)) if len(known) == len(texts) else ValueRead(None, problem="a part of it is missing")
    )


def _looked_up(table: Mapping[str, Scalar], found: Any) -> Any:
    text = text_of(found)
    made = None if text is None else table.get(text)
    if made is None:
        made = table.get(OTHERWISE)
    return UNREADABLE if made is None else made


def cast_to(cast: Cast, value: Any, reading: Reading) -> Any:
    """The value as the type of that name; UNREADABLE where it is none."""
    made: Scalar | None
    match cast:
        case "int":
            made = whole_number(value)
        case "float":
            made = _number(value)
        case "bool":
            made = _truth(value)
        case "str":
            made = _text(value)
        case "email_hmac":
            made = reading.email_hmac(value)
    return UNREADABLE if made is None else made


def _number(value: Any) -> float | None:
    if type(value) not in (int, float, str) or (isinstance(value, str) and "_" in value):  # 1_0 is valid in Python only
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _truth(value: Any) -> bool | None:
    word = str(value).strip().lower() if type(value) in (bool, int, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else None


# -------------------------------------------------------------------------------------------------------------- times

UNITS: Final[Mapping[str, float]] = {
    "seconds": 1_000,
    "milliseconds": 1,
    "microseconds": 0.001,
    "nanoseconds": 0.000001,
}
"""Counts since 1970 whose unit is said, → milliseconds."""
NAMED_FORMATS: Final = ("rfc3339", "rfc2822", *UNITS)


@dataclass(frozen=True, slots=True)
class Time:
    """When it was: at the first of the ``paths`` that holds anything, in one of the ``formats``.

    Without formats: RFC 3339, ISO 8601 (also with a space before the zone), RFC 2822, or a count since 1970 in the
    unit that its size implies. ``zone``: of what names none, which else counts as UTC and is flagged ``time_naive``.
    """

    paths: tuple[Path, ...]
    formats: tuple[str, ...] = ()
    zone: str | None = None

    def read(self, payload: Any, root: Any) -> ValueRead:
        """``made`` is epoch ms, or a text without a zone; ``UNREADABLE_TIME`` where what is stated is no time."""
        return self.read_value(*first_at(self.paths, payload, root))

    def read_value(self, path: Path | None, found: Any) -> ValueRead:
        """Likewise of what stands at a path."""
        if found is None or (isinstance(found, str) and not found.strip()):
            return ValueRead(None, path)
        for form in self.formats:
            try:
                return ValueRead(self._placed(_in_format(found, form)), path, found)
            except (ValueError, OverflowError, TypeError, IndexError):
                continue
        if self.formats:
            return ValueRead(UNREADABLE_TIME, path, found, f"is not in the format {' or '.join(self.formats)}")
        stated = time_at({"it": found}, "it")
        if not isinstance(stated, str):
            return ValueRead(stated, path, found)
        with suppress(ValueError, OverflowError, TypeError, IndexError):
            return ValueRead(self._placed(_guessed(stated.strip())), path, found)
        return ValueRead(UNREADABLE_TIME, path, found, "is no time that can be read without a format")

    def _placed(self, moment: datetime | int) -> int | str:
        if isinstance(moment, int):
            return moment
        if moment.tzinfo is not None:
            return from_datetime(moment)
        return moment.isoformat() if self.zone is None else from_datetime(moment.replace(tzinfo=zones.zone(self.zone)))


def _in_format(found: Any, form: str) -> datetime | int:
    """Raises ValueError, OverflowError, TypeError or IndexError where it is not in that format."""
    if form in UNITS:
        count = _number(found)
        if count is None:
            raise ValueError(form)
        whole = whole_number(found)
        return int((count if whole is None else whole) * UNITS[form])
    if not isinstance(found, str):
        raise TypeError(form)
    text = found.strip()
    if form == "rfc3339":
        return datetime.fromisoformat(text.upper())
    if form == "rfc2822":
        return parsedate_to_datetime(text)
    if len(text) == _LIKE_ISO.get(form):
        return datetime.fromisoformat(text)
    return datetime.strptime(text, form)  # noqa: DTZ007 (its zone is known elsewhere)


_LIKE_ISO: Final = {
    "%Y-%m-%d": 10, "%Y-%m-%d %H:%M": 16, "%Y-%m-%d %H:%M:%S": 19, "%Y-%m-%dT%H:%M:%S": 19,
}  # fmt: skip
"""Patterns that Python reads ten times as fast in another way, → characters of a text of theirs."""


def _guessed(text: str) -> datetime | int:
    for written in (text, _ZONE.sub(_close_up, text)):
        with suppress(ValueError):
            instant, is_naive = parse_instant(written)
            return datetime.fromisoformat(written.upper()) if is_naive else instant
    return parsedate_to_datetime(text)


_ZONE = re.compile(r" (?:(?P<offset>[+-][0-9]{2}):?(?P<minutes>[0-9]{2})|UTC|GMT|Z)$")


def _close_up(found: re.Match[str]) -> str:
    return f"{found['offset']}:{found['minutes']}" if found["offset"] else "+00:00"


def format_problem(form: str) -> str | None:
    """What is wrong with a format that a file gives; None if nothing is."""
    if form in NAMED_FORMATS:
        return None
    if "%" not in form:
        return f"unknown; write one of {', '.join(NAMED_FORMATS)}, or a pattern such as %d.%m.%Y %H:%M"
    try:
        again = datetime.strptime(_SAMPLE.strftime(form), form)  # noqa: DTZ007 (only its date is looked at)
    except (ValueError, TypeError, re.error) as error:
        return f"not a pattern that can be read: {error}"
    return None if again.date() == _SAMPLE.date() else "the pattern does not say day, month and year"


_SAMPLE: Final = datetime.fromisoformat("2026-11-28T13:05:09+00:00")
