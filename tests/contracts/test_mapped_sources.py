"""Sources of the mapping file: vendors without an adapter, in forms, lists and odd times; what protects is kept."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.addresses import email_hmac
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.mapping.parsing import MappingProblem, build_mappings, parse_mappings
from referral_stream.contracts.mapping.values import Time
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.core.events import Link
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import SettingsProblem, read_settings
from tests.contracts.building import KEY, NOW, accepted, only, record, refused, skipped
from tests.rules import rule

EXAMPLES = Path(__file__).parents[2] / "examples" / "mappings"
ANA = "ana@customer.com"
BY_ADDRESS = Link("email", email_hmac(ANA, KEY) or "")


def boundary(toml: str, **more: Any) -> Boundary:
    return Boundary(email_key=KEY, mappings=build_mappings(tomllib.loads(toml)), **more)


def of(source: str | None) -> Headers:
    return () if source is None else (("referral-source", source.encode()),)


def read(toml: str, payload: Any, source: str | None = "acme", topic: str = "nps", **more: Any) -> Adapted:
    """``adapt`` of a payload, or of the bytes of a body, that header says is the source's."""
    if isinstance(payload, bytes):
        found = RawRecord(
            topic=topic, partition=0, offset=1, timestamp=NOW, key=None, value=payload, headers=of(source)
        )
    else:
        found = record(payload, topic=topic, headers=of(source))
    return adapt(found, NOW, boundary(toml, **more))


def told(adapted: Adapted) -> list[tuple[str, str | Link | None]]:
    return [(event.type, event.subject or event.link) for event in accepted(adapted)]


SOURCE = '[source.acme]\ntopic = "nps"\nsubject = "$.user"\nlink.email = "$.mail"\n'
RULE = '[[mapping]]\nwhen = { adapter = "acme", event = "exported" }\ntype = "usage.recorded"\n'


# --------------------------------------------------------------------------------------------- vendors, by a file alone

PAID: dict[str, Any] = {
    "id": "ev_1", "occurred_at": 1781595000, "event_type": "payment_succeeded",
    "content": {
        "transaction": {"id": "txn_1", "customer_id": "cb-ana", "linked_invoices": [
            {"invoice_id": "4711", "invoice_status": "paid"}, {"invoice_id": "4712", "invoice_status": "payment_due"},
            {"invoice_id": "4713", "invoice_status": "paid"},
        ]},
    },
}  # fmt: skip
RENEWED = PAID | {
    "event_type": "subscription_renewed",
    "content": {
        "subscription": {"id": "sub-1", "customer_id": "cb-ana", "status": "active"},
        "customer": {"id": "cb-ana", "email": ANA},
        "invoice": {"id": "4711", "status": "paid", "total": 4500},
    },
}
CANCELED = {
    "id": "raSub", "object_type": "subscription", "site_id": "raSite", "event_type": "canceled",
    "event_time": "2026-06-16T07:30:00Z",
}  # fmt: skip
ANSWERED = {
    "response": "R_1", "nps": "9", "why": "Great support", "customer": "cus-ana", "email": ANA,
    "at": "2026-06-16 01:30:00", "status": "IP Address",
}  # fmt: skip
COMPLETED = {
    "Topic": "firm.surveyengine.completedResponse.SV_1",
    "MSG": orjson.dumps(
        {"Status": "Complete", "RecipientID": "CGC_1", "ResponseID": "R_1", "CompletedDate": "2026-06-16 01:30:00"}
    ).decode(),
}
WOOTRIC = {
    "response[id]": "51", "response[email]": ANA, "response[external_id]": "cus-ana", "response[score]": "9",
    "response[text]": "", "response[excluded_from_calculations]": "false",
    "response[updated_at]": "2026-06-16 00:30:00 -0700", "event_name": "created", "survey_mode": "NPS",
}  # fmt: skip
WOOTRIC_ID = "response:51:created:2026-06-16 00:30:00 -0700"
DISMISSED = {
    "decline[id]": "7", "decline[external_id]": "cus-ana", "decline[created_at]": "2026-06-16 07:30:00 UTC",
    "event_name": "created", "survey_mode": "NPS",
}  # fmt: skip
LEFT = WOOTRIC | {"event_name": "unsubscribed"}


