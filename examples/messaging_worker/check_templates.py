"""Check the wording: `python check_templates.py [FOLDER]`. Prints what is wrong, or how many messages it has composed.

Composes every possible message: each trigger, style and channel in each language, and each kind of follow-up, with and
without each thing a command or the settings may leave out. Exit codes: 0 sound, 1 not.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from catalogue import Catalogue, placeholders

TRIGGERS = {
    "nps": (),
    "feedback": ("kind",),
    "milestone": ("milestone",),
    "renewal": (),
    "expansion": ("deal_id",),
    "peer": ("peer_ref",),
    "converted": (),
}
"""Template of a command → the variables it carries."""

OURS = {"peer": ("company", "challenge")}
"""What a worker that knows the peer may add to them."""

STYLES = ("direct", "soft", "value_first", "same_company", "mutual_benefit")
THEMES = ("support", "ease_of_use", "time_saved", "reliability", "speed", "results", "price", "features")
KINDS = ("csat", "compliment", "testimonial", "review", "ticket")
CHANNELS = ("email", "in_app", "phone")
LETTERS = ("email", "owner")
"""What has a subject: the mail to a customer, and what goes to their owner."""
COMPLETE = ("en", "de")
"""Languages with every trigger, style and channel."""
BY_MAIL = ("fr", "es", "pt")
"""Languages with these styles by e-mail, for these triggers, and with every follow-up on every channel."""
BY_MAIL_TRIGGERS = ("nps", "feedback", "milestone", "renewal")
BY_MAIL_STYLES = ("direct", "soft", "mutual_benefit")
DATIVE = re.compile(r"\b(an|aus|bei|mit|nach|seit|von|zu) \{product\}", re.IGNORECASE)
"""German, where the default of `product` has the form of the nominative and the accusative."""
TO_CUSTOMER: dict[str, tuple[str, ...]] = {
    "intro_offer": (),
    "easy_forward": (),
    "graceful_no": (),
    "thank": (),
    "report_back": ("status", "reward"),
    "reward_told": ("reward",),
}
TO_OWNER: dict[str, tuple[str, ...]] = {
    "read_answer": ("answer", "trigger"),
    "take_care": ("consented",),
    "approve_reward": ("hints",),
    "read_reward": ("why",),
    "reward_failed": (),
}
"""Kind of a follow-up → the placeholders that it may fill, besides those of everybody."""
ALWAYS = {"report_back": {"status"}, "reward_told": {"reward"}}
"""Without it there is nothing to say, and the follow-up is not sent."""
FOR_OWNERS = {"customer", "references"}
STATUSES = ("contacted", "qualified", "converted", "rejected", "refunded")
ANSWERS = ("yes", "maybe", "unclear")
HINTS = ("own_email", "same_domain", "rate")
DENIALS = ("not_approved", "duplicate", "customer_cap", "account_cap", "refunded", "rejected")
WITH_AMOUNT = ("cash", "credit", "gift_card", "donation")
REWARDS = (*WITH_AMOUNT, "recognition", "exclusive_access", "extended_features")
UNSPOKEN = {"deal_id", "peer_ref"}
"""Ids: they mean nothing to a person."""
DEPLOYMENT = {"sender": "Robin of Acme", "product": "Acme"}
LONGEST = {"subject": 60, "email": 900, "in_app": 220, "phone": 420, "owner": 900}
"""Characters: a subject that phones show, a mail of one screen, a banner, a note to glance at."""
PRESSURE = re.compile(r"[?!¿¡]|\b(please|now|today|bitte|jetzt|heute|maintenant|ahora|hoy|agora|hoje)\b", re.IGNORECASE)
"""Words that the soft style avoids, and whatever follows a maybe or a no."""
UNPRESSED = ("style-soft", "followup-easy_forward", "followup-graceful_no")


def main(folder: Path) -> int:
    wrong = list(file_faults(folder)) or [*faults(Catalogue(folder, DEPLOYMENT)), *faults(Catalogue(folder, {}))]
    print(*(dict.fromkeys(wrong) or [f"ok  {sum(1 for _ in messages())} messages"]), sep="\n")
    return 1 if wrong else 0


def faults(catalogue: Catalogue) -> Iterator[str]:
    """What is wrong with the texts; if they are sound, with the messages made from them."""
    wrong = [*text_faults(catalogue), *phrase_faults(catalogue)]
    yield from wrong
    for what, command, channel, language in [] if wrong else messages():
        yield from (f"{what}: {fault}" for fault in message_faults(catalogue, command, channel, language))


def file_faults(folder: Path) -> Iterator[str]:
    """Every file exists and is TOML."""
    styles = (f"style-{style}" for style in STYLES)
    followups = (f"followup-{kind}" for kind in (*TO_CUSTOMER, *TO_OWNER))
    for name in ("frame", "phrases", "money", "any", "reason", *TRIGGERS, *styles, *followups):
        if not (folder / f"{name}.toml").is_file():
            yield f"{folder / name}.toml: missing"
    for file in sorted(folder.glob("*.toml")):
        try:
            tomllib.loads(file.read_text("utf-8"))
        except ValueError as broken:
            yield f"{file.name}: {broken}"


def text_faults(catalogue: Catalogue) -> Iterator[str]:
    """Every list of variants: placeholders that nothing fills, and last variants that may be left without a value."""
    for name, language, channel, key, variants in texts(catalogue):
        place = f"{name}.toml: {language}.{channel}.{key}"
        known, always = fillable(name, channel), {*DEPLOYMENT, *ALWAYS.get(name.removeprefix("followup-"), ())}
        always |= FOR_OWNERS if channel == "owner" else set()
        if not isinstance(variants, list) or not variants or not all(isinstance(text, str) for text in variants):
            yield f"{place}: must be a list of texts"
            continue
        try:
            for text in variants:
                yield from (f"{place}: no command fills {{{each}}}" for each in sorted(placeholders(text) - known))
        except ValueError as broken:
            yield f"{place}: {broken}"
            continue
        if missing := placeholders(variants[-1]) - always:
            yield f"{place}: the last variant needs {', '.join(sorted(missing))}, which may be missing"
        if language == "de" and (found := next(filter(None, map(DATIVE.search, variants)), None)):
            yield f"{place}: {found[0]!r} needs the dative"
        if name in UNPRESSED and (found := next(filter(None, map(PRESSURE.search, variants)), None)):
            yield f"{place}: {found[0]!r} presses"


def phrase_faults(catalogue: Catalogue) -> Iterator[str]:
    """Every theme and kind has its phrase in every language, and a milestone has one in all or in none."""
    tables = {language: catalogue.files["phrases"].get(language, {}) for language in (*COMPLETE, *BY_MAIL)}
    keys = {"reason": THEMES, "kind": KINDS, "ourselves": tuple(DEPLOYMENT)}
    keys |= {"status": STATUSES, "answer": ANSWERS, "consented": ("true",), "hints": HINTS, "why": DENIALS}
    keys |= {"reward": REWARDS, "milestone": tuple(tables[COMPLETE[0]].get("milestone", ()))}
    for (language, table), (variable, values) in product(tables.items(), keys.items()):
        for value in sorted(set(values) ^ table.get(variable, {}).keys()):
            yield f"phrases.toml: {language}.{variable}.{value}: {'missing' if value in values else 'not known'}"


def message_faults(catalogue: Catalogue, command: dict[str, Any], channel: str, language: str) -> Iterator[str]:
    person = {"name": "Ana Example", "language": language, "customer": "Ana Example"}
    try:
        message = catalogue.message(command, channel, person)
    except (KeyError, ValueError) as impossible:
        yield f"cannot be said: {impossible}"
        return
    if message.language != language:
        yield f"is only there in {message.language}"
    if bool(message.subject) != (channel in LETTERS):
        yield "needs a subject" if channel in LETTERS else "has no room for a subject"
    for kind, text in (("subject", message.subject), (channel, message.text)):
        if len(text) > LONGEST[kind]:
            yield f"{kind} of {len(text)} characters, at most {LONGEST[kind]}"
    # An owner reads ids, by their names in the contract: at the end, and where the text says which to use.
    text = (
        message.text.partition("\n\ncustomer_id: ")[0].replace("grant_id", "id") if channel == "owner" else message.text
    )
    if found := re.search(r"[{}]|\s{3,}| {2}|\s[.,]|\w*_\w*", text):
        yield f"there is {found[0]!r} in it"


def messages() -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """(what, command, channel, language) of every message that must exist."""
    yield from followups()
    for language, channel in product((*COMPLETE, *BY_MAIL), CHANNELS):
        everything = language in COMPLETE
        if not everything and channel != "email":
            continue
        yield f"reason by {channel} in {language}", {"template": "reason"}, channel, language
        triggers = (*TRIGGERS, "any") if everything else (*BY_MAIL_TRIGGERS, "any")
        for template, style in product(triggers, STYLES if everything else BY_MAIL_STYLES):
            for variables, theme in product(carried_by(template), (*THEMES, None)):
                command = {"template": template, "mode": style, "variables": variables, "reason_theme": theme}
                what = f"{template}, {style} by {channel} in {language}, {variables}, {theme}"
                yield what, command, channel, language
            for offer in rewards() if style == "mutual_benefit" else ():
                command = {"template": template, "mode": style, "offer": offer}
                yield f"{template}, {style} by {channel} in {language}, {offer}", command, channel, language


def followups() -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """The same of every follow-up: all languages have all of them, on every channel."""
    ids = {
        "followup_id": "f",
        "customer_id": "c",
        "referral_id": "r",
        "command_id": "k",
        "due_by": "2026-06-19T11:00:00Z",
    }
    for language, kind in product((*COMPLETE, *BY_MAIL), (*TO_CUSTOMER, *TO_OWNER)):
        for channel, variables in product(CHANNELS if kind in TO_CUSTOMER else ("owner",), variables_of(kind)):
            command = {**ids, "kind": kind, "variables": variables}
            yield f"{kind} by {channel} in {language}, {variables}", command, channel, language


def variables_of(kind: str) -> Iterator[dict[str, str]]:
    """Every set of variables a follow-up of this kind may come with."""
    granted = [{"reward_kind" if key == "kind" else key: value for key, value in each.items()} for each in rewards()]
    if kind == "report_back":
        yield from ({"status": status} for status in STATUSES)
        yield from ({"status": "converted", **reward} for reward in granted)  # nothing is granted for anything else
    elif kind == "reward_told":
        yield from granted
    elif kind == "read_answer":
        yield from ({"answer": answer, **more} for answer, more in product(ANSWERS, ({}, {"trigger": "renewal"})))
    elif kind == "approve_reward":
        yield from (
            {"grant_id": "g", **hints} for hints in ({}, *({"hints": hint} for hint in (*HINTS, ",".join(HINTS))))
        )
    elif kind == "read_reward":
        yield from ({"grant_id": "g", "reason": reason} for reason in DENIALS)
    else:
        yield from ({}, {"consented": "true"}, {"consented": "false"}) if kind == "take_care" else ({},)


def rewards() -> Iterator[dict[str, str]]:
    """Every kind of reward: amounts of currencies with and without decimals, and of one with three."""
    amounts = (
        {"amount_minor": amount, "currency": currency}
        for amount, currency in (("5", "EUR"), ("123456", "JPY"), ("123456", "KWD"))
    )
    for kind, amount, benefit in product(WITH_AMOUNT, list(amounts), ({}, {"benefit": "on your next invoice"})):
        yield {"kind": kind, **amount, **benefit}
    for kind, benefit in product(REWARDS[len(WITH_AMOUNT) :], ({}, {"benefit": "two months free"})):
        yield {"kind": kind, **benefit}


def fillable(name: str, channel: str) -> set[str]:
    """The placeholders that something fills in the texts of this file on this channel."""
    general = {"first_name", *DEPLOYMENT, *(FOR_OWNERS if channel == "owner" else ())}
    if name.startswith("followup-"):
        return general | set((TO_CUSTOMER | TO_OWNER).get(name.removeprefix("followup-"), ()))
    carried = set(filled(name)) if name in TRIGGERS else {v for trigger in TRIGGERS for v in filled(trigger)}
    return (general | carried | {"reason"} | ({"reward"} if name == "style-mutual_benefit" else set())) - UNSPOKEN


def filled(template: str) -> tuple[str, ...]:
    """The placeholders that a command with this template, or the worker, may fill."""
    return (*TRIGGERS.get(template, ()), *OURS.get(template, ()))


def carried_by(template: str) -> Iterator[dict[str, str]]:
    """Every set of variables a command with this template may come with."""
    values = {"kind": KINDS, "milestone": ("first-report", "unheard-of"), "company": ("", "Initech")}
    names = filled(template)
    for chosen in product(*(values.get(name, ("", "late invoices")) for name in names)):
        yield {name: value for name, value in zip(names, chosen, strict=True) if value}


def texts(catalogue: Catalogue) -> Iterator[tuple[str, str, str, str, Any]]:
    """(file, language, channel, key, variants) of everything except the phrases and the money."""
    for name, languages in catalogue.files.items():
        for language, channels in languages.items() if name not in ("phrases", "money") else ():
            for channel, keys in channels.items():
                yield from ((name, language, channel, key, variants) for key, variants in keys.items())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "templates"))
