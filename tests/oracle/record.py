"""After §6: the record of a customer, worked out anew whenever anything happened, and written where it differs."""

from collections import Counter
from datetime import datetime
from functools import cache
from typing import Any

from tests.oracle import afterwards, answers, followups, past_asks, referrals, signals
from tests.oracle.local_time import local_date
from tests.oracle.records import cloud_event, shown, uid
from tests.oracle.signals import DAY, newest, of
from tests.oracle.world import Customer, Opportunity, Row, World

KIND = "referral.record.changed"


def write_record(world: World, customer: Customer, now: datetime) -> None:
    """The last thing of an instant. The first is written at an opened opportunity, an emission or a referral."""
    if customer.merged_into is not None or of(customer.known, "customer.erasure_requested"):
        customer.record = None
        return
    opened = any(opportunity.opened for opportunity in [*customer.opportunities, *customer.absorbed])
    if customer.record is None and not (opened or customer.asks or of(customer.known, "referral.given")):
        return
    body = record_of(world, customer, now)
    if customer.record is None or essence(body, now) != essence(customer.record, now):
        customer.record = body
        customer.records_written += 1


def newest_records(world: World) -> list[Row]:
    with_one = [customer for customer in world.customers.values() if customer.record is not None]
    rows = []
    for customer in sorted(with_one, key=lambda one: one.id.encode()):
        body = shown_record(customer.record or {})
        row_id = uid(KIND, customer.id, customer.records_written)
        rows.append(cloud_event(KIND, row_id, customer.id, (customer.record or {})["recorded_at"], body))
    return rows


def essence(body: Row, now: datetime) -> Row:
    """What a difference in is worth writing: without what has lapsed by now."""
    history = {name: value for name, value in body["referral_history"].items() if name != "propensity_score"}
    kept = {name: value for name, value in body.items() if name != "recorded_at"}
    months = [entry for entry in body["months"] if entry["month"] in months_of(now)]
    asks = [ask for ask in body["asks"] if month_of(ask["t0"]) in months_of(now)]
    return kept | {"referral_history": history, "months": months, "asks": asks}


def shown_record(value: Any) -> Any:
    if isinstance(value, datetime):
        return shown(value)
    if isinstance(value, dict):
        return {name: shown_record(one) for name, one in value.items()}
    return [shown_record(one) for one in value] if isinstance(value, list) else value


def without_nothing(body: Row) -> Row:
    return {name: value for name, value in body.items() if value is not None and value is not False}


def record_of(world: World, customer: Customer, now: datetime) -> Row:
    found = {
        "customer_id": customer.id,
        "account_id": signals.account(customer.known),
        "segment": signals.profile_value(customer.known, "segment"),
        "signed_up_at": signals.signed_up_at(customer.known),
        "referral_history": history_of(world, customer, now),
        "referred_contacts": contacts_of(world, customer, now),
        "asks": asks_of(customer, now),
        "months": months_entries(customer, now),
        "followups": followups_of(customer),
        "recorded_at": now,
    }
    return without_nothing(found)


def local(world: World, customer: Customer, moment: datetime) -> str:
    names, source = signals.time_zone(customer.known, world.policy)
    name = world.policy["default_zone"] if source == "default" else names[0]
    return local_date(moment, name).isoformat()


def history_of(world: World, customer: Customer, now: datetime) -> Row:
    known = customer.known
    asked = [
        ask["asked_at"] for ask in past_asks.counted_asks(known, customer.asks) if ask["kind"] in ("asked", "soft")
    ]
    eligible = past_asks.next_eligible_at(known, customer.asks, now, world.policy)
    given = referrals.all_given(customer)
    found = {
        "last_ask_date": local(world, customer, max(asked)) if asked else None,
        "last_asked_at": max(asked, default=None),
        "first_asked_at": min(asked, default=None),
        "next_ask_eligible": local(world, customer, eligible) if eligible else None,
        "next_eligible_at": eligible,
    }
    return without_nothing(found) | {
        "times_asked": len(asked),
        "referrals_given": len(given),
        "referrals_converted": sum(referrals.status_of(customer, one) == "converted" for one in given),
        "propensity_score": signals.score(known, now)["value"],
    }


