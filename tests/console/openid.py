"""An OpenID provider on loopback, small but real: a code for each login, PKCE, signed tokens, published keys.

A test says what it claims of whoever logs in, and what it does wrong.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key

CLIENT, SECRET = "the-console", "a secret: with/odd+characters"
ADA = {"sub": "248289761001", "email": "ada@example.com", "email_verified": True, "name": "Ada"}


@cache
def a_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


def signed(claims: dict[str, Any], key: Key | None = None, **header: str) -> str:
    """As the provider signs."""
    key = key or a_key("first")
    return jwt.encode({"alg": "ES256", "kid": str(key.kid), **header}, claims, key, [header.get("alg", "ES256")])


@dataclass
class OpenIdProvider:
    """``claims`` come over those that are right; None leaves one out. ``asked`` counts the calls of each path."""

    claims: dict[str, Any] = field(default_factory=lambda: dict(ADA))
    userinfo: dict[str, Any] | None = None
    keys: list[Key] = field(default_factory=lambda: [a_key("first")])
    published: list[dict[str, Any]] = field(default_factory=list)
    sign: Callable[[dict[str, Any]], str] = signed
    discovery: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    away: frozenset[str] = frozenset()
    asked: Counter[str] = field(default_factory=Counter)
    issuer: str = ""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @asynccontextmanager
    async def served(self, host: str = "127.0.0.1") -> AsyncIterator[OpenIdProvider]:
        app = web.Application(middlewares=[self._counted])
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._published)
        app.router.add_get("/userinfo", self._userinfo)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.issuer = f"http://{host}:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.away:
            return web.Response(status=502, text="<html>Bad gateway</html>")
        found: web.StreamResponse = await handler(request)
        return found

    async def _configuration(self, _: web.Request) -> web.Response:
        found = {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize?theme=dark",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo", "response_types_supported": ["code"],
        }  # fmt: skip
        return web.json_response(found | self.discovery)

    async def _authorize(self, request: web.Request) -> web.Response:
        """Whoever comes is logged in already, and is sent back at once."""
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        assert (asked["code_challenge_method"], asked["theme"]) == ("S256", "dark")
        answer = {"state": asked["state"]}
        if self.error:
            answer["error"] = self.error
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = asked
        return web.Response(status=303, headers={"Location": f"{asked['redirect_uri']}?{urlencode(answer)}"})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self._client(request, form) != (CLIENT, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self._codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["redirect_uri"] != form["redirect_uri"] or asked["code_challenge"] != challenge:
            return web.json_response({"error": "invalid_grant", "error_description": "<script>"}, status=400)
        now = int(time.time())
        right = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {name: value for name, value in (right | self.claims).items() if value is not None}
        return web.json_response({"access_token": "at", "token_type": "Bearer", "id_token": self.sign(claims)})

    def _client(self, request: web.Request, form: dict[str, str]) -> tuple[str, str]:
        if "client_secret_post" in self.discovery.get("token_endpoint_auth_methods_supported", ()):
            return form.get("client_id", ""), form.get("client_secret", "")
        basic = request.headers.get("Authorization", "").removeprefix("Basic ")
        name, _, secret = base64.b64decode(basic).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)

    async def _published(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [*self.published, *(key.as_dict(private=False) for key in self.keys)]})

    async def _userinfo(self, request: web.Request) -> web.Response:
        if self.userinfo is None or request.headers.get("Authorization") != "Bearer at":
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response(self.userinfo)
