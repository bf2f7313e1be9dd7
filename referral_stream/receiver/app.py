"""The receiver's HTTP side: who is let in, how much at once, and which answer is given when.

``202`` means: the broker has it. Everything else means: it is still yours. A request passes, in this order: the
endpoint (404), the shape of the request (405, 413, 415), the credentials as far as headers tell (401, 403), the body
(400, 408, 413), its signature (403), a place among those that are being written (429), the broker (413, 503). So nobody
takes a place who has not proved who they are. What holds for connections is in ``runtime.http_server``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiohttp import web

from referral_stream.contracts import forms
from referral_stream.contracts.records import EVENT_HEADER, SOURCE_HEADER, Headers
from referral_stream.receiver.answers import also_answered
from referral_stream.receiver.cloud_events import (
    WHOLE,
    NotAnEvent,
    NotForUs,
    Received,
    SourceRecord,
    Way,
    is_binary,
    records_of,
)
from referral_stream.receiver.endpoints import CONTROL, EVENTS, Endpoint
from referral_stream.receiver.signatures import SignatureVerdict, Signed
from referral_stream.receiver.writer import NotWritten, SourceWriter, TooLarge
from referral_stream.runtime.clock import Clock

logger = logging.getLogger(__name__)

BODY_SECONDS: Final = 10.0
"""How long a body may take to arrive."""
BODY_GRACE_SECONDS: Final = 2.0
BODY_BYTES_PER_SECOND: Final = 1_000
"""How fast a body has to arrive, after the grace: whoever sends less is holding a connection, not sending."""

READY_SECONDS: Final = 1.0
"""How long an answer of ``/ready`` holds, so that asking often does not become a load on the broker."""

BUSY_RETRY_SECONDS: Final = 1
BROKER_RETRY_SECONDS: Final = 5

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpRefusal(Exception):
    """A request that is refused: status, a code for machines, and what to do about it."""

    def __init__(self, status: int, error: str, detail: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status, self.error, self.detail, self.headers = status, error, detail, headers

    def response(self) -> web.Response:
        body = {"error": self.error} | ({"detail": self.detail} if self.detail else {})
        headers = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return web.json_response(body, status=self.status, headers=headers)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one request, and how many may be being written at once."""

    body_bytes: int
    requests: int
    body_seconds: float = BODY_SECONDS
    grace_seconds: float = BODY_GRACE_SECONDS


