"""The harm budget: which trigger is paused, by which evidence, and what counts once a person has resumed it."""

from __future__ import annotations

import orjson
import pytest

from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.core.events import ControlPaused
from referral_stream.core.ledger.switches import Switch
from referral_stream.core.policy import Policy
from referral_stream.metrics.harm import HARM_BUDGET, pauses
from referral_stream.metrics.records import Records
from tests.builders import a_customer, a_policy, nps, pause, replay, resumption
from tests.metrics.records import LONG_AGO, together, two_arms
from tests.rules import rule

BUDGET = a_policy(holdout={"percent": 50}, harm={"pause_at": 20})


def paused(records: Records, policy: Policy = BUDGET, **resumed: int) -> list[str]:
    return [each.trigger for each in pauses(records, policy, resumed)]


HARMFUL = two_arms((60, 400), (20, 400), harm=True)


@rule("A7.10")
def test_a_trigger_whose_asks_do_harm_is_paused_and_no_other() -> None:
    harmless = two_arms((20, 400), (20, 400), harm=True, trigger="renewal")
    (pause,) = pauses(together(HARMFUL, harmless), BUDGET)
    assert (pause.trigger, pause.control.scope, pause.control.name, pause.control.by) == (
        "nps_promoter", "trigger", "nps_promoter", HARM_BUDGET,
    )  # fmt: skip
    assert pause.control.why == "evidence_4918:asked_60_of_400:held_out_20_of_400"
    assert pause.why == (
        "Asking does harm for nps_promoter: accounts that are asked have 3.0 times (between 1.5 and 6.7 times) as many "
        "cases of trouble as those held out (evidence of 4,918 to 1). "
        "Trouble within 14 days: 60 of 400 accounts asked, 20 of 400 held out."
    )


@pytest.mark.parametrize(
    ("policy", "records"),
    [
        (a_policy(holdout={"percent": 50}), HARMFUL),
        (a_policy(harm={"pause_at": 20}), HARMFUL),
        (a_policy(holdout={"percent": 50}, harm={"pause_at": 4_919}), HARMFUL),
        (a_policy(holdout={"percent": 5}, harm={"pause_at": 20}), HARMFUL),
        (BUDGET, two_arms((20, 400), (60, 400), harm=True)),
        (BUDGET, two_arms((19, 400), (0, 400), harm=True)),
        (BUDGET, Records()),
    ],
    ids=["off", "no holdout", "less evidence", "broken split", "less trouble", "not enough data", "no records"],
)
def test_nothing_is_paused(policy: Policy, records: Records) -> None:
    assert paused(records, policy) == []


@pytest.mark.parametrize(("pause_at", "expected"), [(4_918, ["nps_promoter"]), (4_919, [])])
def test_it_is_paused_from_that_much_evidence_on(pause_at: int, expected: list[str]) -> None:
    assert paused(HARMFUL, a_policy(holdout={"percent": 50}, harm={"pause_at": pause_at})) == expected


def test_after_a_person_resumed_it_only_new_asks_count() -> None:
    assert paused(HARMFUL, nps_promoter=LONG_AGO) == ["nps_promoter"]
    assert paused(HARMFUL, nps_promoter=LONG_AGO + 1) == []
    assert paused(HARMFUL, renewal=LONG_AGO + 1) == ["nps_promoter"]


def test_it_stays_paused_until_a_person_resumes_it() -> None:
    """The burst breaker's pause ends by itself; this one does not."""
    waiting = replay(a_customer(), pause("Thu 12:00", "trigger", "nps_promoter", by=HARM_BUDGET), nps(9, "Thu 12:30"))
    assert waiting.asks == []
    paused_by = [reason for d in waiting.decisions() for reason in d.reasons if reason.gate == "paused"]
    assert {(reason.answer, reason.until) for reason in paused_by} == {
        ("pass", None),
        ("until_event", "control.resumed"),
    }
    resumed = replay(
        a_customer(),
        pause("Thu 12:00", "trigger", "nps_promoter", by=HARM_BUDGET),
        nps(9, "Thu 12:30"),
        resumption("Thu 13:00", "trigger", "nps_promoter"),
    )
    assert resumed.asked == [("nps_promoter", "Thu 13:00")]


def test_the_event_is_one_that_the_switches_know_and_the_same_until_it_is_resumed() -> None:
    (pause,) = pauses(HARMFUL, BUDGET)
    event = decode_event(encode_event(pause.event()))
    assert isinstance(event.data, ControlPaused)
    assert Switch(event.data.scope, event.data.name or "").concerns("nps_promoter", None)
    assert orjson.loads(encode_event(event))["data"]["by"] == "harm_budget"
    (again,) = pauses(HARMFUL, BUDGET)
    (later,) = pauses(HARMFUL, BUDGET, {"nps_promoter": LONG_AGO})
    assert again.event().id == event.id != later.event().id


@pytest.mark.parametrize("pause_at", [2, 5, 10])
def test_a_small_budget_pauses_at_that_evidence_too(pause_at: int) -> None:
    """Evidence 10.9 to 1: whether the asked have more trouble is a matter of the rates, not of a band at 20 to 1."""
    records = two_arms((60, 400), (5, 100), harm=True)
    assert paused(records, a_policy(holdout={"percent": 20}, harm={"pause_at": pause_at})) == ["nps_promoter"]
