"""After §2: the follow-ups, each asked for once, cancelled at most once; to whom, when and on which channels."""

from datetime import datetime, timedelta
from typing import Any

from tests.oracle import past_asks, signals
from tests.oracle.gates import not_consented
from tests.oracle.local_time import first_loud
from tests.oracle.records import CHANNELS, Event, cloud_event, shown, uid
from tests.oracle.signals import DAY, of
from tests.oracle.world import Customer, Row, World

HOUR = timedelta(hours=1)
REPLIES = ("intro_offer", "easy_forward", "graceful_no", "thank")
TO_CUSTOMER = (*REPLIES, "report_back", "reward_told")
ABOUT_ASK = ("intro_offer", "easy_forward", "graceful_no", "read_answer")
LASTS = {
    "intro_offer": 24 * HOUR,
    "easy_forward": 72 * HOUR,
    "thank": 48 * HOUR,
    "report_back": 7 * DAY,
    "reward_told": 7 * DAY,
    "read_answer": 7 * DAY,
    "take_care": 14 * DAY,
    "read_reward": 14 * DAY,
    "reward_failed": 14 * DAY,
}  # `graceful_no` and `approve_reward` say when they expire


def statuses(customer: Customer, followup: Row) -> set[str]:
    """What workers reported; a report that came before the request is none."""
    acks = of(customer.known, "ask.acknowledged")
    return {event["data"]["status"] for event in acks if event.get("followup") == followup["id"]}


def is_open(customer: Customer, followup: Row, now: datetime) -> bool:
    if followup["cancelled"] is not None or now >= followup["expires_at"]:
        return False
    return statuses(customer, followup) <= {"accepted"}


def open_ones(customer: Customer, now: datetime, *kinds: str) -> list[Row]:
    return [f for f in customer.followups if f["kind"] in kinds and is_open(customer, f, now)]


