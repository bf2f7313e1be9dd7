"""A team's own mappings: what they match, what they make, what they leave to the adapter, and that they never raise."""

from __future__ import annotations

import tomllib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.addresses import email_hmac
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.mapping.parsing import build_mappings
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused, Skipped
from referral_stream.core.events import Link
from tests.contracts.building import KEY, NOW, accepted, cloud_event, only, record, refused, skipped
from tests.rules import rule as core_rule

EXPORTED: dict[str, Any] = {
    "type": "track",
    "event": "Invite Sent",
    "userId": "cus-1",
    "messageId": "m-1",
    "timestamp": "2026-06-16T07:59:00Z",
    "properties": {"report": "cash flow", "rows": "12", "plan": "pro", "tags": ["a", "b"], "who.else": "zoe"},
}


def read(toml: str, payload: Any, **about: Any) -> Adapted:
    """``adapt`` of a record with that payload under the mappings of that text."""
    boundary = Boundary(email_key=KEY, prefix="acme-", mappings=build_mappings(tomllib.loads(toml)))
    return adapt(record(payload, **about), NOW, boundary)


def rule(when: str, rest: str) -> str:
    return f"[[mapping]]\nwhen = {{ {when} }}\n{rest}\n"


SEGMENT = 'adapter = "segment", event = "Invite Sent"'


def test_a_mapping_replaces_the_adapters_reading_but_not_who_when_and_which() -> None:
    event = only(read(rule(SEGMENT, 'type = "workflow.completed"\ndata.name = "$.properties.report"'), EXPORTED))
    assert (event.type, event.data.name) == ("workflow.completed", "cash flow")
    assert (event.subject, event.id, event.source) == ("cus-1", "m-1", "segment")
    assert event.time == NOW - 60_000


def test_without_a_match_the_adapter_reads_as_ever() -> None:
    toml = rule('adapter = "segment", event = "Something Else"', 'type = "workflow.completed"')
    assert only(read(toml, EXPORTED)) == only(read("", EXPORTED))


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ('properties.plan = "pro"', True),
        ('properties.plan = "free"', False),
        ('"$.properties.plan" = { in = ["free", "pro"] }', True),
        ("properties.plan = { in = [1, true] }", False),
        ("properties.report = { exists = true }", True),
        ("properties.report = { exists = false }", False),
        ("properties.missing = { exists = false }", True),
        ("properties.missing = { exists = true }", False),
        ('properties.missing = ""', False),
        ('"properties.tags[1]" = "b"', True),
        ('"properties.tags.1" = "b"', True),
        ('"properties.tags[2]" = "b"', False),
        ('"properties[\'who.else\']" = "zoe"', True),
        ("properties.rows = 12", False),
        ('properties.rows = "12"', True),
        ('topic = "nps"', True),
        ('topic = { in = ["billing", "nps"] }', True),
        ('topic = "billing"', False),
    ],
)
def test_conditions(condition: str, matches: bool) -> None:
    toml = rule(f"{SEGMENT}, {condition}", 'type = "goal.achieved"\ndata.goal = "g"')
    event = only(read(toml, EXPORTED, topic="acme-nps"))
    assert (event.type == "goal.achieved") is matches


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [(1, "1", True), (1.0, "1", True), (True, "1", False), (1, "true", False), (True, "true", True), ("1", "1", False)],
)
def test_equality_is_of_json_values(value: Any, wanted: str, matches: bool) -> None:
    payload = {**EXPORTED, "properties": {"n": value}}
    toml = rule(f"{SEGMENT}, properties.n = {wanted}", 'type = "goal.achieved"\ndata.goal = "g"')
    assert (only(read(toml, payload)).type == "goal.achieved") is matches


