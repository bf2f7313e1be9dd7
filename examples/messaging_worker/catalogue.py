"""The wording: templates in TOML, put together by trigger, style, channel and language.

A message is greeting + opening (by the command's `template`) + ask (by its `mode`) + closing, all in one language.
Every text is a list of variants: the first one whose placeholders are all known is taken, so the last must need none
that may be missing. A variable with a table in `phrases.toml` uses that table's words, or is left out.
What the deployment does not say of itself, product and sender, has a default in every language.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple


class Message(NamedTuple):
    """What the person gets; only e-mails have a subject."""

    language: str
    subject: str
    text: str


class Catalogue:
    def __init__(self, folder: Path, deployment: Mapping[str, str]) -> None:
        self.files = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.toml"))}
        self._deployment = deployment

    def message(self, command: Mapping[str, Any], channel: str, person: Mapping[str, str]) -> Message:
        """The command in the person's language (`de-AT`, then `de`) or else in English. KeyError: no such wording."""
        language, name = person.get("language", ""), person.get("name", "")
        # A custom trigger may have no wording yet: the frame and the style are a message without an opening.
        occasion = command["template"] if command["template"] in self.files else "any"
        style = [f"style-{command['mode']}"] if command.get("mode") else []  # a question for the reason has none
        for spoken in (language, language.partition("-")[0], "en"):
            texts = [self.files[part].get(spoken, {}).get(channel) for part in ("frame", occasion, *style)]
            if all(texts):
                values = self._values(command, spoken, name)
                said = {key: chosen(variants, values) for text in texts for key, variants in text.items()}
                order = [said[key] for key in ("greeting", "opening", "ask", "closing") if said.get(key)]
                return Message(spoken, said.get("subject", ""), ("\n\n" if channel == "email" else " ").join(order))
        raise KeyError(f"no wording for {command['template']} by {channel}")

    def _values(self, command: Mapping[str, Any], language: str, name: str) -> dict[str, str]:
        phrases = self.files["phrases"].get(language, {})
        carried = {**(command.get("variables") or {}), "reason": command.get("reason_theme")}
        spoken = {key: phrases[key].get(value) if key in phrases else value for key, value in carried.items()}
        known = {**spoken, "first_name": name.partition(" ")[0], **phrases.get("ourselves", {}), **self._deployment}
        # One line each, without control characters: what others wrote must not break a mail's header, or a terminal.
        lines = {key: "".join(filter(str.isprintable, " ".join(str(known[key] or "").split()))) for key in known}
        return {key: line for key, line in lines.items() if line.strip()}


def chosen(variants: list[str], values: Mapping[str, str]) -> str:
    """The first variant that can be filled in. KeyError: none can."""
    for text in variants:
        if placeholders(text) <= values.keys():
            return text.format_map(values).strip()
    raise KeyError(f"a value for {variants[-1]!r}")


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}
