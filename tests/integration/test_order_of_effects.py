"""The decide worker ends with kill -9 after every single step of a batch: what comes of the log is the same.

The log of `customer-events` is made beforehand, wake-ups and ledger answers included, so that what ought to come of it
is known byte for byte: the processor alone computes it from the same records. The worker gets the log in pieces, one
for each step, and dies in each.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from referral_stream.contracts.codec import decode_event, encode_event, event_headers, event_key
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import Stored, decode_state, decode_wakeup
from referral_stream.contracts.topics import Topics
from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.entities import Entity
from referral_stream.core.events import APPENDED
from referral_stream.core.instants import DAY
from referral_stream.stream.decide import Decide
from tests.builders import POLICY, _arrivals, a_customer, at, fact, nps
from tests.integration.live import Message, Pipeline
from tests.integration.stepping_worker import MERGING, STEPS
from tests.night import by_night
from tests.properties.recording import Recording
from tests.rules import rule
from tests.services.kafka import KafkaServer
from tests.services.process import ServerProcess, wait_until

NO_REDIS = "redis://127.0.0.1:1/0"
CUSTOMERS_PER_PIECE = 8
OUTPUTS = (
    "referral-asks", "referral-decisions", "referral-followups", "referral-rewards", "referral-records",
    "ledger-requests", "dead-letters",
)  # fmt: skip


def pieces(count: int) -> Iterator[list[Message]]:
    """`count` parts of one log. Each ends what the one before it began, and has all kinds of effects."""
    unfinished: list[Message] = []
    for piece in range(count):
        told = [
            event
            for number in range(CUSTOMERS_PER_PIECE)
            for customer in [f"cus-{piece}-{number}"]
            for event in (*a_customer(customer), nps(9, customer=customer))
        ]
        recording = Recording(POLICY).run(sorted(_arrivals(told), key=lambda arrival: arrival.now))
        messages = [
            Message("customer-events", encode_event(event), event_key(event), event_headers(event, now))
            for now, event, _ in recording.log
        ]
        half = len(told)  # everybody has answered, nobody has been woken yet
        yield unfinished + messages[:half]
        unfinished = messages[half:]
    yield unfinished


class Undisturbed:
    """What the processor makes of the whole log, one record after the other."""

    def __init__(self, events: Iterable[RawRecord]) -> None:
        self.outputs: dict[str, Counter[tuple[bytes | None, bytes | None]]] = {name: Counter() for name in OUTPUTS}
        self.appended: Counter[tuple[bytes | None, bytes | None]] = Counter()
        self.tables: dict[str, dict[bytes, bytes]] = {"customers": {}, "wakeups": {}}
        decide = Decide(Topics(), POLICY)
        for record in events:
            result = decide(record.partition, [record], lambda table, key: self.tables[table].get(key))
            for output in result.outputs:
                found = self.outputs.get(output.topic, self.appended)
                found[output.key, output.value] += 1
            for table, changes in result.changes.items():
                self._apply(self.tables[table], changes)

    @staticmethod
    def _apply(table: dict[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    def states(self) -> dict[bytes, Stored[Entity]]:
        return states(self.tables["customers"])

    def due(self) -> dict[bytes, int]:
        return due(self.tables["wakeups"])


def states(table: Mapping[bytes, bytes]) -> dict[bytes, Stored[Entity]]:
    """State and mark of every customer and link."""
    return {key: decode_state(value) for key, value in table.items()}


def customers_of(run: Undisturbed) -> list[Customer]:
    return [stored.entity for stored in run.states().values() if isinstance(stored.entity, Customer)]


def due(table: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """A wake-up's own mark says where the batch ended that wrote it: that may differ."""
    return {key: decode_wakeup(value).due for key, value in table.items()}


def run_until(step: str, pipeline: Pipeline) -> None:
    """Start a worker that ends itself after that step, and wait for its end."""
    command = pipeline._command("run", "decide")
    module = command.index("referral_stream")
    command[module : module + 1] = ["tests.integration.stepping_worker", step]
    worker = ServerProcess(f"the worker that ends after: {step}", command, pipeline.home / f"worker-{step}.log")
    try:
        wait_until(lambda: not worker.running, f"the worker has ended after: {step}")
    finally:
        worker.kill9()
    assert worker._process.returncode == -signal.SIGKILL, worker.log.read_text()[-4000:]


def a_pipeline(kafka: KafkaServer, home: Path, settings: Mapping[str, str]) -> Pipeline:
    """Its clock stands long before the log, so that no wake-up is due but those of the log."""
    start = at("last Mon 00:00") - 500 * DAY
    return Pipeline(kafka, NO_REDIS, home, policy="[holdout]\npercent = 0\n", start=start, settings=settings)


