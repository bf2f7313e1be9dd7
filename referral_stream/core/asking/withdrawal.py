"""Taking back: what a corrected survey answer had opened, and commands after which a gate closed (semantics §11)."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from referral_stream.core import events as ev
from referral_stream.core.asking.judging import close, keep, said_to_question, verdicts, view
from referral_stream.core.asking.recording import take_back, write
from referral_stream.core.asks import Ask
from referral_stream.core.customer import LONGEST_NAME, LONGEST_SUBJECT
from referral_stream.core.effects import GateName
from referral_stream.core.ids import short
from referral_stream.core.opportunity import Opportunity
from referral_stream.core.rules import gates, moments, triggers
from referral_stream.core.rules.assessment import at_their_moment
from referral_stream.core.turn import Turn


def withdraw(turn: Turn) -> None:
    """Withdraw commands that a worker may still send, if a gate closed that protects the customer."""
    for ask in turn.customer.asks:
        if not ask.may_be_cancelled(turn.now):
            continue
        seen = view(turn, ask.opportunity)
        closed = next(
            (v for gate in gates.AFTER_EMISSION if gates.takes_back(v := gates.withdrawing(gate, seen))), None
        )
        if closed is not None and not said_to_question(turn, ask, closed.gate):
            _cancel(turn, ask, closed.gate, closed.saw)
        elif (why := _no_channel(turn, ask)) is not None:
            _cancel(turn, ask, "channel", why)


def _no_channel(turn: Turn, ask: Ask) -> str | None:
    """Why the command may not be sent on the channels that it names."""
    c, named = turn.customer, ask.channels or (ask.channel,)
    withdrawn = [channel for channel in named if channel in c.consent and not c.consent[channel].value]
    if withdrawn:
        return f"consent withdrawn for {', '.join(withdrawn)}"
    if not set(named).intersection(moments.usable_channels(c, turn.policy)):
        return "no usable channel"
    return None


def corrected(turn: Turn, data: ev.NpsResponded | ev.CsatResponded, still: set[str]) -> None:
    """A survey answer revised downwards withdraws what the first revision opened; a comment may name a theme.

    ``still``: the triggers for which the newest revision is still a reason.
    """
    about, response = triggers.may_open(data.type, turn.policy), short(data.response_id, LONGEST_SUBJECT)
    for opportunity in turn.customer.live:
        if opportunity.trigger in about and opportunity.response == response:
            if opportunity.trigger not in still:
                close(turn, opportunity, "cancelled", verdicts(turn, opportunity))
            elif data.theme is not None:
                themed = replace(opportunity, theme=data.theme)
                if themed.reason_asked_at is not None and opportunity.theme is None:
                    themed = replace(themed, ready=max(themed.settled, turn.now))  # the question has been answered
                keep(turn, themed)
    for ask in turn.customer.asks:
        o = ask.opportunity
        if o.trigger in about - still and o.response == response:
            _cancel(turn, ask, "trouble", "the survey answer was corrected")


def corrected_elsewhere(turn: Turn, revised: Collection[str]) -> None:
    """Survey answers were revised downwards under another id of the customer: what they had opened is withdrawn."""
    for opportunity in turn.customer.live:
        if _is_about(opportunity, revised):
            close(turn, opportunity, "cancelled", verdicts(turn, opportunity))
    for ask in turn.customer.asks:
        if _is_about(ask.opportunity, revised):
            _cancel(turn, ask, "trouble", "the survey answer was corrected")


def _is_about(o: Opportunity, responses: Collection[str]) -> bool:
    return o.response is not None and short(o.response, LONGEST_NAME) in responses


def _cancel(turn: Turn, ask: Ask, gate: GateName, why: str) -> None:
    c = turn.customer
    if not ask.may_be_cancelled(turn.now):
        return
    written = next((o for o in c.live if o.id == ask.opportunity.id), ask.opportunity)
    if ask.kind != "reason":  # after a question the opportunity lives on, and its own decisions say what blocks it
        found = at_their_moment(verdicts(turn, ask.opportunity))
        written = write(turn, ask.opportunity, "cancelled", found)
    take_back(turn, ask, written, gate, why)
