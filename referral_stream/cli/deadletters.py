"""`deadletters list` and `deadletters replay`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

import click

from referral_stream.cli.options import instant_of, this_deployment

if TYPE_CHECKING:
    from referral_stream.ops.deadletters import Filters


@click.group(short_help="List unusable records, and try them again.")
def deadletters() -> None:
    """List the records that could not be used and why, and try them again."""


def _letter_filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that select letters; the command gets them as one ``filters``."""
    options = (
        click.option("--stage", type=click.Choice(["ingest", "decide", "ledger"]), help="Where it failed."),
        click.option("--cause", help="The first word of the error, such as invalid or fault."),
        click.option("--topic", help="Where the record came from."),
        click.option("--since", metavar="T", help="Failed on the date or at the time T, or later."),
        click.option("--customer", metavar="KEY", help="The key of the record: on customer-events, the customer."),
    )

    @wraps(command)
    def filtered(
        stage: str | None, cause: str | None, topic: str | None, since: str | None, customer: str | None, **rest: object
    ) -> None:
        from referral_stream.ops.deadletters import Filters

        instant = instant_of(since, "--since")
        command(Filters(stage=stage, cause=cause, topic=topic, since=instant, customer=customer), **rest)

    for option in reversed(options):
        filtered = option(filtered)
    return filtered


@deadletters.command("list", short_help="Count dead letters by cause, and list the newest.")
@_letter_filters
@click.option("--all", "everything", is_flag=True, help="Include letters that were already replayed.")
@click.option("--payload", is_flag=True, help="Show the original records. They may hold personal data.")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many to list.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
def deadletters_list(filters: Filters, *, everything: bool, payload: bool, limit: int, as_data: bool) -> None:
    """Count dead letters by cause, and list them, newest first.

    \b
    Example:
      referral-stream deadletters list --stage ingest --since 2026-09-16
    """
    import asyncio

    from rich.console import Console

    from referral_stream.cli.render import deadletters as page
    from referral_stream.cli.render.progress import progress
    from referral_stream.cli.render.terminal import json_text
    from referral_stream.ops import deadletters
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.topics_admin import TopicsProblem

    deployment = this_deployment(email_key_needed=False)

    async def look() -> None:
        with progress("reading dead letters") as advance:
            box = await deadletters.read_dead_letters(deployment, advance)
        among = box.letters if everything else box.open
        selected = filters.select(among, deployment.settings.topic_prefix)
        shown = selected[:limit]
        records = await deadletters.originals(deployment, shown) if payload and shown else {}
        if as_data:
            found = page.as_json(box, selected, shown, records)
            click.echo(json_text(found))
        else:
            page.show_dead_letters(Console(), box, selected, shown, records)

    try:
        with quiet_kafka():
            asyncio.run(look())
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None


@deadletters.command("replay", short_help="Try dead letters again.")
@_letter_filters
@click.option("--dry-run", is_flag=True, help="Only list the letters that would be tried again.")
def deadletters_replay(filters: Filters, *, dry_run: bool) -> None:
    """Try dead letters again: all that were not replayed yet, or those the options select.

    The adapter reads the original record again, and the result is appended to customer-events. Ids stay the same, so
    nothing counts twice. Letters that put a customer on hold (stage decide, cause fault) are replayed together; then
    the hold ends. Exit code 1 if a letter failed again.

    \b
    Example:
      referral-stream deadletters replay --cause unrecognised --dry-run
    """
    import asyncio

    from rich.console import Console

    from referral_stream.cli.render import deadletters as page
    from referral_stream.cli.render.progress import progress
    from referral_stream.ops import deadletters
    from referral_stream.runtime.connection import quiet_kafka
    from referral_stream.runtime.email_key import require_same_email_key
    from referral_stream.runtime.topics_admin import TopicsProblem, require_topics

    deployment = this_deployment()

    async def try_again() -> bool:
        with progress("reading dead letters") as advance:
            box = await deadletters.read_dead_letters(deployment, advance)
        chosen = deadletters.together(filters.select(box.open, deployment.settings.topic_prefix), box)
        if dry_run:
            page.show_dead_letters(Console(), box, chosen, chosen, {})
            return True
        await require_topics(deployment)
        await require_same_email_key(deployment)
        with progress("dead letters", len(chosen)) as advance:
            outcome = await deadletters.replay(deployment, chosen, advance)
        page.show_outcome(Console(), outcome)
        return not outcome.failed_again

    try:
        with quiet_kafka():
            well = asyncio.run(try_again())
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    raise SystemExit(0 if well else 1)
