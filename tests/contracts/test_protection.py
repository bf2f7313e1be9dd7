"""What protects is never refused, ids have one spelling, and who may say what (identity §1, §2, §5)."""

from __future__ import annotations

import tomllib
from typing import Any

import orjson
import pytest

from referral_stream.contracts.addresses import email_hmac, normal_address
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.deadletters import dead_letter, original
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.inbound.attributes import KEYS
from referral_stream.contracts.mapping.parsing import build_mappings
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Accepted, ElementLetter, Refused, Skipped
from referral_stream.contracts.records import SOURCE_HEADER, RawRecord
from referral_stream.core import events as ev
from referral_stream.core.events import FACT_TYPES, FAVOURABLE, Link, is_favourable, may_protect
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Identity
from tests.contracts.building import KEY, NOW, accepted, cloud_event, only, read, record, refused, skipped
from tests.contracts.examples import FACT_DATA
from tests.rules import rule

# -------------------------------------------------------------------------------------------- protective and favourable


@rule("I1.1", "I1.2")
@pytest.mark.parametrize(
    ("body", "favourable"),
    [
        (ev.NpsResponded(response_id="r", score=9), True),
        (ev.NpsResponded(response_id="r", score=8), False),
        (ev.CsatResponded(response_id="r", score=4, scale_max=5), True),
        (ev.CsatResponded(response_id="r", score=3, scale_max=5), False),
        (ev.ReviewPosted(rating=5, scale_max=5), True),
        (ev.ReviewPosted(rating=3, scale_max=5), False),
        (ev.FeedbackShared(positive=True), True),
        (ev.FeedbackShared(positive=False), False),
        (ev.InteractionRecorded(kind="call", positive=True), True),
        (ev.InteractionRecorded(kind="call", positive=False), False),
        (ev.InteractionRecorded(kind="call"), False),
        (ev.ReferralStatusChanged(referral_id="r", status="converted"), True),
        (ev.ReferralStatusChanged(referral_id="r", status="refunded"), False),
        (ev.ConsentChanged(purpose="referral_ask", channel="all", granted=True), True),
        (ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False), False),
        (ev.UsageCompared(above_average=True), True),
        (ev.UsageCompared(above_average=False), False),
        (ev.TicketSolved(ticket_id="t", rating="positive"), True),
        (ev.TicketSolved(ticket_id="t", rating="negative"), False),
        (ev.TicketSolved(ticket_id="t"), False),
        (ev.TicketRated(ticket_id="t", rating="positive"), True),
        (ev.TicketRated(ticket_id="t", rating="negative"), False),
    ],
)
def test_what_an_event_says_decides_whether_it_is_favourable(body: ev.Data, favourable: bool) -> None:
    assert is_favourable(body) is favourable
    assert may_protect(body.type)


@rule("I1.1", "I1.2")
def test_every_other_type_is_favourable_always_or_never() -> None:
    always = {kind for kind in FACT_TYPES if not may_protect(kind)}
    assert always == {
        "compliment.given", "testimonial.given", "case_study.joined", "milestone.reached", "goal.achieved",
        "saving.measured", "usage.recorded", "workflow.completed", "achievement.unlocked", "dashboard.viewed",
        "call.moment", "peer.mentioned", "subscription.renewed", "subscription.expanded", "referral.given",
        "customer.unsuppressed", "control.resumed", "ask.approved", "reward.approved",
    }  # fmt: skip
    assert FAVOURABLE.keys() <= FACT_TYPES.keys()


# ----------------------------------------------------------------------------------------------------- bytes and fields

OPT_OUT = b'{"specversion":"1.0","id":"e","source":"s","type":"customer.suppressed","subject":"ana","data":%b}'
USE = b'{"specversion":"1.0","id":"e","source":"s","type":"usage.recorded","subject":"ana","data":%b}'


