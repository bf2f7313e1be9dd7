"""Print the history of a customer who is asked at once: key, tab, CloudEvent; the last one is from just now.

    python events.py cus-ana

They all go to one topic, any of the input topics, under one key, so they keep their order. Plain Python; it imports
nothing from `referral_stream`.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

LIFE: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (60, "customer.signed_up", {"trial": False}),
    (60, "customer.consent_changed", {"purpose": "referral_ask", "channel": "all", "granted": True}),
    (55, "onboarding.completed", {}),
    (50, "milestone.reached", {"milestone": "first-export", "first_success": True}),
    (0, "nps.responded", {"response_id": "first-ask", "score": 10, "comment": "It saves us hours every week."}),
)
"""Days ago, type, and data."""


def events(customer: str, now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "specversion": "1.0",
            "id": f"{customer}-{type_}",
            "source": "first-ask",
            "type": type_,
            "subject": customer,
            "time": (now - timedelta(days=days)).isoformat(timespec="milliseconds"),
            "data": data,
        }
        for days, type_, data in LIFE
    ]


if __name__ == "__main__":
    for event in events(sys.argv[1] if len(sys.argv) > 1 else "cus-ana", datetime.now(UTC)):
        print(event["subject"], json.dumps(event), sep="\t")
