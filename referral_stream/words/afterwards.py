"""What follows an ask in plain words: what is said to whom, what was withdrawn, and what becomes of a reward.

The words are made from what the messages of ``referral-followups`` and ``referral-rewards`` carry, which never name a
contact.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from referral_stream.words.decisions import day_and_time
from referral_stream.words.phrases import phrases

AfterKind: TypeAlias = Literal["follow-up", "withdrawn", "reward"]

_DIGITS: Final = (
    {"XXX": 0}  # no currency was named: nobody knows what a minor unit is of
    | dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0)
    | dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)
    | dict.fromkeys("CLF UYW".split(), 4)
)
"""Decimals of the currencies of ISO 4217 that have not two."""


class After(NamedTuple):
    """One message, in words; ``text`` is a sentence without its end, ``cause`` what it follows, in a word or two."""

    kind: AfterKind
    text: str
    cause: str


def told(type_: str, data: Mapping[str, Any], local: tzinfo) -> After | None:
    """A message about what follows an ask, with instants in the ``local`` zone; None if it is of another type.

    ``data``: the message's, as parsed JSON.
    """
    words = phrases()
    match type_:
        case "referral.followup.requested":
            return After("follow-up", _requested(data, local), words.word("followed", data["kind"]))
        case "referral.followup.cancelled":
            why = words.word("withdrawn", data["reason"])
            text = words.say("after", "withdrawn", what=followup_words(data["kind"], data), why=why)
            return After("withdrawn", text, words.word("followed", data["kind"]))
        case "referral.reward.held":
            text = words.say(
                "after",
                "held",
                reward=reward_words(data),
                referral=data["referral_id"],
                why=hints_words(data["hints"]),
                instant=_clock(data["lapses_at"], local),
            )
        case "referral.reward.granted":
            text = words.say("after", "granted", reward=reward_words(data), referral=data["referral_id"])
        case "referral.reward.denied":
            why = words.word("denied", data["reason"])
            text = words.say("after", "denied", referral=data["referral_id"], why=why)
        case "referral.reward.reversed":
            why = words.word("denied", data["reason"])
            text = words.say("after", "reversed", referral=data["referral_id"], why=why)
        case _:
            return None
    return After("reward", text, words.word("words", "reward"))


def _requested(data: Mapping[str, Any], local: tzinfo) -> str:
    words = phrases()
    late = words.word("words", "late") if data["late"] else None
    due = _clock(data["due_by"], local)
    what = followup_words(data["kind"], {**data["variables"], "referral_id": data.get("referral_id")})
    if data["audience"] == "owner":
        return words.say("after", "for_owner", what=what, due=due, late=late)
    channels = [words.word("channels", channel) for channel in data["channels"]]
    ways = f" {words.word('words', 'or')} ".join(channels)
    return words.say("after", "to_say", what=what, due=due, late=late, ways=ways)


def followup_words(kind: str, fields: Mapping[str, Any]) -> str:
    """What is said, or to be done; ``fields`` that are known, such as ``answer`` or ``referral_id``, are told."""
    words = phrases()
    known: dict[str, Any] = dict.fromkeys(("referral_id", "answer", "status", "consented", "hints", "reason"))
    known |= {name: value for name, value in fields.items() if name in known}
    if known["hints"]:
        known["hints"] = hints_words(str(known["hints"]).split(","))
    if kind == "read_reward" and known["reason"]:
        known["reason"] = words.word("denied", known["reason"])
    reward = reward_words({**fields, "kind": fields["reward_kind"]}) if fields.get("reward_kind") else None
    return words.say("followups", kind, **known, reward=reward)


def hints_words(hints: list[str]) -> str:
    """Why a person has to look at a reward first."""
    words = phrases()
    return f" {words.word('words', 'and')} ".join(words.word("hints", hint) for hint in hints)


def reward_words(data: Mapping[str, Any]) -> str:
    """What a reward is: "credit of 25.00 EUR", "recognition (a page about you)"."""
    amount, currency = data.get("amount_minor"), data.get("currency")
    return phrases().say(
        "after",
        "reward",
        what=phrases().word("rewards", data["kind"]),
        amount=None if amount is None or currency is None else money(int(amount), currency),
        benefit=data.get("benefit"),
    )


def money(minor: int, currency: str) -> str:
    """An amount in minor units as people write it: ``money(2500, "EUR")`` is "25.00 EUR"."""
    digits = _DIGITS.get(currency.upper(), 2)
    sign, minor = ("-" if minor < 0 else ""), abs(minor)
    whole, rest = divmod(minor, 10**digits)
    amount = phrases().number(f"{whole:,}" + (f".{rest:0{digits}}" if digits else ""))
    return f"{sign}{amount} {currency.upper()}"


def _clock(text: str, local: tzinfo) -> str:
    return day_and_time(datetime.fromisoformat(text).astimezone(local))
