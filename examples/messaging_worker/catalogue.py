"""The wording: templates in TOML, put together by trigger, style, channel and language.

A message is greeting + opening (by the command's `template`) + ask (by its `mode`) + closing, all in one language.
A follow-up has a file for its kind, and is never said in the words of anything else.
Every text is a list of variants: the first one whose placeholders are all known is taken, so the last must need none
that may be missing. A variable with a table in `phrases.toml` uses that table's words, or is left out.
What the deployment does not say of itself, product and sender, has a default in every language.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

REFERENCES = "customer_id", "account_id", "referral_id", "command_id", "grant_id", "reference", "due_by"
"""What an owner finds below every task, as far as it is known."""


class Message(NamedTuple):
    """What the person gets; only e-mails and what goes to an owner have a subject."""

    language: str
    subject: str
    text: str


class Catalogue:
    def __init__(self, folder: Path, deployment: Mapping[str, str]) -> None:
        self.files = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.toml"))}
        self._deployment = deployment

    def message(self, command: Mapping[str, Any], channel: str, person: Mapping[str, str]) -> Message:
        """The command in the person's language (`de-AT`, then `de`) or else in English. KeyError: no such wording."""
        language, parts = person.get("language", ""), self._parts(command)
        for spoken in (language, language.partition("-")[0], "en"):
            texts = [self.files.get(part, {}).get(spoken, {}).get(channel) for part in parts]
            if all(texts):
                values = self._values(command, spoken, person)
                said = {key: chosen(variants, values) for text in texts for key, variants in text.items()}
                order = [said[key] for key in ("greeting", "opening", "ask", "closing") if said.get(key)]
                return Message(spoken, said.get("subject", ""), ("\n\n" if said.get("subject") else " ").join(order))
        raise KeyError(f"no wording for {parts[1]} by {channel}")

    def _parts(self, command: Mapping[str, Any]) -> list[str]:
        """The files that the message is made of."""
        if "followup_id" in command:
            return ["frame", f"followup-{command['kind']}"]
        # A custom trigger may have no wording yet: the frame and the style are a message without an opening.
        occasion = command["template"] if command["template"] in self.files else "any"
        style = [f"style-{command['mode']}"] if command.get("mode") else []  # a question for the reason has none
        return ["frame", occasion, *style]

    def _values(self, command: Mapping[str, Any], language: str, person: Mapping[str, str]) -> dict[str, str]:
        phrases, carried = self.files["phrases"].get(language, {}), dict(command.get("variables") or {})
        offer = command.get("offer") or ("reward_kind" in carried and {**carried, "kind": carried["reward_kind"]})
        references = {key: one_line({**command, **carried}.get(key)) for key in REFERENCES}
        hints = [phrases.get("hints", {}).get(hint, hint) for hint in str(carried.pop("hints", "")).split(",")]
        carried |= {"reason": command.get("reason_theme"), "why": carried.get("reason")}
        spoken = {key: phrases[key].get(value) if key in phrases else value for key, value in carried.items()}
        spoken |= {"hints": "; ".join(hints), "customer": person.get("customer")}
        first_name = person.get("name", "").partition(" ")[0]
        known = {**spoken, "first_name": first_name, **phrases.get("ourselves", {}), **self._deployment}
        values = {key: one_line(value) for key, value in known.items()}
        values["references"] = "\n".join(f"{key}: {value}" for key, value in references.items() if value)
        values["reward"] = self._reward(offer, language) if offer else ""
        return {key: value for key, value in values.items() if value}

    def _reward(self, offer: Mapping[str, Any], language: str) -> str:
        """What a referrer gets, in words. KeyError or ValueError: that is not certain, and half a promise is none."""
        phrases, amount = self.files["phrases"][language], offer.get("amount_minor")
        benefit = phrases.get("benefit", {}).get(offer.get("benefit"), offer.get("benefit"))
        words, money = phrases["reward"][offer["kind"]], {}
        if amount is not None:
            money["amount"] = in_money(int(amount), offer["currency"], self.files["money"], language)
        said, more = words.format_map(money), one_line(benefit)
        return f"{said} ({more})" if money and more else more or said


def in_money(amount: int, currency: str, rules: Mapping[str, Any], language: str) -> str:
    """An amount of the currency's smallest unit, as the language writes it. KeyError: the currency is not known."""
    decimals = {code: int(count) for count, codes in rules["decimals"].items() for code in codes.split()}[currency]
    if amount < 1:
        raise ValueError("no amount that anybody gets")
    style, (whole, part) = rules[language], divmod(amount, 10**decimals)
    number = f"{whole:,}".replace(",", style["group"])
    number += f"{style['point']}{part:0{decimals}}" if part else ""
    form = style["symbol" if currency in style["units"] else "code"]
    return str(form.format(unit=style["units"].get(currency, currency), number=number))


def one_line(value: Any) -> str:
    """Without control characters: what others wrote must not break a mail's header, or a terminal."""
    return "".join(filter(str.isprintable, " ".join(str("" if value is None else value).split()))).strip()


def chosen(variants: list[str], values: Mapping[str, str]) -> str:
    """The first variant that can be filled in. KeyError: none can."""
    for text in variants:
        if placeholders(text) <= values.keys():
            return text.format_map(values).strip()
    raise KeyError(f"a value for {variants[-1]!r}")


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field is not None}