def await_exact(pipeline: Pipeline, *, repeats: bool = False) -> Undisturbed:
    """Return when states, marks, wake-ups and outputs are as undisturbed; outputs may be repeated where `repeats`."""
    expected = Undisturbed(pipeline.read("customer-events"))

    def is_exact() -> bool:
        return states(pipeline.changelog("customers")) == expected.states()

    wait_until(is_exact, "every state and mark is as undisturbed", every=0.5)
    assert due(pipeline.changelog("wakeups")) == expected.due()
    for topic, wanted in expected.outputs.items():
        found = Counter((record.key, record.value) for record in pipeline.read(topic))
        assert found.keys() == wanted.keys(), topic
        assert repeats or found == wanted, topic
    return expected


@pytest.mark.parametrize(
    ("fencing", "store"),
    [
        ("transactions", "rocksdb"),
        *(by_night(*row) for row in (("none", "memory"), ("transactions", "memory"), ("none", "rocksdb"))),
    ],
)
def test_a_worker_may_end_after_any_step(kafka: KafkaServer, tmp_path: Path, fencing: str, store: str) -> None:
    settings = {"fencing": fencing, "store": store, "static_member": "worker", "data_dir": str(tmp_path / "state")}
    steps = STEPS[fencing]
    with a_pipeline(kafka, tmp_path, settings) as pipeline:
        pipeline.create_topics()
        log = list(pieces(len(steps)))
        for step, piece in zip(steps, log, strict=False):
            pipeline.publish(piece)
            run_until(step, pipeline)
        pipeline.publish(log[-1])
        pipeline.start("decide")
        expected = await_exact(pipeline, repeats=fencing == "none")
        pipeline.stop()
        assert len(expected.outputs["referral-asks"]) == CUSTOMERS_PER_PIECE * len(steps)


PAIRS_PER_PIECE = 6


def merging_pieces(count: int) -> Iterator[list[Message]]:
    """People with two ids each, of whom one waits to be asked under the id that is merged away, and opts out later."""
    for piece in range(count):
        told: list[ev.Event] = []
        for number in range(PAIRS_PER_PIECE):
            ana, old = f"ana-{piece}-{number}", f"old-{piece}-{number}"
            told += [*a_customer(ana), nps(9, "Thu 12:30", customer=old)]
            told += [fact(ev.Aliased(alias=old), "Thu 12:31", customer=ana)]
            told += [fact(ev.Suppressed(reason="unsubscribe"), "Thu 12:32", customer=old)]
        yield [
            Message("customer-events", encode_event(event), event_key(event), event_headers(event, event.time))
            for event in told
        ]


def appended(records: Iterable[RawRecord]) -> Counter[tuple[bytes | None, bytes | None]]:
    """What ids have appended to each other, as it lies on the log."""
    found: Counter[tuple[bytes | None, bytes | None]] = Counter()
    for record in records:
        event = decode_event(record.value or b"")
        if event.via or event.type in APPENDED:
            found[record.key, record.value] += 1
    return found


@rule("I7.5", "I7.6")
@pytest.mark.parametrize("fencing", ["transactions", by_night("none")])
def test_a_worker_may_end_after_any_step_of_a_merge(kafka: KafkaServer, tmp_path: Path, fencing: str) -> None:
    """It dies with an open transaction in the topic that it reads, and nothing is lost, made up or made twice."""
    settings = {"fencing": fencing, "store": "memory", "static_member": "worker"}
    steps = MERGING[fencing]
    with a_pipeline(kafka, tmp_path, settings) as pipeline:
        pipeline.create_topics()
        log = list(merging_pieces(len(steps) + 1))
        for step, piece in zip(steps, log, strict=False):
            pipeline.publish(piece)
            run_until(step, pipeline)
        pipeline.publish(log[-1])
        pipeline.start("decide")

        def is_settled() -> bool:
            expected = Undisturbed(pipeline.read("customer-events"))
            merged = sum(customer.merged_into is not None for customer in customers_of(expected))
            passed_on = sum(customer.suppressed is not None for customer in customers_of(expected))
            return merged == passed_on == PAIRS_PER_PIECE * len(log)

        wait_until(is_settled, "everybody is merged, and the opt-outs have arrived", seconds=120, every=0.5)
        expected = await_exact(pipeline, repeats=fencing == "none")
        pipeline.stop()
        found = appended(pipeline.read("customer-events"))
        assert found.keys() == expected.appended.keys()
        assert fencing == "none" or found == expected.appended
        assert all(customer.merging == {} for customer in customers_of(expected))
        assert expected.outputs["referral-asks"] == Counter()
        assert expected.outputs["dead-letters"] == Counter()
