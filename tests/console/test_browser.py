"""The pages in a real browser: Debian's chromium, driven by Playwright. Any complaint of the browser fails a test.

Pages are looked at wide and narrow, light and dark, by mouse and by keyboard alone, and judged by axe.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from referral_stream.console.serve import listening
from tests.console.conftest import Site
from tests.console.world import OPERATORS, VIEWERS, WEDNESDAY_NOON, console_over
from tests.read_models.seeding import Applying, a_decision
from tests.services.process import free_port, wait_until
from tests.services.required import services_are_required

playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED in a browser: playwright is not installed")
Page = playwright.Page
CHROMIUM = next((Path(p) for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
AXE = Path(__file__).parent / "axe" / "axe.min.js"
PATIENCE_MS = 20_000
PAGES = {
    "now": "/", "decisions": "/decisions", "customer": "/customer?id=cus-deniz", "works": "/works", "policy": "/policy",
    "controls": "/controls", "dead letters": "/dead-letters", "nobody": "/customer?id=nobody", "nowhere": "/nowhere",
}  # fmt: skip
_HARMLESS = ("[DOM] Password forms should have",)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if services_are_required():
            pytest.fail("chromium is required here: apt-get install chromium", pytrace=False)
        pytest.skip("NOT TESTED in a browser: there is no chromium; apt-get install chromium")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def sessions(browser: Any, site: Site) -> Callable[[str], Any]:
    """The cookies of somebody who has logged in with a token: once, since attempts are counted."""

    @cache
    def logged_in(token: str) -> Any:
        context = browser.new_context()
        found = context.new_page()
        found.goto(f"{site.url}/login")
        found.fill("#token", token)
        found.keyboard.press("Enter")
        found.wait_for_url(f"{site.url}/")
        state = context.storage_state()
        context.close()
        return state

    return logged_in


@pytest.fixture
def page(
    browser: Any, complaints: list[str], request: pytest.FixtureRequest, sessions: Callable[[str], Any]
) -> Iterator[Any]:
    """A page of a logged-in operator, or whom ``request.param`` names; what the browser complains of fails the test."""
    token, width, scheme = getattr(request, "param", (OPERATORS, 1_280, "light"))
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, storage_state=sessions(token)
    )
    context.set_default_timeout(PATIENCE_MS)
    found = context.new_page()
    found.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    found.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    yield found
    context.close()
    assert [each for each in complaints if not any(harmless in each for harmless in _HARMLESS)] == []


def expected(complaints: list[str], *texts: str) -> None:
    """The browser says so of every answer of 4xx and 5xx."""
    complaints[:] = [each for each in complaints if not any(text in each for text in texts)]


JUDGED = ((1_280, "light"), (360, "dark"))
"""The looks that axe judges: between them they have every layout and every colour."""
LOOKS = [(OPERATORS, 1_280, "light"), (OPERATORS, 360, "light"), (VIEWERS, 1_280, "dark"), (OPERATORS, 360, "dark")]


def scheme(page: Any) -> str:
    return "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"


@pytest.mark.parametrize("page", LOOKS, indirect=True, ids=lambda look: f"{look[1]} px, {look[2]}")
def test_every_page_fits_is_accessible_and_obeys_the_content_policy(
    page: Any, site: Site, complaints: list[str], subtests: pytest.Subtests
) -> None:
    for name, path in PAGES.items():
        with subtests.test(name):
            page.goto(f"{site.url}{path}")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "wider than the window"
            for closed in page.query_selector_all("details:not([open]) > summary"):
                closed.click()
            if (page.viewport_size["width"], scheme(page)) not in JUDGED:
                continue
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate(
                "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
                "[v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary).join('; ')]))"
            )
            assert [each for each in found if each[0] in ("serious", "critical")] == []
    expected(complaints, "the server responded with a status of 404")


@pytest.fixture(scope="module")
def signing_on(site: Site) -> Iterator[str]:
    """The address of a console over the same world, with a provider whom the browser takes for another site."""
    pytest.importorskip("joserfc", reason="NOT TESTED at an OpenID provider: joserfc is not installed")
    from referral_stream.console.serve import provider_of
    from tests.console.openid import CLIENT, SECRET, OpenIdProvider

    ready, stop, url = threading.Event(), threading.Event(), f"http://127.0.0.1:{(port := free_port())}"

    async def serve() -> None:
        async with OpenIdProvider().served("localhost") as provider:
            with tempfile.TemporaryDirectory() as folder:
                console = console_over(
                    site.redis.url, Path(folder), prefix="site", console_port=port, console_public_url=url,
                    console_oidc_issuer=provider.issuer, console_oidc_client_id=CLIENT,
                    console_oidc_client_secret=SECRET, console_oidc_allowed="@example.com",
                    console_operators="ada@example.com",
                )  # fmt: skip
                async with listening(replace(console, provider=provider_of(console.settings))):
                    ready.set()
                    await asyncio.to_thread(stop.wait)
                await console.reader.aclose()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield url
    stop.set()
    thread.join(30)


def test_somebody_logs_in_at_a_provider_and_out_again(browser: Any, signing_on: str) -> None:
    """The provider is another site: the browser has to bring our cookies although it is sent back from there."""
    complaints: list[str] = []
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.goto(f"{signing_on}/decisions?outcome=suppressed")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert (
        page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id))") == []
    )
    page.click("text=Log in with localhost")
    page.wait_for_url(f"{signing_on}/decisions?outcome=suppressed")
    assert "ada@example.com · operator" in page.inner_text(".who")
    page.click("text=Log out")
    page.wait_for_url(f"{signing_on}/login?left=1")
    assert "not at localhost" in page.inner_text("[role=status]")
    page.goto(signing_on)
    page.wait_for_url(f"{signing_on}/login")
    context.close()
    assert [each for each in complaints if not any(harmless in each for harmless in _HARMLESS)] == []


def test_why_a_customer_was_not_asked_takes_three_clicks_from_the_login(browser: Any, site: Site) -> None:
    page = browser.new_page()
    page.goto(site.url)
    page.fill("#token", VIEWERS)
    page.click("button.main")  # one
    page.click("text=cus-deniz")  # two: it waits, so it is on the first page
    assert "ticket 4711 is open" in page.inner_text("#summary")
    assert "Would be asked at once" in page.inner_text("#summary")
    page.close()


@pytest.mark.parametrize("page", [(OPERATORS, 360, "light")], indirect=True)
def test_the_same_by_keyboard_alone_on_a_phone(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/decisions")
    page.keyboard.press("/")
    page.keyboard.type("cus-deniz")
    page.keyboard.press("Enter")
    page.wait_for_url("**/customer?id=cus-deniz")
    assert "ticket 4711 is open" in page.inner_text("#summary")
    page.go_back()
    page.wait_for_url("**/decisions")
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    chosen = page.inner_text("tr[aria-current] [data-open]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/customer**#decision")
    assert page.inner_text("#customer-id") == chosen
    assert "Saw" in page.inner_text("#decision") or "saw" in page.inner_text("#decision")


def test_the_keys_are_listed_by_a_button_that_everybody_sees(page: Any, site: Site) -> None:
    page.goto(site.url)
    page.click("[data-help]")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    page.keyboard.press("?")
    assert page.is_visible("#keys")


def test_filters_are_in_the_address_and_back_restores_them(page: Any, browser: Any, site: Site) -> None:
    """D1."""
    page.goto(f"{site.url}/decisions")
    page.select_option("#outcome", "suppressed")
    page.select_option("#gate", "consent")
    page.click("form[aria-label=Filter] button")
    page.wait_for_url("**/decisions?*outcome=suppressed*")
    link, shown = page.url, page.inner_text("tbody")
    assert "cus-ida" in shown
    page.click("[data-open]")
    page.wait_for_url("**/customer**")
    page.go_back()
    page.wait_for_url("**/decisions?*")
    assert page.input_value("#outcome") == "suppressed"
    other = browser.new_context().new_page()
    other.goto(link)
    other.fill("#token", VIEWERS)
    other.keyboard.press("Enter")
    other.wait_for_url(link)
    assert other.inner_text("tbody") == shown
    other.context.close()


def test_a_pause_is_previewed_confirmed_and_written_once(page: Any, site: Site) -> None:
    """D7: nothing happens without a confirmation."""
    before = len(site.writer.written)
    page.goto(f"{site.url}/controls")
    page.select_option("#scope", "trigger:milestone")
    page.fill("#why-pause", "the mails look odd")
    page.click("text=Pause …")
    page.wait_for_url("**/controls/preview")
    assert "Pause the trigger milestone?" in page.inner_text("h1")
    assert len(site.writer.written) == before
    page.keyboard.press("Enter")  # the button has the focus
    page.wait_for_url("**/controls?done=*")
    assert "Written to the log: pause the trigger milestone" in page.inner_text("[role=status]")
    assert "the mails look odd" in page.inner_text("[aria-labelledby=audit]")
    assert site.writer.events()[-1]["data"]["name"] == "milestone"


def test_the_first_page_is_live_and_rests_while_it_is_hidden(page: Any, site: Site) -> None:
    """D7: what is paused does not fetch behind one's back; D9: live, then stopped, then search."""
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(site.url)
    page.wait_for_selector("text=cus-deniz")
    wait_until(lambda: _ticked(page, fetched), "a stream")

    def happens(customer: str, n: int) -> None:
        async def applied() -> None:
            async with Redis.from_url(site.redis.url) as client:
                world = Applying(client, prefix="site", now=WEDNESDAY_NOON)
                operations = world.projection.decisions([_projected(a_decision(customer, WEDNESDAY_NOON - 1_000))])
                await world.writer.apply(
                    "referral-decisions", 100 + n, None, 1, operations, {}, now=WEDNESDAY_NOON, real_now=WEDNESDAY_NOON
                )

        thread = threading.Thread(target=asyncio.run, args=(applied(),))  # Playwright's loop runs in this one
        thread.start()
        thread.join(30)

    happens("cus-just-now", 1)
    page.wait_for_selector("text=cus-just-now")
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert "paused while hidden" in page.inner_text("#live")
    count = len([url for url in fetched if "/stream/" in url])
    happens("cus-while-hidden", 2)
    page.wait_for_timeout(3_000)
    assert page.query_selector("text=cus-while-hidden") is None
    assert len([url for url in fetched if "/stream/" in url]) == count
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_selector("text=cus-while-hidden")
    page.fill("#find", "cus-ana")
    page.keyboard.press("Enter")
    page.wait_for_url("**/customer?id=cus-ana")


