"""What the console's pages work with: where they read, where they write, and who may come in."""

from __future__ import annotations

from asyncio import Event, Lock
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from litestar import Request

from referral_stream.console.comparing import Comparer
from referral_stream.console.controls import Previews
from referral_stream.console.security import Door, Sessions, Tokens
from referral_stream.console.store import SharedStore
from referral_stream.contracts.topics import Topics
from referral_stream.core.policy import Policy
from referral_stream.read_models import Reader
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.settings import ConsoleSettings

if TYPE_CHECKING:  # the first loads what only an extra brings, the others Faust, which the pages do without
    from referral_stream.console.provider import Provider
    from referral_stream.ops.deadletters import DeadLetters, ListedLetter, ReplayOutcome


class LogWriter(Protocol):
    """Writes to the log; returns when the broker has it. Raises NotWritten."""

    async def write(self, records: Sequence[SourceRecord]) -> None: ...


@dataclass(frozen=True, slots=True)
class Letters:
    """Reading and replaying dead letters, as the command line does. Both raise TopicsProblem."""

    read: Callable[[], Awaitable[DeadLetters]]
    replay: Callable[[Sequence[ListedLetter]], Awaitable[ReplayOutcome]]


@dataclass(frozen=True, slots=True)
class Console:
    """What the handlers work with. ``stopping`` is set when the process ends: live pages let go then.

    ``provider`` is there where the settings name one. ``comparing`` is held while a policy is read beside another one.
    """

    settings: ConsoleSettings
    policy: Policy
    clock: Clock
    reader: Reader
    store: SharedStore
    writer: LogWriter
    letters: Letters
    tokens: Tokens
    comparer: Comparer
    provider: Provider | None = None
    stopping: Event = field(default_factory=Event)
    comparing: Lock = field(default_factory=Lock)

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.store, int(self.settings.console_session_hours * 3_600))

    @property
    def previews(self) -> Previews:
        return Previews(self.store)

    @property
    def door(self) -> Door:
        return Door(self.settings, self.tokens, self.sessions)


def console_of(request: Request[Any, Any, Any]) -> Console:
    found: Console = request.app.state.console
    return found
