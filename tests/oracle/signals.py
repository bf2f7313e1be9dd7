"""What is true of a customer at an instant, worked out from the list of events known then, every time anew."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from tests.oracle.local_time import local_date, zone
from tests.oracle.policy import Policy
from tests.oracle.records import CHANNELS, Event, is_favourable

DAY = timedelta(days=1)
ACTIVITY = (
    "onboarding.completed milestone.reached goal.achieved usage.recorded workflow.completed achievement.unlocked "
    "dashboard.viewed task.started nps.responded csat.responded ticket.opened ticket.rated ticket.reopened "
    "complaint.made frustration.shown interaction.recorded advice.asked community.engaged feedback.shared "
    "compliment.given testimonial.given case_study.joined review.posted peer.mentioned email.opened email.clicked "
    "ask.answered referral.given"
).split()


class Known(dict[str, list[Event]]):
    """The events of one customer by type, in the order of their arrival.

    What follows from them alone is worked out once, until there are more: that is what was `found`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[Any, ...], Any] = {}

    def __missing__(self, kind: str) -> list[Event]:
        self[kind] = []
        return self[kind]

    def add(self, *events: Event) -> None:
        self.found.clear()
        for event in events:
            self[event["type"]].append(event)


P = ParamSpec("P")
T = TypeVar("T")


def from_events_alone(find: Callable[Concatenate[Known, P], T]) -> Callable[Concatenate[Known, P], T]:
    """For what follows from the list of events alone (and what else is given): nobody may change what it returns."""

    @wraps(find)
    def found(known: Known, /, *args: P.args, **_: P.kwargs) -> T:
        key = (find, *args)
        if key not in known.found:
            known.found[key] = find(known, *args)  # type: ignore[call-arg]  # by position only
        worked_out: T = known.found[key]
        return worked_out

    return found


def nothing_known() -> Known:
    return Known()


def of(known: Known, *types: str) -> list[Event]:
    return list(known.get(types[0], ())) if len(types) == 1 else [e for kind in types for e in known.get(kind, ())]


Stamp = tuple[datetime, bool, str, str]


def stamp(event: Event) -> Stamp:
    """What last-writer-wins compares: at one time the protective word wins."""
    return event["time"], not is_favourable(event["type"], event["data"]), event["source"], event["id"]


def newest(events: Iterable[Event]) -> Event | None:
    of_them = list(events)
    return max(of_them, key=stamp) if len(of_them) > 1 else of_them[0] if of_them else None


def newest_of_each(events: Iterable[Event], field: str) -> dict[str, Event]:
    """The newest event per object; events without the field are one object."""
    found: dict[str, Event] = {}
    of_them = list(events)
    for event in sorted(of_them, key=stamp) if len(of_them) > 1 else of_them:
        found[event["data"].get(field, "")] = event
    return found


def said_last(events: Iterable[Event], field: str) -> Any:
    """The newest value of a field of a body, None if none has it."""
    found = newest(event for event in events if field in event["data"])
    return found["data"][field] if found else None


# Who the customer is


@from_events_alone
def signed_up_at(known: Known) -> datetime | None:
    return min((event["time"] for event in of(known, "customer.signed_up")), default=None)


@from_events_alone
def time_zone(known: Known, policy: Policy) -> tuple[list[str], str]:
    """The zones to honour (several only for an unknown zone under the strict policy) and where they come from."""

    def valid(name: object) -> bool:
        try:
            return isinstance(name, str) and bool(zone(name))
        except KeyError:
            return False

    told = [e for e in of(known, "customer.profile_changed") if valid(e["data"].get("time_zone"))]
    if profile := newest(told):
        return [profile["data"]["time_zone"]], "profile"
    if event := newest(e for events in known.values() for e in events if valid(e["zone"])):
        return [event["zone"]], "event"
    return list(policy["strict_zones"]) or [policy["default_zone"]], "default"


@from_events_alone
def account(known: Known) -> str | None:
    """The newest word on it: a profile's `account_id`, or the `accountid` of any event."""
    profiles = [e for e in of(known, "customer.profile_changed") if "account_id" in e["data"]]
    told = [(stamp(e), True, e["data"]["account_id"]) for e in profiles]
    told += [(stamp(e), False, e["account"]) for events in known.values() for e in events if e["account"]]
    return str(max(told)[2]) if told else None


@from_events_alone
def profile_value(known: Known, field: str) -> Any:
    return said_last(of(known, "customer.profile_changed"), field)


@from_events_alone
def consents(known: Known, policy: Policy) -> dict[str, bool | None]:
    """Per channel: granted, withdrawn, or None where nobody said."""
    found = {}
    for channel in CHANNELS:
        said = [
            event
            for event in of(known, "customer.consent_changed")
            if event["data"]["purpose"] == "referral_ask" and event["data"]["channel"] in (channel, "all")
        ]
        last = newest(said)
        found[channel] = last["data"]["granted"] if last else policy["consent_default"]
    return found


@from_events_alone
def suppressed(known: Known) -> bool:
    last = newest(of(known, "customer.suppressed", "customer.unsuppressed"))
    return last is not None and last["type"] == "customer.suppressed"


@from_events_alone
def held_by_address(known: Known) -> bool:
    """Whether an opt-out of somebody with the same address holds them; only a word under an id of theirs lifts it."""
    last = newest(of(known, "customer.held"))
    lifts = [event for event in of(known, "customer.unsuppressed") if not event.get("through_link")]
    return last is not None and not any(stamp(event) > stamp(last) for event in lifts)


