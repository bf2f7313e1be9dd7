"""The ledger's clock is wrong: nobody is asked, and the log, a metric and the doctor say why."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from faust_batches import Output

from referral_stream.contracts.codec import decode_event, encode_effect
from referral_stream.contracts.topics import Topics
from referral_stream.core.instants import SECOND
from referral_stream.core.ledger.caps import LedgerOperation
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable, RedisLedger, Results
from referral_stream.runtime.clock import Clock
from referral_stream.stream.ledger_agent import LedgerAgent
from referral_stream.stream.ledger_clock import LedgerClock
from tests.ledger.builders import T0, a_request
from tests.stream.records import Consumed
from tests.stream.test_ledger_agent import EmptyLog


def server_time(ahead_seconds: float) -> Callable[[], Awaitable[int]]:
    """Of a Redis whose clock this host's is ahead of."""

    async def answer() -> int:
        return int((time.time() - ahead_seconds) * SECOND)

    return answer


@pytest.mark.parametrize(
    ("ahead", "cause"),
    [
        (0, ""),
        (1.5, ""),
        (-1.5, ""),
        (60, "this host's clock is ahead of Redis's"),
        (-7200, "this host's clock is behind Redis's"),
    ],
)
async def test_a_clock_that_differs_from_redis_is_named_with_the_remedy(
    caplog: pytest.LogCaptureFixture, ahead: float, cause: str
) -> None:
    watch = LedgerClock(server_time(ahead))
    for _ in range(2):
        await watch.check()
    assert watch.ahead_seconds == pytest.approx(ahead, abs=1)
    told = [(each.message, vars(each)["cause"], vars(each)["to_fix"]) for each in caplog.records]
    assert told == ([("clock_skewed", cause, "synchronise the clocks of all hosts (NTP)")] if cause else [])


async def test_without_redis_nothing_is_known_of_its_clock(caplog: pytest.LogCaptureFixture) -> None:
    async with RedisLedger.connect("redis://127.0.0.1:1/0", Policy()) as ledger:
        watch = LedgerClock(ledger.time)
        await watch.check()
    assert watch.ahead_seconds is None
    assert caplog.records == []


class NoLedger:
    """Must not be asked: what comes too late is answered without it."""

    least = 0
    cluster = ""

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results:
        assert not operations
        return Results()

    def __getattr__(self, name: str) -> None:
        raise LedgerUnavailable(name)


@pytest.mark.parametrize(
    ("ahead", "cause"),
    [(60, "this host's clock is ahead of Redis's"), (0, "the decide agent or the ledger is behind, or this worker's")],
)
async def test_requests_that_come_too_late_are_logged_with_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ahead: float, cause: str
) -> None:
    sent: list[Output] = []

    async def send(outputs: Sequence[Output]) -> None:
        sent.extend(outputs)

    clock = Clock()
    monkeypatch.setattr(clock, "now", lambda: T0 + 61 * SECOND)
    agent = LedgerAgent(Topics(), NoLedger(), clock, send=send, log=EmptyLog())  # type: ignore[arg-type]
    agent.watch = LedgerClock(server_time(ahead))
    await agent.watch.check()
    caplog.clear()
    records = []
    for offset, name in enumerate(("ana", "ben")):
        request = a_request(name, customer=name)
        assert request.valid_until == T0 + 30 * SECOND
        records.append(Consumed("ledger-requests", 0, offset, 1, name.encode(), encode_effect(request, request.now)))
    for _ in range(2):
        await agent(0, records, lambda *_: None)

    assert {decode_event(output.value or b"").type for output in sent} == {"reservation.unavailable"}
    (line,) = caplog.records  # the second one is kept back
    assert (line.message, vars(line)["requests"], vars(line)["late_seconds"]) == ("requests_too_late", 2, 31)
    assert vars(line)["cause"].startswith(cause)
    assert "NTP" in vars(line)["to_fix"]
