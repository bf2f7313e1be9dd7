"""A console to look at: the demo's week, replayed up to an instant and applied to the read models.

Run it by itself to look at the pages: ``python -m tests.console.world`` prints an address and two tokens.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from referral_stream.console.comparing import Comparer
from referral_stream.console.parts import Console, Letters
from referral_stream.console.security import Tokens, digest_of
from referral_stream.console.serve import listening
from referral_stream.console.store import SharedStore
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.customer import Customer
from referral_stream.core.instants import HOUR
from referral_stream.core.policy import Policy
from referral_stream.demo.play import demo_policy
from referral_stream.demo.world import START, demo_world
from referral_stream.ops.deadletters import DeadLetters, ReplayOutcome
from referral_stream.read_models import Reader
from referral_stream.read_models.views import RoleState
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.writer import NotWritten
from referral_stream.replay.reading import Counts, FactLog, open_log
from referral_stream.replay.virtual_run import FactReplay, Happened
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.settings import ConsoleSettings, read_console_settings
from tests.read_models.seeding import Applying, a_held_reward, a_switch

WEDNESDAY_NOON = int(START.timestamp() * 1_000) + 27 * HOUR
"""Deniz has given a top score, and ticket 4711 is open."""
OPERATORS, VIEWERS = "an-operators-token-0123456789", "a-viewers-token-0123456789"


@cache
def demo_week(until: int = WEDNESDAY_NOON) -> tuple[tuple[Happened, ...], tuple[Customer, ...], Policy]:
    """What had happened by this instant, and the states then."""
    policy = demo_policy()
    boundary = Boundary(email_key=b"referral-stream-test-key", identity=policy.identity)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "world.jsonl"
        log.write_text("".join(json.dumps(line) + "\n" for line in demo_world()), encoding="utf-8")
        with open_log(log, boundary, Counts(), lambda *_: None) as opened:
            assert isinstance(opened, FactLog)
            replay = FactReplay(policy)
            happened = [item for items in replay.run(opened.arrivals, until) for item in items]
    return tuple(happened), tuple(replay.customers.values()), policy


def _by_topic(happened: Iterable[Happened]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for now, effect in happened:
        if (message := EFFECT_MESSAGES.get(type(effect))) is not None:
            found.setdefault(message.topic, []).append(encode_effect(effect, now))
    return found


async def seed_demo(client: Redis, prefix: str, until: int = WEDNESDAY_NOON) -> Applying:
    """The read models of the demo's week."""
    happened, customers, _ = demo_week(until)
    world = Applying(client, prefix=prefix, now=until)
    topics = _by_topic(happened)
    await world.states(*customers)
    await world.decisions(*topics.get("referral-decisions", ()))
    await world.records(*topics.get("referral-records", ()))
    await world.followups(*topics.get("referral-followups", ()))
    await world.rewards(*topics.get("referral-rewards", ()))
    await world.writer.tell_roles(
        [RoleState(role, f"{prefix}-{role}", 2, 24, 0, until) for role in ("ingest", "decide", "ledger", "projector")]
    )
    return world


@dataclass
class NotingWriter:
    """Keeps what would be written; ``fails``: as where no broker answers."""

    written: list[SourceRecord] = field(default_factory=list)
    fails: bool = False

    async def write(self, records: Sequence[SourceRecord]) -> None:
        if self.fails:
            raise NotWritten("no acknowledgement in time")
        self.written += records

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.written]


def tokens_file(folder: Path) -> Path:
    file = folder / "tokens"
    file.write_text(
        f"ada operator {digest_of(OPERATORS)}\nvic viewer {digest_of(VIEWERS)}  # of the growth team\n",
        encoding="utf-8",
    )
    return file


def console_over(
    redis_url: str,
    folder: Path,
    *,
    prefix: str,
    at: int = WEDNESDAY_NOON,
    writer: Any = None,
    models: str | None = None,
    **settings: Any,
) -> Console:
    """The parts of a console, whose clock begins at an instant; ``models``: the prefix of other read models."""
    policy = demo_week()[2]
    client = Redis.from_url(redis_url, socket_timeout=2.0, socket_connect_timeout=2.0)
    given: dict[str, Any] = {
        "redis_url": redis_url, "group_prefix": prefix, "console_port": 0, "console_tokens_file": tokens_file(folder),
    }  # fmt: skip

    async def read() -> DeadLetters:
        return DeadLetters((), 0)

    async def replay(_letters: Any) -> ReplayOutcome:
        return ReplayOutcome()

    store, reader = SharedStore(client, prefix), Reader(client, prefix=models or prefix)
    found: ConsoleSettings = read_console_settings({}, **{**given, **settings})
    return Console(
        settings=found,
        policy=policy,
        clock=Clock(at, Clock().now()),
        reader=reader,
        store=store,
        writer=writer or NotingWriter(),
        letters=Letters(read, replay),
        tokens=Tokens(found.console_tokens_file),
        comparer=Comparer(store, reader.bodies, policy),
    )


async def _look() -> None:
    from tests.services.redis import RedisServer

    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        async with Redis.from_url(server.url) as client:
            world = await seed_demo(client, "look")
            await world.rewards(a_held_reward("cus-ana", WEDNESDAY_NOON - HOUR))
            await world.controls(a_switch(WEDNESDAY_NOON - 3 * HOUR, scope="trigger", name="renewal"))
        console = console_over(server.url, Path(folder), prefix="look", console_port=8099)
        async with listening(console) as (port, _):
            print(f"http://127.0.0.1:{port}  operator {OPERATORS}  viewer {VIEWERS}", flush=True)  # noqa: T201 (for whoever looks)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_look())
