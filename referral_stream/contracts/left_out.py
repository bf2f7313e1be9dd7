"""Records of ``customer-events`` that the decide agent could not apply for a reason that is not in the log.

How large a state may be is said by the broker (``max.message.bytes`` of its changelog), so nothing that an exact replay
reads would tell it which records the worker had left out. The worker therefore appends, in the same transaction, a note
of each: a record without a value, under the key of the record that it is about, on the same partition, later. A replay
looks for notes first (docs/decisions/0018-states-that-do-not-fit.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from referral_stream.contracts.records import NOW_HEADER, ClientRecord, Headers, RawRecord

NOT_APPLIED_HEADER: Final = "not-applied"
"""On a note: the offset of the record that it is about, how it was left out, and why."""

STATE_TOO_LARGE: Final = "state_too_large"
"""The cause where the state would not have fitted a record of its changelog."""

How: TypeAlias = Literal["held", "kept"]
"""``held``: the state of before, in quarantine, took its place. ``kept``: that did not fit either: the state stays as
it is stored, and the table of wake-ups says that nobody may be asked."""

UNFIT: Final[dict[How, str]] = {
    "held": "not applied: with it the state would not fit a record of its changelog",
    "kept": "not applied: the state does not fit a record of its changelog",
}
"""The detail of its dead letter. The core has letters of that cause too, of records that were applied."""


class LeftOut(NamedTuple):
    """Which record was left out; ``detail`` is what kind of error our code raised, empty where it raised none."""

    offset: int
    how: How
    cause: str
    detail: str = ""


Notes: TypeAlias = dict[tuple[int, int], LeftOut]
"""By partition and offset of the records that they are about."""

_WRITTEN = re.compile(r"(\d{1,19}) (held|kept) ([a-z_]{1,64})(?: (\w{1,128}))?").fullmatch


def note_headers(left_out: LeftOut, now: int) -> Headers:
    """The headers of the note of a record that was left out at ``now``."""
    return (
        (NOW_HEADER, b"%d" % now),
        (NOT_APPLIED_HEADER, " ".join(map(str, left_out)).strip().encode("ascii", "replace")),
    )


def note_of(record: ClientRecord) -> LeftOut | None:
    """What a note says; None for any other record."""
    if record.value is not None or not record.headers:
        return None
    said = _WRITTEN(RawRecord.of(record).header(NOT_APPLIED_HEADER) or "")
    if said is None:
        return None
    offset, how, cause, detail = said.groups()
    return LeftOut(int(offset), cast("How", how), cause, detail or "")


def told_unfit(error: str) -> How | None:
    """How a record was left out that did not fit, as its dead letter's error says; None for any other error."""
    return next((how for how, detail in UNFIT.items() if error == f"{STATE_TOO_LARGE}: {detail}"), None)


def notes_in(records: Iterable[ClientRecord]) -> Notes:
    """All notes among these records."""
    found = ((record.partition, note_of(record)) for record in records)
    return {(partition, note.offset): note for partition, note in found if note is not None}
