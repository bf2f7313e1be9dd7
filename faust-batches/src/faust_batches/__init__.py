"""A batch transport for Faust: it is fast, loses nothing, and can make each batch one transaction.

An app declares processors, which are pure functions of batches; the transport consumes, keeps tables, publishes, fences
former owners and recovers. It relies on private names of pinned releases of faust-streaming, mode-streaming and
aiokafka, each held by a test (``tests/test_faust_contract.py``).
"""

from faust_batches.app import BatchApp, create_app
from faust_batches.batch import (
    AsyncProcessor,
    BatchResult,
    Changes,
    Headers,
    Output,
    Processor,
    Read,
    Record,
    Refusal,
    Rest,
    Supersedes,
    record_bytes,
)
from faust_batches.config import WorkerConfig
from faust_batches.errors import (
    NeedsOperator,
    NeedsRestart,
    NotOwner,
    RecordTooLarge,
    TopicsMismatch,
    TransportError,
    WorkerFailed,
)
from faust_batches.meter import Histogram
from faust_batches.partitioner import partition_of
from faust_batches.run import run_worker, running
from faust_batches.status import AppStatus, app_status, ends, lag, refresh_ends

__all__ = [
    "AppStatus",
    "AsyncProcessor",
    "BatchApp",
    "BatchResult",
    "Changes",
    "Headers",
    "Histogram",
    "NeedsOperator",
    "NeedsRestart",
    "NotOwner",
    "Output",
    "Processor",
    "Read",
    "Record",
    "RecordTooLarge",
    "Refusal",
    "Rest",
    "Supersedes",
    "TopicsMismatch",
    "TransportError",
    "WorkerConfig",
    "WorkerFailed",
    "app_status",
    "create_app",
    "ends",
    "lag",
    "partition_of",
    "record_bytes",
    "refresh_ends",
    "run_worker",
    "running",
]
