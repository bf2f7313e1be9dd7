"""The ids of topics: a topic that is deleted and created again under its name has another one.

aiokafka asks for metadata in a version that has no ids (5); the first that has them (10) is asked for here.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_UUID_BYTES: Final = 16
_NONE: Final = bytes(_UUID_BYTES)


class _Uuid:
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_UUID_BYTES)


class _Metadata10Response(Response):  # type: ignore[misc]  # untyped
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Metadata10Struct(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Metadata10Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Metadata10Request(Request[_Metadata10Struct]):  # type: ignore[misc]  # as above
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NONE, topic, {}) for topic in sorted(topics)]

    def build(self, request_struct_class: type[_Metadata10Struct]) -> _Metadata10Struct:
        return request_struct_class(self._topics, False, False, False, {})  # noqa: FBT003  (foreign signature)


async def topic_ids(client: AIOKafkaClient, topics: Iterable[str]) -> dict[str, str]:
    """The id of each of these topics, as Kafka's own tools show it; without those that we may not see.

    None at all of brokers that have none: Kafka has them since 2.8. Nothing is created by asking.

    Raises:
        KafkaError: no broker answers, or it knows one of the topics not, or not yet.
    """
    node = client.get_random_node()
    if node is None:
        raise KafkaConnectionError("no broker is known")
    try:
        response: Any = await client.send(node, _Metadata10Request(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):  # aiokafka's words for a broker that is too old
        return {}
    return _ids((code, topic, raw) for code, topic, raw, *_ in response.topics)


def _ids(entries: Iterable[tuple[int, str, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for code, topic, raw in entries:
        if raw != _NONE:  # also of one whose partitions have no leader yet
            found[topic] = urlsafe_b64encode(raw).rstrip(b"=").decode()
        elif code not in (0, TopicAuthorizationFailedError.errno):
            raise for_code(code)(topic)
    return found


def is_another(before: str | None, now: str | None) -> bool:
    """Whether two ids of a name are those of two topics; of what is not known, nothing is claimed."""
    return before is not None and now is not None and before != now


def those_made_again(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The topics that have another id than before."""
    return sorted(topic for topic, known in before.items() if is_another(known, now.get(topic)))
