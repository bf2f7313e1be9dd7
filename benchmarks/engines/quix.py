"""Quix Streams: a state per message key in RocksDB, with a changelog; a checkpoint every second.

Its checkpoint writes what has changed since the last one, flushes the producer and commits: at least once, as the
loops. It calls the application for one record at a time. It needs other versions of some packages than the product
does, hence an environment of its own (`make bench` makes it); the core and the codecs are the same.
"""

from __future__ import annotations

from typing import Any

from faust_batches import Output
from quixstreams import Application, State, message_context
from quixstreams.models import Serializer

from benchmarks.engines.job import COMMIT_SECONDS, LINGER_SECONDS, SESSION_SECONDS, Job, read_job
from referral_stream.contracts.records import RawRecord


class OutputValue(Serializer):
    """Of an output, its value goes out as it is."""

    def __call__(self, value: Output, *_: object, **__: object) -> bytes:
        return value.value or b""


def application(job: Job) -> Application:
    app = Application(
        job.brokers,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS,
        state_dir=job.settings.data_dir,
        consumer_extra_config={"session.timeout.ms": SESSION_SECONDS * 1000},
        producer_extra_config={
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": LINGER_SECONDS * 1000,
            "partitioner": "murmur2_random",
        },
        auto_create_topics=True,  # of its changelog; ours exist
        loglevel="ERROR",
    )
    names = (job.topics.referral_asks, job.topics.referral_decisions, job.topics.ledger_requests)
    targets = {name: app.topic(name, key_serializer="bytes", value_serializer=OutputValue()) for name in names}

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any, state: State) -> list[Output]:
        context = message_context()
        record = RawRecord(
            topic=context.topic,
            partition=context.partition,
            offset=context.offset,
            timestamp=timestamp,
            key=key,
            value=value,
            headers=tuple(headers or ()),
        )
        result = job.decide(context.partition, [record], lambda table, _key: state.get_bytes(table))
        for table, changes in result.changes.items():
            for changed in changes.values():
                if changed is None:
                    state.delete(table)
                else:
                    state.set_bytes(table, changed)
        return result.outputs

    source = app.topic(job.topics.customer_events, key_deserializer="bytes", value_deserializer="bytes")
    outputs = app.dataframe(source).apply(decide, stateful=True, metadata=True, expand=True)
    outputs = outputs.set_headers(lambda output, _key, _timestamp, _headers: list(output.headers))
    outputs.to_topic(lambda output, _key, _timestamp, _headers: targets[output.topic], key=lambda output: output.key)
    return app


if __name__ == "__main__":
    application(read_job()).run()
