"""A policy setting by setting: what each is, means, counts in, and by default. What ``policy check`` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from referral_stream.core.after_policy import Experiment, Programme
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import BUILT_IN, HalfLives, Policy, Trigger
from referral_stream.core.sections import Unit

NONE = "none"
"""How a setting without a value is shown."""

CAN_BE_OFF = frozenset(
    {"moments.slot_weekday", "harm.pause_at", *(f"score.half_life_days.{name}" for name in HalfLives.model_fields)}
)
"""The settings that a file may set to "none"."""

NAMED: Mapping[str, tuple[type[BaseModel], str]] = {
    "triggers": (Trigger, "tables, one for each trigger: [triggers.NAME]"),
    "experiments": (Experiment, "tables, one for each experiment: [experiments.NAME]"),
    "programmes": (Programme, "tables, one for each segment: [rewards.programmes.SEGMENT]"),
}
"""The tables of tables, whose names are the file's own: what each holds, in words too."""


class Setting(NamedTuple):
    """One setting, written as in TOML; ``default`` is None for what only this policy has."""

    key: str
    value: str
    default: str | None
    unit: str
    meaning: str

    @property
    def differs(self) -> bool:
        return self.value != self.default


def settings_of(policy: Policy) -> list[Setting]:
    """Every setting, in the order of the model; custom triggers after the built-in ones, by name."""
    return list(_settings("", policy, Policy()))


def _settings(prefix: str, section: BaseModel, default: BaseModel | None) -> Iterator[Setting]:
    for name, field in type(section).model_fields.items():
        key, value = f"{prefix}{name}", getattr(section, name)
        usual = None if default is None else getattr(default, name)
        if isinstance(value, BaseModel):
            yield from _settings(f"{key}.", value, usual)
        elif isinstance(value, dict) and name in NAMED:
            known = BUILT_IN if name == "triggers" else ()
            for each in (*known, *sorted(value.keys() - set(known))):
                yield from _settings(f"{key}.{each}.", value[each], (usual or {}).get(each))
        elif not _says_nothing(section, name, value, default):
            meaning = field.description or ""
            yield Setting(
                key, _toml(name, value), None if default is None else _toml(name, usual), _unit(field), meaning
            )


def _says_nothing(section: BaseModel, name: str, value: Any, default: BaseModel | None) -> bool:
    """Whether it is one of the many that a trigger of its kind does not have."""
    if not isinstance(section, Trigger) or (default is not None and getattr(default, name) != value):
        return False
    if name in ("on", "when", "subject"):
        return not section.is_own
    return value is None or (name == "opens_after_days" and value == 0)


def _unit(field: FieldInfo) -> str:
    return next((each.name for each in field.metadata if isinstance(each, Unit)), "")


def _toml(name: str, value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(name, each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key, ensure_ascii=False)} = {each:g}' for key, each in value.items())} }}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if name == "active_since":
        return rfc3339(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
