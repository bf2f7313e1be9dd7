"""Producers compress their records as they like, and a worker reads them all."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder


@pytest.mark.parametrize(
    "codec",
    [
        DefaultRecordBatch.CODEC_GZIP,
        DefaultRecordBatch.CODEC_SNAPPY,
        DefaultRecordBatch.CODEC_LZ4,
        DefaultRecordBatch.CODEC_ZSTD,
    ],
    ids=["gzip", "snappy", "lz4", "zstd"],
)
def test_a_batch_of_every_codec_can_be_read(codec: int) -> None:
    value = b"ask at the right moment " * 100
    batch = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=10_000,
    )
    batch.append(0, timestamp=1, key=b"ana", value=value, headers=[])
    built = bytes(batch.build())
    assert len(built) < len(value), "it is compressed"
    assert [(record.key, record.value) for record in DefaultRecordBatch(built)] == [(b"ana", value)]
