"""Two states of one person become one (identity §3): a rule for every field of a state.

The state of one folded world equals the union of its two halves, whichever way its events were told under the two ids;
except for drops of usage, opportunities, and one event that was told under both ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from referral_stream.core import bounds
from referral_stream.core.asks import Ask
from referral_stream.core.customer import (
    Cancellation,
    Customer,
    Dispute,
    Drop,
    Invoice,
    Month,
    Overfull,
    PastAsks,
    Survey,
    Ticket,
    UsageDay,
)
from referral_stream.core.fold import REMEMBERED_IDS, within_holds
from referral_stream.core.followups import FollowUp, Tally
from referral_stream.core.forgetting import forget
from referral_stream.core.grants import Grant
from referral_stream.core.ids import hash64
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.referrals import Referral
from referral_stream.core.rules import usage
from referral_stream.core.stamps import Stamp

T = TypeVar("T")

MOST_IDS = 50
"""Other ids that a customer's state names."""

MOST_ABSORBED = 1_000
"""States that are folded into one customer: each leaves a hash."""

Rule: TypeAlias = Callable[[Any, Any], Any]
"""What the customer's field and that of the other id become; neither is changed."""


def unite(customer: Customer, other: Customer, policy: Policy) -> Customer:
    """``customer`` with all that is known of the same person as ``other``; opens nothing, and judges nothing but usage.

    Both states stay as they are. What is under way for ``other`` must have been closed: it is left out.
    """
    c, x = customer.copy(), other.copy()
    for each in (c, x):  # both know the days up to the same one
        usage.judge(each, max(c.judged_day, x.judged_day), policy)
    x.asks = tuple(_owned(ask, x.id) for ask in x.asks)
    x.followups = tuple(f if f.owner else msgspec.structs.replace(f, owner=x.id) for f in x.followups)
    x.referrals = {name: _granted_to(referral, x.id) for name, referral in _without_repeats(x, c).items()}
    c.referrals = {name: _granted_to(r, c.id) if name in x.referrals else r for name, r in c.referrals.items()}
    united: Customer = c.copy()
    for name, rule in RULES.items():
        setattr(united, name, rule(getattr(c, name), getattr(x, name)))
    united.ids = tuple(dict.fromkeys(id_ for id_ in (*c.ids, x.id, *x.ids) if id_ != c.id))[:MOST_IDS]
    known = {c.id, x.id, *united.ids}
    united.merging = {asked: at for asked, at in united.merging.items() if asked not in known}
    united.holds = tuple(sorted({*c.holds, *x.holds, *((x.id,) if x.quarantined and x.id != c.id else ())}))
    united.held = within_holds(_table(max)(_held_by_others(c, x), _held_by_others(x, c)))
    known_better = [each for each in (c, x) if each.email_hmac is not None and not each.email_from_browser]
    if len(known_better) == 1:
        united.email_hmac = known_better[0].email_hmac
    united.email_from_browser = not known_better and (c.email_from_browser or x.email_from_browser)
    united.quarantined = c.quarantined or (x.quarantined and x.id == c.id)
    usage.forget(united, united.judged_day, policy)
    forget(united, united.judged_day * DAY, policy)
    bounds.fit_all(united, policy)
    return united


# -------------------------------------------------------------------------------------------------------------- rules


def _mine(mine: T, _: T) -> T:
    return mine


def _either(mine: T, other: T) -> T:
    return mine or other


def _sum(mine: int, other: int) -> int:
    return mine + other


def _least(mine: Any, other: Any) -> Any:
    return min((each for each in (mine, other) if each is not None), default=None)


def _greatest(mine: Any, other: Any) -> Any:
    return max((each for each in (mine, other) if each is not None), default=None)


def _newest(mine: Any, other: Any) -> Any:
    """Of two signals, each with its stamp ``at``."""
    return max((each for each in (mine, other) if each is not None), key=lambda each: each.at, default=None)


