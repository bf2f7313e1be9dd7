from __future__ import annotations

import pytest
from faust.types import TP
from faust_batches.errors import ForeignWrite
from faust_batches.stateful import ChangelogEnds

CHANGELOG = TP("app-counts-changelog", 0)


def ends_at(offset: int) -> ChangelogEnds:
    ends = ChangelogEnds()
    ends.expect(CHANGELOG, offset)
    return ends


def test_our_records_land_one_batch_after_the_other() -> None:
    ends = ends_at(100)
    ends.landed(CHANGELOG, 100, 5)
    ends.landed(CHANGELOG, 105, 1)
    assert ends.end(CHANGELOG) == 106


@pytest.mark.parametrize("base", [99, 101])
def test_any_other_place_means_that_somebody_else_wrote(base: int) -> None:
    with pytest.raises(ForeignWrite, match=f"wrote at {base}, expected 100"):
        ends_at(100).landed(CHANGELOG, base, 5)


@pytest.mark.parametrize("base", [100, 103, 105])
def test_records_that_were_never_acknowledged_may_have_landed(base: int) -> None:
    ends = ends_at(100)
    ends.doubt(CHANGELOG, 5)
    ends.landed(CHANGELOG, base, 5)
    assert ends.end(CHANGELOG) == base + 5


def test_doubt_is_allowed_once_and_not_without_bounds() -> None:
    ends = ends_at(100)
    ends.doubt(CHANGELOG, 5)
    with pytest.raises(ForeignWrite):
        ends.landed(CHANGELOG, 106, 5)
    ends = ends_at(100)
    ends.doubt(CHANGELOG, 5)
    ends.landed(CHANGELOG, 100, 5)
    with pytest.raises(ForeignWrite):
        ends.landed(CHANGELOG, 106, 1)


def test_an_acknowledgement_without_an_offset_is_taken_as_expected() -> None:
    ends = ends_at(100)
    ends.landed(CHANGELOG, -1, 5)
    assert ends.end(CHANGELOG) == 105
