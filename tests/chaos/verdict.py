"""What a soak left behind, and what is wrong with it. Every comparison is with something of another origin.

1. Every event that the broker confirmed to the producer is on `customer-events` (a switch on `ledger-requests`, an
   unreadable payload on `dead-letters`).
2. The commands that a reader with read_committed sees are those of the naive oracle (`tests/oracle`), each once. The
   oracle is another program, written from the specification alone; it gets the facts that arrived, each at its arrival
   stamp, and fires every wake-up at its exact instant with a ledger that answers at once. The live pipeline comes to
   the same set although it was late, for three reasons: the windows are longer than any outage, so what is late is
   still asked; what answers a decision was published after that decision was seen (`load`); and whoever shares a cap
   with others is triggered after them. What is left is a fact that was on its way while an ask became due: the oracle
   has asked by then, and the pipeline, held up, rightly takes the fact into account. A group is *overtaken* if that
   happened: a fact of it arrived after the oracle's ask was due and not after the live decision. Only such a group may
   differ; they are counted, and comparison 3 holds for them as for all. An ask that a live decision announces is there,
   whoever was overtaken. And a customer with two reasons to be asked,
   for the better of which the ledger gave no answer, may be *asked for the other*: once all the same.
3. A replay of the recorded log, wake-ups and ledger answers as they are, gives the live commands, decisions and
   requests, byte for byte and in the same order per customer.
4. The changelogs hold what that replay ends with: every state with its mark, and a wake-up for whoever waits.
5. Nobody is asked who opted out, was erased or is in trouble under another id, by an address or an object
   (`identities`), whoever was overtaken by what.
6. No command id has two bodies, not even for a reader that sees aborted transactions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import decode_state, decode_wakeup
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.entities import Entity
from referral_stream.core.events import FACT_TYPES, WITHOUT_SUBJECT
from referral_stream.core.instants import SECOND, to_datetime
from referral_stream.core.policy import Policy
from referral_stream.replay.recorded_run import ExactReplay
from tests.chaos.identities import NEVER_ASKED
from tests.integration.live import Said, parsed
from tests.integration.scripted import ORACLE_POLICY
from tests.integration.scripted_run import Ask, ScriptedRun, recorded
from tests.oracle.naive import decide
from tests.oracle.world import Result


@dataclass(frozen=True)
class SoakRecords:
    """What the topics held when the workers had stopped, and what the load knows of what it wrote.

    `asks` are for a reader with read_committed, `uncommitted` the records of the same topic for one that reads all.
    `until`: what the clock showed when everything had come to rest.
    """

    until: int
    groups: list[tuple[str, ...]]
    acknowledged: set[str]
    junk: set[bytes]
    events: list[RawRecord]
    requests: list[RawRecord]
    asks: list[Said]
    uncommitted: list[RawRecord]
    decisions: list[Said]
    letters: list[RawRecord]
    customers: Mapping[bytes, bytes]
    wakeups: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Verdict:
    """`counts` what there was; `problems` by what is promised, the offenders: all lists are empty, or it is broken.

    `late_ms`: of every ask, how long after the oracle it was made, ascending.
    """

    counts: dict[str, int]
    problems: dict[str, list[str]]
    late_ms: list[int]

    @property
    def is_sound(self) -> bool:
        return not any(self.problems.values())


def judge(soak: SoakRecords, policy: Policy) -> Verdict:
    """Make all comparisons of this module's docstring."""
    run = ScriptedRun(soak.events, soak.asks, soak.decisions, _expected(soak))
    overtaken = _overtaken(soak, run)
    asked, expected = run.asked(), run.expected_asks()
    cancelled = _cancelled_for_good(soak), _cancelled(run.expected)
    of_replay, replay = _replayed(soak, policy)
    lost, unexpected = _either_way(expected, asked)
    asked_for_another = _asked_for_another(soak, policy, lost, unexpected)
    excused = overtaken | asked_for_another

    def not_excused(asks: Iterable[Ask]) -> list[str]:
        return [_shown(ask) for ask in asks if ask.customer not in excused]

    commands = [each for each in soak.asks if isinstance(each.effect, AskRequested)]
    customer_of = {ask.command: ask.customer for ask in (*asked, *expected)}
    decided = [each.effect for each in soak.decisions if isinstance(each.effect, Decision)]
    problems = {
        "events lost": _lost(soak),
        "asks lost": [*not_excused(lost), *_decided_but_not_made(decided, asked)],
        "asks nobody should have been asked": not_excused(unexpected),
        "asked against their word": [_shown(ask) for ask in asked if must_not_be_asked(ask.customer)],
        "asks before they were due": [
            f"{_shown(ask)} {due - asked[ask]} ms early" for ask, due in expected.items() if asked.get(ask, due) < due
        ],
        "cancellations that differ": sorted(
            command for command in cancelled[0] ^ cancelled[1] if customer_of.get(command) not in excused
        ),
        "commands twice for read_committed": _twice(each.record for each in commands),
        "commands with two bodies": _two_bodies([*(each.record for each in soak.asks), *soak.uncommitted]),
        "outputs that a replay does not make": of_replay,
        "states that a fold does not give": list(_wrong_states(soak, replay)),
        "wake-ups that do not fit the state": list(_wrong_wakeups(soak, replay)),
    }
    counts = {
        "customers": len({name for group in soak.groups for name in group}),
        "events acknowledged": len(soak.acknowledged),
        "records on customer-events": len(soak.events),
        "facts that arrived more than once": _repeated(_id(each) for each in soak.events if is_fact(each)),
        "asks": len(commands),
        "asks cancelled": len(cancelled[0]),
        "customers who must not be asked": sum(must_not_be_asked(name) for group in soak.groups for name in group),
        "decisions": len(decided),
        "held out": sum(each.outcome == "holdout" for each in decided),
        "held up by the ledger's absence": sum(map(_without_ledger, soak.decisions)),
        "held up by a pause": sum(any(r.gate == "paused" and r.answer != "pass" for r in d.reasons) for d in decided),
        "commands that only read_uncommitted sees again": len(
            [each for each in soak.uncommitted if parsed(each).get("type") == "referral.ask.requested"]
        )
        - len(commands),
        "customers that a fact overtook": len(overtaken),
        "of them with another result than the oracle's": len(
            {ask.customer for ask in (*lost, *unexpected)} & overtaken
        ),
        "customers asked for their other reason while the ledger was away": len(asked_for_another),
    }
    late = sorted(asked[ask] - due for ask, due in expected.items() if ask in asked)
    return Verdict(counts, problems, late)


