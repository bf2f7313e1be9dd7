"""What a record says of a person besides what happened: that they opted out, or that a machine acted in their name.

Vendors keep opt-outs as state (``hs_email_optout: true``, ``unsubscribed_from_emails``, a trait that a team named
itself), and whoever missed the event sees them there. The names are read as those of events are (see
``contracts.opt_outs``), so a field that nobody listed counts as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from referral_stream.contracts.adapters.reading import Facts, at
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.opt_outs import REASON, says_opt_out
from referral_stream.contracts.outcomes import LEAVING, Fact

_FALSE = frozenset({"", "false", "no", "n", "f", "off", "0", "0.0", "null", "none", "nil", "undefined", "never", "nan"})
_REVOKED = frozenset({"denied", "declined", "refused", "rejected", "withdrawn", "revoked"})
"""What a field says of consent that was not given, or is given no longer."""
_DENIED = _REVOKED | {"false", "no", "0", "n", "off", "nein", "non", "nee", "não", "nao", "nej"}
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_RUN_TOGETHER = re.compile(r"opt(?:ed)?out|unsubscri(?:be|bed|ption)|donot(?:contact|e?mail|bulkemail|market)")
"""The same in a name that shows no words (``donotbulkemail``)."""
_BARRED = frozenset({"contact", "email", "mail", "market"})
"""``do not`` … what."""
_NONE_WANTED = frozenset({
    "contact", "email", "emails", "mail", "mailing", "mailings", "mails", "marketing", "newsletter", "newsletters",
})  # fmt: skip
"""``no`` … and nothing else: ``no_contact_since`` counts days."""
_NO_STATE = frozenset({
    "count", "rate", "total", "num", "number", "score", "url", "link", "href", "token", "header", "template", "text",
})  # fmt: skip
"""Words that make a field something else than a state, such as ``unsubscribe_url`` and ``bounce_rate``."""
_SUBSCRIPTIONS = frozenset({
    "subscription", "subscriptions", "subscribe", "subscribed", "consent", "newsletter", "marketing", "preference",
    "preferences", "status", "state", "tag", "tags", "label", "labels", "segment", "segments", "lists",
})  # fmt: skip
"""Words of a field whose text says whether somebody is subscribed."""
_TAGS = frozenset({"tag", "tags", "label", "labels", "segment", "segments", "lists"})
_COMPLAINED = frozenset({"complaints", "suppressions", "blacklisted", "blocklisted"})
"""More words of such fields, and of their texts."""
_LEAVE = frozenset({
    "consent", "consents", "consented", "permission", "accepts", "accepted", "agreed", "agrees", "subscribe",
    "subscribed", "subscriber", "subscription",
})  # fmt: skip
"""Words of a field that says whether somebody may be written to, beside one of mail."""
_MAY = frozenset({"can", "may", "allow", "allows", "allowed", "accept", "receive", "receives", "wants"})
_AROUND = frozenset({"be", "by", "contact", "contacted", "for", "from", "has", "is", "of", "to", "us", "via", "we"})
"""Words of such a field that has nothing else: ``can_send_emails`` is what our product lets somebody do."""
_MAIL = frozenset({"email", "emails", "mail", "mails", "mailing", "marketing", "newsletter", "newsletters"})
_WANTED_MAIL = frozenset({"marketing", "newsletter", "newsletters", "mailing", "mailings", "promotional", "promotions"})
"""Of a name that has nothing but these and words of mail, no means that it is not wanted."""
_COOKIES = frozenset({
    "ad", "ads", "advertising", "analytics", "cookie", "cookies", "functional", "performance", "statistics", "storage",
    "tracking",
})  # fmt: skip
"""Words of consent to something else than being written to."""
_READ = 512
"""Characters of a name that are examined."""
_MAX_STATUS = 40
"""Characters of a status; longer text is prose."""
_DEEPEST = 6
"""How far into a record its objects and lists are looked through."""
_MACHINE = frozenset({"machine", "prefetch", "prefetched", "proxy", "proxied", "bot", "apple", "mpp"})
_MACHINES = re.compile(
    r"proxy|\bbot\b|[a-z]bot\b|prefetch|\bmachine\b|crawler|spider|headless|scanner|barracuda|mimecast|proofpoint"
    r"|^(?:curl|wget|python|java|go-http-client|okhttp)\b",
    re.IGNORECASE,
)
"""What a program calls itself that opens mail before its reader does (``GoogleImageProxy``), or tries its links."""
_MACHINE_WORDS = (
    "proxy", "bot", "prefetch", "machine", "crawler", "spider", "headless", "scanner", "barracuda", "mimecast",
    "proofpoint",
)  # fmt: skip
_CLIENTS = ("curl", "wget", "python", "java", "go-http-client", "okhttp")
"""What is in every such name, in lower case, and how others begin."""
_PROGRAMS = frozenset({"agent", "useragent", "client", "opener", "type", "source", "by"})
"""Words of a field whose text says who or what opened it."""


def opted_out(*records: Any) -> Facts:
    """A suppression (reason ``recognised``) if one of the records (objects) holds an opt-out, else nothing."""
    for record in records:
        if record and isinstance(record, (dict, list)) and _any_field(record, _telling, _holds):
            return (Fact("customer.suppressed", {"reason": REASON}),)
    return ()


def with_opt_out(facts: Facts, *records: Any) -> Facts:
    """The facts, and the opt-out that one of the records holds; where the facts say it already, they are enough."""
    for fact in facts:
        if fact.type in LEAVING and not fact.guessed:
            return facts
    held = opted_out(*records)
    return (*held, *(fact for fact in facts if not fact.guessed)) if held else facts


def tagged(tags: Any) -> dict[str, Any]:
    """What a team wrote on a ticket or a person, as a record: names, alone or in objects, or one text with commas."""
    listed = tags.split(",") if isinstance(tags, str) else tags if isinstance(tags, list) else []
    return {"tags": listed[:_MAX_TAGS]} if listed else {}


def _tag(tag: Any) -> Any:
    """The name of a tag that is an object; one with a ``value`` is a field, whose label only names it."""
    if not isinstance(tag, dict) or "value" in tag:
        return None if isinstance(tag, dict) else tag
    return next((text for key in _NAMES_OF_TAGS if isinstance(text := tag.get(key), str)), None)


_NAMES_OF_TAGS = ("name", "tag", "title", "label")
_MAX_TAGS = 100


def by_machine(record: Any) -> bool:
    """Whether an open or a click was a machine's: one of its fields that speak of machines or prefetching is true, or
    one of whoever opened it names a program.
    """
    return isinstance(record, (dict, list)) and (is_test(record) or _any_field(record, _openers, _is_machine))


def is_test(record: Any) -> bool:
    """Whether a record says of itself that somebody only tried something."""
    if not isinstance(record, dict):
        return False
    for name, value in record.items():  # noqa: SIM110 (a generator would take half of the time)
        if _is_of_trial(name[:_LONGEST_WORDS]) and _is_yes(value):
            return True
    return False


def is_tried(payload: Any) -> bool:
    """Whether a notification of a vendor whom nobody knows says so, of itself or where most of them say it."""
    if not isinstance(payload, dict):
        return False
    return any(is_test(each) or _is_in_test_mode(each) for each in (payload, *(at(payload, path) for path in _SAYING)))


def _is_in_test_mode(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    is_live = record.get("livemode", record.get("live_mode"))
    if is_live is False or (isinstance(is_live, str) and is_live.strip().casefold() == "false"):
        return True
    return any(isinstance(said := record.get(name), str) and said.strip().casefold() in _TESTING for name in _MODES)


_SAYING = ("meta", "data", "data.attributes")
_MODES = ("environment", "env", "mode")
_TESTING = frozenset({"sandbox", "test", "testing"})


@lru_cache(maxsize=16_384)
def _is_of_trial(name: str) -> bool:
    return "".join(_words(name)) in _TRIALS


_TRIALS = frozenset({"test", "istest", "testmode", "testsend", "istestsend", "testevent", "istestevent", "preview"})


def _is_yes(value: Any) -> bool:
    """Clearly true: ``preview`` may be a text."""
    return value is True or (type(value) in (int, str) and str(value).strip().casefold() in {"1", "true", "yes"})


def _is_machine(name: str, value: Any) -> bool:
    is_machine, is_program = _opener(name[:_LONGEST_WORDS])
    if is_machine:
        return not isinstance(value, (dict, list)) and is_true(value)
    return is_program and isinstance(value, str) and _is_machines(value[:500])


def _is_machines(name: str) -> bool:
    if name.isascii():  # what nearly every browser is called is quickly seen to be none
        lower = name.lower()
        if not lower.startswith(_CLIENTS):
            for word in _MACHINE_WORDS:
                if word in lower:
                    break
            else:
                return False
    return _MACHINES.search(name) is not None


@lru_cache(maxsize=16_384)
def _opener(name: str) -> tuple[bool, bool]:
    """Whether a field speaks of machines, and whether its text says who or what opened the mail."""
    words = _words(name)
    return not _MACHINE.isdisjoint(words), not _PROGRAMS.isdisjoint(words)


@lru_cache(maxsize=4_096)
def _openers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of an object's names those that are such; PostHog's own (``$…``) are no team's."""
    return tuple(name for name in names if not name.startswith("$") and any(_opener(name[:_LONGEST_WORDS])))


