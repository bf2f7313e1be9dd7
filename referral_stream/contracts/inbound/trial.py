"""A payload tried against mappings, step by step: who reads it, which rules match, what was read from where, and what
it becomes or why not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec.structs import replace

from referral_stream.contracts.forms import read_form
from referral_stream.contracts.identifiers import is_placeholder
from referral_stream.contracts.inbound.adapt import adapt
from referral_stream.contracts.inbound.boundary import Boundary, PayloadReader, readers
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.mapping.language import MappingRule
from referral_stream.contracts.mapping.paths import elements_at, value_at
from referral_stream.contracts.mapping.values import MappingCondition, Taken, Template, Time, ValueRead, first_at
from referral_stream.contracts.outcomes import Adapted
from referral_stream.contracts.records import SOURCE_HEADER, RawRecord


class Checked(NamedTuple):
    """A condition, and what stands where it looks."""

    condition: MappingCondition
    found: Any
    holds: bool


class Tried(NamedTuple):
    """One rule and one notification, or one element of a list in it.

    ``place``: which of several it is. ``is_elsewhere``: whether the rule is for other topics. ``values``: what a rule
    that matches reads, by field; empty if it does not match.
    """

    rule: MappingRule
    place: str
    is_elsewhere: bool
    checked: tuple[Checked, ...]
    values: tuple[tuple[str, ValueRead], ...] = ()
    is_empty: bool = False

    @property
    def matches(self) -> bool:
        return not (self.is_elsewhere or self.is_empty) and all(each.holds for each in self.checked)


class TriedReader(NamedTuple):
    """Who reads the payload, how many notifications are in it, and the rules that may read them."""

    name: str
    is_source: bool
    notifications: int
    tried: tuple[Tried, ...]


@dataclass(frozen=True, slots=True)
class MappingTrial:
    """``body``: ``JSON`` or ``form``. ``readers``: empty where nothing reads it that mappings apply to.

    ``unread``: rules of other adapters and sources, which this payload never reaches.
    """

    body: str
    topic: str
    source: str | None
    readers: tuple[TriedReader, ...]
    unread: tuple[MappingRule, ...]
    adapted: Adapted


def try_mappings(
    value: bytes, boundary: Boundary, now: int, *, topic: str = "product-usage", source: str | None = None
) -> MappingTrial:
    """The payload as a record of ``topic``, arrived ``now`` (epoch ms), ``source`` as the header names it.

    Raises ValueError unless it is JSON, or the form of a source or a vendor that sends forms.
    """
    headers = () if source is None else ((SOURCE_HEADER, source.encode()),)
    record = RawRecord(topic=topic, partition=0, offset=0, timestamp=now, key=None, value=value, headers=headers)
    try:
        payload, body = read_json(value), "JSON"
    except NotJson:
        form = read_form(value) if boundary.takes_form(record) else None
        if form is None:
            raise
        payload, body = form.fields, "form"
    found = tuple(_reader(reader, boundary, topic) for reader in readers(payload, record, boundary))
    names = {reader.name for reader in found}
    unread = tuple(rule for rule in boundary.mappings.rules if rule.adapter not in names)
    return MappingTrial(body, topic, source, found, unread, adapt(record, now, boundary))


def _reader(reader: PayloadReader, boundary: Boundary, topic: str) -> TriedReader:
    rules = boundary.mappings.rules_of(reader.name)
    tried: list[Tried] = []
    for number, (part, root) in enumerate(reader.parts):
        outer = f"[{number}]" if len(reader.parts) > 1 else ""
        for rule in rules:
            tried += _tried(rule, part, root, outer, boundary, topic)
    return TriedReader(reader.name, reader.source is not None, len(reader.parts), tuple(tried))


def _tried(rule: MappingRule, part: Any, root: Any, outer: str, boundary: Boundary, topic: str) -> Iterator[Tried]:
    elsewhere = not rule.is_for(topic)
    elements = [part] if rule.each is None else list(elements_at(part, rule.each))
    if not elements:
        yield Tried(rule, outer, elsewhere, (), is_empty=True)
    for number, element in enumerate(elements):
        place = outer if rule.each is None else f"{outer}[{number}]"
        checked = tuple(
            Checked(each, value_at(element, each.path, root), each.holds(element, root)) for each in rule.conditions
        )
        matches = not elsewhere and all(each.holds for each in checked)
        values = tuple(_values(rule, element, root, boundary)) if matches else ()
        yield Tried(rule, place, elsewhere, checked, values)


def _values(rule: MappingRule, element: Any, root: Any, boundary: Boundary) -> Iterator[tuple[str, ValueRead]]:
    """Everything that a rule reads, in the order of the file's page: who, which, when; then the body."""
    reading, source = boundary.readings[rule.adapter], boundary.mappings.sources.get(rule.adapter)
    given = [rule.places] if source is None else [rule.places, source.places]
    read = [places.read(element, root, reading) for places in given]
    for name in ("subject", "account", "id", "time"):
        found = [(each[name], getattr(places, name)) for each, places in zip(read, given, strict=True) if name in each]
        if found:  # the rule's own, unless it finds nothing and its source does
            yield name, _placed(*next((each for each in found if each[0].made is not None), found[0]))
    links = {**(source.places.link if source is not None else {}), **rule.places.link}
    for kind, paths in links.items():
        path, found = first_at(paths, element, root)
        made = None if found is None else found
        problem = "only holds the place of an id" if isinstance(found, str) and is_placeholder(found) else ""
        yield f"link.{kind}", ValueRead(made, path or paths[0], found, problem)
    yield from _fields(rule.data, element, root, boundary, rule.adapter, "data.")


def _placed(read: ValueRead, taken: Taken | Time) -> ValueRead:
    """With the place where something was looked for, if nothing was found."""
    return read if read.path is not None or not taken.paths else replace(read, path=taken.paths[0])


def _fields(
    fields: Any, element: Any, root: Any, boundary: Boundary, adapter: str, within: str
) -> Iterator[tuple[str, ValueRead]]:
    template: Template
    for name, template in fields.items():
        if isinstance(template, Taken):
            yield within + name, _placed(template.read(element, root, boundary.readings[adapter]), template)
        elif isinstance(template, dict):
            yield from _fields(template, element, root, boundary, adapter, f"{within}{name}.")
        else:
            yield within + name, ValueRead(template)
