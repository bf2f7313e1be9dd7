"""The webhook receiver as an operator runs it, and vendors who call it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.live import Pipeline
from tests.receiver.signing import signed_headers
from tests.services.process import ServerProcess, accepts_connections, free_port


class Door:
    """The receiver's address."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def post(self, path: str, body: Any, headers: dict[str, str], *, media_type: str = "application/json") -> int:
        """The status of the answer."""
        value = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, value, {"Content-Type": media_type} | headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def signed(self, vendor: str, body: Any, *, late: int = 0) -> int:
        """The answer to a webhook that the vendor signs, ``late`` ms ago.

        Signatures are of the day on which they are made; the clock of the workers may show another.
        """
        value = body if isinstance(body, bytes) else json.dumps(body).encode()
        path, at = f"/webhooks/{vendor}", time.time_ns() // 1_000_000 - late
        return self.post(path, value, signed_headers(vendor, value, at, url=self.url + path))

    def events(self, batch: list[dict[str, Any]], token: str) -> int:
        """The answer to a batch of CloudEvents."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.post("/events", batch, headers, media_type="application/cloudevents-batch+json")


@contextmanager
def receiving(pipeline: Pipeline) -> Iterator[Door]:
    """``referral-stream ingest-http`` with the pipeline's settings, meanwhile; it has to end in good order."""
    door = Door(port := free_port())
    # The receiver needs neither; and HubSpot signs the URL that it calls.
    settings = {"email_key": "", "redis_url": "", "http_port": str(port), "http_public_url": door.url}
    log = pipeline.home / "receiver.log"
    process = ServerProcess("referral-stream ingest-http", pipeline._command("ingest-http", **settings), log)
    try:
        process.await_ready(lambda: accepts_connections(port), seconds=30)
        yield door
    finally:
        process.stop()
    assert process._process.returncode == 0, log.read_text()
