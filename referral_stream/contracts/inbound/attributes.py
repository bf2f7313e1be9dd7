"""One event as its producer gave it, whatever the envelope was → the canonical event, or why there is none.

Here are the rules that hold for every event: who it is about, when it was, what its body must be, and that no free text
gets in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Self, TypeAlias

import msgspec

from referral_stream.contracts.adapters import Reading
from referral_stream.contracts.addresses import hmac_in
from referral_stream.contracts.identifiers import is_placeholder, named, usable_id
from referral_stream.contracts.inbound import answers
from referral_stream.contracts.inbound.bodies import DROPPED, BodyRead, read_body
from referral_stream.contracts.inbound.contacts import canonical_contact
from referral_stream.contracts.inbound.themes import THEMES, theme_of
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.outcomes import Refused, Skipped
from referral_stream.contracts.records import ENDPOINT_HEADER, RawRecord
from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core import zones
from referral_stream.core.events import (
    FACTS,
    MAX_TEXT,
    WITHOUT_SUBJECT,
    Aliased,
    AskAnswered,
    Commented,
    Data,
    Event,
    Link,
    Linked,
    ProfileChanged,
    ReferralGiven,
    ReferralStatusChanged,
    is_favourable,
    is_operators,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, EARLIEST, LATEST, MINUTE, parse_instant
from referral_stream.core.links import REFERRAL
from referral_stream.core.opportunity import NO_THEME

CLOCK_TOLERANCE = 5 * MINUTE
"""How far ahead of our clock an event may be without being flagged."""
CLOCK_LIMIT = DAY
"""How far ahead of our clock an event may be to be believed at all."""
BEFORE = 946_684_800_000
"""2000-01-01: no event is older; an earlier time is a clock's or a program's fault."""

MAX_ID = 512
"""Characters of an event's id or source."""

CLOUD_EVENTS: Final = "cloudevents"
"""The origin of events that are no vendor's."""
RESPONSES: Final = "responses"
"""The topic, without prefix, on which an operator's word counts."""

EventTime: TypeAlias = tuple[int, tuple[str, ...]]
"""When an event happened, and the flags for what had to be corrected."""


class Attributes(msgspec.Struct, gc=False):
    """What a CloudEvent or a vendor's webhook says about one event of a known type; None where it says nothing.

    The events of one webhook have all but ``kind``, ``data``, ``time`` and ``id`` in common, and share one of these.
    ``lost``: the flags of what could not be used; ``misnamed``: whether that was the customer. ``spoilt``: what is
    wrong around the body; what speaks for asking is refused for it, what protects is not.
    """

    kind: str
    data: Any
    time: Any
    id: str
    source: str
    subject: str | None
    account: str | None
    timezone: str | None
    traceparent: str | None
    historical: bool
    link: Link | None
    origin: str
    spoilt: Refused | None
    flags: tuple[str, ...]
    lost: tuple[str, ...] = ()
    misnamed: bool = False

    @classmethod
    def of(
        cls,
        reading: Reading,
        *,
        time: Any,
        id: str,
        source: str,
        subject: Any,
        account: Any,
        timezone: Any,
        traceparent: str | None,
        historical: bool,
        link: Link | None,
        spoilt: Refused | None,
        flags: tuple[str, ...],
        kind: str = "",
        data: Any = None,
        origin: str = CLOUD_EVENTS,
    ) -> Self:
        """What was said, as far as it can be used; ``link`` is in its one spelling already."""
        customer = named(subject, reading.placeholders)
        given = cls(
            kind, data, time, id, source, customer, None, None, traceparent, historical, link, origin, spoilt, flags
        )
        given.misnamed = customer is None and subject is not None and subject != ""
        if timezone is not None:
            if type(timezone) is str and zones.is_zone(timezone):
                given.timezone = timezone
            else:
                given.lost = ("timezone_invalid",)
        if account is not None:
            given.account = named(account, reading.placeholders)
            if given.account is None:
                given.lost = (*given.lost, DROPPED)
        return given


