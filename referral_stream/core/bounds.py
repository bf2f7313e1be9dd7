"""Bounds: how much a state keeps, one row for each of its tables, and what goes where there is no room (identity §6).

Producers choose ids, so any table that grows by them would grow for ever. What is closed goes first, the oldest of it.
It leaves in ``forgotten`` the newest time of whatever may still hold an ask back, or speaks against a late event about
it: nobody may be asked because something went. What is open never goes: where more of a kind are open than anybody has,
the customer is *overfull* and not asked, what comes beyond is only counted, and a person has to look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from msgspec.structs import replace

from referral_stream.core import counting
from referral_stream.core import events as ev
from referral_stream.core.asks import MOST_ASKS, Ask
from referral_stream.core.customer import (
    Cancellation,
    Customer,
    Dispute,
    Invoice,
    Overfull,
    SubscriptionEvent,
    Survey,
    Ticket,
)
from referral_stream.core.effects import FollowupKind
from referral_stream.core.fold import MOST_HOLDS as MOST_HELD_BY
from referral_stream.core.fold import REMEMBERED_IDS
from referral_stream.core.fold_after import MOST_REFERRALS
from referral_stream.core.instants import SECOND
from referral_stream.core.policy import Policy
from referral_stream.core.rules import gates, subscriptions, usage
from referral_stream.core.stamps import Flag, Stamp

MOST_OPEN = 200
"""Open objects of one kind, and open trials."""

MOST_KEYS = 10_000
"""Business keys: occasions to ask that there ever were."""

MOST_HOLDS = 50
"""Other ids of the customer of which an event could not be applied."""

Mark: TypeAlias = tuple[str, int]
"""What an object leaves that goes: a name in ``forgotten``, and a time (epoch ms)."""


class Bound(NamedTuple):
    """A row: how many entries a field has at most.

    ``by_rule``: what sees to it, where that is not this module's general rule for tables by name. Else ``time`` ranks
    the entries (the oldest goes first), ``leaves`` says what an entry leaves, and ``is_open`` (by the policy, at an
    instant) which ones never go; ``closed`` is an entry as a person's clearing closes it.
    """

    most: int
    by_rule: str = ""
    time: Callable[[Any], int] = lambda entry: entry.at.time
    leaves: Callable[[Any], Iterable[Mark]] = lambda _: ()
    is_open: Callable[[Any, int, Policy], bool] | None = None
    closed: Callable[[Any, Stamp], Any] = lambda entry, _: entry


# -------------------------------------------------------------------------------------- what the entries of tables are


def _ticket_time(t: Ticket) -> int:
    return max(stamp.time for stamp in (t.at, t.rated) if stamp is not None)


def _ticket_leaves(t: Ticket) -> Iterator[Mark]:
    yield "tickets", _ticket_time(t)
    if t.at is not None:
        yield ("tickets.urgent" if t.priority in gates.URGENT else "tickets.solved"), t.at.time
    if t.rated is not None and t.rating == "negative":
        yield "tickets.rated", t.rated.time
    if t.soured is not None:
        yield "tickets.soured", t.soured.time


def _invoice_leaves(i: Invoice) -> Iterator[Mark]:
    yield "invoices", i.at.time
    if i.ever_failed:
        yield "invoices.failed", i.at.time


def _dispute_leaves(d: Dispute) -> Iterator[Mark]:
    yield "disputes", d.at.time
    if d.status == "lost":
        yield "disputes.lost", d.at.time if d.disputed_at is None else d.disputed_at


def _cancellation_time(c: Cancellation) -> int:
    return max(stamp.time for stamp in (c.considered, c.scheduled, c.reverted) if stamp is not None)


def _cancellation_leaves(c: Cancellation) -> Iterator[Mark]:
    if c.considered is not None and (c.reverted is None or c.reverted < c.considered):
        yield "cancellations.considered", c.considered.time
    if c.reverted is not None:
        yield "cancellations.reverted", c.reverted.time


def _is_scheduled(c: Cancellation, _: int, __: Policy) -> bool:
    return c.scheduled is not None and (c.reverted is None or c.reverted < c.scheduled)


def _response_leaves(r: Survey) -> Iterator[Mark]:
    yield "responses", r.at.time
    if r.score < ev.PASSIVE:
        yield "responses.low", r.at.time


def _answer_leaves(name: str) -> Callable[[Survey], Iterator[Mark]]:
    def leaves(said: Survey) -> Iterator[Mark]:
        yield name, said.at.time
        if said.low:
            yield "answers.low", said.at.time

    return leaves


def _approval_leaves(judged: Flag) -> Iterator[Mark]:
    if not judged.value:
        yield "approvals.rejected", judged.at.time


def _is_on(flag: Flag, _: int, __: Policy) -> bool:
    return flag.value


def _is_in_task(task: Flag, now: int, policy: Policy) -> bool:
    return task.value and now < task.at.time + policy.moments.critical_task_seconds * SECOND


def _off(_: Flag, at: Stamp) -> Flag:
    return Flag(at, value=False)


ANSWERS = Bound(100)

BOUNDS: Final[dict[str, Bound]] = {
    "subscriptions": Bound(300, "the oldest event goes, but the newest end and a trial that nothing has ended"),
    "reachable": Bound(len(ev.CHANNELS), "one for each channel"),
    "consent": Bound(len(ev.CHANNELS), "one for each channel"),
    "repeated_milestones": Bound(
        100, time=lambda at: at.time, leaves=lambda at: [("repeated_milestones", at.time)]
    ),
    "usage": Bound(200, "days that no baseline looks at are forgotten before the next midnight, as they are then"),
    "responses": Bound(100, leaves=_response_leaves),
    "csats": Bound(100, leaves=_answer_leaves("csats")),
    "reviews": Bound(100, leaves=_answer_leaves("reviews")),
    "advocacy": Bound(200, "the oldest ask goes, but the newest for a referral: the newest holds longest"),
    "tickets": Bound(
        220,
        time=_ticket_time,
        leaves=_ticket_leaves,
        is_open=lambda t, _, __: t.at is not None and t.open,
        closed=lambda t, at: replace(t, at=at, open=False),
    ),
    "invoices": Bound(
        220,
        leaves=_invoice_leaves,
        is_open=lambda i, _, __: i.failed,
        closed=lambda _, at: Invoice(at, failed=False, ever_failed=True),
    ),
    "disputes": Bound(
        220,
        leaves=_dispute_leaves,
        is_open=lambda d, _, __: d.status == "open",
        closed=lambda d, at: replace(d, at=at, status="lost"),
    ),
    "cancellations": Bound(
        220,
        time=_cancellation_time,
        leaves=_cancellation_leaves,
        is_open=_is_scheduled,
        closed=lambda c, at: replace(c, reverted=at),
    ),
    "tasks": Bound(220, is_open=_is_in_task, closed=_off),
    "concerns": Bound(220, is_open=_is_on, closed=_off),
    "calls_cut_short": Bound(100, "the oldest call goes, and no ask is made in a call that is unknown from then on"),
    "seen": Bound(REMEMBERED_IDS, "the oldest event goes (fold.REMEMBERED_IDS): a repeat of it counts as one more"),
    "keys": Bound(MOST_KEYS, "none goes: there is no further occasion, and the customer is overfull"),
    "live": Bound(24, "one for each trigger of the policy"),
    "asks": Bound(MOST_ASKS, "the oldest goes that no worker may send any more; while there is none, nothing is asked"),
    "answers": Bound(4, "one for each answer"),
    "approvals": Bound(100, leaves=_approval_leaves),
    "referrals": Bound(MOST_REFERRALS, "further ones are only counted (fold_after.MOST_REFERRALS)"),
    "followups": Bound(1_000, "the oldest goes that is over (telling.MOST_FOLLOWUPS); if none is, no more come"),
    "tallies": Bound(len(get_args(FollowupKind)), "one for each kind"),
    "months": Bound(14 * 24, "the months before the last thirteen go"),
    "merging": Bound(100, "the customer is quarantined (merging.MOST_AWAITED)"),
    "absorbed": Bound(1_000, "the customer is quarantined (uniting.MOST_ABSORBED)"),
    "ids": Bound(50, "the first ones stay (uniting.MOST_IDS): they are only named"),
    "holds": Bound(MOST_HOLDS, "the first ones stay, and the customer is overfull"),
    "held": Bound(MOST_HELD_BY + 1, "the oldest become one, which nothing lifts but what lifts it (fold.hold)"),
    "emails": Bound(200, "the one known longest goes (linking.MOST_EMAILS), never the present one"),
    "stops": Bound(len(ev.STOPS), "one for each type"),
    "overfull": Bound(9, "one for each kind"),
    "forgotten": Bound(24, "the names that this module gives"),
}  # fmt: skip
"""Field of the state → its bound. A container without a row fails a test."""

KINDS: Final = (*(name for name, row in BOUNDS.items() if row.is_open is not None), "subscriptions", "keys", "holds")
"""Of what a customer can be overfull."""

TOUCHES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("ticket.opened", "ticket.solved", "ticket.rated", "ticket.reopened"), "tickets"),
    **dict.fromkeys(("invoice.payment_failed", "invoice.paid"), "invoices"),
    **dict.fromkeys(("charge.disputed", "dispute.closed"), "disputes"),
    **dict.fromkeys(("cancellation.considered", "cancellation.scheduled", "cancellation.reverted"), "cancellations"),
    **dict.fromkeys(
        (
            "trial.started", "trial.ended", "subscription.started", "subscription.ended", "subscription.renewed",
        ),
        "subscriptions",
    ),
    **dict.fromkeys(("task.started", "task.ended"), "tasks"),
    **dict.fromkeys(("call.concern_raised", "call.concern_addressed"), "concerns"),
    **dict.fromkeys(("ask.approved", "ask.rejected"), "approvals"),
    "call.cut_short": "calls_cut_short",
    "milestone.reached": "repeated_milestones",
    "usage.recorded": "usage",
    "nps.responded": "responses",
    "csat.responded": "csats",
    "review.posted": "reviews",
    "advocacy.asked": "advocacy",
}  # fmt: skip
"""Type of a fact → the table that it may make larger."""


# ------------------------------------------------------------------------------------------------------------ one event


def fit(c: Customer, field: str, before: Any, event: ev.Event, policy: Policy) -> bool:
    """Make the table fit its bound again after the fold of an event; ``before``: as it was.

    False if it was only counted: there are too many open ones already.
    """
    opened = _open_in(c, field, policy)
    if opened > MOST_OPEN:
        after = getattr(c, field)
        setattr(c, field, before)
        if opened > _open_in(c, field, policy):
            count(c, field, event.time)
            return False
        setattr(c, field, after)
    _make_room(c, field, policy, before)
    return True


def needs_room(field: str, table: Any) -> bool:
    """Whether a table may be beyond a bound: rarely, and looked up after every event that touches one."""
    return len(table) > MOST_OPEN or len(table) > BOUNDS[field].most


def count(c: Customer, kind: str, time: int, *, more: int = 1) -> None:
    """One more of that kind for which there is no room, as of that time (epoch ms)."""
    known = c.overfull.get(kind, Overfull(time, 0))
    c.overfull = {**c.overfull, kind: Overfull(max(known.at, time), known.count + more)}


def clear(c: Customer, kind: str, at: Stamp, policy: Policy) -> None:
    """A person has looked: what is open of that kind is closed as of then. What came too much after that stands."""
    known = c.overfull.get(kind)
    if known is None or at.time <= known.at:
        return
    c.overfull = {name: counted for name, counted in c.overfull.items() if name != kind}
    if kind == "keys":
        c.keys = c.keys[len(c.keys) // 2 :]  # what they are about may be an occasion once more
    elif kind == "subscriptions":
        c.trial_over = at if c.trial_over is None else max(c.trial_over, at)
        ends = (SubscriptionEvent(at, name, "unconverted") for name in subscriptions.trials(c.subscriptions))
        c.subscriptions = tuple(sorted((*c.subscriptions, *ends), key=lambda life: life.at))
        _make_room(c, kind, policy)
    elif (row := BOUNDS[kind]).is_open is not None:
        is_open = row.is_open
        closed = {name: row.closed(entry, at) for name, entry in getattr(c, kind).items()
                  if is_open(entry, c.now, policy) and row.time(entry) <= at.time}  # fmt: skip
        setattr(c, kind, {**getattr(c, kind), **closed})
        c.forgotten = {
            name: max(time, at.time) if name in _AFTER_CLOSING[kind] else time for name, time in c.forgotten.items()
        }


_AFTER_CLOSING: Final[Mapping[str, frozenset[str]]] = {
    "tickets": frozenset({"tickets.solved", "tickets.urgent"}),
    "invoices": frozenset({"invoices.failed"}),
    "disputes": frozenset({"disputes.lost"}),
    "cancellations": frozenset({"cancellations.reverted"}),
    "tasks": frozenset(),
    "concerns": frozenset(),
}
"""What holds for a while after the end of something: also after that of what was open, and was not kept."""


# -------------------------------------------------------------------------------------------------- a whole customer


def fit_all(c: Customer, policy: Policy) -> None:
    """Make every table of the working copy fit, after two states have become one."""
    for field in dict.fromkeys(TOUCHES.values()):
        if needs_room(field, getattr(c, field)):
            _count_open(c, field, policy)
            _make_room(c, field, policy)
    if len(c.keys) > MOST_KEYS:
        count(c, "keys", c.now, more=len(c.keys) - MOST_KEYS)
        c.keys = c.keys[:MOST_KEYS]
    if len(c.holds) > MOST_HOLDS:
        count(c, "holds", c.now, more=len(c.holds) - MOST_HOLDS)
        c.holds = c.holds[:MOST_HOLDS]
    c.asks = room_for_asks(c, c.asks)


def _count_open(c: Customer, field: str, policy: Policy) -> None:
    """Of more open ones than two of anybody have, the first stay; what their end would leave, they leave now."""
    row = BOUNDS[field]
    if field == "subscriptions":
        names = subscriptions.trials(c.subscriptions)
        gone = {*names[MOST_OPEN:]}
        c.subscriptions = tuple(life for life in c.subscriptions if life.subscription not in gone)
        if gone:
            count(c, field, c.now, more=len(gone))
    elif row.is_open is not None:
        table = getattr(c, field)
        names = [name for name, entry in table.items() if row.is_open(entry, c.now, policy)]
        for name in names[MOST_OPEN:]:
            count(c, field, row.time(table[name]))
            ended = Stamp(time=row.time(table[name]), protective=True, source="", id="")
            _leave(c, row.leaves(row.closed(table[name], ended)))
        gone = {*names[MOST_OPEN:]}
        setattr(c, field, {name: entry for name, entry in table.items() if name not in gone})


# --------------------------------------------------------------------------------------------------------------- pieces


def _open_in(c: Customer, field: str, policy: Policy) -> int:
    """How many of a table are open."""
    row = BOUNDS[field]
    if field == "subscriptions":
        return len(subscriptions.trials(c.subscriptions))
    if row.is_open is None:
        return 0
    is_open, now = row.is_open, c.now
    return sum(is_open(entry, now, policy) for entry in getattr(c, field).values())


def _leave(c: Customer, marks: Iterable[Mark]) -> None:
    left = dict(c.forgotten)
    for name, time in marks:
        left[name] = max(left.get(name, time), time)
    c.forgotten = left


def _make_room(c: Customer, field: str, policy: Policy, before: Mapping[str, Any] | None = None) -> None:
    """Without what is beyond the bound, and an eighth more: not every event of such a customer has to look at all.

    What is new since ``before`` stays: what it means has yet to be looked at.
    """
    row = BOUNDS[field]
    if len(getattr(c, field)) <= row.most:
        return
    room = row.most - row.most // 8
    if (special := _SPECIAL.get(field)) is not None:
        special(c, room, policy)
        return
    table, is_open = getattr(c, field), row.is_open
    closed = [name for name, entry in table.items() if is_open is None or not is_open(entry, c.now, policy)]
    if before is not None:
        closed = [name for name in closed if before.get(name) is table[name]]
    closed.sort(key=lambda name: row.time(table[name]))
    if field == "approvals":  # what waits for it, or may still be taken back by it, keeps it
        needed = {o.id for o in (*c.live, *(ask.opportunity for ask in c.asks))}
        closed = [name for name in closed if name not in needed]
    gone = {*closed[: len(table) - room]}
    _leave(c, (mark for name in gone for mark in row.leaves(table[name])))
    setattr(c, field, {name: entry for name, entry in table.items() if name not in gone})


def _oldest_advocacy(c: Customer, room: int, _: Policy) -> None:
    referral = next((ask for ask in reversed(c.advocacy) if ask[1] == "referral"), None)  # it holds longer than others
    kept = c.advocacy[-room:]
    c.advocacy = kept if referral is None or referral in kept else (referral, *kept[1:])


def _oldest_calls(c: Customer, room: int, _: Policy) -> None:
    c.calls_cut_short = c.calls_cut_short[-room:]
    _leave(c, [("calls_cut_short", c.now)])


def _oldest_usage(c: Customer, _: int, policy: Policy) -> None:
    usage.forget(c, c.judged_day, policy)


def _oldest_lives(c: Customer, room: int, _: Policy) -> None:
    """Without the oldest events of subscriptions: before the first that is kept of one, it counts as not active.

    Fewer active ones never lift "ended". The newest end stays, and every trial that nothing has ended.
    """
    lives = c.subscriptions
    on_trial = {*subscriptions.trials(lives)}
    newest_end = max((n for n, life in enumerate(lives) if life.kind in subscriptions.ENDS), default=None)
    newest = {life.subscription: n for n, life in enumerate(lives) if life.kind == "trial"}
    kept = {n for subscription, n in newest.items() if subscription in on_trial}
    gone = [n for n in range(len(lives)) if n not in kept and n != newest_end][: len(lives) - room]
    back = subscriptions.lives(lives).back
    _leave(c, [("subscriptions", lives[n].at.time) for n in gone[-1:]])
    _leave(c, [] if back is None else [("subscriptions.back", back)])
    dropped = {*gone}
    c.subscriptions = tuple(life for n, life in enumerate(lives) if n not in dropped)


_SPECIAL: Final[Mapping[str, Callable[[Customer, int, Policy], None]]] = {
    "subscriptions": _oldest_lives,
    "usage": _oldest_usage,
    "advocacy": _oldest_advocacy,
    "calls_cut_short": _oldest_calls,
}


def room_for_asks(c: Customer, asks: tuple[Ask, ...], *, more: int = 0) -> tuple[Ask, ...]:
    """The asks, at most as many as there is room for beside ``more``; as far as workers may not send them any more.

    The oldest go, but not the newest that counts, nor the newest that reached the customer. One that was not answered
    leaves its silence.
    """
    beyond = len(asks) + more - BOUNDS["asks"].most
    if beyond <= 0:
        return asks
    told = [ask for ask in asks if ask.kind != "reason"]
    counts = [ask for ask in asks if ask.counts]
    kept = {
        *[ask.command_id for ask in counts][-1:],
        *[ask.command_id for ask in counts if ask.kind != "shadow"][-1:],
        *[ask.command_id for ask in told if ask.reached][-2:],
        *[ask.command_id for ask in asks if ask.may_be_cancelled(c.now)],
    }
    gone = [ask for ask in asks if ask.command_id not in kept][:beyond]
    _leave(
        c, (("asks.silent", ask.asked_at) for ask in gone if ask.reached and not ask.answered and ask.kind != "reason")
    )
    dropped = {ask.command_id for ask in gone}
    c.past_asks = counting.past(c.past_asks, gone)
    return tuple(ask for ask in asks if ask.command_id not in dropped)
