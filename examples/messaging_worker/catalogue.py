"""The wording: templates in TOML, put together by trigger, style, channel and language.

A message is greeting + opening (by the command's `template`) + ask (by its `mode`) + closing, all in one language.
Every text is a list of variants: the first one whose placeholders are all known is taken, so the last must need none
that may be missing. A variable with a table in `phrases.toml` is said in that table's words, or not at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

FALLBACK = "en"


class Message(NamedTuple):
    """What the person gets; only e-mails have a subject."""

    language: str
    subject: str
    text: str


class Catalogue:
    def __init__(self, folder: Path, deployment: Mapping[str, str]) -> None:
        self.files = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.toml"))}
        self._deployment = deployment

    def message(self, command: Mapping[str, Any], channel: str, name: str = "", language: str = "") -> Message:
        """The command in words, in that language (`de-AT`, then `de`) or the fallback. KeyError: no such wording."""
        for spoken in (language, language.partition("-")[0], FALLBACK):
            values = self._values(command, spoken, name)
            texts = [part.get(spoken, {}).get(channel) for part in self._parts(command)]
            if all(texts):
                said = {key: chosen(variants, values) for text in texts for key, variants in text.items()}
                order = [said[key] for key in ("greeting", "opening", "ask", "closing") if said.get(key)]
                return Message(spoken, said.get("subject", ""), ("\n\n" if channel == "email" else " ").join(order))
        raise KeyError(f"no wording for {command['template']} by {channel}")

    def _parts(self, command: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield self.files["frame"]
        if "mode" in command:  # an ask; a question for the reason is a template alone
            yield self.files[f"style-{command['mode']}"]
        # A trigger of a team's own may have no wording yet: the frame and the style are a message without an opening.
        yield self.files[command["template"] if command["template"] in self.files else "any"]

    def _values(self, command: Mapping[str, Any], language: str, name: str) -> dict[str, str]:
        phrases = self.files["phrases"].get(language, {})
        carried = dict(command.get("variables", {}), reason=command.get("reason_theme"))
        spoken = {key: phrases[key].get(value) if key in phrases else value for key, value in carried.items()}
        known = {**spoken, "first_name": name.partition(" ")[0], **self._deployment}
        # One line each: what others wrote must not be able to break a mail's header.
        return {key: " ".join(value.split()) for key, value in known.items() if value and value.strip()}


def chosen(variants: list[str], values: Mapping[str, str]) -> str:
    """The first variant that can be filled in."""
    return next(text.format_map(values) for text in variants if placeholders(text) <= values.keys()).strip()


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}
