"""The specification can be cited: its numbers are unique, and every link and every § leads to something that exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
SPECIFICATION = ROOT / "docs" / "specification"
LETTERS = {"semantics": "", "after": "A", "identity": "I", "contracts": "C"}
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in (
        *ROOT.glob("*.md"),
        *(page for room in ("docs", "examples", "tests") for page in (ROOT / room).rglob("*.md")),
    )
)
CITING = sorted(
    file.relative_to(ROOT).as_posix()
    for room in ("referral_stream", "tests", "docs", "examples", "tools", "benchmarks")
    for file in (ROOT / room).rglob("*")
    if file.suffix in (".py", ".md", ".toml") and file != Path(__file__)
)

ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
RULE = re.compile(r'<a id="([AIC]?)(\d+)\.(\d+)"></a>')
SECTION = re.compile(r'<a id="[AI]?(\d+)"></a>\n\n## §(\d+) ')
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
CITED = re.compile(r"(?:\b(semantics|after|identity)\s+(?:#\s+)?)?§(\d+)")

NAMED = re.compile(r'\bcontracts "([^"\n]+)"')


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def anchors_of(page: str) -> frozenset[str]:
    """What a fragment may name: the explicit anchors, and the headings as GitHub makes anchors of them."""
    text = text_of(page)
    found, slugs = set(ANCHOR.findall(text)), dict[str, int]()
    for heading in HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        slugs[slug] = slugs.get(slug, -1) + 1
        found.add(f"{slug}-{slugs[slug]}" if slugs[slug] else slug)
    return frozenset(found)


def dead_links(page: str, text: str) -> list[str]:
    """The relative links of the text, as it stood in that page, that lead nowhere."""
    dead = []
    for target in LINK.findall(CODE.sub("", text)):
        path, _, fragment = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (ROOT / page).parent / unquote(path) if path else ROOT / page
        if not file.exists():
            dead.append(target)
        elif fragment and file.suffix == ".md":
            named = file.resolve().relative_to(ROOT.resolve()).as_posix()
            if unquote(fragment) not in anchors_of(named):
                dead.append(target)
    return dead


@cache
def sections_of(page: str) -> frozenset[str]:
    return frozenset(number for _, number in SECTION.findall(text_of(f"docs/specification/{page}.md")))


def unknown_sections(text: str, page: str) -> list[str]:
    """The sections that the text cites and no page has; ``page`` is meant where none is named."""
    cited = [(named or page, number) for named, number in CITED.findall(text)]
    unknown = [f"{named} §{number}" for named, number in cited if number not in sections_of(named)]
    headings = HEADING.findall(text_of("docs/specification/contracts.md"))
    absent = [name for name in NAMED.findall(text) if not any(heading.startswith(name) for heading in headings)]
    return [*unknown, *(f'contracts "{name}"' for name in absent)]


@pytest.mark.parametrize("page", LETTERS)
def test_the_rules_of_a_section_are_numbered_without_gaps_and_show_their_number(page: str) -> None:
    text = text_of(f"docs/specification/{page}.md")
    numbers: dict[str, list[int]] = {}
    for letter, section, number in RULE.findall(text):
        assert letter == LETTERS[page]
        assert f'<a id="{letter}{section}.{number}"></a>**{letter}{section}.{number}** ' in text
        numbers.setdefault(section, []).append(int(number))
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values()), numbers
    assert list(numbers) == sorted(numbers, key=int)


@pytest.mark.parametrize("page", ["semantics", "after", "identity"])
def test_the_anchor_of_a_section_is_its_number(page: str) -> None:
    found = SECTION.findall(text_of(f"docs/specification/{page}.md"))
    headings = re.findall(r"^## .+$", text_of(f"docs/specification/{page}.md"), flags=re.MULTILINE)
    assert [anchor for anchor, _ in found] == [number for _, number in found]
    assert len(found) == len(headings)


def test_no_number_occurs_twice_and_the_readings_are_counted_through() -> None:
    ids = [anchor for page in LETTERS for anchor in ANCHOR.findall(text_of(f"docs/specification/{page}.md"))]
    assert sorted({anchor for anchor in ids if ids.count(anchor) > 1}) == []
    readings = [int(anchor[1:]) for anchor in ids if anchor.startswith("R")]
    assert sorted(readings) == list(range(1, len(readings) + 1))
    assert f"a note, R1 to R{len(readings)}." in text_of("docs/specification/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    assert dead_links(page, text_of(page)) == []


def test_every_section_that_is_cited_exists() -> None:
    found = {}
    for file in CITING:
        folder, _, name = file.rpartition("/")
        own = Path(name).stem if folder == "docs/specification" and name != "README.md" else "semantics"
        if unknown := unknown_sections(text_of(file), "semantics" if own == "contracts" else own):
            found[file] = unknown
    assert found == {}


@pytest.mark.parametrize(
    "link",
    [
        "nowhere.md",
        "#no-such-heading",
        "specification/semantics.md#10.999",
        "specification/after.md#10.15",
        "../nowhere/",
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str) -> None:
    assert dead_links("docs/testing.md", f"See [here]({link}), and `[code]({link})`.") == [link]


@pytest.mark.parametrize(
    "link", ["#how-this-is-tested", "specification/semantics.md#10.15", "specification/", "https://example.com/x#y"]
)
def test_a_link_that_leads_somewhere_is_none_of_them(link: str) -> None:
    assert dead_links("docs/testing.md", f"See [here]({link}).") == []


@pytest.mark.parametrize(
    ("cited", "found"),
    [
        ("semantics §12", "semantics §12"),
        ("after §14", "after §14"),
        ("identity\n§8", "identity §8"),
        ("§12", "semantics §12"),
        ('contracts "Messages up"', 'contracts "Messages up"'),
    ],
)
def test_a_section_that_does_not_exist_is_found(cited: str, found: str) -> None:
    assert unknown_sections(f"As in {cited}.", "semantics") == [found]


def test_a_section_is_looked_for_in_the_page_that_is_named() -> None:
    assert unknown_sections('semantics §11, after §13, identity §7, §10; contracts "Messages out"', "semantics") == []
