"""The record: a customer's asks, referrals and counts as one message, written when it has changed (after §6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from referral_stream.core import counting, zones
from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.customer import LONGEST_NAME, Customer, Month, word
from referral_stream.core.effects import (
    RecordChanged,
    RecordedAsk,
    RecordedMonth,
    RecordForgotten,
    ReferralHistory,
    ReferredContact,
)
from referral_stream.core.events import Event
from referral_stream.core.fold_after import ask_meant, is_known
from referral_stream.core.followups import Tally
from referral_stream.core.ids import short
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.referrals import Referral
from referral_stream.core.rules import gates
from referral_stream.core.turn import Folded, Process, Turn, never

SIGNAL_DAYS = 14
"""How long after an ask what goes wrong speaks against it."""


class Content(NamedTuple):
    """What a record says, as values that are quick to compare."""

    ids: tuple[str, ...]
    account: str | None
    segment: str | None
    signed_up: int | None
    times_asked: int
    first_asked: int | None
    last_asked: int | None
    converted: int
    contacts: tuple[dict[str, Any], ...]
    asks: tuple[dict[str, Any], ...]
    months: tuple[tuple[str, Month], ...]
    tallies: tuple[tuple[str, Tally], ...]
    last_date: str | None
    eligible_date: str | None


# -------------------------------------------------------------------------------------------------------------- content


def content_of(c: Customer, now: int, policy: Policy, eligible: int | None) -> Content:
    """What a record written at ``now`` says about this state."""
    asked = [a for a in c.asks if a.kind in ("asked", "soft") and a.counts]
    past = c.past_asks
    times = [a.asked_at for a in asked] + ([] if past is None else [past.first, past.last])
    first, zone, last = counting.first_month(now), _zone_name(c, policy), max(times, default=None)
    given = sorted(
        ((r.given, r.id or name, r) for name, r in c.referrals.items() if r.given is not None),
        key=lambda each: each[:2],
    )
    return Content(
        ids=c.ids,
        account=c.account_id,
        segment=word(c.segment),
        signed_up=c.signed_up,
        times_asked=len(asked) + (0 if past is None else past.times),
        first_asked=min(times, default=None),
        last_asked=last,
        converted=sum(r.status == "converted" for _, _, r in given),
        contacts=tuple(_contact(id_, r, zone) for _, id_, r in given),
        asks=tuple(_asks(c, first)),
        months=tuple(sorted((key, month) for key, month in c.months.items() if key >= first)),
        tallies=tuple(sorted(c.tallies.items())),
        last_date=None if last is None else zones.local_day(last, zone),
        eligible_date=None if eligible is None else zones.local_day(eligible, zone),
    )


def _contact(id_: str, r: Referral, zone: str) -> dict[str, Any]:
    grant, reward = r.grant, None
    if grant is not None:
        reward = grant.settled.value if grant.state == "granted" and grant.settled is not None else grant.state
    return {
        "referral_id": id_,
        "command_id": r.ask,
        "consented": r.consented,
        "referred_date": zones.local_day(r.dated or 0, zone),
        "status": r.status or "given",
        "care_late": True if r.care_late else None,
        "deal_value_minor": None if r.deal is None else r.deal.value_minor,
        "currency": None if r.deal is None else r.deal.currency,
        "reward": reward,
    }


def _asks(c: Customer, first_month: str) -> Iterator[dict[str, Any]]:
    referred: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    for r in c.referrals.values():
        if r.ask is not None and r.given is not None:
            referred[r.ask] += 1
            converted[r.ask] += r.status == "converted"
    for a in sorted(c.asks, key=lambda a: (a.asked_at, a.command_id)):
        if a.kind == "reason" or counting.month_of(a.opportunity.t0) < first_month:
            continue
        despite = a.signal_at is not None and a.sent_at is not None and a.sent_at >= a.signal_at
        yield {
            "command_id": a.command_id,
            "trigger": a.opportunity.trigger,
            "template": a.template,
            "mode": a.mode,
            "channel": a.channel,
            "kind": a.kind,
            "arm": a.arm,
            "t0": a.opportunity.t0,
            "asked_at": a.asked_at,
            "decided_at": a.decided_at,
            "sent_at": a.sent_at,
            "answer": None if a.answer is None else a.answer.value,
            "answered_at": None if a.answer is None else a.answer.at.time,
            "referrals": referred[a.command_id],
            "converted": converted[a.command_id],
            "failed": True if not a.counts else None,
            "cancelled": True if a.cancelled else None,
            "despite_signal": True if despite else None,
            "regret": True if a.regret else None,
        }


def _month(key: str, month: Month) -> RecordedMonth:
    name, _, trigger = key.partition("|")
    fates = {field: getattr(month, field) or None for field in Month.__struct_fields__ if field != "blocked"}
    return RecordedMonth(month=name, trigger=trigger, **fates, blocked=month.blocked or None)


def next_eligible(c: Customer, now: int, policy: Policy) -> int | None:
    """When the customer may be asked again as far as their own asks and answers go; None after a stop, or unasked."""
    asked = gates.last_asked(c, policy)
    if asked is None or "stop" in c.answers:
        return None
    return max(asked + policy.caps.customer_days * DAY, gates.answers_end(c, now, policy) or 0)


# -------------------------------------------------------------------------------------------------------------- writing


def write(turn: Turn) -> None:
    """Write the record if it says something else than the last one: the last thing of an instant."""
    c, start = turn.customer, turn.start
    if c.drop is not start.drop:
        _see_drop(turn)
    if not (turn.recorded and (c.months or c.asks or c.referrals)):
        return
    eligible = next_eligible(c, turn.now, turn.policy) if c.asks else None
    if c.recorded:
        if not c.record_owed and eligible == c.eligible_told and (_is_untouched(c, start) or not _differs(turn, start)):
            return
    elif not (c.months or c.asks or any(r.given is not None for r in c.referrals.values())):
        return
    if _is_answer_awaited(c):
        c.record_owed = True
        return
    c.recorded, c.eligible_told, c.record_owed = c.recorded + 1, eligible, False
    turn.effects.append(_record(turn, content_of(c, turn.now, turn.policy, eligible), eligible))


def _is_answer_awaited(c: Customer) -> bool:
    """Whether the ledger has yet to say what becomes of this instant."""
    return c.awaiting is not None or any(r.grant is not None and r.grant.awaited for r in c.referrals.values())


def _is_untouched(c: Customer, start: Customer) -> bool:
    """Whether nothing was replaced that a record is made of: then there is nothing to compare."""
    return (
        c.asks is start.asks
        and c.months is start.months
        and c.referrals is start.referrals
        and c.tallies is start.tallies
        and c.account is start.account
        and c.segment is start.segment
        and c.time_zone is start.time_zone
        and c.event_zone is start.event_zone
        and c.signed_up == start.signed_up
        and c.past_asks is start.past_asks
        and c.ids is start.ids
    )


def _differs(turn: Turn, start: Customer) -> bool:
    c = turn.customer
    before = content_of(start, turn.now, turn.policy, c.eligible_told)
    return before != content_of(c, turn.now, turn.policy, c.eligible_told)


def _zone_name(c: Customer, policy: Policy) -> str:
    """The customer's zone; under strict zones one that is not known is the deployment's default."""
    known = c.time_zone or c.event_zone
    return policy.time_zone.default if known is None else known.value


def _record(turn: Turn, content: Content, eligible: int | None) -> RecordChanged:
    c = turn.customer
    history = ReferralHistory(
        last_ask_date=content.last_date,
        last_asked_at=content.last_asked,
        first_asked_at=content.first_asked,
        times_asked=content.times_asked,
        referrals_given=len(content.contacts),
        referrals_converted=content.converted,
        propensity_score=turn.score().value,
        next_ask_eligible=content.eligible_date,
        next_eligible_at=eligible,
    )
    tallies = {
        kind: {name: number for name in Tally.__struct_fields__ if (number := getattr(tally, name))}
        for kind, tally in content.tallies
    }
    return RecordChanged(
        customer_id=c.id,
        ids=content.ids or None,
        account_id=content.account,
        segment=content.segment,
        signed_up_at=content.signed_up,
        referral_history=history,
        referred_contacts=tuple(ReferredContact(**each) for each in content.contacts),
        asks=tuple(RecordedAsk(**each) for each in content.asks),
        months=tuple(_month(*each) for each in content.months),
        followups={kind: found for kind, found in tallies.items() if found},
        recorded_at=turn.now,
        policy=turn.builder.policy_ref,
        n=c.recorded,
    )


# ------------------------------------------------------------------------------------------- what speaks against an ask


def may_be_signalled(c: Customer, event: Event, now: int) -> bool:
    """Whether an event of that type may speak against an ask of that state."""
    if event.type not in ev.CLOSING:
        return False
    newest = c.asks[-1].asked_at + SIGNAL_DAYS * DAY
    return now < newest or event.time < newest


def _on_record(turn: Turn, event: Event, folded: Folded | None) -> bool:
    """See whether the record would have forbidden an ask that is out, or makes it regrettable."""
    before = turn.before
    if folded is None or before is None:
        return True
    known = {ask.command_id for ask in before.asks if ask.kind != "reason"}
    changed = [_signalled(turn, event, before, ask) if ask.command_id in known else ask for ask in turn.customer.asks]
    if any(new is not old for new, old in zip(changed, turn.customer.asks, strict=True)):
        turn.customer.asks = tuple(changed)
    return True


def _signalled(turn: Turn, event: Event, before: Customer, ask: Ask) -> Ask:
    c, policy, end = turn.customer, turn.regrets_by or turn.policy, ask.asked_at + SIGNAL_DAYS * DAY
    if turn.now < end and not _answers(turn, event, ask) and (
        any(now and not was for was, now in zip(_forbidding(turn, before), _forbidding(turn, c), strict=True))
        or _takes_back_survey(event, ask, before, c)
    ):  # fmt: skip
        ask = replace(ask, signal_at=event.time if ask.signal_at is None else min(ask.signal_at, event.time))
    if (
        not ask.regret
        and ask.asked_at <= event.time < end
        and gates.is_troubled(c, event.time, policy)
        and not gates.is_troubled(before, event.time, policy)
    ):
        ask = replace(ask, regret=True)
    return ask


def _answers(turn: Turn, event: Event, ask: Ask) -> bool:
    """Whether the event answers that very ask: whoever does has had it, so nothing was sent in spite of it."""
    if not isinstance(event.data, ev.AskAnswered) or not is_known(ask, turn.now):
        return False
    meant = ask_meant(turn.customer, event.data.command_id)
    return meant is not None and meant.command_id == ask.command_id


def _forbidding(turn: Turn, c: Customer) -> tuple[bool, bool, bool]:
    """Whether a stop, gate 3 and gate 5 hold the customer back, each by itself."""
    return "stop" in c.answers, gates.is_without_consent(c, turn.policy), gates.is_troubled(c, turn.now, turn.policy)


def _takes_back_survey(event: Event, ask: Ask, before: Customer, after: Customer) -> bool:
    """Whether the survey answer that led to the ask no longer speaks for it."""
    response = ask.opportunity.response
    if response is None or not isinstance(event.data, ev.NpsResponded | ev.CsatResponded):
        return False
    name = short(response, LONGEST_NAME)
    tables = ((before.responses, after.responses), (before.csats, after.csats))
    return any(name in was and name in now and was[name].promoter and not now[name].promoter for was, now in tables)


def _see_drop(turn: Turn) -> None:
    """A drop in usage is seen at midnight, by no event: it speaks against what was asked before."""
    c, drop = turn.customer, turn.customer.drop
    if drop is None or drop is turn.start.drop or drop.since_day is None or drop.ended_day is not None or not c.asks:
        return
    at = drop.since_day * DAY
    if turn.start.drop is not None and turn.start.drop.since_day == drop.since_day:
        return
    found = []
    for ask in c.asks:
        if ask.kind != "reason" and ask.asked_at <= at < ask.asked_at + SIGNAL_DAYS * DAY:
            signal = at if ask.signal_at is None else min(ask.signal_at, at)
            found.append(replace(ask, signal_at=signal, regret=True))
        else:
            found.append(ask)
    c.asks = tuple(found)


def _on_erasure(turn: Turn) -> None:
    if turn.customer.recorded:
        turn.effects.append(RecordForgotten(customer_id=turn.customer.id))


def _nothing(_: Turn) -> None:
    """Nothing of it is under way."""


RECORD = Process(
    name="record",
    takes=frozenset(ev.CLOSING),
    on_record=_on_record,
    under_way=never,
    on_deadline=_nothing,
    on_due=_nothing,
    due=lambda _: (),
    on_erasure=_on_erasure,
)
"""It sees what speaks against asks; :func:`write` is the last of every instant."""
