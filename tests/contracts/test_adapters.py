"""What each vendor's webhook says, and what it does not."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.adapters import BY_NAME, REGISTRY, candidates
from referral_stream.contracts.addresses import address_hmacs, email_hmac
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core import events as ev
from referral_stream.core.events import NpsResponded
from tests.contracts.building import (
    KEY,
    NOW,
    Said,
    accepted,
    cloud_event,
    facts,
    instant,
    only,
    read,
    refused,
    said,
    sample,
    samples,
    skipped,
    taught,
)
from tests.contracts.fuzz import gathered, mutated
from tests.rules import rule

ANA = email_hmac("ana@customer.example", KEY)
HASHES = address_hmacs("ana@customer.example", KEY)


@rule("6.3")
@pytest.mark.parametrize("vendor", BY_NAME)
def test_no_name_address_or_free_text_of_a_webhook_gets_through(vendor: str, subtests: pytest.Subtests) -> None:
    private = ("Ana Example", "ana@", "Ana@", "Milton", "call me", "Far too expensive", "203.0.113.7")
    for each in samples(vendor):
        with subtests.test(each.name):
            written = repr(each.adapted())
            assert [words for words in private if words in written] == []


def test_one_webhook_names_its_events_apart_and_the_same_every_time() -> None:
    ids = [event.id for event in accepted(read(sample("stripe.invoice_paid.cycle")))]
    assert ids == ["evt_1SkRenewal#subscription.renewed", "evt_1SkRenewal#invoice.paid"]
    assert ids == [event.id for event in accepted(read(sample("stripe.invoice_paid.cycle"), offset=99))]
    disputed, linked = accepted(read(sample("stripe.charge_dispute_created")))
    assert (disputed.id, linked.id) == ("evt_1SkDispute", "evt_1SkDispute#customer.linked")


def test_a_deployment_may_say_where_its_customer_ids_are() -> None:
    payload = sample("stripe.invoice_paid.cycle")
    payload["data"]["object"]["metadata"] = {"tenant": 42}
    boundary = Boundary(
        email_key=KEY, customer_paths={"stripe": ("data.object.metadata.tenant", "data.object.customer")}
    )
    assert {event.subject for event in accepted(read(payload, boundary=boundary))} == {"42"}
    assert {event.subject for event in accepted(read(sample("stripe.invoice_paid.cycle"), boundary=boundary))} == {
        "cus_SkAna"
    }


def test_an_address_counts_however_it_is_written() -> None:
    assert re.fullmatch("[0-9a-f]{64}", ANA or "")
    assert email_hmac("  ANA@Customer.example\n", KEY) == ANA
    assert email_hmac("ａｎａ@customer.example", KEY) == ANA
    assert email_hmac("ana@customer.example", b"another key") != ANA


def stripe(
    kind: str, resource: dict[str, Any], before: dict[str, Any] | None = None, **envelope: Any
) -> dict[str, Any]:
    """A live Stripe event about customer cus_1."""
    data: dict[str, Any] = {"object": {"customer": "cus_1", **resource}}
    if before is not None:
        data["previous_attributes"] = before
    return {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created": NOW // 1000,
        "livemode": True,
        "data": data,
        **envelope,
    }


def subscription(**fields: Any) -> dict[str, Any]:
    """A Stripe subscription, active unless said otherwise."""
    return {"id": "sub_1", "object": "subscription", "status": "active", **fields}


def items(amount: int, quantity: int, currency: str = "eur", interval: str = "month") -> dict[str, Any]:
    """A subscription's items."""
    price = {"unit_amount": amount, "currency": currency, "recurring": {"interval": interval, "interval_count": 1}}
    return {"data": [{"price": price, "quantity": quantity}]}


SUB = {"subscription_id": "sub_1"}
INVOICE = {"invoice_id": "in_1"}
UPDATED = "customer.subscription.updated"


