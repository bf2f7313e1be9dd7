"""Dead letters, listed and replayed: ``referral-stream deadletters``.

A replay runs the adapter again on the original record and appends the resulting events to ``customer-events``, never to
a source topic. Ids come from the payload or from the original's position, so what is replayed twice counts once. The
order makes it safe: first the events are durable, then the mark that the letter has been replayed; after a crash
between the two the events are appended again, and their ids make them repeats.

A letter of stage ``decide`` is a record of ``customer-events``: it is appended again as it was. Where our own code had
failed on it the customer is on hold, and ``deadletter.replayed`` ends that: it comes last, only if no other such letter
of the customer is left, and names the events that must have been applied by then (the decide agent checks: one that
failed again has changed nothing, and the hold stays). So the letters that hold one customer are replayed together, and
are marked only when the hold may end. A letter that fails again gets the next attempt.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust_batches import Output, partition_of

from referral_stream.contracts.applying import FAULT, names_of, read_event
from referral_stream.contracts.codec import (
    SOURCE,
    decode_request,
    encode_event,
    event_headers,
    event_key,
)
from referral_stream.contracts.deadletters import (
    ATTEMPT_HEADER,
    MAX_LETTER_BYTES,
    PAYLOAD_OMITTED_HEADER,
    Failure,
    Replayed,
    dead_letter,
    failure,
    original,
    replayed,
    replayed_headers,
)
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.inbound.adapt import adapt
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.events import FACT_TYPES, DeadletterReplayed, Event
from referral_stream.core.ids import derived_id
from referral_stream.core.keys import customer_key, is_link_key, parse_key
from referral_stream.core.merging import HOLDING
from referral_stream.runtime.clients import close
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import TopicReader, UnreadableTopic
from referral_stream.runtime.topics_admin import REFILL, TopicsProblem
from referral_stream.stream.ingest import contact_output, event_output

logger = logging.getLogger(__name__)

AT_ONCE: Final = 500
"""Letters that are appended, and marked, together."""

_HOLDING: Final = HOLDING | {FAULT}
_STAGES: Final = ("ingest", "decide", "ledger")

Progress = Callable[[int], None]
"""Is called with how many records have been read, or letters dealt with, so far."""


@dataclass(frozen=True, slots=True)
class ListedLetter:
    """A dead letter without its payload. ``partition`` and ``offset``: where it lies on ``dead-letters``."""

    partition: int
    offset: int
    key: bytes | None
    failure: Failure
    topic: str
    source_partition: int
    source_offset: int
    size_bytes: int
    has_payload: bool
    replayed: bool = False

    @property
    def cause(self) -> str:
        return self.failure.error.partition(":")[0]

    @property
    def holds(self) -> bool:
        """Whether it puts its customer on hold: our code failed on a valid event, or a merge ended oddly.

        A link is never on hold.
        """
        is_link = is_link_key((self.key or b"").decode("utf-8", "replace"))
        return self.failure.stage == "decide" and self.cause in _HOLDING and not is_link


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which letters to select; None: any. ``customer`` is the key of the record, ``since`` epoch ms."""

    stage: str | None = None
    cause: str | None = None
    topic: str | None = None
    since: int | None = None
    customer: str | None = None

    def select(self, letters: Iterable[ListedLetter], prefix: str = "") -> list[ListedLetter]:
        """The selected letters, in order; ``topic`` may be given without the deployment's ``prefix``."""
        return [letter for letter in letters if self._mean(letter, prefix)]

    def _mean(self, letter: ListedLetter, prefix: str) -> bool:
        return (
            self.stage in (None, letter.failure.stage)
            and self.cause in (None, letter.cause)
            and self.topic in (None, letter.topic, letter.topic.removeprefix(prefix))
            and (self.since is None or letter.failure.occurred_at >= self.since)
            and (self.customer is None or letter.key in (self.customer.encode(), customer_key(self.customer).encode()))
        )


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """All dead letters, the newest first, each with its last attempt; ``unreadable`` records are not ours."""

    letters: tuple[ListedLetter, ...]
    unreadable: int

    @property
    def open(self) -> list[ListedLetter]:
        """Those that have not been replayed."""
        return [letter for letter in self.letters if not letter.replayed]


