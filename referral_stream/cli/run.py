"""`run`."""

from __future__ import annotations

import click

from referral_stream.cli.options import private_files, this_deployment


@click.command(short_help="Run the workers of one role, or of all.")
@click.argument("role", type=click.Choice(["all", "ingest", "decide", "ledger"]), default="all")
def run(role: str) -> None:
    """Run the workers of one ROLE, or of all in one process (default).

    Settings come from the environment, REFERRAL_STREAM_KAFKA_BROKERS, REFERRAL_STREAM_REDIS_URL and
    REFERRAL_STREAM_EMAIL_KEY first of all (docs/operations.md). Shuts down gracefully on SIGTERM: exit code 0; 1 if it
    failed; 70 if it hung.

    \b
    Example:
      REFERRAL_STREAM_EMAIL_KEY=$(openssl rand -hex 32) referral-stream run
    """
    from referral_stream.stream.run import run_roles

    deployment = this_deployment(email_key_needed=role in ("all", "ingest"))
    with private_files():
        raise SystemExit(run_roles(deployment, role))
