"""One pass over all topics: what had been published when it began is judged by the logs as they are a moment later."""

from __future__ import annotations

import time

from referral_stream.audit import commands as checks
from referral_stream.audit.after import LookAfter
from referral_stream.audit.appended import AppendedThere
from referral_stream.audit.context import Scene
from referral_stream.audit.findings import AuditReport, Position
from referral_stream.audit.partition import PartitionAudit
from referral_stream.audit.placement import partition_of
from referral_stream.audit.records import (
    CancelledAsk,
    Command,
    Misread,
    OnAsks,
    Other,
    OtherCommand,
    Request,
    Settled,
    digest,
    position,
    read_ask,
    read_request,
)
from referral_stream.contracts.codec import decode_event
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.records import RawRecord
from referral_stream.core.keys import customer_key


class Look:
    """Reads everything once: call :meth:`run` once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asks: dict[bytes, OnAsks] = {}
        """All that is on ``referral-asks``, by the digest of its value."""
        self._after = LookAfter(scene)

    def run(self, *, uncommitted: bool, settle_seconds: float) -> AuditReport:
        """Raises Unreadable."""
        scene = self._scene
        scene.begin()
        bodies = self._read_commands()
        self._after.read()
        time.sleep(settle_seconds)
        for partition in range(scene.partitions):
            PartitionAudit(scene, partition).run()
        self._read_asks_behind()
        self._after.read_behind()
        self._read_events_behind()
        self._compare_appended()
        self._read_requests()
        self._compare()
        for said in scene.after.all_said:
            scene.evidence.followups[said.customer].append(said.id)
        seen = self._read_uncommitted() if uncommitted else []
        compared = (each for each in seen if each.customer_id not in scene.evidence.left_out)
        checks.one_body([*bodies, *compared], scene.tally)
        if scene.fenced:
            checks.once(bodies, scene.tally)
        checks.inside_window(scene.evidence, scene.tally)
        checks.cool_downs(scene.evidence, scene.policies, scene.tally)
        checks.decided(scene.evidence, scene.tally)
        checks.reserved(scene.evidence, scene.tally)
        checks.not_merged_away(scene.evidence, scene.tally)
        checks.reservations_settled(scene.evidence, scene.tally)
        checks.cancellations_known(scene.evidence, scene.tally)
        self._after.check()
        return scene.tally.report()

    def _read_commands(self) -> list[Command]:
        """All published commands. The evidence gets the first body of each, and the cancellations."""
        scene, topic = self._scene, self._scene.names.asks
        bodies: list[Command] = []
        for partition, end in enumerate(scene.out[topic]):
            for record in scene.records(topic, partition, end=end):
                match self._read_ask(record):
                    case Command() as command:
                        bodies.append(command)
                        scene.tally.counts["reasons asked" if command.asks_reason else "asks"] += 1
                    case CancelledAsk() as cancellation:
                        scene.evidence.cancellations.append(cancellation)
                        scene.tally.counts["cancellations"] += 1
                    case OtherCommand():
                        scene.tally.counts["other commands"] += 1
                    case None:
                        pass
        scene.evidence.commands = list({command.command_id: command for command in reversed(bodies)}.values())
        return bodies

    def _read_ask(self, record: RawRecord) -> OnAsks | None:
        try:
            told = read_ask(record)
        except Misread as problem:
            self._scene.tally.findings.add("records_readable", str(problem), position(record))
            return None
        self._scene.check_output(record, told.customer_id)
        self._after.take_ask(record, told.customer_id)
        self._asks.setdefault(told.digest, told)
        if isinstance(told, Command):
            self._scene.evidence.asking.add(told.opportunity_id)
        return told

    def _read_asks_behind(self) -> None:
        """What has been published since: it may match what a fold makes, and is not judged itself."""
        topic = self._scene.names.asks
        for partition, start in enumerate(self._scene.out[topic]):
            for record in self._scene.records(topic, partition, start):
                self._read_ask(record)

    def _read_uncommitted(self) -> list[Command]:
        """All commands that any reader can have seen, including those of open and aborted transactions."""
        topic, found = self._scene.names.asks, []
        for partition, begin in enumerate(self._scene.begins[topic]):
            for record in self._scene.logs.read(topic, partition, begin, committed=False):
                try:
                    told = read_ask(record)
                except Misread as problem:
                    self._scene.tally.findings.add("records_readable", str(problem), position(record))
                    continue
                if isinstance(told, Command):
                    found.append(told)
        return found

    def _read_requests(self) -> None:
        """Evidence for the commands; and what a fold makes is ticked off. Other systems' requests are ignored."""
        scene, topic = self._scene, self._scene.names.requests
        for partition, end in enumerate(scene.logs.ends(topic)):
            for record in scene.records(topic, partition, end=end):
                scene.tally.counts["requests"] += 1
                self._take_request(record)
            # Transactions of all partitions meet here, and one that a dead worker left open hides what others have
            # committed behind it. What is there serves as evidence, and is judged once it is decided.
            for record in scene.logs.read(topic, partition, end, committed=False):
                self._take_request(record)

    def _take_request(self, record: RawRecord) -> None:
        scene, evidence = self._scene, self._scene.evidence
        try:
            told = read_request(record)
        except Misread as problem:
            scene.tally.findings.add("records_readable", str(problem), position(record))
            return
        scene.check_place(record)
        scene.expected.pop(digest(record.value), None)
        self._after.take_request(record)
        match told:
            case Request():
                if told.command_id in evidence.granted:
                    evidence.requests[told.command_id].append(told)
                if told.opportunity_id in evidence.asking:
                    evidence.reservations[told.opportunity_id].append(told)
            case Settled():
                evidence.settled[told.command_id].append(told)
            case Other():
                pass

    def _compare(self) -> None:
        """Commands and requests against what the folds make."""
        scene, names = self._scene, self._scene.names
        missing = {
            names.asks: "a command or cancellation",
            names.requests: "a request to the ledger",
            names.followups: "a follow-up or its cancellation",
            names.rewards: "a reward",
        }
        late = {
            names.asks: bool(scene.evidence.late_asks),
            names.requests: not scene.evidence.requests_complete,
            names.followups: scene.after.followups_lapsed,
            names.rewards: scene.after.rewards_lapsed,
        }
        for name, expected in scene.expected.items():
            there = expected.topic == names.asks and self._asks.pop(name, None) is not None
            there = there or self._after.is_there(name)
            if there or late[expected.topic] or (expected.topic, expected.key) in scene.oversized:
                continue
            scene.tally.findings.add("decisions_follow", f"{missing[expected.topic]} is missing", expected.cause)
        for told in self._asks.values():
            key = customer_key(told.customer_id).encode()
            if self._is_out(told.position) and scene.is_judged(key, partition_of(key, scene.partitions)):
                what = f"a record about command {told.command_id} follows from no record"
                scene.tally.findings.add("decisions_follow", what, told.position)

    def _read_events_behind(self) -> None:
        """What was appended to a partition after it was read: it may match what a later one makes."""
        scene = self._scene
        for partition in range(scene.partitions):
            for record in scene.records(scene.names.events, partition, scene.appended.read.get(partition)):
                try:
                    scene.appended.take(record, decode_event(record.value or b""))
                except Undecodable:
                    continue  # the next audit says so

    def _compare_appended(self) -> None:
        """What is missing, and what is too much among the records that were there when the pass began."""
        scene, appended = self._scene, self._scene.appended
        for what, causes in appended.made.items():
            missing = len(causes) - len(appended.there[what])
            lapsed = partition_of(what[0], scene.partitions) in scene.unfoldable
            if missing > 0 and not lapsed and (scene.names.events, what[0]) not in scene.oversized:
                text = "a record that one id appends to another is missing"
                scene.tally.findings.add("appends_follow", text, *causes[-missing:])
        for what, found in appended.there.items():
            surplus = len(found) - len(appended.made.get(what, ()))
            judged = [each.position for each in found if self._is_judged(each)]
            for each in judged[-surplus:] if surplus > 0 else ():
                scene.tally.findings.add("appends_follow", "a record of another id follows from no record", each)

    def _is_judged(self, each: AppendedThere) -> bool:
        scene = self._scene
        if not each.source:
            return self._is_out(each.position) and not (scene.unjudged or scene.unfoldable or scene.unstored)
        if each.source in scene.unstored:
            return False
        return self._is_out(each.position) and scene.is_judged(each.source, partition_of(each.source, scene.partitions))

    def _is_out(self, where: Position) -> bool:
        return where.offset < self._scene.out[where.topic][where.partition]
