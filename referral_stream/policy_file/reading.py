"""The policy file: TOML → a checked policy. All errors are reported at once, each with the nearest valid key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any, NamedTuple, TypeAlias, TypeGuard, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from referral_stream.contracts.schema_words import schema_words
from referral_stream.contracts.toml_file import TomlProblem, parse_toml
from referral_stream.core.policy import BUILT_IN, Policy, Trigger
from referral_stream.core.sections import Contradictory
from referral_stream.core.suggestions import VERY_NEAR, did_you_mean, nearest
from referral_stream.policy_file.settings import CAN_BE_OFF, NAMED, NONE

EXTENDS = "extends"

SHOWN = 60
"""Characters of a wrong value that a message repeats."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")

Path_: TypeAlias = tuple[str | int, ...]


class PolicyProblem(TomlProblem):
    """A policy that cannot be used."""


class PolicyFault(NamedTuple):
    """What is wrong; ``keys``: the settings involved, as paths from the top, the one to check first."""

    keys: tuple[Path_, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(_shown, self.keys[0])) or 'policy'}: {self.message}"


def parse_policy(content: bytes, file: str = "policy.toml") -> Policy:
    """The policy in a TOML file (``file`` for messages); keys left out keep their default. Raises PolicyProblem."""
    return build_policy(parse_toml(content, file, PolicyProblem), file)


def build_policy(given: Mapping[str, Any], name: str = "policy") -> Policy:
    """The policy of parsed TOML; a table, also a built-in trigger's, overrides single keys. Raises PolicyProblem."""
    values = dict(given)
    faults: list[PolicyFault] = []
    base = values.pop(EXTENDS, "default")
    if base != "default":
        faults.append(PolicyFault(((EXTENDS,),), f'only "default" can be extended{_got(base)}'))
    if isinstance(values.get("triggers", {}), dict):
        triggers, unknown = _merged(values.get("triggers", {}))
        values["triggers"] = triggers
        faults += unknown
    policy, found = _validated(values)
    faults += found
    if faults or policy is None:
        raise PolicyProblem(name, [str(fault) for fault in sorted(faults, key=lambda fault: str(fault.keys[0]))])
    return policy


def _merged(given: dict[str, Any]) -> tuple[dict[str, Any], list[PolicyFault]]:
    """The built-in triggers with the keys given, and the custom ones; and the names that are neither."""
    faults = []
    merged: dict[str, Any] = {}
    for name, trigger in Policy().triggers.items():
        own = given.get(name, {})
        merged[name] = {**_base(trigger, own), **own} if isinstance(own, dict) else own
    for name, own in given.items():
        if name in BUILT_IN:
            continue
        if isinstance(own, dict) and not own.keys() & {"on", "when"}:
            hint = f"{did_you_mean(name, BUILT_IN)} (a trigger of your own needs on and when)"
            faults.append(PolicyFault((("triggers", name),), f"unknown trigger; {hint}"))
        else:
            merged[name] = own
    return merged, faults


def _base(trigger: Trigger, own: Mapping[str, Any]) -> dict[str, Any]:
    """The trigger's values; another kind of window drops the length of the old one."""
    values = trigger.model_dump(exclude_defaults=True)
    if own.get("window", trigger.window) != trigger.window:
        return {key: value for key, value in values.items() if key not in ("window_hours", "window_days")}
    return values


def _validated(values: dict[str, Any]) -> tuple[Policy | None, list[PolicyFault]]:
    """The policy, or all its faults.

    What is wrong with one key would hide the contradictions among the others: so what is at fault is taken out and the
    rest is looked at again, until nothing is found. A contradiction with a key that was taken out says nothing, as its
    default stands in for it.
    """
    faults: list[PolicyFault] = []
    out: set[Path_] = set()
    while True:
        try:
            policy = Policy.model_validate(values)
        except ValidationError as error:
            found = [fault for detail in error.errors(include_url=False) for fault in _faults(detail)]
        else:
            return policy, faults
        faults += [fault for fault in found if not any(_within(key, out) for key in fault.keys)]
        taken = set().union(*(_to_take_out(fault, values) for fault in found))
        if not taken:
            return None, faults
        out |= taken
        for key in taken:
            values = _without(values, key)


