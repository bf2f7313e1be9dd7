"""`mapping try`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from referral_stream.cli.options import Unusable, email_key, mappings_in


@click.group("mapping", short_help="Map your own payloads to events, without code.")
def mapping_group() -> None:
    """Map your own payloads to the events of the contract, without code."""


@mapping_group.command("try", short_help="Show what a payload becomes, or why nothing.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("payload", type=click.File("rb"))
@click.option("--topic", default="product-usage", show_default=True, help="The topic it came from, without prefix.")
@click.option("--source", metavar="ADAPTER", help="The vendor, as the header referral-source names it.")
def mapping_try(file: Path, payload: BinaryIO, topic: str, source: str | None) -> None:
    """Try the mappings in FILE on the JSON in PAYLOAD (- for stdin): what it becomes, or why nothing.

    Exit code 0 if it becomes events, 1 if not, 2 for a file that cannot be used.

    \b
    Example:
      referral-stream mapping try mappings.toml exported.json
    """
    from referral_stream.cli.render.mapping import trial_lines
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.contracts.inbound.trial import try_mappings
    from referral_stream.contracts.outcomes import Accepted
    from referral_stream.contracts.records import SOURCE_HEADER
    from referral_stream.runtime.clock import Clock

    boundary = Boundary(email_key=email_key(), mappings=mappings_in(file))
    headers = () if source is None else ((SOURCE_HEADER, source.encode()),)
    try:
        trial = try_mappings(payload.read(), boundary, Clock().now(), topic=topic, headers=headers)
    except ValueError as error:
        raise Unusable(f"the payload is not JSON: {error}") from None
    for line in trial_lines(trial):
        click.echo(line)
    raise SystemExit(0 if isinstance(trial.adapted, Accepted) and trial.adapted.events else 1)
