"""Random worlds of people who are known by several ids, addresses and objects, and turn out to be one.

``crowd`` is nasty on purpose: opt-outs, erasures and troubles are told under another id, by a link, by somebody with
the same address, before and after it is known who is who. ``halves`` is a customer told under two ids until they are
merged: told as one, the rest of the world goes the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant, rfc3339
from tests.worlds.customers import BERLIN, CONSENT, Body, history
from tests.worlds.records import Record

START = parse_instant("2026-06-15T06:00:00Z")[0]
"""A Monday, 08:00 in Berlin."""
ADDRESSES = ("aa" * 32, "bb" * 32, "cc" * 32)
SIGNALS = ("first_success", "testimonial", "advice", "usage", "calls")
ACTS = ("merge", "closing", "link", "lift", "address", "report", "occasion")
PLOTS = (
    ("closing", "merge"), ("closing", "merge"), ("closing", "merge", "lift"), ("closing", "merge", "merge"),
    ("closing", "link"), ("closing", "closing", "link", "link"), ("closing", "address"), ("closing", "merge", "link"),
    ("merge", "occasion"), ("merge", "report"), (),
)  # fmt: skip
"""What happens for certain; each at a time of its own, so that it may come in any order."""


@dataclass(frozen=True)
class Crowd:
    """One recorded log. ``who``: the ids that are one person, as (id, the customer who remains)."""

    seed: int
    records: list[Record]
    who: dict[str, str] = field(default_factory=dict)
    commands: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    merged_at: int = 0


class _Telling:
    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, Random(seed)
        self.lines: list[tuple[int, int, Record]] = []
        self.commands: dict[str, tuple[str, str, str]] = {}

    def tell(self, kind: str, whom: str, time: int, body: Body | None = None, *, delay: int = 0) -> None:
        """An event about a customer's id, or, as ``link KIND:VALUE``, about whoever that names."""
        named = {"link": whom.removeprefix("link ")} if whom.startswith("link ") else {"subject": whom}
        value: Record = {
            "specversion": "1.0",
            "id": f"e{len(self.lines)}",
            "source": self.random.choice(("app", "crm", "zeta")),
            "type": kind,
            **named,
            "time": rfc3339(time),
            "data": body or {},
        }
        record = {"topic": "facts", "timestamp": rfc3339(time + delay), "value": value}
        self.lines.append((time + delay, len(self.lines), record))

    def command(self, customer: str, trigger: str, subject: str) -> str:
        name = derived_id("command", customer, trigger, subject, 1)
        self.commands[name] = (customer, trigger, subject)
        return name

    def records(self) -> list[Record]:
        return [record for _, _, record in sorted(self.lines, key=lambda line: line[:2])]


def crowd(seed: int) -> Crowd:
    """A few people, each under some ids; the same on every machine."""
    return _Crowd(seed).made()