@from_events_alone
def usable_channels(known: Known, policy: Policy) -> list[str]:
    """Reachable, consented, not suppressed, allowed by policy; in the order of the page."""
    if suppressed(known) or held_by_address(known):
        return []
    granted, usable = consents(known, policy), []
    for channel in CHANNELS:
        maps = [e for e in of(known, "customer.profile_changed") if channel in e["data"].get("channels", {})]
        told = newest(maps)
        reachable = told["data"]["channels"][channel] if told else channel in policy["channels_default"]
        if reachable and granted[channel] and channel in policy["channels_allowed"]:
            usable.append(channel)
    return usable


def in_critical_task(known: Known, now: datetime, policy: Policy) -> bool:
    return bool(open_tasks(known, now, policy))


def open_tasks(known: Known, now: datetime, policy: Policy) -> list[str]:
    lapses = timedelta(hours=policy["task_hours"])
    tasks = newest_of_each(of(known, "task.started", "task.ended"), "task_id")
    return [name for name, e in tasks.items() if e["type"] == "task.started" and now < e["time"] + lapses]


def concern_open(known: Known) -> bool:
    calls = newest_of_each(of(known, "call.concern_raised", "call.concern_addressed"), "call_id").values()
    return any(event["type"] == "call.concern_raised" for event in calls)


# Referrals


@from_events_alone
def referral_given(known: Known, referral: str) -> list[Event]:
    """What was told of a referral, in the order in which it was applied."""
    return [event for event in of(known, "referral.given") if event["data"]["referral_id"] == referral]


@from_events_alone
def referral_statuses(known: Known, referral: str) -> list[Event]:
    return [event for event in of(known, "referral.status_changed") if event["data"]["referral_id"] == referral]


# Value and satisfaction


def top_box(event: Event) -> bool:
    given = event["data"].get("score", event["data"].get("rating"))
    return bool(10 * given >= 8 * event["data"]["scale_max"])


def at_the_bottom(event: Event) -> bool:
    """At or below 40 % of its scale."""
    given = event["data"].get("score", event["data"].get("rating"))
    return bool(10 * given <= 4 * event["data"]["scale_max"])


@from_events_alone
def responses(known: Known, kind: str = "nps.responded") -> dict[str, Event]:
    """Survey answers by response id, each in its newest revision."""
    return newest_of_each(of(known, kind), "response_id")


def survey_withdrawn(known: Known, opener: Event) -> bool:
    """Whether what opened an opportunity was a survey answer since corrected to a lower one."""
    if opener["type"] not in ("nps.responded", "csat.responded"):
        return False
    revision = responses(known, opener["type"])[opener["data"]["response_id"]]
    return revision["data"]["score"] < 9 if opener["type"] == "nps.responded" else not top_box(revision)


@from_events_alone
def above_average(known: Known) -> bool:
    return bool(said_last(of(known, "usage.compared"), "above_average"))


def days_of_use(known: Known, zone_name: str) -> int:
    return len({local_date(event["time"], zone_name) for event in of(known, "usage.recorded")})


@from_events_alone
def value_realised(known: Known, zone_name: str) -> bool:
    return bool(
        of(known, "milestone.reached", "goal.achieved", "saving.measured")
        or above_average(known)
        or days_of_use(known, zone_name) >= 30
    )


@from_events_alone
def positive_feedback_given(known: Known) -> bool:
    return bool(
        of(known, "compliment.given", "testimonial.given")
        or [e for e in of(known, "feedback.shared") if e["data"]["positive"]]
        or [e for e in responses(known, "csat.responded").values() if top_box(e)]
        or [e for e in of(known, "review.posted") if top_box(e)]
        or [e for e in of(known, "ticket.solved", "ticket.rated") if e["data"].get("rating") == "positive"]
    )


@from_events_alone
def score(known: Known, now: datetime) -> dict[str, Any]:
    """`{value, raw, parts}`: what is good, never what is wrong."""
    signed_up = signed_up_at(known)
    survey = newest(responses(known).values())
    nps = survey["data"]["score"] if survey else 0
    champion = said_last(of(known, "customer.profile_changed", "champion.changed"), "champion")
    active = max((event["time"] for event in activity(known)), default=None)
    parts = {
        "tenure": 10 if signed_up is not None and now >= signed_up + 30 * DAY else 0,
        "first_success": 20 if any(event["data"]["first_success"] for event in of(known, "milestone.reached")) else 0,
        "usage_above_average": 15 if above_average(known) else 0,
        "nps": 30 if nps >= 9 else 15 if nps >= 7 else 0,
        "testimonial": 20 if of(known, "testimonial.given") else 0,
        "interactions": 10 if len(of(known, "interaction.recorded")) >= 5 else 0,
        "positive_feedback": 10 if positive_feedback_given(known) else 0,
        "champion": 15 if champion else 0,
        "engaged": 10 if active is not None and active >= now - 7 * DAY else 0,
    }
    raw = sum(parts.values())
    return {"value": min(100, raw), "raw": raw, "parts": parts}


@from_events_alone
def activity(known: Known) -> list[Event]:
    """Also what was one too many, and only counted."""
    return [*of(known, *ACTIVITY), *(event for event in of(known, "overfull") if event["type"] in ACTIVITY)]


def open_trials(known: Known) -> list[str]:
    subscriptions = newest_of_each(of(known, "trial.started", "trial.ended", "subscription.started"), "subscription_id")
    return [name for name, event in subscriptions.items() if event["type"] == "trial.started"]


@from_events_alone
def on_trial(known: Known) -> bool:
    if open_trials(known):
        return True
    signed_up = [event for event in of(known, "customer.signed_up") if event["data"].get("trial")]
    last = newest([*signed_up, *of(known, "trial.ended", "subscription.started")])
    return last is not None and bool(last["data"].get("trial"))
