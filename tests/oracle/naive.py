"""The fact replay, naively: all events are kept, and everything is worked out from the list of them, every time.

Kept besides the list is only what is a history of its own: the opportunities' lives, the ledger's reservations and
switches, and what each day's usage was judged to be.
"""

import heapq
from datetime import datetime, timedelta
from itertools import groupby

from tests.oracle import past_asks, signals
from tests.oracle.gates import Situation, answers_of_all_but_moment, held_out, reason
from tests.oracle.ledger import excuse_openings, is_on, ledger_denial, report_opening
from tests.oracle.moments import moment_answer, moment_channel
from tests.oracle.policy import Policy, policy_with
from tests.oracle.records import DeadLetter, Event, Record, Skipped, event_of, instant, uid
from tests.oracle.signals import DAY, Known, of, stamp
from tests.oracle.triggers import opening_of, window
from tests.oracle.trouble import judge_usage
from tests.oracle.world import Customer, Opportunity, Result, Row, World
from tests.oracle.written import cancelled, command_of, dead_letter, requested, write_changes


def decide(records: list[Record], until: datetime | None = None, policy: Policy | None = None) -> Result:
    """What the recorded log leads to, up to and including `until` (None: until nothing is pending).

    `policy` overrides numbers of `tests.oracle.policy.DEFAULTS`.
    """
    world = World(policy_with(policy))
    now = None
    arrivals = []
    for position, record in enumerate(records):
        stamped = instant(record["timestamp"])
        now = stamped if now is None else max(now, stamped)
        arrivals.append((now, position, record))
    for arrival, group in groupby(arrivals, key=lambda item: item[0]):
        if until is not None and arrival > until:
            break
        sleep_until(world, arrival)
        play_instant(world, arrival, [(position, record) for _, position, record in group])
    sleep_until(world, until, inclusive=True)
    world.result.asks.sort(key=lambda row: (row["time"], row["subject"], row["data"]["opportunity_id"]))
    place = {
        opportunity.id: (opportunity.opened_at, opportunity.id)
        for customer in world.customers.values()
        for opportunity in customer.opportunities
    }
    world.result.decisions.sort(
        key=lambda row: (row["time"], row["subject"], place[row["data"]["opportunity_id"]], row["data"]["n"])
    )
    return world.result


def sleep_until(world: World, end: datetime | None, *, inclusive: bool = False) -> None:
    """Fires every wake-up before `end` at its exact instant; None: all there are."""
    while world.wakeups:
        now = world.wakeups[0][0]
        if end is not None and (now > end if inclusive else now >= end):
            return
        play_instant(world, now, [])


def play_instant(world: World, now: datetime, records: list[tuple[int, Record]]) -> None:
    """Records in their order, then deadlines and other timers, then dispatches; then what is new is written."""
    touched: set[str] = set()
    for position, record in records:
        touched |= take(world, position, record, now)
    while world.wakeups and world.wakeups[0][0] <= now:
        due, name = heapq.heappop(world.wakeups)
        if world.customers[name].wakes_at == due:
            touched.add(name)
    customers = [world.customers[name] for name in sorted(touched)]
    for customer in customers:
        time_passes(world, customer, now)
    dispatch(world, customers, now)
    for customer in customers:
        write_changes(world, customer, now)
        schedule(world, customer, now)


# Records


def take(world: World, position: int, record: Record, now: datetime) -> set[str]:
    """Applies one record; returns the customers it touched."""
    try:
        event = event_of(record, position, now, world.policy["backfill_topics"])
    except Skipped:
        return set()
    except DeadLetter as cause:
        world.result.dead_letters.append(dead_letter(record, position, str(cause)))
        return set()
    if event["type"].startswith("control."):
        return take_control(world, event, now)
    name = aliased(world, event["customer"])
    customer = world.customers.setdefault(name, Customer(name))
    if is_redelivery(customer.arrivals, event, now) or of(customer.known, "customer.erasure_requested"):
        return set()
    if event["type"] == "customer.aliased":
        before = world.aliases.get(event["data"]["alias"])
        if before is None or stamp(before) < stamp(event):
            world.aliases[event["data"]["alias"]] = event | {"customer": name}
    customer.known[event["type"]].append(event)
    judge_earlier_days(customer, now)
    open_by(world, customer, event, now)
    evaluate(world, customer, now, event)
    return {name}


