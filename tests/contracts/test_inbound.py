"""What ``adapt`` makes of a record: recognition, the clock rules, refusals, and what it leaves outside."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import Headers
from referral_stream.core.events import (
    FACT_TYPES,
    AskAnswered,
    ComplimentGiven,
    NpsResponded,
    ProfileChanged,
    UsageRecorded,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, rfc3339
from tests.contracts.building import BOUNDARY, KEY, NOW, cloud_event, instant, only, read, refused, skipped
from tests.contracts.examples import FACT_DATA
from tests.rules import rule

USAGE = cloud_event("usage.recorded", {"feature": "reports", "count": 3})
STRIPE = {
    "object": "event",
    "id": "evt_1",
    "type": "invoice.paid",
    "created": NOW // SECOND,
    "livemode": True,
    "data": {"object": {"object": "invoice", "id": "in_1", "customer": "cus_1", "billing_reason": "manual"}},
}


def binary(**attributes: str) -> Headers:
    """Headers of a CloudEvent in binary mode."""
    whole = {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "shop",
        "type": "usage.recorded",
        "subject": "cus-1",
        "time": "2026-06-16T07:59:00Z",
        **attributes,
    }
    return (*((f"ce_{name}", value.encode()) for name, value in whole.items()), ("content-type", b"application/json"))


def test_examples_cover_every_fact() -> None:
    assert FACT_DATA.keys() == FACT_TYPES.keys()


def test_every_fact_of_the_contract_is_accepted(subtests: pytest.Subtests) -> None:
    for kind in FACT_DATA:
        with subtests.test(kind):
            event = only(read(cloud_event(kind, FACT_DATA[kind]), topic="responses"))
            assert (event.type, event.id, event.source) == (kind, "evt-1", "shop")
            assert isinstance(event.data, FACT_TYPES[kind])
            assert event.flags == ()


def test_a_structured_event_keeps_its_attributes() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = only(read(USAGE | {"accountid": "acc-1", "timezone": "Europe/Berlin", "traceparent": trace, "extra": [1]}))
    assert event.subject == "cus-1"
    assert event.time == instant("2026-06-16T07:59:00Z")
    assert event.data == UsageRecorded(feature="reports", count=3)
    assert (event.account, event.timezone, event.traceparent) == ("acc-1", "Europe/Berlin", trace)
    assert not event.historical


def test_binary_mode_reads_attributes_from_headers_and_the_body_as_data() -> None:
    event = only(read({"feature": "reports", "count": 3}, headers=binary(accountid="acc-1")))
    assert event == only(read(USAGE | {"accountid": "acc-1"}))


@pytest.mark.parametrize("body", [None, b""])
def test_binary_mode_needs_no_body_where_the_type_needs_no_data(body: bytes | None) -> None:
    assert only(read(body, headers=binary(type="onboarding.completed"))).type == "onboarding.completed"


def test_data_may_be_base64() -> None:
    encoded = base64.b64encode(b'{"count": 7}').decode()
    assert only(read(cloud_event("usage.recorded", data_base64=encoded))).data.count == 7


def test_the_same_type_is_accepted_on_any_topic() -> None:
    assert only(read(USAGE, topic="billing")).data == only(read(USAGE, topic="product-usage")).data


@pytest.mark.parametrize(
    ("value", "headers", "boundary", "source"),
    [
        (STRIPE, (("referral-source", b"Stripe "),), "segment", "stripe"),
        (STRIPE, (), "stripe", "stripe"),
        (STRIPE, (), BOUNDARY, "stripe"),
    ],
    ids=[
        "the header before the topic",
        "the topic's adapter",
        "the shape",
    ],
)
def test_a_payload_is_recognised_by(
    value: dict[str, Any], headers: Headers, boundary: Boundary | str, source: str
) -> None:
    if isinstance(boundary, str):
        boundary = Boundary(email_key=KEY, adapters={"nps": boundary}, prefix="acme-")
    assert only(read(value, headers=headers, boundary=boundary, topic="acme-nps")).source == source


def test_a_boundary_with_an_unknown_adapter_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no adapter 'strpie'; there are segment, "):
        Boundary(email_key=KEY, adapters={"billing": "strpie"})


def test_the_key_does_not_show_when_a_boundary_is_printed() -> None:
    assert "a key" not in repr(BOUNDARY)


NO_BODY = binary(type="shop.opened")


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (cloud_event("shop.opened", specversion="0.1", subject=None), (), "unknown_type"),
        (cloud_event("reservation.granted", {"command_id": "cmd-1"}), (), "unknown_type"),
        (cloud_event("wakeup.due", {"due": "2026-06-16T08:00:00Z"}), (), "unknown_type"),
        (b"\x00\x01 avro of somebody else", NO_BODY, "unknown_type"),
        (None, (), "tombstone"),
        (STRIPE | {"type": "balance.available"}, (), "irrelevant"),
        (STRIPE | {"livemode": False}, (), "test_mode"),
        (cloud_event("usage.recorded", subject=None), (), "no_customer"),
        (USAGE | {"subject": ""}, (), "no_customer"),
        (USAGE | {"subject": " \t"}, (), "unusable_id"),
        (USAGE | {"subject": "undefined"}, (), "unusable_id"),
    ],
)
def test_what_says_nothing_to_us_is_skipped(value: Any, headers: Headers, reason: str) -> None:
    assert skipped(read(value, headers=headers)).reason == reason


DEEP = b'{"specversion":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize(
    ("value", "headers", "refusal"),
    [
        (b"", (), Refused("undecodable", "")),
        (b"\xff\xfe", (), Refused("undecodable", "")),
        (b"{", (), Refused("undecodable", "")),
        (b"not json", binary(), Refused("undecodable", "")),
        (cloud_event("usage.recorded", data_base64="%"), (), Refused("undecodable", "data_base64: not base64")),
        (DEEP, (), Refused("too_deep", "")),
        (b" " * 256_001, (), Refused("too_large", "256001 bytes, the limit is 256000")),
        ([USAGE], (), Refused("not_an_object", "the value is no JSON object")),
        ("text", (), Refused("not_an_object", "the value is no JSON object")),
        ({}, (), Refused("unrecognised", "neither a CloudEvent nor a webhook of a vendor we know")),
        ({"type": "nps.responded"}, (), Refused("unrecognised", "")),
        ({"hello": 1}, (("referral-source", b"stripe"),), Refused("unrecognised", "not the shape of stripe")),
        (
            STRIPE,
            (("referral-source", b"acme"),),
            Refused("unknown_adapter", "header referral-source names no adapter"),
        ),
        (USAGE | {"type": 7}, (), Refused("invalid", "type: must be text")),
        (USAGE | {"specversion": "0.3"}, (), Refused("invalid", "specversion: must be 1.0")),
        (
            {"type": "usage.recorded"},
            (("content-type", b"application/cloudevents+json; charset=utf-8"),),
            Refused("invalid", "specversion: must be 1.0"),
        ),
        (USAGE | {"id": "x" * 513}, (), Refused("invalid", "id: must be text of 1 to 512 characters")),
        (USAGE | {"data": "text"}, (), Refused("invalid", "data: must be a JSON object")),
        (USAGE | {"data": [1]}, (), Refused("invalid", "data: must be a JSON object")),
        (cloud_event("nps.responded", {"response_id": "r"}), (), Refused("invalid", "score: Field required")),
        (cloud_event("nps.responded", {"response_id": "r", "score": 11}), (), Refused("invalid", "score: ")),
        (cloud_event("nps.responded", {"response_id": "r", "score": -1}), (), Refused("invalid", "score: ")),
        (cloud_event("nps.responded", {"response_id": "r", "score": True}), (), Refused("invalid", "score: ")),
        (cloud_event("nps.responded", {"response_id": "r", "score": 9.5}), (), Refused("invalid", "score: ")),
        (
            cloud_event("csat.responded", {"response_id": "r", "score": 6, "scale_max": 5}),
            (),
            Refused("invalid", "data: the values do not go together"),
        ),
        (
            cloud_event("csat.responded", {"response_id": "r", "score": 0, "scale_max": 0}),
            (),
            Refused("invalid", "data: the values do not go together"),
        ),
        (USAGE | {"time": "yesterday"}, (), Refused("invalid", "time: must be RFC 3339")),
        (USAGE | {"time": "1969-12-31T23:59:59Z"}, (), Refused("invalid", "time: must be RFC 3339")),
        (USAGE | {"time": NOW}, (), Refused("invalid", "time: must be RFC 3339")),
    ],
)
def test_what_cannot_be_used_is_refused(value: Any, headers: Headers, refusal: Refused) -> None:
    got = refused(read(value, headers=headers))
    assert got.cause == refusal.cause
    assert got.detail.startswith(refusal.detail)


def test_a_refusal_never_quotes_the_payload() -> None:
    secret = "milton.waddams@initech.example"
    for data in (
        {"response_id": secret * 40, "score": secret},
        {"response_id": [secret], "score": 9, "comment": {"text": secret}},
    ):
        assert secret not in refused(read(cloud_event("nps.responded", data))).detail
    profile = cloud_event("customer.profile_changed", {"email_hmac": secret, "segment": secret, "channels": secret})
    assert secret not in repr(only(read(profile)))


def test_control_events_need_no_subject_and_carry_none() -> None:
    for subject in (None, "", "cus-1", 7):
        paused = cloud_event("control.paused", FACT_DATA["control.paused"]) | {"subject": subject}
        event = only(read(paused, topic="responses"))
        assert event.subject == ""


MINUTES_5 = 5 * MINUTE
Y2K = instant("2000-01-01T00:00:00Z")


@rule("3.18", "10.3", "10.4", "I1.6", "I1.7", "I1.8")
@pytest.mark.parametrize(
    ("time", "timestamp", "expected", "flags"),
    [
        ("2026-06-16T07:00:00.123456Z", NOW, instant("2026-06-16T07:00:00.123Z"), ()),
        ("2026-06-16t07:00:00z", NOW, instant("2026-06-16T07:00:00Z"), ()),
        ("2026-06-16T09:00:00+02:00", NOW, instant("2026-06-16T07:00:00Z"), ()),
        ("2026-06-16T07:00:00", NOW, instant("2026-06-16T07:00:00Z"), ("time_naive",)),
        (None, NOW - HOUR, NOW - HOUR, ("time_unreadable",)),
        (None, -1, NOW, ("time_unreadable",)),
        (None, NOW + DAY + 1, NOW, ("time_unreadable",)),
        (None, Y2K - 1, NOW, ("time_unreadable",)),
        (None, Y2K, Y2K, ("time_unreadable",)),
        (rfc3339(NOW + MINUTES_5), NOW - 1, NOW, ()),
        (rfc3339(NOW + MINUTES_5 + 1), NOW - 1, NOW, ("time_clamped",)),
        (rfc3339(NOW + DAY)[:-1], NOW - HOUR, NOW, ("time_naive", "time_clamped")),
    ],
)
def test_the_clock_rules(time: str | None, timestamp: int, expected: int, flags: tuple[str, ...]) -> None:
    for kind in ("usage.recorded", "customer.suppressed"):
        event = only(read(cloud_event(kind, time=time), timestamp=timestamp))
        assert (event.time, event.flags) == (expected, flags)


@rule("I1.3", "I1.5", "I1.7", "I1.8")
@pytest.mark.parametrize(
    ("time", "cause"),
    [
        ("yesterday", "invalid"),
        (NOW, "invalid"),
        (True, "invalid"),
        ("1970-01-01T00:00:00Z", "invalid"),
        ("1999-12-31T23:59:59.999Z", "invalid"),
        (rfc3339(NOW + DAY + 1), "time_in_future"),
    ],
)
def test_a_time_that_cannot_be_believed_refuses_only_what_speaks_for_asking(time: Any, cause: str) -> None:
    assert refused(read(cloud_event("usage.recorded") | {"time": time})).cause == cause
    event = only(read(cloud_event("customer.suppressed") | {"time": time}, timestamp=NOW - HOUR))
    assert (event.time, event.flags) == (NOW - HOUR, ("time_unreadable",))


def test_an_event_without_id_is_named_by_its_position() -> None:
    event = only(read(cloud_event("usage.recorded", id=None), topic="product-usage", partition=2, offset=7))
    assert event.id == derived_id("event", "product-usage", 2, 7)


def test_an_event_without_source_is_named_by_its_topic() -> None:
    boundary = Boundary(email_key=KEY, prefix="acme-")
    assert only(read(cloud_event("usage.recorded", source=None), topic="acme-nps", boundary=boundary)).source == "nps"


@rule("10.98")
@pytest.mark.parametrize("zone", ["Mars/Olympus", "europe/berlin", "../../etc/passwd", "", 7, ["UTC"]])
def test_an_unknown_time_zone_is_ignored_and_flagged(zone: Any) -> None:
    event = only(read(USAGE | {"timezone": zone}))
    assert (event.timezone, event.flags) == (None, ("timezone_invalid",))


@rule("10.98")
def test_an_unknown_time_zone_in_a_profile_is_ignored_and_flagged_once() -> None:
    profile = cloud_event("customer.profile_changed", {"time_zone": "Mars/Olympus", "champion": True}, timezone="Moon")
    event = only(read(profile))
    assert event.data == ProfileChanged(champion=True)
    assert event.flags == ("timezone_invalid",)


@rule("9.2")
@pytest.mark.parametrize(
    ("headers", "topic", "historical"),
    [
        ((("historical", b"true"),), "nps", True),
        ((("Historical", b"True"),), "nps", True),
        ((("historical", b"1"),), "nps", True),
        ((("historical", b"false"),), "nps", False),
        ((("historical", b"\xff"),), "nps", False),
        ((("other", b"true"),), "nps", False),
        ((), "acme-nps-2019", True),
        ((), "nps-2020", False),
    ],
)
def test_history_is_known_by_its_header_or_its_topic(headers: Headers, topic: str, historical: bool) -> None:
    boundary = Boundary(email_key=KEY, prefix="acme-", backfill_topics=frozenset({"nps-2019"}))
    assert only(read(USAGE, headers=headers, topic=topic, boundary=boundary)).historical is historical


def test_the_trace_context_may_come_as_a_header() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert only(read(USAGE, headers=(("traceparent", trace.encode()),))).traceparent == trace
    assert only(read(USAGE | {"traceparent": trace}, headers=(("traceparent", b"00-x"),))).traceparent == trace


@pytest.mark.parametrize("trace", ["", "00-x", 7, "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"])
def test_a_broken_trace_context_is_dropped(trace: Any) -> None:
    assert only(read(USAGE | {"traceparent": trace})).traceparent is None


@rule("6.13")
def test_a_comment_becomes_a_theme() -> None:
    event = only(read(cloud_event("nps.responded", FACT_DATA["nps.responded"])))
    assert event.data == NpsResponded(response_id="resp-1", score=9, theme="time_saved")


def test_a_theme_of_the_producer_counts_only_if_it_is_one_of_ours() -> None:
    for theme, kept in (("support", "support"), ("Milton loves it", None)):
        assert only(read(cloud_event("compliment.given", {"theme": theme}))).data == ComplimentGiven(theme=kept)
    both = {"theme": "support", "comment": "so easy to use"}
    assert only(read(cloud_event("compliment.given", both))).data == ComplimentGiven(theme="ease_of_use")


def test_the_words_of_an_answer_are_dropped() -> None:
    event = only(read(cloud_event("ask.answered", FACT_DATA["ask.answered"])))
    assert event.data == AskAnswered(command_id="cmd-1", answer="maybe")


def test_record_keys_are_ignored() -> None:
    assert read(USAGE, key=b"a") == read(USAGE, key=None)
