"""The CloudEvents project's own SDK and this boundary understand each other: it writes what we read, and reads ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from referral_stream.contracts.catalogue import EFFECT_MESSAGES, MessageVersion, message_versions
from referral_stream.contracts.codec import SOURCE, effect_id, encode_effect
from referral_stream.core.events import WITHOUT_SUBJECT
from referral_stream.core.instants import to_datetime
from tests.contracts.building import NOW, only, read
from tests.contracts.examples import EFFECTS
from tests.rules import rule

kafka = pytest.importorskip("cloudevents.core.bindings.kafka", reason="the CloudEvents SDK is not installed")
sdk = pytest.importorskip("cloudevents.core.v1.event")

INBOUND = tuple(message for message in message_versions() if message.direction == "in")


def an_event(message: MessageVersion) -> Any:
    """The message's valid example as an event of the SDK."""
    from referral_stream.published.examples import valid

    example = valid(message)
    data = example.pop("data")
    return sdk.CloudEvent(example | {"time": datetime.fromisoformat(example["time"]), "accountid": "acc-1"}, data)


@rule("A10.1")
@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_what_the_sdk_writes_to_kafka_is_read(mode: str, subtests: pytest.Subtests) -> None:
    write = kafka.to_binary_event if mode == "binary" else kafka.to_structured_event
    for message in INBOUND:
        with subtests.test(message.name):
            written = write(an_event(message))
            event = only(read(written.value, headers=tuple(written.headers.items()), topic="responses"))
            assert (event.id, event.source, event.type, event.account) == ("evt-1", "shop", message.kind, "acc-1")
            assert event.subject == ("" if message.kind in WITHOUT_SUBJECT else "cus-1")
            assert to_datetime(event.time) == datetime(2026, 6, 16, 7, 59, tzinfo=UTC)
            assert event.flags == ()


def test_what_we_write_is_read_by_the_sdk(subtests: pytest.Subtests) -> None:
    content = {"content-type": b"application/cloudevents+json"}
    for effect in EFFECTS:
        with subtests.test(EFFECT_MESSAGES[type(effect)].kind):
            event = kafka.from_structured_event(kafka.KafkaMessage(content, None, encode_effect(effect, NOW)))
            assert (event.get_id(), event.get_source()) == (effect_id(effect), SOURCE)
            assert (event.get_subject() or "") == effect.customer_id
            assert event.get_type() == EFFECT_MESSAGES[type(effect)].kind
            assert event.get_time() == to_datetime(NOW)
            assert event.get_data() == effect.model_dump(mode="json", exclude_none=True)
