"""Where harm is judged, and what a judgement leads to (after §7).

The judgement itself is not the projector's: it is a pure function of the records and of when a person last resumed a
trigger. The projector asks for it now and then, on the worker that leads, and hands on a pause for each trigger that
the judgement names and that is not paused already.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from referral_stream.core.events import Event
from referral_stream.read_models.views import Control, MessageBody


class Harmful(NamedTuple):
    """A trigger whose asks do harm, and the ``control.paused`` that says why."""

    trigger: str
    event: Event


class HarmJudge(Protocol):
    """Judges the newest record of every customer. ``resumed``: trigger → when a person last resumed it (epoch ms)."""

    async def __call__(self, records: AsyncIterator[MessageBody], resumed: Mapping[str, int]) -> Sequence[Harmful]: ...


Pausing: TypeAlias = Callable[[Event], Awaitable[None]]
"""Appends the event to ``responses``, where switches count; returns when the broker has it."""


class Judged(Protocol):
    """What a judgement is made of: ``read_models.writing.Writer``."""

    def bodies(self) -> AsyncIterator[MessageBody]: ...

    async def controls(self) -> Sequence[Control]: ...


async def judge_once(judged: Judged, judge: HarmJudge, pause: Pausing) -> list[str]:
    """The triggers for which a pause was handed on."""
    switches = [each for each in await judged.controls() if each.scope == "trigger"]
    resumed = {each.name or "": each.at for each in switches if not each.paused}
    paused = {each.name for each in switches if each.paused}
    found = [each for each in await judge(judged.bodies(), resumed) if each.trigger not in paused]
    for each in found:
        await pause(each.event)
    return [each.trigger for each in found]
