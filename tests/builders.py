"""Worlds to test with: everything sound unless a test says otherwise.

The week of the tests is that of Monday, 15 June 2026, in Berlin. A customer from :func:`a_customer` passes every gate
all week long with a score of exactly 70, and an NPS promoter's score is 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from referral_stream.contracts.validation import FACT_BODIES
from referral_stream.core import events as ev
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    AskCancelled,
    AskRequested,
    Decision,
    Effect,
    RecordChanged,
    ReservationReleased,
    ReservationRequested,
)
from referral_stream.core.events import Channel, Data, Event
from referral_stream.core.fold import fold
from referral_stream.core.ids import command_id, opportunity_id
from referral_stream.core.instants import from_datetime, to_datetime
from referral_stream.core.policy import Policy
from referral_stream.core.step import step
from referral_stream.policy_file.reading import build_policy
from referral_stream.replay.virtual_run import Arrival, FactReplay, Happened
from tests.worlds.customers import BERLIN, history

MONDAY = date(2026, 6, 15)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WEEKS = {"last": -7, "": 0, "next": 7}

When: TypeAlias = str | int
"""``"Thu 12:50"``, ``"next Mon 08:00"``, ``"2026-10-25 01:30:00.001"`` (wall time in Berlin), or epoch ms."""
Told: TypeAlias = Event | Arrival | Iterable["Told"]

# The three instants around a boundary, in ms: the last one before it, itself, the first one after it.
AROUND = (-1, 0, 1)


def at(when: When, zone: str = BERLIN) -> int:
    """The instant of a wall time, epoch ms."""
    if isinstance(when, int):
        return when
    *week, day, clock = when.split()
    if day in WEEKDAYS:
        date_ = MONDAY + timedelta(days=WEEKS["".join(week)] + WEEKDAYS.index(day))
        day = date_.isoformat()
    return from_datetime(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone)))


def shown(instant: int, zone: str = BERLIN) -> str:
    """The wall time of an instant, as short as can be: the inverse of :func:`at`."""
    local = to_datetime(instant).astimezone(ZoneInfo(zone))
    weeks, weekday = divmod((local.date() - MONDAY).days, 7)
    week = {days // 7: name for name, days in WEEKS.items()}.get(weeks)
    day = local.date().isoformat() if week is None else f"{week} {WEEKDAYS[weekday]}".strip()
    spec = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
    return f"{day} {local.time().isoformat(spec)}"


# ---- the policy


def a_policy(**sections: Any) -> Policy:
    """The default policy without a holdout, but for the keys given (as in the policy file)."""
    return build_policy({"holdout": {"percent": 0}, **sections})


POLICY = a_policy()


# ---- events


def fact(data: Data, when: When = "Thu 12:30", *, customer: str = "ana", id: str | None = None, **more: Any) -> Event:
    """One event that happened then. Without an ``id``, what is the same has the same one."""
    time = at(when)
    name = id or f"{data.type} {time} {data.model_dump_json(exclude_defaults=True)}"
    return Event(id=name, source="tests", type=data.type, subject=customer, time=time, data=data, **more)


def arriving(event: Event, when: When) -> Arrival:
    """An event that arrived later than it happened."""
    return Arrival(at(when), event)


def nps(score: int, when: When = "Thu 12:30", response: str = "r1", **more: Any) -> Event:
    return fact(ev.NpsResponded(response_id=response, score=score, theme=more.pop("theme", None)), when, **more)


def csat(score: float, scale: float = 5, when: When = "Thu 12:30", response: str = "c1", **more: Any) -> Event:
    return fact(ev.CsatResponded(response_id=response, score=score, scale_max=scale), when, **more)


def first_success(when: When = "Thu 12:30", key: str = "first report", **more: Any) -> Event:
    return fact(ev.MilestoneReached(milestone=key, first_success=True), when, **more)


def renewed(when: When = "Tue 10:00", invoice: str | None = "in-1", **more: Any) -> Event:
    return fact(ev.SubscriptionRenewed(subscription_id="sub-1", invoice_id=invoice), when, **more)


def compliment(when: When = "Thu 12:30", reference: str | None = "post-1", **more: Any) -> Event:
    return fact(ev.ComplimentGiven(reference=reference), when, **more)


def ticket_opened(when: When, ticket: str = "t1", priority: Any = None, **more: Any) -> Event:
    return fact(ev.TicketOpened(ticket_id=ticket, priority=priority), when, **more)


def ticket_solved(when: When, ticket: str = "t1", rating: Any = None, **more: Any) -> Event:
    return fact(ev.TicketSolved(ticket_id=ticket, rating=rating), when, **more)


def consent(granted: bool, when: When, channel: Any = "all", **more: Any) -> Event:
    data = ev.ConsentChanged(purpose="referral_ask", channel=channel, granted=granted)
    return fact(data, when, **more)


def acknowledged(status: Any, when: When, command: str, **more: Any) -> Event:
    return fact(ev.AskAcknowledged(command_id=command, status=status), when, **more)


def answered(answer: Any, when: When, command: str = "command", **more: Any) -> Event:
    return fact(ev.AskAnswered(command_id=command, answer=answer), when, **more)


def _switch(word: type[ev.ControlPaused | ev.ControlResumed], when: When, *of: str, by: str = "ops") -> Event:
    scope, name = (*of, None)[:2] if of else ("all", None)
    data = word(scope=scope, name=name, by=by, why="a test")  # type: ignore[arg-type]  # literals
    return fact(data, when, customer="")


def pause(when: When, *of: str, by: str = "ops") -> Event:
    return _switch(ev.ControlPaused, when, *of, by=by)


def resumption(when: When, *of: str) -> Event:
    return _switch(ev.ControlResumed, when, *of)


def command_of(trigger: str = "nps_promoter", subject: str = "r1", customer: str = "ana") -> str:
    return command_id(customer, trigger, subject)


def opportunity_of(trigger: str = "nps_promoter", subject: str = "r1", customer: str = "ana") -> str:
    return opportunity_id(customer, trigger, subject)


def a_customer(
    id: str = "ana",
    *,
    zone: str | None = BERLIN,
    channels: Iterable[Channel] = ("email",),
    account: str | None = None,
    email_hmac: str | None = None,
    requires_approval: bool | None = None,
    champion: bool = True,
    without: tuple[str, ...] = (),
) -> list[Event]:
    """The history of somebody who may be asked: score 70, or 55 if no champion; ``without`` events of those types."""
    signals = ("usage", "feedback", "calls", "advice", *(("champion",) if champion else ()))
    facts = history(
        *signals,
        zone=zone,
        channels=tuple(channels),
        without=without,
        account_id=account,
        email_hmac=email_hmac,
        requires_approval=requires_approval,
    )
    return [fact(FACT_BODIES[each.type](each.body), at("Mon 12:00") - each.age, customer=id) for each in facts]


# ---- a replay: many customers, a virtual clock, a ledger that answers at once


@dataclass
class Story:
    """What a replay said, in its order."""

    happened: list[Happened]
    customers: dict[str, Customer]

    def effects(self) -> list[Effect]:
        """All but records."""
        return [item.effect for item in self.happened if not isinstance(item.effect, RecordChanged)]

    @property
    def records(self) -> list[RecordChanged]:
        return [item.effect for item in self.happened if isinstance(item.effect, RecordChanged)]

    @property
    def asks(self) -> list[AskRequested]:
        return [effect for effect in self.effects() if isinstance(effect, AskRequested)]

    @property
    def ask(self) -> AskRequested:
        """The only ask."""
        (ask,) = self.asks
        return ask

    @property
    def cancelled(self) -> list[AskCancelled]:
        return [effect for effect in self.effects() if isinstance(effect, AskCancelled)]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(trigger, wall time) of each ask."""
        return [(ask.trigger, shown(ask.not_before)) for ask in self.asks]

    def decisions(self, trigger: str | None = None) -> list[Decision]:
        return [
            effect for effect in self.effects() if isinstance(effect, Decision) and trigger in (None, effect.trigger)
        ]

    def outcomes(self, trigger: str | None = None) -> list[tuple[str, str]]:
        """(outcome, wall time) of each decision."""
        return [(decision.outcome, shown(decision.decided_at)) for decision in self.decisions(trigger)]


