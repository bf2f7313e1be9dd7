"""Gates: everything that can hold an ask back, as rows of one ordered table (semantics §4).

Each gate looks at the state at an instant and returns its causes; no cause means pass. All gates are always evaluated:
an explanation lists every reason, not the first one found. A gate with several causes answers with the hardest: never,
then an event, then the latest instant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from referral_stream.core import zones
from referral_stream.core.asks import MOST_ASKS, Ask
from referral_stream.core.customer import Customer, Drop
from referral_stream.core.effects import GateAnswer, GateName, Reason, Score
from referral_stream.core.events import CHANNELS, PASSIVE
from referral_stream.core.instants import DAY, rfc3339
from referral_stream.core.opportunity import Denial, Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.rules import moments, propensity, subscriptions, usage
from referral_stream.core.zones import Zone


class GateCause(NamedTuple):
    """Why a gate is closed: forever (neither), until an instant, or until an event of a type.

    ``takes_back``: whether it also withdraws a command that is not sent.
    """

    saw: str
    until: int | None = None
    until_event: str | None = None
    takes_back: bool = True


class Verdict(NamedTuple):
    """One gate's answer with what it saw and its limit."""

    gate: GateName
    answer: GateAnswer
    until: int | None
    until_event: str | None
    saw: str
    limit: str

    @property
    def blocks(self) -> bool:
        return self.answer != "pass"

    def closes(self, deadline: int) -> bool:
        """Whether it can no longer open before the deadline."""
        return self.answer == "never" or (self.answer == "until" and self.until is not None and self.until >= deadline)

    def reason(self) -> Reason:
        return _as_reason(self)


@lru_cache(maxsize=1_024)
def _as_reason(v: Verdict) -> Reason:
    """How a decision shows it. Most gates pass in most decisions, and then they look the same."""
    until = rfc3339(v.until) if v.until is not None else v.until_event
    return Reason(gate=v.gate, answer=v.answer, until=until, saw=v.saw, limit=v.limit)


class View(NamedTuple):
    """What a gate may look at: one customer at one instant, about one opportunity.

    ``free_from``: when the last of the other gates passes, as far as an instant for it is known.
    """

    policy: Policy
    customer: Customer
    now: int
    zone: Zone
    score: Score
    usable: tuple[str, ...]
    opportunity: Opportunity
    free_from: int = 0


class Gate(NamedTuple):
    name: GateName
    limit: Callable[[Policy], str]
    causes: Callable[[View], list[GateCause]]


def verdicts(view: View) -> tuple[Verdict, ...]:
    """All gates' verdicts, in the order of the table.

    The moment depends on the other gates: one that answers ``until`` an instant inside the window moves it to the
    first allowed one from then on.
    """
    judged = [
        _answered(passed, found) if (found := gate.causes(view)) else passed for gate, passed in _table(view.policy)
    ]
    deadline = view.opportunity.deadline
    waits = [v.until for v in judged if v.until is not None and v.until < deadline and v.gate != "moment"]
    if waits:
        judged[_MOMENT] = verdict(GATES[_MOMENT], view._replace(free_from=max(waits)))
    return tuple(judged)


def withdrawing(gate: Gate, view: View) -> Verdict:
    """The gate's answer among the causes that take a command back."""
    passed, causes = _passed(gate, view.policy), [cause for cause in gate.causes(view) if cause.takes_back]
    return _answered(passed, causes) if causes else passed


def verdict(gate: Gate, view: View) -> Verdict:
    """The gate's one answer among its causes."""
    passed, causes = _passed(gate, view.policy), gate.causes(view)
    return _answered(passed, causes) if causes else passed


@lru_cache(maxsize=16)
def _table(policy: Policy) -> tuple[tuple[Gate, Verdict], ...]:
    """All gates, each with its answer under this policy when it passes."""
    return tuple((gate, _passed(gate, policy)) for gate in GATES)


def _passed(gate: Gate, policy: Policy) -> Verdict:
    return Verdict(gate.name, "pass", None, None, "clear", gate.limit(policy))


