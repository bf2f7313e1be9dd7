"""The JSON API does what its own description says, whatever is thrown at it: schemathesis makes that up."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest

from tests.console.conftest import Site
from tests.console.world import OPERATORS, VIEWERS

schemathesis = pytest.importorskip("schemathesis", reason="NOT TESTED: the JSON API; schemathesis is not installed")
BEARER = {"Authorization": f"Bearer {OPERATORS}"}


ACCEPTED = schemathesis.checks.load_all_checks() or schemathesis.checks.CHECKS.get_one("positive_data_acceptance")
"""Left out: what is of the right form may still name a trigger that there is not."""

EXAMPLES = hypothesis.settings(
    max_examples=12, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


def every_operation(site: Site) -> list[Any]:
    found = schemathesis.openapi.from_url(f"{site.url}/api/schema/openapi.json", headers=BEARER)
    return [result.ok() for result in found.get_all_operations()]


def test_the_api_is_as_it_is_described(site: Site, subtests: pytest.Subtests) -> None:
    operations = every_operation(site)
    assert len(operations) == 7
    for operation in operations:
        with subtests.test(operation.label):

            @EXAMPLES
            @hypothesis.given(case=operation.as_strategy())
            def called(case: Any) -> None:
                case.call_and_validate(headers=BEARER, timeout=30, excluded_checks=[ACCEPTED])

            called()


def test_nothing_is_given_to_strangers_and_no_control_to_viewers(site: Site, subtests: pytest.Subtests) -> None:
    before = len(site.writer.written)
    for operation in every_operation(site):
        with subtests.test(operation.label):

            @hypothesis.settings(EXAMPLES, max_examples=3)
            @hypothesis.given(case=operation.as_strategy())
            def called(case: Any) -> None:
                assert case.call(timeout=30).status_code == 401
                if case.method.upper() == "POST":
                    answer = case.call(headers={"Authorization": f"Bearer {VIEWERS}"}, timeout=30)
                    assert answer.status_code in (400, 403)

            called()
    assert len(site.writer.written) == before
