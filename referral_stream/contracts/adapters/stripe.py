"""Stripe: event envelopes, of old and current API versions.

Amounts stay in minor units, as Stripe counts them (a yen is one unit). Test mode never reaches a customer. What a
webhook does not say is not guessed: a dispute names its customer only where the charge is expanded, so a deployment
that wants disputes expands it or sets its own paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    about,
    at,
    epoch_millis,
    id_at,
    list_at,
    object_at,
    profile,
    time_at,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook


def recognises(payload: Payload) -> bool:
    """An object that calls itself an event: with a resource inside, or a thin one, which only names it."""
    if not isinstance(payload.get("type"), str):
        return False
    return payload.get("object") == "v2.core.event" or (
        payload.get("object") == "event" and isinstance(at(payload, "data.object"), dict)
    )


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(payload.get("type"))
    if payload.get("livemode", _resource(payload).get("livemode")) is False:
        return Skipped("test_mode", kind)
    facts = _FACTS[kind](payload, reading) if kind in _FACTS else ()
    return about(
        _with_customer(payload),
        reading,
        facts,
        kind=kind,
        id=id_at(payload, "id"),
        time=time_at(payload, "created"),
    )


def _resource(payload: Payload) -> Payload:
    return object_at(payload, "data.object")


def _with_customer(payload: Payload) -> Payload:
    """The payload with the customer where every other resource names it: a customer is its own."""
    resource = _resource(payload)
    if resource.get("object") != "customer":
        return payload
    return payload | {"data": {"object": resource | {"customer": resource.get("id")}}}


def _before(payload: Payload) -> Payload:
    """The resource as it was: Stripe sends the old values of what changed."""
    changed = at(payload, "data.previous_attributes")
    return _resource(payload) | (changed if isinstance(changed, dict) else {})


def _paid(payload: Payload, _: Reading) -> Facts:
    """A paid invoice; that of a billing cycle renews. The first one does not, nor does a zero invoice (a free plan).

    The invoice that ends a trial is of a cycle too, but is the first paid one; only an expanded subscription shows it.
    """
    invoice = _resource(payload)
    paid = Fact("invoice.paid", {"invoice_id": id_at(invoice, "id")})
    is_cycle = invoice.get("billing_reason") == "subscription_cycle" and invoice.get("total") != 0
    if not is_cycle or _ends_trial(invoice):
        return (paid,)
    subscription = id_at(invoice, *_SUBSCRIPTIONS)
    renewed = Fact("subscription.renewed", {"subscription_id": subscription, "invoice_id": id_at(invoice, "id")})
    return (renewed, paid)


_SUBSCRIPTIONS = (
    "subscription",
    "parent.subscription_details.subscription",
    "lines.data.0.parent.subscription_item_details.subscription",
    "lines.data.0.subscription",
)
"""Where API versions keep an invoice's subscription, the newest second."""


def _ends_trial(invoice: Payload) -> bool:
    expanded = object_at(invoice, "subscription") or object_at(invoice, "parent.subscription_details.subscription")
    trial_end = epoch_millis(expanded.get("trial_end"))
    starts = [epoch_millis(at(line, "period.start")) for line in list_at(invoice, "lines.data")]
    begins = max((start for start in starts if start is not None), default=None)
    return trial_end is not None and begins is not None and begins <= trial_end


def _unpaid(payload: Payload, _: Reading) -> Facts:
    return (Fact("invoice.payment_failed", {"invoice_id": id_at(_resource(payload), "id")}),)


def _voided(payload: Payload, _: Reading) -> Facts:
    """Nothing is owed any more: without this the failed payment would stay open forever."""
    return (Fact("invoice.paid", {"invoice_id": id_at(_resource(payload), "id")}),)


def _subscribed(payload: Payload, _: Reading) -> Facts:
    subscription = {"subscription_id": id_at(_resource(payload), "id")}
    match _resource(payload).get("status"):
        case "trialing":
            return (Fact("trial.started", subscription),)
        case "active":
            return (Fact("subscription.started", subscription),)
        case _:  # incomplete: nothing begins until the first payment, which comes as an update
            return ()


def _changed(payload: Payload, _: Reading) -> Facts:
    """Status, scheduled end and size are three separate things that one update may change together."""
    now, before = _resource(payload), _before(payload)
    subscription = {"subscription_id": id_at(now, "id")}
    return (
        _status_changed(before.get("status"), now.get("status"), subscription)
        + _end_changed(before, now, subscription)
        + _size_changed(payload, before, now)
    )


def _status_changed(before: Any, now: Any, subscription: dict[str, Any]) -> Facts:
    match before, now:
        case _, _ if before == now:
            return ()
        case "trialing", "active" | "past_due" | "unpaid":  # the trial became a subscription, paid or owing
            return (
                Fact("trial.ended", subscription | {"converted": True}),
                Fact("subscription.started", subscription),
            )
        case "trialing", _:
            return (Fact("trial.ended", subscription | {"converted": False}),)
        case "incomplete", "trialing":
            return (Fact("trial.started", subscription),)
        case "incomplete" | "paused", "active":
            return (Fact("subscription.started", subscription),)
        case "active" | "past_due", "trialing":  # given more time to try: nobody is asked meanwhile
            return (Fact("trial.started", subscription),)
        case _, "canceled":
            return (Fact("subscription.ended", subscription),)
        case _:  # past due and back: the invoices say so
            return ()


