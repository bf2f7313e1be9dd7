"""The wording of the example worker: complete, speakable, and fed with nothing but what a command carries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from referral_stream.contracts.inbound.themes import THEMES
from referral_stream.core.after_policy import WITH_AMOUNT, ReportableStatus, RewardKind
from referral_stream.core.effects import AskRequested, DeniedFor, FollowupKind, Hint, ReasonAsked, RewardReversed
from referral_stream.core.events import CHANNELS, Event
from referral_stream.core.events import TYPES as EVENT_TYPES
from referral_stream.core.followups import TO_CUSTOMER
from referral_stream.core.opportunity import NO_THEME
from referral_stream.core.policy import Policy
from referral_stream.core.rules.triggers import occasion_in
from referral_stream.core.sections import Mode
from tests.contracts.examples import FACT_DATA
from tests.messaging.example import FOLDER, module
from tests.rules import rule

TEMPLATES = FOLDER / "templates"

check = module("check_templates")
catalogue = module("catalogue").Catalogue(TEMPLATES, {"sender": "Robin of Acme", "product": "Acme"})

ANA = {"name": "Ana Example", "language": "en"}
NOBODY: dict[str, str] = {}

PROMOTER: dict[str, Any] = {"template": "nps", "mode": "direct", "variables": {}, "reason_theme": "time_saved"}


def checked(folder: Path = TEMPLATES) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "check_templates.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the templates, to be spoilt."""
    return Path(shutil.copytree(TEMPLATES, tmp_path / "templates"))


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ("our product", "Your team")),
        ("de-AT", ("unser Produkt", "Ihr Team")),
        ("fr", ("notre produit", "Votre équipe")),
        ("es", ("nuestro producto", "Su equipo")),
        ("pt-BR", ("nosso produto", "Sua equipe")),
    ],
)
def test_who_writes_about_what_has_a_default_in_each_language(language: str, said: tuple[str, str]) -> None:
    unnamed = module("catalogue").Catalogue(TEMPLATES, {})
    text = unnamed.message(PROMOTER, "email", {"language": language}).text
    assert all(name in text for name in said)
    assert ("our product" in text) == (language == "en")


def test_every_message_there_can_be_is_composed_and_sound() -> None:
    done = checked()
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"ok  \d{4,} messages\n", done.stdout)


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("nps.toml", "{product}", "{prodct}", "nps.toml: en.email.opening: no command fills {prodct}"),
        (
            "peer.toml",
            "about {company}",
            "about {peer_ref}",
            "peer.toml: en.email.opening: no command fills {peer_ref}",
        ),
        ("milestone.toml", "a milestone with {product}", "{milestone}", "the last variant needs milestone"),
        ("style-soft.toml", "There is nothing you need to do.", "Do it now!", "style-soft.toml: en.email.ask: 'now'"),
        ("phrases.toml", 'time_saved = "die gesparte Zeit"\n', "", "phrases.toml: de.reason.time_saved: missing"),
        ("phrases.toml", 'speed = "the speed"', 'sped = "the speed"', "phrases.toml: en.reason.sped: not known"),
        (
            "style-direct.toml",
            "[fr.email]",
            "[it.email]",
            "nps, direct by email in fr, {}, support: is only there in en",
        ),
        ("phrases.toml", 'sender = "Votre équipe"', 'sendr = "x"', "phrases.toml: fr.ourselves.sender: missing"),
        ("nps.toml", "für {product}", "mit {product}", "nps.toml: de.email.opening: 'mit {product}' needs the dative"),
        ("renewal.toml", 'subject = ["Danke, dass Sie bleiben"]\n', "", "needs a subject"),
        ("frame.toml", '"Hallo!"', '"Hallo  du!"', "there is '  ' in it"),
        (
            "followup-thank.toml",
            "Your name stands",
            "{name} stands",
            "followup-thank.toml: en.email.opening: no command fills",
        ),
        (
            "followup-easy_forward.toml",
            "There is no hurry",
            "Do it today",
            "followup-easy_forward.toml: en.email.opening: 'today'",
        ),
        ("followup-reward_told.toml", "[pt.phone]", "[it.phone]", "is only there in en"),
        (
            "followup-read_reward.toml",
            "{customer}: should",
            "{first_name}: should",
            "the last variant needs first_name",
        ),
        ("phrases.toml", 'donation = "un don de {amount}"\n', "", "phrases.toml: fr.reward.donation: missing"),
        ("nps.toml", '"Thank you for the top score."', f'"{"Thank you. " * 30}"', "in_app of"),
    ],
)
def test_the_checker_names_what_is_wrong(copied: Path, file: str, old: str, new: str, complaint: str) -> None:
    spoil(copied, file, old, new)
    if file == "frame.toml":  # greetings without a name are composed only where no name is known
        spoil(copied, file, '"Hallo {first_name}!"', '"Hallo  {first_name}!"')
    done = checked(copied)
    assert done.returncode == 1
    assert complaint in done.stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('opening = ["Half a {product"]', "nps.toml: en.in_app.opening: expected '}' before end of string"),
        ('opening = ["Half a product}"]', "nps.toml: en.in_app.opening: Single '}' encountered in format string"),
        ('opening = ["{product:d}"]', "cannot be said: Unknown format code 'd'"),
        ("opening = [", "nps.toml: "),
    ],
)
def test_the_checker_names_the_place_of_a_text_that_is_written_wrongly(copied: Path, text: str, complaint: str) -> None:
    own = (copied / "nps.toml").read_text()
    (copied / "nps.toml").write_text(re.sub(r"(?<=\[en\.in_app\]\n)opening = .*", text, own))
    done = checked(copied)
    assert (done.returncode, done.stderr) == (1, "")
    assert complaint in done.stdout


