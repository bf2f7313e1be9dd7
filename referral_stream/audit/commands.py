"""The checks of commands, written from semantics §6 and §10, using only what is published: no gate of the core runs.

Each function checks one invariant and adds what breaks it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from referral_stream.audit.findings import AuditCounts, Position
from referral_stream.audit.records import CancelledAsk, Command, Decided, Request, Settled
from referral_stream.core.instants import DAY
from referral_stream.core.policy import Policy

CLOCKS_DIFFER: Final = 5_000
"""Milliseconds by which the clocks of two workers may differ: who released first is known no more exactly."""

_IDS: Final = uuid5(NAMESPACE_URL, "referral-stream")
_REACHED: Final = frozenset({"sent", "delivered", "opened"})
_FAILED: Final = frozenset({"failed", "dropped_expired", "cancelled"})
WITHHELD: Final = frozenset({"holdout", "shadow"})
ASKED: Final = frozenset({"asked", "soft"})


class HandedOver(NamedTuple):
    """``merge.delivered`` with a state on ``customer-events``: from ``now`` on nobody lives under the id."""

    position: Position
    now: int


class Granted(NamedTuple):
    """``reservation.granted`` on ``customer-events``."""

    position: Position
    command_id: str
    now: int


class ReportedAsk(NamedTuple):
    """``ask.acknowledged`` on ``customer-events``, of a customer not erased by then; ``event``: its source and id."""

    position: Position
    event: tuple[str, str]
    command_id: str
    status: str


@dataclass
class Evidence:
    """What the topics hold about the commands that are judged.

    ``decisions``: by id, those that commands name. ``emitted``: command ids that a decision says it used (asked, or
    withheld). ``asking``: opportunities with a command, even one published meanwhile. ``requests``: by command id,
    those that were granted; ``reservations``: by opportunity, those of commands. ``answered``: by what an answer or a
    referral names, a command or one of the ``followups`` of that customer. ``handed_over``: ids that were merged
    away; ``back``: those among them that became customers again, at a circle. ``left_out``: customers of whom a record
    was not applied because their state did not fit. ``late_*``: partitions whose beginning retention has taken.
    """

    commands: list[Command] = field(default_factory=list)
    cancellations: list[CancelledAsk] = field(default_factory=list)
    decisions: dict[str, list[Decided]] = field(default_factory=lambda: defaultdict(list))
    emitted: set[str] = field(default_factory=set)
    asking: set[str] = field(default_factory=set)
    requests: dict[str, list[Request]] = field(default_factory=lambda: defaultdict(list))
    reservations: dict[str, list[Request]] = field(default_factory=lambda: defaultdict(list))
    settled: dict[str, list[Settled]] = field(default_factory=lambda: defaultdict(list))
    granted: dict[str, list[Granted]] = field(default_factory=lambda: defaultdict(list))
    reported: dict[str, list[ReportedAsk]] = field(default_factory=lambda: defaultdict(list))
    answered: dict[str, list[Position]] = field(default_factory=lambda: defaultdict(list))
    followups: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: set[str] = field(default_factory=set)
    handed_over: dict[str, HandedOver] = field(default_factory=dict)
    back: set[str] = field(default_factory=set)
    late_decisions: Collection[int] = ()
    late_events: Collection[int] = ()
    late_asks: Collection[int] = ()
    requests_complete: bool = True

    def reservation_of(self, command: Command) -> Request | None:
        """The request for this command's moment. A question for the reason goes out under its ask's reservation."""
        requests = self.reservations.get(command.opportunity_id, ())
        return next((request for request in reversed(requests) if request.due == command.not_before), None)

    def counts_as_sent(self, command: Command, before: Position) -> bool:
        """Whether the customer had answered it by then, or what followed it, or had referred somebody for it."""
        names = (command.command_id, *self.followups.get(command.customer_id, ()))
        return any(at < before for name in names for at in self.answered.get(name, ()))

    def released_by(self, reservation: str, since: int, until: int) -> bool:
        """Whether a reservation that stood at ``since`` had been given back at ``until``, never confirmed before."""
        reports = self.settled.get(reservation, ())
        released = [each.now for each in reports if not each.confirmed and since <= each.now <= until + CLOCKS_DIFFER]
        if not released:
            return False
        return not any(each.confirmed and each.now < min(released) for each in reports)


def one_body(commands: Iterable[Command], tally: AuditCounts) -> None:
    """At any isolation level, the same id has the same bytes.

    A broker may refuse a state when the ask of the same transaction is written already. Then it is aborted, and what
    the record leads to once it is tried again is something else: an aborted body of such a customer is not compared.
    """
    known: dict[str, Command] = {}
    for command in commands:
        first = known.setdefault(command.command_id, command)
        if first.digest != command.digest:
            _add(tally, "one_body_per_command", f"command {command.command_id} has two bodies", first, command)


def once(commands: Iterable[Command], tally: AuditCounts) -> None:
    """For readers with read_committed, where the workers write in transactions."""
    known: dict[str, Command] = {}
    for command in commands:
        first = known.setdefault(command.command_id, command)
        if first is not command:
            _add(tally, "command_once", f"command {command.command_id} occurs twice", first, command)


def inside_window(evidence: Evidence, tally: AuditCounts) -> None:
    """In this order: opens ≤ not_before ≤ decided_at < deadline, and not_before < expires_at ≤ deadline."""
    for command in evidence.commands:
        if command.not_before >= command.expires_at:
            _add(tally, "ask_inside_window", f"command {command.command_id} expires before it may be sent", command)
        for decision in evidence.decisions.get(command.decision_id, ()):
            wrong = [
                what
                for what, holds in (
                    ("is due before its window opens", decision.opens <= command.not_before),
                    ("is decided before it is due", command.not_before <= decision.decided_at),
                    ("is decided after its deadline", decision.decided_at < decision.deadline),
                    ("expires after its deadline", command.expires_at <= decision.deadline),
                )
                if not holds
            ]
            if wrong:
                what = f"command {command.command_id} {', '.join(wrong)}"
                _add(tally, "ask_inside_window", what, command, decision)


def decided(evidence: Evidence, tally: AuditCounts) -> None:
    """One decision, of the same opportunity and customer, that says it asks; the id follows from the subject."""
    for command in evidence.commands:
        found = evidence.decisions.get(command.decision_id, [])
        name = f"command {command.command_id}"
        if not found and command.position.partition not in evidence.late_decisions:
            _add(tally, "ask_decided", f"{name} names a decision that does not exist", command)
        if len({decision.digest for decision in found}) > 1:
            _add(tally, "ask_decided", f"{name} has two decisions under one id", command, *found)
        for decision in found[:1]:
            same = (decision.opportunity_id, decision.customer_id) == (command.opportunity_id, command.customer_id)
            if command.asks_reason:
                agrees = decision.outcome == "pending"
            else:
                outcome = "soft" if command.mode == "soft" else "asked"
                agrees = (decision.outcome, decision.command_id) == (outcome, command.command_id)
            if not (same and agrees and decision.policy == command.policy):
                _add(tally, "ask_decided", f"{name} and its decision disagree", command, decision)
        if not command.asks_reason and command.command_id != _command_id(command):
            _add(tally, "ask_decided", f"{name} does not have the id of its customer, trigger and subject", command)


def reserved(evidence: Evidence, tally: AuditCounts) -> None:
    """A request whose ``due`` is the command's moment, and a grant of it that the decision had."""
    for command in evidence.commands:
        request = evidence.reservation_of(command)
        name = f"command {command.command_id}"
        if request is None:
            if evidence.requests_complete:
                _add(tally, "ask_reserved", f"{name} has no reservation requested for its moment", command)
            continue
        decisions = evidence.decisions.get(command.decision_id, [])
        until = max((decision.decided_at for decision in decisions), default=None)
        grants = evidence.granted.get(request.command_id, [])
        if command.position.partition in evidence.late_events:
            continue
        if not any(until is None or grant.now <= until for grant in grants):
            _add(tally, "ask_reserved", f"{name} went out without a granted reservation", command, request)


