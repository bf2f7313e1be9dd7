"""The cells of a table, read: dates in the ways people export them, yes and no, zones.

What can be read in two ways is not read: ``Ambiguous`` says that a person has to name the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from referral_stream.contracts.inbound.attributes import BEFORE
from referral_stream.core import zones
from referral_stream.core.instants import DAY, LATEST, from_datetime, parse_instant


class Ambiguous(ValueError):
    """The day and the month of a date could be each other's."""


class ReadInstant(NamedTuple):
    """When, epoch ms: a date without a time is all of its day, from its first millisecond to its last."""

    first: int
    last: int


FORMATS: Final = ("day-first", "month-first", "iso", "epoch", "epoch-ms", "excel")
"""Of dates, by name; any other has the codes of ``strptime``, such as ``%d.%m.%y``."""

_YES: Final = frozenset("yes y true t 1 on ja oui si sí sim wahr vrai subscribed ✓ ✔ ☑".split())
_NO: Final = frozenset("no n false f 0 off nein non não falsch faux ☐".split())
_TICKS: Final = frozenset("x ✗ ✘ ✖ j nee waar onwaar vero verdadero verdadeiro falso tak nie".split())
_NOTHING: Final = frozenset({"", "null", "none", "nil", "nan", "n/a", "na", "-", "–", "\\n", "undefined"})

_LONGEST = 64
_EXCEL = date(1899, 12, 30)
_PARTS = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})"
    r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?: ?([AaPp])\.?[Mm]\.?)?)?"
).fullmatch
_ISO_DAY = re.compile(r"(\d{4})([-/.]?)(\d{2})\2(\d{2})").fullmatch
_DIGITS = re.compile(r"(\d{9,19})(?:\.\d+)?").fullmatch
_DATE_LIKE = re.compile(
    r"(?:20\d\d([-/.]?)[01]\d\1[0-3]\d|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2})"
    r"|\d{1,2}\.? [a-z]{3,9}\.?,? 20\d\d|[a-z]{3,9}\.? \d{1,2},? 20\d\d|1[0-7]\d{11})(?:[t ,].*)?"
).fullmatch
"""Of a lower-case cell; thirteen digits are milliseconds, where ten may be somebody's telephone."""
_NAMED_MONTHS: Final = ("%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%d-%b-%Y")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?").fullmatch


ID_FORMS: Final = ("address", "shared")
"""Of customers' ids, in the place of a format: addresses, which leave in clear; or one id for several people."""

_NO_IDS: Final = frozenset(
    "? ?? ??? - -- . unbekannt unbek inconnu inconnue desconocido desconocida desconhecido sconosciuto onbekend leer "
    "blank empty vide vacio vacío vuoto vazio leeg n.v. k.a. n.a. n.d. s.o. tbd tba keine kein ohne aucun "
    "ninguno nessuno nenhum geen missing fehlt error fehler".split()
)
_ADDRESS = re.compile(r"\s*[^\s@,;]+@[^\s@,;]+\.[^\s@,;]+\s*").fullmatch
_ERROR = re.compile(r"#[\w/ ]{1,20}[!?]?|#+").fullmatch


def no_id(cell: str) -> bool:
    """Whether a cell stands where there is no id: an error of a spreadsheet, such as #N/A or #BEZUG!, or a word for it.

    In brackets, or with spaces in it, it is the same word.
    """
    word = cell.strip().lower() if len(cell) < _LONGEST else ""
    return word.strip("()[]<>{}").replace(" ", "") in _NO_IDS or _is_error(word)


def _is_error(word: str) -> bool:
    """Not every id with a # is one: #1234 is a number."""
    return _ERROR(word) is not None and not any(each.isdigit() for each in word.removesuffix("/0!"))


def is_address(cell: str) -> bool:
    """Whether a cell is an e-mail address, by its look."""
    return "@" in cell and _ADDRESS(cell) is not None


def is_blank(cell: str) -> bool:
    """Whether a cell says nothing."""
    return cell == "" or (len(cell) < 10 and cell.strip().lower() in _NOTHING)  # noqa: PLR2004 (none of them is longer)


def truth(cell: str) -> bool | None:
    """Yes or no; None for what is neither clearly: an x may tick a box, or cross it out."""
    word = cell.strip().lower() if len(cell) < _LONGEST else ""
    return True if word in _YES or word == "1.0" else False if word in _NO or word == "0.0" else None


def is_tick(cell: str) -> bool:
    """Whether a cell is a yes, a no, a box that is ticked, or looks like a date: what an opt-out may consist of."""
    word = cell.strip().lower() if len(cell) < _LONGEST else ""
    return word in _TICKS or truth(cell) is not None or is_day(cell)


def is_day(cell: str) -> bool:
    """Whether a cell looks like a date, or a time."""
    return len(cell) < _LONGEST and _DATE_LIKE(cell.strip().lower()) is not None


@lru_cache(maxsize=65_536)
def moment(cell: str, form: str | None = None, zone: str | None = None) -> ReadInstant:
    """The instant, or day, of a cell; ``zone`` is that of a time without one, else UTC.

    Raises Ambiguous, or ValueError for what is no date from 2000 on.
    """
    text = " ".join(cell.split())
    if not text or len(text) > _LONGEST:
        raise ValueError("no date")
    try:
        found = _named(text, form, zone) if form is not None else _guessed(text, zone)
    except OverflowError:
        raise ValueError("no date") from None
    if not BEFORE <= found.first <= LATEST:
        raise ValueError("before 2000")
    return found


