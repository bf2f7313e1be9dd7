"""Survey answers: which scale a question has, and which fact an answer on it becomes.

Vendors of forms say what was answered, not always what the number means. A deployment says it per question; without
that, a question counts whose type or reference names its scale. A wording names nothing: "How likely are you to
cancel?" is answered from 0 to 10 too. What cannot be known is left out: a 5 of 5 taken for a 5 of 10 would turn a happy
customer into a detractor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from referral_stream.contracts.adapters.reading import Facts, whole_number
from referral_stream.contracts.outcomes import Fact
from referral_stream.core.events import PROMOTER

SurveyKind: TypeAlias = Literal["nps", "csat", "comment", "ignore"]


class Scale(NamedTuple):
    """What the answers to a question mean; ``maximum`` is that of a CSAT question, else 0."""

    kind: SurveyKind
    maximum: int = 0


NPS = Scale("nps")
COMMENT = Scale("comment")
IGNORE = Scale("ignore")
_NAMED = {"nps": NPS, "comment": COMMENT, "ignore": IGNORE}

_CSAT = re.compile(r"csat/([1-9][0-9]{0,3})")
_LOYALTY = re.compile(
    r"(?:\b|_)nps(?:score|rating|question)?[0-9]{0,2}(?:\b|_)"
    r"|net.?promoter|recommend|weiterempfehl|recommand|recomend"
)
_OPPOSITE = re.compile(
    r"(?<![^\W_])(?:not|never|unlikely|dont|why|nicht|kein\w*|unwahrscheinlich\w*|warum|weshalb|pas|jamais|pourquoi"
    r"|nunca|jamás|por qu[eé])(?![^\W_])|n['’]t\b|^\W*(?:what|which|was|quoi)\b(?!.*(?:likel|probab|wahrsch))"
)
"""Words of a question that turn its answer round, or ask for no number."""
_ASIDE = re.compile(
    r"\([^()]*\)|\[[^\[\]]*\]|\b[0-9]+ ?(?:=|:|is|means|bedeutet|ist)[^,;.?!]*|\bnot at all(?: likely)?\b"
    r"|\b(?:gar|überhaupt) nicht(?: wahrscheinlich)?\b|\bpas du tout(?: probable)?\b|\b(?:or|oder) (?:un|not )\w*"
)
"""What explains a scale within a question: ``(0 = not at all likely)``, ``likely or unlikely``."""
_TURNED = re.compile(
    r"\b(?:un|im)(?:likely|probable)\b|\bunwahrscheinlich|(?:\b(?:not|never)|n['’]t) (?:to )?recommend"
    r"|\b(?:nicht|niemals|nie) (?:weiter)?(?:zu ?)?empf|\bne (?:\w+ )?(?:pas |jamais )?recommand"
    r"|\b(?:no|nunca) (?:nos )?recom"
)
"""How a question asks that is NPS by its type, and counts the other way."""
_DIGIT = re.compile(r"[0-9]")
_IN_OPPOSITE = (
    "not", "never", "unlikely", "dont", "why", "nicht", "kein", "unwahrscheinlich", "warum", "weshalb", "pas", "jamais",
    "pourquoi", "nunca", "jamás", "por qu", "n't", "n’t", "what", "which", "was", "quoi",
)  # fmt: skip
_IN_ASIDE = ("(", "[", "not at all", "nicht", "pas du tout", "or un", "or not ", "oder un", "oder not ")
_IN_EXPLANATION = ("=", ":", "is", "means", "bedeutet")
_IN_TURNED = (
    "unlikely", "unprobable", "imlikely", "improbable", "unwahrscheinlich", "recommend", "empf", "recommand", "recom",
)  # fmt: skip
"""What is in every text in which those patterns find anything; in an aside with a digit, what explains it."""
_UNWILLING = re.compile(
    r"\b(?:not|un\w+|never|worst|bad|poor|terrible|awful|hate|least|hardly|nie|niemals|nicht|kein\w*|schlecht\w*|wenig"
    r"|pas|jamais|peu|mauvais\w*|no|nunca|jamás|poco|improbable|niet|nooit|onwaarschijnlijk|ontevreden"
    r"|dis\w+|insatisf\w*|mécontent\w*|difficult\w*|difícil|frustrat\w*|angry)\b"
)
"""Words of the label at a scale's bad end."""
_LABELLED = re.compile(r"\(?([0-9]{1,4})\)?(?: ?[-–—:=|,;.(/]| stars?\b)[^0-9]*|[^0-9]*[-–—:=|(] ?([0-9]{1,4})\)?")
"""A step of a scale by number and label, in either order, with one number: ``Not at all likely - 0``."""
_SATISFACTION = re.compile(r"(?:\b|_)c[_-]?sat(?:\b|_)|satisf|zufrieden")
_DECIMAL = re.compile(r"[0-9]{1,4}\.[0-9]{1,9}")
_REASON = re.compile(r"(?:\b|_)(?:comment|reason|why|feedback|warum|kommentar|pourquoi|motivo|porqu[eê])")


