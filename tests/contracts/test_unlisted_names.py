"""Every name of every vendor's catalogue, put to every adapter: what it does not list may only hold somebody back.

A catalogue is a file of event names, one a line (``catalogues/VENDOR.txt``; ``#`` begins a comment that says where they
are documented). Names of a vendor without one are no test of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.core.events import Event
from tests.contracts.building import NOW, read
from tests.rules import rule

CATALOGUES = {
    path.stem: [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    for path in sorted((Path(__file__).parent / "catalogues").glob("*.txt"))
}

WHEN = "2026-06-16T07:30:00Z"


def segment(name: str) -> Any:
    """A track call of that name."""
    return {
        "type": "track",
        "event": name,
        "userId": "c1",
        "messageId": "m",
        "timestamp": WHEN,
        "properties": {"n": 10},
    }


def posthog(name: str) -> Any:
    """A captured event of that name, with a number where a survey's answer stands."""
    properties = {"$survey_id": "s", "$survey_response": 10, "n": 10}
    return {
        "api_key": "k",
        "event": name,
        "distinct_id": "c1",
        "uuid": "u",
        "timestamp": WHEN,
        "properties": properties,
    }


def hubspot(name: str) -> Any:
    """A change of that subscription, about one object."""
    change = {"propertyName": "hs_score", "propertyValue": "10", "occurredAt": NOW - 1_000}
    return [{"eventId": 1, "portalId": 2, "subscriptionType": name, "objectId": "c1", "contactId": "c1", **change}]


