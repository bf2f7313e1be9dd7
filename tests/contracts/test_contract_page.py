"""docs/contracts.md says what the models say, and its examples are what they claim to be."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.catalogue import MESSAGES
from referral_stream.contracts.codec import decode_effect, encode_effect
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.inbound.themes import THEMES
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import SOURCES, TOPICS
from referral_stream.core.events import FACT_TYPES
from referral_stream.core.instants import parse_instant
from referral_stream.core.policy import Policy
from referral_stream.published.schemas import documents
from tests.contracts.test_schemas import violations

_TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "contract_page.py"))
PAGE, filled, tables_in = (_TOOL[name] for name in ("PAGE", "filled", "tables_in"))

TEXT = PAGE.read_text("utf-8")
EXAMPLES: list[dict[str, Any]] = [
    orjson.loads(example) for example in re.findall(r"^```json\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
]
INBOUND = [example for example in EXAMPLES if example["type"] in FACT_TYPES]
OUTBOUND = [example for example in EXAMPLES if example["type"] not in FACT_TYPES]
NOW = parse_instant("2026-06-30T00:00:00Z")[0]


def named(examples: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(example, id=f"{example['type']} {example['id']}") for example in examples]


def test_the_tables_are_those_of_the_models() -> None:
    assert filled(TEXT) == TEXT, "write them again: python tools/contract_page.py"


def test_every_type_of_ours_and_every_input_topic_has_its_table() -> None:
    ours = {path[4:-5] for path in documents() if path.startswith("out/")}
    missing = {*SOURCES, *ours, "topics", "written"} - {"referral.decision.made"} - tables_in(TEXT)
    assert missing == set(), "add to docs/contracts.md a block <!-- fields: NAME --> … <!-- end -->"


def test_every_message_and_every_topic_is_on_the_page() -> None:
    assert [name for name in (*MESSAGES, *TOPICS) if f"| `{name}` |" not in TEXT] == []


def test_a_table_that_says_something_else_is_noticed() -> None:
    wrong = TEXT.replace("`score`: 0–10", "`score`: 1–10")
    assert wrong != TEXT
    assert filled(wrong) == TEXT


def test_a_table_of_nothing_we_know_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("<!-- fields: referral.ask.imagined -->\n<!-- end -->")


@pytest.mark.parametrize("example", named(INBOUND))
def test_an_example_for_producers_is_accepted_as_it_stands(example: dict[str, Any]) -> None:
    assert violations(f"in/{example['type']}.json", example) == []
    value = orjson.dumps(example)
    record = RawRecord(topic="responses", partition=0, offset=0, timestamp=NOW, key=None, value=value)
    adapted = adapt(record, NOW, Boundary(b"key"))
    assert isinstance(adapted, Accepted)
    (event,) = adapted.events
    assert event.flags == (() if "time" in example else ("time_unreadable",))


@pytest.mark.parametrize("example", named(OUTBOUND))
def test_an_example_for_workers_is_what_we_write(example: dict[str, Any]) -> None:
    assert violations(f"out/{example['type']}.json", example) == []
    effect = decode_effect(orjson.dumps(example))
    written = orjson.loads(encode_effect(effect, parse_instant(example["time"])[0]))
    assert written | {"id": example["id"]} == example


def test_there_are_examples_of_both_kinds() -> None:
    assert {example["type"] for example in OUTBOUND} >= {"referral.ask.requested", "referral.ask.cancelled"}
    assert {example["type"] for example in INBOUND} >= {"nps.responded", "ask.acknowledged", "ask.answered"}


def test_the_page_names_every_template_theme_and_status() -> None:
    templates = {trigger.template for trigger in Policy().triggers.values()}
    statuses = {"accepted", "sent", "delivered", "opened", "failed", "dropped_expired", "cancelled"}
    assert {word for word in (*templates, *THEMES, *statuses) if f"`{word}`" not in TEXT} == set()
