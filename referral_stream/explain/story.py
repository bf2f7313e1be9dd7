"""One customer of a recorded log, explained: what came in, what it opened, what was decided and why, what is next.

The whole log is replayed, since the asks to other contacts of an account and to the same address count too; one
customer is written down.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal, TypeAlias

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, AskRequested, Decision, PolicyRef, ReasonAsked
from referral_stream.core.events import INTERNAL, Event
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.instants import MINUTE
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import Zone, zone
from referral_stream.explain.prospects import Prospect, outlook
from referral_stream.replay.reading import Counts, Progress, RecordedLog, open_log
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.recording_ledger import RecordedLedger, RecordingLedger
from referral_stream.replay.virtual_run import FactReplay, Happened
from referral_stream.words.decisions import clock_words, happening, in_local_time, outcome_words, why
from referral_stream.words.events import happened

EntryKind: TypeAlias = Literal["came in", "ignored", "opened", "decided", "asked", "cancelled"]

_OPENING = frozenset({"pending", "deferred", "suppressed", "asked", "soft", "holdout", "shadow"})
_INTERNAL = frozenset(data.type for data in INTERNAL)
_NAMES_OFFERED = 3


class UnknownCustomer(Exception):
    """Nothing in the log is about the customer; ``near`` are ids in it that look alike."""

    def __init__(self, customer: str, near: list[str]) -> None:
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"nothing in this log is about {customer!r}{hint}")
        self.near = near


@dataclass(frozen=True)
class Entry:
    """One line of the story: when it was (epoch ms, the clock of the replay), of which kind, and the words for it."""

    instant: int
    kind: EntryKind
    text: str
    opportunity_id: str | None = None


@dataclass(frozen=True)
class Explanation:
    """What happened to one customer up to the instant ``at`` (epoch ms), and what is next as seen from there."""

    customer_id: str
    at: int
    zone: Zone
    policy: PolicyRef
    entries: tuple[Entry, ...]
    outlook: tuple[Prospect, ...]


def explain(
    log: Path,
    customer: str,
    policy: Policy,
    boundary: Boundary,
    *,
    at: int | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Explanation:
    """Explain one customer of ``log`` under ``policy``, as of ``at`` (epoch ms; default: the end of the log).

    Raises UnknownCustomer, UnreadableLog (see :func:`open_log`) and OSError.
    """
    story = _Story(customer, policy)
    counts = Counts()
    with open_log(log, boundary, counts, _left_out, skip_bad=skip_bad, progress=progress) as opened:
        if isinstance(opened, RecordedLog):
            ledger = RecordedLedger(policy)

            def witness(known: Customer, event: Event, now: int) -> None:
                ledger.answered(event, now)
                story.came_in(known, event, now)

            exact = ExactReplay(policy, witness=witness)
            for items in exact.run(opened.records, at):
                for item in items:
                    ledger.asked(item.effect)
                story.followed(items)
            customers: Mapping[str, Customer] = exact.customers
            caps, now = ledger.caps, exact.now
        else:
            caps = RecordingLedger(policy)
            facts = FactReplay(policy, caps=caps, witness=story.came_in)
            for items in facts.read(opened.arrivals, at):
                story.followed(items)
            for items in facts.wait(facts.now if at is None else at):
                story.followed(items)
            customers, now = facts.customers, facts.now
    if customer not in customers:
        raise UnknownCustomer(customer, difflib.get_close_matches(customer, customers, _NAMES_OFFERED))
    end = now if at is None else at
    return Explanation(
        customer_id=customer,
        at=end,
        zone=zone_of(customers[customer], policy),
        policy=PolicyRef(name=policy.name, hash=policy.hash),
        entries=tuple(story.entries),
        outlook=tuple(outlook(policy, customers, caps, customer, end)),
    )


class _Story:
    """What is written down of one customer during a replay."""

    def __init__(self, customer: str, policy: Policy) -> None:
        self.customer = customer
        self.policy = policy
        self.entries: list[Entry] = []
        self._told: dict[str, str] = {}
        self._local: tzinfo = UTC

    def came_in(self, known: Customer, event: Event, now: int) -> None:
        """An event, before it is applied to the state ``known``."""
        if known.id != self.customer or event.type in _INTERNAL:
            return
        told = happened(event)
        if event.historical:
            told = f"{told} (history)"
        self._local = zone(zone_of(known, self.policy).name)
        if abs(now - event.time) > MINUTE:
            told = f"{told}, on {clock_words(event.time, self._local)}"
        ignored = self._ignored(known, event, now)
        self.entries.append(Entry(now, "ignored", f"{told}: {ignored}") if ignored else Entry(now, "came in", told))

    def _ignored(self, known: Customer, event: Event, now: int) -> str | None:
        """Why the event changes nothing, by the core's own tests on a copy of the state."""
        state = known.copy()
        if state.erased_at is not None:
            return "erased"
        if seen_before(state, event, now, self.policy):
            return "a duplicate"
        return None if fold(state, event) else "older than what is known"

    def followed(self, items: list[Happened]) -> None:
        """What the steps of one instant said."""
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

    def _decided(self, decision: Decision, now: int, ask: AskRequested | None) -> None:
        local = zone(decision.time_zone.name)
        about = happening(decision.trigger)
        if decision.opportunity_id not in self._told and decision.outcome in _OPENING:
            until = clock_words(decision.window.deadline, local)
            self.entries.append(
                Entry(now, "opened", f"{about}: a reason to ask, until {until}", decision.opportunity_id)
            )
        told = f"{about}: {outcome_words(decision.outcome)}, {why(decision.model_dump(mode='json', exclude_none=True))}"
        if self._told.get(decision.opportunity_id) == told:
            return  # the planned moment has moved behind something that is still in the way
        self._told[decision.opportunity_id] = told
        kind: EntryKind = "cancelled" if decision.outcome == "cancelled" else "decided"
        if ask is not None:
            kind = "asked"
            told = f"{told}; not to be sent after {clock_words(ask.expires_at, local)}"
        self.entries.append(Entry(now, kind, told, decision.opportunity_id))


def _left_out(record: RawRecord, error: str, now: int) -> None:
    """What cannot be read is about nobody; ``replay`` writes it to dead-letters.jsonl."""
