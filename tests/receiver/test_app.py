"""The receiver in front of a broker: what is answered with 202 is on its topic, and nothing else is."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from aiohttp import ClientPayloadError, ServerDisconnectedError

from referral_stream.core.instants import MINUTE
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.receiver.signatures import SCHEMES
from tests.receiver.running import BEARER, JSON, MAX_BODY, TOKEN, Running, running, until
from tests.receiver.signing import BODY, NOW, SECRETS, signed_headers
from tests.rules import rule

OPERATORS_TOKEN = "a-token-of-the-operators-0123456789"

EVENT = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "goal.achieved", "subject": "cus-ana"}
BINARY = {f"ce-{name}": value for name, value in EVENT.items()}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLOUD_EVENT = {"Content-Type": "application/cloudevents+json"}


def stripe(at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return signed_headers("stripe", body, at)


async def test_each_vendors_webhook_comes_to_its_topic_as_it_is_with_the_vendors_name(broker: EmbeddedBroker) -> None:
    vendors = sorted(set(SCHEMES) - {"hubspot", "qualtrics"})  # which sign the URL too, or a form: below
    async with running(broker.bootstrap) as receiver:
        named = {"X-HelpScout-Event": "convo.deleted"}  # passed on for the vendor whose event is named there alone
        for vendor in vendors:
            headers = signed_headers(vendor) | named
            assert await receiver.post(f"/webhooks/{vendor}", BODY, headers) == (202, {"accepted": 1})
        assert await receiver.post("/webhooks/posthog", BODY, BEARER) == (202, {"accepted": 1})
        found = await receiver.records()
    assert {(record.topic, dict(record.headers)["referral-source"].decode()) for record in found} == {
        ("billing", "stripe"),
        ("billing", "paddle"),
        ("billing", "recurly"),
        ("billing", "revenuecat"),
        ("support", "zendesk"),
        ("support", "intercom"),
        ("support", "helpscout"),
        ("product-usage", "segment"),
        ("product-usage", "posthog"),
        ("nps", "delighted"),
        ("nps", "typeform"),
        ("nps", "formbricks"),
        ("nps", "survicate"),
        ("nps", "surveymonkey"),
        ("relationship", "customerio"),
        ("relationship", "sendgrid"),
        ("relationship", "klaviyo"),
        ("nps", "wootric"),
    }
    assert {(record.key, record.value) for record in found} == {(None, BODY)}
    assert [dict(record.headers) for record in found if len(record.headers) > 1] == [
        {"referral-source": b"helpscout", "referral-event": b"convo.deleted"}
    ]


async def test_hubspots_signature_is_over_the_url_that_it_called_not_over_ours(broker: EmbeddedBroker) -> None:
    async with running(broker.bootstrap, HTTP_PUBLIC_URL="https://hooks.example.com/in/") as receiver:
        headers = signed_headers("hubspot", url="https://hooks.example.com/in/webhooks/hubspot?a=1")
        assert (await receiver.post("/webhooks/hubspot?a=1", BODY, headers))[0] == 202
        assert (await receiver.post("/webhooks/hubspot?a=2", BODY, headers))[0] == 403


async def test_the_body_is_passed_on_byte_for_byte(broker: EmbeddedBroker) -> None:
    body = b'{ "a":1.0,\n "caf\xc3\xa9": "\\u00e9"}\n'
    async with running(broker.bootstrap) as receiver:
        await receiver.post("/webhooks/stripe", body, stripe(body=body))
        (record,) = await receiver.records()
    assert record.value == body


async def test_mixpanel_reads_in_the_answer_what_it_asked_for(broker: EmbeddedBroker) -> None:
    answers = {
        b'{"action": "add_members", "parameters": {"members": []}}': {"action": "add_members", "status": "success"},
        b'{"action": "erase_all"}': {},
        b'{"action": ["members"]}': {},
        b'["members"]': {},
        b"no JSON": {},
    }
    async with running(broker.bootstrap, WEBHOOK_TOKEN_MIXPANEL=TOKEN) as receiver:
        for body, also in answers.items():
            answer = await receiver.post("/webhooks/mixpanel", body, BEARER)
            assert answer == (202, {"accepted": 1} | also)


async def test_qualtrics_signs_in_its_form(broker: EmbeddedBroker) -> None:
    message = '{"ResponseID":"R_1"}'
    digest = hmac.digest(SECRETS["qualtrics"].encode(), message.encode(), "sha512").hex()
    body = f"Topic=acme.surveyengine.completedResponse.SV_1&HMAC={digest}&MSG={quote(message)}".encode()
    async with running(broker.bootstrap, WEBHOOK_SECRET_QUALTRICS=SECRETS["qualtrics"]) as receiver:
        assert (await receiver.post("/webhooks/qualtrics", body, FORM))[0] == 202
        assert (await receiver.post("/webhooks/qualtrics", body.replace(b"R_1", b"R_2"), FORM))[0] == 403
        assert (await receiver.post("/webhooks/qualtrics", b"{}", JSON))[0] == 401
        (record,) = await receiver.records()
    assert (record.topic, record.value) == ("nps", body)


async def test_a_vendor_who_sends_forms_is_passed_on_likewise(broker: EmbeddedBroker) -> None:
    body = b"response[id]=1&event_name=created&caf%C3%A9=%00"
    headers = signed_headers("wootric", body) | FORM
    async with running(broker.bootstrap) as receiver:
        assert (await receiver.post("/webhooks/wootric", body, headers))[0] == 202
        assert (await receiver.post("/webhooks/stripe", body, stripe(body=body) | FORM))[0] == 415
        (record,) = await receiver.records()
    assert record.value == body


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
async def test_cloud_events_come_to_their_topic(broker: EmbeddedBroker, mode: str) -> None:
    async with running(broker.bootstrap, HTTP_TOPICS="events=profile") as receiver:
        if mode == "binary":
            answer = await receiver.post("/events", b'{"goal": "g"}', BEARER | BINARY)
        else:
            body: Any = EVENT | {"data": {"goal": "g"}}
            media_type = (
                "application/cloudevents+json" if mode == "structured" else "application/cloudevents-batch+json"
            )
            whole = json.dumps(body if mode == "structured" else [body, body | {"id": "e2"}])
            answer = await receiver.post("/events", whole, BEARER | {"Content-Type": f"{media_type}; charset=utf-8"})
        found = await receiver.records()
    assert answer == (202, {"accepted": 2 if mode == "batch" else 1})
    assert {(record.topic, record.key) for record in found} == {("profile", b"cus-ana")}
    assert len(found) == answer[1]["accepted"]
    assert not any("referral-source" in dict(record.headers) for record in found)


REFUSED: list[tuple[str, str, str, bytes, dict[str, str], int, str]] = [
    ("an unknown vendor", "POST", "/webhooks/strype", BODY, stripe(), 404, "no_endpoint"),
    ("a vendor without a credential", "POST", "/webhooks/dittofeed", BODY, BEARER, 404, "no_endpoint"),
    ("events by the vendors' way", "POST", "/webhooks/events", BODY, BEARER, 404, "no_endpoint"),
    ("another path", "POST", "/", BODY, stripe(), 404, "not_found"),
    ("another method", "PUT", "/webhooks/stripe", BODY, stripe(), 405, "method_not_allowed"),
    ("reading events", "GET", "/events", b"", BEARER, 405, "method_not_allowed"),
    ("no signature", "POST", "/webhooks/stripe", BODY, {}, 401, "unsigned"),
    ("a wrong signature", "POST", "/webhooks/stripe", BODY + b" ", stripe(), 403, "forged"),
    ("another vendor's signature", "POST", "/webhooks/zendesk", BODY, stripe(), 401, "unsigned"),
    ("an old request", "POST", "/webhooks/stripe", BODY, stripe(NOW - 6 * MINUTE), 403, "stale"),
    ("a request from the future", "POST", "/webhooks/stripe", BODY, stripe(NOW + 6 * MINUTE), 403, "stale"),
    ("no token", "POST", "/events", json.dumps(EVENT).encode(), CLOUD_EVENT, 401, "unsigned"),
    ("a wrong token", "POST", "/events", b"{}", CLOUD_EVENT | {"Authorization": "Bearer nonsense"}, 403, "forged"),
    ("a vendor's wrong token", "POST", "/webhooks/posthog", BODY, {"Authorization": "Bearer x"}, 403, "forged"),
    ("a form", "POST", "/webhooks/stripe", BODY, stripe() | {"Content-Type": "text/plain"}, 415, "media_type"),
    ("compressed", "POST", "/webhooks/stripe", gzip.compress(BODY), stripe() | {"Content-Encoding": "gzip"}, 415, ""),
    ("plain JSON as an event", "POST", "/events", json.dumps(EVENT).encode(), BEARER, 415, "media_type"),
    (
        "a picture of an event",
        "POST",
        "/events",
        b"x",
        BEARER | BINARY | {"Content-Type": "image/png"},
        415,
        "media_type",
    ),
    ("nothing", "POST", "/webhooks/stripe", b"", stripe(body=b""), 400, "empty"),
    ("no CloudEvent", "POST", "/events", b'{"specversion": "1.0"}', BEARER | CLOUD_EVENT, 400, "not_a_cloud_event"),
]


async def test_what_is_refused_says_why_in_json_and_leaves_no_record(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(broker.bootstrap) as receiver:
        for name, method, path, body, headers, status, error in REFUSED:
            given = {"Content-Type": "application/json"} | headers
            async with receiver.client.request(method, path, data=body, headers=given) as answer:
                told = await answer.json()
            assert (answer.status, answer.content_type) == (status, "application/json"), name
            assert not error or told["error"] == error, name
            assert ("WWW-Authenticate" in answer.headers) == (status == 401), name
        assert await receiver.records() == []
    refusals = [record for record in caplog.records if record.message == "refused"]
    assert [vars(record)["status"] for record in refusals] == [case[5] for case in REFUSED]


async def test_the_largest_body_is_taken_and_one_byte_more_is_not(broker: EmbeddedBroker) -> None:
    async def in_chunks(body: bytes) -> Any:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    async with running(broker.bootstrap) as receiver:
        too_large = {"error": "too_large", "detail": f"at most {MAX_BODY} bytes"}
        for size, told in ((MAX_BODY, (202, {"accepted": 1})), (MAX_BODY + 1, (413, too_large))):
            body = b'"' + b"x" * (size - 2) + b'"'
            assert await receiver.post("/webhooks/stripe", body, stripe(body=body)) == told
            # Without Content-Length the size shows only while it is read.
            assert await receiver.post("/webhooks/stripe", in_chunks(body), stripe(body=body)) == told
        assert len(await receiver.records()) == 2


async def test_the_vendors_who_look_before_they_send_are_answered(broker: EmbeddedBroker) -> None:
    async with running(broker.bootstrap) as receiver:
        for vendor, status in (("intercom", 200), ("surveymonkey", 200), ("dittofeed", 404), ("nobody", 404)):
            for method in ("HEAD", "GET"):
                async with receiver.client.request(method, f"/webhooks/{vendor}") as answer:
                    assert answer.status == status, (vendor, method)


async def test_nothing_of_a_request_gets_into_the_log_or_the_answer(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "referral_stream.receiver")
    secret = b'{"email": "ana@example.com"}'
    async with running(broker.bootstrap) as receiver:
        answers = [
            await receiver.post("/webhooks/stripe", secret, stripe(body=secret)),
            await receiver.post("/webhooks/stripe", secret, stripe()),
            await receiver.post("/webhooks/ana@example.com", secret, stripe(body=secret)),
            await receiver.post("/ana@example.com?ana@example.com", secret, {"Cookie": "ana@example.com"}),
            await receiver.post("/events", secret, BEARER | CLOUD_EVENT),
            await receiver.post("/events", secret, {"Authorization": f"Bearer {TOKEN}-ana@example.com"}),
        ]
        async with receiver.client.get("/live") as answer:
            assert "Server" not in answer.headers
    told = "".join(
        f"{record.getMessage()} {vars(record)}" for record in caplog.records if "aiokafka" not in record.name
    )
    assert "refused" in told
    for leaked in ("ana@", TOKEN):
        assert leaked not in told
        assert leaked not in str(answers)


async def test_no_more_requests_at_once_than_are_allowed(broker: EmbeddedBroker) -> None:
    let_go, arriving = asyncio.Event(), asyncio.Event()

    async def slowly() -> Any:
        yield BODY[:5]
        arriving.set()
        while not let_go.is_set():
            yield b" "
            await asyncio.sleep(0.01)
        yield BODY[5:]

    async with running(broker.bootstrap, requests=2) as receiver:
        write = receiver.writer.write

        async def held_back(records: Any) -> None:
            await let_go.wait()
            await write(records)

        receiver.writer.write = held_back  # type: ignore[method-assign]
        slow = asyncio.create_task(receiver.post("/webhooks/posthog", slowly(), BEARER))
        await arriving.wait()
        held = [asyncio.create_task(receiver.post("/webhooks/stripe", BODY, stripe())) for _ in range(2)]
        await until(lambda: receiver.receiver._in_hand == 3, "three requests are in hand, one of them still arriving")
        await until(lambda: receiver.receiver._places == 2, "two of them are being written")
        async with receiver.client.post("/webhooks/stripe", data=BODY, headers=JSON | stripe()) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        # Those who cannot prove who they are are told so, and wait for no place; a body that is arriving takes none.
        assert (await receiver.post("/webhooks/stripe", BODY))[0] == 401
        assert (await receiver.post("/webhooks/posthog", BODY, {"Authorization": "Bearer x"}))[0] == 403
        let_go.set()
        assert [status for status, _ in await asyncio.gather(*held)] == [202, 202]
        assert (await slow)[0] in (202, 429)  # its place may not have been free yet
        assert (await receiver.post("/webhooks/stripe", BODY, stripe()))[0] == 202
        assert len(await receiver.records()) >= 3


async def test_a_sender_who_breaks_off_gives_its_place_back_and_leaves_no_record(broker: EmbeddedBroker) -> None:
    async def breaking_off() -> Any:
        yield BODY[:5]
        raise ConnectionResetError

    async with running(broker.bootstrap, requests=1) as receiver:
        with pytest.raises((ClientPayloadError, ServerDisconnectedError, ConnectionResetError, OSError)):
            await receiver.post("/webhooks/stripe", breaking_off(), stripe())
        await until(lambda: receiver.receiver._in_hand == 0, "the place is free again")
        assert (await receiver.post("/webhooks/stripe", BODY, stripe()))[0] == 202
        assert len(await receiver.records()) == 1


async def test_a_slow_broker_times_out_and_the_retry_is_accepted(broker: EmbeddedBroker) -> None:
    async with running(broker.bootstrap, ack_seconds=0.5) as receiver:
        assert (await receiver.post("/webhooks/stripe", BODY, stripe()))[0] == 202
        os.kill(broker.pid, signal.SIGSTOP)
        await until(lambda: psutil.Process(broker.pid).status() == psutil.STATUS_STOPPED, "the broker stands still")
        try:
            async with receiver.client.post("/webhooks/stripe", data=BODY, headers=JSON | stripe()) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert (await answer.json())["error"] == "not_written"
            async with receiver.client.get("/ready") as answer:
                assert answer.status == 503
            async with receiver.client.get("/live") as answer:
                assert answer.status == 200
        finally:
            os.kill(broker.pid, signal.SIGCONT)

        async def taken() -> bool:
            return (await receiver.post("/webhooks/stripe", BODY, stripe()))[0] == 202

        await until(taken, "the retry is taken")
        await until(lambda: _is_ready(receiver), "the receiver is ready again")
        # At least once: what could not be acknowledged in time may have been written as well.
        assert len(await receiver.records()) >= 2


async def test_a_batch_is_acknowledged_as_a_whole(broker: EmbeddedBroker) -> None:
    batch = json.dumps([EVENT | {"id": f"e{number}", "subject": f"cus-{number}"} for number in range(20)])
    headers = BEARER | {"Content-Type": "application/cloudevents-batch+json"}
    async with running(broker.bootstrap) as receiver:
        assert await receiver.post("/events", batch, headers) == (202, {"accepted": 20})
        assert len(await receiver.records()) == 20
        broken = json.dumps([EVENT, {"specversion": "1.0"}])
        assert await receiver.post("/events", broken, headers) == (202, {"accepted": 1, "dead_letters": 1})
        assert len(await receiver.records()) == 22
        nothing = json.dumps([{"specversion": "1.0"}])
        assert (await receiver.post("/events", nothing, headers))[0] == 400
        assert len(await receiver.records()) == 22


@rule("I5.2", "I5.3")
async def test_an_operators_word_needs_the_operators_token(broker: EmbeddedBroker) -> None:
    pause = json.dumps(EVENT | {"type": "control.paused", "data": {"scope": "all", "by": "zoe", "why": "incident"}})
    media = {"Content-Type": "application/cloudevents+json"}
    operators = media | {"Authorization": f"Bearer {OPERATORS_TOKEN}"}
    async with running(broker.bootstrap) as receiver:
        assert (await receiver.post("/control", pause, operators))[0] == 404
    async with running(broker.bootstrap, HTTP_CONTROL_TOKEN=OPERATORS_TOKEN) as receiver:
        assert (await receiver.post("/control", pause, media | BEARER))[0] == 403
        status, told = await receiver.post("/events", pause, media | BEARER)
        assert (status, told["error"]) == (403, "wrong_endpoint")
        assert (await receiver.post("/control", json.dumps(EVENT), operators))[0] == 403
        assert (await receiver.post("/webhooks/control", pause, operators))[0] == 404
        assert await receiver.records() == []
        assert await receiver.post("/control", pause, operators) == (202, {"accepted": 1})
        (record,) = await receiver.records()
        assert record.topic.endswith("responses")


async def test_a_receiver_that_drains_is_alive_and_not_ready(broker: EmbeddedBroker) -> None:
    async with running(broker.bootstrap) as receiver:
        assert await _is_ready(receiver)
        await receiver.receiver.drain(10)
        assert not await _is_ready(receiver)
        async with receiver.client.get("/live") as answer:
            assert answer.status == 200
        assert (await receiver.post("/webhooks/stripe", BODY, stripe()))[0] == 202


async def _is_ready(receiver: Running) -> bool:
    async with receiver.client.get("/ready") as answer:
        return bool(answer.status == 200)


async def test_a_source_of_the_mapping_file_is_received_below_mapped_alone(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text('[source.acme]\ntopic = "profile"\nbody = "form"\nsignature = { header = "X-Acme" }\n')
    bearer = {"Authorization": f"Bearer {OPERATORS_TOKEN}"}
    async with running(
        broker.bootstrap,
        MAPPINGS_FILE=str(file),
        WEBHOOK_TOKEN_ACME=OPERATORS_TOKEN,
        WEBHOOK_SECRET_ACME="a-secret-of-ours",
    ) as receiver:
        assert await receiver.post("/mapped/acme", b"a=1", bearer | FORM) == (202, {"accepted": 1})
        signed = {"X-Acme": hmac.digest(b"a-secret-of-ours", BODY, "sha256").hex()}
        assert await receiver.post("/mapped/acme", BODY, signed) == (202, {"accepted": 1})
        parts = bearer | {"Content-Type": "multipart/form-data; boundary=x"}
        status, said = await receiver.post("/mapped/acme", b"--x--", parts)
        assert (status, "or a form as application/x-www-form-urlencoded" in said["detail"]) == (415, True)
        for path, headers, status in (
            ("/mapped/acme", {"X-Acme": "00"}, 403),
            ("/mapped/acme", BEARER, 403),
            ("/mapped/acme", {}, 401),
            ("/webhooks/acme", bearer, 404),
            ("/mapped/posthog", BEARER, 404),
            ("/mapped/events", BEARER, 404),
        ):
            assert (await receiver.post(path, BODY, headers))[0] == status, path
        found = [record for record in await receiver.records() if record.topic == "profile"]
    # On whichever partition each of them lies.
    assert sorted((record.value or b"", dict(record.headers)) for record in found) == [
        (b"a=1", {"referral-source": b"acme"}),
        (BODY, {"referral-source": b"acme"}),
    ]
