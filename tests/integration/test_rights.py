"""A whole deployment where every process has a user of its own, with the rights that the list grants, and no more.

Kafka speaks TLS and wants a password, Redis too, and a certificate besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from referral_stream.contracts.topics import PRINCIPALS
from referral_stream.core.policy import Policy
from referral_stream.ops.rights import READ_REDIS_COMMANDS, REDIS_COMMANDS, WORKER_GROUP, Right, commands, rights
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import read_settings
from tests.integration.live import PARTITIONS, Message, Pipeline
from tests.integration.scripted import a_promoter
from tests.rewards.paying import SECRET, PayerServer, granted, http
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until
from tests.services.redis import RedisServer

ROLES = ("ingest", "decide", "ledger")


@pytest.fixture(scope="module")
def redis_behind_tls(redis_server: RedisServer) -> Iterator[RedisServer]:
    """``redis_server`` is asked for only for its skip where there is none."""
    with RedisServer(password="a-password", tls=True) as server:
        assert server.url != redis_server.url
        with redis.Redis.from_url(server.url, **server.tls_settings) as admin:
            commands = [f"+{command}" for command in REDIS_COMMANDS]
            keys = "~live-*:{ledger}:*"
            admin.execute_command("ACL", "SETUSER", "ledger", "on", ">another-password", keys, *commands)
            commands = [f"+{command}" for command in READ_REDIS_COMMANDS]
            keys = "~live-*:{read}:*"
            admin.execute_command("ACL", "SETUSER", "projector", "on", ">another-password", keys, *commands)
        yield server


@pytest.fixture(scope="module")
def secured(kafka: KafkaServer) -> Iterator[KafkaServer]:
    """``kafka`` likewise."""
    with KafkaServer(secured=True, users=PRINCIPALS) as server:
        assert server.bootstrap != kafka.bootstrap
        yield server


@pytest.fixture(scope="module")
def deployment(
    secured: KafkaServer, redis_behind_tls: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    tls = redis_behind_tls.tls_settings
    settings = {
        "kafka_security": "SASL_SSL",
        "kafka_ca_file": str(secured.ca_file),
        "redis_ca_file": tls["ssl_ca_certs"],
        "redis_cert_file": tls["ssl_certfile"],
        "redis_key_file": tls["ssl_keyfile"],
        **_as(secured, "operator"),
    }
    folder = tmp_path_factory.mktemp("rights")
    redis_url = redis_behind_tls.url.replace(":a-password@", "ledger:another-password@")
    with Pipeline(secured, redis_url, folder, user="admin", settings=settings) as pipeline:
        for principal in PRINCIPALS:
            secured.grant_rights(principal, rights(_described(pipeline), principal))
        pipeline.create_topics()
        yield pipeline


def _as(secured: KafkaServer, user: str) -> dict[str, str]:
    return {"kafka_username": user, "kafka_password": secured.passwords[user]}


def _described(pipeline: Pipeline) -> Deployment:
    environment = {f"REFERRAL_STREAM_{name.upper()}": value for name, value in pipeline.settings.items()}
    return Deployment(read_settings(environment), Policy(), Clock())


def _spelled(right: Right) -> tuple[str, str]:
    """As the broker's log spells it."""
    kind = "".join(word.capitalize() for word in right.kind.split("-"))
    operation = {"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(right.operation, right.operation.upper())
    return operation, f"{kind}:LITERAL:{right.name}"


@pytest.fixture(scope="module")
def at_work(secured: KafkaServer, deployment: Pipeline) -> Pipeline:
    """Every role has run as its own user, and a customer has been asked, or held out."""
    for role in ROLES:
        deployment.start(role, **_as(secured, role))
    read_redis = deployment.settings["redis_url"].replace("ledger:", "projector:")
    deployment.start("projector", read_redis_url=read_redis, **_as(secured, "projector"))
    deployment.publish(a_promoter("asked", deployment.now()))
    deployment.await_outcome("asked", "soft", "holdout", seconds=40)
    a_reward_is_refused(secured, deployment)
    projected = (
        "Group:LITERAL:" + deployment.name + "-rewards",
        "Topic:LITERAL:" + deployment.topic("referral-records"),
    )
    wait_until(lambda: _described_or_read(secured, projected), "the projector has looked at everything", seconds=60)
    deployment.stop()
    return deployment


def _described_or_read(secured: KafkaServer, resources: tuple[str, ...]) -> bool:
    used = {resource for _, resource in secured.rights_used("projector")}
    return set(resources) <= used


def a_reward_is_refused(secured: KafkaServer, deployment: Pipeline) -> None:
    """The rewards role has told the payer, who has refused for good: that is all that it ever does."""
    with PayerServer(answers={"ana": [http(422)]}) as payer:
        who = {"rewards_url": payer.url, "rewards_secret": SECRET, **_as(secured, "rewards")}
        log = deployment.home / "rewards.log"
        role = ServerProcess("referral-stream rewards", deployment._command("rewards", **who), log)
        deployment._workers.append(role)
        reader = deployment.reader("responses")
        wait_until(lambda: "partitions_opened" in log.read_text(), "the role is ready")
        deployment.publish([Message("referral-rewards", granted("ana"), b"ana")])
        wait_until(lambda: any(b"reward.settled" in (each.value or b"") for each in reader.read()), "it is settled")


def test_a_customer_is_asked_where_every_process_may_do_only_what_the_list_says(
    secured: KafkaServer, at_work: Pipeline
) -> None:
    for role in (*ROLES, "projector", "rewards"):
        assert secured.rights_missed(role) - _not_ours(at_work) == set(), role


def _not_ours(deployment: Pipeline) -> set[tuple[str, str]]:
    """At its start every role looks whether all topics are there; those it may not see, others look after."""
    described = _described(deployment)
    names = {right.name for role in (*ROLES, "operator") for right in rights(described, role) if right.kind == "topic"}
    return {("DESCRIBE", f"Topic:LITERAL:{name}") for name in names}


@pytest.mark.parametrize(
    "command", [("topics", "check"), ("doctor",), ("deadletters", "list"), ("export",)], ids=" ".join
)
def test_the_operator_can_look_at_everything(at_work: Pipeline, command: tuple[str, ...]) -> None:
    done = at_work.run_command(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in (at_work.settings["kafka_password"], "another-password"):
        assert secret not in done.stdout + done.stderr


def test_a_log_is_not_for_whoever_may_not_read_it(secured: KafkaServer, at_work: Pipeline) -> None:
    done = at_work.run_command("export", **_as(secured, "worker"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no topic customer-events, or no right to see it" in done.stderr


def test_no_right_is_granted_to_a_role_that_it_makes_no_use_of(secured: KafkaServer, at_work: Pipeline) -> None:
    """Of the workers' roles, after all the above: what no record happened to need is named here, and why."""
    topics = _described(at_work).topics
    rare = {
        "ingest": {topics.dead_letters, topics.ledger_requests, topics.referral_contacts},  # bad input, switches, names
        "decide": {
            topics.dead_letters,  # a fault of our own
            topics.customer_events,  # wake-ups
            topics.referral_followups,  # what follows an answer or a referral
            topics.referral_rewards,
            topics.referral_records,
            topics.referral_contacts,
        },
        "ledger": {topics.dead_letters},  # a request that can not be read
        "projector": set[str](),
        "rewards": set[str](),
    }
    for role in (*ROLES, "projector", "rewards"):
        used = secured.rights_used(role)
        for right in rights(_described(at_work), role):
            if right.operation == "Write" and right.name in rare[role]:
                continue
            if right.prefixed:
                operation, beginning = _spelled(right)
                wanted = {f"{beginning}{topics.customer_events}-{partition}" for partition in range(PARTITIONS)}
                assert wanted <= {resource for used_for, resource in used if used_for == operation}, role
            else:
                assert _spelled(right) in used, (role, right)


def test_the_commands_for_kafka_say_what_the_list_says(deployment: Pipeline) -> None:
    described = _described(deployment)
    for principal in PRINCIPALS:
        said = [line.split() for line in commands(rights(described, principal), principal, "broker:9092")]
        for right in rights(described, principal):
            (line,) = [words for words in said if (f"--{right.kind}", right.name) in pairwise(words)]
            assert right.operation in line
            assert ("prefixed" in line) == right.prefixed
            assert f"User:{principal}" in line


def test_the_group_of_a_messaging_worker_is_the_one_of_the_example() -> None:
    readme = Path(__file__).parents[2] / "examples" / "messaging_worker" / "README.md"
    assert f"| `GROUP` | `{WORKER_GROUP}` |" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redis_url": "rediss://:wrong@127.0.0.1:{port}/0"}, "Redis"),
        ({"redis_cert_file": "", "redis_key_file": ""}, "Redis"),
    ],
    ids=["a wrong password", "no certificate"],
)
def test_doctor_says_when_redis_lets_us_not_in(
    deployment: Pipeline, redis_behind_tls: RedisServer, change: dict[str, str], said: str
) -> None:
    port = redis_behind_tls.url.rpartition(":")[2].removesuffix("/0")
    done = deployment.run_command("doctor", **{name: value.format(port=port) for name, value in change.items()})
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert said in line
    assert "another-password" not in done.stdout + done.stderr
    assert "wrong@" not in done.stdout + done.stderr
