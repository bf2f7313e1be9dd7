"""Verbs over a recorded log: `replay` and `explain`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import MAPPINGS, instant_of, mappings_in, policy_in, readable_log


@click.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@MAPPINGS
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file."
)
@click.option("--until", metavar="T", help="Stop the virtual clock at T (RFC 3339). Default: when nothing is pending.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("replayed"), show_default=True)
@click.option("--facts", is_flag=True, help="Of a customer-events log take the facts only: a fact replay.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded changelog of the table customers, for a customer-events log without its beginning.",
)
@click.option("--skip-bad", is_flag=True, help="Count unreadable lines into dead-letters.jsonl and go on.")
def replay(
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    until: str | None,
    output: Path,
    *,
    facts: bool,
    state_file: Path | None,
    skip_bad: bool,
) -> None:
    """Run a recorded LOG through the real adapters and the real decision, under a virtual clock.

    LOG holds one Kafka record per line as JSON: {"topic", "timestamp", "value"}. Writes decisions.jsonl, asks.jsonl and
    dead-letters.jsonl. A log of the topic customer-events replays exactly as it happened; any other is a fact replay.

    \b
    Example:  referral-stream replay last-quarter.jsonl --policy policy.toml --output out
    """
    from rich.console import Console

    from referral_stream.cli.render.replay import reading_progress, show_summary
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.replay.files import replay_file
    from referral_stream.replay.snapshot import read_snapshot
    from referral_stream.runtime.gc_tuning import spare_values
    from referral_stream.runtime.settings import replay_email_key

    if facts and state_file:
        raise click.UsageError("--state is for an exact replay, --facts for the other kind")
    end, policy = instant_of(until, "--until"), policy_in(policy_file)
    boundary = Boundary(email_key=replay_email_key(), mappings=mappings_in(mappings_file))
    spare_values()
    hint = "--state gives the states it builds on, --facts replays from what it holds"
    with readable_log(hint), reading_progress(Console(stderr=True), log) as progress:
        summary = replay_file(
            log,
            output,
            policy,
            boundary,
            until=end,
            facts_only=facts,
            skip_bad=skip_bad,
            progress=progress,
            snapshot=read_snapshot(state_file) if state_file else None,
        )
    show_summary(summary, policy, output)


@click.command()
@click.argument("customer")
@click.option(
    "--log", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="The recorded log."
)
@click.option(
    "--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Policy file."
)
@MAPPINGS
@click.option("--at", metavar="T", help="Look from the instant T (RFC 3339). Default: the end of the log.")
@click.option("--skip-bad", is_flag=True, help="Leave unreadable lines out.")
@click.option("--json", "as_data", is_flag=True, help="For machines: one JSON object.")
def explain(
    customer: str,
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    at: str | None,
    *,
    skip_bad: bool,
    as_data: bool,
) -> None:
    """Tell the story of one CUSTOMER in plain words: what came in, what was decided and why, and what is next.

    Says when they will be asked as things stand, or what would have to happen for it, and by when. Times are the
    customer's own. Exit code 1 if nothing in the log is about the customer.

    \b
    Example:  referral-stream explain cus-deniz --log last-quarter.jsonl --at 2026-09-16T12:00:00+02:00
    """
    import json

    from rich.console import Console

    from referral_stream.cli.render import explanation
    from referral_stream.cli.render.replay import reading_progress
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.explain.story import UnknownCustomer
    from referral_stream.explain.story import explain as explained
    from referral_stream.runtime.settings import replay_email_key

    instant, policy = instant_of(at, "--at"), policy_in(policy_file)
    boundary = Boundary(email_key=replay_email_key(), mappings=mappings_in(mappings_file))
    try:
        with readable_log(), reading_progress(Console(stderr=True), log) as progress:
            story = explained(log, customer, policy, boundary, at=instant, skip_bad=skip_bad, progress=progress)
    except UnknownCustomer as unknown:
        raise click.ClickException(str(unknown)) from None
    if as_data:
        click.echo(json.dumps(explanation.as_json(story), ensure_ascii=False, indent=2))
    else:
        click.echo(explanation.as_text(story), nl=False)
