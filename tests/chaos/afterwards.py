"""What follows an ask in a soak: answers, referrals, how they went, rewards, who is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from referral_stream.core.ids import derived_id
from referral_stream.core.instants import SECOND
from tests.integration.scripted import ORACLE_POLICY, Phase, Story

_REWARDS: Final[dict[str, Any]] = {
    "enabled": True,
    "rate": 1,
    "programmes": {"none": {"kind": "gift_card", "amount_minor": 5_000, "currency": "EUR"}},
}
AFTER_POLICY: Final = """
[followups]
report_after_minutes = 0
[rewards]
enabled = true
rate = 1
[rewards.programmes.none]
kind = "gift_card"
amount_minor = 5000
currency = "EUR"
"""
"""Reports and rewards come at once; a second referral within a day is looked at by a person."""

SOAK_ORACLE_POLICY: Final = ORACLE_POLICY | {"followups": {"report_after_minutes": 0}, "rewards": _REWARDS}
"""The same for the oracle."""

NOT_COMPARED: Final = frozenset({"report_back", "reward_told"})
"""Kinds in which it may be told of a reward, by the one or the other: that depends on how soon the ledger answers."""


def _asked(s: Story) -> str:
    """The command of the ask to which the story's survey answer leads; it is known, and was sent."""
    s.is_known(strong=True)
    s.nps(10)
    command = s.command_id("nps_promoter", f"{s.customer}/r1")
    s.tell(Phase.REPORTS, "ask.acknowledged", command_id=command, status="sent")
    return command


def _answers(s: Story, command: str, word: str, phase: Phase = Phase.REPORTS) -> None:
    s.tell(phase, "ask.answered", command_id=command, answer=word)


def _refers(s: Story, number: int = 1, command: str | None = None, *, consented: bool = True) -> str:
    referral = f"{s.customer}/ref-{number}"
    contact = {"ref": f"contact of {referral}", "name": "Nora", "consented": consented}
    named: dict[str, Any] = {} if command is None else {"command_id": command}
    s.tell(Phase.LATE, "referral.given", referral_id=referral, contact=contact, **named)
    return referral


def _went(s: Story, referral: str, word: str, phase: Phase = Phase.OUTCOME, age: int = 0) -> None:
    s.tell(phase, "referral.status_changed", age, referral_id=referral, status=word)


def says_yes_and_is_rewarded(s: Story) -> None:
    command = _asked(s)
    _answers(s, command, "yes")
    referral = _refers(s, command=command)
    _went(s, referral, "contacted", age=SECOND)
    _went(s, referral, "converted")


def says_something_else(s: Story) -> None:
    _answers(s, _asked(s), ("maybe", "no", "unclear")[s.n % 3])


def says_stop_after_a_yes(s: Story) -> None:
    """And yes once more: a person reads it."""
    command = _asked(s)
    _answers(s, command, "yes")
    _answers(s, command, "stop", Phase.LATE)
    _answers(s, command, "yes", Phase.OUTCOME)


def reward_is_taken_back(s: Story) -> None:
    referral = _refers(s, command=_asked(s))
    _went(s, referral, "converted")
    _went(s, referral, "refunded", Phase.UNDONE)


def reward_is_approved(s: Story) -> None:
    """Of two referrals in a day a person looks at both."""
    s.is_known(strong=True)
    for number in (1, 2):
        _went(s, referral := _refers(s, number), "converted")
        verdict = "approved" if number + s.n % 2 != 2 else "rejected"
        s.tell(Phase.UNDONE, f"reward.{verdict}", grant_id=derived_id("grant", s.customer, referral), by="the soak")


def contact_is_forgotten(s: Story) -> None:
    referral = _refers(s, command=_asked(s), consented=s.n % 2 == 0)
    s.tell(Phase.OUTCOME, "referral.contact_erased", referral_id=referral)


def referrer_is_erased(s: Story) -> None:
    _went(s, _refers(s, command=_asked(s)), "converted")
    s.tell(Phase.UNDONE, "customer.erasure_requested")


CASTS: Final[dict[tuple[Callable[[Story], None], ...], int]] = {
    (says_yes_and_is_rewarded,): 60,
    (says_something_else,): 45,
    (says_stop_after_a_yes,): 30,
    (reward_is_taken_back,): 30,
    (reward_is_approved,): 20,
    (contact_is_forgotten,): 20,
    (referrer_is_erased,): 15,
}
"""With their shares."""
