"""The ledger agent while Redis is away: facts wait, but not for ever, and nothing is told twice for nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from itertools import count
from random import Random

import pytest
from aiokafka.errors import NotLeaderForPartitionError
from faust_batches import NotOwner, Output, Rest

from referral_stream.contracts.codec import decode_event, decode_request, encode_effect, encode_event
from referral_stream.contracts.topics import Topics
from referral_stream.core.effects import (
    Effect,
    GrantHeld,
    LedgerRenewed,
    ReservationConfirmed,
    ReservationHeld,
    ReservationRequested,
)
from referral_stream.core.instants import SECOND
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger, Thrown
from referral_stream.core.ledger.switches import Page
from referral_stream.core.policy import Policy
from referral_stream.ledger import LedgerUnavailable, RedisLedger, Results
from referral_stream.runtime.clock import Clock
from referral_stream.stream import ledger_agent
from referral_stream.stream.generations import Begun
from referral_stream.stream.ledger_agent import LedgerAgent
from tests.ledger.builders import T0, a_claim, a_grant_request, a_pause, a_release, a_request, a_resumption, an_opening
from tests.rules import rule
from tests.stream.records import Consumed


class FlakyLedger:
    """Grants everything, and fails when it is asked for the second page of those to tell of a switch."""

    least = 0
    cluster = ""

    def __init__(self) -> None:
        self.rules, self.failed = MemoryLedger(Policy()), False

    async def apply(self, operations: Sequence[LedgerOperation]) -> Results:
        return Results(self.rules.apply(each) for each in operations)

    async def page(self, thrown: Thrown, now: int, after: str = "") -> Page:
        if after and not self.failed:
            self.failed = True
            raise LedgerUnavailable("a test")
        return self.rules.page(thrown, now, after, size=2)

    async def stopped(self, requests: Sequence[ReservationRequested]) -> list[bool]:
        return [self.rules.stopped(each) for each in requests]

    async def check(self) -> None:
        return

    async def claim(self) -> bool:
        return True

    async def abandon(self) -> None:
        return

    async def rebuild(self, records: AsyncIterator[LedgerOperation], number: int) -> bool:
        raise AssertionError(records, number)


class EmptyLog:
    """A log that nobody has written to yet."""

    number = 0

    async def cluster(self) -> str:
        return ""

    async def newest(self) -> int:
        return self.number

    async def begin(self, least: int) -> Begun:
        return Begun(least + 1, {})

    async def history(self, begun: Begun) -> AsyncIterator[LedgerOperation]:
        for number in range(begun.number, 0):
            raise AssertionError(number)
            yield


@rule("11.3")
async def test_a_pause_is_passed_on_in_pages_and_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_agent, "RETRY_SECONDS", 0)
    ledger, sent, kept = FlakyLedger(), list[list[str]](), list[Output]()
    for name in ("cem", "ana", "ben"):
        ledger.rules.request(a_request(name, customer=name))

    async def send(outputs: Sequence[Output]) -> None:
        if outputs[0].topic == "ledger-generations":
            assert sent == [], "what is told is kept first"
            kept.extend(outputs)
            return
        events = [decode_event(output.value or b"") for output in outputs]
        assert {event.type for event in events} == {"control.paused"}
        assert [output.key for output in outputs] == [event.subject.encode() for event in events]
        sent.append([event.subject for event in events])

    clock = Clock()
    monkeypatch.setattr(clock, "now", lambda: T0 + SECOND)
    agent = LedgerAgent(Topics(), ledger, clock, send=send, log=EmptyLog())
    record = Consumed("ledger-requests", 0, 0, 1, b"", encode_event(a_pause(now=T0)))
    await agent(0, [record], unread)

    assert sent == [["ana", "ben"], ["cem"]]
    assert [(each.key, decode_request(each.value or b"")) for each in kept] == [(b"all", a_pause(now=T0))]


@rule("11.3")
async def test_what_persons_do_with_switches_is_kept_where_nothing_lapses_and_what_the_breaker_does_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = list[Output]()

    async def send(outputs: Sequence[Output]) -> None:
        kept.extend(each for each in outputs if each.topic == "ledger-generations")

    clock = Clock()
    monkeypatch.setattr(clock, "now", lambda: T0 + SECOND)
    agent = LedgerAgent(Topics(), FlakyLedger(), clock, send=send, log=EmptyLog())
    burst = [encode_effect(an_opening(f"o{n}", now=T0), 1) for n in range(Policy().breaker.floor + 1)]
    words = [a_pause("segment", "smb", now=T0), a_resumption("segment", "smb", now=T0 + 1), a_pause(now=T0 - 1)]
    values = [*burst, *map(encode_event, words), encode_event(a_pause("segment", "smb", now=T0 - 5))]
    await agent(0, [Consumed("ledger-requests", 0, n, 1, b"", value) for n, value in enumerate(values)], unread)

    assert agent.paused.total() == 1, "the breaker's"
    assert [(each.key, decode_request(each.value or b"")) for each in kept] == [
        (b"segment smb", words[0]),
        (b"segment smb", words[1]),
        (b"all", words[2]),
    ], "the last one is older than what is known"


NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def unread(table: str, key: bytes) -> None:
    raise AssertionError(f"the ledger has no table {table}, {key!r}")


async def test_a_fact_waits_for_redis_until_its_partition_has_to_be_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Output] = []
    tries = count(1)

    async def send(outputs: Sequence[Output]) -> None:
        sent.extend(outputs)

    async with RedisLedger.connect(NOBODY_LISTENS, Policy(), timeout_seconds=20) as ledger:
        agent = LedgerAgent(Topics(), ledger, Clock(), send=send, log=EmptyLog(), leaving=lambda: next(tries) > 2)
        confirmed = ReservationConfirmed(command_id="c1", customer_id="ana", now=1)
        record = Consumed("ledger-requests", 0, 0, 1, b"ana", encode_effect(confirmed, 1))
        with caplog.at_level(logging.WARNING), pytest.raises(NotOwner):
            await agent(0, [record], unread)

    assert sent == []
    assert agent.available is False
    assert agent.failures == 3, "the turn, and two more tries"
    told = [entry.message for entry in caplog.records if entry.name == "referral_stream.stream.ledger_agent"]
    assert told == ["ledger_unavailable", "ledger_rebuild_failed"]


class Desk:
    """An agent at work on a partition, with a clock that the test sets; ``answers`` are its customers' in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger, self.now, self.fails, self.ids = FlakyLedger(), T0, 0, list[str]()
        self.log, self.answers, self.leaving = list[ReservationHeld | GrantHeld](), list[tuple[str, str]](), False
        self.agent = LedgerAgent(
            Topics(), self.ledger, clock := Clock(), send=self.send, log=EmptyLog(), leaving=lambda: self.leaving
        )
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(ledger_agent, "_LOOK_AGAIN_SECONDS", 0)

    async def send(self, outputs: Sequence[Output]) -> None:
        if self.fails:
            self.fails -= 1
            raise NotLeaderForPartitionError
        for output in outputs:
            if output.topic == "ledger-requests":
                held = decode_request(output.value or b"")
                assert isinstance(held, ReservationHeld | GrantHeld)
                assert output.partition == 3
                self.log.append(held)
            else:
                event = decode_event(output.value or b"")
                self.answers.append((event.subject, event.type.removeprefix("reservation.")))
                self.ids.append(event.id)

    async def take(self, *effects: Effect) -> Rest | None:
        """Let it take these records; what is left to do for them."""
        records = [Consumed("ledger-requests", 3, 0, 1, b"", encode_effect(each, 1)) for each in effects]
        return (await self.agent(3, records, unread)).rest

    @property
    def commands(self) -> list[str]:
        """Those granted in the log."""
        return [each.command_id for each in self.log if isinstance(each, ReservationHeld)]

    async def read_grants(self) -> None:
        log, self.log = self.log, []
        assert await self.take(*log) is None

    @property
    def remembered(self) -> set[str]:
        """The commands, or the types of other records, that the agent remembers of the partition."""
        asked = [operation for operation, _ in self.agent._desks[3].asked.values()]
        return {each.command_id if isinstance(each, ReservationRequested) else type(each).__name__ for each in asked}