def is_true(value: Any) -> bool:
    """Whether a field is set: anything but false, zero, nothing, and the words for them."""
    if isinstance(value, str):
        return value.strip().casefold() not in _FALSE
    return bool(value)


_Telling: TypeAlias = Callable[[tuple[str, ...]], tuple[str, ...]]
"""Of an object's names those that matter."""


def _any_field(
    value: dict[str, Any] | list[Any], telling: _Telling, says: Callable[[str, Any], bool], depth: int = _DEEPEST
) -> bool:
    """Whether a field of a record, or of one of the objects within, says so; PostHog's own (``$…``) are no team's."""
    if isinstance(value, list):
        return depth > 1 and any(
            _any_field(each, telling, says, depth - 1) for each in value if isinstance(each, (dict, list))
        )
    for name in _of_shape(telling, value):
        if says(name, value[name]) and not (name == "label" and "value" in value):
            return True
    if ("value" in value or "answer" in value) and any(says(name, held) for name, held in _held_elsewhere(value)):
        return True
    if depth > 1:
        for name, each in value.items():
            if isinstance(each, (dict, list)) and name[:1] != "$" and _any_field(each, telling, says, depth - 1):
                return True
    return False


def _of_shape(telling: _Telling, value: dict[str, Any]) -> tuple[str, ...]:
    """Nearly all objects come in a few shapes, which ``telling`` remembers; of a large one all names but PostHog's."""
    names = tuple(value)
    if len("".join(names)) <= _SHAPE:
        return telling(names)
    return tuple(name for name in names if not name.startswith("$"))


