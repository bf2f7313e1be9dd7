"""``referral-stream import``: what it refuses before anything is written, what it writes, and what it says."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from tests.replay.logs import rows

FINE = "customer_id,email,created_at,onboarded,referral_consent,opted_out\n"
AS_OF = ("--as-of", "2026-06-30")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(content: str, *arguments: str) -> Result:
    Path("customers.csv").write_text(content)
    return CliRunner().invoke(main, ["import", "customers.csv", *arguments])


def log(name: str = "log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_bytes().splitlines()]


def test_it_writes_a_log_of_history_that_replays_and_asks_nobody() -> None:
    done = run(FINE + "a,a@b.example,2024-01-01,yes,yes,\n", *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "4 events written to log.jsonl, for you alone"
    assert Path("log.jsonl").stat().st_mode & 0o777 == 0o600
    assert {(line["topic"], line["key"], line["timestamp"], line["headers"]["historical"]) for line in log()} == {
        ("profile", "a", "2026-06-30T23:59:59.999Z", "true")
    }
    assert b"a@b.example" not in Path("log.jsonl").read_bytes()
    replayed = CliRunner().invoke(main, ["replay", "log.jsonl", "--output", "out"])
    assert replayed.exit_code == 0, replayed.output
    assert rows(Path("out"), "dead-letters") == rows(Path("out"), "asks") == []
    assert sorted(each.name for each in Path().iterdir()) == ["customers.csv", "log.jsonl", "out"]


def test_the_same_file_is_the_same_log_whenever_it_is_imported() -> None:
    for name in ("one.jsonl", "two.jsonl", "three.jsonl.gz"):
        assert run(FINE + "a,,2024-01-01,yes,yes,\na,,2024-01-01,yes,yes,\n", *AS_OF, "--output", name).exit_code == 0
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()
    assert gzip.decompress(Path("three.jsonl.gz").read_bytes()) == Path("one.jsonl").read_bytes()
    ids = [line["value"]["id"] for line in log("one.jsonl")]
    assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("customer_id,Do not call\na,\n", "column 'Do not call' is not used, and what it may hold"),
        ("customer_id,Status\na,ok\nb,Opted out\n", "column 'Status' is not used, and says in line 3"),
        ("customer_id,created\na,2024-01-01\nb,03/04/2024\n", "--column created=signed_up_at:day-first"),
        ("customer_id\n17.0\n", "the id looks as if a program had made a number of it"),
        ("customer_id,plan\na,pro,more\n", "line 2: has 3 cells, the header 2"),
        ('customer_id,plan\na,"pro\n', "line 2: no CSV"),
        ("name,plan\nAna,pro\n", "no column says who the customer is: name the one with their id as customer"),
        ("Nr.,Kunde,A\n1,2,a@b.example\n", "--column Nr.=customer or --column A=email"),
        ("customer_id\na@b.example\n", "line 2 an address stands in the place of an id"),
        (FINE + "".join(f"a,a{n}@b.example,,,,\n" for n in range(4)), "line 5 stands there with more than 3 addresses"),
        ("id,user_id\n1,2\n", "both read as customer"),
        ("customer_id\n", "there are no rows"),
    ],
)
def test_what_a_person_has_to_say_first_stops_it_before_anything_is_written(content: str, problem: str) -> None:
    done = run(content, *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 2
    assert problem in " ".join(done.stderr.split())
    assert "nothing was written" in done.stderr
    assert not Path("log.jsonl").exists()


def sparse(column: str, cells: str) -> str:
    """A table of three times as many customers as those of whom the column says something."""
    filled = cells.split("|")
    lines = [f"c{n},{cell}" for n, cell in enumerate([*filled, *([""] * (2 * len(filled) + 1))])]
    return "\n".join((f"customer_id,{column}", *lines, ""))


@pytest.mark.parametrize(
    "cells",
    ["x", "yes|YES|x", "ja", "oui|Non", "1", "true", "✗", "2026-03-04", "03/04/2026 10:00|4 Mar 2026", "1709546400000"],
)
def test_a_column_that_only_some_customers_tick_may_be_an_opt_out_whatever_it_is_called(cells: str) -> None:
    content = sparse("Zq7", cells)
    done = run(content, *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 2
    assert "column 'Zq7' is not used, and in the few rows that fill it" in " ".join(done.stderr.split())
    assert "NOT USED: is it an opt-out?" in done.stdout
    assert not Path("log.jsonl").exists()
    assert run(content, *AS_OF, "--output", "log.jsonl", "--column", "Zq7=ignore").exit_code == 0


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("Zq7", "Berlin|Rome"), ("Zq7", "yes|no|at times"), ("MRR", "12|13.5"), ("Phone", "030 123456|4915112345678"),
        ("Last login", "2026-03-04"), ("Birthday", "03/04/1980"), ("Company", "X Ltd"), ("Notes", "paid on 3 May 2026"),
    ],
)  # fmt: skip
def test_other_columns_that_are_mostly_empty_stop_nothing(column: str, cells: str) -> None:
    assert run(sparse(column, cells), *AS_OF, "--output", "log.jsonl").exit_code == 0


def test_what_was_said_lets_it_go_on() -> None:
    content = "customer_id,Do not call,created\na,x,03/04/2024\nb,pro,more,cells\n"
    named = ("--column", "Do not call=ignore", "--column", "created=signed_up_at:month-first", "--skip-bad")
    done = run(content, *AS_OF, *named, "--output", "log.jsonl")
    assert done.exit_code == 0, done.output
    assert [line["value"]["time"] for line in log()] == ["2024-03-04T23:59:59.999Z"]
    assert "1 line cannot be read" in done.stdout


def test_what_could_not_be_used_is_in_a_file_without_a_word_of_it() -> None:
    content = FINE + "a,secret,2024-13-01,perhaps,,Please Stop\n,,2024-01-01,,,\n"
    done = run(content, *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 0, done.output
    assert Path("customers.csv.refused.csv").read_text().splitlines() == [
        "line,column,reason",
        "2,email,no e-mail address",
        "2,created_at,no date since 2000 that can be read",
        "2,onboarded,no date since 2000 that can be read",
        "2,opted_out,no date since 2000 that can be read: held back",
        "3,,says of nobody whom we could name",
    ]
    assert Path("customers.csv.refused.csv").stat().st_mode & 0o777 == 0o600
    assert "4 cells cannot be used; 1 of them holds somebody back for it" in done.stdout
    assert [line["value"]["type"] for line in log()] == ["customer.suppressed"]
    assert not any(word in done.output for word in ("secret", "Please", "2024-13"))


def test_where_all_of_it_can_be_used_no_file_of_an_earlier_time_says_otherwise() -> None:
    kept = Path("customers.csv.refused.csv")
    run(FINE + "a,secret,,,,\n", *AS_OF, "--output", "log.jsonl")
    assert kept.exists()
    run(FINE + "a,,,yes,,\n", *AS_OF, "--output", "log.jsonl")
    assert not kept.exists()
    kept.write_text("mine")
    run(FINE + "a,,,yes,,\n", *AS_OF, "--output", "log.jsonl")
    assert kept.read_text() == "mine"


def test_an_opt_out_of_nobody_is_told_loudly() -> None:
    done = run(FINE + "a,,2024-01-01,,,\n,,,,,yes\n", *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 1
    assert "1 row holds somebody back who has no id and no address: line 3" in " ".join(done.stderr.split())
    assert len(log()) == 1


def test_a_dry_run_shows_what_each_column_became_and_values_only_if_asked() -> None:
    content = FINE + "a,ana@b.example,2024-01-01,yes,yes,no\n"
    done = run(content, "--dry-run", "--column", "onboarded=ignore")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:7] == [
        "column            became                  filled  read as",
        "customer_id       customer (guessed)           1  an id 1",
        "email             email (guessed)              1  an address 1",
        "created_at        signed_up_at (guessed)       1  a date 1",
        "onboarded         ignored, as you say          1",
        "referral_consent  consent (guessed)            1  yes 1",
        "opted_out         opted_out (guessed)          1  no 1",
    ]
    assert "ana@" not in done.output
    assert [each.name for each in Path().iterdir()] == ["customers.csv"]
    assert "ana@b.example" in run(content, "--dry-run", "--values").stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "when was the file exported?"),
        (("--as-of", "2999-01-01", "--output", "log"), "--as-of lies in the future"),
        (("--as-of", "June", "--output", "log"), "not a date or time"),
        ((*AS_OF, "--output", "log", "--column", "a=b"), "no field 'b'"),
        ((*AS_OF, "--output", "log", "--encoding", "utf-9"), "is no encoding"),
        ((*AS_OF, "--output", "log", "--encoding", "base64"), "is no encoding of text"),
        ((*AS_OF, "--output", "log", "--encoding", "rot13"), "is no encoding of text"),
        ((*AS_OF, "--output", "log", "--refused", "./log"), "is to be written twice"),
        (("--as-of", "1960-01-01", "--output", "log"), "is too early"),
        (("--as-of", "1999-12-31", "--output", "log"), "--as-of is too early: before 2000"),
        (("--as-of", "9999-12-31", "--output", "log"), "lies after 9899"),
        ((*AS_OF, "--output", "log", "--header-line", "0"), "--header-line"),
        ((*AS_OF, "--output", "log", "--column", "Opted=opted_out"), "did you mean 'opted_out'?"),
        ((*AS_OF,), "REFERRAL_STREAM_EMAIL_KEY"),
    ],
)
def test_wrong_usage_writes_nothing(arguments: tuple[str, ...], problem: str) -> None:
    done = run(FINE + "a,,2024-01-01,,,\n", *arguments)
    assert done.exit_code == 2
    assert problem in " ".join(done.stderr.split())
    assert [each.name for each in Path().iterdir()] == ["customers.csv"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("Mail\na@b.example\n", "Mail=customer:address"),
        (FINE + "".join(f"a,a{n}@b.example,,,,\n" for n in range(4)), "customer_id=customer:shared"),
        (FINE + "".join(f"a,a{n % 3}@b.example,,,,\n" for n in range(9)), "onboarded=onboarded_at"),
    ],
)
def test_ids_of_an_unusual_kind_are_taken_where_somebody_says_so(content: str, named: str) -> None:
    done = run(content, *AS_OF, "--output", "log.jsonl", "--column", named)
    assert done.exit_code == 0, done.output


def test_addresses_that_are_named_as_ids_stop_it_and_are_shown_as_what_they_are() -> None:
    content = "Email,Plan\na@b.example,pro\nb@b.example,pro\n"
    done = run(content, *AS_OF, "--output", "log.jsonl", "--column", "Email=customer")
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "--column Email=email hashes it" in said
    assert "--column Email=customer:address" in said
    assert "an address 2" in done.stdout
    assert not Path("log.jsonl").exists()


HOLDS = "complaint open_ticket_ids churned asked_at opted_out referral_consent"


@pytest.mark.parametrize("field", HOLDS.split())
def test_what_holds_back_nobody_who_is_named_is_told_loudly(field: str) -> None:
    said = "no" if field == "referral_consent" else "yes"
    done = run(f"customer_id,{field}\nb,\n#N/A,{said}\n", *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 1
    assert "1 row holds somebody back who has no id and no address: line 3" in " ".join(done.stderr.split())


TABLE = "customer_id;name;opted_out\na;Ana;\nb;Ben;x\nc;Cleo;\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x03\x04rest", "customers.csv:1: an Excel workbook, or another zip archive: save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook: save the sheet as CSV UTF-8"),
        (gzip.compress(b"PK\x03\x04rest"), "an Excel workbook"),
        (b"PAR1", "a Parquet file"),
        (TABLE.encode("utf-16-le"), "--encoding utf-16-le"),
        (TABLE.encode("utf-16-be"), "--encoding utf-16-be"),
        (b'[{"customer_id": "a"}]', "jq -c '.[]'"),
        (b'\xef\xbb\xbf [\n  {"customer_id": "a"}]', "jq -c '.[]'"),
        (f"Customers of June\n\n{TABLE}".encode(), "if the header is line 3: --header-line 3"),
        (f"Customers;;\n{TABLE}".encode(), "if the header is line 2: --header-line 2"),
        (f"\n{TABLE}".encode(), "if the header is line 2: --header-line 2"),
        (b"17;ana@b.example;yes\n18;ben@b.example;no\n", "is this line a customer?"),
        (b"17;Ana;2026-03-04\n18;Ben;2026-03-05\n", "is this line a customer?"),
        ("Müller\n".encode("cp1252"), "--encoding, for example cp1252"),
    ],
)
def test_what_is_no_table_yet_is_named_with_what_to_do(content: bytes, problem: str) -> None:
    Path("customers.csv").write_bytes(content)
    done = CliRunner().invoke(main, ["import", "customers.csv", *AS_OF, "--output", "log.jsonl"])
    assert done.exit_code == 2
    assert problem in " ".join(done.stderr.split())
    assert not any(word in done.output for word in ("ana@", "Ana", "2026-03", "Traceback"))
    assert not Path("log.jsonl").exists()


def test_the_encoding_that_has_failed_is_not_suggested() -> None:
    Path("customers.csv").write_bytes(b"customer_id,name\na,\x81\n")
    done = CliRunner().invoke(main, ["import", "customers.csv", "--dry-run", "--encoding", "windows-1252"])
    assert "not windows-1252; name it with --encoding, for example utf-8" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("above", "line"),
    [("Customers of June\n\n", 3), ("Customers;;\n", 2), ("", 1), ("sep=;\n", 1), ("Who;;When\nsep=;\n", 2)],
)
def test_the_line_of_the_header_may_be_named(above: str, line: int) -> None:
    refused = above + TABLE + ";Dora;yes\n"
    done = run(refused, *AS_OF, "--output", "log.jsonl", "--header-line", str(line))
    assert done.exit_code == 1, done.output
    assert [event["key"] for event in log()] == ["b"]
    at = refused.count("\n")
    assert f"no id and no address: line {at}" in " ".join(done.stderr.split())


def test_a_header_that_holds_dates_is_one_where_somebody_says_so() -> None:
    content = "customer_id,2026-01-01\na,17\n"
    assert run(content, *AS_OF, "--output", "log.jsonl", "--header-line", "1").exit_code == 0


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    rows = "".join(f"c{n}," + ",".join(["x"] * 400) + "\n" for n in range(3))
    Path("customers.csv").write_text("customer_id," + ",".join(f"Column of {n:0200}" for n in range(400)) + "\n" + rows)
    command = [sys.executable, "-m", "referral_stream", "import", "customers.csv", "--dry-run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_names_that_are_ids_are_no_columns() -> None:
    lines = "".join(
        json.dumps({"id": str(n), "rights": {f"r{n}-{m}": True for m in range(50)}}) + "\n" for n in range(60)
    )
    done = run(lines, *AS_OF, "--output", "log.jsonl")
    assert done.exit_code == 2
    assert "customers.csv:40: more than 2,000 columns" in done.stderr


def test_a_file_of_columns_is_read_and_its_faults_are_told() -> None:
    Path("columns.toml").write_text('[columns]\n"Who" = "customer"\n"When" = "signd_up_at"\n')
    done = run("Who,When\na,2024-01-01\n", *AS_OF, "--columns", "columns.toml", "--output", "log.jsonl")
    assert done.exit_code == 2
    assert "columns.toml: When: no field 'signd_up_at'; did you mean 'signed_up_at'?" in done.stderr
    Path("columns.toml").write_text('[columns]\n"Who" = "customer"\n"When" = "signed_up_at"\n')
    assert run("Who,When\na,2024-01-01\n", *AS_OF, "--columns", "columns.toml", "--output", "log.jsonl").exit_code == 0


def test_the_fields_are_listed() -> None:
    done = CliRunner().invoke(main, ["import", "--fields"])
    assert done.exit_code == 0
    assert "opted_out" in done.stdout
    assert "hs_email_optout" in done.stdout
