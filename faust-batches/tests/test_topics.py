"""What exists is said by the brokers; what no broker said is not missing."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from faust_batches import topics
from faust_batches.errors import TopicsMismatch
from faust_batches.topics import check_topics


class Asked:
    """aiokafka's client, as far as it is asked: brokers that know no topic, or do not answer."""

    def __init__(self, *, answers: bool) -> None:
        self.cluster, self._answers = ClusterMetadata(), answers

    async def set_topics(self, _topics: object) -> bool:
        return self._answers

    async def force_metadata_update(self) -> bool:
        return self._answers


@pytest.mark.parametrize(
    ("answers", "raised", "told"),
    [
        (True, TopicsMismatch, "in does not exist"),
        (False, ConnectionError, "no Kafka broker says which topics there are"),
    ],
)
async def test_a_topic_is_missing_if_a_broker_says_so(
    answers: bool, raised: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose connection was cut while it asked at an assignment ended, though its topics were there."""
    monkeypatch.setattr(topics, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(topics, "_AGAIN_SECONDS", 0.01)
    client: Any = Asked(answers=answers)
    with pytest.raises(raised, match=told):
        await check_topics(client, {"in": 4})
