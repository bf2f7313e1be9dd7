"""Where a group's commands are not the oracle's: what excuses that, each excuse with its customer, instant and fact.

The oracle asks the moment an ask is due; the pipeline, held up by a fault, decides later and knows more by then. So a
difference is put to the test: the oracle is told again what the pipeline knew when it decided,

- the facts that arrived after the ask was due and not after the live decision, as if they had been there in time; or
- that the ledger gave no answer for that trigger, if the log shows it: an answer that says so, or none in time,

and only if its commands then are nearer to the live ones is that an excuse. Whatever still differs in the end is wrong.
A customer on hold is not asked, and what was asked is taken back: there the excuse is the dead letter, and it covers
nothing that was asked too much.

No excuse is for a whole group or customer: a missing ask needs a fact that forbids it, and one too many a fact that
allows it. An ask that a live decision announces must be there, whatever else happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from referral_stream.contracts.deadletters import failure
from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.events import FACT_TYPES, OPERATORS, WITHOUT_SUBJECT
from referral_stream.core.instants import parse_instant, rfc3339, to_datetime
from tests.chaos.afterwards import SOAK_ORACLE_POLICY
from tests.chaos.followed import names_of
from tests.chaos.identities import must_not_be_asked
from tests.integration.live import Said, parsed
from tests.integration.scripted_run import Ask, ask_of_effect, ask_of_row
from tests.oracle.naive import decide

Fact: TypeAlias = dict[str, Any]
"""As the oracle reads it, stamped with its arrival."""


class Early(NamedTuple):
    """Told in time: what arrived after ``due`` (epoch ms) and not after ``decided`` arrives at ``due``."""

    due: int
    decided: int


class Unanswered(NamedTuple):
    """From ``due`` on the ledger grants nothing for this trigger."""

    due: int
    trigger: str


class Held(NamedTuple):
    """On hold from ``at`` on, for one of the customer's own events is missing: nothing to tell the oracle."""

    at: int


class Otherwise(NamedTuple):
    """Asked at ``at`` in another way: a fact came while the ledger was asked. The oracle asks it and hears at once."""

    at: int


Telling: TypeAlias = Early | Unanswered

GIVEN: Final = ("asked", "soft")
"""Outcomes that announce a command."""


@dataclass(frozen=True)
class Excuse:
    """``facts``: the ids of the events, or when the ledger was silent; ``decided``: when the pipeline did."""

    customer: str
    command: str
    due: int
    decided: int
    facts: tuple[str, ...]
    why: Telling | Held | Otherwise

    def __str__(self) -> str:
        told = ", ".join(self.facts)
        return f"{self.customer} {self.command}: due {rfc3339(self.due)}, decided {rfc3339(self.decided)}, {told}"


@dataclass(frozen=True)
class Commands:
    """What was asked, with the instant of each ask, and the ids of the commands that were taken back for good.

    ``followed``: what the oracle makes follow them; ``held_out``: by opportunity who was due, and not asked for the
    comparison's sake, and when.
    """

    asks: Mapping[Ask, int]
    cancelled: frozenset[str]
    followed: frozenset[str] = frozenset()
    held_out: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def differs(self, other: Commands) -> int:
        return len(self.asks.keys() ^ other.asks.keys()) + len(self.cancelled ^ other.cancelled)


@dataclass(frozen=True)
class Live:
    """What the pipeline did about one group. ``decisions`` are by opportunity, in their order."""

    commands: Commands
    decisions: Mapping[str, Sequence[Said]] = field(default_factory=dict)

    def decided(self, ask: Ask, due: int) -> list[int]:
        """When the pipeline, from ``due`` on, settled what becomes of it: asked, perhaps in another way, or not.

        Where a decision announces the ask and there is none, nothing did.
        """
        at = [now for each, now in self.commands.asks.items() if each.command == ask.command]
        made = self.decisions.get(ask.opportunity, ())
        if not at and self.announces(ask):
            return []
        return sorted({now for now in at or (each.now for each in made) if now >= due})

    def announces(self, ask: Ask) -> bool:
        """Whether a decision says that it was given."""
        return any(announces(each, ask.command) for each in self.decisions.get(ask.opportunity, ()))


