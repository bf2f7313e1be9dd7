"""`python -m tests.oracle replay LOG [--until T] --output DIR`: writes what the oracle decides as three files."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.oracle.naive import decide
from tests.oracle.records import instant


def main() -> int:
    """Exit codes: 0 done, 2 unreadable input."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    replay = parser.add_subparsers(required=True).add_parser("replay")
    replay.add_argument("log", type=Path)
    replay.add_argument("--until", type=instant)
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
    result = decide(records, asked.until)
    asked.output.mkdir(parents=True, exist_ok=True)
    write(asked.output / "asks.jsonl", result.asks)
    write(asked.output / "decisions.jsonl", result.decisions)
    write(asked.output / "dead-letters.jsonl", result.dead_letters)
    return 0


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
