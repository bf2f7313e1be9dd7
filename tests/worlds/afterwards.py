"""Random worlds of what follows an ask: answers, referrals, statuses, judgements, settlements, and what crosses them.

A world is made in rounds. First customers with reasons to ask; then the oracle says what they were asked, and workers
and customers answer that; then it says which follow-ups and grants this led to, and they are acknowledged, answered,
approved, settled and refunded, at instants at which something else is due, or a millisecond beside them. Between them
come opt-outs, troubles, erasures, new addresses, redeliveries and records that come late.

Records are canonical: answers are words, contacts are hashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from referral_stream.core.events import CHANNELS
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant, rfc3339
from tests.oracle.naive import decide
from tests.oracle.records import uid
from tests.oracle.world import Result
from tests.worlds.customers import CONSENT, Body, Fact, history
from tests.worlds.records import Record

STARTS = tuple(
    parse_instant(f"{day}T08:00:00Z")[0]
    for day in ("2026-03-24", "2026-06-16", "2026-09-24", "2026-10-20", "2026-10-29", "2027-01-12")
)
ZONES = ("Europe/Berlin", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "UTC")
REACHABLE: tuple[tuple[str, ...], ...] = (
    ("email",), ("email",), ("email", "in_app"), ("email", "in_app", "phone"), ("in_app", "phone"), ("in_app",),
)  # fmt: skip
BESIDE = (0, 0, 0, -1, 1, MINUTE, 15 * MINUTE, -HOUR, HOUR, 5 * HOUR)
LATE = (0, 0, 0, 0, 0, 1, 10 * MINUTE, HOUR - 1, HOUR, 2 * HOUR, DAY, 6 * DAY, 7 * DAY - 1, 7 * DAY, 20 * DAY)
SOON = (0, 1, 5 * MINUTE, 15 * MINUTE - 1, 15 * MINUTE, HOUR - 1, HOUR, 3 * HOUR, 9 * HOUR, DAY, 3 * DAY)
FEWER = (("first_success", "testimonial", "advice"), ("first_success", "advice", "feedback"))
HMACS = tuple(character * 64 for character in "abcdef")
"""What stands for addresses and domains: customers and contacts share them."""

CREDIT: Body = {"kind": "credit", "amount_minor": 5000, "currency": "EUR"}
PROGRAMMES: dict[str, Body] = {
    "smb": CREDIT,
    "enterprise": {"kind": "recognition", "benefit": "A place on the wall"},
    "mission_driven": {"kind": "donation", "amount_minor": 2500, "currency": "USD"},
}


COURSES = (
    ("contacted",), ("contacted", "converted"), ("converted",), ("contacted", "qualified", "converted"),
    ("converted", "refunded"), ("converted", "rejected"), ("contacted", "rejected"), ("converted", "contacted"),
    ("converted", "refunded", "converted"), ("rejected", "contacted", "converted"), ("converted", "converted"),
    ("refunded",),
)  # fmt: skip
"""What may become of a referral."""

REPORTED = (["contacted", "converted"],) * 3 + (["contacted", "qualified", "converted"], ["contacted"], ["rejected"])


@dataclass(frozen=True)
class World:
    """One recorded log and the policy to decide it under, as the oracle knows it.

    ``policy``: of ``followups``, ``referrals`` and ``rewards`` the names are those of the policy file. ``merges``: some
    customers turn out to be one.
    """

    seed: int
    policy: dict[str, Any]
    records: list[Record]
    merges: bool = False


@dataclass
class Person:
    """Who the events are about, and what can be referred to later."""

    id: str
    zone: str
    referrals: list[str] = field(default_factory=list)


def world(seed: int) -> World:
    """The world of that seed, the same on every machine."""
    return Making(seed).world()


class Making:
    """Makes one world; what it draws, and in which order, is what a seed means."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"afterwards {seed}")
        self.start = self.random.choice(STARTS) + self.random.randrange(2 * DAY)
        self.records: list[tuple[int, Record]] = []
        self.edges: list[int] = [self.start]
        self.people: list[Person] = []
        self.given: dict[str, int] = {}  # referral → when it was given
        self.seen: set[str] = set()  # ids of messages that were reacted to
        self.made = 0

    def world(self) -> World:
        random = self.random
        policy = self.policy()
        merges = random.random() < 0.1
        for number in range(random.choice((1, 1, 2, 2, 3, 4))):
            self.person(f"c{number}")
        for _ in range(random.choice((0, 1, 2))):
            self.disturb(self.start + random.randrange(40 * DAY))
        for _ in range(random.choice((2, 3, 3))):
            self.react(decide(self.in_order(), None, policy, recording=False))
        if merges and len(self.people) > 1:
            first, second = random.sample(self.people, 2)
            self.add("customer.aliased", first, {"alias": second.id}, self.instant())
        self.redeliver()
        return World(self.seed, policy, self.in_order(), merges)

    def policy(self) -> dict[str, Any]:
        random = self.random
        segments = random.sample(sorted(PROGRAMMES), random.choice((1, 2, 3)))
        rewards: Body = {
            "enabled": random.random() < 0.93,
            "holding_days": random.choice((0, 0, 1, 14)),
            "approval_days": random.choice((30, 2, 10)),
            "per_customer": random.choice((10, 1, 2)),
            "per_account": random.choice((20, 1, 2)),
            "rate": random.choice((5, 1, 2)),
            "claim_days": random.choice((365, 365, 20, 3)),
            "default_segment": random.choice(("none", *segments, *segments)),
            "programmes": {segment: PROGRAMMES[segment] for segment in segments},
        }
        followups: Body = {
            "fresh_days": random.choice((7, 7, 7, 2)),
            "care_hours": random.choice((48, 48, 12)),
            "report_after_minutes": random.choice((15, 15, 15, 0, 60)),
            "report": random.choice(REPORTED),
        }
        found: dict[str, Any] = {
            "followups": followups,
            "rewards": rewards,
            "referrals": {"attribution_days": random.choice((90, 90, 20))},
            "holdout_share": random.choice((0, 0, 0, 0.5)),
            "customer_cap_days": random.choice((90, 90, 10)),
        }
        if random.random() < 0.3:
            found["mutual_benefit_triggers"] = ["nps_promoter", "renewal"]
        apart = Random(f"experiments {self.seed}")  # dice of its own: the worlds stay what they were
        if apart.random() < 0.4:
            weights = {template: apart.choice((0, 1, 1, 3)) for template in ("b", "a", "c")} | {"d": 1}
            trigger = apart.choice(("nps_promoter", "renewal"))
            found["experiments"] = {"wording": {"trigger": trigger, "templates": weights}}
        if random.random() < 0.04:
            found["shadow"] = True
        if random.random() < 0.06:
            found |= {"default_zone": "Europe/Berlin", "strict_zones": ["Europe/Berlin", "America/New_York"]}
        return found

    # ------------------------------------------------------------------------------------------------- time and records

    def add(
        self, kind: str, person: Person | None, body: Body, time: int, *, delay: int = 0, historical: bool = False
    ) -> None:
        """One event that happened at ``time`` and arrives ``delay`` ms later."""
        self.made += 1
        source = self.random.choice(("app", "crm", "zeta"))
        value: Record = {"specversion": "1.0", "id": f"e{self.made}", "source": source, "type": kind, "data": body}
        value["time"] = rfc3339(time)
        if person is not None:
            value["subject"] = person.id
        responses = kind.startswith(("control.", "reward."))
        record = {"topic": "responses" if responses else "facts", "timestamp": rfc3339(time + delay), "value": value}
        if historical:
            record["headers"] = {"historical": "true"}
        self.records.append((time + delay, record))

    def in_order(self) -> list[Record]:
        self.records.sort(key=lambda item: item[0])
        return [record for _, record in self.records]

    def instant(self) -> int:
        """Mostly one at which something else is due, or next to it."""
        random = self.random
        if random.random() < 0.2:
            return self.start + random.randrange(45 * DAY)
        return random.choice(self.edges) + random.choice(BESIDE)

    def crossed(self) -> Body:
        """How an event arrives: mostly at once."""
        random = self.random
        return {
            "delay": random.choice(LATE) if random.random() < 0.3 else 0,
            "historical": random.random() < 0.05,
        }

    # ------------------------------------------------------------------------------------------------------- customers

    def person(self, name: str) -> None:
        random = self.random
        person = Person(name, random.choice(ZONES))
        self.people.append(person)
        profile: Body = {}
        if random.random() < 0.6:
            profile["account_id"] = random.choice(("acme", "acme", "umbrella"))
        if random.random() < 0.7:
            profile["segment"] = random.choice(sorted(PROGRAMMES))
        if random.random() < 0.6:
            profile |= {"email_hmac": random.choice(HMACS[:4]), "domain_hmac": random.choice(HMACS[4:])}
        zone = person.zone if random.random() < 0.9 else None
        signals = random.choice((*(("first_success", "testimonial", "advice", "usage", "calls"),) * 3, *FEWER))
        facts: Iterable[Fact] = history(*signals, zone=zone, channels=random.choice(REACHABLE), **profile)
        for fact in facts:
            self.add(fact.type, person, fact.body, self.start - fact.age)
        self.good_news(person, self.start + random.choice((0, HOUR, 30 * HOUR)), 0)
        if random.random() < 0.5:
            self.good_news(person, self.start + random.choice((11, 20, 89, 91)) * DAY, 1)
        for number in range(random.choice((0, 1, 1, 2, 3))):
            self.refer(person, f"{name}-unprompted{number}", self.start + random.randrange(20 * DAY))

    def good_news(self, person: Person, time: int, number: int) -> None:
        """Something that asks for an ask, on a channel that the customer has."""
        kind, body = self.random.choice(
            (
                ("nps.responded", {"response_id": f"r{number}", "score": 10}),
                ("nps.responded", {"response_id": f"r{number}", "score": 9}),
                ("subscription.renewed", {"subscription_id": "s1", "invoice_id": f"i{number}"}),
                ("subscription.expanded", {"deal_id": f"d{number}"}),
                ("peer.mentioned", {"peer_ref": f"p{number}"}),
            )
        )
        self.add(kind, person, body, time)
        for wait in (30 * MINUTE, 25 * HOUR):
            self.add("workflow.completed", person, {}, time + wait)
            self.add("call.moment", person, {"kind": "check_in"}, time + wait + MINUTE)
        self.edges.append(time)

    # -------------------------------------------------------------------------------------------------------- reactions

    def react(self, result: Result) -> None:
        """Workers, customers and teams react to what is new in it."""
        people = {person.id: person for person in self.people}
        for row in [*result.asks, *result.followups, *result.rewards]:
            body, kind = row["data"], row["type"].removeprefix("referral.")
            if row["id"] in self.seen or row["subject"] not in people:
                continue
            self.seen.add(row["id"])
            person, at = people[row["subject"]], parse_instant(row["time"])[0]
            self.edges += [parse_instant(body[name])[0] for name in DUE if name in body]
            if kind == "ask.requested":
                self.to_ask(person, body["command_id"], at)
            elif kind == "followup.requested":
                self.to_followup(person, body, at)
            elif kind == "reward.held":
                self.to_held(person, body, at)
            elif kind == "reward.granted":
                self.to_granted(person, body, at)
            if self.random.random() < 0.12:
                self.disturb(self.instant(), person)

    def to_ask(self, person: Person, command: str, at: int) -> None:
        random = self.random
        reports = random.choice((("sent",), ("sent",), ("accepted", "sent"), ("failed",), ("sent", "failed"), ()))
        reported = at
        for status in reports:
            reported += random.choice((MINUTE, MINUTE, HOUR, 4 * HOUR))
            self.add("ask.acknowledged", person, {"command_id": command, "status": status}, reported)
        if random.random() < 0.15:
            self.disturb(at + random.choice((1, MINUTE, 30 * MINUTE)), person)
        if reports == ("failed",) and random.random() < 0.6:
            return
        said = at
        for _ in range(random.choice((0, 1, 1, 2, 2, 3))):
            said += random.choice(SOON)
            self.answer(person, command, said)
        for number in range(random.choice((0, 0, 1, 1, 2))):
            wait = random.choice((*SOON, 5 * DAY, 20 * DAY - 1, 90 * DAY - 1, 90 * DAY))
            named = command if random.random() < 0.5 else None
            self.refer(person, f"{person.id}-{command[:4]}-{number}", at + wait, named)

    def answer(self, person: Person, command: str, time: int) -> None:
        word = self.random.choices(("yes", "maybe", "no", "unclear", "stop"), (30, 20, 14, 20, 5))[0]
        self.edges += [time, time + HOUR, time + DAY]
        if self.random.random() < 0.08:
            self.add("customer.profile_changed", person, {"channels": dict.fromkeys(CHANNELS, False)}, time - 1)
        self.add("ask.answered", person, {"command_id": command, "answer": word}, time, **self.crossed())

    def contact(self, person: Person, consented: bool) -> Body:
        random = self.random
        found: Body = {"ref_hmac": f"{random.randrange(6)}" * 64, "consented": consented}
        if random.random() < 0.6:
            found["ref_hmac"] = uid("contact", person.id, self.made).replace("-", "") * 2
        if random.random() < 0.4:
            found["email_hmac"] = random.choice(HMACS[:4])
        if random.random() < 0.3:
            found["domain_hmac"] = random.choice(HMACS[4:])
        return found

    def refer(self, person: Person, referral: str, time: int, command: str | None = None) -> None:
        """A referral, now and then told twice, and what becomes of it."""
        random = self.random
        if random.random() < 0.03 and self.given:
            referral = random.choice(sorted(self.given))  # it was told of by somebody, perhaps by somebody else
        person.referrals.append(referral)
        self.given[referral] = time
        contact = self.contact(person, random.random() < 0.7)
        body = {"referral_id": referral, "contact": contact} | ({"command_id": command} if command else {})
        self.edges += [time, time + HOUR, time + DAY, time + 2 * DAY]
        self.add("referral.given", person, body, time, **self.crossed())
        if random.random() < 0.2:
            more: Body = {"consented": random.random() < 0.4}
            if random.random() < 0.5:
                more["email_hmac"] = random.choice(HMACS[:4])
            body = body | {"contact": contact | more}
            self.add("referral.given", person, body, time + random.choice(SOON), **self.crossed())
        if random.random() < 0.07:
            self.add("referral.contact_erased", person, {"referral_id": referral}, time + random.choice(SOON))
        self.progress(person, referral, time - (HOUR if random.random() < 0.06 else 0))

    def progress(self, person: Person, referral: str, time: int) -> None:
        random = self.random
        for status in random.choice(COURSES) if random.random() < 0.75 else ():
            time += random.choice((*SOON, 10 * MINUTE, 15 * MINUTE + 1, 10 * DAY))
            self.status(person, referral, status, time)

    def status(self, person: Person, referral: str, status: str, time: int) -> None:
        random = self.random
        body: Body = {"referral_id": referral, "status": status}
        if random.random() < 0.4:
            body |= {"deal_value_minor": random.choice((0, 120_000, 99.0)), "currency": random.choice(("EUR", "usd"))}
        self.edges += [time, time + 15 * MINUTE, time + DAY, time + DAY + 15 * MINUTE]
        self.add("referral.status_changed", person, body, time, **self.crossed())

    def to_followup(self, person: Person, body: Body, at: int) -> None:
        random = self.random
        if random.random() < 0.35:
            status = random.choice(("accepted", "sent", "delivered", "failed", "dropped_expired", "cancelled"))
            acknowledged = {"command_id": body["followup_id"], "status": status}
            self.add("ask.acknowledged", person, acknowledged, at + random.choice(SOON), **self.crossed())
        if random.random() < 0.15:
            self.answer(person, body["followup_id"], at + random.choice(SOON))
        if body["kind"] == "take_care" and random.random() < 0.1:
            due = parse_instant(body["due_by"])[0] + random.choice((-1, 0, 1))
            self.status(person, body["referral_id"], random.choice(("contacted", "refunded")), due)
        if body["audience"] == "customer" and random.random() < 0.14:
            self.disturb(at + random.choice(SOON), person)

    def to_held(self, person: Person, body: Body, at: int) -> None:
        random = self.random
        lapses = parse_instant(body["lapses_at"])[0]
        for _ in range(random.choice((0, 1, 1, 1, 2))):
            kind = random.choice(("reward.approved", "reward.approved", "reward.rejected"))
            time = random.choice((at, at + HOUR, at + 3 * DAY, lapses - 1, lapses, lapses + 1))
            self.add(kind, person, {"grant_id": body["grant_id"], "by": "lead"}, time, **self.crossed())

    def to_granted(self, person: Person, body: Body, at: int) -> None:
        random = self.random
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            settled: Body = {"grant_id": body["grant_id"], "status": random.choice(("delivered", "failed"))}
            if random.random() < 0.5:
                settled["reference"] = "payment-7"
            self.add("reward.settled", person, settled, at + random.choice(SOON), **self.crossed())
        if random.random() < 0.2:
            status = random.choice(("refunded", "rejected", "converted"))
            self.status(person, body["referral_id"], status, at + random.choice((*SOON, 20 * DAY)))
        if random.random() < 0.05:
            self.add("reward.rejected", person, {"grant_id": body["grant_id"], "by": "lead"}, at + HOUR)

    # ----------------------------------------------------------------------------------------------------- disturbances

    def disturb(self, time: int, person: Person | None = None) -> None:
        """What crosses it: opt-outs and their ends, troubles, new knowledge, erasure, pauses."""
        random = self.random
        who = person or random.choice(self.people)
        channel = random.choice((*CHANNELS, "email", "email"))
        over = time + random.choice((1, MINUTE, HOUR, 9 * HOUR, DAY))
        withdrawn = CONSENT | {"granted": False}
        changes: tuple[tuple[str, Body, str, Body], ...] = (
            ("customer.consent_changed", withdrawn | {"channel": channel}, "customer.consent_changed",
             CONSENT | {"channel": channel}),
            ("customer.consent_changed", withdrawn | {"channel": channel}, "", {}),
            ("customer.consent_changed", withdrawn, "customer.consent_changed", CONSENT),
            ("customer.suppressed", {"reason": "bounce"}, "customer.unsuppressed", {}),
            ("complaint.made", {}, "", {}),
            ("ticket.opened", {"ticket_id": "t1"}, "ticket.solved", {"ticket_id": "t1"}),
            ("nps.responded", {"response_id": "r0", "score": 3}, "", {}),
            ("customer.profile_changed", {"channels": {channel: random.random() < 0.5}}, "", {}),
            ("customer.profile_changed", {"time_zone": random.choice(ZONES)}, "", {}),
            ("customer.profile_changed", {"segment": random.choice(sorted(PROGRAMMES))}, "", {}),
            ("customer.profile_changed", {"account_id": random.choice(("acme", "umbrella"))}, "", {}),
            ("customer.profile_changed", {"email_hmac": random.choice(HMACS[:4])}, "", {}),
            ("ask.answered", {"command_id": "nobody's", "answer": random.choice(("stop", "no", "maybe"))}, "", {}),
            ("customer.erasure_requested", {}, "", {}),
            ("control.paused", {"scope": "all", "by": "ops", "why": "test"}, "control.resumed",
             {"scope": "all", "by": "ops", "why": "test"}),
        )  # fmt: skip
        weights = (5, 4, 4, 4, 4, 3, 2, 3, 2, 2, 2, 2, 3, 4, 1)
        kind, body, end, more = random.choices(changes, weights)[0]
        about = None if kind.startswith("control.") else who
        self.edges += [time, over]
        self.add(kind, about, body, time, **({} if about is None else self.crossed()))
        if end and random.random() < 0.7:
            self.add(end, about, more, over)

    def redeliver(self) -> None:
        random = self.random
        waits = (0, 1, HOUR, 7 * DAY - 1, 7 * DAY)
        again = [
            (at + random.choice(waits), record)
            for at, record in self.records
            if at >= self.start and "subject" in record["value"] and random.random() < 0.03
        ]
        self.records += [(at, record | {"timestamp": rfc3339(at)}) for at, record in again]


DUE = ("not_before", "due_by", "expires_at", "lapses_at")
"""The fields of what is written that say when something else is due."""


def stirred(made: World) -> list[Record]:
    """The records of a world in another order, some of them repeated: all in the places in time that there were."""
    random, records = Random(f"stir {made.seed}"), [dict(record) for record in made.records]
    for _ in range(max(1, len(records) // 10)):
        first = random.randrange(len(records))
        again = random.randrange(first, len(records))
        records.insert(again + 1, {**records[first], "timestamp": records[again]["timestamp"]})
    for _ in range(max(1, len(records) // 5)):
        first = random.randrange(len(records))
        other = min(len(records) - 1, first + random.randrange(1, 12))
        one, two = records[first], records[other]
        one["topic"], two["topic"], one["value"], two["value"] = two["topic"], one["topic"], two["value"], one["value"]
    return records
