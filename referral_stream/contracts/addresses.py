"""E-mail addresses never travel: a keyed hash stands for them, the same for every spelling of an address."""

from __future__ import annotations

import hmac
import unicodedata


def email_hmac(email: str, key: bytes) -> str:
    """Hex HMAC-SHA256 of lower(strip(NFKC(e-mail))) under the deployment's key."""
    normal = unicodedata.normalize("NFKC", email).strip().lower()
    return hmac.digest(key, normal.encode("utf-8", "surrogatepass"), "sha256").hex()
