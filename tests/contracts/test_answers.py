"""How a customer's reply is read, in five languages: what it says, what it quotes, and what is never read out of it."""

from __future__ import annotations

import re
import runpy
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from referral_stream.contracts.inbound import answers
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.inbound.answers import KINDS, LANGUAGES, READ, choices, phrase_list, read
from referral_stream.contracts.mapping.parsing import MappingProblem, parse_mappings
from referral_stream.core import events as ev
from referral_stream.core.events import Event
from tests.contracts.building import KEY, cloud_event, only, refused
from tests.contracts.building import read as ingest
from tests.rules import rule

_TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "answers_page.py"))
CORPUS = tuple(_TOOL["corpus"]())
TEXTS = tuple(reply.text for reply in CORPUS)
ANSWERS = ("yes", "maybe", "no", "stop", "unclear")

# ------------------------------------------------------------------------------------------------------------ the rules


@rule("A1.5")
@pytest.mark.parametrize(
    ("word", "texts"),
    [
        ("yes", ["yes", "yes, gladly", "ja, gerne", "oui, avec plaisir", "sí, claro", "sim, claro"]),
        ("maybe", ["maybe", "maybe later", "vielleicht", "peut-être", "quizás", "tal vez", "talvez"]),
        ("no", ["no", "no thank you", "not interested", "nein danke", "non merci", "no gracias", "não obrigado"]),
        ("stop", ["unsubscribe me", "remove me from your list", "take me off your list", "stop contacting me"]),
        ("stop", ["abmelden", "mich abmelden", "melden Sie mich ab", "Keine weiteren E-Mails"]),
        ("stop", ["me désabonner", "désabonnez-moi", "ne plus me contacter"]),
        ("stop", ["darme de baja", "dar de baja", "no me escriban más"]),
        ("stop", ["cancelar inscrição", "cancelar a inscrição", "remova-me da lista"]),
    ],
)
def test_the_usual_phrases_of_all_languages_are_read(word: str, texts: list[str]) -> None:
    for text in texts:
        for spelt in (text, text.upper(), f"  {text}!\n", _without_accents(text)):
            assert (spelt, read(spelt)) == (spelt, word)


@rule("A1.6")
@pytest.mark.parametrize(
    "text",
    [
        "yes, but not now", "I would not say yes", "no problem, happy to", "yes or no", "ja, nein", "yes?", "maybe?",
        "no?", "¿sí", "Yes, gladly. Who was it again?", "oh sure", "thanks", "hello", "42", "!!!", "…",
    ],
)  # fmt: skip
def test_what_is_two_words_or_none_or_a_question_is_unclear(text: str) -> None:
    assert read(text) == "unclear"


@rule("A1.6")
@pytest.mark.parametrize(
    "text",
    [
        "Yes, gladly. But unsubscribe me from the rest.", "Would you take me off your list?", "no, stop contacting me",
        "Maybe. Vielleicht. Désabonnez-moi !", "Don’t e-mail me again", "don't e-mail me again", "dont email me again",
    ],
)  # fmt: skip
def test_an_opt_out_counts_whatever_else_is_said_or_asked(text: str) -> None:
    assert read(text) == "stop"


@rule("A1.5")
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Please don't stop", "unclear"),
        ("I can't stop recommending you. Yes, gladly!", "yes"),
        ("Please stop by next week. Yes, gladly!", "yes"),
        ("Don't unsubscribe me", "unclear"),
        ("not interested", "no"),
        ("I wouldn't say no", "unclear"),
    ],
)
def test_a_longer_phrase_takes_the_words_of_a_shorter_one(text: str, word: str) -> None:
    assert read(text) == word


@pytest.mark.parametrize(
    "text",
    [
        "yes, optout", "Yes, please end", "Yes, end this", "Ja, aufhören", "Ja, austragen", "Oui, arrête",
        "Oui, arrêtez", "Sí, para", "Sí, detente", "Sim, pare", "Sim, sair", "Yes, forget me",
        "yes, you are spamming me",
    ],
)  # fmt: skip
def test_whoever_also_opts_out_with_a_single_word_is_read_by_a_person(text: str) -> None:
    assert read(text) == "unclear"


@pytest.mark.parametrize(
    "text", ["Sí, para mi amigo Luis", "Yes, gladly, before the end of the week", "Sim, para o João"]
)
def test_a_word_in_its_sentence_opts_out_of_nothing(text: str) -> None:
    assert read(text) == "yes"


@rule("A1.7")
@pytest.mark.parametrize("word", ["stop", "unsubscribe", "abmelden", "désabonnement", "baja", "sair"])
def test_a_single_word_opts_out_only_if_it_is_the_whole_text(word: str) -> None:
    for text in (word, word.upper(), f"{word}!!!", f"\n {word} .\n", f"{word}\n\nAnna", f"Hi Olivia,\n{word}\nThanks"):
        assert (text, read(text)) == (text, "stop")
    for text in (
        f"we had a {word} there",
        f"yes, gladly, {word}",
        f"{word}\nyes, gladly",
        f"one two three {word} five",
    ):
        assert (text, read(text) == "stop") == (text, False)


