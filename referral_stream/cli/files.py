"""Verbs that check a file of yours: `policy check` and `mapping try`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from referral_stream.cli.options import Unusable, mappings_in


@click.group("policy")
def policy_group() -> None:
    """Check a policy file, and see what every number means."""


@policy_group.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--show", is_flag=True, help="Print every setting, not only those that differ from the default.")
def policy_check(file: Path, *, show: bool) -> None:
    """Check the policy in FILE: all its faults at once (exit code 2), or what it changes.

    \b
    Example:  referral-stream policy check examples/policy.toml --show
    """
    from rich.console import Console

    from referral_stream.cli.render.policy import show_policy
    from referral_stream.policy_file.reading import PolicyProblem, read_policy

    try:
        policy = read_policy(file)
    except PolicyProblem as problem:
        click.echo(str(problem), err=True)
        raise SystemExit(2) from None
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from None
    show_policy(policy, str(file), Console(), everything=show)


@click.group("mapping")
def mapping_group() -> None:
    """Map payloads of your own to the events of the contract, without code."""


@mapping_group.command("try")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("payload", type=click.File("rb"))
@click.option("--topic", default="product-usage", show_default=True, help="The source topic, without prefix.")
@click.option("--source", metavar="ADAPTER", help="As the header referral-source would name it.")
def mapping_try(file: Path, payload: BinaryIO, topic: str, source: str | None) -> None:
    """Try the mappings in FILE on the JSON in PAYLOAD (- for stdin): what it becomes, or why nothing.

    Exit code 0 if it becomes events, 1 if not, 2 for a file that can not be used.

    \b
    Example:  referral-stream mapping try mappings.toml exported.json
    """
    from referral_stream.cli.render.mapping import trial_lines
    from referral_stream.contracts.inbound.adapt import Boundary
    from referral_stream.contracts.inbound.trial import try_mappings
    from referral_stream.contracts.outcomes import Accepted
    from referral_stream.contracts.records import SOURCE_HEADER
    from referral_stream.runtime.clock import Clock
    from referral_stream.runtime.settings import replay_email_key

    boundary = Boundary(email_key=replay_email_key(), mappings=mappings_in(file))
    headers = () if source is None else ((SOURCE_HEADER, source.encode()),)
    try:
        trial = try_mappings(payload.read(), boundary, Clock().now(), topic=topic, headers=headers)
    except ValueError as error:
        raise Unusable(f"the payload is not JSON: {error}") from None
    for line in trial_lines(trial):
        click.echo(line)
    raise SystemExit(0 if isinstance(trial.adapted, Accepted) else 1)
