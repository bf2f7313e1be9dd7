"""After §3: a referral that was given, whom it is thanks to, who takes care of it, and what is reported back."""

from datetime import datetime, timedelta

from tests.oracle import past_asks, rewards
from tests.oracle.answers import meant
from tests.oracle.followups import (
    HOUR,
    again,
    attributed_ask,
    cancel_all,
    is_historical,
    is_timely,
    open_ones,
    request,
)
from tests.oracle.records import Event
from tests.oracle.signals import DAY, newest, of, referral_given, referral_statuses, stamp
from tests.oracle.world import Customer, World

PROGRESS = ("contacted", "qualified", "converted")


def all_given(customer: Customer) -> list[str]:
    return list(dict.fromkeys(e["data"]["referral_id"] for e in of(customer.known, "referral.given")))


def status_of(customer: Customer, referral: str) -> str | None:
    last = newest(referral_statuses(customer.known, referral))
    return last["data"]["status"] if last else None


def consented(customer: Customer, referral: str) -> bool:
    """The newest word on it; a contact who was erased never has."""
    erased = [e for e in of(customer.known, "referral.contact_erased") if e["data"]["referral_id"] == referral]
    last = newest(referral_given(customer.known, referral))
    return bool(last and last["data"]["contact"]["consented"] and not erased)


def attribution(world: World, customer: Customer, event: Event, now: datetime) -> str | None:
    """The command id of the ask that a referral, first told of now, is thanks to."""
    within = world.policy["referrals"]["attribution_days"] * DAY
    named, _ = meant(customer, event["data"].get("command_id"), now)
    if named and event["time"] < named["asked_at"] + within:
        return str(named["command_id"])
    may_be = [
        (ask["asked_at"], ask["command_id"])
        for ask in customer.asks
        if ask["asked_at"] <= event["time"] < ask["asked_at"] + within
        and not ask["cancelled"]
        and not past_asks.was_released(customer.known, ask["command_id"], ask["asked_at"])
    ]
    return max(may_be)[1] if may_be else None


def was_taken(customer: Customer, referral: str) -> bool:
    return any(e["data"]["status"] != "refunded" for e in referral_statuses(customer.known, referral))


def take_given(world: World, customer: Customer, event: Event, now: datetime) -> None:
    referral = event["data"]["referral_id"]
    if referral_given(customer.known, referral)[0] is event:
        begin(world, customer, event, now)
    elif not consented(customer, referral):
        about = [f for f in open_ones(customer, now, "take_care") if f["referral"] == referral]
        withdrawn = [f for f in about if f["variables"]["consented"] == "true"]
        cancel_all(world, customer, {f["id"]: "contact_erased" for f in withdrawn}, now)
        for followup in withdrawn:
            again(world, customer, followup, now, variables={"consented": "false"})


