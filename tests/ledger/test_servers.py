"""Which addresses of Redis are understood, and that each of the others is refused with a sentence."""

from __future__ import annotations

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool

from referral_stream.ledger.servers import client_of, url_problem


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
