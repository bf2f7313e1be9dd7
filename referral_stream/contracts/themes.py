"""A comment's theme, by rule: why somebody likes us, in one word of ours. The comment itself goes no further.

The rules are data: per theme, words and phrases of five languages, all tried on every comment. Nobody says which
language a comment is in, so a word that means something else in one of the others is left out, such as "fast", German
for almost. A trailing ``*`` takes every ending. Deterministic: the theme with most hits, the earlier row among equals.
"""

from __future__ import annotations

import re
import unicodedata

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
"""Something was said, and no rule knows what it is about."""

THEMES: tuple[str, ...] = (*RULES, OTHER)
"""Every theme there is; nothing else may stand in a ``theme`` field."""

_NEGATIONS = frozenset({
    "not", "never", "hardly", "isnt", "arent", "wasnt", "doesnt", "dont", "didnt", "cant", "lacks", "lacking",
    "nicht", "kein", "keine", "keinen", "nie", "kaum",
    "pas", "jamais", "aucun", "aucune",
    "nunca", "nao", "nem", "ni",
})  # fmt: skip
_REACH = 2
"""A negation counts for the two words after it: "not very easy", "nicht besonders zuverlässig"."""

_READ = 4_000
"""Characters looked at: a reason to like us stands early, and a pasted novel must cost no more than a comment."""


def theme_of(comment: str) -> str | None:
    """The theme most spoken of in the comment, or None when no rule finds one."""
    words = _WORD.findall(_fold(comment[:_READ]))
    text = " ".join(words)
    hits = dict.fromkeys(THEMES, 0)
    for match in _PATTERN.finditer(text):
        before = text[: match.start()].split()[-_REACH:]
        theme = match.lastgroup
        if theme is not None and _NEGATIONS.isdisjoint(before):
            hits[theme] += 1
    best = max(THEMES, key=hits.__getitem__)
    return best if hits[best] else None


def _fold(text: str) -> str:
    """Lower case, no accents, no apostrophe inside a negation (``isn't`` → ``isnt``)."""
    bare = text.casefold()
    if not bare.isascii():
        bare = "".join(c for c in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(c))
    return _CONTRACTED.sub("nt", bare)


def _compiled() -> re.Pattern[str]:
    def alternatives(entries: tuple[str, ...]) -> str:
        return "|".join(re.escape(entry).replace(r"\*", r"\w*") for entry in entries)

    groups = (f"(?P<{theme}>{alternatives(entries)})" for theme, entries in RULES.items())
    return re.compile(rf"\b(?:{'|'.join(groups)})\b")


_WORD = re.compile(r"[^\W_]+")
_CONTRACTED = re.compile(r"n['’]t\b")
_PATTERN = _compiled()
