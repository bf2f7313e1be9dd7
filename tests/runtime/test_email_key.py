"""Another key for addresses than before is noticed, by whoever hashes them."""

from __future__ import annotations

from typing import Any, Self

import pytest
from faust_batches.positions import entries_of

from referral_stream.core.policy import Policy
from referral_stream.runtime import email_key as module
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.email_key import AnotherEmailKey, fingerprint, keep_email_key, require_same_email_key
from referral_stream.runtime.settings import read_settings
from tests.stream.records import Consumed

FORMER, OTHER = "the key of these tests", "the key of other tests"


def a_deployment(key: str, **settings: Any) -> Deployment:
    return Deployment(read_settings({"REFERRAL_STREAM_EMAIL_KEY": key}, **settings), Policy(), Clock())


class Positions:
    """The topic of positions; what is written there is read as positions are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.written = 0
        self.at_the_same_time: bytes | None = None
        monkeypatch.setattr(module, "last_value", self.read)
        monkeypatch.setattr(module, "AIOKafkaProducer", lambda **_: self)

    async def read(self, _client: object, topic: str, key: bytes) -> bytes | None:
        assert topic == "referral-stream-positions"
        return self.entries.get(key)

    async def send_and_wait(self, _topic: str, value: bytes, key: bytes, *, partition: int) -> None:
        assert partition == 0
        self.written += 1
        self.entries[key] = self.at_the_same_time or value
        (entry,) = entries_of([Consumed("positions", 0, 0, 1, key, value)])
        assert entry.group == "referral-stream-email-key"  # as a position, for every version

    async def start(self) -> Self:
        return self

    async def stop(self) -> None:
        pass


@pytest.fixture
def positions(monkeypatch: pytest.MonkeyPatch) -> Positions:
    return Positions(monkeypatch)


async def test_the_first_key_is_noted_once_and_taken_from_then_on(positions: Positions) -> None:
    await require_same_email_key(a_deployment(OTHER))  # nobody has noted any
    for _ in range(2):
        await keep_email_key(a_deployment(FORMER))
    await require_same_email_key(a_deployment(FORMER))
    assert positions.written == 1


@pytest.mark.parametrize("asks", [keep_email_key, require_same_email_key])
async def test_another_key_is_refused_with_both_fingerprints_and_the_way_out(positions: Positions, asks: Any) -> None:
    await keep_email_key(a_deployment(FORMER))
    with pytest.raises(AnotherEmailKey) as refused:
        await asks(a_deployment(OTHER))
    said, ours = str(refused.value), fingerprint(OTHER.encode())
    assert f"EMAIL_KEY_CHANGED_TO={ours}" in said
    assert fingerprint(FORMER.encode()) in said
    assert FORMER not in said
    assert OTHER not in said
    assert positions.written == 1


async def test_a_change_that_is_meant_is_noted_and_allows_no_third_key(
    positions: Positions, caplog: pytest.LogCaptureFixture
) -> None:
    meant = {"email_key_changed_to": fingerprint(OTHER.encode())}
    await keep_email_key(a_deployment(FORMER))
    await keep_email_key(a_deployment(OTHER, **meant))
    assert "email_key_changed" in caplog.text
    await require_same_email_key(a_deployment(OTHER))
    for key in (FORMER, "the key of third tests"):  # the setting was left as it was
        with pytest.raises(AnotherEmailKey):
            await keep_email_key(a_deployment(key, **meant))
    assert positions.written == 2


async def test_of_two_workers_that_begin_together_with_two_keys_one_is_refused(positions: Positions) -> None:
    positions.at_the_same_time = f"{int(fingerprint(OTHER.encode()), 16)} 24".encode()
    with pytest.raises(AnotherEmailKey):
        await keep_email_key(a_deployment(FORMER))


def test_a_fingerprint_is_an_offset_with_all_its_zeros() -> None:
    found = [fingerprint(f"a key that is long enough {n}".encode()) for n in range(1_000)]
    assert all(len(each) == 14 and 0 <= int(each, 16) < 2**63 for each in found)
    assert any(each.startswith("0") for each in found)