def replay(*told: Told, policy: Policy = POLICY, until: When | None = None) -> Story:
    """What becomes of these events: each arrives when it happens unless it says otherwise."""
    world = FactReplay(policy)
    arrivals = sorted(_arrivals(told), key=lambda arrival: arrival.now)
    end = None if until is None else at(until)
    return Story([item for items in world.run(arrivals, end) for item in items], world.customers)


def _arrivals(told: Told) -> Iterator[Arrival]:
    if isinstance(told, Arrival):
        yield told
    elif isinstance(told, Event):
        yield Arrival(told.time, told)
    else:
        for each in told:
            yield from _arrivals(each)


def blocking(decision: Decision) -> dict[str, str]:
    """The gates that hold it back, with what they wait for: an event's type, a wall time, or ``never``."""
    answers: dict[str, str] = {}
    for reason in decision.reasons:
        if reason.answer == "until":
            assert reason.until is not None
            answers[reason.gate] = shown(from_datetime(datetime.fromisoformat(reason.until)))
        elif reason.answer != "pass":
            answers[reason.gate] = reason.until or reason.answer
    return answers


# ---- one customer by hand: the test is the timer and the ledger


@dataclass
class ByHand:
    """A customer stepped input by input, as the decide agent does it."""

    history: Iterable[Event] = field(default_factory=a_customer)
    policy: Policy = POLICY

    def __post_init__(self) -> None:
        self.customer = Customer(id="ana")
        self.wake_at: int | None = None
        self.records: list[RecordChanged] = []
        for event in self.history:
            self.at(event.time, event)

    def at(self, when: When, *inputs: Event | Data) -> list[Effect]:
        """Let these arrive at that instant (nothing: a wake-up), and give the effects, without records."""
        now = at(when)
        events = [each if isinstance(each, Event) else fact(each, now) for each in inputs]
        self.customer, effects, self.wake_at, *_ = step(self.policy, self.customer, events, now)
        self.records += [effect for effect in effects if isinstance(effect, RecordChanged)]
        return [effect for effect in effects if not isinstance(effect, RecordChanged)]

    def requested(self, when: When, *inputs: Event | Data) -> ReservationRequested:
        """As :meth:`at`, for a step that asks the ledger and says nothing else."""
        (request,) = self.at(when, *inputs)
        assert isinstance(request, ReservationRequested), request
        return request


def granted(command: str | None = None) -> ev.ReservationGranted:
    return ev.ReservationGranted(command_id=command or command_of())


def released(when: When, command: str | None = None) -> ReservationReleased:
    return ReservationReleased(command_id=command or command_of(), customer_id="ana", now=at(when))


# ---- a state alone


def state(*events: Event | Iterable[Event]) -> Customer:
    """A customer's state after these events, in this order, without any decision."""
    customer = Customer(id="ana")
    for each in events:
        for event in (each,) if isinstance(each, Event) else each:
            fold(customer, event)
    return customer


def utc(text: str) -> int:
    """``"2026-06-16 08:00"`` in UTC, epoch ms."""
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))
