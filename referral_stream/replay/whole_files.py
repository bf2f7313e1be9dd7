"""Results that are there when all of them are written: what was there before stays until then."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import IO, Final

_BUFFER_BYTES: Final = 2**20


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that is there when all of it is written, and else is left as it was; for its owner alone (mode 0600).

    gzip if its name ends in ``.gz``. What is there and is no file (a pipe, a device) is written to as it is. Raises
    OSError.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as there:
            yield there
        return
    target = target.resolve()
    with NamedTemporaryFile(dir=target.parent, prefix=_PREFIX, suffix=".part", delete=False) as raw:
        try:
            if target.suffix == ".gz":
                packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
                with packed, io.BufferedWriter(packed, _BUFFER_BYTES) as content:
                    yield content
            else:
                yield raw.file
            raw.flush()
            os.fsync(raw.fileno())
            Path(raw.name).replace(target)
        except BaseException:
            Path(raw.name).unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write into; its files take their places in ``target`` (made if missing) when all of them are there.

    Raises OSError.
    """
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target, prefix=_PREFIX) as folder:
        yield Path(folder)
        for file in sorted(Path(folder).iterdir()):
            file.replace(target / file.name)


_PREFIX: Final = ".writing-"
