"""The same story to be drawn: tracks of items over time, from which a console makes its picture of a customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from referral_stream.core.customer import Customer
from referral_stream.core.instants import DAY
from referral_stream.explain.background import Background, CameIn
from referral_stream.explain.opportunities import OpportunityStory
from referral_stream.explain.prospects import Prospect
from referral_stream.words.afterwards import followup_words, reward_words
from referral_stream.words.decisions import happening
from referral_stream.words.events import happened
from referral_stream.words.phrases import phrases

TrackName: TypeAlias = Literal["signals", "trouble", "opportunities", "asks", "answers", "referrals", "rewards"]


@dataclass(frozen=True)
class TrackItem:
    """A point (``until`` is None and not ``open``) or a bar; instants are epoch ms, ``at`` is when it happened.

    ``open``: a bar that has not ended. ``kind`` is an event's type, an outcome, an ask's kind, an answer, a status.
    ``settled``, ``moment``: of an opportunity, when it has settled, and when it is asked about as things stand.
    """

    at: int
    kind: str
    text: str
    until: int | None = None
    open: bool = False
    id: str | None = None
    settled: int | None = None
    moment: int | None = None


@dataclass(frozen=True)
class Track:
    """All items of one kind by time; an empty one is there, too."""

    name: TrackName
    title: str
    items: tuple[TrackItem, ...]


def tracks(
    known: Background, occasions: Sequence[OpportunityStory], prospects: Sequence[Prospect]
) -> tuple[Track, ...]:
    """Everything that can be drawn of a customer."""
    customer = known.customer
    made: dict[TrackName, Iterator[TrackItem]] = {
        "signals": _signals(known),
        "trouble": _trouble(customer),
        "opportunities": _opportunities(occasions, prospects),
        "asks": _asks(customer),
        "answers": _answers(customer),
        "referrals": _referrals(customer),
        "rewards": _rewards(customer),
    }
    words = phrases()
    return tuple(
        Track(name, words.word("tracks", name), tuple(sorted(made[name], key=lambda item: item.at)))
        for name in get_args(TrackName)
    )


def _signals(known: Background) -> Iterator[TrackItem]:
    for moment in known.happened:
        if isinstance(moment, CameIn) and moment.ignored is None:
            yield TrackItem(moment.event.time, moment.event.type, happened(moment.event))


def _trouble(c: Customer) -> Iterator[TrackItem]:
    """By the state: as far back as it remembers."""
    words = phrases()
    for name, ticket in c.tickets.items():
        if (begun := ticket.opened or ticket.at) is not None and ticket.at is not None:
            text = words.say("trouble", "ticket", id=name)
            yield TrackItem(begun.time, "ticket", text, None if ticket.open else ticket.at.time, ticket.open, name)
    for name, invoice in c.invoices.items():
        if invoice.failed:
            yield TrackItem(invoice.at.time, "invoice", words.say("trouble", "invoice", id=name), open=True, id=name)
    for name, dispute in c.disputes.items():
        begins = dispute.at.time if dispute.disputed_at is None else dispute.disputed_at
        ongoing = dispute.status == "open"
        text = words.say("trouble", "dispute", id=name)
        yield TrackItem(begins, "dispute", text, None if ongoing else dispute.at.time, ongoing, name)
    for name, cancellation in c.cancellations.items():
        if (scheduled := cancellation.scheduled) is not None:
            reverted = cancellation.reverted
            ends = None if reverted is None or reverted < scheduled else reverted.time
            text = words.say("trouble", "cancellation")
            yield TrackItem(scheduled.time, "cancellation", text, ends, ends is None, name or None)
    if c.drop is not None and c.drop.since_day is not None:
        ends = None if c.drop.ended_day is None else c.drop.ended_day * DAY
        yield TrackItem(c.drop.since_day * DAY, "usage", words.say("trouble", "usage"), ends, ends is None)


def _opportunities(occasions: Sequence[OpportunityStory], prospects: Sequence[Prospect]) -> Iterator[TrackItem]:
    planned = {each.opportunity_id: each.asked_at for each in prospects if each.kind == "planned"}
    for each in occasions:
        yield TrackItem(
            each.opens,
            "open" if each.live else each.outcome or "",
            each.text,
            until=each.deadline if each.live or each.decided_at is None else min(each.deadline, each.decided_at),
            open=each.live,
            id=each.opportunity_id,
            settled=each.settled,
            moment=planned.get(each.opportunity_id),
        )


def _asks(c: Customer) -> Iterator[TrackItem]:
    for ask in c.asks:
        yield TrackItem(
            ask.asked_at, ask.kind, happening(ask.opportunity.trigger), until=ask.expires_at, id=ask.command_id,
            moment=ask.sent_at,
        )  # fmt: skip


def _answers(c: Customer) -> Iterator[TrackItem]:
    for ask in c.asks:
        if ask.answer is not None:
            yield TrackItem(ask.answer.at.time, ask.answer.value, phrases().value(ask.answer.value), id=ask.command_id)
    for followup in c.followups:
        text = followup_words(followup.kind, {"referral_id": followup.subject or None})
        yield TrackItem(followup.at, followup.kind, text, until=followup.due_by, id=followup.id)


def _referrals(c: Customer) -> Iterator[TrackItem]:
    words = phrases()
    for name, referral in c.referrals.items():
        named = referral.id or name
        if referral.given is not None:
            yield TrackItem(referral.given, "given", words.say("events", "referral.given", referral_id=named), id=named)
        if referral.at is not None and referral.status is not None:
            text = words.say("events", "referral.status_changed", referral_id=named, status=referral.status)
            yield TrackItem(referral.at.time, referral.status, text, id=named)


def _rewards(c: Customer) -> Iterator[TrackItem]:
    for name, referral in c.referrals.items():
        if (grant := referral.grant) is not None:
            at = grant.granted_at or grant.held_at or grant.requested_at or grant.converted
            text = reward_words(grant.promise.offer().model_dump(exclude_none=True))
            yield TrackItem(at, grant.state, text, id=referral.id or name)
