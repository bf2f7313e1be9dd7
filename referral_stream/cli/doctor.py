"""`doctor`."""

from __future__ import annotations

import click

from referral_stream.cli.options import this_deployment


@click.command(short_help="Check Kafka, topics, Redis and state for a worker.")
def doctor() -> None:
    """Check that Kafka, the topics, Redis and local state are ready for a worker.

    Each line says ok, or what is wrong and how to fix it; exit code 1 if something is wrong. What only a running worker
    brings about, such as the ledger, is "not yet", not an error. Secrets are never shown.
    """
    import asyncio

    from referral_stream.cli.render.terminal import say
    from referral_stream.ops.doctor import examine

    async def look() -> bool:
        well, remedy = True, ""
        async for line in examine(deployment):
            if remedy and remedy != line.remedy:  # once, below all lines that share it
                say(f"         to fix: {remedy}", indent=9)
            say(f"{line.verdict:<7}  {': '.join(filter(None, (line.what, line.problem)))}", indent=9)
            well, remedy = well and line.verdict != "WRONG", line.remedy
        if remedy:
            say(f"         to fix: {remedy}", indent=9)
        return well

    deployment = this_deployment(email_key_needed=False)
    raise SystemExit(0 if asyncio.run(look()) else 1)
