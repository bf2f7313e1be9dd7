"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from referral_stream.cli.options import check_log_name, instant_of, this_deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from referral_stream.ops.export import Exported, Interval
    from referral_stream.runtime.deployment import Deployment


@click.command(short_help="Write a recorded log from the topics, for replay.")
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME", help="Which topic; repeatable. Default: customer-events."
)
@click.option(
    "--from", "start", metavar="T", help="From the date or time T, or this offset of each partition. Default: all."
)
@click.option("--to", "end", metavar="T", help="To the end of the date, or the time, T. Default: what is there now.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file, gzip if it ends in .gz; an existing one is replaced. Default: stdout, for a pipe.",
)
def export(topics: tuple[str, ...], start: str | None, end: str | None, output: Path | None) -> None:
    """Write a recorded log: what lies on a topic, one record per line, as replay and explain read it.

    Reads only committed records, outside any group, up to the end of the topics as of the start; writes nothing to
    Kafka. Export customer-events alone: it replays exactly. Source topics can be exported together and are merged by
    record time; replay them to see what another policy would have decided. A replay reads the topics' names with
    REFERRAL_STREAM_TOPIC_PREFIX, as this does.

    The log is personal data: source topics hold what producers wrote, addresses and comments included. The file is
    yours alone (mode 0600), and appears when all of it is written.

    \b
    Examples:
      referral-stream export --output june.jsonl.gz
      referral-stream export --topic profile --topic nps --output facts.jsonl
      referral-stream export --from 2026-06-01 | referral-stream replay - --facts
      referral-stream explain cus-ana --log june.jsonl.gz
    """
    import sys

    from referral_stream.cli.render.terminal import say
    from referral_stream.replay.whole_files import whole_file

    names, interval = topics or ("customer-events",), _interval(start, end)
    _check_output(output)
    deployment = this_deployment(email_key_needed=False)
    without = {name.removeprefix(deployment.settings.topic_prefix) for name in names}
    if "customer-events" in without and len(without) > 1:
        raise click.UsageError("customer-events holds what the source topics say: export it by itself")
    if output is None:
        found = _exported(deployment, names, interval, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
    else:
        try:
            with whole_file(output) as file:
                found = _exported(deployment, names, interval, file.write)
        except OSError as error:
            raise click.ClickException(f"{output}: {error.strerror or error}; nothing was written") from None
    for line in _told(found):
        say(line, indent=4, err=output is None)
    if output is not None:
        say(f"written to {output}, for you alone")


def exported_to(output: Path, topics: tuple[str, ...], start: str | None, end: str | None) -> None:
    """A recorded log of these topics in a new file, for a verb that replays one; says on stderr what is in it."""
    from referral_stream.cli.render.terminal import say

    deployment = this_deployment(email_key_needed=False)
    with output.open("wb") as file:
        found = _exported(deployment, topics, _interval(start, end), file.write)
    for line in _told(found):
        say(line, indent=4, err=True)


def _interval(start: str | None, end: str | None) -> Interval:
    from referral_stream.ops.export import Interval

    offset = int(start) if start is not None and start.isascii() and start.isdecimal() else None
    first = None if offset is not None else instant_of(start, "--from")
    last = instant_of(end, "--to", end_of_day=True)
    if first is not None and last is not None and first > last:
        raise click.UsageError("--to lies before --from")
    return Interval(first=first, last=last, offset=offset)


def _check_output(output: Path | None) -> None:
    """Ends the process with exit code 2 where a log cannot, or should not, go there."""
    import sys

    if output is None:
        if sys.stdout.isatty():
            raise click.UsageError("a log is personal data and long: name a file with --output, or pipe it on")
        return
    check_log_name(output)


def _exported(
    deployment: Deployment, names: tuple[str, ...], interval: Interval, write: Callable[[bytes], object]
) -> list[Exported]:
    import asyncio

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.export import ExportProblem, export
    from referral_stream.runtime.connection import quiet_kafka

    async def read() -> list[Exported]:
        with progress("records") as advance:
            return await export(deployment, names, interval, write, advance)

    try:
        with quiet_kafka():
            return asyncio.run(read())
    except ExportProblem as problem:
        raise click.ClickException(str(problem)) from None


def _told(found: list[Exported]) -> list[str]:
    from referral_stream.core.instants import rfc3339

    lines = []
    for each in found:
        many = "1 record" if each.records == 1 else f"{each.records:,} records"
        if each.earliest is not None and each.latest is not None:
            many += f", {rfc3339(each.earliest)} to {rfc3339(each.latest)}"
        lines.append(f"{each.topic}: {many if each.records else 'nothing in this time'}")
        if each.timeless:
            partition, offset = each.timeless[0]
            lines.append(
                f"note: {len(each.timeless):,} with a time that can be none, the first at offset {offset} of partition "
                f"{partition}: written without it, so that a replay takes {'it' if len(each.timeless) == 1 else 'them'}"
            )
        if each.late_starts:
            begun = ", ".join(f"{partition} at {offset}" for partition, offset in sorted(each.late_starts.items()))
            remedy = "an exact replay needs --state, a replay of the facts alone --facts"
            lines.append(f"note: partitions without their beginning ({begun}): {remedy}")
    return lines
