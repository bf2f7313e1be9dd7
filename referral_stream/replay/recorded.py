"""Replay of a recorded log from files to files: what ``referral-stream replay`` does.

A log of ``customer-events`` replays exactly; any other log is a fact replay through the real adapters. Asks and decisions
are written in the order (time, customer, opportunity, n), dead letters by position, all as canonical JSON, so that two
runs on two machines write the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from referral_stream.contracts.adapted import Accepted, Refused, Skipped
from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.errors import Undecodable, UnreadableLog
from referral_stream.contracts.inbound import Boundary, adapt
from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.outbound import arrival, decode_event, encode_effect
from referral_stream.contracts.records import RawRecord
from referral_stream.core.asks import AskCancelled, AskRequested, Decision
from referral_stream.core.events import FACT_TYPES
from referral_stream.core.policy import Policy
from referral_stream.replay.exact import ExactReplay
from referral_stream.replay.facts import Arrival, FactReplay, Happened

CUSTOMER_EVENTS = "customer-events"
OUTPUTS = ("decisions", "asks", "dead-letters")


class MixedLog(UnreadableLog):
    """A log that holds ``customer-events`` and source topics: the same facts twice, in two orders."""


@dataclass
class Summary:
    """What a replay read and wrote, for the terminal."""

    records: int = 0
    events: int = 0
    customers: int = 0
    exact: bool = False
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bad_lines: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    asks: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0


def replay_file(
    log: Path,
    output: Path,
    policy: Policy,
    boundary: Boundary,
    *,
    until: int | None = None,
    facts_only: bool = False,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Replay ``log`` under ``policy`` into ``output`` (created if missing; files there are replaced).

    ``until`` (epoch ms): read and let time pass up to and including it; by default until nothing is pending.
    ``facts_only``: of a ``customer-events`` log take the facts alone and let a virtual clock make the rest.
    ``progress`` is told the bytes read. Raises UnreadableLog at a bad line unless ``skip_bad``, and OSError.
    """
    output.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    with ExitStack() as stack:
        source = stack.enter_context(log.open("rb"))
        files = {name: stack.enter_context((output / f"{name}.jsonl").open("wb")) for name in OUTPUTS}
        reader = _Reader(log, boundary, summary, files["dead-letters"], skip_bad=skip_bad)
        records = reader.records(_with_progress(source, progress))
        first = next(records, None)
        everything = chain(() if first is None else (first,), records)
        ours = first is not None and _is_ours(first, boundary)
        if ours and not facts_only:
            summary.exact = True
            exact = ExactReplay(policy)
            happened = sorted(
                (item for items in exact.run(reader.recorded(everything), until) for item in items), key=_output_order
            )
            _write(happened, files, summary)
            summary.customers = len(exact.customers)
        else:
            arrivals = reader.recorded_facts(everything) if ours else reader.adapted(everything)
            facts = FactReplay(policy)
            for items in facts.run(arrivals, until):
                _write(items, files, summary)
            summary.customers = len(facts.customers)
    return summary


class _Reader:
    """Records of a log as arrivals; counts what it leaves out and writes dead letters as they come."""

    def __init__(
        self, log: Path, boundary: Boundary, summary: Summary, dead_letters: BinaryIO, *, skip_bad: bool
    ) -> None:
        self.log, self.boundary, self.summary, self.dead_letters = log, boundary, summary, dead_letters
        self.skip_bad = skip_bad
        self.line = 0
        self.ours: bool | None = None

    def records(self, lines: Iterable[bytes]) -> Iterator[RawRecord]:
        """Raises UnreadableLog (MixedLog) naming file and line; with ``skip_bad`` bad lines become dead letters."""
        for self.line, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = parse_line(line, file=str(self.log), number=self.line)
            except UnreadableLog as error:
                if not self.skip_bad:
                    raise
                self.summary.bad_lines += 1
                bad = RawRecord(
                    topic=self.log.name, partition=0, offset=self.line - 1, timestamp=0, key=None, value=line
                )
                self._refuse(bad, f"unreadable line: {error.problem}", now=0)
                continue
            ours = _is_ours(record, self.boundary)
            if self.ours is not None and ours != self.ours:
                raise MixedLog(str(self.log), self.line, f"{CUSTOMER_EVENTS} and source topics in one log")
            self.ours = ours
            self.summary.records += 1
            yield record

    def adapted(self, records: Iterable[RawRecord]) -> Iterator[Arrival]:
        """Through the adapters; the clock is the highest record timestamp so far."""
        now = 0
        for record in records:
            now = max(now, record.timestamp)
            match adapt(record, now, self.boundary):
                case Accepted(events=events):
                    for event in events:
                        self.summary.events += 1
                        yield Arrival(now, event)
                case Skipped(reason=reason):
                    self.summary.skipped[reason] += 1
                case Refused(cause=cause, detail=detail):
                    self.summary.refused[cause] += 1
                    self._refuse(record, f"{cause}: {detail}", now)

    def recorded(self, records: Iterable[RawRecord]) -> Iterator[Arrival]:
        """Records of ``customer-events`` at their own arrival stamps."""
        for record in records:
            try:
                now, event = arrival(record), decode_event(record.value or b"")
            except Undecodable as error:
                self.summary.refused[error.cause] += 1
                self._refuse(record, str(error), max(record.timestamp, 0))
                continue
            self.summary.events += 1
            yield Arrival(now, event)

    def recorded_facts(self, records: Iterable[RawRecord]) -> Iterator[Arrival]:
        """The facts of ``customer-events`` alone, in the order of their arrival."""
        facts = [each for each in self.recorded(records) if each.event.type in FACT_TYPES]
        return iter(sorted(facts, key=lambda each: each.now))  # stable: partitions may interleave in any order

    def _refuse(self, record: RawRecord, error: str, now: int) -> None:
        letter = dead_letter(record, error=error, stage="ingest", occurred_at=now)
        kept = RawRecord(
            topic="dead-letters", partition=record.partition, offset=record.offset, timestamp=record.timestamp,
            key=letter.key, value=letter.value, headers=letter.headers,
        )  # fmt: skip
        self.dead_letters.write(render_line(kept) + b"\n")


def _is_ours(record: RawRecord, boundary: Boundary) -> bool:
    return record.topic.removeprefix(boundary.prefix) == CUSTOMER_EVENTS


def _with_progress(source: BinaryIO, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    if progress is None:
        yield from source
        return
    read = 0
    for number, line in enumerate(source):
        read += len(line)
        if number % 1_000 == 0:
            progress(read)
        yield line
    progress(read)


def _output_order(item: Happened) -> tuple[int, str]:
    return item.now, item.effect.customer_id


def _write(items: Iterable[Happened], files: Mapping[str, BinaryIO], summary: Summary) -> None:
    for now, effect in items:
        match effect:
            case Decision(outcome=outcome):
                summary.outcomes[outcome] += 1
                files["decisions"].write(encode_effect(effect, now) + b"\n")
            case AskRequested(trigger=trigger):
                summary.asks[trigger] += 1
                files["asks"].write(encode_effect(effect, now) + b"\n")
            case AskCancelled():
                summary.cancelled += 1
                files["asks"].write(encode_effect(effect, now) + b"\n")
            case _:
                pass  # what goes to the ledger is no output of a replay
