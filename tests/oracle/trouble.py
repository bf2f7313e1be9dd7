"""Gate 5: what is wrong, worked out from the list of events known."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from fractions import Fraction

from tests.oracle.records import Event
from tests.oracle.signals import (
    DAY,
    Known,
    at_the_bottom,
    newest,
    newest_of_each,
    of,
    responses,
    said_last,
    stamp,
)

Cause = tuple[str, datetime | str | None, str]


def waiting_until(end: datetime, now: datetime, saw: str) -> list[Cause]:
    return [("until", end, saw)] if now < end else []


def ticket_causes(known: Known, now: datetime) -> list[Cause]:
    causes: list[Cause] = []
    life = of(known, "ticket.opened", "ticket.solved", "ticket.reopened")
    rated = [event for event in of(known, "ticket.solved", "ticket.rated") if "rating" in event["data"]]
    for ticket, last in newest_of_each(life, "ticket_id").items():
        if last["type"] != "ticket.solved":
            causes.append(("until_event", "ticket.solved", f"ticket {ticket} open"))
            continue
        openings = [e for e in life if e["data"]["ticket_id"] == ticket and e["type"] != "ticket.solved"]
        opened = newest(openings)
        ratings = [e for e in rated if e["data"]["ticket_id"] == ticket and (not opened or stamp(e) > stamp(opened))]
        rating = newest(ratings)
        if rating and rating["data"]["rating"] == "positive" and not turned_positive(known, ticket):
            continue
        urgent = said_last(openings, "priority") in ("urgent", "high")
        causes += waiting_until(last["time"] + (14 if urgent else 3) * DAY, now, f"ticket {ticket} solved")
    for ticket, rating in newest_of_each(rated, "ticket_id").items():
        if rating["data"]["rating"] == "negative":
            causes += waiting_until(rating["time"] + 30 * DAY, now, f"ticket {ticket} rated negative")
    for event in of(known, "complaint.made", "frustration.shown"):
        causes += waiting_until(event["time"] + 30 * DAY, now, event["type"])
    return causes


def turned_positive(known: Known, ticket: str) -> bool:
    """Whether the ticket was rated negative first: praise after that lifts the frustration and earns nothing."""
    rated = of(known, "ticket.solved", "ticket.rated")
    return any(e["data"]["ticket_id"] == ticket and e["data"].get("rating") == "negative" for e in rated)


def bad_word_causes(known: Known, now: datetime) -> list[Cause]:
    """What was said badly, in its newest revision; a word without an object of its own is never taken back."""
    reviews = of(known, "review.posted")
    said = list(responses(known, "csat.responded").values())
    said += newest_of_each([e for e in reviews if "url" in e["data"]], "url").values()
    said += [e for e in reviews if "url" not in e["data"]]
    bad = [event for event in said if at_the_bottom(event)]
    bad += [e for e in of(known, "feedback.shared", "interaction.recorded") if e["data"].get("positive") is False]
    return [cause for e in bad for cause in waiting_until(e["time"] + 30 * DAY, now, f"bad word: {e['type']}")]


def detractor_causes(known: Known, now: datetime) -> list[Cause]:
    revisions = list(responses(known).values())
    causes = []
    for event in revisions:
        later = [e for e in revisions if e["data"]["score"] >= 9 and stamp(e) > stamp(event)]
        if event["data"]["score"] <= 6 and not later:
            causes += waiting_until(event["time"] + 90 * DAY, now, "detractor")
    return causes


def money_causes(known: Known, now: datetime) -> list[Cause]:
    causes: list[Cause] = []
    failed = {event["data"]["invoice_id"] for event in of(known, "invoice.payment_failed")}
    for invoice, last in newest_of_each(of(known, "invoice.payment_failed", "invoice.paid"), "invoice_id").items():
        if last["type"] == "invoice.payment_failed":
            causes.append(("until_event", "invoice.paid", f"payment of {invoice} failed"))
        elif invoice in failed:
            causes += waiting_until(last["time"] + 3 * DAY, now, f"payment of {invoice} had failed")
    for event in of(known, "charge.refunded"):
        causes += waiting_until(event["time"] + 90 * DAY, now, "refund")
    disputed = newest_of_each(of(known, "charge.disputed"), "charge_id")
    for charge, last in newest_of_each(of(known, "charge.disputed", "dispute.closed"), "charge_id").items():
        if last["type"] == "charge.disputed":
            causes.append(("until_event", "dispute.closed", f"dispute of {charge}"))
        elif not last["data"]["won"]:
            causes += waiting_until(disputed.get(charge, last)["time"] + 90 * DAY, now, f"dispute of {charge} lost")
    return causes


def cancellation_causes(known: Known, now: datetime) -> list[Cause]:
    causes: list[Cause] = []
    reverted = newest_of_each(of(known, "cancellation.reverted"), "subscription_id")
    considered = newest_of_each(of(known, "cancellation.considered"), "subscription_id")
    scheduled = newest_of_each(of(known, "cancellation.scheduled"), "subscription_id")
    for event in reverted.values():
        causes += waiting_until(event["time"] + 30 * DAY, now, "cancellation reverted")
    for subscription, event in considered.items():
        if subscription not in reverted or stamp(reverted[subscription]) < stamp(event):
            causes += waiting_until(event["time"] + 120 * DAY, now, "cancellation considered")
    for subscription, event in scheduled.items():
        if subscription in reverted and stamp(reverted[subscription]) > stamp(event):
            continue
        about = [e for e in of(known, "subscription.renewed") if subscription in ("", e["data"]["subscription_id"])]
        renewals = [e["time"] for e in about if e["time"] > event["time"]]
        if renewals:
            causes += waiting_until(min(renewals) + 30 * DAY, now, "cancellation was scheduled")
        else:
            causes.append(("until_event", "cancellation.reverted", "cancellation scheduled"))
    return causes


def ended_causes(known: Known, now: datetime) -> list[Cause]:
    """Replays the subscriptions' lives in event time: ended while no other was active, until a new one + 30 d."""
    active: set[str] = set()
    ended, back = False, None
    types = ("subscription.started", "subscription.renewed", "subscription.ended", "trial.ended")
    for event in sorted(of(known, *types), key=stamp):
        subscription = event["data"]["subscription_id"]
        if event["type"] == "subscription.ended" or event["data"].get("converted") is False:
            active.discard(subscription)
            ended = not active
        else:
            active.add(subscription)
            if ended:
                ended, back = False, event["time"]
    if ended:
        return [("until_event", "subscription.started", "ended")]
    return waiting_until(back + 30 * DAY, now, "had ended") if back else []


