"""``referral-stream import`` on a real broker: a company's history comes in, twice as once, and somebody is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from referral_stream.core.instants import HOUR, parse_instant
from tests.integration.live import Message, Pipeline, cloud_event, facts, parsed
from tests.services.kafka import KafkaServer
from tests.services.redis import RedisServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_week"
COMMAND = (
    "import",
    str(EXAMPLE / "customers.csv"),
    "--as-of",
    "2026-06-30",
    "--columns",
    str(EXAMPLE / "columns.toml"),
)
TUESDAY = parse_instant("2026-07-07T10:00:00+02:00")[0]

ASKED, OPTED_OUT, UNREADABLE, ASKED_BEFORE = "cus-01", "cus-08", "cus-22", "cus-04"


@pytest.fixture(scope="module")
def pipeline(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("import")
    policy = "[holdout]\npercent = 0\n"
    with Pipeline(kafka, redis_server.url, folder, policy=policy, start=TUESDAY) as pipeline:
        pipeline.create_topics()
        yield pipeline


def imported(pipeline: Pipeline, times: int) -> list[str]:
    """Import the example; wait until all of it is on ``customer-events`` that often. The ids of its events."""
    done = pipeline.run_command(*COMMAND)
    assert done.returncode == 0, done.stdout + done.stderr
    ids = [
        parsed(record)["id"]
        for record in pipeline.read("profile")
        if b"referral-stream/import" in (record.value or b"")
    ]
    assert f"{len(ids) // times} events written to {pipeline.topic('profile')}" in done.stdout
    reader = pipeline.reader("customer-events")
    pipeline.await_until(
        lambda: len([each for each in facts(reader.read()) if parsed(each)["id"] in ids]) == len(ids),
        f"{len(ids)} events are on customer-events",
        60,
    )
    return ids


def answered(pipeline: Pipeline, customer: str) -> Message:
    at = pipeline.now() - HOUR
    event = cloud_event("nps.responded", customer, at, {"response_id": f"live-{customer}", "score": 10})
    return Message("profile", json.dumps(event).encode(), customer.encode())


def test_a_company_is_imported_asked_exported_and_replayed(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start()
    ids = imported(pipeline, 1)
    pipeline.publish(answered(pipeline, who) for who in (ASKED, OPTED_OUT, UNREADABLE, ASKED_BEFORE))
    pipeline.await_outcome(ASKED, "asked", "soft")
    blocked = {
        who: {
            reason.gate
            for reason in pipeline.await_outcome(who, "deferred", "suppressed").reasons
            if reason.answer != "pass"
        }
        for who in (OPTED_OUT, UNREADABLE, ASKED_BEFORE)
    }
    assert "consent" in blocked[OPTED_OUT]
    assert "consent" in blocked[UNREADABLE]
    assert "overasking" in blocked[ASKED_BEFORE]
    decided, asks = [said.record.value for said in pipeline.decisions()], pipeline.asks()

    again = imported(pipeline, 2)
    assert again == ids * 2 or sorted(again) == sorted(ids * 2)
    pipeline.publish([answered(pipeline, "cus-07")])  # what it leads to comes after all that was imported again
    pipeline.await_outcome("cus-07", "asked", "soft", "deferred", "suppressed")
    pipeline.stop()
    since = [said for said in pipeline.decisions() if said.record.value not in decided]
    assert {said.effect.customer_id for said in since} == {"cus-07"}
    assert {each.effect.customer_id for each in pipeline.asks()} >= {ask.effect.customer_id for ask in asks} == {ASKED}

    log = tmp_path / "log.jsonl"
    assert pipeline.run_command("export", "--output", str(log)).returncode == 0
    policy = ("--policy", str(pipeline.policy_file))
    replayed = pipeline.run_command("replay", str(log), *policy, "--output", str(tmp_path / "out"))
    assert replayed.returncode == 0, replayed.stderr
    assert "exact replay" in replayed.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "asks.jsonl").read_text().splitlines()]
    assert ASKED in {row["subject"] for row in rows}
    live = {said.record.value for said in pipeline.decisions()}
    assert live == set((tmp_path / "out" / "decisions.jsonl").read_bytes().splitlines())


def test_an_ask_of_others_counts_for_the_account_by_the_ledger(pipeline: Pipeline, tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text(
        "customer_id,account_id,created_at,onboarded_at,first_success_at,referral_consent,asked_at\n"
        "before,acme,2024-01-01,,,,2026-07-04\n"
        "beside,acme,2024-01-01,2024-01-05,2024-02-01,yes,\n"
    )
    pipeline.start()
    done = pipeline.run_command("import", str(table), "--as-of", "2026-07-06")
    assert done.returncode == 0, done.stdout + done.stderr
    reader = pipeline.reader("ledger-requests")
    pipeline.await_until(
        lambda: any(
            b"reservation.confirmed" in (record.value or b"") for record in reader.read() if record.key == b"acme"
        ),
        "the ledger is told",
        60,
    )
    pipeline.publish([answered(pipeline, "beside")])
    decision = pipeline.await_outcome("beside", "suppressed", "deferred")
    pipeline.stop()
    gates = {reason.gate: reason.saw for reason in decision.reasons if reason.answer != "pass"}
    assert set(gates) == {"account"}
    assert "2026-07-04" in gates["account"]


def test_without_a_broker_it_says_so(pipeline: Pipeline) -> None:
    done = pipeline.run_command(*COMMAND, kafka_brokers="127.0.0.1:9")
    assert done.returncode == 1
    assert "nothing listens at 127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_topic_that_is_bound_to_a_vendor_takes_no_events(pipeline: Pipeline) -> None:
    done = pipeline.run_command(*COMMAND, topic_adapters="profile=segment")
    assert done.returncode == 1
    assert "is read as segment's webhooks alone" in done.stderr
