"""The ledger agent while Redis is away: facts wait, but not for ever, and nothing is told twice for nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from faust_batches import NotOwner, Output

from referral_stream.contracts.codec import decode_event, encode_effect, encode_event
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import ReservationConfirmed, ReservationRequested
from referral_stream.core.instants import SECOND
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger, Result, Thrown
from referral_stream.core.ledger.switches import Page
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable, RedisLedger
from referral_stream.runtime.clock import Clock
from referral_stream.stream import ledger_agent
from referral_stream.stream.ledger_agent import LedgerAgent
from tests.ledger.builders import T0, a_pause, a_request
from tests.rules import rule
from tests.stream.records import Consumed


class FlakyLedger:
    """Grants everything, and fails when it is asked for the second page of those to tell of a switch."""

    def __init__(self) -> None:
        self.rules, self.failed = MemoryLedger(Policy()), False

    async def apply(self, operations: Sequence[LedgerOperation]) -> list[Result]:
        return [self.rules.apply(each) for each in operations]

    async def page(self, thrown: Thrown, now: int, after: str = "") -> Page:
        if after and not self.failed:
            self.failed = True
            raise LedgerUnavailable("a test")
        return self.rules.page(thrown, now, after, size=2)

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]:
        return [self.rules.stopped(each) for each in requests]

    async def ready(self) -> bool:
        return True

    async def rebuild(self, records: AsyncIterator[LedgerOperation]) -> bool:
        raise AssertionError(records)


@rule("11.3")
async def test_a_pause_is_passed_on_in_pages_and_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_agent, "RETRY_SECONDS", 0)
    ledger, sent = FlakyLedger(), list[list[str]]()
    for name in ("cem", "ana", "ben"):
        ledger.rules.request(a_request(name, customer=name))

    async def send(outputs: Sequence[Output]) -> None:
        events = [decode_event(output.value or b"") for output in outputs]
        assert {event.type for event in events} == {"control.paused"}
        assert [output.key for output in outputs] == [event.subject.encode() for event in events]
        sent.append([event.subject for event in events])

    clock = Clock()
    monkeypatch.setattr(clock, "now", lambda: T0 + SECOND)
    agent = LedgerAgent(Topics(), ledger, clock, send=send, history=nothing)
    record = Consumed("ledger-requests", 0, 0, 1, b"", encode_event(a_pause(now=T0)))
    await agent(0, [record], unread)

    assert sent == [["ana", "ben"], ["cem"]]


NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def unread(table: str, key: bytes) -> None:
    raise AssertionError(f"the ledger has no table {table}, {key!r}")


async def nothing() -> AsyncIterator[LedgerOperation]:
    """The history of an empty log."""
    return
    yield


async def test_a_fact_waits_for_redis_until_its_partition_has_to_be_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Output] = []
    tries = count(1)

    async def send(outputs: Sequence[Output]) -> None:
        sent.extend(outputs)

    async with RedisLedger.connect(NOBODY_LISTENS, Policy(), timeout_seconds=20) as ledger:
        agent = LedgerAgent(Topics(), ledger, Clock(), send=send, history=nothing, leaving=lambda: next(tries) > 2)
        confirmed = ReservationConfirmed(command_id="c1", customer_id="ana", now=1)
        record = Consumed("ledger-requests", 0, 0, 1, b"ana", encode_effect(confirmed, 1))
        with caplog.at_level(logging.WARNING), pytest.raises(NotOwner):
            await agent(0, [record], unread)

    assert sent == []
    assert agent.available is False
    assert agent.failures == 3, "the turn, and two more tries"
    told = [entry.message for entry in caplog.records if entry.name == "referral_stream.stream.ledger_agent"]
    assert told == ["ledger_unavailable", "ledger_rebuild_failed"]
