"""Keys of ``customer-events``: customers and links, never one taken for the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.core.events import Link
from referral_stream.core.keys import customer_key, link_key, parse_key


@pytest.mark.parametrize(
    ("customer", "key"),
    [("ana", "ana"), ("~ana", "~~ana"), ("~~ana", "~~~ana"), ("~email:ab", "~~email:ab"), ("a:b", "a:b")],
)
def test_key_of_a_customer(customer: str, key: str) -> None:
    assert customer_key(customer) == key
    assert parse_key(key.encode()) == customer


@pytest.mark.parametrize(
    ("link", "key"),
    [(Link("email", "ab12"), "~email:ab12"), (Link("crm_2", "a:b:~c"), "~crm_2:a:b:~c")],
)
def test_key_of_a_link(link: Link, key: str) -> None:
    assert link_key(link) == key
    assert parse_key(key.encode()) == link


@given(st.text(min_size=1), st.from_regex(r"[a-z0-9_]{1,32}", fullmatch=True), st.text(min_size=1))
def test_no_customer_has_the_key_of_a_link(customer: str, kind: str, value: str) -> None:
    assert customer_key(customer) != link_key(Link(kind, value))


@pytest.mark.parametrize("key", ["~", "~email", "~email:", "~E-Mail:x", "~:x", "~" + "k" * 33 + ":x"])
def test_a_key_that_nobody_writes(key: str) -> None:
    """It is nobody's: a customer of this name has another key."""
    assert parse_key(key.encode()) == key
    assert customer_key(key) != key


@pytest.mark.parametrize("text", ["", "email", "email:", ":x", "E:x", "e-mail:x"])
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(ValueError, match="KIND:VALUE"):
        Link.parse(text)
