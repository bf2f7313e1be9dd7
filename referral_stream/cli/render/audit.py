"""An audit on the terminal and as JSON: what was checked, what is broken and where, what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from referral_stream.audit.findings import INVARIANTS, AuditReport

SHOWN: Final = 10
"""Findings of one invariant that a terminal shows; JSON has all that were kept."""


def as_json(report: AuditReport) -> dict[str, Any]:
    """``ok``, ``counts``, ``broken`` (invariant → how often), ``findings`` with their positions, ``unchecked``."""
    return {
        "ok": not report.findings,
        "counts": report.counts,
        "broken": report.broken,
        "findings": [
            {"invariant": each.invariant, "what": each.what, "positions": list(map(str, each.positions))}
            for each in report.findings
        ],
        "unchecked": list(report.unchecked),
    }


def as_lines(report: AuditReport) -> Iterator[str]:
    yield "checked: " + ", ".join(f"{count:,} {name}" for name, count in report.counts.items() if count)
    for why in report.unchecked:
        yield f"not checked: {why}"
    for name, count in report.broken.items():
        yield f"BROKEN  {name}, {count:,} times: {INVARIANTS[name]}"
        found = [finding for finding in report.findings if finding.invariant == name]
        for finding in found[:SHOWN]:
            yield f"        {finding.what}: {' '.join(map(str, finding.positions))}"
        if count > SHOWN:
            yield f"        and {count - SHOWN:,} more (--json lists them)"
    if not report.findings:
        yield f"ok      {len(INVARIANTS)} invariants hold"
