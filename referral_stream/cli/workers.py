"""Verbs that run until they are told to stop: `run` and `ingest-http`."""

from __future__ import annotations

import click

from referral_stream.cli.options import Unusable, this_deployment


@click.command()
@click.argument("role", type=click.Choice(["all", "ingest", "decide", "ledger"]), default="all")
def run(role: str) -> None:
    """Run the workers of one ROLE, or of all in one process (default).

    Settings come from the environment, REFERRAL_STREAM_KAFKA_BROKERS, REFERRAL_STREAM_REDIS_URL and
    REFERRAL_STREAM_EMAIL_KEY first of all. Stops in good order on SIGTERM: exit code 0; 1 when it failed; 70 when it
    hung.
    """
    from referral_stream.stream.run import run_roles

    deployment = this_deployment()
    raise SystemExit(run_roles(deployment, role))


@click.command("ingest-http")
def ingest_http() -> None:
    """Receive vendors' webhooks and CloudEvents over HTTP, and write them to the input topics.

    A vendor is received from as soon as its secret is set (REFERRAL_STREAM_WEBHOOK_SECRET_STRIPE), CloudEvents with
    REFERRAL_STREAM_HTTP_EVENTS_TOKEN. Listens on 127.0.0.1:8080 unless told otherwise. An answer of 202 means that
    Kafka has it. Stops in good order on SIGTERM: exit code 0; 1 when it could not start.
    """
    from referral_stream.receiver.endpoints import endpoints
    from referral_stream.receiver.serve import serve
    from referral_stream.runtime.logs import configure_logging
    from referral_stream.runtime.settings import SettingsProblem, read_receiver_settings

    try:
        settings = read_receiver_settings()
        ways_in = endpoints(settings)
        configure_logging(settings.log_level, settings.log_format)
        code = serve(settings, ways_in)
    except SettingsProblem as problem:
        raise Unusable(str(problem)) from None
    raise SystemExit(code)
