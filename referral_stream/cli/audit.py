"""The verb `audit`: the referee."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import Unusable, policy_in, this_deployment


@click.command()
@click.option(
    "--policy",
    "policy_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An earlier policy that the logs still speak of; may be repeated. The one in force is the deployment's.",
)
@click.option("--uncommitted", is_flag=True, help="Compare the commands in aborted and open transactions too.")
@click.option("--json", "as_data", is_flag=True, help="For machines: one JSON object.")
def audit(policy_files: tuple[Path, ...], *, uncommitted: bool, as_data: bool) -> None:
    """Read the topics from outside, and check that what they say keeps our promises.

    One body per command, no ask outside its window or inside a cool-down, each ask with its decision and reservation,
    each state what a fold of the log gives, each pending opportunity with a wake-up, and more (docs/audit.md). Writes
    nothing and joins no group, so it may run beside working workers. Exit code 1 with the offending positions if
    something is broken, 2 if the topics can not be read.

    \b
    Example:  referral-stream audit --policy policy-of-last-month.toml
    """
    import json

    from rich.console import Console

    from referral_stream.audit.reading import Unreadable
    from referral_stream.audit.referee import audit as audited
    from referral_stream.cli.render.audit import as_json, as_lines, reading_progress
    from referral_stream.runtime.gc_tuning import spare_values

    deployment = this_deployment()
    policies = (deployment.policy, *map(policy_in, policy_files))
    spare_values()
    try:
        with reading_progress(Console(stderr=True)) as progress:
            report = audited(deployment.settings, policies, uncommitted=uncommitted, progress=progress)
    except Unreadable as problem:
        raise Unusable(str(problem)) from None
    if as_data:
        click.echo(json.dumps(as_json(report), ensure_ascii=False, indent=2))
    else:
        for line in as_lines(report):
            click.echo(line)
    raise SystemExit(1 if report.findings else 0)
