"""What the writer refuses before the producer does: a producer that has refused a record is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.receiver.cloud_events import SourceRecord
from referral_stream.receiver.writer import ENVELOPE_BYTES, SourceWriter, TooLarge


class Untouched:
    """A producer that nobody may use."""

    async def send(self, *_: Any, **__: Any) -> None:
        raise AssertionError("the size is checked first")


@pytest.mark.parametrize(
    "record",
    [
        SourceRecord("nps", b"x" * (4_096 + ENVELOPE_BYTES)),
        SourceRecord("nps", b"x", b"k" * 200_000),
        SourceRecord("nps", b"x", headers=(("ce_subject", b"s" * 200_000),)),
    ],
    ids=["value", "key", "headers"],
)
async def test_a_record_that_is_too_large_never_reaches_the_producer(record: SourceRecord) -> None:
    writer = SourceWriter({}, max_record_bytes=4_096, ack_seconds=1)
    untouched: Any = Untouched()
    writer._producer = untouched
    with pytest.raises(TooLarge):
        await writer.write([SourceRecord("nps", b"{}"), record])
    assert writer._producer is untouched