@rule("A1.8")
def test_what_is_blank_says_nothing() -> None:
    for text in ("", " ", "\n\t \r\n", "\u00a0\u2003", "\u200b\ufeff\u200f"):
        assert (text, read(text)) == (text, None)
    assert read("> yes, gladly") == "unclear"  # something was sent, and perhaps said below


# ---------------------------------------------------------------------------------------------------------- quotations

MARKERS = (
    "> ", ">> Olivia", "-----", "-----Original Message-----", "---------- Forwarded message ---------", "-- ", "--",
    "________________________________",
    "On Tue, Jun 16, 2026 at 10:20 AM Olivia <olivia@vendor.example> wrote:",
    "On Tue, Jun 16, 2026 at 10:20 AM Olivia\n<olivia@vendor.example> wrote:",
    "On Tuesday, Olivia wrote:", "Olivia wrote:",
    "Am 16.06.2026 um 10:20 schrieb Olivia <olivia@vendor.example>:", "Am Dienstag schrieb Olivia:",
    "Le mar. 16 juin 2026 à 10:20, Olivia\n<olivia@vendor.example> a écrit\u00a0:", "Le mardi 16 juin, Olivia a écrit:",
    "El mar, 16 jun 2026 a las 10:20, Olivia (<olivia@vendor.example>) escribió:",
    "Em ter., 16 de jun. de 2026 às 10:20, Olivia <olivia@vendor.example> escreveu:",
    "From: Olivia\nSent: Tuesday", "*From:* Olivia\n*Date:* Tuesday", "Von: Olivia\nGesendet: Dienstag",
    "De : Olivia\nEnvoyé : mardi", "De: Olivia\nEnviado el: martes", "De: Olivia\nEnviada em: terça",
    "Sent from my iPhone", "Von meinem iPhone gesendet", "Envoyé de mon iPhone", "Enviado desde mi iPhone",
    "Enviado do meu iPhone",
)  # fmt: skip


@rule("A1.4")
@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_quoted_is_not_read(marker: str, end: str) -> None:
    for text, word in (("Yes, gladly.", "yes"), ("No.", "no"), ("Unsubscribe", "stop"), ("Hm.\n\nMaybe", "maybe")):
        for below in ("unsubscribe me", "yes", "no", "?"):
            whole = f"{text}\n\n{marker}\n{below}".replace("\n", end)
            assert (whole, read(whole)) == (whole, word)


@rule("A1.4")
@pytest.mark.parametrize(
    "text", ["On that day we wrote to you\nunsubscribe me", "From: here to eternity\nunsubscribe me"]
)
def test_a_line_that_only_looks_like_a_quotation_hides_no_opt_out(text: str) -> None:
    assert read(text) == "stop"


@rule("A1.4")
@pytest.mark.parametrize(
    "text",
    [
        "st\u200bop",
        "\u202estop\u202c",
        "\ufeffstop",
        "st\u00adop",
        "ｓｔｏｐ",
        "𝐬𝐭𝐨𝐩",
        "s\u034ftop\ufe0f",
        "STOP\u2028",
        "\u2066Stop\u2069.",
    ],
)
def test_characters_that_nobody_sees_hide_nothing(text: str) -> None:
    assert read(text) == "stop"


@rule("A1.4")
def test_an_accent_may_be_missing_but_not_be_added_to_a_yes() -> None:
    assert read("Já recebi esta mensagem") == read("Já") != "yes"  # Portuguese for already, not German for yes
    assert (read("Ja"), read("Sí"), read("nao obrigado"), read("moechte ich nicht")) == ("yes", "yes", "no", "no")


# ------------------------------------------------------------------------------------------------------------ the lists


def entries(kind: str) -> Iterator[tuple[str, str]]:
    """(language, phrase as written) of every phrase of a kind."""
    return ((language, phrase) for language in LANGUAGES for phrase in phrase_list(language).get(kind, ()))


def readings(phrase: str) -> Iterator[str]:
    """The phrase with each of its choices, the others as they come first."""
    chunks = [[made.replace("=", "") for made in _options(chunk)] for chunk in _chunks(phrase)]
    first = [options[0] or options[-1] for options in chunks]
    for at, options in enumerate(chunks):
        for option in options:
            yield " ".join(" ".join([*first[:at], option, *first[at + 1 :]]).split())


def _chunks(phrase: str) -> list[str]:
    return [chunk for chunk in answers._CHUNK.findall(phrase.removeprefix("^")) if chunk != "…"]


