"""Least privilege: which rights on the broker each role needs, and not one more.

One list for the command that prints it, the page that explains it and the test that runs every role with nothing else.
Kafka's DESCRIBE comes with READ, WRITE and DELETE, and an idempotent producer needs WRITE on its topics only (3.0 on).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from referral_stream.contracts.topics import KEPT, Topics, changelogs
from referral_stream.runtime.deployment import Deployment

ResourceKind: TypeAlias = Literal["topic", "group", "transactional-id"]
AclOperation: TypeAlias = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]

PRINCIPALS: Final = ("ingest", "decide", "ledger", "receiver", "worker", "operator")
"""The workers' roles, the webhook receiver, a messaging worker, and who runs the other verbs of the command line."""


WORKER_GROUP: Final = "messaging-worker"
"""How the group of a messaging worker begins; it is the one of ``examples/messaging_worker``."""

REDIS_COMMANDS: Final = tuple(
    "EVAL EVALSHA INFO TIME SCAN UNLINK DEL GET SET EXPIRE HGET HMGET HSET SADD SCARD SMEMBERS ZADD ZREM "
    "ZREMRANGEBYSCORE ZREVRANGE".split()
)
"""What the ledger sends to Redis, and its script calls there, on keys ``GROUP_PREFIX:{ledger}:*``."""


@dataclass(frozen=True, slots=True)
class Right:
    """``operation`` on the resource ``name``, or on all that begin with it (``prefixed``)."""

    kind: ResourceKind
    name: str
    operation: AclOperation
    prefixed: bool = False


def rights(deployment: Deployment, principal: str) -> tuple[Right, ...]:
    """What ``principal``, one of ``PRINCIPALS``, needs. Raises ValueError for another."""
    topics, decide = deployment.topics, deployment.group("decide")
    match principal:
        case "ingest":
            found = [
                Right("group", deployment.group("ingest"), "Read"),
                *_topics("Read", *topics.sources, topics.customer_aliases),
                *_topics("Write", topics.customer_events, topics.ledger_requests),
                *_topics("Write", topics.customer_aliases, topics.dead_letters),
            ]
        case "decide":
            found = [
                Right("group", decide, "Read"),
                *_topics("Read", topics.customer_events, *changelogs(decide)),
                *_topics("Write", topics.referral_asks, topics.referral_decisions, topics.ledger_requests),
                *_topics("Write", topics.customer_events, topics.dead_letters, *changelogs(decide)),
                # One per partition; with REFERRAL_STREAM_FENCING=none nothing of it is used.
                Right("transactional-id", f"{decide}-", "Write", prefixed=True),
            ]
        case "ledger":
            found = [
                Right("group", deployment.group("ledger"), "Read"),
                *_topics("Read", topics.ledger_requests),
                *_topics("Write", topics.customer_events, topics.dead_letters),
            ]
        case "receiver":
            found = [*_topics("Write", *topics.sources)]
        case "worker":
            found = [
                Right("group", WORKER_GROUP, "Read", prefixed=True),
                *_topics("Read", topics.referral_asks),
                *_topics("Write", topics.responses),
            ]
        case "operator":
            found = list(_operator(topics, decide))
        case _:
            raise ValueError(f"no principal {principal!r}")
    return tuple(found)


def _operator(topics: Topics, decide: str) -> Iterator[Right]:
    """`topics`, `doctor`, `audit`, `deadletters`: makes topics, looks at all, appends what is replayed."""
    every = [f"{topics.prefix}{name}" for name in KEPT] + list(changelogs(decide))
    for operation in ("Create", "DescribeConfigs", "Read"):
        yield from _topics(operation, *every)
    yield from _topics("Write", topics.customer_events, topics.ledger_requests)
    yield from _topics("Write", topics.customer_aliases, topics.dead_letters)
    yield Right("group", decide.removesuffix("decide"), "Describe", prefixed=True)


def _topics(operation: AclOperation, *names: str) -> Iterator[Right]:
    return (Right("topic", name, operation) for name in names)


def commands(found: Iterable[Right], user: str, brokers: str) -> Iterator[str]:
    """The same as calls of Kafka's own ``kafka-acls``; ``user`` as in ``User:NAME``."""
    by_resource: dict[tuple[ResourceKind, str, bool], list[AclOperation]] = {}
    for right in found:
        by_resource.setdefault((right.kind, right.name, right.prefixed), []).append(right.operation)
    for (kind, name, prefixed), operations in by_resource.items():
        command = ["kafka-acls", "--bootstrap-server", brokers, "--add", "--allow-principal", f"User:{user}"]
        for operation in operations:
            command += ["--operation", operation]
        command += [f"--{kind}", name]
        if prefixed:
            command += ["--resource-pattern-type", "prefixed"]
        yield shlex.join(command)
