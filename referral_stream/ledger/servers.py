"""From ``REDIS_URL`` to a client.

=========================================================  ======================================================
``redis://[USER:PASSWORD@]HOST:PORT/DB``                   one server, or an address that leads to the master
``rediss://…``                                             the same over TLS
``unix://[USER:PASSWORD@]/PATH?db=DB``                     a socket on this machine
``redis+sentinel://[USER:PASSWORD@]HOST:PORT,…/NAME/DB``   whatever server Sentinel calls the master of ``NAME`` now
``rediss+sentinel://…``                                    the same, where the servers speak TLS; Sentinels do not
=========================================================  ======================================================

User and password are the servers'; the Sentinels themselves are asked without. Where the address comes from a file,
each new connection logs in with what the file has then: a password that was changed needs no restart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import unquote

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel
from redis.credentials import CredentialProvider

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


class _LoginNow(CredentialProvider):
    """User and password as an address has them whenever a connection is made."""

    def __init__(self, url_now: Callable[[], str]) -> None:
        self._url_now = url_now

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The arguments of AUTH; none where the address names neither, which redis-py's types do not know of."""
        login = _login(self._url_now())
        password = login.get("password", "")
        if "username" in login:
            return login["username"], password
        return cast("tuple[str]", (password,) if password else ())

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def client_of(url: str, *, url_now: Callable[[], str] | None = None, **options: Any) -> Redis:
    """A client for the address; nothing is sent yet. ``options``: as redis-py's connections take them.

    ``url_now``: the address as it is set now, whose user and password count then. Raises ValueError for what
    ``url_problem`` names.
    """
    if url_now is not None:
        options["credential_provider"] = _LoginNow(url_now)
        url = _without_login(url)
    if not url.startswith(("redis+sentinel://", "rediss+sentinel://")):
        return Redis.from_url(url, **options)
    addresses, name, login = _sentinels(url)
    timeouts = {key: value for key, value in options.items() if key.startswith("socket_")}
    sentinel = Sentinel(addresses, sentinel_kwargs={**timeouts, "decode_responses": True})  # type: ignore[no-untyped-call]
    return cast("Redis", sentinel.master_for(name, **login, ssl=is_tls(url), **options))


def _login(url: str) -> dict[str, str]:
    """``username`` and ``password``, as far as the address has them."""
    user, _, password = _credentials(url).partition(":")
    return {key: unquote(value) for key, value in (("username", user), ("password", password)) if value}


def _without_login(url: str) -> str:
    return url.replace(f"://{credentials}@", "://", 1) if (credentials := _credentials(url)) else url


def _credentials(url: str) -> str:
    """``USER:PASSWORD`` as it is written."""
    scheme, _, rest = url.partition("://")
    return (rest if scheme in _SENTINEL else re.split("[/?#]", rest, maxsplit=1)[0]).rpartition("@")[0]


def _sentinels(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Where the Sentinels are, the master's name, and how to log in to it. Raises ValueError."""
    login: dict[str, Any] = dict(_login(url))
    hosts, _, path = _without_login(url).partition("://")[2].partition("/")
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
