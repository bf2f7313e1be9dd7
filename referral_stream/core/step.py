"""The step: the one function that live stream, replay, tests and benchmarks call.

``step(policy, customer, inputs, now)`` folds the records of one instant into a customer's state and says what follows.
It is pure: same arguments, same result; the state passed in is not touched. Within an instant the order is that of
semantics §10: the records in their order (after each, every live opportunity is judged again), then deadlines, then the
dispatch; of several changes of a decision at one instant only the last is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.composing import EffectBuilder, Emission
from referral_stream.core.customer import Conversion, Customer, Stamp
from referral_stream.core.effects import Effect, GateName, Outcome, Rival, Score
from referral_stream.core.events import Channel, Event
from referral_stream.core.fold import fold, seen_before
from referral_stream.core.ids import command_id, hash64, opportunity_id, reason_command_id
from referral_stream.core.instants import DAY, HOUR, SECOND, utc_day
from referral_stream.core.opportunity import Awaiting, Denial, Opportunity
from referral_stream.core.policy import Mode, Policy
from referral_stream.core.rules import gates, moments, propensity, triggers, usage, windows
from referral_stream.core.rules.gates import Verdict, View
from referral_stream.core.rules.triggers import Occasion
from referral_stream.core.zones import Zone

ASKS_KEPT_DAYS = 400
"""Asks are remembered as long as the logs are kept; every wait of semantics §4 is shorter."""

_ANSWERS = frozenset({*(data.type for data in ev.INTERNAL), ev.ControlResumed.type})
"""Records that are no facts about the customer: what we have asked for, or told ourselves."""

_CONSEQUENTIAL = frozenset(
    data.type for data in (ev.NpsResponded, ev.CsatResponded, ev.AskAcknowledged, ev.ReferralStatusChanged)
)
"""Facts that may change more than the state and what is live."""


class Advanced(NamedTuple):
    """What a step returns: the new state, what to tell the world in this order, and when to be woken (None: never)."""

    customer: Customer
    effects: list[Effect]
    wake_at: int | None


def step(policy: Policy, customer: Customer, inputs: Iterable[Event], now: int) -> Advanced:
    """Fold the records of one customer that arrived at the instant ``now`` (epoch ms), and decide.

    ``now`` never goes back for a customer: an earlier one counts as the customer's last. No inputs: a wake-up.
    """
    turn = Turn(policy, customer, now)
    for event in inputs:
        turn.take(event)
    return turn.finish()


class Assessment(NamedTuple):
    """An opportunity with all gates' verdicts at this instant; ``blocking``: those that do not pass."""

    opportunity: Opportunity
    verdicts: tuple[Verdict, ...]
    blocking: tuple[Verdict, ...]

    @property
    def blocked(self) -> bool:
        """Whether a gate other than ``moment`` holds it back."""
        return any(v.gate != "moment" for v in self.blocking)

    @property
    def closed_by_gate(self) -> bool:
        return any(v.closes(self.opportunity.deadline) for v in self.blocking)

    @property
    def clock_allows(self) -> bool:
        return all(v.gate != "moment" for v in self.blocking)


