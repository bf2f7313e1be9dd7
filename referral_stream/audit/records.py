"""Commands, decisions and requests as the audit reads them: the fields it judges by, straight from the JSON."""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import msgspec

from referral_stream.audit.findings import Position
from referral_stream.contracts.catalogue import messages_on
from referral_stream.contracts.records import RawRecord
from referral_stream.core.instants import parse_instant


class Misread(ValueError):
    """A record that is not what its topic carries; names the rule, never the record's content."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An ask that was sent out, or (``asks_reason``) the question for the reason ahead of it. Instants: epoch ms."""

    position: Position
    digest: bytes
    asks_reason: bool
    command_id: str
    decision_id: str
    opportunity_id: str
    customer_id: str
    trigger: str
    subject: str
    mode: str
    not_before: int
    expires_at: int
    policy: str


class CancelledAsk(msgspec.Struct, frozen=True, kw_only=True):
    position: Position
    digest: bytes
    command_id: str
    customer_id: str
    cancelled_at: int


class OtherCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command of ``referral-asks`` that has no window and cancels nothing: it must follow from the log, no more."""

    position: Position
    digest: bytes
    command_id: str
    customer_id: str


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    position: Position
    digest: bytes
    decision_id: str
    opportunity_id: str
    customer_id: str
    outcome: str
    command_id: str | None
    opens: int
    deadline: int
    decided_at: int
    policy: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    position: Position
    command_id: str
    opportunity_id: str
    customer_id: str
    account_id: str | None
    email_hmac: str | None
    due: int
    now: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation was confirmed, or released."""

    position: Position
    command_id: str
    confirmed: bool
    now: int


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """A record of ``ledger-requests`` that reserves nothing: an opening, or a switch."""

    position: Position


class _Head(msgspec.Struct):
    type: str
    subject: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Policy(msgspec.Struct):
    hash: str


class _Window(msgspec.Struct):
    opens: str
    deadline: str


class _Command(msgspec.Struct):
    command_id: str
    decision_id: str
    opportunity_id: str
    customer_id: str
    trigger: str
    not_before: str
    expires_at: str
    policy: _Policy
    subject: str = ""
    mode: str = ""


class _Cancellation(msgspec.Struct):
    command_id: str
    customer_id: str
    cancelled_at: str


class _OtherCommand(msgspec.Struct):
    command_id: str
    customer_id: str


class _Decided(msgspec.Struct):
    decision_id: str
    opportunity_id: str
    customer_id: str
    outcome: str
    window: _Window
    policy: _Policy
    decided_at: str
    command_id: str | None = None


class _Request(msgspec.Struct):
    command_id: str
    opportunity_id: str
    customer_id: str
    due: str
    now: str
    account_id: str | None = None
    email_hmac: str | None = None


class _Settled(msgspec.Struct):
    command_id: str
    now: str


_head: Final = msgspec.json.Decoder(_Head)
_command: Final = msgspec.json.Decoder(_Command)
_cancellation: Final = msgspec.json.Decoder(_Cancellation)
_other: Final = msgspec.json.Decoder(_OtherCommand)
_decided: Final = msgspec.json.Decoder(_Decided)
_request: Final = msgspec.json.Decoder(_Request)
_settled: Final = msgspec.json.Decoder(_Settled)

_ON_ASKS: Final = frozenset(message.kind for message in messages_on("referral-asks"))
_ON_REQUESTS: Final = frozenset(message.kind for message in messages_on("ledger-requests"))

OnAsks: TypeAlias = Command | CancelledAsk | OtherCommand
OnRequests: TypeAlias = Request | Settled | Other


def position(record: RawRecord) -> Position:
    return Position(record.topic, record.partition, record.offset)


def digest(value: bytes | None) -> bytes:
    """Distinguishes bodies."""
    return hashlib.blake2b(value or b"", digest_size=12).digest()


