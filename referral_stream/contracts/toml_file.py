"""Settings files in TOML: parsed, or refused with all errors at once, a line each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 1 << 20
"""Of a settings file: a larger one is something else."""
DEEPEST: Final = 32
"""Names of one dotted key, and brackets within brackets: the parser takes time and memory in their square."""

_TOKEN = re.compile(
    r'"""(?:(?:[^\\]|\\.)*?"{3,5})?'  # a string that does not end is its opening quotes alone
    r"|'''(?:.*?'{3,5})?"
    r'|"(?:(?:[^"\\\n]|\\.)*+")?'
    r"|'(?:[^'\n]*+')?"
    r"|#[^\n]*|[.,={}\[\]\n]",
    re.DOTALL,
)
_OPENED: Final = frozenset({'"""', "'''", '"', "'"})


class TomlProblem(Exception):
    """A file that cannot be used: one line per error, each naming the file (and its line, if known), key and fix."""

    def __init__(self, file: str, faults: Sequence[str], lines: Sequence[int | None] = ()) -> None:
        known = [*lines, *[None] * (len(faults) - len(lines))]
        places = (file if line is None else f"{file}:{line}" for line in known)
        super().__init__("\n".join(f"{place}: {fault}" for place, fault in zip(places, faults, strict=True)))
        self.faults = list(faults)


def parse_toml(content: bytes, file: str, problem: type[TomlProblem] = TomlProblem) -> dict[str, Any]:
    """The tables of a TOML file; ``file`` is its name, for messages. Raises ``problem``."""
    if len(content) > MOST_BYTES:
        raise problem(file, [f"larger than {MOST_BYTES:,} bytes: no settings file"])
    try:
        text = content.decode("utf-8-sig")
        if (line := _too_deep(text)) is not None:
            raise problem(file, [f"a key of more than {DEEPEST} parts, or as many brackets within each other"], [line])
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise problem(file, [f"not TOML: {error}"]) from None
    except ValueError:  # of int, which reads no number of thousands of digits
        raise problem(file, ["not TOML: a number of more digits than anybody counts"]) from None


def read_toml(file: Path) -> bytes:
    """What is in a file, or of a larger one as much as :func:`parse_toml` needs to refuse it. Raises OSError."""
    with file.open("rb") as content:
        return content.read(MOST_BYTES + 1)


def _too_deep(text: str) -> int | None:
    """The line, from 1 on, of a key or of brackets that go deeper than anybody writes; in one pass."""
    dots = depth = 0
    for found in _TOKEN.finditer(text):
        mark = found[0]
        if mark in _OPENED:  # nothing behind it is read
            return None
        if mark == ".":
            dots += 1
        elif mark[0] not in "\"'#":
            dots = 0
            depth = max(0, depth + (mark in "[{") - (mark in "]}"))
        if dots >= DEEPEST or depth > DEEPEST:
            return 1 + text.count("\n", 0, found.start())
    return None
