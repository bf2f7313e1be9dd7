"""`metrics`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from referral_stream.cli.options import (
    LOG,
    MAPPINGS,
    SKIP_BAD,
    SORT,
    boundary_of,
    policy_in,
    reading_log,
    this_deployment,
)

if TYPE_CHECKING:
    from referral_stream.core.policy import Policy
    from referral_stream.metrics.records import Records
    from referral_stream.metrics.sums import Dimension

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@click.command(short_help="Show what asking achieves, and whether it does harm.")
@click.argument("log", type=LOG, required=False)
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy file, whose holdout and experiments are compared. Default: that of the workers, of a LOG the default.",
)
@click.option(
    "--by",
    metavar="WHAT,…",
    help="Break the figures down by trigger, template, mode, channel, segment, arm, month, or several of them.",
)
@click.option("--since", metavar="MONTH", help="The first month, as 2026-06. Default: a year before the newest record.")
@click.option("--until", metavar="MONTH", help="The last month, included. Default: that of the newest record.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@MAPPINGS
@SORT
@SKIP_BAD
def metrics(
    log: Path | None,
    policy_file: Path | None,
    by: str | None,
    since: str | None,
    until: str | None,
    form: str,
    mappings_file: Path | None,
    *,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Show what asking achieves: how many are asked, refer and convert, which trigger and which wording works, and
    whether asking does harm.

    Reads the topic referral-records with the settings of the workers, or replays a recorded LOG; both give the same.
    Months are UTC, those of the occasion to ask. Every share shows its denominator and its 95 % interval; below
    30 no value is shown. A comparison ends in one sentence, and may be looked at as often as you like.

    \b
    Examples:
      referral-stream metrics
      referral-stream metrics last-year.jsonl --policy policy.toml --by trigger
      referral-stream metrics --by segment,month --format csv > metrics.csv
    """
    from referral_stream.cli.render.metrics import as_csv, as_lines
    from referral_stream.cli.render.terminal import json_text, say
    from referral_stream.core.counting import MONTHS, first_month
    from referral_stream.metrics.report import as_data, report

    if log is None and any((mappings_file, sort, skip_bad)):
        raise click.UsageError("--mappings, --sort and --skip-bad are for a recorded log: name one")
    dimensions, first, last = _dimensions(by), _month(since, "--since"), _month(until, "--until")
    if first is not None and last is not None and first > last:
        raise click.BadParameter(f"{first} is after {last}", param_hint="--since")
    if log is None:
        records, policy = _live(policy_file)
    else:
        policy = policy_in(policy_file)
        records = _replayed(log, policy, mappings_file, sort=sort, skip_bad=skip_bad)
    found = report(records, policy, by=dimensions, since=first, until=last)
    if found.as_of is not None and found.period.since < (kept := first_month(found.as_of)):
        say(
            f"warning: a customer's record covers {MONTHS} months, here back to {kept}: figures of earlier months are "
            "incomplete; those of a LOG that was exported then are not",
            indent=9,
            err=True,
        )
    if form == "json":
        click.echo(json_text(as_data(found)))
    elif form == "csv":
        click.echo(as_csv(found), nl=False)
    else:
        for line in as_lines(found, policy):
            say(line, indent=4)


def _dimensions(text: str | None) -> tuple[Dimension, ...]:
    from referral_stream.core.suggestions import did_you_mean
    from referral_stream.metrics.sums import DIMENSIONS

    known = {str(each): each for each in DIMENSIONS}
    names = [] if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"unknown dimension {name!r}; {did_you_mean(name, known)}", param_hint="--by")
    return tuple(known[name] for name in dict.fromkeys(names))


def _month(text: str | None, option: str) -> str | None:
    if text is not None and not _MONTH.fullmatch(text):
        raise click.BadParameter(f"{text!r} is not a month; write 2026-06", param_hint=option)
    return text


def _replayed(log: Path, policy: Policy, mappings_file: Path | None, *, sort: bool, skip_bad: bool) -> Records:
    from tempfile import TemporaryDirectory

    from referral_stream.metrics.records import Records
    from referral_stream.replay.files import replay_file
    from referral_stream.replay.record_search import records_in

    boundary = boundary_of(policy, mappings_file)
    with TemporaryDirectory() as folder, reading_log(log) as advance:
        replay_file(log, Path(folder), policy, boundary, skip_bad=skip_bad, sort=sort, progress=advance)
        return Records(records_in(Path(folder)))


def _live(policy_file: Path | None) -> tuple[Records, Policy]:
    import asyncio

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.metrics import read_records
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.topic_log import UnreadableTopic

    deployment = this_deployment(email_key_needed=False)
    policy = deployment.policy if policy_file is None else policy_in(policy_file)

    async def read() -> Records:
        with progress("reading records") as advance:
            return await read_records(deployment, advance)

    try:
        with quiet_kafka():
            return asyncio.run(read()), policy
    except UnreadableTopic as problem:
        raise click.ClickException(str(problem)) from None
