"""What an operator can do: a preview first, then a confirmation, which writes one event to the log.

A preview makes an action under a random word and keeps it for some minutes. Confirming sends it; its event's id is
derived from that word, so what is confirmed twice, or again after an answer that was lost, counts once. Everything
changes through the same events that ``/control`` takes: the console has no way of its own into the workers.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Final, Literal, TypeAlias

import msgspec
import orjson
from litestar.stores.base import Store

from referral_stream.contracts.inbound.attributes import RESPONSES
from referral_stream.contracts.records import CLOUD_EVENT, CONTENT_TYPE_HEADER, ENDPOINT_HEADER
from referral_stream.contracts.topics import Topics
from referral_stream.core.events import SOMEBODY, Scope
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.endpoints import CONTROL

SOURCE: Final = "referral-stream/console"
PREVIEW_SECONDS: Final = 600
MOST_WHY: Final = 500
SEGMENTS: Final = ("smb", "enterprise", "mission_driven")

ControlVerb: TypeAlias = Literal[
    "pause", "resume", "approve_ask", "reject_ask", "approve_reward", "reject_reward", "replay_dead_letters"
]

_TYPES: Final[dict[ControlVerb, str]] = {
    "pause": "control.paused",
    "resume": "control.resumed",
    "approve_ask": "ask.approved",
    "reject_ask": "ask.rejected",
    "approve_reward": "reward.approved",
    "reject_reward": "reward.rejected",
}
"""Replaying dead letters writes the original events again, and none of its own."""


class NotPossible(ValueError):
    """Why an action cannot be taken; a sentence for the operator."""


class ControlAction(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do. ``about``: the opportunity or grant; ``letters``: ids of dead letters."""

    verb: ControlVerb
    by: str
    why: str
    scope: Scope | None = None
    name: str | None = None
    customer: str | None = None
    about: str | None = None
    letters: tuple[str, ...] = ()

    def check(self, policy: Policy) -> None:
        """Raises NotPossible."""
        if not self.why.strip():
            raise NotPossible("Say why: whoever looks at this later will want to know.")
        if len(self.why) > MOST_WHY:
            raise NotPossible(f"The reason is longer than {MOST_WHY} characters.")
        if self.verb in ("pause", "resume"):
            names = {"all": (), "trigger": tuple(policy.triggers), "segment": SEGMENTS}.get(self.scope or "")
            if names is None:
                raise NotPossible("Choose what to pause: everything, a trigger or a segment.")
            # What was paused under a name that the policy has no more must be resumable.
            if self.scope != "all" and (not self.name or (self.verb == "pause" and self.name not in names)):
                raise NotPossible(f"There is no {self.scope} {self.name!r}.")
        elif self.verb == "replay_dead_letters":
            if not self.letters:
                raise NotPossible("Choose at least one dead letter.")
        elif not self.customer or not self.about:
            raise NotPossible("It is not clear which one is meant.")

    @property
    def what(self) -> str:
        """In words, as the heading of a preview."""
        return {
            "pause": f"Pause {self.switch}",
            "resume": f"Resume {self.switch}",
            "approve_ask": "Approve an ask",
            "reject_ask": "Reject an ask",
            "approve_reward": "Approve a reward",
            "reject_reward": "Reject a reward",
            "replay_dead_letters": f"Replay {len(self.letters)} dead letter{'s' if len(self.letters) != 1 else ''}",
        }[self.verb]

    @property
    def switch(self) -> str:
        return "everything" if self.scope == "all" else f"the {self.scope} {self.name}"

    def record(self, word: str, now: int, topics: Topics) -> SourceRecord:
        """The event, as ``/control`` would pass it on. ``word`` is that of the preview, ``now`` epoch ms."""
        data: dict[str, Any] = {"by": key_of(self.by), "why": self.why}
        if self.scope is not None:
            data |= {"scope": self.scope} | ({"name": self.name} if self.name and self.scope != "all" else {})
        elif self.verb in ("approve_ask", "reject_ask"):
            data["opportunity_id"] = self.about
        else:
            data["grant_id"] = self.about
        event = {
            "specversion": "1.0",
            "id": derived_id("console", word),
            "source": SOURCE,
            "type": _TYPES[self.verb],
            "time": rfc3339(now),
            "data": data,
        }
        if self.customer is not None:
            event["subject"] = self.customer
        key = None if self.customer is None else self.customer.encode()
        headers = ((CONTENT_TYPE_HEADER, CLOUD_EVENT.encode()), (ENDPOINT_HEADER, CONTROL.encode()))
        return SourceRecord(topics.full_name(RESPONSES), orjson.dumps(event), key, headers)


def key_of(name: str) -> str:
    """A name as a key, which is all that goes past ingest (identity §5): ``ada@example.com`` → ``ada_example.com``."""
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", name)[:64] or SOMEBODY


class Previews:
    """Actions that have been shown and not confirmed yet."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, action: ControlAction) -> str:
        """The word under which it can be confirmed."""
        word = secrets.token_urlsafe(16)
        await self._store.set(f"preview:{word}", msgspec.json.encode(action), expires_in=PREVIEW_SECONDS)
        return word

    async def of(self, word: str, by: str) -> ControlAction:
        """What was shown to this operator under the word. Raises NotPossible."""
        found = await self._store.get(f"preview:{word}")
        action = None if found is None else msgspec.json.decode(found, type=ControlAction)
        if action is None or action.by != by:
            raise NotPossible("This preview has lapsed, or has been confirmed already. Begin anew.")
        return action

    async def done(self, word: str) -> None:
        await self._store.delete(f"preview:{word}")
