"""The OpenID provider: the address where people log in, and what its word about them is worth.

It is the authorization code flow with PKCE. The provider is found by its issuer and asked over TLS; what it signs is
verified with joserfc, under the keys that it publishes. Nothing is taken on trust from the browser that brings a code.
"""

from __future__ import annotations

import logging
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, encode_basic_auth
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key
from joserfc.jws import JWSRegistry

from referral_stream.console.people import NotVouchedFor, Person, ProviderAway, person_of
from referral_stream.runtime.addresses import is_loopback
from referral_stream.runtime.settings import PREFIX, ConsoleSettings, SettingsProblem

logger = logging.getLogger(__name__)

RETURN_PATH: Final = "/login/oidc/return"
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signatures by a key of the provider's own. No ``none``, and no HMAC: its key would be our secret, or a public key."""

_SECONDS: Final = 5.0
_MOST_BYTES: Final = 1_000_000
_KNOWN_FOR_SECONDS: Final = 3_600.0
"""How long addresses and keys are taken for current: a key that is withdrawn counts no longer than that."""
_BETWEEN_REFRESHES_SECONDS: Final = 60.0
_LEEWAY_SECONDS: Final = 60
_KINDS_OF_KEYS: Final = frozenset({"RSA", "EC", "OKP"})
_OAUTH_ERRORS: Final = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",
})  # fmt: skip


