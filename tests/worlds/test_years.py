from __future__ import annotations

import hashlib
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import orjson
import pytest

from referral_stream.core.effects import AskRequested, Decision
from referral_stream.core.instants import parse_instant
from referral_stream.core.policy import Policy
from referral_stream.core.rules.gates import GATES
from referral_stream.replay.virtual_run import FactReplay
from tests.properties.comparing import arrivals
from tests.worlds.records import Record
from tests.worlds.years import Year, customer_id

SEED, CUSTOMERS = 7, 200
"""A small world in which even what is rare happens: a customer erased while an opportunity is open."""


def arrived(records: Iterable[Record]) -> list[int]:
    return [parse_instant(record["timestamp"])[0] for record in records]


def digest(records: Iterable[Record]) -> str:
    return hashlib.sha256(b"\n".join(map(orjson.dumps, records))).hexdigest()[:16]


@dataclass
class Lived:
    """What was recorded in a year in which the customers answered, and what was decided."""

    asks: int = 0
    records: list[Record] = field(default_factory=list)
    adapted: int = 0
    decisions: list[Decision] = field(default_factory=list)


@pytest.fixture(scope="module")
def lived() -> Lived:
    year, lived = Year(SEED, CUSTOMERS), Lived()

    def recorded() -> Iterator[Record]:
        for record in year:
            lived.records.append(record)
            yield record

    for items in FactReplay(Policy()).run(arrivals(recorded())):
        for _, effect in items:
            match effect:
                case AskRequested():
                    year.answer(effect)
                    lived.asks += 1
                case Decision():
                    lived.decisions.append(effect)
                case _:
                    pass
    lived.adapted = sum(1 for _ in arrivals(lived.records))
    return lived


def test_a_seed_gives_the_same_year_on_every_machine() -> None:
    year = digest(Year(seed=1, customers=20, days=90))
    assert year == "3a199a5e5fc14b25"
    assert year != digest(Year(seed=2, customers=20, days=90))


def test_a_customer_has_the_same_year_in_every_population() -> None:
    def of_the_third(customers: int) -> list[Record]:
        year = Year(seed=3, customers=customers, days=90)
        return [record for record in year if record.get("key") == customer_id(3)]

    assert of_the_third(4) == of_the_third(30) != []


def test_records_arrive_in_order_and_within_the_year(lived: Lived) -> None:
    year = Year(SEED)
    instants = arrived(lived.records)
    assert instants == sorted(instants)
    assert year.start <= instants[0]
    assert instants[-1] < year.end


def test_events_happen_before_they_arrive_and_only_the_past_is_backfill(lived: Lived) -> None:
    beginning = Year(SEED).start
    for record in lived.records:
        happened = parse_instant(record["value"]["time"])[0]
        assert happened <= parse_instant(record["timestamp"])[0]
        assert ("headers" in record) == (happened < beginning)


def test_a_year_is_never_in_memory_as_a_whole() -> None:
    def peak(consume: Callable[[Iterable[Record]], object]) -> int:
        tracemalloc.start()
        consume(Year(seed=1, customers=40))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    one_by_one, all_at_once = peak(partial(deque, maxlen=0)), peak(list)
    assert one_by_one < all_at_once / 4


def test_everything_recorded_is_an_event(lived: Lived) -> None:
    """Nothing is refused by the boundary, and nothing skipped."""
    assert lived.adapted == len(lived.records)


def test_every_trigger_occurs_and_every_gate_closes(lived: Lived) -> None:
    assert {decision.trigger for decision in lived.decisions} == {
        "nps_promoter",
        "positive_feedback",
        "milestone",
        "renewal",
        "expansion",
        "peer_mentioned",
        "referral_converted",
    }
    closed = {reason.gate for d in lived.decisions for reason in d.reasons if reason.answer != "pass"}
    assert closed == {gate.name for gate in GATES}


def test_every_outcome_occurs(lived: Lived) -> None:
    outcomes = {decision.outcome for decision in lived.decisions}
    assert outcomes >= {"asked", "soft", "holdout", "deferred", "suppressed", "superseded", "cancelled", "expired"}
    assert outcomes >= {"historical", "expired_on_arrival", "duplicate"}


def test_customers_are_asked_now_and_then_and_most_do_not_answer(lived: Lived) -> None:
    assert 0.3 * CUSTOMERS < lived.asks < 1.5 * CUSTOMERS
    answers = Counter(r["value"]["data"]["answer"] for r in lived.records if r["value"]["type"] == "ask.answered")
    assert answers.keys() >= {"yes", "maybe", "no"}
    assert 0.15 * lived.asks < answers.total() < 0.6 * lived.asks


def test_what_follows_an_ask_is_recorded(lived: Lived) -> None:
    responses = Counter(r["value"]["type"] for r in lived.records if r["topic"] == "responses")
    assert responses.keys() >= {"ask.acknowledged", "ask.answered", "referral.given", "referral.status_changed"}
    given = [r["value"]["data"] for r in lived.records if r["value"]["type"] == "referral.given"]
    assert {"command_id" in data for data in given} == {True, False}