def not_merged_away(evidence: Evidence, tally: AuditCounts) -> None:
    """An id that has handed over its state is asked nothing any more; in the instant itself it may have been."""
    for command in evidence.commands:
        gone = evidence.handed_over.get(command.customer_id)
        if gone is None or command.customer_id in evidence.back:
            continue
        for decision in evidence.decisions.get(command.decision_id, ())[:1]:
            if decision.decided_at > gone.now:
                what = f"command {command.command_id} asks under an id that was merged away"
                tally.findings.add("not_merged_away", what, command.position, gone.position)


def reservations_settled(evidence: Evidence, tally: AuditCounts) -> None:
    """No grant is forgotten: an ask (or one withheld) uses it, or it is given back; and reports reach the ledger."""
    for reservation, grants in evidence.granted.items():
        requests = evidence.requests.get(reservation, [])
        used = reservation in evidence.emitted or any(request.opportunity_id in evidence.asking for request in requests)
        if used or not (requests and evidence.requests_complete):
            continue
        since = min(request.now for request in requests)
        if not any(not each.confirmed and each.now >= since for each in evidence.settled.get(reservation, ())):
            what = f"reservation {reservation} was granted, and neither used nor released"
            tally.findings.add("reservation_settled", what, *(grant.position for grant in grants))
    if evidence.requests_complete:
        questioned = {command.opportunity_id for command in evidence.commands if command.asks_reason}
        for command in evidence.commands:
            _report_passed_on(command, evidence, tally, questioned=command.opportunity_id in questioned)


