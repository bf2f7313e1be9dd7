"""A contract test kit for messaging workers: run it against yours, on a broker of your choice::

    from referral_stream.testing import check_worker

    report = check_worker(
        "127.0.0.1:9092",
        asks_topic="sandbox-asks",
        responses_topic="sandbox-responses",
        followups_topic="sandbox-followups",
    )
    assert report.passed, str(report)

The worker must be running, or about to; the kit writes to its topics and judges what it says on ``responses``.
It really sends: point the worker at a sandbox. The rules are those of docs/contracts.md; ``CASES`` lists them.
For pytest: :mod:`referral_stream.testing.fixtures`. From a shell: ``referral-stream worker check``.
"""

from referral_stream.testing.cases import CASES, Case
from referral_stream.testing.checking import Unreachable, check_worker
from referral_stream.testing.report import Acknowledgement, Finding, Report
from referral_stream.testing.timing import Limits

__all__ = [
    "CASES",
    "Acknowledgement",
    "Case",
    "Finding",
    "Limits",
    "Report",
    "Unreachable",
    "check_worker",
]
