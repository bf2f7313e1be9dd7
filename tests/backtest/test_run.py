"""Two policies on one log: what is compared, that shards and cores change nothing, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.backtest import run, shards
from referral_stream.backtest.components import Components, ties_of
from referral_stream.backtest.difference import BacktestCompared, Totals
from referral_stream.backtest.fates import OpportunityFate, OpportunityHead
from referral_stream.backtest.report import render
from referral_stream.backtest.run import Backtest, backtest
from referral_stream.core import events as ev
from referral_stream.core.effects import AskRequested
from referral_stream.core.events import Event, Link
from referral_stream.core.instants import DAY
from referral_stream.core.policy import CapLimits, Holdout, Policy
from referral_stream.replay.reading import BadLine, LogStartsLate, MixedLog
from referral_stream.replay.virtual_run import FactReplay
from tests.backtest.naive import compared, tally, written
from tests.builders import Told, a_customer, answered, at, command_of, fact, nps, pause, ticket_opened
from tests.properties.comparing import arrivals
from tests.replay.logs import BOUNDARY, fact_lines, recorded_lines, write
from tests.rules import rule
from tests.worlds.afterwards import world
from tests.worlds.persons import crowd
from tests.worlds.records import Record
from tests.worlds.years import Year

A = Policy(holdout=Holdout(percent=0))
B = A.model_copy(update={"name": "eager", "caps": CapLimits(customer_days=20, account_gap_days=2)})

OTHER = Policy.model_validate(
    B.model_dump()
    | {"moments": A.moments.model_dump() | {"slot_weekday": None}, "score": A.score.model_dump() | {"soft_at": 60}}
)
"""Asks sooner, moves what is asked, and does not ask those who are less ready."""


def lived(customers: int, days: int) -> list[Record]:
    """A part of the simulator's year, in which customers answer."""
    year, records = Year(seed=5, customers=customers, days=days), []

    def recorded() -> Iterator[Record]:
        for record in year:
            records.append(record)
            yield record

    for items in FactReplay(A).run(arrivals(recorded())):
        for _, effect in items:
            if isinstance(effect, AskRequested):
                year.answer(effect)
    return records


