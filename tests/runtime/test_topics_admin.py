"""What ``topics check`` says of a number of partitions."""

from __future__ import annotations

import pytest

from referral_stream.contracts.topics import DAYS_400
from referral_stream.runtime.topics_admin import Wanted, _miscounted

GROWN = "has 8 partitions, but was written to by 4; more cannot be taken back"
REFILL = "take a new REFERRAL_STREAM_TOPIC_PREFIX and REFERRAL_STREAM_GROUP_PREFIX, refilled by replay"


@pytest.mark.parametrize(
    ("settings", "found", "made_with", "said"),
    [
        (4, 4, 4, []),
        (4, 8, 4, [(GROWN, REFILL)]),
        (8, 8, 4, [(GROWN, REFILL)]),  # the setting has followed
        (
            8,
            4,
            4,
            [
                (
                    "has 4 partitions, the settings say 8",
                    f"set REFERRAL_STREAM_PARTITIONS=4; for another number: {REFILL}",
                )
            ],
        ),
        (None, 8, 4, []),  # a source may have any number
    ],
)
def test_nobody_is_advised_to_follow_a_topic_that_has_grown(
    settings: int | None, found: int, made_with: int, said: list[tuple[str, str]]
) -> None:
    assert list(_miscounted(Wanted("customer-events", settings, DAYS_400), found, made_with)) == said
