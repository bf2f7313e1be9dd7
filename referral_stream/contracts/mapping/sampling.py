"""Sample payloads, looked at for a proposal: what a body is, where its notifications are, and what stands where."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from referral_stream.contracts.adapters import candidates
from referral_stream.contracts.forms import read_form
from referral_stream.contracts.identifiers import named
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.mapping.opted_out import EVENT_NAMES
from referral_stream.contracts.mapping.paths import Path, Selected, Step, elements_at, parse_path, shown
from referral_stream.contracts.mapping.values import Time

LISTS: Final = frozenset({
    "events", "event", "data", "items", "records", "notifications", "results", "messages", "entries", "entry", "batch",
    "payload", "rows", "updates", "changes",
})  # fmt: skip
"""How vendors call the list of a body's notifications."""
_DEEPEST: Final = 6
_MOST: Final = 400
"""Fields of a payload that are looked at."""
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class SampledField(NamedTuple):
    """A value in a notification that is no object and no list. ``words``: those of its path, in lower case."""

    path: Path
    value: Any
    words: tuple[str, ...]

    @property
    def own(self) -> tuple[str, ...]:
        """The words of its own name."""
        return words_of(str(self.path[-1])) if self.path else ()


class Samples(NamedTuple):
    """What the samples are. ``notifications``: one entry each, its fields. ``adapters``: which know the shape."""

    is_form: bool
    json: tuple[Path, ...]
    each: Path | None
    notifications: tuple[tuple[SampledField, ...], ...]
    is_cloud_event: bool
    adapters: tuple[str, ...] = ()


class NoSample(Exception):
    """A payload that cannot be read: one line."""


def words_of(name: str) -> tuple[str, ...]:
    """``createdAt`` and ``created_at`` → created, at."""
    return tuple(part.lower() for part in _PARTS.findall(name[:200]))


def look_at(payloads: Iterable[tuple[str, bytes]]) -> Samples:
    """The samples of one vendor; each with its name, for messages. Raises NoSample."""
    bodies: list[Any] = []
    is_form = False
    for name, content in payloads:
        found, form = _bodies(name, content)
        bodies += found
        is_form = is_form or form
    known = (next((each.name for each in candidates(body) if each.parts(body)), None) for body in bodies)
    adapters = tuple(dict.fromkeys(name for name in known if name is not None))
    json = tuple(dict.fromkeys(path for body in bodies for path in _packed(body)))
    bodies = [_unpacked(body, json) for body in bodies]
    each = next((path for body in bodies if (path := _list_in(body)) is not None), None)
    found = [part for body in bodies for part in _notifications(body, each)]
    is_cloud_event = bool(found) and all(isinstance(part, dict) and "specversion" in part for part in found)
    return Samples(is_form, json, each, tuple(tuple(_fields(part)) for part in found), is_cloud_event, adapters)


def payloads_in(content: bytes) -> list[bytes]:
    """The payloads of a file: one, or one in each of its lines; what is neither stays as it is."""
    content = content.removeprefix(BOM_UTF8).strip()
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) < 2 or _is_json(content) or not all(map(_is_json, lines)):  # noqa: PLR2004 (more than one)
        return [content]
    return lines


def _is_json(content: bytes) -> bool:
    try:
        read_json(content)
    except NotJson:
        return False
    return True


def _bodies(name: str, content: bytes) -> tuple[list[Any], bool]:
    content = content.removeprefix(BOM_UTF8).strip()
    if not content:
        raise NoSample(f"{name}: is empty")
    try:
        found = read_json(content)
    except NotJson as error:
        lines = [line for line in content.splitlines() if line.strip()]
        try:
            found = [read_json(line) for line in lines]
        except NotJson:
            form = read_form(content)
            if form is None or content[:1] in b'{["':
                raise NoSample(f"{name}: neither JSON ({error.detail}) nor JSON in lines nor a form") from None
            return [form.fields], True
        found = [body for body in found if isinstance(body, (dict, list))]
        if not found:
            raise NoSample(f"{name}: holds no JSON object") from None
        return found, False
    if not isinstance(found, (dict, list)) or not found:
        raise NoSample(f"{name}: holds no JSON object")
    return [found], False


def _packed(body: Any) -> Iterator[Path]:
    """Fields whose text is a JSON object."""
    for name, value in body.items() if isinstance(body, dict) else ():
        if isinstance(value, str) and value.lstrip()[:1] == "{" and _can_be_written((name,)):
            try:
                if isinstance(read_json(value.encode()), dict):
                    yield (name,)
            except (NotJson, UnicodeEncodeError):
                continue


