"""The rows of ``core.asking.life`` are what really happens to opportunities, in random worlds with a slow ledger.

The process is watched while it runs: where every opportunity is, whenever a function of ``core.asking`` returns. Every
change must be a row of the table, decided in the module that the row names; and every row must have been seen.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType
from typing import Any

import pytest

from referral_stream.core import asking
from referral_stream.core.asking.life import LIFE, Place, Transition
from referral_stream.core.effects import Decision, Effect, ReservationRequested
from referral_stream.core.events import Event, ReservationUnavailable
from referral_stream.core.ids import hash64
from referral_stream.core.instants import HOUR
from referral_stream.core.policy import Policy
from referral_stream.core.turn import Turn
from tests.properties.comparing import arrivals
from tests.properties.recording import Recording, internal
from tests.worlds.days import world
from tests.worlds.policies import POLICIES

WORLDS = int(os.environ.get("TESTS_WORLDS", "100"))
AT_ONCE = 25

RARE = {
    27: "a gate closes while the answer is awaited, and then it is granted",
    227: "a repeat behind a refusal",
    281: "a survey answer is corrected while the answer is awaited",
    364: "superseded behind a refusal",
    369: "a survey answer is corrected behind a refusal",
    540: "a repeat while the answer is awaited",
    1183: "a refusal that is over just at the deadline",
}
"""Seeds of worlds with what the first ones do not meet."""

CLOSING = frozenset({"suppressed", "expired", "expired_on_arrival", "superseded", "cancelled", "historical"})

WHOLE = frozenset({"granted", "denied", "silent", "emit", "_ask_reason", "close", "_open", "_cancel", "_request"})
"""Functions that make a transition: between their lines an opportunity is nowhere, and nobody can see it."""

MODULES = tuple(
    import_module(f"{asking.__name__}.{module.name}")
    for module in iter_modules(asking.__path__)
    if module.name != "life"
)


class Watch:
    """Where opportunities have been, and which transitions they took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on, every function of ``core.asking`` reports."""
        self.taken: Counter[Transition] = Counter()
        self.unknown: Counter[str] = Counter()
        self._places: dict[str, Place] = {}
        self._outcomes: dict[str, str] = {}
        self._seen: tuple[list[Effect], int] = ([], 0)
        self._running: list[str] = []  # names of functions, the outermost first
        self._modules: list[str] = []
        for module in MODULES:
            for name, found in list(vars(module).items()):
                if isinstance(found, FunctionType) and found.__module__.startswith(asking.__name__):
                    monkeypatch.setattr(module, name, self._reporting(found))

    def begin(self) -> None:
        """Another world, with the same names for other customers."""
        self._places.clear()

    def _reporting(self, function: FunctionType) -> Callable[..., Any]:
        module, name = function.__module__.rpartition(".")[2], function.__name__

        @wraps(function)
        def reporting(*args: Any, **kwargs: Any) -> Any:
            if not self._running:
                self._modules.clear()
            if module not in self._modules:
                self._modules.append(module)
            self._running.append(name)
            result = function(*args, **kwargs)
            self._running.pop()
            if isinstance(args[0], Turn):
                self._look(args[0])
            return result

        return reporting

    def _look(self, turn: Turn) -> None:
        """Note where everything of this customer is; within a transition, only that of which a decision was written."""
        within = any(name in WHOLE for name in self._running)
        effects, count = self._seen
        for effect in turn.effects[count if effects is turn.effects else 0 :]:
            if isinstance(effect, Decision):
                self._outcomes[effect.opportunity_id] = effect.outcome
        self._seen = (turn.effects, len(turn.effects))
        places: dict[str, Place] = {
            ask.opportunity.id: "closed" if ask.cancelled else "emitted"
            for ask in turn.customer.asks
            if ask.kind != "reason"
        }
        awaiting = turn.customer.awaiting
        for o in turn.customer.live:
            awaited = awaiting is not None and awaiting.opportunity_id == o.id
            places[o.id] = "awaiting" if awaited else "live" if o.denial is None else "refused"
        places.update((id_, "closed") for id_, outcome in self._outcomes.items() if outcome in CLOSING)
        for id_, place in places.items():
            if not within or id_ in self._outcomes:
                self._note(id_, place)

    def _note(self, id_: str, place: Place) -> None:
        before, outcome = self._places.get(id_, "new"), self._outcomes.pop(id_, None)
        self._places[id_] = place
        if before == place and outcome in {None, "pending", "deferred"}:
            return
        for module in self._modules:
            for row in LIFE:
                if (row.source, row.target, row.outcome, row.decided_in) == (before, place, outcome, module):
                    self.taken[row] += 1
                    return
        self.unknown[f"{before} → {place} ({outcome}) in {', '.join(self._modules)}"] += 1


@dataclass
class SlowRecording(Recording):
    """As :class:`Recording`, but the ledger answers at once, some seconds later, too late, or says that it cannot."""

    _late: list[tuple[int, str, Event]] = field(default_factory=list)

    def _wake(self, before: int | None) -> None:
        while self._late and (before is None or self._late[0][0] < before):
            at, _, answer = heapq.heappop(self._late)
            super()._wake(at + 1)
            self._append(at, answer)
        super()._wake(before)

    def _tell_ledger(self, effect: Effect, now: int) -> None:
        if not isinstance(effect, ReservationRequested):
            super()._tell_ledger(effect, now)
            return
        draw = hash64(effect.command_id, str(now)) % 10
        delay = {0: 1, 1: 29_999, 2: 30_001, 3: 2 * HOUR, 4: 6 * HOUR, 5: 11 * HOUR, 6: 13 * HOUR}.get(draw, 0)
        answer = self._caps.request(effect)
        if draw in {7, 8}:
            answer = ReservationUnavailable(command_id=effect.command_id)
        event = internal(answer, effect.customer_id, now + delay, effect.command_id)
        if delay:
            heapq.heappush(self._late, (now + delay, event.id, event))
        else:
            self._append(now, event)


def policy_of(seed: int, name: str) -> Policy:
    """The world's policy; for some seeds in shadow mode, asking the reason first, or with a ledger that may be slow."""
    changed: dict[str, Any] = {"ask_reason_first": seed % 3 == 1, "shadow": seed % 8 == 2}
    policy, _ = POLICIES[name]
    if seed % 2:
        hours = {"answer_seconds": 12 * 3_600, "retry_seconds": 4 * 3_600, "retry_limit_seconds": 12 * 3_600}
        changed["ledger"] = policy.ledger.model_copy(update=hours)
    return policy.model_copy(update=changed)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def run(seed: int, watch: Watch) -> None:
    made = world(seed)
    watch.begin()
    SlowRecording(policy_of(seed, made.policy)).run(arrivals(made.records))


@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_every_transition_is_a_row(first: int, watch: Watch) -> None:
    for seed in range(first, first + AT_ONCE):
        run(seed, watch)
    assert watch.taken
    assert not watch.unknown


def test_every_row_is_taken(watch: Watch) -> None:
    for seed in (*range(60), *RARE):
        run(seed, watch)
    assert not watch.unknown
    assert [row for row in LIFE if not watch.taken[row]] == []


def test_no_row_twice_and_each_is_decided_in_a_module_that_there_is() -> None:
    assert len({(row.source, row.target, row.outcome, row.decided_in) for row in LIFE}) == len(LIFE)
    assert {row.decided_in for row in LIFE} <= {module.__name__.rpartition(".")[2] for module in MODULES}


def test_a_transition_that_is_no_row_is_found(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = tuple(row for row in LIFE if row.outcome != "expired")
    monkeypatch.setattr("tests.properties.test_life.LIFE", fewer)
    for seed in range(10):
        run(seed, watch)
    assert set(watch.unknown) == {"live → closed (expired) in judging, recording"}