def together(selected: Sequence[ListedLetter], box: DeadLetters) -> list[ListedLetter]:
    """The selected letters, and all others that hold the same customers."""
    chosen = {letter.failure.id for letter in selected}
    customers = {letter.key for letter in selected if letter.holds}
    others = (letter for letter in box.open if letter.holds and letter.key in customers)
    return [*selected, *(letter for letter in others if letter.failure.id not in chosen)]


@dataclass(slots=True)
class ReplayOutcome:
    """The result of a replay: letters by outcome, events appended, customers whose hold ended or did not."""

    letters: Counter[str] = field(default_factory=Counter)
    failed_again: int = 0
    events: int = 0
    released: int = 0
    held: int = 0


async def read_dead_letters(deployment: Deployment, progress: Progress = lambda _: None) -> DeadLetters:
    """All letters there are now. Raises TopicsProblem."""
    read = 0
    letters: dict[str, ListedLetter] = {}
    marks: dict[str, int] = {}
    unreadable = 0
    async for record in _records(deployment):
        read += 1
        progress(read)
        mark = replayed(record)
        if mark is not None:
            marks[mark.id] = max(mark.attempt, marks.get(mark.id, 0))
            continue
        try:
            letter = _letter(record)
        except Undecodable:
            unreadable += 1
            continue
        known = letters.get(letter.failure.id)
        if known is None or letter.failure.attempt >= known.failure.attempt:  # a redelivery may write a letter twice
            letters[letter.failure.id] = letter
    found = [
        replace(letter, replayed=marks.get(letter.failure.id, 0) >= letter.failure.attempt)
        for letter in letters.values()
    ]
    found.sort(key=lambda letter: (-letter.failure.occurred_at, letter.topic, letter.source_partition, -letter.offset))
    return DeadLetters(tuple(found), unreadable)


async def originals(deployment: Deployment, letters: Iterable[ListedLetter]) -> dict[str, RawRecord]:
    """Letter id → the record that the letter was made of; its payload may be personal. Raises TopicsProblem."""
    wanted = {(letter.partition, letter.offset): letter.failure.id for letter in letters}
    return {
        wanted[record.partition, record.offset]: original(record)
        async for record in _records(deployment)
        if (record.partition, record.offset) in wanted
    }


async def replay(
    deployment: Deployment, letters: Sequence[ListedLetter], progress: Progress = lambda _: None
) -> ReplayOutcome:
    """Try these letters again, in the order in which they were written. Raises TopicsProblem: the rest stays open.

    Letters that were replayed before are left out, and those whose record we do not have, or cannot append.
    """
    turn = _Replay(deployment)
    chosen = {(letter.partition, letter.offset): letter for letter in letters if turn.may_be_replayed(letter)}
    done = len(letters) - len(chosen)
    progress(done)
    producer = AIOKafkaProducer(
        **deployment.client(), acks="all", enable_idempotence=True, max_request_size=MAX_LETTER_BYTES + 100_000
    )
    try:
        await producer.start()
        waiting: list[tuple[ListedLetter, RawRecord]] = []
        async for record in _records(deployment):
            letter = chosen.get((record.partition, record.offset))
            if letter is None:
                continue
            waiting.append((letter, record))
            if len(waiting) >= AT_ONCE:
                await _append_all(producer, deployment, *turn.take(waiting))
                done += len(waiting)
                progress(done)
                waiting = []
        await _append_all(producer, deployment, *turn.take(waiting))
        progress(done + len(waiting))
        if turn.faults:
            # Read again: a customer on whom our code has failed meanwhile stays on hold.
            await _append_all(producer, deployment, *turn.release((await read_dead_letters(deployment)).open))
    except KafkaError as error:
        raise TopicsProblem(f"the replay ended early; the remaining letters stay open: {error!r}") from error
    finally:
        await close(producer)
    return turn.outcome


