"""Random worlds in which some of the people turn out to be one."""

from __future__ import annotations

from functools import cache
from random import Random

from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import Arrival
from tests.properties.comparing import arrivals
from tests.worlds.days import world
from tests.worlds.policies import POLICIES


def alias(into: str, other: str, now: int) -> Event:
    data = ev.Aliased(alias=other)
    return Event(id=f"{into} is {other}", source="t", type=data.type, subject=into, time=now, data=data)


@cache
def merged(seed: int) -> tuple[Policy, tuple[Arrival, ...]]:
    """The world of this seed with one to three aliases in it, and its policy."""
    random, made = Random(seed), world(seed)
    told = list(arrivals(made.records))
    people = sorted({arrival.event.subject for arrival in told if arrival.event.subject})
    for _ in range(random.randrange(1, 4)):
        if len(people) > 1:
            place = random.randrange(len(told) // 3, len(told))
            now = told[place].now
            into, other = random.sample(people, 2)
            told.insert(place, Arrival(now, alias(into, other, now)))
    return POLICIES[made.policy][0], tuple(told)
