"""Random days as of ``days``, with what the rulings of semantics §11 are about: switches, bad words, first payments,
consent by channel, zones that nobody knows, addresses and accounts that are learned late, and switches while commands
wait to be sent.
"""

from __future__ import annotations

from random import Random

from referral_stream.core.instants import DAY, HOUR, MINUTE, parse_instant
from tests.oracle.naive import decide
from tests.worlds.customers import CONSENT, Body
from tests.worlds.days import Making, Person, World
from tests.worlds.policies import POLICIES, RULINGS

WAITS = (-1, 0, 1, MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR)
"""How long after an ask, for which its command may still wait to be sent."""


def world(seed: int) -> World:
    """The world of that seed, the same on every machine; its policy is one of ``POLICIES`` or of ``RULINGS``."""
    made = _Ruled(seed).world()
    return World(seed, made.policy, made.records)


class _Ruled(Making):
    def __init__(self, seed: int) -> None:
        super().__init__(seed, Random(f"rulings {seed}"))

    def world(self) -> World:
        made = super().world()
        names = ("default", "default", *RULINGS, "two openings an hour", "strict zones")
        policy = self.random.choice(names)
        people = {person.id: person for person in self.people}
        for row in decide(made.records, None, (POLICIES | RULINGS)[policy][1]).asks:
            if row["type"] == "referral.ask.requested" and row["subject"] in people:
                for _ in range(self.random.choice((0, 1, 1, 2))):
                    asked = parse_instant(row["time"])[0]
                    self.ruling(people[row["subject"]], asked + self.random.choice(WAITS))
        self.records.sort(key=lambda item: item[0])
        return World(self.seed, policy, [record for _, record in self.records])

    def something(self, person: Person) -> None:
        super().something(person)
        if self.random.random() < 0.2:
            self.ruling(person, self.instant(person))

    def ruling(self, person: Person, time: int) -> None:
        random, number = self.random, self.random.randrange(3)
        by: Body = {"by": "ops", "why": "test"}
        scope: Body = random.choice(
            (
                {"scope": "all"},
                {"scope": "trigger", "name": random.choice(("nps_promoter", "milestone", "renewal"))},
                {"scope": "segment", "name": random.choice(("smb", "enterprise"))},
            )
        )
        channel = random.choice(("email", "in_app", "phone", "all"))
        subscription = {"subscription_id": f"s{number}"}
        rated = {"ticket_id": f"t{number}", "rating": random.choice(("positive", "negative"))}
        kind: str
        who: Person | None
        body: Body
        kind, who, body = random.choice(
            (
                ("control.paused", None, by | scope),
                ("control.resumed", None, by | scope),
                ("control.resumed", None, by | scope),
                ("ask.rejected", person, {"by": "lead"}),
                ("ask.approved", person, {"by": "lead"}),
                ("ask.answered", person, {"command_id": "another", "answer": random.choice(("no", "maybe"))}),
                ("customer.consent_changed", person, CONSENT | {"channel": channel, "granted": False}),
                ("customer.consent_changed", person, CONSENT | {"channel": channel}),
                ("customer.profile_changed", person, {"channels": {"email": random.random() < 0.5}}),
                ("customer.profile_changed", person, {"account_id": random.choice(("acme", "umbrella"))}),
                ("customer.profile_changed", person, {"email_hmac": random.choice(("aa" * 32, "bb" * 32))}),
                ("customer.profile_changed", person, {"segment": random.choice(("smb", "enterprise"))}),
                ("review.posted", person, {"rating": random.choice((1, 2, 3, 5)), "scale_max": 5, "url": f"u{number}"}),
                ("csat.responded", person,
                 {"response_id": f"s{number}", "score": random.choice((1, 2, 3, 5)), "scale_max": 5}),
                ("feedback.shared", person, {"positive": random.random() < 0.5}),
                ("interaction.recorded", person, {"kind": "call", "positive": random.random() < 0.5}),
                ("ticket.rated", person, rated),
                ("ticket.solved", person, rated),
                ("subscription.started", person, subscription),
                ("trial.ended", person, subscription | {"converted": True}),
                ("call.moment", person, {"kind": "check_in", "call_id": f"l{number}"}),
                ("call.cut_short", person, {"call_id": f"l{number}"}),
            )
        )  # fmt: skip
        if kind in ("ask.rejected", "ask.approved"):
            if not person.reasons:
                return
            body = {"by": "lead", "opportunity_id": person.opportunity(random.choice(person.reasons))}
        self.edges += [time, time + 6 * HOUR, time + 21 * DAY]
        self.add(kind, who, body, time)
        if random.random() < 0.1:  # at the same time the opposite, from somebody else
            if kind.startswith("control."):
                other = "control.resumed" if kind == "control.paused" else "control.paused"
                self.add(other, None, body, time)
            elif kind == "customer.consent_changed":
                self.add(kind, who, body | {"granted": not body["granted"]}, time)
