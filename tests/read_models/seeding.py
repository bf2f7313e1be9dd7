"""Read models to look at: records of our topics, applied as the projector applies them.

async with client_of(redis_server) as client:
    await seed(client, prefix="console", now=NOW)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from referral_stream.contracts.state import encode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, rfc3339
from referral_stream.core.rules.gates import GATES
from referral_stream.read_models.projecting import Operation, Projected, Projection, Touched
from referral_stream.read_models.views import RoleState
from referral_stream.read_models.writing import BatchApplied, Writer

POLICY = {"name": "default", "hash": "736f70974e0b9b43"}
TRIGGERS = ("nps_promoter", "milestone", "ticket_solved")
GATE_NAMES = tuple(gate.name for gate in GATES)
SCORE_PARTS = {
    "champion": 0, "engaged": 10, "first_success": 0, "interactions": 0, "nps": 30, "positive_feedback": 0,
    "tenure": 10, "testimonial": 0, "usage_above_average": 15,
}  # fmt: skip
LIMITS = {
    "erased": "erasure is for good", "paused": "not paused, trigger enabled",
    "consent": "consent for referral asks on a channel, not suppressed",
    "too_early": "30 days, onboarded, value realised", "trouble": "nothing is wrong", "propensity": "score of 50",
    "answers": "no: 180 days, maybe: 90 days, stop: for ever", "overasking": "one ask in 90 days",
    "account": "one ask in 14 days, 3 in 90", "advocacy": "no other advocacy ask in 14 days",
    "channel": "a reachable, consented channel", "moment": "slot, quiet hours or a good moment",
    "approval": "a person's approval where the account needs it", "holdout": "5 % are never asked",
}  # fmt: skip
"""As the default policy says."""


# ------------------------------------------------------------------------------------------------------------- messages


def cloud_event(kind: str, at: int, data: dict[str, Any], id_: str = "") -> bytes:
    """A record's value as our roles write it."""
    event = {
        "data": data, "datacontenttype": "application/json", "id": id_ or derived_id(kind, at, orjson.dumps(data)),
        "source": "referral-stream", "specversion": "1.0", "subject": data.get("customer_id"), "time": rfc3339(at),
        "type": kind,
    }  # fmt: skip
    return orjson.dumps({name: value for name, value in event.items() if value}, option=orjson.OPT_SORT_KEYS)


def a_decision(
    customer: str,
    at: int,
    outcome: str = "deferred",
    *,
    n: int = 1,
    trigger: str = "nps_promoter",
    subject: str = "r-1",
    gates: Sequence[tuple[str, str, int | None]] = (),
    account: str | None = None,
    deadline: int | None = None,
) -> bytes:
    """``referral.decision.made``; ``gates``: what did not pass: (gate, answer, until)."""
    opportunity = derived_id("opportunity", customer, trigger, subject)
    blocking = {gate: (answer, until) for gate, answer, until in gates}
    reasons = []
    for gate in GATE_NAMES:
        answer, until = blocking.get(gate, ("pass", None))
        said = "clear" if answer == "pass" else "not yet"
        reason = {"gate": gate, "answer": answer, "saw": said, "limit": LIMITS[gate]}
        reasons.append(reason | ({"until": rfc3339(until)} if until is not None else {}))
    data = {
        "decision_id": derived_id("decision", opportunity, n), "opportunity_id": opportunity, "customer_id": customer,
        "account_id": account, "trigger": trigger, "subject": subject, "outcome": outcome, "reasons": reasons,
        "score": {"value": 65, "raw": 65, "parts": SCORE_PARTS}, "flags": [], "rivals": [],
        "mode": "direct" if outcome in ("asked", "soft") else None,
        "window": {"opens": rfc3339(at), "deadline": rfc3339(at + DAY if deadline is None else deadline)},
        "time_zone": {"name": "Europe/Berlin", "source": "profile"}, "policy": POLICY, "decided_at": rfc3339(at),
    }  # fmt: skip
    return cloud_event("referral.decision.made", at, {k: v for k, v in data.items() if v is not None})