_SHAPE = 1_000
"""Characters of the names of an object that is remembered."""


def _held_elsewhere(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a property is called that is an object of its own, with its value in it.

    A label and a question are prose: only a clear yes, or what was chosen, makes it what they say.
    """
    held = value["value"] if "value" in value else value["answer"]
    found = [(name, held) for key in _NAMES if isinstance(name := value.get(key), str)] if "value" in value else []
    if _is_yes(held) or (isinstance(held, list) and held):
        found += [(name, True) for key in _ASKED if isinstance(name := value.get(key), str)]
    return found


_NAMES = ("slug", "key", "name", "title")
_ASKED = ("label", "question")
"""Where a property that is an object with a ``value`` or an ``answer`` keeps its name."""


class _Meaning(NamedTuple):
    """What the name of a field says that its value is."""

    opt_out: bool
    subscription: bool
    leave: bool
    consent: bool = False
    tag: bool = False
    choices: bool = False


@lru_cache(maxsize=16_384)
def _meaning(name: str) -> _Meaning | None:
    """Once for each name: the same few come with every event. None for nearly all: nothing that matters here."""
    words = _words(name)
    if says_opt_out(name) or _says_leave(words):
        return _Meaning(opt_out=True, subscription=False, leave=False) if _NO_STATE.isdisjoint(words) else None
    subscription, leave = not _SUBSCRIPTIONS.isdisjoint(words), _asks_for_leave(words)
    consent = leave or (not _CONSENTS.isdisjoint(words) and _COOKIES.isdisjoint(words))
    found = _Meaning(
        opt_out=False,
        subscription=subscription,
        leave=leave,
        consent=consent,
        tag=not _TAGS.isdisjoint(words),
        choices=not _LISTS.isdisjoint(words) and not _PREFERENCES.isdisjoint(words) and _PLAINLY.isdisjoint(words),
    )
    return found if subscription or leave or consent else None


@lru_cache(maxsize=4_096)
def _telling(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of an object's names those that say what their value means; PostHog's own (``$…``) are no team's."""
    return tuple(name for name in names if not name.startswith("$") and _meaning(name[:_READ]) is not None)


def _holds(name: str, value: Any) -> bool:
    meaning = _meaning(name[:_READ])
    if meaning is None:
        return False
    if meaning.opt_out:
        return _is_set(value) and not (type(value) is int and value > 1 and _words(name)[:1] == ["no"])  # so many mails
    if meaning.subscription:
        left = says_left if meaning.tag else _is_left
        for each in value if isinstance(value, list) else (value,):
            text = _tag(each) if meaning.tag else each
            if isinstance(text, str) and len(text) <= _MAX_STATUS and left(text):
                return True
    if meaning.choices and _turned_off(value):
        return True
    if meaning.consent and isinstance(value, str) and value.strip().casefold() in _REVOKED:
        return True
    if (
        meaning.consent
        and isinstance(value, dict)
        and _NOT_MAIL.isdisjoint(_words(name[:_READ]))
        and _is_denied_to_mail(value)
    ):
        return True
    return meaning.leave and _is_denied(value)


def _says_leave(words: list[str]) -> bool:
    """An opt-out that its name says in another way than the name of an event does."""
    triples = zip(words, words[1:], words[2:], strict=False)
    barred = any(first == "do" and second == "not" and third in _BARRED for first, second, third in triples)
    barred = barred or (words[:1] == ["no"] and len(words) > 1 and _NONE_WANTED.issuperset(words[1:]))
    return barred or not _COMPLAINED.isdisjoint(words) or any(_RUN_TOGETHER.search(word) for word in words)


def agreed(answers: Iterable[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Of questions and their answers (or lists of them) what may be an opt-out: a question that somebody said yes to,
    and an answer that is one by itself (``Do not contact me``).
    """
    found = [(asked, answer if isinstance(answer, list) else [answer]) for asked, answer in answers]
    wished = [{asked: True} for asked, given in found if isinstance(asked, str) and any(map(_is_yes, given))]
    chosen = [{"tags": texts} for _, given in found if (texts := [each for each in given if isinstance(each, str)])]
    return [*wished, *chosen]


@lru_cache(maxsize=4_096)
def says_left(text: str) -> bool:
    """Whether a tag, or another short text of its own, says that somebody wants to be left in peace."""
    return says_opt_out(text) or _says_leave(_words(text))


def _is_left(text: str) -> bool:
    """As a status, which may be about something else: ``No Contact`` is who has not been reached yet."""
    return says_opt_out(text) or not _COMPLAINED.isdisjoint(_words(text))


def _is_set(value: Any) -> bool:
    """Set, or an object or list of which anything is."""
    if isinstance(value, dict):
        return any(_is_set(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_is_set(inner) for inner in value)
    return is_true(value)


def _is_denied_to_mail(consent: dict[str, Any], depth: int = 2) -> bool:
    """Whether consent that is an object, by channel or with a state of its own, is denied to mail or altogether."""
    for name, value in consent.items():
        if name.casefold() in _OF_MAIL:
            within = depth > 1 and isinstance(value, dict) and _is_denied_to_mail(value, depth - 1)
            if within or _is_denied(value):
                return True
    return False


_CONSENTS = frozenset({"consent", "consents"})
_OF_MAIL = frozenset({
    "email", "emails", "mail", "marketing", "newsletter", "all", "status", "state", "granted", "given", "value",
})  # fmt: skip
"""Of consent that is an object: the channels that are mail or all, and the names of its state."""
_MESSAGES = frozenset({"sms", "text", "push", "whatsapp"})
"""Ways to reach somebody in which nobody is asked: leave for them that was not given is no word against asking."""
_NOT_MAIL = _MESSAGES | {"phone", "voice", "call", "calls"}


def _turned_off(value: Any, depth: int = 3) -> bool:
    """Whether one of the choices of what to be sent (also as JSON in a text) is no."""
    if isinstance(value, str) and value[:1] == "{" and len(value) <= _MAX_CHOICES:
        try:
            value = read_json(value.encode("utf-8", "replace"))
        except NotJson:
            return False
    if isinstance(value, dict):
        within = [each for name, each in value.items() if _NOT_MAIL.isdisjoint(_words(name[:_READ]))]
        return depth > 0 and any(_turned_off(each, depth - 1) for each in within)
    return _is_denied(value)


_MAX_CHOICES = 10_000
"""Characters of choices that are JSON in a text."""
_LISTS = frozenset({"subscription", "subscriptions"})
_PREFERENCES = frozenset({"preference", "preferences"})
_PLAINLY = _NOT_MAIL | _NO_STATE


def _is_denied(value: Any) -> bool:
    """Explicitly false; a missing value is no answer."""
    return (type(value) in (bool, int) and not value) or (
        isinstance(value, str) and value.strip().casefold() in _DENIED
    )


def _asks_for_leave(words: list[str]) -> bool:
    """``email_opt_in``, ``optedIn``, ``subscribed_to_newsletter``, ``can_receive_email_marketing``, ``newsletter``; a
    bare ``subscribed`` may be about a paid plan.
    """
    if "double" in words:  # how somebody opted in, not whether
        return False
    pairs = set(pairwise(words))
    opted_in = "optin" in words or not pairs.isdisjoint({("opt", "in"), ("opted", "in")})
    opted_in = opted_in and (_MESSAGES.isdisjoint(words) or not _MAIL.isdisjoint(words))
    of_mail, is_state = not _MAIL.isdisjoint(words), _NO_STATE.isdisjoint(words)
    asked = of_mail and not _LEAVE.isdisjoint(words) and is_state and _COOKIES.isdisjoint(words)
    may = of_mail and not _MAY.isdisjoint(words) and _PLAIN.issuperset(words)
    wanted = not _WANTED_MAIL.isdisjoint(words) and _PLAIN.issuperset(words)
    return opted_in or asked or may or wanted or _may_be_reached(words)


def _may_be_reached(words: list[str]) -> bool:
    """``can_contact``, ``okay_to_contact``, ``contactable``; whether they ``can_contact_us`` is another matter."""
    said = not _REACHED.isdisjoint(words) and not (_MAY | _FINE).isdisjoint(words)
    return (said or "contactable" in words) and "us" not in words and (_PLAIN | _FINE).issuperset(words)


_REACHED = frozenset({"contact", "contacted"})
_FINE = frozenset({"ok", "okay", "fine", "contactable", "permission"})


_PLAIN = _MAIL | _WANTED_MAIL | _LEAVE | _MAY | _AROUND


def _words(name: str) -> list[str]:
    """The words of a name, without what Chargebee and Salesforce put around those of custom fields."""
    own = name[:_LONGEST_WORDS].removeprefix("cf_").removesuffix("__c")
    return [part.lower() for part in _PARTS.findall(own)]


_LONGEST_WORDS = 200
"""Characters of a name in which words are looked for."""
