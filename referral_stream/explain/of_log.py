"""One customer of a recorded log, explained: what came in, what it opened, what was decided and why, what is next.

The whole log is replayed, since the asks to other contacts of an account and to the same address count too; only one
customer is recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from referral_stream.contracts.applying import NotApplied
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.json_reading import NotJson, read_json
from referral_stream.contracts.records import RawRecord
from referral_stream.core.customer import Customer
from referral_stream.core.events import Event
from referral_stream.core.policy import Policy
from referral_stream.core.suggestions import nearest_few
from referral_stream.explain.background import Background, OtherIds, UnusedRecord, Witnessed
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.explaining import explain as explained
from referral_stream.explain.story import Entry, left_out
from referral_stream.replay.log_lines import STDIN, Progress
from referral_stream.replay.reading import Counts, FactLog, RecordedLog, open_log
from referral_stream.replay.recorded_run import ExactReplay
from referral_stream.replay.recording_ledger import RecordedLedger, RecordingLedger
from referral_stream.replay.remarks import meant_type
from referral_stream.replay.virtual_run import FactReplay
from referral_stream.words.phrases import FIRST, phrases, speaking

_NAMES_OFFERED = 3
_NAMES_ALIKE = 0.6
_OF_NO_INTEREST = frozenset({"irrelevant", "tombstone"})


class UnknownCustomer(Exception):
    """Nothing is known about the customer; ``near`` are ids that look alike, ``left_out`` what names them."""

    def __init__(self, customer: str, near: list[str], left_out: Sequence[Entry] = ()) -> None:
        super().__init__(
            phrases().say(
                "left_out",
                "only_unusable" if left_out else "unknown",
                customer=customer,
                number=len(left_out),
                records="; ".join(entry.text for entry in left_out[:_NAMES_OFFERED]),
                near=", ".join(near),
            )
        )
        self.near = near


def explain(
    log: Path,
    customer: str,
    policy: Policy,
    boundary: Boundary,
    *,
    at: int | None = None,
    language: str = FIRST,
    skip_bad: bool = False,
    sort: bool = False,
    progress: Progress | None = None,
    counts: Counts | None = None,
) -> Explanation:
    """Explain one customer of ``log`` under ``policy``, as of ``at`` (epoch ms; default: the end of the log).

    An id that was merged away is explained as the customer it belongs to, with the story of all their ids: that takes a
    second reading of the log, and is left out where it comes from stdin.

    ``counts`` grows with what is read. Raises UnknownCustomer, UnreadableLog (see :func:`open_log`), Diverged and
    OSError.
    """
    ids = {customer}
    while True:
        found = Counts()
        notes, refused = Witnessed(ids, policy), _LeftOut(ids, found)
        with open_log(
            log, boundary, found, refused.refused,
            skipped=refused.skipped, skip_bad=skip_bad, sort=sort, progress=progress,
        ) as opened:  # fmt: skip
            if isinstance(opened, RecordedLog):
                customers, caps, now = _lived_exactly(opened, notes, policy, refused, at)
            else:
                customers, caps, now = _lived(opened, notes, policy, at)
        belonging = ids_of(customer, customers)
        if belonging <= ids or log == STDIN:
            break
        ids = belonging
    if counts is not None:
        counts.__dict__.update(found.__dict__)
    end = now if at is None else at
    seen = [record for record in refused.records if at is None or record.now <= at]
    with speaking(language):
        if customer not in customers:
            near = nearest_few(customer, customers, _NAMES_OFFERED, _NAMES_ALIKE)
            raise UnknownCustomer(customer, near, [left_out(record) for record in seen])
    untold = tuple(sorted(belonging - ids))
    others = [OtherIds(end, untold)] if untold else []
    known = Background(
        name=end_of(customer, customers),
        customers=customers,
        happened=(*notes.happened, *seen, *others),
        ledger=caps,
        ids=ids,
    )
    return explained(known, policy, end, language)


def end_of(id_: str, customers: Mapping[str, Customer]) -> str:
    """The customer to whom an id belongs, whichever way it was merged."""
    passed = {id_}
    while (state := customers.get(id_)) is not None and state.merged_into is not None:
        if (id_ := state.merged_into) in passed:
            return min(passed)  # a circle that nothing has gone through yet
        passed.add(id_)
    return id_


def ids_of(id_: str, customers: Mapping[str, Customer]) -> set[str]:
    """All ids of the customer to whom this one belongs."""
    end = end_of(id_, customers)
    away = (name for name, state in customers.items() if state.merged_into is not None)
    return {id_, end, *(name for name in away if end_of(name, customers) == end)}


_Lived: TypeAlias = tuple[Mapping[str, Customer], RecordingLedger, int]
"""The customers, the ledger and the clock at the end."""


def _lived_exactly(log: RecordedLog, notes: Witnessed, policy: Policy, refused: _LeftOut, at: int | None) -> _Lived:
    ledger = RecordedLedger(policy)

    def witness(known: Customer, event: Event, now: int) -> None:
        ledger.answered(event, now)
        notes.came_in(known, event, now)

    exact = ExactReplay(policy, witness=witness, refused=refused.not_applied, notes=log.notes)
    for items in exact.run(log.records, at):
        for item in items:
            ledger.asked(item.effect)
        notes.followed(items)
    exact.compare()
    notes.waiting(exact.links.values())
    return exact.customers, ledger.caps, exact.now


def _lived(log: FactLog, notes: Witnessed, policy: Policy, at: int | None) -> _Lived:
    caps = RecordingLedger(policy)
    facts = FactReplay(policy, caps=caps, witness=notes.came_in)
    for items in facts.read(log.arrivals, at):
        notes.followed(items)
    for items in facts.wait(facts.now if at is None else at):
        notes.followed(items)
    for instant, pause in facts.pauses:
        notes.paused(instant, pause)
    notes.waiting(facts.links.values())
    return facts.customers, caps, facts.now


class LookedFor(NamedTuple):
    """An id, as bytes too; ``is_plain``: JSON has no other way to write it."""

    name: str
    written: bytes
    is_plain: bool

    @classmethod
    def of(cls, name: str) -> LookedFor:
        return cls(name, name.encode(), name.isascii() and '"' not in name and "\\" not in name)

    def is_named_in(self, record: RawRecord) -> bool:
        """Whether the record contains the id: as its key, in a header, or as a separate value."""
        wanted = self.written
        if record.key == wanted or any(value == wanted for _, value in record.headers):
            return True
        if record.value is None or (self.is_plain and wanted not in record.value):
            return False
        try:
            return _holds(read_json(record.value), self.name)
        except NotJson:
            return True  # damaged, and contains the id


class _LeftOut:
    """The records that became no events and name the customer."""

    def __init__(self, ids: Collection[str], counts: Counts) -> None:
        self.records: list[UnusedRecord] = []
        self._ids = [LookedFor.of(id_) for id_ in ids]
        self._remarks = counts.remarks

    def refused(self, record: RawRecord, error: str, now: int) -> None:
        if self._names(record):
            cause, _, detail = error.partition(": ")
            self.records.append(UnusedRecord(now, "refused", cause, detail, self._remarks.line, record.topic))

    def not_applied(self, record: RawRecord, why: NotApplied) -> None:
        if any((record.key or b"") == each.written for each in self._ids):
            self.records.append(UnusedRecord(why.at, "not_applied", why.cause, why.detail, record.offset))

    def skipped(self, record: RawRecord, why: str, now: int) -> None:
        reason, _, detail = why.partition(": ")
        if reason in _OF_NO_INTEREST or not self._names(record):
            return
        near = meant_type(detail) if reason == "unknown_type" else None
        self.records.append(UnusedRecord(now, "skipped", reason, detail, self._remarks.line, record.topic, near))

    def _names(self, record: RawRecord) -> bool:
        return any(each.is_named_in(record) for each in self._ids)


def _holds(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(each, text) for each in value.values())
    if isinstance(value, list):
        return any(_holds(each, text) for each in value)
    return bool(value == text)
