"""What every adapter is made of: its row in the registry, and careful ways to take a value out of a payload."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from referral_stream.contracts.addresses import address_hmacs, email_hmac
from referral_stream.contracts.identifiers import named, real_id, usable_id
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.instants import SECOND, parse_instant

Payload: TypeAlias = dict[str, Any]
Facts: TypeAlias = tuple[Fact, ...]

_MILLISECONDS_FROM = 100_000_000_000
"""From here on a count since 1970 means milliseconds: as seconds it would lie beyond the year 5100."""
_MICROSECONDS_FROM = 1_000 * _MILLISECONDS_FROM
_NANOSECONDS_FROM = 1_000 * _MICROSECONDS_FROM
_WHOLE = re.compile(r"-?[0-9]{1,20}(?:\.0{1,20})?")
"""A whole number sent as text; longer ones count nothing that we read."""
UNREADABLE_TIME = ""
"""Stands for a time that is stated, and is none: what speaks for asking is refused for it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a deployment configures an adapter.

    ``customer_paths``: where to look for the customer's id, in order. ``questions``: which scale a survey's question
    has, by the vendor's reference of the question (or survey), as ``nps``, ``csat/5``, ``comment`` or ``ignore``.
    ``placeholders``: ids, in lower case, that stand for none here, besides those that always do.
    """

    email_key: bytes = field(repr=False)
    customer_paths: tuple[str, ...]
    questions: Mapping[str, str] = field(default_factory=dict)
    placeholders: frozenset[str] = frozenset()
    trust_browser_aliases: bool = False

    def customer(self, payload: Payload) -> str | None:
        """The customer's id, from the first path that holds one; a placeholder is none."""
        for path in self.customer_paths:
            found = at(payload, path)
            if found is not None and (customer := named(found, self.placeholders)) is not None:
                return customer
        return None

    def other_customers(self, payload: Payload, chosen: str) -> Iterator[tuple[str, str]]:
        """What the other paths hold, as (kind of link, id); the kind is the last name of the path."""
        for path in self.customer_paths:
            found = at(payload, path)
            if found is not None and (customer := named(found, self.placeholders)) not in (None, chosen):
                yield link_kind(path), customer

    def email_hmac(self, address: Any) -> str | None:
        """What stands for an e-mail address; None for anything else."""
        return email_hmac(address, self.email_key) if isinstance(address, str) and "@" in address else None

    def address_hmacs(self, address: Any) -> dict[str, str]:
        """What is kept of a person's e-mail address, as fields of a profile or a contact; nothing of anything else."""
        return address_hmacs(address, self.email_key) if isinstance(address, str) and "@" in address else {}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A vendor: ``name`` is what the header ``referral-source`` says, and the CloudEvents source of the events.

    ``marks`` are names of which every body that is an object has at least one; without any it is not asked.
    ``split`` gives the notifications of a body; ``recognises`` and ``read`` see one of them. ``read`` is total: a
    payload that lacks what a fact needs gives the fact without it, which validation then refuses by name.
    ``customer_paths`` (dotted) are ids that every webhook of the vendor carries: ids that only some carry would split
    one customer in two. A deployment whose own ids are in every payload sets its own paths. ``has_questions``:
    whether the deployment says which scale a question has. ``browser``: its calls come from visitors' browsers, so
    that anybody can say that two ids are one person. ``event_header``: the HTTP header in which the vendor names the
    event; the receiver passes it on, and the payload then has the name under ``EVENT_HEADER``. ``form``: whether a body
    may be a form (``contracts.forms``) instead of JSON. ``in_cloud_events``: whether others hand its notifications on
    as the data of CloudEvents of their own, as Azure's Event Grid does.
    """

    name: str
    marks: tuple[str, ...]
    recognises: Callable[[Payload], bool]
    customer_paths: tuple[str, ...]
    read: Callable[[Payload, Reading], Webhook | Skipped]
    split: Callable[[Any], Sequence[Any]] | None = None
    has_questions: bool = False
    browser: bool = False
    event_header: str | None = None
    form: bool = False
    in_cloud_events: bool = False

    def parts(self, body: Any) -> Sequence[Any]:
        """The notifications of a JSON body, in its order; none at all where not one of them is this vendor's.

        The others among them each stand by themselves: they are not this vendor's.
        """
        recognises = self.recognises
        if self.split is None:
            return (body,) if isinstance(body, dict) and recognises(body) else ()
        parts = self.split(body)
        for part in parts:
            if isinstance(part, dict) and recognises(part):
                return parts
        return ()


def listed(body: Any) -> Sequence[Any]:
    """The notifications of a vendor that sends them as a JSON array, or one alone."""
    return body if isinstance(body, list) else (body,)


def at(payload: Any, path: str) -> Any:
    """The value at a dotted path of objects and (by number) arrays; None where the path ends early."""
    if "." not in path and type(payload) is dict:
        return payload.get(path)
    for name in _steps(path):
        if type(payload) is dict:
            payload = payload.get(name)
        elif payload is None:
            return None
        elif type(payload) is list and name.isdecimal() and int(name) < len(payload):
            payload = payload[int(name)]
        else:
            return None
    return payload


@cache
def link_kind(path: str) -> str:
    """What an id at a path is called as a link: ``hidden.userId`` is a ``user_id``, ``customer.id`` a ``customer``."""
    names = [name for name in _steps(path) if name != "id" and not name.isdecimal()]
    snake = _CASED.sub("_", names[-1] if names else "customer").lower()
    return _NO_KIND.sub("_", snake)[:MAX_KIND]


_CASED = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_KIND = re.compile(r"[^a-z0-9_]")
MAX_KIND = 32
"""Characters of a link's kind (identity §4)."""


