"""States that do not fit: the customer is held and nobody else, and audit and exact replay come to the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from referral_stream.contracts.applying import NotApplied
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.deadletters import failure
from referral_stream.contracts.left_out import STATE_TOO_LARGE, note_of, notes_in
from referral_stream.contracts.log import render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import encode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.events import ErasureRequested, ProfileChanged, Suppressed
from referral_stream.core.ids import hash64
from referral_stream.core.links import LinkState
from referral_stream.core.policy import Policy
from referral_stream.replay.files import replay_file
from referral_stream.replay.recorded_run import Diverged, ExactReplay
from referral_stream.replay.virtual_run import Arrival
from tests.audit.topics import NAMES, PARTITIONS, Deployment
from tests.builders import a_customer, at, consent, fact, nps, ticket_opened
from tests.properties.comparing import arrivals
from tests.properties.merged import merged
from tests.replay.logs import BOUNDARY
from tests.rules import rule
from tests.worlds.days import world
from tests.worlds.policies import POLICIES

LONG_AFTER = 253_402_300_799_998


def log(deployment: Deployment) -> list[RawRecord]:
    return [record for number in range(PARTITIONS) for record in deployment.logs.logs[NAMES.events, number]]


def lived(deployment: Deployment, told: Iterable[Arrival], limits: tuple[int, ...], seed: int) -> Deployment:
    """Under limits that change now and then."""
    rng = Random(seed)
    for now, event, _ in told:
        if rng.random() < 0.05:
            deployment.entry_limit = rng.choice(limits)
        deployment.wake(now)
        deployment.take(event, now)
    deployment.wake(LONG_AFTER)
    return deployment


def replayed(
    deployment: Deployment, policy: Policy
) -> tuple[ExactReplay, Counter[bytes | None], Counter[tuple[bytes, ...]]]:
    """An exact replay, all that it decides, and its dead letters."""
    records, letters = log(deployment), Counter[tuple[bytes, ...]]()

    def refused(record: RawRecord, why: NotApplied) -> None:
        letter = why.dead_letter(record)
        if letter is not None:
            letters[letter.key or b"", letter.value or b"", *(value or b"" for _, value in letter.headers)] += 1

    replay = ExactReplay(policy, refused=refused, notes=notes_in(records))
    made = Counter(
        None if EFFECT_MESSAGES[type(each.effect)].tombstone else encode_effect(each.effect, each.now)
        for items in replay.run(records)
        for each in items
    )
    replay.compare()
    return replay, made, letters


def check(deployment: Deployment, policy: Policy) -> None:
    assert deployment.audit(uncommitted=True).findings == ()
    replay, made, letters = replayed(deployment, policy)
    logs = deployment.logs.logs
    of_decide = (NAMES.decisions, NAMES.asks, NAMES.requests, *NAMES.after)
    assert made == Counter(
        record.value for topic in of_decide for number in range(PARTITIONS) for record in logs[topic, number]
    )
    assert letters == Counter(
        (record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers))
        for number in range(PARTITIONS)
        for record in logs[NAMES.letters, number]
    )
    states, held = deployment.states(), deployment.held()
    assert {key: state for key, state in replay.by_key.items() if key not in held} == {
        key: state for key, state in states.items() if key not in held
    }
    for key in held:
        entity = replay.by_key[key]
        assert isinstance(entity, LinkState) or entity.quarantined


SEEDS = range(3_000, 3_010)
LIMITS = (890_000, 900, 700, 500, 300)


@cache
def a_world(seed: int) -> tuple[Policy, Deployment]:
    this = world(seed)
    policy = POLICIES[this.policy][0]
    return policy, lived(Deployment(policy), arrivals(this.records), LIMITS, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_limit_audit_and_exact_replay_come_to_what_the_worker_did(seed: int) -> None:
    policy, deployment = a_world(seed)
    check(deployment, policy)


@pytest.mark.parametrize("seed", range(6))
def test_so_they_do_where_ids_are_merged_and_links_know_whom_they_name(seed: int) -> None:
    policy, told = merged(seed)
    check(lived(Deployment(policy), told, LIMITS, seed), policy)


def test_in_these_worlds_states_do_not_fit_in_either_way_and_somebody_is_asked() -> None:
    """Otherwise the tests above would say little."""
    found: Counter[str] = Counter()
    for _, deployment in map(a_world, SEEDS):
        notes = [note for record in log(deployment) if (note := note_of(record)) is not None]
        assert {note.cause for note in notes} <= {STATE_TOO_LARGE}
        found.update(note.how for note in notes)
        found["asks"] += sum(len(c.asks) for c in deployment.states().values() if isinstance(c, Customer))
    assert min(found["held"], found["kept"]) > 10
    assert found["asks"]


def test_a_replay_that_cannot_look_ahead_says_so_and_one_of_a_file_needs_nothing(tmp_path: Path) -> None:
    policy, deployment = next(made for made in map(a_world, SEEDS) if notes_in(log(made[1])))
    records = log(deployment)
    with pytest.raises(Diverged, match="give the log as a file"):
        list(ExactReplay(policy).run(records))
    (tmp_path / "log").write_bytes(b"".join(render_line(record) + b"\n" for record in records))
    summary = replay_file(tmp_path / "log", tmp_path, policy, BOUNDARY)
    letters = [record for number in range(PARTITIONS) for record in deployment.logs.logs[NAMES.letters, number]]
    assert summary.refused.total() == len(letters) > 0


def leave_room(deployment: Deployment, customer: str, more: int) -> None:
    """The limit that lets the state of this customer grow by so many bytes."""
    stored = deployment.stored(customer)
    size = len(customer.encode()) + len(encode_customer(stored.entity, stored.mark)) + more
    deployment.entry_limit = -(-size * 10 // 9)  # a tenth of it is kept free


def pending(*customers: str) -> Deployment:
    """A deployment where these customers are going to be asked."""
    deployment = Deployment()
    for customer in customers:
        deployment.tell(*a_customer(customer), nps(9, "Thu 12:30", customer=customer))
        assert [each.trigger for each in deployment.stored(customer).entity.live] == ["nps_promoter"]
    return deployment


@rule("I6.4", "I6.5")
def test_what_does_not_fit_is_a_letter_the_customer_is_held_and_all_others_are_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deployment = pending("ana", "ben")
    before = deployment.stored("ana").entity
    leave_room(deployment, "ana", 500)
    for number in range(100):
        deployment.tell(ticket_opened("Thu 12:35", f"{hash64(str(number)):016x}"))
    deployment.wake(at("next Mon 12:00"))
    ana, ben = deployment.stored("ana").entity, deployment.stored("ben").entity
    assert (ana.quarantined, ana.asks, ana.live, 0 < len(ana.tickets) < 100) == (True, (), (), True)
    assert (ana.responses, ana.consent) == (before.responses, before.consent)
    assert len(ben.asks) == 1
    letters = [each for number in range(PARTITIONS) for each in deployment.logs.logs[NAMES.letters, number]]
    assert sum(b"ticket_id" in (each.value or b"") for each in letters) == 100 - len(ana.tickets)
    assert {(failure(each).error.partition(":")[0], failure(each).stage) for each in letters} == {
        (STATE_TOO_LARGE, "decide")
    }
    told = [entry for entry in caplog.records if entry.message == STATE_TOO_LARGE]
    assert [vars(entry)["customer_hash"] for entry in told] == [f"{hash64('ana'):016x}"]
    assert deployment.audit().findings == ()


@rule("I6.4")
@pytest.mark.parametrize("room", [3, -150], ids=["hardly any room", "none for the state that is stored"])
def test_an_opt_out_that_does_not_fit_holds_and_is_heard_at_the_same_address(room: int) -> None:
    deployment = pending("ana", "ben")
    for name in ("ana", "ben"):
        deployment.tell(fact(ProfileChanged(email_hmac="5" * 64), "Thu 12:31", customer=name))
    leave_room(deployment, "ana", room)
    deployment.tell(fact(Suppressed(reason="unsubscribed"), "Thu 12:32", customer="ana"))
    held = deployment.held()
    deployment.entry_limit = 890_000
    deployment.tell(nps(10, "Thu 12:40", "r2", customer="ana"), until="next Fri 12:00")
    ana, ben = deployment.stored("ana").entity, deployment.stored("ben").entity
    assert ("ana" in held) == (room < 0)
    assert (ana.quarantined, ana.suppressed, ana.asks, ana.live) == (True, None, (), ())
    assert (ben.on_hold or "ben" in held or ben.quarantined, ben.asks) == (True, ())
    assert deployment.audit().findings == ()


@rule("I6.4")
def test_an_erasure_always_fits() -> None:
    deployment = pending("ana")
    leave_room(deployment, "ana", 1)
    deployment.tell(fact(ErasureRequested(), "Thu 12:35", customer="ana"))
    assert deployment.stored("ana").entity.erased_at == at("Thu 12:35")


def test_one_whose_state_cannot_be_stored_any_more_is_held_even_after_there_is_room_again() -> None:
    deployment = pending("ana")
    leave_room(deployment, "ana", -150)
    stored = deployment.stored("ana").entity
    deployment.tell(consent(False, "Thu 12:35"), until="Fri 18:00")
    assert deployment.stored("ana").entity == stored
    assert deployment.held() == {"ana"}
    deployment.entry_limit = 890_000
    deployment.tell(nps(10, "Fri 18:01", "r2"), until="next Fri 12:00")
    ana = deployment.stored("ana").entity
    assert (ana.quarantined, ana.asks, deployment.held()) == (True, (), set())
