from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord
from batch_builders import a_record
from faust_batches.source import SourcePosition, source_position
from test_stores import a_store


def test_a_position_comes_back_from_the_header_of_a_changelog_record() -> None:
    position = SourcePosition.after(a_record(41), 4)
    written: ConsumerRecord = replace(a_record(7), headers=(("other", b"x"), *position.headers()))
    assert position.next_offset == 42
    assert source_position(written) == position
    assert source_position(a_record(7)) is None


@pytest.mark.parametrize(
    ("record", "same"),
    [
        (a_record(41), True),
        (a_record(40), False),
        (a_record(42), False),
        (a_record(41, value=b"another"), False),
        (replace(a_record(41), timestamp=42), False),
    ],
)
def test_a_position_knows_the_record_that_it_stands_after(record: ConsumerRecord, same: bool) -> None:
    assert SourcePosition.after(a_record(41), 4).follows(record) is same


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
async def test_a_store_keeps_the_last_position_that_it_was_told(kind: str, tmp_path: Path) -> None:
    store, position = await a_store(kind, tmp_path), SourcePosition.after(a_record(41), 4)
    before = store.source
    store.write({b"a": b"1"}, 7, position)
    store.write({b"a": b"2"}, 8)
    assert (before, store.source, list(store.items())) == (None, position, [(b"a", b"2")])
    store.close()
    if kind == "rocksdb":
        again = await a_store(kind, tmp_path)
        assert again.source == position
        again.close()
