"""`explain`."""

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
    instant_of,
    policy_in,
    reading_log,
    this_deployment,
)

if TYPE_CHECKING:
    from referral_stream.explain.explaining import Explanation


_DEMOS_CLOCK = (
    "this is the demo's broker: its customers live by the demo's clock, and by this machine's every answer would be "
    "wrong. Explain them from its log, with --log and --at; or set REFERRAL_STREAM_CLOCK_START and _STARTED_AT to its "
    "time"
)
_OF_LOGS = frozenset({".jsonl", ".json", ".gz", ".log"})


@click.command(short_help="Tell one customer's story, and what comes next.")
@click.argument("customer")
@click.option("--log", type=LOG, help="A recorded log, plain or gzip; - for stdin. Default: the running system.")
@POLICY
@MAPPINGS
@click.option("--at", metavar="T", help="Of a log: as of the end of the date, or the time, T. Default: its end.")
@click.option("--since", metavar="T", help="Of the running system: tell the story from T on. Default: 100 days.")
@SORT
@SKIP_BAD
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--json", "as_data", is_flag=True, help="The same as --format json.")
@click.option("--language", default="en", show_default=True, metavar="LANGUAGE", help="The language: en or de.")
def explain(
    customer: str,
    log: Path | None,
    policy_file: Path | None,
    mappings_file: Path | None,
    at: str | None,
    since: str | None,
    form: str,
    language: str,
    *,
    sort: bool,
    skip_bad: bool,
    as_data: bool,
) -> None:
    """Tell the story of one CUSTOMER in plain words: what came in, what was decided and why, and what is next.

    Says when they will be asked as things stand, or what would have to happen first, and by when. Times are the
    customer's own. Exit code 1 if nothing is known about the customer.

    Without --log it reads the topics: the customer's state, what was decided about them, and the ledger's entries for
    them and for those who share their account or address. Nothing is replayed; settings are those of the workers.

    \b
    Examples:
      referral-stream explain cus-deniz --log demo-output/world.jsonl
      referral-stream explain cus-ana
      referral-stream explain cus-ana --language de --format markdown
    """
    from referral_stream.cli.render import explanation
    from referral_stream.cli.render.terminal import json_text, width
    from referral_stream.explain.document import as_json
    from referral_stream.words.escaping import visible
    from referral_stream.words.phrases import languages

    if language not in languages():
        raise click.BadParameter(f"{language!r} is not one of {', '.join(languages())}", param_hint="--language")
    if log is None and Path(customer).suffix in _OF_LOGS and Path(customer).is_file():
        raise click.UsageError(f"{visible(customer)} is a file; did you mean: CUSTOMER --log {visible(customer)}?")
    if log is None and any((policy_file, mappings_file, sort, skip_bad, at)):
        raise click.UsageError("--policy, --mappings, --sort, --skip-bad and --at are for a recorded log: add --log")
    if log is not None and since is not None:
        raise click.UsageError("--since is for the running system; with --log the whole story is shown")
    if log is None:
        story = _live(customer, instant_of(since, "--since"), language)
    else:
        instant = instant_of(at, "--at", end_of_day=True)
        story = _of_log(log, customer, policy_file, mappings_file, instant, language, sort=sort, skip_bad=skip_bad)
    if as_data or form == "json":
        click.echo(json_text(as_json(story)))
    elif form == "markdown":
        click.echo(explanation.as_markdown(story), nl=False)
    else:
        click.echo(explanation.as_text(story, width(), style=click.style), nl=False)


def _of_log(
    log: Path,
    customer: str,
    policy_file: Path | None,
    mappings_file: Path | None,
    instant: int | None,
    language: str,
    *,
    sort: bool,
    skip_bad: bool,
) -> Explanation:
    from referral_stream.cli.render.replay import warnings
    from referral_stream.cli.render.terminal import say
    from referral_stream.explain.of_log import UnknownCustomer
    from referral_stream.explain.of_log import explain as explained
    from referral_stream.replay.reading import Counts
    from referral_stream.words.escaping import visible

    policy = policy_in(policy_file)
    boundary = boundary_of(policy, mappings_file)
    counts = Counts()
    try:
        with reading_log(log) as advance:
            story = explained(
                log,
                customer,
                policy,
                boundary,
                at=instant,
                language=language,
                skip_bad=skip_bad,
                sort=sort,
                progress=advance,
                counts=counts,
            )
    except UnknownCustomer as unknown:
        raise click.ClickException(visible(str(unknown))) from None
    for warning in warnings(counts):
        say(f"warning: {warning}", indent=9, err=True)
    return story


def _live(customer: str, since: int | None, language: str) -> Explanation:
    import asyncio

    from referral_stream.cli.render.progress import progress
    from referral_stream.ops.explain import NotKnown, explain_live
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.topic_log import UnreadableTopic
    from referral_stream.runtime.topics_admin import TopicsProblem, is_embedded
    from referral_stream.words.escaping import visible

    deployment = this_deployment(email_key_needed=False)

    async def read() -> Explanation:
        with progress("reading the topics") as advance:
            story = await explain_live(deployment, customer, language=language, since=since, progress=advance)
        if deployment.clock.is_real and await is_embedded(deployment):
            raise click.ClickException(_DEMOS_CLOCK)
        return story

    try:
        with quiet_kafka():
            return asyncio.run(read())
    except NotKnown as unknown:
        raise click.ClickException(visible(str(unknown))) from None
    except (UnreadableTopic, TopicsProblem) as problem:
        raise click.ClickException(str(problem)) from None
