"""What ``topics check`` says of topics, and of records that are not ours."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    LeaderNotAvailableError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.topics import DAYS_400
from referral_stream.runtime.topics_admin import Wanted, _miscounted, _not_seen, _problems, counts_kept

GROWN = "has 8 partitions, but was written to by 4; more cannot be taken back"
REFILL = "take a new REFERRAL_STREAM_TOPIC_PREFIX and REFERRAL_STREAM_GROUP_PREFIX, refilled by replay"


@pytest.mark.parametrize(
    ("settings", "found", "made_with", "said"),
    [
        (4, 4, 4, []),
        (4, 8, 4, [(GROWN, REFILL)]),
        (8, 8, 4, [(GROWN, REFILL)]),  # the setting has followed
        (
            8,
            4,
            4,
            [
                (
                    "has 4 partitions, the settings say 8",
                    f"set REFERRAL_STREAM_PARTITIONS=4; for another number: {REFILL}",
                )
            ],
        ),
        (None, 8, 4, []),  # a source may have any number
    ],
)
def test_nobody_is_advised_to_follow_a_topic_that_has_grown(
    settings: int | None, found: int, made_with: int, said: list[tuple[str, str]]
) -> None:
    assert list(_miscounted(Wanted("customer-events", settings, DAYS_400), found, made_with)) == said


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
def test_a_source_that_forgets_is_named_whoever_made_it(policy: str) -> None:
    config = {"cleanup.policy": policy, "retention.ms": "1"}  # how long is the producer's affair
    ((problem, remedy),) = _problems(Wanted("profile", None, DAYS_400), [{"replicas": [1]}], config, 3, None)
    assert problem.startswith(f"cleanup.policy is {policy}: ")
    assert "kafka-configs --alter --topic profile --add-config cleanup.policy=delete" in remedy


def test_a_source_that_keeps_every_record_is_as_it_should_be() -> None:
    config = {"cleanup.policy": "delete"}
    assert list(_problems(Wanted("profile", None, DAYS_400), [{"replicas": [1]}], config, 3, None)) == []


@pytest.mark.parametrize(
    ("error", "problem", "remedy"),
    [
        (UnknownTopicOrPartitionError, "does not exist", "topics create"),
        (TopicAuthorizationFailedError, "may not be described by this user", "topics acls operator"),
        (LeaderNotAvailableError, "is not described: LeaderNotAvailableError", "look at the brokers"),
    ],
)
def test_a_topic_that_is_not_described_need_not_be_missing(
    error: type[UnknownTopicOrPartitionError], problem: str, remedy: str
) -> None:
    found = _not_seen("profile", error.errno)
    assert (found.topic, found.problem) == ("profile", problem)
    assert remedy in found.remedy


def kept(*values: bytes | None) -> list[RawRecord]:
    return [
        RawRecord(topic="positions", partition=0, offset=at, timestamp=0, key=b"k", value=value)
        for at, value in enumerate(values)
    ]


@pytest.mark.parametrize("foreign", [b"garbage", b"1", b"1 x", b"1 4 5", b"\xff", b" "])
def test_a_foreign_record_among_the_positions_is_named_and_nothing_dies_of_it(foreign: bytes) -> None:
    assert counts_kept(kept(b"7 4", foreign, foreign, b"9 8", None, b"")) == (4, "positions-0@1")
    assert counts_kept(kept(foreign)) == (None, "positions-0@0")
    assert counts_kept(kept(b"7 4", None)) == (4, "")
