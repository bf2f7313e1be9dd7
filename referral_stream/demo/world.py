"""A small world for the demo: one week of twelve customers of an accounting product, as a recorded log.

It goes on after the ask: customers answer, one of them refers somebody, and the referral converts and is refunded.

Every customer shows one thing that a careful team would do, or leave. What happened before the week comes as a backfill
(header `historical`), the way a deployment would load it; the week itself mixes CloudEvents with the webhooks of
Delighted, Stripe, Zendesk and Segment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from referral_stream.contracts.catalogue import MESSAGES
from referral_stream.core.ids import derived_id, followup_id
from referral_stream.core.zones import zone

LogRecord: TypeAlias = dict[str, Any]
"""One line of a recorded log: `topic`, `timestamp`, `value`, `key`, and `headers` where there are any."""

HOME = "Europe/Berlin"
START = datetime(2026, 9, 15, 9, 0, tzinfo=zone(HOME))
"""A Tuesday, 09:00 in Berlin: the demo's clock starts here. No clock change within the week or the 90 days before."""

TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY, MONDAY = range(7)

_CALENDAR_TUESDAY = 1
_DELIVERY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Character:
    """A customer of the demo: who it is, and what the week is going to show with them."""

    customer_id: str
    title: str
    story: str


CAST: tuple[Character, ...] = (
    Character(
        "cus-ana", "Ana, delighted", "answers an NPS survey with 10: asked, says yes, refers a bakery, is rewarded"
    ),
    Character(
        "cus-ben", "Ben, just got it working", "reaches his first success: asked the same morning, and says maybe"
    ),
    Character("cus-carla", "Carla, in New York", "renews: mentioned softly in the Friday slot of her own time zone"),
    Character(
        "cus-deniz", "Deniz, with ticket 4711", "is a promoter with an open ticket: asked once it is solved, says no"
    ),
    Character("cus-emma", "Emma, twelve days in", "gives a 10, but has been a customer for only 12 days"),
    Character("cus-finn", "Finn, late at night", "reaches a milestone at 21:00: the night eats the window"),
    Character("cus-greta", "Greta, asked in summer", "was asked 40 days ago: her compliment gets no second ask"),
    Character("cus-henk", "Henk, who slipped", "corrects his 9 to a 3: not asked then, nor after his milestone"),
    Character("cus-ida", "Ida, who said no mail", "pays a compliment, but has withdrawn her consent"),
    Character("cus-jonas", "Jonas, past due", "pays a compliment while his own payment is failing"),
    Character(
        "cus-kim", "Kim, at work on Saturday", "gives a 9 at the weekend: asked in the app, and then wants no more"
    ),
    Character("cus-lena", "Lena, after a ticket", "has a ticket solved without a rating: it is too soon to ask"),
)


def demo_world(start: datetime = START) -> list[LogRecord]:
    """The world whose main week begins at `start`, as a recorded log in the order of its timestamps.

    Pure: the same start gives the same records. The history reaches back 240 days; the last record is of the Monday
    after. Raises ValueError unless `start` is a Tuesday at 09:00 in Berlin: the stories depend on it.
    """
    local = start.astimezone(zone(HOME))
    if local.weekday() != _CALENDAR_TUESDAY or local.time() != time(9):
        raise ValueError(f"the week of the demo starts on a Tuesday at 09:00 in {HOME}, not at {local.isoformat()}")
    log = _Log(local.date())
    for tell in _STORIES:
        tell(log)
    return log.in_order()


# ------------------------------------------------------------------------------------------------- the twelve stories


def _ana(log: _Log) -> None:
    customer = _Customer(log, "cus-ana")
    customer.history()
    response = "7215001"
    customer.survey_webhook(TUESDAY, "10:04", response, 10, "Saves us hours at the end of every month!")
    command = customer.asked(TUESDAY, "10:25", "nps_promoter", response)
    customer.answers(TUESDAY, "11:10", command, "yes")
    customer.reports(TUESDAY, "11:12", followup_id(customer.id, command, "intro_offer", 1))
    contact = {"ref": "contact-301", "company": "Bakery Sommer", "consented": True}
    customer.event(
        WEDNESDAY, "09:40", "referral.given", {"referral_id": "ref-301", "command_id": command, "contact": contact}
    )
    customer.reports(WEDNESDAY, "09:42", followup_id(customer.id, "ref-301", "thank", 1))
    customer.event(THURSDAY, "11:00", "referral.status_changed", {"referral_id": "ref-301", "status": "contacted"})
    deal = {"status": "converted", "deal_value_minor": 58_800, "currency": "EUR"}
    customer.event(FRIDAY, "14:00", "referral.status_changed", {"referral_id": "ref-301", **deal})
    customer.again(FRIDAY, "14:03")
    customer.event(MONDAY, "15:00", "referral.status_changed", {"referral_id": "ref-301", "status": "refunded"})


