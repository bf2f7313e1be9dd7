"""The topic ``customer-aliases``: who is known under which other ids, shared by all ingest workers.

Compacted, one record per alias: key = the alias, value = the ``customer.aliased`` event that announced it. A worker
reads all of it before it takes its first record, and follows it from then on. What one worker learns redirects its own
later records at once, and those of the others some milliseconds later.

The records outlive an erasure: without them, later records of an alias would begin a new customer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.errors import KafkaError

from referral_stream.contracts.codec import arrival, decode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.inbound.aliases import Aliases
from referral_stream.contracts.records import RawRecord
from referral_stream.core.events import Aliased
from referral_stream.runtime.topic_log import TopicReader

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


class Link(NamedTuple):
    """``alias`` stands for ``customer`` since the instant ``now`` (epoch ms)."""

    now: int
    alias: str
    customer: str


class KnownAliases:
    """Keeps ``aliases`` in step with the topic: complete once this context is entered, and up to date within it.

    ``failed`` is called with whatever ends the following before the context does. Entering raises UnreadableTopic.
    """

    def __init__(
        self, client: dict[str, Any], topic: str, aliases: Aliases, failed: Callable[[BaseException, str], None]
    ) -> None:
        self._client, self._topic = client, topic
        self._aliases, self._failed = aliases, failed
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        reader = TopicReader(self._client, self._topic)  # made here: aiokafka wants a running loop
        await reader.__aenter__()
        try:
            count = await _learn_all(reader, self._aliases)
        except BaseException:
            await reader.__aexit__(None, None, None)
            raise
        logger.info("aliases_known", extra={"aliases": count})
        self._following = asyncio.create_task(self._follow(reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self, reader: TopicReader) -> None:
        try:
            while True:
                try:
                    records = await reader.more()
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    logger.warning("aliases_behind", extra={"cause": repr(error)})
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                for link in _links(records):
                    self._aliases.learn(link.alias, link.customer)
        except Exception as error:  # noqa: BLE001 (whatever it is: without aliases one customer would become two)
            self._failed(error, "aliases can no longer be followed")
        finally:
            await reader.__aexit__(None, None, None)


async def read_aliases(client: dict[str, Any], topic: str) -> Aliases:
    """The aliases that are known now. Raises UnreadableTopic."""
    aliases = Aliases()
    async with TopicReader(client, topic) as reader:
        await _learn_all(reader, aliases)
    return aliases


async def _learn_all(reader: TopicReader, aliases: Aliases) -> int:
    """Learn what the topic holds now; returns how many aliases."""
    newest: dict[str, Link] = {}
    async for records in reader.present():
        newest.update((link.alias, link) for link in _links(records))
    # By instant, since partitions come in any order: of two customers that were made aliases of each other, every
    # worker keeps the same one.
    for link in sorted(newest.values()):
        aliases.learn(link.alias, link.customer)
    return len(newest)


def _links(records: Iterable[RawRecord]) -> Iterable[Link]:
    for record in records:
        try:
            event = decode_event(record.value or b"")
            if isinstance(event.data, Aliased):
                yield Link(arrival(record), event.data.alias, event.subject)
        except Undecodable as error:
            logger.warning(
                "unreadable_alias",
                extra={"partition": record.partition, "offset": record.offset, "cause": error.cause},
            )
