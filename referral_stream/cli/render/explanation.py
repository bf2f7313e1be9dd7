"""An explanation as text for people and as JSON for machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, tzinfo
from itertools import groupby
from typing import TypeAlias

from referral_stream.cli.render.terminal import wrapped
from referral_stream.core.instants import to_datetime
from referral_stream.core.zones import zone
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.opportunities import OpportunityStory
from referral_stream.explain.prospects import Prospect
from referral_stream.explain.story import Entry
from referral_stream.words.decisions import clock_words, happening
from referral_stream.words.escaping import visible
from referral_stream.words.phrases import phrases, speaking

_MARKUP = re.compile(r"[\\`*_{}\[\]<>&#|~!@]|(?<=\b)(?::)(?=//)|^[-+]|^\d+(?=\.)")
"""What Markdown might read as more than a character; of a list's number its full stop would do, too."""
_STAMP = "Wed 2026-09-16 09:30 +02:00"
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
    with speaking(explanation.language) as words:
        local = zone(explanation.zone.name)
        lines = [
            visible(_title(explanation, local)),
            wrapped(_terms(explanation), width),
            "",
            wrapped(explanation.gist.text, width),
            "",
            *_story(explanation.entries, local, width, style),
            *_gates(explanation, width),
            *_awaited(explanation, width),
            "",
            words.say("explanation", "next"),
            *(wrapped(f"  {_prospect_text(prospect)}", width, indent=4) for prospect in explanation.outlook),
        ]
    return "\n".join(lines) + "\n"


