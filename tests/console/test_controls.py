"""What an operator can do: preview, confirm, one event on the log with who and why."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client

from referral_stream.console.controls import SOURCE, ControlAction, NotPossible
from referral_stream.console.orders import audit_of, carry_out, done_by, said_of
from referral_stream.console.parts import Console, Letters
from referral_stream.console.serve import letters_of
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.outcomes import Accepted
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import parse_instant
from referral_stream.core.policy import Policy
from referral_stream.read_models import Control, Controls
from referral_stream.runtime.deployment import Deployment
from tests.console.world import NotingWriter

PAUSE = {"verb": "pause", "scope": "trigger:renewal", "why": "an incident"}
ORDERS: dict[str, tuple[dict[str, str], str, dict[str, Any]]] = {
    "pause everything": (
        {"verb": "pause", "scope": "all", "why": "an incident"}, "control.paused", {"scope": "all"}),
    "pause a trigger": (PAUSE, "control.paused", {"scope": "trigger", "name": "renewal"}),
    "pause a segment": (
        {**PAUSE, "scope": "segment:smb"}, "control.paused", {"scope": "segment", "name": "smb"}),
    "resume a trigger": (
        {"verb": "resume", "scope": "trigger", "name": "renewal", "why": "over"}, "control.resumed",
        {"scope": "trigger", "name": "renewal"}),
    "resume what the policy no longer has": (
        {"verb": "resume", "scope": "trigger", "name": "gone", "why": "over"}, "control.resumed",
        {"scope": "trigger", "name": "gone"}),
    "approve an ask": (
        {"verb": "approve_ask", "customer": "cus-deniz", "about": "opp-1", "why": "fine"}, "ask.approved",
        {"opportunity_id": "opp-1"}),
    "reject an ask": (
        {"verb": "reject_ask", "customer": "cus/deniz?", "about": "opp-1", "why": "no"}, "ask.rejected",
        {"opportunity_id": "opp-1"}),
    "approve a reward": (
        {"verb": "approve_reward", "customer": "cus-ana", "about": "grant-1", "why": "fine"}, "reward.approved",
        {"grant_id": "grant-1"}),
    "reject a reward": (
        {"verb": "reject_reward", "customer": "cus-ana", "about": "grant-1", "why": "no"}, "reward.rejected",
        {"grant_id": "grant-1"}),
}  # fmt: skip


async def shown(operator: Client, order: dict[str, str]) -> str:
    """The word of the preview."""
    page = await operator.post("/controls/preview", data=order)
    assert page.status_code == 200, page.text
    return page.text.partition('name="word" value="')[2].partition('"')[0]


@pytest.mark.parametrize(("order", "kind", "data"), ORDERS.values(), ids=ORDERS)
async def test_what_is_confirmed_becomes_one_event_that_ingest_takes_for_an_operators_word(
    operator: Client, writer: NotingWriter, console: Console, order: dict[str, str], kind: str, data: dict[str, Any]
) -> None:
    word = await shown(operator, order)
    assert writer.written == []
    answer = await operator.post("/controls/confirm", data={"word": word})
    assert answer.status_code == 303
    (event,) = writer.events()
    assert (event["type"], event["source"]) == (kind, SOURCE)
    assert event["data"] == {**data, "by": "ada", "why": order["why"]}
    assert event.get("subject") == order.get("customer")
    (record,) = writer.written
    raw = RawRecord(
        topic=record.topic, partition=0, offset=0, timestamp=console.clock.now(), key=record.key, value=record.value,
        headers=record.headers,
    )  # fmt: skip
    adapted = adapt(raw, console.clock.now(), Boundary(email_key=b"a-key-of-the-tests"))
    assert isinstance(adapted, Accepted)
    assert [each.type for each in adapted.events] == [kind]


async def test_confirming_twice_counts_once(operator: Client, writer: NotingWriter) -> None:
    """D7: and what was confirmed cannot be confirmed again."""
    word = await shown(operator, PAUSE)
    await operator.post("/controls/confirm", data={"word": word})
    again = await operator.post("/controls/confirm", data={"word": word})
    assert again.status_code == 409
    assert len(writer.written) == 1


async def test_after_a_broker_that_did_not_answer_the_same_event_is_sent_again(
    operator: Client, writer: NotingWriter
) -> None:
    word = await shown(operator, PAUSE)
    writer.fails = True
    answer = await operator.post("/controls/confirm", data={"word": word})
    assert answer.status_code == 503
    assert "it counts once" in answer.text
    writer.fails = False
    record = ControlAction(verb="pause", by="ada", why="an incident", scope="trigger", name="renewal")
    assert (await operator.post("/controls/confirm", data={"word": word})).status_code == 303
    (event,) = writer.events()
    assert event["id"] in str(record.record(word, 0, _topics()).value)


def _topics() -> Any:
    from referral_stream.contracts.topics import Topics

    return Topics("")


async def test_a_preview_is_nobody_elses(operator: Client, console: Console, writer: NotingWriter) -> None:
    word = await console.previews.keep(ControlAction(verb="pause", by="kim", why="an incident", scope="all"))
    assert (await operator.post("/controls/confirm", data={"word": word})).status_code == 409
    assert writer.written == []


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({**PAUSE, "why": "  "}, "Say why"),
        ({**PAUSE, "why": "x" * 501}, "longer than 500"),
        ({**PAUSE, "scope": "trigger:nonsense"}, "There is no trigger"),
        ({**PAUSE, "scope": "trigger"}, "There is no trigger"),
        ({"verb": "pause", "why": "x"}, "Choose what to pause"),
        ({"verb": "approve_ask", "why": "x"}, "not clear which one"),
        ({"verb": "replay_dead_letters", "why": "x"}, "Choose at least one"),
    ],
)
async def test_what_cannot_be_done_is_said_before_it_is_confirmed(
    operator: Client, order: dict[str, str], said: str
) -> None:
    answer = await operator.post("/controls/preview", data=order)
    assert answer.status_code == 400
    assert said in answer.text


@pytest.mark.parametrize(
    "order", [{"verb": "delete"}, {"verb": "by"}, {"verb": "letters"}, {"verb": "pause", "scope": "everyone"}]
)
async def test_what_is_no_control_is_refused(operator: Client, order: dict[str, str]) -> None:
    assert (await operator.post("/controls/preview", data={"why": "x", **order})).status_code == 400


async def test_dead_letters_are_not_replayed_without_the_settings_of_ingest_and_it_is_said(console: Console) -> None:
    deployment = Deployment(console.settings, console.policy, console.clock)
    assert console.settings.email_key is None
    console = replace(console, letters=Letters(console.letters.read, letters_of(deployment).replay))
    action = ControlAction(verb="replay_dead_letters", by="ada", why="a mapping was mended", letters=("a-letter",))
    with pytest.raises(NotPossible, match="EMAIL_KEY: set it"):
        await carry_out(console, action, "word")


async def test_an_approval_says_that_nothing_is_sent_before_its_moment(operator: Client) -> None:
    """D4."""
    page = (await operator.post("/controls/preview", data=ORDERS["approve an ask"][0])).text
    assert "It goes out at its moment" in page
    assert "Nothing is sent before" in page


async def test_approvals_are_on_the_list_of_who_did_what(operator: Client) -> None:
    word = await shown(operator, ORDERS["approve an ask"][0])
    await operator.post("/controls/confirm", data={"word": word})
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (await operator.get("/controls")).text))
    assert "Approve an ask: cus-deniz ada fine" in page


async def test_a_pause_is_said_in_the_words_of_who_paused_and_whether_the_workers_have_read_it(
    operator: Client, writer: NotingWriter, console: Console
) -> None:
    """Past ingest, ``why`` is a key: a sentence is dropped, and the list has it all the same."""
    word = await shown(operator, {**PAUSE, "why": "the mails look odd"})
    await operator.post("/controls/confirm", data={"word": word})
    page = (await operator.get("/controls")).text
    assert "not read by the workers yet" in page
    (event,) = writer.events()
    control = Control(parse_instant(event["time"])[0], True, "trigger", "renewal", "ada", "")
    noted = await done_by(console)
    assert [(each.by, each.why) for each in said_of(Controls((control,), (control,)), noted)] == [
        ("ada", "the mails look odd")
    ]
    (entry,) = audit_of(Controls((control,), (control,)), noted)
    assert (entry.why, entry.read) == ("the mails look odd", True)


async def test_a_program_gives_the_same_orders(operator: Client, writer: NotingWriter) -> None:
    order = {"verb": "pause", "scope": "all", "why": "an incident"}
    first = await operator.post("/api/controls", json=order, headers={"Idempotency-Key": "incident-2026-09-16"})
    again = await operator.post("/api/controls", json=order, headers={"Idempotency-Key": "incident-2026-09-16"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert {event["id"] for event in writer.events()} == {first.json()["event_id"]}


def test_an_action_names_what_it_does() -> None:
    assert ControlAction(verb="pause", by="a", why="b", scope="all").what == "Pause everything"
    assert ControlAction(verb="replay_dead_letters", by="a", why="b", letters=("x",)).what == "Replay 1 dead letter"
    with pytest.raises(NotPossible):
        ControlAction(verb="pause", by="a", why="", scope="all").check(Policy())