@pytest.mark.parametrize(
    ("source", "payload", "expected"),
    [
        ("own_chargebee", PAID, [
            ("ev_1|0", "invoice.paid", "cb-ana", {"invoice_id": "4711"}),
            ("ev_1|2", "invoice.paid", "cb-ana", {"invoice_id": "4713"}),
        ]),
        ("own_chargebee", RENEWED, [
            ("ev_1", "subscription.renewed", "cb-ana", {"subscription_id": "sub-1", "invoice_id": "4711"}),
            ("ev_1#customer.linked", "customer.linked", "cb-ana", BY_ADDRESS._asdict()),
        ]),
        ("own_recurly", CANCELED, [
            ("subscription:canceled:raSub:2026-06-16T07:30:00Z", "cancellation.scheduled",
             Link("own_recurly_object", "raSub"), {"subscription_id": "raSub"}),
        ]),
        ("own_qualtrics", urlencode(ANSWERED).encode(), [
            ("R_1:2026-06-16 01:30:00", "nps.responded", "cus-ana",
             {"response_id": "R_1", "score": 9, "theme": "support"}),
            ("R_1:2026-06-16 01:30:00#customer.linked", "customer.linked", "cus-ana", BY_ADDRESS._asdict()),
        ]),
        ("own_qualtrics_events", urlencode(COMPLETED).encode(), [
            ("firm.surveyengine.completedResponse.SV_1:R_1", "advocacy.asked", Link("qualtrics_recipient", "CGC_1"),
             {"kind": "survey", "by": "qualtrics"}),
        ]),
        ("own_wootric", urlencode(WOOTRIC).encode(), [
            (WOOTRIC_ID, "nps.responded", "cus-ana",
             {"response_id": "51", "score": 9}),
            (f"{WOOTRIC_ID}#customer.linked", "customer.linked", "cus-ana", BY_ADDRESS._asdict()),
        ]),
        ("own_wootric", urlencode(DISMISSED).encode(), [
            ("decline:7", "advocacy.asked", "cus-ana", {"kind": "survey", "by": "wootric"}),
        ]),
    ],
)  # fmt: skip
def test_vendors_are_read_by_the_files_of_examples(source: str, payload: Any, expected: list[Any]) -> None:
    file = EXAMPLES / f"{source.removeprefix('own_').removesuffix('_events')}.toml"
    mappings = parse_mappings(file.read_bytes(), file.name)
    value = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    raw = RawRecord(topic="billing", partition=0, offset=0, timestamp=NOW, key=None, value=value, headers=of(source))
    events = accepted(adapt(raw, NOW, Boundary(email_key=KEY, mappings=mappings)))
    assert [
        (
            event.id,
            event.type,
            event.subject or event.link,
            event.data.model_dump(exclude_unset=True, exclude_none=True),
        )
        for event in events
    ] == expected
    assert {rfc3339(event.time) for event in events} == {"2026-06-16T07:30:00.000Z"}
    assert {(event.source, event.origin) for event in events} == {(source, source)}


def test_an_unsubscribe_that_no_example_lists_is_one() -> None:
    mappings = parse_mappings((EXAMPLES / "wootric.toml").read_bytes())
    value = urlencode(LEFT).encode()
    raw = RawRecord(topic="nps", partition=0, offset=0, timestamp=NOW, key=None, value=value, headers=of("own_wootric"))
    assert told(adapt(raw, NOW, Boundary(email_key=KEY, mappings=mappings)))[0] == ("customer.suppressed", "cus-ana")


# --------------------------------------------------------------------------------------------------------- who is meant


def test_what_all_rules_of_a_source_share_is_said_once_and_a_rule_may_say_it_otherwise() -> None:
    toml = SOURCE + RULE
    assert told(read(toml, {"event": "exported", "user": "cus-1"})) == [("usage.recorded", "cus-1")]
    own = toml + 'subject = "$.owner"\n'
    assert told(read(own, {"event": "exported", "user": "cus-1", "owner": "cus-2"})) == [("usage.recorded", "cus-2")]
    assert told(read(own, {"event": "exported", "user": "cus-1"})) == [("usage.recorded", "cus-1")]


def test_an_address_alone_says_who_is_meant() -> None:
    toml = SOURCE + '[[mapping]]\nwhen = { adapter = "acme" }\ntype = "complaint.made"\n'
    assert told(read(toml, {"mail": ANA})) == [("complaint.made", BY_ADDRESS)]


