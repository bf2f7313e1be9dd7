"""The demo as a person starts it: it plays to its end, shows asks and reasons, and leaves nothing running."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.demo.display import STARTING, DecisionBoard
from referral_stream.demo.play import INTRODUCTION, demo_policy
from referral_stream.demo.world import CAST
from referral_stream.replay.files import replay_file
from tests.services.process import wait_until

COMMAND = [sys.executable, "-m", "referral_stream", "demo"]


class Kept:
    """A demo that stays up, typed to and read from through pipes."""

    def __init__(self, output: Path) -> None:
        self._command = [*COMMAND, "--keep", "--output", str(output)]
        self.said = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def types(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def reads_until(self, words: str) -> None:
        """Read on until a line has these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"it ended without {words!r}: {self.said}")


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


def test_it_says_what_it_is_shows_a_mail_and_ends_with_commands_to_copy(
    played: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, output = played
    assert done.stdout.startswith(INTRODUCTION)
    assert max(map(len, INTRODUCTION.splitlines())) < 80
    closing = done.stdout.partition("\nAsks: 6, out of 15 opportunities.\n")[2]
    mail, _, commands = closing.partition("\n\n")[2].partition("\n\n")
    assert mail.startswith("… and this is the mail Ana gets:\n  │ Subject: Thank you for your answer\n  │ Hi Ana,\n")
    assert "the time saved" in mail
    assert "{" not in mail
    typed = [line.strip() for line in commands.splitlines() if line.startswith("  ")]
    program = typed[-1].removesuffix(" demo --keep")
    assert typed[:-1] == [
        f"{program} explain cus-deniz --log {output / 'world.jsonl'}",
        f"{program} record cus-ana --log {output / 'world.jsonl'} --policy {output / 'policy.toml'}",
        f"python3 -m json.tool --json-lines {output / 'decisions.jsonl'} | less",
    ]
    explained = subprocess.run(
        shlex.split(typed[0]), check=True, capture_output=True, text=True, env=environment(), timeout=60
    )
    assert "ticket 4711 is open" in explained.stdout
    recorded = subprocess.run(
        shlex.split(typed[1]), check=True, capture_output=True, text=True, env=environment(), timeout=60
    )
    assert "ref-301  refunded, reward reversed, 588.00 EUR" in recorded.stdout


def test_it_goes_on_after_the_ask(played: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, output = played
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "After the asks: follow-ups 9, withdrawn 3; rewards granted 1, taken back 1." in told
    for part in (
        "Ana, delighted said yes follow-up to be said by e-mail, by Tue 15 Sep 12:10: an introduction, or shall",
        "Ben, just got it working said maybe follow-up to be said by e-mail, by Thu 17 Sep 12:30: something easy",
        "Deniz, with ticket 4711 said no follow-up to be said by e-mail, by Wed 16 Sep 17:30: a no is fine",
        "the reward for the referral ref-301 is granted: credit of 25.00 EUR",
        "the reward for the referral ref-301 is taken back: what the contact bought was refunded",
        "withdrawn because they want no more messages: an introduction, or",
    ):
        assert len([line for line in told if part in line]) == 1, part
    rewards = [json.loads(line)["type"] for line in (output / "rewards.jsonl").read_text().splitlines()]
    assert rewards == ["referral.reward.granted", "referral.reward.reversed"]


def test_every_decision_shown_live_is_the_replayed_one(
    played: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    done, output = played
    replay_file(output / "world.jsonl", tmp_path, demo_policy(), Boundary(email_key=b"demo"))
    board = DecisionBoard({character.customer_id: character.title for character in CAST})
    names = ("decisions", "followups", "rewards")  # what comes after the week, the demo does not wait for
    decided = [
        message
        for name in names
        for message in map(json.loads, (tmp_path / f"{name}.jsonl").read_text().splitlines())
        if message["time"] < "2026-09-21T13:01"
    ]
    rows = {row.text().plain for message in decided if (row := board.show(message)) is not None}
    shown = done.stdout.partition(STARTING)[2].partition("\n\nAsks:")[0].strip().splitlines()
    assert set(shown) == rows
    assert len(shown) == len(rows)


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


def written_to(command: str, awaited: set[str]) -> set[str]:
    """Whom the worker that is started so writes to, until it has written to all of them."""
    people: list[str] = []
    with subprocess.Popen(
        f"exec env {command}",
        shell=True,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            people += [line.split()[3]] if line.startswith("--- ") else []
            if awaited <= set(people):
                worker.terminate()
                break
    return set(people)


def test_kept_up_it_does_what_is_pasted_with_a_worker_beside_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Kept(tmp_path) as demo:
        demo.reads_until("redis.sock")
        assert "It is Mon 21 Sep 15:00 in Berlin" in demo.said
        pasted = [line.strip() for line in demo.said.splitlines() if line.startswith(("  {", "  20m"))]
        assert [line[:3] for line in pasted] == ['{"t', "20m"]
        demo.types(pasted[0])
        demo.reads_until("It is Mon 21 Sep 15:05 in Berlin.")
        assert "settles until Mon 21 Sep 15:25, then asks" in demo.said
        demo.types(pasted[1])
        demo.reads_until("Mon 21 Sep 15:25 in Berlin.")
        assert "Mon 21 Sep 15:25  Henk, who slipped         gave a top score     asked " in demo.said
        demo.types("nonsense")
        demo.reads_until("let time pass: 20m, 3h, 2d.")
        demo.types('{"topic":"nps"}')
        demo.reads_until("what you typed:1: value: required")
        score = {"response_id": "mine-2", "score": 10}
        early = {"specversion": "1.0", "id": "mine-2", "type": "nps.responded", "subject": "cus-ida", "data": score}
        early["time"] = "2027-01-01T00:00:00Z"
        demo.types(json.dumps({"topic": "nps", "timestamp": "2026-09-21T16:00:00+02:00", "value": early}))
        demo.reads_until("not used, now a dead letter of nps: time_in_future")
        (command,) = (line.strip() for line in demo.said.splitlines() if "beside_demo.py" in line)
        asked = {"Ana", "Ben", "Carla", "Deniz", "Greta", "Henk", "Kim"}
        assert written_to(command, asked) - {"the"} == asked  # "the owner" of some, too
        children = psutil.Process(demo.process.pid).children(recursive=True)
        assert children
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(60) == 0
    wait_until(lambda: not any(child.is_running() for child in children), "broker and Redis have ended")
    decided = [json.loads(line)["data"] for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    henk = [(row["trigger"], row["outcome"]) for row in decided if row["customer_id"] == "cus-henk"]
    assert henk[-1] == ("nps_promoter", "asked")
    world = [json.loads(line) for line in (tmp_path / "world.jsonl").read_text().splitlines()]
    assert next(record["value"].get("id") for record in world if record["timestamp"] > "2026-09-21T13:04") == "mine-1"


@pytest.mark.parametrize("seen", ["One week of twelve customers", "Thu 6 Aug 10:20"])
def test_an_interrupt_is_one_quiet_line(tmp_path: Path, seen: str) -> None:
    """While the workers start, and while they work."""
    with subprocess.Popen(
        [*COMMAND, "--output", str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (background jobs ignore it)
    ) as demo:
        assert demo.stdout is not None
        assert any(seen in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, complaints = demo.communicate(timeout=60)
    assert (demo.returncode, complaints) == (130, "stopped\n")
