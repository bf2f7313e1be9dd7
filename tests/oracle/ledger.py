"""The ledger in memory: caps across customers, pause switches, the burst breaker."""

from datetime import datetime, timedelta
from statistics import median

from tests.oracle import past_asks, signals
from tests.oracle.signals import DAY
from tests.oracle.world import Customer, Opportunity, Reason, World


def ledger_denial(world: World, customer: Customer, opportunity: Opportunity, now: datetime) -> Reason | None:
    """Why the ledger refuses, by the first gate that does."""
    policy, account = world.policy, signals.account(customer.known)
    email_hmac = signals.profile_value(customer.known, "email_hmac")
    standing = pauses(world, customer, opportunity.trigger)
    if standing:
        world.refused[standing[0]].add(customer.id)
        return {"gate": "paused", "answer": "until_event", "until": "control.resumed"}
    per_person, gap, per_account = (
        policy[name] * DAY for name in ("customer_cap_days", "account_gap_days", "account_cap_days")
    )
    same_person = [at + per_person for at in reserved(world, "hmac", email_hmac)]
    if same_person and now < max(same_person):
        return {"gate": "overasking", "answer": "until", "until": max(same_person)}
    same_account = reserved(world, "account", account)
    ends = [at + gap for at in same_account[-1:]]
    if len(same_account) >= policy["account_cap"]:
        ends.append(same_account[-policy["account_cap"]] + per_account)
    if ends and now < max(ends):
        return {"gate": "account", "answer": "until", "until": max(ends)}
    return None


def reserved(world: World, by: str, name: str | None) -> list[datetime]:
    """When asks were reserved for this account or e-mail, oldest first; the released ones do not count."""
    return [
        r["at"]
        for r in world.reservations
        if name is not None
        and r[by] == name
        and not past_asks.was_released(world.customers[r["customer"]].known, r["id"], r["at"])
    ]


def pauses(world: World, customer: Customer, trigger: str) -> list[tuple[str, str]]:
    """The switches that stop this request, the widest first."""
    segment = signals.profile_value(customer.known, "segment") or ""
    scopes = (("all", ""), ("trigger", trigger), ("segment", segment))
    return [scope for scope in scopes if is_on(world, scope)]


def is_on(world: World, scope: tuple[str, str]) -> bool:
    return scope in world.switches and max(world.switches[scope])[1]


def report_opening(world: World, trigger: str, now: datetime) -> None:
    """Counts it; too many in one UTC hour pause the trigger. What a resumption has excused counts no more."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    world.openings[trigger, hour] += 1
    before = [world.openings.get((trigger, hour - n * timedelta(hours=1)), 0) for n in range(1, 25)]
    counted = world.openings[trigger, hour] - world.excused.get((trigger, hour), 0)
    if counted > max(world.policy["burst_floor"], world.policy["burst_factor"] * median(before)):
        if not is_on(world, ("trigger", trigger)):
            world.refused["trigger", trigger].clear()
        world.switches["trigger", trigger].append(((now, "burst breaker", ""), True))


def excuse_openings(world: World, trigger: str, now: datetime) -> None:
    """A resumption starts the count of its hour afresh, or the next opening would pause again."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    world.excused[trigger, hour] = world.openings[trigger, hour]
