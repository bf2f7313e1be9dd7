"""What is written: decisions, commands, cancellations, dead letters."""

from datetime import datetime, timedelta
from typing import Any

from tests.oracle import experiments, past_asks, rewards, signals
from tests.oracle.local_time import next_quiet_start
from tests.oracle.moments import stays_allowed
from tests.oracle.records import CHANNELS, Record, cloud_event, headers_of, shown, uid
from tests.oracle.world import Customer, Opportunity, Reason, Row, World

MODES = {"peer_mentioned": "value_first", "expansion": "same_company"}


def command_of(world: World, customer: Customer, opportunity: Opportunity, now: datetime, command_id: str) -> Row:
    known, policy = customer.known, world.policy
    first = opportunity.moment[1] if opportunity.moment else "email"
    usable = signals.usable_channels(known, policy)
    if first == "email":
        quiet = next_quiet_start(now, signals.time_zone(known, policy)[0], policy)
        expires_at = min(opportunity.deadline, quiet or opportunity.deadline)
    else:
        expires_at = min(opportunity.deadline, now + timedelta(hours=1))
    others = [c for c in CHANNELS if c != first and c in usable and stays_allowed(world, customer, c, now, expires_at)]
    score = signals.score(known, now)
    offer = rewards.offer_of(world, customer, now)
    mode = mode_of(world, opportunity, score, offer)
    arm = experiments.arm(policy, opportunity.trigger, signals.account(known) or customer.id, now)
    repeats_before = opportunity.repeats if opportunity.written else 0
    about = {name: opportunity.opened_by["data"].get(name) for name in ("peer_ref", "company", "challenge")}
    found = {
        "command_id": command_id,
        "decision_id": uid("decision", opportunity.id, opportunity.decisions + 1 + repeats_before),
        "opportunity_id": opportunity.id,
        "customer_id": customer.id,
        "account_id": signals.account(known),
        "trigger": opportunity.trigger,
        "subject": opportunity.subject,
        "mode": mode,
        "template": arm.partition("/")[2] if arm else f"{opportunity.trigger}.{mode}",
        "arm": arm,
        "variables": {name: value for name, value in about.items() if value is not None},
        "channels": [first, *others],
        "not_before": now,
        "expires_at": expires_at,
        "score": score,
        "offer": offer if mode == "mutual_benefit" else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def requested(customer: Customer, command: Row, now: datetime) -> Row:
    body = {name: shown(value) if isinstance(value, datetime) else value for name, value in command.items()}
    return cloud_event("referral.ask.requested", command["command_id"], customer.id, now, body)


def cancelled(customer: Customer, opportunity: Opportunity, now: datetime, why: list[str]) -> Row:
    command_id = uid("command", customer.id, opportunity.trigger, opportunity.subject, 1)
    body = {
        "command_id": command_id,
        "opportunity_id": opportunity.id,
        "customer_id": customer.id,
        "trigger": opportunity.trigger,
        "why": why,
    }
    return cloud_event("referral.ask.cancelled", uid("cancel", command_id), customer.id, now, body)


def mode_of(world: World, opportunity: Opportunity, score: Row, offer: Row | None) -> str:
    """`mutual_benefit` is `direct` where there is nothing to offer."""
    if score["value"] < world.policy["direct_from"]:
        return "soft"
    if opportunity.trigger in world.policy["mutual_benefit_triggers"]:
        return "mutual_benefit" if offer else "direct"
    return MODES.get(opportunity.trigger, "direct")


def dead_letter(record: Record, position: int, cause: str) -> Row:
    error = {"error": cause, "stage": "ingest", "source-topic": record.get("topic", "")}
    place = {"source-partition": str(record.get("partition", 0)), "source-offset": str(record.get("offset", position))}
    kept: Row = {name: record[name] for name in ("topic", "key", "timestamp", "value") if name in record}
    return {**kept, "headers": {**headers_of(record), **error, **place}}


def blocking_answers(reasons: list[Reason]) -> list[Any]:
    return [(r["gate"], r["answer"], r["until"]) for r in reasons if r["answer"] != "pass"]


def write_changes(world: World, customer: Customer, now: datetime) -> None:
    """Of this instant's changes of each opportunity the final one, if it differs from what was written last.

    What only repeated it comes before, but never before the decision at opening.
    """
    for opportunity in customer.opportunities:
        standing = opportunity.outcome, blocking_answers(opportunity.reasons)
        changed, repeats = opportunity.written != standing, ["duplicate"] * opportunity.repeats
        outcomes = [opportunity.outcome] * changed
        for outcome in repeats + outcomes if opportunity.written else outcomes + repeats:
            write(world, customer, opportunity, now, outcome)
        opportunity.written, opportunity.repeats = standing, 0


def write(world: World, customer: Customer, opportunity: Opportunity, now: datetime, outcome: str) -> None:
    opportunity.decisions += 1
    decision_id = uid("decision", opportunity.id, opportunity.decisions)
    eligible = past_asks.next_eligible_at(customer.known, customer.asks, now, world.policy)
    body: Row = {
        "decision_id": decision_id,
        "opportunity_id": opportunity.id,
        "customer_id": customer.id,
        "n": opportunity.decisions,
        "trigger": opportunity.trigger,
        "subject": opportunity.subject,
        "outcome": outcome,
        "reasons": [shown_reason(reason) for reason in opportunity.reasons],
        **opportunity.shown_with,
        "window": {"opens": shown(opportunity.t0), "deadline": shown(opportunity.deadline)},
        "decided_at": shown(now),
    }
    if outcome in ("asked", "soft"):
        body["mode"] = opportunity.command["mode"]  # type: ignore[index]  # it was emitted
    emitted = customer.asks[-1] if outcome in ("asked", "soft", "shadow") else {}
    if emitted.get("arm"):
        body["arm"] = emitted["arm"]
    if opportunity.command:
        body["command_id"] = opportunity.command["command_id"]
    if eligible is not None:
        body["next_eligible_at"] = shown(eligible)
    world.result.decisions.append(cloud_event("referral.decision.made", decision_id, customer.id, now, body))


def shown_reason(reason: Reason) -> Row:
    until = reason["until"]
    kept = {name: reason[name] for name in ("gate", "answer", "saw", "limit")}
    if until is None:
        return kept
    return kept | {"until": shown(until) if isinstance(until, datetime) else until}
