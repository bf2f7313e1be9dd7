"""Logging in at an OpenID provider: who comes in, as what, and what nobody gets by with."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient as Client
from httpx import Response
from redis.asyncio import Redis

from referral_stream.console.parts import Console
from referral_stream.console.serve import provider_of
from tests.console.conftest import HERE, browser, logged_in
from tests.console.world import VIEWERS, NotingWriter, console_over
from tests.services.redis import RedisServer

joserfc = pytest.importorskip("joserfc", reason="NOT TESTED at an OpenID provider: joserfc is not installed")
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: E402
from cryptography.hazmat.primitives.hashes import SHA256  # noqa: E402
from joserfc.jwk import OctKey, RSAKey  # noqa: E402 (only where it is installed)

from tests.console.openid import ADA, CLIENT, SECRET, OpenIdProvider, a_key, signed  # noqa: E402

Over = Callable[..., Console]


@pytest.fixture
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with OpenIdProvider().served() as found:
        yield found


@pytest.fixture
def over(
    redis_server: RedisServer, tmp_path: Path, prefix: str, week: str, provider: OpenIdProvider, writer: NotingWriter
) -> Over:
    """A console with this provider; two of them share their sessions."""

    def made(**settings: Any) -> Console:
        given = {
            "console_oidc_issuer": provider.issuer, "console_oidc_client_id": CLIENT,
            "console_oidc_client_secret": SECRET, "console_oidc_allowed": "@example.com", "console_public_url": HERE,
        }  # fmt: skip
        found = console_over(
            redis_server.url, tmp_path, prefix=prefix, models=week, writer=writer, **{**given, **settings}
        )
        return replace(found, provider=provider_of(found.settings))

    return made


@pytest.fixture
async def someone(over: Over) -> AsyncIterator[Client]:
    """A browser of somebody who has not logged in."""
    async with browser(over()) as client:
        yield client


async def sent_back(client: Client, start: str = "/login/oidc", cookies: bool = True) -> str:
    """Where the provider sends a browser that wants to log in; a browser without cookies forgets what it was given."""
    answer = await client.get(start)
    assert answer.status_code == 303, answer.text
    if not cookies:
        client.cookies.clear()
    async with Client() as at_provider:
        back = await at_provider.get(answer.headers["location"])
    assert back.status_code == 303, back.text
    return back.headers["location"].removeprefix(HERE)


async def logs_in(client: Client, start: str = "/login/oidc") -> Response:
    return await client.get(await sent_back(client, start))


async def who(client: Client) -> str:
    """The name and role that a page shows; empty for a stranger."""
    page = await client.get("/policy")
    return page.text.partition('<div class="who">')[2].partition("<span>")[2].partition("</span>")[0]


async def refused(client: Client, status: int = 403) -> str:
    """What somebody reads who logs in and does not come in."""
    answer = await logs_in(client)
    assert answer.status_code == status
    assert await who(client) == ""
    return answer.text.partition('role="alert">')[2].partition("<")[0]


# ------------------------------------------------------------------------------------------------------------ coming in


async def test_somebody_logs_in_at_the_provider_and_comes_to_the_page_they_wanted(someone: Client) -> None:
    asked = await someone.get("/customer?id=cus-deniz&gate=trouble")
    page = (await someone.get(asked.headers["location"])).text
    start = page.partition('href="/login/oidc')[2].partition('"')[0].replace("&amp;", "&")
    assert "Log in with 127.0.0.1" in page
    answer = await logs_in(someone, f"/login/oidc{start}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/customer?id=cus-deniz&gate=trouble")
    assert await who(someone) == "ada@example.com · viewer"
    assert someone.cookies.keys() == {"referral_stream_console"}


@pytest.mark.parametrize(
    ("settings", "role"),
    [
        ({"console_oidc_allowed": "@example.com"}, "viewer"),
        ({"console_oidc_allowed": "@EXAMPLE.com, kim@example.org"}, "viewer"),
        ({"console_oidc_allowed": "kim@example.org, ada@example.com"}, "viewer"),
        ({"console_oidc_allowed": "groups=growth"}, "viewer"),
        ({"console_oidc_allowed": "team=one"}, "viewer"),
        ({"console_operators": "ada@example.com"}, "operator"),
        ({"console_oidc_operators": "groups=on-call, groups=growth"}, "operator"),
        ({"console_oidc_operators": "groups=on-call"}, "viewer"),
        ({"console_operators": "Ada@example.com"}, "viewer"),
        ({"console_oidc_allowed": "@example.org"}, ""),
        ({"console_oidc_allowed": "@le.com"}, ""),
        ({"console_oidc_allowed": "groups=grow"}, ""),
        ({"console_oidc_allowed": "team=on"}, ""),
        ({"console_oidc_allowed": "kim@example.org", "console_operators": "ada@example.com"}, ""),
        ({"console_oidc_allowed": "groups=x", "console_oidc_operators": "groups=growth"}, ""),
    ],
)
async def test_the_settings_say_who_comes_in_and_as_what(
    over: Over, provider: OpenIdProvider, settings: dict[str, str], role: str
) -> None:
    provider.claims |= {"groups": ["growth", "everybody"], "team": "one"}
    async with browser(over(**settings)) as client:
        answer = await logs_in(client)
        assert answer.status_code == (303 if role else 403)
        assert await who(client) == (f"ada@example.com · {role}" if role else "")
        assert (await client.post("/controls/confirm", data={"word": "x"})).status_code in (401, 403)


async def test_an_operator_who_came_by_the_provider_may_write(over: Over, writer: NotingWriter) -> None:
    async with browser(over(console_operators="ada@example.com")) as client:
        await logs_in(client)
        page = (await client.get("/controls")).text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        body = {"verb": "pause", "scope": "all", "why": "an incident"}
        assert (await client.post("/api/controls", json=body)).status_code == 403, "without the form's token"
        assert (await client.post("/api/controls", json=body, headers={"X-CSRF-Token": csrf})).status_code == 202
    assert writer.events()[0]["data"]["by"] == "ada_example.com"  # as a key may be written


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes"])
async def test_an_address_that_is_not_verified_makes_nobody_an_operator(
    over: Over, provider: OpenIdProvider, verified: Any
) -> None:
    provider.claims["email_verified"] = verified
    async with browser(over(console_operators="ada@example.com", console_oidc_allowed="ada@example.com")) as client:
        assert "does not say that your e-mail address is verified" in await refused(client)


async def test_nor_does_its_domain_let_anybody_in_who_is_named_by_something_else(
    over: Over, provider: OpenIdProvider
) -> None:
    provider.claims |= {"email_verified": False, "preferred_username": "ada"}
    async with browser(over(console_oidc_name_claim="preferred_username")) as client:
        assert "does not let you in" in await refused(client)
        provider.claims["email_verified"] = True
        await logs_in(client)
        assert await who(client) == "ada · viewer"


@pytest.mark.parametrize(
    "name", ["groups=ops", "@example.com", "@ops", "", "  ", "a\nb", "a\u202eb", "x" * 129, 7, ["ops"], None]
)
async def test_a_name_that_somebody_chose_is_nothing_but_a_name(
    over: Over, provider: OpenIdProvider, name: Any
) -> None:
    """Names, domains and claims stand in one list, and none of them can be taken for another."""
    provider.claims |= {"preferred_username": name, "email": None}
    settings = {"console_oidc_allowed": "groups=ops, @example.com", "console_oidc_operators": "groups=ops"}
    async with browser(over(console_oidc_name_claim="preferred_username", **settings)) as client:
        await refused(client)


@pytest.mark.parametrize(
    "address", ["ada@evil.example@example.org", "ada@EXAMPLE.org", "ada@example.org.", "ada@example.com@"]
)
async def test_the_domain_is_what_follows_the_last_at(over: Over, provider: OpenIdProvider, address: str) -> None:
    provider.claims["email"] = address
    async with browser(over(console_oidc_allowed="@evil.example, @example.com")) as client:
        await refused(client)


async def test_a_domain_in_other_letters_is_not_the_one_it_looks_like(over: Over, provider: OpenIdProvider) -> None:
    provider.claims["email"] = "ada@\N{KELVIN SIGN}iwi.example"
    async with browser(over(console_oidc_allowed="@kiwi.example")) as client:
        await refused(client)


# ------------------------------------------------------------------------------------------------- what a session knows


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"console_operators": "ada@example.com"}, "ada@example.com · operator"),
        ({}, "ada@example.com · viewer"),
        ({"console_oidc_allowed": "@example.org", "console_operators": "ada@example.com"}, ""),
        ({"console_oidc_issuer": "https://login.example.com", "console_operators": "ada@example.com"}, ""),
        ({"console_oidc_client_id": "another"}, ""),
        ({"console_oidc_name_claim": "preferred_username"}, ""),
        (dict.fromkeys(("issuer", "client_id", "client_secret", "allowed")), ""),
    ],
    ids=["as before", "no operator", "not allowed", "another provider", "another client", "another name", "none"],
)
async def test_a_role_is_what_the_settings_say_now(over: Over, settings: dict[str, Any], left: str) -> None:
    """Also where a replica that was started anew finds a session from before."""
    before = over(console_operators="ada@example.com")
    if None in settings.values():
        names = {f"console_oidc_{name}" for name in settings}
        told = before.settings.model_dump(exclude_unset=True, exclude=names)
        after = replace(before, settings=type(before.settings).model_validate(told), provider=None)
    else:
        after = over(**settings)
    async with browser(before) as client:
        await logs_in(client)
        assert await who(client) == "ada@example.com · operator"
        client_cookies = dict(client.cookies)
    async with browser(after) as client:
        client.cookies.update(client_cookies)
        assert await who(client) == left


async def test_of_what_the_provider_says_only_what_matters_is_kept(
    over: Over, provider: OpenIdProvider, redis_server: RedisServer, prefix: str
) -> None:
    provider.claims |= {"groups": ["growth", "choir"], "phone_number": "+49 30 1234"}
    async with browser(over(console_oidc_allowed="groups=growth")) as client:
        await logs_in(client)
        cookie = client.cookies["referral_stream_console"]
    async with Redis.from_url(redis_server.url) as redis:
        keys = [key async for key in redis.scan_iter(f"{prefix}:console:*")]
        values: list[Any] = [await redis.get(key) or b"" for key in keys]
        lapses = [await redis.ttl(key) for key in keys]
    kept = b"".join([*keys, *values])
    assert b"groups=growth" in kept
    assert not any(each in kept for each in (b"choir", b"+49", b"Ada", cookie.encode(), SECRET.encode()))
    assert all(0 < each <= 12 * HOUR for each in lapses)


async def test_logging_out_ends_our_session_and_says_that_the_providers_goes_on(someone: Client) -> None:
    await logs_in(someone)
    cookies = dict(someone.cookies)
    csrf = (await someone.get("/policy")).text.partition('name="csrf" value="')[2].partition('"')[0]
    answer = await someone.post("/logout", data={"csrf": csrf})
    assert "not at 127.0.0.1" in (await someone.get(answer.headers["location"])).text
    someone.cookies.update(cookies)
    assert await who(someone) == ""


async def test_who_has_a_token_logs_in_beside_the_provider_and_leaves_without_a_word_of_it(someone: Client) -> None:
    await logged_in(someone, VIEWERS)
    assert await who(someone) == "vic · viewer"
    assert (await someone.post("/logout")).headers["location"] == "/login"


async def test_over_tls_both_cookies_are_for_this_host_alone(over: Over) -> None:
    console = over(console_public_url="https://console.example.com")
    async with browser(console, base_url="https://console.example.com") as client:
        answer = await client.get("/login/oidc")
        given = answer.headers["set-cookie"]
        async with Client() as at_provider:
            back = (await at_provider.get(answer.headers["location"])).headers["location"]
        assert back.startswith("https://console.example.com/login/oidc/return?")
        cookies = [given, *(await client.get(back)).headers.get_list("set-cookie")]
    assert len(cookies) == 3
    assert all(each.startswith("__Host-referral_stream_console") for each in cookies)
    assert all({"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(each.split("; ")) for each in cookies[:2])
    assert cookies[2].startswith("__Host-referral_stream_console_login=") or "Max-Age=0" in cookies[2]


# ------------------------------------------------------------------------------------------------------------ the state


async def test_a_state_counts_once(someone: Client) -> None:
    back = await sent_back(someone)
    cookies = dict(someone.cookies)
    assert (await someone.get(back)).status_code == 303
    someone.cookies.clear()
    someone.cookies.update(cookies)
    answer = await someone.get(back)
    assert answer.status_code == 403
    assert "Begin again" in answer.text


async def test_of_two_who_bring_a_state_at_the_same_time_one_comes_in(someone: Client) -> None:
    back = await sent_back(someone)
    answers = await asyncio.gather(*(someone.get(back) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [303, 403, 403, 403]


@pytest.mark.parametrize("state", ["state=made-up", "state=", "", "state=%ff%fe", "state=" + "x" * 4_000])
async def test_a_state_that_was_not_given_here_is_refused(
    someone: Client, provider: OpenIdProvider, state: str
) -> None:
    code = (await sent_back(someone)).partition("code=")[2].partition("&")[0]
    answer = await someone.get(f"/login/oidc/return?code={code}&{state}")
    assert answer.status_code == 403
    assert provider.asked["/token"] == 0


async def test_the_state_of_another_browser_is_refused(someone: Client, over: Over, provider: OpenIdProvider) -> None:
    """Somebody sends a link that would log others in as them: also others who have begun a login of their own."""
    back = await sent_back(someone)
    async with browser(over()) as other:
        assert (await other.get(back)).status_code == 403
        await other.get("/login/oidc")
        assert (await other.get(back)).status_code == 403
        assert await who(other) == ""
    assert provider.asked["/token"] == 0
    assert (await someone.get(back)).status_code == 303, "and it is still good where it was given"


async def test_a_code_that_was_given_to_another_login_is_worth_nothing(someone: Client, over: Over) -> None:
    """PKCE: whoever reads a code on its way cannot use it under a state of their own."""
    stolen = (await sent_back(someone)).partition("code=")[2].partition("&")[0]
    async with browser(over()) as thief:
        own = await sent_back(thief)
        mixed = own.replace(own.partition("code=")[2].partition("&")[0], stolen)
        assert (await thief.get(mixed)).status_code == 403
        assert await who(thief) == ""


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/a%0ab", "//[", ""]
)
async def test_nobody_is_sent_on_to_another_site(someone: Client, onward: str) -> None:
    assert (await logs_in(someone, f"/login/oidc?next={onward}")).headers["location"] == "/"
    page = await someone.get(f"/login?next={onward}")
    assert 'href="/login/oidc"' in page.text


async def test_after_ten_logins_a_minute_the_provider_is_not_asked(someone: Client) -> None:
    for _ in range(10):
        assert (await someone.get("/login/oidc")).status_code == 303
    assert (await someone.get("/login/oidc")).status_code == 429
    for _ in range(10):
        assert (await someone.get("/login/oidc/return?state=x&code=y")).status_code == 403
    assert (await someone.get("/login/oidc/return?state=x&code=y")).status_code == 429
    await logged_in(someone, VIEWERS)


# ------------------------------------------------------------------------------------------------------------ the token


def _by_hand(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """What no careful library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


