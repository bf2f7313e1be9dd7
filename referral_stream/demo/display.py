"""The demo on the terminal: decisions as they are made, one below the other, and the clock below the newest.

Everything shown is taken from the messages of ``referral-decisions``, ``referral-followups`` and ``referral-rewards``;
nothing is recomputed. What has been shown
stays and scrolls away with the screen: an opportunity that was held back first and asked later has a row for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from textwrap import wrap
from types import TracebackType
from typing import Any, Self, TypeAlias

from rich.console import Console
from rich.live import Live
from rich.text import Text

from referral_stream.words.afterwards import told
from referral_stream.words.decisions import day_and_time, happening, outcome_words, why, zone_of

CloudEventBody: TypeAlias = Mapping[str, Any]
"""One of our CloudEvents as parsed JSON: ``type``, ``time``, ``subject``, ``data``."""

ASKED = frozenset({"asked", "soft"})
UNSEEN = frozenset({"historical", "duplicate"})
"""Outcomes that are not news: what a backfill would have triggered, and the same trigger again."""

ONE_LINE_COLUMNS = 120
"""Below this width a decision takes two lines or more: the reason needs its own room."""

STARTING = "The workers start, and read what was before the week …"

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
    "follow-up": "cyan",
    "withdrawn": "magenta",
    "reward": "bold green",
}
_INDENT, _NARROW_COLUMNS = " " * len("Wed 16 Sep 09:30  "), 40


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One decision, in words, or something that follows an ask: then ``outcome`` is which kind of thing."""

    decided_at: datetime
    customer: str
    happened: str
    outcome: str
    reason: str

    def text(self, width: int | None = None) -> Text:
        """As it is shown on ``width`` columns, wrapped between words; without a width on one line, however long."""
        word = outcome_words(self.outcome)
        event = f"{day_and_time(self.decided_at):<16}  {self.customer:<24}  {self.happened:<19}"
        if width is not None and width < ONE_LINE_COLUMNS:
            margin = _INDENT if width >= _NARROW_COLUMNS else "  "
            head = _wrapped(event.rstrip(), width, margin) + f"\n{margin}"
            tail = _wrapped(f"{margin}{word}: {self.reason}", width, f"{margin}  ").removeprefix(margin + word)
        else:
            head = f"{event}  "
            margin = f"{head}{word:<15}  "
            tail = f"{margin}{self.reason}"
            tail = (tail if width is None else _wrapped(tail, width, " " * len(margin))).removeprefix(head + word)
        return Text.assemble(head, (word, _STYLES.get(self.outcome, "")), tail)


def _wrapped(line: str, width: int, indent: str) -> str:
    return "\n".join(wrap(line, width, subsequent_indent=indent, break_on_hyphens=False))