@cache
def _steps(path: str) -> tuple[str, ...]:
    """Paths are written in code and in a deployment's settings: there are few, and each is walked all the time."""
    return tuple(path.split("."))


def object_at(payload: Any, path: str) -> Payload:
    """The object at a path; an empty one where there is none."""
    value = at(payload, path)
    return value if isinstance(value, dict) else {}


def list_at(payload: Any, path: str) -> list[Any]:
    """The array at a path; an empty one where there is none."""
    value = at(payload, path)
    return value if isinstance(value, list) else []


def id_at(payload: Payload, *paths: str) -> str | None:
    """The first usable id among the paths (identity §2); a placeholder only where there is nothing else."""
    placeholder = None
    for path in paths:
        value = at(payload, path)
        if value is not None:
            if (found := real_id(value)) is not None:
                return found
            placeholder = placeholder or usable_id(value)
    return placeholder


def made_id(*parts: str | None) -> str | None:
    """An event's id, of what together identifies it where the vendor gives it none; None if a part is missing."""
    known = [part for part in parts if part]
    return ":".join(known) if len(known) == len(parts) else None


@cache
def expandable(*paths: str) -> tuple[str, ...]:
    """The paths where a vendor's documentation says that there is an id, or the object that has it."""
    return tuple(each for path in paths for each in (path, f"{path}.id"))


def is_one_of(value: Any, texts: Collection[str]) -> bool:
    """Whether the value is one of these texts; any other type of value is not."""
    return isinstance(value, str) and value in texts


def text_at(payload: Payload, path: str) -> str | None:
    """The text at a path; None where there is none, or something else."""
    value = at(payload, path)
    return value if isinstance(value, str) and value else None


def whole_number(value: Any) -> int | None:
    """A whole number, also as text or as ``9.0``; None for everything else (a truth value is no number)."""
    if isinstance(value, str):
        digits = value.strip()
        return int(digits.partition(".")[0]) if _WHOLE.fullmatch(digits) else None
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def epoch_millis(value: Any) -> int | None:
    """A vendor's count since 1970, in the unit that its size implies, → instant; None for anything but a number."""
    if type(value) is float:
        if not math.isfinite(value):
            return None
        if abs(value) < _MILLISECONDS_FROM:
            return int(value * SECOND)
        value = int(value)
    if type(value) is not int:
        return None
    size = abs(value)
    if size < _MILLISECONDS_FROM:
        return value * SECOND
    if size < _MICROSECONDS_FROM:
        return value
    return value // 1_000 if size < _NANOSECONDS_FROM else value // 1_000_000


def time_at(payload: Payload, *paths: str) -> int | str | None:
    """The first time among the paths: a count since 1970 (also as text) as an instant, any other text as it is.

    ``UNREADABLE_TIME`` where something else is stated, None where nothing is.
    """
    is_stated = False
    for path in paths:
        value = at(payload, path)
        if isinstance(value, str) and value and not value.isspace():
            count = None if ":" in value else whole_number(value)
            return value if count is None else epoch_millis(count)
        instant = epoch_millis(value)
        if instant is not None:
            return instant
        is_stated = is_stated or value not in (None, "")
    return UNREADABLE_TIME if is_stated else None


def since_at(payload: Payload, *paths: str) -> int | None:
    """The first time among the paths that somebody can have become a customer, as an instant; also a mere date.

    None if it is unreadable, or lies before 2000: that is what tools write that know no time.
    """
    for path in paths:
        value = at(payload, path)
        instant = time_at({"since": value}, "since")
        if isinstance(instant, str):
            try:
                instant, _ = parse_instant(f"{instant}T00:00:00Z" if _DATE.fullmatch(instant) else instant)
            except (ValueError, OverflowError):
                continue
        if instant is not None and instant >= _MILLENNIUM:
            return instant
    return None


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MILLENNIUM = parse_instant("2000-01-01T00:00:00Z")[0]


def profile(**known: Any) -> Facts:
    """What is known about a customer's profile; no fact if nothing is."""
    data = {name: value for name, value in known.items() if value is not None}
    return (Fact("customer.profile_changed", data),) if data else ()
