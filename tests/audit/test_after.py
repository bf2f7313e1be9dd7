"""Each invariant of what follows an ask, broken once: the referee names it, and the offending positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from referral_stream.audit.context import Names
from referral_stream.audit.findings import INVARIANTS, Position
from referral_stream.audit.reading import Absent
from referral_stream.contracts.codec import encode_event, event_headers
from referral_stream.contracts.records import RawRecord
from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.ids import followup_id, grant_id
from referral_stream.core.instants import rfc3339
from tests.audit.test_invariants import FORGED as OF_ASKS
from tests.audit.test_invariants import named, of
from tests.audit.topics import NAMES, Deployment
from tests.builders import a_customer, a_policy, acknowledged, answered, at, command_of, consent, fact, nps
from tests.rules import rule

PROGRAMME = {"kind": "gift_card", "amount_minor": 5_000, "currency": "EUR"}
POLICY = a_policy(rewards={"enabled": True, "per_customer": 1, "programmes": {"none": PROGRAMME}})


def referred(referral: str, when: str, customer: str, *, consented: bool = True, ref: str | None = None) -> Event:
    contact = ev.Contact(ref=ref or f"contact of {referral}", name="Nora", consented=consented)
    return fact(ev.ReferralGiven(referral_id=referral, contact=contact), when, customer=customer)


def status(referral: str, word: Any, when: str, customer: str) -> Event:
    return fact(ev.ReferralStatusChanged(referral_id=referral, status=word), when, customer=customer)


def a_deployment() -> Deployment:
    """Ana said yes, referred Nora, who became a customer, and was rewarded. Ben said stop. Cem said maybe and took his
    consent back. Dora's reward was reversed; Eli said no; Fay's contact did not consent; Gil named Ana's contact.
    """
    deployment = Deployment(POLICY)
    names = ("ana", "ben", "cem", "eli")
    for name in (*names, "dora", "fay", "gil"):
        deployment.tell(a_customer(name))
    deployment.tell(
        *(nps(9, "Thu 12:30", customer=name) for name in names),
        *(acknowledged("sent", "Thu 12:51", command_of(customer=name), customer=name) for name in names),
        answered("yes", "Thu 13:00", command_of(), customer="ana"),
        answered("stop", "Thu 13:00", command_of(customer="ben"), customer="ben"),
        answered("maybe", "Thu 13:00", command_of(customer="cem"), customer="cem"),
        answered("no", "Thu 13:00", command_of(customer="eli"), customer="eli"),
        consent(False, "Thu 13:10", customer="cem"),
        referred("ref-1", "Thu 14:00", "ana"),
        referred("ref-2", "Thu 14:10", "dora"),
        referred("ref-3", "Thu 14:20", "fay", consented=False),
        referred("ref-4", "Thu 14:30", "gil", ref="contact of ref-1"),
        status("ref-1", "converted", "Fri 10:00", "ana"),
        status("ref-2", "converted", "Fri 10:05", "dora"),
        status("ref-4", "converted", "Fri 10:10", "gil"),
        status("ref-2", "refunded", "Fri 12:00", "dora"),
        until="Fri 15:00",
    )
    return deployment


@pytest.fixture
def deployment() -> Deployment:
    return a_deployment()


@rule("A12.1")
def test_a_sound_deployment_breaks_nothing(deployment: Deployment) -> None:
    report = deployment.audit(uncommitted=True)
    assert (report.findings, report.unchecked) == ((), ())
    counts = report.counts
    assert (counts["rewards granted"], counts["rewards denied"], counts["rewards reversed"]) == (2, 1, 1)
    assert (counts["records"], counts["contacts named"]) == (7, 3)
    assert counts["follow-ups"] > 8
    assert counts["follow-ups cancelled"] >= 2


def followup(d: Deployment, customer: str, kind: str) -> RawRecord:
    return d.logs.find(NAMES.followups, lambda m: m["subject"] == customer and m["data"].get("kind") == kind)


def again(d: Deployment, record: RawRecord, **fields: Any) -> Position:
    """The same message once more, with other fields in its body."""
    message = orjson.loads(record.value or b"")
    message["data"] |= fields
    message["subject"] = message["data"]["customer_id"]
    key = str(message["subject"]).encode()
    return d.logs.append(record.topic, key, orjson.dumps(message, option=orjson.OPT_SORT_KEYS), record.headers)


def where(record: RawRecord) -> Position:
    return Position(record.topic, record.partition, record.offset)


def reward(d: Deployment, customer: str, word: str) -> RawRecord:
    return d.logs.find(NAMES.rewards, of(customer, word))


def request(d: Deployment, customer: str, kind: str) -> RawRecord:
    return d.logs.find(NAMES.requests, of(customer, kind))


# ---- a row is the invariant, and how it is broken; it returns a position that must be named


def followup_with_two_bodies(d: Deployment) -> Position:
    return again(d, followup(d, "ana", "thank"), late=True)


def followup_twice(d: Deployment) -> Position:
    return again(d, followup(d, "ana", "thank"))


def reward_with_two_bodies(d: Deployment) -> Position:
    return again(d, reward(d, "ana", "granted"), amount_minor=9)


def said_after_a_stop(d: Deployment) -> Position:
    return again(d, followup(d, "ana", "intro_offer"), customer_id="ben", requested_at=rfc3339(at("Thu 13:00:00.001")))


def said_after_an_erasure(d: Deployment) -> Position:
    d.tell(fact(ev.ErasureRequested(), "Fri 15:10", customer="ana"))
    return again(d, followup(d, "ana", "take_care"), requested_at=rfc3339(at("Fri 15:10:00.001")))


def said_on_a_withdrawn_channel(d: Deployment) -> Position:
    return again(d, followup(d, "cem", "easy_forward"), requested_at=rfc3339(at("Thu 13:10:00.001")))


def answer_to_nothing(d: Deployment) -> Position:
    return again(d, followup(d, "ana", "intro_offer"), customer_id="dora")


def thanks_before_the_referral(d: Deployment) -> Position:
    return d.logs.rewrite_body(followup(d, "ana", "thank"), requested_at=rfc3339(at("Thu 13:59:59.999")))


def report_of_another_status(d: Deployment) -> Position:
    variables = {"status": "contacted"}
    return d.logs.rewrite_body(followup(d, "ana", "report_back"), variables=variables)


def reads_a_reward_that_ended_in_nothing(d: Deployment) -> Position:
    return d.logs.rewrite_body(followup(d, "dora", "read_reward"), variables={"grant_id": "another"})


def another_number(d: Deployment) -> Position:
    command = command_of()
    return d.logs.rewrite_body(
        followup(d, "ana", "intro_offer"), followup_id=followup_id("ana", command, "intro_offer", 2)
    )


def no_number_at_all(d: Deployment) -> Position:
    return d.logs.rewrite_body(followup(d, "ana", "intro_offer"), followup_id="made up")


def said_again_without_a_cancellation(d: Deployment) -> Position:
    return again(
        d,
        followup(d, "eli", "graceful_no"),
        followup_id=followup_id("eli", command_of(customer="eli"), "graceful_no", 2),
    )


def cancels_what_was_never_requested(d: Deployment) -> Position:
    return again(d, d.logs.find(NAMES.followups, of("cem", "cancelled")), followup_id="made up")


def cancels_what_has_expired(d: Deployment) -> Position:
    told = d.logs.find(NAMES.followups, of("cem", "cancelled"))
    return d.logs.rewrite_body(told, cancelled_at=rfc3339(at("next Thu 12:00")))


def granted_twice(d: Deployment) -> Position:
    return again(d, reward(d, "ana", "granted"), grant_id="another")


def granted_and_denied(d: Deployment) -> Position:
    return again(
        d, reward(d, "gil", "denied"), customer_id="ana", referral_id="ref-1", grant_id=grant_id("ana", "ref-1")
    )


def granted_though_the_ledger_did_not_give_it(d: Deployment) -> Position:
    d.logs.remove(d.logs.find(NAMES.events, of("ana", "grant.given")))
    return where(reward(d, "ana", "granted"))


def granted_and_not_confirmed(d: Deployment) -> Position:
    d.logs.remove(request(d, "ana", "grant.confirmed"))
    return where(reward(d, "ana", "granted"))


def confirmed_and_not_granted(d: Deployment) -> Position:
    d.logs.remove(reward(d, "ana", "granted"))
    return where(request(d, "ana", "grant.confirmed"))


def reversed_and_never_granted(d: Deployment) -> Position:
    d.logs.remove(reward(d, "dora", "granted"))
    return where(reward(d, "dora", "reversed"))


def reversed_before_it_was_granted(d: Deployment) -> Position:
    return d.logs.rewrite_body(reward(d, "dora", "reversed"), reversed_at=rfc3339(at("Fri 09:00")))


def another_amount(d: Deployment) -> Position:
    return d.logs.rewrite_body(reward(d, "ana", "granted"), amount_minor=5_001)


def a_second_reward_beyond_the_cap(d: Deployment) -> Position:
    """Of one customer, of whom there may be one; the ledger is made to have given it."""
    for record in (request(d, "dora", "grant.requested"), request(d, "dora", "grant.confirmed")):
        d.logs.rewrite_body(record, customer_id="ana")
    for record in list(d.logs.logs[NAMES.requests, request(d, "dora", "grant.released").partition]):
        if record.value is not None and of("dora", "grant.released")(orjson.loads(record.value)):
            d.logs.remove(record)
    for kind in ("grant.requested", "grant.confirmed"):

        def meant(message: Any, kind: str = kind) -> bool:
            return bool(message["type"] == kind and message["data"]["referral_id"] == "ref-2")

        record = d.logs.find(NAMES.requests, meant)
        message = orjson.loads(record.value or b"")
        message["subject"] = "ana"
        d.logs.rewrite(record, value=orjson.dumps(message, option=orjson.OPT_SORT_KEYS))
    return where(reward(d, "dora", "granted"))


def rewarded_for_the_contact_of_another(d: Deployment) -> Position:
    """Somebody else is shown to have named Ana's contact before her."""
    claim = request(d, "gil", "contact.claimed")
    d.logs.rewrite(claim, timestamp=at("Thu 13:00"))
    claim = request(d, "gil", "contact.claimed")
    d.logs.rewrite_body(claim, now=rfc3339(at("Thu 13:00")))
    return where(reward(d, "ana", "granted"))


