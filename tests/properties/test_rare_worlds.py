"""What random worlds meet too seldom: small logs made on purpose, decided alike by engine and oracle."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant, rfc3339
from referral_stream.core.policy import Policy
from tests.properties.comparing import Account, Record, by_engine, by_oracle, differences
from tests.worlds.customers import history
from tests.worlds.records import past, recorded

NOON = parse_instant("2026-06-18T12:00:00Z")[0]
"""A Thursday; 14:00 in Berlin."""
SLOT = "2026-06-19T11:00:00.000Z"
"""Friday 13:00 in Berlin."""


def fact(kind: str, at: int, body: dict[str, Any] | None = None) -> Record:
    return recorded(kind, "ada", at, body)


def a_customer(zone: str, *channels: str) -> list[Record]:
    """Passes every gate on that Thursday."""
    return past(history("first_success", zone=zone, channels=channels), "ada", NOON)


def nps(at: int, score: int = 10) -> Record:
    return fact("nps.responded", at, {"response_id": "r1", "score": score})


def decided(*records: Record) -> Account:
    log = sorted(records, key=lambda record: record["timestamp"])
    engine = by_engine(log, Policy())
    assert differences(engine, by_oracle(log, {})) == []
    return engine


@pytest.mark.parametrize(
    ("meanwhile", "asked_at"),
    [
        ((), "2026-06-18T13:00:00.000Z"),
        (("task.started", {"task_id": "export"}), SLOT),
        (("customer.profile_changed", {"channels": {"in_app": False}}), SLOT),
        (("complaint.made", {}), None),
    ],
)
def test_a_good_moment_is_lost_to_what_the_same_instant_brings(
    meanwhile: tuple[str, dict[str, Any]] | tuple[()], asked_at: str | None
) -> None:
    moment = NOON + HOUR
    others = [fact(meanwhile[0], moment, meanwhile[1])] if meanwhile else []
    customer = a_customer("Europe/Berlin", "email", "in_app")
    asks = decided(*customer, nps(NOON), fact("workflow.completed", moment), *others).asks
    assert [ask[6] for ask in asks] == ([] if asked_at is None else [asked_at])


def test_a_command_is_taken_back_when_midnight_shows_that_usage_fell() -> None:
    today = NOON - 36 * HOUR
    usage = [fact("usage.recorded", today - days * DAY + HOUR, {"count": 10}) for days in range(30, 2, -1)]
    customer = a_customer("America/Los_Angeles", "email")  # there it is not quiet yet when the UTC day ends
    account = decided(*customer, *usage, nps(today + 21 * HOUR + 40 * MINUTE))
    assert [(ask[6], ask[7]) for ask in account.asks] == [("2026-06-17T22:00:00.000Z", "2026-06-18T03:00:00.000Z")]
    assert [at for _, at in account.cancelled] == ["2026-06-18T00:00:00.000Z"]


@pytest.mark.parametrize("status", ["accepted", "failed", "dropped_expired", "sent"])
def test_a_command_that_may_still_be_sent_is_taken_back(status: str) -> None:
    command = derived_id("command", "ada", "nps_promoter", "r1", 1)
    asked = parse_instant(SLOT)[0]
    reported = fact("ask.acknowledged", asked + MINUTE, {"command_id": command, "status": status})
    complained = fact("complaint.made", asked + 30 * MINUTE)
    account = decided(*a_customer("Europe/Berlin", "email"), nps(NOON), reported, complained)
    assert [at for _, at in account.cancelled] == ([] if status == "sent" else [rfc3339(asked + 30 * MINUTE)])


def test_a_veto_takes_a_command_back_even_if_the_same_instant_lifts_it() -> None:
    at = parse_instant(SLOT)[0] + 30 * MINUTE
    refused, granted = (
        fact("customer.consent_changed", at, {"purpose": "referral_ask", "channel": "all", "granted": given})
        for given in (False, True)
    )
    refused["value"]["source"], granted["value"]["source"] = "first", "second"  # the later of two at one instant
    account = decided(*a_customer("Europe/Berlin", "email"), nps(NOON), refused, granted)
    assert [at for _, at in account.cancelled] == [rfc3339(at)]
