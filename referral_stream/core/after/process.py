"""The row ``after`` of the step's table: what follows an ask, record by record and in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from referral_stream.core import events as ev
from referral_stream.core.after import answers, grants, referrals, telling
from referral_stream.core.after.telling import Need
from referral_stream.core.customer import LONGEST_NAME
from referral_stream.core.effects import FollowupKind
from referral_stream.core.events import Event
from referral_stream.core.followups import FollowUp
from referral_stream.core.ids import short
from referral_stream.core.referrals import Referral
from referral_stream.core.turn import Folded, Process, Turn

TAKEN: Final = (
    ev.AskAnswered, ev.AskAcknowledged, ev.ReferralGiven, ev.ReferralStatusChanged, ev.ContactErased,
    ev.RewardApproved, ev.RewardRejected, ev.RewardSettled, ev.GrantGiven, ev.GrantRefused, ev.GrantUnavailable,
    ev.ConsentChanged, ev.Suppressed, ev.Held,
)  # fmt: skip
"""What leads to something, or ends what may be said."""

KINDS: Final = get_args(FollowupKind)
"""In the order in which they are requested."""


def _on_record(turn: Turn, event: Event, folded: Folded | None) -> bool:
    c = turn.customer
    match event.data:
        case ev.AskAnswered() as data:
            answers.answered(turn, event, data)
        case ev.AskAcknowledged() as data:
            _reported(turn, data, historical=event.historical)
        case ev.ReferralGiven() as data:
            referrals.given(turn, event, data)
            grants.given(turn, data)
        case ev.ReferralStatusChanged() as data if folded is not None:
            referrals.status_changed(turn, event, data, folded)
            grants.status_changed(turn, event, data, folded)
        case ev.ContactErased() as data:
            referrals.contact_erased(turn, data)
        case ev.RewardVerdict() as data:
            grants.judged(turn, event, data)
        case ev.RewardSettled() as data:
            grants.settled(turn, event, data)
        case ev.GrantGiven() | ev.GrantRefused() | ev.GrantUnavailable() as data:
            grants.answered(turn, data)
        case _:
            pass
    if c.followups:
        withdraw(turn)
    return True


def told_again(turn: Turn, event: Event) -> None:
    """A record that changes nothing any more: ingest has written the contact's name again, and it may not stay.

    It was applied before, or its customer is erased (after §5).
    """
    match event.data:
        case ev.ReferralGiven(referral_id=id_):
            referrals.forget_contact(turn, id_, turn.customer.referrals.get(short(id_, LONGEST_NAME)))
        case ev.ContactErased(referral_id=id_):
            referrals.forget_contact(turn, id_, None)
        case _:
            pass


def _reported(turn: Turn, data: ev.AskAcknowledged, *, historical: bool) -> None:
    """A worker's report of a follow-up: counted once, and a yes to which nothing could be said is read by a person."""
    c, before = turn.customer, turn.followups_before
    if before is c.followups:
        return
    for earlier, now in zip(before, c.followups, strict=True):
        if now is earlier:
            continue
        if now.sent and not earlier.sent:
            telling.count(c, now.kind, "sent")
        failed_before, failed = earlier.failed and not earlier.sent, now.failed and not now.sent
        if failed != failed_before:
            telling.count(c, now.kind, "failed", 1 if failed else -1)
    if not historical:
        answers.unsaid(turn, data, before)


def withdraw(turn: Turn) -> None:
    """Withdraw what may not be said to the customer any more, or not on a channel that it names."""
    c = turn.customer
    open_ = telling.open_ones(turn, to_customer=True)
    if not open_:
        return
    reason = telling.no_longer(turn)
    if reason is not None:
        telling.cancel(turn, open_, reason)
        return
    withdrawn = {channel for channel, flag in c.consent.items() if not flag.value}
    gone = telling.cancel(turn, (f for f in open_ if withdrawn.intersection(f.channels)), "channel")
    made = {f.id: place for place, f in enumerate(c.followups)}
    for followup in sorted(gone, key=lambda f: (KINDS.index(f.kind), made[f.id])):
        say_again(turn, followup)


def say_again(turn: Turn, followup: FollowUp, ends: int | None = None) -> None:
    """The same once more, by what may still be used: due as it was; ``ends``: it ends when that one did."""
    c = turn.customer
    referral = c.referrals.get(followup.subject)
    command = followup.command_id if referral is None else referral.ask
    ask = next((a for a in c.asks if a.command_id == command), None)
    need = Need(
        kind=followup.kind,
        about=followup.about,
        at=followup.at,
        due=followup.due,
        variables=_variables(followup, ask.opportunity.trigger if ask is not None else None, referral),
        lasts=followup.lasts,
        ends=followup.expires_at if followup.kind == "graceful_no" else ends,
        ask=ask,
        subject=followup.subject,
    )
    telling.request(turn, need)


def _variables(followup: FollowUp, trigger: str | None, referral: Referral | None) -> dict[str, str]:
    match followup.kind:
        case "intro_offer" | "easy_forward" | "graceful_no":
            return {} if trigger is None else {"trigger": trigger}
        case "report_back":
            status = {"status": followup.about.rpartition("/")[2]}
            carries = followup.carries_reward and referral is not None
            return status | (referrals.reward_variables(referral) if carries and referral is not None else {})
        case "reward_told":
            return {} if referral is None else referrals.reward_variables(referral)
        case _:
            return {}


def _under_way(turn: Turn) -> bool:
    c = turn.customer
    if c.followups and any(f.is_open(turn.now) for f in c.followups):
        return True
    return bool(c.referrals)


def _on_due(turn: Turn) -> None:
    c = turn.customer
    if c.followups:
        withdraw(turn)
    if not c.referrals:
        return
    grants.act(turn)
    referrals.reports_due(turn)
    grants.tell(turn)
    referrals.care_due(turn)


def _due(turn: Turn) -> Iterator[int]:
    policy = turn.policy
    for referral in turn.customer.referrals.values():
        if referral.report is not None:
            yield referral.report.due
        if referral.quiet_until is not None:
            yield referral.quiet_until
        if referral.care_due is not None:
            yield referral.care_due
        grant = referral.grant
        if grant is None:
            continue
        if grant.give_up is not None:
            yield grant.give_up
        elif grant.state == "held" and grant.lapses_at is not None:
            yield grant.lapses_at
        elif grant.state == "due":
            yield max(grants.due_at(grant, policy), grant.again_at or 0)


def _on_erasure(turn: Turn) -> None:
    """All that is open is withdrawn, what is not granted denied; names and record end."""
    c = turn.customer
    telling.cancel(turn, telling.open_ones(turn), "erased")
    grants.erased(turn)
    for name, referral in sorted(c.referrals.items(), key=lambda item: item[1].id or item[0]):
        turn.effects.append(turn.builder.contact_forgotten(referral.id or name))


def _nothing(_: Turn) -> None:
    """Nothing here ends at a deadline: what is open lapses by itself."""


AFTER = Process(
    name="after",
    takes=frozenset(data.type for data in TAKEN),
    on_record=_on_record,
    under_way=_under_way,
    on_deadline=_nothing,
    on_due=_on_due,
    due=_due,
    on_erasure=_on_erasure,
)
