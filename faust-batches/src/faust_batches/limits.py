"""How large the records of the changelogs may be: asked of the brokers, since a topic's settings change."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Final

from faust_batches.publish import Publisher
from faust_batches.topics import MAX_MESSAGE_BYTES, asking, topic_settings

logger = logging.getLogger(__name__)

_SECONDS: Final = 60.0
_LOWERED_SECONDS: Final = 5.0


class RecordLimits:
    """Tells the publisher. ``client_settings``: aiokafka's, as the app's clients have them."""

    def __init__(
        self, publisher: Publisher, client_settings: Callable[[], Mapping[str, Any]], changelogs: Iterable[str]
    ) -> None:
        self._publisher = publisher
        self._client_settings = client_settings
        self._changelogs = list(changelogs)
        self._unread = ""

    async def read(self) -> None:
        """What cannot be learnt stays as it is."""
        try:
            async with asking(self._client_settings()) as client:
                limits = await topic_settings(client, self._changelogs, MAX_MESSAGE_BYTES)
        except Exception as exc:  # noqa: BLE001  (a refusal by a broker will teach it)
            if (cause := repr(exc)) != self._unread:  # once: it may last
                self._unread = cause
                logger.info("record_limits_unread", extra={"cause": cause})
            return
        self._unread = ""
        for topic, limit in limits.items():
            self._publisher.told(topic, int(limit))

    async def watch(self) -> None:
        """Read every minute; soon again after a limit was lowered, since whatever does not fit meanwhile is refused."""
        looked = -math.inf
        while True:
            if self._publisher.lowered or monotonic() - looked >= _SECONDS:
                await self.read()
                looked = monotonic()
            await asyncio.sleep(_LOWERED_SECONDS)
