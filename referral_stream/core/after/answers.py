"""Answers: what follows the word that stands, and what ends with the one before it (after §1)."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.after import telling
from referral_stream.core.after.telling import Need
from referral_stream.core.asks import Ask
from referral_stream.core.effects import FollowupKind
from referral_stream.core.events import Event
from referral_stream.core.fold_after import ask_meant, is_known
from referral_stream.core.followups import FAILED, FollowUp
from referral_stream.core.instants import DAY, HOUR
from referral_stream.core.referrals import Referral
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import Turn

OF_ANSWERS: frozenset[FollowupKind] = frozenset({"intro_offer", "easy_forward", "graceful_no", "read_answer"})
"""The kinds that follow an answer."""


def answered(turn: Turn, event: Event, data: ev.AskAnswered) -> None:
    """An answer has been folded in: act on it if it stands, or may be read."""
    stopped = telling.open_ones(turn, to_customer=True) if data.answer == "stop" else []
    stamp = Stamp.of(event)
    standing = next((a for a in turn.customer.asks if a.answer is not None and a.answer.at == stamp), None)
    if standing is None:
        telling.cancel(turn, stopped, "stop")
        _of_referral(turn, event, data)
        return
    before = next((a for a in turn.asks_before if a.command_id == standing.command_id), None)
    word_before = None if before is None or before.answer is None else before.answer.value
    if word_before == data.answer:
        telling.cancel(turn, stopped, "stop")
        if data.answer == "unclear":
            _follow(turn, event, standing)
        return
    followups = turn.customer.followups if word_before is not None else ()
    earlier = [f for f in followups if f.about == standing.command_id and f.kind in OF_ANSWERS]
    telling.cancel_each(turn, [*((f, "stop") for f in stopped), *((f, "answer") for f in earlier)])
    _follow(turn, event, standing)


def _follow(turn: Turn, event: Event, ask: Ask) -> None:
    """The follow-up of the new word."""
    c, word = turn.customer, ask.answer
    if word is None or word.value == "stop" or not is_fresh(turn, event):
        return
    if word.value == "unclear":
        read(turn, ask, word.value, event.time)
    elif all(referral.ask != ask.command_id for referral in c.referrals.values()):
        _reply(turn, ask, word.value, event.time)


def _reply(turn: Turn, ask: Ask, word: str, at: int) -> None:
    trigger = {"trigger": ask.opportunity.trigger}
    about = ask.command_id
    match word:
        case "yes":
            need = Need("intro_offer", about, at, at + HOUR, trigger, lasts=DAY, ask=ask)
        case "maybe":
            need = Need("easy_forward", about, at, at + DAY, trigger, lasts=3 * DAY, ask=ask)
        case _:
            telling.request(turn, Need("graceful_no", about, at, at + HOUR, trigger, ends=at + HOUR, ask=ask))
            return
    stopped = "stop" in turn.customer.answers
    if stopped or telling.is_troubled(turn) or telling.request(turn, need) == "unreachable":
        read(turn, ask, word, at)


def read(turn: Turn, ask: Ask, word: str, at: int) -> None:
    """A person reads an answer where it was written, one of an ask at a time."""
    if any(f.about == ask.command_id and f.kind == "read_answer" for f in telling.open_ones(turn)):
        return
    variables = {"trigger": ask.opportunity.trigger, "answer": word}
    telling.request(turn, Need("read_answer", ask.command_id, at, at + DAY, variables, lasts=7 * DAY, ask=ask))


def _of_referral(turn: Turn, event: Event, data: ev.AskAnswered) -> None:
    """An answer to what was said about a referral that no ask led to: an unclear one is read by a person."""
    c = turn.customer
    followup = next((f for f in c.followups if f.id == data.command_id and f.subject), None)
    referral = None if followup is None else c.referrals.get(followup.subject)
    ask, stamp = ask_meant(c, data.command_id), Stamp.of(event)
    if followup is None or referral is None or (ask is not None and is_known(ask, turn.now)):
        return
    if not _is_newest(referral, stamp):
        return
    c.referrals = {**c.referrals, followup.subject: replace(referral, replied=stamp)}
    name = referral.id or followup.subject
    is_read = any(f.about == name and f.kind == "read_answer" for f in telling.open_ones(turn))
    if data.answer != "unclear" or is_read or not is_fresh(turn, event):
        return
    variables = {"answer": str(data.answer)}
    need = Need("read_answer", name, event.time, event.time + DAY, variables, lasts=7 * DAY, subject=followup.subject)
    telling.request(turn, need)


def _is_newest(referral: Referral, stamp: Stamp) -> bool:
    return referral.replied is None or referral.replied <= stamp


def is_fresh(turn: Turn, event: Event) -> bool:
    """Whether something may still follow from an event: it is no history, and not too long ago."""
    return not telling.is_history(turn, event) and turn.now < event.time + turn.policy.followups.fresh_days * DAY


def unsaid(turn: Turn, data: ev.AskAcknowledged, before: tuple[FollowUp, ...]) -> None:
    """A worker could not send what follows a yes: a person reads the answer, while the word stands."""
    if data.status not in FAILED:
        return
    followup = next(
        (f for f in before if f.id == data.command_id and f.kind == "intro_offer" and not f.cancelled), None
    )
    if followup is None or (followup.heard and not followup.sent and followup.failed):
        return
    ask = next((a for a in turn.customer.asks if a.command_id == followup.about), None)
    if ask is not None and ask.answer is not None and ask.answer.value == "yes":
        read(turn, ask, ask.answer.value, ask.answer.at.time)
