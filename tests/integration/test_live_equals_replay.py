"""The proof of the product: what was decided live, a replay of the log decides again, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from tests.integration.live import Pipeline, Said, parsed
from tests.integration.scripted_run import ScriptedRun


@pytest.fixture(scope="module")
def replayed(scripted_pipeline: Pipeline, scripted_run: ScriptedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which our own command has replayed the recorded ``customer-events``."""
    folder = tmp_path_factory.mktemp("replayed")
    log = folder / "customer-events.jsonl"
    log.write_bytes(b"".join(render_line(record) + b"\n" for record in scripted_run.events))
    arguments = ("replay", str(log), "--policy", str(scripted_pipeline.policy_file), "--output", str(folder))
    done = scripted_pipeline.run_command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "exact replay" in done.stdout
    return folder


def in_output_order(said: Iterable[Said]) -> bytes:
    """Records of ours as a replay writes them: by time and customer; a customer's own in the order of its partition."""
    ordered = sorted(said, key=lambda each: (each.now, each.effect.customer_id))
    return b"".join((each.record.value or b"") + b"\n" for each in ordered)


def test_a_replay_makes_the_decisions_of_the_live_run_byte_for_byte(replayed: Path, scripted_run: ScriptedRun) -> None:
    assert (replayed / "decisions.jsonl").read_bytes() == in_output_order(scripted_run.decisions)


def test_a_replay_makes_the_commands_of_the_live_run_byte_for_byte(replayed: Path, scripted_run: ScriptedRun) -> None:
    assert (replayed / "asks.jsonl").read_bytes() == in_output_order(scripted_run.asks)


def test_partitions_may_be_recorded_in_any_order(
    scripted_pipeline: Pipeline, scripted_run: ScriptedRun, replayed: Path, tmp_path: Path
) -> None:
    def by_partition_downwards(record: RawRecord) -> tuple[int, int]:
        return -record.partition, record.offset

    log = tmp_path / "otherwise.jsonl"
    events = sorted(scripted_run.events, key=by_partition_downwards)
    log.write_bytes(b"".join(render_line(record) + b"\n" for record in events))
    done = scripted_pipeline.run_command(
        "replay", str(log), "--policy", str(scripted_pipeline.policy_file), "--output", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    for name in ("decisions.jsonl", "asks.jsonl"):
        assert (tmp_path / name).read_bytes() == (replayed / name).read_bytes()


def test_the_log_holds_everything_the_decision_saw(scripted_run: ScriptedRun) -> None:
    kinds = {parsed(record)["type"] for record in scripted_run.events}
    assert {"wakeup.due", "reservation.granted", "reservation.denied"} <= kinds
