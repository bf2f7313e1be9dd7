"""Mappings: payloads of a team's choice → canonical facts, declared in a file instead of written as an adapter.

A rule names an adapter or a source of the file (whose payloads it reads), conditions, and what to take from where. The
rules that match a payload take the place of the adapter's own reading, but not of an opt-out or an erasure in it; who
it is about, its id and its time stay the adapter's where it finds them, unless a rule says where else to look. Applying
rules is total: the result is a value, whatever the payload.
Reading the file: :mod:`referral_stream.contracts.mapping.parsing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from referral_stream.contracts.adapters.identities import links_of
from referral_stream.contracts.adapters.reading import Facts, Reading
from referral_stream.contracts.addresses import ref_hmac
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.mapping.opted_out import said_by
from referral_stream.contracts.mapping.paths import Path, PathMark, elements_at, shown, value_at
from referral_stream.contracts.mapping.signing import Signature
from referral_stream.contracts.mapping.values import (
    UNREADABLE,
    MappingCondition,
    Taken,
    Template,
    Time,
    ValueRead,
    first_at,
)
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core.events import Link

CLOUD_EVENTS: Final = "cloudevents"
"""Instead of a vendor: CloudEvents whose type is not in the contract; paths begin at the event."""
PLAIN: Final = "json"
"""Instead of a vendor: JSON objects that no adapter recognises; with a topic, all that come on it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Who a payload is about, which event it is, and when; where nothing is said, it is left to whoever knows better.

    ``link``: kind of link → where its value is, the surest first.
    """

    subject: Taken | None = None
    id: Taken | None = None
    time: Time | None = None
    account: Taken | None = None
    link: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    def read(self, payload: Any, root: Any, reading: Reading) -> dict[str, ValueRead]:
        """What stands at each place that is said."""
        found: dict[str, ValueRead] = {}
        if self.subject is not None:
            found["subject"] = self.subject.id(payload, root, reading, of_somebody=True)
        if self.id is not None:
            found["id"] = _without_address(self.id.id(payload, root, reading), reading)
        if self.account is not None:
            found["account"] = self.account.id(payload, root, reading)
        if self.time is not None:
            found["time"] = self.time.read(payload, root)
        return found

    def links(self, payload: Any, root: Any, reading: Reading) -> tuple[Link, ...]:
        """The links that have a value."""
        if not self.link:
            return ()
        return links_of(reading, [(kind, first_at(paths, payload, root)[1]) for kind, paths in self.link.items()])


def _without_address(read: ValueRead, reading: Reading) -> ValueRead:
    """An event's id, with a hash in the place of each address in it: ids are kept for good, addresses are not."""
    if not isinstance(read.made, str) or "@" not in read.made:
        return read
    parts = (ref_hmac(part, reading.email_key) if "@" in part else part for part in read.made.split(":"))
    return replace(read, made=":".join(parts))


NOWHERE: Final = Places()
"""A rule's that says nothing of them."""


@dataclass(frozen=True, slots=True)
class MappingRule:
    """One mapping. ``type`` None: such payloads are dropped. ``topics`` empty: any source topic.

    ``each``: the list in the payload whose elements are read one by one; conditions and paths begin at each of them.
    """

    name: str
    adapter: str
    type: str | None
    data: Mapping[str, Template] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    conditions: tuple[MappingCondition, ...] = ()
    places: Places = NOWHERE
    each: Path | None = None

    def matches(self, payload: Any, root: Any = None) -> bool:
        for condition in self.conditions:  # noqa: SIM110 (a generator would take half of the time)
            if not condition.holds(payload, root):
                return False
        return True

    def is_for(self, topic: str) -> bool:
        """Whether it counts on a topic (without the deployment's prefix)."""
        return not self.topics or topic in self.topics


