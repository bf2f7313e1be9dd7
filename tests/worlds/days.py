"""Random days of a few customers as recorded logs, believable in the large and nasty in the small.

One seed is one world; or Hypothesis draws it, and makes it smaller when something fails. Most customers have a history
that passes the gates, so that something happens; then come reasons to ask, trouble, answers and noise, late, twice, out
of order, and above all at instants at which something else is due: the ends of windows, slots, quiet hours and waits,
and one millisecond to either side of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from referral_stream.core import zones
from referral_stream.core.events import CHANNELS
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant, rfc3339, utc_day
from tests.worlds.customers import Body, random_history
from tests.worlds.policies import POLICIES
from tests.worlds.records import Record

REACHABLE: tuple[tuple[str, ...], ...] = (
    *(("email",),) * 3, ("email", "in_app"), ("email", "in_app"), ("in_app",), ("email", "in_app", "phone"), ("phone",),
)  # fmt: skip

ZONES = (
    "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kolkata", "Africa/Cairo", "Australia/Lord_Howe",
    "UTC",
)  # fmt: skip

STARTS = tuple(
    parse_instant(f"{day}T00:00:00Z")[0]
    for day in (
        "2026-03-06",  # New York springs forward on the 8th
        "2026-03-26",  # Berlin on the 29th
        "2026-04-02",  # Auckland and Lord Howe fall back on the 5th
        "2026-04-22",  # Cairo springs forward at midnight of the 24th
        "2026-06-15",
        "2026-09-25",  # Auckland springs forward on the 27th, Lord Howe on 4 October
        "2026-10-22",  # Berlin falls back on the 25th, Cairo at midnight of the 29th
        "2026-10-30",  # New York on 1 November
    )
)

HORIZONS_DAYS = (2, 4, 8, 8, 15, 15, 45, 130, 260)

DELAYS = (
    0, 0, 0, 0, 0, 0, 1, 3_000, 9 * MINUTE, 10 * MINUTE, 10 * MINUTE + 1, 20 * MINUTE, HOUR, 25 * HOUR, 50 * HOUR,
    8 * DAY,
)  # fmt: skip
"""How long after its event time an event may arrive, in ms."""

WAITS = (3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 120 * DAY, 180 * DAY)


@dataclass(frozen=True)
class World:
    """One recorded log, and under which of ``POLICIES`` it is to be decided. Without a seed, Hypothesis drew it."""

    seed: int | None
    policy: str
    records: list[Record]


@dataclass
class Person:
    """Who the events are about, and what can be referred to later."""

    id: str
    zone: str
    channels: tuple[str, ...]
    reasons: list[tuple[str, str, int]] = field(default_factory=list)  # (trigger, subject, event time)

    def command(self, reason: tuple[str, str, int]) -> str:
        return derived_id("command", self.id, reason[0], reason[1], 1)

    def opportunity(self, reason: tuple[str, str, int]) -> str:
        return derived_id("opportunity", self.id, reason[0], reason[1])


def world(seed: int) -> World:
    """The world of that seed, the same on every machine."""
    return Making(seed, Random(seed)).world()


def worlds() -> st.SearchStrategy[World]:
    """Worlds that shrink. For numbers of them, seeds are faster and find more: these draw extremes too often."""
    return st.randoms(use_true_random=False).map(lambda random: Making(None, random).world())


class Making:
    """Makes one world; what it draws, and in which order, is what a seed means."""

    def __init__(self, seed: int | None, random: Random) -> None:
        self.seed = seed
        self.random = random
        self.start = self.random.choice(STARTS) + self.random.randrange(3 * DAY)
        self.horizon = self.random.choice(HORIZONS_DAYS) * DAY
        self.edges: list[int] = [self.start]
        self.records: list[tuple[int, Record]] = []
        self.made = 0
        self.people: list[Person] = []

    def world(self) -> World:
        random = self.random
        policy = random.choice(("default",) * 6 + tuple(POLICIES))
        size = random.choice((1, 1, 1, 2, 2, 3, 4, 6))
        zone = random.choice(ZONES)
        people = []
        for number in range(size):
            own = random.choice(ZONES) if random.random() < 0.3 else zone
            people.append(Person(f"c{number}", own, random.choice(REACHABLE)))
        self.people = people
        for person in people:
            self.history(person, size)
        count = random.choice((6, 10, 16, 25, 40)) * (1 + size // 3)
        for _ in range(count):
            self.something(random.choice(people))
        if size > 1 and random.random() < 0.4:
            self.campaign(people)
        if random.random() < 0.05:
            self.burst(random.choice(people))
        self.disorder()
        return World(self.seed, policy, [record for _, record in self.records])

    # ------------------------------------------------------------------------------------------------- time and records

    def add(
        self,
        kind: str,
        person: Person | None,
        body: Body,
        time: int,
        *,
        delay: int = 0,
        historical: bool = False,
        **extensions: str,
    ) -> None:
        """One event that happened at ``time`` and arrives ``delay`` ms later."""
        self.made += 1
        value: Record = {
            "specversion": "1.0",
            "id": f"e{self.made}",
            "source": self.random.choice(("app", "crm", "zeta")),
            "type": kind,
            "data": body,
        }
        if person is not None:
            value["subject"] = person.id
        if self.random.random() > 0.02:
            value["time"] = rfc3339(time)
        arrival = time + delay
        operators = kind.startswith(("control.", "ask.approved", "ask.rejected"))
        topic = "responses" if operators else "facts"
        record = {"topic": topic, "timestamp": rfc3339(arrival), "value": value | extensions}
        if historical:
            record["headers"] = {"historical": "true"}
        self.records.append((arrival, record))

    def instant(self, person: Person) -> int:
        """Some instant of the horizon; most often one at which something else is due, or next to it."""
        random = self.random
        chance = random.random()
        if chance < 0.35:
            return self.start + random.randrange(self.horizon)
        near = random.choice(self.edges[-12:] if chance < 0.7 else self.edges)
        if chance > 0.9:
            near = self.local(person, near)
        return near + random.choice((0, 0, 0, 0, -1, 1, MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR, 2 * HOUR))

    def local(self, person: Person, near: int) -> int:
        """A wall time of the rules on one of the local days after ``near``."""
        hour = self.random.choice((0, 2, 8, 13, 16, 20))
        return zones.instant_at(zones.local_date(near, person.zone) + self.random.randrange(5), hour * 60, person.zone)

    def remember(self, person: Person, trigger: str, subject: str, time: int) -> None:
        """Note the instants that matter to what this event opens."""
        person.reasons.append((trigger, subject, time))
        friday = zones.local_date(time, person.zone)
        while (friday + 3) % 7 + 1 != 5:
            friday += 1
        settle = {"milestone": 7 * MINUTE, "renewal": DAY + 5 * MINUTE, "expansion": DAY + 5 * MINUTE}
        opens = time + 30 * DAY if trigger == "referral_converted" else time
        end = {
            "milestone": lambda: zones.next_midnight(time, person.zone),
            "renewal": lambda: zones.same_wall_time(time, 7, person.zone),
            "expansion": lambda: zones.same_wall_time(time, 7, person.zone),
            "nps_promoter": lambda: time + DAY,
            "referral_converted": lambda: opens + 7 * DAY,
        }.get(trigger, lambda: time + 2 * DAY)()
        settled = opens + (5 * MINUTE if trigger == "referral_converted" else settle.get(trigger, 20 * MINUTE))
        self.edges += [time, settled, end, end - MINUTE, (utc_day(settled) + 1) * DAY]
        self.edges += [zones.instant_at(friday, hour * 60, person.zone) for hour in (13, 16)]

    # ---------------------------------------------------------------------------------------------------------- history

    def history(self, person: Person, size: int) -> None:
        """What happened long before: most people pass every gate."""
        random, start = self.random, self.start
        historical = random.random() < 0.3
        for fact in random_history(random, zone=person.zone, channels=person.channels, company=size > 1):
            time = start - fact.age
            delay = fact.age - HOUR if historical else 0
            self.add(fact.type, person, fact.body, time, delay=delay, historical=historical)
            if fact.type == "customer.signed_up":
                self.edges.append(time + 30 * DAY)

    # ------------------------------------------------------------------------------------------------------ the present

    def something(self, person: Person) -> None:
        random = self.random
        makers = (self.reason, self.presence, self.after, self.noise, self.trouble)
        make = random.choices(makers, (30, 18, 20, 14, 9))[0]
        time = self.instant(person)
        delay = random.choice(DELAYS) if random.random() < 0.25 else 0
        more: dict[str, Any] = {}
        if random.random() < 0.03:
            more["historical"] = True
        if random.random() < 0.05:
            more["timezone"] = random.choice((*ZONES, "Mars/Olympus"))
        if random.random() < 0.04:
            more["accountid"] = random.choice(("acme", "umbrella"))
        if random.random() < 0.02:
            delay = -random.choice((MINUTE, 5 * MINUTE, 5 * MINUTE + 1, HOUR, DAY, DAY + 1))
        make(person, time, {"delay": delay, **more})

    def reason(self, person: Person, time: int, more: Body) -> None:
        """Something good that opens an opportunity, or would."""
        random = self.random
        number = random.choice((random.randrange(3), random.randrange(100)))
        praised, rated = random.choice((5, 4, 3)), random.choice((5, 4, 2))
        first, ticket = random.random() < 0.5, {"ticket_id": f"t{number}", "rating": "positive"}
        reasons: tuple[tuple[str, str, str, Body], ...] = (
                ("nps_promoter", f"r{number}", "nps.responded", {"score": random.choice((9, 10, 10, 8, 6))}),
                ("positive_feedback", f"s{number}", "csat.responded", {"score": praised, "scale_max": 5}),
                ("positive_feedback", f"ref{number}", "compliment.given", {"reference": f"ref{number}"}),
                ("positive_feedback", f"ref{number}", "testimonial.given", {"reference": f"ref{number}"}),
                ("positive_feedback", f"u{number}", "review.posted", {"rating": rated, "scale_max": 5}),
                ("positive_feedback", f"t{number}", "ticket.solved", ticket),
                ("positive_feedback", f"t{number}", "ticket.rated", ticket),
                ("milestone", f"m{number}", "milestone.reached", {"milestone": f"m{number}", "first_success": True}),
                ("milestone", "export", "milestone.reached", {"milestone": "export", "first_success": first}),
                ("renewal", f"i{number}", "subscription.renewed",
                 {"subscription_id": "s1", "invoice_id": f"i{number}"}),
                ("expansion", f"d{number}", "subscription.expanded", {"deal_id": f"d{number}"}),
                ("peer_mentioned", f"p{number}", "peer.mentioned", {"peer_ref": f"p{number}"}),
                ("referral_converted", f"f{number}", "referral.status_changed",
                 {"referral_id": f"f{number}", "status": "converted"}),
        )  # fmt: skip
        trigger, subject, kind, body = random.choices(reasons, (30, 8, 6, 4, 6, 6, 5, 10, 3, 10, 8, 8, 8))[0]
        if kind in ("nps.responded", "csat.responded"):
            body["response_id"] = subject
        if kind == "csat.responded" and random.random() < 0.3:
            subject = body["ticket_id"] = f"t{number}"
        if kind == "review.posted":
            body["url"] = subject
        self.remember(person, trigger, subject, time)
        self.add(kind, person, body, time, **more)
        if kind in ("nps.responded", "csat.responded") and random.random() < 0.3:
            worse = body | {"score": random.choice((2, 8, 10) if kind == "nps.responded" else (1, 5))}
            later = time + random.choice((0, 1, 10 * MINUTE, 20 * MINUTE, 2 * HOUR, DAY))
            self.add(kind, person, worse, later, **more)

    def presence(self, person: Person, time: int, more: Body) -> None:
        """The customer is there: moments, critical tasks, calls."""
        random = self.random
        number = random.randrange(2)
        kind, body = random.choice(
            (
                ("workflow.completed", {}),
                ("achievement.unlocked", {}),
                ("dashboard.viewed", {"metrics_positive": random.random() < 0.8}),
                ("task.started", {"task_id": f"k{number}"}),
                ("task.ended", {"task_id": f"k{number}"}),
                ("email.opened", {}),
                ("email.clicked", {}),
                ("call.moment", {"kind": "check_in", "call_id": f"l{number}"}),
                ("call.moment", {"kind": "qbr_ended_well"}),
                ("call.concern_raised", {"call_id": f"l{number}"}),
                ("call.concern_addressed", {"call_id": f"l{number}"}),
                ("call.cut_short", {"call_id": f"l{number}"}),
            )
        )
        self.edges.append(time + 2 * HOUR)
        self.add(kind, person, body, time, **more)

    def after(self, person: Person, time: int, more: Body) -> None:
        """What workers and people say about an ask; that it was made is not certain."""
        random = self.random
        if not person.reasons:
            self.reason(person, time, more)
            return
        reason = random.choice(person.reasons[-4:])
        time = max(time, reason[2])
        command, opportunity = person.command(reason), person.opportunity(reason)
        referral = f"f{random.randrange(3)}"
        report = random.choice("accepted sent sent delivered opened failed dropped_expired cancelled".split())
        progress = random.choice("contacted converted converted rejected refunded".split())
        kind, body = random.choices(
            (
                ("ask.acknowledged", {"status": report}),
                ("ask.answered", {"answer": random.choice(("yes", "maybe", "no", "no", "stop"))}),
                ("referral.given", {"referral_id": referral, "contact": {"ref": "x", "consented": False}}),
                ("referral.status_changed", {"referral_id": referral, "status": progress}),
                ("ask.approved", {"opportunity_id": opportunity, "by": "lead"}),
                ("ask.rejected", {"opportunity_id": opportunity, "by": "lead"}),
            ),
            (10, 3, 2, 4, 3, 1),
        )[0]  # fmt: skip
        if kind in ("ask.acknowledged", "ask.answered") or (kind == "referral.given" and random.random() < 0.6):
            body["command_id"] = command
        self.edges += [time + wait for wait in (14 * DAY, 90 * DAY, 180 * DAY)]
        if body.get("status") == "converted":
            self.remember(person, "referral_converted", referral, time)
        self.add(kind, person, body, time, **more)
        if body.get("status") == "failed" and random.random() < 0.3:
            self.add(kind, person, body | {"status": "sent"}, time + random.choice((0, 1, HOUR)), **more)

    def noise(self, person: Person, time: int, more: Body) -> None:
        """What changes the picture without being good or bad news."""
        random = self.random
        channel, account = random.choice(CHANNELS), random.choice(("acme", "umbrella"))
        kind, body = random.choice(
            (
                ("usage.recorded", {"count": random.choice((0, 1, 20))}),
                ("usage.compared", {"above_average": random.random() < 0.6}),
                ("interaction.recorded", {"kind": "chat"}),
                ("feedback.shared", {"positive": random.random() < 0.7}),
                ("goal.achieved", {"goal": "go live"}),
                ("saving.measured", {"kind": "time", "amount": 3, "unit": "h"}),
                ("champion.changed", {"champion": random.random() < 0.5}),
                ("customer.profile_changed", {"time_zone": random.choice(ZONES)}),
                ("customer.profile_changed", {"channels": {channel: random.random() < 0.7}}),
                ("customer.profile_changed", {"account_id": account, "requires_approval": random.random() < 0.2}),
                ("customer.signed_up", {}),
                ("advocacy.asked", {"kind": random.choice(("survey", "referral", "review")), "by": "marketing"}),
                ("contract.signed", {"contract_id": f"k{random.randrange(2)}", "initial": random.random() < 0.3}),
                ("subscription.started", {"subscription_id": f"s{random.randrange(3)}"}),
                ("case_study.joined", {}),
                ("advice.asked", {}),
                ("community.engaged", {"kind": "beta"}),
                ("onboarding.completed", {}),
                ("some.other_type", {"x": 1}),
            )
        )  # fmt: skip
        if kind in ("advocacy.asked", "contract.signed", "subscription.started"):
            self.edges += [time + wait for wait in (14 * DAY, 30 * DAY)]
        self.add(kind, person, body, time, **more)

    def trouble(self, person: Person, time: int, more: Body) -> None:
        """Bad news, with its end more often than not."""
        random = self.random
        number = random.randrange(3)
        subscription = {} if random.random() < 0.3 else {"subscription_id": f"s{random.randrange(2)}"}
        ticket, paused = {"ticket_id": f"t{number}"}, {"by": "ops", "why": "test"}
        withdrawn = {"purpose": "referral_ask", "channel": random.choice(("all", "email", "in_app")), "granted": False}
        troubles: tuple[tuple[str, Body, str, Body], ...] = (
                ("ticket.opened", ticket, "ticket.solved", {}),
                ("ticket.opened", ticket | {"priority": random.choice(("low", "urgent"))}, "ticket.solved",
                 {"rating": "positive"}),
                ("ticket.reopened", ticket, "ticket.solved", {}),
                ("ticket.opened", ticket, "ticket.rated", {"rating": random.choice(("positive", "negative"))}),
                ("complaint.made", {}, "", {}),
                ("frustration.shown", {}, "", {}),
                ("nps.responded", {"response_id": f"r{number}", "score": random.choice((0, 6, 7))}, "nps.responded",
                 {"score": 9}),
                ("invoice.payment_failed", {"invoice_id": f"i{number}"}, "invoice.paid", {}),
                ("charge.disputed", {"charge_id": f"h{number}"}, "dispute.closed", {"won": random.random() < 0.5}),
                ("charge.refunded", {"charge_id": f"h{number}"}, "", {}),
                ("cancellation.considered", subscription, "cancellation.reverted", {}),
                ("cancellation.scheduled", subscription, "cancellation.reverted", {}),
                ("cancellation.scheduled", subscription, "subscription.renewed", {"subscription_id": "s1"}),
                ("subscription.ended", {"subscription_id": "s1"}, "subscription.started", {}),
                ("trial.started", {"subscription_id": f"s{number}"}, "trial.ended",
                 {"converted": random.random() < 0.7}),
                ("customer.suppressed", {}, "customer.unsuppressed", {}),
                ("customer.consent_changed", withdrawn, "customer.consent_changed", {"granted": True}),
                ("control.paused", paused | {"scope": "all"}, "control.resumed", {}),
                ("control.paused", paused | {"scope": "trigger", "name": random.choice(("nps_promoter", "renewal"))},
                 "control.resumed", {}),
                ("control.paused", paused | {"scope": "segment", "name": "smb"}, "control.resumed", {}),
                ("customer.erasure_requested", {}, "", {}),
        )  # fmt: skip
        bad, body, good, more_body = random.choice(troubles)
        who = None if bad.startswith("control.") else person
        if who is None:
            more = {}
        if bad == "customer.erasure_requested" and random.random() < 0.7:
            bad, body = "complaint.made", {}
        over = time + random.choice((1, MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY))
        self.edges += [over, *(over + wait for wait in random.sample(WAITS, 2))]
        self.edges += [time + wait for wait in random.sample(WAITS, 2)]
        self.add(bad, who, body, time, **more)
        if good and random.random() < 0.75:
            self.edges.append(over + 3 * DAY)
            self.add(good, who, body | more_body, over, **more)

    def campaign(self, people: list[Person]) -> None:
        """Everybody has the same reason at the same instant."""
        time = self.instant(people[0])
        for person in people:
            self.remember(person, "nps_promoter", "campaign", time)
            self.add("nps.responded", person, {"response_id": "campaign", "score": 10}, time)

    def burst(self, person: Person) -> None:
        """Many openings in one hour."""
        time, many = self.instant(person), self.random.choice((4, 4, 4, 60))
        resumed = time + self.random.choice((many * 1_000 - 1_500, HOUR, 3 * HOUR))
        resume = {"scope": "trigger", "name": "milestone", "by": "ops", "why": "looked"}
        self.add("control.resumed", None, resume, resumed)
        for number in range(many):
            someone = Person(f"b{number}", person.zone, ("email",))
            self.add("milestone.reached", someone, {"milestone": "m0", "first_success": True}, time + number * 1_000)
        self.remember(person, "milestone", "m0", time)
        self.add("milestone.reached", person, {"milestone": "m0", "first_success": True}, time + many * 1_000)

    # --------------------------------------------------------------------------------------------------------- disorder

    def disorder(self) -> None:
        """Redeliveries, and records whose own timestamps go back."""
        random = self.random
        again = [
            (arrival + random.choice((0, 1, HOUR, 7 * DAY - 1, 7 * DAY, 8 * DAY)), record)
            for arrival, record in self.records
            if random.random() < 0.04 and "subject" in record["value"]
        ]
        self.records += [(arrival, record | {"timestamp": rfc3339(arrival)}) for arrival, record in again]
        self.records.sort(key=lambda item: item[0])
        for _ in range(len(self.records) // 25):
            here = random.randrange(len(self.records))
            there = min(len(self.records) - 1, here + random.randrange(4))
            if all("subject" in self.records[place][1]["value"] for place in (here, there)):
                self.records[here], self.records[there] = self.records[there], self.records[here]
