"""An explanation as text for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any, TypeAlias

from referral_stream.cli.render.terminal import visible, wrapped
from referral_stream.core.instants import rfc3339, to_datetime
from referral_stream.core.zones import zone
from referral_stream.explain.of_log import Explanation
from referral_stream.explain.prospects import Prospect
from referral_stream.explain.story import Entry
from referral_stream.words.decisions import clock_words, happening
from referral_stream.words.phrases import phrases

_STAMP = "Wed 2026-09-16 09:30 +02:00"
_KIND = "cancelled"
_WIDE_ENOUGH = 100
_COLOURS = {
    "asked": "green",
    "decided": "yellow",
    "cancelled": "magenta",
    "paused": "red",
    "unusable": "red",
    "skipped": "red",
    "follow-up": "cyan",
    "withdrawn": "magenta",
    "reward": "green",
}

Style: TypeAlias = Callable[..., str]


def as_text(explanation: Explanation, width: int | None = None, style: Style | None = None) -> str:
    """The story in the customer's own time, then what is awaited and what is next; ends with a line end.

    The same thing coming in several times in a row takes one line. ``width``: columns to wrap to, with a hanging
    indent; None does not wrap. ``style``: paints what was decided, as ``click.style`` does.
    """
    local, words = zone(explanation.zone.name), phrases()
    policy, where = explanation.policy, explanation.zone
    source = words.say("explanation", "zone_source", source=where.source)
    strict = words.say("explanation", "strict", zones=", ".join(where.names)) if len(where.names) > 1 else None
    lines = [
        visible(
            words.say("explanation", "title", customer=explanation.customer_id, instant=stamp(explanation.at, local))
        ),
        wrapped(
            words.say(
                "explanation",
                "terms",
                zone=where.name,
                source=source,
                strict=strict,
                policy=policy.name,
                hash=policy.hash,
            ),
            width,
        ),
        "",
        *_story(explanation.entries, local, width, style),
        *_awaited(explanation, width),
        "",
        words.say("explanation", "next"),
        *(wrapped(f"  {_prospect_text(prospect)}", width, indent=4) for prospect in explanation.outlook),
    ]
    return "\n".join(lines) + "\n"


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Instants in RFC 3339, what is absent left out."""
    return {
        "customer_id": explanation.customer_id,
        "at": rfc3339(explanation.at),
        "time_zone": _present(
            name=explanation.zone.name,
            source=explanation.zone.source,
            zones=list(explanation.zone.names) if len(explanation.zone.names) > 1 else None,
        ),
        "policy": explanation.policy.model_dump(),
        "timeline": [
            _present(at=rfc3339(entry.instant), kind=entry.kind, text=entry.text, opportunity_id=entry.opportunity_id)
            for entry in explanation.entries
        ],
        "awaited": [
            _present(kind=awaited.kind, text=awaited.text, by=_instant(awaited.by)) for awaited in explanation.awaited
        ],
        "next": [_prospect(prospect) for prospect in explanation.outlook],
    }


def _awaited(explanation: Explanation, width: int | None) -> Iterator[str]:
    if explanation.awaited:
        yield ""
        yield phrases().say("explanation", "awaited")
        for awaited in explanation.awaited:
            yield wrapped(f"  {awaited.text}", width, indent=4)


def _story(entries: tuple[Entry, ...], local: tzinfo, width: int | None, style: Style | None) -> Iterator[str]:
    stamped = ""
    narrow = width is not None and width < _WIDE_ENOUGH  # then an instant has a line of its own
    for _, same in groupby(entries, key=lambda entry: (entry.kind, entry.text)):
        first, *more = same
        at = stamp(first.instant, local)
        text = first.text
        if more:
            last = clock_words(more[-1].instant, local)
            text = phrases().say("explanation", "repeated", text=text, times=len(more) + 1, instant=last)
        shown = at if at != stamped else ""
        stamped = at
        if narrow and shown:
            yield shown
        lead = "  " if narrow else f"{shown:<{len(_STAMP)}}  "
        line = wrapped(f"{lead}{first.kind:<{len(_KIND)}}  {text}", width, indent=len(lead) + len(_KIND) + 2)
        yield line if style is None else _painted(line, first.kind, len(lead), style)


def _painted(line: str, kind: str, at: int, style: Style) -> str:
    """The line with its kind in colour."""
    colour = _COLOURS.get(kind)
    return line if colour is None else f"{line[:at]}{style(kind, fg=colour, bold=True)}{line[at + len(kind) :]}"


def stamp(instant: int, local: tzinfo) -> str:
    """As in `Wed 2026-09-16 09:30 +02:00`."""
    moment: datetime = to_datetime(instant).astimezone(local)
    return f"{clock_words(instant, local)[:3]} {moment.isoformat(' ', 'minutes')[:16]} {moment.isoformat()[-6:]}"


def _prospect_text(prospect: Prospect) -> str:
    of_none = prospect.opportunity_id is None and prospect.trigger != "referral_converted"
    trigger = None if of_none else happening(prospect.trigger)
    return phrases().say("explanation", "prospect", trigger=trigger, text=prospect.text)


def _prospect(prospect: Prospect) -> dict[str, Any]:
    return _present(
        trigger=prospect.trigger or None,
        opportunity_id=prospect.opportunity_id,
        text=prospect.text,
        asked_at=_instant(prospect.asked_at),
        changes=list(prospect.changes) or None,
        at=_instant(prospect.at),
        by=_instant(prospect.by),
        before=_instant(prospect.before),
    )


def _instant(instant: int | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
