"""docs/read-models.md lists every metric as it is; and what is said of a Redis that lets nobody in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from referral_stream.ledger import redis_answers
from referral_stream.projector.status import PROJECTOR_FAMILIES, STUCK_SECONDS, ProjectorStatus

PAGE = (Path(__file__).parents[2] / "docs" / "read-models.md").read_text(encoding="utf-8")


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter) \| (.+?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert listed == [(each.name, each.kind, each.labels, each.meaning) for each in PROJECTOR_FAMILIES]


class Refused:
    """A projecting whose Redis gives this error."""

    available, assignments, opening, looked_at = False, 1, False, 0

    def __init__(self, error: Exception) -> None:
        self.login = redis_answers.LoginWatch()
        self.login.note(error)


@pytest.mark.parametrize(
    ("error", "lacks", "trouble"),
    [
        (RedisConnectionError("away"), "Redis does not answer", ""),
        (AuthenticationError("WRONGPASS"), "Redis refuses our login", "refused: Redis has refused our login for 121 s"),
    ],
    ids=["away", "refuses"],
)
def test_a_login_that_redis_refuses_is_said_and_after_two_minutes_trouble(
    monkeypatch: pytest.MonkeyPatch, error: Exception, lacks: str, trouble: str
) -> None:
    shown = [1_000.0]
    monkeypatch.setattr(redis_answers, "monotonic", lambda: shown[0])
    projecting: Any = Refused(error)
    status = ProjectorStatus(projecting, alone=True)
    assert status.lacks() == lacks
    shown[0] += STUCK_SECONDS
    assert status.trouble() == ""
    shown[0] += 1
    assert status.trouble() == trouble
