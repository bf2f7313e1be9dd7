"""How far a partition is told: the committed offset, and in the metadata beside it what behind it is told already.

One customer who is tried again and again holds the offset back, for days perhaps. Without this, a restart would tell
the payer everything behind it once more, when it may long have forgotten the idempotency keys.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_CHARACTERS: Final = 4_000
"""Of the metadata; brokers take 4,096 bytes (``offset.metadata.max.bytes``)."""

_FORM: Final = re.compile(r"told:1 (?P<upto>[0-9]{1,19})(?P<open>(?: [0-9]{1,19})*)")


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """All offsets below ``next`` are told; from there to ``upto`` those that are not in ``untold``, which is sorted."""

    next: int
    upto: int
    untold: tuple[int, ...] = ()

    def is_told(self, offset: int) -> bool:
        if offset < self.next:
            return True
        at = bisect_left(self.untold, offset)
        return offset < self.upto and not (at < len(self.untold) and self.untold[at] == offset)

    def metadata(self) -> str:
        """For the broker, as differences. What does not fit counts as untold: it is told again, under the same keys."""
        if self.upto <= self.next:
            return ""
        upto, written = self.upto, ""
        for offset in self.untold:
            more = f" {offset - self.next}"
            if len(written) + len(more) > MOST_CHARACTERS - len("told:1 ") - 20:
                upto = offset
                break
            written += more
        return f"told:1 {upto - self.next}{written}"


def progress_of(offset: int, metadata: str) -> GroupProgress:
    """What was committed; of metadata that are not ours, such as an operator's, the offset alone counts."""
    found = _FORM.fullmatch(metadata)
    if found is None:
        return GroupProgress(offset, offset)
    untold = sorted({offset + int(each) for each in found["open"].split()})
    return GroupProgress(offset, offset + int(found["upto"]), tuple(untold))


def progress_from(read_to: int, untold: Iterable[int]) -> GroupProgress:
    """Of a partition that is read up to ``read_to`` (the next offset) and of which ``untold`` are open."""
    still = tuple(sorted(untold))
    return GroupProgress(still[0] if still else read_to, read_to, still)
