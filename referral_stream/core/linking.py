"""What a customer tells the links that name them: the row ``linking`` of the step's table (identity §4).

Whatever names the customer is taught; their present e-mail address as theirs, former ones as former. A stop that they
say under their own id goes to all their addresses, also to one that is learned after it: nobody who has or had such an
address is asked. What came through a link goes to no link.
"""

from __future__ import annotations

from collections.abc import Mapping

from referral_stream.core import events as ev
from referral_stream.core.customer import Customer, word
from referral_stream.core.effects import Append
from referral_stream.core.events import Event, Link
from referral_stream.core.keys import link_key, through_link
from referral_stream.core.links import EMAIL, REFERRAL, held_event, taught_event
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import Folded, Process, Turn, never

MOST_EMAILS = 200
"""Addresses that a customer remembers; beyond them the one known longest goes, never the present one."""


def _on_record(turn: Turn, event: Event, folded: Folded | None) -> bool:
    match event.data:
        case ev.Linked(kind=kind, value=value):
            _linked(turn, event, Link(kind, value))
        case ev.ProfileChanged(email_hmac=str(hmac)):
            _address_said(turn, event, hmac)
        case ev.ReferralGiven(referral_id=referral):
            _teach(turn, event, Link(REFERRAL, referral))
        case data if _is_stop_for_address(data) and not through_link(event):
            _stop(turn, event)
        case _:
            pass
    return folded is not None


def _linked(turn: Turn, event: Event, link: Link) -> None:
    if link.kind != EMAIL:
        _teach(turn, event, link)
        return
    known = turn.customer.emails
    typed = ev.BROWSER in event.flags
    if typed and link.value in known:
        return
    _teach(turn, event, link, "former" if typed else "named")
    _remember(turn, link.value, told=known.get(link.value, False))
    _hold_others(turn, link.value, turn.customer.stops, event.time)


def _address_said(turn: Turn, event: Event, said: str) -> None:
    """The address that counts now is taught as theirs; one that they had, or that a browser says, as former."""
    c = turn.customer
    theirs = word(c.email_hmac)
    for hmac, told in c.emails.items():
        if told and hmac != theirs:
            _tell(turn, event, Link(EMAIL, hmac), ev.LinkLeft(customer=c.id))
            c.emails = {**c.emails, hmac: False}
    if theirs is not None and not c.emails.get(theirs):
        _teach(turn, event, Link(EMAIL, theirs), "theirs")
        _remember(turn, theirs, told=True)
    if said not in c.emails:
        _teach(turn, event, Link(EMAIL, said), "former")
        _remember(turn, said, told=False)
    _hold_others(turn, said, c.stops, event.time)


def _remember(turn: Turn, hmac: str, *, told: bool) -> None:
    emails = {**turn.customer.emails, hmac: told}
    if len(emails) > MOST_EMAILS:
        del emails[next(each for each, theirs in emails.items() if not theirs and each != hmac)]
    turn.customer.emails = emails


def _hold_others(turn: Turn, hmac: str, stops: Mapping[str, Stamp], since: int) -> None:
    """Tell the link of an address that was the customer's ``since`` then (epoch ms) the stops that held at a time."""
    c = turn.customer
    for type_, stamp in stops.items():
        lifted = _lifted(c, type_)
        if lifted is None or lifted < stamp or since < lifted.time:
            _append(turn, Link(EMAIL, hmac), held_event(stamp, c.id))


def _lifted(c: Customer, stop: str) -> Stamp | None:
    """The newest word that ends a stop of that type, if no newer one stands; nothing ends the answer "stop"."""
    word_ = {ev.Suppressed.type: c.suppressed, ev.ConsentChanged.type: c.consent.get("email")}.get(stop)
    if word_ is None:
        return None
    return word_.at if word_.value is (stop == ev.ConsentChanged.type) else None


def _is_stop_for_address(data: ev.Data) -> bool:
    """Whether it holds everybody of the same address: a suppression, a stop, an erasure, e-mail consent withdrawn."""
    if isinstance(data, ev.ConsentChanged) and data.channel not in ("email", "all"):
        return False
    return ev.is_stop(data) and not isinstance(data, ev.Held)


def _stop(turn: Turn, event: Event) -> None:
    c, stamp = turn.customer, Stamp.of(event)
    if event.type != ev.ErasureRequested.type:
        known = c.stops.get(event.type)
        c.stops = {**c.stops, event.type: stamp if known is None or stamp > known else known}
    hold_others(turn, stamp)


def _teach(turn: Turn, event: Event, link: Link, standing: ev.Standing = "named") -> None:
    _tell(turn, event, link, ev.LinkTaught(customer=turn.customer.id, standing=standing))


def _tell(turn: Turn, event: Event, link: Link, told: ev.LinkTaught | ev.LinkLeft) -> None:
    _append(turn, link, taught_event(event, turn.customer.id, link, told))


def _append(turn: Turn, link: Link, event: Event) -> None:
    turn.appended.append(Append(link_key(link), event))


def take_over(turn: Turn, event: Event, before: Customer, absorbed: Customer) -> None:
    """To be called when ``absorbed`` has been folded into the turn's customer, ``before`` until then.

    The links of the absorbed one's addresses name the customer in its place, and what either has said holds for all.
    """
    c = turn.customer
    theirs = word(c.email_hmac)
    for hmac in absorbed.emails:
        standing: ev.Standing = "theirs" if hmac == theirs else "former"
        taught = ev.LinkTaught(customer=c.id, standing=standing, instead_of=absorbed.id)
        _tell(turn, event, Link(EMAIL, hmac), taught)
        _remember(turn, hmac, told=hmac == theirs)
        _hold_others(turn, hmac, before.stops, event.time)
    for hmac in (each for each in before.emails if each not in absorbed.emails):
        _hold_others(turn, hmac, absorbed.stops, event.time)
    if theirs is not None:
        _address_said(turn, event, theirs)


def hold_others(turn: Turn, stamp: Stamp) -> None:
    """Everybody who has or had an address of the customer's is held, because of a stop with that stamp."""
    for hmac in turn.customer.emails:
        _append(turn, Link(EMAIL, hmac), held_event(stamp, turn.customer.id))


def hold_for_erased(turn: Turn, event: Event, hmac: str) -> None:
    """An address that is said of somebody after the erasure, or comes after it: the erasure holds its others, too."""
    c, said = turn.customer, Stamp.of(event)
    if c.erased_at is not None:
        since = Stamp(c.erased_at, protective=True, source=said.source, id=said.id)
        _append(turn, Link(EMAIL, hmac), held_event(since, c.id))


def _nothing(_: Turn) -> None:
    pass


LINKING = Process(
    name="linking",
    takes=frozenset({ev.Linked.type, ev.ProfileChanged.type, ev.ReferralGiven.type, *ev.STOPS} - {ev.Held.type}),
    on_record=_on_record,
    under_way=never,
    on_deadline=_nothing,
    on_due=_nothing,
    due=lambda _: (),
    on_erasure=_nothing,
)
"""Nothing is under way with it: links keep what waits."""
