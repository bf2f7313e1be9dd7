"""The policy file: what is left out keeps its default, and every fault is named at once, with the nearest valid key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.policy_file import PolicyProblem, build_policy, read_policy
from referral_stream.core.instants import parse_instant
from referral_stream.core.policy import Policy


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
def test_an_empty_file_is_the_default_policy(tmp_path: Path, text: str) -> None:
    policy = read_policy(write(tmp_path, text))
    assert (policy, policy.hash) == (Policy(), Policy().hash)


def test_what_is_given_replaces_the_default_and_nothing_else(tmp_path: Path) -> None:
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
    policy = read_policy(write(tmp_path, text))

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


def test_two_files_that_say_the_same_have_the_same_hash(tmp_path: Path) -> None:
    one = read_policy(write(tmp_path, "[caps]\ncustomer_days = 120\naccount_asks = 2\n"))
    other = read_policy(write(tmp_path, "# why\n[caps]\naccount_asks=2   # a comment\ncustomer_days=120\n"))
    assert one.hash == other.hash


@pytest.mark.parametrize(
    ("given", "key", "remedy"),
    [
        ({"cap": {}}, "cap", "did you mean 'caps'?"),
        ({"caps": {"customer_day": 9}}, "caps.customer_day", "did you mean 'customer_days'?"),
        ({"moments": {"slot_start": "13:00"}}, "moments.slot_start", "did you mean 'slot_from'?"),
        ({"triggers": {"renewal": {"window_day": 9}}}, "triggers.renewal.window_day", "did you mean 'window_days'?"),
        ({"holdout": {"percent": 51}}, "holdout.percent", "less than or equal to 50"),
        ({"caps": {"customer_days": "many"}}, "caps.customer_days", "integer"),
        ({"score": {"soft_at": 80}}, "score", "70"),
        ({"time_zone": {"default": "Berlin"}}, "time_zone", "unknown time zone 'Berlin'"),
        ({"extends": "strict"}, "extends", 'only "default"'),
        ({"triggers": {"renewal": 3}}, "triggers.renewal", ""),
        ({"triggers": 3}, "triggers", ""),
    ],
)
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
        read_policy(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_policy(tmp_path / "none.toml")


def test_what_was_given_is_not_changed() -> None:
    given: dict[str, Any] = {"extends": "default", "triggers": {"renewal": {"priority": 11}}}
    build_policy(given)
    assert given == {"extends": "default", "triggers": {"renewal": {"priority": 11}}}
