"""The job of every benchmark: a mix of canonical events, the same for a seed, from customers of whom some get asked.

90 % ``usage.recorded``, the rest over all types a customer can have. One customer in thirteen is eligible: signed up
months ago, onboarded, consenting, with a first success; most of those answer an NPS survey with 9 or 10, so that
opportunities open, reservations are made and asks go out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from referral_stream.contracts.catalogue import MESSAGES
from referral_stream.core.events import FACTS, WITHOUT_SUBJECT
from referral_stream.core.instants import HOUR, MINUTE, SECOND
from tests.contracts.examples import FACT_DATA
from tests.worlds.customers import history, profile
from tests.worlds.records import cloud_event

START = 1_781_596_800_000
"""Tuesday 2026-06-16 08:00 UTC: no Friday slot ahead of a survey's window, nobody's quiet hours in the zones below."""

EVENTS_PER_CUSTOMER = 10

USAGE_PERCENT = 90
ELIGIBLE_PER_MILLE = 75
"""Of the customers; also bounded by the events, so that small runs are not made of histories alone."""

_ZONES = ("Europe/Berlin", "Europe/Paris", "Europe/London", "Africa/Johannesburg", "Asia/Kolkata")
_FEATURES = ("reports", "invoices", "search", "export", "dashboards", "reminders", "approvals")

_SOURCES = {
    "product-usage": "https://app.example.com/tracking",
    "nps": "https://surveys.example.com/nps",
    "billing": "https://billing.example.com",
    "support": "https://support.example.com/tickets",
    "relationship": "https://crm.example.com/activity",
    "profile": "https://accounts.example.com",
    "responses": "https://outreach.example.com",
}
_OTHER_TYPES = tuple(sorted(fact.type for fact in FACTS if fact.type not in WITHOUT_SUBJECT | {"usage.recorded"}))
"""Without the operator's switches: a pause would make the job about nothing."""

_STRANGERS = 50_000_000
"""Numbers of customers from here on are nobody's in `mix`."""

_REFERENCES = ("reference", "peer_ref", "alias", "url")


class Sourced(NamedTuple):
    """A record for a source topic; ``topic`` is without prefix."""

    topic: str
    key: bytes
    value: bytes


def customer_id(number: int) -> str:
    return f"cus_{number:08d}"


def mix(events: int, customers: int | None = None, seed: int = 1, start: int = START) -> Iterator[Sourced]:
    """``events`` records in the order in which their producers send them; event times are near ``start`` (epoch ms).

    Without ``customers`` there are as many as make ten events each, whatever the size of the job.
    """
    rng = random.Random(seed)
    customers = customers or events // EVENTS_PER_CUSTOMER
    eligible = min(customers * ELIGIBLE_PER_MILLE // 1000, events * (100 - USAGE_PERCENT) // 100 // 12)
    histories = [planned for number in range(eligible) for planned in behind(rng, number)]
    surveys = [
        _Planned(0.3 + 0.7 * rng.random(), "nps.responded", number, _survey(rng, number), 30 * MINUTE)
        for number in range(eligible)
        if rng.random() < 0.8
    ]
    others = events * (100 - USAGE_PERCENT) // 100 - len(histories) - len(surveys)
    anything = [_anything(rng, rng.randrange(customers)) for _ in range(others)]
    usage = [
        _Planned(rng.random(), "usage.recorded", rng.randrange(customers), None, 0)
        for _ in range(events - len(histories) - len(surveys) - others)
    ]
    for planned in sorted(histories + surveys + anything + usage, key=lambda p: p.place):
        yield _record(rng, planned, start)


def promoters(count: int, seed: int = 3, start: int = START) -> tuple[list[Sourced], list[Sourced]]:
    """The histories of eligible customers, and a survey of each: 9 or 10, half an hour ago, so that it is settled.

    Each has an account of its own; none is a customer of `mix`.
    """
    rng = random.Random(seed)
    numbers = [_STRANGERS + number for number in range(2 * count) if number % 4 >= 2]
    histories = [planned._replace(place=0) for number in numbers for planned in behind(rng, number)]
    surveys = [_Planned(0, "nps.responded", number, _survey(rng, number), 30 * MINUTE) for number in numbers]
    return [_record(rng, planned, start) for planned in histories], [_record(rng, each, start) for each in surveys]


class _Planned(NamedTuple):
    """``place`` orders the job, from 0 to 1; ``age`` is how long ago it happened, in ms before the start."""

    place: float
    type: str
    customer: int
    body: dict[str, Any] | None
    age: int


def behind(rng: random.Random, number: int) -> Iterator[_Planned]:
    """What an eligible customer has behind them; all of it is sent in the first quarter of the job."""
    for fact in history("first_success", tenure_days=rng.randrange(60, 700), **_profile(rng, number)):
        yield _Planned(rng.random() / 4, fact.type, number, fact.body, fact.age)


def _profile(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "zone": rng.choice(_ZONES),
        "channels": ("email", "in_app") if rng.random() < 0.5 else ("email",),
        "locale": "en-GB",
        "segment": rng.choice(("smb", "smb", "enterprise", "mission_driven")),
        "account_id": f"acct_{number // 2:08d}" if number % 4 < 2 else f"acct_{number:08d}s",
        "email_hmac": f"{number:064x}",
    }


def _survey(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "response_id": f"rsp_{number:08d}",
        "score": rng.choice((9, 10)),
        "comment": "It saves us hours every week, and the support team is quick to help.",
    }


def _anything(rng: random.Random, number: int) -> _Planned:
    kind = rng.choice(_OTHER_TYPES)
    body = {
        name: f"{value}-{number}" if name.endswith("_id") or name in _REFERENCES else value
        for name, value in FACT_DATA[kind].items()
    }
    if kind == "customer.profile_changed":
        body = profile(**_profile(rng, number))
    elif kind == "nps.responded":
        body["score"] = rng.choice((3, 6, 7, 8, 9, 10))
    return _Planned(rng.random(), kind, number, body, rng.randrange(48) * HOUR if rng.random() < 0.2 else 0)


def _record(rng: random.Random, planned: _Planned, start: int) -> Sourced:
    topic = MESSAGES[planned.type].topic
    delay = round(rng.expovariate(1 / (20 * SECOND)))  # producers batch: most are seconds late, few are minutes
    body = planned.body
    if body is None:
        body = {"feature": rng.choice(_FEATURES), "count": rng.randrange(1, 20)}
    customer, time = customer_id(planned.customer), start - planned.age - delay
    name = f"evt_{rng.getrandbits(96):024x}"
    event = cloud_event(planned.type, customer, time, body, id=name, source=_SOURCES[topic])
    return Sourced(topic, customer.encode(), orjson.dumps(event | {"datacontenttype": "application/json"}))
