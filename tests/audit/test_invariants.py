"""Each invariant, broken once: the referee names it, and the offending positions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
import orjson
import pytest
from faust_batches.partitioner import partition_of
from msgspec.structs import replace

from referral_stream.audit.findings import AuditReport, Position
from referral_stream.contracts.codec import encode_event, event_headers
from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.left_out import STATE_TOO_LARGE, LeftOut, note_headers
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_wakeup
from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.instants import DAY, rfc3339
from tests.audit.topics import NAMES, PARTITIONS, Deployment
from tests.builders import a_customer, a_policy, acknowledged, at, command_of, consent, fact, nps, opportunity_of


def a_deployment() -> Deployment:
    """Thursday 15:00: Ana was asked and it was sent, Ben waits for Friday's slot, Cem took his consent back after the
    ask, of Dora and Eli, who share an account, one was asked, Gil's ask failed, and Hal turned out to be Ian.
    """
    deployment = Deployment()
    for name in ("ana", "ben", "cem", "gil"):
        deployment.tell(a_customer(name))
    for name in ("dora", "eli"):
        deployment.tell(a_customer(name, account="acme"))
    deployment.tell(
        *(nps(9, "Thu 12:30", customer=name) for name in ("ana", "cem", "dora", "eli", "gil")),
        acknowledged("sent", "Thu 12:51", command_of(), customer="ana"),
        acknowledged("failed", "Thu 12:51", command_of(customer="gil"), customer="gil"),
        consent(False, "Thu 12:52", customer="cem"),
        fact(ev.Aliased(alias="ian"), "Thu 13:00", customer="hal"),
        nps(9, "Thu 14:00", customer="ben"),
        until="Thu 15:00",
    )
    return deployment


@pytest.fixture
def deployment() -> Deployment:
    return a_deployment()


def test_a_sound_deployment_breaks_nothing(deployment: Deployment) -> None:
    report = deployment.audit(uncommitted=True)
    assert report.findings == ()
    assert report.unchecked == ()
    assert (report.counts["asks"], report.counts["cancellations"], report.counts["customers"]) == (4, 1, 8)
    assert report.counts["wake-ups"] == 1  # Ben's slot


# ---- what may be forged: a row is the invariant, and how it is broken; it returns a position that must be named


def of(customer: str, kind: str = "") -> Callable[[Any], bool]:
    return lambda message: message.get("subject") == customer and message["type"].endswith(kind)


def ask_of(d: Deployment, customer: str = "ana") -> RawRecord:
    return d.logs.find(NAMES.asks, of(customer, "requested"))


def unreadable_ask(d: Deployment) -> Position:
    return d.logs.append(NAMES.asks, b"ana", b"{}")


def unstamped_decision(d: Deployment) -> Position:
    return d.logs.rewrite(d.logs.find(NAMES.decisions, of("ana")), headers=(("now", b"-1"),))


def unstamped_event(d: Deployment) -> Position:
    event = d.logs.find(NAMES.events, of("ana"))
    return d.logs.append(NAMES.events, b"ana", event.value)


def unreadable_state(d: Deployment) -> Position:
    return d.logs.append(NAMES.customers, b"ana", b"\x09")


def event_of_somebody_else(d: Deployment) -> Position:
    event = d.logs.find(NAMES.events, of("ana"))
    return d.logs.append(NAMES.events, b"ben", event.value, event.headers)


def event_on_another_partition(d: Deployment) -> Position:
    event = d.logs.find(NAMES.events, of("ana"))
    elsewhere = (event.partition + 1) % PARTITIONS
    return d.logs.append(NAMES.events, b"ana", event.value, event.headers, elsewhere)


def ask_under_another_key(d: Deployment) -> Position:
    ask = ask_of(d)
    return d.logs.append(NAMES.asks, b"ben", ask.value, ask.headers)


def request_on_another_partition(d: Deployment) -> Position:
    request = d.logs.find(NAMES.requests, of("dora"))
    elsewhere = (request.partition + 1) % PARTITIONS
    return d.logs.append(NAMES.requests, request.key, request.value, request.headers, elsewhere)


def letter_without_a_stage(d: Deployment) -> Position:
    letter = dead_letter(ask_of(d), error="invalid: x", stage="ingest", occurred_at=0)
    headers = tuple(pair for pair in letter.headers if pair[0] != "stage")
    return d.logs.append(NAMES.letters, letter.key, letter.value, headers)


def poison_without_a_letter(d: Deployment) -> Position:
    where = d.logs.append(NAMES.events, b"ana", b"not JSON", (("now", b"1"),))
    d.decide(where)
    letters = d.logs.logs[NAMES.letters, where.partition]
    letters.clear()
    return where


def other_body(d: Deployment) -> Position:
    ask = ask_of(d)
    message = orjson.loads(ask.value or b"")
    message["data"]["template"] = "another"
    return d.logs.append(NAMES.asks, ask.key, orjson.dumps(message), ask.headers)


def other_body_that_was_aborted(d: Deployment) -> Position:
    ask = ask_of(d)
    where = d.logs.append(NAMES.asks, ask.key, (ask.value or b"") + b" ", ask.headers)
    log = d.logs.logs[NAMES.asks, where.partition]
    d.logs.hidden.append(log.pop())
    return where


def repeated(d: Deployment) -> Position:
    ask = ask_of(d)
    return d.logs.append(NAMES.asks, ask.key, ask.value, ask.headers)


def due_before_its_window(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), not_before=rfc3339(at("Thu 12:29:59.999")))


def expires_after_its_deadline(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), expires_at=rfc3339(at("Fri 12:30:00.001")))


def expires_at_once(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), expires_at=rfc3339(at("Thu 12:50")))


def decided_too_early(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, lambda m: m["subject"] == "ana" and m["data"]["outcome"] == "asked")
    return d.logs.rewrite_body(decision, decided_at=rfc3339(at("Thu 12:49:59.999")))


def decided_at_the_deadline(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, lambda m: m["subject"] == "ana" and m["data"]["outcome"] == "asked")
    return d.logs.rewrite_body(decision, decided_at=rfc3339(at("Fri 12:30")))


def asked_again(d: Deployment, customer: str = "ana", days: int = 90, less: int = 1, **fields: Any) -> Position:
    """A second ask of the same customer, ``less`` ms before so many days are over."""
    ask = ask_of(d, customer)
    message = orjson.loads(ask.value or b"")
    due = at("Thu 12:50") + days * DAY - less
    message["data"] |= {"subject": "r2", "opportunity_id": "o2", "command_id": command_of(subject="r2")}
    message["data"] |= {"not_before": rfc3339(due), "expires_at": rfc3339(due + 1), **fields}
    return d.logs.append(NAMES.asks, ask.key, orjson.dumps(message), ask.headers)


def asked_at_the_same_address(d: Deployment) -> Position:
    return person_asked_twice(d, email_hmac="f" * 64)


def asked_in_the_same_account(d: Deployment) -> Position:
    return person_asked_twice(d, account_id="acme2")


def person_asked_twice(d: Deployment, **request: str) -> Position:
    """Ana and Cem turn out to be asked under one name of the ledger."""
    for customer in ("ana", "cem"):
        d.logs.rewrite_body(d.logs.find(NAMES.requests, of(customer, "reservation.requested")), **request)
    return Position(NAMES.asks, ask_of(d, "cem").partition, ask_of(d, "cem").offset)


def ask_without_a_decision(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), decision_id="00000000-0000-0000-0000-000000000000")


def ask_with_a_decision_against_it(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, lambda m: m["subject"] == "ana" and m["data"]["outcome"] == "asked")
    return d.logs.rewrite_body(decision, outcome="suppressed")


def ask_with_another_id(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), command_id=str(uuid5(NAMESPACE_URL, "forged")))


def ask_with_an_id_of_its_own(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, lambda m: m["subject"] == "ana" and m["data"]["outcome"] == "asked")
    d.logs.rewrite_body(decision, command_id=str(uuid5(NAMESPACE_URL, "forged")))
    return ask_with_another_id(d)


def ask_under_another_policy(d: Deployment) -> Position:
    return d.logs.rewrite_body(ask_of(d), policy={"name": "default", "hash": "0123456789abcdef"})


def decision_about_another_opportunity(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, lambda m: m["subject"] == "ana" and m["data"]["outcome"] == "asked")
    return d.logs.rewrite_body(decision, opportunity_id="another")


def granted_too_late(d: Deployment) -> Position:
    grant = d.logs.find(NAMES.events, of("ana", "reservation.granted"))
    d.logs.rewrite(grant, headers=(("now", b"%d" % (at("Thu 12:50") + 1)),))
    return Position(NAMES.asks, ask_of(d).partition, ask_of(d).offset)


def ask_without_a_request(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.requests, of("ana", "reservation.requested")))
    return Position(NAMES.asks, ask_of(d).partition, ask_of(d).offset)


def ask_without_a_grant(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.events, of("ana", "reservation.granted")))
    return Position(NAMES.asks, ask_of(d).partition, ask_of(d).offset)


def grant_forgotten(d: Deployment) -> Position:
    """The ledger granted Ana's reservation, and nothing came of it."""
    d.logs.remove(ask_of(d))
    for outcome in ("asked", "soft"):
        for record in list(d.logs.logs[NAMES.decisions, ask_partition(d)]):
            message = orjson.loads(record.value or b"")
            if message["subject"] == "ana" and message["data"]["outcome"] == outcome:
                d.logs.remove(record)
    grant = d.logs.find(NAMES.events, of("ana", "reservation.granted"))
    return Position(NAMES.events, grant.partition, grant.offset)


