"""Who comes in, what they may do, and whether a request is theirs.

A person is known by a token (as a bearer, or exchanged for a session when they log in), by the word of an OpenID
provider, for which they get a session, or by the word of a proxy that the settings trust. Tokens are random and long,
so a plain SHA-256 of one is kept, which nobody can turn round. The id of a session is made here at each login and never
taken from a browser; Redis holds its digest alone, so who reads Redis cannot take a session over. Whoever loses the
line in the tokens file, or is no longer allowed by the settings, loses the session at the next request.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar.connection import ASGIConnection, Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from referral_stream.console.people import Person, Role, role_of
from referral_stream.console.store import SharedStore
from referral_stream.runtime.settings import PREFIX, ConsoleSettings, SettingsProblem

ROLES: Final = ("viewer", "operator")
COOKIE: Final = "referral_stream_console"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""A browser takes it over TLS alone, and from this very host."""
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
OPEN: Final = "open_to_all"
"""In a route's ``opt``: nobody has to be logged in."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN_BYTES: Final = 32
_LINE_PARTS: Final = 3

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``csrf`` is what their forms have to repeat; empty for a bearer: no other page can send their token."""

    name: str
    role: Role
    csrf: str = ""

    @property
    def is_operator(self) -> bool:
        return self.role == "operator"


def new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    role: Role


class Tokens:
    """The tokens file: ``NAME viewer|operator SHA256`` on each line. It is read anew when it has changed."""

    def __init__(self, file: Path | None) -> None:
        """Raises SettingsProblem for a file that cannot be used."""
        self._file, self._seen, self._known = file, (0, 0), dict[str, _Known]()
        if file is not None:
            self._read()

    def of(self, token: str) -> tuple[str, _Known] | None:
        """The token's digest, and whose it is."""
        digest = digest_of(token)
        known = self.of_digest(digest)
        return None if known is None else (digest, known)

    def of_digest(self, digest: str) -> _Known | None:
        self._refresh()
        return self._known.get(digest)

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            about = self._file.stat()
            if (about.st_mtime_ns, about.st_size) != self._seen:
                self._read()
        except (OSError, SettingsProblem):
            self._known, self._seen = {}, (0, 0)  # a file that cannot be read lets nobody in, until it can be read

    def _read(self) -> None:
        variable = f"{PREFIX}CONSOLE_TOKENS_FILE"
        if self._file is None:
            return
        try:
            about = self._file.stat()
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsProblem(f"{variable}: {self._file}: cannot be read: {error}") from None
        known: dict[str, _Known] = {}
        for number, line in enumerate(lines, 1):
            if not (text := line.partition("#")[0].split()):
                continue
            if len(text) != _LINE_PARTS or text[1] not in ROLES or len(text[2]) != len(digest_of("")):
                form = "write NAME viewer|operator SHA256, as `referral-stream console token NAME` prints it"
                raise SettingsProblem(f"{variable}: {self._file}:{number}: {form}")
            known[text[2].lower()] = _Known(text[0], "operator" if text[1] == "operator" else "viewer")
        self._known, self._seen = known, (about.st_mtime_ns, about.st_size)


class KeptSession(msgspec.Struct):
    """What a session was begun with: the digest of a token, or a person for whom a provider vouched."""

    csrf: str
    token: str = ""
    person: Person | None = None


class Sessions:
    """Sessions in a store that all replicas share."""

    def __init__(self, store: SharedStore, seconds: int) -> None:
        self._store, self._seconds = store, seconds

    async def begin(self, of: str | Person) -> str:
        """A session for the token of this digest, or for a person; returns its id."""
        id_, csrf = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_TOKEN_BYTES)
        session = KeptSession(csrf, token=of) if isinstance(of, str) else KeptSession(csrf, person=of)
        await self._store.set(f"session:{digest_of(id_)}", msgspec.json.encode(session), expires_in=self._seconds)
        return id_

    async def find(self, id_: str) -> KeptSession | None:
        found = await self._store.get(f"session:{digest_of(id_)}")
        return None if found is None else msgspec.json.decode(found, type=KeptSession)

    async def end(self, id_: str) -> None:
        await self._store.delete(f"session:{digest_of(id_)}")

    async def csrf_of(self, name: str) -> str:
        """What the forms of somebody repeat whom a proxy names: they have no session here."""
        key = f"proxied:{digest_of(name)}"
        if (found := await self._store.get(key)) is None:
            found = await self._store.set_once(key, secrets.token_urlsafe(_TOKEN_BYTES).encode(), self._seconds)
        return found.decode()