@rule("I1.3", "I1.5")
@pytest.mark.parametrize(
    ("data", "flags"),
    [
        (rb'{"note":"half an emoji \ud83d"}', ()),
        (b'{"note":"half an emoji \xf0\x9f"}', ()),
        (b'{"weight":NaN}', ("field_dropped",)),
        (b'{"weight":-Infinity,"more":[NaN]}', ("field_dropped",)),
    ],
)
def test_bytes_that_are_no_json_refuse_only_what_speaks_for_asking(data: bytes, flags: tuple[str, ...]) -> None:
    event = only(read(OPT_OUT % data))
    assert (event.type, event.subject) == ("customer.suppressed", "ana")
    assert [flag for flag in event.flags if flag.startswith("field")] == list(flags)
    assert refused(read(USE % data)).cause == "undecodable"


@rule("I1.3", "I1.5")
def test_a_byte_order_mark_is_skipped_before_what_protects() -> None:
    assert only(read(b"\xef\xbb\xbf" + OPT_OUT % b"{}")).type == "customer.suppressed"
    assert refused(read(b"\xef\xbb\xbf" + USE % b"{}")).cause == "undecodable"


@rule("I1.3")
def test_half_a_character_becomes_the_replacement_character() -> None:
    event = only(
        read(rb'{"specversion":"1.0","id":"e","source":"s","type":"customer.suppressed","subject":"ana\ud83d"}')
    )
    assert event.subject == "ana\ufffd"
    assert decode_event(encode_event(event)) == event


@rule("I1.3", "I1.5")
@pytest.mark.parametrize(
    "deep", [b"[" * 300 + b"NaN" + b"]" * 300, b"[" * 5_000 + b"]" * 5_000, b'{"a":[' * 900 + b"]}" * 900]
)
def test_what_is_nested_without_end_refuses_only_what_speaks_for_asking(deep: bytes) -> None:
    data = b'{"text":"[[{","deep":%b,"reason":"bounce"}' % deep
    event = only(read(OPT_OUT % data))
    assert (event.data, event.flags) == (ev.Suppressed(reason="bounce"), ("time_unreadable", "field_dropped"))
    assert refused(read(USE % data)).cause in ("too_deep", "undecodable")


@rule("I1.3", "I1.5")
def test_of_a_record_that_is_too_large_what_protects_counts() -> None:
    words = orjson.dumps({"comment": "x" * 300_000})
    assert only(read(OPT_OUT % words)).type == "customer.suppressed"
    assert refused(read(USE % words)).cause == "too_large"
    call = {"type": "track", "event": "Unsubscribed", "userId": "ana", "properties": {"text": "x" * 200_000}}
    batch = {"batch": [call | {"messageId": number} for number in ("1", "2")]}
    read_ = read(batch, headers=((SOURCE_HEADER, b"segment"),))
    assert isinstance(read_, Accepted)
    assert [event.type for event in read_.events] == ["customer.suppressed", "customer.suppressed"]


@rule("I1.3", "I1.5")
@pytest.mark.parametrize("named", [7, "urn:referral-stream:usage.recorded:1", "urn:referral-stream:complaint.made:2"])
def test_a_version_that_nobody_knows_refuses_only_what_speaks_for_asking(named: Any) -> None:
    assert only(read(cloud_event("complaint.made", {}, dataschema=named))).type == "complaint.made"
    praise = str(named).replace("usage.recorded", "nps.responded").replace("complaint.made", "compliment.given")
    assert refused(read(cloud_event("compliment.given", {}, dataschema=named if named == 7 else praise))).cause


@rule("I1.3", "11.20")
@pytest.mark.parametrize(
    ("kind", "data", "kept"),
    [
        ("ticket.opened", {"ticket_id": "t", "priority": "extreme"}, ev.TicketOpened(ticket_id="t")),
        ("complaint.made", {"comment": "x" * 100_001}, ev.ComplaintMade()),
        ("complaint.made", {"comment": {"text": "no"}, "reference": {}}, ev.ComplaintMade()),
        ("usage.recorded", {"count": "many", "feature": "f"}, ev.UsageRecorded(feature="f")),
        ("customer.suppressed", {"reason": 550}, ev.Suppressed()),
        (
            "customer.profile_changed",
            {"channels": {"email": "yes", "phone": False}, "segment": "huge", "champion": False},
            ev.ProfileChanged(channels=ev.ReachableChannels(phone=False), champion=False),
        ),
        (
            "interaction.recorded",
            {"kind": "fax", "positive": False},
            ev.InteractionRecorded(kind="event", positive=False),
        ),
        ("advocacy.asked", {"kind": "tweet"}, ev.AdvocacyAsked(kind="other")),
        ("dispute.closed", {"charge_id": "c", "won": "yes"}, ev.DisputeClosed(charge_id="c", won=False)),
    ],
)
def test_a_field_that_cannot_be_used_is_dropped_and_flagged(kind: str, data: dict[str, Any], kept: ev.Data) -> None:
    event = only(read(cloud_event(kind, data)))
    assert (event.data, event.flags) == (kept, ("field_dropped",))


