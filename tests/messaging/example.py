"""The example worker as its user runs it: a process of its own, from its own folder."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

from tests.services.process import ServerProcess

FOLDER = Path(__file__).parents[2] / "examples" / "messaging_worker"

_DELIVERED = re.compile(r"^--- (\w+) to .* \((\S+)\)$", re.MULTILINE)


def module(name: str) -> ModuleType:
    """A module of the example, imported as its scripts do: by its bare name, from their folder."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


class ExampleWorker:
    """The worker with its memory and log in ``home``; ``settings`` are those of its README."""

    def __init__(self, bootstrap: str, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self.log = home / "messaging-worker.log"
        self._settings = {
            "KAFKA_BROKERS": bootstrap,
            "MEMORY_FILE": str(home / "messaging-worker.sqlite"),
            **(settings or {}),
        }
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()

    def start(self) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        assigned = [f"{name}={value}" for name, value in (kept | self._settings).items()]
        command = ["env", "-i", *assigned, sys.executable, str(FOLDER / "worker.py")]
        self._process = ServerProcess("the example worker", command, self.log)

    def restart(self) -> None:
        """The crash, and the start after it."""
        if self._process is not None:
            self._process.kill9()
        self.start()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.stop()
        return int(self._process._process.returncode)

    def deliveries(self) -> list[str]:
        """The id of every message to a customer on the console, in order."""
        return [command for channel, command in self.delivered() if channel != "owner"]

    def owner_items(self) -> list[str]:
        """The id of everything for an owner on the console, in order."""
        return [command for channel, command in self.delivered() if channel == "owner"]

    def delivered(self) -> list[tuple[str, str]]:
        """(channel, command id) of every message on the console, in order."""
        return _DELIVERED.findall(self.log.read_text()) if self.log.exists() else []