def _none(claims: dict[str, Any]) -> str:
    return _by_hand({"alg": "none", "kid": "first"}, claims, lambda _: b"")


def _with_public_key(claims: dict[str, Any]) -> str:
    public = a_key("first").as_pem(private=False)
    return _by_hand({"alg": "HS256", "kid": "first"}, claims, lambda data: hmac.digest(public, data, "sha256"))


def _with_our_secret(claims: dict[str, Any]) -> str:
    return _by_hand({"alg": "HS256", "kid": "first"}, claims, lambda data: hmac.digest(SECRET.encode(), data, "sha256"))


def _with_a_condition(claims: dict[str, Any], *, critical: bool = True) -> str:
    """Signed, but under a condition of which we know nothing; it may be passed over unless it is critical."""

    def sign(data: bytes) -> bytes:
        private = a_key("first").private_key
        assert private is not None
        r, s = decode_dss_signature(private.sign(data, ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    header = {"alg": "ES256", "kid": "first", "condition": "x"}
    return _by_hand({**header, "crit": ["condition"]} if critical else header, claims, sign)


def _by_another(claims: dict[str, Any]) -> str:
    return signed(claims, a_key("second"), kid="first")


def _with_its_own_key(claims: dict[str, Any]) -> str:
    """The header brings the key to verify it with."""
    public: Any = a_key("second").as_dict(private=False)
    return signed(claims, a_key("second"), jwk=public, kid="first")


def _changed(claims: dict[str, Any]) -> str:
    head, _, end = signed(claims).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "email": "eve@example.com"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{end}"


@pytest.mark.parametrize(
    "sign",
    [
        _none, _with_public_key, _with_our_secret, _by_another, _with_its_own_key, _changed,
        _with_a_condition, lambda claims: signed(claims, a_key("second")),
        lambda claims: signed(claims).rpartition(".")[0] + ".", lambda _: "", lambda _: "a.b.c", lambda _: "{}",
    ],
    ids=[
        "no signature", "the public key as a secret", "our secret", "another key", "a key it brings", "changed",
        "crit", "an unknown key", "an empty signature", "nothing", "no token", "no JWT",
    ],
)  # fmt: skip
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    someone: Client, provider: OpenIdProvider, sign: Callable[[dict[str, Any]], str]
) -> None:
    provider.sign = sign
    assert "could not be verified" in await refused(someone)


LONG_AGO, FAR_AHEAD, HOUR = 1_000_000_000, 4_000_000_000, 3_600


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another login"}, {"nonce": None}, {"nonce": ""}, {"nonce": ["x"]},
        {"aud": "another-client"}, {"aud": None}, {"aud": []}, {"aud": ["another-client"]}, {"aud": {"x": CLIENT}},
        {"aud": [CLIENT, "another-client"]}, {"aud": [CLIENT, "another-client"], "azp": "another-client"},
        {"azp": "another-client"}, {"aud": f"{CLIENT}x"},
        {"iss": "https://login.example.com"}, {"iss": None}, {"iss": ""},
        {"exp": LONG_AGO}, {"exp": None}, {"exp": "tomorrow"}, {"exp": True},
        {"iat": FAR_AHEAD}, {"iat": None}, {"nbf": FAR_AHEAD}, {"sub": None}, {"sub": 7},
    ],
    ids=str,
)  # fmt: skip
async def test_a_token_that_is_not_for_us_for_now_and_for_this_login_is_refused(
    someone: Client, provider: OpenIdProvider, claims: dict[str, Any]
) -> None:
    provider.claims |= claims
    assert "could not be verified" in await refused(someone)


