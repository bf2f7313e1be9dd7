"""Files that are no log, or not quite one: said in words, and nothing is lost for a mark that says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from tests.builders import a_customer, nps
from tests.replay.logs import fact_lines


def replayed(folder: Path, content: bytes, *options: str) -> tuple[int, str]:
    log = folder / "log"
    log.write_bytes(content)
    done = CliRunner().invoke(main, ["replay", str(log), "--output", str(folder / "out"), *options])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (b"\x28\xb5\x2f\xfd\x04", "a zstd archive"), (b"PK\x03\x04", "a zip archive"), (b"BZh9", "a bzip2 archive"),
        (b"\xfd7zXZ\x00", "an xz archive"), ("{}\n".encode("utf-16"), "text in UTF-16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [(), ("--skip-bad",)])
def test_what_is_no_text_is_named_and_never_left_out(
    tmp_path: Path, begins: bytes, kind: str, options: tuple[str, ...]
) -> None:
    code, said = replayed(tmp_path, begins + b"rest\n", *options)
    assert code == 2
    assert f"log:1: {kind}: plain text in UTF-8 and gzip are read" in said


def test_a_byte_order_mark_says_nothing(tmp_path: Path) -> None:
    lines = b"\n".join(fact_lines(a_customer(), nps(9)))
    assert replayed(tmp_path, b"\xef\xbb\xbf" + lines)[1] == replayed(tmp_path, lines)[1]


FAR = '{"topic":"nps","timestamp":"9999-12-31T23:59:59Z","value":{}}'


@pytest.mark.parametrize(
    "verb",
    [
        ("replay", "LOG", "--output", "out"), ("explain", "ana", "--log", "LOG"), ("metrics", "LOG"),
        ("backtest", "LOG", "--against", "b.toml"),
    ],
)  # fmt: skip
def test_a_time_that_leaves_no_room_for_what_follows_is_a_bad_line(
    tmp_path: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("LOG").write_bytes(b"\n".join([*fact_lines(a_customer(), nps(9)), FAR.encode(), b""]))
    Path("b.toml").write_text("shadow = true\n")
    done = CliRunner().invoke(main, verb)
    assert done.exit_code == 2
    assert "timestamp: out of range" in done.output
    done = CliRunner().invoke(main, [*verb, "--skip-bad"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("at", ["9999-12-31", "9999-12-31T23:59:59Z"])
def test_so_is_an_instant_to_explain_it_at(tmp_path: Path, at: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(fact_lines(a_customer(), nps(9))))
    done = CliRunner().invoke(main, ["explain", "ana", "--log", str(log), "--at", at])
    assert done.exit_code == 2
    assert "lies after 9899-" in done.output


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "in this log"), (b"no\n", "in this log: none of 1 line is one")], ids=["empty", "bad"]
)
def test_that_nothing_was_read_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    assert f"warning: there is no record {said}\n" in replayed(tmp_path, content, "--skip-bad")[1]