def _ben(log: _Log) -> None:
    customer = _Customer(log, "cus-ben")
    customer.history(signed_up=48, first_success=False)
    customer.event(WEDNESDAY, "11:15", "milestone.reached", {"milestone": "first-month-closed", "first_success": True})
    command = customer.asked(WEDNESDAY, "11:24", "milestone", "first-month-closed")
    customer.answers(WEDNESDAY, "12:30", command, "maybe")


def _carla(log: _Log) -> None:
    customer = _Customer(log, "cus-carla", time_zone="America/New_York")
    customer.history(interactions=2, feedback=False)
    customer.invoice_webhook(TUESDAY, "10:00", "invoice.paid", "in_demo_carla")


def _deniz(log: _Log) -> None:
    customer = _Customer(log, "cus-deniz")
    customer.history()
    customer.event(TUESDAY, "16:00", "ticket.opened", {"ticket_id": "4711", "priority": "normal"})
    customer.event(WEDNESDAY, "09:30", "nps.responded", {"response_id": "nps-deniz", "score": 9})
    customer.event(WEDNESDAY, "15:10", "ticket.solved", {"ticket_id": "4711", "rating": "positive"})
    command = customer.asked(WEDNESDAY, "15:11", "nps_promoter", "nps-deniz")
    customer.answers(WEDNESDAY, "16:30", command, "no")


def _emma(log: _Log) -> None:
    customer = _Customer(log, "cus-emma")
    customer.history(signed_up=12)
    customer.survey_webhook(TUESDAY, "14:00", "7215002", 10, "So easy to set up.")


def _finn(log: _Log) -> None:
    customer = _Customer(log, "cus-finn")
    customer.history()
    customer.event(THURSDAY, "21:00", "milestone.reached", {"milestone": "100-invoices-sent", "first_success": True})


def _greta(log: _Log) -> None:
    customer = _Customer(log, "cus-greta")
    customer.history()
    # No backfill: in the world of the log she was asked then, 20 minutes later.
    customer.event(-40, "10:00", "nps.responded", {"response_id": "nps-greta", "score": 10})
    customer.event(WEDNESDAY, "10:00", "compliment.given", {"reference": "mail-greta"})


def _henk(log: _Log) -> None:
    customer = _Customer(log, "cus-henk")
    customer.history()
    customer.survey_webhook(TUESDAY, "11:00", "7215003", 9, None)
    customer.survey_webhook(TUESDAY, "11:08", "7215003", 3, "Sorry, wrong button. The bank import fails every week.")
    customer.event(WEDNESDAY, "10:30", "milestone.reached", {"milestone": "10-clients-invited", "first_success": True})


def _ida(log: _Log) -> None:
    customer = _Customer(log, "cus-ida")
    customer.history(consents=False)
    customer.event(TUESDAY, "13:00", "compliment.given", {"reference": "chat-ida"})


def _jonas(log: _Log) -> None:
    customer = _Customer(log, "cus-jonas")
    customer.history()
    customer.invoice_webhook(TUESDAY, "09:20", "invoice.payment_failed", "in_demo_jonas")
    customer.event(WEDNESDAY, "12:00", "compliment.given", {"reference": "mail-jonas"})


def _kim(log: _Log) -> None:
    customer = _Customer(log, "cus-kim", channels=("in_app",))
    customer.history()
    for day in range(-57, SATURDAY, 2):  # a steady habit, up to the day before
        customer.track_webhook(day, "10:30", "Signed In", {}, historical=day < TUESDAY)
    customer.event(SATURDAY, "10:00", "nps.responded", {"response_id": "nps-kim", "score": 9})
    customer.track_webhook(SATURDAY, "11:30", "Workflow Completed", {"name": "month-end closing"})
    command = customer.asked(SATURDAY, "11:31", "nps_promoter", "nps-kim")
    customer.answers(SATURDAY, "11:34", command, "yes")
    customer.answers(SATURDAY, "11:36", command, "stop")


