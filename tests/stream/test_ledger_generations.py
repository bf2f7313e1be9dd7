"""Two Redis servers that both think they are the ledger, workers that reach different ones: nobody is asked twice, and
nobody is rewarded for a contact whom somebody else was rewarded for.

Everything but the servers and the log is the real agent. Each worker takes every record of every partition at its own
pace, as if each were the owner and none knew of the other: the worst that a rebalance can bring.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import NamedTuple

import pytest
from faust_batches import Output

from referral_stream.contracts.codec import decode_event, decode_request, encode_effect
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import GrantRequested, LedgerRenewed, ReservationRequested
from referral_stream.core.events import Event, GrantGiven, ReservationGranted
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger, Thrown
from referral_stream.core.ledger.switches import Page
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerNotReady, LedgerOutdated, LedgerUnavailable, Results
from referral_stream.runtime.clock import Clock
from referral_stream.stream import ledger_agent
from referral_stream.stream.generations import Begun, counting
from referral_stream.stream.ledger_agent import LedgerAgent
from tests.ledger.builders import T0, a_grant_request, a_request
from tests.night import by_night
from tests.rules import rule
from tests.stream.records import Consumed
from tests.stream.test_ledger_agent import unread

PARTITIONS = 2
PERSONS = 12
POLICY = Policy()


class Server:
    """A Redis. After a restart, or a promotion, what it holds is no ledger: its run or replication id is another."""

    def __init__(self) -> None:
        self.caps, self.number, self.life, self.claimed = MemoryLedger(POLICY), 0, 0, False

    def lose(self) -> None:
        self.caps, self.number, self.life, self.claimed = MemoryLedger(POLICY), 0, self.life + 1, False


class World:
    """The log, the servers, and where the address of Redis leads; ``pause`` lets the others go on, or not."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.log: list[list[LedgerOperation]] = [[] for _ in range(PARTITIONS)]
        self.announced = 0
        self.told: list[Event] = []
        self.servers = [Server(), Server()]
        self.leads_to = self.servers[0]
        self.over = False

    async def pause(self) -> None:
        for _ in range(self.dice.choice([0, 0, 1, 1, 2, 3, 5, 9, 40])):
            await asyncio.sleep(0)

    async def send(self, outputs: Sequence[Output]) -> None:
        await self.pause()
        for output in outputs:
            if output.topic == "ledger-requests":
                assert output.partition is not None
                self.log[output.partition].append(decode_request(output.value or b""))
            else:
                self.told.append(decode_event(output.value or b""))
        await self.pause()

    # -- as Generations

    async def cluster(self) -> str:
        return ""

    async def newest(self) -> int:
        await self.pause()
        return self.announced

    async def begin(self, least: int) -> Begun:
        await self.pause()
        self.announced = number = max(self.announced, least) + 1
        ends = {}
        for partition in self.dice.sample(range(PARTITIONS), PARTITIONS):
            await self.pause()
            self.log[partition].append(LedgerRenewed(generation=number, now=T0))
            ends[partition] = len(self.log[partition])
        return Begun(number, ends)

    async def history(self, begun: Begun) -> AsyncIterator[LedgerOperation]:
        counted = counting(begun.number)
        for partition, end in begun.ends.items():
            for operation in self.log[partition][:end]:
                if counted(partition, operation):
                    await self.pause()
                    yield operation


class ReachedLedger:
    """A worker's ledger: on the server that it is connected to, until the connection is dropped."""

    def __init__(self, world: World) -> None:
        self.world, self.server, self.least = world, world.leads_to, 0
        self.cluster = ""

    def _ledger(self) -> MemoryLedger:
        if self.world.dice.random() < 0.02:
            self.server = self.world.leads_to
            raise LedgerUnavailable("the connection broke")
        if not self.server.number:
            raise LedgerNotReady("nothing here")
        if self.server.number < self.least:
            self.server = self.world.leads_to
            raise LedgerOutdated("look elsewhere")
        return self.server.caps

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results:
        await self.world.pause()
        ledger = self._ledger()
        results = Results(ledger.apply(each) for each in operations)
        results.generation = self.server.number
        await self.world.pause()
        return results

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]:
        return [False for _ in requests]

    async def page(self, thrown: Thrown, now: int, after: str = "") -> Page:
        raise AssertionError(thrown, now, after)

    async def check(self) -> None:
        await self.world.pause()
        self._ledger()

    async def claim(self) -> bool:
        if self.server.claimed and self.world.dice.random() < 0.9:  # it lapses
            return False
        self.server.claimed = True
        return True

    async def abandon(self) -> None:
        self.server.claimed = False

    async def rebuild(self, records: AsyncIterator[LedgerOperation], number: int) -> bool:
        server, life, built = self.server, self.server.life, MemoryLedger(POLICY)
        async for operation in records:
            built.recall(operation)
        if server.life != life:
            raise LedgerUnavailable("lost")
        if server.number >= number:
            return False
        server.caps, server.number, server.claimed = built, number, False
        return True


