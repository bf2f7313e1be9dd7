"""Our own topics: canonical bytes of events and effects, and their exact inverse.

CloudEvents 1.0, structured mode, as canonical JSON (sorted keys, compact, UTF-8, absent instead of null): the same
value is the same bytes on every machine. Extension attributes: ``accountid``, ``timezone``, ``traceparent``,
``historical``, ``flags`` (comma-separated, since an attribute cannot be a list), ``link``, ``origin``,
``via`` (a JSON array as text). Older versions are read as the
current one (see ``versions``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from sys import intern
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import orjson
from pydantic import ValidationError

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.records import HISTORICAL_HEADER, NOW_HEADER, Headers
from referral_stream.contracts.validation import EVENT_BODIES, explain, validators
from referral_stream.contracts.versions import LINEAGES, current_body, dataschema_to_write
from referral_stream.core.effects import Effect, LedgerRequest
from referral_stream.core.events import TYPES, WITHOUT_SUBJECT, Event, Link
from referral_stream.core.instants import EARLIEST, LATEST, parse_instant, rfc3339
from referral_stream.core.keys import customer_key, link_key

SOURCE = "referral-stream"
"""The CloudEvents ``source`` of everything we write."""

LedgerMessage: TypeAlias = LedgerRequest | Event
"""A record of ``ledger-requests``: a request, or ``control.paused`` / ``control.resumed``."""

_LONGEST_STAMP: Final = 15
"""Digits of the last possible instant."""

_NO_VENDORS = "cloudevents"
"""The origin of an event that came as a CloudEvent: it is not written."""
_SPECVERSION = "1.0"
_CONTENT_TYPE = "application/json"


def encode_event(event: Event) -> bytes:
    """The value of a ``customer-events`` record."""
    document = {
        "datacontenttype": _CONTENT_TYPE,
        "id": event.id,
        "source": event.source,
        "specversion": _SPECVERSION,
        "type": event.type,
        "time": rfc3339(event.time),
        "data": _EVENT_DUMPS[event.type](event.data, mode="json", exclude_none=True),
    }
    if event.type in LINEAGES:
        _name_version(document, event.type)
    if event.subject:
        document["subject"] = event.subject
    if event.account is not None:
        document["accountid"] = event.account
    if event.timezone is not None:
        document["timezone"] = event.timezone
    if event.traceparent is not None:
        document["traceparent"] = event.traceparent
    if event.historical:
        document["historical"] = True
    if event.flags:
        document["flags"] = ",".join(event.flags)
    if event.link is not None:
        document["link"] = str(event.link)
    if event.origin != _NO_VENDORS:
        document["origin"] = event.origin
    if event.via:
        document["via"] = orjson.dumps(event.via).decode()
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def decode_event(value: bytes) -> Event:
    """The value of a ``customer-events`` record → the event it was made from. Raises Undecodable."""
    return _plain_event(value) or _event(_document(value))


def event_key(event: Event) -> bytes:
    """The key of a fact's record on ``customer-events``: the customer, or the link that says who is meant."""
    if event.subject or event.link is None:
        return customer_key(event.subject).encode()
    return link_key(event.link).encode()


def event_headers(event: Event, now: int) -> Headers:
    """The headers of a ``customer-events`` record: the arrival stamp ``now`` (epoch ms), and ``historical``."""
    return _arrival_headers(now, event.historical)


@lru_cache(maxsize=256)  # the records of a batch arrive at one instant
def _arrival_headers(now: int, historical: bool) -> Headers:  # noqa: FBT001 (a key of the cache)
    stamp = (NOW_HEADER, b"%d" % now)
    return (stamp, (HISTORICAL_HEADER, b"true")) if historical else (stamp,)


