"""Damage of every planned kind to every good body: a value comes back, always. The long run: see ``fuzz``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from referral_stream.contracts.adapters import BY_NAME, REGISTRY
from referral_stream.contracts.adapters.reading import Reading
from referral_stream.contracts.inbound.adapt import Boundary
from tests.contracts.building import BOUNDARY, KEY, bodies, cloud_event, record
from tests.contracts.examples import FACT_DATA
from tests.contracts.fuzz import NASTY, Failed, Outcome, gathered, held, made, run, tried
from tests.night import by_night

MATERIAL = gathered()
OWN_QUESTIONS = Boundary(
    email_key=KEY,
    questions={
        name: {"nps_score": "csat/10", "why": "comment", "q-nps": "nps", "12123": "csat/5", "f1": "nps"}
        for name in BY_NAME
    },
)


@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_any_planned_damage_is_answered_with_a_value(seed: int, number: int) -> None:
    held(*made(seed, number, MATERIAL))


def everywhere(body: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a body."""
    places: list[tuple[Any, Any]] = []
    if isinstance(body, (dict, list)):
        for key in list(body) if isinstance(body, dict) else range(len(body)):
            places += [(body, key), *everywhere(body[key])]
    return places


HERE = "@here@"
WRITTEN = [json.dumps(nasty).encode() for nasty in NASTY]


@pytest.mark.parametrize("most_places", [100, by_night(10**9)])
@pytest.mark.parametrize("source", [*BY_NAME, "cloudevents"])
def test_every_nasty_value_in_every_place_of_every_body_is_answered_with_a_value(source: str, most_places: int) -> None:
    """Of the places of a vendor with many bodies by day so many, evenly spread; by night all."""
    if source in BY_NAME:
        whole = bodies(source)
        boundaries = (BOUNDARY, OWN_QUESTIONS) if BY_NAME[source].has_questions else (BOUNDARY,)
    else:
        whole = [cloud_event(kind, data) for kind, data in FACT_DATA.items()]
        boundaries = (BOUNDARY,)
    places = [(body, *place) for body in whole for place in everywhere(body)]
    for body, container, key in places[:: max(1, -(-len(places) // most_places))]:
        kept, container[key] = container[key], HERE
        text = json.dumps(body).encode()
        container[key] = kept
        for nasty in WRITTEN:
            raw = record(text.replace(f'"{HERE}"'.encode(), nasty))
            for boundary in boundaries:
                held(raw, boundary)


@pytest.mark.parametrize("adapter", REGISTRY, ids=lambda adapter: adapter.name)
def test_an_adapter_reads_whatever_it_recognises_even_beyond_json(adapter: Any) -> None:
    reading = Reading(KEY, adapter.customer_paths)
    recognised = 0
    for body in MATERIAL.bodies:
        copy = json.loads(json.dumps(body))
        for container, key in everywhere(copy):
            kept = container[key]
            for nasty in (float("nan"), float("inf"), "\ud800", 10**400, [container.__class__()]):
                container[key] = nasty
                for part in adapter.parts(copy):
                    if isinstance(part, dict) and adapter.recognises(part):
                        recognised += 1
                        adapter.read(part, reading)
            container[key] = kept
    assert recognised


def test_the_same_seed_makes_the_same_inputs() -> None:
    assert [made(3, n, MATERIAL) for n in range(50)] == [made(3, n, gathered()) for n in range(50)]


def test_a_run_reports_what_became_of_its_inputs() -> None:
    line = run(500, 5, 1)
    assert line.startswith("500 inputs, seed 5: 0 exceptions in ")
    assert "accepted" in line


def test_a_failure_says_how_to_see_it_again() -> None:
    def broken(*_: object) -> Outcome:
        raise KeyError("detail")

    with pytest.raises(Failed, match="--seed 9 --only 0: KeyError: 'detail'"):
        tried(9, 0, 3, broken)
