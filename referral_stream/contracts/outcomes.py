"""What becomes of one inbound record: events, a skip that is only counted, or a refusal for the dead letters."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import Event, Link

SkipReason: TypeAlias = Literal[
    "unknown_type", "irrelevant", "no_score", "no_customer", "unusable_id", "untrusted_alias", "test_mode",
    "other_account", "tombstone",
]  # fmt: skip
RefusalCause: TypeAlias = Literal[
    "undecodable", "too_deep", "too_large", "not_an_object", "unrecognised", "unknown_adapter", "invalid",
    "unusable_id", "unexpected_cloudevent", "not_authorised", "time_in_future", "unknown_version",
]  # fmt: skip


class Accepted(msgspec.Struct, frozen=True):
    """Canonical events, ready for ``customer-events``, in the order in which they are to be appended.

    ``letters``: what of its content could not be used; there are no events where nothing could. ``contacts``: what
    ``referral-contacts`` is to be told before the events are appended; whoever writes no topic leaves it alone.
    """

    events: tuple[Event, ...]
    letters: tuple[ElementLetter, ...] = ()
    contacts: tuple[ContactTold, ...] = ()


class Skipped(msgspec.Struct, frozen=True):
    """It holds no facts: counted by ``reason``, not stored.

    ``found`` is whom, when and which an adapter read all the same, for the mappings that give it facts.
    """

    reason: SkipReason
    detail: str = ""
    found: Webhook | None = None


class Refused(msgspec.Struct, frozen=True):
    """A dead letter: ``detail`` names fields and rules, never values."""

    cause: RefusalCause
    detail: str


class ElementLetter(NamedTuple):
    """What of a body becomes a dead letter of its own: the record of an element of it (or of the whole), and why."""

    record: RawRecord
    refused: Refused


Adapted: TypeAlias = Accepted | Skipped | Refused


LEAVING: Final = frozenset({"customer.suppressed", "customer.erasure_requested"})
"""Types by which somebody is to be left in peace, or forgotten."""


class Fact(msgspec.Struct, frozen=True):
    """One thing a vendor's webhook says, not yet validated; ``time`` only where it differs from the webhook's own.

    ``browser``: whether anybody's browser can say it, so that it counts only where the deployment trusts it to.
    ``faults``: field, as in ``contact.ref`` → why a mapping could not read it; told where the fact is refused for it.
    ``guessed``: read from the words of a name that no table lists, which the deployment may know better.
    """

    type: str
    data: dict[str, Any]
    time: int | str | None = None
    browser: bool = False
    faults: dict[str, str] = {}
    guessed: bool = False

    @property
    def is_opt_out(self) -> bool:
        """Whether somebody wants to be left in peace, or forgotten, by more than the words of a name."""
        if self.type == "customer.consent_changed":
            return self.data.get("granted") is not True
        return self.type in LEAVING and not self.guessed


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor payload, read: who it is about, when it was (RFC 3339 text or epoch ms), which facts follow from it.

    Without ``id`` or ``time`` the record's position and time are used, as for every other event. Without ``subject``,
    ``link`` says who is meant; ``links`` are what else the payload names for the subject: each becomes
    ``customer.linked``. What came through a link is given to no link: without a subject they are not taught.
    """

    subject: str | None = None
    facts: tuple[Fact, ...] = ()
    id: str | None = None
    time: int | str | None = None
    link: Link | None = None
    links: tuple[Link, ...] = ()
    account: str | None = None
    timezone: str | None = None
    traceparent: str | None = None
    historical: bool = False