@pytest.mark.parametrize("claims", [{"aud": [CLIENT]}, {"aud": [CLIENT, "another"], "azp": CLIENT}, {"azp": CLIENT}])
async def test_a_token_for_several_is_taken_if_it_was_made_for_us(
    someone: Client, provider: OpenIdProvider, claims: dict[str, Any]
) -> None:
    provider.claims |= claims
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


async def test_headers_that_are_not_known_are_passed_over(someone: Client, provider: OpenIdProvider) -> None:
    provider.sign = lambda claims: _with_a_condition(claims, critical=False)
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


async def test_a_token_may_be_signed_with_rsa(someone: Client, provider: OpenIdProvider) -> None:
    key = RSAKey.generate_key(2_048, {"kid": "rsa"})
    provider.keys, provider.sign = [key], lambda claims: signed(claims, key, alg="RS256")
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


# ------------------------------------------------------------------------------------------------------------- the keys


async def test_a_new_key_is_fetched_when_it_is_used(someone: Client, provider: OpenIdProvider) -> None:
    await logs_in(someone)
    provider.keys, provider.sign = [a_key("second")], lambda claims: signed(claims, a_key("second"))
    someone.cookies.clear()
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"
    provider.sign = signed
    someone.cookies.clear()
    await refused(someone)  # the old key is gone
    assert provider.asked["/keys"] == 2


