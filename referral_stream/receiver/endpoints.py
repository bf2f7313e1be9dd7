"""Who may send what to where: an endpoint for every vendor with a credential, for every source of the mapping file with
one, and one for CloudEvents.

Without a credential there is no endpoint: nothing is accepted from anyone who cannot prove who they are.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.inbound.attributes import RESPONSES
from referral_stream.contracts.mapping.language import MappedSource
from referral_stream.contracts.mapping.parsing import MappingProblem, parse_mappings
from referral_stream.contracts.toml_file import read_toml
from referral_stream.core.suggestions import did_you_mean, nearest
from referral_stream.receiver.signatures import SCHEMES, Scheme, SignatureVerdict, Signed, scheme_of
from referral_stream.runtime.settings import PREFIX, ReceiverSettings, SettingsProblem, is_guessable

EVENTS: Final = "events"
"""What the endpoint for CloudEvents is called where topics are configured."""
CONTROL: Final = "control"
"""The endpoint of those who run the deployment: switches and approvals, to the one topic where these count."""

TOPICS: Final[Mapping[str, str]] = {
    "segment": "product-usage",
    "amplitude": "product-usage",
    "mixpanel": "product-usage",
    "rudderstack": "product-usage",
    "posthog": "product-usage",
    "stripe": "billing",
    "chargebee": "billing",
    "paddle": "billing",
    "recurly": "billing",
    "revenuecat": "billing",
    "zendesk": "support",
    "intercom": "support",
    "helpscout": "support",
    "freshdesk": "support",
    "gorgias": "support",
    "hubspot": "profile",
    "delighted": "nps",
    "typeform": "nps",
    "formbricks": "nps",
    "survicate": "nps",
    "surveymonkey": "nps",
    "wootric": "nps",
    "asknicely": "nps",
    "qualtrics": "nps",
    "satismeter": "nps",
    "dittofeed": "relationship",
    "customerio": "relationship",
    "sendgrid": "relationship",
    "klaviyo": "relationship",
    "braze": "relationship",
    EVENTS: "product-usage",
}
"""Where a vendor's webhooks go unless the settings say otherwise; any input topic takes any of them."""

MIN_SECRET: Final = 16
"""128 bits as text; every vendor's own secrets are longer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way in. ``keys`` and ``tokens`` hold more than one while a secret is being changed; any of them opens it.

    ``source`` is the vendor, as the header ``referral-source`` names it; ``events`` for CloudEvents. ``mapped``: where
    the mapping file declares it.
    """

    source: str
    topic: str
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    mapped: MappedSource | None = None

    @property
    def takes_form(self) -> bool:
        """Whether a body may be a form."""
        return self.mapped.form if self.mapped is not None else BY_NAME[self.source].form

    @property
    def event_header(self) -> str | None:
        """The HTTP header in which the vendor names the event."""
        return None if self.mapped is not None else BY_NAME[self.source].event_header

    def glance(self, headers: Mapping[str, str]) -> SignatureVerdict | None:
        """The verdict if the headers alone give one; None if the body has to be read first."""
        borne = _borne(headers.get("Authorization"), self.tokens) if self.tokens else SignatureVerdict.UNSIGNED
        signed = bool(self.keys) and (self._scheme.header is None or self._scheme.header in headers)
        return None if signed and borne is not SignatureVerdict.AUTHENTIC else borne

    def verify(self, request: Signed, now: int) -> SignatureVerdict:
        """The verdict on a request that ``glance`` left open; ``now`` in epoch ms."""
        verdicts = {self._scheme.verify(request, key, now) for key in self.keys}
        # Every key is tried; the best verdict counts, since a request uses only one of them.
        return min(verdicts, key=_BEST.index)

    @property
    def _scheme(self) -> Scheme:
        signature = None if self.mapped is None else self.mapped.signature
        return SCHEMES[self.source] if signature is None else scheme_of(signature)


_BEST = (SignatureVerdict.AUTHENTIC, SignatureVerdict.STALE, SignatureVerdict.FORGED, SignatureVerdict.UNSIGNED)


def _borne(authorization: str | None, tokens: Iterable[bytes]) -> SignatureVerdict:
    """The verdict on ``Authorization: Bearer TOKEN``, or ``Basic`` with the token as password, whatever the user name.

    Basic is for vendors that can only put a credential into the URL (``https://any:TOKEN@…``).
    """
    if authorization is None:
        return SignatureVerdict.UNSIGNED
    kind, _, value = authorization.strip().partition(" ")
    given = value.strip().encode("utf-8", "surrogateescape")
    match kind.lower():
        case "bearer":
            pass
        case "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except ValueError:
                return SignatureVerdict.FORGED
        case _:
            return SignatureVerdict.UNSIGNED
    found = [hmac.compare_digest(given, token) for token in tokens]
    return SignatureVerdict.AUTHENTIC if any(found) else SignatureVerdict.FORGED


