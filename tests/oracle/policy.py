"""The numbers of the specification that tests change, under speaking names; the defaults are the page's."""

from copy import deepcopy
from typing import Any

Policy = dict[str, Any]

DEFAULTS: Policy = {
    # windows: fixed seconds, or local calendar days at the same wall time; a milestone's ends at the next midnight
    "window_seconds": {
        "nps_promoter": 24 * 3600,
        "positive_feedback": 48 * 3600,
        "peer_mentioned": 48 * 3600,
        "referral_converted": 7 * 86400,
    },
    "window_local_days": {"renewal": 7, "expansion": 7},
    "settle_seconds": {
        "nps_promoter": 15 * 60,
        "positive_feedback": 15 * 60,
        "milestone": 2 * 60,
        "renewal": 24 * 3600,
        "expansion": 24 * 3600,
        "peer_mentioned": 15 * 60,
        "referral_converted": 0,
    },
    "rivals_seconds": 300,
    "settle_margin_seconds": 60,
    "priority": {
        "nps_promoter": 40,
        "positive_feedback": 30,
        "milestone": 20,
        "renewal": 10,
        "expansion": 15,
        "peer_mentioned": 35,
        "referral_converted": 5,
    },
    "named_milestones": [],
    "disabled_triggers": [],
    "active_since": {},
    "backfill_topics": [],
    # moments; `slot_weekday` None: no slot
    "quiet_start": "20:00",
    "quiet_end": "08:00",
    "quiet_weekdays": [5, 6],
    "slot_weekday": 4,
    "slot_start": "13:00",
    "slot_end": "16:00",
    # channels, consent, zones; `strict_zones` empty: an unknown zone is the default zone
    "channels_allowed": ["email", "in_app", "phone"],
    "channels_default": ["email"],
    "consent_default": None,
    "require_onboarding": True,
    "default_zone": "UTC",
    "strict_zones": [],
    # caps
    "customer_cap_days": 90,
    "account_gap_days": 14,
    "account_cap": 3,
    "account_cap_days": 90,
    "advocacy_gap_days": 14,
    "no_days": 180,
    "maybe_days": 90,
    "silence_after_days": 14,
    "two_silences_days": 180,
    "task_hours": 2,
    "ask_from": 50,
    "direct_from": 70,
    "ask_again_from": 80,
    "mutual_benefit_triggers": [],
    "holdout_share": 0.05,
    "holdout_salt": "referral-stream",
    "burst_floor": 50,
    "burst_factor": 5,
    "burst_pause_hours": 6,
    "shadow": False,
    "wait_days": 7,
    # bounds: open objects of a kind, and business keys, beyond which a customer is overfull
    "most_open": 200,
    "most_keys": 10_000,
    "email_key": b"referral-stream-test-key",
    # what follows the ask: the sections of after §11 under their own names; instants or None
    "followups": {
        "fresh_days": 7,
        "care_hours": 48,
        "report_after_minutes": 15,
        "report": ["contacted", "converted"],
        "active_since": None,
    },
    "referrals": {"attribution_days": 90},
    "rewards": {
        "enabled": False,
        "holding_days": 0,
        "approval_days": 30,
        "per_customer": 10,
        "per_account": 20,
        "rate": 5,
        "claim_days": 365,
        "default_segment": "none",
        "active_since": None,
        "programmes": {},  # segment → kind, amount_minor?, currency?, benefit?
    },
    "experiments": {},  # name → trigger, templates {template: weight}, active_since?
}


class Unchanging(dict[str, Any]):
    """The policy of a world: one that nobody changes, and that what is worked out may be kept by."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # by which it is, not by what it says


def policy_with(overrides: Policy | None) -> Policy:
    """The defaults with these overrides; a dict in them (`window_seconds`) is merged key by key.

    Raises `KeyError` for a name that is none.
    """
    policy = Unchanging(deepcopy(DEFAULTS))
    for name, value in (overrides or {}).items():
        if name not in policy:
            raise KeyError(name)
        policy[name] = {**policy[name], **value} if isinstance(value, dict) else value
    return policy
