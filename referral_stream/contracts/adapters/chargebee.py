"""Chargebee: events of the API's versions 1 and 2, of either product catalogue.

An event holds the resources as they were after it, never as they were before: what became of an invoice or a dispute
is read from its state, and nothing counts as an expansion. A renewal is one whose invoice is paid.
"""

from __future__ import annotations

import re
from typing import Any

from referral_stream.contracts.adapters.billing import (
    BillingRow,
    by_state,
    moment,
    nothing,
    path,
    plain,
    row,
    rows,
    where,
)
from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    list_at,
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import with_opt_out
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_CUSTOMERS = (
    "content.customer.id",
    "content.subscription.customer_id",
    "content.invoice.customer_id",
    "content.transaction.customer_id",
    "content.credit_note.customer_id",
    "content.dispute.customer_id",
    "content.omnichannel_subscription.customer_id",
    "content.omnichannel_one_time_order.customer_id",
)
"""Where a resource names its customer: of one event all name the same one."""
_TEST_SITE = re.compile("(?:ev|txn)___test__")
"""How the ids of a test site's events and transactions begin."""


def recognises(payload: Payload) -> bool:
    """An event: its name, and what it holds; a resource alone, or an answer of the API, is none."""
    return isinstance(payload.get("event_type"), str) and isinstance(payload.get("content"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(payload.get("event_type"))
    if _is_of_test_site(payload):
        return Skipped("test_mode", kind)
    facts = _EVENTS[kind](payload) if kind in _EVENTS else unlisted(kind)
    states = (fact for state in _STATES for fact in state(payload) if fact not in facts)
    known = _profile(payload, reading) if kind in _CUSTOMER_EVENTS else ()
    return about_whom(
        payload,
        reading,
        with_opt_out((*facts, *states, *known), *_own_fields(payload)),
        (("chargebee_customer", id_at(payload, *_CUSTOMERS)), ("email", at(payload, "content.customer.email"))),
        kind=kind,
        id=id_at(payload, "id"),
        time=time_at(payload, "occurred_at"),
    )


def _is_of_test_site(payload: Payload) -> bool:
    """By the ids that Chargebee makes itself; a customer's may have come from another site."""
    ids = (payload.get("id"), at(payload, "content.transaction.id"))
    return any(isinstance(each, str) and _TEST_SITE.match(each) is not None for each in ids)


def _own_fields(payload: Payload) -> tuple[Any, ...]:
    """What a team keeps of its own in a customer or a subscription: custom fields and metadata."""
    resources = [object_at(payload, f"content.{name}") for name in ("customer", "subscription")]
    custom = [{name: value for name, value in each.items() if name.startswith("cf_")} for each in resources]
    return (*custom, *(each.get("meta_data") for each in resources))


_status, _invoice_status = path("content.subscription.status"), path("content.invoice.status")
_SUBSCRIPTION, _INVOICE = "content.subscription.id", "content.invoice.id"


def _life(kind: str, **more: Any) -> BillingRow:
    return row(kind, "subscription_id", _SUBSCRIPTION, **more)


_SCHEDULED, _REVERTED = _life("cancellation.scheduled"), _life("cancellation.reverted")
_STARTED, _TRIAL = _life("subscription.started"), _life("trial.started")


def _ended_in_trial(payload: Payload) -> bool:
    ends = (at(payload, f"content.subscription.{name}") for name in ("cancelled_at", "trial_end"))
    ended, trial_end = map(moment, ends)
    return ended is not None and trial_end is not None and ended <= trial_end


_CANCELLED = where(_ended_in_trial, _life("trial.ended", converted=False), _life("subscription.ended"))
_LEAVING = by_state(_status, {"non_renewing": _SCHEDULED, "paused": _SCHEDULED, "cancelled": _CANCELLED})
"""Whoever misses the event that says so sees it at the next one: that it will not renew, is paused, or has ended."""
_BEGUN = rows(by_state(_status, {"in_trial": _TRIAL, "active": _STARTED, "non_renewing": _STARTED}), _LEAVING)
"""A subscription as it is now; a future one has not begun."""


def _was_tried(payload: Payload) -> bool:
    return at(payload, "content.subscription.trial_end") is not None


_ACTIVATED = rows(where(_was_tried, _life("trial.ended", converted=True)), _BEGUN)


def _back(payload: Payload) -> Facts:
    """Ended and begun again, or no longer leaving; somebody who still is has not come back."""
    return _BEGUN(payload) if _LEAVING(payload) else (*_BEGUN(payload), *_REVERTED(payload))


def _stays(payload: Payload) -> Facts:
    return _LEAVING(payload) or _REVERTED(payload)


def _is_written_off(payload: Payload) -> bool:
    """Given up as lost: such an invoice is called paid, and so are those that a credit note settles."""
    return at(payload, "content.invoice.write_off_amount") not in (None, 0, "0")


def _is_paid_for(payload: Payload) -> bool:
    """An invoice of nothing renews nothing, nor does one that is still due, the first one, or one paid by nobody."""
    invoice = object_at(payload, "content.invoice")
    total, paid = whole_number(invoice.get("total")), whole_number(invoice.get("amount_paid", invoice.get("total")))
    is_paid = (
        invoice.get("status") == "paid" and not _is_written_off(payload) and invoice.get("first_invoice") is not True
    )
    return is_paid and all(each is not None and each > 0 for each in (total, paid)) and _status(payload) == "active"


def _again(payload: Payload) -> Facts:
    ids = {"subscription_id": id_at(payload, _SUBSCRIPTION), "invoice_id": id_at(payload, _INVOICE)}
    return (Fact("subscription.renewed", ids),)


_PAID, _UNPAID = row("invoice.paid", "invoice_id", _INVOICE), row("invoice.payment_failed", "invoice_id", _INVOICE)
_OWED = by_state(
    _invoice_status,
    {"paid": where(_is_written_off, _UNPAID, _PAID), "voided": _PAID, "payment_due": _UNPAID, "not_paid": _UNPAID},
)
"""``payment_due`` is being retried after a failure; ``posted`` is not due yet. What is written off was never paid."""


def _linked(payload: Payload) -> list[Payload]:
    """The invoices of a payment: it may be for several, and then the event holds none of them."""
    return [each for each in list_at(payload, "content.transaction.linked_invoices") if isinstance(each, dict)]


def _payment(payload: Payload) -> Facts:
    """What each invoice of a payment is now."""
    if object_at(payload, "content.invoice"):
        return _OWED(payload)
    linked = (
        {"content": {"invoice": {"id": each.get("invoice_id"), "status": each.get("invoice_status")}}}
        for each in _linked(payload)
    )
    return tuple(fact for each in linked for fact in _OWED(each))


def _failure(payload: Payload) -> Facts:
    ids = dict.fromkeys((id_at(payload, _INVOICE), *(id_at(each, "invoice_id") for each in _linked(payload))))
    return tuple(Fact("invoice.payment_failed", {"invoice_id": each}) for each in ids if each) or _UNPAID(payload)


_REFUNDED = row("charge.refunded", "charge_id", "content.transaction.refunded_txn_id", "content.transaction.id")

_DISPUTED = "content.dispute.transaction_id"
_LOST, _WON = (row("dispute.closed", "charge_id", _DISPUTED, won=won) for won in (False, True))
_DISPUTE = by_state(
    path("content.dispute.status"),
    {"won": _WON, "cancelled": _WON, "lost": _LOST},
    where(lambda payload: bool(object_at(payload, "content.dispute")), row("charge.disputed", "charge_id", _DISPUTED)),
)
"""A dispute as it is now, whatever the event is called that brings it."""
_REVERSAL = by_state(
    path("content.transaction.type"),
    {
        "payment": by_state(
            path("content.transaction.status"),
            dict.fromkeys(("failure", "timeout", "late_failure", "needs_attention"), _failure) | {"voided": _REFUNDED},
        ),
        "payment_reversal": row("dispute.closed", "charge_id", "content.transaction.id", won=False),
        "refund": by_state(path("content.transaction.status"), {"failure": nothing, "voided": nothing}, _REFUNDED),
    },
)
"""A payment that was taken back: a chargeback that is lost, a direct debit that was returned, or a refund."""
_COMPLAINED = row("complaint.made", "reference", "content.credit_note.id")
_REASONS = {"product_unsatisfactory": _COMPLAINED, "service_unsatisfactory": _COMPLAINED, "chargeback": _COMPLAINED}


def _credited(payload: Payload) -> Facts:
    """A credit because somebody was not content: the reason is one of Chargebee's, or its name in a team's list."""
    codes = (at(payload, f"content.credit_note.{name}") for name in ("reason_code", "create_reason_code"))
    said = (_REASONS.get("_".join(code.casefold().split())) for code in codes if isinstance(code, str))
    return next((each(payload) for each in said if each is not None), ())


_CLEARED = by_state(
    path("content.customer.pii_cleared"),
    dict.fromkeys(("cleared", "scheduled_for_clear"), plain("customer.erasure_requested")),
)
"""Whose personal data are deleted, or soon will be, keeps their id and their invoices."""

_ITEM = "content.omnichannel_subscription_item.id"
_ITEM_SCHEDULED, _ITEM_REVERTED, _ITEM_STARTED, _ITEM_ENDED = (
    row(kind, "subscription_id", _ITEM)
    for kind in ("cancellation.scheduled", "cancellation.reverted", "subscription.started", "subscription.ended")
)
_ITEM_PAID, _ITEM_UNPAID = (row(f"invoice.{what}", "invoice_id", _ITEM) for what in ("paid", "payment_failed"))
_GOES_ON = by_state(
    path("content.omnichannel_subscription_item.auto_renew_status"), {"off": _ITEM_SCHEDULED}, _ITEM_PAID
)
_IN_STORE = by_state(
    path("content.omnichannel_subscription_item.status"),
    {
        "active": _GOES_ON,
        "in_grace_period": _ITEM_UNPAID,
        "in_dunning": _ITEM_UNPAID,
        "cancelled": _ITEM_SCHEDULED,
        "paused": _ITEM_SCHEDULED,
        "expired": _ITEM_ENDED,
    },
)
"""A subscription of an app store as it is now; what is owed goes by its own id."""


def _refunded_by_store(what: str) -> BillingRow:
    refunded = row("charge.refunded", "charge_id", f"content.{what}.id")
    reasons = ("refunded_due_to_app_issue", "refunded_for_other_reason", "merchant_revoked")
    return by_state(path(f"content.{what}.cancellation_reason"), dict.fromkeys(reasons, refunded))


def _stays_in_store(payload: Payload) -> Facts:
    facts = _IN_STORE(payload)
    return (*facts, *_ITEM_STARTED(payload), *_ITEM_REVERTED(payload)) if facts == _ITEM_PAID(payload) else facts


_STILL_OWED = where(
    lambda payload: payload.get("event_type") != _INVOICE_DELETED,
    by_state(_invoice_status, {"payment_due": _UNPAID, "not_paid": _UNPAID}),
)
_INVOICE_DELETED = "invoice_deleted"
_STATES: tuple[BillingRow, ...] = (_CLEARED, _DISPUTE, _LEAVING, _IN_STORE, _STILL_OWED)
"""What counts whatever the event is called: whoever misses one sees it at the next one."""


def _profile(payload: Payload, reading: Reading) -> Facts:
    return profile(**reading.address_hmacs(at(payload, "content.customer.email")))


_CUSTOMER_EVENTS = ("customer_created", "customer_changed", "customer_moved_in")
_EVENTS: dict[str, BillingRow] = {
    "customer_created": plain("customer.signed_up"),
    "customer_changed": nothing,
    "customer_moved_in": nothing,
    "customer_deleted": plain("customer.erasure_requested"),
    "subscription_created": _BEGUN,
    "subscription_created_with_backdating": _BEGUN,
    "subscription_started": _BEGUN,
    "subscription_activated": _ACTIVATED,
    "subscription_activated_with_backdating": _ACTIVATED,
    "subscription_trial_extended": _TRIAL,
    "subscription_changed": _LEAVING,
    "subscription_changed_with_backdating": _LEAVING,
    "subscription_renewed": rows(where(_is_paid_for, _again), _OWED, _LEAVING),
    "subscription_cancellation_scheduled": _SCHEDULED,
    "subscription_cancellation_reminder": _SCHEDULED,
    "subscription_scheduled_cancellation_removed": _stays,
    "subscription_pause_scheduled": _SCHEDULED,
    "subscription_scheduled_pause_removed": _stays,
    "subscription_paused": _SCHEDULED,
    "subscription_scheduled_resumption_removed": _SCHEDULED,
    "subscription_resumed": _stays,
    "subscription_cancelled": _CANCELLED,
    "subscription_canceled_with_backdating": _CANCELLED,
    "subscription_deleted": _life("subscription.ended"),
    "subscription_reactivated": _back,
    "subscription_reactivated_with_backdating": _back,
    "invoice_generated": _OWED,
    "invoice_generated_with_backdating": _OWED,
    "invoice_updated": _OWED,
    "dunning_updated": _OWED,
    _INVOICE_DELETED: _PAID,
    "payment_succeeded": _payment,
    "payment_failed": _failure,
    "payment_refunded": _REFUNDED,
    "refund_initiated": _REFUNDED,
    "transaction_created": _REVERSAL,
    "transaction_updated": _REVERSAL,
    "credit_note_created": _credited,
    "credit_note_created_with_backdating": _credited,
    "credit_note_updated": _credited,
    "omnichannel_one_time_order_item_cancelled": _refunded_by_store("omnichannel_one_time_order_item"),
    "omnichannel_subscription_item_cancelled": rows(_IN_STORE, _refunded_by_store("omnichannel_subscription_item")),
    "omnichannel_subscription_item_cancellation_scheduled": _ITEM_SCHEDULED,
    "omnichannel_subscription_item_pause_scheduled": _ITEM_SCHEDULED,
    "omnichannel_subscription_item_scheduled_cancellation_removed": _stays_in_store,
    "omnichannel_subscription_item_reactivated": _stays_in_store,
    "omnichannel_subscription_item_resubscribed": _stays_in_store,
    "omnichannel_subscription_item_resumed": _stays_in_store,
}
"""Deleted invoices are owed no more: without this a failed payment would stay open forever."""


ADAPTER = Adapter(
    name="chargebee",
    marks=("content",),
    recognises=recognises,
    customer_paths=_CUSTOMERS,
    read=read,
)
