"""Did you mean …? For every place where a person types a name that has to be one of a known set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

_ZEROS = re.compile(r"(?<!\d)0+(?=\d)").sub

NEAR = 0.5
"""How alike two names have to be for one to be meant by the other, of 1."""
VERY_NEAR = 0.8
"""A letter or two in a word."""


def nearest(name: str, known: Collection[str], near: float = NEAR) -> str | None:
    """The known name that is most like this one; None if none is near."""
    found = nearest_few(name, known, 1, near)
    return found[0] if found else None


def nearest_few(name: str, known: Collection[str], most: int, near: float = NEAR) -> list[str]:
    """The known names that are like this one, the nearest first."""
    same = sorted((each for each in known if _bare(each) == _bare(name)), key=lambda e: e.casefold() != name.casefold())
    return same[:most] or difflib.get_close_matches(name, list(known), most, near)


def _bare(name: str) -> str:
    """A name without what people type in another way: case, and zeros in front of numbers."""
    return _ZEROS("", name.casefold())


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The nearest known name as a question; all of them if none is near."""
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"
