"""What a customer gets: a command put into words by the example messaging worker, which is no part of the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import wrap
from typing import Any

_HERE = Path(__file__).parent
_PLACES = (_HERE.parents[1] / "examples" / "messaging_worker", _HERE / "messaging_worker")
_WRITTEN_BY = {"product": "Ledgerly", "sender": "Your team at Ledgerly"}


def example_worker() -> Path | None:
    """The folder of the example worker: in the checkout around this package, or where a wheel brings it."""
    return next((folder for folder in _PLACES if (folder / "worker.py").is_file()), None)


def mail(command: Mapping[str, Any], name: str, width: int) -> str | None:
    """The mail of a command (its ``data``), wrapped at ``width``; None if the example worker is not available."""
    folder = example_worker()
    spec = folder and spec_from_file_location("referral_stream_example_catalogue", folder / "catalogue.py")
    if not folder or not spec or not spec.loader:
        return None
    catalogue = module_from_spec(spec)
    spec.loader.exec_module(catalogue)
    message = catalogue.Catalogue(folder / "templates", _WRITTEN_BY).message(command, "email", {"name": name})
    lines = [f"Subject: {message.subject}", *message.text.splitlines()]
    return "\n".join("\n".join(wrap(line, width)) for line in lines)
