"""The tables: every moment, counted again by DuckDB; the same bytes for the same log."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import pytest

from referral_stream.backtest.difference import Totals
from referral_stream.backtest.run import backtest
from referral_stream.backtest.tables import COLUMNS, tables
from referral_stream.core.instants import DAY
from tests.backtest.naive import written
from tests.backtest.test_run import A, B, lived
from tests.builders import a_customer, at, nps
from tests.replay.logs import BOUNDARY, fact_lines, write


def made(log: Path, output: Path) -> Totals:
    with tables(output) as kept:
        return backtest(log, A, B, BOUNDARY, rows=kept.add).totals


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("log") / "log", lived(customers=8, days=120))


def test_the_tables_hold_what_the_report_sums_up(log: Path, tmp_path: Path) -> None:
    totals = made(log, tmp_path / "out")
    moments = tmp_path / "out" / "moments.parquet"
    with duckdb.connect() as connection:
        counted = connection.execute(f"SELECT change, count(*) FROM '{moments}' GROUP BY ALL").fetchall()
        asked = connection.execute(
            "SELECT count(*) FILTER (a_outcome IN ('asked', 'soft')), count(*) FILTER (b_outcome IN ('asked', 'soft')),"
            f" count(*) FILTER (a_regret), count(*) FILTER (b_regret) FROM '{moments}'"
        ).fetchone()
        columns = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM '{moments}'").fetchall()]
    assert dict(counted) == totals.kinds
    assert asked == (*(totals.asked[side] for side in "ab"), *(totals.regrets.get(side, 0) for side in "ab"))
    assert columns == list(COLUMNS)
    with (tmp_path / "out" / "changed.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == totals.changed


def test_the_same_log_makes_the_same_bytes(log: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        made(log, tmp_path / name)
    for file in ("moments.parquet", "moments.csv", "changed.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_spreadsheet_takes_no_id_for_a_formula(tmp_path: Path) -> None:
    who = "=HYPERLINK(1)"
    told = (a_customer(who), nps(9, "Thu 12:30", customer=who), nps(9, at("Thu 12:30") + 22 * DAY, "r2", customer=who))
    made(write(tmp_path / "log", fact_lines(*told)), tmp_path / "out")
    with (tmp_path / "out" / "changed.csv").open(newline="") as file:
        assert [row["customer_id"] for row in csv.DictReader(file)] == ["'=HYPERLINK(1)"]
