"""Referrals: whom they are due to, the thanks, the care, and the reports on how it went (after §3)."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.after import telling
from referral_stream.core.after.answers import is_fresh
from referral_stream.core.after.telling import Need
from referral_stream.core.asks import Ask
from referral_stream.core.customer import LONGEST_NAME, Customer
from referral_stream.core.effects import FollowupKind
from referral_stream.core.events import Event
from referral_stream.core.fold_after import ask_meant, is_known
from referral_stream.core.followups import FollowUp
from referral_stream.core.ids import short
from referral_stream.core.instants import DAY, HOUR, MINUTE
from referral_stream.core.referrals import RANK, PendingReport, Referral
from referral_stream.core.stamps import Stamp
from referral_stream.core.turn import Folded, Turn

ANSWERED_BY_A_REFERRAL: frozenset[FollowupKind] = frozenset({"intro_offer", "easy_forward", "graceful_no"})

TOLD_APART = DAY
"""Between two thanks, or two reports, to one customer."""


def put(turn: Turn, name: str, referral: Referral) -> None:
    """Replace the state's version of a referral with this one."""
    c = turn.customer
    c.referrals = {**c.referrals, name: referral}


def asked_by(c: Customer, referral: Referral) -> Ask | None:
    """The ask that a referral is due to."""
    return next((a for a in c.asks if referral.ask is not None and a.command_id == referral.ask), None)


# ---------------------------------------------------------------------------------------------------------- it is given


def given(turn: Turn, event: Event, data: ev.ReferralGiven) -> None:
    """A referral has been folded in."""
    c, name = turn.customer, short(data.referral_id, LONGEST_NAME)
    referral = c.referrals.get(name)
    if referral is None:
        return
    claim(turn, name, referral)
    referral = c.referrals[name]
    forget_contact(turn, data.referral_id, referral)
    if referral.attributed:
        _care_again(turn, name, referral)
        return
    referral = replace(referral, attributed=True, ask=_due_to(turn, data, event.time))
    put(turn, name, referral)
    if referral.ask is not None:
        c.asks = tuple(replace(a, answered=True) if a.command_id == referral.ask else a for a in c.asks)
        about_ask = (f for f in c.followups if f.about == referral.ask and f.kind in ANSWERED_BY_A_REFERRAL)
        telling.cancel(turn, about_ask, "referral_given")
    rules = turn.policy.followups
    if is_fresh(turn, event):
        _thank(turn, name, referral, event.time)
        if not referral.taken:
            _take_care(turn, name, referral, event.time, max(event.time, turn.now) + rules.care_hours * HOUR)


def claim(turn: Turn, name: str, referral: Referral) -> None:
    """Each key of a contact is claimed when it becomes known, and anew when the referral comes back."""
    known = turn.referrals_before.get(name)
    claimed = () if known is None or known.released or known.given is None else known.keys
    keys = tuple(key for key in referral.keys if key not in claimed)
    if keys and not referral.released and referral.given is not None:
        turn.effects.append(turn.builder.claim(referral.id or name, keys, referral.owner))


def forget_contact(turn: Turn, referral_id: str, referral: Referral | None) -> None:
    """Nothing but the newest word of a contact who has consented leaves a name (after §5)."""
    if referral is None or not referral.consented or referral.contact_erased:
        turn.effects.append(turn.builder.contact_forgotten(referral_id))


def contact_erased(turn: Turn, data: ev.ContactErased) -> None:
    """The contact wants to be forgotten: nobody is to take care of them any more."""
    name = short(data.referral_id, LONGEST_NAME)
    forget_contact(turn, data.referral_id, None)
    referral = turn.customer.referrals.get(name)
    if telling.cancel(turn, _of(turn, name, "take_care"), "contact_erased") and referral is not None:
        put(turn, name, replace(referral, care_due=None))  # nobody is to do it, so nobody is late


def _of(turn: Turn, name: str, kind: FollowupKind) -> Iterator[FollowUp]:
    return (f for f in turn.customer.followups if f.subject == name and f.kind == kind)


def _due_to(turn: Turn, data: ev.ReferralGiven, at: int) -> str | None:
    """The ask that it names, if it may; else the newest that it may be due to."""
    c, lasts = turn.customer, turn.policy.referrals.attribution_days * DAY
    named = None if data.command_id is None else ask_meant(c, data.command_id)
    if named is not None and is_known(named, turn.now) and at < named.asked_at + lasts:
        return named.command_id
    asks = (
        a
        for a in c.asks
        if a.kind != "reason" and not a.cancelled and a.counts and a.asked_at <= at < a.asked_at + lasts
    )
    newest = max(asks, key=lambda a: (a.asked_at, a.command_id), default=None)
    return None if newest is None else newest.command_id