class _Addresses(msgspec.Struct):
    """Of what a provider publishes about itself, what is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class _JsonWebKeys(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Headers(JWSRegistry):
    """Takes headers that it does not know, unless they are critical, and such as carry certificates."""

    max_header_length = 16_384

    def __init__(self) -> None:
        super().__init__(algorithms=ALGORITHMS, strict_check_header=False)


class Provider:
    """The provider of the settings. It is asked at the first login, and what it says of itself is kept for an hour."""

    def __init__(self, settings: ConsoleSettings, now: Callable[[], float] = monotonic) -> None:
        """Raises SettingsProblem for certificates that cannot be used."""
        self._settings, self._now = settings, now
        self._issuer, self._client = settings.console_oidc_issuer or "", settings.console_oidc_client_id or ""
        secret = settings.console_oidc_client_secret
        self._secret = secret.get_secret_value() if secret else ""
        self._return = f"{settings.console_public_url}{RETURN_PATH}"
        ca_file = settings.console_oidc_ca_file
        try:
            self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except (OSError, ValueError) as error:
            raise SettingsProblem(f"{PREFIX}CONSOLE_OIDC_CA_FILE cannot be used: {error}") from None
        self._known: tuple[float, _Addresses] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._refreshed: float | None = None

    @property
    def host(self) -> str:
        """What people are shown of where they log in."""
        return urlsplit(self._issuer).hostname or ""

    async def look(self) -> None:
        """Log a warning if the provider cannot be used, so that this is known before somebody wants to come in."""
        try:
            await self._key_set()
        except ProviderAway as away:
            logger.warning("login_provider_away", extra={"cause": str(away)})

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where somebody logs in who is to come back with this state. Raises ProviderAway."""
        endpoint = (await self._addresses()).authorization_endpoint
        query = {
            "response_type": "code", "client_id": self._client, "redirect_uri": self._return,
            "scope": " ".join(self._settings.console_oidc_scopes), "state": state, "nonce": nonce,
            "code_challenge": challenge_of(verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def person(self, *, code: str, verifier: str, nonce: str, issuer: str | None) -> Person:
        """Who came back with this code; ``issuer``: whom the address they came back to names, if any.

        Raises ProviderAway, NotVouchedFor.
        """
        known = await self._addresses()
        if issuer is None and known.authorization_response_iss_parameter_supported:
            raise _unproven("no issuer came back")
        if issuer is not None and issuer != self._issuer:
            raise _unproven("another issuer came back")
        tokens = await self._exchanged(known, code, verifier)
        claims = await self._verified(str(tokens.get("id_token") or ""), nonce)
        claims = await self._with_userinfo(known, claims, tokens.get("access_token"))
        return person_of(claims, self._settings)

    # ------------------------------------------------------------------------------------- what it says of itself

    async def _addresses(self) -> _Addresses:
        if self._known is None or self._is_old(self._known[0]):
            url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = _typed(await self._ok(url), _Addresses)
            if found.issuer != self._issuer:
                raise ProviderAway(f"it calls itself by another issuer than {PREFIX}CONSOLE_OIDC_ISSUER, to the letter")
            for each in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
                if each is not None and not self._is_private(each):
                    raise ProviderAway("one of its addresses is not https://")
            self._known = (self._now(), found)
        return self._known[1]

    def _is_old(self, at: float) -> bool:
        return self._now() - at > _KNOWN_FOR_SECONDS

    def _is_private(self, url: str) -> bool:
        parts = urlsplit(url)
        is_local = self._issuer.startswith("http://") and is_loopback(parts.hostname or "")
        return bool(parts.hostname) and not parts.fragment and (parts.scheme == "https" or is_local)

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        """Its keys; ``anew``: because one is missing, for which it is asked once a minute at most."""
        known = await self._addresses()
        may_ask = self._refreshed is None or self._now() - self._refreshed > _BETWEEN_REFRESHES_SECONDS
        if self._keys is None or self._is_old(self._keys[0]) or (anew and may_ask):
            if anew:
                self._refreshed = self._now()
            published = _typed(await self._ok(known.jwks_uri), _JsonWebKeys)
            self._keys = (self._now(), KeySet([key for each in published.keys if (key := _key(each)) is not None]))
        return self._keys[1]

    # ---------------------------------------------------------------------------------------- what it says of people

    async def _exchanged(self, known: _Addresses, code: str, verifier: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._return, "code_verifier": verifier,
        }  # fmt: skip
        ways = known.token_endpoint_auth_methods_supported
        headers = {}
        if ways is None or "client_secret_basic" in ways:
            headers["Authorization"] = encode_basic_auth(quote_plus(self._client), quote_plus(self._secret))
        else:
            form |= {"client_id": self._client, "client_secret": self._secret}
        status, body = await self._asked("POST", known.token_endpoint, data=form, headers=headers)
        if status == 200:  # noqa: PLR2004
            return body
        error = body.get("error")
        error = error if error in _OAUTH_ERRORS else f"status {status}"
        if error in ("invalid_client", "unauthorized_client"):
            raise ProviderAway(f"it rejected this console's client credentials: {error}")
        raise NotVouchedFor("The login could not be completed: it may have taken too long. Begin again.", str(error))

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        """What the token says, if the provider signed it, for us, for this login, and not too long ago."""
        try:
            try:
                found = jwt.decode(token, await self._key_set(), registry=_Headers())
            except InvalidKeyIdError:
                found = jwt.decode(token, await self._key_set(anew=True), registry=_Headers())
            claims = found.claims
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": self._issuer}, aud={"essential": True, "value": self._client},
                sub={"essential": True}, exp={"essential": True}, iat={"essential": True},
            ).validate(claims)  # fmt: skip
        except (JoseError, ValueError, TypeError) as error:
            raise _unproven(f"the token: {getattr(error, 'error', '') or type(error).__name__}") from None
        if claims.get("nonce") != nonce:
            raise _unproven("the token: the nonce of another login")
        audience, party = claims["aud"], claims.get("azp")
        if party != self._client and (party is not None or (isinstance(audience, list) and len(audience) > 1)):
            raise _unproven("the token: it was made for another client")
        return claims

    async def _with_userinfo(self, known: _Addresses, claims: dict[str, Any], access: Any) -> dict[str, Any]:
        """The claims, and where some are missing what the provider tells on asking; what it signed comes first."""
        asked = {each.partition("=")[0] for each in self._settings.asked_claims}
        asked |= {self._settings.console_oidc_name_claim}
        if "email" in asked or self._settings.allowed_domains:
            asked |= {"email", "email_verified"}
        if asked <= claims.keys() or known.userinfo_endpoint is None or not isinstance(access, str):
            return claims
        status, told = await self._asked("GET", known.userinfo_endpoint, headers={"Authorization": f"Bearer {access}"})
        if status != 200:  # noqa: PLR2004 (what is missing then lets nobody in)
            return claims
        if told.get("sub") != claims["sub"]:
            raise _unproven("the userinfo: somebody else's")
        address = claims.get("email", told.get("email"))
        verified = [each.get("email_verified") for each in (claims, told) if each.get("email") == address]
        is_verified = next(
            (each for each in verified if each is not None), None
        )  # said of this address, not of another
        return {**told, **claims, "email_verified": is_verified}

    # -------------------------------------------------------------------------------------------------------- asking

    async def _ok(self, url: str) -> dict[str, Any]:
        status, body = await self._asked("GET", url)
        if status != 200:  # noqa: PLR2004
            raise ProviderAway(f"it answers {status} to {urlsplit(url).path}")
        return body

    async def _asked(self, method: str, url: str, **given: Any) -> tuple[int, dict[str, Any]]:
        """The status, and the object in the answer. Raises ProviderAway. Redirects are followed nowhere."""
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=_SECONDS), cookie_jar=DummyCookieJar()) as session,
                session.request(method, url, ssl=self._tls, allow_redirects=False, **given) as answer,
            ):
                body = b""
                async for part in answer.content.iter_chunked(65_536):
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise ProviderAway("its answer is longer than anything it has to say")
        except (ClientError, OSError, ValueError) as error:  # a timeout is an OSError
            raise ProviderAway(f"it cannot be reached ({type(error).__name__})") from None
        if answer.status >= 500:  # noqa: PLR2004
            raise ProviderAway(f"it answers {answer.status} to {urlsplit(url).path}")
        try:
            return answer.status, msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:  # of which a refusal need not have any
            if answer.status != 200:  # noqa: PLR2004
                return answer.status, {}
            raise ProviderAway(f"what it answers to {urlsplit(url).path} is not a JSON object") from None


_Kind = TypeVar("_Kind")


def _typed(body: dict[str, Any], kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise ProviderAway(f"what it publishes about itself cannot be used: {error}") from None


def challenge_of(verifier: str) -> str:
    """What the provider is told of a secret that only who fetches the tokens can show (PKCE, S256)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _key(published: dict[str, Any]) -> Key | None:
    """A key to verify signatures with; None for any other, such as one of a kind that is not known here."""
    if published.get("kty") not in _KINDS_OF_KEYS or published.get("use", "sig") != "sig":
        return None
    try:
        return import_key(published)
    except (JoseError, ValueError, TypeError):
        return None


def _unproven(cause: str) -> NotVouchedFor:
    return NotVouchedFor("What your login provider says could not be verified. Begin again.", cause)
