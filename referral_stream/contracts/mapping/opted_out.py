"""The opt-out in a payload that no adapter knows: by the words of what happened, and by the state that it holds."""

from __future__ import annotations

from typing import Any, Final

from referral_stream.contracts.adapters.reading import Facts
from referral_stream.contracts.adapters.states import with_opt_out
from referral_stream.contracts.mapping.paths import Path, value_at
from referral_stream.contracts.opt_outs import unlisted

EVENT_NAMES: Final = (
    "event", "event_type", "event_name", "eventType", "eventName", "type", "topic", "action", "kind", "name",
)  # fmt: skip
"""Where vendors say what happened, unless a source says where else."""
_BY_NAME: Final[tuple[Path, ...]] = tuple((name,) for name in EVENT_NAMES)


def said_by(payload: Any, event: tuple[Path, ...]) -> Facts:
    """A suppression if a notification says that somebody wants to be left in peace, else nothing.

    ``event``: where it says what happened. What only that name says is a mapping's to correct; state is not.
    """
    facts: Facts = ()
    for path in event or _BY_NAME:
        name = value_at(payload, path)
        if isinstance(name, str) and (facts := unlisted(name)):
            break
    return with_opt_out(facts, payload)
