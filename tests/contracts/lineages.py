"""A type that has changed, in tests only: ``csat.responded`` as if a version 1 had always been on five points.

No type has an older version yet. This one has everything that a lineage may have: a model of its own, a body that is
brought up, and an absence of ``dataschema`` that means the current version.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from referral_stream.contracts.versions import LINEAGES, Lineage, Older
from referral_stream.core.events import Commented, CsatResponded, Id
from referral_stream.published.examples import OLDER_DATA

FIVE_POINTS = {"response_id": "resp-1", "score": 4}


class CsatRespondedV1(Commented):
    """An answer on the five-point scale, the only one that version 1 knew."""

    type: ClassVar[str] = CsatResponded.type
    response_id: Id
    score: Annotated[int, Field(ge=1, le=5)]
    ticket_id: Id | None = None


def with_its_scale(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "scale_max": 5}


@pytest.fixture
def csat_on_five_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """``csat.responded`` is at version 2, which is also the one without a name; version 1 is read by its name."""
    lineage = Lineage(older=(Older(CsatRespondedV1, with_its_scale),), unnamed=2)
    monkeypatch.setitem(LINEAGES, CsatResponded.type, lineage)
    monkeypatch.setitem(OLDER_DATA, (CsatResponded.type, 1), {**FIVE_POINTS, "ticket_id": "tick-1", "comment": "Great"})