def read_ask(record: RawRecord) -> OnAsks:
    """A record of ``referral-asks``. Raises Misread."""
    try:
        head = _head.decode(record.value or b"")
        match head.type:
            case "referral.ask.requested" | "referral.reason.asked":
                body = _command.decode(head.data)
                _check_subject(head, body.customer_id)
                return Command(
                    position=position(record),
                    digest=digest(record.value),
                    asks_reason=head.type == "referral.reason.asked",
                    command_id=body.command_id,
                    decision_id=body.decision_id,
                    opportunity_id=body.opportunity_id,
                    customer_id=body.customer_id,
                    trigger=body.trigger,
                    subject=body.subject,
                    mode=body.mode,
                    not_before=_instant(body.not_before),
                    expires_at=_instant(body.expires_at),
                    policy=body.policy.hash,
                )
            case "referral.ask.cancelled":
                told = _cancellation.decode(head.data)
                _check_subject(head, told.customer_id)
                return CancelledAsk(
                    position=position(record),
                    digest=digest(record.value),
                    command_id=told.command_id,
                    customer_id=told.customer_id,
                    cancelled_at=_instant(told.cancelled_at),
                )
            case kind if kind in _ON_ASKS:
                other = _other.decode(head.data)
                _check_subject(head, other.customer_id)
                return OtherCommand(
                    position=position(record),
                    digest=digest(record.value),
                    command_id=other.command_id,
                    customer_id=other.customer_id,
                )
            case _:
                raise Misread("not a type of this topic")
    except msgspec.MsgspecError as error:
        raise _misread(error) from None


def read_decision(record: RawRecord) -> Decided:
    """A record of ``referral-decisions``. Raises Misread."""
    try:
        head = _head.decode(record.value or b"")
        if head.type != "referral.decision.made":
            raise Misread("not a type of this topic")
        body = _decided.decode(head.data)
    except msgspec.MsgspecError as error:
        raise _misread(error) from None
    _check_subject(head, body.customer_id)
    return Decided(
        position=position(record),
        digest=digest(record.value),
        decision_id=body.decision_id,
        opportunity_id=body.opportunity_id,
        customer_id=body.customer_id,
        outcome=body.outcome,
        command_id=body.command_id,
        opens=_instant(body.window.opens),
        deadline=_instant(body.window.deadline),
        decided_at=_instant(body.decided_at),
        policy=body.policy.hash,
    )


def read_request(record: RawRecord) -> OnRequests:
    """A record of ``ledger-requests``. Raises Misread."""
    try:
        head = _head.decode(record.value or b"")
        match head.type:
            case "reservation.requested":
                body = _request.decode(head.data)
                return Request(
                    position=position(record),
                    command_id=body.command_id,
                    opportunity_id=body.opportunity_id,
                    customer_id=body.customer_id,
                    account_id=body.account_id,
                    email_hmac=body.email_hmac,
                    due=_instant(body.due),
                    now=_instant(body.now),
                )
            case "reservation.confirmed" | "reservation.released":
                told = _settled.decode(head.data)
                return Settled(
                    position=position(record),
                    command_id=told.command_id,
                    confirmed=head.type == "reservation.confirmed",
                    now=_instant(told.now),
                )
            case kind if kind in _ON_REQUESTS:
                return Other(position=position(record))
            case _:
                raise Misread("not a type of this topic")
    except msgspec.MsgspecError as error:
        raise _misread(error) from None


def _check_subject(head: _Head, customer: str) -> None:
    if head.subject != customer:
        raise Misread("subject: is not the customer of the body")


def _instant(text: str) -> int:
    try:
        return parse_instant(text)[0]
    except (ValueError, OverflowError):
        raise Misread("an instant is not RFC 3339") from None


def _misread(error: msgspec.MsgspecError) -> Misread:
    # msgspec's messages about JSON and fields quote no strings; of anything longer only the rule is kept.
    return Misread(str(error).partition("\n")[0][:200])