async def test_unknown_keys_make_us_ask_once_a_minute(over: Over, provider: OpenIdProvider) -> None:
    from referral_stream.console.provider import Provider

    times = [1_000.0]
    console = over()
    console = replace(console, provider=Provider(console.settings, now=lambda: times[0]))
    provider.sign = lambda claims: signed(claims, a_key("unknown"))
    async with browser(console) as client:
        for passed, asked in ((0, 2), (59, 2), (2, 3), (10, 3)):
            times[0] += passed
            await refused(client)
            assert provider.asked["/keys"] == asked
        times[0] += HOUR
        await refused(client)
        assert provider.asked["/.well-known/openid-configuration"] == 2, "what it says of itself is kept for an hour"


async def test_keys_that_do_not_sign_are_passed_over(someone: Client, provider: OpenIdProvider) -> None:
    secret = OctKey.import_key(SECRET).as_dict()
    provider.published = [
        {"kty": "AKP", "kid": "first", "alg": "ML-DSA-65", "pub": "x"}, {**secret, "kid": "first"}, {"kid": "first"},
        {"kty": "RSA", "kid": "first", "n": "!", "e": 7},
        {**a_key("second").as_dict(private=False), "kid": "first", "use": "enc"},
    ]  # fmt: skip
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


# ------------------------------------------------------------------------------------------------------ what it answers


