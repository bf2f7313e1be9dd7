"""`explain`."""

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
    instant_of,
    policy_in,
    reading_log,
)


@click.command(short_help="Tell one customer's story, and what comes next.")
@click.argument("customer")
@click.option("--log", type=LOG, required=True, help="The recorded log, plain or gzip; - for stdin.")
@POLICY
@MAPPINGS
@click.option("--at", metavar="T", help="As of the end of the date, or the time, T. Default: the end of the log.")
@SORT
@SKIP_BAD
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
def explain(
    customer: str,
    log: Path,
    policy_file: Path | None,
    mappings_file: Path | None,
    at: str | None,
    *,
    sort: bool,
    skip_bad: bool,
    as_data: bool,
) -> None:
    """Tell the story of one CUSTOMER in plain words: what came in, what was decided and why, and what is next.

    Says when they will be asked as things stand, or what would have to happen first, and by when. Times are the
    customer's own. Exit code 1 if nothing in the log is about the customer.

    \b
    Example:
      referral-stream explain cus-deniz --log demo-output/world.jsonl
    """
    from referral_stream.cli.render import explanation
    from referral_stream.cli.render.replay import warnings
    from referral_stream.cli.render.terminal import json_text, say, visible, width
    from referral_stream.explain.of_log import UnknownCustomer
    from referral_stream.explain.of_log import explain as explained
    from referral_stream.replay.reading import Counts

    instant, policy = instant_of(at, "--at", end_of_day=True), policy_in(policy_file)
    boundary = boundary_of(policy, mappings_file)
    counts = Counts()
    try:
        with reading_log(log) as advance:
            story = explained(
                log,
                customer,
                policy,
                boundary,
                at=instant,
                skip_bad=skip_bad,
                sort=sort,
                progress=advance,
                counts=counts,
            )
    except UnknownCustomer as unknown:
        raise click.ClickException(visible(str(unknown))) from None
    for warning in warnings(counts):
        say(f"warning: {warning}", indent=9, err=True)
    if as_data:
        click.echo(json_text(explanation.as_json(story)))
    else:
        click.echo(explanation.as_text(story, width(), style=click.style), nl=False)