def a_record(customer: str, at: int, **more: Any) -> bytes:
    """``referral.record.changed``; ``more`` replaces fields of its body."""
    history = {"times_asked": 0, "referrals_given": 0, "referrals_converted": 0, "propensity_score": 65}
    month = rfc3339(at)[:7]
    data = {
        "customer_id": customer, "segment": "smb", "signed_up_at": rfc3339(at - 90 * DAY), "referral_history": history,
        "referred_contacts": [], "asks": [], "followups": {}, "recorded_at": rfc3339(at), "policy": POLICY,
        "months": [{"month": month, "trigger": "nps_promoter", "opened": 1, "eligible": 1}],
    }  # fmt: skip
    return cloud_event("referral.record.changed", at, data | more)


def an_ask(customer: str, at: int, trigger: str = "nps_promoter", **more: Any) -> dict[str, Any]:
    """One of a record's ``asks``."""
    return {
        "command_id": derived_id("command", customer, trigger, at), "trigger": trigger, "template": trigger,
        "mode": "direct", "channel": "email", "kind": "asked", "t0": rfc3339(at - HOUR), "asked_at": rfc3339(at),
        "decided_at": rfc3339(at + 40), "sent_at": rfc3339(at + MINUTE), "referrals": 0, "converted": 0,
    } | more  # fmt: skip


def a_followup(customer: str, at: int, kind: str = "take_care", **more: Any) -> bytes:
    """``referral.followup.requested``."""
    data = {
        "followup_id": derived_id("followup", customer, "ref-1", kind, 1), "kind": kind, "audience": "owner",
        "customer_id": customer, "referral_id": "ref-1", "not_before": rfc3339(at), "due_by": rfc3339(at + 2 * DAY),
        "expires_at": rfc3339(at + 14 * DAY), "late": False, "variables": {"consented": "true"}, "policy": POLICY,
        "requested_at": rfc3339(at),
    }  # fmt: skip
    return cloud_event("referral.followup.requested", at, data | more)


def a_held_reward(customer: str, at: int, referral: str = "ref-1", **more: Any) -> bytes:
    """``referral.reward.held``."""
    data = {
        "grant_id": derived_id("grant", customer, referral), "referral_id": referral, "customer_id": customer,
        "programme": "smb", "kind": "credit", "amount_minor": 5_000, "currency": "EUR", "hints": ["same_domain"],
        "held_at": rfc3339(at), "lapses_at": rfc3339(at + 30 * DAY), "policy": POLICY,
    }  # fmt: skip
    return cloud_event("referral.reward.held", at, data | more)


def a_switch(at: int, *, paused: bool = True, scope: str = "all", name: str | None = None) -> bytes:
    """``control.paused`` or ``control.resumed``, as ``ledger-requests`` has it."""
    data = {"scope": scope, "name": name, "by": "kim", "why": "an incident"}
    kind = "control.paused" if paused else "control.resumed"
    return cloud_event(kind, at, {field: value for field, value in data.items() if value is not None})


# ------------------------------------------------------------------------------------------------------------- applying


