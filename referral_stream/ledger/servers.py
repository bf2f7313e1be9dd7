"""From ``REDIS_URL`` to a client.

=========================================================  ======================================================
``redis://[USER:PASSWORD@]HOST:PORT/DB``                   one server, or an address that leads to the master
``rediss://…``                                             the same over TLS
``unix://[USER:PASSWORD@]/PATH?db=DB``                     a socket on this machine
``redis+sentinel://[USER:PASSWORD@]HOST:PORT,…/NAME/DB``   whatever server Sentinel calls the master of ``NAME`` now
``rediss+sentinel://…``                                    the same, where the servers speak TLS; Sentinels do not
=========================================================  ======================================================

User and password are the servers'; the Sentinels themselves are asked without.
"""

from __future__ import annotations

from typing import Any, Final, cast
from urllib.parse import unquote

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

_SENTINEL: Final = {"redis+sentinel": False, "rediss+sentinel": True}
SENTINEL_PORT: Final = 26379


def url_problem(url: str) -> str | None:
    """Why this cannot be the address of a Redis, as a sentence; None if it can."""
    scheme, separator, _ = url.partition("://")
    if separator and scheme in _SENTINEL:
        try:
            _sentinels(url)
        except ValueError as problem:
            return str(problem)
        return None
    if separator and scheme in ("redis+cluster", "rediss+cluster"):
        return "a Redis Cluster is not supported: name a single master, or Sentinels with redis+sentinel://"
    if not (separator and scheme in ("redis", "rediss", "unix")):
        return "must begin with redis://, rediss:// (TLS), unix:// or redis+sentinel://, for example redis://127.0.0.1:6379/0"
    return None


def is_tls(url: str) -> bool:
    return url.startswith(("rediss://", "rediss+sentinel://"))


def client_of(url: str, **options: Any) -> Redis:
    """A client for the address; nothing is sent yet. ``options``: as redis-py's connections take them.

    Raises ValueError for what ``url_problem`` names.
    """
    if not url.startswith(("redis+sentinel://", "rediss+sentinel://")):
        return Redis.from_url(url, **options)
    addresses, name, login = _sentinels(url)
    timeouts = {key: value for key, value in options.items() if key.startswith("socket_")}
    sentinel = Sentinel(addresses, sentinel_kwargs={**timeouts, "decode_responses": True})  # type: ignore[no-untyped-call]
    return cast("Redis", sentinel.master_for(name, **login, ssl=is_tls(url), **options))


def _sentinels(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Where the Sentinels are, the master's name, and how to log in to it. Raises ValueError."""
    login: dict[str, Any] = {}
    credentials, _, rest = url.partition("://")[2].rpartition("@")
    if credentials:
        user, _, password = credentials.partition(":")
        login = {key: unquote(value) for key, value in (("username", user), ("password", password)) if value}
    hosts, _, path = rest.partition("/")
    name, _, database = path.partition("/")
    if not hosts or not name:
        raise ValueError("names no master: redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB")
    if not (database or "0").isdigit():
        raise ValueError("the database behind the master's name must be a number")
    addresses = []
    for each in hosts.split(","):
        host, colon, port = each.rpartition(":")
        if not colon:
            host, port = port, str(SENTINEL_PORT)
        if not host or not port.isdigit():
            raise ValueError("a Sentinel is HOST:PORT, several are separated by commas")
        addresses.append((host, int(port)))
    return addresses, unquote(name), {**login, "db": int(database or 0)}
