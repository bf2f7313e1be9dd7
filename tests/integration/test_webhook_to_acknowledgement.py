"""The whole chain, every part a process of its own: from vendors' signed webhooks to the customer's state.

Webhook → receiver → Kafka → ``run all`` (decision, reservation) → command → the example worker → a mail server →
acknowledgement → state; and what the customer answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.codec import decode_request
from referral_stream.contracts.state import decode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision, ReservationConfirmed
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, rfc3339
from tests.contracts.building import sample
from tests.integration.live import Pipeline, Topic, cloud_event, facts, parsed, requested
from tests.integration.mail import POLICY, Mailbox, noon, serving
from tests.integration.webhooks import Door, receiving
from tests.messaging.example import ExampleWorker
from tests.receiver.signing import SECRETS
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

TOKEN = "a-token-of-our-own-0123456789"
VENDORS = ("stripe", "segment", "hubspot", "zendesk", "typeform")
ADDRESSES = """
[cus-ana]
name = "Ana Beispiel"
email = "ana@customers.example"
language = "de-DE"

[cus-ben]
name = "Ben Example"
email = "ben@customers.example"
"""


@pytest.fixture
def pipeline(kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    secrets = {f"webhook_secret_{vendor}": SECRETS[vendor] for vendor in VENDORS}
    settings = secrets | {"http_events_token": TOKEN}
    start = time.time_ns() // 1_000_000
    with Pipeline(kafka, redis_server.url, tmp_path, policy=POLICY, start=start, settings=settings) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


@pytest.fixture
def door(pipeline: Pipeline) -> Iterator[Door]:
    with receiving(pipeline) as door:
        yield door


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def worker(pipeline: Pipeline, mailbox: Mailbox, tmp_path: Path) -> Iterator[ExampleWorker]:
    book = tmp_path / "addresses.toml"
    book.write_text(ADDRESSES)
    settings = {
        "ASKS_TOPIC": pipeline.topic("referral-asks"),
        "RESPONSES_TOPIC": pipeline.topic("responses"),
        "GROUP": pipeline.topic("messaging-worker"),
        "ADDRESS_BOOK": str(book),
        "SENDER_ADDRESS": "robin@acme.example",
        "PRODUCT": "Acme",
    }
    with (
        serving(mailbox) as server,
        ExampleWorker(pipeline.kafka.bootstrap, tmp_path, settings | {"SMTP_SERVER": server}) as worker,
    ):
        yield worker


def becomes_a_customer(customer: str, now: int) -> Iterator[tuple[str, Any]]:
    """(vendor, webhook) of everything that vendors know of a customer who may be asked; all of them by the same id."""
    signed_up: dict[str, Any] = sample("stripe.invoice_paid.cycle")
    signed_up |= {"id": f"evt_{customer}", "type": "customer.created", "created": (now - 400 * DAY) // SECOND}
    signed_up["data"] = {"object": {"id": customer, "object": "customer", "email": f"{customer}@customers.example"}}
    yield "stripe", signed_up

    for name, properties in {
        "Onboarding Completed": {},
        "Milestone Reached": {"milestone": "first report", "first_success": True},
        "Live Chat Conversation Started": {},
    }.items():
        call: dict[str, Any] = sample("segment.track")
        call |= {"event": name, "properties": properties, "userId": customer, "messageId": f"{customer}/{name}"}
        call |= {"timestamp": rfc3339(now - 40 * DAY), "context": {}}
        yield "segment", call

    change: dict[str, Any] = sample("hubspot.contact_changes")[0]
    zone = noon(now).casefold().replace("/", "_slash_")
    change |= {"objectId": customer, "propertyName": "hs_timezone", "propertyValue": zone, "occurredAt": now - DAY}
    yield "hubspot", [change]

    yield "zendesk", a_ticket("created", customer, now - 31 * DAY)


def a_ticket(kind: str, customer: str, at: int) -> dict[str, Any]:
    """The customer's only ticket: ``created``, or ``status_changed`` to solved."""
    event: dict[str, Any] = sample(f"zendesk.ticket_{kind}")
    event |= {"id": f"{customer}/{kind}", "time": rfc3339(at)}
    event["detail"] |= {"id": f"{customer}/ticket", "requester_id": customer}
    return event


def a_nine(customer: str, at: int) -> dict[str, Any]:
    """A survey's answer with a score of 9 and a comment."""
    answer: dict[str, Any] = sample("typeform.form_response")
    answers = [each for each in answer["form_response"]["answers"] if each["field"]["ref"] in ("nps_score", "why")]
    answer["event_id"] = f"{customer}/response"
    answer["form_response"] |= {"token": customer, "submitted_at": rfc3339(at), "answers": answers}
    answer["form_response"]["hidden"] = {"customer_id": customer}
    return answer


def consents(customer: str, now: int) -> list[dict[str, Any]]:
    """What the deployment itself has to say."""
    granted = {"purpose": "referral_ask", "channel": "email", "granted": True}
    return [
        cloud_event("customer.profile_changed", customer, now - DAY, {"channels": {"email": True, "in_app": False}}),
        cloud_event("customer.consent_changed", customer, now - DAY, granted),
    ]


KNOWN = {
    "customer.signed_up", "customer.profile_changed", "customer.consent_changed", "onboarding.completed",
    "milestone.reached", "interaction.recorded", "ticket.opened",
}  # fmt: skip


