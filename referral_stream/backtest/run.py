"""A backtest: one recorded log under two policies, read once, shard by shard, on as many cores as there are.

The result does not depend on the number of cores: shards follow from the log alone, what they give is added up in their
order, and no customer of one shard can touch one of another (see :mod:`~referral_stream.backtest.components`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from referral_stream.backtest import shards
from referral_stream.backtest.components import Components
from referral_stream.backtest.difference import BacktestCompared, Totals, compare, totals
from referral_stream.backtest.fates import Fates
from referral_stream.backtest.search import Front, SearchPoint, TriedPolicy, front
from referral_stream.backtest.shards import BlockFound, CutBlock, Digest
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.core.effects import OpportunityOpened
from referral_stream.core.instants import HOUR
from referral_stream.core.ledger.breaker import BurstBreaker
from referral_stream.core.ledger.caps import MemoryLedger
from referral_stream.core.policy import Policy
from referral_stream.replay.log_lines import STDIN, Progress, log_lines
from referral_stream.replay.reading import Counts, LogClock, LogStartsLate, MixedLog, Span
from referral_stream.replay.remarks import CUSTOMER_EVENTS
from referral_stream.replay.sorting import MEMORY_BYTES
from referral_stream.replay.virtual_run import Arrival, FactReplay
from referral_stream.runtime.gc_tuning import spare_values

TOGETHER: Final = 8
"""Policies of a search that are replayed in one go: a shard is read, and policy A replayed, once for all of them."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class ShardProgress(Protocol):
    """Is called with how many shards are done, and of how many."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


class BreakerTrip(NamedTuple):
    """The burst breaker would have paused a trigger in the hour that begins ``at`` (epoch ms)."""

    trigger: str
    at: int
    openings: int


@dataclass
class ReadLog:
    """What was read: ``first`` and ``last`` are arrivals of facts (epoch ms), ``lines`` the digest of its lines."""

    counts: Counts = field(default_factory=Counts)
    spans: dict[tuple[str, int], Span] = field(default_factory=dict)
    digest: str = ""
    ours: bool = False
    first: int = 0
    last: int = 0

    @property
    def starts_late(self) -> list[tuple[str, int, int]]:
        """Partitions without their beginning: topic, partition, first offset."""
        return sorted((topic, p, span.first) for (topic, p), span in self.spans.items() if span.named and span.first)


@dataclass
class Backtest:
    """Two policies on one log. ``customers``: of whom ``known_before`` were customers before it begins."""

    log: ReadLog
    totals: Totals
    customers: int = 0
    known_before: int = 0
    breaker: dict[str, list[BreakerTrip]] = field(default_factory=dict)


class _ShardFound(NamedTuple):
    totals: Totals
    customers: int
    known_before: int
    openings: tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]


class CountingLedger(MemoryLedger):
    """The ledger of a backtest: the burst breaker counts, over all shards, and pauses nothing (after §9)."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.openings: Counter[tuple[str, int]] = Counter()

    def opened(self, opened: OpportunityOpened) -> None:
        self.openings[opened.trigger, opened.now // HOUR] += 1


class _Job(NamedTuple):
    """What every process is told once."""

    boundary: Boundary
    policies: tuple[Policy, ...]
    file: str
    folder: Path
    skip_bad: bool


_job: _Job | None = None


def _begin(job: _Job) -> None:
    global _job  # noqa: PLW0603 (a process of the pool does one job)
    _job = job


def _begin_process(job: _Job) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _begin(job)
    spare_values()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _told() -> _Job:
    if _job is None:
        raise RuntimeError("a process of the pool begins with a job")
    return _job


def backtest(
    log: Path,
    a: Policy,
    b: Policy,
    boundary: Boundary,
    *,
    cores: int = 1,
    skip_bad: bool = False,
    sort: bool = False,
    partial: bool = False,
    reading: Progress | None = None,
    replaying: ShardProgress | None = None,
    rows: Callable[[Iterable[BacktestCompared]], None] | None = None,
) -> Backtest:
    """Replay ``log`` under both policies, and compare.

    ``rows`` is given every moment, shard by shard. ``partial``: take a log without its beginning, too. Temporary files
    become about as large as the log. Raises UnreadableLog (BadLine unless
    ``skip_bad``, MixedLog, LogStartsLate unless ``partial``) and OSError.
    """
    with TemporaryDirectory(prefix="backtest-") as temporary:
        job = _Job(boundary, (_runnable(a), _runnable(b)), _name(log), Path(temporary), skip_bad)
        with _pool(job, cores) as pool:
            found, blocks = read_log(log, job, pool, sort=sort, partial=partial, progress=reading)
            result = Backtest(found, Totals())
            openings: tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]] = (Counter(), Counter())
            tasks = [
                _Part(shard, blocks.blocks, found.first, found.last, found.ours, keep=rows is not None)
                for shard in range(blocks.shards)
            ]
            if replaying is not None:
                replaying(0, len(tasks))
            for shard, each in enumerate(pool.in_order(_compare_shard, tasks), 1):
                result.totals.add(each.totals)
                result.customers += each.customers
                result.known_before += each.known_before
                for mine, theirs in zip(openings, each.openings, strict=True):
                    mine.update(theirs)
                if rows is not None:
                    rows(_rows_of(job.folder, shard - 1))
                if replaying is not None:
                    replaying(shard, len(tasks))
            for side, policy, counted in zip(("a", "b"), (a, b), openings, strict=True):
                result.breaker[side] = trips(policy, counted)
    return result