def test_the_first_page_is_live_also_where_a_script_is_slow_to_come(page: Any, site: Site) -> None:
    """And says so only then."""
    waiting: list[Any] = []
    page.route("**/hx-sse.min.js*", lambda route: waiting.append(route))  # noqa: PLW0108 (it sets an attribute on it)
    page.goto(site.url, wait_until="commit")
    wait_until(lambda: page.wait_for_timeout(50) or waiting, "the script is fetched")
    page.wait_for_selector("text=cus-deniz")
    page.wait_for_timeout(500)
    assert "as it was when loaded" in page.inner_text("#live")
    waiting[0].continue_()
    page.wait_for_selector("#live:has-text('live')")


def _ticked(page: Any, fetched: list[str]) -> bool:
    page.wait_for_timeout(50)
    return any("/stream/" in url for url in fetched)


def _projected(value: bytes) -> Any:
    from referral_stream.read_models.projecting import Projected

    return Projected(b"", value)


def test_copying_an_id_works_on_plain_http(page: Any, site: Site) -> None:
    """D5."""
    page.goto(f"{site.url}/customer?id=cus-deniz")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("[data-copy='#customer-id']")
    page.wait_for_selector("text=Copied")
    page.focus("#find")
    page.keyboard.press("Control+V")
    assert page.input_value("#find") == "cus-deniz"


def test_times_are_shown_in_the_readers_own_zone(page: Any, site: Site) -> None:
    """D9: the browser says which zone that is."""
    page.goto(f"{site.url}/customer?id=cus-deniz")
    page.click("button[value=mine]")
    page.wait_for_load_state()
    assert page.get_attribute("button[value=mine]", "aria-pressed") == "true"
    assert page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone") in page.inner_text(".head")
    page.click("button[value=customer]")


def test_a_page_is_painted_without_waiting_for_anything(page: Any, site: Site) -> None:
    """Measured by the browser: some 500 ms on a machine of its own. The bound is that of something that hangs."""
    page.goto(f"{site.url}/customer?id=cus-deniz")
    entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    wait_until(lambda: page.evaluate(entry) is not None, "the first paint")
    paint = page.evaluate(entry)
    assert paint < 5_000
