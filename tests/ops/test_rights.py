"""docs/operations.md explains the rights that ``topics acls`` grants, no more and no less."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.contracts.topics import PRINCIPALS, SOURCES, TOPICS, changelogs
from referral_stream.core.policy import Policy
from referral_stream.ledger.client import PARTS
from referral_stream.ops.rights import (
    READ_REDIS_COMMANDS,
    READER_REDIS_COMMANDS,
    REDIS_COMMANDS,
    WORKER_GROUP,
    commands,
    rights,
)
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import read_settings

ENVIRONMENT = {"REFERRAL_STREAM_EMAIL_KEY": "a key for these tests only"}
DEPLOYMENT = Deployment(read_settings(ENVIRONMENT), Policy(), Clock())
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)`.*? \| (.*?) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
TABLES = changelogs(DEPLOYMENT.group("decide"))

ROWS = {row[1]: row for row in ROW.finditer(PAGE.partition("\n## Rights\n")[2].partition("\n## ")[0])}


def topics_in(cell: str) -> set[str]:
    """The topics that a cell of the table stands for."""
    all_ = (*TOPICS, *TABLES, DEPLOYMENT.positions)
    words = {"the seven source topics": SOURCES, "both changelogs": TABLES, "all": all_, "–": ()}
    words["the positions"] = (DEPLOYMENT.positions,)
    return {name for part in cell.split(", ") for name in words.get(part, (part.strip("`"),))}


def test_the_table_has_every_user() -> None:
    assert tuple(ROWS) == PRINCIPALS


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_the_table_says_which_topics_a_user_may_read_and_write(principal: str) -> None:
    granted = [right for right in rights(DEPLOYMENT, principal) if right.kind == "topic"]
    assert topics_in(ROWS[principal][2]) == {right.name for right in granted if right.operation == "Read"}
    assert topics_in(ROWS[principal][3]) == {right.name for right in granted if right.operation == "Write"}


def test_the_table_says_what_else_is_granted() -> None:
    others = {
        principal: {
            (r.kind, r.name, r.operation, r.prefixed) for r in rights(DEPLOYMENT, principal) if r.kind != "topic"
        }
        for principal in PRINCIPALS
    }
    group = DEPLOYMENT.group
    assert others == {
        "ingest": {("group", group("ingest"), "Read", False)},
        "decide": {
            ("group", group("decide"), "Read", False),
            ("group", group("ingest"), "Describe", False),
            ("transactional-id", f"{group('decide')}-", "Write", True),
        },
        "ledger": {("group", group("ledger"), "Read", False)},
        "projector": {
            ("group", group("projector"), "Read", False),
            *(("group", group(role), "Describe", False) for role in ("ingest", "decide", "ledger", "rewards")),
        },
        "receiver": set(),
        "worker": {("group", WORKER_GROUP, "Read", True)},
        "rewards": {("group", group("rewards"), "Read", False)},
        "operator": {("group", f"{DEPLOYMENT.settings.group_prefix}-", "Describe", True)},
    }
    for principal, granted in others.items():
        for kind, _, operation, _ in granted:
            assert operation in ROWS[principal][4]
            assert kind.replace("-", " ") in ROWS[principal][4]


def test_only_the_operator_makes_topics_and_looks_at_their_settings() -> None:
    """The exceptions: decide has to be sure of the settings of its changelogs, ingest of those of the sources."""
    looks_at = {"decide": set(TABLES), "ingest": set(SOURCES)}
    for principal in PRINCIPALS:
        made, seen = (
            {right.name for right in rights(DEPLOYMENT, principal) if right.operation == operation}
            for operation in ("Create", "DescribeConfigs")
        )
        everything = topics_in("all") if principal == "operator" else set()
        assert (made, seen) == (everything, looks_at.get(principal, everything))


def test_the_page_lists_the_commands_that_the_ledger_sends_to_redis() -> None:
    (listed,) = re.findall(r"`~GROUP_PREFIX:\{ledger\}:\* ([^`]+)`", PAGE)
    assert listed.split() == [f"+{command.lower()}" for command in REDIS_COMMANDS]


def test_these_are_all_commands_that_the_ledger_sends_and_its_script_calls() -> None:
    folder = files("referral_stream.ledger")
    client = folder.joinpath("client.py").read_text(encoding="utf-8")
    script = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS)
    called = re.findall(r"redis\.call(?:\(|, )'([A-Z]+)'", script)
    sent = re.findall(r'_execute\("([A-Z]+)"', client)
    assert set(REDIS_COMMANDS) == {*called, *sent}


def test_the_page_of_read_models_lists_what_the_projector_and_a_reader_send_to_redis() -> None:
    page = (Path(__file__).parents[2] / "docs" / "read-models.md").read_text("utf-8")
    (writes,) = re.findall(r"`~GROUP_PREFIX:\{read\}:\* ([^`]+)`", page)
    (reads,) = re.findall(r"`%R~GROUP_PREFIX:\{read\}:\* ([^`]+)`", page)
    assert writes.split() == [f"+{command.lower()}" for command in READ_REDIS_COMMANDS]
    assert reads.split() == [f"+{command.lower()}" for command in READER_REDIS_COMMANDS]


def test_these_are_all_commands_of_the_read_models() -> None:
    folder = files("referral_stream.read_models")
    script = folder.joinpath("apply.lua").read_text(encoding="utf-8")
    called = set(re.findall(r'\bcall\("([A-Z]+)"', script))
    sent = set(re.findall(r'"([A-Z]{3,})"[,)]', folder.joinpath("writing.py").read_text(encoding="utf-8")))
    assert set(READ_REDIS_COMMANDS) == (called | sent) - {"MATCH", "COUNT"}
    reading = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in ("reader.py", "works.py"))
    read = set(re.findall(r'\("([A-Z]{3,})"', reading))
    assert set(READER_REDIS_COMMANDS) == (read | {"HGET"}) - {"WITHSCORES", "LIMIT"}


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_the_command_prints_the_rights(principal: str) -> None:
    done = CliRunner(env=ENVIRONMENT).invoke(main, ["topics", "acls", principal, "--user", "somebody"])
    assert done.exit_code == 0
    brokers = ",".join(DEPLOYMENT.settings.kafka_brokers)
    assert done.stdout.splitlines() == list(commands(rights(DEPLOYMENT, principal), "somebody", brokers))


def test_only_with_a_harm_budget_the_projector_writes_to_a_topic_and_is_said_to() -> None:
    budget = Deployment(DEPLOYMENT.settings, Policy.model_validate({"harm": {"pause_at": 20}}), Clock())
    written = [
        {right.name for right in rights(of, "projector") if right.operation == "Write"} for of in (DEPLOYMENT, budget)
    ]
    assert written == [set(), {DEPLOYMENT.topics.responses}]
    done = CliRunner(env=ENVIRONMENT).invoke(main, ["topics", "acls", "projector", "--user", "somebody"])
    assert "without [harm] pause_at" in done.stderr


def test_nobody_else_has_rights() -> None:
    with pytest.raises(ValueError, match="no principal 'console'"):
        rights(DEPLOYMENT, "console")
    assert CliRunner(env=ENVIRONMENT).invoke(main, ["topics", "acls", "console", "--user", "x"]).exit_code == 2
