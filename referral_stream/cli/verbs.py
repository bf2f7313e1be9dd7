"""What holds for every verb: how it ends when it is stopped, and when nobody can take what it prints."""

from __future__ import annotations

import errno
import io
import signal
import sys
import threading
from typing import Any, Final

import click

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code of a program that Ctrl-C has ended, as shells count it."""
TERMINATED: Final = 128 + signal.SIGTERM
_SERVING: Final = frozenset({"run", "rewards", "console", "ingest-http"})
"""They take SIGTERM themselves, and end with 0."""


class Verbs(click.Group):
    """A group whose commands clean up after themselves whoever ends them."""

    _is_terminated = False

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a verb that serves nobody is then ended by SIGTERM as by Ctrl-C: in order."""
        name, command, rest = super().resolve_command(ctx, args)
        if name not in _SERVING and threading.current_thread() is threading.main_thread():
            self._is_terminated = False
            signal.signal(signal.SIGTERM, self._terminate)
        return name, command, rest

    def _terminate(self, *_: object) -> None:
        self._is_terminated = True
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # of a loop it cancels what runs

    def invoke(self, ctx: click.Context) -> Any:
        _print_anything()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(TERMINATED if self._is_terminated else INTERRUPTED)
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            raise click.ClickException("no space left on the device") from None


def _print_anything() -> None:
    """A terminal of another encoding is no reason to fail; a file or a pipe gets UTF-8, whatever the terminal has."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8")
