"""Rewards: from a conversion to a grant, or to why there is none, and back again (after §4)."""

from __future__ import annotations

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.after import telling
from referral_stream.core.after.referrals import asked_by, claim, put, reward_variables
from referral_stream.core.after.telling import Need
from referral_stream.core.customer import LONGEST_NAME, Customer, word
from referral_stream.core.effects import DeniedFor, FollowupKind, Hint
from referral_stream.core.events import Event
from referral_stream.core.grants import Grant
from referral_stream.core.ids import grant_id, short
from referral_stream.core.instants import DAY, SECOND
from referral_stream.core.policy import Policy
from referral_stream.core.referrals import Referral
from referral_stream.core.rules import rewarding
from referral_stream.core.stamps import Flag, Stamp, Word
from referral_stream.core.turn import Folded, Turn

TAKEN_BACK = ("rejected", "refunded")
"""Statuses after which there is no reward."""


# ----------------------------------------------------------------------------------------------------------- conversion


def status_changed(turn: Turn, event: Event, data: ev.ReferralStatusChanged, folded: Folded) -> None:
    """A status has been folded in: the first conversion makes the grant, what is taken back ends it."""
    name = short(data.referral_id, LONGEST_NAME)
    referral = turn.customer.referrals.get(name)
    if referral is None or not folded.newest:
        return
    if data.status in TAKEN_BACK:
        _take_back(turn, name, referral, data.status, quiet=event.historical)
        return
    if referral.released:
        put(turn, name, referral := replace(referral, released=False))
        claim(turn, name, referral)
    if data.status == "converted":
        _convert(turn, name, turn.customer.referrals[name], event.time, historical=event.historical)


def given(turn: Turn, data: ev.ReferralGiven) -> None:
    """A referral whose newest status is a conversion makes its grant when it is given."""
    name = short(data.referral_id, LONGEST_NAME)
    referral, before = turn.customer.referrals.get(name), turn.referrals_before.get(name)
    if referral is None or (before is not None and before.given is not None) or referral.status != "converted":
        return
    if referral.at is not None and referral.conversion_counts is not None:
        _convert(turn, name, referral, referral.at.time, historical=not referral.conversion_counts)


def _convert(turn: Turn, name: str, referral: Referral, at: int, *, historical: bool) -> None:
    c, policy, rules = turn.customer, turn.policy, turn.policy.rewards
    if referral.spent or referral.grant is not None:
        return
    if referral.given is None:
        put(turn, name, replace(referral, conversion_counts=not historical))
        return
    referral = replace(referral, spent=True)
    put(turn, name, referral)
    ask = asked_by(c, referral)
    if historical or at < (rules.active_since or at) or policy.shadow or not rules.enabled:
        return
    promise = ask.offer if ask is not None and ask.offer is not None else None
    promise = promise or rewarding.programme_of(c, policy)
    if promise is None:
        return
    id_ = referral.id or name
    grant = Grant(
        id=grant_id(c.id, id_), state="due", promise=promise, converted=at, hints=_hints(turn, referral),
        account=c.account_id,
    )  # fmt: skip
    if grant.hints:
        lapses = turn.now + rules.approval_days * DAY
        grant = replace(grant, state="held", held_at=turn.now, lapses_at=lapses)
        turn.effects.append(turn.builder.reward_held(id_, grant, turn.traceparent))
        variables = {"grant_id": grant.id, "hints": ",".join(grant.hints)}
        need = Need(
            "approve_reward", id_, turn.now, turn.now + 2 * DAY, variables, lasts=rules.approval_days * DAY, ask=ask,
            subject=name,
        )  # fmt: skip
        _keep(turn, name, grant)
        telling.request(turn, need)
    else:
        _keep(turn, name, _traced(turn, grant))


def _traced(turn: Turn, grant: Grant) -> Grant:
    """With the trace of the record at hand, if the ledger is asked at once because of it."""
    return replace(grant, traceparent=turn.traceparent if due_at(grant, turn.policy) <= turn.now else None)


def _hints(turn: Turn, referral: Referral) -> tuple[Hint, ...]:
    """What a person should look at first (after §4.1)."""
    c, hints = turn.customer, list[Hint]()
    if word(c.email_hmac) in referral.keys:
        hints.append("own_email")
    ask = asked_by(c, referral)
    if word(c.domain_hmac) in referral.domains and (ask is None or ask.mode != "same_company"):
        hints.append("same_domain")
    own = referral.given or 0
    near = sum(r.given is not None and abs(r.given - own) < DAY for r in c.referrals.values())
    if near > turn.policy.rewards.rate:
        hints.append("rate")
    return tuple(hints)


def _keep(turn: Turn, name: str, grant: Grant) -> Grant:
    put(turn, name, replace(turn.customer.referrals[name], grant=grant))
    return grant


# ---------------------------------------------------------------------------------------------- a person's, the payer's


def _meant(turn: Turn, id_: str) -> tuple[str, Grant] | None:
    for name, referral in turn.customer.referrals.items():
        if referral.grant is not None and referral.grant.id == id_:
            return name, referral.grant
    return None


