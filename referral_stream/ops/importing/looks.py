"""What a column may hold by its name alone, in the languages of the people who named it.

A column that is not used and may hold a reason not to ask has to be named, or ignored, by a person: so names are read
broadly here. Parts of a name are compared without their accents; ``ue`` for ``ü`` is a spelling of its own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from referral_stream.contracts.opt_outs import says_opt_out

_STEMS: Final[dict[str, tuple[str, ...]]] = {
    "opted_out": tuple(
        "unsub sperr robinson verbot verbat widerspr kontaktstop werbestop abgemeld abmeld abbestell geloscht geloesch "
        "loschung loeschung loschdatum desabonn desinscri desinscr desuscri descadastr uitgeschrev afgemeld disiscri "
        "blacklist blocklist donotc donotm donote optout opposit oppose verstorb verschied deceas decede overled "
        "fallecid falecid decedut suppress withdrawn withdrew withdraw anonymis anonymiz erasure suspend".split()
    ),
    "trouble": tuple(
        "inkasso mahnung mahnstufe mahnstatus mahnsperr gemahnt mahnverf inmahn beschwerd reklamat reclam queja klacht "
        "quejas lamentel incasso recouvr complain dispute chargeback delinq dunning overdue zahlungsverzug impaye "
        "escalat eskal".split()
    ),
    "ended_at": tuple(
        "kundigung kuendigung gekundig gekuendig storni storno ausgetret austritt opgezegd opzegg disdett disdic "
        "cancel annulliert annule churn terminat inaktiv inactif inactiv inactief inattiv beendet".split()
    ),
    "subscribed": tuple(
        "erlaubt erlaubnis gestattet einwillig zustimm consent consentement permission permiso permesso toestemming "
        "autorisation contactab kontaktierb mailable emailab reachable erreichbar bereikbaar joignable optin".split()
    ),
}  # fmt: skip
"""By the field that is suggested: anywhere in a part of the name."""
_WORDS: Final[dict[str, frozenset[str]]] = {
    field: frozenset(words.split())
    for field, words in {
        "opted_out": "gdpr dsgvo rgpd lgpd optouts blocked denied erased erase deleted deletion forgotten dnd dnc "
        "legal noemail nomail nocontact stop stopped objected objection opposition oppose revoked baja died dead death "
        "detractor bloque bloquee bloqueado bloccato geblokkeerd",
        "trouble": "disputed disputes refund refunds refunded ticket tickets",
        "ended_at": "resilie resiliee resilies resiliation cancelado annule annulee kundigt gekundigt",
        "subscribed": "opted consented permissions newsletter subscribed unsubscribes marketing contactable "
        "kontaktieren kontaktiert contacter contacte contactar contatar angeschrieben",
    }.items()
}
"""The same, of whole parts."""
_TOGETHER: Final[tuple[tuple[str, frozenset[str], frozenset[str]], ...]] = (
    ("subscribed", frozenset({"opt"}), frozenset({"in"})),
    ("opted_out", frozenset({"do", "dont"}), frozenset({"not"})),
    ("opted_out", frozenset({"no"}), frozenset("contact email emails mail mails mailings".split())),
    ("trouble", frozenset({"past"}), frozenset({"due"})),
    ("ended_at", frozenset({"left"}), frozenset("company firm organization organisation job us at on date".split())),
)
"""One part of each, in any order."""
_NEGATIONS: Final = frozenset(
    "kein keine keinen keiner nicht nie not never ne pas geen niet nooit non sans sin senza sem nao dont".split()
)
_NO: Final = "no"
"""Of a number, too, as in Phone no. and No. of calls: it counts in front of the word, and not before an of."""
_CONTACT: Final = tuple(
    "kontakt contact contat mail anruf appel call telefon bellen werb reclame publicit pubblicit advert "
    "marketing promo ask survey umfrag enquet encuest sondag schreib ecri escrib write message nachricht sms "
    "newsletter outreach anschreib llamar chiamar ligar befrag empfehl referral solicit sollicit disturb "
    "demarch ansprech benader molest".split()
)
"""How a part begins, or ends, that is about writing to somebody, or calling."""
_MAY: Final = frozenset("may can darf durfen duerfen peut puede puo mag allow allowed ok okay".split())
_ABOUT_MAIL: Final = frozenset("topic topics thema themen subject language format name".split())
"""Beside a newsletter: what is in it, not whether."""
_REFERRAL: Final = ("referral", "empfehl", "recommand", "recommend", "recomend", "parrain", "aanbevel", "weiterempf")
_CONSENT: Final = ("consent", "einwillig", "zustimm", "toestemming", "permission", "permiso", "erlaubnis")
_REFUSED: Final = _NEGATIONS | frozenset(
    "no without withdrawn withdrew withdraw revoked blocked denied objected objection out stop stopped suppress unsub "
    "unsubs widerrufen verweigert abgelehnt refuse refused unsubscribes unreachable".split()
)
"""Beside such a word a yes is none."""
_EVERYDAY: Final = frozenset(
    "login logins logged seen activity birthday birth born geburtstag geburtsdatum renewal anniversary updated "
    "modified created founded meeting demo purchase order invoice shipped delivered".split()
)
_PART = re.compile(r"[^\W_]+")
_CASED = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def parts_of(column: str) -> list[str]:
    """The words of a name, in lower case: split at what is no letter and no digit, and at changes of case."""
    words = _PART.findall(unicodedata.normalize("NFKC", column))
    return [part.lower() for word in words for part in _CASED.split(word)]


@lru_cache(maxsize=4_096)
def suggested(column: str) -> str | None:
    """The field that a column without a well-known name may be, by its name; None for what looks harmless."""
    cased = [_plain(part) for part in parts_of(column)]
    parts = [*cased, *(each for each in map(_plain, _PART.findall(column.lower())) if each not in cased)]
    field = _field(column, parts)
    if field is None:
        return None
    if says_opt_out(column) or not _REFUSED.isdisjoint(parts):
        return field if field in ("trouble", "ended_at") else "opted_out"
    if _has(parts, _CONSENT) and _has(parts, _REFERRAL):
        return "consent"
    return field


def looks_protective(column: str) -> bool:
    """Whether a column that no field is known for may say that somebody must not be asked."""
    return suggested(column) is not None


def is_everyday(column: str) -> bool:
    """Whether a few dates in such a column are what anybody would expect there."""
    return not _EVERYDAY.isdisjoint(parts_of(column))


def _field(column: str, parts: list[str]) -> str | None:
    if says_opt_out(column) or _negated(parts):
        return "opted_out"
    for field, one, other in _TOGETHER:
        if not one.isdisjoint(parts) and not other.isdisjoint(parts):
            return field
    for field, stems in _STEMS.items():
        if _has(parts, stems):
            return field
    for field, words in _WORDS.items():
        if found := words.intersection(parts):
            return None if found == {"newsletter"} and not _ABOUT_MAIL.isdisjoint(parts) else field
    if not _MAY.isdisjoint(parts) and any(map(_is_contact, parts)):
        return "subscribed"
    return None


def _negated(parts: list[str]) -> bool:
    """Whether a no stands beside, before or within a word about writing to somebody."""
    contacts = [place for place, part in enumerate(parts) if _is_contact(part)]
    if contacts and not _NEGATIONS.isdisjoint(parts):
        return True
    if _NO in parts and any(place > parts.index(_NO) for place in contacts) and "of" not in parts:
        return True
    return any(
        part.startswith(word) and part.removeprefix(word).startswith(_CONTACT)
        for part in parts
        for word in (*_NEGATIONS, _NO)
    )


def _is_contact(part: str) -> bool:
    return part.startswith(_CONTACT) or part.endswith(_CONTACT)


def _has(parts: list[str], stems: tuple[str, ...]) -> bool:
    return any(stem in part for part in parts for stem in stems)


def _plain(part: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", part) if not unicodedata.combining(each))
