"""The fact replay, naively: all events are kept, and everything is worked out from the list of them, every time.

Kept besides the list is only what is a history of its own: the opportunities' lives, the ledger's reservations and
switches, and what each day's usage was judged to be.
"""

import heapq
from datetime import datetime, timedelta
from itertools import groupby

from tests.oracle import afterwards, bounds, identity, past_asks, rewards, signals
from tests.oracle.gates import Situation, answers_of_all_but_moment, asked_lately, held_out, reason
from tests.oracle.ledger import (
    burst_until,
    concerned,
    excuse_openings,
    is_on,
    learn_later,
    ledger_denial,
    note_ask_of_others,
    report_opening,
)
from tests.oracle.moments import moment_answer, moment_channel
from tests.oracle.policy import Policy, policy_with
from tests.oracle.record import newest_records, write_record
from tests.oracle.records import DeadLetter, Event, Record, Skipped, clock_of, event_of, uid
from tests.oracle.signals import DAY, Known, of, stamp
from tests.oracle.triggers import is_first_payment, opening_of, window
from tests.oracle.trouble import judge_usage
from tests.oracle.world import Customer, Opportunity, Result, Row, World
from tests.oracle.written import cancelled, command_of, dead_letter, requested, write_changes


def decide(
    records: list[Record], until: datetime | None = None, policy: Policy | None = None, *, recording: bool = True
) -> Result:
    """What the recorded log leads to, up to and including `until` (None: until nothing is pending).

    `policy` overrides numbers of `tests.oracle.policy.DEFAULTS`; `recording`: whether records of customers are wanted.
    """
    world = World(policy_with(policy), recording)
    arrivals = [
        (now, position, record) for position, (now, record) in enumerate(zip(clock_of(records), records, strict=True))
    ]
    for arrival, group in groupby(arrivals, key=lambda item: item[0]):
        if until is not None and arrival > until:
            break
        sleep_until(world, arrival)
        play_instant(world, arrival, [(position, record) for _, position, record in group])
    sleep_until(world, until, inclusive=True)
    if until is not None:
        identity.lapse(world, until)
    world.result.asks.sort(key=lambda row: (row["time"], row["subject"], row["data"]["opportunity_id"]))
    place = {
        opportunity.id: (opportunity.opened_at, opportunity.id)
        for customer in world.customers.values()
        for opportunity in customer.opportunities
    }
    world.result.decisions.sort(
        key=lambda row: (row["time"], row["subject"], place[row["data"]["opportunity_id"]], row["data"]["n"])
    )
    for rows in (world.result.followups, world.result.rewards):
        rows.sort(key=lambda row: (row["time"], row["subject"].encode()))
    world.result.records = newest_records(world)
    return world.result


def sleep_until(world: World, end: datetime | None, *, inclusive: bool = False) -> None:
    """Fires every wake-up before `end` at its exact instant; None: all there are."""
    while world.wakeups:
        now = world.wakeups[0][0]
        if end is not None and (now > end if inclusive else now >= end):
            return
        play_instant(world, now, [])


def play_instant(world: World, now: datetime, records: list[tuple[int, Record]]) -> None:
    """Records in their order, then deadlines and other timers, then what follows an ask and is due by time, then
    dispatches; then what is new is written.
    """
    identity.lapse(world, now)
    touched: set[str] = set()
    for position, record in records:
        touched |= take(world, position, record, now)
    while world.wakeups and world.wakeups[0][0] <= now:
        due, name = heapq.heappop(world.wakeups)
        if world.customers[name].wakes_at == due:
            touched.add(name)
    waiting = sorted(touched)
    while waiting:
        time_passes(world, world.customers[waiting.pop(0)], now)
        more = read_mail(world)
        waiting = sorted({*waiting, *(more - touched)})
        touched |= more
    customers = [world.customers[name] for name in sorted(touched)]
    for customer in customers:
        afterwards.time_passes(world, customer, now)
    dispatch(world, customers, now)
    for customer in customers:
        write_changes(world, customer, now)
        if world.recording:
            write_record(world, customer, now)
        schedule(world, customer, now)


# Records


