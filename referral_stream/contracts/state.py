"""What the tables hold, as bytes: the state of a customer or a link with its mark, and the next wake-up.

A state is its version in one byte, then MessagePack by msgspec under LZ4 (docs/decisions/0005-state-codec.md): arrays
without field names, so that new fields can be appended with defaults and old values still read; compressed, because the
same few sources and ids recur in every signal. The first byte also tells a link's state from a customer's; the events
that a link keeps are in it as the bytes of their records.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import lz4.block
import msgspec
from msgspec.structs import replace

from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.core.customer import Customer
from referral_stream.core.entities import Entity
from referral_stream.core.instants import LATEST
from referral_stream.core.links import LinkState

VERSION = 1
LINK = 32
"""What is added to the version in the first byte of a link's state."""

LARGEST_STATE = 64 << 20
"""The largest uncompressed size a state may declare: damaged bytes must not make us allocate all memory."""


S_co = TypeVar("S_co", covariant=True)


class Stored(msgspec.Struct, Generic[S_co], array_like=True, frozen=True, gc=False):
    """``mark``: the offset after the last record of ``customer-events`` that this state has seen."""

    mark: int
    entity: S_co


class Wakeup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a customer is due next (epoch ms); ``mark`` as in Stored.

    ``held``: what came up to ``mark`` could not be stored, and may have been anything, an opt-out too: nobody is asked.
    Then nothing is due.
    """

    due: int
    mark: int
    held: bool = False


class UnreadableState(Exception):
    """A table value that this version cannot read: written by a newer one, or damaged."""


class OtherVersion(UnreadableState):
    """Written by another version of this program: it must not be touched."""


_PREFIX = bytes([VERSION])
_LINK_PREFIX = bytes([LINK + VERSION])
_VERSIONS = range(1, 2 * LINK)
"""Any other first byte is damage."""
_encoder = msgspec.msgpack.Encoder()
_customer = msgspec.msgpack.Decoder(Stored[Customer])
_link = msgspec.msgpack.Decoder(Stored[LinkState])
_wakeup = msgspec.msgpack.Decoder(Wakeup)


def encode_state(entity: Entity, mark: int) -> bytes:
    """The state of a customer or a link, as the table holds it."""
    if isinstance(entity, LinkState):
        kept = tuple(replace(each, event=encode_event(each.event)) for each in entity.kept)
        return _LINK_PREFIX + _compressed(Stored(mark, replace(entity, kept=kept)))
    return _PREFIX + _compressed(Stored(mark, entity))


def decode_state(value: bytes) -> Stored[Entity]:
    """Raises UnreadableState."""
    return _decoded_link(value) if value[:1] == _LINK_PREFIX else decode_customer(value)


def encode_customer(customer: Customer, mark: int) -> bytes:
    return encode_state(customer, mark)


def decode_customer(value: bytes) -> Stored[Customer]:
    """Raises UnreadableState, also for a link's state."""
    if value[:1] != _PREFIX:
        if value and value[0] in _VERSIONS:
            raise OtherVersion(f"customer state of version {value[0]}; this program reads {VERSION}")
        raise UnreadableState("customer state: damaged")
    stored: Stored[Customer] = _decompressed(_customer, value)
    return stored


def _decoded_link(value: bytes) -> Stored[LinkState]:
    stored: Stored[LinkState] = _decompressed(_link, value)
    try:
        kept = tuple(replace(each, event=decode_event(each.event)) for each in stored.entity.kept)
    except (Undecodable, TypeError) as error:
        raise UnreadableState(f"link state: {error}") from error
    return Stored(stored.mark, replace(stored.entity, kept=kept))


def _compressed(stored: Stored[Any]) -> bytes:
    compressed: bytes = lz4.block.compress(_encoder.encode(stored))
    return compressed


def _decompressed(decoder: Any, value: bytes) -> Any:
    if int.from_bytes(value[1:5], "little") > LARGEST_STATE:
        raise UnreadableState("customer state: damaged")
    try:
        return decoder.decode(lz4.block.decompress(memoryview(value)[1:]))
    except (lz4.block.LZ4BlockError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise UnreadableState(f"customer state: {error}") from error


def encode_wakeup(due: int, mark: int) -> bytes:
    return _encoder.encode(Wakeup(due, mark))


def encode_hold(mark: int) -> bytes:
    """The entry in the table of wake-ups that says that a state could not be stored."""
    return _encoder.encode(Wakeup(LATEST, mark, held=True))


def decode_wakeup(value: bytes) -> Wakeup:
    """Raises UnreadableState."""
    try:
        return _wakeup.decode(value)
    except msgspec.DecodeError as error:
        raise UnreadableState(f"wake-up: {error}") from error


def newer_customer(new: bytes, old: bytes) -> bool:
    """Whether ``new`` may follow ``old``: only a worker that had lost its partition writes an older mark.

    A damaged one may follow anything, so that nothing continues from an incomplete state. Raises OtherVersion.
    """
    try:
        return decode_state(new).mark >= decode_state(old).mark
    except OtherVersion:
        raise
    except UnreadableState:
        return True


def newer_wakeup(new: bytes, old: bytes) -> bool:
    try:
        return decode_wakeup(new).mark >= decode_wakeup(old).mark
    except UnreadableState:
        return True


def wakeup_due(value: bytes) -> int:
    """When a customer is due next; a damaged entry is due at once, since handling it rewrites it."""
    return read_wakeup(value).due


def read_wakeup(value: bytes) -> Wakeup:
    """An entry; a damaged one is due at once."""
    try:
        return decode_wakeup(value)
    except UnreadableState:
        return Wakeup(0, 0)
