"""The receiver as a process: it says what keeps it from starting, and ends without losing what it has in hand."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from referral_stream import __version__
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.runtime.settings import PREFIX
from tests.receiver.running import JSON, make_topics, records_on, until
from tests.receiver.signing import BODY, SECRETS, signed_headers
from tests.services.certificates import issue_certificates
from tests.services.process import ServerProcess, accepts_connections, free_port

COMMAND = [sys.executable, "-m", "referral_stream", "ingest-http"]


def environment(**given: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ours = {"WEBHOOK_SECRET_STRIPE": SECRETS["stripe"], "LOG_FORMAT": "json"} | given
    return kept | {f"{PREFIX}{name}": value for name, value in ours.items()}


def stripe() -> dict[str, str]:
    """Signed now, on the process's own clock."""
    return JSON | signed_headers("stripe", at=time.time_ns() // 1_000_000)


@contextmanager
def serving(log: Path, **given: str) -> Iterator[tuple[ServerProcess, int]]:
    """The process, listening, and its port."""
    port = free_port()
    assigned = [f"{name}={value}" for name, value in environment(HTTP_PORT=str(port), **given).items()]
    process = ServerProcess("ingest-http", ["env", "-i", *assigned, *COMMAND], log)
    try:
        process.await_ready(lambda: accepts_connections(port), seconds=30)
        yield process, port
    finally:
        process.stop()


def ended(**given: str) -> tuple[int, list[str]]:
    """Exit code and lines of a process that does not start."""
    done = subprocess.run(COMMAND, env=environment(**given), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.splitlines()


async def test_a_stop_lets_the_request_in_hand_come_to_its_end(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await make_topics(broker.bootstrap, ["billing"])
    log = tmp_path / "log"
    begun, stopping = asyncio.Event(), asyncio.Event()

    async def slowly() -> Any:
        yield BODY[:5]
        begun.set()
        await stopping.wait()
        yield BODY[5:]

    with serving(log, KAFKA_BROKERS=broker.bootstrap) as (process, port):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/ready") as answer:
                assert answer.status == 200
            posting = asyncio.create_task(client.post("/webhooks/stripe", data=slowly(), headers=stripe()))
            await begun.wait()
            async with client.post("/webhooks/stripe", data=BODY, headers=stripe()) as answer:
                assert answer.status == 202
            process._process.terminate()
            await until(lambda: not accepts_connections(port), "new connections are no longer taken")
            stopping.set()
            async with await posting as answer:
                assert answer.status == 202
        await until(lambda: not process.running, "the process has ended")
        assert process._process.returncode == 0
    assert len(await records_on(broker.bootstrap, ["billing"])) == 2
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["listening", "draining", "stopped"]
    assert (lines[0]["version"], lines[0]["brokers"]) == (__version__, broker.bootstrap)


async def test_broken_http_is_told_without_a_word_of_it(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await make_topics(broker.bootstrap, ["billing"])
    log = tmp_path / "log"
    with (
        serving(log, KAFKA_BROKERS=broker.bootstrap, LOG_LEVEL="DEBUG") as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(b"POST /webhooks/stripe HTTP/1.1\r\nAuthorization: secret\r\nBroken secret\r\n\r\n")
        assert b" 400 " in connection.recv(1_000).splitlines()[0]
    assert "secret" not in log.read_text()
    assert "Traceback" not in log.read_text()


async def test_it_speaks_tls_with_the_certificate_of_the_settings(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await make_topics(broker.bootstrap, ["billing"])
    files = issue_certificates(tmp_path)
    given = {"HTTP_CERT_FILE": str(files.server), "HTTP_KEY_FILE": str(files.server)}
    trusted = ssl.create_default_context(cafile=str(files.authority))
    with serving(tmp_path / "log", KAFKA_BROKERS=broker.bootstrap, **given) as (_, port):
        async with aiohttp.ClientSession() as client:
            url = f"https://localhost:{port}/webhooks/stripe"
            async with client.post(url, data=BODY, headers=stripe(), ssl=trusted) as answer:
                assert answer.status == 202


async def test_what_keeps_it_from_starting_is_one_line(broker: EmbeddedBroker, tmp_path: Path) -> None:
    code, (line,) = ended(KAFKA_BROKERS=broker.bootstrap, TOPIC_PREFIX="missing.")
    assert code == 1
    assert "missing.billing: not on the broker" in json.loads(line)["cause"]
    assert "referral-stream topics create" in line

    await make_topics(broker.bootstrap, ["billing"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, (line,) = ended(KAFKA_BROKERS=broker.bootstrap, HTTP_PORT=str(port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in json.loads(line)["cause"]

    code, (line,) = ended(HTTP_CERT_FILE=str(tmp_path / "none.pem"), HTTP_KEY_FILE=str(tmp_path / "none.pem"))
    assert code == 2
    assert f"{PREFIX}HTTP_CERT_FILE or _KEY_FILE cannot be used" in line


def test_brokers_that_stay_away_are_waited_for_and_a_restart_asked_for() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    code, lines = ended(KAFKA_BROKERS=nobody, START_WAIT_SECONDS="1")
    assert code == 75
    waiting, given_up = map(json.loads, lines)
    assert (waiting["event"], given_up["event"]) == ("no_broker_answers", "receiver_not_started")
    assert all(f"no connection to Kafka at {nobody}" in line["cause"] for line in (waiting, given_up))


async def test_a_broker_that_comes_later_is_found(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await make_topics(broker.bootstrap, ["billing"])
    host, _, port = broker.bootstrap.rpartition(":")
    later, log = free_port(), tmp_path / "log"
    assigned = [f"{name}={value}" for name, value in environment(KAFKA_BROKERS=f"127.0.0.1:{later}").items()]
    process = ServerProcess("ingest-http", ["env", "-i", *assigned, f"{PREFIX}HTTP_PORT=0", *COMMAND], log)
    try:
        await until(lambda: "no_broker_answers" in log.read_text(), "it waits")

        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(host, int(port))
            await asyncio.gather(piped(reader, back), piped(there, writer))

        async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while some := await reader.read(65_536):
                writer.write(some)
            writer.close()

        async with await asyncio.start_server(through, "127.0.0.1", later):
            await until(lambda: "listening" in log.read_text(), "it has found the broker")
    finally:
        process.stop()


async def test_a_receiver_that_waits_for_brokers_can_be_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assigned = [f"{name}={value}" for name, value in environment(KAFKA_BROKERS=f"127.0.0.1:{free_port()}").items()]
    process = ServerProcess("ingest-http", ["env", "-i", *assigned, *COMMAND], log)
    await until(lambda: "no_broker_answers" in log.read_text(), "it waits")
    process.stop()
    assert process._process.returncode == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"WEBHOOK_SECRET_STRIPE": ""}, "nothing to receive"),
        ({"WEBHOOK_SECRET_STRYPE": "s" * 16}, "did you mean 'stripe'?"),
        ({"HTTP_PORT": "http"}, "HTTP_PORT: must be a whole number from 0 to 65,535"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(given: dict[str, str], told: str) -> None:
    code, (line,) = ended(**given)
    assert code == 2
    assert told in line
