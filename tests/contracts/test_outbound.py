"""Our own records: canonical bytes, exact inverses, derived ids and keys."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import (
    arrival,
    decode_effect,
    decode_event,
    decode_request,
    effect_id,
    effect_key,
    encode_effect,
    encode_event,
    event_headers,
    event_key,
)
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.versions import LINEAGES, current_version, dataschema
from referral_stream.core.effects import LedgerRequest
from referral_stream.core.events import INTERNAL, TYPES, WITHOUT_SUBJECT, Event
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import LATEST, rfc3339
from tests.contracts.building import NOW, cloud_event, only, read, record
from tests.contracts.examples import EFFECTS, FACT_DATA, INTERNAL_DATA
from tests.rules import rule

ALL_DATA = FACT_DATA | INTERNAL_DATA
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(kind: str, **attributes: Any) -> Event:
    """An event of that type with the example's data."""
    known = {"id": "evt-1", "source": "shop", "subject": "" if kind in WITHOUT_SUBJECT else "cus-1", "time": NOW}
    return Event(type=kind, data=TYPES[kind].model_validate(ALL_DATA[kind]), **{**known, **attributes})


def test_examples_cover_every_internal_type_and_every_effect() -> None:
    assert INTERNAL_DATA.keys() == {internal.type for internal in INTERNAL}
    with_values = {model for model, message in EFFECT_MESSAGES.items() if not message.tombstone}
    assert {type(effect) for effect in EFFECTS} == with_values


def test_decoding_an_event_gives_back_what_was_encoded(subtests: pytest.Subtests) -> None:
    every_attribute = {"account": "acc-1", "timezone": "UTC", "traceparent": TRACE, "historical": True}
    for kind in ALL_DATA:
        with subtests.test(kind):
            for original in (event(kind), event(kind, **every_attribute, flags=("time_naive", "time_clamped"))):
                encoded = encode_event(original)
                assert decode_event(encoded) == original
                assert encode_event(decode_event(encoded)) == encoded


def test_what_ingest_accepts_is_decoded_unchanged(subtests: pytest.Subtests) -> None:
    for kind in FACT_DATA:
        with subtests.test(kind):
            accepted = only(read(cloud_event(kind, FACT_DATA[kind]), topic="responses"))
            assert decode_event(encode_event(accepted)) == accepted


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(deadline=None)
@given(
    id=texts,
    source=texts,
    subject=texts,
    time=st.integers(0, LATEST),
    account=st.none() | texts,
    historical=st.booleans(),
    flags=st.lists(st.sampled_from(["time_unreadable", "time_naive", "time_clamped", "timezone_invalid"]), unique=True),
    score=st.floats(0, 10, allow_nan=False),
)
def test_every_event_survives_the_round_trip(score: float, flags: list[str], **attributes: Any) -> None:
    original = event("csat.responded", flags=tuple(flags), **attributes)
    data = original.data.model_copy(update={"score": score, "scale_max": 10.0})
    original = Event(**{field: getattr(original, field) for field in original.__struct_fields__} | {"data": data})
    assert decode_event(encode_event(original)) == original


def test_an_encoded_event_is_canonical_json_without_nulls() -> None:
    assert encode_event(event("usage.recorded")) == (
        b'{"data":{"count":3,"feature":"reports"},"datacontenttype":"application/json","id":"evt-1","source":"shop",'
        b'"specversion":"1.0","subject":"cus-1","time":"2026-06-16T08:00:00.000Z","type":"usage.recorded"}'
    )


@settings(deadline=None)
@given(st.integers(0, LATEST))
def test_the_time_is_written_as_the_core_writes_it(instant: int) -> None:
    encoded = orjson.loads(encode_event(event("usage.recorded", time=instant)))
    assert encoded["time"] == rfc3339(instant)


SOUND: dict[str, Any] = orjson.loads(encode_event(event("nps.responded")))


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"\xff", "undecodable"),
        (b"[" * 5_000, "too_deep"),
        (b'{"data":' * 5_000, "too_deep"),
        (b"[]", "not_an_object"),
        (SOUND | {"type": "shop.opened"}, "unknown_type"),
        (SOUND | {"type": ["nps.responded"]}, "unknown_type"),
        ({name: value for name, value in SOUND.items() if name != "id"}, "invalid"),
        ({name: value for name, value in SOUND.items() if name != "data"}, "invalid"),
        ({name: value for name, value in SOUND.items() if name != "subject"}, "no_subject"),
        ({name: value for name, value in SOUND.items() if name != "time"}, "invalid"),
        (SOUND | {"time": "soon"}, "invalid"),
        (SOUND | {"time": NOW}, "invalid"),
        (SOUND | {"id": 7}, "invalid"),
        (SOUND | {"subject": 7}, "invalid"),
        (SOUND | {"accountid": 7}, "invalid"),
        (SOUND | {"historical": "yes"}, "invalid"),
        (SOUND | {"flags": ["time_naive"]}, "invalid"),
        (SOUND | {"data": {"response_id": "r", "score": 11}}, "invalid"),
    ],
)
def test_a_broken_record_of_customer_events_raises(value: Any, cause: str) -> None:
    with pytest.raises(Undecodable) as raised:
        decode_event(value if isinstance(value, bytes) else orjson.dumps(value))
    assert raised.value.cause == cause