def _report_passed_on(command: Command, evidence: Evidence, tally: AuditCounts, *, questioned: bool) -> None:
    """``questioned``: a question for the reason shares the reservation, and may have been sent."""
    if command.asks_reason or command.command_id not in evidence.granted:
        return
    since = evidence.granted[command.command_id][0].position
    once = {each.event: each for each in reversed(evidence.reported.get(command.command_id, ()))}
    # A report from before the ask means nothing, nor does its repetition: an event counts when it is new.
    reports = sorted(each for each in once.values() if each.position > since)
    first = next((each for each in reports if each.status in _REACHED | _FAILED), None)
    if first is None:
        return
    passed_on = evidence.settled.get(command.command_id, ())
    reached = next((each for each in reports if each.status in _REACHED), None)
    if reached is not None and not any(each.confirmed for each in passed_on):
        what = f"command {command.command_id} was reported sent, and its reservation is not confirmed"
        _add(tally, "reservation_settled", what, command, reached)
    lost = first.status in _FAILED and not questioned and not evidence.counts_as_sent(command, first.position)
    if lost and not any(not each.confirmed for each in passed_on):
        what = f"command {command.command_id} was reported as never sent, and its reservation is not released"
        _add(tally, "reservation_settled", what, command, first)


def cancellations_known(evidence: Evidence, tally: AuditCounts) -> None:
    known = {command.command_id: command for command in reversed(evidence.commands)}
    for told in evidence.cancellations:
        command = known.get(told.command_id)
        if command is None:
            if told.position.partition not in evidence.late_asks:
                what = f"command {told.command_id} is cancelled and never existed"
                _add(tally, "cancellation_known", what, told)
        elif (told.customer_id, True) != (command.customer_id, told.cancelled_at < command.expires_at):
            what = f"command {told.command_id} is cancelled for another customer, or after it expired"
            _add(tally, "cancellation_known", what, command, told)


# ---------------------------------------------------------------------------------------------------------- cool-downs


class _Ask(NamedTuple):
    """An ask as the caps count it: ``reservation`` is the id under which the ledger holds it."""

    command: Command
    reservation: str
    decided_at: int
    policy: Policy


