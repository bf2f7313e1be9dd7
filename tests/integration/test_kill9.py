"""The only worker is killed twice in the middle of the scripted run: what comes of it is the same.

A dispatch may be late by as long as nobody was there; it is neither lost, nor repeated, nor early.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from referral_stream.core.effects import AskRequested
from tests.integration.live import Pipeline, parsed, requested
from tests.integration.scripted import POLICY, Phase
from tests.integration.scripted_run import assert_same_asks, assert_state_is_exact, run_script
from tests.night import by_night
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

STORES = {
    # A worker without a name waits until its former self is given up; one with a name is let in at once.
    "memory": {},
    "rocksdb": {"store": "rocksdb", "static_member": "worker-1"},
}


@pytest.mark.parametrize(("store", "seed"), [by_night("memory", 1), ("rocksdb", 4)])
def test_a_killed_worker_loses_no_ask_repeats_none_and_its_state_is_exact(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path, store: str, seed: int
) -> None:
    dice = random.Random(seed)
    # After so many more requests to the ledger: most are due within a second of the morning, some come late.
    kills = {Phase.AT_ONCE: dice.randint(1, 300), Phase.LATE: dice.randint(1, 60)}
    settings = STORES[store] | ({"data_dir": str(tmp_path / "state")} if store == "rocksdb" else {})
    with Pipeline(kafka, redis_server.url, tmp_path, policy=POLICY, settings=settings) as pipeline:
        pipeline.create_topics()
        worker, before = pipeline.start(), 0
        requests = pipeline.reader("ledger-requests", "read_uncommitted")

        def requested_so_far() -> int:
            return sum(parsed(record).get("type") == "reservation.requested" for record in requests.read())

        def kill_and_restart(phase: Phase) -> None:
            nonlocal worker, before
            if phase in kills:
                enough = before + kills[phase]
                wait_until(
                    lambda: requested_so_far() >= enough, f"{enough} asks are requested", seconds=180, every=0.01
                )
                worker.kill9()
                worker = pipeline.start()
            before = requested_so_far()

        scripted_run = run_script(pipeline, kill_and_restart)
        assert_same_asks(scripted_run)
        assert scripted_run.outcomes() == scripted_run.expected_outcomes()
        assert_state_is_exact(pipeline, scripted_run)
        assert len(requested(scripted_run.asks)) > 500
        seen_by_all = [each.effect for each in pipeline.asks("read_uncommitted")]
        ids = {each.command_id for each in seen_by_all if isinstance(each, AskRequested)}
        assert ids == set(requested(scripted_run.asks))