def two_rewards_for_one_contact(d: Deployment) -> Position:
    keys = orjson.loads(request(d, "ana", "grant.confirmed").value or b"")["data"]["contact_keys"]
    d.logs.rewrite_body(request(d, "dora", "grant.confirmed"), contact_keys=keys)
    d.logs.remove(request(d, "dora", "grant.released"))
    return where(reward(d, "dora", "granted"))


def refused_and_not_released(d: Deployment) -> Position:
    d.logs.remove(request(d, "gil", "grant.released"))
    return where(request(d, "gil", "grant.requested"))


def reversed_and_not_released(d: Deployment) -> Position:
    d.logs.remove(request(d, "dora", "grant.released"))
    return where(request(d, "dora", "grant.requested"))


def followup_that_nobody_made(d: Deployment) -> Position:
    return d.logs.rewrite_body(followup(d, "ana", "take_care"), late=True)


def followup_lost(d: Deployment) -> Position:
    d.logs.remove(followup(d, "ana", "take_care"))
    return where(d.logs.find(NAMES.events, of("ana", "referral.given")))


def reward_lost(d: Deployment) -> Position:
    d.logs.remove(reward(d, "ana", "granted"))
    return where(d.logs.find(NAMES.events, of("ana", "grant.given")))


def newest_record(d: Deployment, customer: str) -> RawRecord:
    found = [each for log in d.logs.logs.values() for each in log if each.topic == NAMES.records]
    return [each for each in found if each.key == customer.encode()][-1]