@pytest.mark.parametrize(
    ("cast", "value", "result"),
    [
        ("int", "12", 12),
        ("int", 12.0, 12),
        ("int", "twelve", None),
        ("int", True, None),
        ("int", 1.5, None),
    ],
)
def test_a_count_is_cast_or_dropped_and_flagged(cast: str, value: Any, result: int | None) -> None:
    toml = rule(SEGMENT, f'name = "exports"\ntype = "usage.recorded"\ndata.count = {{ path = "n", as = "{cast}" }}')
    event = only(read(toml, {**EXPORTED, "n": value}))
    assert (event.data.count, event.flags) == ((1, ("field_dropped",)) if result is None else (result, ()))


def test_what_a_required_field_cannot_be_read_as_is_said_with_the_mapping() -> None:
    toml = rule(
        SEGMENT,
        'name = "stars"\ntype = "review.posted"\ndata.rating = { path = "n", as = "int" }\n'
        'data.scale_max = { path = "most", as = "float" }',
    )
    said = "mapping stars: data.rating: cannot be read as int; mapping stars: data.scale_max: cannot be read as float"
    assert refused(read(toml, {**EXPORTED, "n": "many", "most": "all"})) == Refused("invalid", said)
    lacks = "mapping stars: data.rating: cannot be read as int; scale_max: Field required"
    assert refused(read(toml, {**EXPORTED, "n": "many"})) == Refused("invalid", lacks)


def test_what_protects_does_without_a_field_that_a_mapping_cannot_read() -> None:
    toml = rule(SEGMENT, 'type = "customer.suppressed"\ndata.reason = { path = "n", as = "str" }')
    event = only(read(toml, {**EXPORTED, "n": ["left", "us"]}))
    assert (event.type, event.data.reason, event.flags) == ("customer.suppressed", None, ("field_dropped",))


@pytest.mark.parametrize(
    ("kind", "field", "cast", "value", "result"),
    [
        ("review.posted", "rating", "float", "4.5", 4.5),
        ("review.posted", "rating", "float", "inf", None),
        ("review.posted", "rating", "float", "1_0", None),
        ("usage.compared", "above_average", "bool", "Yes", True),
        ("usage.compared", "above_average", "bool", 0, False),
        ("usage.compared", "above_average", "bool", "perhaps", None),
        ("goal.achieved", "goal", "str", 17, "17"),
        ("goal.achieved", "goal", "str", True, "true"),
        ("goal.achieved", "goal", "str", ["x"], None),
    ],
)
def test_casts(kind: str, field: str, cast: str, value: Any, result: Any) -> None:
    more = "data.scale_max = 5" if kind == "review.posted" else ""
    toml = rule(SEGMENT, f'type = "{kind}"\ndata.{field} = {{ path = "$.n", as = "{cast}" }}\n{more}')
    adapted = read(toml, {**EXPORTED, "n": value})
    if result is None:
        assert refused(adapted).detail.endswith(f"data.{field}: cannot be read as {cast}")
    else:
        assert getattr(only(adapted).data, field) == result


def test_a_default_stands_in_for_what_is_absent_but_not_for_what_is_wrong() -> None:
    toml = rule(SEGMENT, 'type = "usage.recorded"\ndata.count = { path = "$.n", as = "int", default = 3 }')
    assert only(read(toml, EXPORTED)).data.count == 3
    assert only(read(toml, {**EXPORTED, "n": None})).data.count == 3
    assert only(read(toml, {**EXPORTED, "n": "many"})).data.count == 1  # as if nothing had been said


def test_a_required_field_that_the_payload_lacks_is_refused_by_name() -> None:
    toml = rule(SEGMENT, 'type = "goal.achieved"\ndata.goal = "$.properties.goal"')
    assert refused(read(toml, EXPORTED)) == Refused("invalid", "goal: Field required")


def test_texts_may_be_literal_and_begin_with_a_dollar_sign() -> None:
    toml = rule(SEGMENT, 'type = "complaint.made"\ndata.reference = "$$100"')
    assert only(read(toml, EXPORTED)).data.reference == "$100"