@dataclass(frozen=True, slots=True)
class MappedSource:
    """A vendor without an adapter, as the file declares it: what its bodies are, and what all of its rules share.

    ``topic``: to which the receiver writes its requests, and on which records that nobody else claims are its own.
    ``json``: fields whose text is JSON itself. ``each``: the list of a body whose elements are its notifications.
    ``event``: where a notification says what happened: read for the words of an opt-out where no rule matches.
    """

    name: str
    topic: str = "product-usage"
    form: bool = False
    json: tuple[Path, ...] = ()
    each: Path | None = None
    event: tuple[Path, ...] = ()
    places: Places = field(default_factory=Places)
    signature: Signature | None = None

    def unpacked(self, body: Any) -> Any:
        """The body with what is JSON in a text as what it says; any other text stays as it is."""
        for path in self.json:
            body = _unpacked(body, path)
        return body

    def notifications(self, body: Any) -> list[Notified]:
        """The notifications of a body, each with its number (None for a body that is one as a whole), and of what it is
        an element, if of anything.
        """
        if self.each is None:
            return [Notified(nth, each, body) for nth, each in _numbered(body)]
        return [
            Notified(str(number) if nth is None else f"{nth}.{number}", element, whole)
            for nth, whole in _numbered(body)
            for number, element in enumerate(elements_at(whole, self.each))
        ]

    def wholes(self, body: Any) -> list[Notified]:
        """What is in a body beside the lists of its notifications."""
        if self.each is None:
            return []
        return [Notified(nth, without_elements(each, (self.each,)), each) for nth, each in _numbered(body)]

    def about(self, payload: Any, root: Any, reading: Reading, nth: str | None) -> About:
        """What is known of a notification, the ``nth`` of a body, before a rule has read it."""
        own = self.read(payload, root, reading)
        is_numbered = own.id is None or (self.places.id is not None and self.places.id.is_of_root)
        return About(self.name, own, reading, root, self, nth if is_numbered else None, nth is not None)

    def read(self, payload: Any, root: Any, reading: Reading) -> Webhook:
        """Who, when and which of a notification, and the opt-out in it: what an adapter would say of a stranger."""
        found = {name: read.made for name, read in self.places.read(payload, root, reading).items()}
        webhook = Webhook(facts=said_by(payload, self.event), **found)
        links = self.places.links(payload, root, reading)
        return _linked(webhook, links) if links else webhook


def _numbered(body: Any) -> Iterator[tuple[str | None, Any]]:
    """The bodies of a list, each with its number; anything else is one, without a number."""
    if isinstance(body, list):
        yield from ((str(number), each) for number, each in enumerate(body))
    else:
        yield None, body


class Notified(NamedTuple):
    """One notification of a body: its number, what it says, and where paths from ``$root`` begin."""

    nth: str | None
    part: Any
    root: Any


def without_elements(payload: Any, lists: Iterable[Path]) -> Any:
    """A payload without the elements of these lists, which speak for themselves."""
    for path in lists:
        payload = _without_elements(payload, path)
    return payload


def _without_elements(payload: Any, path: Path) -> Any:
    for number, step in enumerate(path):
        if step is PathMark.EVERY:
            ahead, rest = path[:number], path[number + 1 :]
            listed = value_at(payload, ahead)
            inner = [_without_elements(each, rest) for each in listed] if rest and isinstance(listed, list) else None
            return _replaced(payload, ahead, inner)
    return _replaced(payload, path, None)


def _unpacked(body: Any, path: Path) -> Any:
    text = value_at(body, path)
    if not isinstance(text, str):
        return body
    try:
        return _replaced(body, path, read_json(text.encode()))
    except (NotJson, UnicodeEncodeError):
        return body


def _replaced(body: Any, path: Path, value: Any) -> Any:
    """The body with another value at a path that it has; what is not on the path is shared."""
    if not path:
        return value
    step = path[0]
    if isinstance(body, dict) and isinstance(step, str):
        return body | {step: _replaced(body.get(step), path[1:], value)}
    return body


class Mapped(NamedTuple):
    """What rules make of one payload, or one element of it. ``rules`` by name.

    ``nth``: the number of the element, where the event's id has to tell it from the others.
    """

    webhook: Webhook | Skipped
    rules: tuple[str, ...]
    nth: str | None = None
    is_element: bool = False


