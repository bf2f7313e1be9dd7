"""What the tables hold, as bytes: a customer's state with its mark, and the next wake-up.

A state is its version in one byte, then MessagePack by msgspec under LZ4 (docs/decisions/0005-state-codec.md): arrays
without field names, so that new fields can be appended with defaults and old values still read; compressed, because the
same few sources and ids recur in every signal.
"""

from __future__ import annotations

import lz4.block
import msgspec

from referral_stream.core.customer import Customer

VERSION = 1

LARGEST_STATE = 64 << 20
"""The largest uncompressed size a state may declare: damaged bytes must not make us allocate all memory."""


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """``mark``: the offset after the last record of ``customer-events`` that this state has seen."""

    mark: int
    customer: Customer


class Wakeup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a customer is due next (epoch ms); ``mark`` as in Stored."""

    due: int
    mark: int


class UnreadableState(Exception):
    """A table value that this version cannot read: written by a newer one, or damaged."""


class OtherVersion(UnreadableState):
    """Written by another version of this program: it must not be touched."""


_PREFIX = bytes([VERSION])
_VERSIONS = range(1, 32)
"""Any other first byte is damage."""
_encoder = msgspec.msgpack.Encoder()
_stored = msgspec.msgpack.Decoder(Stored)
_wakeup = msgspec.msgpack.Decoder(Wakeup)


def encode_customer(customer: Customer, mark: int) -> bytes:
    compressed: bytes = lz4.block.compress(_encoder.encode(Stored(mark, customer)))
    return _PREFIX + compressed


def decode_customer(value: bytes) -> Stored:
    """Raises UnreadableState."""
    if value[:1] != _PREFIX:
        if value and value[0] in _VERSIONS:
            raise OtherVersion(f"customer state of version {value[0]}; this program reads {VERSION}")
        raise UnreadableState("customer state: damaged")
    if int.from_bytes(value[1:5], "little") > LARGEST_STATE:
        raise UnreadableState("customer state: damaged")
    try:
        return _stored.decode(lz4.block.decompress(memoryview(value)[1:]))
    except (lz4.block.LZ4BlockError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise UnreadableState(f"customer state: {error}") from error


def encode_wakeup(due: int, mark: int) -> bytes:
    return _encoder.encode(Wakeup(due, mark))


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
        return decode_customer(new).mark >= decode_customer(old).mark
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
    try:
        return decode_wakeup(value).due
    except UnreadableState:
        return 0
