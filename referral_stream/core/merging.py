"""One person, several ids: one id hands its state over to another, and passes on what comes later (identity §3).

``customer.aliased`` makes the customer ask the other id to hand over; that one closes what is under way, becomes a
stub that says where it was merged, and delivers its state, which is folded in. Each entity changes nothing but its own
state, in its own step: what it wants of another it appends, so that a merge is nothing but records of one log.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core import linking
from referral_stream.core.after import grants, telling
from referral_stream.core.after.process import say_again, told_again
from referral_stream.core.asking import judging, recording, reservation, withdrawal
from referral_stream.core.customer import AliasedAt, Customer
from referral_stream.core.effects import Append, Letter, RecordForgotten
from referral_stream.core.events import AliasStamp, Data, Event
from referral_stream.core.fold import hold
from referral_stream.core.ids import derived_id, hash64
from referral_stream.core.keys import customer_key, parse_key
from referral_stream.core.rules.assessment import Board
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import Folded, Process, Turn, never
from referral_stream.core.uniting import MOST_ABSORBED, MOST_IDS, revised_downwards, unite

SOURCE = "referral-stream"

MOST_AWAITED = 100
"""Ids that a customer waits for at one time."""

LARGEST_STATE = 640_000
"""Bytes of a state that is handed over: in base64, with what stands around it, it fits a record of 900 kB."""

MERGE_CYCLE = "merge_cycle"
TOO_MANY_IDS = "too_many_ids"
STATE_TOO_LARGE = "state_too_large"

HOLDING = frozenset({MERGE_CYCLE, TOO_MANY_IDS, STATE_TOO_LARGE})
"""Causes of dead letters that put their customer on hold."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Customer).decode


# ------------------------------------------------------------------------------- before the fold: ids that are not it


def done_elsewhere(turn: Turn, event: Event) -> bool:
    """Whether a record is done with here, without the fold: under this id nobody lives, or nobody lives any more.

    To be asked of a stub, of somebody who is erased, and of what another id passed on.
    """
    c = turn.customer
    _tell_the_way(turn, event)
    if c.merged_into is None:
        return c.erased_at is not None and _erased(turn, event)
    if customer_key(c.id) in event.via:
        return _in_a_loop(turn, event, c.merged_into)
    if c.erased_at is not None:
        return _erased(turn, event)
    _pass_on(turn, event, c.merged_into)
    return True


def _tell_the_way(turn: Turn, event: Event) -> None:
    """The customer at the end tells all stubs but the last, which knows, where it is."""
    c = turn.customer
    if c.merged_into is not None or len(event.via) <= 1:
        return
    for id_ in dict.fromkeys(_ids(event.via[:-1])):
        if id_ != c.id:
            _append(turn, id_, ev.MergeMoved(into=c.id), event, event.source, event.id)


def _ids(via: tuple[str, ...]) -> Iterator[str]:
    """The customer ids among the keys; the others are links."""
    return (entity for key in via if isinstance(entity := parse_key(key.encode()), str))


def _pass_on(turn: Turn, event: Event, customer: str) -> None:
    """What a stub of that customer does with a record."""
    c = turn.customer
    match event.data:
        case ev.WakeupDue() | ev.ReservationDenied() | ev.ReservationUnavailable():
            return
        case ev.ReservationGranted(command_id=command):
            recording.release(turn, command)
        case ev.MergeMoved(into=into):
            c.merged_into = into if into != c.id else customer
        case ev.MergeRequested(into=into) if into == customer:
            _answer(turn, event)
        case _:
            if isinstance(event.data, ev.DeadletterReplayed) and event.subject == c.id:
                c.quarantined = False
            _forward(turn, event, customer)


def _forward(turn: Turn, event: Event, customer: str) -> None:
    passed_on = replace(event, via=(*event.via, customer_key(turn.customer.id)))
    turn.appended.append(Append(customer_key(customer), passed_on))


