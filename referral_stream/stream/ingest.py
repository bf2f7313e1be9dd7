"""The ingest step: records of a source topic → canonical events on ``customer-events``, keyed by customer.

A record on which our own code fails is a dead letter too: no record stops a partition.

At least once: what is appended twice after a crash has the same event id, and counts once in the decide agent. That two
ids are one person is a fact like any other: the decide agent sees to it.

The name of a contact who has consented is durable on ``referral-contacts`` before the event is appended. So the decide
agent, which answers every such event, is always the last to say whether it stays.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from faust_batches import BatchResult, Output, Read, Record

from referral_stream.contracts.applying import FAULT
from referral_stream.contracts.codec import effect_key, encode_effect, encode_event, event_headers, event_key
from referral_stream.contracts.deadletters import Stage, attempt_of, dead_letter
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import NOW_HEADER, Headers, RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import WITHOUT_SUBJECT, Event
from referral_stream.runtime.clock import Clock

logger = logging.getLogger(__name__)


class Ingest:
    """The processor of every ingest agent.

    ``counts``: what became of the records: ``accepted``, ``skipped_<reason>``, ``refused_<cause>``, all our own words,
    never a payload's.
    """

    def __init__(self, topics: Topics, boundary: Boundary, clock: Clock) -> None:
        self.topics, self.boundary, self.clock = topics, boundary, clock
        self.counts: Counter[str] = Counter()

    def __call__(self, partition: int, records: Sequence[Record], read: Read) -> BatchResult:  # noqa: ARG002 (Processor)
        now, at = self.clock.now(), self.clock.at
        outputs: list[Output] = []
        names: list[Output] = []
        for record in records:
            raw, said, named = RawRecord.of(record, at(record.timestamp)), len(outputs), len(names)
            try:
                self._adapt(raw, now, outputs, names)
            except Exception as fault:  # our own, whatever the record holds: it waits as a letter, all others go on
                del outputs[said:], names[named:]
                where = {"topic": raw.topic, "partition": raw.partition, "offset": raw.offset}
                logger.exception("record_failed", extra=where)
                self._refuse(raw, FAULT, type(fault).__name__, now, outputs)
        return BatchResult(outputs, first=names)

    def _adapt(self, raw: RawRecord, now: int, outputs: list[Output], names: list[Output]) -> None:
        topics = self.topics
        match adapt(raw, now, self.boundary):
            case Accepted(events=events, letters=letters, contacts=contacts):
                names += [contact_output(topics, told, now) for told in contacts]
                outputs += [event_output(topics, event, now) for event in events]
                for element, refused in letters:
                    self._refuse(element, refused.cause, refused.detail, now, outputs)
                self.counts["accepted"] += bool(events)
            case Skipped(reason=reason):
                self.counts[f"skipped_{reason}"] += 1
            case Refused(cause=cause, detail=detail):
                self._refuse(raw, cause, detail, now, outputs)

    def _refuse(self, raw: RawRecord, cause: str, detail: str, now: int, outputs: list[Output]) -> None:
        outputs.append(dead_letter_output(self.topics, raw, f"{cause}: {detail}", "ingest", now))
        self.counts[f"refused_{cause}"] += 1


def event_output(topics: Topics, event: Event, now: int, more_headers: Headers = ()) -> Output:
    """The record that an event becomes, arrived ``now``. An operator's switch goes to the ledger, which keeps them."""
    topic = topics.ledger_requests if event.type in WITHOUT_SUBJECT else topics.customer_events
    value, headers = encode_event(event), event_headers(event, now)
    return Output(topic, value, event_key(event), (*headers, *more_headers) if more_headers else headers)


def contact_output(topics: Topics, told: ContactTold, now: int, more_headers: Headers = ()) -> Output:
    """The record that the name of a contact who has consented becomes."""
    headers: Headers = ((NOW_HEADER, b"%d" % now), *more_headers)
    return Output(topics.referral_contacts, encode_effect(told, now), effect_key(told), headers)


def dead_letter_output(topics: Topics, record: RawRecord, error: str, stage: Stage, now: int) -> Output:
    """The record that a dead letter becomes. Our own records carry their attempt."""
    attempt = 1 if stage == "ingest" else attempt_of(record)
    letter = dead_letter(record, error=error, stage=stage, occurred_at=now, attempt=attempt)
    return Output(topics.dead_letters, letter.value, letter.key, letter.headers)
