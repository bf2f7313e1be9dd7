"""`replay`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import (
    LOG,
    MAPPINGS,
    POLICY,
    SKIP_BAD,
    SORT,
    boundary_of,
    check_outputs,
    instant_of,
    policy_in,
    private_files,
    reading_log,
)


@click.command(short_help="Run a recorded log and see who would be asked.")
@click.argument("log", type=LOG)
@MAPPINGS
@POLICY
@click.option(
    "--until", metavar="T", help="Stop at the end of the date, or at the time, T. Default: when nothing is pending."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("replayed"),
    show_default=True,
    help="Folder for the results; existing files are replaced.",
)
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Also write tables for a spreadsheet: asks.csv, not-asked.csv, and what followed.",
)
@click.option("--facts", is_flag=True, help="Take only the facts of a customer-events log: a fact replay.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded changelog of the table customers, for a customer-events log without its beginning.",
)
@SORT
@SKIP_BAD
def replay(
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    until: str | None,
    output: Path,
    *,
    as_csv: bool,
    facts: bool,
    state_file: Path | None,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Run a recorded LOG through the real adapters and decision rules, under a virtual clock.

    LOG (plain or gzip; - for stdin) holds one Kafka record per line as JSON: {"topic", "timestamp", "value"}, oldest
    first. Writes decisions.jsonl, asks.jsonl, followups.jsonl, rewards.jsonl, records.jsonl and dead-letters.jsonl, and
    prints who was asked and why others were not.
    A log of the topic customer-events replays exactly as it happened; any other is a fact replay.

    \b
    Example:
      referral-stream replay last-quarter.jsonl --policy policy.toml --output out
    """
    from referral_stream.cli.render.replay import show_summary
    from referral_stream.replay.files import OUTPUTS, replay_file
    from referral_stream.replay.snapshot import read_snapshot
    from referral_stream.runtime.gc_tuning import spare_values

    if facts and state_file:
        raise click.UsageError("--state is for an exact replay, --facts for the other kind")
    check_outputs((log, policy_file, mappings_file, state_file), [output / f"{name}.jsonl" for name in OUTPUTS], output)
    end, policy = instant_of(until, "--until", end_of_day=True), policy_in(policy_file)
    boundary = boundary_of(policy, mappings_file)
    spare_values()
    hint = "--state gives the states it builds on, --facts replays from what it holds"
    with private_files(), reading_log(log, hint) as advance:
        summary = replay_file(
            log,
            output,
            policy,
            boundary,
            until=end,
            facts_only=facts,
            skip_bad=skip_bad,
            sort=sort,
            as_csv=as_csv,
            progress=advance,
            snapshot=read_snapshot(state_file) if state_file else None,
        )
    show_summary(summary, policy, output)