@dataclass(frozen=True)
class Compared:
    """``expected``: the oracle's commands, told what the ``excuses`` say. Everything else is a difference.

    ``due``: the earliest instant of each. ``forbidden``: late asks that a fact forbade which had come by then.
    """

    live: Live
    due: Mapping[Ask, int]
    expected: Commands
    excuses: tuple[Excuse, ...]
    forbidden: tuple[Ask, ...]

    @property
    def lost(self) -> list[Ask]:
        return [ask for ask in self.expected.asks if ask not in self.live.commands.asks]

    @property
    def announced(self) -> list[str]:
        """The commands that a live decision says were given, and that are not there: nothing excuses that."""
        made = {ask.command for ask in self.live.commands.asks}
        said = [each.effect for decisions in self.live.decisions.values() for each in decisions]
        given = [each for each in said if isinstance(each, Decision) and each.outcome in GIVEN]
        return [f"{each.customer_id} {each.command_id}" for each in given if each.command_id not in made]

    @property
    def unexpected(self) -> list[Ask]:
        asks = self.live.commands.asks
        return list(dict.fromkeys((*(ask for ask in asks if ask not in self.expected.asks), *self.forbidden)))

    @property
    def cancellations(self) -> list[str]:
        """The commands taken back here and not there."""
        return sorted(self.live.commands.cancelled ^ self.expected.cancelled)

    @property
    def early(self) -> list[tuple[Ask, int]]:
        """Asks made before they were due, and by how many ms."""
        made = self.live.commands.asks
        return [(ask, due - made[ask]) for ask, due in self.due.items() if made.get(ask, due) < due]

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.announced or self.unexpected or self.cancellations or self.early)

    @property
    def late_ms(self) -> list[int]:
        made = self.live.commands.asks
        return [made[ask] - due for ask, due in self.due.items() if ask in made]


