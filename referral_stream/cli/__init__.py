"""The command line: parse, build settings, call one function, print. Exit codes: 0 done, 1 failed, 2 wrong usage.

One module per verb, or per family of verbs; a verb imports what it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import click

from referral_stream import __version__
from referral_stream.cli.audit import audit
from referral_stream.cli.deadletters import deadletters
from referral_stream.cli.demo import demo
from referral_stream.cli.deployment import doctor, topics
from referral_stream.cli.files import mapping_group, policy_group
from referral_stream.cli.history import explain, replay
from referral_stream.cli.schemas import schemas
from referral_stream.cli.workers import ingest_http, run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="referral-stream")
def main() -> None:
    """Ask customers for referrals at the right moment, beside your event bus.

    \b
    See it work (no services needed):      referral-stream demo
    Try it on a recorded log:              referral-stream replay LOG --output OUT
    Prepare the topics, start the workers: referral-stream topics create && referral-stream run
    """


for _verb in (
    demo,
    run,
    ingest_http,
    topics,
    doctor,
    audit,
    replay,
    explain,
    deadletters,
    policy_group,
    mapping_group,
    schemas,
):
    main.add_command(_verb)