def rows_of(log: Path, a: Policy = A, b: Policy = B, **how: Any) -> tuple[Backtest, list[BacktestCompared]]:
    rows: list[BacktestCompared] = []
    return backtest(log, a, b, BOUNDARY, rows=rows.extend, **how), rows


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks and many shards, however small the log."""
    monkeypatch.setattr(shards, "SHARD_EVENTS", 40)
    monkeypatch.setattr(shards.cut, "__defaults__", (4_000,))


def worlds() -> Iterator[tuple[str, list[Record]]]:
    yield "year", lived(customers=16, days=120)
    for seed in range(3):
        yield f"crowd {seed}", crowd(seed).records
        yield f"afterwards {seed}", world(seed).records


@rule("9.14", "A9.1", "A9.2", "A9.4")
@pytest.mark.usefixtures("small_shards")
def test_shard_by_shard_it_is_the_comparison_of_two_replays_of_the_whole_log(tmp_path: Path) -> None:
    seen: set[str] = set()
    for name, records in worlds():
        log = written(tmp_path / "log.jsonl", records)
        expected = compared(log, A, OTHER)
        found, rows = rows_of(log, b=OTHER)
        kinds = {row.head.opportunity_id: row.kind for row in rows if row.kind != "neither"}
        assert kinds == expected.kinds, name
        for side in (0, 1):
            regretted = {row.head.opportunity_id for row in rows if row.regrets[side]}
            assert regretted == expected.regrets[side], name
        assert {row.head.opportunity_id for row in rows} == expected.moments, name
        assert found.totals.kinds == tally(row.kind for row in rows), name
        seen |= set(kinds.values())
    assert seen == {"same", "moved", "gained", "lost"}, "worlds without one of them prove nothing about it"


@pytest.mark.usefixtures("small_shards")
def test_a_log_of_customer_events_is_compared_by_its_facts(tmp_path: Path) -> None:
    told = (
        a_customer(),
        nps(9, "Thu 12:30"),
        ticket_opened("Fri 09:00"),
        a_customer("bo"),
        nps(10, "Fri 09:00", customer="bo"),
    )
    facts, recorded = (
        write(tmp_path / name, lines(*told)) for name, lines in (("f", fact_lines), ("r", recorded_lines))
    )
    from_facts, from_recorded = (backtest(log, A, B, BOUNDARY) for log in (facts, recorded))
    assert from_facts.totals.matrix == from_recorded.totals.matrix != {}
    assert from_recorded.log.ours


@pytest.mark.usefixtures("small_shards")
def test_a_clock_that_jumps_at_the_edge_of_a_block_jumps_for_all(tmp_path: Path) -> None:
    """What is said of a block before the one in front of it has been read is only a guess."""
    records = lived(customers=6, days=60)
    records[3]["timestamp"] = "2026-02-10T00:00:00.000Z"  # from here on the clock stands still for weeks
    records[4]["timestamp"] = "2026-02-10T00:00:00.000Z"
    log = written(tmp_path / "log", records)
    found, rows = rows_of(log)
    assert {r.head.opportunity_id: r.kind for r in rows if r.kind != "neither"} == compared(log, A, B).kinds
    assert found.log.counts.remarks.late > 100


def test_neither_cores_nor_a_second_run_change_a_byte_of_the_page(tmp_path: Path) -> None:
    log = written(tmp_path / "log", lived(customers=8, days=100))
    pages = {render(backtest(log, A, B, BOUNDARY, cores=cores), A, B) for cores in (1, 1, 2)}
    assert len(pages) == 1


@rule("A9.2")
@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        ({}, {}, "same"),
        ({}, {"at": 2}, "moved"),
        ({}, {"mode": "soft", "outcome": "soft"}, "moved"),
        ({}, {"template": "other"}, "moved"),
        ({}, {"channel": "phone"}, "moved"),
        ({}, {"score": 99}, "same"),
        ({"outcome": "suppressed"}, {}, "gained"),
        (None, {}, "gained"),
        ({}, {"outcome": "holdout"}, "lost"),
        ({}, None, "lost"),
        ({"outcome": "shadow"}, {"outcome": "expired"}, "neither"),
    ],
)
def test_asked_alike_is_the_same_in_instant_mode_template_and_channel(
    a: dict[str, Any] | None, b: dict[str, Any] | None, kind: str
) -> None:
    moment = OpportunityHead("o", "ana", None, "renewal", 0, DAY, "UTC")
    asked: dict[str, Any] = {
        "outcome": "asked", "at": 1, "score": 80, "mode": "direct", "channel": "email", "template": "renewal",
        "blocking": (), "settled": 0,
    }  # fmt: skip
    one, other = (None if each is None else OpportunityFate(**asked | each) for each in (a, b))
    assert BacktestCompared(moment, one, other).kind == kind


@rule("A9.1")
def test_a_policy_in_shadow_is_compared_as_if_it_asked_and_a_pause_of_the_log_stops_both(tmp_path: Path) -> None:
    for more, asked in (((), {"a": 1, "b": 1}), ((pause("Thu 12:00", "trigger", "nps_promoter"),), {})):
        log = write(tmp_path / "log", fact_lines(a_customer(), *more, nps(9, "Thu 12:30")))
        found = backtest(log, A.model_copy(update={"shadow": True}), B, BOUNDARY)
        assert found.totals.asked == asked


@rule("A9.1")
def test_a_pause_that_customer_events_tells_of_stops_both(tmp_path: Path) -> None:
    told = (
        a_customer(),
        a_customer("bo"),
        nps(9, "Thu 12:30"),
        pause("Thu 12:55", "trigger", "nps_promoter"),
        nps(9, "Thu 13:30", customer="bo"),
    )
    log = write(tmp_path / "log", recorded_lines(*told))
    assert b"control.paused" in log.read_bytes()
    assert backtest(log, A, B, BOUNDARY).totals.asked == {"a": 1, "b": 1}


def happy_twice(*more: Told) -> tuple[Told, ...]:
    """Asked on Thursday; B asks again three weeks later."""
    return (a_customer(), nps(9, "Thu 12:30"), *more, nps(10, at("Thu 12:30") + 22 * DAY, response="later"))


@rule("A9.3")
def test_an_answer_counts_where_its_command_exists_and_is_never_credited_to_another_ask(tmp_path: Path) -> None:
    log = write(tmp_path / "log", fact_lines(*happy_twice(answered("yes", "Thu 13:00", command_of()))))
    _, rows = rows_of(log)
    first, second = sorted(rows, key=lambda row: row.head.opens)
    assert first.kind == "same"
    assert [None if side is None or side.later is None else side.later.answer for side in (first.a, first.b)] == [
        "yes"
    ] * 2
    assert second.kind == "gained"
    assert second.b is not None
    assert second.b.later is not None
    assert not second.b.later.is_known


@rule("A9.3")
def test_a_stop_in_the_log_holds_back_the_policy_that_would_have_gone_on(tmp_path: Path) -> None:
    log = write(tmp_path / "log", fact_lines(*happy_twice(answered("stop", "Thu 13:00", command_of()))))
    assert backtest(log, A, B, BOUNDARY).totals.kinds == {"same": 1, "neither": 1}


@rule("A9.4")
def test_trouble_after_an_ask_that_only_b_makes_is_bs_regret(tmp_path: Path) -> None:
    trouble = ticket_opened(at("Thu 12:30") + 25 * DAY)
    found = backtest(write(tmp_path / "log", fact_lines(*happy_twice(trouble))), A, B, BOUNDARY)
    assert found.totals.regrets == {"b": 1, "b_alone": 1}
    assert [row.kind for row in found.totals.listed] == ["gained"]


@rule("A9.4")
@pytest.mark.parametrize("days", [0, 2])
def test_a_policy_that_looks_away_has_no_fewer_regrets_for_it(days: int, tmp_path: Path) -> None:
    """R156: the same ask at the same instant, into the same complaint."""
    looks_away = Policy.model_validate({"trouble": {"complaint_days": days}})
    complaint = fact(ev.ComplaintMade(reference="x"), "Thu 15:00")
    log = write(tmp_path / "log", fact_lines(*a_customer(), nps(9, "Thu 12:30"), complaint))
    assert backtest(log, A, looks_away, BOUNDARY).totals.regrets == {"a": 1, "b": 1}


@rule("A9.5")
def test_the_burst_breaker_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    crowd_ = [told for n in range(60) for told in (a_customer(f"c{n}"), nps(9, "Thu 12:30", customer=f"c{n}"))]
    log = write(tmp_path / "log", fact_lines(*crowd_))
    found = backtest(log, A, B, BOUNDARY)
    assert found.totals.asked == {"a": 60, "b": 60}
    assert [(trip.trigger, trip.openings) for trip in found.breaker["a"]] == [("nps_promoter", 60)]


def test_a_log_without_its_beginning_is_refused_unless_that_is_wanted(tmp_path: Path) -> None:
    lines = recorded_lines(a_customer(), nps(9, "Thu 12:30"))
    log = write(tmp_path / "log", [line.replace(b'"offset":', b'"offset":7') for line in lines])
    with pytest.raises(LogStartsLate, match="starts at offset 7"):
        backtest(log, A, B, BOUNDARY)
    assert backtest(log, A, B, BOUNDARY, partial=True).log.starts_late


@pytest.mark.usefixtures("small_shards")
def test_a_mixed_log_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    lines = [*fact_lines(a_customer(), nps(9, "Thu 12:30")), *recorded_lines(a_customer(), nps(9, "Thu 12:30"))]
    with pytest.raises(MixedLog):
        backtest(write(tmp_path / "log", lines), A, B, BOUNDARY)


def test_an_empty_log_has_no_moments(tmp_path: Path) -> None:
    found = backtest(write(tmp_path / "log", []), A, B, BOUNDARY)
    assert (found.totals.moments, found.customers) == (0, 0)
    assert "The log holds no moment to ask." in render(found, A, B)


def test_who_was_a_customer_before_the_log_begins_is_counted(tmp_path: Path) -> None:
    new = fact(ev.SignedUp(), "Fri 10:00", customer="new")
    found = backtest(write(tmp_path / "log", fact_lines(nps(9, "Thu 12:30"), new)), A, B, BOUNDARY)
    assert (found.customers, found.known_before) == (2, 1)


# ------------------------------------------------------------------------------------------------------- who belongs


def event(data: ev.Data, subject: str = "ana", **more: Any) -> Event:
    return Event(id="e", source="test", type=data.type, subject=subject, time=0, data=data, **more)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (event(ev.UsageRecorded()), {"ana"}),
        (event(ev.UsageRecorded(), account="acme"), {"ana", "~account acme"}),
        (
            event(ev.ProfileChanged(account_id="acme", email_hmac="e" * 64)),
            {"ana", "~account acme", f"~email:{'e' * 64}"},
        ),
        (event(ev.Aliased(alias="bo")), {"ana", "bo"}),
        (event(ev.Linked(kind="charge", value="ch_1")), {"ana", "~charge:ch_1"}),
        (event(ev.ChargeRefunded(charge_id="ch_1"), "", link=Link("charge", "ch_1")), {"~charge:ch_1"}),
        (
            event(
                ev.ReferralGiven(
                    referral_id="r", contact=ev.Contact(ref_hmac="c" * 64, email_hmac="e" * 64, consented=True)
                )
            ),
            {"ana", "~referral:r", f"~contact {'c' * 64}", f"~contact {'e' * 64}"},
        ),
        (event(ev.ReferralStatusChanged(referral_id="r", status="contacted")), {"ana", "~referral:r"}),
        (event(ev.ControlPaused(scope="all", by="lee", why="w"), ""), set()),
    ],
)
def test_all_that_two_customers_may_share_ties_them(given: Event, names: set[str]) -> None:
    assert set(ties_of(given)) == names


def test_components_are_whole_and_shards_follow_from_the_log_alone() -> None:
    components = Components()
    components.numbers(["a", "b", "c"], [5, 5, 5], [(0, 2)])
    numbers = components.numbers(["d", "b", "e"], [5, 5, 0], [(1, 2)])
    shard = components.shards(10)
    a, b, c, d, e = (components.numbers([name], [0], [])[0] for name in "abcde")
    assert numbers == [d, b, e]
    assert shard[a] == shard[c] != shard[b] == shard[e]
    assert sorted(map(sorted, components.customers_together())) == [["a", "c"], ["b", "e"], ["d"]]


def test_sums_may_be_added_in_any_order() -> None:
    def some(names: str) -> Totals:
        found = Totals()
        for name in names:
            asked = OpportunityFate("asked", ord(name), 80, "direct", "email", "t", (), 0)
            found.take(BacktestCompared(OpportunityHead(name, name, None, "renewal", 0, DAY, "UTC"), None, asked), DAY)
        return found

    one, other = some("ab"), some("cd")
    one.add(other)
    whole = some("dbca")
    whole.add(Totals())
    assert one == whole


def test_a_pool_hands_out_its_tasks_one_by_one() -> None:
    assert list(run.Pool(None, 1).in_order(len, iter(["a", "bb"]))) == [1, 2]


def test_a_line_of_the_log_that_is_not_json_names_its_number(tmp_path: Path) -> None:
    lines = fact_lines(a_customer(), nps(9, "Thu 12:30"))
    log = write(tmp_path / "log", [*lines, b"no"])
    for cores in (1, 2):
        with pytest.raises(BadLine, match=f"log:{len(lines) + 1}: not JSON"):
            backtest(log, A, B, BOUNDARY, cores=cores)
    assert backtest(log, A, B, BOUNDARY, skip_bad=True).log.counts.bad_lines == 1
    assert orjson.loads(lines[0])
