"""The checks of rewards, written from after §4, §5 and §12: caps and claims are counted here with code of our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from referral_stream.audit.after_evidence import AfterEvidence, OnLedger, Reward, Worth
from referral_stream.audit.commands import CLOCKS_DIFFER
from referral_stream.audit.findings import AuditCounts
from referral_stream.audit.followups import derived
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy

CAPPED_DAYS: Final = 365
Limit: TypeAlias = Callable[[Policy], int]
_FINAL: Final = frozenset({"granted", "denied", "reversed"})


@dataclass
class _OfGrant:
    """All that is said of one grant. ``rewards``: by their word, the first of each."""

    rewards: dict[str, Reward] = field(default_factory=dict)
    requested: list[OnLedger] = field(default_factory=list)
    confirmed: list[OnLedger] = field(default_factory=list)
    released: list[OnLedger] = field(default_factory=list)


class Rewards:
    """Makes the checks; ``requests_complete``: the beginning of ``ledger-requests`` is retained."""

    def __init__(
        self, evidence: AfterEvidence, policies: Mapping[str, Policy], tally: AuditCounts, *, requests_complete: bool
    ) -> None:
        self._evidence, self._policies, self._tally = evidence, policies, tally
        self._complete = requests_complete
        self._grants: dict[str, _OfGrant] = defaultdict(_OfGrant)
        self._out = {(each.grant, each.word) for each in evidence.rewards}
        for each in evidence.all_rewards:
            self._grants[each.grant].rewards.setdefault(each.word, each)
        for told in evidence.ledger:
            if told.grant:
                of, kind = self._grants[told.grant], told.kind.removeprefix("grant.")
                {"requested": of.requested, "confirmed": of.confirmed, "released": of.released}[kind].append(told)

    def check(self, events: str, rewards: str) -> None:
        """All checks. ``events``, ``rewards``: the names of these topics."""
        for grant, of in self._grants.items():
            self._one_way(grant, of, rewards)
            self._worth(grant, of)
            if self._complete:
                self._agreed(grant, of, events)
                self._settled(grant, of)
        self._one_of_each()
        if self._complete:
            self._recount()

    def _one_way(self, grant: str, of: _OfGrant, topic: str) -> None:
        """Its id; granted or denied; reversed after it was granted."""
        granted, denied, reversed_ = (of.rewards.get(word) for word in ("granted", "denied", "reversed"))
        for each in of.rewards.values():
            if grant != derived("grant", each.customer, each.referral):
                self._add("reward_granted_once", f"grant {grant} does not have the id of its referral", each)
        if granted is not None and denied is not None:
            self._add("reward_granted_once", f"grant {grant} is granted and denied", granted, denied)
        if reversed_ is None:
            return
        if granted is None:
            if not self._evidence.is_late(topic, reversed_.position.partition):
                self._add("reward_reversed_after", f"grant {grant} is reversed and was never granted", reversed_)
        elif reversed_.at < granted.at:
            self._add("reward_reversed_after", f"grant {grant} is reversed before it is granted", granted, reversed_)

    def _agreed(self, grant: str, of: _OfGrant, events: str) -> None:
        """Granted if and only if the ledger gave it, and was told so."""
        granted = of.rewards.get("granted")
        if granted is None:
            for told in of.confirmed[:1]:
                text = f"grant {grant} is confirmed, and no reward is granted"
                if not self._lapsed(told.position.partition):
                    self._add("reward_agreed", text, told)
            return
        if (grant, "granted") not in self._out:
            return
        if not of.confirmed:
            self._add("reward_agreed", f"grant {grant} is granted, and the ledger was not told", granted)
        elif len({told.now for told in of.confirmed}) > 1:
            self._add("reward_agreed", f"grant {grant} is confirmed for several requests", *of.confirmed)
        given = [
            each
            for log in self._evidence.logs.values()
            for each in log.granted.get(grant, ())
            if each.now <= granted.at
        ]
        if not given and not self._evidence.is_late(events):
            self._add("reward_agreed", f"grant {grant} is granted, and the ledger never gave it", granted)

    def _settled(self, grant: str, of: _OfGrant) -> None:
        """Whatever was asked of the ledger and answered, or ended, is confirmed or given back."""
        if not of.requested:
            return
        newest = max(of.requested, key=lambda each: each.now)
        logs = [log for log in self._evidence.logs.values() if grant in log.granted or grant in log.refused]
        answered = any(each.now >= newest.now for log in logs for each in (*log.granted[grant], *log.refused[grant]))
        if not answered and not _FINAL & of.rewards.keys():
            return  # it is on its way, or the ledger is away: it is asked again without end
        if not any(each.now >= newest.now for each in (*of.confirmed, *of.released)):
            self._add("grant_settled", f"grant {grant} was answered, and neither confirmed nor released", newest)
        over = "reversed" in of.rewards or ("denied" in of.rewards and "granted" not in of.rewards)
        if over and not any(each.now >= newest.now for each in of.released):
            self._add("grant_settled", f"grant {grant} counts on, though there is no reward", newest)

    def _one_of_each(self) -> None:
        """At most one grant per customer and referral."""
        known: dict[tuple[str, str], Reward] = {}
        for of in self._grants.values():
            granted = of.rewards.get("granted")
            if granted is None:
                continue
            first = known.setdefault((granted.customer, granted.referral), granted)
            if first is not granted:
                self._add("reward_granted_once", "one referral is rewarded twice", first, granted)

    def _worth(self, grant: str, of: _OfGrant) -> None:
        """What was offered to the customer, or what a policy says; held and granted alike."""
        held, granted = of.rewards.get("held"), of.rewards.get("granted")
        if held is not None and granted is not None and held.worth != granted.worth:
            self._add("reward_worth", f"grant {grant} is worth something else than when it was held", held, granted)
        for each in (held, granted):
            if each is None or (each.grant, each.word) not in self._out:
                continue
            offered = self._evidence.offers.get(each.customer, set())
            if self._evidence.log_of(each.customer).merged:
                offered = set().union(*self._evidence.offers.values())
            if each.worth in offered or each.worth in self._programmes:
                continue
            if each.policy not in self._policies or self._evidence.asks_lapsed:
                self._tally.unchecked["amounts of rewards whose offer or policy is not known"] += 1
                continue
            self._add("reward_worth", f"grant {grant} is worth what neither an offer nor the policy says", each)

    @property
    def _programmes(self) -> set[Worth]:
        return {
            (name, found.kind, found.amount_minor, found.currency, found.benefit)
            for policy in self._policies.values()
            for name, found in policy.rewards.programmes.items()
        }

    # ------------------------------------------------------------------------------------------------------- recounting

    def _recount(self) -> None:
        """Caps and claims, from ``ledger-requests`` and the rewards alone."""
        counted = []
        for grant, of in self._grants.items():
            granted = of.rewards.get("granted")
            if granted is None or not of.confirmed:
                continue
            if granted.policy not in self._policies:
                self._tally.unchecked[
                    f"caps of rewards under policy {granted.policy}, which is not among those given"
                ] += 1
                continue
            counted.append(_Counted(grant, granted, of.confirmed[0], _request_of(of), of.released))
        counted.sort(key=lambda each: (each.request.now, each.grant))
        self._caps(counted, "customer", lambda policy: policy.rewards.per_customer)
        self._caps(counted, "account", lambda policy: policy.rewards.per_account)
        self._firsts(counted)

    def _caps(self, counted: Sequence[_Counted], whose: str, most_of: Limit) -> None:
        alike: dict[str, list[_Counted]] = defaultdict(list)
        for each in counted:
            name = each.confirmed.customer if whose == "customer" else each.confirmed.account
            if name:
                alike[name].append(each)
        for grants in alike.values():
            most = max(most_of(self._policies[each.granted.policy]) for each in grants)
            for place, last in enumerate(grants):
                since = last.request.now - CAPPED_DAYS * DAY
                others = [
                    each for each in grants[:place] if each.request.now > since and each.counts_at(last.granted.at)
                ]
                if len(others) >= most:
                    text = f"a {whose} is rewarded more than {most} times within {CAPPED_DAYS} days"
                    self._add("grant_caps", text, *(each.granted for each in others), last.granted)

    def _firsts(self, counted: Sequence[_Counted]) -> None:
        """Nobody is rewarded for a contact, or a referral, that somebody else had named before, or was rewarded for."""
        claims = _Claims(self._evidence.ledger)
        days = min((policy.rewards.claim_days for policy in self._policies.values()), default=0)
        for each in counted:
            told = claims.earlier(each.confirmed, each.request, days * DAY)
            if told is not None:
                self._add(
                    "grant_caps", f"grant {each.grant} rewards what was named by another before", each.granted, told
                )
        holders: dict[str, list[_Counted]] = defaultdict(list)
        for each in counted:
            for key in (*each.confirmed.keys, f"referral {each.confirmed.referral}"):
                for other in holders[key]:
                    near = each.request.now - other.request.now < days * DAY
                    if near and other.counts_at(each.granted.at) and other.grant != each.grant:
                        text = f"grants {other.grant} and {each.grant} reward one contact"
                        self._add("grant_caps", text, other.granted, each.granted)
                holders[key].append(each)

    def _lapsed(self, partition: int) -> bool:
        return self._evidence.rewards_lapsed or any(partition in late for late in self._evidence.late.values())

    def _add(self, invariant: str, what: str, *about: Reward | OnLedger) -> None:
        self._tally.findings.add(invariant, what, *(each.position for each in about))


class _Counted(NamedTuple):
    """A reward that was granted, its confirmation, the request that it answers, and its releases."""

    grant: str
    granted: Reward
    confirmed: OnLedger
    request: OnLedger
    released: list[OnLedger]

    def counts_at(self, instant: int) -> bool:
        """Whether it had not been given back by then, as far as clocks of two workers can say."""
        return not any(self.request.now <= each.now <= instant + CLOCKS_DIFFER for each in self.released)


def _request_of(of: _OfGrant) -> OnLedger:
    """The request that was confirmed, else the confirmation itself, which has its instant."""
    now = of.confirmed[0].now
    return next((each for each in of.requested if each.now == now), of.confirmed[0])


class _Claims:
    """Who named which contact, from ``ledger-requests``."""

    def __init__(self, ledger: Iterable[OnLedger]) -> None:
        self._claims: dict[str, list[OnLedger]] = defaultdict(list)
        self._released: dict[tuple[str, str], list[OnLedger]] = defaultdict(list)
        for told in ledger:
            if told.kind == "contact.claimed":
                for key in (*told.keys, f"referral {told.referral}"):
                    self._claims[key].append(told)
            elif told.kind == "contact.released":
                self._released[told.customer, told.referral].append(told)

    def earlier(self, own: OnLedger, request: OnLedger, lasts: int) -> OnLedger | None:
        """A claim of another that counted when the request was answered, and came before all of one's own.

        It must have reached the topic some seconds before the request: what comes later is not known to the ledger.
        """
        name, since = (own.customer, own.referral), request.now - lasts
        for key in (*own.keys, f"referral {own.referral}"):
            counting = [each for each in self._claims[key] if since < each.now <= request.now]
            mine = [
                each.now
                for each in counting
                if (each.customer, each.referral) == name and not self._is_released(each, request)
            ]
            first = (min(mine, default=request.now), *name)
            for each in counting:
                told, other = (each.now, each.customer, each.referral), (each.customer, each.referral)
                in_time = each.timestamp + CLOCKS_DIFFER <= request.timestamp
                if other != name and told < first and in_time and not self._is_released(each, request):
                    return each
        return None

    def _is_released(self, claim: OnLedger, request: OnLedger) -> bool:
        released = self._released[claim.customer, claim.referral]
        return any(each.now >= claim.now and each.timestamp <= request.timestamp + CLOCKS_DIFFER for each in released)
