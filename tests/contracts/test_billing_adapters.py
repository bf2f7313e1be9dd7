"""What the vendors that bill have in common: times and ids that cannot be read, and ids that only an app says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.policy import Identity
from tests.contracts.building import KEY, NOW, Said, accepted, facts, read, refused, said, sample
from tests.contracts.test_billing_histories import WHEN, chargebee, paddle, paid, revenuecat
from tests.rules import rule

LATE: dict[str, tuple[Callable[[str], Any], str, Callable[[str], Any]]] = {
    "chargebee": (
        chargebee("payment_failed", invoice={"status": "payment_due"}),
        "occurred_at",
        chargebee("subscription_renewed", invoice={"status": "paid", "total": 4_500}),
    ),
    "paddle": (paddle("transaction.past_due"), "occurred_at", paid()),
    "revenuecat": (
        revenuecat("BILLING_ISSUE"),
        "event_timestamp_ms",
        revenuecat("RENEWAL", price=4.99, is_trial_conversion=False),
    ),
}
"""Vendor → a trouble, where its events state their time, and good news."""


def timed(payload: dict[str, Any], field: str, time: Any) -> dict[str, Any]:
    """The payload as of another time."""
    return payload | ({field: time} if field in payload else {"event": payload["event"] | {field: time}})


@rule("I1.7", "I1.8")
@pytest.mark.parametrize("vendor", LATE)
@pytest.mark.parametrize("time", [0, "1970-01-01T00:00:00Z", "yesterday"])
def test_of_an_unreadable_time_only_the_trouble_is_taken(vendor: str, time: Any) -> None:
    trouble, field, news = LATE[vendor]
    failed = accepted(read(timed(trouble(WHEN), field, time), timestamp=NOW - 5_000, topic="billing"))[0]
    assert (failed.type, failed.time, failed.flags) == (
        "invoice.payment_failed",
        NOW - 5_000,
        ("time_unreadable",),
    )
    assert "subscription.renewed" not in [kind for kind, _ in said(timed(news(WHEN), field, time))]


@rule("I1.4")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (chargebee("subscription_cancelled", subscription={"id": None}), ["complaint.made"]),
        (chargebee("payment_failed", transaction={"linked_invoices": "x"}), ["complaint.made"]),
        (paddle("subscription.canceled", id={"id": "x"}), ["complaint.made"]),
        (revenuecat("EXPIRATION", original_transaction_id="undefined", transaction_id=None), ["complaint.made"]),
    ],
)
def test_trouble_of_an_object_that_cannot_be_named_is_kept(payload: Callable[[str], Any], expected: list[str]) -> None:
    assert [kind for kind, _ in said(payload("2026-06-16T07:00:00Z"))] == expected


@rule("I1.5")
def test_a_renewal_of_a_subscription_that_cannot_be_named_is_refused() -> None:
    payload = sample("revenuecat.renewal")
    payload["event"] |= {"original_transaction_id": None, "transaction_id": None}
    assert "subscription.renewed" not in [kind for kind, _ in said(payload)]


@rule("I1.3")
@pytest.mark.parametrize("vendor", ["chargebee.subscription_cancelled", "paddle.subscription_canceled"])
def test_trouble_of_nobody_is_a_dead_letter(vendor: str) -> None:
    payload = sample(vendor)
    if "content" in payload:
        payload["content"] = {"subscription": {"id": "s", "status": "cancelled"}}
    else:
        payload["data"] |= {"customer_id": None}
    assert refused(read(payload)).cause == "unusable_id"


@rule("I3.29")
def test_two_ids_of_the_team_that_an_app_says_are_one_person_only_where_apps_are_trusted() -> None:
    payload = sample("revenuecat.renewal")
    payload["event"]["aliases"].append("ana-old")
    alias: Said = [("customer.aliased", {"alias": "ana-old"})]
    trusting = Boundary(email_key=KEY, identity=Identity(trust_browser_aliases=True))
    assert [each for each in said(payload) if each in alias] == []
    assert [each for each in said(payload, trusting) if each in alias] == alias


@rule("I1.10")
def test_a_box_that_nobody_ticked_at_paddles_checkout_is_no_opt_out() -> None:
    kinds = [event.type for event in facts(sample("paddle.customer_created"))]
    assert kinds == ["customer.signed_up", "customer.profile_changed"]
