"""One progress bar, for everything that takes a while: on a terminal's stderr, gone when the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Advance(Protocol):
    """Is called with how much is done, and out of how much where that has become known."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


@contextmanager
def progress(what: str, total: int | None = None, *, in_bytes: bool = False) -> Iterator[Advance]:
    """Show how far ``what`` is, of ``total`` if that is known; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(in_bytes=in_bytes), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, of: int | None = None, /) -> None:
            bar.update(task, completed=done, total=of if of is not None else total)

        yield advance


class _Amount(ProgressColumn):
    def __init__(self, *, in_bytes: bool) -> None:
        super().__init__()
        self._in_bytes = in_bytes

    def render(self, task: Task) -> Text:
        amounts = [task.completed] if task.total is None else [task.completed, task.total]
        return Text(" of ".join(decimal(int(each)) if self._in_bytes else f"{int(each):,}" for each in amounts))
