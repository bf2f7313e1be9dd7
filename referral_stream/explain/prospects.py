"""What will become of a customer's open occasions to ask, as things stand, and what would change it.

None of the rules is repeated here: each answer is a trial on a copy of the customer's world, with the same step and
ledger that decide. What might lift a gate is only proposed; the step says which of it is needed, and until when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import AskCancelled, Decision, Reason, ReservationRequested
from referral_stream.core.events import Data, Event, ReservationDenied
from referral_stream.core.ids import opportunity_id
from referral_stream.core.instants import DAY, HOUR, parse_instant, rfc3339
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import zone
from referral_stream.explain.background import kin_of, ledger_about
from referral_stream.explain.changes import SOURCE, Change, every, likely
from referral_stream.replay.virtual_run import Arrival, FactReplay
from referral_stream.words.decisions import EMITTED, clock_words, happening, in_the_way, outcome_words, plain, why
from referral_stream.words.events import if_it_happens
from referral_stream.words.phrases import phrases

TRIAL_STEP = 6 * HOUR
"""The spacing of the instants at which an event that does not help at once is tried: each part of each day."""

_SINGLE_TRIALS = 8
"""At how many instants of a window each single event is tried."""
_LOOKED_AT = 6
"""In how many parts an interval is looked at before something is claimed about the whole of it."""

ProspectKind: TypeAlias = Literal[
    "erased", "planned", "shadow", "holdout", "another_first", "would", "no_more",
    "opens", "opens_in_vain", "opens_nothing", "top_score", "no_top_score", "nothing_open",
]  # fmt: skip

RESPONSE = "explain"
"""The response id of the survey answer that is made up to see what stands in the way of any ask."""


@dataclass(frozen=True)
class Prospect:
    """What will or could become of one occasion to ask; of any new one if ``opportunity_id`` is None.

    ``brief`` is the same in fewer words, without the limits in time. ``asked_at``: when the ask would be made, None for
    never; ``about``: which occasion it would be about; ``possible_at``: when an ask is possible at the earliest, if
    only time is in the way. With ``changes`` (in plain words; ``events`` are the same) it would be made then if they
    happen at the instant ``at``, and likewise before ``by``; just before ``before`` they still lead to an ask. Instants
    are epoch ms.
    """

    opportunity_id: str | None
    trigger: str
    text: str
    asked_at: int | None = None
    changes: tuple[str, ...] = ()
    at: int | None = None
    by: int | None = None
    before: int | None = None
    events: tuple[Change, ...] = ()
    kind: ProspectKind = "nothing_open"
    brief: str = ""
    possible_at: int | None = None
    about: str | None = None


def outlook(
    policy: Policy, customers: Mapping[str, Customer], ledger: MemoryLedger, name: str, now: int
) -> list[Prospect]:
    """The prospects of the customer of that name at the instant ``now``, in the order in which they were opened.

    ``ledger`` is left as it is.
    """
    customer = customers[name]
    if customer.erased_at is not None:
        return [Prospect(None, "", phrases().say("prospects", "erased"), kind="erased")]
    world = _World.around(policy, customers, ledger, name, now)
    prospects = world.of_live() + world.of_conversions()
    return prospects or [world.of_a_top_score()]


class _Trial(NamedTuple):
    """What became of a customer in a trial: the first ask (its decision), and each occasion's last decision."""

    ask: Decision | None
    last: dict[str, Decision]

    @property
    def asked_at(self) -> int | None:
        return None if self.ask is None else self.ask.decided_at


class _Would(NamedTuple):
    """Changes that bring an ask if they happen at ``start``; before ``by`` they bring the same one.

    ``late`` is the ask that they bring at the last instant before ``before``.
    """

    changes: tuple[Change, ...]
    start: int
    ask: Decision
    by: int
    before: int
    late: Decision


