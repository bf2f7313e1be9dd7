"""What an explanation holds beside the story: one sentence, gates, tracks; in every form and language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from referral_stream.cli.render.explanation import as_markdown, as_text
from referral_stream.cli.render.terminal import json_text
from referral_stream.core import events as ev
from referral_stream.core.policy import Policy
from referral_stream.explain.background import Background
from referral_stream.explain.document import as_json
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.explaining import explain as explained_from
from referral_stream.explain.of_log import explain
from referral_stream.words.phrases import languages
from tests.builders import (
    POLICY,
    Told,
    a_customer,
    a_policy,
    acknowledged,
    answered,
    at,
    command_of,
    consent,
    fact,
    first_success,
    nps,
    opportunity_of,
    pause,
    renewed,
    replay,
    ticket_opened,
    ticket_solved,
)
from tests.replay.logs import BOUNDARY, fact_lines, recorded_lines, write
from tests.rules import rule

OPEN_TICKET = ticket_opened("Wed 10:00", "4711")
EVIL = "t\x1b]0;owned\x07\n# ASKED | <b>*fine*</b> \u202e [x](http://x)"


def explained(
    folder: Path, *told: Told, when: str | None = None, who: str = "ana", policy: Policy = POLICY, language: str = "en"
) -> Explanation:
    log = write(folder / "log", fact_lines(a_customer(), *told))
    return explain(log, who, policy, BOUNDARY, at=None if when is None else at(when), language=language)


# ---- one sentence


SENT = acknowledged("sent", "Thu 12:51", command_of())
ASKED = "Asked on Thu 18 Jun 12:50 (gave a top score, by e-mail): "
NEXT = " Nothing is open now. As things stand, the next ask is possible on Wed 16 Sep 12:50 at the earliest."


@rule("11.26")
@pytest.mark.parametrize(
    ("told", "when", "kind", "text"),
    [
        (
            [renewed("Tue 10:00")], "Thu 09:00", "planned",
            "Not asked yet. As things stand, asked on Fri 19 Jun 13:00.",
        ),
        (
            [OPEN_TICKET, renewed("Wed 11:00")], "Thu 09:00", "would",
            ("Not asked: ticket 4711 is open, waiting for it to be solved. Would be asked because of another occasion "
             "(gave good feedback) on Fri 19 Jun 13:00 if ticket 4711 is solved well by then."),
        ),
        (
            [fact(ev.CancellationScheduled(), "Wed 10:00"), nps(9, "Thu 12:30")], "Thu 13:00", "no_more",
            ("Not asked: cancellation scheduled, waiting for it to be reverted. "
             "Can no longer lead to an ask: its window ends Fri 19 Jun 12:30."),
        ),
        ([fact(ev.ErasureRequested(), "Tue 10:00")], None, "erased", "Erased: will never be asked again."),
        ([], "Thu 09:00", "nothing", "Nothing is open now."),
        (
            [consent(False, "Wed 10:00"), nps(9, "Thu 12:30")], "Thu 13:00", "nothing",
            "Nothing is open now. The last occasion (gave a top score): not asked, consent withdrawn.",
        ),
        ([nps(9, "Thu 12:30")], "Thu 13:00", "asked", f"{ASKED}no report yet that it was sent.{NEXT}"),
        ([nps(9, "Thu 12:30"), SENT], "Fri 13:00", "asked", f"{ASKED}sent, no answer yet.{NEXT}"),
        (
            [nps(9, "Thu 12:30"), SENT, answered("yes", "Thu 14:00", command_of())], "Fri 13:00", "asked",
            f"{ASKED}the answer was yes.{NEXT}",
        ),
        (
            [nps(9, "Thu 12:30"), fact(ev.ComplaintMade(), "Thu 13:00")], "Fri 13:00", "nothing",
            ("Nothing is open now. The last occasion (gave a top score): cancelled, complaint or frustration on Thu 18 "
             f"Jun 13:00, no ask before Sat 18 Jul 13:00.{NEXT.removeprefix(' Nothing is open now.')}"),
        ),
        (
            [nps(9, "Thu 12:30"), acknowledged("failed", "Thu 12:51", command_of())], "Fri 13:00", "asked",
            f"{ASKED}it failed. Nothing is open now.",
        ),
        (
            [nps(9, "Thu 12:30")], "Fri 10:00", "asked",
            f"{ASKED}no report that it was sent, and it may no longer be sent.{NEXT}",
        ),
        (
            [OPEN_TICKET, renewed("Tue 10:00"), nps(9, "Thu 12:30")], "Thu 12:40", "would",
            ("Not asked (gave a top score): ticket 4711 is open, waiting for it to be solved. "
             "Would be asked on Thu 18 Jun 12:50 if ticket 4711 is solved well by then."),
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_whether_and_why(
    tmp_path: Path, told: list[ev.Event], when: str | None, kind: str, text: str
) -> None:
    gist = explained(tmp_path, *told, when=when).gist
    assert (gist.kind, gist.text) == (kind, text)


def test_it_stands_on_top_in_every_form(tmp_path: Path) -> None:
    told = explained(tmp_path, renewed("Tue 10:00"), when="Thu 09:00")
    sentence = "Not asked yet. As things stand, asked on Fri 19 Jun 13:00."
    assert as_text(told).splitlines()[3] == sentence
    assert as_markdown(told).splitlines()[2] == f"**{sentence}**"
    assert as_json(told)["summary"] == {
        "kind": "planned",
        "text": sentence,
        "opportunity_id": opportunity_of("renewal", "in-1"),
        "asked_at": "2026-06-19T11:00:00.000Z",
    }


# ---- the gates


def test_every_occasion_has_all_gates_open_ones_as_of_now_and_the_others_as_decided(tmp_path: Path) -> None:
    told = explained(
        tmp_path, first_success("Mon 12:30", historical=True), OPEN_TICKET, renewed("Wed 11:00"), when="Thu 09:00"
    )
    assert [(each.title, each.live, each.outcome) for each in told.opportunities] == [
        ("renewed", True, "deferred"), ("reached a milestone", False, "historical")
    ]  # fmt: skip
    for each in told.opportunities:
        assert len(each.gates) == 14
    trouble = next(cell for cell in told.opportunities[0].gates if cell.gate == "trouble")
    assert (trouble.title, trouble.answer, trouble.until, trouble.saw, trouble.limit, trouble.short) == (
        "trouble", "until_event", "ticket.solved", "ticket 4711 is open", "nothing is wrong",
        "waiting for it to be solved",
    )  # fmt: skip
    assert sum(told.opportunities[0].score.parts.values()) == told.opportunities[0].score.raw


@rule("11.26")
def test_gates_answer_as_a_decision_of_that_instant_does() -> None:
    told = [*a_customer(), OPEN_TICKET, ticket_opened("Wed 11:00", "4712"), nps(9, "Thu 12:30")]
    run = replay(*told, until=at("Thu 12:30"))
    (decision,) = run.decisions()
    story = explained_from(Background("ana", run.customers), POLICY, at("Thu 12:30"))
    (opportunity,) = story.opportunities
    assert [(cell.gate, cell.answer, cell.until) for cell in opportunity.gates] == [
        (reason.gate, reason.answer, reason.until) for reason in decision.reasons
    ]


@rule("11.26")
@pytest.mark.parametrize(
    ("told", "policy", "gate", "short"),
    [
        ([pause("Thu 12:31")], POLICY, "paused", "until resumed"),
        ([], a_policy(holdout={"percent": 50, "salt": "b"}), "holdout", "never"),
    ],
)
def test_what_only_the_ledger_or_the_draw_would_say_is_no_pass(
    tmp_path: Path, told: list[ev.Event], policy: Policy, gate: str, short: str
) -> None:
    story = explained(tmp_path, nps(9, "Thu 12:30"), *told, when="Thu 12:40", policy=policy)
    (opportunity,) = story.opportunities
    cell = next(cell for cell in opportunity.gates if cell.gate == gate)
    assert (cell.short, cell.blocks) == (short, True)


def test_the_terminal_shows_the_gates_that_do_not_pass(tmp_path: Path) -> None:
    lines = as_text(explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 13:00")).splitlines()
    at_gates = lines.index("The gates now")
    assert lines[at_gates + 1].startswith("  gave a top score: an occasion to ask, until Fri 19 Jun 12:30; score 100 (")
    assert lines[at_gates + 2 : at_gates + 4] == [
        "    trouble          ticket 4711 is open, waiting for it to be solved", "    the other 13 pass",
    ]  # fmt: skip


# ---- tracks


def test_tracks_hold_what_can_be_drawn(tmp_path: Path) -> None:
    told = explained(
        tmp_path,
        OPEN_TICKET,
        ticket_solved("Wed 12:00", "4711", "positive"),
        SENT,
        answered("yes", "Thu 14:00", command_of("positive_feedback", "4711")),
        ticket_opened("Thu 15:00", "4712"),
        renewed("Thu 16:00"),
        when="Thu 17:00",
    )
    tracks = {track["track"]: track["items"] for track in as_json(told)["tracks"]}
    assert list(tracks) == ["signals", "trouble", "opportunities", "asks", "answers", "referrals", "rewards"]
    assert [(item["kind"], item.get("until"), item.get("open")) for item in tracks["trouble"]] == [
        ("ticket", "2026-06-17T10:00:00.000Z", None), ("ticket", None, True),
    ]  # fmt: skip
    assert [item["kind"] for item in tracks["opportunities"]] == ["asked", "suppressed"]
    assert tracks["opportunities"][1]["until"] == "2026-06-18T14:00:00.000Z"
    assert [item["kind"] for item in tracks["asks"]] == ["asked"]
    assert "yes" in [item["kind"] for item in tracks["answers"]]
    assert all(re.fullmatch(r"\d{4}-.*Z", item["at"]) for items in tracks.values() for item in items)


# ---- what it is made from


@rule("11.26")
def test_a_state_alone_is_enough_for_what_is_to_come(tmp_path: Path) -> None:
    told = (OPEN_TICKET, nps(9, "Thu 12:30"))
    whole = explained(tmp_path, *told, when="Thu 13:00")
    run = replay(*a_customer(), *told, until=at("Thu 13:00"))
    alone = explained_from(Background("ana", {"ana": run.customers["ana"]}), POLICY, at("Thu 13:00"))
    assert (alone.gist, alone.outlook, alone.awaited) == (whole.gist, whole.outlook, whole.awaited)
    assert [each.gates for each in alone.opportunities] == [whole.opportunities[0].gates]
    assert alone.entries == ()


def test_an_explanation_depends_on_its_arguments_alone() -> None:
    run = replay(*a_customer(), OPEN_TICKET, nps(9, "Thu 12:30"), until=at("Thu 13:00"))
    background = Background("ana", run.customers)
    first = explained_from(background, POLICY, at("Thu 13:00"))
    explained_from(background, POLICY, at("Thu 14:00"), "de")
    assert explained_from(background, POLICY, at("Thu 13:00")) == first


# ---- languages and forms


def test_in_german(tmp_path: Path) -> None:
    told = explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 13:00", language="de")
    assert told.gist.text == (
        "Nicht gefragt: Ticket 4711 ist offen, wartet auf die Lösung. "
        "Anfrage sofort (Do 18. Juni 13:00), wenn jetzt Ticket 4711 gelöst und gut bewertet wird."
    )
    shown = as_text(told)
    assert "Mi 2026-06-17 10:00 +02:00" in shown
    assert "Die Hürden jetzt\n" in shown
    (prospect,) = told.outlook
    assert prospect.changes == ("Ticket 4711 gelöst und gut bewertet wird",)
    english = explained(tmp_path, OPEN_TICKET, nps(9, "Thu 12:30"), when="Thu 13:00")
    assert (prospect.asked_at, prospect.events) == (english.outlook[0].asked_at, english.outlook[0].events)


@pytest.mark.parametrize("language", languages())
def test_nothing_from_a_log_commands_whoever_reads_it(tmp_path: Path, language: str) -> None:
    told = [*a_customer(), ticket_opened("Wed 10:00", EVIL), nps(9, "Thu 12:30")]
    lines = recorded_lines([fact(event.data, event.time, customer=EVIL, id=event.id) for event in told])
    log = write(tmp_path / "log", lines)
    story = explain(log, EVIL, POLICY, BOUNDARY, at=at("Thu 13:00"), language=language)
    markdown = as_markdown(story)
    for form in (as_text(story), markdown, json_text(as_json(story))):
        assert all(line.isprintable() for line in form.split("\n"))
    assert r"t\\x1b\]0;owned\\x07\\n\# ASKED \| &#60;b&#62;\*fine\*&#60;/b&#62; \\u202e \[x\](http" in markdown
    assert not any(line.startswith("# ASKED") for line in markdown.split("\n"))
    assert json.loads(json_text(as_json(story)))["customer_id"] == EVIL
    rows = [line for line in markdown.split("\n") if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
