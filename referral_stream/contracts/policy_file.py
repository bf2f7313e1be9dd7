"""The policy file: TOML → a checked policy. Every fault is named, all at once, with the nearest valid key."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from referral_stream.core.policy import Policy, Trigger

EXTENDS = "extends"


class PolicyProblem(Exception):
    """A policy that cannot be used: one line per fault, each naming the key and the remedy."""

    def __init__(self, file: str, faults: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {fault}" for fault in faults))
        self.faults = faults


def read_policy(file: Path) -> Policy:
    """The policy in a TOML file; keys left out keep their default. Raises PolicyProblem, OSError."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyProblem(str(file), [f"not TOML: {error}"]) from None
    return build_policy(given, str(file))


def build_policy(given: dict[str, Any], name: str = "policy") -> Policy:
    """The policy of parsed TOML. A trigger table overrides single keys of that trigger. Raises PolicyProblem."""
    given = dict(given)
    base = given.pop(EXTENDS, "default")
    if base != "default":
        raise PolicyProblem(name, [f'extends = {base!r}: only "default" can be extended'])
    defaults = Policy().triggers
    triggers = given.get("triggers", {})
    faults = []
    if isinstance(triggers, dict):
        faults += [
            _unknown(f"triggers.{key}", key, list(defaults), "trigger") for key in triggers if key not in defaults
        ]
        merged = {
            key: {**trigger.model_dump(), **triggers.get(key, {})}
            if isinstance(triggers.get(key, {}), dict)
            else triggers[key]
            for key, trigger in defaults.items()
        }
        given["triggers"] = merged
    try:
        policy = Policy.model_validate(given)
    except ValidationError as error:
        raise PolicyProblem(name, faults + [_fault(item) for item in error.errors(include_url=False)]) from None
    if faults:
        raise PolicyProblem(name, faults)
    return policy


def _fault(error: Any) -> str:
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return _unknown(path, str(error["loc"][-1]), _siblings(error["loc"]), "key")
    got = f" (got {error['input']!r})" if not isinstance(error["input"], dict) else ""
    return f"{path or 'policy'}: {error['msg'].removeprefix('Value error, ')}{got}"


def _unknown(path: str, key: str, known: list[str], kind: str) -> str:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{path}: unknown {kind}; {hint}"


def _siblings(loc: tuple[str | int, ...]) -> list[str]:
    """The valid keys beside the one at ``loc``."""
    model: type[BaseModel] = Policy
    for part in loc[:-1]:
        if part == "triggers":
            model = Trigger
        elif (field := model.model_fields.get(str(part))) and isinstance(field.annotation, type):
            model = field.annotation
    return list(model.model_fields)
