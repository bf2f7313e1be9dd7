"""The contact of a referral: what travels on of it, and what is told to ``referral-contacts`` alone (after §5).

Behind ingest a contact is keyed hashes and whether they have consented. Their name and company stand on one topic, and
only while they have consented.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from referral_stream.contracts.adapters import Reading
from referral_stream.contracts.addresses import hmac_in, ref_hmac
from referral_stream.contracts.identifiers import is_placeholder, usable_id
from referral_stream.contracts.outcomes import Refused
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import Event, ReferralGiven

LONGEST_NAME: Final = 512
"""Characters of a name or a company that are told."""


class ContactRead(NamedTuple):
    """A contact in its canonical form, not yet validated, and whether a field of it could not be used."""

    contact: Any
    dropped: bool = False


def canonical_contact(given: Any, reading: Reading) -> ContactRead | Refused:
    """What travels on of a contact as its producer describes it: no id, no address, no name.

    What is not an e-mail address, or only holds the place of one, is left out. Refused without a usable ``ref``.
    """
    if not isinstance(given, Mapping):
        return ContactRead(given)
    ref = _ref(given, reading)
    if isinstance(ref, Refused):
        return ref
    address, dropped = _address(given, reading)
    contact: dict[str, Any] = {"ref_hmac": ref, **address}
    if (consented := given.get("consented")) is not None:
        contact["consented"] = False if _is_no(consented) else consented
    return ContactRead(contact, dropped)


def contact_told(event: Event, data: Any, now: int) -> ContactTold | None:
    """What ``referral-contacts`` is told about the contact of an event, arrived ``now``; ``data`` is as it came.

    None unless the event is a referral of a customer who is named by id, its contact has consented, and has a name or
    a company. (Whose referral it is that came through a link is not known here.)
    """
    body = event.data
    if not (isinstance(body, ReferralGiven) and body.contact.consented and event.subject):
        return None
    contact = data["contact"]
    name, company = _name(contact.get("name")), _name(contact.get("company"))
    if name is None and company is None:
        return None
    return ContactTold(referral_id=body.referral_id, customer_id=event.subject, name=name, company=company, told_at=now)


def _ref(given: Mapping[str, Any], reading: Reading) -> str | Refused:
    """The hash of the producer's id of the contact; one that was computed before counts where there is no id."""
    said = given.get("ref")
    if said is None:
        hashed = hmac_in(given.get("ref_hmac"))
        return hashed or Refused("invalid", "contact.ref: Field required")
    ref = usable_id(said)
    if ref is None or is_placeholder(ref, reading.placeholders):
        return Refused("invalid", "contact.ref: names nobody")
    return ref_hmac(ref, reading.email_key)


def _address(given: Mapping[str, Any], reading: Reading) -> tuple[dict[str, str], bool]:
    """The hashes of the address, and whether what stands there is none.

    One that was hashed before is taken as it is; its domain is then what the producer says, if anything.
    """
    stated = [said for said in (given.get("email"), given.get("email_hmac")) if said is not None and said != ""]
    for said in stated:
        if made := reading.address_hmacs(said):
            return made, False
        if (hashed := hmac_in(said)) is not None:
            domain = hmac_in(given.get("domain_hmac"))
            return {"email_hmac": hashed} if domain is None else {"email_hmac": hashed, "domain_hmac": domain}, False
    domain = hmac_in(given.get("domain_hmac"))
    return {} if domain is None else {"domain_hmac": domain}, bool(stated)


_NO: Final = frozenset({"false", "no", "0"})


def _is_no(consented: Any) -> bool:
    """Whether it says no in another way than the contract's. Nothing else is understood: only ``true`` is a yes."""
    return type(consented) in (str, int) and str(consented).strip().lower() in _NO


def _name(said: Any) -> str | None:
    """One line of at most ``LONGEST_NAME`` characters; None where there is no text."""
    if not isinstance(said, str):
        return None
    text = "".join(" " if c.isspace() else c for c in said if c.isspace() or not _is_control(c))
    return " ".join(text.split())[:LONGEST_NAME].rstrip() or None


def _is_control(character: str) -> bool:
    """Whether it is no character of a name: what steers a terminal, turns the direction of a line, or is half one."""
    return unicodedata.category(character) in ("Cc", "Cs") or character in _BIDI


_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
