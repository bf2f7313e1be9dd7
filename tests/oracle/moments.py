"""Gate 12 and semantics §5: when, and on which channel, a customer may be spoken to."""

from datetime import datetime, timedelta

from tests.oracle import signals
from tests.oracle.gates import reason
from tests.oracle.local_time import email_instant, in_office_hours, is_quiet, quiet_spans
from tests.oracle.records import Event
from tests.oracle.signals import Known, of
from tests.oracle.world import Customer, Opportunity, Reason, World


def moment_answer(
    world: World, customer: Customer, opportunity: Opportunity, now: datetime, usable: list[str], blocking: list[Reason]
) -> Reason:
    """The answer of gate `moment`; while others block, the plan for the earliest instant at which they may pass."""
    if opportunity.moment:
        _, channel, call = opportunity.moment
        may_speak = channel_allowed(world, customer, channel, now) and not is_cut_short(customer.known, call)
        if channel in usable and may_speak:
            return reason("moment", [])
        opportunity.moment = None
    if "email" in usable:
        waits = [r["until"] for r in blocking if isinstance(r["until"], datetime)]
        known_waits = [end for end in waits if end < opportunity.deadline]  # the others close it by themselves
        start = max([opportunity.settled, opportunity.cleared_at or now, now, *known_waits])
        names, _ = signals.time_zone(customer.known, world.policy)
        planned = email_instant(start, opportunity.deadline, names, world.policy)
        if planned is not None:
            return reason("moment", [] if planned <= now else [("until", planned, "planned")])
        if usable == ["email"]:
            return reason("moment", [("never", None, "no instant left for an e-mail")])
    return reason("moment", [("until_event", "moment", "no clock instant")])


def channel_allowed(world: World, customer: Customer, channel: str, now: datetime) -> bool:
    if channel == "email":
        return not is_quiet(now, signals.time_zone(customer.known, world.policy)[0], world.policy)
    if channel == "in_app":
        return not signals.in_critical_task(customer.known, now, world.policy)
    return not signals.concern_open(customer.known)


def stays_allowed(world: World, customer: Customer, channel: str, start: datetime, end: datetime) -> bool:
    """Whether a channel may speak throughout [start, end), in every zone: what may follow another channel."""
    zones = signals.time_zone(customer.known, world.policy)[0]
    if channel == "email":
        return not any(opens < end and closes > start for opens, closes in quiet_spans(start, end, zones, world.policy))
    return channel_allowed(world, customer, channel, start) and (
        channel != "phone" or all(in_office_hours(start, end, name) for name in zones)
    )


def is_cut_short(known: Known, call: str | None) -> bool:
    return call is not None and any(event["data"]["call_id"] == call for event in of(known, "call.cut_short"))


def moment_channel(world: World, customer: Customer, event: Event, now: datetime) -> str | None:
    """The channel on which this event, arriving now, is a good moment."""
    body = event["data"]
    match event["type"]:
        case "email.opened" | "email.clicked":
            channel = "email"
        case "workflow.completed" | "achievement.unlocked":
            channel = "in_app"
        case "dashboard.viewed" if body["metrics_positive"]:
            channel = "in_app"
        case "ticket.solved" | "ticket.rated" if body.get("rating") == "positive":
            channel = "in_app"
        case "call.moment":
            if is_cut_short(customer.known, body.get("call_id")):
                return None
            channel = "phone"
        case _:
            return None
    fresh = now - event["time"] <= timedelta(minutes=10) and not event["historical"]
    return channel if fresh and channel_allowed(world, customer, channel, now) else None
