"""The fact replay, naively: all events are kept, and everything is worked out from the list of them, every time.

Kept besides the list is only what is a history of its own: the opportunities' lives, the ledger's reservations and
switches, and what each day's usage was judged to be.
"""

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from statistics import median
from typing import Any

from tests.oracle import gates, signals
from tests.oracle.gates import Reason, Situation
from tests.oracle.local_time import days_later, email_instant, is_quiet, next_midnight, next_quiet_start
from tests.oracle.policy import Policy, policy_with
from tests.oracle.records import (
    CHANNELS,
    DeadLetter,
    Event,
    Record,
    Skipped,
    event_of,
    headers_of,
    instant,
    shown,
    uid,
)
from tests.oracle.signals import DAY, Known, nothing_known, of, stamp

MODES = {"peer_mentioned": "value_first", "expansion": "same_company"}
Row = dict[str, Any]


@dataclass
class Result:
    """CloudEvents in the order of (time, customer, opportunity as they opened, n); dead letters in that of the log."""

    asks: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    dead_letters: list[Row] = field(default_factory=list)


@dataclass
class Opportunity:
    id: str
    trigger: str
    subject: str
    t0: datetime
    deadline: datetime
    settled: datetime
    opened_at: datetime
    opened_by: Event
    life: str = "live"  # live, closed, emitted, cancelled
    cleared_at: datetime | None = None  # since when every gate but `moment` has passed
    moment: tuple[datetime, str] | None = None  # an event moment of this very instant, and its channel
    denial: Reason | None = None
    outcome: str = ""
    reasons: list[Reason] = field(default_factory=list)
    written: tuple[str, list[Any]] | None = None
    decisions: int = 0
    repeats: int = 0  # merged at this very instant, not written yet
    command: Row | None = None


@dataclass
class Customer:
    id: str
    known: Known = field(default_factory=nothing_known)
    arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    usage: trouble.UsageJudgement = field(default_factory=trouble.UsageJudgement)
    opportunities: list[Opportunity] = field(default_factory=list)
    business_keys: set[tuple[str, str]] = field(default_factory=set)
    conversions: list[tuple[datetime, Event]] = field(default_factory=list)  # not yet open: (t0, the conversion)
    asks: list[Row] = field(default_factory=list)  # command_id, opportunity_id, asked_at, holdout
    wakes_at: datetime | None = None

    def live(self) -> list[Opportunity]:
        return [opportunity for opportunity in self.opportunities if opportunity.life == "live"]