@rule("11.20")
@pytest.mark.parametrize(
    ("kind", "data", "field", "value"),
    [
        ("nps.responded", {"response_id": "r", "score": 3.0}, "score", 3),
        ("usage.recorded", {"count": 7.0}, "count", 7),
        ("subscription.expanded", {"deal_id": 12.0, "amount_minor": 500.0}, "amount_minor", 500),
        ("ticket.opened", {"ticket_id": 4711}, "ticket_id", "4711"),
        ("ticket.opened", {"ticket_id": 4711.0}, "ticket_id", "4711"),
        ("customer.profile_changed", {"email_hmac": "AB" * 32}, "email_hmac", "ab" * 32),
    ],
)
def test_numbers_and_hex_are_read_in_any_spelling(kind: str, data: dict[str, Any], field: str, value: Any) -> None:
    event = only(read(cloud_event(kind, data)))
    assert getattr(event.data, field) == value
    assert event.flags == ()


@rule("I1.4")
@pytest.mark.parametrize(
    "id", [None, {"n": 1}, ["t"], True, 1.5, "", "  ", "t\x00", "undefined", "x" * 257, "{{ticket.id}}"]
)
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("ticket.opened", "ticket_id"),
        ("ticket.reopened", "ticket_id"),
        ("charge.disputed", "charge_id"),
        ("invoice.payment_failed", "invoice_id"),
        ("call.concern_raised", "call_id"),
    ],
)
def test_a_trouble_whose_object_cannot_be_named_is_a_complaint(kind: str, field: str, id: Any) -> None:
    event = only(read(cloud_event(kind, {field: id})))
    assert (event.type, event.data, event.flags) == ("complaint.made", ev.ComplaintMade(), ("field_dropped",))


@rule("I1.4", "I1.5")
def test_a_response_without_a_usable_id_has_the_events() -> None:
    for given in (None, [1], "\x07"):
        data = {"response_id": given, "scale_max": 10, "command_id": given, "answer": "stop"}
        assert only(read(cloud_event("nps.responded", data | {"score": 3}))).data.response_id == "evt-1"
        assert only(read(cloud_event("csat.responded", data | {"score": 3}))).data.response_id == "evt-1"
        assert only(read(cloud_event("ask.answered", data))).data.command_id == "evt-1"
        assert refused(read(cloud_event("nps.responded", data | {"score": 9}))).cause == "invalid"
        assert refused(read(cloud_event("csat.responded", data | {"score": 9}))).cause == "invalid"


@rule("I1.4", "I1.5")
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, (False, "all")),
        ({"granted": False}, (False, "all")),
        ({"granted": False, "channel": "fax"}, (False, "all")),
        ({"granted": "yes", "channel": "email"}, (False, "email")),
        ({"granted": 1, "channel": "phone"}, (False, "phone")),
        ({"granted": None, "channel": "phone"}, (False, "phone")),
        ({"granted": True}, None),
        ({"granted": True, "channel": "fax"}, None),
    ],
)
def test_consent_that_is_not_clearly_given_is_withdrawn(
    data: dict[str, Any], expected: tuple[bool, str] | None
) -> None:
    adapted = read(cloud_event("customer.consent_changed", {"purpose": "referral_ask"} | data))
    if expected is None:
        assert refused(adapted).cause == "invalid"
    else:
        body = only(adapted).data
        assert (body.granted, body.channel) == expected


