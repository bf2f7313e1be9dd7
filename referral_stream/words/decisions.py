"""Decisions in plain words: what the terminal, an explanation and a report say about an outcome and its reasons.

The words are made of what a decision carries; nothing is worked out again. Instants are told in the customer's zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from referral_stream.core.instants import to_datetime
from referral_stream.core.zones import is_zone, zone

EMITTED = frozenset({"asked", "soft", "holdout", "shadow"})
"""Outcomes that use up the customer's turn: an ask, or one that was withheld on purpose."""

_TRIGGERS = {
    "nps_promoter": "gave a top score",
    "positive_feedback": "gave good feedback",
    "milestone": "reached a milestone",
    "renewal": "renewed",
    "expansion": "bought more",
    "peer_mentioned": "mentioned a peer",
    "referral_converted": "their referral converted",
}
_OUTCOMES = {
    "asked": "asked",
    "soft": "asked softly",
    "pending": "waits",
    "deferred": "held back",
    "suppressed": "not asked",
    "expired": "window over",
    "expired_on_arrival": "came too late",
    "cancelled": "cancelled",
    "superseded": "asked otherwise",
    "holdout": "held out",
    "shadow": "would be asked",
    "historical": "nothing to do",
    "duplicate": "the same again",
}
_CHANNELS = {"email": "by e-mail", "in_app": "in the app", "phone": "on the phone"}
_MODES = {
    "direct": "a direct ask",
    "soft": "a soft mention",
    "value_first": "with the peer's benefit first",
    "same_company": "for the same company",
    "mutual_benefit": "with a benefit for both",
}
_SEEN = {
    "no allowed instant is left in the window": "quiet hours or the weekend outlast the window",
    "consent unknown": "no consent known",
    "ledger_unavailable": "the ledger does not answer",
}
_GATES = {
    "too_early": "too early: {saw}",
    "propensity": "{saw}, an ask needs a {limit}",
    "overasking": "{saw} ({limit})",
    "account": "{saw} ({limit})",
}
_AWAITED = {
    "ask.approved": "until somebody approves",
    "cancellation.reverted": "until that is reverted",
    "control.resumed": "until resumed",
    "customer.consent_changed": "until consent is given",
    "customer.profile_changed": "until one is known",
    "customer.signed_up": "until it is known",
    "customer.unsuppressed": "until taken off it",
    "deadletter.replayed": "until that is repaired",
    "dispute.closed": "until that is closed",
    "invoice.paid": "until it is paid",
    "ledger.answered": "until it does",
    "milestone.reached": "until there is some",
    "onboarding.completed": "until it is",
    "signal": "until the next good signal",
    "subscription.started": "until there is a new one",
    "ticket.solved": "waits for it to be solved",
    "trial.ended": "until it ends",
    "usage.recorded": "until they use it again",
}
_INSTANT = re.compile(r"\b(?:at |(since ))?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def happening(trigger: str) -> str:
    """What a trigger says about the customer: `nps_promoter` → "gave a top score"; an unknown one stays as it is."""
    return _TRIGGERS.get(trigger, trigger)


def outcome_words(outcome: str) -> str:
    """An outcome in a word or two; an unknown one stays as it is."""
    return _OUTCOMES.get(outcome, outcome)


def plain(reason: Mapping[str, Any], local: tzinfo, settled: str | None = None) -> str:
    """One gate's answer in plain words, with instants in the `local` zone: "ticket 4711 is open, waits for …".

    `reason` is an entry of a decision's `reasons`, `settled` that decision's (RFC 3339), where it has one. Words this
    module does not know are shown as they are.
    """
    seen = " and ".join(_SEEN.get(cause, cause) for cause in reason["saw"].split("; "))
    seen = in_local_time(seen, local)
    told = _GATES.get(reason["gate"], "{saw}").format(saw=seen, limit=reason["limit"])
    match reason:
        case {"answer": "until", "gate": "moment", "until": str(instant)} if instant == settled:
            return f"settles until {_clock(instant, local)}, then asks"
        case {"answer": "until", "gate": "moment", "until": str(instant)}:
            return f"planned for {_clock(instant, local)}"
        case {"answer": "until_event", "gate": "moment"}:
            return "for a moment when the customer is present"
        case {"answer": "until", "until": str(instant)}:
            return f"{told}, no ask before {_clock(instant, local)}"
        case {"answer": "until_event", "until": str(event)}:
            return f"{told}, {_AWAITED.get(event, f'until {event}')}"
        case _:
            return told


def why(decision: Mapping[str, Any]) -> str:
    """What speaks for or against the ask, in plain words and in the customer's own zone.

    `decision` is the `data` of a message of `referral-decisions`, as parsed JSON.
    """
    local = zone_of(decision)
    deadline = decision["window"]["deadline"]
    match decision["outcome"]:
        case "asked" | "soft" | "shadow":
            ways = (_CHANNELS.get(decision.get("channel", "")), _MODES.get(decision.get("mode", "")))
            return ", ".join([*filter(None, ways), f"score {decision['score']['value']}"])
        case "superseded":
            return "one ask at a time: another reason to ask came first"
        case "expired":
            return f"the window ended {_clock(deadline, local)} without a good moment"
        case "expired_on_arrival":
            return f"the window had ended {_clock(deadline, local)}"
        case "historical":
            return "it is part of the history"
        case "duplicate":
            return "the first one still waits, nothing changes"
        case outcome:
            told = in_the_way(decision)
            if outcome == "suppressed" and all(reason["answer"] != "never" for reason in _telling(decision)):
                verb = "ended" if _instant(decision["decided_at"]) >= _instant(deadline) else "ends"
                return f"{told}; the window {verb} {_clock(deadline, local)}"
            return told


def in_the_way(decision: Mapping[str, Any]) -> str:
    """The blocking gates' answers alone, in plain words; empty where nothing blocks."""
    telling = _telling(decision)
    if decision["outcome"] == "cancelled" and all(reason["gate"] == "moment" for reason in telling):
        return "the survey answer was corrected"  # the one reason to cancel that is no gate's
    local = zone_of(decision)
    return "; ".join(plain(reason, local, decision.get("settled")) for reason in telling)


def _telling(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocking reasons; the planned moment is beside the point where something else is in the way."""
    blocking = [reason for reason in decision["reasons"] if reason["answer"] != "pass"]
    return [reason for reason in blocking if reason["gate"] != "moment"] or blocking


def zone_of(decision: Mapping[str, Any]) -> tzinfo:
    """The zone a decision was made in; UTC for one that this machine's database does not know."""
    name = decision["time_zone"]["name"]
    return zone(name) if is_zone(name) else UTC


def in_local_time(text: str, local: tzinfo) -> str:
    """The text with its instants in the `local` zone: "at 2026-09-01T10:00:00.000Z" → "on Tue 1 Sep 12:00"."""
    return _INSTANT.sub(lambda found: f"{found.group(1) or 'on '}{_clock(found.group(2), local)}", text)


def day_and_time(moment: datetime) -> str:
    """As in `Fri 18 Sep 13:00`, in English whatever the locale of the machine."""
    return f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment:%H:%M}"


def clock_words(instant: int, local: tzinfo) -> str:
    """`day_and_time` of an instant (epoch ms) in the `local` zone."""
    return day_and_time(to_datetime(instant).astimezone(local))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str, local: tzinfo) -> str:
    return day_and_time(_instant(text).astimezone(local))
