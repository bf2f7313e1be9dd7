"""Where harm is judged, and what a judgement leads to (after §7).

The judgement itself is not the projector's: it is a pure function of the records. The projector asks for it now and
then, on the worker that owns the first partition, and sends a pause for each trigger that it names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from referral_stream.read_models.views import MessageBody


class Harmful(NamedTuple):
    """A trigger whose asks do harm: E has reached ``pause_at``. ``why``: one sentence, for the audit list."""

    trigger: str
    why: str


class HarmJudge(Protocol):
    """Judges the newest record of every customer, as of ``now`` (epoch ms). Pure but for the reading."""

    async def __call__(self, records: AsyncIterator[MessageBody], now: int) -> Sequence[Harmful]: ...


class Pausing(Protocol):
    """Sends ``control.paused`` for a trigger to ``responses``, once for each: whoever resumes it is not overruled."""

    async def __call__(self, harmful: Harmful, now: int) -> None: ...
