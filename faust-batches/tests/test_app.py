from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from batch_builders import an_app
from faust.types import TP
from faust_batches import BatchApp, BatchResult, Output, Read, Record
from faust_batches.lanes import Batch
from faust_batches.plain_producer import PlainSender
from faust_batches.stateless import Stateless
from faust_batches.stores import MemoryStore
from faust_batches.table import BatchTable


def nothing(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
    return BatchResult()


def test_each_source_has_an_agent_of_its_own() -> None:
    app = an_app()
    app.stateless(["a", "b"], nothing)
    app.stateful("c", nothing, ["counts", "wakeups"])
    assert sorted(topic for agent in app.agents.values() for topic in agent.channel.topics) == ["a", "b", "c"]
    assert app.tables.changelog_topics == {"app-counts-changelog", "app-wakeups-changelog"}


def test_a_source_has_one_processor_and_an_app_one_stateful_source() -> None:
    app = an_app()
    app.stateful("a", nothing, ["counts"])
    with pytest.raises(ValueError, match="a has a processor already"):
        app.stateless(["a"], nothing)
    with pytest.raises(ValueError, match="one stateful source"):
        app.stateful("b", nothing, ["others"])


def test_an_app_that_is_not_started_owns_nothing() -> None:
    app = an_app()
    app.stateful("a", nothing, ["counts"])
    assert not app.ready
    assert app.owned_partitions() == frozenset()
    with pytest.raises(KeyError):
        app.table_items("others", 0)


def test_an_app_without_tables_says_so() -> None:
    with pytest.raises(KeyError, match="app has no tables"):
        an_app().table_items("counts", 0)


def end_recovery(app: BatchApp) -> None:
    """The recovery of the present assignment ends."""
    app.membership.recovered = app.membership.assignment
    app.on_rebalance_end()


def test_the_end_of_a_rebalance_cannot_hide_the_beginning_of_the_next() -> None:
    app = an_app()
    assert not app.rebalancing
    app.on_rebalance_start()
    app.membership.begin()
    assert app.rebalancing
    app.on_rebalance_start()  # again, before the first one is over
    app.on_rebalance_end()
    assert app.rebalancing
    app.membership.begin()
    app.on_rebalance_end()  # of the first one, whose recovery was overtaken just before its end
    assert app.rebalancing
    end_recovery(app)
    assert not app.rebalancing


def test_ready_is_announced_once_per_settled_rebalance_and_lost_only_after_it() -> None:
    app = an_app(fencing="none")
    events: list[tuple[str, frozenset[int]]] = []
    app.stateful(
        "a",
        nothing,
        ["counts"],
        on_partitions_ready=lambda partitions: events.append(("ready", partitions)),
        on_partitions_lost=lambda partitions: events.append(("lost", partitions)),
    )
    app.partitions_lost()
    app.on_rebalance_start()
    app.membership.begin()
    app.on_rebalance_start()
    app._assignment = {TP("a", 1), TP("app-counts-changelog", 1)}
    app.on_rebalance_end()  # of the first, overtaken one
    assert events == []
    app.membership.begin()
    app._assignment = {TP("a", 2), TP("a", 3)}
    cast("BatchTable", app.tables["counts"]).data.open.update({2: MemoryStore(), 3: MemoryStore()})
    app.on_rebalance_end()  # still of the first one
    assert events == []
    end_recovery(app)
    app.partitions_lost()
    app.partitions_lost()
    assert events == [("ready", frozenset({2, 3})), ("lost", frozenset({2, 3}))]


async def test_the_first_failure_is_the_one_that_is_kept() -> None:
    app = an_app()
    first, second = ZeroDivisionError(), ValueError()
    app.fail(first)
    app.fail(second)
    assert app.failure is first
    assert not app.ready


async def test_what_comes_first_is_acknowledged_before_the_rest_is_published() -> None:
    name, fact = Output("names", b"n"), Output("facts", b"f")
    sent: list[list[Output]] = []

    class Sender(PlainSender):
        def __init__(self) -> None: ...

        async def send(self, outputs: Sequence[Output]) -> None:
            sent.append(list(outputs))
            if name in outputs:
                raise ConnectionError("not acknowledged")

    stateless = Stateless(lambda *_: BatchResult([fact], first=[name]), Sender(), an_app().meter)
    with pytest.raises(ConnectionError):
        await stateless(Batch(TP("a", 0), 0, ()))
    assert sent == [[name]], "the fact waits for the name"


async def test_stateless_processors_have_no_tables() -> None:
    def reads(_partition: int, _records: Sequence[Record], read: Read) -> BatchResult:
        read("counts", b"a")
        return BatchResult()

    def writes(_partition: int, _records: Sequence[Record], _read: Read) -> BatchResult:
        return BatchResult([], {"counts": {b"a": b"1"}})

    app, batch = an_app(), Batch(TP("a", 0), 0, ())
    with pytest.raises(LookupError, match="counts"):
        await Stateless(reads, app._plain, app.meter)(batch)
    with pytest.raises(TypeError, match="no tables"):
        await Stateless(writes, app._plain, app.meter)(batch)
