"""The fold of one partition's log with the product's own core: what states, decisions and requests should be.

Where the policy in force is not certain (see ``policies``), a customer has several possible states; what was published
distinguishes them, and a state in the changelog is right if it is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from referral_stream.audit.policies import PolicyRuns
from referral_stream.audit.records import digest
from referral_stream.contracts.codec import encode_effect, encode_event
from referral_stream.contracts.left_out import How
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Append,
    AskCancelled,
    Decision,
    Effect,
    FollowupCancelled,
    FollowupRequested,
    Letter,
    RecordChanged,
    RecordPosition,
    RewardDenied,
    RewardGranted,
    RewardHeld,
    RewardReversed,
)
from referral_stream.core.entities import Entity, new_entity
from referral_stream.core.events import DeadletterReplayed, Event, is_stop
from referral_stream.core.links import Brought, LinkState, step_link
from referral_stream.core.policy import Policy
from referral_stream.core.step import step

MOST_BRANCHES: Final = 16
"""The most possible states of one customer; beyond them nothing is judged."""
_EVENTS_HEADER: Final = "events"
FOLLOWUPS: Final = (FollowupRequested, FollowupCancelled)
REWARDS: Final = (RewardHeld, RewardGranted, RewardDenied, RewardReversed)
_NAMING: Final = (FollowupRequested, RewardHeld, RewardGranted, RewardDenied, RewardReversed, RecordChanged)
"""What names the policy in force, and may be made without a decision that does."""


class Made(NamedTuple):
    """An effect that a fold makes: the digest of its record's value, and the offset of the record that caused it.

    So is what goes to another id; and a dead letter that the core makes of the record itself, with an empty digest.
    """

    effect: Effect | Append | Letter
    digest: bytes
    cause: int


@dataclass(frozen=True, slots=True)
class _Branch:
    """A possible state, and its effects since it became uncertain."""

    entity: Entity
    said: tuple[Made, ...] = ()


class Fold:
    """All customers and links of one partition, by key.

    ``policies``: those given, by hash. ``published``: decision id → digest of its value. ``faults``: offsets at which
    the workers' code failed, ``unfit`` those of records whose outcome could not be stored, both known from their dead
    letters. ``heard``: digests of the follow-ups, rewards and records that there are, where several policies may have
    been in force; ``telling``: the effects of which all that were ever published are among them. ``tell`` is given the
    effects, customer by customer, as soon as they are certain. ``unjudged``: keys that cannot be judged → why.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy],
        runs: PolicyRuns,
        published: Mapping[str, bytes],
        faults: Collection[int],
        unfit: Mapping[int, How],
        tell: Callable[[bytes, Made], None],
        heard: Collection[bytes] = (),
        telling: tuple[type, ...] = (),
    ) -> None:
        self.unjudged: dict[bytes, str] = {}
        self._policies, self._runs, self._published = policies, runs, published
        self._faults, self._unfit, self._tell = faults, unfit, tell
        self._heard, self._telling = heard, telling
        self._branches: dict[bytes, tuple[_Branch, ...]] = {}
        only = runs.hashes | policies.keys()
        self._only = tuple(policies.values()) if len(only) == 1 else None

    def take(self, key: bytes, record: RawRecord, now: int, event: Event) -> None:
        """One record of that customer; records come in order. Raises whatever the core raises."""
        if key in self.unjudged:
            return
        policies = self._only or self._in_force(key, now)
        if not policies:
            return
        branches = self._branches.get(key) or (_Branch(new_entity(key)),)
        if len(branches) == len(policies) == 1:
            entity, made = self._applied(policies[0], branches[0].entity, record, now, event)
            self._branches[key] = (_Branch(entity),)
            for each in made:
                self._tell(key, each)
            return
        self._branch(key, branches, policies, record, now, event)

    def touch(self, key: bytes) -> None:
        """A record that could not be read: the customer has a state from then on, without effects."""
        if key not in self.unjudged:
            self._branches.setdefault(key, (_Branch(new_entity(key)),))

    def settle(self, key: bytes, stored: Entity) -> bool:
        """Whether the state can be that of the key; if so, which of several it was is certain from then on."""
        branches = self._branches.pop(key, ())
        alike = [branch for branch in branches if branch.entity == stored]
        right = max(alike, key=self._heard_of, default=None)
        for each in (right or branches[0]).said if branches else ():
            self._tell(key, each)
        return right is not None

    def _in_force(self, key: bytes, now: int) -> tuple[Policy, ...]:
        """The policies that may have been in force; none where it may be one that is not given: then we give up."""
        hashes = dict.fromkeys(self._runs.at(now))
        missing = sorted(hashes.keys() - self._policies.keys())
        if missing:
            self._give_up(key, f"policy {', '.join(missing)} is not among those given")
            return ()
        if self._runs.is_open(now):
            hashes |= dict.fromkeys(self._policies)
        return tuple(self._policies[each] for each in hashes)

    def _give_up(self, key: bytes, why: str) -> None:
        self.unjudged[key] = why
        self._branches.pop(key, None)

    def _branch(
        self,
        key: bytes,
        branches: tuple[_Branch, ...],
        policies: tuple[Policy, ...],
        record: RawRecord,
        now: int,
        event: Event,
    ) -> None:
        found: list[_Branch] = []
        for branch in branches:
            for policy in policies:
                entity, made = self._applied(policy, branch.entity, record, now, event)
                said = (*branch.said, *made)
                self._add(found, _Branch(entity, said))
        found = [branch for branch in found if all(map(self._was_published, branch.said))] or found[:1]
        if len(found) > MOST_BRANCHES:  # records are compacted: what is there says more than what is not
            most = max(map(self._heard_of, found))
            found = [branch for branch in found if self._heard_of(branch) == most]
        if len(found) > MOST_BRANCHES:
            self._give_up(key, "too many policy changes in too short a time")
            return
        if len(found) == 1:
            for each in found[0].said:
                self._tell(key, each)
            found = [_Branch(found[0].entity)]
        self._branches[key] = tuple(found)

    def _add(self, found: list[_Branch], branch: _Branch) -> None:
        """Of branches with one state, which differ at most in what names its policy and no decision tells of, the
        one whose words are on their topics.
        """
        for place, other in enumerate(found):
            if branch.entity == other.entity and _decisive(branch.said) == _decisive(other.said):
                if self._heard_of(branch) > self._heard_of(other):
                    found[place] = branch
                return
        found.append(branch)

    def _heard_of(self, branch: _Branch) -> int:
        return sum(made.digest in self._heard for made in branch.said)

    def _was_published(self, made: Made) -> bool:
        if isinstance(made.effect, Decision):
            return self._published.get(made.effect.decision_id) == made.digest
        return not isinstance(made.effect, self._telling) or made.digest in self._heard

    def _applied(
        self, policy: Policy, entity: Entity, record: RawRecord, now: int, event: Event
    ) -> tuple[Entity, list[Made]]:
        if isinstance(entity, LinkState):
            return self._applied_to_link(policy, entity, record, now, event)
        customer = entity
        if (how := self._unfit.get(record.offset)) is not None:
            return _left_out(policy, customer, record, now, event, how)
        if record.offset in self._faults:
            customer, effects = _held(policy, customer, now)
            return customer, list(_made(effects, customer.now, record.offset))
        if isinstance(event.data, DeadletterReplayed) and not _went_through(record, event.data, customer):
            return customer, []
        customer, effects, _, appended, letters = step(policy, customer, [event], now)
        return customer, [
            *_made(effects, customer.now, record.offset),
            *(Made(each, digest(encode_event(each.event)), record.offset) for each in appended),
            *(Made(letter, b"", record.offset) for letter in letters),
        ]

    def _applied_to_link(
        self, policy: Policy, link: LinkState, record: RawRecord, now: int, event: Event
    ) -> tuple[LinkState, list[Made]]:
        """Its letters are about the records that had brought what came to nobody."""
        if record.offset in self._faults:
            return link, []
        attempt = record.header("attempt") or "1"
        at = RecordPosition(record.topic, record.partition, record.offset, record.timestamp, int(attempt))
        state, appended, letters = step_link(policy, link, (Brought(event, at),), now)
        if record.offset in self._unfit:  # what it says is passed on all the same
            state, letters = link, []
        lapsed = [(each, each.undelivered) for each in letters if each.undelivered is not None]
        return state, [
            *(Made(each, digest(encode_event(each.event)), record.offset) for each in appended),
            *(Made(each, b"", gone.position.offset) for each, gone in lapsed if gone.position is not None),
        ]


