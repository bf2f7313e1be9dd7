"""What may be set as the address of a server: of Kafka, of Redis, of our own pages. Nothing here quotes a password."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LAST_PORT: Final = 65_535
REDIS_FORM: Final = (
    "is not of the form redis://USER:PASSWORD@HOST:PORT/NUMBER; "
    "in user and password, write / ? # @ % as %2F %3F %23 %40 %25"
)
_REDIS_OPTIONS: Final = {"db": re.compile(r"[0-9]{1,9}")}
_REDIS_TLS_OPTIONS: Final = {
    "ssl_cert_reqs": re.compile(r"none|optional|required"),
    "ssl_check_hostname": re.compile(r"(?i)true|false|yes|no|1|0"),
}
"""What may follow a ``?``. Anything else would override what the ledger depends on, or fail at the first call."""


def has_port(brokers: tuple[str, ...]) -> tuple[str, ...]:
    for broker in brokers:
        host, _, port = broker.rpartition(":")
        is_host = _is_address(host[1:-1]) if host.startswith("[") and host.endswith("]") else _HOST.match(host)
        if not is_host or not _PORT.fullmatch(port) or not 1 <= int(port) <= _LAST_PORT:
            raise ValueError(f"{broker!r} is not host:port, for example kafka-1.example.com:9092")
    return brokers


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself: what is sent there is seen by nobody else."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_listened_on(host: str) -> str:
    if not (_HOST.match(host) or _is_address(host)):
        raise ValueError("is not an address or the name of a host, for example 127.0.0.1 or 0.0.0.0")
    return host


def is_redis_url(url: str) -> bool:
    """Whether the ledger can use a URL. What is wrong with it is not quoted: it may be a part of the password."""
    try:
        parts = urlsplit(url)
        port, options = parts.port, parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    known = _REDIS_OPTIONS | (_REDIS_TLS_OPTIONS if parts.scheme == "rediss" else {})
    if parts.fragment or not all(name in known and known[name].fullmatch(value) for name, value in options):
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    host = parts.hostname or ""
    is_host = not host or bool(_HOST.match(host)) or _is_address(host)
    return is_host and port != 0 and bool(re.fullmatch(r"/?|/[0-9]{1,9}", parts.path))


def is_public_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an http(s) URL without query or fragment, for example https://hooks.example.com")
    return url.rstrip("/")