@rule("I5.1")
def test_only_header_or_topic_give_a_body_to_a_source_that_an_adapter_would_read() -> None:
    toml = SOURCE + '[[mapping]]\nwhen = { adapter = "acme" }\ntype = "complaint.made"\n'
    call = {"type": "track", "event": "Signed In", "userId": "cus-9", "messageId": "m", "user": "cus-1"}
    assert told(read(toml, call)) == [("complaint.made", "cus-1")]
    assert told(read(toml, call, None, adapters={"nps": "acme"})) == [("complaint.made", "cus-1")]
    assert told(read(toml, call, None)) == [("usage.recorded", "cus-9")]
    assert told(read(toml, {"user": "cus-1"}, None)) == [("complaint.made", "cus-1")]  # nobody else's
    assert refused(read(toml, {"user": "cus-1"}, None, topic="support")).cause == "unrecognised"


@rule("I5.1", "I5.3")
def test_a_cloud_event_in_a_source_s_body_is_only_what_its_rules_say() -> None:
    event = {
        "specversion": "1.0", "type": "control.paused", "id": "1", "source": "x", "subject": "cus-9", "user": "cus-1",
        "data": {"scope": "all", "by": "x", "why": "x"},
    }  # fmt: skip
    assert skipped(read(SOURCE + RULE, event, topic="responses")).reason == "irrelevant"
    toml = SOURCE + '[[mapping]]\nwhen = { adapter = "acme" }\ntype = "complaint.made"\n'
    assert told(read(toml, event)) == [("complaint.made", "cus-1")]


# ------------------------------------------------------------------------------------------- what is said is never lost


@rule("I1.10")
@pytest.mark.parametrize("rest", ["", 'type = "usage.recorded"', "ignore = true"])
def test_state_that_says_opt_out_survives_every_rule(rest: str) -> None:
    toml = SOURCE + ("" if not rest else f'[[mapping]]\nwhen = {{ adapter = "acme" }}\n{rest}\n')
    found = told(read(toml, {"event": "exported", "user": "cus-1", "profile": {"unsubscribed": True}}))
    assert ("customer.suppressed", "cus-1") in found


@rule("I1.11")
@pytest.mark.parametrize("name", ["contact.unsubscribed", "Opted Out", "spam_complaint"])
def test_an_unlisted_name_that_says_opt_out_is_one_also_in_a_list(name: str) -> None:
    assert told(read(SOURCE + RULE, {"event": name, "user": "cus-1"})) == [("customer.suppressed", "cus-1")]
    listed = SOURCE + 'each = "$.list"\n' + RULE
    body = {"list": [{"event": "exported", "user": "cus-1"}, {"event": name, "user": "cus-2"}, {"event": "x"}]}
    assert told(read(listed, body)) == [("usage.recorded", "cus-1"), ("customer.suppressed", "cus-2")]


FORMS = (
    '[source.acme]\ntopic = "nps"\neach = "$.answers"\nsubject = "$root.who.id"\nid = "$root.id"\n'
    '[[mapping]]\nwhen = { adapter = "acme", ref = "nps" }\ntype = "nps.responded"\n'
    'data.response_id = "$root.id"\ndata.score = "$.n"\n'
)
SCORED = [{"ref": "nps", "n": 10}, {"ref": "why"}]
EACH = SOURCE + '[[mapping]]\nwhen = { adapter = "acme", ref = "nps" }\neach = "$.answers"\ntype = "usage.recorded"\n'
EACH_JSON = EACH.replace(SOURCE, "").replace(
    'when = { adapter = "acme",', 'subject = "$root.user"\nwhen = { adapter = "json", topic = "nps",'
)


@rule("I1.10", "I1.11")
@pytest.mark.parametrize(
    ("toml", "body", "name"),
    [
        *((FORMS, {"id": "r", "who": {"id": "cus-1"}} | rest, "acme") for rest in (
            {"who": {"id": "cus-1", "unsubscribed": True}, "answers": SCORED}, {"unsubscribed": True},
            {"email_opt_in": "no", "answers": SCORED}, {"event": "unsubscribed", "answers": SCORED},
            {"event": "unsubscribed", "answers": []}, {"event": "unsubscribed"},
        )),
        (FORMS, [{"id": "r", "who": {"id": "cus-1"}, "unsubscribed": True, "answers": SCORED}], "acme"),
        (SOURCE + 'each = "$.list"\n' + RULE, [{"event": "unsubscribed", "user": "cus-1"}], "acme"),
        (EACH, {"user": "cus-1", "unsubscribed": True, "answers": SCORED}, "acme"),
        (EACH, {"user": "cus-1", "event": "unsubscribed", "answers": SCORED}, "acme"),
        (EACH_JSON, {"user": "cus-1", "unsubscribed": True, "answers": SCORED}, None),
    ],
)  # fmt: skip
def test_an_opt_out_beside_a_list_whose_elements_are_read_is_one(toml: str, body: Any, name: str | None) -> None:
    assert ("customer.suppressed", "cus-1") in told(read(toml, body, name))