def endpoints(settings: ReceiverSettings) -> dict[str, Endpoint]:
    """The endpoints by name: vendors, sources and ``events``. Raises SettingsProblem with one line per fault."""
    faults: list[str] = []
    sources = _sources(settings)
    topics = {**TOPICS, **{name: source.topic for name, source in sources.items()}}
    for name, topic in settings.http_topics.items():
        if name not in topics:
            faults.append(f"{PREFIX}HTTP_TOPICS: {_unknown(name, topics)}")
        topics[name] = topic
    keys = _credentials("WEBHOOK_SECRET", settings.webhook_secrets, sources, faults)
    tokens = _credentials("WEBHOOK_TOKEN", settings.webhook_tokens, sources, faults)
    for name, secret in ((EVENTS, settings.http_events_token), (CONTROL, settings.http_control_token)):
        if secret is not None:
            try:
                tokens[name] = _several(secret, name, _token)
            except ValueError as error:
                faults.append(f"{PREFIX}HTTP_{name.upper()}_TOKEN: {error}")
    if common := set(tokens.get(CONTROL, ())) & {token for name in tokens.keys() - {CONTROL} for token in tokens[name]}:
        faults.append(f"{PREFIX}HTTP_CONTROL_TOKEN: {len(common)} of its tokens open another endpoint too")
    if "hubspot" in keys and settings.http_public_url is None:
        faults.append(
            f"{PREFIX}HTTP_PUBLIC_URL: HubSpot signs the URL that it calls: set the part before /webhooks/hubspot, "
            "for example https://hooks.example.com"
        )
    if not (keys or tokens or faults):
        faults.append(
            f"nothing to receive: set {PREFIX}WEBHOOK_SECRET_<VENDOR>, {PREFIX}WEBHOOK_TOKEN_<VENDOR> or "
            f"{PREFIX}HTTP_EVENTS_TOKEN"
        )
    topics[CONTROL] = RESPONSES
    if faults:
        raise SettingsProblem("\n".join(faults))
    return {
        name: Endpoint(
            name, f"{settings.topic_prefix}{topics[name]}", keys.get(name, ()), tokens.get(name, ()), sources.get(name)
        )
        for name in topics
        if name in keys or name in tokens
    }


def _sources(settings: ReceiverSettings) -> Mapping[str, MappedSource]:
    """The sources of the mapping file, which is read only if a setting names one. Raises SettingsProblem."""
    named = {*settings.webhook_secrets, *settings.webhook_tokens, *settings.http_topics} - {*BY_NAME, EVENTS, CONTROL}
    if not named or settings.mappings_file is None:
        return {}
    try:
        return parse_mappings(read_toml(settings.mappings_file), str(settings.mappings_file)).sources
    except MappingProblem as problem:
        raise SettingsProblem(str(problem)) from None
    except OSError as error:
        raise SettingsProblem(f"{PREFIX}MAPPINGS_FILE: {error.filename}: {error.strerror}") from None


def _credentials(
    kind: str, given: Mapping[str, SecretStr], sources: Mapping[str, MappedSource], faults: list[str]
) -> dict[str, tuple[bytes, ...]]:
    """The credentials of a kind by vendor or source; an invalid one becomes a fault."""
    found = {}
    for vendor, secret in given.items():
        variable = f"{PREFIX}{kind}_{vendor.upper()}"
        if vendor not in BY_NAME and vendor not in sources:
            known = (*BY_NAME, *sources)
            own = f"declare [source.{vendor}] in the file that {PREFIX}MAPPINGS_FILE names; "
            hint = "" if nearest(vendor, known) else own
            faults.append(f"{variable}: no vendor {vendor!r}; {hint}{did_you_mean(vendor, known)}")
            continue
        if kind == "WEBHOOK_SECRET" and vendor in sources and sources[vendor].signature is None:
            faults.append(
                f'{variable}: [source.{vendor}] does not say how it signs: write signature = {{ header = "…" }} there, '
                f"or set {PREFIX}WEBHOOK_TOKEN_{vendor.upper()} instead"
            )
            continue
        make = _token if kind == "WEBHOOK_TOKEN" else _own_key if vendor in sources else _key
        try:
            found[vendor] = _several(secret, vendor, make)
        except ValueError as error:
            faults.append(f"{variable}: {error}")
    return found


def _several(secret: SecretStr, vendor: str, make: Callable[[str, str], bytes]) -> tuple[bytes, ...]:
    """One credential per line."""
    lines = [line.strip() for line in secret.get_secret_value().splitlines() if line.strip()]
    source = f"the signing secret that {vendor} shows for the webhook, or that you gave it there"
    where = source if make is not _token else "one of your own, for example from: openssl rand -hex 32"
    if any(len(line) < MIN_SECRET for line in lines) or not lines:
        raise ValueError(f"at least {MIN_SECRET} characters a line: {where}")
    if any(is_guessable(line) for line in lines):
        raise ValueError(f"is too predictable: {where}")
    return tuple(make(line, vendor) for line in lines)


def _key(secret: str, vendor: str) -> bytes:
    if vendor not in SCHEMES:
        raise ValueError(f"{vendor} does not sign its webhooks; set {PREFIX}WEBHOOK_TOKEN_{vendor.upper()} instead")
    return SCHEMES[vendor].key(secret)


def _own_key(secret: str, _source: str) -> bytes:
    return secret.encode()


def _token(token: str, _vendor: str) -> bytes:
    return token.encode()


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"no vendor {name!r}; {did_you_mean(name, tuple(known))}"
