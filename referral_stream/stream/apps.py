"""The roles as apps: ingest, decide, ledger. Building one connects to nothing and starts nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from faust_batches import BatchApp, Changes, Output, create_app
from faust_batches.lanes import Tracing

from referral_stream.contracts.deadletters import MAX_LETTER_BYTES, PAYLOAD_OMITTED_HEADER
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import newer_customer, newer_wakeup
from referral_stream.contracts.topics import Topics
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.stream.backlog import Backlog
from referral_stream.stream.decide import Decide
from referral_stream.stream.generations import Generations
from referral_stream.stream.ingest import Ingest, dead_letter_output
from referral_stream.stream.ledger_agent import LedgerAgent
from referral_stream.stream.ledger_clock import CHECK_SECONDS, LedgerClock
from referral_stream.stream.wakeups import Wakeups, wakeup_outputs
from referral_stream.stream.worker_config import worker_config

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.1
"""How often the timer runs: half of it is the mean delay that it adds to a wake-up."""

LEDGER_CHECK_SECONDS: Final = 1.0
"""How often the ledger is looked at while nothing is requested."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the product, ready to be run: its app, and what the app does its work with."""

    name: str
    app: BatchApp
    processor: Ingest | Decide | LedgerAgent
    wakeups: Wakeups | None = None


def ingest_role(deployment: Deployment) -> Role:
    """Source topics → ``customer-events``."""
    topics, clock = deployment.topics, deployment.clock
    app = create_app(
        worker_config(deployment, "ingest", max_record_bytes=MAX_LETTER_BYTES),
        on_refused=_refusal(topics, clock, "ingest"),
        tracing=_tracing(deployment),
    )
    ingest = Ingest(topics, deployment.boundary, clock)
    app.stateless(topics.sources, ingest)
    return Role("ingest", app, ingest)


def decide_role(deployment: Deployment, wakeups: Wakeups | None = None, backlog: Backlog | None = None) -> Role:
    """``customer-events`` → states, asks, decisions, requests; and the timer that wakes customers.

    ``wakeups`` may be given by a caller who wants to see what is pending. While the ``backlog`` is unread, nobody is
    woken.
    """
    topics, clock = deployment.topics, deployment.clock
    wakeups = Wakeups() if wakeups is None else wakeups
    app = create_app(
        worker_config(deployment, "decide"),
        on_refused=_refusal(topics, clock, "decide"),
        tracing=_tracing(deployment),
    )
    decide = Decide(topics, deployment.policy, app.entry_limit)

    def ready(partitions: frozenset[int]) -> None:
        wakeups.drop(partitions)
        for partition in partitions:
            wakeups.load(partition, app.table_items("wakeups", partition))
        logger.info("partitions_ready", extra={"partitions": len(partitions)})

    def changed(partition: int, changes: Changes) -> None:
        wakeups.change(partition, changes.get("wakeups", {}))

    async def tick() -> None:
        while wakeups.read_on():  # noqa: ASYNC110 (work in portions, not waiting)
            await asyncio.sleep(0)
        if backlog is not None and not await backlog.is_read():
            return
        now = clock.now()
        taken = wakeups.take(now)
        await app.send(wakeup_outputs(taken, topics.customer_events, now))
        wakeups.appended(taken, clock.now())

    def overdue() -> tuple[int, int] | None:
        due = wakeups.next_due()
        return None if due is None or due > clock.now() else (due, wakeups.pending())

    app.stateful(
        topics.customer_events,
        decide,
        {"wakeups": newer_wakeup, "customers": newer_customer},
        on_partitions_ready=ready,
        on_partitions_lost=wakeups.drop,
        on_changes=changed,
    )
    if backlog is not None:
        app.alongside(backlog)
    app.periodic(TICK_SECONDS, tick)
    app.expects("wakeups", overdue)
    return Role("decide", app, decide, wakeups)


def ledger_role(deployment: Deployment) -> Role:
    """``ledger-requests`` → Redis → answers on ``customer-events``."""
    topics, clock, ledger = deployment.topics, deployment.clock, deployment.ledger()
    app = create_app(
        worker_config(deployment, "ledger"),
        on_refused=_refusal(topics, clock, "ledger"),
        tracing=_tracing(deployment),
    )
    agent = LedgerAgent(
        topics,
        ledger,
        clock,
        send=app.send,
        log=Generations(deployment.client(), topics, clock, deployment.policy),
        leaving=lambda: app.rebalancing or app.should_stop,
        assignment=lambda: app.membership.assignment,
    )
    agent.watch = LedgerClock(ledger.time)
    app.periodic(CHECK_SECONDS, agent.watch.check)
    app.alongside(ledger)
    app.stateless([topics.ledger_requests], agent)
    app.periodic(LEDGER_CHECK_SECONDS, agent.rebuild)
    return Role("ledger", app, agent)


def _tracing(deployment: Deployment) -> Tracing | None:
    if not deployment.settings.tracing:
        return None
    from referral_stream.stream.tracing import OpenTelemetry  # noqa: PLC0415 (an extra: loaded where it is on)

    return OpenTelemetry(deployment.topics)


def _refusal(topics: Topics, clock: Clock, stage: Any) -> Any:
    """Turns an output that no broker would take into a dead letter without payload: that would be refused again."""

    def refused(output: Output, error: Exception) -> Sequence[Output]:
        if output.topic == topics.dead_letters:  # keep the headers, leave the payload where it came from
            size = str(len(output.value or b"")).encode()
            return [
                Output(output.topic, None, (output.key or b"")[:512], (*output.headers, (PAYLOAD_OMITTED_HEADER, size)))
            ]
        logger.error(
            "output_refused", extra={"topic": output.topic, "bytes": len(output.value or b""), "cause": str(error)}
        )
        stub = RawRecord(
            topic=output.topic, partition=0, offset=0, timestamp=clock.now(), key=(output.key or b"")[:512], value=None
        )
        return [dead_letter_output(topics, stub, f"too_large: {error}", stage, clock.now())]

    return refused
