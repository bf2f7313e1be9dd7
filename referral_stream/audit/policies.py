"""Which policy was in force when: decisions name theirs, in the order in which a partition's records were folded.

A worker changes its policy when it starts, between two records that nobody marks. Between the last decision under one
policy and the first under the next, either may have been in force.
"""

from __future__ import annotations

from collections.abc import Iterable


class PolicyRuns:
    """Runs of decisions of one partition under one policy, built from (hash, ``decided_at``) in the log's order."""

    def __init__(self, decisions: Iterable[tuple[str, int]] = ()) -> None:
        self._runs: list[tuple[str, int, int]] = []
        for policy, at in decisions:
            self.add(policy, at)

    def add(self, policy: str, at: int) -> None:
        if self._runs and self._runs[-1][0] == policy:
            _, first, last = self._runs[-1]
            self._runs[-1] = (policy, min(first, at), max(last, at))
        else:
            self._runs.append((policy, at, at))

    def is_open(self, now: int) -> bool:
        """Whether this is not between decisions: a policy that has decided nothing yet may be in force."""
        first = min((first for _, first, _ in self._runs), default=None)
        last = max((last for _, _, last in self._runs), default=None)
        return first is None or last is None or not first < now < last

    @property
    def hashes(self) -> set[str]:
        return {policy for policy, _, _ in self._runs}

    def at(self, now: int) -> tuple[str, ...]:
        """The policies with decisions that may have been in force at an arrival instant.

        A run reaches to the last decision before it and the first one after it, or further to its own.
        """
        found: dict[str, None] = {}
        for place, (policy, first, last) in enumerate(self._runs):
            since = min(first, self._runs[place - 1][2]) if place else None
            until = max(last, self._runs[place + 1][1]) if place + 1 < len(self._runs) else None
            if (since is None or now >= since) and (until is None or now <= until):
                found[policy] = None
        return tuple(found)
