"""The published schemas are those of the models, and they describe what is really accepted and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.catalogue import EFFECT_MESSAGES, MessageVersion, message_versions
from referral_stream.contracts.codec import decode_effect, decode_event, encode_effect, encode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.outcomes import Accepted, Refused
from referral_stream.core.events import TYPES, WITHOUT_SUBJECT, Event
from referral_stream.published.examples import EFFECTS, FACT_DATA, INTERNAL_DATA, OLDER_DATA, WRONG
from referral_stream.published.schemas import documents, drift
from tests.contracts.building import NOW, cloud_event, read

FOLDER = Path(__file__).parents[2] / "schemas"
EVERYTHING = {path: orjson.loads(content) for path, content in documents().items()}
VERSIONS = tuple(message_versions())
UNION = "message.json"
DOCUMENTS = {path: EVERYTHING[path] for path in (UNION, *(message.path for message in VERSIONS))}


def violations(path: str, message: Any) -> list[str]:
    """What the schema finds wrong with a message."""
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    files = ((name, referencing.Resource.from_contents(schema)) for name, schema in DOCUMENTS.items())
    validator = jsonschema.Draft202012Validator(DOCUMENTS[path], registry=referencing.Registry().with_resources(files))
    return [error.message for error in validator.iter_errors(message)]


def example(message: MessageVersion, kind: str) -> dict[str, Any]:
    """The published example of a message, ``valid`` or ``invalid``."""
    found: dict[str, Any] = EVERYTHING[f"examples/{message.direction}/{message.name}.{kind}.json"]
    return found


def is_read(message: MessageVersion, event: dict[str, Any]) -> bool:
    """Whether those who read such messages take this one as it stands: nothing of it is refused or dropped.

    Failing in any other way is an error.
    """
    if message.direction == "in":
        adapted = read(event, topic="responses")
        assert isinstance(adapted, Accepted | Refused)
        return isinstance(adapted, Accepted) and "field_dropped" not in adapted.events[0].flags
    decode = decode_event if message.kind in TYPES else decode_effect
    try:
        decode(orjson.dumps(event))
    except Undecodable:
        return False
    return True


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


def test_every_schema_is_valid_json_schema(subtests: pytest.Subtests) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for path, schema in DOCUMENTS.items():
        with subtests.test(path):
            jsonschema.Draft202012Validator.check_schema(schema)


def test_what_ingest_accepts_satisfies_its_schema(subtests: pytest.Subtests) -> None:
    for kind in FACT_DATA:
        with subtests.test(kind):
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


def test_what_we_write_satisfies_its_schema(subtests: pytest.Subtests) -> None:
    for effect in EFFECTS:
        with subtests.test(EFFECT_MESSAGES[type(effect)].kind):
            (path,) = (path for path in DOCUMENTS if path.endswith(f"/{EFFECT_MESSAGES[type(effect)].kind}.json"))
            assert violations(path, orjson.loads(encode_effect(effect, NOW))) == []


def test_internal_events_satisfy_their_schema(subtests: pytest.Subtests) -> None:
    for kind in INTERNAL_DATA:
        with subtests.test(kind):
            data = TYPES[kind].model_validate(INTERNAL_DATA[kind])
            event = Event(
                id="i", source="s", type=kind, subject="c", time=NOW, data=data, historical=True, flags=("a", "b")
            )
            assert kind not in WITHOUT_SUBJECT
            assert violations(f"internal/{kind}.json", orjson.loads(encode_event(event))) == []


def test_a_valid_example_is_read_and_satisfies_its_schema(subtests: pytest.Subtests) -> None:
    for message in VERSIONS:
        with subtests.test(message.name):
            event = example(message, "valid")
            assert violations(message.path, event) == []
            assert violations(UNION, event) == []
            assert is_read(message, event)


def test_an_invalid_example_is_refused_and_does_not_satisfy_its_schema(subtests: pytest.Subtests) -> None:
    for message in VERSIONS:
        with subtests.test(message.name):
            event = example(message, "invalid")
            assert violations(message.path, event)
            assert violations(UNION, event)
            assert not is_read(message, event)


def test_the_examples_are_of_every_message_and_of_nothing_else() -> None:
    current = {message.kind for message in VERSIONS if message.is_current}
    effects = {EFFECT_MESSAGES[type(effect)].kind for effect in EFFECTS}
    assert FACT_DATA.keys() | INTERNAL_DATA.keys() | effects == current
    assert OLDER_DATA.keys() == {(message.kind, message.version) for message in VERSIONS if not message.is_current}
    assert WRONG.keys() < current


def test_a_type_nobody_knows_is_no_message() -> None:
    assert violations(UNION, cloud_event("shop.opened", {}))


def test_names_of_schemas_are_unique() -> None:
    assert len({message.dataschema for message in VERSIONS}) == len({message.path for message in VERSIONS})


@pytest.mark.parametrize(
    ("dataschema", "sound"),
    [
        ("urn:referral-stream:nps.responded:1", True),
        ("https://schemas.shop.example/nps/7", True),
        ("urn:referral-stream:nps.responded:2", False),
        ("urn:referral-stream:csat.responded:1", False),
    ],
)
def test_a_schema_allows_its_own_version_and_the_names_of_other_registries(dataschema: str, sound: bool) -> None:
    event = cloud_event("nps.responded", FACT_DATA["nps.responded"], dataschema=dataschema)
    assert (violations("in/nps.responded.json", event) == []) is sound
    assert isinstance(read(event), Accepted) is sound
