"""`decisions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from referral_stream.cli.options import (
    MAPPINGS,
    POLICY,
    SKIP_BAD,
    SORT,
    boundary_of,
    instant_of,
    policy_in,
    reading_log,
    this_deployment,
)

if TYPE_CHECKING:
    from referral_stream.replay.written import DecisionFilters


@click.command(short_help="Print decisions so that people can read them.")
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--customer", metavar="ID", help="Only decisions about this customer.")
@click.option("--trigger", metavar="NAME", help="Only decisions about this trigger, such as nps_promoter.")
@click.option("--outcome", metavar="NAME", help="Only decisions of this outcome, such as asked or suppressed.")
@click.option("--json", "as_data", is_flag=True, help="Print a JSON array, indented, the important fields first.")
@click.option("--from", "start", metavar="T", help="From the topic: from this date or time on. Default: all.")
@click.option("--follow", is_flag=True, help="From the topic: go on with those that are made from now on.")
@POLICY
@MAPPINGS
@SORT
@SKIP_BAD
def decisions(
    source: Path | None,
    customer: str | None,
    trigger: str | None,
    outcome: str | None,
    start: str | None,
    policy_file: Path | None,
    mappings_file: Path | None,
    *,
    as_data: bool,
    follow: bool,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Print decisions, one line each: when, who, and what was decided why.

    They come from the topic referral-decisions, with the settings of the workers, unless there is a SOURCE: the output
    folder of a replay or of the demo, its decisions.jsonl, or a recorded log, which is replayed for it. Times are the
    customer's own. Exit code 1 if there is no such decision.

    \b
    Examples:
      referral-stream decisions --from 2026-06-01 --outcome suppressed
      referral-stream decisions --follow
      referral-stream decisions demo-output --customer cus-deniz
    """
    from referral_stream.cli.render.decisions import as_json, as_line
    from referral_stream.cli.render.terminal import say
    from referral_stream.replay.written import DecisionFilters

    _check_usage(
        source, outcome, of_topic=start is not None or follow, of_log=any((policy_file, mappings_file, sort, skip_bad))
    )
    if follow and as_data:
        raise click.UsageError("--follow has no end, and a JSON array needs one: leave --json out")
    filters = DecisionFilters(customer=customer, trigger=trigger, outcome=outcome)
    found = 0

    def show(decision: Mapping[str, Any]) -> None:
        nonlocal found
        found += 1
        if as_data:
            click.echo(f"{'[' if found == 1 else ','}\n{as_json(decision)}", nl=False)
        else:
            say(as_line(decision), indent=4)

    if source is None:
        _from_topic(filters, instant_of(start, "--from"), show, follow=follow)
    else:
        _from_files(source, filters, show, policy_file, mappings_file, sort=sort, skip_bad=skip_bad)
    if as_data:
        click.echo("\n]" if found else "[]")
    if not found and not follow:
        raise click.ClickException("no such decision" + _near(trigger))


def _check_usage(source: Path | None, outcome: str | None, *, of_topic: bool, of_log: bool) -> None:
    from typing import get_args

    from referral_stream.core.effects import Outcome
    from referral_stream.core.suggestions import did_you_mean

    if source is None and of_log:
        raise click.UsageError("--policy, --mappings, --sort and --skip-bad are for a recorded log: name one")
    if outcome is not None and outcome not in get_args(Outcome):
        raise click.BadParameter(did_you_mean(outcome, get_args(Outcome)), param_hint="--outcome")
    if source is not None and of_topic:
        raise click.UsageError("--from and --follow are for the topic: leave SOURCE out")


def _near(trigger: str | None) -> str:
    """The trigger that may have been meant: policies have more of their own than we know here."""
    from referral_stream.core.policy import BUILT_IN
    from referral_stream.core.suggestions import nearest

    if trigger is None or trigger in BUILT_IN:
        return ""
    near = nearest(trigger, BUILT_IN) or next((name for name in BUILT_IN if name.startswith(trigger)), None)
    return "" if near is None else f"; of the trigger {trigger!r}: did you mean {near!r}?"


def _from_topic(
    filters: DecisionFilters, since: int | None, show: Callable[[Mapping[str, Any]], None], *, follow: bool
) -> None:
    import asyncio
    from contextlib import nullcontext

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.decisions import topic_decisions
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.topic_log import UnreadableTopic

    deployment = this_deployment(email_key_needed=False)

    def heard(answered: bool) -> None:  # noqa: FBT001 (a callback)
        click.echo(f"the brokers {'respond again' if answered else 'do not respond; waiting for them'}", err=True)

    async def read() -> None:
        with nullcontext(lambda _: None) if follow else progress("reading decisions") as advance:
            told = heard if follow else None
            async for decision in topic_decisions(deployment, filters, since=since, read=advance, follow=told):
                show(decision)

    try:
        with quiet_kafka():
            asyncio.run(read())
    except UnreadableTopic as problem:
        raise click.ClickException(str(problem)) from None
    except KeyboardInterrupt:
        if not follow:
            raise


def _from_files(
    source: Path,
    filters: DecisionFilters,
    show: Callable[[Mapping[str, Any]], None],
    policy_file: Path | None,
    mappings_file: Path | None,
    *,
    sort: bool,
    skip_bad: bool,
) -> None:
    from tempfile import TemporaryDirectory

    from referral_stream.replay.files import replay_file
    from referral_stream.replay.written import is_recorded_log, written_decisions

    with TemporaryDirectory() as folder, reading_log(source) as advance:
        if source.is_file() and is_recorded_log(source):
            policy = policy_in(policy_file)
            boundary = boundary_of(policy, mappings_file)
            replay_file(source, Path(folder), policy, boundary, skip_bad=skip_bad, sort=sort, progress=advance)
            source = Path(folder)
        elif policy_file or mappings_file or sort or skip_bad:
            raise click.UsageError(f"--policy, --mappings, --sort and --skip-bad are for a recorded log, not {source}")
        for decision in written_decisions(source, filters):
            show(decision)
