"""``referral-stream mapping try`` and ``mapping init``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.cli import main
from referral_stream.contracts.inbound.boundary import Boundary
from referral_stream.contracts.inbound.trial import try_mappings
from referral_stream.contracts.mapping.parsing import parse_mappings
from referral_stream.contracts.mapping.proposing import proposal
from tests.contracts.building import KEY, NOW, accepted, read

ACME = (("referral-source", b"acme"),)

TOML = """
[[mapping]]
name = "exports"
when = { adapter = "segment", event = "Report Exported", properties.plan = { in = ["pro", "team"] } }
type = "workflow.completed"
data.name = "$.properties.report"
"""


def attempt(folder: Path, payload: object, toml: str = TOML, *options: str) -> Result:
    (folder / "mappings.toml").write_text(toml, encoding="utf-8")
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return CliRunner().invoke(main, ["mapping", "try", str(folder / "mappings.toml"), "-", *options], input=text)


def exported(plan: str) -> dict[str, object]:
    properties = {"report": "cash flow", "plan": plan}
    return {"type": "track", "event": "Report Exported", "userId": "u-1", "messageId": "m-1", "properties": properties}


def test_a_match_shows_who_read_it_by_which_mapping_what_from_where_and_the_events(tmp_path: Path) -> None:
    result = attempt(tmp_path, exported("pro"))
    recognised, mapping, *steps = result.output.splitlines()
    event = steps.index("event workflow.completed")
    assert result.exit_code == 0
    assert recognised == "recognised: adapter segment"
    assert mapping == "mapping exports: matches, becomes workflow.completed"
    assert steps[:event] == [
        '    yes $.event is "Report Exported": there is "Report Exported"',
        '    yes $.properties.plan is "pro" or "team": there is "pro"',
        '    data.name = "cash flow" ($.properties.report)',
    ]
    told = json.loads("\n".join(steps[event + 1 :]))
    assert (told["subject"], told["data"]) == ("u-1", {"name": "cash flow"})


def test_a_miss_names_the_condition_and_what_there_is_instead(tmp_path: Path) -> None:
    result = attempt(tmp_path, exported("free"))
    assert "mapping exports: does not match: properties.plan" in result.output.splitlines()
    assert '    NO  $.properties.plan is "pro" or "team": there is "free"' in result.output.splitlines()
    assert result.output.splitlines()[-1].startswith("skipped: irrelevant")


def test_what_becomes_no_event_ends_with_1_and_the_reason(tmp_path: Path) -> None:
    result = attempt(tmp_path, {"hello": "world"})
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "recognised: a JSON object from no known vendor (adapter json)",
        "no mapping names this adapter",
        "not looked at: exports (adapter segment): try it with --source segment",
        "dead letter: unrecognised: neither a CloudEvent nor a webhook of a vendor we know",
    ]


def test_an_event_of_the_contract_is_said_to_need_no_mapping(tmp_path: Path) -> None:
    event = {"specversion": "1.0", "type": "goal.achieved", "subject": "a", "data": {"goal": "g"}}
    lines = attempt(tmp_path, event).output.splitlines()
    assert lines[0] == "recognised: nothing that mappings apply to"
    assert "event goal.achieved" in lines


SOURCE = """
[source.acme]
topic = "nps"
body = "form"
each = "$.events"
subject = ["$.id", "$.user"]
time = { path = "$.at", format = "%d.%m.%Y", zone = "Europe/Berlin" }
[[mapping]]
name = "rated"
when = { adapter = "acme", stars = { at_least = 1 } }
type = "ticket.rated"
data.ticket_id = { path = "$.ticket", default = "t0" }
data.rating = { path = "$.stars", table = { 5 = "positive" } }
"""


def test_the_steps_of_a_source_are_shown_for_each_element(tmp_path: Path) -> None:
    """The only source of a file is where the payload comes from; what cannot be read says why."""
    events = [{"user": "ana@customer.com", "at": "16.06.2026", "stars": "4"}, {"id": 7, "stars": "none"}]
    lines = attempt(tmp_path, {"events": events}, SOURCE).output.splitlines()
    assert lines[:14] == [
        "recognised: source acme, 2 notifications",
        "[0] mapping rated: matches, becomes ticket.rated",
        '    yes $.stars is at least 1: there is "4"',
        '    subject = "ana@customer.com" ($.user)',
        "    check: an address as id travels on as it is: write link.email, unless your ids are addresses",
        '    time = 2026-06-15T22:00:00.000Z ($.at from "16.06.2026")',
        '    data.ticket_id = "t0" (the default: nothing at $.ticket)',
        '    data.rating = UNREADABLE: $.stars is "4", which is not in the table',
        "[1] mapping rated: does not match: stars",
        '    NO  $.stars is at least 1: there is "none"',
        "event ticket.rated",
        "{",
        '  "data": {',
        '    "rating": "negative",',
    ]


def test_a_rule_that_is_for_another_topic_or_whose_list_is_missing_says_so(tmp_path: Path) -> None:
    toml = (
        '[[mapping]]\nname = "a"\nwhen = { adapter = "json", topic = "nps" }\neach = "$.list"\n'
        'type = "complaint.made"\nsubject = "$.user"\n'
    )
    lines = attempt(tmp_path, {"user": "u"}, toml).output.splitlines()
    assert lines[1:3] == ["mapping a: does not match: topic", "    NO  it is for nps: try it with --topic nps"]
    lines = attempt(tmp_path, {"user": "u"}, toml, "--topic", "nps").output.splitlines()
    assert lines[1:3] == ["mapping a: does not match: each", "    NO  there is no list, or an empty one, at $.list"]
    call = {"type": "track", "event": "Signed In", "userId": "u", "messageId": "m", "list": [{"user": "v"}]}
    lines = attempt(tmp_path, call, toml.replace(', topic = "nps"', "")).output.splitlines()
    assert 'name the topic (when.topic = "product-usage")' in lines[2]
    lines = attempt(tmp_path, call, toml, "--topic", "nps").output.splitlines()
    assert lines[:2] == [
        "recognised: JSON on nps, which mappings name (adapter json)",
        "[0] mapping a: matches, becomes complaint.made",
    ]


_WHOLE = "For a field of that name, write the whole path in quotes"


def test_a_fault_names_line_key_and_remedy(tmp_path: Path) -> None:
    result = attempt(tmp_path, {}, SOURCE.replace("at_least", "at_lest").replace("Berlin", "Berlim"))
    assert result.exit_code == 2
    assert result.output.replace(str(tmp_path), "").split("\n") == [
        "Error: /mappings.toml:7: source.acme: time.zone: no such time zone; did you mean 'Europe/Berlin'?",
        f"/mappings.toml:10: rated: when.stars.at_lest: did you mean 'at_least'? {_WHOLE}",
        "",
    ]


# ---------------------------------------------------------------------------------------------------------------- init


def proposed(folder: Path, *payloads: bytes, name: str = "acme") -> tuple[Path, list[str]]:
    """The file that is proposed for these samples, and the samples' own."""
    files = []
    for number, payload in enumerate(payloads):
        files.append(str(folder / f"sample-{number}"))
        Path(files[-1]).write_bytes(payload)
    result = CliRunner().invoke(main, ["mapping", "init", *files, "--name", name])
    assert result.exit_code == 0, result.output
    toml = folder / "proposed.toml"
    toml.write_text(result.output, encoding="utf-8")
    return toml, files


