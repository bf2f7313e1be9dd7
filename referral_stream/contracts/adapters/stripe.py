"""Stripe: event envelopes, of old and current API versions.

Amounts stay in minor units, as Stripe counts them (a yen is one unit). Test mode never reaches a customer, nor does
what happens at the accounts of a Connect platform: their customers are not ours. A dispute or a refund names its charge
and no customer: whatever names both teaches whose charge it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from referral_stream.contracts.adapters.billing import moment
from referral_stream.contracts.adapters.identities import Named, about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    expandable,
    id_at,
    list_at,
    object_at,
    profile,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import is_true, opted_out
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.instants import DAY


def recognises(payload: Payload) -> bool:
    """An object that calls itself an event: with a resource inside, or a thin one, which only names it."""
    if not isinstance(payload.get("type"), str):
        return False
    return payload.get("object") == _THIN or (
        payload.get("object") == "event" and isinstance(at(payload, "data.object"), dict)
    )


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    is_thin = payload.get("object") == _THIN
    if is_thin:
        payload = _filled(payload)
    kind = str(payload.get("type"))
    resource = _resource(payload)
    modes = [mode for each in (payload, resource) if (mode := each.get("livemode")) is not None]
    if not all(map(is_true, modes)) or is_true(resource.get("test_clock")):
        return Skipped("test_mode", kind)
    if is_true(payload.get("account")):
        account = id_at(payload, *expandable("account"))
        return Skipped("other_account", f"{kind}: of the connected account {account}"[:200])
    told = _OF_THIN if is_thin else _FACTS
    facts = told[kind](payload, reading) if kind in told else unlisted(kind)
    named = _with_customer(payload)
    customer = id_at(named, *_BILLED)
    links, guest = _links(kind, named), () if reading.customer(named) else _guest(named)
    if is_thin:
        links = (
            *links,
            *((f"stripe_{each}", id_at(named, "data.object.id")) for each in _TAUGHT if _is_a(each, named)),
        )
    is_payment = _resource(named).get("object") in ("charge", "payment_intent")
    return about_whom(
        named,
        reading,
        (*facts, *_promotions(payload), *opted_out(*[at(resource, place) for place in _NOTES])),
        (("stripe_customer", customer), *((*guest, *links) if is_payment else (*links, *guest))),
        kind=kind,
        id=id_at(payload, "id"),
        time=time_at(payload, "created"),
    )


_THIN = "v2.core.event"
_TAUGHT = ("subscription", "invoice")
"""Resources by which a team may say whose a thin event is; charges everybody learns from the events of payments."""


def _filled(thin: Payload) -> Payload:
    """A thin event as one with a resource, of which only the id is known; in a ``context`` it is another account's."""
    related = object_at(thin, "related_object")
    resource = {"id": related.get("id"), "object": related.get("type")}
    kind = str(thin.get("type")).removeprefix("v1.")
    account = thin.get("account") or thin.get("context")
    return thin | {"type": kind, "account": account, "data": {"object": resource}}


_NOTES = (
    "metadata", "customer.metadata", "subscription.metadata", "subscription_details.metadata",
    "parent.subscription_details.metadata",
)  # fmt: skip
"""Where a resource has what a team noted of it, of its customer, or of its subscription."""
_BILLED = expandable("data.object.customer", "data.object.charge.customer", "data.object.payment_intent.customer")
_CUSTOMERS = (
    *_BILLED,
    *expandable("data.object.customer_account"),
    "data.object.charge.customer_account",
    "data.object.payment_intent.customer_account",
)
"""Where a resource names its customer, as an id or expanded. Where a business keeps its customers as accounts, the
account is one.
"""


