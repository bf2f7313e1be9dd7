"""What became of our asks. An ask is `{command_id, opportunity_id, asked_at, holdout}`, the oldest first."""

from datetime import datetime
from itertools import pairwise, zip_longest
from typing import Any

from tests.oracle.policy import Policy
from tests.oracle.signals import DAY, Known, of

SENT = ("sent", "delivered", "opened")
RELEASED = ("failed", "dropped_expired", "cancelled")
Ask = dict[str, Any]


def statuses(known: Known, command_id: str, asked_at: datetime) -> set[str]:
    """What workers reported; a report that came before the command itself is none."""
    acks = [event for event in of(known, "ask.acknowledged") if event["arrived"] > asked_at]
    return {event["data"]["status"] for event in acks if event["data"]["command_id"] == command_id}


def was_sent(known: Known, command_id: str, asked_at: datetime) -> bool:
    return bool(statuses(known, command_id, asked_at) & set(SENT))


def was_released(known: Known, command_id: str, asked_at: datetime) -> bool:
    found = statuses(known, command_id, asked_at)
    return bool(found & set(RELEASED)) and not found & set(SENT)


def counted_asks(known: Known, asks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that hold their place in the caps, oldest first."""
    return [ask for ask in asks if not was_released(known, ask["command_id"], ask["asked_at"])]


def silence_ends(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> list[datetime]:
    sent = [ask for ask in asks if was_sent(known, ask["command_id"], ask["asked_at"])]
    given = of(known, "referral.given")
    silent = []
    for ask, following in zip_longest(sent, sent[1:]):
        referred = any(
            event["data"]["command_id"] == ask["command_id"] and event["arrived"] > ask["asked_at"]
            if "command_id" in event["data"]
            else ask["asked_at"] <= event["time"] and (following is None or event["time"] < following["asked_at"])
            for event in given
        )
        answered = any(
            event["data"]["command_id"] == ask["command_id"] and event["arrived"] > ask["asked_at"]
            for event in of(known, "ask.answered")
        )
        over = now >= ask["asked_at"] + policy["silence_after_days"] * DAY
        silent.append(over and not referred and not answered)
    pairs = zip(pairwise(silent), sent[1:], strict=True)
    wait = policy["two_silences_days"] * DAY
    return [second["asked_at"] + wait for both_silent, second in pairs if all(both_silent)]


def answer_ends(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> list[datetime]:
    """Until when each answer and each pair of silences asks for quiet; `stop` apart."""
    waits = {"no": policy["no_days"] * DAY, "maybe": policy["maybe_days"] * DAY}
    answers = [(e["time"], e["data"]["answer"]) for e in of(known, "ask.answered")]
    return [at + waits[said] for at, said in answers if said in waits] + silence_ends(known, asks, now, policy)


def told_to_stop(known: Known) -> bool:
    return any(event["data"]["answer"] == "stop" for event in of(known, "ask.answered"))


def next_eligible_at(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> datetime | None:
    counted = counted_asks(known, asks)
    if not counted or told_to_stop(known):
        return None
    again: datetime = max(ask["asked_at"] for ask in counted) + policy["customer_cap_days"] * DAY
    return max([again, *answer_ends(known, asks, now, policy)])