@dataclass(frozen=True, slots=True)
class Mappings:
    """The content of a deployment's mapping file: its sources, its rules in file order, how it configures adapters.

    ``customer_paths``: per adapter, where the customer's id is looked for; ``questions``: per adapter, the scale of a
    survey's question (see ``contracts.inbound.Boundary``). ``by_topic``: sources whose records may come on a topic
    without saying whose they are; ``claimed_topics`` have rules for JSON objects that say so: they precede adapters.
    ``topical``: adapters with rules that count on some topics alone.
    """

    rules: tuple[MappingRule, ...] = ()
    customer_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, MappedSource] = field(default_factory=dict)
    by_adapter: Mapping[str, Mapping[Path | None, tuple[MappingRule, ...]]] = field(init=False)
    by_topic: Mapping[str, tuple[MappedSource, ...]] = field(init=False)
    claimed_topics: frozenset[str] = field(init=False)
    topical: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        table: dict[str, dict[Path | None, tuple[MappingRule, ...]]] = {}
        for rule in self.rules:
            of_adapter = table.setdefault(rule.adapter, {})
            of_adapter[rule.each] = (*of_adapter.get(rule.each, ()), rule)
        by_topic: dict[str, tuple[MappedSource, ...]] = {}
        for source in self.sources.values():
            by_topic[source.topic] = (*by_topic.get(source.topic, ()), source)
        claimed = frozenset(topic for rule in self.rules if rule.adapter == PLAIN for topic in rule.topics)
        object.__setattr__(self, "by_adapter", table)
        object.__setattr__(self, "by_topic", by_topic)
        object.__setattr__(self, "claimed_topics", claimed)
        object.__setattr__(self, "topical", frozenset(rule.adapter for rule in self.rules if rule.topics))

    def rules_of(self, adapter: str) -> tuple[MappingRule, ...]:
        """The rules that read an adapter's or a source's payloads, in file order."""
        return tuple(rule for rule in self.rules if rule.adapter == adapter)

    def lists_of(self, adapter: str) -> tuple[Path, ...]:
        """The lists in an adapter's or a source's payloads whose elements rules read."""
        return tuple(each for each in self.by_adapter.get(adapter, {}) if each is not None)

    def any_matches(self, adapter: str, payload: Any, root: Any, topic: str) -> bool:
        """Whether a rule of the adapter's reads a payload, or an element of it."""
        groups = self.by_adapter.get(adapter, {}).items()
        return any(
            rule.is_for(topic) and rule.matches(found, root)
            for each, rules in groups
            for found in ((payload,) if each is None else elements_at(payload, each))
            for rule in rules
        )

    def applied(self, payload: Any, topic: str, about: About) -> list[Mapped]:
        """What the rules make of a payload; empty where none of them matches. ``topic`` without prefix.

        Of elements of a list that no rule matches counts the opt-out that they say, unless an adapter reads them.
        """
        found: list[Mapped] = []
        number, is_any = 0, False
        for each, of_list in self.by_adapter.get(about.adapter, {}).items():
            rules = of_list
            if about.adapter in self.topical:
                rules = tuple(rule for rule in of_list if rule.is_for(topic))
            if each is None:
                if matching := [rule for rule in rules if rule.matches(payload, about.root)]:
                    found.append(mapped(matching, payload, about))
                    is_any = True
                continue
            for element in elements_at(payload, each) if rules else ():
                of_element = about.of_element(element, number)
                if matching := [rule for rule in rules if rule.matches(element, about.root)]:
                    found.append(mapped(matching, element, of_element))
                    is_any = True
                elif left := left_over(rules, element, of_element):
                    found.append(left)
                number += 1
        if not is_any and (about.source is None or about.source is PLAIN_SOURCE):
            return []
        is_whole = any(not one.is_element for one in found)
        return found if is_whole or not (kept := about.kept()) else [Mapped(kept, ()), *found]


NONE: Final = Mappings()
PLAIN_SOURCE: Final = MappedSource(PLAIN)
"""JSON objects of nobody that is known: all that is known of them is what their rules say."""


