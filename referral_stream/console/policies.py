"""The policy in words and numbers, the versions that were in force before it, and what another one would change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import msgspec

from referral_stream.console.store import SharedStore
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


class KeptPolicy(msgspec.Struct, frozen=True):
    """A policy that a console was started with. ``since``: when the first of them was (epoch ms)."""

    name: str
    version: int
    hash: str
    since: int
    settings: tuple[Setting, ...]


async def keep(store: SharedStore, policy: Policy, now: int) -> None:
    """Keep what the policy in force says, for when there is another. Raises NotReadable."""
    kept = KeptPolicy(policy.name, policy.version, policy.hash, now, tuple(settings_of(policy)))
    await store.keep_policy(policy.hash, msgspec.json.encode(kept))


async def versions(store: SharedStore) -> list[KeptPolicy]:
    """All that are kept, the newest first. Raises NotReadable."""
    found = [msgspec.json.decode(entry, type=KeptPolicy) for entry in await store.policies()]
    return sorted(found, key=lambda each: (-each.since, each.hash))


def described(policy: Policy, *, everything: bool) -> tuple[PolicySection, ...]:
    """All settings by section, or only those that differ from the default."""
    wanted = [each for each in settings_of(policy) if everything or each.differs]
    return tuple(
        PolicySection(title, tuple(settings))
        for title, settings in groupby(wanted, key=lambda each: each.key.rpartition(".")[0])
    )


def compared(here: Policy, text: str) -> tuple[PolicyChange, ...]:
    """What a policy file would change, in its own order. Raises PolicyProblem for one that cannot be used."""
    return changes(settings_of(here), settings_of(parse_policy(text.encode(), "the text")))


def changes(here: Iterable[Setting], there: Iterable[Setting]) -> tuple[PolicyChange, ...]:
    """What is otherwise there, in the order of there."""
    return tuple(_changes({each.key: each for each in here}, {each.key: each for each in there}))


def _changes(ours: dict[str, Setting], theirs: dict[str, Setting]) -> Iterator[PolicyChange]:
    for key in {**theirs, **ours}:
        mine, other = ours.get(key), theirs.get(key)
        known = mine or other
        if known is not None and (mine and mine.value) != (other and other.value):
            yield PolicyChange(key, mine and mine.value, other and other.value, known.unit, known.meaning)


def shown(setting: Setting) -> str:
    """Its value with its unit."""
    return f"{setting.value} {setting.unit}" if setting.unit and setting.value != NONE else setting.value
