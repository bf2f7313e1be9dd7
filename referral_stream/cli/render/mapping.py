"""A trial of mappings on the terminal: which adapter reads the payload, which rules match, and the result."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from referral_stream.cli.render.terminal import json_text
from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.inbound.trial import MappingTrial, Tried
from referral_stream.contracts.mapping.language import CLOUD_EVENTS, PLAIN
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.words.escaping import visible

_READERS = {
    CLOUD_EVENTS: f"a CloudEvent whose type is not in the contract (adapter {CLOUD_EVENTS})",
    PLAIN: f"a JSON object from no known vendor (adapter {PLAIN})",
}


def trial_lines(trial: MappingTrial) -> Iterator[str]:
    """The story of one trial, line by line."""
    yield f"recognised: {_reader(trial)}"
    for number, rules in enumerate(trial.tried):
        place = f"[{number}] " if len(trial.tried) > 1 else ""
        if not rules:
            yield f"{place}no mapping names this adapter"
        for tried in rules:
            yield f"{place}mapping {tried.rule.name}: {_answer(tried)}"
    match trial.adapted:
        case Accepted(events=events, letters=letters):
            for element, refused in letters:
                yield f"[{element.element_number}] dead letter: {refused.cause}: {refused.detail}"
            for event in events:
                yield f"event {event.type}"
                yield json_text(orjson.loads(encode_event(event)))
        case Skipped(reason=reason, detail=detail):
            yield visible(f"skipped: {reason}{f' ({detail})' if detail else ''}")
        case Refused(cause=cause, detail=detail):
            yield visible(f"dead letter: {cause}: {detail}")


def _reader(trial: MappingTrial) -> str:
    if trial.adapter is None:
        return "nothing that mappings apply to"
    return _READERS.get(trial.adapter, f"adapter {trial.adapter}")


def _answer(tried: Tried) -> str:
    if not tried.unmet:
        return f"matches, {'ignored' if tried.rule.type is None else f'becomes {tried.rule.type}'}"
    return f"does not match: {', '.join('.'.join(path) for path in tried.unmet)}"
