"""A year of the whole engine, in which what asking causes is known: the figures must find it (after §7)."""

from __future__ import annotations

import os

import orjson
import pytest

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import AskRequested, RecordChanged, RecordForgotten
from referral_stream.metrics.comparing import Comparison
from referral_stream.metrics.records import Records
from referral_stream.metrics.report import report
from referral_stream.replay.virtual_run import FactReplay
from tests.builders import a_policy
from tests.night import nightly
from tests.properties.comparing import arrivals
from tests.rules import rule
from tests.worlds.years import Year

CUSTOMERS = int(os.environ.get("TESTS_YEAR_CUSTOMERS", "10000"))
POLICY = a_policy(
    holdout={"percent": 20},
    harm={"pause_at": 20},
    experiments={"wording": {"trigger": "renewal", "templates": {"renewal": 1, "short": 1}}},
)


def lived(year: Year) -> Records:
    """The newest records of a year in which customers answer."""
    records = Records()
    for items in FactReplay(POLICY).run(arrivals(year)):
        for now, effect in items:
            match effect:
                case AskRequested():
                    year.answer(effect)
                case RecordChanged():
                    records.take(effect.customer_id, orjson.loads(encode_effect(effect, now))["data"])
                case RecordForgotten():
                    records.take(effect.customer_id, None)
                case _:
                    pass
    return records


@nightly
@pytest.mark.timeout(4 * 3_600)
@rule("A7.9", "A7.10", "A7.11")
def test_what_asking_causes_in_a_year_is_found() -> None:
    """Ten thousand customers: asks bring referrals, one wording more than the other, and they annoy some."""
    records = lived(Year(11, CUSTOMERS, appeal={"renewal": 0.4, "short": 1.6}, annoys=0.6))
    found: dict[tuple[str, str], Comparison] = {(c.kind, c.name): c for c in report(records, POLICY).comparisons}
    said = "\n".join(f"{c.kind} {c.name} {c.arms}: {c.sentence}" for c in found.values())
    assert found["uplift", ""].sentence.startswith("Asking works"), said
    assert found["harm", ""].sentence.startswith("Asking does harm"), said
    assert found["template", "wording/short"].sentence.startswith("short works better"), said
