"""Which theme a comment is given, in five languages, and when it is given none."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.inbound.themes import NEGATIONS, RULES, THEMES, theme_of
from tests.rules import rule


@rule("6.12")
@pytest.mark.parametrize(
    ("comment", "theme"),
    [
        ("It saves us hours every week.", "time_saved"),
        ("Your support team is wonderful!", "support"),
        ("So EASY to use, my parents could.", "ease_of_use"),
        ("Your service is fast and flawless!", "reliability"),
        ("Our revenue grew by a third", "results"),
        ("Great value for money", "price"),
        ("the integrations and dashboards", "features"),
        ("Everything loads so quickly", "speed"),
        ("Der Kundenservice ist spitze", "support"),
        ("Sehr einfach und intuitiv zu bedienen", "ease_of_use"),
        ("Das spart uns jede Woche einen halben Tag", "time_saved"),
        ("Absolut zuverlässig", "reliability"),
        ("Läuft seit Jahren ohne Probleme", "reliability"),
        ("Fairer Preis", "price"),
        ("Votre assistance est très réactive", "support"),
        ("C'est facile à prendre en main", "ease_of_use"),
        ("On gagne énormément de temps : un vrai gain de temps", "time_saved"),
        ("Un outil fiable", "reliability"),
        ("La atención al cliente es excelente", "support"),
        ("Es muy fácil y sencillo", "ease_of_use"),
        ("Nos ahorra horas por semana", "time_saved"),
        ("Funciona sin problemas", "reliability"),
        ("O atendimento é ótimo", "support"),
        ("Muito fácil de usar", "ease_of_use"),
        ("Economizamos tempo todos os dias", "time_saved"),
        ("É confiável", "reliability"),
    ],
)
def test_a_comment_has_the_theme_it_speaks_of(comment: str, theme: str) -> None:
    assert theme_of(comment) == theme


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "Great!",
        "I just like it.",
        "Fast immer gut",
        "¿?",
        "It is not easy",
        "It isn't really reliable",
        "Nicht besonders zuverlässig",
        "Pas facile",
        "Não é fácil",
    ],
)
def test_a_comment_without_a_reason_has_no_theme(comment: str) -> None:
    assert theme_of(comment) is None


@rule("6.12")
def test_the_theme_spoken_of_most_wins_and_the_earlier_row_among_equals() -> None:
    assert theme_of("Good price, reliable, and so stable") == "reliability"
    assert theme_of("Cheap and easy") == "ease_of_use"
    assert theme_of("Easy and cheap") == "ease_of_use"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_text_has_one_of_our_themes_or_none(comment: str) -> None:
    assert theme_of(comment) in {None, *THEMES}


def by_the_rules(comment: str) -> str | None:
    """Naively: at every word, the first entry in the order of the rules that stands there."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", comment.casefold()) if not unicodedata.combining(c))
    words = re.findall(r"[^\W_]+", re.sub(r"n['’]t\b", "nt", bare))
    hits: Counter[str] = Counter()
    place = 0
    while place < len(words):
        found = next(
            (
                (theme, entry.split())
                for theme, entries in RULES.items()
                for entry in entries
                if len(words) - place >= len(entry.split()) and all(map(fnmatchcase, words[place:], entry.split()))
            ),
            None,
        )
        if found is None:
            place += 1
            continue
        theme, entry_words = found
        hits[theme] += NEGATIONS.isdisjoint(words[max(0, place - 2) : place])
        place += len(entry_words)
    most = max(hits.values(), default=0)
    return next((theme for theme in RULES if hits[theme] == most), None) if most else None


_SAID = st.sampled_from([entry.replace("*", ending) for entries in RULES.values() for entry in entries
                         for ending in ("", "s", "ung")])  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(_SAID, st.sampled_from([*sorted(NEGATIONS), "isn't", "very", "the", "é"])), max_size=12))
def test_every_word_is_held_against_the_rules_in_their_order(said: list[str]) -> None:
    comment = " ".join(said)
    assert theme_of(comment) == by_the_rules(comment)
