"""The operator's verbs against the demo's broker, which cannot do everything: one line, and no traceback."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("topics", "create"), "Error: this broker names no controller, so no topics can be created on it\n"),
        (("topics", "check"), "IncompatibleBrokerVersion: DescribeConfigsRequest cannot be used"),
        (("doctor",), "WRONG    Kafka: Kafka at 127.0.0.1:"),
        (("deadletters", "list"), "no dead letters\n"),
    ],
    ids=str,
)
def test_what_the_broker_cannot_do_is_one_line(verb: tuple[str, ...], said: str) -> None:
    with EmbeddedBroker() as broker:
        environment = {
            "REFERRAL_STREAM_KAFKA_BROKERS": broker.bootstrap,
            "REFERRAL_STREAM_PARTITIONS": str(PARTITIONS),
            "REFERRAL_STREAM_REDIS_URL": "redis://127.0.0.1:1/0",
        }
        done = CliRunner().invoke(main, verb, env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert said in done.output
