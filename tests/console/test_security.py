"""Who comes in, what they may do, and what another site cannot make their browser do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from httpx import AsyncClient as Client
from litestar.routes import HTTPRoute
from redis.asyncio import Redis

from referral_stream.console.app import make_app
from referral_stream.console.parts import Console
from referral_stream.console.security import OPEN, POLICY, Tokens, operators_only
from referral_stream.runtime.settings import SettingsProblem
from tests.console.conftest import HERE, browser, logged_in
from tests.console.world import OPERATORS, VIEWERS, NotingWriter, console_over, tokens_file
from tests.services.redis import RedisServer

PAGES = ("/", "/decisions", "/customer?id=cus-deniz", "/works", "/policy", "/controls", "/dead-letters")
CHANGES = ("/controls/preview", "/controls/confirm", "/api/controls")
"""What changes something: for operators alone."""
BEARER = {"Authorization": f"Bearer {OPERATORS}"}


def test_every_route_is_for_visitors_but_for_those_that_are_meant_for_all(console: Console) -> None:
    app = make_app(console)
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    open_to_all = {route.path for route in routes for handler in route.route_handlers if handler.opt.get(OPEN)}
    assert open_to_all == {"/login", "/login/oidc", "/login/oidc/return", "/live", "/ready", "/static/{file_path:path}"}


def test_every_route_that_changes_something_is_guarded(console: Console) -> None:
    app = make_app(console)
    harmless = {"/login", "/logout", "/zone", "/policy"}
    changing = {
        route.path: operators_only in (handler.guards or ())
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.http_methods & {"POST", "PUT", "PATCH", "DELETE"} and route.path not in harmless
    }
    assert changing == dict.fromkeys(CHANGES, True)


@pytest.mark.parametrize("path", CHANGES)
async def test_a_viewer_is_refused_by_every_control(viewer: Client, writer: NotingWriter, path: str) -> None:
    """D3: refused, not only hidden."""
    body = {"verb": "pause", "scope": "all", "why": "for fun", "word": "x"}
    sent = {"json": body} if path.startswith("/api/") else {"data": body}
    assert (await viewer.post(path, **sent)).status_code == 403  # type: ignore[arg-type]
    assert writer.written == []


async def test_a_viewer_is_told_so(viewer: Client) -> None:
    """D8."""
    page = (await viewer.get("/controls")).text
    assert "You are a viewer" in page
    assert "/controls/preview" not in page


@pytest.mark.parametrize("path", PAGES)
async def test_a_stranger_is_asked_to_log_in_and_comes_back_to_the_page(stranger: Client, path: str) -> None:
    answer = await stranger.get(path)
    assert answer.status_code == 303
    login = await stranger.get(answer.headers["location"])
    onward = login.text.partition('name="next" value="')[2].partition('"')[0].replace("&amp;", "&")
    answer = await stranger.post("/login", data={"token": VIEWERS, "next": onward})
    assert answer.headers["location"] == path


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/a\nb", "//["]
)
async def test_nobody_is_sent_on_to_another_site(stranger: Client, onward: str) -> None:
    answer = await stranger.post("/login", data={"token": VIEWERS, "next": onward})
    assert answer.headers["location"] == "/"


async def test_a_strangers_program_gets_401_and_a_wrong_token_no_page(stranger: Client) -> None:
    answer = await stranger.get("/api/now")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await stranger.get("/api/now", headers={"Authorization": "Bearer nonsense"})).status_code == 401
    assert (await stranger.get("/api/now", headers=BEARER)).status_code == 200


async def test_after_ten_attempts_a_minute_no_token_is_looked_at(stranger: Client) -> None:
    for _ in range(10):
        assert (await stranger.post("/login", data={"token": "wrong"})).status_code == 403
    assert (await stranger.post("/login", data={"token": OPERATORS})).status_code == 429


async def test_a_session_ends_with_the_logout_and_the_old_cookie_opens_nothing(operator: Client) -> None:
    cookies = dict(operator.cookies)
    assert (await operator.post("/logout")).status_code == 303
    operator.cookies.update(cookies)
    assert (await operator.get("/")).status_code == 303


async def test_a_session_ends_when_its_token_is_taken_from_the_file(operator: Client, console: Console) -> None:
    file = console.settings.console_tokens_file
    assert file is not None
    file.write_text("", encoding="utf-8")
    assert (await operator.get("/")).status_code == 303


async def test_a_role_is_that_of_the_file_now(operator: Client, console: Console) -> None:
    file = console.settings.console_tokens_file
    assert file is not None
    file.write_text(file.read_text(encoding="utf-8").replace("operator", "viewer"), encoding="utf-8")
    assert (await operator.post("/controls/confirm", data={"word": "x"})).status_code == 403


async def test_the_id_of_a_session_is_made_here_and_kept_as_a_digest(
    stranger: Client, redis_server: RedisServer, prefix: str, console: Console
) -> None:
    name = console.door.cookie
    stranger.cookies.set(name, "chosen-by-somebody-else")
    answer = await stranger.post("/login", data={"token": OPERATORS})
    made = answer.cookies[name]
    assert made != "chosen-by-somebody-else"
    async with Redis.from_url(redis_server.url) as client:
        keys = [key async for key in client.scan_iter(f"{prefix}:console*")]
        values = [value for key in keys if await client.type(key) == b"string" and (value := await client.get(key))]
    assert keys
    assert all(made.encode() not in each and OPERATORS.encode() not in each for each in [*keys, *values])


async def test_the_cookie_is_not_for_scripts_nor_for_other_sites(stranger: Client) -> None:
    cookie = (await stranger.post("/login", data={"token": OPERATORS})).headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}


async def test_over_tls_the_cookie_is_for_this_host_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    console = console_over(redis_server.url, tmp_path, prefix="tls", console_public_url="https://console.example.com")
    async with browser(console, base_url="https://console.example.com") as client:
        cookie = (await client.post("/login", data={"token": OPERATORS})).headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": HERE}, 200),
        ({}, 200),
    ],
)
async def test_a_form_of_another_site_is_refused(operator: Client, headers: dict[str, str], status: int) -> None:
    data = {"verb": "pause", "scope": "all", "why": "an incident"}
    assert (await operator.post("/controls/preview", data=data, headers=headers)).status_code == status


async def test_a_form_without_the_sessions_token_is_refused(operator: Client) -> None:
    del operator.headers["X-CSRF-Token"]
    data = {"verb": "pause", "scope": "all", "why": "an incident"}
    assert (await operator.post("/controls/preview", data=data)).status_code == 403
    assert (await operator.post("/controls/preview", data={**data, "csrf": "another"})).status_code == 403
    assert (await operator.post("/api/controls", json={"verb": "pause", "scope": "all", "why": "x"})).status_code == 403


async def test_a_form_of_another_site_cannot_log_anybody_in(stranger: Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert (await stranger.post("/login", data={"token": VIEWERS}, headers=headers)).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "", "[::1"])
async def test_a_name_that_is_not_ours_is_refused(stranger: Client, host: str) -> None:
    """DNS rebinding: somebody else's page whose name leads here."""
    answer = await stranger.get("/api/now", headers={**BEARER, "Host": host})
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1", "[::1]:8090"])
async def test_the_names_of_this_machine_are_ours(stranger: Client, host: str) -> None:
    assert (await stranger.get("/api/now", headers={**BEARER, "Host": host})).status_code == 200


