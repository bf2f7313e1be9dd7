"""Ids as producers write them → one spelling, or none: who is meant must never depend on how an id was typed."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, Final

MAX_BYTES: Final = 256
"""Of an id, in UTF-8."""
_MOST_CHARACTERS: Final = 4 * MAX_BYTES
"""More have more bytes, however they are composed. Their marks are not sorted: that takes time in their square."""

PLACEHOLDERS: Final = frozenset({
    "undefined", "null", "none", "nil", "nan", "[object object]", "unknown", "anonymous", "guest", "0", "-1",
    "no response",
    "00000000-0000-0000-0000-000000000000",
})  # fmt: skip
"""What programs write where they have no id, in lower case. The policy may add to them."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control and bidi characters: two ids that look alike would not be."""
_EXACT: Final = 2**53
"""Below this a float holds every whole number."""


def usable_id(value: Any) -> str | None:
    """The id in its one spelling: NFC, stripped, numbers as digits. None for what no id can be."""
    if type(value) is str:
        if value.isascii():  # nearly all of them
            value = value.strip()
            return value if 0 < len(value) <= MAX_BYTES and value.isprintable() else None
        text = value
    elif type(value) is int:
        text = str(value) if abs(value) < 10**MAX_BYTES else ""
    elif type(value) is float and value.is_integer() and abs(value) < _EXACT:
        text = str(int(value))
    else:
        return None
    if text.isascii():
        text = text.strip()
        if text.isprintable() and 0 < len(text) <= MAX_BYTES:
            return text
        return None
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    text = unicodedata.normalize("NFC", text).strip()
    if not text or _CONTROLS.search(text) or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return None
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= c <= "\udfff" for c in text) else text


def real_id(value: Any, more: frozenset[str] = frozenset()) -> str | None:
    """The id of somebody or something: usable, and no placeholder."""
    text = usable_id(value)
    return None if text is None or is_placeholder(text, more) else text


def is_placeholder(text: str, more: frozenset[str] = frozenset()) -> bool:
    """Whether a usable id stands for none; ``more`` in lower case."""
    word = text.lower()
    if word in PLACEHOLDERS or word in more:
        return True
    return ("{" in word and ("{{" in word or "${" in word)) or (word[:3] == "xxx" and not word.strip("x"))


def named(value: Any, more: frozenset[str] = frozenset()) -> str | None:
    """As :func:`real_id`, of customers and accounts, who come again and again."""
    if type(value) is str and len(value) <= 4 * MAX_BYTES:
        return _named(value, more)
    return real_id(value, more)


@lru_cache(maxsize=16_384)
def _named(text: str, more: frozenset[str]) -> str | None:
    return real_id(text, more)
