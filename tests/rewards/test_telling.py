"""The attempts, against a real HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from referral_stream.rewards.answers import Backoff, TellingOutcome
from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.orders import PaymentOrder, order_of
from referral_stream.rewards.payer import MEDIA_TYPE, Payer
from referral_stream.rewards.progress import GroupProgress
from referral_stream.rewards.settlements import NotSettled
from referral_stream.rewards.signing import Signer
from referral_stream.rewards.telling import PayerGone, Telling
from tests.receiver.running import until
from tests.rewards.paying import (
    AT,
    OK,
    OLD_SECRET,
    SECRET,
    SILENCE,
    PayerServer,
    granted,
    http,
    reversed_,
)
from tests.rules import rule
from tests.services.certificates import issue_certificates

CUT = b"HTTP/1.1 200 O"
"""The beginning of an answer; the connection stays open."""

SOON = Backoff(lambda: 0.0, first_seconds=0.02, most_seconds=0.05)


@dataclass
class Settled:
    """Where final refusals go; ``fails`` so often first."""

    fails: int = 0
    written: list[tuple[str, str | None]] = field(default_factory=list)

    async def write(self, order: PaymentOrder, reference: str | None) -> None:
        if self.fails:
            self.fails -= 1
            raise NotSettled("NotEnoughReplicasError")
        self.written.append((order.grant_id, reference))


@dataclass
class Role:
    """The role without a broker: orders go in by hand."""

    backlog: RewardsBacklog
    telling: Telling
    settled: Settled
    running: asyncio.Task[None]
    now: Callable[[], int]
    offset: int = 0

    def read(self, *values: bytes) -> list[PaymentOrder]:
        """Records, as if they were read from partition 0."""
        found = []
        for value in values:
            order = order_of(value, partition=0, offset=self.offset, written_at=AT)
            assert order is not None
            self.backlog.read(0, self.offset, order, self.now())
            self.offset += 1
            found.append(order)
        self.telling.wake()
        return found

    async def all_told(self) -> None:
        await until(lambda: self.running.done() or self.backlog.waiting() == {0: 0}, "all is told", seconds=60)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def telling(
    url: str,
    *,
    most: int = 8,
    timeout_seconds: float = 20.0,
    backoff: Backoff = SOON,
    now: Callable[[], int] = now_ms,
) -> AsyncIterator[Role]:
    backlog, settled = RewardsBacklog(1_000), Settled()
    backlog.open(0, GroupProgress(0, 0))
    async with Payer(url, tls=ssl.create_default_context(), timeout_seconds=timeout_seconds) as payer:
        told = Telling(backlog, payer, settled, Signer([SECRET, OLD_SECRET]), backoff, most=most, now=now)
        running = asyncio.create_task(told.run())
        try:
            yield Role(backlog, told, settled, running, now)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await told.finish(0)


@pytest.fixture
def server() -> PayerServer:
    return PayerServer()


@rule("A4.19")
async def test_the_payer_gets_the_event_as_it_stands_with_key_and_signatures(server: PayerServer) -> None:
    with server:
        async with telling(server.url) as role:
            (order,) = role.read(granted("ana"))
            await role.all_told()
        (request,) = server.requests
    assert request.body == granted("ana")
    assert request.headers["content-type"] == MEDIA_TYPE
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == order.grant_id
    assert len(request.headers["webhook-signature"].split()) == 2
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert request.headers["user-agent"].startswith("referral-stream/")


@rule("A4.19")
@pytest.mark.parametrize(
    "answer",
    [
        http(500),
        http(503, Retry_After="0"),
        http(429, Retry_After="Fri, 19 Jun 2020 10:00:00 GMT"),
        http(401),
        http(404),
        http(400, b'{"error": "no"}'),
        None,
        CUT,
        b"nonsense\r\n\r\n",
        SILENCE,
    ],
    ids=["500", "503", "429", "401", "404", "400", "closed", "cut", "no HTTP", "silence"],
)
async def test_what_is_no_yes_is_tried_again_under_the_same_key(server: PayerServer, answer: bytes | None) -> None:
    server.answers = {"ana": [answer, answer, OK]}
    with server:
        patience = 1.0 if answer in (SILENCE, CUT) else 60.0
        async with telling(server.url, timeout_seconds=patience) as role:
            (order,) = role.read(granted("ana"))
            await role.all_told()
    assert set(server.keys()) == {order.key}
    assert len(server.keys()) == 3 or (len(server.keys()) > 3 and patience == 1.0)
    assert +role.telling.told == {("granted", TellingOutcome.DONE): 1}
    assert role.settled.written == []


@rule("A4.19")
async def test_no_redirection_is_followed(server: PayerServer) -> None:
    with PayerServer() as other, server:
        server.answers = {"ana": [http(307, Location=other.url), http(302, Location=other.url), OK]}
        async with telling(server.url) as role:
            role.read(granted("ana"))
            await role.all_told()
        assert len(server.requests) == 3
        assert other.requests == []


async def test_an_answer_too_many_is_nobody_elses(server: PayerServer) -> None:
    """Two answers to one request: on a connection that is kept, the second would be taken for the next customer's."""
    server.answers = {"ana": [OK + http(422)]}
    with server:
        async with telling(server.url, most=1) as role:
            role.read(granted("ana"), granted("bo"), granted("cy"))
            await role.all_told()
    assert len(server.requests) == 3
    assert role.settled.written == []
    assert +role.telling.told == {("granted", TellingOutcome.DONE): 3}


