"""Reading the read models: a few round trips a page, whatever the number of customers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from referral_stream.core.instants import HOUR
from referral_stream.read_models.keys import DECISION_FIELDS, DECISIONS_KEPT, FORM, INSTANT_DIGITS, DueKind, Keys
from referral_stream.read_models.packing import DamagedReadModel, unpack
from referral_stream.read_models.views import (
    Control,
    Controls,
    CustomerView,
    DecisionFilter,
    DecisionPage,
    DecisionRow,
    FollowupDue,
    HeldReward,
    HourCounts,
    MessageBody,
    NotReadable,
    PendingAsk,
    ReadModelProgress,
    RoleState,
    Row,
    ThingPage,
    Works,
)
from referral_stream.read_models.works import newest_records, works_of

MOST_EXAMINED: Final = 1_000
"""Decisions looked at for one page: filters of which each is common and all together are rare give short pages."""
_CHUNK: Final = 500
_LONGEST_CHAIN: Final = 8

_T = TypeVar("_T")


class Reader:
    """The read models of one deployment. All methods raise NotReadable; each is bounded by ``timeout_seconds``.

    ``client`` must not decode responses. ``prefix``: the group prefix. It only reads: ``GET``, ``HGET``, ``HGETALL``,
    ``HMGET``, ``LRANGE``, ``SCAN``, ``ZCARD``, ``ZCOUNT``, ``ZMSCORE``, ``ZRANGE``, ``ZRANGEBYSCORE`` and
    ``ZREVRANGEBYSCORE``.
    """

    def __init__(self, client: Redis, *, prefix: str = "referral-stream", timeout_seconds: float = 2.0) -> None:
        self._client, self._keys, self._timeout = client, Keys(prefix), timeout_seconds

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    # ---------------------------------------------------------------------------------------------------------- the now

    async def hours(self, now: int, hours: int = 24) -> tuple[HourCounts, ...]:
        """The hour of ``now`` and those before it, the oldest first, ``hours`` in all; 14 days are kept."""
        starts = [(now // HOUR - back) * HOUR for back in reversed(range(hours))]
        found = await self._all([("HGETALL", self._keys.hour(start)) for start in starts])
        return tuple(_hour(start, _counts(reply)) for start, reply in zip(starts, found, strict=True))

    async def holding(self) -> dict[str, int]:
        """Gate → how many live occasions do not pass it now, the most first."""
        found = _counts((await self._all([("HGETALL", self._keys.holding)]))[0])
        return dict(sorted(((gate, count) for gate, count in found.items() if count > 0), key=lambda each: -each[1]))

    async def due_counts(self, kind: DueKind, bounds: Sequence[int]) -> tuple[int, ...]:
        """How many of a kind are due in each ``[bounds[i], bounds[i+1])`` (epoch ms)."""
        key = self._keys.due(kind)
        spans = itertools.pairwise(bounds)
        return tuple(map(int, await self._all([("ZCOUNT", key, start, f"({end}") for start, end in spans])))

    async def pending(self, cursor: str | None = None, limit: int = 50) -> ThingPage[PendingAsk]:
        """Live occasions, due first first."""
        return await self._due("asks", PendingAsk, cursor, limit)

    async def approvals(self, cursor: str | None = None, limit: int = 50) -> ThingPage[PendingAsk]:
        """Live occasions that need a person's approval (``ask.approved`` with the opportunity's id), likewise."""
        return await self._due("approvals", PendingAsk, cursor, limit)

    async def followups(self, cursor: str | None = None, limit: int = 50) -> ThingPage[FollowupDue]:
        """Follow-ups that were requested, due first first."""
        return await self._due("followups", FollowupDue, cursor, limit)

    async def held_rewards(self, cursor: str | None = None, limit: int = 50) -> ThingPage[HeldReward]:
        """Rewards that need a person's approval (``reward.approved`` with the grant's id), by when they lapse."""
        return await self._due("rewards", HeldReward, cursor, limit)

    async def roles(self) -> tuple[RoleState, ...]:
        """The roles' groups, by role."""
        found = (await self._all([("HGETALL", self._keys.roles)]))[0]
        return tuple(
            sorted(
                (RoleState(*msgspec.msgpack.decode(value)) for value in _mapping(found).values()),
                key=lambda each: each.role,
            )
        )

    async def progress(self) -> ReadModelProgress:
        """How far the read models are."""
        meta, positions = await self._all([("HGETALL", self._keys.meta), ("HGETALL", self._keys.positions)])
        about = _counts(meta)
        return ReadModelProgress(about.get("form", 0), about.get("applied_at", 0), _counts(positions))

    async def controls(self) -> Controls:
        """Pauses in force, the newest first, and the audit list."""
        newest, audit = await self._all([("HGETALL", self._keys.controls), ("LRANGE", self._keys.audit, 0, -1)])
        words = [_row(value, Control) for value in _mapping(newest).values()]
        in_force = sorted((word for word in words if word.paused), key=lambda word: -word.at)
        return Controls(tuple(in_force), tuple(_row(value, Control) for value in audit))

    # ----------------------------------------------------------------------------------------------------- the customer

    async def customer(self, customer: str) -> CustomerView | None:
        """Everything about a customer, under any of their ids; None: nothing is known of that id, or it was erased."""
        survivor = await self._survivor(customer)
        keys = self._keys
        state, record = (await self._all([("HMGET", keys.customer(survivor), "state", "record")]))[0]
        body: MessageBody | None = None if record is None else _body(record[INSTANT_DIGITS:])
        ids = tuple(body.get("ids", ())) if body else ()
        everyone = (survivor, *ids)
        told = await self._all(
            [
                command
                for each in everyone
                for command in (
                    ("HMGET", keys.customer(each), "d", *DECISION_FIELDS),
                    ("ZRANGE", keys.after(each), 0, -1),
                )
            ]
        )
        decisions = _merged(map(_newest_first, told[0::2]), lambda each: each["decided_at"])
        after = _merged(told[1::2], lambda each: each["time"])
        if state is None and body is None and not decisions and not after:
            return None
        return CustomerView(survivor, ids, state and state[INSTANT_DIGITS:], body, decisions, after)

    async def _survivor(self, customer: str) -> str:
        """Whose id this is now."""
        found = customer
        for _ in range(_LONGEST_CHAIN):
            further = (await self._all([("GET", self._keys.alias(found))]))[0]
            if further is None:
                break
            found = further.decode()
        return found

    # -------------------------------------------------------------------------------------------------------- decisions

    async def decisions(
        self, wanted: DecisionFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> DecisionPage:
        """The deployment's decisions, newest first; ``cursor``: a page's ``next``. Raises ValueError for another."""
        wanted = wanted or DecisionFilter()
        key, *others = await self._indexes(wanted)
        lowest = "-inf" if wanted.since is None else str(wanted.since)
        top, skip = _place(cursor)
        if top is None:
            top = "+inf" if wanted.until is None else f"({wanted.until}"
        rows: list[DecisionRow] = []
        examined = 0
        while examined < MOST_EXAMINED:
            count = _CHUNK if others else limit - len(rows)
            found = await self._scored("ZREVRANGEBYSCORE", key, top, lowest, skip, count)
            kept = await self._rows(found, others)
            for member, score in found:
                skip = skip + 1 if top == str(score) else 1
                top = str(score)
                if (row := kept.get(member)) is not None and _is_wanted(row, wanted):
                    rows.append(row)
                    if len(rows) == limit:
                        return DecisionPage(tuple(rows), f"{top}-{skip}")
            if len(found) < count:
                return DecisionPage(tuple(rows), None)
            examined += count
        return DecisionPage(tuple(rows), f"{top}-{skip}")

    async def _rows(self, found: Sequence[tuple[bytes, int]], others: Sequence[str]) -> dict[bytes, DecisionRow]:
        """The rows of those members that are in all other indexes, too."""
        members = [member for member, _ in found]
        if others and members:
            scores = await self._all([("ZMSCORE", key, *members) for key in others])
            members = [each for each, *there in zip(members, *scores, strict=True) if None not in there]
        if not members:
            return {}
        values = (await self._all([("HMGET", self._keys.log_rows, *members)]))[0]
        pairs = zip(members, values, strict=True)
        return {member: _row(value, DecisionRow) for member, value in pairs if value is not None}

    async def _indexes(self, wanted: DecisionFilter) -> list[str]:
        """The sorted sets that together hold what is wanted, the smallest first."""
        named = {name: getattr(wanted, name) for name in ("outcome", "trigger", "gate", "account", "customer")}
        keys = [self._keys.index(name, value) for name, value in named.items() if value is not None]
        if len(keys) < 2:  # noqa: PLR2004 (nothing to choose from)
            return keys or [self._keys.log]
        counts = await self._all([("ZCARD", key) for key in keys])
        return [key for _, key in sorted(zip(map(int, counts), keys, strict=True))]

    # ------------------------------------------------------------------------------------------------------------ works

    async def works(self) -> Works:
        """What asking does, as of the newest record."""
        return await works_of(self._all, self._keys)

    async def bodies(self) -> AsyncIterator[MessageBody]:
        """The newest record of every customer, in no order; one that changes meanwhile may be either."""
        try:
            async for body in newest_records(self._all, self._keys):
                yield body
        except DamagedReadModel as error:
            raise NotReadable(str(error)) from None

    # --------------------------------------------------------------------------------------------------------- plumbing

    async def _due(self, kind: DueKind, of: type[Row], cursor: str | None, limit: int) -> ThingPage[Row]:
        key = self._keys.due(kind)
        low, skip = _place(cursor)
        found: list[tuple[bytes, int]] = await self._scored("ZRANGEBYSCORE", key, low or "-inf", "+inf", skip, limit)
        total = int((await self._all([("ZCARD", key)]))[0])
        if not found:
            return ThingPage((), total, None)
        values = (await self._all([("HMGET", self._keys.due_rows(kind), *(member for member, _ in found))]))[0]
        rows = tuple(_row(value, of) for value in values if value is not None)
        last = found[-1][1]
        at_last = sum(1 for _, score in found if score == last) + (skip if low == str(last) else 0)
        return ThingPage(rows, total, f"{last}-{at_last}" if len(found) == limit else None)

    async def _scored(
        self, command: str, key: str, first: str, last: str, skip: int, count: int
    ) -> list[tuple[bytes, int]]:
        reply = (await self._all([(command, key, first, last, "WITHSCORES", "LIMIT", skip, count)]))[0]
        if reply and isinstance(reply[0], list | tuple):  # as redis-py pairs them, by version
            return [(member, int(score)) for member, score in reply]
        return [(member, int(float(score))) for member, score in zip(reply[0::2], reply[1::2], strict=True)]

    async def _all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """The replies, from one round trip."""

        async def answered() -> list[Any]:
            pipe = self._client.pipeline(transaction=False)
            pipe.hget(self._keys.meta, "form")
            for command in commands:
                pipe.execute_command(*command)
            return cast("list[Any]", await cast("Awaitable[Any]", pipe.execute()))

        try:
            async with asyncio.timeout(self._timeout):
                form, *replies = await answered()
        except (RedisError, OSError, TimeoutError) as error:
            raise NotReadable(f"the Redis of the read models: {type(error).__name__}") from error
        if form is not None and int(form) != FORM:
            raise NotReadable(f"the read models have form {int(form)}, and this program reads {FORM}: reset them")
        return replies


def _hour(start: int, counts: dict[str, int]) -> HourCounts:
    of: dict[str, dict[str, int]] = {"outcome": {}, "asks": {}, "gate": {}}
    for name, count in counts.items():
        what, _, value = name.partition(":")
        of.setdefault(what, {})[value] = count
    return HourCounts(start, of["outcome"], of["asks"], of["gate"])


def _place(cursor: str | None) -> tuple[str | None, int]:
    """A cursor is ``SCORE-SEEN``: how many entries of that score were seen. Raises ValueError for anything else."""
    if cursor is None:
        return None, 0
    score, sign, seen = cursor.partition("-")
    if not (sign and score.isascii() and score.isdigit() and seen.isascii() and seen.isdigit()):
        raise ValueError("not one of our cursors")
    return score, int(seen)


def _is_wanted(row: DecisionRow, wanted: DecisionFilter) -> bool:
    return (
        wanted.outcome in (None, row.outcome)
        and wanted.trigger in (None, row.trigger)
        and (wanted.gate is None or wanted.gate in row.gates)
        and wanted.account in (None, row.account_id)
        and wanted.customer in (None, row.customer_id)
        and (wanted.since is None or row.decided_at >= wanted.since)
        and (wanted.until is None or row.decided_at < wanted.until)
    )


def _newest_first(fields: Sequence[bytes | None]) -> list[bytes]:
    """The decisions of a customer, of which the fields are written in turns."""
    count = int(fields[0] or 0)
    places = ((count - back) % DECISIONS_KEPT for back in range(DECISIONS_KEPT))
    return [value for place in places if (value := fields[1 + place]) is not None]


def _merged(lists: Iterable[Iterable[bytes]], instant: Callable[[MessageBody], str]) -> tuple[MessageBody, ...]:
    found = [_body(value) for values in lists for value in values]
    return tuple(sorted(found, key=instant, reverse=True))


def _body(value: bytes) -> MessageBody:
    try:
        return cast("MessageBody", unpack(value))
    except DamagedReadModel as error:
        raise NotReadable(str(error)) from None


def _row(value: bytes, of: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(value, type=of)
    except msgspec.DecodeError:
        raise NotReadable("a read model of another form, or damaged") from None


def _mapping(reply: Any) -> dict[bytes, bytes]:
    """What HGETALL gave, whatever redis-py made of it."""
    if isinstance(reply, dict):
        return cast("dict[bytes, bytes]", reply)
    return dict(zip(reply[0::2], reply[1::2], strict=True))


def _counts(reply: Any) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in _mapping(reply).items()}
