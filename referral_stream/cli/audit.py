"""`audit`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import Unusable, policy_in, this_deployment


@click.command(short_help="Check from outside that the topics keep the guarantees.")
@click.option(
    "--policy",
    "policy_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier policy that the logs still refer to; repeatable. The current one comes from the settings.",
)
@click.option("--uncommitted", is_flag=True, help="Also compare commands in aborted and open transactions.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
def audit(policy_files: tuple[Path, ...], *, uncommitted: bool, as_data: bool) -> None:
    """Read the topics from outside and check that they keep the guarantees.

    One body per command, no ask outside its window or inside a cool-down, each ask with its decision and reservation,
    no message after an opt-out, no reward twice, each state and record equal to a fold of the log, a wake-up for each
    pending opportunity, and more (docs/audit.md). Writes nothing and joins no group, so it can run beside live workers.
    Exit code 1, with the positions, if a guarantee is broken; 2 if the topics cannot be read.

    \b
    Example:
      referral-stream audit --policy policy-of-last-month.toml
    """
    from referral_stream.audit.reading import Unreadable
    from referral_stream.audit.referee import audit as audited
    from referral_stream.cli.render.audit import as_json, as_lines
    from referral_stream.cli.render.progress import progress
    from referral_stream.cli.render.terminal import json_text, say
    from referral_stream.runtime.gc_tuning import spare_values

    deployment = this_deployment(email_key_needed=False)
    policies = (deployment.policy, *map(policy_in, policy_files))
    spare_values()
    try:
        with progress("records") as advance:
            report = audited(deployment.settings, policies, uncommitted=uncommitted, progress=advance)
    except Unreadable as problem:
        raise Unusable(str(problem)) from None
    if as_data:
        click.echo(json_text(as_json(report)))
    else:
        for line in as_lines(report):
            say(line, indent=8)
    raise SystemExit(1 if report.findings else 0)