def intercom(name: str) -> Any:
    """A notification of that topic, about a contact, with a number where scores stand."""
    item = {"type": "x", "id": "7", "contact": {"type": "contact", "id": "c1"}, "event_name": "n", "score": 10}
    return {"type": "notification_event", "id": "n", "topic": name, "created_at": NOW // 1_000, "data": {"item": item}}


def stripe(name: str) -> Any:
    """An event of that name, about something of the customer's, with amounts and scores that say nothing."""
    resource = {"id": "x", "object": "x", "customer": "c1", "charge": "ch", "total": 10, "score": 10, "status": "x"}
    envelope = {"id": "e", "object": "event", "created": NOW // 1_000, "livemode": True}
    return envelope | {"type": name, "data": {"object": resource, "previous_attributes": {"status": "y"}}}


def zendesk(name: str) -> Any:
    """An event of that name, about a ticket or a user of the same id."""
    kind = name if name.startswith("zen:") else f"zen:event-type:{name}"
    detail = {"id": "c1", "requester_id": "c1", "status": "OPEN"}
    return {"id": "e", "type": kind, "time": WHEN, "detail": detail, "event": {"current": 10, "previous": 9}}


def delighted(name: str) -> Any:
    """A webhook of that name with a score on a scale that is no survey's."""
    told = {"id": "r", "score": 10, "survey_type": "x", "person_properties": {"customer_id": "c1"}}
    return {"event_type": name, "event_id": "e", "event_data": told}


def dittofeed(name: str) -> Any:
    """An event of Dittofeed's own of that name."""
    own = name if name.startswith("DF") else f"DF {name}"
    return {"type": "track", "event": own, "userId": "c1", "messageId": "m", "timestamp": WHEN, "properties": {"n": 10}}


def surveymonkey(name: str) -> Any:
    """A callback of that name."""
    resources = {"recipient_id": "c1", "survey_id": "s"}
    return {"event_type": name, "event_id": "e", "event_datetime": WHEN, "object_id": "1", "resources": resources}


def chargebee(name: str) -> Any:
    """An event of that name, with resources whose states say nothing."""
    states = {"customer": {"id": "c1"}, "subscription": {"id": "s", "status": "x"}, "transaction": {"id": "t"}}
    content = states | {"invoice": {"id": "i", "status": "x", "total": 10, "score": 10}}
    return {"id": "e", "occurred_at": NOW // 1_000, "event_type": name, "content": content}


def paddle(name: str) -> Any:
    """A notification of that name, about an entity whose state says nothing."""
    entity = {"id": "x", "customer_id": "c1", "subscription_id": "s", "status": "x", "total": "10", "score": 10}
    return {"event_id": "e", "event_type": name, "occurred_at": WHEN, "notification_id": "n", "data": entity}


def recurly(name: str) -> Any:
    """A notification of that name, with the account that only some of them have."""
    about, _, happened = name.partition(".")
    event = {"id": "x", "object_type": about, "event_type": happened or "x", "event_time": WHEN, "site_id": "s"}
    return event | {"account_code": "c1", "score": 10}


def revenuecat(name: str) -> Any:
    """An event of that type of one subscription, which says nothing of its price."""
    ids = {"id": "e", "app_user_id": "c1", "transaction_id": "t", "original_transaction_id": "s"}
    return {"api_version": "1.0", "event": ids | {"type": name, "event_timestamp_ms": NOW - 1_000, "score": 10}}


def customerio(name: str) -> Any:
    """An event with that metric, about a message."""
    data = {"identifiers": {"id": "c1"}, "delivery_id": "d", "content": "10"}
    return {"event_id": "e", "object_type": "email", "metric": name, "timestamp": NOW // 1_000, "data": data}


def sendgrid(name: str) -> Any:
    """An event of that name, alone in its array."""
    own = {"sg_event_id": "e", "sg_message_id": "m", "smtp-id": "<m@x>", "timestamp": NOW // 1_000}
    return [own | {"event": name, "email": "ana@customer.example", "customer_id": "c1", "n": 10}]


def klaviyo(name: str) -> Any:
    """An event of that topic, in a batch of its own, with a number where ratings may stand."""
    told = {"rating": 10, "score": 10, "$message": "m"}
    profile = {"profile": {"data": {"type": "profile", "id": "c1"}}}
    event = {"type": "event", "id": "e", "attributes": {"datetime": WHEN, "event_properties": told}}
    topic = name if name.startswith("event:") else f"event:klaviyo.{name}"
    part = {"external_id": "e", "topic": topic, "payload": {"data": event | {"relationships": profile}}}
    return {"data": [part], "meta": {"klaviyo_webhook_id": "w"}}


def braze(name: str) -> Any:
    """An event of that type, in a batch of its own, with a number as an answer."""
    kind = name if name.startswith("users.") else f"users.{name}"
    told = {"name": "n", "answer_single_number": 10, "subscription_status": "Subscribed", "dispatch_id": "d"}
    event = {"event_type": kind, "id": "e", "time": NOW // 1_000, "user": {"external_user_id": "c1"}}
    return {"events": [event | {"properties": told}]}


def qualtrics(name: str) -> Any:
    """An event of that topic about a recipient, who is the customer, with a score beside the message."""
    message = {"RecipientID": "c1", "ResponseID": "r", "score": 10}
    return {"Topic": f"brand.{name}.SV_1", "MSG": message, "HMAC": "00", "result": {"values": {"QID1": 10}}}


def satismeter(name: str) -> Any:
    """An event of that name about a response, with a number that nobody calls a score."""
    user = {"userId": "c1", "traits": {}}
    return {"event": name, "response": {"id": "r", "rating": 10, "created": WHEN, "completed": True, "user": user}}


def amplitude(name: str) -> Any:
    """An event of that name, with a number."""
    properties = {"n": 10, "score": 10}
    return {"event_type": name, "user_id": "c1", "uuid": "u", "event_time": WHEN, "event_properties": properties}


def mixpanel(name: str) -> Any:
    """A cohort of that name that somebody entered, with a number."""
    member = {"mixpanel_distinct_id": "c1", "score": 10}
    return {"action": "add_members", "parameters": {"mixpanel_cohort_name": name, "members": [member]}}


def wootric(name: str) -> Any:
    """An event of that name about a response, with a score in a survey that nobody knows."""
    response = {"id": "r", "external_id": "c1", "score": 10, "updated_at": WHEN}
    return {"event_name": name, "survey_mode": "x", "account_token": "t", "response": response}


PAYLOADS: dict[str, Callable[[str], Any]] = {
    "segment": segment,
    "rudderstack": segment,
    "posthog": posthog,
    "hubspot": hubspot,
    "intercom": intercom,
    "stripe": stripe,
    "zendesk": zendesk,
    "delighted": delighted,
    "dittofeed": dittofeed,
    "surveymonkey": surveymonkey,
    "chargebee": chargebee,
    "paddle": paddle,
    "recurly": recurly,
    "revenuecat": revenuecat,
    "customerio": customerio,
    "sendgrid": sendgrid,
    "klaviyo": klaviyo,
    "braze": braze,
    "amplitude": amplitude,
    "mixpanel": mixpanel,
    "qualtrics": qualtrics,
    "satismeter": satismeter,
    "wootric": wootric,
}
"""Adapter → its payload for an event of that name, which names customer ``c1`` and says little else."""

FAVOURABLE = {
    ("segment", "Signed In"): {"usage.recorded"},
    ("segment", "Invite Sent"): {"usage.recorded"},
    ("rudderstack", "Signed In"): {"usage.recorded"},
    ("rudderstack", "Invite Sent"): {"usage.recorded"},
}
"""Listed names that say something good by themselves; there is no other one."""

HOLDING = {
    "customer.suppressed", "customer.erasure_requested", "ticket.opened", "ticket.reopened", "ticket.solved",
    "charge.disputed", "charge.refunded", "invoice.payment_failed", "cancellation.scheduled", "cancellation.considered",
    "subscription.ended", "trial.started", "trial.ended", "advocacy.asked", "task.started", "dispute.closed",
    "cancellation.reverted", "complaint.made",
}  # fmt: skip
"""What holds back, or ends what held back: nobody is asked because of these alone."""
NEUTRAL = {
    "customer.linked", "customer.profile_changed", "customer.signed_up", "customer.aliased", "email.opened",
    "email.clicked", "interaction.recorded", "subscription.started", "invoice.paid",
}  # fmt: skip
"""Who somebody is, when they read a mail, or that they were talked to: no reason to ask."""


def events_of(vendor: str, name: str) -> tuple[Event, ...]:
    """What the adapter of a vendor makes of a name; a skip or a dead letter is nothing."""
    adapted = read(PAYLOADS[vendor](name), headers=(("referral-source", vendor.encode()),))
    assert isinstance(adapted, Accepted | Skipped | Refused)
    return adapted.events if isinstance(adapted, Accepted) else ()


@rule("I1.10")
@pytest.mark.parametrize("vendor", PAYLOADS)
@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_a_name_alone_is_never_a_reason_to_ask(vendor: str, catalogue: str, subtests: pytest.Subtests) -> None:
    for name in CATALOGUES[catalogue]:
        with subtests.test(name):
            kinds = {event.type for event in events_of(vendor, name)}
            assert kinds - HOLDING - NEUTRAL == FAVOURABLE.get((vendor, name), set())


LISTED: dict[tuple[str, str], set[str]] = {
    ("segment", "Email Soft Bounced"): set(),
    ("braze", "users.messages.email.SoftBounce"): set(),
    ("rudderstack", "Email Soft Bounced"): set(),
    ("zendesk", "zen:event-type:ticket.marked_as_spam"): {"ticket.solved"},
}
"""Listed, because their words say more than they mean: a bounce for a while, a ticket that an agent threw away."""


@rule("I1.11")
@pytest.mark.parametrize("vendor", PAYLOADS)
@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_a_name_with_a_word_of_opting_out_suppresses_and_erases_nobody(
    vendor: str, catalogue: str, subtests: pytest.Subtests
) -> None:
    for name in CATALOGUES[catalogue]:
        if says_opt_out(name):
            with subtests.test(name):
                said = {event.type for event in events_of(vendor, name)} - {"customer.linked"}
                assert said == LISTED.get((vendor, name), {"customer.suppressed"})


def test_every_catalogue_is_of_an_adapter_and_says_where_its_names_are_documented() -> None:
    assert CATALOGUES.keys() <= BY_NAME.keys()
    assert CATALOGUES.keys() >= PAYLOADS.keys()
    for vendor, names in CATALOGUES.items():
        text = (Path(__file__).parent / "catalogues" / f"{vendor}.txt").read_text(encoding="utf-8")
        assert text.startswith("#")
        assert len(names) == len(set(names)) > 1
