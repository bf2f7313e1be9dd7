"""Identity §6: more open objects of a kind, or more business keys, than anybody has, and a person who clears that.

The oracle forgets nothing: that forgetting lets nobody be asked is a property of the engine, with a test of its own.
"""

from datetime import datetime

from tests.oracle.policy import Policy
from tests.oracle.records import Event
from tests.oracle.signals import Known, newest_of_each, of, open_tasks, open_trials
from tests.oracle.trouble import Cause

# kind → the types that open and close one of its objects, the field that names it, what closes it
LIVES: dict[str, tuple[tuple[str, ...], str, tuple[str, dict[str, object]]]] = {
    "tickets": (("ticket.opened", "ticket.solved", "ticket.reopened"), "ticket_id", ("ticket.solved", {})),
    "invoices": (("invoice.payment_failed", "invoice.paid"), "invoice_id", ("invoice.paid", {})),
    "disputes": (("charge.disputed", "dispute.closed"), "charge_id", ("dispute.closed", {"won": False})),
    "cancellations": (
        ("cancellation.scheduled", "cancellation.reverted"),
        "subscription_id",
        ("cancellation.reverted", {}),
    ),
    "subscriptions": (("trial.started",), "subscription_id", ("trial.ended", {"converted": False})),
    "tasks": (("task.started", "task.ended"), "task_id", ("task.ended", {})),
    "concerns": (("call.concern_raised", "call.concern_addressed"), "call_id", ("call.concern_addressed", {})),
}


def open_objects(kind: str, known: Known, now: datetime, policy: Policy) -> list[str]:
    """The objects of a kind that are open, by name."""
    types, field, (closing, _) = LIVES[kind]
    match kind:
        case "subscriptions":
            return open_trials(known)
        case "tasks":
            return open_tasks(known, now, policy)
        case _:
            lives = newest_of_each(of(known, *types), field)
            return [name for name, last in lives.items() if last["type"] != closing]


def is_counted_only(known: Known, event: Event, now: datetime, policy: Policy) -> bool:
    """Whether it opened one too many: then it is counted, and not kept. It is the last of its type that came."""
    for kind, (types, _, (closing, _)) in LIVES.items():
        if event["type"] not in types or event["type"] == closing:
            continue
        count = len(open_objects(kind, known, now, policy))
        known[event["type"]].pop()
        if count > policy["most_open"] and count > len(open_objects(kind, known, now, policy)):
            too_many(known, kind, event)
            return True
        known[event["type"]].append(event)
    return False


def too_many(known: Known, kind: str, event: Event) -> None:
    known.found.clear()
    known["overfull"].append(event | {"overfull": kind})


def overfull_kinds(known: Known) -> list[str]:
    return sorted({each["overfull"] for each in of(known, "overfull") if each["overfull"]})


def clear(known: Known, event: Event, now: datetime, policy: Policy) -> bool:
    """A person says that it is well: all open ones are closed as of then. What came too much after it stands."""
    kind = event["data"]["kind"]
    counted = [each for each in of(known, "overfull") if each["overfull"] == kind]
    if not counted or event["time"] <= max(each["time"] for each in counted):
        return False
    if kind in LIVES:
        _, field, (closing, body) = LIVES[kind]
        for name in open_objects(kind, known, now, policy):
            known.add(event | {"type": closing, "data": body | ({field: name} if name else {})})
    for each in counted:
        each["overfull"] = None
    return True


def overfull_causes(known: Known) -> list[Cause]:
    return [("until_event", "customer.overfull_cleared", f"overfull: {kind}") for kind in overfull_kinds(known)]
