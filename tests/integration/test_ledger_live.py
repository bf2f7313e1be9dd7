"""The ledger in Redis, live: caps hold across customers and partitions, and without a ledger nobody is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from faust_batches import partition_of

from referral_stream.core.effects import Decision
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import HOUR, SECOND, parse_instant
from referral_stream.ledger.rounds import ROUND_MILLISECONDS
from tests.integration.live import PARTITIONS, Message, Pipeline, cloud_event, parsed, requested
from tests.integration.scripted import a_promoter
from tests.night import nightly
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import wait_until
from tests.services.redis import RedisServer

POLICY = """
name = "impatient"
[moments]
rival_wait_seconds = 0
[triggers.nps_promoter]
window_hours = 1
settle_seconds = 1
[ledger]
answer_seconds = 3
retry_seconds = 1
retry_limit_seconds = 2
[holdout]
percent = 0
[breaker]
enabled = false
"""
"""No holdout, no breaker: here everybody who may be asked is asked, though many become so at once."""


def patient(settle_seconds: int) -> str:
    """Where the ledger is there: on a slow machine too, its answers come in time. Answers of now settle for so long."""
    policy = POLICY.replace("answer_seconds = 3", "answer_seconds = 30")
    return policy.replace("settle_seconds = 1\n", f"settle_seconds = {settle_seconds}\n")


AGE = HOUR // 2
"""Of the answers: they have settled, and the window lasts for another half an hour."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own that forgets everything when it is killed."""
    with RedisServer(append_only=False) as server:
        yield server