class Headed(Protocol):
    """A record, whatever client read it."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def arrival(record: Headed) -> int:
    """The arrival stamp of one of our records. Raises Undecodable without a valid one: no clock may replace it."""
    stamp: bytes | None = None
    for name, value in record.headers:
        if value is not None and (name == NOW_HEADER or name.lower() == NOW_HEADER):
            stamp = value
    now = None if stamp is None or len(stamp) > _LONGEST_STAMP else _stamped(stamp)
    if now is None:
        raise Undecodable("invalid", "header now: must be epoch milliseconds")
    return now


@lru_cache(maxsize=256)  # records that arrive together share it
def _stamped(stamp: bytes) -> int | None:
    return int(stamp) if stamp.isdigit() and EARLIEST <= int(stamp) <= LATEST else None


def encode_effect(effect: Effect, time: int) -> bytes:
    """The value of the record an effect becomes; ``time`` is the instant of the decision.

    A command carries the trace of the event that caused it.
    """
    message = EFFECT_MESSAGES[type(effect)]
    kind = message.kind
    data = _EFFECT_DUMPS[kind](effect, mode="json", exclude_none=True)
    document = {
        "data": data,
        "datacontenttype": _CONTENT_TYPE,
        "id": message.id(kind, effect),
        "source": SOURCE,
        "specversion": _SPECVERSION,
        "time": rfc3339(time),
        "type": kind,
    }
    if effect.customer_id:
        document["subject"] = effect.customer_id
    if kind in LINEAGES:
        _name_version(document, kind)
    if (traceparent := data.get("traceparent")) is not None:
        document["traceparent"] = traceparent
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def decode_effect(value: bytes) -> Effect:
    """The value of one of our records → the effect it was made from. Raises Undecodable."""
    return _effect(_document(value))


def decode_request(value: bytes) -> LedgerMessage:
    """The value of a ``ledger-requests`` record → the request, or the switch that was thrown. Raises Undecodable."""
    document = _document(value)
    if _kind(document) in WITHOUT_SUBJECT:
        return _event(document)
    effect = _effect(document)
    if isinstance(effect, LedgerRequest):
        return effect
    raise Undecodable("unknown_type", "not a type of ledger-requests")


def effect_key(effect: Effect) -> bytes:
    """The key of an effect's record: on ``ledger-requests`` the account, else the customer; elsewhere the customer."""
    return EFFECT_MESSAGES[type(effect)].key(effect).encode()


def effect_id(effect: Effect) -> str:
    """The CloudEvents id: derived from content, so that a replay writes it again."""
    message = EFFECT_MESSAGES[type(effect)]
    return message.id(message.kind, effect)


_EVENT_DUMPS = {name: model.__pydantic_serializer__.to_python for name, model in TYPES.items()}
_EFFECT_DUMPS = {message.kind: message.model.__pydantic_serializer__.to_python for message in EFFECT_MESSAGES.values()}
_EFFECT_BODIES = validators({message.kind: message.model for message in EFFECT_MESSAGES.values()})


class _Envelope(msgspec.Struct, gc=False):
    """The attributes of an event as we write them."""

    id: str
    source: str
    type: str
    time: str
    data: Any
    subject: str = ""
    accountid: str | None = None
    timezone: str | None = None
    traceparent: str | None = None
    historical: bool = False
    flags: str | None = None
    link: str | None = None
    via: str | None = None
    origin: str = _NO_VENDORS
    dataschema: Any = None


_envelope = msgspec.json.Decoder(_Envelope).decode


def _plain_event(value: bytes) -> Event | None:
    """The event of a value as we write them, a third faster than ``_event`` makes it; None where only that can."""
    try:
        envelope = _envelope(value)
        kind = envelope.type
        if envelope.dataschema is not None or kind in LINEAGES or not envelope.id:
            return None
        link = envelope.link
        if not envelope.subject and link is None and kind not in WITHOUT_SUBJECT:
            return None
        return Event(
            id=envelope.id,
            source=intern(envelope.source),
            type=intern(kind),
            subject=envelope.subject,
            time=parse_instant(envelope.time)[0],
            data=EVENT_BODIES[kind](envelope.data),
            account=envelope.accountid,
            timezone=envelope.timezone,
            traceparent=envelope.traceparent,
            historical=envelope.historical,
            flags=tuple(envelope.flags.split(",")) if envelope.flags else (),
            link=None if link is None else Link.parse(link),
            via=() if envelope.via is None else _via(envelope.via),
            origin=intern(envelope.origin),
        )
    except (KeyError, ValueError, OverflowError, RecursionError):  # msgspec's and pydantic's errors are ValueErrors
        return None