class Worker:
    def __init__(self, world: World, *, blind: bool) -> None:
        self.world, self.blind = world, blind
        self.ledger = ReachedLedger(world)
        self.assignment = 0
        self.positions = defaultdict[int, int](int)
        self.agent = self._agent()

    def _agent(self) -> LedgerAgent:
        world, clock = self.world, Clock()
        clock.now = lambda: T0  # type: ignore[method-assign]
        made = LedgerAgent(Topics(), self.ledger, clock, send=world.send, log=world, assignment=lambda: self.assignment)
        if self.blind:
            made._require = lambda generation: None  # type: ignore[method-assign]  # noqa: ARG005
        return made

    async def read(self, partition: int) -> None:
        while not self.world.over:
            await self.world.pause()
            at, found = self.positions[partition], self.world.log[partition]
            some = found[at : at + self.world.dice.randint(1, 5)]
            if not some:
                await asyncio.sleep(0)
                continue
            records = [
                Consumed("ledger-requests", partition, at + n, 1, b"", encode_effect(each, 1))
                for n, each in enumerate(some)
                if not isinstance(each, Event)
            ]
            await self.agent(partition, records, unread)
            if self.positions[partition] == at:
                self.positions[partition] = at + len(some)

    def restart(self) -> None:
        """It knows nothing, and begins where the group has committed, sometimes a little earlier."""
        self.ledger = ReachedLedger(self.world)
        self.agent = self._agent()
        for partition in range(PARTITIONS):
            self.positions[partition] = max(0, self.positions[partition] - self.world.dice.choice([0, 0, 1, 4]))


async def chaos(world: World, workers: Sequence[Worker]) -> None:
    """Failovers with the old master alive, restarts of servers and workers, rebalances; and requests all the time."""
    dice, friends = world.dice, list[str]()
    for number in range(4 * PERSONS):
        person = dice.randrange(PERSONS)
        request = a_request(f"{number}", customer=f"{number}", email=f"of {person}", due=T0, now=T0)
        world.log[number % PARTITIONS].append(request)
        # Nobody has claimed the contact before: the first request that a ledger sees does.
        friends.append(f"friend of {person}")
        for each in {number, dice.randrange(number + 1)}:  # somebody asks again
            reward = a_grant_request(f"{each}", customer=f"{each}", keys=(friends[each],), now=T0 + number)
            world.log[each % PARTITIONS].append(reward)
        for _ in range(dice.choice([0, 5, 50])):
            await asyncio.sleep(0)
        match dice.choice(["", "", "", "failover", "server", "worker", "rebalance", "reconnect"]):
            case "failover":
                world.leads_to = world.servers[world.leads_to is world.servers[0]]
                if dice.random() < 0.5:
                    world.leads_to.lose()  # it was a replica until now
            case "server":
                dice.choice(world.servers).lose()
            case "worker":
                dice.choice(workers).restart()
            case "rebalance":
                dice.choice(workers).assignment += 1
            case "reconnect":
                dice.choice(workers).ledger.server = world.leads_to
            case _:
                pass
    for _ in range(4_000):
        await asyncio.sleep(0)
    world.over = True


class Granted(NamedTuple):
    """The commands that were granted for each address, and the rewards for each contact."""

    asks: dict[str, set[str]]
    rewards: dict[str, set[str]]

    @property
    def twice(self) -> list[set[str]]:
        return [ids for found in self for ids in found.values() if len(ids) > 1]


def granted_by_person(world: World) -> Granted:
    requests = [each for partition in world.log for each in partition]
    persons = {each.command_id: each.email_hmac for each in requests if isinstance(each, ReservationRequested)}
    contacts = {each.grant_id: each.contact_keys[0] for each in requests if isinstance(each, GrantRequested)}
    found = Granted(defaultdict(set), defaultdict(set))
    for event in world.told:
        match event.data:
            case ReservationGranted(command_id=command):
                found.asks[str(persons[command])].add(command)
            case GrantGiven(grant_id=grant):
                found.rewards[contacts[grant]].add(grant)
            case _:
                pass
    return found


async def play(seed: int, *, blind: bool = False) -> Granted:
    world = World(seed)
    workers = [Worker(world, blind=blind) for _ in range(2)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(chaos(world, workers))
        for worker in workers:
            for partition in range(PARTITIONS):
                tasks.create_task(worker.read(partition))
    return granted_by_person(world)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_agent, "ELSEWHERE_SECONDS", 0.001)
    monkeypatch.setattr(ledger_agent, "OTHERS_BUILD_SECONDS", 0.01)
    monkeypatch.setattr(ledger_agent, "_LOOK_AGAIN_SECONDS", 0)


@rule("A4.10")
@pytest.mark.parametrize("seeds", [range(12), by_night(range(12, 300))])
async def test_nobody_is_granted_two_asks_whatever_server_a_worker_takes_for_the_ledger(seeds: range) -> None:
    """And nobody a second reward for one contact."""
    granted = [await play(seed) for seed in seeds]

    assert [ids for each in granted for ids in each.twice] == []
    assert sum(len(each.asks) for each in granted) > len(seeds) * PERSONS / 2, "most were asked in the end"
    assert sum(len(each.rewards) for each in granted) > len(seeds) * PERSONS / 2


@pytest.mark.parametrize("what", ["asks", "rewards"])
async def test_the_same_without_a_look_at_the_log_grants_some_twice(what: str) -> None:
    for seed in range(40):
        if any(len(ids) > 1 for ids in getattr(await play(seed, blind=True), what).values()):
            return
    pytest.fail("the model is too kind")
