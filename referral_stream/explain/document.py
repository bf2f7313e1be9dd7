"""An explanation as a JSON document, for machines and pages (docs/explain.md says what is what)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from referral_stream.core.instants import rfc3339
from referral_stream.explain.explaining import Explanation
from referral_stream.explain.opportunities import OpportunityStory
from referral_stream.explain.prospects import Prospect
from referral_stream.explain.tracks import TrackItem


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Instants in RFC 3339, what is absent left out. Texts are as they are: whoever shows them escapes them."""
    score = explanation.score
    return _present(
        customer_id=explanation.customer_id,
        at=rfc3339(explanation.at),
        language=explanation.language,
        summary=_present(
            kind=explanation.gist.kind,
            text=explanation.gist.text,
            opportunity_id=explanation.gist.opportunity_id,
            asked_at=_instant(explanation.gist.asked_at),
        ),
        time_zone=_present(
            name=explanation.zone.name,
            source=explanation.zone.source,
            zones=list(explanation.zone.names) if len(explanation.zone.names) > 1 else None,
        ),
        policy=explanation.policy.model_dump(),
        score=None if score is None else score.model_dump(),
        opportunities=[_opportunity(each) for each in explanation.opportunities],
        timeline=[
            _present(at=rfc3339(entry.instant), kind=entry.kind, text=entry.text, opportunity_id=entry.opportunity_id)
            for entry in explanation.entries
        ],
        awaited=[
            _present(kind=awaited.kind, text=awaited.text, by=_instant(awaited.by)) for awaited in explanation.awaited
        ],
        next=[_prospect(prospect) for prospect in explanation.outlook],
        tracks=[
            {"track": track.name, "title": track.title, "items": [_item(item) for item in track.items]}
            for track in explanation.tracks
        ],
    )


def _opportunity(occasion: OpportunityStory) -> dict[str, Any]:
    return _present(
        opportunity_id=occasion.opportunity_id,
        trigger=occasion.trigger,
        title=occasion.title,
        subject=occasion.subject,
        opens=rfc3339(occasion.opens),
        deadline=rfc3339(occasion.deadline),
        settled=_instant(occasion.settled),
        live=occasion.live,
        outcome=occasion.outcome,
        decided_at=_instant(occasion.decided_at),
        text=occasion.text,
        score=occasion.score.model_dump(),
        gates=[_present(**asdict(cell)) for cell in occasion.gates],
    )


def _item(item: TrackItem) -> dict[str, Any]:
    return _present(
        at=rfc3339(item.at),
        until=_instant(item.until),
        open=item.open or None,
        kind=item.kind,
        text=item.text,
        id=item.id,
        settled=_instant(item.settled),
        moment=_instant(item.moment),
    )


def _prospect(prospect: Prospect) -> dict[str, Any]:
    return _present(
        trigger=prospect.trigger or None,
        opportunity_id=prospect.opportunity_id,
        text=prospect.text,
        asked_at=_instant(prospect.asked_at),
        changes=list(prospect.changes) or None,
        at=_instant(prospect.at),
        by=_instant(prospect.by),
        before=_instant(prospect.before),
    )


def _instant(instant: int | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