def await_facts(pipeline: Pipeline, customer: str, types: set[str]) -> None:
    """Return when the decision's log has an event of each of these types about the customer."""
    reader = pipeline.reader("customer-events")

    def missing() -> set[str]:
        events = (parsed(record) for record in facts(reader.read()))
        return types - {event["type"] for event in events if event["subject"] == customer}

    wait_until(lambda: not missing(), f"{sorted(types)} of {customer} have arrived", seconds=60, every=0.2)


def acknowledgements(responses: Topic, customer: str) -> list[tuple[str, str]]:
    """(event id, status) of what the worker has said, in order."""
    events = [parsed(record) for record in responses.read()]
    return [(str(event["id"]), str(event["data"]["status"])) for event in events if event["subject"] == customer]


def state(pipeline: Pipeline, customer: str) -> Customer:
    """The customer, as the decide agent's changelog has it."""
    return decode_customer(pipeline.changelog("customers")[customer.encode()]).entity


def is_held_by_trouble(decision: Decision) -> bool:
    return decision.customer_id == "cus-ben" and any(
        reason.gate == "trouble" and reason.answer != "pass" for reason in decision.reasons
    )


@rule("6.5")
def test_from_signed_webhooks_to_the_acknowledged_mail_and_the_answer(
    pipeline: Pipeline, door: Door, worker: ExampleWorker, mailbox: Mailbox
) -> None:
    now, responses = pipeline.now(), pipeline.reader("responses")
    mailbox.on_mail = worker.restart  # the mail is there, and the worker dies before it hears of it

    for customer in ("cus-ana", "cus-ben"):
        assert door.events(consents(customer, now), TOKEN) == 202
        for vendor, webhook in becomes_a_customer(customer, now):
            assert door.signed(vendor, webhook) == 202, vendor
    assert door.signed("zendesk", a_ticket("status_changed", "cus-ana", now - 30 * DAY)) == 202  # Ben's stays open
    recorded = a_ticket("status_changed", "cus-ben", now - 30 * DAY)
    assert door.signed("zendesk", recorded, late=6 * MINUTE) == 403, "what somebody has recorded says nothing new"
    await_facts(pipeline, "cus-ana", KNOWN | {"ticket.solved"})
    await_facts(pipeline, "cus-ben", KNOWN)

    for customer in ("cus-ana", "cus-ben"):
        assert door.signed("typeform", a_nine(customer, now - HOUR // 2)) == 202
    assert pipeline.await_outcome("cus-ana", "asked", "soft").trigger == "nps_promoter"
    pipeline.await_decided(is_held_by_trouble, "Ben's open ticket holds him back")

    # The mail went out twice, under one id, and is reported once.
    wait_until(lambda: acknowledgements(responses, "cus-ana"), "the mail is acknowledged", seconds=60, every=0.2)
    (command,) = requested(pipeline.asks()).values()
    assert (command.customer_id, command.template, command.reason_theme) == ("cus-ana", "nps", "time_saved")
    assert mailbox.received() == [("ana@customers.example", f"<{command.command_id}@acme.example>")] * 2
    first, second = (mail.get_content() for mail in mailbox.mails)
    assert first == second
    assert first.startswith("Hallo Ana,")
    ((report, status),) = acknowledgements(responses, "cus-ana")
    assert status == "sent"

    # What it does to the state: the ask counts, under the reservation that is confirmed with it.
    reservations = pipeline.reader("ledger-requests")

    def confirmed() -> list[str]:
        said = [decode_request(record.value or b"") for record in reservations.read()]
        return [each.command_id for each in said if isinstance(each, ReservationConfirmed)]

    wait_until(confirmed, "the reservation is confirmed", seconds=60, every=0.2)
    assert confirmed() == [command.command_id]
    (ask,) = state(pipeline, "cus-ana").asks
    assert (ask.command_id, ask.reached, ask.counts, ask.answered) == (command.command_id, True, True, False)
    assert state(pipeline, "cus-ben").asks == ()

    # What the mail provider and the inbox say later comes through the same door.
    delivered = {"command_id": command.command_id, "status": "delivered"}
    answered = {"command_id": command.command_id, "answer": "yes", "text": "Sure, I will introduce you"}
    later = [
        cloud_event("ask.acknowledged", "cus-ana", pipeline.now(), delivered),
        cloud_event("ask.answered", "cus-ana", pipeline.now(), answered),
    ]
    assert door.events(later, TOKEN) == 202
    wait_until(lambda: "yes" in state(pipeline, "cus-ana").answers, "the answer counts", seconds=60, every=1)
    (then,) = state(pipeline, "cus-ana").asks
    assert then.answered
    assert then.sent_at == ask.sent_at, "sent is when it was sent, not when it was delivered"

    # Who says yes is offered both ways, once, and the worker reports that too.
    wait_until(
        lambda: len(acknowledgements(responses, "cus-ana")) == 2, "the follow-up is acknowledged", seconds=60, every=0.2
    )
    assert worker.stop() == 0
    assert acknowledgements(responses, "cus-ana")[0] == (report, "sent")
    assert [status for _, status in acknowledgements(responses, "cus-ana")] == ["sent", "sent"]
    *_, offer = mailbox.mails
    assert (len(mailbox.mails), offer["To"]) == (3, "ana@customers.example")
    assert offer.get_content().replace("\r\n", "\n").startswith("Hallo Ana,\n\ndanke, das bedeutet uns viel.")
