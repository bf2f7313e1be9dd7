"""What follows the ask, in the order of after §0: answer, referral, status, reward; and what is due by time."""

from datetime import datetime, timedelta

from tests.oracle import answers, followups, past_asks, referrals, rewards, signals
from tests.oracle.gates import not_consented, what_is_wrong
from tests.oracle.records import Event
from tests.oracle.signals import of
from tests.oracle.trouble import start_of
from tests.oracle.world import Customer, World

Turn = dict[str, bool]


def judge_on_arrival(world: World, customer: Customer, event: Event, now: datetime) -> Turn:
    """Notes on the event what is judged once, as it arrives. Returns what blocked just before it."""
    body, kind = event["data"], event["type"]
    world.applied += 1
    event["order"], event["applied_to"] = world.applied, customer.id
    if kind == "ask.answered":
        ask, event["about_referral"] = answers.meant(customer, body["command_id"], now)
        event["ask"] = ask and ask["command_id"]
    elif kind == "ask.acknowledged":
        named = [f["id"] for f in customer.followups if f["id"] == body["command_id"]]
        event["followup"] = named[0] if named else None
    elif kind == "referral.given":
        ask, _ = answers.meant(customer, body.get("command_id"), now)
        event["names"] = ask and ask["command_id"]
        earlier = signals.referral_given(customer.known, body["referral_id"])
        event["attributed_to"] = (
            earlier[0]["attributed_to"] if earlier else referrals.attribution(world, customer, event, now)
        )
    elif kind == "referral.status_changed":
        event["before_given"] = not signals.referral_given(customer.known, body["referral_id"])
    elif kind in ("reward.approved", "reward.rejected"):
        event["counts"] = any(g["id"] == body["grant_id"] for g in customer.grants)
    elif kind == "reward.settled":
        event["counts"] = any((g["id"], g["state"]) == (body["grant_id"], "granted") for g in customer.grants)
    return what_blocks(world, customer, event["time"], now)


def what_blocks(world: World, customer: Customer, then: datetime, now: datetime) -> Turn:
    """`trouble then`: as of the time of the event, which regret asks for (R129)."""
    return {
        "consent": bool(not_consented(customer.known, world.policy)),
        "trouble": bool(what_is_wrong(customer.known, customer.usage, now)),
        "trouble then": bool(what_is_wrong(customer.known, customer.usage, then)),
        "stop": past_asks.told_to_stop(customer.known),
    }


def note_turns(world: World, customer: Customer, event: Event, before: Turn, now: datetime) -> None:
    """What made gate 3, 5 or a stop block, and what took back a survey answer: a signal against an ask of ours."""
    for gate, blocks in what_blocks(world, customer, event["time"], now).items():
        if blocks and not before[gate]:
            customer.turns.append({"gate": gate, "time": event["time"], "arrived": now, "event": event})
    for ask in customer.asks:
        if ask["survey"] is None and signals.survey_withdrawn(customer.known, ask["opened_by"]):
            ask["survey"] = event


