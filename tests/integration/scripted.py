"""A script for 1,000 customers: what befalls them before, during and after half a minute of a Tuesday morning.

Each kind of customer is one function that says what happens in five acts: long known facts, triggers, what follows at
once (before anything has settled), what workers report of the commands, and what comes late. Whether they are asked is
for the oracle to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import orjson

from referral_stream.core.ids import derived_id
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND
from tests.integration.live import Message, Partitioner, cloud_event

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

TOPIC_OF: Final = {
    "nps": "nps", "csat": "nps", "ticket": "support", "complaint": "support", "customer": "profile",
    "champion": "relationship", "interaction": "relationship", "compliment": "relationship", "peer": "relationship",
    "advocacy": "relationship", "subscription": "billing", "invoice": "billing", "trial": "billing",
    "charge": "billing", "ask": "responses",
}  # fmt: skip
"""Source topic by the first word of a type; all else is product usage."""

JAVA: Final[Partitioner] = "murmur2_random"
CRC32: Final[Partitioner] = "consistent_random"


class Act(Enum):
    BACKGROUND = "long known"
    TRIGGERS = "what happens"
    AT_ONCE = "before it has settled"
    REPORTS = "what workers say of the commands"
    LATE = "after it has settled"


@dataclass(frozen=True, slots=True)
class Line:
    """One event; ``age`` in ms is its distance from the instant at which its act is published."""

    kind: str
    customer: str
    age: int
    data: dict[str, Any]
    id: str
    partitioner: Partitioner
    historical: bool = False
    binary: bool = False

    def message(self, now: int) -> Message:
        topic = TOPIC_OF.get(self.kind.partition(".")[0], "product-usage")
        event = cloud_event(self.kind, self.customer, now - self.age, self.data, id=self.id)
        key = self.customer.encode()
        headers = ((("historical", b"true"),) if self.historical else ()) + (
            tuple((f"ce_{name}", str(event.pop(name)).encode()) for name in sorted(event.keys() - {"data"}))
            if self.binary
            else ()
        )
        value = orjson.dumps(event["data"] if self.binary else event)
        return Message(topic, value, key, headers, self.partitioner)


@dataclass
class Story:
    """What befalls one customer, number ``n`` of those cast alike."""

    cast_as: Callable[[Story], None]
    n: int
    name: str = ""
    acts: dict[Act, list[Line]] = field(default_factory=lambda: {act: [] for act in Act})

    @property
    def customer(self) -> str:
        return self.name or f"{self.cast_as.__name__}-{self.n}"

    def tell(
        self,
        act: Act,
        kind: str,
        age: int = 0,
        /,
        *,
        id: str = "",
        partitioner: Partitioner | None = None,
        historical: bool = False,
        binary: bool = False,
        **data: Any,
    ) -> None:
        count = sum(map(len, self.acts.values()))
        # Half of the producers of every topic are Java's, the other half are librdkafka's.
        chosen = partitioner or (JAVA if (self.n + count) % 2 else CRC32)
        line = Line(kind, self.customer, age, data, id or f"{self.customer}/{count}", chosen, historical, binary)
        self.acts[act].append(line)

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
        act = Act.BACKGROUND
        channels = {"email": channel == "email", "in_app": channel == "in_app"}
        self.tell(act, "customer.signed_up", tenure_days * DAY)
        self.tell(
            act, "customer.profile_changed", 5 * DAY, time_zone="Europe/Berlin", channels=channels, **profile
        )  # fmt: skip
        if onboarded:
            self.tell(act, "onboarding.completed", (tenure_days - 5) * DAY)
        self.tell(act, "goal.achieved", 5 * DAY, goal="first report")
        self.tell(act, "interaction.recorded", 3 * DAY, kind="call")
        if consent:
            self.tell(act, "customer.consent_changed", 4 * DAY, purpose="referral_ask", channel=channel, granted=True)
        if strong:
            self.tell(act, "champion.changed", 20 * DAY, champion=True)
            self.tell(act, "usage.compared", 20 * DAY, above_average=True)

    def nps(self, score: int, age: int = 0, *, act: Act = Act.TRIGGERS, response: str = "r1", **more: Any) -> None:
        self.tell(act, "nps.responded", age, response_id=f"{self.customer}/{response}", score=score, **more)

    def ticket(self, kind: str, act: Act, age: int = 0, **data: Any) -> None:
        self.tell(act, f"ticket.{kind}", age, ticket_id=f"{self.customer}/t1", **data)

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
    s.ticket("opened", Act.BACKGROUND, 2 * DAY, priority="high")
    s.nps(9)
    s.ticket("solved", Act.AT_ONCE if s.n % 2 else Act.LATE, rating="positive")


def promoter_who_consents_late(s: Story) -> None:
    s.is_known(consent=False)
    s.nps(9)
    s.tell(Act.LATE, "customer.consent_changed", purpose="referral_ask", channel="all", granted=True)


def raised_to_promoter(s: Story) -> None:
    s.is_known()
    s.nps(8)
    s.nps(9, act=Act.AT_ONCE)


def present_in_the_app(s: Story) -> None:
    s.is_known(channel="in_app")
    s.nps(9)
    s.tell(Act.LATE, "workflow.completed", name="export")


def mentions_a_peer(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(9, 400 * DAY, act=Act.BACKGROUND, response="last year")
    s.tell(Act.TRIGGERS, "peer.mentioned", peer_ref=f"{s.customer}/peer", company="Acme", challenge="reporting")


def expands(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(9, 400 * DAY, act=Act.BACKGROUND, response="last year")
    s.tell(Act.TRIGGERS, "subscription.expanded", deal_id=f"{s.customer}/deal", amount_minor=120_000, currency="EUR")


def renews_and_reaches_a_milestone(s: Story) -> None:
    s.is_known()
    s.nps(9, 400 * DAY, act=Act.BACKGROUND, response="last year")
    s.tell(Act.TRIGGERS, "subscription.renewed", subscription_id="s1", invoice_id=f"{s.customer}/invoice")
    s.tell(Act.TRIGGERS, "milestone.reached", milestone="first dashboard", first_success=True)


# Who is not


def detractor_or_passive(s: Story) -> None:
    s.is_known(strong=True)
    s.nps((3, 7, 8, 0)[s.n % 4])


def vetoed_at_once(s: Story) -> None:
    s.is_known()
    s.nps(9)
    match s.n % 4:
        case 0:
            s.ticket("opened", Act.AT_ONCE)
        case 1:
            s.tell(Act.AT_ONCE, "complaint.made", comment="too slow")
        case 2:
            s.tell(Act.AT_ONCE, "customer.suppressed", reason="unsubscribe")
        case _:
            s.tell(Act.AT_ONCE, "invoice.payment_failed", invoice_id=f"{s.customer}/i1")


def without_consent(s: Story) -> None:
    s.is_known(consent=False)
    if s.n % 2:
        s.tell(
            Act.BACKGROUND, "customer.consent_changed", DAY, purpose="referral_ask", channel="email", granted=False
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
            s.tell(Act.BACKGROUND, "trial.started", 6 * DAY, subscription_id="s1")
    s.nps(10)


def asked_for_something_else_last_week(s: Story) -> None:
    s.is_known()
    s.tell(Act.BACKGROUND, "advocacy.asked", 7 * DAY, kind="review", by="marketing")
    s.nps(9)


def too_late(s: Story) -> None:
    s.is_known()
    s.nps(9, HOUR + s.n * SECOND)


def history(s: Story) -> None:
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
    s.nps(10, act=Act.AT_ONCE, response="r2")


def out_of_order(s: Story) -> None:
    """The newest of each pair arrives first: a solved ticket before its opening, a grant before the older refusal."""
    s.is_known(consent=False)
    s.ticket("solved", Act.BACKGROUND, DAY, rating="positive")
    s.tell(Act.BACKGROUND, "customer.consent_changed", HOUR, purpose="referral_ask", channel="email", granted=True)
    s.nps(9)
    s.ticket("opened", Act.AT_ONCE, 2 * DAY, priority="urgent")
    s.tell(Act.AT_ONCE, "customer.consent_changed", DAY, purpose="referral_ask", channel="email", granted=False)


def corrected_at_once(s: Story) -> None:
    s.is_known()
    s.nps(9)
    s.nps(3 if s.n % 2 else 8, act=Act.AT_ONCE)


def corrected_late(s: Story) -> None:
    """After the command went out; for every second one a worker reported first that it has been sent."""
    s.is_known()
    s.nps(9)
    if s.n % 2:
        command = s.command_id("nps_promoter", f"{s.customer}/r1")
        s.tell(Act.REPORTS, "ask.acknowledged", command_id=command, status="sent")
    s.nps(4, act=Act.LATE)


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
    s.nps(9, 0 if first else MINUTE, act=Act.TRIGGERS if first else Act.LATE)


CAST: Final[dict[Callable[[Story], None], int]] = {
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
    history: 20,
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
    for tell, count in CAST.items():
        for n in range(count):
            story = Story(tell, n)
            tell(story)
            found.append(story)
    return found


def messages(told: list[Story], act: Act, now: int) -> list[Message]:
    """An act of all stories, published at ``now``; interleaved, so that no customer's records come in a row."""
    lines = [line for story in told for line in story.acts[act]]
    lines.sort(key=lambda line: (line.age // DAY, derived_id(line.id)))
    return [line.message(now) for line in lines]


def a_promoter(name: str, now: int, age: int = HOUR, *, strong: bool = False, **profile: Any) -> list[Message]:
    """One who may be asked, and whose answer is ``age`` ms old; on one partition, so that all arrives in this order."""
    story = Story(softly_asked_promoter, 0, name=name)
    story.is_known(strong=strong, **profile)
    story.nps(9, age)
    lines = [line for act in Act for line in story.acts[act]]
    return [replace(line.message(now), topic="profile", partitioner=JAVA) for line in lines]
