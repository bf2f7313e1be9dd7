"""The rows of messages and topics are complete, and agree with the types of the core and with each other."""

from __future__ import annotations

from typing import get_args

import pytest

from referral_stream.contracts.catalogue import EFFECT_MESSAGES, MESSAGES, messages_on
from referral_stream.contracts.topics import PRINCIPALS, SOURCES, TOPICS, Topics
from referral_stream.core.effects import Effect, LedgerRequest
from referral_stream.core.events import FACTS, INTERNAL, WITHOUT_SUBJECT
from referral_stream.core.instants import DAY


def test_the_facts_are_those_of_the_core_in_its_order() -> None:
    assert tuple(message.model for message in MESSAGES.values() if message.direction == "in") == FACTS


def test_what_only_our_roles_append_to_the_log_is_what_the_core_calls_internal() -> None:
    events = (message for message in messages_on("customer-events") if message.direction == "internal")
    assert tuple(message.model for message in events) == INTERNAL


def test_every_effect_has_a_message() -> None:
    assert EFFECT_MESSAGES.keys() == set(get_args(Effect))


def test_no_two_messages_share_a_type() -> None:
    with_values = [message for message in EFFECT_MESSAGES.values() if not message.tombstone]
    assert len(MESSAGES) == len(FACTS) + len(INTERNAL) + len(with_values)


def test_what_is_forgotten_is_a_tombstone_on_a_topic_that_is_compacted() -> None:
    tombstones = {message.kind: message.topic for message in EFFECT_MESSAGES.values() if message.tombstone}
    assert set(tombstones.values()) == {"referral-records", "referral-contacts"}
    assert all(TOPICS[topic].keep.compacted for topic in tombstones.values())
    assert not tombstones.keys() & MESSAGES.keys()


def test_a_message_goes_to_topics_that_exist_and_begins_where_its_direction_says(subtests: pytest.Subtests) -> None:
    for message in MESSAGES.values():
        with subtests.test(message.kind):
            assert set(message.topics) <= TOPICS.keys()
            assert TOPICS[message.topic].source == (message.direction == "in")


def test_every_fact_goes_to_the_log_of_customers_and_switches_to_the_ledger_first() -> None:
    for message in MESSAGES.values():
        if message.direction == "in":
            assert ("ledger-requests" in message.topics) == (message.kind in WITHOUT_SUBJECT)
            assert "customer-events" in message.topics


def test_requests_to_the_ledger_and_nothing_else_go_to_its_topic() -> None:
    models = {message.model for message in EFFECT_MESSAGES.values() if message.topic == "ledger-requests"}
    assert models == set(get_args(LedgerRequest))


def test_who_writes_and_reads_a_topic_is_known(subtests: pytest.Subtests) -> None:
    for topic in TOPICS.values():
        with subtests.test(topic.name):
            assert topic.writers
            for named in (topic.writers, topic.readers):
                assert set(named) <= set(PRINCIPALS)
                assert len(set(named)) == len(named)


def test_the_order_and_the_retention_of_topics() -> None:
    assert SOURCES == ("product-usage", "nps", "billing", "support", "relationship", "profile", "responses")
    kept = {name: topic.keep.config() for name, topic in TOPICS.items()}
    logs = {"cleanup.policy": "delete", "retention.ms": str(400 * DAY)}
    assert kept.pop("ledger-generations")["cleanup.policy"] == "compact"
    assert kept.pop("dead-letters") == {**logs, "retention.ms": str(30 * DAY), "max.message.bytes": str(2 << 20)}
    assert kept.pop("referral-records")["cleanup.policy"] == "compact"
    assert kept.pop("referral-contacts") == {**logs, "cleanup.policy": "compact,delete"}
    assert all(config == logs for config in kept.values())


def test_a_topic_has_its_name_with_the_prefix_of_the_deployment() -> None:
    topics = Topics("eu-")
    assert topics.customer_events == "eu-customer-events"
    assert topics.sources == tuple(f"eu-{name}" for name in SOURCES)
    assert topics.every == tuple(f"eu-{name}" for name in TOPICS)
    with pytest.raises(AttributeError):
        _ = topics.customer_rumours