def take(world: World, position: int, record: Record, now: datetime) -> set[str]:
    """Applies one record, and what customers, links and the ledger tell each other because of it.

    Returns the customers it touched.
    """
    policy = world.policy
    try:
        event = event_of(record, position, now, policy["backfill_topics"], policy["email_key"])
    except Skipped:
        return set()
    except DeadLetter as cause:
        world.result.dead_letters.append(dead_letter(record, position, str(cause)))
        return set()
    if event["type"].startswith("control."):
        world.mail.append(lambda: take_control(world, event, now))
    elif event["customer"] is None:
        world.mail.append(lambda: identity.take_at_link(world, event, (position, record), now, apply))
    else:
        world.mail.append(lambda: apply(world, event["customer"], event, now))
    return read_mail(world)


def read_mail(world: World) -> set[str]:
    """First in, first out, until nobody tells anybody anything any more."""
    touched: set[str] = set()
    while world.mail:
        touched |= world.mail.popleft()()
    return touched


def apply(world: World, name: str, event: Event, now: datetime) -> set[str]:
    """Applies one event to the customer who has that id, or was merged with whoever had."""
    customer = world.home(name)
    gone = bool(of(customer.known, "customer.erasure_requested"))
    if gone:
        identity.hold_for_erased(world, customer, event, now, apply)
    if is_redelivery(customer.arrivals, event, now) or (gone and event["type"] != "customer.aliased"):
        return set()
    judge_earlier_days(customer, now)
    before = afterwards.judge_on_arrival(world, customer, event, now)
    customer.known.add(event)
    bounds.is_counted_only(customer.known, event, now, world.policy)
    if event["type"] == "customer.overfull_cleared":
        clear(world, customer, event, now)
    afterwards.note_turns(world, customer, event, before, now)
    if event["type"] == "customer.aliased":
        ask_to_merge(world, customer, event, now)
    note_ask_of_others(world, customer, event)
    open_by(world, customer, event, now)
    evaluate(world, customer, now, event)
    afterwards.follow(world, customer, event, now)
    learn_later(world, customer, now)
    identity.teach_by(world, customer, event, now, apply)
    return {customer.id}


