"""Events in plain words: "ticket 4711 was opened", for people reading a customer's events.

Names of contacts and other people's words are left out: an explanation gets pasted into tickets and chats.
"""

from __future__ import annotations

from typing import Any

from referral_stream.core import events as ev
from referral_stream.core.events import Data, Event
from referral_stream.words.phrases import Phrases, phrases


def happened(event: Event) -> str:
    """What the event says about its customer; a type without a phrase is shown by name."""
    words = phrases()
    if isinstance(event.data, ev.ProfileChanged):
        return _profile(event.data, words)
    return words.say("events", event.type, **_fields(event.data))


def if_it_happens(data: Data) -> str:
    """An event that might come, as a condition: "ticket 4711 is solved well"."""
    if isinstance(data, ev.ProfileChanged) and data.channels is not None:
        return phrases().say("changes", data.type, **_fields(data) | {"channels": _channels(data.channels)})
    return phrases().say("changes", data.type, **_fields(data))


def _fields(data: Data) -> dict[str, Any]:
    return dict(data)


def _channels(reachable: ev.ReachableChannels) -> str:
    words = phrases()
    named = [words.word("channels", name) for name in ev.CHANNELS if getattr(reachable, name)]
    return f" {words.word('words', 'and')} ".join(named)


def _profile(data: ev.ProfileChanged, words: Phrases) -> str:
    changes = [
        words.say("profile", "field", name=name, value=value)
        for name in ("time_zone", "locale", "segment", "account_id")
        if (value := getattr(data, name)) is not None
    ]
    if data.channels is not None:
        channels = _channels(data.channels)
        changes.append(words.say("profile", "reachable" if channels else "unreachable", channels=channels))
    changes += [
        words.say("profile", name, **{name: value})
        for name in ("champion", "requires_approval")
        if (value := getattr(data, name)) is not None
    ]
    return words.say("profile", "changes" if changes else "changed", changes=", ".join(changes))
