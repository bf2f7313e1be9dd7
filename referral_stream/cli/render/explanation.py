"""An explanation as text for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any

from referral_stream.core.instants import rfc3339, to_datetime
from referral_stream.core.zones import zone
from referral_stream.explain.prospects import Prospect
from referral_stream.explain.story import Entry, Explanation
from referral_stream.words.decisions import clock_words, happening

_SOURCES = {"profile": "from the profile", "event": "from an event", "default": "the default"}
_STAMP = "Wed 2026-09-16 09:30 +02:00"
_KIND = "cancelled"


def as_text(explanation: Explanation) -> str:
    """The story in the customer's own time, then what is next; ends with a line end.

    The same thing coming in several times in a row takes one line.
    """
    local = zone(explanation.zone.name)
    policy = explanation.policy
    lines = [
        f"{explanation.customer_id}, as of {_stamp(explanation.at, local)}",
        f"times of {explanation.zone.name} ({_SOURCES[explanation.zone.source]}), policy {policy.name} {policy.hash}",
        "",
        *_story(explanation.entries, local),
        "",
        "What next",
        *(f"  {_about(prospect)}{prospect.text}" for prospect in explanation.outlook),
    ]
    return "\n".join(lines) + "\n"


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Instants in RFC 3339, what is absent left out."""
    return {
        "customer_id": explanation.customer_id,
        "at": rfc3339(explanation.at),
        "time_zone": {"name": explanation.zone.name, "source": explanation.zone.source},
        "policy": explanation.policy.model_dump(),
        "timeline": [
            _present(at=rfc3339(entry.instant), kind=entry.kind, text=entry.text, opportunity_id=entry.opportunity_id)
            for entry in explanation.entries
        ],
        "next": [_prospect(prospect) for prospect in explanation.outlook],
    }


def _story(entries: tuple[Entry, ...], local: tzinfo) -> Iterator[str]:
    stamped = ""
    for _, same in groupby(entries, key=lambda entry: (entry.kind, entry.text)):
        first, *more = same
        stamp = _stamp(first.instant, local)
        text = first.text
        if more:
            text = f"{text} ({len(more) + 1} times, the last on {clock_words(more[-1].instant, local)})"
        shown = stamp if stamp != stamped else ""
        stamped = stamp
        yield f"{shown:<{len(_STAMP)}}  {first.kind:<{len(_KIND)}}  {text}"


def _stamp(instant: int, local: tzinfo) -> str:
    """As in `Wed 2026-09-16 09:30 +02:00`."""
    moment: datetime = to_datetime(instant).astimezone(local)
    return f"{clock_words(instant, local)[:3]} {moment.isoformat(' ', 'minutes')[:16]} {moment.isoformat()[-6:]}"


def _about(prospect: Prospect) -> str:
    if prospect.opportunity_id is None and prospect.trigger != "referral_converted":
        return ""
    return f"{happening(prospect.trigger)}: "


def _prospect(prospect: Prospect) -> dict[str, Any]:
    return _present(
        trigger=prospect.trigger or None,
        opportunity_id=prospect.opportunity_id,
        text=prospect.text,
        asked_at=_instant(prospect.asked_at),
        changes=list(prospect.changes) or None,
        by=_instant(prospect.by),
        before=_instant(prospect.before),
    )


def _instant(instant: int | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
