"""The AsyncAPI document tells of every topic and every message, and its references lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from referral_stream.contracts.catalogue import message_versions
from referral_stream.contracts.codec import event_headers
from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.topics import SOURCES, TOPICS
from referral_stream.published.asyncapi import asyncapi
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
    assert {channel["address"] for channel in DOCUMENT["channels"].values()} == {f"{{prefix}}{name}" for name in TOPICS}


def test_producers_topics_are_received_commands_are_sent_and_our_own_are_both() -> None:
    actions: dict[str, set[str]] = {name: set() for name in DOCUMENT["channels"]}
    for operation in DOCUMENT["operations"].values():
        actions[operation["channel"]["$ref"].rpartition("/")[2]].add(operation["action"])
    both = {"send", "receive"}
    assert actions == {
        **{_camel(name): {"receive"} for name in SOURCES},
        "referralAsks": {"send"},
        "referralDecisions": {"send"},
        "referralFollowups": {"send"},
        "referralRewards": {"send"},
        "referralRecords": both,
        "referralContacts": both,
        "customerEvents": both,
        "ledgerRequests": both,
        "ledgerGenerations": both,
        "deadLetters": both,
    }


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def test_every_message_in_every_version_is_on_a_channel() -> None:
    on_channels = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert on_channels == {version.name for version in message_versions()} | {"deadLetter"}


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
    own = {name: (value or b"").decode() for name, value in event_headers(event, NOW)}
    letter = dead_letter(record(b"{", headers=()), error="undecodable: -", stage="ingest", occurred_at=NOW)
    told = {name: (value or b"").decode() for name, value in letter.headers}
    for name, headers in (("own", own), ("deadLetter", told)):
        jsonschema.validate(headers, schemas[f"{name}Headers"])
        assert headers.keys() <= schemas[f"{name}Headers"]["properties"].keys()
