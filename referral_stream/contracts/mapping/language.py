"""Mappings: payloads of a team's choice → canonical facts, declared in a file instead of written as an adapter.

A rule names an adapter (whose payloads it reads), conditions, and what to take from where. The rules that match a
payload take the place of the adapter's own reading, but not of an opt-out or an erasure in it; who it is about, its id
and its time stay the adapter's where it finds them, unless a rule says where else to look. Applying rules is total: the
result is a value, whatever the payload.
Reading the file: :mod:`referral_stream.contracts.mapping.parsing`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from msgspec.structs import replace

from referral_stream.contracts.adapters.identities import links_of
from referral_stream.contracts.adapters.reading import Facts, Payload, Reading, id_at, time_at, whole_number
from referral_stream.contracts.identifiers import is_placeholder
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.events import Link

CLOUD_EVENTS: Final = "cloudevents"
"""Instead of a vendor: CloudEvents whose type is not in the contract; paths begin at the event."""
PLAIN: Final = "json"
"""Instead of a vendor: JSON objects that no adapter recognises."""

Path: TypeAlias = tuple[str, ...]
Scalar: TypeAlias = str | int | float | bool
Cast: TypeAlias = Literal["int", "float", "bool", "str", "email_hmac"]
CASTS: tuple[Cast, ...] = get_args(Cast)
Hash: TypeAlias = Callable[[Any], str | None]
"""What stands for an e-mail address; None for anything else."""

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})


UNREADABLE: Final = ()
"""What stands for a value that is present, but not of the type that a rule wants: no field takes it."""


@dataclass(frozen=True, slots=True)
class MappingCondition:
    """Whether the value at ``path`` is one of ``values``; without values: whether there is any (``exists``) or none."""

    path: Path
    values: tuple[Scalar, ...] = ()
    exists: bool = True

    def holds(self, payload: Payload) -> bool:
        found = value_at(payload, self.path)
        if self.values:
            return any(_equal(found, value) for value in self.values)
        return (found is not None) is self.exists


@dataclass(frozen=True, slots=True)
class Taken:
    """The value at ``path``, cast if asked to; ``default`` where there is none. None: left out."""

    path: Path
    cast: Cast | None = None
    default: Scalar | None = None

    def of(self, payload: Payload, email_hmac: Hash) -> Any:
        """The default does not replace a value that is present but cannot be cast: that is unreadable."""
        found = value_at(payload, self.path)
        if found is None:
            return self.default
        return found if self.cast is None else cast_to(self.cast, found, email_hmac)


Template: TypeAlias = "Scalar | Taken | Mapping[str, Template]"
"""What a field becomes: the value itself, one taken from the payload, or an object of such fields."""


@dataclass(frozen=True, slots=True)
class MappingRule:
    """One mapping. ``type`` None: such payloads are dropped. ``topics`` empty: any source topic.

    ``link``: kind of link → where its value is, the surest first.
    """

    name: str
    adapter: str
    type: str | None
    data: Mapping[str, Template] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    conditions: tuple[MappingCondition, ...] = ()
    subject: Taken | None = None
    id: Taken | None = None
    time: Taken | None = None
    account: Taken | None = None
    link: Mapping[str, Path] = field(default_factory=dict)

    def unmet(self, payload: Payload, topic: str) -> list[Path]:
        """The paths whose condition does not hold; ``("topic",)`` among them for another topic than wanted."""
        wrong: list[Path] = [("topic",)] if self.topics and topic not in self.topics else []
        return wrong + [condition.path for condition in self.conditions if not condition.holds(payload)]


@dataclass(frozen=True, slots=True)
class Mappings:
    """The content of a deployment's mapping file: its rules, in file order, and how it configures adapters.

    ``customer_paths``: per adapter, where the customer's id is looked for; ``questions``: per adapter, the scale of a
    survey's question (see ``contracts.inbound.Boundary``).
    """

    rules: tuple[MappingRule, ...] = ()
    customer_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    by_adapter: Mapping[str, tuple[MappingRule, ...]] = field(init=False)

    def __post_init__(self) -> None:
        names = dict.fromkeys(rule.adapter for rule in self.rules)
        table = {name: tuple(rule for rule in self.rules if rule.adapter == name) for name in names}
        object.__setattr__(self, "by_adapter", table)

    def matching(self, adapter: str, payload: Payload, topic: str) -> tuple[MappingRule, ...]:
        """The rules for this payload of the adapter's; ``topic`` without the deployment's prefix."""
        rules = self.by_adapter.get(adapter)
        return tuple(rule for rule in rules if not rule.unmet(payload, topic)) if rules else ()


NONE: Final = Mappings()


def mapped(
    rules: Iterable[MappingRule],
    payload: Payload,
    own: Webhook | Skipped,
    reading: Reading,
) -> Webhook | Skipped:
    """What the rules that match a payload make of it.

    ``own`` is the adapter's reading, whose facts they replace, but opt-outs and erasures; what it skipped as a test or
    as another account's stays skipped.
    """
    if isinstance(own, Skipped) and own.reason in ("test_mode", "other_account"):
        return own
    found = own if isinstance(own, Webhook) else own.found or Webhook(subject=reading.customer(payload))
    kept = opt_outs(found)
    facts: list[Fact] = []
    links: tuple[Link, ...] = ()
    where: dict[str, Any] = {}
    names = []
    for rule in rules:
        names.append(rule.name)
        if rule.type is None:
            continue
        faults: dict[str, str] = {}
        data = _object(rule.data, payload, reading, faults)
        why = {field: f"mapping {rule.name}: data.{field}: cannot be read as {cast}" for field, cast in faults.items()}
        facts.append(Fact(rule.type, data, faults=why))
        for name, given in _whereabouts(rule, payload).items():
            where.setdefault(name, given)
        links += links_of(reading, ((kind, value_at(payload, path)) for kind, path in rule.link.items()))
    if not facts:
        return replace(found, facts=kept) if kept else Skipped("irrelevant", f"mapping {', '.join(names)}")
    said = {fact.type for fact in facts if fact.is_opt_out}
    kept = tuple(fact for fact in kept if fact.type not in said)
    return _linked(replace(found, facts=(*kept, *facts), **where), links)


def opt_outs(own: Webhook) -> Facts:
    """What no mapping takes away from an adapter's reading: who wants to be left in peace is."""
    kept = tuple(fact for fact in own.facts if fact.is_opt_out)
    return tuple(fact if fact.time is not None else replace(fact, time=own.time) for fact in kept)


