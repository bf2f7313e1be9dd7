"""How vendors sign their webhooks: one row each, as the vendor documents it.

Everything here is pure: the request, the key and the time are arguments, and the answer is a value. Digests are
compared as bytes, in constant time. Vendors that sign the time as well and say how old a request may be are held to
``REPLAY_WINDOW``. The others sign only the body, or repeat for days, under the time at which they first tried, what was
not taken: anyone who has recorded a request can replay it, but its event id makes it count once.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from referral_stream.contracts.forms import sound_pairs
from referral_stream.contracts.mapping.signing import Algorithm, Signature
from referral_stream.core.instants import MINUTE, SECOND, parse_instant

REPLAY_WINDOW: Final = 5 * MINUTE
"""How far from now, before or after, a signed time may be: what Stripe's, HubSpot's and Svix's own libraries allow."""


class SignatureVerdict(StrEnum):
    """The verdict on a request's credentials. ``unsigned``: it has none of the expected ones."""

    AUTHENTIC = "authentic"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as signatures see it: the URL that the vendor called, the body's bytes as received.

    ``headers`` finds names in any case.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one vendor signs. ``key`` turns the configured secret into the key; ValueError says what is wrong with it.

    ``header`` holds the signature; None where the body does.
    """

    header: str | None
    verify: Callable[[Signed, bytes, int], SignatureVerdict]
    key: Callable[[str], bytes] = str.encode


def _mac(key: bytes, message: bytes, algorithm: Algorithm = "sha256") -> bytes:
    return hmac.digest(key, message, algorithm)


def _same(expected: bytes, given: Iterable[bytes]) -> bool:
    """Whether one of them is the expected digest; always compares all."""
    found = [hmac.compare_digest(expected, each) for each in given]
    return any(found)


def _unhex(text: str) -> bytes:
    """A digest written in hex; empty, which matches none, if it is not hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _unbase64(text: str) -> bytes:
    """A digest written in base64; empty if it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _fresh(at: int | None, now: int) -> SignatureVerdict:
    """The verdict on a request whose signature is right. Instants are epoch ms; None means no time."""
    return SignatureVerdict.AUTHENTIC if at is not None and abs(now - at) <= REPLAY_WINDOW else SignatureVerdict.STALE


_COUNT = re.compile(r"[0-9]{1,15}")


def _count(text: str, unit: int) -> int | None:
    """A count of ``unit`` ms since 1970, as an instant."""
    return int(text) * unit if _COUNT.fullmatch(text) else None


def of_body(
    header: str,
    algorithm: Algorithm,
    decode: Callable[[str], bytes],
    *,
    prefix: str = "",
    key: Callable[[str], bytes] = str.encode,
) -> Scheme:
    """The scheme of a vendor that signs only the body: ``prefix`` and digest in one header."""

    def verify(request: Signed, secret: bytes, _now: int) -> SignatureVerdict:
        given = request.headers.get(header)
        if given is None:
            return SignatureVerdict.UNSIGNED
        digest = decode(given.removeprefix(prefix)) if given.startswith(prefix) else b""
        return (
            SignatureVerdict.AUTHENTIC
            if _same(_mac(secret, request.body, algorithm), [digest])
            else SignatureVerdict.FORGED
        )

    return Scheme(header, verify, key)


def scheme_of(signature: Signature) -> Scheme:
    """The scheme of a source of the mapping file."""
    decode = _unhex if signature.encoding == "hex" else _unbase64
    return of_body(signature.header, signature.algorithm, decode, prefix=signature.prefix)


def of_pairs(header: str, *, between: str, time: str, digest: str, joint: bytes) -> Scheme:
    """The scheme of a vendor that writes time and digests as named pairs into one header.

    HMAC-SHA256 in hex of the seconds since 1970, ``joint`` and body; several digests while a secret is being rolled.
    Pairs of other names are of other schemes.
    """

    def verify(request: Signed, secret: bytes, now: int) -> SignatureVerdict:
        given = request.headers.get(header)
        if given is None:
            return SignatureVerdict.UNSIGNED
        pairs = [part.strip().partition("=") for part in given.split(between)]
        times = [value for name, _, value in pairs if name == time]
        if len(times) != 1:
            return SignatureVerdict.FORGED
        expected = _mac(secret, times[0].encode("utf-8", "replace") + joint + request.body)
        if not _same(expected, [_unhex(value) for name, _, value in pairs if name == digest]):
            return SignatureVerdict.FORGED
        return _fresh(_count(times[0], SECOND), now)

    return Scheme(header, verify)


def of_body_and_time(header: str, time_header: str, message: Callable[[bytes, bytes], bytes]) -> Scheme:
    """The scheme of a vendor that signs body and time in hex, and names no age at which a request is too old.

    ``message``: (time, body) → what is signed.
    """

    def verify(request: Signed, secret: bytes, _now: int) -> SignatureVerdict:
        given, time = request.headers.get(header), request.headers.get(time_header)
        if given is None or time is None:
            return SignatureVerdict.UNSIGNED
        expected = _mac(secret, message(time.encode("utf-8", "replace"), request.body))
        return SignatureVerdict.AUTHENTIC if _same(expected, [_unhex(given)]) else SignatureVerdict.FORGED

    return Scheme(header, verify)


def _recurly(request: Signed, secret: bytes, now: int) -> SignatureVerdict:
    """``MILLISECONDS,HEX,HEX``: HMAC-SHA256 of ``time.body``; two digests for a day after the key was renewed."""
    given = request.headers.get("recurly-signature")
    if given is None:
        return SignatureVerdict.UNSIGNED
    time, *digests = [part.strip() for part in given.split(",")]
    expected = _mac(secret, time.encode("utf-8", "replace") + b"." + request.body)
    if not _same(expected, [_unhex(digest) for digest in digests]):
        return SignatureVerdict.FORGED
    return _fresh(_count(time, 1), now)


def _zendesk(request: Signed, secret: bytes, now: int) -> SignatureVerdict:
    """Base64 of HMAC-SHA256 of timestamp and body, one after the other; the timestamp is ISO 8601."""
    given, time = (request.headers.get(f"X-Zendesk-Webhook-Signature{part}") for part in ("", "-Timestamp"))
    if given is None or time is None:
        return SignatureVerdict.UNSIGNED
    if not _same(_mac(secret, time.encode("utf-8", "replace") + request.body), [_unbase64(given)]):
        return SignatureVerdict.FORGED
    try:
        return _fresh(parse_instant(time)[0], now)
    except (ValueError, OverflowError):
        return SignatureVerdict.STALE


_HUBSPOT_DECODES = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""The characters that HubSpot decodes before signing a URL; it lists them."""