@rule("I1.3")
@pytest.mark.parametrize(
    "fault",
    [
        {"id": "x" * 600}, {"id": ["e"]}, {"source": ""}, {"accountid": "\x00"}, {"data": "text"},
        {"specversion": "0.3"},
        {"timezone": 7}, {"time": True},
    ],
)  # fmt: skip
def test_a_fault_around_an_opt_out_does_not_lose_it(fault: dict[str, Any]) -> None:
    event = only(read(cloud_event("customer.suppressed") | fault))
    assert (event.type, event.subject, event.data) == ("customer.suppressed", "cus-1", ev.Suppressed())


# -------------------------------------------------------------------------------------------------------------- batches


def call(name: str, user: Any = "ana", **more: Any) -> dict[str, Any]:
    """A Segment track call."""
    return {"type": "track", "event": name, "userId": user, "timestamp": "2026-06-16T07:00:00Z", **more}


@rule("I1.3")
def test_each_element_of_a_batch_stands_by_itself() -> None:
    strange = call("Unsubscribed", {"not": "an id"})
    adapted = read({"batch": [{"hello": 1}, call("Unsubscribed"), strange, 7]}, topic="relationship")
    assert isinstance(adapted, Accepted)
    position = derived_id("event", "relationship", 3, 14)
    assert [(event.type, event.id) for event in adapted.events] == [("customer.suppressed", f"{position}|1")]
    told = [(letter.record.element_number, letter.refused.cause) for letter in adapted.letters]
    assert told == [(0, "unrecognised"), (2, "unusable_id"), (3, "unrecognised")]
    assert adapted.letters[1].record.value == orjson.dumps(strange, option=orjson.OPT_SORT_KEYS)


@rule("I1.3")
def test_the_letter_of_an_element_has_its_number_and_is_read_again_with_the_same_ids() -> None:
    whole = record({"batch": [call("Unsubscribed", "null"), call("Unsubscribed", "nil")]})
    adapted = read({"batch": [call("Unsubscribed", "null"), call("Unsubscribed", "nil")]})
    assert isinstance(adapted, Accepted)
    letters = [_letter(each, whole) for each in adapted.letters]
    assert len({letter.header("dead-letter-id") for letter in letters}) == 2
    assert [letter.header("element") for letter in letters] == ["0", "1"]
    again = original(letters[1])
    assert (again.topic, again.partition, again.offset, again.element_number) == ("nps", 3, 14, 1)
    mended = orjson.dumps(orjson.loads(again.value or b"") | {"userId": "ana"})
    repaired = only(read(mended, headers=again.headers))
    assert repaired.id == f"{derived_id('event', 'nps', 3, 14)}|1"


def _letter(each: ElementLetter, whole: RawRecord) -> RawRecord:
    assert (each.record.topic, each.record.offset, each.record.key) == (whole.topic, whole.offset, whole.key)
    written = dead_letter(each.record, error="x", stage="ingest", occurred_at=NOW)
    return RawRecord(
        topic="dead-letters",
        partition=0,
        offset=0,
        timestamp=NOW,
        key=written.key,
        value=written.value,
        headers=written.headers,
    )


# ---------------------------------------------------------------------------------------------------- opt-outs by words


@rule("I1.11", "I1.12")
@pytest.mark.parametrize(
    "name",
    [
        "Unsubscribe", "user_unsubscribed", "UserUnsubscribed", "UnSubscribed", "marketing.unsubscription",
        "contact-optout",
        "OptOut", "Opted Out", "opt_out", "emailOptOut", "Spam Report", "spam-complaint", "HARD_BOUNCE",
        "email.bounced",
        "Contact Suppressed", "suppression:added", "DNCAdded", "addedToDNC", "do_not_contact", "DoNotContactSet",
        "Unsubscribe2",
    ],
)  # fmt: skip
def test_an_unlisted_name_with_such_a_word_is_a_suppression(name: str) -> None:
    assert says_opt_out(name)
    event = only(read(cloud_event(f"com.acme.{name}", {"any": "thing"})))
    assert (event.type, event.data, event.subject) == (
        "customer.suppressed",
        ev.Suppressed(reason="recognised"),
        "cus-1",
    )


