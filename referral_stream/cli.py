"""The command line: parse, build settings, call one function, print. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from referral_stream import __version__

if TYPE_CHECKING:
    from referral_stream.core.policy import Policy
    from referral_stream.stream.apps import Deployment


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="referral-stream")
def main() -> None:
    """Ask customers for referrals at the right moment, beside your event bus.

    \b
    See it work (no services needed):      referral-stream demo
    Try it on a recorded log:              referral-stream replay LOG --output OUT
    Prepare the topics, start the workers: referral-stream topics create && referral-stream run
    """


@main.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, for playing with it.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-output"), show_default=True
)
def demo(keep: bool, output: Path) -> None:
    """Watch one week of twelve customers: who is asked for a referral, who is not, and why.

    Needs no services: a broker and a Redis of its own are started in memory and ended with it. Takes about half a minute.
    """
    import asyncio
    import logging

    from rich.console import Console

    try:
        from referral_stream.local.demo import DemoFailed, play
        from referral_stream.local.errors import EmbeddedServiceError
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing.name} is missing: pip install 'referral-stream[demo]'") from None

    logging.basicConfig(level=logging.ERROR)
    logging.disable(logging.INFO)
    try:
        asyncio.run(play(Console(), output, keep=keep))
    except (DemoFailed, EmbeddedServiceError) as problem:
        raise click.ClickException(str(problem)) from None


@main.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file."
)
@click.option("--until", metavar="T", help="Stop the virtual clock at T (RFC 3339). Default: when nothing is pending.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("replayed"), show_default=True)
@click.option("--facts", is_flag=True, help="Of a customer-events log take the facts only: a fact replay.")
@click.option("--skip-bad", is_flag=True, help="Count unreadable lines into dead-letters.jsonl and go on.")
def replay(log: Path, policy_file: Path | None, until: str | None, output: Path, facts: bool, skip_bad: bool) -> None:
    """Run a recorded LOG through the real adapters and the real decision, under a virtual clock.

    LOG holds one Kafka record per line as JSON: {"topic", "timestamp", "value"}. Writes decisions.jsonl, asks.jsonl and
    dead-letters.jsonl. A log of the topic customer-events replays exactly as it happened; any other is a fact replay.

    \b
    Example:  referral-stream replay last-quarter.jsonl --policy policy.toml --output out
    """
    from rich.console import Console

    from referral_stream.contracts.errors import UnreadableLog
    from referral_stream.contracts.inbound import Boundary
    from referral_stream.core.instants import parse_instant
    from referral_stream.replay.recorded import replay_file
    from referral_stream.settings import replay_email_key
    from referral_stream.replay.summary import show_summary, reading_progress

    try:
        end = parse_instant(until)[0] if until else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--until") from None
    policy = _policy(policy_file)
    boundary = Boundary(email_key=replay_email_key())
    console = Console(stderr=True)
    try:
        with reading_progress(console, log) as progress:
            summary = replay_file(
                log, output, policy, boundary, until=end, facts_only=facts, skip_bad=skip_bad, progress=progress
            )
    except UnreadableLog as error:
        raise Unusable(f"{error}  (--skip-bad counts such lines and goes on)") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    show_summary(summary, policy, output)


@main.command()
@click.argument("role", type=click.Choice(["all", "ingest", "decide", "ledger"]), default="all")
def run(role: str) -> None:
    """Run the workers of one ROLE, or of all in one process (default).

    Settings come from the environment, REFERRAL_STREAM_KAFKA_BROKERS, REFERRAL_STREAM_REDIS_URL and
    REFERRAL_STREAM_EMAIL_KEY first of all. Stops in good order on SIGTERM: exit code 0; 1 when it failed; 70 when it hung.
    """
    from referral_stream.stream.run import run_roles

    deployment = _deployment()
    raise SystemExit(run_roles(deployment, role))


@main.group()
def topics() -> None:
    """Make the topics as the contract wants them, or check them."""


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    import asyncio

    from referral_stream.stream.admin import TopicsProblem, create_topics

    try:
        created = asyncio.run(create_topics(_deployment()))
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

    from referral_stream.stream.admin import TopicsProblem, check_topics

    try:
        findings = asyncio.run(check_topics(_deployment()))
    except TopicsProblem as problem:
        raise click.ClickException(str(problem)) from None
    for finding in findings:
        click.echo(f"{finding.topic}: {finding.problem or 'ok'}")
        if finding.remedy:
            click.echo(f"    {finding.remedy}")
    raise SystemExit(1 if any(finding.problem for finding in findings) else 0)


@main.command()
def doctor() -> None:
    """Look whether Kafka, topics, Redis and state are as a worker needs them; exit code 1 if something is wrong.

    Each line says ok, or what is wrong and what mends it. Secrets are never shown.
    """
    import asyncio

    from referral_stream.stream.doctor import examine

    async def look() -> bool:
        well = True
        async for line in examine(deployment):
            well = well and not line.problem
            click.echo(f"{'WRONG' if line.problem else 'ok   '}  {line.what}{': ' if line.problem else ''}{line.problem}")
            if line.remedy:
                click.echo(f"       {line.remedy}")
        return well

    deployment = _deployment()
    raise SystemExit(0 if asyncio.run(look()) else 1)


class Unusable(click.ClickException):
    """Input that cannot be used: exit code 2."""

    exit_code = 2


def _policy(file: Path | None) -> Policy:
    from referral_stream.core.policy import Policy
    from referral_stream.contracts.policy_file import PolicyProblem, read_policy

    if file is None:
        return Policy()
    try:
        return read_policy(file)
    except PolicyProblem as problem:
        raise Unusable(str(problem)) from None
    except OSError as error:
        raise Unusable(f"the policy file {error.filename} can not be read: {error.strerror}") from None


def _deployment() -> Deployment:
    """Settings, policy and clock of this process; what is wrong with them ends it with exit code 2."""
    from referral_stream.clock import Clock
    from referral_stream.settings import SettingsProblem, read_settings
    from referral_stream.stream.apps import Deployment

    try:
        settings = read_settings()
        clock = Clock()
        if settings.clock_start is not None and settings.clock_started_at is not None:
            clock = Clock(settings.clock_start, settings.clock_started_at, settings.clock_speed)
        deployment = Deployment(settings, _policy(settings.policy_file), clock)
        deployment.check()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    return deployment
