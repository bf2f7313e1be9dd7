"""Which event opens what, about which subject, and for how long."""

from datetime import datetime, timedelta

from tests.oracle import signals
from tests.oracle.local_time import days_later, next_midnight
from tests.oracle.policy import Policy
from tests.oracle.records import Event
from tests.oracle.signals import DAY, Known, of
from tests.oracle.trouble import turned_positive


def opening_of(event: Event, known: Known, policy: Policy) -> tuple[str, str, list[Event]] | None:
    """The trigger this event would open, its subject, and all events about the same object; None if it opens none."""
    kind, body = event["type"], event["data"]

    def about(name: str, *types: str) -> list[Event]:
        return [e for e in of(known, *(types or (kind,))) if e["data"].get(name) == body.get(name)]

    match kind:
        case "nps.responded" if body["score"] >= 9:
            return "nps_promoter", body["response_id"], about("response_id")
        case "csat.responded" if signals.top_box(event):
            return "positive_feedback", body.get("ticket_id") or body["response_id"], about("response_id")
        case "compliment.given" | "testimonial.given":
            same = about("reference") if "reference" in body else [event]
            return "positive_feedback", body.get("reference") or event["id"], same
        case "review.posted" if signals.top_box(event):
            return "positive_feedback", body.get("url") or event["id"], about("url") if "url" in body else [event]
        case "ticket.solved" | "ticket.rated" if body.get("rating") == "positive":
            if turned_positive(known, body["ticket_id"]):
                return None
            tickets = ("ticket.opened", "ticket.solved", "ticket.rated", "ticket.reopened")
            return "positive_feedback", body["ticket_id"], about("ticket_id", *tickets)
        case "milestone.reached" if body["first_success"] or body["milestone"] in policy["named_milestones"]:
            return "milestone", body["milestone"], about("milestone")
        case "subscription.renewed":
            life = (
                "trial.started",
                "trial.ended",
                "subscription.started",
                "subscription.renewed",
                "subscription.ended",
            )
            subject = body.get("invoice_id") or body.get("contract_id") or event["id"]
            return "renewal", subject, about("subscription_id", *life)
        case "subscription.expanded":
            return "expansion", body["deal_id"], about("deal_id")
        case "peer.mentioned":
            return "peer_mentioned", body["peer_ref"], about("peer_ref")
        case "referral.status_changed" if body["status"] == "converted":
            return "referral_converted", body["referral_id"], about("referral_id")
        case _:
            return None


def is_first_payment(event: Event, known: Known) -> bool:
    """Whether the subscription began so short a time before this renewal that it is none."""
    subscription = event["data"]["subscription_id"]
    begun = [e for e in of(known, "subscription.started", "trial.ended") if e["data"].get("converted", True)]
    times = [e["time"] for e in begun if e["data"]["subscription_id"] == subscription]
    return any(event["time"] - 21 * DAY < time <= event["time"] for time in times)


def window(trigger: str, t0: datetime, zones: list[str], policy: Policy) -> tuple[datetime, datetime]:
    """(settled, deadline) of an opportunity opened at `t0` by a customer in these zones."""
    if trigger == "milestone":
        deadline = next_midnight(t0, zones)
    elif trigger in policy["window_local_days"]:
        deadline = days_later(t0, policy["window_local_days"][trigger], zones)
    else:
        deadline = t0 + timedelta(seconds=policy["window_seconds"][trigger])
    settle = timedelta(seconds=policy["settle_seconds"][trigger] + policy["rivals_seconds"])
    latest = max(t0, deadline - timedelta(seconds=policy["settle_margin_seconds"]))
    return min(t0 + settle, latest), deadline