@rule("10.1")
def test_an_event_is_keyed_by_customer_and_stamped_with_its_arrival() -> None:
    fact = event("usage.recorded")
    assert event_key(fact) == b"cus-1"
    assert event_headers(fact, NOW) == (("now", b"1781596800000"),)
    assert event_headers(event("usage.recorded", historical=True), NOW) == (
        ("now", b"1781596800000"),
        ("historical", b"true"),
    )
    assert arrival(record(b"", headers=event_headers(fact, NOW))) == NOW


def read_as(value: bytes) -> Event | tuple[str, str]:
    """The event, or what is wrong with the value, but for where in it."""
    try:
        return decode_event(value)
    except Undecodable as error:
        return error.cause, str(error).partition(" at character ")[0]


ODD = (
    b"null", b"true", b"0", b"-1", b"1", b"1.0", b"1e400", b"9" * 30, b"NaN", b'""', b'" "', b'"x"',
    b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\x01"', b"[]", b"{}", b"[" * 200 + b"]" * 200, b'{"a":[{}]}',
    b'"nps.responded"', b'"control.paused"', b'"csat.responded"', b'"2026-06-16T08:00:00"',
    b'"2026-06-16 08:00:00.5+02:00"', b'"9999-99"',
)  # fmt: skip
"""Texts of JSON values, and of some that are none. Numbers beyond a double and nesting beyond 1,000 levels are
left out: where nobody reads them only one of the two parsers refuses them, and what we write has none."""


@settings(max_examples=1_000, deadline=None)
@given(st.data())
def test_a_record_reads_the_same_with_its_version_named(data: st.DataObject) -> None:
    """Most records name none and are read by a shorter way: whatever they hold, it must lead to the same place."""
    kind = data.draw(st.sampled_from([kind for kind in ALL_DATA if kind not in LINEAGES]))
    full = event(kind, account="acc-1", timezone="UTC", traceparent=TRACE, historical=True, flags=("time_naive",))
    document = orjson.loads(encode_event(data.draw(st.sampled_from([event(kind), full]))))
    body = {name: orjson.dumps(value) for name, value in document.pop("data").items()}
    attributes = {name: orjson.dumps(value) for name, value in document.items()}
    spoilt = data.draw(st.sampled_from([attributes, body]))
    name = data.draw(st.sampled_from(sorted(spoilt.keys() - {"type", "datacontenttype", "specversion"}) or ["x"]))
    spoilt[name] = data.draw(st.sampled_from(ODD))
    if data.draw(st.integers(0, 9)) == 0:
        del spoilt[name]

    plain = {"data": _object(body), **attributes}
    named = {**plain, "dataschema": orjson.dumps(dataschema(kind, current_version(kind)))}
    assert read_as(_object(plain)) == read_as(_object(named))


