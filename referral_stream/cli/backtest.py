"""`backtest`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from referral_stream.cli.options import (
    LOG,
    MAPPINGS,
    SKIP_BAD,
    SORT,
    Unusable,
    boundary_of,
    check_outputs,
    missing_package,
    policy_in,
    private_files,
    reading_log,
)

if TYPE_CHECKING:
    from referral_stream.backtest.tables import Tables
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.core.policy import Policy

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Compare two policies on a recorded log.")
@click.argument("log", type=LOG, required=False)
@click.option("--policy", "policy_file", type=_FILE, help="Policy A. Default: the default policy.")
@click.option("--against", "against_file", type=_FILE, help="Policy B.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the result as one HTML page.")
@click.option(
    "--out",
    "output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for tables of every moment, as Parquet and CSV.",
)
@click.option(
    "--search", "search_file", type=_FILE, help="Instead of B: try the numbers in this file, and show the best of them."
)
@click.option("--topic", "topics", multiple=True, metavar="NAME", help="Instead of a LOG: what lies on this topic.")
@click.option("--from", "start", metavar="T", help="Of the topic, from the date or time T.")
@click.option("--to", "end", metavar="T", help="Of the topic, to the end of the date, or the time, T.")
@click.option(
    "--partial", is_flag=True, help="Accept a log whose beginning is missing, and report what is therefore unknown."
)
@click.option("--cores", type=click.IntRange(1), help="Processes to use. Default: as many as there are cores.")
@MAPPINGS
@SORT
@SKIP_BAD
def backtest(
    log: Path | None,
    policy_file: Path | None,
    against_file: Path | None,
    report: Path | None,
    output: Path | None,
    search_file: Path | None,
    topics: tuple[str, ...],
    start: str | None,
    end: str | None,
    mappings_file: Path | None,
    cores: int | None,
    *,
    partial: bool,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Replay a recorded LOG under two policies: whom each would have asked, and where they differ.

    Says in one sentence what changes, then what it would have cost: asks after which something went wrong. --report
    writes a page for those who decide: every change with its reason, both policies side by side. What a customer would
    have answered to an ask that was never made is not known, and not guessed.

    LOG is as `export` writes and `replay` reads it. Pauses in it apply to both policies; the burst breaker is reported,
    not applied. A log holds personal data, and so do the page and the tables: only you can read them (mode 0600).

    A file for --search names numbers of the policy, and what to try:

    \b
      [numbers]
      "caps.customer_days" = [60, 75, 90]
      "score.soft_at" = { from = 40, to = 60, step = 5 }
      [search]
      draws = 20        # try this many at random (default: all)
      seed = 1

    \b
    Examples:
      referral-stream backtest year.jsonl --against b.toml --report b.html
      referral-stream backtest year.jsonl --policy a.toml --against b.toml
      referral-stream backtest --topic profile --topic nps --against b.toml
      referral-stream backtest year.jsonl --search numbers.toml
    """
    from referral_stream.runtime.gc_tuning import spare_values

    _check_usage(log, topics, start or end, against_file, search_file, output)
    tables = () if output is None else [output / name for name in ("moments.parquet", "moments.csv", "changed.csv")]
    check_outputs((log, policy_file, against_file, search_file, mappings_file), (report, *tables), output)
    a, b = policy_in(policy_file), policy_in(against_file) if against_file is not None else None
    boundary = boundary_of(a, mappings_file)
    spare_values()
    how = _How(partial=partial, sort=sort, skip_bad=skip_bad, cores=cores or _cores())
    with private_files(), _source(log, topics, start, end) as source:
        if b is not None:
            _compare(source, a, b, boundary, how, report, output)
        elif search_file is not None:
            _search(source, a, search_file, boundary, how, report)


