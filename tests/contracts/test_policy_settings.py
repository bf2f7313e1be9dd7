"""A policy setting by setting, and what in it is odd."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from referral_stream.core.policy import BUILT_IN, Policy
from referral_stream.policy_file.reading import build_policy
from referral_stream.policy_file.settings import NONE, Setting, settings_of
from referral_stream.policy_file.warnings import oddities

OWN = {"on": ["usage.recorded"], "when": 'event.data.feature == "x"', "window_hours": 24, "priority": 77}


def test_every_setting_says_what_it_decides_and_where_the_page_says_so() -> None:
    for setting in settings_of(build_policy({"triggers": {"mine": OWN}})):
        assert re.fullmatch(r"[A-Z].{10,100} \((§|gate|identity §|after §)[^()]*\d\)\.", setting.meaning), setting


@pytest.mark.parametrize(
    ("suffix", "unit"), [("_days", "days"), ("_seconds", "seconds"), ("_hours", "hours"), ("_percent", "percent")]
)
def test_a_duration_or_share_counts_what_its_name_says(suffix: str, unit: str) -> None:
    found = {setting.unit for setting in settings_of(Policy()) if setting.key.endswith(suffix)}
    assert found == {unit}


def test_no_setting_of_the_default_policy_differs_from_the_default() -> None:
    assert [setting for setting in settings_of(Policy()) if setting.differs] == []


def test_what_differs_is_told_with_its_default() -> None:
    policy = build_policy(
        {"caps": {"customer_days": 120}, "moments": {"slot_weekday": "none"}, "triggers": {"renewal": {"mode": "soft"}}}
    )
    told = [setting[:4] for setting in settings_of(policy) if setting.differs]
    assert told == [
        ("triggers.renewal.mode", '"soft"', NONE, ""),
        ("caps.customer_days", "120", "90", "days"),
        ("moments.slot_weekday", NONE, "5", ""),
    ]


def test_all_of_a_trigger_of_the_teams_own_is_told_and_has_no_default() -> None:
    told = {s.key: s for s in settings_of(build_policy({"triggers": {"mine": OWN}})) if s.differs}
    assert told["triggers.mine.when"][:3] == ("triggers.mine.when", r'"event.data.feature == \"x\""', None)
    assert {key.rpartition(".")[0] for key in told} == {"triggers.mine"}


def test_each_setting_is_written_as_toml_reads_it() -> None:
    """All of them together, off ones left out, are the policy again."""
    policy = build_policy(
        {
            "triggers": {"mine": OWN, "renewal": {"active_since": "2026-06-01T00:00:00Z"}},
            "experiments": {"short": {"trigger": "renewal", "templates": {"a": 1, "b c": 2.5}}},
        }
    )
    lines = [f"{setting.key} = {setting.value}" for setting in settings_of(policy) if setting.value != NONE]
    assert build_policy(tomllib.loads("\n".join(lines))) == policy


def test_triggers_come_in_the_order_of_the_page_and_the_teams_own_last() -> None:
    policy = build_policy({"triggers": {"b": OWN, "a": OWN}})
    names = [key.split(".")[1] for key, *_ in settings_of(policy) if key.startswith("triggers.")]
    assert list(dict.fromkeys(names)) == [*BUILT_IN, "a", "b"]


def test_a_setting_differs_if_its_value_does() -> None:
    assert Setting("a", "1", "2", "", "").differs
    assert Setting("a", "1", None, "", "").differs
    assert not Setting("a", "1", "1", "", "").differs


# ---- odd, and legal


def test_nothing_is_odd_about_the_default_policy() -> None:
    assert oddities(Policy()) == []


@pytest.mark.parametrize(
    ("odd", "keys"),
    [
        ({"shadow": True}, ["shadow"]),
        ({"consent_default": "granted"}, ["consent_default"]),
        ({"channels_allowed": ["phone"]}, ["channels_default"]),
        ({"dedup_days": 0}, ["dedup_days"]),
        ({"score": {"soft_at": 0}}, ["score.soft_at"]),
        ({"score": {"first_success": 0, "testimonial": 0, "nps_promoter": 14, "nps_passive": 0}}, []),  # 84 at most
        ({"score": {"champion": 0, "first_success": 0, "testimonial": 0, "nps_promoter": 9, "nps_passive": 0}},
         ["score.direct_at"]),
        ({"too_early": {"require_onboarding": False, "tenure_days": 0}},
         ["too_early.require_onboarding", "too_early.tenure_days"]),
        ({"trouble": {"urgent_ticket_solved_days": 2}}, ["trouble.urgent_ticket_solved_days"]),
        ({"answers": {"no_days": 89}}, ["answers.maybe_days"]),
        ({"answers": {"no_days": 0, "maybe_days": 0}}, ["answers.no_days"]),
        ({"caps": {"customer_days": 0}}, ["caps.customer_days"]),
        ({"caps": {"account_gap_days": 44}}, []),  # on days 0, 44 and 88 of 90
        ({"caps": {"account_gap_days": 45}}, ["caps.account_asks"]),
        ({"caps": {"account_gap_days": 0}}, []),
        ({"moments": {"slot_weekday": "none"}}, ["moments.slot_weekday"]),
        ({"moments": {"quiet_weekdays": [1, 2, 3, 4, 6, 7]}}, ["moments.quiet_weekdays"]),
        ({"time_zone": {"zones": ["UTC"]}}, ["time_zone.zones"]),
        ({"time_zone": {"strict": True}}, ["time_zone.strict"]),
        ({"time_zone": {"strict": True, "zones": ["UTC"]}}, []),
        ({"rewards": {"enabled": True}}, ["rewards.holding_days", "rewards.programmes"]),
        ({"rewards": {"enabled": True, "holding_days": 14, "programmes": {"smb": {"kind": "recognition"}}}}, []),
        ({"breaker": {"enabled": False}}, ["breaker.enabled"]),
        ({"holdout": {"percent": 0}}, ["holdout.percent"]),
        ({"holdout": {"percent": 20}}, []),
        ({"holdout": {"percent": 21}}, ["holdout.percent"]),
        ({"harm": {"pause_at": 20}}, []),
        ({"harm": {"pause_at": 19}}, ["harm.pause_at"]),
        ({"harm": {"pause_at": 20}, "holdout": {"percent": 0}}, ["holdout.percent", "harm.pause_at"]),
        ({"experiments": {"a": {"trigger": "renewal", "templates": {"x": 1, "y": 1}}}}, []),
        ({"experiments": {"a": {"trigger": "renewal", "templates": {"x": 1, "y": 0}}}}, ["experiments.a.templates"]),
        ({"experiments": {"a": {"trigger": "renewal", "templates": {"x": 1, "y": 1}}},
          "triggers": {"renewal": {"enabled": False}}}, ["triggers.renewal.enabled", "experiments.a.trigger"]),
        ({"triggers": {"renewal": {"priority": 40}}}, ["triggers.renewal.priority"]),
        ({"triggers": {"renewal": {"priority": 40, "enabled": False}}}, ["triggers.renewal.enabled"]),
        ({"triggers": {"mine": OWN}}, ["triggers.mine.template", "triggers.mine.subject"]),
        ({"triggers": {"mine": {**OWN, "template": "t", "subject": "'once'"}}}, []),
    ],
)  # fmt: skip
def test_what_is_legal_and_odd_is_remarked_upon(odd: dict[str, Any], keys: list[str]) -> None:
    assert [oddity.key for oddity in oddities(build_policy(odd))] == keys
