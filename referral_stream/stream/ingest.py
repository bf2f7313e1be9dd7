"""The ingest step: records of a source topic → canonical events on ``customer-events``, keyed by customer.

At least once: what is appended twice after a crash has the same event id, and counts once in the decide agent. An alias
(``customer.aliased``) redirects the records after it; records before it in the same batch may, after a crash, be
appended a second time under the customer that the alias stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from faust_batches import BatchResult, Output, Read, Record

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.contracts.deadletters import Stage, attempt_of, dead_letter
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.inbound.aliases import Aliases
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.events import WITHOUT_SUBJECT, Aliased, Event
from referral_stream.runtime.clock import Clock


class Ingest:
    """The processor of every ingest agent.

    ``counts``: what became of the records: ``accepted``, ``skipped_<reason>``, ``refused_<cause>``, all our own words,
    never a payload's.

    ``aliases``: those known when the first record comes; grows with every one that a record announces.
    """

    def __init__(self, topics: Topics, boundary: Boundary, clock: Clock, aliases: Aliases | None = None) -> None:
        self.topics, self.boundary, self.clock = topics, boundary, clock
        self.aliases = Aliases() if aliases is None else aliases
        self.counts: Counter[str] = Counter()

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        now, at, boundary = self.clock.now(), self.clock.at, self.boundary
        topics, aliases = self.topics, self.aliases
        outputs: list[Output] = []
        for record in records:
            raw = RawRecord.of(record, at(record.timestamp))
            match adapt(raw, now, boundary):
                case Accepted(events=events, letters=letters):
                    self.counts["accepted"] += bool(events)
                    for event in events:
                        outputs += event_outputs(topics, aliases, event, now)
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


def event_outputs(
    topics: Topics, aliases: Aliases, event: Event, now: int, more_headers: Headers = ()
) -> tuple[Output, ...]:
    """The records that an event becomes, arrived ``now``: under the customer whom its subject stands for.

    An operator's switch goes to the ledger, which keeps the switches. An alias also goes to ``customer-aliases``, each
    time it is announced: whether an earlier record of it was written is not known.
    """
    event = aliases.redirect(event)
    topic = topics.ledger_requests if event.type in WITHOUT_SUBJECT else topics.customer_events
    value, headers = encode_event(event), event_headers(event, now)
    output = Output(topic, value, event_key(event), (*headers, *more_headers) if more_headers else headers)
    if type(event.data) is Aliased and event.data.alias != event.subject:  # isinstance is slow on pydantic models
        return Output(topics.customer_aliases, value, event.data.alias.encode(), headers), output
    return (output,)


def dead_letter_output(topics: Topics, record: RawRecord, error: str, stage: Stage, now: int) -> Output:
    """The record that a dead letter becomes. Our own records carry their attempt."""
    attempt = 1 if stage == "ingest" else attempt_of(record)
    letter = dead_letter(record, error=error, stage=stage, occurred_at=now, attempt=attempt)
    return Output(topics.dead_letters, letter.value, letter.key, letter.headers)
