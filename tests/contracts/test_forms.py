"""Bodies that are forms: the same objects as of JSON, for the vendors who send them and for nobody else."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.forms import Form, read_form
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.outcomes import Accepted
from tests.contracts.building import KEY, accepted, read, refused, sample, samples
from tests.rules import rule


def encoded(value: Any, name: str = "") -> str:
    """An object as a form."""
    if isinstance(value, dict):
        return "&".join(encoded(inner, f"{name}[{key}]" if name else key) for key, inner in value.items())
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{quote_plus(name, safe='[]')}={quote_plus(text)}"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1", {"a": "1"}),
        (b"a=1&b=&=c", {"a": "1", "b": ""}),
        (b"a[b][c]=1&a[b][d]=2&a[e]=3", {"a": {"b": {"c": "1", "d": "2"}, "e": "3"}}),
        (b"a[]=1&a[]=2&b[c][]=3", {"a": ["1", "2"], "b": {"c": ["3"]}}),
        (b"a%5Bb%5D=x%20y+z%26", {"a": {"b": "x y z&"}}),
        ("a=Größe".encode(), {"a": "Größe"}),
        (b"a]b[=1&[c]=2&d[e=3&f[g]h=4", {"a]b[": "1", "[c]": "2", "d[e": "3", "f[g]h": "4"}),
        (b"a[b][c][d][e][f][g][h][i][j]=1", {"a[b][c][d][e][f][g][h][i][j]": "1"}),
    ],
)
def test_brackets_are_objects_and_lists(body: bytes, fields: dict[str, Any]) -> None:
    assert read_form(body) == Form(fields, is_sound=True)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1&a=2", {"a": "1"}),
        (b"a=1&a[b]=2", {"a": "1"}),
        (b"a[b]=2&a=1", {"a": {"b": "2"}}),
        (b"a[]=1&a[b]=2", {"a": ["1"]}),
        (b"a[b]=2&a[]=1", {"a": {"b": "2"}}),
        (b"a=%FF", {"a": "\ufffd"}),
        (b"a=\xff", {"a": "\ufffd"}),
    ],
)
def test_a_field_that_can_be_read_in_two_ways_spoils_the_form(body: bytes, fields: dict[str, Any]) -> None:
    assert read_form(body) == Form(fields, is_sound=False)


@pytest.mark.parametrize("body", [b"", b"a", b"&&", b"=", b"&".join([b"a=1"] * 1_001)])
def test_what_is_no_form(body: bytes) -> None:
    assert read_form(body) is None


@given(st.binary(max_size=200) | st.text("ab[]=&%+", max_size=60).map(str.encode))
def test_any_bytes_are_a_form_or_none(body: bytes) -> None:
    assert isinstance(read_form(body), Form | None)


WOOTRIC = (("referral-source", b"wootric"),)
FORM = encoded(sample("wootric.response_created.as_in_a_form")).encode()


def test_a_form_of_a_vendor_who_sends_forms_means_what_its_json_does() -> None:
    for each in samples("wootric"):
        as_json = read(each.payload, headers=WOOTRIC, boundary=each.boundary)
        as_form = read(encoded(each.payload).encode(), headers=WOOTRIC, boundary=each.boundary)
        assert as_form == as_json, each.name


def test_a_form_is_read_where_the_topic_says_whose_it_is() -> None:
    boundary = Boundary(email_key=KEY, adapters={"nps": "wootric"})
    assert accepted(read(FORM, boundary=boundary)) == accepted(read(FORM, headers=WOOTRIC))


@pytest.mark.parametrize("vendor", [None, *(name for name, adapter in BY_NAME.items() if not adapter.form)])
def test_nobody_elses_form_is_read(vendor: str | None) -> None:
    headers = () if vendor is None else (("referral-source", vendor.encode()),)
    assert refused(read(FORM, headers=headers)).cause == "undecodable"


def test_a_signed_event_of_qualtrics_is_never_read_as_the_response_beside_it() -> None:
    answer = "result[values][QID1]=10&result[values][QID1_NPS_GROUP]=3&result[values][externalDataReference]=c1"
    headers = (("referral-source", b"qualtrics"),)
    for beside in ("Topic=a.b&MSG={}", "Topic[x]=a&MSG={}", "MSG[x]={}", "HMAC=00", "Topic=a.b&MSG={}&MSG={}"):
        adapted = read(f"{beside}&{answer}".encode(), headers=headers)
        assert not isinstance(adapted, Accepted), beside


@rule("I1.3")
@pytest.mark.parametrize("fault", [b"&response[email]=b@customer.example", b"&response[name]=%FF"])
def test_a_form_with_a_fault_still_protects_and_speaks_for_nothing(fault: bytes) -> None:
    promoter, detractor = FORM, FORM.replace(b"response[score]=10", b"response[score]=2")
    for body, counts in ((promoter, False), (detractor, True)):
        adapted = read(body + fault, headers=WOOTRIC)
        assert isinstance(adapted, Accepted)
        assert ("nps.responded" in {event.type for event in adapted.events}) is counts
        assert [letter.refused.cause for letter in adapted.letters] == ([] if counts else ["undecodable"])
