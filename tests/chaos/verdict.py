"""What a soak left behind, and what is wrong with it. Every comparison is with something of another origin.

1. Every event that the broker confirmed to the producer is on `customer-events` (a switch on `ledger-requests`, an
   unreadable payload on `dead-letters`).
2. The commands that a reader with read_committed sees are those of the naive oracle (`tests/oracle`), each once. The
   oracle is another program, written from the specification alone; it gets the facts that arrived, each at its arrival
   stamp, and fires every wake-up at its exact instant with a ledger that answers at once. The live pipeline comes to
   the same set although it was late, for three reasons: the windows are longer than any outage, so what is late is
   still asked; what answers a decision was published after that decision was seen (`load`); and whoever shares a cap
   with others is triggered after them. What is left is a fact that was on its way while an ask became due, and a
   ledger that was away for the better of two reasons: `excuses` says when a difference is excused, and by what.
   Excuses are counted and bounded.
3. A replay of the recorded log, wake-ups and ledger answers as they are, gives the live commands, decisions and
   requests, byte for byte and in the same order per customer.
4. The changelogs hold what that replay ends with: every state with its mark, and a wake-up for whoever waits.
5. Nobody is asked who opted out, was erased or is in trouble under another id, by an address or an object
   (`identities`); no excuse is for them.
6. What follows the asks is in the topics byte for byte as that replay gives it: follow-ups, rewards, the newest record
   of every customer. Where no ask needs an excuse, follow-ups and rewards are the oracle's too, by their ids: but for
   reports, which tell of a reward or not according to how soon the ledger answers. Nobody who said stop is told
   anything after it, and no grant is granted twice.
7. No command id has two bodies, not even for a reader that sees aborted transactions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from referral_stream.contracts.codec import encode_effect
from referral_stream.contracts.left_out import note_of, notes_in
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import Stored, decode_state, decode_wakeup
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.entities import Entity, new_entity
from referral_stream.core.instants import SECOND
from referral_stream.core.policy import Policy
from referral_stream.replay.recorded_run import ExactReplay
from tests.chaos.excuses import (
    Compared,
    Early,
    Excuse,
    Held,
    Oracle,
    Otherwise,
    Unanswered,
    is_fact,
    lives,
    without_ledger,
)
from tests.chaos.followed import (
    Followed,
    after_a_stop,
    differing,
    differing_records,
    granted,
    names_by_customer,
    on_topics,
)
from tests.chaos.identities import must_not_be_asked
from tests.integration.live import Said, parsed
from tests.integration.scripted_run import Ask, ask_of_effect

_HOLD: Final = b'"reason":"an event of this customer could not be applied"'
"""In an ask that is taken back because of a hold."""


@dataclass(frozen=True)
class SoakRecords:
    """What the topics held when the workers had stopped, and what the load knows of what it wrote.

    `junk` is by key and value.
    `asks` are for a reader with read_committed, `uncommitted` the records of the same topic for one that reads all.
    `followups`, `rewards`, and `kept` of `referral-records`, for one with read_committed.
    `until`: what the clock showed when everything had come to rest.
    """

    until: int
    groups: list[tuple[str, ...]]
    acknowledged: set[str]
    junk: set[tuple[bytes | None, bytes | None]]
    events: list[RawRecord]
    requests: list[RawRecord]
    asks: list[Said]
    uncommitted: list[RawRecord]
    decisions: list[Said]
    letters: list[RawRecord]
    followups: list[RawRecord]
    rewards: list[RawRecord]
    kept: list[RawRecord]
    customers: Mapping[bytes, bytes]
    wakeups: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Verdict:
    """`counts` what there was; `problems` by what is promised, the offenders: all lists are empty, or it is broken.

    `late_ms`: of every ask, how long after the oracle it was made, ascending. `excuses`: why some are not the oracle's.
    """

    counts: dict[str, int]
    problems: dict[str, list[str]]
    late_ms: list[int]
    excuses: list[Excuse]

    @property
    def is_sound(self) -> bool:
        return not any(self.problems.values())


class Judge:
    """Makes all comparisons of this module's docstring.

    What follows from the log and its `groups` alone is made once: the rest of the records may then be varied.
    """

    def __init__(self, soak: SoakRecords, policy: Policy) -> None:
        self.oracle = Oracle(
            soak.events, soak.requests, soak.groups, soak.until, policy.ledger.answer_seconds * SECOND, soak.letters
        )
        self._replayed = _replayed(soak.events, policy)

    def compare(self, soak: SoakRecords) -> list[Compared]:
        """The commands of every group with the oracle's."""
        return [self.oracle.compare(*each) for each in enumerate(lives(soak.groups, soak.asks, soak.decisions))]

    def _comparable(self, uncommitted: Sequence[RawRecord]) -> list[RawRecord]:
        """What was undone, without the customers who were on hold in it.

        They were refused with a state that did not fit, and tried again when the limit was another one (docs/audit.md).
        """
        held = {each.key for each in uncommitted if _is_for_a_hold(each)}
        held |= {name.encode() for name in self.oracle.holds}
        return [each for each in uncommitted if each.key not in held]

    def verdict(self, soak: SoakRecords) -> Verdict:
        compared = self.compare(soak)
        commands = [each for each in soak.asks if isinstance(each.effect, AskRequested)]
        decided = [each.effect for each in soak.decisions if isinstance(each.effect, Decision)]
        made, followed, replay = self._replayed
        live = on_topics(soak.followups, soak.rewards, soak.kept)
        told = names_by_customer([*soak.followups, *soak.rewards])
        unheard = _without_answer(soak.requests)
        unlike = [
            each
            for each in _unlike(compared, soak.groups, told, self.oracle.holds.keys())
            if each.rpartition(" ")[2] not in unheard
        ]
        problems = {
            "events lost": _lost(soak),
            "asks lost": [_shown(ask) for group in compared for ask in group.lost],
            "commands announced and not made": [each for group in compared for each in group.announced],
            "asks nobody should have been asked": [_shown(ask) for group in compared for ask in group.unexpected],
            "asked against their word": against_their_word(commands),
            "asks before they were due": [
                f"{_shown(ask)} {ms} ms early" for group in compared for ask, ms in group.early
            ],
            "cancellations that differ": [command for group in compared for command in group.cancellations],
            "commands twice for read_committed": _twice(each.record for each in commands),
            "commands with two bodies": _two_bodies(
                [*(each.record for each in soak.asks), *self._comparable(soak.uncommitted)]
            ),
            "outputs that a replay does not make": [
                *_differing(soak, made),
                *differing(live, followed, "referral-rewards"),
            ],
            "follow-ups lost or made up": [
                *differing(live, followed, "referral-followups"),
                *(each for each in unlike if "follow-up" in each),
            ],
            "grants lost": [
                *(granted(followed) - granted(live)),
                *(each for each in unlike if "follow-up" not in each),
            ],
            "grants twice": [grant for grant, times in granted(live).items() if times > 1],
            "follow-ups after a stop": after_a_stop(soak.events, soak.followups),
            "records that differ": list(differing_records(live, followed)),
            "states that a fold does not give": list(_wrong_states(soak, replay)),
            "wake-ups that do not fit the state": list(_wrong_wakeups(soak, replay)),
        }
        excuses = [excuse for group in compared for excuse in group.excuses]
        counts = {
            "customers": len({name for group in soak.groups for name in group}),
            "events acknowledged": len(soak.acknowledged),
            "records on customer-events": len(soak.events),
            "facts that arrived more than once": _repeated(_id(each) for each in soak.events if is_fact(each)),
            "asks": len(commands),
            "asks cancelled": sum(len(group.live.commands.cancelled) for group in compared),
            "customers who must not be asked": sum(must_not_be_asked(name) for group in soak.groups for name in group),
            "decisions": len(decided),
            "held out": sum(each.outcome == "holdout" for each in decided),
            "held up by the ledger's absence": sum(map(without_ledger, soak.decisions)),
            "held up by a pause": sum(
                any(r.gate == "paused" and r.answer != "pass" for r in d.reasons) for d in decided
            ),
            "commands that only read_uncommitted sees again": len(
                [each for each in soak.uncommitted if parsed(each).get("type") == "referral.ask.requested"]
            )
            - len(commands),
            "follow-ups": sum(b'"referral.followup.requested"' in (each.value or b"") for each in soak.followups),
            "grants": sum(granted(live).values()),
            "records": sum(value is not None for value in live.records.values()),
            "asks excused by a fact": sum(isinstance(each.why, Early) for each in excuses),
            "asks excused by a fact meanwhile": sum(isinstance(each.why, Otherwise) for each in excuses),
            "asks excused by a hold": sum(isinstance(each.why, Held) for each in excuses),
            "asks excused by the ledger's silence": sum(isinstance(each.why, Unanswered) for each in excuses),
        }
        late = sorted(ms for group in compared for ms in group.late_ms)
        return Verdict(counts, problems, late, excuses)