@rule("I1.12")
def test_the_state_that_an_unknown_event_holds_is_read() -> None:
    state = {"contact": {"email": "ana@customer.com", "unsubscribed": True}}
    mapped = '[[mapping]]\nwhen = { adapter = "cloudevents", type = "com.acme.seen" }\ntype = "usage.recorded"\n'
    given = Boundary(email_key=KEY, mappings=build_mappings(tomllib.loads(mapped)))
    assert only(read(cloud_event("com.acme.seen", state))).type == "customer.suppressed"
    both = accepted(read(cloud_event("com.acme.seen", state), boundary=given))
    assert sorted(event.type for event in both) == ["customer.suppressed", "usage.recorded"]
    assert skipped(read(cloud_event("com.acme.seen", {"unsubscribed": False}))).reason == "unknown_type"
    assert skipped(read(cloud_event("com.acme.seen", state, subject=None))).reason == "unknown_type"


@rule("I1.11", "I1.13")
@pytest.mark.parametrize(
    "name",
    ["Resubscribed", "subscribed", "Opt In", "option out", "out opt", "contact do not", "antispammer", "bouncer",
     "optional", "deleted", "erasure", "gdpr.delete", "unsuppressed"],
)  # fmt: skip
def test_other_names_are_skipped_and_never_erase_or_lift_anything(name: str) -> None:
    assert not says_opt_out(name)
    assert skipped(read(cloud_event(f"com.acme.{name}"))).reason == "unknown_type"


# ------------------------------------------------------------------------------------------------------------------ ids


@rule("I2.1")
@pytest.mark.parametrize(
    ("given", "id"),
    [
        ("  ana \t", "ana"), ("Zoe\u0308", "Zo\u00eb"), (7, "7"), (7.0, "7"), (2.0**53 - 1, "9007199254740991"),
        ("007", "007"),
        ("~ana", "~ana"), ("a" * 256, "a" * 256), ("\u00e9" * 128, "\u00e9" * 128),
    ],
)  # fmt: skip
def test_an_id_has_one_spelling(given: Any, id: str) -> None:
    assert only(read(cloud_event("customer.suppressed") | {"subject": given})).subject == id


UNUSABLE = [
    7.5, 2.0**53, True, ["ana"], {"id": "ana"}, "an\x00a", "an\na", "an\x7fa", "an\u0085a", "an\u061ca", "an\u200ea",
    "an\u200fa", "an\u202aa", "an\u202ea", "an\u2066a", "an\u2069a", "a" * 257, "\u00e9" * 129,
]  # fmt: skip
PLACEHOLDERS = [
    "undefined", "NULL", "None", "nil", "NaN", "[object Object]", "Unknown", "anonymous", "guest", "0", 0, "-1", -1,
    "00000000-0000-0000-0000-000000000000", "xxx", "XXXXXXXX", "{{user.id}}", "cus-${id}", " null ",
]  # fmt: skip


@rule("I2.2", "I2.3", "I2.6")
@pytest.mark.parametrize("given", [*UNUSABLE, *PLACEHOLDERS, None, "", "  "])
def test_what_names_nobody_is_a_letter_if_it_protects_and_else_skipped(given: Any) -> None:
    assert refused(read(cloud_event("customer.suppressed") | {"subject": given})).cause == "unusable_id"
    reason = skipped(read(cloud_event("usage.recorded") | {"subject": given})).reason
    assert reason == ("no_customer" if given in (None, "") else "unusable_id")


@rule("I2.3")
@pytest.mark.parametrize("given", ["nilsson", "xx", "xxl", "nobody", "00", "anonymous-7", "$ana", "{ana}"])
def test_what_only_resembles_a_placeholder_is_an_id(given: str) -> None:
    assert only(read(cloud_event("customer.suppressed") | {"subject": given})).subject == given


@rule("I2.3")
def test_the_policy_adds_placeholders() -> None:
    own = Boundary(email_key=KEY, identity=Identity(placeholder_ids=("Nobody",)))
    assert (
        refused(read(cloud_event("customer.suppressed") | {"subject": "nobody"}, boundary=own)).cause == "unusable_id"
    )
    payload = call("Unsubscribed", "NOBODY", user_id="ana")
    assert only(read(payload, boundary=own)).subject == "ana"


