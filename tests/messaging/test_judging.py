"""What the kit makes of acknowledgements: case by case, without a broker."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import orjson
import pytest

from referral_stream.contracts.codec import decode_effect
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    FollowupCancelled,
    FollowupKind,
    FollowupRequested,
    ReasonAsked,
)
from referral_stream.core.instants import HOUR, MINUTE, SECOND
from referral_stream.testing import CASES, Acknowledgement, Case, Finding, Limits, Report
from referral_stream.testing.cases import ASK_CASES, FOLLOWUP_CASES
from referral_stream.testing.trials import WorkerTrial
from tests.rules import rule

STARTED = 1_790_000_000_000
LIMITS = Limits(answer=10, early=4, quiet=1, skew=0.2)


def trial(name: str) -> WorkerTrial:
    (case,) = (case for case in CASES if case.name == name)
    return WorkerTrial(case, "run", STARTED, LIMITS)


def said(
    tried: WorkerTrial, *statuses: str, at: int = STARTED + 5 * SECOND, customer: str = ""
) -> list[Acknowledgement]:
    return [
        Acknowledgement(f"{n}", "worker", customer or tried.customer, tried.command_id, status, at)
        for n, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("case", "statuses", "problems"),
    [
        ("sent", ("accepted", "sent"), ()),
        ("sent", ("sent",), ()),
        ("sent", ("accepted", "sent", "delivered", "opened"), ()),
        ("sent", ("accepted",), ("no acknowledgement 'sent' within 10 s",)),
        ("sent", ("sent", "failed"), ("acknowledged 'failed'",)),
        ("sent", ("sent", "sent"), ("acknowledged 'sent' 2 times",)),
        ("expired", ("dropped_expired",), ()),
        ("expired", ("accepted", "dropped_expired"), ()),
        ("expired", (), ("no acknowledgement 'dropped_expired' within 10 s",)),
        ("expired", ("dropped_expired", "opened"), ("acknowledged 'opened'",)),
        ("cancelled", ("accepted", "cancelled"), ()),
        ("cancelled", ("cancelled", "sent"), ("acknowledged 'sent'",)),
        ("cancelled_too_late", ("sent", "cancelled"), ("acknowledged 'cancelled'",)),
        ("unknown_type", (), ()),
        ("unknown_type", ("accepted",), ("acknowledged 'accepted', for something that was not a command",)),
        ("uncommitted", ("sent",), ("acknowledged 'sent'",)),
        ("restart", ("accepted", "sent"), ()),
    ],
)
def test_acknowledgements_keep_a_rule_or_say_what_is_wrong(
    case: str, statuses: tuple[str, ...], problems: tuple[str, ...]
) -> None:
    tried = trial(case)
    assert tried.problems(said(tried, *statuses)) == problems


@pytest.mark.parametrize(
    ("after_not_before", "problems"),
    [(-201, ("sent 0.0 s before not_before",)), (-200, ()), (0, ()), (9_000, ())],
)
def test_the_clocks_of_worker_and_kit_may_differ_by_the_skew(after_not_before: int, problems: tuple[str, ...]) -> None:
    tried = trial("not_before")
    assert tried.not_before == STARTED + 4 * SECOND
    assert tried.problems(said(tried, "sent", at=tried.not_before + after_not_before)) == problems


def test_a_report_repeated_after_a_crash_counts_once_by_its_id() -> None:
    tried = trial("repeated_after_restart")
    (first,) = said(tried, "sent")
    assert tried.problems([first, first]) == ()
    assert tried.problems([first, replace(first, id="another")]) == ("acknowledged 'sent' 2 times",)


def test_an_acknowledgement_with_another_customer_as_subject_is_a_problem() -> None:
    tried = trial("sent")
    assert tried.problems(said(tried, "sent", customer="cus-9")) == ("'sent' has another subject",)


@pytest.mark.parametrize(
    ("case", "status", "deliveries", "problems"),
    [
        ("sent", "sent", 1, ()),
        ("repeated", "sent", 2, ("delivered 2 times, not 1",)),
        ("sent", "sent", 0, ("delivered 0 times, not 1",)),
        ("expired", "dropped_expired", 1, ("delivered 1 times, not 0",)),
        ("cancelled", "cancelled", 0, ()),
    ],
)
def test_what_reached_the_sandbox_counts_more_than_what_the_worker_says(
    case: str, status: str, deliveries: int, problems: tuple[str, ...]
) -> None:
    tried = trial(case)
    assert tried.problems(said(tried, status), deliveries) == problems


@pytest.mark.parametrize(
    ("status", "deliveries", "owner_items", "problems"),
    [
        ("sent", 0, 1, ()),
        ("sent", 0, None, ()),
        ("sent", 1, None, ("delivered to the customer 1 times, not 0",)),
        ("sent", 0, 0, ("given to the owner 0 times, not 1",)),
        ("sent", None, 2, ("given to the owner 2 times, not 1",)),
    ],
)
def test_what_is_for_the_owner_reaches_the_owner_once_and_no_customer(
    status: str, deliveries: int | None, owner_items: int | None, problems: tuple[str, ...]
) -> None:
    tried = trial("followup_owner_apart")
    assert tried.problems(said(tried, status), deliveries, owner_items) == problems


def test_what_is_for_the_customer_is_not_given_to_the_owner() -> None:
    tried = trial("followup_thank")
    assert tried.problems(said(tried, "sent"), 1, 1) == ("given to the owner 1 times, not 0",)


@rule("A2.1", "A2.2", "A2.14")
@pytest.mark.parametrize("case", FOLLOWUP_CASES, ids=lambda case: case.name)
def test_the_follow_ups_of_the_kit_are_follow_ups_of_the_contract(case: Case) -> None:
    tried = WorkerTrial(case, "run", STARTED, LIMITS)
    value = orjson.loads(tried.command())
    if case.unknown_kind:
        assert value["data"]["kind"] not in get_args(FollowupKind)
        value["data"]["kind"] = case.followup
    effect = decode_effect(orjson.dumps(value))
    assert isinstance(effect, FollowupRequested)
    assert (effect.followup_id, effect.customer_id, effect.kind) == (tried.command_id, tried.customer, case.followup)
    assert (effect.audience, effect.channels is None) == (("owner", True) if case.for_owner else ("customer", False))
    assert effect.not_before < effect.expires_at
    cancelled = decode_effect(tried.cancellation())
    assert isinstance(cancelled, FollowupCancelled)
    assert (cancelled.followup_id, cancelled.kind) == (effect.followup_id, effect.kind)


@pytest.mark.parametrize(
    "case", [case for case in ASK_CASES if case.name != "unknown_type"], ids=lambda case: case.name
)
def test_the_commands_of_the_kit_are_commands_of_the_contract(case: Case) -> None:
    tried = WorkerTrial(case, "run", STARTED, LIMITS)
    effect = decode_effect(tried.command())
    assert isinstance(effect, ReasonAsked if case.name == "reason" else AskRequested)
    assert (effect.command_id, effect.customer_id) == (tried.command_id, tried.customer)
    assert effect.expires_at == STARTED + (-MINUTE if case.expired else HOUR)
    assert effect.not_before < effect.expires_at
    assert isinstance(decode_effect(tried.cancellation()), AskCancelled)


def test_each_case_has_its_own_commands_and_unknowns_only_where_tried() -> None:
    tried = [WorkerTrial(case, "run", STARTED, LIMITS) for case in CASES]
    assert len({each.command_id for each in tried}) == len(CASES)
    extended = [each.case.name for each in tried if "kit_field" in orjson.loads(each.command())["data"]]
    assert extended == ["unknown_fields", "followup_unknown_fields"]


def test_a_report_reads_line_by_line() -> None:
    report = Report(
        (
            Finding("sent", "What may be sent is sent.", ("accepted", "sent"), ()),
            Finding("expired", "What has expired is dropped.", (), ("no acknowledgement",)),
        ),
        ("0/7 is undecodable: no JSON",),
        (("restart", "no way"),),
    )
    assert str(report).splitlines() == [
        "ok      sent: What may be sent is sent. It said: accepted, sent.",
        "FAILED  expired: What has expired is dropped. It said: nothing.",
        "        no acknowledgement",
        "FAILED  responses: 0/7 is undecodable: no JSON",
        "-       restart: not tried, no way",
    ]
    assert report.failed == ("expired",)
    assert not report.passed


def test_a_report_on_a_worker_that_said_nothing_asks_whether_it_runs() -> None:
    silent = Finding("expired", "What has expired is dropped.", (), ("no acknowledgement",))
    first, *_ = str(Report((silent,))).splitlines()
    assert first == "No acknowledgement at all: does the worker run, and do its topics and its broker match?"
    assert "at all" not in str(Report((silent,), ("0/7 is undecodable: no JSON",)))
