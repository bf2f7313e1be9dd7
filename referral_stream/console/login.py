"""Coming in and leaving: the pages that a stranger sees."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.response import Redirect, Template

from referral_stream.console.parts import console_of
from referral_stream.console.security import OPEN

_Stranger = Request[Any, Any, Any]
_ATTEMPTS_A_MINUTE: Final = 10


def _address(request: _Stranger) -> str:
    """Whose attempts are counted together; behind a trusted proxy what that says last."""
    address = request.client.host if request.client else "?"
    if console_of(request).door.is_trusted(address):
        address = request.headers.get("x-forwarded-for", address).rpartition(",")[2].strip() or address
    return address


async def _is_an_attempt(request: _Stranger) -> bool:
    return request.method == "POST"


_ATTEMPTS: Final = RateLimitConfig(
    rate_limit=("minute", _ATTEMPTS_A_MINUTE), store="attempts", identifier_for_request=_address,
    check_throttle_handler=_is_an_attempt, set_rate_limit_headers=False,
)  # fmt: skip


@get("/login", opt={OPEN: True}, include_in_schema=False)
async def login_page(request: _Stranger) -> Template:
    onward = within(request.query_params.get("next", ""))
    return Template("login.html", context={"next": onward, "wrong": False})


@post("/login", opt={OPEN: True}, include_in_schema=False, middleware=[_ATTEMPTS.middleware], status_code=200)
async def login(request: _Stranger) -> Response[Any]:
    form, console = await request.form(), console_of(request)
    found = console.tokens.of(str(form.get("token") or "").strip())
    onward = within(str(form.get("next") or ""))
    if found is None:
        return Template("login.html", context={"next": onward, "wrong": True}, status_code=403)
    id_ = await console.sessions.begin(found[0])
    response = Redirect(onward or "/", status_code=303)
    response.set_cookie(
        Cookie(
            key=console.door.cookie, value=id_, path="/", httponly=True, samesite="lax",
            secure=console.settings.is_secure, max_age=int(console.settings.console_session_hours * 3_600),
        )
    )  # fmt: skip
    return response


@post("/logout", include_in_schema=False, status_code=303)
async def logout(request: _Stranger) -> Redirect:
    console = console_of(request)
    if id_ := request.cookies.get(console.door.cookie):
        await console.sessions.end(id_)
    response = Redirect("/login", status_code=303)
    response.delete_cookie(console.door.cookie, path="/")
    return response


def within(address: str) -> str:
    """An address of our own; empty for any other, to which nobody is sent on."""
    parts = urlsplit(address)
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\")) and not parts.netloc
    return address if is_ours and "\\" not in address and address.isprintable() else ""


LOGIN: Final[tuple[HTTPRouteHandler, ...]] = (login_page, login, logout)
