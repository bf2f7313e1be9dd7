from __future__ import annotations

import pytest
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)
from batch_builders import LocalProducer
from faust.types import TP
from faust_batches import Output, RecordTooLarge, partition_of, record_bytes
from faust_batches.batch import Refusal
from faust_batches.errors import BatchRefused, NotAllowed, TopicsMismatch
from faust_batches.publish import Publisher


def a_publisher(limit: int = 900_000, on_refused: Refusal | None = None) -> Publisher:
    return Publisher(limit, on_refused)


async def test_records_keep_their_order_within_a_partition() -> None:
    producer, publisher = LocalProducer(), a_publisher()
    outputs = [Output("out", b"%d" % number * 30, b"key-%d" % (number % 20)) for number in range(500)]
    sent = await publisher.send(producer, outputs)
    await publisher.acknowledged(sent)
    assert sum(batch.records for batch in sent) == 500
    expected: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = {}
    for output in outputs:
        partition = partition_of(output.key or b"", 4)
        expected.setdefault(("out", partition), []).append((output.key, output.value))
    assert producer.records == expected
    assert len(producer.batches) > 4  # batches were full on the way


async def test_a_partition_may_be_named_and_a_key_may_be_absent() -> None:
    producer, publisher = LocalProducer(), a_publisher()
    named = [Output("out", b"named", b"key", partition=3)]
    keyless = [Output("out", b"%d" % number) for number in range(8)]
    await publisher.send(producer, named + keyless)
    assert producer.records["out", 3][0] == (b"key", b"named")
    assert [len(producer.records["out", partition]) for partition in range(4)] == [2, 2, 2, 3]


async def test_nothing_is_sent_by_key_to_a_topic_that_has_got_another_number_of_partitions() -> None:
    """Not to the right partition either: whoever reads it has another number in mind, or ends soon."""
    producer, publisher = LocalProducer(partitions=8), Publisher(900_000, fixed={"out": 4})
    with pytest.raises(TopicsMismatch, match=r"out has 8 partitions instead of 4, which cannot be undone"):
        await publisher.send(producer, [Output("free", b"value", b"key"), Output("out", b"value", b"key")])
    assert producer.records == {}
    await publisher.send(producer, [Output("free", b"value", b"key")])
    assert len(producer.records) == 1


async def test_changes_go_to_their_changelog_partition_deletions_too() -> None:
    producer, publisher = LocalProducer(), a_publisher()
    await publisher.send_changes(producer, TP("changelog", 2), {b"a": b"1", b"b": None})
    assert producer.records == {("changelog", 2): [(b"a", b"1"), (b"b", None)]}
    assert await publisher.send_changes(producer, TP("changelog", 2), {}) == []


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_the_limit_is_exact(excess: int) -> None:
    output = Output("out", b"x" * 5000, b"key", (("name", b"content"),))
    publisher = a_publisher(record_bytes(output.key, output.value, output.headers) - excess)
    assert list(publisher.admit([output])) == ([output] if excess <= 0 else [])
    assert publisher.refused == (excess > 0)


def test_a_large_output_is_replaced_in_its_place() -> None:
    refusals: list[tuple[Output, Exception]] = []

    def refuse(output: Output, reason: Exception) -> list[Output]:
        refusals.append((output, reason))
        return [Output("dead", b"small", output.key), Output("dead", b"x" * 9000)]

    publisher = a_publisher(1000, refuse)
    large = Output("out", b"x" * 2000, b"b")
    admitted = publisher.admit([Output("out", b"1", b"a"), large, Output("out", b"2", b"c")])
    assert admitted == [Output("out", b"1", b"a"), Output("dead", b"small", b"b"), Output("out", b"2", b"c")]
    [(output, reason)] = refusals
    assert output is large
    assert isinstance(reason, RecordTooLarge)
    assert (reason.topic, reason.limit_bytes) == ("out", 1000)


def test_without_a_hook_a_large_output_is_left_out_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    assert a_publisher(1000).admit([Output("out", b"x" * 2000)]) == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "xxx" not in caplog.text


async def test_state_that_is_too_large_is_an_error_of_the_program() -> None:
    with pytest.raises(RecordTooLarge):
        await a_publisher(1000).send_changes(LocalProducer(), TP("changelog", 0), {b"a": b"x" * 2000})


async def test_a_refused_batch_is_made_again_with_each_record_alone_and_then_without_the_culprit() -> None:
    publisher = a_publisher()
    outputs = [Output("out", b"x" * size, b"key") for size in (10, 500, 20)]
    producer = LocalProducer(refusals=[MessageSizeTooLargeError()])
    with pytest.raises(BatchRefused):
        await publisher.acknowledged(await publisher.send(producer, outputs))
    assert publisher.admit(outputs) == outputs
    sent = await publisher.send(producer, outputs)
    assert [batch.records for batch in sent] == [1, 1, 1]
    producer.refusals = [MessageSizeTooLargeError()]
    with pytest.raises(BatchRefused):
        await publisher.acknowledged(await publisher.send(producer, outputs[1:2]))
    assert publisher.admit(outputs) == [outputs[0], outputs[2]]
    assert publisher.limit("out") < record_bytes(b"key", b"x" * 500)
    assert publisher.limit("elsewhere") == 900_000


async def refuse(publisher: Publisher, size: int = 500) -> None:
    """The broker refuses a record of this size although it is alone in its batch."""
    producer = LocalProducer(refusals=[MessageSizeTooLargeError()])
    with pytest.raises(BatchRefused):
        await publisher.acknowledged(await publisher.send(producer, [Output("out", b"x" * size)]))


async def test_what_a_refusal_has_taught_is_over_when_the_settings_say_so() -> None:
    """Lowered and raised again between two looks at the settings: they say the same both times."""
    publisher = a_publisher()
    publisher.told("out", 1_000_000)
    await refuse(publisher)
    assert publisher.limit("out") < 600
    assert publisher.lowered == {"out"}, "it is looked at again soon"
    publisher.told("out", 1_000_000)
    assert publisher.limit("out") == 900_000
    assert not publisher.lowered


async def test_settings_that_refusals_contradict_again_and_again_count_no_more_until_they_change() -> None:
    """A proxy in front of the brokers has a limit of its own."""
    publisher = a_publisher()
    publisher.told("out", 1_000_000)
    believed = 0
    for _ in range(20):
        await refuse(publisher)
        publisher.told("out", 1_000_000)
        believed += publisher.limit("out") == 900_000
    assert believed == 3
    assert not publisher.lowered
    publisher.told("out", 800_000)
    assert publisher.limit("out") == 800_000


async def test_a_topic_that_takes_less_from_the_start_is_not_looked_at_more_often() -> None:
    publisher = a_publisher()
    publisher.told("out", 1_000)
    assert (publisher.limit("out"), publisher.lowered) == (1_000, set())
    publisher.told("out", 800)
    assert publisher.lowered == {"out"}


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([NotLeaderForPartitionError(), TopicAuthorizationFailedError("a")], NotAllowed),
        ([NotLeaderForPartitionError(), MessageSizeTooLargeError()], BatchRefused),
        ([NotLeaderForPartitionError(), NotLeaderForPartitionError()], NotLeaderForPartitionError),
    ],
)
async def test_the_failure_that_cannot_be_retried_is_the_one_that_counts(
    errors: list[KafkaError], raised: type[Exception]
) -> None:
    publisher, producer = a_publisher(), LocalProducer(refusals=list(errors))
    sent = await publisher.send(producer, [Output("a", b"", partition=0), Output("b", b"", partition=0)])
    with pytest.raises(raised):
        await publisher.acknowledged(sent)
