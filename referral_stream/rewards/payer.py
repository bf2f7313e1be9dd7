"""One request to the payer, and what came back. No redirection is followed, no cookie kept, no proxy of the
environment asked; what an exception says is not repeated, since it names the address.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)

from referral_stream import __version__
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.rewards.answers import PayerAnswer

MEDIA_TYPE: Final = "application/cloudevents+json"
LONGEST_REFERENCE: Final = 256
"""Of what the payer calls a refusal, in characters: what ``reward.settled`` takes."""
_READ_BYTES: Final = 16_384
"""Of an answer: more than a reference needs."""


class Payer:
    """The webhook. Open from entry to exit; any number of requests at a time, which whoever calls bounds."""

    def __init__(self, url: str, *, tls: ssl.SSLContext, timeout_seconds: float) -> None:
        self._url = url
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        is_tls = urlsplit(self._url).scheme == "https"
        self._session = ClientSession(
            # A connection for each request: on one that is kept, an answer too many would be taken for the next one's.
            connector=TCPConnector(limit=0, force_close=True, ssl=self._tls if is_tls else False),
            timeout=ClientTimeout(total=self._timeout_seconds),
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": f"referral-stream/{__version__}", "Content-Type": MEDIA_TYPE},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def tell(self, body: bytes, headers: Mapping[str, str]) -> PayerAnswer:
        """Post the body once; whatever goes wrong is an answer without a status."""
        if self._session is None:
            raise RuntimeError("the payer is not open")
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                # The status is the answer: a body that breaks off, or never comes, takes nothing away from it.
                return PayerAnswer(
                    response.status,
                    retry_after=response.headers.get("Retry-After"),
                    reference=await _reference(response),
                )
        except (ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            return PayerAnswer(None, cause=self._in_words(error))

    def _in_words(self, error: BaseException) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {self._timeout_seconds:g} s"
            case ClientConnectorCertificateError():
                return "its certificate is not trusted"
            case ClientSSLError():
                return "it does not speak TLS as it should"
            case ClientConnectorDNSError():
                return "no such host"
            case ClientConnectorError(os_error=OSError(strerror=str(words))):
                return words.lower()
            case ServerDisconnectedError() | ConnectionError():
                return "it closed the connection"
            case _:
                return type(error).__name__


async def _reference(response: ClientResponse) -> str | None:
    """``{"reference": "…"}`` of a final refusal, as the payer calls it; None where there is no such text."""
    if response.status != 422:  # noqa: PLR2004 (the one answer whose body says something)
        return None
    try:
        body = bytearray()
        while len(body) <= _READ_BYTES and (piece := await response.content.readany()):
            body += piece
        document = read_json(bytes(body))
    except (ClientError, OSError, NotJson):
        return None
    found = document.get("reference") if type(document) is dict else None
    if type(found) is not str or not found.strip() or len(found) > LONGEST_REFERENCE or not found.isprintable():
        return None
    return found
