"""A trial of mappings on the terminal, step by step: who reads the payload, which rules match, what they take from
where, and the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from referral_stream.cli.render.terminal import json_text
from referral_stream.contracts.codec import encode_event
from referral_stream.contracts.inbound.trial import Checked, MappingTrial, Tried, TriedReader
from referral_stream.contracts.mapping.language import CLOUD_EVENTS, PLAIN
from referral_stream.contracts.mapping.paths import shown
from referral_stream.contracts.mapping.values import UNREADABLE, ValueRead
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.core.instants import EARLIEST, LATEST, rfc3339
from referral_stream.words.escaping import visible

_LONGEST = 60
"""Characters of a value that are shown."""


def trial_lines(trial: MappingTrial) -> Iterator[str]:
    """The story of one trial, line by line: what belongs to a mapping is indented."""
    if not trial.readers:
        yield "recognised: nothing that mappings apply to"
    for reader in trial.readers:
        yield from _reader_lines(reader, trial)
    if trial.unread and not any(tried.matches for reader in trial.readers for tried in reader.tried):
        yield from _unread_lines(trial)
    yield from _outcome_lines(trial)


def _reader_lines(reader: TriedReader, trial: MappingTrial) -> Iterator[str]:
    many = f", {reader.notifications} notifications" if reader.notifications != 1 else ""
    yield f"recognised: {_reader(reader, trial)}{', a form' if trial.body == 'form' else ''}{many}"
    if not reader.notifications:
        yield "the list that each names is empty, or not there"
    elif not reader.tried:
        yield f"no mapping names this {'source' if reader.is_source and reader.name != PLAIN else 'adapter'}"
    for tried in reader.tried:
        yield from _tried_lines(tried)


def _reader(reader: TriedReader, trial: MappingTrial) -> str:
    if reader.name == CLOUD_EVENTS:
        return f"a CloudEvent whose type is not in the contract (adapter {CLOUD_EVENTS})"
    if reader.name == PLAIN:
        is_claimed = any(each.name != PLAIN and not each.is_source for each in trial.readers)
        what = f"JSON on {trial.topic}, which mappings name" if is_claimed else "a JSON object from no known vendor"
        return f"{what} (adapter {PLAIN})"
    return f"{'source' if reader.is_source else 'adapter'} {reader.name}"


def _tried_lines(tried: Tried) -> Iterator[str]:
    rule = tried.rule
    who = f"{tried.place} mapping {rule.name}" if tried.place else f"mapping {rule.name}"
    if tried.is_elsewhere:
        yield visible(f"{who}: does not match: topic")
        yield visible(f"    NO  it is for {' and '.join(rule.topics)}: try it with --topic {rule.topics[0]}")
    elif tried.is_empty and rule.each is not None:
        yield visible(f"{who}: does not match: each")
        yield visible(f"    NO  there is no list, or an empty one, at {shown(rule.each)}")
    elif tried.matches:
        yield visible(f"{who}: matches, {'ignored' if rule.type is None else f'becomes {rule.type}'}")
    else:
        unmet = (shown(each.condition.path).removeprefix("$.") for each in tried.checked if not each.holds)
        yield visible(f"{who}: does not match: {', '.join(unmet)}")
    for checked in tried.checked:
        yield visible(f"    {'yes' if checked.holds else 'NO '} {_condition(checked)}")
    for name, read in tried.values:
        yield visible(f"    {name} = {_value(name, read)}")
        if name == "subject" and isinstance(read.made, str) and "@" in read.made:
            yield "    check: an address as id travels on as it is: write link.email, unless your ids are addresses"


def _condition(checked: Checked) -> str:
    condition, found, _ = checked
    path = shown(condition.path)
    is_there = "nothing there" if found is None else f"there is {_text(found)}"
    if condition.values:
        wanted = " or ".join(map(_text, condition.values))
    elif condition.bounds:
        wanted = " and ".join(f"{name.replace('_', ' ')} {limit:g}" for name, limit in condition.bounds)
    else:
        wanted = "anything" if condition.exists else "nothing"
    return f"{path} is {wanted}: {is_there}"


def _value(name: str, read: ValueRead) -> str:
    made, path, found, problem = read.made, read.path, read.found, read.problem
    if path is None:
        return f"nothing: {problem}" if problem else f"{_made(name, made)} (as written)"
    where = shown(path)
    if problem:
        return f"UNREADABLE: {where} is {_text(found)}, which {problem}"
    if found is None:
        return f"{_made(name, made)} (the default: nothing at {where})" if made is not None else f"nothing at {where}"
    was = "" if _made(name, made) == _text(found) else f" from {_text(found)}"
    return f"{_made(name, made)} ({where}{was})"


def _made(name: str, made: Any) -> str:
    if made is UNREADABLE or made is None:
        return "nothing"
    if name == "time" and type(made) is int and EARLIEST <= made <= LATEST:
        return rfc3339(made)
    return _text(made)


def _text(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _unread_lines(trial: MappingTrial) -> Iterator[str]:
    """What would have to be so for the file's other rules to be looked at."""
    for adapter in dict.fromkeys(rule.adapter for rule in trial.unread):
        names = ", ".join(rule.name for rule in trial.unread if rule.adapter == adapter)
        if adapter == PLAIN and trial.readers:
            why = f'name the topic (when.topic = "{trial.topic}") to map it before the adapter reads it'
        elif adapter == PLAIN:
            why = "what a header, a topic or CloudEvents claim is never theirs"
        else:
            why = f"try it with --source {adapter}"
        yield visible(f"not looked at: {names} (adapter {adapter}): {why}")


def _outcome_lines(trial: MappingTrial) -> Iterator[str]:
    match trial.adapted:
        case Accepted(events=events, letters=letters):
            for element, refused in letters:
                number = element.element_number
                yield visible(
                    f"{'' if number is None else f'[{number}] '}dead letter: {refused.cause}: {refused.detail}"
                )
            for event in events:
                yield f"event {event.type}"
                yield json_text(orjson.loads(encode_event(event)))
        case Skipped(reason=reason, detail=detail):
            yield visible(f"skipped: {reason}{f' ({detail})' if detail else ''}")
        case Refused(cause=cause, detail=detail):
            yield visible(f"dead letter: {cause}: {detail}")
