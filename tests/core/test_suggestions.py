"""Did you mean …?"""

from __future__ import annotations

import pytest

from referral_stream.core.suggestions import nearest, nearest_few

KNOWN = ["cus-01", "cus-10", "cus-21", "cus-31", "Ana", "ANA", "order-7"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CUS-01", ["cus-01"]), ("cus-1", ["cus-01"]), ("CUS-001", ["cus-01"]), ("cus-010", ["cus-10"]),
        ("ana", ["Ana", "ANA"]), ("order-007", ["order-7"]), ("zzz", []),
    ],
)  # fmt: skip
def test_case_and_zeros_in_front_of_a_number_are_no_difference(name: str, meant: list[str]) -> None:
    assert nearest_few(name, KNOWN, 3) == meant
    assert nearest(name, KNOWN) == next(iter(meant), None)


def test_else_it_is_the_most_alike() -> None:
    assert nearest("oder-7", KNOWN) == "order-7"
