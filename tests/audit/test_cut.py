"""A live system moves while it is read, policies change, logs lapse, code fails: none of it is a finding."""

from __future__ import annotations

from collections import Counter

import pytest

from referral_stream.audit.findings import AuditFinding, AuditReport, Position
from referral_stream.audit.policies import PolicyRuns
from referral_stream.audit.referee import confirmed
from referral_stream.contracts.codec import encode_event, event_headers
from referral_stream.core import step as core_step
from referral_stream.core.events import AdviceAsked, DeadletterReplayed, ErasureRequested, Event, ReservationGranted
from referral_stream.core.policy import Policy
from referral_stream.core.turn import Turn
from tests.audit.topics import NAMES, PARTITIONS, Deployment
from tests.builders import a_customer, a_policy, acknowledged, arriving, at, command_of, consent, fact, nps


@pytest.fixture
def deployment() -> Deployment:
    """Thursday 15:00: Ana was asked, Ben waits for Friday's slot."""
    deployment = Deployment()
    deployment.tell(a_customer(), a_customer("ben"))
    deployment.tell(nps(9, "Thu 12:30"), nps(9, "Thu 14:00", customer="ben"), until="Thu 15:00")
    return deployment


# ---- the cut


@pytest.mark.parametrize("topic", [NAMES.customers, NAMES.decisions, NAMES.events, NAMES.wakeups, NAMES.requests])
@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_what_happens_while_it_is_read_is_in_flight(deployment: Deployment, topic: str, partition: int) -> None:
    """Ben's ask goes out, a new customer comes and is asked, at any point of a look."""
    moved: list[bool] = []

    def move(of: str, number: int) -> None:
        if (of, number) == (topic, partition) and not moved:
            moved.append(True)
            deployment.tell(a_customer("cem"), nps(10, "Thu 15:30", customer="cem"), until="Fri 13:00")

    deployment.logs.on_read = move
    assert deployment.audit().findings == ()
    assert moved
    assert deployment.audit().counts["asks"] == 3


def test_records_that_no_worker_has_taken_yet_are_in_flight(deployment: Deployment) -> None:
    event = deployment.logs.find(NAMES.events)
    deployment.logs.append(NAMES.events, event.key, event.value, event.headers)
    report = deployment.audit()
    assert report.findings == ()
    assert report.counts["events in flight"] == 1


def test_only_what_is_broken_twice_is_reported() -> None:
    lasting = AuditFinding("state_is_fold", "one", (Position("customers", 0, 1),))
    passing = AuditFinding("wakeup_matches", "one", (Position("wakeups", 0, 1),))
    fresh = AuditFinding("wakeup_matches", "one", (Position("wakeups", 0, 2),))
    looks = iter([a_report(lasting, passing), a_report(fresh, lasting)])
    report = confirmed(lambda: next(looks), 0)
    assert report.findings == (lasting,)
    assert report.broken == {"state_is_fold": 1}


def test_a_look_that_finds_nothing_is_the_only_one() -> None:
    looks = iter([a_report()])
    assert confirmed(lambda: next(looks), 0).findings == ()


def a_report(*findings: AuditFinding) -> AuditReport:
    return AuditReport(findings, dict(Counter(each.invariant for each in findings)), Counter(), ())


def test_what_an_open_transaction_hides_of_the_requests_is_not_missed(deployment: Deployment) -> None:
    """One of another partition, which a dead worker has left."""
    request = deployment.logs.find(NAMES.requests)
    log = deployment.logs.logs[NAMES.requests, request.partition]
    hidden = log[log.index(request) :]
    del log[log.index(request) :]
    assert deployment.audit().findings != ()
    deployment.logs.hidden += hidden
    assert deployment.audit().findings == ()


# ---- policies


def test_a_log_under_two_policies_is_judged_with_both(deployment: Deployment) -> None:
    earlier = deployment.policy
    deployment.switch(a_policy(caps={"customer_days": 30}))
    deployment.tell(a_customer("cem"), nps(9, "Thu 15:30", customer="cem"), until="Fri 13:00")
    report = deployment.audit(earlier)
    assert report.findings == ()
    assert report.unchecked == ()


def test_a_policy_that_has_decided_nothing_yet_may_have_been_in_force(deployment: Deployment) -> None:
    """The ids of events are remembered for no time at all from now on, and no decision says so."""
    earlier = deployment.policy
    deployment.switch(a_policy(dedup_days=0))
    deployment.tell(fact(AdviceAsked(), "Fri 10:00"))
    assert deployment.stored("ana").entity.seen != {}
    assert deployment.audit(earlier).findings == ()
    deployment.policy = earlier
    assert [finding.invariant for finding in deployment.audit().findings] == ["state_is_fold"]