def _object(members: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(orjson.dumps(name) + b":" + text for name, text in members.items()) + b"}"


@pytest.mark.parametrize("stamp", [None, b"", b"-1", b"soon", b"1.5", "１２".encode(), b"9" * 30, b"9" * 5_000])
def test_without_a_sound_arrival_stamp_nothing_stands_in(stamp: bytes | None) -> None:
    with pytest.raises(Undecodable, match="header now"):
        arrival(record(b"", headers=() if stamp is None else (("now", stamp),)))


def test_decoding_an_effect_gives_back_what_was_encoded(subtests: pytest.Subtests) -> None:
    for effect in EFFECTS:
        with subtests.test(EFFECT_MESSAGES[type(effect)].kind):
            encoded = encode_effect(effect, NOW)
            assert decode_effect(encoded) == effect
            assert encode_effect(decode_effect(encoded), NOW) == encoded
            assert b"null" not in encoded


def test_a_command_is_a_canonical_cloud_event() -> None:
    document = orjson.loads(encode_effect(EFFECTS[0].model_copy(update={"traceparent": TRACE}), NOW))
    data = document.pop("data")
    assert document == {
        "datacontenttype": "application/json",
        "id": "cmd-1",
        "source": "referral-stream",
        "specversion": "1.0",
        "subject": "cus-1",
        "time": "2026-06-16T08:00:00.000Z",
        "traceparent": TRACE,
        "type": "referral.ask.requested",
    }
    assert data["not_before"] == "2026-06-19T10:00:00.123Z"
    assert data["channels"] == ["email", "in_app"]
    assert list(data) == sorted(data)


IDS_AND_KEYS = {
    "referral.ask.cancelled": (derived_id("referral.ask.cancelled", "cmd-1"), b"cus-1"),
    "referral.decision.made": ("dec-1", b"cus-1"),
    "reservation.requested": (derived_id("reservation.requested", "cmd-1", 1_781_863_200_123), b"acc-1"),
    "reservation.confirmed": (derived_id("reservation.confirmed", "cmd-1", 1_781_863_400_000), b"cus-1"),
    "reservation.released": (derived_id("reservation.released", "cmd-1", 1_781_863_400_000), b"acc-1"),
    "reservation.amended": (derived_id("reservation.amended", "cmd-1", 1_781_863_500_000, "acc-2", None), b"acc-2"),
    "opportunity.opened": (derived_id("opportunity.opened", "opp-1"), b"cus-1"),
    "reservation.held": (derived_id("reservation.held", "cmd-1", 1_781_863_200_123, 3), b"acc-1"),
    "ledger.renewed": (derived_id("ledger.renewed", 3, 1_781_860_000_000), b"ledger"),
    "referral.followup.requested": ("fol-1", b"cus-1"),
    "referral.followup.cancelled": (derived_id("referral.followup.cancelled", "fol-2"), b"cus-1"),
    **{
        kind: (derived_id(kind, "grant-1"), b"cus-1")
        for kind in (f"referral.reward.{word}" for word in ("held", "granted", "denied", "reversed"))
    },
    "referral.record.changed": (derived_id("referral.record.changed", "cus-1", 0), b"cus-1"),
    "referral.contact.told": (derived_id("referral.contact.told", "ref-1", 1_781_863_200_000), b"ref-1"),
    "contact.claimed": (derived_id("contact.claimed", "ref-1", 1_781_863_200_000), b"cus-1"),
    "contact.released": (derived_id("contact.released", "ref-1", 1_781_863_300_000), b"cus-1"),
    "grant.requested": (derived_id("grant.requested", "grant-1", 1_781_863_200_000), b"cus-1"),
    "grant.held": (derived_id("grant.held", "grant-1", 1_781_863_200_000, 3), b"cus-1"),
    "grant.confirmed": (derived_id("grant.confirmed", "grant-1", 1_781_863_200_000), b"cus-1"),
    "grant.released": (derived_id("grant.released", "grant-1", 1_781_863_300_000), b"cus-1"),
}
"""Of the examples, by type. Every other effect is a command: its id is the command id, its key the customer."""


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: EFFECT_MESSAGES[type(effect)].kind)
def test_ids_follow_from_content_and_requests_are_keyed_by_account(effect: Any) -> None:
    kind = EFFECT_MESSAGES[type(effect)].kind
    expected, key = IDS_AND_KEYS[kind] if kind in IDS_AND_KEYS else (effect.command_id, effect.customer_id.encode())
    assert effect_id(effect) == orjson.loads(encode_effect(effect, NOW))["id"] == expected
    assert effect_key(effect) == key


def test_the_ledger_reads_requests_and_switches_and_nothing_else() -> None:
    for effect in EFFECTS:
        if isinstance(effect, LedgerRequest):
            assert decode_request(encode_effect(effect, NOW)) == effect
        else:
            with pytest.raises(Undecodable, match="unknown_type"):
                decode_request(encode_effect(effect, NOW))
    for kind in WITHOUT_SUBJECT:
        assert decode_request(encode_event(event(kind))) == event(kind)
    with pytest.raises(Undecodable, match="unknown_type"):
        decode_request(encode_event(event("usage.recorded")))


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"", "undecodable"),
        (b"7", "not_an_object"),
        (b'{"type": 7}', "unknown_type"),
        (b'{"type": ["control.paused"]}', "unknown_type"),
        (b'{"type": "reservation.requested"}', "invalid"),
        (
            b'{"type": "reservation.confirmed", "data": {"command_id": "c", "customer_id": "x", "now": "soon"}}',
            "invalid",
        ),
    ],
)
def test_a_broken_record_of_ledger_requests_raises(value: bytes, cause: str) -> None:
    with pytest.raises(Undecodable) as raised:
        decode_request(value)
    assert raised.value.cause == cause
    assert "soon" not in raised.value.detail
