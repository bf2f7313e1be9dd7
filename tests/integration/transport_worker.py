"""The application under torture: counts events per customer, in order, and issues a command for every third.

    python -m tests.integration.transport_worker RUN NAME BROKERS STORE FENCING DATADIR

Every value carries the mark `at` (partition -> next offset), as any state of ours has to.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from faust_batches import BatchResult, Output, Read, Record, WorkerConfig, create_app, run_worker

PARTITIONS = 4
SESSION_SECONDS = 3.0
EVERY = 3

State = dict[str, Any]


def step(state: State, event: State, command_id: str) -> tuple[State, State | None]:
    """One event: the new state, and the command that it causes. Shared with the checker."""
    count = state.get("count", 0) + 1
    new = {
        "count": count,
        "sequence": event["sequence"],
        "gaps": state.get("gaps", 0) + (event["sequence"] != state.get("sequence", 0) + 1),
        "hash": (state.get("hash", 0) * 31 + event["sequence"] * 7 + event["amount"]) % (1 << 53),
    }
    return new, {"id": command_id, "count": count, "hash": new["hash"]} if count % EVERY == 0 else None


def is_pending(state: State) -> bool:
    """Whether the customer has an entry in the second table: it comes and goes, so deletions are tried too."""
    return bool(state["count"] % EVERY == 1)


def command_id(partition: int, offset: int) -> str:
    return f"{partition}-{offset}"


def process(run: str, partition: int, records: Sequence[Record], read: Read) -> BatchResult:
    states: dict[bytes, State] = {}
    outputs: list[Output] = []
    for record in records:
        key = record.key or b""
        state = states.get(key)
        if state is None:
            stored = read("accounts", key)
            state = orjson.loads(stored) if stored else {"at": -1}
        if record.offset < state["at"]:
            continue
        new, command = step(state, orjson.loads(record.value or b""), command_id(partition, record.offset))
        states[key] = new | {"at": record.offset + 1}
        if command is not None:
            outputs.append(Output(f"{run}-out", orjson.dumps(command), key, headers=(("kind", b"command"),)))
    pending = {key: orjson.dumps({"at": s["at"]}) if is_pending(s) else None for key, s in states.items()}
    return BatchResult(
        outputs, {"accounts": {key: orjson.dumps(s) for key, s in states.items()}, "pending": {**pending}}
    )


def not_older(new: bytes, old: bytes) -> bool:
    return bool(orjson.loads(new)["at"] >= orjson.loads(old)["at"])


def main(run: str, name: str, brokers: str, store: str, fencing: str, datadir: str) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = WorkerConfig(
        id=run,
        brokers=(brokers,),
        partitions=PARTITIONS,
        store="rocksdb" if store == "rocksdb" else "memory",
        datadir=Path(datadir),
        fencing="transactions" if fencing == "transactions" else "none",
        session_timeout_seconds=SESSION_SECONDS,
        commit_interval_seconds=0.5,
        static_member=name if name.startswith("static") else None,
    )
    app = create_app(config)
    app.stateful(
        f"{run}-in",
        lambda partition, records, read: process(run, partition, records, read),
        {"pending": not_older, "accounts": not_older},  # the one with the marks comes last
    )
    return run_worker(app)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
