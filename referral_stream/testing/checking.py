"""Runs the cases against a worker through Kafka, all at once: a correct worker is done in a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted, Refused
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import AskAcknowledged
from referral_stream.core.instants import SECOND
from referral_stream.runtime.connection import quiet_kafka, why_no_connection
from referral_stream.testing.cases import CASES, Case, Then
from referral_stream.testing.report import Acknowledgement, Finding, Report
from referral_stream.testing.timing import Limits
from referral_stream.testing.trials import WorkerTrial

_KAFKA_SECONDS = 30.0
_TOPIC_SECONDS = 10.0
_LOOK_MS = 50


class Unreachable(Exception):
    """The kit cannot reach the broker, or a topic is missing; the message says which."""


def check_worker(
    bootstrap: str,
    *,
    asks_topic: str,
    responses_topic: str,
    followups_topic: str | None = None,
    limits: Limits | None = None,
    cases: Iterable[Case] = CASES,
    restart: Callable[[], object] | None = None,
    deliveries: Callable[[], Iterable[str]] | None = None,
    owner_items: Callable[[], Iterable[str]] | None = None,
    transactions: bool = True,
    client: Mapping[str, Any] | None = None,
) -> Report:
    """Try every rule on the worker that reads ``asks_topic`` and ``followups_topic``, and acknowledges on
    ``responses_topic``.

    All are topics of a sandbox: what is written to them is acted upon. Without ``followups_topic``, the cases about
    follow-ups are left out.

    ``restart`` kills the worker abruptly and starts it again: without it, the cases about a crash are left out.
    ``deliveries`` gives the command or follow-up id of every message that has reached a customer of the sandbox so
    far, ``owner_items`` the same of what has reached an owner: with them, the kit need not take the worker's word.
    ``transactions`` = False leaves out the case for which the broker needs them. ``client`` are further arguments for
    aiokafka's clients, such as security settings.

    Blocks for a few seconds if all is well, for a little over ``limits.answer`` if not. Raises Unreachable. From a
    coroutine: ``await asyncio.to_thread(check_worker, …)``.
    """
    kit = _Kit(
        {"bootstrap_servers": bootstrap, **(client or {})},
        asks_topic,
        responses_topic,
        followups_topic,
        limits or Limits(),
        deliveries,
        owner_items,
    )
    chosen, skipped = _sorted_out(
        cases,
        restart=restart is not None,
        transactions=transactions,
        followups=followups_topic is not None,
        told_apart=deliveries is not None,
    )
    try:
        with quiet_kafka():
            findings = asyncio.run(kit.run(chosen, restart))
    except (KafkaError, TimeoutError) as error:
        raise Unreachable(asyncio.run(why_no_connection(kit.client, error))) from error
    return Report(findings, tuple(kit.unreadable), skipped)


_Skipped: TypeAlias = tuple[tuple[str, str], ...]


def _sorted_out(
    cases: Iterable[Case], *, restart: bool, transactions: bool, followups: bool, told_apart: bool
) -> tuple[list[Case], _Skipped]:
    """What can be tried here, what cannot, and why."""
    chosen: list[Case] = []
    skipped: list[tuple[str, str]] = []
    for case in cases:
        if case.followup is not None and not followups:
            skipped.append((case.name, "no topic for follow-ups is given"))
        elif case.told_apart and not told_apart:
            skipped.append((case.name, "nothing tells what reached the customer (deliveries)"))
        elif case.aborted and not transactions:
            skipped.append((case.name, "the broker has no transactions"))
        elif case.with_restart and not restart:
            skipped.append((case.name, "there is no way to restart the worker"))
        else:
            chosen.append(case)
    return chosen, tuple(skipped)


@dataclass
class _Kit:
    """One run: what it may use, and what it has received."""

    client: dict[str, Any]
    asks_topic: str
    responses_topic: str
    followups_topic: str | None
    limits: Limits
    deliveries: Callable[[], Iterable[str]] | None
    owner_items: Callable[[], Iterable[str]] | None
    run_id: str = field(default_factory=lambda: uuid4().hex[:12])
    heard: list[Acknowledgement] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    ids: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    async def run(self, cases: Sequence[Case], restart: Callable[[], object] | None) -> tuple[Finding, ...]:
        async with (
            _started(AIOKafkaProducer(**self.client, acks="all", enable_idempotence=True)) as producer,
            _started(
                AIOKafkaConsumer(**self.client, isolation_level="read_committed", enable_auto_commit=False)
            ) as consumer,
        ):
            await _partitions(producer, self.asks_topic)
            if self.followups_topic is not None:
                await _partitions(producer, self.followups_topic)
            partitions = await _partitions(producer, self.responses_topic)
            consumer.assign([TopicPartition(self.responses_topic, partition) for partition in partitions])
            async with asyncio.timeout(_KAFKA_SECONDS):
                await consumer.seek_to_end()
            findings = await self._undisturbed([case for case in cases if not case.with_restart], producer, consumer)
            if restart is not None and (disturbed := [case for case in cases if case.with_restart]):
                findings += await self._restarted(disturbed, restart, producer, consumer)
        return findings

    async def _undisturbed(self, cases: Sequence[Case], producer: Any, consumer: Any) -> tuple[Finding, ...]:
        trials = self._trials(cases)
        for trial in trials:
            if trial.case.then is Then.CANCEL_FIRST:
                await self._publish(producer, trial, trial.cancellation())
            if trial.case.aborted:
                await self._publish_aborted(trial)
            else:
                await self._publish(producer, trial, trial.command())
            if trial.case.then is Then.REPEAT:
                await self._publish(producer, trial, trial.command())
            elif trial.case.then is Then.CANCEL:
                await self._publish(producer, trial, trial.cancellation())
        to_cancel = {trial.customer: trial for trial in trials if trial.case.then is Then.CANCEL_WHEN_SENT}
        async for said in self._listen(consumer, trials):
            if said.status == "sent" and said.customer in to_cancel:
                trial = to_cancel.pop(said.customer)
                await self._publish(producer, trial, trial.cancellation())
        return self._judged(trials)

    async def _restarted(
        self, cases: Sequence[Case], restart: Callable[[], object], producer: Any, consumer: Any
    ) -> tuple[Finding, ...]:
        """The worker is killed once it has sent what it may, while the rest waits."""
        trials = self._trials(cases)
        for trial in trials:
            await self._publish(producer, trial, trial.command())
        async for _ in self._listen(consumer, [trial for trial in trials if not trial.case.waits], quiet=0):
            pass
        await asyncio.to_thread(restart)
        for trial in trials:
            if trial.case.then is Then.REPEAT_AFTER_RESTART:
                await self._publish(producer, trial, trial.command())
        async for _ in self._listen(consumer, trials):
            pass
        return self._judged(trials)

    def _trials(self, cases: Sequence[Case]) -> list[WorkerTrial]:
        started = _now()
        return [WorkerTrial(case, self.run_id, started, self.limits) for case in cases]

    async def _publish(self, producer: Any, trial: WorkerTrial, value: bytes) -> None:
        async with asyncio.timeout(_KAFKA_SECONDS):
            await producer.send_and_wait(self._topic_of(trial), value, key=trial.customer.encode())

    def _topic_of(self, trial: WorkerTrial) -> str:
        # Without a topic for follow-ups, their cases have been left out.
        return self.asks_topic if trial.case.followup is None else self.followups_topic or self.asks_topic

    async def _publish_aborted(self, trial: WorkerTrial) -> None:
        name = f"kit-{self.run_id}-{trial.case.name}"
        async with _started(AIOKafkaProducer(**self.client, transactional_id=name)) as producer:
            async with asyncio.timeout(_KAFKA_SECONDS):
                await producer.begin_transaction()
            await self._publish(producer, trial, trial.command())
            async with asyncio.timeout(_KAFKA_SECONDS):
                await producer.abort_transaction()

    async def _listen(
        self, consumer: Any, trials: Sequence[WorkerTrial], quiet: float | None = None
    ) -> AsyncIterator[Acknowledgement]:
        """Acknowledgements as they come, until every trial has ended and it has been quiet, or time is up."""
        quiet_ms = round((self.limits.quiet if quiet is None else quiet) * SECOND)
        due = max((trial.not_before for trial in trials), default=0)
        latest = max(due, _now()) + round(self.limits.answer * SECOND)
        last = due
        while (now := _now()) < latest:
            if now >= last + quiet_ms and all(trial.has_ended(self._about(trial)) for trial in trials):
                return
            read = await consumer.getmany(timeout_ms=_LOOK_MS)
            for record in (record for records in read.values() for record in records):
                for said in self._understood(record):
                    last = max(last, said.received)
                    self.heard.append(said)
                    yield said

    def _understood(self, record: Any) -> Iterator[Acknowledgement]:
        """The acknowledgements in a record of ``responses``, read as the pipeline reads them."""
        now = _now()
        adapted = adapt(RawRecord.of(record), now, _BOUNDARY)
        if isinstance(adapted, Refused):
            self.unreadable.append(f"{record.partition}/{record.offset} is {adapted.cause}: {adapted.detail}")
        for event in adapted.events if isinstance(adapted, Accepted) else ():
            if isinstance(event.data, AskAcknowledged):
                about = (event.data.command_id, event.data.status)
                if self.ids.setdefault((event.source, event.id), about) != about:
                    # The pipeline would take the second for a repetition of the first, and drop it.
                    self.unreadable.append(f"{record.partition}/{record.offset} has the id of another acknowledgement")
                yield Acknowledgement(event.id, event.source, event.subject, *about, now)

    def _about(self, trial: WorkerTrial) -> list[Acknowledgement]:
        return [said for said in self.heard if said.command == trial.command_id]

    def _judged(self, trials: Sequence[WorkerTrial]) -> tuple[Finding, ...]:
        delivered, given = _counted(self.deliveries), _counted(self.owner_items)
        return tuple(
            Finding(
                trial.case.name,
                trial.case.rule,
                tuple(said.status for said in self._about(trial)),
                trial.problems(
                    self._about(trial),
                    None if delivered is None else delivered[trial.command_id],
                    None if given is None else given[trial.command_id],
                ),
            )
            for trial in trials
        )


def _counted(ids: Callable[[], Iterable[str]] | None) -> Counter[str] | None:
    return None if ids is None else Counter(ids())


_BOUNDARY = Boundary(email_key=b"the kit has no addresses")


async def _partitions(producer: Any, topic: str) -> Iterable[int]:
    """The topic's partitions. Raises Unreachable if there is no such topic and the broker does not create it."""
    try:
        async with asyncio.timeout(_TOPIC_SECONDS):
            found: Iterable[int] = await producer.partitions_for(topic)
    except TimeoutError:
        raise Unreachable(f"{topic}: no such topic, or not for this user") from None
    return found


@asynccontextmanager
async def _started(client: Any) -> AsyncIterator[Any]:
    """A client that runs within the block, with limits on its start and stop."""
    try:
        async with asyncio.timeout(_KAFKA_SECONDS):
            await client.start()
        yield client
    finally:
        async with asyncio.timeout(_KAFKA_SECONDS):
            await client.stop()


def _now() -> int:
    return time.time_ns() // 1_000_000
