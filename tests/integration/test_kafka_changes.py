"""A Kafka that changes under its workers: another app's group, other addresses, other passwords, lost packets."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from time import monotonic

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from faust_batches import BatchApp, create_app, running
from faust_batches.errors import GroupTaken
from faust_batches.run import EXIT_RESTART

from tests.integration.live import Pipeline, requested
from tests.integration.scripted import a_promoter
from tests.integration.test_outages import KEYS, counting_app, counts, one_of_each, with_topics
from tests.integration.test_transport import PARTITIONS, Counting, a_config, echo, until
from tests.night import nightly
from tests.services.kafka import KafkaServer
from tests.services.process import free_port, wait_until
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer


def namesakes(run: str, brokers: str) -> list[BatchApp]:
    """Apps that read other topics than the app ``run``, in its group: with tables of the same name, and without."""
    stateful, stateless = (create_app(a_config(run, brokers)) for _ in range(2))
    stateful.stateful(f"{run}-other-in", Counting(f"{run}-out"), ["counts"])
    stateless.stateless([f"{run}-other-in"], echo(f"{run}-out"))
    return [stateful, stateless]


async def test_a_second_app_in_the_group_is_refused_and_the_first_one_notices_nothing(
    kafka: KafkaServer,
) -> None:
    run = with_topics(kafka)
    kafka.create_topics({f"{run}-other-in": PARTITIONS})
    app, counting = counting_app(run, kafka.bootstrap)

    async def refused() -> None:
        for namesake in namesakes(run, kafka.bootstrap):
            with pytest.raises(GroupTaken, match=f"the group {run} belongs to another app: it reads .*{run}-in"):
                async with running(namesake):
                    pass

    async with running(app):
        await until(lambda: app.ready, "the app is ready")  # it has committed nothing yet
        before = app.meter.assignments
        await refused()
        one_of_each(kafka.bootstrap, f"{run}-in")
        await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
        assert (app.meter.assignments, app.failure) == (before, None)
    await refused()  # the first one does not run, but its changelogs are there
    async with running(counting_app(run, kafka.bootstrap)[0]):
        pass
    assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS)


def advertising(kafka: KafkaServer, at: str) -> None:
    """Let the broker say, from its next start on, that it is found there."""
    properties = kafka.home / "server.properties"
    if properties.exists():
        text = re.sub("(?m)^(advertised.listeners=[A-Z_]+)://.*$", rf"\1://{at}", properties.read_text())
        properties.write_text(text)
    else:
        kafka.add_settings({"advertised.listeners": f"{'SASL_SSL' if kafka.passwords else 'PLAINTEXT'}://{at}"})


@nightly
@pytest.mark.usefixtures("kafka")  # so that it is skipped where there is none
def test_brokers_that_come_back_elsewhere_end_the_worker_and_its_successor_finds_them(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    kafka = KafkaServer()
    port = int(kafka.bootstrap.rpartition(":")[2])
    with Proxy(port) as front, Proxy(port) as before, Proxy(port) as after:
        advertising(kafka, before.address)
        with kafka, Pipeline(kafka, redis_server.url, tmp_path, settings={"kafka_brokers": front.address}) as pipeline:
            pipeline.create_topics()
            worker = pipeline.start()
            pipeline.publish(a_promoter("before", pipeline.now()))
            pipeline.await_outcome("before", "soft", "holdout")
            kafka.stop()
            before.close()
            advertising(kafka, after.address)
            kafka.start()
            wait_until(lambda: not worker.running, "the worker has ended", every=0.2)
            assert worker.exit_code == EXIT_RESTART
            assert "reason=BrokersMoved" in pipeline.log()
            pipeline.start()
            pipeline.publish(a_promoter("after", pipeline.now()))
            pipeline.await_outcome("after", "soft", "holdout")
            requested(pipeline.asks())  # fails where a command comes twice


@nightly
@pytest.mark.usefixtures("kafka")
def test_a_password_that_was_changed_is_named_and_a_new_one_in_its_file_ends_the_worker(tmp_path: Path) -> None:
    """The brokers keep their connections at first; when these break, they refuse the old password."""
    kafka = KafkaServer(secured=True)
    file = tmp_path / "password"
    with Proxy(int(kafka.bootstrap.rpartition(":")[2])) as network:
        advertising(kafka, network.address)
        with kafka:
            settings = {
                "kafka_security": "SASL_SSL",
                "kafka_ca_file": str(kafka.ca_file),
                "kafka_username": "app",
                "kafka_password_file": str(file),
                "status_port": str(free_port()),
            }
            file.write_text(kafka.passwords["app"])
            with Pipeline(kafka, "redis://127.0.0.1:1/0", tmp_path, user="app", settings=settings) as pipeline:
                kafka.grant("app", pipeline.name)
                pipeline.create_topics(sources={})
                worker = pipeline.start("decide")
                wait_until(lambda: "partitions_ready" in pipeline.log(), "the worker is ready")
                change_password(kafka, "app", "another password")
                network.reset()
                wait_until(lambda: "authentication_failed" in pipeline.log(), "the refusal is named")
                assert worker.running
                file.write_text("another password")
                wait_until(lambda: not worker.running, "the worker has ended", every=0.2)
                assert worker.exit_code == EXIT_RESTART
                assert "reason=BrokersMoved" in pipeline.log()
                successor = pipeline.start("decide")
                wait_until(lambda: "partitions_ready" in successor.log.read_text(), "its successor is ready")


def change_password(kafka: KafkaServer, user: str, password: str) -> None:
    scram = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
    )
    admin = AdminClient(kafka.client_settings())
    for future in admin.alter_user_scram_credentials([scram]).values():
        future.result(20)


@nightly
@pytest.mark.usefixtures("kafka")
async def test_connections_that_a_firewall_has_forgotten_are_left_within_a_session_timeout() -> None:
    """They stay open and silent; new ones work. A session is longer here than what is asked of each connection."""
    kafka = KafkaServer()
    with Proxy(int(kafka.bootstrap.rpartition(":")[2])) as network:
        advertising(kafka, network.address)
        with kafka:
            run = with_topics(kafka)
            app, counting = counting_app(run, network.address, session_timeout_seconds=10.0)
            async with running(app):
                one_of_each(kafka.bootstrap, f"{run}-in")
                await until(partial(counting.has_seen, len(KEYS)), "the records are processed")
                network.silence()
                silent = monotonic()
                one_of_each(kafka.bootstrap, f"{run}-in")
                await until(partial(counting.has_seen, 2 * len(KEYS)), "work goes on")
                # Request timeouts, 20 s each and one after the other, would take three times as long.
                assert monotonic() - silent < 25
            assert app.failure is None
            assert counts(kafka.bootstrap, run) == [b"1"] * len(KEYS) + [b"2"] * len(KEYS)


@nightly
@pytest.mark.usefixtures("kafka")
def test_a_broker_that_takes_no_transactions_of_our_length_is_told_what_to_change(tmp_path: Path) -> None:
    with (
        KafkaServer(settings={"transaction.max.timeout.ms": "10000"}) as kafka,
        Pipeline(kafka, "redis://127.0.0.1:1/0", tmp_path) as pipeline,
    ):
        pipeline.create_topics(sources={})
        worker = pipeline.start("decide")
        wait_until(lambda: not worker.running, "the worker has ended", every=0.2)
        assert worker.exit_code == 1
        assert "reason=RefusedByBroker" in pipeline.log()
        assert "Traceback" not in pipeline.log()
        said = pipeline.run_command("doctor").stdout
        assert "WRONG    transactions: the brokers end them after 10 s, ours may last 15 s" in said
        worker = pipeline.start("decide", transaction_timeout_seconds="10")
        wait_until(lambda: "partitions_ready" in worker.log.read_text(), "the worker is ready")


@nightly
@pytest.mark.usefixtures("kafka")
def test_a_broker_that_allows_no_such_session_timeout_is_told_what_to_change(tmp_path: Path) -> None:
    limits = {"group.min.session.timeout.ms": "6000", "group.max.session.timeout.ms": "60000"}
    with (
        KafkaServer(settings=limits) as kafka,
        Pipeline(kafka, "redis://127.0.0.1:1/0", tmp_path) as pipeline,
    ):
        pipeline.create_topics(sources={})
        for seconds in ("3", "120"):
            done = pipeline.run_command("run", session_timeout_seconds=seconds)
            assert done.returncode == 1
            assert "reason=RefusedByBroker" in done.stderr
            assert "projector_not_started" in done.stderr
            assert "Traceback" not in done.stderr
            said = pipeline.run_command("doctor", session_timeout_seconds=seconds).stdout
            assert f"WRONG    session timeout: the brokers allow 6 to 60 s, ours is {seconds} s" in said