def released_before_it_was_requested(d: Deployment) -> Position:
    grant = grant_forgotten(d)
    release = d.logs.find(NAMES.requests, of("gil", "reservation.released"))
    message = orjson.loads(release.value or b"")
    message["subject"] = message["data"]["customer_id"] = "ana"
    message["data"] |= {"command_id": command_of(), "now": rfc3339(at("Thu 12:49:59.999"))}
    d.logs.append(NAMES.requests, b"ana", orjson.dumps(message), release.headers)
    return grant


def ask_partition(d: Deployment) -> int:
    return d.logs.find(NAMES.decisions, of("ana")).partition


def confirmation_lost(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.requests, of("ana", "reservation.confirmed")))
    return Position(NAMES.asks, ask_of(d).partition, ask_of(d).offset)


def release_lost(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.requests, of("gil", "reservation.released")))
    return Position(NAMES.asks, ask_of(d, "gil").partition, ask_of(d, "gil").offset)


def cancels_what_never_was(d: Deployment) -> Position:
    return d.logs.rewrite_body(d.logs.find(NAMES.asks, of("cem", "cancelled")), command_id=command_of(subject="r9"))


def cancels_too_late(d: Deployment) -> Position:
    return d.logs.rewrite_body(d.logs.find(NAMES.asks, of("cem", "cancelled")), cancelled_at=rfc3339(at("Sat 12:00")))


