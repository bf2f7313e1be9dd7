"""The phrases of every language are complete: each word of the code has one, and none is for what does not exist."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, get_args

import pytest

from referral_stream.core.effects import Outcome
from referral_stream.core.events import CHANNELS, FACTS, DeadletterReplayed
from referral_stream.core.policy import Mode, Policy
from referral_stream.core.rules.gates import GATES
from referral_stream.words.phrases import Phrases, phrases
from tests.golden.corpus import all_cases

LANGUAGES = sorted(
    file.name.removesuffix(".toml")
    for file in resources.files("referral_stream.words").iterdir()
    if file.name.endswith(".toml")
)
each_language = pytest.mark.parametrize("language", LANGUAGES)


def texts(phrase: Any) -> Iterator[str]:
    if isinstance(phrase, dict):
        yield from (text for key, text in phrase.items() if key != "by")
    else:
        yield phrase


def fields_of(language: Phrases, table: str, name: str) -> set[str]:
    phrase = language.tables[table][name]
    by = {phrase["by"]} if isinstance(phrase, dict) else set()
    return by | {field for text in texts(phrase) for _, field, _, _ in language.parse(text) if field}


@each_language
def test_every_closed_set_of_the_code_has_a_phrase_for_each_of_its_members(language: str) -> None:
    tables = phrases(language).tables
    assert set(tables["outcomes"]) == set(get_args(Outcome))
    assert set(tables["modes"]) == set(get_args(Mode))
    assert set(tables["channels"]) == {*CHANNELS, "all"}
    assert set(tables["triggers"]) == set(Policy().triggers)
    assert set(tables["events"]) == {*(fact.type for fact in FACTS), DeadletterReplayed.type}
    assert set(tables["gates"]) - {"other"} <= {gate.name for gate in GATES}


@each_language
@pytest.mark.parametrize("model", [*FACTS, DeadletterReplayed], ids=lambda model: model.type)
def test_a_phrase_about_an_event_names_only_fields_that_the_event_has(language: str, model: Any) -> None:
    if model.type != "customer.profile_changed":  # told field by field
        assert fields_of(phrases(language), "events", model.type) <= set(model.model_fields)


@each_language
def test_every_cause_that_a_gate_gives_has_a_phrase(language: str) -> None:
    words = phrases(language)
    seen = {
        cause
        for case in all_cases()
        for line in case.expected()["decisions.jsonl"].splitlines()
        for reason in json.loads(line)["data"]["reasons"]
        for cause in reason["saw"].split("; ")
    }
    assert len(seen) > 50
    assert [cause for cause in sorted(seen) if not words.knows_cause(cause)] == []


@each_language
def test_every_event_that_a_gate_waits_for_has_a_phrase(language: str) -> None:
    awaited = {
        reason["until"]
        for case in all_cases()
        for line in case.expected()["decisions.jsonl"].splitlines()
        for reason in json.loads(line)["data"]["reasons"]
        if reason["answer"] == "until_event" and reason["gate"] != "moment"
    }
    assert len(awaited) > 10
    assert awaited <= set(phrases(language).tables["awaited"])


@each_language
def test_a_cause_keeps_its_fields(language: str) -> None:
    for saw, says in phrases(language).tables["causes"].items():
        named = {field for _, field, _, _ in phrases(language).parse(says) if field}
        assert named == {field for _, field, _, _ in phrases(language).parse(saw) if field}, saw


def test_every_language_has_the_phrases_of_the_first() -> None:
    def names(tables: Mapping[str, Any]) -> set[tuple[str, str]]:
        return {(table, name) for table, phrases_ in tables.items() for name in phrases_}

    english = names(phrases("en").tables)
    assert all(names(phrases(language).tables) == english for language in LANGUAGES)


def test_the_more_specific_phrase_wins() -> None:
    assert phrases().cause("ticket 7 is open") == "ticket 7 is open"
    assert phrases().cause("customer for 12 days") == "customer for only 12 days"
    assert phrases().cause("a cause of tomorrow") == "a cause of tomorrow"


def test_a_part_in_brackets_needs_its_fields() -> None:
    tables = {"causes": {}, "events": {"x": "complained[ ({reference})]"}}
    assert Phrases(tables).say("events", "x", reference="R1") == "complained (R1)"
    assert Phrases(tables).say("events", "x", reference=None) == "complained"


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        phrases("xx")


def test_the_files_are_toml_that_any_tool_reads() -> None:
    for language in LANGUAGES:
        file = resources.files("referral_stream.words") / f"{language}.toml"
        assert tomllib.loads(file.read_text(encoding="utf-8"))["calendar"]
