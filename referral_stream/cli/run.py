"""`run`."""

from __future__ import annotations

import click

from referral_stream.cli.options import private_files, this_deployment


@click.command(short_help="Run the workers of one role, or of all.")
@click.argument("role", type=click.Choice(["all", "ingest", "decide", "ledger", "projector"]), default="all")
@click.option("--reset", is_flag=True, help="Projector: delete the read models first, and rebuild them.")
def run(role: str, *, reset: bool) -> None:
    """Run the workers of one ROLE, or of all in one process (default).

    Settings come from the environment, REFERRAL_STREAM_KAFKA_BROKERS, REFERRAL_STREAM_REDIS_URL and
    REFERRAL_STREAM_EMAIL_KEY first of all (docs/operations.md). Shuts down gracefully on SIGTERM: exit code 0; 1 if it
    failed; 70 if it hung; 75 if a restart helps.

    The projector writes what the console shows to Redis, and decides nothing.

    \b
    Examples:
      openssl rand -hex 32 > email-key    (once: the key is kept for good)
      REFERRAL_STREAM_EMAIL_KEY_FILE=email-key referral-stream run
      referral-stream run projector --reset
    """
    deployment = this_deployment(email_key_needed=role in ("all", "ingest"))
    if reset and role != "projector":
        raise click.BadParameter("only the projector's read models can be reset", param_hint="--reset")
    if role == "projector":
        from referral_stream.projector.process import run_projector

        raise SystemExit(run_projector(deployment, reset=reset))
    from referral_stream.projector.process import ProjectorBeside
    from referral_stream.stream.run import run_roles

    with private_files():
        raise SystemExit(run_roles(deployment, role, beside=[ProjectorBeside(deployment)] if role == "all" else []))
