"""Replay of a recorded log from files to files: what ``referral-stream replay`` does.

A log of ``customer-events`` replays exactly; any other log is a fact replay through the real adapters. Asks and
decisions are written in the order (time, customer, as they were made), dead letters as they come up along the log, all
as canonical JSON, so that two runs on two machines write the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from referral_stream.contracts.applying import NotApplied
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.deadletters import DeadLetter, dead_letter
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    Decision,
    Effect,
    FollowupCancelled,
    FollowupRequested,
    ReasonAsked,
    RecordChanged,
    RecordForgotten,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.policy import Policy
from referral_stream.replay.log_lines import Progress
from referral_stream.replay.overview import BreakerPause, Overview
from referral_stream.replay.reading import Counts, RecordedLog, open_log
from referral_stream.replay.recorded_run import Diverged, ExactReplay
from referral_stream.replay.snapshot import Snapshot, entities_of
from referral_stream.replay.sorting import MEMORY_BYTES, Key, Row, in_order
from referral_stream.replay.tables import write_tables
from referral_stream.replay.virtual_run import FactReplay, Happened
from referral_stream.replay.whole_files import whole_folder

OUTPUTS = ("decisions", "asks", "followups", "rewards", "records", "dead-letters")


@dataclass
class Summary(Counts):
    """What a replay read and wrote, for the terminal. ``still_quarantined``: ends of holds that came to nothing.

    ``followups``: requests by kind, of which ``withdrawn`` were taken back; ``rewards``: messages by what became of the
    reward; ``recorded``: customers with a record.
    """

    customers: int = 0
    exact: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    asks: Counter[str] = field(default_factory=Counter)
    reasons_asked: int = 0
    cancelled: int = 0
    followups: Counter[str] = field(default_factory=Counter)
    withdrawn: int = 0
    rewards: Counter[str] = field(default_factory=Counter)
    recorded: int = 0
    still_quarantined: int = 0
    overview: Overview = field(default_factory=Overview)


def replay_file(
    log: Path,
    output: Path,
    policy: Policy,
    boundary: Boundary,
    *,
    until: int | None = None,
    facts_only: bool = False,
    skip_bad: bool = False,
    sort: bool = False,
    as_csv: bool = False,
    progress: Progress | None = None,
    memory_bytes: int = MEMORY_BYTES,
    snapshot: Snapshot | None = None,
) -> Summary:
    """Replay ``log`` under ``policy`` into ``output`` (created if missing; files there are replaced).

    ``until`` (epoch ms): read and let time pass up to and including it; by default until nothing is pending.
    ``facts_only``: of a ``customer-events`` log take the facts alone and let a virtual clock make the rest.
    ``snapshot``: the states that a ``customer-events`` log without its beginning builds on (see ``read_snapshot``).
    ``sort``: read the lines by time. ``as_csv``: write tables beside the files (see :func:`write_tables`).
    ``progress`` is called with the bytes read; what has to be sorted takes about ``memory_bytes`` at a time. Raises
    UnreadableLog (see :func:`open_log`) and OSError, which leave ``output`` as it was, and Diverged at the end.
    """
    summary = Summary()
    diverged: Diverged | None = None
    with whole_folder(output) as folder, ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.jsonl").open("wb")) for name in OUTPUTS}
        letters, records = _DeadLetterFile(files["dead-letters"], summary), _Records()
        opened = stack.enter_context(
            open_log(
                log, boundary, summary, letters.refuse, facts_only=facts_only, skip_bad=skip_bad, sort=sort,
                progress=progress, memory_bytes=memory_bytes, snapshot=snapshot,
            )
        )  # fmt: skip
        if isinstance(opened, RecordedLog):
            summary.exact = True
            exact = ExactReplay(policy, refused=letters.not_applied, entities=entities_of(snapshot), notes=opened.notes)
            _write_recorded(exact.run(opened.records, until), summary, records, files, memory_bytes)
            try:
                exact.compare()
            except Diverged as error:
                diverged = error
            summary.events, summary.customers = exact.events, len(exact.customers)
        else:
            facts = FactReplay(policy, lettered=letters.not_applied)
            for items in facts.run(opened.arrivals, until):
                _write(sorted(_rows(items, summary, records), key=lambda row: row.key), files)
            summary.customers = len(facts.customers)
            summary.overview.pauses = [BreakerPause(at, pause) for at, pause in facts.pauses]
        summary.recorded = records.write(files["records"])
        stack.close()
        if as_csv:
            write_tables(folder)
    if diverged is not None:
        raise diverged
    return summary


def _write_recorded(
    happened: Iterable[list[Happened]],
    summary: Summary,
    records: _Records,
    files: Mapping[str, BinaryIO],
    memory_bytes: int,
) -> None:
    """The log's order is that of its partitions, one after the other or any mixture of them."""
    rows = _rows((item for items in happened for item in items), summary, records)
    _write(in_order(rows, memory_bytes), files)