def search(
    log: Path,
    a: Policy,
    tried: Sequence[TriedPolicy],
    boundary: Boundary,
    *,
    cores: int = 1,
    skip_bad: bool = False,
    sort: bool = False,
    partial: bool = False,
    reading: Progress | None = None,
    replaying: ShardProgress | None = None,
) -> tuple[ReadLog, Front]:
    """Replay ``log`` under policy A and every policy that is tried, of which there is one at least.

    Arguments and errors as of :func:`backtest`.
    """
    policies = tuple(map(_runnable, (a, *(each.policy for each in tried))))
    with TemporaryDirectory(prefix="backtest-") as temporary:
        job = _Job(boundary, policies, _name(log), Path(temporary), skip_bad)
        with _pool(job, cores) as pool:
            found, blocks = read_log(log, job, pool, sort=sort, partial=partial, progress=reading)
            groups = [range(1, len(policies))[at : at + TOGETHER] for at in range(0, len(tried), TOGETHER)]
            tasks = [
                _Part(shard, blocks.blocks, found.first, found.last, found.ours, tuple(group))
                for shard in range(blocks.shards)
                for group in groups
            ]
            sums = [Totals() for _ in tried]
            for done, (part, each) in enumerate(zip(tasks, pool.in_order(_search_shard, tasks), strict=True), 1):
                for against, sum_ in zip(part.against, each, strict=True):
                    sums[against - 1].add(sum_)
                if replaying is not None:
                    replaying(done, len(tasks))
    of_a = sums[0]
    mine = SearchPoint((), of_a.asked.get("a", 0), of_a.regrets.get("a", 0))
    points = [
        SearchPoint(
            each.numbers, sum_.asked.get("b", 0), sum_.regrets.get("b", 0),
            *(sum_.kinds.get(kind, 0) for kind in ("gained", "lost", "moved")),
        )
        for each, sum_ in zip(tried, sums, strict=True)
    ]  # fmt: skip
    return found, front(mine, points)


class _Part(NamedTuple):
    """A shard, under policy A and the policies at the places ``against``."""

    shard: int
    blocks: int
    first: int
    last: int
    by_time: bool
    against: tuple[int, ...] = (1,)
    keep: bool = False


def _name(log: Path) -> str:
    return "stdin" if log == STDIN else str(log)


class Dealt(NamedTuple):
    """A log on disk, dealt to shards."""

    blocks: int
    shards: int


def read_log(
    log: Path, job: _Job, pool: Pool, *, sort: bool, partial: bool, progress: Progress | None = None
) -> tuple[ReadLog, Dealt]:
    """Read a log and deal its facts to shards. Raises as :func:`backtest`."""
    found, components, digest = ReadLog(), Components(), Digest()
    numbers: list[list[int]] = []
    clock, ours = LogClock(), None
    with log_lines(log, progress or (lambda _: None), sort=sort, prefix=job.boundary.prefix) as lines:
        cuts: deque[CutBlock] = deque()

        def remembered() -> Iterator[CutBlock]:
            for each in shards.cut(digest.through(lines), job.file):
                cuts.append(each)
                yield each

        for guessed in pool.in_order(_read_block, remembered()):
            cut = cuts.popleft()
            right = guessed.begin == clock  # else it was read under a wrong clock
            block = guessed if right else _read_again(job, cut._replace(begin=clock))
            clock = block.end
            if ours is not None and block.ours is not None and block.ours != ours:
                line = cut.block.lines[0][0]
                raise MixedLog(
                    job.file, line, f"{CUSTOMER_EVENTS} and source topics in one log, in or before this line"
                )
            ours = block.ours if ours is None else ours
            shards.added(found.counts, block.counts)
            shards.joined(found.spans, block.spans)
            numbers.append(components.numbers(block.names, block.facts, block.ties))
            if block.first is not None and block.last is not None:
                found.first = block.first if not found.last else min(found.first, block.first)
                found.last = max(found.last, block.last)
    found.digest, found.ours = digest.hex, bool(ours)
    if found.starts_late and not partial:
        topic, partition, offset = found.starts_late[0]
        raise LogStartsLate(
            job.file, 1,
            f"partition {partition} of {topic} starts at offset {offset}: what happened before is unknown, and with it "
            "whom the caps and waits would have held back at first",
        )  # fmt: skip
    shard_of = components.shards(shards.SHARD_EVENTS)
    many = max(shard_of, default=0) + 1
    deals = ((block, [shard_of[number] for number in named], many) for block, named in enumerate(numbers))
    for _ in pool.in_order(_deal, deals):
        pass
    return found, Dealt(len(numbers), many)


