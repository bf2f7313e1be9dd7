"""Least privilege: exactly the rights on the broker that each role needs.

Rights on topics are the writers and readers of the topics' rows. One list serves the command that prints it, the page
that explains it (a test compares the two) and the test that runs every role with nothing else.
Kafka's DESCRIBE comes with READ, WRITE and DELETE, and an idempotent producer needs WRITE on its topics only (3.0 on).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from referral_stream.contracts.topics import PRINCIPALS, TOPICS, changelogs
from referral_stream.runtime.deployment import ROLES, Deployment

ResourceKind: TypeAlias = Literal["topic", "group", "transactional-id"]
AclOperation: TypeAlias = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]

WORKER_GROUP: Final = "messaging-worker"
"""The prefix of a messaging worker's group: the group of ``examples/messaging_worker``."""

REDIS_COMMANDS: Final = tuple(
    "EVAL EVALSHA INFO TIME SCAN UNLINK DEL GET SET EXPIRE HDEL HGET HMGET HSET SADD SCARD SMEMBERS SREM ZADD "
    "ZCARD ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREM ZREMRANGEBYLEX ZREMRANGEBYSCORE ZREVRANGE".split()
)
"""What the ledger sends to Redis, and its script calls there, on keys ``GROUP_PREFIX:{ledger}:*``."""


READ_REDIS_COMMANDS: Final = tuple(
    "EVAL EVALSHA INFO SCAN UNLINK DEL EXISTS EXPIRE GET HDEL HEXISTS HGET HGETALL HINCRBY HMGET HSET HVALS LPUSH "
    "LTRIM SET ZADD ZCARD ZRANGE ZRANGEBYSCORE ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE ZSCORE ZUNIONSTORE".split()
)
"""What the projector sends to Redis, and its script calls there, on keys ``GROUP_PREFIX:{read}:*``."""

READER_REDIS_COMMANDS: Final = (
    "GET HGET HGETALL HMGET LRANGE SCAN ZCARD ZCOUNT ZMSCORE ZRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE".split()
)
"""What whoever reads the read models needs there."""

CONSOLE_REDIS_COMMANDS: Final = "GET SET DEL EXISTS TTL LPUSH LRANGE LTRIM HDEL HKEYS HSETNX HVALS MULTI EXEC".split()
"""What the console sends to Redis on keys of its own, ``GROUP_PREFIX:console:*``."""


@dataclass(frozen=True, slots=True)
class Right:
    """``operation`` on the resource ``name``, or on all whose names begin with it (``prefixed``)."""

    kind: ResourceKind
    name: str
    operation: AclOperation
    prefixed: bool = False


def rights(deployment: Deployment, principal: str) -> tuple[Right, ...]:
    """What ``principal``, one of ``PRINCIPALS``, needs. Raises ValueError for another."""
    if principal not in PRINCIPALS:
        raise ValueError(f"no principal {principal!r}")
    name_of, decide = deployment.topics.full_name, deployment.group("decide")
    tables = changelogs(decide) if principal == "decide" else ()
    kept = (*tables, deployment.positions) if principal in ROLES else ()
    reads = [name_of(topic.name) for topic in TOPICS.values() if principal in topic.readers]
    writes = [name_of(topic.name) for topic in TOPICS.values() if principal in topic.writers]
    on_topics = (*_topics("Read", *reads, *kept), *_topics("Write", *writes, *kept))
    match principal:
        case "ingest" | "ledger" | "rewards":
            looked_at = deployment.topics.sources if principal == "ingest" else ()
            its_group = Right("group", deployment.group(principal), "Read")
            return (its_group, *on_topics, *_topics("DescribeConfigs", *looked_at))
        case "decide":
            transactions = Right("transactional-id", f"{decide}-", "Write", prefixed=True)
            groups = (Right("group", decide, "Read"), Right("group", deployment.group("ingest"), "Describe"))
            seen = (*_topics("DescribeConfigs", *tables), *_topics("Describe", *deployment.topics.sources))
            return (*groups, *on_topics, *seen, transactions)
        case "projector":  # reads states as the decide agent keeps them, and how far every group is
            others = (Right("group", deployment.group(role), "Describe") for role in (*ROLES, "rewards"))
            its_groups = (Right("group", deployment.group(principal), "Read"), *others)
            described = _topics("Describe", *deployment.topics.sources, deployment.topics.customer_events)
            states = _topics("Read", changelogs(decide)[0])
            return (*its_groups, *on_topics, *states, *described, *_of_the_harm_budget(deployment))
        case "receiver":
            return on_topics
        case "worker":
            return (Right("group", WORKER_GROUP, "Read", prefixed=True), *on_topics)
        case "operator":  # `deadletters` appends what it replays, `import` writes to `profile`
            every = (*deployment.topics.every, *changelogs(decide), deployment.positions)
            on_all = (right for operation in _ON_ALL for right in _topics(operation, *every))
            every_group = Right("group", decide.removesuffix("decide"), "Describe", prefixed=True)
            return (*on_all, *_topics("Write", *writes), every_group)


def _of_the_harm_budget(deployment: Deployment) -> Iterator[Right]:
    """Who pauses triggers has to write where switches count; nobody else may, so only where the policy says so."""
    if deployment.policy.harm.pause_at is not None:
        yield from _topics("Write", deployment.topics.responses)


_ON_ALL: Final[tuple[AclOperation, ...]] = ("Create", "DescribeConfigs", "Read")
"""What the operator may do with every topic."""


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
