"""The demo as a person starts it: it plays to its end, shows asks and reasons, and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.services.process import wait_until

COMMAND = [sys.executable, "-m", "referral_stream", "demo"]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("REFERRAL_STREAM_")}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    output = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*COMMAND, "--output", str(output)], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    return done, output


def test_it_ends_well(played: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = played
    assert (done.returncode, done.stderr) == (0, "")


def test_it_shows_three_asks_and_four_different_reasons_for_not_asking(
    played: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, output = played
    asks = [json.loads(line) for line in (output / "asks.jsonl").read_text().splitlines()]
    decisions = [json.loads(line)["data"] for line in (output / "decisions.jsonl").read_text().splitlines()]
    against = {
        reason["gate"]
        for decision in decisions
        if decision["outcome"] == "suppressed"
        for reason in decision["reasons"]
        if reason["answer"] != "pass"
    }
    assert sum(ask["type"] == "referral.ask.requested" for ask in asks) >= 3
    assert len(against) >= 4


def test_the_live_story_is_the_replayed_one(
    played: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    _, output = played
    subprocess.run(
        [sys.executable, "-m", "referral_stream", "replay", str(output / "world.jsonl"), "--output", str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=60,
        env=environment(),
    )

    def asked(folder: Path) -> set[tuple[str, str, str, str]]:
        rows = [json.loads(line)["data"] for line in (folder / "asks.jsonl").read_text().splitlines()]
        return {(row["customer_id"], row["trigger"], row["mode"], row["command_id"]) for row in rows if "mode" in row}

    assert asked(output) == asked(tmp_path) != set()


def test_kept_up_it_waits_for_an_interrupt_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--keep", "--output", str(tmp_path)], env=environment(), stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("Still up"):
                break
        children = psutil.Process(demo.pid).children(recursive=True)
        assert children
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    wait_until(lambda: not any(child.is_running() for child in children), "broker and Redis have ended")
