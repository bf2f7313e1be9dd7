"""What a benchmark found, on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """One line of the table. ``baseline`` is what the value is measured against, in the same unit and the same run."""

    name: str
    value: float
    unit: str
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    def entry(self) -> dict[str, Any]:
        """For ``results.json``."""
        found: dict[str, Any] = {"value": round(self.value, 1), "unit": self.unit}
        if self.baseline is not None and self.ratio is not None:
            found |= {"baseline": round(self.baseline, 1), "ratio": round(self.ratio, 2)}
        return found


def show(figures: Iterable[Figure], console: Console) -> None:
    """One table of them all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark")
    for title in ("value", "unit", "baseline", "ratio"):
        table.add_column(title, justify="left" if title == "unit" else "right")
    for figure in figures:
        baseline = "" if figure.baseline is None else f"{figure.baseline:,.0f}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(figure.name, f"{figure.value:,.0f}", figure.unit, baseline, ratio)
    console.print(table)


def save(figures: Iterable[Figure], file: Path) -> None:
    """``{name: {value, unit, baseline?, ratio?}}``."""
    entries = {figure.name: figure.entry() for figure in figures}
    file.write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2) + b"\n")
