"""The records of all customers, as the topic ``referral-records`` has them now."""

from __future__ import annotations

from referral_stream.metrics.records import Records
from referral_stream.ops.record import Progress, data_of
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import TopicReader


async def read_records(deployment: Deployment, progress: Progress | None = None) -> Records:
    """The newest record of every customer. Raises UnreadableTopic."""
    records, read = Records(), 0
    async with TopicReader(deployment.client(), deployment.topics.referral_records) as reader:
        async for batch in reader.present():
            read += len(batch)
            for record in batch:
                records.take((record.key or b"").decode("utf-8", "replace"), data_of(record))
            if progress is not None:
                progress(read)
    return records