@pytest.mark.parametrize(
    "path", [*PAGES, "/login", "/nowhere", "/api/now", "/static/console.css", "/api/schema/openapi.json"]
)
async def test_every_answer_says_what_a_browser_may_do_with_it(operator: Client, path: str) -> None:
    headers = (await operator.get(path)).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert ("no-store" in headers["cache-control"]) is not path.startswith("/static/")
    assert "server" not in headers


# ------------------------------------------------------------------------------------------------- the word of a proxy


@pytest.fixture
def behind_proxy(redis_server: RedisServer, tmp_path: Path, prefix: str, writer: NotingWriter) -> Console:
    return console_over(
        redis_server.url, tmp_path, prefix=prefix, writer=writer, console_trusted_proxies="10.1.0.0/16",
        console_operators="ada@example.com, kim@example.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "user", "status"),
    [
        ("10.1.2.3", "ada@example.com", 200),
        ("10.1.2.3", "", 401),
        ("10.2.0.1", "ada@example.com", 401),
        ("not-an-address", "ada@example.com", 401),
    ],
)
async def test_the_word_of_a_proxy_counts_from_where_it_is_trusted(
    behind_proxy: Console, address: str, user: str, status: int
) -> None:
    async with browser(behind_proxy, address=address) as client:
        assert (await client.get("/api/now", headers={"X-Forwarded-User": user})).status_code == status


