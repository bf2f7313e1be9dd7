"""The role ``rewards`` as a process, between a real broker and a real HTTP server; killed where it hurts."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.integration.live import Message, Pipeline
from tests.integration.test_kafka_changes import advertising
from tests.rewards.paying import OK, SECRET, PayerServer, granted, http, reversed_
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, free_port, wait_until
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

PARTITIONS = 4
EXIT_RESTART = 75


@pytest.fixture
def server() -> Iterator[PayerServer]:
    with PayerServer() as server:
        yield server


@pytest.fixture
def pipeline(kafka: KafkaServer, tmp_path: Path, server: PayerServer) -> Iterator[Pipeline]:
    """Its topics alone: no other role runs."""
    with rewarding(kafka, tmp_path, server) as pipeline:
        yield pipeline


@contextmanager
def rewarding(kafka: KafkaServer, home: Path, server: PayerServer, **more: str) -> Iterator[Pipeline]:
    settings = {"rewards_url": server.url, "rewards_secret": SECRET, "rewards_timeout_seconds": "60", **more}
    with Pipeline(kafka, "", home, settings=settings) as pipeline:
        kafka.create_topics({pipeline.topic("referral-rewards"): PARTITIONS, pipeline.topic("responses"): 1})
        yield pipeline


def start(pipeline: Pipeline, **settings: str) -> ServerProcess:
    """The role; it reads some seconds later."""
    log = pipeline.home / f"worker-{len(pipeline._workers)}.log"
    worker = ServerProcess("referral-stream rewards", pipeline._command("rewards", **settings), log)
    pipeline._workers.append(worker)
    return worker


def ready(pipeline: Pipeline, **settings: str) -> tuple[ServerProcess, str]:
    """The role, which has opened its partitions, and where its status is."""
    port = free_port()
    worker = start(pipeline, status_port=str(port), **settings)
    url = f"http://127.0.0.1:{port}"
    pipeline.await_until(lambda: not worker.running or page(f"{url}/ready")[0] == 200, "the role is ready", 90)
    return worker, url


def page(url: str) -> tuple[int, str]:
    """Status (0: nobody answers) and text."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


def grant(pipeline: Pipeline, *customers: str, referral: str = "r1") -> None:
    pipeline.publish(Message("referral-rewards", granted(each, referral), each.encode()) for each in customers)


def key(customer: str, referral: str = "r1") -> str:
    return str(json.loads(granted(customer, referral))["data"]["grant_id"])


def exit_code(worker: ServerProcess) -> int:
    wait_until(lambda: not worker.running, "the role has ended", seconds=90)
    worker.stop()
    return worker.exit_code


def told(pipeline: Pipeline, server: PayerServer, *keys: str) -> None:
    """Return when the payer was told all of these."""
    pipeline.await_until(lambda: set(keys) <= set(server.keys()), f"{len(keys)} are told", 150)


@rule("A4.19")
def test_killed_between_the_answer_and_the_commit_it_tells_the_same_key_again(
    pipeline: Pipeline, server: PayerServer
) -> None:
    worker, _ = ready(pipeline)

    def pay_and_kill() -> bytes:
        os.kill(worker.pid, signal.SIGKILL)  # what the payer did is done; the answer reaches nobody
        return OK

    server.answers = {"ana": [pay_and_kill, OK]}
    grant(pipeline, "ana")
    wait_until(lambda: not worker.running, "it is killed")
    worker.stop()
    ready(pipeline)
    pipeline.await_until(lambda: len(server.requests) == 2, "it is told again", 90)
    grant(pipeline, "bo")
    told(pipeline, server, key("bo"))
    assert server.keys() == [key("ana"), key("ana"), key("bo")]
    assert len({request.body for request in server.requests if request.customer == "ana"}) == 1
    pipeline.stop()


@rule("A4.19")
def test_one_customers_endless_500_holds_up_no_other_and_a_restart_repeats_nobody_else(
    pipeline: Pipeline, server: PayerServer
) -> None:
    server.answers = {"stuck": [http(500)]}
    others = [f"well-{n}" for n in range(40)]
    _, url = ready(pipeline)
    grant(pipeline, "stuck")
    told(pipeline, server, key("stuck"))
    grant(pipeline, *others)
    told(pipeline, server, *map(key, others))
    assert "referral_stream_rewards_waiting 1.0" in page(f"{url}/metrics")[1]
    pipeline.stop()
    before = Counter(server.keys())
    assert all(before[key(each)] == 1 for each in others)

    server.answers = {"stuck": [http(500), OK]}
    _, url = ready(pipeline)
    grant(pipeline, "late")
    told(pipeline, server, key("late"))
    pipeline.await_until(lambda: "referral_stream_rewards_waiting 0.0" in page(f"{url}/metrics")[1], "all is told", 90)
    again = Counter(server.keys()) - before
    assert set(again) == {key("stuck"), key("late")}, "what was told behind the offset stays told"
    pipeline.stop()


