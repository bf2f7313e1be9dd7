"""The picture of docs/concepts.md, docs/images/opportunity.svg: the life of one opportunity, drawn from a replay.

    python tools/concepts_picture.py          write it
    python tools/concepts_picture.py --check  exit with 1 if the committed one differs

The log is examples/cookbook/one_opportunity.jsonl, the policy the default. Every instant is the replay's, except quiet
hours and slot, which are the policy's numbers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.instants import to_datetime
from referral_stream.core.policy import Policy
from referral_stream.explain.of_log import explain
from referral_stream.replay.files import replay_file

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "docs" / "images" / "opportunity.svg"
LOG: Final = ROOT / "examples" / "cookbook" / "one_opportunity.jsonl"
CUSTOMER, TRIGGER = "cus-ana", "nps_promoter"
ZONE: Final = ZoneInfo("Europe/Berlin")
WORDS: Final = {"pending": "planned", "deferred": "held back", "asked": "asked"}
"""What is said at the point of a decision."""

WIDTH, LEFT, RIGHT, TOP, ROW, TEXT_WIDTH = 940, 130, 24, 46, 42, 250


class Bar(NamedTuple):
    """A row of the picture: from ``begins`` to ``ends``, with what it is called and what it says."""

    name: str
    begins: datetime
    ends: datetime
    says: str
    colour: str


class Scene(NamedTuple):
    bars: tuple[Bar, ...]
    decisions: tuple[tuple[datetime, str], ...]
    moment: datetime


def local(instant: int) -> datetime:
    return to_datetime(instant).astimezone(ZONE)


def seen() -> Scene:
    """What the replay says of the one opportunity."""
    policy = Policy()
    boundary = Boundary(email_key=b"")
    story = explain(LOG, CUSTOMER, policy, boundary)
    occasion = next(each for each in story.opportunities if each.trigger == TRIGGER)
    ticket = next(item for track in story.tracks if track.name == "trouble" for item in track.items)
    if occasion.settled is None or ticket.until is None:
        raise ValueError("the log no longer has an opportunity that settles, and a ticket that is solved")
    opens, deadline = local(occasion.opens), local(occasion.deadline)
    solved, settled = local(ticket.until), local(occasion.settled)
    hours, waits = (deadline - opens) // timedelta(hours=1), (settled - opens) // timedelta(minutes=1)
    moments = policy.moments
    night = _at(opens, moments.quiet_from)
    morning = _at(opens + timedelta(days=1), moments.quiet_until)
    slot = _at(deadline, moments.slot_from), min(deadline, _at(deadline, moments.slot_until))
    decisions = tuple((_instant(row["decided_at"]), WORDS[row["outcome"]]) for row in _decided(policy, boundary))
    bars = (
        Bar(
            "window",
            opens,
            deadline,
            f"{hours} hours: ask by {deadline:%a %H:%M} or never",
            "#3f6fa3",
        ),
        Bar("settling", opens, settled, f"{waits} minutes, in case the score is corrected", "#3d8f8a"),
        Bar("trouble", local(ticket.at), solved, f"ticket {ticket.id} is open: nobody is asked", "#c0392b"),
        Bar("quiet hours", night, morning, f"{moments.quiet_from} to {moments.quiet_until}, the customer's", "#6b6b70"),
        Bar("e-mail slot", *slot, "", "#3f8a37"),
    )
    return Scene(bars, decisions, decisions[-1][0])


def _decided(policy: Policy, boundary: Boundary) -> Iterator[dict[str, Any]]:
    with TemporaryDirectory() as folder:
        replay_file(LOG, Path(folder), policy, boundary)
        for line in (Path(folder) / "decisions.jsonl").read_text().splitlines():
            data = json.loads(line)["data"]
            if data["trigger"] == TRIGGER:
                yield data


def _at(day: datetime, clock: str) -> datetime:
    return datetime.combine(day.date(), time.fromisoformat(clock), ZONE)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(ZONE)


def drawn(scene: Scene) -> str:
    """The picture, as SVG."""
    begins = scene.bars[0].begins - timedelta(hours=1)
    ends = scene.bars[0].ends + timedelta(hours=1)
    height = TOP + ROW * (len(scene.bars) + 1) + 34

    def x(instant: datetime) -> float:
        return round(LEFT + (instant - begins) / (ends - begins) * (WIDTH - LEFT - RIGHT), 1)

    def text(at: float, y: float, said: str, more: str = "") -> str:
        return f'<text x="{at}" y="{y}"{more}>{escape(said)}</text>'

    bottom = height - 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
        "<title>The life of one opportunity</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#fff"/>',
    ]
    hour = begins.replace(minute=0)
    while hour <= ends:
        if hour.hour % 4 == 0:
            lines.append(f'<path d="M{x(hour)} {TOP - 12}V{bottom}" stroke="#ddd"/>')
            lines.append(text(x(hour), bottom + 20, f"{hour:%a %H:%M}", ' text-anchor="middle" fill="#666"'))
        hour += timedelta(hours=1)
    for number, bar in enumerate(scene.bars):
        y, from_x = TOP + number * ROW, x(bar.begins)
        width = max(round(x(bar.ends) - from_x, 1), 3)
        lines.append(text(LEFT - 14, y + 17, bar.name, ' text-anchor="end" font-weight="600"'))
        lines.append(f'<rect x="{from_x}" y="{y}" width="{width}" height="26" rx="3" fill="{bar.colour}"/>')
        inside = width > TEXT_WIDTH
        lines.append(
            text(from_x + (10 if inside else width + 8), y + 17, bar.says, ' fill="#fff"' if inside else "")
            if bar.says
            else ""
        )
    y = TOP + len(scene.bars) * ROW + 13
    lines.append(text(LEFT - 14, y + 4, "decisions", ' text-anchor="end" font-weight="600"'))
    for instant, said in scene.decisions:
        anchor = ' text-anchor="middle"'
        lines.append(f'<circle cx="{x(instant)}" cy="{y - 4}" r="5" fill="#222"/>')
        lines.append(text(x(instant), y + 18, said, anchor))
    at = x(scene.moment)
    lines.append(f'<path d="M{at} {TOP - 14}V{y - 4}" stroke="#222" stroke-width="2" stroke-dasharray="5 3"/>')
    lines.append(text(at, TOP - 20, f"the moment: {scene.moment:%a %H:%M}", ' text-anchor="middle" font-weight="600"'))
    return "\n".join(line for line in (*lines, "</svg>") if line) + "\n"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    picture = drawn(seen())
    if not arguments:
        FILE.write_text(picture, encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == picture:
        return 0
    print("docs/images/opportunity.svg differs from tools/concepts_picture.py; run: make pages", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
