"""State as bytes: every value comes back, and a value of another version is refused."""

from __future__ import annotations

import lz4.block
import msgspec
import pytest

from referral_stream.contracts import state as codec
from referral_stream.core.customer import Customer
from referral_stream.core.effects import RecordPosition
from referral_stream.core.events import Event, Link, Suppressed
from referral_stream.core.links import KeptEvent, LinkState, NamedCustomer
from referral_stream.core.stamps import Stamp

LINK = Link("email", "a" * 64)


def test_a_customer_comes_back_equal() -> None:
    customer = Customer(id="cus-ana", now=1_790_000_000_000, interactions=3, usage={}, seen={2**64 - 1: 5})

    stored = codec.decode_customer(codec.encode_customer(customer, mark=42))

    assert (stored.entity, stored.mark) == (customer, 42)


def test_a_link_comes_back_equal_with_the_events_it_keeps() -> None:
    event = Event(id="e", source="s", type="customer.suppressed", subject="", time=5, data=Suppressed(), link=LINK)
    named = {"ana": NamedCustomer(Stamp(1, True, "s", "i"), 7, theirs=True)}
    link = LinkState(LINK, 9, named, (KeptEvent(event, 5, RecordPosition("t", 1, 2, 3)),), 4, 10)

    stored = codec.decode_state(codec.encode_state(link, mark=42))

    assert (stored.entity, stored.mark) == (link, 42)


def test_a_link_is_no_customer() -> None:
    with pytest.raises(codec.UnreadableState):
        codec.decode_customer(codec.encode_state(LinkState(LINK), 1))
    assert codec.newer_customer(codec.encode_state(LinkState(LINK), 5), codec.encode_state(LinkState(LINK), 4))


def test_a_link_whose_events_are_damaged_is_refused() -> None:
    damaged = codec.Stored(1, LinkState(LINK, kept=(KeptEvent(b"{}", 5),)))
    with pytest.raises(codec.UnreadableState):
        codec.decode_state(bytes([codec.LINK + codec.VERSION]) + lz4.block.compress(msgspec.msgpack.encode(damaged)))


def test_the_same_state_is_the_same_bytes() -> None:
    assert codec.encode_customer(Customer(id="a"), 1) == codec.encode_customer(Customer(id="a"), 1)


def test_a_value_of_another_version_is_refused() -> None:
    newer = bytes([codec.VERSION + 1]) + codec.encode_customer(Customer(id="a"), 0)[1:]
    with pytest.raises(codec.UnreadableState, match=f"version {codec.VERSION + 1}"):
        codec.decode_customer(newer)


STATE = codec.encode_customer(Customer(id="a"), 0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"{}",
        STATE[:1],
        STATE[:-1],
        STATE[:5] + b"\x00" * 9,
        STATE[:1] + b"\xff" * 4 + STATE[5:],
        STATE[:1] + lz4.block.compress(msgspec.msgpack.encode(["x"])),
    ],
)
def test_damaged_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(codec.UnreadableState):
        codec.decode_customer(value)
    with pytest.raises(codec.UnreadableState):
        codec.decode_wakeup(value)


def test_a_state_of_fewer_fields_still_reads() -> None:
    mark, customer = msgspec.msgpack.decode(lz4.block.decompress(codec.encode_customer(Customer(id="a", now=7), 3)[1:]))
    older = STATE[:1] + lz4.block.compress(msgspec.msgpack.encode([mark, customer[:5]]))

    assert codec.decode_customer(older).entity == Customer(id="a", now=7)


@pytest.mark.parametrize(("new", "old", "allowed"), [(5, 4, True), (5, 5, True), (4, 5, False)])
def test_an_older_mark_never_follows_a_newer_one(new: int, old: int, *, allowed: bool) -> None:
    customer = Customer(id="a")
    assert codec.newer_customer(codec.encode_customer(customer, new), codec.encode_customer(customer, old)) is allowed
    assert codec.newer_wakeup(codec.encode_wakeup(1, new), codec.encode_wakeup(2, old)) is allowed


def test_a_damaged_state_counts_as_newer_whichever_way_it_is_compared() -> None:
    damaged = STATE[:-1]
    assert codec.newer_customer(damaged, STATE)
    assert codec.newer_customer(STATE, damaged)
    assert codec.newer_wakeup(b"\xc1", codec.encode_wakeup(1, 5))
    assert codec.newer_wakeup(codec.encode_wakeup(1, 5), b"\xc1")


def test_the_state_of_a_newer_version_is_not_compared() -> None:
    newer = bytes([codec.VERSION + 1]) + STATE[1:]
    for new, old in ((newer, STATE), (STATE, newer)):
        with pytest.raises(codec.OtherVersion):
            codec.newer_customer(new, old)


def test_a_damaged_wakeup_is_due_at_once() -> None:
    assert codec.wakeup_due(codec.encode_wakeup(7, 1)) == 7
    assert codec.wakeup_due(b"\xc1") == 0
