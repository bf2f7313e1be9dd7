"""The AsyncAPI 3 document: which topics there are, what is written to them, what is read, with which headers and keys.

Seen from this application, as AsyncAPI wants it: it receives what producers send and sends what workers read. Bodies
are those of the JSON Schemas beside the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from referral_stream import __version__
from referral_stream.contracts.catalogue import Message, messages
from referral_stream.contracts.records import (
    CLOUD_EVENT,
    CONTENT_TYPE_HEADER,
    HISTORICAL_HEADER,
    NOW_HEADER,
    SOURCE_HEADER,
)
from referral_stream.core.events import FACT_TYPES, INTERNAL, WITHOUT_SUBJECT

Action: TypeAlias = Literal["receive", "send"]


@dataclass(frozen=True, slots=True)
class TopicChannel:
    """One topic: what it is for, the types on it, what its record keys are, and which way we use it."""

    about: str
    kinds: tuple[str, ...]
    key: str
    actions: tuple[Action, ...]
    headers: str | None = None


def _source(about: str, kinds: str) -> TopicChannel:
    return TopicChannel(
        about, tuple(kinds.split()), "Whatever the producer hashes by; ignored.", ("receive",), "producer"
    )


_CUSTOMER = "The customer's id."

CHANNELS: Final[Mapping[str, TopicChannel]] = {
    "product-usage": _source(
        "Usage, onboarding, milestones, goals, moments in the product, critical tasks.",
        "onboarding.completed milestone.reached goal.achieved saving.measured usage.recorded usage.compared"
        " workflow.completed achievement.unlocked dashboard.viewed task.started task.ended",
    ),
    "nps": _source("Every survey answer.", "nps.responded csat.responded"),
    "billing": _source(
        "Subscriptions, trials, invoices, refunds, disputes, cancellations, contracts, deals.",
        "trial.started trial.ended subscription.started subscription.ended subscription.renewed subscription.expanded"
        " contract.signed invoice.payment_failed invoice.paid charge.refunded charge.disputed dispute.closed"
        " cancellation.considered cancellation.scheduled cancellation.reverted",
    ),
    "support": _source(
        "Tickets, complaints, frustration.",
        "ticket.opened ticket.solved ticket.rated ticket.reopened complaint.made frustration.shown",
    ),
    "relationship": _source(
        "Interactions, feedback, advocacy, e-mail engagement, calls, peers.",
        "interaction.recorded advice.asked community.engaged feedback.shared compliment.given testimonial.given"
        " case_study.joined review.posted champion.changed peer.mentioned advocacy.asked email.opened email.clicked"
        " call.moment call.concern_raised call.concern_addressed call.cut_short",
    ),
    "profile": _source(
        "Sign-up, time zone, segment, account, channels, consent, suppression, aliases, erasure.",
        "customer.signed_up customer.profile_changed customer.consent_changed customer.suppressed"
        " customer.unsuppressed customer.erasure_requested customer.aliased",
    ),
    "responses": _source(
        "What became of an ask: acknowledgements, answers, approvals, referrals; and operators' switches.",
        "ask.acknowledged ask.answered ask.approved ask.rejected control.paused control.resumed referral.given"
        " referral.status_changed",
    ),
    "referral-asks": TopicChannel(
        "Commands to the messaging worker.",
        ("referral.ask.requested", "referral.reason.asked", "referral.ask.cancelled"),
        _CUSTOMER,
        ("send",),
    ),
    "referral-decisions": TopicChannel(
        "Every change of a decision, with its explanation.", ("referral.decision.made",), _CUSTOMER, ("send",)
    ),
    "customer-aliases": TopicChannel(
        "Compacted: which id is which customer's.", ("customer.aliased",), "The alias.", ("send", "receive"), "own"
    ),
    "customer-events": TopicChannel(
        "Internal: all that a decision saw, in its order; comments are replaced by themes.",
        tuple(kind for kind in FACT_TYPES if kind not in WITHOUT_SUBJECT) + tuple(model.type for model in INTERNAL),
        _CUSTOMER,
        ("send", "receive"),
        "own",
    ),
    "ledger-requests": TopicChannel(
        "Internal: reservations, and operators' switches.",
        (
            "reservation.requested", "reservation.confirmed", "reservation.released", "opportunity.opened",
            *sorted(WITHOUT_SUBJECT),
        ),
        "The account's id, else the customer's; none on a switch.",
        ("send", "receive"),
    ),
    "dead-letters": TopicChannel(
        "Records that could not be used, untouched, with what is needed to try again.",
        (),
        "As it came.",
        ("send", "receive"),
        "deadLetter",
    ),
}  # fmt: skip
"""Topic without the deployment's prefix → its channel. Source topics take every type; listed is where it belongs."""

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "string", "pattern": "^[0-9]+$"}
_INSTANT: Final = {"type": "string", "format": "date-time"}

