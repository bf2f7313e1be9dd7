"""What the policy's sections are made of: their base, what their numbers count, and how contradictions are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from referral_stream.core import conditions
from referral_stream.core.instants import Instant, from_datetime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts."""

    name: str


def as_set(values: tuple[T, ...]) -> tuple[T, ...]:
    """Order and repetition mean nothing in a list of choices, so they must not change the hash."""
    return tuple(sorted(set(values)))  # type: ignore[type-var]  # members are text or numbers


def none_for_no(value: Any) -> Any:
    """TOML has no null: ``"none"`` stands for it."""
    return None if value == "none" else value


def instant_of_toml(value: Any) -> Any:
    """TOML has its own instants; without an offset they are refused."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("needs a UTC offset, or Z")
    return from_datetime(value)


Days: TypeAlias = Annotated[int, Field(ge=0, le=3_660), Unit("days")]
Seconds: TypeAlias = Annotated[int, Field(ge=0, le=60 * 86_400), Unit("seconds")]
Points: TypeAlias = Annotated[int, Field(ge=0, le=100), Unit("points")]
Percent: TypeAlias = Annotated[int, Field(ge=1, le=100), Unit("percent")]
Weekday: TypeAlias = Annotated[int, Field(ge=1, le=7)]
Mode: TypeAlias = Literal["direct", "soft", "value_first", "same_company", "mutual_benefit"]
CLOCK_PATTERN = r"^([01]\d|2[0-3]):[0-5]\d$"
ClockTime: TypeAlias = Annotated[str, Field(pattern=CLOCK_PATTERN), Unit("local time")]
ShortText: TypeAlias = Annotated[str, Field(max_length=256)]
Expression: TypeAlias = Annotated[str, Field(max_length=conditions.LONGEST)]
TriggerName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ActiveSince: TypeAlias = Annotated[Instant | None, BeforeValidator(instant_of_toml)]
Choice: TypeAlias = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(as_set)]


class Contradiction(NamedTuple):
    """Settings that contradict each other: their keys (the first is the one to check) and what is wrong with them."""

    keys: tuple[str, ...]
    message: str


class Contradictory(ValueError):
    """All contradictions of one section."""

    def __init__(self, found: list[Contradiction]) -> None:
        super().__init__("; ".join(contradiction.message for contradiction in found))
        self.found = found


class Section(BaseModel):
    """A table of the policy file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def contradictions(self) -> Iterator[Contradiction]:
        """The contradictions in these values; keys are relative to the section."""
        yield from ()

    @model_validator(mode="after")
    def _free_of_contradictions(self) -> Self:
        found = list(self.contradictions())
        if found:
            raise Contradictory(found)
        return self
