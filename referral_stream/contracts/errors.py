"""What the boundary raises. Expected refusals of producers' records are values (see ``outcomes``), not exceptions."""

from __future__ import annotations

from typing import Any


class ContractError(Exception):
    """A record or a line that is not what the contract says."""


class Undecodable(ContractError):
    """One of our own records (customer-events, ledger-requests, dead-letters, …) that cannot be read back.

    ``cause`` is a short code, ``detail`` names fields and rules, never values.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class UnreadableLog(ContractError):
    """A line of a recorded log that cannot be read; the message opens with ``FILE:LINE``."""

    def __init__(self, file: str, line: int, problem: str) -> None:
        super().__init__(f"{file}:{line}: {problem}")
        self.file = file
        self.line = line
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        """A process of a backtest raises it in another one."""
        return type(self), (self.file, self.line, self.problem)
