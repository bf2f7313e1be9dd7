"""What will become of a customer's open occasions to ask, as things stand, and what would change it.

None of the rules is repeated here: each answer is a trial on a copy of the customer's world, with the same step and
ledger that decide. What might lift a gate is only proposed; the step says which of it is needed, and until when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import Decision
from referral_stream.core.events import Data, Event
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.rules.gates import on_trial
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import zone
from referral_stream.replay.recording_ledger import RecordingLedger, Whom
from referral_stream.replay.virtual_run import Arrival, FactReplay
from referral_stream.words.decisions import EMITTED, clock_words, happening, in_the_way
from referral_stream.words.events import if_it_happens
from referral_stream.words.phrases import phrases

TRIAL_STEP = 6 * HOUR
"""The spacing of the instants at which an event that does not help at once is tried: each part of each day."""

SOURCE = "referral-stream/explain"
RESPONSE = "explain"
"""The response id of the survey answer that is made up to see what stands in the way of any ask."""


@dataclass(frozen=True)
class Prospect:
    """What will or could become of one occasion to ask; of any new one if ``opportunity_id`` is None.

    ``asked_at``: when the ask would be made, None for never. With ``changes`` (in plain words) it would be made so only
    if these happen by ``by``; they still help, with a later ask, before ``before``. Instants are epoch ms.
    """

    opportunity_id: str | None
    trigger: str
    text: str
    asked_at: int | None = None
    changes: tuple[str, ...] = ()
    by: int | None = None
    before: int | None = None


def outlook(
    policy: Policy, customers: Mapping[str, Customer], caps: RecordingLedger, name: str, now: int
) -> list[Prospect]:
    """The prospects of the customer of that name at the instant ``now``, in the order in which they were opened."""
    customer = customers[name]
    if customer.erased_at is not None:
        return [Prospect(None, "", phrases().say("prospects", "erased"))]
    world = _World.around(policy, customers, caps, name, now)
    prospects = world.of_live() + world.of_conversions()
    return prospects or [world.of_a_top_score()]


class _Trial(NamedTuple):
    """What became of a customer in a trial: the first ask (its decision), and each occasion's last decision."""

    ask: Decision | None
    last: dict[str, Decision]

    @property
    def asked_at(self) -> int | None:
        return None if self.ask is None else self.ask.decided_at


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
        cls, policy: Policy, customers: Mapping[str, Customer], caps: RecordingLedger, name: str, now: int
    ) -> _World:
        customer = customers[name]
        account, email = customer.account_id, word(customer.email_hmac)
        kin = {
            other.id: other
            for other in customers.values()
            if other.id == name
            or (account is not None and other.account_id == account)
            or (email is not None and word(other.email_hmac) == email)
        }
        whom = Whom(
            customers=kin.keys(),
            emails={found for other in kin.values() if (found := word(other.email_hmac)) is not None},
            accounts={other.account_id for other in kin.values() if other.account_id is not None},
        )
        return cls(policy, kin, caps.about(whom), name, now, zone_of(customer, policy).name)

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
            Prospect(
                None,
                "referral_converted",
                phrases().say("prospects", "opens", instant=self._clock(conversion.opens_at)),
            )
            for _, referral in sorted(self.customer.referrals.items())
            if (conversion := referral.conversion) is not None
        ]

    def of_a_top_score(self) -> Prospect:
        """With nothing open: what would become of the strongest occasion to ask, if it came now."""
        words = phrases()
        trial = self.trial(self.now, [ev.NpsResponded(response_id=RESPONSE, score=10)])
        if trial.ask is not None:
            text = words.say("prospects", "top_score", when=self._when(trial.ask), against=self._against_others())
        elif (decision := _about(RESPONSE, trial)) is not None:
            possible = decision.next_eligible_at
            text = words.say(
                "prospects",
                "no_top_score",
                against=_reasons(decision),
                instant=None if possible is None or possible <= self.now else self._clock(possible),
            )
        else:
            text = words.say("prospects", "nothing_open")
        return Prospect(None, "nps_promoter", text, trial.asked_at)

    def _against_others(self) -> str | None:
        """A top score also ends the wait after a bad one; any other occasion to ask does not."""
        trial = self.trial(self.now, [ev.ComplimentGiven(reference=RESPONSE)])
        decision = _about(RESPONSE, trial)
        return None if trial.ask is not None or decision is None else _reasons(decision)

    def _of(self, opportunity: Opportunity, trial: _Trial) -> Prospect:
        decision = trial.last.get(opportunity.id)
        about, words = (opportunity.id, opportunity.trigger), phrases()
        if decision is not None and decision.outcome in EMITTED:
            when = self._when(decision)
            if decision.outcome == "holdout":
                return Prospect(*about, words.say("prospects", "holdout", when=when))
            return Prospect(*about, words.say("prospects", "planned", when=when), decision.decided_at)
        if trial.ask is not None:
            return Prospect(*about, words.say("prospects", "another_first", trigger=happening(trial.ask.trigger)))
        return self._if_changed(opportunity, decision)

    def _if_changed(self, opportunity: Opportunity, decision: Decision | None) -> Prospect:
        """What has to happen for an ask, or that nothing helps."""
        about = (opportunity.id, opportunity.trigger)
        proposed = [] if decision is None else list(self._proposed(opportunity, decision))
        found = self._soonest(opportunity, proposed) if proposed else None
        if found is None:
            against = None if decision is None else _reasons(decision)
            ends = self._clock(opportunity.deadline)
            return Prospect(*about, phrases().say("prospects", "no_more", against=against, instant=ends))
        start, ask = found
        needed = self._needed(start, proposed)
        before = self._last(start, opportunity.deadline, needed) + 1
        by = self._last(start, before, needed, asked_at=ask.decided_at) + 1
        return Prospect(
            *about,
            self._told(ask, opportunity, needed, start, by, before),
            ask.decided_at,
            tuple(map(if_it_happens, needed)),
            by,
            before,
        )

    def _told(
        self, ask: Decision, opportunity: Opportunity, needed: list[Data], start: int, by: int, before: int
    ) -> str:
        words = phrases()
        condition = f" {words.word('words', 'and')} ".join(map(if_it_happens, needed))
        other = happening(ask.trigger) if ask.opportunity_id != opportunity.id else None
        if ask.decided_at <= start:
            return words.say(
                "prospects",
                "at_once_if",
                other=other,
                condition=condition,
                since=None if start == self.now else self._clock(start),
                before=self._clock(before),
            )
        up_to_the_ask = by == ask.decided_at + 1  # in time up to the very instant of the ask
        return words.say(
            "prospects",
            "later_if",
            other=other,
            when=self._when(ask),
            condition=condition,
            by=words.say("prospects", "then") if up_to_the_ask else self._clock(by),
            before=None if before <= by else self._clock(before),
        )

    # -------------------------------------------------------------------------------------------------------- searching

    def _soonest(self, opportunity: Opportunity, changes: list[Data]) -> tuple[int, Decision] | None:
        """The first instant tried at which all changes together bring an ask, and that ask."""
        starts = {self.now, *range(self.now + TRIAL_STEP, opportunity.deadline, TRIAL_STEP)}
        if self.now <= opportunity.ready < opportunity.deadline:
            starts.add(opportunity.ready)
        for start in sorted(starts):
            trial = self.trial(start, changes)
            if trial.ask is not None:
                return start, trial.ask
        return None

    def _needed(self, start: int, changes: list[Data]) -> list[Data]:
        """The changes without those that an ask does not need; of several ways the one proposed first is kept."""
        needed = changes
        for change in reversed(changes):
            fewer = [other for other in needed if other is not change]
            if fewer and self.trial(start, fewer).ask is not None:
                needed = fewer
        return needed

    def _last(self, start: int, end: int, changes: list[Data], *, asked_at: int | None = None) -> int:
        """The last instant in ``[start, end)`` at which the changes still bring an ask (at ``asked_at``, if given).

        They do at ``start``. Later changes never bring an earlier ask, so halving the interval finds it.
        """
        low, high = start, end
        while high - low > 1:
            middle = (low + high) // 2
            found = self.trial(middle, changes).asked_at
            if found is not None and asked_at in (None, found):
                low = middle
            else:
                high = middle
        return low

    def trial(self, at: int = 0, changes: list[Data] | None = None) -> _Trial:
        """What becomes of the customer if these changes happen at that instant, to the end of all open windows."""
        replay = FactReplay(self.policy, caps=deepcopy(self.caps), customers=self.customers)
        arrivals = [Arrival(at, self._event(change, at, n)) for n, change in enumerate(changes or [])]
        ask: Decision | None = None
        last: dict[str, Decision] = {}
        for items in replay.run(arrivals, self._end(at, opened=bool(changes))):
            for _, effect in items:
                if isinstance(effect, Decision) and effect.customer_id == self.name:
                    if effect.outcome != "duplicate":
                        last[effect.opportunity_id] = effect
                    if ask is None and effect.outcome in EMITTED and effect.outcome != "holdout":
                        ask = effect
        return _Trial(ask, last)

    def _end(self, at: int, *, opened: bool) -> int:
        """The last deadline among what is open; what a change opens has its own window."""
        ends = [opportunity.deadline for opportunity in self.customer.live]
        return max([*ends, at + 2 * DAY if opened and not ends else at, self.now])

    def _event(self, data: Data, at: int, number: int) -> Event:
        time = at if not isinstance(data, ev.SignedUp) else at - 2 * self.policy.too_early.tenure_days * DAY
        subject = "" if data.type in ev.WITHOUT_SUBJECT else self.name
        return Event(id=f"{number}|{at}", source=SOURCE, type=data.type, subject=subject, time=max(time, 0), data=data)

    # --------------------------------------------------------------------------------------------- what might help

    def _proposed(self, opportunity: Opportunity, decision: Decision) -> Iterator[Data]:
        """Changes that might lift what still blocks at the end, the likeliest first; the trials sort them out."""
        customer = self.customer
        for reason in decision.reasons:
            match reason.gate:
                case _ if reason.answer == "pass":
                    pass
                case "paused":
                    yield from _resumed(opportunity.trigger, word(customer.segment))
                case "consent":
                    yield ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True)
                    yield ev.Unsuppressed()
                case "too_early":
                    yield from _early(customer)
                case "trouble":
                    yield from _trouble(customer, reason.until)
                case "propensity":
                    yield from _SIGNALS
                case "channel":
                    yield ev.ProfileChanged(channels=ev.ReachableChannels(email=True))
                case "moment":
                    yield from _MOMENTS
                case "approval":
                    yield ev.AskApproved(opportunity_id=opportunity.id, by=SOURCE)
                case _:
                    pass  # a cap, an answer, another ask: time alone lifts these

    # ---------------------------------------------------------------------------------------------------------- wording

    def _clock(self, instant: int) -> str:
        return clock_words(instant, zone(self.local))

    def _when(self, decision: Decision) -> str:
        at_once = decision.decided_at <= self.now
        return phrases().say("prospects", "at_once" if at_once else "on", instant=self._clock(decision.decided_at))


