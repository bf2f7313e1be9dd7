"""Every message of the contract in each of its versions: one closed list, from which all that is published is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel

from referral_stream.contracts import versions
from referral_stream.core.effects import EFFECT_TYPES, LedgerRequest
from referral_stream.core.events import FACTS, INTERNAL

Direction: TypeAlias = Literal["in", "out", "internal"]


@dataclass(frozen=True, slots=True)
class Message:
    """One version of one message type: ``in`` is what producers send, ``out`` what workers read, ``internal`` ours."""

    direction: Direction
    kind: str
    version: int
    model: type[BaseModel]

    @property
    def is_current(self) -> bool:
        return self.version == versions.current_version(self.kind)

    @property
    def name(self) -> str:
        """What its files are called: the type, and the version where a newer one has taken its place."""
        return self.kind if self.is_current else f"{self.kind}.v{self.version}"

    @property
    def path(self) -> str:
        """Where its schema lies, below ``schemas/``."""
        return f"{self.direction}/{self.name}.json"

    @property
    def dataschema(self) -> str:
        """What a record of this version names, and the ``$id`` of the schema."""
        return versions.dataschema(self.kind, self.version)


def messages() -> Iterator[Message]:
    """Every message, in the contract's order; the current version of a type first, then the older ones."""
    for direction, kind, model in _types():
        yield Message(direction, kind, versions.current_version(kind), model)
        for number, version in enumerate(versions.older_versions(kind), 1):
            yield Message(direction, kind, number, version.model)


def _types() -> Iterator[tuple[Direction, str, type[BaseModel]]]:
    for fact in FACTS:
        yield "in", fact.type, fact
    for internal in INTERNAL:
        yield "internal", internal.type, internal
    for effect, kind in EFFECT_TYPES.items():
        yield "internal" if effect in get_args(LedgerRequest) else "out", kind, effect
