"""An older version still reads after a newer one exists, on the way in and from our own topics."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, Field

from referral_stream.contracts.catalogue import MESSAGES, message_versions
from referral_stream.contracts.codec import decode_effect, decode_event, decode_request, encode_effect, encode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.outcomes import Accepted, Refused
from referral_stream.contracts.versions import LINEAGES, Lineage, Older, current_body, current_version, dataschema
from referral_stream.core.effects import ReservationConfirmed
from referral_stream.core.events import TYPES, CsatResponded
from referral_stream.published.schemas import documents
from tests.contracts.building import NOW, cloud_event, only, read, record, refused
from tests.contracts.lineages import FIVE_POINTS, csat_on_five_points

__all__ = ["csat_on_five_points"]  # a fixture

V1, V2, V3 = (dataschema("csat.responded", version) for version in (1, 2, 3))


class UsageOfOld(BaseModel):
    """What ``usage.recorded`` might have looked like: ``times`` instead of ``count``."""

    times: Annotated[int, Field(ge=0)]


class ConfirmationOfOld(BaseModel):
    """What ``reservation.confirmed`` might have looked like."""

    command: str
    customer_id: str
    at: str


@pytest.fixture
def changed_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two types that were published at version 1, without a name, and have changed since."""

    def usage(body: dict[str, Any]) -> dict[str, Any]:
        return {"count": body["times"]}

    def confirmation(body: dict[str, Any]) -> dict[str, Any]:
        return {"command_id": body["command"], "customer_id": body["customer_id"], "now": body["at"]}

    monkeypatch.setitem(LINEAGES, "usage.recorded", Lineage((Older(UsageOfOld, usage),)))
    monkeypatch.setitem(LINEAGES, "reservation.confirmed", Lineage((Older(ConfirmationOfOld, confirmation),)))


@pytest.mark.usefixtures("csat_on_five_points")
def test_version_1_of_a_rating_is_on_five_points() -> None:
    assert only(read(cloud_event("csat.responded", FIVE_POINTS, dataschema=V1))).data == CsatResponded(
        response_id="resp-1", score=4.0, scale_max=5.0
    )


@pytest.mark.usefixtures("csat_on_five_points")
def test_version_1_is_read_in_binary_mode_too() -> None:
    headers = tuple(
        (f"ce_{name}", value.encode())
        for name, value in cloud_event("csat.responded", dataschema=V1, data=None).items()
    )
    assert only(read(orjson.dumps(FIVE_POINTS), headers=headers)).data.scale_max == 5


@pytest.mark.usefixtures("csat_on_five_points")
def test_version_1_is_read_from_our_own_log_and_stored_as_the_current_one() -> None:
    stored = decode_event(orjson.dumps(cloud_event("csat.responded", FIVE_POINTS, dataschema=V1)))
    assert stored.data == CsatResponded(response_id="resp-1", score=4.0, scale_max=5.0)
    assert decode_event(encode_event(stored)) == stored


@pytest.mark.usefixtures("csat_on_five_points")
@pytest.mark.parametrize(
    "named", [None, V2, V2.upper().replace(V2[20:].upper(), V2[20:]), "https://shop.example/csat/1"]
)
def test_without_a_version_of_ours_a_body_is_of_the_published_one(named: str | None) -> None:
    whole = FIVE_POINTS | {"scale_max": 10}
    assert only(read(cloud_event("csat.responded", whole, dataschema=named))).data.scale_max == 10
    assert refused(read(cloud_event("csat.responded", FIVE_POINTS, dataschema=named))).detail.startswith("scale_max")


@pytest.mark.usefixtures("csat_on_five_points")
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"response_id": "r", "score": 0}, "score: Input should be greater than or equal to 1"),
        ({"response_id": "r", "score": 6}, "score: Input should be less than or equal to 5"),
        ({"response_id": "r", "score": 4.5}, "score: Input should be a valid integer"),
        ({"score": 4}, "response_id: Field required"),
    ],
)
def test_an_older_body_is_judged_in_its_own_terms(body: dict[str, Any], detail: str) -> None:
    assert refused(read(cloud_event("csat.responded", body, dataschema=V1))) == Refused("invalid", detail)


@pytest.mark.usefixtures("csat_on_five_points")
@pytest.mark.parametrize(
    ("kind", "named", "cause", "detail"),
    [
        (
            "csat.responded",
            V3,
            "unknown_version",
            "dataschema: version 3 of csat.responded, the newest known here is 2",
        ),
        (
            "nps.responded",
            dataschema("nps.responded", 2),
            "unknown_version",
            "dataschema: version 2 of nps.responded, the newest known here is 1",
        ),
        ("nps.responded", V1, "invalid", "dataschema: names the schema of another type"),
        ("nps.responded", "urn:referral-stream:", "invalid", "dataschema: names the schema of another type"),
        *(
            (
                "nps.responded",
                f"urn:referral-stream:nps.responded:{number}",
                "unknown_version",
                "dataschema: ends in no version",
            )
            for number in ("", "0", "01", "-1", "one", "１", "9" * 5)
        ),
        ("nps.responded", 1, "invalid", "dataschema: must be text"),
    ],
)
def test_a_version_nobody_knows_is_refused_with_its_cause(kind: str, named: Any, cause: str, detail: str) -> None:
    event = cloud_event(kind, {"response_id": "r", "score": 9, "scale_max": 10}, dataschema=named)
    found = refused(read(event))
    assert (found.cause, found.detail) == (cause, detail)
    with pytest.raises(Undecodable) as raised:
        decode_event(orjson.dumps(event))
    assert (raised.value.cause, raised.value.detail) == (cause, detail)