def record_changed(d: Deployment) -> Position:
    return d.logs.rewrite_body(newest_record(d, "ana"), segment="strategic")


def record_lost(d: Deployment) -> Position:
    """The one before it is the newest then."""
    d.logs.remove(newest_record(d, "ana"))
    return where(newest_record(d, "ana"))


def record_of_somebody_erased(d: Deployment) -> Position:
    kept = newest_record(d, "ana")
    d.tell(fact(ev.ErasureRequested(), "Fri 15:10", customer="ana"))
    return d.logs.append(NAMES.records, kept.key, kept.value, kept.headers)


def data_of(record: RawRecord) -> Any:
    return orjson.loads(record.value or b"")["data"]


def record_with_a_referral_too_many(d: Deployment) -> Position:
    record = newest_record(d, "ana")
    history = data_of(record)["referral_history"] | {"referrals_given": 2}
    return d.logs.rewrite_body(record, referral_history=history)


def record_with_fewer_asks(d: Deployment) -> Position:
    record = newest_record(d, "ana")
    return d.logs.rewrite_body(record, referral_history=data_of(record)["referral_history"] | {"times_asked": 0})


def record_of_an_ask_never_made(d: Deployment) -> Position:
    record = newest_record(d, "eli")
    asks = [each | {"command_id": "made up"} for each in data_of(record)["asks"]]
    return d.logs.rewrite_body(record, asks=asks)


