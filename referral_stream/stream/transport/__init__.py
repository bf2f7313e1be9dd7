"""Batches instead of events: a transport for Faust that is fast, loses nothing, and can make a batch one transaction.

It knows nothing of referrals. An app declares processors, which are pure functions of batches; the transport consumes,
keeps tables, publishes, fences former owners and recovers. It relies on private names of pinned releases of
faust-streaming and aiokafka; `tests/stream/transport/test_faust_contract.py` holds them to it.
"""

from referral_stream.stream.transport.app import BatchApp, create_app
from referral_stream.stream.transport.batch import (
    AsyncProcessor,
    BatchResult,
    Changes,
    Headers,
    Output,
    Processor,
    Read,
    Record,
    Refusal,
    Supersedes,
    record_bytes,
)
from referral_stream.stream.transport.config import WorkerConfig
from referral_stream.stream.transport.errors import (
    NeedsOperator,
    NotOwner,
    RecordTooLarge,
    TopicsMismatch,
    TransportError,
    WorkerFailed,
)
from referral_stream.stream.transport.meter import Histogram
from referral_stream.stream.transport.partitioner import partition_of
from referral_stream.stream.transport.run import run_worker, running
from referral_stream.stream.transport.vitals import Vitals, lag, refresh_ends, vitals

__all__ = [
    "AsyncProcessor",
    "BatchApp",
    "BatchResult",
    "Changes",
    "Headers",
    "Histogram",
    "NeedsOperator",
    "NotOwner",
    "Output",
    "Processor",
    "Read",
    "Record",
    "RecordTooLarge",
    "Refusal",
    "Supersedes",
    "TopicsMismatch",
    "TransportError",
    "Vitals",
    "WorkerConfig",
    "WorkerFailed",
    "create_app",
    "lag",
    "partition_of",
    "record_bytes",
    "refresh_ends",
    "run_worker",
    "running",
    "vitals",
]
