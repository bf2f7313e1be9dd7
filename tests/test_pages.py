"""The pages that show what comes out (tests/pages.py), and what stands beside them."""

from __future__ import annotations

import re
import runpy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core.events import AskAcknowledged
from tests.pages import PAGES, ROOT, known_options, made_anew, options_of, path_of

OUT = ROOT / "schemas" / "examples" / "out"
NOW = datetime.fromisoformat("2026-06-19T10:05:00Z")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_its_commands_print(page: str) -> None:
    text, ran = made_anew(page)
    assert {each.line: each.code for each in ran} == {each.line: each.expected_code for each in ran}
    assert path_of(page).read_text() == text, "run make pages"


def test_every_recipe_has_its_policy_and_its_log() -> None:
    page = path_of("cookbook").read_text()
    named = set(re.findall(r"examples/cookbook/(\w+)\.toml", page))
    assert len(named) == page.count("\n## ") == 10
    assert named == {file.stem for file in (ROOT / "examples" / "cookbook").glob("*.toml")}


def test_the_logs_of_the_cookbook_are_what_their_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "examples" / "cookbook" / "logs.py"))
    written = {file.stem: file.read_text() for file in (ROOT / "examples" / "cookbook").glob("*.jsonl")}
    assert {name: script["text"](name) for name in script["LOGS"]} == written


def test_the_picture_is_what_a_replay_says() -> None:
    picture = runpy.run_path(str(ROOT / "tools" / "concepts_picture.py"))
    assert picture["drawn"](picture["seen"]()) == picture["FILE"].read_text(encoding="utf-8"), "run make pages"


@pytest.mark.parametrize("page", ["operations", "workers"])
def test_the_commands_that_are_not_run_exist_with_their_options(page: str) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", path_of(page).read_text(), flags=re.MULTILINE | re.DOTALL)
    told = [line for kind, block in blocks if kind in {"", "sh"} for line in block.splitlines()]
    lines = [line for line in told if line.startswith("referral-stream ")]
    assert lines
    unknown = [line for line in lines if not options_of(line) <= known_options(line)]
    assert unknown == []


# ---- the function of docs/workers.md


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    (block,) = re.findall(r"^```python\n(.*?)^```$", path_of("workers").read_text(), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/workers.md", "exec"), names)
    return names


def message(type_: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((OUT / f"{type_}.valid.json").read_bytes())
    return found


@pytest.mark.parametrize("type_", ["referral.ask.requested", "referral.reason.asked", "referral.followup.requested"])
def test_the_example_keeps_to_the_window_of_every_message(example: dict[str, Any], type_: str) -> None:
    asked, judge, moment = message(type_), example["what_to_do"], timedelta(milliseconds=1)
    begins, ends = (datetime.fromisoformat(asked["data"][name]) for name in ("not_before", "expires_at"))
    told = [judge(asked, set(), set(), now) for now in (begins - moment, begins, ends - moment, ends)]
    assert told == ["wait", "send", "send", "dropped_expired"]
    assert judge(asked, {asked["id"]}, set(), begins) == "ignore"
    assert judge(asked, set(), {asked["id"]}, begins) == "cancelled"


def test_the_example_sends_nothing_else(example: dict[str, Any]) -> None:
    others = [each for each in map(orjson.loads, map(Path.read_bytes, OUT.glob("*.valid.json")))
              if each["type"] not in example["TYPES"]]  # fmt: skip
    assert others
    assert {example["what_to_do"](each, set(), set(), NOW) for each in others} == {"ignore"}


def test_the_example_reports_in_the_contracts_words(example: dict[str, Any]) -> None:
    asked = message("referral.ask.requested")
    first, again = (example["acknowledgement"](asked, "sent", NOW) for _ in range(2))
    body = FACT_BODIES[first["type"]](first["data"])
    assert body == AskAcknowledged(command_id=asked["id"], status="sent")
    assert (first["id"], first["subject"]) == (again["id"], asked["subject"])
    assert first["id"] != example["acknowledgement"](asked, "delivered", NOW)["id"]
