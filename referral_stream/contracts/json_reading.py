"""The one reader of JSON: text that it takes can be written again.

A parser goes deeper than a serialiser: what is nested between the two limits would be taken in, and end whatever writes
it later.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

DEEPEST: Final = 254
"""Levels of objects and arrays that can be written again."""


class NotJson(ValueError):
    """Why a text is not taken, and where, without quoting it."""

    def __init__(self, detail: str, *, too_deep: bool) -> None:
        super().__init__(detail)
        self.detail, self.too_deep = detail, too_deep

    @property
    def cause(self) -> str:
        """As a dead letter names it."""
        return "too_deep" if self.too_deep else "undecodable"


def read_json(text: bytes) -> Any:
    """JSON → Python. Raises NotJson."""
    value = parse_json(text)
    if len(text) > DEEPEST and text.count(b"[") + text.count(b"{") > DEEPEST and not _can_be_written(value):
        raise NotJson(f"nested more than {DEEPEST} deep", too_deep=True)
    return value


def parse_json(text: bytes) -> Any:
    """Likewise, as deep as the parser goes: for what holds values among others, each of which is written by itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos}", too_deep="depth" in error.msg) from None


def _can_be_written(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