def record_with_other_followups(d: Deployment) -> Position:
    return d.logs.rewrite_body(newest_record(d, "ana"), followups={"thank": {"requested": 2}})


def record_with_another_reward(d: Deployment) -> Position:
    record = newest_record(d, "ana")
    contacts = [each | {"reward": "denied"} for each in data_of(record)["referred_contacts"]]
    return d.logs.rewrite_body(record, referred_contacts=contacts)


def record_with_a_name(d: Deployment) -> Position:
    record = newest_record(d, "ana")
    contacts = [each | {"name": "Nora"} for each in data_of(record)["referred_contacts"]]
    return d.logs.rewrite_body(record, referred_contacts=contacts)


def name_of_somebody_who_did_not_consent(d: Deployment) -> Position:
    told = d.logs.find(NAMES.contacts)
    message = orjson.loads(told.value or b"")
    message["subject"] = "fay"
    message["data"] |= {"customer_id": "fay", "referral_id": "ref-3"}
    return d.logs.append(NAMES.contacts, b"ref-3", orjson.dumps(message), told.headers)


def name_of_nobody(d: Deployment) -> Position:
    told = d.logs.find(NAMES.contacts)
    message = orjson.loads(told.value or b"")
    message["data"] |= {"referral_id": "ref-9"}
    return d.logs.append(NAMES.contacts, b"ref-9", orjson.dumps(message), told.headers)


def name_that_outlived_its_erasure(d: Deployment) -> Position:
    told = d.logs.find(NAMES.contacts, lambda m: m["data"]["referral_id"] == "ref-1")
    d.tell(fact(ev.ContactErased(referral_id="ref-1"), "Fri 15:10", customer="ana"))
    return d.logs.append(NAMES.contacts, told.key, told.value, told.headers)


def name_in_the_log(d: Deployment) -> Position:
    contact = ev.Contact(ref_hmac="0" * 64, name="Nora", consented=False)
    event = fact(ev.ReferralGiven(referral_id="ref-5", contact=contact), "Fri 15:10", customer="ana")
    return d.logs.append(NAMES.events, b"ana", encode_event(event), event_headers(event, event.time))


def unreadable_followup(d: Deployment) -> Position:
    return d.logs.append(NAMES.followups, b"ana", b"{}")


def unreadable_reward(d: Deployment) -> Position:
    return d.logs.append(NAMES.rewards, b"ana", b"{}")


def unreadable_record(d: Deployment) -> Position:
    return d.logs.append(NAMES.records, b"ana", b"{}")


def unreadable_contact(d: Deployment) -> Position:
    return d.logs.append(NAMES.contacts, b"ref-1", b"{}")


def followup_under_another_key(d: Deployment) -> Position:
    record = followup(d, "ana", "thank")
    return d.logs.append(NAMES.followups, b"ben", record.value, record.headers)