def judge_earlier_days(customer: Customer, now: datetime) -> None:
    """A day is judged at its 00:00Z, after that instant's records: they are judged by the days before."""
    judge_usage(customer.known, customer.usage, (now - timedelta(milliseconds=1)).date())


def aliased(world: World, name: str) -> str:
    seen: set[str] = set()
    while name in world.aliases and name not in seen:
        seen.add(name)
        name = world.aliases[name]["customer"]
    return name


def is_redelivery(arrivals: dict[tuple[str, str], datetime], event: Event, now: datetime) -> bool:
    """Whether the same event arrived within the last 7 days; else its arrival is noted."""
    key = event["source"], event["id"]
    if key in arrivals and now < arrivals[key] + 7 * DAY:
        return True
    arrivals[key] = now
    return False


# Triggers


def open_by(world: World, customer: Customer, event: Event, now: datetime) -> None:
    found = opening_of(event, customer.known, world.policy)
    if found is None:
        return
    trigger, subject, same_object = found
    if signals.newest(same_object) is not event or (trigger, subject) in customer.business_keys:
        return
    customer.business_keys.add((trigger, subject))
    if trigger != "referral_converted":
        open_opportunity(world, customer, event, trigger, subject, event["time"], now)
    elif signals.score(customer.known, now)["value"] >= world.policy["ask_again_from"]:
        opens = event["time"] + 30 * DAY
        if now >= opens:
            open_opportunity(world, customer, event, trigger, subject, opens, now)
        else:
            customer.conversions.append((opens, event))


def open_opportunity(
    world: World, customer: Customer, event: Event, trigger: str, subject: str, t0: datetime, now: datetime
) -> None:
    """Opens it, or notes why not."""
    settled, deadline = window(trigger, t0, signals.time_zone(customer.known, world.policy)[0], world.policy)
    opportunity = Opportunity(
        id=uid("opportunity", customer.id, trigger, subject),
        trigger=trigger,
        subject=subject,
        t0=t0,
        deadline=deadline,
        settled=settled,
        opened_at=now,
        opened_by=event,
    )
    since = world.policy["active_since"].get(trigger)
    if event["historical"] or (since is not None and event["time"] < since):
        close(opportunity, "historical")
    elif now >= deadline:
        close(opportunity, "expired_on_arrival")
    elif live := next((other for other in customer.live() if other.trigger == trigger), None):
        live.repeats += 1
        return
    else:
        report_opening(world, trigger, now)
    evaluate_live(world, customer, opportunity, now, None)
    customer.opportunities.append(opportunity)


# Gates, moments, and the life of an opportunity


