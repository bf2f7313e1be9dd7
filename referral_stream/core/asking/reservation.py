"""The ledger's part: a reservation is requested for the best candidate, then granted, denied, or met with silence."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asking.arbitration import rank
from referral_stream.core.asking.emission import emit
from referral_stream.core.asking.judging import judge_live, keep
from referral_stream.core.asking.recording import release
from referral_stream.core.asks import Ask
from referral_stream.core.customer import Customer, word
from referral_stream.core.events import Channel
from referral_stream.core.ids import command_id
from referral_stream.core.instants import DAY, HOUR, SECOND
from referral_stream.core.ledger.breaker import BREAKER
from referral_stream.core.ledger.switches import Stopping, Switch, stopped_by
from referral_stream.core.opportunity import Awaiting, Denial
from referral_stream.core.rules.assessment import Assessment
from referral_stream.core.turn import Turn


def dispatch(turn: Turn) -> None:
    """Choose among what may speak now, and request the ask, in shadow mode too."""
    channels, policy = turn.board.moment_channels, turn.policy
    candidates = [
        (judged, channels.get(id_, "email"))
        for id_, judged in turn.board.judged.items()
        if not judged.blocked
        and judged.opportunity.ready <= turn.now
        and (judged.clock_allows or id_ in channels)
    ]  # fmt: skip
    candidates.sort(key=lambda candidate: rank(policy, candidate[0].opportunity))
    if not candidates:
        return
    _request(turn, candidates, turn.now)


def _request(turn: Turn, candidates: list[tuple[Assessment, Channel]], moment: int) -> None:
    """Request the first candidate from the ledger; until it answers, nothing is written about any of them."""
    (judged, channel), *rest = candidates
    c, o = turn.customer, judged.opportunity
    c.awaiting = Awaiting(
        opportunity_id=o.id,
        command_id=command_id(c.id, o.trigger, o.subject),
        moment=moment,
        channel=channel,
        give_up=turn.now + turn.policy.ledger.answer_seconds * SECOND,
        rest=tuple((other.opportunity.id, ch) for other, ch in rest),
    )
    by_the_clock = o.id not in turn.board.moment_channels and c.wake_at is not None and c.wake_at <= turn.now
    turn.effects.append(turn.builder.request(o, moment, c.wake_at if by_the_clock else None))


def granted(turn: Turn, data: ev.ReservationGranted) -> None:
    c = turn.customer
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != data.command_id:
        if all(ask.command_id != data.command_id for ask in c.asks):
            release(turn, data.command_id)  # it is no longer awaited
        return
    c.awaiting = None
    opportunity = next((o for o in c.live if o.id == awaiting.opportunity_id), None)
    if opportunity is None:
        release(turn, data.command_id)
        return
    judge_live(turn)
    judged = turn.board.judged.get(opportunity.id)
    if judged is None or judged.blocked:
        release(turn, data.command_id)
        return
    emit(turn, judged, awaiting)
    if awaiting.amended:
        turn.effects.append(turn.builder.amendment(opportunity, c.account_id, word(c.email_hmac)))


def denied(turn: Turn, data: ev.ReservationDenied) -> None:
    """A reservation was refused: that is the gate's answer; the next candidate of the same instant is tried."""
    c = turn.customer
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != data.command_id:
        return
    denial = Denial(gate=data.gate, saw=data.saw, until=data.until, until_event=data.until_event)
    c.awaiting = None
    opportunity = next((o for o in c.live if o.id == awaiting.opportunity_id), None)
    if opportunity is not None:
        keep(turn, replace(opportunity, denial=denial))
    judge_live(turn)
    judged = turn.board.judged
    candidates = [(judged[id_], channel) for id_, channel in awaiting.rest if id_ in judged and not judged[id_].blocked]
    if candidates:
        _request(turn, candidates, awaiting.moment)


def silent(turn: Turn, command: str) -> None:
    """The ledger cannot answer: fail closed and retry, each time after a longer wait."""
    c, rules = turn.customer, turn.policy.ledger
    awaiting = c.awaiting
    if awaiting is None or awaiting.command_id != command:
        return
    c.awaiting = None
    candidates = {awaiting.opportunity_id, *(id_ for id_, _ in awaiting.rest)}  # the others would meet the same silence
    for o in c.live:
        if o.id in candidates:
            wait = min(rules.retry_seconds * 2**o.tries, rules.retry_limit_seconds)
            again = turn.now + wait * SECOND
            denial = Denial("overasking", "ledger_unavailable", until=again, until_event="ledger.answered")
            keep(turn, replace(o, tries=o.tries + 1, denial=denial))
    judge_live(turn)


