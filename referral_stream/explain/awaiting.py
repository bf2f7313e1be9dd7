"""What is awaited after an ask, and by when: an answer, a report, somebody's care or approval, time, the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from referral_stream.core.after import grants
from referral_stream.core.customer import Customer
from referral_stream.core.followups import FollowUp
from referral_stream.core.grants import Grant
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import zone
from referral_stream.words.afterwards import followup_words, hints_words, reward_words
from referral_stream.words.decisions import clock_words, happening
from referral_stream.words.phrases import phrases

AwaitedKind: TypeAlias = Literal["report", "answer", "follow-up", "care", "status", "reward"]


@dataclass(frozen=True)
class Awaited:
    """Something that is to come: of which kind, in plain words, and until or at which instant (epoch ms), if any."""

    kind: AwaitedKind
    text: str
    by: int | None = None


def awaited(c: Customer, now: int, policy: Policy) -> list[Awaited]:
    """What is awaited from and about this customer at ``now``, the soonest first, what has no instant last."""
    if c.erased_at is not None:
        return []
    of = _Of(c, now, policy, zone_of(c, policy).name)
    found = [*of.asks(), *of.followups(), *of.referrals()]
    return sorted(found, key=lambda each: (each.by is None, each.by or 0))


@dataclass(frozen=True)
class _Of:
    c: Customer
    now: int
    policy: Policy
    local: str

    def asks(self) -> Iterator[Awaited]:
        words, silence = phrases(), self.policy.answers.silence_after_days * DAY
        for ask in self.c.asks:
            if ask.kind not in ("asked", "soft") or ask.answered or ask.cancelled:
                continue
            trigger = happening(ask.opportunity.trigger)
            if ask.sent_at is not None:
                silent = ask.sent_at + silence
                if self.now < silent:
                    text = words.say("awaiting", "answer", trigger=trigger, instant=self._clock(silent))
                    yield Awaited("answer", text, silent)
            elif ask.failed_at is None and self.now < ask.expires_at:
                text = words.say("awaiting", "report", trigger=trigger, instant=self._clock(ask.expires_at))
                yield Awaited("report", text, ask.expires_at)

    def followups(self) -> Iterator[Awaited]:
        for followup in self.c.followups:
            if followup.is_open(self.now):
                yield self._followup(followup)

    def _followup(self, followup: FollowUp) -> Awaited:
        words, about = phrases(), self.c.referrals.get(followup.subject)
        fields: dict[str, Any] = {"referral_id": followup.subject or None}
        if about is not None and followup.kind == "take_care":
            fields["consented"] = str(about.consented).lower()
        if followup.kind == "report_back":
            fields["status"] = followup.about.rpartition("/")[2]
        what, due = followup_words(followup.kind, fields), self._clock(followup.due_by)
        late = words.word("words", "late") if self.now >= followup.due_by else None
        text = words.say("awaiting", "to_say" if followup.to_customer else "for_owner", what=what, due=due, late=late)
        return Awaited("follow-up", text, followup.due_by)

    def referrals(self) -> Iterator[Awaited]:
        words = phrases()
        open_care = {f.subject for f in self.c.followups if f.kind == "take_care" and f.is_open(self.now)}
        for name, referral in self.c.referrals.items():
            named = referral.id or name
            if referral.care_late and not referral.taken and name not in open_care:
                due = None if referral.care_due is None else self._clock(referral.care_due)
                yield Awaited("care", words.say("awaiting", "care_late", referral=named, instant=due))
            if (report := referral.report) is not None and report.at == referral.at:
                at = self._clock(report.due)
                text = words.say("awaiting", "status", referral=named, status=report.status, instant=at)
                yield Awaited("status", text, report.due)
            if referral.grant is not None:
                yield from self._reward(named, referral.grant)

    def _reward(self, referral: str, grant: Grant) -> Iterator[Awaited]:
        words = phrases()
        promise = grant.promise.offer().model_dump(exclude_none=True)
        reward = reward_words(promise)
        if grant.state == "held":
            why, until = hints_words(list(grant.hints)), grant.lapses_at or self.now
            instant = self._clock(until)
            text = words.say("awaiting", "approval", referral=referral, reward=reward, why=why, instant=instant)
        elif grant.state == "due":
            if (until := grant.give_up or 0) > 0:
                instant = self._clock(until)
                text = words.say("awaiting", "ledger", referral=referral, reward=reward, instant=instant)
            elif (until := grant.again_at or 0) > self.now:
                instant = self._clock(until)
                text = words.say("awaiting", "again", referral=referral, reward=reward, instant=instant)
            else:
                until = grants.due_at(grant, self.policy)
                instant = self._clock(until)
                text = words.say("awaiting", "holding", referral=referral, reward=reward, instant=instant)
        elif grant.state == "granted" and grant.settled is None:
            yield Awaited("reward", words.say("awaiting", "delivery", referral=referral, reward=reward))
            return
        else:
            return
        yield Awaited("reward", text, until)

    def _clock(self, instant: int) -> str:
        return clock_words(instant, zone(self.local))
