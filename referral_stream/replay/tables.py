"""The decisions of a replay as tables for a spreadsheet: who was asked, and who was not and why."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from referral_stream.core.instants import parse_instant, to_datetime
from referral_stream.replay.overview import ASKED
from referral_stream.words.decisions import outcome_words, why, zone_of

ASKS_COLUMNS: Final = (
    "asked_at", "local_time", "customer", "account", "trigger", "mode", "channel", "score", "decision_id",
)  # fmt: skip
NOT_ASKED_COLUMNS: Final = (
    "decided_at", "local_time", "customer", "account", "trigger", "outcome", "gates", "why", "score", "deadline",
    "decision_id",
)  # fmt: skip

_NO_NEWS: Final = frozenset({"historical", "duplicate"})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_tables(folder: Path) -> None:
    """``asks.csv`` and ``not-asked.csv`` next to ``decisions.jsonl``: a line per ask, and per opportunity without one.

    A text that a spreadsheet would take for a formula begins with an apostrophe. Raises OSError.
    """
    asked: set[str] = set()
    last: dict[str, Mapping[str, Any]] = {}
    with (
        (folder / "decisions.jsonl").open("rb") as lines,
        (folder / "asks.csv").open("w", encoding="utf-8", newline="") as asks_file,
    ):
        asks = csv.writer(asks_file)
        asks.writerow(ASKS_COLUMNS)
        for decision in (orjson.loads(line)["data"] for line in lines):
            opportunity = decision["opportunity_id"]
            if decision["outcome"] in ASKED:
                asked.add(opportunity)
                last.pop(opportunity, None)
                asks.writerow(_safe(_ask_cells(decision)))
            elif decision["outcome"] not in _NO_NEWS and opportunity not in asked:
                last[opportunity] = decision
    with (folder / "not-asked.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(NOT_ASKED_COLUMNS)
        rows.writerows(_safe(_not_asked_cells(decision)) for decision in last.values())


def _ask_cells(decision: Mapping[str, Any]) -> Iterator[str]:
    yield from _whose(decision)
    yield decision.get("mode") or ""
    yield decision.get("channel") or ""
    yield str(decision["score"]["value"])
    yield decision["decision_id"]


def _not_asked_cells(decision: Mapping[str, Any]) -> Iterator[str]:
    yield from _whose(decision)
    yield outcome_words(decision["outcome"])
    yield " ".join(reason["gate"] for reason in decision["reasons"] if reason["answer"] != "pass")
    yield why(decision)
    yield str(decision["score"]["value"])
    yield decision["window"]["deadline"]
    yield decision["decision_id"]


def _whose(decision: Mapping[str, Any]) -> Iterator[str]:
    at = decision["decided_at"]
    yield at
    yield f"{to_datetime(parse_instant(at)[0]).astimezone(zone_of(decision)):%Y-%m-%d %H:%M}"
    yield decision["customer_id"]
    yield decision.get("account_id") or ""
    yield decision["trigger"]


def _safe(cells: Iterable[str]) -> list[str]:
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]
