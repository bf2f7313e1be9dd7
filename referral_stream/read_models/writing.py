"""Writing the read models: one atomic script a batch of one partition, with the position of what is applied.

The position is compared before anything is written, and set with what is written: a batch that comes again, from a
restart or from a former owner of the partition, changes nothing, and a server that has lost data is noticed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from referral_stream.core.instants import DAY
from referral_stream.read_models.keys import (
    AFTER_KEPT,
    AUDIT_KEPT,
    DECISIONS_KEPT,
    FORM,
    HOURS_KEPT,
    LOG_KEPT,
    RECORDED_KEPT,
    RESETTING,
    RETENTION_SECONDS,
    Keys,
    escaped,
)
from referral_stream.read_models.projecting import Operation, Touched, replacing
from referral_stream.read_models.views import Control, MessageBody, RoleState, Works
from referral_stream.read_models.works import newest_records, works_of

_SCRIPT: Final = files(__package__).joinpath("apply.lua").read_bytes()
_DIGEST: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest()
_TRIES: Final = 3

LAPSES_DAYS: Final = {"asks": 30, "approvals": 30, "followups": 40, "rewards": 1}
"""After it was due, what nobody has ended goes from the lists: a record that would have ended it was never written."""

FULL_AT: Final = 0.8
"""Of ``maxmemory``: from here on nothing is applied."""

_ARGUMENTS: Final = 8
"""Of the script, before the bytes."""

_encode = msgspec.msgpack.Encoder().encode
_control = msgspec.msgpack.Decoder(Control).decode


class WriteRefused(Exception):
    """Redis did not answer in time, or refused; ``cause`` has its error. What was applied is known by the position."""


BEING_RESET: Final = "the read models are being reset; if no reset is under way, one was broken off: repeat it"


class OtherForm(Exception):
    """The read models were written by another version of this program: they have to be made anew."""


class BatchApplied(msgspec.Struct, frozen=True):
    """``at``: the offset that is applied next; None: nothing is applied of this partition. ``done``: our batch was."""

    done: bool
    at: int | None


class Writer:
    """Applies batches. All methods raise WriteRefused; each call is bounded by ``timeout_seconds``.

    ``client`` must not decode responses. ``log_kept``: how many decisions of the deployment can be filtered.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = "referral-stream",
        log_kept: int = LOG_KEPT,
        retention_seconds: int = RETENTION_SECONDS,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._client, self._keys, self._timeout = client, Keys(prefix), timeout_seconds
        self._limits = _encode(
            {
                "ttl": retention_seconds,
                "decisions": DECISIONS_KEPT,
                "after": AFTER_KEPT,
                "audit": AUDIT_KEPT,
                "recorded": RECORDED_KEPT,
                "hours": HOURS_KEPT,
                "log": log_kept,
                "lapses": {kind: days * DAY for kind, days in LAPSES_DAYS.items()},
                "sweep": 100,
                "form": FORM,
            }
        )

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def look_up_again(self) -> None:
        """Close what is open: the next call finds out afresh where the address leads."""
        with suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect(inuse_connections=False)

    async def has_room(self) -> bool:
        """Whether the server has memory to spare: what else is there, such as the ledger, must never lack it."""
        about: Any = await self._call("INFO", "memory")
        most = int(about["maxmemory"])
        return most == 0 or int(about["used_memory"]) < FULL_AT * most

    async def check(self) -> None:
        """Raises OtherForm where another version has written."""
        form = await self._call("HGET", self._keys.meta, "form")
        if form is not None and int(form) == RESETTING:
            raise WriteRefused(BEING_RESET)
        if form is not None and int(form) != FORM:
            raise OtherForm(f"form {int(form)}; this program writes {FORM}")

    async def positions(self) -> dict[tuple[str, int], int]:
        """(topic, partition) → the offset that is applied next."""
        found = await self._call("HGETALL", self._keys.positions)
        pairs = found.items() if isinstance(found, dict) else zip(found[0::2], found[1::2], strict=True)
        places = ((name.decode().rpartition("|"), int(at)) for name, at in pairs)
        return {(topic, int(partition)): at for (topic, _, partition), at in places}

    async def apply(
        self,
        topic: str,
        partition: int,
        expected: int | None,
        after: int,
        operations: Sequence[Operation],
        touched: Mapping[str, Touched],
        *,
        now: int,
        real_now: int,
    ) -> BatchApplied:
        """Apply a batch of one partition whose first offset is at or behind ``expected``, up to before ``after``.

        ``expected``: where we believe to be; None: nothing is applied yet. If that is not so, nothing is done, and the
        answer says where it is. ``now``: the deployment's clock, ``real_now``: the real one (epoch ms).
        """
        for _ in range(_TRIES):
            replaced = await self._replacing(list(touched.values()))
            place = (f"{topic}|{partition}", "" if expected is None else expected, after)
            plain, parts = _apart([*operations, *replaced])
            reply = await self._script(self._keys.root, *place, plain, self._limits, now, real_now, *parts)
            if reply[0] == b"applied":
                return BatchApplied(done=True, at=after)
            if reply[0] == b"form":
                await self.check()
                raise WriteRefused(BEING_RESET)
            if reply[0] == b"at":
                return BatchApplied(done=False, at=int(reply[1]) if reply[1] else None)
        raise WriteRefused("a customer's record changes whenever it is to be replaced: is another projector at work?")

    async def _replacing(self, touched: Sequence[Touched]) -> list[Operation]:
        if not touched:
            return []
        known = await self._all([("HGET", self._keys.customer(each.customer), "record") for each in touched])
        pairs = zip(touched, known, strict=True)
        return [done for each, found in pairs if (done := replacing(each, found))]

    async def tell_roles(self, roles: Sequence[RoleState]) -> None:
        """Write what was seen of the roles' groups."""
        if roles:
            fields = [part for each in roles for part in (each.role, _encode(_as_tuple(each)))]
            await self._call("HSET", self._keys.roles, *fields)

    async def works(self) -> Works:
        """What asking does, as of the newest record."""
        return await works_of(self._all, self._keys)

    async def controls(self) -> list[Control]:
        """The newest word about each switch."""
        return [_control(value) for value in await self._call("HVALS", self._keys.controls)]

    async def bodies(self) -> AsyncIterator[MessageBody]:
        """As :func:`newest_records`."""
        async for body in newest_records(self._all, self._keys):
            yield body

    async def reset(self) -> int:
        """Remove every key of the read models, and no other; how many there were. If it fails, repeat it."""
        cursor, removed, meta = "0", 0, self._keys.meta.encode()
        pattern = escaped(self._keys.root) + "*"
        await self._call("HSET", meta, "form", RESETTING)
        while True:
            reply = await self._call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            cursor, keys = reply[0], [key for key in reply[1] if key != meta]
            if keys:
                removed += int(await self._call("UNLINK", *keys))
            if int(cursor) == 0:
                return removed + int(await self._call("DEL", meta))

    async def _script(self, *arguments: Any) -> list[Any]:
        try:
            return cast("list[Any]", await self._call("EVALSHA", _DIGEST, 0, *arguments))
        except WriteRefused as refused:
            if not isinstance(refused.__cause__, NoScriptError):
                raise
        return cast("list[Any]", await self._call("EVAL", _SCRIPT, 0, *arguments))

    async def _call(self, *command: Any) -> Any:
        return (await self._all([command]))[0]

    async def _all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout):
                if len(commands) == 1:
                    return [await self._client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # redis-py
                pipe = self._client.pipeline(transaction=False)
                for command in commands:
                    pipe.execute_command(*command)
                return cast("list[Any]", await cast("Awaitable[Any]", pipe.execute()))
        except (RedisError, OSError, TimeoutError) as error:
            raise WriteRefused(type(error).__name__) from error


def _apart(operations: Sequence[Operation]) -> tuple[bytes, list[bytes]]:
    """The operations as MessagePack, and the bytes in them as arguments of their own."""
    parts: list[bytes] = []

    def number(part: bytes) -> list[int]:
        parts.append(part)
        return [_ARGUMENTS + len(parts)]

    plain = [[number(each) if type(each) is bytes else each for each in operation] for operation in operations]
    return _encode(plain), parts


def _as_tuple(role: RoleState) -> tuple[Any, ...]:
    return (role.role, role.group, role.members, role.partitions, role.lag, role.seen_at)
