"""Events that name a link instead of a customer, at the boundary (identity §4)."""

from __future__ import annotations

import pytest

from referral_stream.contracts.addresses import email_hmac
from referral_stream.contracts.codec import event_key
from referral_stream.contracts.outcomes import Accepted
from referral_stream.core.events import Link
from tests.contracts.building import KEY, accepted, cloud_event, read, refused, skipped
from tests.rules import rule

HMAC = email_hmac("ana@nordkontor.de", KEY)


@rule("I4.1", "I4.5", "I4.6")
@pytest.mark.parametrize(
    ("said", "kind", "value"),
    [
        ("email:Ana@Nordkontor.de", "email", HMAC),
        ("email:" + "AB" * 32, "email", "ab" * 32),
        ("stripe_charge:ch_1", "stripe_charge", "ch_1"),
        ("crm_2:a:b ", "crm_2", "a:b"),
    ],
)
def test_a_link_instead_of_a_subject_is_whose_record_it_is(said: str, kind: str, value: str) -> None:
    (event,) = accepted(read(cloud_event("customer.suppressed", subject=None, link=said, data={})))
    assert (event.subject, event.link) == ("", Link(kind, value))
    assert event_key(event) == f"~{kind}:{value}".encode()


@rule("I4.5", "I4.6")
@pytest.mark.parametrize(
    "link", ["crm:ana@nordkontor.de", "email:ana", "CRM:7", "crm", "crm:", "crm:undefined", "c" * 33 + ":7"]
)
def test_what_names_nobody_is_no_link(link: str) -> None:
    told = cloud_event("customer.suppressed", subject=None, link=link, data={})
    assert refused(read(told)).cause == "unusable_id"


@rule("I4.5")
def test_a_taught_address_is_written_as_its_hmac_and_an_address_of_another_kind_is_refused() -> None:
    (event,) = accepted(read(cloud_event("customer.linked", data={"kind": "email", "value": "Ana@nordkontor.de"})))
    assert event.data.value == HMAC
    told = cloud_event("customer.linked", data={"kind": "crm", "value": "ana@nordkontor.de"})
    assert not isinstance(read(told), Accepted)


@rule("I4.6", "I5.4", "I7.4")
def test_what_only_entities_say_to_each_other_is_not_taken_from_outside() -> None:
    for kind, data in (("link.taught", {"customer": "ana"}), ("link.left", {"customer": "ana"})):
        assert skipped(read(cloud_event(kind, data=data))).reason == "unknown_type"
    (event,) = accepted(read(cloud_event("customer.suppressed", via='["~email:x"]', data={})))
    assert event.via == ()