def _unpacked(body: Any, json: tuple[Path, ...]) -> Any:
    for path in json:
        name = path[0]
        if isinstance(body, dict) and isinstance(text := body.get(name), str):
            try:
                body = body | {name: read_json(text.encode())}
            except (NotJson, UnicodeEncodeError):
                continue
    return body


def _list_in(body: Any) -> Path | None:
    """The list that holds a body's notifications; None where the body is one."""
    if not isinstance(body, dict) or any(isinstance(body.get(name), str) for name in EVENT_NAMES):
        return None
    lists = [
        (name,)
        for name, value in body.items()
        if isinstance(value, list)
        and value
        and all(isinstance(each, dict) for each in value)
        and _can_be_written((name,))
    ]
    called = [path for path in lists if path[0].lower() in LISTS]
    return called[0] if called else lists[0] if len(lists) == 1 and len(body) == 1 else None


def _notifications(body: Any, each: Path | None) -> list[Any]:
    if each is not None:
        return list(elements_at(body, each))
    return body if isinstance(body, list) else [body]


def _fields(part: Any) -> Iterator[SampledField]:
    """Every field of a notification, those further up first; of a list its first, or all elements that have a key."""
    ahead: list[tuple[Path, Any]] = [((), part)]
    seen = 0
    while ahead and seen < _MOST:
        path, value = ahead.pop(0)
        seen += 1
        if isinstance(value, dict) and len(path) < _DEEPEST:
            ahead += (((*path, name), inner) for name, inner in value.items() if _can_be_written((*path, name)))
        elif isinstance(value, list) and value and len(path) < _DEEPEST:
            keyed = {(*path, step): each for each in value if (step := _key_of(each)) is not None}
            ahead += keyed.items() if len(keyed) == len(value) else [((*path, "0"), value[0])]
        elif path and isinstance(value, (str, int, float)):
            yield SampledField(path, value, tuple(word for step in path for word in _words_in(step)))


def _key_of(element: Any) -> Selected | None:
    """How an element of a list that has a value is told from the others, wherever in it that one stands."""
    if not isinstance(element, dict) or not any(name in element for name in _VALUES):
        return None
    for name in _KEYS:
        text = element.get(name)
        if isinstance(text, str) and _KEY(text):
            return Selected(name, text)
    return None


_VALUES: Final = ("value", "answer", "number", "score")
_KEYS: Final = ("key", "ref", "slug")
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}").fullmatch


def _words_in(step: Step) -> tuple[str, ...]:
    return words_of(step.text if isinstance(step, Selected) else str(step))


def _can_be_written(path: Path) -> bool:
    try:
        return parse_path(shown(path)) == path and all(str(step).isprintable() for step in path)
    except ValueError:
        return False


# ----------------------------------------------------------------------------------------------- what a field may mean

_EVENT_RANK: Final = {name: rank for rank, name in enumerate(EVENT_NAMES)}
_CUSTOMER: Final = (
    ("external", "user", "id"), ("external", "customer", "id"), ("external", "id"), ("user", "id"), ("customer", "id"),
    ("account", "code"), ("client", "id"), ("contact", "id"), ("member", "id"), ("person", "id"), ("subscriber", "id"),
    ("respondent", "id"), ("distinct", "id"), ("end", "user", "id"), ("recipient", "id"), ("userid",), ("customerid",),
    ("uid",), ("customer",), ("user",),
)  # fmt: skip
_ACCOUNT: Final = (("account", "id"), ("company", "id"), ("organization", "id"), ("org", "id"), ("workspace", "id"),
                   ("tenant", "id"))  # fmt: skip
