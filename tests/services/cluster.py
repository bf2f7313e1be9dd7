"""Three Kafka brokers that are one cluster: each partition on all of them, each write on two of them at least.

with KafkaCluster() as cluster:
    cluster.create_topics({"nps": 4})
    cluster.nodes[0].kill9()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient, NewTopic

from tests.services.kafka import KafkaServer
from tests.services.process import wait_until

NODES = 3

_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A replica that has fallen silent must not hold writes up for half a minute.
    "replica.lag.time.max.ms": "3000",
}


class KafkaCluster:
    """Nodes that vote and serve, all three; `nodes` are to be killed and started again one by one."""

    def __init__(self) -> None:
        self.nodes = tuple(KafkaServer(settings=_REPLICATED, node=number + 1, heap="384m") for number in range(NODES))
        voters = ",".join(node.voter for node in self.nodes)
        for node in self.nodes:
            node.add_settings({"controller.quorum.voters": voters})

    @property
    def bootstrap(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes)

    def client_settings(self, user: str = "") -> dict[str, str | int | float | bool]:
        """What a librdkafka client must be given; there are no users here."""
        assert not user
        return {"bootstrap.servers": self.bootstrap, "log_level": 0}

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics (name → partitions), on all nodes; return when every partition has a leader."""
        admin = AdminClient(self.client_settings())
        created = admin.create_topics([NewTopic(name, count, NODES) for name, count in topics.items()])
        for future in created.values():
            future.result(30)
        wait_until(lambda: self._replicated(admin, topics, 1), f"the topics {', '.join(topics)} have leaders")

    def await_in_sync(self, topics: Mapping[str, int]) -> None:
        """Return when every partition of these topics is on every node."""
        admin = AdminClient(self.client_settings())
        wait_until(lambda: self._replicated(admin, topics, NODES), "every replica is in sync", seconds=60)

    @staticmethod
    def _replicated(admin: AdminClient, topics: Mapping[str, int], replicas: int) -> bool:
        known = admin.list_topics(timeout=10).topics
        return all(
            name in known
            and len(known[name].partitions) == count
            and all(p.leader >= 0 and len(p.isrs) >= replicas for p in known[name].partitions.values())
            for name, count in topics.items()
        )

    def __enter__(self) -> Self:
        try:
            self._all(lambda node: node.start())
        except BaseException:
            self._all(lambda node: node.close())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all(lambda node: node.close())

    def _all(self, action: Callable[[KafkaServer], object]) -> None:
        """Side by side: no node is ready before two of them are there."""
        with ThreadPoolExecutor(NODES) as threads:
            list(threads.map(action, self.nodes))
