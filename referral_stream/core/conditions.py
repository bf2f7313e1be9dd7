"""Conditions of custom triggers: CEL over one event and its customer.

An expression sees the names of :func:`names_for` and nothing else. It is checked when the policy is read: unknown names
and types that do not fit are refused there, as far as they can be known. When it runs it does no I/O, reads
no clock, and ends within a fixed budget; a failure while it runs (a comparison with null, say) counts as not met.
Which library, and why: docs/decisions/0008-trigger-conditions.md.

The library is loaded by the first condition: a policy without conditions neither needs nor pays for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from referral_stream.core import events as ev
from referral_stream.core.suggestions import did_you_mean

ValueKind: TypeAlias = Literal["string", "int", "double", "bool", "timestamp", "dyn"]


class Name(NamedTuple):
    """What an expression may use: its type, its meaning, and whether it may be null."""

    kind: ValueKind
    meaning: str
    nullable: bool = False


EVENT: dict[str, Name] = {
    "event.id": Name("string", "id of the event, unique within its source"),
    "event.source": Name("string", "the system it came from"),
    "event.type": Name("string", "one of the types in `on`"),
    "event.time": Name("timestamp", "when it happened"),
}
"""In addition: ``event.data.FIELD`` for the fields of the types in ``on``."""

CUSTOMER: dict[str, Name] = {
    "customer.score": Name("int", "propensity, 0 to 100"),
    "customer.tenure_days": Name("int", "whole days since sign-up; null if unknown", nullable=True),
    "customer.onboarded": Name("bool", "has completed onboarding"),
    "customer.first_success": Name("bool", "has reached the first success"),
    "customer.usage_above_average": Name("bool", "uses the product more than the cohort"),
    "customer.nps": Name("int", "newest NPS score; null if never given", nullable=True),
    "customer.testimonial": Name("bool", "has given a testimonial"),
    "customer.positive_feedback": Name("bool", "has ever given positive feedback"),
    "customer.interactions": Name("int", "interactions recorded so far"),
    "customer.champion": Name("bool", "is flagged as a champion"),
    "customer.segment": Name("string", "smb, enterprise or mission_driven; null if unknown", nullable=True),
    "customer.locale": Name("string", "locale of the profile; null if unknown", nullable=True),
    "customer.open_tickets": Name("int", "support tickets open now"),
    "customer.times_asked": Name("int", "referral asks made so far"),
    "customer.days_since_asked": Name("int", "whole days since the last ask; null if never asked", nullable=True),
    "customer.referrals": Name("int", "referrals given so far"),
}
"""The customer as it is with the event applied. A name once given keeps its meaning."""

WITHHELD = frozenset({"by", "comment", "domain_hmac", "email_hmac", "text"})
"""Fields that hold, or stand for, who someone is or what they wrote: no condition may depend on them."""

NOT_A_REASON = frozenset({ev.ErasureRequested, ev.Aliased, ev.OverfullCleared, ev.ControlPaused, ev.ControlResumed})

EVENT_TYPES: dict[str, type[ev.Data]] = {data.type: data for data in ev.FACTS if data not in NOT_A_REASON}
"""The event types that may open a trigger."""

LONGEST = 1_000
"""Characters in an expression: far more than one can read, far less than what makes compiling slow."""

# The calendar of a time zone would come from the machine the program runs on, and a replay elsewhere could differ.
_NO_CALENDAR = "stdlib:\n  exclude_functions:\n" + "".join(
    f"    - name: {name}\n"
    for name in (
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
        "getMinutes", "getMonth", "getSeconds",
    )
)  # fmt: skip
_WRAPPERS = {"string": "StringValue", "int": "Int64Value", "double": "DoubleValue", "bool": "BoolValue"}
_FAULT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


_LIBRARY_MISSING = (
    "conditions need a library, in the environment that referral-stream runs in: "
    "python -m pip install 'cel-expr-python>=0.1.3,<0.2'"
)


class ConditionFault(NamedTuple):
    """What is wrong with an expression; ``key`` is ``when`` or ``subject``."""

    key: str
    message: str


class Condition:
    """A compiled trigger: is this event an occasion to ask, and about what?

    ``fields``: the fields of ``event.data`` that its expressions use.
    """

    def __init__(self, on: Iterable[str], when: str, subject: str) -> None:
        types = tuple(sorted(on))
        _, running = _environments(types)
        self._when, self._subject = running.compile(when), running.compile(subject)
        self._of_when, self._of_subject = _names_in(when), _names_in(subject)
        prefix = "event.data."
        used = sorted({*self._of_when, *self._of_subject})
        self.fields = tuple(name.removeprefix(prefix) for name in used if name.startswith(prefix))

    def subject_of(self, values: Mapping[str, Any]) -> str | None:
        """The subject if the condition is met by these values, None if not. Never raises.

        ``values``: one for each name, but of ``event.data`` only ``fields``. Text with a NUL character matches
        nothing: the library would stop reading there.
        """
        seen = {name: values[name] for name in self._of_when}  # each value handed over costs a conversion
        named = {name: values[name] for name in self._of_subject}
        if any("\0" in value for value in (*seen.values(), *named.values()) if isinstance(value, str)):
            return None
        try:
            if self._when.eval(data=seen).plain_value() is not True:
                return None
            subject = self._subject.eval(data=named)
            text = subject.plain_value() if subject.type().name() == "STRING" else None
        except (RuntimeError, TypeError, ValueError):  # out of budget, or a value the library cannot take
            return None
        return text or None


def faults(on: Iterable[str], when: str, subject: str) -> Iterator[ConditionFault]:
    """What is wrong with the expressions of a trigger that is opened by these (known) types."""
    types = tuple(sorted(on))
    names = names_for(types)
    try:
        checking, _ = _environments(types)
    except ModuleNotFoundError:
        yield ConditionFault("when", _LIBRARY_MISSING)
        return
    for key, text, wanted in (("when", when, "bool"), ("subject", subject, "string")):
        try:
            found = checking.compile(text).return_type().name().lower().removesuffix("_wrapper")
        except (RuntimeError, TypeError, ValueError) as error:
            yield from (ConditionFault(key, message) for message in _readable(str(error), names))
        else:
            if found != wanted:
                meant = "true or false" if wanted == "bool" else "text (string(…) makes it so)"
                yield ConditionFault(key, f"must be {meant}, is {found}")


def names_for(on: Iterable[str]) -> dict[str, Name]:
    """Every name an expression may use if the trigger is opened by these types."""
    types = sorted(on)
    found: dict[str, list[tuple[str, Name]]] = {}
    for type_ in types:
        for field, name in _fields(EVENT_TYPES[type_]):
            found.setdefault(f"event.data.{field}", []).append((type_, name))
    data = {}
    for path, names in sorted(found.items()):
        kinds = {name.kind for _, name in names}
        nullable = len(names) < len(types) or any(name.nullable for _, name in names)
        data[path] = Name(kinds.pop() if len(kinds) == 1 else "dyn", f"of {', '.join(t for t, _ in names)}", nullable)
    return {**EVENT, **data, **CUSTOMER}


def _fields(data: type[ev.Data]) -> Iterator[tuple[str, Name]]:
    for field, described in data.model_fields.items():
        kind, nullable = _kind(described.annotation)
        if kind is not None and field not in WITHHELD:
            yield field, Name(kind, data.type, nullable)


def _kind(annotation: Any) -> tuple[ValueKind | None, bool]:
    """The CEL type of a field, None for a nested one; and whether it may be null."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, UnionType):
        (inner,) = (part for part in get_args(annotation) if part is not type(None))
        return _kind(inner)[0], True
    if origin is Literal:
        return "string", False
    kinds: dict[Any, ValueKind] = {str: "string", int: "int", float: "double", bool: "bool"}
    return kinds.get(annotation), False


