"""Reading back what a replay or the demo wrote: the decisions of an output folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from referral_stream.contracts.errors import UnreadableLog
from referral_stream.contracts.json_reading import NotJson, parse_json
from referral_stream.replay.log_lines import log_lines

DECISIONS = "decisions.jsonl"
DECISION_MADE = "referral.decision.made"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilters:
    """Which decisions are meant; None: any."""

    customer: str | None = None
    trigger: str | None = None
    outcome: str | None = None

    def mean(self, decision: Mapping[str, Any]) -> bool:
        """Whether it is one of them; ``decision`` is the data of a message of ``referral-decisions``."""
        return (
            self.customer in (None, decision["customer_id"])
            and self.trigger in (None, decision["trigger"])
            and self.outcome in (None, decision["outcome"])
        )


def is_recorded_log(file: Path) -> bool:
    """Whether the first line is a Kafka record, and no decision. Raises OSError, and UnreadableLog for a bad line."""
    with log_lines(file) as lines:
        return any("topic" in _parsed(line, file, number) for number, line in _first(lines))


def written_decisions(source: Path, filters: DecisionFilters) -> Iterator[Mapping[str, Any]]:
    """The decisions, as CloudEvents, of an output folder or of its file. Raises OSError, UnreadableLog."""
    file = source / DECISIONS if source.is_dir() else source
    with log_lines(file) as lines:
        for number, line in lines:
            event = _parsed(line, file, number)
            if event.get("type") != DECISION_MADE:
                raise UnreadableLog(str(file), number, "not a decision")
            if filters.mean(event["data"]):
                yield event


def _first(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    first = next(lines, None)
    return iter(() if first is None else (first,))


def _parsed(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        parsed = parse_json(line)
    except NotJson as error:
        raise UnreadableLog(str(file), number, f"not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise UnreadableLog(str(file), number, "not a JSON object")
    return parsed
