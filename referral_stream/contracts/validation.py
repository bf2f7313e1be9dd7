"""Message bodies: from parsed JSON to the model of its type, and what is wrong with it without quoting it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from referral_stream.core.events import FACT_TYPES, TYPES, Data


def validators(models: Mapping[str, type[BaseModel]]) -> dict[str, Callable[[Any], Any]]:
    """Type name → what makes a body from a dict. The validator itself, since ``model_validate`` doubles the cost."""
    return {name: model.__pydantic_validator__.validate_python for name, model in models.items()}


READ_FROM: Mapping[str, Mapping[str, str]] = {"ask.answered": {"answer": "text"}}
"""Type → required fields that ingest reads from another field where the producer leaves them out."""

FACT_BODIES: dict[str, Callable[[Any], Data]] = validators(FACT_TYPES)
EVENT_BODIES: dict[str, Callable[[Any], Data]] = validators(TYPES)


def explain(error: ValidationError) -> str:
    """Which fields break which rules. Never the values: they may be a person's."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'data'}: {_rule(problem['type'], problem['msg'])}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _rule(kind: str, message: str) -> str:
    # Our own validators may quote their input; pydantic's messages never do.
    return "the values do not go together" if kind == "value_error" else message