class Applying:
    """Records of one deployment, applied topic by topic as partition 0 of each; offsets go on by themselves."""

    def __init__(self, client: Redis, *, prefix: str, now: int, log_kept: int = 100_000) -> None:
        self.writer = Writer(client, prefix=prefix, log_kept=log_kept)
        self.projection, self.now = Projection(), now
        self.at: dict[str, int | None] = {}

    async def decisions(self, *values: bytes) -> BatchApplied:
        return await self._apply("referral-decisions", self.projection.decisions(_records(values)), len(values))

    async def followups(self, *values: bytes) -> BatchApplied:
        return await self._apply("referral-followups", self.projection.followups(_records(values)), len(values))

    async def rewards(self, *values: bytes) -> BatchApplied:
        return await self._apply("referral-rewards", self.projection.rewards(_records(values)), len(values))

    async def controls(self, *values: bytes) -> BatchApplied:
        return await self._apply("ledger-requests", self.projection.controls(_records(values)), len(values))

    async def records(self, *values: bytes) -> BatchApplied:
        keyed = [Projected(orjson.loads(value)["subject"].encode(), value) for value in values]
        return await self._apply("referral-records", [], len(values), self.projection.records(keyed))

    async def record_forgotten(self, customer: str, at: int) -> BatchApplied:
        """The tombstone on ``referral-records``."""
        touched = self.projection.records([Projected(customer.encode(), None, at)])
        return await self._apply("referral-records", [], 1, touched)

    async def states(self, *customers: Customer) -> BatchApplied:
        encoded = [Projected(each.id.encode(), encode_customer(each, 1)) for each in customers]
        operations, touched = self.projection.states(encoded)
        return await self._apply("customers", operations, len(customers), touched)

    async def _apply(
        self, topic: str, operations: list[Operation], count: int, touched: dict[str, Touched] | None = None
    ) -> BatchApplied:
        expected = self.at.get(topic)
        applied = await self.writer.apply(
            topic, 0, expected, (expected or 0) + count, operations, touched or {}, now=self.now, real_now=self.now
        )
        self.at[topic] = applied.at
        return applied


def _records(values: Iterable[bytes]) -> list[Projected]:
    return [Projected(b"", value) for value in values]


async def seed(client: Redis, *, prefix: str, now: int, customers: int = 40) -> Applying:
    """A deployment that has been asking for a day: customers ``cus-0``, ``cus-1`` … of accounts ``acc-0`` ….

    Of every four customers one was asked, one waits behind quiet hours, one for a person's approval, and one is in
    trouble; ``cus-0`` answered yes, named a contact, and has a reward that waits for approval. ``client`` must not
    decode responses.
    """
    world = Applying(client, prefix=prefix, now=now)
    decided, recorded, states = [], [], []
    fates = itertools.cycle(
        (
            ("asked", ()),
            ("deferred", (("moment", "until", now + 2 * HOUR),)),
            ("deferred", (("approval", "until_event", None),)),
            ("suppressed", (("trouble", "never", None), ("propensity", "never", None))),
        )
    )
    for number, (outcome, gates) in zip(range(customers), fates, strict=False):
        customer, at = f"cus-{number}", now - (number % 24) * HOUR - MINUTE
        trigger, account = TRIGGERS[number % len(TRIGGERS)], f"acc-{number // 3}"
        decided += [
            a_decision(customer, at - MINUTE, "pending", trigger=trigger, account=account,
                       gates=[("moment", "until", at)]),
            a_decision(customer, at, outcome, n=2, trigger=trigger, account=account, gates=gates,
                       deadline=now + DAY),
        ]  # fmt: skip
        asks = [an_ask(customer, at, trigger)] if outcome == "asked" else []
        month = {"month": rfc3339(at)[:7], "trigger": trigger, "opened": 1, "eligible": 1, "asked": len(asks)}
        recorded.append(a_record(customer, at, account_id=account, asks=asks, months=[month]))
        states.append(Customer(id=customer, now=at - HOUR, signed_up=at - 90 * DAY, onboarded=True))
    await world.states(*states)
    await world.decisions(*decided)
    await world.records(*recorded)
    await world.followups(a_followup("cus-0", now - HOUR))
    await world.rewards(a_held_reward("cus-0", now - HOUR))
    await world.controls(
        a_switch(now - 3 * HOUR, scope="trigger", name="milestone"),
        a_switch(now - 2 * HOUR, paused=False, scope="trigger", name="milestone"),
        a_switch(now - HOUR, scope="segment", name="enterprise"),
    )
    await world.writer.tell_roles(
        [
            RoleState(role, f"{prefix}-{role}", 2, 24, lag, now)
            for role, lag in (("ingest", 0), ("decide", 12), ("ledger", 0), ("projector", 40))
        ]
    )
    return world