def against_their_word(commands: Iterable[Said]) -> list[str]:
    asks = (ask_of_effect(each.effect) for each in commands if isinstance(each.effect, AskRequested))
    return [_shown(ask) for ask in asks if must_not_be_asked(ask.customer)]


def _shown(ask: Ask) -> str:
    return f"{ask.customer} {ask.trigger} {ask.subject} {ask.mode} {','.join(ask.channels)} {ask.command}"


# The replay


def _unlike(
    compared: Sequence[Compared],
    groups: Sequence[tuple[str, ...]],
    told: Mapping[str, set[str]],
    on_hold: AbstractSet[str],
) -> Iterator[str]:
    """What followed the asks of a group, and not those of the oracle, or the other way round.

    Where an ask is excused, or an event was left out until its letter was replayed, what follows is another thing too:
    the replay judges it.
    """
    for group, names in zip(compared, groups, strict=False):
        if group.excuses or not group.is_sound or on_hold & {*names} or any(map(must_not_be_asked, names)):
            continue
        mine = set().union(*(told.get(name, set()) for name in names))
        for each in sorted(mine ^ group.expected.followed):
            yield f"{', '.join(names)}: only the {'pipeline' if each in mine else 'oracle'} has {each}"


def _replayed(events: Sequence[RawRecord], policy: Policy) -> tuple[dict[str, list[bytes]], Followed, ExactReplay]:
    """What a replay of the log puts out, by customer and kind, what follows the asks, and that replay."""
    replay = ExactReplay(policy, notes=notes_in(events))
    made: dict[str, list[bytes]] = defaultdict(list)
    followed = Followed()
    for effects in replay.run(events):
        for now, effect in effects:
            if not followed.take_effect(effect, now):
                made[_stream(effect, effect.customer_id)].append(encode_effect(effect, now))
    return made, followed, replay