def test_the_checker_names_every_file_that_is_missing(copied: Path) -> None:
    for name in ("frame", "style-soft"):
        (copied / f"{name}.toml").unlink()
    assert checked(copied).stdout == f"{copied}/frame.toml: missing\n{copied}/style-soft.toml: missing\n"
    assert f"{copied}/none/nps.toml: missing" in checked(copied / "none").stdout


def test_the_checker_knows_every_template_style_theme_and_channel_of_the_product() -> None:
    policy = Policy()
    assert set(check.TRIGGERS) == {trigger.template for trigger in policy.triggers.values()}
    assert set(check.STYLES) == set(get_args(Mode))
    assert {*check.THEMES, NO_THEME} == set(THEMES)
    assert set(check.CHANNELS) == set(CHANNELS)


def test_the_checker_knows_every_variable_that_a_trigger_puts_into_its_command() -> None:
    policy = Policy()
    carried: dict[str, set[str]] = {}
    kinds: set[str] = set()
    ways: dict[str, dict[str, Any]] = FACT_DATA | {"csat.responded": {**FACT_DATA["csat.responded"], "score": 5}}
    for kind, data in ways.items():
        event = Event(id="e", source="s", type=kind, subject="c", time=0, data=EVENT_TYPES[kind].model_validate(data))
        reason = occasion_in(event, policy)
        if reason is not None:
            template = policy.triggers[reason.trigger].template
            carried.setdefault(template, set()).update(reason.variables)
            kinds |= {reason.variables["kind"]} if "kind" in reason.variables else set()
    assert carried == {template: set(names) for template, names in check.TRIGGERS.items() if template != "converted"}
    assert kinds == set(check.KINDS)


@rule("A2.14")
def test_the_checker_knows_every_kind_of_follow_up_and_every_word_in_it() -> None:
    assert set(check.TO_CUSTOMER) == TO_CUSTOMER
    assert {*check.TO_CUSTOMER, *check.TO_OWNER} == set(get_args(FollowupKind))
    assert set(check.STATUSES) == set(get_args(ReportableStatus))
    assert set(check.REWARDS) == set(get_args(RewardKind))
    assert set(check.WITH_AMOUNT) == WITH_AMOUNT
    assert set(check.HINTS) == set(get_args(Hint))
    # Of what erasure takes back nobody hears anything.
    assert set(check.DENIALS) == {*get_args(DeniedFor), *get_args(RewardReversed.model_fields["reason"].annotation)} - {
        "erased"
    }


def followup(kind: str, **variables: str) -> dict[str, Any]:
    ids = {"followup_id": "fol-1", "customer_id": "cus-1", "referral_id": "ref-1", "due_by": "2026-06-19T11:00:00Z"}
    return {**ids, "kind": kind, "variables": variables}


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "pt"])
def test_every_kind_of_follow_up_has_words_of_its_own_in_every_language(language: str) -> None:
    texts = []
    for _, command, channel, spoken in check.followups():
        if spoken == language:
            message = catalogue.message(command, channel, {"language": language, "customer": "Ana Example"})
            assert message.language == language
            texts.append((command["kind"], channel, message.text))
    assert {(kind, channel) for kind, channel, _ in texts} == {
        *((kind, channel) for kind in check.TO_CUSTOMER for channel in CHANNELS),
        *((kind, "owner") for kind in check.TO_OWNER),
    }