class _Crowd(_Telling):
    def made(self) -> Crowd:
        random = self.random
        self.start = START + random.randrange(5) * DAY + random.randrange(4) * HOUR
        self.edges = [self.start, START + 4 * DAY + 5 * HOUR + 10 * MINUTE]  # ten minutes after the slot begins
        self.people = [
            [f"{name}{n or ''}" for n in range(random.choice((1, 2, 2, 3)))]
            for name in "pqr"[: random.choice((1, 2, 2, 3))]
        ]
        self.occasions: list[tuple[str, str, str]] = []
        for ids in self.people:
            self.past(ids)
        first = max(self.people, key=len)  # of whom most is told
        for _ in range(random.choice((1, 2, 3))):
            self.occasion(first)
        if len(self.people) > 1:
            self.occasion(random.choice(self.people))
        for act in random.choice(PLOTS):
            getattr(self, act)(first)
        for _ in range(random.choice((0, 0, 1, 3, 6))):
            act = random.choices(ACTS, (5, 5, 4, 4, 3, 2, 1))[0]
            getattr(self, act)(random.choice((first, *self.people)))
        who = {name: ids[0] for ids in self.people for name in ids}
        return Crowd(self.seed, self.records(), who, self.commands)

    def when(self) -> int:
        """Long before, or around what matters."""
        if self.random.random() < 0.3:
            return self.start - self.random.choice((40, 20, 8, 5, 3, 1)) * DAY - self.random.randrange(DAY)
        near = self.random.choice(self.edges)
        return near + self.random.choice(
            (0, 0, 1, -1, MINUTE, -MINUTE, 10 * MINUTE, 19 * MINUTE, 25 * MINUTE, HOUR, -HOUR, 3 * HOUR)
        )

    def past(self, ids: list[str]) -> None:
        """Somebody who may be asked under the first id; now and then half of it was told under another."""
        random = self.random
        split = random.choice(ids) if random.random() < 0.2 else ids[0]
        told: dict[str, Any] = {"email_hmac": random.choice(ADDRESSES)} if random.random() < 0.6 else {}
        if random.random() < 0.2:
            told["account_id"] = "acme"
        channels = random.choice((("email",), ("email", "in_app"), ("email", "in_app", "phone")))
        for fact in history(*SIGNALS, zone=BERLIN, channels=channels, **told):
            self.tell(fact.type, random.choice((ids[0], split)), self.start - fact.age, fact.body)
        for name in ids[1:]:
            if random.random() < 0.3:
                for fact in history(*SIGNALS, zone=BERLIN, channels=channels, **told):
                    self.tell(fact.type, name, self.start - fact.age, fact.body)

    def occasion(self, ids: list[str]) -> None:
        random = self.random
        time, name, number = self.start + random.randrange(3 * DAY), ids[0], len(self.lines)
        if random.random() < 0.3:
            name = random.choice(ids)
        trigger, kind, body = random.choice(
            (
                ("nps_promoter", "nps.responded", {"response_id": f"r{number}", "score": 10}),
                ("nps_promoter", "nps.responded", {"response_id": f"r{number}", "score": 9}),
                ("positive_feedback", "compliment.given", {"reference": f"r{number}"}),
                ("renewal", "subscription.renewed", {"subscription_id": f"s-{name}", "invoice_id": f"r{number}"}),
            )
        )
        self.occasions.append((name, trigger, f"r{number}"))
        self.edges += [time, time, time + 20 * MINUTE, time + DAY]
        self.tell(kind, name, time, body)
        if random.random() < 0.4:
            self.tell("workflow.completed", name, time + random.choice((30 * MINUTE, 26 * HOUR)))

    def merge(self, ids: list[str]) -> None:
        """Any two of them, either way round; mostly into the first."""
        one, other = ids[0], self.random.choice(ids)
        if self.random.random() < 0.25:
            one, other = self.random.choice(ids), self.random.choice(ids)
        time = self.when()
        self.edges.append(time)
        self.tell("customer.aliased", one, time, {"alias": other})

    def closing(self, ids: list[str]) -> None:
        random, number = self.random, len(self.lines)
        whom, time = random.choice((*ids[1:], *ids)), self.when()
        kind, body, links = random.choice(
            (
                ("customer.suppressed", {}, ("email", "crm_contact")),
                ("customer.suppressed", {}, ("email", "crm_contact")),
                ("customer.erasure_requested", {}, ("email",)),
                ("customer.consent_changed", CONSENT | {"granted": False}, ("email",)),
                ("customer.consent_changed", CONSENT | {"granted": False, "channel": "email"}, ("email",)),
                ("ask.answered", {"command_id": "another", "answer": random.choice(("stop", "no"))}, ()),
                ("complaint.made", {}, ("crm_contact",)),
                ("ticket.opened", {"ticket_id": f"t{random.randrange(2)}"}, ("crm_ticket",)),
                ("charge.disputed", {"charge_id": f"c{random.randrange(2)}"}, ("stripe_charge",)),
                ("nps.responded", {"response_id": f"n{number}", "score": 3}, ("email",)),
                ("invoice.payment_failed", {"invoice_id": f"i{random.randrange(2)}"}, ()),
                ("review.posted", {"rating": 1, "scale_max": 5, "url": f"u{number}"}, ()),
                ("cancellation.scheduled", {"subscription_id": f"s-{whom}"}, ()),
            )
        )
        self.edges.append(time)
        if links and random.random() < 0.5:
            whom = f"link {self.some_link(ids, random.choice(links))}"
        self.tell(kind, whom, time, body, delay=random.choice((0, 0, 0, 0, HOUR)))

    def some_link(self, ids: list[str], kind: str) -> str:
        values = {
            "email": ADDRESSES,
            "crm_contact": (ids[0], "7"),
            "crm_ticket": ("t0", "t1"),
            "stripe_charge": ("c0", "c1"),
        }
        return f"{kind}:{self.random.choice(values[kind])}"

    def link(self, ids: list[str]) -> None:
        kind, _, value = self.some_link(
            ids, self.random.choice(("crm_contact", "crm_ticket", "stripe_charge", "email"))
        ).partition(":")
        self.tell("customer.linked", self.random.choice(ids), self.when(), {"kind": kind, "value": value})

    def address(self, ids: list[str]) -> None:
        told = {"email_hmac": self.random.choice(ADDRESSES)}
        self.tell("customer.profile_changed", self.random.choice(ids), self.when(), told)

    def lift(self, ids: list[str]) -> None:
        random = self.random
        kind, body = random.choice(
            (
                ("customer.unsuppressed", {}),
                ("customer.unsuppressed", {}),
                ("customer.consent_changed", CONSENT),
                ("ticket.solved", {"ticket_id": f"t{random.randrange(2)}", "rating": "positive"}),
                ("dispute.closed", {"charge_id": f"c{random.randrange(2)}", "won": True}),
                ("invoice.paid", {"invoice_id": f"i{random.randrange(2)}"}),
            )
        )
        self.tell(kind, random.choice(ids), self.when(), body)

    def report(self, ids: list[str]) -> None:
        """What a worker says about a command, if there was one."""
        mine = [occasion for occasion in self.occasions if occasion[0] in ids]
        if mine:
            named = self.random.choice(mine)
            said = {
                "command_id": self.command(*named),
                "status": self.random.choice(("sent", "sent", "failed", "cancelled")),
            }
            self.tell("ask.acknowledged", self.random.choice(ids), self.when() + HOUR, said)


