"""Where in a payload a value stands: ``$.properties['a.b'].items[0]``, ``$.fields[name=plan].value``, ``$root.id``.

A path begins at the payload; within ``each`` it begins at the element, and ``$root`` at the body that the list is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias


class PathMark(Enum):
    """Steps that are no names: to the whole payload, and into every element of a list."""

    ROOT = "$root"
    EVERY = "[*]"


class Selected(NamedTuple):
    """A step into an array: to its first object whose field ``name`` has this text."""

    name: str
    text: str


Step: TypeAlias = str | Selected | PathMark
Path: TypeAlias = tuple[Step, ...]

PREFIXES: Final = ("$.", "$[", "$root.", "$root[")
"""How a text begins that is a path."""

_MAX_INDEX_DIGITS = 6


def value_at(payload: Any, path: Path, root: Any = None) -> Any:
    """The value at a path of objects and arrays; None where the path ends early."""
    for step in path:
        if type(step) is str:
            if type(payload) is dict:
                payload = payload.get(step)
            elif isinstance(payload, list) and step.isdecimal() and len(step) <= _MAX_INDEX_DIGITS:
                payload = payload[int(step)] if int(step) < len(payload) else None
            else:
                return None
        elif step is PathMark.ROOT:
            payload = root
        elif isinstance(step, Selected):
            payload = _selected(payload, step)
        else:
            return None
    return payload


def _selected(payload: Any, step: Selected) -> Any:
    for each in _listed(payload) or ():
        if isinstance(each, dict) and text_of(each.get(step.name)) == step.text:
            return each
    return None


def _listed(value: Any) -> list[Any] | None:
    """A list, also as a form writes it (``answers[0][key]=…``): an object whose names are all numbers; else None."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value and all(name.isdecimal() and len(name) <= _MAX_INDEX_DIGITS for name in value):
        return [value[name] for name in sorted(value, key=int)]
    return None


def elements_at(payload: Any, path: Path) -> Iterator[Any]:
    """The elements of the list (or lists, where the path says ``[*]``) at a path; an object counts as a list of one."""
    for number, step in enumerate(path):
        if step is PathMark.EVERY:
            for element in elements_at(payload, path[:number]):
                yield from elements_at(element, path[number + 1 :])
            return
    found = value_at(payload, path)
    if (listed := _listed(found)) is not None:
        yield from listed
    elif isinstance(found, dict):
        yield found


def text_of(value: Any) -> str | None:
    """A value as a table or a selector writes it: 9 and 9.0 as ``9``, true as ``true``; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else None


_EXACT: Final = 2**53
"""Below this a float holds every whole number."""

NOT_A_PATH: Final = "not a path; write $.properties.name, $.items[0] or $.properties['a.b']"


def parse_path(text: str, *, whole: bool = False, lists: bool = False) -> Path:
    """The steps of a path; the ``$.`` may be left out. Raises ValueError.

    ``whole``: whether ``$`` alone, the payload itself, is one; ``lists``: whether ``[*]`` may be in it.
    """
    if whole and text == "$":
        return ()
    before: Path = ()
    if text.startswith(("$root.", "$root[")) or (whole and text == "$root"):
        before, rest = (PathMark.ROOT,), text.removeprefix("$root")
    else:
        rest = text.removeprefix("$") if text.startswith(("$.", "$[")) else text
    rest = rest.removeprefix(".")
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        found = _STEP.match(rest, position)
        if found is None:
            break
        steps.append(_step(found))
        position = found.end()
    is_whole = bool(before) and whole and not rest
    if (not steps and not is_whole) or position < len(rest) or text == "$":
        raise ValueError(NOT_A_PATH)
    if PathMark.EVERY in steps and not lists:
        raise ValueError('[*] is for each alone; write each = "$.items" and paths from there, or $.items[0]')
    return (*before, *steps)


def _step(found: re.Match[str]) -> Step:
    if found["every"]:
        return PathMark.EVERY
    if found["field"] is not None:
        return Selected(found["field"].strip(), found["text"].strip().strip("'\""))
    return found["name"] or found["index"] or found["quoted"]


_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]'"]+)|\[(?P<index>\d+)\]|\['(?P<quoted>[^']+)'\]|(?P<every>\[\*\])"""
    r"""|\[(?P<field>[^\[\]'"=]+)=(?P<text>[^\[\]]*)\]"""
)


def shown(path: Path) -> str:
    """A path as people write it, with its ``$``."""
    text = "$root" if path[:1] == (PathMark.ROOT,) else "$"
    for step in path[1:] if path[:1] == (PathMark.ROOT,) else path:
        if isinstance(step, PathMark):
            text += step.value
        elif isinstance(step, Selected):
            text += f"[{step.name}={step.text}]"
        elif step.isdecimal():
            text += f"[{step}]"
        else:
            text += f".{step}" if _PLAIN(step) else f"['{step}']"
    return text


_PLAIN = re.compile(r"[^.\[\]'\"]+").fullmatch
