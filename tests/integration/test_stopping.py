"""SIGTERM at any moment of a worker's life: it ends with 0, says nothing of faults, and what it leaves is exact."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_order_of_effects import a_pipeline, await_exact, pieces
from tests.night import by_night
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

EXIT_STUCK = 70
MOMENTS = 12
LONGEST_BETWEEN_SECONDS = 0.75


def has_begun(worker: ServerProcess) -> Callable[[], bool]:
    """Python has read the program, and the program has set its signal handlers."""
    status = Path(f"/proc/{worker.pid}/status")
    bit = 1 << (signal.SIGTERM - 1)

    def handles_sigterm() -> bool:
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        return bool(int(lines["SigCgt"], 16) & bit)

    return handles_sigterm


def exit_code(worker: ServerProcess, *, signals: int = 1, seconds: float = 30) -> int | None:
    for _ in range(signals):
        if worker.running:
            worker._process.send_signal(signal.SIGTERM)
    wait_until(lambda: not worker.running, "the worker has ended", seconds=seconds)
    worker.stop()
    return worker._process.returncode


def faults(worker: ServerProcess) -> list[str]:
    """What it has said of tracebacks, exceptions and tasks left behind."""
    bad = ("Traceback", "Exception", "never retrieved", "was destroyed", "app_failed", " ERROR ")
    lines = (line for line in worker.log.read_text().splitlines() if " ERROR aiokafka" not in line)  # it tries again
    return [line for line in lines if any(word in line for word in bad)]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("fencing", ["transactions", by_night("none")])
def test_a_worker_may_be_stopped_at_any_moment(kafka: KafkaServer, tmp_path: Path, fencing: str) -> None:
    """While it starts, joins, recovers, takes partitions from another one, and works; by one signal or by two."""
    with a_pipeline(kafka, tmp_path, {"fencing": fencing}) as pipeline:
        pipeline.create_topics()
        log = list(pieces(MOMENTS + 1))
        begun = time.monotonic()
        other = pipeline.start("decide")
        pipeline.publish(log[0])
        await_exact(pipeline)
        # So they reach from the first connection into the work, on slow machines too.
        between = min((time.monotonic() - begun) / MOMENTS, LONGEST_BETWEEN_SECONDS)
        for moment, piece in enumerate(log[1:-1]):
            worker = pipeline.start("decide")
            wait_until(has_begun(worker), "the worker takes signals", every=0.01)
            pipeline.publish(piece)
            time.sleep(moment * between)  # no synchronisation: any moment will do
            assert exit_code(worker, signals=1 + moment % 2) == 0, (moment, worker.log.read_text()[-4000:])
            assert faults(worker) == [], moment
        pipeline.publish(log[-1])
        await_exact(pipeline, repeats=fencing == "none")
        assert exit_code(other) == 0
        assert faults(other) == []


def test_a_worker_tells_on_request_what_it_is_doing_and_goes_on(kafka: KafkaServer, tmp_path: Path) -> None:
    with a_pipeline(kafka, tmp_path, {}) as pipeline:
        pipeline.create_topics()
        pipeline.publish(next(pieces(1)))
        worker = pipeline.start("decide")
        await_exact(pipeline)
        worker._process.send_signal(signal.SIGUSR1)
        places = (
            "Current thread",
            "Task lane ",
            "Lane._run:",
            "Fetcher._fetch_requests_routine:",
            "_coordination_routine:",
        )
        wait_until(lambda: all(place in pipeline.log() for place in places), "threads and tasks are told")
        assert exit_code(worker) == 0


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("fencing", ["transactions", by_night("none")])
def test_a_worker_whose_broker_is_away_ends_in_time(tmp_path: Path, fencing: str) -> None:
    """0, or 70 where something could not be finished: it is delivered again."""
    with KafkaServer() as kafka, a_pipeline(kafka, tmp_path, {"fencing": fencing}) as pipeline:
        pipeline.create_topics()
        log = list(pieces(1))
        pipeline.publish(log[0])
        worker = pipeline.start("decide")
        await_exact(pipeline, repeats=fencing == "none")
        kafka.stop()
        assert exit_code(worker, seconds=35) in (0, EXIT_STUCK)
        assert "Traceback" not in worker.log.read_text()
        kafka.start()
        pipeline.publish(log[1])
        pipeline.start("decide")
        await_exact(pipeline, repeats=fencing == "none")
        pipeline.stop()
