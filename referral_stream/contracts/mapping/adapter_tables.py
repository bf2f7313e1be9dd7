"""The tables of a mapping file that configure the adapters: where a customer's id is, what a question asks.

``[customer_paths]`` has one list of paths per adapter, ``[questions.ADAPTER]`` one scale per question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.adapters.surveys import scale_of
from referral_stream.contracts.mapping.paths import parse_path
from referral_stream.core.suggestions import did_you_mean

CUSTOMER_PATHS: Final = "customer_paths"
QUESTIONS: Final = "questions"
_WITH_QUESTIONS: Final = tuple(name for name, adapter in BY_NAME.items() if adapter.has_questions)


def read_customer_paths(given: Any, faults: list[str]) -> dict[str, tuple[str, ...]]:
    """Per adapter, where the customer's id is looked for, as adapters write paths; errors are added to ``faults``."""
    found: dict[str, tuple[str, ...]] = {}
    for name, paths in _entries(given, CUSTOMER_PATHS, '[customer_paths] with intercom = ["contact.id"]', faults):
        place = f"{CUSTOMER_PATHS}.{name}"
        if name not in BY_NAME:
            faults.append(f"{place}: unknown adapter; {did_you_mean(name, BY_NAME)}")
        elif not (isinstance(paths, list) and paths and all(isinstance(path, str) for path in paths)):
            faults.append(f'{place}: must be a list of paths, for example ["contact.external_id", "contact.id"]')
        else:
            try:
                found[name] = tuple(map(_dotted, paths))
            except ValueError as error:
                faults.append(f"{place}: {error}")
    return found


def read_questions(given: Any, faults: list[str]) -> dict[str, dict[str, str]]:
    """Per adapter, the scale of each question; errors are added to ``faults``."""
    example = '[questions.typeform] with how_likely = "nps"'
    found: dict[str, dict[str, str]] = {}
    for name, questions in _entries(given, QUESTIONS, example, faults):
        place = f"{QUESTIONS}.{name}"
        if name not in _WITH_QUESTIONS:
            known = "has no questions" if name in BY_NAME else "unknown adapter"
            faults.append(f"{place}: {known}; {did_you_mean(name, _WITH_QUESTIONS)}")
            continue
        found[name] = {}
        for question, scale in _entries(questions, place, example, faults):
            try:
                found[name][question] = _checked(scale)
            except ValueError as error:
                faults.append(f"{place}.{question}: {error}")
    return found


def _entries(given: Any, place: str, example: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    """What a table holds, if it is one."""
    if isinstance(given, Mapping):
        yield from given.items()
    else:
        faults.append(f"{place}: must be a table: {example}")


def _dotted(path: str) -> str:
    """A path as adapters write it: ``$.contacts[0].id`` → ``contacts.0.id``. Raises ValueError."""
    steps = parse_path(path)
    names = [step for step in steps if isinstance(step, str)]
    if len(names) < len(steps):
        raise ValueError("only names and numbers can be written here")
    if any("." in name for name in names):
        raise ValueError("names containing a dot cannot be written here")
    return ".".join(names)


def _checked(scale: Any) -> str:
    """The scale, if it is one. Raises ValueError."""
    if not isinstance(scale, str):
        raise ValueError('must be a scale in quotes, for example "nps" or "csat/5"')  # noqa: TRY004 (one error for all)
    scale_of(scale)
    return scale