# The oracle


def _expected(soak: SoakRecords) -> Result:
    """What the oracle decides, group by group: nothing binds one to another, and it is slow with many at once."""
    number = {name: place for place, group in enumerate(soak.groups) for name in group}
    logs: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for fact in recorded(each for each in soak.events if is_fact(each)):
        customer = fact["value"].get("subject", "")
        if not must_not_be_asked(customer):  # for whom the oracle would have to know who is meant
            logs[number[customer]].append(fact)
    whole = Result()
    for log in logs.values():
        part = decide(log, to_datetime(soak.until), ORACLE_POLICY)
        whole.asks += part.asks
        whole.decisions += part.decisions
    return whole


def _overtaken(soak: SoakRecords, run: ScriptedRun) -> set[str]:
    """The customers of whose group a fact arrived after an ask was due by the oracle and not after the live decision.

    An ask that was not made was decided against when the last decision about its opportunity was made. Without that
    bound, whatever a customer does later would excuse an ask that got lost.
    """
    group_of = {name: group for group in soak.groups for name in group}
    arrivals: dict[str, list[int]] = defaultdict(list)
    for record in soak.events:
        if is_fact(record):
            arrivals[(record.key or b"").decode()].append(int(record.header("now") or 0))
    made = {ask.command: at for ask, at in run.asked().items()}
    decided = {each.effect.opportunity_id: each.now for each in soak.decisions if isinstance(each.effect, Decision)}
    found: set[str] = set()
    for ask, due in run.expected_asks().items():
        group, at = group_of[ask.customer], made.get(ask.command, decided.get(ask.opportunity, due))
        if any(due < arrived <= at for name in group for arrived in arrivals[name]):
            found |= set(group)
    return found


