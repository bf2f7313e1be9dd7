"""docs/mapping.md and the example file say what the program does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.mapping import source_tables
from referral_stream.contracts.mapping.language import NONE, Mappings
from referral_stream.contracts.mapping.parsing import build_mappings, parse_mappings
from referral_stream.contracts.mapping.signing import ALGORITHMS, ENCODINGS
from referral_stream.contracts.mapping.values import BOUNDS, CASTS, NAMED_FORMATS
from referral_stream.contracts.outcomes import Accepted, Skipped
from tests.contracts.building import KEY, NOW, cloud_event, only, record

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
TRACK = {"type": "track", "userId": "cus-1", "messageId": "m-1", "timestamp": "2026-06-16T07:59:00Z"}


@pytest.fixture(scope="module")
def example() -> Mappings:
    return parse_mappings((ROOT / "examples" / "mappings.toml").read_bytes())


def test_every_mapping_on_the_page_is_sound() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert blocks
    assert all(build_mappings(tomllib.loads(block)) != NONE for block in blocks)


@pytest.mark.parametrize("word", [*CASTS, *BOUNDS, *NAMED_FORMATS, *ALGORITHMS, *ENCODINGS, *source_tables.KEYS])
def test_every_word_of_the_language_is_on_the_page(word: str) -> None:
    assert re.search(rf"`[^`]*\b{word}\b[^`]*`", PAGE) is not None


@pytest.mark.parametrize(
    ("payload", "topic", "kind", "data"),
    [
        (
            {**TRACK, "event": "Report Exported", "properties": {"plan": "pro", "report": "cash flow"}},
            "product-usage",
            "workflow.completed",
            {"name": "cash flow"},
        ),
        (
            {"event": "month_closed", "distinct_id": "cus-1", "properties": {"number": 1}, "api_key": "k"},
            "product-usage",
            "milestone.reached",
            {"milestone": "first-month-closed", "first_success": True},
        ),
        (
            cloud_event("com.example.accounting.saving", {"minutes": "90"}),
            "product-usage",
            "saving.measured",
            {"kind": "time", "amount": 90.0, "unit": "minute"},
        ),
        (
            {"kind": "survey", "user": {"id": "cus-1"}, "answer": {"id": "a1", "stars": "9"}},
            "nps",
            "nps.responded",
            {"response_id": "a1", "score": 9},
        ),
    ],
)
def test_the_examples_become_what_they_say(
    example: Mappings, payload: dict[str, Any], topic: str, kind: str, data: dict[str, Any]
) -> None:
    adapted = adapt(record(payload, topic=topic), NOW, Boundary(email_key=KEY, mappings=example))
    assert isinstance(adapted, Accepted), adapted
    event = only(adapted)
    assert (event.type, event.subject, event.data.model_dump(exclude_none=True)) == (kind, "cus-1", data)


def test_the_examples_heartbeat_is_of_no_interest(example: Mappings) -> None:
    beat = record({**TRACK, "event": "Heartbeat"}, topic="product-usage")
    adapted = adapt(beat, NOW, Boundary(email_key=KEY, mappings=example))
    assert adapted == Skipped("irrelevant", "mapping heartbeat")
