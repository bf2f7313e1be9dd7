"""Who must not be asked, of people who go by several ids, addresses and objects.

One-sided, and simpler than a decision: it says only when somebody may certainly not be asked, from what had been said
by then about anybody who they were known to be. Where a page leaves room, it demands nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from tests.oracle import past_asks, signals
from tests.oracle.identity import is_closing
from tests.oracle.policy import policy_with
from tests.oracle.records import CHANNELS, DeadLetter, Event, Record, Skipped, clock_of, event_of, shown
from tests.oracle.signals import DAY, Known, nothing_known, of, stamp
from tests.oracle.trouble import (
    bad_word_causes,
    cancellation_causes,
    detractor_causes,
    ended_causes,
    money_causes,
    ticket_causes,
)

KEPT = 400 * DAY
NEVER_ENDS = (
    "customer.suppressed customer.erasure_requested complaint.made frustration.shown nps.responded csat.responded "
    "ask.answered review.posted feedback.shared interaction.recorded ticket.opened ticket.reopened charge.disputed "
    "charge.refunded invoice.payment_failed cancellation.considered cancellation.scheduled subscription.ended"
).split()


class People:
    """Everything that a log says, to be asked who was whom, and what was known of them, at any instant."""

    def __init__(self, records: list[Record]) -> None:
        self.policy = policy_with(None)
        self.events: list[Event] = []
        gone: set[str] = set()
        for position, (now, record) in enumerate(zip(clock_of(records), records, strict=True)):
            try:
                event = event_of(record, position, now, [], self.policy["email_key"])
            except (Skipped, DeadLetter):
                continue
            if event["customer"] in gone and not self.passes_on(event, now):
                continue
            self.events.append(event | {"position": position})
            if event["type"] == "customer.erasure_requested" and event["customer"]:
                gone |= self.ids(event["customer"], now)

    def passes_on(self, event: Event, now: datetime) -> bool:
        """Whether an erased id, which learns nothing more, still says this for whoever it was said to be."""
        if event["type"] in ("customer.aliased", "customer.erasure_requested"):
            return True
        return event["type"] in OPT_OUTS and is_opt_out(event) and len(self.ids(event["customer"], now)) > 1

    def said(self, now: datetime, *types: str) -> Iterator[Event]:
        for event in self.events:
            if event["arrived"] <= now and (not types or event["type"] in types):
                yield event

    def ids(self, customer: str, now: datetime) -> set[str]:
        """All ids of whoever has this one, as far as it was known."""
        found, size = {customer}, 0
        while len(found) > size:
            size = len(found)
            for event in self.said(now, "customer.aliased"):
                pair = {event["customer"], event["data"]["alias"]}
                if pair & found:
                    found |= pair
        return found

    def taught(self, link: tuple[str, str], now: datetime) -> list[tuple[datetime, str]]:
        """When which id was said to go by this link."""
        found = []
        for event in self.said(now, "customer.linked", "customer.profile_changed"):
            body = event["data"]
            named = (body.get("kind"), body.get("value")) == link or link == ("email", body.get("email_hmac"))
            if named and event["customer"]:
                found.append((event["arrived"], event["customer"]))
        return found

    def reaches(self, event: Event, ids: set[str], now: datetime) -> bool:
        """Whether an event that names a link is about them. If it takes something back, it may be: then it is."""
        taught = self.taught(event["link"], now)
        if event["type"] not in NEVER_ENDS or not is_closing(event):
            return any(name in ids for _, name in taught)
        later = [at for at, name in taught if name in ids and event["arrived"] < at < event["arrived"] + KEPT]
        before = [(at, name) for at, name in taught if at <= event["arrived"]]
        if later:
            return True
        if event["link"][0] == "email":
            return any(name in ids for _, name in before)
        newest = [name for at, name in before if at == max(before)[0]]
        return len(set(newest)) == 1 and newest[0] in ids and event["arrived"] < max(before)[0] + KEPT

    def known(self, customer: str, now: datetime) -> Known:
        """What was said about them under any id, and by any link that named them."""
        ids, known = self.ids(customer, now), nothing_known()
        for event in self.said(now):
            if event["customer"] in ids or (event["link"] and self.reaches(event, ids, now)):
                known.add(event)
        return known

    def why_not(self, customer: str, now: datetime, channels: list[str]) -> list[str]:
        """Why they may certainly not be spoken to on these channels."""
        known = self.known(customer, now)
        found = ["erased"] * self.erased(customer, known)
        found += ["suppressed"] * signals.suppressed(known) + ["stop"] * past_asks.told_to_stop(known)
        consents = signals.consents(known, self.policy)
        found += [f"consent for {channel}" for channel in channels if consents[channel] is not True]
        found += self.held_by(customer, known, now)
        waits = [
            *ticket_causes(known, now), *bad_word_causes(known, now), *detractor_causes(known, now),
            *money_causes(known, now), *cancellation_causes(known, now), *ended_causes(known, now),
        ]  # fmt: skip
        found += [saw for _, _, saw in waits]
        for event in of(known, "ask.answered"):
            days = {"no": 180, "maybe": 90}.get(event["data"]["answer"], 0)
            found += [event["data"]["answer"]] * (now < event["time"] + days * DAY)
        return found

    def erased(self, customer: str, known: Known) -> bool:
        """Before it was known who they were, an erasure only holds, until somebody says otherwise."""
        for event in of(known, "customer.erasure_requested"):
            if event["link"] is None and event["customer"] in self.ids(customer, event["arrived"]):
                return True
            if not self.lifted(known, event):
                return True
        return False

    def lifted(self, known: Known, event: Event) -> bool:
        return any(lift["time"] >= event["time"] for lift in of(known, "customer.unsuppressed"))

    def held_by(self, customer: str, known: Known, now: datetime) -> list[str]:
        """Who with the same address opted out."""
        ids, found = self.ids(customer, now), []
        addresses = {
            e["data"]["email_hmac"] for e in of(known, "customer.profile_changed") if "email_hmac" in e["data"]
        }
        addresses |= {e["data"]["value"] for e in of(known, "customer.linked") if e["data"]["kind"] == "email"}
        for address in addresses:
            ours = min(at for at, name in self.taught(("email", address), now) if name in ids)
            for event in self.said(now, *OPT_OUTS):
                if event["customer"] is None or event["customer"] in ids or not is_opt_out(event):
                    continue
                theirs = self.profile_taught(event["customer"], address, now)
                if theirs is None:
                    continue
                since = max(ours, theirs, event["arrived"])
                if since < event["arrived"] + KEPT and self.stands(event, since) and not self.lifted(known, event):
                    found.append(f"{event['customer']}: {event['type']}")
        return found

    def profile_taught(self, customer: str, address: str, now: datetime) -> datetime | None:
        profiles = self.said(now, "customer.profile_changed")
        mine = [e["arrived"] for e in profiles if e["customer"] == customer and e["data"].get("email_hmac") == address]
        return min(mine, default=None)

    def stands(self, event: Event, now: datetime) -> bool:
        """Whether an opt-out is still the last word of whoever said it."""
        known = self.known(event["customer"], now)
        if event["type"] == "customer.suppressed":
            return max(of(known, "customer.suppressed", "customer.unsuppressed"), key=stamp) is event
        if event["type"] == "customer.consent_changed":
            about = [e for e in of(known, "customer.consent_changed") if e["data"]["channel"] in (CHANNELS[0], "all")]
            return max(about, key=stamp) is event
        return True


OPT_OUTS = ("customer.suppressed", "customer.erasure_requested", "customer.consent_changed", "ask.answered")


def is_opt_out(event: Event) -> bool:
    body = event["data"]
    if event["type"] == "ask.answered":
        return bool(body["answer"] == "stop")
    if event["type"] == "customer.consent_changed":
        return not body["granted"] and body["channel"] in (CHANNELS[0], "all")
    return True


def wrongs(records: list[Record], asks: Iterable[dict[str, Any]], cancelled: dict[str, str]) -> list[str]:
    """Every ask of somebody who should not have been asked, or whose command should have been taken back.

    An ask is `{customer, command_id, at, expires_at, channels}`; `cancelled`: command id to instant, as on the wire.
    """
    people, found = People(records), []
    clocks = sorted({event["arrived"] for event in people.events})
    past: list[dict[str, Any]] = []
    for ask in sorted(asks, key=lambda one: one["at"]):
        at, customer, command = ask["at"], ask["customer"], ask["command_id"]
        found += [f"{customer} asked at {shown(at)}: {why}" for why in people.why_not(customer, at, ask["channels"])]
        known = people.known(customer, at)
        for other in past:
            same = other["customer"] in people.ids(customer, at) and at < other["at"] + 90 * DAY
            if same and not past_asks.was_released(known, other["command_id"], other["at"]):
                found.append(f"{customer} asked at {shown(at)}: asked as {other['customer']} at {shown(other['at'])}")
        past.append(ask)
        for now in clocks:
            if not at < now < ask["expires_at"] or cancelled.get(command, "9") <= shown(now):
                continue
            if past_asks.was_sent(people.known(customer, now), command, at):
                break
            if why := people.why_not(customer, now, ask["channels"]):
                found.append(f"{customer}, asked at {shown(at)}, not taken back at {shown(now)}: {', '.join(why)}")
                break
    return found


def told_as_one(records: list[Record], who: dict[str, str], commands: dict[str, str]) -> list[Record]:
    """The same log as if nobody had ever had another id. `commands`: what a command's id would have been."""
    found = []
    for record in records:
        value = record["value"]
        if value["type"] == "customer.aliased":
            continue
        body = value["data"]
        if body.get("command_id") in commands:
            body = body | {"command_id": commands[body["command_id"]]}
        named = {"subject": who.get(value["subject"], value["subject"])} if "subject" in value else {}
        found.append(record | {"value": value | {"data": body} | named})
    return found
