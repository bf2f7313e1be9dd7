"""What compacted topics hold: records against the fold and a recount, and names against the contacts' consent.

A compacted topic has the newest of every key for good, and of what came before only some.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from referral_stream.audit.after_evidence import AfterEvidence, Happened
from referral_stream.audit.findings import AuditCounts, Position
from referral_stream.audit.records import Misread, digest, position
from referral_stream.contracts.records import RawRecord
from referral_stream.core import events as ev
from referral_stream.core.instants import parse_instant

FORGOTTEN: Final = digest(None)
"""Of a tombstone."""
PERSONAL: Final = ("name", "company", "email")
"""Fields that may name a contact."""
_REWARD_WORDS: Final = {
    "held": {"held", "due"},
    "granted": {"granted", "delivered", "failed"},
    "denied": {"denied"},
    "reversed": {"reversed"},
}


class OnTopic(NamedTuple):
    """One record of a compacted topic."""

    position: Position
    digest: bytes


class Recorded(NamedTuple):
    """The newest record of a customer; ``data`` is its body."""

    position: Position
    data: dict[str, Any]


class Name(NamedTuple):
    """``referral.contact.told``, the newest word of its referral."""

    position: Position
    customer: str


@dataclass
class Kept:
    """``made``: the digests of what the folds write, by key in their order; ``there``: what is on the topic.

    ``newest``: the newest record of each customer. ``names``: by referral. ``named_elsewhere``: records of the log that
    name a contact.
    """

    made: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    there: dict[bytes, list[OnTopic]] = field(default_factory=lambda: defaultdict(list))
    newest: dict[bytes, Recorded] = field(default_factory=dict)
    names: dict[str, Name] = field(default_factory=dict)
    named_elsewhere: list[Position] = field(default_factory=list)

    def take_record(self, record: RawRecord) -> str | None:
        """One record of ``referral-records``; the customer that it names, if it is no tombstone. Raises Misread."""
        key = record.key or b""
        if record.value is None:
            self.there[key].append(OnTopic(position(record), FORGOTTEN))
            self.newest.pop(key, None)
            return None
        data = body_of(record, "referral.record.changed")
        if not isinstance(data.get("referral_history"), dict) or not isinstance(data.get("recorded_at"), str):
            raise Misread("a field is missing, or of another type")
        self.there[key].append(OnTopic(position(record), digest(record.value)))
        self.newest[key] = Recorded(position(record), data)
        return str(data["customer_id"])

    def take_contact(self, record: RawRecord) -> None:
        """One record of ``referral-contacts``. Raises Misread."""
        referral = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            self.names.pop(referral, None)
            return
        data = body_of(record, "referral.contact.told")
        if data.get("referral_id") != referral:
            raise Misread("the key is not the referral")
        self.names[referral] = Name(position(record), str(data["customer_id"]))


def body_of(record: RawRecord, kind: str) -> dict[str, Any]:
    """The body of a message of that type. Raises Misread."""
    try:
        message = orjson.loads(record.value or b"")
        data = message["data"]
        if message["type"] != kind:
            raise Misread("not a type of this topic")
        if data["customer_id"] != message["subject"]:
            raise Misread("subject: is not the customer of the body")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Misread("not a message of this topic") from None
    return dict(data)


# ----------------------------------------------------------------------------------------------------------- recounting


def recounted(kept: Kept, evidence: AfterEvidence, asked: dict[str, set[str]] | None, tally: AuditCounts) -> None:
    """Each newest record against what was published; ``asked``: commands by customer, None if some lapsed."""
    said, back, rewards = _by_customer(evidence)
    for key, recorded in kept.newest.items():
        customer = key.decode("utf-8", "replace")
        log = evidence.log_of(customer)
        wrong = list(_within(recorded.data))
        if not log.merged and log.erased is None:
            at = _at(recorded)
            wrong += _against_asks(recorded.data, None if asked is None else asked.get(customer, set()))
            if not evidence.followups_lapsed:
                wrong += _against_followups(recorded.data, said[customer], back[customer], at)
            if not evidence.rewards_lapsed:
                wrong += _against_rewards(recorded.data, rewards[customer], at)
        for what in wrong:
            tally.findings.add("record_recounted", f"a record is not what a recount gives: {what}", recorded.position)


_Instants = dict[str, list[int]]


def _by_customer(
    evidence: AfterEvidence,
) -> tuple[dict[str, _Instants], dict[str, _Instants], dict[str, dict[str, list[tuple[int, str]]]]]:
    """When follow-ups were requested and cancelled, by customer and kind; and rewards by customer and referral."""
    said: dict[str, _Instants] = defaultdict(lambda: defaultdict(list))
    back: dict[str, _Instants] = defaultdict(lambda: defaultdict(list))
    rewards: dict[str, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
    known = {each.id: each for each in evidence.all_said}
    for each in known.values():
        said[each.customer][each.kind].append(each.requested_at)
    for told in {each.id: each for each in (*evidence.back, *evidence.back_since)}.values():
        if told.id in known:
            back[told.customer][known[told.id].kind].append(told.cancelled_at)
    for reward in evidence.all_rewards:
        rewards[reward.customer][reward.referral].append((reward.at, reward.word))
    return said, back, rewards


def _at(recorded: Recorded) -> int:
    try:
        return parse_instant(recorded.data["recorded_at"])[0]
    except ValueError:
        return 0


def _within(data: dict[str, Any]) -> Iterator[str]:
    """Its figures against its own lists."""
    history, contacts = data["referral_history"], data.get("referred_contacts", ())
    if history.get("referrals_given") != len(contacts):
        yield "referrals_given"
    if history.get("referrals_converted") != sum(each.get("status") == "converted" for each in contacts):
        yield "referrals_converted"
    asks = data.get("asks", ())
    if history.get("times_asked", 0) < sum(a.get("kind") in ("asked", "soft") and not a.get("failed") for a in asks):
        yield "times_asked"
    led_to = Counter(each["command_id"] for each in contacts if each.get("command_id"))
    if any(each.get("referrals") != led_to[each.get("command_id")] for each in asks):
        yield "referrals of an ask"
    if any(field in each for each in contacts for field in PERSONAL):
        yield "it names a contact"


def _against_asks(data: dict[str, Any], asked: set[str] | None) -> Iterator[str]:
    given = {each.get("command_id") for each in data.get("asks", ()) if each.get("kind") in ("asked", "soft")}
    if asked is not None and not given <= asked:
        yield "it tells of an ask that was never made"


def _against_followups(data: dict[str, Any], said: _Instants, back: _Instants, at: int) -> Iterator[str]:
    """What happened at the instant of the record itself may be in it or not."""
    told = data.get("followups", {})
    for kind in sorted(said.keys() | told.keys()):
        for what, instants in (("requested", said[kind]), ("cancelled", back[kind])):
            number = told.get(kind, {}).get(what, 0)
            if not sum(each < at for each in instants) <= number <= sum(each <= at for each in instants):
                yield f"{what} follow-ups of kind {kind}"


def _against_rewards(data: dict[str, Any], rewards: dict[str, list[tuple[int, str]]], at: int) -> Iterator[str]:
    for each in data.get("referred_contacts", ()):
        words = rewards.get(each.get("referral_id", ""), [])
        before = [word for when, word in words if when < at]
        possible = [word for when, word in words if when <= at]
        allowed: set[str | None] = {
            state for word in (before[-1:] + possible[len(before) :]) for state in _REWARD_WORDS[word]
        }
        if before[-1:] == ["held"] or not before:
            allowed |= {"due", None}  # due: no message says so
        if each.get("reward") not in allowed:
            yield "the reward of a referral"


# ---------------------------------------------------------------------------------------------------------------- names


def names_apart(kept: Kept, evidence: AfterEvidence, out: list[int], tally: AuditCounts, *, complete: bool) -> None:
    """No name but on ``referral-contacts``, and there only of contacts whose newest word is consent.

    ``out``: the ends of the topic when the pass began; ``complete``: the log is retained from its beginning.
    """
    for where in kept.named_elsewhere:
        tally.findings.add("names_apart", "a record of the log names a contact", where)
    for referral, name in kept.names.items():
        log = evidence.log_of(name.customer)
        if name.position.offset >= out[name.position.partition] or log.merged:
            continue
        givens = [each for each in log.givens if _names(each, referral)]
        ahead = [each for each in log.ahead if _names(each, referral)]
        newest = max(givens, key=lambda each: (each.event.time, each.event.source, each.event.id), default=None)
        if newest is None and not ahead:
            if complete:
                tally.findings.add("names_apart", "a contact is named of whom no referral tells", name.position)
        elif log.erased is not None or referral in log.forgotten:
            tally.findings.add("names_apart", "a contact is named who, or whose referrer, was erased", name.position)
        elif newest is not None and not _is_consented(newest) and not any(map(_is_consented, ahead)):
            text = "a contact is named who has not consented"
            tally.findings.add("names_apart", text, name.position, newest.position)


def _names(happened: Happened, referral: str) -> bool:
    data = happened.event.data
    return isinstance(data, ev.ReferralGiven) and data.referral_id == referral


def _is_consented(happened: Happened) -> bool:
    data = happened.event.data
    return isinstance(data, ev.ReferralGiven) and data.contact.consented