def _linked(webhook: Webhook, more: tuple[Link, ...]) -> Webhook:
    """The webhook with more that stands for its customer: where it names none, the first of it says who is meant."""
    if webhook.subject is None:
        return replace(webhook, link=more[0]) if more else webhook
    told = {webhook.subject, *(fact.data.get("email_hmac") for fact in webhook.facts)}
    links = dict.fromkeys((*more, *webhook.links, *(() if webhook.link is None else (webhook.link,))))
    return replace(webhook, links=tuple(link for link in links if link.value not in told))


def _whereabouts(rule: MappingRule, payload: Payload) -> dict[str, Any]:
    """What the rule says about subject, id, time and account, as far as the payload holds it."""
    found: dict[str, Any] = {}
    for name, taken in (("subject", rule.subject), ("id", rule.id), ("time", rule.time), ("account", rule.account)):
        if taken is None:
            continue
        held = {"it": value_at(payload, taken.path)}
        value = time_at(held, "it") if name == "time" else id_at(held, "it")
        is_none = name == "subject" and value is not None and is_placeholder(str(value))
        found[name] = None if is_none else value
    return {name: value for name, value in found.items() if value is not None}


def _object(
    fields: Mapping[str, Template], payload: Payload, reading: Reading, faults: dict[str, str], within: str = ""
) -> dict[str, Any]:
    """The fields as the payload fills them. ``faults`` gains field → cast of what could not be read.

    Beside the HMAC of somebody's address stands that of its domain.
    """
    made: dict[str, Any] = {}
    for name, template in fields.items():
        if isinstance(template, Taken):
            value = template.of(payload, reading.email_hmac)
            if value is UNREADABLE and template.cast is not None:
                faults[within + name] = template.cast
            elif template.cast == "email_hmac" and name in _ADDRESSES:
                made |= reading.address_hmacs(value_at(payload, template.path))
        elif isinstance(template, Mapping):
            value = _object(template, payload, reading, faults, f"{within}{name}.") or None
        else:
            value = template
        if value is not None:
            made[name] = value
    return made


_ADDRESSES: Final = frozenset({"email", "email_hmac"})
"""Fields of a profile and of a contact that hold their address."""


def value_at(payload: Any, path: Path) -> Any:
    """The value at a path of objects and (by number) arrays; None where the path ends early."""
    for name in path:
        if isinstance(payload, dict):
            payload = payload.get(name)
        elif isinstance(payload, list) and name.isdecimal() and len(name) <= _MAX_INDEX_DIGITS:
            payload = payload[int(name)] if int(name) < len(payload) else None
        else:
            return None
    return payload


_MAX_INDEX_DIGITS = 6


def parse_path(text: str) -> Path:
    """``$.properties['a.b'].items[0]`` → its steps; the ``$.`` may be left out. Raises ValueError."""
    rest = text.removeprefix("$") if text.startswith(("$.", "$[")) else text
    rest = rest.removeprefix(".")
    steps, position = [], 0
    while position < len(rest):
        step = _STEP.match(rest, position)
        if step is None:
            break
        steps.append(next(found for found in step.groups() if found is not None))
        position = step.end()
    if not steps or position < len(rest) or text == "$":
        raise ValueError("not a path; write $.properties.name, $.items[0] or $.properties['a.b']")
    return tuple(steps)


_STEP = re.compile(r"\.?([^.\[\]'\"]+)|\[(\d+)\]|\['([^']+)'\]")


def cast_to(cast: Cast, value: Any, email_hmac: Hash) -> Any:
    """The value as the type of that name; UNREADABLE where it is none."""
    made: Scalar | None
    match cast:
        case "int":
            made = whole_number(value)
        case "float":
            made = _number(value)
        case "bool":
            made = _truth(value)
        case "str":
            made = _text(value)
        case "email_hmac":
            made = email_hmac(value)
    return UNREADABLE if made is None else made


def _number(value: Any) -> float | None:
    if type(value) not in (int, float, str) or (isinstance(value, str) and "_" in value):  # 1_0 is valid in Python only
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _truth(value: Any) -> bool | None:
    word = str(value).strip().lower() if type(value) in (bool, int, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else None


def _equal(found: Any, wanted: Scalar) -> bool:
    """Equality of JSON values: 1 is 1.0, but neither true nor "1"."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    return isinstance(found, (str, int, float)) and found == wanted
