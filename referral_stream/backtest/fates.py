"""What became of each opportunity under one policy: how it ended, and what became of its ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskRequested, Decision, Effect
from referral_stream.core.instants import rfc3339
from referral_stream.core.referrals import Referral
from referral_stream.replay.virtual_run import Happened

ASKED: Final = frozenset({"asked", "soft"})
_NO_NEWS: Final = frozenset({"historical", "duplicate"})


class Later(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the log says about an ask: whether it went out, the answer to it, what came of it, and trouble after it."""

    sent: bool
    answer: str | None
    referrals: int
    converted: int
    regret: bool

    @property
    def is_known(self) -> bool:
        """Whether anything in the log answers to the command: only then was it ever made."""
        return self.sent or self.answer is not None or bool(self.referrals)


class OpportunityFate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The end of one opportunity under one policy.

    ``at`` (epoch ms): of the ask, else of the last decision. ``blocking``: the gates that stood in the way.
    """

    outcome: str
    at: int
    score: int
    mode: str | None
    channel: str | None
    template: str | None
    blocking: tuple[tuple[str, str, str | None, str, str], ...]
    settled: int | None
    later: Later | None = None

    @property
    def is_asked(self) -> bool:
        return self.outcome in ASKED

    @property
    def regret(self) -> bool:
        """Whether it was asked and trouble followed."""
        return self.is_asked and self.later is not None and self.later.regret

    @property
    def gate(self) -> str | None:
        """The first gate that stood in the way; the planned moment only if nothing else did."""
        if self.outcome not in ("deferred", "suppressed", "cancelled", "pending", "expired", "holdout"):
            return None
        gates = [gate for gate, *_ in self.blocking]
        return next((gate for gate in gates if gate != "moment"), gates[0] if gates else None)


class OpportunityHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of one opportunity whatever the policy; ``zone``: the customer's. Instants are epoch ms."""

    opportunity_id: str
    customer_id: str
    account_id: str | None
    trigger: str
    opens: int
    deadline: int
    zone: str


class Fates:
    """Grows with the effects of one replay."""

    def __init__(self) -> None:
        self.historical = 0
        self._last: dict[str, Decision] = {}
        self._asked: dict[str, Decision] = {}
        self._commands: dict[str, tuple[int, str]] = {}
        self._asks: dict[str, Ask] = {}
        self._regretted: set[str] = set()
        self._referrals: dict[str, dict[str, Referral]] = {}

    def see(self, happened: Iterable[Happened]) -> None:
        for _, effect in happened:
            self._see(effect)

    def _see(self, effect: Effect) -> None:
        match effect:
            case Decision():
                self._decided(effect)
            case AskRequested():
                self._commands[effect.command_id] = effect.not_before, effect.template
            case _:
                pass

    def changed(self, customer: Customer) -> None:
        """A customer's asks or referrals are not what they were: an ask outlives its place in the state."""
        for ask in customer.asks:
            self._asks[ask.command_id] = ask
            if ask.regret:
                self._regretted.add(ask.command_id)
        self._referrals[customer.id] = customer.referrals

    def _decided(self, decision: Decision) -> None:
        if decision.outcome in _NO_NEWS:
            self.historical += decision.outcome == "historical"
            return
        name = decision.opportunity_id
        if decision.outcome in ASKED:
            self._asked[name] = decision
        elif name not in self._asked:  # an ask that is taken back stays one
            self._last[name] = decision

    def all(self) -> dict[str, tuple[OpportunityHead, OpportunityFate]]:
        """By opportunity id."""
        given: Counter[str] = Counter()
        converted: Counter[str] = Counter()
        for referral in (each for known in self._referrals.values() for each in known.values()):
            if referral.ask is not None and referral.given is not None:
                given[referral.ask] += 1
                converted[referral.ask] += referral.status == "converted"
        return {
            name: (_moment(decision), self._fate(decision, given, converted))
            for name, decision in {**self._last, **self._asked}.items()
        }

    def _fate(self, decision: Decision, given: Counter[str], converted: Counter[str]) -> OpportunityFate:
        command = decision.command_id
        at, template = self._commands.get(command or "", (decision.decided_at, None))
        ask = None if command is None or decision.outcome not in ASKED else self._asks.get(command)
        later = None
        if ask is not None:
            later = Later(
                sent=ask.reached,
                answer=None if ask.answer is None else ask.answer.value,
                referrals=given[ask.command_id],
                converted=converted[ask.command_id],
                regret=ask.command_id in self._regretted,
            )
        return OpportunityFate(
            outcome=decision.outcome,
            at=at,
            score=decision.score.value,
            mode=decision.mode,
            channel=decision.channel,
            template=template,
            blocking=tuple((r.gate, r.answer, r.until, r.saw, r.limit) for r in decision.reasons if r.answer != "pass"),
            settled=decision.settled,
            later=later,
        )


def _moment(decision: Decision) -> OpportunityHead:
    return OpportunityHead(
        opportunity_id=decision.opportunity_id,
        customer_id=decision.customer_id,
        account_id=decision.account_id,
        trigger=decision.trigger,
        opens=decision.window.opens,
        deadline=decision.window.deadline,
        zone=decision.time_zone.name,
    )


def told(head: OpportunityHead, fate: OpportunityFate) -> dict[str, Any]:
    """The decision as ``words.decisions`` read it: the ``data`` of a message, as far as words need it."""
    return {
        "outcome": fate.outcome,
        "trigger": head.trigger,
        "mode": fate.mode,
        "channel": fate.channel,
        "score": {"value": fate.score},
        "decided_at": rfc3339(fate.at),
        "window": {"opens": rfc3339(head.opens), "deadline": rfc3339(head.deadline)},
        "settled": None if fate.settled is None else rfc3339(fate.settled),
        "time_zone": {"name": head.zone},
        "reasons": [
            {"gate": gate, "answer": answer, "until": until, "saw": saw, "limit": limit}
            for gate, answer, until, saw, limit in fate.blocking
        ],
    }
