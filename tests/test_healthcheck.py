"""The image's health check asks the page that its process answers on, whichever role it has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[1] / "docker" / "healthcheck.py"
_PREFIX = "/opt/referral-stream/bin/python /opt/referral-stream/bin/referral-stream"


@pytest.mark.parametrize(
    ("command", "env", "asked"),
    [
        ("run", {}, "http://127.0.0.1:6066/live"),
        ("run decide", {"REFERRAL_STREAM_STATUS_PORT": "7000"}, "http://127.0.0.1:7000/live"),
        ("run ledger", {"REFERRAL_STREAM_STATUS_PORT": "0"}, None),
        ("rewards", {}, "http://127.0.0.1:6066/live"),
        ("ingest-http", {}, "http://127.0.0.1:8080/live"),
        (
            "ingest-http",
            {"REFERRAL_STREAM_HTTP_PORT": "8443", "REFERRAL_STREAM_STATUS_PORT": "0"},
            "http://127.0.0.1:8443/live",
        ),
        ("ingest-http", {"REFERRAL_STREAM_HTTP_CERT_FILE": "/run/secrets/cert"}, "https://127.0.0.1:8080/live"),
        ("topics create", {}, None),
    ],
)
def test_where_it_asks(command: str, env: dict[str, str], asked: str | None) -> None:
    spec = importlib.util.spec_from_file_location("healthcheck", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page(f"{_PREFIX} {command}".split(), env) == asked
