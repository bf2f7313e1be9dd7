"""Carrying out what an operator has confirmed, and the list of who did what."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from referral_stream.console.controls import ControlAction, NotPossible
from referral_stream.console.parts import Console
from referral_stream.read_models import Control, Controls, NotReadable
from referral_stream.runtime.settings import SettingsProblem
from referral_stream.runtime.topics_admin import TopicsProblem

logger = logging.getLogger(__name__)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the list: when (epoch ms), what in words, about which customer, by whom and why.

    ``switch``: whether it paused, and what, where it threw one. ``read``: whether the workers have read it.
    """

    at: int
    what: str
    by: str
    why: str
    customer: str | None = None
    switch: tuple[bool, str, str | None] | None = None
    read: bool = True


async def carry_out(console: Console, action: ControlAction, word: str) -> str | None:
    """Does what an action says; the id of the event that was written, if one was. Raises NotPossible, NotWritten."""
    at, event_id = console.clock.now(), None
    if action.verb == "replay_dead_letters":
        await _replay(console, action)
    else:
        record = action.record(word, at, console.topics)
        await console.writer.write([record])
        event_id = str(msgspec.json.decode(record.value)["id"])
    logger.info("control", extra={"verb": action.verb, "by": action.by, "event_id": event_id})
    switch = None if action.scope is None else (action.verb == "pause", action.scope, action.name)
    done = Done(at=at, what=action.what, by=action.by, why=action.why, customer=action.customer, switch=switch)
    try:
        await console.store.note(msgspec.json.encode(done))
    except NotReadable:
        logger.warning("control_not_noted", extra={"verb": action.verb, "event_id": event_id})
    return event_id


async def _replay(console: Console, action: ControlAction) -> None:
    from referral_stream.ops.deadletters import together  # noqa: PLC0415 (it loads Faust)

    try:
        box = await console.letters.read()
        chosen = [letter for letter in box.open if letter.failure.id in action.letters]
        await console.letters.replay(together(chosen, box))
    except (TopicsProblem, SettingsProblem, ValueError, OSError) as problem:  # the settings are those of the workers
        raise NotPossible(str(problem)) from None


async def done_by(console: Console) -> list[Done]:
    """What was done here, the newest first."""
    return [msgspec.json.decode(entry, type=Done) for entry in await console.store.notes()]


def audit_of(controls: Controls, noted: Sequence[Done]) -> list[Done]:
    """Everything that was done, the newest first: here, and switches that others threw.

    Past ingest, ``by`` and ``why`` are keys alone (identity §5), so the words are those that were noted here. A switch
    that is noted and not in the log yet has not been read by the workers.
    """
    here = {(each.at, each.switch): each for each in noted if each.switch is not None}
    thrown = {(each.at, _switch(each)): each for each in controls.audit}
    others = [
        Done(at=each.at, what=_what(each), by=each.by, why=each.why) for key, each in thrown.items() if key not in here
    ]
    oldest = min((each.at for each in controls.audit), default=0)
    ours = [
        msgspec.structs.replace(each, read=each.switch is None or (each.at, each.switch) in thrown or each.at < oldest)
        for each in noted
    ]
    return sorted([*others, *ours], key=lambda each: -each.at)


def said_of(controls: Controls, noted: Sequence[Done]) -> list[Control]:
    """The pauses in force, in the words of who paused."""
    here = {(each.at, each.switch): each for each in noted if each.switch is not None}
    return [
        each
        if (note := here.get((each.at, _switch(each)))) is None
        else msgspec.structs.replace(each, by=note.by, why=note.why)
        for each in controls.in_force
    ]


def _switch(control: Control) -> tuple[bool, str, str | None]:
    return control.paused, control.scope, control.name


def _what(control: Control) -> str:
    of = "everything" if control.scope == "all" else f"the {control.scope} {control.name}"
    return f"{'Pause' if control.paused else 'Resume'} {of}"
