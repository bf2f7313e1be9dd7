"""Commands as a person types them, from the folder the demo was started in."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def this_program() -> str:
    """How this program was called, to be typed again."""
    called = Path(sys.argv[0])
    return f"{python()} -m referral_stream" if called.name == "__main__.py" else typed(called)


def python() -> str:
    return typed(Path(sys.executable))


def typed(file: Path) -> str:
    """The shortest name of a program or file: alone where a shell finds it on its path, or relative to this folder."""
    found = shutil.which(file.name)
    if found is not None and Path(found).absolute() == file.absolute():
        return file.name
    inside = file.absolute().is_relative_to(Path.cwd())
    return shlex.quote(str(file.absolute().relative_to(Path.cwd()) if inside else file))