@cache
def scale_of(text: str) -> Scale:
    """``nps``, ``csat/5``, ``comment`` or ``ignore`` → the scale. Raises ValueError for anything else."""
    if text in _NAMED:
        return _NAMED[text]
    csat = _CSAT.fullmatch(text)
    if csat is None:
        raise ValueError(f"no scale {text!r}; a question is nps, csat/5 (the scale's maximum), comment or ignore")
    return Scale("csat", int(csat[1]))


def configured(questions: Mapping[str, str], *references: str | None) -> Scale | None:
    """The scale that the deployment gives the first of these references that it knows."""
    for reference in references:
        if reference is not None and reference in questions:
            return scale_of(questions[reference])
    return None


def is_loyalty(*references: Any) -> bool:
    """Whether one of the references (which a team gives a question, or its survey) says it is NPS.

    Not if it asks for the opposite ("How unlikely …"), or for something in words ("What would you recommend …").
    """
    return any(isinstance(text, str) and _says_loyalty(text[:500].casefold()) for text in references)


@lru_cache(maxsize=1_024)
def _says_loyalty(text: str) -> bool:
    if "recommend" not in text and _LOYALTY.search(text) is None:
        return False
    asked = _without_asides(text)
    return not (_may_match(asked, _IN_OPPOSITE) and _OPPOSITE.search(asked))


def _without_asides(text: str) -> str:
    """The question without what explains its scale; most have nothing of the kind, which is quickly seen."""
    may_have = _may_match(text, _IN_ASIDE) or (_DIGIT.search(text) is not None and _may_match(text, _IN_EXPLANATION))
    return _ASIDE.sub(" ", text) if may_have else text


def _may_match(text: str, parts: tuple[str, ...]) -> bool:
    """Whether one of the parts, of which a pattern needs one, is in the text: a fraction of what the pattern takes."""
    for part in parts:  # noqa: SIM110 (a generator would take half of the time)
        if part in text:
            return True
    return False


def is_turned_round(*wordings: Any) -> bool:
    """Whether a question that is NPS by its type asks for the opposite, so that nobody knows what its answer means."""
    return any(isinstance(text, str) and _asks_opposite(text[:500].casefold()) for text in wordings)


@lru_cache(maxsize=1_024)
def _asks_opposite(text: str) -> bool:
    return _may_match(text, _IN_TURNED) and _TURNED.search(_without_asides(text)) is not None


def is_unwilling(label: Any) -> bool:
    """Whether a label stands at the bad end of a scale."""
    return isinstance(label, str) and _UNWILLING.search(label[:500].casefold()) is not None


def is_satisfaction(reference: Any) -> bool:
    """Whether a question's reference says that it asks for satisfaction."""
    return isinstance(reference, str) and _SATISFACTION.search(reference[:500].casefold()) is not None


def is_reason(*wordings: Any) -> bool:
    """Whether one of the wordings says that the answer is a comment."""
    return any(isinstance(text, str) and _REASON.search(text[:500].casefold()) for text in wordings)


def score_of(value: Any) -> int | float | None:
    """A score, as a number or as text; None where there is none."""
    number = whole_number(value)
    if number is None and isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        return float(value)
    return value if number is None and type(value) is float else number


