"""A whole history with the words of each vendor that bills: an opt-out or a trouble holds back, a renewal asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.contracts.building import instant
from tests.contracts.test_vendor_histories import FRIDAY, HAPPY, PROMOTER, asked, fact
from tests.rules import rule

WHEN = "2026-09-08T08:00:00Z"
LATER = "2026-09-10T12:00:00Z"
PRAISE = fact("compliment.given", LATER, {})


KNOWN = [
    *HAPPY,
    *(
        fact("customer.linked", f"2026-01-18T08:00:0{number}Z", {"kind": kind, "value": "s"})
        for number, kind in enumerate(("recurly_subscription", "recurly_invoice", "recurly_payment"))
    ),
]
"""Somebody with whom nothing is wrong; the objects of vendors that name no customer are linked to them."""
FOND = [*KNOWN, fact("nps.responded", "2026-03-10T12:00:00Z", {"response_id": "r1", "score": 10})]
"""Somebody who is fond enough of the product to be asked when they renew."""


def asked_in_autumn(lines: list[dict[str, Any]], folder: Path) -> bool:
    """Whether somebody is asked after the notification of these tests."""
    return any(time >= WHEN for time in asked(lines, folder))


class Told(NamedTuple):
    """A vendor's words for customer 501: what each says, as the notification of an instant (RFC 3339).

    ``over`` is said after the trouble of the same place in ``troubles``, a month before the praise.
    """

    opt_outs: tuple[Callable[[str], Any], ...]
    troubles: tuple[Callable[[str], Any], ...]
    over: tuple[Callable[[str], Any], ...]
    good_news: tuple[Callable[[str], Any], ...]
    no_news: tuple[Callable[[str], Any], ...]


def line(vendor: str, payload: Callable[[str], Any], time: str = WHEN) -> dict[str, Any]:
    """A line with a vendor's notification of that instant."""
    return {
        "topic": "billing", "timestamp": time, "headers": {"referral-source": vendor}, "value": payload(time)
    }  # fmt: skip


def chargebee(kind: str, **content: dict[str, Any]) -> Callable[[str], Any]:
    """An event of Chargebee's about subscription ``s`` and invoice ``i``."""
    known = {"customer": {"id": "501"}, "subscription": {"id": "s", "customer_id": "501", "status": "active"}}
    whole = {name: known.get(name, {"id": name[0], "customer_id": "501"}) | more for name, more in content.items()}
    return lambda time: {
        "id": f"ev_{kind}{time}",
        "occurred_at": instant(time) // 1_000,
        "event_type": kind,
        "content": known | whole,
        "object": "event",
    }


def paddle(kind: str, **entity: Any) -> Callable[[str], Any]:
    """A notification of Paddle's about subscription or transaction ``x``."""
    known = {"id": "x", "customer_id": "501", "status": "active"}
    return lambda time: {
        "event_id": f"evt_{kind}{time}", "event_type": kind, "occurred_at": time, "notification_id": "ntf_1",
        "data": known | entity,
    }  # fmt: skip


def paid(**entity: Any) -> Callable[[str], Any]:
    """A completed transaction of Paddle's for another period."""
    totals = {"details": {"totals": {"grand_total": "5400"}}, "items": [{"price": {"trial_period": None}}]}
    known = {"status": "completed", "origin": "subscription_recurring", "subscription_id": "s"}
    return paddle("transaction.completed", **(known | totals | entity))


def recurly(about: str, happened: str, **more: Any) -> Callable[[str], Any]:
    """A notification of Recurly's about object ``s``."""
    known = {"id": "s", "object_type": about, "event_type": happened, "site_id": "site"}
    return lambda time: known | {"event_time": time} | more


def revenuecat(kind: str, **more: Any) -> Callable[[str], Any]:
    """An event of RevenueCat's about subscription ``s``."""
    known = {
        "type": kind, "app_user_id": "501", "original_app_user_id": "$RCAnonymousID:1", "environment": "PRODUCTION",
        "original_transaction_id": "s", "transaction_id": "t", "period_type": "NORMAL", "expiration_at_ms": 1,
    }  # fmt: skip
    return lambda time: {
        "api_version": "1.0",
        "event": known | {"id": f"{kind}{time}", "event_timestamp_ms": instant(time)} | more,
    }


