"""What may be set of the console, and what is refused with a line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from referral_stream.runtime.settings import PREFIX, SettingsProblem, read_console_settings

TOKENS = {"CONSOLE_TOKENS_FILE": "tokens"}
OIDC = {
    "CONSOLE_OIDC_ISSUER": "https://login.example.com/realms/staff", "CONSOLE_OIDC_CLIENT_ID": "console",
    "CONSOLE_OIDC_CLIENT_SECRET": "a-secret", "CONSOLE_OIDC_ALLOWED": "@example.com",
    "CONSOLE_PUBLIC_URL": "https://console.example.com",
}  # fmt: skip


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
        ({**TOKENS, "CONSOLE_PUBLIC_URL": "console.example.com"}, "CONSOLE_PUBLIC_URL: must be an http.s. URL"),
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


def without(*names: str, **changed: str) -> dict[str, str]:
    return {name: value for name, value in (OIDC | changed).items() if name not in names}


def test_a_provider_alone_lets_people_in_whom_the_settings_allow() -> None:
    pytest.importorskip("joserfc")
    allowed = "@Example.com, ada@example.org,groups=growth , https://claims.example.com/team=one"
    settings = console_settings(**without(CONSOLE_OIDC_ALLOWED=allowed, CONSOLE_OIDC_OPERATORS="groups=on-call"))
    assert settings.allowed_names == {"ada@example.org"}
    assert settings.allowed_domains == {"example.com"}
    assert settings.allowed_claims == {"groups=growth", "https://claims.example.com/team=one"}
    assert settings.asked_claims == settings.allowed_claims | {"groups=on-call"}
    assert settings.console_oidc_scopes == ("openid", "email", "profile")
    assert settings.console_oidc_name_claim == "email"


def test_the_clients_secret_may_come_from_a_file_and_never_shows(tmp_path: Path) -> None:
    pytest.importorskip("joserfc")
    (tmp_path / "secret").write_text("a-secret-of-the-file\n", encoding="utf-8")
    given = without("CONSOLE_OIDC_CLIENT_SECRET", CONSOLE_OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    settings = console_settings(**given)
    assert settings.console_oidc_client_secret.get_secret_value() == "a-secret-of-the-file"
    assert "a-secret-of-the-file" not in repr(settings)
    with pytest.raises(SettingsProblem, match="CONSOLE_OIDC_CLIENT_SECRET: set beside"):
        console_settings(**given, CONSOLE_OIDC_CLIENT_SECRET="another")


def test_on_this_machine_a_provider_may_be_tried_without_tls() -> None:
    pytest.importorskip("joserfc")
    local = {"CONSOLE_OIDC_ISSUER": "http://127.0.0.1:5556/dex", "CONSOLE_PUBLIC_URL": "http://localhost:8090"}
    assert console_settings(**without(**local)).console_oidc_issuer == "http://127.0.0.1:5556/dex"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (without("CONSOLE_OIDC_CLIENT_ID"), "CONSOLE_OIDC_CLIENT_ID: set it"),
        (without("CONSOLE_OIDC_CLIENT_SECRET"), "CONSOLE_OIDC_CLIENT_SECRET: set it, or its _FILE"),
        (without("CONSOLE_OIDC_ALLOWED"), "CONSOLE_OIDC_ALLOWED: nobody could come in"),
        (without("CONSOLE_OIDC_ALLOWED", CONSOLE_OPERATORS="ada"), "CONSOLE_OIDC_ALLOWED: nobody could come in"),
        (without("CONSOLE_PUBLIC_URL"), "CONSOLE_PUBLIC_URL: the provider sends people back there"),
        (without(CONSOLE_PUBLIC_URL="http://c.example.com"), "CONSOLE_PUBLIC_URL: the provider sends people back"),
        (without("CONSOLE_OIDC_ISSUER", **TOKENS), "CONSOLE_OIDC_ISSUER: set it, or unset REFERRAL_STREAM_CONSOLE_"),
        (without(CONSOLE_OIDC_ISSUER="http://login.example.com"), "CONSOLE_OIDC_ISSUER: must begin with https://"),
        (without(CONSOLE_OIDC_ISSUER="http://127.0.0.1.example.com"), "CONSOLE_OIDC_ISSUER: must begin with https://"),
        (without(CONSOLE_OIDC_ISSUER="https://a.example/?x=1"), "CONSOLE_OIDC_ISSUER: must begin with https://"),
        (without(CONSOLE_OIDC_ISSUER="https://u:p@a.example"), "CONSOLE_OIDC_ISSUER: must begin with https://"),
        (without(CONSOLE_OIDC_ISSUER="https://["), "CONSOLE_OIDC_ISSUER: "),
        (without(CONSOLE_OIDC_SCOPES="email"), "CONSOLE_OIDC_SCOPES: .* one is openid"),
        (without(CONSOLE_OIDC_SCOPES="openid email"), "CONSOLE_OIDC_SCOPES: .* one is openid"),
        (without(CONSOLE_OIDC_ALLOWED="@"), "CONSOLE_OIDC_ALLOWED: '@' is not a domain"),
        (without(CONSOLE_OIDC_ALLOWED="@*.com"), "CONSOLE_OIDC_ALLOWED: .* is not a domain"),
        (without(CONSOLE_OIDC_ALLOWED="@com"), "CONSOLE_OIDC_ALLOWED: '@com' is not a domain"),
        (without(CONSOLE_OIDC_ALLOWED="groups="), "CONSOLE_OIDC_ALLOWED: 'groups=': write claim=value"),
        (without(CONSOLE_OIDC_ALLOWED="email=ada@example.com"), "CONSOLE_OIDC_ALLOWED: write the address alone"),
        (without(CONSOLE_OIDC_OPERATORS="email=ada@example.com"), "CONSOLE_OIDC_OPERATORS: write the address alone"),
        (without(CONSOLE_OIDC_NAME_CLAIM="name"), "CONSOLE_OIDC_NAME_CLAIM: people choose their 'name' themselves"),
        (without(CONSOLE_OIDC_OPERATORS="ada@example.com"), "CONSOLE_OIDC_OPERATORS: .* write claim=value"),
    ],
)  # fmt: skip
def test_what_a_provider_lacks_is_said_in_one_line(given: dict[str, str], said: str) -> None:
    pytest.importorskip("joserfc")
    with pytest.raises(SettingsProblem, match=said) as problem:
        console_settings(**given)
    assert str(problem.value).count("\n") == 0
    assert "a-secret" not in str(problem.value)


def test_without_the_extra_the_start_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert console_settings(**TOKENS).console_oidc_issuer is None
    with pytest.raises(SettingsProblem, match=r"needs the extra oidc: .* -m pip install 'joserfc"):
        console_settings(**OIDC)
