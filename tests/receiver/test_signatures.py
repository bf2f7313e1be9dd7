"""Signatures: the vendors' published examples verify, and nothing that was changed does."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from multidict import CIMultiDict

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.core.instants import SECOND
from referral_stream.receiver.signatures import REPLAY_WINDOW, SCHEMES, SignatureVerdict, Signed
from tests.receiver.signing import BODY, NOW, OTHER_SENDGRID, SECRETS, SIGNERS, TIMED, URL, signed_headers, verdict

VENDORS = sorted(set(SCHEMES) - {"qualtrics"})
"""Whose signature is in a header, whatever the body; Qualtrics' is in the body."""


UNSIGNED = {
    "posthog", "dittofeed", "chargebee", "freshdesk", "gorgias", "braze", "asknicely", "satismeter", "rudderstack",
    "amplitude", "mixpanel",
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """An example that somebody else computed, and where."""

    vendor: str
    source: str
    secret: str
    body: bytes
    headers: dict[str, str]
    now: int = NOW
    url: str = URL


PUBLISHED = (
    Published(
        "formbricks",
        "Standard Webhooks, the vector of its reference libraries",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1_614_265_330_000,
    ),
    Published(
        "hubspot",
        "HubSpot/hubspot-api-python, tests/spec/utils/test_signature.py",
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        b"{'example_field':'example_value'}",
        {
            "X-HubSpot-Signature-v3": "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
            "X-HubSpot-Request-Timestamp": "15000000",
        },
        now=15_000_000,
        url="https://www.example.com/webhook_uri",
    ),
    Published(
        "zendesk",
        "an independent implementation's vector, under Zendesk's published test secret",
        "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
        b'{"event":"ticket.updated","id":123}',
        {
            "X-Zendesk-Webhook-Signature": "S/RDdU2ERmj7LHDDoWJ2onPYH+t7/f2+LTM4dL7UiLM=",
            "X-Zendesk-Webhook-Signature-Timestamp": "2021-03-25T05:09:27Z",
        },
        now=1_616_648_967_000,
    ),
    Published(
        "paddle",
        "PaddleHQ/paddle-python-sdk, tests/Unit/Notification/test_Verifier.py",
        "pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
        b"hello-world",
        {
            "Paddle-Signature": (
                "ts=1696195954;h1=dummy;h1=d96299976a6eb066f484d7fde011ac56fc32b38fc9940bc419d6e537fdc6ef02"
            )
        },
        now=1_696_195_954_000,
    ),
    Published(
        "sendgrid",
        "sendgrid/sendgrid-python, test/unit/test_eventwebhook.py",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglS"
        "I8eNEc6wEA3F+g==",
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n',
        {
            "X-Twilio-Email-Event-Webhook-Signature": "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+"
            "uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
            "X-Twilio-Email-Event-Webhook-Timestamp": "1600112502",
        },
    ),
    Published(
        "delighted",
        "GitHub's test values for the same scheme (sha256= and hex)",
        "It's a Secret to Everybody",
        b"Hello, World!",
        {"X-Delighted-Webhook-Signature": ("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")},
    ),
    Published(
        "survicate",
        "RFC 4231, test case 2: HMAC-SHA256 in hex",
        "Jefe",
        b"what do ya want for nothing?",
        {"Hmac": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    ),
    Published(
        "typeform",
        "RFC 4231, test case 2, in base64",
        "Jefe",
        b"what do ya want for nothing?",
        {"Typeform-Signature": "sha256=W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="},
    ),
    Published(
        "segment",
        "RFC 2202, test case 2: HMAC-SHA1 in hex",
        "Jefe",
        b"what do ya want for nothing?",
        {"X-Signature": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    ),
    Published(
        "intercom",
        "RFC 2202, test case 2",
        "Jefe",
        b"what do ya want for nothing?",
        {"X-Hub-Signature": "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    ),
    Published(
        "helpscout",
        "RFC 2202, test case 2, in base64",
        "Jefe",
        b"what do ya want for nothing?",
        {"X-HelpScout-Signature": "7/zfauXrL6LSdBbV8YTfnCWafHk="},
    ),
    Published(
        "wootric",
        "RFC 2202, test case 2",
        "Jefe",
        b"what do ya want for nothing?",
        {"X-Wootric-Signature": "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    ),
)


@pytest.mark.parametrize("example", PUBLISHED, ids=[example.vendor for example in PUBLISHED])
def test_a_published_example_verifies(example: Published) -> None:
    scheme = SCHEMES[example.vendor]
    request = Signed("POST", example.url, CIMultiDict(example.headers), example.body)
    assert scheme.verify(request, scheme.key(example.secret), example.now) is SignatureVerdict.AUTHENTIC


def test_every_vendor_signs_or_is_known_to_sign_nothing() -> None:
    assert set(BY_NAME) - set(SCHEMES) == UNSIGNED
    assert set(SIGNERS) == set(VENDORS)


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_the_vendor_signed_is_authentic(vendor: str) -> None:
    assert verdict(vendor, signed_headers(vendor)) is SignatureVerdict.AUTHENTIC


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_changed_body_is_forged(vendor: str, subtests: pytest.Subtests) -> None:
    for body in (BODY + b" ", BODY[:-1], BODY.replace(b"evt_1", b"evt_2"), b""):
        with subtests.test(body.decode()):
            assert verdict(vendor, signed_headers(vendor), body) is SignatureVerdict.FORGED


@pytest.mark.parametrize("vendor", VENDORS)
def test_another_secret_is_forged(vendor: str) -> None:
    other = {"formbricks": "whsec_AAAAAAAAAAAAAAAAAAAAAAAA", "surveymonkey": "client-id&another-secret"}
    other |= {"sendgrid": OTHER_SENDGRID}
    headers = signed_headers(vendor, secret=other.get(vendor, "another secret"))
    assert verdict(vendor, headers) is SignatureVerdict.FORGED


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_request_without_the_signature_is_unsigned(vendor: str) -> None:
    assert verdict(vendor, {}) is SignatureVerdict.UNSIGNED


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_garbled_signature_is_forged_and_never_an_error(vendor: str, subtests: pytest.Subtests) -> None:
    header = SCHEMES[vendor].header or ""
    assert header is not None
    for garbage in ("", "=", "sha256=", "sha1=zz", "v1,", "t=1,v1=", "ä" * 40, "%00", "t=1,t=2,v1=00"):
        with subtests.test(garbage):
            headers = signed_headers(vendor) | {header: garbage}
            assert verdict(vendor, headers) is SignatureVerdict.FORGED


@pytest.mark.parametrize("vendor", sorted(TIMED))
@pytest.mark.parametrize(
    ("off", "told"),
    [
        (REPLAY_WINDOW + SECOND, SignatureVerdict.STALE),
        (REPLAY_WINDOW, SignatureVerdict.AUTHENTIC),
        (0, SignatureVerdict.AUTHENTIC),
        (-REPLAY_WINDOW, SignatureVerdict.AUTHENTIC),
        (-REPLAY_WINDOW - SECOND, SignatureVerdict.STALE),
    ],
)
def test_a_signed_time_is_good_for_five_minutes_either_way(vendor: str, off: int, told: SignatureVerdict) -> None:
    assert verdict(vendor, signed_headers(vendor, at=NOW + off)) is told


IN_ONE_HEADER = {"stripe": ",", "paddle": ";", "recurly": ",", "revenuecat": ","}
"""Who writes the time before the digests, and what stands between them."""


@pytest.mark.parametrize("vendor", sorted(TIMED))
def test_a_recorded_request_is_not_made_young_by_another_time_in_its_headers(vendor: str) -> None:
    recorded = signed_headers(vendor, at=NOW - 2 * REPLAY_WINDOW)
    fresh = signed_headers(vendor, at=NOW)
    times = {name: value for name, value in fresh.items() if name.lower().endswith("timestamp")}
    if vendor in IN_ONE_HEADER:
        header, between = SCHEMES[vendor].header or "", IN_ONE_HEADER[vendor]
        old, new = (headers[header].split(between) for headers in (recorded, fresh))
        times = {header: between.join([new[0], *old[1:]])}
    assert verdict(vendor, recorded) is SignatureVerdict.STALE
    assert verdict(vendor, recorded | times) is SignatureVerdict.FORGED


@pytest.mark.parametrize("time", ["yesterday", "", "1e9", "-1", "9" * 40, "२०"])
@pytest.mark.parametrize("vendor", ["zendesk", "hubspot", "formbricks"])
def test_a_signed_time_that_is_none_is_stale(vendor: str, time: str) -> None:
    headers = signed_headers(vendor)
    name = next(name for name in headers if name.lower().endswith("timestamp"))
    key = SCHEMES[vendor].key(SECRETS[vendor])
    signature = SCHEMES[vendor].header
    assert signature is not None
    whole = {
        "zendesk": time.encode() + BODY,
        "hubspot": b"POST" + URL.encode() + BODY + time.encode(),
        "formbricks": b"msg_1." + time.encode() + b"." + BODY,
    }[vendor]
    headers |= {name: time, signature: _signature(vendor, key, whole)}
    assert verdict(vendor, headers) is SignatureVerdict.STALE


def _signature(vendor: str, key: bytes, message: bytes) -> str:
    digest = base64.b64encode(hmac.digest(key, message, "sha256")).decode()
    return f"v1,{digest}" if vendor == "formbricks" else digest


UNLIMITED = ("customerio", "sendgrid", "klaviyo")
"""They sign the time, and repeat for days what was not taken."""


@pytest.mark.parametrize("vendor", UNLIMITED)
def test_where_the_vendor_names_no_limit_an_opt_out_of_last_week_is_taken(vendor: str) -> None:
    headers = signed_headers(vendor, at=NOW - 7 * 24 * 60 * 60 * SECOND)
    assert verdict(vendor, headers) is SignatureVerdict.AUTHENTIC
    fresh = {name: value for name, value in signed_headers(vendor).items() if name.lower().endswith("timestamp")}
    assert verdict(vendor, headers | fresh) is SignatureVerdict.FORGED


MESSAGE = (
    '{"Status":"Complete","SurveyID":"SV_1AmkKSDmoZ4XlQx","ResponseID":"R_0B7IcnXszjEUHLP",'
    '"CompletedDate":"2019-06-25 07:58:25","BrandID":"sapdevelopment"}'
)
DIGEST = (
    "c2c585a404c239aa3063b462cc33551d3ed3ed2de0899f58d456fc0ef7ebef6f3c3af44957989bd0592603e41edde9528f7d9ed09ee128bf7"
    "19aa12f46e5c598"
)
"""Of kyma-incubator/connector-tools, qualtrics-event-gw/pkg/hmac/hmac_test.go, under the key ``kyma4ever``."""
EVENT = f"Topic=acme.surveyengine.completedResponse.SV_1&HMAC={DIGEST}&MSG={quote(MESSAGE)}&undefined="


def qualtrics(body: str, secret: str = "kyma4ever") -> SignatureVerdict:
    """What the receiver thinks of a body of Qualtrics'."""
    return verdict("qualtrics", {}, body.encode(), secret=secret)


def test_qualtrics_signs_one_field_of_its_form() -> None:
    assert qualtrics(EVENT) is SignatureVerdict.AUTHENTIC
    assert qualtrics(EVENT, "kyma4never") is SignatureVerdict.FORGED
    assert qualtrics(EVENT.replace("Complete", "Partial")) is SignatureVerdict.FORGED
    assert qualtrics(EVENT.replace(DIGEST, "zz")) is SignatureVerdict.FORGED


@pytest.mark.parametrize("body", ["", "{}", "HMAC=00", f"MSG={quote(MESSAGE)}", f"{EVENT}&MSG=x", f"{EVENT}&HMAC=00"])
def test_without_one_message_and_one_digest_qualtrics_has_signed_nothing(body: str) -> None:
    assert qualtrics(body) is SignatureVerdict.UNSIGNED


@pytest.mark.parametrize(
    "body",
    [
        f"{EVENT}&result[values][QID1]=10",
        f"{EVENT}&MSG[x]=10",
        f'{{"result": {{}}, "x": "&{EVENT}&"}}',
        f'["&{EVENT}&"]',
    ],
)
def test_a_recorded_message_of_qualtrics_vouches_for_nothing_around_it(body: str) -> None:
    assert qualtrics(body) is SignatureVerdict.FORGED


def test_while_stripe_rolls_a_secret_either_signature_will_do() -> None:
    old, new = (signed_headers("stripe", secret=secret)["Stripe-Signature"] for secret in ("the old secret", "the new"))
    both = {"Stripe-Signature": f"{old},{new.split(',')[1]}"}
    assert verdict("stripe", both, secret="the old secret") is SignatureVerdict.AUTHENTIC
    assert verdict("stripe", both, secret="the new") is SignatureVerdict.AUTHENTIC


def test_stripes_test_scheme_alone_opens_nothing() -> None:
    headers = signed_headers("stripe")["Stripe-Signature"].replace("v1=", "v0=")
    assert verdict("stripe", {"Stripe-Signature": headers}) is SignatureVerdict.FORGED


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        ("https://a.example/webhooks/hubspot?x=hs%3Aapp%2Fv3", "https://a.example/webhooks/hubspot?x=hs:app/v3"),
        ("https://a.example/webhooks/hubspot?x=%28a%29", "https://a.example/webhooks/hubspot?x=(a)"),
        ("https://a.example/webhooks/hubspot?x=a%20b", "https://a.example/webhooks/hubspot?x=a%20b"),
    ],
)
def test_hubspot_signs_some_characters_of_the_url_decoded(called: str, signed: str) -> None:
    key = b"client secret"
    message = b"POST" + signed.encode() + BODY + str(NOW).encode()
    headers = {
        "X-HubSpot-Signature-v3": _signature("hubspot", key, message),
        "X-HubSpot-Request-Timestamp": str(NOW),
    }
    verify = SCHEMES["hubspot"].verify
    assert verify(Signed("POST", called, CIMultiDict(headers), BODY), key, NOW) is SignatureVerdict.AUTHENTIC
    assert verify(Signed("POST", f"{called}x", CIMultiDict(headers), BODY), key, NOW) is SignatureVerdict.FORGED
    assert verify(Signed("PUT", called, CIMultiDict(headers), BODY), key, NOW) is SignatureVerdict.FORGED
