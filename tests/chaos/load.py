"""The load: customers of every kind, told at a steady rate, each story phase by phase as the pipeline keeps up with it.

The kinds are those of the integration tests' script. A story is a closed loop: a phase is published when the one before
has arrived on `customer-events`, and what answers a decision ("after it has settled") only when the decision is seen.
So an outage makes a story longer, not different, and what should come of it can be told from its facts alone.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import Final, TypeAlias

import orjson
from confluent_kafka import KafkaError, Producer

from referral_stream.core.ids import derived_id
from referral_stream.core.instants import SECOND
from tests.chaos import afterwards
from tests.chaos.identities import CASTS
from tests.chaos.poison import Poured
from tests.chaos.watch import Watch
from tests.integration.live import Message, Partitioner, Pipeline, cloud_event
from tests.integration.scripted import (
    CRC32,
    CUSTOMERS,
    JAVA,
    SETTLED,
    Line,
    Phase,
    Story,
    contact_of_an_account,
    present_in_the_app,
    same_person_twice,
)

_PATIENCE_SECONDS: Final = 10.0
"""After which a customer who is present in the app, and was not asked, does something there again."""
_UNFINISHED_SECONDS: Final = 30.0
"""No story begins while as many as begin in so long are unfinished: a slow machine is given less load."""
_JUNK_EVERY: Final = 25
_REWARD_SECONDS: Final = 60.0
"""After which a reward of which nothing was said is not waited for: what ends it then ends it sooner."""
PAUSED_TRIGGER: Final = "peer_mentioned"
"""Its customers have one opportunity each: a pause makes them wait or takes a command back, and that is all."""
_PAUSE_SECONDS: Final = 10.0
_BETWEEN_PAUSES_SECONDS: Final = 35.0

Kind: TypeAlias = Callable[[Story], None]
Condition: TypeAlias = Callable[[], bool]


def _account(s: Story) -> str:
    """Of its group, whose customers' names begin alike."""
    return s.customer.partition("/")[0]


def asked_for_the_account(s: Story) -> None:
    s.is_known(strong=True, account_id=_account(s))
    s.nps(10)


def told_of_a_failed_delivery(s: Story) -> None:
    s.is_known(strong=True, account_id=_account(s))
    s.nps(10)
    command = s.command_id("nps_promoter", f"{s.customer}/r1")
    s.tell(Phase.REPORTS, "ask.acknowledged", command_id=command, status="failed")


def colleague(s: Story) -> None:
    """Its turn comes when the first contact has been asked, or asked in vain."""
    s.is_known(account_id=_account(s))
    s.nps(9, phase=Phase.LATE)