def must_not_be_asked(customer: str) -> bool:
    """Whether they said no, or are in trouble, under another id, by their address or an object; or nobody is named."""
    return customer == "" or customer.startswith(NEVER_ASKED)


def _decided_but_not_made(decided: Iterable[Decision], asked: Iterable[Ask]) -> list[str]:
    """Commands of which a live decision says that they were given; nothing excuses their absence."""
    made = {ask.command for ask in asked}
    missing = (each for each in decided if each.outcome in ("asked", "soft") and each.command_id not in made)
    return [
        f"{each.customer_id} {each.trigger} {each.subject} {each.command_id}: decided, not made" for each in missing
    ]


def _asked_for_another(soak: SoakRecords, policy: Policy, lost: list[Ask], unexpected: list[Ask]) -> set[str]:
    """Customers who got one ask in the place of another, for which the ledger was asked but did not answer in time."""
    requested: dict[str, int] = {}
    answered: dict[str, int] = {}
    for records, kind, at in (
        (soak.requests, "reservation.requested", requested),
        (soak.events, "reservation.granted", answered),
    ):
        for record in records:
            body = parsed(record)
            if body["type"] == kind:
                at.setdefault(body["data"]["command_id"], int(record.header("now") or 0))
    in_time = {
        command
        for command, now in answered.items()
        if command in requested and now < requested[command] + policy.ledger.answer_seconds * SECOND
    }
    missed, instead = (Counter(ask.customer for ask in asks) for asks in (lost, unexpected))
    return {
        ask.customer
        for ask in lost
        if ask.command in requested.keys() - in_time and missed[ask.customer] == instead[ask.customer] == 1
    }


def _without_ledger(decision: Said) -> bool:
    return b"ledger_unavailable" in (decision.record.value or b"")


def _cancelled_for_good(soak: SoakRecords) -> set[str]:
    """The ids of the commands taken back, without those that a pause took back: the oracle gets no switches."""
    effects = (each.effect for each in soak.asks)
    return {each.command_id for each in effects if isinstance(each, AskCancelled) and each.gate != "paused"}


def _cancelled(expected: Result) -> set[str]:
    return {row["data"]["command_id"] for row in expected.asks if row["type"] == "referral.ask.cancelled"}


def _either_way(expected: Mapping[Ask, int], made: Mapping[Ask, int]) -> tuple[list[Ask], list[Ask]]:
    return [ask for ask in expected if ask not in made], [ask for ask in made if ask not in expected]


def _shown(ask: Ask) -> str:
    return f"{ask.customer} {ask.trigger} {ask.subject} {ask.mode} {','.join(ask.channels)} {ask.command}"


# The replay


def _replayed(soak: SoakRecords, policy: Policy) -> tuple[list[str], ExactReplay]:
    """Customers whose outputs are not those of a replay, and that replay."""
    replay = ExactReplay(policy)
    made: dict[str, list[bytes]] = defaultdict(list)
    for effects in replay.run(soak.events):
        for now, effect in effects:
            made[_stream(effect, effect.customer_id)].append(encode_effect(effect, now))
    live: dict[str, list[bytes]] = defaultdict(list)
    for said in (*soak.asks, *soak.decisions):
        live[_stream(said.effect, said.effect.customer_id)].append(said.record.value or b"")
    for record in soak.requests:
        body = parsed(record)
        if not body["type"].startswith(("control.", "reservation.held", "ledger.renewed")):  # not the decide agent's
            live[f"requests of {body['data']['customer_id']}"].append(record.value or b"")
    differing = [_first_difference(name, live[name], made[name]) for name in sorted(live.keys() | made.keys())]
    return [each for each in differing if each], replay