@rule("A4.19")
def test_what_no_transaction_committed_is_not_told(pipeline: Pipeline, server: PayerServer) -> None:
    ready(pipeline)
    topic = pipeline.topic("referral-rewards")
    producer = Producer({**pipeline.kafka.client_settings(), "transactional.id": pipeline.name})
    producer.init_transactions(30)
    for customer, commits in (("undone", False), ("done", True)):
        producer.begin_transaction()
        producer.produce(topic, granted(customer), b"same")
        producer.flush(30)
        if commits:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    told(pipeline, server, key("done"))
    assert server.keys() == [key("done")]
    pipeline.stop()


@rule("A4.20")
def test_a_final_refusal_is_on_responses_before_its_offset_is_committed(
    pipeline: Pipeline, server: PayerServer
) -> None:
    server.answers = {"ana": [http(422, b'{"reference": "case-7"}')]}
    ready(pipeline)
    grant(pipeline, "ana")
    reader = pipeline.reader("responses")
    pipeline.await_until(lambda: bool(reader.read()), "it is settled", 90)
    (record,) = reader.read()
    event = json.loads(record.value or b"")
    assert record.key == b"ana"
    assert (event["type"], event["subject"]) == ("reward.settled", "ana")
    assert event["data"] == {"grant_id": key("ana"), "status": "failed", "reference": "case-7"}
    pipeline.stop()
    ready(pipeline)
    grant(pipeline, "bo")
    told(pipeline, server, key("bo"))
    assert server.keys() == [key("ana"), key("bo")]
    pipeline.stop()


@rule("A4.20")
def test_410_stops_the_role_and_the_next_one_tells_it_again(pipeline: Pipeline, server: PayerServer) -> None:
    server.answers = {"ana": [http(410), OK]}
    worker, _ = ready(pipeline)
    grant(pipeline, "ana")
    assert exit_code(worker) == 1
    assert "payer_gone" in pipeline.log()
    assert pipeline.read("responses") == []
    ready(pipeline)
    pipeline.await_until(lambda: server.keys() == [key("ana")] * 2, "it is told again", 90)
    pipeline.stop()


@rule("A4.19")
def test_workers_that_come_and_go_keep_every_customers_order(pipeline: Pipeline, server: PayerServer) -> None:
    customers = [f"c{n}" for n in range(24)]
    first, _ = ready(pipeline)
    for n, customer in enumerate(customers):
        grant(pipeline, customer)
        pipeline.publish([Message("referral-rewards", reversed_(customer), customer.encode())])
        if n == 6:
            ready(pipeline)
        if n == 12:
            first.kill9()
        if n == 18:
            ready(pipeline)
    told(pipeline, server, *(f"{key(each)}:reversed" for each in customers))
    for customer, keys in server.by_customer().items():
        assert list(dict.fromkeys(keys)) == [key(customer), f"{key(customer)}:reversed"], customer
    pipeline.stop()
    assert "Traceback" not in pipeline.log()


@rule("A4.19")
def test_a_full_partition_waits_and_the_others_go_on(pipeline: Pipeline, server: PayerServer) -> None:
    """All that is stuck is on one partition, more than it may hold."""
    stuck, by_key = [f"stuck-{n}" for n in range(5)], b"one partition"
    server.answers = {each: [http(500)] for each in stuck}
    _, url = ready(pipeline, rewards_backlog="2")
    for each in stuck:  # one at a time: what a fetch has brought is taken as a whole
        pipeline.publish([Message("referral-rewards", granted(each), by_key)])
    told(pipeline, server, *map(key, stuck[:2]))
    others = [f"well-{n}" for n in range(12)]
    grant(pipeline, *others)
    elsewhere = {key(each) for each in others} | set(map(key, stuck[:2]))
    pipeline.await_until(lambda: len(elsewhere & set(server.keys())) >= 8, "others are told", 90)
    server.answers = {}
    told(pipeline, server, *map(key, (*stuck, *others)))
    assert page(f"{url}/live")[0] == 200
    pipeline.stop()


def test_records_without_an_offset_are_told_only_if_somebody_says_so(pipeline: Pipeline, server: PayerServer) -> None:
    grant(pipeline, "ana")
    worker = start(pipeline)
    assert exit_code(worker) == 1
    assert "REFERRAL_STREAM_REWARDS_BEGIN=earliest" in pipeline.log()
    assert server.requests == []
    ready(pipeline, rewards_begin="earliest")
    told(pipeline, server, key("ana"))
    pipeline.stop()
    ready(pipeline)
    grant(pipeline, "bo")
    told(pipeline, server, key("bo"))
    assert server.keys() == [key("ana"), key("bo")]
    pipeline.stop()


def test_what_cannot_be_read_is_said_and_passed_over(pipeline: Pipeline, server: PayerServer) -> None:
    _, url = ready(pipeline)
    pipeline.publish([Message("referral-rewards", b"nonsense of ana@example.com", b"ana")])
    grant(pipeline, "ana")
    told(pipeline, server, key("ana"))
    assert server.keys() == [key("ana")]
    assert "reward_unreadable" in pipeline.log()
    assert "ana@example" not in pipeline.log()
    assert "referral_stream_rewards_unreadable_total 1.0" in page(f"{url}/metrics")[1]
    pipeline.stop()


