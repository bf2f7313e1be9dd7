"""People with several ids, an address or an object of theirs: who is asked once, and who must not be asked at all.

The words against asking are said under another id, or by an address or a charge alone. They are told with what is long
known, and the good news only when they have come to the customer: whatever fails meanwhile, nobody of
`NEVER_ASKED` gets a command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from referral_stream.core.instants import DAY, HOUR
from tests.integration.scripted import Phase, Story


def _sibling(s: Story, kind: Callable[[Story], None]) -> str:
    """Another id of the same cast."""
    return f"{s.customer.partition('/')[0]}/{kind.__name__}"


def _address(s: Story) -> str:
    return hashlib.sha256(s.customer.partition("/")[0].encode()).hexdigest()


def asked_after_a_merge(s: Story) -> None:
    s.tell(Phase.BACKGROUND, "customer.aliased", DAY, alias=_sibling(s, id_with_good_news))


def id_with_good_news(s: Story) -> None:
    s.is_known(strong=True)
    s.nps(10)


def merged_with_an_opt_out(s: Story) -> None:
    s.is_known(strong=True)
    s.tell(Phase.BACKGROUND, "customer.aliased", DAY, alias=_sibling(s, id_that_opted_out))
    s.nps(10)


def id_that_opted_out(s: Story) -> None:
    s.is_known(strong=True)
    s.tell(Phase.BACKGROUND, "customer.suppressed", HOUR, reason="unsubscribe")
    s.nps(10)


def merged_with_an_erasure(s: Story) -> None:
    s.is_known(strong=True)
    s.tell(Phase.BACKGROUND, "customer.aliased", DAY, alias=_sibling(s, id_that_was_erased))
    s.nps(10)


def id_that_was_erased(s: Story) -> None:
    s.is_known(strong=True)
    s.tell(Phase.BACKGROUND, "customer.erasure_requested", HOUR)


def disputed_by_the_charge(s: Story) -> None:
    charge = f"{s.customer}/charge"
    s.is_known(strong=True)
    s.tell(Phase.BACKGROUND, "customer.linked", DAY, kind="stripe_charge", value=charge)
    s.tell(Phase.BACKGROUND, "charge.disputed", HOUR, link=f"stripe_charge:{charge}", charge_id=charge)
    s.nps(10)


def opted_out_by_the_address(s: Story) -> None:
    s.is_known(strong=True, email_hmac=_address(s))
    s.tell(Phase.BACKGROUND, "customer.suppressed", HOUR, link=f"email:{_address(s)}", reason="unsubscribe")
    s.nps(10)


def same_address(s: Story) -> None:
    s.is_known(strong=True, email_hmac=_address(s))
    s.nps(9)


CASTS: Final[dict[tuple[Callable[[Story], None], ...], int]] = {
    (asked_after_a_merge, id_with_good_news): 15,
    (merged_with_an_opt_out, id_that_opted_out): 15,
    (merged_with_an_erasure, id_that_was_erased): 15,
    (disputed_by_the_charge,): 15,
    (opted_out_by_the_address, same_address): 15,
}
"""With their shares."""

NEVER_ASKED: Final = tuple(f"{kinds[0].__name__}-" for kinds in CASTS if kinds[0] is not asked_after_a_merge)
"""How the customers' names begin that must not be asked."""


def must_not_be_asked(customer: str) -> bool:
    """Whether they said no, or are in trouble, under another id, by their address or an object; or nobody is named.

    `odd-`: those of `poison`.
    """
    return customer == "" or customer.startswith((*NEVER_ASKED, "odd-"))
