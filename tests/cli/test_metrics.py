"""``referral-stream metrics``: the same figures from any log, as tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from referral_stream.cli import main
from referral_stream.cli.render.metrics import as_csv, as_lines
from referral_stream.core import events as ev
from referral_stream.core.policy import Policy
from referral_stream.metrics.records import Records
from referral_stream.metrics.report import as_data, report
from referral_stream.replay.record_search import records_in
from tests.builders import Told, a_customer, acknowledged, answered, command_of, fact, nps
from tests.metrics.records import HALF, a_month, a_record, a_referral, all_of, an_ask, two_arms
from tests.replay.logs import fact_lines, recorded_lines, write
from tests.rules import rule
from tests.worlds.planted import Planted

CONTACT = ev.Contact(ref="lee", name="Lee Roe", consented=True)
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
    return CliRunner().invoke(main, ["metrics", *(str(argument) for argument in arguments)])


def data(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@rule("A7.1", "A7.2", "7.12")
def test_a_log_of_facts_an_exact_one_and_the_records_of_a_replay_give_the_same(tmp_path: Path) -> None:
    facts, exact = write(tmp_path / "facts", fact_lines(*STORY)), write(tmp_path / "exact", recorded_lines(*STORY))
    found = data(facts, "--by", "trigger")
    assert found == data(exact, "--by", "trigger")
    total = found["total"]
    assert (total["conversion"]["count"], total["conversion"]["of"], total["conversion"]["value"]) == (1, 1, None)
    assert total["revenue"]["EUR"]["minor"] == 120_000
    groups = [group["group"]["trigger"] for group in found["groups"]]
    assert groups == ["nps_promoter", "referral_converted"]  # the conversion is an occasion of its own
    replayed = CliRunner().invoke(main, ["replay", str(facts), "--output", str(tmp_path / "out")])
    assert replayed.exit_code == 0
    records = Records(records_in(tmp_path / "out"))
    assert as_data(report(records, Policy(), by=("trigger",))) == found
    assert "Lee" not in json.dumps(found)


@rule("A13.20")
def test_the_policy_says_what_is_compared(tmp_path: Path) -> None:
    log, policy = write(tmp_path / "log", fact_lines(*STORY)), tmp_path / "policy.toml"
    policy.write_text("""
        [holdout]
        percent = 0
        [experiments.short]
        trigger = "nps_promoter"
        templates = { a = 1, b = 1 }
    """)
    found = {(c["name"], c["of"]): c["verdict"] for c in data(log, "--policy", policy)["comparisons"]}
    assert found == {
        ("uplift", None): "not_measured", ("harm", None): "not_measured",
        ("template", "short/a"): "not_enough", ("template", "short/b"): "not_enough",
    }  # fmt: skip


@rule("A7.1")
def test_months_bound_it(tmp_path: Path) -> None:
    log = write(tmp_path / "log", fact_lines(*STORY))
    assert (data(log)["since"], data(log)["until"]) == ("2025-07", "2026-07")
    assert data(log, "--until", "2026-05")["total"]["conversion"]["of"] == 0
    assert data(log, "--since", "2026-06", "--until", "2026-06")["total"]["conversion"]["of"] == 1


@rule("A7.1")
def test_months_that_records_hold_no_more_are_said(tmp_path: Path) -> None:
    log = write(tmp_path / "log", fact_lines(*STORY))
    earlier, kept = run(log, "--since", "2025-06", "--format", "json"), run(log, "--since", "2025-07")
    assert "warning: a customer's record covers 13 months, here back to 2025-07" in " ".join(earlier.stderr.split())
    assert (json.loads(earlier.stdout)["since"], earlier.exit_code) == ("2025-06", 0)
    assert "warning" not in kept.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--by", "triger"], "unknown dimension 'triger'; did you mean 'trigger'?"),
        (["--since", "2026-6"], "'2026-6' is not a month; write 2026-06"),
        (["--until", "2026-13"], "'2026-13' is not a month"),
        (["--since", "2026-07", "--until", "2026-06"], "2026-07 is after 2026-06"),
        (["--format", "xml"], "'xml' is not one of"),
        (["--sort"], "are for a recorded log: name one"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, arguments: list[str], told: str) -> None:
    log = [] if "--sort" in arguments else [write(tmp_path / "log", fact_lines(*STORY))]
    result = run(*log, *arguments)
    assert (result.exit_code, told in " ".join(result.stderr.split())) == (2, True), result.stderr


def test_help_says_how_to_read_it() -> None:
    said = " ".join(run("--help").stdout.split())
    assert "may be looked at as often as you like" in said
    assert "--by segment,month" in said


# ---- how it looks


def lines(records: Records, policy: Policy = HALF, **options: Any) -> list[str]:
    return list(as_lines(report(records, policy, **options), policy))


@rule("A7.4", "A7.5")
def test_every_figure_says_of_how_many_and_fits_a_terminal() -> None:
    records = Planted(seed=1, accounts=400, holdout=0.5, rate=0.2, effect=2).records(days=300)
    told = lines(records, by=("trigger",))
    rows = [" ".join(line.split()) for line in told]
    assert told[0].startswith("as of Wed 28 Oct 00:00 2026 UTC, policy default ")
    total = report(records, HALF).total["conversion"]
    low, high = total.interval  # type: ignore[union-attr,misc]
    share = f"{100 * total.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"  # type: ignore[union-attr,operator]
    assert f"conversion {share} {total.count} of {total.of} asks that were not taken back" in rows  # type: ignore[union-attr]
    assert max(map(len, told[: told.index("All asks: does asking bring referrals?")])) <= 110
    assert any(row.startswith("trigger ask rate conversion quality") for row in rows)
    assert any(row.startswith("nps_promoter ") for row in rows)


def test_what_is_too_little_says_so_instead_of_a_number() -> None:
    told = [" ".join(line.split()) for line in lines(all_of(a_record("ana", an_ask(referrals=1))))]
    assert "conversion – not enough data yet (1 of 30); 1 of 1 asks that were not taken back" in told
    assert not any("%" in line for line in told if not line.startswith("Nobody"))


def test_a_comparison_shows_its_counts_and_its_sentence() -> None:
    told = lines(two_arms((60, 400), (20, 400)))
    at = told.index("All asks: does asking bring referrals?")
    assert told[at + 1 : at + 3] == ["  asked     60 of 400 accounts", "  held out  20 of 400 accounts"]
    assert told[at + 3].startswith("  Asking works: ")


def test_no_records_are_told_as_such() -> None:
    assert lines(Records()) == ["no records: nobody was ever considered for an ask"]


def test_csv_has_a_line_for_each_figure_of_each_group_and_for_each_comparison() -> None:
    records = all_of(
        a_record("ana", an_ask(template="=1+1"), months=(a_month(opened=1),), referrals=(a_referral(),)),
        a_record("ben", an_ask(template="nps", referrals=1)),
    )
    found = report(records, HALF, by=("template", "month"))
    table = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(table) == sum(map(len, found.groups.values())) + len(found.total) + len(found.comparisons)
    assert {row["template"] for row in table} == {"", "'=1+1", "nps", "none"}
    (row,) = (row for row in table if (row["template"], row["figure"]) == ("nps", "conversion"))
    assert row == {
        "template": "nps", "month": "2026-03", "figure": "conversion", "value": "", "low": "", "high": "", "count": "1",
        "of": "1", "of_what": "asks that were not taken back", "unit": "", "text": "not enough data yet (1 of 30)",
    }  # fmt: skip
    (uplift,) = (row for row in table if row["figure"] == "uplift")
    assert (uplift["of"], uplift["unit"], uplift["text"][:19]) == ("2", "times", "not enough data yet")
