"""The phrases of every language are complete: each word of the code has one, and none is for what does not exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest

import referral_stream
from referral_stream.core import events as ev
from referral_stream.core.after_policy import RewardKind
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Decision,
    DeniedFor,
    FollowupKind,
    FollowupReason,
    Hint,
    Outcome,
    Reason,
    TimeZone,
)
from referral_stream.core.events import CHANNELS, FACTS, DeadletterReplayed, Held
from referral_stream.core.policy import Policy
from referral_stream.core.rules.gates import GATES, HELD_OUT
from referral_stream.core.rules.propensity import score
from referral_stream.core.sections import Mode
from referral_stream.core.zones import zone
from referral_stream.explain.story import EntryKind
from referral_stream.explain.tracks import TrackName
from referral_stream.replay.virtual_run import FactReplay
from referral_stream.words.afterwards import money
from referral_stream.words.decisions import clock_words, in_local_time, saw_words
from referral_stream.words.phrases import Phrases, phrases, speaking
from tests.builders import at
from tests.properties.comparing import arrivals
from tests.worlds import days, persons, rulings
from tests.worlds.policies import POLICIES, RULINGS

LANGUAGES = sorted(
    file.name.removesuffix(".toml")
    for file in resources.files("referral_stream.words").iterdir()
    if file.name.endswith(".toml")
)
SENTENCES = ("story", "left_out", "prospects", "explanation", "after", "awaiting", "summary", "cells", "trouble")
"""Tables of which the code asks for each phrase by its name."""
PRODUCT = Path(referral_stream.__file__).parent

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


class Call(NamedTuple):
    """A call of ``say`` or ``word`` in the code; ``names`` is empty where they are not literals."""

    place: str
    table: str
    names: frozenset[str]
    fields: frozenset[str] | None
    """None where a mapping is passed."""


@cache
def calls() -> tuple[Call, ...]:
    return tuple(call for file in sorted(PRODUCT.rglob("*.py")) for call in calls_in(file))


def calls_in(file: Path) -> Iterator[Call]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="words") | ast.Call(func=ast.Name(id="phrases")), attr="say" | "word"
                ),
                args=[ast.Constant(value=str(table)), name],
                keywords=keywords,
            ):
                fields = frozenset(keyword.arg for keyword in keywords if keyword.arg is not None)
                known = fields if len(fields) == len(keywords) else None
                yield Call(f"{file.name}:{node.lineno}", table, frozenset(literals(name)), known)
            case _:
                pass


def literals(name: ast.expr) -> Iterator[str]:
    match name:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=yes, orelse=no):
            yield from literals(yes)
            yield from literals(no)
        case _:
            pass


@cache
def answers() -> tuple[Reason, ...]:
    """What the gates say in a few dozen random worlds."""
    policies = POLICIES | RULINGS
    drawn = [rulings.world(seed) for seed in range(20)] + [days.world(seed) for seed in range(60)]
    told = [(world.records, policies[world.policy][0]) for world in drawn]
    told += [(persons.crowd(seed).records, Policy()) for seed in range(20)]
    return tuple(
        reason
        for records, policy in told
        for items in FactReplay(policy).run(arrivals(records))
        for item in items
        if isinstance(item.effect, Decision)
        for reason in item.effect.reasons
    )


def causes_in_the_code() -> Iterator[tuple[str, str | None]]:
    """Every cause that the gates write, with an example for what is filled in, and the event it waits for."""
    tree = ast.parse((PRODUCT / "core" / "rules" / "gates.py").read_text(encoding="utf-8"))
    functions = (each for each in tree.body if not (isinstance(each, ast.FunctionDef) and each.name == "_wait"))
    for node in (node for each in functions for node in ast.walk(each)):
        match node:
            case ast.Call(func=ast.Name(id="GateCause"), args=[ast.Constant() | ast.JoinedStr() as saw], keywords=said):
                event = next((word.value for word in said if word.arg == "until_event"), None)
                yield filled_in(saw), str(event.value) if isinstance(event, ast.Constant) else None
            case ast.Call(func=ast.Name(id="_wait"), args=[_, _, _, ast.Constant() | ast.JoinedStr() as saw]):
                yield f"{filled_in(saw)} at 2026-09-01T10:00:00.000Z", None
            case _:
                pass


def filled_in(text: ast.Constant | ast.JoinedStr) -> str:
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "4711" for part in parts)


@each_language
def test_every_closed_set_of_the_code_has_a_phrase_for_each_of_its_members(language: str) -> None:
    tables = phrases(language).tables
    assert set(tables["outcomes"]) == set(get_args(Outcome))
    assert set(tables["modes"]) == set(get_args(Mode))
    assert set(tables["channels"]) == {*CHANNELS, "all"}
    assert set(tables["triggers"]) == set(Policy().triggers)
    assert set(tables["events"]) == {*(fact.type for fact in FACTS), DeadletterReplayed.type, Held.type}
    assert set(tables["explanation"]["zone_source"]) == {"by", *get_args(TimeZone.model_fields["source"].annotation)}
    assert set(tables["followups"]) == set(get_args(FollowupKind))
    assert set(tables["followed"]) == set(get_args(FollowupKind))
    assert set(tables["withdrawn"]) == set(get_args(FollowupReason))
    assert set(tables["rewards"]) == set(get_args(RewardKind))
    assert set(tables["hints"]) == set(get_args(Hint))
    assert set(tables["denied"]) == set(get_args(DeniedFor))
    assert set(tables["gates"]) - {"other"} <= {gate.name for gate in GATES}


@each_language
@pytest.mark.parametrize("model", [*FACTS, DeadletterReplayed, Held], ids=lambda model: model.type)
def test_a_phrase_about_an_event_names_only_fields_that_the_event_has(language: str, model: Any) -> None:
    if model.type != "customer.profile_changed":  # told field by field
        assert fields_of(phrases(language), "events", model.type) <= set(model.model_fields)


@each_language
def test_every_phrase_that_the_code_asks_for_exists(language: str) -> None:
    tables = phrases(language).tables
    assert len(calls()) > 40
    missing = [(call.place, name) for call in calls() for name in call.names if name not in tables.get(call.table, {})]
    assert missing == []


@each_language
def test_every_sentence_is_asked_for_by_its_name(language: str) -> None:
    for table in SENTENCES:
        of_table = [call for call in calls() if call.table == table]
        assert [call.place for call in of_table if not call.names] == []
        assert {name for call in of_table for name in call.names} == set(phrases(language).tables[table]), table


@each_language
def test_a_phrase_has_the_fields_that_the_code_gives_it(language: str) -> None:
    """All that a phrase names is given, and all that is given is named by one of the phrases asked for."""
    words = phrases(language)
    for call in calls():
        if call.names and call.fields is not None:
            assert call.fields == {field for name in call.names for field in fields_of(words, call.table, name)}, call


@each_language
def test_every_event_that_an_explanation_proposes_has_a_phrase(language: str) -> None:
    source = (PRODUCT / "explain" / "changes.py").read_text(encoding="utf-8")
    made = {
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "ev"
    }
    events: tuple[type[ev.Data], ...] = (*FACTS, DeadletterReplayed)
    proposed = {model.type: model for model in events if model.__name__ in made}
    words = phrases(language)
    assert set(words.tables["changes"]) == set(proposed)
    for name, model in proposed.items():
        assert fields_of(words, "changes", name) <= set(model.model_fields), name


@each_language
def test_every_cause_that_waits_for_an_event_says_for_which(language: str) -> None:
    """Read from the gates themselves: a cause among several is told with what ends it."""
    waiting = {saw: event for saw, event in causes_in_the_code() if event is not None}
    assert len(waiting) > 15
    alone = {
        "waits for a good moment",
        "asked for the reason first",
        "no usable channel",
        "needs approval",
        "score 4711",
    }
    words = phrases(language)
    assert {saw: words.waits_for(saw) for saw in waiting if saw not in alone} == {
        saw: event for saw, event in waiting.items() if saw not in alone
    }
    assert words.waits_for("consent unknown") == "customer.consent_changed"
    assert words.waits_for("refund at 2026-09-01T10:00:00.000Z") is None


@each_language
def test_every_cause_that_a_gate_gives_has_a_phrase(language: str) -> None:
    words = phrases(language)
    written = {saw for saw, _ in causes_in_the_code()}
    seen = {cause for reason in answers() for cause in reason.saw.split("; ")}
    assert len(written) > 40
    assert len({re.sub(r"\d[\d:T.Z-]*", "1", cause) for cause in seen}) > 50
    assert [cause for cause in sorted(written | seen) if not words.knows_cause(cause)] == []


@each_language
def test_every_event_that_a_gate_waits_for_has_a_phrase(language: str) -> None:
    seen = {reason.until for reason in answers() if reason.answer == "until_event" and reason.gate != "moment"}
    written = {event for _, event in causes_in_the_code() if event not in (None, "moment")}
    assert len(seen) > 10
    assert seen | written <= set(phrases(language).tables["awaited"])


@each_language
def test_a_cause_keeps_its_fields(language: str) -> None:
    for saw, says in phrases(language).tables["causes"].items():
        named = {field for _, field, _, _ in phrases(language).parse(says) if field}
        assert named == {field for _, field, _, _ in phrases(language).parse(saw) if field}, saw


def words_with(conversion: str) -> Iterator[tuple[str, str]]:
    """The fields of events that are said with that conversion, as (type, field)."""
    for table in ("events", "changes"):
        for name, phrase in phrases("en").tables[table].items():
            for text in texts(phrase):
                for _, field, _, how in Phrases({"causes": {}}).parse(text):
                    if field and how == conversion:
                        yield name, field


@each_language
def test_every_value_of_a_closed_set_that_is_told_has_a_phrase(language: str) -> None:
    models = {model.type: model for model in FACTS}
    closed = {
        value
        for name, field in words_with("w")
        for annotation in [models[name].model_fields[field].annotation]
        for choice in (annotation, *get_args(annotation))
        if get_origin(choice) is Literal
        for value in get_args(choice)
    }
    assert len(closed) > 30
    assert closed <= set(phrases(language).tables["values"])


@each_language
def test_every_limit_of_a_gate_has_a_phrase(language: str) -> None:
    told = {gate.limit(policy) for gate in GATES for policy, *_ in (POLICIES | RULINGS).values()}
    told |= {HELD_OUT.limit}
    assert [limit for limit in sorted(told) if not phrases(language).knows_limit(limit)] == []


@each_language
def test_gates_and_the_parts_of_a_score_have_names(language: str) -> None:
    tables = phrases(language).tables
    assert set(tables["gate_names"]) == {gate.name for gate in GATES}
    assert set(tables["score_parts"]) == set(score(Customer(id="ana"), 0, Policy()).parts)
    assert set(tables["tracks"]) == set(get_args(TrackName))
    assert set(tables["kinds"]) == set(get_args(EntryKind))


@each_language
def test_a_phrase_has_the_fields_that_it_has_in_english(language: str) -> None:
    def fields(phrase: Any) -> list[set[str]]:
        return [{field for _, field, _, _ in Phrases({"causes": {}}).parse(text) if field} for text in texts(phrase)]

    english, said = phrases("en").tables, phrases(language).tables
    for table in set(english) - {"waits"}:
        for name, phrase in english[table].items():
            if not isinstance(phrase, list):
                assert fields(said[table][name]) == fields(phrase), (table, name)


def test_nothing_is_left_in_english() -> None:
    alike = {"normal", "Chat", "NPS", "Tickets", "{saw}", "{event}: {why}", "Segment"}
    english, german = phrases("en").tables, phrases("de").tables
    same = {
        text
        for table in set(english) - {"waits", "calendar", "numbers"}
        for name, phrase in english[table].items()
        for text in texts(phrase)
        if text in set(texts(german[table][name])) and any(letter.isalpha() for letter in plain_text(text))
    }
    assert same <= alike


def plain_text(phrase: str) -> str:
    return re.sub(r"\{[^}]*\}", "", phrase)


def test_numbers_and_dates_are_written_as_the_language_does() -> None:
    told = []
    for language in LANGUAGES:
        with speaking(language) as words:
            told.append((
                clock_words(at("Fri 13:00"), UTC),
                money(123_456_78, "EUR"),
                words.say("left_out", "refused", error="x", line=1_234_567, topic="nps"),
                words.say("events", "csat.responded", score=4.5, scale_max=5.0),
            ))  # fmt: skip
    assert told == [
        (
            "Fr 19. Juni 11:00", "123.456,78 EUR", "ein Eintrag war unbrauchbar: x (Zeile 1.234.567, nps)",
            "hat uns mit 4,5 von 5 bewertet",
        ),
        (
            "Fri 19 Jun 11:00", "123,456.78 EUR", "a record could not be used: x (line 1,234,567, nps)",
            "rated us 4.5 of 5",
        ),
    ]  # fmt: skip


def test_a_language_is_spoken_until_it_is_not() -> None:
    with speaking("de"):
        with speaking("en"):
            assert phrases().word("words", "and") == "and"
        assert phrases().word("words", "and") == "und"
    assert phrases().word("words", "and") == "and"
    with pytest.raises(FileNotFoundError), speaking("xx"):
        pass


def test_only_words_of_closed_sets_are_translated_in_a_cause() -> None:
    words = phrases("de")
    assert words.cause("ticket sent is open") == "Ticket sent ist offen"
    assert words.cause("paused: all, trigger failed") == "pausiert: alles, Auslöser failed"
    assert words.cause("overfull: invoices") == "überfüllt: es gibt mehr Rechnungen, als aufgehoben werden"
    assert words.cause('answered "no" at 2026-06-18T10:00:00.000Z').endswith("mit „nein“ geantwortet")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "one ask since Thu 18 Jun 12:00, refund on Thu 18 Jun 12:00"),
        ("de", "one ask seit Do 18. Juni 12:00, refund am Do 18. Juni 12:00"),
    ],
)
def test_instants_in_a_cause_are_told_in_local_time(language: str, told: str) -> None:
    instant = "2026-06-18T10:00:00.000Z"
    with speaking(language):
        assert in_local_time(f"one ask since {instant}, refund at {instant}", zone("Europe/Berlin")) == told
        assert "seit am" not in saw_words(f"3 asks to the account since {instant}", zone("Europe/Berlin"))


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


def test_a_name_that_the_table_lacks_is_shown_as_it_is() -> None:
    by_kind = {"by": "kind", "call": "called"}
    tables = {"causes": {}, "events": {"x": by_kind}}
    assert Phrases(tables).say("events", "call.tomorrow", reference="R1") == "call.tomorrow"
    assert Phrases(tables).say("events", "x", kind="letter") == "x"


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        phrases("xx")


def test_the_files_are_toml_that_any_tool_reads() -> None:
    for language in LANGUAGES:
        file = resources.files("referral_stream.words") / f"{language}.toml"
        assert tomllib.loads(file.read_text(encoding="utf-8"))["calendar"]
