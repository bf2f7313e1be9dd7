"""One customer under several ids: later records are redirected, chains are followed, circles are impossible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from referral_stream.contracts.inbound.aliases import Aliases
from referral_stream.core import events as ev
from tests.builders import fact


def aliased(customer: str, alias: str) -> ev.Event:
    return fact(ev.Aliased(alias=alias), customer=customer)


def about(customer: str) -> ev.Event:
    return fact(ev.OnboardingCompleted(), customer=customer)


def test_records_of_an_alias_go_to_its_customer_from_then_on() -> None:
    aliases = Aliases()
    assert aliases.redirect(about("anonymous-7")).subject == "anonymous-7"
    assert aliases.redirect(aliased("ana", "anonymous-7")).subject == "ana"
    assert aliases.redirect(about("anonymous-7")).subject == "ana"
    assert aliases.redirect(about("ben")).subject == "ben"


def test_an_alias_of_an_alias_is_followed() -> None:
    aliases = Aliases()
    aliases.redirect(aliased("device", "cookie"))
    aliases.redirect(aliased("ana", "device"))
    assert aliases.redirect(about("cookie")).subject == "ana"


def test_nobody_becomes_an_alias_of_themselves() -> None:
    aliases = Aliases()
    aliases.redirect(aliased("ana", "ana"))
    aliases.redirect(aliased("ana", "device"))
    aliases.redirect(aliased("device", "ana"))
    assert (aliases.customer("ana"), aliases.customer("device")) == ("ana", "ana")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=12))
def test_links_learnt_in_any_order_lead_to_an_end(links: list[tuple[str, str]]) -> None:
    aliases = Aliases()
    for alias, customer in links:
        aliases.learn(alias, customer)
    for name in "abcd":
        end = aliases.customer(name)
        assert aliases.customer(end) == end


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=12))
def test_every_id_stands_for_one_that_stands_for_itself(pairs: list[tuple[str, str]]) -> None:
    aliases = Aliases()
    for customer, alias in pairs:
        aliases.redirect(aliased(customer, alias))
    for name in "abcd":
        end = aliases.customer(name)
        assert aliases.customer(end) == end
