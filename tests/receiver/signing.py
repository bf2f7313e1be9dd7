"""Requests as vendors sign them: the other side of `signatures`, written from the same documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from multidict import CIMultiDict

from referral_stream.receiver.signatures import SCHEMES, SignatureVerdict, Signed

NOW = 1_790_000_000_000
"""Epoch ms of the receiver's clock in these tests."""

URL = "https://hooks.example.com/webhooks/vendor"
BODY = b'{"id": "evt_1", "caf\xc3\xa9": true}'

SECRETS: Mapping[str, str] = {vendor: f"a secret for {vendor}" for vendor in SCHEMES} | {
    "formbricks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "surveymonkey": "client-id-0123456789&client-secret",
}

Signer: TypeAlias = Callable[[bytes, bytes, int], dict[str, str]]
"""(body, key, instant) → headers."""


def _hex(key: bytes, message: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(key, message, getattr(hashlib, algorithm)).hexdigest()


def _base64(key: bytes, message: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hmac.new(key, message, getattr(hashlib, algorithm)).digest()).decode()


def _stripe(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    return {"Stripe-Signature": f"t={seconds},v1={_hex(key, seconds.encode() + b'.' + body)},v0=ignored"}


def _zendesk(body: bytes, key: bytes, at: int) -> dict[str, str]:
    time = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "X-Zendesk-Webhook-Signature": _base64(key, time.encode() + body),
        "X-Zendesk-Webhook-Signature-Timestamp": time,
    }


def _hubspot(body: bytes, key: bytes, at: int, url: str = URL) -> dict[str, str]:
    message = b"POST" + url.encode() + body + str(at).encode()
    return {"X-HubSpot-Signature-v3": _base64(key, message), "X-HubSpot-Request-Timestamp": str(at)}


def _formbricks(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    digest = _base64(key, f"msg_1.{seconds}.".encode() + body)
    return {"webhook-id": "msg_1", "webhook-timestamp": seconds, "webhook-signature": f"v1a,other v1,{digest}"}


TIMED: Mapping[str, Signer] = {
    "stripe": _stripe,
    "zendesk": _zendesk,
    "hubspot": _hubspot,
    "formbricks": _formbricks,
}
"""Those who sign the time."""

SIGNERS: Mapping[str, Signer] = {
    **TIMED,
    "segment": lambda body, key, _: {"X-Signature": _hex(key, body, "sha1")},
    "typeform": lambda body, key, _: {"Typeform-Signature": f"sha256={_base64(key, body)}"},
    "intercom": lambda body, key, _: {"X-Hub-Signature": f"sha1={_hex(key, body, 'sha1')}"},
    "helpscout": lambda body, key, _: {"X-HelpScout-Signature": _base64(key, body, "sha1")},
    "delighted": lambda body, key, _: {"X-Delighted-Webhook-Signature": f"sha256={_hex(key, body)}"},
    "survicate": lambda body, key, _: {"Hmac": _hex(key, body)},
    "surveymonkey": lambda body, key, _: {"Sm-Signature": _base64(key, body, "sha1"), "Sm-Apikey": "client-id"},
    "wootric": lambda body, key, _: {"X-Wootric-Signature": f"sha1={_hex(key, body, 'sha1')}"},
}


def signed_headers(
    vendor: str, body: bytes = BODY, at: int = NOW, secret: str | None = None, url: str = URL
) -> dict[str, str]:
    """What the vendor sends beside a body, signed at an instant."""
    if vendor == "hubspot":
        return _hubspot(body, SCHEMES[vendor].key(secret or SECRETS[vendor]), at, url)
    return SIGNERS[vendor](body, SCHEMES[vendor].key(secret or SECRETS[vendor]), at)


def verdict(
    vendor: str, headers: Mapping[str, str], body: bytes = BODY, now: int = NOW, secret: str | None = None
) -> SignatureVerdict:
    """What the receiver thinks of a request."""
    request = Signed("POST", URL, CIMultiDict(headers), body)
    return SCHEMES[vendor].verify(request, SCHEMES[vendor].key(secret or SECRETS[vendor]), now)