def _table(rule: Rule) -> Rule:
    """The rule for what both tables have; of the rest, what there is."""

    def united(mine: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
        if not other:
            return mine
        both = {key: rule(mine[key], value) if key in mine else value for key, value in other.items()}
        return {**mine, **both}

    return united


def _set(mine: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    """In the order in which they came, first the customer's own."""
    return tuple(dict.fromkeys((*mine, *other)))


def _sorted_set(mine: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted({*mine, *other}))


def _by_stamp(mine: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(dict.fromkeys((*mine, *other)), key=lambda each: each.at))


def _seen(mine: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    """Oldest first, and no more than are kept."""
    both = sorted(_table(max)(mine, other).items(), key=lambda item: item[1])
    return dict(both[-REMEMBERED_IDS:])


def _both(mine: bool, other: bool) -> bool:  # noqa: FBT001 (a rule)
    return mine and other


def _grant(mine: Grant | None, other: Grant | None) -> Grant | None:
    """Of two grants for one referral the given one stays, else that of the smaller customer id (identity §3).

    What came of a grant that has ended counts before one that has not: nothing revives it.
    """
    found = [grant for grant in (mine, other) if grant is not None]
    return min(found, key=lambda grant: (_ENDS.index(grant.state), grant.owner.encode()), default=None)


_ENDS = ("granted", "reversed", "denied", "due", "held")


def _tallies(mine: Tally, other: Tally) -> Tally:
    return Tally(*(getattr(mine, name) + getattr(other, name) for name in Tally.__struct_fields__))


def _months(mine: Month, other: Month) -> Month:
    sums = {name: getattr(mine, name) + getattr(other, name) for name in Month.__struct_fields__ if name != "blocked"}
    return Month(**sums, blocked=_table(_sum)(mine.blocked, other.blocked))


def _past_asks(mine: PastAsks | None, other: PastAsks | None) -> PastAsks | None:
    if mine is None or other is None:
        return mine or other
    return PastAsks(mine.times + other.times, min(mine.first, other.first), max(mine.last, other.last))


def _followups(mine: tuple[FollowUp, ...], other: tuple[FollowUp, ...]) -> tuple[FollowUp, ...]:
    known = {followup.id for followup in mine}
    return tuple(sorted((*mine, *(f for f in other if f.id not in known)), key=lambda f: (f.requested_at, f.id)))


def _asks(mine: tuple[Ask, ...], other: tuple[Ask, ...]) -> tuple[Ask, ...]:
    """In the order in which they went out; one that both know counts as the customer's own."""
    known = {ask.command_id for ask in mine}
    return tuple(sorted((*mine, *(ask for ask in other if ask.command_id not in known)), key=lambda ask: ask.asked_at))


def _held_by_others(held: Customer, than: Customer) -> dict[str, Stamp]:
    """Whom the first is held by, without the second: they are one person, and nobody is held by their own word."""
    return {who: at for who, at in held.held.items() if who not in (than.id, *than.ids)}


def _emails(mine: dict[str, bool], other: dict[str, bool]) -> dict[str, bool]:
    """What the links of the other id's addresses were told was said about that id."""
    return {**dict.fromkeys(other, False), **mine}


def _used(mine: UsageDay, other: UsageDay) -> UsageDay:
    return UsageDay(mine.count + other.count, min(mine.first, other.first), max(mine.last, other.last))


def _drop(mine: Drop | None, other: Drop | None) -> Drop | None:
    """The one that ends later; one that has not ended ends last."""
    return max(
        (drop for drop in (mine, other) if drop is not None),
        key=lambda drop: (drop.ended_day is None, drop.ended_day or 0),
        default=None,
    )


TICKET: dict[str, Rule] = {
    "at": _greatest, "open": _mine, "opened": _greatest, "prioritised": _greatest, "priority": _either,
    "rated": _greatest, "rating": _mine, "soured": _least,
}  # fmt: skip
"""Of two halves of a ticket; what has a stamp of its own is taken from the half that has the newer one."""

_GOES_WITH = (("open", "at"), ("priority", "prioritised"), ("rating", "rated"))


def _ticket(mine: Ticket, other: Ticket) -> Ticket:
    united = {name: rule(getattr(mine, name), getattr(other, name)) for name, rule in TICKET.items()}
    for name, stamp in _GOES_WITH:
        if united[stamp] is not None and united[stamp] == getattr(other, stamp):
            united[name] = getattr(other, name)
    return Ticket(**united)


def _invoice(mine: Invoice, other: Invoice) -> Invoice:
    newest: Invoice = _newest(mine, other)
    return msgspec.structs.replace(newest, ever_failed=mine.ever_failed or other.ever_failed)


def _dispute(mine: Dispute, other: Dispute) -> Dispute:
    disputed_at = _greatest(mine.disputed_at, other.disputed_at)
    newest: Dispute = _newest(mine, other)
    return msgspec.structs.replace(newest, disputed_at=disputed_at)


def _cancellation(mine: Cancellation, other: Cancellation) -> Cancellation:
    return Cancellation(
        considered=_greatest(mine.considered, other.considered),
        scheduled=_greatest(mine.scheduled, other.scheduled),
        reverted=_greatest(mine.reverted, other.reverted),
    )


REFERRAL: dict[str, Rule] = {
    "at": _greatest, "status": _mine, "conversion": _least, "id": _either, "given": _least, "dated": _least,
    "said": _greatest, "consented": _mine, "keys": _set, "domains": _set,
    "attributed": _either, "ask": _either, "deal": _newest, "reported": _set, "report": _newest,
    "converted_at": _least, "otherwise_at": _greatest, "taken": _either, "care_due": _least, "care_late": _either,
    "care_consented": _either, "quiet_until": _greatest,
    "released": _both, "contact_erased": _either, "spent": _either, "grant": _grant, "replied": _greatest,
    "conversion_counts": _either, "owner": _mine,
}  # fmt: skip
"""Of what is known of one referral under two ids."""


def _referral(mine: Referral, other: Referral) -> Referral:
    """The first conversion is the one that opens, unless it was refunded since."""
    united = {name: rule(getattr(mine, name), getattr(other, name)) for name, rule in REFERRAL.items()}
    at, conversion = united["at"], united["conversion"]
    if at is not None and at == other.at:
        united["status"] = other.status
    if united["said"] is not None and united["said"] == other.said:
        united["consented"] = other.consented
    claimants = [each.owner for each in (mine, other) if each.given is not None]
    united["owner"] = united["grant"].owner if united["grant"] else min(claimants, key=str.encode, default="")
    united["consented"] = united["consented"] and not united["contact_erased"]
    if united["status"] == "refunded" and conversion is not None and at is not None and conversion.at < at:
        united["conversion"] = None
    return Referral(**united)


RULES: dict[str, Rule] = {
    "id": _mine,
    "now": max,
    "erased_at": _least,
    "quarantined": _mine,  # see unite: whose letter it is says who lifts it
    # lifecycle
    "signed_up": _least,
    "trial_sign_up": _greatest,
    "trial_over": _greatest,
    "onboarded": _either,
    "initial_contract_at": _greatest,
    "subscriptions": _by_stamp,
    # profile
    "time_zone": _newest,
    "event_zone": _newest,
    "locale": _newest,
    "segment": _newest,
    "account": _newest,
    "email_hmac": _newest,
    "champion": _newest,
    "requires_approval": _newest,
    "reachable": _table(_newest),
    "consent": _table(_newest),
    "suppressed": _newest,
    # value realised
    "first_success": _either,
    "milestone": _either,
    "repeated_milestones": _table(max),
    "goal": _either,
    "saving": _either,
    "above_average": _newest,
    "usage": _table(_used),
    "first_use_day": _least,
    "used_for_long": _either,
    "judged_day": max,
    "drop": _drop,
    "first_activity": _least,
    "last_activity": _greatest,
    # satisfaction and relationship
    "responses": _table(_newest),
    "csats": _table(_newest),
    "testimonial": _either,
    "testimonial_at": _greatest,
    "feedback": _either,
    "feedback_at": _greatest,
    "reviews": _table(_newest),
    "interactions": _sum,
    "advocacy": _sorted_set,
    # trouble
    "tickets": _table(_ticket),
    "complained_at": _greatest,
    "invoices": _table(_invoice),
    "refunded_at": _greatest,
    "disputes": _table(_dispute),
    "cancellations": _table(_cancellation),
    # presence
    "tasks": _table(_newest),
    "concerns": _table(_newest),
    "calls_cut_short": _set,
    # the ask's life
    "seen": _seen,
    "keys": _set,
    "live": _mine,
    "awaiting": _mine,
    "asks": _asks,
    "answers": _table(max),
    "approvals": _table(_newest),
    "referrals": _table(_referral),
    "wake_at": _mine,
    # who it is
    "erased_now": _least,
    "merged_into": _mine,
    "merging": _table(max),
    "absorbed": _set,
    "ids": _mine,  # see unite
    "holds": _mine,  # see unite
    "held": _mine,  # see unite
    "lifted": _greatest,
    # links
    "emails": _emails,
    "email_from_browser": _mine,  # see unite
    "stops": _table(max),
    # bounds
    "overfull": _table(lambda mine, other: Overfull(max(mine.at, other.at), mine.count + other.count)),
    "forgotten": _table(max),
    # after the ask
    "domain_hmac": _newest,
    "followups": _followups,
    "tallies": _table(_tallies),
    "months": _table(_months),
    "past_asks": _past_asks,
    "referrals_over": _sum,
    "recorded": _mine,
    "eligible_told": _mine,
    "record_owed": _mine,
}
"""Field of the state → what it becomes. A field without a rule fails a test: what is known under one id must not be
lost under the other."""


# ------------------------------------------------------------------------------------------------- what is left behind


def _owned(ask: Ask, owner: str) -> Ask:
    """An ask keeps for good the id under which it was made."""
    o = ask.opportunity
    return ask if o.owner else msgspec.structs.replace(ask, opportunity=msgspec.structs.replace(o, owner=owner))


def _granted_to(referral: Referral, owner: str) -> Referral:
    """So do the claims of a referral, and its grant."""
    grant = referral.grant
    if grant is not None and not grant.owner:
        grant = msgspec.structs.replace(grant, owner=owner)
    if referral.given is None:
        return referral
    return msgspec.structs.replace(referral, grant=grant, owner=referral.owner or owner)


def _without_repeats(other: Customer, mine: Customer) -> Mapping[str, Referral]:
    """The other id's referrals, without conversions that have opened an opportunity of the customer before."""
    opened = {
        name
        for name, referral in other.referrals.items()
        if referral.conversion is not None
        and hash64("referral_converted", name) in mine.keys
        and (name not in mine.referrals or mine.referrals[name].conversion is None)
    }
    return {
        name: msgspec.structs.replace(referral, conversion=None) if name in opened else referral
        for name, referral in other.referrals.items()
    }


def revised_downwards(before: Customer, after: Customer) -> set[str]:
    """Survey answers whose newest revision, since ``before``, no longer speaks for asking."""
    return {*_revised(before.responses, after.responses), *_revised(before.csats, after.csats)}


def _revised(before: Mapping[str, Survey], after: Mapping[str, Survey]) -> Iterable[str]:
    return (
        response
        for response, survey in after.items()
        if response in before and survey != before[response] and not survey.promoter
    )