def record_not_counted(d: Deployment) -> Position:
    """A record of Ana slipped in below the marks of others."""
    partition = ask_of(d).partition
    event = d.logs.find(NAMES.events, of("ana", "advice.asked"))
    others = next(name for n in range(99) if partition_of((name := f"other-{n}").encode(), PARTITIONS) == partition)
    where = d.logs.append(NAMES.events, b"ana", event.value, event.headers)
    d.tell(nps(3, "Thu 15:00", customer=others))
    return where


def state_with_more(d: Deployment) -> Position:
    def change(customer: Customer) -> None:
        customer.interactions += 1

    return d.write_state("ana", change)


def state_with_another_mark(d: Deployment) -> Position:
    return d.write_state("ana", lambda _: None, mark=1)


def decision_that_nobody_made(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, of("ben"))
    message = orjson.loads(decision.value or b"")
    message["data"]["decision_id"] = "00000000-0000-0000-0000-000000000000"
    return d.logs.append(NAMES.decisions, decision.key, orjson.dumps(message), decision.headers)


def decision_changed(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, of("ben"))
    return d.logs.rewrite_body(decision, trigger="renewal")


def decision_lost(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, of("ben"))
    d.logs.remove(decision)
    cause = d.logs.find(NAMES.events, of("ben", "nps.responded"))
    return Position(NAMES.events, cause.partition, cause.offset)


def decision_repeated(d: Deployment) -> Position:
    decision = d.logs.find(NAMES.decisions, of("ben"))
    return d.logs.append(NAMES.decisions, decision.key, decision.value, decision.headers)


def cancellation_lost(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.asks, of("cem", "cancelled")))
    cause = d.logs.find(NAMES.events, lambda m: m["subject"] == "cem" and m["data"].get("granted") is False)
    return Position(NAMES.events, cause.partition, cause.offset)


def opening_lost(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.requests, of("ben", "opportunity.opened")))
    cause = d.logs.find(NAMES.events, of("ben", "nps.responded"))
    return Position(NAMES.events, cause.partition, cause.offset)


def ask_that_nobody_decided(d: Deployment) -> Position:
    return asked_again(d, days=100, less=0)


