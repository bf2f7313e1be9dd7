"""After §4, and the ledger's part of it (§5, §10): one grant per referral, ever.

A grant is `held` (a person must approve), `due` (it will be asked for at `due_at`), `asked` (the ledger has not
answered), `granted`, `denied` or `reversed`.
"""

from datetime import datetime, timedelta
from typing import Any

from tests.oracle import followups, signals
from tests.oracle.records import Event, cloud_event, shown, uid
from tests.oracle.signals import DAY, newest, of, referral_given, referral_statuses, stamp
from tests.oracle.world import Customer, Row, World

HOUR = timedelta(hours=1)
VALUES = ("programme", "kind", "amount_minor", "currency", "benefit")
A_YEAR = 365 * DAY


# Programmes and offers


def programme_of(customer: Customer, policy: Row) -> Row | None:
    """The segment's, else the default segment's, else none."""
    programmes, default = policy["rewards"]["programmes"], policy["rewards"]["default_segment"]
    for segment in (signals.profile_value(customer.known, "segment"), default):
        if segment in programmes:
            values = {"programme": segment, **programmes[segment]}
            return {name: values[name] for name in VALUES if values.get(name) is not None}
    return None


def offer_of(world: World, customer: Customer, now: datetime) -> Row | None:
    """What an ask of now may offer; nothing where no more would be granted."""
    lately = [g for g in customer.grants if g["state"] == "granted" and now < g["asked_at"] + A_YEAR]
    if not world.policy["rewards"]["enabled"] or len(lately) >= world.policy["rewards"]["per_customer"]:
        return None
    return programme_of(customer, world.policy)


def granted(customer: Customer, referral: str) -> Row | None:
    return next((g for g in customer.grants if (g["referral"], g["state"]) == (referral, "granted")), None)


def is_asked_for(customer: Customer, referral: str) -> bool:
    return any((g["referral"], g["state"]) == (referral, "asked") for g in customer.grants)


def told_of(grant: Row) -> dict[str, str]:
    """The variables of a message that says so."""
    names = {"kind": "reward_kind", "amount_minor": "amount_minor", "currency": "currency", "benefit": "benefit"}
    return {said: written(grant["offer"][name]) for name, said in names.items() if name in grant["offer"]}


