"""The demo on the terminal: a live table of decisions, or one line per decision where there is no terminal.

Everything shown is taken from the messages of `referral-decisions` and `referral-asks`; nothing is worked out again.
"""

from __future__ import annotations

import re
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

from referral_stream.core.zones import is_zone, zone

Message: TypeAlias = Mapping[str, Any]
"""A CloudEvent of ours as parsed JSON: `type`, `time`, `subject`, `data`."""

ASKED = frozenset({"asked", "soft"})
UNSEEN = frozenset({"historical", "duplicate"})
"""Outcomes that are no news: what a backfill would have triggered, and the same trigger again."""

_TRIGGERS = {
    "nps_promoter": "gave a top score",
    "positive_feedback": "gave good feedback",
    "milestone": "reached a milestone",
    "renewal": "renewed",
    "expansion": "bought more",
    "peer_mentioned": "mentioned a peer",
    "referral_converted": "their referral converted",
}
_OUTCOMES = {
    "asked": ("asked", "bold green"),
    "soft": ("asked softly", "green"),
    "pending": ("waits", "cyan"),
    "deferred": ("held back", "yellow"),
    "suppressed": ("not asked", "red"),
    "expired": ("window over", "red"),
    "expired_on_arrival": ("came too late", "red"),
    "cancelled": ("cancelled", "magenta"),
    "superseded": ("asked otherwise", "dim"),
    "holdout": ("held out", "blue"),
    "shadow": ("would be asked", "blue"),
}
_CHANNELS = {"email": "by e-mail", "in_app": "in the app", "phone": "on the phone"}
_MODES = {
    "direct": "a direct ask",
    "soft": "a soft mention",
    "value_first": "with the peer's benefit first",
    "same_company": "for the same company",
    "mutual_benefit": "with a benefit for both",
}
_SEEN = {
    "settling": "lets it settle",
    "no allowed instant is left in the window": "quiet hours or the weekend outlast the window",
    "consent unknown": "no consent known",
}
_GATES = {
    "too_early": "too early: {saw}",
    "propensity": "{saw}, an ask needs a {limit}",
    "overasking": "{saw} ({limit})",
    "account": "{saw} in this account ({limit})",
}
_AWAITED = {
    "ask.approved": "until somebody approves",
    "cancellation.reverted": "until that is reverted",
    "control.resumed": "until resumed",
    "customer.consent_changed": "until consent is given",
    "customer.profile_changed": "until one is known",
    "customer.signed_up": "until it is known",
    "customer.unsuppressed": "until taken off it",
    "deadletter.replayed": "until that is repaired",
    "dispute.closed": "until that is closed",
    "invoice.paid": "until it is paid",
    "ledger.answered": "until the ledger answers",
    "milestone.reached": "until there is some",
    "moment": "until the customer is present",
    "onboarding.completed": "until it is",
    "signal": "until the next good signal",
    "subscription.started": "until there is a new one",
    "ticket.solved": "waits for it to be solved",
    "trial.ended": "until it ends",
    "usage.recorded": "until they use it again",
}
_AT_INSTANT = re.compile(r"\bat (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")


def plain(reason: Mapping[str, Any], local: tzinfo) -> str:
    """One gate's answer in plain words, with instants in the `local` zone: "ticket 4711 is open, waits for …".

    `reason` is an entry of a decision's `reasons`. Words this module does not know are shown as they are.
    """
    seen = " and ".join(_SEEN.get(cause, cause) for cause in reason["saw"].split("; "))
    seen = _AT_INSTANT.sub(lambda found: f"on {_clock(found.group(1), local)}", seen)
    told = _GATES.get(reason["gate"], "{saw}").format(saw=seen, limit=reason["limit"])
    match reason:
        case {"answer": "until", "gate": "moment", "until": str(instant)}:
            return f"{told}, planned for {_clock(instant, local)}"
        case {"answer": "until", "until": str(instant)}:
            return f"{told}, until {_clock(instant, local)}"
        case {"answer": "until_event", "until": str(event)}:
            return f"{told}, {_AWAITED.get(event, f'until {event}')}"
        case _:
            return told


def why(decision: Mapping[str, Any]) -> str:
    """What speaks for or against the ask, in plain words and in the customer's own zone; `decision` is its data."""
    local = _zone_of(decision)
    outcome = decision["outcome"]
    if outcome in ASKED:
        ways = (_CHANNELS.get(decision.get("channel", "")), _MODES.get(decision.get("mode", "")))
        return ", ".join([*filter(None, ways), f"score {decision['score']['value']}"])
    if outcome == "superseded":
        return "one ask at a time: another reason to ask came first"
    blocking = [reason for reason in decision["reasons"] if reason["answer"] != "pass"]
    # The planned moment is beside the point where something else is in the way.
    telling = [reason for reason in blocking if reason["gate"] != "moment"] or blocking
    reasons = "; ".join(plain(reason, local) for reason in telling)
    if outcome == "suppressed" and all(reason["answer"] != "never" for reason in telling):
        return f"{reasons}; the window ends {_clock(decision['window']['deadline'], local)}"
    return reasons


@dataclass(frozen=True, slots=True)
class Line:
    """An opportunity as its latest decision left it."""

    decided_at: datetime
    customer: str
    happened: str
    outcome: str
    reason: str

    def as_text(self) -> str:
        """For a log file or a pipe: one line, no colours, columns that line up."""
        word, _ = _OUTCOMES.get(self.outcome, (self.outcome, ""))
        return f"{_day_and_time(self.decided_at):<17} {self.customer:<24} {self.happened:<24} {word:<15} {self.reason}"


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
        self._lines: dict[str, Line] = {}
        self._gates: dict[str, frozenset[str]] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every opportunity seen, in the order of their latest decisions."""
        return tuple(self._lines.values())

    def tick(self, now: datetime) -> None:
        """Set the demo's clock."""
        self._now = now

    def show(self, message: Message) -> Line | None:
        """Take a decision in and return its line; None where nothing is new to see.

        Nothing new: no decision, an outcome that is no news, or the same words again (a planned moment has moved behind
        a ticket that is still open).
        """
        decision = message["data"]
        if "outcome" not in decision or decision["outcome"] in UNSEEN:
            return None
        line = Line(
            decided_at=_instant(decision["decided_at"]).astimezone(_zone_of(decision)),
            customer=self._titles.get(decision["customer_id"], decision["customer_id"]),
            happened=_TRIGGERS.get(decision["trigger"], decision["trigger"]),
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
        clock = "" if self._now is None else _day_and_time(self._now.astimezone(self._home))
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
            word, style = _OUTCOMES.get(line.outcome, (line.outcome, ""))
            table.add_row(
                _day_and_time(line.decided_at), line.customer, line.happened, Text(word, style=style), line.reason
            )
        return table


class Screen:
    """Where a board is shown. `show` and `tick` pass on to the board and bring the screen up to date."""

    def __init__(self, board: DecisionBoard, console: Console, live: Live | None) -> None:
        self._board = board
        self._console = console
        self._live = live

    def show(self, message: Message) -> None:
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


def _zone_of(decision: Mapping[str, Any]) -> tzinfo:
    name = decision["time_zone"]["name"]
    return zone(name) if is_zone(name) else UTC


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str, local: tzinfo) -> str:
    return _day_and_time(_instant(text).astimezone(local))


def _day_and_time(moment: datetime) -> str:
    """As in `Fri 18 Sep 13:00`, in English whatever the locale of the machine."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{day} {moment.day} {months[moment.month - 1]} {moment:%H:%M}"