VENDORS: dict[str, Told] = {
    "chargebee": Told(
        opt_outs=(
            chargebee("customer_changed", customer={"cf_opted_out": "True"}),
            chargebee("subscription_changed", customer={"meta_data": {"do_not_contact": True}}),
            chargebee("customer_deleted", customer={"deleted": True}),
            chargebee("customer_unsubscribed"),
            chargebee("customer_changed", customer={"pii_cleared": "cleared"}),
            chargebee("payment_succeeded", customer={"pii_cleared": "scheduled_for_clear"}, invoice={"status": "paid"}),
        ),
        troubles=(
            chargebee("payment_failed", invoice={"status": "payment_due"}, transaction={"status": "failure"}),
            chargebee("subscription_cancellation_scheduled", subscription={"status": "non_renewing"}),
            chargebee("subscription_paused", subscription={"status": "paused"}),
            chargebee("anything", dispute={"transaction_id": "t", "status": "initiated"}),
            chargebee("subscription_cancelled", subscription={"status": "cancelled"}),
            chargebee("payment_refunded", transaction={"type": "refund", "refunded_txn_id": "t"}),
            chargebee("invoice_updated", invoice={"status": "paid", "write_off_amount": 4_500}),
            chargebee("mrr_updated", subscription={"status": "non_renewing"}),
            chargebee("credit_note_created", credit_note={"reason_code": "service_unsatisfactory"}),
            chargebee("omnichannel_subscription_item_expired", omnichannel_subscription_item={"status": "expired"}),
            chargebee("transaction_created", transaction={"type": "refund", "status": "success"}),
            *(
                chargebee("transaction_updated", transaction={"type": "payment", "status": status})
                for status in ("timeout", "late_failure", "needs_attention", "voided")
            ),
            chargebee("customer_changed", invoice={"status": "payment_due"}),
            chargebee("mrr_updated", invoice={"status": "not_paid"}),
        ),
        over=(
            chargebee("payment_succeeded", invoice={"status": "paid"}),
            chargebee("subscription_scheduled_cancellation_removed"),
            chargebee("subscription_resumed"),
            chargebee("anything", dispute={"transaction_id": "t", "status": "won"}),
        ),
        good_news=(chargebee("subscription_renewed", invoice={"status": "paid", "total": 4_500}),),
        no_news=(
            chargebee("subscription_renewed", invoice={"status": "payment_due", "total": 4_500}),
            chargebee("subscription_renewed", invoice={"status": "paid", "total": 0}),
            chargebee("subscription_renewed", invoice={"status": "paid", "total": 4_500, "amount_paid": 0}),
            chargebee("subscription_renewed", invoice={"status": "paid", "total": 4_500, "first_invoice": True}),
            chargebee("omnichannel_subscription_item_renewed", omnichannel_subscription_item={"status": "active"}),
            chargebee("subscription_changed"),
            chargebee("mrr_updated"),
        ),
    ),
    "paddle": Told(
        opt_outs=(
            paddle("customer.updated", id="501", custom_data={"unsubscribed": True}),
            paddle("subscription.updated", custom_data={"do_not_contact": "yes"}),
            paddle("customer.opted_out", id="501"),
        ),
        troubles=(
            paddle("transaction.payment_failed", status="past_due"),
            paddle("subscription.past_due", status="past_due"),
            paddle("subscription.paused", status="paused"),
            paddle("adjustment.created", action="chargeback_warning", transaction_id="t"),
            paddle("adjustment.created", action="chargeback", transaction_id="t"),
            paddle("adjustment.created", action="refund", transaction_id="t", status="pending_approval"),
            paddle("transaction.updated", status="past_due"),
            paddle("subscription.updated", status="canceled", first_billed_at=WHEN),
            paddle("invoice.overdue", transaction_id="t"),
            paddle("subscription.updated", scheduled_change={"action": "cancel"}),
            paddle("subscription.canceled", status="canceled", first_billed_at=WHEN),
        ),
        over=(
            paddle("transaction.paid", status="paid"),
            paddle("subscription.updated"),
            paddle("subscription.resumed"),
            paddle("adjustment.created", action="chargeback_warning_reverse", transaction_id="t"),
        ),
        good_news=(paid(),),
        no_news=(
            paid(origin="web"),
            paid(status="paid"),
            paid(items=[]),
            paid(items=[{"price": {"trial_period": {"interval": "day", "frequency": 14}}}]),
            paid(details={"totals": {"grand_total": "0"}}),
            paddle("subscription.updated"),
            paddle("customer.updated", id="501", marketing_consent=True),
        ),
    ),
    "recurly": Told(
        opt_outs=(recurly("account", "unsubscribed", account_code="501"),),
        troubles=(
            recurly("charge_invoice", "past_due"),
            recurly("subscription", "canceled"),
            recurly("subscription", "pause.scheduled"),
            recurly("subscription", "expired"),
            recurly("subscription", "mandate.inactive"),
            recurly("dunning_event", "created"),
            recurly("payment", "refunded"),
            recurly("payment", "voided"),
            recurly("charge_invoice", "reopened"),
            recurly("subscription", "pause.modified"),
            recurly("account", "closed", account_code="501"),
        ),
        over=(
            recurly("charge_invoice", "paid"),
            recurly("subscription", "reactivated"),
            recurly("subscription", "resumed"),
        ),
        good_news=(),
        no_news=(
            recurly("subscription", "renewed"),
            recurly("charge_invoice", "paid"),
            recurly("subscription", "updated"),
            recurly("payment", "succeeded"),
        ),
    ),
    "revenuecat": Told(
        opt_outs=(
            revenuecat("PRODUCT_CHANGE", subscriber_attributes={"unsubscribed": {"value": "true"}}),
            revenuecat("USER_OPTED_OUT"),
        ),
        troubles=(
            revenuecat("BILLING_ISSUE"),
            revenuecat("CANCELLATION", cancel_reason="UNSUBSCRIBE"),
            revenuecat("CANCELLATION", cancel_reason="BILLING_ERROR"),
            revenuecat("CANCELLATION", cancel_reason="CUSTOMER_SUPPORT"),
            revenuecat("SUBSCRIPTION_PAUSED"),
            revenuecat("EXPIRATION"),
            revenuecat("TRANSFER", app_user_id=None, transferred_from=["501"], transferred_to=["502"]),
        ),
        over=(
            revenuecat("RENEWAL", price=0),
            revenuecat("UNCANCELLATION"),
            revenuecat("RENEWAL", price=0),
        ),
        good_news=(revenuecat("RENEWAL", price=4.99, is_trial_conversion=False),),
        no_news=(
            revenuecat("RENEWAL", price=4.99, is_trial_conversion=True),
            revenuecat("RENEWAL", price=4.99),
            revenuecat("RENEWAL", price=0, is_trial_conversion=False),
            revenuecat("RENEWAL", price=4.99, is_trial_conversion=False, environment="SANDBOX"),
            revenuecat("RENEWAL", price=4.99, is_trial_conversion=False, environment=None),
            revenuecat("TRANSFER", app_user_id=None, transferred_from=["502"], transferred_to=["501"]),
            revenuecat("PRODUCT_CHANGE", price=4.99),
        ),
    ),
}
"""Every vendor that bills."""