def written(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


# A grant's life


def look_for_grant(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """Makes the grant of a referral that is converted for the first time since it was given."""
    referral, rules = event["data"]["referral_id"], world.policy["rewards"]
    conversion = newest(referral_statuses(customer.known, referral))
    if not referral_given(customer.known, referral) or referral in customer.converted_once:
        return
    if conversion is None or conversion["data"]["status"] != "converted":
        return
    customer.converted_once.add(referral)
    since = rules["active_since"]
    historical = conversion["historical"] or (since is not None and conversion["time"] < since)
    ask = followups.attributed_ask(customer, referral)
    offer = (ask or {}).get("offer") or programme_of(customer, world.policy)
    if historical or not rules["enabled"] or offer is None or world.policy["shadow"]:
        return
    grant = {
        "id": uid("grant", customer.id, referral),
        "customer": customer.id,
        "account": signals.account(customer.known),
        "referral": referral,
        "offer": offer,
        "hints": hints(world, customer, referral),
        "state": "due",
        "not_before": conversion["time"] + rules["holding_days"] * DAY,
        "told": False,
        "settled": None,
        "failure_read": False,
    }
    customer.grants.append(grant)
    if grant["hints"]:
        hold(world, customer, grant, now)
    else:
        become_due(grant, now)


def hints(world: World, customer: Customer, referral: str) -> list[str]:
    """Why a person should look first, from what is known now."""
    contacts = [event["data"]["contact"] for event in referral_given(customer.known, referral)]
    ask = followups.attributed_ask(customer, referral)
    found = []
    for name, hint in (("email_hmac", "own_email"), ("domain_hmac", "same_domain")):
        own = signals.profile_value(customer.known, name)
        alike = own is not None and any(contact.get(name) == own for contact in contacts)
        if alike and not (hint == "same_domain" and ask and ask["mode"] == "same_company"):
            found.append(hint)
    first: dict[str, datetime] = {}
    for event in of(customer.known, "referral.given"):
        first.setdefault(event["data"]["referral_id"], event["time"])
    if sum(abs(at - first[referral]) < DAY for at in first.values()) > world.policy["rewards"]["rate"]:
        found.append("rate")
    return found


def hold(world: World, customer: Customer, grant: Row, now: datetime) -> None:
    lasts = world.policy["rewards"]["approval_days"] * DAY
    grant.update(state="held", held_at=now, lapses_at=now + lasts)
    more = {"held_at": shown(now), "lapses_at": shown(now + lasts), "hints": grant["hints"]}
    tell(world, grant, "held", now, {**more, **grant["offer"]})
    variables = {"grant_id": grant["id"], "hints": ",".join(grant["hints"])}
    followups.request(
        world, customer, "approve_reward", now, due=now + 48 * HOUR, since=now, variables=variables,
        referral=grant["referral"], expires_at=now + lasts,
    )  # fmt: skip


def become_due(grant: Row, now: datetime) -> None:
    """It is asked for once all that arrives at that instant is known."""
    grant.update(state="due", due_at=max(now, grant["not_before"]))


def ask_if_due(world: World, customer: Customer, grant: Row, now: datetime) -> None:
    if grant["state"] == "due" and now >= grant["due_at"] and not has_enough_as_one(world, customer, now):
        grant.update(state="asked", asked_at=now, account=signals.account(customer.known))
        world.asked_for.append((customer, grant))


def has_enough_as_one(world: World, customer: Customer, now: datetime) -> bool:
    """Whether one who was several has all that one may have (identity §3); the ledger counts them apart."""
    lately = [g for g in customer.grants if g["state"] == "granted" and now < g["asked_at"] + A_YEAR]
    as_several = any(grant["customer"] != customer.id for grant in lately)
    return as_several and len(lately) >= world.policy["rewards"]["per_customer"]


def take_judgement(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """Until it is granted the newest word of a person counts."""
    about = event["data"]["grant_id"]
    words = of(customer.known, "reward.approved", "reward.rejected")
    counting = [e for e in words if e["data"]["grant_id"] == about and e["counts"]]
    grant = next((g for g in customer.grants if g["id"] == about), None)
    if grant is None or grant["state"] not in ("held", "due", "asked") or newest(counting) is not event:
        return
    if event["type"] == "reward.rejected":
        deny(world, customer, grant, "not_approved", now)
    elif grant["state"] == "held":
        become_due(grant, now)


def time_passes(world: World, customer: Customer, now: datetime) -> None:
    in_order = sorted(customer.grants, key=lambda g: str(g["referral"]))
    for grant in in_order:
        if grant["state"] == "held" and now >= grant["lapses_at"]:
            deny(world, customer, grant, "not_approved", now)
    for grant in in_order:
        ask_if_due(world, customer, grant, now)


def take_status(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """Refunded or rejected: nothing is granted any more, and what was is taken back, once."""
    status, referral = event["data"]["status"], event["data"]["referral_id"]
    if status not in ("refunded", "rejected") or newest(referral_statuses(customer.known, referral)) is not event:
        return
    quietly = followups.is_historical(world, event)
    for grant in [g for g in customer.grants if g["referral"] == referral]:
        if grant["state"] in ("held", "due", "asked"):
            deny(world, customer, grant, status, now, quietly=quietly)
        elif grant["state"] == "granted":
            grant["state"] = "reversed"
            release(world, grant)
            tell(world, grant, "reversed", now, {"reason": status, "reversed_at": shown(now)})
            if not quietly:
                have_read(world, customer, grant, status, now)


def deny(world: World, customer: Customer, grant: Row, reason: str, now: datetime, *, quietly: bool = False) -> None:
    grant["state"] = "denied"
    tell(world, grant, "denied", now, {"reason": reason, "denied_at": shown(now)})
    if not quietly:
        have_read(world, customer, grant, reason, now)


def have_read(world: World, customer: Customer, grant: Row, reason: str, now: datetime) -> None:
    """A person says it, if anybody does."""
    variables = {"grant_id": grant["id"], "reason": reason}
    followups.request(
        world, customer, "read_reward", now, due=now + 48 * HOUR, since=now, variables=variables,
        referral=grant["referral"],
    )  # fmt: skip


def forget(world: World, customer: Customer, now: datetime) -> None:
    """The referrer is erased: what is not granted is denied; what was keeps its contact."""
    for grant in sorted(customer.grants, key=lambda g: str(g["referral"])):
        if grant["state"] in ("held", "due", "asked"):
            deny(world, customer, grant, "erased", now, quietly=True)


def take_settlement(world: World, customer: Customer, event: Event, now: datetime) -> None:
    grant = next((g for g in customer.grants if g["id"] == event["data"]["grant_id"]), None)
    if grant is None or not event["counts"]:
        return
    about = [e for e in of(customer.known, "reward.settled") if e["data"]["grant_id"] == grant["id"] and e["counts"]]
    if newest(about) is not event:
        return
    grant["settled"] = event["data"]["status"]
    if grant["settled"] == "failed" and not grant["failure_read"] and not followups.is_historical(world, event):
        grant["failure_read"] = True
        variables = {"grant_id": grant["id"]}
        if "reference" in event["data"]:
            variables["reference"] = event["data"]["reference"]
        followups.request(
            world, customer, "reward_failed", now, due=now + 24 * HOUR, since=now, variables=variables,
            referral=grant["referral"],
        )  # fmt: skip


def tell(world: World, grant: Row, what: str, now: datetime, more: Row) -> None:
    body = {
        "grant_id": grant["id"],
        "referral_id": grant["referral"],
        "customer_id": grant["customer"],
        "account_id": grant["account"],
        **more,
    }
    body = {name: value for name, value in body.items() if value is not None}
    kind = f"referral.reward.{what}"
    world.result.rewards.append(cloud_event(kind, uid(kind, grant["id"]), grant["customer"], now, body))


# The ledger


def answers_of_the_ledger(world: World, now: datetime) -> list[tuple[Customer, Row]]:
    """Answers what was asked for, by (customer, grant id): the grants that are given or refused now."""
    waiting = sorted(world.asked_for, key=lambda item: (item[1]["customer"].encode(), item[1]["id"]))
    world.asked_for = []
    answered = []
    for customer, grant in waiting:
        if grant["state"] != "asked":
            continue
        keys = keys_of(customer, grant["referral"])
        refusal = why_refused(world, grant, keys, now)
        answered.append((customer, grant))
        if refusal:
            deny(world, customer, grant, refusal, now)
            continue
        names = ("id", "customer", "referral", "account")
        world.given_grants.append({**{name: grant[name] for name in names}, "keys": keys, "at": now, "released": False})
        grant.update(state="granted", granted_at=now)
        tell(world, grant, "granted", now, {**grant["offer"], "granted_at": shown(now)})
    return answered


def keys_of(customer: Customer, referral: str) -> set[str]:
    contacts = [event["data"]["contact"] for event in referral_given(customer.known, referral)]
    return {contact[name] for contact in contacts for name in ("ref_hmac", "email_hmac") if name in contact}


Claim = tuple[datetime, str, str, str]  # since when, customer, referral, key


def claims(world: World) -> list[Claim]:
    """Who named whom, and since when, worked out from everything that was said; what was released is none."""
    found: list[Claim] = []
    for customer in world.customers.values():
        if customer.merged_into is None and not of(customer.known, "customer.erasure_requested"):
            for referral in {e["data"]["referral_id"] for e in of(customer.known, "referral.given")}:
                found += claims_of(customer, referral)
    return found


def claims_of(customer: Customer, referral: str) -> list[Claim]:
    since: dict[str, datetime] = {}
    keys: set[str] = set()
    so_far: list[Event] = []
    made_with = referral_given(customer.known, referral)[0]["applied_to"]
    told = referral_given(customer.known, referral) + referral_statuses(customer.known, referral)
    for event in sorted(told, key=lambda e: int(e["order"])):
        if event["type"] == "referral.given":
            contact = event["data"]["contact"]
            keys |= {contact[name] for name in ("ref_hmac", "email_hmac") if name in contact}
        else:
            so_far.append(event)
        last = max(so_far, key=stamp, default=None)
        if last and last["data"]["status"] in ("rejected", "refunded"):
            since = {}
        else:
            now: datetime = event["arrived"]
            since = {key: since.get(key, now) for key in keys}
    return [(at, made_with, referral, key) for key, at in since.items()]


def why_refused(world: World, grant: Row, keys: set[str], now: datetime) -> str | None:
    rules, mine = world.policy["rewards"], (grant["customer"], grant["referral"])
    lasts = rules["claim_days"] * DAY
    own = [(now, *mine, key) for key in keys]
    counting = [claim for claim in claims(world) if now < claim[0] + lasts]
    counting += [claim for claim in own if claim[1:] not in {other[1:] for other in counting}]
    for key in keys:
        if min(claim for claim in counting if claim[3] == key)[1:3] != mine:
            return "duplicate"
    if min(claim[:2] for claim in counting if claim[2] == mine[1])[1] != mine[0]:
        return "duplicate"
    held = [g for g in world.given_grants if not g["released"] and now < g["at"] + lasts]
    others = [g for g in held if (g["customer"], g["referral"]) != mine]
    if any(g["keys"] & keys or g["referral"] == mine[1] for g in others):
        return "duplicate"
    counted = [g for g in world.given_grants if not g["released"] and now - A_YEAR < g["at"] <= now]
    if sum(g["customer"] == mine[0] for g in counted) >= rules["per_customer"]:
        return "customer_cap"
    account = grant["account"]
    if account is not None and sum(g["account"] == account for g in counted) >= rules["per_account"]:
        return "account_cap"
    return None


def release(world: World, grant: Row) -> None:
    for one in world.given_grants:
        if one["id"] == grant["id"]:
            one["released"] = True