def test_objects_are_mapped_field_by_field_and_addresses_only_hashed() -> None:
    toml = rule(
        SEGMENT,
        'type = "customer.profile_changed"\n'
        'data.channels.in_app = true\ndata.channels.email = { path = "$.properties.mail_ok", as = "bool" }\n'
        'data.email_hmac = { path = "$.properties.mail", as = "email_hmac" }',
    )
    payload = {**EXPORTED, "properties": {"mail_ok": "no", "mail": "Ana@Example.com"}}
    data = only(read(toml, payload)).data
    assert data.channels.model_dump(exclude_none=True) == {"in_app": True, "email": False}
    assert data.email_hmac == email_hmac("ana@example.com", KEY)


def test_every_mapping_that_matches_gives_an_event() -> None:
    toml = rule(SEGMENT, 'type = "usage.recorded"') + rule(SEGMENT, 'type = "goal.achieved"\ndata.goal = "export"')
    first, second = accepted(read(toml, EXPORTED))
    assert (first.type, second.type) == ("usage.recorded", "goal.achieved")
    assert (first.id, second.id) == ("m-1#usage.recorded", "m-1#goal.achieved")


def test_what_is_of_no_interest_is_ignored() -> None:
    toml = rule(SEGMENT, 'name = "noise"\nignore = true')
    assert skipped(read(toml, EXPORTED)) == Skipped("irrelevant", "mapping noise")


