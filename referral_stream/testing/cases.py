"""The rules for a messaging worker, each with what tries it and the acknowledgements that keep it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias, get_args

from referral_stream.core.effects import FollowupKind
from referral_stream.core.followups import TO_CUSTOMER

AckStatus: TypeAlias = Literal["accepted", "sent", "delivered", "opened", "failed", "dropped_expired", "cancelled"]

SENT: frozenset[AckStatus] = frozenset({"sent", "delivered", "opened"})
"""The statuses that report the message as sent."""


class Then(Enum):
    """What the kit does besides publishing the command."""

    NOTHING = "nothing"
    CANCEL_FIRST = "publish its cancellation before it"
    REPEAT = "publish the same record again, at once"
    CANCEL = "publish its cancellation, at once"
    CANCEL_WHEN_SENT = "publish its cancellation once it has been acknowledged as sent"
    RESTART = "kill and start the worker while the command waits"
    REPEAT_AFTER_RESTART = "publish the same record again after the restart"


@dataclass(frozen=True, slots=True)
class Case:
    """One rule. ``ends``: the acknowledgement that is waited for (None: there must be none at all); ``never``: those
    that must not come. ``waits`` says that ``not_before`` lies ahead; ``expired`` that ``expires_at`` has passed;
    ``aborted`` that the command is written in a transaction that is not committed. ``followup`` is the kind of the
    follow-up that stands in the place of a command (None: it is a command); ``told_apart`` says that the case means
    nothing unless somebody knows what has reached the customer.
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
    unknown_kind: bool = False
    followup: FollowupKind | None = None
    told_apart: bool = False

    @property
    def for_owner(self) -> bool:
        """Whether it is something for the customer's owner, and nothing for the customer."""
        return self.followup is not None and self.followup not in TO_CUSTOMER

    @property
    def with_restart(self) -> bool:
        """Whether the worker is killed and started in the middle of it."""
        return self.then in (Then.RESTART, Then.REPEAT_AFTER_RESTART)


_NOT_SENT = frozenset({*SENT, "failed"})
FOLLOWUP_REQUESTED: Final = "referral.followup.requested"

ASK_CASES: tuple[Case, ...] = (
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


def _followup(
    name: str,
    rule: str,
    kind: FollowupKind,
    ends: AckStatus | None = "sent",
    never: frozenset[AckStatus] = frozenset(),
    then: Then = Then.NOTHING,
    *,
    waits: bool = False,
    expired: bool = False,
    aborted: bool = False,
    unknown_fields: bool = False,
    unknown_kind: bool = False,
    told_apart: bool = False,
) -> Case:
    return Case(
        f"followup_{name}", rule, ends, never, then, waits, expired, aborted, FOLLOWUP_REQUESTED, unknown_fields,
        unknown_kind, kind, told_apart,
    )  # fmt: skip


FOLLOWUP_CASES: tuple[Case, ...] = (
    *(
        _followup(
            kind,
            f"A follow-up to the {'customer' if kind in TO_CUSTOMER else 'owner'} is sent and acknowledged: {kind}.",
            kind, never=frozenset({"failed", "dropped_expired"}),
        )
        for kind in get_args(FollowupKind)
    ),
    _followup("owner_apart", "What is for the owner never reaches the customer.", "take_care", told_apart=True),
    _followup("expired", "A follow-up that has expired is dropped.", "graceful_no", "dropped_expired", SENT,
              expired=True),
    _followup("repeated", "A follow-up whose id is repeated is dropped.", "thank", then=Then.REPEAT),
    _followup("not_before", "No follow-up is sent before not_before.", "report_back", waits=True),
    _followup("cancelled", "A follow-up that is cancelled while it waits is not sent.", "easy_forward", "cancelled",
              SENT, Then.CANCEL, waits=True),
    _followup("cancelled_first", "A follow-up that is cancelled before it comes is not sent.", "intro_offer",
              "cancelled", SENT, Then.CANCEL_FIRST),
    _followup("cancelled_too_late", "A follow-up that has been sent is not reported as cancelled.", "take_care",
              never=frozenset({"cancelled"}), then=Then.CANCEL_WHEN_SENT),
    _followup("unknown_fields", "Fields and attributes it does not know are ignored.", "thank", unknown_fields=True),
    _followup("unknown_kind", "A follow-up of a kind it does not know is not sent in other words.", "thank", "failed",
              SENT, unknown_kind=True),
    _followup("uncommitted", "Only committed follow-ups are read.", "thank", None, _NOT_SENT, aborted=True),
    _followup("restart", "A follow-up that waits survives a crash of the worker.", "report_back", then=Then.RESTART,
              waits=True),
    _followup("repeated_after_restart", "A follow-up is not sent twice, also after a crash.", "thank",
              then=Then.REPEAT_AFTER_RESTART),
)  # fmt: skip

CASES: tuple[Case, ...] = (*ASK_CASES, *FOLLOWUP_CASES)
