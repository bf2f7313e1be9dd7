"""The console over the demo's world: projector and pages, in the demo's own event loop and by its clock."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from referral_stream.projector.process import ProjectorBeside
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import ConsoleSettings

PORT: Final = 8090


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """Where it is, and the operator's token."""

    url: str
    token: str


@asynccontextmanager
async def console_beside(deployment: Deployment, port: int = PORT) -> AsyncIterator[OpenConsole | None]:
    """Pages about the demo, from entry to exit; None where what they need is not installed.

    On another port if this one is taken.
    """
    try:
        from referral_stream.console.serve import CannotServe, Served, serving  # noqa: PLC0415 (an extra of its own)
    except ModuleNotFoundError:
        yield None
        return
    token = secrets.token_urlsafe(16)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokens"
        file.write_text(f"you operator {sha256(token.encode()).hexdigest()}\n", encoding="utf-8")
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(ProjectorBeside(deployment))
            given = {**dict(deployment.settings), "console_tokens_file": file}

            async def served(at: int) -> Served:
                settings = ConsoleSettings.model_validate({**given, "console_port": at})
                return await parts.enter_async_context(serving(settings, replace(deployment, settings=settings)))

            try:
                found = await served(port)
            except CannotServe:
                found = await served(0)
            yield OpenConsole(found.url, token)
