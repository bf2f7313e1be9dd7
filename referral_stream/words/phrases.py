"""The phrases of one language, read from its file beside this module (``en.toml`` says how they are written).

Which language is spoken is said once, around all that speaks (:func:`speaking`), and holds for this thread or task.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any, Final

FIRST: Final = "en"
"""The language in which phrases are written first; it is spoken where nothing else is asked for."""

_spoken: ContextVar[str] = ContextVar("language", default=FIRST)
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)")
_OF_CLOSED_SETS = frozenset({"kind", "word"})


class Phrases(Formatter):
    """Phrases by table and name; a name that the table lacks is shown as it is."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = tables
        self._causes = _patterns(tables["causes"])
        self._limits = _patterns(tables.get("limits", {}))
        self._waits = _patterns(tables.get("waits", {}))
        numbers = tables.get("numbers", {})
        self._separators = str.maketrans({",": numbers.get("thousands", ","), ".": numbers.get("decimal", ".")})

    def word(self, table: str, name: str) -> str:
        """The phrase without fields of that name, such as the one for an outcome."""
        found: str = self.tables[table].get(name, name)
        return found

    def say(self, table: str, name: str, /, **fields: Any) -> str:
        """The phrase with these fields filled in."""
        phrase = self.tables[table].get(name)
        if isinstance(phrase, Mapping):
            value = fields.get(phrase["by"])
            phrase = phrase.get("none" if value is None else str(value).lower(), phrase.get("other"))
        if phrase is None:
            return name
        kept = _OPTIONAL.sub(lambda part: part[1] if _all_known(part[1], fields) else "", phrase)
        return self.vformat(kept, (), fields)

    def value(self, value: object) -> str:
        """A value of a closed set as people read it; one without a phrase in words instead of snake_case."""
        text = str(value)
        found: str = self.tables.get("values", {}).get(text, text.replace("_", " "))
        return found

    def number(self, text: str) -> str:
        """A number that Python has written (``1,234.5``), as this language writes it."""
        return text.translate(self._separators)

    def cause(self, saw: str) -> str:
        """What a gate saw, as people read it; a cause without a phrase is shown as it is."""
        return self._matched(self._causes, saw)

    def limit(self, limit: str) -> str:
        """What a gate needs, as people read it; one without a phrase is shown as it is."""
        return self._matched(self._limits, limit)

    def _matched(self, patterns: list[tuple[re.Pattern[str], str]], text: str) -> str:
        for pattern, says in patterns:
            if found := pattern.fullmatch(text):
                fields = {name: self._field(name, value) for name, value in found.groupdict().items()}
                return str(says.format(**fields))
        return text

    def _field(self, name: str, value: str) -> str:
        """Part of a cause: words of a closed set are translated, ids and instants are not."""
        if name == "scopes":  # "all, trigger nps_promoter"
            scopes = (scope.partition(" ") for scope in value.split(", "))
            return ", ".join(f"{self.value(scope)}{space}{which}" for scope, space, which in scopes)
        return self.value(value) if name in _OF_CLOSED_SETS else value

    def waits_for(self, saw: str) -> str | None:
        """The type of the event that ends what a gate saw; None if time does, or nothing."""
        return next((event for pattern, event in self._waits if pattern.fullmatch(saw)), None)

    def knows_cause(self, saw: str) -> bool:
        return any(pattern.fullmatch(saw) for pattern, _ in self._causes)

    def knows_limit(self, limit: str) -> bool:
        return any(pattern.fullmatch(limit) for pattern, _ in self._limits)

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Numbers with this language's separators."""
        text = super().format_field(value, format_spec)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.number(text) if is_number else text

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """Adds two conversions to Python's: ``!w`` the phrase for a value, ``!c`` the phrase for a channel."""
        match conversion:
            case "w":
                return self.value(value)
            case "c":
                return self.word("channels", value)
            case _:
                return super().convert_field(value, conversion)


def phrases(language: str | None = None) -> Phrases:
    """The phrases of a language; of the one that is spoken, by default. Raises FileNotFoundError if there are none."""
    return _read(_spoken.get() if language is None else language)


@contextmanager
def speaking(language: str) -> Iterator[Phrases]:
    """All that is said meanwhile, in this thread or task, is said in this language. Raises FileNotFoundError."""
    found = _read(language)
    before = _spoken.set(language)
    try:
        yield found
    finally:
        _spoken.reset(before)


@cache
def languages() -> tuple[str, ...]:
    """All languages that there are phrases in, the first one first."""
    files = (file.name for file in resources.files(__package__).iterdir())
    found = (name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return tuple(sorted(found, key=lambda name: (name != FIRST, name)))


@cache
def _read(language: str) -> Phrases:
    tables = tomllib.loads((resources.files(__package__) / f"{language}.toml").read_text(encoding="utf-8"))
    if language != FIRST:
        tables["waits"] = _read(FIRST).tables["waits"]  # it is not about words
    return Phrases(tables)


def _all_known(part: str, fields: Mapping[str, Any]) -> bool:
    return all(fields.get(name) for name in _FIELD.findall(part))


def _patterns(table: Mapping[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(_pattern(saw), re.DOTALL), says) for saw, says in sorted(table.items(), key=_literal)]


def _pattern(saw: str) -> str:
    """``ticket {id} is open`` as a regular expression with the group ``id``."""
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(saw))


def _literal(cause: tuple[str, str]) -> tuple[int, str]:
    """The most specific pattern first: the one with the most letters outside its fields."""
    return -len(re.sub(r"\{\w+\}", "", cause[0])), cause[0]