def _decisive(said: tuple[Made, ...]) -> list[object]:
    """What tells two branches apart: of what follows an ask, only that it is there."""
    return [type(made.effect) if isinstance(made.effect, _NAMING) else made for made in said]


def _made(effects: list[Effect], now: int, cause: int) -> Iterator[Made]:
    for effect in effects:
        yield Made(effect, digest(encode_effect(effect, now)), cause)


def _held(policy: Policy, customer: Customer, now: int) -> tuple[Customer, list[Effect]]:
    """What the decide agent does when its code fails on a customer: quarantine it, and withdraw its commands."""
    held = customer.copy()
    held.quarantined, held.now = True, max(now, customer.now)
    try:
        advanced = step(policy, held, [], held.now)
    except Exception:  # noqa: BLE001 (the state itself is what the core fails on: then it stays as it is, on hold)
        return held, []
    return advanced.customer, advanced.effects


def _left_out(
    policy: Policy, customer: Customer, record: RawRecord, now: int, event: Event, how: How
) -> tuple[Customer, list[Made]]:
    """What the decide agent does about a record whose outcome fits no record of the changelog."""
    held, effects = _held(policy, customer, now)
    if how == "kept":
        effects = [] if customer.quarantined else [each for each in effects if isinstance(each, AskCancelled)]
        held = customer.copy()
        held.quarantined = True
    stopped = step(policy, customer, [event], now).appended if is_stop(event.data) else []
    return held, [
        *_made(effects, held.now, record.offset),
        *(Made(each, digest(encode_event(each.event)), record.offset) for each in stopped),
    ]


def _went_through(record: RawRecord, data: DeadletterReplayed, customer: Customer) -> bool:
    """Whether the customer has taken every event that the end of a hold depends on; one merged away passes it on."""
    if customer.merged_into is not None:
        return True
    wanted = (data.events or record.header(_EVENTS_HEADER) or "").split()
    return {int(name, 16) for name in wanted} <= customer.seen.keys()