def _lena(log: _Log) -> None:
    customer = _Customer(log, "cus-lena")
    customer.history()
    customer.ticket_webhook(TUESDAY, "15:00", "ticket.created", "4712", {})
    customer.event(WEDNESDAY, "10:00", "nps.responded", {"response_id": "nps-lena", "score": 9})
    customer.ticket_webhook(
        WEDNESDAY, "16:00", "ticket.status_changed", "4712", {"current": "SOLVED", "previous": "OPEN"}
    )


_STORIES: tuple[Callable[[_Log], None], ...] = (
    _ana,
    _ben,
    _carla,
    _deniz,
    _emma,
    _finn,
    _greta,
    _henk,
    _ida,
    _jonas,
    _kim,
    _lena,
)


# ------------------------------------------------------------------------------------------------------ how it is told


class _Log:
    """The records so far. Days count from the Tuesday of the week, clock times are Berlin's."""

    def __init__(self, first_day: date) -> None:
        self._first_day = first_day
        self._told: list[tuple[datetime, LogRecord]] = []

    def instant(self, day: int, clock: str) -> datetime:
        local = datetime.combine(self._first_day + timedelta(days=day), time.fromisoformat(clock), zone(HOME))
        return local.astimezone(UTC)

    def again(self, customer: str, happened: datetime) -> None:
        """The customer's newest record is delivered once more."""
        _, record = next(told for told in reversed(self._told) if told[1]["key"] == customer)
        arrived = happened + _DELIVERY
        self._told.append((arrived, record | {"timestamp": _rfc3339(arrived)}))

    def add(self, topic: str, happened: datetime, customer: str, value: dict[str, Any], *, historical: bool) -> None:
        """Something that happened then, and arrived a moment later."""
        arrived = happened + _DELIVERY
        record: LogRecord = {"topic": topic, "timestamp": _rfc3339(arrived), "key": customer, "value": value}
        if historical:
            record["headers"] = {"historical": "true"}
        self._told.append((arrived, record))

    def in_order(self) -> list[LogRecord]:
        return [record for _, record in sorted(self._told, key=lambda told: told[0])]


