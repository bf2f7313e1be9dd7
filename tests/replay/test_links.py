"""Links in replays of files: live = exact, letters in their file, explanations, snapshots, facts alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from referral_stream.contracts.log import parse_line, render_line
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_state, encode_state
from referral_stream.core import events as ev
from referral_stream.core.effects import RecordPosition
from referral_stream.core.events import Event, Link
from referral_stream.core.instants import parse_instant
from referral_stream.core.links import Brought, LinkState, step_link
from referral_stream.explain.of_log import explain
from referral_stream.replay.files import replay_file
from referral_stream.replay.recorded_run import Diverged
from referral_stream.replay.snapshot import read_snapshot
from tests.builders import POLICY, Told, a_customer, at, fact, nps
from tests.replay.logs import BOUNDARY, recorded_lines, rows, write
from tests.rules import rule

HMAC = "a" * 64
EMAIL, CHARGE = Link("email", HMAC), Link("stripe_charge", "ch_1")


def by(link: Link, data: ev.Data, when: str) -> Event:
    return fact(data, when, customer="", link=link)


WORLD: tuple[Told, ...] = (
    a_customer("ana", email_hmac=HMAC), a_customer("ben"), nps(9, customer="ana"), nps(9, customer="ben"),
    by(CHARGE, ev.ChargeDisputed(charge_id="ch_1"), "Tue 10:00"),
    fact(ev.Linked(kind=CHARGE.kind, value=CHARGE.value), "Wed 10:00", customer="ben"),
    by(EMAIL, ev.Suppressed(), "Thu 13:00"),
    by(Link("email", "b" * 64), ev.ComplimentGiven(), "Thu 14:00"),
)  # fmt: skip


@rule("I7.1", "I7.3")
def test_an_exact_replay_takes_what_was_appended_as_recorded(tmp_path: Path) -> None:
    lines = recorded_lines(*WORLD)
    log = write(tmp_path / "log", lines)
    replay_file(log, tmp_path / "exact", POLICY, BOUNDARY)
    replay_file(log, tmp_path / "facts", POLICY, BOUNDARY, facts_only=True)
    for name in ("decisions", "asks"):
        assert rows(tmp_path / "exact", name) == rows(tmp_path / "facts", name)
    assert {row["data"]["gate"] for row in rows(tmp_path / "exact", "asks") if "cancelled" in row["type"]} == {
        "consent"
    }
    (letter,) = rows(tmp_path / "exact", "dead-letters")
    headers = dict(letter["headers"])
    assert headers["error"].startswith("unknown_customer: ")
    assert parse_instant(headers["occurred-at"])[0] == at("next Thu 14:00")
    (alike,) = rows(tmp_path / "facts", "dead-letters")
    assert dict(alike["headers"])["error"] == headers["error"]


@rule("I7.3")
@pytest.mark.parametrize("kind", ["link.taught", "customer.suppressed"])
def test_a_log_that_lacks_what_an_entity_appended_is_refused(tmp_path: Path, kind: str) -> None:
    lines = [json.loads(line) for line in recorded_lines(*WORLD)]
    gone = next(n for n, line in enumerate(lines) if line["value"]["type"] == kind and (
        kind == "link.taught" or "via" in line["value"]))  # fmt: skip
    left = [json.dumps({k: v for k, v in line.items() if k != "offset"}).encode() for line in lines]
    del left[gone]
    with pytest.raises(Diverged):
        replay_file(write(tmp_path / "log", left), tmp_path, POLICY, BOUNDARY)


@rule("I7.2")
def test_facts_alone_are_what_producers_said(tmp_path: Path) -> None:
    """What links passed on and were taught is made anew, not taken twice."""
    lines = recorded_lines(*WORLD)
    said = sum(1 for line in lines if not {"via"} & json.loads(line)["value"].keys())
    summary = replay_file(write(tmp_path / "log", lines), tmp_path, POLICY, BOUNDARY, facts_only=True)
    assert len(lines) > said
    assert summary.customers == 2


def test_an_explanation_tells_by_what_an_event_came_and_what_waits(tmp_path: Path) -> None:
    told = (*WORLD, fact(ev.ProfileChanged(email_hmac="c" * 64), "Thu 15:00", customer="ana"),
            by(EMAIL, ev.ComplimentGiven(), "Thu 16:00"))  # fmt: skip
    log = write(tmp_path / "log", recorded_lines(*told))
    texts = {entry.kind: entry.text for entry in explain(log, "ana", POLICY, BOUNDARY, at=at("Fri 10:00")).entries
             if "e-mail address" in entry.text}  # fmt: skip
    assert texts == {
        "came in": "was put on the suppression list (by an e-mail address, without a customer id)",
        "waits": "paid a compliment: by an e-mail address that was theirs, and nobody can be meant; it waits until "
        "Thu 25 Jun 16:00",
    }
    ben = explain(log, "ben", POLICY, BOUNDARY, at=at("Fri 10:00"))
    assert any(entry.text == "charge ch_1 was disputed (by a charge, without a customer id), on Tue 16 Jun 10:00"
               for entry in ben.entries)  # fmt: skip


def test_a_snapshot_holds_links_too(tmp_path: Path) -> None:
    waiting = by(CHARGE, ev.ChargeDisputed(charge_id="ch_1"), "Tue 10:00")
    now = at("Tue 10:00")
    link, *_ = step_link(POLICY, LinkState(CHARGE), [Brought(waiting, RecordPosition("t", 0, 4, now, 2))], now)
    value = encode_state(link, 5)
    assert decode_state(value).entity == link
    record = RawRecord(topic="t", partition=0, offset=0, timestamp=0, key=b"~stripe_charge:ch_1", value=value)
    snapshot = read_snapshot(write(tmp_path / "state", [render_line(record)]))
    assert snapshot.keys() == {CHARGE}
    lines = [line for line in recorded_lines(*WORLD) if parse_line(line, file="", number=1).key != b"ana"]
    log = write(tmp_path / "log", lines[-3:])
    assert replay_file(log, tmp_path, POLICY, BOUNDARY, snapshot=snapshot).exact
