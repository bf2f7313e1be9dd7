"""A real Redis that fails over: an address that leads elsewhere, the old master alive, demoted or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from referral_stream.core.events import GrantGiven, GrantRefused, ReservationGranted
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerNotReady, LedgerOutdated, LedgerUnavailable, RedisLedger, holds
from tests.ledger.builders import T0, a_grant_request, a_request, answer, granted, history
from tests.rules import rule
from tests.services.redis import RedisServer


class Address:
    """Where both servers are reached: connections stay with the server that they were made to."""

    def __init__(self) -> None:
        self.leads_to = 0
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
        self._streams |= {writer, to_writer}
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    async def close(self) -> None:
        for each in self._streams:
            each.close()
        if self._server is not None:
            self._server.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()


@pytest.fixture
def servers(redis_server: RedisServer) -> Iterator[tuple[RedisServer, RedisServer]]:  # noqa: ARG001 (skips without Redis)
    with RedisServer() as first, RedisServer() as second:
        yield first, second


@pytest.fixture
async def address(servers: tuple[RedisServer, RedisServer]) -> AsyncIterator[Address]:
    address = Address()
    address.leads_to = servers[0]._port
    await address.start()
    yield address
    await address.close()


@asynccontextmanager
async def a_worker(address: Address) -> AsyncIterator[RedisLedger]:
    async with RedisLedger.connect(address.url, Policy(), timeout_seconds=5) as ledger:
        yield ledger


async def replicate(server: RedisServer, of: RedisServer) -> None:
    async with Redis.from_url(of.url) as master:
        await master.config_set("repl-diskless-sync-delay", 0)
    async with Redis.from_url(server.url, decode_responses=True) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", of._port)  # type: ignore[no-untyped-call]
        async with asyncio.timeout(30):
            while (await client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110 (of a server)
                await asyncio.sleep(0.02)


async def promote(server: RedisServer) -> None:
    async with Redis.from_url(server.url) as client:
        await client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


async def test_a_worker_that_knows_of_the_newer_ledger_leaves_the_old_master_though_it_is_alive(
    servers: tuple[RedisServer, RedisServer], address: Address
) -> None:
    async with a_worker(address) as stays, a_worker(address) as moves:
        assert await stays.rebuild(history(), 1)
        await answer(stays, a_request("first", email="same"))
        address.leads_to = servers[1]._port
        assert await moves.rebuild(history(*granted(a_request("first", email="same"))), 2)

        assert isinstance(await answer(stays, a_request("other", customer="cem")), ReservationGranted), (
            "it knows of nothing yet"
        )
        stays.least = 2  # as it reads in the log
        with pytest.raises(LedgerOutdated):
            await answer(stays, a_request("second", customer="dan", email="same"))

        assert not isinstance(
            await answer(stays, a_request("second", customer="dan", email="same")), ReservationGranted
        )
        assert (await stays.apply([a_request("third", customer="ben")])).generation == 2


@rule("A4.10")
async def test_two_servers_and_one_contact_the_newer_ledger_holds_what_the_log_has(
    servers: tuple[RedisServer, RedisServer], address: Address
) -> None:
    ana, ben = a_grant_request("r-ana"), a_grant_request("r-ben", customer="ben", now=T0 + 1)
    async with a_worker(address) as stays, a_worker(address) as moves:
        assert await stays.rebuild(history(), 1)
        assert await stays.apply([ana]) == [GrantGiven(grant_id=ana.grant_id)]
        address.leads_to = servers[1]._port
        assert await moves.rebuild(history(ana, *holds([ana], 1, T0)), 2)

        assert await moves.apply([ben]) == [GrantRefused(grant_id=ben.grant_id, reason="duplicate")]
        assert await moves.apply([ana]) == [GrantGiven(grant_id=ana.grant_id)]
        stays.least = 2
        with pytest.raises(LedgerOutdated):
            await stays.apply([ben])


@pytest.mark.parametrize("back_again", [False, True], ids=["promoted", "demoted and promoted again"])
async def test_a_promoted_server_is_no_ledger_whatever_it_has_copied(
    servers: tuple[RedisServer, RedisServer], address: Address, back_again: bool
) -> None:
    first, second = servers
    async with a_worker(address) as ledger:
        assert await ledger.rebuild(history(), 1)
        await replicate(second, first)
        await promote(second)
        if back_again:  # its run id is the one that the ledger was built on, its data may lack what was written last
            await replicate(first, second)
            await promote(first)
        else:
            address.leads_to = second._port
            await ledger._client.connection_pool.disconnect()

        with pytest.raises(LedgerNotReady):
            await answer(ledger, a_request())


async def test_a_demoted_master_behind_a_fixed_address_is_left_at_once(
    servers: tuple[RedisServer, RedisServer], address: Address
) -> None:
    first, second = servers
    async with a_worker(address) as ledger:
        assert await ledger.rebuild(history(), 1)
        await asyncio.gather(*(ledger.ready() for _ in range(4)))  # several connections
        await replicate(first, second)
        address.leads_to = second._port

        with pytest.raises(LedgerNotReady):
            await answer(ledger, a_request())
        with pytest.raises(LedgerUnavailable, match="READONLY: the server is a replica"):
            await ledger.claim()
        assert await ledger.claim()
        assert await ledger.rebuild(history(), 2)
        assert isinstance(await answer(ledger, a_request()), ReservationGranted)


async def test_too_few_replicas_are_named(servers: tuple[RedisServer, RedisServer], address: Address) -> None:
    async with a_worker(address) as ledger, Redis.from_url(servers[0].url) as client:
        assert await ledger.rebuild(history(), 1)
        await client.config_set("min-replicas-to-write", 1)

        with pytest.raises(LedgerUnavailable, match=r"NOREPLICAS: .* min-replicas-to-write"):
            await answer(ledger, a_request())


async def test_of_several_workers_one_may_begin_to_build(ledger: RedisLedger) -> None:
    assert [await ledger.claim(), await ledger.claim()] == [True, False]
    await ledger.abandon()
    assert await ledger.claim()
