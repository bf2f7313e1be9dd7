"""Carrying out what an operator has confirmed, and the list of who did what."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from referral_stream.console.controls import Action, NotPossible
from referral_stream.console.parts import Console
from referral_stream.read_models import Control, Controls, NotReadable
from referral_stream.runtime.topics_admin import TopicsProblem

logger = logging.getLogger(__name__)

_SWITCHES: Final = ("pause", "resume")


class Done(msgspec.Struct, frozen=True):
    """An entry of the list: when (epoch ms), what in words, about which customer, by whom and why."""

    at: int
    what: str
    by: str
    why: str
    customer: str | None = None


async def carry_out(console: Console, action: Action, word: str) -> str | None:
    """Does what an action says; the id of the event that was written, if one was. Raises NotPossible, NotWritten."""
    at, event_id = console.clock.now(), None
    if action.verb == "replay_dead_letters":
        await _replay(console, action)
    else:
        record = action.record(word, at, console.topics)
        await console.writer.write([record])
        event_id = str(msgspec.json.decode(record.value)["id"])
    logger.info("control", extra={"verb": action.verb, "by": action.by, "event_id": event_id})
    if action.verb not in _SWITCHES:  # those the projector has from the log, whoever threw them
        try:
            done = Done(at, action.what, action.by, action.why, action.customer)
            await console.store.note(msgspec.json.encode(done))
        except NotReadable:
            logger.warning("control_not_noted", extra={"verb": action.verb, "event_id": event_id})
    return event_id


async def _replay(console: Console, action: Action) -> None:
    from referral_stream.ops.deadletters import together  # noqa: PLC0415 (it loads Faust)

    try:
        box = await console.letters.read()
        chosen = [letter for letter in box.open if letter.failure.id in action.letters]
        await console.letters.replay(together(chosen, box))
    except TopicsProblem as problem:
        raise NotPossible(str(problem)) from None


async def done_by(console: Console) -> list[Done]:
    """What was done here, but for switches; the newest first."""
    return [msgspec.json.decode(entry, type=Done) for entry in await console.store.notes()]


def audit_of(controls: Controls, noted: Sequence[Done]) -> list[Done]:
    """All of it, the newest first."""
    thrown = [Done(each.at, _thrown(each), each.by, each.why) for each in controls.audit]
    return sorted([*thrown, *noted], key=lambda each: -each.at)


def _thrown(switch: Control) -> str:
    what = "everything" if switch.scope == "all" else f"{switch.scope} {switch.name}"
    return f"{'paused' if switch.paused else 'resumed'} {what}"
