"""`record`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from referral_stream.cli.options import (
    LOG,
    MAPPINGS,
    POLICY,
    SKIP_BAD,
    SORT,
    boundary_of,
    policy_in,
    reading_log,
    this_deployment,
)

if TYPE_CHECKING:
    from referral_stream.replay.record_search import RecordData


@click.command(short_help="Show one customer's asks, referrals and rewards.")
@click.argument("customer")
@click.option("--log", type=LOG, help="A recorded log, which is replayed for it; - for stdin. Default: the topics.")
@POLICY
@MAPPINGS
@SORT
@SKIP_BAD
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
def record(
    customer: str,
    log: Path | None,
    policy_file: Path | None,
    mappings_file: Path | None,
    form: str,
    *,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Show the record of one CUSTOMER: asks and answers, referrals and rewards, and when the next ask is possible.

    Reads the topic referral-records, and from referral-contacts the names of contacts who have consented; settings are
    those of the workers. With a recorded log the record is as of its end, without names. An id that was merged away
    shows the customer it belongs to. Exit code 1 if there is no record.

    \b
    Examples:
      referral-stream record cus-ana
      referral-stream record cus-ana --log last-quarter.jsonl
    """
    from referral_stream.cli.render.record import as_lines
    from referral_stream.cli.render.terminal import json_text, say
    from referral_stream.replay.record_search import NoRecord
    from referral_stream.words.escaping import visible

    if log is None and any((policy_file, mappings_file, sort, skip_bad)):
        raise click.UsageError("--policy, --mappings, --sort and --skip-bad are for a recorded log: add --log")
    try:
        if log is None:
            found = _live(customer)
        else:
            found = _replayed(log, customer, policy_file, mappings_file, sort=sort, skip_bad=skip_bad)
    except NoRecord as none:
        raise click.ClickException(visible(str(none))) from None
    if form == "json":
        click.echo(json_text(found))
        return
    if customer != found["customer_id"]:
        say(f"{customer} is another id of {found['customer_id']}", indent=4)
    for line in as_lines(found):
        say(line, indent=4)


def _replayed(
    log: Path, customer: str, policy_file: Path | None, mappings_file: Path | None, *, sort: bool, skip_bad: bool
) -> RecordData:
    from tempfile import TemporaryDirectory

    from referral_stream.replay.files import replay_file
    from referral_stream.replay.record_search import record_in

    policy = policy_in(policy_file)
    boundary = boundary_of(policy, mappings_file)
    with TemporaryDirectory() as folder, reading_log(log) as advance:
        replay_file(log, Path(folder), policy, boundary, skip_bad=skip_bad, sort=sort, progress=advance)
        return record_in(Path(folder), customer)


def _live(customer: str) -> RecordData:
    import asyncio

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.record import read_record
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.topic_log import UnreadableTopic

    deployment = this_deployment(email_key_needed=False)

    async def read() -> RecordData:
        with progress("reading records") as advance:
            return await read_record(deployment, customer, advance)

    try:
        with quiet_kafka():
            return asyncio.run(read())
    except UnreadableTopic as problem:
        raise click.ClickException(str(problem)) from None