_FILES: Final = {
    "referral-decisions": "decisions",
    "referral-asks": "asks",
    "referral-followups": "followups",
    "referral-rewards": "rewards",
    "referral-records": None,
    "referral-contacts": None,
    "ledger-requests": None,
}
"""Topic → the output file that holds what goes there. What goes to the ledger, and names, are no output of a replay; of
records only the newest of each customer is."""


class _Records:
    """The newest record of every customer who was not erased."""

    def __init__(self) -> None:
        self._newest: dict[str, bytes] = {}

    def see(self, now: int, effect: Effect) -> None:
        match effect:
            case RecordChanged():
                self._newest[effect.customer_id] = encode_effect(effect, now)
            case RecordForgotten():
                self._newest.pop(effect.customer_id, None)
            case _:
                pass

    def write(self, file: BinaryIO) -> int:
        """In the order of the ids' bytes; returns how many."""
        file.writelines(self._newest[name] + b"\n" for name in sorted(self._newest, key=str.encode))
        return len(self._newest)


class _DeadLetterFile:
    """The file of dead letters: of records that could not be read, and of those that were not applied."""

    def __init__(self, file: BinaryIO, summary: Summary) -> None:
        self._file, self._summary = file, summary

    def refuse(self, record: RawRecord, error: str, now: int) -> None:
        letter = dead_letter(record, error=error, stage="ingest", occurred_at=now)
        self._file.write(_letter_line(record, letter))

    def not_applied(self, record: RawRecord, refused: NotApplied) -> None:
        letter = refused.dead_letter(record)
        if letter is None:
            self._summary.still_quarantined += 1
            return
        self._summary.refused[refused.cause] += 1
        self._file.write(_letter_line(record, letter))


def _rows(happened: Iterable[Happened], summary: Summary, records: _Records) -> Iterator[Row]:
    """The lines of the output files. Raises KeyError for an effect on a topic that has no file yet."""
    for now, effect in happened:
        label = _FILES[EFFECT_MESSAGES[type(effect)].topic]
        records.see(now, effect)
        if label is None:
            continue
        match effect:
            case Decision(outcome=outcome):
                summary.outcomes[outcome] += 1
                summary.overview.add(effect)
            case AskRequested(trigger=trigger):
                summary.asks[trigger] += 1
            case ReasonAsked():
                summary.reasons_asked += 1
            case AskCancelled():
                summary.cancelled += 1
            case FollowupRequested(kind=kind):
                summary.followups[kind] += 1
            case FollowupCancelled():
                summary.withdrawn += 1
            case RewardHeld() | RewardGranted() | RewardDenied() | RewardReversed():
                summary.rewards[EFFECT_MESSAGES[type(effect)].kind.rpartition(".")[2]] += 1
            case _:
                pass
        # A customer's decisions of one instant keep their order: an ask comes before what it supersedes, so that
        # a reader of the file from the top always knows when the customer was last asked.
        key: Key = (now, effect.customer_id)
        yield Row(key, label, encode_effect(effect, now) + b"\n")


def _write(rows: Iterable[Row], files: Mapping[str, BinaryIO]) -> None:
    for row in rows:
        files[row.label].write(row.content)


def _letter_line(record: RawRecord, letter: DeadLetter) -> bytes:
    kept = RawRecord(
        topic="dead-letters", partition=record.partition, offset=record.offset, timestamp=record.timestamp,
        key=letter.key, value=letter.value, headers=letter.headers,
    )  # fmt: skip
    return render_line(kept) + b"\n"
