"""Which theme a comment is given, in five languages, and when it is given none."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from referral_stream.contracts.inbound.themes import (
    BLAME,
    COMPARATIVES,
    CONTRASTS,
    NEGATIONS,
    PRAISE,
    RULES,
    THEMES,
    WISHES,
    theme_of,
)
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


BARE = "Support", "Integrations", "Der Preis", "La prise en main"
AGAINST = [
    "{} could be better", "We want better {}", "More {}", "Faster {} please", "Great but {}", "Only {}",
    "Fine except {}",
    "{} is slow", "{} never works", "No {}", "Without {}", "{}, please!", "If only {} were there",
    "{} is too complicated",
    "Why {}?", "Hardly {}", "I wish for {}", "{} is missing", "{} was a disappointment", "{} needs work",
    "{}: a problem",
    "{} ist langsam", "Gut, aber {}", "Nur {}", "Bitte {}", "{} nervt", "Mehr {}", "{} fehlt", "Bessere {}",
    "{} leider",
    "{} est lent", "Bien mais {}", "Plus de {}", "Sauf {}", "{} svp", "Meilleure {}", "Il manque {}", "{} trop lourd",
    "{} es lento", "Bien pero {}", "Más {}", "Mejor {}", "Salvo {}", "{} por favor", "Falta {}", "{} demasiado caro",
    "{} é ruim", "Bom mas {}", "Mais {}", "Melhor {}", "Exceto {}", "{} é lento", "Gostaria de {}", "{} com problemas",
]  # fmt: skip


@rule("11.10")
@pytest.mark.parametrize("bare", BARE)
@pytest.mark.parametrize("said", AGAINST)
def test_what_is_no_praise_has_no_theme(said: str, bare: str) -> None:
    assert theme_of(bare) is not None
    assert theme_of(said.format(bare)) is None


@rule("11.10")
@pytest.mark.parametrize(
    ("comment", "theme"),
    [
        ("Support is slow. Easy to use.", "ease_of_use"),
        ("Support is slow, easy to use", "ease_of_use"),
        ("Support: slow", None),
        ("Support (slow)", None),
        ("Support – slow", None),
        ("Easy to use, except for support", None),
        ("Easy to use. But support is slow", "ease_of_use"),
        ("Not only easy but also reliable", "ease_of_use"),
        ("Would recommend: rock solid", "reliability"),
        ("It never fails", "reliability"),
        ("More customers every month", "results"),
        ("More customers, please", None),
        ("Is it stable?", None),
        ("Is it stable? Very stable!", "reliability"),
        ("Keine Probleme, tolle Auswertungen", "reliability"),
    ],
)
def test_a_clause_speaks_for_itself_and_a_contrast_or_a_wish_for_its_sentence(comment: str, theme: str | None) -> None:
    assert theme_of(comment) == theme


def by_the_rules(comment: str) -> str | None:
    """Naively: at every word of a clause, the first entry in the order of the rules that stands there."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", comment.casefold()) if not unicodedata.combining(c))
    words = re.findall(r"[^\W_]+", re.sub(r"n['’]t\b", "nt", bare))
    words = list(praised(words))
    if any(standing(words[at:], (*CONTRASTS, *WISHES)) for at in range(len(words))):
        return None
    hits: Counter[str] = Counter()
    left: list[str] = []
    place = 0
    while place < len(words):
        entries = [(theme, entry) for theme, entries in RULES.items() for entry in entries]
        found = next(((theme, entry) for theme, entry in entries if standing(words[place:], (entry,))), None)
        if found is None:
            left.append(words[place])
            place += 1
            continue
        theme, entry = found
        hits[theme] += 1
        length = len(entry.split())
        left += ["|"] if length > 1 else [words[place]]
        place += length
    if any(standing(left[at:], (*NEGATIONS, *BLAME, *COMPARATIVES)) for at in range(len(left))):
        return None
    most = max(hits.values(), default=0)
    return next((theme for theme in RULES if hits[theme] == most), None) if most else None


def praised(words: list[str]) -> Iterator[str]:
    """The words with a bar for each phrase of PRAISE, the longest first."""
    while words:
        found = next((entry for entry in sorted(PRAISE, key=len, reverse=True) if standing(words, (entry,))), None)
        yield words[0] if found is None else "|"
        words = words[1 if found is None else len(found.split()) :]


def standing(words: list[str], entries: tuple[str, ...]) -> bool:
    """Whether one of the entries stands at the beginning of the words."""
    return any(
        len(words) >= len(parts) and all(map(fnmatchcase, words, parts))
        for entry in entries
        if (parts := entry.split())
    )


_LISTS = (*NEGATIONS, *BLAME, *COMPARATIVES, *CONTRASTS, *WISHES, *PRAISE)
_SAID = st.sampled_from([entry.replace("*", ending) for entries in RULES.values() for entry in entries
                         for ending in ("", "s", "ung")])  # fmt: skip
_ELSE = st.sampled_from([*(entry.replace("*", "") for entry in _LISTS), "isn't", "very", "the", "é"])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(_SAID, _SAID, _ELSE), max_size=6))
def test_every_word_is_held_against_the_rules_in_their_order(said: list[str]) -> None:
    comment = " ".join(said)
    assert theme_of(comment) == by_the_rules(comment)
