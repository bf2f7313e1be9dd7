"""Decisions in plain words: what the terminal, an explanation and a report say about an outcome and its reasons.

The words are made from what a decision carries; nothing is recomputed. Instants are shown in the customer's zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any

from referral_stream.core.instants import from_datetime, to_datetime
from referral_stream.core.zones import is_zone, zone
from referral_stream.words.phrases import phrases

EMITTED = frozenset({"asked", "soft", "holdout", "shadow"})
"""Outcomes that use up the customer's turn: an ask, or one that was withheld on purpose."""

_INSTANT = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"


def happening(trigger: str) -> str:
    """What a trigger says about the customer: ``nps_promoter`` → "gave a top score"; an unknown one stays as it is."""
    return phrases().word("triggers", trigger)


def outcome_words(outcome: str) -> str:
    """An outcome in a word or two; an unknown one stays as it is."""
    return phrases().word("outcomes", outcome)


def plain(reason: Mapping[str, Any], local: tzinfo, settled: str | None = None) -> str:
    """One gate's answer in plain words, with instants in the ``local`` zone: "ticket 4711 is open, waits for …".

    ``reason`` is an entry of a decision's ``reasons``, ``settled`` that decision's (RFC 3339), where it has one.
    Unknown words are shown as they are.
    """
    words = phrases()
    causes = reason["saw"].split("; ")
    if reason["answer"] == "until_event" and len(causes) > 1:
        return _each_with_its_remedy(reason, causes, local)
    seen = in_local_time(_enumerated([words.cause(cause) for cause in causes], words.word("words", "and")), local)
    gate = reason["gate"] if reason["gate"] in words.tables["gates"] else "other"
    saw = words.say("gates", gate, saw=seen, limit=words.limit(reason["limit"]))
    match reason:
        case {"answer": "until", "gate": "moment", "until": str(instant)} if instant == settled:
            return words.say("answers", "settles", instant=_clock(instant, local))
        case {"answer": "until", "gate": "moment", "until": str(instant)}:
            return words.say("answers", "planned", instant=_clock(instant, local))
        case {"answer": "until_event", "gate": "moment", "until": "moment"}:
            return words.say("answers", "moment")
        case {"answer": "until", "until": str(instant)}:
            return words.say("answers", "until", saw=saw, instant=_clock(instant, local))
        case {"answer": "until_event", "until": str(event)}:
            known = event in words.tables["awaited"]
            awaited = words.word("awaited", event) if known else words.say("answers", "event", event=event)
            return words.say("answers", "until_event", saw=saw, awaited=awaited)
        case _:
            return saw


def _each_with_its_remedy(reason: Mapping[str, Any], causes: list[str], local: tzinfo) -> str:
    """Several causes of one gate, each with what ends it: one event does not lift them all."""
    words = phrases()
    told = []
    for cause in causes:
        event = words.waits_for(cause)
        ends = words.word("answers", "time") if event is None else words.word("awaited", event)
        told.append(words.say("answers", "until_event", saw=words.cause(cause), awaited=ends))
    gate = reason["gate"] if reason["gate"] in words.tables["gates"] else "other"
    saw = "; ".join(told)
    return in_local_time(words.say("gates", gate, saw=saw, limit=words.limit(reason["limit"])), local)


def _enumerated(parts: list[str], and_: str) -> str:
    *others, last = parts
    return f"{', '.join(others)} {and_} {last}" if others else last


def why(decision: Mapping[str, Any], now: int | None = None) -> str:
    """The reasons for or against the ask, in plain words and in the customer's own zone.

    ``now``: when it is told (epoch ms), if later than it was decided: a window that has closed since then is closed.
    ``decision`` is the ``data`` of a message of ``referral-decisions``, as parsed JSON.
    """
    local = zone_of(decision)
    deadline = decision["window"]["deadline"]
    words = phrases()
    match decision["outcome"]:
        case "asked" | "soft" | "shadow":
            ways = [words.word("channels", decision["channel"])] if decision.get("channel") else []
            ways += [words.word("modes", decision["mode"])] if decision.get("mode") else []
            ways += [words.say("because", "arm", arm=decision["arm"])] if decision.get("arm") else []
            return ", ".join([*ways, words.say("because", "score", score=decision["score"]["value"])])
        case "superseded" | "expired" | "expired_on_arrival" | "historical" | "duplicate" as outcome:
            return words.say("because", outcome, instant=_clock(deadline, local))
        case outcome:
            reasons = in_the_way(decision)
            if outcome == "suppressed" and all(reason["answer"] != "never" for reason in _telling(decision)):
                told = max(from_datetime(_instant(decision["decided_at"])), now or 0)
                over = told >= from_datetime(_instant(deadline))
                phrase = "window_closed" if over else "window_closes"
                return words.say("because", phrase, why=reasons, instant=_clock(deadline, local))
            return reasons


def in_the_way(decision: Mapping[str, Any]) -> str:
    """The blocking gates' answers alone, in plain words; empty where nothing blocks."""
    telling = _telling(decision)
    if decision["outcome"] == "cancelled" and all(reason["gate"] == "moment" for reason in telling):
        return phrases().word("because", "corrected")  # the one cancellation that no gate causes
    local = zone_of(decision)
    return "; ".join(plain(reason, local, decision.get("settled")) for reason in telling)


def _telling(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocking reasons; the planned moment is irrelevant while something else blocks."""
    blocking = [reason for reason in decision["reasons"] if reason["answer"] != "pass"]
    return [reason for reason in blocking if reason["gate"] != "moment"] or blocking


def zone_of(decision: Mapping[str, Any]) -> tzinfo:
    """The zone a decision was made in; UTC if this machine's database does not know it."""
    name = decision["time_zone"]["name"]
    return zone(name) if is_zone(name) else UTC


def saw_words(saw: str, local: tzinfo) -> str:
    """What a gate saw, cause by cause: "complaint or frustration on Tue 1 Sep 12:00; ticket 4711 is open"."""
    words = phrases()
    return in_local_time("; ".join(map(words.cause, saw.split("; "))), local)


def in_local_time(text: str, local: tzinfo) -> str:
    """The text with its instants in the ``local`` zone: "at 2026-09-01T10:00:00.000Z" → "on Tue 1 Sep 12:00"."""
    words = phrases()
    since = words.tables["calendar"]["since"].partition("{")[0]
    return _instant_after(since).sub(
        lambda found: words.say("calendar", "since" if found[1] else "instant", instant=_clock(found[2], local)),
        text,
    )


@cache
def _instant_after(since: str) -> re.Pattern[str]:
    """An instant with the word before it: ours, or the language's."""
    return re.compile(rf"\b(?:at |(since |{re.escape(since)}))?{_INSTANT}")


def day_and_time(moment: datetime) -> str:
    """As in ``Fri 18 Sep 13:00``, in the language spoken, whatever the locale of the machine."""
    words = phrases()
    calendar = words.tables["calendar"]
    return words.say(
        "calendar",
        "moment",
        weekday=calendar["weekdays"][moment.weekday()],
        day=moment.day,
        month=calendar["months"][moment.month - 1],
        time=f"{moment:%H:%M}",
    )


def clock_words(instant: int, local: tzinfo) -> str:
    """``day_and_time`` of an instant (epoch ms) in the ``local`` zone."""
    return day_and_time(to_datetime(instant).astimezone(local))


def instant_in(text: str, local: tzinfo) -> datetime:
    """An instant in RFC 3339, in the ``local`` zone."""
    return datetime.fromisoformat(text).astimezone(local)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str, local: tzinfo) -> str:
    return day_and_time(_instant(text).astimezone(local))
