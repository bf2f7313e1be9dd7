"""Endpoints and their settings: no credential, no endpoint; every fault is one line that names the variable."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from multidict import CIMultiDict

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.topics import SOURCES
from referral_stream.receiver.endpoints import EVENTS, TOPICS, Endpoint, endpoints
from referral_stream.receiver.signatures import SignatureVerdict, Signed
from referral_stream.runtime.settings import (
    PREFIX,
    TEST_EMAIL_KEY,
    ReceiverSettings,
    SettingsProblem,
    read_receiver_settings,
    read_settings,
)
from tests.receiver.signing import BODY, NOW, SECRETS, SIGNERS, URL, signed_headers

TOKEN = "a-token-of-our-own-0123456789"
OURS = "a-secret-of-ours"
RSA_KEY = base64.b64encode(
    rsa.generate_private_key(65_537, 2_048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
"""A public key with which nobody signs here."""


def made(**given: str) -> dict[str, Endpoint]:
    return endpoints(read_receiver_settings({f"{PREFIX}{name}": value for name, value in given.items()}))


def problem(**given: str) -> list[str]:
    with pytest.raises(SettingsProblem) as caught:
        made(**given)
    return str(caught.value).splitlines()


def bearer(token: str) -> CIMultiDict[str]:
    return CIMultiDict({"Authorization": f"Bearer {token}"})


def judged(endpoint: Endpoint, headers: dict[str, str]) -> SignatureVerdict:
    """The verdict on a whole request."""
    listed = CIMultiDict(headers)
    verdict = endpoint.glance(listed)
    return endpoint.verify(Signed("POST", URL, listed, BODY), NOW) if verdict is None else verdict


def test_an_endpoint_is_open_as_soon_as_its_credential_is_set_and_no_other_is() -> None:
    assert set(made(WEBHOOK_SECRET_STRIPE=OURS, HTTP_EVENTS_TOKEN=TOKEN)) == {"stripe", EVENTS}


def test_operators_speak_on_the_one_topic_where_it_counts() -> None:
    (way,) = made(HTTP_CONTROL_TOKEN=TOKEN, TOPIC_PREFIX="eu.").values()
    assert (way.source, way.topic) == ("control", "eu.responses")


def test_every_vendor_has_a_topic_that_exists() -> None:
    assert set(TOPICS) == set(BY_NAME) | {EVENTS}
    assert set(TOPICS.values()) <= set(SOURCES)


def test_a_topic_may_be_another_and_has_the_prefix_of_the_deployment() -> None:
    given = {"WEBHOOK_SECRET_STRIPE": OURS, "TOPIC_PREFIX": "eu.", "HTTP_EVENTS_TOKEN": TOKEN}
    assert {name: each.topic for name, each in made(**given).items()} == {
        "stripe": "eu.billing",
        EVENTS: "eu.product-usage",
    }
    moved = made(**given, HTTP_TOPICS="stripe=relationship, events=profile")
    assert {name: each.topic for name, each in moved.items()} == {"stripe": "eu.relationship", EVENTS: "eu.profile"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "nothing to receive: set REFERRAL_STREAM_WEBHOOK_SECRET_<VENDOR>"),
        (
            {"WEBHOOK_SECRET_STRIPE": "short"},
            "WEBHOOK_SECRET_STRIPE: at least 16 characters a line: the signing secret that stripe shows",
        ),
        (
            {"WEBHOOK_SECRET_STRYPE": OURS},
            "WEBHOOK_SECRET_STRYPE: no vendor 'strype'; did you mean 'stripe'?",
        ),
        (
            {"WEBHOOK_SECRET_POSTHOG": OURS},
            "posthog does not sign its webhooks; set REFERRAL_STREAM_WEBHOOK_TOKEN_POSTHOG",
        ),
        ({"WEBHOOK_SECRET_FORMBRICKS": "not base64 at all"}, "WEBHOOK_SECRET_FORMBRICKS: copy the signing secret"),
        (
            {"WEBHOOK_SECRET_SURVEYMONKEY": "only-the-secret-0"},
            "WEBHOOK_SECRET_SURVEYMONKEY: write the app's client id",
        ),
        (
            {"WEBHOOK_SECRET_SENDGRID": OURS},
            "WEBHOOK_SECRET_SENDGRID: copy the verification key as SendGrid",
        ),
        ({"WEBHOOK_SECRET_SENDGRID": RSA_KEY}, "WEBHOOK_SECRET_SENDGRID: copy the verification key as SendGrid"),
        ({"WEBHOOK_SECRET_HUBSPOT": OURS}, "HTTP_PUBLIC_URL: HubSpot signs the URL"),
        ({"WEBHOOK_TOKEN_POSTHOG": "short"}, "WEBHOOK_TOKEN_POSTHOG: at least 16 characters"),
        (
            {"HTTP_EVENTS_TOKEN": "short"},
            "HTTP_EVENTS_TOKEN: at least 16 characters a line: one of your own, for example from: openssl",
        ),
        ({"HTTP_CONTROL_TOKEN": "short"}, "HTTP_CONTROL_TOKEN: at least 16 characters a line"),
        ({"HTTP_CONTROL_TOKEN": "a" * 40}, "HTTP_CONTROL_TOKEN: is too predictable: one of your own"),
        ({"HTTP_EVENTS_TOKEN": TEST_EMAIL_KEY}, "HTTP_EVENTS_TOKEN: is too predictable"),
        ({"WEBHOOK_SECRET_TYPEFORM": "0" * 32}, "WEBHOOK_SECRET_TYPEFORM: is too predictable: the signing secret"),
        (
            {"HTTP_CONTROL_TOKEN": TOKEN, "HTTP_EVENTS_TOKEN": TOKEN},
            "HTTP_CONTROL_TOKEN: 1 of its tokens open another endpoint too",
        ),
        ({"HTTP_TOPICS": "control=nps"}, "HTTP_TOPICS: no vendor 'control'"),
        ({"HTTP_TOPICS": "stripe"}, "HTTP_TOPICS: write vendor=topic"),
        ({"HTTP_TOPICS": "strype=nps"}, "HTTP_TOPICS: no vendor 'strype'; did you mean 'stripe'?"),
        ({"HTTP_TOPICS": "stripe=biling"}, "HTTP_TOPICS: no input topic 'biling'; did you mean 'billing'?"),
        ({"HTTP_PUBLIC_URL": "hooks.example.com"}, "HTTP_PUBLIC_URL: must be an http(s) URL"),
        ({"HTTP_PORT": "70000"}, "HTTP_PORT: must be a whole number from 0 to 65,535"),
        ({"HTTP_MAX_BODY_BYTES": "0"}, "HTTP_MAX_BODY_BYTES: must be a whole number from 1,024 to 1,000,000"),
        ({"HTTP_CERT_FILE": "cert.pem"}, "HTTP_CERT_FILE and REFERRAL_STREAM_HTTP_KEY_FILE go together"),
        ({"HTTP_PROT": "80"}, "HTTP_PROT: no such setting; did you mean REFERRAL_STREAM_HTTP_PORT?"),
        ({"KAFKA_SECURITY": "SASL_SSL"}, "needs REFERRAL_STREAM_KAFKA_USERNAME and _PASSWORD"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_itself_and_the_remedy(given: dict[str, str], told: str) -> None:
    (line,) = problem(**given)
    assert told in line


def test_all_faults_come_at_once() -> None:
    assert len(problem(WEBHOOK_SECRET_STRIPE="short", WEBHOOK_TOKEN_SEGMNT=TOKEN, HTTP_TOPICS="x=nps")) == 3


def test_a_refused_secret_is_not_quoted_and_a_good_one_never_shows() -> None:
    assert "hunter" not in "".join(problem(WEBHOOK_SECRET_STRIPE="hunter"))
    settings = read_receiver_settings({f"{PREFIX}WEBHOOK_SECRET_STRIPE": "hunter-hunter-hunter"})
    assert "hunter" not in repr(settings)
    assert "hunter" not in repr(endpoints(settings))


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "stripe").write_text(f"{SECRETS['stripe']}\n")
    endpoint = made(WEBHOOK_SECRET_STRIPE_FILE=str(tmp_path / "stripe"))["stripe"]
    assert judged(endpoint, signed_headers("stripe")) is SignatureVerdict.AUTHENTIC


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    (line,) = problem(WEBHOOK_TOKEN_POSTHOG_FILE=str(tmp_path / "nowhere"))
    assert line.startswith(f"{PREFIX}WEBHOOK_TOKEN_POSTHOG_FILE: ")
    assert "nowhere" in line


def test_workers_and_receiver_may_share_one_file_of_settings() -> None:
    shared = {
        f"{PREFIX}EMAIL_KEY": "a key for tests only",
        f"{PREFIX}HTTP_PORT": "8443",
        f"{PREFIX}WEBHOOK_SECRET_STRIPE": OURS,
        f"{PREFIX}WEBHOOK_TOKEN_POSTHOG_FILE": "/not/read/by/workers",
        f"{PREFIX}KAFKA_BROKERS": "kafka:9092",
    }
    assert read_settings(shared).kafka_brokers == ("kafka:9092",)
    del shared[f"{PREFIX}WEBHOOK_TOKEN_POSTHOG_FILE"]
    assert read_receiver_settings(shared).http_port == 8443


def test_the_receiver_needs_no_key_of_addresses_and_no_redis() -> None:
    assert not {"email_key", "redis_url"} & set(type(read_receiver_settings({})).model_fields)


def test_by_default_nobody_outside_of_this_machine_reaches_it() -> None:
    assert read_receiver_settings({}).http_host == "127.0.0.1"


@pytest.mark.parametrize("vendor", sorted(SIGNERS))
def test_each_vendors_secret_opens_its_endpoint(vendor: str) -> None:
    given = {f"WEBHOOK_SECRET_{vendor.upper()}": SECRETS[vendor], "HTTP_PUBLIC_URL": "https://hooks.example.com"}
    endpoint = made(**given)[vendor]
    assert judged(endpoint, signed_headers(vendor)) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, {}) is SignatureVerdict.UNSIGNED


def test_while_a_secret_is_changed_the_old_and_the_new_one_open() -> None:
    endpoint = made(WEBHOOK_SECRET_TYPEFORM="the old secret 0\nthe new secret 1")["typeform"]
    for secret in ("the old secret 0", "the new secret 1"):
        assert judged(endpoint, signed_headers("typeform", secret=secret)) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, signed_headers("typeform", secret="yet another secret")) is SignatureVerdict.FORGED


@pytest.mark.parametrize(
    ("authorization", "told"),
    [
        (f"Bearer {TOKEN}", SignatureVerdict.AUTHENTIC),
        (f"bearer  {TOKEN} ", SignatureVerdict.AUTHENTIC),
        (f"Basic {base64.b64encode(f'anybody:{TOKEN}'.encode()).decode()}", SignatureVerdict.AUTHENTIC),
        (f"Basic {base64.b64encode(TOKEN.encode()).decode()}", SignatureVerdict.FORGED),
        (f"Basic {TOKEN}", SignatureVerdict.FORGED),
        (f"Bearer {TOKEN}x", SignatureVerdict.FORGED),
        (f"Bearer {TOKEN[:-1]}", SignatureVerdict.FORGED),
        ("Bearer ä", SignatureVerdict.FORGED),
        ("Bearer", SignatureVerdict.FORGED),
        ("Bearer ", SignatureVerdict.FORGED),
        ("Basic", SignatureVerdict.FORGED),
        (f"Digest {TOKEN}", SignatureVerdict.UNSIGNED),
        (TOKEN, SignatureVerdict.UNSIGNED),
        (None, SignatureVerdict.UNSIGNED),
    ],
)
def test_a_token_opens_as_bearer_or_as_password(authorization: str | None, told: SignatureVerdict) -> None:
    endpoint = made(WEBHOOK_TOKEN_POSTHOG=TOKEN)["posthog"]
    assert endpoint.glance(CIMultiDict({"Authorization": authorization} if authorization else {})) is told


def test_a_vendor_with_secret_and_token_is_let_in_with_either() -> None:
    endpoint = made(WEBHOOK_SECRET_STRIPE=SECRETS["stripe"], WEBHOOK_TOKEN_STRIPE=TOKEN)["stripe"]
    wrong = {"Authorization": "Bearer another token, of a proxy"}
    assert judged(endpoint, dict(bearer(TOKEN))) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, signed_headers("stripe")) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, signed_headers("stripe") | wrong) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, wrong) is SignatureVerdict.FORGED
    assert judged(endpoint, signed_headers("stripe", secret="another secret") | wrong) is SignatureVerdict.FORGED


def test_a_token_opens_nothing_where_only_a_secret_is_set() -> None:
    endpoint = made(WEBHOOK_SECRET_STRIPE=SECRETS["stripe"])["stripe"]
    assert judged(endpoint, dict(bearer(SECRETS["stripe"]))) is SignatureVerdict.UNSIGNED


def test_the_receivers_page_lists_every_vendor_topic_and_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "receiver.md").read_text()
    for vendor, topic in TOPICS.items():
        if vendor != EVENTS:
            assert f"| `{vendor}` | `{topic}` |" in page
    names = [name for name in ReceiverSettings.model_fields if name.startswith("http_")]
    assert [name for name in names if f"`{name.upper()}`" not in page] == []


SOURCES_FILE = """
[source.acme]
topic = "nps"
body = "form"
signature = { header = "X-Acme", algorithm = "sha512", encoding = "base64", prefix = "v1=" }
[source.plain]
topic = "support"
"""


@pytest.fixture
def mappings(tmp_path: Path) -> str:
    file = tmp_path / "mappings.toml"
    file.write_text(SOURCES_FILE)
    return str(file)


def test_a_source_of_the_mapping_file_has_an_endpoint_of_its_own_as_soon_as_it_has_a_credential(mappings: str) -> None:
    found = made(MAPPINGS_FILE=mappings, WEBHOOK_TOKEN_ACME=TOKEN, TOPIC_PREFIX="eu.")
    assert {(name, each.topic, each.takes_form, each.mapped is not None) for name, each in found.items()} == {
        ("acme", "eu.nps", True, True)
    }
    moved = made(MAPPINGS_FILE=mappings, WEBHOOK_TOKEN_ACME=TOKEN, HTTP_TOPICS="acme=relationship")
    assert moved["acme"].topic == "relationship"
    assert set(made(MAPPINGS_FILE="/nowhere", WEBHOOK_TOKEN_STRIPE=TOKEN)) == {"stripe"}  # the file is not needed


def test_a_source_s_signature_is_what_the_file_says(mappings: str) -> None:
    endpoint = made(MAPPINGS_FILE=mappings, WEBHOOK_SECRET_ACME=OURS)["acme"]
    digest = base64.b64encode(hmac.digest(OURS.encode(), BODY, "sha512")).decode()
    assert judged(endpoint, {"X-Acme": f"v1={digest}"}) is SignatureVerdict.AUTHENTIC
    assert judged(endpoint, {"X-Acme": digest}) is SignatureVerdict.FORGED
    assert judged(endpoint, {"X-Acme": f"v1={digest[:-4]}AAA="}) is SignatureVerdict.FORGED
    assert judged(endpoint, {}) is SignatureVerdict.UNSIGNED


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"WEBHOOK_SECRET_PLAIN": OURS},
            "WEBHOOK_SECRET_PLAIN: [source.plain] does not say how it signs",
        ),
        ({"WEBHOOK_TOKEN_ACME": "short"}, "WEBHOOK_TOKEN_ACME: at least 16 characters a line: one of your own"),
        (
            {"WEBHOOK_TOKEN_OTHERS": TOKEN},
            "WEBHOOK_TOKEN_OTHERS: no vendor 'others'; declare [source.others]",
        ),
        (
            {"WEBHOOK_TOKEN_ACME": TOKEN, "HTTP_CONTROL_TOKEN": TOKEN},
            "HTTP_CONTROL_TOKEN: 1 of its tokens",
        ),
    ],
)
def test_a_wrong_setting_of_a_source_is_one_line(mappings: str, given: dict[str, str], told: str) -> None:
    (line,) = problem(MAPPINGS_FILE=mappings, **given)
    assert told in line


def test_a_mapping_file_that_cannot_be_used_keeps_the_receiver_from_starting(tmp_path: Path) -> None:
    (line,) = problem(MAPPINGS_FILE=str(tmp_path / "none"), WEBHOOK_TOKEN_ACME=TOKEN)
    assert "MAPPINGS_FILE: " in line
    file = tmp_path / "mappings.toml"
    file.write_text(SOURCES_FILE.replace('"sha512"', '"sha521"'))
    (line,) = problem(MAPPINGS_FILE=str(file), WEBHOOK_TOKEN_ACME=TOKEN)
    assert line == f"{file}:5: source.acme: signature.algorithm: unknown; did you mean 'sha512'?"
