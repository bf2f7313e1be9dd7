"""`rewards`."""

from __future__ import annotations

import click

from referral_stream.cli.options import Unusable


@click.command("rewards", short_help="Tell the payer what was granted and taken back.")
def rewards() -> None:
    """Send every granted and reversed reward from referral-rewards to one webhook, until the payer has it.

    REFERRAL_STREAM_REWARDS_URL is the payer's address (https), REFERRAL_STREAM_REWARDS_SECRET the secret that requests
    are signed with, as Standard Webhooks describes (whsec_...); both also from files (..._FILE). An answer of 2xx
    means that the payer has it, 422 that it is refused for good, 410 tells this role to stop; any other answer is
    retried indefinitely. What the payer has to do: docs/rewards.md.

    Shuts down gracefully on SIGTERM: exit code 0; 1 if it failed or the payer is gone; 75 if a restart helps.

    \b
    Example:
      REFERRAL_STREAM_REWARDS_URL=https://pay.example.com/hooks/referrals \\
      REFERRAL_STREAM_REWARDS_SECRET_FILE=/run/secrets/rewards \\
      referral-stream rewards
    """
    from referral_stream.rewards.process import run_rewards
    from referral_stream.runtime.logs import configure_logging
    from referral_stream.runtime.settings import SettingsProblem, read_rewards_settings

    try:
        settings = read_rewards_settings()
        configure_logging(settings.log_level, settings.log_format)
        code = run_rewards(settings)
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    raise SystemExit(code)