class Oracle:
    """What the oracle makes of each group's facts: nothing binds one to another, and it is slow with many at once."""

    def __init__(
        self,
        events: Sequence[RawRecord],
        requests: Iterable[RawRecord],
        groups: Sequence[tuple[str, ...]],
        until: int,
        answer_ms: int,
        letters: Iterable[RawRecord] = (),
    ) -> None:
        self._until = until
        self.holds = _holds(letters)
        """By customer, since when they were on hold, and the id of the dead letter because of which."""
        self._silent = _silences(events, requests, answer_ms)
        number = {name: place for place, group in enumerate(groups) for name in group}
        self._facts: dict[int, list[Fact]] = defaultdict(list)
        for fact in _facts(events):
            customer = fact["value"].get("subject", "")
            if not must_not_be_asked(customer):  # for whom the oracle would have to know who is meant
                self._facts[number[customer]].append(fact)
        self._commands = cache(self._decide)

    def compare(self, group: int, live: Live) -> Compared:
        """As this module's docstring says."""
        excuses: tuple[Excuse, ...] = ()
        expected = self._told(group, excuses)
        due = dict(expected.asks)
        while further := self._nearer(group, excuses, live):
            excuses += further
            expected = self._told(group, excuses)
            due = {ask: min(at, due.get(ask, at)) for ask, at in expected.asks.items()}
        forbidden = tuple(self._forbidden(group, excuses, live))
        held = (*self._on_hold(expected, live), *self._not_held_out(expected, live))
        of_held = {excuse.command for excuse in held}
        made = live.commands.asks
        # In the place of one who is on hold, an account's other contact may be asked: one for each, and later.
        since = min((excuse.decided for excuse in held), default=self._until)
        missed = {excuse.customer for excuse in held}
        others = [ask for ask, at in made.items() if ask.customer not in missed and at >= since]
        instead = [ask for ask in others if ask not in expected.asks][: len(held)]
        otherwise = dict(self._otherwise(group, expected, live))
        of_others = {excuse.command for excuse in otherwise.values()}
        held = (*held, *otherwise.values())
        expected = Commands(
            {ask: at for ask, at in expected.asks.items() if ask in made or ask.command not in of_held | of_others}
            | {ask: made[ask] for ask in (*instead, *otherwise)},
            expected.cancelled | (of_held & live.commands.cancelled),
            expected.followed,
        )
        return Compared(live, due, expected, (*excuses, *held), forbidden)

    def _on_hold(self, expected: Commands, live: Live) -> Iterator[Excuse]:
        """For asks that were not made, or were taken back, while their customer was on hold."""
        back = live.commands.cancelled - expected.cancelled
        for ask, due in expected.asks.items():
            missing = ask not in live.commands.asks and not live.announces(ask)
            if ask.customer in self.holds and (missing or ask.command in back):
                at, letter = self.holds[ask.customer]
                yield Excuse(ask.customer, ask.command, due, at, (letter,), Held(at))

    def _not_held_out(self, expected: Commands, live: Live) -> Iterator[Excuse]:
        """For who would have been held out, and used up what they share, had they not been on hold."""
        for opportunity, (customer, due) in expected.held_out.items():
            decisions = [each.effect for each in live.decisions.get(opportunity, ())]
            seen = any(isinstance(each, Decision) and each.outcome == "holdout" for each in decisions)
            if customer in self.holds and not seen:
                at, letter = self.holds[customer]
                yield Excuse(customer, f"holdout of {opportunity}", due, at, (letter,), Held(at))

    def _otherwise(self, group: int, expected: Commands, live: Live) -> Iterator[tuple[Ask, Excuse]]:
        """Asks of the oracle that were made in another mode or on other channels, because of facts in between."""
        made = {ask.command: (ask, at) for ask, at in live.commands.asks.items() if ask not in expected.asks}
        for ask, due in expected.asks.items():
            if ask.command in made and ask not in live.commands.asks:
                instead, at = made[ask.command]
                for excuse in self._by_facts(group, ask, due, [at]):
                    yield instead, replace(excuse, why=Otherwise(at))

    def _forbidden(self, group: int, excuses: tuple[Excuse, ...], live: Live) -> Iterator[Ask]:
        for ask, due in self._told(group, excuses).asks.items():
            made = live.commands.asks.get(ask, 0)
            for excuse in self._by_facts(group, ask, due, [made]):
                after = self._told(group, (*excuses, excuse)).asks
                if ask.command not in {each.command for each in after}:
                    yield ask

    def _nearer(self, group: int, excuses: tuple[Excuse, ...], live: Live) -> tuple[Excuse, ...]:
        """As few more as it takes to come nearer to what was done; none if nothing differs, or nothing excuses it."""
        differs = self._told(group, excuses).differs(live.commands)
        tried: list[tuple[Excuse, ...]] = [()]
        for _ in range(_TOGETHER if differs else 0):
            tried = [
                (*before, more)
                for before in tried
                for more in self._excuses(group, self._told(group, (*excuses, *before)), live)
                if more not in before
            ]
            for further in tried:
                if self._told(group, (*excuses, *further)).differs(live.commands) < differs:
                    return further
        return ()

    def _told(self, group: int, excuses: tuple[Excuse, ...]) -> Commands:
        return self._commands(group, tuple(each.why for each in excuses if not isinstance(each.why, (Held, Otherwise))))

    def _excuses(self, group: int, expected: Commands, live: Live) -> Iterator[Excuse]:
        """What might explain a difference, the first ask first."""
        cancelled = expected.cancelled ^ live.commands.cancelled
        differing = [
            (due, ask)
            for ask, due in expected.asks.items()
            if ask not in live.commands.asks or ask.command in cancelled
        ]
        for due, ask in sorted(differing, key=lambda each: each[0]):
            yield from self._by_facts(group, ask, due, live.decided(ask, due))
            # Its silence alone forbids nothing: it may put another of the customer's asks in the place of this one.
            instead = [
                made
                for other, made in live.commands.asks.items()
                if other.customer == ask.customer and other not in expected.asks
            ]
            silent = [at for at in self._silent[ask.command] if due <= at <= max(instead, default=0)]
            if silent and live.decided(ask, due):
                named = tuple(f"no answer of the ledger at {rfc3339(at)}" for at in silent)
                yield Excuse(ask.customer, ask.command, due, silent[0], named, Unanswered(due, ask.trigger))

    def _by_facts(self, group: int, ask: Ask, due: int, decided: Iterable[int]) -> Iterator[Excuse]:
        """The facts between the oracle's instant and each of these, if there are any."""
        for instant in decided:
            facts = [each for each in self._facts[group] if due < each["timestamp"] <= instant]
            if facts:
                ids = tuple(str(each["value"]["id"]) for each in facts)
                yield Excuse(ask.customer, ask.command, due, instant, ids, Early(due, instant))

    def _decide(self, group: int, told: tuple[Telling, ...]) -> Commands:
        log = list(self._facts[group])
        for telling in told:
            log = _told(log, telling)
        result = decide(log, to_datetime(self._until), SOAK_ORACLE_POLICY)
        rows = result.asks
        asks = dict(ask_of_row(row) for row in rows if row["type"] == "referral.ask.requested")
        cancelled = {row["data"]["command_id"] for row in rows if row["type"] == "referral.ask.cancelled"}
        held_out = {
            row["data"]["opportunity_id"]: (row["data"]["customer_id"], parse_instant(row["data"]["decided_at"])[0])
            for row in result.decisions
            if row["data"]["outcome"] == "holdout"
        }
        return Commands(asks, frozenset(cancelled), names_of([*result.followups, *result.rewards]), held_out)


