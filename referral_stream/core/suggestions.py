"""Did you mean …? For every place where a person types a name that has to be one of a known set."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The nearest known name as a question; all of them if none is near."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