def _answered(passed: Verdict, causes: list[GateCause]) -> Verdict:
    """The answer that these causes give; ``passed`` is the one without any."""
    if len(causes) == 1:  # nearly always
        saw, instant, event, _ = causes[0]
        if event is not None:
            return Verdict(passed.gate, "until_event", None, event, saw, passed.limit)
        answer: GateAnswer = "never" if instant is None else "until"
        return Verdict(passed.gate, answer, instant, None, saw, passed.limit)
    saw = "; ".join(cause.saw for cause in causes)
    events = [cause.until_event for cause in causes if cause.until_event is not None]
    instants = [cause.until for cause in causes if cause.until is not None and cause.until_event is None]
    if len(events) + len(instants) < len(causes):
        return Verdict(passed.gate, "never", None, None, saw, passed.limit)
    if events:
        return Verdict(passed.gate, "until_event", None, events[0], saw, passed.limit)
    return Verdict(passed.gate, "until", max(instants), None, saw, passed.limit)


def blocking(verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """Those that do not pass."""
    return tuple(v for v in verdicts if v.answer != "pass")


def _wait(now: int, since: int | None, days: int, saw: str) -> list[GateCause]:
    """A wait of ``days`` × 24 h from ``since``, half-open: it is over exactly at its end."""
    if since is None or now >= since + days * DAY:
        return []
    return [GateCause(f"{saw} at {rfc3339(since)}", until=since + days * DAY)]


# ------------------------------------------------------------------------------------- 1 erased · 2 paused · 3 consent


def _erased(v: View) -> list[GateCause]:
    causes = [] if v.customer.erased_at is None else [GateCause("erasure requested")]
    return causes if v.customer.merged_into is None else [*causes, GateCause("merged_into")]


def _paused(v: View) -> list[GateCause]:
    trigger = v.policy.triggers.get(v.opportunity.trigger)
    if trigger is None or not trigger.enabled:
        return [GateCause(f"trigger {v.opportunity.trigger} is disabled by the policy")]
    return _denied(v, "paused")


def _denied(v: View, gate: str) -> list[GateCause]:
    denial: Denial | None = v.opportunity.denial
    if denial is None or denial.gate != gate or not denial.stands(v.now):
        return []
    return [GateCause(denial.saw, until=denial.until, until_event=denial.until_event)]


def is_without_consent(c: Customer, policy: Policy) -> bool:
    """Whether gate 3 blocks, whatever the occasion."""
    return bool(_consents(c, moments.usable_channels(c, policy), policy))


def _consent(v: View) -> list[GateCause]:
    return _consents(v.customer, v.usable, v.policy)


def _consents(c: Customer, usable: tuple[str, ...], policy: Policy) -> list[GateCause]:
    causes = []
    if c.suppressed is not None and c.suppressed.value:
        causes.append(GateCause("on the suppression list", until_event="customer.unsuppressed"))
    if c.on_hold:
        causes.append(GateCause("address", until_event="customer.unsuppressed"))
    # A channel is usable only with consent: usually the first check is enough.
    if not usable and not any(moments.is_consented(c, channel, policy) for channel in CHANNELS):
        unknown = not c.consent
        saw = "consent unknown" if unknown else "consent withdrawn"
        causes.append(GateCause(saw, until_event="customer.consent_changed" if unknown else None))
    return causes


# ------------------------------------------------------------------------------------------------------- 4 too early


def _too_early(v: View) -> list[GateCause]:
    c, now, rules = v.customer, v.now, v.policy.too_early
    causes = []
    if on_trial(c):
        causes.append(GateCause("on trial", until_event="trial.ended"))
    if rules.require_onboarding and not c.onboarded:
        causes.append(GateCause("onboarding not completed", until_event="onboarding.completed"))
    if c.signed_up is None:
        causes.append(GateCause("sign-up unknown", until_event="customer.signed_up"))
    else:
        until = c.signed_up + rules.tenure_days * DAY
        if now < until:
            causes.append(GateCause(f"customer for {(now - c.signed_up) // DAY} days", until=until))
    if not has_value(v):
        causes.append(GateCause("no value realised yet", until_event="milestone.reached"))
    if activity_days(c, v.zone) < rules.activity_days:
        causes.append(GateCause("active on fewer than two local days", until_event="usage.recorded"))
    causes += _wait(now, c.initial_contract_at, rules.initial_contract_days, "initial contract signed")
    return causes


def on_trial(c: Customer) -> bool:
    """An open trial, or a sign-up on trial that nothing has ended yet."""
    if c.trial_sign_up is not None and (c.trial_over is None or c.trial_over < c.trial_sign_up):
        return True
    return bool(c.subscriptions and subscriptions.trials(c.subscriptions))


def has_value(v: View) -> bool:
    """Milestone, goal, saving, usage above average, or enough days of use."""
    c = v.customer
    return (
        c.milestone
        or c.goal
        or c.saving
        or (c.above_average is not None and c.above_average.value)
        or c.used_for_long
        or all(usage.is_used_on(c, v.policy.too_early.days_of_use, name) for name in v.zone.names)
    )


ALWAYS_ANOTHER_DATE = 3 * DAY
"""No local date lasts this long, whatever a zone does to its clocks: the calendar is not needed."""


def activity_days(c: Customer, zone: Zone) -> int:
    """0, 1, or 2 for two and more local dates with activity; in several possible zones the fewest."""
    if c.first_activity is None or c.last_activity is None:
        return 0
    if c.last_activity - c.first_activity >= ALWAYS_ANOTHER_DATE:
        return 2
    return min(
        1 + (zones.local_date(c.first_activity, name) != zones.local_date(c.last_activity, name)) for name in zone.names
    )


# --------------------------------------------------------------------------------------------------------- 5 trouble


def is_troubled(c: Customer, now: int, policy: Policy) -> bool:
    """Whether gate 5 blocks, whatever the occasion."""
    return bool(_troubles(c, now, policy))


def _trouble(v: View) -> list[GateCause]:
    return _troubles(v.customer, v.now, v.policy)


def _troubles(c: Customer, now: int, policy: Policy) -> list[GateCause]:
    rules = policy.trouble
    causes = []
    if c.quarantined or c.holds:
        causes.append(GateCause("an event of this customer could not be applied", until_event="deadletter.replayed"))
    if c.merging:
        causes.append(GateCause("merging", until_event="merge.delivered", takes_back=False))
    causes += [GateCause(f"overfull: {kind}", until_event="customer.overfull_cleared") for kind in sorted(c.overfull)]
    for name, ticket in sorted(c.tickets.items()):
        if ticket.at is not None and ticket.open:
            causes.append(GateCause(f"ticket {name} is open", until_event="ticket.solved"))
        elif ticket.at is not None and not ticket.went_well:
            days = rules.urgent_ticket_solved_days if ticket.priority in URGENT else rules.ticket_solved_days
            causes += _wait(now, ticket.at.time, days, f"ticket {name} solved")
        if ticket.rated is not None and ticket.rating == "negative":
            causes += _wait(now, ticket.rated.time, rules.complaint_days, f"ticket {name} rated negative")
    if c.complained_at is not None:
        causes += _wait(now, c.complained_at, rules.complaint_days, "complaint or frustration")
    if c.csats or c.reviews:
        bad = (said.at.time for table in (c.csats, c.reviews) for said in table.values() if said.low)
        causes += _wait(now, max(bad, default=None), rules.complaint_days, "bad review or survey answer")
    if c.responses:
        causes += _detractor(c, now, policy)
    for name, invoice in sorted(c.invoices.items()):
        if invoice.failed:
            causes.append(GateCause(f"payment of invoice {name} failed", until_event="invoice.paid"))
        elif invoice.ever_failed:
            causes += _wait(now, invoice.at.time, rules.payment_recovered_days, f"late invoice {name} paid")
    if c.refunded_at is not None:
        causes += _wait(now, c.refunded_at, rules.refund_days, "refund")
    for name, dispute in sorted(c.disputes.items()):
        if dispute.status == "open":
            causes.append(GateCause(f"charge {name} is disputed", until_event="dispute.closed"))
        elif dispute.status == "lost":
            since = dispute.at.time if dispute.disputed_at is None else dispute.disputed_at
            causes += _wait(now, since, rules.dispute_days, f"charge {name} disputed and lost")
    if c.cancellations:
        causes += _cancellation(c, now, policy)
    if c.subscriptions:
        causes += _ended(c, now, policy)
    if c.drop is not None:
        causes += _usage_drop(c.drop, now, policy)
    if c.forgotten:
        causes += _forgotten(c, now, policy)
    return causes


URGENT = frozenset({"urgent", "high"})
"""The priorities of tickets after which the wait is longer."""


def _forgotten(c: Customer, now: int, policy: Policy) -> list[GateCause]:
    """What may still be waited for of objects that went for lack of room (``core.bounds``): each as the worst."""
    rules = policy.trouble
    waits = (
        ("tickets.solved", rules.ticket_solved_days, "an earlier ticket solved"),
        ("tickets.urgent", rules.urgent_ticket_solved_days, "an earlier ticket solved"),
        ("tickets.rated", rules.complaint_days, "an earlier ticket rated negative"),
        ("answers.low", rules.complaint_days, "bad review or survey answer"),
        ("invoices.failed", rules.payment_recovered_days, "an earlier late invoice paid"),
        ("disputes.lost", rules.dispute_days, "an earlier charge disputed and lost"),
        ("cancellations.considered", rules.cancellation_considered_days + rules.cancellation_reverted_days,
         "cancellation considered"),
        ("cancellations.reverted", rules.cancellation_reverted_days, "cancellation reverted"),
        ("subscriptions.back", rules.resubscribed_days, "subscribed again"),
    )  # fmt: skip
    return [cause for name, days, saw in waits for cause in _wait(now, c.forgotten.get(name), days, saw)]


def _detractor(c: Customer, now: int, policy: Policy) -> list[GateCause]:
    """The latest detractor that no later promoter overrides."""
    praise = max((r.at for r in c.responses.values() if r.promoter), default=None)
    times = [r.at.time for r in c.responses.values() if r.score < PASSIVE and (praise is None or praise < r.at)]
    earlier = c.forgotten.get("responses.low")
    if earlier is not None and (praise is None or praise.time <= earlier):
        times.append(earlier)
    return _wait(now, max(times, default=None), policy.trouble.detractor_days, "detractor")


def _cancellation(c: Customer, now: int, policy: Policy) -> list[GateCause]:
    rules = policy.trouble
    causes = []
    for name, known in sorted(c.cancellations.items()):
        considered, scheduled, reverted = known.considered, known.scheduled, known.reverted
        if considered is not None and (reverted is None or reverted < considered):
            days = rules.cancellation_considered_days + rules.cancellation_reverted_days
            causes += _wait(now, considered.time, days, "cancellation considered")
        if scheduled is not None and (reverted is None or reverted < scheduled):
            renewed = _renewed_after(scheduled.time, name, c)
            if renewed is None:
                causes.append(GateCause("cancellation scheduled", until_event="cancellation.reverted"))
            causes += _wait(now, renewed, rules.cancellation_reverted_days, "renewed despite a cancellation")
        if reverted is not None:
            causes += _wait(now, reverted.time, rules.cancellation_reverted_days, "cancellation reverted")
    return causes


def _renewed_after(instant: int, subscription: str, c: Customer) -> int | None:
    """The first renewal after the instant; of any subscription if none was named."""
    return next(
        (
            event.at.time
            for event in c.subscriptions
            if event.kind == "renewed" and event.at.time > instant and subscription in ("", event.subscription)
        ),
        None,
    )


def _ended(c: Customer, now: int, policy: Policy) -> list[GateCause]:
    lived = subscriptions.lives(c.subscriptions)
    if lived.ended:
        return [GateCause("subscription ended", until_event="subscription.started")]
    return _wait(now, lived.back, policy.trouble.resubscribed_days, "subscribed again")


def _usage_drop(drop: Drop, now: int, policy: Policy) -> list[GateCause]:
    if drop.ended_day is None:
        return [GateCause("usage fell against its own baseline", until_event="usage.recorded")]
    return _wait(now, drop.ended_day * DAY, policy.trouble.usage_recovered_days, "usage recovered")


# ------------------------------------------------------------- 6 propensity · 7 answers · 8 overasking · 9 · 10 · 11


def _propensity(v: View) -> list[GateCause]:
    if v.score.value >= v.policy.score.soft_at:
        return []
    saw = f"score {v.score.value}"
    at = propensity.tenure_alone_suffices_at(v.customer, v.score, v.policy)
    return [GateCause(saw, until=at) if at is not None else GateCause(saw, until_event="signal")]


def _answers(v: View) -> list[GateCause]:
    c, now, rules = v.customer, v.now, v.policy.answers
    causes = []
    if c.answers:
        causes = [GateCause('answered "stop"')] if "stop" in c.answers else []
        causes += _wait(now, c.answers.get("no"), rules.no_days, 'answered "no"')
        causes += _wait(now, c.answers.get("maybe"), rules.maybe_days, 'answered "maybe"')
    causes += _wait(now, second_silence(c, now, v.policy), rules.two_silences_days, "second ask without an answer")
    return causes


def second_silence(c: Customer, now: int, policy: Policy) -> int | None:
    """When the later of the last two asks in a row that met silence was made."""
    earlier = c.forgotten.get("asks.silent")
    if len(c.asks) < 2:  # noqa: PLR2004 (two in a row)
        return earlier
    silence = policy.answers.silence_after_days * DAY
    sent = sorted((a for a in c.asks if a.reached and a.kind != "reason"), key=lambda a: a.asked_at)
    silent = [not a.answered and now >= a.asked_at + silence for a in sent]
    pairs = (
        later.asked_at for later, first, second in zip(sent[1:], silent, silent[1:], strict=False) if first and second
    )
    return max((at for at in (*pairs, earlier) if at is not None), default=None)


def silences(c: Customer, policy: Policy) -> list[int]:
    """When an ask without an answer becomes a silence: by no event."""
    wait = policy.answers.silence_after_days * DAY
    return [a.asked_at + wait for a in c.asks if a.reached and not a.answered and a.kind != "reason"]


def answers_end(c: Customer, now: int, policy: Policy) -> int | None:
    """The latest end of gate 7's waits, for ``next_eligible_at``."""
    rules = policy.answers
    silence = second_silence(c, now, policy)
    if silence is None and not c.answers:
        return None
    waits = (
        (c.answers.get("no"), rules.no_days),
        (c.answers.get("maybe"), rules.maybe_days),
        (silence, rules.two_silences_days),
    )
    return max((since + days * DAY for since, days in waits if since is not None), default=None)


def own_asks(v: View) -> list[GateCause]:
    """Gate 8 as far as the customer's own history answers it."""
    c, days = v.customer, v.policy.caps.customer_days
    last = _last_ask(c, v.policy, but=v.opportunity.id) if c.asks else None
    elsewhere = _wait(v.now, c.asked_elsewhere, days, "asked for a referral by others") if c.advocacy else []
    return elsewhere if last is None else _counted(v, last, days) + elsewhere


def _overasking(v: View) -> list[GateCause]:
    own = own_asks(v)
    if len(v.customer.asks) >= MOST_ASKS:  # then a worker may still send them: what is over makes room
        open_ = [ask.expires_at for ask in v.customer.asks if ask.may_be_cancelled(v.now)]
        own += (
            [GateCause("as many asks wait to be sent as are kept", until=min(open_))] if len(open_) >= MOST_ASKS else []
        )
    return own + _denied(v, "overasking")


def _counted(v: View, last: Ask, days: int) -> list[GateCause]:
    """The wait after an ask, or after what counts as one and is not to be told as one."""
    taken_back = last.cancelled and not last.reached
    return _wait(v.now, last.asked_at, days, "taken back, asked" if taken_back else _COUNTED.get(last.kind, "asked"))


_COUNTED = {"holdout": "held out", "shadow": "shadow ask", "reason": "reason asked"}


def last_asked(c: Customer, policy: Policy) -> int | None:
    """When the last ask was that counts, also one of others; one that shadow mode withheld counts while that lasts."""
    last, elsewhere = _last_ask(c, policy), c.asked_elsewhere
    return elsewhere if last is None else max(last.asked_at, elsewhere or last.asked_at)


def _last_ask(c: Customer, policy: Policy, *, but: str | None = None) -> Ask | None:
    """``but``: an opportunity that its own ask does not hold back."""
    last = None
    for a in c.asks:  # at most a few, but at every step
        later = last is None or a.asked_at > last.asked_at
        if later and a.counts and (a.kind != "shadow" or policy.shadow) and a.opportunity.id != but:
            last = a
    return last


def _account(v: View) -> list[GateCause]:
    return _denied(v, "account")


def _advocacy(v: View) -> list[GateCause]:
    asks = v.customer.advocacy
    if not asks:
        return []
    if v.opportunity.survey:
        own = max((a for a in asks if a[1] == "survey" and a[0] <= v.opportunity.t0), default=None)
        asks = tuple(a for a in asks if a != own)
    return _wait(v.now, max((at for at, _ in asks), default=None), v.policy.caps.advocacy_days, "another advocacy ask")


def _channel(v: View) -> list[GateCause]:
    if v.usable or _consent(v):
        return []
    return [GateCause("no usable channel", until_event="customer.profile_changed")]


# -------------------------------------------------------------------------------- 12 moment · 13 approval · 14 holdout


def _moment(v: View) -> list[GateCause]:
    """By the clock alone; an event that is a moment is seen by the step when it arrives."""
    start = max(v.opportunity.ready, v.now, v.free_from)
    at = None
    if "email" in v.usable:
        at = moments.first_email_instant(start, v.opportunity.deadline, v.zone, v.policy.moments)
    if at is not None and at <= v.now:
        return []
    if v.opportunity.awaits_reason:  # the answer sets the ask free; without one it may go in the last hour
        return [GateCause("asked for the reason first", until_event="nps.responded")]
    if at is None:
        if v.usable == ("email",):
            return [GateCause("no allowed instant is left in the window")]
        return [GateCause("waits for a good moment", until_event="moment")]
    return [GateCause("settling" if v.now < v.opportunity.settled else "waits for its slot", until=at)]


def _approval(v: View) -> list[GateCause]:
    judged = v.customer.approvals.get(v.opportunity.id)
    if judged is not None:
        return [] if judged.value else [GateCause("rejected by a person")]
    flag = v.customer.requires_approval
    needed = (flag is not None and flag.value) or "approvals.rejected" in v.customer.forgotten  # it may have been this
    return [GateCause("needs approval", until_event="ask.approved")] if needed else []


def _holdout(_: View) -> list[GateCause]:
    return []  # drawn last, at the moment, when all the others have passed: see is_held_out


def is_held_out(c: Customer, policy: Policy) -> bool:
    """Whether the customer's account (else the customer) belongs to the share that is never asked."""
    digest = hashlib.sha256(f"{policy.holdout.salt}|{c.account_id or c.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * 100 < policy.holdout.percent * 2**64


HELD_OUT = Verdict("holdout", "never", None, None, "in the holdout group", "never asked")

GATES: tuple[Gate, ...] = (
    Gate("erased", lambda _: "erasure is for good", _erased),
    Gate("paused", lambda _: "not paused, trigger enabled", _paused),
    Gate("consent", lambda _: "consent for referral asks on a channel, not suppressed", _consent),
    Gate("too_early", lambda p: f"{p.too_early.tenure_days} days, onboarded, value realised", _too_early),
    Gate("trouble", lambda _: "nothing is wrong", _trouble),
    Gate("propensity", lambda p: f"score of {p.score.soft_at}", _propensity),
    Gate(
        "answers",
        lambda p: f"no: {p.answers.no_days} days, maybe: {p.answers.maybe_days} days, stop: for ever",
        _answers,
    ),
    Gate("overasking", lambda p: f"one ask in {p.caps.customer_days} days", _overasking),
    Gate(
        "account",
        lambda p: f"one ask in {p.caps.account_gap_days} days, {p.caps.account_asks} in {p.caps.account_days}",
        _account,
    ),
    Gate("advocacy", lambda p: f"no other advocacy ask in {p.caps.advocacy_days} days", _advocacy),
    Gate("channel", lambda _: "a reachable, consented channel", _channel),
    Gate("moment", lambda _: "slot, quiet hours or a good moment", _moment),
    Gate("approval", lambda _: "a person's approval where the account needs it", _approval),
    Gate("holdout", lambda p: f"{p.holdout.percent:g} % are never asked", _holdout),
)
"""All gates, in the order in which every decision lists them."""

_MOMENT = next(at for at, gate in enumerate(GATES) if gate.name == "moment")

AFTER_EMISSION = tuple(
    gate for gate in GATES if gate.name in ("erased", "paused", "consent", "trouble", "answers", "approval")
)
"""The gates that withdraw a command while it can still be stopped."""

OF_THE_CUSTOMER = frozenset({"erased", "consent", "too_early", "trouble", "propensity", "answers", "advocacy"})
"""The gates that who may be asked at all has passed; gate 8 too, as far as their own history goes (after §6)."""

AT_OPENING = tuple(gate for gate in GATES if gate.name in ("erased", "consent", "too_early", "trouble"))
"""The gates that an opening must pass to count for the burst breaker."""


def takes_back(v: Verdict) -> bool:
    """Whether this answer of a gate of ``AFTER_EMISSION`` withdraws a command: of approvals only a person's no does."""
    return v.answer == "never" if v.gate == "approval" else v.blocks