def test_of_a_policy_that_is_not_given_the_customers_are_counted_and_not_judged(deployment: Deployment) -> None:
    earlier = deployment.policy
    deployment.switch(a_policy(caps={"customer_days": 30}))
    report = deployment.audit()
    assert report.findings == ()
    assert f"cool-downs of asks under policy {earlier.hash}, which is not among those given" in report.unchecked
    (customers,) = [why for why in report.unchecked if why.startswith("customers not recomputed")]
    assert customers == f"customers not recomputed: policy {earlier.hash} is not among those given (2)"


def test_a_wrong_policy_under_the_right_name_is_found(deployment: Deployment) -> None:
    """Decisions that name the policy and do not follow from it."""
    policy = deployment.policy
    deployment.switch(a_policy(caps={"customer_days": 30}))
    deployment.tell(a_customer("cem"), nps(9, "Thu 15:30", customer="cem"), until="Thu 16:00")
    for record in [each for log in deployment.logs.logs.values() for each in log if each.topic == NAMES.decisions]:
        value = (record.value or b"").replace(deployment.policy.hash.encode(), policy.hash.encode())
        deployment.logs.rewrite(record, value=value)
    deployment.policy = policy
    assert {finding.invariant for finding in deployment.audit().findings} >= {"decisions_follow"}


@pytest.mark.parametrize(
    ("now", "policies"),
    [(0, {"a"}), (9, {"a"}), (10, {"a"}), (19, {"a"}), (20, {"a", "b"}), (25, {"a", "b"}), (30, {"a", "b"}),
     (31, {"b"}), (40, {"b", "c"}), (41, {"b", "c"}), (50, {"b", "c"}), (51, {"c"})],
)  # fmt: skip
def test_between_two_policies_either_may_have_been_in_force(now: int, policies: set[str]) -> None:
    runs = PolicyRuns([("a", 10), ("a", 20), ("b", 30), ("b", 40), ("c", 50)])
    assert set(runs.at(now)) == policies


def test_clocks_of_writers_that_differ_make_the_time_between_wider() -> None:
    runs = PolicyRuns([("a", 10), ("a", 20), ("b", 18), ("b", 40)])
    assert [set(runs.at(now)) for now in (17, 18, 20, 21)] == [{"a"}, {"a", "b"}, {"a", "b"}, {"b"}]


# ---- logs that have lapsed


def test_a_log_without_its_beginning_is_not_folded_and_the_report_says_so(deployment: Deployment) -> None:
    partition = deployment.logs.find(NAMES.events).partition
    log = deployment.logs.logs[NAMES.events, partition]
    del log[:3]
    deployment.logs.begin[NAMES.events, partition] = 3
    report = deployment.audit()
    assert report.findings == ()
    assert report.unchecked == (
        f"customer-events-{partition} begins at offset 3: states and decisions are not recomputed",
    )


@pytest.mark.parametrize("topic", [NAMES.asks, NAMES.decisions, NAMES.requests])
def test_what_has_lapsed_is_not_missed(deployment: Deployment, topic: str) -> None:
    for partition in range(PARTITIONS):
        log = deployment.logs.logs[topic, partition]
        deployment.logs.begin[topic, partition] = len(log)
        log.clear()
    assert {finding.invariant for finding in deployment.audit().findings} == set()


# ---- faults of ours


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' code fails on ``advice.asked`` of 2026; the referee's does not."""
    whole = core_step.take

    def take(turn: Turn, event: Event) -> None:
        if event.type == AdviceAsked.type and turn.now >= at("Thu 15:00"):
            raise ZeroDivisionError
        whole(turn, event)

    monkeypatch.setattr(core_step, "take", take)


@pytest.mark.usefixtures("failing")
def test_a_customer_on_hold_is_folded_as_it_was(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.tell(fact(AdviceAsked(), "Thu 15:10"), fact(AdviceAsked(), "Thu 15:10", customer="ben"))
    assert deployment.stored("ana").entity.quarantined
    assert deployment.audit().findings == ()
    monkeypatch.undo()
    assert deployment.audit().findings == ()
    deployment.tell(fact(DeadletterReplayed(), "Thu 15:20"))
    assert not deployment.stored("ana").entity.quarantined
    assert deployment.audit().findings == ()


@pytest.mark.usefixtures("failing")
def test_a_hold_that_did_not_end_is_folded_as_it_was(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end depends on an event that the customer has not taken."""
    deployment.tell(fact(AdviceAsked(), "Thu 15:10"))
    monkeypatch.undo()
    event = fact(DeadletterReplayed(), "Thu 15:20")
    headers = (*event_headers(event, event.time), ("events", b"00000000000000ff"))
    deployment.decide(deployment.logs.append(NAMES.events, b"ana", encode_event(event), headers))
    assert deployment.stored("ana").entity.quarantined
    assert deployment.audit().findings == ()


