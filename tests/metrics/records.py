"""Records as they are in the topic, with everything defaulted but the point."""

from __future__ import annotations

from typing import Any

from referral_stream.core.instants import DAY, parse_instant, rfc3339
from referral_stream.core.policy import Policy
from referral_stream.metrics.records import RecordBody, Records
from tests.builders import a_policy

Body = dict[str, Any]
NOW = parse_instant("2026-06-30T12:00:00Z")[0]
LONG_AGO = NOW - 120 * DAY
HALF = a_policy(holdout={"percent": 50})


def an_ask(
    command: str = "c1", *, at: int = LONG_AGO, kind: str = "asked", trigger: str = "nps_promoter", **more: Any
) -> Body:
    ask = {
        "command_id": command, "trigger": trigger, "template": "nps", "mode": "direct", "channel": "email",
        "kind": kind, "t0": rfc3339(at - 3_600_000), "asked_at": rfc3339(at), "decided_at": rfc3339(at + 250),
        "referrals": 0, "converted": 0,
    }  # fmt: skip
    return ask | more


def a_referral(name: str = "r1", *, at: int = LONG_AGO + DAY, command: str | None = None, **more: Any) -> Body:
    referral = {"referral_id": name, "consented": True, "referred_date": rfc3339(at)[:10], "status": "given"}
    return referral | ({} if command is None else {"command_id": command}) | more


def a_month(month: str = "2026-03", trigger: str = "nps_promoter", **counts: Any) -> Body:
    return {"month": month, "trigger": trigger, **counts}


def a_record(
    customer: str, *asks: Body, referrals: tuple[Body, ...] = (), months: tuple[Body, ...] = (), **more: Any
) -> Body:
    times = [ask["asked_at"] for ask in asks if ask["kind"] in ("asked", "soft")]
    history: Body = {"times_asked": len(times), "referrals_given": len(referrals), "referrals_converted": 0}
    if times:
        history |= {"first_asked_at": min(times), "last_asked_at": max(times)}
    record = {
        "customer_id": customer, "referral_history": history, "asks": list(asks), "referred_contacts": list(referrals),
        "months": list(months), "recorded_at": rfc3339(NOW), "policy": {"name": "default", "hash": "0"},
    }  # fmt: skip
    return record | more


def all_of(*records: RecordBody) -> Records:
    return Records((record["customer_id"], record) for record in records)


def two_arms(
    asked: tuple[int, int], held_out: tuple[int, int], *, trigger: str = "nps_promoter", harm: bool = False
) -> Records:
    """(successes, units) asked and held out: referrals, or trouble."""
    found = []
    for kind, (successes, units) in (("asked", asked), ("holdout", held_out)):
        for n in range(units):
            more = {"regret": True} if harm and n < successes else {}
            referrals = (a_referral(f"{kind}-{n}"),) if not harm and n < successes else ()
            ask = an_ask(f"{kind}-{n}", kind=kind, trigger=trigger, **more)
            found.append(a_record(f"{trigger}-{kind}-{n}", ask, referrals=referrals))
    return all_of(*found)


def together(*records: Records) -> Records:
    return all_of(*(record for each in records for record in each))


def a_trial(*, percent: float = 0, **templates: float) -> Policy:
    weights = templates or {"a": 1, "b": 1}
    trial = {"trigger": "nps_promoter", "templates": weights}
    return a_policy(holdout={"percent": percent}, experiments={"trial": trial})
