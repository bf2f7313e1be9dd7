"""One event as its producer gave it, whatever the envelope was → the canonical event, or why there is none.

Here are the rules that hold for every event: who it is about, when it was, what its body must be, and that no free text
gets in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
from pydantic import ValidationError

from referral_stream.contracts.inbound.themes import OTHER, THEMES, theme_of
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.validation import FACT_BODIES, explain
from referral_stream.core import zones
from referral_stream.core.events import (
    FACTS,
    MAX_TEXT,
    WITHOUT_SUBJECT,
    AskAnswered,
    Commented,
    Event,
    Link,
    ProfileChanged,
    ReferralGiven,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, EARLIEST, LATEST, MINUTE, parse_instant

CLOCK_TOLERANCE = 5 * MINUTE
"""How far ahead of our clock an event may be before it is clamped."""
CLOCK_LIMIT = DAY
"""How far ahead of our clock an event may be before it is refused."""

MAX_ID = 512
"""Characters of an id, a source, a subject or an account."""

EventTime: TypeAlias = tuple[int, tuple[str, ...]]
"""When an event happened, and the flags for what had to be corrected."""


class Attributes(msgspec.Struct, gc=False):
    """What a CloudEvent or a vendor's webhook says about one event of a known type; None where it says nothing."""

    kind: str
    data: Any
    when: EventTime | Refused
    id: str
    source: str
    subject: Any
    account: str | None
    timezone: Any
    traceparent: str | None
    historical: bool
    link: Link | None = None


def canonical_event(given: Attributes) -> Event | Refused:
    """The event; an error in ``given.when`` is reported only if nothing else is wrong."""
    kind, subject, data, timezone = given.kind, given.subject, given.data, given.timezone
    if kind in WITHOUT_SUBJECT or (subject is None and given.link is not None):
        subject = ""
    elif subject is None or subject == "":
        return Refused("no_subject", f"{kind} needs a subject, the customer id")
    elif type(subject) is not str or len(subject) > MAX_ID:
        return Refused("invalid", f"subject: must be text of 1 to {MAX_ID} characters")
    elif subject.isspace():
        return Refused("no_subject", f"{kind} needs a subject, the customer id")
    if type(data) is not dict:
        return Refused("invalid", "data: must be a JSON object")
    correct = _CORRECTIONS.get(kind)
    if correct is _without_words:
        data = _themed(data)
    try:
        body = FACT_BODIES[kind](data)
    except ValidationError as error:
        return Refused("invalid", explain(error))
    if not isinstance(given.when, tuple):
        return given.when
    instant, flags = given.when
    if timezone is not None and not (type(timezone) is str and zones.is_zone(timezone)):
        timezone, flags = None, _flagged(flags, "timezone_invalid")
    if correct is not None and (corrected := correct(body)):
        # Validated once more: that costs less than a copy of the body.
        body = FACT_BODIES[kind](data | corrected)
        flags = _flagged(flags, "timezone_invalid") if "time_zone" in corrected else flags
    return Event(
        id=given.id,
        source=given.source,
        type=kind,
        subject=subject,
        time=instant,
        data=body,
        account=given.account,
        timezone=timezone,
        traceparent=given.traceparent,
        historical=given.historical,
        flags=flags,
        link=given.link,
    )


def event_time(given: str | int | None, record: RawRecord, now: int) -> EventTime | Refused:
    """The clock rules (semantics §3, §10). A number is epoch ms, None what the producer did not say."""
    stamp = record.timestamp if record.timestamp >= 0 else now
    flags: tuple[str, ...] = ()
    if given is None:
        instant, flags = stamp, ("time_missing",)
    elif isinstance(given, str):
        try:
            instant, naive = parse_instant(given)
        except (ValueError, OverflowError):
            return Refused("invalid", "time: must be RFC 3339")
        if naive:
            flags = ("time_naive",)
    elif EARLIEST <= given <= LATEST:
        instant = given
    else:
        return Refused("invalid", "time: out of range")
    if instant > now + CLOCK_LIMIT:
        return Refused("time_in_future", f"time: more than {CLOCK_LIMIT // MINUTE} minutes ahead of its arrival")
    if instant > now + CLOCK_TOLERANCE:
        return min(stamp, now), _flagged(flags, "time_clamped")
    return instant, flags


def _themed(data: dict[str, Any]) -> dict[str, Any]:
    """The data with the theme of its comment instead of the comment, if there clearly is one: vendors' payloads."""
    said = data.get("comment")
    if type(said) is not str or len(said) > MAX_TEXT or "theme" in data:
        return data
    return data | {"comment": None, "theme": theme_of(said) or (OTHER if said.strip() else None)}


def _without_words(body: Commented) -> dict[str, Any]:
    """A comment's theme instead of it. A theme chosen by the producer would let free text in."""
    said = body.comment
    own = body.theme if body.theme in THEMES else None
    if said is not None:
        return {"comment": None, "theme": theme_of(said) or own or (OTHER if said.strip() else None)}
    return {} if body.theme == own else {"theme": own}


def _without_text(body: AskAnswered) -> dict[str, Any]:
    return {} if body.text is None else {"text": None}


def _without_names(body: ReferralGiven) -> dict[str, Any]:
    """Third parties' names stay outside."""
    contact = body.contact
    return {"contact": {"ref": contact.ref, "consented": contact.consented}}


def _with_a_known_zone(body: ProfileChanged) -> dict[str, Any]:
    """An unknown time zone counts as none."""
    return {} if body.time_zone is None or zones.is_zone(body.time_zone) else {"time_zone": None}


_CORRECTIONS: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    **{fact.type: _without_words for fact in FACTS if issubclass(fact, Commented)},
    AskAnswered.type: _without_text,
    ReferralGiven.type: _without_names,
    ProfileChanged.type: _with_a_known_zone,
}
"""Type → the fields of its body that must be replaced, with their new values."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(given: Any, record: RawRecord) -> str | None:
    """The W3C trace context: the event's own, else the record's header (tracing libraries write that one)."""
    if given is None:
        if not record.headers:
            return None
        given = record.header("traceparent")
    return given if type(given) is str and _TRACEPARENT.fullmatch(given) else None


def _flagged(flags: tuple[str, ...], flag: str) -> tuple[str, ...]:
    return flags if flag in flags else (*flags, flag)


def position_id(record: RawRecord) -> str:
    """An id for an event without one: the same at every redelivery."""
    return derived_id("event", record.topic, record.partition, record.offset)