class About(NamedTuple):
    """What is known of a payload before a rule has read it.

    ``own`` is the reading of its adapter or source; ``root`` the body that it is in; ``nth``: its number there, where
    its id has to tell it from the others. ``source``: None where an adapter reads it.
    """

    adapter: str
    own: Webhook | Skipped
    reading: Reading
    root: Any
    source: MappedSource | None = None
    nth: str | None = None
    is_element: bool = False

    def of_element(self, element: Any, number: int) -> About:
        """Of one element of the payload: whom and when the whole is about, and the opt-outs in the element."""
        own = self.own
        if isinstance(own, Webhook):
            own = replace(own, facts=() if self.source is None else said_by(element, self.source.event))
        elif own.found is not None:
            own = replace(own, found=replace(own.found, facts=()))
        nth = str(number) if self.nth is None else f"{self.nth}.{number}"
        return self._replace(own=own, nth=nth, is_element=True)

    def kept(self) -> Webhook | None:
        """The opt-outs of the whole payload, of which only elements were mapped; a source reads its elements itself."""
        found = opt_outs(self.own) if self.source is None and isinstance(self.own, Webhook) else ()
        return replace(self.own, facts=found) if found and isinstance(self.own, Webhook) else None


def left_over(rules: Iterable[MappingRule], payload: Any, about: About) -> Mapped | None:
    """The opt-out in what no rule matches, of whom the source or the first of its rules that can tell says; or None."""
    own = about.own
    if about.source is None or not isinstance(own, Webhook) or not own.facts:
        return None
    own = replace(own, facts=tuple(replace(fact, guessed=False) for fact in own.facts))
    about = about._replace(own=own)
    whole = mapped((), payload, about)
    if _is_about_somebody(whole):
        return whole
    tried = (mapped((MappingRule("", rule.adapter, None, places=rule.places),), payload, about) for rule in rules)
    return next(filter(_is_about_somebody, tried), whole)._replace(rules=())


def beside_lists(rules: Iterable[MappingRule], rest: Any, about: About, made: Sequence[Mapped]) -> Mapped | None:
    """The opt-out in the ``rest`` of a payload whose elements were read: state counts beside every rule; or None.

    None of what elements have said already. Where it names nobody, and all elements the same person, it is theirs. What
    only a name says is corrected by a rule that matches an element and looks at the whole.
    """
    matched = {name for each in made for name in each.rules}
    looks_at_whole = any(
        condition.path[:1] == (PathMark.ROOT,)
        for rule in rules
        if rule.name in matched
        for condition in rule.conditions
    )
    if looks_at_whole and isinstance(about.own, Webhook):
        state = tuple(fact for fact in about.own.facts if not fact.guessed)
        about = about._replace(own=replace(about.own, facts=state))
    left = left_over(rules, rest, about)
    if left is None or not isinstance(left.webhook, Webhook):
        return None
    said = [each.webhook for each in made if isinstance(each.webhook, Webhook)]
    people = {(each.subject, each.link) for each in said}
    who = (left.webhook.subject, left.webhook.link)
    if who == _NOBODY and len(people) == 1:
        (who,) = people
    if any((each.subject, each.link) == who and opt_outs(each) for each in said):
        return None
    webhook = replace(left.webhook, subject=who[0], link=who[1])
    return left._replace(webhook=webhook, is_element=False)


_NOBODY: Final = (None, None)


def _is_about_somebody(one: Mapped) -> bool:
    return isinstance(one.webhook, Webhook) and (one.webhook.subject is not None or one.webhook.link is not None)


def mapped(rules: Iterable[MappingRule], payload: Any, about: About) -> Mapped:
    """What the rules that match a payload make of it.

    They replace the facts of its own reading, but opt-outs and erasures; what was skipped as a test or as another
    account's stays skipped. What the words of a name say is corrected only by a rule that looks at the payload.
    """
    rules = tuple(rules)
    names = tuple([rule.name for rule in rules])
    own, root, reading = about.own, about.root, about.reading
    if isinstance(own, Skipped) and own.reason in ("test_mode", "other_account"):
        return Mapped(own, names, is_element=about.is_element)
    found = own if isinstance(own, Webhook) else own.found or Webhook(subject=_customer(reading, payload))
    if rules and not any(rule.conditions for rule in rules):
        found = replace(found, facts=tuple(replace(fact, guessed=False) for fact in found.facts))
    kept = opt_outs(found)
    facts: list[Fact] = []
    links: tuple[Link, ...] = ()
    where: dict[str, Any] = {}
    nth = about.nth
    for rule in rules:
        read = rule.places.read(payload, root, reading) if rule.places is not NOWHERE else {}
        if rule.type is not None:
            facts.append(_fact(rule, payload, about, read.get("time")))
        for name, place in read.items():
            if place.made is not None and name not in where:
                where[name] = place.made
                if name == "id" and rule.places.id is not None and not rule.places.id.is_of_root:
                    nth = None
        links += rule.places.links(payload, root, reading)
    if kept:
        said = {fact.type for fact in facts if fact.is_opt_out}
        kept = tuple(fact for fact in kept if fact.type not in said)
    if not facts and not kept:
        return Mapped(Skipped("irrelevant", f"mapping {', '.join(names)}"), names, is_element=about.is_element)
    webhook = replace(found, facts=(*kept, *facts), **where)
    if links or webhook.links or webhook.link is not None:
        webhook = _linked(webhook, links)
    return Mapped(webhook, names, nth, about.is_element)


