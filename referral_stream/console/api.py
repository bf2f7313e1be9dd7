"""The same as JSON, for programs, as ``/api/schema/openapi.json`` describes it. Instants are epoch ms."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from litestar import Request, get, post
from litestar.exceptions import NotFoundException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, HeaderParameter, JSONBody, QueryParameter

from referral_stream.console.controls import ControlAction, ControlVerb, NotPossible
from referral_stream.console.customer import known_of
from referral_stream.console.filters import decision_filter
from referral_stream.console.now import HOURS
from referral_stream.console.orders import carry_out
from referral_stream.console.parts import console_of
from referral_stream.console.security import operators_only
from referral_stream.core.effects import GateName, Outcome
from referral_stream.explain.explaining import Explanation, explain
from referral_stream.read_models import (
    Control,
    DecisionRow,
    HourCounts,
    Metric,
    PendingAsk,
    RoleState,
)

ApiRequest: TypeAlias = Request[Any, Any, Any]
_MOST_ID: Final = 512
_MOST_CURSOR: Final = 64
_WORDS: Final = r"^[A-Za-z0-9_-]{16,64}$"

IdFilter: TypeAlias = Annotated[str | None, QueryParameter(max_length=_MOST_ID)]
CursorText: TypeAlias = Annotated[
    str | None, QueryParameter(pattern=r"^[0-9]{1,20}-[0-9]{1,10}$", max_length=_MOST_CURSOR)
]
InstantText: TypeAlias = Annotated[str | None, QueryParameter(max_length=40, description="RFC 3339, or a date in UTC.")]


class NowView(msgspec.Struct, frozen=True):
    """``due_counts``: asks that are due by now. ``holding``: gate → occasions behind it."""

    now: int
    hours: tuple[HourCounts, ...]
    pending: int
    approvals: int
    held_rewards: int
    holding: dict[str, int]
    roles: tuple[RoleState, ...]
    paused: tuple[dict[str, Any], ...]


class DecisionList(msgspec.Struct, frozen=True):
    """The newest first; ``next``: the ``cursor`` of what is older."""

    decisions: tuple[dict[str, Any], ...]
    next: str | None


class CustomerExplained(msgspec.Struct, frozen=True):
    """``summary`` in a sentence; ``next``: what would change it. ``decisions``: bodies, newest first."""

    customer_id: str
    ids: tuple[str, ...]
    summary: str | None
    asked_at: int | None
    next: tuple[str, ...]
    record: dict[str, Any] | None
    decisions: tuple[dict[str, Any], ...]


class WorksFigures(msgspec.Struct, frozen=True):
    as_of: int | None
    since: str
    until: str
    customers: int
    metrics: tuple[Metric, ...]


class ControlsInForce(msgspec.Struct, frozen=True):
    paused: tuple[dict[str, Any], ...]
    audit: tuple[dict[str, Any], ...]


class PendingList(msgspec.Struct, frozen=True):
    asks: tuple[dict[str, Any], ...]
    total: int
    next: str | None


class ControlOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control. ``customer`` and ``about`` (the opportunity or the grant) for approvals and rejections."""

    verb: Literal["pause", "resume", "approve_ask", "reject_ask", "approve_reward", "reject_reward"]
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    scope: Literal["all", "trigger", "segment"] | None = None
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    customer: Annotated[str, msgspec.Meta(max_length=_MOST_ID)] | None = None
    about: Annotated[str, msgspec.Meta(max_length=_MOST_ID)] | None = None


class WrittenEvent(msgspec.Struct, frozen=True):
    """The id of the event that was written: the same for the same ``Idempotency-Key``."""

    event_id: str


def _named(row: msgspec.Struct) -> dict[str, Any]:
    """A row by the names of its fields; in Redis it is an array."""
    return msgspec.structs.asdict(row)


@get("/api/now")
async def now(request: ApiRequest) -> NowView:
    """What is going on now."""
    console = console_of(request)
    reader, at = console.reader, console.clock.now()
    return NowView(
        now=at,
        hours=await reader.hours(at, HOURS),
        pending=(await reader.pending(limit=1)).total,
        approvals=(await reader.approvals(limit=1)).total,
        held_rewards=(await reader.held_rewards(limit=1)).total,
        holding=await reader.holding(),
        roles=await reader.roles(),
        paused=tuple(map(_named, (await reader.controls()).in_force)),
    )