def give_up(turn: Turn, awaiting: Awaiting) -> None:
    """An answer that has not come in time counts as silence; at once if the opportunity is closed."""
    deadline = next((o.deadline for o in turn.customer.live if o.id == awaiting.opportunity_id), turn.now)
    if turn.now >= min(awaiting.give_up, deadline):
        silent(turn, awaiting.command_id)


def paused(turn: Turn, data: ev.ControlPaused, time: int) -> bool:
    """A pause reaches what the ledger holds a reservation for; returns whether there was anything.

    What is out is blocked by gate 2 from now on, and so are a request that may be granted yet, and the ask behind a
    question for the reason.
    """
    c, awaiting = turn.customer, turn.customer.awaiting
    switch, by_itself = Switch(data.scope, data.name or ""), data.by == BREAKER
    denial = Denial(
        gate="paused",
        saw=stopped_by([Stopping(switch)]),
        until=time + turn.policy.breaker.pause_hours * HOUR if by_itself else None,
        until_event=None if by_itself else ev.ControlResumed.type,
    )
    found = False
    for o in c.live:
        held = o.reason_asked_at is not None or (awaiting is not None and awaiting.opportunity_id == o.id)
        if held and switch.concerns(o.trigger, None):
            keep(turn, replace(o, denial=denial))
            found = True
    out = {
        a.command_id for a in c.asks if a.may_be_cancelled(turn.now) and switch.concerns(a.opportunity.trigger, None)
    }
    if out:
        c.asks = tuple(
            replace(a, opportunity=replace(a.opportunity, denial=denial)) if a.command_id in out else a for a in c.asks
        )
    return found or bool(out)


def resumed(turn: Turn) -> bool:
    """What a pause had refused may ask again; returns whether there was anything."""
    refused = [o for o in turn.customer.live if o.denial is not None and o.denial.gate == "paused"]
    for opportunity in refused:
        keep(turn, replace(opportunity, denial=None))
    if refused:
        judge_live(turn)
    return bool(refused)


def report(turn: Turn) -> None:
    """Notify the ledger when a worker's report turns a reservation into an ask, or releases it."""
    c = turn.customer
    for before, after in zip(turn.asks_before, c.asks, strict=True):
        if before is after:
            continue
        if after.reached and not before.reached:
            turn.effects.append(turn.builder.confirmation(after.opportunity))
        elif before.counts and not after.counts and not _still_counts(turn, after):
            turn.effects.append(turn.builder.reversal(after.opportunity))


def _still_counts(turn: Turn, failed: Ask) -> bool:
    """Whether another command under the same reservation may have reached the customer."""
    return any(
        ask.counts and ask.opportunity.id == failed.opportunity.id
        for ask in turn.customer.asks
        if ask.command_id != failed.command_id
    )


def asked_elsewhere(turn: Turn, at: int) -> None:
    """A referral that others asked for counts for the account and the address, too, as far as they are known now."""
    c, caps = turn.customer, turn.policy.caps
    if c.erased_at is None and turn.now < at + caps.longest_days * DAY:
        turn.effects += turn.builder.asked_elsewhere(at)


def amend(turn: Turn) -> None:
    """An account or an address that has become known counts for the asks within a cap's period, too."""
    c = turn.customer
    account = c.account_id if c.account_id != turn.account_before else None
    email = word(c.email_hmac) if word(c.email_hmac) != turn.email_before else None
    if account is not None or email is not None:
        _amend(turn, c.asks, account, email)


def amend_as_one(turn: Turn, mine: Customer, other: Customer) -> None:
    """Two ids have become one customer: the asks of each count for the account and the address of the other, too."""
    others = {ask.command_id for ask in other.asks}
    asks = turn.customer.asks
    _amend(turn, [ask for ask in asks if ask.command_id in others], mine.account_id, word(mine.email_hmac))
    _amend(turn, [ask for ask in asks if ask.command_id not in others], other.account_id, word(other.email_hmac))


def _amend(turn: Turn, asks: Iterable[Ask], account: str | None, email: str | None) -> None:
    c, caps = turn.customer, turn.policy.caps
    if c.awaiting is not None:
        c.awaiting = replace(c.awaiting, amended=True)
    # A question for the reason has no reservation of its own: it goes out under that of the ask. One that failed or was
    # taken back may count again: an answer to it says that it was sent.
    for ask in {ask.opportunity.id: ask for ask in asks}.values():
        age = turn.now - ask.asked_at
        in_account = account if age < max(caps.account_gap_days, caps.account_days) * DAY else None
        in_email = email if age < caps.customer_days * DAY else None
        if in_account is not None or in_email is not None:
            turn.effects.append(turn.builder.amendment(ask.opportunity, in_account, in_email))