def clear(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """Of business keys the older half is forgotten: a person has looked."""
    if bounds.clear(customer.known, event, now, world.policy) and event["data"]["kind"] == "keys":
        for key in list(customer.business_keys)[: len(customer.business_keys) // 2]:
            del customer.business_keys[key]


def ask_to_merge(world: World, customer: Customer, event: Event, now: datetime) -> None:
    alias = event["data"]["alias"]
    if (customer.id, alias) in world.said_to_be or world.home(alias) is customer:
        return
    world.said_to_be.add((customer.id, alias))
    for opportunity in customer.live():  # until the other has answered there is trouble: a moment of now is lost
        opportunity.cleared_at, opportunity.moment = None, None
    world.mail.append(lambda: merge(world, customer.id, alias, event, now))


def merge(world: World, name: str, alias: str, event: Event, now: datetime) -> set[str]:
    """Whoever has the alias ends, and all that is known of them is known of this customer."""
    customer, other = world.home(name), world.home(alias)
    if customer is other:
        return set()
    judge_earlier_days(customer, now)
    judge_earlier_days(other, now)
    if erasures := of(other.known, "customer.erasure_requested"):
        if min(e["arrived"] for e in erasures) < event["arrived"]:
            return identity.hold(world, customer.id, alias, now, apply)
        customer.known.add(*erasures)
        afterwards.forget(world, customer, now)
    else:
        end_by_merging(world, customer, other, now)
        identity.fold_in(world, customer, other)
        afterwards.go_on_as_one(world, customer, other, now)
    for opportunity in customer.live():
        opportunity.cleared_at = None
    evaluate(world, customer, now, None)
    learn_later(world, customer, now)
    identity.teach_after_merging(world, customer, now, apply)
    return {customer.id, other.id}


def end_by_merging(world: World, customer: Customer, other: Customer, now: datetime) -> None:
    """The absorbed customer's opportunities close, and commands that were not sent are taken back."""
    merged = reason("erased", [("never", None, "merged_into")])
    for opportunity in other.opportunities:
        if opportunity.life == "live":
            close(opportunity, "cancelled")
            evaluate_live(world, other, opportunity, now, None)
            opportunity.reasons[0] = merged
        elif may_be_cancelled(other, opportunity, now):
            take_back(world, other, opportunity, now, ["erased"])
            opportunity.reasons[0] = merged
    other.merged_into, other.wakes_at = customer.id, None


def judge_earlier_days(customer: Customer, now: datetime) -> None:
    """A day is judged at its 00:00Z, after that instant's records: they are judged by the days before."""
    judge_usage(customer.known, customer.usage, (now - timedelta(milliseconds=1)).date())


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
    if len(customer.business_keys) >= world.policy["most_keys"]:
        bounds.too_many(customer.known, "keys", event)
        return
    customer.business_keys[trigger, subject] = None
    if trigger == "renewal" and is_first_payment(event, customer.known):
        return
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
    opened = opportunity.opened = opportunity.life == "live"
    evaluate_live(world, customer, opportunity, now, None)
    customer.opportunities.append(opportunity)
    careful = ("erased", "consent", "too_early", "trouble")
    may_count = opened and all(r["answer"] == "pass" for r in opportunity.reasons if r["gate"] in careful)
    if may_count and report_opening(world, trigger, now):
        pass_on_pause(world, ("trigger", trigger), now)


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
    asked_about = situation(world, customer, opportunity, now)
    judged = answers_of_all_but_moment(asked_about)
    blocking = [found for found in judged.values() if found["answer"] != "pass"]
    if opportunity.life == "live" and now < opportunity.deadline and not asked_lately(asked_about):
        opportunity.eligible |= all(judged[gate]["answer"] == "pass" for gate in ELIGIBLE)
    if blocking:
        opportunity.cleared_at, opportunity.moment = None, None
    elif opportunity.cleared_at is None:
        opportunity.cleared_at = now
    ready = max(opportunity.settled, opportunity.opened_at, opportunity.cleared_at or now)
    usable = signals.usable_channels(customer.known, world.policy)
    if event is not None and not blocking and opportunity.moment is None and ready <= now < opportunity.deadline:
        channel = moment_channel(world, customer, event, now)
        opportunity.moment = (now, channel, event["data"].get("call_id")) if channel in usable else None
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


ELIGIBLE = ("erased", "consent", "too_early", "trouble", "propensity", "answers", "advocacy")


def shown_with(world: World, customer: Customer, now: datetime) -> Row:
    """What a decision shows beside its reasons, at the instant of the reasons."""
    names, source = signals.time_zone(customer.known, world.policy)
    name = world.policy["default_zone"] if source == "default" else names[0]
    return {"score": signals.score(customer.known, now), "time_zone": {"name": name, "source": source}}


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
    why = [gate for gate in TAKES_BACK if judged[gate]["answer"] != "pass"]
    why += ["approval"] * (judged["approval"]["answer"] == "never")
    why += ["survey"] * signals.survey_withdrawn(customer.known, opportunity.opened_by)
    named, said = opportunity.command["channels"], signals.consents(customer.known, world.policy)  # type: ignore[index]  # it is emitted
    usable = signals.usable_channels(customer.known, world.policy)
    why += ["channel"] * (any(said[c] is False for c in named) or not set(named) & set(usable))
    if why:
        take_back(world, customer, opportunity, now, why)


TAKES_BACK = ("erased", "paused", "consent", "trouble", "answers")


def take_back(world: World, customer: Customer, opportunity: Opportunity, now: datetime, why: list[str]) -> None:
    judged = answers_of_all_but_moment(situation(world, customer, opportunity, now))
    opportunity.life, opportunity.outcome = "cancelled", "cancelled"
    for ask in customer.asks:
        if ask["opportunity_id"] == opportunity.id:
            ask["cancelled"] = True
    opportunity.reasons, opportunity.shown_with = list(judged.values()), shown_with(world, customer, now)
    world.result.asks.append(cancelled(customer, opportunity, now, why))


# Dispatch and the ledger


def dispatch(world: World, customers: list[Customer], now: datetime) -> None:
    """Rounds of requests: of each customer the best candidate; the refused ones' next candidates form the next.

    Grants are answered after the reservations of a round.
    """
    while True:
        requests = [(customer, chosen) for customer in customers if (chosen := best_candidate(world, customer))]
        if not requests and not world.asked_for:
            return
        raw = {customer.id: signals.score(customer.known, now)["raw"] for customer, _ in requests}
        priority = world.policy["priority"]
        for customer, chosen in sorted(requests, key=lambda r: (-raw[r[0].id], -priority[r[1].trigger], r[0].id)):
            chosen.denial = ledger_denial(world, customer, chosen, now)
            if chosen.denial is None:
                emit(world, customer, chosen, now)
            else:
                evaluate_live(world, customer, chosen, now, None)
        for customer, grant in rewards.answers_of_the_ledger(world, now):
            afterwards.when_answered(world, customer, grant, now)


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
    world.reservations.append(
        {
            "at": now,
            "customer": customer.id,
            "id": command_id,
            "trigger": opportunity.trigger,
            "segment": signals.profile_value(customer.known, "segment"),
            "accounts": {account},
            "hmacs": {email_hmac},
        }
    )
    holdout = held_out(customer.id, account, world.policy)
    command = command_of(world, customer, opportunity, now, command_id)
    kind = "holdout" if holdout else "shadow" if world.policy["shadow"] else "asked"
    customer.asks.append(
        {
            **{name: command[name] for name in ("command_id", "opportunity_id", "trigger", "template", "mode")},
            "kind": "soft" if (kind, command["mode"]) == ("asked", "soft") else kind,
            "channel": command["channels"][0],
            "offer": command.get("offer"),
            "arm": None if holdout else command.get("arm"),
            "t0": opportunity.t0,
            "opened_by": opportunity.opened_by,
            "asked_at": now,
            "holdout": holdout,
            "cancelled": False,
            "survey": None,  # the event that took back its survey answer
        }
    )
    for rival in customer.live():
        if rival is not opportunity:
            close(rival, "superseded")
    if holdout:
        close(opportunity, "holdout")
        opportunity.reasons[-1] = reason("holdout", [("never", None, "held out")])
        return
    if world.policy["shadow"]:
        close(opportunity, "shadow")
        return
    opportunity.command = command
    opportunity.life = "emitted"
    opportunity.outcome = "soft" if command["mode"] == "soft" else "asked"
    world.result.asks.append(requested(customer, command, now))


# Switches and the burst breaker


def take_control(world: World, event: Event, now: datetime) -> set[str]:
    """Turns a switch; at the end of a pause, who was refused for it may ask again, whatever else stands."""
    if is_redelivery(world.control_arrivals, event, now):
        return set()
    body = event["data"]
    scope = body["scope"], "" if body["scope"] == "all" else body.get("name", "")
    burst = scope[0] == "trigger" and burst_until(world, scope[1], now) is not None
    was_paused = is_on(world, scope)
    world.switches[scope].append((stamp(event), event["type"] == "control.paused"))
    if is_on(world, scope):
        if not was_paused:
            if not burst:
                world.refused[scope].clear()
            pass_on_pause(world, scope, now)
        return set()
    if scope[0] == "trigger" and (was_paused or burst) and burst_until(world, scope[1], now) is None:
        excuse_openings(world, scope[1], now)
    touched = set()
    for name in sorted({*world.refused[scope], *concerned(world, scope, now)}):
        customer = world.home(name)
        for opportunity in customer.live():
            if opportunity.denial is not None and opportunity.denial["gate"] == "paused":
                opportunity.denial = None
        touched.add(customer.id)
        judge_earlier_days(customer, now)
        evaluate(world, customer, now, None)
    return touched


def pass_on_pause(world: World, scope: tuple[str, str], now: datetime) -> None:
    """The ledger tells those whose ask may not have been sent yet."""
    for name in concerned(world, scope, now):
        world.mail.append(lambda name=name: pause_reaches(world, name, scope, now))  # type: ignore[misc]  # bound now


def pause_reaches(world: World, name: str, scope: tuple[str, str], now: datetime) -> set[str]:
    customer = world.home(name)
    over = None if is_on(world, scope) else burst_until(world, scope[1], now)
    answer = {"gate": "paused", "answer": "until" if over else "until_event", "until": over or "control.resumed"}
    for opportunity in customer.opportunities:
        concerns = scope[0] != "trigger" or opportunity.trigger == scope[1]
        if opportunity.life == "emitted" and concerns:
            opportunity.denial = answer
    judge_earlier_days(customer, now)
    evaluate(world, customer, now, None)
    return {customer.id}


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
    instants += afterwards.instants(world, customer)
    customer.wakes_at = min((moment for moment in instants if moment > now), default=None)
    if customer.wakes_at:
        heapq.heappush(world.wakeups, (customer.wakes_at, customer.id))
