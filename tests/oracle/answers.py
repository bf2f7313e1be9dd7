"""After §1: which ask an answer is about, which word stands, and what follows it."""

from datetime import datetime

from tests.oracle import past_asks
from tests.oracle.followups import (
    ABOUT_ASK,
    HOUR,
    TO_CUSTOMER,
    attributed_ask,
    cancel_all,
    is_historical,
    is_timely,
    open_ones,
    request,
    statuses,
)
from tests.oracle.gates import what_is_wrong
from tests.oracle.records import Event
from tests.oracle.signals import DAY, newest, of
from tests.oracle.world import Customer, Row, World

KNOWN_FOR = 400 * DAY
REPLY_TO = {"yes": "intro_offer", "maybe": "easy_forward"}


def meant(customer: Customer, command_id: str | None, now: datetime) -> tuple[Row | None, str | None]:
    """The known ask that a command id stands for; where there is none, the referral that it is about, if it is a
    follow-up's.
    """
    asks = {ask["command_id"]: ask for ask in customer.asks if is_known(ask, now)}
    if command_id in asks:
        return asks[command_id], None
    followup = next((f for f in customer.followups if f["id"] == command_id), None)
    if followup is None:
        return None, None
    ask = followup["ask"] or attributed_ask(customer, followup["referral"])
    return (ask, None) if ask and is_known(ask, now) else (None, followup["referral"])


def is_known(ask: Row, now: datetime) -> bool:
    return ask["kind"] in ("asked", "soft") and now < ask["asked_at"] + KNOWN_FOR


def answers_to(customer: Customer, command_id: str) -> list[Event]:
    return [event for event in of(customer.known, "ask.answered") if event.get("ask") == command_id]


def standing(customer: Customer, command_id: str) -> Event | None:
    """The newest answer to an ask."""
    return newest(answers_to(customer, command_id))


def take_answer(world: World, customer: Customer, event: Event, now: datetime) -> None:
    word = event["data"]["answer"]
    ask = next((a for a in customer.asks if a["command_id"] == event["ask"]), None)
    why = {f["id"]: "stop" for f in open_ones(customer, now, *TO_CUSTOMER)} if word == "stop" else {}
    changed, stands = False, False
    if ask is not None:
        before = newest(e for e in answers_to(customer, ask["command_id"]) if e is not event)
        stands = standing(customer, ask["command_id"]) is event
        changed = stands and (before is None or before["data"]["answer"] != word)
    if ask is not None and changed:
        earlier = [f for f in open_ones(customer, now, *ABOUT_ASK) if f["ask"] is ask]
        why = {f["id"]: "answer" for f in earlier} | why
    cancel_all(world, customer, why, now)
    if not is_timely(world, event, now):
        return
    if ask is not None and stands and (changed or word == "unclear"):
        follow_word(world, customer, ask, event, now)
    elif ask is None and word == "unclear" and event["about_referral"] is not None:
        about = [e for e in of(customer.known, "ask.answered") if e.get("about_referral") == event["about_referral"]]
        if newest(about) is event:
            have_read(world, customer, None, event["about_referral"], event, now)


def follow_word(world: World, customer: Customer, ask: Row, event: Event, now: datetime) -> None:
    word, answered = event["data"]["answer"], event["time"]
    if word == "unclear":
        have_read(world, customer, ask, None, event, now)
    elif past_asks.has_referral(customer.known, ask["command_id"]):
        return
    elif word == "no" and now < answered + HOUR:
        variables, end = {"trigger": ask["trigger"]}, answered + HOUR
        request(
            world, customer, "graceful_no", now, due=end, since=answered, variables=variables, ask=ask, expires_at=end
        )
    elif word in REPLY_TO:
        if past_asks.told_to_stop(customer.known) or what_is_wrong(customer.known, customer.usage, now):
            have_read(world, customer, ask, None, event, now)
            return
        due = answered + (HOUR if word == "yes" else DAY)
        variables = {"trigger": ask["trigger"]}
        made = request(world, customer, REPLY_TO[word], now, due=due, since=answered, variables=variables, ask=ask)
        if made == "unreachable":
            have_read(world, customer, ask, None, event, now)


def have_read(
    world: World, customer: Customer, ask: Row | None, referral: str | None, answer: Event, now: datetime
) -> None:
    """A person reads the answer where it was written: one at a time for each ask."""
    if any(f["ask"] is ask and f["referral"] == referral for f in open_ones(customer, now, "read_answer")):
        return
    variables = {"trigger": ask["trigger"]} if ask else {}
    variables["answer"] = answer["data"]["answer"]
    due, since = answer["time"] + DAY, answer["time"]
    request(world, customer, "read_answer", now, due=due, since=since, variables=variables, ask=ask, referral=referral)


def take_acknowledgement(world: World, customer: Customer, event: Event, now: datetime) -> None:
    """An intro offer that did not reach the customer: a person reads the yes, while it stands."""
    failing = ("failed", "dropped_expired")
    followup = next((f for f in customer.followups if f["id"] == event["followup"]), None)
    if followup is None or followup["kind"] != "intro_offer" or event["data"]["status"] not in failing:
        return
    if followup["cancelled"] is not None or statuses(customer, followup) & set(past_asks.SENT):
        return
    acks = [e for e in of(customer.known, "ask.acknowledged") if e.get("followup") == followup["id"]]
    is_first = next(e for e in acks if e["data"]["status"] in failing) is event
    word = standing(customer, followup["ask"]["command_id"])
    if is_first and not is_historical(world, event) and word is not None and word["data"]["answer"] == "yes":
        have_read(world, customer, followup["ask"], None, word, now)
