"""One customer's story: what came in and what followed go in, entries in plain words come out.

A customer may have several ids. What one of them passes on is told where it is taken, with the id under which it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal, TypeAlias, assert_never

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
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
from referral_stream.core.events import AskAcknowledged, AskAnswered, Event, Held, Link
from referral_stream.core.followups import FollowUp
from referral_stream.core.instants import MINUTE
from referral_stream.core.keys import parse_key
from referral_stream.core.zones import zone
from referral_stream.explain.background import Background, CameIn, Ignored, OtherIds, Paused, UnusedRecord, Waits
from referral_stream.replay.virtual_run import Happened
from referral_stream.words.afterwards import followup_words, told
from referral_stream.words.decisions import clock_words, happening, outcome_words, saw_words, why
from referral_stream.words.events import happened
from referral_stream.words.phrases import phrases

EntryKind: TypeAlias = Literal[
    "came in", "waits", "ignored", "unusable", "skipped", "opened", "decided", "asked", "cancelled", "paused",
    "follow-up", "withdrawn", "reward",
]  # fmt: skip

_After: TypeAlias = FollowupRequested | FollowupCancelled | RewardHeld | RewardGranted | RewardDenied | RewardReversed

_OPENING = frozenset({"pending", "deferred", "suppressed", "asked", "soft", "holdout", "shadow"})


@dataclass(frozen=True)
class Entry:
    """One line of the story: when it was (epoch ms, by arrival), of which kind, and the words for it."""

    instant: int
    kind: EntryKind
    text: str
    opportunity_id: str | None = None


def story(known: Background, local: tzinfo, end: int) -> tuple[Entry, ...]:
    """What happened, in words; ``local`` is the customer's zone, ``end`` when it is told (epoch ms)."""
    told = _Story(known, local, end)
    for moment in known.happened:
        match moment:
            case CameIn():
                told.came_in(moment)
            case Happened():
                told.followed(moment)
            case _:
                pass
    for moment in known.happened:  # by instant, wherever they stand
        match moment:
            case UnusedRecord():
                told.put(left_out(moment))
            case Waits():
                told.put(_waiting(moment, told.local))
            case Paused():
                told.paused(moment)
            case OtherIds(now=now, ids=ids):
                told.put(Entry(now, "skipped", phrases().say("left_out", "other_ids", ids=", ".join(ids))))
            case _:
                pass
    return tuple(told.entries)


def left_out(record: UnusedRecord) -> Entry:
    """A record about the customer that became no event."""
    words, place = phrases(), record.place
    cause, detail, topic = record.cause, record.detail, record.topic
    match record.how:
        case "refused":
            text = words.say("left_out", "refused", error=f"{cause}: {detail}", line=place, topic=topic)
        case "dead_letter":
            text = words.say("left_out", "dead_letter", error=f"{cause}: {detail}", offset=place, topic=topic)
        case "not_applied":
            text = words.say("left_out", "not_applied", cause=cause, detail=detail, offset=place)
        case "skipped":
            near = record.near
            text = words.say("left_out", "skipped", reason=cause, detail=detail, line=place, topic=topic, near=near)
        case _:
            assert_never(record.how)
    return Entry(record.now, "skipped" if record.how == "skipped" else "unusable", text)


def _waiting(waits: Waits, local: tzinfo) -> Entry:
    words = phrases()
    kind, until = words.word("links", waits.link), clock_words(waits.until, local)
    text = words.say("story", "waits", event=happened(waits.event), kind=kind, instant=until)
    return Entry(waits.now, "waits", text)


