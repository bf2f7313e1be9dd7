"""How far a group has read: never back, whatever becomes of its committed offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from batch_builders import SOURCE, a_config
from faust.types import TP
from faust_batches import Output, positions
from faust_batches.errors import ChangelogMismatch, SourceMismatch, TopicsMismatch
from faust_batches.positions import KeptPosition, Positions

TP0, TP1, NEW = TP(SOURCE, 0), TP(SOURCE, 1), TP(SOURCE, 2)


def stored(offset: int, output: Output) -> ConsumerRecord:
    headers = tuple((name, content or b"") for name, content in output.headers)
    return ConsumerRecord("positions", 0, offset, 0, 0, output.key, output.value, None, 0, 0, headers)


class Kept:
    """The topic of positions, without a broker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, outcome: bool = True) -> None:
        self.outputs: list[Output] = []

        async def read(_client: Any, _topic: str) -> list[KeptPosition]:
            last = {output.key: stored(at, output) for at, output in enumerate(self.outputs)}
            return positions.entries_of(last.values())

        async def holds_records(_client: Any, _topic: str) -> bool:
            return outcome

        monkeypatch.setattr(positions, "read_positions", read)
        monkeypatch.setattr(positions, "_holds_records", holds_records)
        monkeypatch.setattr(positions, "_OTHERS_SECONDS", 0.2)
        monkeypatch.setattr(positions, "_AGAIN_SECONDS", 0.01)

    async def send(self, outputs: Sequence[Output]) -> None:
        self.outputs += outputs

    async def started(self, **settings: Any) -> Positions:
        found = Positions(a_config(positions="positions", outcome="out", **settings), self.send)
        await found.read({})
        return found


@pytest.fixture
async def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A group has read one partition up to 10, the other up to 20, and is away."""
    kept = Kept(monkeypatch)
    before = Positions(a_config(positions="positions"), kept.send)
    await before.keep({TP0: 7, TP1: 20})
    await before.keep({TP0: 10})
    return kept


@pytest.mark.parametrize(
    ("committed", "reached"),
    [
        (None, 10),  # expired, or deleted
        (0, 10),  # set back
        (10, 10),
        (15, 15),  # the last commits of a killed worker are not in the topic; or somebody has set it forward
    ],
)
async def test_reading_goes_on_at_the_further_of_what_is_committed_and_what_is_kept(
    kept: Kept, committed: int | None, reached: int
) -> None:
    assert (await kept.started()).reached({TP0: committed, TP1: 20}, {}) == {TP0: reached, TP1: 20}


async def test_a_new_partition_of_a_source_is_read_from_its_beginning(kept: Kept) -> None:
    assert (await kept.started()).reached({TP0: None, NEW: None}, {}) == {TP0: 10, NEW: None}
    assert (await kept.started()).reached({NEW: None}, {}) == {NEW: None}


async def test_what_begins_again_at_a_recreated_source_stays_there(kept: Kept) -> None:
    running = await kept.started()
    await running.keep({TP0: 3})
    assert running.reached({TP0: 3}, {}) == {TP0: 3}
    assert (await kept.started()).reached({TP0: 3}, {}) == {TP0: 3}


async def test_another_group_has_its_own_positions(kept: Kept) -> None:
    other = Positions(a_config(id="other", positions="positions"), kept.send)
    await other.read({})
    assert other.reached({TP0: None}, {}) == {TP0: None}


async def test_a_group_that_has_forgotten_where_it_was_does_not_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = await Kept(monkeypatch).started()
    with pytest.raises(SourceMismatch, match=r"nothing says how far app has read its sources, but out holds records"):
        forgotten.reached({TP0: None, TP1: None}, {})
    assert forgotten.reached({TP0: 0, TP1: None}, {}) == {TP0: 0, TP1: None}  # an operator has said where
    first = await Kept(monkeypatch, outcome=False).started()
    assert first.reached({TP0: None, TP1: None}, {}) == {TP0: None, TP1: None}


async def test_a_worker_that_begins_while_another_writes_its_first_records_is_not_taken_for_one_that_has_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one's records are there a moment before it has written how far it is."""
    kept = Kept(monkeypatch)
    monkeypatch.setattr(positions, "_OTHERS_SECONDS", 60.0)
    beginning = asyncio.create_task(kept.started())
    await asyncio.sleep(0.05)
    assert not beginning.done()
    await Positions(a_config(positions="positions"), kept.send).keep({TP0: 1})
    assert (await beginning).reached({TP1: None, NEW: None}, {}) == {TP1: None, NEW: None}


