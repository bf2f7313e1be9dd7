"""Policies under which worlds are decided, as the engine and as the oracle know them."""

from __future__ import annotations

from typing import Any

from referral_stream.core.policy import Breaker, Holdout, Moments, Policy, TimeZones, TooEarly

POLICIES: dict[str, tuple[Policy, dict[str, Any]]] = {
    "default": (Policy(), {}),
    "two openings an hour": (Policy(breaker=Breaker(floor=2, factor=1)), {"burst_floor": 2, "burst_factor": 1}),
    "strict zones": (
        Policy(time_zone=TimeZones(default="Europe/Berlin", strict=True, zones=("Europe/Berlin", "America/New_York"))),
        {"default_zone": "Europe/Berlin", "strict_zones": ["Europe/Berlin", "America/New_York"]},
    ),
    "half held out": (Policy(holdout=Holdout(percent=50)), {"holdout_share": 0.5}),
    "no slot, short nights": (
        Policy(moments=Moments(slot_weekday=None, quiet_from="23:00", quiet_until="02:00", quiet_weekdays=(7,))),
        {"slot_weekday": None, "quiet_start": "23:00", "quiet_end": "02:00", "quiet_weekdays": [6]},
    ),
    "lenient": (
        Policy(
            too_early=TooEarly(require_onboarding=False),
            consent_default="granted",
            milestones=("export",),
            channels_default=("email", "in_app"),
        ),
        {
            "require_onboarding": False,
            "consent_default": True,
            "named_milestones": ["export"],
            "channels_default": ["email", "in_app"],
        },
    ),
}

RULINGS: dict[str, tuple[Policy, dict[str, Any]]] = {
    "shadow": (Policy(shadow=True), {"shadow": True}),
    "long memory": (
        Policy.model_validate(
            {
                "answers": {"no_days": 700, "two_silences_days": 730, "silence_after_days": 3},
                "caps": {"customer_days": 10, "advocacy_days": 90},
                "moments": {"critical_task_seconds": 3 * 86_400},
            }
        ),
        {
            "no_days": 700,
            "two_silences_days": 730,
            "silence_after_days": 3,
            "customer_cap_days": 10,
            "advocacy_gap_days": 90,
            "task_hours": 72,
        },
    ),
    "strict and late": (
        Policy.model_validate(
            {
                "time_zone": {"strict": True, "zones": ["Europe/Berlin", "Asia/Kolkata"]},
                "moments": {"quiet_from": "22:00"},
            }
        ),
        {"strict_zones": ["Europe/Berlin", "Asia/Kolkata"], "quiet_start": "22:00"},
    ),
}
"""Those that the rulings of semantics §11 are about."""