@rule("3.6", "10.81")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            stripe("invoice.paid", {"id": "in_1", "billing_reason": "subscription_create", "subscription": "sub_1"}),
            [("invoice.paid", INVOICE)],
        ),
        (stripe("invoice.paid", {"id": "in_1", "billing_reason": "manual"}), [("invoice.paid", INVOICE)]),
        (
            stripe(
                "invoice.paid",
                {"id": "in_1", "billing_reason": "subscription_cycle", "subscription": "sub_1", "total": 0},
            ),
            [("invoice.paid", INVOICE)],
        ),
        (
            stripe(
                "invoice.payment_succeeded",
                {"id": "in_1", "billing_reason": "subscription_cycle", "subscription": {"id": "sub_1"}, "total": 1},
            ),
            [("subscription.renewed", SUB | INVOICE), ("invoice.paid", INVOICE)],
        ),
        (stripe("invoice.payment_failed", {"id": "in_1"}), [("invoice.payment_failed", INVOICE)]),
        (stripe("invoice.marked_uncollectible", {"id": "in_1"}), [("invoice.payment_failed", INVOICE)]),
        (stripe("invoice.voided", {"id": "in_1"}), [("invoice.paid", INVOICE)]),
        (stripe("invoice.created", {"id": "in_1", "billing_reason": "subscription_cycle"}), []),
        (stripe("customer.subscription.created", subscription()), [("subscription.started", SUB)]),
        (stripe("customer.subscription.created", subscription(status="trialing")), [("trial.started", SUB)]),
        (stripe("customer.subscription.created", subscription(status="incomplete")), []),
        (stripe(UPDATED, subscription(), {"status": "incomplete"}), [("subscription.started", SUB)]),
        (stripe(UPDATED, subscription(status="trialing"), {"status": "incomplete"}), [("trial.started", SUB)]),
        (
            stripe(UPDATED, subscription(status="past_due"), {"status": "trialing"}),
            [
                ("trial.ended", SUB | {"converted": True}),
                ("subscription.started", SUB),
                ("complaint.made", {}),  # which invoice is owed is not said
            ],
        ),
        (
            stripe(UPDATED, subscription(status="paused"), {"status": "trialing"}),
            [("trial.ended", SUB | {"converted": False})],
        ),
        (stripe(UPDATED, subscription(), {"status": "past_due"}), []),
        (stripe(UPDATED, subscription(status="canceled"), {"status": "active"}), [("subscription.ended", SUB)]),
        (stripe(UPDATED, subscription(), {"metadata": {}}), []),
        (stripe(UPDATED, subscription()), []),
        (
            stripe(UPDATED, subscription(cancel_at_period_end=True), {"cancel_at_period_end": False}),
            [("cancellation.scheduled", SUB)],
        ),
        (
            stripe(UPDATED, subscription(cancel_at=NOW // 1000 + 9), {"cancel_at": None}),
            [("cancellation.scheduled", SUB)],
        ),
        (
            stripe(UPDATED, subscription(cancel_at_period_end=False), {"cancel_at_period_end": True}),
            [("cancellation.reverted", SUB)],
        ),
        (
            stripe(UPDATED, subscription(cancel_at_period_end=True, cancel_at=5), {"cancel_at": None}),
            [("cancellation.scheduled", SUB)],
        ),
        (
            stripe(UPDATED, subscription(items=items(1000, 5)), {"items": items(1000, 3), "quantity": 3}),
            [("subscription.expanded", {"deal_id": "evt_1", "amount_minor": 2000, "currency": "eur"})],
        ),
        (stripe(UPDATED, subscription(items=items(1000, 3)), {"items": items(1000, 5)}), []),
        (stripe(UPDATED, subscription(items=items(1000, 5)), {"items": items(1000, 3, interval="year")}), []),
        (stripe(UPDATED, subscription(items=items(1000, 5)), {"items": items(1000, 3, currency="usd")}), []),
        (stripe(UPDATED, subscription(items=items(1000, 5)), {"items": {"data": [{"quantity": None}]}}), []),
        (stripe("customer.subscription.deleted", subscription(status="canceled")), [("subscription.ended", SUB)]),
        (
            stripe("customer.subscription.deleted", subscription(ended_at=1_700_000_000, trial_end=1_700_000_000)),
            [("trial.ended", SUB | {"converted": False})],
        ),
        (
            stripe("customer.subscription.deleted", subscription(ended_at=1_700_000_001, trial_end=1_700_000_000)),
            [("subscription.ended", SUB)],
        ),
        (stripe("charge.refunded", {"id": "ch_1", "amount_refunded": 1}), [("charge.refunded", {"charge_id": "ch_1"})]),
        (stripe("charge.dispute.created", {"charge": "ch_1"}), [("charge.disputed", {"charge_id": "ch_1"})]),
        *(
            (
                stripe("charge.dispute.closed", {"charge": "ch_1", "status": status}),
                [("dispute.closed", {"charge_id": "ch_1", "won": won})],
            )
            for status, won in (("won", True), ("warning_closed", True), ("lost", False), (["won"], False))
        ),
        (
            stripe("customer.created", {"object": "customer", "id": "cus_1", "email": "ana@customer.example"}),
            [("customer.signed_up", {"trial": False}), ("customer.profile_changed", HASHES)],
        ),
        (
            stripe("customer.created", {"object": "customer", "id": "cus_1", "email": None}),
            [("customer.signed_up", {"trial": False})],
        ),
        (
            stripe(
                "customer.updated",
                {"object": "customer", "id": "cus_1", "email": "ana@customer.example"},
                {"email": None},
            ),
            [("customer.profile_changed", HASHES)],
        ),
        (stripe("customer.updated", {"object": "customer", "id": "cus_1", "email": "a@b"}, {"name": "x"}), []),
        (
            stripe("customer.deleted", {"object": "customer", "id": "cus_1"}),
            [("customer.erasure_requested", {})],
        ),
    ],
)
def test_stripe(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


def test_a_stripe_customer_is_its_own_customer() -> None:
    created = stripe("customer.created", {"object": "customer", "id": "cus_9", "customer": None})
    assert only(read(created)).subject == "cus_9"


def test_stripe_test_mode_never_reaches_a_customer() -> None:
    assert skipped(read(sample("stripe.invoice_paid.cycle") | {"livemode": False})).reason == "test_mode"


def test_a_stripe_event_counts_in_the_envelope_of_a_bus_as_well() -> None:
    def on_the_bus(event: dict[str, Any]) -> dict[str, Any]:
        return {"detail-type": event["type"], "source": "aws.partner/stripe.com/ed_1", "account": "1", "detail": event}

    deleted = stripe("customer.deleted", {"object": "customer", "id": "cus_9"})
    assert only(read(on_the_bus(deleted))).type == "customer.erasure_requested"
    assert skipped(read(on_the_bus(deleted | {"livemode": False}))).reason == "test_mode"
    assert skipped(read(on_the_bus(deleted | {"account": "acct_1"}))).reason == "other_account"
    assert refused(read(on_the_bus(deleted) | {"source": "aws.partner/else"})).cause == "unrecognised"


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("charge.dispute.created", "dispute"), ("charge.dispute.funds_withdrawn", "dispute"),
        ("refund.created", "refund"), ("credit_note.created", "credit_note"),
    ],
)  # fmt: skip
def test_a_thin_event_of_trouble_that_names_nobody_is_kept_as_a_letter(kind: str, about: str) -> None:
    thin = {"id": "evt_1", "object": "v2.core.event", "type": f"v1.{kind}", "livemode": True}
    of_nobody = thin | {"related_object": {"id": "x_1", "type": about}}
    assert refused(read(of_nobody)).cause == "unusable_id"