def _named(text: str, form: str, zone: str | None) -> ReadInstant:
    match form:
        case "day-first" | "month-first":
            return _by_parts(text, zone, day_first=form == "day-first")
        case "iso":
            return _iso(text, zone)
        case "epoch":
            return _exact(int(float(text) * 1_000))
        case "epoch-ms":
            return _exact(int(float(text)))
        case "excel":
            days = float(text)
            start = datetime(_EXCEL.year, _EXCEL.month, _EXCEL.day) + timedelta(days=days)  # noqa: DTZ001 (made aware)
            return _day(start.date(), zone) if days.is_integer() else _aware(start, zone)
        case _:
            found = datetime.strptime(text, form)  # noqa: DTZ007 (made aware below)
            has_time = any(code in form for code in ("%H", "%I", "%X", "%c", "%T"))
            return _aware(found, zone) if has_time else _day(found.date(), zone)


def _guessed(text: str, zone: str | None) -> ReadInstant:
    if (found := _PARTS(text)) is not None:
        first, second, year = int(found[1]), int(found[3]), found[4]
        if len(year) == 2 or (max(first, second) <= 12 and first != second):  # noqa: PLR2004 (digits; months)
            raise Ambiguous
        return _by_parts(text, zone, day_first=first > 12)  # noqa: PLR2004 (months)
    if (digits := _DIGITS(text)) is not None:
        unit: Callable[[float], float] | None = {
            9: lambda n: n * 1_000, 10: lambda n: n * 1_000, 12: lambda n: n, 13: lambda n: n, 16: lambda n: n / 1_000,
            19: lambda n: n / 1_000_000,
        }.get(len(digits[1]))  # fmt: skip
        if unit is None:
            raise ValueError("no date")
        return _exact(int(unit(float(text))))
    if text[0].isdigit() and (found := _ISO_DAY(text)) is not None:
        return _day(date(int(found[1]), int(found[3]), int(found[4])), zone)
    if text[0].isdigit() and text[:4].isdigit():
        return _iso(text, zone)
    plain = text.replace(",", "").replace(".", "")
    for form in _NAMED_MONTHS:
        try:
            return _day(datetime.strptime(plain, form).date(), zone)  # noqa: DTZ007 (a day alone)
        except ValueError:
            continue
    raise ValueError("no date")


def _by_parts(text: str, zone: str | None, *, day_first: bool) -> ReadInstant:
    found = _PARTS(text)
    if found is None:
        return _iso(text, zone)
    day, month = (int(found[1]), int(found[3])) if day_first else (int(found[3]), int(found[1]))
    year = int(found[4]) + (2_000 if len(found[4]) == 2 else 0)  # noqa: PLR2004 (digits)
    if found[5] is None:
        return _day(date(year, month, day), zone)
    hour = int(found[5])
    if found[8] is not None:
        hour = hour % 12 + (12 if found[8] in "Pp" else 0)
    return _aware(datetime(year, month, day, hour, int(found[6]), int(found[7] or 0)), zone)  # noqa: DTZ001 (as above)


def _iso(text: str, zone: str | None) -> ReadInstant:
    if (found := _ISO_DAY(text)) is not None:
        return _day(date(int(found[1]), int(found[3]), int(found[4])), zone)
    text = text.replace("/", "-")
    for name in (" UTC", " GMT", " Z"):
        if text.upper().endswith(name):
            text = text[: -len(name)] + "Z"
    if text[-6:-5] == " " and text[-5] in "+-":  # 2024-03-04 10:00:00 +0200
        text = text[:-6] + text[-5:]
    instant, naive = parse_instant(text)
    if naive and zone is not None:
        return _aware(datetime.fromisoformat(text), zone)
    return _exact(instant)


def _exact(instant: int) -> ReadInstant:
    return ReadInstant(instant, instant)


def _aware(naive: datetime, zone: str | None) -> ReadInstant:
    return _exact(from_datetime(naive.replace(tzinfo=UTC if zone is None else zones.zone(zone))))


def _day(day: date, zone: str | None) -> ReadInstant:
    first = _aware(datetime(day.year, day.month, day.day), zone).first  # noqa: DTZ001 (made aware)
    return ReadInstant(first, first + DAY - 1)


def time_zone(cell: str) -> str | None:
    """The name in the database of time zones; whole hours off UTC as a zone that keeps them. None for what is none."""
    name = cell.strip()
    if zones.is_zone(name):
        return name
    if (spaced := name.replace(" ", "_")) != name and zones.is_zone(spaced):
        return spaced
    if (known := _zones_by_lower_case().get(name.lower())) is not None:
        return known
    if (found := _OFFSET(name.upper())) is None or int(found[3] or 0):
        return None
    hours = int(found[2])
    fixed = "Etc/UTC" if not hours else f"Etc/GMT{'-' if found[1] == '+' else '+'}{hours}"  # the signs are POSIX's
    return fixed if zones.is_zone(fixed) else None


@lru_cache(maxsize=1)
def _zones_by_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in sorted(zones.names()) if "/" in name}
