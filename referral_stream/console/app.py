"""The application: what every request passes, and what is answered when something is in the way."""

from __future__ import annotations

import logging
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.enums import MediaType
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.static_files import create_static_files_router
from litestar.stores.registry import StoreRegistry
from litestar.template import TemplateConfig
from litestar.types import Message, Scope

from referral_stream import __version__
from referral_stream.console.api import API_HANDLERS
from referral_stream.console.pages import PAGES
from referral_stream.console.parts import Console
from referral_stream.console.rendering import environment
from referral_stream.console.security import HEADERS, OPEN, Recognition, Visitor, refuse_forged
from referral_stream.read_models import NotReadable
from referral_stream.receiver.writer import NotWritten

logger = logging.getLogger(__name__)

STATIC: Final = Path(str(files("referral_stream.console") / "static"))
API: Final = "/api/"
_BODY_BYTES: Final = 256_000
_GONE: Final = "client disconnected prematurely"
"""What Litestar calls its error 500 where a browser leaves before it has sent everything."""


def make_app(console: Console) -> Litestar:
    """The application over these parts; it starts nothing and ends nothing."""
    manifest = tomllib.loads((files("referral_stream.console") / "vendored.toml").read_text(encoding="utf-8"))
    engine = JinjaTemplateEngine.from_environment(environment(STATIC, manifest))
    static = create_static_files_router(
        path="/static", directories=[STATIC], opt={OPEN: True}, include_in_schema=False, cache_control=None
    )
    return Litestar(
        route_handlers=[*PAGES, *API_HANDLERS, static],
        state=State({"console": console}),
        middleware=[Recognition],
        before_request=refuse_forged,
        before_send=[_with_headers],
        exception_handlers={Exception: _answer},
        stores=StoreRegistry(default_factory=lambda _: console.store),
        template_config=TemplateConfig(instance=engine),
        request_max_body_size=_BODY_BYTES,
        openapi_config=_openapi(),
        logging_config=None,
        debug=False,
    )


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A token of the console's tokens file.")
    return OpenAPIConfig(
        title="referral_stream console",
        version=__version__,
        description="What the console shows, as JSON, and its controls. "
        "Instants are epoch ms; inside the bodies of messages, RFC 3339 in UTC.",
        components=Components(security_schemes={"token": bearer}),
        security=[{"token": []}],
        path="/api/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],  # viewers would come from a CDN
    )


async def _with_headers(message: Message, _scope: Scope) -> None:
    """Every answer says what a browser may do with it, refusals included; pages are kept by nobody."""
    if message["type"] != "http.response.start":
        return
    headers = [(name, value) for name, value in message["headers"] if name.lower() != b"server"]
    known = {name.lower() for name, _ in headers}
    headers += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    if b"cache-control" not in known:
        path = _scope["path"]
        keep = "public, max-age=31536000, immutable" if path.startswith("/static/") else "no-store"
        headers.append((b"cache-control", keep.encode()))
    message["headers"] = headers


def _answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Whatever is in the way, in words: JSON for programs, a page for people, and quoting nothing of the request."""
    status, detail = _meaning(error)
    if getattr(error, "detail", "") == _GONE:
        return Response(b"", status_code=499)  # nobody reads it
    path = request.scope["path"]
    if status >= 500:  # noqa: PLR2004 (the server's own faults)
        logger.error("request_failed", extra={"status": status, "cause": type(error).__name__},
                     exc_info=error if status == 500 else None)  # fmt: skip  # noqa: PLR2004
    headers = dict(getattr(error, "headers", None) or {})
    if path.startswith((API, "/live/")):
        if status == 401:  # noqa: PLR2004
            headers["WWW-Authenticate"] = "Bearer"
        body = {"status_code": status, "detail": detail}
        return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)
    if isinstance(error, NotAuthorizedException) and request.method in ("GET", "HEAD"):
        query = request.scope["query_string"].decode("latin-1")
        here = path + (f"?{query}" if query else "")
        return Redirect("/login" if here == "/" else f"/login?next={quote(here, safe='')}", status_code=303)
    visitor: Visitor | None = request.scope.get("user")
    context = {"status": status, "detail": detail, "visitor": visitor, "title": _TITLES.get(status, "Not possible")}
    return Template("error.html", context=context, status_code=status, headers=headers)


_TITLES: Final = {
    401: "Log in first", 403: "Not allowed", 404: "No such page", 429: "Too many attempts", 503: "Not available now",
}  # fmt: skip


def _meaning(error: Exception) -> tuple[int, str]:
    match error:
        case NotReadable():
            return 503, f"{error}. {_NOTHING_LOST}"
        case NotWritten():
            return 503, "Kafka has not confirmed the event. Confirm again: it counts once, however often it is sent."
        case HTTPException():
            return error.status_code, _DETAILS.get(error.status_code) or error.detail
        case _:
            return 500, "Something failed on our side; the log says what."


_NOTHING_LOST: Final = (
    "Nothing is lost: while the ledger's Redis is away nobody is asked, and what waits is asked afterwards if there is "
    "still time."
)
_DETAILS: Final = {
    404: "There is nothing here.",
    405: "Method not allowed.",
    429: "Wait a minute, then try again.",
}