@rule("I2.4")
@pytest.mark.parametrize("given", [*UNUSABLE, *PLACEHOLDERS])
def test_aliases_and_values_of_links_are_ids_too(given: Any) -> None:
    assert refused(read(cloud_event("customer.aliased", {"alias": given}))).cause == "unusable_id"
    assert refused(read(cloud_event("customer.linked", {"kind": "order", "value": given}))).cause == "unusable_id"


@rule("I2.4", "I4.5")
@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("order", " 17 ", "17"),
        ("order", 17, "17"),
        ("email", "Ana+news@Customer.example", email_hmac("ana@customer.example", KEY)),
        ("email", "AB" * 32, "ab" * 32),
        ("email", "noreply@customer.example", None),
        ("email", "ana", None),
        ("order", "ana@customer.example", None),
        ("Order", "17", None),
        ("", "17", None),
    ],
)
def test_a_link_names_something_and_an_address_only_as_its_hmac(kind: str, value: Any, expected: str | None) -> None:
    taught = read(cloud_event("customer.linked", {"kind": kind, "value": value}))
    meant = read(cloud_event("customer.suppressed", subject=None, link=f"{kind}:{value}"))
    if expected is None:
        assert (refused(taught).cause, refused(meant).cause) == ("unusable_id", "unusable_id")
    else:
        assert only(taught).data == ev.Linked(kind=kind, value=expected)
        assert (only(meant).subject, only(meant).link) == ("", Link(kind, expected))


@rule("I2.5")
@pytest.mark.parametrize(
    ("subject", "link"), [("ana", None), ("null", Link("order", "a:b")), (None, Link("order", "a:b"))]
)
def test_the_customer_counts_before_the_link(subject: str | None, link: Link | None) -> None:
    event = only(read(cloud_event("usage.recorded", subject=subject, link="order:a:b")))
    assert (event.subject, event.link) == ("" if link else subject, link)
    assert decode_event(encode_event(event)) == event


@rule("I2.5")
def test_a_referrals_news_may_come_without_its_customer() -> None:
    data = {"referral_id": "r-1", "status": "rejected"}
    assert only(read(cloud_event("referral.status_changed", data, subject=None))).link == Link("referral", "r-1")


@rule("I2.8")
def test_the_origin_is_the_adapters_name_or_cloudevents() -> None:
    mine = only(read(cloud_event("customer.suppressed", source="segment")))
    vendors = only(read(call("Unsubscribed", messageId="evt-1")))
    assert (mine.source, mine.id) == (vendors.source, vendors.id)
    assert (mine.origin, vendors.origin) == ("cloudevents", "segment")
    assert decode_event(encode_event(vendors)) == vendors


@rule("I2.9")
@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("  ANA@Customer.example\n", "ana@customer.example"),
        ("ana+news+more@customer.example", "ana@customer.example"),
        ("A.n.a+x@googlemail.com", "ana@gmail.com"),
        ("a.n.a@customer.example", "a.n.a@customer.example"),
        ("ana@B\u00fccher.de", "ana@xn--bcher-kva.de"),
        ("ana@xn--bcher-kva.de", "ana@xn--bcher-kva.de"),
        ("noreply@customer.example", None),
        ("None@customer.example", None),
        ("test@customer.example", None),
        ("ana@example.com", None),
        ("ana@example.co.uk", None),
        ("ana@mail.example.org", None),
        ("ana@host.invalid", None),
        ("ana@host.test", None),
        ("ana@printer.local", None),
        ("+x@customer.example", None),
        ("@customer.example", None),
        ("ana@", None),
        ("ana", None),
    ],
)
def test_an_address_has_one_spelling_and_some_are_none(address: str, normal: str | None) -> None:
    assert normal_address(address) == normal
    hashed = None if normal is None else email_hmac(normal, KEY)
    assert email_hmac(address, KEY) == hashed


# ----------------------------------------------------------------------------------------------------- who may say what

BOUND = Boundary(email_key=KEY, adapters={"billing": "stripe"})