def canonical_event(given: Attributes, record: RawRecord, now: int, reading: Reading) -> Event | Refused | Skipped:
    """The event; why there is none is said by the first thing that is wrong with it: body, time, customer."""
    read = _body(given, reading)
    if isinstance(read, Refused):
        return read
    body, flags = read.body, given.flags
    kind, favourable = body.type, is_favourable(body)  # a trouble whose object is unknown is a complaint
    when = event_time(given.time, record, now, favourable=favourable)
    if isinstance(when, Refused):
        return when
    if read.dropped:
        flags = _flagged(flags, DROPPED)
    instant, clock_flags = when
    flags = clock_flags + flags
    subject, link = given.subject, None
    if kind in WITHOUT_SUBJECT:
        subject = ""
    elif subject is None:
        subject, link = "", given.link or _referral_of(body, reading)
        if link is None:
            return _nobody(given, favourable=favourable)
    for flag in given.lost:
        flags = _flagged(flags, flag)
    if kind in _CORRECTIONS:
        body, flags = _corrected(body, flags)
    return Event(
        id=given.id,
        source=given.source,
        type=kind,
        subject=subject,
        time=instant,
        data=body,
        account=given.account,
        timezone=given.timezone,
        traceparent=given.traceparent,
        historical=given.historical,
        flags=flags,
        link=link,
        origin=given.origin,
    )


def _body(given: Attributes, reading: Reading) -> BodyRead | Refused:
    kind, data, spoilt, dropped = given.kind, given.data, given.spoilt, False
    if type(data) is not dict:
        data, spoilt = {}, spoilt or Refused("invalid", "data: must be a JSON object")
    if kind in _PREPARED:
        prepared = _prepared(kind, data, reading)
        if isinstance(prepared, Refused):
            return spoilt or prepared
        data, dropped = prepared
    if kind in _NAMING:  # neither speaks for asking
        return _naming(kind, data, reading.placeholders)
    found = read_body(kind, data, given.id)
    if isinstance(found, Refused):
        return spoilt or found
    if spoilt is not None and is_favourable(found.body):
        return spoilt
    return BodyRead(found.body, dropped=True) if dropped else found


def _naming(kind: str, data: dict[str, Any], placeholders: frozenset[str]) -> BodyRead | Refused:
    """A body that says what is one person's. All of a customer's payloads say the same of the customer."""
    if kind == LINKED and len(data) == 2:  # noqa: PLR2004 (its two fields)
        named_as, value = data.get("kind"), data.get("value")
        if type(named_as) is str and type(value) is str:
            return _said_again(named_as, value, placeholders)
    return _naming_body(kind, data, placeholders)


@lru_cache(maxsize=8_192)
def _said_again(kind: str, value: str, placeholders: frozenset[str]) -> BodyRead | Refused:
    return _naming_body(LINKED, {"kind": kind, "value": value}, placeholders)


def _naming_body(kind: str, data: dict[str, Any], placeholders: frozenset[str]) -> BodyRead | Refused:
    found = read_body(kind, data, "")
    if isinstance(found, Refused):
        return Refused("unusable_id", found.detail)
    body = found.body
    if type(body) is Linked and _bad_link(Link(body.kind, body.value), placeholders):
        return Refused("unusable_id", "value: names nothing")
    if type(body) is Aliased and is_placeholder(body.alias, placeholders):
        return Refused("unusable_id", "alias: names nobody")
    return found


def _prepared(kind: str, data: dict[str, Any], reading: Reading) -> tuple[dict[str, Any], bool] | Refused:
    """The data of a type that may hold words, an address or a contact, without them; and whether any was dropped."""
    if kind in _COMMENTED:
        data = _themed(data)
    elif kind == _ASK_ANSWERED:
        data = _answered(data)
        if "answer" not in data:
            return Refused("invalid", "answer: neither it nor the text says anything")
    elif kind == LINKED:
        if data.get("kind") == EMAIL:
            data = data | {"value": hashed_address(data.get("value"), reading)}
    elif kind == _PROFILE:
        if type(address := data.get("email_hmac")) is str and "@" in address:
            data = data | _NO_ADDRESS | reading.address_hmacs(address)
    elif "contact" in data:
        contact = canonical_contact(data["contact"], reading)
        if isinstance(contact, Refused):
            return contact
        return data | {"contact": contact.contact}, contact.dropped
    return data, False