class _Replay:
    """The decisions of one replay: which records to append, and which marks once these are durable."""

    def __init__(self, deployment: Deployment) -> None:
        self.topics, self.boundary, self.clock = deployment.topics, deployment.boundary, deployment.clock
        self.outcome = ReplayOutcome()
        self.faults: dict[str, list[tuple[ListedLetter, Event]]] = defaultdict(list)

    def may_be_replayed(self, letter: ListedLetter) -> bool:
        if letter.replayed:
            self.outcome.letters["replayed before"] += 1
        elif not letter.has_payload:
            self.outcome.letters["without payload"] += 1
        elif letter.failure.stage not in _STAGES:
            self.outcome.letters[f"left alone: {letter.failure.stage}"] += 1
        else:
            return True
        return False

    def take(self, pairs: Iterable[tuple[ListedLetter, RawRecord]]) -> tuple[list[Output], list[Output], list[Output]]:
        """Names of contacts, what to append once they are written, and what to do afterwards."""
        told: list[Output] = []
        outputs: list[Output] = []
        marks: list[Output] = []
        for letter, record in pairs:
            source = original(record)
            again: Headers = ((ATTEMPT_HEADER, b"%d" % (letter.failure.attempt + 1)),)
            try:
                match letter.failure.stage:
                    case "decide":
                        outputs += self._event_again(letter, source, again)
                    case "ledger":
                        decode_request(source.value or b"")
                        headers = (*source.headers, *again)
                        outputs.append(Output(self.topics.ledger_requests, source.value, source.key, headers))
                        self.outcome.letters["appended"] += 1
                    case _:
                        names, events = self._adapted_again(source, again)
                        told += names
                        outputs += events
            except Undecodable as error:
                marks.append(self._failed_again(letter, source, str(error)))
            except Exception as fault:  # our own, as when it was refused: this letter waits on, all others are tried
                logger.exception("record_failed", extra={"stage": letter.failure.stage})
                marks.append(self._failed_again(letter, source, f"{FAULT}: {type(fault).__name__}"))
            else:
                if not letter.holds:
                    marks.append(_mark(self.topics.dead_letters, letter))
        return told, outputs, marks

    def _adapted_again(self, source: RawRecord, again: Headers) -> tuple[list[Output], list[Output]]:
        """The names of contacts in it, and its events. Raises Undecodable if the adapter still refuses it."""
        now = self.clock.now()
        match adapt(source, now, self.boundary):
            case Accepted(events=(), letters=((_, refused), *_)):
                raise Undecodable(refused.cause, refused.detail)
            case Accepted(events=events, contacts=contacts):
                names = [contact_output(self.topics, contact, now, again) for contact in contacts]
                outputs = [event_output(self.topics, event, now, again) for event in events]
                self.outcome.letters["appended"] += 1
                self.outcome.events += len(events)
                return names, outputs
            case Skipped(reason=reason):
                self.outcome.letters[f"nothing in it: {reason}"] += 1
                return [], []
            case Refused(cause=cause, detail=detail):
                raise Undecodable(cause, detail)

    def _event_again(self, letter: ListedLetter, source: RawRecord, again: Headers) -> list[Output]:
        """Raises Undecodable."""
        _, event = read_event(source)
        if letter.holds:
            self.faults[str(parse_key(source.key or b""))].append((letter, event))
        self.outcome.letters["appended"] += 1
        if event.type == DeadletterReplayed.type:
            return []  # the end of the hold is written anew, with what it depends on now
        self.outcome.events += 1
        headers = (*event_headers(event, self.clock.now()), *again)
        return [Output(self.topics.customer_events, source.value, source.key, headers)]

    def _failed_again(self, letter: ListedLetter, source: RawRecord, error: str) -> Output:
        self.outcome.letters[f"failed again: {error.partition(':')[0]}"] += 1
        self.outcome.failed_again += 1
        if letter.holds and not error.startswith(f"{FAULT}:"):
            error = f"{FAULT}: {error}"  # it keeps its customer on hold
        stage: Any = letter.failure.stage
        attempt = letter.failure.attempt + 1
        new = dead_letter(source, error=error, stage=stage, occurred_at=self.clock.now(), attempt=attempt)
        return Output(self.topics.dead_letters, new.value, new.key, new.headers, letter.partition)

    def release(self, still_open: Collection[ListedLetter]) -> tuple[list[Output], list[Output]]:
        """The ends of the holds, and the marks of the letters that caused them."""
        now = self.clock.now()
        outputs: list[Output] = []
        marks: list[Output] = []
        for customer, pairs in self.faults.items():
            appended = {(letter.failure.id, letter.failure.attempt) for letter, _ in pairs}
            if any(
                letter.holds
                and letter.key == customer_key(customer).encode()
                and (letter.failure.id, letter.failure.attempt) not in appended
                for letter in still_open
            ):
                self.outcome.held += 1
                continue
            self.outcome.released += 1
            marks += (_mark(self.topics.dead_letters, letter) for letter, _ in pairs)
            facts = names_of(fact for _, fact in pairs if fact.type in FACT_TYPES)
            event = _hold_ended(customer, appended, facts, now)
            headers = event_headers(event, now)
            outputs.append(Output(self.topics.customer_events, encode_event(event), event_key(event), headers))
        return outputs, marks


