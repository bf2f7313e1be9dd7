"""Amounts as people write them."""

from __future__ import annotations

import pytest

from referral_stream.words.afterwards import money


@pytest.mark.parametrize(
    ("minor", "currency", "said"),
    [
        (2_500, "EUR", "25.00 EUR"), (2_500, "jpy", "2,500 JPY"), (-1_001, "KWD", "-1.001 KWD"),
        (1_000_001_000, "XXX", "1,000,001,000 XXX"),
    ],
)  # fmt: skip
def test_money_has_the_decimals_of_its_currency_and_of_none_where_nobody_named_it(
    minor: int, currency: str, said: str
) -> None:
    assert money(minor, currency) == said