@rule("A4.20")
async def test_422_is_final_and_settled_as_failed_before_it_counts_as_told(server: PayerServer) -> None:
    server.answers = {"ana": [http(422, b'{"reference": "case-7"}')]}
    with server:
        async with telling(server.url) as role:
            role.settled.fails = 1
            (order,) = role.read(granted("ana"))
            await until(lambda: role.settled.fails == 0, "the first write fails")
            assert role.backlog.progress(0).next == 0, "not told: the broker does not have it"
            await role.all_told()
    assert server.keys() == [order.key], "the payer is not asked again for that"
    assert role.settled.written == [(order.grant_id, "case-7")]
    assert +role.telling.told == {("granted", TellingOutcome.REFUSED): 1}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"reference": 7}', b'{"reference": " "}', b'"x"', b"\xff", b'{"reference": "a\\u0000"}']
)
async def test_a_reference_that_is_no_plain_text_is_none(server: PayerServer, body: bytes) -> None:
    server.answers = {"ana": [http(422, body)]}
    with server:
        async with telling(server.url) as role:
            (order,) = role.read(granted("ana"))
            await role.all_told()
    assert role.settled.written == [(order.grant_id, None)]


async def test_of_a_refused_reversal_nothing_is_settled_and_a_person_is_told(
    server: PayerServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = {"ana": [OK, http(422)]}
    with server:
        async with telling(server.url) as role:
            role.read(granted("ana"), reversed_("ana"))
            await role.all_told()
    assert role.settled.written == []
    assert +role.telling.told == {("granted", TellingOutcome.DONE): 1, ("reversed", TellingOutcome.REFUSED): 1}
    assert [record.levelname for record in caplog.records if record.message == "reversal_refused"] == ["ERROR"]


@rule("A4.20")
async def test_410_ends_the_role_and_marks_nothing(server: PayerServer) -> None:
    server.answers = {"ana": [http(410)]}
    with server:
        async with telling(server.url) as role:
            role.read(granted("ana"))
            with pytest.raises(PayerGone):
                await role.running
            assert role.backlog.progress(0).next == 0
            assert role.settled.written == []


@rule("A4.19")
async def test_a_customers_orders_come_in_order_while_others_overtake(server: PayerServer) -> None:
    server.answers = {"ana": [*[http(500)] * 5, OK]}
    with server:
        async with telling(server.url) as role:
            first, taken_back, later = role.read(granted("ana"), reversed_("ana"), granted("ana", "r2"))
            (bo,) = role.read(granted("bo"))
            await role.all_told()
        by_customer = server.by_customer()
    assert by_customer["ana"] == [first.key] * 6 + [taken_back.key, later.key]
    assert by_customer["bo"] == [bo.key]
    assert server.keys().index(bo.key) < server.keys().index(taken_back.key)


@rule("A4.19")
async def test_more_customers_who_fail_for_ever_than_may_be_in_flight_hold_up_no_other(server: PayerServer) -> None:
    failing = [f"stuck-{n}" for n in range(12)]
    server.answers = {customer: [http(500)] for customer in failing}
    with server:
        async with telling(server.url, most=3) as role:
            role.read(*(granted(customer) for customer in failing))
            await until(lambda: len(server.requests) > 24, "each was tried")
            role.read(*(granted(f"well-{n}") for n in range(12)))
            await until(lambda: role.backlog.waiting() == {0: 12}, "the others are paid", seconds=60)
    well = {customer: count for customer, count in counted(server).items() if customer.startswith("well")}
    assert well == {f"well-{n}": 1 for n in range(12)}


async def test_refusals_that_cannot_be_written_hold_up_no_other(server: PayerServer) -> None:
    """Where ``responses`` takes nothing, whoever is refused waits for that; everybody else is paid."""
    refused = [f"refused-{n}" for n in range(6)]
    server.answers = {customer: [http(422)] for customer in refused}
    with server:
        async with telling(server.url, most=3) as role:
            role.settled.fails = 1_000_000
            role.read(*(granted(customer) for customer in refused), *(granted(f"well-{n}") for n in range(6)))
            await until(lambda: role.backlog.waiting() == {0: 6}, "the others are paid", seconds=60)
            role.settled.fails = 0
            await role.all_told()
    assert counted(server) == dict.fromkeys([*refused, *(f"well-{n}" for n in range(6))], 1)
    assert len(role.settled.written) == 6


def counted(server: PayerServer) -> dict[str, int]:
    return {customer: len(keys) for customer, keys in server.by_customer().items()}


async def test_no_more_are_in_flight_than_may_be(server: PayerServer) -> None:
    server.answers = {f"c{n}": [SILENCE] for n in range(10)}
    with server:
        async with telling(server.url, most=3) as role:
            role.read(*(granted(f"c{n}") for n in range(10)))
            await until(lambda: len(server.requests) == 3, "three are in flight")
            await asyncio.sleep(0.1)
            assert (len(server.requests), role.telling.in_flight) == (3, 3)


async def test_what_is_in_flight_may_end_before_its_partition_goes(server: PayerServer) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly() -> bytes:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)
        return OK

    server.answers = {"ana": [slowly]}
    with server:
        async with telling(server.url) as role:
            (order,) = role.read(granted("ana"))
            await until(lambda: server.requests, "it is in flight")
            finishing = asyncio.create_task(role.telling.finish(30, {0}))
            role.read(granted("bo"))
            await asyncio.sleep(0.1)
            assert server.keys() == [order.key], "nothing new begins meanwhile"
            gate.set()
            await finishing
            assert role.backlog.progress(0).next == 1
            await role.all_told()


