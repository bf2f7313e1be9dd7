"""From a record of ``referral-rewards`` to what the payer is told of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from referral_stream.contracts.json_reading import NotJson, read_json

OrderKind: TypeAlias = Literal["granted", "reversed"]

TOLD: Final[dict[str, OrderKind]] = {"referral.reward.granted": "granted", "referral.reward.reversed": "reversed"}
"""The types that the payer is told; what is held or denied concerns nobody who pays."""

REVERSED: Final = ":reversed"

_GRANT: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""Ours are UUIDs. Nothing that could be a part of a header, of a signature's text, or of another grant's key."""


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """One thing to tell the payer; ``body`` is the record's value, byte for byte, ``written_at`` its time, epoch ms."""

    kind: OrderKind
    grant_id: str
    customer: str
    body: bytes
    partition: int
    offset: int
    written_at: int

    @property
    def key(self) -> str:
        """The idempotency key: the same in every attempt, ever, and another one for what takes the grant back."""
        return self.grant_id + (REVERSED if self.kind == "reversed" else "")


class UnreadableReward(Exception):
    """A record that cannot be told, since nobody knows what it grants to whom; the message quotes nothing of it."""


def order_of(value: bytes | None, *, partition: int, offset: int, written_at: int) -> PaymentOrder | None:
    """What to tell the payer of this record; None: nothing. Raises UnreadableReward.

    Only what is needed here is read: the payer gets the rest as it is, in whatever version it was written.
    """
    try:
        document = read_json(value or b"")
    except NotJson as error:
        raise UnreadableReward(f"is no JSON ({error.cause})") from None
    if type(document) is not dict or type(document.get("type")) is not str:
        raise UnreadableReward("is no CloudEvent")
    kind = TOLD.get(document["type"])
    if kind is None:
        return None
    body = document.get("data")
    about: dict[str, Any] = cast("dict[str, Any]", body) if type(body) is dict else {}
    grant, customer = about.get("grant_id"), about.get("customer_id")
    if type(grant) is not str or not _GRANT.fullmatch(grant):
        raise UnreadableReward("has no usable grant_id")
    if type(customer) is not str or not customer:
        raise UnreadableReward("has no customer_id")
    return PaymentOrder(kind, grant, customer, value or b"", partition, offset, written_at)
