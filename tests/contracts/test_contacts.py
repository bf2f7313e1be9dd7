"""The contact of a referral: hashes travel on, a name goes to one topic, and only with consent (after §5)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson
import pytest

from referral_stream.contracts.addresses import address_hmacs
from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.free_mail import FREE_MAIL, VERSION
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.mapping.parsing import MappingProblem, parse_mappings
from referral_stream.contracts.outcomes import Accepted, Adapted
from referral_stream.core.effects import ContactTold
from referral_stream.core.events import Contact, Event
from tests.contracts.building import KEY, NOW, accepted, cloud_event, only, read, refused
from tests.rules import rule

FIRM = "Milton.Waddams+crm@Initech.io"
ADDRESS = "milton.waddams@initech.io"


def hashed(text: str) -> str:
    """As the specification words it, with nothing of our own code."""
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def referral(**contact: Any) -> dict[str, Any]:
    return cloud_event("referral.given", {"referral_id": "ref-1", "contact": contact})


def a_contact(**given: Any) -> Contact:
    event = only(read(referral(**{"ref": "c-1", "consented": True, **given})))
    contact: Contact = event.data.contact
    return contact


def told(adapted: Adapted) -> tuple[ContactTold, ...]:
    assert isinstance(adapted, Accepted)
    return adapted.contacts


def a_name(**given: Any) -> ContactTold | None:
    names = told(read(referral(**{"ref": "c-1", "consented": True, **given})))
    assert len(names) <= 1
    return names[0] if names else None


# ------------------------------------------------------------------------------------------------------- what travels


@rule("A5.1")
def test_a_contact_travels_as_the_hashes_of_its_id_its_address_and_its_domain() -> None:
    assert a_contact(email=FIRM) == Contact(
        ref_hmac=hashed("ref|c-1"),
        email_hmac=hashed(ADDRESS),
        domain_hmac=hashed("domain|initech.io"),
        consented=True,
    )


@rule("A5.1", "6.3")
@pytest.mark.parametrize("consented", [True, False])
def test_a_third_partys_id_name_and_address_never_travel(consented: bool) -> None:
    secrets = {"ref": "crm-4711", "name": "Milton Waddams", "company": "Initech", "email": FIRM}
    value = encode_event(only(read(referral(**secrets, consented=consented)))).lower()
    assert [word for word in (b"4711", b"milton", b"waddams", b"initech") if word in value] == []


@rule("A5.1")
@pytest.mark.parametrize(
    "address", ["milton@gmail.com", "m@googlemail.com", "m@Yahoo.co.uk", "m@T-Online.de", "m@163.com"]
)
def test_a_mailbox_that_everybody_may_have_has_no_domain(address: str) -> None:
    contact = a_contact(email=address)
    assert contact.email_hmac is not None
    assert contact.domain_hmac is None
    assert "domain_hmac" not in address_hmacs(address, KEY)


@rule("A5.1")
@pytest.mark.parametrize(
    "email", [None, "", "n/a", "noreply@initech.com", "m@example.com", "@initech.com", 7, ["a@b.com"]]
)
def test_a_contact_without_a_usable_address_has_the_hash_of_its_id_alone(email: Any) -> None:
    assert a_contact(email=email) == Contact(ref_hmac=hashed("ref|c-1"), consented=True)


def test_an_address_that_is_none_is_flagged() -> None:
    assert only(read(referral(ref="c-1", consented=True, email="n/a"))).flags == ("field_dropped",)
    assert only(read(referral(ref="c-1", consented=True, email=""))).flags == ()


@pytest.mark.parametrize(("ref", "same"), [(4711, "4711"), (4711.0, "4711"), ("  c-1 ", "c-1"), ("e\u0301", "é")])
def test_the_id_of_a_contact_has_one_spelling(ref: Any, same: str) -> None:
    assert a_contact(ref=ref).ref_hmac == hashed(f"ref|{same}")


@pytest.mark.parametrize("ref", [None, "", "undefined", "null", "0", True, {"id": 1}, "c\u202e1", "x" * 257])
def test_a_referral_of_nobody_is_refused_even_with_an_address(ref: Any) -> None:
    """It speaks for asking; and under a placeholder all contacts of a form would be one person."""
    found = refused(read(referral(ref=ref, email=FIRM, consented=True)))
    assert (found.cause, found.detail.partition(":")[0]) == ("invalid", "contact.ref")


@pytest.mark.parametrize("consented", [False, "false", "No", 0, "0"])
def test_a_no_is_understood_however_it_is_written(consented: Any) -> None:
    assert a_contact(consented=consented, name="Milton").consented is False
    assert a_name(consented=consented, name="Milton") is None


@pytest.mark.parametrize("consented", [None, "true", "yes", 1, "perhaps"])
def test_only_true_is_a_consent(consented: Any) -> None:
    assert refused(read(referral(ref="c-1", consented=consented, name="Milton"))).detail.startswith("contact.consented")


def test_what_was_hashed_before_is_taken_as_it_is_and_has_no_domain_of_ours() -> None:
    known = {"ref_hmac": "AB" * 32, "email_hmac": "cd" * 32}
    contact = only(read(referral(**known, consented=False))).data.contact
    assert contact == Contact(ref_hmac="ab" * 32, email_hmac="cd" * 32, consented=False)
    assert a_contact(email="cd" * 32).domain_hmac is None
    assert a_contact(email_hmac=FIRM) == a_contact(email=FIRM)


def test_a_canonical_contact_that_comes_again_stays_as_it_is() -> None:
    event = only(read(referral(ref="c-1", email=FIRM, consented=True)))
    assert only(read(orjson.loads(encode_event(event)))).data == event.data


@rule("A5.1")
def test_a_profile_with_an_address_has_the_hash_of_its_domain() -> None:
    def profile(**data: Any) -> tuple[str | None, str | None]:
        event = only(read(cloud_event("customer.profile_changed", data)))
        return event.data.email_hmac, event.data.domain_hmac

    firm = hashed("domain|initech.io")
    assert profile(email_hmac=FIRM) == (hashed(ADDRESS), firm)
    assert profile(email_hmac=FIRM, domain_hmac="ab" * 32) == (hashed(ADDRESS), firm)
    assert profile(email_hmac="ana@gmail.com", domain_hmac="ab" * 32) == (hashed("ana@gmail.com"), None)
    assert profile(email_hmac="cd" * 32) == ("cd" * 32, None)
    assert profile(email_hmac="cd" * 32, domain_hmac="AB" * 32) == ("cd" * 32, "ab" * 32)
    assert profile(champion=True, domain_hmac="initech.com") == (None, None)


@rule("A5.1")
def test_a_changed_list_of_free_mail_has_a_new_version() -> None:
    content = hashlib.sha256("\n".join(sorted(FREE_MAIL)).encode()).hexdigest()[:16]
    assert (VERSION, content) == (1, "33471199dc2c8494"), "raise VERSION, and write both here"


def test_the_list_of_free_mail_has_domains_as_addresses_are_written() -> None:
    assert [each for each in FREE_MAIL if each != each.lower().strip() or "." not in each or "@" in each] == []
    well_known = (
        "gmail.com outlook.com hotmail.com icloud.com yahoo.fr gmx.de web.de orange.fr libero.it wp.pl seznam.cz "
        "uol.com.br qq.com naver.com mail.ru"
    )
    assert set(well_known.split()) <= FREE_MAIL


# --------------------------------------------------------------------------------------------------------- who is named


@rule("A5.5")
def test_a_contact_who_has_consented_is_named_to_a_topic_of_its_own() -> None:
    adapted = read(referral(ref="c-1", name="Milton Waddams", company="Initech", consented=True))
    assert told(adapted) == (
        ContactTold(referral_id="ref-1", customer_id="cus-1", name="Milton Waddams", company="Initech", told_at=NOW),
    )


@rule("A5.5")
def test_without_consent_or_without_a_name_nobody_is_named() -> None:
    assert a_name(name="Milton", company="Initech", consented=False) is None
    for nothing in ({}, {"name": None, "company": None}, {"name": " \n", "company": ""}, {"name": 7, "company": ["x"]}):
        assert a_name(**nothing) is None
    assert a_name(company="Initech") == ContactTold(
        referral_id="ref-1", customer_id="cus-1", company="Initech", told_at=NOW
    )


@rule("A5.5")
def test_a_contact_whose_referrer_is_named_by_a_link_alone_is_not_named() -> None:
    given = referral(ref="c-1", name="Milton", consented=True)
    assert told(read({**given, "subject": None, "link": "crm:7"})) == ()
    assert len(told(read({**given, "link": "crm:7"}))) == 1


def test_a_referral_that_is_refused_names_nobody() -> None:
    ahead = referral(ref="c-1", name="Milton", consented=True) | {"time": "2031-01-01T00:00:00Z"}
    refused(read(ahead))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("  Milton\t\r\n Waddams ", "Milton Waddams"),
        ("Mil\x00ton\x1b[31m", "Milton[31m"),
        ("\u202eMilton\u2066", "Milton"),
        ("x" * 513, "x" * 512),
        ("x" * 511 + " y", "x" * 511),
        ("Zoë O'Brien-Łukasz", "Zoë O'Brien-Łukasz"),
    ],
)
def test_a_name_is_one_line_without_what_steers_a_terminal(said: str, name: str) -> None:
    found = a_name(name=said, company=said)
    assert found is not None
    assert (found.name, found.company) == (name, name)


# ------------------------------------------------------------------------------------------------------------- mappings

MAPPING = """
[[mapping]]
when = { adapter = "json", kind = "referral" }
type = "referral.given"
subject = "$.by"
data.referral_id = "$.id"
data.contact.ref = "$.friend.id"
data.contact.email = { path = "$.friend.mail", as = "CAST" }
data.contact.name = "$.friend.name"
data.contact.consented = { path = "$.friend.agreed", as = "bool" }
"""
PAYLOAD = {
    "kind": "referral",
    "by": "ana",
    "id": "ref-1",
    "friend": {"id": 7, "mail": FIRM, "name": "Milton", "agreed": "yes"},
}


def mapped(toml: str, payload: dict[str, Any]) -> Adapted:
    return read(payload, boundary=Boundary(KEY, mappings=parse_mappings(toml.encode())))


@pytest.mark.parametrize("cast", ["str", "email_hmac"])
def test_a_mapping_makes_a_referral_with_a_contact(cast: str) -> None:
    adapted = mapped(MAPPING.replace("CAST", cast), PAYLOAD)
    (event,) = accepted(adapted)
    assert isinstance(event, Event)
    assert event.data.contact == Contact(
        ref_hmac=hashed("ref|7"),
        email_hmac=hashed(ADDRESS),
        domain_hmac=hashed("domain|initech.io"),
        consented=True,
    )
    assert [each.name for each in told(adapted)] == ["Milton"]


def test_a_mapping_that_cannot_read_the_consent_says_so() -> None:
    friend = PAYLOAD["friend"] | {"agreed": "perhaps"}  # type: ignore[operator]
    found = refused(mapped(MAPPING.replace("CAST", "str"), PAYLOAD | {"friend": friend}))
    assert found.detail == "mapping mapping[1]: data.contact.consented: cannot be read as bool"


def test_a_mapping_of_a_contact_needs_the_contacts_id() -> None:
    without = "\n".join(line for line in MAPPING.replace("CAST", "str").splitlines() if "contact.ref" not in line)
    with pytest.raises(MappingProblem, match=r"data\.contact\.ref: required"):
        parse_mappings(without.encode())


def test_a_mapped_profile_has_the_hash_of_its_domain() -> None:
    toml = """
[[mapping]]
when = { adapter = "json", kind = "person" }
type = "customer.profile_changed"
subject = "$.id"
data.email_hmac = { path = "$.mail", as = "email_hmac" }
"""
    (event,) = accepted(mapped(toml, {"kind": "person", "id": "ana", "mail": FIRM}))
    assert (event.data.email_hmac, event.data.domain_hmac) == (hashed(ADDRESS), hashed("domain|initech.io"))
