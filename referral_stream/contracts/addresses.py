"""E-mail addresses never travel: a keyed hash stands for them, the same for every spelling of an address."""

from __future__ import annotations

import hmac
import re
import unicodedata
from functools import lru_cache
from typing import Final

from referral_stream.contracts.free_mail import FREE_MAIL

NOBODY: Final = frozenset({"noreply", "no-reply", "none", "test"})
"""Local parts of addresses behind which there is nobody."""
_NOWHERE: Final = frozenset({"invalid", "test", "local"})
"""Ends of domains where nobody is, as nobody is at ``example.…`` (RFC 2606, RFC 6762)."""
_MOST_CHARACTERS: Final = 1_000
"""No address is half as long (RFC 5321), even with a name. Composing marks takes time in the square of their number."""
_GMAIL: Final = frozenset({"gmail.com", "googlemail.com"})
_HMAC = re.compile(r"[0-9a-fA-F]{64}")
_HMAC_SIZE: Final = 64
_NAMED = re.compile(r"[^<>]*<([^<>]*)>")
"""An address with the name of its owner: ``Ana <ana@firm.com>``."""
_MAILTO: Final = "mailto:"
_SEVERAL = re.compile(r"[\s,;@()]").search
"""What stands in no address that is alone: its hash would be that of nobody, and an opt-out under it would be lost."""


def normal_address(email: str) -> str | None:
    """The one spelling of an e-mail address; None for what is none, is several, or only holds the place of one.

    NFKC, stripped, lower case, without what only surrounds it (a name, ``mailto:``, invisible characters); what follows
    the first ``+`` of the local part, and Gmail's dots, name the same mailbox; the domain as IDNA.
    """
    text = email.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    text = _alone(unicodedata.normalize("NFKC", text).strip().lower())
    local, at, domain = text.rpartition("@")
    local = local.partition("+")[0]
    domain = _idna(domain.strip().rstrip("."))
    if domain in _GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    if not (at and local and domain) or local in NOBODY or _is_nowhere(domain):
        return None
    if _SEVERAL(local) or _SEVERAL(domain):
        return None
    return f"{local}@{domain}"


def _is_nowhere(domain: str) -> bool:
    *labels, end = domain.split(".")
    return end in _NOWHERE or "example" in labels


def _alone(text: str) -> str:
    """The address in what may be a header's or a link's way to write it."""
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) != "Cf").strip()
    if "<" in text and (named := _NAMED.fullmatch(text)) is not None:
        text = named[1].strip()
    return text.removeprefix(_MAILTO).partition("?")[0].strip() if text.startswith(_MAILTO) else text


def _idna(domain: str) -> str:
    """The domain in ASCII; as it is where no DNS name is like that."""
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return domain


def email_hmac(email: str, key: bytes) -> str | None:
    """Hex HMAC-SHA256 of the normalised address under the deployment's key; None where there is no address."""
    found = _address_hmac(email, key)
    return None if found is None else found[0]


def address_hmacs(email: str, key: bytes) -> dict[str, str]:
    """What is kept of an address: the fields ``email_hmac`` and ``domain_hmac`` of a profile or a contact (after §5).

    Nothing of what is no address; no domain where everybody may have a mailbox.
    """
    found = _address_hmac(email, key)
    if found is None:
        return {}
    hashed, domain = found
    return {"email_hmac": hashed} | ({} if domain in FREE_MAIL else {"domain_hmac": _hmac(f"domain|{domain}", key)})


@lru_cache(maxsize=8)
def _address_hmac(email: str, key: bytes) -> tuple[str, str] | None:
    """The HMAC of an address, and its domain. One payload has it in several places; addresses are kept no longer."""
    normal = normal_address(email)
    return None if normal is None else (_hmac(normal, key), normal.rpartition("@")[2])


def ref_hmac(ref: str, key: bytes) -> str:
    """What stands for the producer's own id of a contact (after §5)."""
    return _hmac(f"ref|{ref}", key)


def _hmac(text: str, key: bytes) -> str:
    return hmac.digest(key, text.encode("utf-8", "replace"), "sha256").hex()


def hmac_in(value: object) -> str | None:
    """An HMAC that was computed before, hex in any case, as we write it; None for anything else."""
    return value.lower() if isinstance(value, str) and len(value) == _HMAC_SIZE and _HMAC.fullmatch(value) else None