WEAK = a_request("weak", customer="ana", account="acme", score=60, planned=T0)
STRONG = a_request("strong", customer="ben", account="acme", score=90, due=T0 + 60, planned=T0)


async def test_rivals_of_one_instant_wait_for_each_other_in_different_batches_and_the_best_is_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    first = await desk.take(WEAK)
    desk.now = T0 + 60
    second = await desk.take(STRONG)
    assert first is not None
    assert second is not None
    assert desk.answers == []

    desk.now = T0 + 160
    await asyncio.gather(first(), second())
    assert desk.answers == [("ana", "denied")]
    await desk.read_grants()
    assert desk.answers == [("ana", "denied"), ("ben", "granted")]


async def test_nobody_waits_for_the_rivals_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    waiting = await desk.take(WEAK)

    at_an_event = a_request("at once", customer="cem", account="other")
    assert await desk.take(at_an_event) is None
    await desk.read_grants()
    assert desk.answers == [("cem", "granted")]
    assert waiting is not None


async def test_what_waits_is_answered_at_once_when_the_partition_has_to_be_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    rest = await desk.take(WEAK)
    assert rest is not None
    desk.leaving = True
    await rest()
    assert desk.commands == ["weak"]


async def test_a_round_whose_answers_could_not_be_sent_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    rest = await desk.take(WEAK, STRONG)
    assert rest is not None
    desk.now, desk.fails = T0 + 100, 1
    with pytest.raises(NotLeaderForPartitionError):
        await rest()
    desk.now = T0 + 300

    await rest()
    assert desk.commands == ["strong"]
    assert desk.answers == [("ana", "denied")]


async def test_a_record_about_an_account_closes_its_round_for_an_earlier_batch_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    rest = await desk.take(WEAK)
    await desk.take(a_release("old", account="acme"))
    assert desk.commands == ["weak"]
    assert rest is not None
    await rest()


