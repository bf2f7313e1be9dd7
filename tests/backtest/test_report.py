"""The page: one file that needs nothing, obeys nobody whose text is in it, and stays small."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from referral_stream.backtest.difference import LISTED, BacktestCompared, Totals, totals
from referral_stream.backtest.fates import Later, OpportunityFate, OpportunityHead
from referral_stream.backtest.figures import differing, figures
from referral_stream.backtest.report import render, render_front
from referral_stream.backtest.run import Backtest, ReadLog, backtest
from referral_stream.backtest.search import Search, SearchPoint, front
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.policy import CapLimits, Policy
from tests.builders import a_customer, at, nps, ticket_opened
from tests.replay.logs import BOUNDARY, fact_lines, write

A, B = Policy(), Policy(name="eager", version=2, caps=CapLimits(customer_days=20))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
UNSEEN = "ana\u202egpj\x1b[2J"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, ids, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._in = ""
        self.styles = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.styles += data
        else:
            self.words.append(data)

    def handle_endtag(self, _: str) -> None:
        self._in = ""

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def changed(many: int, customer: str = "cus-{n:06d}-of-a-usual-length") -> Backtest:
    """So many asks that B gains, loses and moves in turn, with reasons of a usual length."""
    reason = ("overasking", "until", "2026-04-09T11:00:00.000Z", "asked 2026-01-09T12:00:00.000Z", "one ask in 90 days")
    rows = []
    for n in range(many):
        opens = at("Thu 12:30") + n * HOUR
        moment = OpportunityHead(
            f"opportunity {n}",
            customer.format(n=n),
            f"acct-{n // 3:06d}",
            "renewal",
            opens,
            opens + 7 * DAY,
            "Europe/Berlin",
        )
        asked = OpportunityFate(
            "asked", opens + DAY, 80, "direct", "email", "renewal", (), opens, Later(True, "yes", 1, 0, n % 7 == 0)
        )
        held = OpportunityFate("suppressed", opens + DAY, 80, None, None, None, (reason,), opens)
        later = OpportunityFate("soft", opens + 2 * DAY, 60, "soft", "email", "renewal", (), opens)
        rows.append(BacktestCompared(moment, *((held, asked), (asked, held), (asked, later))[n % 3]))
    end = at("Thu 12:30") + many * HOUR
    return Backtest(ReadLog(first=at("Thu 12:30"), last=end, digest="0" * 64), totals(rows, end), customers=many)


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(changed(60), A, B))


def test_one_sentence_and_its_price_stand_on_top(page: Page) -> None:
    assert "Of 60 moments B asks 40, A 40: 20 gained, 20 lost, 20 moved." in page.text
    assert "B makes 3 such asks that A avoids, and avoids 6 of A’s." in page.text
    assert "caps.customer_days 90 20" in page.text


def test_the_page_lets_nothing_run_and_asks_no_network(page: Page) -> None:
    policy = next(
        str(each["content"]) for each in page.named("meta") if each.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(sha256(page.styles.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    attributes = {name for _, found in page.elements for name in found}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {
        "style",
        "src",
        "srcset",
        "action",
    }
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {name for name, _ in page.elements}
    assert {str(each["href"])[0] for each in page.named("a")} == {"#"}
    assert not re.search(r"url\(|@import", page.styles)


def test_every_link_of_the_page_leads_somewhere(page: Page) -> None:
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {str(each["href"])[1:] for each in page.named("a")} <= set(ids)


def test_every_plot_says_what_it_shows_and_has_its_numbers_beside_it(page: Page) -> None:
    plots = [each for each in page.named("svg") if each.get("role") == "img"]
    ids = {found["id"] for _, found in page.elements if "id" in found}
    assert len(plots) == len(page.named("figure")) == 4
    assert all(set(str(each["aria-labelledby"]).split()) <= ids for each in plots)
    assert page.text.count("The numbers") == 4


def test_what_a_customer_is_called_is_text_and_nothing_else(tmp_path: Path) -> None:
    later = at("Thu 12:30") + 22 * DAY
    told = (
        a_customer(HOSTILE, account=HOSTILE),
        nps(9, "Thu 12:30", customer=HOSTILE),
        nps(10, later, response="later", customer=HOSTILE),
        ticket_opened(later + 3 * DAY, HOSTILE, customer=HOSTILE),
    )
    eager = Policy(
        name=HOSTILE,
        caps=CapLimits(customer_days=20, account_gap_days=0),
        holdout=A.holdout.model_copy(update={"percent": 0}),
    )
    log = write(tmp_path / "log", fact_lines(*told))
    found = backtest(log, A, eager, BOUNDARY)
    assert found.totals.changed
    page = Page(render(found, A, eager))
    assert not {"script", "img"} & {name for name, _ in page.elements}
    assert page.text.count(HOSTILE) > len(told)


def test_what_would_turn_or_hide_a_line_is_shown_as_an_escape() -> None:
    text = render(changed(3, UNSEEN), A, B)
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "ana\\u202egpj\\x1b[2J" in Page(text).text


def test_ten_thousand_changed_asks_stay_under_a_megabyte() -> None:
    text = render(changed(10_000), A, B)
    assert len(text.encode()) < 1_000_000
    assert f"{LISTED:,} are listed, regrets first" in Page(text).text


def test_regrets_of_b_alone_come_first() -> None:
    listed = changed(60).totals.listed
    ranks = [each.order[0] for each in listed]
    assert ranks == sorted(ranks)
    assert listed[0].regrets == (False, True)


def test_what_nobody_was_asked_is_never_said_to_be_observed(page: Page) -> None:
    assert "gained asks 20 0 nothing observed" in page.text
    assert "lost asks 20 20 yes 20, referral 20" in page.text


def test_what_could_not_be_replayed_is_counted_by_cause() -> None:
    found = changed(3)
    found.log.counts.refused["invalid"] = 2
    found.log.counts.skipped["unknown_type"] = 1
    found.known_before = 2
    told = figures(found, A, B).unknown
    assert "2 records could not be used: invalid" in told
    assert "1 record left out: unknown type" in told
    assert next(line for line in told if line.startswith("caps unknown before ")).endswith("is not in it")


def test_policies_differ_in_settings_and_not_in_name_and_version() -> None:
    off = Policy(name="b", triggers={name: each for name, each in A.triggers.items() if name != "expansion"})
    assert [each.name for each in differing(A, Policy(name="other", version=7))] == []
    assert {each.b for each in differing(A, off)} == {"–"}


def test_two_policies_that_do_the_same_change_nothing() -> None:
    told = figures(Backtest(ReadLog(), Totals(kinds={"same": 2}, asked={"a": 2, "b": 2})), A, B)
    assert told.sentence == "Of 2 moments B asks 2, as A does: nothing changes."


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"consent": 2, "too_early": 1}, "Of 2 moments neither A nor B asks any (consent 2, too early 1): this log"),
        ({}, "Of 2 moments neither A nor B asks any: this log compares nothing."),
        ({f"gate_{n}": n for n in range(1, 9)}, "(gate 8 8, gate 7 7, gate 6 6, gate 5 5)"),
    ],
)
def test_policies_that_ask_nobody_are_not_said_to_do_the_same(held: dict[str, int], said: str) -> None:
    told = figures(Backtest(ReadLog(), Totals(kinds={"same": 2}, held=held)), A, B)
    assert said in told.sentence
    assert "nothing changes" not in told.sentence
    assert "the log begins too late" in told.cost


def test_a_search_shows_its_front_and_what_is_chosen() -> None:
    points = [
        SearchPoint((("caps.customer_days", n),), asks, regrets)
        for n, asks, regrets in ((30, 90, 9), (60, 80, 4), (90, 70, 4))
    ]
    found = front(SearchPoint((), 75, 5), points)
    page = Page(render_front(found, Search([], ["score.soft_at 90: too much"]), ReadLog(), A))
    assert "caps.customer_days 60: 80 asks, 4 regrets." in page.text
    assert "score.soft_at 90: too much" in page.text
    assert not page.named("script")
