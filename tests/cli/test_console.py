"""`console token`, and what keeps `console` from starting."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main


def test_a_token_is_printed_once_and_its_line_opens_the_console(tmp_path: Path) -> None:
    pytest.importorskip("litestar")
    from referral_stream.console.security import Tokens

    done = CliRunner().invoke(main, ["console", "token", "ada", "--role", "operator"])
    file = tmp_path / "tokens"
    file.write_text(done.stdout, encoding="utf-8")
    token = done.stderr.split()[-1]
    assert token not in done.stdout
    found = Tokens(file).of(token)
    assert found is not None
    assert (found[1].name, found[1].role) == ("ada", "operator")


@pytest.mark.parametrize("name", ["", "a b", "ada@example.com", "a#", "x" * 65])
def test_a_name_that_could_not_stand_in_an_event_is_refused(name: str) -> None:
    assert CliRunner().invoke(main, ["console", "token", name]).exit_code == 2


def test_without_anybody_who_could_log_in_it_does_not_start() -> None:
    done = CliRunner().invoke(main, ["console"], env={"REFERRAL_STREAM_CONSOLE_TOKENS_FILE": ""})
    assert done.exit_code == 2
    assert "nobody could log in" in done.output


def test_without_kafka_it_says_so_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("litestar")
    file = tmp_path / "tokens"
    file.write_text("", encoding="utf-8")
    environment = {
        "REFERRAL_STREAM_CONSOLE_TOKENS_FILE": str(file),
        "REFERRAL_STREAM_KAFKA_BROKERS": "127.0.0.1:1",
        "REFERRAL_STREAM_START_WAIT_SECONDS": "1",
        "REFERRAL_STREAM_CONSOLE_PORT": "0",
    }
    done = CliRunner().invoke(main, ["console"], env=environment)
    assert done.exit_code == 75