def test_a_grant_on_which_our_code_fails_is_on_hold_and_not_forgotten(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = core_step.take

    def take(turn: Turn, event: Event) -> None:
        if event.type == ReservationGranted.type:
            raise ZeroDivisionError
        whole(turn, event)

    monkeypatch.setattr(core_step, "take", take)
    deployment.tell(until="Fri 13:00")
    assert deployment.stored("ben").entity.quarantined
    assert deployment.audit().counts["asks"] == 1
    monkeypatch.undo()
    assert deployment.audit().findings == ()


@pytest.mark.usefixtures("failing")
def test_a_fault_that_no_dead_letter_tells_of_is_found(deployment: Deployment) -> None:
    deployment.tell(fact(AdviceAsked(), "Thu 15:10"))
    for partition in range(PARTITIONS):
        deployment.logs.logs[NAMES.letters, partition].clear()
    (finding,) = deployment.audit().findings
    assert finding.invariant == "state_is_fold"
    assert "ZeroDivisionError" in finding.what


@pytest.mark.usefixtures("failing")
def test_without_the_dead_letters_a_customer_that_was_on_hold_is_not_judged(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.tell(fact(AdviceAsked(), "Thu 15:10"))
    monkeypatch.undo()
    for partition in range(PARTITIONS):
        log = deployment.logs.logs[NAMES.letters, partition]
        deployment.logs.begin[NAMES.letters, partition] = len(log) + 1
        log.clear()
    report = deployment.audit()
    assert [finding.invariant for finding in report.findings] == []
    assert report.unchecked == ("customers not recomputed: dead letters of their faults have lapsed",)


def test_poison_that_is_in_the_dead_letters_is_named_once(deployment: Deployment) -> None:
    where = deployment.logs.append(NAMES.events, b"ana", b"not JSON", (("now", b"1"),))
    deployment.decide(where)
    assert [(f.invariant, f.positions) for f in deployment.audit().findings] == [("records_readable", (where,))]


# ---- guarantees that differ


def test_without_transactions_a_command_may_be_repeated(deployment: Deployment) -> None:
    ask = deployment.logs.find(NAMES.asks)
    deployment.logs.append(NAMES.asks, ask.key, ask.value, ask.headers)
    assert [finding.invariant for finding in deployment.audit().findings] == ["command_once"]
    report = deployment.audit(fenced=False)
    assert report.findings == ()
    assert report.unchecked == ("without transactions a command may be repeated, and a batch may be seen in part",)


def test_a_report_that_came_before_its_ask_and_again_after_it_is_no_report(deployment: Deployment) -> None:
    early = acknowledged("sent", "Thu 14:10", command_of(customer="ben"), customer="ben")
    deployment.tell(arriving(early, "Thu 15:10"), arriving(early, "Fri 14:00"))
    report = deployment.audit()
    assert report.findings == ()
    assert report.counts["asks"] == 2


def test_what_is_reported_of_somebody_erased_reaches_no_ledger(deployment: Deployment) -> None:
    deployment.tell(
        fact(ErasureRequested(), "Thu 15:10"),
        acknowledged("sent", "Thu 15:11", command_of()),
    )
    assert deployment.audit().findings == ()


def test_a_question_for_the_reason_and_its_ask_share_one_reservation() -> None:
    deployment = Deployment(a_policy(ask_reason_first=True))
    deployment.tell(a_customer(), nps(9, "Thu 12:30"), until="Fri 12:00")
    report = deployment.audit()
    assert report.findings == ()
    assert (report.counts["asks"], report.counts["reasons asked"]) == (1, 1)


def test_those_held_out_use_their_reservations() -> None:
    deployment = Deployment(Policy.model_validate({"holdout": {"percent": 50.0}}))
    names = [f"customer-{number}" for number in range(12)]
    deployment.tell(*(a_customer(name) for name in names))
    deployment.tell(*(nps(9, "Thu 12:30", customer=name) for name in names), until="Thu 13:00")
    report = deployment.audit()
    assert report.findings == ()
    assert 0 < report.counts["asks"] < len(names)


def test_a_grant_is_released_if_consent_was_withdrawn_meanwhile(deployment: Deployment) -> None:
    deployment.tell(a_customer("cem"), nps(9, "Thu 12:30", customer="cem"), consent(False, "Thu 12:50", customer="cem"))
    deployment.tell(until="Fri 15:00")
    assert deployment.audit().findings == ()
