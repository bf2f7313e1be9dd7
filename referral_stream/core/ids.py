"""Ids and hashes derived from content, so that a replay makes the same ones on every machine (semantics §10, Ids)."""

from __future__ import annotations

import hashlib
from uuid import NAMESPACE_URL, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "referral-stream").bytes


def derived_id(*parts: object) -> str:
    """The uuid5 of the parts joined by ``|`` in the project's namespace: same content, same id, on every machine.

    Inside a part ``%`` and ``|`` are written as ``%25`` and ``%7C``, so that no two lists of parts have the same id.
    """
    # As uuid.uuid5 makes it (RFC 9562, 5.5), in a third of the time: a decision needs several.
    joined = "|".join(map(_part, parts))
    digest = bytearray(hashlib.sha1(_NAMESPACE + joined.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _part(part: object) -> str:
    text = str(part)
    return text.replace("%", "%25").replace("|", "%7C") if "|" in text or "%" in text else text


def hash64(*parts: str) -> int:
    """Stable unsigned 64-bit hash of the parts."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


def short(text: str, most: int) -> str:
    """The text in at most ``most`` bytes of UTF-8: as it is, or its beginning and a hash of all of it."""
    if len(text) <= most and (text.isascii() or len(text.encode()) <= most):
        return text
    return f"{text.encode()[: most - 17].decode(errors='ignore')}~{hash64(text):016x}"


def opportunity_id(customer: str, trigger: str, subject: str) -> str:
    return derived_id("opportunity", customer, trigger, subject)


def command_id(customer: str, trigger: str, subject: str) -> str:
    return derived_id("command", customer, trigger, subject, 1)


def reason_command_id(customer: str, trigger: str, subject: str) -> str:
    """The command that asks for the reason first: the attempt before the first."""
    return derived_id("command", customer, trigger, subject, 0)


def followup_id(customer: str, about: str, kind: str, n: int) -> str:
    return derived_id("followup", customer, about, kind, n)


def grant_id(customer: str, referral: str) -> str:
    return derived_id("grant", customer, referral)


def decision_id(opportunity: str, n: int) -> str:
    return derived_id("decision", opportunity, n)