def follow(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """What an event that was just applied leads to at once."""
    kind = event["type"]
    if kind == "customer.erasure_requested":
        forget(world, customer, now)
        return
    followups.hold_back(world, customer, now)
    if kind == "ask.answered":
        answers.take_answer(world, customer, event, now)
    elif kind == "ask.acknowledged":
        answers.take_acknowledgement(world, customer, event, now)
    elif kind == "referral.given":
        referrals.take_given(world, customer, event, now)
        rewards.look_for_grant(world, customer, event, now)
    elif kind == "referral.contact_erased":
        referrals.take_contact_erased(world, customer, event, now)
    elif kind == "referral.status_changed":
        referrals.take_status(world, customer, event, now)
        rewards.look_for_grant(world, customer, event, now)
        rewards.take_status(world, customer, event, now)
    elif kind in ("reward.approved", "reward.rejected"):
        rewards.take_judgement(world, customer, event, now)
    elif kind == "reward.settled":
        rewards.take_settlement(world, customer, event, now)


def forget(world: World, customer: Customer, now: datetime) -> None:
    """Erased: everything open ends, to the owner too."""
    every = tuple({f["kind"] for f in customer.followups})
    followups.cancel_all(world, customer, {f["id"]: "erased" for f in followups.open_ones(customer, now, *every)}, now)
    rewards.forget(world, customer, now)


def time_passes(world: World, customer: Customer, now: datetime) -> None:
    """What is due by time: approvals, grants, reports."""
    if of(customer.known, "customer.erasure_requested") or customer.merged_into is not None:
        return
    rewards.time_passes(world, customer, now)
    referrals.reports_due(world, customer, now)


def when_answered(world: World, customer: Customer, grant: dict[str, object], now: datetime) -> None:
    """A report that has waited for the ledger's answer is made; a reward that no report will carry is told."""
    referral = str(grant["referral"])
    due = [s for s in signals.referral_statuses(customer.known, referral) if referrals.reported_at(world, s) == now]
    if any(not status["before_given"] for status in due):
        referrals.report(world, customer, referral, now)
    else:
        referrals.tell_reward(world, customer, referral, now)


def instants(world: World, customer: Customer) -> list[datetime]:
    """When something may be due, or true, without an event."""
    if of(customer.known, "customer.erasure_requested"):
        return []
    statuses = of(customer.known, "referral.status_changed")
    found = [referrals.reported_at(world, e) for e in statuses if referrals.may_be_reported(world, e)]
    found += [g["lapses_at"] for g in customer.grants if g["state"] == "held"]
    found += [g["due_at"] for g in customer.grants if g["state"] == "due"]
    if any(g["customer"] != customer.id for g in customer.grants):
        found += [g["asked_at"] + rewards.A_YEAR for g in customer.grants if g["state"] == "granted"]
    cares = (f for f in customer.followups if f["kind"] == "take_care" and f["cancelled"] != "contact_erased")
    found += [f["due_by"] for f in cares]  # it may be late from then on
    silent = timedelta(days=world.policy["silence_after_days"])
    return found + [ask["asked_at"] + silent for ask in customer.asks]


# Merging (identity §3)


def go_on_as_one(world: World, customer: Customer, other: Customer, now: datetime) -> None:
    """What was open to the absorbed customer is cancelled, and made again where this one may be told.

    All else goes on.
    """
    ended = followups.open_ones(other, now, *followups.TO_CUSTOMER)
    followups.cancel_all(world, other, {f["id"]: "merged" for f in ended}, now)
    customer.followups += other.followups
    customer.unreachable += other.unreachable
    customer.turns += other.turns
    customer.converted_once |= other.converted_once
    customer.absorbed += other.opportunities + other.absorbed
    customer.grants += other.grants
    by_referral: dict[str, list[dict[str, object]]] = {}
    for grant in sorted(customer.grants, key=lambda g: (g["state"] != "granted", g["customer"].encode())):
        by_referral.setdefault(grant["referral"], []).append(grant)
    for _, *rest in by_referral.values():
        for grant in rest:
            if grant["state"] in ("held", "due", "asked"):
                rewards.deny(world, customer, grant, "duplicate", now)
    for followup in ended:
        followups.again(world, customer, followup, now, expires_at=followup["expires_at"])


def usage_drops(customer: Customer, start: datetime, end: datetime) -> list[datetime]:
    """The 00:00Z in [start, end) at which usage was found to be down, where nothing had been wrong just before."""
    found = []
    for day, was_up_again in customer.usage.drops:
        at = start_of(day)
        if not start <= at < end or (was_up_again is not None and at < start_of(was_up_again) + timedelta(days=7)):
            continue
        then = signals.nothing_known()
        then.update({kind: [e for e in events if e["arrived"] <= at] for kind, events in customer.known.items()})
        if not what_is_wrong(then, type(customer.usage)(), at):
            found.append(at)
    return found