@rule("I5.1")
@pytest.mark.parametrize("kind", ["usage.recorded", "customer.suppressed", "control.paused", "com.acme.unsubscribed"])
def test_a_cloud_event_where_only_a_vendor_may_speak_is_a_letter(kind: str) -> None:
    event = cloud_event(kind, FACT_DATA.get(kind, {}))
    binary = (("ce_specversion", b"1.0"), ("ce_type", kind.encode()), ("ce_id", b"1"), ("ce_source", b"s"))
    for topic, headers in (
        ("billing", ()),
        ("responses", (("Referral-Source", b"segment"),)),
        ("nps", (("referral-source", b""),)),
    ):
        assert refused(read(event, topic=topic, headers=headers, boundary=BOUND)).cause == "unexpected_cloudevent"
        adapted = read({}, topic=topic, headers=(*headers, *binary), boundary=BOUND)
        assert refused(adapted).cause == "unexpected_cloudevent"


@rule("I5.1")
def test_a_vendors_topic_is_read_by_its_adapter_alone() -> None:
    assert refused(read(call("Unsubscribed"), topic="billing", boundary=BOUND)) == Refused(
        "unrecognised", "not the shape of stripe"
    )


_OPTED_OUT = {"type": "contact", "id": "c", "external_id": "ana", "unsubscribed_from_emails": True}
_FAILED = {"id": "in_1", "object": "invoice", "customer": "ana"}
_TRACKED = {"type": "track", "event": "Unsubscribed", "messageId": "m-1", "timestamp": "2026-06-16T07:00:00Z"}


@rule("I1.3", "I5.1")
@pytest.mark.parametrize(
    ("vendor", "body", "told"),
    [
        ("segment", _TRACKED | {"context": {"traits": {"email": "ana@customer.com"}}}, "customer.suppressed"),
        ("rudderstack", _TRACKED | {"properties": {"email": "ana@customer.com"}}, "customer.suppressed"),
        ("posthog", {"event": "Unsubscribed", "properties": {"$set": {"email": "a@b.com"}}}, "customer.suppressed"),
        ("stripe", {"type": "invoice.payment_failed", "data": {"object": _FAILED}}, "invoice.payment_failed"),
        ("intercom", {"type": None, "topic": "contact.updated", "data": {"item": _OPTED_OUT}}, "customer.suppressed"),
        ("segment", [_TRACKED | {"properties": {"email": "ana@customer.com"}}, 7], "customer.suppressed"),
    ],
)
def test_what_says_whose_it_is_and_lacks_its_shape_is_heard_if_it_speaks_against_asking(
    vendor: str, body: Any, told: str
) -> None:
    adapted = read(body, topic="relationship", headers=((SOURCE_HEADER, vendor.encode()),))
    assert isinstance(adapted, Accepted)
    assert adapted.events[0].type == told


@rule("I1.3", "I2.6")
@pytest.mark.parametrize(
    ("vendor", "body"),
    [("segment", _TRACKED), ("posthog", {"event": "Unsubscribed", "properties": {}}), ("segment", [_TRACKED, 7])],
)
def test_what_protects_in_another_shape_and_names_nobody_is_alerted_as_such(vendor: str, body: Any) -> None:
    adapted = read(body, topic="relationship", headers=((SOURCE_HEADER, vendor.encode()),))
    assert refused(adapted).cause == "unusable_id"


@rule("I5.1")
@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        ("segment", _TRACKED | {"event": "Report Opened", "properties": {"email": "ana@customer.com"}}),
        ("stripe", {"type": "invoice.paid", "data": {"object": _FAILED}}),
        ("survicate", {"event": {"surveyCompleted": 7}}),
        ("hubspot", [{"subscriptionType": "contact.deletion"}, None]),
    ],
)
def test_nothing_else_of_another_shape_is_heard(vendor: str, body: Any) -> None:
    adapted = read(body, topic="relationship", headers=((SOURCE_HEADER, vendor.encode()),))
    assert refused(adapted) == Refused("unrecognised", f"not the shape of {vendor}")


def test_a_stop_of_a_body_is_no_repeat_of_another_event_with_its_id() -> None:
    """As in the sample of SendGrid's own reference."""
    about = {
        "email": "ana@customer.com",
        "timestamp": 1_781_590_000,
        "sg_event_id": "sg_event_id",
        "sg_message_id": "m",
    }
    events = accepted(read([about | {"event": "open"}, about | {"event": "unsubscribe"}], topic="relationship"))
    assert {event.type for event in events} >= {"customer.suppressed"}


