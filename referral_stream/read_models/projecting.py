"""From records of our topics to what is done to the read models. Pure; :mod:`writing` does it.

A record that cannot be read changes nothing, and is counted: the read models are no place where anything is decided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from referral_stream.contracts.state import UnreadableState, decode_state
from referral_stream.core.customer import Customer
from referral_stream.core.instants import parse_instant
from referral_stream.read_models.keys import INSTANT_DIGITS
from referral_stream.read_models.packing import pack_text, unpack
from referral_stream.read_models.views import Control, DecisionRow, FollowupDue, HeldReward, MessageBody, PendingAsk
from referral_stream.read_models.works import difference

Operation: TypeAlias = tuple[Any, ...]
"""As ``apply.lua`` takes it: a name, whom it concerns, and its arguments."""

LIVE: Final = frozenset({"pending", "deferred", "duplicate"})
"""Outcomes after which the occasion may still lead to an ask; a duplicate is written about the one that is live."""
NOT_OPENED: Final = frozenset({"historical", "expired_on_arrival"})
ASKS: Final = frozenset({"asked", "soft"})


class Projected(msgspec.Struct, frozen=True, gc=False):
    """A record of one of our topics, as far as it matters here; ``now``: the stamp in its headers, 0 without one."""

    key: bytes
    value: bytes | None
    now: int = 0


class Touched(msgspec.Struct, frozen=True, gc=False):
    """Whose newest record a batch replaces; ``body`` None: it ends. ``forgotten``: the instant of the erasure."""

    customer: str
    text: bytes | None
    body: MessageBody | None
    at: int
    forgotten: int | None = None


# ------------------------------------------------------------------------------------------------- what is read of each


class _CloudEvent(msgspec.Struct, gc=False):
    type: str
    time: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Reason(msgspec.Struct, gc=False):
    gate: str
    answer: str
    until: str | None = None


class _WindowEnd(msgspec.Struct, gc=False):
    deadline: str


class _Score(msgspec.Struct, gc=False):
    value: int


class _Decision(msgspec.Struct, gc=False):
    decision_id: str
    opportunity_id: str
    customer_id: str
    trigger: str
    outcome: str
    reasons: list[_Reason]
    score: _Score
    window: _WindowEnd
    decided_at: str
    account_id: str | None = None
    mode: str | None = None


class _Followup(msgspec.Struct, gc=False):
    followup_id: str
    customer_id: str
    kind: str
    audience: str = ""
    account_id: str | None = None
    command_id: str | None = None
    referral_id: str | None = None
    due_by: str = ""
    expires_at: str = ""
    late: bool = False


class _Reward(msgspec.Struct, gc=False):
    grant_id: str
    referral_id: str
    customer_id: str
    account_id: str | None = None
    programme: str = ""
    kind: str = ""
    amount_minor: int | None = None
    currency: str | None = None
    benefit: str | None = None
    hints: tuple[str, ...] = ()
    held_at: str = ""
    lapses_at: str = ""


class _Switch(msgspec.Struct, gc=False):
    scope: str
    by: str
    why: str
    name: str | None = None


class _Recorded(msgspec.Struct, gc=False):
    recorded_at: str


_envelope = msgspec.json.Decoder(_CloudEvent).decode
_decision = msgspec.json.Decoder(_Decision).decode
_followup = msgspec.json.Decoder(_Followup).decode
_reward = msgspec.json.Decoder(_Reward).decode
_switch = msgspec.json.Decoder(_Switch).decode
_recorded = msgspec.json.Decoder(_Recorded).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_row = msgspec.msgpack.Encoder().encode

_NOT_READ = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""Msgspec's errors are ValueErrors; named for the reader."""


def _instant(text: str) -> int:
    return parse_instant(text)[0]


# ---------------------------------------------------------------------------------------------------------- by topic


