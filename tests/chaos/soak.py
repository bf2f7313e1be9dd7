"""One soak: services and workers start, load and faults go on for a while, then all comes to rest and is judged."""

from __future__ import annotations

import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from referral_stream.audit.findings import AuditReport
from referral_stream.audit.referee import audit
from referral_stream.contracts.deadletters import replayed
from referral_stream.core.instants import SECOND
from referral_stream.policy_file.reading import parse_policy
from referral_stream.runtime.settings import Settings
from tests.chaos.afterwards import AFTER_POLICY
from tests.chaos.faults import NOTHING_TO_STRIKE, SESSION_SECONDS, Chaos, Exit, Inflicted, Worker, crew
from tests.chaos.load import Load
from tests.chaos.plan import AIOKAFKA, LIGHT, NAMED, Fault, Planned, plan
from tests.chaos.verdict import Judge, SoakRecords, Verdict
from tests.chaos.watch import Watch
from tests.chaos.world import World
from tests.integration.live import Pipeline
from tests.integration.scripted import POLICY
from tests.services.process import ServiceFailed

SOAK_POLICY: Final = f"""{POLICY}{AFTER_POLICY}
[ledger]
answer_seconds = 5
retry_seconds = 2
retry_limit_seconds = 8
"""
"""After an outage the ledger is asked again soon: the pipeline is measured, not the wait between two attempts."""


@dataclass(frozen=True)
class MayEnd:
    """With which exit codes, until so many seconds after the fault."""

    codes: frozenset[int]
    seconds: float


_STUCK_SECONDS: Final = 25.0
"""A worker that has to end and does not come to it is ended after so long."""

_MAY_END: Final = {
    # How long after a broker answers again workers may still find none: one node takes a while to lead all topics.
    Fault.BROKER: MayEnd(frozenset({70, 75}), 15.0 + _STUCK_SECONDS),
    Fault.BROKER_MOVES: MayEnd(frozenset({70, 75}), 120.0),
    Fault.DAMAGE: MayEnd(frozenset({1}), 120.0),
    Fault.SMALL_RECORDS: MayEnd(frozenset({1}), 0.0),
}
"""Redis, and records of any kind, are no reason for a worker to end."""

_STALL_SECONDS: Final = 60.0
_NAMED_SECONDS: Final = 60.0
"""After the end of a fault, in which a line may still name it."""
_START_SECONDS: Final = 600.0
_UNDISTURBED_SECONDS: Final = 20.0
_REST_SECONDS: Final = 12.0
"""Without a new record for so long, nothing goes on any more: a lost wake-up is sent again after 10 s."""
_TO_REST_SECONDS: Final = 480.0
"""A partition that was added is read after the age of the workers' metadata, five minutes at most."""
_PROMPT_BROKER_SECONDS: Final = 10.0
_EXCUSED_SHARE: Final = 0.02
_EXCUSED_SHARE_AT_MOST: Final = 0.2
"""Share of the asks that may be excused; on a slow machine asks are late, and more facts arrive meanwhile."""


@dataclass(frozen=True)
class Silence:
    """The longest time without a new record on a partition, after one fault; in seconds."""

    decisions: float
    asks: float


