"""One row → the facts that it tells of a customer, each with its time, as CloudEvents of the contract.

What speaks for asking counts only where it is clear, and from the first instant that it may mean; what holds back
counts also where it cannot be read, and from the last. A state without a date of its own counts as of the export. Ids
come from what is said, so that a second import says the same events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from referral_stream.contracts.adapters.states import says_left
from referral_stream.contracts.addresses import address_hmacs
from referral_stream.contracts.identifiers import named
from referral_stream.contracts.inbound import answers
from referral_stream.contracts.opt_outs import says_opt_out
from referral_stream.core.events import CHANNELS, WAITING
from referral_stream.core.ids import derived_id
from referral_stream.core.instants import rfc3339
from referral_stream.ops.importing.columns import Column, Plan
from referral_stream.ops.importing.table import Cells
from referral_stream.ops.importing.values import (
    Ambiguous,
    ReadInstant,
    is_address,
    is_blank,
    moment,
    no_id,
    time_zone,
    truth,
)

SOURCE: Final = "referral-stream/import"
"""Of every imported event, whatever the file is called: what is imported twice is the same event."""

IMPORTED: Final = "imported"
"""In the place of an id that the table does not have: of a command, a subscription; and who asked."""

_SEGMENTS: Final = {
    "smb": "smb", "small business": "smb", "smbs": "smb", "enterprise": "enterprise", "ent": "enterprise",
    "mission driven": "mission_driven", "nonprofit": "mission_driven", "non profit": "mission_driven",
    "ngo": "mission_driven", "charity": "mission_driven",
}  # fmt: skip
_LEFT: Final = frozenset({
    "blacklisted", "blocklisted", "complained", "deleted", "erased", "gelöscht", "gesperrt", "kontaktsperre",
    "nicht kontaktieren", "widersprochen", "withdrawn", "werbesperre",
})  # fmt: skip
"""More cells, in lower case, that are the word of somebody who wants no mail, or is not to be asked."""
_LONGEST_WORD: Final = 40
_READ_THEMSELVES: Final = frozenset({"customer.suppressed", "customer.erasure_requested", "ask.answered"})
"""What columns become whose cells say such things, each in its own way."""
_NAMES: Final = frozenset({"id", "email"})
"""Readings of cells whose words mean nothing: an address may begin with spam@."""
_REWRITTEN = re.compile(r"\d+\.0+|\d(?:\.\d+)?[eE]\+?\d+").fullmatch
"""Of an id: 17.0 and 4.2E+09 are what becomes of numbers in a data frame or a spreadsheet."""


class DatedFact(NamedTuple):
    """One fact: its type, its time (epoch ms), its body."""

    type: str
    time: int
    data: dict[str, Any]


Stops: TypeAlias = Literal["date", "words", "id", "address"]
"""A date that could be read in two ways; an opt-out in a column that nobody named; an id that a program rewrote, or
that is an address, which would leave this machine in clear.
"""


class CellFault(NamedTuple):
    """What could not be read of a row, without quoting it. ``held``: the customer is held back for it.

    ``stops``: what a person has to say about the column before anything is written.
    """

    column: str
    reason: str
    held: bool = False
    stops: Stops | None = None


@dataclass(slots=True)
class RowFacts:
    """What a row says. ``subject`` is the customer's id, else ``link`` the address (``email:HMAC``), else nobody's.

    ``address``: the HMAC of the one that stands in the row, whoever is named. ``meant``: what each column became, by
    its name: for counts, without values of a person's own.
    """

    subject: str | None = None
    link: str | None = None
    address: str | None = None
    facts: list[DatedFact] = field(default_factory=list)
    faults: list[CellFault] = field(default_factory=list)
    meant: dict[str, str] = field(default_factory=dict)

    @property
    def protects(self) -> bool:
        """Whether the row says that somebody must not be asked."""
        return any(fault.held for fault in self.faults) or any(_stops(said) for said in self.facts)


_STOPS: Final = frozenset({
    "customer.suppressed", "customer.erasure_requested", "ticket.opened", "complaint.made", "subscription.ended",
    "advocacy.asked",
})  # fmt: skip


def _stops(said: DatedFact) -> bool:
    refused = said.data.get("granted") is False or said.data.get("requires_approval") is True
    return said.type in _STOPS or refused or said.data.get("answer", "yes") != "yes"


def told(cells: Cells, plan: Plan, as_of: ReadInstant, email_key: bytes) -> RowFacts:
    """What one row says by this plan, as of the day of its export."""
    row = _Row(cells, plan, as_of, email_key)
    row.read()
    return row.told


class _Row:
    """One row being read; a column's own reading is ``_FIELD`` by its field."""

    def __init__(self, cells: Cells, plan: Plan, as_of: ReadInstant, email_key: bytes) -> None:
        self.told = RowFacts()
        self.as_of, self._key = as_of, email_key
        self._cells: dict[str, list[tuple[Column, str]]] = {}
        self._stopped: list[str] = []
        for name, cell in cells.items():
            column = plan.column(name)
            if column.field is not None:
                said = column.values.get(cell.strip().lower(), cell) if column.values else cell
                if not is_blank(said):
                    self._cells.setdefault(column.field.name, []).append((column, said))
                reads_it = column.field.becomes in _READ_THEMSELVES or column.field.reads in _NAMES
                if not reads_it and _says_stop(cell):
                    self._stopped.append(name)
            elif column.why == "not used" and _says_stop(cell):
                self._fault(name, "says that somebody wants no mail, and nobody has named the column", stops="words")

    def read(self) -> None:
        hmacs = self._who()
        if self._erased():
            return
        self._profile(hmacs)
        self._life()
        self._praise()
        self._consent()
        self._held_back()
        self._asked()

    def _erased(self) -> bool:
        """Whether they are to be forgotten: then nothing else is said. What is unreadable holds, and erases nothing."""
        found = False
        for column, cell in self._all("erased"):
            before = len(self.told.faults)
            when = self._since(column, cell)
            if when is not None and len(self.told.faults) > before:
                self._say("customer.suppressed", when.last, {"reason": IMPORTED})
            elif when is not None:
                self._say("customer.erasure_requested", when.last, {})
                found = True
        return found

    # -- who it is

    def _who(self) -> dict[str, str]:
        hmacs: dict[str, str] = {}
        for column, cell in self._all("email"):
            hmacs = address_hmacs(cell, self._key) if "@" in cell else {}
            self._mean(column, "an address" if hmacs else "no address")
            if not hmacs:
                self._fault(column.name, "no e-mail address")
        for column, cell in self._all("customer"):
            self.told.subject = _named(cell)
            if self.told.subject is None:
                self._mean(column, "no id")
                self._fault(column.name, "no usable id")
                continue
            self._mean(column, "an address" if is_address(cell) else "an id")
            if is_address(cell) and column.format != "address":
                self._fault(column.name, "an address in the place of an id", stops="address")
            elif column.why == "guessed" and _REWRITTEN(self.told.subject):
                self._fault(column.name, "an id that a program may have made a number of", stops="id")
            if not hmacs and "@" in cell:  # producers whose ids are addresses
                hmacs = address_hmacs(cell, self._key)
        if hmacs:
            self.told.address = hmacs["email_hmac"]
        if self.told.subject is None and hmacs:
            self.told.link = f"email:{hmacs['email_hmac']}"
        return hmacs

    # -- what speaks for asking, or for nothing

    def _profile(self, hmacs: dict[str, str]) -> None:
        said: dict[str, Any] = dict(hmacs) if self.told.subject is not None else {}
        for column, cell in self._all("account"):
            said["account_id"] = self._clear(column, _named(cell), "an id", "no usable id")
        for column, cell in self._all("segment"):
            word = " ".join(re.split(r"[\s_-]+", cell.strip().lower()))
            known = _SEGMENTS.get(word)
            said["segment"] = self._clear(column, known, known or "", "no segment; say what it means with values = {…}")
        for column, cell in self._all("time_zone"):
            name = time_zone(cell)
            fixed = name is not None and name.startswith("Etc/GMT")
            said["time_zone"] = self._clear(column, name, "a fixed offset" if fixed else "a zone", "no time zone")
        for column, cell in self._all("locale"):
            said["locale"] = self._clear(column, cell.strip() if len(cell) <= 64 else None, "a locale", "too long")  # noqa: PLR2004 (the contract's)
        for column, cell in self._all("champion"):
            said["champion"] = self._flag(column, cell)
        said = {name: value for name, value in said.items() if value is not None}
        if said:
            self._say("customer.profile_changed", self.as_of.first, said)
        approvals = [self._flag(column, cell, unclear=True) for column, cell in self._all("requires_approval")]
        if any(approvals):
            self._say("customer.profile_changed", self.as_of.last, {"requires_approval": True})

    def _life(self) -> None:
        trials = [self._flag(column, cell, unclear=True) for column, cell in self._all("trial")]
        trial = any(trials)
        signed_up = next((self._date(column, cell) for column, cell in self._all("signed_up_at")), None)
        if signed_up is not None or trial:
            at = self.as_of.last if signed_up is None else signed_up.last
            self._say("customer.signed_up", at, {"trial": True} if trial else {})
        for column, cell in self._all("onboarded_at"):
            if (when := self._since(column, cell)) is not None:
                self._say("onboarding.completed", when.first, {})
        for column, cell in self._all("first_success_at"):
            if (when := self._since(column, cell)) is not None:
                self._say("milestone.reached", when.first, {"milestone": column.milestone, "first_success": True})

    def _praise(self) -> None:
        given = next((self._date(column, cell) for column, cell in self._all("nps_at")), None)
        for column, cell in self._all("nps_score"):
            score = self._score(column, cell)
            if score is None:
                continue
            if given is None and score > 6:  # noqa: PLR2004 (a detractor's highest)
                self._fault(column.name, "a score without a date that can be read: it speaks for nobody")
                continue
            scored = given or self.as_of
            at = scored.last if score <= 6 else scored.first  # noqa: PLR2004 (as above)
            self._say("nps.responded", at, {"response_id": f"{IMPORTED}-{rfc3339(at)[:10]}", "score": score})
        for column, cell in self._all("testimonial_at"):
            if (when := self._since(column, cell)) is not None:
                self._say("testimonial.given", when.first, {})

    def _consent(self) -> None:
        dates = [self._date(column, cell) for column, cell in self._all("consent_at")]
        given = next(iter(dates), None)
        for channel in ("all", *CHANNELS):
            for column, cell in self._all("consent" if channel == "all" else f"consent_{channel}"):
                granted = self._flag(column, cell, unclear=False, held=True)
                if granted and None in dates:
                    self._fault(column.name, "a consent whose date cannot be read counts as none")
                    continue
                refused_at = given if given is not None and truth(cell) is False else self.as_of
                at = (given or self.as_of).first if granted else refused_at.last
                data = {"purpose": "referral_ask", "channel": channel, "granted": bool(granted)}
                self._say("customer.consent_changed", at, data)

    # -- what holds back

    def _held_back(self) -> None:
        for name in self._stopped:
            self._fault(name, "says that somebody wants no mail: held back", held=True)
            self._say("customer.suppressed", self.as_of.last, {"reason": IMPORTED})
        for column, cell in self._all("opted_out"):
            if (when := self._since(column, cell)) is not None:
                self._say("customer.suppressed", when.last, {"reason": IMPORTED})
        for column, cell in self._all("subscribed"):
            if not self._flag(column, cell, unclear=False, held=True):
                self._say("customer.suppressed", self.as_of.last, {"reason": IMPORTED})
        for column, cell in self._all("open_ticket_ids"):
            self._tickets(column, cell)
        for column, cell in self._all("trouble"):
            if (when := self._since(column, cell)) is not None:
                self._say("complaint.made", when.last, {})
        for column, cell in self._all("ended_at"):
            if (when := self._since(column, cell)) is not None:
                self._say("subscription.ended", when.last, {"subscription_id": IMPORTED})

    def _tickets(self, column: Column, cell: str) -> None:
        if truth(cell) is False:
            self._mean(column, "no")
            return
        ids = [part for part in re.split(r"[,;|\s]+", cell.strip()) if part]
        if truth(cell) or any(_named(each) is None for each in ids):  # open, and nobody could tell when it is solved
            self._mean(column, "open, without an id")
            self._say("complaint.made", self.as_of.last, {})
        for each in ids:
            if not truth(each) and (name := _named(each)) is not None:
                self._mean(column, "open")
                self._say("ticket.opened", self.as_of.last, {"ticket_id": name})

    def _asked(self) -> None:
        for name, kind in (("asked_at", "referral"), ("advocacy_asked_at", "other")):
            for column, cell in self._all(name):
                if (when := self._since(column, cell)) is not None:
                    self._say("advocacy.asked", when.last, {"kind": kind, "by": IMPORTED})
        given = next((self._date(column, cell) for column, cell in self._all("answered_at")), None)
        for column, cell in self._all("answer"):
            word = "stop" if says_opt_out(cell) else cell.strip().lower()
            read = word if word in WAITING else answers.read(cell)
            if read not in WAITING:
                read = "no"
                self._fault(column.name, "no answer that can be read: held back as after a no", held=True)
            self._mean(column, read)
            when = given or self.as_of
            at = when.first if read == "yes" else when.last
            self._say("ask.answered", at, {"command_id": IMPORTED, "answer": read})

    # -- cells

    def _all(self, name: str) -> list[tuple[Column, str]]:
        return self._cells.get(name, [])

    def _say(self, kind: str, time: int, data: dict[str, Any]) -> None:
        self.told.facts.append(DatedFact(kind, time, data))

    def _mean(self, column: Column, what: str) -> None:
        self.told.meant[column.name] = what

    def _fault(self, column: str, reason: str, *, held: bool = False, stops: Stops | None = None) -> None:
        self.told.faults.append(CellFault(column, reason, held, stops))

    def _clear(self, column: Column, value: str | None, meant: str, reason: str) -> str | None:
        self._mean(column, meant if value is not None else "unreadable")
        if value is None:
            self._fault(column.name, reason)
        return value

    def _flag(self, column: Column, cell: str, *, unclear: bool | None = None, held: bool = False) -> bool | None:
        """``unclear``: what counts where it is neither yes nor no. ``held``: whether that holds the customer back."""
        found = truth(cell)
        self._mean(column, "unreadable" if found is None else "yes" if found else "no")
        if found is None:
            self._fault(column.name, "neither yes nor no", held=held or unclear is True)
            return unclear
        return found

    def _score(self, column: Column, cell: str) -> int | None:
        text = cell.strip().removesuffix(".0").removesuffix(",0")
        if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= 10:  # noqa: PLR2004 (0 to 10)
            self._mean(column, text)
            return int(text)
        self._mean(column, "unreadable")
        self._fault(column.name, "no whole number from 0 to 10")
        return None

    def _date(self, column: Column, cell: str) -> ReadInstant | None:
        """A date that is not after the export; what cannot be read is a fault."""
        try:
            found = moment(cell, column.format, column.zone)
        except Ambiguous:
            self._mean(column, "day or month first?")
            self._fault(column.name, "the day or the month may stand first", stops="date")
            return None
        except ValueError:
            self._mean(column, "unreadable")
            self._fault(column.name, "no date since 2000 that can be read")
            return None
        if found.first > self.as_of.last:
            self._mean(column, "after the export")
            self._fault(column.name, "a date after the export")
            return None
        self._mean(column, "a date")
        return ReadInstant(found.first, min(found.last, self.as_of.last))

    def _since(self, column: Column, cell: str) -> ReadInstant | None:
        """Since when: its date, the export's for a yes, None for a no; what protects holds where it is unreadable."""
        protects = column.field is not None and column.field.protects
        found = truth(cell)
        if found is None and protects and (count := _count(cell)) is not None:
            found = count > 0
        if found is not None:
            self._mean(column, "yes" if found else "no")
            return self.as_of if found else None
        before = len(self.told.faults)
        when = self._date(column, cell)
        if when is not None or not protects:
            return when
        for number, fault in enumerate(self.told.faults[before:], before):
            self.told.faults[number] = fault._replace(reason=f"{fault.reason}: held back", held=True)
        return self.as_of


