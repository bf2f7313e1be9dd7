"""Where rewards are sent and how they are signed: what may be set. Nothing here quotes an address or a secret."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import urlsplit

from referral_stream.runtime.addresses import is_loopback

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (what a secret begins with)
FEWEST_BYTES: Final = 24
MOST_BYTES: Final = 64
"""Of a secret: what the specification of Standard Webhooks asks for."""

_HOW: Final = 'for example from: echo "whsec_$(openssl rand -base64 32)"'


def is_monotonous(secret: str | bytes) -> bool:
    """Whether a secret, however long, is of the same few characters again and again."""
    return len(set(secret)) < _FEWEST_DIFFERENT


_FEWEST_DIFFERENT: Final = 6


def secret_fault(secret: str) -> str | None:
    """What is wrong with a secret of Standard Webhooks."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    if encoded == secret:
        return f"must begin with {SECRET_PREFIX}, {_HOW}"
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return f"must be base64 after {SECRET_PREFIX}, {_HOW}"
    if not FEWEST_BYTES <= len(key) <= MOST_BYTES:
        return f"must decode to {FEWEST_BYTES} to {MOST_BYTES} bytes, {_HOW}"
    if is_monotonous(key):
        return f"is too predictable; generate another one, {_HOW}"
    return None


def address_fault(url: str, *, plain_http: bool) -> str | None:
    """What is wrong with the payer's URL; ``plain_http``: it may be http, wherever it leads."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a valid URL"
    if parts.scheme not in {"http", "https"} or not host or port == 0 or parts.fragment or not url.isascii():
        return "is not of the form https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "must not contain credentials; requests are signed"
    if parts.scheme == "http" and not plain_http and not is_loopback(host):
        return "must use https:// unless it points to this machine"
    return None
