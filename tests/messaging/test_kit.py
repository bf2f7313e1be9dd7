"""On the embedded broker: the kit passes a worker that keeps the contract, and names the rule that another breaks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.core.effects import FollowupKind
from referral_stream.local.broker import EmbeddedBroker
from referral_stream.testing import CASES, Limits, Report, Unreachable, check_worker
from referral_stream.testing.fixtures import WorkerUnderTest
from tests.messaging.example import ExampleWorker
from tests.messaging.naive import RULES, NaiveWorker, Rule
from tests.rules import rule
from tests.services.process import free_port

IMPATIENT = Limits(answer=3, early=1.5, quiet=0.6)
"""For workers that run already, in this process."""


TOPICS: dict[str, Any] = {
    "asks_topic": "referral-asks",
    "responses_topic": "responses",
    "followups_topic": "referral-followups",
}
"""Of a broker that is a sandbox as a whole."""


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def report_on(broker: EmbeddedBroker, heeds: tuple[Rule, ...], unsaid: tuple[str, ...] = ()) -> Report:
    with NaiveWorker(broker.bootstrap, heeds, unsaid=unsaid) as worker:
        return check_worker(
            broker.bootstrap, **TOPICS, limits=IMPATIENT, transactions=False, deliveries=lambda: worker.customers,
            owner_items=lambda: worker.owners,
        )  # fmt: skip


def all_but(ignored: Rule) -> tuple[Rule, ...]:
    return tuple(each for each in RULES if each != ignored)


@rule("6.5", "A2.1", "A2.2", "A2.4")
def test_the_example_worker_keeps_the_contract(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with ExampleWorker(broker.bootstrap, tmp_path) as worker:
        report = check_worker(
            broker.bootstrap,
            **TOPICS,
            restart=worker.restart,
            deliveries=worker.deliveries,
            owner_items=worker.owner_items,
            transactions=False,
        )
        assert worker.stop() == 0
    assert report.passed, str(report)
    assert {finding.case for finding in report.findings} == {case.name for case in CASES if not case.aborted}


def test_a_correct_worker_passes_and_what_was_not_tried_is_named(broker: EmbeddedBroker) -> None:
    report = report_on(broker, RULES)
    assert report.passed, str(report)
    assert [case for case, _ in report.skipped] == [
        f"{kind}{case}" for kind in ("", "followup_") for case in ("uncommitted", "restart", "repeated_after_restart")
    ]


def test_without_a_topic_for_follow_ups_the_asks_alone_are_tried(broker: EmbeddedBroker) -> None:
    asks_alone = {name: topic for name, topic in TOPICS.items() if name != "followups_topic"}
    with NaiveWorker(broker.bootstrap, RULES):
        report = check_worker(broker.bootstrap, **asks_alone, limits=IMPATIENT, transactions=False)
    assert report.passed, str(report)
    assert not any(finding.case.startswith("followup_") for finding in report.findings)
    assert {why for case, why in report.skipped if case.startswith("followup_")} == {"no topic for follow-ups is given"}


@rule("6.5")
@pytest.mark.parametrize(
    ("ignored", "failed", "problem"),
    [
        ("expiry", ("expired", "followup_expired"), "acknowledged 'sent'"),
        ("repeats", ("repeated", "followup_repeated"), "acknowledged 'sent' 2 times"),
        (
            "cancellations",
            ("cancelled", "cancelled_too_late", "followup_cancelled", "followup_cancelled_too_late"),
            "acknowledged 'cancelled'",
        ),
        ("early_cancellations", ("followup_cancelled_first",), "acknowledged 'sent'"),
        ("types", ("unknown_type",), "acknowledged 'sent'"),
        ("kinds", ("followup_unknown_kind",), "acknowledged 'sent'"),
        ("fields", ("unknown_fields", "followup_unknown_fields"), "no acknowledgement 'sent'"),
    ],
)
def test_a_worker_that_ignores_one_rule_fails_exactly_where_that_rule_is_tried(
    broker: EmbeddedBroker, ignored: Rule, failed: tuple[str, ...], problem: str
) -> None:
    report = report_on(broker, all_but(ignored))
    assert report.failed == failed, str(report)
    assert problem in str(report)
    assert not report.passed


@rule("A2.1")
def test_a_worker_that_writes_to_the_customer_what_is_for_the_owner_is_found_out(broker: EmbeddedBroker) -> None:
    report = report_on(broker, all_but("audience"))
    assert report.failed == tuple(case.name for case in CASES if case.for_owner)
    assert "delivered to the customer 1 times, not 0" in str(report)
    assert "given to the owner 0 times, not 1" in str(report)


def test_whether_owner_and_customer_are_told_apart_is_not_tried_where_nothing_shows_it(broker: EmbeddedBroker) -> None:
    with NaiveWorker(broker.bootstrap, all_but("audience")):
        report = check_worker(broker.bootstrap, **TOPICS, limits=IMPATIENT, transactions=False)
    assert report.passed, str(report)
    assert ("followup_owner_apart", "nothing tells what reached the customer (deliveries)") in report.skipped


@pytest.mark.parametrize("kind", get_args(FollowupKind))
def test_each_kind_of_follow_up_is_tried(kind: str) -> None:
    (case,) = (case for case in CASES if case.name == f"followup_{kind}")
    assert (case.followup, case.ends) == (kind, "sent")


def test_a_worker_without_words_for_some_kinds_fails_for_these(broker: EmbeddedBroker) -> None:
    report = report_on(broker, RULES, unsaid=("reward_told", "read_reward"))
    assert report.failed == ("followup_reward_told", "followup_read_reward"), str(report)


def test_a_worker_that_forgets_in_a_crash_loses_what_waits_and_sends_again(broker: EmbeddedBroker) -> None:
    crashes = [case for case in CASES if case.with_restart]
    with NaiveWorker(broker.bootstrap, RULES) as worker:
        report = check_worker(
            broker.bootstrap, **TOPICS, limits=IMPATIENT, cases=crashes, restart=worker.restart,
            deliveries=lambda: worker.customers,
        )  # fmt: skip
    assert report.failed == tuple(case.name for case in crashes)
    assert str(report).count("no acknowledgement 'sent'") == 2
    assert str(report).count("delivered 2 times, not 1") == 2


def test_a_worker_that_does_not_wait_sends_too_early_and_what_is_cancelled(broker: EmbeddedBroker) -> None:
    report = report_on(broker, all_but("not_before"))
    assert set(report.failed) >= {"not_before", "followup_not_before"}
    assert "s before not_before" in str(report)


def test_acknowledgements_about_somebody_else_fail_every_case(broker: EmbeddedBroker) -> None:
    report = report_on(broker, all_but("subjects"))
    assert set(report.failed) == {finding.case for finding in report.findings if finding.acknowledged}


def test_acknowledgements_that_share_an_id_would_be_dropped_as_repetitions(broker: EmbeddedBroker) -> None:
    report = report_on(broker, all_but("ids"))
    assert report.failed == ()
    assert not report.passed
    assert "has the id of another acknowledgement" in str(report)


def test_without_a_worker_whatever_waits_for_an_answer_fails(broker: EmbeddedBroker) -> None:
    report = check_worker(
        broker.bootstrap, **TOPICS, limits=Limits(answer=0.5, early=0.1, quiet=0.1), transactions=False
    )
    assert set(report.failed) == {finding.case for finding in report.findings} - {"unknown_type"}


def test_without_a_broker_the_kit_says_so() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        check_worker(f"127.0.0.1:{free_port()}", **TOPICS)


@pytest.mark.parametrize("name", ["asks_topic", "responses_topic"])
def test_the_topics_have_no_defaults_that_could_be_a_deployments_own(name: str) -> None:
    assert inspect.signature(check_worker).parameters[name].default is inspect.Parameter.empty
    assert inspect.signature(WorkerUnderTest).parameters[name].default is inspect.Parameter.empty


# ---- from a shell


def from_a_shell(broker: EmbeddedBroker, *options: str) -> Result:
    arguments = ["worker", "check", "--brokers", broker.bootstrap, "--no-transactions", *options]
    return CliRunner().invoke(main, arguments, env={"REFERRAL_STREAM_TOPIC_PREFIX": "production."})


def test_from_a_shell_a_good_worker_ends_with_0_and_a_line_per_rule(broker: EmbeddedBroker) -> None:
    with NaiveWorker(broker.bootstrap, RULES):
        topics = ("--asks", "referral-asks", "--responses", "responses", "--followups", "referral-followups")
        done = from_a_shell(broker, *topics, "--seconds", "20")
    assert done.exit_code == 0, done.output
    tried = [case for case in CASES if not (case.aborted or case.with_restart or case.told_apart)]
    assert len([line for line in done.output.splitlines() if line.startswith("ok      ")]) == len(tried)


def test_from_a_shell_a_silent_worker_ends_with_1(broker: EmbeddedBroker) -> None:
    done = from_a_shell(broker, "--asks", "silent-asks", "--responses", "silent-responses", "--seconds", "1")
    assert done.exit_code == 1
    assert done.output.startswith("No acknowledgement at all: does the worker run")


def test_from_a_shell_the_deployments_own_topics_are_refused(broker: EmbeddedBroker) -> None:
    done = from_a_shell(broker, "--asks", "production.referral-asks", "--responses", "sandbox")
    assert (done.exit_code, "is the deployment's own topic" in done.output) == (2, True)
    own = ("--asks", "sandbox", "--responses", "sandbox", "--followups", "production.referral-followups")
    done = from_a_shell(broker, *own)
    assert (done.exit_code, "is the deployment's own topic" in done.output) == (2, True)
    done = from_a_shell(broker, "--asks", "sandbox", "--responses", "production.responses")
    assert (done.exit_code, "is the deployment's own topic" in done.output) == (2, True)


def test_from_a_shell_a_broker_that_is_not_there_is_one_line() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    options = ["--brokers", nobody, "--asks", "a", "--responses", "r"]
    done = CliRunner().invoke(main, ["worker", "check", *options])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert f"no connection to Kafka at {nobody}: nothing listens at {nobody}" in done.output
