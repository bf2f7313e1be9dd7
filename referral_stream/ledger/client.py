"""The ledger in Redis: the rules of :mod:`referral_stream.core.ledger`, shared by all workers, atomic, failing closed.

Keys (``PREFIX`` is the deployment's group prefix; the id of its cluster follows the hash tag, as in
``PREFIX:{ledger}:CLUSTER:ready``; ``GEN`` is the generation, ``NUMBER-ANY``: every rebuild makes one, and one is live):

=====================================================  ======  =================================================
``PREFIX:{ledger}:ready``                              string  live generation, the server's life, form of the keys
``PREFIX:{ledger}:generations``                        set     generations that have keys
``PREFIX:{ledger}:builder``                            string  who is building, for 15 s from the last sign of life
``PREFIX:{ledger}:GEN:building``                       string  the life of the server where a rebuild writes to
``PREFIX:{ledger}:GEN:reservation:COMMAND``            hash    state, instants, and who it counts for
``PREFIX:{ledger}:GEN:customer|email|account:ID``      zset    commands counted, by the instant of the ask
``PREFIX:{ledger}:GEN:shadow customer|email|…:ID``     zset    the same of shadow mode
``PREFIX:{ledger}:GEN:unconfirmed:by customer|by due`` zset    reservations whose worker has not reported yet
``PREFIX:{ledger}:GEN:switches:paused|changed``        hash    the switches that persons threw: state, instant
``PREFIX:{ledger}:GEN:switches:thrown back``           zset    those that are off, by instant; the newest 1,000 stay
``PREFIX:{ledger}:GEN:switches:segments``              zset    paused segments
``PREFIX:{ledger}:GEN:waiting:SWITCH``                 zset    customers to be told when it is thrown back
``PREFIX:{ledger}:GEN:openings:HOUR:TRIGGER``          set     opportunities opened in a UTC hour
``PREFIX:{ledger}:GEN:breaker:TRIGGER``                hash    newest hour, what a resumption forgave, its pause
``PREFIX:{ledger}:GEN:claims:CUSTOMER, REFERRAL``      hash    the keys they have claimed, and their newest release
``PREFIX:{ledger}:GEN:claimed contact|referral:KEY``   zset    claims of a key, or of a referral, by their instants
``PREFIX:{ledger}:GEN:grant:GRANT``                    hash    instants, whom it counts for, what it holds
``PREFIX:{ledger}:GEN:granted customer|account:ID``    zset    grants that count for a cap, by the request's instant
``PREFIX:{ledger}:GEN:granted contact|referral:KEY``   zset    grants that hold it, by the request's instant
=====================================================  ======  =================================================

The life of a server is its run id, its replication id and how many keys it has evicted. The hash tag keeps all keys
in one slot of a cluster. They hold ids and HMACs, nothing personal. Reservations, asks,
what waits, openings, claims and grants carry a TTL; it runs in real time while the rules run on the records' time, so
it is only an upper bound, more than twice the longest period. Switches and breaker marks stay: as many as names are
paused, and 1,000. A server that may evict (``maxmemory`` with a ``maxmemory-policy`` other than ``noeviction``) is
refused: an evicted ask would be an ask forgotten. Once it has evicted anything, what it holds is no ledger any more.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast
from uuid import uuid4

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from referral_stream.core.effects import (
    ContactClaimed,
    ContactReleased,
    GrantConfirmed,
    GrantHeld,
    GrantReleased,
    GrantRequested,
    LedgerRenewed,
    OpportunityOpened,
    ReservationAmended,
    ReservationConfirmed,
    ReservationHeld,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import (
    ControlPaused,
    ControlResumed,
    Event,
    GrantGiven,
    GrantRefused,
    GrantUnavailable,
    ReservationGranted,
    ReservationUnavailable,
    Scope,
)
from referral_stream.core.instants import DAY, HOUR, SECOND
from referral_stream.core.ledger import switches
from referral_stream.core.ledger.breaker import paused_by_breaker
from referral_stream.core.ledger.caps import (
    PAGE,
    LedgerOperation,
    Result,
    Thrown,
    denied_account,
    denied_overasking,
)
from referral_stream.core.ledger.grants import CAPPED_DAYS, GrantAnswer, RewardOperation, counted_days
from referral_stream.core.ledger.switches import Page, Stopping, Switch, denied_paused
from referral_stream.core.policy import Policy
from referral_stream.ledger.eviction import LOOK_SECONDS, NOT_TOLD, evicts, policy_of, why_evicting
from referral_stream.ledger.redis_answers import ANSWERS, code_of, meaning
from referral_stream.ledger.servers import client_of
from referral_stream.ledger.unsettled import ToBeTold, Unsettled

# Enough to make the round trip negligible, few enough that the script blocks the server for only some 15 ms.
OPERATIONS_PER_CALL: Final = 500
_SPARE_DAYS: Final = 30
_SPARE_HOURS: Final = 24
_CLAIMED_SECONDS: Final = 15

PARTS: Final = ("script.lua", "grants.lua", "applying.lua")
_SCRIPT: Final = b"".join(files(__package__).joinpath(name).read_bytes() for name in PARTS)
_DIGEST: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest()

_log = logging.getLogger(__name__)

_Reply: TypeAlias = list[Any]


class LedgerError(Exception):
    """Anything the ledger could not do."""


class LedgerUnavailable(LedgerError):
    """Redis did not answer in time, or refused. Whether the operations took effect is unknown; all may be repeated."""


class LedgerNotReady(LedgerUnavailable):
    """Redis answers, but its content is not the ledger: rebuild it. Nothing took effect."""


class LedgerEvicting(LedgerUnavailable):
    """Redis answers, but may throw away what the ledger holds; only a person can change that. Nothing took effect."""


class LedgerLogCut(LedgerUnavailable):
    """The log lacks what a ledger has to be built from; only a person can change that. Nothing took effect."""


class LedgerOutdated(LedgerUnavailable):
    """Redis answers, but a newer ledger is known, elsewhere: the connections are closed. Nothing took effect."""


class Results(list[Result]):
    """What :meth:`RedisLedger.apply` gives; ``generation``: the number of the ledger that said so."""

    generation: int = 0


@dataclass(frozen=True, slots=True)
class Server:
    """The Redis behind a ledger; ``now`` is its clock in ms, ``durable`` whether it keeps its data on disk.

    ``evicts``: whether the policy may cost a key; without a limit (``maxmemory``) it never does.
    """

    version: str
    maxmemory_policy: str
    evicts: bool
    now: int
    durable: bool


class RedisLedger:
    """The ledger of one deployment. Every call is bounded by ``timeout_seconds``; safe to use from many tasks.

    ``client`` must decode responses. Without an answer from Redis everything raises :class:`LedgerUnavailable`: a
    request is then answered ``reservation.unavailable``, and a confirmation or a pause retried until it succeeds.

    ``least``: the number of the newest generation that is known. A server that holds an older one answers nothing.
    ``cluster``: the id of the Kafka cluster whose log this is the ledger of. It is in every key, so that deployments of
    one name on two clusters may share a Redis: each has a ledger of its own.
    """

    def __init__(
        self, client: Redis, policy: Policy, *, prefix: str = "referral-stream", timeout_seconds: float = 2.0
    ) -> None:
        self._client = client
        self._policy = policy
        self._prefix = prefix
        self._timeout = timeout_seconds
        self._limits = orjson.dumps(_limits(policy))
        self._looked_at: float | None = None
        self._evicting = ""
        self.least = 0
        self.cluster = ""

    @classmethod
    def connect(
        cls,
        url: str,
        policy: Policy,
        *,
        prefix: str = "referral-stream",
        timeout_seconds: float = 2.0,
        tls: Mapping[str, str] | None = None,
        url_now: Callable[[], str] | None = None,
    ) -> Self:
        """A ledger with its own client; nothing is sent yet. Close it, or use it as a context manager.

        ``url``, ``url_now``: see :mod:`referral_stream.ledger.servers`. ``tls``: for one of TLS, PEM files as redis-py
        names them: ``ssl_ca_certs`` (the authority that signed the server's certificate), ``ssl_certfile`` and
        ``ssl_keyfile`` (ours, if the server requires one).
        """
        more: dict[str, Any] = dict(tls or {})
        client = client_of(
            url,
            url_now=url_now,
            decode_responses=True,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # Once, for a connection that the server closed while it was idle. All operations may be repeated.
            retry=Retry(NoBackoff(), 1),
            **more,
        )
        return cls(client, policy, prefix=prefix, timeout_seconds=timeout_seconds)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results:
        """Apply records of ``ledger-requests`` in order; one result each, as :meth:`MemoryLedger.apply` gives it.

        Up to OPERATIONS_PER_CALL take one round trip and are atomic together. Raises LedgerUnavailable; then a longer
        list may have been applied in part, from its start.
        """
        results, generations = Results(), []
        for start in range(0, len(operations), OPERATIONS_PER_CALL):
            part = operations[start : start + OPERATIONS_PER_CALL]
            number, *replies = await self._call("", [_encoded(each) for each in part])
            generations.append(int(number))
            results.extend(map(self._result, part, replies))
        results.generation = min(generations, default=0)
        return results

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]:
        """Which of the requests a switch would stop now."""
        _, *replies = await self._call(
            "", [("stopped", each.trigger, each.segment or "", each.due) for each in requests]
        )
        return [reply[0] == "stopped" for reply in replies]

    async def page(self, thrown: Thrown, now: int, after: str = "", size: int = PAGE) -> Page:
        """Some of the customers to tell of a switch, as :meth:`MemoryLedger.page` gives them.

        Raises LedgerUnavailable.
        """
        return _page((await self._call("", [_looked_for(thrown, now, after, size)]))[-1])

    async def check(self) -> None:
        """Raises a LedgerUnavailable of the right kind if Redis does not hold the ledger now, or may not keep it."""
        await self._call("", [])

    async def ready(self) -> bool:
        """Whether Redis can be reached and holds the ledger."""
        try:
            await self.check()
        except LedgerUnavailable:
            return False
        return True

    async def claim(self) -> bool:
        """Whether nobody is building the ledger on this server; whoever got True may begin. Raises LedgerUnavailable.

        It only saves work: of several that build at a time the one with the highest number wins in any case.
        """
        return bool(await self._execute("SET", self._root + "builder", "soon", "NX", "EX", _CLAIMED_SECONDS))

    async def server(self) -> Server:
        """What the server reports about itself. Raises LedgerUnavailable."""
        about: dict[str, Any] = await self._execute("INFO")
        return Server(
            version=str(about.get("redis_version") or NOT_TOLD),
            maxmemory_policy=policy_of(about),
            evicts=evicts(about),
            now=await self.time(),
            durable=bool(int(about.get("aof_enabled") or 0)),
        )

    async def time(self) -> int:
        """What the server's clock shows, epoch ms. Raises LedgerUnavailable."""
        seconds, micros = await self._execute("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def abandon(self) -> None:
        """Let somebody else build: what was claimed has come to nothing."""
        with suppress(LedgerUnavailable):
            await self._execute("DEL", self._root + "builder")

    async def rebuild(self, records: AsyncIterable[LedgerOperation], number: int = 1) -> bool:
        """Build the ledger of this ``number`` from the history of ``ledger-requests``, oldest first; live at once.

        The records of several partitions must come merged by their instant, each partition up to where the log says
        that older generations end (``ledger.renewed``). Nobody sees what is being built before it is complete. Returns
        False, with nothing changed, when a newer ledger is live already: of several concurrent rebuilds that with the
        highest number wins. Raises LedgerUnavailable when Redis fails or restarts meanwhile; then begin again.
        """
        generation = f"{number}-{uuid4().hex[:8]}"
        unsettled, count = Unsettled(), 0
        try:
            await self._call(generation, [("begin",)])
            part: list[tuple[object, ...]] = []
            async for operation in records:
                if isinstance(operation, GrantRequested):
                    continue  # what it was given stands in the log
                unsettled.follow(operation)
                part.append(_recalled(operation))
                pause = _pause(operation)
                if len(part) == OPERATIONS_PER_CALL or pause is not None:
                    count += len(part)
                    await self._recall(generation, part, unsettled)
                    part = []
                if pause is not None:
                    await self._wait_again(generation, *pause, unsettled)
            count += len(part)
            await self._recall(generation, part, unsettled)
            await self._wait(generation, unsettled.left())
            replies = await self._call(generation, [("publish",)])
        except _Superseded:
            await self._sweep([generation])
            return False
        _log.info("ledger_rebuilt", extra={"records": count, "generation": number})
        await self._sweep(replies[-1][1])
        return True

    async def _recall(self, generation: str, part: Sequence[tuple[object, ...]], unsettled: Unsettled) -> None:
        """Some of the history; a pause that the breaker sets has those who wait for its end too."""
        if not part:
            return
        _, *replies = await self._call(generation, part)
        for operation, reply in zip(part, replies, strict=True):
            if reply[0] == "tripped":
                _, _, trigger, now = operation
                await self._wait_again(generation, Switch("trigger", str(trigger)), cast("int", now), unsettled)

    async def _wait_again(self, generation: str, paused: Switch, now: int, unsettled: Unsettled) -> None:
        """Those who were told of a pause wait for its end, and those whom it may have stopped."""
        page = Page((), "")
        while page.after is not None:
            page = _page((await self._call(generation, [("concerned", *paused, now, page.after, PAGE)]))[-1])
        await self._wait(generation, unsettled.paused(paused, now))

    async def _wait(self, generation: str, waiting: Iterator[ToBeTold]) -> None:
        """Let these wait, besides those who do."""
        while some := list(itertools.islice(waiting, OPERATIONS_PER_CALL)):
            await self._call(generation, [("wait", *switch, customer) for switch, customer in some])

    @property
    def _root(self) -> str:
        return f"{self._prefix}:{{ledger}}:{self.cluster}{':' if self.cluster else ''}"

    @property
    def _ready_key(self) -> str:
        return self._root + "ready"

    async def _call(self, generation: str, operations: Sequence[tuple[object, ...]]) -> list[Any]:
        """The number of the generation that answered, and its replies."""
        await self._refuse_eviction()
        arguments = (1, self._ready_key, generation, self._limits, orjson.dumps(operations), self.least)
        try:
            reply: list[Any] = await self._execute("EVALSHA", _DIGEST, *arguments)
        except _ScriptMissing:
            reply = await self._execute("EVAL", _SCRIPT, *arguments)
        match reply[0]:
            case "applied":
                return reply[1:]  # the number of the generation, and the results
            case "superseded":
                raise _Superseded
            case "outdated":
                await self._look_up_again()
                raise LedgerOutdated(
                    f"this server holds ledger {reply[1]}, and the log knows of {self.least}: another server has taken "
                    "over; REFERRAL_STREAM_REDIS_URL is looked up again"
                )
            case "cluster":
                raise LedgerUnavailable(f"cluster: {ANSWERS['MOVED'].says}")
            case "lost":
                raise LedgerUnavailable("Redis lost what had been rebuilt so far")
            case _:
                raise LedgerNotReady("the ledger must be rebuilt from ledger-requests")

    async def _refuse_eviction(self) -> None:
        """Raises LedgerEvicting for a server that may throw away what we write, as seen a few seconds ago or now."""
        if self._looked_at is None or monotonic() - self._looked_at > LOOK_SECONDS or self._evicting:
            try:
                about = await self._execute("INFO", "memory")
            except LedgerUnavailable as unanswered:
                if not _keeps_to_itself(unanswered.__cause__):
                    raise
                about = {}
            self._looked_at = monotonic()
            self._evicting = why_evicting(policy_of(about)) if evicts(about) else ""
        if self._evicting:
            raise LedgerEvicting(self._evicting)

    async def _execute(self, *command: object) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError as missing:
            raise _ScriptMissing from missing
        except (RedisError, OSError) as error:  # a timeout is an OSError
            known = meaning(error)
            if known.elsewhere:
                await self._look_up_again()
            raise LedgerUnavailable(f"{code_of(error)}: {known.says}") from error

    async def _look_up_again(self) -> None:
        """Close what is open: the next call finds out afresh where the address leads."""
        with suppress(RedisError, OSError):
            await self._client.connection_pool.disconnect(inuse_connections=False)

    async def _sweep(self, generations: Sequence[str]) -> None:
        """Remove the keys of dead generations. If Redis fails, their TTL removes the rest."""
        dead = tuple(f"{self._root}{each}:" for each in generations)
        if not dead:
            return
        try:
            cursor = "0"
            while True:
                cursor, keys = await self._execute("SCAN", cursor, "MATCH", f"{self._root}*", "COUNT", 1000)
                if doomed := [key for key in keys if key.startswith(dead)]:
                    await self._execute("UNLINK", *doomed)
                if str(cursor) == "0":
                    return
        except LedgerUnavailable as cause:
            _log.warning("ledger_sweep_unfinished", extra={"cause": type(cause.__cause__ or cause).__name__})

    def _result(self, operation: LedgerOperation, reply: _Reply) -> Result:
        kind = reply[0]
        match operation:
            case ReservationRequested(command_id=command) | ReservationHeld(command_id=command):
                match kind:
                    case "granted":
                        return ReservationGranted(command_id=command)
                    case "unavailable":
                        return ReservationUnavailable(command_id=command)
                    case "paused":
                        return denied_paused(command, itertools.starmap(_stopping, reply[1:]))
                    case "overasking":
                        return denied_overasking(command, reply[1], self._policy.caps)
                    case _:
                        newest, quota = (None if asked_at < 0 else asked_at for asked_at in reply[1:])
                        return denied_account(command, (newest, quota), self._policy.caps)
            case GrantRequested(grant_id=grant) | GrantHeld(grant_id=grant):
                return _grant_answer(grant, reply)
            case OpportunityOpened(trigger=trigger) if kind == "tripped":
                hour, count, doubled_limit = reply[1:]
                return paused_by_breaker(trigger, hour, count, doubled_limit / 2)
            case Event():
                return bool(kind == "thrown")
            case _:
                return None


class _Superseded(Exception):
    """Another rebuild was faster."""


class _ScriptMissing(Exception):
    """The server does not have the script yet, or was restarted."""


def _keeps_to_itself(refusal: BaseException | None) -> bool:
    """Whether a server refuses to say anything about itself, as some managed ones do."""
    return isinstance(refusal, ResponseError) and (
        code_of(refusal) == "NOPERM" or "unknown command" in str(refusal).lower()
    )


def _encoded(operation: LedgerOperation) -> tuple[object, ...]:
    """A record as the script reads it: its name and its arguments."""
    if isinstance(operation, RewardOperation):
        return _encoded_reward(operation)
    match operation:
        case ReservationRequested():
            return (
                "request", operation.command_id, operation.customer_id, operation.account_id or "",
                operation.email_hmac or "", operation.segment or "", operation.trigger,
                operation.due, operation.valid_until, operation.now, operation.shadow,
            )  # fmt: skip
        case ReservationConfirmed():
            return "confirm", operation.command_id, operation.customer_id, operation.account_id or "", operation.now
        case ReservationReleased():
            return "release", operation.command_id, operation.now
        case ReservationAmended():
            return "amend", operation.command_id, operation.account_id or "", operation.email_hmac or ""
        case ReservationHeld():
            return (
                "hold", operation.command_id, operation.customer_id, operation.account_id or "",
                operation.email_hmac or "", operation.segment or "", operation.trigger,
                operation.due, operation.requested_at, operation.shadow,
            )  # fmt: skip
        case OpportunityOpened():
            return "opened", operation.opportunity_id, operation.trigger, operation.now
        case Event(data=ControlPaused(scope=scope, name=name), time=time):
            return "pause", scope, name or "", time
        case Event(data=ControlResumed(scope=scope, name=name), time=time):
            return "resume", scope, name or "", time
        case LedgerRenewed():
            raise TypeError("which ledger may answer is not for the ledger")
        case _:
            raise TypeError(f"not for the ledger: {operation.type}")


def _encoded_reward(operation: RewardOperation) -> tuple[object, ...]:
    """The same of what concerns contacts and rewards."""
    match operation:
        case ContactClaimed():
            return "claim", operation.customer_id, operation.referral_id, operation.contact_keys, operation.now
        case ContactReleased():
            return "release_claims", operation.customer_id, operation.referral_id, operation.now
        case GrantRequested():
            return "request_grant", *_grant(operation), operation.now
        case GrantHeld():
            return "hold_grant", *_grant(operation), operation.requested_at
        case GrantConfirmed():
            return "confirm_grant", *_grant(operation), operation.now
        case GrantReleased():
            return "release_grant", operation.grant_id, operation.now


def _grant(grant: GrantRequested | GrantHeld | GrantConfirmed) -> tuple[object, ...]:
    return grant.grant_id, grant.referral_id, grant.customer_id, grant.account_id or "", grant.contact_keys


def _grant_answer(grant: str, reply: _Reply) -> GrantAnswer:
    match reply[0]:
        case "given":
            return GrantGiven(grant_id=grant)
        case "unavailable":
            return GrantUnavailable(grant_id=grant)
        case _:
            return GrantRefused(grant_id=grant, reason=reply[1])


def _recalled(operation: LedgerOperation) -> tuple[object, ...]:
    """A record of the past, as :meth:`MemoryLedger.recall` takes it."""
    if isinstance(operation, ReservationRequested):
        return "recall", operation.customer_id, operation.segment or "", operation.trigger, operation.due
    return _encoded(operation)


def _pause(operation: LedgerOperation) -> tuple[Switch, int] | None:
    """What a person's pause stops, and from when; None for anything else."""
    match operation:
        case Event(data=ControlPaused(scope=scope, name=name), time=time):
            return Switch(scope, name or ""), time
        case _:
            return None


def _looked_for(thrown: Thrown, now: int, after: str, size: int) -> tuple[object, ...]:
    """The script's operation that gives a page."""
    name = "concerned" if isinstance(thrown, ControlPaused) else "waiting"
    return name, thrown.scope, thrown.name or "", now, after, size


def _page(reply: _Reply) -> Page:
    _, after, customers = reply
    return Page(tuple(customers), after or None)


def _stopping(written: str, until: int) -> Stopping:
    scope, _, name = written.partition(" ")
    return Stopping(Switch(cast("Scope", scope), name), None if until < 0 else until)


def _limits(policy: Policy) -> list[int]:
    """The numbers of the policy in the script's order."""
    caps, breaker, rewards = policy.caps, policy.breaker, policy.rewards
    return [
        caps.customer_days * DAY,
        caps.account_gap_days * DAY,
        caps.account_asks,
        caps.account_days * DAY,
        int(breaker.enabled),
        breaker.floor,
        breaker.factor,
        breaker.hours,
        (2 * caps.longest_days + _SPARE_DAYS) * DAY // SECOND,
        (2 * breaker.hours + _SPARE_HOURS) * HOUR // SECOND,
        breaker.pause_hours * HOUR,
        policy.longest_window_days * DAY,
        switches.THROWN_BACK_KEPT,
        rewards.claim_days * DAY,
        CAPPED_DAYS * DAY,
        rewards.per_customer,
        rewards.per_account,
        (2 * counted_days(rewards) + _SPARE_DAYS) * DAY // SECOND,
    ]
