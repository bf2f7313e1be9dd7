"""One valid message and one invalid one of every type and version: the published examples are made from these.

A valid body has every optional field set. An invalid one is the valid one with the change that ``WRONG`` names.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from referral_stream.contracts.catalogue import EFFECT_MESSAGES, MessageVersion
from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    Decision,
    Effect,
    LedgerRenewed,
    OpportunityOpened,
    PolicyRef,
    Reason,
    ReasonAsked,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
    Rival,
    Score,
    TimeZone,
    Window,
)
from referral_stream.core.events import WITHOUT_SUBJECT

FACT_DATA: dict[str, dict[str, Any]] = {
    "customer.signed_up": {"trial": True},
    "customer.profile_changed": {
        "time_zone": "Europe/Berlin",
        "locale": "de-DE",
        "segment": "enterprise",
        "account_id": "acc-1",
        "channels": {"email": True, "in_app": False, "phone": True},
        "email_hmac": "0123456789abcdef" * 4,
        "champion": True,
        "requires_approval": False,
    },
    "customer.consent_changed": {"purpose": "referral_ask", "channel": "all", "granted": True},
    "customer.suppressed": {"reason": "bounce"},
    "customer.unsuppressed": {"reason": "address_confirmed"},
    "customer.erasure_requested": {},
    "customer.linked": {"kind": "stripe_charge", "value": "ch_1"},
    "customer.aliased": {"alias": "cus-old"},
    "onboarding.completed": {},
    "milestone.reached": {"milestone": "first-report", "first_success": True},
    "goal.achieved": {"goal": "close_the_books_faster"},
    "saving.measured": {"kind": "time", "amount": 3.5, "unit": "hours"},
    "usage.recorded": {"feature": "reports", "count": 3},
    "usage.compared": {"above_average": True},
    "workflow.completed": {"name": "month end"},
    "achievement.unlocked": {"name": "hundred invoices"},
    "dashboard.viewed": {"name": "cash", "metrics_positive": True},
    "task.started": {"task_id": "task-1"},
    "task.ended": {"task_id": "task-1"},
    "nps.responded": {"response_id": "resp-1", "score": 9, "comment": "It saves us hours every week."},
    "csat.responded": {
        "response_id": "resp-2",
        "score": 5,
        "scale_max": 5,
        "ticket_id": "tick-1",
        "comment": "Great support",
    },
    "trial.started": {"subscription_id": "sub-1"},
    "trial.ended": {"subscription_id": "sub-1", "converted": True},
    "subscription.started": {"subscription_id": "sub-1"},
    "subscription.ended": {"subscription_id": "sub-1"},
    "subscription.renewed": {"subscription_id": "sub-1", "invoice_id": "in-1", "contract_id": "con-1"},
    "subscription.expanded": {"deal_id": "deal-1", "amount_minor": 120_000, "currency": "eur"},
    "contract.signed": {"contract_id": "con-1", "initial": True},
    "invoice.payment_failed": {"invoice_id": "in-1"},
    "invoice.paid": {"invoice_id": "in-1"},
    "charge.refunded": {"charge_id": "ch-1"},
    "charge.disputed": {"charge_id": "ch-1"},
    "dispute.closed": {"charge_id": "ch-1", "won": False},
    "cancellation.considered": {"subscription_id": "sub-1"},
    "cancellation.scheduled": {"subscription_id": "sub-1"},
    "cancellation.reverted": {"subscription_id": "sub-1"},
    "ticket.opened": {"ticket_id": "tick-1", "priority": "urgent"},
    "ticket.solved": {"ticket_id": "tick-1", "rating": "positive"},
    "ticket.rated": {"ticket_id": "tick-1", "rating": "negative"},
    "ticket.reopened": {"ticket_id": "tick-1"},
    "complaint.made": {"reference": "mail-1", "comment": "The export is broken."},
    "frustration.shown": {"reference": "mail-2", "comment": "Again."},
    "interaction.recorded": {"kind": "meeting", "positive": True},
    "advice.asked": {"kind": "roadmap"},
    "community.engaged": {"kind": "meetup"},
    "feedback.shared": {"positive": True, "comment": "So easy to use."},
    "compliment.given": {"reference": "mail-3", "comment": "Flawless."},
    "testimonial.given": {"reference": "page-1", "comment": "Great value for money."},
    "case_study.joined": {"reference": "study-1", "comment": "Our revenue grew."},
    "review.posted": {"rating": 4.5, "scale_max": 5, "url": "https://reviews.example/1", "comment": "Reliable."},
    "champion.changed": {"champion": True},
    "peer.mentioned": {"peer_ref": "peer-1", "company": "Initech", "challenge": "late_invoices"},
    "advocacy.asked": {"kind": "survey", "by": "marketing"},
    "email.opened": {"message_id": "msg-1"},
    "email.clicked": {"message_id": "msg-1"},
    "call.moment": {"kind": "qbr_ended_well", "call_id": "call-1"},
    "call.concern_raised": {"call_id": "call-1"},
    "call.concern_addressed": {"call_id": "call-1"},
    "call.cut_short": {"call_id": "call-1"},
    "ask.acknowledged": {"command_id": "cmd-1", "status": "sent"},
    "ask.answered": {"command_id": "cmd-1", "answer": "maybe", "text": "Let me think about whom."},
    "ask.approved": {"opportunity_id": "opp-1", "by": "owner-7"},
    "ask.rejected": {"opportunity_id": "opp-1", "by": "owner-7"},
    "customer.overfull_cleared": {"kind": "tickets", "by": "ops"},
    "control.paused": {"scope": "trigger", "name": "renewal", "by": "ops", "why": "price_change"},
    "control.resumed": {"scope": "all", "by": "ops", "why": "over"},
    "referral.given": {
        "referral_id": "ref-1",
        "command_id": "cmd-1",
        "contact": {"ref": "c-1", "name": "Milton Waddams", "company": "Initech", "consented": True},
    },
    "referral.status_changed": {
        "referral_id": "ref-1",
        "status": "converted",
        "deal_value_minor": 990_000,
        "currency": "eur",
    },
}

INTERNAL_DATA: dict[str, dict[str, Any]] = {
    "wakeup.due": {"due": "2026-06-19T11:00:00.000Z"},
    "reservation.granted": {"command_id": "cmd-1"},
    "reservation.denied": {
        "command_id": "cmd-1",
        "gate": "account",
        "until": "2026-06-30T08:00:00.001Z",
        "saw": "asked on 2026-06-16",
    },
    "reservation.unavailable": {"command_id": "cmd-1"},
    "deadletter.replayed": {},
    "merge.requested": {
        "into": "cus-1",
        "stamp": {"time": "2026-06-16T08:00:00.000Z", "source": "crm", "id": "merge-17"},
        "asked_at": "2026-06-16T08:00:00.250Z",
    },
    "merge.delivered": {
        "of": "cus-old",
        "asked": "cus-old",
        "stamp": {"time": "2026-06-16T08:00:00.000Z", "source": "crm", "id": "merge-17"},
        "asked_at": "2026-06-16T08:00:00.250Z",
        "erased_at": "2026-06-01T08:00:00.000Z",
    },
    "merge.moved": {"into": "cus-1"},
    "link.taught": {"customer": "cus-1", "standing": "named"},
    "link.left": {"customer": "cus-1"},
    "customer.held": {},
}

_SCORE = Score(value=100, raw=110, parts={"tenure": 10, "nps": 30, "champion": 15})
_POLICY = PolicyRef(name="default", hash="0123456789abcdef")

EFFECTS: tuple[Effect, ...] = (
    AskRequested(
        command_id="cmd-1",
        decision_id="dec-1",
        opportunity_id="opp-1",
        customer_id="cus-1",
        account_id="acc-1",
        trigger="nps_promoter",
        subject="resp-1",
        mode="direct",
        template="nps_promoter",
        variables={"company": "Initech", "größe": "ü"},
        channels=("email", "in_app"),
        not_before=1_781_863_200_123,
        expires_at=1_781_880_000_000,
        reason_theme="time_saved",
        score=_SCORE,
        policy=_POLICY,
    ),
    AskCancelled(
        command_id="cmd-1",
        decision_id="dec-2",
        opportunity_id="opp-1",
        customer_id="cus-1",
        trigger="nps_promoter",
        gate="trouble",
        reason="a ticket was opened",
        cancelled_at=1_781_863_300_000,
    ),
    Decision(
        decision_id="dec-1",
        opportunity_id="opp-1",
        customer_id="cus-1",
        account_id="acc-1",
        trigger="nps_promoter",
        subject="resp-1",
        outcome="deferred",
        reasons=(
            Reason(gate="erased", answer="pass", saw="no", limit="never"),
            Reason(gate="trouble", answer="until_event", until="ticket.solved", saw="tick-1", limit="none open"),
        ),
        score=_SCORE,
        mode="direct",
        window=Window(opens=1_781_800_000_000, deadline=1_781_886_400_000),
        settled=1_781_801_200_000,
        time_zone=TimeZone(name="Europe/Berlin", source="profile"),
        rivals=(Rival(trigger="milestone", opportunity_id="opp-2", priority=20),),
        policy=_POLICY,
        decided_at=1_781_800_000_000,
        flags=("time_naive",),
    ),
    ReservationRequested(
        command_id="cmd-1",
        opportunity_id="opp-1",
        customer_id="cus-1",
        account_id="acc-1",
        email_hmac="f" * 64,
        segment="smb",
        trigger="nps_promoter",
        priority=40,
        raw_score=110,
        due=1_781_863_200_000,
        valid_until=1_781_863_230_000,
        now=1_781_863_200_123,
    ),
    ReservationConfirmed(command_id="cmd-1", customer_id="cus-1", now=1_781_863_400_000),
    ReservationReleased(command_id="cmd-1", customer_id="cus-1", account_id="acc-1", now=1_781_863_400_000),
    ReservationAmended(command_id="cmd-1", customer_id="cus-1", account_id="acc-2", now=1_781_863_500_000),
    ReservationHeld(
        command_id="cmd-1",
        customer_id="cus-1",
        account_id="acc-1",
        email_hmac="f" * 64,
        segment="smb",
        trigger="nps_promoter",
        due=1_781_863_200_000,
        requested_at=1_781_863_200_123,
        generation=3,
        now=1_781_863_200_240,
    ),
    LedgerRenewed(generation=3, now=1_781_860_000_000),
    OpportunityOpened(
        opportunity_id="opp-1",
        customer_id="cus-1",
        account_id=None,
        trigger="nps_promoter",
        segment="mission_driven",
        now=1_781_800_000_000,
    ),
    ReasonAsked(
        command_id="cmd-2",
        decision_id="dec-3",
        opportunity_id="opp-1",
        customer_id="cus-1",
        account_id="acc-1",
        trigger="nps_promoter",
        subject="resp-1",
        template="nps_reason",
        channels=("email",),
        not_before=1_781_863_200_000,
        expires_at=1_781_880_000_000,
        policy=_POLICY,
    ),
)

OLDER_DATA: dict[tuple[str, int], dict[str, Any]] = {}
"""By (type, version): a valid body of every version that is no longer written. There are none yet."""

WRONG: dict[str, dict[str, Any]] = {
    "customer.signed_up": {"trial": "perhaps"},
    "customer.profile_changed": {"segment": "huge"},
    "customer.consent_changed": {"channel": "fax"},
    "customer.suppressed": {"reason": 550},
    "customer.unsuppressed": {"reason": ["address confirmed"]},
    "customer.aliased": {"alias": ""},
    "milestone.reached": {"milestone": None},
    "goal.achieved": {"goal": None},
    "saving.measured": {"kind": "nerves"},
    "usage.recorded": {"count": -1},
    "usage.compared": {"above_average": "slightly"},
    "workflow.completed": {"name": 12},
    "achievement.unlocked": {"name": 100},
    "dashboard.viewed": {"metrics_positive": None},
    "task.started": {"task_id": None},
    "task.ended": {"task_id": [1]},
    "nps.responded": {"score": 11},
    "csat.responded": {"score": "very"},
    "trial.started": {"subscription_id": ""},
    "trial.ended": {"converted": None},
    "subscription.started": {"subscription_id": None},
    "subscription.ended": {"subscription_id": [1]},
    "subscription.renewed": {"invoice_id": ""},
    "subscription.expanded": {"amount_minor": 1200.5},
    "contract.signed": {"initial": None},
    "invoice.payment_failed": {"invoice_id": None},
    "invoice.paid": {"invoice_id": [1]},
    "charge.refunded": {"charge_id": None},
    "charge.disputed": {"charge_id": ""},
    "dispute.closed": {"won": "partly"},
    "cancellation.considered": {"subscription_id": [1]},
    "cancellation.scheduled": {"subscription_id": ""},
    "cancellation.reverted": {"subscription_id": True},
    "ticket.opened": {"priority": "p1"},
    "ticket.solved": {"rating": 5},
    "ticket.rated": {"rating": None},
    "ticket.reopened": {"ticket_id": [4711]},
    "complaint.made": {"reference": ""},
    "frustration.shown": {"reference": [2]},
    "interaction.recorded": {"kind": "lunch"},
    "advice.asked": {"kind": 1},
    "community.engaged": {"kind": 2},
    "feedback.shared": {"positive": None},
    "compliment.given": {"reference": ""},
    "testimonial.given": {"comment": 5},
    "case_study.joined": {"reference": [1]},
    "review.posted": {"rating": "five stars"},
    "champion.changed": {"champion": None},
    "peer.mentioned": {"peer_ref": None},
    "advocacy.asked": {"kind": "tweet"},
    "email.opened": {"message_id": [1]},
    "email.clicked": {"message_id": [1]},
    "call.moment": {"kind": "small_talk"},
    "call.concern_raised": {"call_id": None},
    "call.concern_addressed": {"call_id": ""},
    "call.cut_short": {"call_id": [1]},
    "ask.acknowledged": {"status": "bounced"},
    "ask.answered": {"answer": "perhaps"},
    "ask.approved": {"opportunity_id": None},
    "ask.rejected": {"opportunity_id": None},
    "customer.overfull_cleared": {"kind": "everything"},
    "control.paused": {"scope": "everything"},
    "control.resumed": {"scope": None},
    "referral.given": {"contact": {"ref": "c-1"}},
    "referral.status_changed": {"status": "won"},
    "wakeup.due": {"due": None},
    "reservation.granted": {"command_id": None},
    "reservation.denied": {"gate": "consent"},
    "link.taught": {"standing": "somebody"},
    "link.left": {"customer": None},
    "reservation.unavailable": {"command_id": ""},
    "merge.requested": {"into": None},
    "merge.delivered": {"stamp": "merge-17"},
    "merge.moved": {"into": ""},
    "referral.ask.requested": {"mode": "pushy"},
    "referral.ask.cancelled": {"gate": "weather"},
    "referral.decision.made": {"outcome": "forgotten"},
    "referral.reason.asked": {"template": None},
    "reservation.requested": {"priority": "high"},
    "reservation.held": {"generation": "newest"},
    "ledger.renewed": {"generation": None},
    "reservation.confirmed": {"now": None},
    "reservation.released": {"command_id": None},
    "reservation.amended": {"command_id": None},
    "opportunity.opened": {"trigger": None},
}
"""Type → the fields that make its valid body invalid (None: left out); a type without a row lacks its subject."""

_TIME = 1_781_863_200_000
_EFFECTS: Final = {EFFECT_MESSAGES[type(effect)].kind: effect for effect in EFFECTS}


def valid(message: MessageVersion) -> dict[str, Any]:
    """A structured CloudEvent that its readers accept."""
    if (effect := _EFFECTS.get(message.kind)) is not None:
        written: dict[str, Any] = orjson.loads(encode_effect(effect, _TIME))
        return written
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "shop",
        "type": message.kind,
        "time": "2026-06-16T07:59:00.000Z",
        "datacontenttype": "application/json",
        "dataschema": message.dataschema,
        "data": _data(message),
    }
    return event if message.kind in WITHOUT_SUBJECT else {**event, "subject": "cus-1"}


def invalid(message: MessageVersion) -> dict[str, Any]:
    """A structured CloudEvent that its readers do not take as it stands, and that its schema refuses."""
    event = valid(message)
    wrong = WRONG.get(message.kind)
    if wrong is None:
        return {name: value for name, value in event.items() if name != "subject"}
    changed = {**event["data"], **wrong}
    return {**event, "data": {name: value for name, value in changed.items() if value is not None}}


def _data(message: MessageVersion) -> dict[str, Any]:
    if not message.is_current:
        return OLDER_DATA[message.kind, message.version]
    return FACT_DATA[message.kind] if message.direction == "in" else INTERNAL_DATA[message.kind]
