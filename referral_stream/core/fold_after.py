"""The fold of what comes after an ask: reports, answers, referrals and their statuses (after §1 to §5).

What follows from them is the business of :mod:`~referral_stream.core.after`.
"""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asks import Ask
from referral_stream.core.customer import LONGEST_NAME, Customer
from referral_stream.core.followups import FAILED, SENT, FollowUp
from referral_stream.core.ids import short
from referral_stream.core.instants import DAY
from referral_stream.core.newest import latest, may_be_forgotten
from referral_stream.core.referrals import Deal, Referral
from referral_stream.core.stamps import Stamp, Word

KNOWN_DAYS = 400
"""An answer may name an ask this old (after §1)."""

MOST_REFERRALS = 1_000
"""Referrals of one customer; further ones are only counted (after §5)."""


# ---------------------------------------------------------------------------------------------------- reports, answers


def acknowledged(c: Customer, d: ev.AskAcknowledged, s: Stamp) -> None:
    """A worker's report of a command, or of a follow-up."""
    c.asks = tuple(a.acknowledged(d.status, s.time) if a.command_id == d.command_id else a for a in c.asks)
    if d.status != "accepted" and any(f.id == d.command_id for f in c.followups):
        c.followups = tuple(_reported(f, d.status) if f.id == d.command_id else f for f in c.followups)


def _reported(f: FollowUp, status: str) -> FollowUp:
    return replace(f, heard=True, sent=f.sent or status in SENT, failed=f.failed or status in FAILED)


def answered(c: Customer, d: ev.AskAnswered, s: Stamp) -> None:
    """An answer, known or not: it makes the wait of gate 7, and breaks the silence of the ask that it names."""
    if d.answer in ev.WAITING:
        c.answers = {**c.answers, d.answer: latest(c.answers.get(d.answer), s.time)}
    ask = ask_meant(c, d.command_id)
    if (
        ask is None
        and d.answer != "stop"
        and (question := _open_question(c)) is not None
        and s.time >= question.asked_at
    ):
        put_ask(c, replace(question, answered=True))  # perhaps to it, which is no proof that it went out
    if ask is not None and (ask.kind == "reason" or is_known(ask, c.now)):
        newest = ask.answer is None or s > ask.answer.at
        put_ask(c, replace(
            ask,
            answered=True,
            sent_at=s.time if ask.sent_at is None else ask.sent_at,
            answer=Word(s, d.answer) if newest and ask.kind != "reason" else ask.answer,
        ))  # fmt: skip


def _open_question(c: Customer) -> Ask | None:
    """What an answer may be to that names nothing known, while a question for the reason is out."""
    return next((a for a in c.asks if a.kind == "reason" and a.may_be_cancelled(c.now)), None)


def ask_meant(c: Customer, command_id: str) -> Ask | None:
    """The ask of that command, or the one that the follow-up of that id is about."""
    named = next((ask for ask in c.asks if ask.command_id == command_id), None)
    if named is not None:
        return named
    followup = next((f for f in c.followups if f.id == command_id), None)
    if followup is None:
        return None
    about = followup.command_id
    if about is None and (referral := c.referrals.get(followup.subject)) is not None:
        about = referral.ask
    return next((ask for ask in c.asks if about is not None and ask.command_id == about), None)


def is_known(ask: Ask, now: int) -> bool:
    """Whether an answer, or a referral, may name it: it went out, and not too long ago."""
    return ask.kind in ("asked", "soft") and now < ask.asked_at + KNOWN_DAYS * DAY


def put_ask(c: Customer, changed: Ask) -> None:
    """Replace the state's version of an ask with this one."""
    c.asks = tuple(changed if ask.command_id == changed.command_id else ask for ask in c.asks)


def _earliest(known: int | None, time: int) -> int:
    return time if known is None else min(known, time)


# ----------------------------------------------------------------------------------------------------------- referrals


def referral_given(c: Customer, d: ev.ReferralGiven, s: Stamp) -> bool:
    """Whom a customer referred, by the newest event."""
    name = short(d.referral_id, LONGEST_NAME)
    known = c.referrals.get(name)
    if known is None and len(c.referrals) >= MOST_REFERRALS:
        c.referrals_over += 1
        return False
    known = known or _new(d.referral_id, name)
    newest = known.said is None or s > known.said
    contact = d.contact
    changed = replace(
        known,
        given=s.time if known.given is None else known.given,
        dated=_earliest(known.dated, s.time),
        said=s if newest else known.said,
        consented=(contact.consented if newest else known.consented) and not known.contact_erased,
        keys=_with(known.keys, contact.ref_hmac, contact.email_hmac),
        domains=_with(known.domains, contact.domain_hmac),
    )
    named = None if d.command_id is None else ask_meant(c, d.command_id)
    if named is not None and is_known(named, c.now):
        put_ask(c, replace(named, answered=True, sent_at=s.time if named.sent_at is None else named.sent_at))
    c.referrals = {**c.referrals, name: changed}
    return newest


def _with(known: tuple[str, ...], *found: str | None) -> tuple[str, ...]:
    """All that was ever said of a contact: another word does not take back who it is."""
    return tuple(dict.fromkeys((*known, *(each for each in found if each is not None))))


def _new(referral_id: str, name: str) -> Referral:
    return Referral(id="" if referral_id == name else referral_id)


def referral_status(c: Customer, d: ev.ReferralStatusChanged, s: Stamp) -> bool:
    """How far a referral has come, by the newest event; statuses may come before the referral itself."""
    name = short(d.referral_id, LONGEST_NAME)
    late = name not in c.referrals and may_be_forgotten(c, "referrals", s)
    known = c.referrals.get(name)
    if known is None and len(c.referrals) >= MOST_REFERRALS:
        c.referrals_over += 1
        return False
    known = known or _new(d.referral_id, name)
    conversion = known.conversion
    if d.status == "refunded" and conversion is not None and s > conversion.at:
        conversion = None
    newest = known.at is None or s > known.at
    deal = known.deal
    if d.deal_value_minor is not None and (deal is None or s > deal.at):
        deal = Deal(s, d.deal_value_minor, d.currency)
    converted, otherwise = known.converted_at, known.otherwise_at
    if d.status == "converted":
        converted = s if converted is None else min(converted, s)
    else:
        otherwise = s if otherwise is None else max(otherwise, s)
    changed = replace(
        known,
        at=s if newest else known.at,
        status=d.status if newest else known.status,
        conversion=conversion,
        deal=deal,
        converted_at=converted,
        otherwise_at=otherwise,
        taken=known.taken or d.status != "refunded",
    )
    c.referrals = {**c.referrals, name: changed}
    return newest and not late


def contact_erased(c: Customer, d: ev.ContactErased, _: Stamp) -> None:
    """The contact is to be forgotten, for good; also one of whom nothing is known yet."""
    name = short(d.referral_id, LONGEST_NAME)
    known = c.referrals.get(name)
    if known is None and len(c.referrals) >= MOST_REFERRALS:
        return
    known = known or _new(d.referral_id, name)
    changed = replace(known, contact_erased=True, consented=False)
    c.referrals = {**c.referrals, name: changed}