def _options(chunk: str) -> list[str]:
    return list(answers._choices(chunk))


@pytest.mark.parametrize("kind", ["yes", "maybe", "no", "stop"])
def test_every_phrase_is_read_as_its_list_says(kind: str) -> None:
    wrong = {(language, text) for language, phrase in entries(kind) for text in readings(phrase) if read(text) != kind}
    assert wrong == set()


def test_a_phrase_is_written_so_that_it_can_be_found() -> None:
    for kind in KINDS:
        for language, phrase in entries(kind):
            chunks = answers._CHUNK.findall(phrase.removeprefix("^"))
            assert " ".join(chunks) == phrase.removeprefix("^"), (language, phrase)
            assert chunks[0] != "…" != chunks[-1], (language, phrase)
            assert phrase == unicodedata.normalize("NFC", phrase.lower()), (language, phrase)
            assert any(all(choices(chunk)) for chunk in chunks), (language, phrase)


@rule("A1.7")
def test_a_phrase_of_opting_out_has_two_words_at_least() -> None:
    for language, phrase in entries("stop"):
        for text in readings(phrase):
            assert len(re.findall(r"\w+", text)) > 1, (language, phrase, text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_lists(language: str) -> None:
    assert set(phrase_list(language)) == {*KINDS, "doubt_stems", "courtesy", "alone", "mail"}
    assert set(phrase_list(language)["alone"]) == {"yes", "maybe", "no", "stop"}
    assert set(phrase_list(language)["mail"]) == {"quoted", "signed", "from", "sent"}


# ----------------------------------------------------------------------------------------------------------- the corpus


def test_no_refusal_and_no_opt_out_is_read_as_a_yes_or_a_maybe() -> None:
    assert [reply for reply in CORPUS if reply.meant in ("no", "stop") and read(reply.text) in ("yes", "maybe")] == []


def test_every_opt_out_is_a_stop_and_nothing_else_is() -> None:
    assert [reply for reply in CORPUS if (reply.meant == "stop") != (read(reply.text) == "stop")] == []


def test_what_is_not_read_as_it_is_meant_is_unclear() -> None:
    assert [reply for reply in CORPUS if read(reply.text) not in (reply.meant, "unclear")] == []


def test_the_corpus_has_enough_of_every_language_and_every_answer() -> None:
    count = Counter((reply.language, reply.part) for reply in CORPUS)
    assert all(count[language, ""] + count[language, ".unseen"] >= 150 for language in LANGUAGES)
    assert all(abs(count[language, ""] - count[language, ".unseen"]) <= 20 for language in LANGUAGES)
    assert {(reply.language, reply.meant) for reply in CORPUS} == {
        (each, word) for each in LANGUAGES for word in ANSWERS
    }
    assert all(read(text) is not None for text in TEXTS)


def test_the_page_has_the_figures_of_the_corpus() -> None:
    text = _TOOL["PAGE"].read_text("utf-8")
    assert _TOOL["filled"](text) == text, "write them again: python tools/answers_page.py"


# ------------------------------------------------------------------------------------------------------- whatever comes

_WORDS = st.sampled_from(sorted({word for text in TEXTS for word in re.findall(r"\w+|[^\w ]", text)}))
_PROSE = st.lists(_WORDS, max_size=40).map(" ".join)
_REPLIES = st.sampled_from(TEXTS) | _PROSE | st.text(max_size=200)


@given(st.text(max_size=400) | _PROSE)
def test_any_text_is_read(text: str) -> None:
    assert read(text) in (*ANSWERS, None)


@rule("A1.4")
@given(_REPLIES, st.sampled_from(MARKERS), _REPLIES)
def test_what_stands_below_a_marker_never_changes_the_answer(text: str, marker: str, below: str) -> None:
    assert read(f"{text}\n\n{marker}\n{below}") == read(f"{text}\n\n{marker}\n")


@rule("A1.6")
@given(_REPLIES, st.integers(0, 400))
def test_a_question_mark_never_makes_it_an_answer(text: str, at: int) -> None:
    asked = f"{text[:at]}?{text[at:]}"
    own = answers.unquoted(answers._plain(asked.strip()))
    assert "?" not in own or read(asked) in ("unclear", "stop")


@rule("A1.6")
@given(_REPLIES, st.sampled_from([reply.text for reply in CORPUS if reply.meant == "stop"]))
def test_no_opt_out_below_it_is_read_as_a_yes(text: str, opt_out: str) -> None:
    whole = f"{text}\n\n{opt_out}"
    is_quoted = answers.unquoted(answers._plain(f"{text}\n\nx")) != answers._plain(f"{text}\n\nx")
    assert is_quoted or read(whole) not in ("yes", "maybe")


@given(_REPLIES, st.characters())
def test_no_more_than_a_bounded_part_is_read(text: str, filler: str) -> None:
    start = f"{text}\n{'x' * READ}"
    assert read(start + filler * 100_000) == read(start) or filler == "\n"
    assert read(start) in ("stop", "unclear", read(text))


@pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\ufe0f"])
def test_what_was_not_read_is_never_taken_for_nothing(hidden: str) -> None:
    assert read(f"Yes, gladly{hidden * (READ - 20)}") == "yes"
    for unread in ("unsubscribe me", "x"):
        assert read(f"Yes, gladly{hidden * 2 * READ} {unread}") == "unclear"
    assert read(f"Yes, gladly\n> {hidden * 2 * READ}") == "yes"


@pytest.mark.parametrize(
    "unit", ["no ", "não ", "stop ", "don't ", "me ", "mich ", "keine ", "ne plus ", "dejen de ", "yes. "]
)
def test_the_work_grows_with_the_words_and_no_faster(unit: str) -> None:
    def work(count: int) -> int:
        return sum(1 for _ in answers._matches(answers._words(unit * count), answers._rules()))

    assert work(400) <= 2 * work(200) + 20
    assert work(400) <= 400 * 40


# --------------------------------------------------------------------------------------------------------------- ingest


def answered(**data: Any) -> Event:
    return only(ingest(cloud_event("ask.answered", {"command_id": "cmd-1", **data})))


@rule("A1.1", "A1.2", "A1.3", "A10.2")
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({"text": "Yes, gladly!"}, "yes"),
        ({"text": "vielleicht", "answer": None}, "maybe"),
        ({"text": "nein danke", "answer": "  "}, "no"),
        ({"text": "Please remove me from your list"}, "stop"),
        ({"text": "what?"}, "unclear"),
        ({"text": "x" * 150_000}, "unclear"),
        ({"answer": "yes", "text": "unsubscribe me"}, "yes"),
        ({"answer": "no", "text": "yes"}, "no"),
        ({"answer": "unclear", "text": "yes"}, "unclear"),
        ({"answer": "maybe", "text": {"not": "text"}}, "maybe"),
        ({"answer": "maybe", "text": "x" * 150_000}, "maybe"),
        ({"answer": "STOP"}, "stop"),
        ({"answer": " Yes "}, "yes"),
        ({"answer": "Unclear"}, "unclear"),
    ],
)
def test_only_the_word_travels_on(data: dict[str, Any], answer: ev.Answer) -> None:
    event = answered(**data)
    assert (event.data, event.flags) == (ev.AskAnswered(command_id="cmd-1", answer=answer), ())
    assert event.data.model_dump(exclude_unset=True) == {"command_id": "cmd-1", "answer": answer}