FORGED: list[tuple[str, Callable[[Deployment], Position]]] = [
    ("records_readable", unreadable_followup),
    ("records_readable", unreadable_reward),
    ("records_readable", unreadable_record),
    ("records_readable", unreadable_contact),
    ("records_placed", followup_under_another_key),
    ("after_once", followup_with_two_bodies),
    ("after_once", followup_twice),
    ("after_once", reward_with_two_bodies),
    ("followup_wanted", said_after_a_stop),
    ("followup_wanted", said_after_an_erasure),
    ("followup_wanted", said_on_a_withdrawn_channel),
    ("followup_caused", answer_to_nothing),
    ("followup_caused", thanks_before_the_referral),
    ("followup_caused", report_of_another_status),
    ("followup_caused", reads_a_reward_that_ended_in_nothing),
    ("followup_caused", another_number),
    ("followup_caused", no_number_at_all),
    ("followup_caused", said_again_without_a_cancellation),
    ("followup_cancellation_known", cancels_what_was_never_requested),
    ("followup_cancellation_known", cancels_what_has_expired),
    ("reward_granted_once", granted_twice),
    ("reward_granted_once", granted_and_denied),
    ("reward_agreed", granted_though_the_ledger_did_not_give_it),
    ("reward_agreed", granted_and_not_confirmed),
    ("reward_agreed", confirmed_and_not_granted),
    ("reward_reversed_after", reversed_and_never_granted),
    ("reward_reversed_after", reversed_before_it_was_granted),
    ("reward_worth", another_amount),
    ("grant_caps", a_second_reward_beyond_the_cap),
    ("grant_caps", rewarded_for_the_contact_of_another),
    ("grant_caps", two_rewards_for_one_contact),
    ("grant_settled", refused_and_not_released),
    ("grant_settled", reversed_and_not_released),
    ("decisions_follow", followup_that_nobody_made),
    ("decisions_follow", followup_lost),
    ("decisions_follow", reward_lost),
    ("record_is_fold", record_changed),
    ("record_is_fold", record_lost),
    ("record_is_fold", record_of_somebody_erased),
    ("record_recounted", record_with_a_referral_too_many),
    ("record_recounted", record_with_fewer_asks),
    ("record_recounted", record_of_an_ask_never_made),
    ("record_recounted", record_with_other_followups),
    ("record_recounted", record_with_another_reward),
    ("record_recounted", record_with_a_name),
    ("names_apart", name_of_somebody_who_did_not_consent),
    ("names_apart", name_of_nobody),
    ("names_apart", name_that_outlived_its_erasure),
    ("names_apart", name_in_the_log),
]


@rule("A12.1")
@pytest.mark.parametrize(("invariant", "forge"), FORGED, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_forged_is_named(
    deployment: Deployment, invariant: str, forge: Callable[[Deployment], Position]
) -> None:
    offender = forge(deployment)
    assert offender in named(deployment.audit(uncommitted=True), invariant)


def test_every_invariant_has_been_broken() -> None:
    assert {invariant for invariant, _ in (*OF_ASKS, *FORGED)} == set(INVARIANTS)


# ---- what cannot be checked


@pytest.mark.parametrize("topic", NAMES.after)
def test_a_topic_that_is_not_there_is_said_and_breaks_nothing(
    deployment: Deployment, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = deployment.logs.begins

    def known(name: str) -> list[int]:
        if name == topic:
            raise Absent(f"{name} does not exist; referral-stream topics create")
        return begins(name)

    monkeypatch.setattr(deployment.logs, "begins", known)
    report = deployment.audit()
    assert report.findings == ()
    assert f"{topic} does not exist: nothing of it is checked" in report.unchecked


def test_one_of_the_others_that_is_not_there_ends_the_audit(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> list[int]:
        raise Absent(f"{name} does not exist; referral-stream topics create")

    monkeypatch.setattr(deployment.logs, "begins", nothing)
    with pytest.raises(Absent):
        deployment.audit()


@pytest.mark.parametrize("topic", [NAMES.followups, NAMES.rewards])
def test_what_has_lapsed_is_not_missed(deployment: Deployment, topic: str) -> None:
    for (name, partition), log in deployment.logs.logs.items():
        if name == topic:
            deployment.logs.begin[topic, partition] = len(log)
            log.clear()
    assert deployment.audit().findings == ()


def test_of_a_compacted_topic_the_newest_are_enough(deployment: Deployment) -> None:
    """And a tombstone is gone after a while."""
    deployment.tell(fact(ev.ErasureRequested(), "Fri 15:10", customer="ana"))
    for (name, _), log in deployment.logs.logs.items():
        if name in (NAMES.records, NAMES.contacts):
            newest = {record.key: record for record in log}
            log[:] = [each for each in log if newest[each.key] is each and each.value is not None]
    report = deployment.audit()
    assert report.findings == ()
    assert (report.counts["records"], report.counts["contacts named"]) == (6, 2)


def test_a_deployment_names_its_topics() -> None:
    assert NAMES.after == ("referral-followups", "referral-rewards", "referral-records", "referral-contacts")
    assert {NAMES.of_topic(name) for name in NAMES.after} == set(NAMES.after)
    assert isinstance(NAMES, Names)
