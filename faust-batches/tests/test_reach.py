"""What came of dialling brokers again: some that answer, that are gone, that refuse us, that are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from faust_batches.reach import Reach, reach

Address = tuple[str, int]

OLD, FRONT, NEW = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)


@dataclass
class Network:
    """Who answers, which password counts, and where the brokers say they are."""

    up: Iterable[Address]
    password: str = "now"
    named: Address = NEW

    async def connect(self, host: str, port: int, *, sasl_plain_password: str, **_: object) -> Network:
        await asyncio.sleep(0)
        if (host, port) not in self.up:
            raise KafkaConnectionError("nobody")
        if sasl_plain_password != self.password:
            raise SaslAuthenticationFailed("invalid credentials")
        return self

    async def send(self, _request: object) -> Network:
        return self

    @property
    def brokers(self) -> list[tuple[int, str, int, None]]:
        return [(1, *self.named, None)]

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("network", "held", "fresh", "found"),
    [
        (Network([]), "now", "now", Reach()),
        (Network([OLD, FRONT, NEW]), "now", "now", Reach(known=True)),
        (Network([FRONT, NEW]), "now", "now", Reach(anew=True)),
        (Network([FRONT]), "now", "now", Reach()),  # the one that it names is not there yet
        (Network([OLD, FRONT], named=OLD), "before", "now", Reach(anew=True)),
        (
            Network([OLD, FRONT], named=OLD),
            "before",
            "before",
            Reach(refused="127.0.0.1:2: [Error 58] SaslAuthenticationFailed: invalid credentials"),
        ),
    ],
    ids=["nobody answers", "back", "elsewhere", "half back", "a new password", "an old password"],
)
async def test_a_new_process_would_get_in_or_not(
    network: Network, held: str, fresh: str, found: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faust_batches.reach.create_conn", network.connect)
    settings = {"bootstrap_servers": ["127.0.0.1:2"]}
    held_settings, fresh_settings = ({**settings, "sasl_plain_password": each} for each in (held, fresh))
    assert await reach([OLD], held_settings, fresh_settings) == found
