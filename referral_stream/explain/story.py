"""One customer's story: events and effects go in, entries in plain words come out. Their origin does not matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Literal, TypeAlias

from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, AskRequested, Decision, ReasonAsked
from referral_stream.core.events import INTERNAL, ControlPaused, Event
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.instants import MINUTE
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import zone
from referral_stream.replay.virtual_run import Happened
from referral_stream.words.decisions import clock_words, happening, in_local_time, outcome_words, why
from referral_stream.words.events import happened

EntryKind: TypeAlias = Literal[
    "came in", "ignored", "unusable", "skipped", "opened", "decided", "asked", "cancelled", "paused"
]

_OPENING = frozenset({"pending", "deferred", "suppressed", "asked", "soft", "holdout", "shadow"})
_INTERNAL = frozenset(data.type for data in INTERNAL)


@dataclass(frozen=True)
class Entry:
    """One line of the story: when it was (epoch ms, the clock of the replay), of which kind, and the words for it."""

    instant: int
    kind: EntryKind
    text: str
    opportunity_id: str | None = None


class Story:
    """Writes one customer's entries down, as events and effects pass by in their order."""

    def __init__(self, customer: str, policy: Policy) -> None:
        self.customer = customer
        self.policy = policy
        self.entries: list[Entry] = []
        self._told: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._local: tzinfo = UTC

    def came_in(self, known: Customer, event: Event, now: int) -> None:
        """An event, before it is applied to the state ``known``."""
        if known.id != self.customer or event.type in _INTERNAL:
            return
        text = happened(event)
        if event.historical:
            text = f"{text} (history)"
        self._local = zone(zone_of(known, self.policy).name)
        if abs(now - event.time) > MINUTE:
            text = f"{text}, on {clock_words(event.time, self._local)}"
        ignored = self._ignored(known, event, now)
        self.entries.append(Entry(now, "ignored", f"{text}: {ignored}") if ignored else Entry(now, "came in", text))

    def _ignored(self, known: Customer, event: Event, now: int) -> str | None:
        """Why the event changes nothing, by the core's own tests on a copy of the state."""
        state = known.copy()
        if state.erased_at is not None:
            return "erased"
        if seen_before(state, event, now, self.policy):
            return "a duplicate"
        return None if fold(state, event) else "older than what is known"

    def followed(self, items: list[Happened]) -> None:
        """The effects of one instant's steps."""
        effects = [(now, effect) for now, effect in items if effect.customer_id == self.customer]
        taken_back = {effect.decision_id for _, effect in effects if isinstance(effect, AskCancelled)}
        asks = {effect.decision_id: effect for _, effect in effects if isinstance(effect, AskRequested)}
        for now, effect in effects:
            match effect:
                case Decision() if effect.decision_id not in taken_back:
                    self._decided(effect, now, asks.get(effect.decision_id))
                case AskCancelled():
                    told = f"the ask was taken back: {in_local_time(effect.reason, self._local)}"
                    self.entries.append(Entry(now, "cancelled", told, effect.opportunity_id))
                case ReasonAsked():
                    told = f"{happening(effect.trigger)}: asked what they like most, ahead of the ask itself"
                    self.entries.append(Entry(now, "asked", told, effect.opportunity_id))
                case _:
                    pass

    def left_out(self, entries: Iterable[Entry]) -> None:
        """Records about the customer that became no events, by instant: each is put where it came in."""
        for entry in entries:
            place = next(
                (n for n, other in enumerate(self.entries) if other.instant > entry.instant), len(self.entries)
            )
            self.entries.insert(place, entry)

    def paused(self, now: int, pause: ControlPaused) -> None:
        """The burst breaker paused a trigger at ``now``: shown if it stopped an ask to the customer."""
        if pause.name in self._stopped:
            why = in_local_time(pause.why, self._local)
            text = f"asks for the trigger {pause.name} were paused by the burst breaker: {why}; control.resumed ends it"
            self.left_out([Entry(now, "paused", text)])

    def _decided(self, decision: Decision, now: int, ask: AskRequested | None) -> None:
        local = zone(decision.time_zone.name)
        if any(reason.gate == "paused" and reason.answer != "pass" for reason in decision.reasons):
            self._stopped.add(decision.trigger)
        about = happening(decision.trigger)
        if decision.opportunity_id not in self._told and decision.outcome in _OPENING:
            until = clock_words(decision.window.deadline, local)
            self.entries.append(
                Entry(now, "opened", f"{about}: a reason to ask, until {until}", decision.opportunity_id)
            )
        told = f"{about}: {outcome_words(decision.outcome)}, {why(decision.model_dump(mode='json', exclude_none=True))}"
        if self._told.get(decision.opportunity_id) == told:
            return  # the planned moment has moved, while something else still blocks
        self._told[decision.opportunity_id] = told
        kind: EntryKind = "cancelled" if decision.outcome == "cancelled" else "decided"
        if ask is not None:
            kind = "asked"
            told = f"{told}; not to be sent after {clock_words(ask.expires_at, local)}"
        self.entries.append(Entry(now, kind, told, decision.opportunity_id))
