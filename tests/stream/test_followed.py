"""What a worker counts of what follows an ask, and of which grants it knows that they wait."""

from __future__ import annotations

from referral_stream.core.effects import Effect, GrantConfirmed, GrantReleased, GrantRequested
from referral_stream.core.instants import SECOND
from referral_stream.stream.followed import Followed, Waiting
from tests.audit.test_after import POLICY, a_deployment
from tests.builders import at

T0 = at("Thu 12:00")
NOBODY_WAITS = Waiting(0, None)


def asked(grant: str, now: int) -> Effect:
    return GrantRequested(grant_id=grant, referral_id="r", customer_id="ana", contact_keys=(), now=now)


def confirmed(grant: str, now: int) -> Effect:
    return GrantConfirmed(grant_id=grant, referral_id="r", customer_id="ana", contact_keys=(), now=now)


def test_what_was_said_is_counted() -> None:
    followed = a_deployment().decide_agent.followed
    assert followed.rewards == {"granted": 2, "denied": 1, "reversed": 1}
    assert followed.followups["thank"] == 4
    assert followed.cancelled["stop"] == 0
    assert followed.cancelled["consent"] == 1
    assert followed.records >= 7
    assert followed.waiting(at("Fri 15:00")) == NOBODY_WAITS


def test_a_grant_waits_from_its_first_request_until_it_is_confirmed_or_released() -> None:
    followed = Followed(POLICY)
    followed.count([asked("g1", T0), asked("g2", T0 + 1), asked("g1", T0 + 20 * SECOND)])
    assert followed.waiting(T0 + 30 * SECOND) == Waiting(2, T0)
    followed.count([confirmed("g1", T0 + 20 * SECOND)])
    assert followed.waiting(T0 + 30 * SECOND) == Waiting(1, T0 + 1)
    followed.count([GrantReleased(grant_id="g2", customer_id="ana", now=T0 + 30 * SECOND)])
    assert followed.waiting(T0 + 30 * SECOND) == NOBODY_WAITS


def test_a_grant_that_is_not_asked_for_again_is_waited_for_elsewhere() -> None:
    """Its partition has moved, or its customer was merged away: whoever has it now asks."""
    followed = Followed(POLICY)
    followed.count([asked("g1", T0)])
    rules = POLICY.ledger
    soon = (rules.retry_limit_seconds + rules.answer_seconds) * SECOND
    assert followed.waiting(T0 + soon) == Waiting(1, T0)
    assert followed.waiting(T0 + 2 * soon + 1) == NOBODY_WAITS