def contacts_of(world: World, customer: Customer, now: datetime) -> list[Row]:
    found = []
    first = {one: signals.referral_given(customer.known, one)[0]["time"] for one in referrals.all_given(customer)}
    for referral in sorted(first, key=lambda one: (first[one], one.encode())):
        ask = followups.attributed_ask(customer, referral)
        valued = [e for e in signals.referral_statuses(customer.known, referral) if "deal_value_minor" in e["data"]]
        deal = newest(valued)
        earliest = min(e["time"] for e in signals.referral_given(customer.known, referral))
        entry = {
            "referral_id": referral,
            "command_id": ask and ask["command_id"],
            "referred_date": local(world, customer, earliest),
            "status": referrals.status_of(customer, referral) or "given",
            "care_late": is_care_late(customer, referral, now),
            "deal_value_minor": deal and int(deal["data"]["deal_value_minor"]),
            "currency": deal and deal["data"].get("currency"),
            "reward": reward_of(customer, referral),
        }
        found.append(without_nothing(entry) | {"consented": referrals.consented(customer, referral)})
    return found


def is_care_late(customer: Customer, referral: str, now: datetime) -> bool:
    """Nobody had taken care of it by the time by which somebody should; where it was no longer theirs to do, nobody is
    late.
    """
    told = [e for e in signals.referral_statuses(customer.known, referral) if e["data"]["status"] != "refunded"]
    cares = [f for f in customer.followups if (f["kind"], f["referral"]) == ("take_care", referral)]
    due = [f["due_by"] for f in cares if f["cancelled"] is None or f["cancelled_at"] > f["due_by"]]
    return any(now >= due_by and all(event["arrived"] > due_by for event in told) for due_by in due)


def reward_of(customer: Customer, referral: str) -> str | None:
    grants = [g for g in customer.grants if g["referral"] == referral]
    grant = next((g for g in grants if g["state"] == "granted"), grants[0] if grants else None)
    if grant is None:
        return None
    if grant["state"] == "granted" and grant["settled"]:
        return str(grant["settled"])
    return "due" if grant["state"] == "asked" else str(grant["state"])


def asks_of(customer: Customer, now: datetime) -> list[Row]:
    found = []
    for ask in sorted(customer.asks, key=lambda one: (one["asked_at"], one["command_id"])):
        if month_of(ask["t0"]) not in months_of(now):
            continue
        known, command, asked_at = customer.known, ask["command_id"], ask["asked_at"]
        said_sent = past_asks.sent_by(known, command, asked_at)
        answer = answers.standing(customer, command)
        mine = [e["data"]["referral_id"] for e in of(known, "referral.given") if e["attributed_to"] == command]
        mine = list(dict.fromkeys(mine))
        same = ("command_id", "trigger", "template", "mode", "channel", "kind", "t0", "asked_at")
        entry = {
            **{name: ask[name] for name in same},
            "decided_at": asked_at,
            "arm": ask["arm"],
            "sent_at": said_sent and said_sent["time"],
            "answer": answer and answer["data"]["answer"],
            "answered_at": answer and answer["time"],
            "failed": past_asks.was_released(known, command, asked_at),
            "cancelled": ask["cancelled"],
            "despite_signal": is_despite_signal(customer, ask, said_sent["time"] if said_sent else None),
            "regret": is_regretted(customer, ask),
        }
        converted = sum(referrals.status_of(customer, one) == "converted" for one in mine)
        found.append(without_nothing(entry) | {"referrals": len(mine), "converted": converted})
    return found