@dataclass
class UsageJudgement:
    """A history, because each day is judged once, on what was known at its 00:00Z."""

    next_day: date | None = None
    frozen_base: Fraction | None = None  # not None: usage is down
    recovered: date | None = None
    drops: list[tuple[date, date | None]] = field(default_factory=list)  # when it went down, and when it last was up


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def judge_usage(known: Known, judgement: UsageJudgement, last_day: date) -> None:
    """Judges the days up to and including `last_day` that have not been judged yet, in their order."""
    usage = of(known, "usage.recorded")
    if not usage:
        return
    day = judgement.next_day or min(event["arrived"] for event in usage).date()
    while day <= last_day:
        judge_day([event for event in usage if event["arrived"] <= start_of(day)], judgement, day)
        day += DAY
    judgement.next_day = day


def judge_day(usage: list[Event], judgement: UsageJudgement, day: date) -> None:
    if not usage:
        return
    counts: dict[date, int] = defaultdict(int)
    for event in usage:
        counts[event["time"].date()] += int(event["data"].get("count", 1))
    recent = Fraction(sum(counts.get(day - n * DAY, 0) for n in range(1, 8)), 7)
    if judgement.frozen_base is not None:
        if recent >= Fraction(8, 10) * judgement.frozen_base:
            judgement.frozen_base, judgement.recovered = None, day
        return
    first = min(counts)
    before = [day - n * DAY for n in range(8, 36) if day - n * DAY >= first]
    if first > day - 14 * DAY or not before:
        return
    base = Fraction(sum(counts.get(d, 0) for d in before), len(before))
    if base > 0 and recent <= Fraction(6, 10) * base:
        judgement.drops.append((day, judgement.recovered))
        judgement.frozen_base, judgement.recovered = base, None


def usage_causes(judgement: UsageJudgement, now: datetime) -> list[Cause]:
    if judgement.frozen_base is not None:
        return [("until_event", "usage.recorded", "usage down")]
    if judgement.recovered is not None:
        return waiting_until(start_of(judgement.recovered) + 7 * DAY, now, "usage was down")
    return []