def _document(value: bytes) -> dict[str, Any]:
    try:
        document = read_json(value)
    except NotJson as error:
        raise Undecodable(error.cause, error.detail) from None
    if type(document) is not dict:
        raise Undecodable("not_an_object", "the value is no JSON object")
    return document


def _kind(document: dict[str, Any]) -> str:
    """The message's type; empty when it has none."""
    kind = document.get("type")
    return kind if type(kind) is str else ""


def _name_version(document: dict[str, Any], kind: str) -> None:
    if (named := dataschema_to_write(kind)) is not None:
        document["dataschema"] = named


def _body(document: dict[str, Any], kind: str, data: Any) -> Any:
    """The message's ``data`` as the current version of its type has it."""
    named = document.get("dataschema")
    if named is None and kind not in LINEAGES:
        return data
    body = current_body(kind, named, data)
    if isinstance(body, Refused):
        raise Undecodable(body.cause, body.detail)
    return body


def _event(document: dict[str, Any]) -> Event:
    get = document.get
    kind = _kind(document)
    if kind not in EVENT_BODIES:
        raise Undecodable("unknown_type", "not a type of customer-events")
    flags = get("flags")
    try:
        event = Event(
            id=document["id"],
            source=document["source"],
            type=kind,
            subject=get("subject", ""),
            time=_instant(get("time")),
            data=EVENT_BODIES[kind](_body(document, kind, document["data"])),
            account=get("accountid"),
            timezone=get("timezone"),
            traceparent=get("traceparent"),
            historical=get("historical", False),
            flags=tuple(flags.split(",")) if flags else (),
            link=None if (link := get("link")) is None else _link(link),
            via=() if (via := get("via")) is None else _passed_on(via),
            origin=get("origin", _NO_VENDORS),
        )
    except KeyError as missing:
        raise Undecodable("invalid", f"{missing.args[0]}: required") from None
    except ValidationError as error:
        raise Undecodable("invalid", explain(error)) from None
    except AttributeError:
        raise Undecodable("invalid", "flags: must be text") from None
    _check_attributes(event)
    return event


def _check_attributes(event: Event) -> None:
    """A Struct built in Python checks no types, and a wrong attribute must not surface in the middle of a step."""
    if not (type(event.id) is type(event.source) is type(event.subject) is str and event.id):
        raise Undecodable("invalid", "id, source and subject: must be text")
    if not event.subject and event.link is None and event.type not in WITHOUT_SUBJECT:
        raise Undecodable("no_subject", f"{event.type} needs a subject, the customer id, or a link")
    for extension in (event.account, event.timezone, event.traceparent):
        if extension is not None and type(extension) is not str:
            raise Undecodable("invalid", "accountid, timezone and traceparent: must be text")
    if type(event.origin) is not str:
        raise Undecodable("invalid", "origin: must be text")
    if type(event.historical) is not bool:
        raise Undecodable("invalid", "historical: must be true or false")


def _effect(document: dict[str, Any]) -> Effect:
    kind = _kind(document)
    body = _EFFECT_BODIES.get(kind)
    if body is None:
        raise Undecodable("unknown_type", "not one of our types")
    try:
        effect: Effect = body(_body(document, kind, document.get("data")))
    except ValidationError as error:
        raise Undecodable("invalid", explain(error)) from None
    return effect


_via = msgspec.json.Decoder(tuple[str, ...]).decode


def _link(text: Any) -> Link:
    try:
        return Link.parse(text)
    except (AttributeError, ValueError):
        raise Undecodable("invalid", "link: must be KIND:VALUE") from None


def _passed_on(text: Any) -> tuple[str, ...]:
    try:
        return _via(text)
    except (TypeError, ValueError):
        raise Undecodable("invalid", "via: must be a JSON array of keys, as text") from None


def _instant(text: Any) -> int:
    if type(text) is not str:
        raise Undecodable("invalid", "time: must be RFC 3339")
    try:
        return parse_instant(text)[0]
    except (ValueError, OverflowError):
        raise Undecodable("invalid", "time: must be RFC 3339") from None
