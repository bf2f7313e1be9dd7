"""The sample events of examples/first_ask: with their policy they end in one ask, as the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_EXAMPLE = _ROOT / "examples" / "first_ask"


def outcomes(tmp_path: Path, lines: list[str]) -> dict[str, str]:
    """What a replay of these lines decides, by trigger."""
    log = tmp_path / "log.jsonl"
    values = [json.loads(line.split("\t", 1)[1]) for line in lines]
    now = values[-1]["time"]
    log.write_text(
        "".join(json.dumps({"topic": "product-usage", "timestamp": now, "value": value}) + "\n" for value in values)
    )
    command = ["replay", str(log), "--policy", str(_EXAMPLE / "policy.toml"), "--output", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "referral_stream", *command], check=True, capture_output=True)
    rows = [json.loads(line)["data"] for line in (tmp_path / "out" / "decisions.jsonl").read_text().splitlines()]
    return {row["trigger"]: row["outcome"] for row in rows}


def printed(customer: str) -> list[str]:
    command = [sys.executable, str(_EXAMPLE / "events.py"), customer]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_line_is_the_customers_key_and_an_event() -> None:
    lines = printed("cus-ben")
    assert [line.split("\t")[0] for line in lines] == ["cus-ben"] * len(lines)
    assert all(json.loads(line.split("\t")[1])["subject"] == "cus-ben" for line in lines)


def test_the_customer_of_the_page_is_asked(tmp_path: Path) -> None:
    assert outcomes(tmp_path, printed("cus-ana")) == {"milestone": "expired_on_arrival", "nps_promoter": "asked"}


def test_without_consent_nobody_is_asked(tmp_path: Path) -> None:
    lines = [line for line in printed("cus-carla") if "consent" not in line]
    assert outcomes(tmp_path, lines)["nps_promoter"] != "asked"


@pytest.mark.parametrize("file", re.findall(r"examples/\S+\.(?:py|toml)", (_EXAMPLE / "README.md").read_text()))
def test_the_page_names_files_that_exist(file: str) -> None:
    assert (_ROOT / file).is_file()