@rule("I1.10", "I1.3")
def test_an_opt_out_beside_elements_is_that_of_the_one_person_whom_they_name_else_a_dead_letter() -> None:
    toml = SOURCE + 'each = "$.list"\n' + RULE
    one, other = {"event": "exported", "user": "cus-1"}, {"event": "exported", "user": "cus-2"}
    assert ("customer.suppressed", "cus-1") in told(read(toml, {"unsubscribed": True, "list": [one, one]}))
    adapted = read(toml, {"unsubscribed": True, "list": [one, other]})
    assert told(adapted) == [("usage.recorded", "cus-1"), ("usage.recorded", "cus-2")]
    assert isinstance(adapted, Accepted)
    assert [letter.cause for _, letter in adapted.letters] == ["unusable_id"]
    for nobody in ([{"event": "exported"}], []):
        assert refused(read(toml, {"unsubscribed": True, "list": nobody})).cause == "unusable_id"


@rule("I1.10")
@pytest.mark.parametrize("place", ["", "meta", "data", "attributes"])
@pytest.mark.parametrize(
    "trial",
    [
        {"test_mode": True}, {"is_test": "true"}, {"livemode": False}, {"environment": "Sandbox"}, {"mode": "test"},
        {"test": 1}, {"livemode": "false"},
    ],
)  # fmt: skip
def test_what_somebody_only_tried_speaks_for_nothing(place: str, trial: dict[str, Any]) -> None:
    toml = SOURCE + RULE + '[[mapping]]\nwhen = { adapter = "acme", event = "said" }\ntype = "complaint.made"\n'
    body: dict[str, Any] = {"data": {"attributes": {}}, "meta": {}, "user": "cus-1", "event": "exported"}
    told_in = {"": body, "meta": body["meta"], "data": body["data"], "attributes": body["data"]["attributes"]}[place]
    assert told(read(toml, body)) == [("usage.recorded", "cus-1")]
    told_in |= trial
    assert skipped(read(toml, body)).reason == "test_mode"
    assert told(read(toml, body | {"event": "said"})) == [("complaint.made", "cus-1")]
    assert told(read(toml, body | {"event": "unsubscribed"})) == [("customer.suppressed", "cus-1")]


def test_of_a_referral_that_somebody_only_tried_no_name_is_kept() -> None:
    toml = SOURCE + (
        'each = "$.list"\n[[mapping]]\nwhen = { adapter = "acme", event = "referred" }\ntype = "referral.given"\n'
        'data.referral_id = "$.id"\ndata.contact.ref = "$.id"\ndata.contact.name = "$.name"\n'
        "data.contact.consented = true\n"
    )
    one = {"event": "referred", "user": "cus-1", "id": "real", "name": "Milton"}
    adapted = read(toml, {"list": [one, one | {"id": "tried", "name": "Test", "is_test": True}]})
    assert isinstance(adapted, Accepted)
    assert [event.type for event in adapted.events] == ["referral.given"]
    assert [contact.referral_id for contact in adapted.contacts] == ["real"]


@pytest.mark.parametrize(
    "real", [{"test_mode": False}, {"livemode": True}, {"environment": "production"}, {"mode": "live"}, {"data": []}]
)
def test_what_is_real_counts(real: dict[str, Any]) -> None:
    assert told(read(SOURCE + RULE, {"user": "cus-1", "event": "exported"} | real)) == [("usage.recorded", "cus-1")]


def test_a_name_that_a_rule_looks_at_is_its_to_correct_also_from_within_a_list() -> None:
    looking = FORMS.replace('ref = "nps" }', 'ref = "nps", "$root.event" = "unsubscribed.digest" }')
    body = {"id": "r", "who": {"id": "cus-1"}, "event": "unsubscribed.digest", "answers": SCORED}
    assert told(read(looking, body)) == [("nps.responded", "cus-1")]


