"""The ingest step: records of a source topic → canonical events on ``customer-events``, keyed by customer.

At least once: what is appended twice after a crash has the same event id, and counts once in the decide agent. That two
ids are one person is a fact like any other: the decide agent sees to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from faust_batches import BatchResult, Output, Read, Record

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.contracts.deadletters import Stage, attempt_of, dead_letter
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.events import WITHOUT_SUBJECT, Event
from referral_stream.runtime.clock import Clock


class Ingest:
    """The processor of every ingest agent.

    ``counts``: what became of the records: ``accepted``, ``skipped_<reason>``, ``refused_<cause>``, all our own words,
    never a payload's.
    """

    def __init__(self, topics: Topics, boundary: Boundary, clock: Clock) -> None:
        self.topics, self.boundary, self.clock = topics, boundary, clock
        self.counts: Counter[str] = Counter()

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        now, at, boundary = self.clock.now(), self.clock.at, self.boundary
        topics = self.topics
        outputs: list[Output] = []
        for record in records:
            raw = RawRecord.of(record, at(record.timestamp))
            match adapt(raw, now, boundary):
                case Accepted(events=events, letters=letters):
                    self.counts["accepted"] += bool(events)
                    outputs += (event_output(topics, event, now) for event in events)
                    for element, refused in letters:
                        self.counts[f"refused_{refused.cause}"] += 1
                        error = f"{refused.cause}: {refused.detail}"
                        outputs.append(dead_letter_output(topics, element, error, "ingest", now))
                case Skipped(reason=reason):
                    self.counts[f"skipped_{reason}"] += 1
                case Refused(cause=cause, detail=detail):
                    self.counts[f"refused_{cause}"] += 1
                    outputs.append(dead_letter_output(self.topics, raw, f"{cause}: {detail}", "ingest", now))
        return BatchResult(outputs)


def event_output(topics: Topics, event: Event, now: int, more_headers: Headers = ()) -> Output:
    """The record that an event becomes, arrived ``now``. An operator's switch goes to the ledger, which keeps them."""
    topic = topics.ledger_requests if event.type in WITHOUT_SUBJECT else topics.customer_events
    value, headers = encode_event(event), event_headers(event, now)
    return Output(topic, value, event_key(event), (*headers, *more_headers) if more_headers else headers)


def dead_letter_output(topics: Topics, record: RawRecord, error: str, stage: Stage, now: int) -> Output:
    """The record that a dead letter becomes. Our own records carry their attempt."""
    attempt = 1 if stage == "ingest" else attempt_of(record)
    letter = dead_letter(record, error=error, stage=stage, occurred_at=now, attempt=attempt)
    return Output(topics.dead_letters, letter.value, letter.key, letter.headers)
