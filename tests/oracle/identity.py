"""Who is who: customers who turn out to be one, links that name them, and opt-outs that hold whoever has the address.

This world is small and atomic: everything that customers and links tell each other happens at once, in the order in
which it is told.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.oracle import signals
from tests.oracle.records import CHANNELS, Event, Record
from tests.oracle.signals import DAY, of
from tests.oracle.trouble import UsageJudgement
from tests.oracle.world import Customer, Kept, Link, Naming, World
from tests.oracle.written import dead_letter

Apply = Callable[[World, str, Event, datetime], set[str]]
FOR_CLOSING = 400 * DAY
TOLD_BY = ("customer.profile_changed", "customer.linked", "referral.given")


# Merging


def fold_in(world: World, customer: Customer, other: Customer) -> None:
    """All events of both are those of one; so are asks, keys and conversions to come.

    Neither is held any more because of what the other said: nobody is held by their own word.
    """
    for known in (customer.known, other.known):
        known.found.clear()
        known["customer.held"] = [e for e in of(known, "customer.held") if world.home(e["because_of"]) is not customer]
    for kind, events in other.known.items():
        customer.known[kind] = sorted(customer.known[kind] + events, key=lambda event: event["arrived"])
    for key, arrived in other.arrivals.items():
        customer.arrivals[key] = max(arrived, customer.arrivals.get(key, arrived))
    customer.asks = sorted(customer.asks + other.asks, key=lambda ask: (ask["asked_at"], ask["command_id"]))
    customer.business_keys |= other.business_keys
    customer.conversions += other.conversions
    halves = (customer.usage, other.usage)
    bases = [half.frozen_base for half in halves if half.frozen_base is not None]
    ends = [half.recovered for half in halves if half.recovered is not None]
    customer.usage = UsageJudgement(
        max((half.next_day for half in halves if half.next_day is not None), default=None),
        max(bases, default=None),
        None if bases else max(ends, default=None),
        customer.usage.drops + other.usage.drops,
    )
    other.conversions = []


# Links


def is_closing(event: Event) -> bool:
    """Whether it closes gate 1, 3, 5 or 7, or ends what did about the same object."""
    body = event["data"]
    match event["type"]:
        case "customer.erasure_requested" | "customer.suppressed" | "complaint.made" | "frustration.shown":
            return True
        case "customer.consent_changed":
            return not body["granted"]
        case "ask.answered":
            return body["answer"] in ("no", "maybe", "stop")
        case "nps.responded":
            return bool(body["score"] <= 6)
        case "csat.responded" | "review.posted":
            return signals.at_the_bottom(event)
        case "feedback.shared" | "interaction.recorded":
            return body.get("positive") is False
        case "trial.ended":
            return not body["converted"]
        case kind:
            return kind.startswith(("ticket.", "charge.", "dispute.", "invoice.", "cancellation.")) or kind in (
                "subscription.started",
                "subscription.ended",
            )


def link_named(world: World, name: tuple[str, str]) -> Link:
    return world.links.setdefault(name, Link(name[0]))


def named_by(world: World, link: Link, now: datetime) -> list[Customer]:
    """Whom a link names: of an address all who have or had it, else the one who was taught last, for 400 days."""
    if link.kind == "email":
        found = {world.home(name).id for name in link.names}
        return [world.customers[name] for name in sorted(found, key=str.encode)]
    fresh = {name: n.taught for name, n in link.names.items() if now < n.taught + FOR_CLOSING}
    return [world.home(max(fresh, key=lambda name: fresh[name]))] if fresh else []


def present_at(world: World, link: Link, now: datetime) -> list[Customer]:
    if link.kind != "email":
        return named_by(world, link, now)
    present = {world.home(name).id for name, naming in link.names.items() if naming.present}
    return [world.customers[name] for name in sorted(present, key=str.encode)]


def passed_on(event: Event, now: datetime) -> Event:
    return event | {"arrived": now, "through_link": True}


def take_at_link(world: World, event: Event, record: tuple[int, Record], now: datetime, apply: Apply) -> set[str]:
    """An event that names a link and no customer: to whom it names; what nobody is known for waits."""
    link = link_named(world, event["link"])
    key = event["source"], event["id"]
    if key in link.arrivals and now < link.arrivals[key] + 7 * DAY:
        return set()
    link.arrivals[key] = now
    kept = Kept(event, now, set(), holds=False, record=record)
    if is_closing(event):
        link.kept.append(kept)
        for customer in named_by(world, link, now):
            give(world, kept, customer, now, apply)
        return set()
    present = present_at(world, link, now)
    if len(present) > 1:
        world.result.dead_letters.append(dead_letter(record[1], record[0], "ambiguous_customer"))
    elif present:
        give(world, kept, present[0], now, apply)
    else:
        link.waiting.append(kept)
    return set()


def give(world: World, kept: Kept, customer: Customer, now: datetime, apply: Apply) -> None:
    """Once to every customer."""
    if any(world.home(name) is customer for name in kept.given):
        return
    kept.given.add(customer.id)
    if kept.holds:
        world.mail.append(lambda: hold(world, customer.id, kept.event["customer"], now, apply, kept.event["time"]))
    else:
        world.mail.append(lambda: apply(world, customer.id, passed_on(kept.event, now), now))


def hold(
    world: World, name: str, because_of: str, now: datetime, apply: Apply, since: datetime | None = None
) -> set[str]:
    """``since``: the time of the word because of which they are held."""
    return apply(world, name, holding(world.home(name).id, because_of, now, since or now), now)


def holding(customer: str, because_of: str, now: datetime, since: datetime) -> Event:
    return {
        "type": "customer.held",
        "id": f"held because of {because_of} since {since.isoformat()} at {now.isoformat()}",
        "because_of": because_of,
        "source": "link",
        "customer": customer,
        "link": None,
        "time": since,
        "arrived": now,
        "zone": None,
        "account": None,
        "historical": False,
        "data": {},
    }


def teach(world: World, name: tuple[str, str], customer: Customer, now: datetime, apply: Apply) -> None:
    """From now on the link names this customer too; what it has kept for whoever it would be comes to them."""
    link = link_named(world, name)
    link.names[customer.id] = Naming(now, present=True)
    for kept in link.kept:
        if now < kept.arrived + FOR_CLOSING:
            give(world, kept, customer, now, apply)
    still = [kept for kept in link.waiting if now < kept.arrived + world.policy["wait_days"] * DAY]
    if [one.id for one in present_at(world, link, now)] == [customer.id]:
        for kept in still:
            give(world, kept, customer, now, apply)
            link.waiting.remove(kept)


def teach_by(world: World, customer: Customer, event: Event, now: datetime, apply: Apply) -> None:
    """What an event of theirs says about links to them, and what their opt-out means for others at an address."""
    if event["type"] in TOLD_BY and not event.get("through_link"):
        body: dict[str, Any] = event["data"]
        if event["type"] == "customer.linked":
            teach(world, (body["kind"], body["value"]), customer, now, apply)
        elif event["type"] == "referral.given":
            teach(world, ("referral", body["referral_id"]), customer, now, apply)
        elif "email_hmac" in body:
            newest = signals.profile_value(customer.known, "email_hmac")
            teach(world, ("email", body["email_hmac"]), customer, now, apply)
            for told in of(customer.known, "customer.profile_changed"):
                value = told["data"].get("email_hmac")
                if value is not None and value != newest:
                    link_named(world, ("email", value)).names[customer.id].present = False
    hold_others(world, customer, now, apply, event)


def teach_after_merging(world: World, customer: Customer, now: datetime, apply: Apply) -> None:
    """Links to the absorbed customer's addresses name this one; each hears of the other's opt-outs."""
    for name, link in list(world.links.items()):
        if link.kind == "email" and any(world.home(n) is customer for n in link.names):
            was = [naming.present for n, naming in link.names.items() if world.home(n) is customer]
            teach(world, name, customer, now, apply)
            link.names[customer.id].present = any(was)
    hold_others(world, customer, now, apply)


def opt_outs(customer: Customer, since: datetime | None = None) -> list[Event]:
    """What they have said themselves, and has not been taken back; at least not yet ``since`` then."""
    known, found = customer.known, []
    found += of(known, "customer.erasure_requested")
    found += [event for event in of(known, "ask.answered") if event["data"]["answer"] == "stop"]
    consents = [e for e in of(known, "customer.consent_changed") if e["data"]["purpose"] == "referral_ask"]
    about_email = [e for e in consents if e["data"]["channel"] in (CHANNELS[0], "all")]
    for words in (of(known, "customer.suppressed", "customer.unsuppressed"), about_email):
        last, stop = signals.newest(words), signals.newest(event for event in words if is_closing(event))
        if stop and last and (stop is last or (since is not None and since < last["time"])):
            found.append(stop)
    return [event for event in found if not event.get("through_link")]


def is_stop_for_address(event: Event) -> bool:
    body = event["data"]
    match event["type"]:
        case "customer.suppressed" | "customer.erasure_requested":
            return True
        case "ask.answered":
            return bool(body["answer"] == "stop")
        case "customer.consent_changed":
            about_email = body["purpose"] == "referral_ask" and body["channel"] in (CHANNELS[0], "all")
            return about_email and not body["granted"]
        case _:
            return False


def hold_others(world: World, customer: Customer, now: datetime, apply: Apply, because: Event | None = None) -> None:
    """Whoever has or had an address of somebody who opted out is held: also where the word for it comes late."""
    for (kind, value), link in world.links.items():
        if kind != "email" or not any(world.home(name) is customer for name in link.names):
            continue
        late = because is not None and because["data"].get("email_hmac") == value
        stops = opt_outs(customer, because["time"] if because and late else None)
        if because is not None and is_stop_for_address(because) and not because.get("through_link"):
            stops.append(because)
        for event in stops:
            hold_at(world, link, customer, event, now, apply)


def hold_at(world: World, link: Link, customer: Customer, stop: Event, now: datetime, apply: Apply) -> None:
    """Once for each stop; it stays for whoever the address will be known of."""
    if any(kept.event is stop for kept in link.kept):
        return
    kept = Kept(stop, now, {customer.id}, holds=True)
    link.kept.append(kept)
    for one in named_by(world, link, now):
        give(world, kept, one, now, apply)


def hold_for_erased(world: World, customer: Customer, event: Event, now: datetime, apply: Apply) -> None:
    """An address that is said of somebody who is erased: whoever has or had it is held because of the erasure."""
    body: dict[str, Any] = event["data"]
    match event["type"]:
        case "customer.profile_changed":
            value = body.get("email_hmac")
        case "customer.linked" if body["kind"] == "email":
            value = body["value"]
        case _:
            value = None
    if value is None:
        return
    link, erasure = link_named(world, ("email", value)), of(customer.known, "customer.erasure_requested")[0]
    hold_at(world, link, customer, erasure, now, apply)


def lapse(world: World, now: datetime) -> None:
    """What has waited too long for a customer is a dead letter."""
    for link in world.links.values():
        for kept in list(link.waiting):
            if now >= kept.arrived + world.policy["wait_days"] * DAY and kept.record:
                link.waiting.remove(kept)
                world.result.dead_letters.append(dead_letter(kept.record[1], kept.record[0], "unknown_customer"))
        for kept in list(link.kept):
            if now >= kept.arrived + FOR_CLOSING and kept.record:
                link.kept.remove(kept)
                if not kept.given:
                    world.result.dead_letters.append(dead_letter(kept.record[1], kept.record[0], "unknown_customer"))