def begin(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """Told of for the first time: thanks, and somebody who takes care."""
    referral, ask = event["data"]["referral_id"], attributed_ask(customer, event["data"]["referral_id"])
    answered = [
        f for f in open_ones(customer, now, "intro_offer", "easy_forward", "graceful_no") if ask and f["ask"] is ask
    ]
    cancel_all(world, customer, {f["id"]: "referral_given" for f in answered}, now)
    if not is_timely(world, event, now):
        return
    thanked = [f for f in customer.followups if f["kind"] == "thank" and now < f["requested_at"] + DAY]
    if not thanked:
        due = event["time"] + HOUR
        request(world, customer, "thank", now, due=due, since=event["time"], variables={}, referral=referral)
    if not was_taken(customer, referral):
        due = max(event["time"], now) + world.policy["followups"]["care_hours"] * HOUR
        variables = {"consented": "true" if consented(customer, referral) else "false"}
        request(world, customer, "take_care", now, due=due, since=event["time"], variables=variables, referral=referral)


def take_contact_erased(world: World, customer: Customer, event: Event, now: datetime) -> None:
    about = [f for f in open_ones(customer, now, "take_care") if f["referral"] == event["data"]["referral_id"]]
    cancel_all(world, customer, {f["id"]: "contact_erased" for f in about}, now)


def take_status(world: World, customer: Customer, event: Event, now: datetime) -> None:
    if event["data"]["status"] != "refunded":
        about = [f for f in open_ones(customer, now, "take_care") if f["referral"] == event["data"]["referral_id"]]
        cancel_all(world, customer, {f["id"]: "care_taken" for f in about}, now)


# Report back


def reported_at(world: World, status: Event) -> datetime:
    arrived: datetime = status["arrived"]
    return arrived + timedelta(minutes=world.policy["followups"]["report_after_minutes"])


def may_be_reported(world: World, status: Event) -> bool:
    told = world.policy["followups"]["report"]
    return status["data"]["status"] in told and not status["before_given"] and not is_historical(world, status)


def is_reported(world: World, customer: Customer, status: Event, now: datetime) -> bool:
    """Whether a status is to be told to the customer, a quarter of an hour after it arrived."""
    referral, word = status["data"]["referral_id"], status["data"]["status"]
    all_known = referral_statuses(customer.known, referral)
    reports = [f for f in customer.followups if f["kind"] == "report_back"]
    told = [f["status"] for f in reports if f["referral"] == referral]
    behind = word in PROGRESS and any(PROGRESS.index(one) >= PROGRESS.index(word) for one in told if one in PROGRESS)
    conversions = [stamp(e) for e in all_known if e["data"]["status"] == "converted"]
    followed = any(e["data"]["status"] != "converted" and stamp(e) > min(conversions) for e in all_known if conversions)
    lately = word != "converted" and any(now < f["requested_at"] + DAY for f in reports)
    return (
        newest(all_known) is status
        and may_be_reported(world, status)
        and is_timely(world, status, now)
        and word not in told
        and not (behind or followed or lately)
    )


def reports_due(world: World, customer: Customer, now: datetime) -> None:
    for referral in sorted(all_given(customer)):
        told = [e for e in referral_statuses(customer.known, referral) if not e["before_given"]]
        due = any(reported_at(world, event) == now for event in told)
        if due and not rewards.is_asked_for(customer, referral):
            report(world, customer, referral, now)


def report(world: World, customer: Customer, referral: str, now: datetime) -> None:
    """What is due of a referral's reports at this instant, and its reward if nothing else says so any more."""
    due = [e for e in referral_statuses(customer.known, referral) if reported_at(world, e) == now]
    status = next((e for e in due if is_reported(world, customer, e, now)), None)
    if status is not None:
        grant = rewards.granted(customer, referral)
        variables = {"status": status["data"]["status"], **(rewards.told_of(grant) if grant else {})}
        overtaken = [f for f in open_ones(customer, now, "report_back") if f["referral"] == referral]
        cancel_all(world, customer, {f["id"]: "status" for f in overtaken}, now)
        made = request(
            world, customer, "report_back", now, due=status["time"] + DAY, since=status["time"], variables=variables,
            referral=referral, status=status["data"]["status"],
        )  # fmt: skip
        if grant and made != "shadow":
            grant["told"] = True
    tell_reward(world, customer, referral, now, after_reports=True)


def tell_reward(world: World, customer: Customer, referral: str, now: datetime, *, after_reports: bool = False) -> None:
    """The reward by itself, if no report carried it and none is pending."""
    grant = rewards.granted(customer, referral)
    if grant is None or grant["told"]:
        return
    for status in referral_statuses(customer.known, referral):
        at = reported_at(world, status)
        if may_be_reported(world, status) and (at > now or (at == now and not after_reports)):
            return
    grant["told"] = True
    request(
        world, customer, "reward_told", now, due=grant["granted_at"] + DAY, since=grant["granted_at"],
        variables=rewards.told_of(grant), referral=referral,
    )  # fmt: skip
