"""One customer as a page: explained from their state and decisions, as of now, and under other numbers if asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import ValidationError

from referral_stream.console.parts import Console
from referral_stream.console.rendering import Clockwork
from referral_stream.console.signals import signals_of
from referral_stream.console.timeline import Timeline, drawn
from referral_stream.contracts.state import UnreadableState, decode_customer
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision
from referral_stream.core.events import ControlPaused, Event
from referral_stream.core.instants import MINUTE
from referral_stream.core.policy import Policy
from referral_stream.explain.background import Background
from referral_stream.explain.explaining import Explanation, explain
from referral_stream.read_models import Control, CustomerView
from referral_stream.replay.virtual_run import Happened

OCCASIONS_SHOWN: Final = 4
ENTRIES_SHOWN: Final = 40
WHAT_IF: Final = "if."
"""What begins the name of a number to try, in the address."""

NUMBERS: Final[Mapping[str, tuple[str, int, int]]] = {
    "score.soft_at": ("Score for a soft ask", 0, 100),
    "score.direct_at": ("Score for a direct ask", 0, 100),
    "too_early.tenure_days": ("Days since sign-up", 0, 365),
    "caps.customer_days": ("Days between asks to a customer", 1, 365),
    "caps.account_gap_days": ("Days between asks in an account", 1, 365),
    "caps.advocacy_days": ("Days after another kind of ask", 0, 365),
    "trouble.ticket_solved_days": ("Days after a ticket is solved", 0, 60),
    "trouble.complaint_days": ("Days after a complaint", 0, 365),
    "trouble.detractor_days": ("Days after a bad NPS score", 0, 365),
    "answers.no_days": ("Days after a no", 0, 365),
    "holdout.percent": ("Held out, percent", 0, 50),
}
"""The numbers that may be tried, with their bounds: whole numbers, so that no address costs more than another."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """``problem``: why the numbers cannot be tried; ``there``: the sentence under them; ``same``: as it is."""

    values: Mapping[str, str]
    problem: str | None
    there: str | None
    same: bool


def customer_context(
    console: Console, view: CustomerView, paused: Sequence[Control], given: Mapping[str, str], zone: Clockwork
) -> dict[str, Any]:
    """What the page shows. ``given``: the parameters of its address."""
    now, policy = console.clock.now(), console.policy
    known = known_of(view, paused)
    story = None if known is None else explained(known, view, paused, policy, now)
    decision = next((each for each in view.decisions if each["decision_id"] == given.get("decision")), None)
    customers = story.zone.name if story is not None else _zone_of(view)
    local = zone.local(customers)
    tried = _tried(policy, {name: value for name, value in given.items() if name.startswith(WHAT_IF)})
    what_if = None
    if story is not None and known is not None:
        what_if = _what_if(known, policy, now, tried, story)
    return {
        "now": now,
        "view": view,
        "story": story,
        "customers_zone": customers,
        "local": local,
        "zone_name": zone.name(customers),
        "occasions": () if story is None else story.opportunities[:OCCASIONS_SHOWN],
        "more_occasions": 0 if story is None else max(0, len(story.opportunities) - OCCASIONS_SHOWN),
        "entries": () if story is None else tuple(reversed(story.entries[-ENTRIES_SHOWN:])),
        "timeline": None if story is None or known is None else _drawn(known, story, now, local, policy),
        "decision": decision,
        "decision_missing": bool(given.get("decision")) and decision is None,
        "history": (view.record or {}).get("referral_history", {}),
        "what_if": what_if,
        "numbers": _numbers(policy, tried),
        "link": f"/customer?{urlencode({'id': view.customer_id})}",
        "account": (view.record or {}).get("account_id")
        or (view.decisions[0].get("account_id") if view.decisions else None),
    }


_KEPT: Final = 256
_explained: OrderedDict[tuple[Any, ...], Explanation] = OrderedDict()


def explained(
    known: Background, view: CustomerView, paused: Sequence[Control], policy: Policy, now: int
) -> Explanation:
    """The explanation, made at most once a minute for the same state: a customer who is held back takes some 50 ms."""
    newest = tuple(each["decision_id"] for each in view.decisions)
    key = (view.state, newest, tuple(paused), policy.hash, now // MINUTE)
    found = _explained.get(key) or explain(known, policy, now)
    _explained[key] = found
    while len(_explained) > _KEPT:
        _explained.popitem(last=False)
    return found


def _drawn(known: Background, story: Explanation, now: int, local: tzinfo, policy: Policy) -> Timeline:
    tracks = [
        replace(track, items=signals_of(known.customer)) if track.name == "signals" and not track.items else track
        for track in story.tracks
    ]
    return drawn(tracks, now, story.zone, local, policy.moments)


def known_of(view: CustomerView, paused: Sequence[Control]) -> Background | None:
    """What an explanation is made of; None where the state is not known, or of another version."""
    if view.state is None:
        return None
    try:
        customer: Customer = decode_customer(view.state).entity
    except UnreadableState:
        return None
    decided = []
    for body in reversed(view.decisions):
        try:
            decision = Decision.model_validate(body)
        except ValidationError:
            continue  # one of a later version
        decided.append(Happened(decision.decided_at, decision))
    return Background(
        name=customer.id,
        customers={customer.id: customer},
        happened=decided,
        switches=[_pause(number, each) for number, each in enumerate(paused)],
    )


def _pause(number: int, control: Control) -> Event:
    data = ControlPaused(scope=control.scope, name=control.name, by=control.by, why=control.why)  # type: ignore[arg-type]
    return Event(id=f"pause-{number}", source="console", type=data.type, subject="", time=control.at, data=data)


def _zone_of(view: CustomerView) -> str | None:
    return view.decisions[0]["time_zone"]["name"] if view.decisions else None


def _numbers(policy: Policy, tried: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"key": f"{WHAT_IF}{key}", "label": label, "least": least, "most": most, "here": _at(policy, key),
         "value": tried.get(key, "")}
        for key, (label, least, most) in NUMBERS.items()
    ]  # fmt: skip


def _at(policy: Policy, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(policy, section), name)


def _tried(policy: Policy, given: Mapping[str, str]) -> dict[str, str]:
    """The numbers that differ from the policy's."""
    found = {name.removeprefix(WHAT_IF): value.strip() for name, value in given.items()}
    return {name: value for name, value in found.items() if value and value != f"{_at_or_none(policy, name):g}"}


def _at_or_none(policy: Policy, key: str) -> float:
    return float(_at(policy, key)) if key in NUMBERS else float("nan")


def _what_if(
    known: Background, policy: Policy, now: int, tried: Mapping[str, str], story: Explanation
) -> WhatIf | None:
    if not tried:
        return None
    try:
        other = altered(policy, tried)
    except ValueError as problem:
        return WhatIf(tried, str(problem), None, same=False)
    there = explain(known, other, now).gist.text
    return WhatIf(tried, None, there, same=there == story.gist.text)


def altered(policy: Policy, tried: Mapping[str, str]) -> Policy:
    """The policy with other numbers. Raises ValueError, with a sentence, for what is out of bounds or contradicts."""
    data = policy.model_dump()
    for key, text in tried.items():
        if key not in NUMBERS:
            raise ValueError(f"{key} cannot be tried here.")
        label, least, most = NUMBERS[key]
        if not (text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= most):  # noqa: PLR2004
            raise ValueError(f"{label}: a whole number from {least} to {most}.")
        section, _, name = key.partition(".")
        data[section][name] = int(text)
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(first["msg"].removeprefix("Value error, ")) from None
