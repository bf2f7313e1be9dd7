"""The generations of the ledger, as the log has them: which is the newest, where it begins, what it is built from.

Two Redis servers may both think that they are the ledger: after a failover, a worker may still be connected to the old
one. So the log decides (decision 21). Every rebuild announces itself on ``ledger-generations``: the offset gives its
number. Then it writes ``ledger.renewed`` into every partition of ``ledger-requests`` and reads each up to there: behind
that record no grant of an older generation holds, so whatever an older one has granted is in what was read.

``ledger-requests`` lapses, and a pause does not: the newest word on each switch is kept on ``ledger-generations``, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust_batches import Output

from referral_stream.contracts.codec import decode_request, effect_key, encode_effect, encode_event, event_headers
from referral_stream.contracts.records import NOW_HEADER, RawRecord
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import GrantHeld, LedgerRenewed, ReservationHeld
from referral_stream.core.events import ControlPaused, Event
from referral_stream.core.ledger.caps import LedgerOperation, Thrown
from referral_stream.core.ledger.switches import Switch
from referral_stream.core.policy import Policy
from referral_stream.ledger.client import LedgerLogCut, LedgerUnavailable
from referral_stream.runtime.clients import started
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.ledger_head import LOST_HEAD_REMEDY, lost_head
from referral_stream.runtime.topic_log import STALL_SECONDS, TopicReader, UnreadableTopic, cluster_id

logger = logging.getLogger(__name__)

_ANNOUNCED_ON: Final = 0
"""The one partition of ``ledger-generations`` that is used: only there offsets give an order."""
_NUMBERS_APART: Final = 10_000
"""How far a mark may lie above the newest generation that is known: more rebuilds than there will ever be.

