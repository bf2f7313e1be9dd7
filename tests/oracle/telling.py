"""Small logs for the oracle's own tests, in words: June 2026 in Berlin (UTC+2), where the 18th is a Thursday."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.naive import decide
from tests.oracle.records import shown, uid
from tests.oracle.world import Result
from tests.worlds.customers import BERLIN, history

DATES = {
    "Tue": "2026-06-16",
    "Wed": "2026-06-17",
    "Thu": "2026-06-18",
    "Fri": "2026-06-19",
    "Sat": "2026-06-20",
    "Sun": "2026-06-21",
    "Mon": "2026-06-22",
    "next Tue": "2026-06-23",
    "next Fri": "2026-06-26",
}
Body = dict[str, Any]
DAY = timedelta(days=1)


def at(text: str, zone: str = BERLIN) -> datetime:
    """A day of `DATES` or a date, and a wall time, as an instant."""
    day, _, clock = text.rpartition(" ")
    return datetime.fromisoformat(f"{DATES.get(day, day)} {clock}").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def fact(kind: str, when: datetime, body: Body | None = None, *, who: str = "ada", arrives: datetime | None = None,
         id: str | None = None, headers: Body | None = None, **extensions: str) -> Body:  # fmt: skip
    value = {"specversion": "1.0", "type": kind, "source": "test", "subject": who, "time": shown(when), "data": body}
    value |= {"id": id or uid(kind, who, when, body)} | extensions
    operators = kind.startswith(("control.", "reward.")) or kind in ("ask.approved", "ask.rejected")
    topic = "responses" if operators else "facts"
    return {"topic": topic, "timestamp": shown(arrives or when), "value": value, "headers": headers or {}}


def a_customer(now: datetime, who: str = "ada", channels: str = "email", score: int = 95, **profile: Any) -> list[Body]:
    """Passes every gate from a minute before `now`; the score is 60 or 95, without NPS."""
    signals = ("first_success", "testimonial", "advice", *(("usage", "calls") if score == 95 else ()))
    facts = history(*signals, channels=channels.split(), **profile)
    return [fact(each.type, now - timedelta(milliseconds=each.age), each.body, who=who) for each in facts]


def nps(when: datetime, score: int = 9, response: str = "r1", **more: Any) -> Body:
    return fact("nps.responded", when, {"response_id": response, "score": score}, **more)


def renewed(when: datetime, **more: Any) -> Body:
    return fact("subscription.renewed", when, {"subscription_id": "s1", "invoice_id": "i1"}, **more)


def play(facts: list[Body], until: datetime | None = None, **policy: Any) -> Result:
    ordered = sorted(facts, key=lambda record: str(record["timestamp"]))
    return decide(ordered, until, {"holdout_share": 0, **policy})


def asked(result: Result) -> list[tuple[str, str]]:
    requested = [row for row in result.asks if row["type"] == "referral.ask.requested"]
    return [(row["data"]["trigger"], row["time"]) for row in requested]


def story(result: Result, trigger: str, since: datetime, who: str = "ada") -> list[tuple[str, str]]:
    """(outcome, instant) of what was decided about one trigger of a customer."""
    rows = [row["data"] for row in result.decisions if row["time"] >= shown(since) and row["subject"] == who]
    return [(row["outcome"], row["decided_at"]) for row in rows if row["trigger"] == trigger]


def blocking(row: Body) -> dict[str, Any]:
    reasons = row["data"]["reasons"]
    return {r["gate"]: r.get("until", r["answer"]) for r in reasons if r["answer"] != "pass"}