@pytest.fixture
def pipeline(kafka: KafkaServer, redis: RedisServer, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(kafka, redis.url, tmp_path, policy=POLICY) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def held_by(gate: str, customer: str, saw: str = "") -> Callable[[Decision], bool]:
    """Decisions about the customer in which this gate blocks, and no other but the moment's."""

    def held(decision: Decision) -> bool:
        blocking = [reason for reason in decision.reasons if reason.answer != "pass" and reason.gate != "moment"]
        return decision.customer_id == customer and [r.gate for r in blocking] == [gate] and saw in blocking[0].saw

    return held


def whom(pipeline: Pipeline) -> list[str]:
    """The customers asked so far, sorted; fails if a command is there twice."""
    return sorted(ask.customer_id for ask in requested(pipeline.asks()).values())


def a_switch(pipeline: Pipeline, kind: str, scope: str, name: str | None = None) -> Message:
    data = {"scope": scope, "by": "the test", "why": "to see"} | ({"name": name} if name else {})
    return Message("responses", orjson.dumps(cloud_event(f"control.{kind}", None, pipeline.now(), data)))


def on_different_partitions(name: str, count: int) -> list[str]:
    """Customer ids of which no two share a partition of ours."""
    found: dict[int, str] = {}
    for number in range(1_000):
        customer = f"{name}-{number}"
        found.setdefault(partition_of(customer.encode(), PARTITIONS), customer)
    return list(found.values())[:count]


def test_nobody_is_asked_without_redis_and_its_data_is_rebuilt_from_the_log(
    pipeline: Pipeline, redis: RedisServer
) -> None:
    shared: dict[str, Any] = {"account_id": "acme", "email_hmac": "ab" * 32}
    pipeline.publish(a_promoter("asked-before", pipeline.now(), AGE, **shared))
    pipeline.await_outcome("asked-before", "soft")

    redis.kill9()
    pipeline.publish(a_promoter("in-time", pipeline.now(), AGE))
    closing = pipeline.now() + 8 * SECOND
    pipeline.publish(a_promoter("too-late", pipeline.now(), HOUR - 8 * SECOND))
    for customer in ("in-time", "too-late"):
        held = pipeline.await_decided(held_by("overasking", customer, "ledger_unavailable"), f"{customer} must wait")
        assert held.outcome == "deferred"
    pipeline.await_clock(closing)
    pipeline.await_outcome("too-late", "suppressed", "expired")  # the latter if a request is under way just then
    assert whom(pipeline) == ["asked-before"]

    redis.start()
    pipeline.await_outcome("in-time", "soft")
    pipeline.publish(a_promoter("same-account", pipeline.now(), AGE, account_id="acme"))
    pipeline.publish(a_promoter("same-person", pipeline.now(), AGE, email_hmac="ab" * 32))
    pipeline.await_decided(held_by("account", "same-account"), "the account's ask is remembered")
    pipeline.await_decided(held_by("overasking", "same-person"), "the person's ask is remembered")
    assert whom(pipeline) == ["asked-before", "in-time"]
    assert "ledger_rebuilt" in pipeline.log()


def test_a_pause_holds_everybody_back_and_outlives_the_memory_of_redis(pipeline: Pipeline, redis: RedisServer) -> None:
    pipeline.publish([a_switch(pipeline, "paused", "trigger", "nps_promoter")])
    requests = pipeline.reader("ledger-requests")
    wait_until(lambda: any(parsed(each)["type"] == "control.paused" for each in requests.read()), "the pause is logged")
    kept = pipeline.reader("ledger-generations")
    wait_until(lambda: any(parsed(each)["type"] == "control.paused" for each in kept.read()), "and kept for good")
    pipeline.publish(a_promoter("first", pipeline.now(), AGE))
    pipeline.await_decided(held_by("paused", "first"), "first is held by the pause")

    redis.kill9()
    redis.start()
    pipeline.publish(a_promoter("second", pipeline.now(), AGE))
    pipeline.await_decided(held_by("paused", "second"), "second is held by the pause that was rebuilt")
    assert whom(pipeline) == []

    pipeline.publish([a_switch(pipeline, "resumed", "trigger", "nps_promoter")])
    for customer in ("first", "second"):
        pipeline.await_outcome(customer, "soft")
    assert whom(pipeline) == ["first", "second"]


def test_nobody_is_asked_by_a_ledger_whose_log_has_lost_its_head(
    pipeline: Pipeline, redis: RedisServer, kafka: KafkaServer
) -> None:
    """As long as Redis knows the asks, all goes on, and ``topics check`` warns; then nothing is built, and said so."""
    shared: dict[str, Any] = {"email_hmac": "ab" * 32}
    pipeline.publish(a_promoter("asked-before", pipeline.now(), AGE, **shared))
    pipeline.await_outcome("asked-before", "soft")
    kafka.remove_records(pipeline.topic("ledger-requests"))
    pipeline.publish(a_promoter("meanwhile", pipeline.now(), AGE))
    pipeline.await_outcome("meanwhile", "soft")
    says = f"{pipeline.topic('ledger-requests')}-"
    for command in (["topics", "check"], ["doctor"]):
        done = pipeline.run_command(*command)
        assert done.returncode == 1
        assert "although the ledger was last built at" in done.stdout, done.stdout
        assert "When something is lost: ledger-requests" in done.stdout

    redis.kill9()
    redis.start()
    pipeline.publish(a_promoter("same-person", pipeline.now(), AGE, **shared))
    pipeline.await_decided(held_by("overasking", "same-person", "ledger_unavailable"), "the same person must wait")
    wait_until(lambda: f"ledger_log_cut cause={says}" in pipeline.log(), "the partition is named")
    announced = pipeline.reader("ledger-generations").read()
    assert len([each for each in announced if parsed(each)["type"] == "ledger.renewed"]) == 1, "nobody began to build"
    assert whom(pipeline) == ["asked-before", "meanwhile"]


REWARDING = """
[rewards]
enabled = true
default_segment = "all"
[rewards.programmes.all]
kind = "recognition"
"""


def a_customer_won(pipeline: Pipeline, referrer: str) -> list[Message]:
    """A referral of one and the same contact, who becomes a customer."""
    given: dict[str, Any] = {"referral_id": f"of {referrer}", "contact": {"ref": "kim", "consented": False}}
    won = {"referral_id": f"of {referrer}", "status": "converted"}
    now = pipeline.now()
    return [
        Message("responses", orjson.dumps(cloud_event(kind, referrer, now + at, data)))
        for at, (kind, data) in enumerate((("referral.given", given), ("referral.status_changed", won)))
    ]


@rule("A4.10", "A10.4", "A10.5")
def test_one_contact_is_rewarded_once_whoever_asks_and_whatever_redis_forgets(
    kafka: KafkaServer, redis: RedisServer, tmp_path: Path
) -> None:
    first, second, third = on_different_partitions("referrer", 3)
    with Pipeline(kafka, redis.url, tmp_path, policy=POLICY + REWARDING) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        rewards = pipeline.reader("referral-rewards")

        def told(referrer: str) -> list[str]:
            found = [parsed(each) for each in rewards.read()]
            return [each["data"].get("reason", each["type"]) for each in found if each["subject"] == referrer]

        pipeline.publish(a_customer_won(pipeline, first))
        pipeline.await_until(lambda: told(first) == ["referral.reward.granted"], "the first is rewarded", seconds=60)
        pipeline.publish(a_customer_won(pipeline, second))
        pipeline.await_until(lambda: told(second) == ["duplicate"], "the second is not", seconds=60)

        redis.kill9()
        redis.start()
        pipeline.publish(a_customer_won(pipeline, third))
        pipeline.await_until(lambda: told(third) == ["duplicate"], "what was given is known from the log", seconds=90)
        assert told(first) == ["referral.reward.granted"]
        requests = [parsed(each) for each in pipeline.reader("ledger-requests").read()]
        assert [each["subject"] for each in requests if each["type"] == "grant.held"] == [first]


@pytest.fixture(scope="module")
def shared(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """For the tests that leave Redis in peace."""
    with Pipeline(kafka, redis_server.url, tmp_path_factory.mktemp("ledger"), policy=patient(15)) as pipeline:
        pipeline.create_topics()
        pipeline.start()
        yield pipeline


def the_best_of_every_account(pipeline: Pipeline, accounts: int) -> None:
    """Let three contacts of every account become due at one instant; the best of each is asked, and nobody else.

    An account counts if the requests of its contacts were written within the time that the ledger waits, which on a
    slow machine not all are.
    """
    now = pipeline.now()
    contacts = {account: on_different_partitions(f"of-{account}", 3) for account in range(accounts)}
    best = {account: names[account % 3] for account, names in contacts.items()}
    messages = list[Message]()
    for account, names in contacts.items():
        for name in names:
            strong = name == best[account]
            messages += a_promoter(name, now, 0, strong=strong, account_id=f"account-{account}")
    pipeline.publish(messages)
    asks, requests = pipeline.reader("referral-asks"), pipeline.reader("ledger-requests")
    asked = set[str]()

    def one_of_each_is_asked() -> bool:
        asked.update(parsed(record)["subject"] for record in asks.read())
        return all(asked & set(names) for names in contacts.values())

    pipeline.await_until(one_of_each_is_asked, "somebody of every account is asked", seconds=240)
    written: dict[str, tuple[int, int]] = {}  # when, by the broker, and how long after what led to it
    planned: dict[str, str | None] = {}
    ahead_of_real = pipeline.now() - round(time.time() * SECOND)
    for record in requests.read():
        if (body := parsed(record))["type"] == "reservation.requested":
            late = record.timestamp + ahead_of_real - parse_instant(body["data"]["now"])[0]
            written.setdefault(body["subject"], (record.timestamp, late))
            planned.setdefault(body["subject"], body["data"].get("planned"))

    def came_in_time(names: list[str]) -> bool:
        if not written.keys() >= set(names) or len({planned[name] for name in names} - {None}) != 1:
            return False
        if None in {planned[name] for name in names}:  # known only after it was due
            return False
        first, late = min(written[name] for name in names)
        return max(written[name] for name in names)[0] - first <= max(ROUND_MILLISECONDS, min(late, 4 * SECOND))

    judged = [account for account, names in contacts.items() if came_in_time(names)]
    wrong = [account for account in judged if asked & set(contacts[account]) != {best[account]}]
    assert wrong == [], f"{len(wrong)} of {len(judged)} accounts"
    if not judged:
        pytest.skip("the machine was too slow to show anything")


def test_of_the_contacts_of_one_account_only_the_best_is_asked_at_one_instant(shared: Pipeline) -> None:
    shared.publish(a_promoter("first-of-all", shared.now(), AGE))
    shared.await_outcome("first-of-all", "soft")  # the workers are up: what follows is known before it is due
    contacts = on_different_partitions("contact", 3)
    now = shared.now()  # all have settled at the same instant, when all of them are known
    for number, contact in enumerate(contacts):
        shared.publish(a_promoter(contact, now, 0, strong=number == 1, account_id="umbrella"))
    shared.await_outcome(contacts[1], "asked")
    for contact in (contacts[0], contacts[2]):
        shared.await_decided(held_by("account", contact), f"{contact} is held by the account's cap")
    assert [customer for customer in whom(shared) if customer in contacts] == [contacts[1]]


@nightly
def test_of_the_contacts_of_fifty_accounts_the_best_are_asked_at_one_instant(shared: Pipeline) -> None:
    shared.publish(a_promoter("before-fifty", shared.now(), AGE))
    shared.await_outcome("before-fifty", "soft")
    the_best_of_every_account(shared, 50)


@nightly
def test_of_a_thousand_accounts_at_one_instant_the_best_are_asked_by_two_workers(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with Pipeline(kafka, redis_server.url, tmp_path, policy=patient(150)) as pipeline:
        pipeline.create_topics()
        for _ in range(2):
            pipeline.start()
        pipeline.publish(a_promoter("first-of-all", pipeline.now(), AGE))
        pipeline.await_outcome("first-of-all", "soft", "asked")
        the_best_of_every_account(pipeline, 1_000)


def test_one_person_under_many_customer_ids_is_asked_once(shared: Pipeline) -> None:
    ids = on_different_partitions("id", 4)
    for customer in ids:
        shared.publish(a_promoter(customer, shared.now(), AGE, email_hmac="cd" * 32))
    for customer in ids:
        shared.await_outcome(customer, "soft", "suppressed")
    assert len([customer for customer in whom(shared) if customer in ids]) == 1


def test_a_failed_delivery_gives_the_account_back(shared: Pipeline) -> None:
    shared.publish(a_promoter("unlucky", shared.now(), AGE, account_id="initech"))
    shared.await_outcome("unlucky", "soft")
    command = derived_id("command", "unlucky", "nps_promoter", "unlucky/r1", 1)
    failed = cloud_event("ask.acknowledged", "unlucky", shared.now(), {"command_id": command, "status": "failed"})
    shared.publish([Message("responses", orjson.dumps(failed))])
    requests = shared.reader("ledger-requests")
    wait_until(
        lambda: any(parsed(each)["type"] == "reservation.released" for each in requests.read()), "it is released"
    )
    shared.publish(a_promoter("colleague", shared.now(), AGE, account_id="initech"))
    shared.await_outcome("colleague", "soft")


def test_a_switch_for_all_stops_every_trigger_and_lets_all_go_on(shared: Pipeline) -> None:
    shared.publish([a_switch(shared, "paused", "all")])
    requests = shared.reader("ledger-requests")
    wait_until(lambda: any(parsed(each)["type"] == "control.paused" for each in requests.read()), "the pause is logged")
    waiting = [f"waiting-{number}" for number in range(5)]
    for customer in waiting:
        shared.publish(a_promoter(customer, shared.now(), AGE))
    for customer in waiting:
        shared.await_decided(held_by("paused", customer), f"{customer} is held by the pause")
    assert not set(waiting) & set(whom(shared))
    shared.publish([a_switch(shared, "resumed", "all")])
    for customer in waiting:
        shared.await_outcome(customer, "soft")
