"""Whether a text is an address: of a host, or of a Redis."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
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


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


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
    is_host = not host or bool(HOST.match(host)) or is_address(host)
    return is_host and port != 0 and bool(re.fullmatch(r"/?|/[0-9]{1,9}", parts.path))
