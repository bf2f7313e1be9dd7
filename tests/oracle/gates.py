"""The fourteen gates, each as a function from the whole situation to its causes for not asking."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.oracle import past_asks, signals
from tests.oracle.bounds import overfull_causes
from tests.oracle.local_time import local_date
from tests.oracle.policy import Policy
from tests.oracle.records import Event
from tests.oracle.signals import DAY, Known, from_events_alone, of
from tests.oracle.trouble import (
    Cause,
    UsageJudgement,
    bad_word_causes,
    cancellation_causes,
    detractor_causes,
    ended_causes,
    money_causes,
    ticket_causes,
    usage_causes,
    waiting_until,
)

Reason = dict[str, Any]  # gate, answer, until (an instant, an event's type, or None), saw, limit


@dataclass
class Situation:
    """What the gates look at: one opportunity of one customer at one instant."""

    now: datetime
    known: Known
    usage: UsageJudgement
    asks: list[dict[str, Any]]  # without the ask this opportunity itself became
    opportunity_id: str
    trigger: str
    t0: datetime
    opened_by: Event
    denial: Reason | None
    zones: list[str]
    policy: Policy


def erased(s: Situation) -> list[Cause]:
    return [("never", None, "erasure requested")] if of(s.known, "customer.erasure_requested") else []


def paused(s: Situation) -> list[Cause]:
    if s.trigger in s.policy["disabled_triggers"]:
        return [("never", None, "trigger disabled")]
    return denied(s, "paused")


def denied(s: Situation, gate: str) -> list[Cause]:
    if s.denial and s.denial["gate"] == gate:
        return [(s.denial["answer"], s.denial["until"], "denied by the ledger")]
    return []


def consent(s: Situation) -> list[Cause]:
    return not_consented(s.known, s.policy)


@from_events_alone
def not_consented(known: Known, policy: Policy) -> list[Cause]:
    said = signals.consents(known, policy)
    causes: list[Cause] = []
    if signals.suppressed(known):
        causes.append(("until_event", "customer.unsuppressed", "suppressed"))
    if signals.held_by_address(known):
        causes.append(("until_event", "customer.unsuppressed", "address"))
    if True not in said.values():
        withdrawn = False in said.values()
        causes.append(
            ("never", None, "withdrawn") if withdrawn else ("until_event", "customer.consent_changed", "unknown")
        )
    return causes


def too_early(s: Situation) -> list[Cause]:
    causes: list[Cause] = []
    if signals.on_trial(s.known):
        causes.append(("until_event", "trial.ended", "on trial"))
    if s.policy["require_onboarding"] and not of(s.known, "onboarding.completed"):
        causes.append(("until_event", "onboarding.completed", "onboarding not completed"))
    signed_up = signals.signed_up_at(s.known)
    if signed_up is None:
        causes.append(("until_event", "customer.signed_up", "sign-up unknown"))
    else:
        causes += waiting_until(signed_up + 30 * DAY, s.now, "tenure")
    if not all(signals.value_realised(s.known, name) for name in s.zones):
        causes.append(("until_event", "milestone.reached", "no value realised yet"))
    active = [event["time"] for event in signals.activity(s.known)]
    for name in s.zones:
        if not active or local_date(min(active), name) == local_date(max(active), name):
            causes.append(("until_event", "usage.recorded", "first interaction"))
            break
    for contract in of(s.known, "contract.signed"):
        if contract["data"]["initial"]:
            causes += waiting_until(contract["time"] + 30 * DAY, s.now, "initial contract")
    return causes


def trouble(s: Situation) -> list[Cause]:
    return what_is_wrong(s.known, s.usage, s.now)


def what_is_wrong(known: Known, usage: UsageJudgement, now: datetime) -> list[Cause]:
    by_events = [cause for cause in what_events_say_is_wrong(known) if cause[0] != "until" or now < cause[1]]  # type: ignore[operator]  # an instant
    return [*overfull_causes(known), *by_events, *usage_causes(usage, now)]


@from_events_alone
def what_events_say_is_wrong(known: Known) -> list[Cause]:
    """With what is over by now."""
    now = datetime.min.replace(tzinfo=UTC)
    return [
        *ticket_causes(known, now),
        *bad_word_causes(known, now),
        *detractor_causes(known, now),
        *money_causes(known, now),
        *cancellation_causes(known, now),
        *ended_causes(known, now),
    ]


def propensity(s: Situation) -> list[Cause]:
    found = signals.score(s.known, s.now)
    if found["value"] >= s.policy["ask_from"]:
        return []
    signed_up = signals.signed_up_at(s.known)
    if signed_up is not None and not found["parts"]["tenure"] and found["value"] + 10 >= s.policy["ask_from"]:
        return [("until", signed_up + 30 * DAY, f"score {found['value']}")]
    return [("until_event", "signal", f"score {found['value']}")]


def answers(s: Situation) -> list[Cause]:
    if past_asks.told_to_stop(s.known):
        return [("never", None, "told to stop")]
    return [
        cause
        for end in past_asks.answer_ends(s.known, s.asks, s.now, s.policy)
        for cause in waiting_until(end, s.now, "answer or silence")
    ]


def overasking(s: Situation) -> list[Cause]:
    return asked_lately(s) + denied(s, "overasking")


def asked_lately(s: Situation) -> list[Cause]:
    """The part of it that the customer's own history answers."""
    return [
        cause
        for ask in past_asks.counted_asks(s.known, s.asks)
        for cause in waiting_until(ask["asked_at"] + s.policy["customer_cap_days"] * DAY, s.now, "asked")
    ]