def test_an_opt_out_of_nobody_is_a_dead_letter_and_says_which_element() -> None:
    body = {"list": [{"event": "exported", "user": "cus-1"}, {"event": "unsubscribed"}]}
    adapted = read(SOURCE + 'each = "$.list"\n' + RULE, body)
    assert isinstance(adapted, Accepted)
    ((_, letter),) = adapted.letters
    assert letter == Refused("unusable_id", "[1] customer.suppressed names no customer")


def test_an_opt_out_in_a_list_of_json_is_about_whom_the_rules_look_for() -> None:
    toml = (
        '[[mapping]]\nwhen = { adapter = "json", topic = "nps", event = "exported" }\neach = "$.list"\n'
        'type = "usage.recorded"\nsubject = "$.user"\n'
    )
    body = {"list": [{"event": "exported", "user": "cus-1"}, {"event": "unsubscribed", "user": "cus-2"}]}
    assert told(read(toml, body, None)) == [("usage.recorded", "cus-1"), ("customer.suppressed", "cus-2")]


def test_what_an_adapter_reads_as_opt_out_survives_a_mapping_for_all_json_of_its_topic() -> None:
    toml = '[[mapping]]\nwhen = { adapter = "json", topic = "nps" }\nSUBJECT\nREST\n'
    call = {"type": "track", "event": "Unsubscribed", "userId": "cus-9", "messageId": "m", "user": "cus-1"}
    ignored = toml.replace("REST", "ignore = true").replace("SUBJECT", "")
    assert told(read(ignored, call, None)) == [("customer.suppressed", "cus-9")]
    mapped = toml.replace("REST", 'type = "complaint.made"').replace("SUBJECT", 'subject = "$.user"')
    assert ("customer.suppressed", "cus-9") in told(read(mapped, call, None))
    assert ("complaint.made", "cus-1") in told(read(mapped, call, None))


# ---------------------------------------------------------------------------------------- a mapping for a topic applies

BRAZE = {
    "events": [
        {"id": "i1", "event_type": "users.canvas.Entry", "user": {"external_user_id": "ben"}, "properties": {}},
        {"id": "i2", "event_type": "users.canvas.Entry", "user": {"external_user_id": "ana"}, "properties": {}},
    ]
}
ENTERED = (
    '[[mapping]]\nwhen = { adapter = "json", topic = "nps", event_type = "users.canvas.Entry" }\neach = "$.events"\n'
    'type = "advocacy.asked"\nsubject = "$.user.external_user_id"\nid = "$.id"\n'
    'data = { kind = "other", by = "braze" }\n'
)


def test_a_mapping_for_all_json_of_a_topic_precedes_the_adapter_that_knows_the_shape() -> None:
    assert told(read(ENTERED, BRAZE, None)) == [("advocacy.asked", "ben"), ("advocacy.asked", "ana")]
    assert isinstance(read(ENTERED, BRAZE, None, topic="support"), Skipped)
    assert isinstance(read(ENTERED, BRAZE, "braze"), Skipped)  # whose record it is, a header has said


@rule("I5.1")
def test_a_mapping_that_never_applies_on_its_topic_keeps_a_worker_from_starting() -> None:
    with pytest.raises(ValueError, match=r"mapping mapping\[1\]: never applies on nps, where braze's own payloads"):
        boundary(ENTERED, adapters={"nps": "braze"})
    boundary(ENTERED, adapters={"support": "braze"})


def test_the_start_says_which_mapping_never_applies_and_why(tmp_path: Path) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text(ENTERED)
    given = {"EMAIL_KEY": "k1y2z3k4k5k6k7k8k9", "MAPPINGS_FILE": str(file), "TOPIC_ADAPTERS": "nps=braze"}
    given |= {"KAFKA_BROKERS": "localhost:9092", "REDIS_URL": "redis://localhost:6379/0"}
    settings_ = read_settings({f"REFERRAL_STREAM_{name}": value for name, value in given.items()})
    with pytest.raises(SettingsProblem, match=r"mapping mapping\[1\]: never applies on nps"):
        Deployment(settings_, Policy(), Clock()).check()


# -------------------------------------------------------------------------------------------------------- lists, values


