"""`import`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from referral_stream.cli.options import (
    SKIP_BAD,
    Unusable,
    check_log_name,
    check_outputs,
    email_key,
    instant_of,
    private_files,
    this_deployment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from referral_stream.ops.importing.columns import Column
    from referral_stream.ops.importing.process import ImportCheck, ImportRequest
    from referral_stream.ops.importing.values import ReadInstant
    from referral_stream.runtime.deployment import Deployment


_WHEN = "--as-of: when was the file exported? What it says without a date counts from then: --as-of 2026-06-30"


def _list_fields(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 (click's callbacks)
    from referral_stream.cli.render.importing import field_lines

    if wanted:
        for line in field_lines():
            click.echo(line)
        context.exit()


@click.command("import", short_help="Bring existing customers in, from a CSV or JSON lines.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--as-of", metavar="T", help="The date or time of the export. Needed, unless --dry-run.")
@click.option(
    "--column",
    "named",
    multiple=True,
    metavar="NAME=FIELD[:FORMAT]",
    help="What a column is: --fields lists the fields; ignore leaves it out. Repeatable.",
)
@click.option(
    "--columns",
    "columns_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same for several columns, in TOML; with formats, time zones and meanings of values.",
)
@click.option(
    "--fields",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_fields,
    help="List the fields, and the names that are recognised.",
)
@click.option(
    "--dry-run", is_flag=True, help="Read all of it, show what each column became, and write only what was refused."
)
@click.option("--values", is_flag=True, help="Show values of the columns, too: personal data.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a recorded log for replay instead of sending to the topic; gzip if it ends in .gz.",
)
@click.option(
    "--refused",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write what could not be used, by line. Default: FILE.refused.csv, in this folder.",
)
@click.option("--encoding", help="Of a CSV that is neither UTF-8 nor UTF-16, for example cp1252.")
@click.option(
    "--header-line",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Of a CSV: the line that names the columns. Default: 1.",
)
@SKIP_BAD
def import_(
    file: Path,
    as_of: str | None,
    named: tuple[str, ...],
    columns_file: Path | None,
    *,
    dry_run: bool,
    values: bool,
    output: Path | None,
    refused: Path | None,
    encoding: str | None,
    header_line: int | None,
    skip_bad: bool,
) -> None:
    """Bring existing customers in: a table with a row for each of them, into events of their history.

    FILE is CSV (any separator, UTF-8, UTF-16 or --encoding) or JSON lines, plain or gzip. All of it is read and checked
    before anything is written. Well-known columns are recognised; others are left out, but one that looks like an
    opt-out stops the import until it is named, or ignored.

    The events are history: they ask nobody. Past asks count, opt-outs hold, and what cannot be read of an opt-out holds
    as well; consent is only what a column says. They go to the topic profile, through the same checks as what any
    producer sends. The same file twice is the same events. Addresses are hashed here, with REFERRAL_STREAM_EMAIL_KEY.

    \b
    Examples:
      referral-stream import crm.csv --dry-run
      referral-stream import crm.csv --as-of 2026-06-30 --columns columns.toml
      referral-stream import crm.csv --dry-run --column Since=signed_up_at
      referral-stream import crm.csv --as-of 2026-06-30 --output history.jsonl
    """
    from referral_stream.cli.render.importing import show_checked
    from referral_stream.cli.render.terminal import say
    from referral_stream.ops.importing.process import ImportRequest

    _check_encoding(encoding)
    if as_of is None and not dry_run:
        raise click.UsageError(_WHEN)
    if output is not None:
        check_log_name(output)
    refused = refused or Path(f"{file.name}.refused.csv")
    check_outputs((file, columns_file), (output, refused))
    columns = _columns(named, columns_file)
    deployment = None if output is not None or dry_run else this_deployment()
    key = deployment.boundary.email_key if deployment is not None else email_key()
    moment, now = _as_of(as_of, deployment)
    request = ImportRequest(file, columns, moment, key, encoding, skip_bad, header_line)
    with _told(file), private_files():
        checked = _checked(request, refused, values=values)
        show_checked(checked, refused, values=values)
        if checked.problems:
            raise Unusable("nothing was written" + "".join(f"\n  - {each}" for each in checked.problems))
        if not dry_run:
            say(_written(request, deployment, output, now))
    _tell_of_the_lost(checked)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What is wrong with the files ends the process in a sentence."""
    import errno

    from referral_stream.contracts.errors import UnreadableLog

    try:
        yield
    except UnreadableLog as error:
        raise Unusable(str(error)) from None
    except OSError as error:
        if error.filename is None and error.errno == errno.EPIPE:  # of our own output: whoever reads it has enough
            raise
        raise click.ClickException(f"{error.filename or file}: {error.strerror or error}") from None


