"""What the pages say: each one's main job, what is empty, and what is in the way."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from httpx import AsyncClient as Client
from redis.asyncio import Redis

from referral_stream.console.policies import keep, versions
from referral_stream.console.store import POLICIES_KEPT
from referral_stream.core.customer import Customer
from referral_stream.core.instants import DAY
from referral_stream.core.policy import CapLimits, Policy
from tests.console.conftest import browser, logged_in
from tests.console.world import OPERATORS, WEDNESDAY_NOON, console_over
from tests.read_models.seeding import Applying, a_decision
from tests.services.redis import RedisServer

ODD_IDS = (
    "a/b",
    "a?b=c&d",
    "a#b",
    "100%",
    "%2F",
    "Zoë Müller",
    "客户-1",
    "a b",
    "../..",
    "a+b",
    "'\"<b>",
    "a\\b",
    "..",
)
BEARER = {"Authorization": f"Bearer {OPERATORS}"}


def words(page: str) -> str:
    """A page as it is read: without tags."""
    text = re.sub(r"<title>.*?</title>|<[^>]+>", " ", page)
    return re.sub(r"\s+", " ", text.replace("&#39;", "'"))


async def test_the_customers_page_begins_with_the_whole_story_in_a_sentence(viewer: Client) -> None:
    page = words((await viewer.get("/customer?id=cus-deniz")).text)
    assert "Not asked: ticket 4711 is open" in page
    assert "Would be asked at once (Wed 16 Sep 12:00) if ticket 4711 is solved well now" in page
    assert page.index("Not asked: ticket 4711") < page.index("What would change it") < page.index("Gates")


async def test_the_matrix_has_every_gate_with_what_it_saw_and_its_limit(viewer: Client) -> None:
    page = words((await viewer.get("/customer?id=cus-deniz")).text)
    assert "saw: ticket 4711 is open limit: nothing is wrong" in page
    for gate in ("erased", "paused", "consent", "too early", "trouble", "score", "moment", "approval", "holdout"):
        assert f" {gate} " in page


@pytest.mark.parametrize("id_", ODD_IDS)
async def test_ids_of_any_letters_lead_to_their_page(
    redis_server: RedisServer, tmp_path: Path, prefix: str, id_: str
) -> None:
    """D5."""
    async with Redis.from_url(redis_server.url) as client:
        world = Applying(client, prefix=prefix, now=WEDNESDAY_NOON)
        await world.states(Customer(id=id_, now=WEDNESDAY_NOON))
        await world.decisions(a_decision(id_, WEDNESDAY_NOON - 60_000, account=id_))
    console = console_over(redis_server.url, tmp_path, prefix=prefix)
    async with browser(console) as client_:
        client_.headers.update(BEARER)
        decisions = (await client_.get("/decisions")).text
        link = decisions.partition('data-open href="')[2].partition('"')[0].replace("&amp;", "&")
        page = await client_.get(link)
        assert page.status_code == 200
        assert "This decision" in page.text
        listed = (await client_.get(f"/decisions?account={quote(id_, safe='')}")).text
        assert "data-row" in listed
        assert (await client_.get("/api/customer", params={"id": id_})).json()["customer_id"] == id_
    await console.reader.aclose()


async def test_an_unknown_customer_is_said_to_be_unknown(viewer: Client) -> None:
    answer = await viewer.get("/customer?id=nobody")
    assert answer.status_code == 404
    assert "Nothing is known about this id" in words(answer.text)


@pytest.mark.parametrize(
    ("query", "found", "absent"),
    [
        ("outcome=asked", {"cus-ana", "cus-ben"}, {"cus-deniz"}),
        ("trigger=renewal", {"cus-carla"}, {"cus-ana"}),
        ("gate=consent", {"cus-ida"}, {"cus-ana"}),
        ("customer=cus-henk", {"cus-henk"}, {"cus-ana"}),
        ("outcome=suppressed&gate=trouble", {"cus-henk"}, {"cus-ida"}),
        ("range=1h", {"cus-ben"}, {"cus-ana"}),
        ("since=2026-09-15&until=2026-09-15", {"cus-ana"}, {"cus-ben"}),
    ],
)
async def test_decisions_are_filtered_by_what_the_address_says(
    viewer: Client, query: str, found: set[str], absent: set[str]
) -> None:
    """D1: everything that was chosen is in the address, so that a link shows the same to somebody else."""
    page = (await viewer.get(f"/decisions?{query}")).text
    shown = set(re.findall(r'data-open href="[^"]*">([^<]+)<', page))
    assert found <= shown
    assert not absent & shown
    for part in query.split("&"):
        name, _, value = part.partition("=")
        assert f'name="{name}"' in page
        assert re.search(rf'value="{value}"( selected)?|<option selected>{value}', page)


async def test_a_filter_that_cannot_be_read_is_said(viewer: Client) -> None:
    page = words((await viewer.get("/decisions?outcome=askd&since=yesterday")).text)
    assert "did you mean" in page
    assert "since: write 2026-06-30" in page
    assert (await viewer.get("/decisions?cursor=nonsense")).status_code == 400


async def test_older_decisions_are_a_link_that_keeps_the_filter(
    redis_server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    async with Redis.from_url(redis_server.url) as client:
        world = Applying(client, prefix=prefix, now=WEDNESDAY_NOON)
        await world.decisions(*(a_decision(f"c-{n}", WEDNESDAY_NOON - n * 60_000) for n in range(120)))
    console = console_over(redis_server.url, tmp_path, prefix=prefix)
    seen: list[str] = []
    async with browser(console) as client_:
        link = "/decisions?outcome=deferred"
        while link:
            page = (await client_.get(link, headers=BEARER)).text
            seen += re.findall(r'data-open href="[^"]*">([^<]+)<', page)
            older = re.search(r'<a href="([^"]+)" rel="next">', page)
            link = older[1].replace("&amp;", "&") if older else ""
            assert not link or "outcome=deferred" in link
    await console.reader.aclose()
    assert seen == [f"c-{n}" for n in range(120)]


async def test_now_shows_what_is_going_on(viewer: Client) -> None:
    page = words((await viewer.get("/")).text)
    assert "Asks, last 24 h 1 of 10 decisions" in page
    assert "Waiting 3 occasions to ask" in page
    assert "cus-deniz gave a top score" in page
    assert "decide 2 0" in page


async def test_works_says_what_is_measured_and_what_is_not_yet(viewer: Client) -> None:
    page = words((await viewer.get("/works")).text)
    assert "not enough data yet" in page
    assert "time to ask (median) not enough data yet (" in page
    assert "Does asking cause it, and does it harm?" in page
    assert "Uplift all asks not enough data yet (0 of about 20 referrals" in page
    by_trigger = words((await viewer.get("/works?by=trigger")).text)
    assert "nps promoter" in by_trigger or "nps_promoter" in by_trigger


async def test_the_policy_is_said_in_words_and_compared_with_another(viewer: Client) -> None:
    page = words((await viewer.get("/policy")).text)
    assert "rewards.enabled true false Whether anything is granted" in page
    assert "caps.customer_days" in words((await viewer.get("/policy?show=all")).text)
    other = 'name = "demo"\n[caps]\ncustomer_days = 60\n'
    page = words((await viewer.post("/policy", data={"policy": other})).text)
    assert re.search(r"caps.customer_days 90 60 days", page)
    page = (await viewer.post("/policy", data={"policy": "[caps]\ncustomer_dais = 60\n"})).text
    assert "customer_days" in page
    assert 'role="alert"' in page
    page = words((await viewer.post("/policy", data={"policy": "#" * 70_000})).text)
    assert "a policy of 70,000 characters: at most 65,536 are compared here" in page


async def test_a_policy_of_which_there_is_much_to_say_keeps_nobody_waiting(viewer: Client) -> None:
    wrong = "\n".join(f"k{number}x = 1" for number in range(3_000))
    comparing = asyncio.create_task(viewer.post("/policy", data={"policy": wrong}))
    waits, loop = [], asyncio.get_running_loop()
    while not comparing.done():
        began = loop.time()
        await asyncio.sleep(0.01)
        waits.append(loop.time() - began)
    assert "k7x: unknown key" in words((await comparing).text)
    assert len(waits) > 1
    assert max(waits) < sum(waits) / 2  # it goes on meanwhile: within the loop there would be one long wait


async def test_versions_of_the_policy_before_are_kept_and_compared_with_the_one_in_force(
    redis_server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    console = console_over(redis_server.url, tmp_path, prefix=prefix)
    earlier = Policy(name="spring", version=3, caps=CapLimits(customer_days=60))
    for policy, at in ((earlier, WEDNESDAY_NOON - 30 * DAY), (earlier, WEDNESDAY_NOON - DAY)):
        await keep(console.store, policy, at)  # a second console with the same one is no other version
    async with browser(console) as client:
        page = words((await client.get("/policy", headers=BEARER)).text)
        assert "spring 3 Mon 17 Aug 10:00" in page
        page = words((await client.get(f"/policy?before={earlier.hash}", headers=BEARER)).text)
        assert "Since spring, version 3" in page
        assert "caps.customer_days 60 90 days" in page
        assert (await client.get("/policy?before=nonsense", headers=BEARER)).status_code == 404
    await console.reader.aclose()


async def test_of_versions_of_the_policy_a_bounded_number_is_kept_and_the_present_one(
    redis_server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    store = console_over(redis_server.url, tmp_path, prefix=prefix).store
    policies = [Policy(version=version) for version in range(1, POLICIES_KEPT + 3)]
    for at, policy in enumerate(policies):
        await keep(store, policy, at)
    known = [each.hash for each in await versions(store)]
    assert len(known) == POLICIES_KEPT
    assert known[0] == policies[-1].hash


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("if.score.soft_at=50", None),
        ("if.trouble.ticket_solved_days=1", "Nothing would change"),
        ("if.score.soft_at=101", "a whole number from 0 to 100"),
        ("if.score.soft_at=-1", "a whole number from 0 to 100"),
        ("if.score.soft_at=1e3", "a whole number from 0 to 100"),
        ("if.score.soft_at=99999999999999999999", "a whole number from 0 to 100"),
        ("if.score.soft_at=90", "must not exceed direct_at"),
        ("if.triggers.x.when=1", "cannot be tried here"),
        ("if.name=x", "cannot be tried here"),
    ],
)
async def test_other_numbers_are_tried_within_bounds(viewer: Client, query: str, said: str | None) -> None:
    """D6."""
    answer = await viewer.get(f"/customer?id=cus-deniz&{query}")
    assert answer.status_code == 200
    page = words(answer.text)
    assert said in page if said else "Nothing would change" not in page


async def test_other_numbers_change_the_sentence(viewer: Client) -> None:
    """Greta was asked 40 days ago: with a shorter cap she could be asked again."""
    page = words((await viewer.get("/customer?id=cus-greta&if.caps.customer_days=30")).text)
    before = words((await viewer.get("/customer?id=cus-greta")).text)
    assert "Nothing would change" not in page
    assert len(page) > len(before)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "Nothing has been projected yet"),
        ("/", "Nothing waits to be asked"),
        ("/decisions", "No decision has been made yet"),
        ("/decisions?outcome=asked", "No decision is like that"),
        ("/works", "not enough data yet"),
        ("/controls", "Nothing is paused"),
        ("/controls", "Nobody has done anything yet"),
        ("/dead-letters", "No dead letter is open"),
        ("/customer", "Write an id"),
    ],
)
async def test_what_is_empty_says_so(
    redis_server: RedisServer, tmp_path: Path, prefix: str, path: str, said: str
) -> None:
    console = console_over(redis_server.url, tmp_path, prefix=prefix)
    async with browser(console) as client:
        assert said in words((await client.get(path, headers=BEARER)).text)
    await console.reader.aclose()


@pytest.mark.parametrize("path", ["/", "/decisions", "/customer?id=x", "/works", "/controls", "/ready", "/api/now"])
async def test_without_redis_a_page_says_what_that_means(tmp_path: Path, path: str) -> None:
    console = console_over("redis://127.0.0.1:1/0", tmp_path, prefix="down")
    async with browser(console) as client:
        answer = await client.get(path, headers=BEARER)
    assert answer.status_code == 503
    assert "Nothing is lost" in answer.text
    await console.reader.aclose()


async def test_without_redis_a_session_is_not_taken_for_a_stranger(tmp_path: Path) -> None:
    console = console_over("redis://127.0.0.1:1/0", tmp_path, prefix="down")
    async with browser(console) as client:
        client.cookies.set(console.door.cookie, "any")
        assert (await client.get("/")).status_code == 503
        assert (await client.post("/login", data={"token": OPERATORS})).status_code == 503
        assert (await client.get("/live")).status_code == 200
    await console.reader.aclose()


@pytest.mark.parametrize(
    ("choice", "shown"),
    [("customer", "Wed 16 Sep 09:30"), ("utc", "Wed 16 Sep 07:30"), ("mine", "Wed 16 Sep 03:30")],
)
async def test_times_are_shown_in_the_zone_that_was_chosen(viewer: Client, choice: str, shown: str) -> None:
    """D9. What was decided about Deniz, who lives in Berlin, as somebody in New York reads it."""
    viewer.cookies.set("tz", "America/New_York")
    answer = await viewer.post("/zone", data={"zone": choice, "next": "/customer?id=cus-deniz"})
    assert answer.headers["location"] == "/customer?id=cus-deniz"
    page = (await viewer.get("/customer?id=cus-deniz")).text
    told = words(page[page.index("What was decided") :])
    assert told.strip().startswith(f"What was decided {shown}")


async def test_nothing_on_a_page_needs_what_the_policy_refuses(operator: Client) -> None:
    """No inline script, style or handler anywhere."""
    for path in ("/", "/decisions", "/customer?id=cus-deniz", "/works", "/policy?show=all", "/controls", "/login"):
        page = (await operator.get(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=|hx-on|javascript:", page), path
        assert not re.search(r'(src|href)="(https?:)?//', page), path


async def test_the_first_page_counts_what_the_list_holds(viewer: Client) -> None:
    """D2: what the first page counts is what the list holds."""
    page = words((await viewer.get("/")).text)
    counted = int(re.search(r"of (\d+) decisions", page)[1])  # type: ignore[index]
    listed = (await viewer.get("/api/decisions", params={"since": "2026-09-15T11:00:00Z", "limit": 200})).json()
    assert counted == len(listed["decisions"])


async def test_a_program_gets_the_same_as_json(viewer: Client) -> None:
    found = (await viewer.get("/api/customer", params={"id": "cus-deniz"})).json()
    assert found["summary"].startswith("Not asked: ticket 4711 is open")
    assert (await viewer.get("/api/customer", params={"id": "nobody"})).status_code == 404


async def test_the_viewer_can_log_in_again(viewer: Client) -> None:
    await viewer.post("/logout")
    await logged_in(viewer, OPERATORS)
    assert "ada" in (await viewer.get("/")).text
