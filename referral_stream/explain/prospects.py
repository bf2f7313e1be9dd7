"""What will become of a customer's open reasons to ask, as things stand, and what would change it.

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

TRIAL_STEP = 6 * HOUR
"""The spacing of the instants at which an event that does not help at once is tried: each part of each day."""

SOURCE = "referral-stream/explain"
RESPONSE = "explain"
"""The response id of the survey answer that is made up to see what stands in the way of any ask."""


class Change(NamedTuple):
    """An event that might lift a gate, and how it is put: "ticket 4711 is solved well"."""

    words: str
    data: Data


@dataclass(frozen=True)
class Prospect:
    """What will or could become of one reason to ask; of any new one if ``opportunity_id`` is None.

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
        return [Prospect(None, "", "erased: will never be asked again")]
    world = _World.around(policy, customers, caps, name, now)
    prospects = world.of_live() + world.of_conversions()
    return prospects or [world.of_a_top_score()]


class _Trial(NamedTuple):
    """What became of a customer in a trial: the first ask (its decision), and each reason's last decision."""

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
        """Referrals that converted: a reason to ask that opens later."""
        return [
            Prospect(None, "referral_converted", f"becomes a reason to ask on {self._clock(conversion.opens_at)}")
            for _, referral in sorted(self.customer.referrals.items())
            if (conversion := referral.conversion) is not None
        ]

    def of_a_top_score(self) -> Prospect:
        """With nothing open: what would become of the strongest reason to ask, if it came now."""
        trial = self.trial(self.now, [Change("", ev.NpsResponded(response_id=RESPONSE, score=10))])
        if trial.ask is not None:
            text = f"nothing is open now; a top score now would be followed by an ask {self._when(trial.ask)}"
            return Prospect(None, "nps_promoter", f"{text}{self._but_other_reasons()}", trial.asked_at)
        text = "nothing is open now"
        if (decision := _about(RESPONSE, trial)) is not None:
            text = f"{text}; a top score now would not be followed by an ask: {_reasons(decision)}"
            if decision.next_eligible_at is not None and decision.next_eligible_at > self.now:
                text = f"{text}. The next ask is possible on {self._clock(decision.next_eligible_at)} at the earliest"
        return Prospect(None, "nps_promoter", text)

    def _but_other_reasons(self) -> str:
        """A top score also ends the wait after a bad one; any other reason to ask does not."""
        trial = self.trial(self.now, [Change("", ev.ComplimentGiven(reference=RESPONSE))])
        decision = _about(RESPONSE, trial)
        if trial.ask is not None or decision is None or not (against := _reasons(decision)):
            return ""
        return f"; after any other reason to ask there would be none: {against}"

    def _of(self, opportunity: Opportunity, trial: _Trial) -> Prospect:
        decision = trial.last.get(opportunity.id)
        about = (opportunity.id, opportunity.trigger)
        if decision is not None and decision.outcome in EMITTED:
            if decision.outcome == "holdout":
                return Prospect(*about, f"in the holdout group: not asked, and counted as asked {self._when(decision)}")
            return Prospect(*about, f"as things stand, asked {self._when(decision)}", decision.decided_at)
        if trial.ask is not None:
            return Prospect(*about, f"not asked: {happening(trial.ask.trigger)} is asked about first")
        return self._if_changed(opportunity, decision)

    def _if_changed(self, opportunity: Opportunity, decision: Decision | None) -> Prospect:
        """What has to happen for an ask, or that nothing helps."""
        about = (opportunity.id, opportunity.trigger)
        proposed = [] if decision is None else list(self._proposed(opportunity, decision))
        found = self._soonest(opportunity, proposed) if proposed else None
        if found is None:
            ends = f"its window ends {self._clock(opportunity.deadline)}"
            against = ends if decision is None else f"{_reasons(decision)}; {ends}"
            return Prospect(*about, f"can no longer be asked about: {against}")
        start, ask = found
        needed = self._needed(start, proposed)
        before = self._last(start, opportunity.deadline, needed) + 1
        by = self._last(start, before, needed, asked_at=ask.decided_at) + 1
        return Prospect(
            *about,
            self._told(ask, opportunity, needed, start, by, before),
            ask.decided_at,
            tuple(change.words for change in needed),
            by,
            before,
        )

    def _told(
        self, ask: Decision, opportunity: Opportunity, needed: list[Change], start: int, by: int, before: int
    ) -> str:
        condition = " and ".join(change.words for change in needed)
        other = f" about another reason ({happening(ask.trigger)})" if ask.opportunity_id != opportunity.id else ""
        if ask.decided_at <= start:
            since = "" if start == self.now else f"not before {self._clock(start)} and "
            return f"would be asked{other} when {condition}, if that is {since}before {self._clock(before)}"
        told = f"would be asked{other} {self._when(ask)} if {condition} by {self._limit(by, ask.decided_at)}"
        return told if before <= by else f"{told}; after that, it would still do before {self._clock(before)}"

    def _limit(self, by: int, asked_at: int) -> str:
        return "then" if by == asked_at + 1 else self._clock(by)  # in time up to the very instant of the ask

    # -------------------------------------------------------------------------------------------------------- searching

    def _soonest(self, opportunity: Opportunity, changes: list[Change]) -> tuple[int, Decision] | None:
        """The first instant tried at which all changes together bring an ask, and that ask."""
        starts = {self.now, *range(self.now + TRIAL_STEP, opportunity.deadline, TRIAL_STEP)}
        if self.now <= opportunity.ready < opportunity.deadline:
            starts.add(opportunity.ready)
        for start in sorted(starts):
            trial = self.trial(start, changes)
            if trial.ask is not None:
                return start, trial.ask
        return None

    def _needed(self, start: int, changes: list[Change]) -> list[Change]:
        """The changes without those that an ask does not need; of several ways the one proposed first is kept."""
        needed = changes
        for change in reversed(changes):
            fewer = [other for other in needed if other is not change]
            if fewer and self.trial(start, fewer).ask is not None:
                needed = fewer
        return needed

    def _last(self, start: int, end: int, changes: list[Change], *, asked_at: int | None = None) -> int:
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

    def trial(self, at: int = 0, changes: list[Change] | None = None) -> _Trial:
        """What becomes of the customer if these changes happen at that instant, to the end of all open windows."""
        replay = FactReplay(self.policy, caps=deepcopy(self.caps), customers=self.customers)
        arrivals = [Arrival(at, self._event(change.data, at, n)) for n, change in enumerate(changes or [])]
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

    def _proposed(self, opportunity: Opportunity, decision: Decision) -> Iterator[Change]:
        """Changes that might lift what still blocks at the end, the likeliest first; the trials sort them out."""
        customer = self.customer
        for reason in decision.reasons:
            match reason.gate:
                case _ if reason.answer == "pass":
                    pass
                case "paused":
                    yield from _resumed(opportunity.trigger, word(customer.segment))
                case "consent":
                    yield Change("consent is given", _CONSENT)
                    yield Change("they are taken off the suppression list", ev.Unsuppressed())
                case "too_early":
                    yield from _early(customer)
                case "trouble":
                    yield from _trouble(customer, reason.until)
                case "propensity":
                    yield from _SIGNALS
                case "channel":
                    reachable = ev.ReachableChannels(email=True)
                    yield Change("they can be reached by e-mail", ev.ProfileChanged(channels=reachable))
                case "moment":
                    yield from _MOMENTS
                case "approval":
                    approved = ev.AskApproved(opportunity_id=opportunity.id, by=SOURCE)
                    yield Change("somebody approves it", approved)
                case _:
                    pass  # a cap, an answer, another ask: time alone lifts these

    # ---------------------------------------------------------------------------------------------------------- wording

    def _clock(self, instant: int) -> str:
        return clock_words(instant, zone(self.local))

    def _when(self, decision: Decision) -> str:
        return "at once" if decision.decided_at <= self.now else f"on {self._clock(decision.decided_at)}"


