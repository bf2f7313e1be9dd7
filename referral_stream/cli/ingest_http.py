"""`ingest-http`."""

from __future__ import annotations

import click

from referral_stream.cli.options import Unusable


@click.command("ingest-http", short_help="Receive webhooks and CloudEvents over HTTP.")
def ingest_http() -> None:
    """Receive vendors' webhooks and CloudEvents over HTTP and write them to the input topics.

    A vendor's endpoint opens once its secret is set (REFERRAL_STREAM_WEBHOOK_SECRET_STRIPE), the one for CloudEvents
    with REFERRAL_STREAM_HTTP_EVENTS_TOKEN. Listens on 127.0.0.1:8080 by default. An answer of 202 means that Kafka has
    the record. Shuts down gracefully on SIGTERM: exit code 0; 1 if it could not start; 75 if
    no broker answered.
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
