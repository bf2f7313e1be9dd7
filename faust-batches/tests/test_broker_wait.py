"""What a worker asks the brokers before it runs is waited for: for so long, and not in silence."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError
from faust_batches import broker_wait
from faust_batches.broker_wait import BrokerWait
from faust_batches.errors import BrokersAway, NotAllowed, TopicsMismatch


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_wait, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(broker_wait, "SAID_EVERY_SECONDS", 0.1)


def brokers(seconds: float = 10.0, **more: Any) -> BrokerWait:
    return BrokerWait("app", ("kafka:9092",), seconds, **more)


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == name]


class Away:
    """Fails so often with each of these, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    async def __call__(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "here"


async def test_brokers_that_come_back_answer_and_both_is_said(caplog: pytest.LogCaptureFixture) -> None:
    away = Away(ConnectionError("nobody listens"), TimeoutError(), KafkaConnectionError("lost"))
    assert await brokers().answer(away) == "here"
    (waiting,) = lines(caplog, "brokers_awaited")
    assert (waiting["app"], waiting["brokers"], waiting["cause"]) == ("app", "kafka:9092", "nobody listens")
    assert waiting["at_most_seconds"] == 10
    assert len(lines(caplog, "brokers_answer_again")) == 1


async def test_an_answer_at_once_needs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert await brokers().answer(Away()) == "here"
    assert caplog.records == []


@pytest.mark.parametrize("silent", [True, False])
async def test_it_says_so_every_so_often_and_gives_up(silent: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def asked() -> None:
        if silent:
            await asyncio.sleep(60)
        raise ConnectionError("nobody listens")

    cause = "no answer yet" if silent else "nobody listens"
    with pytest.raises(BrokersAway, match=rf"no answer from kafka:9092 within 0.5 s: {cause}\. Bring the brokers back"):
        await brokers(0.5).answer(asked)
    assert {each["cause"] for each in lines(caplog, "brokers_awaited")} == {cause}
    assert 2 <= len(lines(caplog, "brokers_awaited")) <= 6


async def test_a_right_that_is_refused_is_not_waited_for() -> None:
    with pytest.raises(NotAllowed, match="GroupAuthorizationFailed"):
        await brokers().answer(Away(GroupAuthorizationFailedError("ours")))


async def test_nor_are_brokers_that_turn_us_away() -> None:
    async def refused() -> None:
        raise NotAllowed("the password is wrong")

    with pytest.raises(NotAllowed, match="the password is wrong"):
        await brokers(refused=refused).answer(Away(ConnectionError("it does not say why")))


async def test_what_an_operator_has_to_mend_is_not_waited_for() -> None:
    with pytest.raises(TopicsMismatch, match="missing"):
        await brokers().answer(Away(TopicsMismatch("missing")))


async def test_a_cancellation_is_one() -> None:
    asking = asyncio.ensure_future(brokers().answer(Away(*[ConnectionError("away")] * 1000)))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