def _resumed(trigger: str, segment: str | None) -> Iterator[Change]:
    switches: list[tuple[str, ev.Scope, str | None]] = [
        ("asks are resumed", "all", None),
        (f"asks for the trigger {trigger} are resumed", "trigger", trigger),
        (f"asks of the segment {segment} are resumed", "segment", segment),
    ]
    for words, scope, name in switches:
        if scope == "all" or name is not None:
            yield Change(words, ev.ControlResumed(scope=scope, name=name, by=SOURCE, why="a trial"))


def _trouble(customer: Customer, awaited: str | None) -> Iterator[Change]:
    """``awaited`` is the event the gate names: what would start its own wait is proposed only if it is that event."""
    for name, ticket in sorted(customer.tickets.items()):
        if ticket.open:
            yield Change(f"ticket {name} is solved well", ev.TicketSolved(ticket_id=name, rating="positive"))
        elif ticket.rating is None:
            yield Change(f"ticket {name} is rated well", ev.TicketRated(ticket_id=name, rating="positive"))
    for name, invoice in sorted(customer.invoices.items()):
        if invoice.failed:
            yield Change(f"invoice {name} is paid", ev.InvoicePaid(invoice_id=name))
    for name, dispute in sorted(customer.disputes.items()):
        if dispute.status == "open":
            yield Change(f"the dispute of charge {name} is won", ev.DisputeClosed(charge_id=name, won=True))
    if customer.quarantined:
        yield Change("the event that failed goes through", ev.DeadletterReplayed())
    if awaited == ev.CancellationReverted.type:
        for name, cancellation in sorted(customer.cancellations.items()):
            if cancellation.scheduled is not None:
                yield Change("the cancellation is reverted", ev.CancellationReverted(subscription_id=name or None))


def _early(customer: Customer) -> Iterator[Change]:
    if not customer.onboarded:
        yield Change("onboarding is completed", ev.OnboardingCompleted())
    if customer.signed_up is None:
        yield Change("it becomes known that they signed up long ago", ev.SignedUp())
    if on_trial(customer):
        subscriptions = {event.subscription for event in customer.subscriptions if event.kind == "trial"}
        for name in sorted(subscriptions) or ["trial"]:
            yield Change("the trial ends with a purchase", ev.TrialEnded(subscription_id=name, converted=True))
    yield Change("some value is realised (a milestone, a goal, a saving)", ev.GoalAchieved(goal=SOURCE))
    yield Change("they use the product on another day", ev.UsageRecorded())


_CONSENT = ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True)

_SIGNALS = (
    Change("they talk with us", ev.InteractionRecorded(kind="call", positive=True)),
    Change("they share positive feedback", ev.FeedbackShared(positive=True)),
    Change("they use the product more than the average", ev.UsageCompared(above_average=True)),
    Change("they become a champion", ev.ChampionChanged(champion=True)),
)
"""What lifts the score without being a reason to ask itself, the likeliest first."""

_MOMENTS = (
    Change("they complete a workflow in the app", ev.WorkflowCompleted()),
    Change("a call with them ends well", ev.CallMoment(kind="satisfaction_expressed")),
)


def _about(subject: str, trial: _Trial) -> Decision | None:
    return next((decision for decision in trial.last.values() if decision.subject == subject), None)


def _reasons(decision: Decision) -> str:
    return in_the_way(decision.model_dump(mode="json", exclude_none=True))