@pytest.mark.usefixtures("csat_on_five_points")
@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_a_body_that_is_no_object_is_refused_whatever_its_version(body: Any) -> None:
    for named in (None, V1, V2):
        assert refused(read(cloud_event("csat.responded", body, dataschema=named))).cause == "invalid"


@pytest.mark.usefixtures("changed_types")
def test_a_log_written_before_the_change_still_reads_after_it() -> None:
    last_year = orjson.dumps(cloud_event("usage.recorded", {"times": 3}))
    event = decode_event(last_year)
    assert event.data == TYPES["usage.recorded"].model_validate({"count": 3})
    written = encode_event(event)
    assert orjson.loads(written)["dataschema"] == "urn:referral-stream:usage.recorded:2"
    assert orjson.loads(written)["data"] == {"count": 3}
    assert decode_event(written) == event


@pytest.mark.usefixtures("changed_types")
def test_producers_may_send_the_old_and_the_new_side_by_side() -> None:
    old = read(cloud_event("usage.recorded", {"times": 3}))
    new = read(cloud_event("usage.recorded", {"count": 3}, dataschema=dataschema("usage.recorded", 2)))
    assert only(old) == only(new)


@pytest.mark.usefixtures("changed_types")
def test_requests_to_the_ledger_have_versions_too() -> None:
    confirmed = ReservationConfirmed(command_id="cmd-1", customer_id="cus-1", now=NOW)
    before = orjson.dumps(
        cloud_event(
            "reservation.confirmed", {"command": "cmd-1", "customer_id": "cus-1", "at": "2026-06-16T08:00:00.000Z"}
        )
    )
    assert decode_request(before) == decode_effect(before) == confirmed
    assert decode_effect(encode_effect(confirmed, NOW)) == confirmed
    assert b'"dataschema":"urn:referral-stream:reservation.confirmed:2"' in encode_effect(confirmed, NOW)


def test_several_versions_are_brought_up_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anything(BaseModel):
        """Any object will do."""

    def noting(version: int) -> Older:
        return Older(Anything, lambda body: {**body, "seen": [*body.get("seen", ()), version]})

    monkeypatch.setitem(LINEAGES, "usage.recorded", Lineage((noting(1), noting(2), noting(3)), unnamed=2))
    assert current_version("usage.recorded") == 4
    for version, seen in ((1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (4, None)):
        body = current_body("usage.recorded", dataschema("usage.recorded", version), {})
        assert body.get("seen") == seen
    assert current_body("usage.recorded", None, {}) == {"seen": [2, 3]}


def test_every_lineage_is_of_a_type_that_exists_and_names_a_version_that_exists() -> None:
    assert LINEAGES.keys() <= MESSAGES.keys()
    assert all(1 <= lineage.unnamed <= lineage.current for lineage in LINEAGES.values())


@pytest.mark.usefixtures("csat_on_five_points")
def test_what_is_written_without_a_name_is_the_version_that_needs_none() -> None:
    event = only(read(record(cloud_event("csat.responded", FIVE_POINTS, dataschema=V1)).value))
    assert "dataschema" not in orjson.loads(encode_event(event))


@pytest.mark.usefixtures("csat_on_five_points")
def test_every_version_is_published_and_its_schema_wants_what_its_readers_do() -> None:
    published = {path: orjson.loads(content) for path, content in documents().items()}
    jsonschema, referencing = pytest.importorskip("jsonschema"), pytest.importorskip("referencing")
    files = [(path, referencing.Resource.from_contents(each)) for path, each in published.items() if "$schema" in each]
    registry = referencing.Registry().with_resources(files)

    def sound(path: str, event: object) -> bool:
        return bool(jsonschema.Draft202012Validator(published[path], registry=registry).is_valid(event))

    old, new = "in/csat.responded.v1.json", "in/csat.responded.json"
    assert [published[path]["$id"] for path in (old, new)] == [V1, V2]
    for path, other in ((old, new), (new, old)):
        good, bad = (published[f"examples/{path.removesuffix('.json')}.{kind}.json"] for kind in ("valid", "invalid"))
        assert isinstance(read(good), Accepted)
        assert isinstance(read(bad), Refused)
        assert [sound(each, good) for each in (path, other, "message.json")] == [True, False, True]
        assert [sound(each, bad) for each in (path, "message.json")] == [False, False]
    assert "csat.responded.v1" in published["asyncapi.json"]["channels"]["nps"]["messages"]


def test_before_the_first_release_every_type_is_at_version_1() -> None:
    assert {message.version for message in message_versions()} == {1}