def each(field: str) -> pytest.MarkDecorator:
    """A case for everything that one of the fields holds."""
    cases = [(vendor, said) for vendor, told in VENDORS.items() for said in getattr(told, field)]
    return pytest.mark.parametrize(
        ("vendor", "said"), cases, ids=[f"{vendor}-{n}" for n, (vendor, _) in enumerate(cases)]
    )


@rule("I1.10")
@each("opt_outs")
def test_a_promoter_who_opted_out_is_not_asked(vendor: str, said: Callable[[str], Any], tmp_path: Path) -> None:
    assert asked([*KNOWN, line(vendor, said), PROMOTER], tmp_path) == []


@rule("I1.10")
@each("troubles")
def test_who_has_trouble_with_money_is_not_asked_for_praise(
    vendor: str, said: Callable[[str], Any], tmp_path: Path
) -> None:
    assert asked([*KNOWN, PRAISE], tmp_path / "without") == FRIDAY
    assert asked([*KNOWN, line(vendor, said), PRAISE], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize(
    ("vendor", "trouble", "over"),
    [
        (vendor, trouble, over)
        for vendor, told in VENDORS.items()
        for trouble, over in zip(told.troubles, told.over, strict=False)
    ],
)
def test_trouble_that_is_long_over_holds_nobody(
    vendor: str, trouble: Callable[[str], Any], over: Callable[[str], Any], tmp_path: Path
) -> None:
    began = line(vendor, trouble, "2026-07-01T08:00:00Z")
    ended = line(vendor, over, "2026-07-02T08:00:00Z")
    assert asked([*KNOWN, began, PRAISE], tmp_path / "without") == []
    assert asked([*KNOWN, began, ended, PRAISE], tmp_path) == FRIDAY


@rule("10.81")
@each("good_news")
def test_who_renews_is_asked(vendor: str, said: Callable[[str], Any], tmp_path: Path) -> None:
    assert not asked_in_autumn(FOND, tmp_path / "without")
    assert asked_in_autumn([*FOND, line(vendor, said)], tmp_path)


@rule("I1.10")
@each("no_news")
def test_what_only_resembles_a_renewal_asks_nobody(vendor: str, said: Callable[[str], Any], tmp_path: Path) -> None:
    assert not asked_in_autumn([*FOND, line(vendor, said)], tmp_path)