async def test_what_takes_too_long_then_is_broken_off_and_not_marked(server: PayerServer) -> None:
    server.answers = {"ana": [SILENCE]}
    with server:
        async with telling(server.url) as role:
            role.read(granted("ana"))
            await until(lambda: server.requests, "it is in flight")
            await role.telling.finish(0.05, {0})
            assert role.backlog.progress(0).next == 0


async def test_what_was_broken_off_does_not_begin_again_before_its_partition_is_gone(server: PayerServer) -> None:
    server.answers = {"ana": [SILENCE]}
    with server:
        async with telling(server.url) as role:
            role.read(granted("ana"))
            await until(lambda: server.requests, "it is in flight")
            with role.telling.held_back():
                await role.telling.finish(0.05, {0})
                await asyncio.sleep(0.1)
                assert len(server.requests) == 1
                role.backlog.drop({0})
            role.telling.wake()
            await asyncio.sleep(0.1)
            assert len(server.requests) == 1


@rule("A4.19")
async def test_retry_after_is_waited_for(server: PayerServer) -> None:
    """The clock jumps when the test says so."""
    shown = [AT]
    server.answers = {"ana": [http(429, Retry_After="3600"), OK]}
    with server:
        async with telling(server.url, now=lambda: shown[0]) as role:
            (order,) = role.read(granted("ana"))
            await until(lambda: server.requests and role.backlog.next_due(), "it is put off")
            assert (role.backlog.next_due() or 0) - AT >= 3_600_000
            shown[0] += 3_599_000
            role.telling.wake()
            await asyncio.sleep(0.1)
            assert len(server.requests) == 1
            shown[0] += 2_000
            role.telling.wake()
            await role.all_told()
    assert server.keys() == [order.key] * 2


async def test_nothing_personal_and_no_address_is_logged(server: PayerServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = {"ana@example.com": [http(500), http(403), None, http(422, b'{"reference": "ref"}')]}
    with server:
        async with telling(server.url) as role:
            role.read(granted("ana@example.com"))
            await role.all_told()
    async with telling(server.url) as role:  # nobody listens any more
        role.read(granted("ana@example.com"))
        await until(lambda: role.telling.trouble == "unreachable", "nobody is there")
    ours = [record for record in caplog.records if record.name.startswith("referral_stream.rewards")]
    said = {record.getMessage() for record in ours}
    assert {"payer_failing", "payer_refusing", "payer_unreachable", "reward_refused", "told"} <= said
    everything = json.dumps(
        [{**vars(record), "exc_info": None, "args": str(record.args)} for record in caplog.records], default=str
    )
    for secret in ("ana@example", "secret-part", SECRET[6:], OLD_SECRET[6:], "EUR", "5000"):
        assert secret not in everything


async def test_a_certificate_that_nobody_vouches_for_is_no_payer(tmp_path: Path) -> None:
    certificates = issue_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with listening:
        body, headers = granted("ana"), Signer([SECRET]).headers("k", granted("ana"), AT)
        async with Payer(url, tls=ssl.create_default_context(), timeout_seconds=20) as strict:
            assert (await strict.tell(body, headers)).cause == "its certificate is not trusted"
        trusting = ssl.create_default_context(cafile=str(certificates.authority))
        async with Payer(url, tls=trusting, timeout_seconds=20) as payer:
            assert (await payer.tell(body, headers)).status == 200