_EVENT_ID: Final = (("event", "id"), ("notification", "id"), ("delivery", "id"), ("uuid",), ("id",))
NO_OBJECTS: Final = frozenset({*_EVENT_ID[:3], ("message", "id"), ("webhook", "id")})
"""Names of ids of what is sent, and of no object that it is about."""
_OF_OTHERS: Final = frozenset({
    "actor", "admin", "agent", "assignee", "commit", "from", "operator", "owner", "teammate",
})  # fmt: skip
"""Words of paths to whoever did something or sends it, and not to the customer."""
_ASIDE: Final = frozenset({"meta", "metadata", "source"})
"""Words of paths that are looked at last."""
_TIME: Final = (
    ("occurred", "at"), ("emitted", "at"), ("fired", "at"), ("bounced", "at"), ("event", "time"),
    ("timestamp",), ("time",), ("occurred",), ("happened", "at"), ("sent", "at"),
    ("submitted", "at"), ("completed", "at"), ("responded", "at"), ("updated", "at"), ("created", "at"), ("date",),
    ("changed", "at"), ("modified", "at"), ("submitted",), ("emitted",), ("fired",), ("bounced",), ("created",),
    ("completed", "date"), ("ts",), ("datetime",),
    ("at",),
)  # fmt: skip
_LONGEST_ADDRESS: Final = 320
_LONGEST_NAME: Final = 100
"""Characters of what an event is called."""
_EVENT_DEPTH: Final = 3
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+").fullmatch
FORMATS: Final = (
    "%Y-%m-%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d", "%b %d, %Y %I:%M %p", "%b %d, %Y", "%B %d, %Y", "%d %b %Y %H:%M:%S", "%d %b %Y", "%Y%m%dT%H%M%S",
)  # fmt: skip


def is_address(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_ADDRESS and _ADDRESS(value.strip()) is not None


def events_of(fields: Iterable[SampledField]) -> list[SampledField]:
    """Where a notification may say what happened, the surest first."""
    found = [
        each
        for each in fields
        if len(each.path) <= _EVENT_DEPTH
        and each.path[-1] in _EVENT_RANK
        and isinstance(each.value, str)
        and 0 < len(each.value) <= _LONGEST_NAME
    ]
    return sorted(found, key=lambda each: (len(each.path), _EVENT_RANK[str(each.path[-1])]))


def customer_of(fields: Iterable[SampledField]) -> SampledField | None:
    return _of_the_customer(fields, _CUSTOMER)


def account_of(fields: Iterable[SampledField]) -> SampledField | None:
    return _of_the_customer(fields, _ACCOUNT)


def _of_the_customer(fields: Iterable[SampledField], wanted: tuple[tuple[str, ...], ...]) -> SampledField | None:
    own = [each for each in fields if _OF_OTHERS.isdisjoint(each.words)]
    surest = [each for each in own if _ASIDE.isdisjoint(each.words)]
    return _best(surest, wanted, _names_somebody) or _best(own, wanted, _names_somebody)


def _names_somebody(field: SampledField) -> bool:
    return named(field.value) is not None and not is_address(field.value)


def address_of(fields: Iterable[SampledField]) -> SampledField | None:
    found = [each for each in fields if is_address(each.value) and _OF_OTHERS.isdisjoint(each.words)]
    return min(
        found,
        key=lambda each: (not _ASIDE.isdisjoint(each.words), not {"email", "mail"} & {*each.words}, len(each.path)),
        default=None,
    )


def id_of_event(fields: Iterable[SampledField]) -> SampledField | None:
    """The notification's own id, if it is called just so; not that of an object, a form or a conversation."""
    own = (each for each in fields if _is_of_event(each))
    return _best(own, _EVENT_ID, lambda each: named(each.value) is not None)


def _is_of_event(field: SampledField) -> bool:
    if field.own in NO_OBJECTS:
        return field.own in _EVENT_ID
    within = words_of(str(field.path[-2])) if len(field.path) > 1 else ("event",)
    return field.own in (("id",), ("uuid",)) and within[-1:] in (("event",), ("notification",))


def time_of(fields: Iterable[SampledField]) -> tuple[SampledField, str | None] | None:
    """When it was, and the format of that time, where it needs one."""
    fields = tuple(fields)
    for form in (None, *FORMATS):
        found = _best(fields, _TIME, lambda each, form=form: _is_time(each, form))
        if found is not None:
            return found, form
    return None


def _is_time(field: SampledField, form: str | None) -> bool:
    if isinstance(field.value, bool) or (
        form is None and isinstance(field.value, (int, float)) and field.value < _NINETIES
    ):
        return False
    read = Time((field.path,), () if form is None else (form,)).read_value(field.path, field.value)
    return bool(read.made) and not read.problem


_NINETIES: Final = 631_152_000
"""A smaller number is no time in seconds that anything was sent at."""


def _best(fields: Iterable[SampledField], wanted: tuple[tuple[str, ...], ...], is_one: Any) -> SampledField | None:
    """The field whose path ends in the first of these words that any ends in; of several the one furthest up."""
    known = tuple(fields)
    for words in wanted:
        ending = [each for each in known if each.words[-len(words) :] == words and is_one(each)]
        if ending:
            return min(ending, key=lambda each: len(each.path))
    return None