def _links(kind: str, payload: Payload) -> Named:
    """What else stands for the customer: the account, and the charges and payments that the resource names."""
    resource = _resource(payload)
    account = (("stripe_account", resource.get("customer_account")),)
    match resource.get("object") or _object_of(kind):
        case "charge":
            return (*account, *_payment(resource, charges=("id",)))
        case "payment_intent":
            return (*account, *_payment(resource, charges=("latest_charge", "charges.data.0"), intents=("id",)))
        case "invoice":
            paid = [object_at(each, "payment") for each in list_at(resource, "payments.data")]
            return (*account, *_payment(resource), *(link for each in paid for link in _payment(each)))
        case "dispute" | "refund" | "radar.early_fraud_warning" | "early_fraud_warning":
            return (*account, *_payment(resource))
        case "checkout.session":
            return (
                *account,
                *_payment(resource),
                ("stripe_client_reference", resource.get("client_reference_id")),
                ("email", at(resource, "customer_details.email")),
            )
        case _:
            return account


def _guest(payload: Payload) -> Named:
    """The address of somebody who is no customer yet; what a customer types at a payment may be anybody's.

    Of a payment itself it is all that there is: nobody will ever be named for a charge without a customer.
    """
    resource = _resource(payload)
    places = ("customer_email", "receipt_email", "billing_details.email")
    return tuple([("email", at(resource, place)) for place in places])


def _object_of(kind: str) -> str:
    """What an event is about, by its name: ``charge.dispute.created`` is about a dispute."""
    *whole, _ = kind.split(".")
    return "checkout.session" if whole[:1] == ["checkout"] else whole[-1] if whole else ""


def _payment(
    holder: Payload, *, charges: tuple[str, ...] = ("charge",), intents: tuple[str, ...] = ("payment_intent",)
) -> Named:
    return (
        ("stripe_charge", id_at(holder, *expandable(*charges))),
        ("stripe_payment_intent", id_at(holder, *expandable(*intents))),
    )


def _is_a(kind: str, payload: Payload) -> bool:
    return bool(_resource(payload).get("object") == kind)


def _promotions(payload: Payload) -> Facts:
    """Who declined promotional mail at a checkout, completed or not, does not want to be asked by mail."""
    if not _is_a("checkout.session", payload) or at(payload, "data.object.consent.promotions") != "opt_out":
        return ()
    return (Fact("customer.consent_changed", {"purpose": "referral_ask", "channel": "email", "granted": False}),)


def _resource(payload: Payload) -> Payload:
    return object_at(payload, "data.object")


def _with_customer(payload: Payload) -> Payload:
    """The payload with the customer where every other resource names it: a customer is its own."""
    resource, kind = _resource(payload), payload.get("type")
    if resource.get("object", _object_of(str(kind))) != "customer":
        return payload
    return payload | {"data": {"object": resource | {"customer": resource.get("id")}}}


def _before(payload: Payload) -> Payload:
    """The resource as it was: Stripe sends the old values of what changed."""
    changed = at(payload, "data.previous_attributes")
    return _resource(payload) | (changed if isinstance(changed, dict) else {})


def _paid(payload: Payload, _: Reading) -> Facts:
    """A paid invoice; that of a billing cycle renews. The first one does not, nor does one of nothing or of a credit.

    The invoice that ends a trial is of a cycle too, but is the first paid one; only an expanded subscription shows it.
    For one that a balance settled, such as a credit that was given, the customer paid nothing.
    """
    invoice = _resource(payload)
    paid = Fact("invoice.paid", {"invoice_id": id_at(invoice, "id")})
    amounts = (whole_number(invoice.get("total")), whole_number(invoice.get("amount_paid", invoice.get("total"))))
    subscription = id_at(invoice, *_SUBSCRIPTIONS)
    is_cycle = invoice.get("billing_reason") == "subscription_cycle" and invoice.get("status") in (None, "paid")
    is_paid = all(amount is not None and amount > 0 for amount in amounts)
    if not (is_cycle and is_paid) or subscription is None or _ends_trial(invoice):
        return (paid,)
    renewed = Fact("subscription.renewed", {"subscription_id": subscription, "invoice_id": id_at(invoice, "id")})
    return (renewed, paid)


