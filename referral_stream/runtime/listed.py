"""Settings that are written as text and are several values, or a number, in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def comma_separated(value: Any) -> Any:
    """``"a, b"`` → a tuple; what is no text is left to the validation."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def pairs(form: str) -> Callable[[Any], Any]:
    """``"billing=stripe,nps=delighted"`` → a dict; ``form`` says how to write what is not of that form."""

    def parsed(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = [part.partition("=") for part in comma_separated(value)]
        if not all(left and sign and right for left, sign, right in found):
            raise ValueError(f"write {form}")
        return {left.strip(): right.strip() for left, _, right in found}

    return parsed


def millis(value: Any) -> Any:
    """Digits → epoch ms."""
    return int(value) if isinstance(value, str) and value.isdigit() else value
