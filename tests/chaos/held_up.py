"""A soak without servers: the load's groups in virtual time, while outages hold the pipeline up.

The core is the real one, and so is what it writes; of brokers, workers and their faults only the delays are there. What
comes of it is sound, and full of what the judge must excuse: with it the judge itself is tested, in seconds.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import replace

from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import (
    decode_event,
    effect_key,
    encode_effect,
    encode_event,
    event_headers,
    event_key,
)
from referral_stream.contracts.records import Headers, RawRecord
from referral_stream.contracts.state import encode_state, encode_wakeup
from referral_stream.core.effects import AskCancelled, AskRequested, Decision, Effect, ReservationRequested
from referral_stream.core.events import ReservationUnavailable
from referral_stream.core.instants import SECOND
from referral_stream.core.keys import customer_key, link_key
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import Arrival
from tests.audit.topics import without_names
from tests.chaos.load import new_group
from tests.chaos.verdict import SoakRecords
from tests.integration.live import TUESDAY, Said
from tests.integration.scripted import SETTLED, Phase, Story, present_in_the_app
from tests.properties.recording import Recording, internal

_SPREAD: Final = 5 * SECOND
"""Between the beginnings of two groups, at most."""
_DECIDED: Final = SETTLED + 180 * SECOND
"""After the triggers of a group that waits for an answer: no outage and no retry of the ledger is as long."""


class Outage(NamedTuple):
    """From ``begin`` to before ``end`` (epoch ms): no wake-up comes; no fact either, if it strikes ``all`` of it.

    Of the ledger: it does not answer, or says that it cannot.
    """

    begin: int
    end: int
    all: bool


@dataclass
class HeldUp(Recording):
    """As :class:`Recording`, with outages, and with times in which no ledger answers; both in order of time."""

    outages: Sequence[Outage] = ()
    silences: Sequence[Outage] = ()

    def fires(self, due: int) -> int:
        return next((each.end for each in self.outages if each.begin <= due < each.end), due)

    def _tell_ledger(self, effect: Effect, now: int) -> None:
        silent = next((each for each in self.silences if each.begin <= now < each.end), None)
        if not isinstance(effect, ReservationRequested) or silent is None:
            super()._tell_ledger(effect, now)
        elif silent.all:  # the ledger is there, and cannot use its Redis
            answer = ReservationUnavailable(command_id=effect.command_id)
            self._append(now, internal(answer, effect.customer_id, now, effect.command_id))


def held_up(policy: Policy, seed: int, groups: int) -> SoakRecords:
    """What so many groups leave behind; the same for the same seed."""
    rng, numbers = random.Random(seed), Counter[str]()
    told = [new_group(rng, numbers) for _ in range(groups)]
    begins = [TUESDAY + rng.randrange(groups * _SPREAD) for _ in told]
    end = TUESDAY + groups * _SPREAD
    run = HeldUp(policy, outages=list(_outages(rng, end)), silences=list(_outages(rng, end)))
    arrivals = [each for stories, at in zip(told, begins, strict=True) for each in _arrivals(rng, run, stories, at)]
    run.run(sorted(arrivals, key=lambda each: each.now))
    return _records(run, [tuple(story.customer for story in stories) for stories in told])


def _outages(rng: random.Random, end: int) -> Iterator[Outage]:
    at = TUESDAY
    while at < end:
        begin = at + rng.randrange(30 * SECOND)
        at = begin + rng.randrange(30 * SECOND)
        yield Outage(begin, at, rng.random() < 0.5)


def _arrivals(rng: random.Random, run: HeldUp, stories: list[Story], begin: int) -> Iterator[Arrival]:
    """Phase by phase; a single customer's last facts may come while an ask is held up, which is what is to be seen."""
    triggers = begin + SECOND
    waits = len(stories) > 1 or any(story.phases[Phase.REPORTS] for story in stories)
    decided = triggers + (_DECIDED if waits else SETTLED + rng.randrange(-3, 20) * SECOND)
    published = {
        Phase.BACKGROUND: begin,
        Phase.TRIGGERS: triggers,
        Phase.AT_ONCE: triggers + rng.randrange(1, SETTLED),
        Phase.REPORTS: decided,
        Phase.LATE: decided + _DECIDED if waits else decided,
        Phase.OUTCOME: decided + 2 * _DECIDED,
        Phase.UNDONE: decided + 3 * _DECIDED,
    }
    stopped = [each for each in run.outages if each.all]
    before = 0
    told = [(at, [line for story in stories for line in story.phases[phase]]) for phase, at in published.items()]
    for story in stories:
        if story.kind is present_in_the_app:  # a moment that came while the ledger was away is lost; another comes
            story.tell(Phase.LATE, "workflow.completed", name="export")
            told.append((run.silences[-1].end + _DECIDED, story.phases[Phase.LATE][-1:]))
    for at, lines in told:
        arrived = next((each.end for each in stopped if each.begin <= at < each.end), at)
        for line in lines:
            before = max(before + 1, arrived)  # one by one, as they are written
            event = decode_event(dataclasses.replace(line, binary=False).message(at).value or b"")
            yield Arrival(before, replace(without_names(event), historical=line.historical))


def _records(run: HeldUp, groups: list[tuple[str, ...]]) -> SoakRecords:
    events, marks = [], {}
    for offset, (now, event, at) in enumerate(run.log):
        key = event_key(event) if at is None else at.key or b""
        events.append(_record("customer-events", offset, now, key, encode_event(event), event_headers(event, now)))
        marks[key.decode()] = offset + 1
    asks, decisions = list[Said](), list[Said]()
    by_topic: dict[str, list[RawRecord]] = defaultdict(list)
    for offset, (now, effect) in enumerate(run.happened):
        value = encode_effect(effect, now)
        record = _record("", offset, now, effect_key(effect), value, (("now", b"%d" % now),))
        match effect:
            case AskRequested() | AskCancelled():
                asks.append(Said(record, now, effect))
            case Decision():
                decisions.append(Said(record, now, effect))
            case _:
                message = EFFECT_MESSAGES[type(effect)]
                value_or_none = replace(record, value=None) if message.tombstone else record
                by_topic[message.topic].append(value_or_none)
    states = {customer_key(name): state for name, state in run.customers.items()}
    entities = states | {link_key(link): state for link, state in run.links.items()}
    woken = {key: state.wake_at for key, state in entities.items()}
    return SoakRecords(
        until=max(arrival.now for arrival in run.log),
        groups=groups,
        acknowledged=set(),
        junk=set(),
        events=events,
        requests=by_topic["ledger-requests"],
        asks=asks,
        uncommitted=[each.record for each in asks],
        decisions=decisions,
        letters=[],
        followups=by_topic["referral-followups"],
        rewards=by_topic["referral-rewards"],
        kept=by_topic["referral-records"],
        customers={key.encode(): encode_state(state, marks[key]) for key, state in entities.items()},
        wakeups={key.encode(): encode_wakeup(due, marks[key]) for key, due in woken.items() if due is not None},
    )


def _record(topic: str, offset: int, now: int, key: bytes, value: bytes, headers: Headers) -> RawRecord:
    return RawRecord(topic=topic, partition=0, offset=offset, timestamp=now, key=key, value=value, headers=headers)