class Turn:
    """One customer's instant, in the making. Works on its own copy of the state."""

    __slots__ = (
        "_zone",
        "c",
        "effects",
        "judged",
        "judged_as_is",
        "learned",
        "moment_channels",
        "now",
        "policy",
        "repeated",
    )

    def __init__(self, policy: Policy, customer: Customer, now: int) -> None:
        self.policy = policy
        self.c = customer.copy()
        self.now = self.c.now = max(now, customer.now)
        self.effects: list[Effect] = []
        self.learned = False  # whether a record said something new at this instant
        self.repeated = False  # whether one said nothing new
        self._zone: Zone | None = None
        self.moment_channels: dict[str, Channel] = {}
        """Opportunity id → channel of the good moment it met at this instant."""
        self.judged: dict[str, Assessment] = {}
        self.judged_as_is = False  # whether judging again would change nothing
        if self.c.judged_day < utc_day(self.now - 1):
            usage.judge(self.c, utc_day(self.now - 1), policy)

    @property
    def zone(self) -> Zone:
        """The customer's zone, as known by now. Most customers have nothing under way and need none."""
        if self._zone is None:
            self._zone = windows.zone_of(self.c, self.policy)
        return self._zone

    # ------------------------------------------------------------------------------------------------------- records

    def take(self, event: Event) -> None:
        """Apply one record, then judge the live opportunities again."""
        if self.c.erased_at is not None:
            return
        self.judged_as_is = False
        if event.type in _ANSWERS:
            news = self._answer(event.data)
        else:
            news = not seen_before(self.c, event, self.now, self.policy)
            if news:
                self._fact(event)
        if news:
            self.learned = True
        else:
            self.repeated = True

    def _answer(self, data: ev.Data) -> bool:
        """What the timer, the ledger or an operator says; whether there is anything new in it."""
        match data:
            case ev.ReservationGranted():
                self._granted(data)
            case ev.ReservationDenied():
                self._denied(data)
            case ev.ReservationUnavailable():
                self._silent(data.command_id)
            case ev.DeadletterReplayed():
                self.c.quarantined = False
                self._judge_live()
            case ev.ControlResumed():
                return self._resumed()
            case _:
                return False  # a wake-up: what is due is seen at the end of the instant
        return True

    def _fact(self, event: Event) -> None:
        asks_before = self.c.asks
        newest = fold(self.c, event)
        if event.timezone is not None or event.type == "customer.profile_changed":
            self._zone = None
        reasons = triggers.occasions_in(event, self.c, self.now, self.policy) if newest else ()
        if event.type in _CONSEQUENTIAL:
            self._follow(event, asks_before, {reason.trigger for reason in reasons}, newest=newest)
        for reason in reasons:
            if self._is_first(reason.trigger, reason.subject):
                self._open(reason, event.time, historical=event.historical, event=event)
        if self.c.live:
            self._judge_live()
            self._meet_moment(event)
        if self.c.asks:
            self._withdraw()

    def _follow(self, event: Event, asks_before: tuple[Ask, ...], still: set[str], *, newest: bool) -> None:
        """What else follows from a fact; ``still``: the triggers that it is a reason for."""
        match event.data:
            case ev.NpsResponded() | ev.CsatResponded() if newest:
                self._corrected(event.data, still)
            case ev.AskAcknowledged():
                self._report(asks_before)
            case ev.ReferralStatusChanged(status="converted") if newest:
                self._converted(event)
            case _:
                pass

    def _corrected(self, data: ev.NpsResponded | ev.CsatResponded, still: set[str]) -> None:
        """A survey answer revised downwards takes back what the first revision opened; a comment may name a theme.

        ``still``: the triggers that the newest revision is a reason for.
        """
        about = triggers.may_open(data.type, self.policy)
        for opportunity in self.c.live:
            if opportunity.trigger in about and opportunity.response == data.response_id:
                if opportunity.trigger not in still:
                    self._close(opportunity, "cancelled", self._verdicts(opportunity))
                elif data.theme is not None:
                    told = replace(opportunity, theme=data.theme)
                    if told.reason_asked_at is not None and opportunity.theme is None:
                        told = replace(told, ready=max(told.settled, self.now))  # what was asked for has been said
                    self._keep(told)
        for ask in self.c.asks:
            o = ask.opportunity
            if o.trigger in about - still and o.response == data.response_id:
                self._cancel(ask, "trouble", "the survey answer was corrected")

    def _report(self, asks_before: tuple[Ask, ...]) -> None:
        """Tell the ledger when a report makes a reservation an ask, or takes it back."""
        for before, after in zip(asks_before, self.c.asks, strict=True):
            if before is after:
                continue
            o = after.opportunity  # the reservation is the opportunity's: a question for the reason has none of its own
            if after.reached and not before.reached:
                self.effects.append(self._say.confirmation(command_id(self.c.id, o.trigger, o.subject)))
            elif before.counts and not after.counts:
                self._release(command_id(self.c.id, o.trigger, o.subject))

    def _converted(self, event: Event) -> None:
        """A referral became a customer: if the referrer is happy enough, a new reason to ask opens later."""
        rule = self.policy.triggers.get("referral_converted")
        data: ev.ReferralStatusChanged = event.data
        if not self._is_first("referral_converted", data.referral_id):
            return
        if rule is None or (rule.score_at_least or 0) > propensity.score(self.c, self.now, self.policy).value:
            return
        conversion = Conversion(
            at=Stamp(event.time, event.source, event.id),
            opens_at=event.time + rule.opens_after_days * DAY,
            historical=event.historical,
        )
        if conversion.opens_at <= self.now:
            self._open_conversion(data.referral_id, conversion)
        else:
            known = self.c.referrals[data.referral_id]
            self.c.referrals = {**self.c.referrals, data.referral_id: replace(known, conversion=conversion)}

    # ----------------------------------------------------------------------------------------------- opportunities

    def _is_first(self, trigger: str, subject: str) -> bool:
        """Whether nothing was a reason of this trigger about this subject before: a business key is used up by this."""
        key = hash64(trigger, subject)
        if trigger not in self.policy.triggers or key in self.c.keys:
            return False
        self.c.keys = (*self.c.keys, key)
        return True

    def _open(self, reason: Occasion, t0: int, *, historical: bool, event: Event | None = None) -> None:
        """Open an opportunity, or record why not. ``event``: what opens it, unless that was long before ``t0``."""
        rule = self.policy.triggers[reason.trigger]
        end = windows.deadline(rule, t0, self.zone)
        settled = windows.settled(rule, t0, end, self.policy)
        opportunity = Opportunity(
            id=opportunity_id(self.c.id, reason.trigger, reason.subject),
            trigger=reason.trigger,
            subject=reason.subject,
            t0=t0,
            deadline=end,
            settled=settled,
            opened_at=self.now,
            ready=max(settled, self.now),
            survey=reason.survey,
            response=reason.response,
            theme=reason.theme,
            variables=reason.variables,
            flags=event.flags if event else (),
            traceparent=event.traceparent if event else None,
        )
        occurred_at = t0 - rule.opens_after_days * DAY
        if historical or (rule.active_since or 0) > occurred_at:
            self._write(opportunity, "historical", self._verdicts(opportunity))
            return
        if self.now >= end:
            self._write(opportunity, "expired_on_arrival", self._verdicts(opportunity))
            return
        # At the deadline itself the one that is live still is: records come before deadlines.
        live = next((o for o in self.c.live if o.trigger == reason.trigger and self.now <= o.deadline), None)
        if live is not None:
            score = propensity.score(self.c, self.now, self.policy)
            told = self._decide(live, "duplicate", self._verdicts(live), score)
            self._keep(replace(told, last=live.last))  # the comparison with the last decision skips it
            return
        self.c.live = (*self.c.live, opportunity)
        self.judged_as_is = False
        self.effects.append(self._say.opened(opportunity))

    def _open_converted(self) -> None:
        """Open what a conversion announced for a time that has come."""
        due = [
            (referral.conversion, referral_id)
            for referral_id, referral in self.c.referrals.items()
            if referral.conversion is not None and referral.conversion.opens_at <= self.now
        ]
        for conversion, referral_id in sorted(due):
            self.c.referrals = {
                **self.c.referrals,
                referral_id: replace(self.c.referrals[referral_id], conversion=None),
            }
            self._open_conversion(referral_id, conversion)
            self._judge_live()  # as after every record: what closes at once takes in no repeat

    def _open_conversion(self, referral_id: str, conversion: Conversion) -> None:
        reason = Occasion("referral_converted", referral_id, {})
        self._open(reason, conversion.opens_at, historical=conversion.historical)

    @property
    def _say(self) -> EffectBuilder:
        return EffectBuilder(self.policy, self.c, self.zone, self.now)

    def _view(self, opportunity: Opportunity) -> View:
        """What the gates look at: this instant; for one whose window is over, its deadline."""
        c, policy = self.c, self.policy
        now = min(self.now, max(opportunity.deadline, opportunity.opened_at))
        return View(
            policy=policy,
            customer=c,
            now=now,
            zone=self.zone,
            score=propensity.score(c, now, policy),
            usable=moments.usable_channels(c, policy),
            opportunity=opportunity,
        )

    def _verdicts(self, opportunity: Opportunity) -> tuple[Verdict, ...]:
        """All gates at this instant; for one whose window is over, as they stood at its deadline."""
        return gates.verdicts(self._view(opportunity))

    def _judge_live(self) -> None:
        """Judge every live opportunity; close at once, for good, what can not open any more in its window."""
        self.judged = {}
        for known in self.c.live:
            if self.now >= known.deadline:
                continue  # deadlines come after the records of their instant
            opportunity = known
            if known.denial is not None and not known.denial.stands(self.now):
                opportunity = replace(known, denial=None)
            judged = self._judge(opportunity)
            self._check_moment(judged)
            if judged.closed_by_gate:
                self._close(opportunity, "suppressed", judged.verdicts)
            else:
                if opportunity is not known:
                    self._keep(opportunity)
                self.judged[known.id] = judged
        self.judged_as_is = True

    def _judge(self, opportunity: Opportunity) -> Assessment:
        verdicts = self._verdicts(opportunity)
        return Assessment(opportunity, verdicts, gates.blocking(verdicts))

    def _meet_moment(self, event: Event) -> None:
        """An event that is a good moment lets everything speak that is ready and free at its arrival."""
        channel = moments.moment_channel(event, self.c, self.now, self.zone, self.policy)
        if channel is None:
            return
        for judged in self.judged.values():
            if not judged.blocked and judged.opportunity.ready <= self.now:
                self.moment_channels.setdefault(judged.opportunity.id, channel)

    def _check_moment(self, judged: Assessment) -> None:
        """A good moment is lost to a gate that blocks at its instant, and when its channel may not speak any more."""
        channel = self.moment_channels.get(judged.opportunity.id)
        if channel is None:
            return
        usable = channel in moments.usable_channels(self.c, self.policy)
        if judged.blocked or not usable or not moments.speaks_at(channel, self.c, self.now, self.zone, self.policy):
            del self.moment_channels[judged.opportunity.id]

    def _keep(self, opportunity: Opportunity) -> None:
        self.c.live = tuple(opportunity if o.id == opportunity.id else o for o in self.c.live)

    def _close(self, opportunity: Opportunity, outcome: Outcome, verdicts: tuple[Verdict, ...]) -> Opportunity:
        self.c.live = tuple(o for o in self.c.live if o.id != opportunity.id)
        self.judged.pop(opportunity.id, None)
        if opportunity.tries:  # behind the ledger's silence there may be a reservation that nobody will use
            self._release(command_id(self.c.id, opportunity.trigger, opportunity.subject))
        return self._write(opportunity, outcome, verdicts)

    # -------------------------------------------------------------------------------------------------- reservations

    def _granted(self, data: ev.ReservationGranted) -> None:
        awaiting = self.c.awaiting
        if awaiting is None or awaiting.command_id != data.command_id:
            if all(ask.command_id != data.command_id for ask in self.c.asks):
                self._release(data.command_id)  # nobody awaits it any more
            return
        self.c.awaiting = None
        opportunity = next((o for o in self.c.live if o.id == awaiting.opportunity_id), None)
        if opportunity is None:
            self._release(data.command_id)
            return
        self._judge_live()
        judged = self.judged.get(opportunity.id)
        if judged is None or judged.blocked:
            self._release(data.command_id)
            return
        self._emit(judged, awaiting)

    def _silent(self, command: str) -> None:
        """The ledger can not answer: fail closed, try again later, each time a little later."""
        awaiting = self.c.awaiting
        if awaiting is None or awaiting.command_id != command:
            return
        self.c.awaiting = None
        candidates = {
            awaiting.opportunity_id,
            *(id_ for id_, _ in awaiting.rest),
        }  # the others would meet the same silence
        for o in self.c.live:
            if o.id in candidates:
                wait = min(self.policy.ledger.retry_seconds * 2**o.tries, self.policy.ledger.retry_limit_seconds)
                again = self.now + wait * SECOND
                denial = Denial("overasking", "ledger_unavailable", until=again, until_event="ledger.answered")
                self._keep(replace(o, tries=o.tries + 1, denial=denial))
        self._judge_live()

    def _denied(self, data: ev.ReservationDenied) -> None:
        """A reservation was refused: that is the gate's answer; the next candidate of the same instant is tried."""
        awaiting = self.c.awaiting
        if awaiting is None or awaiting.command_id != data.command_id:
            return
        denial = Denial(gate=data.gate, saw=data.saw, until=data.until, until_event=data.until_event)
        self.c.awaiting = None
        opportunity = next((o for o in self.c.live if o.id == awaiting.opportunity_id), None)
        if opportunity is not None:
            self._keep(replace(opportunity, denial=denial))
        self._judge_live()
        candidates = [
            (self.judged[id_], channel)
            for id_, channel in awaiting.rest
            if id_ in self.judged and not self.judged[id_].blocked
        ]
        if candidates:
            self._request(candidates, awaiting.moment)

    def _resumed(self) -> bool:
        """What a pause had refused may ask again; whether there was anything."""
        refused = [o for o in self.c.live if o.denial and o.denial.until_event == ev.ControlResumed.type]
        for opportunity in refused:
            self._keep(replace(opportunity, denial=None))
        if refused:
            self._judge_live()
        return bool(refused)

    def _release(self, command: str) -> None:
        self.effects.append(self._say.release(command))

    # ------------------------------------------------------------------------------------------ the end of the instant

    def finish(self) -> Advanced:
        """Deadlines, dispatch, the decisions that changed, and the next instant at which something is due.

        What arrives again, and a wake-up that comes too early, changes nothing.
        """
        c = self.c
        if self.repeated and not self.learned and (c.wake_at is None or self.now < c.wake_at):
            return Advanced(c, self.effects, c.wake_at)
        if c.judged_day < utc_day(self.now):
            usage.judge(c, utc_day(self.now), self.policy)
            self.judged_as_is = False
        if c.erased_at is not None:
            return self._erase()
        if not (c.live or c.asks or c.referrals or c.awaiting):
            c.wake_at = None  # nothing is under way: most customers, nearly always
            return Advanced(c, self.effects, None)
        if c.awaiting is not None and self.now >= min(c.awaiting.give_up, self._deadline_of(c.awaiting)):
            self._silent(c.awaiting.command_id)
        self._open_converted()
        for opportunity in c.live:
            if self.now >= opportunity.deadline:
                judged = self._judge(opportunity)
                self._close(opportunity, "suppressed" if judged.blocked else "expired", judged.verdicts)
        if not self.judged_as_is:
            self._judge_live()
        self._withdraw()
        if c.awaiting is None:
            self._dispatch()
        if c.awaiting is None:
            for judged in list(self.judged.values()):
                outcome: Outcome = "deferred" if judged.blocked else "pending"
                self._keep(self._write(judged.opportunity, outcome, judged.verdicts))
        if c.asks and c.asks[0].asked_at < self.now - ASKS_KEPT_DAYS * DAY:
            c.asks = tuple(a for a in c.asks if a.asked_at >= self.now - ASKS_KEPT_DAYS * DAY)
        c.wake_at = self._next_due()
        return Advanced(c, self.effects, c.wake_at)

    def _deadline_of(self, awaiting: Awaiting) -> int:
        """When the ledger's answer comes too late; at once for an opportunity that is closed already."""
        return next((o.deadline for o in self.c.live if o.id == awaiting.opportunity_id), self.now)

    def _erase(self) -> Advanced:
        """Close everything and keep a stub for good."""
        c = self.c
        if c.awaiting is not None:
            self._release(c.awaiting.command_id)
        for opportunity in c.live:
            self._close(opportunity, "suppressed", self._verdicts(opportunity))
        self._withdraw()
        stub = Customer(id=c.id, now=c.now, erased_at=c.erased_at, email_hmac=c.email_hmac)
        return Advanced(stub, self.effects, None)

    def _dispatch(self) -> None:
        """Choose among what may speak now: by priority, then the earliest deadline, then t0, then id."""
        candidates = [
            (judged, self.moment_channels.get(id_, "email"))
            for id_, judged in self.judged.items()
            if not judged.blocked
            and judged.opportunity.ready <= self.now
            and (judged.clock_allows or id_ in self.moment_channels)
        ]
        candidates.sort(key=lambda candidate: self._rank(candidate[0].opportunity))
        if not candidates:
            return
        if self.policy.shadow:
            judged, channel = candidates[0]
            o = judged.opportunity
            self._emit(judged, Awaiting(o.id, command_id(self.c.id, o.trigger, o.subject), self.now, channel, self.now))
        else:
            self._request(candidates, self.now)

    def _rank(self, opportunity: Opportunity) -> tuple[int, int, int, str]:
        return (-self._priority(opportunity), opportunity.deadline, opportunity.t0, opportunity.id)

    def _priority(self, opportunity: Opportunity) -> int:
        """That of its trigger; 0 if an earlier policy had the trigger and this one has not."""
        rule = self.policy.triggers.get(opportunity.trigger)
        return 0 if rule is None else rule.priority

    def _request(self, candidates: list[tuple[Assessment, Channel]], moment: int) -> None:
        """Ask the ledger for the first candidate; until it answers, nothing is written about any of them."""
        (judged, channel), *rest = candidates
        c, o = self.c, judged.opportunity
        c.awaiting = Awaiting(
            opportunity_id=o.id,
            command_id=command_id(c.id, o.trigger, o.subject),
            moment=moment,
            channel=channel,
            give_up=self.now + self.policy.ledger.answer_seconds * SECOND,
            rest=tuple((other.opportunity.id, ch) for other, ch in rest),
        )
        self.effects.append(self._say.request(o, moment))

    def _emit(self, judged: Assessment, awaiting: Awaiting) -> None:
        """The ask goes out (or is withheld by holdout or shadow, and counts all the same); rivals are superseded."""
        c, policy, o = self.c, self.policy, judged.opportunity
        score = propensity.score(c, self.now, policy)
        verdicts = tuple(_passed(v) if v.gate == "moment" else v for v in judged.verdicts)
        moment, first = awaiting.moment, awaiting.channel
        soft = score.value < policy.score.direct_at
        rule = policy.triggers[o.trigger]
        mode: Mode = "soft" if soft else rule.mode or "direct"
        outcome: Outcome = "soft" if soft else "asked"
        if policy.shadow:
            outcome = "shadow"
        elif gates.is_held_out(c, policy):
            outcome = "holdout"
            verdicts = (*verdicts[:-1], gates.HELD_OUT)
        elif self._asks_reason_first(o, moment):
            self._ask_reason(o, moment, first)
            self._supersede(awaiting)
            return
        expires = self._expires(o, moment, first)
        rivals = tuple(
            Rival(trigger=other.opportunity.trigger, opportunity_id=other.opportunity.id,
                  priority=self._priority(other.opportunity))
            for other in sorted(self.judged.values(), key=lambda j: self._rank(j.opportunity))
            if other.opportunity.id != o.id
        )  # fmt: skip
        ask = Ask(
            opportunity=o,
            command_id=awaiting.command_id,
            asked_at=moment,
            expires_at=expires,
            kind=outcome,  # type: ignore[arg-type]  # one of the four by construction
            channel=first,
        )
        c.live = tuple(other for other in c.live if other.id != o.id)
        self.judged.pop(o.id)
        self.judged_as_is = False
        c.asks = (*c.asks, ask)  # the decision's next_eligible_at includes this ask
        written = self._decide(o, outcome, verdicts, score, Emission(mode, first, rivals, awaiting.command_id))
        c.asks = (*c.asks[:-1], replace(ask, opportunity=written))
        if outcome in ("asked", "soft"):
            self.effects.append(self._say.ask(c.asks[-1], mode, score))
        self._supersede(awaiting)

    def _supersede(self, awaiting: Awaiting) -> None:
        """One person is asked once: close what else was live; what could have spoken at the same instant shows it."""
        might_speak = {id_ for id_, _ in awaiting.rest}
        for rival in self.c.live:
            if rival.id == awaiting.opportunity_id:
                continue
            known = self.judged.get(rival.id)
            verdicts = known.verdicts if known else self._verdicts(rival)
            if rival.id in might_speak:
                verdicts = tuple(_passed(v) if v.gate == "moment" else v for v in verdicts)
            self._close(rival, "superseded", verdicts)

    def _asks_reason_first(self, o: Opportunity, moment: int) -> bool:
        """Whether to ask what the customer likes most before the ask itself: there must be time for an answer."""
        return (
            self.policy.ask_reason_first
            and o.trigger == "nps_promoter"
            and o.theme is None
            and o.reason_asked_at is None
            and moment < self._without_reason_at(o)
        )

    @staticmethod
    def _without_reason_at(o: Opportunity) -> int:
        """When the ask goes without the reason that was asked for: an hour before the deadline."""
        return o.deadline - HOUR

    def _ask_reason(self, o: Opportunity, moment: int, first: Channel) -> None:
        """The question goes out under the reservation of the ask, which follows: both count as one ask."""
        c = self.c
        expires = min(self._expires(o, moment, first), self._without_reason_at(o))
        asked = replace(o, reason_asked_at=moment, ready=self._without_reason_at(o))
        judged = self._judge(asked)
        score = propensity.score(c, self.now, self.policy)
        question = Ask(asked, reason_command_id(c.id, o.trigger, o.subject), moment, expires, "reason", first)
        c.asks = (*c.asks, question)  # the decision's next_eligible_at includes it
        written = self._decide(asked, "pending", judged.verdicts, score)
        question = replace(question, opportunity=written)
        c.asks = (*c.asks[:-1], question)
        self._keep(written)
        self.judged[o.id] = judged._replace(opportunity=written)
        self.moment_channels.pop(o.id, None)
        self.effects.append(self._say.question(question))

    def _expires(self, o: Opportunity, moment: int, channel: Channel) -> int:
        rules = self.policy.moments
        if channel != "email":
            return min(o.deadline, moment + rules.present_expires_seconds * SECOND)
        quiet = moments.quiet_from(moment, self.zone, rules)
        return o.deadline if quiet is None else min(o.deadline, quiet)

    def _withdraw(self) -> None:
        """Take back commands that a worker may still send, if a gate closed that protects the customer."""
        for ask in self.c.asks:
            if ask.may_be_cancelled(self.now):
                view = self._view(ask.opportunity)
                closed = next((v for gate in gates.AFTER_EMISSION if (v := gates.verdict(gate, view)).blocks), None)
                if closed is not None:
                    self._cancel(ask, closed.gate, closed.saw)

    def _cancel(self, ask: Ask, gate: GateName, why: str) -> None:
        if not ask.may_be_cancelled(self.now):
            return
        written = next((o for o in self.c.live if o.id == ask.opportunity.id), ask.opportunity)
        if (
            ask.kind != "reason"
        ):  # behind a question for the reason the opportunity lives on, and says itself what holds it
            verdicts = tuple(_passed(v) if v.gate == "moment" else v for v in self._verdicts(ask.opportunity))
            written = self._write(ask.opportunity, "cancelled", verdicts)
        cancelled = replace(ask, cancelled=True, opportunity=written)
        self.c.asks = tuple(cancelled if a.command_id == ask.command_id else a for a in self.c.asks)
        self.effects.append(self._say.cancellation(ask, written, gate, why))

    def _next_due(self) -> int | None:
        """The earliest instant after now at which something can change without an event."""
        c, due = self.c, []
        for judged in self.judged.values():
            o = judged.opportunity
            due += [o.settled, o.deadline, usage.midnight_after(self.now)]
            due += [v.until for v in judged.verdicts if v.until is not None]
            if o.denial is not None and o.denial.until is not None:
                due.append(o.denial.until)
        if c.awaiting is not None:
            due.append(c.awaiting.give_up)
        if c.usage and any(ask.may_be_cancelled(self.now) for ask in c.asks):
            due.append(usage.midnight_after(self.now))  # a drop in usage is seen at midnight, by no event
        due += [referral.conversion.opens_at for referral in c.referrals.values() if referral.conversion is not None]
        return min((at for at in due if at > self.now), default=None)

    # ------------------------------------------------------------------------------------------------------ decisions

    def _write(self, o: Opportunity, outcome: Outcome, verdicts: tuple[Verdict, ...]) -> Opportunity:
        """Write a decision if (outcome, blocking gates with their answers) differ from the last one's."""
        if _fingerprint(outcome, verdicts) == o.last:
            return o
        return self._decide(o, outcome, verdicts, propensity.score(self.c, self.now, self.policy))

    def _decide(
        self,
        o: Opportunity,
        outcome: Outcome,
        verdicts: tuple[Verdict, ...],
        score: Score,
        emission: Emission | None = None,
    ) -> Opportunity:
        """Write the opportunity's next decision, and return the opportunity that knows it."""
        self.effects.append(self._say.decision(o, outcome, verdicts, score, emission))
        return replace(o, written=o.written + 1, last=_fingerprint(outcome, verdicts))


def _fingerprint(outcome: Outcome, verdicts: tuple[Verdict, ...]) -> int:
    return _of_blocking(outcome, gates.blocking(verdicts))


@lru_cache(maxsize=4_096)
def _of_blocking(outcome: Outcome, blocking: tuple[Verdict, ...]) -> int:
    answers = (f"{v.gate}:{v.answer}:{v.until}:{v.until_event}" for v in blocking)
    return hash64(outcome, *answers)


def _passed(v: Verdict) -> Verdict:
    return v._replace(answer="pass", until=None, until_event=None, saw="clear")
