"""The policy file: what is left out keeps its default, and every fault is named at once, with the nearest valid key."""

from __future__ import annotations

import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from referral_stream.core.conditions import CUSTOMER, EVENT
from referral_stream.core.instants import parse_instant
from referral_stream.core.policy import Policy
from referral_stream.policy_file.reading import PolicyProblem, build_policy, parse_policy
from referral_stream.policy_file.settings import settings_of


def faults(given: dict[str, Any]) -> list[str]:
    with pytest.raises(PolicyProblem) as caught:
        build_policy(given, "policy.toml")
    assert str(caught.value).splitlines() == [f"policy.toml: {fault}" for fault in caught.value.faults]
    return caught.value.faults


def write(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("text", ["", 'extends = "default"', "# nothing but a comment\n[caps]\n"])
def test_an_empty_file_is_the_default_policy(text: str) -> None:
    policy = parse_policy(text.encode())
    assert (policy, policy.hash) == (Policy(), Policy().hash)


def test_what_is_given_replaces_the_default_and_nothing_else() -> None:
    text = """
        name = "careful"
        version = 3
        milestones = ["hundredth invoice"]
        [caps]
        customer_days = 120
        [moments]
        quiet_weekdays = [7]
        [triggers.renewal]
        settle_seconds = 172_800
        active_since = "2026-06-01T00:00:00Z"
    """
    policy = parse_policy(text.encode())

    default = Policy()
    renewal = default.triggers["renewal"].model_copy(
        update={"settle_seconds": 172_800, "active_since": parse_instant("2026-06-01T00:00:00Z")[0]}
    )
    assert policy == default.model_copy(
        update={
            "name": "careful",
            "version": 3,
            "milestones": ("hundredth invoice",),
            "caps": default.caps.model_copy(update={"customer_days": 120}),
            "moments": default.moments.model_copy(update={"quiet_weekdays": (7,)}),
            "triggers": {**default.triggers, "renewal": renewal},
        }
    )


def test_two_files_that_say_the_same_have_the_same_hash() -> None:
    one = parse_policy(b"[caps]\ncustomer_days = 120\naccount_asks = 2\n")
    other = parse_policy(b"# why\n[caps]\naccount_asks=2   # a comment\ncustomer_days=120\n")
    assert one.hash == other.hash


@pytest.mark.parametrize(
    ("given", "key", "remedy"),
    [
        ({"cap": {}}, "cap", "did you mean 'caps'?"),
        ({"caps": {"customer_day": 9}}, "caps.customer_day", "did you mean 'customer_days'?"),
        ({"moments": {"slot_start": "13:00"}}, "moments.slot_start", "did you mean 'slot_from'?"),
        ({"triggers": {"renewal": {"window_day": 9}}}, "triggers.renewal.window_day", "did you mean 'window_days'?"),
        ({"holdout": {"percent": 51}}, "holdout.percent", "must be a number from 0 to 50 (got 51)"),
        ({"caps": {"customer_days": "many"}}, "caps.customer_days",
         "must be a whole number from 0 to 3,660 (got 'many')"),
        ({"score": {"soft_at": 80}}, "score", "70"),
        ({"time_zone": {"default": "Berlin"}}, "time_zone", "unknown time zone 'Berlin'"),
        ({"extends": "strict"}, "extends", 'only "default"'),
        ({"customer_days": 60}, "customer_days", "unknown key; did you mean caps.customer_days?"),
        ({"customer_day": 60}, "customer_day", "unknown key; did you mean caps.customer_days?"),
        ({"caps": {"slot_weekday": 5}}, "caps.slot_weekday", "unknown key; did you mean moments.slot_weekday?"),
        ({"settle_seconds": 5}, "settle_seconds", "unknown key; did you mean triggers.NAME.settle_seconds?"),
        ({"moments": {"slot_weekday": "friday"}}, "moments.slot_weekday",
         """must be 1 Monday … 7 Sunday, or "none" (got 'friday')"""),
        ({"moments": {"slot_weekday": 8}}, "moments.slot_weekday", 'must be 1 Monday … 7 Sunday, or "none" (got 8)'),
        ({"moments": {"quiet_weekdays": [8]}}, "moments.quiet_weekdays.0", "must be 1 Monday … 7 Sunday (got 8)"),
        ({"moments": {"quiet_from": "8pm"}}, "moments.quiet_from",
         """must be a time of day in quotes, as "20:00" (got '8pm')"""),
        ({"moments": {"quiet_from": time(20)}}, "moments.quiet_from", 'must be a time of day in quotes, as "20:00"'),
        ({"consent_default": 1}, "consent_default", 'must be one of "unknown", "granted" (got 1)'),
        ({"score": {"half_life_days": {"nps": 0}}}, "score.half_life_days.nps",
         'must be a whole number from 1 to 3,660, or "none" (got 0)'),
        ({"caps": 3}, "caps", "must be a table (got 3)"),
        ({"triggers": {"renewal": 3}}, "triggers.renewal", ""),
        ({"experiments": {"a": {"trigger": "renewals", "templates": {"x": 1}}}}, "experiments.a.trigger",
         "no trigger 'renewals'; did you mean 'renewal'?"),
        ({"experiments": {"a": {"trigger": "renewal", "templates": {"x": 0, "y": 0}}}}, "experiments.a.templates",
         "the weights are 0 together"),
        ({"experiments": {"a": {"trigger": "renewal", "templates": {"x": -1, "y": 2}}}}, "experiments.a.templates.x",
         "must be a number from 0 to 1,000,000: how often it is drawn, relative to the others (got -1)"),
        ({"experiments": {n: {"trigger": "renewal", "templates": {"x": 1}} for n in ("a", "b")}},
         "experiments.b.trigger", "renewal has the experiment a already"),
        ({"harm": {"pause_at": 1}}, "harm.pause_at",
         """must be a whole number from 2 to 1,000,000, or "none" (got 1)"""),
        ({"triggers": 3}, "triggers", "must be tables, one for each trigger: [triggers.NAME]"),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_the_remedy(given: dict[str, Any], key: str, remedy: str) -> None:
    (told,) = faults(given)
    assert told.startswith(key)
    assert remedy in told


def test_all_faults_are_told_at_once() -> None:
    told = faults({"cap": {}, "caps": {"advocacy_days": -1}, "holdout": {"percent": -1}})
    assert sorted(each.split(":")[0] for each in told) == ["cap", "caps.advocacy_days", "holdout.percent"]


@pytest.mark.parametrize("content", [b"caps = {", b"\xff\xfe", b"[caps]\n[caps]\n"])
def test_what_is_no_toml_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    with pytest.raises(PolicyProblem, match="not TOML") as caught:
        parse_policy(file.read_bytes(), str(file))
    assert str(caught.value).startswith(f"{file}: ")


def test_what_was_given_is_not_changed() -> None:
    given: dict[str, Any] = {"extends": "default", "triggers": {"renewal": {"priority": 11}}}
    build_policy(given)
    assert given == {"extends": "default", "triggers": {"renewal": {"priority": 11}}}


# ---- triggers: single keys, another kind of window, one of the team's own


def test_another_kind_of_window_does_away_with_the_length_of_the_old_one() -> None:
    renewal = build_policy({"triggers": {"renewal": {"window": "duration", "window_hours": 72}}}).triggers["renewal"]
    assert (renewal.window, renewal.window_hours, renewal.window_days) == ("duration", 72, None)
    assert (renewal.settle_seconds, renewal.template) == (86_400, "renewal")


def test_the_same_kind_of_window_keeps_its_length() -> None:
    assert build_policy({"triggers": {"renewal": {"window": "local_days"}}}) == Policy()


def test_a_trigger_of_the_teams_own_stands_beside_the_built_in_ones() -> None:
    policy = build_policy({"triggers": {"mine": MINE, "renewal": {"priority": 11}}})
    assert set(policy.triggers) == {*Policy().triggers, "mine"}
    assert (policy.triggers["mine"].when, policy.triggers["renewal"].priority) == ("customer.score > 60", 11)


MINE = {"on": ["workflow.completed"], "when": "customer.score > 60", "window_hours": 24}


@pytest.mark.parametrize(
    ("triggers", "key", "remedy"),
    [
        ({"renewl": {"priority": 1}}, "triggers.renewl", "did you mean 'renewal'? (a trigger of your own needs on and"),
        ({"mine": {**MINE, "window_hour": 24}}, "triggers.mine.window_hour", "did you mean 'window_hours'?"),
        ({"mine": {**MINE, "mode": "sofd"}}, "triggers.mine.mode", "did you mean 'soft'?"),
        ({"mine": {**MINE, "when": "customer.scor > 60"}}, "triggers.mine.when", "did you mean 'customer.score'?"),
        ({"mine": {**MINE, "on": ["workflow.done"]}}, "triggers.mine.on", "did you mean 'workflow.completed'?"),
        ({"mine": {**MINE, "on": "workflow.completed"}}, "triggers.mine.on", "must be a list, each text in quotes"),
        ({"mine": {"on": ["workflow.completed"], "window_hours": 1}}, "triggers.mine.on", "needs both on and when"),
        ({"My Own": MINE}, "triggers.'My Own'", "lower-case letters"),
        ({"renewal": {"on": ["usage.recorded"], "when": "true"}}, "triggers.renewal.on", "takes no on or when"),
        ({"renewal": {"subject": "'x'"}}, "triggers.renewal.subject", "needs on and when"),
        ({"renewal": {"opens_after_days": 3}}, "triggers.renewal.opens_after_days", "referral_converted only"),
        ({"mine": {**MINE, "score_at_least": 3}}, "triggers.mine.score_at_least", "referral_converted only"),
        ({"renewal": {"window": "duration"}}, "triggers.renewal.window", "needs window_hours"),
        ({"renewal": {"window_hours": 3}}, "triggers.renewal.window", "has no window_hours"),
        ({"mine": {**MINE, "settle_seconds": 86_400}}, "triggers.mine.settle_seconds", "86400 seconds to settle"),
        ({"mine": {**MINE, "settle_seconds": 86_100}}, "triggers.mine.settle_seconds", "the wait for rivals, 86400"),
        ({"milestone": {"settle_seconds": 82_500}}, "triggers.milestone.settle_seconds", "82800 seconds"),
    ],
)
def test_a_fault_in_a_trigger_names_its_key_and_the_remedy(triggers: dict[str, Any], key: str, remedy: str) -> None:
    (told,) = faults({"triggers": triggers})
    assert told.startswith(f"{key}: ")
    assert remedy in told


@pytest.mark.parametrize(
    "triggers",
    [
        {"mine": {**MINE, "settle_seconds": 86_099}},
        {"milestone": {"settle_seconds": 82_499}},
        {"renewal": {"settle_seconds": 7 * 86_400 - 3_600 - 301}},
        {"referral_converted": {"opens_after_days": 3, "score_at_least": 0}},
        {"nps_promoter": {"enabled": False, "mode": "mutual_benefit"}},
    ],
)
def test_a_trigger_at_its_limits_is_accepted(triggers: dict[str, Any]) -> None:
    build_policy({"triggers": triggers})


# ---- values as TOML writes them


def test_none_switches_off_what_can_be_off() -> None:
    policy = parse_policy(b'[moments]\nslot_weekday = "none"\n[score.half_life_days]\nnps = "none"\n')
    assert policy.moments.slot_weekday is None
    assert policy.score.half_life_days.nps is None


@pytest.mark.parametrize("instant", ["2026-06-01T02:00:00+02:00", '"2026-06-01T00:00:00Z"', "1780272000000"])
def test_an_instant_is_one_of_tomls_own_or_text_or_epoch_milliseconds(instant: str) -> None:
    policy = parse_policy(f"[triggers.renewal]\nactive_since = {instant}\n".encode())
    assert policy.triggers["renewal"].active_since == parse_instant("2026-06-01T00:00:00Z")[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[triggers.renewal]\nactive_since = 2026-06-01T00:00:00", "needs a UTC offset"),
        ("[triggers.renewal]\nactive_since = 2026-06-15", "(got 2026-06-15)"),
        ('[triggers.renewal]\nactive_since = "yesterday at T"', "not a date and time: 'yesterday at T'"),
        ("[triggers.renewal]\nactive_since = 2026-06-01", "RFC 3339"),
        ("[caps]\ncustomer_days = '90'", "whole number"),
        ("[caps]\ncustomer_days = 90.0", "whole number"),
        ("[caps]\ncustomer_days = true", "whole number"),
        ("shadow = 1", r"must be true or false \(got 1\)"),
        ("channels_allowed = []", "must be a list with at least one member"),
        ("[holdout]\npercent = nan", r"percent: .* \(got nan\)"),
    ],
)
def test_a_wrong_type_is_not_bent_into_the_right_one(text: str, problem: str) -> None:
    with pytest.raises(PolicyProblem, match=problem):
        parse_policy(text.encode())


def test_order_and_repetition_in_a_list_of_choices_say_nothing() -> None:
    one = build_policy({"channels_allowed": ["phone", "email"], "moments": {"quiet_weekdays": [7, 6, 7]}})
    other = build_policy({"channels_allowed": ["email", "phone"], "moments": {"quiet_weekdays": [6, 7]}})
    assert (one, one.hash) == (other, other.hash)


# ---- contradictions


_ELSEWHERE = ("nps_promoter", "nps_passive", "first_success", "testimonial", "interactions", "engaged")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"score": {"nps_passive": 31}}, "score.nps_passive"),
        ({"score": {"direct_at": 40}}, "score.soft_at"),
        ({"score": dict.fromkeys(_ELSEWHERE, 0)}, None),  # 50 points are left
        ({"score": {**dict.fromkeys(_ELSEWHERE, 0), "tenure": 9}}, "score.soft_at"),
        ({"trouble": {"usage_recovered_percent": 60}}, "trouble.usage_recovered_percent"),
        ({"trouble": {"usage_recovered_percent": 61}}, None),
        ({"answers": {"two_silences_days": 14}}, "answers.two_silences_days"),
        ({"answers": {"two_silences_days": 15}}, None),
        ({"answers": {"two_silences_days": 0}}, None),
        ({"caps": {"account_gap_days": 91}}, "caps.account_gap_days"),
        ({"caps": {"account_gap_days": 90}}, None),
        ({"ledger": {"retry_seconds": 301}}, "ledger.retry_seconds"),
        ({"ledger": {"retry_seconds": 300}}, None),
        ({"moments": {"quiet_weekdays": [5]}}, "moments.slot_weekday"),
        ({"moments": {"rival_wait_seconds": 82_680}}, "triggers.milestone.settle_seconds"),
        ({"moments": {"rival_wait_seconds": 82_679}}, None),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_from_its_limit_on(given: dict[str, Any], key: str | None) -> None:
    if key is None:
        build_policy(given)
    else:
        assert key in [fault.partition(":")[0] for fault in faults(given)]


