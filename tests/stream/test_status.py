"""The judgement of a supervisor's questions, and that what is told, what is documented and what is alerted on agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faust_batches import AppStatus
from prometheus_client import generate_latest
from redis.exceptions import AuthenticationError
from ruamel.yaml import YAML

from referral_stream.contracts.state import encode_wakeup
from referral_stream.core.instants import HOUR, SECOND
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerEvicting, LedgerUnavailable, redis_answers
from referral_stream.projector.status import PROJECTOR_FAMILIES
from referral_stream.rewards.status import REWARDS_FAMILIES
from referral_stream.runtime.clock import Clock
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings
from referral_stream.stream.apps import Role, decide_role
from referral_stream.stream.ledger_agent import LedgerAgent
from referral_stream.stream.run import build
from referral_stream.stream.status.health import STANDING_SECONDS, STUCK_SECONDS, trouble, waiting_for
from referral_stream.stream.status.metrics import FAMILIES, registry
from referral_stream.stream.wakeups import Wakeups
from tests.stream.records import Consumed

DOCS = Path(__file__).parents[2] / "docs"
PROMTOOL = shutil.which("promtool")
WELL = AppStatus(
    failure="",
    stopping=False,
    joined=True,
    in_touch=True,
    partitions={"customer-events": 4},
    clock_refused=False,
    recovery_left={},
    queued={"customer-events": 0},
    attempt_seconds=0.0,
    refused_seconds=0.0,
    standing_seconds=0.0,
)


@pytest.fixture
def deployment() -> Deployment:
    settings = Settings.model_validate({"email_key": "a key for the tests", "kafka_brokers": "127.0.0.1:9"})
    return Deployment(settings, Policy(), Clock())


@pytest.fixture
def roles(deployment: Deployment) -> list[Role]:
    """Roles that are not started."""
    return build(deployment, ["ingest", "decide", "ledger"])


def with_redis(role: Role, available: bool | None) -> Role:
    assert isinstance(role.processor, LedgerAgent)
    role.processor.available = available
    return role


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, ""),
        ({"failure": "KafkaError"}, "failed: KafkaError"),
        ({"attempt_seconds": STUCK_SECONDS}, ""),
        ({"attempt_seconds": STUCK_SECONDS + 1}, "stuck: a batch has been running for 121 s"),
        ({"attempt_seconds": STUCK_SECONDS + 1, "in_touch": False}, ""),
        ({"joined": False, "in_touch": False, "recovery_left": {"customers": 9}}, ""),
        ({"standing_seconds": STANDING_SECONDS}, ""),
        (
            {"standing_seconds": STANDING_SECONDS + 1},
            "standing: there is work, and nothing has moved for 601 s",
        ),
        ({"standing_seconds": STANDING_SECONDS + 1, "in_touch": False}, ""),
        ({"refused_seconds": STUCK_SECONDS, "in_touch": False}, ""),
        (
            {"refused_seconds": STUCK_SECONDS + 1, "in_touch": False},
            "refused: the brokers have refused our credentials for 121 s",
        ),
        ({"stopping": True}, ""),
    ],
    ids=str,
)
def test_only_what_a_restart_mends_is_trouble(roles: list[Role], seen: dict[str, Any], why: str) -> None:
    assert trouble(roles[1], replace(WELL, **seen)) == why


def test_a_wake_up_that_is_due_is_expected_to_move_and_one_to_come_is_not(deployment: Deployment) -> None:
    wakeups, now = Wakeups(), deployment.clock.now()
    ((what, position),) = decide_role(deployment, wakeups).app.expected
    assert (what, position()) == ("wakeups", None)
    wakeups.load(0, [(b"later", encode_wakeup(now + HOUR, 1))])
    assert not wakeups.read_on()
    assert position() is None
    wakeups.change(0, {b"overdue": encode_wakeup(now - SECOND, 1)})
    assert position() == (now - SECOND, 2)


def test_waiting_for_redis_is_no_trouble_however_long_it_lasts(roles: list[Role]) -> None:
    waits = replace(WELL, attempt_seconds=86_400.0)
    assert trouble(with_redis(roles[2], available=False), waits) == ""
    assert trouble(with_redis(roles[2], available=True), waits).startswith("stuck")


@pytest.mark.parametrize(
    ("cause", "lacks", "trouble_after"),
    [
        (None, "Redis does not answer", ""),
        (AuthenticationError("WRONGPASS"), "Redis refuses our login", "refused: Redis has refused our login for 121 s"),
        (LedgerEvicting("the server may throw away"), "the server may throw away", ""),
    ],
    ids=str,
)
def test_what_a_person_has_to_mend_about_redis_is_said(
    roles: list[Role], monkeypatch: pytest.MonkeyPatch, cause: Exception | None, lacks: str, trouble_after: str
) -> None:
    shown = [1_000.0]
    monkeypatch.setattr(redis_answers, "monotonic", lambda: shown[0])
    role = roles[2]
    assert isinstance(role.processor, LedgerAgent)
    failed = cause if isinstance(cause, LedgerUnavailable) else LedgerUnavailable("a test")
    failed.__cause__ = cause
    role.processor._fails(failed)
    shown[0] += STUCK_SECONDS - 1
    role.processor._fails(failed)
    assert trouble(role, WELL) == ""
    shown[0] += 2
    assert waiting_for(role, WELL) == lacks
    assert trouble(role, WELL) == trouble_after
    role.processor._at_hand()
    assert (trouble(role, WELL), waiting_for(role, WELL)) == ("", "")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, ""),
        ({"partitions": {"customer-events": 0}}, ""),
        ({"failure": "KafkaError", "stopping": True}, "failed: KafkaError"),
        ({"stopping": True}, "stopping"),
        (
            {"joined": False, "recovery_left": {"customers": 30, "wakeups": 4}},
            "recovering: 34 changelog records left",
        ),
        ({"joined": False}, "joining its group"),
        ({"in_touch": False}, "the broker does not answer"),
        ({"clock_refused": True}, "the broker refuses our time: the clock of this host is wrong"),
    ],
    ids=str,
)
def test_what_a_role_lacks_is_named(roles: list[Role], seen: dict[str, Any], why: str) -> None:
    assert waiting_for(roles[1], replace(WELL, **seen)) == why


@pytest.mark.parametrize(
    ("available", "why"), [(True, ""), (False, "Redis does not answer"), (None, "Redis has not been asked yet")]
)
def test_the_ledger_needs_redis(roles: list[Role], available: bool | None, why: str) -> None:
    assert waiting_for(with_redis(roles[2], available), WELL) == why


def no_state(_table: str, _key: bytes) -> None:
    """Nothing is known of anybody."""


def told(deployment: Deployment, roles: list[Role]) -> str:
    return generate_latest(registry(deployment, roles)).decode()


def test_what_the_processors_count_is_told_under_names_of_ours(deployment: Deployment, roles: list[Role]) -> None:
    ingest, decide, ledger = roles
    records = [Consumed("nps", 0, offset, 1, b"ana@example.com", value) for offset, value in enumerate((b"\xff", None))]
    ingest.processor(0, records, no_state)
    decide.processor(0, [Consumed("customer-events", 0, 0, 1, b"ana", b"{")], no_state)
    assert isinstance(ledger.processor, LedgerAgent)
    assert ledger.processor.watch is not None
    ledger.processor.watch.ahead_seconds = 60.0
    decide.app.clock_watch.see([Consumed("customer-events", 0, 0, Clock().now() + 90 * SECOND, b"ana", b"{")])
    assert decide.wakeups is not None
    decide.wakeups.appended([(0, b"ana", 0)], 2 * SECOND)

    text = told(deployment, [ingest, decide, ledger])

    for sample in (
        'referral_stream_ingested_records_total{outcome="refused",reason="undecodable"} 1.0',
        'referral_stream_ingested_records_total{outcome="skipped",reason="tombstone"} 1.0',
        'referral_stream_dead_letters_total{cause="undecodable",stage="ingest"} 1.0',
        'referral_stream_dead_letters_total{cause="fault",stage="decide"} 0.0',
        'referral_stream_dead_letters_total{cause="fault",stage="ingest"} 0.0',
        'referral_stream_dead_letters_total{cause="state_too_large",stage="decide"} 0.0',
        'referral_stream_wakeup_delay_seconds_bucket{le="1.0"} 0.0',
        'referral_stream_wakeup_delay_seconds_bucket{le="2.5"} 1.0',
        "referral_stream_wakeup_delay_seconds_sum 2.0",
        'referral_stream_clock_skew_seconds{of="redis",role="ledger"} 60.0',
        'referral_stream_clock_skew_seconds{of="records",role="decide"} -8',
        'referral_stream_clock_skew_seconds{of="records",role="ingest"} 0.0',
        f'policy_hash="{deployment.policy.hash}"',
        'referral_stream_burst_pauses_total{trigger="renewal"} 0.0',
    ):
        assert sample in text, sample
    assert "ana" not in text


def test_a_role_that_is_not_started_is_not_ready(deployment: Deployment, roles: list[Role]) -> None:
    text = told(deployment, roles)
    for role in ("ingest", "decide", "ledger"):
        assert f'referral_stream_ready{{role="{role}"}} 0.0' in text


def test_the_page_of_operations_lists_every_metric_as_it_is() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.+?) \| (.+) \|$", text, flags=re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert listed == [(family.name, family.kind, family.labels, family.meaning) for family in FAMILIES]


def looks_at_what_exists(expression: str) -> None:
    """A query of Prometheus names our metrics, and their labels."""
    families = (*REWARDS_FAMILIES, *PROJECTOR_FAMILIES, *FAMILIES)
    by_name = {f"referral_stream_{family.name}": family for family in families}
    named = re.findall(r"(referral_stream_\w+?)(_bucket|_sum|_count)?(?=[\s\[){]|$)(?:\{(\w+)!?=)?", expression)
    assert named, expression
    for name, series, label in named:
        family = by_name[name]
        assert (family.kind == "histogram") == bool(series), expression
        assert not label or label in family.labels, expression
    grouped = {label.strip() for found in re.findall(r"by \(([^)]*)\)", expression) for label in found.split(",")}
    assert grouped <= {*by_name[named[0][0]].labels, "instance", "le"}, expression


def test_panels_of_the_dashboards_look_at_metrics_and_labels_that_exist() -> None:
    boards = [json.loads(file.read_text()) for file in sorted((DOCS / "grafana").glob("*.json"))]
    panels = [panel for board in boards for panel in board["panels"] if panel["type"] != "row"]
    assert len(boards) == 2
    assert len(panels) > 25
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            looks_at_what_exists(target["expr"])
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = set(", ".join(re.findall(r"by \(([^)]*)\)", target["expr"])).split(", ")) - {""}
            assert legend == grouped - {"le"} or not grouped, panel["title"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_takes_the_alerts_its_configuration_and_the_queries_of_the_dashboards(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    alerts, queries, config = DOCS / "alerts.yml", tmp_path / "queries.yml", tmp_path / "prometheus.yml"
    expressions = [
        target["expr"].replace("$__rate_interval", "5m")
        for file in sorted((DOCS / "grafana").glob("*.json"))
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    queries.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))  # JSON is YAML
    ours = (DOCS.parent / "docker" / "observe" / "prometheus.yml").read_text()
    config.write_text(ours.replace("/etc/prometheus/alerts.yml", str(alerts)))
    for what, file in (("rules", alerts), ("rules", queries), ("config", config)):
        command = [PROMTOOL, "check", what, "--lint=all", "--lint-fatal", str(file)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
    assert len(rules) > 30


def test_alerts_look_at_metrics_and_labels_that_exist() -> None:
    rules = YAML(typ="safe").load(DOCS / "alerts.yml")["groups"][0]["rules"]
    for rule in rules:
        looks_at_what_exists(rule["expr"])
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule["labels"]["severity"] in {"page", "ticket"}