def test_a_proposal_reads_the_samples_that_it_was_made_from(tmp_path: Path) -> None:
    events = [
        {
            "id": "e1",
            "event_type": "email.unsubscribed",
            "created": "16.06.2026 09:28",
            "user": {"user_id": "cus-1", "email": "ana@customer.com"},
        },
        {
            "id": "e2",
            "event_type": "nps.answered",
            "created": "16.06.2026 09:29",
            "user": {"user_id": "cus-2", "email": "ben@customer.com"},
            "response": {"id": "r1", "score": "9", "comment": "Great support"},
        },
        {"id": "e3", "event_type": "page.viewed", "created": "16.06.2026 09:30", "user": {"user_id": "cus-2"}},
    ]
    toml, files = proposed(tmp_path, json.dumps({"events": events}).encode())
    text = toml.read_text()
    assert "ana@customer.com" not in text
    assert "Great support" not in text
    assert "# Not known. To map it" in text
    result = CliRunner().invoke(main, ["mapping", "try", str(toml), *files])
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if line.startswith("event ")]
    assert told == [
        "event customer.suppressed",
        "event customer.linked",
        "event nps.responded",
        "event customer.linked",
    ]
    assert "time = 2026-06-16T09:28:00.000Z" in result.output


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (b"response[id]=5&response[email]=ana%40customer.com&response[score]=9&event_name=created", ["nps.responded"]),
        (b"Topic=a.completedResponse.b&MSG=%7B%22ResponseID%22%3A%22R%22%2C%22Score%22%3A9%2C%22userId%22%3A%22u%22%7D",
         ["nps.responded"]),
        (b'{"type": "subscription.cancelled", "customer": {"id": "c"}, "subscription": {"id": "s"}}',
         ["subscription.ended"]),
        (b'{"type": "invoice.payment_failed", "customer_id": "c", "invoice": {"id": 7}}', ["invoice.payment_failed"]),
        (b'{"event": "ticket.created", "userId": "u", "ticket": {"id": "t"}}', ["ticket.opened"]),
        (b'{"event": "contact.bounced", "mail": "ana@customer.com"}', ["customer.suppressed"]),
        (b'{"score": 10, "user_id": "u", "id": "r", "at": 1781595000}\n{"score": 2, "user_id": "v", "id": "q"}\n',
         ["nps.responded"]),
        (b'[{"event": "refund.issued", "uid": "u", "charge": {"id": "c"}}]', ["charge.refunded"]),
        (b'{"specversion": "1.0", "id": "1", "type": "x.ticket.solved", "subject": "u", "data": {"ticket_id": "t"}}',
         ["ticket.solved"]),
    ],
)  # fmt: skip
def test_what_a_sample_seems_to_be_is_proposed(tmp_path: Path, payload: bytes, events: list[str]) -> None:
    toml, files = proposed(tmp_path, payload)
    result = CliRunner().invoke(main, ["mapping", "try", str(toml), *files])
    if payload.count(b"\n") < 2:
        assert result.exit_code == 0, (toml.read_text(), result.output)
        told = [line.removeprefix("event ") for line in result.output.splitlines() if line.startswith("event ")]
        assert told[: len(events)] == events
    else:  # lines of JSON are samples, and no payload
        assert f'type = "{events[0]}"' in toml.read_text()