def _in_a_loop(turn: Turn, event: Event, into: str) -> bool:
    """The record has come round. The smallest id of the loop becomes a customer again, and takes it."""
    c, own = turn.customer, customer_key(turn.customer.id)
    if c.erased_at is not None:
        return True
    last = len(event.via) - 1 - event.via[::-1].index(own)
    smallest = min(_ids(event.via[last:]), key=lambda id_: id_.encode())
    if smallest != c.id:
        _pass_on(turn, event, into)
        return True
    c.merged_into, c.quarantined = None, True
    turn.letters.append(Letter(MERGE_CYCLE, "the ids of one person are merged in a circle"))
    return False


def _erased(turn: Turn, event: Event) -> bool:
    """An erased id stays erased, and what was said to be the same person later still has its word heard."""
    c = turn.customer
    match event.data:
        case ev.MergeRequested(into=into) if into != c.id:
            _answer(turn, event, erased_at=c.erased_now if c.erased_now is not None else c.erased_at)
            if c.merged_into is not None and c.merged_into != into:
                _forward(turn, event, c.merged_into)
            c.merged_into = c.merged_into or into
        case ev.MergeMoved(into=into) if c.merged_into is not None and into != c.id:
            c.merged_into = into
        case ev.Aliased() if c.merged_into is None:
            _ask(turn, event, event.data)
        case ev.ProfileChanged(email_hmac=str(hmac)):
            linking.hold_for_erased(turn, event, hmac)
        case ev.Linked(kind="email", value=hmac):
            linking.hold_for_erased(turn, event, hmac)
        case data if c.merged_into is not None and (ev.is_stop(data) or isinstance(data, ev.Aliased)):
            _forward(turn, event, c.merged_into)
        case _:
            told_again(turn, event)
    return True


# ----------------------------------------------------------------------------------------------- the customer that asks


def _ask(turn: Turn, event: Event, data: ev.Aliased) -> None:
    """Ask the other id to hand over, and wait for the answer."""
    c = turn.customer
    if data.alias in (c.id, *c.ids) or data.alias in c.merging:
        return
    if c.erased_at is None:
        if len(c.merging) < MOST_AWAITED:
            c.merging = {**c.merging, data.alias: AliasedAt.of(event)}
        else:
            _too_many(turn)
    stamp = AliasStamp(time=event.time, source=event.source, id=event.id)
    _append(turn, data.alias, ev.MergeRequested(into=c.id, stamp=stamp, asked_at=turn.now), event, *_told(stamp))


def _delivered(turn: Turn, event: Event, data: ev.MergeDelivered) -> None:
    c = turn.customer
    c.merging = {id_: at for id_, at in c.merging.items() if id_ != data.asked}
    turn.board.current = False
    if data.too_large:
        c.quarantined = True
        turn.letters.append(Letter(STATE_TOO_LARGE, "the state of another id fits no record"))
        return
    if data.erased_at is not None:
        c.ids = c.ids if data.of in c.ids else (*c.ids, data.of)[:MOST_IDS]
        if data.erased_at >= data.asked_at:
            c.erased_at, c.erased_now = data.erased_at, turn.now
            linking.hold_others(turn, Stamp.of(event))
        else:  # said of an id that was erased before: nobody is erased for that, and nobody is asked
            hold(c, f"~erased:{data.of}", Stamp.of(event))
        return
    absorbed = hash64(data.of, *map(str, _told(data.stamp)))
    if data.state is None or absorbed in c.absorbed:
        return
    if len(c.absorbed) >= MOST_ABSORBED:
        _too_many(turn)
        return
    _fold_in(turn, event, _decode(base64.b64decode(data.state)), absorbed)


def _fold_in(turn: Turn, event: Event, other: Customer, absorbed: int) -> None:
    before = turn.customer
    turn.customer = united = unite(before, other, turn.policy)
    united.absorbed = (*united.absorbed, absorbed)[-MOST_ABSORBED:]
    turn.forget_zone()
    linking.take_over(turn, event, before, other)
    reservation.amend_as_one(turn, before, other)
    withdrawal.corrected_elsewhere(turn, revised_downwards(before, united))
    grants.merged(turn, before, other)
    for followup in other.followups:
        if followup.cancelled == "merged" and turn.now < followup.expires_at:
            say_again(turn, followup, ends=followup.expires_at)


