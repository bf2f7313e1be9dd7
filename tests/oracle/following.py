"""Small logs of what follows an ask: Ada, promoter of Tuesday 10:00 in Berlin, is asked at 10:20; sent at 10:21."""

from datetime import datetime, timedelta
from typing import Any

from tests.oracle.records import shown, uid
from tests.oracle.telling import Body, a_customer, at, fact, nps, play
from tests.oracle.world import Result

T = at("Tue 10:00")
ELEVEN = at("Tue 11:00")
HOUR, MINUTE, MS = timedelta(hours=1), timedelta(minutes=1), timedelta(milliseconds=1)
COMMAND = uid("command", "ada", "nps_promoter", "r1", 1)
CREDIT: Body = {"kind": "credit", "amount_minor": 5000, "currency": "EUR"}
PAID: Body = {"enabled": True, "default_segment": "smb", "programmes": {"smb": CREDIT}}
PAST: Body = {"historical": "true"}


def asked_ada(*facts: Body, until: datetime | None = None, policy: Body | None = None, **profile: Any) -> Result:
    """Ada is asked, and these facts follow."""
    return play([*a_customer(T, **profile), nps(T), acked(at("Tue 10:21")), *facts], until, **(policy or {}))


def unasked_ada(*facts: Body, until: datetime | None = None, policy: Body | None = None, **profile: Any) -> Result:
    return play([*a_customer(T, **profile), *facts], until, **(policy or {}))


def acked(when: datetime, command: str = COMMAND, status: str = "sent", **more: Any) -> Body:
    return fact("ask.acknowledged", when, {"command_id": command, "status": status}, **more)


def said(when: datetime, word: str, command: str = COMMAND, **more: Any) -> Body:
    return fact("ask.answered", when, {"command_id": command, "answer": word}, **more)


def given(
    when: datetime, referral: str = "f1", ref: str | None = None, command: str | None = None, who: str = "ada",
    consented: bool = True, contact: Body | None = None, **more: Any,
) -> Body:  # fmt: skip
    about = {"ref_hmac": ref or f"hmac of {referral}", "consented": consented} | (contact or {})
    body = {"referral_id": referral, "contact": about} | ({"command_id": command} if command else {})
    return fact("referral.given", when, body, who=who, **more)


def status(
    when: datetime, what: str, referral: str = "f1", who: str = "ada", deal: Body | None = None, **more: Any
) -> Body:
    told = {"referral_id": referral, "status": what} | (deal or {})
    return fact("referral.status_changed", when, told, who=who, **more)


def judged(when: datetime, word: str, referral: str = "f1", who: str = "ada", **more: Any) -> Body:
    return fact(f"reward.{word}", when, {"grant_id": uid("grant", who, referral), "by": "lead"}, who=who, **more)


def settled(when: datetime, word: str, referral: str = "f1", who: str = "ada", **body: Any) -> Body:
    return fact("reward.settled", when, {"grant_id": uid("grant", who, referral), "status": word} | body, who=who)


def consent(when: datetime, granted: bool, channel: str = "all", **more: Any) -> Body:
    body = {"purpose": "referral_ask", "channel": channel, "granted": granted}
    return fact("customer.consent_changed", when, body, **more)


def followup(kind: str, about: str = COMMAND, n: int = 1, who: str = "ada") -> str:
    return uid("followup", who, about, kind, n)


def follow(result: Result, *kinds: str, who: str = "ada") -> list[tuple[str, str, str]]:
    """(kind, `+` or the reason of its cancellation, when), of these kinds or of all."""
    rows = [row for row in result.followups if row["subject"] == who]
    rows = [row for row in rows if not kinds or row["data"]["kind"] in kinds]
    return [(row["data"]["kind"], row["data"].get("reason", "+"), row["time"]) for row in rows]


def body(result: Result, kind: str, n: int = 1, who: str = "ada") -> Body:
    rows = [row for row in result.followups if row["type"].endswith("requested") and row["subject"] == who]
    bodies: list[Body] = [row["data"] for row in rows if row["data"]["kind"] == kind]
    return bodies[n - 1]


def rewards(result: Result, who: str = "ada") -> list[tuple[str, str, str]]:
    """(what, the reason if it has one, when)."""
    rows = [row for row in result.rewards if row["subject"] == who]
    return [(row["type"].rpartition(".")[2], row["data"].get("reason", ""), row["time"]) for row in rows]


def record(result: Result, who: str = "ada") -> Body:
    found: Body = next(row["data"] for row in result.records if row["subject"] == who)
    return found


def requested(kind: str, when: datetime) -> tuple[str, str, str]:
    return kind, "+", shown(when)


def ended(kind: str, reason: str, when: datetime) -> tuple[str, str, str]:
    return kind, reason, shown(when)