@dataclass(frozen=True)
class Soaked:
    """A soak that is over. `silences` are by place in `inflicted`; `undisturbed` is how it looks without any fault."""

    seed: int
    seconds: float
    workers: int
    inflicted: list[Inflicted]
    unnamed: list[str]
    silences: list[Silence]
    undisturbed: Silence
    exits: list[Exit]
    starts: int
    refused: list[str]
    unfinished: list[str]
    records: SoakRecords
    judge: Judge
    verdict: Verdict
    audited: AuditReport

    @property
    def slowness(self) -> float:
        """How many times as slow this machine is as one on which the limits of a soak are right; at least 1."""
        return _slowness(self.inflicted)

    @property
    def excused_exits(self) -> list[Exit]:
        """A worker may end at such a fault, and leave it to its supervisor; it says why, or its log is a problem.

        If it is told to stop just then, it may not come to its end in time either, exit code 70, or have had its reason
        before it was told.
        """
        outages = [(each, _MAY_END[each.fault]) for each in self.inflicted if each.fault in _MAY_END]
        return [
            exit_
            for exit_ in self.exits
            if any(
                exit_.code in (may_end.codes | {70} if exit_.expected else may_end.codes)
                and fault.began <= exit_.at <= fault.ended + may_end.seconds * self.slowness
                for fault, may_end in outages
            )
        ]

    @property
    def stalls(self) -> list[str]:
        """Faults after which a partition decided nothing for too long: workers stood still, dead or alive."""
        pairs = zip(self.inflicted, self.silences, strict=True)
        return [
            f"{each.fault} ({each.victim}): {silence.decisions:.0f} s without a decision on a partition"
            for each, silence in pairs
            if silence.decisions > _STALL_SECONDS * self.slowness
        ]

    @property
    def excuses_beyond_bound(self) -> list[str]:
        """All of them, if they are so many that something else must be wrong."""
        excuses, late = self.verdict.excuses, self.verdict.late_ms or [0]
        slowness = max(self.slowness, late[len(late) // 2] / SECOND)
        share = min(slowness * _EXCUSED_SHARE, _EXCUSED_SHARE_AT_MOST)
        return list(map(str, excuses)) if len(excuses) > max(3.0, share * self.verdict.counts["asks"]) else []

    @property
    def problems(self) -> dict[str, list[str]]:
        """All that is wrong; every list is empty, or a promise is broken."""
        return self.verdict.problems | {
            "excuses beyond their bound": self.excuses_beyond_bound,
            "stories that did not come to their end": self.unfinished,
            "workers that ended as they should not": [
                str(each) for each in self.exits if each not in self.excused_exits
            ],
            "faults that stopped the work": self.stalls,
            "faults that no line names": self.unnamed,
            "records that the broker did not confirm": self.refused,
            "findings of referral-stream audit": [
                f"{finding.invariant}: {finding.what} at {', '.join(map(str, finding.positions))}"
                for finding in self.audited.findings
            ],
        }


@dataclass(frozen=True)
class Progress:
    """How far a soak is."""

    phase: str
    seconds: float
    events: int
    asks: int
    faults: int
    of: int
    under_way: str


Tell: TypeAlias = Callable[[Progress], None]


def run(
    home: Path,
    seed: int,
    seconds: float,
    *,
    numbers: Mapping[Fault, int] = LIGHT,
    workers: int = 3,
    per_second: float = 10.0,
    tell: Tell = lambda _: None,
    evidence: Path | None = None,
) -> Soaked:
    """Services of its own, `workers` of every kind, `per_second` new stories, faults for `seconds`.

    `numbers`: which faults, and how many of each would be in twenty minutes.

    `evidence`: where the broker's files go if something was committed twice. What a broker made of a transaction in
    which it was killed is in its own log alone, which says where the marks lie and whose they are (`kafka-dump-log`).

    The same seed is the same load and the same faults, though not at the same instants of each other; where the
    pipeline does not keep up, less of that load.
    """
    with (
        World(proxies=not numbers.keys() <= LIGHT.keys()) as world,
        Pipeline(
            world.kafka,
            world.redis_url,
            home,
            policy=SOAK_POLICY,
            settings=_SETTINGS | {"kafka_brokers": world.brokers},
        ) as pipeline,
    ):
        pipeline.create_topics()
        planned = plan(random.Random(seed), seconds, numbers)
        soaked = _Soak(pipeline, world, planned, seed, seconds, workers, per_second, tell).run()
        if evidence is not None and any(soaked.problems[each] for each in TWICE):
            world.kafka.keep_files(evidence)
        return soaked


def _slowness(inflicted: list[Inflicted]) -> float:
    """By how long a killed broker took to be there again."""
    outages = (each.ended - each.began for each in inflicted if each.fault is Fault.BROKER)
    return max(1.0, max(outages, default=0.0) / _PROMPT_BROKER_SECONDS)


def unnamed(inflicted: list[Inflicted], log: str) -> Iterator[str]:
    """The faults that no line names, though one that lasts so long must be named."""
    offset = time.time() - time.monotonic()
    said: dict[str, list[float]] = defaultdict(list)
    for line in log.splitlines():
        stamp, _, rest = line.partition(" ")
        words = rest.split(" ", 3)
        if len(words) >= 3 and stamp.endswith("Z"):
            with contextlib.suppress(ValueError):
                name = AIOKAFKA if words[1].startswith(AIOKAFKA) else words[2]
                said[name].append(datetime.fromisoformat(stamp).timestamp() - offset)
    slowness = _slowness(inflicted)
    for each in inflicted:
        named = NAMED.get(each.fault)
        if named is None or NOTHING_TO_STRIKE in each.victim or each.ended - each.began < named.seconds:
            continue
        until = each.ended + slowness * _NAMED_SECONDS
        if not any(each.began - 1 <= at <= until for event in named.events for at in said[event]):
            at = datetime.fromtimestamp(each.began + offset, UTC).isoformat(timespec="seconds")
            yield f"{each.fault} ({each.victim}) at {at}: none of {', '.join(sorted(named.events))}"


TWICE: Final = ("commands twice for read_committed", "grants twice")
"""What a transaction rules out."""

_SETTINGS: Final = {"session_timeout_seconds": str(SESSION_SECONDS)}


class _Soak:
    def __init__(
        self,
        pipeline: Pipeline,
        world: World,
        planned: list[Planned],
        seed: int,
        seconds: float,
        workers: int,
        per_second: float,
        tell: Tell,
    ) -> None:
        self._pipeline, self._seed, self._seconds, self._tell = pipeline, seed, seconds, tell
        self._watch = Watch(world.kafka.client_settings(), f"{pipeline.name}.")
        self._load = Load(pipeline, self._watch, random.Random(seed), per_second)
        guest = Worker("guest", pipeline, {})
        self._workers = crew(pipeline, pipeline.home, workers)
        self._chaos = Chaos(planned, self._workers, guest, world, self._load, seed)
        self._crew = [*self._workers, guest]
        self._begun = time.monotonic()

    def run(self) -> Soaked:
        for worker in self._workers:
            worker.start()
        if not self._go_on("start", lambda: bool(self._watch.commanded), _START_SECONDS):
            raise ServiceFailed(f"nobody was asked in {_START_SECONDS:g} s\n{self._pipeline.log()[-4000:]}")
        quiet = min(_UNDISTURBED_SECONDS, self._seconds / 4)
        begun = time.monotonic()
        self._go_on("undisturbed", lambda: False, quiet)
        undisturbed = self._silence(begun, time.monotonic(), time.monotonic())
        with self._chaos:
            self._go_on("faults", lambda: self._chaos.is_over, self._seconds + _TO_REST_SECONDS)
        end_of_faults = time.monotonic()
        self._go_on("recovery", lambda: False, quiet)
        inflicted = sorted(self._chaos.inflicted, key=lambda each: each.began)
        ends, horizon = [*(each.began for each in inflicted[1:]), end_of_faults], time.monotonic()
        silences = [self._silence(each.began, end, horizon) for each, end in zip(inflicted, ends, strict=True)]
        if any(each.fault is Fault.SMALL_RECORDS for each in inflicted):
            # As an operator does once every worker knows that its records may be large again: within seconds.
            self._pipeline.run_command("deadletters", "replay", "--stage", "decide")
        unfinished = self._come_to_rest(_TO_REST_SECONDS * _slowness(inflicted))
        until = self._pipeline.now()
        for worker in self._crew:
            worker.terminate()
        self._load.close()
        self._watch.close()
        policy = parse_policy(self._pipeline.policy_file.read_bytes())
        self._say("audit")
        audited = audit(Settings.model_validate(self._pipeline.settings), [policy], uncommitted=True)
        self._say("judgement")
        records = self._records(until)
        judge = Judge(records, policy)
        return Soaked(
            seed=self._seed,
            seconds=self._seconds,
            workers=len(self._workers),
            inflicted=inflicted,
            unnamed=list(unnamed(inflicted, self._pipeline.log())),
            silences=silences,
            undisturbed=undisturbed,
            exits=[each for worker in self._crew for each in worker.exits],
            starts=sum(worker.starts for worker in self._crew),
            refused=[*self._load.refused, *sorted(self._load.sent - self._load.acknowledged)],
            unfinished=unfinished,
            records=records,
            judge=judge,
            verdict=judge.verdict(records),
            audited=audited,
        )

    def _come_to_rest(self, seconds: float) -> list[str]:
        """Let the stories end, and then all that follows from them; what does not."""
        self._go_on("rest", lambda: self._load.is_over, seconds, more=False)
        if self._go_on("rest", lambda: self._watch.is_still(_REST_SECONDS), seconds, more=False):
            return self._load.unfinished
        return [*self._load.unfinished, "something goes on for ever"]

    def _go_on(self, phase: str, is_over: Callable[[], bool], seconds: float, *, more: bool = True) -> bool:
        """Load, watch and supervise until it is over, which is the result, or for so many seconds."""
        deadline = time.monotonic() + seconds
        while not is_over() and time.monotonic() < deadline:
            self._watch.look()
            self._load.tick(more=more)
            for worker in self._crew:
                worker.keep_alive()
            self._say(phase)
        return is_over()

    def _say(self, phase: str) -> None:
        self._tell(
            Progress(
                phase=phase,
                seconds=time.monotonic() - self._begun,
                events=len(self._load.acknowledged),
                asks=len(self._watch.commanded),
                faults=len(self._chaos.inflicted),
                of=self._chaos.planned,
                under_way=", ".join(sorted(self._chaos.under_way)),
            )
        )

    def _silence(self, begin: float, end: float, horizon: float) -> Silence:
        return Silence(
            self._watch.longest_silence("referral-decisions", begin, end, horizon),
            self._watch.longest_silence("referral-asks", begin, end, horizon),
        )

    def _records(self, until: int) -> SoakRecords:
        pipeline = self._pipeline
        return SoakRecords(
            until=until,
            groups=self._load.groups,
            acknowledged=self._load.acknowledged,
            junk=self._load.junk,
            events=pipeline.read("customer-events"),
            requests=pipeline.read("ledger-requests"),
            asks=pipeline.asks(),
            uncommitted=pipeline.read("referral-asks", "read_uncommitted"),
            decisions=pipeline.decisions(),
            letters=[each for each in pipeline.read("dead-letters") if replayed(each) is None],
            followups=pipeline.read("referral-followups"),
            rewards=pipeline.read("referral-rewards"),
            kept=pipeline.read("referral-records"),
            customers=pipeline.changelog("customers"),
            wakeups=pipeline.changelog("wakeups"),
        )