_ASK_ANSWERED: Final = AskAnswered.type
LINKED: Final = Linked.type
_PROFILE: Final = ProfileChanged.type
_NAMING: Final = frozenset({Aliased.type, LINKED})
"""Types that say that two ids, or an id and something else, are one person's."""
_COMMENTED: Final = frozenset(fact.type for fact in FACTS if issubclass(fact, Commented))
_PREPARED: Final = _COMMENTED | {_ASK_ANSWERED, LINKED, _PROFILE, ReferralGiven.type}
_NO_ADDRESS: Final = {"email_hmac": None, "domain_hmac": None}


def _corrected(body: Data, flags: tuple[str, ...]) -> tuple[Data, tuple[str, ...]]:
    """The body without words and names, and the flags that say what was left out."""
    if not (corrected := _CORRECTIONS[body.type](body)):
        return body, flags
    # Validated once more: that costs less than a copy of the body.
    kept = body.model_dump(exclude=set(corrected), exclude_unset=True)
    made = FACT_BODIES[body.type](kept | {name: value for name, value in corrected.items() if value is not None})
    if "time_zone" in corrected:
        flags = _flagged(flags, "timezone_invalid")
    if not KEYS.get(body.type, frozenset()).isdisjoint(corrected):
        flags = _flagged(flags, DROPPED)
    return made, flags


def _referral_of(body: Data, reading: Reading) -> Link | None:
    """Whose an event without a customer is, if it is about a referral."""
    if not isinstance(body, ReferralStatusChanged):
        return None
    link = Link(REFERRAL, body.referral_id)
    return None if _bad_link(link, reading.placeholders) else link


def _nobody(given: Attributes, *, favourable: bool) -> Refused | Skipped:
    if not favourable:
        return Refused("unusable_id", f"{given.kind} names no customer" + (" by a usable id" if given.misnamed else ""))
    return Skipped("unusable_id" if given.misnamed else "no_customer", given.kind)


EMAIL: Final = "email"
"""The kind of a link whose value is the HMAC of an address."""


def _bad_link(link: Link, placeholders: frozenset[str]) -> bool:
    """Whether a link, its value normalised, names nothing."""
    if link.kind == EMAIL:
        return hmac_in(link.value) is None
    return "@" in link.value or is_placeholder(link.value, placeholders)


def link_of(kind: Any, value: Any, reading: Reading) -> Link | None:
    """A link in its one spelling: an address as its HMAC; None for what names nothing, and for an address elsewhere."""
    text = hashed_address(value, reading) if kind == EMAIL else usable_id(value)
    if text is None or type(kind) is not str or not _LINK_KIND(kind):
        return None
    link = Link(kind, text)
    return None if _bad_link(link, reading.placeholders) else link


def hashed_address(value: Any, reading: Reading) -> str | None:
    """The HMAC of an address; one that was computed before is taken as it is."""
    return hmac_in(value) or reading.email_hmac(value)


_LINK_KIND = re.compile(r"[a-z0-9_]{1,32}").fullmatch


def is_allowed(kind: str, record: RawRecord, topic: str) -> bool:
    """Whether an event of this type counts where it came from; ``topic`` without prefix (identity §5)."""
    if not is_operators(kind):
        return True
    return topic == RESPONSES and (not record.headers or record.header(ENDPOINT_HEADER) != "events")


NOT_AUTHORISED: Final = Refused("not_authorised", f"counts on {RESPONSES} and at /control alone")


def event_time(given: Any, record: RawRecord, now: int, *, favourable: bool) -> EventTime | Refused:
    """The clock rules (identity §1). A number is epoch ms, None what the producer did not say."""
    flags: tuple[str, ...] = ()
    if given is None:
        return _arrival(record, now)
    if type(given) is int and EARLIEST <= given <= LATEST:
        instant = given
    elif type(given) is str:
        try:
            instant, naive = parse_instant(given)
        except (ValueError, OverflowError):
            return Refused("invalid", "time: must be RFC 3339") if favourable else _arrival(record, now)
        flags = ("time_naive",) if naive else ()
    else:
        return Refused("invalid", "time: must be RFC 3339") if favourable else _arrival(record, now)
    if instant < BEFORE:
        return Refused("invalid", "time: before 2000") if favourable else _arrival(record, now)
    if instant <= now:
        return instant, flags
    if instant > now + CLOCK_LIMIT:
        if favourable:
            return Refused("time_in_future", f"time: more than {CLOCK_LIMIT // MINUTE} minutes ahead of its arrival")
        return _arrival(record, now)
    return now, (_flagged(flags, "time_clamped") if instant > now + CLOCK_TOLERANCE else flags)


