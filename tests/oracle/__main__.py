"""`python -m tests.oracle replay LOG [--until T] [--policy FILE] --output DIR`: what is decided, and what follows."""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.oracle.naive import decide
from tests.oracle.policy import Policy
from tests.oracle.records import instant

SETTINGS = {
    "shadow": "shadow",
    "answers.no_days": "no_days",
    "answers.maybe_days": "maybe_days",
    "answers.silence_after_days": "silence_after_days",
    "answers.two_silences_days": "two_silences_days",
    "caps.advocacy_days": "advocacy_gap_days",
    "identity.wait_days": "wait_days",
    "breaker.floor": "burst_floor",
    "breaker.factor": "burst_factor",
    "breaker.pause_hours": "burst_pause_hours",
}

SECTIONS = ("followups", "referrals", "rewards")


def main() -> int:
    """Exit codes: 0 done, 2 unreadable input."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    replay = parser.add_subparsers(required=True).add_parser("replay")
    replay.add_argument("log", type=Path)
    replay.add_argument("--until", type=instant)
    replay.add_argument("--policy", type=Path)
    replay.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    records = []
    for line, text in enumerate(asked.log.read_text().splitlines(), 1):
        if not text.strip():
            continue
        try:
            records.append(json.loads(text))
            instant(records[-1]["timestamp"])
        except (ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"{asked.log}:{line}: {error}\n")
            return 2
    result = decide(records, asked.until, policy_of(asked.policy) if asked.policy else None)
    asked.output.mkdir(parents=True, exist_ok=True)
    write(asked.output / "asks.jsonl", result.asks)
    write(asked.output / "decisions.jsonl", result.decisions)
    write(asked.output / "dead-letters.jsonl", result.dead_letters)
    write(asked.output / "followups.jsonl", result.followups)
    write(asked.output / "rewards.jsonl", result.rewards)
    write(asked.output / "records.jsonl", result.records)
    return 0


def policy_of(file: Path) -> Policy:
    """The settings of a policy file that the oracle knows. Raises `KeyError` for one that it does not."""
    found = tomllib.loads(file.read_text())
    found.pop("extends", None)
    whole = {name: found.pop(name) for name in SECTIONS if name in found}
    flat = {name: value for name, value in found.items() if not isinstance(value, dict)}
    flat |= {
        f"{part}.{name}": v for part, values in found.items() if isinstance(values, dict) for name, v in values.items()
    }
    return whole | {SETTINGS[name]: value for name, value in flat.items()}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
