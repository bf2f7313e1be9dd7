"""The policy in words and numbers, and what another one would change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import parse_policy
from referral_stream.policy_file.settings import NONE, Setting, settings_of


@dataclass(frozen=True, slots=True)
class PolicySection:
    """Settings that belong together; ``title`` is empty for those of the policy as a whole."""

    title: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A setting that another policy has otherwise; None: it has none of that name."""

    key: str
    here: str | None
    there: str | None
    unit: str
    meaning: str


def described(policy: Policy, *, everything: bool) -> tuple[PolicySection, ...]:
    """All settings by section, or only those that differ from the default."""
    wanted = [each for each in settings_of(policy) if everything or each.differs]
    return tuple(
        PolicySection(title, tuple(settings))
        for title, settings in groupby(wanted, key=lambda each: each.key.rpartition(".")[0])
    )


def compared(here: Policy, text: str) -> tuple[PolicyChange, ...]:
    """What a policy file would change, in its own order. Raises PolicyProblem for one that cannot be used."""
    return tuple(_changes(here, parse_policy(text.encode(), "the text")))


def _changes(here: Policy, there: Policy) -> Iterator[PolicyChange]:
    ours, theirs = ({each.key: each for each in settings_of(policy)} for policy in (here, there))
    for key in {**theirs, **ours}:
        mine, other = ours.get(key), theirs.get(key)
        known = mine or other
        if known is not None and (mine and mine.value) != (other and other.value):
            yield PolicyChange(key, mine and mine.value, other and other.value, known.unit, known.meaning)


def shown(setting: Setting) -> str:
    """Its value with its unit."""
    return f"{setting.value} {setting.unit}" if setting.unit and setting.value != NONE else setting.value
