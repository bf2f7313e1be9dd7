"""Opt-outs by their words: an event whose name nobody listed, but which says that somebody wants to be left in peace.

A name that we do not know is skipped, and an opt-out must never be skipped. So its words are read. What they say is at
most a suppression: only a message that is known to erase does that, and no word lifts anything.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from referral_stream.contracts.outcomes import Fact

REASON: Final = "recognised"
"""The reason of a suppression that was read from the words of a name."""

WORDS: Final = frozenset({
    "unsubscribe", "unsubscribed", "unsubscription", "optout", "optedout", "spam", "complaint", "bounce", "bounced",
    "suppressed", "suppression", "dnc",
    "unsub", "unsubs", "unsubscribes", "optouts", "complained", "complains", "hardbounce", "hardbounced", "spamreport",
    "spamcomplaint", "suppress",
})  # fmt: skip
PHRASES: Final = (
    ("opt", "out"), ("opt", "outs"), ("opt", "outed"), ("opted", "out"), ("do", "not", "contact"), ("un", "subscribe"),
    ("un", "subscribed"),
)  # fmt: skip
"""Words in a row."""

_PARTS: Final = ("unsub", "opt", "spam", "complain", "bounce", "suppress", "dnc", "contact", "subscribe")
"""One of which is in each of the words, and in each of the phrases."""
_READ: Final = 512
"""Characters of a name that are examined."""
_CHUNK = re.compile(r"[^\W\d_]+")
_CASED = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def unlisted(name: str | None) -> tuple[Fact, ...]:
    """What an event means whose name no table lists: an opt-out if its words say so, else nothing.

    The default branch of every adapter, and of CloudEvents whose type is not in the contract.
    """
    return (Fact("customer.suppressed", {"reason": REASON}, guessed=True),) if name and says_opt_out(name) else ()


@lru_cache(maxsize=4_096)
def says_opt_out(name: str) -> bool:
    """Whether a name, split at non-letters and changes of case, has one of the words or phrases."""
    if name.isascii():  # most names say nothing of the kind, which is quickly seen
        lower = name.lower()
        for part in _PARTS:
            if part in lower:
                break
        else:
            return False
    chunks = _CHUNK.findall(unicodedata.normalize("NFKC", name[:_READ]))
    for words in ([c.lower() for c in chunks], [w.lower() for c in chunks for w in _CASED.split(c)]):
        if not WORDS.isdisjoint(words):
            return True
        if any(tuple(words[i : i + len(p)]) == p for p in PHRASES for i in range(len(words))):
            return True
    return False
