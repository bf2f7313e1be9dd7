"""Braze: Currents in JSON, as its custom HTTP connector sends it, in batches.

An event's type names what it is about and what happened (``users.messages.email.Unsubscribe``). The customer's id is
the team's own where they are known; Braze's own user is a link. A subscription says what it now is, and so does a text
message that was answered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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
from referral_stream.contracts.adapters.product_events import left
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    object_at,
    profile,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import with_opt_out
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_USERS = "users."
_TYPES: dict[str, Meaning] = {
    "messages.email.Unsubscribe": LEFT,
    "messages.email.MarkAsSpam": COMPLAINED,
    "messages.email.Bounce": BOUNCED,
    "messages.pushnotification.Bounce": BOUNCED,
    "messages.email.Open": OPENED,
    "messages.email.Click": CLICKED,
    "messages.email.SoftBounce": NOTHING,
    "messages.email.Deferral": NOTHING,
    "messages.email.Send": NOTHING,
    "messages.email.Delivery": NOTHING,
    "messages.email.Abort": NOTHING,
    "messages.email.Retry": NOTHING,
    "messages.survey.Response": NOTHING,  # its numbers have no scale
    "UserOrphan": NOTHING,
}
_SUBSCRIPTIONS = ("behaviors.subscription.GlobalStateChange", "behaviors.subscriptiongroup.StateChange")
_WANTED = frozenset({"subscribed", "opted in", "opted_in", "opted-in", "optedin"})
"""Subscriptions that go on; of one that is anything else, its owner has left."""
_ANSWERS = (
    "messages.sms.InboundReceive",
    "messages.whatsapp.InboundReceive",
    "messages.rcs.InboundReceive",
    "messages.line.InboundReceive",
)
"""What somebody wrote to us; Braze says if that changed their subscription."""
_FAILED = re.compile(r"\.(?:Rejection|DeliveryFailure|Failure|Abort)$")
_REASONS = ("error", "bounce_reason", "abort_log", "provider_error_title")
"""Why something was not sent, in words: that its reader has unsubscribed, for one."""
_CUSTOM = "behaviors.CustomEvent"
_DELETED = "UserDeleteRequest"
_EMAIL = "email"
_IDS = ("user_id", "external_user_id")
"""What names a user, where an event is flat as it is in Braze's exports to files."""
_FAMILIES = ("users.messages.", "users.behaviors.", "users.campaigns.", "users.canvas.", "users.User")
"""How types begin that are Braze's for sure."""
_STOP = frozenset({"stop", "stop all", "stopall", "end", "quit", "cancel", "unsubscribe", "opt out", "optout"})
"""Words by which somebody who is sent text messages leaves, whatever Braze makes of them."""


def recognises(payload: Payload) -> bool:
    """A type of Braze's about a user; their ids may stand beside it, or nothing but the address that was written to."""
    kind = payload.get("event_type")
    if not (isinstance(kind, str) and kind.startswith(_USERS)):
        return False
    if isinstance(payload.get("user"), dict):
        return True
    is_flat = isinstance(payload.get("properties"), dict) or any(name in payload for name in _IDS)
    return is_flat and kind.startswith(_FAMILIES)


def split(body: Any) -> Sequence[Any]:
    """The events of a batch."""
    batch = body.get("events") if isinstance(body, dict) else None
    return batch if isinstance(batch, list) else (body,)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(payload.get("event_type"))
    if not isinstance(payload.get("user"), dict):
        payload = payload | {"user": payload}
    properties = object_at(payload, "properties") if isinstance(payload.get("properties"), dict) else payload
    of_channel = properties.get("channel_identifier") if properties.get("channel") == _EMAIL else None
    address = properties.get("email_address") or of_channel
    return about_whom(
        payload,
        reading,
        (*_facts(kind.removeprefix(_USERS), properties), *profile(**reading.address_hmacs(address))),
        (("email", address), ("braze_user", at(payload, "user.user_id"))),
        kind=kind[:200],
        id=id_at(payload, "id"),
        time=time_at(payload, "time"),
        timezone=text_at(payload, "user.timezone"),
    )


def _facts(kind: str, properties: Payload) -> Facts:
    if kind == _DELETED:
        return (Fact("customer.erasure_requested", {}),)
    if kind == _CUSTOM:
        return with_opt_out(left(text_at(properties, "name")), _own(properties.get("custom_properties")))
    if kind in _SUBSCRIPTIONS:
        return () if _lower(properties, "subscription_status") in _WANTED else told(LEFT)
    if kind in _ANSWERS:
        is_stop = _lower(properties, "message_body").strip(" .!") in _STOP
        return told(LEFT) if is_stop or says_opt_out(_lower(properties, "action")) else ()
    if _FAILED.search(kind) and any(says_opt_out(_lower(properties, name)) for name in _REASONS):
        return told(LEFT)
    return meant(kind, _TYPES, properties, id_at(properties, "dispatch_id"))


def _own(custom: Any) -> Any:
    """A team's own properties; in Braze's files they are JSON in a text."""
    if not isinstance(custom, str):
        return custom
    try:
        return read_json(custom.encode("utf-8", "replace"))
    except NotJson:
        return None


def _lower(properties: Payload, name: str) -> str:
    return (text_at(properties, name) or "").strip().casefold()


ADAPTER = Adapter(
    name="braze",
    marks=("events", "event_type"),
    recognises=recognises,
    customer_paths=("user.external_user_id",),
    read=read,
    split=split,
)