def test_a_stop_lets_the_request_in_flight_end_and_marks_it(pipeline: Pipeline, server: PayerServer) -> None:
    worker, url = ready(pipeline)

    def stop_first() -> bytes:
        worker._process.terminate()
        wait_until(lambda: page(f"{url}/ready")[0] != 200, "it is stopping")
        return OK

    server.answers = {"ana": [stop_first, OK]}
    grant(pipeline, "ana")
    assert exit_code(worker) == 0
    ready(pipeline)
    grant(pipeline, "bo")
    told(pipeline, server, key("bo"))
    assert server.keys() == [key("ana"), key("bo")]
    pipeline.stop()


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path, server: PayerServer, kafka: KafkaServer) -> None:
    """``kafka`` is asked for only for its skip where there is none."""
    with KafkaServer() as broker, rewarding(broker, tmp_path, server) as pipeline:
        assert broker.bootstrap != kafka.bootstrap
        worker, url = ready(pipeline)
        broker.kill9()
        wait_until(lambda: page(f"{url}/ready")[0] == 503, "it says so", seconds=90)
        assert page(f"{url}/live")[0] == 200, "a restart would not help"
        broker.restart()
        grant(pipeline, "ana")
        told(pipeline, server, key("ana"))
        assert worker.running
        wait_until(lambda: page(f"{url}/ready")[0] == 200, "it is ready again", seconds=90)
        pipeline.stop()


def test_doctor_knows_the_payer_and_whether_anybody_tells_it(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path, server: PayerServer
) -> None:
    settings = {"rewards_url": server.url, "rewards_secret": SECRET}
    with Pipeline(kafka, redis_server.url, tmp_path, settings=settings) as pipeline:
        pipeline.create_topics()
        said = pipeline.run_command("doctor").stdout
        assert "payer: an address is set, requests are signed with one secret" in said
        assert "secret-part" not in said
        assert f"{pipeline.name}-rewards" not in said, "nobody is to be paid here"
        ready(pipeline)
        assert f"ok       group {pipeline.name}-rewards: 1 worker, stable, 0 records behind" in doctors_word(pipeline)
        pipeline.stop()
        assert f"warning  group {pipeline.name}-rewards: no worker" in doctors_word(pipeline)
        wrong = pipeline.run_command("doctor", rewards_secret="guess", rewards_previous_secret="")
        assert wrong.returncode == 1
        assert "REFERRAL_STREAM_REWARDS_SECRET: must begin with whsec_" in wrong.stdout
        assert "guess" not in wrong.stdout


def doctors_word(pipeline: Pipeline) -> str:
    return pipeline.run_command("doctor").stdout


def test_a_payer_that_is_away_is_waited_for_and_shows(pipeline: Pipeline, server: PayerServer) -> None:
    server.answers = {"ana": [None]}
    _, url = ready(pipeline)
    grant(pipeline, "ana")
    told(pipeline, server, key("ana"))
    wait_until(lambda: "the payer does not answer" in page(f"{url}/ready")[1], "it says so", seconds=60)
    assert page(f"{url}/live")[0] == 200
    server.answers = {}
    wait_until(lambda: page(f"{url}/ready")[0] == 200, "it is ready again", seconds=90)
    pipeline.stop()


@pytest.mark.usefixtures("kafka")
def test_brokers_that_are_elsewhere_now_end_the_role_and_its_successor_finds_them(
    tmp_path: Path, server: PayerServer
) -> None:
    kafka = KafkaServer()
    port = int(kafka.bootstrap.rpartition(":")[2])
    with Proxy(port) as front, Proxy(port) as before, Proxy(port) as after:
        advertising(kafka, before.address)
        with kafka, rewarding(kafka, tmp_path, server, kafka_brokers=front.address) as pipeline:
            worker, _ = ready(pipeline)
            kafka.stop()
            before.close()
            advertising(kafka, after.address)
            kafka.start()
            wait_until(lambda: not worker.running, "the role has ended", every=0.2)
            assert worker.exit_code == EXIT_RESTART
            assert "rewards_need_restart" in pipeline.log()
            ready(pipeline)
            grant(pipeline, "ana")
            told(pipeline, server, key("ana"))
            pipeline.stop()


@pytest.mark.parametrize(
    ("settings", "said", "code"),
    [
        ({"topic_prefix": "nobody-made-these."}, "run: referral-stream topics create", 1),
        ({"kafka_brokers": "127.0.0.1:1", "start_wait_seconds": "1"}, "nothing listens at 127.0.0.1:1", 75),
    ],
    ids=["no topics", "no broker"],
)
def test_what_keeps_it_from_starting_is_one_line(
    pipeline: Pipeline, settings: dict[str, str], said: str, code: int
) -> None:
    done = pipeline.run_command("rewards", **settings)
    assert done.returncode == code
    (line,) = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "rewards_not_started" in line
    assert said in line
    assert "secret-part" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