@dataclass(frozen=True)
class _World:
    """The customer, and those who share an account or an address with them, as they are now."""

    policy: Policy
    customers: Mapping[str, Customer]
    caps: MemoryLedger
    name: str
    now: int
    local: str

    @classmethod
    def around(
        cls, policy: Policy, customers: Mapping[str, Customer], ledger: MemoryLedger, name: str, now: int
    ) -> _World:
        customer = customers[name]
        kin = kin_of(customer, customers.values())
        return cls(policy, kin, ledger_about(ledger, kin), name, now, zone_of(customer, policy).name)

    @property
    def customer(self) -> Customer:
        return self.customers[self.name]

    # ------------------------------------------------------------------------------------------------------ prospects

    def of_live(self) -> list[Prospect]:
        live = self.customer.live
        if not live:
            return []
        as_it_stands = self.trial()
        return [self._of(opportunity, as_it_stands) for opportunity in live]

    def of_conversions(self) -> list[Prospect]:
        """Referrals that converted: an occasion to ask that opens later."""
        return [
            self._of_conversion(name, conversion.opens_at)
            for name, referral in sorted(self.customer.referrals.items())
            if (conversion := referral.conversion) is not None
        ]

    def _of_conversion(self, referral: str, opens_at: int) -> Prospect:
        words, trigger = phrases(), "referral_converted"
        trial = self.trial(until=opens_at + self._longest_window())
        about = opportunity_id(self.name, trigger, referral)
        opens, decision = self._clock(opens_at), trial.last.get(about)
        if trial.ask is not None and trial.ask.opportunity_id == about:
            text = words.say("prospects", "opens", instant=opens, when=self._when(trial.ask))
            return self._told(None, trigger, "opens", text, trial.ask.decided_at)
        if decision is None or decision.outcome == "historical":
            text = words.say("prospects", "opens_nothing", instant=opens)
            return Prospect(None, trigger, text, kind="opens_nothing", brief=text)
        against = outcome_words(decision.outcome) if decision.outcome in EMITTED else why(_shown(decision))
        text = words.say("prospects", "opens_in_vain", instant=opens, against=against)
        return Prospect(None, trigger, text, kind="opens_in_vain", brief=text)

    def of_a_top_score(self) -> Prospect:
        """With nothing open: what would become of the strongest occasion to ask, if it came now."""
        words = phrases()
        trial = self._now(ev.NpsResponded(response_id=RESPONSE, score=10, theme="other"))
        if trial.ask is not None:
            text = words.say("prospects", "top_score", when=self._when(trial.ask), against=self._against_praise())
            return self._told(None, "nps_promoter", "top_score", text, trial.asked_at)
        if (decision := _about(RESPONSE, trial)) is not None:
            possible = self._possible(decision)
            text = words.say(
                "prospects",
                "no_top_score",
                against=self._against(decision),
                instant=None if possible is None else self._clock(possible),
            )
            return Prospect(None, "nps_promoter", text, kind="no_top_score", brief=text, possible_at=possible)
        text = words.say("prospects", "nothing_open")
        return Prospect(None, "nps_promoter", text, kind="nothing_open", brief=text)

    def _against(self, decision: Decision) -> str:
        """What is in the way, with a pause of which the ledger would tell only when it is asked."""
        paused = self._paused(decision)
        told = [_reasons(decision), "" if paused is None else plain(paused.model_dump(), zone(self.local))]
        return "; ".join(filter(None, told))

    def _possible(self, decision: Decision) -> int | None:
        """When the next ask is possible after one that counts, if nothing but time is in the way."""
        reasons = [reason for reason in decision.reasons if reason.answer != "pass" and reason.gate != "moment"]
        paused = self._paused(decision)
        ends = [reason.until for reason in (*reasons, *([] if paused is None else [paused]))]
        if decision.next_eligible_at is None or any(reason.answer != "until" for reason in reasons):
            return None
        if paused is not None and paused.answer != "until":
            return None
        possible = max([decision.next_eligible_at, *(parse_instant(end)[0] for end in ends if end is not None)])
        return possible if possible > self.now else None

    def _paused(self, decision: Decision) -> Reason | None:
        """The switches that would stop its ask now; None where gate 2 says so itself, or there are none."""
        request = ReservationRequested(
            command_id=RESPONSE,
            opportunity_id=decision.opportunity_id,
            customer_id=self.name,
            segment=word(self.customer.segment),
            trigger=decision.trigger,
            priority=0,
            raw_score=0,
            due=self.now,
            valid_until=self.now,
            now=self.now,
        )
        answer = deepcopy(self.caps).request(request)
        says = next(reason for reason in decision.reasons if reason.gate == "paused")
        if not isinstance(answer, ReservationDenied) or answer.gate != "paused" or says.answer != "pass":
            return None
        if answer.until is not None:
            return Reason(gate="paused", answer="until", until=rfc3339(answer.until), saw=answer.saw, limit=says.limit)
        return Reason(gate="paused", answer="until_event", until=answer.until_event, saw=answer.saw, limit=says.limit)

    def _against_praise(self) -> str | None:
        """A top score also ends the wait after a bad one; a compliment does not."""
        trial = self._now(ev.ComplimentGiven(reference=RESPONSE))
        decision = _about(RESPONSE, trial)
        return None if trial.ask is not None or decision is None else self._against(decision)

    def _now(self, data: Data) -> _Trial:
        """What becomes of an occasion to ask that comes now."""
        return self.trial(self.now, [Change(self.name, data)], self.now + self._longest_window())

    def _longest_window(self) -> int:
        """No window of the policy is longer (ms)."""
        return max(trigger.shortest_window for trigger in self.policy.triggers.values()) + DAY

    def _of(self, opportunity: Opportunity, trial: _Trial) -> Prospect:
        decision = trial.last.get(opportunity.id)
        about, words = (opportunity.id, opportunity.trigger), phrases()
        if trial.ask is not None and trial.ask.opportunity_id == opportunity.id:
            text = words.say("prospects", "planned", when=self._when(trial.ask))
            return self._told(*about, "planned", text, trial.ask.decided_at)
        if decision is not None and decision.outcome == "holdout":
            text = words.say("prospects", "holdout", when=self._when(decision))
            return Prospect(*about, text, kind="holdout", brief=text)
        if trial.ask is not None and trial.ask.decided_at < opportunity.deadline:
            text = words.say("prospects", "another_first", trigger=happening(trial.ask.trigger))
            return Prospect(*about, text, kind="another_first", brief=text)
        return self._if_changed(opportunity, decision)

    def _told(
        self,
        opportunity_id: str | None,
        trigger: str,
        kind: ProspectKind,
        text: str,
        asked_at: int | None,
        would: _Would | None = None,
        brief: str | None = None,
    ) -> Prospect:
        """A prospect with an ask in it; in shadow mode it is counted, and nothing is sent."""
        brief = text if brief is None else brief
        if asked_at is not None and self.policy.shadow:
            text, brief = (phrases().say("prospects", "shadow", text=each) for each in (text, brief))
            kind, asked_at = "shadow", None
        if would is None:
            return Prospect(opportunity_id, trigger, text, asked_at, kind=kind, brief=brief, about=opportunity_id)
        return Prospect(
            opportunity_id,
            trigger,
            text,
            asked_at,
            changes=tuple(if_it_happens(change.data) for change in would.changes),
            at=would.start,
            by=would.by,
            before=would.before,
            events=would.changes,
            kind=kind,
            brief=brief,
            about=would.ask.opportunity_id,
        )

    def _if_changed(self, opportunity: Opportunity, decision: Decision | None) -> Prospect:
        """What has to happen for an ask, or that nothing helps."""
        about = (opportunity.id, opportunity.trigger)
        would = self._would(opportunity, decision)
        if would is not None:
            told, brief = (self._in_words(would, opportunity, whole=whole) for whole in (True, False))
            return self._told(*about, "would", told, would.ask.decided_at, would, brief)
        withheld = self._withheld(opportunity, decision)
        against = None if decision is None else self._against(withheld or decision)
        ends = self._clock(opportunity.deadline)
        text = phrases().say("prospects", "no_more", against=against, instant=ends)
        return Prospect(
            *about, text, kind="no_more", brief=phrases().say("prospects", "no_more", against=None, instant=ends)
        )

    def _withheld(self, opportunity: Opportunity, decision: Decision | None) -> Decision | None:
        """The decision that the holdout group makes of it when nothing else is in the way any more."""
        lifted = [] if decision is None else list(likely(self.customer, opportunity, decision))
        found = self.trial(max(self.now, opportunity.ready), lifted, opportunity.deadline).last.get(opportunity.id)
        return found if found is not None and found.outcome == "holdout" else None

    def _would(self, opportunity: Opportunity, decision: Decision | None) -> _Would | None:
        """Changes that lead to an ask inside the window: what blocks now lifted together, else any single event."""
        end = opportunity.deadline
        proposed = [] if decision is None else list(likely(self.customer, opportunity, decision))
        start = self._soonest(opportunity, proposed, TRIAL_STEP) if proposed else None
        if start is None:
            step = max(TRIAL_STEP, (end - self.now) // _SINGLE_TRIALS)
            singles = ([change] for change in every(self.customers, self.name, opportunity))
            proposed, start = next(
                ((single, at) for single in singles if (at := self._soonest(opportunity, single, step)) is not None),
                ([], None),
            )
        if start is None:
            return None
        needed = self._needed(start, end, proposed)
        ask = self.ask_if(start, end, needed)
        if ask is None:  # not possible: what is needed was tried last
            return None
        before = self._last(start, end, end, needed) + 1
        by = self._last(start, before, end, needed, asked_at=ask.decided_at) + 1
        late = self.ask_if(before - 1, end, needed) or ask
        return _Would(tuple(needed), start, ask, by, before, late)

    def _in_words(self, would: _Would, opportunity: Opportunity, *, whole: bool) -> str:
        """``whole``: with how long the changes would still help."""
        words, ask = phrases(), would.ask
        at_once = ask.decided_at == would.start
        lasts = whole and would.before > would.start + 1
        if would.by == ask.decided_at + 1 and not at_once:
            within = words.word("prospects", "by_then")  # in time up to the very instant of the ask
        elif would.by > would.start + 1 and not at_once:
            within = words.say("prospects", "by", instant=self._clock(would.by))
        else:
            within = words.word("prospects", "now")
            if would.start > self.now:
                within = words.say("prospects", "on", instant=self._clock(would.start))
        return words.say(
            "prospects",
            "would",
            other=happening(ask.trigger) if ask.opportunity_id != opportunity.id else None,
            when=self._when(ask, would.start),
            condition=f" {words.word('words', 'and')} ".join(if_it_happens(change.data) for change in would.changes),
            within=within,
            before=self._clock(would.before) if lasts and would.before > would.by else None,
            late=self._when(would.late, would.before - 1),
        )

    # -------------------------------------------------------------------------------------------------------- searching

    def _soonest(self, opportunity: Opportunity, changes: list[Change], step: int) -> int | None:
        """The first instant tried at which all changes together bring an ask inside the window."""
        end = opportunity.deadline
        starts = {self.now, *range(self.now + step, end, step)}
        if self.now <= opportunity.ready < end:
            starts.add(opportunity.ready)
        return next((start for start in sorted(starts) if self.ask_if(start, end, changes) is not None), None)

    def _needed(self, start: int, end: int, changes: list[Change]) -> list[Change]:
        """The changes without those that an ask does not need; of several ways the one proposed first is kept."""
        needed = changes
        for change in reversed(changes):
            fewer = [other for other in needed if other is not change]
            if fewer and self.ask_if(start, end, fewer) is not None:
                needed = fewer
        return needed

    def _last(self, start: int, limit: int, end: int, changes: list[Change], *, asked_at: int | None = None) -> int:
        """An instant in ``[start, limit)``, as late as can be, up to which the changes bring an ask (at ``asked_at``).

        Nearly always it is the last one of all, or that of the ask; else halving the interval finds it. What lies
        before it is looked at in some places, and if one of them says otherwise, nothing is claimed beyond that.
        """

        def helps(instant: int) -> bool:
            ask = self.ask_if(instant, end, changes)
            return ask is not None and asked_at in (None, ask.decided_at)

        low, high = start, limit
        likely_last = (limit - 1,) if asked_at is None else (limit - 1, asked_at)
        for instant in likely_last:
            if start <= instant < limit and helps(instant) and (instant + 1 == limit or not helps(instant + 1)):
                low = high = instant
                break
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if helps(middle) else (low, middle)
        places = {start + (low - start) * n // _LOOKED_AT for n in range(1, _LOOKED_AT)}
        return low if asked_at is None or all(map(helps, places)) else start

    def ask_if(self, at: int, end: int, changes: Sequence[Change]) -> Decision | None:
        """The ask before ``end`` that follows if these changes happen at the instant ``at``."""
        ask = self.trial(at, changes, end).ask
        return ask if ask is not None and ask.decided_at < end else None

    def trial(self, at: int = 0, changes: Sequence[Change] = (), until: int | None = None) -> _Trial:
        """What becomes of the customer if these changes happen at that instant, to the end of all open windows."""
        replay = FactReplay(self.policy, caps=deepcopy(self.caps), customers=self.customers, recorded=False)
        arrivals = [Arrival(at, self._event(change, at, n)) for n, change in enumerate(changes)]
        asks: dict[str | None, Decision] = {}
        last: dict[str, Decision] = {}
        ends = [opportunity.deadline for opportunity in self.customer.live]
        for items in replay.run(arrivals, max([*ends, at, self.now]) if until is None else until):
            for _, effect in items:
                match effect:
                    case Decision() if effect.customer_id == self.name:
                        if effect.outcome != "duplicate":
                            last[effect.opportunity_id] = effect
                        if effect.outcome in EMITTED and effect.outcome != "holdout":
                            asks[effect.command_id] = effect
                    case AskCancelled(command_id=command):
                        asks.pop(command, None)  # taken back
                    case _:
                        pass
        return _Trial(next(iter(asks.values()), None), last)

    def _event(self, change: Change, at: int, number: int) -> Event:
        subject, data = change
        time = at if not isinstance(data, ev.SignedUp) else at - 2 * self.policy.too_early.tenure_days * DAY
        return Event(id=f"{number}|{at}", source=SOURCE, type=data.type, subject=subject, time=max(time, 0), data=data)

    # ---------------------------------------------------------------------------------------------------------- wording

    def _clock(self, instant: int) -> str:
        return clock_words(instant, zone(self.local))

    def _when(self, decision: Decision, since: int | None = None) -> str:
        at_once = decision.decided_at <= (self.now if since is None else since)
        return phrases().say("prospects", "at_once" if at_once else "on", instant=self._clock(decision.decided_at))


def _about(subject: str, trial: _Trial) -> Decision | None:
    return next((decision for decision in trial.last.values() if decision.subject == subject), None)


def _reasons(decision: Decision) -> str:
    return in_the_way(_shown(decision))


def _shown(decision: Decision) -> dict[str, Any]:
    return decision.model_dump(mode="json", exclude_none=True)
