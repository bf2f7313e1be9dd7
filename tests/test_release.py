"""A release has one version: a tag that the package or the changelog does not name is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "check_release", Path(__file__).parents[1] / "tools" / "check_release.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
check_release = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_release)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One that is ready to be released as 1.2.3."""
    (tmp_path / "referral_stream").mkdir()
    (tmp_path / "referral_stream" / "__init__.py").write_text('"""It."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.3 (2026-11-29)\n\n### Added\n\n## 1.2.2 (2026-10-01)\n"
    )
    (tmp_path / "changes.d").mkdir()
    (tmp_path / "changes.d" / "README.md").touch()
    return tmp_path


def test_what_agrees_may_be_released(checkout: Path) -> None:
    assert check_release.problems("v1.2.3", checkout) == []


@pytest.mark.parametrize("tag", ["v1.2.2", "1.2.3", "v1.2.3rc1", "v1.2.30"])
def test_another_tag_is_refused_by_package_and_changelog(checkout: Path, tag: str) -> None:
    in_the_way = check_release.problems(tag, checkout)
    assert len(in_the_way) == 2
    assert all(tag in problem and "1.2.3" in problem for problem in in_the_way)


def test_a_changelog_that_lags_behind_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.2 (2026-10-01)\n")
    (problem,) = check_release.problems("v1.2.3", checkout)
    assert "make changelog" in problem


def test_a_change_that_is_left_over_is_named(checkout: Path) -> None:
    (checkout / "changes.d" / "+exports.added.md").touch()
    (problem,) = check_release.problems("v1.2.3", checkout)
    assert "+exports.added.md" in problem