_OF_DECIDE: Final = (
    "contact.claimed",
    "contact.released",
    "grant.confirmed",
    "grant.released",
    "grant.requested",
    "opportunity.opened",
    "reservation.amended",
    "reservation.confirmed",
    "reservation.released",
    "reservation.requested",
)
"""What it writes to `ledger-requests`; the rest is of other roles."""


def _differing(soak: SoakRecords, made: Mapping[str, list[bytes]]) -> list[str]:
    """Customers whose outputs are not those of the replay."""
    live: dict[str, list[bytes]] = defaultdict(list)
    for said in (*soak.asks, *soak.decisions):
        live[_stream(said.effect, said.effect.customer_id)].append(said.record.value or b"")
    for record in soak.requests:
        body = parsed(record)
        if body["type"] in _OF_DECIDE:
            live[f"requests of {body['data']['customer_id']}"].append(record.value or b"")
    names = sorted(live.keys() | made.keys())
    differing = (_first_difference(name, live.get(name, []), made.get(name, [])) for name in names)
    return [each for each in differing if each]


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
    read = (each for each in soak.events if note_of(each) is None)
    marks = {(each.key or b"").decode(): (each.partition, each.offset + 1) for each in read}
    stored = _stored(soak)
    states = replay.by_key
    for name in sorted(stored.keys() | states.keys()):
        here = f"{name} customer-events-{marks[name][0]}@{marks[name][1] - 1}" if name in marks else name
        if name not in stored or name not in states:
            yield f"{here}: {'not in the log' if name in stored else 'no state'}"
        elif stored[name].mark != marks[name][1]:
            yield f"{here}: mark {stored[name].mark}"
        elif stored[name].entity != states[name] and _plain(stored[name].entity) != _plain(states[name]):
            yield f"{here}: another state"


