"""The producers of an assignment are opened whatever happens to connections meanwhile, or all is given back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import errors as kafka
from batch_builders import SOURCE, a_config, an_app
from faust.types import TP
from faust_batches.errors import NotAllowed, RefusedByBroker
from faust_batches.fence import Fence

TPS = [TP(SOURCE, 0), TP(SOURCE, 1)]


class Opening:
    """A producer whose start fails as told."""

    def __init__(self, failures: Iterator[Exception]) -> None:
        self._failures = failures
        self.stopped = False

    async def start(self) -> None:
        if (failure := next(self._failures, None)) is not None:
            raise failure

    async def stop(self) -> None:
        self.stopped = True


def a_fence(monkeypatch: pytest.MonkeyPatch, *failures: Exception, **settings: Any) -> tuple[Fence, list[Opening]]:
    """A fence whose producers fail with these at their start, one after the other; and all that it makes."""
    coming, made = iter(failures), []

    def make(**_settings: Any) -> Opening:
        made.append(Opening(coming))
        return made[-1]

    monkeypatch.setattr("faust_batches.fence.aiokafka.AIOKafkaProducer", make)
    monkeypatch.setattr("faust_batches.fence._OPEN_AGAIN_SECONDS", 0.0)
    return Fence(a_config(**settings), dict), made


async def test_a_connection_that_is_lost_while_producers_are_opened_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fence, made = a_fence(
        monkeypatch,
        kafka.KafkaConnectionError("Unable to bootstrap"),
        kafka.CoordinatorLoadInProgressError(),
        kafka.KafkaConnectionError("reset"),
        AssertionError("Did we not perform bootstrap?"),  # a broker that answers has named none
    )
    await fence.take(TPS, 7)
    assert fence._assignment == 7
    assert len(fence._producers) == len(TPS)
    await fence.close()
    assert [producer.stopped for producer in made] == [True] * 6


async def test_a_broker_that_stays_away_is_not_tried_for_longer_than_a_rebalance_may_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = (kafka.KafkaConnectionError("Unable to bootstrap") for _ in iter(int, 1))
    fence, _ = a_fence(monkeypatch, rebalance_timeout_seconds=0.05)
    monkeypatch.setattr("faust_batches.fence.aiokafka.AIOKafkaProducer", lambda **_: Opening(gone))
    with pytest.raises(TimeoutError):
        await fence.take(TPS, 7)
    await fence.close()


@pytest.mark.parametrize(
    ("refusal", "kind", "told"),
    [
        (
            kafka.InvalidTransactionTimeout(),
            RefusedByBroker,
            "no transaction timeout of 15 s.*transaction.max.timeout.ms",
        ),
        (kafka.TransactionalIdAuthorizationFailed(), NotAllowed, "the transactional id app-source-0 may not be used"),
    ],
)
async def test_what_a_broker_does_not_allow_is_named_with_its_remedy(
    refusal: Exception, kind: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence, _ = a_fence(monkeypatch, refusal)
    with pytest.raises(kind, match=told):
        await fence.take(TPS[:1], 7)
    await fence.close()


@pytest.mark.parametrize("failure", [kafka.KafkaConnectionError("reset"), TimeoutError()], ids=repr)
async def test_partitions_that_could_not_be_taken_are_given_back(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker goes on: a broker that is away is waited for, in the middle of a rebalance too."""
    app, asked = an_app(), []

    async def take_over(*_: object) -> None:
        raise failure

    monkeypatch.setattr(app, "take_over", take_over)
    monkeypatch.setattr(app.batch_consumer._thread, "topics", set)
    monkeypatch.setattr(app.batch_consumer, "request_rejoin", lambda: asked.append("rejoin"))
    await app.batch_consumer.on_partitions_assigned({TPS[0]}, 3)
    assert asked == ["rejoin"]
    assert app.failure is None
    assert [record.message for record in caplog.records] == ["partitions_not_taken"]
