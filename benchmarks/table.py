"""What a benchmark found, on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """One line of the table. ``baseline`` is what the value is measured against, in the same unit and the same run.

    ``at_least`` and ``at_most`` are the target: of the ratio where there is a baseline, else of the value.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def target(self) -> str:
        """In words; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:,g}"
        return f"≤ {self.at_most:,g}" if self.at_most is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        measured = self.value if self.ratio is None else self.ratio
        if self.at_least is not None:
            return measured >= self.at_least
        return measured <= self.at_most if self.at_most is not None else None

    def entry(self) -> dict[str, Any]:
        """For ``results.json``."""
        found: dict[str, Any] = {"value": round(self.value, 3), "unit": self.unit}
        if self.baseline is not None and self.ratio is not None:
            found |= {"baseline": round(self.baseline, 3), "ratio": round(self.ratio, 2)}
        if self.met is not None:
            found |= {"target": self.target, "met": self.met}
        return found


def show(figures: Iterable[Figure], console: Console) -> None:
    """One table of them all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark")
    for title in ("value", "unit", "baseline", "ratio", "target", ""):
        table.add_column(title, justify="left" if title == "unit" else "right")
    for figure in figures:
        baseline = "" if figure.baseline is None else number(figure.baseline)
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        met = {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[figure.met]
        table.add_row(figure.name, number(figure.value), figure.unit, baseline, ratio, figure.target, met)
    console.print(table)


def markdown(file: Path) -> str:
    """The table of ``results.json``, for docs/benchmarks.md."""
    lines = ["| | value | baseline | ratio | target |", "|---|---|---|---|---|"]
    for name, entry in orjson.loads(file.read_bytes()).items():
        baseline = number(entry["baseline"]) if "baseline" in entry else ""
        ratio = f"**{entry['ratio']:.2f}**" if "ratio" in entry else ""
        target = f"{entry['target']} {'met' if entry['met'] else '**missed**'}" if "target" in entry else ""
        lines.append(f"| {name} | {number(entry['value'])} {entry['unit']} | {baseline} | {ratio} | {target} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """With as many decimals as say something."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.2f}"


def save(figures: Iterable[Figure], file: Path) -> None:
    """``{name: {value, unit, baseline?, ratio?, target?, met?}}``."""
    entries = {figure.name: figure.entry() for figure in figures}
    file.write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2) + b"\n")
