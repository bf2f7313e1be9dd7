"""Reading a real broker's topics from outside: where a log ends, what a reader is shown, and what it may do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from referral_stream.audit.reading import KafkaLogs, Unreadable
from referral_stream.ops.rights import Right
from referral_stream.runtime.settings import KafkaSettings
from tests.services.kafka import KafkaServer


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    """Partition 0 ends in a transaction that was aborted, partition 1 is empty, partition 2 ends in an open one."""
    name = f"read-{uuid4().hex[:8]}"
    kafka.create_topics({name: 3})
    return name


@pytest.fixture
def written(kafka: KafkaServer, topic: str) -> Iterator[str]:
    producer = Producer({**kafka.client_settings(), "transactional.id": topic})
    producer.init_transactions(30)
    for value, partitions, end in (("one", (0, 2), "commit"), ("two", (0,), "abort"), ("three", (2,), "")):
        producer.begin_transaction()
        for partition in partitions:
            producer.produce(topic, value, b"key", partition, headers=[("now", b"1")])
        assert producer.flush(30) == 0
        if end == "commit":
            producer.commit_transaction(30)
        elif end == "abort":
            producer.abort_transaction(30)
    yield topic
    producer.abort_transaction(30)


@pytest.fixture
def logs(kafka: KafkaServer) -> Iterator[KafkaLogs]:
    with KafkaLogs(KafkaSettings(kafka_brokers=(kafka.bootstrap,))) as logs:
        yield logs


def values(logs: KafkaLogs, topic: str, partition: int, *, committed: bool = True) -> list[bytes | None]:
    return [record.value for record in logs.read(topic, partition, 0, committed=committed)]


def test_a_log_that_ends_in_markers_is_read_to_its_end(logs: KafkaLogs, written: str) -> None:
    assert [values(logs, written, partition) for partition in range(3)] == [[b"one"], [], [b"one"]]


def test_open_and_aborted_transactions_are_shown_to_who_asks(logs: KafkaLogs, written: str) -> None:
    found = [values(logs, written, partition, committed=False) for partition in range(3)]
    assert found == [[b"one", b"two"], [], [b"one", b"three"]]


def test_the_end_is_where_everything_is_decided(logs: KafkaLogs, written: str) -> None:
    assert logs.begins(written) == [0, 0, 0]
    assert logs.ends(written) == [4, 0, 2]  # with the markers; the open transaction begins at 2


def test_a_read_ends_before_its_end(logs: KafkaLogs, written: str) -> None:
    assert list(logs.read(written, 0, 0, 0)) == []
    (record,) = logs.read(written, 0, 0, 1)
    assert (record.key, record.header("now"), record.offset) == (b"key", "1", 0)


def test_a_topic_that_is_not_there_is_named(logs: KafkaLogs) -> None:
    with pytest.raises(Unreadable, match="nowhere does not exist; referral-stream topics create"):
        logs.ends("nowhere")


class _ChangingLeaders:
    """An admin client that is told who leads at the third question only."""

    def __init__(self, code: int) -> None:
        self.code, self.asked = code, 0

    def list_topics(self, topic: str, **_: object) -> object:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=[0])})

    def list_offsets(self, asked: dict[TopicPartition, object], **_: object) -> dict[TopicPartition, Future[object]]:
        self.asked += 1
        answer = Future[object]()
        if self.asked < 3:
            answer.set_exception(KafkaException(KafkaError(self.code)))
        else:
            answer.set_result(SimpleNamespace(offset=7))
        return dict.fromkeys(asked, answer)


@pytest.mark.parametrize(
    ("code", "asked"), [(KafkaError.NOT_LEADER_FOR_PARTITION, 3), (KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)]
)
def test_offsets_are_asked_for_again_only_where_that_helps(code: int, asked: int) -> None:
    logs = KafkaLogs(KafkaSettings(kafka_brokers=("127.0.0.1:1",)))
    logs._admin = admin = _ChangingLeaders(code)  # type: ignore[assignment]
    if asked > 1:
        assert logs.ends("ours") == [7]
    else:
        with pytest.raises(Unreadable):
            logs.ends("ours")
    assert admin.asked == asked


def test_to_read_a_secured_broker_needs_no_right_but_to_read() -> None:
    with KafkaServer(secured=True, users=("auditor",)) as kafka:
        kafka.create_topics({"ours": 1, "others": 1})
        producer = Producer(kafka.client_settings())
        producer.produce("ours", b"value", b"key")
        assert producer.flush(30) == 0
        kafka.grant_rights("auditor", [Right("topic", "ours", "Read")])
        settings = KafkaSettings.model_validate(
            {
                "kafka_brokers": kafka.bootstrap,
                "kafka_security": "SASL_SSL",
                "kafka_username": "auditor",
                "kafka_password": kafka.passwords["auditor"],
                "kafka_ca_file": kafka.ca_file,
            }
        )
        with KafkaLogs(settings) as logs:
            assert logs.ends("ours") == [1]
            assert values(logs, "ours", 0) == [b"value"]
            with pytest.raises(Unreadable, match=r"others: .*[Aa]uthorization"):
                logs.ends("others")
