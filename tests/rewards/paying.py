"""A payer for tests: a real HTTP server on loopback that answers as a script says, and remembers what it was told."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeAlias

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import PolicyRef, RewardDenied, RewardGranted, RewardReversed
from referral_stream.core.ids import grant_id
from referral_stream.core.instants import parse_instant
from referral_stream.rewards.orders import PaymentOrder, order_of

SECRET: Final = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET: Final = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()

AT: Final = parse_instant("2026-06-19T10:00:00Z")[0]
_POLICY = PolicyRef(name="default", version=1, hash="0" * 12)


def granted(customer: str, referral: str = "r1") -> bytes:
    """A record of ``referral-rewards``: a grant."""
    head = {"grant_id": grant_id(customer, referral), "referral_id": referral, "customer_id": customer}
    offer = {"programme": "pro", "kind": "credit", "amount_minor": 5_000, "currency": "EUR"}
    return encode_effect(RewardGranted.model_validate({**head, **offer, "granted_at": AT, "policy": _POLICY}), AT)


def reversed_(customer: str, referral: str = "r1") -> bytes:
    """Another: the same grant, taken back."""
    head = {"grant_id": grant_id(customer, referral), "referral_id": referral, "customer_id": customer}
    return encode_effect(
        RewardReversed.model_validate({**head, "reason": "refunded", "reversed_at": AT, "policy": _POLICY}), AT
    )


def denied(customer: str, referral: str = "r1") -> bytes:
    """A third, which the payer is not told."""
    head = {"grant_id": grant_id(customer, referral), "referral_id": referral, "customer_id": customer}
    return encode_effect(
        RewardDenied.model_validate({**head, "reason": "duplicate", "denied_at": AT, "policy": _POLICY}), AT
    )


def an_order(customer: str = "ana", referral: str = "r1", *, offset: int = 0, partition: int = 0) -> PaymentOrder:
    """What is to be told of such a grant."""
    order = order_of(granted(customer, referral), partition=partition, offset=offset, written_at=AT)
    assert order is not None
    return order


@dataclass(frozen=True, slots=True)
class Request:
    """What the payer was told: headers in small letters, the body's bytes."""

    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def customer(self) -> str:
        return str(json.loads(self.body)["data"]["customer_id"])


Answer: TypeAlias = bytes | Callable[[], bytes | None] | None
"""What is sent back, byte for byte; None: the connection is closed without a word. A function is called first."""


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OK: Final = http(200)
SILENCE: Final = b""
"""Nothing is sent, and the connection stays open."""


@dataclass
class PayerServer:
    """Answers with the next of the customer's answers; the last one stays. Without any: ``OK``."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def close() -> None:
            self._server.close()
            for connection in self._connections:
                connection.transport.abort()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(close)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/pay?tenant=secret-part"

    def keys(self) -> list[str]:
        """The idempotency keys, as they came."""
        return [request.key for request in list(self.requests)]

    def by_customer(self) -> dict[str, list[str]]:
        """Likewise, by customer."""
        found: dict[str, list[str]] = defaultdict(list)
        for request in list(self.requests):
            found[request.customer].append(request.key)
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                said = {
                    name: line.split(": ", 1)[1] for line in head[1:] if line for name in [line.split(":")[0].lower()]
                }
                request = Request(said, await reader.readexactly(int(headers.get("content-length", "0"))))
                self.requests.append(request)
                answer = self._answer(request.customer)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()
            self._connections.discard(writer)

    def _answer(self, customer: str) -> bytes | None:
        script = self.answers.get(customer, [OK])
        answer = script.pop(0) if len(script) > 1 else script[0]
        return answer() if callable(answer) else answer