@pytest.mark.parametrize("kind", get_args(FollowupKind))
def test_what_is_for_the_owner_has_no_words_for_a_customer_and_the_other_way_round(kind: str) -> None:
    forbidden = ("owner",) if kind in TO_CUSTOMER else CHANNELS
    for channel, variables in product(forbidden, check.variables_of(kind)):
        with pytest.raises(KeyError):
            catalogue.message(followup(kind, **variables), channel, {"customer": "Ana Example"})


@pytest.mark.parametrize("channel", ["email", "in_app", "phone"])
def test_no_id_is_shown_to_a_customer_in_a_follow_up(channel: str) -> None:
    for kind in TO_CUSTOMER:
        for variables in check.variables_of(kind):
            command = followup(kind, **variables) | {"command_id": "cmd-1", "account_id": "acc-1"}
            text = catalogue.message(command, channel, NOBODY).text
            assert not [word for word in ("fol-1", "cus-1", "ref-1", "cmd-1", "acc-1", "trigger") if word in text]


@rule("A3.6")
@pytest.mark.parametrize("variables", [{}, {"consented": "false"}, {"consented": "of a later version"}])
def test_without_the_contacts_consent_the_owner_is_told_not_to_write_to_them(variables: dict[str, str]) -> None:
    text = catalogue.message(followup("take_care", **variables), "owner", {"customer": "Ana Example"}).text
    assert "do not write to them. Write to Ana Example" in text
    agreed = catalogue.message(followup("take_care", consented="true"), "owner", {"customer": "Ana Example"}).text
    assert "The contact agrees to hear from us" in agreed
    assert "do not write" not in agreed


def test_a_hint_of_a_later_version_is_shown_as_it_is() -> None:
    held = followup("approve_reward", grant_id="g", hints="own_email,of_a_later_version")
    text = catalogue.message(held, "owner", {"customer": "Ana Example"}).text
    assert "is held: the contact has the customer’s own address; of_a_later_version." in text


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        (5_000, "EUR", ("€50", "50\u00a0€", "50\u00a0€", "50\u00a0€", "€\u00a050")),
        (5, "EUR", ("€0.05", "0,05\u00a0€", "0,05\u00a0€", "0,05\u00a0€", "€\u00a00,05")),
        (123_450, "USD", ("$1,234.50", "1.234,50\u00a0$", "1\u202f234,50\u00a0$US", "1\u00a0234,50\u00a0US$",
                          "US$\u00a01.234,50")),
        (5_000, "JPY", ("¥5,000", "5.000\u00a0¥", "5\u202f000\u00a0JPY", "5\u00a0000\u00a0JPY", "JPY\u00a05.000")),
        (12_500, "KWD", ("KWD\u00a012.500", "12,500\u00a0KWD", "12,500\u00a0KWD", "12,500\u00a0KWD",
                          "KWD\u00a012,500")),
        (12_000, "KWD", ("KWD\u00a012", "12\u00a0KWD", "12\u00a0KWD", "12\u00a0KWD", "KWD\u00a012")),
        (2_500, "CHF", ("CHF\u00a025", "25\u00a0CHF", "25\u00a0CHF", "25\u00a0CHF", "CHF\u00a025")),
    ],
)  # fmt: skip
def test_money_has_the_decimals_of_its_currency_and_the_form_of_the_language(
    amount: int, currency: str, said: tuple[str, ...]
) -> None:
    in_money, rules = module("catalogue").in_money, catalogue.files["money"]
    assert tuple(in_money(amount, currency, rules, language) for language in ("en", "de", "fr", "es", "pt")) == said


def test_every_currency_is_listed_once() -> None:
    codes = [code for listed in catalogue.files["money"]["decimals"].values() for code in listed.split()]
    assert len(codes) == len(set(codes)) > 150
    assert all(re.fullmatch("[A-Z]{3}", code) for code in codes)