def _hold_ended(customer: str, letters: Iterable[tuple[str, int]], events: str | None, now: int) -> Event:
    names = (f"{id_}#{attempt}" for id_, attempt in sorted(letters))
    return Event(
        id=derived_id(DeadletterReplayed.type, customer, *names),
        source=SOURCE,
        type=DeadletterReplayed.type,
        subject=customer,
        time=now,
        data=DeadletterReplayed(events=events),
    )


def _mark(topic: str, letter: ListedLetter) -> Output:
    """On the letter's own partition, after it: retention takes the letter first."""
    headers = replayed_headers(Replayed(id=letter.failure.id, attempt=letter.failure.attempt))
    return Output(topic, None, letter.key, headers, letter.partition)


def _letter(record: RawRecord) -> ListedLetter:
    """Raises Undecodable."""
    failed, source = failure(record), original(record)
    omitted = record.header(PAYLOAD_OMITTED_HEADER) is not None
    # A binary CloudEvent may lack a value; a record too large for a topic has none here.
    lost = record.value is None and (omitted or failed.error.startswith("too_large"))
    return ListedLetter(
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        failure=failed,
        topic=source.topic,
        source_partition=source.partition,
        source_offset=source.offset,
        size_bytes=len(record.value or b""),
        has_payload=not lost,
    )


async def _records(deployment: Deployment) -> AsyncIterator[RawRecord]:
    try:
        async with TopicReader(deployment.client(), deployment.topics.dead_letters) as reader:
            async for records in reader.present():
                for record in records:
                    yield record
    except UnreadableTopic as error:
        raise TopicsProblem(str(error)) from error


async def _append_all(producer: Any, deployment: Deployment, *in_order: Sequence[Output]) -> None:
    """Append each of them once all of the one before is acknowledged. Raises KafkaError, TopicsProblem."""
    expected = deployment.settings.partitions
    for outputs in in_order:
        sent = []
        for output in outputs:
            partition = output.partition
            if partition is None and output.key is not None:
                if (found := len(await producer.partitions_for(output.topic))) != expected:
                    raise TopicsProblem(f"{output.topic} has {found} partitions instead of {expected}; {REFILL}")
                partition = partition_of(output.key, expected)
            sent.append(
                await producer.send(
                    output.topic, output.value, key=output.key, headers=list(output.headers), partition=partition
                )
            )
        for each in sent:
            await each
