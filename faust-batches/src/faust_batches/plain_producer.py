"""Publishing outside of transactions: idempotently, with every acknowledgement awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaProducer
from faust.transport.drivers import aiokafka as driver

from faust_batches.batch import Output
from faust_batches.clients import broker_known, close
from faust_batches.errors import BatchRefused, ClockRefused
from faust_batches.meter import Meter
from faust_batches.ports import Ports
from faust_batches.publish import Publisher, Sent


class BatchProducer(driver.Producer):
    """Faust's producer, made so that aiokafka's own retries neither duplicate nor reorder anything."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def settings(self) -> dict[str, Any]:
        """What every producer of this app is made with."""
        return {**self._settings_default(), **self._settings_auth(), **self._settings_extra()}

    async def renew(self) -> None:
        """Continue with a new producer: a refused batch leaves a hole in the sequence of the old one."""
        old, self._producer = self._producer, await self._connected()
        if old is not None:
            await close(old)

    async def on_start(self) -> None:
        """As Faust's, but brokers that are away are waited for."""
        await super(driver.Producer, self).on_start()
        self._producer = await Ports.of(self.app).brokers.answer(self._connected)

    async def on_stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close(producer, seconds=None)
        await super().on_stop()

    async def _connected(self) -> AIOKafkaProducer:
        producer = self._new_producer()
        try:
            with broker_known():
                await producer.start()
        except BaseException:
            await close(producer)
            raise
        return producer


class PlainSender:
    """Publishes through the plain producer, and replaces that when a broker has refused a batch."""

    def __init__(self, publisher: Publisher, meter: Meter, producer: Callable[[], BatchProducer]) -> None:
        self._publisher = publisher
        self._meter = meter
        self._faust_producer = producer

    @property
    def producer(self) -> AIOKafkaProducer:
        return self._faust_producer()._ensure_producer()

    async def send(self, outputs: Sequence[Output]) -> None:
        """Publish ``outputs``; returns when the broker has acknowledged all of them. Raises as ``acknowledged``."""
        if not outputs:
            return
        admitted = self._publisher.admit(outputs)
        begun = monotonic()
        await self.acknowledged(await self._publisher.send(self.producer, admitted))
        self._meter.publish_seconds.observe(monotonic() - begun)

    async def acknowledged(self, sent: Sequence[Sent]) -> None:
        """As ``Publisher.acknowledged``, for what went through ``producer``."""
        try:
            await self._publisher.acknowledged(sent)
        except (BatchRefused, ClockRefused):
            await self._faust_producer().renew()
            self._meter.producers_renewed += 1
            raise
