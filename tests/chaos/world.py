"""Broker and Redis of a soak, how its workers reach them, and what may befall them."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from tests.chaos.plan import Fault
from tests.services.kafka import KafkaServer
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

_BETWEEN_RESETS_SECONDS: Final = 1.5


class World:
    """With `proxies`, workers reach both through addresses that stay, as behind a load balancer, and a Redis is spare.

    Tests and judges read from the broker itself. Attributes: `brokers` and `redis_url` are the workers' settings.
    """

    def __init__(self, *, proxies: bool) -> None:
        self.kafka = KafkaServer()
        self._master = RedisServer(append_only=True)
        self._spare: RedisServer | None = None
        self._context = ExitStack()
        self.brokers, self.redis_url = self.kafka.bootstrap, self._master.url
        if proxies:
            self._spare = RedisServer(append_only=True)
            self._redis = Proxy(self._master.port)
            self._told = Proxy(0)
            self._listens = self.kafka.behind(self._told.port)
            self._told.lead_to(self._listens)
            self._bootstrap = Proxy(self._listens)
            self.brokers = f"127.0.0.1:{self._bootstrap.port}"
            self.redis_url = f"redis://127.0.0.1:{self._redis.port}/0"

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self.kafka)
            starting.enter_context(self._master)
            if self._spare is not None:
                starting.enter_context(self._spare)
                for proxy in (self._redis, self._bootstrap):
                    starting.enter_context(proxy)
                self._told.start()
                starting.callback(self._close_told)
            self._context = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def _close_told(self) -> None:
        self._told.close()  # whichever it is by then

    def inflict(self, fault: Fault, rng: random.Random) -> str:
        """Returns when whatever was struck is there again; the name of it."""
        match fault:
            case Fault.BROKER:
                self.kafka.kill9()
                last(rng, 0, 4)
                self.kafka.start()
            case Fault.REDIS | Fault.REDIS_FORGETS:
                self._master.kill9()
                if fault is Fault.REDIS_FORGETS:
                    self._master.forget()
                last(rng, 0, 8)
                self._master.start()
                return "Redis"
            case Fault.BROKER_MOVES:
                self._move()
            case Fault.HALF_OPEN:
                silent = self._told.silence() + self._bootstrap.silence()
                last(rng, 5, 10)
                return f"{silent} connections"
            case Fault.RESETS:
                return f"{self._reset_for(rng.uniform(10, 20))} connections"
            case Fault.REDIS_DEMOTED | Fault.REDIS_SPLIT:
                return self._fail_over(rng, splits=fault is Fault.REDIS_SPLIT)
            case _:
                raise ValueError(f"{fault} strikes no service")
        return "broker"

    def _move(self) -> None:
        """The bootstrap address leads to it as before; the one that it tells its clients is another."""
        self.kafka.stop()
        self._told.close()
        self._told = Proxy(self._listens).start()
        self.kafka.behind(self._told.port)
        self.kafka.start()

    def _reset_for(self, seconds: float) -> int:
        until, ended = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            ended += self._told.reset() + self._bootstrap.reset()
            time.sleep(_BETWEEN_RESETS_SECONDS)
        return ended

    def _fail_over(self, rng: random.Random, *, splits: bool) -> str:
        """The spare becomes the master. Connections that are there stay on the old one, new ones go to the new one.

        The old one is demoted to a replica. Or it is not (`splits`): it goes on, and the new one lacks its last
        writes; half of the connections break, and after some seconds the old one is gone.
        """
        old, new = self._master, self._spare
        if new is None:
            raise ValueError("there is no second Redis")
        new.follow(old)
        new.follow(None)
        if splits:
            last(rng, 1, 3)
            self._redis.lead_to(new.port)
            self._redis.reset(0.5, rng)
            last(rng, 4, 10)
            old.kill9()
            old.forget()
            old.start()
        else:
            self._redis.lead_to(new.port)
            old.follow(new)
            last(rng, 2, 6)
        self._master, self._spare = new, old
        return "Redis"


def last(rng: random.Random, least: float, most: float) -> None:
    """Let the fault last: this is no synchronisation, nothing is expected afterwards."""
    time.sleep(rng.uniform(least, most))