def account(s: Situation) -> list[Cause]:
    return denied(s, "account")


def advocacy(s: Situation) -> list[Cause]:
    others = of(s.known, "advocacy.asked")
    if s.opened_by["type"] in ("nps.responded", "csat.responded"):
        survey = signals.newest(e for e in others if e["data"]["kind"] == "survey" and e["time"] <= s.t0)
        if survey:  # also as it arrived again after the days of deduplication
            others = [e for e in others if (e["time"], e["data"]["kind"]) != (survey["time"], "survey")]
    gap = s.policy["advocacy_gap_days"] * DAY
    return [cause for e in others for cause in waiting_until(e["time"] + gap, s.now, e["data"]["kind"])]


def channel(s: Situation) -> list[Cause]:
    if consent(s) or signals.usable_channels(s.known, s.policy):
        return []
    return [("until_event", "customer.profile_changed", "no usable channel")]


def approval(s: Situation) -> list[Cause]:
    said = [e for e in of(s.known, "ask.approved", "ask.rejected") if e["data"]["opportunity_id"] == s.opportunity_id]
    last = signals.newest(said)
    if last is None:
        needed = signals.profile_value(s.known, "requires_approval")
        return [("until_event", "ask.approved", "not approved yet")] if needed else []
    return [("never", None, "rejected")] if last["type"] == "ask.rejected" else []


def held_out(customer: str, account_id: str | None, policy: Policy) -> bool:
    digest = hashlib.sha256(f"{policy['holdout_salt']}|{account_id or customer}".encode()).digest()
    return bool(int.from_bytes(digest[:8], "big") / 2**64 < policy["holdout_share"])


# In the order of the page; `moment` is worked out last, from the answers of the others, and `holdout` is drawn at
# the moment: until then it passes.
GATES = {
    "erased": (erased, "none"),
    "paused": (paused, "none"),
    "consent": (consent, "granted on a channel, not suppressed"),
    "too_early": (too_early, "30 d, onboarded, value realised, 2 days of activity"),
    "trouble": (trouble, "none"),
    "propensity": (propensity, "score from 50"),
    "answers": (answers, "no 180 d, maybe 90 d, two silences 180 d"),
    "overasking": (overasking, "1 per 90 d"),
    "account": (account, "1 per 14 d, 3 per 90 d"),
    "advocacy": (advocacy, "none within 14 d"),
    "channel": (channel, "one usable"),
    "moment": (None, "a good moment inside the window"),
    "approval": (approval, "approved where asked for"),
    "holdout": (None, "5 %"),
}


def reason(gate: str, causes: list[Cause]) -> Reason:
    """A gate's one answer: never, then the first until_event, then the latest until, else pass."""
    saw, limit = [cause[2] for cause in causes], GATES[gate][1]
    answer: str = "pass"
    until: datetime | str | None = None
    if any(kind == "never" for kind, _, _ in causes):
        answer = "never"
    elif events := [end for kind, end, _ in causes if kind == "until_event"]:
        answer, until = "until_event", events[0]
    elif instants := [end for _, end, _ in causes if isinstance(end, datetime)]:
        answer, until = "until", max(instants)
    return {"gate": gate, "answer": answer, "until": until, "saw": saw, "limit": limit}


def answers_of_all_but_moment(s: Situation) -> dict[str, Reason]:
    return {gate: reason(gate, judge(s) if judge else []) for gate, (judge, _) in GATES.items()}