def _hubspot(request: Signed, secret: bytes, now: int) -> SignatureVerdict:
    """Version 3: base64 of HMAC-SHA256 of method, URL, body and timestamp (ms), one after the other."""
    given, time = (request.headers.get(f"X-HubSpot-{part}") for part in ("Signature-v3", "Request-Timestamp"))
    if given is None or time is None:
        return SignatureVerdict.UNSIGNED
    url = _HUBSPOT_DECODES.sub(lambda found: chr(int(found[1], 16)), request.url)
    message = f"{request.method}{url}".encode("utf-8", "replace") + request.body + time.encode("utf-8", "replace")
    if not _same(_mac(secret, message), [_unbase64(given)]):
        return SignatureVerdict.FORGED
    return _fresh(_count(time, 1), now)


def _standard(request: Signed, secret: bytes, now: int) -> SignatureVerdict:
    """Standard Webhooks: ``v1,BASE64 v1,BASE64``: HMAC-SHA256 of ``id.SECONDS.body``."""
    given, name, time = (request.headers.get(f"webhook-{part}") for part in ("signature", "id", "timestamp"))
    if given is None or name is None or time is None:
        return SignatureVerdict.UNSIGNED
    expected = _mac(secret, f"{name}.{time}.".encode("utf-8", "replace") + request.body)
    versions = [each.partition(",") for each in given.split()]
    if not _same(expected, [_unbase64(digest) for version, _, digest in versions if version == "v1"]):
        return SignatureVerdict.FORGED
    return _fresh(_count(time, SECOND), now)


def _standard_key(secret: str) -> bytes:
    key = _unbase64(secret.removeprefix("whsec_"))
    if not key:
        raise ValueError("copy the signing secret as it is: whsec_ and base64")
    return key


