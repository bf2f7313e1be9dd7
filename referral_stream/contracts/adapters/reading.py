"""What every adapter is made of: its row in the registry, and careful ways to take a value out of a payload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from referral_stream.contracts.adapted import Fact, Skipped, Webhook
from referral_stream.contracts.addresses import email_hmac
from referral_stream.core.instants import SECOND

Payload: TypeAlias = dict[str, Any]

_MILLISECONDS_FROM = 100_000_000_000
"""From here on a count since 1970 means milliseconds: as seconds it would lie beyond the year 5100."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a deployment tells an adapter: its key for addresses, and where to look for the customer's id, in order."""

    email_key: bytes = field(repr=False)
    customer_paths: tuple[str, ...]

    def customer(self, payload: Payload) -> str | None:
        """The customer's id, from the first path that holds one."""
        return id_at(payload, *self.customer_paths)

    def email_hmac(self, address: Any) -> str | None:
        """What stands for an e-mail address; None when it is none."""
        return email_hmac(address, self.email_key) if isinstance(address, str) and "@" in address else None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A vendor: ``name`` is what the header ``referral-source`` says, and the CloudEvents source of the events.

    ``read`` is total: a payload that lacks what a fact needs gives the fact without it, which validation then refuses
    by name. ``customer_paths`` (dotted) are ids that every webhook of the vendor carries: ids that only some carry
    would split one customer in two. A deployment whose own ids are everywhere sets its own paths.
    """

    name: str
    recognises: Callable[[Payload], bool]
    customer_paths: tuple[str, ...]
    read: Callable[[Payload, Reading], Webhook | Skipped]


def at(payload: Any, path: str) -> Any:
    """The value at a dotted path of objects; None where the path ends early."""
    for name in path.split("."):
        if not isinstance(payload, dict):
            return None
        payload = payload.get(name)
    return payload


def id_at(payload: Payload, *paths: str) -> str | None:
    """The first usable id among the paths: text that is not blank, a whole number, or an object's own ``id``."""
    for path in paths:
        value = at(payload, path)
        if isinstance(value, dict):
            value = value.get("id")
        if isinstance(value, str) and value and not value.isspace():
            return value
        if type(value) is int:
            return str(value)
    return None


def text_at(payload: Payload, path: str) -> str | None:
    """The text at a path; None where there is none, or something else."""
    value = at(payload, path)
    return value if isinstance(value, str) and value else None


def epoch_millis(value: Any) -> int | None:
    """A vendor's seconds (or milliseconds) since 1970 → instant; None when it is no number."""
    if type(value) is float and abs(value) < _MILLISECONDS_FROM:
        return int(value * SECOND)
    if type(value) is not int:
        return None
    return value * SECOND if abs(value) < _MILLISECONDS_FROM else value


def about(
    payload: Payload,
    reading: Reading,
    facts: tuple[Fact, ...],
    *,
    kind: str,
    id: str | None,
    time: int | str | None,
    account: str | None = None,
    timezone: str | None = None,
) -> Webhook | Skipped:
    """The webhook of ``kind`` (the vendor's name), unless it says nothing to us or concerns nobody we can name."""
    if not facts:
        return Skipped("irrelevant", kind)
    subject = reading.customer(payload)
    if subject is None:
        return Skipped("no_customer", kind)
    return Webhook(subject=subject, facts=facts, id=id, time=time, account=account, timezone=timezone)
