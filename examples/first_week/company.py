"""Tidewater Payroll, a company that does not exist: its customers as a CRM exports them, and a quarter of their events.

    python examples/first_week/company.py customers > customers.csv      # as of 30 June 2026
    python examples/first_week/company.py quarter > quarter.jsonl        # July to September 2026, a recorded log

The same output every time. What is made up is who they are; the shapes are those of real exports: a byte order mark,
semicolons, quoted line ends, days first, yes and no in several spellings, blanks, and somebody who is there twice.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

NAMES = (
    "Ana Brook", "Ben Carter", "Carla Dune", "Deniz Elm", "Emma Fern", "Finn Grove", "Greta Hill", "Henk Isle",
    "Ida Jetty", "Jonas Knoll", "Kim Lake", "Lena Marsh", "Milo North", "Nora Oak", "Otto Pine", "Paula Quay",
    "Quentin Reed", "Rosa Shore", "Sven Tarn", "Tilda Upton", "Umar Vale", "Vera Wood", "Willem Yarrow", "Xenia Ash",
    "Yusuf Bay", "Zoe Cove", "Arno Dale", "Bea Edge", "Cem Field", "Dora Glen", "Edo Heath", "Fay Inlet", "Gus Jarrow",
    "Hana Kelp", "Ivo Ledge", "Jana Moor", "Karl Ness", "Lotte Orchard", "Max Pond", "Nele Ridge",
)  # fmt: skip
HEADER = (
    "Customer ID", "Name", "Email", "Company ID", "Segment", "Time zone", "Created", "Onboarded", "First payroll run",
    "Last NPS score", "Last NPS date", "Referral consent", "Opted out", "Open ticket IDs", "Last referral ask", "Notes",
)  # fmt: skip
ZONES = ("Europe/Berlin", "Europe/London", "America/New_York", "Europe/Berlin", "+02:00")
SEGMENTS = ("Small business", "Small business", "Enterprise", "Charity")
EXPORTED = date(2026, 6, 30)
JULY = datetime(2026, 7, 1, 9, 0, tzinfo=UTC)


def customer(number: int) -> str:
    return f"cus-{number + 1:02d}"


def row(number: int) -> tuple[str, ...]:
    name = NAMES[number]
    first, last = name.lower().split()
    created = EXPORTED - timedelta(days=45 + 37 * number % 900)
    onboarded = created + timedelta(days=3 + number % 9)
    run = onboarded + timedelta(days=4 + number % 5)
    scored = EXPORTED - timedelta(days=20 + 11 * number % 70)
    return (
        customer(number), name, f"{first}@{last}.example", f"acc-{number // 2 + 1:02d}", SEGMENTS[number % 4],
        ZONES[number % 5], f"{created:%d/%m/%Y}", "" if number in (12, 25, 38) else f"{onboarded:%d/%m/%Y}",
        "" if number in (10, 21, 32) else f"{run:%d/%m/%Y}", ("", "8", "9", "7", "10", "3")[number % 6],
        f"{scored:%d/%m/%Y}" if number % 6 else "", ("yes", "Y", "true", "yes", "", "no")[number % 6],
        {7: "yes", 14: "12/05/2026", 21: "asked us to stop"}.get(number, ""),
        {9: "4711", 16: "4720, 4731"}.get(number, ""),
        f"{EXPORTED - timedelta(days=30):%d/%m/%Y}" if number in (3, 13, 23, 33) else "",
        "" if number else "likes to talk\nin the morning",
    )  # fmt: skip


def customers() -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(HEADER)
    writer.writerows(row(number) for number in range(len(NAMES)))
    writer.writerow(row(0))
    return "\ufeff" + text.getvalue()


def told(topic: str, number: int, when: datetime, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    time = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "specversion": "1.0",
        "id": f"{kind}-{number}-{time}",
        "source": "tidewater",
        "type": kind,
        "subject": customer(number),
        "time": time,
        "data": data,
    }
    return {"topic": topic, "timestamp": time, "key": customer(number), "value": event}


def quarter() -> Iterator[dict[str, Any]]:
    for number in range(len(NAMES)):
        when = JULY + timedelta(days=number * 2 + 1, hours=number % 7)
        yield told("product-usage", number, when - timedelta(days=1), "workflow.completed", {"name": "payroll run"})
        score = (10, 9, 8, 9, 10, 4)[(number * 5 + 1) % 6]
        yield told("nps", number, when, "nps.responded", {"response_id": f"july-{number}", "score": score})
        if number % 8 == 1:
            ticket = {"ticket_id": str(5000 + number)}
            yield told("support", number, when - timedelta(hours=2), "ticket.opened", ticket)
            yield told("support", number, when + timedelta(days=2), "ticket.solved", {**ticket, "rating": "positive"})


def main() -> None:
    if sys.argv[1:] == ["customers"]:
        sys.stdout.buffer.write(customers().encode())
    elif sys.argv[1:] == ["quarter"]:
        for line in sorted(quarter(), key=lambda each: str(each["timestamp"])):
            print(json.dumps(line))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