def _thank(turn: Turn, name: str, referral: Referral, at: int) -> None:
    if not _told_lately(turn, "thank"):
        ask = asked_by(turn.customer, referral)
        telling.request(
            turn, Need("thank", referral.id or name, at, at + HOUR, {}, lasts=2 * DAY, ask=ask, subject=name)
        )


def _told_lately(turn: Turn, kind: FollowupKind) -> bool:
    return any(f.kind == kind and f.requested_at > turn.now - TOLD_APART for f in turn.customer.followups)


def _take_care(turn: Turn, name: str, referral: Referral, at: int, due: int) -> None:
    variables = {"consented": "true" if referral.consented else "false"}
    ask = asked_by(turn.customer, referral)
    need = Need("take_care", referral.id or name, at, due, variables, lasts=14 * DAY, ask=ask, subject=name)
    if telling.request(turn, need) == "yes":
        put(turn, name, replace(referral, care_due=due, care_consented=referral.consented))


def _care_again(turn: Turn, name: str, referral: Referral) -> None:
    """The contact's consent was withdrawn: whoever takes care must know, if they were told of one."""
    if referral.consented or not referral.care_consented:
        return
    gone = telling.cancel(turn, _of(turn, name, "take_care"), "contact_erased")
    if gone:
        _take_care(turn, name, referral, gone[0].at, gone[0].due)


# ---------------------------------------------------------------------------------------------------------- how it went


def status_changed(turn: Turn, event: Event, data: ev.ReferralStatusChanged, folded: Folded) -> None:
    """A status has been folded in: somebody took care, and the customer will hear of it."""
    c, name = turn.customer, short(data.referral_id, LONGEST_NAME)
    referral = c.referrals.get(name)
    if referral is None:
        return
    if data.status != "refunded":
        telling.cancel(turn, _of(turn, name, "take_care"), "care_taken")
    rules = turn.policy.followups
    if telling.is_history(turn, event) or referral.given is None or data.status not in rules.report:
        return
    due = turn.now + rules.report_after_minutes * MINUTE
    report = PendingReport(due, Stamp.of(event), data.status) if folded.newest else referral.report
    put(turn, name, replace(referral, report=report, quiet_until=due))


def reports_due(turn: Turn) -> None:
    """Report what has stood for long enough."""
    for name, referral in sorted(turn.customer.referrals.items(), key=lambda item: item[1].id or item[0]):
        report = referral.report
        if report is None or report.due > turn.now or (referral.grant is not None and referral.grant.awaited):
            continue
        put(turn, name, replace(referral, report=None))
        if _may_report(turn, referral, report):
            _report(turn, name, turn.customer.referrals[name], report)


def _may_report(turn: Turn, referral: Referral, report: PendingReport) -> bool:
    rules, reached = turn.policy.followups, max((RANK.get(status, 0) for status in referral.reported), default=0)
    followed = (
        referral.converted_at is not None
        and referral.otherwise_at is not None
        and referral.otherwise_at > referral.converted_at
    )
    return (
        report.at == referral.at
        and report.status not in referral.reported
        and (report.status not in RANK or RANK[report.status] >= reached)
        and not followed
        and turn.now < report.at.time + rules.fresh_days * DAY
        and (report.status == "converted" or not _told_lately(turn, "report_back"))
    )


def _report(turn: Turn, name: str, referral: Referral, report: PendingReport) -> None:
    telling.cancel(turn, _of(turn, name, "report_back"), "status")
    grant, variables = referral.grant, {"status": str(report.status)}
    carries = grant is not None and grant.state == "granted"
    if grant is not None and carries:
        variables |= reward_variables(referral)
        referral = replace(referral, grant=replace(grant, told=True))
    put(turn, name, referral)
    at, id_ = report.at.time, referral.id or name
    need = Need(
        "report_back", f"{id_}/{report.status}", at, at + DAY, variables, lasts=7 * DAY,
        ask=asked_by(turn.customer, referral), subject=name,
    )  # fmt: skip
    if telling.request(turn, need) == "yes":
        put(turn, name, replace(referral, reported=(*referral.reported, report.status)))


def reward_variables(referral: Referral) -> dict[str, str]:
    """What is said of a reward to the customer."""
    if referral.grant is None:
        return {}
    promise = referral.grant.promise
    found = {
        "reward_kind": promise.kind,
        "amount_minor": promise.amount_minor,
        "currency": promise.currency,
        "benefit": promise.benefit,
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def care_due(turn: Turn) -> None:
    """Of which referrals nobody has taken care in time."""
    for name, referral in turn.customer.referrals.items():
        if referral.care_due is not None and not referral.care_late and referral.care_due <= turn.now:
            late = not referral.taken
            put(turn, name, replace(referral, care_late=late, care_due=referral.care_due if late else None))