def test_elements_that_share_an_id_are_told_apart_and_those_with_their_own_keep_it() -> None:
    toml = (
        SOURCE
        + 'id = "$root.key"\neach = "$.list[*].of"\n[[mapping]]\nwhen = { adapter = "acme" }\ntype = "complaint.made"\n'
    )
    body = {"key": "k", "list": [{"of": [{"user": "a"}, {"user": "b"}]}, {"of": {"user": "c"}}, {}]}
    assert [event.id for event in accepted(read(toml, body))] == ["k|0", "k|1", "k|2"]
    own = toml.replace('"$root.key"', '"$.user"')
    assert [event.id for event in accepted(read(own, body))] == ["a", "b", "c"]
    without = toml.replace('id = "$root.key"\n', "")
    ids = [event.id for event in accepted(read(without, body))]
    assert len(set(ids)) == 3
    assert ids == [event.id for event in accepted(read(without, body))]


def test_a_list_of_texts_and_a_body_that_is_a_list() -> None:
    toml = SOURCE.replace('"$.mail"', '"$"').replace('subject = "$.user"\n', "") + 'each = "$.left"\n'
    rule = '[[mapping]]\nwhen = { adapter = "acme", "$root.action" = "remove" }\ntype = "customer.suppressed"\n'
    assert told(read(toml + rule, {"action": "remove", "left": [ANA]})) == [("customer.suppressed", BY_ADDRESS)]
    assert told(read(SOURCE + RULE, [{"event": "exported", "user": "a"}, 3, {"event": "exported", "user": "b"}])) == [
        ("usage.recorded", "a"), ("usage.recorded", "b"),
    ]  # fmt: skip


def test_a_field_of_a_list_is_found_by_another_one_beside_it() -> None:
    toml = SOURCE.replace('"$.user"', '"$.fields[name=user id].value"') + RULE
    body = {"event": "exported", "fields": [{"name": "plan", "value": "x"}, {"name": "user id", "value": 7}]}
    assert told(read(toml, body)) == [("usage.recorded", "7")]


@pytest.mark.parametrize(
    ("condition", "value", "matches"),
    [
        ("{ at_least = 9 }", 9, True), ("{ at_least = 9 }", 8.99, False), ("{ above = 9 }", 9, False),
        ("{ above = 9 }", 9.01, True), ("{ at_most = 6 }", 6, True), ("{ at_most = 6 }", 6.01, False),
        ("{ below = 6 }", 6, False), ("{ below = 6 }", 5.99, True), ("{ at_least = 0, below = 7 }", "6", True),
        ("{ at_least = 0, below = 7 }", "7", False), ("{ at_least = 0 }", "many", False),
        ("{ at_least = 0 }", True, False), ("{ at_least = 0 }", None, False), ("{ at_least = 0 }", "inf", False),
    ],
)  # fmt: skip
def test_numbers_are_compared_also_where_they_are_texts(condition: str, value: Any, matches: bool) -> None:
    toml = SOURCE + RULE.replace('event = "exported"', f"n = {condition}")
    assert isinstance(read(toml, {"user": "a", "n": value}), Accepted) is matches


RATED = (
    SOURCE + '[table.faces]\nhappy = "positive"\n5 = "positive"\ntrue = "positive"\nsad = "negative"\n'
    '[[mapping]]\nwhen = { adapter = "acme" }\ntype = "ticket.rated"\ndata.ticket_id = "$.t"\n'
    'data.rating = { path = "$.face", table = TABLE }\n'
)


@pytest.mark.parametrize(
    ("table", "face", "rating"),
    [
        ('"faces"', "happy", "positive"), ('"faces"', 5.0, "positive"), ('"faces"', True, "positive"),
        ('"faces"', "sad", "negative"), ('"faces"', "so so", "negative"), ('"faces"', ["happy"], "negative"),
        ('{ good = "positive", "*" = "negative" }', "fair", "negative"),
        ('{ bad = "negative", "*" = "positive" }', "fair", "positive"),
    ],
)  # fmt: skip
def test_a_table_says_what_a_value_means_and_what_it_does_not_list_is_the_harmless_one(
    table: str, face: Any, rating: str
) -> None:
    event = only(read(RATED.replace("TABLE", table), {"user": "a", "t": "t1", "face": face}))
    assert event.data.model_dump()["rating"] == rating