def asked_after_handing_over(d: Deployment) -> Position:
    stamp = ev.AliasStamp(time=at("Thu 12:40"), source="t", id="t")
    state = b64encode(msgspec.msgpack.encode(Customer(id="ana"))).decode()
    data = ev.MergeDelivered(of="ana", asked="ana", stamp=stamp, asked_at=stamp.time, state=state)
    event = fact(data, stamp.time, customer="ben")
    d.decide(d.logs.append(NAMES.events, b"ben", encode_event(event), event_headers(event, stamp.time)))
    ask = ask_of(d)
    return Position(ask.topic, ask.partition, ask.offset)


def appended_record_lost(d: Deployment) -> Position:
    """The record that caused it is named."""
    d.logs.remove(d.logs.find(NAMES.events, of("ian", "merge.requested")))
    cause = d.logs.find(NAMES.events, of("hal", "aliased"))
    return Position(cause.topic, cause.partition, cause.offset)


def appended_by_nobody(d: Deployment) -> Position:
    event = replace(nps(2, "Thu 14:30", customer="ian"), via=("ian",))
    return d.logs.append(NAMES.events, b"hal", encode_event(event), event_headers(event, at("Thu 14:30")))


def appended_twice(d: Deployment) -> Position:
    record = d.logs.find(NAMES.events, of("hal", "merge.delivered"))
    return d.logs.append(NAMES.events, record.key, record.value, record.headers)


def wakeup_lost(d: Deployment) -> Position:
    d.logs.append(NAMES.wakeups, b"ben", None)
    return last(d, NAMES.customers, b"ben")


def wakeup_too_late(d: Deployment) -> Position:
    return d.logs.append(NAMES.wakeups, b"ben", encode_wakeup(at("Sat 12:00"), 1))


def wakeup_for_nothing(d: Deployment) -> Position:
    return d.logs.append(NAMES.wakeups, b"nobody", encode_wakeup(at("Sat 12:00"), 1))


def pending_without_a_wakeup(d: Deployment) -> Position:
    d.logs.append(NAMES.wakeups, b"ben", None)
    cause = d.logs.find(NAMES.events, of("ben", "nps.responded"))
    return Position(NAMES.events, cause.partition, cause.offset)


def pending_past_its_deadline(d: Deployment) -> Position:
    d.logs.append(NAMES.wakeups, b"ben", encode_wakeup(at("Fri 14:00:00.001"), 1))
    cause = d.logs.find(NAMES.events, of("ben", "nps.responded"))
    return Position(NAMES.events, cause.partition, cause.offset)


def last(d: Deployment, topic: str, key: bytes) -> Position:
    records = [record for (name, _), log in d.logs.logs.items() if name == topic for record in log if record.key == key]
    return Position(topic, records[-1].partition, records[-1].offset)


FORGED: list[tuple[str, Callable[[Deployment], Position]]] = [
    ("records_readable", unreadable_ask),
    ("records_readable", unstamped_decision),
    ("records_readable", unstamped_event),
    ("records_readable", unreadable_state),
    ("records_placed", event_of_somebody_else),
    ("records_placed", event_on_another_partition),
    ("records_placed", ask_under_another_key),
    ("records_placed", request_on_another_partition),
    ("letters_complete", letter_without_a_stage),
    ("letters_complete", poison_without_a_letter),
    ("one_body_per_command", other_body),
    ("one_body_per_command", other_body_that_was_aborted),
    ("command_once", repeated),
    ("ask_inside_window", due_before_its_window),
    ("ask_inside_window", expires_after_its_deadline),
    ("ask_inside_window", expires_at_once),
    ("ask_inside_window", decided_too_early),
    ("ask_inside_window", decided_at_the_deadline),
    ("no_ask_in_cool_down", asked_again),
    ("no_ask_in_cool_down", asked_at_the_same_address),
    ("no_ask_in_cool_down", asked_in_the_same_account),
    ("ask_decided", ask_without_a_decision),
    ("ask_decided", ask_with_a_decision_against_it),
    ("ask_decided", ask_with_another_id),
    ("ask_decided", ask_with_an_id_of_its_own),
    ("ask_decided", ask_under_another_policy),
    ("ask_decided", decision_about_another_opportunity),
    ("ask_reserved", ask_without_a_request),
    ("ask_reserved", granted_too_late),
    ("ask_reserved", ask_without_a_grant),
    ("reservation_settled", grant_forgotten),
    ("reservation_settled", released_before_it_was_requested),
    ("reservation_settled", confirmation_lost),
    ("reservation_settled", release_lost),
    ("not_merged_away", asked_after_handing_over),
    ("cancellation_known", cancels_what_never_was),
    ("cancellation_known", cancels_too_late),
    ("record_counted", record_not_counted),
    ("state_is_fold", state_with_more),
    ("state_is_fold", state_with_another_mark),
    ("decisions_follow", decision_that_nobody_made),
    ("decisions_follow", decision_changed),
    ("decisions_follow", decision_lost),
    ("decisions_follow", decision_repeated),
    ("decisions_follow", cancellation_lost),
    ("decisions_follow", opening_lost),
    ("decisions_follow", ask_that_nobody_decided),
    ("appends_follow", appended_record_lost),
    ("appends_follow", appended_by_nobody),
    ("appends_follow", appended_twice),
    ("wakeup_matches", wakeup_lost),
    ("wakeup_matches", wakeup_too_late),
    ("wakeup_matches", wakeup_for_nothing),
    ("pending_wakes", pending_without_a_wakeup),
    ("pending_wakes", pending_past_its_deadline),
]


