"""docs/read-models.md lists every metric as it is."""

from __future__ import annotations

import re
from pathlib import Path

from referral_stream.projector.status import PROJECTOR_FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "read-models.md").read_text(encoding="utf-8")


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter) \| (.+?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert listed == [(each.name, each.kind, each.labels, each.meaning) for each in PROJECTOR_FAMILIES]
