"""Coming in and leaving: the pages that a stranger sees."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.response import Redirect, Template

from referral_stream.console.parts import Console, console_of
from referral_stream.console.people import NotVouchedFor, Person, ProviderAway, role_of
from referral_stream.console.security import OPEN, digest_of, new_token

if TYPE_CHECKING:  # it loads what only an extra brings
    from referral_stream.console.provider import Provider

logger = logging.getLogger(__name__)

_Stranger = Request[Any, Any, Any]
_ATTEMPTS_A_MINUTE: Final = 10
_LOGIN_SECONDS: Final = 600
"""Between going to the provider and coming back."""


def _address(request: _Stranger) -> str:
    """Whose attempts are counted together; behind a trusted proxy what that says last."""
    address = request.client.host if request.client else "?"
    if console_of(request).door.is_trusted(address):
        address = request.headers.getall("x-forwarded-for", [""])[-1].rpartition(",")[2].strip() or address
    return address


async def _is_an_attempt(request: _Stranger) -> bool:
    return request.method == "POST"


_ATTEMPTS: Final = RateLimitConfig(
    rate_limit=("minute", _ATTEMPTS_A_MINUTE), store="attempts", identifier_for_request=_address,
    check_throttle_handler=_is_an_attempt, set_rate_limit_headers=False,
)  # fmt: skip


_LOGINS: Final = RateLimitConfig(
    rate_limit=("minute", _ATTEMPTS_A_MINUTE), store="attempts",
    identifier_for_request=lambda request: f"{request.scope['path']} {_address(request)}", set_rate_limit_headers=False,
)  # fmt: skip
"""At the provider, whose pages count the passwords: what is counted here are the calls of the provider."""


def _page(request: _Stranger, *, onward: str = "", problem: str = "", status: int = 200) -> Template:
    console = console_of(request)
    context = {
        "next": onward, "problem": problem,
        "provider": console.provider.host if console.provider else "",
        "by_token": console.provider is None or console.settings.console_tokens_file is not None,
        "left": console.provider is not None and "left" in request.query_params,
    }  # fmt: skip
    return Template("login.html", context=context, status_code=status)


@get("/login", opt={OPEN: True}, include_in_schema=False)
async def login_page(request: _Stranger) -> Template:
    return _page(request, onward=within(request.query_params.get("next", "")))


@post("/login", opt={OPEN: True}, include_in_schema=False, middleware=[_ATTEMPTS.middleware], status_code=200)
async def login(request: _Stranger) -> Response[Any]:
    form, console = await request.form(), console_of(request)
    found = console.tokens.of(str(form.get("token") or "").strip())
    onward = within(str(form.get("next") or ""))
    if found is None:
        return _page(request, onward=onward, problem="Unknown token.", status=403)
    return await _let_in(console, found[0], onward)


async def _let_in(console: Console, of: str | Person, onward: str) -> Redirect:
    """To where they wanted to go, with a session."""
    id_ = await console.sessions.begin(of)
    response = Redirect(onward or "/", status_code=303)
    response.set_cookie(_cookie(console, console.door.cookie, id_, int(console.settings.console_session_hours * 3_600)))
    return response


def _cookie(console: Console, key: str, value: str, seconds: int) -> Cookie:
    """``lax``: it has to come along when a provider, which is another site, sends a browser back."""
    return Cookie(
        key=key, value=value, path="/", httponly=True, samesite="lax", secure=console.settings.is_secure,
        max_age=seconds,
    )  # fmt: skip


@post("/logout", include_in_schema=False, status_code=303)
async def logout(request: _Stranger) -> Redirect:
    console, where = console_of(request), "/login"
    if id_ := request.cookies.get(console.door.cookie):
        session = await console.sessions.find(id_)
        where = "/login?left=1" if session is not None and session.person is not None else where
        await console.sessions.end(id_)
    response = Redirect(where, status_code=303)
    response.delete_cookie(console.door.cookie, path="/")
    return response


# ------------------------------------------------------------------------------------------------- at a provider


class BegunLogin(msgspec.Struct):
    """What is remembered of somebody who has been sent to the provider."""

    nonce: str
    verifier: str
    onward: str


def _key(state: str, browser: str) -> str:
    """Under which it is kept: the state of one browser is nothing in another."""
    return f"login:{digest_of(f'{state} {browser}')}"


@get("/login/oidc", opt={OPEN: True}, include_in_schema=False, middleware=[_LOGINS.middleware])
async def begin_login(request: _Stranger) -> Response[Any]:
    """To the provider. The browser keeps a word of its own, so that it alone can come back with the state."""
    console = console_of(request)
    if console.provider is None:
        raise NotFoundException
    onward = within(request.query_params.get("next", ""))
    state, browser, nonce, verifier = (new_token() for _ in range(4))
    try:
        address = await console.provider.address(state=state, nonce=nonce, verifier=verifier)
    except ProviderAway as away:
        return _without_provider(request, away, onward)
    begun = msgspec.json.encode(BegunLogin(nonce, verifier, onward))
    await console.store.set(_key(state, browser), begun, expires_in=_LOGIN_SECONDS)
    response = Redirect(address, status_code=303)
    response.set_cookie(_cookie(console, _browser_cookie(console), browser, _LOGIN_SECONDS))
    return response


@get("/login/oidc/return", opt={OPEN: True}, include_in_schema=False, middleware=[_LOGINS.middleware])
async def end_login(request: _Stranger) -> Response[Any]:
    """Back from the provider, with a code and the state. What the address says is neither shown nor logged."""
    console, given = console_of(request), request.query_params
    if console.provider is None:
        raise NotFoundException
    kept = await console.store.take(_key(given.get("state", ""), request.cookies.get(_browser_cookie(console), "")))
    if kept is None:
        return _page(request, problem=_BEGIN_AGAIN, status=403)
    begun = msgspec.json.decode(kept, type=BegunLogin)
    try:
        person = await _vouched_for(console, console.provider, begun, given)
    except ProviderAway as away:
        return _without_provider(request, away, begun.onward)
    except NotVouchedFor as refused:
        logger.info("login_refused", extra={"cause": refused.cause})
        return _page(request, onward=begun.onward, problem=refused.said, status=403)
    response = await _let_in(console, person, begun.onward)
    response.delete_cookie(_browser_cookie(console), path="/")
    return response


async def _vouched_for(console: Console, provider: Provider, begun: BegunLogin, given: Mapping[str, str]) -> Person:
    """Who comes in. Raises ProviderAway, NotVouchedFor."""
    if not (code := given.get("code")) or "error" in given:
        raise _no_code(given.get("error", ""))
    person = await provider.person(code=code, verifier=begun.verifier, nonce=begun.nonce, issuer=given.get("iss"))
    if role_of(person, console.settings) is None:
        raise NotVouchedFor(_NOT_ALLOWED, "not allowed by CONSOLE_OIDC_ALLOWED")
    return person


def _browser_cookie(console: Console) -> str:
    return f"{console.door.cookie}_login"


def _no_code(error: str) -> Exception:
    """What it means that a provider sends somebody back without a code."""
    if error in ("server_error", "temporarily_unavailable"):
        return ProviderAway(f"it sends people back with {error}")
    if error == "access_denied":
        return NotVouchedFor("Your login provider did not let you in, or you did not want to go on.", error)
    known = error if error in _ERRORS else "no code"
    return NotVouchedFor("Your login provider did not log you in. Begin again, or ask who runs this console.", known)


def _without_provider(request: _Stranger, away: ProviderAway, onward: str) -> Template:
    logger.warning("login_provider_away", extra={"cause": str(away)})
    problem = "Your login provider cannot be used now. Try again later, or log in with a token."
    return _page(request, onward=onward, problem=problem, status=503)


def within(address: str) -> str:
    """An address of our own; empty for any other, to which nobody is sent on."""
    if not address.startswith("/") or address.startswith(("//", "/\\")) or "\\" in address or not address.isprintable():
        return ""
    return "" if urlsplit(address).netloc else address


_BEGIN_AGAIN: Final = "This login was begun in another browser, or too long ago, or it is over. Begin again."
_NOT_ALLOWED: Final = "Your login provider says who you are, but this console does not let you in: ask who runs it."
_ERRORS: Final = frozenset({
    "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "interaction_required",
    "login_required", "account_selection_required", "consent_required",
})  # fmt: skip
LOGIN: Final[tuple[HTTPRouteHandler, ...]] = (login_page, login, logout, begin_login, end_login)
