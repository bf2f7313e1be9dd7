"""What may be set of the console, and what is refused with a line that says what to do."""

from __future__ import annotations

import pytest

from referral_stream.runtime.settings import PREFIX, SettingsProblem, read_console_settings

TOKENS = {"CONSOLE_TOKENS_FILE": "tokens"}


def console_settings(**given: str):  # type: ignore[no-untyped-def]
    return read_console_settings({f"{PREFIX}{name}": value for name, value in given.items()})


def test_it_is_on_loopback_unless_somebody_says_otherwise() -> None:
    settings = console_settings(**TOKENS)
    assert (settings.console_host, settings.console_port) == ("127.0.0.1", 8090)
    assert settings.hosts == ("127.0.0.1", "::1", "localhost")
    assert not settings.is_secure


def test_behind_a_proxy_it_is_called_by_its_public_name() -> None:
    settings = console_settings(
        CONSOLE_HOST="0.0.0.0", CONSOLE_PUBLIC_URL="https://console.example.com/", CONSOLE_TRUSTED_PROXIES="10.0.0.0/8",
        CONSOLE_OPERATORS="ada@example.com, kim",
    )  # fmt: skip
    assert "console.example.com" in settings.hosts
    assert settings.is_secure
    assert settings.console_operators == ("ada@example.com", "kim")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "CONSOLE_TOKENS_FILE: nobody could log in"),
        ({**TOKENS, "CONSOLE_HOST": "0.0.0.0"}, "sessions travel over TLS alone"),
        ({**TOKENS, "CONSOLE_HOST": "10.1.1.1", "CONSOLE_PUBLIC_URL": "http://c.example.com"}, "over TLS alone"),
        ({**TOKENS, "CONSOLE_HOST": "a host"}, "CONSOLE_HOST: is not an address"),
        ({**TOKENS, "CONSOLE_PORT": "70000"}, "CONSOLE_PORT: must be"),
        ({**TOKENS, "CONSOLE_PUBLIC_URL": "console.example.com"}, "CONSOLE_PUBLIC_URL: begins with https://"),
        ({**TOKENS, "CONSOLE_TRUSTED_PROXIES": "proxy"}, "neither an address nor a network"),
        ({**TOKENS, "CONSOLE_TRUSTED_PROXIES": "10.0.0.1/8"}, "neither an address nor a network"),
        ({**TOKENS, "CONSOLE_USER_HEADER": "a b"}, "is not the name of a header"),
        ({**TOKENS, "CONSOLE_SESSION_HOURS": "0"}, "CONSOLE_SESSION_HOURS: must be"),
        ({**TOKENS, "CONSOLE_TOKEN_FILE": "x"}, "did you mean"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsProblem, match=said) as problem:
        console_settings(**given)
    assert str(problem.value).count("\n") == 0