class Door:
    """Recognises who asks."""

    def __init__(self, settings: ConsoleSettings, tokens: Tokens, sessions: Sessions) -> None:
        self.settings, self.tokens, self.sessions = settings, tokens, sessions
        self.cookie = SECURE_COOKIE if settings.is_secure else COOKIE
        self._trusted = settings.trusted

    async def visitor(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Visitor | None:
        """None for a stranger. Raises NotAuthorizedException for a bearer's token that is nobody's."""
        if (authorization := connection.headers.get("authorization")) is not None:
            kind, _, token = authorization.partition(" ")
            found = self.tokens.of(token.strip()) if kind.lower() == "bearer" else None
            if found is None:
                raise NotAuthorizedException("the token is nobody's")
            return Visitor(found[1].name, found[1].role)
        if (name := self._proxied(connection)) is not None:
            role: Role = "operator" if name in self.settings.console_operators else "viewer"
            return Visitor(name, role, await self.sessions.csrf_of(name))
        if (id_ := connection.cookies.get(self.cookie)) and (session := await self.sessions.find(id_)):
            return self._of(session)
        return None

    def _of(self, session: KeptSession) -> Visitor | None:
        if (person := session.person) is not None:
            role = role_of(person, self.settings)
            return None if role is None else Visitor(person.name, role, session.csrf)
        known = self.tokens.of_digest(session.token)
        return None if known is None else Visitor(known.name, known.role, session.csrf)

    def _proxied(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
        names = connection.headers.getall(self.settings.console_user_header, [""])
        name = names[0].strip() if len(names) == 1 else ""  # of two, one may be the visitor's own
        return name if name and self.is_trusted(connection.client.host if connection.client else "") else None

    def is_trusted(self, address: str) -> bool:
        """Whether what this address says about a user counts."""
        try:
            host = ip_address(address)
        except ValueError:
            return False
        return any(host in network for network in self._trusted if network.version == host.version)


class Recognition(AbstractAuthenticationMiddleware):
    """Puts the visitor into the request; a stranger comes no further than the pages that are open to all."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, exclude_from_auth_key=OPEN)

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        visitor = await connection.app.state.console.door.visitor(connection)
        if visitor is None:
            raise NotAuthorizedException("log in first")
        return AuthenticationResult(user=visitor, auth=None)


def operators_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: what changes something is for operators."""
    if not connection.user.is_operator:
        raise PermissionDeniedException("only an operator may do this; you are a viewer")


async def refuse_forged(request: Request[Any, Any, Any]) -> None:
    """Refuses what another site makes a visitor's browser send: by what the browser says, and by a token.

    A request under a name that is not ours is refused whatever it is: a page of somebody else whose name leads here
    (DNS rebinding) would be of the same origin.

    A browser says by itself where a request comes from (``Sec-Fetch-Site``, over TLS and on loopback; else ``Origin``).
    Every form repeats a token of the session as well; a bearer's requests carry no cookie, so they need neither.
    """
    if host_of(request.headers.get("host", "")) not in request.app.state.console.settings.hosts:
        raise PermissionDeniedException("the console is not called by this name: see CONSOLE_PUBLIC_URL")
    if request.method in _SAFE:
        return
    if not comes_from_here(request.headers, request.headers.get("host", "")):
        raise PermissionDeniedException("this request comes from another site")
    visitor = request.scope.get("user")
    if visitor is None or not visitor.csrf:
        return
    given = request.headers.get(CSRF_HEADER) or str((await request.form()).get(CSRF_FIELD) or "")
    if not compare_digest(given.encode(), visitor.csrf.encode()):
        raise PermissionDeniedException("the form is out of date: load the page again")


def comes_from_here(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser sent this from our own page; also where no browser says anything."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


def host_of(header: str) -> str:
    """A Host header without its port; empty where it is not one."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
