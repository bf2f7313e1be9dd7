"""Stamps: which event wrote a signal, and which of two is newer."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from referral_stream.core.events import Event, is_favourable
from referral_stream.core.ids import short

LONGEST_SOURCE, LONGEST_ID = 24, 40
"""Bytes of the source and of the id of an event in a stamp, likewise: they only decide between two of one time."""


@lru_cache(maxsize=1_024)
def kept_source(source: str) -> str:
    """The same few sources come again and again, and some are long."""
    return short(source, LONGEST_SOURCE)


class Stamp(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """When and by which event a signal was written; the order is that of last-writer-wins.

    At one time what protects counts as newer than what speaks for asking (identity §1).
    """

    time: int
    protective: bool
    source: str
    id: str

    @classmethod
    def of(cls, event: Event) -> Stamp:
        id_ = event.id
        if len(id_) > LONGEST_ID or not id_.isascii():  # few are: spare the others a call
            id_ = short(id_, LONGEST_ID)
        return cls(event.time, not is_favourable(event.data), kept_source(event.source), id_)


class Flag(msgspec.Struct, frozen=True, array_like=True, gc=False):
    at: Stamp
    value: bool


class Word(msgspec.Struct, frozen=True, array_like=True, gc=False):
    at: Stamp
    value: str