def _customer(reading: Reading, payload: Any) -> str | None:
    return reading.customer(payload) if isinstance(payload, dict) else None


def _fact(rule: MappingRule, payload: Any, about: About, time: ValueRead | None) -> Fact:
    faults: dict[str, str] = {}
    data = _object(rule.data, payload, about.root, about.reading, faults)
    if not faults and (time is None or not time.problem):
        return Fact(rule.type or "", data)
    why = {field: f"mapping {rule.name}: data.{field}: {problem}" for field, problem in faults.items()}
    if time is not None and time.problem and time.path is not None:
        why["time"] = f"mapping {rule.name}: time: {shown(time.path)} {time.problem}"
    return Fact(rule.type or "", data, faults=why)


def opt_outs(own: Webhook) -> Facts:
    """What no mapping takes away from an adapter's reading: who wants to be left in peace is."""
    kept = [fact for fact in own.facts if fact.is_opt_out]
    return tuple(fact if fact.time is not None else replace(fact, time=own.time) for fact in kept)


def _linked(webhook: Webhook, more: tuple[Link, ...]) -> Webhook:
    """The webhook with more that stands for its customer: where it names none, the first of it says who is meant."""
    if webhook.subject is None:
        return replace(webhook, link=more[0]) if more else webhook
    told = {webhook.subject, *(fact.data.get("email_hmac") for fact in webhook.facts)}
    links = dict.fromkeys((*more, *webhook.links, *(() if webhook.link is None else (webhook.link,))))
    return replace(webhook, link=None, links=tuple(link for link in links if link.value not in told))


def _object(
    fields: Mapping[str, Template],
    payload: Any,
    root: Any,
    reading: Reading,
    faults: dict[str, str],
    within: str = "",
) -> dict[str, Any]:
    """The fields as the payload fills them. ``faults`` gains field → why it could not be read.

    Beside the HMAC of somebody's address stands that of its domain.
    """
    made: dict[str, Any] = {}
    for name, template in fields.items():
        if isinstance(template, Taken):
            read = template.read(payload, root, reading)
            value = read.made
            if read.problem and read.path is not None:
                faults[within + name] = read.problem
            elif template.cast == "email_hmac" and name in _ADDRESSES and read.path is not None:
                made |= reading.address_hmacs(read.found)
        elif isinstance(template, Mapping):
            value = _object(template, payload, root, reading, faults, f"{within}{name}.") or None
        else:
            value = template
        if value is not None:
            made[name] = value
    return made


_ADDRESSES: Final = frozenset({"email", "email_hmac"})
"""Fields of a profile and of a contact that hold their address."""


def never_applied(mappings: Mappings, adapters: Mapping[str, str]) -> list[str]:
    """A line for each rule that is given for a topic on which it never applies; ``adapters``: topic → whose it is."""
    return [
        f"mapping {rule.name}: never applies on {topic}, where {adapters[topic]}'s own payloads alone count; "
        f'write adapter = "{adapters[topic]}", or another topic'
        for rule in mappings.rules
        for topic in rule.topics
        if adapters.get(topic, rule.adapter) != rule.adapter
    ]


__all__ = [
    "CLOUD_EVENTS", "NONE", "PLAIN", "PLAIN_SOURCE", "UNREADABLE", "About", "Mapped", "MappedSource", "MappingRule",
    "Mappings", "Places", "left_over", "mapped", "never_applied", "opt_outs",
]  # fmt: skip
