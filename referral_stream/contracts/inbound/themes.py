"""A comment's theme, by rule: why someone likes us, in one of our own words. The comment itself goes no further.

The rules are data: per theme, words and phrases of five languages, all tried on every comment. The language
of a comment is unknown, so a word that means something else in one of the others is left out, such as "fast", German
for almost. A trailing ``*`` takes every ending. Deterministic: the theme with most hits, the earlier row if tied.

Themes come from praise only (semantics §11): what an ask says back to the customer must be what they praised. A
clause that denies, blames or compares gives none; a sentence that wishes, or takes something back, gives none at all.
Here a word that means something else in another language counts all the same: in doubt there is no theme.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from referral_stream.core.opportunity import NO_THEME

RULES: dict[str, tuple[str, ...]] = {
    "support": (
        "support*", "customer service", "customer success", "helpdesk", "help desk", "helpful", "responsive",
        "kundendienst", "kundenservice", "kundenbetreuung", "hilfsbereit*", "ansprechpartner*",
        "service client", "assistance", "reactif*", "reactive*", "a l ecoute",
        "soporte", "atencion al cliente", "servicio al cliente", "nos ayuda*", "me ayuda*",
        "suporte", "atendimento", "atencioso*", "prestativo*",
    ),
    "ease_of_use": (
        "easy", "easily", "so much easier", "makes it easier", "work easier", "life easier", "ease of use", "simple",
        "simplicity", "intuitive", "user friendly",
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
        "quick*", "much faster", "works faster", "very fast", "so fast", "is fast", "speed*", "snappy",
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

THEMES: tuple[str, ...] = (*RULES, NO_THEME)
"""Every theme there is; nothing else may stand in a ``theme`` field."""

NEGATIONS: tuple[str, ...] = (
    "no", "not", "never", "hardly", "barely", "scarcely", "without", "nothing", "nobody", "none", "neither", "nor",
    "cannot", "cant", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "wont", "wouldnt", "couldnt",
    "shouldnt", "hasnt", "havent", "hadnt", "lack*",
    "nicht", "kein*", "nie", "niemals", "kaum", "ohne", "nichts", "niemand",
    "pas", "jamais", "aucun*", "rien", "sans", "ni", "guere", "ne",
    "nunca", "jamas", "ningun*", "nada", "sin", "tampoco", "apenas",
    "nao", "nem", "nenhum*", "sem",
)  # fmt: skip

BLAME: tuple[str, ...] = (
    "blam*", "fault*", "sorry", "slow*", "bad", "badly", "worse", "worst", "terribl*", "awful*", "horribl*", "poor*",
    "expensive", "overpriced",
    "costly", "difficult*", "hard", "confus*", "complicat*", "cumbersome", "clunky", "bug", "bugs", "buggy", "crash*",
    "broke*", "problem*", "issue*", "fail*", "lost", "lose*", "losing", "wast*", "annoy*", "frustrat*", "disappoint*",
    "useless", "unreliab*", "unstable", "unhelpful", "unfriendly", "unresponsive", "inflexib*", "inefficien*",
    "downtime", "outage*", "hate*", "wrong", "error*", "complain*", "late", "delay*", "wait*", "unfortunately", "too",
    "sad", "sadly", "pain*", "struggl*", "trouble*", "unhappy", "weak*", "ugly", "impossible", "rude", "incompeten*",
    "outdated", "dislik*", "unclear", "unusable", "limited",
    "langsam*", "schlecht*", "schlimm*", "teuer*", "teure*", "uberteuert*", "kompliziert*", "umstandlich*",
    "schwierig*", "schwer*", "fehler", "fehlern", "fehlerhaft*", "absturz*", "sturzt", "kaputt*", "nerv*",
    "enttausch*", "frustrier*", "argerlich*", "argert", "unfreundlich*", "unbrauchbar*", "mangel*", "ausfall*",
    "instabil*", "unzuverlassig*", "viel zu", "verwirrend*", "warte*", "unubersichtlich*", "mies*", "schade",
    "verloren", "leider",
    "lent*", "mauvais*", "pire*", "cher", "chere*", "chers", "difficile*", "complique*", "plante*", "panne*", "souci*",
    "erreur*", "decu*", "decev*", "enerv*", "inutil*", "nul", "nulle*", "trop", "lourd*", "dommage", "attendre",
    "attente*", "malheureusement", "instable*", "perdu*",
    "malo*", "mala", "malas", "mal", "peor*", "caro*", "cara", "caras", "dificil*", "complicad*", "fallo*", "falla*",
    "lastima", "decepcion*", "demasiad*", "desgraciadamente", "lamentabl*", "espera*", "perdi*", "molest*",
    "inestable*",
    "ruim", "ruins", "pior*", "erro", "erros", "falha*", "infelizmente", "decepc*", "demais", "demora*", "instave*",
    "trava*",
)  # fmt: skip

COMPARATIVES: tuple[str, ...] = (
    "better", "more", "less", "fewer", "faster", "easier", "quicker", "cheaper", "simpler", "smoother", "clearer",
    "could", "sooner", "earlier", "stabler", "friendlier", "improve", "improvement*",
    "besser*", "mehr", "weniger", "schneller*", "einfacher*", "gunstiger*", "billiger*", "leichter*", "stabiler*",
    "zuverlassiger*", "verbesser*",
    "plus", "mieux", "meilleur*", "moins", "ameliore*",
    "mas", "mejor*", "menos",
    "mais", "melhor*",
)  # fmt: skip
"""What could be: of two, one is meant that we are not."""

CONTRASTS: tuple[str, ...] = (
    "but", "only", "except*", "however", "although", "though", "yet", "unless", "despite", "apart from", "aside from",
    "otherwise", "other than",
    "aber", "nur", "ausser", "jedoch", "allerdings", "obwohl", "trotz", "trotzdem", "dennoch", "bis auf", "sondern",
    "mais", "seulement", "sauf", "excepte*", "cependant", "pourtant", "toutefois", "malgre", "hormis", "bien que",
    "pero", "solo", "solamente", "salvo", "excepto", "aunque", "sin embargo", "sino", "a pesar",
    "mas", "apenas", "somente", "exceto", "porem", "contudo", "todavia", "embora",
)  # fmt: skip

WISHES: tuple[str, ...] = (
    "please", "pls", "wish*", "want*", "need*", "would", "could be", "could have", "should", "hope*", "hoping", "if",
    "miss", "missing",
    "expect*", "prefer*", "rather", "suggest*", "request*", "used to be",
    "bitte", "wunsch*", "konnte", "konnten", "sollte", "sollten", "wurde", "wurden", "mochte", "mochten", "hatte gern*",
    "brauch*", "fehlt*", "fehlen*", "wenn", "lieber", "hoffe*",
    "s il vous plait", "s il te plait", "svp", "aimerai*", "aimerions", "voudrai*", "voudrions", "pourrai*", "devrai*",
    "faudrai*", "souhait*", "manque*", "espere*",
    "por favor", "quisiera*", "gustaria*", "podria*", "deberia*", "falta*", "necesit*", "ojala", "mejorar",
    "gostaria*", "poderia*", "deveria*", "precis*", "queria*", "melhorar", "tomara",
)  # fmt: skip

PRAISE: tuple[str, ...] = (
    "not only", "but also", "would recommend", "would highly recommend", "would definitely recommend", "no complaints",
    "nothing to complain about", "cant complain", "cannot complain", "couldnt be better", "couldnt be happier",
    "could not be better", "could not be happier", "everything we need", "everything i need", "all we need",
    "more than happy", "no time at all",
    "nicht nur", "sondern auch", "wurde ich empfehlen", "kann ich nur empfehlen", "nur empfehlen", "nichts zu meckern",
    "non seulement", "mais aussi", "mais egalement", "rien a redire", "le meilleur", "la meilleure",
    "no solo", "sino tambien", "el mejor", "la mejor", "lo mejor",
    "nao so", "mas tambem", "o melhor", "a melhor",
)  # fmt: skip
"""Whose words say something else on their own."""

_READ = 4_000
"""Characters examined: a reason to like us comes early, and a pasted novel must cost no more than a comment."""

_SENTENCE_ENDS = re.compile(r"(?<=[.!?;\n])")
_SENTENCE_END = re.compile(r"[.!?;\n]")


@lru_cache(maxsize=1)
def theme_of(comment: str) -> str | None:
    """The most praised theme of the comment, or None if no rule finds one.

    Only the last result is cached: the answers of one survey response share its comment.
    """
    hits: dict[str, int] = {}
    folded = _fold(comment[:_READ])
    for sentence in _SENTENCE_ENDS.split(folded) if _SENTENCE_END.search(folded) else (folded,):
        if sentence.rstrip().endswith("?"):
            continue
        words = _words(sentence)
        begun = {*words, *[word[:_BEGINNING] for word in words]}
        has_praise = not _PRAISES_BEGIN.isdisjoint(begun)
        if not _TAKING_BACK_BEGINS.isdisjoint(begun):
            text = " ".join(words)
            if _TAKES_BACK.search(_PRAISES.sub("|", text) if has_praise else text):
                continue
        if _RULES_BEGIN.isdisjoint(begun):
            continue
        speaks_against = not _SPEAKING_AGAINST_BEGINS.isdisjoint(begun)
        for clause in sentence.split(","):
            text = " ".join(_words(clause))
            if has_praise:
                text = _PRAISES.sub("|", text)
            found = list(_PATTERN.finditer(text))
            if found and not (speaks_against and _SPEAKS_AGAINST.search(_without_phrases(text, found))):
                for match in found:
                    theme = _GROUPS[match.lastindex or 0]
                    hits[theme] = hits.get(theme, 0) + 1
    if len(hits) > 1:
        return max(THEMES, key=lambda theme: hits.get(theme, 0))
    return next(iter(hits), None)


def _words(text: str) -> list[str]:
    """The words of a folded text; in one of ASCII, twice as fast."""
    return text.translate(_APART).split() if text.isascii() else _WORD.findall(text)


def _without_phrases(text: str, found: list[re.Match[str]]) -> str:
    """The text without the phrases of the rules: "no problems" denies nothing. A single word is held against itself."""
    for match in reversed(found):
        if " " in match[0]:
            text = f"{text[: match.start()]}|{text[match.end() :]}"
    return text


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
    alternatives, groups = [], [NO_THEME]
    for letter, themes in letters.items():
        rows = ("|".join(rests) for rests in themes.values())
        alternatives.append(f"{letter}(?:({')|('.join(rows)}))")
        groups += themes
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b"), groups


def _any_of(entries: Iterable[str]) -> re.Pattern[str]:
    """The longest first: a phrase before its words. Grouped by first letter, as in ``_compiled``."""
    letters: dict[str, list[str]] = {}
    for entry in sorted(set(entries), key=lambda entry: (-len(entry), entry)):
        letters.setdefault(entry[0], []).append(re.escape(entry[1:]).replace(r"\*", r"\w*"))
    alternatives = (f"{letter}(?:{'|'.join(rests)})" for letter, rests in letters.items())
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b")


def _begin(entries: Iterable[str]) -> frozenset[str]:
    """The first words of the entries, of those with any ending their first letters.

    In a text that has none of them, as a word or as the beginning of one, no entry has to be looked for.
    """
    first = (entry.split(" ")[0] for entry in entries)
    return frozenset(word[:_BEGINNING] if word.endswith("*") else word for word in first)


_BEGINNING = 4
"""Letters; no entry that takes any ending has fewer."""
_APART = {code: chr(code) if chr(code).isalnum() else " " for code in range(128)}
_WORD = re.compile(r"[^\W_]+")
_CONTRACTED = re.compile(r"n['’]t\b")
_PATTERN, _GROUPS = _compiled()
_RULES_BEGIN = _begin(entry for entries in RULES.values() for entry in entries)
_PRAISES, _PRAISES_BEGIN = _any_of(PRAISE), _begin(PRAISE)
_AGAINST = (*NEGATIONS, *BLAME, *COMPARATIVES)
_SPEAKS_AGAINST, _SPEAKING_AGAINST_BEGINS = _any_of(_AGAINST), _begin(_AGAINST)
_BACK = (*CONTRASTS, *WISHES)
_TAKES_BACK, _TAKING_BACK_BEGINS = _any_of(_BACK), _begin(_BACK)