def halves(seed: int) -> Crowd:
    """One customer, ``anna``, told as ``anna`` and as ``old`` until the merge at ``merged_at``.

    Before it nobody may be asked, as onboarding is not completed, and the last window is over; usage begins too late to
    fall; no event is told twice.
    """
    return _Halves(seed).made()


class _Halves(_Telling):
    def made(self) -> Crowd:
        random = self.random
        self.merged = START + random.randrange(5) * DAY
        for fact in history(*SIGNALS, without=("onboarding.completed",), channels=("email", "in_app")):
            self.tell(fact.type, self.either(), self.merged - fact.age, fact.body)
        for _ in range(random.choice((1, 2, 4, 8, 16))):
            self.before()
        self.tell("customer.aliased", "anna", self.merged, {"alias": "old"})
        self.tell("onboarding.completed", "anna", self.merged + 1)
        for _ in range(random.choice((2, 4, 8))):
            self.after()
        return Crowd(self.seed, self.records(), {"anna": "anna", "old": "anna"}, self.commands, self.merged)

    def either(self) -> str:
        return self.random.choice(("anna", "old"))

    def before(self) -> None:
        """Anything that is not an occasion within eight days of the merge."""
        random = self.random
        time, number, few = self.merged - 9 * DAY - random.randrange(120 * DAY), len(self.lines), random.randrange(3)
        kind: str
        body: Body
        kind, body = random.choice(
            (
                ("nps.responded", {"response_id": f"r{few}", "score": random.choice((3, 8, 9, 10))}),
                ("csat.responded", {"response_id": f"s{few}", "score": random.choice((1, 3, 5)), "scale_max": 5}),
                ("review.posted", {"rating": random.choice((1, 5)), "scale_max": 5, "url": f"u{few}"}),
                ("compliment.given", {"reference": f"c{number}"}),
                ("milestone.reached", {"milestone": f"m{few}", "first_success": True}),
                ("subscription.started", {"subscription_id": f"b{few}"}),
                ("subscription.ended", {"subscription_id": f"b{few}"}),
                ("subscription.renewed", {"subscription_id": f"b{few}", "invoice_id": f"v{number}"}),
                ("ticket.rated", {"ticket_id": f"t{few}", "rating": random.choice(("positive", "negative"))}),
            )
        )
        if random.random() < 0.7:
            time = self.merged - MINUTE - random.randrange(random.choice((2 * DAY, 9 * DAY, 60 * DAY, 120 * DAY)))
            kind, body = random.choice(
                (
                    (
                        "customer.consent_changed",
                        CONSENT
                        | {"granted": random.random() < 0.6, "channel": random.choice(("all", "email", "in_app"))},
                    ),
                    ("customer.suppressed", {}),
                    ("customer.unsuppressed", {}),
                    ("customer.unsuppressed", {}),
                    ("customer.profile_changed", {"account_id": random.choice(("acme", "umbrella"))}),
                    ("customer.profile_changed", {"time_zone": random.choice((BERLIN, "America/New_York"))}),
                    ("customer.profile_changed", {"channels": {"in_app": random.random() < 0.5}}),
                    ("customer.profile_changed", {"champion": random.random() < 0.5, "segment": "smb"}),
                    ("champion.changed", {"champion": random.random() < 0.5}),
                    ("usage.compared", {"above_average": random.random() < 0.5}),
                    ("interaction.recorded", {"kind": "call"}),
                    ("feedback.shared", {"positive": random.random() < 0.8}),
                    ("ticket.opened", {"ticket_id": f"t{few}", "priority": random.choice(("low", "urgent"))}),
                    ("ticket.solved", {"ticket_id": f"t{few}"}),
                    ("invoice.payment_failed", {"invoice_id": f"i{few}"}),
                    ("invoice.paid", {"invoice_id": f"i{few}"}),
                    ("charge.disputed", {"charge_id": f"h{few}"}),
                    ("dispute.closed", {"charge_id": f"h{few}", "won": random.random() < 0.5}),
                    ("cancellation.considered", {"subscription_id": f"b{few}"}),
                    ("cancellation.reverted", {"subscription_id": f"b{few}"}),
                    ("ask.answered", {"command_id": "another", "answer": random.choice(("yes", "maybe", "no"))}),
                    ("advocacy.asked", {"kind": random.choice(("survey", "review")), "by": "crm"}),
                    ("contract.signed", {"contract_id": f"k{few}", "initial": random.random() < 0.5}),
                    ("task.started", {"task_id": f"a{few}"}),
                    ("call.concern_raised", {"call_id": f"l{few}"}),
                    ("call.concern_addressed", {"call_id": f"l{few}"}),
                )
            )
        self.tell(kind, self.either(), time, body, delay=random.choice((0, 0, 0, MINUTE)))

    def after(self) -> None:
        """Occasions and the rest of life, under either id."""
        random, number = self.random, len(self.lines)
        time, few = (
            self.merged + MINUTE + random.randrange(random.choice((DAY, 20 * DAY, 100 * DAY))),
            random.randrange(3),
        )
        kind, body = random.choice(
            (
                ("nps.responded", {"response_id": f"r{number}", "score": 10}),
                ("nps.responded", {"response_id": f"r{number}", "score": 10}),
                ("compliment.given", {"reference": f"r{number}"}),
                ("milestone.reached", {"milestone": f"m{few}", "first_success": True}),
                ("milestone.reached", {"milestone": f"m{number}", "first_success": True}),
                ("peer.mentioned", {"peer_ref": f"p{number}"}),
                ("ticket.solved", {"ticket_id": f"t{few}"}),
                ("invoice.paid", {"invoice_id": f"i{few}"}),
                ("customer.unsuppressed", {}),
                ("workflow.completed", {}),
                ("complaint.made", {}),
                ("customer.consent_changed", CONSENT),
            )
        )
        whom = self.either()
        self.tell(kind, whom, time, body)
        if kind == "nps.responded" and random.random() < 0.5:
            said: dict[str, Any] = {"command_id": self.command("anna", "nps_promoter", f"r{number}"), "status": "sent"}
            self.tell("ask.acknowledged", self.either(), time + 2 * DAY, said)