def _too_many(turn: Turn) -> None:
    turn.customer.quarantined = True
    turn.letters.append(Letter(TOO_MANY_IDS, f"more than {MOST_ABSORBED} ids are said to be one person"))


# ---------------------------------------------------------------------------------------------- the id that hands over


def _requested(turn: Turn, event: Event, data: ev.MergeRequested) -> None:
    c = turn.customer
    if data.into == c.id or data.into in c.ids:  # the request has come back: it is one person already
        c.merging = {id_: at for id_, at in c.merging.items() if id_ != event.subject}
        return
    mine = c.merging.get(data.into)
    if mine is not None and (mine, c.id) > (AliasedAt.of(data.stamp), data.into):
        return  # of two that ask each other the one that was told last is obeyed
    _close(turn, data.into)
    state = _packed(turn.customer)
    if len(state) > LARGEST_STATE:
        turn.customer.merged_into, turn.customer.quarantined = None, True
        turn.letters.append(Letter(STATE_TOO_LARGE, "it fits no record, and is not handed over"))
        _answer(turn, event, too_large=True)
        return
    _answer(turn, event, state=base64.b64encode(state).decode())
    turn.customer = Customer(id=c.id, now=turn.now, merged_into=data.into)
    turn.board, turn.asks_before = Board(), ()


def _close(turn: Turn, into: str) -> None:
    """Nothing stays under way under an id that was merged away; the gate ``erased`` says so."""
    c = turn.customer
    c.merged_into = into
    if c.awaiting is not None:
        recording.release(turn, c.awaiting.command_id)
        c.awaiting = None
    for opportunity in c.live:
        judging.close(turn, opportunity, "cancelled", judging.verdicts(turn, opportunity))
    withdrawal.withdraw(turn)
    telling.cancel(turn, telling.open_ones(turn, to_customer=True), "merged")
    if c.recorded:
        turn.effects.append(RecordForgotten(customer_id=c.id))
        c.recorded, c.record_owed = 0, False


def _packed(customer: Customer) -> bytes:
    """The same bytes for the same state, whether it was read from a table (a whole score is a float then) or not."""
    state: Customer = customer.copy()
    state.merged_into = state.wake_at = None
    return _encode(_decode(_encode(state)))


def _answer(
    turn: Turn, event: Event, *, state: str | None = None, erased_at: int | None = None, too_large: bool = False
) -> None:
    c, data = turn.customer, event.data
    answer = ev.MergeDelivered(
        of=c.id, asked=event.subject, stamp=data.stamp, asked_at=data.asked_at,
        state=state, erased_at=erased_at, too_large=too_large,
    )  # fmt: skip
    _append(turn, data.into, answer, event, event.subject, *_told(data.stamp))


# ------------------------------------------------------------------------------------------------------------- pieces


def _told(stamp: AliasStamp) -> tuple[int, str, str]:
    return stamp.time, stamp.source, stamp.id


def _append(turn: Turn, id_: str, data: Data, cause: Event, *what: object) -> None:
    """A record of our own for another id; it is about the time that its cause is about."""
    event = Event(
        id=derived_id(data.type, turn.customer.id, id_, *what),
        source=SOURCE,
        type=data.type,
        subject=id_,
        time=cause.time,
        data=data,
        historical=cause.historical,
    )
    turn.appended.append(Append(customer_key(id_), event))


def _on_record(turn: Turn, event: Event, _: Folded | None) -> bool:
    match event.data:
        case ev.Aliased():
            _ask(turn, event, event.data)
        case ev.MergeRequested():
            _requested(turn, event, event.data)
        case ev.MergeDelivered():
            _delivered(turn, event, event.data)
        case _:
            pass
    return True


def _nothing(_: Turn) -> None:
    """It waits for records alone: no instant changes anything."""


MERGING = Process(
    name="merging",
    takes=frozenset({ev.Aliased.type, ev.MergeRequested.type, ev.MergeDelivered.type}),
    on_record=_on_record,
    under_way=never,
    on_deadline=_nothing,
    on_due=_nothing,
    due=lambda _: (),
    on_erasure=_nothing,
)
