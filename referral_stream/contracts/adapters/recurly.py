"""Recurly: JSON webhooks, which say what happened to which object and next to nothing about whose it is.

Only those about an account name it. All others go to whom their object is linked to, so somebody has to teach it; what
was paid, and for what, is nowhere, so nothing here ever speaks for asking.
"""

from __future__ import annotations

from referral_stream.contracts.adapters.billing import BillingRow, nothing, plain, row, rows
from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import Adapter, Payload, Reading, id_at, time_at
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook


def recognises(payload: Payload) -> bool:
    """An event of an object of a site; Recurly's classic notifications, and their answers, are none."""
    return all(isinstance(payload.get(name), str) for name in ("object_type", "event_type", "site_id"))


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One notification; its ``id`` is the object's, so that the event's is made of all that it says."""
    about, happened = str(payload.get("object_type")), str(payload.get("event_type"))
    kind = f"{about}.{happened}"
    own, time = id_at(payload, "id"), time_at(payload, "event_time")
    return about_whom(
        payload,
        reading,
        _EVENTS[kind](payload) if kind in _EVENTS else unlisted(kind),
        ((_LINKS[about], own),) if about in _LINKS else (),
        kind=kind,
        id=f"{kind}:{own}:{time}" if own is not None and time else None,
        time=time,
    )


_LINKS = {
    "account": "recurly_account",
    "subscription": "recurly_subscription",
    "charge_invoice": "recurly_invoice",
    "invoice": "recurly_invoice",
    "dunning_event": "recurly_invoice",
    "payment": "recurly_payment",
    "external_subscription": "recurly_external_subscription",
}
"""What an object's id stands for. A dunning event has its invoice's."""

_SCHEDULED, _REVERTED = (row(f"cancellation.{what}", "subscription_id", "id") for what in ("scheduled", "reverted"))
_ENDED, _STARTED = (row(f"subscription.{what}", "subscription_id", "id") for what in ("ended", "started"))
_OWED, _PAID = (row(f"invoice.{what}", "invoice_id", "id") for what in ("payment_failed", "paid"))
_REFUNDED = row("charge.refunded", "charge_id", "id")
_COMPLAINED = row("complaint.made", "reference", "id")

_EVENTS: dict[str, BillingRow] = {
    "account.created": plain("customer.signed_up"),
    "account.updated": nothing,
    "account.closed": plain("cancellation.scheduled"),
    "subscription.canceled": _SCHEDULED,
    "subscription.reactivated": _REVERTED,
    "subscription.expired": _ENDED,
    "subscription.renewed": _STARTED,
    "subscription.pause.scheduled": _SCHEDULED,
    "subscription.pause.modified": _SCHEDULED,
    "subscription.paused": _SCHEDULED,
    "subscription.renewal.skipped": _SCHEDULED,
    "subscription.pause.canceled": _REVERTED,
    "subscription.resumed": _REVERTED,
    "subscription.mandate.inactive": row("cancellation.considered", "subscription_id", "id"),
    "charge_invoice.past_due": _OWED,
    "charge_invoice.failed": _OWED,
    "charge_invoice.reopened": _OWED,
    "charge_invoice.paid": _PAID,
    "invoice.past_due": _OWED,
    "dunning_event.created": _OWED,
    "payment.refunded": _REFUNDED,
    "payment.voided": _REFUNDED,
    "external_subscription.canceled": _SCHEDULED,
    "external_subscription.paused": _SCHEDULED,
    "external_subscription.pause_schedule_changed": _SCHEDULED,
    "external_subscription.reactivated": _REVERTED,
    "external_subscription.past_due": _OWED,
    "external_subscription.failed_renewal": _OWED,
    "external_subscription.failed_renewal_with_grace_period": _OWED,
    "external_subscription.grace_period_expired": _OWED,
    "external_subscription.recovered": rows(_STARTED, _PAID),
    "external_subscription.renewed": rows(_STARTED, _PAID),
    "external_subscription.resubscribed": rows(_STARTED, _REVERTED),
    "external_subscription.expired": _ENDED,
    "external_subscription.revoked": _ENDED,
    "external_subscription.refunded": _REFUNDED,
    "external_subscription.voided": _REFUNDED,
    "external_subscription.consumption_requested": _COMPLAINED,
    "external_subscription.refund_declined": _COMPLAINED,
}
"""Canceled is what will not renew, expired what has ended. A renewal is a new term, paid or not: it only shows that the
subscription goes on. A new subscription may be a trial, or begin later, and says nothing. A store asks about
consumption when somebody wants their money back.
"""


ADAPTER = Adapter(
    name="recurly",
    marks=("site_id",),
    recognises=recognises,
    customer_paths=("account_code",),
    read=read,
)
