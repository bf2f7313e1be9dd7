"""The comparison of two policies as a reader of after §9 would make it: the whole log at once, ask by ask."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from referral_stream.backtest.run import CountingLedger
from referral_stream.core.effects import AskRequested, Decision, RecordChanged
from referral_stream.core.policy import Policy
from referral_stream.replay.reading import Counts, FactLog, open_log
from referral_stream.replay.virtual_run import FactReplay
from tests.replay.logs import BOUNDARY
from tests.worlds.records import Record


class NaiveAsk(NamedTuple):
    at: int
    mode: str
    template: str
    channel: str


class Naive(NamedTuple):
    """``kinds``: by opportunity, of those asked under one of them; ``regrets``: opportunities, under A and under B."""

    kinds: dict[str, str]
    regrets: tuple[set[str], set[str]]
    moments: set[str]


def compared(log: Path, a: Policy, b: Policy) -> Naive:
    (of_a, regrets_a, moments_a), (of_b, regrets_b, moments_b) = _asks(log, a), _asks(log, b)
    kinds = {}
    for name in of_a.keys() | of_b.keys():
        if name not in of_a:
            kinds[name] = "gained"
        elif name not in of_b:
            kinds[name] = "lost"
        else:
            kinds[name] = "same" if of_a[name] == of_b[name] else "moved"
    return Naive(kinds, (regrets_a, regrets_b), moments_a | moments_b)


def _asks(log: Path, policy: Policy) -> tuple[dict[str, NaiveAsk], set[str], set[str]]:
    asks: dict[str, NaiveAsk] = {}
    commands: dict[str, str] = {}
    regrets: set[str] = set()
    moments: set[str] = set()
    replay = FactReplay(policy, caps=CountingLedger(policy))
    with open_log(log, BOUNDARY, Counts(), lambda *_: None, facts_only=True) as opened:
        assert isinstance(opened, FactLog)
        for items in replay.run(opened.arrivals):
            for _, effect in items:
                match effect:
                    case AskRequested():
                        asks[effect.opportunity_id] = NaiveAsk(
                            effect.not_before, effect.mode, effect.template, effect.channels[0]
                        )
                        commands[effect.command_id] = effect.opportunity_id
                    case Decision() if effect.outcome not in ("historical", "duplicate"):
                        moments.add(effect.opportunity_id)
                    case RecordChanged():
                        regrets.update(ask.command_id for ask in effect.asks if ask.regret)
                    case _:
                        pass
    return asks, {commands[each] for each in regrets if each in commands}, moments


def written(file: Path, records: list[Record]) -> Path:
    file.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return file


def tally(values: Any) -> dict[str, int]:
    return dict(Counter(values))
