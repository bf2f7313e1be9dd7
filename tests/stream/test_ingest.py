"""The ingest step: canonical events keyed by customer, switches to the ledger, what is unusable to the dead letters."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr

from referral_stream.contracts.codec import decode_effect
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import ContactTold
from referral_stream.core.policy import Policy
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from referral_stream.stream.ingest import Ingest
from tests.rules import rule
from tests.stream.records import Consumed

ARRIVAL = 1_781_596_800_000
BOUNDARY = Boundary(email_key=b"k" * 16)


class Stopped(Clock):
    def __init__(self, now: int) -> None:
        super().__init__()
        self.stopped_at = now

    def now(self) -> int:
        return self.stopped_at


def unread(table: str, key: bytes) -> None:
    raise AssertionError(f"ingest has no table {table}, {key!r}")


def cloud_event(kind: str, subject: str | None, **data: object) -> bytes:
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "tests",
        "type": kind,
        "data": data,
        "time": "2026-06-16T08:00:00Z",
    }
    return json.dumps(event | ({"subject": subject} if subject else {})).encode()


def run(
    *values: bytes | None, topic: str = "nps"
) -> tuple[Ingest, list[tuple[str, bytes | None, dict[str, bytes | None]]]]:
    ingest = Ingest(Topics(), BOUNDARY, Stopped(ARRIVAL))
    records = [Consumed(topic, 2, 7 + n, ARRIVAL - 50, b"any key", value) for n, value in enumerate(values)]
    result = ingest(2, records, unread)
    return ingest, [(o.topic, o.key, dict(o.headers)) for o in (*result.first, *result.outputs)]


@rule("10.1")
def test_an_event_is_keyed_by_customer_whatever_its_source_key_and_stamped_with_its_arrival() -> None:
    _, outputs = run(cloud_event("goal.achieved", "cus-ana", goal="x"))
    assert outputs == [("customer-events", b"cus-ana", {"now": b"%d" % ARRIVAL})]


def test_a_switch_goes_to_the_ledger() -> None:
    _, outputs = run(cloud_event("control.paused", None, scope="all", by="zoe", why="incident"), topic="responses")
    assert [topic for topic, _, _ in outputs] == ["ledger-requests"]


def a_referral(contact: dict[str, object], **data: object) -> bytes:
    return cloud_event("referral.given", "cus-ana", referral_id="ref-1", contact={"ref": "c-1"} | contact, **data)


@rule("A5.5")
def test_a_name_is_told_under_the_referrals_id_before_the_event_is_appended() -> None:
    named = a_referral({"name": "Milton", "consented": True})
    ingest, outputs = run(cloud_event("goal.achieved", "cus-ben", goal="x"), named, topic="responses")
    stamp = {"now": b"%d" % ARRIVAL}
    assert outputs == [
        ("referral-contacts", b"ref-1", stamp),
        ("customer-events", b"cus-ben", stamp),
        ("customer-events", b"cus-ana", stamp),
    ]
    (told,) = ingest(2, [Consumed("responses", 2, 7, ARRIVAL, b"k", named)], unread).first
    assert decode_effect(told.value or b"") == ContactTold(
        referral_id="ref-1", customer_id="cus-ana", name="Milton", told_at=ARRIVAL
    )
    again = ingest(2, [Consumed("responses", 2, 7, ARRIVAL, b"k", named)], unread).first
    assert again == [told], "what a crash repeats is the same record"


@rule("A5.5")
def test_without_consent_the_event_is_all_that_is_written() -> None:
    _, outputs = run(a_referral({"name": "Milton", "consented": False}), topic="responses")
    assert [topic for topic, _, _ in outputs] == ["customer-events"]


def test_a_refused_referral_is_a_letter_with_all_that_it_said_and_nobody_is_told() -> None:
    value = cloud_event("referral.given", "cus-ana", contact={"ref": "c-1", "name": "Milton", "consented": True})
    ingest, outputs = run(value, topic="responses")
    assert [topic for topic, _, _ in outputs] == ["dead-letters"]
    assert ingest(2, [Consumed("responses", 2, 7, ARRIVAL, b"k", value)], unread).outputs[0].value == value


@rule("I3.2")
def test_an_alias_is_a_fact_about_its_subject_like_any_other() -> None:
    _, outputs = run(
        cloud_event("goal.achieved", "anonymous-7", goal="x"),
        cloud_event("customer.aliased", "cus-ana", alias="anonymous-7"),
        cloud_event("goal.achieved", "anonymous-7", goal="x"),
        topic="profile",
    )
    assert [(topic, key) for topic, key, _ in outputs] == [
        ("customer-events", b"anonymous-7"),
        ("customer-events", b"cus-ana"),
        ("customer-events", b"anonymous-7"),
    ]


def test_bad_records_become_dead_letters_between_good_ones() -> None:
    good = cloud_event("goal.achieved", "cus-ana", goal="x")
    ingest, outputs = run(good, b"\xff", cloud_event("ticket.opened", None, ticket_id="t"), good)

    assert [topic for topic, _, _ in outputs] == ["customer-events", "dead-letters", "dead-letters", "customer-events"]
    assert [headers["source-offset"] for topic, _, headers in outputs if topic == "dead-letters"] == [b"8", b"9"]
    assert ingest.counts == {"accepted": 2, "refused_undecodable": 1, "refused_unusable_id": 1}


@rule("I1.3")
def test_what_a_body_holds_that_cannot_be_used_is_a_letter_beside_the_events_of_the_rest() -> None:
    calls = [{"type": "track", "event": "Unsubscribed", "userId": user} for user in ("null", "cus-ana")]
    ingest, outputs = run(json.dumps({"batch": calls}).encode())

    assert [(topic, headers.get("element")) for topic, _, headers in outputs] == [
        ("customer-events", None),
        ("dead-letters", b"0"),
    ]
    assert ingest.counts == {"accepted": 1, "refused_unusable_id": 1}


@rule("I4.6")
def test_what_names_a_link_goes_to_the_links_key() -> None:
    event = {**json.loads(cloud_event("ticket.opened", None, ticket_id="t")), "link": "hubspot_ticket:7"}
    _, outputs = run(json.dumps(event).encode())
    assert [(topic, key) for topic, key, _ in outputs] == [("customer-events", b"~hubspot_ticket:7")]


def test_an_unknown_type_is_counted_and_skipped() -> None:
    ingest, outputs = run(cloud_event("weather.changed", "cus-ana"))
    assert outputs == []
    assert ingest.counts == {"skipped_unknown_type": 1}


def test_the_brokers_timestamps_follow_the_clock_seam() -> None:
    started = 1_000_000
    ingest = Ingest(Topics(), BOUNDARY, Clock(ARRIVAL, started))
    without_time = json.dumps(
        {"specversion": "1.0", "id": "e", "source": "s", "type": "goal.achieved", "subject": "a", "data": {"goal": "x"}}
    ).encode()
    result = ingest(0, [Consumed("nps", 0, 0, started + 5_000, None, without_time)], unread)

    assert json.loads(result.outputs[0].value or b"")["time"] == "2026-06-16T08:00:05.000Z"


def test_a_deployment_reads_payloads_as_its_mapping_file_says(tmp_path: Path) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text('[customer_paths]\nsegment = ["context.tenant"]\n', encoding="utf-8")
    settings = Settings(email_key=SecretStr("a key for the tests"), mappings_file=file)
    deployment = Deployment(settings, Policy(), Stopped(ARRIVAL))
    ingest = Ingest(deployment.topics, deployment.boundary, deployment.clock)
    call = {"type": "track", "event": "Onboarding Completed", "userId": "u-1", "context": {"tenant": "t-9"}}
    outputs = ingest(0, [Consumed("nps", 0, 1, ARRIVAL, None, json.dumps(call).encode())], unread).outputs
    assert {(output.topic, output.key) for output in outputs} == {("customer-events", b"t-9")}
