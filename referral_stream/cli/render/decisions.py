"""One decision as a line for people, or as JSON with the important fields first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from referral_stream.cli.render.explanation import stamp
from referral_stream.cli.render.terminal import json_text
from referral_stream.core.effects import Decision
from referral_stream.core.instants import parse_instant
from referral_stream.words.decisions import happening, outcome_words, why, zone_of

_ATTRIBUTES: Final = ("type", "subject", "time", "id", "source", "specversion")
_FIRST: Final = ("customer_id", "trigger", "outcome")


def as_line(event: Mapping[str, Any]) -> str:
    decision = event["data"]
    at = stamp(parse_instant(decision["decided_at"])[0], zone_of(decision))
    about = f"{happening(decision['trigger'])}: {outcome_words(decision['outcome'])}, {why(decision)}"
    return f"{at}  {decision['customer_id']}  {about}"


def as_json(event: Mapping[str, Any]) -> str:
    """Indented; its data comes last, and in it first of all who, about what, and what was decided."""
    data = _ordered(event["data"], (*_FIRST, *Decision.model_fields))
    attributes = {name: value for name, value in event.items() if name != "data"}
    return json_text(_ordered(attributes, _ATTRIBUTES) | {"data": data})


def _ordered(values: Mapping[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    known = {name: values[name] for name in first if name in values}
    return known | {name: value for name, value in values.items() if name not in known}