_HEADERS: Final[dict[str, Any]] = {
    "producer": {
        "type": "object",
        "description": (
            f"Structured mode: `{CONTENT_TYPE_HEADER}: {CLOUD_EVENT}`, or none of these. Binary mode: the CloudEvents"
            " attributes as `ce_` headers, `data` alone as the value."
        ),
        "properties": {
            CONTENT_TYPE_HEADER: _TEXT,
            "ce_specversion": _TEXT,
            "ce_type": _TEXT,
            "ce_id": _TEXT,
            "ce_source": _TEXT,
            "ce_subject": _TEXT,
            "ce_time": _INSTANT,
            "ce_dataschema": _TEXT,
            "ce_accountid": _TEXT,
            "ce_timezone": _TEXT,
            "traceparent": {"type": "string", "description": "W3C trace context, where the event has none itself."},
            HISTORICAL_HEADER: {"type": "string", "description": "`true`: a backfill, which opens nothing."},
            SOURCE_HEADER: {"type": "string", "description": "The adapter for a vendor's own webhook payload."},
        },
    },
    "own": {
        "type": "object",
        "required": [NOW_HEADER],
        "properties": {
            NOW_HEADER: _COUNT | {"description": "When it arrived here: epoch milliseconds."},
            HISTORICAL_HEADER: {"const": "true"},
        },
    },
    "deadLetter": {
        "type": "object",
        "required": ["error", "stage", "source-topic", "source-partition", "source-offset", "occurred-at", "attempt"],
        "description": "The headers of the record itself, followed by these.",
        "properties": {
            "error": {"type": "string", "description": "`cause: detail`, without a value of the payload."},
            "stage": _TEXT,
            "source-topic": _TEXT,
            "source-partition": _COUNT,
            "source-offset": _COUNT,
            "source-timestamp": {"type": "string", "pattern": "^-?[0-9]+$"},
            "occurred-at": _INSTANT,
            "attempt": _COUNT,
            "dead-letter-id": _TEXT,
        },
    },
}
_KAFKA: Final = "0.5.0"
"""The version of AsyncAPI's Kafka binding."""

_DEAD_LETTER: Final[dict[str, Any]] = {
    "title": "A dead letter",
    "contentType": "application/octet-stream",
    "payload": {"description": "The record's value, byte for byte; none where it was too large."},
}


def asyncapi() -> dict[str, Any]:
    """The document, with references to the schemas' files beside it."""
    listed = tuple(messages())
    return {
        "asyncapi": "3.0.0",
        "id": "urn:referral-stream",
        "info": {
            "title": "referral-stream",
            "version": __version__,
            "description": (
                "Listens to customer events and asks for a referral at the right moment. CloudEvents 1.0 over Kafka:"
                " structured or binary on the way in, structured on the way out. Every source topic takes every type."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CLOUD_EVENT,
        "servers": {
            "kafka": {
                "host": "{broker}",
                "protocol": "kafka",
                "variables": {"broker": {"default": "localhost:9092", "description": "A bootstrap server."}},
            }
        },
        "channels": {_name(topic): _channel(topic, channel, listed) for topic, channel in CHANNELS.items()},
        "operations": {
            f"{action}{_name(topic)[0].upper()}{_name(topic)[1:]}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{_name(topic)}"},
                "summary": channel.about,
            }
            for topic, channel in CHANNELS.items()
            for action in channel.actions
        },
        "components": {
            "schemas": {f"{name}Headers": schema for name, schema in _HEADERS.items()},
            "parameters": {
                "prefix": {"description": "What this deployment puts before every topic; often nothing.", "default": ""}
            },
        },
    }


def _channel(topic: str, channel: TopicChannel, listed: Sequence[Message]) -> dict[str, Any]:
    carried = {message.name: _message(message, channel) for message in listed if message.kind in channel.kinds}
    return {
        "address": f"{{prefix}}{topic}",
        "title": topic,
        "description": channel.about,
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": carried or {"deadLetter": _described(_DEAD_LETTER, channel)},
    }


def _message(message: Message, channel: TopicChannel) -> dict[str, Any]:
    content = {
        "name": message.kind,
        "title": message.name,
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": f"./{message.path}"},
    }
    return _described(content, channel)


def _described(content: dict[str, Any], channel: TopicChannel) -> dict[str, Any]:
    """A message as it is on one channel: key and headers are the channel's, whatever the message is elsewhere."""
    key = {"type": "string", "description": channel.key}
    described = content | {"bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA}}}
    if channel.headers is not None:
        described["headers"] = {"$ref": f"#/components/schemas/{channel.headers}Headers"}
    return described


def _name(topic: str) -> str:
    first, *rest = topic.split("-")
    return first + "".join(word.capitalize() for word in rest)
