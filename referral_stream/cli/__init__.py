"""The command line: parse, build settings, call one function, print. Exit codes: 0 done, 1 failed, 2 wrong usage.

One module per verb; what verbs share is in ``options``, what they print in ``render``. A verb imports what it runs, so
that ``--help`` answers at once.
"""

from __future__ import annotations

import click

from referral_stream import __version__
from referral_stream.cli.audit import audit
from referral_stream.cli.backtest import backtest
from referral_stream.cli.console import console
from referral_stream.cli.deadletters import deadletters
from referral_stream.cli.decisions import decisions
from referral_stream.cli.demo import demo
from referral_stream.cli.doctor import doctor
from referral_stream.cli.explain import explain
from referral_stream.cli.export import export
from referral_stream.cli.import_ import import_
from referral_stream.cli.ingest_http import ingest_http
from referral_stream.cli.mapping import mapping_group
from referral_stream.cli.metrics import metrics
from referral_stream.cli.policy import policy_group
from referral_stream.cli.record import record
from referral_stream.cli.replay import replay
from referral_stream.cli.rewards import rewards
from referral_stream.cli.run import run
from referral_stream.cli.schemas import schemas
from referral_stream.cli.topics import topics
from referral_stream.cli.verbs import Verbs
from referral_stream.cli.worker import worker


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="referral-stream")
def main() -> None:
    """Ask customers for referrals at the right moment, beside your event bus.

    \b
    See it work, without any services:
      referral-stream demo
    Try it on a recorded log:
      referral-stream replay events.jsonl --output out
    Create the topics and start the workers:
      referral-stream topics create
      referral-stream run
    """


for _verb in (
    demo,
    run,
    ingest_http,
    rewards,
    console,
    topics,
    doctor,
    audit,
    import_,
    export,
    replay,
    backtest,
    explain,
    record,
    metrics,
    decisions,
    deadletters,
    policy_group,
    mapping_group,
    worker,
    schemas,
):
    main.add_command(_verb)