def test_a_vendor_that_has_an_adapter_is_named(tmp_path: Path) -> None:
    toml, _ = proposed(tmp_path, json.dumps(exported("pro")).encode())
    assert "# The adapter segment reads such payloads already" in toml.read_text()


@pytest.mark.parametrize(
    ("payload", "options", "said"),
    [
        (b"", (), "is empty"),
        (b"{", (), "neither JSON"),
        (b"17", (), "holds no JSON object"),
        (b"{}", (), "holds no JSON object"),
        (b'{"a": 1}', ("--name", "A B"), "is no name for a source"),
        (b'{"a": 1}', ("--name", "events"), "is no name for a source"),
        (b'{"a": 1}', ("--name", "stripe"), "is no name for a source"),
        (b'{"a": 1}', ("--topic", "nsp"), "did you mean 'nps'?"),
    ],
)
def test_what_cannot_be_proposed_is_said(tmp_path: Path, payload: bytes, options: tuple[str, ...], said: str) -> None:
    sample = tmp_path / "sample"
    sample.write_bytes(payload)
    result = CliRunner().invoke(main, ["mapping", "init", str(sample), *options])
    assert result.exit_code == 2
    assert said in result.output


names = st.sampled_from(
    ["event", "type", "user_id", "email", "score", "id", "at", "events", "data", "a'b", 'q"\\', "\x7f", "\u2028", ""]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
words = st.sampled_from(["unsubscribed", "a@b.com", '{"a": 1}', "16.06.2026", "nps", "2026-06-16T07:30:00Z"])
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner, max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(payload=st.dictionaries(names | texts, values, min_size=1, max_size=4))
def test_whatever_the_sample_the_file_is_sound_and_reads_it(payload: dict[str, Any]) -> None:
    text = proposal([("sample", orjson.dumps(payload))])
    mappings = parse_mappings(text.encode())
    assert try_mappings(orjson.dumps(payload), Boundary(email_key=KEY, mappings=mappings), NOW, source="acme").readers


def test_a_bad_file_ends_with_2_and_all_its_faults(tmp_path: Path) -> None:
    result = attempt(tmp_path, {}, '[[mapping]]\nwhen = { adapter = "segment" }\ntype = "goal.achived"\n')
    assert result.exit_code == 2
    assert result.output.strip().endswith("mapping[1]: type: unknown; did you mean 'goal.achieved'?")


def test_a_payload_that_is_no_json_ends_with_2(tmp_path: Path) -> None:
    result = attempt(tmp_path, "{")
    assert result.exit_code == 2
    assert "not JSON" in result.output


def test_payloads_in_lines_and_behind_a_byte_order_mark_are_tried_as_they_are_proposed_from(tmp_path: Path) -> None:
    lines = f"\ufeff{json.dumps(exported('pro'))}\n\n{json.dumps(exported('free'))}\n"
    result = attempt(tmp_path, lines)
    assert [line for line in result.output.splitlines() if line.startswith("<stdin>")] == ["<stdin>:1", "<stdin>:2"]
    assert "workflow.completed" in result.output
    assert result.exit_code == 1


def test_a_topic_that_there_is_not_ends_with_2(tmp_path: Path) -> None:
    result = attempt(tmp_path, exported("pro"), TOML, "--topic", "npss")
    assert result.exit_code == 2
    assert "no input topic 'npss'; did you mean 'nps'?" in result.output


def test_a_replay_reads_with_mappings_too(tmp_path: Path) -> None:
    (tmp_path / "mappings.toml").write_text(TOML, encoding="utf-8")
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"topic": "product-usage", "timestamp": 1_781_596_800_000, "value": exported("pro")}))
    toml = tmp_path / "ignore.toml"
    toml.write_text('[[mapping]]\nwhen = { adapter = "segment" }\nignore = true\n', encoding="utf-8")

    def events(mappings: Path) -> str:
        options = ["--mappings", str(mappings), "--output", str(tmp_path / "out")]
        result = CliRunner().invoke(main, ["replay", str(log), *options])
        assert result.exit_code == 0, result.output
        return result.output.splitlines()[0]

    assert "1 event," in events(tmp_path / "mappings.toml")
    assert "0 events" in events(toml)


