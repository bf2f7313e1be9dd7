"""The part of a pass that is about what follows an ask: it reads four topics more, and makes their checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from referral_stream.audit import followups, kept
from referral_stream.audit.after_evidence import (
    Reward,
    Said,
    TakenBack,
    command_of,
    read_followup,
    read_on_ledger,
    read_reward,
)
from referral_stream.audit.context import Scene
from referral_stream.audit.findings import Position
from referral_stream.audit.placement import partition_of
from referral_stream.audit.records import Misread, position
from referral_stream.audit.rewards import Rewards
from referral_stream.contracts.records import RawRecord
from referral_stream.core.keys import customer_key


class LookAfter:
    """Reads and judges; the calls are in the order of a pass: read, read_behind, is_there, check."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._evidence = scene, scene.after
        self._there: dict[bytes, Said | TakenBack | Reward] = {}
        """All that is on the topics of follow-ups and rewards, by digest; what the folds make is ticked off."""
        self._asked: dict[str, set[str]] = defaultdict(set)

    # -------------------------------------------------------------------------------------------------------- reading

    def read(self) -> None:
        """What had been published when the pass began. Raises Unreadable."""
        names = self._scene.names
        for topic, take in ((names.followups, self._take_followup), (names.rewards, self._take_reward)):
            for partition, end in enumerate(self._scene.out.get(topic, ())):
                for record in self._scene.records(topic, partition, end=end):
                    self._read(record, take, out=True)

    def read_behind(self) -> None:
        """What has been published since; and the compacted topics as they are now. Raises Unreadable."""
        scene, names = self._scene, self._scene.names
        for topic, take in ((names.followups, self._take_followup), (names.rewards, self._take_reward)):
            for partition, start in enumerate(scene.out.get(topic, ())):
                for record in scene.records(topic, partition, start):
                    self._read(record, take, out=False)
        for topic, take_kept in ((names.records, self._take_record), (names.contacts, self._take_contact)):
            for partition in range(len(scene.out.get(topic, ()))):
                for record in scene.records(topic, partition):
                    self._read(record, take_kept, out=False)

    def take_request(self, record: RawRecord) -> None:
        """A record of ``ledger-requests`` that could be read."""
        try:
            told = read_on_ledger(record)
        except Misread as problem:
            self._misread(record, problem)
            return
        if told is not None:
            self._evidence.ledger.append(told)

    def take_ask(self, record: RawRecord, customer: str) -> None:
        """A record of ``referral-asks`` that could be read."""
        command, offer = command_of(record)
        self._asked[customer].add(command)
        if offer is not None:
            self._evidence.offers[customer].add(offer)

    def _read(self, record: RawRecord, take: Callable[[RawRecord, bool], None], *, out: bool) -> None:
        try:
            take(record, out)
        except Misread as problem:
            self._misread(record, problem)

    def _take_followup(self, record: RawRecord, out: bool) -> None:  # noqa: FBT001 (a row of a table calls it)
        told = read_followup(record)
        self._scene.check_output(record, told.customer)
        self._there.setdefault(told.digest, told)
        self._evidence.take_followup(told, out=out)
        if out:
            self._scene.tally.counts["follow-ups" if isinstance(told, Said) else "follow-ups cancelled"] += 1

    def _take_reward(self, record: RawRecord, out: bool) -> None:  # noqa: FBT001 (as above)
        told = read_reward(record)
        self._scene.check_output(record, told.customer)
        self._there.setdefault(told.digest, told)
        self._evidence.take_reward(told, out=out)
        if out:
            self._scene.tally.counts[f"rewards {told.word}"] += 1

    def _take_record(self, record: RawRecord, _: bool) -> None:  # noqa: FBT001 (as above)
        customer = self._scene.kept.take_record(record)
        if customer is None:
            self._scene.check_place(record)
        else:
            self._scene.check_output(record, customer)

    def _take_contact(self, record: RawRecord, _: bool) -> None:  # noqa: FBT001 (as above)
        self._scene.check_place(record)
        self._scene.kept.take_contact(record)

    def _misread(self, record: RawRecord, problem: Misread) -> None:
        self._scene.tally.findings.add("records_readable", str(problem), position(record))

    # -------------------------------------------------------------------------------------------------------- judging

    def is_there(self, name: bytes) -> bool:
        """Whether what a fold makes is on one of the two topics; ticks it off."""
        return self._there.pop(name, None) is not None

    def check(self) -> None:
        """All checks; what no fold has made is found too."""
        scene, evidence, names = self._scene, self._evidence, self._scene.names
        scene.tally.counts["records"] = len(scene.kept.newest)
        scene.tally.counts["contacts named"] = len(scene.kept.names)
        self._compare_made()
        followups.one_body((*evidence.said, *evidence.back, *evidence.rewards), scene.tally, fenced=scene.fenced)
        followups.wanted(evidence, scene.tally)
        followups.caused(evidence, scene.tally, names.events, names.followups)
        followups.cancellations_known(evidence, scene.tally, names.followups)
        complete = scene.evidence.requests_complete
        if scene.has(names.rewards):
            rewards = Rewards(evidence, scene.policies, scene.tally, requests_complete=complete)
            rewards.check(names.events, names.rewards)
        if scene.has(names.records):
            self._compare_records()
            kept.recounted(scene.kept, evidence, None if evidence.asks_lapsed else self._asked, scene.tally)
        whole = not evidence.is_late(names.events)
        kept.names_apart(scene.kept, evidence, scene.out.get(names.contacts, []), scene.tally, complete=whole)

    def _compare_made(self) -> None:
        for told in self._there.values():
            key = customer_key(told.customer).encode()
            if self._is_out(told.position) and self._scene.is_judged(key, self._home(key)):
                what = "a record about a reward" if isinstance(told, Reward) else "a record about a follow-up"
                self._scene.tally.findings.add("decisions_follow", f"{what} follows from no record", told.position)

    def _compare_records(self) -> None:
        """Each record must be one that the fold makes, and the newest its newest."""
        scene, findings = self._scene, self._scene.tally.findings
        for name in scene.kept.made.keys() | scene.kept.there.keys():
            key = customer_key(name.decode("utf-8", "replace")).encode()
            if not scene.is_judged(key, self._home(key)) or (scene.names.records, name) in scene.oversized:
                continue
            made, there = scene.kept.made.get(name, []), scene.kept.there.get(name, [])
            for each in there:
                if each.digest not in made and self._is_out(each.position):
                    findings.add("record_is_fold", "a record follows from nothing that happened", each.position)
            if not there:
                if made and made[-1] != kept.FORGOTTEN:  # a tombstone is gone after a while
                    findings.add("record_is_fold", "the record of a customer is missing", self._cause(key))
            elif made and there[-1].digest != made[-1] and self._is_out(there[-1].position):
                findings.add("record_is_fold", "the newest record of a customer is missing", there[-1].position)

    def _cause(self, key: bytes) -> Position:
        """Where the customer's state lies: a record that is missing has no position."""
        return Position(self._scene.names.customers, self._home(key), 0)

    def _home(self, key: bytes) -> int:
        return partition_of(key, self._scene.partitions)

    def _is_out(self, where: Position) -> bool:
        return where.offset < self._scene.out[where.topic][where.partition]
