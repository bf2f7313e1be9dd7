"""Versions of message bodies: what an older body meant, and how it becomes the current one.

A record names the version of its body by the CloudEvents attribute ``dataschema``, as
``urn:referral-stream:TYPE:VERSION``. One that names none, or a schema in another registry, has the version that
was current when its type was first published (``Lineage.unnamed``), forever: so last year's log still reads after a
change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.validation import explain

URN: Final = "urn:referral-stream:"
"""How our ``dataschema`` begins; any other names a producer's registry and is ignored."""

_MAX_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Older:
    """An outdated version: what its body had to be, and how to turn it into the next version's body.

    ``upcast`` is pure; its input has passed ``model``, its output must still pass the next version.
    """

    model: type[BaseModel]
    upcast: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The versions of one type before the current one, from version 1 on, and the version of a body that names none."""

    older: tuple[Older, ...]
    unnamed: int = 1

    @property
    def current(self) -> int:
        return len(self.older) + 1


LINEAGES: dict[str, Lineage] = {}
"""Types whose body has changed incompatibly for older readers or records; every other one is at version 1.

Nothing has been released yet, so there is none: ``tests/contracts/lineages.py`` shows what one looks like.
"""

_UNCHANGED: Final = Lineage(older=())


def current_version(kind: str) -> int:
    """The version of a type that this release writes and publishes as its schema."""
    return LINEAGES.get(kind, _UNCHANGED).current


def older_versions(kind: str) -> tuple[Older, ...]:
    """The versions of a type before the current one, from version 1 on."""
    return LINEAGES.get(kind, _UNCHANGED).older


def unnamed_version(kind: str) -> int:
    """The version of a body of that type which names none."""
    return LINEAGES.get(kind, _UNCHANGED).unnamed


def dataschema(kind: str, version: int) -> str:
    """The name of a version: ``dataschema`` on a record, ``$id`` of its published schema."""
    return f"{URN}{kind}:{version}"


def dataschema_to_write(kind: str) -> str | None:
    """The ``dataschema`` that a record written now needs; None if its absence means the same."""
    lineage = LINEAGES.get(kind, _UNCHANGED)
    return None if lineage.current == lineage.unnamed else dataschema(kind, lineage.current)


def current_body(kind: str, named: Any, body: Any) -> Any:
    """A body in its current version, given its ``dataschema`` (``named``; None without); else Refused.

    A body that is already current is returned as it is, unvalidated: the current model does that.
    """
    lineage = LINEAGES.get(kind, _UNCHANGED)
    version = _named_version(kind, named)
    if isinstance(version, Refused):
        return version
    if version is None:
        version = lineage.unnamed
    if version > lineage.current:
        known = f"the newest known here is {lineage.current}"
        return Refused("unknown_version", f"dataschema: version {version} of {kind}, {known}")
    try:
        for older in lineage.older[version - 1 :]:
            # By the version's own rules, or the error would name fields that its producer does not know.
            older.model.__pydantic_validator__.validate_python(body)
            body = older.upcast(body)
    except ValidationError as error:
        return Refused("invalid", explain(error))
    return body


def _named_version(kind: str, named: Any) -> int | Refused | None:
    """The version that a ``dataschema`` names; None if it is not one of our names."""
    if named is None:
        return None
    if type(named) is not str:
        return Refused("invalid", "dataschema: must be text")
    if named[: len(URN)].lower() != URN:
        return None
    about, _, number = named[len(URN) :].rpartition(":")
    if about != kind:
        return Refused("invalid", "dataschema: names the schema of another type")
    if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS and number[0] != "0"):
        return Refused("unknown_version", "dataschema: ends in no version")
    return int(number)
