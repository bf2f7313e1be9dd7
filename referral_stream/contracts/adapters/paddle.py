"""Paddle Billing: notifications (not those of Paddle Classic, which are forms).

A notification holds the entity as it is after the event, never as it was before: nothing counts as an expansion, and an
end that is called off shows only when the subscription renews. Amounts are text, in the currency's smallest unit.
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

_SIMULATED = "ntfsim"
"""How the ids begin that the simulator makes; it sends them to real endpoints, signed like real ones."""


def recognises(payload: Payload) -> bool:
    """A named event with its own id, and the entity that it is about."""
    named = isinstance(payload.get("event_type"), str) and "event_id" in payload and "occurred_at" in payload
    return named and isinstance(payload.get("data"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One notification."""
    kind = str(payload.get("event_type"))
    if any(str(payload.get(name)).startswith(_SIMULATED) for name in ("event_id", "notification_id")):
        return Skipped("test_mode", kind)
    is_customer = kind.startswith("customer.")
    named = _with_customer(payload) if is_customer else payload
    facts = _EVENTS[kind](payload) if kind in _EVENTS else unlisted(kind)
    known = profile(**reading.address_hmacs(at(payload, "data.email"))) if is_customer else ()
    return about_whom(
        named,
        reading,
        with_opt_out((*facts, *known), at(payload, "data.custom_data")),
        (("paddle_customer", id_at(named, _CUSTOMER)),),
        kind=kind,
        id=id_at(payload, "event_id"),
        time=time_at(payload, "occurred_at"),
    )


_CUSTOMER = "data.customer_id"


def _with_customer(payload: Payload) -> Payload:
    """The payload with the customer where every other entity names it."""
    own = object_at(payload, "data")
    return payload | {"data": own | {"customer_id": own.get("id")}}


_status = path("data.status")


def _life(kind: str, **more: Any) -> BillingRow:
    return row(kind, "subscription_id", "data.id", **more)


_SCHEDULED, _REVERTED = _life("cancellation.scheduled"), _life("cancellation.reverted")
_STARTED, _TRIAL = _life("subscription.started"), _life("trial.started")
_PAID, _UNPAID = row("invoice.paid", "invoice_id", "data.id"), row("invoice.payment_failed", "invoice_id", "data.id")


def _was_tried(payload: Payload) -> bool:
    return any(at(item, "trial_dates") is not None for item in list_at(payload, "data.items"))


def _was_never_billed(payload: Payload) -> bool:
    return at(payload, "data.first_billed_at") is None and _was_tried(payload)


_ENDED = where(_was_never_billed, _life("trial.ended", converted=False), _life("subscription.ended"))
_LEAVING = by_state(
    _status,
    {"paused": _SCHEDULED, "canceled": _ENDED},
    by_state(path("data.scheduled_change.action"), {"cancel": _SCHEDULED, "pause": _SCHEDULED}),
)
_OWED = by_state(_status, {"past_due": _UNPAID, "active": _PAID})
"""What is owed for a subscription, under its own id: whoever is told of no transactions learns it here."""
_BEGUN = rows(by_state(_status, {"trialing": _TRIAL, "active": _STARTED, "past_due": _STARTED}), _OWED, _LEAVING)


def _back(payload: Payload) -> Facts:
    """No longer paused; somebody who is leaving all the same has not come back."""
    return (*_OWED(payload), *(_LEAVING(payload) or _REVERTED(payload)))


def _renews(payload: Payload) -> bool:
    """Paid for another period; not by a price with a trial, whose first payment looks the same, nor by none at all."""
    items = list_at(payload, "data.items")
    tried = not items or any(at(item, "price.trial_period") is not None for item in items)
    total = whole_number(at(payload, "data.details.totals.grand_total"))
    is_recurring = at(payload, "data.origin") == "subscription_recurring" and at(payload, "data.subscription_id")
    return bool(is_recurring) and _status(payload) == "completed" and total is not None and total > 0 and not tried


def _again(payload: Payload) -> Facts:
    ids = {"subscription_id": id_at(payload, "data.subscription_id"), "invoice_id": id_at(payload, "data.id")}
    return (Fact("subscription.renewed", ids),)


_TRANSACTION = by_state(_status, {"past_due": _UNPAID, "paid": _PAID, "completed": _PAID, "canceled": _PAID})
_BILL = ("data.transaction_id", "data.id")
"""Where an invoice, which Paddle once sent beside its transaction, says what is owed."""


def _adjusted(kind: str, **more: Any) -> BillingRow:
    return row(kind, "charge_id", "data.transaction_id", "data.id", **more)


_WON = _adjusted("dispute.closed", won=True)
_ADJUSTMENT = by_state(
    path("data.action"),
    {
        "refund": by_state(_status, {"rejected": nothing, "reversed": nothing}, _adjusted("charge.refunded")),
        "chargeback": by_state(_status, {"reversed": _WON}, _adjusted("dispute.closed", won=False)),
        "chargeback_warning": by_state(_status, {"reversed": _WON}, _adjusted("charge.disputed")),
        "chargeback_reverse": _WON,
        "chargeback_warning_reverse": _WON,
        "credit": nothing,
        "credit_reverse": nothing,
    },
    row("complaint.made", "reference", "data.id"),
)
"""A refund that waits for approval counts: somebody asked for their money. A chargeback is one that is lost, unless it
is reversed; only its warning is still open. A credit is no trouble, anything unknown is one for a while.
"""


_EVENTS: dict[str, BillingRow] = {
    "customer.created": plain("customer.signed_up"),
    "customer.imported": plain("customer.signed_up"),
    "customer.updated": nothing,
    "subscription.created": _BEGUN,
    "subscription.imported": _BEGUN,
    "subscription.trialing": rows(_TRIAL, _LEAVING),
    "subscription.activated": rows(where(_was_tried, _life("trial.ended", converted=True)), _BEGUN),
    "subscription.updated": rows(_OWED, _LEAVING),
    "subscription.past_due": rows(_UNPAID, _LEAVING),
    "subscription.paused": _SCHEDULED,
    "subscription.resumed": _back,
    "subscription.canceled": _ENDED,
    "transaction.paid": _PAID,
    "transaction.completed": rows(where(_renews, _again), _PAID),
    "transaction.canceled": _PAID,
    "transaction.updated": _TRANSACTION,
    "transaction.revised": _TRANSACTION,
    "invoice.overdue": row("invoice.payment_failed", "invoice_id", *_BILL),
    "invoice.paid": row("invoice.paid", "invoice_id", *_BILL),
    "invoice.canceled": row("invoice.paid", "invoice_id", *_BILL),
    "transaction.payment_failed": _UNPAID,
    "transaction.past_due": _UNPAID,
    "adjustment.created": _ADJUSTMENT,
    "adjustment.updated": _ADJUSTMENT,
}
"""For a transaction that is canceled nothing is owed any more."""


ADAPTER = Adapter(
    name="paddle",
    marks=("occurred_at",),
    recognises=recognises,
    customer_paths=(_CUSTOMER,),
    read=read,
)
