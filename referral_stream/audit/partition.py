"""One partition: its states against a fold of its log, its decisions against the fold's, its wake-ups against both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from referral_stream.audit.after_evidence import LogEvent
from referral_stream.audit.commands import ASKED, WITHHELD, Granted, HandedOver, ReportedAsk
from referral_stream.audit.context import Expected, Scene
from referral_stream.audit.findings import Position
from referral_stream.audit.folding import FOLLOWUPS, REWARDS, Fold, Made
from referral_stream.audit.kept import FORGOTTEN, PERSONAL
from referral_stream.audit.placement import partition_of
from referral_stream.audit.policies import PolicyRuns
from referral_stream.audit.records import Decided, Misread, digest, position, read_decision
from referral_stream.contracts.catalogue import EFFECT_MESSAGES
from referral_stream.contracts.codec import arrival, decode_event, effect_key, event_key
from referral_stream.contracts.errors import Undecodable
from referral_stream.contracts.left_out import How, note_of, told_unfit
from referral_stream.contracts.records import RawRecord
from referral_stream.contracts.state import UnreadableState, decode_state, decode_wakeup
from referral_stream.core.customer import Customer
from referral_stream.core.effects import (
    Append,
    Decision,
    Letter,
)
from referral_stream.core.entities import Entity
from referral_stream.core.events import (
    APPENDED,
    AskAcknowledged,
    AskAnswered,
    DeadletterReplayed,
    ErasureRequested,
    Event,
    MergeDelivered,
    ReferralGiven,
    ReservationGranted,
)
from referral_stream.core.keys import customer_key, parse_key

_LETTER_HEADERS: Final = (
    "error", "stage", "source-topic", "source-partition", "source-offset", "source-timestamp", "occurred-at", "attempt",
    "dead-letter-id",
)  # fmt: skip
_ESCAPED: Final = b"~~"
"""How the keys of customers begin whose id begins with ``~``."""
_WAITING: Final = frozenset({"pending", "deferred"})


class _Last(NamedTuple):
    """The last record of a key on a changelog."""

    value: bytes
    offset: int


class _Pending(NamedTuple):
    """An opportunity whose last decision leaves it open; ``cause`` is the record that led to it."""

    customer: bytes
    deadline: int
    cause: Position


class _Cut(NamedTuple):
    """What is needed from a state beyond its comparison with the fold."""

    wake_at: int | None
    quarantined: bool


@dataclass
class _Seen:
    """What the log says about one customer up to its mark, besides the fold. Offsets in ``customer-events``."""

    mark: int = 0
    last: int = -1
    ahead: int | None = None
    erased: bool = False
    replayed: bool = False


@dataclass
class _Letters:
    """Of the dead letters: at which offsets our code failed, or a state did not fit, or a record could not be read."""

    faults: set[int] = field(default_factory=set)
    unfit: dict[int, How] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)

    def left_out(self, offset: int) -> bool:
        """Whether the record there was not applied to its customer, who is on hold since."""
        return offset in self.faults or offset in self.unfit


class PartitionAudit:
    """Judges one partition; what concerns other partitions too goes to the context. Call :meth:`run` once."""

    def __init__(self, scene: Scene, number: int) -> None:
        self._scene, self._number = scene, number
        self._findings, self._evidence, self._names = scene.tally.findings, scene.evidence, scene.names
        self._states: dict[bytes, _Last] = {}
        self._cuts: dict[bytes, _Cut] = {}
        self._changelog_end = scene.begins[scene.names.customers][number]
        self._letters = _Letters()
        self._published: dict[str, Decided] = {}
        self._made: set[str] = set()
        self._pending: dict[str, _Pending] = {}
        self._seen: dict[bytes, _Seen] = {}

    def run(self) -> None:
        """Raises Unreadable."""
        self._read_states()
        self._read_letters()
        runs = self._read_decisions()
        foldable = self._number not in self._scene.unfoldable
        published = {name: decided.digest for name, decided in self._published.items()}
        scene = self._scene
        letters = self._letters
        heard = self._heard() if len(runs.hashes | scene.policies.keys()) > 1 else ()
        telling = () if scene.after.followups_lapsed else FOLLOWUPS
        telling = telling if scene.after.rewards_lapsed else (*telling, *REWARDS)
        fold = Fold(scene.policies, runs, published, letters.faults, letters.unfit, self._tell, heard, telling)
        self._read_events(fold if foldable else None)
        if foldable:
            self._compare_states(fold)
            self._compare_decisions()
        self._judge_wakeups()

    # -------------------------------------------------------------------------------------------------------- reading

    def _read_states(self) -> None:
        """The last value of every customer: the cut of this partition.

        The values stay bytes: one with the usage of two months takes 32 KB as a value, and 2.6 KB as bytes.
        """
        for record in self._scene.records(self._names.customers, self._number):
            self._changelog_end = record.offset + 1
            key = record.key or b""
            self._scene.check_placement(record)
            if record.value is None:
                self._states.pop(key, None)
            else:
                self._states[key] = _Last(record.value, record.offset)
        for key, last in self._states.items():
            try:
                stored = decode_state(last.value)
            except UnreadableState as problem:
                self._findings.add("records_readable", str(problem), self._at(self._names.customers, last.offset))
                self._scene.unjudged.add(key)
            else:
                self._cuts[key] = _Cut(stored.entity.wake_at, _is_quarantined(stored.entity))
                self._seen[key] = _Seen(mark=stored.mark)
        self._scene.tally.counts["customers"] += len(self._states)

    def _read_letters(self) -> None:
        names = self._names
        for record in self._scene.records(names.letters, self._number):
            if record.header("replayed") is not None and record.header("dead-letter-id") is None:
                continue  # marks a letter as replayed
            self._scene.tally.counts["dead letters"] += 1
            missing = [name for name in _LETTER_HEADERS if record.header(name) is None]
            if missing:
                what = f"a dead letter without {', '.join(missing)}"
                self._findings.add("letters_complete", what, position(record))
            elif record.header("stage") == "decide":
                self._take_letter(record)

    def _take_letter(self, record: RawRecord) -> None:
        cause = (record.header("error") or "").partition(":")[0]
        topic, partition = record.header("source-topic"), record.header("source-partition")
        offset = record.header("source-offset") or ""
        if cause == "too_large":
            self._scene.oversized.add((topic or "", record.key or b""))
        elif topic == self._names.events and partition == str(self._number) and offset.isdigit():
            if (how := told_unfit(record.header("error") or "")) is not None:
                self._letters.unfit[int(offset)] = how
            else:
                (self._letters.faults if cause == "fault" else self._letters.others).add(int(offset))

    def _read_decisions(self) -> PolicyRuns:
        """All decisions now, and the policies they name, in order."""
        runs, scene = PolicyRuns(), self._scene
        asked = {command.decision_id for command in scene.evidence.commands}
        for record in self._decisions():
            try:
                decided = read_decision(record)
            except Misread as problem:
                self._findings.add("records_readable", str(problem), position(record))
                continue
            scene.check_output(record, decided.customer_id)
            scene.tally.counts["decisions"] += self._is_out(decided)
            runs.add(decided.policy, decided.decided_at)
            first = self._published.setdefault(decided.decision_id, decided)
            if first is not decided and (scene.fenced or first.digest != decided.digest):
                what = f"decision {decided.decision_id} occurs twice"
                self._findings.add("decisions_follow", what, first.position, decided.position)
            if decided.decision_id in asked:
                self._evidence.decisions[decided.decision_id].append(decided)
            if decided.command_id is not None and decided.outcome in ASKED | WITHHELD:
                self._evidence.emitted.add(decided.command_id)
        return runs

    def _decisions(self) -> Iterator[RawRecord]:
        """Those about the customers of this partition.

        An id that begins with ``~`` is another key in ``customer-events``: its decisions may lie on any partition.
        """
        scene, own = self._scene, self._number
        for partition in range(scene.partitions) if self._is_anywhere else (own,):
            for record in scene.records(self._names.decisions, partition):
                key = record.key or b""
                if own == (partition_of(b"~" + key, scene.partitions) if key.startswith(b"~") else partition):
                    yield record

    def _heard(self) -> set[bytes]:
        """The digests of what follows asks, as of now: where policies change, they say which one was in force."""
        scene, names = self._scene, self._names
        topics = [topic for topic in (names.followups, names.rewards, names.records) if scene.has(topic)]
        numbers = range(scene.partitions) if self._is_anywhere else (self._number,)
        return {digest(r.value) for topic in topics for number in numbers for r in scene.records(topic, number)}

    @property
    def _is_anywhere(self) -> bool:
        """Whether outputs of this partition's customers may lie on any partition."""
        return any(key.startswith(_ESCAPED) for key in self._states)

    def _is_out(self, decided: Decided) -> bool:
        """Whether it had been published when the pass began."""
        return decided.position.offset < self._scene.out[self._names.decisions][decided.position.partition]

    def _read_events(self, fold: Fold | None) -> None:
        scene, events, in_flight = self._scene, 0, 0
        for record in scene.records(self._names.events, self._number):
            events += 1
            if note_of(record) is not None:
                scene.evidence.left_out.add((record.key or b"").decode())
                continue  # about a record whose dead letter says the same
            key = record.key or b""
            seen = self._seen.get(key)
            if seen is None:
                seen = self._seen[key] = _Seen()
                if record.key is not None and partition_of(key, scene.partitions) != self._number:
                    self._findings.add("records_placed", "the key belongs to another partition", position(record))
            if record.offset >= seen.mark:
                # Where a state cannot be stored, nor can its mark.
                unstored = record.offset in self._letters.unfit or record.offset in self._letters.others
                if unstored:
                    scene.unstored.add(key)
                seen.ahead = record.offset if seen.ahead is None and not unstored else seen.ahead
                in_flight += 1
            else:
                seen.last = record.offset
            self._take(record, key, seen, fold)
        scene.tally.counts["events"] += events
        scene.tally.counts["events in flight"] += in_flight

    def _take(self, record: RawRecord, key: bytes, seen: _Seen, fold: Fold | None) -> None:
        counted = record.offset < seen.mark
        arrived = self._arrived(record)
        if arrived is not None:
            self._scene.appended.take(record, arrived[1])
            self._note_referral(record, arrived[1], counted=counted)
        if not counted:
            return
        if arrived is None:
            self._take_unusable(record, key, fold)
            return
        now, event = arrived
        self._note(record, now, event, seen)
        if fold is None:
            return
        try:
            fold.take(key, record, now, event)
        except Exception as error:  # noqa: BLE001 (a fault of the core: the workers should have held this customer)
            fold.unjudged[key] = "the fold fails"
            what = f"the fold fails with {type(error).__name__}, and no dead letter records it"
            self._findings.add("state_is_fold", what, position(record))

    def _arrived(self, record: RawRecord) -> tuple[int, Event] | None:
        """Arrival stamp and event; None for a record that is not what the topic carries, which is a finding."""
        try:
            now, event = arrival(record), decode_event(record.value or b"")
        except Undecodable as problem:
            self._findings.add("records_readable", str(problem), position(record))
            return None
        if event_key(event) != record.key and not event.via and event.type not in APPENDED:
            self._findings.add("records_placed", "the key is not the subject", position(record))
            return None
        return now, event

    def _take_unusable(self, record: RawRecord, key: bytes, fold: Fold | None) -> None:
        """A record that the workers skipped: it changed no state, and must have a dead letter."""
        if fold is not None:
            fold.touch(key)
        # Without a key its letter may be on any partition.
        if record.key is not None and self._letters_complete and record.offset not in self._letters.others:
            what = "a record that could not be used has no dead letter"
            self._findings.add("letters_complete", what, position(record))

    @property
    def _letters_complete(self) -> bool:
        return self._scene.begins[self._names.letters][self._number] == 0

    def _note_referral(self, record: RawRecord, event: Event, *, counted: bool) -> None:
        """Whom a referral names must be known by a hash alone; and who has consented, if not counted yet."""
        if not isinstance(event.data, ReferralGiven):
            return
        if any(getattr(event.data.contact, name) is not None for name in PERSONAL):
            self._scene.kept.named_elsewhere.append(position(record))
        if not counted:
            self._scene.after.logs[event.subject].ahead.append(LogEvent(position(record), 0, event))

    def _note(self, record: RawRecord, now: int, event: Event, seen: _Seen) -> None:
        """What the checks of commands, and of what follows them, need from the log."""
        who = parse_key(record.key or b"")
        if isinstance(who, str) and not self._letters.left_out(record.offset):
            self._scene.after.take(who, event, now, position(record))
        match event.data:
            case ReservationGranted(command_id=command):
                if not self._letters.left_out(record.offset):
                    self._evidence.granted[command].append(Granted(position(record), command, now))
            case AskAcknowledged(command_id=command, status=status) if not seen.erased:
                if not self._letters.left_out(record.offset):
                    self._evidence.reported[command].append(
                        ReportedAsk(position(record), (event.source, event.id), command, status)
                    )
            case AskAnswered(command_id=name) | ReferralGiven(command_id=str(name)):
                self._evidence.answered[name].append(position(record))
            case ErasureRequested():
                seen.erased = True
            case MergeDelivered(of=id_, state=state) if state is not None and not event.via:
                self._evidence.handed_over.setdefault(id_, HandedOver(position(record), now))
            case DeadletterReplayed():
                seen.replayed = True
            case _:
                pass

    # ------------------------------------------------------------------------------------------------------ the fold

    def _tell(self, customer: bytes, made: Made) -> None:
        """What the fold makes, one by one."""
        effect, names, cause = made.effect, self._names, self._at(self._names.events, made.cause)
        if isinstance(effect, Append):
            self._scene.appended.made[effect.key.encode(), made.digest].append(cause)
            return
        if isinstance(effect, Letter):
            if effect.cause == "merge_cycle":
                self._evidence.back.add(str(parse_key(customer)))
            if self._letters_complete and made.cause not in self._letters.others:
                what = f"a record about which the core complains ({effect.cause}) has no dead letter"
                self._findings.add("letters_complete", what, cause)
            return
        if isinstance(effect, Decision):
            self._tell_decision(customer, made, effect, cause)
            return
        message = EFFECT_MESSAGES[type(effect)]
        topic = names.of_topic(message.topic)
        if topic == names.records:
            digests = self._scene.kept.made[effect_key(effect)]
            digests.append(FORGOTTEN if message.tombstone else made.digest)
        elif topic != names.contacts:  # whose names are judged by what the log says of consent
            self._scene.expected[made.digest] = Expected(topic, customer, effect_key(effect), cause)

    def _tell_decision(self, customer: bytes, made: Made, decision: Decision, cause: Position) -> None:
        published = self._published.get(decision.decision_id)
        if published is None:
            key = decision.customer_id.encode()
            where = self._number if key == customer else partition_of(key, self._scene.partitions)
            complete = where not in self._evidence.late_decisions
            if complete and (self._names.decisions, key) not in self._scene.oversized:
                self._findings.add("decisions_follow", f"decision {decision.decision_id} is missing", cause)
            return
        self._made.add(decision.decision_id)
        if published.digest != made.digest:
            what = f"decision {decision.decision_id} is not the one that the fold makes"
            self._findings.add("decisions_follow", what, published.position, cause)
        if decision.outcome in _WAITING:
            self._pending[decision.opportunity_id] = _Pending(customer, decision.window.deadline, cause)
        elif decision.outcome != "duplicate":
            self._pending.pop(decision.opportunity_id, None)

    def _compare_states(self, fold: Fold) -> None:
        reached = max((seen.mark for seen in self._seen.values() if seen.last + 1 == seen.mark), default=0)
        for key, seen in self._seen.items():
            known = self._scene.fenced and key not in self._scene.unjudged
            if known and seen.ahead is not None and seen.ahead < reached:
                what = "a record is not in its customer's state, although later ones of the partition are in theirs"
                self._findings.add("record_counted", what, self._at(self._names.events, seen.ahead))
        for key in self._cuts:
            self._compare_state(key, fold)
        for why in fold.unjudged.values():
            self._scene.tally.unchecked[f"customers not recomputed: {why}"] += 1
        self._scene.unjudged |= fold.unjudged.keys()

    def _compare_state(self, key: bytes, fold: Fold) -> None:
        if key in fold.unjudged:
            return
        seen = self._seen[key]
        known = fold.settle(key, decode_state(self._states[key].value).entity)
        if known and seen.last + 1 == seen.mark:
            return
        if not self._letters_complete and (self._cuts[key].quarantined or seen.replayed):
            # Only a dead letter says on which event our code had failed.
            self._scene.tally.unchecked["customers not recomputed: dead letters of their faults have lapsed"] += 1
            self._scene.unjudged.add(key)
            return
        what = "the state is not the fold of the log" if not known else "the state's mark follows no record of it"
        where = [self._at(self._names.customers, self._states[key].offset)]
        where += [self._at(self._names.events, seen.last)] if seen.last >= 0 else []
        self._findings.add("state_is_fold", what, *where)

    def _compare_decisions(self) -> None:
        """What had been published when the pass began and no fold makes."""
        for name, decided in self._published.items():
            if name in self._made or not self._is_out(decided):
                continue
            if self._scene.is_judged(customer_key(decided.customer_id).encode(), self._number):
                self._findings.add("decisions_follow", f"decision {name} follows from no record", decided.position)

    # ------------------------------------------------------------------------------------------------------- wake-ups

    def _judge_wakeups(self) -> None:
        names, scene = self._names, self._scene
        entries: dict[bytes, tuple[int, int]] = {}
        unstored: set[bytes] = set()
        for record in scene.records(names.wakeups, self._number):
            scene.check_placement(record)
            key = record.key or b""
            if record.value is None:
                entries.pop(key, None)
                unstored.discard(key)
                continue
            try:
                wakeup = decode_wakeup(record.value)
                entries[key] = (wakeup.due, record.offset)
                (unstored.add if wakeup.held else unstored.discard)(key)
            except UnreadableState as problem:
                self._findings.add("records_readable", str(problem), position(record))
        moved = {record.key or b"" for record in scene.records(names.customers, self._number, self._changelog_end)}
        scene.tally.counts["wake-ups"] += len(entries)
        moved |= unstored
        for key in (self._cuts.keys() | entries.keys()) - moved:
            self._judge_wakeup(key, entries.get(key))
        for name, pending in self._pending.items():
            if pending.customer in moved or not scene.is_judged(pending.customer, self._number):
                continue
            due = entries.get(pending.customer)
            if due is None or due[0] > pending.deadline:
                what = f"opportunity {name} is pending, and nothing wakes it by its deadline"
                self._findings.add("pending_wakes", what, pending.cause)

    def _judge_wakeup(self, key: bytes, entry: tuple[int, int] | None) -> None:
        names, cut = self._names, self._cuts.get(key)
        wanted = cut.wake_at if cut else None
        if key in self._states and cut is None:
            return  # its state cannot be read, which is already a finding
        if (entry[0] if entry else None) == wanted:
            return
        where = [self._at(names.wakeups, entry[1])] if entry else []
        where += [self._at(names.customers, self._states[key].offset)] if cut else []
        what = "a wake-up is missing" if entry is None else "a wake-up is not the one of the state"
        self._findings.add("wakeup_matches", what, *where)

    def _at(self, topic: str, offset: int) -> Position:
        return Position(topic, self._number, offset)


def _is_quarantined(entity: Entity) -> bool:
    """A link is never on hold: it asks nobody."""
    return isinstance(entity, Customer) and entity.quarantined
