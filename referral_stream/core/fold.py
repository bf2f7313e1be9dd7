"""The fold: how one event changes a customer's state.

The newest stamp wins, so any order of arrival ends in the same state. What can only ever become true, or only grows,
needs no stamp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from referral_stream.core import events as ev
from referral_stream.core import fold_after, zones
from referral_stream.core.customer import (
    LONGEST_NAME,
    Cancellation,
    Customer,
    Dispute,
    Invoice,
    Life,
    SubscriptionEvent,
    Survey,
    Ticket,
)
from referral_stream.core.events import Event
from referral_stream.core.ids import hash64, short
from referral_stream.core.instants import DAY
from referral_stream.core.keys import through_link
from referral_stream.core.newest import latest, latest_stamp, may_be_forgotten, newer, put
from referral_stream.core.policy import Policy
from referral_stream.core.rules.usage import used
from referral_stream.core.stamps import Flag, Stamp, Word

REMEMBERED_IDS = 6_000
"""Event ids kept per customer at most, 18 bytes each: a share of what a state may take (core.bounds).
A customer with more events in that time (860 a day) is a machine; an older repeat counts as one more event."""


def identity(e: Event) -> int:
    """What makes an event itself, however often it arrives: no other origin's event can take its place.

    Nor can any other take that of a stop: there are senders that use an id for an open and for the opt-out after it.
    """
    stop = ev.stop_type(e)
    return hash64(e.origin, e.source, e.id, stop) if stop else hash64(e.origin, e.source, e.id)


def seen_before(c: Customer, e: Event, now: int, policy: Policy) -> bool:
    """Whether this very event arrived within the last days; remembers it if not, forgets older ones."""
    known, key, forgotten = c.seen, identity(e), now - policy.dedup_days * DAY
    arrived = known.get(key)
    if arrived is not None and arrived > forgotten:
        return True
    seen = known.copy()
    for old, at in known.items():  # oldest first: arrival stamps of one customer never go back
        if at > forgotten:
            break
        del seen[old]
    if len(seen) >= REMEMBERED_IDS:
        del seen[next(iter(seen))]
    seen[key] = now
    c.seen = seen
    return False


def fold(c: Customer, e: Event) -> bool:
    """Fold one fact into the working copy ``c``. False if a newer event of the same object had come before it."""
    stamp, type_, time = Stamp.of(e), e.type, e.time
    if type_ in ev.ACTIVITY:
        if c.last_activity is None or time > c.last_activity:
            c.last_activity = time
        if c.first_activity is None or time < c.first_activity:
            c.first_activity = time
    folding = _FOLDS.get(type_)
    newest = folding is None or folding(c, e.data, stamp) is not False
    if type_ == _PROFILE and e.data.email_hmac is not None:
        _address(c, Word(stamp, e.data.email_hmac), e.data.domain_hmac, from_browser=ev.BROWSER in e.flags)
    elif type_ == _PROFILE and e.data.domain_hmac is not None and (c.domain_hmac is None or ev.BROWSER not in e.flags):
        c.domain_hmac = newer(c.domain_hmac, stamp, Word(stamp, e.data.domain_hmac))
    elif type_ == _HELD and e.subject not in (c.id, *c.ids):
        hold(c, e.subject, stamp)
    elif type_ == _UNSUPPRESSED and not through_link(e):
        c.lifted = latest_stamp(c.lifted, stamp)
    if e.timezone is not None:
        c.event_zone = newer(c.event_zone, stamp, Word(stamp, e.timezone))
    if e.account is not None:  # after the body, which knows better if it names an account too
        c.account = newer(c.account, stamp, Word(stamp, e.account))
    return newest


# ------------------------------------------------------------------------------------------------------------ profile


def _signed_up(c: Customer, d: ev.SignedUp, s: Stamp) -> None:
    c.signed_up = s.time if c.signed_up is None else min(c.signed_up, s.time)
    if d.trial:
        c.trial_sign_up = latest_stamp(c.trial_sign_up, s)


def _profile(c: Customer, d: ev.ProfileChanged, s: Stamp) -> None:
    if d.time_zone is not None and zones.is_zone(d.time_zone):
        c.time_zone = newer(c.time_zone, s, Word(s, d.time_zone))
    if d.locale is not None:
        c.locale = newer(c.locale, s, Word(s, d.locale))
    if d.segment is not None:
        c.segment = newer(c.segment, s, Word(s, d.segment))
    if d.account_id is not None:
        c.account = newer(c.account, s, Word(s, d.account_id))
    if d.champion is not None:
        c.champion = newer(c.champion, s, Flag(s, d.champion))
    if d.requires_approval is not None:
        c.requires_approval = newer(c.requires_approval, s, Flag(s, d.requires_approval))
    if d.channels is not None:
        for channel in ev.CHANNELS:
            value = getattr(d.channels, channel)
            if value is not None:
                c.reachable = put(c.reachable, channel, s, Flag(s, value)) or c.reachable


def _address(c: Customer, word: Word, domain: str | None, *, from_browser: bool) -> None:
    """The newest counts, but one from a browser only where no other is known: anybody can type any address."""
    if c.email_hmac is None or c.email_from_browser != from_browser:
        if c.email_hmac is None or c.email_from_browser:
            c.email_hmac, c.email_from_browser = word, from_browser
    else:
        c.email_hmac = newer(c.email_hmac, word.at, word)
    if domain is not None and c.email_hmac.value == word.value:
        c.domain_hmac = newer(c.domain_hmac, word.at, Word(word.at, domain))


def _consent(c: Customer, d: ev.ConsentChanged, s: Stamp) -> None:
    if d.purpose != ev.ASKING:
        return
    for channel in ev.CHANNELS if d.channel == "all" else (d.channel,):
        c.consent = put(c.consent, channel, s, Flag(s, d.granted)) or c.consent


def _suppressed(c: Customer, d: ev.Data, s: Stamp) -> None:
    c.suppressed = newer(c.suppressed, s, Flag(s, isinstance(d, ev.Suppressed)))


MOST_HOLDS = 50
"""Whom a customer is held by, by name."""

OTHERS = ""
"""In the place of those by whom they are held too: no customer has this id."""


def hold(c: Customer, who: str, stamp: Stamp) -> None:
    """Somebody of the same address must not be asked, and neither must this customer."""
    c.held = within_holds({**c.held, who: latest_stamp(c.held.get(who), stamp)})


def within_holds(held: dict[str, Stamp]) -> dict[str, Stamp]:
    """By the newest, who hold longest, and the others as one."""
    named = sorted((who for who in held if who != OTHERS), key=lambda who: held[who])
    gone = named[:-MOST_HOLDS]
    if not gone:
        return held
    rest = max(held[who] for who in (*gone, OTHERS) if who in held)
    return {**{who: at for who, at in held.items() if who not in gone}, OTHERS: rest}


def _erasure(c: Customer, _: ev.Data, s: Stamp) -> None:
    c.erased_at, c.erased_now = s.time, c.now


def _champion(c: Customer, d: ev.ChampionChanged, s: Stamp) -> None:
    c.champion = newer(c.champion, s, Flag(s, d.champion))


# -------------------------------------------------------------------------------------------------------------- value


def _onboarded(c: Customer, _: ev.Data, __: Stamp) -> None:
    c.onboarded = True


def _milestone(c: Customer, d: ev.MilestoneReached, s: Stamp) -> bool:
    c.milestone = True
    c.first_success = c.first_success or d.first_success
    name = short(d.milestone, LONGEST_NAME)
    repeated = c.repeated_milestones.get(name)
    newest = s > repeated if repeated is not None else not may_be_forgotten(c, "repeated_milestones", s)
    if newest and not d.first_success:
        c.repeated_milestones = {**c.repeated_milestones, name: s}
    return newest


def _goal(c: Customer, _: ev.Data, __: Stamp) -> None:
    c.goal = True


def _saving(c: Customer, _: ev.Data, __: Stamp) -> None:
    c.saving = True


def _usage(c: Customer, d: ev.UsageRecorded, s: Stamp) -> None:
    day, known = s.time // DAY, c.usage
    c.usage = {**known, day: used(known.get(day), d.count, s.time)}
    if c.first_use_day is None or day < c.first_use_day:
        c.first_use_day = day


def _compared(c: Customer, d: ev.UsageCompared, s: Stamp) -> None:
    c.above_average = newer(c.above_average, s, Flag(s, d.above_average))


# ------------------------------------------------------------------------------------------------------- satisfaction


def _nps(c: Customer, d: ev.NpsResponded, s: Stamp) -> bool:
    return _said(c, "responses", d.response_id, Survey(s, d.score, d.score >= ev.PROMOTER, d.score < ev.PASSIVE))


def _csat(c: Customer, d: ev.CsatResponded, s: Stamp) -> bool:
    return _said(c, "csats", d.response_id, Survey(s, d.score, d.top_box, d.low))


def _said(c: Customer, field: str, id_: str, survey: Survey) -> bool:
    """A revision; one that may be older than what was forgotten speaks against asking at most."""
    name, known = short(id_, LONGEST_NAME), getattr(c, field)
    late = name not in known and may_be_forgotten(c, field, survey.at)
    table = None if late and survey.promoter else put(known, name, survey.at, survey)
    if table is not None:
        setattr(c, field, table)
    return table is not None and not late


def _praised(c: Customer, time: int) -> None:
    c.feedback = True
    c.feedback_at = latest(c.feedback_at, time)


def _feedback(c: Customer, d: ev.FeedbackShared, s: Stamp) -> None:
    if d.positive:
        _praised(c, s.time)
    else:
        _displeased(c, s.time)


def _praise(c: Customer, d: ev.ComplimentGiven | ev.TestimonialGiven, s: Stamp) -> None:
    _praised(c, s.time)
    if isinstance(d, ev.TestimonialGiven):
        c.testimonial = True
        c.testimonial_at = latest(c.testimonial_at, s.time)


def _review(c: Customer, d: ev.ReviewPosted, s: Stamp) -> bool:
    if d.top_box:
        _praised(c, s.time)
    if d.url is None:  # an object of its own: nothing can correct it
        if d.low:
            _displeased(c, s.time)
        return True
    return _said(c, "reviews", d.url, Survey(s, d.rating, d.top_box, d.low))


def _interaction(c: Customer, d: ev.InteractionRecorded, s: Stamp) -> None:
    c.interactions += 1
    if d.positive is False:
        _displeased(c, s.time)


def _advocacy(c: Customer, d: ev.AdvocacyAsked, s: Stamp) -> None:
    c.advocacy = tuple(sorted({*c.advocacy, (s.time, d.kind)}))


# ------------------------------------------------------------------------------------------------------------ trouble


def _ticket(c: Customer, d: ev.TicketFact, s: Stamp) -> bool:
    name = short(d.ticket_id, LONGEST_NAME)
    late = name not in c.tickets and may_be_forgotten(c, "tickets", s)
    known = t = c.tickets.get(name) or _unknown_ticket(c)
    if not isinstance(d, ev.TicketRated) and (t.at is None or s > t.at):
        t = msgspec.structs.replace(t, at=s, open=not isinstance(d, ev.TicketSolved))
    if isinstance(d, ev.TicketOpened | ev.TicketReopened) and (t.opened is None or s > t.opened):
        t = msgspec.structs.replace(t, opened=s)
    if isinstance(d, ev.TicketOpened) and d.priority is not None and (t.prioritised is None or s > t.prioritised):
        t = msgspec.structs.replace(t, prioritised=s, priority=d.priority)
    rating = d.rating if isinstance(d, ev.TicketRated | ev.TicketSolved) else None
    if rating is not None:
        if rating == "positive":
            _praised(c, s.time)
        if t.rated is None or s > t.rated:
            t = msgspec.structs.replace(t, rated=s, rating=rating)
        if rating == "negative" and (t.soured is None or s < t.soured):
            t = msgspec.structs.replace(t, soured=s)
    c.tickets = {**c.tickets, name: t}
    return not late and all(other is None or s > other for other in (known.at, known.rated))


def _unknown_ticket(c: Customer) -> Ticket:
    """One of which nothing is known: it may be one that was forgotten, and is taken for the worst of them."""
    if not c.forgotten:
        return Ticket()
    soured = Stamp(time=0, protective=True, source="", id="") if "tickets.soured" in c.forgotten else None
    return Ticket(soured=soured, priority="urgent" if "tickets.urgent" in c.forgotten else None)


def _complaint(c: Customer, _: ev.Data, s: Stamp) -> None:
    _displeased(c, s.time)


def _displeased(c: Customer, time: int) -> None:
    c.complained_at = latest(c.complained_at, time)


def _invoice(c: Customer, d: ev.InvoicePaid | ev.InvoicePaymentFailed, s: Stamp) -> bool:
    failed, name = isinstance(d, ev.InvoicePaymentFailed), short(d.invoice_id, LONGEST_NAME)
    known = c.invoices.get(name)
    ever = failed or (known.ever_failed if known is not None else "invoices.failed" in c.forgotten)
    newest = known is None or s > known.at
    invoice = Invoice(s, failed, ever) if newest or known is None else msgspec.structs.replace(known, ever_failed=ever)
    c.invoices = {**c.invoices, name: invoice}
    return newest


def _refund(c: Customer, _: ev.Data, s: Stamp) -> None:
    c.refunded_at = latest(c.refunded_at, s.time)


def _dispute(c: Customer, d: ev.ChargeDisputed | ev.DisputeClosed, s: Stamp) -> bool:
    name = short(d.charge_id, LONGEST_NAME)
    known = c.disputes.get(name)
    disputed_at = known.disputed_at if known else None
    if isinstance(d, ev.ChargeDisputed):
        status: Literal["open", "won", "lost"] = "open"
        disputed_at = latest(disputed_at, s.time)  # also when the closing came first
    else:
        status = "won" if d.won else "lost"
    newest = known is None or s > known.at
    dispute = Dispute(s, status, disputed_at)
    if known is not None and not newest:
        dispute = msgspec.structs.replace(known, disputed_at=disputed_at)
    c.disputes = {**c.disputes, name: dispute}
    return newest


def _cancellation(c: Customer, d: ev.Cancelling, s: Stamp) -> None:
    name = short(d.subscription_id or "", LONGEST_NAME)
    known = c.cancellations.get(name, Cancellation())
    match d:
        case ev.CancellationConsidered():
            known = msgspec.structs.replace(known, considered=latest_stamp(known.considered, s))
        case ev.CancellationScheduled():
            known = msgspec.structs.replace(known, scheduled=latest_stamp(known.scheduled, s))
        case _:
            known = msgspec.structs.replace(known, reverted=latest_stamp(known.reverted, s))
    c.cancellations = {**c.cancellations, name: known}


# ------------------------------------------------------------------------------------------------------------ billing


_LIFE: dict[str, Life] = {
    "trial.started": "trial",
    "trial.ended": "converted",
    "subscription.started": "started",
    "subscription.renewed": "renewed",
    "subscription.ended": "ended",
}


def _subscription(c: Customer, d: ev.Subscribed, s: Stamp) -> bool:
    kind = _LIFE[d.type]
    if isinstance(d, ev.TrialEnded) and not d.converted:
        kind = "unconverted"
    if kind in ("converted", "unconverted", "started"):
        c.trial_over = latest_stamp(c.trial_over, s)
    name, late = short(d.subscription_id, LONGEST_NAME), may_be_forgotten(c, "subscriptions", s)
    if late and kind in ("converted", "started", "renewed"):
        return False  # it may have ended since
    newest = all(s > other.at for other in c.subscriptions if other.subscription == name)
    life = SubscriptionEvent(s, name, kind)
    c.subscriptions = tuple(sorted((*c.subscriptions, life), key=lambda e: e.at))
    return newest and not late


def _contract(c: Customer, d: ev.ContractSigned, s: Stamp) -> None:
    if d.initial:
        c.initial_contract_at = latest(c.initial_contract_at, s.time)


# ----------------------------------------------------------------------------------------------------------- presence


def _task(c: Customer, d: ev.TaskStarted | ev.TaskEnded, s: Stamp) -> bool:
    table = put(c.tasks, short(d.task_id, LONGEST_NAME), s, Flag(s, isinstance(d, ev.TaskStarted)))
    c.tasks = table or c.tasks
    return table is not None


def _concern(c: Customer, d: ev.CallConcernRaised | ev.CallConcernAddressed, s: Stamp) -> bool:
    table = put(c.concerns, short(d.call_id, LONGEST_NAME), s, Flag(s, isinstance(d, ev.CallConcernRaised)))
    c.concerns = table or c.concerns
    return table is not None


def _cut_short(c: Customer, d: ev.CallCutShort, _: Stamp) -> None:
    name = short(d.call_id, LONGEST_NAME)
    if name not in c.calls_cut_short:
        c.calls_cut_short = (*c.calls_cut_short, name)


# ------------------------------------------------------------------------------------------------------ after the ask


def _judged(c: Customer, d: ev.ApprovalAnswer, s: Stamp) -> bool:
    table = put(c.approvals, short(d.opportunity_id, LONGEST_NAME), s, Flag(s, isinstance(d, ev.AskApproved)))
    c.approvals = table or c.approvals
    return table is not None


_PROFILE = ev.ProfileChanged.type
_UNSUPPRESSED = ev.Unsuppressed.type
_HELD = ev.Held.type

_FOLDS: dict[str, Callable[[Customer, Any, Stamp], bool | None]] = {
    "customer.signed_up": _signed_up,
    "customer.profile_changed": _profile,
    "customer.consent_changed": _consent,
    "customer.suppressed": _suppressed,
    "customer.unsuppressed": _suppressed,
    "customer.erasure_requested": _erasure,
    "champion.changed": _champion,
    "onboarding.completed": _onboarded,
    "milestone.reached": _milestone,
    "goal.achieved": _goal,
    "saving.measured": _saving,
    "usage.recorded": _usage,
    "usage.compared": _compared,
    "nps.responded": _nps,
    "csat.responded": _csat,
    "feedback.shared": _feedback,
    "compliment.given": _praise,
    "testimonial.given": _praise,
    "review.posted": _review,
    "interaction.recorded": _interaction,
    "advocacy.asked": _advocacy,
    "ticket.opened": _ticket,
    "ticket.solved": _ticket,
    "ticket.rated": _ticket,
    "ticket.reopened": _ticket,
    "complaint.made": _complaint,
    "frustration.shown": _complaint,
    "invoice.payment_failed": _invoice,
    "invoice.paid": _invoice,
    "charge.refunded": _refund,
    "charge.disputed": _dispute,
    "dispute.closed": _dispute,
    "cancellation.considered": _cancellation,
    "cancellation.scheduled": _cancellation,
    "cancellation.reverted": _cancellation,
    "trial.started": _subscription,
    "trial.ended": _subscription,
    "subscription.started": _subscription,
    "subscription.ended": _subscription,
    "subscription.renewed": _subscription,
    "contract.signed": _contract,
    "task.started": _task,
    "task.ended": _task,
    "call.concern_raised": _concern,
    "call.concern_addressed": _concern,
    "call.cut_short": _cut_short,
    "ask.acknowledged": fold_after.acknowledged,
    "ask.answered": fold_after.answered,
    "ask.approved": _judged,
    "ask.rejected": _judged,
    "referral.given": fold_after.referral_given,
    "referral.status_changed": fold_after.referral_status,
    "referral.contact_erased": fold_after.contact_erased,
}
"""How each type changes the state; a type that is not here changes activity, zone and account only."""
