"""Every rule of the specification that is built has a test, and the page that says so is made from the tests."""

from __future__ import annotations

import re

from tests.rules import PAGE, PAGES, SPECIFICATION, in_order, marked, page

_RULE = re.compile(r'<a id="([A-Z]?\d+\.\d+)"></a>\*\*\1\*\*(?: \*(Not|Partly) built(?: yet)?\.\*)?')
_SECTION_NOT_BUILT = re.compile(
    r"\n## [^\n]+\n\n> \*\*Not built yet\.\*\*.*?(?=\n<a id=\"[AI]?\d+\"></a>\n|\n## |\Z)", re.DOTALL
)
_WHOLLY_BUILT = {"1", "2", "3", "4", "5", "6", "8", "9", "10"}
_WITHOUT_BEHAVIOUR = {
    "7.8": "retention is a topic's setting",
    "11.1": "names the pages that complete this one",
    "I3.25": "what there is not: the docs say so",
}


def rules() -> dict[str, str]:
    """Number → "", "Partly" or "Not" (built)."""
    found: dict[str, str] = {}
    for name in PAGES.values():
        text = (SPECIFICATION / name).read_text(encoding="utf-8")
        found |= dict(_RULE.findall(text))
        for section in _SECTION_NOT_BUILT.findall(text):
            found |= {number: state or "Not" for number, state in _RULE.findall(section)}
    return found


def test_every_rule_that_is_built_has_a_test() -> None:
    needed = {n for n, state in rules().items() if n.split(".")[0] in _WHOLLY_BUILT or (not state and n[0] != "0")}
    assert len(needed) > 270
    assert sorted(needed - set(marked()) - set(_WITHOUT_BEHAVIOUR), key=in_order) == []


def test_every_mark_names_a_rule() -> None:
    assert sorted(set(marked()) - set(rules())) == []


def test_the_page_is_made_from_the_marks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "make testing-page"
