"""The ingest step: records of a source topic → canonical events on ``customer-events``, keyed by customer.

At least once: what is appended twice after a crash has the same event id, and the decide agent takes it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from referral_stream.clock import Clock
from referral_stream.contracts.adapted import Accepted, Refused, Skipped
from referral_stream.contracts.deadletters import Stage, dead_letter
from referral_stream.contracts.inbound import Boundary, adapt
from referral_stream.contracts.outbound import encode_event, event_headers, event_key
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import WITHOUT_SUBJECT
from referral_stream.stream.names import Topics
from referral_stream.stream.transport import BatchResult, Output, Read, Record


class Ingest:
    """The processor of every ingest agent. ``counts`` grows by what became of the records (no labels from payloads)."""

    def __init__(self, topics: Topics, boundary: Boundary, clock: Clock) -> None:
        self.topics, self.boundary, self.clock = topics, boundary, clock
        self.counts: Counter[str] = Counter()

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        now = self.clock.now()
        outputs: list[Output] = []
        customer_events, ledger_requests = self.topics.customer_events, self.topics.ledger_requests
        for record in records:
            raw = raw_record(record, self.clock.at(record.timestamp))
            match adapt(raw, now, self.boundary):
                case Accepted(events=events):
                    self.counts["accepted"] += 1
                    for event in events:
                        # What an operator switches concerns the ledger, which keeps the switches.
                        topic = ledger_requests if event.type in WITHOUT_SUBJECT else customer_events
                        outputs.append(Output(topic, encode_event(event), event_key(event), event_headers(event, now)))
                case Skipped(reason=reason):
                    self.counts[f"skipped_{reason}"] += 1
                case Refused(cause=cause, detail=detail):
                    self.counts[f"refused_{cause}"] += 1
                    outputs.append(dead_letter_output(self.topics, raw, f"{cause}: {detail}", "ingest", now))
        return BatchResult(outputs)


def raw_record(record: Record, timestamp: int | None = None) -> RawRecord:
    """A consumed record as the contracts know it."""
    return RawRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp if timestamp is None else timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )


def dead_letter_output(topics: Topics, record: RawRecord, error: str, stage: Stage, now: int) -> Output:
    """The record that a dead letter becomes."""
    letter = dead_letter(record, error=error, stage=stage, occurred_at=now)
    return Output(topics.dead_letters, letter.value, letter.key, letter.headers)