def judged(turn: Turn, event: Event, data: ev.RewardVerdict) -> None:
    """A person approved or rejected a reward: the newest word counts until it is granted."""
    meant = _meant(turn, data.grant_id)
    if meant is None:
        return
    name, grant = meant
    stamp, yes = Stamp.of(event), isinstance(data, ev.RewardApproved)
    if grant.state not in ("held", "due") or (grant.verdict is not None and stamp <= grant.verdict.at):
        return
    grant = replace(grant, verdict=Flag(stamp, yes), heard_at=turn.now if yes else grant.heard_at)
    grant = _keep(turn, name, _traced(turn, grant) if yes and not grant.awaited else grant)
    if not yes:
        _deny(turn, name, grant, "not_approved")
    elif grant.state == "held":
        _keep(turn, name, replace(grant, state="due"))


def settled(turn: Turn, event: Event, data: ev.RewardSettled) -> None:
    """The payer says whether it has arrived."""
    meant = _meant(turn, data.grant_id)
    if meant is None or meant[1].state != "granted":
        return
    name, grant = meant
    stamp = Stamp.of(event)
    if grant.settled is not None and stamp <= grant.settled.at:
        return
    grant = replace(grant, settled=Word(stamp, data.status))
    if data.status == "failed" and not grant.failure_told and not telling.is_history(turn, event):
        grant = replace(grant, failure_told=True)
        variables = {"grant_id": grant.id} | ({} if data.reference is None else {"reference": data.reference})
        _keep(turn, name, grant)
        _tell_owner(turn, name, "reward_failed", variables, DAY)
        return
    _keep(turn, name, grant)


def _tell_owner(turn: Turn, name: str, kind: FollowupKind, variables: dict[str, str], within: int) -> None:
    referral = turn.customer.referrals[name]
    now, ask = turn.now, asked_by(turn.customer, referral)
    about = referral.id or name
    telling.request(turn, Need(kind, about, now, now + within, variables, lasts=14 * DAY, ask=ask, subject=name))


# ----------------------------------------------------------------------------------------------------------- the ledger


def answered(turn: Turn, data: ev.GrantGiven | ev.GrantRefused | ev.GrantUnavailable) -> None:
    """The ledger's answer. Any counts while one is awaited, or was not heard; else a yes is given back."""
    meant = _meant(turn, data.grant_id)
    awaited = meant is not None and meant[1].state == "due" and meant[1].requested_at is not None
    if meant is None or not awaited:
        if isinstance(data, ev.GrantGiven) and (meant is None or meant[1].state != "granted"):
            turn.effects.append(turn.builder.grant_release(data.grant_id))
        return
    name, grant = meant
    turn.traceparent = grant.traceparent
    match data:
        case ev.GrantGiven():
            _granted(turn, name, grant)
        case ev.GrantRefused(reason=reason):
            _deny(turn, name, replace(grant, give_up=None, again_at=None), reason)
        case _ if grant.awaited:
            _silent(turn, name, grant)
        case _:
            pass
    turn.traceparent = None


def _granted(turn: Turn, name: str, grant: Grant) -> None:
    grant = replace(grant, state="granted", granted_at=turn.now, give_up=None, again_at=None)
    id_ = turn.customer.referrals[name].id or name
    turn.effects.append(turn.builder.grant_confirmation(id_, grant, turn.customer.referrals[name]))
    turn.effects.append(turn.builder.reward_granted(id_, grant, turn.traceparent))
    _keep(turn, name, grant)


def _silent(turn: Turn, name: str, grant: Grant) -> None:
    rules = turn.policy.ledger
    wait = min(rules.retry_seconds * 2**grant.tries, rules.retry_limit_seconds)
    again = replace(grant, give_up=None, again_at=turn.now + wait * SECOND, tries=min(grant.tries + 1, 30))
    _keep(turn, name, replace(again, traceparent=None))


def due_at(grant: Grant, policy: Policy) -> int:
    """When it may be asked for: once the conversion has lasted, and a person has approved it."""
    return max(grant.converted + policy.rewards.holding_days * DAY, grant.heard_at or 0)


def act(turn: Turn) -> None:
    """What is due by time: the ledger's silence, approvals that nobody gave, requests; each by referral id."""
    c = turn.customer
    names = sorted(
        (name for name, r in c.referrals.items() if r.grant is not None), key=lambda n: c.referrals[n].id or n
    )
    for name in names:
        grant = c.referrals[name].grant
        if grant is not None and grant.give_up is not None and grant.give_up <= turn.now:
            _silent(turn, name, grant)
    for name in names:
        grant = c.referrals[name].grant
        if grant is not None and grant.state == "held" and (grant.lapses_at or turn.now) <= turn.now:
            _deny(turn, name, grant, "not_approved")
    for name in names:
        grant = c.referrals[name].grant
        if grant is not None and grant.state == "due" and not grant.awaited:
            _request(turn, name, grant)


