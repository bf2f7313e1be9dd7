"""A year of many customers, as one recorded log: record by record, in the order of arrival, and never all at once.

Each customer is a handful of processes that go on at random: usage, surveys, invoices, tickets, kind words, and the end
of a subscription. How content a customer is runs through all of them. A customer is the same in every population of the
same seed, whoever else belongs to it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, TypeAlias

from referral_stream.core.effects import AskRequested
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, parse_instant
from tests.worlds.customers import CONSENT, Body, history, profile
from tests.worlds.records import Record, recorded

START: Final = parse_instant("2026-01-01T00:00:00Z")[0]

_ZONES: Final = ("Europe/Berlin",) * 4 + ("Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Sydney")
_SEGMENTS: Final = ("smb", "smb", "enterprise", "mission_driven")
_CHANNELS: Final = (("email",),) * 5 + (("email", "in_app"),) * 3 + (("in_app",), ("email", "phone"))
_FEATURES: Final = ("reports", "invoices", "search", "export", "dashboards")

_Arriving: TypeAlias = tuple[int, int, Record]
"""When, a number that keeps what comes at one instant in order, and what."""


@dataclass(frozen=True)
class Person:
    """What does not change about customer ``number``. ``content`` is between 0 and 1, ``since`` the sign-up."""

    number: int
    zone: str
    channels: tuple[str, ...]
    segment: str
    account: str
    content: float
    uses_per_week: float
    since: int

    @property
    def id(self) -> str:
        return customer_id(self.number)


def customer_id(number: int) -> str:
    return f"cus-{number:06d}"


@dataclass
class Year:
    """Its records, to be iterated over once. Customers who are asked meanwhile answer in the rest of it: ``answer``.

    Memory grows with the customers, not with the records. ``appeal``: template → how many times as likely as otherwise
    an ask in its words gets a yes. ``annoys``: how many asks lead to a complaint.
    """

    seed: int
    customers: int = 10_000
    days: int = 365
    start: int = START
    appeal: dict[str, float] = field(default_factory=dict)
    annoys: float = 0.0
    _replies: list[_Arriving] = field(default_factory=list, init=False)
    _replied: Iterator[int] = field(default_factory=count, init=False)
    _now: int = field(default=0, init=False)

    @property
    def end(self) -> int:
        return self.start + self.days * DAY

    def __iter__(self) -> Iterator[Record]:
        lives = (iter(_Life(self, self.person(number))) for number in range(self.customers))
        for now, _, record in heapq.merge(self._operator(), *lives, key=lambda arriving: arriving[0]):
            yield from self._replies_until(now)
            self._now = now
            yield record
        yield from self._replies_until(self.end - 1)

    def _replies_until(self, now: int) -> Iterator[Record]:
        while self._replies and self._replies[0][0] <= now:
            self._now, _, record = heapq.heappop(self._replies)
            yield record

    def person(self, number: int) -> Person:
        """Three of four signed up before the year began; of eight customers in a row, five are colleagues."""
        random = Random(f"{self.seed}/{number}")
        before = random.random() < 0.75
        return Person(
            number=number,
            zone=random.choice(_ZONES),
            channels=random.choice(_CHANNELS),
            segment=random.choice(_SEGMENTS),
            account=f"acct-{number // 8}" if number % 8 < 5 else f"acct-{number // 8}-{number % 8}",
            content=random.betavariate(3, 1.5),
            uses_per_week=random.choice((1, 2, 3, 4, 6)),
            since=self.start + round((-random.uniform(1, 900) if before else random.random() * self.days) * DAY),
        )

    def answer(self, ask: AskRequested) -> None:
        """What its worker, its customer and whoever is recommended make of an ask; the same for the same command."""
        person = self.person(int(ask.customer_id.rpartition("-")[2]))
        random = Random(f"{self.seed}/{ask.command_id}")
        command = {"command_id": ask.command_id}
        reply = partial(self._reply, ask)
        apart = Random(f"{self.seed}/{ask.command_id}/annoyed")
        if apart.random() < self.annoys:
            reply(round(apart.uniform(HOUR, 10 * DAY)), "complaint.made", {"reference": ask.command_id})
        if random.random() < 0.02:
            reply(MINUTE, "ask.acknowledged", command | {"status": "failed"})
            return
        reply(MINUTE, "ask.acknowledged", command | {"status": "sent"})
        seen = MINUTE + round(random.expovariate(1 / (6 * HOUR)))
        if random.random() < 0.4:
            return
        reply(seen, "ask.acknowledged", command | {"status": "opened"})
        said = seen + round(random.expovariate(1 / HOUR))
        odds = (0.5 * person.content * self.appeal.get(ask.template, 1.0), 0.1, 0.2, 0.02, 0.3)
        answer = random.choices(("yes", "maybe", "no", "stop", ""), odds)[0]
        if answer:
            reply(said, "ask.answered", command | {"answer": answer})
        if answer == "yes" and random.random() < 0.8:
            given = said + round(random.expovariate(1 / DAY))
            facts = _referral(random, derived_id("referral", ask.command_id), given)
            for time, kind, body in facts:
                reply(time, kind, body | (command if kind == "referral.given" else {}))

    def _reply(self, ask: AskRequested, after: int, kind: str, body: Body) -> None:
        time = ask.not_before + after
        arrived = max(time, self._now)  # who replays is a record ahead: it may be later than the ask already
        name = derived_id("reply", ask.command_id, kind, time)
        record = recorded(kind, ask.customer_id, time, body, arrived=arrived, id=name, source="simulated")
        heapq.heappush(self._replies, (arrived, next(self._replied), record))

    def _operator(self) -> Iterator[_Arriving]:
        """Once in seven weeks a trigger is paused for two days."""
        for number in range(0, self.days, 49):
            name = ("nps_promoter", "renewal", "milestone", "positive_feedback")[number // 49 % 4]
            body = {"scope": "trigger", "name": name, "by": "operator", "why": "wording under review"}
            for kind, day in (("control.paused", number), ("control.resumed", number + 2)):
                if day < self.days:
                    time = self.start + day * DAY + 8 * HOUR
                    yield time, number, recorded(kind, None, time, body, id=f"{kind}-{number}", source="simulated")


class _Life:
    """What happens to one customer. Everything due is in one heap: what may happen then, and records on their way."""

    def __init__(self, year: Year, person: Person) -> None:
        self.year, self.person = year, person
        self.random = Random(f"{year.seed}/{person.number}/life")
        self.numbers = count()
        self.due: list[tuple[int, int, Callable[[int], None] | Record]] = []
        self.uses_per_week = person.uses_per_week

    def __iter__(self) -> Iterator[_Arriving]:
        self._begin()
        while self.due:
            now, number, item = heapq.heappop(self.due)
            if now >= self.year.end:
                return
            if isinstance(item, dict):
                yield now, number, item
            else:
                item(now)

    # What there is to plan with

    def _plan(self, time: int, happens: Callable[[int], None] | Record) -> None:
        heapq.heappush(self.due, (time, next(self.numbers), happens))

    def _now_and_then(self, days: float, happens: Callable[[int], None], begin: int) -> None:
        """At random, on average every so many days."""

        def now(time: int) -> None:
            self._plan(time + self._wait(days), now)
            happens(time)

        self._plan(begin + self._wait(days), now)

    def _every(self, days: int, happens: Callable[[int], None], first: int) -> None:
        def now(time: int) -> None:
            self._plan(time + days * DAY, now)
            happens(time)

        self._plan(first, now)

    def _wait(self, days: float) -> int:
        return max(SECOND, round(self.random.expovariate(1 / days) * DAY))

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _fact(self, kind: str, time: int, body: Body | None = None) -> None:
        """It arrives soon; some things are late, and some arrive twice."""
        number = next(self.numbers)
        record = partial(
            recorded, kind, self.person.id, time, body, id=f"{self.person.id}-{number}", source="simulated"
        )
        late = self.random.choice((HOUR, 6 * HOUR, DAY, 2 * DAY)) if self._chance(0.01) else 0
        arrives = time + late + round(self.random.expovariate(1 / (5 * SECOND)))
        self._plan(arrives, record(arrived=arrives))
        if self._chance(0.003):
            self._plan(arrives + HOUR, record(arrived=arrives + HOUR))

    def _later(self, time: int, kind: str, body: Body | None = None) -> None:
        self._plan(time, lambda now: self._fact(kind, now, body))

    # What happens

    def _begin(self) -> None:
        known = self.person.since < self.year.start
        if known:
            self._backfill()
        else:
            self._sign_up(self.person.since)
        begin = max(self.year.start, self.person.since)
        content, random = self.person.content, self.random
        self._plan(begin + self._wait(2), self._use)
        self._now_and_then(21, self._is_there, begin)
        self._now_and_then(45, self._interaction, begin)
        self._now_and_then(70, self._ticket, begin)
        self._now_and_then(120, self._milestone, begin)
        self._now_and_then(180 / content, self._kind_word, begin)
        self._now_and_then(500 / content, self._peer, begin)
        self._now_and_then(900 / content, self._refers_unasked, begin)
        self._now_and_then(700 / content, self._expands, begin)
        self._now_and_then(250 / (1.1 - content), self._complaint, begin)
        self._now_and_then(900 / (1.1 - content), self._cancels, begin)
        self._now_and_then(1_500, self._charge_trouble, begin)
        self._now_and_then(1_200, self._consent_changes, begin)
        self._now_and_then(2_500, self._suppressed, begin)
        self._now_and_then(8_000, self._erased, begin)
        self._now_and_then(900, self._uses_less, begin)
        self._every(90, self._survey, begin + round(random.uniform(0, 90) * DAY))
        self._every(180, self._marketing_asks, begin + round(random.uniform(0, 180) * DAY))
        self._every(30, self._compared, begin + round(random.uniform(5, 30) * DAY))
        period = random.choice((30, 365, 365))
        self._every(
            period, self._invoice, begin + round(random.uniform(1, period) * DAY) if known else begin + period * DAY
        )

    def _profile(self) -> Body:
        person = self.person
        more: dict[str, Any] = {"segment": person.segment, "account_id": person.account}
        if person.number % 50 == 0:
            more["requires_approval"] = True
        if person.number % 100 < 98:  # two of a hundred are one person with two addresses of the product
            more["email_hmac"] = f"{person.number:064x}"
        else:
            more["email_hmac"] = f"{person.number // 100:062x}ff"
        return profile(zone=person.zone, channels=person.channels, **more)

    def _backfill(self) -> None:
        """The past of those who were customers before: what a deployment loads on its first day."""
        random, person = self.random, self.person
        odds = {
            "first_success": 0.85,
            "usage": person.content,
            "calls": 0.5,
            "feedback": person.content,
            "champion": 0.3,
        }
        signals = [signal for signal, share in odds.items() if self._chance(share)]
        tenure = max(1, (self.year.start - person.since) // DAY)
        without = [] if self._chance(0.75) else ["customer.consent_changed"]
        if self._chance(0.05):
            without.append("onboarding.completed")
        arrives = self.year.start + random.randrange(HOUR)
        for fact in history(*signals, tenure_days=tenure, without=without):
            body = self._profile() if fact.type == "customer.profile_changed" else fact.body
            name = f"{person.id}-past-{next(self.numbers)}"
            time = self.year.start - fact.age
            self._plan(
                arrives,
                recorded(
                    fact.type, person.id, time, body, id=name, arrived=arrives, historical=True, source="simulated"
                ),
            )

    def _sign_up(self, time: int) -> None:
        subscription = {"subscription_id": self._subscription}
        trial = self._chance(0.3)
        self._fact("customer.signed_up", time, {"trial": trial})
        self._fact("customer.profile_changed", time + MINUTE, self._profile())
        if trial:
            self._fact("trial.started", time + MINUTE, subscription)
            self._later(time + 14 * DAY, "trial.ended", subscription | {"converted": self._chance(0.8)})
        else:
            self._fact("subscription.started", time + MINUTE, subscription)
        if self._chance(0.75):
            self._later(time + self._wait(3), "customer.consent_changed", CONSENT)
        if self._chance(0.95):
            self._later(time + self._wait(8), "onboarding.completed")
        if self._chance(0.85):
            body = {"milestone": "first report", "first_success": True}
            self._later(time + self._wait(25), "milestone.reached", body)

    @property
    def _subscription(self) -> str:
        return f"sub-{self.person.number}"

    def _name(self, what: str) -> str:
        return f"{what}-{self.person.number}-{next(self.numbers)}"

    def _use(self, now: int) -> None:
        """A habit: at rather steady intervals, for a rather steady number of things."""
        self._plan(now + round(self.random.uniform(0.8, 1.2) * 7 * DAY / self.uses_per_week), self._use)
        body = {"feature": self.random.choice(_FEATURES), "count": self.random.randrange(8, 13)}
        self._fact("usage.recorded", now, body)

    def _uses_less(self, now: int) -> None:
        """For two months, or for good."""
        self.uses_per_week = self.person.uses_per_week / 8

        def as_before(_: int) -> None:
            self.uses_per_week = self.person.uses_per_week

        if self._chance(0.7):
            self._plan(now + 60 * DAY, as_before)

    def _is_there(self, now: int) -> None:
        """A moment in the app or on the telephone, some of them inside a critical task."""
        if "phone" in self.person.channels and self._chance(0.5):
            self._fact("call.moment", now, {"kind": self.random.choice(("check_in", "qbr_ended_well"))})
        elif self._chance(0.3):
            self._fact("dashboard.viewed", now, {"metrics_positive": self._chance(self.person.content)})
        else:
            task = {"task_id": self._name("task")}
            self._fact("task.started", now, task)
            self._later(now + 20 * MINUTE, "task.ended", task)
            self._later(now + 21 * MINUTE, "workflow.completed", {"name": "export"})

    def _interaction(self, now: int) -> None:
        kind = self.random.choice(("advice.asked", "community.engaged", "email.opened", *("interaction.recorded",) * 4))
        self._fact(kind, now, {"kind": self.random.choice(("call", "chat"))} if kind == "interaction.recorded" else {})

    def _survey(self, now: int) -> None:
        if not self._chance(0.35):
            return
        response = {"response_id": self._name("nps")}
        score = min(10, max(0, round(2 + 8.5 * self.person.content + self.random.gauss(0, 1.5))))
        at = now + self._wait(1)
        self._later(at, "nps.responded", response | {"score": score})
        if self._chance(0.03):
            self._later(at + 8 * MINUTE, "nps.responded", response | {"score": max(0, score - 4)})

    def _ticket(self, now: int) -> None:
        ticket = {"ticket_id": self._name("ticket")}
        self._fact(
            "ticket.opened", now, ticket | {"priority": self.random.choice(("low", "normal", "normal", "urgent"))}
        )
        solved = now + self._wait(2)
        rating = self.random.choices(("positive", "negative", ""), (self.person.content, 0.15, 1))[0]
        self._later(solved, "ticket.solved", ticket | ({"rating": rating} if rating else {}))
        if not rating and self._chance(0.2):
            score = min(5, max(1, round(1 + 4 * self.person.content + self.random.gauss(0, 0.7))))
            body = {"response_id": self._name("csat"), "score": score, "scale_max": 5}
            self._later(solved + HOUR, "csat.responded", ticket | body)
        if self._chance(0.05):
            self._later(solved + DAY, "ticket.reopened", ticket)
            self._later(solved + 3 * DAY, "ticket.solved", ticket)

    def _milestone(self, now: int) -> None:
        kind, body = self.random.choice((
            ("milestone.reached", {"milestone": self._name("milestone"), "first_success": self._chance(0.3)}),
            ("goal.achieved", {"goal": "go live"}),
            ("saving.measured", {"kind": "time", "amount": 3, "unit": "h"}),
            ("achievement.unlocked", {}),
        ))  # fmt: skip
        self._fact(kind, now, body)

    def _kind_word(self, now: int) -> None:
        reference = self._name("post")
        kind, body = self.random.choice((
            ("compliment.given", {"reference": reference}),
            ("testimonial.given", {"reference": reference}),
            ("review.posted", {"rating": self.random.choice((4, 5)), "scale_max": 5, "url": reference}),
            ("feedback.shared", {"positive": True}),
            ("case_study.joined", {"reference": reference}),
            ("champion.changed", {"champion": True}),
        ))  # fmt: skip
        self._fact(kind, now, body)

    def _peer(self, now: int) -> None:
        self._fact("peer.mentioned", now, {"peer_ref": self._name("peer"), "challenge": "reporting"})

    def _refers_unasked(self, now: int) -> None:
        for time, kind, body in _referral(self.random, self._name("referral"), now):
            self._later(time, kind, body)

    def _expands(self, now: int) -> None:
        self._fact("subscription.expanded", now, {"deal_id": self._name("deal")})

    def _complaint(self, now: int) -> None:
        kind = self.random.choice(("complaint.made", "frustration.shown", "feedback.shared", "champion.changed"))
        body: Body = {"feedback.shared": {"positive": False}, "champion.changed": {"champion": False}}.get(kind, {})
        self._fact(kind, now, body)

    def _invoice(self, now: int) -> None:
        invoice = {"invoice_id": self._name("invoice")}
        paid = now
        if self._chance(0.04):
            self._fact("invoice.payment_failed", now, invoice)
            if self._chance(0.1):
                self._ends(now + 14 * DAY)
                return
            paid = now + self._wait(3)
            self._later(paid, "invoice.paid", invoice)
        self._later(paid, "subscription.renewed", invoice | {"subscription_id": self._subscription})

    def _charge_trouble(self, now: int) -> None:
        charge = {"charge_id": self._name("charge")}
        if self._chance(0.5):
            self._fact("charge.refunded", now, charge)
        else:
            self._fact("charge.disputed", now, charge)
            self._later(now + 20 * DAY, "dispute.closed", charge | {"won": self._chance(0.5)})

    def _cancels(self, now: int) -> None:
        subscription = {"subscription_id": self._subscription}
        self._fact("cancellation.considered", now, subscription)
        decided = now + self._wait(5)
        if self._chance(self.person.content):
            self._later(decided, "cancellation.reverted", subscription)
        else:
            self._later(decided, "cancellation.scheduled", subscription)
            self._ends(decided + 30 * DAY)

    def _ends(self, time: int) -> None:
        """Afterwards nothing happens any more."""

        def over(now: int) -> None:
            self.due = [entry for entry in self.due if isinstance(entry[2], dict)]
            heapq.heapify(self.due)
            self._fact("subscription.ended", now, {"subscription_id": self._subscription})

        self._plan(time, over)

    def _consent_changes(self, now: int) -> None:
        channel = self.random.choice(("all", *self.person.channels))
        self._fact("customer.consent_changed", now, CONSENT | {"channel": channel, "granted": self._chance(0.3)})

    def _suppressed(self, now: int) -> None:
        self._fact("customer.suppressed", now, {"reason": "unsubscribed"})
        if self._chance(0.3):
            self._later(now + 30 * DAY, "customer.unsuppressed")

    def _erased(self, now: int) -> None:
        """The account is closed ten days later; what happens until then still arrives."""
        self._fact("customer.erasure_requested", now)
        self._ends(now + 10 * DAY)

    def _marketing_asks(self, now: int) -> None:
        if self._chance(0.4):
            self._fact("advocacy.asked", now, {"kind": self.random.choice(("review", "survey")), "by": "marketing"})

    def _compared(self, now: int) -> None:
        self._fact("usage.compared", now, {"above_average": self._chance(self.person.content)})


def _referral(random: Random, referral: str, given: int) -> Iterable[tuple[int, str, Body]]:
    """A referral and what becomes of it."""
    known = {"referral_id": referral}
    contact = {"ref": f"contact of {referral}", "consented": False}
    yield given, "referral.given", known | {"contact": contact}
    contacted = given + round(random.expovariate(1 / (2 * DAY)))
    yield contacted, "referral.status_changed", known | {"status": "contacted"}
    outcome = random.choices(("converted", "rejected", ""), (0.3, 0.4, 0.3))[0]
    if outcome:
        closed = contacted + round(random.expovariate(1 / (20 * DAY)))
        yield closed, "referral.status_changed", known | {"status": outcome}
        if outcome == "converted" and random.random() < 0.1:
            yield closed + 10 * DAY, "referral.status_changed", known | {"status": "refunded"}
