"""The one table of a soak: for a terminal, for a page, and for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.table import Table

from referral_stream.contracts.log import render_line
from tests.chaos.plan import Fault
from tests.chaos.soak import Soaked

Row = tuple[str, ...]


def for_terminal(soaked: Soaked) -> list[Table]:
    """What was done and found; then the time without progress after each kind of fault."""
    found = Table("", "", title=_title(soaked), title_justify="left", show_header=False)
    found.columns[1].justify = "right"
    for name, number in _counted(soaked):
        found.add_row(name, number)
    found.add_section()
    for name, offenders in soaked.problems.items():
        found.add_row(name, str(len(offenders)), style="bold red" if offenders else "")
    silent = Table(*_SILENCE_HEAD, title=_SILENCE_TITLE, title_justify="left")
    for column in silent.columns[1:]:
        column.justify = "right"
    for row in _silences(soaked):
        silent.add_row(*row)
    return [found, silent]


def for_page(soaked: Soaked) -> str:
    """The same as Markdown."""
    found = [(name, number) for name, number in _counted(soaked)]
    wrong = [(f"**{name}**", f"**{len(offenders)}**") for name, offenders in soaked.problems.items()]
    first = _markdown(("", _title(soaked)), [*found, *wrong])
    return f"{first}\n\n{_SILENCE_TITLE}\n\n{_markdown(_SILENCE_HEAD, list(_silences(soaked)))}\n"


def write(soaked: Soaked, folder: Path) -> None:
    """``soak.md``, ``soak.json`` and, where something is wrong, ``problems.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.md").write_text(for_page(soaked))
    told = {
        "seed": soaked.seed,
        "seconds": soaked.seconds,
        "workers": soaked.workers,
        "starts": soaked.starts,
        "counts": soaked.verdict.counts,
        "late_ms": _late(soaked),
        "faults": [
            {"fault": each.fault, "victim": each.victim, "seconds": each.ended - each.began, **asdict(silence)}
            for each, silence in zip(soaked.inflicted, soaked.silences, strict=True)
        ],
        "undisturbed": asdict(soaked.undisturbed),
        "excused_exits": list(map(str, soaked.excused_exits)),
        "excuses": list(map(str, soaked.verdict.excuses)),
        "problems": soaked.problems,
    }
    (folder / "soak.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    (folder / "problems.txt").write_text(
        "".join(f"== {name}\n{offender}\n" for name, offenders in soaked.problems.items() for offender in offenders)
    )


def write_records(soaked: Soaked, folder: Path) -> None:
    """What the topics held, as files that ``referral-stream replay`` and ``explain`` read."""
    soak = soaked.records
    topics = {
        "customer-events": soak.events,
        "ledger-requests": soak.requests,
        "referral-asks": soak.uncommitted,
        "referral-decisions": [each.record for each in soak.decisions],
        "referral-followups": soak.followups,
        "referral-rewards": soak.rewards,
        "referral-records": soak.kept,
    }
    for topic, records in topics.items():
        (folder / f"{topic}.jsonl").write_bytes(b"".join(render_line(record) + b"\n" for record in records))


_SILENCE_TITLE = "Seconds without progress on the slowest partition, median and longest"
_SILENCE_HEAD: Row = ("after", "times", "it lasted", "decisions", "longest", "asks", "longest")


def _title(soaked: Soaked) -> str:
    return f"chaos soak, seed {soaked.seed}, {soaked.seconds:g} s of faults, {soaked.workers} workers"


def _counted(soaked: Soaked) -> Iterator[tuple[str, str]]:
    struck = Counter(each.fault for each in soaked.inflicted)
    for fault in Fault:
        if struck[fault]:
            yield fault, str(struck[fault])
    yield "starts of a worker", str(soaked.starts)
    yield "workers that ended as such a fault allows", str(len(soaked.excused_exits))
    for name, number in soaked.verdict.counts.items():
        yield name, f"{number:,}"
    for name, number in soaked.audited.counts.items():
        yield f"audited: {name}", f"{number:,}"
    for unchecked in soaked.audited.unchecked:
        yield "not audited", unchecked
    for name, late in _late(soaked).items():
        yield f"asks late by, {name}", f"{late / 1_000:.2f} s"


def _late(soaked: Soaked) -> dict[str, int]:
    late = soaked.verdict.late_ms or [0]
    return {"median": late[len(late) // 2], "99 of 100": late[len(late) * 99 // 100], "longest": late[-1]}


def _silences(soaked: Soaked) -> Iterator[Row]:
    quiet = soaked.undisturbed
    yield "(nothing)", "", "", *_shown([quiet.decisions]), *_shown([quiet.asks])
    for fault in Fault:
        pairs = zip(soaked.inflicted, soaked.silences, strict=True)
        if found := [(each.ended - each.began, silence) for each, silence in pairs if each.fault is fault]:
            lasted, _ = _shown([lasted for lasted, _ in found])
            decisions = _shown([silence.decisions for _, silence in found])
            yield fault, str(len(found)), lasted, *decisions, *_shown([silence.asks for _, silence in found])


def _shown(seconds: list[float]) -> tuple[str, str]:
    """Median and longest."""
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.1f}", f"{ordered[-1]:.1f}"


def _markdown(head: Row, rows: list[Row]) -> str:
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
