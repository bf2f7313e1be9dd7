"""A script for 1,000 customers: what befalls them before, during and after half a minute of a Tuesday morning.

Each kind of customer is one function that says what happens in five phases: long known facts, triggers, what follows at
once (before anything has settled), what workers report of the commands, and what comes late. Whether they are asked is
for the oracle to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import orjson

from referral_stream.contracts.catalogue import MESSAGES
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from tests.integration.live import Message, Partitioner, cloud_event
from tests.worlds.customers import history

SETTLE_SECONDS: Final = 4
RIVAL_SECONDS: Final = 2
SETTLED: Final = (SETTLE_SECONDS + RIVAL_SECONDS) * SECOND
"""From a trigger to its dispatch."""

POLICY: Final = f"""
name = "shortened"
[moments]
rival_wait_seconds = {RIVAL_SECONDS}
[triggers.nps_promoter]
window_hours = 1
settle_seconds = {SETTLE_SECONDS}
[triggers.positive_feedback]
window_hours = 1
settle_seconds = {SETTLE_SECONDS}
[triggers.peer_mentioned]
window_hours = 1
settle_seconds = {SETTLE_SECONDS}
[triggers.milestone]
settle_seconds = {SETTLE_SECONDS}
[triggers.renewal]
window_days = 2
settle_seconds = {SETTLE_SECONDS}
[triggers.expansion]
window_days = 2
settle_seconds = {SETTLE_SECONDS}
[breaker]
enabled = false
"""
"""Windows of an hour, and of two days that hold no Friday: everything is dispatched as soon as it has settled."""

_WINDOWED: Final = ("nps_promoter", "positive_feedback", "peer_mentioned")
ORACLE_POLICY: Final[dict[str, Any]] = {
    "window_seconds": dict.fromkeys(_WINDOWED, HOUR // SECOND),
    "window_local_days": {"renewal": 2, "expansion": 2},
    "settle_seconds": dict.fromkeys((*_WINDOWED, "milestone", "renewal", "expansion"), SETTLE_SECONDS),
    "rivals_seconds": RIVAL_SECONDS,
    "burst_floor": 1_000_000,
}
"""The same for the oracle."""

JAVA: Final[Partitioner] = "murmur2_random"
CRC32: Final[Partitioner] = "consistent_random"


class Phase(Enum):
    BACKGROUND = "long known"
    TRIGGERS = "what happens"
    AT_ONCE = "before it has settled"
    REPORTS = "what workers say of the commands"
    LATE = "after it has settled"
    OUTCOME = "how it went with whom they referred"
    UNDONE = "what is taken back, or approved"


@dataclass(frozen=True, slots=True)
class Line:
    """One event; ``age`` in ms is its distance from the instant at which its phase is published.

    ``link`` (``KIND:VALUE``): who is meant, in the place of the customer's id.
    """

    kind: str
    customer: str
    age: int
    data: dict[str, Any]
    id: str
    partitioner: Partitioner
    historical: bool = False
    binary: bool = False
    link: str = ""

    def message(self, now: int) -> Message:
        whom = {"link": self.link} if self.link else {"subject": self.customer}
        event = cloud_event(self.kind, None, now - self.age, self.data, id=self.id, **whom)
        key = self.customer.encode()
        headers = ((("historical", b"true"),) if self.historical else ()) + (
            tuple((f"ce_{name}", str(event.pop(name)).encode()) for name in sorted(event.keys() - {"data"}))
            if self.binary
            else ()
        )
        value = orjson.dumps(event["data"] if self.binary else event)
        return Message(MESSAGES[self.kind].topic, value, key, headers, self.partitioner)


@dataclass
class Story:
    """What befalls one customer, number ``n`` of its kind."""

    kind: Callable[[Story], None]
    n: int
    name: str = ""
    phases: dict[Phase, list[Line]] = field(default_factory=lambda: {phase: [] for phase in Phase})

    @property
    def customer(self) -> str:
        return self.name or f"{self.kind.__name__}-{self.n}"

    def tell(
        self,
        phase: Phase,
        kind: str,
        age: int = 0,
        /,
        *,
        id: str = "",
        partitioner: Partitioner | None = None,
        historical: bool = False,
        binary: bool = False,
        link: str = "",
        **data: Any,
    ) -> None:
        count = sum(map(len, self.phases.values()))
        # Half of the producers of every topic are Java's, the other half are librdkafka's.
        chosen = partitioner or (JAVA if (self.n + count) % 2 else CRC32)
        line = Line(kind, self.customer, age, data, id or f"{self.customer}/{count}", chosen, historical, binary, link)
        self.phases[phase].append(line)

    def is_known(
        self,
        *,
        strong: bool = False,
        channel: str = "email",
        consent: bool = True,
        tenure_days: int = 400,
        onboarded: bool = True,
        **profile: Any,
    ) -> None:
        """The facts that make a customer one who may be asked softly (``strong``: directly)."""
        missing = (
            *(() if consent else ("customer.consent_changed",)),
            *(() if onboarded else ("onboarding.completed",)),
        )
        signals = ("goal", "advice", *(("champion", "usage") if strong else ()))
        facts = history(
            *signals, tenure_days=tenure_days, channels=(channel,), consent=channel, without=missing, **profile
        )
        for fact in facts:
            self.tell(Phase.BACKGROUND, fact.type, fact.age, **fact.body)

    def nps(
        self, score: int, age: int = 0, *, phase: Phase = Phase.TRIGGERS, response: str = "r1", **more: Any
    ) -> None:
        self.tell(phase, "nps.responded", age, response_id=f"{self.customer}/{response}", score=score, **more)

    def ticket(self, kind: str, phase: Phase, age: int = 0, **data: Any) -> None:
        self.tell(phase, f"ticket.{kind}", age, ticket_id=f"{self.customer}/t1", **data)

    def command_id(self, trigger: str, subject: str) -> str:
        return derived_id("command", self.customer, trigger, subject, 1)


# Who is asked


def softly_asked_promoter(s: Story) -> None:
    s.is_known()
    s.nps(9)


def directly_asked_promoter(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(10, comment="The support saved us weeks", binary=s.n % 2 == 0)


def promoter_whose_ticket_is_solved_well_in_time(s: Story) -> None:
    s.is_known()
    s.ticket("opened", Phase.BACKGROUND, 2 * DAY, priority="high")
    s.nps(9)
    s.ticket("solved", Phase.AT_ONCE if s.n % 2 else Phase.LATE, rating="positive")


def promoter_who_consents_late(s: Story) -> None:
    s.is_known(consent=False)
    s.nps(9)
    s.tell(Phase.LATE, "customer.consent_changed", purpose="referral_ask", channel="all", granted=True)


def raised_to_promoter(s: Story) -> None:
    s.is_known()
    s.nps(8)
    s.nps(9, phase=Phase.AT_ONCE)


def present_in_the_app(s: Story) -> None:
    s.is_known(channel="in_app")
    s.nps(9)
    s.tell(Phase.LATE, "workflow.completed", name="export")


def mentions_a_peer(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(9, 400 * DAY, phase=Phase.BACKGROUND, response="last year")
    s.tell(Phase.TRIGGERS, "peer.mentioned", peer_ref=f"{s.customer}/peer", company="Acme", challenge="reporting")


def expands(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(9, 400 * DAY, phase=Phase.BACKGROUND, response="last year")
    s.tell(Phase.TRIGGERS, "subscription.expanded", deal_id=f"{s.customer}/deal", amount_minor=120_000, currency="EUR")


def renews_and_reaches_a_milestone(s: Story) -> None:
    s.is_known()
    s.nps(9, 400 * DAY, phase=Phase.BACKGROUND, response="last year")
    s.tell(Phase.TRIGGERS, "subscription.renewed", subscription_id="s1", invoice_id=f"{s.customer}/invoice")
    s.tell(Phase.TRIGGERS, "milestone.reached", milestone="first dashboard", first_success=True)


# Who is not


def detractor_or_passive(s: Story) -> None:
    s.is_known(strong=True)
    s.nps((3, 7, 8, 0)[s.n % 4])


def vetoed_at_once(s: Story) -> None:
    s.is_known()
    s.nps(9)
    match s.n % 4:
        case 0:
            s.ticket("opened", Phase.AT_ONCE)
        case 1:
            s.tell(Phase.AT_ONCE, "complaint.made", comment="too slow")
        case 2:
            s.tell(Phase.AT_ONCE, "customer.suppressed", reason="unsubscribe")
        case _:
            s.tell(Phase.AT_ONCE, "invoice.payment_failed", invoice_id=f"{s.customer}/i1")


def without_consent(s: Story) -> None:
    s.is_known(consent=False)
    if s.n % 2:
        s.tell(
            Phase.BACKGROUND, "customer.consent_changed", DAY, purpose="referral_ask", channel="email", granted=False
        )  # fmt: skip
    s.nps(9)


def too_early(s: Story) -> None:
    match s.n % 3:
        case 0:
            s.is_known(tenure_days=10)
        case 1:
            s.is_known(onboarded=False)
        case _:
            s.is_known()
            s.tell(Phase.BACKGROUND, "trial.started", 6 * DAY, subscription_id="s1")
    s.nps(10)


def asked_for_something_else_last_week(s: Story) -> None:
    s.is_known()
    s.tell(Phase.BACKGROUND, "advocacy.asked", 7 * DAY, kind="review", by="marketing")
    s.nps(9)


def too_late(s: Story) -> None:
    s.is_known()
    s.nps(9, HOUR + s.n * SECOND)


def backfilled(s: Story) -> None:
    s.is_known()
    s.nps(9, historical=True)


def never_in_the_app(s: Story) -> None:
    """Its window closes in the middle of the run."""
    s.is_known(channel="in_app")
    s.nps(9, HOUR - SETTLED)


# Disorder


def said_twice(s: Story) -> None:
    """The same event again, on another partition too; the same answer under another id; a repeat of the trigger."""
    s.is_known()
    s.nps(9, id=f"{s.customer}/said", partitioner=JAVA)
    s.nps(9, id=f"{s.customer}/said", partitioner=CRC32)
    s.nps(9, id=f"{s.customer}/said in other words")
    s.nps(10, phase=Phase.AT_ONCE, response="r2")


def out_of_order(s: Story) -> None:
    """The newest of each pair arrives first: a solved ticket before its opening, a grant before the older refusal."""
    s.is_known(consent=False)
    s.ticket("solved", Phase.BACKGROUND, DAY, rating="positive")
    s.tell(Phase.BACKGROUND, "customer.consent_changed", HOUR, purpose="referral_ask", channel="email", granted=True)
    s.nps(9)
    s.ticket("opened", Phase.AT_ONCE, 2 * DAY, priority="urgent")
    s.tell(Phase.AT_ONCE, "customer.consent_changed", DAY, purpose="referral_ask", channel="email", granted=False)


def corrected_at_once(s: Story) -> None:
    s.is_known()
    s.nps(9)
    s.nps(3 if s.n % 2 else 8, phase=Phase.AT_ONCE)


def corrected_late(s: Story) -> None:
    """After the command went out; for every second one a worker reported first that it has been sent."""
    s.is_known()
    s.nps(9)
    if s.n % 2:
        command = s.command_id("nps_promoter", f"{s.customer}/r1")
        s.tell(Phase.REPORTS, "ask.acknowledged", command_id=command, status="sent")
    s.nps(4, phase=Phase.LATE)


# Who shares


def contact_of_an_account(s: Story) -> None:
    """Three contacts; the first is the best and due first."""
    place = s.n % 3
    s.is_known(strong=place == 0, account_id=f"account-{s.n // 3}")
    s.nps(9, (3 - place) * SECOND)


def same_person_twice(s: Story) -> None:
    """Two customer ids with one e-mail address; the second is heard of when the first has been asked."""
    s.is_known(email_hmac=f"{s.n // 2:064x}")
    first = s.n % 2 == 0
    s.nps(9, 0 if first else MINUTE, phase=Phase.TRIGGERS if first else Phase.LATE)


CUSTOMERS: Final[dict[Callable[[Story], None], int]] = {
    softly_asked_promoter: 180,
    directly_asked_promoter: 120,
    promoter_whose_ticket_is_solved_well_in_time: 50,
    promoter_who_consents_late: 30,
    raised_to_promoter: 40,
    present_in_the_app: 40,
    mentions_a_peer: 30,
    expands: 30,
    renews_and_reaches_a_milestone: 40,
    detractor_or_passive: 40,
    vetoed_at_once: 60,
    without_consent: 40,
    too_early: 45,
    asked_for_something_else_last_week: 15,
    too_late: 20,
    backfilled: 20,
    never_in_the_app: 20,
    said_twice: 40,
    out_of_order: 40,
    corrected_at_once: 20,
    corrected_late: 20,
    contact_of_an_account: 30,
    same_person_twice: 30,
}


def stories() -> list[Story]:
    """All customers, in a fixed order."""
    found = []
    for tell, count in CUSTOMERS.items():
        for n in range(count):
            story = Story(tell, n)
            tell(story)
            found.append(story)
    return found


def messages(told: list[Story], phase: Phase, now: int) -> list[Message]:
    """A phase of all stories, published at ``now``; interleaved, so that no customer's records come in a row."""
    lines = [line for story in told for line in story.phases[phase]]
    lines.sort(key=lambda line: (line.age // DAY, derived_id(line.id)))
    return [line.message(now) for line in lines]


def a_promoter(name: str, now: int, age: int = HOUR, *, strong: bool = False, **profile: Any) -> list[Message]:
    """One who may be asked, and whose answer is ``age`` ms old; on one partition, so that all arrives in this order."""
    story = Story(softly_asked_promoter, 0, name=name)
    story.is_known(strong=strong, **profile)
    story.nps(9, age)
    lines = [line for phase in Phase for line in story.phases[phase]]
    return [replace(line.message(now), topic="profile", partitioner=JAVA) for line in lines]
