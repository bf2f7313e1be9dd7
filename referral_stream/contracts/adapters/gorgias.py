"""Gorgias: tickets, as its HTTP integrations send them with the body that docs/adapters.md gives.

The body is a template of the team's, and nothing is signed. So only a ticket in Gorgias' own words is recognised, and
only that it is open or over, whose it is, and how it was rated. A ticket in a status that nobody knows is open. Where
the customer has no id of the team's, it goes to everybody who has their address: a trouble must not miss them.
"""

from __future__ import annotations

from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    list_at,
    object_at,
    profile,
    since_at,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import tagged, with_opt_out
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook

_OVER = "closed"
_PRIORITIES = frozenset({"low", "normal", "high", "urgent"})
_TIMES = ("updated_datetime", "closed_datetime", "created_datetime")
_A_TIME = frozenset(_TIMES)
_VERDICTS = {1: "negative", 2: "negative", 4: "positive", 5: "positive"}
_LOW = (1, 2, 3)
_SCALE_MAX = 5
_YES = frozenset({"true", "1", "yes"})
_NOTHING = frozenset({"", "none", "null"})
"""What a template writes for a value that is not there."""


def recognises(payload: Payload) -> bool:
    """A ticket with its id and status, and a time under Gorgias' name for it."""
    ticket = payload.get("ticket")
    return isinstance(ticket, dict) and "id" in ticket and "status" in ticket and not _A_TIME.isdisjoint(ticket)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One ticket as it now stands; and the rating that it has, if it has one."""
    ticket = object_at(payload, "ticket")
    customer = object_at(ticket, "customer")
    address = customer.get("email")
    own, time = id_at(ticket, "id"), _time(ticket)
    return about_whom(
        payload,
        reading,
        (
            *with_opt_out(
                (*_stands(ticket), *_rated(ticket)),
                customer.get("data"),
                customer.get("meta"),
                tagged(ticket.get("tags")),
            ),
            *profile(**reading.address_hmacs(address)),
        ),
        (
            ("email", address),
            *[("email", at(channel, "address")) for channel in list_at(customer, "channels")[:50]],
            ("gorgias_customer", customer.get("id")),
            ("gorgias_customer", ticket.get("customer_id")),
        ),
        kind="ticket",
        # a ticket is sent again whenever it changes
        id=f"{own}:{ticket.get('status')}:{time}"[:512] if own is not None and time is not None else None,
        time=time,
    )


def _time(ticket: Payload) -> int | str | None:
    return time_at(ticket, *[name for name in _TIMES if not _is_nothing(ticket.get(name))])


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().casefold() in _NOTHING)


def _stands(ticket: Payload) -> Facts:
    """Open unless it is closed, discarded as spam, or in the trash: a template that was not filled says none of it."""
    named = {"ticket_id": id_at(ticket, "id")}
    status = (text_at(ticket, "status") or "").strip().casefold()
    is_spam = str(ticket.get("spam")).strip().casefold() in _YES
    is_discarded = is_spam or since_at(ticket, "trashed_datetime") is not None
    is_asleep = since_at(ticket, "snooze_datetime") is not None  # it opens again by itself
    if is_discarded or (status == _OVER and not is_asleep):
        return (Fact("ticket.solved", named),)
    priority = (text_at(ticket, "priority") or "").strip().casefold()
    return (Fact("ticket.opened", named | ({"priority": priority} if priority in _PRIORITIES else {})),)


def _rated(ticket: Payload) -> Facts:
    """The satisfaction survey's score, 1 to 5, and before it what it says of the ticket.

    It comes again with every later change, so a good one counts only with its own time.
    """
    survey = object_at(ticket, "satisfaction_survey")
    score = whole_number(survey.get("score"))
    if score is None:
        return ()
    own, response = id_at(ticket, "id"), id_at(survey, "id")
    time = time_at(survey, "scored_datetime") if not _is_nothing(survey.get("scored_datetime")) else None
    if time is None and score not in _LOW:
        return ()
    data: dict[str, Any] = {"score": score, "scale_max": _SCALE_MAX, "comment": text_at(survey, "body_text")}
    data |= {"ticket_id": own, "response_id": response or (f"csat:{own}"[:512] if own else None)}
    answered = Fact("csat.responded", {name: value for name, value in data.items() if value is not None}, time)
    if own is None or score not in _VERDICTS:
        return (answered,)
    return (Fact("ticket.rated", {"ticket_id": own, "rating": _VERDICTS[score]}, time), answered)


ADAPTER = Adapter(
    name="gorgias",
    marks=("ticket",),
    recognises=recognises,
    customer_paths=("ticket.customer.external_id",),
    read=read,
)
