"""``referral-stream record``: one customer's record from a log, by any of their ids, and as text and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.cli.render.record import as_lines
from referral_stream.core import events as ev
from referral_stream.ops.record import with_names
from referral_stream.replay.record_search import NoRecord, RecordSearch
from tests.builders import Told, a_customer, acknowledged, answered, command_of, fact, nps
from tests.replay.logs import fact_lines, recorded_lines, rows, write
from tests.rules import rule

CONTACT = ev.Contact(ref="lee", name="Lee Roe", company="Roe Ltd", consented=True)
STORY: tuple[Told, ...] = (
    a_customer(),
    nps(9, "Thu 12:30"),
    acknowledged("sent", "Thu 12:51", command_of()),
    answered("yes", "Thu 13:00", command_of()),
    fact(ev.ReferralGiven(referral_id="ref-1", command_id=command_of(), contact=CONTACT), "Thu 13:30"),
    fact(
        ev.ReferralStatusChanged(referral_id="ref-1", status="converted", deal_value_minor=120_000, currency="EUR"),
        "next Mon 10:00",
    ),
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def record(folder: Path, *told: Told, who: str = "ana", more: tuple[str, ...] = (), exact: bool = False) -> Result:
    log = write(folder / "log", recorded_lines(*told) if exact else fact_lines(*told))
    return run("record", who, "--log", log, *more)


@rule("A6.1", "A6.2", "7.4")
@pytest.mark.parametrize("exact", [False, True], ids=["facts", "exact"])
def test_it_is_what_a_replay_writes_and_without_names(tmp_path: Path, exact: bool) -> None:
    result = record(tmp_path, *STORY, more=("--format", "json"), exact=exact)
    assert result.exit_code == 0
    assert run("replay", tmp_path / "log", "--output", tmp_path / "out").exit_code == 0
    (written,) = rows(tmp_path / "out", "records")
    assert json.loads(result.stdout) == written["data"]
    assert "Lee" not in result.stdout


def test_as_text_it_fits_a_terminal(tmp_path: Path) -> None:
    told = record(tmp_path, *STORY).stdout
    assert max(map(len, told.splitlines())) <= 80
    for line in (
        "asked: once, last on 2026-06-18",
        "by asks and answers, the next is possible from: 2026-09-16",
        "referrals: 1 given, 1 converted",
        "  2026-06-18  ref-1  converted, 1,200.00 EUR",
        "  2026-06-18  gave a top score  email  answered yes, referrals 1, converted 1",
        "  thank        requested 1",
    ):
        assert line in told


@rule("I3.12")
@pytest.mark.parametrize("who", ["ana", "ana-old"])
def test_each_id_of_a_customer_shows_the_same_record(tmp_path: Path, who: str) -> None:
    story = (*STORY[:1], nps(9, "Mon 10:00", customer="ana-old"), fact(ev.Aliased(alias="ana-old"), "Mon 10:05"))
    result = record(tmp_path, *story, nps(9, "Thu 12:30", "r2"), who=who)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert ("ana-old is another id of ana" in lines) == (who == "ana-old")
    assert "other ids: ana-old" in lines


@pytest.mark.parametrize(
    ("told", "who"),
    [(STORY, "ann"), ((*STORY, fact(ev.ErasureRequested(), "next Tue 10:00")), "ana"), (STORY[:1], "ana")],
    ids=["unknown", "erased", "never considered"],
)
def test_without_a_record_it_says_so_and_ends_with_1(tmp_path: Path, told: tuple[Told, ...], who: str) -> None:
    result = record(tmp_path, *told, who=who)
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        f"no record of '{who}': nobody of that id was ever considered for an ask, or they were erased" in result.stderr
    )


def test_what_concerns_a_log_needs_one() -> None:
    result = run("record", "ana", "--sort")
    assert result.exit_code == 2
    assert "are for a recorded log: add --log" in result.stderr


# ---- from the topics


def a_record(customer: str, *ids: str, at: str = "2026-06-18T10:00:00.000Z", **more: Any) -> dict[str, Any]:
    return {"customer_id": customer, **({"ids": list(ids)} if ids else {}), "recorded_at": at, **more}


def test_the_newest_counts_whichever_partition_comes_first() -> None:
    search = RecordSearch("old")
    search.see("ana", a_record("ana", "old"))
    search.see("old", a_record("old"))
    assert search.found()["customer_id"] == "ana"
    search.see("ana", None)
    search.see("old", None)
    with pytest.raises(NoRecord, match="the record was deleted: they were erased"):
        search.found()


@rule("A5.7", "A6.2")
def test_a_name_is_joined_only_where_the_record_says_consented_and_the_customer_told_it() -> None:
    contacts = [{"referral_id": f"ref-{n}", "consented": n != 2} for n in (1, 2, 3, 4)]
    told = {
        "ref-1": {"customer_id": "old", "name": "Lee Roe", "company": "Roe Ltd"},
        "ref-2": {"customer_id": "ana", "name": "Silent"},
        "ref-3": {"customer_id": "eve", "name": "Stranger"},
        "ref-4": None,
    }
    joined = with_names(a_record("ana", "old", referred_contacts=contacts), told)
    assert [contact.get("name") for contact in joined["referred_contacts"]] == ["Lee Roe", None, None, None]
    assert joined["referred_contacts"][0]["company"] == "Roe Ltd"


def test_many_asks_are_counted_and_what_went_wrong_is_said() -> None:
    ask = {
        "kind": "soft", "mode": "soft", "channel": "in_app", "trigger": "renewal",
        "asked_at": "2026-06-18T10:00:00.000Z", "referrals": 0, "converted": 0, "cancelled": True, "regret": True,
        "despite_signal": True, "failed": True, "arm": "short/b",
    }  # fmt: skip
    history = {"times_asked": 14, "referrals_given": 0, "referrals_converted": 0, "propensity_score": 3}
    policy = {"name": "default", "hash": "0"}
    lines = list(as_lines(a_record("ana", asks=[ask] * 14, referral_history=history, policy=policy)))
    assert (
        lines.count(
            "  2026-06-18  renewed  in app  soft, wording short/b, failed, taken back, sent despite a signal, "
            "trouble within 14 days"
        )
        == 12
    )
    assert lines[-1] == "… and 2 before: --format json has them all"
    assert "asked: 14 times" in lines