@dataclass
class World:
    policy: Policy
    customers: dict[str, Customer] = field(default_factory=dict)
    aliases: dict[str, Event] = field(default_factory=dict)
    control_arrivals: dict[tuple[str, str], datetime] = field(default_factory=dict)
    switches: dict[tuple[str, str], list[tuple[tuple[datetime, str, str], bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    openings: dict[tuple[str, datetime], int] = field(default_factory=lambda: defaultdict(int))
    reservations: list[Row] = field(default_factory=list)  # at, customer, command_id, account, hmac
    wakeups: list[tuple[datetime, str]] = field(default_factory=list)
    result: Result = field(default_factory=Result)


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
    before_now = now - timedelta(milliseconds=1)  # a day's usage is judged at 00:00Z, after that instant's records
    trouble.judge_usage(customer.known, customer.usage, before_now.date())
    open_by(world, customer, event, now)
    evaluate(world, customer, now, event)
    return {name}


def dead_letter(record: Record, position: int, cause: str) -> Row:
    error = {"error": cause, "stage": "ingest", "source-topic": record.get("topic", "")}
    place = {"source-partition": str(record.get("partition", 0)), "source-offset": str(record.get("offset", position))}
    kept = {name: record[name] for name in ("topic", "key", "timestamp", "value") if name in record}
    return {**kept, "headers": {**headers_of(record), **error, **place}}


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


def opening_of(event: Event, known: Known, policy: Policy) -> tuple[str, str, list[Event]] | None:
    """The trigger this event would open, its subject, and all events about the same object; None if it opens none."""
    kind, body = event["type"], event["data"]

    def about(name: str, *types: str) -> list[Event]:
        return [e for e in of(known, *(types or (kind,))) if e["data"].get(name) == body.get(name)]

    match kind:
        case "nps.responded" if body["score"] >= 9:
            return "nps_promoter", body["response_id"], about("response_id")
        case "csat.responded" if signals.top_box(event):
            return "positive_feedback", body.get("ticket_id") or body["response_id"], about("response_id")
        case "compliment.given" | "testimonial.given":
            same = about("reference") if "reference" in body else [event]
            return "positive_feedback", body.get("reference") or event["id"], same
        case "review.posted" if signals.top_box(event):
            return "positive_feedback", body.get("url") or event["id"], about("url") if "url" in body else [event]
        case "ticket.solved" | "ticket.rated" if body.get("rating") == "positive":
            life = ("ticket.opened", "ticket.solved", "ticket.rated", "ticket.reopened")
            return "positive_feedback", body["ticket_id"], about("ticket_id", *life)
        case "milestone.reached" if body["first_success"] or body["milestone"] in policy["named_milestones"]:
            return "milestone", body["milestone"], about("milestone")
        case "subscription.renewed":
            subject = next((name for name in ("invoice_id", "contract_id") if name in body), None)
            return "renewal", body[subject] if subject else event["id"], about(subject) if subject else [event]
        case "subscription.expanded":
            return "expansion", body["deal_id"], about("deal_id")
        case "peer.mentioned":
            return "peer_mentioned", body["peer_ref"], about("peer_ref")
        case "referral.status_changed" if body["status"] == "converted":
            return "referral_converted", body["referral_id"], about("referral_id")
        case _:
            return None


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
    policy = world.policy
    names, _ = signals.time_zone(customer.known, policy)
    if trigger == "milestone":
        deadline = next_midnight(t0, names)
    elif trigger in policy["window_local_days"]:
        deadline = days_later(t0, policy["window_local_days"][trigger], names)
    else:
        deadline = t0 + timedelta(seconds=policy["window_seconds"][trigger])
    settle = timedelta(seconds=policy["settle_seconds"][trigger] + policy["rivals_seconds"])
    latest = max(t0, deadline - timedelta(seconds=policy["settle_margin_seconds"]))
    opportunity = Opportunity(
        id=uid("opportunity", customer.id, trigger, subject),
        trigger=trigger,
        subject=subject,
        t0=t0,
        deadline=deadline,
        settled=min(t0 + settle, latest),
        opened_at=now,
        opened_by=event,
    )
    since = policy["active_since"].get(trigger)
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
    trouble.judge_usage(customer.known, customer.usage, now.date())
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
            if survey_withdrawn(customer.known, opportunity):
                close(opportunity, "cancelled")
            evaluate_live(world, customer, opportunity, now, event)
        elif opportunity.life == "emitted":
            evaluate_emitted(world, customer, opportunity, now)


def survey_withdrawn(known: Known, opportunity: Opportunity) -> bool:
    opener = opportunity.opened_by
    if opener["type"] not in ("nps.responded", "csat.responded"):
        return False
    revision = signals.responses(known, opener["type"])[opener["data"]["response_id"]]
    return revision["data"]["score"] < 9 if opener["type"] == "nps.responded" else not signals.top_box(revision)


def evaluate_live(
    world: World, customer: Customer, opportunity: Opportunity, now: datetime, event: Event | None
) -> None:
    if opportunity.moment and opportunity.moment[0] < now:
        opportunity.moment = None
    denial = opportunity.denial
    if denial and isinstance(denial["until"], datetime) and now >= denial["until"]:
        opportunity.denial = None
    judged = gates.answers_of_all_but_moment(situation(world, customer, opportunity, now))
    blocking = [reason for reason in judged.values() if reason["answer"] != "pass"]
    if blocking:
        opportunity.cleared_at, opportunity.moment = None, None
    elif opportunity.cleared_at is None:
        opportunity.cleared_at = now
    usable = signals.usable_channels(customer.known, world.policy)
    if event is not None and not blocking and opportunity.moment is None and now >= ready(opportunity):
        channel = moment_channel(world, customer, event, now)
        opportunity.moment = (now, channel) if channel in usable else None
    judged["moment"] = moment_answer(world, customer, opportunity, now, usable, blocking)
    opportunity.reasons = list(judged.values())
    if opportunity.life != "live":
        return
    for reason in opportunity.reasons:
        unreachable = isinstance(reason["until"], datetime) and reason["until"] >= opportunity.deadline
        if reason["answer"] == "never" or unreachable:
            close(opportunity, "suppressed")
            return
    outside = [reason for reason in opportunity.reasons if reason["answer"] != "pass" and reason["gate"] != "moment"]
    opportunity.outcome = "deferred" if outside else "pending"


def ready(opportunity: Opportunity) -> datetime:
    """Only where no gate but `moment` blocks."""
    assert opportunity.cleared_at is not None
    return max(opportunity.settled, opportunity.opened_at, opportunity.cleared_at)


def moment_answer(
    world: World, customer: Customer, opportunity: Opportunity, now: datetime, usable: list[str], blocking: list[Reason]
) -> Reason:
    """The answer of gate `moment`; while others block, the plan for the earliest instant at which they may pass."""
    if opportunity.moment:
        channel = opportunity.moment[1]
        if channel in usable and channel_allowed(world, customer, channel, now):
            return gates.reason("moment", [])
        opportunity.moment = None
    if "email" in usable:
        known_waits = [reason["until"] for reason in blocking if isinstance(reason["until"], datetime)]
        start = max([opportunity.settled, opportunity.cleared_at or now, now, *known_waits])
        names, _ = signals.time_zone(customer.known, world.policy)
        planned = email_instant(start, opportunity.deadline, names, world.policy)
        if planned is not None:
            return gates.reason("moment", [] if planned <= now else [("until", planned, "planned")])
        if usable == ["email"]:
            return gates.reason("moment", [("never", None, "no instant left for an e-mail")])
    return gates.reason("moment", [("until_event", "moment", "no clock instant")])


def channel_allowed(world: World, customer: Customer, channel: str, now: datetime) -> bool:
    if channel == "email":
        return not is_quiet(now, signals.time_zone(customer.known, world.policy)[0], world.policy)
    if channel == "in_app":
        return not signals.in_critical_task(customer.known, now)
    return not signals.concern_open(customer.known)


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
            cut_short = {e["data"]["call_id"] for e in of(customer.known, "call.cut_short")}
            if body.get("call_id") in cut_short:
                return None
            channel = "phone"
        case _:
            return None
    fresh = now - event["time"] <= timedelta(minutes=10) and not event["historical"]
    return channel if fresh and channel_allowed(world, customer, channel, now) else None


def close(opportunity: Opportunity, outcome: str) -> None:
    opportunity.life, opportunity.outcome = "closed", outcome


def may_be_cancelled(customer: Customer, opportunity: Opportunity, now: datetime) -> bool:
    command = opportunity.command
    if opportunity.life != "emitted" or command is None or now >= command["expires_at"]:
        return False
    return not asks.was_sent(customer.known, command["command_id"])


def evaluate_emitted(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> None:
    if not may_be_cancelled(customer, opportunity, now):
        return
    judged = gates.answers_of_all_but_moment(situation(world, customer, opportunity, now))
    vetoed = [gate for gate in ("erased", "consent", "trouble") if judged[gate]["answer"] != "pass"]
    if vetoed or survey_withdrawn(customer.known, opportunity):
        assert opportunity.command is not None
        opportunity.life, opportunity.outcome = "cancelled", "cancelled"
        opportunity.reasons = list(judged.values())
        command_id = opportunity.command["command_id"]
        body = {
            "command_id": command_id,
            "opportunity_id": opportunity.id,
            "customer_id": customer.id,
            "trigger": opportunity.trigger,
            "why": vetoed or ["survey"],
        }
        world.result.asks.append(
            cloud_event("referral.ask.cancelled", uid("cancel", command_id), customer.id, now, body)
        )


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
    candidates = [o for o in customer.live() if all(reason["answer"] == "pass" for reason in o.reasons)]
    priority = world.policy["priority"]
    return min(candidates, key=lambda o: (-priority[o.trigger], o.deadline, o.t0, o.id), default=None)


def ledger_denial(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> Reason | None:
    """Why the ledger refuses, by the first gate that does."""
    policy, account = world.policy, signals.account(customer.known)
    email_hmac = signals.profile_value(customer.known, "email_hmac")
    if is_paused(world, customer, opportunity.trigger):
        return {"gate": "paused", "answer": "until_event", "until": "control.resumed"}
    counted = [r for r in world.reservations if not asks.was_released(world.customers[r["customer"]].known, r["id"])]
    per_person, gap, per_account = (
        policy[name] * DAY for name in ("customer_cap_days", "account_gap_days", "account_cap_days")
    )
    same_person = [r["at"] + per_person for r in counted if email_hmac is not None and r["hmac"] == email_hmac]
    if same_person and now < max(same_person):
        return {"gate": "overasking", "answer": "until", "until": max(same_person)}
    same_account = sorted(r["at"] for r in counted if account is not None and r["account"] == account)
    ends = [at + gap for at in same_account[-1:]]
    if len(same_account) >= policy["account_cap"]:
        ends.append(same_account[-policy["account_cap"]] + per_account)
    if ends and now < max(ends):
        return {"gate": "account", "answer": "until", "until": max(ends)}
    return None


def emit(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> None:
    """The reservation is granted: the ask goes out, or is held out; the rest is superseded."""
    command_id = uid("command", customer.id, opportunity.trigger, opportunity.subject, 1)
    account = signals.account(customer.known)
    email_hmac = signals.profile_value(customer.known, "email_hmac")
    reservation = {"at": now, "customer": customer.id, "id": command_id, "account": account, "hmac": email_hmac}
    world.reservations.append(reservation)
    holdout = gates.held_out(customer.id, account, world.policy)
    customer.asks.append(
        {"command_id": command_id, "opportunity_id": opportunity.id, "asked_at": now, "holdout": holdout}
    )
    for rival in customer.live():
        if rival is not opportunity:
            close(rival, "superseded")
    if holdout:
        close(opportunity, "holdout")
        opportunity.reasons[-1] = gates.reason("holdout", [("never", None, "held out")])
        return
    score = signals.score(customer.known, now)
    opportunity.life = "emitted"
    opportunity.outcome = "asked" if mode_of(world, opportunity, score) != "soft" else "soft"
    opportunity.command = command_of(world, customer, opportunity, now, command_id)
    body = {name: shown(v) if isinstance(v, datetime) else v for name, v in opportunity.command.items()}
    world.result.asks.append(cloud_event("referral.ask.requested", command_id, customer.id, now, body))


def command_of(world: World, customer: Customer, opportunity: Opportunity, now: datetime, command_id: str) -> Row:
    known, policy = customer.known, world.policy
    first = opportunity.moment[1] if opportunity.moment else "email"
    usable = signals.usable_channels(known, policy)
    others = [c for c in CHANNELS if c != first and c in usable and channel_allowed(world, customer, c, now)]
    if first == "email":
        quiet = next_quiet_start(now, signals.time_zone(known, policy)[0], policy)
        expires_at = min(opportunity.deadline, quiet or opportunity.deadline)
    else:
        expires_at = min(opportunity.deadline, now + timedelta(hours=1))
    score = signals.score(known, now)
    mode = mode_of(world, opportunity, score)
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
        "template": f"{opportunity.trigger}.{mode}",
        "variables": {name: value for name, value in about.items() if value is not None},
        "channels": [first, *others],
        "not_before": now,
        "expires_at": expires_at,
        "score": score,
    }
    return {name: value for name, value in found.items() if value is not None}


def mode_of(world: World, opportunity: Opportunity, score: Row) -> str:
    if score["value"] < world.policy["direct_from"]:
        return "soft"
    if opportunity.trigger in world.policy["mutual_benefit_triggers"]:
        return "mutual_benefit"
    return MODES.get(opportunity.trigger, "direct")


# Switches and the burst breaker


def is_paused(world: World, customer: Customer, trigger: str) -> bool:
    segment = signals.profile_value(customer.known, "segment") or ""
    scopes = (("all", ""), ("trigger", trigger), ("segment", segment))
    return any(max(world.switches[scope])[1] for scope in scopes if scope in world.switches)


def take_control(world: World, event: Event, now: datetime) -> set[str]:
    """Turns a switch; at the end of a pause, who was refused for it is asked about again."""
    if is_redelivery(world.control_arrivals, event, now):
        return set()
    body = event["data"]
    scope = body["scope"], "" if body["scope"] == "all" else body.get("name", "")
    world.switches[scope].append((stamp(event), event["type"] == "control.paused"))
    if event["type"] == "control.paused":
        return set()
    touched = set()
    for customer in sorted(world.customers.values(), key=lambda c: c.id):
        for opportunity in customer.live():
            refused = opportunity.denial is not None and opportunity.denial["gate"] == "paused"
            if refused and not is_paused(world, customer, opportunity.trigger):
                opportunity.denial = None
                touched.add(customer.id)
        if customer.id in touched:
            evaluate(world, customer, now, None)
    return touched


def report_opening(world: World, trigger: str, now: datetime) -> None:
    """Counts it; too many in one UTC hour pause the trigger."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    world.openings[trigger, hour] += 1
    before = [world.openings.get((trigger, hour - n * timedelta(hours=1)), 0) for n in range(1, 25)]
    if world.openings[trigger, hour] > max(world.policy["burst_floor"], world.policy["burst_factor"] * median(before)):
        world.switches["trigger", trigger].append(((now, "burst breaker", ""), True))


# What is written, and when to wake up again


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
    names, zone_source = signals.time_zone(customer.known, world.policy)
    score = signals.score(customer.known, now)
    eligible = asks.next_eligible_at(customer.known, customer.asks, now, world.policy)
    body: Row = {
        "decision_id": decision_id,
        "opportunity_id": opportunity.id,
        "customer_id": customer.id,
        "n": opportunity.decisions,
        "trigger": opportunity.trigger,
        "subject": opportunity.subject,
        "outcome": outcome,
        "reasons": [shown_reason(reason) for reason in opportunity.reasons],
        "score": score,
        "window": {"opens": shown(opportunity.t0), "deadline": shown(opportunity.deadline)},
        "time_zone": {"name": names[0], "source": zone_source},
        "decided_at": shown(now),
    }
    if outcome in ("asked", "soft"):
        body["mode"] = mode_of(world, opportunity, score)
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


def cloud_event(kind: str, id: str, customer: str, now: datetime, body: Row) -> Row:
    return {
        "specversion": "1.0",
        "id": id,
        "source": "referral-stream",
        "type": kind,
        "subject": customer,
        "time": shown(now),
        "datacontenttype": "application/json",
        "data": body,
    }


def schedule(world: World, customer: Customer, now: datetime) -> None:
    """The next instant at which something may change without an event."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    instants = [opens for opens, _ in customer.conversions]
    for opportunity in customer.opportunities:
        if opportunity.life == "live":
            instants += [opportunity.settled, opportunity.deadline, midnight]
            instants += [reason["until"] for reason in opportunity.reasons if isinstance(reason["until"], datetime)]
        elif may_be_cancelled(customer, opportunity, now):
            instants.append(midnight)
    customer.wakes_at = min((moment for moment in instants if moment > now), default=None)
    if customer.wakes_at:
        heapq.heappush(world.wakeups, (customer.wakes_at, customer.id))