def _arrival(record: RawRecord, now: int) -> EventTime:
    """When an event counts as having happened that does not say it so that it can be read."""
    arrival = now if record.timestamp < 0 else min(record.timestamp, now)
    return (arrival if arrival >= BEFORE else now), ("time_unreadable",)


def _themed(data: dict[str, Any]) -> dict[str, Any]:
    """The data with the theme of its comment instead of the comment, if there clearly is one: vendors' payloads."""
    said = data.get("comment")
    if type(said) is not str or len(said) > MAX_TEXT or "theme" in data:
        return data
    return data | {"comment": None, "theme": theme_of(said) or (NO_THEME if said.strip() else None)}


def _answered(data: dict[str, Any]) -> dict[str, Any]:
    """The data without the text of a reply, and with its answer where none is given; without any where both are blank.

    Of an answer in words of its own only an opt-out is read; the rest, and a text that is not text, is ``unclear``.
    """
    given, text = data.get("answer"), data.get("text")
    kept = {name: value for name, value in data.items() if name not in ("answer", "text")}
    if given is None or (type(given) is str and not given.strip()):
        said = answers.read(text) if type(text) is str else text
        return kept if said is None else kept | {"answer": said}
    if type(given) is str and (says_opt_out(given[:_LONGEST_WORD]) or answers.read(given) == "stop"):
        given = "stop"
    return kept | {"answer": given}


_LONGEST_WORD: Final = 64


def _without_words(body: Commented) -> dict[str, Any]:
    """A comment's theme instead of it. A theme chosen by the producer would let free text in."""
    said = body.comment
    own = body.theme if body.theme in THEMES else None
    if said is not None:
        return {"comment": None, "theme": theme_of(said) or own or (NO_THEME if said.strip() else None)}
    return {} if body.theme == own else {"theme": own}


def _with_a_known_zone(body: ProfileChanged) -> dict[str, Any]:
    """An unknown time zone counts as none."""
    return {} if body.time_zone is None or zones.is_zone(body.time_zone) else {"time_zone": None}


KEYS: Final[Mapping[str, frozenset[str]]] = {
    "peer.mentioned": frozenset({"company", "challenge"}),
    "goal.achieved": frozenset({"goal"}),
    "advocacy.asked": frozenset({"by"}),
    **dict.fromkeys(("ask.approved", "ask.rejected", "customer.overfull_cleared"), frozenset({"by"})),
    **dict.fromkeys(("control.paused", "control.resumed"), frozenset({"by", "why"})),
    **dict.fromkeys(("customer.suppressed", "customer.unsuppressed"), frozenset({"reason"})),
}
"""Fields that hold a key of the producer's; sentences there, which may be about people, are dropped (identity §5)."""

_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch


def _with_keys_alone(body: Data) -> dict[str, Any]:
    """What is a sentence where a key should be is left out; a goal, which has to be named, by its theme."""
    said = ((name, getattr(body, name)) for name in KEYS[body.type] & body.model_fields_set)
    sentences = ((name, text) for name, text in said if text is not None and not _KEY(text))
    return {name: theme_of(text) or NO_THEME if name == "goal" else None for name, text in sentences}


_CORRECTIONS: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    **dict.fromkeys(_COMMENTED, _without_words),
    **dict.fromkeys(KEYS, _with_keys_alone),
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


def own_id(given: str | None, record: RawRecord) -> str:
    """The id of an event as its producer gave it; that of its place where it has none.

    A placeholder is none: two events that are both called "undefined" are not one.
    """
    return position_id(record) if not given or is_placeholder(given) else given


def position_id(record: RawRecord) -> str:
    """An id for an event without one: the same at every redelivery, also of one element of the record alone."""
    made = derived_id("event", record.topic, record.partition, record.offset)
    return made if record.element_number is None else f"{made}|{record.element_number}"