class _Customer:
    """One customer's records, in the producers' own formats."""

    def __init__(
        self, log: _Log, customer_id: str, *, time_zone: str = HOME, channels: tuple[str, ...] = ("email",)
    ) -> None:
        self.id = customer_id
        self._log = log
        self._time_zone = time_zone
        self._channels = channels
        self._told = 0

    def history(
        self,
        *,
        signed_up: int = 240,
        first_success: bool = True,
        interactions: int = 5,
        feedback: bool = True,
        consents: bool = True,
    ) -> None:
        """What the producers knew before the week: a customer who may be asked, apart from what the options say.

        `signed_up` is a number of days ago; everything else lies between then and the week.
        """

        def past(fraction: float, kind: str, data: dict[str, Any] | None = None) -> None:
            self.event(-max(1, round(signed_up * (1 - fraction))), "11:00", kind, data, historical=True)

        past(0.0, "customer.signed_up")
        reachable = {channel: channel in self._channels for channel in ("email", "in_app", "phone")}
        past(0.0, "customer.profile_changed", {"time_zone": self._time_zone, "segment": "smb", "channels": reachable})
        past(0.1, "onboarding.completed")
        consent = {"purpose": "referral_ask", "channel": "all", "granted": consents}
        past(0.2, "customer.consent_changed", consent)
        if first_success:
            past(0.3, "milestone.reached", {"milestone": "first-month-closed", "first_success": True})
        past(0.5, "usage.compared", {"above_average": True})
        for number in range(interactions):
            past(0.55 + number / 20, "interaction.recorded", {"kind": ("call", "email", "chat")[number % 3]})
        if feedback:
            past(0.8, "feedback.shared", {"positive": True})
        for days_ago in (5, 3, 1):
            self.event(-days_ago, "09:30", "workflow.completed", {"name": "bank import"}, historical=True)

    def event(
        self, day: int, clock: str, kind: str, data: dict[str, Any] | None = None, *, historical: bool = False
    ) -> None:
        """A CloudEvent."""
        happened = self._log.instant(day, clock)
        value = {
            "specversion": "1.0",
            "id": self._next_id(),
            "source": "ledgerly",
            "type": kind,
            "subject": self.id,
            "time": _rfc3339(happened),
            "data": data or {},
        }
        self._log.add(MESSAGES[kind].topic, happened, self.id, value, historical=historical)

    def asked(self, day: int, clock: str, trigger: str, subject: str) -> str:
        """The messaging worker reports the first ask about that as sent; returns its command id."""
        command = derived_id("command", self.id, trigger, subject, 1)
        self.reports(day, clock, command)
        return command

    def reports(self, day: int, clock: str, command: str) -> None:
        """The messaging worker reports a command, or a follow-up, as sent."""
        self.event(day, clock, "ask.acknowledged", {"command_id": command, "status": "sent"})

    def answers(self, day: int, clock: str, command: str, word: str) -> None:
        """The customer's reply to an ask."""
        self.event(day, clock, "ask.answered", {"command_id": command, "answer": word})

    def again(self, day: int, clock: str) -> None:
        """The sender of the newest event has seen no answer, and sends the same once more."""
        self._log.again(self.id, self._log.instant(day, clock))

    def survey_webhook(self, day: int, clock: str, response: str, score: int, comment: str | None) -> None:
        """Delighted. The same response again is a correction."""
        happened = self._log.instant(day, clock)
        seconds = int(happened.timestamp())
        changes = {
            "event_id": self._next_id(),
            "event_data.id": response,
            "event_data.person.id": f"person-of-{self.id}",
            "event_data.person.email": f"{self.id}@customers.example",
            "event_data.score": score,
            "event_data.comment": comment,
            "event_data.created_at": seconds,
            "event_data.updated_at": seconds,
            "event_data.person_properties.customer_id": self.id,
        }
        self._webhook("nps", happened, "delighted.survey_response.created", changes)

    def invoice_webhook(self, day: int, clock: str, kind: str, invoice: str) -> None:
        """Stripe: an invoice of a billing cycle, paid or not."""
        happened = self._log.instant(day, clock)
        seconds = int(happened.timestamp())
        changes: dict[str, Any] = {
            "id": f"evt_{self._next_id()}",
            "type": kind,
            "created": seconds,
            "data.object.id": invoice,
            "data.object.created": seconds,
            "data.object.customer": self.id,
            "data.object.parent.subscription_details.subscription": f"sub_{self.id}",
            "data.object.period_start": seconds - 365 * 86_400,
            "data.object.period_end": seconds,
        }
        if kind == "invoice.payment_failed":
            changes |= {
                "data.object.status": "open",
                "data.object.amount_paid": 0,
                "data.object.amount_remaining": 58_800,
            }
        self._webhook("billing", happened, "stripe.invoice", changes)

    def ticket_webhook(self, day: int, clock: str, kind: str, ticket: str, change: dict[str, str]) -> None:
        """Zendesk. `change` is the `event` part: which status became which."""
        happened = self._log.instant(day, clock)
        stamp = _rfc3339(happened)
        changes = {
            "id": self._next_id(),
            "type": f"zen:event-type:{kind}",
            "time": stamp,
            "subject": f"zen:ticket:{ticket}",
            "event": change,
            "detail.id": ticket,
            "detail.requester_id": self.id,
            "detail.status": change.get("current", "NEW"),
            "detail.created_at": stamp,
            "detail.updated_at": stamp,
        }
        self._webhook("support", happened, "zendesk.ticket", changes)

    def track_webhook(
        self, day: int, clock: str, event: str, properties: dict[str, Any], *, historical: bool = False
    ) -> None:
        """Segment."""
        happened = self._log.instant(day, clock)
        stamp = _rfc3339(happened)
        changes = {
            "event": event,
            "userId": self.id,
            "messageId": f"ajs-{self._next_id()}",
            "properties": properties,
            **dict.fromkeys(("timestamp", "originalTimestamp", "sentAt", "receivedAt"), stamp),
        }
        self._webhook("product-usage", happened, "segment.track", changes, historical=historical)

    def _webhook(
        self, topic: str, happened: datetime, template: str, changes: dict[str, Any], *, historical: bool = False
    ) -> None:
        self._log.add(topic, happened, self.id, _filled_in(template, changes), historical=historical)

    def _next_id(self) -> str:
        self._told += 1
        return f"{self.id}-{self._told:03d}"


def _filled_in(template: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The payload of that name with the values at these dotted paths replaced; KeyError for a path it does not have."""
    payload = deepcopy(_payload(template))
    for path, value in changes.items():
        *parents, name = path.split(".")
        part = payload
        for parent in parents:
            part = part[parent]
        if name not in part:
            raise KeyError(f"{template} has no {path}")
        part[name] = value
    return payload


@cache
def _payload(template: str) -> dict[str, Any]:
    file = resources.files("referral_stream.local") / "payloads" / f"{template}.json"
    payload: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return payload


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
