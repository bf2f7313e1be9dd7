"""``referral-stream backtest``: what it prints and writes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.core.instants import DAY, parse_instant
from referral_stream.ops.export import Exported, Interval
from referral_stream.runtime.deployment import Deployment
from tests.builders import a_customer, at, nps
from tests.replay.logs import fact_lines, recorded_lines, write

STORY = (a_customer(), nps(9, "Thu 12:30"), nps(10, at("Thu 12:30") + 22 * DAY, response="later"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["backtest", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log", fact_lines(*STORY))


@pytest.fixture
def eager(tmp_path: Path) -> Path:
    file = tmp_path / "eager.toml"
    file.write_text('name = "eager"\n[caps]\ncustomer_days = 20\n')
    return file


def test_it_says_what_changes_and_what_it_costs_and_writes_page_and_tables(
    log: Path, eager: Path, tmp_path: Path
) -> None:
    page, out = tmp_path / "report.html", tmp_path / "out"
    result = run(log, "--against", eager, "--report", page, "--out", out, "--cores", "1")
    assert result.exit_code == 0, result.output
    assert "Of 2 moments B asks 2, A 1: 1 gained, 0 lost, 0 moved." in result.stdout
    assert "what differs: caps.customer_days 90 → 20" in result.stdout
    assert "1 gained" in page.read_text(encoding="utf-8")
    assert {each.name for each in out.iterdir()} == {"moments.parquet", "moments.csv", "changed.csv"}
    assert {each.stat().st_mode & 0o077 for each in (page, *out.iterdir())} == {0}


def test_a_search_prints_its_front(log: Path, tmp_path: Path) -> None:
    wanted, page = tmp_path / "numbers.toml", tmp_path / "front.html"
    wanted.write_text('[numbers]\n"caps.customer_days" = [20, 30, 90]\n')
    result = run(log, "--search", wanted, "--report", page, "--cores", "1")
    assert result.exit_code == 0, result.output
    assert "3 policies were tried against A, which makes 1 asks with 0 regrets." in result.stdout
    assert "caps.customer_days 20" in result.stdout
    assert page.exists()


def test_a_topic_takes_the_place_of_a_log(eager: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Sequence[str], Interval]] = []

    async def export(
        _: Deployment, names: Sequence[str], interval: Interval, write: Callable[[bytes], object], *__: object
    ) -> list[Exported]:
        seen.append((names, interval))
        for line in fact_lines(*STORY):
            write(line + b"\n")
        return [Exported("product-usage", records=len(STORY))]

    monkeypatch.setattr("referral_stream.ops.export.export", export)
    result = run("--topic", "product-usage", "--from", "2026-06-01", "--against", eager, "--cores", "1")
    assert result.exit_code == 0, result.output
    assert "1 gained" in result.stdout
    assert seen == [(("product-usage",), Interval(first=parse_instant("2026-06-01T00:00:00Z")[0]))]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a LOG, or a topic with --topic"),
        (("LOG", "--topic", "nps"), "name a LOG, or a topic with --topic"),
        (("LOG",), "name policy B with --against, or what to try with --search"),
        (
            ("LOG", "--against", "EAGER", "--search", "EAGER"),
            "name policy B with --against, or what to try with --search",
        ),
        (("LOG", "--against", "EAGER", "--from", "2026-01-01"), "--from and --to are for --topic"),
        (("LOG", "--search", "EAGER", "--out", "out"), "--out is for two policies, not for a search"),
        (("LOG", "--search", "EAGER"), "a search has a table [numbers]"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], said: str, log: Path, eager: Path) -> None:
    result = run(*({"LOG": log, "EAGER": eager}.get(each, each) for each in arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_log_without_its_beginning_is_refused_with_the_remedy(eager: Path, tmp_path: Path) -> None:
    lines = [line.replace(b'"offset":', b'"offset":7') for line in recorded_lines(*STORY)]
    log = write(tmp_path / "log", lines)
    result = run(log, "--against", eager, "--cores", "1")
    assert result.exit_code == 2
    assert "whom the caps and waits would have held back" in result.stderr
    assert "--partial takes it as it is" in result.stderr
    taken = run(log, "--against", eager, "--cores", "1", "--partial")
    assert taken.exit_code == 0
    assert "what lies before it is unknown" in taken.stdout