class DecisionBoard:
    """Every decision worth showing, and where each opportunity stands.

    ``titles`` says what to call a customer. Times are shown in the zone of the customer they concern, the clock in
    ``home``.
    """

    def __init__(self, titles: Mapping[str, str], home: tzinfo = UTC) -> None:
        self._titles = titles
        self._home = home
        self._now: datetime | None = None
        self._latest: dict[str, BoardRow] = {}
        self._gates: dict[str, frozenset[str]] = {}
        self._zones: dict[str, tzinfo] = {}
        self._after: Counter[str] = Counter()
        self._said: dict[str, Mapping[str, Any]] = {}

    def tick(self, now: datetime) -> None:
        """Set the demo's clock; it never goes back."""
        self._now = now if self._now is None else max(self._now, now)

    def show(self, message: CloudEventBody) -> BoardRow | None:
        """Add a decision, or what follows an ask, and return its row; None if there is nothing new to show.

        Nothing new: none of these, an outcome that is not news, or the same words again (a planned moment has moved
        behind a ticket that is still open).
        """
        decision = message["data"]
        if "outcome" not in decision:
            return self._follows(message)
        self._zones[decision["customer_id"]] = zone_of(decision)
        if decision["outcome"] in UNSEEN:
            return None
        row = BoardRow(
            decided_at=datetime.fromisoformat(decision["decided_at"]).astimezone(zone_of(decision)),
            customer=self._titles.get(decision["customer_id"], decision["customer_id"]),
            happened=happening(decision["trigger"]),
            outcome=decision["outcome"],
            reason=why(decision),
        )
        self.tick(row.decided_at)
        opportunity = decision["opportunity_id"]
        last = self._latest.get(opportunity)
        if last is not None and (last.outcome, last.reason) == (row.outcome, row.reason):
            return None
        self._latest[opportunity] = row
        gates = frozenset(reason["gate"] for reason in decision["reasons"] if reason["answer"] != "pass")
        self._gates[opportunity] = gates - {"moment"} or gates
        return row

    def _follows(self, message: CloudEventBody) -> BoardRow | None:
        """What follows an ask, in the zone of the customer's decisions."""
        data, type_ = message["data"], str(message.get("type", ""))
        customer = data["customer_id"]
        local = self._zones.get(customer, self._home)
        if "followup_id" in data:  # a cancellation is told with what was to be said
            data = {**self._said.get(data["followup_id"], {}), **data}
            self._said[data["followup_id"]] = {"referral_id": data.get("referral_id"), **data.get("variables", {})}
        after = told(type_, data, local)
        if after is None:
            return None
        self._after["taken back" if type_.endswith(".reversed") else type_.rpartition(".")[2]] += 1
        row = BoardRow(
            decided_at=datetime.fromisoformat(message["time"]).astimezone(local),
            customer=self._titles.get(customer, customer),
            happened=after.cause,
            outcome=after.kind,
            reason=after.text,
        )
        self.tick(row.decided_at)
        return row

    def clock(self) -> str:
        """What the demo's clock shows, and where: ``Fri 18 Sep 19:00 in Berlin``."""
        if self._now is None:
            return ""
        return f"{day_and_time(self._now.astimezone(self._home))} in {str(self._home).rpartition('/')[2]}"

    def __rich__(self) -> Text:
        """The line below the newest decision."""
        if not self._latest:
            return Text(STARTING, style="dim")
        count = f"   opportunities: {len(self._latest)}, "
        asked = (f"asked: {self._asked()}", "green")
        return Text.assemble((self.clock(), "bold"), count, asked, no_wrap=True, overflow="crop")

    def summary(self) -> str:
        """How often customers were asked, and the reasons why not."""
        text = f"Asks: {self._asked()}, out of {len(self._latest)} opportunities."
        against = Counter(
            gate
            for opportunity, gates in self._gates.items()
            if self._latest[opportunity].outcome == "suppressed"
            for gate in gates
        )
        if against:
            ranked = ", ".join(f"{gate.replace('_', ' ')} {number}" for gate, number in against.most_common())
            text += f"\nNot asked because of: {ranked}."
        if self._after:
            followups = f"follow-ups {self._after['requested']}, withdrawn {self._after['cancelled']}"
            rewards = f"rewards granted {self._after['granted']}, taken back {self._after['taken back']}"
            text += f"\nAfter the asks: {followups}; {rewards}."
        return text

    def _asked(self) -> int:
        return sum(row.outcome in ASKED for row in self._latest.values())


class Screen:
    """Where a board is shown, until the end of the block. On a terminal there is a clock below it, until `release`.

    ``show`` and ``tick`` pass on to the board and bring the screen up to date.
    """

    def __init__(self, board: DecisionBoard, console: Console) -> None:
        self.board = board
        self._console = console
        still = not console.is_terminal or console.is_dumb_terminal
        # Refreshed by hand: rich's own thread would read the board while it changes.
        self._live = None if still else Live(board, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._live is None:
            self.say(STARTING)
        else:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Take the clock away: there is something to be read, or typed, below the decisions."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    @property
    def width(self) -> int:
        return self._console.width

    def show(self, message: CloudEventBody) -> None:
        if (row := self.board.show(message)) is not None:
            self.say(row.text(self.width if self._console.is_terminal else None))

    def say(self, text: str | Text, style: str = "") -> None:
        """Print the text as it is, never wrapped: a command that a terminal breaks can still be copied as one line."""
        self._console.print(text, style=style, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def warn(self, text: str) -> None:
        """Say what could not be done; on a terminal, wrapped between words."""
        wrapped = self._console.is_terminal
        self._console.print(text, style="red", soft_wrap=not wrapped, highlight=False, markup=False, emoji=False)

    def tick(self, now: datetime) -> None:
        self.board.tick(now)
        if self._live is not None:
            self._live.refresh()
