"""The recorded logs of docs/cookbook.md, one for each recipe, beside this file. The same every time.

    python examples/cookbook/logs.py

A line is one Kafka record: {"topic", "timestamp", "value"}, a CloudEvent as value. The header ``historical`` marks what
was known before: it changes what is known of a customer, and nobody is asked because of it.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

Line: TypeAlias = dict[str, Any]

HERE = Path(__file__).parent
BERLIN = "Europe/Berlin"
MONDAY = date(2026, 6, 15)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TOPICS = {"nps": "nps", "ticket": "support", "workflow": "product-usage", "usage": "product-usage",
          "milestone": "product-usage", "onboarding": "product-usage", "compliment": "relationship",
          "customer": "profile", "ask": "responses", "referral": "responses", "reward": "responses"}  # fmt: skip


def told(customer: str, type_: str, when: str, zone: str = BERLIN, *, history: bool = False, **data: Any) -> Line:
    """One event; ``when`` is a weekday of the week of 15 June 2026, or a date, and a wall time."""
    day, clock = when.split()
    if day in DAYS:
        day = (MONDAY + timedelta(days=DAYS.index(day))).isoformat()
    time = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
    instant = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    named = next((data[key] for key in ("response_id", "ticket_id", "referral_id", "reference") if key in data), "")
    event = {
        "specversion": "1.0",
        "id": "-".join(filter(None, (customer, type_, str(named), instant))),
        "source": "acme",
        "type": type_,
        "subject": customer,
        "time": instant,
        "data": data,
    }
    line: Line = {"topic": TOPICS[type_.partition(".")[0]], "timestamp": instant}
    return line | ({"headers": {"historical": "true"}} if history else {}) | {"value": event}


def customer(name: str, zone: str = BERLIN, **profile: Any) -> list[Line]:
    """Somebody who may be asked, and scores 55 before anything happens: 85 as a promoter."""
    known = {"time_zone": zone, "channels": {"email": True}, "account_id": f"team-{name[4:]}"} | profile
    return [
        told(name, "customer.signed_up", "2025-12-01 09:00", history=True),
        told(name, "customer.profile_changed", "2025-12-01 09:00", history=True, **known),
        told(name, "customer.consent_changed", "2025-12-01 09:01", history=True, purpose="referral_ask", channel="all",
             granted=True),
        told(name, "onboarding.completed", "2025-12-04 09:00", history=True),
        told(name, "milestone.reached", "2025-12-10 09:00", history=True, milestone="first-report", first_success=True),
        told(name, "usage.compared", "2026-01-12 09:00", history=True, above_average=True),
        told(name, "workflow.completed", "2026-01-13 09:00", history=True, name="report"),
        told(name, "workflow.completed", "2026-06-12 09:00", history=True, name="report"),
    ]  # fmt: skip


def promoter(name: str, when: str, score: int = 10, zone: str = BERLIN) -> Line:
    day = when.partition(" ")[0].lower()
    return told(name, "nps.responded", when, zone, response_id=f"{name[4:]}-{day}", score=score)


def support(name: str, ticket: str, opened: str, solved: str, rating: str) -> list[Line]:
    return [
        told(name, "ticket.opened", opened, ticket_id=ticket, priority="normal"),
        told(name, "ticket.solved", solved, ticket_id=ticket, rating=rating),
    ]


def referral(name: str, number: int, given: str, converted: str) -> list[Line]:
    named = f"ref-{number}"
    return [
        told(name, "referral.given", given, referral_id=named, contact={"ref": f"lead-{number}", "consented": False}),
        told(name, "referral.status_changed", converted, referral_id=named, status="converted"),
    ]


ACCOUNT = {"account_id": "acc-initech"}
GRANT_OF_REF_1 = "cdb3f728-353b-593e-8bfe-bfc70f390ab5"  # made of customer and referral: as the replay writes it
LETTERS = ("ana", "ben", "cem", "dora", "emil", "fay", "gus", "hana")
LOGS: dict[str, list[Line]] = {
    "start": [
        *customer("cus-ana"),
        *customer("cus-ben"),
        told("cus-ben", "ticket.opened", "Wed 16:00", ticket_id="4711", priority="normal"),
        promoter("cus-ana", "Thu 09:30"),
        promoter("cus-ben", "Thu 10:00", 9),
    ],
    "one_opportunity": [
        *customer("cus-ana"),
        promoter("cus-ana", "Thu 16:00"),
        *support("cus-ana", "4711", "Thu 19:00", "Fri 09:30", "positive"),
    ],
    "champions": [
        *customer("cus-ana", champion=True, **ACCOUNT),
        *customer("cus-ben", **ACCOUNT),
        promoter("cus-ben", "Tue 10:00"),
        promoter("cus-ana", "Tue 11:00", 9),
    ],
    "no_fridays": [
        *customer("cus-ana"),
        *customer("cus-ben"),
        promoter("cus-ana", "Thu 14:00"),
        promoter("cus-ben", "Fri 10:00"),
    ],
    "quiet_enterprise": [
        *customer("cus-ana", segment="smb"),
        *customer("cus-ben", segment="enterprise"),
        *(promoter(name, when) for when in ("2026-02-10 10:00", "Tue 10:00") for name in ("cus-ana", "cus-ben")),
    ],
    "new_trigger": [
        *customer("cus-ana"),
        *customer("cus-ben"),
        *(told("cus-ana", "workflow.completed", f"{day} 10:00", name="export") for day in ("Mon", "Tue", "Wed")),
        told("cus-ben", "workflow.completed", "Wed 11:00", name="export"),
        promoter("cus-ben", "Thu 10:00"),
    ],
    "support_only": [
        *customer("cus-ana"),
        *customer("cus-ben"),
        *support("cus-ana", "4711", "Mon 15:00", "Tue 10:00", "positive"),
        told("cus-ben", "compliment.given", "Tue 11:00", reference="post-1"),
    ],
    "two_wordings": [
        *(line for name in LETTERS[:4] for line in customer(f"cus-{name}")),
        *(promoter(f"cus-{name}", "Tue 10:00") for name in LETTERS[:4]),
    ],
    "hold_out": [
        *(line for name in LETTERS for line in customer(f"cus-{name}")),
        *(promoter(f"cus-{name}", "Tue 10:00") for name in LETTERS),
    ],
    "japan": [
        *customer("cus-aiko", "Asia/Tokyo"),
        *customer("cus-ben"),
        promoter("cus-aiko", "Tue 12:00"),
        promoter("cus-ben", "Tue 12:00"),
    ],
    "rewards": [
        *customer("cus-ana", segment="smb"),
        *customer("cus-ben", segment="enterprise"),
        *referral("cus-ana", 1, "Mon 09:00", "Mon 15:00"),
        *referral("cus-ana", 2, "Mon 09:30", "Tue 15:00"),
        *referral("cus-ben", 3, "Mon 10:00", "Wed 15:00"),
        told("cus-ana", "reward.approved", "Thu 10:00", grant_id=GRANT_OF_REF_1, by="sam"),
    ],
    "harm": [*customer("cus-ana"), promoter("cus-ana", "Tue 10:00")],
}  # fmt: skip


def text(name: str) -> str:
    """One log, oldest record first."""
    lines = sorted(LOGS[name], key=lambda line: str(line["timestamp"]))
    return "".join(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    for each in LOGS:
        (HERE / f"{each}.jsonl").write_text(text(each))