def _read_again(job: _Job, cut: CutBlock) -> BlockFound:
    return shards.read_block(cut, job.file, job.boundary, job.folder, skip_bad=job.skip_bad)


def _runnable(policy: Policy) -> Policy:
    """As a backtest runs it: nothing is withheld for shadow."""
    return Policy.model_validate(policy.model_dump() | {"shadow": False})


# ------------------------------------------------------------------------------------------ what processes of a pool do


def _read_block(cut: CutBlock) -> BlockFound:
    return _read_again(_told(), cut)


def _deal(task: tuple[int, Sequence[int], int]) -> None:
    block, shard_of, many = task
    shards.deal(_told().folder, block, shard_of, many)


def _lived_in(part: _Part) -> list[tuple[FactReplay, Fates]]:
    job = _told()
    instants = shards.arrivals(job.folder, part.blocks, part.shard, by_time=part.by_time, memory_bytes=MEMORY_BYTES)
    return lived([job.policies[place] for place in (0, *part.against)], instants)


def _search_shard(part: _Part) -> list[Totals]:
    (_, of_a), *others = _lived_in(part)
    mine = of_a.all()
    sums = [totals(compare(mine, of_b.all()), part.last) for _, of_b in others]
    for each in sums:
        each.listed, each.examples = [], {}
    return sums


def _compare_shard(part: _Part) -> _ShardFound:
    (one, of_a), (other, of_b) = _lived_in(part)
    compared = compare(of_a.all(), of_b.all())
    if part.keep:
        _rows_file(_told().folder, part.shard).write_bytes(_rows_encoder.encode(compared))
    found = totals(compared, part.last)
    found.historical = of_a.historical
    customers = [c for c in one.customers.values() if c.merged_into is None]
    before = sum(1 for c in customers if c.signed_up is None or c.signed_up < part.first)
    openings = tuple(replay.caps.openings for replay in (one, other) if isinstance(replay.caps, CountingLedger))
    return _ShardFound(found, len(customers), before, (openings[0], openings[1]))


def lived(policies: Sequence[Policy], instants: Iterable[list[Arrival]]) -> list[tuple[FactReplay, Fates]]:
    """Replays of the same facts under these policies, side by side, until nothing is pending.

    Regrets of all are judged by the first one's gate 5: a policy that looks away has no fewer of them.
    """
    found = []
    for policy in policies:
        fates = Fates()
        replay = FactReplay(
            policy, caps=CountingLedger(policy), changed=fates.changed, recorded=False, regrets_by=policies[0]
        )
        found.append((replay, fates))
    for instant in instants:
        for replay, fates in found:
            for happened in replay.read(instant):
                fates.see(happened)
    for replay, fates in found:
        for happened in replay.wait():
            fates.see(happened)
    return found


def trips(policy: Policy, openings: Counter[tuple[str, int]]) -> list[BreakerTrip]:
    """The hours in which the burst breaker would have paused a trigger, if nothing else had changed."""
    rules = policy.breaker
    found: list[BreakerTrip] = []
    if not rules.enabled:
        return found
    for (trigger, hour), count in sorted(openings.items()):
        before = [openings.get((trigger, hour - back), 0) for back in range(1, rules.hours + 1)]
        if count > BurstBreaker.limit(rules, before):
            found.append(BreakerTrip(trigger, hour * HOUR, count))
    return found


_rows_encoder: Final = msgspec.msgpack.Encoder()
_rows_decode: Final = msgspec.msgpack.Decoder(list[BacktestCompared]).decode


def _rows_of(folder: Path, shard: int) -> list[BacktestCompared]:
    file = _rows_file(folder, shard)
    found = _rows_decode(file.read_bytes())
    file.unlink()
    return found


def _rows_file(folder: Path, shard: int) -> Path:
    return folder / f"moments-{shard}"


# --------------------------------------------------------------------------------------------------------- processes


class Pool:
    """Work in order, on this process alone or on several; only so much of it is under way at once."""

    def __init__(self, executor: ProcessPoolExecutor | None, cores: int) -> None:
        self._executor, self._most = executor, 3 * cores

    def in_order(self, work: Callable[[_In], _Out], tasks: Iterable[_In]) -> Iterator[_Out]:
        """The results in the order of the tasks, which are taken as they are needed."""
        if self._executor is None:
            yield from map(work, tasks)
            return
        under_way: deque[Future[_Out]] = deque()
        for task in tasks:
            under_way.append(self._executor.submit(work, task))
            if len(under_way) >= self._most:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


@contextmanager
def _pool(job: _Job, cores: int) -> Iterator[Pool]:
    if cores == 1:
        _begin(job)
        yield Pool(None, 1)
        return
    context: Any = multiprocessing.get_context("spawn")  # of a process with threads, a copy may hang
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_begin_process, initargs=(job,)) as executor:
        try:
            yield Pool(executor, cores)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