def as_markdown(explanation: Explanation) -> str:
    """The same for a ticket or a page, with the gates of every occasion in tables; ends with a line end."""
    with speaking(explanation.language) as words:
        local = zone(explanation.zone.name)
        lines = [
            f"# {_markdown(_title(explanation, local))}",
            "",
            f"**{_markdown(explanation.gist.text)}**",
            "",
            _markdown(_terms(explanation)),
            "",
            *(line for occasion in explanation.opportunities for line in _table(occasion, explanation, local)),
        ]
        if explanation.awaited:
            texts = [awaited.text for awaited in explanation.awaited]
            lines += [f"## {_markdown(words.say('explanation', 'awaited'))}", "", *_listed(texts), ""]
        lines += [
            f"## {_markdown(words.say('explanation', 'next'))}",
            "",
            *_listed([_prospect_text(prospect) for prospect in explanation.outlook]),
            "",
            f"## {_markdown(words.say('explanation', 'story'))}",
            "",
            *(
                f"- {_markdown(stamp(entry.instant, local))} · {_markdown(words.word('kinds', entry.kind))} · "
                f"{_markdown(entry.text)}"
                for entry in explanation.entries
            ),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _title(explanation: Explanation, local: tzinfo) -> str:
    instant = stamp(explanation.at, local)
    return phrases().say("explanation", "title", customer=explanation.customer_id, instant=instant)


def _terms(explanation: Explanation) -> str:
    words, policy, where = phrases(), explanation.policy, explanation.zone
    source = words.say("explanation", "zone_source", source=where.source)
    strict = words.say("explanation", "strict", zones=", ".join(where.names)) if len(where.names) > 1 else None
    return words.say(
        "explanation",
        "terms",
        zone=where.name,
        source=source,
        strict=strict,
        policy=policy.name,
        hash=policy.hash,
    )


def _score(occasion: OpportunityStory, explanation: Explanation) -> str:
    words, parts = phrases(), explanation.parts or {}
    made = [
        words.say("explanation", "part", name=parts.get(name, name), points=points)
        for name, points in occasion.score.parts.items()
        if points
    ]
    score, told = occasion.score.value, ", ".join(made)
    return words.say("explanation", "occasion", text=occasion.text, score=score, parts=told)


def _gates(explanation: Explanation, width: int | None) -> Iterator[str]:
    """Of each open occasion what its score is made of, and the gates that do not pass."""
    live = [occasion for occasion in explanation.opportunities if occasion.live]
    if not live:
        return
    words = phrases()
    yield ""
    yield words.say("explanation", "gates")
    wide = max(len(cell.title) for occasion in live for cell in occasion.gates)
    for occasion in live:
        yield wrapped(f"  {_score(occasion, explanation)}", width, indent=4)
        blocking = [cell for cell in occasion.gates if cell.blocks]
        for cell in blocking:
            yield wrapped(f"    {cell.title:<{wide}}  {cell.text}", width, indent=wide + 6)
        number = len(occasion.gates) - len(blocking)
        if blocking:
            yield f"    {words.say('explanation', 'others_pass', number=number)}"
        else:
            yield f"    {words.say('explanation', 'all_pass', number=number)}"


def _table(occasion: OpportunityStory, explanation: Explanation, local: tzinfo) -> Iterator[str]:
    words = phrases()
    yield f"## {_markdown(occasion.title)}"
    yield ""
    yield _markdown(_score(occasion, explanation))
    if not occasion.live and occasion.decided_at is not None:
        decided = clock_words(occasion.decided_at, local)
        yield ""
        yield _markdown(words.say("explanation", "earlier_occasion", instant=decided))
    yield ""
    head = (
        words.say("explanation", "gate"),
        words.say("explanation", "answer"),
        words.say("explanation", "saw"),
        words.say("explanation", "limit"),
    )
    yield f"| {' | '.join(map(_markdown, head))} |"
    yield "|---|---|---|---|"
    for cell in occasion.gates:
        row = (cell.title, cell.short, cell.saw, cell.limit)
        yield f"| {' | '.join(map(_markdown, row))} |"
    yield ""


def _listed(texts: Iterable[str]) -> list[str]:
    return [f"- {_markdown(text)}" for text in texts]


def _markdown(text: str) -> str:
    """One visible line that Markdown shows as it is: what comes from a log is neither markup, nor HTML, nor a link."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};" if found[0] in "<>&" else f"\\{found[0]}", visible(text))


def _awaited(explanation: Explanation, width: int | None) -> Iterator[str]:
    if explanation.awaited:
        yield ""
        yield phrases().say("explanation", "awaited")
        for awaited in explanation.awaited:
            yield wrapped(f"  {awaited.text}", width, indent=4)


def _story(entries: tuple[Entry, ...], local: tzinfo, width: int | None, style: Style | None) -> Iterator[str]:
    stamped, words = "", phrases()
    narrow = width is not None and width < _WIDE_ENOUGH  # then an instant has a line of its own
    kinds = words.tables["kinds"]
    wide = max(map(len, kinds.values()))
    for _, same in groupby(entries, key=lambda entry: (entry.kind, entry.text)):
        first, *more = same
        at = stamp(first.instant, local)
        text, kind = first.text, words.word("kinds", first.kind)
        if more:
            last = clock_words(more[-1].instant, local)
            text = words.say("explanation", "repeated", text=text, times=len(more) + 1, instant=last)
        shown = at if at != stamped else ""
        stamped = at
        if narrow and shown:
            yield shown
        lead = "  " if narrow else f"{shown:<{len(_STAMP)}}  "
        line = wrapped(f"{lead}{kind:<{wide}}  {text}", width, indent=len(lead) + wide + 2)
        yield line if style is None else _painted(line, first.kind, kind, len(lead), style)


def _painted(line: str, kind: str, shown: str, at: int, style: Style) -> str:
    """The line with its kind, as it is ``shown``, in colour."""
    colour = _COLOURS.get(kind)
    return line if colour is None else f"{line[:at]}{style(shown, fg=colour, bold=True)}{line[at + len(shown) :]}"


def stamp(instant: int, local: tzinfo) -> str:
    """As in `Wed 2026-09-16 09:30 +02:00`."""
    moment: datetime = to_datetime(instant).astimezone(local)
    weekday = phrases().tables["calendar"]["weekdays"][moment.weekday()]
    return f"{weekday} {moment.isoformat(' ', 'minutes')[:16]} {moment.isoformat()[-6:]}"


def _prospect_text(prospect: Prospect) -> str:
    of_none = prospect.opportunity_id is None and prospect.trigger != "referral_converted"
    trigger = None if of_none else happening(prospect.trigger)
    return phrases().say("explanation", "prospect", trigger=trigger, text=prospect.text)