def is_despite_signal(customer: Customer, ask: Row, sent_at: datetime | None) -> bool:
    """Whether it was sent although something had happened by then that speaks against it."""
    end = ask["asked_at"] + 14 * DAY
    against = [(turn["time"], turn["arrived"], turn["event"]) for turn in customer.turns
               if turn["gate"] != "trouble then"]  # fmt: skip
    if ask["survey"]:
        against.append((ask["survey"]["time"], ask["survey"]["arrived"], ask["survey"]))
    times = [
        time
        for time, arrived, event in against
        if ask["asked_at"] < arrived < end and ask["command_id"] not in (event.get("ask"), event.get("names"))
    ]
    times += [at for at in afterwards.usage_drops(customer, ask["asked_at"], end) if at > ask["asked_at"]]
    return sent_at is not None and any(sent_at >= time for time in times)


def is_regretted(customer: Customer, ask: Row) -> bool:
    """Whether, within two weeks, something happened by which gate 5 would have closed."""
    start, end = ask["asked_at"], ask["asked_at"] + 14 * DAY
    troubles = [turn["time"] for turn in customer.turns if turn["gate"] == "trouble then"]
    return any(start <= at < end for at in troubles) or bool(afterwards.usage_drops(customer, start, end))


# Months


def month_of(moment: datetime) -> str:
    return f"{moment.year:04}-{moment.month:02}"


def months_of(now: datetime) -> list[str]:
    """The month of `now` and the twelve before it."""
    return thirteen_months(now.year * 12 + now.month - 1)


@cache
def thirteen_months(last: int) -> list[str]:
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in range(last, last - 13, -1)]


def months_entries(customer: Customer, now: datetime) -> list[Row]:
    figures: dict[tuple[str, str], Counter[str]] = {}
    blocked: dict[tuple[str, str], Counter[str]] = {}
    for opportunity in [*customer.opportunities, *customer.absorbed]:
        where = month_of(opportunity.t0), opportunity.trigger
        if not opportunity.opened or where[0] not in months_of(now):
            continue
        count = figures.setdefault(where, Counter())
        count["opened"] += 1
        count["eligible"] += opportunity.eligible
        end, gate = ended_as(opportunity)
        if end:
            count[end] += 1
        if gate:
            blocked.setdefault(where, Counter())[gate] += 1
    found = []
    for where in sorted(figures):
        entry: Row = {"month": where[0], "trigger": where[1]}
        entry |= {name: number for name, number in figures[where].items() if number}
        if where in blocked:
            entry["blocked"] = dict(blocked[where])
        found.append(entry)
    return found


def ended_as(opportunity: Opportunity) -> tuple[str | None, str | None]:
    """As what it ended, and by which gate if it was blocked; neither while it is live."""
    if opportunity.life == "live":
        return None, None
    if opportunity.command is not None:
        return "asked", None
    same = {"holdout": "held_out", "shadow": "shadowed", "superseded": "superseded", "cancelled": "cancelled"}
    if opportunity.outcome in same:
        return same[opportunity.outcome], None
    blocking = [reason["gate"] for reason in opportunity.reasons if reason["answer"] != "pass"]
    if set(blocking) <= {"moment"}:
        return "missed", None
    return None, blocking[0]


def followups_of(customer: Customer) -> Row:
    found: Row = {}
    for kind in sorted({f["kind"] for f in customer.followups} | set(customer.unreachable)):
        count: Counter[str] = Counter()
        for followup in (f for f in customer.followups if f["kind"] == kind):
            said = followups.statuses(customer, followup)
            sent = bool(said & set(past_asks.SENT))
            count["requested"] += 1
            count["late"] += followup["late"]
            count["sent"] += sent
            count["failed"] += bool(said & {"failed", "dropped_expired"}) and not sent
            count["cancelled"] += followup["cancelled"] is not None
        count["unreachable"] = customer.unreachable[kind]
        if any(count.values()):
            found[kind] = {name: number for name, number in count.items() if number}
    return found