OPERATORS_WORD = ["control.paused", "control.resumed", "ask.approved", "ask.rejected"]


@rule("I5.3")
@pytest.mark.parametrize("kind", OPERATORS_WORD)
def test_an_operators_word_counts_on_responses_alone(kind: str) -> None:
    event = cloud_event(kind, FACT_DATA[kind])
    assert only(read(event, topic="responses")).type == kind
    assert only(read(event, topic="acme-responses", boundary=Boundary(email_key=KEY, prefix="acme-"))).type == kind
    assert refused(read(event, topic="nps")).cause == "not_authorised"


@rule("I5.2", "I5.3")
@pytest.mark.parametrize("kind", [*OPERATORS_WORD, "reward.granted", "control.unknown", "customer.overfull_cleared"])
def test_what_came_through_the_endpoint_for_facts_is_never_an_operators_word(kind: str) -> None:
    event = cloud_event(kind, FACT_DATA.get(kind, {}))
    came = (("referral-endpoint", b"events"),)
    assert refused(read(event, topic="responses", headers=came)).cause == "not_authorised"
    assert only(read(cloud_event("usage.recorded"), topic="responses", headers=came)).type == "usage.recorded"


@rule("I5.4")
@pytest.mark.parametrize("data", ev.INTERNAL, ids=lambda data: data.type)
@pytest.mark.parametrize("topic", ["responses", "nps"])
def test_internal_types_are_never_accepted_from_outside(data: type[ev.Data], topic: str) -> None:
    assert isinstance(read(cloud_event(data.type, {"command_id": "c"}), topic=topic), Skipped | Refused)


@rule("I5.5")
@pytest.mark.parametrize("kind", KEYS)
def test_sentences_where_a_key_belongs_end_here(kind: str) -> None:
    sentences = dict.fromkeys(KEYS[kind], "John Doe cannot pay his staff")
    keys = dict.fromkeys(KEYS[kind], "ops.team-7:eu_1")
    event = only(read(cloud_event(kind, FACT_DATA[kind] | sentences), topic="responses"))
    assert "John" not in repr(event.data)
    assert "field_dropped" in event.flags
    kept = only(read(cloud_event(kind, FACT_DATA[kind] | keys), topic="responses"))
    assert {getattr(kept.data, name) for name in keys} == {"ops.team-7:eu_1"}
    longest = only(read(cloud_event(kind, FACT_DATA[kind] | dict.fromkeys(keys, "k" * 65)), topic="responses"))
    assert "k" * 65 not in repr(longest.data)


@rule("I5.5")
def test_a_goal_in_words_becomes_its_theme() -> None:
    def goal(text: str) -> Any:
        return only(read(cloud_event("goal.achieved", {"goal": text}))).data.goal

    assert (goal(FACT_DATA["nps.responded"]["comment"]), goal("to move to Berlin"), goal("close-2026")) == (
        "time_saved", "other", "close-2026",
    )  # fmt: skip


CYCLE = "subscription_cycle"


@rule("I1.3")
def test_of_a_notification_what_protects_stays_where_another_fact_is_refused() -> None:
    invoice = {
        "id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1", "billing_reason": CYCLE,
        "total": 900,
    }  # fmt: skip
    payload = {
        "id": "evt_1", "object": "event", "type": "invoice.paid", "livemode": True, "created": (NOW + 2 * DAY) // 1000,
        "data": {"object": invoice},
    }  # fmt: skip
    adapted = read(payload)
    assert isinstance(adapted, Accepted)
    assert [(event.type, event.time) for event in adapted.events] == [("invoice.paid", NOW)]
    assert [letter.refused.cause for letter in adapted.letters] == ["time_in_future"]


def test_events_of_a_batch_come_in_its_order() -> None:
    batch = [call("Unsubscribed", name) for name in ("b", "a")]
    assert [event.subject for event in accepted(read({"batch": batch}))] == ["b", "a"]
