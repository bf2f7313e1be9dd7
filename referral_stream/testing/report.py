"""What the kit has found, as values."""

from __future__ import annotations

from dataclasses import dataclass

from referral_stream.core.instants import Instant


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An ``ask.acknowledged`` as it was read: ``received`` by the kit's own clock, epoch ms."""

    id: str
    source: str
    customer: str
    command: str
    status: str
    received: Instant


@dataclass(frozen=True, slots=True)
class Finding:
    """One case: its rule, what the worker acknowledged, in order, and what is wrong with that."""

    case: str
    rule: str
    acknowledged: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and what is wrong with records of ``responses`` in general.

    ``skipped`` names the cases that were left out, with the reason.
    """

    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return not self.unreadable and all(finding.passed for finding in self.findings)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the cases with problems."""
        return tuple(finding.case for finding in self.findings if not finding.passed)

    def __str__(self) -> str:
        """One line per case, and one per problem below it; first of all, whether the worker was silent."""
        lines: list[str] = []
        if not (self.unreadable or any(finding.acknowledged for finding in self.findings)):
            lines.append("No acknowledgement at all: does the worker run, and do its topics and its broker match?")
        for finding in self.findings:
            said = ", ".join(finding.acknowledged) or "nothing"
            lines.append(f"{'ok    ' if finding.passed else 'FAILED'}  {finding.case}: {finding.rule} It said: {said}.")
            lines += [f"        {problem}" for problem in finding.problems]
        lines += [f"FAILED  responses: {problem}" for problem in self.unreadable]
        lines += [f"-       {case}: not tried, {why}" for case, why in self.skipped]
        return "\n".join(lines)