def cool_downs(evidence: Evidence, policies: Mapping[str, Policy], tally: AuditCounts) -> None:
    """No two asks of one customer, address or account nearer than the policy allows, and no more of an account.

    What counts is the moment, ``not_before``; an ask whose reservation had been released by the time of the other does
    not. Of two policies the more generous number counts. Asks under a policy that is not given are left out.
    """
    by_customer: dict[str, list[_Ask]] = defaultdict(list)
    by_address: dict[str, list[_Ask]] = defaultdict(list)
    by_account: dict[str, list[_Ask]] = defaultdict(list)
    for command in {command.command_id: command for command in reversed(evidence.commands)}.values():
        policy = policies.get(command.policy)
        if policy is None:
            tally.unchecked[f"cool-downs of asks under policy {command.policy}, which is not among those given"] += 1
            continue
        request = evidence.reservation_of(command)
        decisions = evidence.decisions.get(command.decision_id, ())
        decided_at = max((decision.decided_at for decision in decisions), default=command.not_before)
        ask = _Ask(command, request.command_id if request else command.command_id, decided_at, policy)
        by_customer[command.customer_id].append(ask)
        if request is not None and request.email_hmac:
            by_address[request.email_hmac].append(ask)
        if request is not None and request.account_id:
            by_account[request.account_id].append(ask)
    for asks in by_customer.values():
        _gaps(asks, "customer", evidence, tally)
    for asks in by_address.values():
        several = len({ask.command.customer_id for ask in asks}) > 1
        if several:  # the same customer again was judged above
            _gaps(asks, "e-mail address", evidence, tally)
    for asks in by_account.values():
        _gaps(asks, "account", evidence, tally)
        _quota(asks, evidence, tally)


def _gaps(asks: Sequence[_Ask], whom: str, evidence: Evidence, tally: AuditCounts) -> None:
    for one, other in combinations(sorted(asks, key=_moment), 2):
        days = min(_gap_days(one.policy, whom), _gap_days(other.policy, whom))
        if other.command.not_before - one.command.not_before < days * DAY and _both_count(one, other, evidence):
            what = f"commands {one.command.command_id} and {other.command.command_id} ask one {whom} within {days} days"
            _add(tally, "no_ask_in_cool_down", what, one.command, other.command)


def _gap_days(policy: Policy, whom: str) -> int:
    return policy.caps.account_gap_days if whom == "account" else policy.caps.customer_days


def _quota(asks: Sequence[_Ask], evidence: Evidence, tally: AuditCounts) -> None:
    ordered = sorted(asks, key=_moment)
    for place, last in enumerate(ordered):
        days = min(ask.policy.caps.account_days for ask in asks)
        most = max(ask.policy.caps.account_asks for ask in asks)
        since = last.command.not_before - days * DAY
        counted = [
            ask for ask in ordered[:place] if ask.command.not_before > since and _both_count(ask, last, evidence)
        ]
        if len({ask.command.opportunity_id for ask in counted}) >= most:
            what = f"an account is asked more than {most} times within {days} days"
            _add(tally, "no_ask_in_cool_down", what, *(ask.command for ask in counted), last.command)


def _both_count(earlier: _Ask, later: _Ask, evidence: Evidence) -> bool:
    if earlier.command.opportunity_id == later.command.opportunity_id:
        return False  # the question for the reason and the ask after it count as one
    return not evidence.released_by(earlier.reservation, earlier.decided_at, later.decided_at)


def _moment(ask: _Ask) -> tuple[int, int]:
    return ask.command.not_before, ask.decided_at


def _command_id(command: Command) -> str:
    about = (
        part.replace("%", "%25").replace("|", "%7C") for part in (command.customer_id, command.trigger, command.subject)
    )
    return str(uuid5(_IDS, "|".join(["command", *about, "1"])))


def _add(
    tally: AuditCounts, invariant: str, what: str, *about: Command | CancelledAsk | Decided | Request | ReportedAsk
) -> None:
    tally.findings.add(invariant, what, *(each.position for each in about))
