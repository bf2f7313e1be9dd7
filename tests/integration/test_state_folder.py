"""The folder of a decide worker's state is damaged, or full: nobody is forgotten, and the log says what happened."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.live import Pipeline
from tests.integration.test_order_of_effects import a_pipeline, await_exact, pieces
from tests.integration.test_status import StatusPage
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

PENDING = "referral_stream_wakeups_pending"


def tables(state: Path, pipeline: Pipeline, table: str) -> list[Path]:
    """RocksDB's files of a table, of all partitions."""
    return sorted((state / "decide" / f"{pipeline.name}-decide" / table).glob("*/*.sst"))


def flip(file: Path) -> None:
    """Change 16 bytes at the beginning, where a table's entries are, however few."""
    content = bytearray(file.read_bytes())
    begin = 8
    content[begin : begin + 16] = bytes(byte ^ 0xFF for byte in content[begin : begin + 16])
    file.write_bytes(content)


def test_a_damaged_state_is_read_from_its_changelog_again(kafka: KafkaServer, tmp_path: Path) -> None:
    """One table is found damaged when wake-ups are read, the other one when a customer is."""
    state, page = tmp_path / "state", StatusPage()
    with a_pipeline(kafka, tmp_path, {"store": "rocksdb", "data_dir": str(state)}) as pipeline:
        pipeline.create_topics()
        log = list(pieces(12))
        pipeline.publish(message for piece in log[:-1] for message in piece)
        pipeline.start("decide")
        waiting = await_exact(pipeline).due()
        pipeline.stop()
        for table in ("wakeups", "customers"):
            assert tables(state, pipeline, table)
            for file in tables(state, pipeline, table):
                flip(file)

        pipeline.start("decide", **page.setting)
        wait_until(page.ready, "the worker is ready")
        wait_until(lambda: page.numbers(PENDING) == len(waiting), "everybody who waits for something is known")
        pipeline.publish(log[-1])
        await_exact(pipeline)
        pipeline.stop()
        said = pipeline.log()
        assert "Traceback" not in said
        again = [line for line in said.splitlines() if " store_read_again " in line]
        assert {table for table in ("wakeups", "customers") for line in again if f"/{table}/" in line} == {
            "wakeups",
            "customers",
        }
        assert all("Corruption: block checksum mismatch" in line for line in again)
        assert not list(state.rglob("*.damaged"))


FULL = 'ulimit -f 16; exec "$@"'
"""In units of 512 bytes: no file may grow beyond 8 KB."""

SMALL_BUFFERS = """
import sys
import faust_batches.stores as stores
stores._WRITE_BUFFER_BYTES = 64 << 10
from referral_stream.cli import main
sys.argv[0] = "referral-stream"
main()
"""


def test_a_full_disk_stops_the_worker_and_room_on_it_is_all_that_it_needs(kafka: KafkaServer, tmp_path: Path) -> None:
    """The files of the state may not grow any more; what they lack then is read from the changelog."""
    state = tmp_path / "state"
    settings = {"store": "rocksdb", "data_dir": str(state), "static_member": "worker", "partitions": "1"}
    with a_pipeline(kafka, tmp_path, settings) as pipeline:
        pipeline.create_topics()
        log = list(pieces(40))
        pipeline.publish(message for piece in log[:30] for message in piece)
        command = pipeline._command("run", "decide")
        run = command.index(sys.executable) + 1
        command[run : run + 2] = ["-c", SMALL_BUFFERS]
        worker = ServerProcess(
            "a worker on a full disk", ["sh", "-c", FULL, "sh", *command], tmp_path / "full-disk.log"
        )
        wait_until(lambda: not worker.running, "the worker has ended")
        worker.kill9()
        said = worker.log.read_text()
        assert worker._process.returncode == 1, said
        (line,) = [line for line in said.splitlines() if " app_failed " in line]
        assert f"the state folder {state}" in line
        assert "cannot be written: IO error" in line
        assert "File too large" in line
        assert "removed" not in line
        assert "Traceback" not in said

        pipeline.publish(message for piece in log[30:] for message in piece)
        pipeline.start("decide")
        await_exact(pipeline)
        pipeline.stop()
