"""The rules for a messaging worker, each with the commands that try it and the acknowledgements that keep it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypeAlias

import orjson

from referral_stream.contracts.codec import encode_effect
from referral_stream.core.effects import AskCancelled, AskRequested, PolicyRef, ReasonAsked, Score
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import HOUR, MINUTE, SECOND
from referral_stream.testing.report import Acknowledgement
from referral_stream.testing.timing import Limits

AckStatus: TypeAlias = Literal["accepted", "sent", "delivered", "opened", "failed", "dropped_expired", "cancelled"]

SENT: frozenset[AckStatus] = frozenset({"sent", "delivered", "opened"})
"""The statuses that report the message as sent."""


class Then(Enum):
    """What the kit does after publishing the command."""

    NOTHING = "nothing"
    REPEAT = "publish the same record again, at once"
    CANCEL = "publish its cancellation, at once"
    CANCEL_WHEN_SENT = "publish its cancellation once it has been acknowledged as sent"
    RESTART = "kill and start the worker while the command waits"
    REPEAT_AFTER_RESTART = "publish the same record again after the restart"


@dataclass(frozen=True, slots=True)
class Case:
    """One rule. ``ends``: the acknowledgement that is waited for (None: there must be none at all); ``never``: those
    that must not come. ``waits`` says that ``not_before`` lies ahead; ``expired`` that ``expires_at`` has passed;
    ``aborted`` that the command is written in a transaction that is not committed.
    """

    name: str
    rule: str
    ends: AckStatus | None
    never: frozenset[AckStatus] = frozenset()
    then: Then = Then.NOTHING
    waits: bool = False
    expired: bool = False
    aborted: bool = False
    kind: str = "referral.ask.requested"
    unknown_fields: bool = False

    @property
    def with_restart(self) -> bool:
        """Whether the worker is killed and started in the middle of it."""
        return self.then in (Then.RESTART, Then.REPEAT_AFTER_RESTART)


_NOT_SENT = frozenset({*SENT, "failed"})

CASES: tuple[Case, ...] = (
    Case("sent", "What may be sent is sent and acknowledged.", "sent", frozenset({"failed", "dropped_expired"})),
    Case("expired", "What has expired is dropped.", "dropped_expired", SENT, expired=True),
    Case("repeated", "A repeated id is dropped.", "sent", then=Then.REPEAT),
    Case("not_before", "Nothing is sent before not_before.", "sent", waits=True),
    Case("cancelled", "What is cancelled is not sent.", "cancelled", SENT, Then.CANCEL, waits=True),
    Case(
        "cancelled_too_late", "What has been sent is not reported as cancelled.", "sent", frozenset({"cancelled"}),
        Then.CANCEL_WHEN_SENT,
    ),
    Case("reason", "The question for the reason is a command too.", "sent", kind="referral.reason.asked"),
    Case("unknown_fields", "Fields and attributes it does not know are ignored.", "sent", unknown_fields=True),
    Case("unknown_type", "Types it does not know are skipped.", None, _NOT_SENT, kind="referral.kit.unheard_of"),
    Case("uncommitted", "Only committed commands are read.", None, _NOT_SENT, aborted=True),
    Case("restart", "A command that waits survives a crash of the worker.", "sent", then=Then.RESTART, waits=True),
    Case("repeated_after_restart", "A repeated id is dropped, also after a crash.", "sent",
         then=Then.REPEAT_AFTER_RESTART),
)  # fmt: skip


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
        return derived_id("command", self.customer, "nps_promoter", self.run, 1)

    @property
    def not_before(self) -> int:
        return self.started + (round(self.limits.early * SECOND) if self.case.waits else 0)

    def command(self) -> bytes:
        """The value of the command's record."""
        expires = self.started - MINUTE if self.case.expired else self.started + HOUR
        whole = {
            "command_id": self.command_id,
            "decision_id": derived_id("decision", self._opportunity, 1),
            "opportunity_id": self._opportunity,
            "customer_id": self.customer,
            "trigger": "nps_promoter",
            "subject": self.run,
            "channels": ("email", "in_app", "phone"),
            "not_before": self.not_before - (HOUR if self.case.expired else 0),
            "expires_at": expires,
            "policy": PolicyRef(name="kit", hash="0" * 16),
        }
        effect: AskRequested | ReasonAsked
        if self.case.kind == "referral.reason.asked":
            effect = ReasonAsked(**whole, template="reason")
        else:
            score = Score(value=75, raw=75, parts={})
            effect = AskRequested(
                **whole, mode="direct", template="nps", variables={}, reason_theme="time_saved", score=score
            )
        value = encode_effect(effect, self.started)
        if self.case.unknown_fields:
            return _with_unknown_fields(value)
        return orjson.dumps(orjson.loads(value) | {"type": self.case.kind})

    def cancellation(self) -> bytes:
        """The value of the record that cancels it."""
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

    def problems(self, said: Sequence[Acknowledgement], deliveries: int | None = None) -> tuple[str, ...]:
        """What is wrong with these acknowledgements of the command, in order of arrival.

        ``deliveries``: how many messages reached the sandbox under this command id, where the caller can tell.
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
        wanted = 1 if self.case.ends == "sent" else 0
        if deliveries is not None and deliveries != wanted:
            found.append(f"delivered {deliveries} times, not {wanted}")
        return tuple(found)

    @property
    def _opportunity(self) -> str:
        return derived_id("opportunity", self.customer, "nps_promoter", self.run)


def _with_unknown_fields(value: bytes) -> bytes:
    event: dict[str, Any] = orjson.loads(value)
    event["data"] |= {"kit_field": {"nested": [1, None, "x"]}, "kit_number": 1.5}
    return orjson.dumps(event | {"kitattribute": "of a later version"})
