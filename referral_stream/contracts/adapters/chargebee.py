"""Chargebee: events of the API's versions 1 and 2, of either product catalogue.

An event holds the resources as they were after it, never as they were before: what became of an invoice or a dispute
is read from its state, and nothing counts as an expansion. A renewal is one whose invoice is paid.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters.billing import BillingRow, by_state, nothing, path, plain, row, rows, where
from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    epoch_millis,
    id_at,
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
)
"""Where a resource names its customer: of one event all name the same one."""
_TEST_SITE = "ev___test__"
"""How the ids of a test site's events begin."""


def recognises(payload: Payload) -> bool:
    """An event: its name, and what it holds; a resource alone, or an answer of the API, is none."""
    return isinstance(payload.get("event_type"), str) and isinstance(payload.get("content"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(payload.get("event_type"))
    if str(payload.get("id")).startswith(_TEST_SITE):
        return Skipped("test_mode", kind)
    facts = _EVENTS[kind](payload) if kind in _EVENTS else unlisted(kind)
    known = _profile(payload, reading) if kind in _CUSTOMER_EVENTS else ()
    return about_whom(
        payload,
        reading,
        with_opt_out((*facts, *_DISPUTE(payload), *known), *_own_fields(payload)),
        (("chargebee_customer", id_at(payload, *_CUSTOMERS)), ("email", at(payload, "content.customer.email"))),
        kind=kind,
        id=id_at(payload, "id"),
        time=time_at(payload, "occurred_at"),
    )


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
_LEAVING = by_state(_status, {"non_renewing": _SCHEDULED, "paused": _SCHEDULED})
"""Whoever misses the event that says so sees it at the next one: that it will not renew, or is paused."""
_BEGUN = rows(by_state(_status, {"in_trial": _TRIAL, "active": _STARTED, "non_renewing": _STARTED}), _LEAVING)
"""A subscription as it is now; a future one has not begun."""


def _was_tried(payload: Payload) -> bool:
    return at(payload, "content.subscription.trial_end") is not None


_ACTIVATED = rows(where(_was_tried, _life("trial.ended", converted=True)), _BEGUN)


def _ended_in_trial(payload: Payload) -> bool:
    ends = (at(payload, f"content.subscription.{name}") for name in ("cancelled_at", "trial_end"))
    ended, trial_end = map(epoch_millis, ends)
    return ended is not None and trial_end is not None and ended <= trial_end


_CANCELLED = where(_ended_in_trial, _life("trial.ended", converted=False), _life("subscription.ended"))


def _back(payload: Payload) -> Facts:
    """Ended and begun again, or no longer leaving; somebody who still is has not come back."""
    return _BEGUN(payload) if _LEAVING(payload) else (*_BEGUN(payload), *_REVERTED(payload))


def _stays(payload: Payload) -> Facts:
    return _LEAVING(payload) or _REVERTED(payload)


def _is_paid_for(payload: Payload) -> bool:
    """An invoice of nothing renews nothing, nor does one that is still due."""
    total = whole_number(at(payload, "content.invoice.total"))
    return _invoice_status(payload) == "paid" and total is not None and total > 0 and _status(payload) == "active"


def _again(payload: Payload) -> Facts:
    ids = {"subscription_id": id_at(payload, _SUBSCRIPTION), "invoice_id": id_at(payload, _INVOICE)}
    return (Fact("subscription.renewed", ids),)


_PAID, _UNPAID = row("invoice.paid", "invoice_id", _INVOICE), row("invoice.payment_failed", "invoice_id", _INVOICE)
_OWED = by_state(_invoice_status, {"paid": _PAID, "voided": _PAID, "payment_due": _UNPAID, "not_paid": _UNPAID})
"""``payment_due`` is being retried after a failure; ``posted`` is not due yet."""
_FAILED = row("invoice.payment_failed", "invoice_id", _INVOICE, "content.transaction.linked_invoices.0.invoice_id")
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
    {"payment_reversal": row("dispute.closed", "charge_id", "content.transaction.id", won=False)},
)
"""A payment that was taken back: a chargeback that is lost, or a direct debit that was returned."""


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
    "invoice_deleted": _PAID,
    "payment_succeeded": _OWED,
    "payment_failed": _FAILED,
    "payment_refunded": _REFUNDED,
    "refund_initiated": _REFUNDED,
    "transaction_created": _REVERSAL,
    "transaction_updated": _REVERSAL,
}
"""Deleted invoices are owed no more: without this a failed payment would stay open forever."""


ADAPTER = Adapter(
    name="chargebee",
    marks=("content",),
    recognises=recognises,
    customer_paths=_CUSTOMERS,
    read=read,
)
