"""What may be set about the payer; whatever is wrong is named, and neither address nor secret is repeated."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from referral_stream.runtime.settings import PREFIX, RewardsSettings, SettingsProblem, read_rewards_settings
from tests.rewards.paying import OLD_SECRET, SECRET
from tests.rules import rule

URL = "https://pay.example.com/hooks?token=a-part-that-is-secret"


def settings(**given: str) -> RewardsSettings:
    whole = {"REWARDS_URL": URL, "REWARDS_SECRET": SECRET} | given
    return read_rewards_settings({f"{PREFIX}{name}": value for name, value in whole.items() if value})


def test_address_and_secrets_come_from_the_environment_or_from_files(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    found = settings(REWARDS_SECRET="", REWARDS_SECRET_FILE=str(file), REWARDS_PREVIOUS_SECRET=OLD_SECRET)
    assert found.secrets == (SECRET, OLD_SECRET)
    assert found.rewards_url.get_secret_value() == URL
    assert found.group_prefix == "referral-stream"
    for secret in ("a-part-that-is-secret", SECRET, OLD_SECRET):
        assert secret not in repr(found)


@rule("A4.19")
@pytest.mark.parametrize(
    "url",
    [
        "https://pay.example.com",
        "http://127.0.0.1:8080/x",
        "http://127.8.9.10/x",
        "http://[::1]:8080/x",
        "http://localhost/x",
        "https://10.0.0.1/x",
    ],
)
def test_addresses_that_do(url: str) -> None:
    assert settings(REWARDS_URL=url).rewards_url.get_secret_value() == url


@rule("A4.19")
@pytest.mark.parametrize(
    "url",
    [
        "http://pay.example.com/guess",
        "http://10.0.0.1/guess",
        "http://localhost.example.com/guess",
        "http://127.0.0.1.example.com/guess",
        "ftp://pay.example.com/guess",
        "https:///guess",
        "https://user:guess@pay.example.com/",
        "https://pay.example.com/#guess",
        "https://pay.example.com:99999/guess",
        "https://[::1/guess",
        "pay.example.com/guess",
    ],
)
def test_addresses_that_do_not_are_not_repeated(url: str) -> None:
    with pytest.raises(SettingsProblem, match=f"^{PREFIX}REWARDS_URL: ") as raised:
        settings(REWARDS_URL=url)
    assert "guess" not in str(raised.value)


def test_plain_http_elsewhere_only_where_somebody_says_so() -> None:
    assert settings(REWARDS_URL="http://pay.internal/x", REWARDS_PLAIN_HTTP="true").rewards_plain_http
    with pytest.raises(SettingsProblem, match="must not contain credentials"):
        settings(REWARDS_URL="http://u:p@pay.internal/x", REWARDS_PLAIN_HTTP="true")


def test_what_is_needed_is_named() -> None:
    with pytest.raises(SettingsProblem) as raised:
        settings(REWARDS_URL="", REWARDS_SECRET="")
    assert str(raised.value).splitlines() == [
        f"{PREFIX}REWARDS_URL: set it, or its _FILE",
        f"{PREFIX}REWARDS_SECRET: set it, or its _FILE",
    ]


@pytest.mark.parametrize(
    "secret",
    [
        "guessed" * 6,
        "whsec_guessed!",
        "whsec_" + base64.b64encode(b"guessed" * 3).decode(),
        "whsec_" + base64.b64encode(b"g" * 65).decode(),
        "whsec_",
    ],
)
@pytest.mark.parametrize("name", ["REWARDS_SECRET", "REWARDS_PREVIOUS_SECRET"])
def test_a_secret_that_protects_nothing_is_refused_and_not_repeated(name: str, secret: str) -> None:
    with pytest.raises(SettingsProblem, match=f"^{PREFIX}{name}: ") as raised:
        settings(**{name: secret})
    assert "guessed" not in str(raised.value)


def test_a_file_of_authorities_that_is_none_is_named() -> None:
    with pytest.raises(SettingsProblem, match="REWARDS_CA_FILE"):
        settings(REWARDS_CA_FILE="/nowhere").payer_ssl_context()
