"""`decisions`."""

from __future__ import annotations

from pathlib import Path

import click

from referral_stream.cli.options import (
    MAPPINGS,
    POLICY,
    SKIP_BAD,
    SORT,
    boundary_of,
    policy_in,
    reading_log,
)


@click.command(short_help="Print decisions so that people can read them.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--customer", metavar="ID", help="Only decisions about this customer.")
@click.option("--trigger", metavar="NAME", help="Only decisions about this trigger, such as nps_promoter.")
@click.option("--outcome", metavar="NAME", help="Only decisions of this outcome, such as asked or suppressed.")
@click.option("--json", "as_data", is_flag=True, help="Print a JSON array, indented, the important fields first.")
@POLICY
@MAPPINGS
@SORT
@SKIP_BAD
def decisions(
    source: Path,
    customer: str | None,
    trigger: str | None,
    outcome: str | None,
    policy_file: Path | None,
    mappings_file: Path | None,
    *,
    as_data: bool,
    sort: bool,
    skip_bad: bool,
) -> None:
    """Print the decisions in SOURCE, one line each: when, who, and what was decided why.

    SOURCE is the output folder of a replay or of the demo, its decisions.jsonl, or a recorded log, which is replayed
    for it. Times are the customer's own. Exit code 1 if there is no such decision.

    \b
    Example:
      referral-stream decisions demo-output --customer cus-deniz
    """
    from tempfile import TemporaryDirectory

    from referral_stream.cli.render.decisions import as_json, as_line
    from referral_stream.cli.render.terminal import say
    from referral_stream.replay.files import replay_file
    from referral_stream.replay.written import DecisionFilters, is_recorded_log, written_decisions

    filters = DecisionFilters(customer=customer, trigger=trigger, outcome=outcome)
    with TemporaryDirectory() as folder, reading_log(source) as advance:
        if source.is_file() and is_recorded_log(source):
            policy = policy_in(policy_file)
            boundary = boundary_of(policy, mappings_file)
            replay_file(
                source,
                Path(folder),
                policy,
                boundary,
                skip_bad=skip_bad,
                sort=sort,
                progress=advance,
            )
            source = Path(folder)
        found = 0
        for decision in written_decisions(source, filters):
            found += 1
            if as_data:
                click.echo(f"{'[' if found == 1 else ','}\n{as_json(decision)}", nl=False)
            else:
                say(as_line(decision), indent=4)
    if as_data:
        click.echo("\n]" if found else "[]")
    if not found:
        raise click.ClickException("no such decision")