@rule("I1.3")
@pytest.mark.parametrize(
    "word", ["Unsubscribe", "unsubscribed", "opt_out", "OptOut", "opt-out", "do not contact", "Abmelden", "stop!"]
)
def test_an_opt_out_in_another_spelling_is_a_stop(word: str) -> None:
    event = answered(answer=word, text="yes, gladly")
    assert (event.data.answer, event.flags) == ("stop", ())


@rule("I1.3")
@pytest.mark.parametrize(
    "data",
    [
        {"answer": "positive"},
        {"answer": "rather not"},
        {"answer": True},
        {"answer": 1},
        {"answer": ["yes"]},
        {"text": 7},
        {"text": {}},
    ],
)
def test_an_answer_that_cannot_be_read_is_unclear_and_not_lost(data: dict[str, Any]) -> None:
    event = answered(**data)
    assert (event.data, event.flags) == (ev.AskAnswered(command_id="cmd-1", answer="unclear"), ("field_dropped",))


@rule("A1.8")
@pytest.mark.parametrize(
    "data", [{}, {"answer": None, "text": None}, {"answer": " ", "text": "\n\u200b"}, {"text": ""}]
)
def test_who_says_nothing_is_a_dead_letter(data: dict[str, Any]) -> None:
    letter = refused(ingest(cloud_event("ask.answered", {"command_id": "cmd-1", **data})))
    assert (letter.cause, letter.detail) == ("invalid", "answer: neither it nor the text says anything")


@rule("A1.3")
def test_a_mapping_may_give_the_text_alone() -> None:
    head = '[[mapping]]\nwhen.adapter = "json"\ntype = "ask.answered"\nsubject = "$.who"\ndata.command_id = "$.ask"\n'
    event = only(
        ingest(
            {"who": "ana", "ask": "cmd-1", "said": "Nein danke"},
            boundary=Boundary(email_key=KEY, mappings=parse_mappings(f'{head}data.text = "$.said"\n'.encode())),
        )
    )
    assert (event.subject, event.data) == ("ana", ev.AskAnswered(command_id="cmd-1", answer="no"))
    with pytest.raises(MappingProblem, match=r"data\.answer: required by ask\.answered, or else text"):
        parse_mappings(head.encode())


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