async def test_a_grant_behind_the_mark_of_a_newer_ledger_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    await desk.take(a_request(customer="ana"))
    (held,) = desk.log
    assert held.generation == 0
    await desk.take(LedgerRenewed(generation=1, now=T0), held)
    assert desk.answers == [("ana", "unavailable")]


@pytest.mark.parametrize("generation", [20_000, 10**9, 2**53 - 1])
async def test_a_mark_that_no_rebuild_can_have_written_is_a_dead_letter_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, generation: int
) -> None:
    desk = Desk(monkeypatch)
    forged = LedgerRenewed(generation=generation, now=T0)
    record = Consumed("ledger-requests", 3, 7, 1, b"", encode_effect(forged, 1))
    (letter,) = (await desk.agent(3, [record], unread)).outputs
    headers = dict(letter.headers)
    assert (letter.topic, desk.ledger.least) == ("dead-letters", 0)
    assert (letter.value, headers["source-offset"]) == (record.value, b"7")

    await desk.take(LedgerRenewed(generation=1, now=T0), a_request(customer="ana"))
    assert desk.ledger.least == 1
    assert desk.commands == ["command-1"]


@rule("A10.4")
async def test_a_reward_is_told_when_it_is_read_in_the_log_and_a_refusal_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    ana, ben = a_grant_request("r-ana", now=T0 + 1), a_grant_request("r-ben", customer="ben", now=T0 + 1)
    assert await desk.take(ben, ana, a_claim("r-ana")) is None
    assert desk.answers == [("ben", "grant.refused")]
    await desk.read_grants()
    assert desk.answers[1:] == [("ana", "grant.given")]

    await desk.take(ana)
    await desk.read_grants()
    assert desk.answers[2:] == [("ana", "grant.given")]
    assert desk.ids[2] == desk.ids[1], "asked again at the same instant, it is the same answer"
    again = ana.model_copy(update={"now": T0 + 30})
    await desk.take(again)
    await desk.read_grants()
    assert desk.answers[3:] == [("ana", "grant.given")]
    assert desk.ids[3] != desk.ids[2], "asked again later, it is another one"


@rule("A10.4")
async def test_a_reward_behind_the_mark_of_a_newer_ledger_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    await desk.take(a_grant_request())
    (held,) = desk.log
    await desk.take(LedgerRenewed(generation=1, now=T0), held)
    assert desk.answers == [("ana", "grant.unavailable")]


async def test_after_every_assignment_the_log_is_asked_for_the_newest_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, assignment = Desk(monkeypatch), 0
    log = EmptyLog()
    desk.agent.log, desk.agent.assignment = log, lambda: assignment
    await desk.take(a_request())
    log.number = 7
    await desk.take(a_release())
    assert desk.ledger.least == 0
    assignment = 1
    await desk.take(a_release())
    assert desk.ledger.least == 7


async def test_of_three_hundred_accounts_the_same_contacts_are_asked_as_in_a_fact_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice, desk = Random(7), Desk(monkeypatch)
    requests = [
        a_request(
            f"{account} {contact}", customer=f"{account} {contact}", account=f"{account}",
            score=dice.randint(50, 100), due=T0 + dice.randrange(90), planned=T0,
        )
        for account in range(300)
        for contact in range(3)
    ]  # fmt: skip
    requests.sort(key=lambda each: each.due)  # as their wake-ups arrive
    rests = []
    for begin in range(0, len(requests), 50):
        some = requests[begin : begin + 50]
        desk.now = some[-1].now
        rests.append(await desk.take(*some))
    desk.now = T0 + SECOND
    await asyncio.gather(*(rest() for rest in rests if rest is not None))

    replayed = MemoryLedger(Policy()).answer_round([each.model_copy(update={"due": T0}) for each in requests])
    best = {request.command_id for request, answer in replayed if answer.type == "reservation.granted"}
    assert len(best) == 300
    assert set(desk.commands) == best


async def test_only_what_waits_for_its_rivals_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what comes twice, what says that the ledger was renewed, or a batch that failed and comes again."""
    desk = Desk(monkeypatch)
    await desk.take(WEAK)
    for _ in range(3):
        await desk.take(WEAK, LedgerRenewed(generation=1, now=T0))
    desk.fails = 1
    with pytest.raises(NotLeaderForPartitionError):
        await desk.take(a_request("alone", customer="cem", account="other", score=60))
    assert desk.remembered == {"weak"}
    desk.leaving = True
    await desk.take(WEAK)
    desk.now = T0 + 10 * SECOND
    await desk.take()
    assert desk.remembered == set()


def test_patience_is_that_of_the_beginning_long_after_the_last_failover(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [1_000.0]
    monkeypatch.setattr(ledger_agent, "monotonic", lambda: shown[0])
    patience = ledger_agent._Patience()

    def waited() -> float:
        patience.lose()
        begun = shown[0]
        while not patience.is_over():
            shown[0] += 1
        return shown[0] - begun

    assert [waited() for _ in range(3)] == [10, 20, 40], "two workers that overtake each other"
    shown[0] += ledger_agent.PATIENCE_KEPT_SECONDS
    assert waited() == 10
