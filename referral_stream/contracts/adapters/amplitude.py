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

_IDS = ("user_id", "device_id", "amplitude_id")
_USERS = frozenset(_IDS)
_PROPERTIES = frozenset({"event_properties", "user_properties"})
_OF_EVENTS = _PROPERTIES | {"event_time", "insert_id", "$insert_id", "time"}
"""What an event has beside its type and its user, though it may be empty."""
_BRAZE = "users."
"""How the types of Braze's events begin, which have a time too: they need properties in Amplitude's words."""
_COHORT = ("cohort_id", "cohort_name", "in_cohort", "computed_time", "message_id")
_ACCOUNT_GROUPS = ("company", "organization", "account", "workspace", "customer")
_ACCOUNTS = tuple(f"groups.{group}{first}" for group in _ACCOUNT_GROUPS for first in ("", ".0"))


def recognises(payload: Payload) -> bool:
    """An event or a user with properties in Amplitude's words, or a cohort's member."""
    if _is_of_cohort(payload):
        return True
    if _USERS.isdisjoint(payload):
        return False
    kind = payload.get("event_type")
    if isinstance(kind, str):
        return not (_PROPERTIES if kind.startswith(_BRAZE) else _OF_EVENTS).isdisjoint(payload)
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
    who = id_at(payload, *_IDS)
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
        account=id_at(payload, *_ACCOUNTS) if payload.get("groups") else None,
    )


def _is_of_cohort(payload: Payload) -> bool:
    return "in_cohort" in payload and "cohort_id" in payload


def _records(payload: Payload) -> tuple[Any, ...]:
    """Where state is held: of a user, also as the Identify API sets it, and of an event."""
    own = payload.get("user_properties")
    set_now, set_once = (own.get("$set"), own.get("$setOnce")) if isinstance(own, dict) else (None, None)
    return tuple([{"record": each} for each in (own, set_now, set_once, payload.get("event_properties")) if each])


def _address(payload: Payload) -> Any:
    own = payload.get("user_properties")
    if isinstance(own, dict):
        for held in (own, own.get("$set")):
            if isinstance(held, dict):
                for name in _ADDRESSES:
                    if (found := held.get(name)) is not None:
                        return found
    return payload.get("email")


_ADDRESSES = ("email", "Email", "$email", "email_address")


ADAPTER = Adapter(
    name="amplitude",
    marks=("event_type", "user_properties", "in_cohort", "events"),
    recognises=recognises,
    customer_paths=("user_id",),
    read=read,
    split=split,
    browser=True,
)