def _stored(soak: SoakRecords) -> dict[str, Stored[Entity]]:
    """The states as a worker reads them: whoever could not be stored is on hold by the table of wake-ups."""
    found = {key.decode(): decode_state(value) for key, value in soak.customers.items()}
    for key, value in soak.wakeups.items():
        wakeup = decode_wakeup(value)
        if wakeup.held:
            before = found.get(key.decode()) or Stored(0, new_entity(key))
            entity = before.entity.copy()
            if isinstance(entity, Customer):
                entity.quarantined = True
            found[key.decode()] = Stored(max(before.mark, wakeup.mark), entity)
    return found


def _plain(entity: Entity) -> str:
    """The state without the deployment's name: a link's names the topic of what waits there."""
    return _DEPLOYMENT.sub("", repr(entity))


_DEPLOYMENT = re.compile(r"live-[0-9a-f]{8}\.")


def _wrong_wakeups(soak: SoakRecords, replay: ExactReplay) -> Iterator[str]:
    entries = {key.decode(): decode_wakeup(value) for key, value in soak.wakeups.items()}
    kept = {name: entry.due for name, entry in entries.items() if not entry.held}
    states = replay.by_key
    for name in sorted((kept.keys() | states.keys()) - (entries.keys() - kept.keys())):
        due = states[name].wake_at if name in states else None
        if kept.get(name) != due:
            yield f"{name}: wakes at {due}, kept is {kept.get(name)}"


# Counting


def _lost(soak: SoakRecords) -> list[str]:
    arrived = {_id(record) for record in (*soak.events, *soak.requests)}
    unusable = {(record.key, record.value) for record in soak.letters}
    lost_junk = [f"{key!r:.60} {value!r:.60}" for key, value in soak.junk - unusable]
    return sorted(soak.acknowledged - arrived) + sorted(lost_junk)


def _twice(commands: Iterable[RawRecord]) -> list[str]:
    places: dict[str, list[str]] = defaultdict(list)
    for record in commands:
        places[parsed(record)["data"]["command_id"]].append(_place(record))
    return [f"{command} at {', '.join(found)}" for command, found in places.items() if len(found) > 1]


def _without_answer(requests: Iterable[RawRecord]) -> set[str]:
    """Grants that the ledger was asked for again, since it was silent: by then a refund may forbid them."""
    asked = Counter(
        str(body["data"]["grant_id"]) for body in map(parsed, requests) if body.get("type") == "grant.requested"
    )
    return {grant for grant, times in asked.items() if times > 1}


def _two_bodies(asks: Iterable[RawRecord]) -> list[str]:
    """Where a hold took an ask back, with no room for a state that remembers it, another reason may do so again."""
    bodies: dict[str, dict[bytes, str]] = defaultdict(dict)
    for record in asks:
        if not _is_for_a_hold(record):
            bodies[_id(record)].setdefault(record.value or b"", _place(record))
    return [f"{name} at {', '.join(found.values())}" for name, found in bodies.items() if len(found) > 1]


def _is_for_a_hold(record: RawRecord) -> bool:
    return _HOLD in (record.value or b"")


def _place(record: RawRecord) -> str:
    return f"{record.topic}-{record.partition}@{record.offset}"


def _id(record: RawRecord) -> str:
    return str(parsed(record).get("id"))


def _repeated(ids: Iterable[str]) -> int:
    counted = Counter(ids)
    return sum(counted.values()) - len(counted)
