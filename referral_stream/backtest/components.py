"""Which customers have to be replayed together: those through whom one customer's decision can touch another's.

That are a shared account (its caps), a shared e-mail address or any other link (identity §4), ids of one person, and a
contact or a referral that several name (a reward refused changes the mode of later asks). Switches concern everybody,
and are given to every component. The burst breaker counts over all customers: it is reported, not applied (after §9).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from referral_stream.core.events import (
    WITHOUT_SUBJECT,
    Aliased,
    ContactErased,
    Event,
    Link,
    Linked,
    ProfileChanged,
    ReferralGiven,
    ReferralStatusChanged,
)
from referral_stream.core.keys import customer_key, link_key
from referral_stream.core.links import EMAIL, REFERRAL


def ties_of(event: Event) -> tuple[str, ...]:
    """Names of all that an event is about, its customer or link first; none: it concerns everybody.

    What shares a name is replayed together.
    """
    if event.type in WITHOUT_SUBJECT:
        return ()
    whose = customer_key(event.subject) if event.subject else link_key(event.link or Link("", ""))
    more = _ties(event)
    return (whose, *more) if more else (whose,)


def _ties(event: Event) -> list[str]:
    found: list[str] = []
    if event.link is not None and event.subject:
        found.append(link_key(event.link))
    if event.account is not None:
        found.append(_account(event.account))
    match event.data:
        case ProfileChanged(account_id=account, email_hmac=email):
            if account is not None:
                found.append(_account(account))
            if email is not None:
                found.append(link_key(Link(EMAIL, email)))
        case Linked(kind=kind, value=value):
            found.append(link_key(Link(kind, value)))
        case Aliased(alias=alias):
            found.append(customer_key(alias))
        case ReferralGiven(referral_id=referral, contact=contact):
            found.append(link_key(Link(REFERRAL, referral)))
            found.extend(f"~contact {key}" for key in (contact.ref_hmac, contact.email_hmac) if key is not None)
        case ReferralStatusChanged(referral_id=referral) | ContactErased(referral_id=referral):
            found.append(link_key(Link(REFERRAL, referral)))
        case _:
            pass
    return found


def _account(account: str) -> str:
    return f"~account {account}"


class Components:
    """Names by number, and which of them belong together. Memory grows with the names, not with the events."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._parents: list[int] = []
        self._events: list[int] = []

    def numbers(self, names: Sequence[str], events: Sequence[int], ties: Iterable[tuple[int, int]]) -> list[int]:
        """The numbers of these names, which have so many more events; ``ties``: pairs of places in ``names``."""
        found = []
        for name, count in zip(names, events, strict=True):
            number = self._numbers.setdefault(name, len(self._parents))
            if number == len(self._parents):
                self._parents.append(number)
                self._events.append(0)
            self._events[number] += count
            found.append(number)
        for one, other in ties:
            self._unite(found[one], found[other])
        return found

    def shards(self, events_each: int) -> list[int]:
        """Name's number → its shard: whole components, packed in the order of their first names.

        It depends on the log alone. A component of more events than ``events_each`` has a shard of its own.
        """
        weights: dict[int, int] = {}
        for number, events in enumerate(self._events):
            root = self._root(number)
            weights[root] = weights.get(root, 0) + events
        shard_of: dict[int, int] = {}
        shard, filled = 0, 0
        for root, weight in weights.items():
            if filled and filled + weight > events_each:
                shard, filled = shard + 1, 0
            shard_of[root] = shard
            filled += weight
        return [shard_of[self._root(number)] for number in range(len(self._parents))]

    def customers_together(self) -> Iterator[list[str]]:
        """The names of each component, for tests and the curious."""
        groups: dict[int, list[str]] = {}
        for name, number in self._numbers.items():
            groups.setdefault(self._root(number), []).append(name)
        yield from groups.values()

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    def _unite(self, one: int, other: int) -> None:
        """The older name stands for both."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first
