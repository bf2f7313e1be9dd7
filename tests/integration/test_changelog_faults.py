"""Changelogs that are not what we wrote: compacted hard, damaged, of another version; and what erasure leaves in them.

A state may lack an opt-out. So nobody goes on from a state that cannot be read: the customer is held back, the others
go on. The states of a newer version are not touched at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.contracts.state import VERSION, decode_customer, decode_wakeup, encode_wakeup
from referral_stream.core import events as ev
from referral_stream.core.events import Event
from tests.builders import at, fact, nps
from tests.integration.live import Message, Pipeline, parsed
from tests.integration.test_order_of_effects import a_pipeline, await_exact, pieces
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

VICTIM, OTHER = "cus-0-0", "cus-0-1"


def said_to(event: Event) -> Message:
    return Message("customer-events", encode_event(event), event_key(event), event_headers(event, event.time))


@pytest.fixture
def pipeline(kafka: KafkaServer, tmp_path: Path) -> Iterator[Pipeline]:
    """The decide worker has handled the first part of a log, and has stopped."""
    with a_pipeline(kafka, tmp_path, {"static_member": "worker"}) as pipeline:
        pipeline.create_topics()
        pipeline.publish(next(pieces(1)))
        pipeline.start("decide")
        await_exact(pipeline)
        pipeline.stop()
        yield pipeline


def overwrite(pipeline: Pipeline, table: str, change: Callable[[bytes], bytes]) -> bytes:
    """Change the last value of the victim in a changelog; the new one."""
    value = change(pipeline.changelog(table)[VICTIM.encode()])
    producer = Producer({**pipeline.kafka.client_settings(), "partitioner": "murmur2_random"})
    producer.produce(f"{pipeline.name}-decide-{table}-changelog", value, VICTIM)
    assert producer.flush(20) == 0
    return value


def mark(pipeline: Pipeline, customer: str) -> int:
    return decode_customer(pipeline.changelog("customers")[customer.encode()]).mark


def ended(worker: ServerProcess) -> str:
    """The one error of a worker that has given up by itself."""
    wait_until(lambda: not worker.running, "the worker has ended")
    worker.stop()
    said = worker.log.read_text()
    assert worker._process.returncode == 1, said
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if " app_failed " in line]
    return line


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"not a state", lambda value: value[:-3]],
    ids=["empty", "not a state", "cut short"],
)
def test_a_customer_whose_state_cannot_be_read_is_held_back_and_nobody_else(
    pipeline: Pipeline, damage: Callable[[bytes], bytes]
) -> None:
    before = mark(pipeline, OTHER)
    damaged = overwrite(pipeline, "customers", damage)
    pipeline.start("decide")
    pipeline.publish(said_to(nps(9, "Thu 13:00", "r2", customer=name)) for name in (VICTIM, OTHER))
    wait_until(lambda: mark(pipeline, OTHER) > before, "the other customer's event is handled", every=0.2)
    letters = pipeline.reader("dead-letters")
    wait_until(letters.read, "the victim's event is a dead letter")
    (letter,) = letters.read()
    assert letter.key == VICTIM.encode()
    assert (letter.header("error") or "").startswith("unreadable_state: customer state")
    assert parsed(letter)["data"]["response_id"] == "r2"
    wait_until(lambda: VICTIM.encode() not in pipeline.changelog("wakeups"), "nobody wakes the victim any more")
    assert pipeline.changelog("customers")[VICTIM.encode()] == damaged
    pipeline.stop()
    assert "state_unreadable" in pipeline.log()


def test_the_states_of_a_newer_version_are_left_alone(pipeline: Pipeline) -> None:
    newer = overwrite(pipeline, "customers", lambda value: bytes([VERSION + 1]) + value[1:])
    line = ended(pipeline.start("decide"))
    changelog = f"{pipeline.name}-decide-customers-changelog"
    assert f"{changelog}-" in line
    assert f"customer state of version {VERSION + 1}; this program reads {VERSION}" in line
    assert pipeline.changelog("customers")[VICTIM.encode()] == newer


def test_a_damaged_wakeup_is_written_anew(pipeline: Pipeline) -> None:
    due = decode_wakeup(pipeline.changelog("wakeups")[VICTIM.encode()]).due
    overwrite(pipeline, "wakeups", lambda _: b"\xc1")

    def repaired() -> bool:
        value = pipeline.changelog("wakeups")[VICTIM.encode()]
        return value != b"\xc1" and decode_wakeup(value).due == due

    pipeline.start("decide")
    wait_until(repaired, "the wake-up is what the state says", every=0.2)
    pipeline.stop()


def test_a_wakeup_that_its_customer_does_not_wait_for_is_taken_back(pipeline: Pipeline) -> None:
    """A crash without fencing can leave one behind."""
    asked = decode_customer(pipeline.changelog("customers")[VICTIM.encode()])
    overwrite(pipeline, "wakeups", lambda _: encode_wakeup(1, asked.mark + 1))
    pipeline.start("decide")
    wait_until(
        lambda: decode_wakeup(pipeline.changelog("wakeups")[VICTIM.encode()]).due == asked.entity.wake_at,
        "the wake-up is what the state says",
        every=0.2,
    )
    pipeline.stop()


def test_after_compaction_nothing_personal_is_left_of_an_erased_customer(tmp_path: Path, kafka: KafkaServer) -> None:
    with a_pipeline(kafka, tmp_path, {"static_member": "worker", "store": "memory"}) as pipeline:
        pipeline.create_topics()
        kafka.compact_at_once(*(f"{pipeline.name}-decide-{table}-changelog" for table in ("customers", "wakeups")))
        log = list(pieces(3))
        pipeline.start("decide")
        pipeline.publish(log[0])
        erased = fact(ev.ErasureRequested(), at("Thu 12:31"), customer=VICTIM)
        pipeline.publish([said_to(erased)])
        for piece in log[1:]:
            pipeline.publish(piece)

        def versions(table: str, customer: str) -> list[bytes | None]:
            name = f"{pipeline.name}-decide-{table}-changelog"
            reader = pipeline._reader(name, table, "read_committed")
            return [record.value for record in reader.read() if record.key == customer.encode()]

        def stub_alone() -> bool:
            pipeline.publish([said_to(fact(ev.AdviceAsked(), at("Thu 12:32"), customer=OTHER))])  # segments roll
            return len(versions("customers", VICTIM)) == 1 and not any(versions("wakeups", VICTIM))

        wait_until(stub_alone, "the log is compacted", seconds=90, every=1)
        (stub,) = versions("customers", VICTIM)
        customer = decode_customer(stub or b"").entity
        assert customer.erased_at == erased.time
        assert (customer.seen, customer.wake_at) == ({}, None)
        pipeline.stop()

        kafka.reset_offsets(f"{pipeline.name}-decide", pipeline.topic("customer-events"), 0)
        pipeline.start("decide")
        pipeline.publish([said_to(nps(9, "Thu 13:00", "again", customer=VICTIM))])
        await_exact(pipeline)
        assert decode_customer(pipeline.changelog("customers")[VICTIM.encode()]).entity.erased_at == erased.time
        pipeline.stop()
