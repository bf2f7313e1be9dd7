"""What an event of a type may hold, where a field alone does not say it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from referral_stream.core import events as ev
from referral_stream.core.events import Data
from tests.builders import fact
from tests.rules import rule


@pytest.mark.parametrize(
    ("score", "scale", "fine"),
    [(0, 5, True), (5, 5, True), (-0.5, 5, False), (5.5, 5, False), (0, 0, False), (float("nan"), 5, False)],
)
def test_a_score_lies_on_its_scale(score: float, scale: float, fine: bool) -> None:
    if fine:
        assert ev.CsatResponded(response_id="r", score=score, scale_max=scale).score == score
        return
    with pytest.raises(ValidationError):
        ev.CsatResponded(response_id="r", score=score, scale_max=scale)


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), float("nan")])
def test_no_number_is_infinite_or_none(score: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        ev.SavingMeasured(kind="time", amount=score, unit="hours")


@pytest.mark.parametrize(
    ("scope", "name", "fine"),
    [("all", None, True), ("trigger", "renewal", True), ("segment", "smb", True), ("trigger", None, False),
     ("segment", None, False), ("segment", "", False)],
)  # fmt: skip
@pytest.mark.parametrize("switch", [ev.ControlPaused, ev.ControlResumed])
def test_a_switch_for_some_says_for_which(switch: type[Data], scope: str, name: str | None, fine: bool) -> None:
    given = {"scope": scope, "name": name, "by": "an operator", "why": "a test"}
    if fine:
        assert switch.model_validate(given).model_dump(include={"scope", "name"}) == {"scope": scope, "name": name}
        return
    with pytest.raises(ValidationError, match="needs a name"):
        switch.model_validate(given)


@rule("11.20")
@pytest.mark.parametrize(
    ("data", "field"),
    [
        (ev.NpsResponded, {"response_id": "r", "score": 3}),
        (ev.UsageRecorded, {"count": 12}),
        (ev.SubscriptionExpanded, {"deal_id": "d", "amount_minor": -1_000}),
        (ev.ReferralStatusChanged, {"referral_id": "r", "status": "converted", "deal_value_minor": 2**53}),
    ],
)
def test_an_integral_float_is_an_integer(data: type[Data], field: dict[str, Any]) -> None:
    *_, (name, number) = field.items()

    for written in (number, float(number)):
        read = getattr(data.model_validate(field | {name: written}), name)
        assert (read, type(read)) == (number, int)
    for written in (number + 0.5 if number < 2**50 else 1e300, True, str(number), float("nan")):
        with pytest.raises(ValidationError):
            data.model_validate(field | {name: written})


@rule("11.20")
def test_hex_is_read_in_any_case() -> None:
    assert ev.ProfileChanged(email_hmac="AB" * 32).email_hmac == "ab" * 32
    for written in ("ab" * 31, "ag" * 32, " " + "ab" * 32):
        with pytest.raises(ValidationError):
            ev.ProfileChanged(email_hmac=written)


@pytest.mark.parametrize(
    ("ends", "fine"),
    [({"until": 1}, True), ({"until_event": "control.resumed"}, True), ({}, False),
     ({"until": 1, "until_event": "control.resumed"}, False)],
)  # fmt: skip
def test_a_denial_stands_until_an_instant_or_until_an_event(ends: dict[str, Any], fine: bool) -> None:
    given = {"command_id": "c", "gate": "paused", "saw": "paused: all", **ends}
    if fine:
        assert ev.ReservationDenied.model_validate(given).model_dump(exclude_none=True) == given
        return
    with pytest.raises(ValidationError, match="exactly one"):
        ev.ReservationDenied.model_validate(given)


def test_an_event_can_not_be_changed() -> None:
    event = fact(ev.AdviceAsked())
    with pytest.raises(AttributeError, match="immutable"):
        event.time = 0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        fact(ev.NpsResponded(response_id="r", score=9)).data.score = 10
