"""Which addresses of Redis are understood, and that each of the others is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import AuthenticationError

from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable, RedisLedger
from referral_stream.ledger.redis_answers import LoginWatch
from referral_stream.ledger.servers import client_of, url_problem
from tests.ledger.builders import a_request, answer, history
from tests.services.redis import RedisServer


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://:secret@redis.example:6380/1",
        "unix:///run/redis.sock",
        "redis+sentinel://one:26379,two/mymaster",
        "rediss+sentinel://us%3Aer:se%40cret@one:26379/mymaster/2",
    ],
)
def test_an_address_that_is_understood(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with redis://"),
        ("http://127.0.0.1", "must begin with redis://"),
        ("redis", "must begin with redis://"),
        ("redis+cluster://one:6379", "not supported"),
        ("redis+sentinel://one:26379", "names no master"),
        ("redis+sentinel:///mymaster", "names no master"),
        ("redis+sentinel://one:port/mymaster", "HOST:PORT"),
        ("redis+sentinel://one:1/mymaster/zero", "number"),
    ],
)
def test_an_address_that_is_refused_with_a_sentence(url: str, says: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert says in problem


async def test_sentinels_are_asked_for_the_master_and_the_login_is_the_masters() -> None:
    client = client_of("rediss+sentinel://us%3Aer:se%40cret@one:26380,two/my%20master/2", socket_timeout=1.0)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [("one", 26380), ("two", 26379)]
    assert not any("password" in each and each["password"] for each in sentinels)
    assert pool.service_name == "my master"
    kwargs = pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("us:er", "se@cret", 2)
    await client.aclose()


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("redis://127.0.0.1:6379/0", ()),
        ("redis://us%3Aer:se%40cret@127.0.0.1/1", ("us:er", "se@cret")),
        ("rediss://:secret@redis.example:6380/1", ("secret",)),
        ("unix://:secret@/run/redis.sock?db=1", ("secret",)),
        ("unix:///run/a@b.sock", ()),
        ("redis+sentinel://us%3Aer:se%40cret@one:26379/mymaster/2", ("us:er", "se@cret")),
        ("redis+sentinel://one:26379/mymaster/2", ()),
    ],
)
async def test_each_connection_logs_in_with_what_the_address_says_then(url: str, login: tuple[str, ...]) -> None:
    held = client_of(url).connection_pool
    pool = client_of(url, url_now=lambda: url).connection_pool
    options: dict[str, Any] = dict(pool.connection_kwargs)
    assert options.pop("credential_provider").get_credentials() == login
    where = ("host", "port", "path", "db", "service_name")
    assert {name: options.get(name) for name in where} == {name: held.connection_kwargs.get(name) for name in where}
    assert not {"username", "password"} & set(options)


@pytest.mark.parametrize("before", ["", "old"], ids=["without a password before", "with another one"])
async def test_a_password_that_is_changed_in_its_file_needs_no_restart(own_server: RedisServer, before: str) -> None:
    """Whichever comes first: until both are changed it is refused, and afterwards answered."""
    login, url = LoginWatch(), own_server.url.replace("redis://", f"redis://:{before}@" if before else "redis://")
    said = [url]
    async with Redis.from_url(own_server.url) as admin:
        await admin.config_set("requirepass", before)
        async with RedisLedger.connect(url, Policy(), timeout_seconds=10, url_now=lambda: said[-1]) as ledger:
            assert await ledger.rebuild(history())
            await admin.config_set("requirepass", "new")
            await ledger._client.connection_pool.disconnect()  # as a failover, or a restart
            for _ in range(2):
                with pytest.raises(LedgerUnavailable, match=r"^(WRONGPASS|NOAUTH): .* is read again") as refused:
                    await answer(ledger, a_request())
                login.note(refused.value.__cause__)
                assert login.refused

            said.append(own_server.url.replace("redis://", "redis://:new@"))
            assert await answer(ledger, a_request())
            login.note(None)
            assert (login.refused, login.refused_seconds) == (False, 0)
        await admin.config_set("requirepass", "")


@pytest.mark.parametrize("error", [None, TimeoutError(), ConnectionError("refused"), AuthenticationError("no")])
def test_only_a_refused_login_is_one(error: Exception | None) -> None:
    login = LoginWatch()
    login.note(AuthenticationError("WRONGPASS"))
    login.note(error)
    assert login.refused == isinstance(error, AuthenticationError)
