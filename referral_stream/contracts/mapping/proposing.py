"""A mapping file proposed from sample payloads: read off names and values, with a comment where something is to be
checked.

What it does not know it ignores, and says so: nobody is asked on a guess. What may be about people (addresses, texts)
is not copied out of the samples.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.mapping.language import CLOUD_EVENTS, PLAIN
from referral_stream.contracts.mapping.paths import Path, Step, shown
from referral_stream.contracts.mapping.sampling import (
    NO_OBJECTS,
    NoSample,
    SampledField,
    Samples,
    account_of,
    address_of,
    customer_of,
    events_of,
    id_of_event,
    is_address,
    look_at,
    time_of,
    words_of,
)
from referral_stream.contracts.mapping.source_tables import RESERVED, is_source_name
from referral_stream.contracts.mapping.values import Time
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.contracts.topics import SOURCES as SOURCE_TOPICS
from referral_stream.core.events import FACT_TYPES
from referral_stream.core.suggestions import did_you_mean

_MOST_NAMES: Final = 40
"""Events of which a mapping is proposed."""
_WIDE: Final = 44
"""Where comments begin."""


class NoProposal(Exception):
    """Why nothing can be proposed: one line."""


class Guess(NamedTuple):
    """What an event seems to be. ``fields``: field → words that its path ends in, the surest first."""

    type: str
    topic: str
    fields: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    written: Mapping[str, Any] = MappingProxyType({})
    check: str = ""


def _of(kind: str, topic: str, *ids: str, check: str = "") -> Guess:
    fields = {name: (f"{name.removesuffix('_id')} id", "id") for name in ids}
    return Guess(kind, topic, fields, check=check)


_SCORE, _COMMENT = (
    ("nps score", "score", "nps", "rating", "value"),
    ("comment", "feedback", "text", "reason", "verbatim"),
)
_RESPONSE = ("response id", "answer id", "survey response id", "id")
_NPS = Guess(
    "nps.responded",
    "nps",
    {"response_id": _RESPONSE, "score": _SCORE, "comment": _COMMENT},
    check="only if the score is the answer to NPS, from 0 to 10; else csat.responded",
)
_CSAT = Guess(
    "csat.responded",
    "nps",
    {"response_id": _RESPONSE, "score": ("csat", "rating", "score", "stars", "value"), "comment": _COMMENT},
    {"scale_max": 5},
    check="the scale's maximum",
)

_REVIEW = Guess(
    "review.posted",
    "nps",
    {"rating": ("rating", "stars", "score"), "comment": _COMMENT},
    {"scale_max": 5},
    check="the scale's maximum",
)

_SOMEBODY: Final = "(user|customer|contact|account|person|profile|member|subscriber|respondent|data)"
_GUESSES: Final[tuple[tuple[re.Pattern[str], Guess], ...]] = tuple(
    (re.compile(pattern), guess)
    for pattern, guess in (
        (rf"\b(eras|gdpr|forg[eo]t|anonymi|(delete|remove) {_SOMEBODY}|{_SOMEBODY} (deleted|deletion|removed|removal))",
         Guess("customer.suppressed", "profile", {}, {"reason": "deleted"},
               'if it asks for the deletion of all data: type = "customer.erasure_requested", without data.reason')),
        (r"\bcsat\b|satisfaction", _CSAT),
        (r"\bnps\b|promoter|survey|response|feedback|score", _NPS),
        (r"trial.*(start|begin|creat)", _of("trial.started", "billing", "subscription_id")),
        (r"subscription.*(cancel|deactivat|non renew|expir|end|delete|churn|terminat)|churn",
         _of("subscription.ended", "billing", "subscription_id",
             check="ended now; if it only will not renew: cancellation.scheduled")),
        (r"cancel", _of("cancellation.scheduled", "billing", "subscription_id")),
        (r"subscription.*renew", _of("subscription.renewed", "billing", "subscription_id", "invoice_id")),
        (r"subscription.*(start|creat|activat|begin)", _of("subscription.started", "billing", "subscription_id")),
        (r"(invoice|payment|charge|bill).*(fail|past due|overdue|unpaid|declin|dunning)|dunning|past due",
         _of("invoice.payment_failed", "billing", "invoice_id")),
        (r"refund", _of("charge.refunded", "billing", "charge_id")),
        (r"dispute|charge ?back|charged back", _of("charge.disputed", "billing", "charge_id")),
        (r"(invoice|payment).*(paid|succe|complete)", _of("invoice.paid", "billing", "invoice_id")),
        (r"(ticket|case|issue).*reopen", _of("ticket.reopened", "support", "ticket_id")),
        (r"(ticket|case|issue).*(solv|close|resolv)", _of("ticket.solved", "support", "ticket_id")),
        (r"(ticket|case|issue).*(creat|open|new)", _of("ticket.opened", "support", "ticket_id")),
        (r"\bcleaned\b", Guess("customer.suppressed", "relationship", {}, {"reason": "bounce"})),
        (r"review.*(creat|publish|post)", _REVIEW),
        (r"sign(ed)? ?up|registered|(user|customer|account) creat", Guess("customer.signed_up", "profile")),
    )
)  # fmt: skip
_OPT_OUT: Final = Guess("customer.suppressed", "relationship", {}, {"reason": "unsubscribe"})
_NUMBERS: Final = frozenset({"score", "scale_max", "rating"})
_GENERIC: Final = frozenset({"created", "updated", "completed", "submitted", "answered", "new", "received"})
"""Words of a name that say something only with what it is about."""
_TOPIC: Final = "product-usage"
_LONGEST: Final = 40
"""Characters of a value that is shown as an example."""


def proposal(payloads: Sequence[tuple[str, bytes]], name: str = "acme", topic: str | None = None) -> str:
    """The text of a mapping file for these payloads of one vendor, each with its name. Raises NoProposal.

    ``topic``: without prefix; None: what the payloads seem to be about.
    """
    if name in (*RESERVED, *BY_NAME, CLOUD_EVENTS, PLAIN, *SOURCE_TOPICS):
        raise NoProposal(f"{name!r} is no name for a source: something else is called so; for example my_{name}")
    if not is_source_name(name):
        raise NoProposal(f"{name!r} is no name for a source: small letters, digits and _, for example acme_surveys")
    if topic is not None and topic not in SOURCE_TOPICS:
        raise NoProposal(f"no input topic {topic!r}; {did_you_mean(topic, SOURCE_TOPICS)}")
    try:
        samples = look_at(payloads)
    except NoSample as problem:
        raise NoProposal(str(problem)) from None
    return "\n".join(_Proposal(samples, name, topic).lines()) + "\n"


class _Proposal:
    """A file in the making."""

    def __init__(self, samples: Samples, name: str, topic: str | None) -> None:
        self.samples, self.given_topic = samples, topic
        self.name = CLOUD_EVENTS if samples.is_cloud_event else name
        self.fields = [field for fields in samples.notifications for field in fields]
        self.event = self._event()
        self.guesses = [(said, fields, self._guess(said, fields)) for said, fields in self._kinds()]
        topics = Counter(guess.topic for _, _, guess in self.guesses if guess is not None)
        self.topic = topic or (topics.most_common(1)[0][0] if topics else _TOPIC)
        self.read: set[Path] = set()

    def _event(self) -> Path | None:
        if self.samples.is_cloud_event:
            return ("type",)
        found = [known for fields in self.samples.notifications if (known := events_of(fields))]
        if not found:
            return None
        usual = Counter(known[0].path for known in found).most_common(1)[0][0]
        said: dict[Path, set[Any]] = {}
        for field in (each for known in found for each in known if each.path[-1] != "name"):
            said.setdefault(field.path, set()).add(field.value)
        varied = [path for path, values in said.items() if len(values) > 1]
        # a webhook may be called the same whatever happened
        return varied[0] if varied and usual in said and len(said[usual]) == 1 else usual

    def _repeated(self) -> frozenset[Path]:
        """Fields that are the same in notifications that differ: those of a form, or of a conversation, are."""
        different = set(self.samples.notifications)
        counts = Counter((field.path, field.value) for fields in different for field in set(fields))
        return frozenset(path for (path, _), count in counts.items() if count > 1)

    def _kinds(self) -> list[tuple[str | None, tuple[SampledField, ...]]]:
        """The events of the samples, each with the fields of its first one."""
        kinds: dict[str | None, tuple[SampledField, ...]] = {}
        for fields in self.samples.notifications:
            said = next((str(field.value) for field in fields if field.path == self.event), None)
            kinds.setdefault(said, fields)
        return list(kinds.items())[:_MOST_NAMES]

    def _guess(self, said: str | None, fields: Sequence[SampledField]) -> Guess | None:
        """What an event seems to be: by its name, else by the score that it has."""
        if said is not None and says_opt_out(said):
            return _OPT_OUT
        text = " ".join(words_of(said)) if said is not None else ""
        if not _GENERIC.isdisjoint(text.split()):  # of what, the payload's objects say
            text = " ".join((*dict.fromkeys(str(field.path[0]) for field in fields if len(field.path) > 1), text))
        for pattern, guess in _GUESSES:
            if pattern.search(text):
                needs_score = "score" in guess.fields
                return guess if not needs_score or _field(fields, guess.fields["score"], is_number=True) else None
        scored = _field(fields, ("nps score", "score", "nps", "csat"), is_number=True)
        if scored is None or said is not None:
            return None
        return _CSAT if "csat" in scored.words else _NPS

    # -- the text

    def lines(self) -> Iterator[str]:
        yield from self._head()
        if self.name != CLOUD_EVENTS:
            yield from self._source()
        for said, fields, guess in self.guesses:
            yield ""
            yield from self._rule(said, fields, guess)
        yield from self._rest()

    def _head(self) -> Iterator[str]:
        count = len(self.samples.notifications)
        yield f"# Mappings for {self.name}, proposed by `referral-stream mapping init` from {count} notification(s)."
        yield '# Read off names and values alone: look at every line marked "check", and at what is ignored.'
        yield "#   try it:       referral-stream mapping try THIS_FILE SAMPLE"
        yield "#   the language: docs/mapping.md; what there is to map to: docs/contracts.md"
        for adapter in self.samples.adapters:
            yield f"# The adapter {adapter} reads such payloads already (docs/adapters.md): this is for other rules."
        if self.name != CLOUD_EVENTS:
            token = f"REFERRAL_STREAM_WEBHOOK_TOKEN_{self.name.upper()}"
            yield f"#   receive it:   POST /mapped/{self.name}, with {token} (docs/receiver.md);"
            yield f"#                 or on Kafka, with the header referral-source: {self.name}"

    def _source(self) -> Iterator[str]:
        yield ""
        yield f"[source.{self.name}]"
        check = "" if self.given_topic else "check: where its requests are written"
        yield _line("topic", self.topic, check)
        if self.samples.is_form:
            yield _line("body", "form", "a=1&b=2; all values are texts")
        if self.samples.json:
            yield _line("json", [shown(path) for path in self.samples.json], "fields whose text is JSON itself")
        if self.samples.each is not None:
            yield _line("each", shown(self.samples.each), "paths begin at each element; $root. is the whole body")
        if self.event is not None:
            yield _line("event", shown(self.event), "what happened: an opt-out is read, even if no mapping lists it")
            self.read.add(self.event)
        yield from self._places(self.fields)
        yield '# signature = { header = "X-Signature", algorithm = "sha256", encoding = "hex" }   # if it signs'

    def _places(self, fields: Sequence[SampledField]) -> Iterator[str]:
        """Who, which and when; the same for all events of a source."""
        customer, address, account = customer_of(fields), address_of(fields), account_of(fields)
        if customer is not None:
            yield self._place("subject", customer, "check: the customer's id, as your other events have it")
        elif address is None:
            yield _line("subject", "$.customer.id", "check: no id found; where is the customer's?")
        if address is not None:
            who = "else who has this address" if customer is not None else "who has this address: no id was found"
            yield self._place("link.email", address, f"check: {who}")
        if account is not None and account != customer:
            yield self._place("account", account, "check: the company's id")
        repeated = self._repeated()
        own = id_of_event(field for field in fields if field != customer and field.path not in repeated)
        if own is not None:
            yield self._place("id", own, "check: the same at a repetition, different for every event")
        else:
            yield "# id = ...   # none found: without one, what is sent twice counts twice"
        when = time_of(fields)
        if when is None:
            yield "# time = ...   # none found: the arrival counts"
            return
        field, form = when
        if form is None and not isinstance(Time((field.path,)).read_value(field.path, field.value).made, str):
            yield self._place("time", field, "")
            return
        self.read.add(field.path)
        if form is None:
            said = f'{{ path = {_quoted(shown(field.path))}, zone = "UTC" }}'
            yield _aligned(f"time = {said}", "check: the zone of the clock; it names none")
            return
        zone = "" if any(code in form for code in ("%z", "%Z")) else ', zone = "UTC"'
        said = f"{{ path = {_quoted(shown(field.path))}, format = {_quoted(form)}{zone} }}"
        yield _aligned(f"time = {said}", "check: day and month, and the zone of the clock")

    def _place(self, key: str, field: SampledField, comment: str) -> str:
        self.read.add(field.path)
        example = _example(field.value)
        return _line(key, shown(field.path), f"{comment}{', ' if comment and example else ''}{example}")

    def _rule(self, said: str | None, fields: Sequence[SampledField], guess: Guess | None) -> Iterator[str]:
        if guess is None:
            yield "# Not known. To map it, write a type and its data instead of ignore (docs/contracts.md lists them)."
        event = "" if said is None or self.event is None else f", {_quoted(shown(self.event))} = {_quoted(said)}"
        if guess is None and not event:  # it would be a rule for whatever else the vendor sends
            yield "# [[mapping]]"
            yield f'# when = {{ adapter = "{self.name}" }}   # and by what such a payload is known'
            yield "# type = ..."
            return
        yield "[[mapping]]"
        if said is not None:
            yield _line("name", said)
        yield f'when = {{ adapter = "{self.name}"{event} }}'
        if guess is None:
            yield "ignore = true"
            return
        yield _line("type", guess.type, f"check: {guess.check}" if guess.check else "check")
        if self.name == CLOUD_EVENTS and not any(field.path == ("subject",) for field in fields):
            within = [field for field in fields if field.path[0] == "data"]
            yield from (line for line in self._places(within) if line.startswith(("subject", "link")))
        yield from self._data(guess, fields)

    def _data(self, guess: Guess, fields: Sequence[SampledField]) -> Iterator[str]:
        model = FACT_TYPES[guess.type].model_fields
        for name, value in guess.written.items():
            yield _line(f"data.{name}", value, "check" if name == "scale_max" else "")
        for name, words in guess.fields.items():
            if name not in model:
                continue
            is_number = name in _NUMBERS
            found = _field(fields, words, is_number=is_number, avoid=self._taken(fields, name))
            if found is None and not model[name].is_required():
                continue
            if found is None:
                yield _line(f"data.{name}", f"$.{name}", "check: not found in the sample")
                continue
            self.read.add(found.path)
            path, example = shown(found.path), _example(found.value)
            if is_number:
                said = f'{{ path = {_quoted(path)}, as = "{"int" if guess.type == "nps.responded" else "float"}" }}'
                yield _aligned(f"data.{name} = {said}", f"check: {example}" if example else "check")
            elif isinstance(found.value, str) or name.endswith("_id"):
                yield _line(f"data.{name}", path, f"check: {example}" if example else "")
            else:
                yield _aligned(f'data.{name} = {{ path = {_quoted(path)}, as = "str" }}', "check")

    def _taken(self, fields: Sequence[SampledField], name: str) -> frozenset[Path]:
        """Fields that name the customer or the notification, and so no object; a response may be its notification."""
        found = [customer_of(fields), account_of(fields), address_of(fields)]
        if name.endswith("_id") and name != "response_id":
            repeated = self._repeated()
            found.append(id_of_event(field for field in fields if field.path not in repeated))
        others = [field.path for field in fields if name.endswith("_id") and field.own in NO_OBJECTS]
        return frozenset([*others, *(field.path for field in found if field is not None)])

    def _rest(self) -> Iterator[str]:
        """What the samples hold that no line reads: for whoever wants more."""
        paths = dict.fromkeys(field.path for field in self.fields if field.path not in self.read)
        if not paths:
            return
        examples = {field.path: _example(field.value) for field in reversed(self.fields)}
        yield ""
        yield "# What else the samples hold:"
        for path in list(paths)[:60]:
            yield f"#   {shown(path)}{f'  {examples[path]}' if examples[path] else ''}"


def _field(
    fields: Iterable[SampledField],
    wanted: Iterable[str],
    *,
    is_number: bool = False,
    avoid: frozenset[Path] = frozenset(),
) -> SampledField | None:
    """The field whose path ends in the first of these words that any does."""
    known = [field for field in fields if field.path not in avoid and not is_address(field.value)]
    known = [field for field in known if not any(map(_is_position, field.path))]  # which place in a list says nothing
    if is_number:
        known = [field for field in known if _is_number(field.value)]
    for each in wanted:
        words = tuple(each.split())
        for field in known:
            is_called = field.own == words if words == ("id",) else field.words[-len(words) :] == words
            if is_called:
                return field
    return None


def _is_position(step: Step) -> bool:
    return isinstance(step, str) and step.isdecimal()


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _line(key: str, value: Any, comment: str = "") -> str:
    return _aligned(f"{key} = {_quoted(value)}", comment)


def _aligned(text: str, comment: str) -> str:
    return f"{text:<{_WIDE}} # {comment}" if comment else text


def _quoted(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)


def _example(value: Any) -> str:
    """A sample's value, unless it may be about a person: an address, or a text."""
    if is_address(value):
        return "an address"
    if isinstance(value, str):
        return "a text" if len(value) > _LONGEST or not re.fullmatch(r"[\w.:+/-]*", value, re.ASCII) else _quoted(value)
    return _quoted(value)
