"""How many files this process may open: raised to what its apps may need, and reported where that is impossible.

Most systems let a process open 1,024 files and raise that to much more by itself. A worker that comes to own all
partitions of its group, perhaps hours later, must not find out then.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from faust_batches.app import BatchApp
from faust_batches.errors import NeedsOperator
from faust_batches.stores import FILES_PER_STORE

logger = logging.getLogger(__name__)

_FEWEST: Final = 32  # a process with one app that owns nothing: streams, loops, and a connection or two
_PER_APP: Final = 32  # connections to brokers of its consumer and producer
_PER_FENCE: Final = 4  # connections of a partition's transactional producer: to its coordinator, and to leaders


def files_needed(app: BatchApp) -> int:
    """The number of files that ``app`` may have open when it owns every partition."""
    stateful = len(app.table_names) * app.config.partitions
    stores = stateful * FILES_PER_STORE if app.config.store == "rocksdb" else 0
    fences = app.config.partitions * _PER_FENCE if stateful and app.config.fencing == "transactions" else 0
    return _PER_APP + stores + fences


def raise_file_limit(apps: Iterable[BatchApp]) -> None:
    """Raise the soft limit as far as needed and allowed; logs what is missing even so.

    Raises:
        NeedsOperator: no worker can work with so few files.
    """
    needed = _FEWEST + sum(map(files_needed, apps))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < needed:
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard) if hard >= 0 else needed, hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < needed:
        remedy = "raise its limit (ulimit -n, LimitNOFILE=)"
        if soft < _FEWEST + _PER_APP:
            raise NeedsOperator(f"this process may open {soft} files, and needs up to {needed}: {remedy}")
        logger.warning("file_limit_low", extra={"limit": soft, "needed": needed, "to_fix": remedy})
