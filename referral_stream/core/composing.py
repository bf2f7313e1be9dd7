"""Effects from state: the commands, decisions and requests of a step, built from the state it has just reached.

Nothing is decided here: the caller has decided, and these functions write it down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    ContactClaimed,
    ContactForgotten,
    ContactReleased,
    Decision,
    DeniedFor,
    Effect,
    FollowupCancelled,
    FollowupReason,
    FollowupRequested,
    GateName,
    GrantConfirmed,
    GrantReleased,
    GrantRequested,
    OpportunityOpened,
    Outcome,
    PolicyRef,
    ReasonAsked,
    ReservationAmended,
    ReservationConfirmed,
    ReservationReleased,
    ReservationRequested,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
    Rival,
    Score,
    TimeZone,
    Window,
)
from referral_stream.core.events import Channel
from referral_stream.core.followups import FollowUp
from referral_stream.core.grants import Grant
from referral_stream.core.ids import command_id, decision_id, derived_id
from referral_stream.core.instants import DAY, SECOND
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.policy import Policy
from referral_stream.core.referrals import Referral
from referral_stream.core.rules import gates, propensity
from referral_stream.core.rules.gates import Verdict
from referral_stream.core.sections import Mode
from referral_stream.core.zones import Zone


@lru_cache(maxsize=16)
def _named(policy: Policy) -> PolicyRef:
    return PolicyRef(name=policy.name, hash=policy.hash)


class Emission(NamedTuple):
    """What a decision to ask adds to the explanation."""

    mode: Mode
    channel: Channel
    rivals: tuple[Rival, ...]
    command_id: str
    arm: str | None


class EffectBuilder(NamedTuple):
    """Builds the effects of one customer's state at an instant, under a policy."""

    policy: Policy
    customer: Customer
    zone: Zone
    now: int

    @property
    def policy_ref(self) -> PolicyRef:
        return _named(self.policy)

    def decision(
        self,
        o: Opportunity,
        outcome: Outcome,
        verdicts: tuple[Verdict, ...],
        score: Score,
        emission: Emission | None = None,
    ) -> Decision:
        """The opportunity's next decision."""
        c, policy = self.customer, self.policy
        asked, waits_until = gates.last_asked(c, policy), gates.answers_end(c, self.now, policy)
        eligible = None
        if asked is not None and "stop" not in c.answers:
            eligible = max(asked + policy.caps.customer_days * DAY, waits_until or 0)
        return Decision(
            decision_id=decision_id(o.id, o.written + 1),
            opportunity_id=o.id,
            customer_id=c.id,
            account_id=c.account_id,
            trigger=o.trigger,
            subject=o.subject,
            outcome=outcome,
            reasons=tuple(v.reason() for v in verdicts),
            score=score,
            mode=emission.mode if emission else None,
            channel=emission.channel if emission else None,
            window=Window(opens=o.t0, deadline=o.deadline),
            settled=o.settled,
            time_zone=TimeZone(name=self.zone.name, source=self.zone.source),
            rivals=emission.rivals if emission else (),
            command_id=emission.command_id if emission else None,
            arm=emission.arm if emission else None,
            policy=_named(policy),
            decided_at=self.now,
            next_eligible_at=eligible,
            flags=o.flags,
        )

    def ask(self, ask: Ask, mode: Mode, score: Score) -> AskRequested:
        """The command of an ask whose decision has been written."""
        o = ask.opportunity
        return AskRequested(
            **self._head(ask, o),
            subject=o.subject,
            mode=mode,
            template=ask.template,
            arm=ask.arm,
            variables=o.variables,
            channels=ask.channels,
            not_before=ask.asked_at,
            expires_at=ask.expires_at,
            reason_theme=o.reason_theme,
            offer=None if ask.offer is None else ask.offer.offer(),
            score=score,
            policy=_named(self.policy),
            traceparent=o.traceparent,
        )

    def question(self, ask: Ask) -> ReasonAsked:
        """The command that asks for the reason first."""
        o = ask.opportunity
        return ReasonAsked(
            **self._head(ask, o),
            subject=o.subject,
            template="reason",
            channels=ask.channels,
            not_before=ask.asked_at,
            expires_at=ask.expires_at,
            policy=_named(self.policy),
            traceparent=o.traceparent,
        )

    def cancellation(self, ask: Ask, o: Opportunity, gate: GateName, why: str) -> AskCancelled:
        """Withdraws a command; ``o`` is the ask's opportunity with the decision that says so."""
        return AskCancelled(**self._head(ask, o), gate=gate, reason=why, cancelled_at=self.now)

    def _head(self, ask: Ask, o: Opportunity) -> dict[str, Any]:
        """The fields of ``CommandHead``; ``o`` is the ask's opportunity with the decision behind the command."""
        return {
            "command_id": ask.command_id,
            "decision_id": decision_id(o.id, o.written),
            "opportunity_id": o.id,
            "customer_id": o.owner or self.customer.id,
            "account_id": self.customer.account_id,
            "trigger": o.trigger,
        }

    def opened(self, o: Opportunity) -> OpportunityOpened:
        c = self.customer
        return OpportunityOpened(
            opportunity_id=o.id,
            customer_id=c.id,
            account_id=c.account_id,
            trigger=o.trigger,
            segment=word(c.segment),
            now=self.now,
        )

    def request(self, o: Opportunity, moment: int, planned: int | None) -> ReservationRequested:
        """May this customer be asked at ``moment``? ``planned``: for when the clock had planned it, if it did."""
        c, policy = self.customer, self.policy
        return ReservationRequested(
            command_id=command_id(c.id, o.trigger, o.subject),
            opportunity_id=o.id,
            customer_id=c.id,
            account_id=c.account_id,
            email_hmac=word(c.email_hmac),
            segment=word(c.segment),
            trigger=o.trigger,
            priority=policy.triggers[o.trigger].priority,
            raw_score=propensity.score(c, self.now, policy).raw,
            due=moment,
            valid_until=moment + policy.ledger.answer_seconds * SECOND,
            now=self.now,
            shadow=policy.shadow,
            planned=planned,
        )

    def amendment(self, o: Opportunity, account: str | None, email_hmac: str | None) -> ReservationAmended:
        """What has become known since the reservation of an opportunity was made."""
        reserved = self._reserved(o) | {"account_id": account}
        return ReservationAmended(**reserved, email_hmac=email_hmac, now=self.now)

    def confirmation(self, o: Opportunity) -> ReservationConfirmed:
        """The reservation of an opportunity has become an ask."""
        return ReservationConfirmed(**self._reserved(o), now=self.now)

    def asked_elsewhere(self, at: int) -> list[Effect]:
        """Somebody else asked for a referral at that instant: for the ledger, an ask that nobody had reserved."""
        c, email = self.customer, word(self.customer.email_hmac)
        whose: dict[str, Any] = {
            "command_id": derived_id("asked elsewhere", c.id, at),
            "customer_id": c.id,
            "account_id": c.account_id,
        }
        found: list[Effect] = [ReservationConfirmed(**whose, now=at)]
        return found if email is None else [*found, ReservationAmended(**whose, email_hmac=email, now=at)]

    def reversal(self, o: Opportunity) -> ReservationReleased:
        """The reservation of an opportunity has become no ask."""
        return ReservationReleased(**self._reserved(o), now=self.now)

    def _reserved(self, o: Opportunity) -> dict[str, Any]:
        """Whose reservation it is, for the ledger: for good that of the id under which it was made."""
        owner = o.owner or self.customer.id
        return {
            "command_id": command_id(owner, o.trigger, o.subject),
            "customer_id": owner,
            "account_id": self.customer.account_id,
        }

    # -------------------------------------------------------------------------------------------------- after the ask

    def followup(self, f: FollowUp, not_before: int, variables: dict[str, str], trace: str | None) -> FollowupRequested:
        c = self.customer
        referral = c.referrals.get(f.subject)
        return FollowupRequested(
            followup_id=f.id,
            kind=f.kind,
            audience="customer" if f.to_customer else "owner",
            customer_id=c.id,
            account_id=c.account_id,
            command_id=f.command_id,
            referral_id=None if referral is None else referral.id or f.subject,
            channels=f.channels if f.to_customer else None,
            not_before=not_before,
            due_by=f.due_by,
            expires_at=f.expires_at,
            late=self.now >= f.due,
            variables=variables,
            policy=_named(self.policy),
            requested_at=self.now,
            traceparent=trace,
        )

    def followup_cancellation(self, f: FollowUp, reason: FollowupReason, trace: str | None) -> FollowupCancelled:
        c = self.customer
        return FollowupCancelled(
            followup_id=f.id, kind=f.kind, customer_id=f.owner or c.id, account_id=f.account, reason=reason,
            cancelled_at=self.now, traceparent=trace,
        )  # fmt: skip

    def _reward(self, referral_id: str, grant: Grant, trace: str | None) -> dict[str, Any]:
        return {
            "grant_id": grant.id,
            "referral_id": referral_id,
            "customer_id": grant.owner or self.customer.id,
            "account_id": grant.account,
            "policy": _named(self.policy),
            "traceparent": trace,
        }

    def reward_held(self, referral_id: str, grant: Grant, trace: str | None) -> RewardHeld:
        return RewardHeld(
            **self._reward(referral_id, grant, trace),
            **msgspec.structs.asdict(grant.promise),
            hints=grant.hints,
            held_at=self.now,
            lapses_at=grant.lapses_at or self.now,
        )

    def reward_granted(self, referral_id: str, grant: Grant, trace: str | None) -> RewardGranted:
        head, worth = self._reward(referral_id, grant, trace), msgspec.structs.asdict(grant.promise)
        return RewardGranted(**head, **worth, granted_at=self.now)

    def reward_denied(self, referral_id: str, grant: Grant, reason: DeniedFor, trace: str | None) -> RewardDenied:
        return RewardDenied(**self._reward(referral_id, grant, trace), reason=reason, denied_at=self.now)

    def reward_reversed(self, referral_id: str, grant: Grant, reason: str, trace: str | None) -> RewardReversed:
        head = self._reward(referral_id, grant, trace)
        return RewardReversed(**head, reason=reason, reversed_at=self.now)

    def claim(self, referral_id: str, keys: tuple[str, ...], owner: str) -> ContactClaimed:
        return ContactClaimed(
            referral_id=referral_id, customer_id=owner or self.customer.id, contact_keys=keys, now=self.now
        )

    def claim_release(self, referral_id: str, owner: str) -> ContactReleased:
        return ContactReleased(referral_id=referral_id, customer_id=owner or self.customer.id, now=self.now)

    def _grant(self, referral_id: str, grant: Grant, referral: Referral) -> dict[str, Any]:
        """Of whom the ledger knows the claims."""
        return {
            "grant_id": grant.id,
            "referral_id": referral_id,
            "customer_id": grant.owner or referral.owner or self.customer.id,
            "account_id": grant.account,
            "contact_keys": referral.keys,
            "now": grant.requested_at,
        }

    def grant_request(self, referral_id: str, grant: Grant, referral: Referral) -> GrantRequested:
        return GrantRequested(**self._grant(referral_id, grant, referral))

    def grant_confirmation(self, referral_id: str, grant: Grant, referral: Referral) -> GrantConfirmed:
        return GrantConfirmed(**self._grant(referral_id, grant, referral))

    def grant_release(self, grant: str, owner: str = "") -> GrantReleased:
        return GrantReleased(grant_id=grant, customer_id=owner or self.customer.id, now=self.now)

    def contact_forgotten(self, referral_id: str) -> ContactForgotten:
        return ContactForgotten(referral_id=referral_id, customer_id=self.customer.id, now=self.now)

    def release(self, command: str) -> ReservationReleased:
        c = self.customer
        return ReservationReleased(command_id=command, customer_id=c.id, account_id=c.account_id, now=self.now)
