"""What became of our asks. An ask is `{command_id, opportunity_id, asked_at, …}` (`naive.emit`), the oldest first.

An answer or a referral that names a known ask (`answers.judge_on_arrival`) says that it was sent.
"""

from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.oracle.policy import Policy
from tests.oracle.records import Event
from tests.oracle.signals import DAY, Known, from_events_alone, of

SENT = ("sent", "delivered", "opened")
RELEASED = ("failed", "dropped_expired", "cancelled")
Ask = dict[str, Any]


@from_events_alone
def statuses(known: Known, command_id: str, asked_at: datetime) -> set[str]:
    """What workers reported; a report that came before the command itself is none."""
    acks = [event for event in of(known, "ask.acknowledged") if event["arrived"] > asked_at]
    found = {event["data"]["status"] for event in acks if event["data"]["command_id"] == command_id}
    return found | {"sent"} if answered(known, command_id) or named(known, command_id) else found


@from_events_alone
def answered(known: Known, command_id: str) -> bool:
    return any(event.get("ask") == command_id for event in of(known, "ask.answered"))


@from_events_alone
def named(known: Known, command_id: str) -> bool:
    return any(event.get("names") == command_id for event in of(known, "referral.given"))


@from_events_alone
def has_referral(known: Known, command_id: str) -> bool:
    return any(event.get("attributed_to") == command_id for event in of(known, "referral.given"))


@from_events_alone
def sent_by(known: Known, command_id: str, asked_at: datetime) -> Event | None:
    """What first said that it was sent: the first that was applied."""
    acks = [e for e in of(known, "ask.acknowledged") if e["arrived"] > asked_at and e["data"]["status"] in SENT]
    said = [e for e in acks if e["data"]["command_id"] == command_id]
    said += [e for e in of(known, "ask.answered") if e.get("ask") == command_id]
    said += [e for e in of(known, "referral.given") if e.get("names") == command_id]
    return min(said, key=lambda event: int(event["order"]), default=None)


def was_sent(known: Known, command_id: str, asked_at: datetime) -> bool:
    return bool(statuses(known, command_id, asked_at) & set(SENT))


def was_released(known: Known, command_id: str, asked_at: datetime) -> bool:
    found = statuses(known, command_id, asked_at)
    return bool(found & set(RELEASED)) and not found & set(SENT)


def fails_now(known: Known, command_id: str, now: datetime) -> bool:
    acks = [e for e in of(known, "ask.acknowledged") if e["data"]["command_id"] == command_id]
    failures = [e for e in acks if e["data"]["status"] in RELEASED]
    return bool(failures) and all(e["arrived"] == now for e in failures)


def counted_asks(known: Known, asks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that hold their place in the caps, oldest first."""
    return [ask for ask in asks if not was_released(known, ask["command_id"], ask["asked_at"])]


def asked_by_others(known: Known) -> list[datetime]:
    """When other systems asked for a referral: each counts like an ask of ours (§11.27)."""
    return [event["time"] for event in of(known, "advocacy.asked") if event["data"]["kind"] == "referral"]


def silence_ends(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> list[datetime]:
    sent = [ask for ask in asks if was_sent(known, ask["command_id"], ask["asked_at"])]
    silent = []
    for ask in sent:
        command = ask["command_id"]
        referred = has_referral(known, command) or named(known, command)
        said = answered(known, command) or any(
            event["data"]["command_id"] == command and event["arrived"] > ask["asked_at"]
            for event in of(known, "ask.answered")
        )
        over = now >= ask["asked_at"] + policy["silence_after_days"] * DAY
        silent.append(over and not referred and not said)
    pairs = zip(pairwise(silent), sent[1:], strict=True)
    wait = policy["two_silences_days"] * DAY
    return [second["asked_at"] + wait for both_silent, second in pairs if all(both_silent)]


def answer_ends(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> list[datetime]:
    """Until when each answer and each pair of silences asks for quiet; `stop` apart."""
    waits = {"no": policy["no_days"] * DAY, "maybe": policy["maybe_days"] * DAY}
    answers = [(e["time"], e["data"]["answer"]) for e in of(known, "ask.answered")]
    return [at + waits[said] for at, said in answers if said in waits] + silence_ends(known, asks, now, policy)


@from_events_alone
def told_to_stop(known: Known) -> bool:
    return any(event["data"]["answer"] == "stop" for event in of(known, "ask.answered"))


def next_eligible_at(known: Known, asks: list[dict[str, Any]], now: datetime, policy: Policy) -> datetime | None:
    times = [ask["asked_at"] for ask in counted_asks(known, asks)] + asked_by_others(known)
    if not times or told_to_stop(known):
        return None
    again: datetime = max(times) + policy["customer_cap_days"] * DAY
    return max([again, *answer_ends(known, asks, now, policy)])
