"""One customer of the running system, explained from the topics: what is read, and in which order.

1. The changelog of states, the customer's partition alone: the customer, under whichever of their ids they go on.
2. All of it, where they have an account or an address: who shares caps with them.
3. ``ledger-requests``: what counts for these customers, and the switches.
4. The customer's partitions of ``customer-events`` and of what the workers write, as far back as the story is to go.

States come first, so what is read after them is there up to what they have seen; what is newer is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from faust_batches import partition_of

from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import Stored
from referral_stream.contracts.topics import changelogs
from referral_stream.core.customer import Customer, word
from referral_stream.core.instants import DAY
from referral_stream.core.keys import customer_key
from referral_stream.explain.explaining import Explanation, explain
from referral_stream.explain.of_topics import LedgerOf, RecordsOf, States, background_of, is_held
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import TopicReader
from referral_stream.words.phrases import FIRST, speaking

Progress = Callable[[int], None]
"""Is called with how many records have been read so far."""

STORY_DAYS: Final = 100
"""How far back the story goes by default: longer than an ask counts."""


class NotKnown(Exception):
    """Nothing is known about the customer; the message says so, in the language asked for."""


async def explain_live(
    deployment: Deployment,
    customer: str,
    *,
    language: str = FIRST,
    since: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain a customer as of now, under this deployment's policy. Raises NotKnown and UnreadableTopic.

    ``since``: from when on the story is told (epoch ms; default: 100 days ago); what counts now does not depend on it.
    """
    return await _Topics(deployment, progress or (lambda _: None)).explained(customer, language, since)


class _Topics:
    def __init__(self, deployment: Deployment, progress: Progress) -> None:
        self.deployment, self.progress = deployment, progress
        self.client = deployment.client()
        self.states_topic, self.wakeups_topic = changelogs(deployment.group("decide"))
        self.read = 0

    async def explained(self, customer: str, language: str, since: int | None) -> Explanation:
        deployment, topics, policy = self.deployment, self.deployment.topics, self.deployment.policy
        states, name = await self.states_of(customer)
        me = _state(states, name, customer, language).entity
        ids = frozenset({customer, name, *me.ids})
        if me.account_id is not None or word(me.email_hmac) is not None:
            states = States({*ids}, like=me)
            await self.each(self.states_topic, states.see)
        else:
            states.of |= ids
            await self.each(self.states_topic, states.see, ids)
        newest = _state(states, name, customer, language)  # it may have gone meanwhile
        wakeups: list[RawRecord] = []
        await self.each(self.wakeups_topic, wakeups.append, {name})
        ledger = await self.ledger_of(states)
        said, now = RecordsOf(ids), max(deployment.clock.now(), newest.entity.now)
        begin = now - STORY_DAYS * DAY if since is None else since
        begins = begin if deployment.clock.is_real else None  # a demo's clock is not the broker's
        await self.each(topics.customer_events, said.see_event, ids, since=begins)
        for topic in (
            topics.referral_decisions, topics.referral_asks, topics.referral_followups, topics.referral_rewards,
        ):  # fmt: skip
            await self.each(topic, said.see_effect, keys=[each.encode() for each in ids], since=begins)
        await self.each(topics.dead_letters, said.see_letter, since=begins)
        known = background_of(name, states, said, ledger.ledger, policy, held=is_held(wakeups, name))
        return explain(known, policy, now, language)

    async def states_of(self, customer: str) -> tuple[States, str]:
        """The customer's state, and the id under which they go on."""
        states, name = States({customer}), customer
        passed: set[str] = set()
        while name not in passed:
            passed.add(name)
            states.of.add(name)
            await self.each(self.states_topic, states.see, {name})
            found = states.get(name)
            if found is not None and found.entity.merged_into is not None and found.entity.erased_at is None:
                name = found.entity.merged_into
        return states, name

    async def ledger_of(self, states: States) -> LedgerOf:
        ledger = LedgerOf(self.deployment.policy, states.customers())
        async with TopicReader(self.client, self.deployment.topics.ledger_requests) as reader:
            async for operation in reader.present_by_instant(ledger.read):
                ledger.apply(operation)
                self.advance(1)
        return ledger

    async def each(
        self,
        topic: str,
        see: Callable[[RawRecord], None],
        ids: Collection[str] | None = None,
        *,
        keys: Collection[bytes] | None = None,
        since: int | None = None,
    ) -> None:
        """Every record of a topic, or of the partitions of these keys, or of these customers' keys."""
        wanted = keys if ids is None else [customer_key(each).encode() for each in ids]
        only = None if wanted is None else (lambda count: {partition_of(key, count) for key in wanted})
        async with TopicReader(self.client, topic, only=only, since=since) as reader:
            async for records in reader.present():
                for record in records:
                    see(record)
                self.advance(len(records))

    def advance(self, records: int) -> None:
        self.read += records
        self.progress(self.read)


def _state(states: States, name: str, customer: str, language: str) -> Stored[Customer]:
    """The state of ``name``, to whom ``customer`` belongs. Raises NotKnown."""
    found = states.get(name)
    if found is None:
        with speaking(language) as words:
            if customer_key(name) in states.unreadable:
                raise NotKnown(words.say("left_out", "unreadable", customer=customer))
            raise NotKnown(words.say("left_out", "unheard", customer=customer))
    return found