_SUBSCRIPTIONS = expandable(
    "subscription",
    "parent.subscription_details.subscription",
    "lines.data.0.parent.subscription_item_details.subscription",
    "lines.data.0.subscription",
)
"""Where API versions keep an invoice's subscription, the newest second."""


def _ends_trial(invoice: Payload) -> bool:
    expanded = object_at(invoice, "subscription") or object_at(invoice, "parent.subscription_details.subscription")
    trial_end = expanded.get("trial_end")
    starts = [moment(at(line, "period.start")) for line in list_at(invoice, "lines.data")]
    begins = max((start for start in starts if start is not None), default=None)
    if trial_end is None or begins is None:
        return False
    over = moment(trial_end)
    return over is None or begins <= over


def _unpaid(payload: Payload, _: Reading) -> Facts:
    return (Fact("invoice.payment_failed", {"invoice_id": id_at(_resource(payload), "id")}),)


def _declined(payload: Payload, _: Reading) -> Facts:
    """A payment that failed counts where it was one of an invoice: a card that is mistyped at a checkout does not."""
    invoice = id_at(_resource(payload), *expandable("invoice"))
    return () if invoice is None else (Fact("invoice.payment_failed", {"invoice_id": invoice}),)


def _voided(payload: Payload, _: Reading) -> Facts:
    """Nothing is owed any more: without this the failed payment would stay open forever."""
    return (Fact("invoice.paid", {"invoice_id": id_at(_resource(payload), "id")}),)


def _subscribed(payload: Payload, _: Reading) -> Facts:
    now = _resource(payload)
    subscription = {"subscription_id": id_at(now, "id")}
    match now.get("status"):
        case "trialing":
            return (Fact("trial.started", subscription), *_end_changed({}, now, subscription))
        case "active":
            return (Fact("subscription.started", subscription), *_end_changed({}, now, subscription))
        case _:  # incomplete: nothing begins until the first payment, which comes as an update
            return _owes(None, now)