def test_paths_and_questions_of_the_file_count_in_a_trial(tmp_path: Path) -> None:
    response = {
        "data": {"id": "r-1", "contact": {"id": "c"}, "data": {"joy": 4, "team": "acme"}},
        "event": "responseFinished",
    }
    toml = '[customer_paths]\nformbricks = ["data.data.team"]\n[questions.formbricks]\njoy = "csat/5"\n'
    _, _, event, *body = attempt(tmp_path, response, toml).output.splitlines()
    link = body.index("event customer.linked")
    told, linked = json.loads("\n".join(body[:link])), json.loads("\n".join(body[link + 1 :]))
    assert (event, told["subject"]) == ("event csat.responded", "acme")
    assert told["data"] == {"response_id": "r-1:joy", "score": 4.0, "scale_max": 5.0}
    assert linked["data"] == {"kind": "formbricks_contact", "value": "c"}


def test_a_dead_letter_beside_events_ends_with_1(tmp_path: Path) -> None:
    toml = (
        '[source.acme]\ntopic = "nps"\nsubject = "$.user"\nlink.email = "$.mail"\n'
        '[[mapping]]\nwhen = { adapter = "acme", event = "answered" }\ntype = "nps.responded"\n'
        'data.response_id = "$.id"\ndata.score = "$.score"\n'
    )
    sent = {"event": "answered", "user": "cus-1", "mail": "ana@customer.com", "id": "r-1"}
    result = attempt(tmp_path, sent, toml)
    assert "dead letter: invalid: score: Field required" in result.output
    assert "event customer.linked" in result.output
    assert result.exit_code == 1
    assert attempt(tmp_path, sent | {"score": 2}, toml).exit_code == 0


@pytest.mark.parametrize("kind", ["account_deleted", "contact.removed", "person anonymized", "data.deletion"])
def test_who_may_be_gone_is_left_in_peace_by_a_proposal(kind: str) -> None:
    text = proposal([("sample", orjson.dumps({"event": kind, "user_id": "u-1"}))])
    assert 'type = "customer.suppressed"' in text
    assert "customer.erasure_requested" in text


def of_samples(*payloads: dict[str, Any]) -> str:
    """What is proposed for these."""
    return proposal([(f"sample {number}", orjson.dumps(each)) for number, each in enumerate(payloads)])


def test_no_rule_is_proposed_for_whatever_else_a_vendor_sends() -> None:
    text = of_samples({"user_id": "u-1", "plan": "pro"})
    assert "\nignore = true" not in text
    assert "\n[[mapping]]" not in text
    assert "# [[mapping]]" in text
    given = Boundary(email_key=KEY, mappings=parse_mappings(text.encode()))
    adapted = read({"event": "contact.unsubscribed", "user_id": "u-1"}, boundary=given, headers=ACME)
    assert [event.type for event in accepted(adapted)] == ["customer.suppressed"]


