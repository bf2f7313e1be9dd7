"""What the example worker remembers of a command, over crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.messaging.example import module

memory = module("memory")
NOW, LATER, LATEST = 1_000, 2_000, 3_000
DAY = 86_400_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "memory.sqlite"


def remembering(file: Path, now: int = NOW) -> Any:
    return memory.Memory(file, now)


def statuses(remembered: Any) -> list[tuple[str, str]]:
    return [(command.id, command.status) for command in remembered.unreported()]


def test_a_command_waits_until_it_is_due_and_is_reported_as_accepted(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", NOW)
    assert remembered.next()[:4] == ("c1", "ana", "accepted", NOW)
    assert (remembered.next().due, remembered.next().expires, remembered.next().body) == (LATER, LATEST, "{}")
    assert statuses(remembered) == [("c1", "accepted")]


@pytest.mark.parametrize(("now", "status"), [(LATEST - 1, "accepted"), (LATEST, "dropped_expired")])
def test_a_command_has_expired_from_the_instant_it_names(file: Path, now: int, status: str) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", now)
    assert statuses(remembered) == [("c1", status)]


@pytest.mark.parametrize("end", ["sent", "failed", "dropped_expired"])
def test_a_repeated_id_changes_nothing_whatever_came_of_the_first(file: Path, end: str) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.finish("c1", end, LATER)
    remembered.reported(remembered.unreported())
    remembered.accept("c1", "ana", NOW, LATEST, "{}", LATER)
    assert remembered.next() is None
    assert remembered.unreported() == []


def test_a_cancellation_ends_what_waits(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", LATER, LATEST, "{}", NOW)
    remembered.cancel("c1", "ana", NOW + 1)
    assert remembered.next() is None
    assert statuses(remembered) == [("c1", "cancelled")]


def test_a_cancellation_that_comes_before_its_command_counts(file: Path) -> None:
    remembered = remembering(file)
    remembered.cancel("c1", "ana", NOW)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    assert remembered.next() is None
    assert statuses(remembered) == [("c1", "cancelled")]


def test_a_cancellation_that_comes_too_late_changes_nothing(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.finish("c1", "sent", NOW)
    remembered.cancel("c1", "ana", LATER)
    assert statuses(remembered) == [("c1", "sent")]


def test_what_was_remembered_is_there_after_a_crash_and_a_report_is_made_again_unchanged(file: Path) -> None:
    before = remembering(file)
    before.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    before.accept("c2", "ben", LATER, LATEST, "{}", NOW)
    before.finish("c1", "sent", NOW + 5)
    told = before.unreported()
    after = remembering(file, LATER)
    assert after.unreported() == told
    assert after.next().id == "c2"


def test_only_what_was_published_counts_as_reported(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    published = remembered.unreported()
    remembered.finish("c1", "sent", LATER)
    remembered.reported(published)
    assert statuses(remembered) == [("c1", "sent")]


def test_what_is_put_off_goes_behind_what_is_due_sooner(file: Path) -> None:
    remembered = remembering(file)
    remembered.accept("c1", "ana", NOW, LATEST, "{}", NOW)
    remembered.accept("c2", "ben", LATER, LATEST, "{}", NOW)
    assert remembered.next().id == "c1"
    remembered.postpone("c1", LATER + 1)
    assert remembered.next().id == "c2"


def test_an_id_is_forgotten_a_month_after_it_could_last_have_been_sent(file: Path) -> None:
    remembering(file).accept("c1", "ana", NOW, LATEST, "{}", NOW)
    assert remembering(file, LATEST + 30 * DAY).next() is not None
    assert remembering(file, LATEST + 30 * DAY + 1).next() is None
