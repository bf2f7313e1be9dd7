"""Referrals: what a customer's state keeps of each contact whom they referred (after §3, §5)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from referral_stream.core.grants import Grant
from referral_stream.core.stamps import Stamp

Status: TypeAlias = Literal["contacted", "qualified", "converted", "rejected", "refunded"]

RANK: dict[str, int] = {"contacted": 1, "qualified": 2, "converted": 3}
"""How far a referral has come; what is behind something that was reported is no longer reported."""


class Conversion(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A referral became a customer while its referrer was happy: an opportunity opens at ``opens_at``."""

    opens_at: int
    at: Stamp
    historical: bool = False


class PendingReport(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A status that the customer is to hear of at ``due``, if it is still the newest then."""

    due: int
    at: Stamp
    status: Status


class Deal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the referral was worth, by the newest event that says so."""

    at: Stamp
    value_minor: int
    currency: str | None = None


class Referral(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``status`` by the newest event; ``conversion`` is what opens an opportunity later.

    ``id``: the referral's, where the name under which it is kept is shorter. ``given``: the time of the first applied
    ``referral.given``, ``dated`` of the earliest, ``said`` the newest's stamp; None of them: only statuses are known.
    ``keys``: HMACs of the contact, which are claimed, ``domains`` those of their addresses, all that were ever said;
    ``released``: they are claimed no longer; ``owner``: the id under which they were claimed, where that was merged
    away since. ``ask``: the command that it is due to, once that is drawn (``attributed``). ``reported``: of which
    statuses the customer heard; ``quiet_until``: until when a report may still tell of the reward. ``converted_at``:
    the earliest conversion's stamp; ``otherwise_at``: the newest of any other status. ``taken``: somebody took care of
    it; ``care_due``: by when that is due, ``care_late``: it was not done by then, ``care_consented``: whoever is to do
    it was told that the contact has consented. ``spent``: its one conversion that may be rewarded has been;
    ``conversion_counts``: one came before it was given, and may be rewarded (False: it is history). ``replied``: the
    newest answer about it, where no ask led to it.
    """

    at: Stamp | None = None
    status: Status | None = None
    conversion: Conversion | None = None
    id: str = ""
    given: int | None = None
    dated: int | None = None
    said: Stamp | None = None
    consented: bool = False
    keys: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    attributed: bool = False
    ask: str | None = None
    deal: Deal | None = None
    reported: tuple[Status, ...] = ()
    report: PendingReport | None = None
    quiet_until: int | None = None
    converted_at: Stamp | None = None
    otherwise_at: Stamp | None = None
    taken: bool = False
    care_due: int | None = None
    care_late: bool = False
    care_consented: bool = False
    released: bool = False
    contact_erased: bool = False
    spent: bool = False
    grant: Grant | None = None
    replied: Stamp | None = None
    conversion_counts: bool | None = None
    owner: str = ""
