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
_TERMINATED: Final = 128 + signal.SIGTERM


class Verbs(click.Group):
    """A group whose commands clean up after themselves whoever ends them."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding is no reason to fail
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _end)  # workers and servers take it themselves
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None:
                raise
            raise click.ClickException("what is printed cannot be written: no space left on the device") from None


def _end(*_: object) -> None:
    """Let temporary files and processes go, then end."""
    raise SystemExit(_TERMINATED)