def test_an_event_of_stripe_in_somebody_else_s_cloud_event_is_about_whom_it_says() -> None:
    """As Azure's Event Grid hands it on: its own subject is an account."""
    grid = {"specversion": "1.0", "id": "g1", "source": "urn:stripe:acct_1", "subject": "acct_1"}
    deleted = stripe("customer.deleted", {"object": "customer", "id": "cus_1"})
    handed = grid | {"type": "com.stripe.v1.customer.deleted", "data": deleted}
    event = only(read(handed))
    assert (event.type, event.subject, event.source, event.id) == (
        "customer.erasure_requested",
        "cus_1",
        "stripe",
        "evt_1",
    )
    noted = stripe("customer.updated", {"object": "customer", "id": "cus_1", "metadata": {"do_not_email": "true"}})
    assert [(each.type, each.subject) for each in accepted(read(grid | {"type": "com.stripe.x", "data": noted}))] == [
        ("customer.suppressed", "cus_1")
    ]
    assert skipped(read(handed | {"data": deleted | {"livemode": False}})).reason == "test_mode"
    refund = stripe("charge.refunded", {"object": "charge", "id": "ch_1", "customer": "cus_1"})
    refunded = accepted(read(grid | {"type": "charge.refunded", "data": refund}))[0]  # a name of the contract too
    assert (refunded.type, refunded.subject) == ("charge.refunded", "cus_1")
    headers = tuple((f"ce_{name}", value.encode()) for name, value in (grid | {"type": "com.stripe.x"}).items())
    assert only(read(deleted, headers=headers)).subject == "cus_1"


@pytest.mark.parametrize(
    ("payload", "link"),
    [
        (
            stripe("charge.refunded", {"object": "charge", "id": "ch_1", "customer": None, "receipt_email": "a@b.de"}),
            "email",
        ),
        (stripe("charge.refunded", {"object": "charge", "id": "ch_1", "customer": None}), "stripe_charge"),
    ],
)
def test_a_guests_refund_goes_by_the_address(payload: dict[str, Any], link: str) -> None:
    event = only(read(payload))
    assert (event.type, event.link and event.link.kind) == ("charge.refunded", link)


NOBODY = {"customer": None}
CHARGED = {"charge": "ch_1", "payment_intent": "pi_1", **NOBODY}