@pytest.mark.parametrize("name", ["formId", "website_id", "conversation_id", "message_id", "webhook_id"])
def test_only_what_is_called_the_event_s_id_is_proposed_as_one(name: str) -> None:
    text = of_samples({"event": "ticket.created", name: "x-1", "user_id": "u-1"})
    assert "# id = ...   # none found" in text
    assert f'data.ticket_id = "$.{name}"' not in text


def test_what_repeats_in_samples_that_differ_is_no_event_s_id() -> None:
    same = [{"event": f"ticket.{word}", "id": 7, "user_id": "u-1"} for word in ("created", "closed")]
    text = of_samples(*same)
    assert "# id = ...   # none found" in text
    assert 'data.ticket_id = "$.id"' in text
    text = of_samples(same[0], same[1] | {"id": 8})
    (own,) = [line for line in text.splitlines() if line.startswith("id = ")]
    assert own.startswith('id = "$.id"')
    assert "check" in own
    assert 'data.ticket_id = "$.id"' not in text


def test_what_happened_is_where_samples_differ() -> None:
    text = of_samples(*({"event": "webhook", "type": f"ticket.{word}", "user_id": "u-1"} for word in ("new", "closed")))
    assert 'event = "$.type"' in text


@pytest.mark.parametrize("other", ["actor", "assignee", "teammate", "agent", "owner", "commit", "from"])
def test_nobody_is_taken_for_the_customer_who_is_called_something_else(other: str) -> None:
    agent = {"user_id": "a-1", "company_id": "ours", "email": "agent@ours.com"}
    text = of_samples({"event": "ticket.created", other: agent, "who": {"contact_id": "u-1", "mail": "ana@firm.com"}})
    head = text.partition("[[mapping]]")[0]
    assert 'subject = "$.who.contact_id"' in head
    assert 'link.email = "$.who.mail"' in head
    assert f"$.{other}." not in head
    assert all("check" in line for line in head.splitlines() if line.startswith(("subject", "link", "account")))


def test_what_stands_aside_is_looked_at_last() -> None:
    aside = {"user_id": "u-9"}
    assert 'subject = "$.who.contact_id"' in of_samples({"event": "x", "meta": aside, "who": {"contact_id": "u-1"}})
    assert 'subject = "$.meta.user_id"' in of_samples({"event": "x", "meta": aside})


def test_a_score_in_a_list_is_found_by_its_key_and_never_by_its_position() -> None:
    fields = [{"key": "question_a", "value": "Ana"}, {"key": "question_b", "value": 9}]
    asked = {"eventType": "nps_response", "user_id": "u-1"}
    text = of_samples(asked | {"data": {"responseId": "r-1", "fields": fields}})
    assert 'data.score = { path = "$.data.fields[key=question_b].value"' in text
    text = of_samples(asked | {"data": {"fields": [{"label": "x", "value": 9}]}})
    assert "$.data.fields[0]" not in text.partition("# What else")[0]


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("payment.charged_back", "charge.disputed"), ("complained", "customer.suppressed"),
        ("cleaned", "customer.suppressed"), ("review.published", "review.posted"), ("review_created", "review.posted"),
    ],
)  # fmt: skip
def test_what_an_event_is_called_is_understood(kind: str, becomes: str) -> None:
    text = of_samples({"event": kind, "user_id": "u-1", "rating": 4, "fired": "2026-06-16T09:28:20Z"})
    assert f'type = "{becomes}"' in text
    assert 'time = "$.fired"' in text


@pytest.mark.parametrize("name", ["emitted_at", "firedAt", "BouncedAt"])
def test_when_it_was_told_is_taken_before_when_something_was_made(name: str) -> None:
    made = "2026-06-01T09:28:20Z"
    text = of_samples({"event": "x", "user_id": "u-1", "created_at": made, name: "2026-06-16T09:28:20Z"})
    assert f'time = "$.{name}"' in text


def test_a_time_without_a_zone_is_proposed_with_one_to_check() -> None:
    text = proposal([("sample", b'{"event": "exported", "user_id": "u-1", "changed_at": "2026-06-16 09:28:20"}')])
    assert 'time = { path = "$.changed_at", zone = "UTC" }' in text