async def test_while_the_provider_is_away_a_page_says_so_and_tokens_open_the_console(
    someone: Client, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.away = frozenset({"/.well-known/openid-configuration"})
    answer = await someone.get("/login/oidc?next=/works")
    assert answer.status_code == 503
    assert "cannot be used now" in answer.text
    assert 'value="/works"' in answer.text
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["login_provider_away"]
    await logged_in(someone, VIEWERS)
    provider.away = frozenset()
    someone.cookies.clear()
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


async def test_the_start_says_so_before_somebody_wants_to_come_in(
    over: Over, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    found = over().provider
    assert found is not None
    provider.away = frozenset({"/keys"})
    await found.look()
    provider.away = frozenset()
    await found.look()
    warned = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert [(each["msg"], each["cause"]) for each in warned] == [("login_provider_away", "it answers 502 to /keys")]


@pytest.mark.parametrize("path", ["/token", "/keys"])
async def test_the_provider_may_go_away_on_the_way(someone: Client, provider: OpenIdProvider, path: str) -> None:
    provider.away = frozenset({path})
    assert "cannot be used now" in await refused(someone, 503)


async def test_where_nobody_listens_it_is_the_same(over: Over) -> None:
    async with browser(over(console_oidc_issuer="http://127.0.0.1:1")) as client:
        assert (await client.get("/login/oidc")).status_code == 503


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://login.example.com"}, {"issuer": None}, {"jwks_uri": "http://evil.example/keys"},
        {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": 7}, {"userinfo_endpoint": "http://evil.example/"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_provider_that_says_something_odd_of_itself_is_not_used(
    someone: Client, provider: OpenIdProvider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    assert (await someone.get("/login/oidc")).status_code == 503


async def test_a_redirect_of_the_provider_is_not_followed(someone: Client, provider: OpenIdProvider) -> None:
    provider.discovery = {"jwks_uri": f"{provider.issuer}/authorize?redirect_uri=/keys"}
    assert "verified" not in await refused(someone, 503)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("access_denied", 403, "did not let you in"),
        ("<script>alert(1)</script>", 403, "did not log you in"),
        ("temporarily_unavailable", 503, "cannot be used now"),
    ],
)
async def test_an_error_of_the_provider_is_told_in_words_of_our_own(
    someone: Client, provider: OpenIdProvider, error: str, status: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    provider.error = error
    assert said in await refused(someone, status)
    ours = [vars(record) for record in caplog.records if record.name.startswith("referral_stream")]
    assert ours
    assert "script>" not in str(ours)


async def test_a_secret_that_the_provider_does_not_take_is_a_fault_of_ours(
    over: Over, caplog: pytest.LogCaptureFixture
) -> None:
    async with browser(over(console_oidc_client_secret="another")) as client:
        assert "cannot be used now" in await refused(client, 503)
    assert "invalid_client" in str([vars(record) for record in caplog.records])


async def test_the_secret_goes_where_the_provider_takes_it(someone: Client, provider: OpenIdProvider) -> None:
    provider.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await logs_in(someone)
    assert await who(someone) == "ada@example.com · viewer"


@pytest.mark.parametrize(("issuer", "status"), [("&iss={}", 303), ("&iss=https%3A%2F%2Fevil.example", 403), ("", 403)])
async def test_who_names_an_issuer_on_the_way_back_has_to_name_ours(
    someone: Client, provider: OpenIdProvider, issuer: str, status: int
) -> None:
    provider.discovery = {"authorization_response_iss_parameter_supported": True}
    back = await sent_back(someone)
    assert (await someone.get(back + issuer.format(provider.issuer))).status_code == status


@pytest.mark.parametrize(
    ("token", "userinfo", "name"),
    [
        ({"email": None, "email_verified": None}, ADA, "ada@example.com"),
        ({"email_verified": None}, ADA, "ada@example.com"),
        ({"email": None, "email_verified": None}, {**ADA, "sub": "another"}, ""),
        ({"email": None, "email_verified": None}, {**ADA, "email_verified": False}, ""),
        ({"email": "eve@example.com", "email_verified": None}, ADA, ""),
        ({"email": None}, {**ADA, "email_verified": False}, ""),
        ({"email_verified": False}, ADA, ""),
        ({"email": None, "email_verified": None}, None, ""),
    ],
)
async def test_what_the_token_does_not_say_the_provider_is_asked_for(
    someone: Client, provider: OpenIdProvider, token: dict[str, Any], userinfo: dict[str, Any] | None, name: str
) -> None:
    """An address is verified only if that is said of this very address."""
    provider.claims |= token
    provider.userinfo = userinfo
    await logs_in(someone)
    assert await who(someone) == (f"{name} · viewer" if name else "")


async def test_no_log_says_who_came_or_was_refused(
    over: Over, provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="referral_stream")
    async with browser(over()) as client:
        await logs_in(client)
        client.cookies.clear()
        provider.claims["email"] = "eve@example.org"
        await refused(client)
        provider.claims["email_verified"] = False
        await refused(client)
    logged = str([vars(record) for record in caplog.records if record.name.startswith("referral_stream")])
    assert logged.count("login_refused") >= 2
    assert not any(each in logged for each in ("ada@", "eve@", "example.org", "248289761001", "code="))


# ----------------------------------------------------------------------------------------------------------- without it


async def test_without_a_provider_there_is_no_way_to_one(stranger: Client) -> None:
    assert (await stranger.get("/login/oidc")).status_code == 404
    assert (await stranger.get("/login/oidc/return?state=x&code=y")).status_code == 404
    assert "/login/oidc" not in (await stranger.get("/login")).text


async def test_without_a_tokens_file_the_provider_is_the_only_way(over: Over) -> None:
    async with browser(over(console_tokens_file=None)) as client:
        page = (await client.get("/login")).text
        assert "/login/oidc" in page
        assert "<form" not in page


def test_without_a_provider_nothing_is_loaded_for_one() -> None:
    program = "import sys, referral_stream.console.serve; print('joserfc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
