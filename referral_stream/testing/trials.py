"""A case with the ids and instants of one run: its records, and what is wrong with the answers to them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    FollowupCancelled,
    FollowupKind,
    FollowupRequested,
    PolicyRef,
    ReasonAsked,
    Score,
)
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import HOUR, MINUTE, SECOND
from referral_stream.testing.cases import SENT, Case
from referral_stream.testing.report import Acknowledgement
from referral_stream.testing.timing import Limits

_POLICY: Final = PolicyRef(name="kit", hash="0" * 16)
_REWARD: Final = {"reward_kind": "credit", "amount_minor": "5000", "currency": "EUR"}
_GRANT: Final = {"grant_id": "kit-grant"}

_ABOUT_ANSWERS: Final[frozenset[FollowupKind]] = frozenset(
    {"intro_offer", "easy_forward", "graceful_no", "read_answer"}
)

_VARIABLES: Final[dict[FollowupKind, dict[str, str]]] = {
    "intro_offer": {"trigger": "nps_promoter"},
    "easy_forward": {"trigger": "nps_promoter"},
    "graceful_no": {"trigger": "nps_promoter"},
    "read_answer": {"trigger": "nps_promoter", "answer": "unclear"},
    "thank": {},
    "take_care": {"consented": "false"},
    "report_back": {"status": "converted", **_REWARD},
    "reward_told": _REWARD,
    "approve_reward": {**_GRANT, "hints": "same_domain,rate"},
    "read_reward": {**_GRANT, "reason": "duplicate"},
    "reward_failed": {**_GRANT, "reference": "kit-payout"},
}
"""What a follow-up of each kind carries (after §2)."""


@dataclass(frozen=True, slots=True)
class WorkerTrial:
    """A case with the ids and instants (epoch ms) of one run; the same run id makes the same commands."""

    case: Case
    run: str
    started: int
    limits: Limits

    @property
    def customer(self) -> str:
        return f"kit-{self.run}-{self.case.name}"

    @property
    def command_id(self) -> str:
        """The follow-up's id, where it is one."""
        if self.case.followup is not None:
            return derived_id("followup", self.customer, self._about, self.case.followup, 1)
        return derived_id("command", self.customer, "nps_promoter", self.run, 1)

    @property
    def not_before(self) -> int:
        return self.started + (round(self.limits.early * SECOND) if self.case.waits else 0)

    def command(self) -> bytes:
        """The value of the record that asks for it."""
        value = self._ask() if self.case.followup is None else self._followup(self.case.followup)
        if self.case.unknown_fields:
            return _with_unknown_fields(value)
        return orjson.dumps(orjson.loads(value) | {"type": self.case.kind})

    @property
    def _times(self) -> dict[str, Any]:
        expires = self.started - MINUTE if self.case.expired else self.started + HOUR
        not_before = self.not_before - (HOUR if self.case.expired else 0)
        return {"customer_id": self.customer, "not_before": not_before, "expires_at": expires}

    def _ask(self) -> bytes:
        whole = {
            **self._times,
            "command_id": self.command_id,
            "decision_id": derived_id("decision", self._opportunity, 1),
            "opportunity_id": self._opportunity,
            "trigger": "nps_promoter",
            "subject": self.run,
            "channels": ("email", "in_app", "phone"),
            "policy": _POLICY,
        }
        effect: AskRequested | ReasonAsked
        if self.case.kind == "referral.reason.asked":
            effect = ReasonAsked(**whole, template="reason")
        else:
            score = Score(value=75, raw=75, parts={})
            effect = AskRequested(
                **whole, mode="direct", template="nps", variables={}, reason_theme="time_saved", score=score
            )
        return encode_effect(effect, self.started)

    def _followup(self, kind: FollowupKind) -> bytes:
        is_about_referral = kind not in _ABOUT_ANSWERS
        effect = FollowupRequested(
            **self._times,
            followup_id=self.command_id,
            kind=kind,
            audience="owner" if self.case.for_owner else "customer",
            command_id=None if is_about_referral else self._about,
            referral_id=self._about if is_about_referral else None,
            channels=None if self.case.for_owner else ("email", "in_app", "phone"),
            due_by=self._times["expires_at"],
            late=False,
            variables=_VARIABLES[kind],
            policy=_POLICY,
            requested_at=self.started,
        )
        value = encode_effect(effect, self.started)
        if not self.case.unknown_kind:
            return value
        event = orjson.loads(value)
        return orjson.dumps(event | {"data": event["data"] | {"kind": "kit_unheard_of"}})

    def cancellation(self) -> bytes:
        """The value of the record that cancels it."""
        effect: AskCancelled | FollowupCancelled
        if self.case.followup is not None:
            effect = FollowupCancelled(
                followup_id=self.command_id,
                kind=self.case.followup,
                customer_id=self.customer,
                reason="care_taken" if self.case.for_owner else "stop",
                cancelled_at=self.started,
            )
            return encode_effect(effect, self.started)
        effect = AskCancelled(
            command_id=self.command_id,
            decision_id=derived_id("decision", self._opportunity, 2),
            opportunity_id=self._opportunity,
            customer_id=self.customer,
            trigger="nps_promoter",
            gate="trouble",
            reason="a ticket is open",
            cancelled_at=self.started,
        )
        return encode_effect(effect, self.started)

    def has_ended(self, said: Sequence[Acknowledgement]) -> bool:
        """Whether the awaited acknowledgement has come."""
        return self.case.ends is None or any(each.status == self.case.ends for each in said)

    def problems(
        self, said: Sequence[Acknowledgement], deliveries: int | None = None, owner_items: int | None = None
    ) -> tuple[str, ...]:
        """What is wrong with these acknowledgements, in order of arrival.

        ``deliveries``: how many messages reached the sandbox's customers under this id, ``owner_items``: how many its
        owners, where the caller can tell.
        """
        found: list[str] = []
        statuses = [each.status for each in said]
        if not self.has_ended(said):
            found.append(f"no acknowledgement {self.case.ends!r} within {self.limits.answer:g} s")
        found += [f"acknowledged {status!r}" for status in sorted(self.case.never & set(statuses))]
        if self.case.ends is None and (others := set(statuses) - self.case.never):
            found.append(f"acknowledged {', '.join(map(repr, sorted(others)))}, for something that was not a command")
        sent = [(each.source, each.id) for each in said if each.status == "sent"]
        # A crash may fall between the report and recording it; then it is repeated, under the same id.
        if (times := len(set(sent) if self.case.with_restart else sent)) > 1:
            found.append(f"acknowledged 'sent' {times} times")
        earliest = self.not_before - round(self.limits.skew * SECOND)
        early = [earliest - each.received for each in said if each.status in SENT and each.received < earliest]
        if early:
            found.append(f"sent {max(early) / SECOND:.1f} s before not_before")
        found += [f"{each.status!r} has another subject" for each in said if each.customer != self.customer]
        return (*found, *self._misplaced(deliveries, owner_items))

    def _misplaced(self, deliveries: int | None, owner_items: int | None) -> Iterator[str]:
        """What reached whom too often, or not at all."""
        once = 1 if self.case.ends == "sent" else 0
        wanted, wanted_of_owner = (0, once) if self.case.for_owner else (once, 0)
        if deliveries is not None and deliveries != wanted:
            to = " to the customer" if self.case.for_owner else ""
            yield f"delivered{to} {deliveries} times, not {wanted}"
        if owner_items is not None and owner_items != wanted_of_owner:
            yield f"given to the owner {owner_items} times, not {wanted_of_owner}"

    @property
    def _about(self) -> str:
        """The ask, or the referral, that the follow-up is about."""
        return derived_id("about", self.customer, self.run)

    @property
    def _opportunity(self) -> str:
        return derived_id("opportunity", self.customer, "nps_promoter", self.run)


def _with_unknown_fields(value: bytes) -> bytes:
    event: dict[str, Any] = orjson.loads(value)
    event["data"] |= {"kit_field": {"nested": [1, None, "x"]}, "kit_number": 1.5}
    return orjson.dumps(event | {"kitattribute": "of a later version"})
