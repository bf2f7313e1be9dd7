"""Customer.io: reporting webhooks, which say what became of every message, and who may be written to.

An event is an object and a metric (``email``, ``bounced``); older webhooks write both as one name (``email_bounced``).
The customer's id is the team's own. Whoever leaves one topic or one channel counts as having left, and so does whoever
changed their preferences in a way that cannot be read.
"""

from __future__ import annotations

from typing import Any

import orjson

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.mail import (
    BOUNCED,
    CLICKED,
    COMPLAINED,
    LEFT,
    NOTHING,
    OPENED,
    Meaning,
    meant,
    told,
)
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    is_one_of,
    profile,
    time_at,
)
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Skipped, Webhook

_OBJECTS = ("customer", "email", "push", "in_app", "sms", "slack", "webhook", "whatsapp")
"""What a metric is about; an older webhook's name begins with one of them."""
_MAIL = "email"
_METRICS: dict[str, Meaning] = {
    "unsubscribed": LEFT,
    "spammed": COMPLAINED,
    "complained": COMPLAINED,
    "bounced": BOUNCED,
    "dropped": BOUNCED,  # it was addressed to somebody whom Customer.io must not write to
    "opened": OPENED,
    "clicked": CLICKED,
    "subscribed": NOTHING,
    "drafted": NOTHING,
    "attempted": NOTHING,
    "sent": NOTHING,
    "delivered": NOTHING,
    "deferred": NOTHING,
    "converted": NOTHING,
}
_UNSENT = ("undeliverable", "failed")
"""Not sent, for a reason that may be its reader's or ours."""
_PREFERENCES = ("subscription_preferences_changed", "cio_subscription_preferences_changed")


def recognises(payload: Payload) -> bool:
    """An object of theirs and its metric next to a ``data`` object, or the name that older webhooks have; then with the
    event's id or time.
    """
    if not isinstance(payload.get("data"), dict):
        return False
    is_event = "event_id" in payload or "timestamp" in payload
    if isinstance(payload.get("metric"), str):
        return is_event or is_one_of(payload.get("object_type"), _OBJECTS)
    return is_event and _legacy(payload) is not None


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One webhook."""
    about, metric = _kind(payload)
    address = at(payload, "data.identifiers.email") or at(payload, "data.email_address")
    return about_whom(
        payload,
        reading,
        (*_facts(about, metric, payload), *profile(**reading.address_hmacs(address))),
        (
            ("email", address),
            # a push goes to a device's token, and a text message to a number: those are no addresses
            *((("email", at(payload, "data.recipient")),) if about == _MAIL else ()),
            ("customerio_person", at(payload, "data.identifiers.cio_id")),
        ),
        kind=f"{about}_{metric}"[:200],
        id=id_at(payload, "event_id"),
        time=time_at(payload, "timestamp"),
    )


def _legacy(payload: Payload) -> tuple[str, str] | None:
    """Object and metric of an older webhook's name."""
    name = payload.get("event_type")
    if not isinstance(name, str):
        return None
    return next(((each, name[len(each) + 1 :]) for each in _OBJECTS if name.startswith(f"{each}_")), None)


def _kind(payload: Payload) -> tuple[str, str]:
    metric = payload.get("metric")
    if isinstance(metric, str):
        about = payload.get("object_type")
        return (about.casefold() if isinstance(about, str) else ""), _listed(metric)
    return _legacy(payload) or ("", "")


def _listed(metric: str) -> str:
    """A metric of the table in the spelling of the table; any other as it is, as its words are read."""
    folded = metric.casefold()
    return folded if folded in _METRICS or folded in _UNSENT or folded in _PREFERENCES else metric


def _facts(about: str, metric: str, payload: Payload) -> Facts:
    data = payload.get("data")
    if metric in _PREFERENCES:
        return told(LEFT) if _left_any(at(data, "content")) else ()
    if metric in _UNSENT:
        reasons = (at(data, name) for name in ("reason", "failure_message"))
        is_theirs = any(isinstance(reason, str) and says_opt_out(reason) for reason in reasons)
        return told(BOUNCED) if is_theirs else ()
    if about != _MAIL and _METRICS.get(metric) in (OPENED, CLICKED):
        return ()  # no mail
    return meant(metric, _METRICS, data, id_at(payload, "data.delivery_id"))


def _left_any(content: Any) -> bool:
    """Whether one of the topics or channels is turned off; also where nobody can tell."""
    if isinstance(content, str):
        try:
            content = orjson.loads(content)
        except ValueError:
            return True
    if not isinstance(content, dict):
        return True
    states = [state for name in ("topics", "channels") for state in _states(content.get(name))]
    return not states or any(state is not True for state in states)


def _states(choices: Any) -> list[Any]:
    return list(choices.values()) if isinstance(choices, dict) else []


ADAPTER = Adapter(
    name="customerio",
    marks=("metric", "event_type"),
    recognises=recognises,
    customer_paths=("data.identifiers.id", "data.customer_id"),
    read=read,
)
