"""Verbs that look after a deployment: `topics` and `doctor`."""

from __future__ import annotations

import click

from referral_stream.cli.options import this_deployment
from referral_stream.contracts.topics import PRINCIPALS


@click.group()
def topics() -> None:
    """Make the topics as the contract wants them, or check them."""


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    import asyncio

    from referral_stream.runtime.topics_admin import TopicsProblem, create_topics

    try:
        created = asyncio.run(create_topics(this_deployment()))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for name in created:
        click.echo(f"created {name}")
    if not created:
        click.echo("nothing to do: all topics exist (referral-stream topics check looks closer)")


@topics.command("check")
def topics_check() -> None:
    """Check partitions, retention and compaction of every topic; exit code 1 if something is wrong."""
    import asyncio

    from referral_stream.runtime.topics_admin import TopicsProblem, check_topics

    try:
        findings = asyncio.run(check_topics(this_deployment()))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for finding in findings:
        click.echo(f"{finding.topic}: {finding.problem or 'ok'}")
        if finding.remedy:
            click.echo(f"    {finding.remedy}")
    raise SystemExit(1 if any(finding.problem for finding in findings) else 0)


@topics.command("acls")
@click.argument("who", type=click.Choice(PRINCIPALS))
@click.option("--user", required=True, help="The name it authenticates with, as in User:NAME.")
def topics_acls(who: str, user: str) -> None:
    """Print the kafka-acls commands that grant WHO what it needs on the broker, and nothing more.

    WHO is a role of the workers, the webhook receiver, a messaging worker, or the operator who runs the other verbs.
    Nothing is sent to the broker.

    \b
    Example:  referral-stream topics acls decide --user decide | sh
    """
    from referral_stream.ops.rights import commands, rights

    of = this_deployment()
    for command in commands(rights(of, who), user, ",".join(of.settings.kafka_brokers)):
        click.echo(command)


@click.command()
def doctor() -> None:
    """Look whether Kafka, topics, Redis and state are as a worker needs them; exit code 1 if something is wrong.

    Each line says ok, or what is wrong and what mends it. Secrets are never shown.
    """
    import asyncio

    from referral_stream.ops.doctor import examine

    async def look() -> bool:
        well = True
        async for line in examine(deployment):
            well = well and not line.problem
            click.echo(
                f"{'WRONG' if line.problem else 'ok   '}  {line.what}{': ' if line.problem else ''}{line.problem}"
            )
            if line.remedy:
                click.echo(f"       {line.remedy}")
        return well

    deployment = this_deployment()
    raise SystemExit(0 if asyncio.run(look()) else 1)
