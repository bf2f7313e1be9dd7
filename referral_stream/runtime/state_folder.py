"""The folder where a worker keeps its state on disk: may it be made, and written to?"""

from __future__ import annotations

import shutil
import tempfile
from typing import Final

from referral_stream.runtime.settings import PREFIX, Settings

REMEDY: Final = f"set {PREFIX}DATA_DIR to a folder this user may write to"


def state_folder_problem(settings: Settings) -> str | None:
    """Makes the folder and writes to it; what is wrong, or None: also where state is in memory."""
    if settings.store == "memory" or settings.data_dir is None:
        return None
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir) as probe:
            probe.write(b"x")
    except OSError as error:
        return f"{settings.data_dir} cannot be written ({error.strerror})"
    return None


def free_bytes(settings: Settings) -> int | None:
    """What is left on the disk of the folder; None where state is in memory. Raises OSError."""
    if settings.store == "memory" or settings.data_dir is None:
        return None
    return shutil.disk_usage(settings.data_dir).free
