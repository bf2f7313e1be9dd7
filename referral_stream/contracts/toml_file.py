"""Settings files in TOML: parsed, or refused with all errors at once, a line each."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


class TomlProblem(Exception):
    """A file that cannot be used: one line per error, each naming the file (and its line, if known), key and fix."""

    def __init__(self, file: str, faults: Sequence[str], lines: Sequence[int | None] = ()) -> None:
        known = [*lines, *[None] * (len(faults) - len(lines))]
        places = (file if line is None else f"{file}:{line}" for line in known)
        super().__init__("\n".join(f"{place}: {fault}" for place, fault in zip(places, faults, strict=True)))
        self.faults = list(faults)


def parse_toml(content: bytes, file: str, problem: type[TomlProblem] = TomlProblem) -> dict[str, Any]:
    """The tables of a TOML file; ``file`` is its name, for messages. Raises ``problem``."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise problem(file, [f"not TOML: {error}"]) from None
    except ValueError:  # of int, which reads no number of thousands of digits
        raise problem(file, ["not TOML: a number of more digits than anybody counts"]) from None