def test_one_fault_does_not_hide_another_of_the_same_section_or_trigger() -> None:
    told = faults(
        {
            "score": {"tenure": "much", "soft_at": 80, "nps_passive": 40},
            "moments": {"quiet_from": "07:00", "slot_weekday": 6, "last_call_seconds": 0},
            "triggers": {"mine": {"on": ["nps.responded"], "when": "customer.x", "windw_hours": 1}, "milestone": 3},
            "time_zone": {"default": "Mars", "zones": ["Venus", "UTC"]},
        }
    )
    assert [fault.partition(":")[0] for fault in told] == [
        "moments.last_call_seconds", "moments.quiet_from", "moments.slot_weekday", "score.nps_passive", "score.soft_at",
        "score.tenure", "time_zone.default", "time_zone.zones", "triggers.milestone", "triggers.mine.when",
        "triggers.mine.window", "triggers.mine.windw_hours",
    ]  # fmt: skip


def test_a_value_that_cannot_be_read_contradicts_nothing() -> None:
    """Its default would: 80 points for soft, and the default 70 in place of "high" for direct."""
    assert len(faults({"score": {"soft_at": 80, "direct_at": "high"}})) == 1
    assert len(faults({"moments": {"slot_weekday": 6, "quiet_weekdays": [6, 8]}})) == 1