def _end_changed(before: Payload, now: Payload, subscription: dict[str, Any]) -> Facts:
    was, is_ = _is_ending(before), _is_ending(now)
    if was == is_ or now.get("status") == "canceled":
        return ()
    return (Fact("cancellation.scheduled" if is_ else "cancellation.reverted", subscription),)


def _is_ending(subscription: Payload) -> bool:
    return bool(subscription.get("cancel_at_period_end") or subscription.get("cancel_at"))


def _size_changed(payload: Payload, before: Payload, now: Payload) -> Facts:
    """More seats or a dearer plan, at the same interval and currency: an expansion, worth the difference."""
    old, new = _recurring(before), _recurring(now)
    if old is None or new is None or old[1:] != new[1:] or new[0] <= old[0] or now.get("status") != "active":
        return ()
    deal = {"deal_id": id_at(payload, "id"), "amount_minor": new[0] - old[0], "currency": new[1]}
    return (Fact("subscription.expanded", deal),)


def _recurring(subscription: Payload) -> tuple[int, Any, Any, Any] | None:
    """(minor units per period, currency, interval, count) over all items; None if unknown."""
    items = at(subscription, "items.data")
    if not isinstance(items, list) or not items:
        return None
    total, terms = 0, set()
    for item in items:
        price = object_at(item, "price") or object_at(item, "plan")  # before 2020, items had plans only
        amount, quantity = price.get("unit_amount", price.get("amount")), at(item, "quantity")
        if type(amount) is not int or type(quantity) is not int:
            return None
        total += amount * quantity
        terms.add(tuple(map(str, (price.get("currency"), *_rhythm(price)))))
    if len(terms) != 1:
        return None
    currency, interval, count = terms.pop()
    return total, currency, interval, count


def _rhythm(price: Payload) -> tuple[Any, Any]:
    recurring = object_at(price, "recurring") or price
    return recurring.get("interval"), recurring.get("interval_count")


def _unsubscribed(payload: Payload, _: Reading) -> Facts:
    """Ended; within its trial, the trial ended without becoming a subscription."""
    gone = _resource(payload)
    subscription = {"subscription_id": id_at(gone, "id")}
    ended, trial_end = epoch_millis(gone.get("ended_at")), epoch_millis(gone.get("trial_end"))
    if ended is not None and trial_end is not None and ended <= trial_end:
        return (Fact("trial.ended", subscription | {"converted": False}),)
    return (Fact("subscription.ended", subscription),)


def _paused(payload: Payload, _: Reading) -> Facts:
    """A subscription pauses when its trial ends and nobody can be charged."""
    return (Fact("trial.ended", {"subscription_id": id_at(_resource(payload), "id"), "converted": False}),)


def _resumed(payload: Payload, _: Reading) -> Facts:
    return (Fact("subscription.started", {"subscription_id": id_at(_resource(payload), "id")}),)


def _refunded(payload: Payload, _: Reading) -> Facts:
    return (Fact("charge.refunded", {"charge_id": id_at(_resource(payload), "id")}),)


def _refund(payload: Payload, _: Reading) -> Facts:
    """A refund names its charge; a failed one never reached anyone."""
    refund = _resource(payload)
    if refund.get("status") in ("failed", "canceled"):
        return ()
    return (Fact("charge.refunded", {"charge_id": id_at(refund, "charge")}),)


def _disputed(payload: Payload, _: Reading) -> Facts:
    return (Fact("charge.disputed", {"charge_id": id_at(_resource(payload), "charge")}),)


def _dispute_closed(payload: Payload, _: Reading) -> Facts:
    """Won, or an inquiry that never became a dispute (``warning_closed``); everything else was lost."""
    dispute = _resource(payload)
    won = dispute.get("status") in ("won", "warning_closed")
    return (Fact("dispute.closed", {"charge_id": id_at(dispute, "charge"), "won": won}),)


def _customer_created(payload: Payload, reading: Reading) -> Facts:
    # The earliest sign-up counts, so one that the product itself reported stands.
    return (Fact("customer.signed_up", {}), *_address(_resource(payload), reading))


def _customer_changed(payload: Payload, reading: Reading) -> Facts:
    changed = at(payload, "data.previous_attributes")
    return _address(_resource(payload), reading) if isinstance(changed, dict) and "email" in changed else ()


def _address(customer: Payload, reading: Reading) -> Facts:
    return profile(email_hmac=reading.email_hmac(customer.get("email")))


_FACTS: dict[str, Callable[[Payload, Reading], Facts]] = {
    "invoice.paid": _paid,
    "invoice.payment_succeeded": _paid,
    "invoice.payment_failed": _unpaid,
    "invoice.marked_uncollectible": _unpaid,
    "invoice.overdue": _unpaid,
    "invoice.voided": _voided,
    "customer.subscription.created": _subscribed,
    "customer.subscription.updated": _changed,
    "customer.subscription.deleted": _unsubscribed,
    "customer.subscription.paused": _paused,
    "customer.subscription.resumed": _resumed,
    "charge.refunded": _refunded,
    "refund.created": _refund,
    "charge.dispute.created": _disputed,
    "charge.dispute.closed": _dispute_closed,
    "customer.created": _customer_created,
    "customer.updated": _customer_changed,
}
"""``invoice.paid`` and ``invoice.payment_succeeded`` come in pairs; an invoice renews once, whichever is first."""


ADAPTER = Adapter(
    name="stripe",
    marks=("object",),
    recognises=recognises,
    customer_paths=("data.object.customer", "data.object.charge.customer", "data.object.payment_intent.customer"),
    read=read,
)