class _Story:
    """Writes one customer's entries down, as events and effects pass by in their order."""

    def __init__(self, known: Background, local: tzinfo, end: int) -> None:
        effects = [moment.effect for moment in known.happened if isinstance(moment, Happened)]
        self.entries: list[Entry] = []
        self.local, self._end = local, end
        self._several_ids = len(known.ids or {known.name, *known.customer.ids}) > 1
        self._taken_back = {effect.decision_id for effect in effects if isinstance(effect, AskCancelled)}
        self._asks = {effect.decision_id: effect for effect in effects if isinstance(effect, AskRequested)}
        self._told: dict[str, str] = {}
        self._said: dict[str, dict[str, str | None]] = {}
        self._stopped: set[str] = set()

    def came_in(self, moment: CameIn) -> None:
        words, event = phrases(), moment.event
        text = _about_followup(moment.followup, event) or happened(event)
        links = [name for key in event.via if isinstance(name := parse_key(key.encode()), Link)]
        if links and event.type != Held.type:
            text = words.say("story", "by_link", event=text, kind=words.word("links", links[-1].kind))
        elif self._several_ids and event.subject and event.type != Held.type:
            text = words.say("story", "as", event=text, id=event.subject)
        if event.historical:
            text = words.say("story", "history", event=text)
        if moment.zone is not None:
            self.local = zone(moment.zone)
        if abs(moment.now - event.time) > MINUTE:
            text = words.say("story", "earlier", event=text, instant=clock_words(event.time, self.local))
        if moment.ignored is not None:
            text = words.say("story", "ignored", event=text, why=_ignored(moment.ignored))
        self.entries.append(Entry(moment.now, "came in" if moment.ignored is None else "ignored", text))

    def followed(self, moment: Happened) -> None:
        now, effect = moment
        match effect:
            case Decision() if effect.decision_id not in self._taken_back:
                self._decided(effect, now, self._asks.get(effect.decision_id))
            case AskCancelled():
                text = phrases().say("story", "taken_back", why=saw_words(effect.reason, self.local))
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
        found = told(EFFECT_MESSAGES[type(effect)].kind, data, self.local)
        if found is not None:
            self.entries.append(Entry(now, found.kind, found.text))

    def put(self, entry: Entry) -> None:
        """By instant, after what is of the same one."""
        place = next((n for n, other in enumerate(self.entries) if other.instant > entry.instant), len(self.entries))
        self.entries.insert(place, entry)

    def paused(self, moment: Paused) -> None:
        """Shown if it stopped an ask to the customer."""
        pause = moment.pause
        if pause.name in self._stopped:
            text = phrases().say("story", "paused", name=pause.name, why=saw_words(pause.why, self.local))
            self.put(Entry(moment.now, "paused", text))

    def _decided(self, decision: Decision, now: int, ask: AskRequested | None) -> None:
        local, words = zone(decision.time_zone.name), phrases()
        if any(reason.gate == "paused" and reason.answer != "pass" for reason in decision.reasons):
            self._stopped.add(decision.trigger)
        about = happening(decision.trigger)
        if decision.opportunity_id not in self._told and decision.outcome in _OPENING:
            until = clock_words(decision.window.deadline, local)
            opened = words.say("story", "opened", trigger=about, instant=until)
            self.entries.append(Entry(now, "opened", opened, decision.opportunity_id))
        reasons = why(decision.model_dump(mode="json", exclude_none=True), self._end)
        told = words.say("story", "decided", trigger=about, outcome=outcome_words(decision.outcome), why=reasons)
        if self._told.get(decision.opportunity_id) == told:
            return  # the planned moment has moved, while something else still blocks
        self._told[decision.opportunity_id] = told
        kind: EntryKind = "cancelled" if decision.outcome == "cancelled" else "decided"
        if ask is not None:
            kind = "asked"
            told = words.say("story", "asked", decided=told, instant=clock_words(ask.expires_at, local))
        self.entries.append(Entry(now, kind, told, decision.opportunity_id))


def _ignored(why_ignored: Ignored) -> str:
    words = phrases()
    match why_ignored:
        case "erased":
            return words.say("story", "erased")
        case "duplicate":
            return words.say("story", "duplicate")
        case "older":
            return words.say("story", "older")


def _about_followup(followup: FollowUp | None, event: Event) -> str | None:
    """What a worker reports, or the customer answers, about something that was said after an ask."""
    data, words = event.data, phrases()
    if followup is None:
        return None
    what = followup_words(followup.kind, {"referral_id": followup.subject or None})
    match data:
        case AskAcknowledged():
            return words.say("story", "followup_reported", status=data.status, what=what)
        case AskAnswered():
            return words.say("story", "followup_answered", what=what, answer=data.answer)
        case _:
            return None