@rule("I4.18")
@pytest.mark.parametrize(
    ("kind", "resource", "expected", "link"),
    [
        ("charge.dispute.created", CHARGED, ("charge.disputed", {"charge_id": "ch_1"}), ("stripe_charge", "ch_1")),
        (
            "charge.dispute.closed",
            CHARGED | {"object": "dispute", "status": "won"},
            ("dispute.closed", {"charge_id": "ch_1", "won": True}),
            ("stripe_charge", "ch_1"),
        ),
        ("refund.created", CHARGED, ("charge.refunded", {"charge_id": "ch_1"}), ("stripe_charge", "ch_1")),
        ("refund.updated", CHARGED, ("charge.refunded", {"charge_id": "ch_1"}), ("stripe_charge", "ch_1")),
        ("charge.refund.updated", CHARGED, ("charge.refunded", {"charge_id": "ch_1"}), ("stripe_charge", "ch_1")),
        (
            "refund.created",
            CHARGED | {"charge": None},
            ("charge.refunded", {"charge_id": "pi_1"}),
            ("stripe_payment_intent", "pi_1"),
        ),
    ],
)
def test_a_stripe_payload_that_names_a_charge_and_no_customer_says_who_is_meant_by_the_charge(
    kind: str, resource: dict[str, Any], expected: tuple[str, dict[str, Any]], link: tuple[str, str]
) -> None:
    event = only(read(stripe(kind, resource)))
    assert (event.type, event.data.model_dump(exclude_none=True)) == expected
    assert (event.subject, event.link) == ("", link)


@rule("I4.2")
@pytest.mark.parametrize(
    ("kind", "resource", "links"),
    [
        (
            "charge.succeeded",
            {"object": "charge", "id": "ch_1", "payment_intent": "pi_1"},
            {"stripe_charge:ch_1", "stripe_payment_intent:pi_1"},
        ),
        (
            "payment_intent.succeeded",
            {"object": "payment_intent", "id": "pi_1", "latest_charge": "ch_1"},
            {"stripe_charge:ch_1", "stripe_payment_intent:pi_1"},
        ),
        (
            "payment_intent.succeeded",
            {"object": "payment_intent", "id": "pi_1", "charges": {"data": [{"id": "ch_1"}]}},
            {"stripe_charge:ch_1", "stripe_payment_intent:pi_1"},
        ),
        (
            "invoice.created",
            {"object": "invoice", "id": "in_1", "charge": "ch_1", "payment_intent": {"id": "pi_1"}},
            {"stripe_charge:ch_1", "stripe_payment_intent:pi_1"},
        ),
        (
            "invoice.created",
            {"object": "invoice", "id": "in_1", "payments": {"data": [{"payment": {"payment_intent": "pi_1"}}]}},
            {"stripe_payment_intent:pi_1"},
        ),
        (
            "checkout.session.completed",
            {"object": "checkout.session", "id": "cs_1", "payment_intent": "pi_1", "client_reference_id": "u1"},
            {"stripe_payment_intent:pi_1", "stripe_client_reference:u1"},
        ),
        (
            "customer.subscription.trial_will_end",
            {"object": "subscription", "id": "sub_1", "customer_account": "acct_1"},
            {"stripe_account:acct_1"},
        ),
    ],
)
def test_whatever_of_stripes_names_a_customer_and_a_charge_teaches_whose_it_is(
    kind: str, resource: dict[str, Any], links: set[str]
) -> None:
    events = accepted(read(stripe(kind, resource)))
    assert {(event.type, event.subject) for event in events} == {("customer.linked", "cus_1")}
    assert {f"{event.data.kind}:{event.data.value}" for event in events} == links


@rule("I2.7")
def test_a_deployments_own_id_is_linked_to_stripes() -> None:
    boundary = Boundary(email_key=KEY, customer_paths={"stripe": ("data.object.metadata.tenant",)})
    paid, *linked = accepted(read(stripe("invoice.paid", INVOICE_OF_TENANT), boundary=boundary))
    assert (paid.type, paid.subject) == ("invoice.paid", "tenant-7")
    assert [(event.data.kind, event.data.value) for event in linked] == [("stripe_customer", "cus_1")]
    failed = only(read(stripe("invoice.payment_failed", {"id": "in_2"}), boundary=boundary))
    assert (failed.subject, failed.link) == ("", ("stripe_customer", "cus_1"))


INVOICE_OF_TENANT = {"object": "invoice", "id": "in_1", "metadata": {"tenant": "tenant-7"}}


@rule("I1.10")
def test_a_customer_of_a_connected_account_is_not_ours() -> None:
    skip = skipped(read(stripe("customer.created", {"object": "customer", "id": "cus_9"}, account="acct_1Merchant")))
    assert skip.reason == "other_account"


