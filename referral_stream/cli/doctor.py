"""`doctor`."""

from __future__ import annotations

import click

from referral_stream.cli.options import this_deployment


@click.command(short_help="Check Kafka, topics, Redis and state for a worker.")
def doctor() -> None:
    """Check that Kafka, the topics, Redis and local state are ready for a worker.

    Each line says ok, or what is wrong and how to fix it; exit code 1 if something is wrong. What only a running worker
    brings about, such as the ledger, is "not yet" and no error. Secrets are never shown.
    """
    import asyncio

    from referral_stream.ops.doctor import examine

    async def look() -> bool:
        well = True
        async for line in examine(deployment):
            well = well and not line.problem
            click.echo(
                f"{'WRONG' if line.problem else 'ok   '}  {line.what}{': ' if line.problem else ''}{line.problem}"
            )
            if line.remedy:
                click.echo(f"       {line.remedy}")
        return well

    deployment = this_deployment()
    raise SystemExit(0 if asyncio.run(look()) else 1)