def test_where_to_look_for_the_customer_the_id_and_the_time_can_be_said() -> None:
    places = 'subject = "$.user.id"\nid = "$.key"\ntime = "$.at"\naccount = "$.user.org"'
    toml = rule(SEGMENT, f'type = "usage.recorded"\n{places}')
    payload = {**EXPORTED, "user": {"id": 77, "org": "acme"}, "key": "k-1", "at": (NOW - 5_000) // 1000}
    event = only(read(toml, payload))
    assert (event.subject, event.id, event.time, event.account) == ("77", "k-1", NOW - 5_000, "acme")
    elsewhere = only(read(toml, EXPORTED))
    assert (elsewhere.subject, elsewhere.id) == ("cus-1", "m-1")


def test_what_the_adapter_leaves_out_may_be_mapped_but_a_test_stays_out() -> None:
    signed_out = {**EXPORTED, "event": "Signed Out"}
    toml = rule('adapter = "segment", event = "Signed Out"', 'type = "usage.recorded"')
    event = only(read(toml, signed_out))
    assert (event.subject, event.id, event.time, event.flags) == ("cus-1", "m-1", NOW - 60_000, ())

    stripe = {"object": "event", "id": "evt_1", "type": "coupon.created", "livemode": False, "data": {"object": {}}}
    toml = rule('adapter = "stripe", type = "coupon.created"', 'type = "usage.recorded"\nsubject = "$.id"')
    assert skipped(read(toml, stripe)).reason == "test_mode"
    assert only(read(toml, {**stripe, "livemode": True})).type == "usage.recorded"


# ------------------------------------------------------------------------------------------------------- who is meant

ANA = "ana@firm.com"
BY_ADDRESS = Link("email", email_hmac(ANA, KEY) or "")


def about(adapted: Adapted) -> list[tuple[str, str | Link | None]]:
    """Each event of a record: its type, and the customer or what else says who is meant."""
    return [(event.type, event.subject or event.link) for event in accepted(adapted)]


def test_a_link_says_who_is_meant_where_there_is_no_customer() -> None:
    toml = rule('adapter = "json"', 'type = "customer.suppressed"\nsubject = "$.user"\nlink.email = "$.mail"')
    assert about(read(toml, {"mail": f"Ana <{ANA.upper()}>"})) == [("customer.suppressed", BY_ADDRESS)]
    assert about(read(toml, {"mail": BY_ADDRESS.value.upper()})) == [("customer.suppressed", BY_ADDRESS)]
    assert about(read(toml, {"user": "undefined", "mail": ANA})) == [("customer.suppressed", BY_ADDRESS)]
    assert refused(read(toml, {"mail": "noreply@firm.com"})).cause == "unusable_id"


def test_with_a_customer_the_links_are_taught() -> None:
    toml = rule(
        'adapter = "json"',
        'type = "goal.achieved"\ndata.goal = "g"\nsubject = "$.user"\nlink = { email = "$.mail", crm_id = "$.crm" }',
    )
    events = accepted(read(toml, {"user": "cus-1", "mail": ANA, "crm": 7}))
    assert [(event.type, event.subject) for event in events] == [
        ("goal.achieved", "cus-1"), ("customer.linked", "cus-1"), ("customer.linked", "cus-1"),
    ]  # fmt: skip
    assert [(event.data.kind, event.data.value) for event in events[1:]] == [BY_ADDRESS, ("crm_id", "7")]
    assert about(read(toml, {"user": "cus-1", "mail": "", "crm": {"id": 7}})) == [("goal.achieved", "cus-1")]


def test_a_mapping_s_link_comes_before_the_adapter_s_own_and_the_others_stay() -> None:
    toml = rule(
        'adapter = "segment", event = "Board Shared"', 'type = "complaint.made"\nlink.email = "$.properties.mail"'
    )
    call = EXPORTED | {"event": "Board Shared", "anonymousId": "a1", "properties": {"mail": ANA}}
    assert about(read(toml, call | {"userId": None})) == [("complaint.made", BY_ADDRESS)]
    assert about(read(toml, call | {"userId": None, "properties": {}})) == [
        ("complaint.made", Link("segment_anonymous", "a1"))
    ]
    taught = [event.data for event in accepted(read(toml, call))[1:]]
    assert [(each.kind, each.value) for each in taught] == [BY_ADDRESS, ("segment_anonymous", "a1")]


def test_who_a_mapping_finds_learns_what_the_adapter_found_instead() -> None:
    toml = rule('adapter = "segment", event = "Board Shared"', 'type = "complaint.made"\nsubject = "$.properties.who"')
    call = EXPORTED | {"event": "Board Shared", "userId": None, "anonymousId": "a1", "properties": {"who": "cus-7"}}
    assert about(read(toml, call)) == [("complaint.made", "cus-7"), ("customer.linked", "cus-7")]


# --------------------------------------------------------------------------------- what a mapping does not take away

LEFT = EXPORTED | {"event": "Unsubscribed"}


@core_rule("I1.3", "I1.10")
@pytest.mark.parametrize("rest", ["ignore = true", 'type = "workflow.completed"', 'type = "complaint.made"'])
@pytest.mark.parametrize(
    ("when", "payload", "protects"),
    [
        ('"segment"', LEFT, "customer.suppressed"),
        ('"segment"', EXPORTED | {"context": {"traits": {"unsubscribed": True}}}, "customer.suppressed"),
        (
            '"segment"',
            EXPORTED | {"event": "Unsubscribe Page Seen", "context": {"traits": {"unsubscribed": True}}},
            "customer.suppressed",
        ),
        ('"segment"', EXPORTED | {"type": "delete"}, "customer.erasure_requested"),
        (
            '"stripe"',
            {"object": "event", "type": "customer.deleted", "data": {"object": {"object": "customer", "id": "cus-1"}}},
            "customer.erasure_requested",
        ),
        (
            '"stripe"',
            {
                "object": "event",
                "type": "checkout.session.completed",
                "data": {
                    "object": {"object": "checkout.session", "customer": "cus-1", "consent": {"promotions": "opt_out"}}
                },
            },
            "customer.consent_changed",
        ),
        (
            '"intercom"',
            {
                "type": "notification_event",
                "topic": "contact.user.updated",
                "data": {"item": {"type": "contact", "id": "cus-1", "unsubscribed_from_emails": True}},
            },
            "customer.suppressed",
        ),
    ],
)
def test_an_opt_out_of_the_adapter_s_survives_a_mapping(rest: str, when: str, payload: Any, protects: str) -> None:
    found = [event for event in accepted(read(rule(f"adapter = {when}", rest), payload)) if event.type == protects]
    assert [event.subject for event in found] == ["cus-1"]


def test_what_is_guessed_from_a_name_is_the_mapping_s_to_say() -> None:
    seen = EXPORTED | {"event": "Unsubscribe Page Seen"}
    assert only(read("", seen)).type == "customer.suppressed"
    told = rule('adapter = "segment", event = "Unsubscribe Page Seen"', "ignore = true")
    assert skipped(read(told, seen)).reason == "irrelevant"


@pytest.mark.parametrize("rest", ["ignore = true", 'type = "usage.recorded"'])
@pytest.mark.parametrize("more", ["", ', topic = "product-usage"'])
def test_a_rule_for_whatever_a_vendor_sends_corrects_no_name(rest: str, more: str) -> None:
    seen = EXPORTED | {"event": "contact.unsubscribed"}
    found = accepted(read(rule(f'adapter = "segment"{more}', rest), seen))
    assert "customer.suppressed" in {event.type for event in found}


def test_an_opt_out_that_a_mapping_says_too_is_said_once() -> None:
    toml = rule('adapter = "segment"', 'type = "customer.suppressed"\ndata.reason = "ours"')
    assert only(read(toml, LEFT)).data.reason == "ours"


def test_an_opt_out_keeps_its_own_time_and_holds_for_whom_the_adapter_and_the_mapping_mean() -> None:
    toml = rule(
        'adapter = "segment"', 'type = "workflow.completed"\nsubject = "$.properties.who"\ntime = "$.properties.began"'
    )
    call = LEFT | {"properties": {"who": "cus-7", "began": "2026-01-02T03:04:05Z"}}
    found = accepted(read(toml, call))
    assert [(event.type, event.subject, event.time) for event in found if event.type == "customer.suppressed"] == [
        ("customer.suppressed", "cus-1", NOW - 60_000),
        ("customer.suppressed", "cus-7", NOW - 60_000),
    ]
    assert len({event.id for event in found}) == len(found)


def test_each_call_of_a_batch_is_mapped_by_itself() -> None:
    other = {**EXPORTED, "event": "Signed In", "messageId": "m-2"}
    toml = rule(SEGMENT, 'type = "goal.achieved"\ndata.goal = "export"')
    events = accepted(read(toml, {"batch": [EXPORTED, other]}))
    assert [(event.id, event.type) for event in events] == [("m-1", "goal.achieved"), ("m-2", "usage.recorded")]


OWN = 'adapter = "cloudevents", type = "com.acme.report.exported"'


def test_a_cloud_event_of_ones_own_type_keeps_its_attributes() -> None:
    payload = cloud_event("com.acme.report.exported", {"report": {"name": "cash flow"}}, accountid="acme")
    toml = rule(OWN, 'type = "workflow.completed"\ndata.name = "$.data.report.name"')
    event = only(read(toml, payload))
    assert (event.type, event.data.name) == ("workflow.completed", "cash flow")
    assert (event.id, event.source, event.subject, event.account) == ("evt-1", "shop", "cus-1", "acme")
    assert skipped(read("", payload)).reason == "unknown_type"


def test_a_cloud_event_of_ones_own_type_may_be_binary() -> None:
    attributes = {"specversion": "1.0", "id": "b1", "source": "shop", "type": "com.acme.report.exported"}
    headers = tuple((f"ce_{name}", value.encode()) for name, value in {**attributes, "subject": "cus-9"}.items())
    toml = rule(OWN, 'type = "workflow.completed"\ndata.name = "$.data.name"')
    event = only(read(toml, {"name": "cash flow"}, headers=headers))
    assert (event.subject, event.id, event.data.name) == ("cus-9", "b1", "cash flow")


def test_the_contracts_own_types_are_never_mapped() -> None:
    toml = rule('adapter = "cloudevents", type = "goal.achieved"', 'type = "usage.recorded"')
    assert only(read(toml, cloud_event("goal.achieved", {"goal": "g"}))).type == "goal.achieved"


def test_an_object_that_nobody_recognises_may_be_mapped() -> None:
    toml = rule(
        'adapter = "json", name = "export", topic = "product-usage"',
        'type = "usage.recorded"\nsubject = "$.user.id"\nid = "$.key"\ntime = "$.at"',
    )
    payload = {"name": "export", "user": {"id": "cus-5"}, "key": "k", "at": "2026-06-16T07:00:00Z"}
    event = only(read(toml, payload, topic="acme-product-usage"))
    assert (event.subject, event.id, event.source) == ("cus-5", "k", "product-usage")
    assert refused(read(toml, payload, topic="acme-nps")).cause == "unrecognised"
    nobody = {"name": "export"}
    assert skipped(read(toml, nobody, topic="acme-product-usage")).reason == "no_customer"


# ---- whatever the payload and the rules

names = st.sampled_from(["event", "properties", "n", "userId", "type", "a.b", "0"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
paths = st.lists(names, min_size=1, max_size=3).map(lambda steps: "$" + "".join(f"['{step}']" for step in steps))
conditions = st.dictionaries(
    paths,
    st.booleans() | st.integers(-3, 3) | texts | st.booleans().map(lambda exists: {"exists": exists}),
    max_size=2,
)
TARGETS = {
    "usage.recorded": ("count", "int"),
    "goal.achieved": ("goal", "str"),
    "usage.compared": ("above_average", "bool"),
    "customer.profile_changed": ("email_hmac", "email_hmac"),
    "nps.responded": ("comment", "str"),
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A sound mapping of some adapter, for a payload that may look like anything."""
    kind = draw(st.sampled_from(sorted(TARGETS)))
    field, cast = TARGETS[kind]
    adapter = draw(st.sampled_from(["segment", "stripe", "cloudevents", "json"]))
    data = {
        field: {"path": draw(paths), "as": cast} | ({"default": "d"} if cast == "str" and draw(st.booleans()) else {})
    }
    if kind == "nps.responded":
        data |= {"response_id": {"path": draw(paths), "as": "str"}, "score": {"path": draw(paths), "as": "int"}}
    places = {
        name: draw(paths) for name in ("subject", "id", "time", "account") if name == "subject" or draw(st.booleans())
    }
    return {"when": {"adapter": adapter, **draw(conditions)}, "type": kind, "data": data, **places}


shapes = st.sampled_from(
    [
        {},
        {"type": "track", "userId": "u"},
        {"object": "event", "type": "coupon.created", "livemode": True, "data": {"object": {}}},
        {"specversion": "1.0", "type": "com.acme.x"},
        {"specversion": "1.0", "type": "com.acme.x", "data_base64": "!"},
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(tables(), min_size=1, max_size=3), shapes, st.dictionaries(names, values, max_size=5), st.booleans())
def test_any_payload_under_any_mapping_is_answered_with_a_value(
    given_tables: list[dict[str, Any]], shape: dict[str, Any], more: dict[str, Any], over: bool
) -> None:
    boundary = Boundary(email_key=KEY, mappings=build_mappings({"mapping": given_tables}))
    raw = record(orjson.dumps({**shape, **more} if over else {**more, **shape}))
    adapted = adapt(raw, NOW, boundary)
    assert isinstance(adapted, (Accepted, Skipped, Refused))
    assert adapt(raw, NOW, boundary) == adapted
    if isinstance(adapted, Accepted):
        for event in adapted.events:
            assert decode_event(encode_event(event)) == event


def test_a_mapped_cloud_event_carries_its_trace_on() -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    toml = rule('adapter = "cloudevents", type = "com.example.saved"', 'type = "goal.achieved"\ndata.goal = "g"')
    event = cloud_event("com.example.saved", {}, traceparent=trace)
    assert only(read(toml, event)).traceparent == trace
    assert only(read(toml, event | {"traceparent": "00-x"})).traceparent is None
    assert only(
        read(toml, cloud_event("com.example.saved", {}), headers=(("traceparent", trace.encode()),))
    ).traceparent