async def test_whoever_counts_partitions_otherwise_than_before_does_not_start(kept: Kept) -> None:
    with pytest.raises(TopicsMismatch, match=r"app has written by 4 partitions, which are 8 now"):
        await kept.started(partitions=8)


async def test_without_a_topic_nothing_is_known_and_nothing_kept(kept: Kept) -> None:
    none = Positions(a_config(), kept.send)
    await none.read({})
    before = len(kept.outputs)
    await none.keep({TP0: 11})
    assert (none.reached({TP0: None}, {}), len(kept.outputs)) == ({TP0: None}, before)


OLD, AGAIN = {SOURCE: "one"}, {SOURCE: "two"}


@pytest.mark.parametrize("committed", [None, 3, 10, 15])
async def test_a_source_that_was_made_again_is_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch, committed: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it is by now, and whatever was committed: that may be of the one before."""
    kept = Kept(monkeypatch)
    before = await kept.started()
    assert before.reached({TP0: 0, TP1: None}, OLD) == {TP0: 0, TP1: None}
    await before.keep({TP0: 10, TP1: 20})
    assert (await kept.started()).reached({TP0: 10, TP1: None}, OLD) == {TP0: 10, TP1: 20}
    caplog.clear()
    after = await kept.started()
    assert after.reached({TP0: committed, TP1: committed}, AGAIN) == {TP0: None, TP1: None}
    assert [record.message for record in caplog.records] == ["source_begins_again"] * 2
    await after.keep({TP0: 0, TP1: 0})  # where it begins
    assert after.reached({TP0: None, TP1: 5}, AGAIN) == {TP0: 0, TP1: 5}
    await after.keep({TP0: 4})
    assert (await kept.started()).reached({TP0: None, TP1: 5}, AGAIN) == {TP0: 4, TP1: 5}


async def test_a_position_of_an_earlier_version_or_of_a_broker_without_ids_counts(kept: Kept) -> None:
    assert (await kept.started()).reached({TP0: None}, AGAIN) == {TP0: 10}
    knows = await kept.started()
    knows.reached({TP0: 10}, OLD)
    await knows.keep({TP0: 11})
    assert (await kept.started()).reached({TP0: None}, {}) == {TP0: 11}


async def test_a_source_that_began_again_while_it_was_read_is_not_begun_once_more(kept: Kept) -> None:
    running = await kept.started()
    running.reached({TP0: 10, TP1: 20}, OLD)
    await running.keep({TP0: 11, TP1: 21})
    running.begins_again(TP0)
    await running.keep({TP0: 3})
    assert running.reached({TP0: 3, TP1: 21}, AGAIN) == {TP0: 3, TP1: None}


@pytest.mark.parametrize("key", [b"garbage", None, b"app source x", b"\xff\xfe a 1", b"app source 0 0"])
async def test_a_record_of_somebody_else_is_left_out_and_said(
    kept: Kept, key: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    kept.outputs.append(Output("positions", b"garbage", key))
    assert (await kept.started()).reached({TP0: None, TP1: None}, {}) == {TP0: 10, TP1: 20}
    (line,) = [record for record in caplog.records if record.message == "position_not_ours"]
    assert vars(line)["position"] == f"positions-0@{len(kept.outputs) - 1}"


@pytest.mark.parametrize("value", [b"garbage", b"1", b"1 x", b"-1 4", b"10 4 one", b"\xff"])
async def test_an_entry_that_cannot_be_read_is_named_with_its_remedy(kept: Kept, value: bytes) -> None:
    kept.outputs.append(Output("positions", value, f"app {SOURCE} 0".encode()))
    with pytest.raises(ChangelogMismatch, match=rf"^positions-0@3 says .* the key 'app {SOURCE} 0' without a value"):
        await kept.started()
    kept.outputs.append(Output("positions", None, f"app {SOURCE} 0".encode()))
    assert (await kept.started()).reached({TP0: 8, TP1: None}, {}) == {TP0: 8, TP1: 20}
