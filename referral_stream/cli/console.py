"""`console`, `console token`."""

from __future__ import annotations

import click

from referral_stream.cli.options import Unusable, missing_package, policy_in


@click.group(
    "console", invoke_without_command=True, short_help="Serve the console: pages for operators and growth teams."
)
@click.pass_context
def console(context: click.Context) -> None:
    """Serve the web console: what is going on, why a customer was not asked, what would change it, and controls.

    Listens on 127.0.0.1:8090 by default. People log in with a token of REFERRAL_STREAM_CONSOLE_TOKENS_FILE, at the
    OpenID provider REFERRAL_STREAM_CONSOLE_OIDC_ISSUER, or through a trusted proxy of
    REFERRAL_STREAM_CONSOLE_TRUSTED_PROXIES; as viewers, who see everything, or operators, who may also pause, approve
    and replay (docs/console.md). What is shown is written by the role projector.

    Shuts down gracefully on SIGTERM: exit code 0; 1 if it could not start; 75 if no
    broker answered.

    \b
    Examples:
      referral-stream console token ada --role operator
      REFERRAL_STREAM_CONSOLE_TOKENS_FILE=tokens referral-stream console
    """
    if context.invoked_subcommand is None:
        raise SystemExit(_serve())


def _serve() -> int:
    from referral_stream.runtime.clock import Clock
    from referral_stream.runtime.deployment import Deployment
    from referral_stream.runtime.logs import configure_logging
    from referral_stream.runtime.settings import SettingsProblem, read_console_settings

    try:
        from referral_stream.console.serve import run_console
    except ModuleNotFoundError as missing:
        raise missing_package(missing, "console") from None
    try:
        settings = read_console_settings()
        clock = Clock()
        if settings.clock_start is not None and settings.clock_started_at is not None:
            clock = Clock(settings.clock_start, settings.clock_started_at, settings.clock_speed)
        deployment = Deployment(settings, policy_in(settings.policy_file), clock)
        deployment.check()
        configure_logging(settings.log_level, settings.log_format)
        return run_console(settings, deployment)
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None


@console.command("token", short_help="Make a token for somebody.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator"]),
    default="viewer",
    show_default=True,
    help="What NAME may do: see everything, or also pause, approve and replay.",
)
def token(name: str, role: str) -> None:
    """Print a new token for NAME, and the line for the tokens file, which holds only its digest.

    Anyone who holds the token acts as NAME. It is shown once; to take it back, remove the line: the console reads the
    file again.

    \b
    Example:
      referral-stream console token ada --role operator
    """
    import re
    import secrets
    from hashlib import sha256

    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", name):
        raise click.BadParameter("letters, digits and _.:- alone, at most 64: it stands in events", param_hint="NAME")
    made = secrets.token_urlsafe(32)
    click.echo(f"token, for {name} alone:  {made}", err=True)
    click.echo(f"{name} {role} {sha256(made.encode()).hexdigest()}")
