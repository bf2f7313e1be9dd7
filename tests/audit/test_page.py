"""What an operator and a machine are shown of an audit."""

from __future__ import annotations

from collections import Counter

from referral_stream.audit.findings import (
    INVARIANTS,
    KEPT_PER_INVARIANT,
    AuditCounts,
    AuditFinding,
    AuditReport,
    Position,
)
from referral_stream.cli.render.audit import SHOWN, as_json, as_lines

BROKEN = AuditReport(
    findings=(
        AuditFinding("command_once", "command c1 occurs twice", (Position("asks", 0, 4), Position("asks", 0, 9))),
    ),
    broken={"command_once": 1},
    counts=Counter({"asks": 1_234, "wake-ups": 0}),
    unchecked=("a policy",),
)


def test_a_finding_shows_its_sentence_and_its_positions() -> None:
    assert list(as_lines(BROKEN)) == [
        "checked: 1,234 asks",
        "not checked: a policy",
        "BROKEN  command_once, 1 times: a reader with read_committed sees a command once",
        "        command c1 occurs twice: asks-0@4 asks-0@9",
    ]


def test_without_findings_it_says_how_much_holds() -> None:
    *_, last = as_lines(AuditReport((), {}, Counter({"asks": 1}), ()))
    assert last == f"ok      {len(INVARIANTS)} invariants hold"


def test_a_machine_gets_positions_as_text() -> None:
    assert as_json(BROKEN) == {
        "ok": False,
        "counts": {"asks": 1_234, "wake-ups": 0},
        "broken": {"command_once": 1},
        "findings": [
            {
                "invariant": "command_once",
                "what": "command c1 occurs twice",
                "positions": ["asks-0@4", "asks-0@9"],
            }
        ],
        "unchecked": ["a policy"],
    }


def test_of_very_many_findings_all_are_counted_the_first_are_kept_and_few_shown() -> None:
    counts = AuditCounts()
    for offset in range(KEPT_PER_INVARIANT + 1):
        counts.findings.add("records_placed", "misplaced", Position("asks", 0, offset))
    report = counts.report()
    assert len(report.findings) == KEPT_PER_INVARIANT
    assert report.broken == {"records_placed": KEPT_PER_INVARIANT + 1}
    lines = list(as_lines(report))
    assert sum("misplaced:" in line for line in lines) == SHOWN
    assert lines[-1] == f"        and {KEPT_PER_INVARIANT + 1 - SHOWN} more (--json lists them)"


def test_invariants_are_reported_in_their_order_and_offenders_by_position() -> None:
    counts = AuditCounts()
    counts.findings.add("pending_wakes", "late", Position("events", 0, 1))
    counts.findings.add("records_placed", "second", Position("asks", 1, 0))
    counts.findings.add("records_placed", "first", Position("asks", 0, 7))
    assert [finding.what for finding in counts.report().findings] == ["first", "second", "late"]
