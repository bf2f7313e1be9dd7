"""Requests as vendors sign them: the other side of `signatures`, written from the same documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict

from referral_stream.receiver.signatures import SCHEMES, SignatureVerdict, Signed

NOW = 1_790_000_000_000
"""Epoch ms of the receiver's clock in these tests."""

URL = "https://hooks.example.com/webhooks/vendor"
BODY = b'{"id": "evt_1", "caf\xc3\xa9": true}'

_PRIVATE = {
    base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(): key
    for key in (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 11))
}
"""What SendGrid shows → what it signs with, for an account and another one."""
SENDGRID, OTHER_SENDGRID = _PRIVATE

SECRETS: Mapping[str, str] = {vendor: f"a secret for {vendor}" for vendor in SCHEMES} | {
    "formbricks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "surveymonkey": "client-id-0123456789&client-secret",
    "sendgrid": SENDGRID,
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


def _paddle(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    return {"Paddle-Signature": f"ts={seconds};h1={_hex(key, seconds.encode() + b':' + body)}"}


def _recurly(body: bytes, key: bytes, at: int) -> dict[str, str]:
    return {"recurly-signature": f"{at},{'0' * 64},{_hex(key, str(at).encode() + b'.' + body)}"}


def _revenuecat(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    return {"X-RevenueCat-Webhook-Signature": f"t={seconds},v1={_hex(key, seconds.encode() + b'.' + body)}"}


def _customerio(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    return {"X-CIO-Timestamp": seconds, "X-CIO-Signature": _hex(key, f"v0:{seconds}:".encode() + body)}


def _sendgrid(body: bytes, key: bytes, at: int) -> dict[str, str]:
    seconds = str(at // 1000)
    signature = _PRIVATE[base64.b64encode(key).decode()].sign(seconds.encode() + body, ec.ECDSA(SHA256()))
    prefix = "X-Twilio-Email-Event-Webhook"
    return {f"{prefix}-Signature": base64.b64encode(signature).decode(), f"{prefix}-Timestamp": seconds}


def _klaviyo(body: bytes, key: bytes, at: int) -> dict[str, str]:
    time = datetime.fromtimestamp(at / 1000, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    return {"Klaviyo-Timestamp": time, "Klaviyo-Signature": _hex(key, body + time.encode())}


TIMED: Mapping[str, Signer] = {
    "stripe": _stripe,
    "zendesk": _zendesk,
    "hubspot": _hubspot,
    "formbricks": _formbricks,
    "paddle": _paddle,
    "recurly": _recurly,
    "revenuecat": _revenuecat,
}
"""Those who sign the time, and say how old a request may be."""

SIGNERS: Mapping[str, Signer] = {
    **TIMED,
    "segment": lambda body, key, _: {"X-Signature": _hex(key, body, "sha1")},
    "typeform": lambda body, key, _: {"Typeform-Signature": f"sha256={_base64(key, body)}"},
    "intercom": lambda body, key, _: {"X-Hub-Signature": f"sha1={_hex(key, body, 'sha1')}"},
    "helpscout": lambda body, key, _: {"X-HelpScout-Signature": _base64(key, body, "sha1")},
    "delighted": lambda body, key, _: {"X-Delighted-Webhook-Signature": f"sha256={_hex(key, body)}"},
    "survicate": lambda body, key, _: {"Hmac": _hex(key, body)},
    "customerio": _customerio,
    "sendgrid": _sendgrid,
    "klaviyo": _klaviyo,
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
