"""A clock is wrong: the broker's opinion of ours, and the ledger's beside everybody else's. Nothing is lost by it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from referral_stream.contracts.codec import effect_key, encode_effect
from tests.integration.live import Message, Pipeline
from tests.integration.test_order_of_effects import a_pipeline, await_exact, pieces
from tests.integration.test_status import StatusPage
from tests.ledger.builders import a_request
from tests.night import nightly
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until
from tests.services.redis import RedisServer

pytestmark = nightly
"""Every run looks at the parts, in faust-batches/tests/test_clock_watch.py and tests/stream/test_ledger_clock.py."""

TWO_HOURS_AHEAD = """
import pathlib, sys, time
from faust_batches import publish
from referral_stream.cli import main

ahead = pathlib.Path({file!r})
begin = publish._Filling._begin

def begin_ahead(filling):
    begin(filling)
    append = filling._append
    skew_ms = 7_200_000 if ahead.exists() else 0
    filling._append = lambda offset, _, *rest: append(offset, int(time.time() * 1_000) + skew_ms, *rest)

publish._Filling._begin = begin_ahead
sys.argv[0] = "referral-stream"
main()
"""
"""A worker whose clock is that far ahead, as far as the broker can see, while a file exists."""


@pytest.mark.parametrize("fencing", ["transactions", "none"])
def test_a_worker_whose_time_the_broker_refuses_says_so_and_goes_on_when_it_is_right(
    kafka: KafkaServer, tmp_path: Path, fencing: str
) -> None:
    page, ahead = StatusPage(), tmp_path / "the clock is ahead"
    settings = {"store": "memory", "fencing": fencing, **page.setting}
    with a_pipeline(kafka, tmp_path, settings) as pipeline:
        pipeline.create_topics()
        log = list(pieces(2))
        command = pipeline._command("run", "decide")
        run = command.index(sys.executable) + 1
        command[run : run + 2] = ["-c", TWO_HOURS_AHEAD.format(file=str(ahead))]
        ahead.touch()
        worker = ServerProcess("a worker whose clock is ahead", command, tmp_path / "worker-0.log")
        pipeline._workers.append(worker)
        wait_until(page.ready, "the worker is ready")
        pipeline.publish(message for piece in log[:2] for message in piece)
        wait_until(lambda: " clock_refused " in pipeline.log(), "the clock is named")
        (line,) = [line for line in pipeline.log().splitlines() if " clock_refused " in line]
        assert "to_fix=synchronise the clocks of all hosts (NTP)" in line
        tries = {"transactions": "assignments_total", "none": "batches_repeated_total"}[fencing]
        before = page.numbers(f"referral_stream_{tries}")
        wait_until(lambda: page.numbers(f"referral_stream_{tries}") > before, "it has tried again")
        assert not page.ready()
        assert pipeline.changelog("customers") == {}

        ahead.unlink()
        pipeline.publish(log[2])
        await_exact(pipeline)
        wait_until(page.ready, "the worker is ready again")
        pipeline.stop()
        assert "clock_accepted" in pipeline.log()
        assert "Traceback" not in pipeline.log()


def test_a_ledger_whose_clock_is_ahead_says_so_and_doctor_sees_it(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, redis_server.url, tmp_path) as pipeline:
        pipeline.create_topics()
        ahead = str(int(pipeline.settings["clock_start"]) + 60_000)
        pipeline.start("ledger", clock_start=ahead)
        wait_until(lambda: "ledger_rebuilt" in pipeline.log(), "the ledger is built")
        now = pipeline.now()
        request = a_request(due=now, now=now)
        pipeline.publish([Message("ledger-requests", encode_effect(request, now), effect_key(request))])
        wait_until(lambda: " requests_too_late " in pipeline.log(), "late requests are logged")
        (line,) = [line for line in pipeline.log().splitlines() if " requests_too_late " in line]
        assert "requests=1 late_seconds=" in line
        assert "this worker's clock is ahead of the other workers'" in line
        wait_until(lambda: pipeline.read("customer-events"), "it has answered")
        done = pipeline.run_command("doctor")
        assert done.returncode == 1, done.stdout
        assert "s later than it was: the clock of referral-stream/ledger" in done.stdout
        assert "1 of its last 1 answers were that it could not answer in time" in done.stdout