def _faults(detail: ErrorDetails) -> Iterator[PolicyFault]:
    loc: Path_ = detail["loc"]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Contradictory):
        for contradiction in cause.found:
            yield PolicyFault(tuple((*loc, *key.split(".")) for key in contradiction.keys), contradiction.message)
    elif detail["type"] == "extra_forbidden":
        yield PolicyFault((loc,), f"unknown key; {_meant(loc)}")
    elif detail["type"] == "literal_error" and isinstance(detail["input"], str):
        choices = _choices(loc)
        hint = f"; {did_you_mean(detail['input'], choices)}" if choices else ""
        yield PolicyFault((loc,), f"must be {expected(loc)}{_got(detail['input'])}{hint}")
    elif loc[-1:] == ("[key]",) and detail["type"] == "string_pattern_mismatch":  # no other name has a pattern
        yield PolicyFault((loc[:-1],), "a name is lower-case letters, digits and _, at most 64 of them")
    else:
        got = "" if isinstance(detail["input"], dict) else _got(detail["input"])
        own_words = detail["type"] == "value_error"
        message = detail["msg"].removeprefix("Value error, ") if own_words else f"must be {expected(loc)}"
        yield PolicyFault((loc,), f"{message}{got}")


def _shown(part: str | int) -> str:
    """A key as one writes it in TOML: quoted unless it is bare."""
    return str(part) if isinstance(part, int) or _BARE.fullmatch(part) else repr(part)


def _got(value: object) -> str:
    text = value.isoformat() if isinstance(value, date | time) else repr(value)
    return f" (got {text if len(text) <= SHOWN else text[:SHOWN] + '…'})"


def expected(loc: Path_) -> str:
    """What may stand at ``loc``, in words: "1 Monday … 7 Sunday, or "none""."""
    place = tuple(part for part in loc if not isinstance(part, int))
    section = _section(place[:-1])
    field = section.model_fields.get(str(place[-1])) if place else None
    if field is None and place[-2:-1] == ("templates",):
        return "a number from 0 to 1,000,000: how often it is drawn, relative to the others"
    if field is None or place[-1] in NAMED or _is_model(field.annotation):
        return NAMED[str(place[-1])][1] if place and place[-1] in NAMED else "a table"
    schema = section.model_json_schema()["properties"][str(place[-1])]
    words = schema_words(next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema))
    if place != loc:  # one member of a list
        words = schema_words(schema["items"])
    return f'{words}, or "{NONE}"' if ".".join(map(str, place)) in CAN_BE_OFF else words


def _meant(loc: Path_) -> str:
    """The key that was meant: one of this section, or one of that name in another."""
    key, siblings = str(loc[-1]), _siblings(loc)
    elsewhere = dict(_keys_by_name(Policy))
    far = nearest(key, elsewhere, VERY_NEAR)
    if far is not None and nearest(key, siblings, VERY_NEAR) is None:
        return f"did you mean {elsewhere[far]}?"
    return did_you_mean(key, siblings)


def _keys_by_name(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a policy, by its last part: where it stands."""
    for name, field in model.model_fields.items():
        yield name, f"{before}{name}"
        if name in NAMED:
            yield from ((key, f"{before}{name}.NAME.{key}") for key in NAMED[name][0].model_fields)
        elif _is_model(field.annotation):
            yield from _keys_by_name(field.annotation, f"{before}{name}.")


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _siblings(loc: Path_) -> list[str]:
    """The valid keys beside the one at ``loc``."""
    return list(_section(loc[:-1]).model_fields)


def _section(loc: Path_) -> type[BaseModel]:
    model: type[BaseModel] = Policy
    for part in loc:
        if part in NAMED:
            model = NAMED[str(part)][0]
        elif (field := model.model_fields.get(str(part))) and isinstance(field.annotation, type):
            model = field.annotation
    return model


def _choices(loc: Path_) -> tuple[str, ...]:
    """The words allowed at ``loc``, if they are listed."""
    field = _section(loc[:-1]).model_fields.get(str(loc[-1]))
    options = get_args(field.annotation) if field else ()
    words = [word for option in options for word in (option, *get_args(option)) if isinstance(word, str)]
    return tuple(words)


def _within(key: Path_, out: set[Path_]) -> bool:
    return any(key[: len(taken)] == taken for taken in out)


def _to_take_out(fault: PolicyFault, values: dict[str, Any]) -> set[Path_]:
    """What was given of the keys at fault; of a key that is missing the table that should have it."""
    held = [_held(values, key) for key in fault.keys]
    whole = {found for found, key in zip(held, fault.keys, strict=True) if found == key or _is_list(values, found)}
    return whole or {found for found in held if found}


def _held(values: Any, key: Path_) -> Path_:
    """As much of the path as leads into tables that were given; a list counts as one value."""
    for depth, part in enumerate(key):
        if not isinstance(values, dict) or part not in values:
            return key[:depth]
        values = values[part]
    return key


def _is_list(values: Any, key: Path_) -> bool:
    for part in key:
        values = values[part]
    return isinstance(values, list | tuple)


def _without(values: dict[str, Any], key: Path_) -> dict[str, Any]:
    """The values without what lies at ``key``."""
    first, *rest = key
    inner = values.get(str(first))
    if rest and isinstance(inner, dict):
        return {**values, str(first): _without(inner, tuple(rest))}
    return {name: value for name, value in values.items() if name != first}