def _tell_of_the_lost(checked: ImportCheck) -> None:
    """Ends the process with exit code 1 where rows protect somebody whom they do not name."""
    if checked.lost:
        count = len(checked.lost) + checked.lost_more
        lines = ", ".join(map(str, checked.lost)) + (" …" if checked.lost_more else "")
        what = "1 row holds" if count == 1 else f"{count:,} rows hold"
        raise click.ClickException(
            f"{what} somebody back who has no id and no address: line{'s' if count > 1 else ''} {lines}; "
            "give them one, and import again"
        )


def _check_encoding(encoding: str | None) -> None:
    import io

    try:
        io.TextIOWrapper(io.BytesIO(), encoding or "utf-8")
    except (LookupError, ValueError):  # base64 and the like decode no text
        raise click.BadParameter(f"{encoding!r} is no encoding of text", param_hint="--encoding") from None


def _columns(named: tuple[str, ...], file: Path | None) -> list[Column]:
    from referral_stream.contracts.toml_file import read_toml
    from referral_stream.ops.importing.columns import ColumnsProblem, named_column, parse_columns

    try:
        found = [] if file is None else parse_columns(read_toml(file), str(file))
    except ColumnsProblem as problem:
        raise Unusable(str(problem)) from None
    try:
        return [*found, *map(named_column, named)]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--column") from None


def _as_of(text: str | None, deployment: Deployment | None) -> tuple[ReadInstant, int]:
    """(the time of the export, now)."""
    from referral_stream.contracts.inbound.attributes import BEFORE
    from referral_stream.ops.importing.values import ReadInstant
    from referral_stream.runtime.clock import Clock

    now = (deployment.clock if deployment is not None else Clock()).now()
    first, last = instant_of(text, "--as-of"), instant_of(text, "--as-of", end_of_day=True)
    if first is None or last is None:
        return ReadInstant(now, now), now
    if first < BEFORE:
        raise click.UsageError("--as-of is too early: before 2000")
    if first > now:
        raise click.UsageError("--as-of lies in the future")
    return ReadInstant(first, last), now


def _checked(request: ImportRequest, refused: Path, *, values: bool) -> ImportCheck:
    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.importing.process import check

    with progress(f"reading {request.file.name}", request.file.stat().st_size, in_bytes=True) as advance:
        return check(request, refused, advance, values=values)


def _written(request: ImportRequest, deployment: Deployment | None, output: Path | None, now: int) -> str:
    """Write the events; what to tell of it."""
    import asyncio
    import os

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.importing.process import TOPIC, ImportProblem, to_log, to_topic
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.settings import PREFIX

    with progress(f"writing {request.file.name}", request.file.stat().st_size, in_bytes=True) as advance:
        if deployment is None:
            topic = os.environ.get(f"{PREFIX}TOPIC_PREFIX", "") + TOPIC
            target = output or Path()
            return f"{_many(to_log(request, target, topic, advance))} written to {target}, for you alone"
        try:
            with quiet_kafka():
                written = asyncio.run(to_topic(request, deployment, now, advance))
        except ImportProblem as problem:
            raise click.ClickException(str(problem)) from None
    return f"{_many(written)} written to {deployment.topics.full_name(TOPIC)}; the same file again changes nothing"


def _many(events: int) -> str:
    return "1 event" if events == 1 else f"{events:,} events"
