"""The ledger agent while Redis is away: facts wait, but not for ever, and nothing is told twice for nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from faust_batches import NotOwner, Output

from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import ReservationConfirmed
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import RedisLedger
from referral_stream.runtime.clock import Clock
from referral_stream.stream.ledger_agent import LedgerAgent
from tests.stream.records import Consumed

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
