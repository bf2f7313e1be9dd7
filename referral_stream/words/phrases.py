"""The phrases of one language, read from its file beside this module (``en.toml`` says how they are written)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any

_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_FIELD = re.compile(r"\{(\w+)")


class Phrases(Formatter):
    """Phrases by table and name; a name that the table lacks is shown as it is."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = tables
        self._causes = _patterns(tables["causes"])
        self._waits = _patterns(tables.get("waits", {}))

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

    def cause(self, saw: str) -> str:
        """What a gate saw, as people read it; a cause without a phrase is shown as it is."""
        for pattern, says in self._causes:
            if found := pattern.fullmatch(saw):
                text: str = says.format(**found.groupdict())
                return text
        return saw

    def waits_for(self, saw: str) -> str | None:
        """The type of the event that ends what a gate saw; None if time does, or nothing."""
        return next((event for pattern, event in self._waits if pattern.fullmatch(saw)), None)

    def knows_cause(self, saw: str) -> bool:
        return any(pattern.fullmatch(saw) for pattern, _ in self._causes)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """Adds two conversions to Python's: ``!w`` words instead of snake_case, ``!c`` the phrase for a channel."""
        match conversion:
            case "w":
                return str(value).replace("_", " ")
            case "c":
                return self.word("channels", value)
            case _:
                return super().convert_field(value, conversion)


@cache
def phrases(language: str = "en") -> Phrases:
    """The phrases of a language. Raises FileNotFoundError if there are none."""
    file = resources.files(__package__) / f"{language}.toml"
    return Phrases(tomllib.loads(file.read_text(encoding="utf-8")))


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
