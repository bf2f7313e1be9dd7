"""RevenueCat: events of subscriptions in app stores.

Whose they are is what the app said: the team's id for them once somebody has logged in, before that one of
RevenueCat's that stands for a device. All ids that a person ever had come with every event.
"""

from __future__ import annotations

import re
from typing import Any

from referral_stream.contracts.adapters.billing import BillingRow, by_state, path, plain, row, rows, where
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
    time_at,
)
from referral_stream.contracts.adapters.states import with_opt_out
from referral_stream.contracts.identifiers import is_placeholder, usable_id
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_ANONYMOUS = "$RCAnonymousID:"
"""How the ids begin that RevenueCat gives to devices."""
_TEST_STORE = "test_store"


def recognises(payload: Payload) -> bool:
    """A typed event in an envelope with the version of the API."""
    return "api_version" in payload and isinstance(at(payload, "event.type"), str)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One event."""
    kind = str(at(payload, "event.type"))
    marks = {str(at(payload, f"event.{name}")).casefold() for name in ("environment", "store")}
    if kind == "TEST" or not marks.isdisjoint(("sandbox", _TEST_STORE)):
        return Skipped("test_mode", kind)
    ids = _ids(payload)
    own = [each for each in ids if not each.startswith(_ANONYMOUS)]
    named = payload | {"event": object_at(payload, "event") | {"app_user_id": own[0] if own else None}}
    facts = _EVENTS[kind](payload) if kind in _EVENTS else unlisted(kind)
    aliases = tuple(Fact("customer.aliased", {"alias": each}) for each in own[1:] if kind != _TRANSFER)
    held = object_at(payload, "event.subscriber_attributes")
    attributes = {name: each.get("value") if isinstance(each, dict) else each for name, each in held.items()}
    return about_whom(
        named,
        reading,
        (*with_opt_out(facts, attributes), *aliases),
        (*(("revenuecat_user", each) for each in (*own, *ids)), ("email", attributes.get("$email"))),
        kind=kind,
        id=id_at(payload, "event.id"),
        time=time_at(payload, "event.event_timestamp_ms"),
    )


_TRANSFER = "TRANSFER"


def _ids(payload: Payload) -> tuple[str, ...]:
    """Every id of whom it is about, each once, the last seen one first; of a transfer, who loses something by it."""
    if at(payload, "event.type") == _TRANSFER:
        gained = {usable_id(each) for each in list_at(payload, "event.transferred_to")}
        named = [each for each in list_at(payload, "event.transferred_from") if usable_id(each) not in gained]
    else:
        first = (at(payload, f"event.{name}") for name in ("app_user_id", "original_app_user_id"))
        named = [*first, *list_at(payload, "event.aliases")]
    found = (usable_id(each) for each in named)
    return tuple(dict.fromkeys(each for each in found if each is not None and not is_placeholder(each)))


_SUBSCRIPTION = ("event.original_transaction_id", "event.transaction_id")


def _life(kind: str, **more: Any) -> BillingRow:
    return row(kind, "subscription_id", *_SUBSCRIPTION, **more)


_period = path("event.period_type")
_SCHEDULED, _STARTED = _life("cancellation.scheduled"), _life("subscription.started")
_OWED, _PAID = (row(f"invoice.{what}", "invoice_id", *_SUBSCRIPTION) for what in ("payment_failed", "paid"))
_REFUNDED = row("charge.refunded", "charge_id", "event.transaction_id", "event.original_transaction_id")


def _converts(payload: Payload) -> bool:
    return at(payload, "event.is_trial_conversion") is True


def _renews(payload: Payload) -> bool:
    """Paid for again, at the full price and by themselves; a trial's first payment is called a renewal as well."""
    is_theirs = at(payload, "event.is_family_share") in (None, False)
    is_again = at(payload, "event.is_trial_conversion") is False
    is_real = str(at(payload, "event.environment")).casefold() == "production"
    return _price(payload) > 0 and is_theirs and is_again and is_real and _period(payload) == "NORMAL"


def _price(payload: Payload) -> float:
    """What was paid, below zero what was given back; 0 if it is no number."""
    price = at(payload, "event.price")
    if isinstance(price, str) and _NUMBER.fullmatch(price):
        return float(price)
    return price if isinstance(price, int | float) and not isinstance(price, bool) else 0


_NUMBER = re.compile(r"-?[0-9]{1,15}(?:[.][0-9]{1,15})?")


def _again(payload: Payload) -> Facts:
    ids = {"subscription_id": id_at(payload, *_SUBSCRIPTION), "invoice_id": id_at(payload, "event.transaction_id")}
    return (Fact("subscription.renewed", ids),)


def _is_refund(payload: Payload) -> bool:
    """What gives money back says so by its sign; of a purchase that never renews nothing else can be canceled."""
    return _price(payload) < 0 or at(payload, "event.expiration_at_ms") is None


def _lost(payload: Payload) -> Facts:
    """Who loses a subscription to another account, if anybody does, may have left; it does not say which one."""
    return _LEFT(payload) if _ids(payload) else ()


_LEFT = plain("cancellation.scheduled")
_CONVERTED = rows(_life("trial.ended", converted=True), _STARTED)
_EVENTS: dict[str, BillingRow] = {
    "INITIAL_PURCHASE": by_state(_period, {"trial": _life("trial.started")}, _STARTED),
    "RENEWAL": rows(where(_converts, _CONVERTED, where(_renews, _again, _STARTED)), _PAID),
    "CANCELLATION": by_state(
        path("event.cancel_reason"),
        {"billing_error": _OWED, "customer_support": _REFUNDED},
        where(_is_refund, _REFUNDED, _SCHEDULED),
    ),
    "UNCANCELLATION": _life("cancellation.reverted"),
    "SUBSCRIPTION_PAUSED": _SCHEDULED,
    "EXPIRATION": by_state(_period, {"trial": _life("trial.ended", converted=False)}, _life("subscription.ended")),
    "BILLING_ISSUE": _OWED,
    _TRANSFER: _lost,
}
"""What is owed goes by the subscription's own id: only the next renewal says that it was paid."""


ADAPTER = Adapter(
    name="revenuecat",
    marks=("api_version",),
    recognises=recognises,
    customer_paths=("event.app_user_id",),
    read=read,
    browser=True,
)
