"""A comment's theme, by rule: why someone likes us, in one of our own words. The comment itself goes no further.

The rules are data: per theme, words and phrases of five languages, all tried on every comment. The language
of a comment is unknown, so a word that means something else in one of the others is left out, such as "fast", German
for almost. A trailing ``*`` takes every ending. Deterministic: the theme with most hits, the earlier row if tied.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

RULES: dict[str, tuple[str, ...]] = {
    "support": (
        "support*", "customer service", "customer success", "helpdesk", "help desk", "helpful", "responsive",
        "kundendienst", "kundenservice", "kundenbetreuung", "hilfsbereit*", "ansprechpartner*",
        "service client", "assistance", "reactif*", "reactive*", "a l ecoute",
        "soporte", "atencion al cliente", "servicio al cliente", "nos ayuda*", "me ayuda*",
        "suporte", "atendimento", "atencioso*", "prestativo*",
    ),
    "ease_of_use": (
        "easy", "easier", "easily", "ease of use", "simple", "simpler", "simplicity", "intuitive", "user friendly",
        "straightforward", "effortless*",
        "einfach*", "intuitiv*", "benutzerfreundlich*", "bedienung", "unkompliziert*", "leicht zu",
        "facile*", "simplicite", "intuitif*", "ergonomi*", "prise en main",
        "facil*", "sencill*", "intuitiv*", "simplicidad*", "amigable", "simples",
    ),
    "time_saved": (
        "save* time", "saving time", "save* us time", "save* me time", "time saver", "time saving", "saves us hours",
        "saves me hours", "save* hours", "saved us hours", "saved me hours", "hours every week", "hours a week",
        "hours each week", "less time", "automat*",
        "zeit gespart", "zeit zu sparen", "zeitersparnis", "spart zeit", "spart uns", "spart mir", "zeitsparend*",
        "stunden pro woche", "weniger zeit",
        "gain* de temps", "gagne* du temps", "gagner du temps", "fait gagner", "heures par semaine",
        "ahorr*", "horas por semana", "horas a la semana", "menos tiempo",
        "economiz* tempo", "economia de tempo", "poup* tempo", "ganh* tempo", "menos tempo",
    ),
    "reliability": (
        "reliab*", "stable", "stability", "dependable", "flawless*", "never fails", "always works", "just works",
        "rock solid", "no downtime", "no problems", "no issues", "without problems", "trustworthy",
        "zuverlassig*", "stabil*", "verlasslich*", "reibungslos*", "fehlerfrei*", "ohne probleme", "keine probleme",
        "fiable*", "fiabilite", "sans probleme*", "sans souci*", "sans accroc*",
        "confiable*", "fiabilidad", "sin problemas", "sin fallos", "estable*",
        "confiavel", "confiaveis", "confiabilidade", "estavel", "sem problemas", "sem falhas",
    ),
    "speed": (
        "quick*", "faster", "very fast", "so fast", "is fast", "speed*", "snappy",
        "schnell*", "fix erledigt", "rapide*", "rapidement", "rapidite", "rapid*", "veloz", "velocidad*",
    ),
    "results": (
        "results", "outcome*", "roi", "return on investment", "more customers", "more sales", "revenue", "growth",
        "productiv*", "efficien*",
        "ergebnis*", "mehr umsatz", "mehr kunden", "produktiv*", "effizien*", "erfolg*",
        "resultat*", "chiffre d affaires", "efficac*", "rentab*", "plus de clients",
        "resultado*", "mas ventas", "mas clientes", "productividad", "eficien*", "crecimiento",
        "mais vendas", "mais clientes", "produtividade", "crescimento",
    ),
    "price": (
        "price*", "pricing", "affordable", "value for money", "cheap*", "good value", "inexpensive", "worth the money",
        "preis*", "gunstig*", "preiswert*", "prix", "abordable*", "rapport qualite",
        "precio*", "barat*", "economico", "economica", "preco*", "custo beneficio", "acessivel",
    ),
    "features": (
        "feature*", "functionality", "functions", "integrat*", "customi*", "flexib*", "dashboard*", "reports",
        "reporting",
        "funktion*", "anpassbar*", "auswertung*", "fonctionnalite*", "personnalis*", "tableau* de bord",
        "funcionalidad*", "funcion", "funciones", "integracion*", "personaliz*", "informes",
        "funcionalidade*", "recurso*", "integracao", "integracoes", "relatorios",
    ),
}  # fmt: skip

OTHER = "other"
"""Something was said, but it matches no rule."""

THEMES: tuple[str, ...] = (*RULES, OTHER)
"""Every theme there is; nothing else may stand in a ``theme`` field."""

NEGATIONS = frozenset({
    "not", "never", "hardly", "isnt", "arent", "wasnt", "doesnt", "dont", "didnt", "cant", "lacks", "lacking",
    "nicht", "kein", "keine", "keinen", "nie", "kaum",
    "pas", "jamais", "aucun", "aucune",
    "nunca", "nao", "nem", "ni",
})  # fmt: skip
_REACH = 2
"""A negation counts for the two words after it: "not very easy", "nicht besonders zuverlässig"."""

_READ = 4_000
"""Characters examined: a reason to like us comes early, and a pasted novel must cost no more than a comment."""


@lru_cache(maxsize=1)
def theme_of(comment: str) -> str | None:
    """The most mentioned theme of the comment, or None if no rule finds one.

    Only the last result is cached: the answers of one survey response share its comment.
    """
    text = " ".join(_WORD.findall(_fold(comment[:_READ])))
    hits: dict[str, int] = {}
    for match in _PATTERN.finditer(text):
        theme = _GROUPS[match.lastindex or 0]
        if NEGATIONS.isdisjoint(text[: match.start()].split()[-_REACH:]):
            hits[theme] = hits.get(theme, 0) + 1
    return max(THEMES, key=lambda theme: hits.get(theme, 0)) if hits else None


def _fold(text: str) -> str:
    """Lower case, no accents, no apostrophe inside a negation (``isn't`` → ``isnt``)."""
    bare = text.casefold()
    if not bare.isascii():
        bare = "".join(c for c in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(c))
    return _CONTRACTED.sub("nt", bare) if "'" in bare or "’" in bare else bare


def _compiled() -> tuple[re.Pattern[str], list[str]]:
    """A pattern for every entry, and the theme of each of its groups.

    Alternatives are grouped by first letter, so that a word is compared with few; within a letter in the rules' order.
    """
    letters: dict[str, dict[str, list[str]]] = {}
    for theme, entries in RULES.items():
        for entry in entries:
            rest = re.escape(entry[1:]).replace(r"\*", r"\w*")
            letters.setdefault(entry[0], {}).setdefault(theme, []).append(rest)
    alternatives, groups = [], [OTHER]
    for letter, themes in letters.items():
        rows = ("|".join(rests) for rests in themes.values())
        alternatives.append(f"{letter}(?:({')|('.join(rows)}))")
        groups += themes
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b"), groups


_WORD = re.compile(r"[^\W_]+")
_CONTRACTED = re.compile(r"n['’]t\b")
_PATTERN, _GROUPS = _compiled()
