"""Whether an occasion to ask opens an opportunity, repeats one that is live, or comes too late."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import bounds, counting
from referral_stream.core import events as ev
from referral_stream.core.asking.judging import judge_live, keep, verdicts, view
from referral_stream.core.asking.recording import decide, write
from referral_stream.core.customer import LONGEST_NAME
from referral_stream.core.events import Event
from referral_stream.core.ids import hash64, opportunity_id, short
from referral_stream.core.instants import DAY
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.referrals import Conversion
from referral_stream.core.rules import gates, windows
from referral_stream.core.rules.triggers import Occasion
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import Turn


def open_first(turn: Turn, occasion: Occasion, event: Event) -> None:
    """Open an opportunity for this occasion, unless its business key is used up, or it uses up no more than that."""
    if _is_first(turn, occasion.trigger, occasion.subject, event) and not occasion.spent:
        _open(turn, occasion, event.time, historical=event.historical, event=event)


def _is_first(turn: Turn, trigger: str, subject: str, event: Event) -> bool:
    """Whether this trigger had no occasion about this subject before: that uses up the business key."""
    c, key = turn.customer, hash64(trigger, subject)
    if trigger not in turn.policy.triggers or key in c.keys:
        return False
    if len(c.keys) >= bounds.MOST_KEYS:
        bounds.count(c, "keys", event.time)
        return False
    c.keys = (*c.keys, key)
    return True


def _open(turn: Turn, occasion: Occasion, t0: int, *, historical: bool, event: Event | None = None) -> None:
    """Open an opportunity, or record why not. ``event``: what opens it, unless that was long before ``t0``."""
    c, now, policy = turn.customer, turn.now, turn.policy
    rule = policy.triggers[occasion.trigger]
    end = windows.deadline(rule, t0, turn.zone)
    settled = windows.settled(rule, t0, end, policy)
    opportunity = Opportunity(
        id=opportunity_id(c.id, occasion.trigger, occasion.subject),
        trigger=occasion.trigger,
        subject=occasion.subject,
        t0=t0,
        deadline=end,
        settled=settled,
        opened_at=now,
        ready=max(settled, now),
        survey=occasion.survey,
        response=occasion.response,
        theme=occasion.theme,
        variables=occasion.variables,
        flags=event.flags if event else (),
        traceparent=event.traceparent if event else None,
    )
    occurred_at = t0 - rule.opens_after_days * DAY
    if historical or (rule.active_since or 0) > occurred_at:
        write(turn, opportunity, "historical", verdicts(turn, opportunity))
        return
    if now >= end:
        write(turn, opportunity, "expired_on_arrival", verdicts(turn, opportunity))
        return
    # At the deadline itself a live one still is: records come before deadlines.
    live = next((o for o in c.live if o.trigger == occasion.trigger and now <= o.deadline), None)
    if live is not None:
        repeated = decide(turn, live, "duplicate", verdicts(turn, live), turn.score())
        keep(turn, replace(repeated, last=live.last))  # the comparison with the last decision skips it
        return
    c.live = (*c.live, opportunity)
    counting.count(c, opportunity, "opened")
    turn.board.current = False
    seen = view(turn, opportunity)
    if not any(gate.causes(seen) for gate in gates.AT_OPENING):  # nobody who may not be asked makes a burst
        turn.effects.append(turn.builder.opened(opportunity))


def converted(turn: Turn, event: Event, *, spent: bool) -> None:
    """A referral became a customer: if the referrer is happy enough, a new occasion to ask opens later.

    ``spent``: it uses up the referral, and opens nothing.
    """
    c = turn.customer
    data: ev.ReferralStatusChanged = event.data
    name = short(data.referral_id, LONGEST_NAME)
    if not _is_first(turn, "referral_converted", name, event) or spent:
        return
    rule = turn.policy.triggers["referral_converted"]
    if (rule.score_at_least or 0) > turn.score().value:
        return
    conversion = Conversion(
        at=Stamp.of(event),
        opens_at=event.time + rule.opens_after_days * DAY,
        historical=event.historical,
    )
    if conversion.opens_at <= turn.now:
        _open_conversion(turn, name, conversion)
    elif name in c.referrals:  # else there was no room for it
        c.referrals = {**c.referrals, name: replace(c.referrals[name], conversion=conversion)}


def open_converted(turn: Turn) -> None:
    """Open what a conversion scheduled for an instant that has come."""
    c = turn.customer
    due = [
        (referral.conversion, referral_id)
        for referral_id, referral in c.referrals.items()
        if referral.conversion is not None and referral.conversion.opens_at <= turn.now
    ]
    for conversion, referral_id in sorted(due):
        c.referrals = {**c.referrals, referral_id: replace(c.referrals[referral_id], conversion=None)}
        _open_conversion(turn, referral_id, conversion)
        judge_live(turn)  # as after every record: one that closes at once absorbs no repeat


def _open_conversion(turn: Turn, referral_id: str, conversion: Conversion) -> None:
    occasion = Occasion("referral_converted", referral_id, {})
    _open(turn, occasion, conversion.opens_at, historical=conversion.historical)
