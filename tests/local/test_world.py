from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.outcomes import Accepted
from referral_stream.core.instants import parse_instant
from referral_stream.core.zones import zone
from referral_stream.demo.play import demo_policy
from referral_stream.demo.world import CAST, HOME, START, LogRecord, demo_world
from referral_stream.replay.files import Summary, replay_file
from tests.oracle.naive import decide

Row: TypeAlias = dict[str, Any]

BOUNDARY = Boundary(email_key=b"demo")
WINTER = datetime(2027, 2, 16, 9, 0, tzinfo=zone(HOME))

WEEK = timedelta(days=7)


def local(text: str, start: datetime = START) -> str:
    """A time of output: `Wed 11:22` in Berlin, in the week that begins at `start`; `-40 10:20` is days before it."""
    day, clock = text.split()
    offset = int(day) if day.startswith("-") else ("Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon").index(day)
    hour, minute, second = (int(part) for part in f"{clock}:00".split(":")[:3])
    moment = (start + timedelta(days=offset)).replace(hour=hour, minute=minute, second=second)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def replayed(records: list[LogRecord], folder: Path) -> tuple[Summary, list[Row], list[Row]]:
    """What the engine makes of the log: its summary, decisions and asks."""
    log = folder / "world.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = replay_file(log, folder, demo_policy(), BOUNDARY)
    decisions, asks = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in ("decisions", "asks")
    )
    return summary, decisions, asks


def of_the_week(decisions: list[Row]) -> list[Row]:
    return [row["data"] for row in decisions if row["data"]["outcome"] != "historical"]


def blocking(decision: Row) -> set[str]:
    """The gates that do not pass; the moment only where nothing else blocks, since it is planned until the end."""
    gates = {reason["gate"] for reason in decision["reasons"] if reason["answer"] != "pass"}
    return gates - {"moment"} or gates


# How each opportunity ends: (customer, trigger) -> (outcome, when, what stood against it).
ENDINGS = {
    ("cus-ana", "nps_promoter"): ("asked", "Tue 10:24", set()),
    ("cus-ben", "milestone"): ("asked", "Wed 11:22", set()),
    ("cus-carla", "renewal"): ("soft", "Fri 19:00", set()),
    ("cus-deniz", "nps_promoter"): ("asked", "Wed 15:10:02", set()),
    ("cus-deniz", "positive_feedback"): ("superseded", "Wed 15:10:02", {"moment"}),
    ("cus-emma", "nps_promoter"): ("suppressed", "Tue 14:00:02", {"too_early"}),
    ("cus-finn", "milestone"): ("suppressed", "Thu 21:00:02", {"moment"}),
    ("cus-greta", "nps_promoter"): ("asked", "-40 10:20", set()),
    ("cus-greta", "positive_feedback"): ("suppressed", "Wed 10:00:02", {"overasking"}),
    ("cus-henk", "nps_promoter"): ("cancelled", "Tue 11:08:02", {"trouble"}),
    ("cus-henk", "milestone"): ("suppressed", "Wed 10:30:02", {"trouble"}),
    ("cus-ida", "positive_feedback"): ("suppressed", "Tue 13:00:02", {"consent"}),
    ("cus-jonas", "positive_feedback"): ("suppressed", "Fri 12:00", {"trouble"}),
    ("cus-kim", "nps_promoter"): ("asked", "Sat 11:30:02", set()),
    ("cus-lena", "nps_promoter"): ("suppressed", "Wed 16:00:02", {"trouble"}),
}


@pytest.mark.parametrize("start", [START, WINTER], ids=["summer", "winter"])
def test_every_story_ends_as_it_is_told(start: datetime, tmp_path: Path) -> None:
    summary, decisions, _ = replayed(demo_world(start), tmp_path)
    endings = {(row["customer_id"], row["trigger"]): row for row in of_the_week(decisions)}
    assert {
        story: (row["outcome"], row["decided_at"], blocking(row)) for story, row in endings.items()
    } == {story: (outcome, local(when, start), gates) for story, (outcome, when, gates) in ENDINGS.items()}  # fmt: skip
    assert not summary.skipped
    assert not summary.refused


def test_the_week_shows_five_asks_and_five_reasons_not_to_ask(tmp_path: Path) -> None:
    _, decisions, asks = replayed(demo_world(), tmp_path)
    week = [row for row in asks if row["time"] >= local("Tue 09:00")]
    assert {row["subject"] for row in week} == {"cus-ana", "cus-ben", "cus-carla", "cus-deniz", "cus-kim"}
    against: set[str] = set()
    for decision in of_the_week(decisions):
        if decision["outcome"] == "suppressed":
            against |= blocking(decision)
    assert against == {"too_early", "moment", "overasking", "trouble", "consent"}


def test_asks_go_out_on_the_channel_of_their_moment(tmp_path: Path) -> None:
    _, _, asks = replayed(demo_world(), tmp_path)
    assert {row["subject"]: row["data"]["channels"] for row in asks} == {
        "cus-ana": ["email"],
        "cus-ben": ["email"],
        "cus-carla": ["email"],
        "cus-deniz": ["email"],
        "cus-greta": ["email"],
        "cus-kim": ["in_app"],
    }