@pytest.mark.parametrize(("user", "status"), [("ada@example.com", 202), ("vic@example.com", 403)])
async def test_whom_a_proxy_names_is_an_operator_only_if_the_settings_say_so(
    behind_proxy: Console, user: str, status: int
) -> None:
    async with browser(behind_proxy, address="10.1.2.3") as client:
        client.headers["X-Forwarded-User"] = user
        page = (await client.get("/policy")).text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        body = {"verb": "pause", "scope": "all", "why": "an incident"}
        assert (await client.post("/api/controls", json=body)).status_code == 403
        answer = await client.post("/api/controls", json=body, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == status


# ------------------------------------------------------------------------------------------------------ the tokens file


@pytest.mark.parametrize(
    "line", ["ada", "ada operator", "ada admin " + "0" * 64, "ada operator " + "0" * 63, "ada operator " + OPERATORS]
)
def test_a_tokens_file_with_a_mistake_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    file = tokens_file(tmp_path)
    file.write_text(f"# ours\n\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsProblem, match=r"CONSOLE_TOKENS_FILE: .*:3: "):
        Tokens(file)


def test_a_tokens_file_that_breaks_while_running_lets_nobody_in(tmp_path: Path) -> None:
    file = tokens_file(tmp_path)
    tokens = Tokens(file)
    assert tokens.of(OPERATORS) is not None
    file.write_text("nonsense\n", encoding="utf-8")
    assert tokens.of(OPERATORS) is None


def test_a_tokens_file_that_could_not_be_read_for_a_moment_counts_again(tmp_path: Path) -> None:
    file = tokens_file(tmp_path)
    tokens = Tokens(file)
    away = file.rename(tmp_path / "away")
    assert tokens.of(OPERATORS) is None
    away.rename(file)  # as it was: neither its time nor its size has changed
    assert tokens.of(OPERATORS) is not None


async def test_of_two_names_from_a_proxy_neither_counts(behind_proxy: Console) -> None:
    """One of them may be the visitor's own, where a proxy adds a header and removes none."""
    async with browser(behind_proxy, address="10.1.2.3") as client:
        names = [("X-Forwarded-User", "kim@example.com"), ("X-Forwarded-User", "ada@example.com")]
        assert (await client.get("/api/now", headers=names)).status_code == 401


async def test_attempts_behind_a_proxy_are_those_of_the_address_that_it_adds(behind_proxy: Console) -> None:
    async with browser(behind_proxy, address="10.1.2.3") as client:
        found = []
        for attempt in range(11):
            told = [("X-Forwarded-For", f"192.0.2.{attempt}"), ("X-Forwarded-For", "203.0.113.7")]
            found.append((await client.post("/login", data={"token": "guessed"}, headers=told)).status_code)
    assert found[-1] == 429


async def test_two_first_requests_of_whom_a_proxy_names_get_the_same_forms(behind_proxy: Console) -> None:
    found = await asyncio.gather(*(behind_proxy.sessions.csrf_of("ada@example.com") for _ in range(8)))
    assert len(set(found)) == 1
    assert found[0]


async def test_two_replicas_share_sessions(console: Console, redis_server: RedisServer, tmp_path: Path) -> None:
    """D2: whichever replica answers, it knows the session and shows the same."""
    other = console_over(redis_server.url, tmp_path, prefix=console.settings.group_prefix, models="console-week")
    async with browser(console) as one, browser(other, fresh=True) as two:
        await logged_in(one, VIEWERS)
        two.cookies.update(dict(one.cookies))
        for path in ("/decisions", "/controls", "/works"):
            pages = [(await client.get(path)).text for client in (one, two)]
            assert pages[0] == pages[1]
