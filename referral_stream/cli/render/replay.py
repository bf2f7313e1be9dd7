"""What a replay shows on the terminal: progress while it reads, a summary when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from referral_stream.core.policy import Policy
from referral_stream.replay.files import Summary


@contextmanager
def reading_progress(console: Console, log: Path) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of ``log``; gives the function to be told how many were read."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(log.name, total=log.stat().st_size)
        yield lambda read: bar.update(task, completed=read)


def show_summary(summary: Summary, policy: Policy, output: Path) -> None:
    """Print counts, and where the files are."""
    console = Console()
    kind = "exact replay" if summary.exact else "fact replay"
    console.print(
        f"{kind}: {summary.records:,} records, {summary.events:,} events, {summary.customers:,} customers, "
        f"policy {policy.name} {policy.hash}"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for title, counts in (
        ("asks", summary.asks),
        ("decisions", summary.outcomes),
        ("skipped", summary.skipped),
        ("dead letters", summary.refused),
    ):
        table.add_row(title, f"{sum(counts.values()):,}", _listed(counts))
    if summary.reasons_asked:
        table.add_row("reasons asked", f"{summary.reasons_asked:,}", "what do you like most, ahead of the ask")
    if summary.cancelled:
        table.add_row("cancelled", f"{summary.cancelled:,}", "commands taken back")
    if summary.still_quarantined:
        table.add_row("still on hold", f"{summary.still_quarantined:,}", "an event that was replayed failed again")
    if summary.bad_lines:
        table.add_row("bad lines", f"{summary.bad_lines:,}", "left out, see dead-letters.jsonl")
    console.print(table)
    console.print(f"written to {output}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