def test_what_speaks_for_asking_is_refused_for_a_value_that_no_table_lists() -> None:
    toml = SOURCE + (
        '[[mapping]]\nname = "stars"\nwhen = { adapter = "acme" }\ntype = "nps.responded"\n'
        'data.response_id = "$.r"\ndata.score = { path = "$.s", table = { top = 10 } }\n'
    )
    assert only(read(toml, {"user": "a", "r": "r", "s": "top"})).data.score == 10
    said = "mapping stars: data.score: is not in the table"
    assert refused(read(toml, {"user": "a", "r": "r", "s": "tip"})) == Refused("invalid", said)


@pytest.mark.parametrize(
    ("time", "value", "read_as"),
    [
        ('"$.at"', "2026-06-16T07:30:00Z", "2026-06-16T07:30:00.000Z"),
        ('"$.at"', "2026-06-16 00:30:00 -0700", "2026-06-16T07:30:00.000Z"),
        ('"$.at"', "2026-06-16 07:30:00 UTC", "2026-06-16T07:30:00.000Z"),
        ('"$.at"', "Tue, 16 Jun 2026 09:30:00 +0200", "2026-06-16T07:30:00.000Z"),
        ('"$.at"', "1781595000", "2026-06-16T07:30:00.000Z"),
        ('["$.other", "$.at"]', 1781595000123, "2026-06-16T07:30:00.123Z"),
        ('{ path = "$.at", format = "milliseconds" }', "1781595000", "invalid"),
        ('{ path = "$.at", format = "microseconds" }', 1781595000000000, "2026-06-16T07:30:00.000Z"),
        ('{ path = "$.at", zone = "Europe/Berlin" }', "2026-06-16 09:30:00", "2026-06-16T07:30:00.000Z"),
        ('{ path = "$.at", zone = "Europe/Berlin" }', "2026-06-16T07:30:00Z", "2026-06-16T07:30:00.000Z"),
        ('{ path = "$.at", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }', "16.06.2026 09:30",
         "2026-06-16T07:30:00.000Z"),
        ('{ path = "$.at", format = ["%m/%d/%Y %I:%M %p", "rfc2822"], zone = "Europe/Berlin" }', "06/16/2026 9:30 AM",
         "2026-06-16T07:30:00.000Z"),
        ('{ path = "$.at", format = "%d.%m.%Y" }', "06/16/2026",
         "mapping mapping[1]: time: $.at is not in the format %d.%m.%Y"),
        ('"$.at"', "soon", "mapping mapping[1]: time: $.at is no time that can be read without a format"),
    ],
)  # fmt: skip
def test_times(time: str, value: Any, read_as: str) -> None:
    toml = SOURCE + RULE.replace('event = "exported"', "user = { exists = true }") + f"time = {time}\n"
    adapted = read(toml, {"user": "a", "at": value})
    if isinstance(adapted, Refused):
        assert read_as in (adapted.detail, adapted.cause)
    else:
        assert rfc3339(only(adapted).time) == read_as
    suppressed = toml.replace("usage.recorded", "customer.suppressed")
    assert told(read(suppressed, {"user": "a", "at": value})) == [("customer.suppressed", "a")]


def test_a_form_with_a_field_twice_only_protects() -> None:
    toml = SOURCE + 'body = "form"\n' + RULE
    assert told(read(toml, b"event=exported&user=a")) == [("usage.recorded", "a")]
    assert refused(read(toml, b"event=exported&user=a&user=b")).cause == "undecodable"
    assert refused(read(toml, b"event=exported&user=a&user=a")).cause == "undecodable"
    assert told(read(toml, b"event=unsubscribed&user=a&user=b")) == [("customer.suppressed", "a")]
    assert refused(read(SOURCE + RULE, b"event=exported&user=a")).cause == "undecodable"  # it does not say form


# ------------------------------------------------------------------------------------------------------- whatever comes