@lru_cache(maxsize=64)
def _environments(on: tuple[str, ...]) -> tuple[Any, Any]:
    """Two views of the same names: one to check types by, and one to run in.

    To the checker a nullable value has a separate type, so that comparing it with the wrong type is found. At run time
    the library takes no Python value for such a type, so the value is passed as it is.
    """
    from cel_expr_python import cel  # type: ignore[import-untyped]  # noqa: PLC0415 (only who writes conditions needs it)

    checked, run = {}, {}
    for path, name in names_for(on).items():
        plain = getattr(cel.Type, name.kind.upper())
        wrapper = _WRAPPERS.get(name.kind) if name.nullable else None
        checked[path] = cel.Type(f"google.protobuf.{wrapper}") if wrapper else plain
        run[path] = cel.Type.DYN if name.nullable else plain
    config = cel.NewEnvConfigFromYaml(_NO_CALENDAR)
    return cel.NewEnv(variables=checked, config=config), cel.NewEnv(variables=run, config=config)


def _names_in(text: str) -> tuple[str, ...]:
    """The names a valid expression uses: those the library misses when none, or not all of them, are declared."""
    from cel_expr_python import cel  # noqa: PLC0415 (as above)

    declared: set[str] = set()
    while True:
        try:
            cel.NewEnv(variables=dict.fromkeys(declared, cel.Type.DYN)).compile(text)
        except RuntimeError as error:
            missed = set(_UNDECLARED.findall(str(error)))
            if missed <= declared:
                raise
            declared |= missed
        else:
            return tuple(sorted(declared))


def _readable(error: str, names: Mapping[str, Name]) -> Iterator[str]:
    """The library's complaints, one line each, with the nearest name."""
    found = _FAULT.findall(error)
    if not found:
        yield error.partition("\n")[0].partition(" [")[0] or "cannot be read"
    for line, column, message in found:
        where = f"line {line}, column {column}"
        unknown = _UNDECLARED.match(message)
        if unknown is None:
            yield f"{where}: {message}"
            continue
        name = unknown.group(1)
        if "." not in name and name not in {known.partition(".")[0] for known in names}:
            yield f"{where}: unknown name or function {name!r}; names begin with event. or customer."
            continue
        near = [known for known in names if known.startswith(f"{name}.")] or names
        yield f"{where}: unknown name {name!r}; {did_you_mean(name, near)}"
