"""What a producer says about an event → its body. What protects is not lost over a field that it does not need.

A body that is as it should be is only validated. Else its ids and numbers are read as leniently as can be without
guessing, optional fields that cannot be used are dropped, and what protects does without what only names an object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
from pydantic import ValidationError

from referral_stream.contracts.addresses import hmac_in
from referral_stream.contracts.identifiers import is_placeholder, usable_id
from referral_stream.contracts.outcomes import Refused
from referral_stream.contracts.validation import FACT_BODIES, explain
from referral_stream.core.events import ASKING, FACT_TYPES, ComplaintMade, Data, is_favourable, may_protect

DROPPED: Final = "field_dropped"
"""Flag of an event of which a field could not be used."""

OBJECTS: Final = frozenset({
    "ticket_id", "charge_id", "invoice_id", "subscription_id", "contract_id", "deal_id", "call_id", "task_id",
})  # fmt: skip
"""Fields that name the object of a trouble: without a usable one, it is a complaint."""


class BodyRead(msgspec.Struct, gc=False):
    """A body, and whether any field of it was dropped."""

    body: Data
    dropped: bool = False


def read_body(kind: str, data: dict[str, Any], event_id: str) -> BodyRead | Refused:
    """The body of an event of this type; ``event_id`` is the response's or the answer's id where there is none."""
    ids = _IDS[kind]
    given = len(data)
    if ids and not ids.isdisjoint(data):
        data = _with_ids(kind, data, ids, event_id)
    if kind == "customer.consent_changed" and data.get("granted") is not True:
        data = data | {"purpose": _purpose(data.get("purpose"))}
    if kind == "customer.profile_changed" and (hashed := data.get("email_hmac")) is not None:
        data = data | {"email_hmac": hmac_in(hashed) or hashed}
    try:
        return BodyRead(FACT_BODIES[kind](data), len(data) < given)
    except ValidationError as error:
        return _repaired(kind, data, event_id, error, dropped=len(data) < given)


def _purpose(given: Any) -> Any:
    """For what consent is withdrawn; withdrawn for everything is withdrawn for asking too."""
    if type(given) is not str:
        return given
    word = given.strip().lower()
    return ASKING if word in _EVERYTHING else word


_EVERYTHING: Final = frozenset({"", "all", "any", "*"})


def _with_ids(kind: str, data: dict[str, Any], ids: frozenset[str], event_id: str) -> dict[str, Any]:
    """The data with its ids in their one spelling, without those that are unusable.

    Two responses that are both called "undefined" are not one: each has the id of its event.
    """
    made = data
    for name in ids:
        value = data.get(name)
        if value is None:
            continue
        text = usable_id(value)
        if text is not None and is_placeholder(text):
            if name == "account_id" or (name in OBJECTS and may_protect(kind)):
                text = None
            elif name == "response_id":
                text = event_id
        if text != value:
            made = made | {name: text} if text is not None else {n: v for n, v in made.items() if n != name}
    return made


def _repaired(
    kind: str, data: dict[str, Any], event_id: str, error: ValidationError, *, dropped: bool
) -> BodyRead | Refused:
    """What remains of a body with faults, one round per kind of fault; the first error where nothing helps."""
    refused = Refused("invalid", explain(error))
    needed = False  # whether something required was made up: what speaks for asking is then refused
    for _ in range(_ROUNDS):
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            place = problem["loc"]
            if not place:
                return refused
            name = str(place[0])
            value = data.get(name)
            if name in _INTEGERS[kind] and type(value) is float and value.is_integer():
                data = data | {name: int(value)}
            elif (read := _understood(name, value)) is not None:
                data, needed = data | {name: read}, True
            elif len(place) > 1 and isinstance(value, Mapping) and name in _OPTIONAL[kind]:
                data = data | {name: {n: v for n, v in value.items() if n != place[1]}}
                dropped = True
            elif name in _OPTIONAL[kind]:
                data = {n: v for n, v in data.items() if n != name}
                dropped = True
            elif not may_protect(kind):
                return refused
            elif name in OBJECTS:
                return BodyRead(ComplaintMade(), dropped=True)
            elif (name, kind) in _OWN_ID:
                data, needed = data | {name: event_id}, True
            elif (name, kind) in _HARMLESS:
                data, needed, dropped = data | {name: _HARMLESS[name, kind]}, True, True
            else:
                return refused
        try:
            body = FACT_BODIES[kind](data)
        except ValidationError as another:
            error = another
        else:
            return refused if needed and is_favourable(body) else BodyRead(body, dropped)
    return refused


def _understood(name: str, value: Any) -> Any:
    """What a field says that is written in another way than the contract's; None where that is not certain.

    Only what holds back is understood so: a number as text, a word in capitals, and of yes and no the careful one.
    """
    if isinstance(value, Mapping) and name == "channels":
        return {n: v for n, v in value.items() if type(v) is bool} | {n: False for n, v in value.items() if _is(v, _NO)}
    if name in _CAREFUL:
        careful = _CAREFUL[name]
        return careful if type(value) is not bool and _is(value, _YES if careful else _NO) else None
    if not isinstance(value, str) or len(value) > _LONGEST_WORD:
        return None
    if name in _NUMBERS and _NUMBER(value.strip()):
        return float(value)
    word = value.strip().lower()
    return word if name in _WORDS and word != value else None


def _is(value: Any, words: frozenset[str]) -> bool:
    return type(value) in (str, int) and str(value).strip().lower() in words


_LONGEST_WORD: Final = 64
_YES: Final = frozenset({"true", "yes", "1"})
_NO: Final = frozenset({"false", "no", "0"})
_CAREFUL: Final = {
    "positive": False,
    "above_average": False,
    "champion": False,
    "requires_approval": True,
    "trial": True,
}
"""Fields that are true or false → the value that holds back."""
_NUMBERS: Final = frozenset({"score", "scale_max", "rating"})
_NUMBER = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,9})?").fullmatch
_WORDS: Final = frozenset({"answer", "rating", "status", "channel", "priority", "segment"})
"""Fields that are one of a few words."""
_ROUNDS: Final = 4

_OWN_ID: Final = frozenset({
    ("response_id", "nps.responded"), ("response_id", "csat.responded"), ("command_id", "ask.answered"),
})  # fmt: skip
"""An answer without an id of its own is one of its own."""

_HARMLESS: Final[Mapping[tuple[str, str], Any]] = {
    ("purpose", "customer.consent_changed"): "referral_ask",
    ("channel", "customer.consent_changed"): "all",
    ("granted", "customer.consent_changed"): False,
    ("kind", "interaction.recorded"): "event",
    ("kind", "advocacy.asked"): "other",
    ("won", "dispute.closed"): False,
    ("converted", "trial.ended"): False,
    ("rating", "ticket.rated"): "negative",
    ("positive", "feedback.shared"): False,
    ("champion", "champion.changed"): False,
    ("answer", "ask.answered"): "unclear",
}
"""What a field without which a protective event could not be read is taken for: what holds back."""


def _is_id(name: str) -> bool:
    return name.endswith("_id") or name in {"peer_ref", "alias", "value", "reference", "milestone", "url"}


def _is_integer(annotation: Any) -> bool:
    return annotation is int or any(map(_is_integer, get_args(annotation)))


_IDS: Final = {kind: frozenset(filter(_is_id, model.model_fields)) for kind, model in FACT_TYPES.items()}
_OPTIONAL: Final = {
    kind: frozenset(name for name, field in model.model_fields.items() if not field.is_required())
    for kind, model in FACT_TYPES.items()
}
_INTEGERS: Final = {
    kind: frozenset(name for name, field in model.model_fields.items() if _is_integer(field.annotation))
    for kind, model in FACT_TYPES.items()
}