def _request(turn: Turn, name: str, grant: Grant) -> None:
    c, policy = turn.customer, turn.policy
    if telling.is_quarantined(c) or due_at(grant, policy) > turn.now or (grant.again_at or 0) > turn.now:
        return
    if c.ids and rewarding.is_capped(c, turn.now, policy):  # the ledger counts the ids of one person apart
        _deny(turn, name, grant, "customer_cap")
        return
    give_up = turn.now + policy.ledger.answer_seconds * SECOND
    grant = _keep(
        turn, name, replace(grant, requested_at=turn.now, give_up=give_up, again_at=None, account=c.account_id)
    )
    turn.effects.append(turn.builder.grant_request(c.referrals[name].id or name, grant, turn.customer.referrals[name]))


# ----------------------------------------------------------------------------------------------------- denied, reversed


def _deny(turn: Turn, name: str, grant: Grant, reason: DeniedFor, *, quiet: bool = False) -> None:
    """There will be none; whatever the ledger may have counted is given back."""
    id_ = turn.customer.referrals[name].id or name
    if grant.requested_at is not None:
        turn.effects.append(turn.builder.grant_release(grant.id, grant.owner or turn.customer.referrals[name].owner))
    turn.effects.append(turn.builder.reward_denied(id_, grant, reason, turn.traceparent))
    _keep(turn, name, replace(grant, state="denied", reason=reason, give_up=None, again_at=None))
    if reason != "erased" and not quiet:
        _tell_owner(turn, name, "read_reward", {"grant_id": grant.id, "reason": reason}, 2 * DAY)


def _take_back(turn: Turn, name: str, referral: Referral, status: str, *, quiet: bool) -> None:
    """It was refunded or rejected: claims end, and so does the reward."""
    grant = referral.grant
    if not referral.released:
        if referral.keys and referral.given is not None:
            turn.effects.append(turn.builder.claim_release(referral.id or name, referral.owner))
        put(turn, name, replace(referral, released=True))
    if grant is None:
        return
    if grant.state in ("held", "due"):
        _deny(turn, name, grant, status, quiet=quiet)  # type: ignore[arg-type]  # one of the two
    elif grant.state == "granted":
        turn.effects.append(turn.builder.grant_release(grant.id, grant.owner or turn.customer.referrals[name].owner))
        turn.effects.append(turn.builder.reward_reversed(referral.id or name, grant, status, turn.traceparent))
        _keep(turn, name, replace(grant, state="reversed", reason=status))
        if not quiet:
            _tell_owner(turn, name, "read_reward", {"grant_id": grant.id, "reason": status}, 2 * DAY)


def erased(turn: Turn) -> None:
    """The referrer is erased: what is not granted is denied, requests and claims are given back."""
    for name, referral in sorted(turn.customer.referrals.items(), key=lambda item: item[1].id or item[0]):
        if referral.grant is not None and referral.grant.state in ("held", "due"):
            _deny(turn, name, referral.grant, "erased")
        if referral.keys and referral.given is not None and not referral.released:
            turn.effects.append(turn.builder.claim_release(referral.id or name, referral.owner))


def merged(turn: Turn, before: Customer, other: Customer) -> None:
    """Two states have become one: of one referral under both ids one grant stays, and one id's claims (identity §3)."""
    for name in sorted(before.referrals.keys() & other.referrals.keys()):
        referral = turn.customer.referrals[name]
        stays, mine = referral.grant, referral_owner(referral, turn.customer)
        for state in (before, other):
            was = state.referrals[name]
            owner = referral_owner(was, state)
            if was.keys and was.given is not None and not was.released and owner != mine:
                turn.effects.append(turn.builder.claim_release(referral.id or name, owner))
            gone = was.grant
            if gone is None or stays is None or gone.id == stays.id or gone.state not in ("held", "due"):
                continue
            lost = replace(gone, owner=gone.owner or state.id)
            if lost.requested_at is not None:
                turn.effects.append(turn.builder.grant_release(lost.id, lost.owner))
            turn.effects.append(turn.builder.reward_denied(referral.id or name, lost, "duplicate", turn.traceparent))


def referral_owner(referral: Referral, c: Customer) -> str:
    """The id under which its contact is claimed."""
    return referral.owner or c.id


def tell(turn: Turn) -> None:
    """Tell the customer of a reward that no report carried, and none will (after §13)."""
    for name, referral in sorted(turn.customer.referrals.items(), key=lambda item: item[1].id or item[0]):
        grant = referral.grant
        if grant is None or grant.state != "granted" or grant.told:
            continue
        if (referral.quiet_until or 0) > turn.now or referral.report is not None:
            continue
        at = grant.granted_at or turn.now
        _keep(turn, name, replace(grant, told=True))
        need = Need(
            "reward_told", referral.id or name, at, at + DAY, reward_variables(referral), lasts=7 * DAY,
            ask=asked_by(turn.customer, referral), subject=name,
        )  # fmt: skip
        telling.request(turn, need)