@pytest.mark.parametrize("start", [START, WINTER], ids=["summer", "winter"])
def test_the_week_goes_on_after_the_asks(start: datetime, tmp_path: Path) -> None:
    replayed(demo_world(start), tmp_path)

    def told(name: str) -> list[tuple[str, str, str]]:
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        messages = [message for message in map(json.loads, lines) if message["time"] < local("Mon 15:01", start)]
        return [
            (row["subject"], row["type"].rpartition(".")[2], row["data"].get("kind") or row["data"].get("reason"))
            for row in messages
        ]

    assert told("followups") == [
        ("cus-ana", "requested", "intro_offer"),
        ("cus-ana", "requested", "thank"),
        ("cus-ana", "requested", "take_care"),
        ("cus-ben", "requested", "easy_forward"),
        ("cus-deniz", "requested", "graceful_no"),
        ("cus-ana", "cancelled", "take_care"),
        ("cus-ana", "requested", "report_back"),
        ("cus-ana", "cancelled", "report_back"),
        ("cus-ana", "requested", "report_back"),
        ("cus-kim", "requested", "intro_offer"),
        ("cus-kim", "cancelled", "intro_offer"),
        ("cus-ana", "requested", "read_reward"),
    ]
    assert told("rewards") == [("cus-ana", "granted", "credit"), ("cus-ana", "reversed", "refunded")]


def test_the_webhook_of_the_conversion_comes_twice() -> None:
    conversions = [record["value"] for record in demo_world() if "converted" in json.dumps(record["value"])]
    assert len(conversions) == 2
    assert conversions[0] == conversions[1]


def test_the_naive_oracle_decides_the_same_week(tmp_path: Path) -> None:
    """The oracle reads no webhooks: it gets what the adapters make of them."""
    _, decisions, asks = replayed(demo_world(), tmp_path)
    oracle = decide(list(canonical(demo_world())))
    assert [essence(row) for row in decisions] == [essence(row) for row in oracle.decisions]
    assert [command(row) for row in asks] == [command(row) for row in oracle.asks]


def canonical(records: list[LogRecord]) -> Iterator[LogRecord]:
    for number, record in enumerate(records, 1):
        raw = parse_line(orjson.dumps(record), file="world", number=number)
        adapted = adapt(raw, raw.timestamp, BOUNDARY)
        assert isinstance(adapted, Accepted), (record, adapted)
        for event in adapted.events:
            yield record | {"value": json.loads(encode_event(event))}


def essence(row: Row) -> Row:
    decision = row["data"]
    told = ("decision_id", "customer_id", "trigger", "outcome", "score", "window", "decided_at", "next_eligible_at")
    reasons = [{name: reason.get(name) for name in ("gate", "answer", "until")} for reason in decision["reasons"]]
    return {name: decision.get(name) for name in (*told, "mode", "command_id")} | {"reasons": reasons}


def command(row: Row) -> Row:
    told = ("command_id", "customer_id", "trigger", "mode", "channels", "not_before", "expires_at")
    return {name: row["data"].get(name) for name in told} | {"type": row["type"], "time": row["time"]}


def test_the_same_start_gives_the_same_world() -> None:
    assert demo_world() == demo_world()


def test_the_log_is_in_order_and_ends_within_the_week() -> None:
    arrivals = [parse_instant(record["timestamp"])[0] for record in demo_world()]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] < (START + WEEK).timestamp() * 1000
    assert 150 <= len(arrivals) <= 400


def test_all_seven_sources_and_four_vendors_have_a_part() -> None:
    records = demo_world()
    assert {record["topic"] for record in records} == {
        "product-usage",
        "nps",
        "billing",
        "support",
        "relationship",
        "profile",
        "responses",
    }
    vendors = [record["value"] for record in records if "specversion" not in record["value"]]
    assert {next(name for name in ("event_data", "zendesk_event_version", "messageId", "data") if name in value)
            for value in vendors} == {"event_data", "zendesk_event_version", "messageId", "data"}  # fmt: skip


def test_only_what_was_before_the_week_is_backfill() -> None:
    beginning = parse_instant(local("Tue 09:00"))[0]
    for record in demo_world():
        if "headers" in record:
            assert parse_instant(record["timestamp"])[0] < beginning


def test_every_customer_of_the_log_is_in_the_cast_and_no_name_is_in_the_log() -> None:
    records = demo_world()
    assert {record["key"] for record in records} == {character.customer_id for character in CAST}
    written = json.dumps([record["value"] for record in records])
    for character in CAST:
        assert character.title.split(",")[0] not in written


@pytest.mark.parametrize("start", [START + timedelta(days=1), START + timedelta(hours=1)])
def test_a_week_that_begins_at_another_hour_or_day_is_refused(start: datetime) -> None:
    with pytest.raises(ValueError, match="Tuesday at 09:00"):
        demo_world(start)