def _changed(payload: Payload, _: Reading) -> Facts:
    """Status, scheduled end and size are three separate things that one update may change together."""
    now, before = _resource(payload), _before(payload)
    subscription = {"subscription_id": id_at(now, "id")}
    return (
        _status_changed(before.get("status"), now.get("status"), subscription)
        + _owes(before.get("status"), now)
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
        case "active" | "past_due" | "unpaid", "paused":
            return (Fact("subscription.ended", subscription),)
        case "active" | "past_due" | "unpaid", "trialing":  # given more time to try: nobody is asked meanwhile
            return (Fact("trial.started", subscription),)
        case _, "canceled":
            return (Fact("subscription.ended", subscription),)
        case _:  # past due (see ``_owes``) and back: the invoices say so
            return ()


def _owes(before: Any, now: Payload) -> Facts:
    """Past due is a subscription whose newest invoice was not paid: who misses that one's event learns it here.

    Nothing is lifted here: marking the invoice uncollectible makes the subscription active again, too.
    """
    owing = ("past_due", "unpaid")
    if before in owing or now.get("status") not in owing:
        return ()
    return (Fact("invoice.payment_failed", {"invoice_id": id_at(now, *expandable("latest_invoice"))}),)


def _end_changed(before: Payload, now: Payload, subscription: dict[str, Any]) -> Facts:
    """An end that is scheduled counts whenever it is seen, the end of one only where it was there before."""
    if now.get("status") in ("canceled", "incomplete_expired"):
        return ()
    if _is_ending(now):
        return (Fact("cancellation.scheduled", subscription),)
    return (Fact("cancellation.reverted", subscription),) if _is_ending(before) else ()


def _is_ending(subscription: Payload) -> bool:
    """Whether its end is scheduled, or nothing is collected for it: who pauses may not come back."""
    return any(is_true(subscription.get(name)) for name in ("cancel_at_period_end", "cancel_at", "pause_collection"))


def _size_changed(payload: Payload, before: Payload, now: Payload) -> Facts:
    """More seats or a dearer plan, at the same interval and currency: an expansion, worth the difference.

    As many of the same products at a higher price is what the seller did: prices were raised.
    """
    old, new = _recurring(before), _recurring(now)
    if old is None or new is None or now.get("status") != "active":
        return ()
    if old.terms != new.terms or new.total <= old.total or (new.products == old.products and new.seats <= old.seats):
        return ()
    deal = {"deal_id": id_at(payload, "id"), "amount_minor": new.total - old.total, "currency": new.terms[0]}
    return (Fact("subscription.expanded", deal),)


class _Recurring(NamedTuple):
    """What a subscription is for: minor units per period, (currency, interval, count), how many, and what of."""

    total: int
    terms: tuple[str, ...]
    seats: int
    products: frozenset[str]


def _recurring(subscription: Payload) -> _Recurring | None:
    """Over all items; None if unknown."""
    items = at(subscription, "items.data")
    if not isinstance(items, list) or not items:
        return None
    total, seats, terms, products = 0, 0, set(), set()
    for item in items:
        price = object_at(item, "price") or object_at(item, "plan")  # before 2020, items had plans only
        amount, quantity = price.get("unit_amount", price.get("amount")), at(item, "quantity")
        if type(amount) is not int or type(quantity) is not int:
            return None
        total, seats = total + amount * quantity, seats + quantity
        terms.add(tuple(map(str, (price.get("currency"), *_rhythm(price)))))
        products.add(id_at(price, *expandable("product"), "id") or "")
    return _Recurring(total, terms.pop(), seats, frozenset(products)) if len(terms) == 1 else None


def _rhythm(price: Payload) -> tuple[Any, Any]:
    recurring = object_at(price, "recurring") or price
    return recurring.get("interval"), recurring.get("interval_count")


def _unsubscribed(payload: Payload, _: Reading) -> Facts:
    """Ended; within its trial, the trial ended without becoming a subscription."""
    gone = _resource(payload)
    subscription = {"subscription_id": id_at(gone, "id")}
    ended, trial_end = moment(gone.get("ended_at")), moment(gone.get("trial_end"))
    if ended is not None and trial_end is not None and ended <= trial_end:
        return (Fact("trial.ended", subscription | {"converted": False}),)
    return (Fact("subscription.ended", subscription),)


def _paused(payload: Payload, _: Reading) -> Facts:
    """A subscription pauses when its trial ends and nobody can be charged; any other one is no longer paid for."""
    paused = _resource(payload)
    subscription = {"subscription_id": id_at(paused, "id")}
    trial_end, now = moment(paused.get("trial_end")), moment(payload.get("created"))
    if trial_end is not None and now is not None and now > trial_end + DAY:
        return (Fact("subscription.ended", subscription),)
    return (Fact("trial.ended", subscription | {"converted": False}),)


def _collection_paused(payload: Payload, _: Reading) -> Facts:
    return (Fact("cancellation.scheduled", {"subscription_id": id_at(_resource(payload), "id")}),)


def _collection_resumed(payload: Payload, _: Reading) -> Facts:
    subscription = _resource(payload)
    if _is_ending(subscription | {"pause_collection": None}):
        return ()
    return (Fact("cancellation.reverted", {"subscription_id": id_at(subscription, "id")}),)


def _resumed(payload: Payload, reading: Reading) -> Facts:
    started = Fact("subscription.started", {"subscription_id": id_at(_resource(payload), "id")})
    return (started, *_seen(payload, reading))


def _seen(payload: Payload, _: Reading) -> Facts:
    """A subscription as it is now: whoever missed that it will end, or is owed for, learns it here."""
    now = _resource(payload)
    return (*_owes(None, now), *_end_changed({}, now, {"subscription_id": id_at(now, "id")}))


def _refunded(payload: Payload, _: Reading) -> Facts:
    return (Fact("charge.refunded", {"charge_id": id_at(_resource(payload), "id")}),)


def _charge_changed(payload: Payload, reading: Reading) -> Facts:
    """A charge as it is now: whoever missed its refund or its dispute learns it here."""
    charge = _resource(payload)
    is_refunded = is_true(charge.get("refunded")) or (whole_number(charge.get("amount_refunded")) or 0) > 0
    disputed = (Fact("charge.disputed", {"charge_id": id_at(charge, "id")}),) if is_true(charge.get("disputed")) else ()
    return (*(_refunded(payload, reading) if is_refunded else ()), *disputed)


def _refund(payload: Payload, _: Reading) -> Facts:
    """A refund names its charge; a failed one never reached anyone."""
    refund = _resource(payload)
    if refund.get("status") in ("failed", "canceled"):
        return ()
    return (Fact("charge.refunded", {"charge_id": id_at(refund, *_CHARGES)}),)


_CHARGES = expandable("charge", "payment_intent")
"""What a refund or a dispute is about: payments outside cards have no charge."""


def _disputed(payload: Payload, _: Reading) -> Facts:
    return (Fact("charge.disputed", {"charge_id": id_at(_resource(payload), *_CHARGES)}),)


def _dispute_closed(payload: Payload, _: Reading) -> Facts:
    """Won, or an inquiry that never became a dispute (``warning_closed``); everything else was lost."""
    dispute = _resource(payload)
    won = dispute.get("status") in _WON
    return (Fact("dispute.closed", {"charge_id": id_at(dispute, *_CHARGES), "won": won}),)


_WON = ("won", "warning_closed")
_DECIDED = (*_WON, "lost", "prevented", "charge_refunded")


def _dispute_changed(payload: Payload, reading: Reading) -> Facts:
    """A dispute as it is now: whoever missed its beginning or its end learns it here."""
    closed = _resource(payload).get("status") in _DECIDED
    return _dispute_closed(payload, reading) if closed else _disputed(payload, reading)


def _warned(payload: Payload, _: Reading) -> Facts:
    """The card's bank believes, mostly because somebody told it so, that its holder did not want this payment."""
    return (Fact("complaint.made", {"reference": id_at(_resource(payload), "id")}),)


def _credited(payload: Payload, _: Reading) -> Facts:
    """A credit note: money that goes back, also past Stripe, or a product that somebody was not content with."""
    note = _resource(payload)
    facts: Facts = ()
    if note.get("reason") == "product_unsatisfactory":
        facts = (Fact("complaint.made", {"reference": id_at(note, "id")}),)
    if any(is_true(note.get(name)) for name in ("refund", "refunds", "out_of_band_amount")):
        facts = (*facts, Fact("charge.refunded", {"charge_id": id_at(note, *expandable("refund"), "id")}))
    return facts


def _planned(payload: Payload, _: Reading) -> Facts:
    """A schedule that ends its subscription, or no longer does: one that is over leaves that to the subscription."""
    schedule = _resource(payload)
    subscription = id_at(schedule, *expandable("subscription"))
    if subscription is None or schedule.get("status") in ("completed", "canceled", "released"):
        return ()
    if schedule.get("end_behavior") == "cancel":
        return (Fact("cancellation.scheduled", {"subscription_id": subscription}),)
    was_ending = _before(payload).get("end_behavior") == "cancel"
    return (Fact("cancellation.reverted", {"subscription_id": subscription}),) if was_ending else ()


def _plan_ended(payload: Payload, _: Reading) -> Facts:
    """With a schedule that is canceled its subscription ends; one is aborted because that was not paid for."""
    schedule = _resource(payload)
    subscription = id_at(schedule, *expandable("subscription"), *expandable("released_subscription"))
    if subscription is None and payload.get("type") != _ABORTED:
        return ()
    return (Fact("subscription.ended", {"subscription_id": subscription}),)


_ABORTED = "subscription_schedule.aborted"


def _erased(_: Payload, __: Reading) -> Facts:
    return (Fact("customer.erasure_requested", {}),)


def _customer_created(payload: Payload, reading: Reading) -> Facts:
    # The earliest sign-up counts, so one that the product itself reported stands.
    return (Fact("customer.signed_up", {}), *_address(_resource(payload), reading))


def _customer_changed(payload: Payload, reading: Reading) -> Facts:
    changed = at(payload, "data.previous_attributes")
    return _address(_resource(payload), reading) if isinstance(changed, dict) and "email" in changed else ()


def _address(customer: Payload, reading: Reading) -> Facts:
    return profile(**reading.address_hmacs(customer.get("email")))


_FACTS: dict[str, Callable[[Payload, Reading], Facts]] = {
    "invoice.paid": _paid,
    "invoice.payment_succeeded": _paid,
    "invoice.payment_failed": _unpaid,
    "invoice.marked_uncollectible": _unpaid,
    "invoice.overdue": _unpaid,
    "invoice.payment_action_required": _unpaid,
    "invoice.voided": _voided,
    "invoice.deleted": _voided,
    "charge.failed": _declined,
    "payment_intent.payment_failed": _declined,
    "checkout.session.async_payment_failed": _declined,
    "credit_note.created": _credited,
    "credit_note.updated": _credited,
    "subscription_schedule.created": _planned,
    "subscription_schedule.updated": _planned,
    "subscription_schedule.expiring": _planned,
    _ABORTED: _plan_ended,
    "subscription_schedule.canceled": _plan_ended,
    "customer.subscription.created": _subscribed,
    "customer.subscription.updated": _changed,
    "customer.subscription.deleted": _unsubscribed,
    "customer.subscription.trial_will_end": _seen,
    "customer.subscription.pending_update_applied": _seen,
    "customer.subscription.pending_update_expired": _seen,
    "customer.subscription.paused": _paused,
    "customer.subscription.resumed": _resumed,
    "customer.subscription.collection_paused": _collection_paused,
    "customer.subscription.collection_resumed": _collection_resumed,
    "charge.refunded": _refunded,
    "charge.updated": _charge_changed,
    "refund.created": _refund,
    "refund.updated": _refund,
    "charge.refund.updated": _refund,
    "charge.dispute.created": _disputed,
    "charge.dispute.updated": _dispute_changed,
    "charge.dispute.funds_withdrawn": _dispute_changed,
    "charge.dispute.funds_reinstated": _dispute_changed,
    "charge.dispute.closed": _dispute_closed,
    "radar.early_fraud_warning.created": _warned,
    "customer.created": _customer_created,
    "customer.updated": _customer_changed,
    "customer.deleted": _erased,
}
"""``invoice.paid`` and ``invoice.payment_succeeded`` come in pairs; an invoice renews once, whichever is first."""


_OF_THIN: dict[str, Callable[[Payload, Reading], Facts]] = {
    kind: _FACTS[kind]
    for kind in (
        "customer.created", "customer.deleted", "customer.subscription.deleted", "customer.subscription.paused",
        "customer.subscription.collection_paused", "invoice.payment_failed", "invoice.payment_action_required",
        "invoice.marked_uncollectible", "invoice.overdue", "invoice.paid", "invoice.voided", "charge.refunded",
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "radar.early_fraud_warning.created",
        "refund.created",
    )
} | {"credit_note.created": _refunded}  # fmt: skip
"""What an event says by its name alone, whatever became of the resource that it does not bring along."""


def _from_bus(body: Any) -> tuple[Any, ...]:
    """The event inside an Amazon EventBridge envelope; any other body as it is.

    The envelope's own ``account`` is an AWS account, not a Stripe one.
    """
    is_bus = isinstance(body, dict) and str(body.get("source")).startswith("aws.partner/stripe.com")
    return (object_at(body, "detail"),) if is_bus else (body,)


ADAPTER = Adapter(
    name="stripe",
    marks=("object", "detail"),
    split=_from_bus,
    recognises=recognises,
    customer_paths=_CUSTOMERS,
    read=read,
    in_cloud_events=True,
)