def request(
    world: World,
    customer: Customer,
    kind: str,
    now: datetime,
    *,
    due: datetime,
    since: datetime,
    variables: dict[str, str],
    ask: Row | None = None,
    referral: str | None = None,
    status: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Asks for a follow-up: `made`, or why not: `shadow`, `stopped`, `made before`, `unreachable` (which is counted).

    `since`: the time of the event that it replies to. `due`: as the tables of the page give it.
    """
    about = ask["command_id"] if ask else f"{referral}/{status}" if status else referral
    earlier = [f for f in customer.followups if (f["kind"], f["about"]) == (kind, about)]
    if kind in TO_CUSTOMER and any(f["cancelled"] is None for f in earlier):
        return "made before"
    why_not, channels, starts = reach(world, customer, kind, ask or attributed_ask(customer, referral), since, now)
    if why_not is not None:
        customer.unreachable[kind] += int(why_not == "unreachable")
        return why_not
    followup = {
        "id": uid("followup", customer.id, about, kind, len(earlier) + 1),
        "kind": kind,
        "customer": customer.id,
        "account": signals.account(customer.known),
        "about": about,
        "ask": ask,
        "referral": referral,
        "status": status,
        "channels": channels,
        "since": since,
        "not_before": starts,
        "due": due,
        "due_by": max(due, starts),
        "late": now >= due,
        "fixed_end": expires_at,
        "expires_at": expires_at or starts + LASTS[kind],
        "variables": variables,
        "requested_at": now,
        "cancelled": None,
    }
    customer.followups.append(followup)
    world.result.followups.append(requested(followup))
    return "made"


def reach(
    world: World, customer: Customer, kind: str, ask: Row | None, since: datetime, now: datetime
) -> tuple[str | None, list[str], datetime]:
    """(why it cannot be said, on which channels it can, from when on); the owner can always be told."""
    if world.policy["shadow"]:
        return "shadow", [], now
    if kind not in TO_CUSTOMER:
        return None, [], now
    if past_asks.told_to_stop(customer.known):
        return "stopped", [], now
    channels, starts = channels_of(world, customer, ask), not_before(world, customer, kind, since, now)
    if not channels or starts is None:
        return "unreachable", [], now
    return None, channels, starts


def attributed_ask(customer: Customer, referral: str | None) -> Row | None:
    """The ask that a referral was attributed to, when it was first applied."""
    told = signals.referral_given(customer.known, referral) if referral else []
    command = told[0]["attributed_to"] if told else None
    return next((ask for ask in customer.asks if ask["command_id"] == command), None)


def channels_of(world: World, customer: Customer, ask: Row | None) -> list[str]:
    usable = signals.usable_channels(customer.known, world.policy)
    first = [ask["channel"]] if ask and ask["channel"] in ("email", "in_app") and ask["channel"] in usable else []
    return first + [channel for channel in CHANNELS if channel in usable and channel not in first]


def not_before(world: World, customer: Customer, kind: str, since: datetime, now: datetime) -> datetime | None:
    """At once while the customer is there; else at the first instant that is not quiet, whatever the channel."""
    if kind in REPLIES and now < since + HOUR:
        return now
    zones, _ = signals.time_zone(customer.known, world.policy)
    return first_loud((now, now + 7 * DAY), zones, world.policy)


def again(world: World, customer: Customer, followup: Row, now: datetime, **changed: Any) -> None:
    """Asks for it once more, after it was cancelled: due as before."""
    names = ("due", "since", "variables", "ask", "referral", "status")
    as_before = {name: followup[name] for name in names} | {"expires_at": followup["fixed_end"]}
    request(world, customer, followup["kind"], now, **as_before | changed)


def cancel(world: World, followup: Row, reason: str, now: datetime) -> None:
    followup.update(cancelled=reason, cancelled_at=now)
    body = {
        "followup_id": followup["id"],
        "kind": followup["kind"],
        "customer_id": followup["customer"],
        "account_id": followup["account"],
        "reason": reason,
        "cancelled_at": shown(now),
    }
    body = {name: value for name, value in body.items() if value is not None}
    kind = "referral.followup.cancelled"
    world.result.followups.append(cloud_event(kind, uid(kind, followup["id"]), followup["customer"], now, body))


def cancel_all(world: World, customer: Customer, why: dict[str, str], now: datetime) -> None:
    """`why`: follow-up id → reason; by follow-up id."""
    for followup in sorted(customer.followups, key=lambda f: str(f["id"])):
        if followup["id"] in why:
            cancel(world, followup, why[followup["id"]], now)


def requested(followup: Row) -> Row:
    audience = "customer" if followup["kind"] in TO_CUSTOMER else "owner"
    body = {
        "followup_id": followup["id"],
        "kind": followup["kind"],
        "audience": audience,
        "customer_id": followup["customer"],
        "account_id": followup["account"],
        "command_id": followup["ask"] and followup["ask"]["command_id"],
        "referral_id": followup["referral"],
        "channels": followup["channels"] if audience == "customer" else None,
        "late": followup["late"],
        "variables": followup["variables"],
        **{name: shown(followup[name]) for name in ("not_before", "due_by", "expires_at", "requested_at")},
    }
    body = {name: value for name, value in body.items() if value is not None}
    kind = "referral.followup.requested"
    return cloud_event(kind, followup["id"], followup["customer"], followup["requested_at"], body)


def is_historical(world: World, event: Event) -> bool:
    since = world.policy["followups"]["active_since"]
    return bool(event["historical"]) or (since is not None and event["time"] < since)


def is_timely(world: World, event: Event, now: datetime) -> bool:
    """Whether what it brings to be said may still be said."""
    fresh = world.policy["followups"]["fresh_days"] * DAY
    return not is_historical(world, event) and now < event["time"] + fresh


def hold_back(world: World, customer: Customer, now: datetime) -> None:
    """What is open to a customer who may not be written to any more is cancelled; what only names a channel that may
    not be used any more is made again with those that are left.
    """
    open_now = open_ones(customer, now, *TO_CUSTOMER)
    if not open_now:
        return
    known = customer.known
    said = signals.consents(known, world.policy)
    if signals.suppressed(known) or signals.held_by_address(known):
        cancel_all(world, customer, {f["id"]: "suppressed" for f in open_now}, now)
    elif not_consented(known, world.policy):
        cancel_all(world, customer, {f["id"]: "consent" for f in open_now}, now)
    else:
        touched = [f for f in open_now if any(said[channel] is False for channel in f["channels"])]
        cancel_all(world, customer, {f["id"]: "channel" for f in touched}, now)
        for followup in sorted(touched, key=lambda f: TO_CUSTOMER.index(f["kind"])):  # in the order of the tables
            again(world, customer, followup, now)
