"""One customer's story: events and effects go in, entries in plain words come out. Their origin does not matter.

A customer may have several ids. What one of them passes on is told where it is taken, with the id under which it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Literal, TypeAlias

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    Decision,
    FollowupCancelled,
    FollowupRequested,
    ReasonAsked,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.events import (
    INTERNAL,
    AskAcknowledged,
    AskAnswered,
    ControlPaused,
    Event,
    Held,
    Link,
)
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.instants import MINUTE
from referral_stream.core.keys import parse_key
from referral_stream.core.links import LinkState
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import zone
from referral_stream.replay.virtual_run import Happened
from referral_stream.words.afterwards import followup_words, told
from referral_stream.words.decisions import clock_words, happening, in_local_time, outcome_words, why
from referral_stream.words.events import happened
from referral_stream.words.phrases import phrases

EntryKind: TypeAlias = Literal[
    "came in", "waits", "ignored", "unusable", "skipped", "opened", "decided", "asked", "cancelled", "paused",
    "follow-up", "withdrawn", "reward",
]  # fmt: skip

_After: TypeAlias = FollowupRequested | FollowupCancelled | RewardHeld | RewardGranted | RewardDenied | RewardReversed

_OPENING = frozenset({"pending", "deferred", "suppressed", "asked", "soft", "holdout", "shadow"})
_UNTOLD = frozenset(data.type for data in INTERNAL) - {Held.type}


@dataclass(frozen=True)
class Entry:
    """One line of the story: when it was (epoch ms, the clock of the replay), of which kind, and the words for it."""

    instant: int
    kind: EntryKind
    text: str
    opportunity_id: str | None = None


class Story:
    """Writes one customer's entries down, as events and effects pass by in their order."""

    def __init__(self, ids: AbstractSet[str], policy: Policy) -> None:
        self.ids = ids
        self.policy = policy
        self.entries: list[Entry] = []
        self._told: dict[str, str] = {}
        self._said: dict[str, dict[str, str | None]] = {}
        self._stopped: set[str] = set()
        self._local: tzinfo = UTC

    def came_in(self, known: Customer, event: Event, now: int) -> None:
        """An event, before it is applied to the state ``known``."""
        away = known.merged_into is not None and known.erased_at is None
        if known.id not in self.ids or event.type in _UNTOLD or away:
            return
        words = phrases()
        text = _about_followup(known, event) or happened(event)
        links = [name for key in event.via if isinstance(name := parse_key(key.encode()), Link)]
        if links and event.type != Held.type:
            text = words.say("story", "by_link", event=text, kind=words.word("links", links[-1].kind))
        elif len(self.ids) > 1 and event.subject and event.type != Held.type:
            text = words.say("story", "as", event=text, id=event.subject)
        if event.historical:
            text = words.say("story", "history", event=text)
        self._local = zone(zone_of(known, self.policy).name)
        if abs(now - event.time) > MINUTE:
            text = words.say("story", "earlier", event=text, instant=clock_words(event.time, self._local))
        if ignored := self._ignored(known, event, now):
            self.entries.append(Entry(now, "ignored", words.say("story", "ignored", event=text, why=ignored)))
        else:
            self.entries.append(Entry(now, "came in", text))

    def _ignored(self, known: Customer, event: Event, now: int) -> str | None:
        """Why the event changes nothing, by the core's own tests on a copy of the state."""
        state, words = known.copy(), phrases()
        if state.erased_at is not None:
            return words.say("story", "erased")
        if seen_before(state, event, now, self.policy):
            return words.say("story", "duplicate")
        return None if fold(state, event) else words.say("story", "older")

    def followed(self, items: list[Happened]) -> None:
        """The effects of one instant's steps."""
        effects = [(now, effect) for now, effect in items if effect.customer_id in self.ids]
        taken_back = {effect.decision_id for _, effect in effects if isinstance(effect, AskCancelled)}
        asks = {effect.decision_id: effect for _, effect in effects if isinstance(effect, AskRequested)}
        for now, effect in effects:
            match effect:
                case Decision() if effect.decision_id not in taken_back:
                    self._decided(effect, now, asks.get(effect.decision_id))
                case AskCancelled():
                    text = phrases().say("story", "taken_back", why=in_local_time(effect.reason, self._local))
                    self.entries.append(Entry(now, "cancelled", text, effect.opportunity_id))
                case ReasonAsked():
                    text = phrases().say("story", "reason_asked", trigger=happening(effect.trigger))
                    self.entries.append(Entry(now, "asked", text, effect.opportunity_id))
                case (
                    FollowupRequested() | FollowupCancelled() | RewardHeld() | RewardGranted() | RewardDenied()
                    | RewardReversed()
                ):  # fmt: skip
                    self._after(effect, now)
                case _:
                    pass

    def _after(self, effect: _After, now: int) -> None:
        """What follows an ask: a withdrawal is told with what was to be said."""
        data = effect.model_dump(mode="json", exclude_none=True)
        if isinstance(effect, FollowupRequested):
            self._said[effect.followup_id] = {**effect.variables, "referral_id": effect.referral_id}
        elif isinstance(effect, FollowupCancelled):
            data = {**self._said.get(effect.followup_id, {}), **data}
        found = told(EFFECT_MESSAGES[type(effect)].kind, data, self._local)
        if found is not None:
            self.entries.append(Entry(now, found.kind, found.text))

    def left_out(self, entries: Iterable[Entry]) -> None:
        """Records about the customer that became no events, by instant: each is put where it came in."""
        for entry in entries:
            place = next(
                (n for n, other in enumerate(self.entries) if other.instant > entry.instant), len(self.entries)
            )
            self.entries.insert(place, entry)

    def waiting(self, links: Iterable[LinkState]) -> None:
        """What waits at links that once named the customer, and now name nobody who can be meant."""
        words = phrases()
        for state in links:
            if self.ids.isdisjoint(state.named):
                continue
            kind = words.word("links", state.link.kind)
            for kept in state.kept:
                if not kept.given:
                    until = clock_words(kept.lapses_at(self.policy), self._local)
                    text = words.say("story", "waits", event=happened(kept.event), kind=kind, instant=until)
                    self.left_out([Entry(kept.arrived, "waits", text)])

    def paused(self, now: int, pause: ControlPaused) -> None:
        """The burst breaker paused a trigger at ``now``: shown if it stopped an ask to the customer."""
        if pause.name in self._stopped:
            why = in_local_time(pause.why, self._local)
            text = phrases().say("story", "paused", name=pause.name, why=why)
            self.left_out([Entry(now, "paused", text)])

    def _decided(self, decision: Decision, now: int, ask: AskRequested | None) -> None:
        local, words = zone(decision.time_zone.name), phrases()
        if any(reason.gate == "paused" and reason.answer != "pass" for reason in decision.reasons):
            self._stopped.add(decision.trigger)
        about = happening(decision.trigger)
        if decision.opportunity_id not in self._told and decision.outcome in _OPENING:
            until = clock_words(decision.window.deadline, local)
            opened = words.say("story", "opened", trigger=about, instant=until)
            self.entries.append(Entry(now, "opened", opened, decision.opportunity_id))
        reasons = why(decision.model_dump(mode="json", exclude_none=True))
        told = words.say("story", "decided", trigger=about, outcome=outcome_words(decision.outcome), why=reasons)
        if self._told.get(decision.opportunity_id) == told:
            return  # the planned moment has moved, while something else still blocks
        self._told[decision.opportunity_id] = told
        kind: EntryKind = "cancelled" if decision.outcome == "cancelled" else "decided"
        if ask is not None:
            kind = "asked"
            told = words.say("story", "asked", decided=told, instant=clock_words(ask.expires_at, local))
        self.entries.append(Entry(now, kind, told, decision.opportunity_id))


def _about_followup(known: Customer, event: Event) -> str | None:
    """What a worker reports, or the customer answers, about something that was said after an ask."""
    data, words = event.data, phrases()
    if not isinstance(data, AskAcknowledged | AskAnswered):
        return None
    followup = next((f for f in known.followups if f.id == data.command_id), None)
    if followup is None:
        return None
    what = followup_words(followup.kind, {"referral_id": followup.subject or None})
    if isinstance(data, AskAcknowledged):
        return words.say("story", "followup_reported", status=data.status, what=what)
    return words.say("story", "followup_answered", what=what, answer=data.answer)