def _check_usage(
    log: Path | None,
    topics: tuple[str, ...],
    interval: str | None,
    against_file: Path | None,
    search_file: Path | None,
    output: Path | None,
) -> None:
    if (log is None) == (not topics):
        raise click.UsageError("name a LOG, or a topic with --topic")
    if interval and not topics:
        raise click.UsageError("--from and --to are for --topic")
    if (against_file is None) == (search_file is None):
        raise click.UsageError("name policy B with --against, or what to try with --search")
    if search_file is not None and output is not None:
        raise click.UsageError("--out is for two policies, not for a search")


class _How(NamedTuple):
    partial: bool
    sort: bool
    skip_bad: bool
    cores: int


_REMEDY = "--partial takes it as it is, and says what is unknown"


def _compare(
    log: Path, a: Policy, b: Policy, boundary: Boundary, how: _How, report: Path | None, output: Path | None
) -> None:
    from referral_stream.backtest.run import backtest as run
    from referral_stream.cli.render.backtest import as_lines
    from referral_stream.cli.render.progress import progress
    from referral_stream.cli.render.terminal import say

    if report is not None:
        _check_extra("referral_stream.backtest.report")
    if output is not None:
        _check_extra("referral_stream.backtest.tables")
    with (
        reading_log(log, _REMEDY) as reading,
        progress("replaying, part by part") as replaying,
        _tables(output) as kept,
    ):
        found = run(
            log, a, b, boundary, reading=reading, replaying=replaying, rows=None if kept is None else kept.add,
            **how._asdict(),
        )  # fmt: skip
    for line in as_lines(found, a, b):
        say(line, indent=4)
    if report is not None:
        from referral_stream.backtest.report import render

        _write(report, render(found, a, b))
    if output is not None:
        say(f"tables: {output / 'moments.parquet'}, moments.csv and changed.csv, for you alone")


def _search(log: Path, a: Policy, search_file: Path, boundary: Boundary, how: _How, report: Path | None) -> None:
    from referral_stream.backtest.run import search
    from referral_stream.backtest.search import SearchProblem, parse_search_file
    from referral_stream.cli.render.backtest import front_lines
    from referral_stream.cli.render.progress import progress
    from referral_stream.cli.render.terminal import say

    if report is not None:
        _check_extra("referral_stream.backtest.report")
    try:
        wanted = parse_search_file(search_file, a)
    except SearchProblem as problem:
        raise Unusable(str(problem)) from None
    if not wanted.tried:
        left_out = "".join(f"\n  - left out {each}" for each in wanted.left_out)
        raise Unusable(f"{search_file}: nothing is left to try{left_out}")
    with reading_log(log, _REMEDY) as reading, progress("replaying, part by part") as replaying:
        read, front = search(log, a, wanted.tried, boundary, reading=reading, replaying=replaying, **how._asdict())
    for line in front_lines(front, wanted):
        say(line, indent=4)
    if report is not None:
        from referral_stream.backtest.report import render_front

        _write(report, render_front(front, wanted, read, a))


def _check_extra(module: str) -> None:
    """Before anything takes long: what page and tables are made with is in an extra."""
    import importlib

    try:
        importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise missing_package(missing, "backtest") from None


@contextmanager
def _tables(output: Path | None) -> Iterator[Tables | None]:
    if output is None:
        yield None
        return
    from referral_stream.backtest.tables import tables

    with tables(output) as found:
        yield found


def _write(report: Path, page: str) -> None:
    from referral_stream.cli.render.terminal import say
    from referral_stream.replay.whole_files import whole_file

    try:
        with whole_file(report) as file:
            file.write(page.encode())
    except OSError as error:
        raise click.ClickException(f"{report}: {error.strerror or error}") from None
    say(f"report: {report}, for you alone")


@contextmanager
def _source(log: Path | None, topics: tuple[str, ...], start: str | None, end: str | None) -> Iterator[Path]:
    """The log; of topics a copy, which is gone afterwards."""
    if log is not None:
        yield log
        return
    from tempfile import TemporaryDirectory

    from referral_stream.cli.export import exported_to

    with TemporaryDirectory(prefix="backtest-") as folder:
        copy = Path(folder, "topics.jsonl")
        exported_to(copy, topics, start, end)
        yield copy


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
