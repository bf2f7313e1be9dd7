"""Sorting in bounded memory."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from referral_stream.replay.sorting import Row, in_order


def some_rows(number: int, seed: int = 1) -> list[Row]:
    """Rows with many equal keys; the content tells them apart."""
    dice = random.Random(seed)
    return [
        Row(key=(dice.randrange(20), dice.choice("abc")), label=dice.choice(["x", "y"]), content=b"%d" % place)
        for place in range(number)
    ]


@pytest.mark.parametrize("memory_bytes", [1, 1_000, 40_000, 10**9])
def test_sorting_is_stable_however_little_fits_in_memory(memory_bytes: int) -> None:
    rows = some_rows(500)
    assert list(in_order(rows, memory_bytes)) == sorted(rows, key=lambda row: row.key)


def test_no_rows_are_no_rows() -> None:
    assert list(in_order([])) == []


def test_what_fits_in_memory_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    rows = some_rows(50)
    assert list(in_order(rows)) == sorted(rows, key=lambda row: row.key)
    with pytest.raises(FileNotFoundError):
        list(in_order(rows, memory_bytes=1_000))


def test_the_runs_vanish_with_the_iterator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    half_read = in_order(some_rows(500), memory_bytes=1_000)
    next(half_read)
    del half_read
    assert list(tmp_path.iterdir()) == []