def _resumed(trigger: str, segment: str | None) -> Iterator[Data]:
    switches: list[tuple[ev.Scope, str | None]] = [("all", None), ("trigger", trigger), ("segment", segment)]
    for scope, name in switches:
        if scope == "all" or name is not None:
            yield ev.ControlResumed(scope=scope, name=name, by=SOURCE, why="a trial")


def _trouble(customer: Customer, awaited: str | None) -> Iterator[Data]:
    """``awaited`` is the event the gate names: what would start its own wait is proposed only if it is that event."""
    for name, ticket in sorted(customer.tickets.items()):
        if ticket.open:
            yield ev.TicketSolved(ticket_id=name, rating="positive")
        elif ticket.rating is None:
            yield ev.TicketRated(ticket_id=name, rating="positive")
    for name, invoice in sorted(customer.invoices.items()):
        if invoice.failed:
            yield ev.InvoicePaid(invoice_id=name)
    for name, dispute in sorted(customer.disputes.items()):
        if dispute.status == "open":
            yield ev.DisputeClosed(charge_id=name, won=True)
    if customer.quarantined:
        yield ev.DeadletterReplayed()
    if awaited == ev.CancellationReverted.type:
        for name, cancellation in sorted(customer.cancellations.items()):
            if cancellation.scheduled is not None:
                yield ev.CancellationReverted(subscription_id=name or None)


def _early(customer: Customer) -> Iterator[Data]:
    if not customer.onboarded:
        yield ev.OnboardingCompleted()
    if customer.signed_up is None:
        yield ev.SignedUp()
    if on_trial(customer):
        subscriptions = {event.subscription for event in customer.subscriptions if event.kind == "trial"}
        for name in sorted(subscriptions) or ["trial"]:
            yield ev.TrialEnded(subscription_id=name, converted=True)
    yield ev.GoalAchieved(goal=SOURCE)
    yield ev.UsageRecorded()


_SIGNALS = (
    ev.InteractionRecorded(kind="call", positive=True),
    ev.FeedbackShared(positive=True),
    ev.UsageCompared(above_average=True),
    ev.ChampionChanged(champion=True),
)
"""What lifts the score without being an occasion to ask itself, the likeliest first."""

_MOMENTS = (
    ev.WorkflowCompleted(),
    ev.CallMoment(kind="satisfaction_expressed"),
)


def _about(subject: str, trial: _Trial) -> Decision | None:
    return next((decision for decision in trial.last.values() if decision.subject == subject), None)


def _reasons(decision: Decision) -> str:
    return in_the_way(decision.model_dump(mode="json", exclude_none=True))
