"""Webhooks as vendors send them, each with what becomes of it: ``samples/README.md`` describes the files."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.adapters import (
    BY_NAME,
    REGISTRY,
    amplitude,
    asknicely,
    braze,
    chargebee,
    customerio,
    delighted,
    dittofeed,
    formbricks,
    freshdesk,
    gorgias,
    helpscout,
    hubspot,
    intercom,
    klaviyo,
    mixpanel,
    paddle,
    posthog,
    product_events,
    qualtrics,
    recurly,
    revenuecat,
    satismeter,
    segment,
    sendgrid,
    stripe,
    surveymonkey,
    survicate,
    typeform,
    wootric,
    zendesk,
)
from referral_stream.contracts.addresses import address_hmacs, email_hmac
from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.outcomes import Accepted, Adapted, Skipped
from tests.contracts.building import KEY, read, refused, samples

every_vendor = pytest.mark.parametrize("vendor", BY_NAME)

ADDRESSES = ("ana@customer.example", "ana.old@customer.example", "office@customer.example")
HASHED = {email_hmac(address, KEY): f"hmac of {address}" for address in ADDRESSES}
HASHED[address_hmacs(ADDRESSES[0], KEY)["domain_hmac"]] = "hmac of domain customer.example"


def outcome(adapted: Adapted) -> list[dict[str, Any]] | str:
    """The events as a file of samples writes them, or why there are none."""
    if isinstance(adapted, Accepted):
        return [_written(orjson.loads(encode_event(event))) for event in adapted.events]
    return adapted.reason if isinstance(adapted, Skipped) else f"refused: {adapted.cause}, {adapted.detail}"


def _written(event: dict[str, Any]) -> dict[str, Any]:
    same_for_all = {"source", "origin", "specversion", "datacontenttype", "dataschema"}
    data = {name: HASHED.get(value, value) if type(value) is str else value for name, value in event["data"].items()}
    rest = {name: value for name, value in event.items() if name not in same_for_all}
    if "link" in rest:
        kind, _, value = rest["link"].partition(":")
        rest["link"] = f"{kind}:{HASHED.get(value, value)}"
    return rest | {"data": data}


@every_vendor
def test_a_sample_becomes_what_its_file_says(vendor: str, subtests: pytest.Subtests) -> None:
    for sample in samples(vendor):
        with subtests.test(sample.name):
            adapted = sample.adapted()
            assert outcome(adapted) == sample.expected
            if isinstance(adapted, Accepted):
                assert {(event.source, event.origin) for event in adapted.events} == {(vendor, vendor)}


@every_vendor
def test_the_vendors_adapter_is_the_first_to_recognise_a_sample(vendor: str, subtests: pytest.Subtests) -> None:
    for sample in samples(vendor):
        if not sample.headers:
            with subtests.test(sample.name):
                assert next(adapter.name for adapter in REGISTRY if adapter.parts(sample.payload)) == vendor


def test_stripes_test_mode_reaches_no_customer(subtests: pytest.Subtests) -> None:
    for sample in samples("stripe"):
        with subtests.test(sample.name):
            assert outcome(read(sample.payload | {"livemode": False})) == "test_mode"


def test_a_resource_of_stripe_outside_an_event_is_not_recognised(subtests: pytest.Subtests) -> None:
    for sample in samples("stripe"):
        if "object" in sample.payload.get("data", {}):
            with subtests.test(sample.name):
                assert refused(read(sample.payload["data"]["object"])).cause == "unrecognised"


def test_there_is_a_file_of_samples_for_every_vendor() -> None:
    assert {path.stem for path in (Path(__file__).parent / "samples").glob("*.json")} == BY_NAME.keys()


def compared(*functions: Callable[..., Any]) -> set[str]:
    """The words that functions compare something with, in comparisons and in the patterns of ``match``."""
    return {text for function in functions for text in _compared(function) if any(map(str.isalpha, text))}


def _compared(function: Callable[..., Any]) -> Iterator[str]:
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Compare):
            sides = node.comparators
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            for leaf in ast.walk(side):
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                    yield leaf.value


NAMES: dict[str, Iterable[str]] = {
    "segment": {*segment._CALLS, *segment._TRACKED, *product_events._NAMED},
    "posthog": {*compared(posthog._facts), *product_events._NAMED},
    "stripe": {
        *stripe._FACTS, *compared(stripe._status_changed, stripe._subscribed, stripe._refund, stripe._promotions),
        *stripe._WON, *stripe._DECIDED,
    },
    "chargebee": chargebee._EVENTS,
    "paddle": paddle._EVENTS,
    "revenuecat": {*revenuecat._EVENTS, *compared(revenuecat.read, revenuecat._renews), revenuecat._TEST_STORE},
    "recurly": {happened for kind in recurly._EVENTS for happened in kind.split(".", 1)},
    "zendesk": {
        *compared(zendesk._facts, zendesk._about_user), *zendesk._GONE, *zendesk._BUS, *zendesk._BUS_USERS,
        *zendesk._DONE, *zendesk._RATINGS,
    },
    "intercom": {*intercom._FACTS, *compared(intercom._reached)},
    "hubspot": compared(
        hubspot._changed, hubspot._won, hubspot._contact_property, hubspot._ticket_property, hubspot._associated
    ),
    "delighted": {*compared(delighted.read, delighted._answered), *delighted._SATISFACTION},
    "typeform": {*typeform._EVENTS, *typeform._SCALED},
    "formbricks": formbricks._EVENTS,
    "survicate": {*survicate._EVENTS, *survicate._LABELS},
    "surveymonkey": surveymonkey._PREVIEWS,
    "asknicely": {*asknicely._TYPES, *compared(asknicely.read)},
    "qualtrics": {"Topic", "MSG", f"QID1{qualtrics._GROUP}"},
    "amplitude": {*amplitude._USERS, *amplitude._COHORT},
    "mixpanel": {*mixpanel.ACTIONS},
    "rudderstack": {"identify", "merge"},
    "satismeter": {
        *satismeter._EVENTS, *satismeter._CATEGORIES, *satismeter._SATISFACTION, *compared(satismeter._answered),
    },
    "wootric": {*wootric._OBJECTS, *wootric._ANSWERED, *compared(wootric.read, wootric._answered)},
    "helpscout": {
        *helpscout._RATINGS, *helpscout._FACES, *helpscout._OVER, *helpscout._CATEGORIES,
        *helpscout._DELETED,
    },
    "dittofeed": {*compared(dittofeed._facts), *dittofeed._MACHINES},
    "freshdesk": {*freshdesk._OVER, *freshdesk._PRIORITIES, *freshdesk._ADDRESSES},
    "gorgias": {gorgias._OVER, *gorgias._PRIORITIES, *gorgias._TIMES},
    "braze": {
        f"users.{name}"
        for name in (*braze._TYPES, *braze._SUBSCRIPTIONS, *braze._ANSWERS, braze._CUSTOM, braze._DELETED)
    },
    "klaviyo": {*klaviyo._TOPICS, klaviyo._PREFERENCES, *klaviyo._PASSING, *klaviyo._ADDRESSES},
    "sendgrid": {*sendgrid._EVENTS, *sendgrid._PASSING, *sendgrid._OURS},
    "customerio": {*customerio._METRICS, *customerio._UNSENT, *customerio._PREFERENCES},
}  # fmt: skip
"""The names of events, and of what decides within one, that each adapter tells apart."""

WITHOUT_SAMPLE = {
    "segment": {"alias"},
    "posthog": {"$create_alias"},
}
"""Any browser can say these: whether an alias from there is believed is the deployment's to decide, not a sample's."""


@every_vendor
def test_every_name_that_an_adapter_tells_apart_has_a_sample(vendor: str) -> None:
    texts = {_plain(text) for sample in samples(vendor) for text in _texts(sample.payload)}
    texts |= {(value or b"").decode() for sample in samples(vendor) for _, value in sample.headers}
    seen = {name for name in NAMES[vendor] if _plain(name) in texts}
    assert len(set(NAMES[vendor])) > 1
    assert set(NAMES[vendor]) - seen == WITHOUT_SAMPLE.get(vendor, set())


def _plain(name: str) -> str:
    """A name without the difference between the styles in which products write it, and without vendors' prefixes."""
    return name.removeprefix("zen:event-type:").removeprefix("object.").casefold().replace("_", " ")


def _texts(value: Any) -> Iterator[str]:
    """Every name and text in a payload, and the parts of names like ``contact.merge``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield from (value, *value.split("."))