def _sendgrid(request: Signed, key: bytes, _now: int) -> SignatureVerdict:
    """ECDSA over the timestamp and the body, one after the other; the key is SendGrid's public one."""
    given, time = (request.headers.get(f"X-Twilio-Email-Event-Webhook-{part}") for part in ("Signature", "Timestamp"))
    if given is None or time is None:
        return SignatureVerdict.UNSIGNED
    try:
        _public_key(key).verify(_unbase64(given), time.encode("utf-8", "replace") + request.body, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return SignatureVerdict.FORGED
    return SignatureVerdict.AUTHENTIC


def _sendgrid_key(secret: str) -> bytes:
    key = _unbase64(secret)
    try:
        _public_key(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("copy the verification key as SendGrid shows it, in one line of base64") from None
    return key


@cache
def _public_key(key: bytes) -> ec.EllipticCurvePublicKey:
    """The key in DER. Raises ValueError, TypeError or UnsupportedAlgorithm for anything else."""
    found = load_der_public_key(key)
    if not isinstance(found, ec.EllipticCurvePublicKey):
        raise TypeError("a key of another kind")
    return found


def _surveymonkey_key(secret: str) -> bytes:
    client, _, own = secret.partition("&")
    if not (client and own):
        raise ValueError("write the app's client id and its secret with an ampersand between: CLIENT_ID&SECRET")
    return secret.encode()


def _qualtrics(request: Signed, secret: bytes, _now: int) -> SignatureVerdict:
    """Hex of HMAC-SHA512 of the form's field ``MSG``, in its field ``HMAC``.

    Only that one field is signed. So there must be nothing else in the body but its topic, and no JSON: one ``MSG``
    that somebody recorded could otherwise vouch for whatever they write around it.
    """
    fields = [(name, value) for name, value in sound_pairs(request.body) if value]
    messages, given = ([value for name, value in fields if name == wanted] for wanted in ("MSG", "HMAC"))
    if len(messages) != 1 or len(given) != 1:
        return SignatureVerdict.UNSIGNED
    is_right = _same(_mac(secret, messages[0].encode(), "sha512"), [_unhex(given[0])])
    is_alone = {name for name, _ in fields} <= {"MSG", "HMAC", "Topic"} and _NEVER_IN_FORMS.isdisjoint(request.body)
    return SignatureVerdict.AUTHENTIC if is_right and is_alone else SignatureVerdict.FORGED


_NEVER_IN_FORMS: Final = frozenset(b'{}"')
"""Bytes that every encoder of forms escapes, and without which no JSON has content."""


SCHEMES: Final[Mapping[str, Scheme]] = {
    # https://docs.stripe.com/webhooks/signature
    "stripe": of_pairs("Stripe-Signature", between=",", time="t", digest="v1", joint=b"."),
    # https://developer.paddle.com/webhooks/signature-verification (its own libraries allow five seconds by default)
    "paddle": of_pairs("Paddle-Signature", between=";", time="ts", digest="h1", joint=b":"),
    # https://www.revenuecat.com/docs/integrations/webhooks (where signing is switched on; else a token)
    "revenuecat": of_pairs("X-RevenueCat-Webhook-Signature", between=",", time="t", digest="v1", joint=b"."),
    # https://docs.recurly.com/recurly-subscriptions/docs/signature-verification
    "recurly": Scheme("recurly-signature", _recurly),
    # https://developer.zendesk.com/documentation/webhooks/verifying/ (an older edition had the body first)
    "zendesk": Scheme("X-Zendesk-Webhook-Signature", _zendesk),
    # https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
    "hubspot": Scheme("X-HubSpot-Signature-v3", _hubspot),
    # https://formbricks.com/docs/xm-and-surveys/core-features/integrations/webhooks, which follows
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    "formbricks": Scheme("webhook-signature", _standard, _standard_key),
    # https://www.twilio.com/docs/segment/connections/destinations/catalog/actions-webhook; of a batch only the first
    # event is signed (support article 51193799782171), so a batch never verifies: batching has to be off
    "segment": of_body("X-Signature", "sha1", _unhex),
    # https://www.typeform.com/developers/webhooks/secure-your-webhooks/
    "typeform": of_body("Typeform-Signature", "sha256", _unbase64, prefix="sha256="),
    # https://developers.intercom.com/docs/references/webhooks/webhook-models#signed-notifications
    "intercom": of_body("X-Hub-Signature", "sha1", _unhex, prefix="sha1="),
    # https://developer.helpscout.com/webhooks/
    "helpscout": of_body("X-HelpScout-Signature", "sha1", _unbase64),
    # https://app.delighted.com/docs/api/webhooks; the key is the project's private API key
    "delighted": of_body("X-Delighted-Webhook-Signature", "sha256", _unhex, prefix="sha256="),
    # https://developers.survicate.com/webhooks/security/
    "survicate": of_body("Hmac", "sha256", _unhex),
    # https://api.surveymonkey.com/v3/docs#webhook-callbacks
    "surveymonkey": of_body("Sm-Signature", "sha1", _unbase64, key=_surveymonkey_key),
    # https://docs.customer.io/integrations/api/webhooks (securely verify requests)
    "customerio": of_body_and_time(
        "X-CIO-Signature", "X-CIO-Timestamp", lambda time, body: b"v0:" + time + b":" + body
    ),
    # https://developers.klaviyo.com/en/docs/working_with_system_webhooks
    "klaviyo": of_body_and_time("Klaviyo-Signature", "Klaviyo-Timestamp", lambda time, body: body + time),
    # https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
    "sendgrid": Scheme("X-Twilio-Email-Event-Webhook-Signature", _sendgrid, _sendgrid_key),
    # https://api.qualtrics.com (Create Subscription: sharedKey); the exact form is that of
    # https://github.com/kyma-incubator/connector-tools, qualtrics-event-gw/pkg/hmac
    "qualtrics": Scheme(None, _qualtrics),
    # https://docs.wootric.com/webhooks/#security
    "wootric": of_body("X-Wootric-Signature", "sha1", _unhex, prefix="sha1="),
}
"""Every supported vendor that signs. The others do not: they send a token that the operator chose."""