@get("/api/pending", raises=[ValidationException])
async def pending(
    request: ApiRequest, cursor: CursorText = None, limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50
) -> PendingList:
    """What waits to be asked, due first first."""
    found = await console_of(request).reader.pending(cursor, limit)
    rows: tuple[PendingAsk, ...] = found.rows
    return PendingList(tuple(map(_named, rows)), found.total, found.next)


@get("/api/decisions", raises=[ValidationException])
async def decisions(
    request: ApiRequest,
    outcome: FromQuery[Outcome | None] = None,
    trigger: IdFilter = None,
    gate: FromQuery[GateName | None] = None,
    account: IdFilter = None,
    customer: IdFilter = None,
    since: InstantText = None,
    until: InstantText = None,
    cursor: CursorText = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> DecisionList:
    """The newest decisions. A page may be short, even empty, while ``next`` is set: go on from there."""
    console = console_of(request)
    given = {
        "outcome": outcome, "trigger": trigger, "gate": gate, "account": account, "customer": customer, "since": since,
        "until": until,
    }  # fmt: skip
    wanted, problems = decision_filter({k: v for k, v in given.items() if v is not None}, console.clock.now())
    if problems:
        raise ValidationException("; ".join(problems))
    found = await console.reader.decisions(wanted, cursor, limit)
    rows: tuple[DecisionRow, ...] = found.rows
    return DecisionList(tuple(map(_named, rows)), found.next)


@get("/api/customer", raises=[NotFoundException, ValidationException])
async def customer(
    request: ApiRequest, id_: Annotated[str, QueryParameter(name="id", min_length=1, max_length=_MOST_ID)]
) -> CustomerExplained:
    """One customer, explained; ``id`` may be any of theirs."""
    console = console_of(request)
    view = await console.reader.customer(id_)
    if view is None:
        raise NotFoundException("nothing is known about this id")
    known = known_of(view, (await console.reader.controls()).in_force)
    story: Explanation | None = None
    if known is not None:  # in a thread: an explanation may take 50 ms, and other requests need not wait for it
        story = await asyncio.to_thread(explain, known, console.policy, console.clock.now())
    return CustomerExplained(
        customer_id=view.customer_id,
        ids=view.ids,
        summary=None if story is None else story.gist.text,
        asked_at=None if story is None else story.gist.asked_at,
        next=() if story is None else tuple(each.text for each in story.outlook),
        record=view.record,
        decisions=view.decisions,
    )


@get("/api/works")
async def works(request: ApiRequest) -> WorksFigures:
    """What asking does (after §7)."""
    console = console_of(request)
    found = await console.reader.works()
    return WorksFigures(found.as_of, found.since, found.until, found.customers, found.metrics)


@get("/api/controls")
async def controls(request: ApiRequest) -> ControlsInForce:
    """Pauses in force, and who threw which switch."""
    found = await console_of(request).reader.controls()
    rows: tuple[tuple[Control, ...], tuple[Control, ...]] = (found.in_force, found.audit)
    return ControlsInForce(*(tuple(map(_named, each)) for each in rows))


@post("/api/controls", guards=[operators_only], status_code=202, raises=[ValidationException])
async def order(
    request: ApiRequest,
    data: JSONBody[ControlOrder],
    key: Annotated[str | None, HeaderParameter(name="Idempotency-Key", pattern=_WORDS, max_length=64)] = None,
) -> WrittenEvent:
    """Pause, resume, approve or reject: one event on the log. 202: the broker has it."""
    console = console_of(request)
    verb: ControlVerb = data.verb
    action = ControlAction(
        verb=verb, by=request.user.name, why=data.why, scope=data.scope, name=data.name, customer=data.customer,
        about=data.about,
    )  # fmt: skip
    try:
        action.check(console.policy)
    except NotPossible as problem:
        raise ValidationException(str(problem)) from None
    word = f"{request.user.name}|{key}" if key else secrets.token_urlsafe(16)
    return WrittenEvent(await carry_out(console, action, word) or "")


API_HANDLERS: Final[tuple[HTTPRouteHandler, ...]] = (
    now, pending, decisions, customer, works, controls, order,
)  # fmt: skip