Numbers of before stand in the log where ``ledger-generations`` was made anew, so a mark may name a number that is not
announced yet. No rebuild has one far above: believed, it would let no ledger answer any more.
"""


class NewerGeneration(Exception):
    """Somebody else has begun to build a newer ledger: this rebuild is of no use any more."""

    def __init__(self, number: int) -> None:
        super().__init__(f"generation {number} of the ledger has been announced")
        self.number = number


@dataclass(frozen=True, slots=True)
class Begun:
    """A generation that is to be built: its number, and up to where each partition of the log has to be read."""

    number: int
    ends: dict[int, int]


class Words:
    """The newest word on every switch."""

    def __init__(self) -> None:
        self.newest: dict[Switch, Event] = {}

    def hear(self, word: Event) -> None:
        """The later one counts; of two at one instant the pause."""
        known = self.newest.get(which := _switch(word))
        if known is None or _weight(word) > _weight(known):
            self.newest[which] = word

    def unknown_to(self, kept: Words) -> list[Event]:
        """What is newer than what is kept. Nobody needs to be told of the end of a pause that is not kept."""
        return [
            word
            for which, word in self.newest.items()
            if (
                _weight(word) > _weight(kept.newest[which])
                if which in kept.newest
                else isinstance(word.data, ControlPaused)
            )
        ]


class _Announced:
    """What ``ledger-generations`` says: the newest generation, and the words on switches."""

    def __init__(self) -> None:
        self.newest, self.switches = 0, Words()

    def take(self, record: RawRecord) -> None:
        try:
            message = decode_request(record.value or b"")
        except Exception:  # noqa: BLE001 (as in a history)
            logger.warning("unreadable_request", extra={"partition": record.partition, "offset": record.offset})
            return
        if isinstance(message, Event):
            self.switches.hear(message)
        elif isinstance(message, LedgerRenewed) and record.partition == _ANNOUNCED_ON:
            self.newest = max(self.newest, _number(record.offset))


class Generations:
    """See the module's docstring. ``client`` are aiokafka's connection settings; ``policy`` says how long what counts.

    What it does raises KafkaError, by which the lane knows whether to try again, and UnreadableTopic for a topic that
    does not exist.
    """

    def __init__(self, client: dict[str, Any], topics: Topics, clock: Clock, policy: Policy) -> None:
        self._client, self._topics, self._clock, self._policy = client, topics, clock, policy

    async def cluster(self) -> str:
        """The id of the cluster that has this log. Raises KafkaError."""
        return await cluster_id(self._client)

    async def newest(self) -> int:
        """The number of the newest generation that was announced; 0: none was."""
        found = await self._announced()
        return found.newest

    async def _announced(self) -> _Announced:
        found = _Announced()
        try:
            async with TopicReader(self._client, self._topics.ledger_generations) as reader:
                async for records in reader.present():
                    for record in records:
                        found.take(record)
        except UnreadableTopic as error:
            raise _as_kafka_error(error) from None
        return found

    async def begin(self, least: int) -> Begun:
        """Announce a generation above ``least`` and mark where it begins in every partition of the log.

        Raises LedgerLogCut, with nothing written, where the log lacks its head: its marks would look like one.
        """
        try:
            lost = await lost_head(self._client, self._topics, self._policy, self._clock.now())
        except UnreadableTopic as error:
            raise _as_kafka_error(error) from None
        if lost is not None:
            raise LedgerLogCut(f"{lost}; {LOST_HEAD_REMEDY}")
        producer = AIOKafkaProducer(**self._client, acks="all", enable_idempotence=True)
        try:
            async with asyncio.timeout(STALL_SECONDS), started(producer):
                return await self._begin(producer, least)
        except TimeoutError:
            raise KafkaTimeoutError("the ledger's generation could not be announced in time") from None

    async def _begin(self, producer: AIOKafkaProducer, least: int) -> Begun:
        topics = self._topics
        number = await self._announce(producer, least, 1)
        if (missing := least + 1 - number) > 0:  # the topic was made anew: its offsets begin again
            if missing > _NUMBERS_APART:
                raise LedgerUnavailable(
                    f"ledger {least} is known, and {topics.ledger_generations} ends at {number}: find out who else "
                    "writes ledger.renewed"
                )
            number = await self._announce(producer, least, missing)
        renewed = LedgerRenewed(generation=number, now=self._clock.now())
        mark = encode_effect(renewed, renewed.now)
        partitions = sorted(await producer.partitions_for(topics.ledger_requests))
        headers = _stamped(renewed)
        sent = [
            await producer.send(topics.ledger_requests, mark, partition=each, headers=headers) for each in partitions
        ]
        return Begun(number, {found.partition: found.offset + 1 for found in await asyncio.gather(*sent)})

    async def _announce(self, producer: AIOKafkaProducer, least: int, times: int) -> int:
        """Announce a generation above ``least`` so many times; the number of the last."""
        renewed = LedgerRenewed(generation=least, now=self._clock.now())
        value, key, headers = encode_effect(renewed, renewed.now), effect_key(renewed), _stamped(renewed)
        sent = [
            await producer.send(
                self._topics.ledger_generations, value, key=key, partition=_ANNOUNCED_ON, headers=headers
            )
            for _ in range(times)
        ]
        return max(_number(each.offset) for each in await asyncio.gather(*sent))

    async def history(self, begun: Begun) -> AsyncIterator[LedgerOperation]:
        """What the generation is built from: all partitions up to its marks, merged by instant.

        Raises NewerGeneration where the log has a newer one.
        """
        counted = counting(begun.number)

        def read(record: RawRecord) -> tuple[int, tuple[int, LedgerOperation]] | None:
            try:
                operation = decode_request(record.value or b"")
            except Exception:  # noqa: BLE001 (as in the agent: none of it was applied then, either)
                logger.warning("unreadable_request", extra={"partition": record.partition, "offset": record.offset})
                return None
            if not counted(record.partition, operation):
                return None
            instant = operation.time if isinstance(operation, Event) else operation.now
            return instant, (instant, operation)

        kept, found = (await self._announced()).switches, Words()
        before = deque(sorted(kept.newest.values(), key=lambda each: each.time))
        try:
            async with TopicReader(self._client, self._topics.ledger_requests) as reader:
                async for instant, operation in reader.present_by_instant(read, begun.ends):
                    while before and before[0].time <= instant:
                        yield before.popleft()
                    if isinstance(operation, Event):
                        found.hear(operation)
                    yield operation
        except UnreadableTopic as error:
            raise _as_kafka_error(error) from None
        for switch in before:
            yield switch
        await self._keep(found.unknown_to(kept))

    async def _keep(self, switches: Sequence[Event]) -> None:
        """Append what nobody has kept yet: of before this was done, or of an older version that was at work."""
        if not switches:
            return
        producer = AIOKafkaProducer(**self._client, acks="all", enable_idempotence=True)
        try:
            async with asyncio.timeout(STALL_SECONDS), started(producer):
                for each in kept_switches(self._topics, switches, self._clock.now()):
                    await producer.send_and_wait(each.topic, each.value, key=each.key, headers=list(each.headers))
        except TimeoutError:
            raise KafkaTimeoutError("the ledger's switches could not be kept in time") from None


def counting(number: int) -> Callable[[int, LedgerOperation], bool]:
    """Whether a record of the log counts for the ledger of this number, told of all of a partition's in their order.

    It raises NewerGeneration at the mark of a newer one. A mark that was not believed when it was read is none here,
    either: it made no grant void.
    """
    newest: defaultdict[int, int] = defaultdict(int)

    def counted(partition: int, operation: LedgerOperation) -> bool:
        if isinstance(operation, LedgerRenewed):
            if not is_believable(operation.generation, newest[partition] or number):
                logger.warning("mark_not_believed", extra={"partition": partition, "generation": operation.generation})
                return False
            if operation.generation > number:
                raise NewerGeneration(operation.generation)
            newest[partition] = max(newest[partition], operation.generation)
            return False
        # A void grant was told to nobody.
        return not isinstance(operation, ReservationHeld | GrantHeld) or operation.generation >= newest[partition]

    return counted


def kept_switches(topics: Topics, switches: Iterable[Event], now: int) -> list[Output]:
    """What keeps these words on switches for as long as they count, by the switch."""
    return [
        Output(topics.ledger_generations, encode_event(each), str(_switch(each)).encode(), event_headers(each, now))
        for each in switches
    ]


def _switch(word: Event) -> Switch:
    thrown = cast("Thrown", word.data)
    return Switch(thrown.scope, thrown.name or "")


def _weight(word: Event) -> tuple[int, bool]:
    return word.time, isinstance(word.data, ControlPaused)


def is_believable(generation: int, newest: int) -> bool:
    """Whether a mark of that number may be of a rebuild, where ``newest`` is the newest that is known."""
    return generation <= newest + _NUMBERS_APART


def _stamped(renewed: LedgerRenewed) -> list[tuple[str, bytes]]:
    return [(NOW_HEADER, b"%d" % renewed.now)]


def _number(offset: int) -> int:
    return offset + 1


def _as_kafka_error(error: UnreadableTopic) -> Exception:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        cause = KafkaTimeoutError(str(error))
    return cause if isinstance(cause, KafkaError) else error
