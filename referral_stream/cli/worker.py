"""`worker check`."""

from __future__ import annotations

from typing import Any

import click

from referral_stream.cli.options import Unusable


@click.group(short_help="Check a messaging worker, in any language.")
def worker() -> None:
    """Check a messaging worker against the contract, whatever language it is written in."""


def _sandbox_client(brokers: str | None, asks: str, responses: str, followups: str | None) -> dict[str, Any]:
    """Connection settings as aiokafka names them. Raises Unusable, and BadParameter for a topic of the deployment."""
    from referral_stream.contracts.topics import Topics
    from referral_stream.runtime.settings import SettingsProblem, read_settings

    try:
        given: dict[str, Any] = {} if brokers is None else {"kafka_brokers": brokers}
        settings = read_settings(email_key_needed=False, **given)
        client = settings.kafka_client()
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    own = Topics(settings.topic_prefix)
    for option, topic, production in (
        ("--asks", asks, own.referral_asks),
        ("--responses", responses, own.responses),
        ("--followups", followups, own.referral_followups),
    ):
        if topic == production:
            raise click.BadParameter(
                f"{topic} is the deployment's own topic, and the trial's commands would reach it; name one of your own",
                param_hint=option,
            )
    return client


@worker.command("check", short_help="Try every rule of the contract on a running worker.")
@click.option("--asks", required=True, metavar="TOPIC", help="The sandbox topic that the worker reads commands from.")
@click.option("--responses", required=True, metavar="TOPIC", help="The sandbox topic that it acknowledges on.")
@click.option("--followups", metavar="TOPIC", help="The sandbox topic that it reads follow-ups from, if it does.")
@click.option("--brokers", metavar="HOST:PORT", help="Default: REFERRAL_STREAM_KAFKA_BROKERS.")
@click.option("--create", is_flag=True, help="Create the topics if they are missing.")
@click.option("--restart", metavar="COMMAND", help="Shell command that kills the worker and starts it again.")
@click.option("--no-transactions", is_flag=True, help="Leave out the case that needs transactions of the broker.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=20.0, show_default=True, help="Longest wait for an answer."
)
def worker_check(
    asks: str,
    responses: str,
    followups: str | None,
    brokers: str | None,
    *,
    create: bool,
    restart: str | None,
    no_transactions: bool,
    seconds: float,
) -> None:
    """Write commands to a sandbox topic, and judge what the running worker acknowledges (docs/contracts.md).

    The worker really sends: point it at a sandbox, and both at dedicated topics. With --followups, follow-ups are
    tried too. Connection settings are those of a
    deployment (REFERRAL_STREAM_KAFKA_…). Exit code 1 if a rule is broken or the broker cannot be reached.

    \b
    Example:
      referral-stream worker check --asks my-asks --responses my-responses
    """
    import asyncio
    import subprocess

    from referral_stream.cli.render.progress import progress
    from referral_stream.cli.render.terminal import say
    from referral_stream.runtime.topics_admin import TopicsProblem, create_sandbox
    from referral_stream.testing import Limits, Unreachable, check_worker

    client = _sandbox_client(brokers, asks, responses, followups)

    def restarted() -> None:
        subprocess.run(restart or "", shell=True, check=True)  # noqa: S602 (the user's own command)

    bootstrap = ",".join(client.pop("bootstrap_servers"))
    try:
        if create:
            topics = [asks, responses, *([followups] if followups else [])]
            asyncio.run(create_sandbox({"bootstrap_servers": bootstrap, **client}, topics))
        with progress("trying the worker"):
            report = check_worker(
                bootstrap,
                asks_topic=asks,
                responses_topic=responses,
                followups_topic=followups,
                limits=Limits(answer=seconds),
                restart=restarted if restart else None,
                transactions=not no_transactions,
                client=client,
            )
    except (Unreachable, TopicsProblem) as problem:
        raise click.ClickException(str(problem)) from None
    except subprocess.CalledProcessError as failed:
        raise click.ClickException(f"--restart ended with exit code {failed.returncode}") from None
    for line in str(report).splitlines():
        say(line, indent=8)
    raise SystemExit(0 if report.passed else 1)