class Projection:
    """Operations of batches, by the kind of topic; ``unreadable`` counts by topic what could not be read."""

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()

    def decisions(self, records: Iterable[Projected]) -> list[Operation]:
        """Of ``referral-decisions``."""
        found: list[Operation] = []
        for record in records:
            try:
                found += _of_decision(record.value or b"")
            except _NOT_READ:
                self.unreadable["referral-decisions"] += 1
        return found

    def followups(self, records: Iterable[Projected]) -> list[Operation]:
        """Of ``referral-followups``."""
        found: list[Operation] = []
        for record in records:
            try:
                found += _of_followup(record.value or b"")
            except _NOT_READ:
                self.unreadable["referral-followups"] += 1
        return found

    def rewards(self, records: Iterable[Projected]) -> list[Operation]:
        """Of ``referral-rewards``."""
        found: list[Operation] = []
        for record in records:
            try:
                found += _of_reward(record.value or b"")
            except _NOT_READ:
                self.unreadable["referral-rewards"] += 1
        return found

    def controls(self, records: Iterable[Projected]) -> list[Operation]:
        """Of ``ledger-requests``, where the switches are among much else."""
        found: list[Operation] = []
        for record in records:
            if record.value is not None and b'"control.' in record.value:
                try:
                    found += _of_control(record.value)
                except _NOT_READ:
                    self.unreadable["ledger-requests"] += 1
        return found

    def records(self, records: Iterable[Projected]) -> dict[str, Touched]:
        """Of ``referral-records``: by customer what is the newest in the batch."""
        found: dict[str, Touched] = {}
        for record in records:
            customer = record.key.decode("utf-8", "replace")
            if not record.value:
                found[customer] = Touched(customer, None, None, record.now)
                continue
            try:
                text = bytes(_envelope(record.value).data)
                new = Touched(customer, text, _object(text), _instant(_recorded(text).recorded_at))
            except _NOT_READ:
                self.unreadable["referral-records"] += 1
                continue
            known = found.get(customer)
            if known is None or known.body is None or known.at <= new.at:
                found[customer] = new
        return found

    def states(self, records: Iterable[Projected]) -> tuple[list[Operation], dict[str, Touched]]:
        """Of the changelog ``customers``: what is kept, and who is erased; of each customer the newest in the batch."""
        newest = {record.key: record.value for record in records if record.value and record.key[:1] != b"~"}
        kept: list[Operation] = []
        forgotten: dict[str, Touched] = {}
        for key, value in newest.items():
            try:
                entity = decode_state(value).entity
            except UnreadableState:
                self.unreadable["customers"] += 1
                continue
            if not isinstance(entity, Customer):
                continue
            if entity.erased_at is not None:
                at = entity.erased_now if entity.erased_now is not None else entity.now
                forgotten[entity.id] = Touched(entity.id, None, None, at, max(at, entity.now))
            elif entity.merged_into is not None:
                kept.append(("alias", entity.id, entity.merged_into))
            else:
                kept.append(("state", key.decode("utf-8", "replace"), entity.now, value, _alive(entity)))
        return kept, forgotten


def replacing(touched: Touched, known: bytes | None) -> Operation | None:
    """The operation that replaces a customer's record, of which ``known`` is there now; None: that is newer."""
    if touched.body is not None and known is not None and int(known[:INSTANT_DIGITS]) > touched.at:
        return None
    n, old = (b"", None) if known is None else (known[:INSTANT_DIGITS], unpack(known[INSTANT_DIGITS:]))
    deltas = [part for (key, field), count in difference(old, touched.body).items() for part in (key, field, count)]
    if touched.forgotten is not None:
        return ("forget", touched.customer, n.decode(), deltas, touched.forgotten)
    if touched.text is None:
        return ("unrecord", touched.customer, n.decode(), deltas)
    return ("record", touched.customer, n.decode(), touched.at, pack_text(touched.text), deltas)