# ---- whatever it is


_KEYS = sorted(
    {*(part for setting in settings_of(Policy()) for part in setting.key.split(".")), "on", "mine", "extends"}
)
_VALUES = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.datetimes(), st.dates(), st.times(),
    st.sampled_from(["none", "default", "13:00", "duration", "local_day", "true", "customer.score > 3", "event.id"]),
)  # fmt: skip


@st.composite
def _toml(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """What a TOML file may hold, with keys that are mostly ours."""
    inner = st.one_of(_VALUES, st.lists(_VALUES | st.sampled_from(["email", "nps.responded"]), max_size=3))
    if depth:
        inner = st.one_of(inner, _toml(depth - 1))
    keys = st.one_of(st.sampled_from(_KEYS), st.text(max_size=5))
    return draw(st.dictionaries(keys, inner, max_size=4))


def _told(given: dict[str, Any]) -> Policy | list[str]:
    try:
        return build_policy(given)
    except PolicyProblem as problem:
        return problem.faults


@for_any(_toml())
@settings(max_examples=300, deadline=None)
def test_any_file_is_a_policy_or_a_problem_with_a_line_for_each_fault(given: dict[str, Any]) -> None:
    told = _told(given)
    assert isinstance(told, Policy) or (told and all(fault and "\n" not in fault for fault in told))
    assert _told(given) == told


@for_any(_toml())
@settings(max_examples=100, deadline=None)
def test_what_is_no_table_of_triggers_is_a_problem(given: dict[str, Any]) -> None:
    with pytest.raises(PolicyProblem):
        build_policy({**given, "triggers": [given]})


# ---- the sample


ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "referral_stream" / "policy_file" / "starting_file.toml"


def test_the_sample_says_the_default_policy_and_every_setting_of_it() -> None:
    assert parse_policy(SAMPLE.read_bytes()) == Policy()
    written = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    left_out = {"enabled", "active_since", "mode", "on", "when", "subject", "window_hours", "window_days"}
    left_out |= {"opens_after_days", "score_at_least", "programmes", "experiments"}
    assert _missing(Policy().model_dump(), written) <= left_out


def _missing(whole: dict[str, Any], written: dict[str, Any]) -> set[str]:
    missing = whole.keys() - written.keys()
    for key in whole.keys() & written.keys():
        if isinstance(whole[key], dict):
            missing |= _missing(whole[key], written[key])
    return missing


def test_the_examples_in_the_sample_work_when_their_mark_is_taken_away() -> None:
    text = SAMPLE.read_text(encoding="utf-8").replace("#: ", "")
    assert build_policy(tomllib.loads(text)).triggers["power_user"].on == ("workflow.completed",)


def test_the_examples_and_names_in_the_documentation_are_right() -> None:
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        build_policy(tomllib.loads(block))
    assert set(re.findall(r"^\| `((?:event|customer)\.[a-z_]+)` \|", text, flags=re.MULTILINE)) == {*EVENT, *CUSTOMER}