@rule("I1.10", "11.19")
@pytest.mark.parametrize("total", [0, -1200, None, "x"])
def test_a_cycle_of_nothing_or_of_a_credit_renews_nothing(total: Any) -> None:
    cycle = {"id": "in_1", "billing_reason": "subscription_cycle", "subscription": "sub_1", "total": total}
    assert said(stripe("invoice.paid", cycle)) == [("invoice.paid", INVOICE)]


def test_an_invoice_without_a_subscription_renews_none() -> None:
    cycle = {"id": "in_1", "billing_reason": "subscription_cycle", "total": 4900, "parent": None, "lines": {"data": []}}
    assert said(stripe("invoice.paid", cycle)) == [("invoice.paid", INVOICE)]


@pytest.mark.parametrize(
    ("kind", "now", "before", "expected"),
    [
        ("updated", {"pause_collection": {"behavior": "void"}}, {"pause_collection": None}, "cancellation.scheduled"),
        ("updated", {"pause_collection": None}, {"pause_collection": {"behavior": "void"}}, "cancellation.reverted"),
        (
            "updated",
            {"pause_collection": None, "cancel_at_period_end": True},
            {"pause_collection": {"behavior": "void"}},
            "cancellation.scheduled",
        ),
        ("collection_paused", {"pause_collection": {"behavior": "void"}}, None, "cancellation.scheduled"),
        ("collection_resumed", {"pause_collection": None}, None, "cancellation.reverted"),
        ("collection_resumed", {"cancel_at": 1_800_000_000}, None, None),
        ("updated", {"status": "paused"}, {"status": "active"}, "subscription.ended"),
        ("paused", {"status": "paused", "trial_end": NOW // 1000 - 90 * 86_400}, None, "subscription.ended"),
        ("paused", {"status": "paused", "trial_end": NOW // 1000}, None, "trial.ended"),
    ],
)
def test_who_pauses_paying_is_as_one_who_is_leaving(
    kind: str, now: dict[str, Any], before: dict[str, Any] | None, expected: str | None
) -> None:
    found = said(stripe(f"customer.subscription.{kind}", subscription(**now), before))
    assert [name for name, _ in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize("status", ["needs_response", "under_review", "warning_needs_response", None])
@pytest.mark.parametrize("kind", ["updated", "funds_withdrawn"])
def test_a_dispute_that_goes_on_is_open(kind: str, status: str | None) -> None:
    changed = stripe(f"charge.dispute.{kind}", {"object": "dispute", "charge": "ch_1", "status": status})
    assert said(changed)[0] == ("charge.disputed", {"charge_id": "ch_1"})


@pytest.mark.parametrize(
    ("status", "won"), [("won", True), ("warning_closed", True), ("lost", False), ("prevented", False)]
)
@pytest.mark.parametrize("kind", ["updated", "funds_reinstated"])
def test_a_dispute_that_was_decided_is_closed(kind: str, status: str, won: bool) -> None:
    changed = stripe(f"charge.dispute.{kind}", {"object": "dispute", "charge": "ch_1", "status": status})
    assert said(changed)[0] == ("dispute.closed", {"charge_id": "ch_1", "won": won})


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({"consent": {"promotions": "opt_out"}}, [("cus_1", None)]),
        (
            {
                "consent": {"promotions": "opt_out"},
                "customer": None,
                "customer_details": {"email": "Ana@customer.example"},
            },
            [("", ("email", ANA))],
        ),
        ({"consent": {"promotions": "opt_in"}}, []),
        ({"consent": None}, []),
    ],
)
@pytest.mark.parametrize("kind", ["completed", "expired"])
def test_who_declines_promotions_at_a_checkout_is_not_asked_by_mail(
    kind: str, session: dict[str, Any], expected: list[Any]
) -> None:
    adapted = read(stripe(f"checkout.session.{kind}", {"object": "checkout.session", "id": "cs_1", **session}))
    events = [] if getattr(adapted, "reason", None) == "irrelevant" else accepted(adapted)
    refusals = [event for event in events if event.type == "customer.consent_changed"]
    assert [(event.subject, event.link) for event in refusals] == expected
    assert all((event.data.channel, event.data.granted) == ("email", False) for event in refusals)


def delighted(kind: str = "survey_response.created", **response: Any) -> dict[str, Any]:
    """A Delighted webhook about person 7."""
    body = {"id": "1", "person": {"id": 7}, "score": 9, "created_at": NOW // 1000, **response}
    return {"event_type": kind, "event_id": "e1", "event_data": body}


@rule("3.2")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (delighted(), [("nps.responded", {"response_id": "1", "score": 9})]),
        (
            delighted(survey_type="nps", nps_category="promoter", score=3),
            [("nps.responded", {"response_id": "1", "score": 3})],
        ),
        (
            delighted(survey_type="csat", score=4),
            [("csat.responded", {"response_id": "1", "score": 4.0, "scale_max": 5.0})],
        ),
        (delighted(survey_type="ces"), []),
        (delighted(score="0"), [("nps.responded", {"response_id": "1", "score": 0})]),
        (delighted("unsubscribe.created"), [("customer.suppressed", {"reason": "unsubscribe"})]),
        (delighted("unsubscribe.restored"), [("customer.suppressed", {"reason": "recognised"})]),
        (delighted("bounce.created"), [("customer.suppressed", {"reason": "recognised"})]),
        (delighted("survey_response.deleted"), []),
    ],
)
def test_delighted(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


def test_a_corrected_score_is_a_newer_revision_of_the_same_response() -> None:
    first = accepted(read(sample("delighted.survey_response_created")))[0]
    second = accepted(read(sample("delighted.survey_response_updated")))[0]
    assert isinstance(first.data, NpsResponded)
    assert isinstance(second.data, NpsResponded)
    assert first.data.response_id == second.data.response_id
    assert first.time < second.time
    assert first.id != second.id


@pytest.mark.parametrize("score", [None, 11, "nine", True])
def test_an_impossible_delighted_score_is_refused(score: Any) -> None:
    assert refused(read(delighted(score=score))).detail.startswith("score: ")


@rule("I2.7", "I4.2")
@pytest.mark.parametrize(
    ("told", "subject", "link", "linked"),
    [
        ({"person_properties": {"customer_id": "u1"}}, "u1", None, [("delighted_person", "7")]),
        ({}, "", ("delighted_person", "7"), []),
        ({"person": {"id": 7, "email": " ANA@customer.example"}}, "", ("email", ANA), []),
    ],
)
@pytest.mark.parametrize("kind", ["survey_response.created", "unsubscribe.created"])
def test_delighteds_own_person_is_linked_to_the_customer_or_says_who_is_meant(
    kind: str, told: dict[str, Any], subject: str, link: tuple[str, str] | None, linked: list[tuple[str, str]]
) -> None:
    first, *others = accepted(read(delighted(kind, **told)))
    assert (first.subject, first.link) == (subject, link)
    assert [(event.data.kind, event.data.value) for event in others] == linked


def zendesk(kind: str, event: dict[str, Any], **detail: Any) -> dict[str, Any]:
    """A Zendesk event about ticket 5 of requester 7."""
    return {
        "id": "z1",
        "type": f"zen:event-type:{kind}",
        "time": "2026-06-16T07:00:00Z",
        "subject": "zen:ticket:5",
        "detail": {"id": 5, "requester_id": 7, **detail},
        "event": event,
    }


TICKET = {"ticket_id": "5"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (zendesk("ticket.created", {}, status="NEW", priority=None), [("ticket.opened", TICKET)]),
        (zendesk("ticket.created", {}, status="NEW", priority="-"), [("ticket.opened", TICKET)]),
        (zendesk("ticket.created", {}, priority="high"), [("ticket.opened", TICKET | {"priority": "high"})]),
        (zendesk("ticket.created", {}, status="SOLVED"), []),
        *(
            (zendesk("ticket.status_changed", {"previous": previous, "current": current}), expected)
            for previous, current, expected in (
                ("OPEN", "SOLVED", [("ticket.solved", TICKET)]),
                ("open", "closed", [("ticket.solved", TICKET)]),
                ("SOLVED", "CLOSED", []),
                ("SOLVED", "OPEN", [("ticket.reopened", TICKET)]),
                ("CLOSED", "PENDING", [("ticket.reopened", TICKET)]),
                ("NEW", "OPEN", []),
                ("SOLVED", None, []),
                (None, "SOLVED", [("ticket.solved", TICKET)]),
            )
        ),
        *(
            (zendesk("ticket.csat_received", {"satisfaction_score": {"score": score}}), expected)
            for score, expected in (
                ("GOOD", [("ticket.rated", TICKET | {"rating": "positive"})]),
                ("bad", [("ticket.rated", TICKET | {"rating": "negative"})]),
                ("OFFERED", []),
                (None, []),
            )
        ),
        *(
            (zendesk(f"ticket.{gone}", {}), [("ticket.solved", TICKET)])
            for gone in ("merged", "marked_as_spam", "soft_deleted", "permanently_deleted")
        ),
        (zendesk("ticket.undeleted", {}, status="OPEN"), [("ticket.reopened", TICKET)]),
        (zendesk("ticket.undeleted", {}, status="CLOSED"), []),
        (zendesk("ticket.comment_added", {"comment": {"body": "hello"}}), []),
        (
            zendesk("ticket.requester_changed", {"current": "7"}, status="OPEN", priority="HIGH"),
            [("ticket.opened", TICKET | {"priority": "high"})],
        ),
        (zendesk("ticket.requester_changed", {"current": "7"}, status="SOLVED"), []),
        (zendesk("ticket.unsubscribed", {}), [("customer.suppressed", {"reason": "recognised"})]),
    ],
)
def test_zendesk(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


@rule("I2.6")
def test_a_ticket_of_nobody_is_a_dead_letter() -> None:
    assert refused(read(zendesk("ticket.created", {}, requester_id=None))).cause == "unusable_id"


@rule("I1.10")
def test_a_ticket_that_changes_hands_is_the_new_requesters_and_no_longer_the_former_ones() -> None:
    opened, solved = accepted(
        read(zendesk("ticket.requester_changed", {"current": "8", "previous": "7"}, requester_id="8", status="OPEN"))
    )
    assert (opened.type, opened.subject, opened.id) == ("ticket.opened", "8", "z1")
    assert (solved.type, solved.subject, solved.id) == ("ticket.solved", "7", "z1:former")
    assert solved.time < opened.time  # so that it stays open if both turn out to be one customer


def user(kind: str, event: dict[str, Any] | None = None, **detail: Any) -> dict[str, Any]:
    """A Zendesk event about user 7."""
    whole = {"id": "7", "email": "Ana@customer.example", "external_id": "u1", "role": "end-user", **detail}
    return zendesk(kind, event or {}, **whole) | {"subject": "zen:user:7", "detail": whole}


USER = [("customer.profile_changed", HASHES)]


@rule("I3.28", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (user("user.merged", {"user": {"id": "6"}}), [("customer.aliased", {"alias": "6"}), *USER]),
        (user("user.merged", {"user": {"id": 7}}), USER),
        (user("user.merged") | {"type": "zen:event-type/user.merged"}, USER),
        (user("user.created"), USER),
        (user("user.identity_changed"), USER),
        (user("user.deleted"), [("customer.erasure_requested", {})]),
        (user("user.active_changed", {"current": False}), []),
        (user("user.suspended_changed", {"current": True}), []),
        (user("user.merged", {"user": {"id": "6"}}, role="agent"), []),
        (user("user.marketing_opt_out"), [("customer.suppressed", {"reason": "recognised"}), *USER]),
    ],
)
def test_a_zendesk_user(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected
    if expected:
        assert {event.subject for event in accepted(read(payload))} == {"7"}
        assert ("zendesk_external_id", "u1") in taught(payload)


def test_a_zendesk_ticket_reaches_the_teams_own_id_through_the_user() -> None:
    boundary = Boundary(email_key=KEY, customer_paths={"zendesk": ("detail.external_id",)})
    known = accepted(read(user("user.created"), boundary=boundary))
    assert {event.subject for event in known} == {"u1"}
    assert ("zendesk_user", "7") in [(e.data.kind, e.data.value) for e in known if e.type == "customer.linked"]
    ticket = only(read(zendesk("ticket.created", {}, external_id="the ticket's own"), boundary=boundary))
    assert (ticket.subject, ticket.link) == ("", ("zendesk_user", "7"))


def test_a_user_merged_on_the_event_bus_is_one_customer() -> None:
    event = {"meta": {"occurred_at": "2026-06-16T07:00:00Z", "sequence": {"id": "s", "position": 1}}}
    body = {"detail": {"user_event": event | {"type": "User Merged", "user": {"id": 7}, "merged_user": {"id": 6}}}}
    aliased = only(read(body))
    assert (aliased.type, aliased.subject, aliased.data.alias, aliased.id) == ("customer.aliased", "7", "6", "s:1")


def track(name: Any, properties: dict[str, Any] | None = None, **call: Any) -> dict[str, Any]:
    """A Segment track call of user u1 in account a1."""
    whole = {"type": "track", "event": name, "userId": "u1", "context": {"groupId": "a1"}, "messageId": "m1", **call}
    return whole | {"timestamp": "2026-06-16T07:00:00Z", "properties": properties or {}}


A1 = {"subscription_id": "segment:a1"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (track("Signed In"), [("usage.recorded", {"feature": "Signed In", "count": 1})]),
        (track("Signed Out"), []),
        (
            track("Signed Up", {"email": "ana@customer.example", "first_name": "Ana"}),
            [
                ("customer.signed_up", {"trial": False}),
                ("customer.profile_changed", {"account_id": "a1", **HASHES}),
            ],
        ),
        (track("Signed Up", context={}), [("customer.signed_up", {"trial": False})]),
        (track("Trial Started"), [("trial.started", A1)]),
        (track("Trial Started", {"subscription_id": 9}), [("trial.started", {"subscription_id": "9"})]),
        (track("Trial Started", context={}), [("trial.started", {"subscription_id": "segment:u1"})]),
        (track("Trial Ended"), [("trial.ended", A1 | {"converted": False})]),
        (track("Trial Ended", {"converted": True}), [("trial.ended", A1 | {"converted": True})]),
        (track("Account Created", {"account_name": "Initech"}), [("customer.profile_changed", {"account_id": "a1"})]),
        (track("Account Created", context={}), []),
        (track("Account Added User"), [("customer.profile_changed", {"account_id": "a1"})]),
        (track("Account Removed User"), []),
        (track("Account Deleted"), [("subscription.ended", A1)]),
        (track("Email Opened", {"email_id": "m7"}), [("email.opened", {"message_id": "m7"})]),
        (track("Email Link Clicked", {"email_id": "m7"}), [("email.clicked", {"message_id": "m7"})]),
        (track("Email Delivered", {"email_id": "m7"}), []),
        (track("Email Bounced"), [("customer.suppressed", {"reason": "bounce"})]),
        (track("Email Marked as Spam"), [("customer.suppressed", {"reason": "spam_report"})]),
        (track("Unsubscribed"), [("customer.suppressed", {"reason": "unsubscribe"})]),
        (track("Live Chat Conversation Started"), [("interaction.recorded", {"kind": "chat"})]),
        (track("Live Chat Message Sent", {"message_body": "hello"}), []),
        (track("Onboarding Completed"), [("onboarding.completed", {})]),
        (
            track("Milestone Reached", {"milestone": "first-report", "first_success": True, "other": 1}),
            [("milestone.reached", {"milestone": "first-report", "first_success": True})],
        ),
        (track("Dashboard Viewed", {"metrics_positive": True}), [("dashboard.viewed", {"metrics_positive": True})]),
        (track("Report Exported" * 100), []),
        (track("invite_sent"), [("usage.recorded", {"feature": "invite_sent", "count": 1})]),
        (track("Dashboard Viewed", {"name": "sales"}), []),
        (track(None), []),
        (track(["Report"]), []),
        ({"type": "page", "userId": "u1", "name": "Pricing"}, []),
        ({"type": "group", "userId": "u1", "groupId": 7}, [("customer.profile_changed", {"account_id": "7"})]),
        ({"type": "identify", "userId": "u1", "traits": {"plan": "team"}}, []),
    ],
)
def test_segment(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


def test_segment_identify_tells_the_address_and_since_when() -> None:
    profile, signed_up = facts(sample("segment.identify"))
    assert profile.data.email_hmac == ANA
    assert (signed_up.type, signed_up.time) == ("customer.signed_up", instant("2026-01-05T10:00:00Z"))
    assert profile.time == instant("2026-06-16T07:58:04.800Z")


@rule("I4.4")
def test_an_address_that_any_browser_could_send_is_flagged_so() -> None:
    profile, signed_up, linked = accepted(read(sample("segment.identify")))
    assert (profile.flags, signed_up.flags, linked.flags) == ((ev.BROWSER,), (), ())
    assert linked.data == ev.Linked(kind="segment_anonymous", value="a0f1")
    told = cloud_event("customer.profile_changed", subject="u1", data={"email_hmac": ANA})
    assert ev.BROWSER not in only(read(told)).flags


def test_segment_tells_account_and_time_zone() -> None:
    (event,) = facts(sample("segment.track"))
    assert (event.account, event.timezone, event.id) == ("acc-initech", "Europe/Berlin", "ajs-0001")


def test_the_email_specs_own_spelling_is_read() -> None:
    event = only(read({"user_id": "u1", "action": "track", "event": "Email Opened", "properties": {"email_id": "m7"}}))
    assert (event.type, event.subject, event.flags) == ("email.opened", "u1", ("time_unreadable",))


def test_an_anonymous_visitor_is_nobody_we_know() -> None:
    payload = {"type": "track", "event": "Signed In", "anonymousId": "x"}
    assert skipped(read(payload)).reason == "no_customer"


def test_a_cloud_event_of_type_track_is_no_segment_call() -> None:
    assert skipped(read(cloud_event("track", userId="u1"))).reason == "unknown_type"


MATERIAL = gathered()


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_who_recognises_a_body_is_asked_about_it(number: int) -> None:
    """By its marks: else nobody would ever learn that it is theirs."""
    body = mutated(MATERIAL.bodies[number % len(MATERIAL.bodies)], Random(number), MATERIAL)
    asked = candidates(body)
    assert [adapter.name for adapter in REGISTRY if adapter.parts(body) and adapter not in asked] == []
    assert [adapter.name for adapter in asked] == [adapter.name for adapter in REGISTRY if adapter in asked]
