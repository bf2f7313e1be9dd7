"""Everybody a payload names, in every way it does: one id is chosen, all others are linked to it.

What is later said under one of the others alone (an unsubscribe by address, or by the id of a browser) then reaches the
same customer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from referral_stream.contracts.adapters.reading import Facts, Payload, Reading
from referral_stream.contracts.addresses import hmac_in
from referral_stream.contracts.identifiers import real_id
from referral_stream.contracts.outcomes import Skipped, Webhook
from referral_stream.core.events import Link

_OF_SOMEBODY_KNOWN = frozenset({
    "customer.profile_changed", "customer.signed_up", "usage.recorded", "onboarding.completed", "milestone.reached",
    "goal.achieved", "workflow.completed", "achievement.unlocked", "dashboard.viewed",
})  # fmt: skip
"""What counts only of a customer who is named: visitors do it too, and there are many of them."""


Named: TypeAlias = tuple[tuple[str, Any], ...]
"""(kind of link, value) of ids, the surest first; a value that is no id links nothing."""


def links_of(reading: Reading, named: Iterable[tuple[str, Any]]) -> tuple[Link, ...]:
    """The links among (kind, value), each once, in order; an address counts as ``email`` whatever it is called.

    An address that was hashed before is taken as it is.
    """
    found: dict[Link, None] = {}
    for kind, value in named:
        if value is None or (text := real_id(value, reading.placeholders)) is None:
            continue
        if kind == "email" or "@" in text:
            hashed = reading.email_hmac(text) or hmac_in(text)
            if hashed is not None:
                found[Link("email", hashed)] = None
        else:
            found[Link(kind, text)] = None
    return tuple(found)


def about_whom(
    payload: Payload,
    reading: Reading,
    facts: Facts,
    named: Iterable[tuple[str, Any]],
    *,
    kind: str,
    id: str | None,
    time: int | str | None,
    account: str | None = None,
    timezone: str | None = None,
    historical: bool = False,
) -> Webhook | Skipped:
    """The webhook of ``kind`` (the vendor's name), unless it holds nothing: of the customer if a path holds one, else
    of who goes by the first of ``named``.

    ``named``: (kind of link, value) of every other id, the surest first. An address that the facts hold is not taught
    twice.
    """
    subject = reading.customer(payload)
    links = links_of(reading, named)
    if subject is not None and len(reading.customer_paths) > 1:
        known = {link.value for link in links}
        links += tuple(
            [link for link in links_of(reading, reading.other_customers(payload, subject)) if link.value not in known]
        )
    if subject is None:
        kept = tuple([fact for fact in facts if fact.type not in _OF_SOMEBODY_KNOWN])
        webhook = Webhook(
            facts=kept, id=id, time=time, account=account, timezone=timezone, historical=historical,
            link=links[0] if links else None,
        )  # fmt: skip
        return webhook if kept else Skipped("no_customer" if facts else "irrelevant", kind, webhook)
    if links:
        told = {subject, *[fact.data.get("email_hmac") for fact in facts]}
        if not told.isdisjoint([link.value for link in links]):
            links = tuple([link for link in links if link.value not in told])
    webhook = Webhook(
        subject=subject, facts=facts, id=id, time=time, account=account, timezone=timezone, historical=historical,
        links=links,
    )  # fmt: skip
    return webhook if facts or links else Skipped("irrelevant", kind, webhook)
