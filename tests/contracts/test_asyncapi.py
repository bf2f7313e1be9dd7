"""The AsyncAPI document tells of every topic and every message, and its references lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from referral_stream.contracts.catalogue import messages
from referral_stream.contracts.codec import event_headers
from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.topics import KEPT, SOURCES
from referral_stream.core.effects import EFFECT_TYPES
from referral_stream.core.events import FACT_TYPES, WITHOUT_SUBJECT
from referral_stream.published.asyncapi import CHANNELS, asyncapi
from referral_stream.published.schemas import documents
from tests.contracts.building import NOW, cloud_event, only, read, record

DOCUMENT = asyncapi()


def references(node: Any) -> Iterator[str]:
    """Every ``$ref`` below a node."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_the_channels_are_the_topics_of_this_version() -> None:
    assert CHANNELS.keys() == KEPT.keys()
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {f"{{prefix}}{name}" for name in KEPT}


def test_every_type_that_producers_send_belongs_to_one_source_topic() -> None:
    listed = [kind for name in SOURCES for kind in CHANNELS[name].kinds]
    assert sorted(listed) == sorted(FACT_TYPES)


def test_source_topics_are_only_received() -> None:
    assert all(CHANNELS[name].actions == ("receive",) for name in SOURCES)
    received = {name for name, operation in DOCUMENT["operations"].items() if operation["action"] == "receive"}
    assert {"receiveNps", "receiveProductUsage"} < received
    assert "receiveReferralAsks" not in received


def test_every_message_in_every_version_is_on_a_channel() -> None:
    on_channels = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert on_channels == {message.name for message in messages()} | {"deadLetter"}


def test_switches_go_to_the_ledger_and_everything_else_to_the_log_of_customers() -> None:
    assert set(CHANNELS["ledger-requests"].kinds) >= WITHOUT_SUBJECT
    assert not WITHOUT_SUBJECT & set(CHANNELS["customer-events"].kinds)
    assert set(FACT_TYPES) - WITHOUT_SUBJECT < set(CHANNELS["customer-events"].kinds)
    ours = {
        kind for name in ("ledger-requests", "referral-asks", "referral-decisions") for kind in CHANNELS[name].kinds
    }
    assert ours - WITHOUT_SUBJECT == set(EFFECT_TYPES.values())


def test_every_reference_leads_somewhere() -> None:
    files = documents()
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        if reference.startswith("./"):
            assert reference.removeprefix("./") in files
            continue
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_the_headers_told_are_those_that_are_written() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = DOCUMENT["components"]["schemas"]
    event = only(read(cloud_event("usage.recorded", {}), headers=(("historical", b"true"),)))
    own = {name: value.decode() for name, value in event_headers(event, NOW)}
    letter = dead_letter(record(b"{", headers=()), error="undecodable: -", stage="ingest", occurred_at=NOW)
    told = {name: value.decode() for name, value in letter.headers}
    for name, headers in (("own", own), ("deadLetter", told)):
        jsonschema.validate(headers, schemas[f"{name}Headers"])
        assert headers.keys() <= schemas[f"{name}Headers"]["properties"].keys()