def test_the_offer_of_an_ask_is_named_and_where_it_is_uncertain_nothing_is_said() -> None:
    offer = {"programme": "smb", "kind": "gift_card", "amount_minor": 2_500, "currency": "GBP"}
    ask = PROMOTER | {"mode": "mutual_benefit", "offer": offer}
    assert "we thank you with this: a gift card worth £25." in catalogue.message(ask, "email", ANA).text
    with_benefit = ask | {"offer": {"programme": "smb", "kind": "extended_features", "benefit": "two months of Pro"}}
    assert "we thank you with this: two months of Pro." in catalogue.message(with_benefit, "email", ANA).text
    with pytest.raises(KeyError):
        catalogue.message(ask | {"offer": offer | {"currency": "???"}}, "email", ANA)
    assert "something in it for both of you" in catalogue.message(ask | {"offer": None}, "email", ANA).text


def test_a_benefit_can_be_given_words_in_a_language() -> None:
    own = module("catalogue").Catalogue(TEMPLATES, {})
    own.files["phrases"]["de"]["benefit"] = {"two months free": "zwei Monate gratis"}
    told = followup("reward_told", reward_kind="extended_features", benefit="two months free")
    assert "gehört Ihnen: zwei Monate gratis." in own.message(told, "email", {"language": "de"}).text
    assert "this is yours: two months free." in own.message(told, "email", NOBODY).text


def test_a_command_of_the_contract_has_all_that_the_wording_needs() -> None:
    assert {"template", "mode", "variables", "reason_theme", "channels"} <= set(AskRequested.model_fields)
    assert {"template", "channels"} <= set(ReasonAsked.model_fields)


@pytest.mark.parametrize(
    ("language", "spoken"),
    [("de", "de"), ("de-AT", "de"), ("fr-CA", "fr"), ("pt", "pt"), ("it", "en"), ("", "en")],
)
def test_the_language_falls_back_to_its_base_and_then_to_english(language: str, spoken: str) -> None:
    assert catalogue.message(PROMOTER, "email", {"language": language}).language == spoken


def test_a_message_is_in_one_language_even_if_only_a_part_of_it_is_missing() -> None:
    expansion = PROMOTER | {"template": "expansion"}
    assert catalogue.message(expansion, "email", {"language": "fr"}).language == "en"
    assert catalogue.message(PROMOTER, "in_app", {"language": "fr"}).language == "en"


def test_the_reason_somebody_gave_makes_the_question_specific() -> None:
    message = catalogue.message(PROMOTER, "email", ANA)
    assert message.text.startswith("Hi Ana,\n\nThank you for the top score you gave Acme.")
    assert message.text.count("the time saved") == 2
    assert "the time saved" not in catalogue.message(PROMOTER | {"reason_theme": NO_THEME}, "email", ANA).text


def test_the_soft_style_asks_nothing() -> None:
    for language in ("en", "de", "fr", "es", "pt"):
        message = catalogue.message(PROMOTER | {"mode": "soft"}, "email", {"language": language})
        assert message.language == language
        assert "?" not in message.text


def test_keys_and_ids_are_never_shown_to_a_person() -> None:
    milestone = {"template": "milestone", "mode": "direct", "variables": {"milestone": "unheard-of"}}
    assert "unheard-of" not in catalogue.message(milestone, "email", NOBODY).text
    peer = {"template": "peer", "mode": "value_first", "variables": {"peer_ref": "peer-77", "company": "Initech"}}
    text = catalogue.message(peer, "email", NOBODY).text
    assert "peer-77" not in text
    assert "Initech" in text


def test_what_others_wrote_stays_on_one_line_and_is_no_template() -> None:
    peer = {
        "template": "peer",
        "mode": "value_first",
        "variables": {"company": "A\r\nBcc:\0 x\x1b[2J {sender}", "challenge": "\x1b\x07"},
    }
    assert "A Bcc: x[2J {sender}" in catalogue.message(peer, "email", NOBODY).text


def test_a_trigger_without_wording_of_its_own_is_said_with_the_general_one() -> None:
    own = PROMOTER | {"template": "birthday"}
    assert catalogue.message(own, "email", {"language": "es"}).subject == "Una breve pregunta"
    assert catalogue.message(own | {"template": ""}, "phone", NOBODY).text.startswith(
        "For the call: They know Acme well"
    )


def test_a_style_without_wording_is_not_said_in_another() -> None:
    with pytest.raises(KeyError):
        catalogue.message(PROMOTER | {"mode": "flattery"}, "email", NOBODY)
