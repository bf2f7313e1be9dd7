"""What is looked at first, so that a pattern need not be searched: it must never hide what the pattern would find."""

from __future__ import annotations

import re

import pytest

from referral_stream.contracts import opt_outs
from referral_stream.contracts.adapters import product_events, states, surveys
from referral_stream.contracts.inbound import themes


def test_every_word_and_phrase_of_an_opt_out_has_one_of_the_parts() -> None:
    for said in (*opt_outs.WORDS, *(" ".join(phrase) for phrase in opt_outs.PHRASES)):
        assert any(part in said for part in opt_outs._PARTS), said


@pytest.mark.parametrize(
    "entries",
    [
        [entry for rule in themes.RULES.values() for entry in rule], themes.PRAISE, themes.NEGATIONS, themes.BLAME,
        themes.COMPARATIVES, themes.CONTRASTS, themes.WISHES,
    ],
)  # fmt: skip
def test_no_entry_with_any_ending_is_shorter_than_what_is_compared(entries: list[str]) -> None:
    stems = [entry.split(" ")[0] for entry in entries]
    assert [stem for stem in stems if stem.endswith("*") and len(stem) <= themes._BEGINNING] == []


def literals(pattern: re.Pattern[str]) -> list[str]:
    """The alternatives of a pattern that are words, without what bounds them."""
    return re.findall(r"[a-z]{3,}", re.sub(r"\\[a-zA-Z]|\[[^\]]*\]|\(\?[:a-zA-Z<!=]*", " ", pattern.pattern))


def test_every_program_has_one_of_the_words_or_begins_with_one() -> None:
    words = (*states._MACHINE_WORDS, *states._CLIENTS, "http", "client")
    assert [
        each for each in literals(states._MACHINES) if not any(word in each or each in word for word in words)
    ] == []
    known = product_events._PROGRAM_WORDS
    assert [each for each in literals(product_events._PROGRAM) if not any(word in each for word in known)] == []


@pytest.mark.parametrize("ending", ["", " 7", " (1 = bad)", " - or unlikely", " nicht wahrscheinlich"])
@pytest.mark.parametrize(
    "wording",
    [
        "how unlikely are you to recommend us", "would you not recommend us", "würden sie uns nicht weiterempfehlen",
        "ne nous recommandez pas", "no nos recomienda", "how improbable is it", "wie unwahrscheinlich ist es",
        "why would you recommend us", "what would you recommend", "pourquoi nous recommander", "n’t you recommend us",
        "how likely is it that you recommend us", "nps", "net-promoter",
    ],
)  # fmt: skip
def test_a_question_means_what_the_patterns_say_of_it(wording: str, ending: str) -> None:
    text = wording + ending
    asked = surveys._ASIDE.sub(" ", text)
    assert surveys.is_turned_round(text) == (surveys._TURNED.search(asked) is not None)
    is_loyalty = surveys._LOYALTY.search(text) is not None and surveys._OPPOSITE.search(asked) is None
    assert surveys.is_loyalty(text) == is_loyalty
