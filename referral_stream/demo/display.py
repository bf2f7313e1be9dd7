"""The demo on the terminal: a live table of decisions, or one line per decision where there is no terminal.

Everything shown is taken from the messages of `referral-decisions` and `referral-asks`; nothing is worked out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from referral_stream.words.decisions import day_and_time, happening, outcome_words, why, zone_of

CloudEventBody: TypeAlias = Mapping[str, Any]
"""A CloudEvent of ours as parsed JSON: `type`, `time`, `subject`, `data`."""

ASKED = frozenset({"asked", "soft"})
UNSEEN = frozenset({"historical", "duplicate"})
"""Outcomes that are no news: what a backfill would have triggered, and the same trigger again."""

_STYLES = {
    "asked": "bold green",
    "soft": "green",
    "pending": "cyan",
    "deferred": "yellow",
    "suppressed": "red",
    "expired": "red",
    "expired_on_arrival": "red",
    "cancelled": "magenta",
    "superseded": "dim",
    "holdout": "blue",
    "shadow": "blue",
}


@dataclass(frozen=True, slots=True)
class OpportunityRow:
    """An opportunity as its latest decision left it."""

    decided_at: datetime
    customer: str
    happened: str
    outcome: str
    reason: str

    def as_text(self) -> str:
        """For a log file or a pipe: one line, no colours, columns that line up."""
        word = outcome_words(self.outcome)
        return f"{day_and_time(self.decided_at):<17} {self.customer:<24} {self.happened:<24} {word:<15} {self.reason}"


class DecisionBoard:
    """The live table: one row per opportunity, the latest change last. Renderable by rich at any time.

    `titles` says what to call a customer. Times are shown in the zone of the customer they concern, the clock in
    `home`.
    """

    def __init__(self, titles: Mapping[str, str], home: tzinfo = UTC, *, rows: int = 20) -> None:
        self._titles = titles
        self._home = home
        self._rows = rows
        self._now: datetime | None = None
        self._lines: dict[str, OpportunityRow] = {}
        self._gates: dict[str, frozenset[str]] = {}

    @property
    def lines(self) -> tuple[OpportunityRow, ...]:
        """Every opportunity seen, in the order of their latest decisions."""
        return tuple(self._lines.values())

    def tick(self, now: datetime) -> None:
        """Set the demo's clock."""
        self._now = now

    def show(self, message: CloudEventBody) -> OpportunityRow | None:
        """Take a decision in and return its line; None where nothing is new to see.

        Nothing new: no decision, an outcome that is no news, or the same words again (a planned moment has moved behind
        a ticket that is still open).
        """
        decision = message["data"]
        if "outcome" not in decision or decision["outcome"] in UNSEEN:
            return None
        line = OpportunityRow(
            decided_at=datetime.fromisoformat(decision["decided_at"]).astimezone(zone_of(decision)),
            customer=self._titles.get(decision["customer_id"], decision["customer_id"]),
            happened=happening(decision["trigger"]),
            outcome=decision["outcome"],
            reason=why(decision),
        )
        opportunity = decision["opportunity_id"]
        last = self._lines.get(opportunity)
        if last is not None and (last.outcome, last.reason) == (line.outcome, line.reason):
            return None
        self._lines.pop(opportunity, None)  # so that it comes last
        self._lines[opportunity] = line
        gates = frozenset(reason["gate"] for reason in decision["reasons"] if reason["answer"] != "pass")
        self._gates[opportunity] = gates - {"moment"} or gates
        return line

    def __rich__(self) -> RenderableType:
        return Group(self._heading(), self._table())

    def closing(self, next_steps: Sequence[tuple[str, str]]) -> RenderableType:
        """The end of the demo: how often was asked, what spoke against it, and the commands to go on with."""
        outcomes = Counter(line.outcome for line in self._lines.values())
        asked = sum(outcomes[name] for name in ASKED)
        against = Counter(
            gate
            for opportunity, gates in self._gates.items()
            if self._lines[opportunity].outcome == "suppressed"
            for gate in gates
        )
        told = Text(f"Asks: {asked}, out of {len(self._lines)} opportunities.", style="bold")
        if against:
            ranked = ", ".join(f"{gate.replace('_', ' ')} {number}" for gate, number in against.most_common())
            told.append(f"\nNot asked because of: {ranked}.", style="not bold")
        steps = Table.grid(padding=(0, 2))
        for command, purpose in next_steps:
            steps.add_row(Text(command, style="bold"), Text(purpose, style="dim"))
        return Group(told, Panel(steps, title="Where to look next", title_align="left", expand=False))

    def _heading(self) -> Text:
        clock = "" if self._now is None else day_and_time(self._now.astimezone(self._home))
        asked = sum(line.outcome in ASKED for line in self._lines.values())
        return Text.assemble((clock, "bold"), f"   opportunities: {len(self._lines)}, ", (f"asked: {asked}", "green"))

    def _table(self) -> Table:
        table = Table(expand=True, pad_edge=False, box=None, header_style="dim")
        table.add_column("when", no_wrap=True)
        table.add_column("customer")
        table.add_column("what happened")
        table.add_column("decision", no_wrap=True)
        table.add_column("why", ratio=1)
        for line in self.lines[-self._rows :]:
            word = Text(outcome_words(line.outcome), style=_STYLES.get(line.outcome, ""))
            table.add_row(day_and_time(line.decided_at), line.customer, line.happened, word, line.reason)
        return table


class Screen:
    """Where a board is shown. `show` and `tick` pass on to the board and bring the screen up to date."""

    def __init__(self, board: DecisionBoard, console: Console, live: Live | None) -> None:
        self._board = board
        self._console = console
        self._live = live

    def show(self, message: CloudEventBody) -> None:
        line = self._board.show(message)
        if line is None:
            return
        if self._live is None:
            self._console.out(
                line.as_text(), highlight=False
            )  # neither wrapped nor coloured: it goes to a file or a pipe
        else:
            self._live.refresh()

    def tick(self, now: datetime) -> None:
        self._board.tick(now)
        if self._live is not None:
            self._live.refresh()


@contextmanager
def on_screen(board: DecisionBoard, console: Console) -> Iterator[Screen]:
    """Show the board until the end of the block: live on a terminal, else one line per decision."""
    if not console.is_terminal:
        yield Screen(board, console, None)
        return
    # Refreshed by hand: rich's own thread would read the board while it changes.
    with Live(board, console=console, auto_refresh=False) as live:
        yield Screen(board, console, live)