def labelled_score(scale: Scale, value: Any) -> int | None:
    """The score of a step that was chosen by its label (``Not at all likely - 0``), on a scale that is known.

    None if there is no number, or more than one, or if a high one has the label of the bad end.
    """
    step = _LABELLED.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= _LABEL else None
    if step is None:
        return None
    score = int(step[1] or step[2])
    return None if _is_high(scale, score) and is_unwilling(value) else score


_LABEL = 100
"""Characters of a step's label; longer text is prose."""


def asked_by_survey(vendor: str) -> Facts:
    """A survey was put to somebody: something else has just been asked of them."""
    return (Fact("advocacy.asked", {"kind": "survey", "by": vendor}),)


def displeased(value: Any, reference: str | None = None) -> Facts:
    """What an answer says whose scale nobody names: the lowest is a bad one on all of them, any other says nothing."""
    named = {} if reference is None else {"reference": reference}
    return (Fact("frustration.shown", named),) if score_of(value) in LOWEST else ()


LOWEST = (0, 1)
"""Where every scale of satisfaction and of effort begins."""


def unsent(facts: Facts) -> Facts:
    """What counts of a survey that was begun and never sent: what speaks against asking.

    Whoever gave a low score has said something, sent or not; nobody recommends us in a form that they left.
    """
    return tuple(fact for fact in facts if not _is_favourable(fact))


def _is_favourable(fact: Fact) -> bool:
    match fact.type:
        case "nps.responded":
            return _is_high(NPS, fact.data["score"])
        case "csat.responded":
            return _is_high(Scale("csat", fact.data["scale_max"]), fact.data["score"])
        case _:
            return False


def _is_high(scale: Scale, score: float) -> bool:
    return score >= PROMOTER if scale.kind == "nps" else 10 * score >= 8 * scale.maximum


class Response:
    """One filled-in survey: what was answered on which scale, question by question."""

    def __init__(self, id: str | None) -> None:
        self.id = id
        self.comment: str | None = None
        self._scored: dict[str, tuple[Scale, int | float, str | None]] = {}
        self._has_named_nps = False

    def add(
        self, question: str | None, scale: Scale, value: Any, comment: Any = None, *, is_configured: bool = False
    ) -> None:
        """An answer; without a score on its scale it adds nothing. Of several to one question the lowest counts.

        NPS is one per response: what the deployment names before what looks like it, and of several the lowest.
        Satisfaction may be asked about several things. A question that the deployment names may be answered by label.
        """
        own = comment if isinstance(comment, str) and comment else None
        if scale.kind == "comment":
            if self.comment is None and isinstance(value, str) and value:
                self.comment = value
        elif scale.kind != "ignore":
            score = score_of(value)
            if score is None and is_configured:
                score = labelled_score(scale, value)
            if score is None:
                return
            if scale.kind == "nps":
                self._add_nps(scale, score, own, is_configured=is_configured)
            elif (known := self._scored.get(f":{question}")) is None or score < known[1]:
                self._scored[f":{question}"] = (scale, score, own)

    @property
    def has_nps(self) -> bool:
        """Whether an answer on the scale of NPS was added."""
        return "" in self._scored

    def _add_nps(self, scale: Scale, score: float, own: str | None, *, is_configured: bool) -> None:
        known = self._scored.get("")
        outranks = is_configured and not self._has_named_nps
        if known is None or outranks or (is_configured == self._has_named_nps and score < known[1]):
            self._scored[""] = (scale, score, own)
            self._has_named_nps = is_configured

    def facts(self) -> Facts:
        """One fact per scored question, each with its own comment, else with that of the response."""
        return tuple(self._fact(suffix, *answer) for suffix, answer in self._scored.items())

    def _fact(self, suffix: str, scale: Scale, score: float, own: str | None) -> Fact:
        data: dict[str, Any] = {"response_id": None if self.id is None else f"{self.id}{suffix}", "score": score}
        if comment := own or self.comment:
            data["comment"] = comment
        if scale.kind == "nps":
            return Fact("nps.responded", data)
        return Fact("csat.responded", data | {"scale_max": scale.maximum})
