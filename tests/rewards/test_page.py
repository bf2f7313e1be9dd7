"""docs/rewards.md says what is so: the settings, the metrics, the code that verifies a signature."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from referral_stream.rewards.signing import Signer
from referral_stream.rewards.status import REWARDS_FAMILIES
from referral_stream.runtime.settings import MemberSettings, RewardsSettings
from tests.rewards.paying import OLD_SECRET, SECRET, granted

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter) \| (.+?) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows]
    assert listed == [(each.name, each.kind, each.labels, each.meaning) for each in REWARDS_FAMILIES]


def test_the_page_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(REWARDS_\w+)`[ ✱]* \| (.+?) \|", PAGE, flags=re.MULTILINE))
    own = {n: f for n, f in RewardsSettings.model_fields.items() if n not in MemberSettings.model_fields}
    assert rows.keys() == {name.upper() for name in own}
    for name, field in own.items():
        shown = rows[name.upper()].strip("`")
        if field.is_required():
            assert shown == "required"
        elif field.default is not None:
            is_float = isinstance(field.default, float)
            assert shown == (f"{field.default:g}" if is_float else str(field.default).lower())


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_the_examples_verify_what_we_sign_and_nothing_else(secret: str) -> None:
    with_library, without = EXAMPLES
    known: dict[str, Any] = {}
    exec(with_library + without, known)
    body = granted("ana")
    headers = Signer([SECRET, OLD_SECRET]).headers("key", body, time.time_ns() // 1_000_000)
    assert known["event_of"](body, headers, secret) == json.loads(body)
    assert known["is_ours"](body, headers, secret)
    assert known["event_of"](body + b" ", headers, secret) is None
    assert not known["is_ours"](body + b" ", headers, secret)
    old = Signer([SECRET, OLD_SECRET]).headers("key", body, time.time_ns() // 1_000_000 - 600_000)
    assert known["event_of"](body, old, secret) is None
    assert not known["is_ours"](body, old, secret)
