"""What no producer should send, and some do: each kind a list of records, and what must become of every one.

All are of customers whom nobody may ask: their names begin with `odd-`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from referral_stream.core.instants import DAY
from tests.integration.live import Message, cloud_event
from tests.integration.test_bad_input import REFUSED, bad_message

FAT_TICKETS: Final = 12_000
_BROKEN: Final = b'{"specversion": "1.0", "id": "e'
_NULLED: Final = (
    "attempt",
    "ce_dataschema",
    "ce_id",
    "ce_source",
    "ce_specversion",
    "ce_subject",
    "ce_time",
    "ce_type",
    "content-type",
    "historical",
    "referral-source",
    "traceparent",
    "whatever",
)


@dataclass(frozen=True, slots=True)
class Poured:
    """A record; it must come to `customer-events` as the event `id`, or to `dead-letters`, or nowhere."""

    message: Message
    id: str = ""
    letter: bool = False


def poison(number: int, now: int) -> list[Poured]:
    """Everything that cannot be used, and what is nobody's business."""
    headers: dict[str, Any] = {
        "5,000 headers": tuple((f"h{n}", b"x") for n in range(5_000)),
        "one header of 400 KB": (("big", b"x" * 400_000),),
        "one name twice": (("now", b"1"), ("now", b"two")),
        "no text": (("traceparent", b"\xff\xfe"), ("content-type", b"\xff")),
        "null": (("traceparent", None), ("content-type", None)),
    }
    messages = [replace(bad_message(bad, place, now), key=b"") for place, bad in enumerate(REFUSED)]
    messages += [Message("nps", _BROKEN, b"", headers=each) for each in headers.values()]
    ahead = cloud_event("nps.responded", f"odd-{number}", now + 365 * DAY, {"response_id": "r", "score": 9})
    messages.append(Message("nps", orjson.dumps(ahead)))
    keyed = [replace(each, key=_key(number, place)) for place, each in enumerate(messages)]
    keyed.append(Message("support", _BROKEN, _key(number, len(keyed)) + b"k" * 400_000))
    keyed.append(Message("support", b'{"poison": %d}' % number))
    nobodys = cloud_event("coffee.brewed", f"odd-{number}", now, {"cups": 2})
    ignored = [Message("nps", None, b"odd"), Message("nps", orjson.dumps(nobodys), b"odd"), Message("profile", None)]
    return [Poured(each, letter=True) for each in keyed] + [Poured(each) for each in ignored]


def null_headers(number: int, now: int) -> list[Poured]:
    """Sound events, each with a header that has a name and no value: as good as without it."""
    return [_sound(f"odd-null-{number}", name, now, headers=((name, None),)) for name in _NULLED]


def fat_customer(number: int, now: int) -> list[Poured]:
    """One id for everybody whom a help desk does not know."""
    customer = f"odd-fat-{number}"
    return [_ticket(customer, place, now) for place in range(FAT_TICKETS)]


def _sound(customer: str, name: str, now: int, headers: Any) -> Poured:
    event = cloud_event("goal.achieved", customer, now, {"goal": name}, id=f"{customer}/{name}")
    return Poured(Message("profile", orjson.dumps(event), customer.encode(), headers), id=event["id"])


def _ticket(customer: str, place: int, now: int) -> Poured:
    ticket = {"ticket_id": f"{customer}/{place}"}
    event = cloud_event("ticket.opened", customer, now, ticket, id=f"{customer}/{place}")
    return Poured(Message("support", orjson.dumps(event), customer.encode()), id=event["id"])


def _key(number: int, place: int) -> bytes:
    return b"odd-%d-%d" % (number, place)
