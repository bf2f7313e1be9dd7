"""What a vendor expects to read in an answer, beyond what all of them are told."""

from __future__ import annotations

from referral_stream.contracts.adapters import mixpanel
from referral_stream.contracts.json_reading import NotJson, read_json


def also_answered(source: str, body: bytes) -> dict[str, str]:
    """More fields of the answer to a webhook that the broker has; for nearly all vendors there are none.

    Mixpanel takes a sync for failed, and sends the cohort again, unless its action comes back with a status.
    """
    if source != mixpanel.ADAPTER.name:
        return {}
    try:
        found = read_json(body)
    except NotJson:
        return {}
    action = found.get("action") if isinstance(found, dict) else None
    return {"action": action, "status": "success"} if action in mixpanel.ACTIONS else {}
