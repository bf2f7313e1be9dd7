"""Klaviyo: system webhooks, a batch of events, each with the topic that it belongs to.

A topic is a metric of the account; those of Klaviyo's own are ``event:klaviyo.…``. An event has the shape of Klaviyo's
events API: the profile is a relationship, and its address stands in the event's properties, or in the profile where
that is included. Webhooks of flows hold whatever their author wrote: those should send CloudEvents.
"""

from __future__ import annotations

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
)
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    is_one_of,
    list_at,
    object_at,
    profile,
    time_at,
)
from referral_stream.contracts.adapters.states import opted_out, with_opt_out
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_TOPIC = "event:"
_OWN = "event:klaviyo."
_TOPICS: dict[str, Meaning] = {
    "unsubscribed_from_email_marketing": LEFT,
    "unsubscribed_from_sms_marketing": LEFT,
    "clicked_email_to_unsubscribe": LEFT,
    "manually_suppressed_from_email_marketing": LEFT,
    "marked_email_as_spam": COMPLAINED,
    "bounced_email": BOUNCED,
    "dropped_email": BOUNCED,
    "bounced_push": BOUNCED,
    "opened_email": OPENED,
    "clicked_email": CLICKED,
    "manually_unsuppressed_from_email_marketing": NOTHING,
    "subscribed_to_email_marketing": NOTHING,
    "subscribed_to_sms_marketing": NOTHING,
    "received_email": NOTHING,
    "sent_sms": NOTHING,
    "received_sms": NOTHING,
    "clicked_sms": NOTHING,
    "failed_to_deliver_sms": NOTHING,
    "received_automated_response_sms": NOTHING,
    "failed_to_deliver_automated_response_sms": NOTHING,
    "received_push": NOTHING,
    "opened_push": NOTHING,
    "ready_to_review": NOTHING,
    "submitted_review": NOTHING,  # how its rating is written is not documented
    "submitted_rating": NOTHING,
}
_PREFERENCES = "updated_email_preferences"
_UNSENT = "failed_to_deliver_"
_PASSING = ("soft", "soft bounce")
"""Types of a bounce that passes."""
_ADDRESSES = ("email_address", "email", "$email", "Recipient Email Address")
"""Where an event's properties keep its reader's address."""


def recognises(payload: Payload) -> bool:
    """A topic next to an event's payload."""
    topic = payload.get("topic")
    return isinstance(topic, str) and topic.startswith(_TOPIC) and isinstance(payload.get("payload"), dict)


def split(body: Any) -> Sequence[Any]:
    """The events of a batch, also where a relay passes on the list alone."""
    batch = body.get("data") if isinstance(body, dict) and "topic" not in body else body
    return batch if isinstance(batch, list) else (body,)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    topic = str(payload.get("topic"))
    event = object_at(payload, "payload.data.attributes")
    told = object_at(event, "event_properties") or object_at(event, "properties")
    person = _included(payload)
    own = object_at(person, "attributes")
    address = own.get("email") or next((found for name in _ADDRESSES if (found := told.get(name))), None)
    facts = with_opt_out(_facts(topic, told), own.get("properties"), {"held": own.get("subscriptions")})
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (
            ("email", address),
            ("klaviyo_profile", at(payload, _PROFILE)),
            ("klaviyo_profile", person.get("id")),
            ("klaviyo_external", own.get("external_id")),
        ),
        kind=topic[:200],
        id=id_at(payload, "external_id", "payload.data.id"),
        time=time_at(event, "datetime", "timestamp"),
    )


_PROFILE = "payload.data.relationships.profile.data.id"


def _included(payload: Payload) -> Payload:
    """The profile, where the webhook brings it along."""
    included = list_at(payload, "payload.included")
    return next((each for each in included[:50] if at(each, "type") == "profile"), {})


def _facts(topic: str, told: Payload) -> Facts:
    name = topic.removeprefix(_OWN) if topic.startswith(_OWN) else topic
    if name == _PREFERENCES:
        return opted_out(told)
    if name.startswith(_UNSENT) and any(isinstance(why, str) and says_opt_out(why) for why in told.values()):
        return (Fact("customer.suppressed", {"reason": LEFT}),)
    if name == "bounced_email" and is_one_of(str(told.get("Bounce Type")).casefold(), _PASSING):
        return ()
    return meant(name, _TOPICS, told, id_at(told, "$message"))


ADAPTER = Adapter(
    name="klaviyo",
    marks=("data", "topic"),
    recognises=recognises,
    customer_paths=(_PROFILE,),
    read=read,
    split=split,
)