def _named(cell: str) -> str | None:
    """The id of a cell, unless it says that there is none."""
    return None if no_id(cell) else named(cell)


def _says_stop(cell: str) -> bool:
    """Whether a short cell, whatever it is meant for, is the word of somebody who wants no mail."""
    return len(cell) <= _LONGEST_WORD and not _NO_WORDS(cell) and _is_left(cell)


@lru_cache(maxsize=16_384)
def _is_left(cell: str) -> bool:
    """The cells of a column are mostly the same few."""
    return cell.strip().casefold() in _LEFT or says_left(cell) or answers.read(cell) == "stop"


_NO_WORDS = re.compile(r"[\d\s.,:;/+%€$#-]*").fullmatch


def _count(cell: str) -> int | None:
    """A small number, such as how many tickets are open."""
    text = cell.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None  # noqa: PLR2004 (no date)


def cloud_events(row: RowFacts, *, latest: int) -> Iterator[bytes]:
    """A row's facts as structured CloudEvents. ``latest``: the present, which no time lies behind; ids know it not."""
    who: dict[str, str] = {"subject": row.subject} if row.subject is not None else {"link": row.link or ""}
    (person,) = who.values()
    for said in row.facts:
        body = orjson.dumps(said.data, option=orjson.OPT_SORT_KEYS)
        event = {
            "specversion": "1.0",
            "id": derived_id("import", person, said.type, said.time, body.decode()),
            "source": SOURCE,
            "type": said.type,
            "time": rfc3339(min(said.time, latest)),
            "data": said.data,
            **who,
        }
        yield orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
