"""The judge of a soak is judged: in a sound run full of outages it finds nothing, and it sees all tampering.

No server: `held_up` makes the runs. The first seed is the one of a soak in which a removed ask once went unnoticed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import orjson
import pytest
from msgspec.structs import replace as replace_struct

from referral_stream.contracts.deadletters import dead_letter
from referral_stream.contracts.records import RawRecord
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.ids import derived_id
from referral_stream.policy_file.reading import parse_policy
from tests.chaos.excuses import Compared, Early, Live, Unanswered, announces, is_fact, lives
from tests.chaos.held_up import held_up
from tests.chaos.identities import must_not_be_asked
from tests.chaos.soak import SOAK_POLICY
from tests.chaos.verdict import Judge, SoakRecords, against_their_word
from tests.integration.live import Said, parsed

SEEDS: Final = (743596, 7)
GROUPS: Final = 150


@dataclass(frozen=True)
class SoundRun:
    records: SoakRecords
    judge: Judge

    @property
    def asked(self) -> list[Said]:
        return [each for each in self.records.asks if isinstance(each.effect, AskRequested)]

    def live(self, customer: str, asks: list[Said], decisions: list[Said]) -> tuple[int, Live]:
        """The group of that customer, and what was done about it according to these."""
        place = next(n for n, group in enumerate(self.records.groups) if customer in group)
        group = set(self.records.groups[place])
        of_group = [[each for each in said if each.effect.customer_id in group] for said in (asks, decisions)]
        return place, lives(self.records.groups, *of_group)[place]

    def compared(self, changed: Said, asks: list[Said], decisions: list[Said] | None = None) -> Compared:
        """What is found about the group of the one that was tampered with, if these are all asks and decisions."""
        kept = self.records.decisions if decisions is None else decisions
        return self.judge.oracle.compare(*self.live(changed.effect.customer_id, asks, kept))

    def without(self, *gone: Said) -> list[Said]:
        return [each for each in self.records.asks if all(each is not other for other in gone)]


@cache
def run(seed: int) -> SoundRun:
    policy = parse_policy(SOAK_POLICY.encode())
    records = held_up(policy, seed, GROUPS)
    return SoundRun(records, Judge(records, policy))


@pytest.fixture(params=SEEDS)
def held(request: pytest.FixtureRequest) -> SoundRun:
    return run(request.param)


def test_a_run_that_is_held_up_is_sound_and_every_excuse_names_its_facts(held: SoundRun) -> None:
    verdict = held.judge.verdict(held.records)
    assert {name: found for name, found in verdict.problems.items() if found} == {}
    arrived = {str(parsed(each)["id"]): int(each.header("now") or 0) for each in held.records.events if is_fact(each)}
    for excuse in verdict.excuses:
        assert excuse.facts
        if isinstance(excuse.why, Early):
            assert all(arrived[fact] <= excuse.decided for fact in excuse.facts)
            assert excuse.due < excuse.decided


def test_the_runs_need_excuses_of_both_kinds() -> None:
    kinds = Counter(type(excuse.why) for seed in SEEDS for excuse in run(seed).judge.verdict(run(seed).records).excuses)
    assert kinds[Early] > 0
    assert kinds[Unanswered] > 0


def test_each_single_ask_is_missed_if_it_is_removed(held: SoundRun) -> None:
    assert len(held.asked) > GROUPS / 3
    for each in held.asked:
        found = held.compared(each, held.without(each))
        assert {ask.customer for ask in found.lost} == {each.effect.customer_id}, each.effect
        assert found.announced != []


def test_each_single_ask_is_missed_even_if_the_decisions_from_then_on_are_removed_with_it(held: SoundRun) -> None:
    """What a fault could do: the record of the decision and all that followed are lost with the command."""
    for each in held.asked:
        assert isinstance(each.effect, AskRequested)
        opportunity = each.effect.opportunity_id
        of_it = [d for d in held.records.decisions if getattr(d.effect, "opportunity_id", "") == opportunity]
        first = next(n for n, d in enumerate(of_it) if announces(d, each.effect.command_id))
        gone = {id(d) for d in of_it[first:]}
        left = [d for d in held.records.decisions if id(d) not in gone]
        assert {ask.customer for ask in held.compared(each, held.without(each), left).lost} == {each.effect.customer_id}


def test_facts_that_forbid_nothing_excuse_nothing(held: SoundRun) -> None:
    """There are late asks with facts in between among those whose removal is noticed; such facts once excused it."""
    facts = [each for each in held.records.events if is_fact(each)]
    overtaken = 0
    for each in held.asked:
        assert isinstance(each.effect, AskRequested)
        place, live = held.live(each.effect.customer_id, held.records.asks, held.records.decisions)
        group = {name.encode() for name in held.records.groups[place]}
        due = {ask.command: at for ask, at in held.judge.oracle.compare(place, live).due.items()}
        since = due.get(each.effect.command_id, each.now)
        overtaken += any(since < int(fact.header("now") or 0) <= each.now for fact in facts if fact.key in group)
    assert overtaken > 0


def test_an_ask_too_many_is_noticed_for_every_customer(held: SoundRun) -> None:
    template = held.asked[0]
    for customer in (name for group in held.records.groups for name in group):
        command = derived_id("command", customer, "nps_promoter", "made up", 1)
        made_up = {"customer_id": customer, "command_id": command, "subject": "made up", "opportunity_id": command}
        added = replace(template, effect=template.effect.model_copy(update=made_up))
        found = held.compared(added, [*held.records.asks, added])
        assert command in {ask.command for ask in found.unexpected}, customer
        assert must_not_be_asked(customer) == bool(against_their_word([added]))


def test_an_ask_for_whatever_was_decided_against_is_noticed(held: SoundRun) -> None:
    """The most likely wrong one: a real opportunity, its own command id, at the instant of the decision."""
    template = held.asked[0]
    asked = {each.effect.command_id for each in held.asked if isinstance(each.effect, AskRequested)}
    tried = 0
    for each in held.records.decisions:
        if not isinstance(each.effect, Decision) or each.effect.outcome in ("duplicate", "pending"):
            continue
        decision = each.effect
        command = derived_id("command", decision.customer_id, decision.trigger, decision.subject, 1)
        if command in asked:
            continue
        names = ("customer_id", "opportunity_id", "trigger", "subject")
        fields = {name: getattr(decision, name) for name in names} | {"command_id": command}
        added = replace(template, now=each.now, effect=template.effect.model_copy(update=fields))
        rivals = [a for a in held.asked if a.effect.customer_id == decision.customer_id]
        assert not held.compared(added, [*held.records.asks, added]).is_sound, decision
        assert not held.compared(added, [*held.without(*rivals), added]).is_sound, f"in its place: {decision}"
        tried += 1
    assert tried > GROUPS / 3


def test_each_ask_that_comes_too_early_is_noticed(held: SoundRun) -> None:
    for each in held.asked:
        early = replace(each, now=each.now - 3_600_000)
        assert not held.compared(each, [*held.without(each), early]).is_sound, each.effect


def test_what_every_customer_was_told_is_compared_with_the_replay_and_what_is_kept_with_the_fold(
    held: SoundRun,
) -> None:
    """These comparisons know no excuse, so that all may be tampered with at once."""
    records = held.records
    names = {each.effect.customer_id for each in records.decisions if isinstance(each.effect, Decision)}
    states, keys = dict(records.customers), sorted(records.customers)
    swapped = dict(zip(keys, [states[key] for key in (*keys[1:], keys[0])], strict=True))
    problems = held.judge.verdict(replace(records, decisions=[], customers=swapped, wakeups={})).problems
    assert {line.split(":")[0] for line in problems["outputs that a replay does not make"]} == {
        f"decisions of {name}" for name in names
    }
    assert len(problems["states that a fold does not give"]) == len(states)
    assert len(problems["wake-ups that do not fit the state"]) == len(records.wakeups)


@dataclass(frozen=True)
class Tampered:
    """What is done to the topics of what follows an ask, and what is said of it."""

    problem: str
    records: SoakRecords


def first_of(records: list[RawRecord], type_: str, **body: str) -> RawRecord:
    told = ((each, parsed(each)) for each in records if each.value is not None)
    return next(
        each
        for each, message in told
        if message["type"] == type_ and all(message["data"].get(name) == word for name, word in body.items())
    )


def without(records: list[RawRecord], gone: RawRecord) -> list[RawRecord]:
    return [each for each in records if each is not gone]


def tampered(r: SoakRecords) -> list[Tampered]:
    thanks = first_of(r.followups, "referral.followup.requested", kind="thank")
    withdrawn = first_of(r.followups, "referral.followup.cancelled")
    granted = first_of(r.rewards, "referral.reward.granted")
    reversed_ = first_of(r.rewards, "referral.reward.reversed")
    stopped = first_of(r.events, "ask.answered", answer="stop")
    name = str(parsed(stopped)["data"]["command_id"])
    offer = first_of(r.followups, "referral.followup.requested", kind="intro_offer", command_id=name)
    late = replace_struct(offer, headers=(("now", b"%d" % (int(stopped.header("now") or 0) + 1)),))
    newest = next(each for each in reversed(r.kept) if each.value is not None)
    other = replace_struct(newest, value=(newest.value or b"").replace(b'"times_asked":', b'"times_asked":1'))
    return [
        Tampered("follow-ups lost or made up", replace(r, followups=without(r.followups, thanks))),
        Tampered("follow-ups lost or made up", replace(r, followups=without(r.followups, withdrawn))),
        Tampered("follow-ups lost or made up", replace(r, followups=[*r.followups, thanks])),
        Tampered("grants lost", replace(r, rewards=without(r.rewards, granted))),
        Tampered("grants twice", replace(r, rewards=[*r.rewards, granted])),
        Tampered("outputs that a replay does not make", replace(r, rewards=without(r.rewards, reversed_))),
        Tampered("follow-ups after a stop", replace(r, followups=[*r.followups, late])),
        Tampered("records that differ", replace(r, kept=without(r.kept, newest))),
        Tampered("records that differ", replace(r, kept=[*r.kept, other])),
        Tampered("records that differ", replace(r, kept=[*r.kept, replace_struct(newest, value=None)])),
        Tampered("outputs that a replay does not make", replace(r, requests=_without_claims(r))),
    ]


def _without_claims(r: SoakRecords) -> list[RawRecord]:
    return without(r.requests, first_of(r.requests, "contact.claimed"))


@pytest.mark.parametrize("number", range(11))
def test_whatever_is_wrong_with_what_follows_is_noticed(held: SoundRun, number: int) -> None:
    case = tampered(held.records)[number]
    assert held.judge.verdict(case.records).problems[case.problem] != []


def test_the_oracle_notices_what_a_replay_would_repeat(held: SoundRun) -> None:
    """Whatever the core forgets, a replay forgets too: the oracle does not."""
    thanks = first_of(held.records.followups, "referral.followup.requested", kind="thank")
    granted = first_of(held.records.rewards, "referral.reward.granted")
    forgetful = replace(
        held.records,
        followups=without(held.records.followups, thanks),
        rewards=without(held.records.rewards, granted),
    )
    problems = held.judge.verdict(forgetful).problems
    for problem, id_ in (("follow-ups lost or made up", parsed(thanks)["id"]), ("grants lost", grant_of(granted))):
        assert any("only the oracle has" in line and id_ in line for line in problems[problem])


def grant_of(record: RawRecord) -> str:
    return str(parsed(record)["data"]["grant_id"])


def test_there_is_something_that_follows(held: SoundRun) -> None:
    counts = held.judge.verdict(held.records).counts
    assert counts["follow-ups"] > GROUPS / 3
    assert counts["grants"] > GROUPS / 20
    assert counts["records"] > GROUPS / 3


def test_an_announced_command_that_nobody_made_is_noticed_whoever_was_meant(held: SoundRun) -> None:
    problems = held.judge.verdict(replace(held.records, asks=[])).problems
    assert len(problems["commands announced and not made"]) == len(held.asked)


def test_a_dead_letter_that_holds_its_customer_excuses_what_they_were_not_asked_and_nothing_more(
    held: SoundRun,
) -> None:
    gone = held.asked[0]
    assert isinstance(gone.effect, AskRequested)
    record = replace_struct(held.records.events[0], key=gone.effect.customer_id.encode())
    letter = dead_letter(record, error="state_too_large: for a test", stage="decide", occurred_at=gone.now)
    written = replace_struct(record, topic="dead-letters", value=letter.value, headers=letter.headers)
    kept = [each for each in held.records.decisions if not announces(each, gone.effect.command_id)]
    tampered = replace(held.records, asks=held.without(gone), decisions=kept)
    assert held.judge.verdict(tampered).problems["asks lost"] != []
    on_hold = replace(tampered, letters=[written])
    judge = Judge(on_hold, parse_policy(SOAK_POLICY.encode()))
    verdict = judge.verdict(on_hold)
    assert (verdict.problems["asks lost"], verdict.counts["asks excused by a hold"]) == ([], 1)
    made_up = gone.effect.model_copy(update={"command_id": "another", "subject": "made up"})
    added = replace(on_hold, asks=[*on_hold.asks, replace(gone, effect=made_up)])
    assert judge.verdict(added).problems["asks nobody should have been asked"] != []


def test_who_is_asked_in_the_place_of_one_on_hold_who_would_have_been_held_out_is_excused_and_nobody_else(
    held: SoundRun,
) -> None:
    """Two people with one address: the ledger gives their one ask to whoever comes, if the other is away."""
    drawn = next(
        each
        for each in held.records.decisions
        if isinstance(each.effect, Decision)
        and each.effect.outcome == "holdout"
        and not must_not_be_asked(each.effect.customer_id)
    )
    away = drawn.effect.customer_id
    place = next(n for n, group in enumerate(held.records.groups) if away in group)
    groups = [(*group, "the other") if n == place else group for n, group in enumerate(held.records.groups)]
    some = held.asked[0]
    instead = replace(some, now=drawn.now + 1, effect=some.effect.model_copy(update={"customer_id": "the other"}))
    decisions = [each for each in held.records.decisions if each is not drawn]
    seen = replace(held.records, groups=groups, decisions=decisions, asks=[*held.records.asks, instead])
    record = replace_struct(held.records.events[0], key=away.encode())
    letter = dead_letter(record, error="state_too_large: for a test", stage="decide", occurred_at=drawn.now)
    written = replace_struct(record, topic="dead-letters", value=letter.value, headers=letter.headers)

    def unexpected(records: SoakRecords) -> list[str]:
        judge = Judge(records, parse_policy(SOAK_POLICY.encode()))
        return judge.verdict(records).problems["asks nobody should have been asked"]

    assert unexpected(seen) != []
    assert unexpected(replace(seen, letters=[written])) == []
    assert unexpected(replace(seen, letters=[written], decisions=held.records.decisions)) != []


def test_an_ask_taken_back_for_a_hold_that_was_undone_may_be_taken_back_for_another_reason(held: SoundRun) -> None:
    back = next(each for each in held.records.asks if isinstance(each.effect, AskCancelled))

    def written(reason: str) -> RawRecord:
        body = parsed(back.record)
        data = {**body["data"], "gate": "trouble", "reason": reason}
        return replace_struct(back.record, offset=back.record.offset + 1, value=orjson.dumps({**body, "data": data}))

    def problems(reason: str) -> list[str]:
        undone = replace(held.records, uncommitted=[*held.records.uncommitted, written(reason)])
        done = replace(held.records, asks=[*held.records.asks, replace(back, record=written(reason))])
        found = [held.judge.verdict(records).problems["commands with two bodies"] for records in (undone, done)]
        return [each for some in found for each in some]

    assert problems("an event of this customer could not be applied") == []
    assert len(problems("ticket 4711 is open")) == 2  # undone, and done


def test_a_reward_that_a_refund_forbids_while_the_ledger_is_silent_is_excused_and_no_other(held: SoundRun) -> None:
    granted = first_of(held.records.rewards, "referral.reward.granted")
    gone = replace(held.records, rewards=without(held.records.rewards, granted))
    asked = next(
        each
        for each in held.records.requests
        if parsed(each).get("type") == "grant.requested" and grant_of(each) == grant_of(granted)
    )
    again = replace(gone, requests=[*gone.requests, replace_struct(asked, offset=asked.offset + 100_000)])

    def told(records: SoakRecords) -> bool:
        problems = held.judge.verdict(records).problems["grants lost"]
        return any("only the oracle has" in line and grant_of(granted) in line for line in problems)

    assert (told(gone), told(again)) == (True, False)
    assert held.judge.verdict(again).problems["grants lost"] != [], "the replay of the log still knows of it"


def test_an_ask_that_was_made_in_another_way_is_excused_by_a_fact_in_between_and_by_nothing_else(
    held: SoundRun,
) -> None:
    """On a slow machine a milestone came while the ledger was asked for a soft ask: it became a direct one."""
    came = defaultdict(list)
    for each in filter(is_fact, held.records.events):
        came[(each.key or b"").decode()].append(int(each.header("now") or 0))
    ask, later = next(
        (ask, at)
        for ask in held.asked
        if isinstance(ask.effect, AskRequested) and ask.effect.mode == "direct"
        for at in sorted(came[ask.effect.customer_id])
        if at > ask.now
    )
    softly = replace(ask, effect=ask.effect.model_copy(update={"mode": "soft"}))
    at_once = replace(held.records, asks=[*held.without(ask), softly])
    assert held.judge.verdict(at_once).problems["asks lost"] != []
    afterwards = replace(held.records, asks=[*held.without(ask), replace(softly, now=later)])
    verdict = held.judge.verdict(afterwards)
    assert verdict.problems["asks lost"] == verdict.problems["asks nobody should have been asked"] == []
    assert verdict.counts["asks excused by a fact meanwhile"] == 1
