"""The published schemas are those of the models, and they describe what is really accepted and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.outbound import encode_effect, encode_event
from referral_stream.contracts.schemas import documents, drift
from referral_stream.core.asks import EFFECT_TYPES, Effect
from referral_stream.core.events import TYPES, WITHOUT_SUBJECT, Event
from tests.contracts.building import NOW, cloud_event
from tests.contracts.examples import EFFECTS, FACT_DATA, INTERNAL_DATA

FOLDER = Path(__file__).parents[2] / "schemas"
DOCUMENTS = {path: orjson.loads(content) for path, content in documents().items()}


def violations(path: str, message: Any) -> list[str]:
    """What the schema finds wrong with a message."""
    jsonschema = pytest.importorskip("jsonschema")
    return [error.message for error in jsonschema.Draft202012Validator(DOCUMENTS[path]).iter_errors(message)]


def test_the_committed_schemas_are_those_of_the_models() -> None:
    present = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*.json")}
    assert drift(present) == (), "write them again: referral-stream schemas write"


def test_drift_names_what_differs() -> None:
    present = documents()
    del present["in/nps.responded.json"]
    present["in/nps.answered.json"] = b"{}"
    present["out/referral.ask.requested.json"] += b" "
    assert drift(present) == (
        "in/nps.answered.json: not of this contract",
        "in/nps.responded.json: missing",
        "out/referral.ask.requested.json: outdated",
    )


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_schema_is_valid_json_schema(path: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(DOCUMENTS[path])


@pytest.mark.parametrize("kind", FACT_DATA)
def test_what_ingest_accepts_satisfies_its_schema(kind: str) -> None:
    assert violations(f"in/{kind}.json", cloud_event(kind, FACT_DATA[kind])) == []


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (cloud_event("nps.responded", {"response_id": "r", "score": 11}), "11 is greater than the maximum of 10"),
        (cloud_event("nps.responded", {"score": 9}), "'response_id' is a required property"),
        (
            cloud_event("nps.responded", {"response_id": "r", "score": 9}, subject=None),
            "'subject' is a required property",
        ),
        (cloud_event("nps.responded"), "'data' is a required property"),
        (cloud_event("csat.responded", {}), "'nps.responded' was expected"),
    ],
)
def test_what_ingest_refuses_does_not_satisfy_its_schema(message: Any, complaint: str) -> None:
    assert complaint in violations("in/nps.responded.json", message)


def test_our_own_theme_is_no_field_of_a_producer() -> None:
    assert "theme" not in DOCUMENTS["in/nps.responded.json"]["properties"]["data"]["properties"]


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: EFFECT_TYPES[type(effect)])
def test_what_we_write_satisfies_its_schema(effect: Effect) -> None:
    (path,) = (path for path in DOCUMENTS if path.endswith(f"/{EFFECT_TYPES[type(effect)]}.json"))
    assert violations(path, orjson.loads(encode_effect(effect, NOW))) == []


@pytest.mark.parametrize("kind", INTERNAL_DATA)
def test_internal_events_satisfy_their_schema(kind: str) -> None:
    data = TYPES[kind].model_validate(INTERNAL_DATA[kind])
    event = Event(id="i", source="s", type=kind, subject="c", time=NOW, data=data, historical=True, flags=("a", "b"))
    assert kind not in WITHOUT_SUBJECT
    assert violations(f"internal/{kind}.json", orjson.loads(encode_event(event))) == []
