"""Amplitude: events and users that it streams to a webhook in its own format, and the cohorts it syncs to one.

Names of events are the team's own, so of them only our types and opt-outs are read, and what a user's properties hold.
Being in a cohort is no activity; a cohort whose name says that its members opted out is the opt-out of each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.product_events import MAX_FEATURE, by_people, happened, readers
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    listed,
    made_id,
    profile,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import is_true, opted_out, with_opt_out
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

_USERS = ("user_id", "device_id", "amplitude_id")
_OF_EVENTS = ("event_properties", "user_properties", "event_time", "insert_id", "$insert_id", "time")
"""What an event has beside its type and its user, though it may be empty."""
_BRAZE = "users."
"""How the types of Braze's events begin, which have a time too: they need properties in Amplitude's words."""
_COHORT = ("cohort_id", "cohort_name", "in_cohort", "computed_time", "message_id")
_ACCOUNT_GROUPS = ("company", "organization", "account", "workspace", "customer")


def recognises(payload: Payload) -> bool:
    """An event or a user with properties in Amplitude's words, or a cohort's member."""
    if _is_of_cohort(payload):
        return True
    if not any(name in payload for name in _USERS):
        return False
    kind = payload.get("event_type")
    if isinstance(kind, str):
        return any(name in payload for name in _OF_EVENTS[: None if not kind.startswith(_BRAZE) else 2])
    return isinstance(payload.get("user_properties"), dict)


def split(body: Any) -> Sequence[Any]:
    """The members of a cohort, each with what is said of the cohort; or the events of a template that sends several."""
    if isinstance(body, dict) and isinstance(body.get("events"), list) and "event_type" not in body:
        return listed(body["events"])
    if not isinstance(body, dict) or not isinstance(users := body.get("users"), list) or not _is_of_cohort(body):
        return listed(body)
    shared = {name: body[name] for name in _COHORT if name in body}
    return [user | shared if isinstance(user, dict) else user for user in users]


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event, user or member of a cohort."""
    is_member = _is_of_cohort(payload)
    name = text_at(payload, "cohort_name" if is_member else "event_type") or ("cohort" if is_member else "$identify")
    facts: Facts
    if is_member:
        facts = (unlisted(name) or opted_out({"tag": name})) if is_true(payload.get("in_cohort")) else ()
    else:
        told = payload.get("event_properties")
        facts = by_people(happened(name, told), payload.get("user_agent"), about=(told,))
    address = _address(payload)
    who = id_at(payload, *_USERS)
    return about_whom(
        payload,
        reading,
        (*with_opt_out(facts, *_records(payload)), *profile(**reading.address_hmacs(address))),
        (
            ("email", address),
            *readers(facts, payload.get("event_properties")),
            ("amplitude_user", payload.get("amplitude_id")),
        ),
        kind=name[:MAX_FEATURE],
        id=made_id(id_at(payload, "message_id"), who)
        if is_member
        else id_at(payload, "uuid", "$insert_id", "insert_id"),
        time=time_at(payload, "computed_time") if is_member else time_at(payload, "event_time", "time"),
        account=id_at(payload, *(f"groups.{group}{first}" for group in _ACCOUNT_GROUPS for first in ("", ".0"))),
    )


def _is_of_cohort(payload: Payload) -> bool:
    return "in_cohort" in payload and "cohort_id" in payload


def _records(payload: Payload) -> tuple[Any, ...]:
    """Where state is held: of a user, also as the Identify API sets it, and of an event."""
    places = ("user_properties", "user_properties.$set", "user_properties.$setOnce", "event_properties")
    return tuple({"record": at(payload, place)} for place in places)


def _address(payload: Payload) -> Any:
    names = ("email", "Email", "$email", "email_address")
    places = (*(f"{held}.{name}" for held in ("user_properties", "user_properties.$set") for name in names), "email")
    return next((found for place in places if (found := at(payload, place)) is not None), None)


ADAPTER = Adapter(
    name="amplitude",
    marks=("event_type", "user_properties", "in_cohort", "events"),
    recognises=recognises,
    customer_paths=("user_id",),
    read=read,
    split=split,
    browser=True,
)