def _alive(c: Customer) -> str:
    """What of theirs still waits, as ``apply.lua`` looks for it; empty if nothing does."""
    found = [f"asks:{each.id}" for each in c.live]
    found += [f"followups:{each.id}" for each in c.followups if not each.cancelled and not each.heard]
    found += [f"rewards:{r.grant.id}" for r in c.referrals.values() if r.grant is not None and r.grant.state == "held"]
    return f" {' '.join(found)} " if found else ""


def _of_decision(value: bytes) -> Iterable[Operation]:
    text = bytes(_envelope(value).data)
    d = _decision(text)
    at, deadline = _instant(d.decided_at), _instant(d.window.deadline)
    blocking = [reason for reason in d.reasons if reason.answer != "pass"]
    gates = tuple(reason.gate for reason in blocking)
    row = DecisionRow(
        at, d.decision_id, d.opportunity_id, d.customer_id, d.account_id, d.trigger, d.outcome, gates, d.mode,
        d.score.value,
    )  # fmt: skip
    yield (
        "decision", d.customer_id, d.decision_id, at, pack_text(text), _row(row), d.outcome, d.trigger, gates,
        d.account_id or "", d.outcome in ASKS,
    )  # fmt: skip
    if d.outcome in LIVE:
        due = _due(blocking, at, deadline)
        pending = PendingAsk(
            due, deadline, d.opportunity_id, d.customer_id, d.account_id, d.trigger, d.outcome, gates, at
        )
        yield (
            "live", d.customer_id, d.opportunity_id, at, due, _row(pending), " ".join(gates), "approval" in gates,
        )  # fmt: skip
    elif d.outcome not in NOT_OPENED:
        yield ("finish", d.customer_id, "asks", d.opportunity_id)


def _due(blocking: Sequence[_Reason], at: int, deadline: int) -> int:
    """The first instant at which all of these may pass without an event; the deadline where one waits for an event."""
    due = at
    for reason in blocking:
        if reason.answer != "until" or reason.until is None:
            return deadline
        due = max(due, _instant(reason.until))
    return min(due, deadline)


def _of_followup(value: bytes) -> Iterable[Operation]:
    envelope = _envelope(value)
    f, at = _followup(envelope.data), _instant(envelope.time)
    yield ("after", f.customer_id, at, pack_text(value))
    if envelope.type == "referral.followup.requested":
        due = FollowupDue(
            _instant(f.due_by), _instant(f.expires_at), f.followup_id, f.customer_id, f.account_id, f.kind, f.audience,
            f.command_id, f.referral_id, f.late,
        )  # fmt: skip
        yield ("put", f.customer_id, "followups", f.followup_id, at, due.due_by, _row(due))
    else:
        yield ("finish", f.customer_id, "followups", f.followup_id)


def _of_reward(value: bytes) -> Iterable[Operation]:
    envelope = _envelope(value)
    r, at = _reward(envelope.data), _instant(envelope.time)
    yield ("after", r.customer_id, at, pack_text(value))
    if envelope.type == "referral.reward.held":
        held = HeldReward(
            _instant(r.lapses_at), _instant(r.held_at), r.grant_id, r.referral_id, r.customer_id, r.account_id,
            r.hints, r.programme, r.kind, r.amount_minor, r.currency, r.benefit,
        )  # fmt: skip
        yield ("put", r.customer_id, "rewards", r.grant_id, at, held.lapses_at, _row(held))
    else:
        yield ("finish", r.customer_id, "rewards", r.grant_id)


def _of_control(value: bytes) -> Iterable[Operation]:
    envelope = _envelope(value)
    if envelope.type not in ("control.paused", "control.resumed"):
        return
    switch = _switch(envelope.data)
    word = Control(
        _instant(envelope.time), envelope.type == "control.paused", switch.scope, switch.name, switch.by, switch.why
    )
    yield ("control", f"{switch.scope}|{switch.name or ''}", word.at, _row(word))
