"""Where things lie on a customer's timeline."""

from __future__ import annotations

from datetime import UTC

import pytest

from referral_stream.console.rendering import away, clock, duration
from referral_stream.console.timeline import FOLDED_FROM, drawn
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from referral_stream.core.policy import Policy
from referral_stream.core.zones import Zone
from referral_stream.explain.tracks import Track, TrackItem

NOW = 1_789_552_800_000  # Wednesday 2026-09-16, 10:00 UTC
BERLIN = Zone("Europe/Berlin", "profile", ("Europe/Berlin",))
RULES = Policy().moments


def a_track(*items: TrackItem, name: str = "opportunities") -> Track:
    return Track(name, name, items)  # type: ignore[arg-type]


def test_everything_lies_within_the_picture_and_in_the_order_of_time() -> None:
    items = [TrackItem(NOW - days * DAY, "nps.responded", "x") for days in (400, 30, 2, 0)]
    found = drawn([a_track(*items, name="signals")], NOW, BERLIN, UTC, RULES)
    places = [point.x for point in found.tracks[0].points]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in (*places, found.now))


def test_idle_time_is_folded_and_says_how_long_it_was() -> None:
    items = [TrackItem(NOW - 90 * DAY, "x", "x"), TrackItem(NOW - HOUR, "x", "x")]
    found = drawn([a_track(*items, name="signals")], NOW, BERLIN, UTC, RULES)
    assert [fold.length for fold in found.folds] == [90 * DAY - HOUR]
    items[0] = TrackItem(NOW - HOUR - FOLDED_FROM, "x", "x")
    assert drawn([a_track(*items, name="signals")], NOW, BERLIN, UTC, RULES).folds == ()


def test_a_window_shows_settling_quiet_hours_and_the_moment() -> None:
    opens = NOW - 2 * HOUR
    item = TrackItem(opens, "open", "x", opens + DAY, open=True, settled=opens + 20 * MINUTE, moment=opens + 23 * HOUR)
    (bar,) = drawn([a_track(item)], NOW, BERLIN, UTC, RULES).tracks[0].bars
    assert bar.settle is not None
    assert 0 < bar.settle < bar.width
    ((quiet, length),) = bar.quiet  # 20:00 to 08:00 in Berlin: from 18:00 to 06:00 UTC
    assert quiet == pytest.approx(bar.x + bar.width * 10 / 24, abs=0.5)
    assert length == pytest.approx(bar.width * 12 / 24, abs=0.5)
    assert bar.moment == pytest.approx(bar.x + bar.width * 23 / 24, abs=0.5)


def test_open_trouble_reaches_to_now() -> None:
    item = TrackItem(NOW - DAY, "ticket", "ticket 4711 was open", open=True)
    found = drawn([a_track(item, name="trouble")], NOW, BERLIN, UTC, RULES)
    (bar,) = found.tracks[0].bars
    assert bar.x + bar.width == pytest.approx(found.now, abs=0.01)


def test_of_very_many_marks_the_newest_are_drawn_and_the_rest_is_counted() -> None:
    items = [TrackItem(NOW - number * HOUR, "x", "x") for number in range(1_000, 0, -1)]
    found = drawn([a_track(*items, name="signals")], NOW, BERLIN, UTC, RULES)
    assert len(found.tracks[0].points) + found.left_out == 1_000
    assert found.left_out == 600


@pytest.mark.parametrize(
    ("difference", "said"),
    [(0, "now"), (999, "now"), (-999, "now"), (3 * HOUR, "in 3 h"), (-2 * DAY, "2 days ago"), (-SECOND, "1 s ago")],
)
def test_a_wait_is_never_negative(difference: int, said: str) -> None:
    """D7."""
    assert away(NOW + difference, NOW) == said
    assert duration(min(difference, 0)) == "0 s"


def test_an_instant_says_its_seconds_and_the_year_where_it_is_far_away() -> None:
    """D9."""
    assert 'title="10:00:00 UTC · 2026-09-16T10:00:00Z">Wed 16 Sep 10:00<' in clock(NOW, UTC, NOW)
    assert ">Tue 16 Sep 2025 10:00<" in clock(NOW - 365 * DAY, UTC, NOW)