class Receiver:
    """The handlers. ``public_url`` is what vendors call, before the path; without one it is the request's own."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        writer: SourceWriter,
        limits: RequestLimits,
        *,
        public_url: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._writer = writer
        self._limits = limits
        self._public_url = public_url
        self._clock = clock or Clock()
        self._in_hand = 0  # whose endpoint is known and whose answer is not
        self._places = 0  # of those, the ones that are being written
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._asking = asyncio.Lock()
        self._ready, self._ready_until = False, 0.0

    def app(self) -> web.Application:
        """The application; it starts nothing and ends nothing."""
        app = web.Application(middlewares=[self._let_go, _in_json], client_max_size=self._limits.body_bytes)
        app.router.add_post("/webhooks/{vendor}", self.webhook)
        app.router.add_get("/webhooks/{vendor}", self.handshake)  # HEAD too: Intercom and SurveyMonkey check with it
        app.router.add_post("/mapped/{vendor}", self.webhook)
        app.router.add_get("/mapped/{vendor}", self.handshake)
        app.router.add_post("/events", self.events)
        app.router.add_post("/control", self.control)
        app.router.add_get("/live", self.live)
        app.router.add_get("/ready", self.ready)
        app.on_response_prepare.append(_anonymous)
        return app

    async def drain(self, seconds: float) -> None:
        """Return once nothing is in progress, or after this long. Not ready from now on; requests are still taken."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def webhook(self, request: web.Request) -> web.Response:
        """A webhook of a vendor, or of a source of the mapping file, as it came, to its topic."""
        endpoint = self._endpoint(request)
        media_type = request.content_type
        is_form = endpoint.takes_form and media_type == forms.MEDIA_TYPE
        self._check_shape(request, is_ours=is_form or _says_json(media_type), takes_form=endpoint.takes_form)
        headers: Headers = ((SOURCE_HEADER, endpoint.source.encode()),)
        if event := request.headers.get(endpoint.event_header or ""):
            headers += ((EVENT_HEADER, event.encode("utf-8", "replace")),)

        def records(body: bytes) -> Received:
            if not body:
                raise HttpRefusal(400, "empty", "there is no body")
            return Received((SourceRecord(endpoint.topic, body, headers=headers),))

        return await self._take(request, endpoint, records, lambda body: also_answered(endpoint.source, body))

    async def events(self, request: web.Request) -> web.Response:
        """CloudEvents: one in structured or binary mode, or a batch; facts alone."""
        return await self._cloud_events(request, EVENTS)

    async def control(self, request: web.Request) -> web.Response:
        """Likewise what only those may say who run the deployment: switches and approvals."""
        return await self._cloud_events(request, CONTROL)

    async def _cloud_events(self, request: web.Request, name: str) -> web.Response:
        if (endpoint := self._endpoints.get(name)) is None:
            raise _no_endpoint()
        way = Way(name, endpoint.topic, is_operators=name == CONTROL)
        media_type = request.content_type.lower()
        binary = is_binary(request.headers) and (_says_json(media_type) or not request.body_exists)
        self._check_shape(request, is_ours=media_type in WHOLE or binary)

        def records(body: bytes) -> Received:
            found = records_of(media_type, request.headers, body, way)
            if isinstance(found, NotAnEvent):
                raise HttpRefusal(400, "not_a_cloud_event", found.detail)
            if isinstance(found, NotForUs):
                raise HttpRefusal(403, "wrong_endpoint", found.detail)
            return found

        return await self._take(request, endpoint, records)

    async def handshake(self, request: web.Request) -> web.Response:
        """Whether there is such an endpoint: some vendors check before they send."""
        self._endpoint(request)
        return web.json_response({"receives": "POST"})

    async def live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 while a broker answers and no stop has been requested."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now >= self._ready_until:
                self._ready = await self._writer.answers()
                self._ready_until = now + READY_SECONDS
        ready = self._ready and not self._draining
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    def _endpoint(self, request: web.Request) -> Endpoint:
        """Vendors have theirs below ``/webhooks``, sources of the mapping file below ``/mapped``."""
        name = request.match_info["vendor"]
        found = None if name in (EVENTS, CONTROL) else self._endpoints.get(name)
        if found is None or (found.mapped is not None) is not request.path.startswith("/mapped/"):
            raise _no_endpoint()
        return found

    def _check_shape(self, request: web.Request, *, is_ours: bool, takes_form: bool = False) -> None:
        if not is_ours:
            form = f", or a form as {forms.MEDIA_TYPE}," if takes_form else ","
            raise HttpRefusal(415, "media_type", f"send JSON{form} and say so in Content-Type")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpRefusal(415, "content_encoding", "send the body uncompressed")
        if (request.content_length or 0) > self._limits.body_bytes:
            raise self._too_large()

    async def _take(
        self,
        request: web.Request,
        endpoint: Endpoint,
        records: Callable[[bytes], Received],
        also: Callable[[bytes], Mapping[str, str]] = lambda _: {},
    ) -> web.Response:
        """Let the request in and pass on its content; returns when the broker has it. Raises HttpRefusal.

        ``also``: of the body, what else the answer says.
        """
        verdict = endpoint.glance(request.headers)
        if verdict is not None:
            _admit(verdict)
        with self._in_progress():
            body = await self._body(request)
            if verdict is None:
                signed = Signed(request.method, self._called(request), request.headers, body)
                _admit(endpoint.verify(signed, self._clock.now()))
            made = records(body)
            try:
                with self._place():
                    await self._writer.write(made.records)
            except TooLarge:
                raise HttpRefusal(413, "too_large", "the topic takes no record of this size") from None
            except NotWritten as reason:
                logger.warning("not_written", extra={"source": endpoint.source, "cause": str(reason)})
                detail = "send it again; anything already written is recognised by its id"
                raise HttpRefusal(503, "not_written", detail, Retry_After=str(BROKER_RETRY_SECONDS)) from None
        logger.debug("accepted", extra={"source": endpoint.source, "records": len(made.records), "bytes": len(body)})
        letters = {"dead_letters": made.letters} if made.letters else {}
        answer = {"accepted": len(made.records) - made.letters, **letters, **also(body)}
        return web.json_response(answer, status=202)

    async def _body(self, request: web.Request) -> bytes:
        """The whole body. Raises HttpRefusal if it is too large, arrives too slowly or breaks off."""
        clock, limits = asyncio.get_running_loop().time, self._limits
        began, body = clock(), bytearray()
        try:
            while True:
                may_take = min(limits.body_seconds, limits.grace_seconds + len(body) / BODY_BYTES_PER_SECOND)
                async with asyncio.timeout_at(began + may_take):
                    chunk = await request.content.readany()
                if not chunk:
                    return bytes(body)
                body += chunk
                if len(body) > limits.body_bytes:
                    raise self._too_large()
        except TimeoutError:
            raise HttpRefusal(408, "slow", "the body arrives too slowly") from None
        except (web.RequestPayloadError, ConnectionError):
            raise HttpRefusal(400, "broken_off", "the body ends early") from None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._places >= self._limits.requests:
            raise HttpRefusal(429, "busy", "too many requests at once", Retry_After=str(BUSY_RETRY_SECONDS))
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    @contextmanager
    def _in_progress(self) -> Iterator[None]:
        self._in_hand += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    def _called(self, request: web.Request) -> str:
        """The URL that the vendor called: a proxy in front may have another name, scheme and path than we have."""
        before = self._public_url or f"{request.scheme}://{request.host}"
        return f"{before}{request.raw_path}"

    @web.middleware
    async def _let_go(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While draining: the sender's next request is for our successor."""
        response = await handler(request)
        if self._draining:
            response.force_close()
        return response

    def _too_large(self) -> HttpRefusal:
        return HttpRefusal(413, "too_large", f"at most {self._limits.body_bytes} bytes")


def _no_endpoint() -> HttpRefusal:
    return HttpRefusal(404, "no_endpoint", "no such endpoint, or no credential is configured for it")


def _says_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _admit(verdict: SignatureVerdict) -> None:
    """Return for an authentic request. Raises HttpRefusal for any other."""
    match verdict:
        case SignatureVerdict.AUTHENTIC:
            return
        case SignatureVerdict.UNSIGNED:
            raise HttpRefusal(401, verdict, "no signature, and no token", WWW_Authenticate="Bearer")
        case SignatureVerdict.FORGED:
            raise HttpRefusal(403, verdict, "the signature or token does not match")
        case SignatureVerdict.STALE:
            raise HttpRefusal(403, verdict, "the signed time is more than five minutes from now")


@web.middleware
async def _in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as JSON, and as an event in the log: with the endpoint's name, quoting nothing of the request."""
    try:
        return await handler(request)
    except HttpRefusal as refusal:
        _told(request, refusal.status, refusal.error)
        return refusal.response()
    except web.HTTPException as error:  # aiohttp's own: no such route, wrong method
        _told(request, error.status, error.reason)
        allowed: dict[str, Any] = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return HttpRefusal(error.status, error.reason.lower().replace(" ", "_"), **allowed).response()


def _told(request: web.Request, status: int, cause: str) -> None:
    # Only our own names are logged: a path may hold anything.
    resource = request.match_info.route.resource
    vendor = request.match_info.get("vendor", "") if status != web.HTTPNotFound.status_code else ""
    place = resource.canonical.replace("{vendor}", vendor or "*") if resource else "*"
    logger.warning("refused", extra={"endpoint": place, "status": status, "cause": cause})


async def _anonymous(_request: web.Request, response: web.StreamResponse) -> None:
    """Do not reveal which software answers, in which version."""
    response.headers.pop("Server", None)
