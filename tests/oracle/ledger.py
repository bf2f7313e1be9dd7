"""The ledger in memory: caps across customers, pause switches, the burst breaker."""

from datetime import datetime, timedelta
from statistics import median

from tests.oracle import past_asks, signals
from tests.oracle.signals import DAY
from tests.oracle.world import Customer, Opportunity, Reason, Row, World

Scope = tuple[str, str]
BURST = "burst breaker"


def ledger_denial(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> Reason | None:
    """Why the ledger refuses, by the first gate that does."""
    policy, account = world.policy, signals.account(customer.known)
    email_hmac = signals.profile_value(customer.known, "email_hmac")
    segment = signals.profile_value(customer.known, "segment")
    scopes = scopes_of(world, opportunity.trigger, segment)
    by_people = [scope for scope in scopes if is_on(world, scope)]
    if by_people:
        world.refused[by_people[0]].add(customer.id)
        return {"gate": "paused", "answer": "until_event", "until": "control.resumed"}
    if over := burst_until(world, opportunity.trigger, now):
        world.refused["trigger", opportunity.trigger].add(customer.id)
        return {"gate": "paused", "answer": "until", "until": over}
    per_person, gap, per_account = (
        policy[name] * DAY for name in ("customer_cap_days", "account_gap_days", "account_cap_days")
    )
    same_person = [at + per_person for at in reserved(world, "hmacs", email_hmac)]
    if same_person and now < max(same_person):
        return {"gate": "overasking", "answer": "until", "until": max(same_person)}
    same_account = reserved(world, "accounts", account)
    ends = [at + gap for at in same_account[-1:]]
    if len(same_account) >= policy["account_cap"]:
        ends.append(same_account[-policy["account_cap"]] + per_account)
    if ends and now < max(ends):
        return {"gate": "account", "answer": "until", "until": max(ends)}
    return None


def reserved(world: World, by: str, name: str | None) -> list[datetime]:
    """When asks were reserved for this account or e-mail, oldest first; the released ones do not count."""
    if name is None:
        return []
    ours = [r["at"] for r in world.reservations if name in r[by] and not was_released(world, r)]
    return sorted([*ours, *(at for (_, at), r in world.elsewhere.items() if name in r[by])])


def note_ask_of_others(world: World, customer: Customer, event: Row) -> None:
    """It counts for the account and the address that are known now (§11.27)."""
    if event["type"] == "advocacy.asked" and event["data"]["kind"] == "referral":
        row = world.elsewhere.setdefault((customer.id, event["time"]), {"accounts": set(), "hmacs": set()})
        row["accounts"].add(signals.account(customer.known))
        row["hmacs"].add(signals.profile_value(customer.known, "email_hmac"))


def was_released(world: World, reservation: Row) -> bool:
    return past_asks.was_released(world.home(reservation["customer"]).known, reservation["id"], reservation["at"])


def learn_later(world: World, customer: Customer, now: datetime) -> None:
    """What is known of a customer now counts for their earlier asks too; what was known goes on counting."""
    account, email_hmac = signals.account(customer.known), signals.profile_value(customer.known, "email_hmac")
    for r in world.reservations:
        if world.home(r["customer"]) is not customer or was_released(world, r):
            continue
        if account is not None and now < r["at"] + max(world.policy[n] for n in ACCOUNT_PERIODS) * DAY:
            r["accounts"].add(account)
        if email_hmac is not None and now < r["at"] + world.policy["customer_cap_days"] * DAY:
            r["hmacs"].add(email_hmac)


ACCOUNT_PERIODS = ("account_gap_days", "account_cap_days")


# Switches


def scopes_of(world: World, trigger: str, segment: str | None) -> list[Scope]:
    """The switches that concern a request, the widest first; every segment's, where the segment is unknown."""
    segments = [("segment", segment)] if segment else sorted(s for s in world.switches if s[0] == "segment")
    return [("all", ""), ("trigger", trigger), *segments]


def is_on(world: World, scope: Scope) -> bool:
    """Whether a person's pause stands: the newest word, at one time the pause."""
    return scope in world.switches and max(world.switches[scope])[1]


def burst_until(world: World, trigger: str, now: datetime) -> datetime | None:
    """The end of the breaker's pause, if it stands: a newer resumption ends it, a person's pause takes its place."""
    since = world.bursts.get(trigger)
    if since is None or is_on(world, ("trigger", trigger)):
        return None
    lifted = any(
        not on and stamp > (since, True, BURST, "") for stamp, on in world.switches.get(("trigger", trigger), ())
    )
    over = since + timedelta(hours=world.policy["burst_pause_hours"])
    return None if lifted or now >= over else over


def concerned(world: World, scope: Scope, now: datetime) -> list[str]:
    """Whom a switch is passed on to, in the order of ids: nobody knows yet whether their ask was sent."""
    found = set()
    for r in world.reservations:
        if scope not in scopes_of(world, r["trigger"], r["segment"]):
            continue
        known = world.home(r["customer"]).known
        heard = was_released(world, r) and not past_asks.fails_now(known, r["id"], now)  # at the end of the instant
        if past_asks.was_sent(known, r["id"], r["at"]) or heard:
            continue
        if now < r["at"] + 8 * DAY:
            found.add(r["customer"])
    return sorted(found)


# The burst breaker


def report_opening(world: World, trigger: str, now: datetime) -> bool:
    """Counts it; whether it is one too many in its UTC hour. What a resumption has excused counts no more."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    world.openings[trigger, hour] += 1
    before = [world.openings.get((trigger, hour - n * timedelta(hours=1)), 0) for n in range(1, 25)]
    counted = world.openings[trigger, hour] - world.excused.get((trigger, hour), 0)
    if counted <= max(world.policy["burst_floor"], world.policy["burst_factor"] * median(before)):
        return False
    if is_on(world, ("trigger", trigger)) or burst_until(world, trigger, now):
        return False
    world.refused["trigger", trigger].clear()
    world.bursts[trigger] = now
    return True


def excuse_openings(world: World, trigger: str, now: datetime) -> None:
    """A resumption starts the count of its hour afresh, or the next opening would pause again."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    world.excused[trigger, hour] = world.openings[trigger, hour]