def _stream(effect: object, customer: str) -> str:
    match effect:
        case AskRequested() | AskCancelled():
            return f"commands of {customer}"
        case Decision():
            return f"decisions of {customer}"
        case _:
            return f"requests of {customer}"


def _first_difference(name: str, live: list[bytes], made: list[bytes]) -> str:
    """Empty where there is none."""
    if live == made:
        return ""
    place = next(
        (n for n, pair in enumerate(zip(live, made, strict=False)) if pair[0] != pair[1]), min(len(live), len(made))
    )
    shown = [(values[place] if place < len(values) else b"nothing").decode() for values in (live, made)]
    return f"{name}: {len(live)} live, {len(made)} replayed; number {place} is {shown[0]}, replayed {shown[1]}"


def _wrong_states(soak: SoakRecords, replay: ExactReplay) -> Iterator[str]:
    marks = {(each.key or b"").decode(): (each.partition, each.offset + 1) for each in soak.events}
    stored = {key.decode(): decode_state(value) for key, value in soak.customers.items()}
    states = replay.by_key
    for name in sorted(stored.keys() | states.keys()):
        here = f"{name} customer-events-{marks[name][0]}@{marks[name][1] - 1}" if name in marks else name
        if name not in stored or name not in states:
            yield f"{here}: {'not in the log' if name in stored else 'no state'}"
        elif stored[name].mark != marks[name][1]:
            yield f"{here}: mark {stored[name].mark}"
        elif stored[name].entity != states[name] and _plain(stored[name].entity) != _plain(states[name]):
            yield f"{here}: another state"


def _plain(entity: Entity) -> str:
    """The state without the deployment's name: a link's names the topic of what waits there."""
    return _DEPLOYMENT.sub("", repr(entity))


_DEPLOYMENT = re.compile(r"live-[0-9a-f]{8}\.")


def _wrong_wakeups(soak: SoakRecords, replay: ExactReplay) -> Iterator[str]:
    kept = {key.decode(): decode_wakeup(value).due for key, value in soak.wakeups.items()}
    states = replay.by_key
    for name in sorted(kept.keys() | states.keys()):
        due = states[name].wake_at if name in states else None
        if kept.get(name) != due:
            yield f"{name}: wakes at {due}, kept is {kept.get(name)}"


# Counting


def _lost(soak: SoakRecords) -> list[str]:
    arrived = {_id(record) for record in (*soak.events, *soak.requests)}
    unreadable = {record.value for record in soak.letters}
    lost_junk = [value.decode() for value in soak.junk if value not in unreadable]
    return sorted(soak.acknowledged - arrived) + sorted(lost_junk)


def _twice(commands: Iterable[RawRecord]) -> list[str]:
    places: dict[str, list[str]] = defaultdict(list)
    for record in commands:
        places[parsed(record)["data"]["command_id"]].append(_place(record))
    return [f"{command} at {', '.join(found)}" for command, found in places.items() if len(found) > 1]


def _two_bodies(asks: Iterable[RawRecord]) -> list[str]:
    bodies: dict[str, dict[bytes, str]] = defaultdict(dict)
    for record in asks:
        bodies[_id(record)].setdefault(record.value or b"", _place(record))
    return [f"{name} at {', '.join(found.values())}" for name, found in bodies.items() if len(found) > 1]


def _place(record: RawRecord) -> str:
    return f"{record.topic}-{record.partition}@{record.offset}"


def _id(record: RawRecord) -> str:
    return str(parsed(record).get("id"))


def is_fact(record: RawRecord) -> bool:
    """Whether a producer said it: not what entities passed on, nor a switch that the ledger did."""
    body = parsed(record)
    return body.get("type") in FACT_TYPES and body["type"] not in WITHOUT_SUBJECT and "via" not in body


def _repeated(ids: Iterable[str]) -> int:
    counted = Counter(ids)
    return sum(counted.values()) - len(counted)