@pytest.mark.parametrize(("invariant", "forge"), FORGED, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_forged_is_named(
    deployment: Deployment, invariant: str, forge: Callable[[Deployment], Position]
) -> None:
    offender = forge(deployment)
    assert offender in named(deployment.audit(uncommitted=True), invariant)


def named(report: AuditReport, invariant: str) -> set[Position]:
    """The positions that are named for this invariant."""
    return {where for finding in report.findings if finding.invariant == invariant for where in finding.positions}


def test_an_aborted_body_of_a_customer_whose_state_did_not_fit_is_another_matter(deployment: Deployment) -> None:
    """The broker refused the state after the ask was written; the record was tried again, and led to another one."""
    other_body_that_was_aborted(deployment)
    ask = ask_of(deployment)
    note = note_headers(LeftOut(3, "held", STATE_TOO_LARGE, ""), at("Thu 12:31"))
    deployment.logs.append(NAMES.events, ask.key, None, note)
    assert named(deployment.audit(uncommitted=True), "one_body_per_command") == set()


# ---- boundaries of the cool-downs


@pytest.mark.parametrize(("less", "broken"), [(1, True), (0, False), (-1, False)])
def test_a_cool_down_is_over_at_its_last_millisecond(deployment: Deployment, less: int, broken: bool) -> None:
    asked_again(deployment, less=less)
    assert bool(named(deployment.audit(), "no_ask_in_cool_down")) is broken


def test_an_ask_that_was_given_back_before_does_not_count(deployment: Deployment) -> None:
    """Gil's failed on Thursday; nothing was sent."""
    asked_again(deployment, "gil", days=30, decision_id="another")
    assert named(deployment.audit(), "no_ask_in_cool_down") == set()


def test_one_that_was_given_back_after_it_counted_by_then(deployment: Deployment) -> None:
    """Half a minute before Gil's failed."""
    asked_again(deployment, "gil", days=0, less=-30_000, decision_id="another")
    assert named(deployment.audit(), "no_ask_in_cool_down") != set()


def test_a_fourth_ask_of_an_account_within_its_period_is_one_too_many() -> None:
    policy = a_policy(caps={"account_gap_days": 0, "account_asks": 2})
    deployment = Deployment(policy)
    names = ("ana", "ben", "cem")
    for name in names:
        deployment.tell(a_customer(name))
    deployment.tell(*(nps(9, "Thu 12:30", customer=name) for name in names), until="Thu 13:00")
    assert deployment.audit().findings == ()
    for name in names[:2]:
        request = deployment.logs.find(NAMES.requests, of(name, "reservation.requested"))
        deployment.logs.rewrite_body(request, account_id="acme")
    assert named(deployment.audit(), "no_ask_in_cool_down") == set()
    request = deployment.logs.find(NAMES.requests, of("cem", "reservation.requested"))
    deployment.logs.rewrite_body(request, account_id="acme")
    assert len(named(deployment.audit(), "no_ask_in_cool_down")) == 3


def test_the_opportunity_of_the_story_is_the_one_that_waits(deployment: Deployment) -> None:
    deployment.logs.append(NAMES.wakeups, b"ben", None)
    (finding,) = [each for each in deployment.audit().findings if each.invariant == "pending_wakes"]
    assert opportunity_of(customer="ben") in finding.what
