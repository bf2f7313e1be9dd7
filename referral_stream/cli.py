"""The command line: parse, build settings, call one function, print. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import os
from pathlib import Path

import click

from referral_stream import __version__

TEST_EMAIL_KEY = "referral-stream-test-key"
"""``replay`` and ``demo`` hash addresses with this key unless one is given: equal in, equal out, on every machine."""


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
    from referral_stream.replay.summary import show_summary, reading_progress

    try:
        end = parse_instant(until)[0] if until else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--until") from None
    policy = _policy(policy_file)
    boundary = Boundary(email_key=os.environ.get("REFERRAL_STREAM_EMAIL_KEY", TEST_EMAIL_KEY).encode())
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


class Unusable(click.ClickException):
    """Input that cannot be used: exit code 2."""

    exit_code = 2


def _policy(file: Path | None):  # type: ignore[no-untyped-def]
    from referral_stream.core.policy import Policy
    from referral_stream.contracts.policy_file import PolicyProblem, read_policy

    if file is None:
        return Policy()
    try:
        return read_policy(file)
    except PolicyProblem as problem:
        raise Unusable(str(problem)) from None


if __name__ == "__main__":
    main()