def erased_after_the_ask(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(10)
    s.tell(Phase.LATE, "customer.erasure_requested")
    s.tell(Phase.LATE, "usage.recorded")


_GROUPS: Final[dict[tuple[Kind, ...], int]] = {
    **CASTS,
    **afterwards.CASTS,
    **{(kind,): count for kind, count in CUSTOMERS.items() if kind not in {contact_of_an_account, same_person_twice}},
    (erased_after_the_ask,): 20,
    (asked_for_the_account, colleague): 15,
    (told_of_a_failed_delivery, colleague): 15,
    (same_person_twice, same_person_twice): 15,
}
"""Casts whose members depend on each other, and their shares."""


def new_group(rng: random.Random, numbers: Counter[str]) -> list[Story]:
    """The stories of one cast, drawn by its share; ``numbers`` counts the names that are taken."""
    kinds = rng.choices(list(_GROUPS), weights=list(_GROUPS.values()))[0]
    first = kinds[0].__name__
    alike = len(set(kinds)) == 1  # then they are told apart by their numbers
    number = numbers[first]
    numbers[first] += len(kinds) if alike else 1
    stories = [
        Story(kind, number + place) if alike else Story(kind, number, name=f"{first}-{number}/{kind.__name__}")
        for place, kind in enumerate(kinds)
    ]
    for story in stories:
        story.kind(story)
    return stories


class Load:
    """Begins `per_second` stories, each of one customer or a few, while the pipeline keeps up.

    One thread calls `tick` all the time, then `close`; another may `pour` things in between.

    Attributes: `sent` the ids of all events, `acknowledged` those the broker has confirmed, `refused` why the producer
    gave records up (empty, or the run proves nothing), `junk` key and value of confirmed records that nobody
    can use, `groups` the customers, together with those whose caps they share.
    """

    def __init__(self, pipeline: Pipeline, watch: Watch, rng: random.Random, per_second: float) -> None:
        self.pipeline = pipeline
        self._watch, self._rng, self._per_second = watch, rng, per_second
        self._producers: dict[Partitioner, Producer] = {kind: self._producer(kind) for kind in (JAVA, CRC32)}
        self._numbers: Counter[str] = Counter()
        self._poured: SimpleQueue[list[Poured]] = SimpleQueue()
        self._times_poured = 0
        self._next = time.monotonic()
        self._told: dict[int, tuple[Iterator[Condition], Condition]] = {}
        self._switches = self._throw_switches()
        self._until_switch: Condition = _always
        self.is_paused = False
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self.junk: set[tuple[bytes | None, bytes | None]] = set()
        self.groups: list[tuple[str, ...]] = []

    def tick(self, *, more: bool = True) -> None:
        """Tell on. New stories and new pauses begin only if there shall be `more`."""
        while more and time.monotonic() >= self._next:
            self._next += 1 / self._per_second
            if len(self._told) < _UNFINISHED_SECONDS * self._per_second:
                self._begin()
        for number, (story, condition) in list(self._told.items()):
            if condition():
                self._go_on(number, story)
        while not self._poured.empty():
            for each in self._poured.get():
                self._publish(each.id, each.message, junk=each.letter)
        if (more or self.is_paused) and self._until_switch():
            self._until_switch = next(self._switches)
        for producer in self._producers.values():
            producer.poll(0)

    def pour(self, make: Callable[[int, int], list[Poured]]) -> int:
        """Publish with the next `tick` what ``make`` makes of a new number and the clock; how many records."""
        self._times_poured += 1
        poured = make(self._times_poured, self.pipeline.now())
        self._poured.put(poured)
        return len(poured)

    @property
    def unfinished(self) -> list[str]:
        """The customers whose stories still wait for something."""
        return [customer for number in self._told for customer in self.groups[number]]

    @property
    def is_over(self) -> bool:
        """Everything was told and confirmed, and no switch is left thrown."""
        return not self._told and not self.is_paused and self.sent == self.acknowledged

    def close(self) -> None:
        """Give the producers time for what is still on its way."""
        for producer in self._producers.values():
            producer.flush(30)

    def _begin(self) -> None:
        stories = new_group(self._rng, self._numbers)
        self.groups.append(tuple(story.customer for story in stories))
        self._go_on(len(self.groups) - 1, self._tell(stories))
        if len(self.groups) % _JUNK_EVERY == 0:
            self._publish("", Message("support", b'{"unreadable": %d' % len(self.groups)), junk=True)

    def _go_on(self, number: int, story: Iterator[Condition]) -> None:
        condition = next(story, None)
        if condition is None:
            self._told.pop(number, None)
        else:
            self._told[number] = story, condition

    def _tell(self, stories: list[Story]) -> Iterator[Condition]:
        """Publishes phase by phase; each condition must hold before the story goes on."""
        for phase in Phase:
            lines = [line for story in stories for line in story.phases[phase]]
            if phase is Phase.UNDONE and lines:
                yield self._rewarded([line for story in stories for line in story.phases[Phase.OUTCOME]])
            if lines and phase in {Phase.REPORTS, Phase.LATE}:
                yield self._all_decided([story.customer for story in stories if story.phases[Phase.TRIGGERS]])
            if phase is Phase.REPORTS:  # nobody reports on a command that was held out
                lines = [line for line in lines if line.customer in self._watch.commanded]
            if lines:
                yield self._publish_all(lines)
            if phase is Phase.BACKGROUND and (whole := self._is_with_them(lines, {s.customer for s in stories})):
                yield whole
            if failed := {line.data["command_id"] for line in lines if line.data.get("status") == "failed"}:
                yield partial(failed.issubset, self._watch.released)
        for story in stories:
            if story.kind is present_in_the_app:
                yield from self._stay_in_the_app(story)

    def _is_with_them(self, lines: list[Line], customers: set[str]) -> Condition | None:
        """Whether what was said under other ids, by an address or an object has come to those who are meant."""
        others = [line.data["alias"] for line in lines if line.kind == "customer.aliased"]
        by_link = [line.id for line in lines if line.link]
        if not others and not by_link:
            return None
        return lambda: (
            all(map(self._watch.is_one_person, others))
            and all(self._watch.passed_on[said] >= customers for said in by_link)
        )

    def _stay_in_the_app(self, story: Story) -> Iterator[Condition]:
        """A moment that came while the ledger was away is lost; the next one is not."""
        while story.customer not in self._watch.asked:
            yield partial(self._asked_or_past, story.customer, time.monotonic() + _PATIENCE_SECONDS)
            if story.customer not in self._watch.asked:
                story.tell(Phase.LATE, "workflow.completed", name="export")
                yield self._publish_all(story.phases[Phase.LATE][-1:])

    def _asked_or_past(self, customer: str, instant: float) -> bool:
        return customer in self._watch.asked or time.monotonic() >= instant

    def _all_decided(self, customers: list[str]) -> Condition:
        settled = time.monotonic() + SETTLED / SECOND + 1
        return lambda: time.monotonic() >= settled and all(map(self._watch.is_settled, customers))

    def _rewarded(self, lines: list[Line]) -> Condition:
        """Whether something was said of every reward; one of a customer on hold is not waited for forever."""
        converted = [line for line in lines if line.data.get("status") == "converted"]
        grants = {derived_id("grant", line.customer, line.data["referral_id"]) for line in converted}
        until = time.monotonic() + _REWARD_SECONDS
        return lambda: grants <= self._watch.rewarded or time.monotonic() >= until

    def _publish_all(self, lines: Iterable[Line]) -> Condition:
        """Publish them; whether they have arrived."""
        now, ids = self.pipeline.now(), {line.id for line in lines}
        for line in lines:
            self._publish(line.id, line.message(now))
        return partial(ids.issubset, self._watch.facts)

    def _throw_switches(self) -> Iterator[Condition]:
        """A trigger is paused now and then."""
        for number in count():
            yield _not_before(time.monotonic() + _BETWEEN_PAUSES_SECONDS)
            self.is_paused = True
            yield self._switch("paused", number)
            yield _not_before(time.monotonic() + _PAUSE_SECONDS)
            yield self._switch("resumed", number)
            self.is_paused = False

    def _switch(self, kind: str, number: int) -> Condition:
        body = {"scope": "trigger", "name": PAUSED_TRIGGER, "by": "the soak", "why": "to see"}
        event = cloud_event(f"control.{kind}", None, self.pipeline.now(), body, id=f"{kind}-{number}")
        self._publish(event["id"], Message("responses", orjson.dumps(event), b"switches"))
        return partial({event["id"]}.issubset, self._watch.facts)

    def _publish(self, id: str, message: Message, *, junk: bool = False) -> None:
        """``id`` is empty where nobody can read one; ``junk`` must become a dead letter."""
        if id:
            self.sent.add(id)
        producer = self._producers[message.partitioner]
        while True:
            try:
                producer.produce(
                    self.pipeline.topic(message.topic),
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=partial(self._delivered, id, (message.key, message.value) if junk else None),
                )
                return
            except BufferError:
                producer.poll(0.2)

    def _delivered(
        self, id: str, junk: tuple[bytes | None, bytes | None] | None, error: KafkaError | None, _: object
    ) -> None:
        if error is not None:
            self.refused.append(f"{id}: {error}")
        elif junk is not None:
            self.junk.add(junk)
        elif id:
            self.acknowledged.add(id)

    def _producer(self, partitioner: Partitioner) -> Producer:
        return Producer(
            {
                **self.pipeline.kafka.client_settings(),
                "partitioner": partitioner,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 300_000,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 5_000,  # partitions may be added
            }
        )


def _always() -> bool:
    return True


def _not_before(instant: float) -> Condition:
    return lambda: time.monotonic() >= instant
