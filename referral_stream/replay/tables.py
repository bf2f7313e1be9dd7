"""The results of a replay as tables for a spreadsheet: who was asked, who was not and why, and what followed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from referral_stream.core.instants import parse_instant, to_datetime
from referral_stream.replay.overview import ASKED
from referral_stream.words.afterwards import followup_words
from referral_stream.words.decisions import outcome_words, why, zone_of

ASKS_COLUMNS: Final = (
    "asked_at", "local_time", "customer", "account", "trigger", "mode", "channel", "score", "decision_id",
)  # fmt: skip
NOT_ASKED_COLUMNS: Final = (
    "decided_at", "local_time", "customer", "account", "trigger", "outcome", "gates", "why", "score", "deadline",
    "decision_id",
)  # fmt: skip
FOLLOWUPS_COLUMNS: Final = (
    "requested_at", "customer", "account", "audience", "kind", "what", "channels", "referral", "due_by", "expires_at",
    "late", "withdrawn_at", "withdrawn_because", "followup_id",
)  # fmt: skip
REWARDS_COLUMNS: Final = (
    "at", "customer", "account", "referral", "reward", "because", "programme", "kind", "amount_minor", "currency",
    "benefit", "grant_id",
)  # fmt: skip
RECORDS_COLUMNS: Final = (
    "customer", "account", "segment", "signed_up_at", "times_asked", "last_ask_date", "next_ask_eligible",
    "referrals_given", "referrals_converted", "propensity_score",
)  # fmt: skip

_NO_NEWS: Final = frozenset({"historical", "duplicate"})
_FIELDS: Final = {"customer": "customer_id", "account": "account_id", "referral": "referral_id"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_tables(folder: Path) -> None:
    """Tables next to the files of a replay.

    ``asks.csv`` and ``not-asked.csv``: a line per ask, and per opportunity without one; ``followups.csv``: per
    follow-up, with what became of it; ``rewards.csv``: per message about a reward; ``records.csv``: per customer. A
    text that a spreadsheet would take for a formula begins with an apostrophe. Raises OSError.
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

    _write(folder / "followups.csv", FOLLOWUPS_COLUMNS, _followups(folder / "followups.jsonl"))
    _write(folder / "rewards.csv", REWARDS_COLUMNS, _rewards(folder / "rewards.jsonl"))
    _write(folder / "records.csv", RECORDS_COLUMNS, _records(folder / "records.jsonl"))


def _write(file: Path, columns: tuple[str, ...], lines: Iterable[list[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(columns)
        rows.writerows(_safe(line) for line in lines)


def _events(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Type and data of every message of the file."""
    with file.open("rb") as lines:
        for event in map(orjson.loads, lines):
            yield event["type"], event["data"]


def _followups(file: Path) -> Iterator[list[str]]:
    withdrawn = {data["followup_id"]: data for type_, data in _events(file) if type_ == "referral.followup.cancelled"}
    for type_, data in _events(file):
        if type_ != "referral.followup.requested":
            continue
        ended = withdrawn.get(data["followup_id"], {})
        about = {**data["variables"], "referral_id": data.get("referral_id")}
        cells = {
            **data,
            "what": followup_words(data["kind"], about),
            "channels": " ".join(data.get("channels", ())),
            "late": "late" if data["late"] else "",
            "withdrawn_at": ended.get("cancelled_at"),
            "withdrawn_because": ended.get("reason"),
        }
        yield _cells(cells, FOLLOWUPS_COLUMNS)


def _rewards(file: Path) -> Iterator[list[str]]:
    for type_, data in _events(file):
        name = type_.rpartition(".")[2]
        because = data.get("reason") or " ".join(data.get("hints", ()))
        yield _cells({**data, "at": data[f"{name}_at"], "reward": name, "because": because}, REWARDS_COLUMNS)


def _records(file: Path) -> Iterator[list[str]]:
    for _, data in _events(file):
        yield _cells({**data, **data["referral_history"]}, RECORDS_COLUMNS)


def _cells(values: Mapping[str, Any], columns: tuple[str, ...]) -> list[str]:
    """In the order of the columns, some of which have a longer name in messages; what is absent is empty."""
    found = (values.get(_FIELDS.get(column, column)) for column in columns)
    return ["" if value is None else str(value) for value in found]


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