def situation(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> Situation:
    return Situation(
        now=now,
        known=customer.known,
        usage=customer.usage,
        asks=[ask for ask in customer.asks if ask["opportunity_id"] != opportunity.id],
        opportunity_id=opportunity.id,
        trigger=opportunity.trigger,
        t0=opportunity.t0,
        opened_by=opportunity.opened_by,
        denial=opportunity.denial,
        zones=signals.time_zone(customer.known, world.policy)[0],
        policy=world.policy,
    )


def time_passes(world: World, customer: Customer, now: datetime) -> None:
    """Deadlines and other timers of this instant."""
    judge_usage(customer.known, customer.usage, now.date())
    for opens, event in sorted(customer.conversions, key=lambda item: (item[0], stamp(item[1]))):
        if opens <= now:
            customer.conversions.remove((opens, event))
            if not conversion_undone(customer.known, event):
                subject = event["data"]["referral_id"]
                open_opportunity(world, customer, event, "referral_converted", subject, opens, now)
    evaluate(world, customer, now, None)
    for opportunity in customer.live():
        if now >= opportunity.deadline:
            others = [r for r in opportunity.reasons if r["answer"] != "pass" and r["gate"] != "moment"]
            close(opportunity, "suppressed" if others else "expired")


def conversion_undone(known: Known, conversion: Event) -> bool:
    referral = conversion["data"]["referral_id"]
    statuses = [e for e in of(known, "referral.status_changed") if e["data"]["referral_id"] == referral]
    erased = bool(of(known, "customer.erasure_requested"))
    return erased or any(e["data"]["status"] == "refunded" and stamp(e) > stamp(conversion) for e in statuses)


def evaluate(world: World, customer: Customer, now: datetime, event: Event | None) -> None:
    """Asks every gate again; closes what cannot be asked any more, cancels what should not have been."""
    for opportunity in customer.opportunities:
        if opportunity.life == "live":
            if signals.survey_withdrawn(customer.known, opportunity.opened_by):
                close(opportunity, "cancelled")
            evaluate_live(world, customer, opportunity, now, event)
        elif opportunity.life == "emitted":
            evaluate_emitted(world, customer, opportunity, now)


def evaluate_live(
    world: World, customer: Customer, opportunity: Opportunity, now: datetime, event: Event | None
) -> None:
    if opportunity.moment and opportunity.moment[0] < now:
        opportunity.moment = None
    denial = opportunity.denial
    if denial and isinstance(denial["until"], datetime) and now >= denial["until"]:
        opportunity.denial = None
    judged = answers_of_all_but_moment(situation(world, customer, opportunity, now))
    blocking = [found for found in judged.values() if found["answer"] != "pass"]
    if blocking:
        opportunity.cleared_at, opportunity.moment = None, None
    elif opportunity.cleared_at is None:
        opportunity.cleared_at = now
    ready = max(opportunity.settled, opportunity.opened_at, opportunity.cleared_at or now)
    usable = signals.usable_channels(customer.known, world.policy)
    if event is not None and not blocking and opportunity.moment is None and ready <= now < opportunity.deadline:
        channel = moment_channel(world, customer, event, now)
        opportunity.moment = (now, channel) if channel in usable else None
    judged["moment"] = moment_answer(world, customer, opportunity, now, usable, blocking)
    opportunity.reasons, opportunity.shown_with = list(judged.values()), shown_with(world, customer, now)
    if opportunity.life != "live" or now >= opportunity.deadline:  # deadlines come after the records of their instant
        return
    for found in opportunity.reasons:
        unreachable = isinstance(found["until"], datetime) and found["until"] >= opportunity.deadline
        if found["answer"] == "never" or unreachable:
            close(opportunity, "suppressed")
            return
    outside = [r for r in opportunity.reasons if r["answer"] != "pass" and r["gate"] != "moment"]
    opportunity.outcome = "deferred" if outside else "pending"


def shown_with(world: World, customer: Customer, now: datetime) -> Row:
    """What a decision shows beside its reasons, at the instant of the reasons."""
    names, zone_source = signals.time_zone(customer.known, world.policy)
    return {"score": signals.score(customer.known, now), "time_zone": {"name": names[0], "source": zone_source}}


def close(opportunity: Opportunity, outcome: str) -> None:
    opportunity.life, opportunity.outcome = "closed", outcome


def may_be_cancelled(customer: Customer, opportunity: Opportunity, now: datetime) -> bool:
    command = opportunity.command
    if opportunity.life != "emitted" or command is None or now >= command["expires_at"]:
        return False
    return not past_asks.was_sent(customer.known, command["command_id"], command["not_before"])


def evaluate_emitted(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> None:
    if not may_be_cancelled(customer, opportunity, now):
        return
    judged = answers_of_all_but_moment(situation(world, customer, opportunity, now))
    vetoed = [gate for gate in ("erased", "consent", "trouble") if judged[gate]["answer"] != "pass"]
    if vetoed or signals.survey_withdrawn(customer.known, opportunity.opened_by):
        opportunity.life, opportunity.outcome = "cancelled", "cancelled"
        opportunity.reasons, opportunity.shown_with = list(judged.values()), shown_with(world, customer, now)
        world.result.asks.append(cancelled(customer, opportunity, now, vetoed or ["survey"]))


# Dispatch and the ledger


def dispatch(world: World, customers: list[Customer], now: datetime) -> None:
    """Rounds of requests: of each customer the best candidate; the refused ones' next candidates form the next."""
    while True:
        requests = [(customer, chosen) for customer in customers if (chosen := best_candidate(world, customer))]
        if not requests:
            return
        raw = {customer.id: signals.score(customer.known, now)["raw"] for customer, _ in requests}
        priority = world.policy["priority"]
        for customer, chosen in sorted(requests, key=lambda r: (-raw[r[0].id], -priority[r[1].trigger], r[0].id)):
            chosen.denial = ledger_denial(world, customer, chosen, now)
            if chosen.denial is None:
                emit(world, customer, chosen, now)
            else:
                evaluate_live(world, customer, chosen, now, None)


def best_candidate(world: World, customer: Customer) -> Opportunity | None:
    """All gates pass, `moment` included: it is settled and may speak now."""
    candidates = [o for o in customer.live() if all(found["answer"] == "pass" for found in o.reasons)]
    priority = world.policy["priority"]
    return min(candidates, key=lambda o: (-priority[o.trigger], o.deadline, o.t0, o.id), default=None)


def emit(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> None:
    """The reservation is granted: the ask goes out, or is held out; the rest is superseded."""
    command_id = uid("command", customer.id, opportunity.trigger, opportunity.subject, 1)
    account = signals.account(customer.known)
    email_hmac = signals.profile_value(customer.known, "email_hmac")
    reservation = {"at": now, "customer": customer.id, "id": command_id, "account": account, "hmac": email_hmac}
    world.reservations.append(reservation)
    holdout = held_out(customer.id, account, world.policy)
    customer.asks.append(
        {"command_id": command_id, "opportunity_id": opportunity.id, "asked_at": now, "holdout": holdout}
    )
    for rival in customer.live():
        if rival is not opportunity:
            close(rival, "superseded")
    if holdout:
        close(opportunity, "holdout")
        opportunity.reasons[-1] = reason("holdout", [("never", None, "held out")])
        return
    opportunity.command = command_of(world, customer, opportunity, now, command_id)
    opportunity.life = "emitted"
    opportunity.outcome = "soft" if opportunity.command["mode"] == "soft" else "asked"
    world.result.asks.append(requested(customer, opportunity.command, now))


# Switches and the burst breaker


def take_control(world: World, event: Event, now: datetime) -> set[str]:
    """Turns a switch; at the end of a pause, who was refused for it may ask again, whatever else stands."""
    if is_redelivery(world.control_arrivals, event, now):
        return set()
    body = event["data"]
    scope = body["scope"], "" if body["scope"] == "all" else body.get("name", "")
    was_paused = is_on(world, scope)
    world.switches[scope].append((stamp(event), event["type"] == "control.paused"))
    if is_on(world, scope):
        if not was_paused:
            world.refused[scope].clear()
        return set()
    if was_paused and scope[0] == "trigger":
        excuse_openings(world, scope[1], now)
    touched = set()
    for name in sorted(world.refused[scope]):
        customer = world.customers[name]
        for opportunity in customer.live():
            if opportunity.denial is not None and opportunity.denial["gate"] == "paused":
                opportunity.denial = None
                touched.add(name)
        if name in touched:
            judge_earlier_days(customer, now)
            evaluate(world, customer, now, None)
    return touched


# What is written, and when to wake up again


def schedule(world: World, customer: Customer, now: datetime) -> None:
    """The next instant at which something may change without an event."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    instants = [opens for opens, _ in customer.conversions]
    for opportunity in customer.opportunities:
        if opportunity.life == "live":
            instants += [opportunity.settled, opportunity.deadline, midnight]
            instants += [r["until"] for r in opportunity.reasons if isinstance(r["until"], datetime)]
        elif may_be_cancelled(customer, opportunity, now):
            instants.append(midnight)
    customer.wakes_at = min((moment for moment in instants if moment > now), default=None)
    if customer.wakes_at:
        heapq.heappush(world.wakeups, (customer.wakes_at, customer.id))