def lives(groups: Sequence[tuple[str, ...]], asks: Iterable[Said], decisions: Iterable[Said]) -> list[Live]:
    """What the pipeline did about each group; commands for customers of none are of the last, which is nobody's."""
    number = {name: place for place, group in enumerate(groups) for name in group}
    asked: list[dict[Ask, int]] = [{} for _ in range(len(groups) + 1)]
    cancelled: list[set[str]] = [set() for _ in range(len(groups) + 1)]
    decided: list[dict[str, list[Said]]] = [defaultdict(list) for _ in range(len(groups) + 1)]
    for each in (*asks, *decisions):
        place = number.get(each.effect.customer_id, -1)
        match each.effect:
            case AskRequested():
                asked[place][ask_of_effect(each.effect)] = each.now
            case AskCancelled() if each.effect.gate != "paused":  # the oracle gets no switches
                cancelled[place].add(each.effect.command_id)
            case Decision():
                decided[place][each.effect.opportunity_id].append(each)
            case _:
                pass
    made = zip(asked, cancelled, decided, strict=True)
    return [Live(Commands(asks, frozenset(back)), why) for asks, back, why in made]


def announces(decision: Said, command: str) -> bool:
    """Whether it says that this command was given."""
    effect = decision.effect
    return isinstance(effect, Decision) and effect.outcome in GIVEN and effect.command_id == command


def without_ledger(decision: Said) -> bool:
    return b"ledger_unavailable" in (decision.record.value or b"")


def is_fact(record: RawRecord) -> bool:
    """Whether a producer said it: not what entities passed on, nor a switch that the ledger did."""
    body = parsed(record)
    return body.get("type") in FACT_TYPES and body["type"] not in WITHOUT_SUBJECT and "via" not in body


_HOLDS: Final = ("fault", "state_too_large")
_TOGETHER: Final = 2
"""A fact may matter only because the ledger was silent, and the other way round."""


def _topic(body: Mapping[str, Any]) -> str:
    """The oracle takes operators' words from the topic that is theirs alone; ingest has seen to that here."""
    return "responses" if body["type"] in OPERATORS else "customer-events"


def _facts(events: Iterable[RawRecord]) -> list[Fact]:
    """The facts, each stamped with the instant at which its customer saw it, in the order of these.

    One that lies behind the ledger's answer came after it, whatever its own stamp says.
    """
    seen: dict[bytes, int] = {}
    found = []
    for record in events:
        key, body = record.key or b"", parsed(record)
        now = seen[key] = max(int(record.header("now") or 0), seen.get(key, 0))
        if is_fact(record):
            headers = {"historical": "true"} if record.historical else {}
            found.append({"topic": _topic(body), "timestamp": now, "value": body, "headers": headers})
        elif body.get("type") == "reservation.granted":
            seen[key] += 1
    return sorted(found, key=lambda each: int(each["timestamp"]))


def _silences(
    events: Iterable[RawRecord], requests: Iterable[RawRecord], answer_ms: int
) -> Mapping[str, Sequence[int]]:
    """By command, when the ledger said that it could not answer, or its time to do so was over."""
    silent: dict[str, list[int]] = defaultdict(list)
    answered: dict[str, list[int]] = defaultdict(list)
    for record in events:
        body = parsed(record)
        if str(body.get("type")).startswith("reservation."):
            kind = silent if body["type"] == "reservation.unavailable" else answered
            kind[body["data"]["command_id"]].append(int(record.header("now") or 0))
    for record in requests:
        body = parsed(record)
        if body.get("type") == "reservation.requested":
            command, asked = body["data"]["command_id"], int(record.header("now") or 0)
            if not any(asked <= at < asked + answer_ms for at in answered[command]):
                silent[command].append(asked + answer_ms)
    return silent


def _holds(letters: Iterable[RawRecord]) -> Mapping[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    for letter in letters:
        why = failure(letter)
        if why.stage == "decide" and why.error.partition(":")[0] in _HOLDS:
            found.setdefault((letter.key or b"").decode("utf-8", "replace"), (why.occurred_at, why.id))
    return found


def _told(log: list[Fact], telling: Telling) -> list[Fact]:
    match telling:
        case Early(due, decided):
            log = [each | {"timestamp": due} if due < each["timestamp"] <= decided else each for each in log]
        case Unanswered(due, trigger):
            pause = {
                "id": f"unanswered-{trigger}",
                "specversion": "1.0",
                "source": "the judge",
                "type": "control.paused",
                "time": rfc3339(due),
                "data": {"scope": "trigger", "name": trigger, "by": "the judge", "why": "the ledger did not answer"},
            }
            log = [{"topic": "responses", "timestamp": due, "value": pause, "headers": {}}, *log]
    return sorted(log, key=lambda each: int(each["timestamp"]))
