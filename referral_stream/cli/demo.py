"""`demo`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import check_outputs, missing_package


@click.command(short_help="Watch one week of twelve customers; no services needed.")
@click.option("--keep", is_flag=True, help="Keep running afterwards, so you can experiment.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the results.",
)
def demo(*, keep: bool, output: Path) -> None:
    """Watch one week of twelve customers: who is asked for a referral, who is not, and why.

    Needs no services: it starts its own broker and Redis in memory and stops them at the end. Takes about half a
    minute.
    """
    check_outputs((), (), output)
    _play(output, keep=keep)


def _play(output: Path, *, keep: bool) -> None:
    import asyncio
    import logging

    from rich.console import Console

    try:
        from referral_stream.demo.play import play
        from referral_stream.demo.workers import DemoFailed
        from referral_stream.local.errors import EmbeddedServiceError
    except ModuleNotFoundError as missing:
        raise missing_package(missing, "demo") from None

    logging.basicConfig(level=logging.ERROR)
    logging.disable(logging.INFO)
    try:
        asyncio.run(play(Console(), output, keep=keep))
    except (DemoFailed, EmbeddedServiceError) as problem:
        raise click.ClickException(str(problem)) from None
