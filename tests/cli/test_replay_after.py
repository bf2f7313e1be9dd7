"""What ``replay`` says and tabulates of what follows an ask."""

from __future__ import annotations

import csv
from pathlib import Path

from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.core import events as ev
from tests.builders import a_customer, acknowledged, answered, command_of, fact, nps
from tests.replay.logs import fact_lines, write

POLICY = """
[rewards]
enabled = true
default_segment = "all"
[rewards.programmes.all]
kind = "credit"
amount_minor = 2500
currency = "EUR"
benefit = "=credit"
"""
CONTACT = ev.Contact(ref="lee", name="Lee Roe", consented=True)
STORY = (
    a_customer(),
    nps(9, "Thu 12:30"),
    acknowledged("sent", "Thu 12:51", command_of()),
    answered("yes", "Thu 13:00", command_of()),
    fact(ev.ReferralGiven(referral_id="ref-1", command_id=command_of(), contact=CONTACT), "Thu 13:30"),
    fact(ev.ReferralStatusChanged(referral_id="ref-1", status="converted"), "next Mon 10:00"),
    fact(ev.ReferralStatusChanged(referral_id="ref-1", status="refunded"), "next Tue 10:00"),
)


def replayed(folder: Path) -> str:
    (folder / "policy.toml").write_text(POLICY)
    log = write(folder / "log", fact_lines(*STORY))
    options = ["--policy", str(folder / "policy.toml"), "--output", str(folder / "out"), "--csv"]
    result = CliRunner().invoke(main, ["replay", str(log), *options])
    assert result.exit_code == 0
    return result.stdout


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "out" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_summary_counts_follow_ups_rewards_and_records(tmp_path: Path) -> None:
    said = [" ".join(line.split()) for line in replayed(tmp_path).splitlines()]
    assert "follow-ups 5 intro offer 1, read reward 1, report back 1, take care 1, thank 1; withdrawn 2" in said, said
    assert "rewards 1 granted 1, reversed 1" in said
    assert "records 1 customers who were ever considered" in said


def test_the_tables_hold_every_follow_up_reward_and_record(tmp_path: Path) -> None:
    replayed(tmp_path)
    first, *others = table(tmp_path, "followups")
    assert (first["kind"], first["audience"], first["channels"]) == ("intro_offer", "customer", "email")
    assert (first["withdrawn_because"], first["late"]) == ("referral_given", "")
    assert [row["kind"] for row in others] == ["thank", "take_care", "report_back", "read_reward"]
    assert others[2]["what"] == "how the referral ref-1 went: converted; the reward is credit of 25.00 EUR (=credit)"
    granted, reversed_ = table(tmp_path, "rewards")
    assert [granted[name] for name in ("reward", "referral", "amount_minor", "currency", "benefit")] == [
        "granted", "ref-1", "2500", "EUR", "'=credit",
    ]  # fmt: skip
    assert (reversed_["reward"], reversed_["because"]) == ("reversed", "refunded")
    (record,) = table(tmp_path, "records")
    assert (record["customer"], record["times_asked"], record["referrals_given"]) == ("ana", "1", "1")
    assert all("Lee" not in file.read_text() for file in (tmp_path / "out").iterdir())
