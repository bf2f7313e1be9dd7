"""What the tables hold, as bytes: a customer's state with its mark, and the next wake-up.

MessagePack by msgspec: arrays without field names, so that new fields are appended with defaults and old values still
read (docs/decisions/0005-state-codec.md). The first byte is the version.
"""

from __future__ import annotations

import msgspec

from referral_stream.core.customer import Customer

VERSION = 1


class Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """``mark``: the offset after the last record of ``customer-events`` that this state has seen."""

    version: int
    mark: int
    customer: Customer


class Wakeup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a customer is due next (epoch ms); ``mark`` as in Stored."""

    due: int
    mark: int


class UnreadableState(Exception):
    """A table value that this version can not read: written by a newer one, or damaged."""


_encoder = msgspec.msgpack.Encoder()
_stored = msgspec.msgpack.Decoder(Stored)
_wakeup = msgspec.msgpack.Decoder(Wakeup)


def encode_customer(customer: Customer, mark: int) -> bytes:
    return _encoder.encode(Stored(VERSION, mark, customer))


def decode_customer(value: bytes) -> Stored:
    """Raises UnreadableState."""
    try:
        stored = _stored.decode(value)
    except msgspec.DecodeError as error:
        raise UnreadableState(f"customer state: {error}") from error
    if stored.version != VERSION:
        raise UnreadableState(f"customer state of version {stored.version}; this program reads {VERSION}")
    return stored


def encode_wakeup(due: int, mark: int) -> bytes:
    return _encoder.encode(Wakeup(due, mark))


def decode_wakeup(value: bytes) -> Wakeup:
    """Raises UnreadableState."""
    try:
        return _wakeup.decode(value)
    except msgspec.DecodeError as error:
        raise UnreadableState(f"wake-up: {error}") from error


def newer_customer(new: bytes, old: bytes) -> bool:
    """Whether ``new`` may follow ``old``: only a worker that had lost its partition writes an older mark."""
    return decode_customer(new).mark >= decode_customer(old).mark


def newer_wakeup(new: bytes, old: bytes) -> bool:
    return decode_wakeup(new).mark >= decode_wakeup(old).mark
