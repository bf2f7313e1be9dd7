"""`topics create`, `topics check` and `topics acls`."""

from __future__ import annotations

import click

from referral_stream.cli.options import this_deployment
from referral_stream.contracts.topics import PRINCIPALS


@click.group(short_help="Create the topics, check them, print their ACLs.")
def topics() -> None:
    """Create the topics of this deployment, check them, or print the ACLs they need."""


@topics.command("create", short_help="Create the topics that are missing.")
def topics_create() -> None:
    """Create the topics that are missing; existing topics are left as they are."""
    import asyncio

    from referral_stream.runtime.topics_admin import TopicsProblem, create_topics

    try:
        created = asyncio.run(create_topics(this_deployment(email_key_needed=False)))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for name in created:
        click.echo(f"created {name}")
    if not created:
        click.echo("nothing to do: all topics exist (run `referral-stream topics check` for details)")


@topics.command("check", short_help="Compare the topics with the contract.")
def topics_check() -> None:
    """Check partitions, retention and compaction of every topic; exit code 1 if something is wrong.

    \b
    Example:
      referral-stream topics check
    """
    import asyncio

    from referral_stream.cli.render.terminal import say
    from referral_stream.runtime.topics_admin import TopicsProblem, check_topics

    try:
        findings = asyncio.run(check_topics(this_deployment(email_key_needed=False)))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for finding in findings:
        say(f"{finding.topic}: {finding.problem or 'ok'}", indent=4)
    for remedy in dict.fromkeys(finding.remedy for finding in findings if finding.remedy):
        say(f"to fix: {remedy}", indent=8)
    raise SystemExit(1 if any(finding.problem for finding in findings) else 0)


_PROJECTOR_WRITES = {
    False: "note: without [harm] pause_at in the policy, the projector writes to no topic",
    True: "note: for [harm] pause_at the projector writes to `responses`, where whoever may write throws every switch",
}


@topics.command("acls", short_help="Print kafka-acls commands for one role.")
@click.argument("who", metavar="ROLE", type=click.Choice(PRINCIPALS))
@click.option("--user", required=True, help="The Kafka principal it authenticates as, without User: in front.")
def topics_acls(who: str, user: str) -> None:
    """Print the kafka-acls commands that grant ROLE what it needs on the broker, and nothing more.

    ROLE is ingest, decide, ledger, projector or rewards, the webhook receiver, a messaging worker (worker), or the
    operator who runs the other verbs. Nothing is sent to the broker.

    \b
    Example:
      referral-stream topics acls decide --user decide | sh
    """
    from referral_stream.ops.rights import commands, rights

    of = this_deployment(email_key_needed=False)
    if who == "projector":
        click.echo(_PROJECTOR_WRITES[of.policy.harm.pause_at is not None], err=True)
    for command in commands(rights(of, who), user, ",".join(of.settings.kafka_brokers)):
        click.echo(command)
