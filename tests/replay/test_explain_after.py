"""What an explanation tells of what follows an ask. The week is that of Monday, 15 June 2026, in Berlin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_stream.cli.render.explanation import as_text
from referral_stream.core import events as ev
from referral_stream.core.events import Event
from referral_stream.core.ids import followup_id, grant_id
from referral_stream.explain.document import as_json
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.of_log import explain
from referral_stream.words.afterwards import followup_words, money, reward_words
from tests.builders import POLICY, Told, a_customer, a_policy, acknowledged, answered, at, command_of, fact, nps, shown
from tests.replay.logs import BOUNDARY, fact_lines, recorded_lines, write

REWARDS: dict[str, Any] = {
    "enabled": True,
    "default_segment": "all",
    "programmes": {"all": {"kind": "credit", "amount_minor": 2500, "currency": "EUR"}},
}
ASK = command_of()
ASKED = (nps(9, "Thu 12:30"), acknowledged("sent", "Thu 12:51", ASK))
GRANT = grant_id("ana", "ref-1")


def given(when: str, *, consented: bool = True, referral: str = "ref-1", **contact: Any) -> Event:
    whom = ev.Contact.model_validate({"ref": "lee", "name": "Lee Roe", "consented": consented, **contact})
    return fact(ev.ReferralGiven(referral_id=referral, contact=whom), when)


def status(word: Any, when: str, referral: str = "ref-1") -> Event:
    return fact(ev.ReferralStatusChanged(referral_id=referral, status=word), when)


def explained(
    folder: Path, *told: Told, when: str, exact: bool = False, rewards: dict[str, Any] | None = None
) -> Explanation:
    policy = POLICY if exact else a_policy(rewards=REWARDS | (rewards or {}))
    lines = (recorded_lines if exact else fact_lines)(a_customer(), *told)
    return explain(write(folder / "log", lines), "ana", policy, BOUNDARY, at=at(when))


def after(explanation: Explanation) -> list[tuple[str, str, str]]:
    kinds = ("follow-up", "withdrawn", "reward")
    return [(shown(each.instant), each.kind, each.text) for each in explanation.entries if each.kind in kinds]


def waits(explanation: Explanation) -> list[tuple[str, str]]:
    return [("" if each.by is None else shown(each.by), each.text) for each in explanation.awaited]


def test_the_report_then_the_answer_are_awaited(tmp_path: Path) -> None:
    told = explained(tmp_path, nps(9, "Thu 12:30"), when="Thu 12:50")
    assert waits(told) == [
        ("Thu 20:00", "gave a top score: the messaging worker's report that the ask was sent, until Thu 18 Jun 20:00")
    ]
    told = explained(tmp_path, *ASKED, when="Thu 13:00")
    assert [text for _, text in waits(told)] == [
        "gave a top score: an answer to the ask; from Thu 2 Jul 12:51 on they count as silent"
    ]


def test_an_answer_its_reply_and_the_referral_that_ends_it(tmp_path: Path) -> None:
    told = explained(tmp_path, *ASKED, answered("yes", "Thu 13:00", ASK), given("Thu 13:30"), when="Thu 13:40")
    assert after(told) == [
        (
            "Thu 13:00",
            "follow-up",
            "to be said by e-mail, by Thu 18 Jun 14:00: an introduction, or shall we reach out and mention them",
        ),
        (
            "Thu 13:30",
            "withdrawn",
            "because they have given a referral: an introduction, or shall we reach out and mention them",
        ),
        (
            "Thu 13:30",
            "follow-up",
            "to be said by e-mail, by Thu 18 Jun 14:30: thanks for the referral ref-1, and what happens next",
        ),
        ("Thu 13:30", "follow-up", "for their owner, by Sat 20 Jun 13:30: take care of the referral ref-1"),
    ]
    assert waits(told) == [
        (
            "Thu 14:30",
            "to be said to them, by Thu 18 Jun 14:30: thanks for the referral ref-1, and what happens next",
        ),
        ("Sat 13:30", "for their owner, by Sat 20 Jun 13:30: take care of the referral ref-1"),
    ]


def test_a_reward_is_told_from_the_conversion_to_the_refund(tmp_path: Path) -> None:
    story = (*ASKED, given("Thu 13:30"), status("converted", "Fri 10:00"))
    told = explained(tmp_path, *story, when="Fri 10:05")
    assert after(told)[-1] == (
        "Fri 10:00",
        "reward",
        "the reward for the referral ref-1 is granted: credit of 25.00 EUR",
    )
    assert [text for _, text in waits(told)][-2:] == [
        "Fri 19 Jun 10:15: they are told how the referral ref-1 went (converted), if it still stands",
        "the reward for the referral ref-1 (credit of 25.00 EUR): a report that it was delivered",
    ]
    told = explained(tmp_path, *story, status("refunded", "next Mon 10:00"), when="next Mon 10:05")
    assert [text for _, kind, text in after(told) if kind == "reward"][-1] == (
        "the reward for the referral ref-1 is taken back: what the contact bought was refunded"
    )
    assert after(told)[-1][2] == (
        "for their owner, by Wed 24 Jun 10:00: read why there is no reward for the referral ref-1: what the contact "
        "bought was refunded"
    )
    report = next(text for _, _, text in after(told) if "how the referral" in text)
    assert report == (
        "to be said by e-mail, by Sat 20 Jun 10:00: how the referral ref-1 went: converted; the reward is credit of "
        "25.00 EUR"
    )


def test_the_holding_period_is_awaited(tmp_path: Path) -> None:
    told = explained(
        tmp_path, given("Thu 13:30"), status("converted", "Fri 10:00"), when="Fri 11:00", rewards={"holding_days": 14}
    )
    assert waits(told)[-1][1] == (
        "the reward for the referral ref-1 (credit of 25.00 EUR) is asked for on Fri 3 Jul 10:00, if the conversion "
        "lasts"
    )


def test_what_is_held_says_why_and_until_when(tmp_path: Path) -> None:
    story = (
        *(given("Thu 13:30", referral=f"ref-{n}", ref=f"lee-{n}") for n in (1, 2)),
        status("converted", "Fri 10:00"),
    )
    told = explained(tmp_path, *story, when="Fri 11:00", rewards={"rate": 1})
    assert [text for _, kind, text in after(told) if kind == "reward"] == [
        (
            "the reward for the referral ref-1 (credit of 25.00 EUR) waits for approval until Sun 19 Jul 10:00: many "
            "referrals within 24 hours"
        )
    ]
    assert (
        "approval of the reward for the referral ref-1 (credit of 25.00 EUR), until Sun 19 Jul 10:00: many referrals "
        "within 24 hours"
    ) in [text for _, text in waits(told)]
    rejected = fact(ev.RewardRejected(grant_id=GRANT, by="kay"), "Fri 11:00")
    told = explained(tmp_path, *story, rejected, when="Fri 11:00", rewards={"rate": 1})
    assert "no reward for the referral ref-1: nobody approved it" in [text for _, _, text in after(told)]


def test_nobody_took_care_in_time(tmp_path: Path) -> None:
    told = explained(tmp_path, given("Mon 13:30", consented=False), when="Thu 13:40")
    (text,) = (text for _, text in waits(told) if "take care" in text)
    assert text == (
        "for their owner, by Wed 17 Jun 13:30 (late already): take care of the referral ref-1, through the customer: "
        "the contact has not consented"
    )
    told = explained(tmp_path, given("Mon 13:30"), when="2026-07-08 13:40")
    assert waits(told)[-1][1] == "nobody has taken care of the referral ref-1; it was due Wed 17 Jun 13:30"


def test_a_workers_report_of_a_follow_up_is_told_as_one(tmp_path: Path) -> None:
    said = followup_id("ana", ASK, "intro_offer", 1)
    told = explained(
        tmp_path,
        *ASKED,
        answered("yes", "Thu 13:00", ASK),
        acknowledged("sent", "Thu 13:02", said),
        answered("stop", "Thu 13:10", said),
        when="Thu 13:15",
    )
    texts = [each.text for each in told.entries if each.kind == "came in"][-2:]
    assert texts == [
        "the worker reports as sent: an introduction, or shall we reach out and mention them",
        "answered what was said after the ask (an introduction, or shall we reach out and mention them): stop",
    ]
    assert waits(told) == []


@pytest.mark.parametrize("exact", [False, True], ids=["facts", "exact"])
def test_a_contact_is_never_named(tmp_path: Path, exact: bool) -> None:
    told = explained(
        tmp_path, *ASKED, given("Thu 13:30"), status("contacted", "Fri 10:00"), when="Fri 12:00", exact=exact
    )
    shown_text, data = as_text(told, 80), str(as_json(told))
    assert "Lee" not in shown_text + data
    assert "What is awaited\n" in shown_text
    assert "'awaited': [{'kind': 'follow-up'" in data
    assert max(map(len, shown_text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("minor", "currency", "words"),
    [
        (2500, "EUR", "25.00 EUR"),
        (5, "usd", "0.05 USD"),
        (1_234_567, "JPY", "1,234,567 JPY"),
        (1500, "KWD", "1.500 KWD"),
    ],
)
def test_money_is_written_as_people_do(minor: int, currency: str, words: str) -> None:
    assert money(minor, currency) == words


def test_what_is_not_known_is_left_out() -> None:
    assert followup_words("read_answer", {}) == "read the answer where it was written"
    assert reward_words({"kind": "recognition", "benefit": "a page about you"}) == "recognition (a page about you)"
