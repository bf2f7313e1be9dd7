"""Standard Webhooks: the headers by which the payer knows that a request is ours, and is of now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from referral_stream.core.instants import SECOND


class Signer:
    """Signs with each of these secrets, so that the payer may change from one to the next at any time."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets]

    def headers(self, key: str, body: bytes, now: int) -> dict[str, str]:
        """``webhook-id``, ``-timestamp``, ``-signature`` of a body in UTF-8; ``now`` in epoch ms."""
        at = datetime.fromtimestamp(now // SECOND, UTC)
        text = body.decode()
        return {
            "webhook-id": key,
            "webhook-timestamp": str(now // SECOND),
            "webhook-signature": " ".join(webhook.sign(key, at, text) for webhook in self._webhooks),
        }