names = st.sampled_from(["event", "user", "mail", "list", "at", "n", "unsubscribed", "0"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["exported", ANA, "unsubscribed"]
)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))
FUZZED = (
    SOURCE + 'id = { join = ["$.event", "$.n"] }\ntime = { path = "$.at", format = ["%d.%m.%Y", "seconds"] }\nEACH\n'
    + RULE.replace('event = "exported"', "n = { at_least = 0 }")
    + 'data.count = { path = ["$.n", "$root.n"], table = { 1 = 1, "*" = 2 } }\n'
    + '[[mapping]]\nwhen = { adapter = "acme", event = "exported" }\ntype = "nps.responded"\n'
    'data.response_id = { join = ["$.n", "r"] }\ndata.score = { path = "$.list[n=1].n", as = "int" }\n'
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(payload=values, each=st.sampled_from(["", 'each = "$.list"', 'each = "$.list[*].list"']))
def test_no_payload_raises_and_an_unsubscribe_is_never_dropped(payload: Any, each: str) -> None:
    adapted = read(FUZZED.replace("EACH", each), payload)
    assert isinstance(adapted, (Accepted, Skipped, Refused))
    if not each and isinstance(payload, dict):
        left = read(FUZZED.replace("EACH", each), payload | {"event": "unsubscribed", "user": "cus-1", "n": None})
        assert ("customer.suppressed", "cus-1") in told(left)


@settings(max_examples=60, deadline=None)
@given(value=scalars, form=st.sampled_from([(), ("seconds",), ("%d.%m.%Y",), ("rfc2822",), ("rfc3339", "nanoseconds")]))
def test_no_time_raises(value: Any, form: tuple[str, ...]) -> None:
    assert isinstance(Time((("at",),), form, "Europe/Berlin").read({"at": value}, None).made, int | str | None)


def test_numbered_fields_of_a_form_are_a_list() -> None:
    body = urlencode({
        "event": "answered", "user": "cus-1", "answers[0][key]": "why", "answers[0][value]": "slow",
        "answers[10][key]": "other", "answers[10][value]": "1", "answers[2][key]": "likely", "answers[2][value]": "2",
    }).encode()  # fmt: skip
    nps = 'type = "nps.responded"\ndata.response_id = "r"\n'
    selected = SOURCE.replace("[source.acme]\n", '[source.acme]\nbody = "form"\n') + (
        f'[[mapping]]\nwhen = {{ adapter = "acme", event = "answered" }}\n{nps}'
        'data.score = { path = "$.answers[key=likely].value", as = "int" }\n'
    )
    assert only(read(selected, body)).data.score == 2
    each = (
        '[source.acme]\ntopic = "nps"\nbody = "form"\neach = "$.answers"\nsubject = "$root.user"\nid = "$root.event"\n'
        f'[[mapping]]\nwhen = {{ adapter = "acme", key = "likely" }}\n{nps}'
        'data.score = { path = "$.value", as = "int" }\n'
    )
    event = accepted(read(each, body))[0]
    assert (event.data.score, event.id) == (2, "answered|1")


def test_an_event_s_id_holds_no_address() -> None:
    toml = SOURCE + 'id = { join = ["$.event", "$.mail", "$.at"] }\n' + RULE
    sent = {"event": "exported", "user": "cus-1", "mail": ANA, "at": 1_781_593_200}
    first, again = (accepted(read(toml, sent))[0].id for _ in range(2))
    other = accepted(read(toml, sent | {"mail": "ben@customer.com"}))[0].id
    assert first == again != other
    assert "@" not in first
    assert first.startswith("exported:")


@pytest.mark.parametrize("said", ["no, thanks", "NO", "", 0, False, "maybe"])
def test_what_is_not_the_word_of_consent_withdraws_it(said: object) -> None:
    toml = SOURCE + (
        '[[mapping]]\nwhen = { adapter = "acme", "fields[name=Mailing].value" = { exists = true } }\n'
        'type = "customer.consent_changed"\ndata.purpose = "referral_ask"\ndata.channel = "all"\n'
        'data.granted = { path = "$.fields[name=Mailing].value", table = { yes = true, "*" = false } }\n'
    )
    *recognised, event = accepted(read(toml, {"user": "cus-1", "fields": [{"name": "Mailing", "value": said}]}))
    assert (event.type, event.data.granted) == ("customer.consent_changed", False)
    assert all(each.type == "customer.suppressed" for each in recognised), "what reads as an opt-out is one as well"


@pytest.mark.parametrize("name", ["not", "not_in", "regex", "gte"])
def test_a_condition_that_there_is_not_is_a_fault_and_no_field(name: str) -> None:
    rule_of = '[[mapping]]\nwhen = {{ adapter = "acme", {} = "x" }}\ntype = "usage.recorded"\n'
    with pytest.raises(MappingProblem, match="no condition; there are in, exists"):
        boundary(SOURCE + rule_of.format(f"event.{name}"))
    quoted = SOURCE + rule_of.format(f'"event.{name}"')
    assert told(read(quoted, {"user": "a", "event": {name: "x"}})) == [("usage.recorded", "a")]
    assert isinstance(read(quoted, {"user": "a", "event": {name: "y"}}), Skipped)
