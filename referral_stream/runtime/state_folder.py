"""The folder where a worker keeps its state on disk: may it be made, and written to?"""

from __future__ import annotations

import errno
import shutil
import tempfile
from typing import Final, NamedTuple

from referral_stream.runtime.settings import PREFIX, Settings

_ANOTHER: Final = f"set {PREFIX}DATA_DIR to a folder this user may write to"
_MORE_FILES: Final = "raise the limit on open files (ulimit -n, LimitNOFILE=)"
_REMEDIES: Final = {
    errno.EMFILE: _MORE_FILES,
    errno.ENFILE: _MORE_FILES,
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "raise this user's quota",
    errno.EROFS: f"mount its file system writable, or {_ANOTHER}",
    errno.EIO: f"replace its disk, or {_ANOTHER}",
}


class StateFolderProblem(NamedTuple):
    """What is wrong with the folder, and how to fix it."""

    problem: str
    remedy: str


def state_folder_problem(settings: Settings) -> StateFolderProblem | None:
    """Makes the folder and writes to it; what is wrong, or None: also where state is in memory."""
    if settings.store == "memory" or settings.data_dir is None:
        return None
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=settings.data_dir) as probe:
            probe.write(b"x")
    except OSError as error:
        problem = f"{settings.data_dir} cannot be written ({error.strerror})"
        return StateFolderProblem(problem, _REMEDIES.get(error.errno or 0, _ANOTHER))
    return None


def free_bytes(settings: Settings) -> int | None:
    """What is left on the disk of the folder; None where state is in memory. Raises OSError."""
    if settings.store == "memory" or settings.data_dir is None:
        return None
    return shutil.disk_usage(settings.data_dir).free
