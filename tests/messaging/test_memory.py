"""What the example worker remembers of a command, over crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.messaging.example import module

memory = module("memory")
NOW, LATER, LATEST = 1_000, 2_000, 3_000
DAY = 86_400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memory.sqlite"


def remembering(file: Path, now: float = NOW) -> Any:
    return memory.Memory(str(file), now)


def statuses(remembered: Any) -> list[tuple[str, str]]:
    return [(command["id"], command["status"]) for command in remembered.unreported()]


def waiting(remembered: Any, now: float = LATEST) -> str | None:
    """The id of the command that is due first."""
    command = remembered.due(now)
    return None if command is None else str(command["id"])


def report_all(remembered: Any) -> None:
    for command in remembered.unreported():
        remembered.reported(command["id"], command["status"])


def test_a_command_is_reported_as_accepted_and_keeps_what_it_says(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", NOW)
    assert tuple(remembered.due(LATER)) == ("c1", "ana", "accepted", NOW, None, LATER, LATEST, "{}")
    assert statuses(remembered) == [("c1", "accepted")]


@pytest.mark.parametrize(("now", "first"), [(LATER - 0.001, None), (LATER, "c1"), (LATEST + 1, "c1")])
def test_a_command_is_due_from_the_instant_it_names(file: Path, now: float, first: str | None) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", NOW)
    assert waiting(remembered, now) == first


@pytest.mark.parametrize("end", ["sent", "failed", "dropped_expired"])
def test_a_repeated_id_changes_nothing_whatever_came_of_the_first(file: Path, end: str) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.finish("c1", end, LATER)
    report_all(remembered)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", LATER)
    assert waiting(remembered) is None
    assert remembered.unreported() == []


def test_a_cancellation_ends_what_waits(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", NOW)
    remembered.cancel("c1", "ana", NOW + 1)
    assert waiting(remembered) is None
    assert statuses(remembered) == [("c1", "cancelled")]


def test_a_cancellation_that_comes_before_its_command_counts(file: Path) -> None:
    remembered = remembering(file)
    remembered.cancel("c1", "ana", NOW)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    assert waiting(remembered) is None
    assert statuses(remembered) == [("c1", "cancelled")]


@pytest.mark.parametrize("end", ["sent", "cancelled"])
def test_what_a_command_said_is_kept_only_while_it_waits(file: Path, end: str) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, '{"variables": {"company": "Initech"}}', NOW)
    if end == "cancelled":
        remembered.cancel("c1", "ana", LATER)
    else:
        remembered.finish("c1", end, LATER)
    (command,) = remembered.unreported()
    assert command["body"] == ""


def test_a_cancellation_that_comes_too_late_changes_nothing(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.finish("c1", "sent", NOW)
    remembered.cancel("c1", "ana", LATER)
    assert statuses(remembered) == [("c1", "sent")]


def test_memory_survives_a_crash_and_its_report_is_repeated_unchanged(file: Path) -> None:
    before = remembering(file)
    before.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    before.accept("c2", "ben", LATER, LATEST, "{}", NOW)
    before.finish("c1", "sent", NOW + 5)
    told = [tuple(command) for command in before.unreported()]
    after = remembering(file, LATER)
    assert [tuple(command) for command in after.unreported()] == told
    assert waiting(after) == "c2"


def test_only_what_was_published_counts_as_reported(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    (published,) = remembered.unreported()
    remembered.finish("c1", "sent", LATER)
    remembered.reported(published["id"], published["status"])
    assert statuses(remembered) == [("c1", "sent")]


def test_what_is_put_off_goes_behind_what_is_due_sooner(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.accept("c2", "ben", LATER, LATEST, "{}", NOW)
    assert waiting(remembered) == "c1"
    remembered.postpone("c1", LATER + 1)
    assert waiting(remembered) == "c2"


def test_an_id_is_forgotten_a_month_after_it_could_last_have_been_sent(file: Path) -> None:
    remembering(file).accept("c1", "ana", NOW, LATEST, "{}", NOW)
    assert waiting(remembering(file, LATEST + 30 * DAY)) == "c1"
    assert waiting(remembering(file, LATEST + 30 * DAY + 1)) is None
